"""Searches with less memory than the vectors need: the rest of a file on disk, read page by page.

`python -m bench.limited [--sets NAME...] [--share 1.15]`

An index with a path is opened by a new process in a memory cgroup of `share` times what the index needs beyond its vectors
(what bench.memory measures as a bar). Codes, links and ids fit; the vectors, which only the last step of a search
reads, mostly do not, and nothing of them is in the page cache at first. Given are the queries a second at recall 0.95,
beside the same process without the limit, and what was read from the disk for each query. It needs the right to make
memory cgroups (root, or a delegated one), and says so where it has none.
"""

import argparse
import contextlib
import json
import os
import pathlib
import resource
import shutil
import subprocess
import sys
import tempfile

from bench import data, measure, report
from bench.ann import say
from bench.durable import forget
from bench.memory import BARS

EFS = (12, 16, 24, 32, 48, 64, 96, 128, 192, 256)
QUERIES, TARGET = 4000, 0.95
CGROUPS = pathlib.Path("/sys/fs/cgroup")


class Group:
    """A memory cgroup of a size, of the first or the second version."""

    def __init__(self, size):
        first = CGROUPS / "memory"
        self.folder = (first if first.is_dir() else CGROUPS) / f"omendb-bench-{os.getpid()}"
        limit = "memory.limit_in_bytes" if first.is_dir() else "memory.max"
        self.folder.mkdir()
        try:
            (self.folder / limit).write_text(str(size))
        except OSError:
            self.folder.rmdir()
            raise

    def join(self):
        (self.folder / "cgroup.procs").write_text(str(os.getpid()))

    def close(self):
        self.folder.rmdir()


def bytes_read():
    """From the disk, by this process."""
    with open("/proc/self/io") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("read_bytes"))


def child(path, name, group_file):
    import omendb

    dataset = data.load(name)
    queries, truth = dataset.query[:QUERIES].copy(), dataset.truth[:QUERIES, :10].copy()
    del dataset
    warm = len(queries) // 2  # other queries than those that are measured
    if group_file:
        pathlib.Path(group_file).write_text(str(os.getpid()))  # from here on what is allocated and mapped counts
    found = []
    with omendb.Index(path=path) as index:
        for ef in EFS:
            index.search(queries[:warm], k=10, ef=ef)  # the graph is in memory, and some of the vectors
            rest = queries[warm:]
            ids, faults, read, start = [], resource.getrusage(resource.RUSAGE_SELF).ru_majflt, bytes_read(), measure.clock()
            for query in rest:
                ids.append(index.search(query, k=10, ef=ef).ids)
            took = measure.clock() - start
            faults = resource.getrusage(resource.RUSAGE_SELF).ru_majflt - faults
            got = dict(ef=ef, recall=measure.recall(ids, truth[warm:]), qps=len(rest) / took)
            found.append(got | dict(faults=faults / len(rest), read=(bytes_read() - read) / len(rest)))
            if got["recall"] >= TARGET:
                break
    print(json.dumps(found))


def run(path, name, group):
    forget(pathlib.Path(path))
    words = [sys.executable, "-m", "bench.limited", "--child", str(path), "--sets", name]
    if group is not None:
        words += ["--group", str(group.folder / "cgroup.procs")]
    done = subprocess.run(words, capture_output=True, text=True, check=False, cwd=data.ROOT)
    if done.returncode != 0:
        raise SystemExit(f"{name}: ended with {done.returncode}: {done.stderr.strip()[-300:]}")
    return json.loads(done.stdout)[-1]


def build(path, name):
    import omendb

    dataset = data.load(name)
    with omendb.Index(path=str(path), dimension=dataset.dim, metric=dataset.metric) as index:
        for start in range(0, len(dataset.base), 1000):
            index.add(dataset.base[start : start + 1000])
        index.flush()
    return len(dataset.base), dataset.dim


def main(words=None):
    parse = argparse.ArgumentParser(prog="python -m bench.limited", description=__doc__.split("\n")[0])
    parse.add_argument("--sets", nargs="+", choices=list(data.MAKERS), default=["minilm-384", "synth-128"])
    parse.add_argument("--share", type=float, default=1.15, help="of the bytes that the index may need")
    parse.add_argument("--child", help=argparse.SUPPRESS)
    parse.add_argument("--group", help=argparse.SUPPRESS)
    options = parse.parse_args(words)
    if options.child:
        child(options.child, options.sets[0], options.group)
        return
    rows = []
    for name in options.sets:
        if not data.available(name):
            continue
        with tempfile.TemporaryDirectory(prefix="limited-", dir=data.WORK) as folder:
            path = pathlib.Path(folder) / "index"
            count, dim = build(path, name)
            size = int(options.share * BARS[name] * count * dim)
            try:
                group = Group(size)
            except OSError as error:
                say(f"limited: no memory cgroup can be made here: {error}")
                return
            with contextlib.closing(group):
                for what, within in ((f"{size / 2**20:.0f} MiB", group), ("without a limit", None)):
                    got = run(path, name, within)
                    rows.append([f"{name}, {count:,} rows, {what}", f"{got['ef']}", f"{got['recall']:.3f}",
                                 f"{got['qps']:,.0f}", f"{got['faults']:.1f}", f"{got['read'] / 1024:.0f}"])  # fmt: skip
                    say(f"limited: {' '.join(rows[-1])}")
            shutil.rmtree(path)
    if not rows:
        raise SystemExit("limited: none of the sets is there")
    head = ["in memory of", "ef", "recall@10", "queries/s", "major faults a query", "KiB read a query"]
    text = (
        f"A new process each, one thread, queries one by one, at the least ef with recall {TARGET} or more. The limit is "
        f"{options.share} times what the index may need beyond its vectors; the vectors lie in the file.\n\n"
    )
    report.section("limited", "With less memory than the vectors need", text + report.table(head, rows, "lrrrrr"), [])


if __name__ == "__main__":
    main()
