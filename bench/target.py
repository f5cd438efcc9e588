"""target_recall: does a search reach the recall it was asked for, and at what price?

`python -m bench.target [--sets NAME...] [--rows N]`

The queries were never rows and are not used to calibrate. Measured on a fresh index, after 20 % of the rows
were deleted and as many others added, and, without a bar, with queries from outside the data's distribution and
with the first ones after them.
"""

import argparse
import functools

import numpy as np
import omendb

from bench import data, measure, report

TARGETS = (0.90, 0.95, 0.99)
EFS = (10, 12, 14, 16, 20, 24, 28, 32, 40, 48, 64, 80, 96, 128, 160, 200, 256, 384, 512, 768, 1024)
CHURN = 0.2


def strangers(queries, base, metric, seed=5):
    """Queries that no row resembles: halfway between two unrelated ones, and half a spread of noise."""
    random = np.random.default_rng(seed)
    noise = random.standard_normal(queries.shape).astype("f4") * np.asarray(base[:2000]).std(0)
    out = 0.5 * (queries + queries[random.permutation(len(queries))]) + 0.5 * noise
    if metric == "cosine":
        out /= np.linalg.norm(out, axis=1, keepdims=True)
    return np.ascontiguousarray(out, "f4")


def measured(index, queries, truth, repeats, points):
    """{point: (recall, qps of each repetition)}, one thread; every repetition walks over all points."""
    recalls, speeds = {}, {point: [] for point in points}
    for _ in range(repeats):
        for point in points:
            options = {"target_recall": point} if point < 1 else {"ef": point}
            search = functools.partial(index.search, queries, k=10, threads=1, **options)
            recalls[point] = measure.recall(search()[0], truth)
            speeds[point].append(measure.rate(search, len(queries), at_least=0.2))
    return {point: (recalls[point], speeds[point]) for point in points}


def rows_of(label, name, index, queries, truth, repeats, bars):
    efs = list(EFS)
    found = measured(index, queries, truth, repeats, [*TARGETS, *efs])
    fixed = [dict(recall=found[ef][0], qps1=found[ef][1]) for ef in efs]
    rows, verdicts = [], []
    for target in TARGETS:
        recall, speeds = found[target]
        ours = [dict(recall=recall, qps1=speeds)]
        price = report.ratio(ours, fixed, recall - 1e-9)
        off = 100 * (recall - target)
        rows.append(
            [label, f"{target}", f"{recall:.4f}", f"{off:+.2f}", f"{np.median(speeds):,.0f}", report.show_ratio(price)]
        )
        if bars:
            verdicts.append((f"{name}, {label}, {target}: recall", f"{off:+.2f} points", "-0.5..+2", -0.5 <= off <= 2))
            verdicts.append(
                (
                    f"{name}, {label}, {target}: QPS over the best ef",
                    report.show_ratio(price),
                    ">= 0.95x",
                    price >= 0.95,
                )
            )
    return rows, verdicts


def run(name, options):
    dataset = data.load(name)
    total = min(options.rows or len(dataset.base), len(dataset.base))
    base, asked = dataset.base[:total], dataset.query[: 2 * options.queries]
    # The index calibrates by what it was asked lately, so after the churn others come.
    queries, later = asked[: len(asked) // 2], asked[len(asked) // 2 :]
    late = int(total * CHURN / (1 + CHURN))  # these come in the churn
    live = np.arange(total - late)
    index = omendb.Index(dimension=dataset.dim, metric=dataset.metric)
    index.add(base[: total - late], live)
    index.flush()
    index.calibrate()
    measure.pin(measure.CORES[-1:])

    def truth(of, rows):
        return data.exact(base, of, dataset.metric, 10, rows)

    rows, verdicts = rows_of("fresh", name, index, queries, truth(queries, live), options.repeat, True)
    measure.pin()
    away = np.random.default_rng(7).choice(total - late, late, replace=False)
    index.delete(away)
    index.add(base[total - late :], np.arange(total - late, total))
    index.flush()
    measure.pin(measure.CORES[-1:])
    live = np.setdiff1d(np.arange(total), away)
    more, judged = rows_of("after 20 % churn", name, index, later, truth(later, live), options.repeat, True)
    rows, verdicts = rows + more, verdicts + judged
    # Last, because the index remembers what it was asked lately and calibrates by it: who comes after the strangers
    # gets more than was asked for.
    odd = strangers(queries, base, dataset.metric)
    for label, of in (("out of distribution", odd), ("the first, after those", queries)):
        more, _ = rows_of(label, name, index, of, truth(of, live), options.repeat, False)
        rows += more
    measure.pin()
    head = ["queries", "asked", "got", "points off", "QPS, one thread", "of the best ef of equal recall"]
    text = f"### {name}, {total - late:,} live rows\n\n" + report.table(head, rows)
    return text, verdicts


def main(words=None):
    parse = argparse.ArgumentParser(prog="python -m bench.target", description=__doc__.split("\n")[0])
    parse.add_argument("--sets", nargs="+", choices=list(data.MAKERS), default=["fashion-784", "minilm-384"])
    parse.add_argument("--rows", type=int)
    parse.add_argument("--queries", type=int, default=1000)
    parse.add_argument("--repeat", type=int, default=3)
    options = parse.parse_args(words)
    done = [run(name, options) for name in options.sets if data.available(name)]
    text, verdicts = "\n\n".join(part for part, _ in done), [line for _, judged in done for line in judged]
    report.section("target", "Recall as a parameter", text, verdicts, whole=options.rows is None)


if __name__ == "__main__":
    main()
