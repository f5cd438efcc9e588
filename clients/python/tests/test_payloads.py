"""Payloads: Python values as msgpack and back."""

from __future__ import annotations

import datetime
import math
import uuid

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from omendb import Ext, Index, errors, pack, unpack

UTC = datetime.UTC
scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False)
    | st.text()
    | st.binary()
    | st.datetimes(timezones=st.just(UTC))
    | st.builds(Ext, st.integers(-128, 127).filter(lambda code: code != -1), st.binary(max_size=300))
)
values = st.recursive(scalars, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=20)


@settings(max_examples=300, deadline=None)
@given(values)
def test_what_goes_in_comes_out(value):
    back = unpack(pack(value))
    assert back == value and type(back) is type(value)


@pytest.mark.parametrize(
    ("value", "packed"),
    [
        (None, "c0"), (False, "c2"), (True, "c3"), (0, "00"), (127, "7f"), (128, "cc80"), (255, "ccff"),
        (256, "cd0100"), (65536, "ce00010000"), (2**32, "cf0000000100000000"), (-1, "ff"), (-32, "e0"),
        (-33, "d0df"), (-129, "d1ff7f"), (-32769, "d2ffff7fff"), (-(2**31) - 1, "d3ffffffff7fffffff"),
        (1.5, "cb3ff8000000000000"), ("", "a0"), ("é", "a2c3a9"), ("x" * 32, "d920" + "78" * 32), (b"\1", "c40101"),
        ([], "90"), ({}, "80"), ({"a": [1]}, "81a16191" + "01"), (Ext(5, b"z"), "c701057a"),
        (datetime.datetime(1970, 1, 1, tzinfo=UTC), "d6ff00000000"),
        (datetime.datetime(1970, 1, 1, 0, 0, 1, 1, tzinfo=UTC), "d7ff00000fa000000001"),
        (datetime.datetime(1969, 12, 31, 23, 59, 59, tzinfo=UTC), "c70cff00000000ffffffffffffffff"),
    ],
)  # fmt: skip
def test_bytes_are_those_of_the_specification(value, packed):
    assert pack(value).hex() == packed
    assert unpack(bytes.fromhex(packed)) == value


@pytest.mark.parametrize("count", [15, 16, 255, 256, 65535, 65536])
def test_lengths_at_every_step_of_the_format(count):
    for value in ("x" * count, b"x" * count, [None] * count, {str(i): i for i in range(count)}, Ext(1, b"x" * count)):
        assert unpack(pack(value)) == value


def test_short_forms_of_others_are_read():
    assert unpack(bytes.fromhex("ca3fc00000")) == 1.5
    assert unpack(bytes.fromhex("d401aa")) == Ext(1, b"\xaa")
    assert unpack(bytes.fromhex("d801" + "00" * 16)) == Ext(1, bytes(16))
    assert unpack(b"\xa2\xff\xfe") == b"\xff\xfe".decode("utf-8", "surrogateescape")


def test_values_of_other_types_become_the_nearest():
    assert unpack(pack((1, 2))) == [1, 2]
    assert unpack(pack({"u": uuid.UUID(int=7)})) == {"u": "00000000-0000-0000-0000-000000000007"}
    assert unpack(pack([np.int64(3), np.uint8(4), np.float32(0.5), np.float64(2.5)])) == [3, 4, 0.5, 2.5]
    assert unpack(pack(np.bool_(True))) is True
    assert unpack(pack([bytearray(b"a"), memoryview(b"b")])) == [b"a", b"b"]
    assert math.isnan(unpack(pack(math.nan)))
    local = datetime.datetime(2024, 2, 29, 13, tzinfo=datetime.timezone(datetime.timedelta(hours=1)))
    assert unpack(pack(local)) == local and unpack(pack(local)).tzinfo is UTC


@pytest.mark.parametrize(
    ("value", "match"),
    [
        ({1, 2}, "set"), (object(), "object"), (2**64, "2\\^64"), (-(2**63) - 1, "outside"), ({1: 2}, "keys are str"),
        (datetime.datetime(2024, 1, 1), "time zone"), (datetime.date(2024, 1, 1), "date"), ("\ud800", "UTF-8"),
        (1j, "complex"), (np.zeros(3), "ndarray"), (np.zeros(1), "ndarray"), (Ext(128, b""), "128"),
    ],
)  # fmt: skip
def test_what_cannot_be_stored_is_refused(value, match):
    with pytest.raises(errors.PayloadError, match=match):
        pack(value)
    with Index(dimension=2) as index:
        with pytest.raises(errors.PayloadError, match=match):
            index.add([[1, 2], [3, 4]], payloads=[None, {"deep": [value]}])
        assert len(index) == 0


def test_nesting_without_end_is_refused():
    endless: list = []
    endless.append(endless)
    with pytest.raises(errors.PayloadError, match="nested"):
        pack(endless)
    with pytest.raises(errors.PayloadError):
        unpack(b"\x91" * 100 + b"\xc0")


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=60))
def test_any_bytes_are_read_or_refused(data):
    try:
        unpack(data)
    except errors.PayloadError:
        pass
    except TypeError as error:
        assert "unhashable" in str(error)  # a map with a list as its key


@given(values, st.data())
@settings(max_examples=100, deadline=None)
def test_cut_bytes_are_refused(value, data):
    packed = pack(value)
    cut = data.draw(st.integers(0, len(packed) - 1))
    with pytest.raises(errors.PayloadError):
        unpack(packed[:cut])
    with pytest.raises(errors.PayloadError):
        unpack(packed + b"\xc0")


class Changing:
    """An int that changes its container when it is read."""

    def __init__(self, change):
        self.change = change

    def __index__(self):
        self.change()
        return 1


def test_containers_that_change_meanwhile_are_errors():
    growing: dict = {}
    growing["a"] = Changing(lambda: growing.update({str(len(growing)): 1}))
    with pytest.raises(RuntimeError, match="changed"):
        pack(growing)
    shrinking: list = [0, 0]
    shrinking[0] = Changing(shrinking.clear)
    with pytest.raises(IndexError):
        pack(shrinking)


def test_points_have_their_payloads():
    payload = {"city": "Ålesund", "tags": ["a", "b"], "at": datetime.datetime(2024, 5, 1, 12, 30, 1, 5, tzinfo=UTC),
               "raw": b"\0\xff", "nested": {"x": 1.5, "none": None}}  # fmt: skip
    with Index(dimension=2) as index:
        index.add([[1, 2], [3, 4], [5, 6]], payloads=[payload, None, {}])
        assert index.get(0).payload == payload
        assert index.get(1).payload is None
        assert index.search([1, 2], k=1).payloads == [payload]
        assert index.add([1, 1], 9, {"one": 1}) == 9
        assert index.add([1, 1], 10, [{"one": 1}]) == 10
        assert index.get(9).payload == index.get(10).payload == {"one": 1}


def test_set_payloads_replaces_only_them():
    with Index(dimension=2, metric="l2") as index:
        index.add([[1, 2], [3, 4]], payloads=[{"a": 1}, {"a": 2}])
        index.set_payloads([1], [{"b": 3}])
        index.set_payloads(0, {"c": 4})
        assert [p.payload for p in index.get([0, 1])] == [{"c": 4}, {"b": 3}]
        assert index.get(1).vector.tolist() == [3, 4]
        index.set_payloads([0], [None])
        assert index.get(0).payload is None
        with pytest.raises(errors.NotFoundError) as raised:
            index.set_payloads([1, 77], [{"x": 1}, {"x": 1}])
        assert isinstance(raised.value, KeyError) and not str(raised.value).startswith("'")
        assert index.get(1).payload == {"b": 3}
        with pytest.raises(errors.PayloadError):
            index.set_payloads([1], None)


@pytest.mark.parametrize("payloads", [[{}], {"a": 1}, "text", [1, 2], 5, [{}, {}, {}]])
def test_payloads_that_do_not_fit_the_rows_are_refused(payloads):
    with Index(dimension=2) as index:
        with pytest.raises(errors.PayloadError):
            index.add([[1, 2], [3, 4]], payloads=payloads)
        assert len(index) == 0


def test_a_payload_that_is_too_large_is_refused():
    with Index(dimension=2) as index:
        index.add([1, 2], 0, {"x": "y" * 60_000})
        with pytest.raises(errors.PayloadError):
            index.add([1, 2], 1, {"x": "y" * 70_000})
        assert len(index) == 1
