"""Latency of single searches, idle, beside a writer that never pauses, and beside a build of all rows.

`python -m bench.latency [--sets NAME...]`

The index links with one worker here, so that on two cores one is left to the searcher; the same with a
worker per core is shown beside and has no bar. The writer is a thread of the same process that upserts
batches of existing rows, as fast as they are taken. The builder is one that makes all links anew, again and again, with a thread
a core: searches have to share with it.

Beside the first build nothing is linked yet, and each search compares all rows: what it takes beside the build is put beside a flat index's,
which does the same with nothing beside it.
"""

import argparse
import threading

import numpy as np
import omendb

from bench import data, measure, report

LADDER = (10, 12, 16, 20, 24, 32, 48, 64, 96, 128, 192, 256)
BATCH = 500
FIRST_ROWS, FIRST_SEARCHES = 40_000, 2_000


class Beside:
    """Does step() again and again in a thread until left; the rate is of the rows that it says it has done."""

    def __init__(self, step):
        self.step, self.rows = step, 0
        self.stopping = threading.Event()
        self.thread = threading.Thread(target=self._run)

    def _run(self):
        while not self.stopping.is_set():
            self.rows += self.step()

    def __enter__(self):
        self.start = measure.clock()
        self.thread.start()
        return self

    def __exit__(self, *error):
        self.stopping.set()
        self.thread.join()
        self.rate = self.rows / (measure.clock() - self.start)


def writing(index, base, seed=9):
    """Upserts some rows and waits for their links, so that the rate is the index's."""
    random = np.random.default_rng(seed)

    def step():
        ids = random.choice(len(base), BATCH, replace=False)
        index.upsert(base[ids], ids)
        index.flush()
        return BATCH

    return Beside(step)


def building(index):
    def step():
        index.build(again=True)
        return len(index)

    return Beside(step)


def quantiles(index, queries, ef, at_least):
    took = []
    start = measure.clock()
    while measure.clock() - start < at_least:
        took.append(measure.each(lambda query: index.search(query, k=10, ef=ef), queries))
    took = np.concatenate(took)
    return measure.quantile_us(took, 0.5), measure.quantile_us(took, 0.99), len(took)


def first_build(dataset):
    """Quantiles of searches that compare all rows, by turns: beside builds of indexes that have no links yet, and of a flat index."""
    base, queries = np.array(dataset.base[:FIRST_ROWS]), dataset.query[:1000]
    flat = omendb.Index(dimension=dataset.dim, metric=dataset.metric, algorithm="flat")
    flat.add(base)
    alone, beside, rows, seconds = [], [], 0, 0.0
    while len(beside) < FIRST_SEARCHES:
        with omendb.Index(dimension=dataset.dim, metric=dataset.metric) as index:
            index.add(base)
            done = threading.Event()
            waits = threading.Thread(target=lambda index=index, done=done: (index.flush(), done.set()))
            start, first = measure.clock(), len(beside)
            waits.start()
            while not done.is_set():
                asked = measure.clock()
                index.search(queries[len(beside) % len(queries)], k=10)
                beside.append(measure.clock() - asked)
            waits.join()
            rows, seconds = rows + len(base), seconds + measure.clock() - start
        for at in range(first, len(beside)):
            asked = measure.clock()
            flat.search(queries[at % len(queries)], k=10)
            alone.append(measure.clock() - asked)
    cells = [measure.quantile_us(np.array(took), share) for took in (alone, beside) for share in (0.5, 0.99)]
    times = cells[3] / cells[1]
    return [*[f"{cell:,.0f}" for cell in cells], f"{times:.2f}x", f"{rows / seconds:,.0f}", f"{len(beside):,}"], times


def run(name, options):
    dataset = data.load(name)
    dataset = data.cached_subset(dataset, options.rows or len(dataset.base), len(dataset.query))
    base, queries = np.array(dataset.base), dataset.query[:1000]
    rows, beside, verdicts = [], [], []
    for workers in (1, 0):
        index = omendb.Index(dimension=dataset.dim, metric=dataset.metric, threads=workers)
        index.add(base, np.arange(len(base)))
        index.flush()
        for ef in LADDER:
            recall = measure.recall(index.search(queries, k=10, ef=ef)[0], dataset.truth)
            if recall >= 0.95:
                break
        idle = [quantiles(index, queries, ef, options.seconds) for _ in range(3)]
        p50, p99 = (float(np.median([part[i] for part in idle])) for i in (0, 1))
        with building(index) as builder:
            built50, built99, asked = quantiles(index, queries, ef, 3 * options.seconds)
        with writing(index, base) as writer:
            busy50, busy99, calls = quantiles(index, queries, ef, 3 * options.seconds)
        label = "1" if workers == 1 else f"{len(measure.CORES)}"
        idle = [f"{ef}", f"{recall:.3f}", f"{p50:.0f}", f"{p99:.0f}", f"{p99 / p50:.1f}x"]
        busy = [f"{busy50:.0f}", f"{busy99:.0f}", f"{busy99 / p50:.1f}x", f"{writer.rate:,.0f}", f"{calls:,}"]
        rows.append([name, label, *idle, *busy])
        if workers == 0:
            times = built99 / p99
            beside.append([name, f"{p99:.0f}", f"{built50:.0f}", f"{built99:.0f}", f"{times:.2f}x", f"{builder.rate:,.0f}", f"{asked:,}"])  # fmt: skip
            verdicts.append((f"{name}: p99 beside a build over idle p99", f"{times:.2f}x", "<= 2x", times <= 2))
        if workers == 1:
            verdicts.append((f"{name}: p99 over p50, idle", f"{p99 / p50:.2f}x", "<= 2.2x", p99 <= 2.2 * p50))
            verdicts.append(
                (f"{name}: p99 beside a writer over idle p50", f"{busy99 / p50:.2f}x", "<= 4x", busy99 <= 4 * p50)
            )
    cells, times = first_build(dataset)
    verdicts.append((f"{name}: p99 beside a first build over that of comparing all rows", f"{times:.2f}x", "<= 2x", times <= 2))
    return rows, beside, [[name, *cells]], verdicts


def main(words=None):
    parse = argparse.ArgumentParser(prog="python -m bench.latency", description=__doc__.split("\n")[0])
    parse.add_argument("--sets", nargs="+", choices=list(data.MAKERS), default=["minilm-384", "fashion-784"])
    parse.add_argument("--rows", type=int)
    parse.add_argument("--seconds", type=float, default=2.0)
    options = parse.parse_args(words)
    rows, beside, first, verdicts = [], [], [], []
    for name in options.sets:
        if data.available(name):
            more, built, begun, judged = run(name, options)
            rows, beside, first, verdicts = rows + more, beside + built, first + begun, verdicts + judged
    head = ["set", "linkers", "ef", "recall", "p50 us", "p99 us", "p99/p50", "p50 beside writer", "p99 beside writer",
            "over idle p50", "rows written/s", "searches"]  # fmt: skip
    text = report.table(head, rows) + "\n\n"
    head = ["set", "idle p99 us", "p50 beside a build", "p99 beside a build", "over idle p99", "rows built/s", "searches"]
    text += report.table(head, beside) + f"\n\nBeside the first build of {FIRST_ROWS:,} rows, which every search compares:\n\n"
    head = ["set", "p50 us, flat", "p99 us, flat", "p50 beside a build", "p99 beside a build", "over p99, flat", "rows built/s", "searches"]
    text += report.table(head, first)
    report.section("latency", "Latency, idle, beside a writer and beside a build", text, verdicts, whole=options.rows is None)


if __name__ == "__main__":
    main()
