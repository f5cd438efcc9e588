"""What a call costs beyond the search it makes, from C and from Python.

`python -m bench.calls [--engine build/bin/omen_bench]`

An index of one row has next to no search in it: what a query takes there is the call. The C figures come
from omen_bench (bench/engine.c), which needs its program built; Python's are measured here.
"""

import argparse
import pathlib
import re
import subprocess

import numpy as np
import omendb

from bench import data, measure, report


def c_figures(engine, name):
    """(ns of omen_query on one row, ns a call beyond its share of a batch at each ef), of the C program."""
    command = [
        engine,
        "--data",
        data.WORK / "data" / name,
        "--n",
        "20000",
        "--queries",
        "1000",
        "--ef",
        "10,16,32",
        "--repeat",
        "25",
    ]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    floor = float(re.search(r"floor .* p50 (\d+) ns", text).group(1))
    lines = re.findall(r"^ +\d+ +[\d.]+ +\d+ \(.*\).* (-?\d+)$", text, re.M)
    return floor, float(np.median([float(value) for value in lines]))


def python_ns(width, metric, queries, repeats=7):
    index = omendb.Index(dimension=width, metric=metric)
    index.add(queries[:1])
    index.flush()
    return float(
        np.median([np.median(measure.each(lambda query: index.search(query, k=10), queries)) for _ in range(repeats)])
        * 1e9
    )


def main(words=None):
    parse = argparse.ArgumentParser(prog="python -m bench.calls", description=__doc__.split("\n")[0])
    parse.add_argument("--engine", type=pathlib.Path, default=data.ROOT / "build" / "bin" / "omen_bench")
    parse.add_argument("--sets", nargs=1, choices=list(data.MAKERS), default=["fashion-784"])
    options = parse.parse_args(words)
    dataset = data.load(options.sets[0])
    measure.pin(measure.CORES[-1:])
    queries = np.ascontiguousarray(dataset.query[:1000])
    if not options.engine.exists():
        raise SystemExit(f"{options.engine} is not built: run make first")
    floor, beyond = c_figures(options.engine, options.sets[0])
    ours = python_ns(dataset.dim, dataset.metric, queries)
    over = (ours - floor) / 1000
    rows = [
        ["C, omen_query, index of one row", f"{floor:,.0f} ns"],
        ["C, omen_query beyond its share of a batch", f"{beyond:,.0f} ns"],
        ["Python, Index.search(query), index of one row", f"{ours:,.0f} ns"],
    ]
    verdicts = [
        ("C: a call beyond its share of a batch", f"{beyond:,.0f} ns", "< 100 ns", beyond < 100),
        ("Python: a single search over C's", f"{over:.2f} us", "< 5 us", over < 5),
    ]
    report.section("calls", "The cost of a call", report.table(["call", "median"], rows), verdicts)


if __name__ == "__main__":
    main()
