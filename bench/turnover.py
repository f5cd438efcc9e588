"""Recall after every row was replaced, beside a fresh build of the same rows at the same ef.

`python -m bench.turnover [--sets NAME...] [--rows N]`

The index begins with one half of a set and ends with the other half, in 20 steps of 5 %: that many rows are
deleted and as many added. Which go first: `random` any, `oldest` in the order they came, `clustered` one
neighbourhood after the other, the new rows likewise, so that whole regions empty and others fill.
"""

import argparse

import numpy as np
import omendb

from bench import data, measure, report

STEPS = 20
EFS = (16, 32, 64, 128)


def neighbourhoods(rows, metric, seed, count=64):
    """Each row's nearest of `count` rows drawn at random."""
    centres = rows[np.random.default_rng(seed).choice(len(rows), count, replace=False)]
    distance = -2 * (rows @ centres.T)
    if metric == "l2":
        distance += (centres**2).sum(1)[None, :]
    return distance.argmin(1)


def orders(how, old, new, metric, seed=3):
    """In which order the old rows leave and the new ones come."""
    if how == "oldest":
        return np.arange(len(old)), np.arange(len(new))
    if how == "random":
        random = np.random.default_rng(seed)
        return random.permutation(len(old)), random.permutation(len(new))
    both = np.concatenate([old, new])
    region = neighbourhoods(both, metric, seed)
    return np.argsort(region[: len(old)], kind="stable"), np.argsort(region[len(old) :], kind="stable")


def fill(rows, ids, metric):
    index = omendb.Index(dimension=rows.shape[1], metric=metric)
    index.add(rows, ids)
    index.flush()
    return index


def curve(index, queries, truth):
    out = {}
    for ef in EFS:
        ids = index.search(queries, k=10, ef=ef)[0]
        out[ef] = measure.recall(ids, truth)
    return out


def run(name, options):
    dataset = data.load(name)
    half = min(options.rows or len(dataset.base), len(dataset.base)) // 2
    old, new = np.array(dataset.base[:half]), np.array(dataset.base[half : 2 * half])
    queries = dataset.query[: options.queries]
    ids_new = np.arange(half, 2 * half)
    truth = data.exact(new, queries, dataset.metric, 10).astype("i8") + half
    fresh = curve(fill(new, ids_new, dataset.metric), queries, truth)
    rows = [["fresh build", *(f"{fresh[ef]:.4f}" for ef in EFS), "", ""]]
    verdicts = []
    for how in ("random", "clustered", "oldest"):
        index = fill(old, np.arange(half), dataset.metric)
        leave, come = orders(how, old, new, dataset.metric)
        start = measure.clock()
        for away, fill_in in zip(np.array_split(leave, STEPS), np.array_split(come, STEPS)):
            index.delete(away)
            index.add(new[fill_in], ids_new[fill_in])
        index.flush()
        took = measure.clock() - start
        index.verify()
        unreached = index.stats()["unreached"] / half
        after = curve(index, queries, truth)
        rows.append([how, *(f"{after[ef]:.4f}" for ef in EFS), f"{100 * unreached:.3f} %", f"{took:.1f} s"])
        worst = max(fresh[ef] - after[ef] for ef in EFS)
        verdicts.append(
            (
                f"{name} {how}: recall below a fresh build, worst ef",
                f"{100 * worst:.2f} points",
                "<= 1 point",
                worst <= 0.01,
            )
        )
        verdicts.append(
            (f"{name} {how}: unreached live rows", f"{100 * unreached:.3f} %", "< 0.01 %", unreached < 1e-4)
        )
    head = ["turnover", *(f"recall, ef {ef}" for ef in EFS), "unreached", "took"]
    return f"### {name}, {half:,} live rows, all replaced\n\n" + report.table(head, rows), verdicts


def main(words=None):
    parse = argparse.ArgumentParser(prog="python -m bench.turnover", description=__doc__.split("\n")[0])
    parse.add_argument("--sets", nargs="+", choices=list(data.MAKERS), default=["fashion-784", "minilm-384"])
    parse.add_argument("--rows", type=int, help="of which half are live at a time")
    parse.add_argument("--queries", type=int, default=1000)
    options = parse.parse_args(words)
    done = [run(name, options) for name in options.sets if data.available(name)]
    text, verdicts = "\n\n".join(part for part, _ in done), [line for _, judged in done for line in judged]
    report.section("turnover", "Deletes: recall after 100 % turnover", text, verdicts, whole=options.rows is None)


if __name__ == "__main__":
    main()
