"""What an index with a path costs: durable inserts, the first answer, searches from the file, its size.

`python -m bench.durable [--rows N...] [--repeat N] [--bin PROGRAM]`

The work is done by omen_durable_bench (bench/durable.c), a job a process. What a bar compares is measured in turn,
many short rounds of each, because other programs may be at work on the machine; the median of the rounds counts. CPU
time of the opening thread is given beside the time that passed, which on a busy machine is mostly waiting.
"""

import argparse
import json
import os
import pathlib
import shutil
import signal
import subprocess
import tempfile

import numpy as np

from bench import data, measure, peers, report
from bench.ann import Library, say

SET, DIM = "synth-128", 128
TAIL_ROWS = 30_000  # of 512 bytes: a log of nearly 16 MiB; small indexes have a checkpoint earlier, and less of it left
CHURN_ROWS, CHURN_ROUNDS, PAYLOAD = 50_000, 4, 100


class Driver:
    """Runs jobs of the C program; each gives one dict."""

    def __init__(self, program, folder):
        self.program, self.folder = program, folder
        self.base, self.query = data.WORK / "data" / f"{SET}.base.f32", data.WORK / "data" / f"{SET}.query.f32"

    def words(self, job, path, **options):
        words = [str(self.program), job, str(path), "--base", str(self.base), "--query", str(self.query)]
        return words + [word for name, value in options.items() for word in (f"--{name}", str(value))]

    def job(self, job, path, **options):
        done = subprocess.run(self.words(job, path, **options), capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise SystemExit(f"{job} {path}: {done.stderr.strip()}")
        return json.loads(done.stdout)

    def kill(self, path, rows):
        """Adds rows and dies without closing."""
        words = self.words("tail", path, n=rows, **{"from": 500_000})
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        if done.returncode != -signal.SIGKILL:
            raise SystemExit(f"tail {path}: ended by itself: {done.stderr.strip()}")

    def path(self, name):
        return self.folder / name

    def copy(self, name, to):
        shutil.rmtree(self.path(to), ignore_errors=True)
        shutil.copytree(self.path(name), self.path(to))
        return self.path(to)

    def fresh(self, name):
        shutil.rmtree(self.path(name), ignore_errors=True)
        return self.path(name)


def middle(results, key):
    return float(np.median([result[key] for result in results]))


def forget(path):
    """Takes one file out of the page cache, which is the machine's: others' files stay in it."""
    descriptor = os.open(path / "data.mdb", os.O_RDONLY)
    try:
        os.fsync(descriptor)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
    finally:
        os.close(descriptor)


# ---- writing ----


def hnswlib_rates(rows, repeats):
    """Vectors/s of hnswlib in memory on all cores, or nothing where it is not installed."""
    variants = peers.variants(["hnswlib"])
    found = []
    for _ in range(repeats if variants else 0):
        library = Library(variants[0], 3600)
        words = dict(name=SET, rows=rows, queries=100, k=10, m=16, ef_construction=200)
        answer = None if library.failed else library.ask("build", threads=len(measure.CORES), **words)
        if answer is None:
            return []
        library.close()
        found.append(answer["vectors_per_second"])
    return found


def inserts(driver, rows, repeats):
    table, verdicts, plain = [], [], {}
    theirs = []
    for _ in range(repeats):
        theirs += hnswlib_rates(rows, 1)
        for upserts in (0, 50):
            result = driver.job("build", driver.fresh("insert"), n=rows, batch=1000, upserts=upserts)
            result["linked_rate"] = rows / result["linked_s"]
            result["searchable_rate"] = rows / result["searchable_s"]
            plain.setdefault(upserts, []).append(result)
            say(f"inserts, {upserts} % upserts: {result['linked_rate']:.0f} vectors/s linked")
    for upserts, results in plain.items():
        linked, searchable = middle(results, "linked_rate"), middle(results, "searchable_rate")
        ratio = linked / float(np.median(theirs)) if theirs else None
        commits = rows / 1000
        bytes_each, later = middle(results, "written") / rows, middle(results, "written_closed") / rows
        table.append(
            [
                f"{upserts} % upserts",
                f"{searchable:,.0f}",
                f"{linked:,.0f}",
                f"{ratio:.2f}x" if theirs else "not installed",
                f"{middle(results, 'syncs') / commits:.2f}",
                f"{bytes_each / (4 * DIM):.2f}x",
                f"{later / (4 * DIM):.2f}x",
                f"{1000 * middle(results, 'worst_s'):.0f}",
            ]
        )
        if theirs:
            what = f"durable insert until linked over hnswlib in memory, {upserts} % upserts"
            verdicts.append((what, f"{ratio:.2f}x", ">= 2x", ratio >= 2))
        if upserts == 0:
            share = bytes_each / (4 * DIM)
            verdicts.append(
                ("bytes written per inserted vector over its own", f"{share:.2f}x", "<= 3x", share <= 3)
            )
    head = ["batches of 1,000", "searchable/s", "linked/s", "over hnswlib", "syncs a commit", "bytes", "closed"]
    head.append("worst ms")
    beside = f" hnswlib, in memory: {np.median(theirs):,.0f}/s." if theirs else " hnswlib is not installed."
    return (
        f"### Inserting {rows:,} x {DIM}\n\nBytes are those written until the last add returned (`closed`: until the "
        "close did, with its checkpoint), over the vectors' own; checkpoints are in both. A row that is replaced "
        f"before it was linked is never linked, so upserts may link faster.{beside}\n\n"
        + report.table(head, table),
        verdicts,
    )


# ---- opening ----


def first_answers(driver, name, repeats):
    for _ in range(2):  # the page cache is warm, and what was left to do is done
        driver.job("first", driver.path(name))
    return [driver.job("first", driver.path(name)) for _ in range(repeats)]


def openings(driver, sizes, repeats):
    table, verdicts = [], []
    for rows in sizes:
        name = f"open-{rows}"
        driver.job("build", driver.fresh(name), n=rows)
        tail = driver.copy(name, f"{name}-tail")
        driver.kill(tail, TAIL_ROWS)
        forget(driver.path(name))
        cold = driver.job("first", driver.path(name))["first_ms"]
        for what, path in (("closed", name), ("kill -9", f"{name}-tail")):
            results = first_answers(driver, path, repeats)
            took = middle(results, "first_ms")
            if what != "closed":
                what = f"kill -9, {results[0]['tail']:,} rows in the log"
            fastest, busy = min(result["first_ms"] for result in results), middle(results, "cpu_ms")
            table.append(
                [
                    f"{rows:,}, {what}",
                    f"{took:.1f}",
                    f"{fastest:.1f}",
                    f"{busy:.1f}",
                    f"{middle(results, 'minor'):,.0f}",
                    f"{cold:,.0f}" if what == "closed" else "",
                ]
            )
            verdicts.append((f"first answer, {rows:,} rows, {what}", f"{took:.1f} ms", "< 20 ms", took < 20))
            say(f"first answer, {rows} rows, {what}: {took:.1f} ms")
        if rows >= 1_000_000:
            verdicts.append((f"first answer, {rows:,} rows, cold cache", f"{cold:,.0f} ms", "<= 1 s", cold <= 1000))
    head = ["first answer, ms", "median", "fastest", "CPU of its thread", "page faults", "cold cache"]
    text = f"### Opening\n\nFrom main() in C, a new process each, warm page cache; {repeats} of each.\n\n"
    return text + report.table(head, table), verdicts


# ---- searching ----


def searches(driver, rows, rounds):
    name = f"open-{rows}"
    result = driver.job("qps", driver.path(name), n=rows, rounds=rounds, queries=300)
    text = (
        f"### Searching an opened file of {rows:,} rows\n\nOne thread, {rounds} rounds of 300 queries each, ef 64, in turn "
        "with an index of the same rows in memory. A reader promotes nothing; its first round meets a page fault wherever it is "
        "the first to come, the second asks the same again. All that a writer promotes is promoted within "
        f"{1000 * result['promotion_s']:.0f} ms. In memory: {result['memory_qps']:,.0f} queries/s.\n\n"
    )
    table = [
        ["straight from the map, right after opening", f"{result['map']:.2f}x"],
        ["straight from the map", f"{result['touched']:.2f}x"],
        ["once promoted", f"{result['promoted']:.2f}x"],
        ["recall@10 from the file", f"{result['recall_file']:.3f}"],
        ["recall@10 in memory", f"{result['recall_memory']:.3f}"],
    ]
    apart = abs(result["recall_file"] - result["recall_memory"])
    verdicts = [
        ("QPS straight from the map over memory", f"{result['touched']:.2f}x", ">= 0.6x", result["touched"] >= 0.6),
        ("QPS once promoted over memory", f"{result['promoted']:.2f}x", ">= 0.9x", result["promoted"] >= 0.9),
        # Two graphs of the same rows that were linked by two threads are never quite the same.
        ("recall, file and memory apart", f"{100 * apart:.2f} points", "<= 0.5 points", apart <= 0.005),
    ]
    return text + report.table(["of an index in memory", "measured"], table), verdicts


# ---- the size ----


def sizes_on_disk(driver, rows):
    path = driver.fresh("churn")
    built = driver.job("build", path, n=rows, payload=PAYLOAD)
    result = driver.job("churn", path, n=rows, rounds=CHURN_ROUNDS, payload=PAYLOAD)
    parts = built["raw"] + built["codes"] + built["links"] + built["payloads"]
    table = [
        ["raw + codes + graph + payloads", parts, "1.00x"],
        ["written once and closed", built["file"], f"{built['file'] / parts:.2f}x"],
        ["largest while churning", result["largest"], f"{result['largest'] / parts:.2f}x"],
        ["after compact", result["compact"], f"{result['compact'] / parts:.2f}x"],
    ]
    table = [[what, f"{count / 2**20:,.1f}", times] for what, count, times in table]
    compact, largest = result["compact"] / parts, result["largest"] / parts
    verdicts = [
        ("file after compact over its parts", f"{compact:.2f}x", "<= 1.15x", compact <= 1.15),
        ("file under churn over its parts", f"{largest:.2f}x", "<= 2.5x", largest <= 2.5),
    ]
    text = (
        f"### The file\n\n{rows:,} rows with {PAYLOAD} bytes of payload; then all replaced {CHURN_ROUNDS} times, in "
        f"batches of 1,000, and compacted ({result['compact_s']:.1f} s).\n\n"
    )
    return text + report.table(["", "MiB", "over its parts"], table), verdicts


def main(words=None):
    parse = argparse.ArgumentParser(prog="python -m bench.durable", description=__doc__.split("\n")[0])
    parse.add_argument("--rows", type=int, nargs="+", default=[10_000, 100_000, 1_000_000], help="of files opened")
    parse.add_argument("--insert-rows", type=int, default=100_000)
    parse.add_argument("--repeat", type=int, default=3, help="of inserts")
    parse.add_argument("--rounds", type=int, default=15, help="of openings and searches")
    parse.add_argument("--bin", type=pathlib.Path, default=data.ROOT / "build" / "bin" / "omen_durable_bench")
    options = parse.parse_args(words)
    if os.environ.get("QUICK", "0") not in ("", "0"):
        options.rows, options.insert_rows, options.repeat, options.rounds = [10_000, 50_000], 30_000, 1, 5
    if not options.bin.exists():
        raise SystemExit(f"{options.bin} is missing: build the release preset first")
    data.load(SET)  # makes the raw files where they are missing
    with tempfile.TemporaryDirectory(prefix="durable-", dir=data.WORK) as folder:
        driver = Driver(options.bin, pathlib.Path(folder))
        searched = min(options.rows, key=lambda rows: abs(rows - 100_000))
        parts = [
            inserts(driver, options.insert_rows, options.repeat),
            openings(driver, options.rows, options.rounds),
            searches(driver, searched, options.rounds),
            sizes_on_disk(driver, CHURN_ROWS),
        ]
    text = "\n\n".join(text for text, _ in parts)
    verdicts = [line for _, judged in parts for line in judged]
    whole = max(options.rows) >= 1_000_000
    report.section("durable", "The durable shard", text, verdicts, whole=whole)


if __name__ == "__main__":
    main()
