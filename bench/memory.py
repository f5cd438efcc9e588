"""What an index costs in memory beyond its vectors, as the kernel counts it.

`python -m bench.memory [--sets NAME...]`

Each set has a process of its own. Counted are its resident pages after 10,000 queries, less what was
resident before the index was opened, less the vectors themselves (rows x dimension x 4 bytes). The rows
come from a file in small blocks that are never mapped, and carry ids of 63 bits in no order.
"""

import argparse
import json
import subprocess
import sys

import numpy as np

from bench import data, measure, report

BARS = {"synth-128": 2.0, "minilm-384": 1.36, "fashion-784": 1.20}
QUERIES = 10_000


def resident_bytes():
    """Anonymous, shared and file pages of this process, all together."""
    with open("/proc/self/status") as file:
        return 1024 * sum(int(line.split()[1]) for line in file if line.startswith(("RssAnon", "RssFile", "RssShmem")))


def child(name, rows):
    import omendb

    dataset = data.load(name)
    rows, width, queries = min(rows or len(dataset.base), len(dataset.base)), dataset.dim, dataset.query
    metric = dataset.metric
    del dataset
    random = np.random.default_rng(4)
    # A small index first: the library's code and the interpreter's pools belong to the process, not to the index.
    with omendb.Index(dimension=width, metric=metric) as small:
        small.add(random.standard_normal((2000, width), "f4"))
        small.flush()
        small.search(queries, k=10)
    block = np.ones((10_000, width), "<f4")  # touched, so that it is resident before and after
    before, anonymous_before = resident_bytes(), measure.anonymous_bytes()
    index = omendb.Index(dimension=width, metric=metric)
    with open(data.WORK / "data" / f"{name}.base.f32", "rb", buffering=0) as file:
        for start in range(0, rows, 10_000):
            count = min(10_000, rows - start)
            file.readinto(memoryview(block[:count]).cast("B"))
            index.add(
                block[:count], (np.arange(start, start + count, dtype="u8") * 0x9E3779B97F4A7C15 >> 1).astype("i8")
            )
    index.flush()
    for _ in range(-(-QUERIES // len(queries))):
        index.search(queries, k=10)
    after, anonymous_after = resident_bytes(), measure.anonymous_bytes()
    raw = rows * width * 4
    stats = index.stats()
    print(
        json.dumps(
            dict(
                rows=rows,
                dim=width,
                beyond=after - before - raw,
                anonymous=anonymous_after - anonymous_before,
                claimed=stats["bytes_per_vector"],
                parts={part: int(size) for part, size in stats["memory"].items()},
            )
        )
    )


def main(words=None):
    parse = argparse.ArgumentParser(prog="python -m bench.memory", description=__doc__.split("\n")[0])
    parse.add_argument(
        "--sets", nargs="+", choices=list(data.MAKERS), default=["synth-128", "minilm-384", "fashion-784"]
    )
    parse.add_argument("--rows", type=int, default=0)
    parse.add_argument("--child", help=argparse.SUPPRESS)
    options = parse.parse_args(words)
    if options.child:
        child(options.child, options.rows)
        return
    rows, verdicts = [], []
    for name in options.sets:
        if not data.available(name):
            continue
        data.load(name)  # made here if it is not there yet
        command = [sys.executable, "-m", "bench.memory", "--child", name, "--rows", str(options.rows)]
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=data.ROOT)
        if done.returncode != 0:
            raise SystemExit(f"{name}: {done.stderr.strip().splitlines()[-1]}")
        got = json.loads(done.stdout)
        each = got["beyond"] / got["rows"]
        parts = ", ".join(f"{part} {size / got['rows']:.1f}" for part, size in got["parts"].items() if size)
        rows.append([f"{name}, {got['rows']:,} rows", f"{each:.1f}", f"{each / got['dim']:.3f}",
                     f"{got['anonymous'] / got['rows']:.0f}", f"{got['claimed']:.1f}", parts])  # fmt: skip
        per_dimension = each / got["dim"]
        verdicts.append(
            (
                f"{name}: bytes a dimension beyond the vectors",
                f"{per_dimension:.3f}",
                f"<= {BARS[name]}",
                per_dimension <= BARS[name],
            )
        )
    head = [
        "set",
        "B/vector beyond the vectors",
        "B/dimension",
        "RssAnon B/vector",
        "stats() says",
        "its parts, B/vector",
    ]
    report.section("memory", "Memory", report.table(head, rows, "lrrrrl"), verdicts, whole=not options.rows)


if __name__ == "__main__":
    main()
