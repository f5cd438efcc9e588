"""Ids: integers 0..2^63-1 or texts, from every source; never bools, floats or bytes."""

from __future__ import annotations

import array

import numpy as np
import pytest

from omendb import Index, errors

ROWS = np.eye(3, 8, dtype=np.float32) + 1
LARGEST = 2**63 - 2


def make() -> Index:
    return Index(dimension=8, metric="l2", threads=1)


@pytest.mark.parametrize(
    "ids",
    [
        [5, 6, 70],
        (5, 6, 70),
        np.array([5, 6, 70]),
        np.array([5, 6, 70], np.uint64),
        np.array([5, 6, 70], np.int32),
        np.array([5, 6, 70], np.uint8),
        np.array([5, 0, 6, 0, 70, 0])[::2],
        np.array([70, 6, 5])[::-1],
        np.array([5, 6, 70], object),
        array.array("q", [5, 6, 70]),
        array.array("H", [5, 6, 70]),
        [np.int64(5), np.uint8(6), 70],
        iter([5, 6, 70]),
        dict.fromkeys([5, 6, 70]),
    ],
)  # fmt: skip
def test_integers_of_every_source(ids):
    with make() as index:
        given = index.add(ROWS, ids)
        assert given.tolist() == [5, 6, 70] and given.dtype == np.int64
        assert next(iter(index.search(ROWS[2])))[0] == 70
        assert 70 in index and np.int64(70) in index and 71 not in index


@pytest.mark.parametrize("ids", [["a", "é", "z" * 255], np.array(["a", "é", "z" * 255]), iter(["a", "é", "z" * 255])])
def test_texts_of_every_source(ids):
    with make() as index:
        assert index.add(ROWS, ids) == ["a", "é", "z" * 255]
        hits = index.search(ROWS[1], k=2)
        assert hits.ids[0] == "é" and hits.ids.dtype == object and next(iter(hits))[0] == "é"
        assert "é" in index and "e" not in index and 5 not in index
        ids, distances = index.search(ROWS, k=4)
        assert ids[:, 0].tolist() == ["a", "é", "z" * 255] and ids[:, 3].tolist() == [None] * 3
        assert np.isinf(distances[:, 3]).all()


def test_integers_at_the_limits_come_back_as_int64():
    with make() as index:
        index.add(ROWS, [0, 1, LARGEST])
        ids, _ = index.search(ROWS, k=1)
        assert ids.dtype == np.int64 and ids.ravel().tolist() == [0, 1, LARGEST]
        assert index.search(ROWS[2]).ids.dtype == np.int64
        assert LARGEST in index and 2**63 not in index and -1 not in index


def test_ids_are_numbered_on():
    with make() as index:
        assert index.add(ROWS).tolist() == [0, 1, 2]
        assert index.add(ROWS).tolist() == [3, 4, 5]


@pytest.mark.parametrize(
    ("ids", "error", "match"),
    [
        ([True, False, True], errors.IdTypeError, "bool"),
        (np.array([True, False, True]), errors.IdTypeError, "bool"),
        ([1, 2, True], errors.IdTypeError, "True"),
        ([1.0, 2.0, 3.0], errors.IdTypeError, "float"),
        (np.array([1.0, 2, 3]), errors.IdTypeError, "floating point"),
        ([1, 2, None], errors.IdTypeError, "None"),
        ([b"a", b"b", b"c"], errors.IdTypeError, "bytes"),
        (b"abc", errors.IdTypeError, "bytes"),
        (3.5, errors.IdTypeError, "float"),
        (object(), errors.IdTypeError, "object"),
        ([1, -2, 3], errors.IdRangeError, "row 1: id -2 is negative"),
        (np.array([1, -2, 3]), errors.IdRangeError, "row 1: id -2 is negative"),
        (np.array([1, -2, 3], np.int8), errors.IdRangeError, "row 1: id -2 is negative"),
        ([1, 2, 2**63], errors.IdRangeError, "row 2"),
        ([1, 2, -(2**70)], errors.IdRangeError, "row 2"),
        (np.array([1, 2, 2**63], np.uint64), errors.IdRangeError, "row 2: id 9223372036854775808"),
        ([1, "b", 3], errors.IdKindError, "row 1"),
        (["a", 2, "c"], errors.IdKindError, "row 1"),
        (["a", "b", ""], errors.IdLengthError, "."),
        (["a", "b", "z" * 256], errors.IdLengthError, "."),
        (["a", "b", "c\0d"], errors.IdLengthError, "NUL"),
        (["a", "b", "\ud800"], errors.IdLengthError, "UTF-8"),
        ([1, 2], errors.InvalidError, "2 ids for 3 vectors"),
        (7, errors.InvalidError, "1 ids for 3 vectors"),
        (np.array([[1, 2, 3]]), errors.InvalidError, "2 dimensions"),
        (np.array([1, 2, 3], ">i8"), errors.ByteOrderError, "big-endian"),
        ([4, 5, 4], errors.DuplicateIdError, "."),
        (["a", "b", "a"], errors.DuplicateIdError, "."),
    ],
)  # fmt: skip
def test_bad_ids_have_their_own_error_and_change_nothing(ids, error, match):
    with make() as index:
        for call in (index.add, index.upsert):
            with pytest.raises(error, match=match) as raised:
                call(ROWS, ids)
            assert type(raised.value) is error
        assert len(index) == 0
        index.add(ROWS, [1, 2, 3])
        assert len(index) == 3


@pytest.mark.parametrize("single", [True, 1.5, b"a", None])
def test_one_bad_id_is_refused_everywhere(single):
    with make() as index:
        index.add(ROWS)
        for call in (index.get, index.__contains__):
            with pytest.raises(errors.IdTypeError):
                call(single)
        if single is not None:  # which means: no ids
            with pytest.raises(errors.IdTypeError):
                index.delete(single)
            with pytest.raises(errors.IdTypeError):
                index.add(ROWS[0], single)
        assert len(index) == 3


def test_an_id_that_exists_is_refused_whole():
    with make() as index:
        index.add(ROWS, [1, 2, 3])
        with pytest.raises(errors.ExistsError):
            index.add(ROWS, [8, 9, 3])
        assert len(index) == 3 and 8 not in index


def test_upsert_replaces_and_inserts():
    with make() as index:
        index.add(ROWS, [1, 2, 3], [{"old": i} for i in range(3)])
        index.upsert(ROWS + 5, [2, 3, 4])
        assert len(index) == 4
        assert index.get(1).payload == {"old": 0} and index.get(2).payload is None
        assert np.array_equal(index.get(4).vector, ROWS[2] + 5)


def test_the_first_write_decides_the_kind():
    with make() as index:
        index.add(ROWS, ["a", "b", "c"])
        with pytest.raises(errors.IdKindError):
            index.add(ROWS, [1, 2, 3])
        with pytest.raises(errors.IdKindError):
            index.get(1)
        with pytest.raises(errors.IdKindError):
            index.delete(1)
        assert len(index) == 3
    with make() as index:
        index.add(ROWS, [1, 2, 3])
        with pytest.raises(errors.IdKindError):
            index.upsert(ROWS, ["a", "b", "c"])
        with pytest.raises(errors.IdKindError):
            index.get("a")
        assert "a" not in index


def test_get_keeps_the_order_and_says_what_is_missing():
    with make() as index:
        index.add(ROWS, [1, 2, 3])
        points = index.get([3, 99, 1])
        assert [p and p.id for p in points] == [3, None, 1]
        assert index.get(99) is None and index.get([]) == []
        point = index.get(2, with_vector=False)
        assert point.vector is None and point.payload is None
    with make() as index:
        index.add(ROWS, ["a", "b", "c"])
        assert [p and p.id for p in index.get(["c", "nobody", "a"])] == ["c", None, "a"]
        assert index.get("b").id == "b"


def test_delete_counts_what_was_there():
    with make() as index:
        index.add(ROWS, [1, 2, 3])
        assert index.delete([1, 99]) == 1
        assert index.delete(1) == 0
        assert index.delete(np.array([2, 3])) == 2
        assert index.delete([]) == 0
        assert len(index) == 0
        with pytest.raises(errors.InvalidError):
            index.delete()
        with pytest.raises(errors.InvalidError):
            index.delete([1], filter="a == 1")
    with make() as index:
        index.add(ROWS, ["a", "b", "c"])
        assert index.delete(["a", "nobody"]) == 1 and index.delete("b") == 1 and len(index) == 1
