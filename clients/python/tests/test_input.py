"""Vectors from everywhere: what is read in place, what is converted, and what is refused."""

from __future__ import annotations

import array
import tracemalloc

import numpy as np
import pytest
from conftest import nearest
from foreign import ArrowRows, Tensor

from omendb import Index, errors


def stored(index: Index, count: int) -> np.ndarray:
    return np.stack([point.vector for point in index.get(range(count))])


def traced_peak(action) -> int:
    """The most that Python's allocators gave out while `action` ran."""
    tracemalloc.start()
    try:
        action()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


# ---- in place ----


@pytest.mark.parametrize(
    "wrap",
    [lambda a: a, memoryview, ArrowRows, Tensor, lambda a: a[::2], lambda a: Tensor(a[::2])],
    ids=["numpy", "memoryview", "arrow", "dlpack", "numpy rows apart", "dlpack rows apart"],
)
def test_f32_rows_are_not_copied(wrap):
    rows = np.ones((4000, 256), np.float32)
    index = Index(dimension=256, algorithm="flat")
    source = wrap(rows)
    peak = traced_peak(lambda: index.add(source))
    assert peak < rows.nbytes / 10
    assert len(index) in (2000, 4000)


def test_f64_rows_are_converted_by_one_copy_of_half_their_size():
    rows = np.ones((4000, 256))
    index = Index(dimension=256, algorithm="flat")
    assert rows.nbytes / 2 <= traced_peak(lambda: index.add(rows)) < rows.nbytes * 0.6


def test_input_is_released_after_the_call(vectors):
    index = Index(dimension=8)
    lent = bytearray(vectors.tobytes())
    index.add(memoryview(lent).cast("f", (200, 8)), range(200))
    index.search(memoryview(lent).cast("f", (200, 8)))
    lent.extend(b"x")  # BufferError if anybody still held it


def test_input_is_released_after_an_error(vectors):
    index = Index(dimension=9)
    lent = bytearray(vectors.tobytes())
    with pytest.raises(errors.DimensionError):
        index.add(memoryview(lent).cast("f", (200, 8)))
    lent.extend(b"x")


@pytest.mark.parametrize(
    "wrap",
    [
        lambda a: a,
        lambda a: a.astype(np.float64),
        lambda a: np.repeat(a, 2, axis=0)[::2],
        lambda a: a[::-1][::-1],
        lambda a: np.hstack([a, a])[:, :8],
        lambda a: np.frombuffer(b"x" + a.tobytes(), np.uint8)[1:].view(np.float32).reshape(a.shape),
        lambda a: a.tolist(),
        lambda a: list(a),
        lambda a: [row.tolist() for row in a],
        lambda a: [array.array("f", row) for row in a],
        lambda a: tuple(a.astype(np.float64)),
        memoryview,
        ArrowRows,
        lambda a: ArrowRows(np.vstack([a[:3], a]), offset=3),
        lambda a: ArrowRows(a, valid=[True] * len(a)),
        lambda a: ArrowRows(a.astype(np.float64)),
        Tensor,
        lambda a: Tensor(a, dense=True),
        lambda a: Tensor(a.astype(np.float64)),
    ],
    ids=[
        "numpy", "f64", "rows apart", "twice reversed", "columns of wider rows", "unaligned", "lists",
        "list of arrays", "list of lists", "list of array.array", "tuple of f64", "memoryview", "arrow", "arrow offset",
        "arrow bitmap", "arrow f64", "dlpack", "dlpack without strides", "dlpack f64",
    ],
)  # fmt: skip
def test_every_source_stores_the_same(vectors, wrap):
    with Index(dimension=8, metric="l2") as index:
        assert index.add(wrap(vectors)).tolist() == list(range(200))
        assert np.array_equal(stored(index, 200), vectors)
        ids, distances = index.search(wrap(vectors), k=1, exact=True)
        assert ids.ravel().tolist() == list(range(200))
        assert not distances.any()


def test_reversed_and_broadcast_rows_are_copied(vectors):
    with Index(dimension=8, metric="l2") as index:
        index.add(vectors[::-1])
        assert np.array_equal(stored(index, 200), vectors[::-1])
    with Index(dimension=8, metric="l2") as index:
        index.add(np.broadcast_to(vectors[0], (5, 8)))
        assert np.array_equal(stored(index, 5), np.tile(vectors[0], (5, 1)))


def test_foreign_arrays_are_let_go(vectors):
    with Index(dimension=8) as index:
        arrow, tensor = ArrowRows(vectors), Tensor(vectors)
        index.add(arrow, range(200))
        index.upsert(tensor, range(200))
        assert (arrow.dropped, tensor.dropped) == (2, 1)
        wide = Index(dimension=9)
        with pytest.raises(errors.DimensionError):
            wide.add(arrow)
        with pytest.raises(errors.DimensionError):
            wide.add(tensor)
        assert (arrow.dropped, tensor.dropped) == (4, 2)


def test_one_vector_gives_one_id(vectors):
    with Index(dimension=8) as index:
        assert index.add(vectors[0]) == 0
        assert index.add(vectors[1].tolist(), 9) == 9
        assert index.add(vectors[2], [11]) == 11
        assert index.add(ArrowRows(vectors[3]), 12) == 12
        assert index.add(Tensor(vectors[4]), 13) == 13
        assert index.add(vectors[5]) == 14
        assert isinstance(index.add(vectors[6]), int)


def test_no_rows_are_no_error(vectors):
    with Index(dimension=8) as index:
        for empty in (np.empty((0, 8), np.float32), [], np.empty((0, 8))):
            added = index.add(empty)
            assert added.shape == (0,) and added.dtype == np.int64
            ids, distances = index.search(empty, k=3)
            assert ids.shape == (0, 3) and distances.shape == (0, 3)
        assert len(index) == 0


# ---- other element types ----


@pytest.mark.parametrize(("dtype", "numpy_dtype"), [("f16", np.float16), ("i8", np.int8), ("u8", np.uint8)])
def test_own_types_come_back_as_they_went_in(rng, dtype, numpy_dtype):
    rows = rng.integers(1, 100, (50, 16)).astype(numpy_dtype)
    with Index(dimension=16, dtype=dtype, metric="l2") as index:
        for source in (rows, Tensor(rows), ArrowRows(rows)):
            index.upsert(source, range(50))
            back = stored(index, 50)
            assert back.dtype == numpy_dtype and np.array_equal(back, rows)
        assert index.search(rows[3], k=1).ids.tolist() == nearest(rows, rows[3], 1)
        assert index.search(rows[3].astype(np.float32), k=1).ids.tolist() == nearest(rows, rows[3], 1)


def test_f16_and_bf16_indexes_take_f32_and_f64(rng):
    rows = rng.integers(-100, 100, (20, 4)).astype(np.float32)  # exact in both
    for dtype in ("f16", "bf16"):
        with Index(dimension=4, dtype=dtype, metric="l2") as index:
            index.add(rows)
            index.upsert(rows.astype(np.float64), range(20))
            assert np.array_equal(stored(index, 20), rows)


def test_bf16_is_taken_as_uint16_and_given_as_f32(rng):
    rows = rng.standard_normal((20, 4)).astype(np.float32)
    bits = (rows.view(np.uint32) >> 16).astype(np.uint16)
    exact = (bits.astype(np.uint32) << 16).view(np.float32)
    with Index(dimension=4, dtype="bf16", metric="l2") as index:
        index.add(bits)
        index.add(Tensor(bits, code=4))
        back = stored(index, 40)
        assert back.dtype == np.float32 and np.array_equal(back, np.vstack([exact, exact]))


@pytest.mark.parametrize("dtype", ["f32", "f16", "bf16"])
@pytest.mark.parametrize(
    "element", [np.float16, np.float64, *(np.dtype(code) for code in ("i1", "u1", "i2", "i4", "u4", "i8", "u8"))]
)
def test_an_index_of_floats_takes_any_numbers_and_is_searched_with_them(rng, dtype, element):
    rows = rng.integers(1, 100, (20, 4)).astype(element)  # exact in all of them
    for wrap in (np.asarray, Tensor, ArrowRows, list):
        with Index(dimension=4, dtype=dtype, metric="l2") as index:
            index.add(wrap(rows))
            assert np.array_equal(stored(index, 20), rows.astype(np.float32))
            ids, distances = index.search(wrap(rows), k=1, exact=True)
            assert not distances.any()


def test_half_floats_widen_exactly_into_an_f32_index():
    patterns = np.arange(65536, dtype=np.uint16).view(np.float16)
    finite = patterns[np.isfinite(patterns)].reshape(-1, 64)
    with Index(dimension=64, metric="l2") as index:
        index.add(finite)
        assert np.array_equal(stored(index, len(finite)), finite.astype(np.float32))


def test_lists_of_ints_fill_i8_and_u8():
    with Index(dimension=3, dtype="i8", metric="l2") as index:
        index.add([[-128, 0, 127]])
        assert index.get(0).vector.tolist() == [-128, 0, 127]
        for bad in ([[0, 0, 128]], [[0, 0, 0.5]], [[0, 0, "x"]], [[0, 0, 2**80]]):
            with pytest.raises(errors.DtypeError, match="row 0: component 2"):
                index.add(bad)
    with Index(dimension=3, dtype="u8", metric="l2") as index:
        index.add([0, 1, 255])
        with pytest.raises(errors.DtypeError, match="component 1"):
            index.add([0, -1, 255])


# ---- refused, each by its own class, and nothing changed ----

ROWS = np.ones((2, 8), np.float32)
BAD_VECTORS = [
    ("big-endian", ROWS.astype(">f4"), errors.ByteOrderError, "big-endian"),
    ("big-endian f64", ROWS.astype(">f8"), errors.ByteOrderError, "big-endian"),
    ("components apart", np.ones((2, 16), np.float32)[:, ::2], errors.LayoutError, "8 bytes apart"),
    ("column order", np.asfortranarray(ROWS), errors.LayoutError, "ascontiguousarray"),
    ("components backwards", ROWS[:, ::-1], errors.LayoutError, "-4 bytes apart"),
    ("one vector apart", np.ones(16, np.float32)[::2], errors.LayoutError, "8 bytes apart"),
    ("dlpack apart", Tensor(np.ones((2, 16), np.float32)[:, ::2]), errors.LayoutError, "8 bytes apart"),
    ("complex", ROWS.astype(np.complex64), errors.DtypeError, "format"),
    ("bool", ROWS.astype(bool), errors.DtypeError, "format"),
    ("objects", ROWS.astype(object), errors.DtypeError, "format"),
    ("u16 for f32", ROWS.astype(np.uint16), errors.DtypeError, "vectors are u16"),
    ("dlpack bool", Tensor(ROWS.astype(np.uint8), code=6), errors.DtypeError, "code 6, 8 bits"),
    ("text", "vector", errors.DtypeError, "give an array"),
    ("number", 3.5, errors.DtypeError, "give an array"),
    ("nothing", None, errors.DtypeError, "give an array"),
    ("list with text", [[1.0] * 7 + ["x"]], errors.DtypeError, "row 0: component 7"),
    ("list of text", ["vector"], errors.DtypeError, "row 0"),
    ("narrow", ROWS[:, :7], errors.DimensionError, "7 components; the index has dimension 8"),
    ("wide", np.ones((2, 9), np.float32), errors.DimensionError, "9 components"),
    ("one narrow", ROWS[0, :7], errors.DimensionError, "7 components"),
    ("narrow list", [[1.0] * 7], errors.DimensionError, "7 components"),
    ("ragged list", [[1.0] * 8, [1.0] * 7], errors.DimensionError, "7 components"),
    ("cube", np.ones((2, 2, 8), np.float32), errors.DimensionError, "3 dimensions"),
    ("scalar", np.float32(1), errors.DimensionError, "0 dimensions"),
    ("dlpack cube", Tensor(np.ones((2, 2, 8), np.float32)), errors.DimensionError, "3 dimensions"),
    ("narrow arrow", ArrowRows(ROWS[:, :7]), errors.DimensionError, "7 components"),
    ("on a GPU", Tensor(ROWS, device=2), errors.UnsupportedError, "CPU"),
    ("arrow null", ArrowRows(ROWS, valid=[True, False]), errors.InvalidError, "null row"),
    ("NaN", np.where(np.eye(2, 8), np.nan, ROWS).astype(np.float32), errors.NotFiniteError, "component"),
    ("NaN in f64", np.where(np.eye(2, 8), np.nan, ROWS), errors.NotFiniteError, "component"),
    ("NaN in a list", [[1.0] * 7 + [float("nan")]], errors.NotFiniteError, "component"),
    ("infinity", np.where(np.eye(2, 8), np.inf, ROWS).astype(np.float32), errors.NotFiniteError, "component"),
    ("too large for f32", ROWS.astype(np.float64) * 1e300, errors.NotFiniteError, "component"),
    ("zero", ROWS * 0, errors.ZeroVectorError, "."),
]


@pytest.mark.parametrize(
    ("vectors", "error", "match"), [bad[1:] for bad in BAD_VECTORS], ids=[b[0] for b in BAD_VECTORS]
)
def test_bad_vectors_have_their_own_error_and_change_nothing(vectors, error, match):
    with Index(dimension=8, metric="cosine") as index:
        index.add(ROWS[:1], [7], [{"kept": True}])
        for call in (index.add, index.upsert, index.search):
            with pytest.raises(error, match=match) as raised:
                call(vectors)
            assert type(raised.value) is error
        assert len(index) == 1
        assert index.get(7).payload == {"kept": True}


@pytest.mark.parametrize("element", [np.float32, np.float64, np.float16, np.uint8])
def test_an_i8_index_stores_only_i8(element):
    with Index(dimension=8, dtype="i8") as index:
        with pytest.raises(errors.DtypeError, match="only its own type"):
            index.add(np.ones((2, 8), element))
        assert len(index) == 0


class Broken:
    """Protocols that misbehave."""

    def __init__(self, **answers):
        self.answers = answers


class BrokenArrow(Broken):
    def __arrow_c_array__(self, requested_schema=None):
        return self.answers["answer"]


class BrokenTensor(Broken):
    def __dlpack__(self, **_arguments):
        return self.answers["answer"]


@pytest.mark.parametrize("answer", [None, (1, 2), (1,), [1, 2]])
def test_malformed_producers_are_errors(answer):
    with Index(dimension=8) as index:
        with pytest.raises((TypeError, ValueError)):
            index.add(BrokenArrow(answer=answer))
        with pytest.raises(errors.UnsupportedError):
            index.add(BrokenTensor(answer=answer))


def test_producers_own_errors_pass_through():
    class Failing:
        def __dlpack__(self, **_arguments):
            raise KeyError("mine")

    with Index(dimension=8) as index, pytest.raises(KeyError, match="mine"):
        index.add(Failing())
