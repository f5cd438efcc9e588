"""Vectors from Arrow's stream interface: tables, chunked arrays, and streams that fail on the way."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from foreign import ArrowChunks
from test_input import stored, traced_peak

from omendb import Index, errors

DIMENSION = 8


def column(rows: np.ndarray, type_: pa.DataType | None = None) -> pa.FixedSizeListArray:
    values = pa.array(rows.ravel(), type_)
    return pa.FixedSizeListArray.from_arrays(values, rows.shape[1])


def chunked(rows: np.ndarray, *cuts: int) -> pa.ChunkedArray:
    return pa.chunked_array([column(part) for part in np.split(rows, cuts)], column(rows[:1]).type)


@pytest.fixture
def index():
    with Index(dimension=DIMENSION, metric="l2") as index:
        yield index


# ---- what is taken ----


SOURCES = {
    "array": lambda rows: column(rows),
    "slice": lambda rows: column(np.vstack([rows[:3], rows]))[3:],
    "one chunk": lambda rows: chunked(rows),
    "chunks": lambda rows: chunked(rows, 1, 50, 120),
    "chunks with empty ones": lambda rows: chunked(rows, 0, 50, 50, 200),
    "slice of chunks": lambda rows: chunked(np.vstack([rows, rows[:7]]), 9, 80)[:200],
    "slices as chunks": lambda rows: pa.chunked_array([column(rows)[:70], column(rows)[70:]]),
    "f64 chunks": lambda rows: chunked(rows.astype(np.float64), 33),
    "table of one column": lambda rows: pa.table({"vector": chunked(rows, 20)}),
    "slice of a table": lambda rows: pa.table({"vector": chunked(np.vstack([rows[:5], rows]), 20, 100)}).slice(5),
    "batch of records": lambda rows: pa.record_batch({"vector": column(np.vstack([rows[:5], rows]))}).slice(5),
    "column of a table": lambda rows: pa.table({"id": range(200), "vector": chunked(rows, 20)})["vector"],
    "reader": lambda rows: pa.table({"vector": chunked(rows, 20, 40)}).to_reader(),
    "bitmap without nulls": lambda rows: pa.chunked_array(
        [pa.array(list(rows), pa.list_(pa.float32(), DIMENSION)), column(rows)[:0]]
    ),
    "tensors": lambda rows: pa.ExtensionArray.from_storage(
        pa.fixed_shape_tensor(pa.float32(), (DIMENSION,)), column(rows)
    ),
}


@pytest.mark.parametrize("make", SOURCES.values(), ids=SOURCES)
def test_every_source_stores_the_same(index, vectors, make):
    assert index.add(make(vectors)).tolist() == list(range(200))
    assert np.array_equal(stored(index, 200), vectors)
    ids, distances = index.search(make(vectors), k=1, exact=True)
    assert ids.ravel().tolist() == list(range(200))
    assert not distances.any()


def test_integers_that_no_index_stores_come_through_as_floats_in_chunks():
    rows = np.arange(40).reshape(5, DIMENSION)
    with Index(dimension=DIMENSION, metric="l2") as index:
        index.add(chunked(rows, 2))
        assert np.array_equal(stored(index, 5), rows)


@pytest.mark.parametrize(("dtype", "type_"), [("f16", np.float16), ("i8", np.int8), ("u8", np.uint8)])
def test_narrow_types_come_through_in_chunks(dtype, type_):
    rows = np.arange(40).reshape(5, DIMENSION).astype(type_)
    with Index(dimension=DIMENSION, metric="l2", dtype=dtype) as index:
        index.add(chunked(rows, 2))
        assert np.array_equal(stored(index, 5), rows)


def test_numbers_without_rows_are_one_vector(index, vectors):
    assert index.add(pa.chunked_array([vectors[0, :3], vectors[0, 3:]]), 7) == 7
    assert np.array_equal(index.get(7).vector, vectors[0])


@pytest.mark.parametrize(
    "make",
    [lambda rows: chunked(rows)[:0], lambda rows: pa.table({"v": chunked(rows)[:0]}), lambda rows: column(rows)[:0]],
    ids=["chunks", "table", "array"],
)
def test_no_rows_are_no_error(index, vectors, make):
    assert index.add(make(vectors)).shape == (0,)
    assert index.search(make(vectors), k=3)[0].shape == (0, 3)


def test_one_chunk_is_read_where_it_lies_and_several_are_gathered():
    rows = np.ones((4000, 256), np.float32)
    for source, least, most in ((chunked(rows), 0, 0.1), (chunked(rows, 1000, 2000), 1, 1.1)):
        flat = Index(dimension=256, algorithm="flat")
        peak = traced_peak(lambda flat=flat, source=source: flat.add(source))
        assert least * rows.nbytes <= peak < most * rows.nbytes
        assert len(flat) == 4000


# ---- what is refused: nothing is written then ----


def with_null(rows: np.ndarray, at: int, component: int | None) -> pa.Array:
    lists = rows.tolist()
    if component is None:
        lists[at] = None
    else:
        lists[at][component] = None
    return pa.array(lists, pa.list_(pa.float32(), rows.shape[1]))


ROWS = np.ones((6, DIMENSION), np.float32)
REFUSED = {
    "null row": (lambda: pa.chunked_array([column(ROWS), with_null(ROWS, 2, None)]), errors.InvalidError, "row 8$"),
    "null component": (
        lambda: pa.chunked_array([column(ROWS), with_null(ROWS, 2, 5)]), errors.NotFiniteError, "row 8, component 5$",
    ),
    "null in one chunk": (lambda: pa.table({"v": with_null(ROWS, 3, 1)}), errors.NotFiniteError, "row 3, component 1$"),
    "null number": (lambda: pa.chunked_array([[1.0, None]]), errors.NotFiniteError, "component 1$"),
    "narrow lists": (lambda: chunked(ROWS[:, :7], 2), errors.DimensionError, "7 components; the index has dimension 8"),
    "narrow lists of none": (lambda: chunked(ROWS[:, :7])[:0], errors.DimensionError, "7 components"),
    "lists of any length": (lambda: pa.chunked_array([pa.array(ROWS.tolist())]), errors.DtypeError, "FixedSizeList"),
    "lists of bools": (lambda: chunked(ROWS.astype(bool), 2), errors.DtypeError, "format 'b'"),
    "lists of text": (
        lambda: pa.chunked_array([pa.FixedSizeListArray.from_arrays(pa.array(["a"] * 8), 8)]),
        errors.DtypeError, "format 'u'",
    ),
    "dictionary": (
        lambda: pa.chunked_array([pa.array([1.0] * 8, pa.float32()).dictionary_encode()]),
        errors.DtypeError, "dictionary",
    ),
    "two columns": (
        lambda: pa.table({"id": range(6), "v": column(ROWS)}), errors.DtypeError, r"2 columns; give the one",
    ),
    "infinity": (
        lambda: chunked(np.where(np.arange(6)[:, None] == 4, np.inf, ROWS), 3), errors.NotFiniteError, "row 4",
    ),
    "failing stream": (
        lambda: ArrowChunks([ROWS, ROWS], fail_at=1), errors.InvalidError, "failed: the disk is on fire",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("make", "error", "message"), REFUSED.values(), ids=REFUSED)
def test_refused_with_nothing_written(index, make, error, message):
    index.add(ROWS, range(100, 106))
    with pytest.raises(error, match=message):
        index.add(make())
    assert len(index) == 6


def test_a_reader_that_was_read_has_no_rows(index, vectors):
    reader = pa.table({"vector": chunked(vectors, 20)}).to_reader()
    index.add(reader)
    assert index.add(reader).shape == (0,)
    assert len(index) == 200


def test_what_no_capsule_comes_from_is_refused(index):
    class Liar:
        def __arrow_c_stream__(self, requested_schema=None):
            return 1

    with pytest.raises(ValueError, match="PyCapsule"):
        index.add(Liar())


def test_streams_that_need_a_missing_library_are_passed_over(index, vectors):
    class Series(list):
        def __arrow_c_stream__(self, requested_schema=None):
            raise ImportError("pyarrow is required")

    index.add(Series(vectors))
    assert np.array_equal(stored(index, 200), vectors)


# ---- nothing leaks ----


@pytest.mark.parametrize("cuts", [[], [70], [70, 70, 150]])
def test_chunks_are_released(index, vectors, cuts):
    source = ArrowChunks(np.split(vectors, cuts))
    index.add(source)
    index.search(source, k=1)
    assert (source.alive, source.dropped) == (0, 2)
    assert np.array_equal(stored(index, 200), vectors)


@pytest.mark.parametrize("fail_at", [0, 1, 2])
def test_chunks_are_released_after_a_failure(index, vectors, fail_at):
    source = ArrowChunks(np.split(vectors, [50, 100]), fail_at=fail_at)
    with pytest.raises(errors.InvalidError):
        index.add(source)
    assert (source.alive, source.dropped) == (0, 1)
    wide = ArrowChunks(np.split(np.hstack([vectors, vectors]), [50]))
    with pytest.raises(errors.DimensionError):
        index.add(wide)
    assert (wide.alive, wide.dropped) == (0, 1)
    assert len(index) == 0
