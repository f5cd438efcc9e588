"""What `make run-engine` shows: real vectors in, a durable index built, searched, filtered, measured, closed and opened again.

`python -m bench.run [--rows N] [--queries N] [--at FOLDER]`

Data: Fashion-MNIST from Debian's package dataset-fashion-mnist, and the text embeddings minilm-384 when the
data folder has them (DATA=dir, default ../shared/data). With neither, vectors are generated, and it says so.
"""

import argparse
import json
import os
import pathlib
import shutil
import sys

import numpy as np
import omendb

from bench import data, measure, reopen

WIDTH = 100
LABELS = ("T-shirt", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Boot")
SHADES = " .:-=+*#%@"
K = 10
FOLDER = pathlib.Path(__file__).resolve().parent.parent / "build" / "demo"
POINTS = (
    {"ef": 32},
    {"ef": 64},
    {"ef": 128},
    {"target_recall": 0.90},
    {"target_recall": 0.95},
    {"target_recall": 0.99},
)


# ---- output ----

TERMINAL = sys.stdout.isatty()
COLOUR = TERMINAL and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def paint(code, text):
    return f"\x1b[{code}m{text}\x1b[0m" if COLOUR else text


def heading(text):
    print(f"\n{paint('1', text)}\n{paint('2', '-' * min(WIDTH, len(text)))}", flush=True)


def line(name, text):
    print(f"  {paint('2', f'{name:<22}')}{text}", flush=True)


class Bar:
    """A progress bar on a terminal; elsewhere a plain line at each quarter."""

    def __init__(self, name):
        self.name, self.start, self.quarter, self.before = name, measure.clock(), 0, None

    def update(self, done, total):
        share = done / total if total else 1.0
        if self.before is None:
            self.before = done  # what others did before the bar began is not its speed
        seconds = max(measure.clock() - self.start, 1e-6)
        rate = f"{done:,} of {total:,}  {(done - self.before) / seconds:,.0f}/s"
        if TERMINAL:
            full = int(share * 32)
            sys.stdout.write(
                f"\r  {paint('2', f'{self.name:<22}')}[{'#' * full}{'.' * (32 - full)}] {share:4.0%}  {rate} \x1b[K"
            )
            sys.stdout.flush()
        elif int(share * 4) > self.quarter:
            self.quarter = int(share * 4)
            line(self.name, f"{25 * self.quarter:3d} %")

    def end(self):
        if TERMINAL:
            sys.stdout.write("\r\x1b[K")


# ---- the data ----


class Demo:
    """A set with payloads, a filter to try on it, and a way to look at neighbours."""

    def __init__(self, name, origin, metric, base, query, payloads, field, condition, look):
        self.name, self.origin, self.metric, self.base, self.query = name, origin, metric, base, query
        self.payloads, self.field, self.condition, self.look = payloads, field, condition, look


def fashion(queries):
    base = data.read_idx(data.FASHION / "train-images-idx3-ubyte.gz", 16).reshape(-1, 784).astype("f4")
    query = data.read_idx(data.FASHION / "t10k-images-idx3-ubyte.gz", 16).reshape(-1, 784).astype("f4")[:queries]
    labels = data.fashion_labels()[0]
    payloads = [{"label": LABELS[label]} for label in labels]
    origin = "pictures of clothes, 28 x 28, from Debian's package dataset-fashion-mnist"
    return Demo(
        "Fashion-MNIST",
        origin,
        "l2",
        base,
        query,
        payloads,
        ("label", "keyword"),
        {"label": "Sneaker"},
        look_at_pictures,
    )


def minilm(queries):
    folder = data.data_folder() / "minilm-384"
    base = np.load(folder / "base.f16.npy").astype("f4")
    query = np.load(folder / "query.f16.npy").astype("f4")[:queries]
    with open(folder / "text.ndjson", encoding="utf-8") as file:
        rows = [json.loads(words) for words in file]
    payloads = [{"text": row["text"], "words": row["words"]} for row in rows]
    origin = f"sentence embeddings (all-MiniLM-L6-v2) with their texts, from {folder.parent.name}/{folder.name}"
    return Demo(
        "minilm-384",
        origin,
        "cosine",
        base,
        query,
        payloads,
        ("words", "integer"),
        {"words": {"gte": 12}},
        look_at_texts,
    )


def generated(queries):
    base, query = data.synth(100_000)
    die = np.random.default_rng(1).integers(0, 100, len(base))
    payloads = [{"die": int(value)} for value in die]
    origin = "GENERATED vectors: neither dataset-fashion-mnist nor a data folder is here"
    return Demo(
        "generated", origin, "l2", base, query[:queries], payloads, ("die", "integer"), {"die": {"lt": 10}}, None
    )


def look_at_pictures(index, demo):
    number = 4
    hits = index.search(demo.query[number], k=5)
    pictures = [demo.query[number]] + [demo.base[i] for i in hits.ids]
    names = ["the query"] + [payload["label"] for payload in hits.payloads]
    blocks = []
    for picture in pictures:
        small = picture.reshape(14, 2, 14, 2).mean((1, 3)).reshape(7, 2, 14).mean(1)
        blocks.append(["".join(SHADES[min(9, int(value / 25.6))] for value in row) for row in small])
    for row in zip(*blocks):
        print("  " + "  ".join(row).rstrip())
    print("  " + paint("2", "  ".join(f"{name:<14}" for name in names).rstrip()))


def look_at_texts(index, demo):
    for number in (11, 4242):
        hits = index.search(demo.base[number], k=4)
        print(f"  {paint('1', clip(demo.payloads[number]['text'], WIDTH - 4))}")
        for (found, distance), payload in zip(hits, hits.payloads):
            if found != number:
                print(f"    {distance:.3f}  {clip(payload['text'], WIDTH - 13)}")


def clip(text, width):
    text = " ".join(text.split())
    return text if len(text) <= width else text[: width - 3] + "..."


# ---- the job ----


def short(path):
    """As seen from here, where that is shorter."""
    return min(str(path), os.path.relpath(path), key=len)


def load(demo, path):
    """The index, and seconds until: the first answer, all rows linked and in the file."""
    shutil.rmtree(path, ignore_errors=True)
    start = measure.clock()
    index = omendb.Index(dimension=demo.base.shape[1], metric=demo.metric, path=path)
    bar = Bar("adding")
    for row in range(0, len(demo.base), 10_000):
        index.add(demo.base[row : row + 10_000], payloads=demo.payloads[row : row + 10_000])
        bar.update(min(row + 10_000, len(demo.base)), len(demo.base))
        if row == 0:
            index.search(demo.query[0], k=K)
            first = measure.clock() - start
    bar.end()
    bar = Bar("linking")
    index.build(progress=bar.update)
    index.flush()
    bar.end()
    return index, first, measure.clock() - start


def search_figures(index, demo, truth, options):
    recall = measure.recall(index.search(demo.query, k=K, **options)[0], truth)
    one = measure.rate(lambda: index.search(demo.query, k=K, threads=1, **options), len(demo.query), 0.4)
    two = measure.rate(lambda: index.search(demo.query, k=K, threads=2, **options), len(demo.query), 0.4)
    took = measure.each(lambda query: index.search(query, k=K, **options), demo.query)
    return recall, one, two, measure.quantile_us(took, 0.5), measure.quantile_us(took, 0.99)


def filtered(index, demo):
    """One filter: how many rows it lets through, recall against an exact filtered search, microseconds a query."""
    name, kind = demo.field
    index.index_field(name, kind)
    matching = index.count(filter=demo.condition)
    queries = demo.query[:200]
    truth = index.search(queries, k=K, filter=demo.condition, exact=True)[0]
    found = index.search(queries, k=K, filter=demo.condition)[0]
    took = measure.each(lambda query: index.search(query, k=K, filter=demo.condition), queries)
    return matching, measure.recall(found, truth), measure.quantile_us(took, 0.5)


def opened_again(path, demo, before):
    """Milliseconds to the first answer of a new process, while the file is still in the page cache."""
    again = reopen.in_new_process(path, demo.query[0])
    same = sum(a == b for a, b in zip(again["ids"], before, strict=True))
    line(
        "opened again",
        f"in a new process, first answer after {1000 * again['answer']:.1f} ms with all {again['rows']:,} rows; "
        f"{same} of {K} hits as before",
    )
    return again["answer"]


def show(demo, folder):
    path = folder / demo.name
    rows, width = demo.base.shape
    heading(f"{demo.name}: {rows:,} vectors of {width} dimensions, {demo.metric}")
    print(f"  {demo.origin}")
    index, first, linked = load(demo, path)
    line("first answer", f"{1000 * first:.0f} ms after the index was opened, with {min(10_000, rows):,} rows in it")
    line("linked, and on disk", f"{linked:.1f} s: {rows / linked:,.0f} vectors/s, each durable when its add returned")
    stats = index.stats()
    each = stats["bytes_per_vector"]
    line(
        "memory",
        f"{each:.0f} bytes a vector beyond the vector itself ({each / width:.2f} a dimension; the vector: {4 * width})",
    )

    start = measure.clock()
    truth = index.search(demo.query, k=K, exact=True)[0]
    exact = len(demo.query) / (measure.clock() - start)
    line(
        "exact search",
        f"{exact:,.0f} queries/s: the yardstick for recall ({len(demo.query):,} queries that are no rows)",
    )
    index.calibrate()
    head = f"{'asked for':<22}{'recall@10':>10}{'QPS, 1 thread':>16}{'2 threads':>12}{'p50':>10}{'p99':>10}"
    print(f"\n  {paint('2', head)}")
    best = None
    for options in POINTS:
        recall, one, two, p50, p99 = search_figures(index, demo, truth, options)
        ((word, value),) = options.items()
        print(
            f"  {f'{word} = {value}':<22}{recall:>10.4f}{one:>16,.0f}{two:>12,.0f}{p50:>7.0f} us{p99:>7.0f} us",
            flush=True,
        )
        if options == {"target_recall": 0.95}:
            best = dict(recall=recall, qps=one, p50=p50, p99=p99)
    matching, recall, p50 = filtered(index, demo)
    print()
    line(
        "filtered",
        f"{json.dumps(demo.condition)}: {matching:,} of {rows:,} rows, recall@10 {recall:.4f}, p50 {p50:.0f} us",
    )
    if demo.look:
        print()
        demo.look(index, demo)
    print()
    before = index.search(demo.query[0], k=K).ids.tolist()
    index.flush()
    index.close()
    size = (path / "data.mdb").stat().st_size
    line("the file", f"{size / 1e6:,.0f} MB, {size / demo.base.nbytes:.2f} times the vectors: {short(path)}")
    again = opened_again(path, demo, before)
    return best | dict(name=demo.name, rows=rows, width=width, first=first, bytes=each, exact=exact, again=again)


def summary(results, seconds):
    heading("Summary (target_recall = 0.95)")
    head = f"{'set':<16}{'recall@10':>10}{'QPS':>10}{'p50':>9}{'p99':>9}"
    print(paint("2", f"  {head}{'over exact':>12}{'B/vector':>10}{'opened again':>14}"))
    for r in results:
        print(
            f"  {r['name']:<16}{r['recall']:>10.4f}{r['qps']:>10,.0f}{r['p50']:>6.0f} us{r['p99']:>6.0f} us"
            f"{r['qps'] / r['exact']:>11.0f}x{r['bytes']:>10.0f}{1000 * r['again']:>11.1f} ms"
        )
    print(
        f"\n  {measure.machine()}\n  {seconds:.0f} s in all. Beside other libraries: make bench. In Python: README.md."
    )


def demos(queries):
    """What there is to show: the real sets, or generated vectors where none is."""
    makers = [maker for name, maker in (("fashion-784", fashion), ("minilm-384", minilm)) if data.available(name)]
    return [maker(queries) for maker in makers or [generated]]


def main(words=None):
    parse = argparse.ArgumentParser(prog="python -m bench.run", description=__doc__.split("\n")[0])
    parse.add_argument("--rows", type=int, help="only the first rows of each set")
    parse.add_argument("--queries", type=int, default=1000)
    parse.add_argument("--at", type=pathlib.Path, default=FOLDER, help="where the indexes are made anew (build/demo)")
    options = parse.parse_args(words)
    start = measure.clock()
    options.at.mkdir(parents=True, exist_ok=True)
    print(f"OmenDB {omendb.__version__}")
    results = []
    for demo in demos(options.queries):
        if options.rows:
            demo.base, demo.payloads = demo.base[: options.rows], demo.payloads[: options.rows]
        results.append(show(demo, options.at))
    summary(results, measure.clock() - start)


if __name__ == "__main__":
    main()
