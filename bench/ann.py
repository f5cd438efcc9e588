"""Recall against queries per second: OmenDB beside the peers that are installed, in one run.

`python -m bench.ann [--quick] [--sets NAME...] [--libs NAME...] [--repeat N] [--reuse]`

Each library lives in a process of its own (bench/worker.py). They are built one after the other, and then
every repetition walks over all parameters and all libraries, so that a slow minute of a shared machine
hits all of them alike. One process measures at a time; the others wait for a line on their stdin.
"""

import argparse
import importlib.metadata
import json
import os
import select
import subprocess
import sys
import time

from bench import data, measure, peers, report

OUT = data.WORK / "out"
TARGETS = (0.90, 0.95, 0.99, 0.999)
ENOUGH = 0.9995  # no parameter beyond the first that reaches it
SLOWEST_QPS = 40  # nor one slower than this


class Library:
    """The coordinator's end of one worker."""

    def __init__(self, variant, patience):
        self.variant, self.patience = variant, patience
        threads = {"OMP_WAIT_POLICY": "passive", "OPENBLAS_NUM_THREADS": "1"}  # waiting teams must not spin
        self.process = subprocess.Popen(
            [sys.executable, "-m", "bench.worker", variant.name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=data.ROOT,
            env=os.environ | threads,
        )
        self.failed = None
        hello = self._answer()
        if hello is not None:
            self.version, self.points, self.parallel = hello["version"], hello["points"], hello["parallel"]

    def _answer(self):
        ready, _, _ = select.select([self.process.stdout], [], [], self.patience)
        line = self.process.stdout.readline() if ready else None
        if not line:
            self.failed = "ended without an answer" if line is not None else f"no answer in {self.patience} s"
            return None
        answer = json.loads(line)
        self.failed = answer.get("missing") or answer.get("failed")
        return None if self.failed else answer

    def ask(self, do, **words):
        try:
            self.process.stdin.write(json.dumps({"do": do} | words) + "\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            self.failed = self.failed or "ended by itself"
            return None
        return self._answer()

    def close(self):
        self.process.stdin.close()
        try:
            self.process.wait(60 if self.failed is None or self.process.poll() is not None else 10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def install_peers(chosen):
    """Installs what bench/peers.txt pins and is missing, one by one; a failure is that peer's alone."""
    wanted = {variant.distribution for variant in chosen}
    for line in (data.ROOT / "bench" / "peers.txt").read_text().splitlines():
        name, _, version = line.partition("==")
        bare = name.partition("[")[0]
        if line.startswith("#") or bare not in wanted or has(bare, version):
            continue
        say(f"installing {line}")
        words = [sys.executable, "-m", "pip", "install", "-q", "--disable-pip-version-check", line]
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            say(f"{line} does not install here: {(done.stderr.strip().splitlines() or ['no reason given'])[-1]}")


def has(distribution, version):
    try:
        return importlib.metadata.version(distribution) == version
    except importlib.metadata.PackageNotFoundError:
        return False


def say(text):
    print(f"{time.strftime('%H:%M:%S')}  {text}", file=sys.stderr, flush=True)


def choose_points(probes):
    """The parameters worth timing, few of them far from a target. probes: (point, recall, qps).

    Speed is compared with 15 % of slack, because it was measured once.
    """
    kept = list(probes)
    if probes and isinstance(probes[0][0], list):  # a grid of two parameters: most of it is beaten by the rest
        kept = [p for p in probes if not any(o[1] >= p[1] and o[2] > 1.15 * p[2] for o in probes)]
    kept.sort(key=lambda p: (p[1], -p[2]))
    wanted = set()
    for target in TARGETS:
        below = [i for i, p in enumerate(kept) if p[1] < target]
        above = [i for i, p in enumerate(kept) if p[1] >= target]
        wanted.update(below[-2:] + above[:2])
    wanted.update(range(0, len(kept), max(1, len(kept) // 5)))
    wanted.add(len(kept) - 1)
    return [kept[i] for i in sorted(wanted) if i >= 0]


def probe(library, threads):
    """(point, recall, qps at one thread) of the parameters, from fast to slow, until recall is enough."""
    found, best = [], 0.0
    row_start = library.points[0]
    skip_until_next_row = False
    for point in library.points:
        new_row = isinstance(point, list) and isinstance(row_start, list) and point[1] != row_start[1]
        if new_row:
            row_start, skip_until_next_row = point, False
        if skip_until_next_row:
            continue
        answer = library.ask("probe", point=point, threads=threads)
        if answer is None:
            break
        found.append((point, answer["recall"], answer["qps"] / threads))
        best = max(best, answer["recall"])
        if answer["recall"] >= ENOUGH or answer["qps"] < SLOWEST_QPS:
            skip_until_next_row = True
            if not isinstance(point, list):
                break
    return choose_points(found)


def build_all(libraries, options, name, rows, queries):
    builds = {}
    for library in list(libraries):
        cache = None
        if options.reuse:
            folder = data.WORK / "cache"
            folder.mkdir(parents=True, exist_ok=True)
            built = f"{name}-{rows}-{library.variant.name}-{library.version}-{options.m}-{options.efc}"
            if library.variant.name not in peers.OURS:  # ours changes under the same version number
                cache = str(folder / built.replace(" ", "_"))
        words = dict(name=name, rows=rows, queries=queries, k=10, m=options.m, ef_construction=options.efc)
        answer = library.ask("build", threads=options.threads, cache=cache, **words)
        if answer is None:
            say(f"{library.variant.name}: {library.failed}")
            continue
        builds[library.variant.name] = answer
        say(
            f"{name}: {library.variant.name} {library.version} built in {answer['seconds']:.1f} s"
            f"{' (earlier, reused)' if answer['reused'] else ''}, {answer['bytes_per_vector']:.0f} B/vector"
        )
    return builds


def build_with_one_thread(chosen, options, name, rows, queries, builds):
    """The build rate on one core, in processes that do nothing else."""
    for variant in chosen:
        if variant.name not in builds or variant.name == "omendb target_recall":
            continue
        library = Library(variant, options.patience)
        words = dict(name=name, rows=rows, queries=queries, k=10, m=options.m, ef_construction=options.efc)
        answer = library.ask("build", threads=1, **words) if library.failed is None else None
        if answer is not None:
            builds[variant.name]["vectors_per_second_1"] = answer["vectors_per_second"]
            say(f"{name}: {variant.name} with one thread: {answer['vectors_per_second']:.0f} vectors/s")
        library.close()


def time_all(libraries, options, name):
    rows = {}  # (variant, index of the point) -> what was measured
    chosen = {}
    for library in libraries:
        if library.failed:
            continue
        chosen[library] = probe(library, options.threads if library.parallel else 1)
        for i, (point, recall, qps) in enumerate(chosen[library]):
            rows[library, i] = dict(point=point, recall=recall, probed=qps, qps1=[], qps2=[], p50=[], p99=[])
        if chosen[library]:
            low, high = chosen[library][0][1], chosen[library][-1][1]
            say(f"{name}: {library.variant.name}: {len(chosen[library])} parameters, recall {low:.4f} to {high:.4f}")
        else:
            say(f"{name}: {library.variant.name}: {library.failed}")
    longest = max((len(points) for points in chosen.values()), default=0)
    for repeat in range(options.repeat):
        say(f"{name}: repetition {repeat + 1} of {options.repeat}")
        for i in range(longest):
            for library in chosen:
                if (library, i) in rows and not library.failed:
                    time_one(library, rows[library, i], options)
    out = {}
    for (library, _), row in rows.items():
        if row["qps1"]:
            out.setdefault(library.variant.name, []).append(row)
    return out


def time_one(library, row, options):
    expected = row["probed"]
    answer = library.ask("time", point=row["point"], threads=1, expected_qps=expected, at_least=options.at_least)
    if answer:
        row["qps1"].append(answer["qps"])
    if library.parallel:
        words = dict(point=row["point"], threads=options.threads, at_least=options.at_least)
        answer = library.ask("time", expected_qps=options.threads * expected, **words)
        if answer:
            row["qps2"].append(answer["qps"])
    count = int(min(options.singles, max(100, 0.5 * expected)))
    answer = library.ask("latency", point=row["point"], count=count)
    if answer:
        row["p50"].append(answer["p50_us"])
        row["p99"].append(answer["p99_us"])


def warm_set(options, name, chosen):
    """Builds one library after the other for later runs with --reuse; nothing is timed."""
    dataset = data.load(name)
    for variant in chosen:
        if variant.name in peers.OURS or not variant.saves:
            continue
        library = Library(variant, options.patience)
        if library.failed is None:
            build_all([library], options, name, len(dataset.base), len(dataset.query))
        library.close()


def run_set(options, name, chosen):
    dataset = data.load(name)
    rows = min(len(dataset.base), options.rows or len(dataset.base))
    queries = min(len(dataset.query), options.queries)
    say(f"{name}: {rows} x {dataset.dim}, {dataset.metric}, {queries} queries")
    if rows < len(dataset.base):
        data.cached_subset(dataset, rows, queries)  # its truth is computed here, by all cores
    missing, libraries = {}, []
    for variant in chosen:
        library = Library(variant, options.patience)
        if library.failed:
            missing[variant.name] = library.failed
            say(f"{variant.name}: not compared: {library.failed}")
            library.close()
        else:
            libraries.append(library)
    try:
        builds = build_all(libraries, options, name, rows, queries)
        curves = time_all([lib for lib in libraries if not lib.failed], options, name)
        versions = {lib.variant.name: lib.version for lib in libraries}
        missing |= {lib.variant.name: lib.failed for lib in libraries if lib.failed}
    finally:
        for library in libraries:
            library.close()
    if options.build_one and rows <= 100_000:
        build_with_one_thread(chosen, options, name, rows, queries, builds)
    result = dict(
        set=name, rows=rows, dim=dataset.dim, metric=dataset.metric, queries=queries, repeats=options.repeat,
        m=options.m, ef_construction=options.efc, threads=options.threads, machine=measure.machine(),
        commit=measure.commit(), date=time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()), versions=versions,
        missing=missing, builds=builds, curves=curves,
    )  # fmt: skip
    OUT.mkdir(parents=True, exist_ok=True)
    (OUT / f"ann-{name}{'-part' if options.rows else ''}.json").write_text(json.dumps(result, indent=1))
    return result


def options_from(words):
    parse = argparse.ArgumentParser(prog="python -m bench.ann", description=__doc__.split("\n")[0])
    parse.add_argument("--quick", action="store_true", help="small sets, few libraries, about 3 minutes")
    parse.add_argument("--sets", nargs="+", choices=list(data.MAKERS), help="default: all whose source is here")
    parse.add_argument("--libs", nargs="+", help="names or beginnings of names; default: all")
    parse.add_argument("--repeat", type=int, default=3)
    parse.add_argument("--rows", type=int, help="only the first rows of each set")
    parse.add_argument("--queries", type=int, default=2000, help="at most so many queries (default 2000)")
    parse.add_argument("--threads", type=int, default=min(2, len(measure.CORES)))
    parse.add_argument("--m", type=int, default=16)
    parse.add_argument("--efc", type=int, default=200)
    parse.add_argument("--reuse", action="store_true", help="keep the peers' built indexes and load them next time")
    parse.add_argument("--warm", action="store_true", help="only build what --reuse would load, then stop")
    parse.add_argument("--no-build-one", dest="build_one", action="store_false", help="skip the one-thread builds")
    parse.add_argument("--patience", type=int, default=3600, help="seconds after which a silent library is given up")
    parse.add_argument("--no-install", dest="install", action="store_false", help="take only peers that are here")
    parse.add_argument("--report", action="store_true", help="measure nothing; write the report from what is there")
    options = parse.parse_args(words)
    options.reuse = options.reuse or options.warm
    options.at_least, options.singles = 0.25, 1000  # seconds of a batch timing; single calls of a latency one
    options.quick = options.quick or os.environ.get("QUICK", "0") not in ("", "0")
    if options.quick:
        options.rows = options.rows or 20_000
        options.queries = min(options.queries, 500)
        options.libs = options.libs or ["omendb", "hnswlib", "faiss HNSW"]
        options.build_one, options.at_least, options.singles = False, 0.12, 300
    return options


def main(words=None):
    options = options_from(words)
    if not options.report:
        chosen = peers.variants(options.libs)
        if options.install:
            install_peers(chosen)
        names = [name for name in options.sets or data.MAKERS if data.available(name)]
        if options.quick and not options.sets:
            names = [name for name in names if name != "synth-128"] or ["synth-128"]
        for name in options.sets or data.MAKERS:
            if name not in names and not options.quick:
                say(f"{name}: not measured: its source is not here")
        for name in names:
            warm_set(options, name, chosen) if options.warm else run_set(options, name, chosen)
        if options.warm:
            return
    report.write_ann(OUT, part=bool(options.rows))


if __name__ == "__main__":
    main()
