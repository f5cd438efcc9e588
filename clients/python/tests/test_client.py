"""The blocking client against a fake server that judges by the real one's tables."""

from __future__ import annotations

import asyncio
import threading
import time

import numpy as np
import protocol
import pytest
from fake_server import FakeServer

import omendb
from omendb import F, errors
from omendb.client import Facet, Hits, asks
from omendb.types import Point, Recall

pytestmark = pytest.mark.skipif(not protocol.methods(), reason="no C compiler, or not in a checkout")


with_keys = pytest.mark.parametrize("server", ["root.s3cret"], indirect=True)


@pytest.fixture
def client(server):
    with omendb.connect(server.address, api_key=server.api_key, timeout=5.0) as made:
        yield made


@pytest.fixture
def docs(client):
    """Ten points on a line, under l2."""
    made = client.create_collection("docs", 2, metric="l2")
    made.upsert([[i, 0] for i in range(10)], range(10), [{"n": i, "odd": i % 2 == 1} for i in range(10)])
    return made


# ---- points ----


def test_what_was_written_is_read(docs):
    point = docs.get(3)
    assert isinstance(point, Point)
    assert (point.id, point.vector.tolist(), point.payload, point.version) == (3, [3.0, 0.0], {"n": 3, "odd": True}, 1)
    assert docs.get([3, 99, 4], with_vector=False)[1] is None
    assert docs.get(3, with_payload=False).payload is None
    assert 3 in docs and 99 not in docs and len(docs) == 10


def test_ids_come_back_as_an_index_gives_them(client, docs):
    assert docs.upsert([1, 2], ids=20) == 20
    many = docs.upsert([[1, 2], [3, 4]], np.array([21, 22], np.uint32))
    assert many.dtype == np.int64 and many.tolist() == [21, 22]
    named = client.create_collection("named", 2, metric="l2")
    assert named.upsert(np.ones((1, 2), np.float16), ["a"]).tolist() == ["a"]


def test_a_point_that_is_there_is_not_added_again_and_the_others_are(docs):
    with pytest.raises(errors.ExistsError, match="row 1") as raised:
        docs.add([[0, 0], [0, 0], [0, 0]], [30, 3, 31])
    assert [(row, type(error)) for row, error in raised.value.failed] == [(1, errors.ExistsError)]
    assert raised.value.outcome == "not_applied"
    assert 30 in docs and 31 in docs and docs.get(3).vector.tolist() == [3.0, 0.0]
    with pytest.raises(errors.ExistsError) as raised:  # an error of all of them, and no answer
        docs.add([[0, 0], [0, 0]], [3, 4])
    assert [row for row, _ in raised.value.failed] == [0, 1]
    with pytest.raises(errors.ExistsError) as raised:
        docs.add([0, 0], 3)
    assert [row for row, _ in raised.value.failed] == [0]


def test_payloads_are_set_patched_and_deleted_by(docs):
    docs.set_payloads([1, 2], [{"x": 1}, None])
    assert [point.payload for point in docs.get([1, 2])] == [{"x": 1}, {}]
    assert docs.get(1).vector.tolist() == [1.0, 0.0]
    assert docs.patch([3], set={"y": 2}, unset=["odd"]) == 1
    assert docs.get(3).payload == {"n": 3, "y": 2}
    assert docs.patch(filter=F.n > 6, unset="odd") == 3
    assert docs.delete(filter=F.n >= 8) == 2
    assert docs.delete([0, 99]) == 1
    assert docs.count() == 7
    with pytest.raises(errors.NotFoundError):
        docs.set_payloads(99, {"x": 1})


def test_a_write_may_want_a_version(docs):
    version = docs.get(3).version
    docs.upsert([9, 9], 3, if_version=version)
    with pytest.raises(errors.ConflictError):
        docs.upsert([8, 8], 3, if_version=version)
    assert docs.get(3).vector.tolist() == [9.0, 9.0]


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda d: d.upsert([[1, 2]]), errors.InvalidError, "ids are missing"),
        (lambda d: d.upsert([[1, 2]], [1, 2]), errors.InvalidError, "2 ids for 1 vectors"),
        (lambda d: d.upsert([[1, 2]], [-1]), errors.IdRangeError, "outside"),
        (lambda d: d.upsert([[1, 2]], [2**63]), errors.IdRangeError, "outside"),
        (lambda d: d.upsert([[1, 2]], [True]), errors.IdTypeError, "bool"),
        (lambda d: d.upsert([[1, 2]], [1.5]), errors.IdTypeError, "float"),
        (lambda d: d.upsert([[1, 2]], b"ab"), errors.IdTypeError, "bytes"),
        (lambda d: d.upsert([[1, 2]], [""]), errors.IdLengthError, "1..255"),
        (lambda d: d.upsert([[1, 2]], ["x" * 256]), errors.IdLengthError, "1..255"),
        (lambda d: d.upsert([[1, 2]], [1], [{}, {}]), errors.InvalidError, "2 payloads for 1 points"),
        (lambda d: d.upsert([[1, 2]], [1], [7]), errors.PayloadError, "int"),
        (lambda d: d.upsert([[1, 2]], [1], [{"x": object()}]), errors.PayloadError, "object"),
        (lambda d: d.upsert([["a"]], [1]), errors.DtypeError, "expected numbers"),
        (lambda d: d.upsert([[1, 2], [3]], [1, 2]), errors.DimensionError, ""),
        (lambda d: d.upsert(np.ones((1, 1, 2)), [1]), errors.DimensionError, "3 dimensions"),
        (lambda d: d.upsert([[1, 2, 3]], [1]), errors.DimensionError, "3 components"),
        (lambda d: d.upsert([[1, float("nan")]], [1]), errors.NotFiniteError, "finite"),
        (lambda d: d.upsert([[1, 2], [3, 4]], [1, 1]), errors.DuplicateIdError, "twice"),
        (lambda d: d.delete(), errors.InvalidError, "ids or a filter"),
        (lambda d: d.delete([1], F.n > 1), errors.InvalidError, "ids or a filter"),
        (lambda d: d.patch([1]), errors.InvalidError, "something to set"),
        (lambda d: d.search([1, 2], k=0), errors.KError, "1..10000"),
        (lambda d: d.search([1, 2], k=10001), errors.KError, "1..10000"),
        (lambda d: d.search(), errors.InvalidError, "a vector or the id"),
        (lambda d: d.search([1, 2], id=3), errors.InvalidError, "a vector or the id"),
        (lambda d: d.search([[1, 2]], id=3), errors.InvalidError, "vectors or the id"),
        (lambda d: d.search([1, 2], filter=7), errors.FilterError, "is a int"),
        (lambda d: d.search([1, 2], filter="n >"), errors.FilterError, "parse"),
        (lambda d: d.search([1, 2], timeout=0), errors.InvalidError, "timeout is 0"),
        (lambda d: d.search(id=99), errors.NotFoundError, "99"),
        (lambda d: d.set_ef(0), errors.InvalidError, "1..10000"),
        (lambda d: d.copy("/tmp/x"), errors.UnsupportedError, "copy"),
        (lambda d: d.calibrate(), errors.UnsupportedError, "calibrate"),
        (lambda d: d.drop_field("x"), errors.NotFoundError, "'x'"),
    ],
)  # fmt: skip
def test_bad_input_is_an_error_by_name(docs, call, error, words):
    with pytest.raises(error, match=words or None) as raised:
        call(docs)
    assert type(raised.value) is error
    assert docs.count() == 10


# ---- searches ----


def test_one_vector_gives_hits(docs):
    hits = docs.search([0, 0], k=3, filter=F.odd == True)  # noqa: E712
    assert isinstance(hits, Hits)
    assert list(hits) == [(1, 1.0), (3, 9.0), (5, 25.0)]
    assert hits.ids.dtype == np.int64 and hits.distances.dtype == np.float32
    assert hits[1] == (3, 9.0) and len(hits) == 3
    assert hits.payloads[0] == {"n": 1, "odd": True}
    assert hits.warnings == ("unindexed_field",)
    assert repr(hits).startswith("<Hits: 3, nearest [(1, 1)")
    assert docs.search([0, 0], k=1, with_vector=True, with_payload=False).vectors[0].tolist() == [0.0, 0.0]
    assert docs.search([0, 0], explain=True).report == {"strategy": "exact"}
    assert docs.search([0, 0], filter="n >= 3 and odd == true", k=2).ids.tolist() == [3, 5]


def test_a_matrix_gives_arrays_with_minus_one_where_there_are_fewer(docs):
    ids, distances = docs.search(np.array([[0, 0], [9, 0]]), k=12)
    assert ids.shape == distances.shape == (2, 12)
    assert ids[:, 0].tolist() == [0, 9] and ids[0, 10:].tolist() == [-1, -1]
    assert np.isinf(distances[:, 10:]).all() and distances[0, 1] == 1.0
    empty = docs.search(np.empty((0, 2), np.float32), k=3)
    assert empty[0].shape == empty[1].shape == (0, 3)


def test_a_matrix_over_text_ids_gives_objects(client):
    made = client.create_collection("texts", 2, metric="l2")
    made.upsert([[0, 0], [1, 0]], ["a", "b"])
    ids, distances = made.search([[1, 0], [0, 0]], k=3)
    assert ids.tolist() == [["b", "a", None], ["a", "b", None]]
    assert np.isinf(distances[:, 2]).all()
    assert made.search([0, 0]).ids.tolist() == ["a", "b"]


def test_search_many_gives_hits_of_each(docs):
    each = docs.search_many([[0, 0], [9, 0]], k=2)
    assert [hits.ids.tolist() for hits in each] == [[0, 1], [9, 8]]
    assert each[0].payloads[0] == {"n": 0, "odd": False}
    assert docs.search_many([5, 0], k=1)[0].ids.tolist() == [5]


def test_other_searches(docs):
    assert docs.range_search([0, 0], 4.0).ids.tolist() == [0, 1, 2]
    assert docs.range_search([0, 0], 100, limit=2).ids.tolist() == [0, 1]
    assert set(docs.search(id=4, k=2).ids.tolist()) == {3, 5}  # not itself
    assert docs.recommend([1, 2], [9], k=2).ids.tolist() == [0, 3]
    assert docs.why_not(9, [0, 0], k=3) == {"found": False, "rank": 10, "reason": "others are nearer"}
    recall = docs.recall(samples=5, k=3)
    assert isinstance(recall, Recall) and recall == 1.0 and (recall.samples, recall.k) == (5, 3)
    ids, distances = docs.knn_query([0, 0], k=2)
    assert ids.tolist() == [[0, 1]] and distances.tolist() == [[0.0, 1.0]]
    assert docs.knn_exact([[0, 0]], k=1)[0].tolist() == [[0]]


def test_pages_and_facets(docs):
    points, cursor = docs.scroll(limit=6)
    rest, end = docs.scroll(limit=6, cursor=cursor)
    assert [point.id for point in points + rest] == list(range(10)) and end is None
    assert docs.facet("odd") == [Facet(False, 5), Facet(True, 5)]
    assert docs.facet("n", filter=F.n < 2, limit=1) == [Facet(0, 1)]
    assert docs.count(F.n.in_([1, 2, 99])) == 2


@pytest.mark.parametrize("dtype, code", [("f4", "f32"), ("f2", "f16"), ("i1", "i8"), ("u1", "u8")])
def test_vectors_travel_in_their_own_type(client, server, dtype, code):
    made = client.create_collection("typed", 2, metric="l2", dtype=code)
    made.upsert(np.array([[1, 2]], dtype=dtype), [1])
    assert server.called("point.upsert")[-1]["vectors"].data == np.array([[1, 2]], dtype=dtype).tobytes()
    assert made.get(1).vector.dtype == dtype


@pytest.mark.parametrize("values", [[[1, 2]], np.array([[1, 2]]), np.array([[1, 2]], ">i2")])
def test_whole_numbers_that_have_no_type_of_their_own_are_what_the_collection_has(client, server, values):
    made = client.create_collection("whole", 2, metric="l2", dtype="i8")
    made.upsert(values, [1])
    assert server.called("point.upsert")[-1]["vectors"] == [[1, 2]]  # the server refuses floats there
    made.search(values, k=1)
    assert server.called("query.batch")[-1]["vectors"].code == 1  # and searches with them


@pytest.mark.parametrize("vectors", [[], np.zeros((0, 2), np.float32), None])
def test_no_points_are_written_without_asking_anybody(docs, server, vectors):
    asked = len(server.called("point.upsert"))
    assert docs.upsert(vectors, []).tolist() == []
    assert len(server.called("point.upsert")) == asked
    with pytest.raises(errors.InvalidError, match="0 ids for 1 vectors"):
        docs.upsert([[1, 2]], [])


@pytest.mark.parametrize(
    "values", [np.array([[1.5, 2]], ">f4"), np.array([[1.5, 2]], "f8"), np.array([[1.5, 9], [2, 9]], "f4").T[:1]]
)
def test_vectors_of_any_layout_are_sent_as_they_should_be(docs, server, values):
    docs.upsert(values, [50])
    sent = np.frombuffer(server.called("point.upsert")[-1]["vectors"].data, "<f4")
    assert sent.tolist() == np.asarray(values, "f4").reshape(-1).tolist()


# ---- collections and the cluster ----


def test_collections_and_aliases(client, server):
    made = client.create_collection("one", 3, dtype="f16", quantization=None, if_not_exists=True)
    assert (made.name, made.dimension, made.ndim, made.dim) == ("one", 3, 3, 3)
    assert (made.metric, made.space, made.dtype, made.quantization) == ("cosine", "cosine", "f16", None)
    with pytest.raises(errors.ExistsError):
        client.create_collection("one", 3)
    client.create_collection("one", 3, if_not_exists=True)
    client.set_alias("live", "one")
    assert client.aliases() == {"live": "one"}
    assert client.collection("live").info()["name"] == "one"
    client.drop_alias("live")
    assert [row["name"] for row in client.collections()] == ["one"]
    assert client.update_collection("one", replicas=1)["name"] == "one"
    client.drop_collection("one")
    client.drop_collection("one", if_exists=True)
    with pytest.raises(errors.NotFoundError, match="no collection 'one'"):
        made.count()
    with pytest.raises(errors.InvalidError, match="a name is"):
        client.collection("a b")


def test_upkeep_of_a_collection(docs, server):
    docs.index_field("n", "integer")
    assert server.collections["docs"].fields == {"n": "integer"}
    docs.drop_field("n")
    docs.build()
    docs.compact()
    docs.verify()
    docs.flush()
    stats = docs.stats()
    assert (stats["points"], stats["deleted"], stats["recall"], stats["memory_bytes"]) == (10, 0, None, 1000)
    with docs as same:
        assert same is docs
    assert repr(docs) == "<omendb.Collection 'docs'>"


def test_copies_that_differ_are_corrupt(docs, server, monkeypatch):
    copies = [{"node": "a", "checksum": "0" * 32}, {"node": "b", "checksum": "1" * 32}]
    said = {"shards": [{"shard": 3, "seq": 9, "copies": copies}]}
    monkeypatch.setattr(server, "_shard_verify", lambda session, ask: said)
    with pytest.raises(errors.CorruptError, match="the copies of shard 3 differ at 9"):
        docs.verify()


def test_copies_that_could_not_be_compared_are_a_warning(docs, server, monkeypatch):
    copies, missing = [{"node": "a", "checksum": "0" * 32}], [{"node": "b", "reason": "its node is dead"}]
    said = {"shards": [{"shard": 3, "seq": 9, "copies": copies, "missing": missing}]}
    monkeypatch.setattr(server, "_shard_verify", lambda session, ask: said)
    with pytest.warns(omendb.OmenWarning, match="shard 3 on b: its node is dead"):
        docs.verify()


def test_a_build_that_is_begun_says_its_number(docs, client):
    begun = docs.build(backend="cuda")
    assert isinstance(begun["job"], int)


def test_the_cluster(client):
    assert client.ping() < 5
    assert client.health() == {"live": True, "ready": True}
    assert client.info()["state"] == "green"
    assert client.members()[0]["state"] == "alive"
    assert client.nodes()[0]["name"] == "a"
    assert client.jobs() == [] and client.shards() == []
    assert client.call("system.ping") == {}
    with pytest.raises(errors.MethodError):
        client.call("no.such")


@with_keys
def test_keys(client):
    assert client.create_key("ci", "write").startswith("ci.")
    assert client.keys() == [{"name": "ci", "role": "write"}]
    client.revoke_key("ci")
    with pytest.raises(errors.NotFoundError):
        client.revoke_key("ci")


def test_where_nobody_is_asked_for_a_key_none_is_made_and_none_is_taken(client, server):
    with pytest.raises(errors.ConflictError, match="asks nobody for a key"):
        client.create_key("ci", "write")
    with pytest.raises(errors.AuthError):
        omendb.connect(server.address, api_key="ci.secret")


# ---- sessions ----


def test_a_session_says_what_it_has_seen(client, docs, server):
    docs.count()
    asked = server.called("point.count")[-1]
    assert asked["consistency"] == "session" and asked["after"] == {1: [1, 1]}
    fresh = client.collection("docs")
    fresh.count()
    assert "after" not in server.called("point.count")[-1]
    client.collection("docs", consistency="strong").count()
    assert server.called("point.count")[-1]["consistency"] == "strong"
    client.collection("docs", consistency="eventual").count()
    assert "consistency" not in server.called("point.count")[-1]
    with pytest.raises(errors.InvalidError, match="consistency"):
        client.collection("docs", consistency="most")


def test_a_session_does_not_go_back(docs):
    session = docs._requests.session
    session.saw({"token": {1: [2, 5], "7": [1, 1]}})
    session.saw({"token": {1: [1, 9]}})
    session.saw({"token": None})
    session.saw({})
    assert session.after() == {1: [2, 5], 7: [1, 1]}


# ---- failures ----


def test_what_is_retryable_is_tried_again_with_the_same_operation(docs, server):
    server.refuse("point.upsert", "BUSY", retryable=True, outcome="not_applied", times=3)
    docs.upsert([1, 2], 77)
    assert docs.get(77) is not None
    assert len(server.called("point.upsert")) == 2  # the first three were refused before


def test_a_write_whose_answer_is_lost_is_done_once(docs, server):
    before = server.collections["docs"].seq
    server.drop("point.upsert", after=True)
    docs.upsert([1, 2], 77)
    first, second = server.called("point.upsert")[-2:]
    assert first["op_id"] == second["op_id"] and len(first["op_id"]) == 16
    assert server.collections["docs"].seq == before + 1
    assert server.connections == 2


@pytest.mark.parametrize("ahead", [-7200.0, 7200.0])
def test_operations_are_drawn_by_the_clock_of_the_node_that_they_are_sent_to(server, ahead):
    server.clock_ahead = ahead
    with omendb.connect(server.address) as client:
        client.create_collection("docs", 2).upsert([1, 2], 77)
    for method in ("collection.create", "point.upsert"):
        drawn = int.from_bytes(server.called(method)[0]["op_id"][:6], "big") / 1000
        assert abs(drawn - time.time() - ahead) < 60


def test_an_operation_that_was_forgotten_is_an_error_of_unknown_outcome_and_not_tried_again(docs, server):
    server.refuse("point.upsert", "OP_EXPIRED", outcome="unknown")
    with pytest.raises(errors.OpExpiredError) as caught:
        docs.upsert([1, 2], 77)
    assert caught.value.outcome == "unknown" and docs.get(77) is None


@with_keys
@pytest.mark.parametrize(
    ("method", "change"),
    [
        ("collection.create", lambda client: client.create_collection("mine", 3)),
        ("collection.update", lambda client: client.update_collection("docs", replicas=1)),
        ("collection.drop", lambda client: client.drop_collection("docs")),
        ("alias.set", lambda client: client.set_alias("mine", "docs")),
        ("alias.drop", lambda client: client.drop_alias("now")),
        ("key.create", lambda client: client.create_key("mine", "read")),
        ("key.revoke", lambda client: client.revoke_key("ci")),
    ],
)
def test_a_change_of_the_cluster_whose_answer_is_lost_is_done_once(client, docs, server, method, change):
    client.set_alias("now", "docs")
    client.create_key("ci", "read")
    asked = len(server.called(method))
    server.drop(method, after=True)
    change(client)
    first, second = server.called(method)[asked:]
    assert first["op_id"] == second["op_id"] and len(first["op_id"]) == 16


@with_keys
def test_a_key_whose_answer_is_lost_is_said_again(client, server):
    server.drop("key.create", after=True)
    said = client.create_key("mine", "read")
    (first, second) = server.called("key.create")
    assert first["seed"] == second["seed"] and len(first["seed"]) == 16
    assert said == server.changes[next(iter(server.changes))]["api_key"]
    assert client.create_key("other", "read").partition(".")[2] != said.partition(".")[2]


def test_what_has_no_operation_is_not_done_again(client, server):
    server.drop("collection.create", after=True)
    with pytest.raises(errors.UnreachableError) as raised:
        client.call("collection.create", {"name": "lost", "dimension": 3})
    assert raised.value.outcome == "unknown"
    assert len(server.called("collection.create")) == 1
    server.refuse("collection.create", "BUSY", retryable=True, outcome="not_applied")
    client.call("collection.create", {"name": "found", "dimension": 3})  # nothing was done, says the server


def test_reads_are_asked_again_when_the_connection_breaks(docs, server):
    server.drop("point.count", times=2)
    assert docs.count() == 10
    server.disconnect()
    assert docs.count() == 10


def test_what_is_not_retryable_is_raised_at_once(docs, server):
    server.refuse("point.count", "CORRUPT")
    with pytest.raises(errors.CorruptError, match="on demand"):
        docs.count()
    server.refuse("point.upsert", "TIMEOUT", outcome="unknown")
    with pytest.raises(errors.OmenTimeoutError) as raised:
        docs.upsert([1, 2], 77)
    assert raised.value.outcome == "unknown"


def test_a_timeout_is_a_deadline_that_the_server_hears_of(docs, server):
    held = server.hold("point.count")
    tries = 0
    while not server.waits("point.count"):  # where this process stood still nothing was sent in time
        begun = time.monotonic()
        with pytest.raises(errors.OmenTimeoutError, match=r"point.count: no answer within 0.2 s"):
            docs._client.run(docs._requests.count(None), timeout=0.2)
        assert time.monotonic() - begun > 0.15
        tries += 1
    held.set()
    assert docs.count() == 10  # the late answer was passed over
    while len(server.called("point.count")) < 2:  # the held one goes on beside it
        docs._client.ping()
    *short, long = sorted(asked["deadline_ms"] for asked in server.called("point.count"))
    assert 1 <= len(short) <= tries and 0 < short[0] <= short[-1] <= 200 < long < 5000


def test_a_server_that_stays_busy_is_given_up_at_the_deadline(docs, server):
    server.refuse("point.count", "BUSY", retryable=True, times=1000)
    with pytest.raises(errors.BusyError):
        docs._client.run(docs._requests.count(None), timeout=0.3)


def test_nobody_there_is_said_of_every_address():
    with pytest.raises(errors.UnreachableError) as raised:
        omendb.connect("omen://127.0.0.1:1,127.0.0.1:2", timeout=2.0)
    said = str(raised.value).partition("reached: ")[2]
    assert sorted(reason.partition(": ")[0] for reason in said.split("; ")) == ["127.0.0.1:1", "127.0.0.1:2"]


def one_that_is_late_of_two(server, other, how):
    """Of the two the one that was asked so far, and the other; from now on the first answers nothing in time."""
    first, second = (server, other) if server.called("system.ping") else (other, server)
    if how == "refuses":
        first.refuse("system.ping", "STALE_MAP", retryable=True, times=1000)
    else:
        first.hold("system.ping")
    return first, second


LATE = (errors.StaleMapError, errors.OmenTimeoutError)


@pytest.mark.parametrize("how", ["refuses", "is silent"])
def test_another_node_is_asked_after_one_that_let_the_time_run_out(server, how):
    other = FakeServer()
    try:
        with omendb.connect(f"{server.address},127.0.0.1:{other.port}", timeout=5.0) as client:
            client.ping()
            first, second = one_that_is_late_of_two(server, other, how)
            with pytest.raises(LATE):
                client.run(asks.plain("system.ping"), timeout=0.2)
            client.ping()
            assert len(second.called("system.ping")) == 1
            first.hold("system.ping").set()
    finally:
        other.close()


@pytest.mark.parametrize("how", ["refuses", "is silent"])
def test_another_node_is_asked_after_one_that_let_the_time_run_out_by_asyncio_too(server, how):
    other = FakeServer()

    async def main():
        address = f"{server.address},127.0.0.1:{other.port}"
        async with await omendb.connect_async(address, timeout=5.0) as client:
            await client.ping()
            first, second = one_that_is_late_of_two(server, other, how)
            with pytest.raises(LATE):
                await client.run(asks.plain("system.ping"), timeout=0.2)
            await client.ping()
            assert len(second.called("system.ping")) == 1
            first.hold("system.ping").set()

    try:
        asyncio.run(main())
    finally:
        other.close()


def test_another_node_is_asked_when_one_is_gone(server):
    other = FakeServer()
    try:
        with omendb.connect(f"{server.address},127.0.0.1:{other.port}", timeout=5.0) as client:
            client.ping()
            mine, second = (server, other) if server.called("system.ping") else (other, server)
            mine.close()
            for _ in range(6):
                client.ping()
            assert len(mine.called("system.ping")) == 1 and len(second.called("system.ping")) == 6
    finally:
        other.close()


def test_a_key_is_said_first():
    server = FakeServer(api_key="ci.secret")
    try:
        with omendb.connect(server.address, api_key="ci.secret") as client:
            client.ping()
        assert server.calls[0][1] == {
            "client": "omendb-python",
            "version": "0.1.0",
            "api_key": "ci.secret",
            "errors": "map",
        }
        with pytest.raises(errors.AuthError, match="no such API key"):
            omendb.connect(server.address, api_key="wrong")
    finally:
        server.close()


def test_errors_as_texts_are_understood():
    server = FakeServer(errors="text")
    try:
        with omendb.connect(server.address) as client, pytest.raises(errors.NotFoundError, match="no collection 'x'"):
            client.collection("x").count()
    finally:
        server.close()


def test_a_closed_client_says_so(server):
    client = omendb.connect(server.address)
    client.close()
    client.close()
    assert client.closed and repr(client) == f"<omendb.Client {server.address} (closed)>"
    with pytest.raises(errors.ClosedError):
        client.ping()


def test_what_is_no_protocol_is_unreachable():
    import socket

    listener = socket.create_server(("127.0.0.1", 0))

    def talk() -> None:
        accepted, _ = listener.accept()
        accepted.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        accepted.close()

    thread = threading.Thread(target=talk)
    thread.start()
    with pytest.raises(errors.UnreachableError, match="no answer"):
        omendb.connect(f"omen://127.0.0.1:{listener.getsockname()[1]}", timeout=2.0)
    thread.join()
    listener.close()


def test_tls_is_not_there_and_says_so():
    with pytest.raises(errors.UnsupportedError, match="no TLS"):
        omendb.connect("omen://localhost", tls=True)


# ---- many at once ----


def test_many_ids_go_in_messages_that_fit():
    server = FakeServer(limits={"frame_bytes": 20_000, "batch": 10_000})
    try:
        with omendb.connect(server.address) as client:
            docs = client.create_collection("docs", 4, metric="l2")
            names = [f"{i:0200}" for i in range(300)]
            docs.upsert(np.ones((300, 4), dtype=np.float32), names)
            assert [point.id for point in docs.get(names)] == names
            assert docs.delete(names) == 300
            for method in ("point.get", "point.delete"):
                asked = server.called(method)
                assert max(len(each["ids"]) for each in asked) * 205 < 20_000 and len(asked) > 3
    finally:
        server.close()


def test_a_request_that_is_too_long_for_the_node_is_not_sent():
    server = FakeServer(limits={"frame_bytes": 20_000, "batch": 1000})
    try:
        with omendb.connect(server.address) as client:
            docs = client.create_collection("docs", 4, metric="l2")
            with pytest.raises(errors.InvalidError, match="the node takes 20000") as raised:
                docs.upsert(np.ones((1, 4), dtype=np.float32), [1], [{"text": "x" * 30_000}])
            assert raised.value.outcome == "not_applied"
            assert server.called("point.upsert") == []
            assert docs.count() == 0  # by the same connection
    finally:
        server.close()


def test_a_large_write_goes_in_messages_that_fit():
    server = FakeServer(limits={"frame_bytes": 20_000, "batch": 1000})
    try:
        with omendb.connect(server.address) as client:
            docs = client.create_collection("docs", 4, metric="l2")
            rows = np.arange(4 * 2500, dtype=np.float32).reshape(-1, 4)
            docs.upsert(rows, range(2500), [{"text": "x" * (i % 50)} for i in range(2500)])
            assert docs.count() == 2500
            asked = server.called("point.upsert")
            assert len(asked) > 3 and len({each["op_id"] for each in asked}) == len(asked)
            assert docs.get(1234).vector.tolist() == rows[1234].tolist()
            assert [point.id for point in docs.get(range(2500), with_vector=False)] == list(range(2500))
            ids, _ = docs.search(rows[:20], k=1)
            assert ids[:, 0].tolist() == list(range(20))
            assert docs.delete(range(2500)) == 2500
    finally:
        server.close()


def test_of_a_large_patch_the_points_that_are_not_there_are_refused_and_all_others_patched():
    server = FakeServer(limits={"batch": 10})
    try:
        with omendb.connect(server.address) as client:
            docs = client.create_collection("docs", 2, metric="l2")
            docs.upsert(np.ones((40, 2), np.float32), range(40), [{"n": i} for i in range(40)])
            ids = [99, *range(20), 98, *range(20, 40)]
            with pytest.raises(errors.NotFoundError, match="row 0") as raised:
                docs.patch(ids, set={"seen": True})
            assert [row for row, _ in raised.value.failed] == [0, 21]
            assert docs.count(F.seen == True) == 40  # noqa: E712
            assert len(server.called("point.patch")) == 5
    finally:
        server.close()


def test_a_matrix_that_is_too_large_for_a_message_goes_in_several(docs, server, monkeypatch):
    monkeypatch.setattr("omendb.client.requests._MATRIX_ROWS", 20)
    monkeypatch.setattr("omendb.client.requests._HITS_ROWS", 20)
    queries = np.array([[i % 10, 0] for i in range(25)])
    ids, distances = docs.search(queries, k=2)
    assert ids.shape == distances.shape == (25, 2) and ids[:, 0].tolist() == [i % 10 for i in range(25)]
    assert [hits.ids[0] for hits in docs.search_many(queries, k=2)] == [i % 10 for i in range(25)]
    assert len(server.called("query.batch")) == 6


def test_rows_that_are_refused_are_named_across_messages():
    server = FakeServer(limits={"frame_bytes": 16 << 20, "batch": 3})
    try:
        with omendb.connect(server.address) as client:
            docs = client.create_collection("docs", 1, metric="l2")
            docs.upsert(np.zeros((3, 1)), [1, 6, 7])
            docs.delete([6])
            docs.upsert(np.zeros((2, 1)), [5, 6])  # 5, 6 and 7 are a message of their own: an error and no answer
            with pytest.raises(errors.ExistsError) as raised:
                docs.add(np.zeros((10, 1)), range(10))
            assert [row for row, _ in raised.value.failed] == [1, 5, 6, 7]
            assert docs.count() == 10
    finally:
        server.close()


def test_threads_share_a_connection_and_get_their_own_answers(docs, server):
    wrong = []

    def ask(n: int) -> None:
        for i in range(50):
            at = (n + i) % 10
            if docs.search([at, 0], k=1).ids.tolist() != [at]:
                wrong.append(n)

    threads = [threading.Thread(target=ask, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == [] and server.connections == 1


def test_when_the_one_who_reads_runs_out_of_time_another_reads_on(docs, server):
    facets, counts = server.hold("point.facet"), server.hold("point.count")
    outcomes = []

    def reader() -> None:
        try:
            docs._client.run(docs._requests.count(None), timeout=0.3)
        except errors.OmenTimeoutError:
            outcomes.append("time was up")

    first = threading.Thread(target=reader)
    first.start()
    others = [threading.Thread(target=lambda: outcomes.append(len(docs.facet("odd")))) for _ in range(3)]
    for thread in others:
        thread.start()
    first.join(10)
    assert outcomes == ["time was up"]
    facets.set()
    for thread in others:
        thread.join(10)
    assert outcomes == ["time was up", 2, 2, 2] and server.connections == 1
    counts.set()


def test_who_is_interrupted_while_it_reads_leaves_a_new_connection_to_the_others(docs, server, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    (connection,) = docs._client._connections.values()
    monkeypatch.setattr(connection, "_poll", interrupted)
    with pytest.raises(KeyboardInterrupt):
        docs.count()
    assert connection.closed and docs.count() == 10


def test_an_answer_that_takes_long_holds_up_nobody(docs, server):
    held = server.hold("point.facet")
    found = []
    thread = threading.Thread(target=lambda: found.append(docs.facet("odd")))
    thread.start()
    while not server.held or docs.count() != 10:  # answered beside it
        pass
    assert found == []
    held.set()
    thread.join(10)
    assert len(found[0]) == 2 and server.connections == 1
