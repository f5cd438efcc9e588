"""The client's bytes: as the C side wrote them down, and what is no msgpack-RPC."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from uuid import UUID

import msgpack
import numpy as np
import protocol
import pytest

from omendb import errors
from omendb.client import results, wire
from omendb.client.wire import Answers, Clock, Params, error_of, operation_id, pack, vector_of
from omendb.types import Ext, Point

GOLDEN = protocol.ROOT / "tests/golden/wire"
golden = pytest.mark.skipif(not GOLDEN.exists(), reason="not in a checkout")


def unpacked(name: str, **options) -> list:
    unpacker = msgpack.Unpacker(raw=False, strict_map_key=False, ext_hook=Ext, **options)
    unpacker.feed((GOLDEN / name).read_bytes())
    return list(unpacker)


def has_a_key_twice(pairs) -> bool:
    """Of maps as lists of pairs: the files are random, and a token of theirs has a shard twice, which a dict cannot."""
    if isinstance(pairs, tuple | list):
        keys = [
            pair[0] for pair in pairs if isinstance(pair, tuple) and len(pair) == 2 and not isinstance(pair[0], list)
        ]
        return len(set(map(str, keys))) < len(keys) or any(has_a_key_twice(each) for each in pairs)
    return False


# ---- golden files: what an earlier build of the server wrote ----


@golden
@pytest.mark.parametrize("name", ["requests-1.msgpack", "requests-2.msgpack"])
def test_requests_are_packed_to_the_bytes_that_the_server_writes(name):
    data = (GOLDEN / name).read_bytes()
    doubled = [has_a_key_twice(each[3]) for each in unpacked(name, object_pairs_hook=list)]
    assert sum(doubled) < 5
    for (_, number, method, params), twice in zip(unpacked(name), doubled, strict=True):
        assert twice or Params(method, params[0]).request(number, None) in data, method


@golden
def test_a_library_that_is_told_nothing_decodes_every_answer():
    unpacker = msgpack.Unpacker()
    unpacker.feed((GOLDEN / "answers-2.msgpack").read_bytes())
    assert len(list(unpacker)) == 54


@golden
@pytest.mark.parametrize("name", ["answers-1.msgpack", "answers-2.msgpack"])
@pytest.mark.parametrize("piece", [1, 7, 1 << 20])
def test_answers_of_every_method_are_read_in_pieces_of_any_size(piece, name):
    data = (GOLDEN / name).read_bytes()
    answers = Answers()
    found = [each for at in range(0, len(data), piece) for each in answers.feed(data[at : at + piece])]
    assert [number for number, _, _ in found] == [1000 * i for i in range(54)]
    assert all(error is None and isinstance(result, dict) for _, error, result in found)


@golden
def test_every_answer_that_the_client_decodes_is_decoded():
    methods = [method for _, _, method, _ in unpacked("requests-1.msgpack")]
    answers = {method: answer[3] for method, answer in zip(methods, unpacked("answers-1.msgpack"), strict=True)}
    for point in answers["point.get"]["points"]:
        assert point is None or isinstance(results.point_of(point), Point)
    for method in ("query.search", "query.range", "query.recommend"):
        hits = results.hits_of(answers[method])
        assert len(hits) == len(answers[method]["hits"]) == len(hits.payloads)
    assert len(results.hits_of_each(answers["query.batch"])) == len(answers["query.batch"].get("results", ()))
    assert results.recall_of(answers["recall.measure"]) == answers["recall.measure"]["recall"]
    refused = results.refusals(answers["point.upsert"], first_row=5)
    assert [row for row, _ in refused] == [5 + each["row"] for each in answers["point.upsert"].get("failed", ())]


@golden
def test_requests_and_answers_pass_the_servers_tables():
    methods = protocol.methods()
    if not methods:
        pytest.skip("no C compiler")
    assert len(methods) == 54
    for _, _, method, params in unpacked("requests-1.msgpack"):
        assert methods[method][0].complaint(params[0]) is None, method


# ---- requests ----


def test_a_request_is_an_array_of_a_number_a_method_and_one_map():
    asked = msgpack.unpackb(Params("point.count", {"collection": "docs", "filter": None}).request(7, 250))
    assert asked == [0, 7, "point.count", [{"collection": "docs", "deadline_ms": 250}]]
    assert msgpack.unpackb(Params("system.hello", {}).request(1, None)) == [0, 1, "system.hello", [{}]]


def test_an_operation_is_named_when_it_is_first_sent_and_keeps_its_name():
    params = Params("point.delete", {"ids": [1]}, operation=True)
    first = msgpack.unpackb(params.request(7, 250, Clock({"time_ms": 5000})))[3][0]
    again = msgpack.unpackb(params.request(8, 100, Clock({"time_ms": 900_000})))[3][0]
    assert {**first, "deadline_ms": 100} == again
    drawn = first["op_id"]
    assert 5000 <= int.from_bytes(drawn[:6], "big") < 65000
    assert (drawn[6] >> 4, drawn[8] >> 6, len(drawn)) == (7, 2, 16)


def test_an_older_node_says_no_time_and_ours_is_taken():
    before = time.time_ns() // 1_000_000
    assert before <= Clock({}).ms() <= time.time_ns() // 1_000_000
    assert before <= int.from_bytes(operation_id()[:6], "big") <= time.time_ns() // 1_000_000


def test_a_deadline_that_is_given_is_not_said_twice():
    asked = msgpack.unpackb(Params("system.ping", {"deadline_ms": 5}).request(7, 250))
    assert asked[3] == [{"deadline_ms": 5}]


def test_python_values_are_packed_as_the_engine_packs_them():
    value = {
        "np": np.float32(1.5), "int": np.int64(7), "bool": np.bool_(True), "text": np.str_("x"), "tuple": (1, 2),
        "array": np.array([1, 2]), "uuid": UUID(int=1), "ext": Ext(9, b"x"), "bytes": b"\x00", "none": None,
    }  # fmt: skip
    back = msgpack.unpackb(pack(value), ext_hook=Ext)
    assert back == {
        "np": 1.5, "int": 7, "bool": True, "text": "x", "tuple": [1, 2], "array": [1, 2],
        "uuid": "00000000-0000-0000-0000-000000000001", "ext": Ext(9, b"x"), "bytes": b"\x00", "none": None,
    }  # fmt: skip


@pytest.mark.parametrize(
    "moment",
    [datetime(2024, 5, 6, 7, 8, 9, 123456, UTC), datetime(1970, 1, 1, tzinfo=UTC), datetime(1, 1, 1, tzinfo=UTC)],
)
def test_moments_come_back(moment):
    back = wire.moments(msgpack.unpackb(pack({"at": [moment]})))
    assert back == {"at": [moment]}


def test_a_moment_beyond_pythons_years_is_an_extension():
    far = msgpack.packb({"at": msgpack.Timestamp(10**12, 5)})
    assert isinstance(wire.moments(msgpack.unpackb(far))["at"], Ext)


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ({1j: 2}, "complex"),
        ({"x": object()}, "object"),
        ({"x": 2**64}, "an int is outside"),
        ({"x": datetime(2024, 1, 1)}, "time zone"),
    ],
)
def test_what_cannot_be_packed_is_a_payload_error(value, words):
    with pytest.raises(errors.PayloadError, match=words):
        pack(value)


# ---- vectors ----


@pytest.mark.parametrize("code, dtype", [(1, "f4"), (2, "f2"), (4, "i1"), (5, "u1")])
def test_vectors_come_back_in_their_type(code, dtype):
    vector = np.array([1, 2, 3], dtype=dtype)
    back = vector_of(Ext(code, vector.tobytes()))
    assert back.dtype == dtype and (back == vector).all()


def test_bf16_and_plain_forms_are_float32():
    halves = (np.array([1.0, -2.5], np.float32).view(np.uint32) >> 16).astype("<u2")
    assert vector_of(Ext(3, halves.tobytes())).tolist() == [1.0, -2.5]
    assert vector_of(np.array([1.5], np.float32).tobytes()).tolist() == [1.5]
    assert vector_of([1, 2]).dtype == np.float32
    assert vector_of(None) is None


def test_an_unknown_vector_type_is_a_version_error():
    with pytest.raises(errors.VersionError, match="extension 77"):
        vector_of(Ext(77, b""))


# ---- answers and errors ----


@pytest.mark.parametrize(
    "data", [b"\x01", b"\x80", b"\x90", b"\x93\x01\x01\xc0", b"\x94\x05\x01\xc0\xc0", b"\x94\x01\xa1x\xc0\xc0", b"\xc1"]
)
def test_what_is_no_answer_is_refused(data):
    with pytest.raises(ValueError):
        Answers().feed(data)


def test_notifications_are_passed_over():
    assert Answers().feed(msgpack.packb([2, "news", [{}]]) + msgpack.packb([1, 5, None, {}])) == [(5, None, {})]


def test_every_name_of_the_servers_list_has_its_class():
    header = protocol.ROOT / "base/status.h"
    if not header.exists():
        pytest.skip("not in a checkout")
    import re

    listed = re.findall(r"X\(OMEN_E_(\w+), (-\d+)", header.read_text())
    assert len(listed) == 35
    for name, number in listed:
        error = wire.error_named(name, "what was wrong")
        assert error.status == int(number), name
        assert str(error) == "what was wrong"


def test_errors_come_as_maps_and_as_texts():
    said = {
        "code": -3,
        "name": "BUSY",
        "message": "later",
        "retryable": True,
        "outcome": "not_applied",
        "details": {"a": 1},
    }
    error = error_of(said)
    assert isinstance(error, errors.BusyError)
    assert (error.retryable, error.outcome, error.details) == (True, "not_applied", {"a": 1})
    text = error_of("NOT_FOUND: no collection 'x'")
    assert isinstance(text, errors.NotFoundError) and str(text) == "no collection 'x'" and not text.retryable
    assert error_of("BUSY: later").retryable
    assert isinstance(error_of("odd"), errors.InternalError)
    assert str(error_of("NEW_KIND: of trouble")) == "NEW_KIND: of trouble"
