"""Builds of many rows at once: quality beside inserted links first, then rates beside hnswlib and pgvector, stages and memory.

`python -m bench.bulk [--sets NAME...] [--draws N] [--repeat N] [--rows N]`

The engine's figures are of build/bin/omen_bulk_bench (bench/bulk.c), which builds and inserts the same rows with the same seed; each
draw has another seed: another rotation, other entries, other leaders. Of spread-128, whose lengths spread under ip, there is quality
alone. Libraries are built in processes of their own, one after the other; ours through Index.add, until all is linked. Before the
clock starts each of them has touched a gigabyte and let it go (measure.touch_memory), so that none is charged for what the host of
a virtual machine took back.
"""

import argparse
import pathlib
import re
import subprocess

import numpy as np

from bench import data, measure, peers, report
from bench.ann import Library, say

BEAMS = (32, 64, 128)
THREADS = 2
POINTS, TIMES = 0.5, 1.1  # recall may be so many points lower, and evaluations so many times as many
OVER_HNSWLIB = {"minilm-384": 15.0, "fashion-784": 8.0, "synth-128": 12.0}
OVER_PGVECTOR = 40.0
PGVECTOR_SET = "minilm-384"
RATE = {"synth-128": 100_000}
MEMORY = {"synth-128": 1024, "minilm-384": 1280}  # bytes a vector, the new graph included
LITTLE, LITTLE_TIMES = 300, 2.0  # with so many bytes a vector it takes so many times as long at most
STAGES = ("found", "encode", "same", "partition", "narrow", "leaves", "choose", "reverse", "reach", "install")


def numbers(line):
    """{name: number} of 'name 1.5 other 2'."""
    return {name: float(value) for name, value in re.findall(r"([a-z]+) ([0-9.]+)", line)}


def curve(line):
    """{ef: (recall, evaluations)}"""
    return {int(ef): (float(r), float(e)) for ef, r, e in re.findall(r"ef (\d+) ([0-9.]+)/(\d+)", line)}


def read(output):
    """What omen_bulk_bench printed: a dict of each build, and the curves by 'bulk' and 'inserted'."""
    builds, curves, peak = [], {}, None
    for line in output.splitlines():
        if line.startswith("a thread at its best:"):
            peak = [float(number) for number in re.findall(r"[0-9.]+", line)]
        if found := re.match(r"(\d+) vectors/s: .* in ([0-9.]+) s.*; ([0-9.]+) us of processor a row", line):
            builds.append(dict(rate=float(found[1]), seconds=float(found[2]), processor=float(found[3]), peak=peak))
        elif line.startswith("  us of processor a row:"):
            builds[-1]["stages"] = numbers(line)
        elif line.startswith("  bytes held a row:"):
            builds[-1]["held"] = numbers(line)
        elif line.startswith("  bytes read a row:"):
            builds[-1]["read"] = numbers(line)
        elif found := re.match(r"  build memory (\d+) bytes a row, (\d+) with the graph, (\d+) passes", line):
            builds[-1].update(memory=int(found[2]), passes=int(found[3]))
            builds[-1]["pairs"] = float(re.search(r"([0-9]+) pairs a row", line)[1])
            builds[-1]["narrow"] = int(re.search(r"compared by ([0-9]+)", line)[1])
        elif found := re.match(r"  (bulk|inserted): ", line):
            curves[found[1]] = curve(line)
    return builds, curves


def engine(options, dataset, *words):
    folder = data.WORK / "data"
    files = ["--base", folder / f"{dataset.name}.base.f32", "--query", folder / f"{dataset.name}.query.f32"]
    rest = ["--dim", dataset.dim, "--metric", dataset.metric, "--threads", THREADS, "--rows", options.rows]
    command = [options.bin, *files, *rest, "--queries", min(len(dataset.query), 2000), *words]
    done = subprocess.run([str(word) for word in command], check=True, capture_output=True, text=True)
    return read(done.stdout)


def quality(options, dataset):
    """The curves of every draw, and all builds that were made for them."""
    builds, curves = [], []
    for seed in range(1, options.draws + 1):
        made, drawn = engine(options, dataset, "--seed", seed, "--repeat", options.repeat, "--insert")
        say(f"{dataset.name}, draw {seed}: " + ", ".join(f"{build['rate']:,.0f} vectors/s" for build in made))
        builds, curves = builds + made, curves + [drawn]
    return builds, curves


def quality_table(name, curves):
    rows, verdicts = [], []
    for ef in BEAMS:
        built, inserted = (np.array([drawn[kind][ef] for drawn in curves]) for kind in ("bulk", "inserted"))
        points, times = 100 * (built[:, 0] - inserted[:, 0]), built[:, 1] / inserted[:, 1]
        apart = float(np.median(points)), float(np.median(times))
        spread = f"{apart[0]:+.2f} ({points.min():+.2f} to {points.max():+.2f})"
        middle = [f"{np.median(built[:, 0]):.4f}", f"{np.median(inserted[:, 0]):.4f}", spread, f"{apart[1]:.3f}x"]
        rows.append([f"ef {ef}", *middle])
        verdicts += [
            (f"{name}: built less inserted, ef {ef}", f"{apart[0]:+.2f} points", f">= -{POINTS:g}", apart[0] >= -POINTS),
            (f"{name}: evaluations, ef {ef}", f"{apart[1]:.3f}x", f"<= {TIMES:g}x", apart[1] <= TIMES),
        ]
    head = ["recall@10, median of the draws", "built", "inserted", "points apart", "evaluations"]
    return report.table(head, rows), verdicts


def roofline_table(builds, dim):
    """Stages beside the least that the machine would need for them: products of bytes, or bytes from memory, whichever is more.

    Leaves and partition compare pairs of rows, each once; codes read four bytes a component, and are written; who chooses, and chooses
    anew in reverse, reads its candidates, as often as the build counted, out of memory at the worst. Long rows are compared by short
    copies: all pairs are counted so, though those with the first leaders are of whole rows.
    """

    def us(stages):
        return sum(float(np.median([build["stages"][stage] for build in builds])) for stage in stages)

    def read(stage):
        return float(np.median([build["read"][stage] for build in builds]))

    width = (dim + 31) // 32 * 32
    narrow = builds[0]["narrow"] or width
    products, memory = np.median([build["peak"] for build in builds], axis=0)
    compared = np.median([build["pairs"] for build in builds]) * narrow
    rows = []
    for stages, count, unit in [
        (("encode",), read("encode") + width, "bytes"),
        (("partition", "leaves"), compared, "products"),
        (("choose",), read("choose"), "bytes"),
        (("reverse",), read("reverse"), "bytes"),
    ]:
        best = products if unit == "products" else memory
        least = count / best / 1000 if best > 0 else 0.0  # 0: nobody knows how many products
        took = us(stages)
        rows.append([", ".join(stages), f"{took:.2f}", f"{count:,.0f} {unit}", f"{least:.2f}", f"{least / took:.0%}"])
    text = f"A thread does {products:,.0f} products of bytes a ns at most, and reads {memory:.1f} bytes of memory.\n\n"
    return text + report.table(["stage", "us a row", "work a row", "us at least", "of the peak"], rows)


def engine_table(name, dim, builds, little):
    rates, memory = [build["rate"] for build in builds], max(build["memory"] for build in builds)
    slower = float(np.median([build["seconds"] for build in little]) / np.median([build["seconds"] for build in builds]))

    def of(figure, stage):
        return float(np.median([build[figure].get(stage, 0) for build in builds]))

    stages = [
        [stage, f"{of('stages', stage):.2f}", f"{of('held', stage):,.0f}", f"{of('read', stage):,.0f}"] for stage in STAGES
    ]
    processor = float(np.median([build["processor"] for build in builds]))
    stages.append(["all", f"{processor:.2f}", f"{max(of('held', stage) for stage in STAGES):,.0f}", ""])
    text = "{:,.0f} vectors/s ({:,.0f}-{:,.0f}) of the engine alone, {} threads; ".format(*measure.spread(rates), THREADS)
    text += f"{memory:,} bytes a vector at most, codes and graph included.\n\n"
    verdicts = []
    if name in RATE:
        middle = float(np.median(rates))
        verdicts.append((f"{name}: vectors/s, {THREADS} threads", f"{middle:,.0f}", f">= {RATE[name]:,}", middle >= RATE[name]))
    if name in MEMORY:
        verdicts.append((f"{name}: bytes a vector", f"{memory:,}", f"<= {MEMORY[name]:,}", memory <= MEMORY[name]))
    verdicts.append((f"{name}: {LITTLE} bytes a vector beside codes", f"{slower:.2f}x the time", f"<= {LITTLE_TIMES:g}x", slower <= LITTLE_TIMES))  # fmt: skip
    text += report.table(["stage", "us of processor a row", "bytes held a row", "bytes of rows read a row"], stages) + "\n\n"
    return text + roofline_table(builds, dim), verdicts


def rates(options, name, rows):
    """Vectors/s of each library, one after the other and again; a library that is not there is not in it."""
    wanted = ["omendb", "hnswlib"] + (["pgvector"] if name == PGVECTOR_SET else [])
    found = {}
    for _ in range(options.repeat):
        for variant in peers.variants(wanted):
            if variant.name == "omendb target_recall":
                continue
            library = Library(variant, 3600)
            words = dict(name=name, rows=rows, queries=100, k=10, m=16, ef_construction=200)
            answer = None if library.failed else library.ask("build", threads=THREADS, **words)
            if answer is None:
                say(f"{variant.name}: {library.failed}")
            else:
                found.setdefault(variant.name, []).append(answer["vectors_per_second"])
                say(f"{name}: {variant.name}: {answer['vectors_per_second']:,.0f} vectors/s")
            library.close()
    return found


def rate_table(name, found):
    rows = [[library, "{:,.0f} ({:,.0f}-{:,.0f})".format(*measure.spread(values))] for library, values in found.items()]
    bars = {"hnswlib": OVER_HNSWLIB.get(name), "pgvector": OVER_PGVECTOR}
    verdicts = []
    for library, bar in bars.items():
        if library in found and bar is not None:
            times = float(np.median(found["omendb"]) / np.median(found[library]))
            verdicts.append((f"{name}: build over {library}", f"{times:.1f}x", f">= {bar:g}x", times >= bar))
    return report.table(["vectors/s, until all are linked", f"{THREADS} threads"], rows), verdicts


def main(words=None):
    parse = argparse.ArgumentParser(prog="python -m bench.bulk", description=__doc__.split("\n")[0])
    sets = [*OVER_HNSWLIB, *data.BUILT_ONLY]
    parse.add_argument("--sets", nargs="+", choices=sets, default=sets, help="default: all whose source is here")
    parse.add_argument("--draws", type=int, default=3)
    parse.add_argument("--repeat", type=int, default=3)
    parse.add_argument("--rows", type=int, default=0, help="of each set, 0: all")
    parse.add_argument("--bin", type=pathlib.Path, default=data.ROOT / "build" / "bin" / "omen_bulk_bench")
    options = parse.parse_args(words)
    for name in filter(data.available, options.sets):
        dataset = data.load(name)
        count = min(options.rows or len(dataset.base), len(dataset.base))
        head = f"{name}: {count:,} x {dataset.dim}, {dataset.metric}, {options.draws} draws, {options.repeat} builds of each."
        builds, curves = quality(options, dataset)
        parts = [quality_table(name, curves)]
        if name in OVER_HNSWLIB:
            little, _ = engine(options, dataset, "--memory", LITTLE, "--repeat", options.repeat)
            parts += [engine_table(name, dataset.dim, builds, little), rate_table(name, rates(options, name, count))]
            head += " Each library's process touches a gigabyte before its clock starts (bench/measure.py, touch_memory)."
        else:
            head += " " + data.BUILT_ONLY[name].__doc__
        text = "\n\n".join([head] + [text for text, _ in parts])
        verdicts = [verdict for _, judged in parts for verdict in judged]
        whole = count == len(dataset.base)
        report.section(f"bulk-{name}", f"Building all at once: {name}", text, verdicts, whole=whole)


if __name__ == "__main__":
    main()
