"""One library in one process: takes commands as lines of JSON, answers with lines of JSON.

Started by bench/ann.py as `python -m bench.worker VARIANT`. Libraries that print to stdout would break the
conversation, so stdout is moved away first and stderr takes its place.
"""

import importlib.metadata
import json
import os
import pathlib
import sys
import traceback

import numpy as np

from bench import data, measure, peers


class Worker:
    def __init__(self, name):
        (self.variant,) = [v for v in peers.VARIANTS if v.name == name]
        self.peer = peers.open_peer(self.variant)

    def hello(self):
        version = self.peer.version()
        if version is None:
            version = importlib.metadata.version(self.variant.distribution)
        return {"version": version, "points": self.peer.points, "parallel": self.peer.parallel}

    def build(self, name, rows, queries, k, m, ef_construction, threads, cache=None):
        dataset = data.load(name)
        if rows < len(dataset.base) or queries < len(dataset.query):
            dataset = data.cached_subset(dataset, rows, queries)
        self.query, self.truth, self.k = np.ascontiguousarray(dataset.query), dataset.truth, k
        base = np.array(dataset.base)  # a copy in memory before the clock starts: the disk is not the subject
        measure.touch_memory()
        before = measure.anonymous_bytes()
        measure.pin(measure.CORES[:threads] if threads < len(measure.CORES) else None)
        seconds, reused = self._build(base, dataset.metric, m, ef_construction, threads, cache)
        self.peer.ready()
        held = measure.anonymous_bytes() - before
        outside = self.peer.memory()
        return {
            "seconds": seconds,
            "reused": reused,
            "vectors_per_second": len(base) / seconds,
            "bytes_per_vector": (held if outside is None else outside) / len(base),
            "note": self.peer.note,
        }

    def _build(self, base, metric, m, ef_construction, threads, cache):
        times = cache and cache + ".seconds"
        if cache and os.path.exists(times):
            self.peer.load(pathlib.Path(cache), base, metric)
            return float(open(times).read()), True
        start = measure.clock()
        self.peer.build(base, metric, m, ef_construction, threads)
        seconds = getattr(self.peer, "build_seconds", None) or measure.clock() - start
        if cache and self.peer.save(pathlib.Path(cache)):
            with open(times, "w") as file:
                file.write(f"{seconds}\n")
        return seconds, False

    def probe(self, point, threads):
        """Recall over all queries, and a first idea of the speed."""
        point = _point(point)
        measure.pin()
        start = measure.clock()
        ids = self.peer.search(self.query, self.k, point, threads)
        return {"recall": measure.recall(ids, self.truth, self.k), "qps": len(self.query) / (measure.clock() - start)}

    def time(self, point, threads, expected_qps, at_least):
        """QPS of batches; a slow point is timed on the first queries only."""
        measure.pin(measure.CORES[-1:] if threads == 1 else None)
        count = int(min(len(self.query), max(50, 1.5 * expected_qps)))
        part = self.query[:count]
        return {"qps": measure.rate(lambda: self.peer.search(part, self.k, _point(point), threads), count, at_least)}

    def latency(self, point, count):
        """Quantiles of single calls, one after the other, on one core."""
        measure.pin(measure.CORES[-1:])
        point = _point(point)
        took = measure.each(lambda query: self.peer.one(query, self.k, point), self.query[:count])
        return {"p50_us": measure.quantile_us(took, 0.5), "p99_us": measure.quantile_us(took, 0.99)}


def _point(point):
    return tuple(point) if isinstance(point, list) else point


def main():
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)

    def answer(value):
        answers.write(json.dumps(value) + "\n")

    try:
        worker = Worker(sys.argv[1])
        answer(worker.hello())
    except (ImportError, OSError) as error:
        answer({"missing": (f"{error}".strip() or type(error).__name__).splitlines()[0]})
        return
    try:
        for line in sys.stdin:
            words = json.loads(line)
            answer(getattr(worker, words.pop("do"))(**words))
    except Exception as error:  # whatever a peer throws is its failure, to be reported and not to end the run
        traceback.print_exc()
        answer({"failed": f"{type(error).__name__}: {error}".splitlines()[0]})
    finally:
        worker.peer.close()


if __name__ == "__main__":
    main()
