"""Insert rates beside hnswlib's, and how soon a large batch is searchable and linked.

`python -m bench.insert [--sets NAME...] [--rows N]`
"""

import argparse

import numpy as np
import omendb

from bench import data, measure, peers, report
from bench.ann import Library, say

BAR = 3.0
BATCH, WIDE = 10_000, 1536


def rates(name, options):
    """Vectors/s of (library, threads), every repetition in processes of their own, one after the other."""
    found = {}
    for _ in range(options.repeat):
        for threads in (1, 2):
            for variant in peers.variants(["omendb", "hnswlib"]):
                if variant.name == "omendb target_recall":
                    continue
                library = Library(variant, 3600)
                words = dict(name=name, rows=options.rows, queries=100, k=10, m=16, ef_construction=200)
                answer = None if library.failed else library.ask("build", threads=threads, **words)
                if answer is None:
                    raise SystemExit(f"{variant.name}: {library.failed}")
                library.close()
                found.setdefault((variant.name, threads), []).append(answer["vectors_per_second"])
                say(f"{name}: {variant.name}, {threads} threads: {answer['vectors_per_second']:.0f} vectors/s")
    return found


def rate_table(name, found):
    rows, verdicts = [], []
    for threads in (1, 2):
        ours, theirs = found["omendb", threads], found["hnswlib", threads]
        times = float(np.median(np.divide(ours, theirs)))
        texts = ["{:,.0f} ({:,.0f}-{:,.0f})".format(*measure.spread(values)) for values in (ours, theirs)]
        rows.append([f"{name}, {threads} thread{'s' if threads > 1 else ''}", *texts, f"{times:.2f}x"])
        verdicts.append(
            (f"{name}: insert over hnswlib, {threads} threads", f"{times:.2f}x", f">= {BAR:g}x", times >= BAR)
        )
    return rows, verdicts


def wide_rows(count, seed=11):
    """Rows like a large embedding model's: 64 dimensions of signal in 1,536, unit length."""
    random = np.random.default_rng(seed)
    signal = random.standard_normal((count, 64), "f4") @ random.standard_normal((64, WIDE), "f4")
    rows = signal + np.float32(2) * random.standard_normal((count, WIDE), "f4")
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def large_batch(repeats):
    """Seconds until add returns and until all is linked; the share of rows found as soon as add returned."""
    rows, returned, linked, found = wide_rows(2 * BATCH), [], [], []
    sample = np.random.default_rng(2).choice(BATCH, 200, replace=False)
    for _ in range(repeats):
        with omendb.Index(dimension=WIDE, metric="cosine") as index:
            for part in (rows[:BATCH], rows[BATCH:]):  # into an empty index, and beside 10,000 rows
                ids = np.arange(len(index), len(index) + BATCH)
                start = measure.clock()
                index.add(part, ids)
                returned.append(measure.clock() - start)
                hits = index.search(part[sample], k=1)[0][:, 0]
                found.append(float((hits == ids[sample]).mean()))
                index.flush()
                linked.append(measure.clock() - start)
    return returned, linked, found


def main(words=None):
    parse = argparse.ArgumentParser(prog="python -m bench.insert", description=__doc__.split("\n")[0])
    parse.add_argument("--sets", nargs="+", choices=list(data.MAKERS), default=["fashion-784", "minilm-384"])
    parse.add_argument("--rows", type=int, default=60_000)
    parse.add_argument("--repeat", type=int, default=3)
    options = parse.parse_args(words)
    rows, verdicts = [], []
    for name in options.sets:
        if data.available(name):
            more, judged = rate_table(name, rates(name, options))
            rows, verdicts = rows + more, verdicts + judged
    returned, linked, found = large_batch(options.repeat)
    middle = float(np.median(returned)), float(np.median(linked)), float(np.min(found))
    verdicts += [
        ("add of 10,000 x 1536 returns after", f"{1000 * middle[0]:.0f} ms", "< 100 ms", middle[0] < 0.1),
        ("rows found at once after it (k = 1)", f"{100 * middle[2]:.1f} %", "100 %", middle[2] == 1.0),
        ("all linked after (200 searches within)", f"{middle[1]:.2f} s", "<= 0.5 s", middle[1] <= 0.5),
    ]
    head = ["vectors/s, until all are linked", "OmenDB", "hnswlib", "ratio"]
    text = f"At most {options.rows:,} rows; {options.repeat} interleaved repetitions, median (smallest-largest).\n\n"
    report.section("insert", "Inserting", text + report.table(head, rows), verdicts, whole=options.rows >= 60_000)


if __name__ == "__main__":
    main()
