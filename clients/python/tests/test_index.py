"""The life of an Index: arguments, properties, upkeep, statistics, closing."""

from __future__ import annotations

import copy
import gc
import inspect
import math
import pickle
import weakref

import numpy as np
import pytest

from omendb import Index, Recall, errors


def test_defaults_are_those_of_the_documentation():
    with Index(16) as index:
        assert (index.dimension, index.algorithm, index.metric, index.dtype) == (16, "hnsw+", "cosine", "f32")
        assert (index.quantization, index.path, index.closed) == ("int8", None, False)
        stats = index.stats()
        assert (stats["m"], stats["ef_construction"], stats["ef_search"]) == (16, 200, 64)
        assert len(index) == 0 and not index


def test_every_argument_is_taken_by_name_and_by_place():
    with Index(dimension=4, algorithm="flat", metric="ip", dtype="f16", path=None, m=8, ef_construction=50,
               ef_search=30, target_recall=0.9, quantization=None, read_only=False, threads=1, seed=3,
               max_memory=1 << 30) as index:  # fmt: skip
        assert (index.algorithm, index.metric, index.dtype, index.quantization) == ("flat", "ip", "f16", None)
        stats = index.stats()
        assert (stats["m"], stats["ef_construction"], stats["ef_search"]) == (8, 50, 30)
    with Index(4, "flat", "l2", "u8", None, 8, 50, 30, None, "int8", False, 1, 3, None) as index:
        assert (index.algorithm, index.metric, index.dtype) == ("flat", "l2", "u8")


@pytest.mark.parametrize(
    ("arguments", "error", "match"),
    [
        ({}, TypeError, "dimension"),
        ({"dimension": 0}, errors.InvalidError, "dimension"),
        ({"dimension": -1}, errors.InvalidError, "dimension"),
        ({"dimension": 65537}, errors.DimensionError, "dimension"),
        ({"dimension": 2**40}, errors.InvalidError, "dimension"),
        ({"dimension": "8"}, TypeError, "dimension"),
        ({"dimension": 8.0}, TypeError, "dimension"),
        ({"dimension": True}, TypeError, "dimension"),
        ({"dimension": 8, "metric": "manhattan"}, errors.InvalidError, "cosine, l2, ip"),
        ({"dimension": 8, "metric": None}, errors.InvalidError, "metric"),
        ({"dimension": 8, "dtype": "f64"}, errors.InvalidError, "bf16"),
        ({"dimension": 8, "algorithm": "ivf"}, errors.InvalidError, "hnsw"),
        ({"dimension": 8, "quantization": "int4"}, errors.InvalidError, "int8"),
        ({"dimension": 8, "m": 1}, errors.InvalidError, "m"),
        ({"dimension": 8, "m": 65}, errors.InvalidError, "m"),
        ({"dimension": 8, "target_recall": 1.0}, errors.InvalidError, "recall"),
        ({"dimension": 8, "threads": -1}, errors.InvalidError, "threads"),
        ({"dimension": 8, "seed": -1}, errors.InvalidError, "seed"),
        ({"dimension": 8, "max_memory": -1}, errors.InvalidError, "max_memory"),
        ({"dimension": 8, "dimensions": 8}, TypeError, "dimensions"),
        ({"path": "not/there"}, errors.NotFoundError, "not/there: nothing is there"),
        ({"dimension": 8, "path": "not/there"}, errors.InvalidError, "not/there: cannot make the directory"),
        ({"dimension": 8, "path": "not/there", "read_only": True}, errors.NotFoundError, "nothing is there"),
        ({"dimension": 8, "path": ""}, errors.InvalidError, "^the path is empty"),
        ({"dimension": 8, "slots_max": 0}, errors.InvalidError, "slots_max"),
        ({"dimension": 8, "slots_max": 2**31 - 1}, errors.InvalidError, "slots_max"),
        ({"dimension": 8, "path": 5}, TypeError, "."),
        ({"dimension": 8, "durability": "commit"}, errors.InvalidError, "in memory"),
        ({"dimension": 8, "durability": "never"}, errors.InvalidError, "commit, interval"),
        ({"dimension": 8, "interval_ms": 5}, errors.InvalidError, "durability='interval'"),
        ({"path": "not/there", "durability": "commit", "interval_ms": 5}, errors.InvalidError, "interval"),
        ({"path": "not/there", "durability": "interval", "interval_ms": 0}, errors.InvalidError, "interval_ms"),
    ],
    ids=str,
)
def test_bad_arguments_are_refused(arguments, error, match):
    with pytest.raises(error, match=match):
        Index(**arguments)


def test_an_argument_twice_or_too_many_is_refused():
    with pytest.raises(TypeError, match="multiple"):
        Index(8, dimension=8)
    with pytest.raises(TypeError, match="at most"):
        Index(*range(18))


def test_an_index_holds_as_many_rows_as_it_was_made_for(tmp_path):
    with Index(dimension=2, path=tmp_path / "index", slots_max=3) as index:
        index.add(np.eye(2), [1, 2])
        with pytest.raises(errors.FullError, match="at most 3 rows|2 of 3"):
            index.add(np.eye(2), [3, 4])
    with pytest.raises(errors.InvalidError, match="slots_max is 4, but the file's is 3"):
        Index(path=tmp_path / "index", slots_max=4)
    with Index(dimension=2, slots_max=2**25) as index:  # more than the links of 24 bits know
        index.add(np.eye(2), [1, 2])
        assert list(index.search([1, 0])[0]) == [1, 0.0]


def test_a_closed_index_is_not_entered():
    index = Index(2)
    index.close()
    with pytest.raises(errors.ClosedError), index:
        pass


def test_opening_twice_is_refused():
    index = Index(8)
    with pytest.raises(TypeError, match="before"):
        index.__init__(8)
    index.close()
    with pytest.raises(TypeError, match="before"):
        index.__init__(8)


def test_repr_says_what_it_is(index):
    assert repr(index) == "<omendb.Index of 200 vectors, dimension=8, metric='l2', dtype='f32'>"
    index.close()
    assert repr(index) == "<omendb.Index, closed>"


EVERY_CALL = {
    "add": lambda i: i.add([[1.0] * 8]),
    "upsert": lambda i: i.upsert([1.0] * 8, 1),
    "add_items": lambda i: i.add_items([[1.0] * 8]),
    "set_payloads": lambda i: i.set_payloads([1], [{}]),
    "delete": lambda i: i.delete(1),
    "delete where": lambda i: i.delete(filter="n == 1"),
    "get": lambda i: i.get(1),
    "scroll": lambda i: i.scroll(),
    "count": lambda i: i.count(),
    "search": lambda i: i.search([1.0] * 8),
    "search many": lambda i: i.search([[1.0] * 8]),
    "knn_query": lambda i: i.knn_query([1.0] * 8),
    "range_search": lambda i: i.range_search([1.0] * 8, 1.0),
    "index_field": lambda i: i.index_field("n", "integer"),
    "drop_field": lambda i: i.drop_field("n"),
    "build": lambda i: i.build(),
    "flush": lambda i: i.flush(),
    "compact": lambda i: i.compact(),
    "copy": lambda i: i.copy("somewhere"),
    "verify": lambda i: i.verify(),
    "recall": lambda i: i.recall(),
    "calibrate": lambda i: i.calibrate(),
    "stats": lambda i: i.stats(),
    "set_ef": lambda i: i.set_ef(10),
    "len": len,
    "in": lambda i: 1 in i,
}


@pytest.mark.parametrize("call", EVERY_CALL.values(), ids=EVERY_CALL)
def test_a_closed_index_refuses(index, call):
    index.close()
    index.close()  # twice is fine
    assert index.closed
    with pytest.raises(errors.ClosedError):
        call(index)


def test_hits_outlive_their_index_but_for_payloads(index, vectors):
    hits = index.search(vectors[0], k=3)
    kept = index.search(vectors[0], k=3)
    assert kept.payloads[0] == {"n": 0, "odd": False}
    point = index.get(0)
    index.close()
    assert hits.ids[0] == 0 and hits[0] == (0, 0.0)
    assert kept.payloads[0] == {"n": 0, "odd": False}
    assert np.array_equal(point.vector, vectors[0])
    with pytest.raises(errors.ClosedError):
        hits.payloads  # noqa: B018


def test_the_context_manager_closes_also_on_errors():
    with pytest.raises(KeyError), Index(8) as index:
        raise KeyError
    assert index.closed


def test_an_index_can_be_subclassed_and_is_collected():
    class Mine(Index):
        def double(self) -> int:
            return 2 * self.dimension

    index = Mine(dimension=4)
    index.add([1.0, 2, 3, 4])
    index.cycle = [index, index.search([1.0, 2, 3, 4])]  # index -> list -> hits -> index
    assert index.double() == 8
    gone = weakref.ref(index)
    del index
    gc.collect()
    assert gone() is None


def test_an_index_is_not_copied_by_accident(index):
    for call in (copy.copy, copy.deepcopy, pickle.dumps):
        with pytest.raises(TypeError):
            call(index)


def test_results_cannot_be_made_by_hand(index, vectors):
    with pytest.raises(TypeError):
        type(index.search(vectors[0]))()


# ---- upkeep ----


def test_upkeep_keeps_everything(index, vectors):
    index.delete(range(0, 200, 2))
    assert index.flush() is None
    assert index.build()["rows"] == 0  # so few are linked one by one
    assert index.compact() is None
    assert index.verify() is None
    assert len(index) == 100 and index.stats()["deleted"] == 0
    ids, _ = index.search(vectors[1::2], k=1, exact=True)
    assert ids.ravel().tolist() == list(range(1, 200, 2))


def test_calibration_needs_rows_and_makes_target_recall_hold(index, rng):
    with pytest.raises(errors.NotFoundError, match="calibrate"):
        index.calibrate()
    rows = rng.standard_normal((3000, 16)).astype(np.float32)
    with Index(dimension=16) as large:
        large.add(rows)
        large.flush()
        assert large.calibrate() is None
        assert large.recall(samples=100, target_recall=0.95) >= 0.9


def test_build_reports_progress(index):
    calls = []
    index.build(progress=lambda linked, total: calls.append((linked, total)))
    assert calls and all(0 <= linked <= total == 200 for linked, total in calls)


def test_build_stops_when_progress_says_so(index):
    def fail(linked: int, total: int) -> None:
        raise ZeroDivisionError("mine")

    with pytest.raises(ZeroDivisionError, match="mine"):
        index.build(progress=fail)
    with pytest.raises(errors.CancelledError):
        index.build(progress=lambda linked, total: False)
    with pytest.raises(TypeError):
        index.build(progress=5)
    index.build()
    assert len(index) == 200


def test_backends_are_named(index):
    done = index.build(backend="cpu")
    assert set(done) == {"backend", "rows", "seconds", "device", "reason", "memory", "stages"}
    assert done["device"] is None
    assert (done["memory"], done["stages"]) == (0, [])  # nothing was left to be built
    with pytest.raises(errors.InvalidError, match="cuda"):
        index.build(backend="tpu")
    with pytest.raises(errors.UnsupportedError):
        index.build(backend="cuda")


def test_a_build_tells_its_stages():
    with Index(dimension=32) as large:
        large.add(np.random.default_rng(3).standard_normal((3000, 32), "f4"))
        done = large.build(backend="cpu", again=True, max_memory=1 << 26)
    stages = {stage["name"]: stage for stage in done["stages"]}
    assert done["rows"] == 3000 and list(stages)[-1] == "install"
    assert {"same", "partition", "leaves", "choose", "reverse", "reach"} <= set(stages)
    assert done["memory"] == max(stage["memory"] for stage in done["stages"]) <= 1 << 26
    assert 0 < sum(stage["seconds"] for stage in done["stages"]) <= done["seconds"]
    assert stages["leaves"]["read"] >= 3000 * 32


def test_a_copy_wants_a_path(index):
    with pytest.raises(TypeError):
        index.copy(5)


def test_recall_is_a_float_that_knows_more(index):
    recall = index.recall(samples=50, k=5)
    assert isinstance(recall, Recall) and 0.9 <= recall <= 1.0
    assert recall.low <= recall <= recall.high + 1e-9 and (recall.samples, recall.k) == (50, 5)
    assert recall.evaluations >= 0 and "recall@5" in repr(recall)
    again = pickle.loads(pickle.dumps(recall))
    assert again == recall and again.low == recall.low
    assert index.recall(samples=20, ef=100) >= 0.9 and index.recall(samples=20, target_recall=0.9) >= 0.5
    for bad in ({"samples": 0}, {"k": 0}, {"ef": 0}, {"target_recall": 2.0}):
        with pytest.raises(ValueError):
            index.recall(**bad)


def test_statistics_add_up(index, vectors):
    index.search(vectors[0])
    stats = index.stats()
    assert stats["count"] == stats["rows"] == 200 and stats["deleted"] == 0
    assert set(stats["memory"]) == {"links", "codes", "ids", "vectors", "payloads", "fields", "search", "other"}
    assert all(size >= 0 for size in stats["memory"].values())
    assert stats["memory"]["vectors"] >= vectors.nbytes
    assert stats["bytes_per_vector"] > 0 and math.isfinite(stats["bytes_per_vector"])
    assert stats["recall"] is None and stats["open_seconds"] >= 0
    assert stats["kernel"] in ("scalar", "avx2", "avx512", "neon")
    assert (stats["metric"], stats["dtype"], stats["algorithm"], stats["quantization"]) == (
        "l2",
        "f32",
        "hnsw+",
        "int8",
    )


def test_memory_has_a_limit():
    with Index(dimension=64, max_memory=1 << 20) as index:
        with pytest.raises(errors.NoMemoryError) as raised:
            index.add(np.ones((100_000, 64), np.float32))
        assert isinstance(raised.value, MemoryError)
        assert len(index) == 0


def test_a_read_only_index_refuses_writes():
    with Index(dimension=2, read_only=True) as index:
        with pytest.raises(errors.ReadOnlyError):
            index.add([1.0, 2.0])
        assert len(index) == 0


def test_one_thread_and_a_seed_are_deterministic(rng):
    rows = rng.standard_normal((2000, 16)).astype(np.float32)
    answers = []
    for _ in range(2):
        with Index(dimension=16, threads=1, seed=5) as index:
            index.add(rows)
            index.flush()
            answers.append(index.search(rows[:100], k=10, ef=16))
    assert np.array_equal(answers[0][0], answers[1][0]) and np.array_equal(answers[0][1], answers[1][1])


# ---- errors ----


def test_every_error_is_an_omen_error_and_a_builtin():
    classes = [c for _, c in inspect.getmembers(errors, inspect.isclass) if issubclass(c, errors.OmenError)]
    assert len(classes) == 40
    builtins = (ValueError, TypeError, KeyError, RuntimeError, MemoryError, OSError, NotImplementedError)
    for error in classes:
        assert error is errors.OmenError or issubclass(error, builtins), error
        assert error.__doc__ and str(error("what was wrong")) == "what was wrong"
    numbers = {c.status for c in classes}
    assert numbers == set(range(-35, 1))
