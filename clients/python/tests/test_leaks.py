"""Nothing is kept that should have gone: neither Python's memory, nor references, nor the engine's memory."""

from __future__ import annotations

import gc
import subprocess
import sys
import tempfile
import tracemalloc

import numpy as np
import pytest
from foreign import ArrowChunks, ArrowRows, Tensor

from omendb import F, Index, errors, pack, unpack

ROWS = np.ones((20, 8), np.float32) + np.eye(20, 8, dtype=np.float32)
PAYLOADS = [{"n": i, "list": [1, "two", {"x": b"y"}]} for i in range(20)]
ARROW, TENSOR, APART = ArrowRows(ROWS), Tensor(ROWS), Tensor(ROWS[:, ::2])
CHUNKS = ArrowChunks([ROWS[:5], ROWS[5:]])
TEXTS = [f"id {i}" for i in range(20)]
HOME = tempfile.TemporaryDirectory()  # of an index that is opened again and again
Index(dimension=4, algorithm="flat", threads=1, path=HOME.name + "/index").close()


def refuse(error, call, *arguments, **named) -> None:
    try:  # not pytest.raises, which keeps tracebacks for a while
        call(*arguments, **named)
    except error:
        return
    raise AssertionError("not refused")


ACTIONS = {
    "upsert": lambda i, t: i.upsert(ROWS, range(20), PAYLOADS),
    "upsert list": lambda i, t: i.upsert(ROWS.tolist(), list(range(20))),
    "upsert f64": lambda i, t: i.upsert(ROWS.astype(float), np.arange(20, dtype=np.int32)),
    "upsert text": lambda i, t: t.upsert(ROWS, TEXTS, PAYLOADS),
    "upsert one": lambda i, t: i.upsert(ROWS[0], 0, {"a": 1}),
    "arrow": lambda i, t: i.upsert(ARROW, range(20)),
    "arrow chunks": lambda i, t: i.upsert(CHUNKS, range(20)),
    "dlpack": lambda i, t: i.upsert(TENSOR, range(20)),
    "set_payloads": lambda i, t: i.set_payloads(range(20), PAYLOADS),
    "search": lambda i, t: i.search(ROWS[0], k=5),
    "search all parts": lambda i, t: [(h.ids, h.distances, h.payloads, h.report, h.warnings, list(h), repr(h))
                                      for h in (i.search(ROWS[0]), t.search(ROWS[0]))],
    "search many": lambda i, t: (i.search(ROWS), t.search(ROWS)),
    "search filtered": lambda i, t: [i.search(ROWS[0], filter=f) for f in ("n > 3", {"n": 3}, F.n > 3)],
    "range": lambda i, t: (i.range_search(ROWS[0], 5.0), t.range_search(ROWS, 5.0)),
    "get": lambda i, t: (i.get(3), i.get(range(20)), t.get(TEXTS), i.get(999)),
    "scroll": lambda i, t: (i.scroll(F.n < 9), t.scroll(limit=3)),
    "count": lambda i, t: (i.count(), i.count("n > 3"), len(i), 3 in i, "x" in t),
    "delete": lambda i, t: (i.delete([999]), t.delete(["nobody"]), i.delete(filter="n == 999")),
    "stats": lambda i, t: (i.stats(), i.recall(samples=3), repr(i), i.metric, i.path),
    "build": lambda i, t: i.build(progress=lambda linked, total: None),
    "knn_query": lambda i, t: i.knn_query(ROWS, k=2),
    "conditional": lambda i, t: [refuse(errors.UnsupportedError, i.upsert, ROWS[:2], [0, 1], None, version)
                                 for version in (0, [1, None], np.array([1, 2]))],
    "bad conditions": lambda i, t: [refuse((errors.OmenError, TypeError), i.upsert, ROWS[:2], [0, 1], None, bad)
                                    for bad in (-1, [1], "x", [1, "x"], 1.5, 2**64)],
    "bad vectors": lambda i, t: [refuse(errors.OmenError, i.add, bad) for bad in
                                 (ROWS[:, :7], ROWS.T, ROWS.astype(">f4"), "x", ROWS * np.nan, APART, [["x"] * 8])],
    "bad ids": lambda i, t: [refuse(errors.OmenError, i.add, ROWS[:2], bad)
                             for bad in ([True, 1], [1], ["a", "b"], [1, -1])],
    "bad payloads": lambda i, t: refuse(errors.PayloadError, i.add, ROWS[:2], None, [{"a": 1}, {"b": {1}}]),
    "bad filters": lambda i, t: [refuse(errors.FilterError, i.search, ROWS[0], filter=bad)
                                 for bad in ("(", {}, {"a": {1}}, 5)],
    "bad arguments": lambda i, t: [refuse(TypeError, i.search, ROWS[0], nearest=1), refuse(TypeError, i.search)],
    "msgpack": lambda i, t: unpack(pack(PAYLOADS)),
    "open and close": lambda i, t: Index(dimension=4, algorithm="flat", threads=1).close(),
    "open and drop": lambda i, t: Index(dimension=4, algorithm="flat", threads=1),
    "open a path": lambda i, t: Index(dimension=4, algorithm="flat", threads=1, path=HOME.name + "/index").close(),
    "open a path in vain": lambda i, t: refuse(errors.InvalidError, Index, dimension=5, path=HOME.name + "/index"),
    "copy": lambda i, t: refuse(errors.ExistsError, i.copy, HOME.name + "/index"),
    "no such path": lambda i, t: refuse(errors.NotFoundError, Index, path="not/there"),
    "open in vain": lambda i, t: refuse(errors.InvalidError, Index, dimension=0),
}  # fmt: skip


@pytest.fixture(scope="module")
def indexes():
    with Index(dimension=8, metric="l2", threads=1) as numbered, Index(dimension=8, metric="l2", threads=1) as named:
        numbered.add(ROWS, range(20), PAYLOADS)
        named.add(ROWS, TEXTS, PAYLOADS)
        yield numbered, named


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("action", ACTIONS.values(), ids=ACTIONS)
def test_repeating_keeps_no_python_memory(indexes, action):
    growth = []
    tracemalloc.start()
    try:
        for _ in range(12):  # caches fill up once or now and then; a leak grows in every round
            gc.collect()
            before = tracemalloc.get_traced_memory()[0]
            for _ in range(50):
                action(*indexes)
            gc.collect()
            growth.append(tracemalloc.get_traced_memory()[0] - before)
            if growth[-1] < 50 * 24:  # no object is smaller than 24 bytes
                return
    finally:
        tracemalloc.stop()
    pytest.fail(f"bytes kept by each round of 50 calls: {growth}")


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("action", ACTIONS.values(), ids=ACTIONS)
def test_repeating_keeps_no_references(indexes, action):
    watched = [ROWS, PAYLOADS, PAYLOADS[0], TEXTS, TEXTS[0], *indexes, errors.FilterError]
    action(*indexes)
    gc.collect()
    before = [sys.getrefcount(thing) for thing in watched]
    for _ in range(50):
        action(*indexes)
    gc.collect()
    after = [sys.getrefcount(thing) for thing in watched]
    assert all(b - a < 10 for a, b in zip(before, after, strict=True)), (before, after)


# In a process of its own, where no other index works in the background.
GIVE_BACK = """
import numpy as np
from omendb import Index

def resident_bytes():
    with open("/proc/self/statm") as statm:
        return int(statm.read().split()[1]) * 4096

def work():
    with Index(dimension=64, metric="l2", threads=1) as index:
        index.add(np.random.default_rng(1).standard_normal((2000, 64)).astype(np.float32))
        for _ in range(6):
            ids, distances = index.search(np.ones((100, 64), np.float32), k=1000)
            points, _ = index.scroll(limit=2000)
            assert ids.shape == distances.shape == (100, 1000) and len(points) == 2000

work()
before = resident_bytes()
for _ in range(4):
    work()
print(resident_bytes() - before)
"""


def test_answers_and_indexes_give_their_memory_back():
    run = subprocess.run([sys.executable, "-c", GIVE_BACK], capture_output=True, text=True, check=True, timeout=120)
    assert int(run.stdout) < 6 << 20  # one answer is 1 MiB, and a round makes 20 of its size
