"""Which node a request goes to: what is known of shards, how long, and what becomes of it when it was wrong."""

from __future__ import annotations

import asyncio
import time

import protocol
import pytest
from fake_server import FakeServer

import omendb
from omendb import errors
from omendb.client.address import Node
from omendb.client.course import Call, Course
from omendb.client.hashing import TEXT_BYTES_MAX, hash_of, xxh3
from omendb.client.routes import IDS_MOST, Route, Routes, Table
from omendb.client.wire import Params

A, B, C = (Node(name, 7700) for name in "abc")
NODES = {"a": A, "b": B, "c": C}
INFINITE = float("inf")

# ---- hashes: of libxxhash 0.8.1 ----


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"\0" + (7).to_bytes(8, "little"), 0xE58EDF1DB21CA0B8),
        (b"\1a", 0x21C8324543049A44),
        (b"\1abc", 0xC171B854C76EAA99),
        (b"\1abcdefg", 0x2D88E6AF09D625A9),
        (b"\x010123456789abcde", 0x63E1109EA9E4CEE0),
        (b"\1" + b"x" * 31, 0x8D16D08EEA26EC92),
        (b"\1" + b"x" * 32, 0xBC4C242D0F8A9EF0),
        (b"\1" + bytes(range(65, 100)), 0x69BCF0D43095105F),
        (b"\1" + b"y" * 127, 0x75551EC5E03262B4),
    ],
)
def test_hashes_are_those_of_the_reference(data, expected):
    assert xxh3(data) == expected


def test_an_id_is_hashed_with_its_kind_and_a_long_text_is_not():
    assert hash_of(7) == 0xE58EDF1DB21CA0B8
    assert hash_of("abc") == 0xC171B854C76EAA99
    assert hash_of("é" * (TEXT_BYTES_MAX // 2)) is not None
    assert hash_of("x" * TEXT_BYTES_MAX) is not None
    assert hash_of("x" * (TEXT_BYTES_MAX + 1)) is None


# ---- tables ----


def row(shard, first, last, primary, copies, term=1, state="open"):
    return {
        "shard": shard, "range": f"{first:016x}-{last:016x}", "primary": primary, "in_sync": copies, "term": term,
        "state": state,
    }  # fmt: skip


HALF = 1 << 63
ROWS = [row(2, HALF, 2 * HALF - 1, "b", ["b", "a"]), row(1, 0, HALF - 1, "c", ["c", "b"]),
        row(9, 0, HALF - 1, "a", ["a"], state="child")]  # fmt: skip
LOW = next(id for id in range(100) if hash_of(id) < HALF)  # of shard 1
HIGH = next(id for id in range(100) if hash_of(id) >= HALF)


class Clock:
    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def routes(clock):
    made = Routes(clock, lambda nodes: nodes[-1])
    asked = made.wants("docs")
    made.learned("docs", Table(ROWS, NODES), asked)
    return made


def idle(node):
    return 0


@pytest.mark.parametrize(
    ("route", "at_hand", "expected"),
    [
        (Route("docs", [LOW], True), A, C),
        (Route("docs", [HIGH], True), A, B),
        (Route("docs", [HIGH], True), B, B),
        (Route("docs", [LOW, HIGH], True), A, A),  # it is cut up in any case
        (Route("docs", ["x" * 200], True), A, A),
        (Route("docs", [HIGH], False), A, A),  # has a copy itself
        (Route("docs", [LOW], False), A, C),
        (Route("other", [LOW], True), A, A),
        (Route("docs"), A, A),  # nobody has less to do
    ],
)
def test_a_request_goes_to_the_primary_unless_the_node_at_hand_will_do(routes, route, at_hand, expected):
    assert routes.node_of(route, at_hand, idle) == expected


def test_a_search_goes_to_the_less_loaded_of_two(routes):
    assert routes.node_of(Route("docs"), A, {A: 2, C: 1}.__getitem__) == C
    assert routes.node_of(Route("docs"), A, {A: 1, C: 1}.__getitem__) == A
    assert routes.node_of(Route("docs"), A, {A: 9, C: INFINITE}.__getitem__) == A


def test_a_primary_that_is_not_connected_is_not_asked_and_the_table_is_learned_anew(routes, clock):
    clock.now += 1.0
    assert routes.wants("docs") is None
    assert routes.node_of(Route("docs", [LOW], True), A, lambda node: INFINITE if node == C else 0) == A
    assert routes.wants("docs") is not None
    assert routes.wants("docs") is None  # one learns


def test_a_node_that_is_none_of_the_address_is_not_asked(clock):
    routes = Routes(clock)
    routes.learned("docs", Table(ROWS, {"a": A}), routes.wants("docs"))
    assert routes.node_of(Route("docs", [LOW], True), A, idle) == A
    routes.learned("docs", Table(ROWS, {}), 0)
    assert routes.node_of(Route("docs"), A, idle) == A


def test_a_hole_in_the_table_leads_nowhere():
    table = Table([row(2, HALF, 2 * HALF - 1, "b", ["b"])], NODES)
    assert table.shard_of([LOW]) is None and table.shard_of([HIGH]).number == 2
    assert Table([row(1, 0, 5, "b", ["b"])], NODES).shard_of([LOW]) is None


def test_a_table_is_learned_once_and_again_after_half_a_minute(clock):
    routes = Routes(clock)
    asked = routes.wants("docs")
    assert asked is not None and routes.wants("docs") is None and routes.wants("other") is not None
    routes.failed("docs")  # it is being learned
    assert routes.wants("docs") is None
    routes.learned("docs", Table(ROWS, NODES), asked)
    clock.now += 29.9
    assert routes.wants("docs") is None
    clock.now += 0.1
    assert routes.wants("docs") is not None


def test_what_could_not_be_learned_whole_is_learned_after_a_second(clock):
    routes = Routes(clock)
    for table, whole in ((None, True), (Table(ROWS, NODES), False)):
        routes.learned("docs", table, routes.wants("docs"), whole)
        clock.now += 0.9
        assert routes.wants("docs") is None
        clock.now += 0.1
    assert routes.node_of(Route("docs", [LOW], True), A, idle) == C


@pytest.mark.parametrize(
    ("token", "older"),
    [({"1": [1, 99]}, False), ({"1": [2, 1]}, True), ({2: [1, 1]}, False), ({"3": [1, 1]}, True), ({}, False)],
)
def test_a_token_of_a_later_term_or_another_shard_makes_a_table_old(routes, clock, token, older):
    clock.now += 1.0
    routes.saw(Route("docs", [LOW], True), {"token": token})
    assert (routes.wants("docs") is not None) == older


def test_an_answer_without_a_token_says_nothing(routes, clock):
    clock.now += 1.0
    for route, answer in ((None, {"token": {"9": [9, 9]}}), (Route("x"), {"token": {"9": [9, 9]}}), (Route("docs"), 5)):
        routes.saw(route, answer)
    assert routes.wants("docs") is None


def test_what_was_asked_for_before_a_change_is_not_taken(routes):
    routes.forget()
    assert routes.node_of(Route("docs", [LOW], True), A, idle) == A
    asked = routes.wants("docs")
    routes.forget()
    routes.learned("docs", Table(ROWS, NODES), asked)
    assert routes.node_of(Route("docs", [LOW], True), A, idle) == A
    assert routes.wants("docs") is not None


def test_a_try_that_goes_straight_has_a_part_of_the_time(clock):
    call = Call(Params("point.get", {}), dict)
    assert Course(call, 20.0, clock).straight_until() == 105.0
    assert Course(call, 2.0, clock).straight_until() == 101.0
    assert Course(call, 0.5, clock).straight_until() == 100.5


# ---- clients ----

needs_tables = pytest.mark.skipif(not protocol.methods(), reason="no C compiler, or not in a checkout")


@pytest.fixture
def two():
    """Two servers with the same collections, of which the second has all shards."""
    first, second = FakeServer(), FakeServer()
    second.collections, second.changes = first.collections, first.changes
    first.primary = second
    yield first, second
    first.close()
    second.close()


def address(servers):
    return ",".join(server.address.removeprefix("omen://") for server in servers)


def until(holds):
    end = time.monotonic() + 30
    while not holds():
        assert time.monotonic() < end


def beginning_at(client, server):
    client._ring._at = [node.port for node in client._ring.nodes].index(server.port)
    return client


@needs_tables
def test_writes_and_strong_reads_go_straight_to_the_primary(two):
    first, second = two
    with omendb.connect(address(two)) as client:
        beginning_at(client, first)
        docs = client.create_collection("docs", 2)
        strong = client.collection("docs", consistency="strong")

        def is_straight():
            before = len(second.called("point.upsert"))
            docs.upsert([1, 2], 5)
            return len(second.called("point.upsert")) > before

        until(is_straight)
        before = len(first.called("point.get"))
        assert strong.get(5).id == 5 and strong.delete([5]) == 1
        assert len(first.called("point.get")) == before and len(second.called("point.delete")) == 1
        docs.upsert([[1, 2]] * (IDS_MOST + 1), range(IDS_MOST + 1))
        assert len(first.called("point.upsert")[-1]["ids"]) == IDS_MOST + 1
        client.set_alias("now", "docs")  # names have changed: all is learned anew
        before = len(first.called("point.upsert"))
        docs.upsert([1, 2], 5)
        assert len(first.called("point.upsert")) == before + 1
        until(is_straight)


@needs_tables
def test_a_primary_that_is_gone_costs_no_error(two):
    first, second = two
    with omendb.connect(address(two)) as client:
        beginning_at(client, first)
        docs = client.create_collection("docs", 2)
        until(lambda: docs.upsert([1, 2], 5) == 5 and second.called("point.upsert"))
        first.primary = first
        second.drop("point.upsert", after=True)  # done, but nobody hears of it
        docs.upsert([3, 4], 6)
        said, again = second.called("point.upsert")[-1], first.called("point.upsert")[-1]
        assert said["op_id"] == again["op_id"]
        before = len(first.called("point.upsert"))
        for _ in range(5):
            docs.upsert([3, 4], 6)
        until(lambda: docs.upsert([3, 4], 6) == 6 and len(first.called("point.upsert")) >= before + 5)


@needs_tables
def test_a_primary_that_does_not_answer_is_left_for_the_node_at_hand(two):
    first, second = two
    with omendb.connect(address(two), timeout=4.0) as client:
        beginning_at(client, first)
        docs = client.create_collection("docs", 2)
        until(lambda: docs.upsert([1, 2], 5) == 5 and second.called("point.upsert"))
        held = second.hold("point.upsert")
        assert docs.upsert([3, 4], 6) == 6
        asked = first.called("point.upsert")[-1]["op_id"]
        held.set()
        until(lambda: asked in [params["op_id"] for params in second.called("point.upsert")])  # the same, so done once


@needs_tables
def test_a_node_whose_map_is_older_is_not_asked(two):
    first, second = two
    second.map_version = 0
    with omendb.connect(address(two)) as client:
        beginning_at(client, first)
        docs = client.create_collection("docs", 2)
        until(lambda: docs.upsert([1, 2], 5) == 5 and len(second.called("system.info")) >= 2)
        assert second.called("point.upsert") == []
        second.map_version = 1
        until(lambda: docs.upsert([1, 2], 5) == 5 and second.called("point.upsert"))


@needs_tables
def test_one_node_is_asked_nothing_more(server):
    with omendb.connect(server.address) as client:
        docs = client.create_collection("docs", 2)
        docs.upsert([1, 2], 5)
        docs.search([1, 2])
        assert server.called("shard.list") == server.called("system.info") == []


@needs_tables
def test_a_table_that_cannot_be_learned_does_no_harm(two):
    first, _ = two
    with omendb.connect(address(two)) as client:
        beginning_at(client, first)
        docs = client.create_collection("docs", 2)
        first.refuse("shard.list", "METHOD")
        for _ in range(3):
            docs.upsert([1, 2], 5)
        with pytest.raises(errors.NotFoundError):
            client.collection("none").get(1)


OF_THE_MAP = {"collection": "docs", "map_only": True}
# Asked of a server that knows the key, and of one that does not.
QUESTIONS = [(True, [OF_THE_MAP]), (False, [OF_THE_MAP, {"collection": "docs"}])]


@needs_tables
@pytest.mark.parametrize(("knows", "questions"), QUESTIONS)
def test_a_table_is_learned_of_the_map_alone_where_the_server_can(two, knows, questions):
    first, second = two
    first.unknown["shard.list"] = set() if knows else {"map_only"}
    with omendb.connect(address(two)) as client:
        docs = beginning_at(client, first).create_collection("docs", 2)
        until(lambda: docs.upsert([1, 2], 5) == 5 and second.called("point.upsert"))
        assert first.called("shard.list") == questions


@needs_tables
@pytest.mark.parametrize(("knows", "questions"), QUESTIONS)
def test_the_client_for_asyncio_goes_straight_as_well(two, knows, questions):
    first, second = two
    first.unknown["shard.list"] = set() if knows else {"map_only"}

    async def all_of_it():
        async with await omendb.connect_async(address(two), timeout=4.0) as client:
            beginning_at(client, first)
            docs = await client.create_collection("docs", 2)
            async with asyncio.timeout(30):
                while not second.called("point.upsert"):
                    await docs.upsert([1, 2], 5)
            assert first.called("shard.list") == questions
            held = second.hold("point.upsert")
            assert await docs.upsert([3, 4], 6) == 6
            held.set()
            first.primary = first
            second.close()
            for _ in range(5):
                await docs.upsert([3, 4], 6)
            assert await docs.get(6) is not None

    asyncio.run(all_of_it())
