"""The bench's data sets as raw files under build/bench/data, made once and then only mapped.

Each set is four files: NAME.txt (one line of key=value), NAME.base.f32, NAME.query.f32 (raw
little-endian rows) and NAME.truth.u32 (row numbers of the 100 exact neighbours, nearest first). The
C bench (bench/engine.c) reads the same files.

`python -m bench.data [NAME...]` makes them.
"""

import gzip
import os
import pathlib
import sys
from dataclasses import dataclass

import numpy as np

ROOT = pathlib.Path(__file__).resolve().parent.parent
WORK = pathlib.Path(os.environ.get("BENCH_DIR", ROOT / "build" / "bench"))
FASHION = pathlib.Path(os.environ.get("FASHION", "/usr/share/datasets/fashion-mnist"))
TRUTH = 100


@dataclass
class Dataset:
    name: str
    metric: str
    base: np.ndarray
    query: np.ndarray
    truth: np.ndarray  # TRUTH columns of row numbers
    labels: np.ndarray | None = None  # of the base rows, where the set has classes
    query_labels: np.ndarray | None = None

    @property
    def dim(self) -> int:
        return self.base.shape[1]

    def subset(self, rows: int, queries: int) -> "Dataset":
        """The first rows and queries, with a truth of their own."""
        rows, queries = min(rows, len(self.base)), min(queries, len(self.query))
        base, query = self.base[:rows], self.query[:queries]
        truth = self.truth[:queries] if rows == len(self.base) else exact(base, query, self.metric)
        labels = None if self.labels is None else self.labels[:rows]
        query_labels = None if self.query_labels is None else self.query_labels[:queries]
        name = self.name if rows == len(self.base) else f"{self.name}-{rows}"
        return Dataset(name, self.metric, base, query, truth, labels, query_labels)


def exact(base, query, metric, k=TRUTH, rows=None):
    """The k nearest rows of each query by blocked matmul, then by float64; equal distances by row.

    `rows` limits the answer to those rows (their numbers are kept).
    """
    if rows is not None and len(rows) == 0:
        return np.full((len(query), k), 0xFFFFFFFF, "u4")
    if rows is not None:
        found = exact(np.ascontiguousarray(base[rows]), query, metric, k)
        return np.where(found < len(rows), rows[np.minimum(found, len(rows) - 1)], 0xFFFFFFFF).astype("u4")
    keep = min(len(base), k + 32)  # room for float32's error around the last place
    best_d = np.full((len(query), keep), np.inf, "f4")
    best_i = np.zeros((len(query), keep), "u4")
    block = max(1, 64_000_000 // max(1, len(query)))
    for start in range(0, len(base), block):
        rows_f32 = np.asarray(base[start : start + block], "f4")
        distance = -2 * (query @ rows_f32.T) if metric == "l2" else -(query @ rows_f32.T)
        if metric == "l2":
            distance += np.einsum("ij,ij->i", rows_f32, rows_f32)[None, :]
        take = min(keep, distance.shape[1])
        part = np.argpartition(distance, take - 1, axis=1)[:, :take]
        all_d = np.concatenate([best_d, np.take_along_axis(distance, part, 1)], 1)
        all_i = np.concatenate([best_i, (part + start).astype("u4")], 1)
        choice = np.argpartition(all_d, keep - 1, axis=1)[:, :keep]
        best_d, best_i = np.take_along_axis(all_d, choice, 1), np.take_along_axis(all_i, choice, 1)
    out = np.full((len(query), k), 0xFFFFFFFF, "u4")
    for i, near in enumerate(best_i):
        rows_f64, q = base[near].astype("f8"), query[i].astype("f8")
        if metric == "l2":
            distance = ((rows_f64 - q) ** 2).sum(1)
        elif metric == "ip":
            distance = -(rows_f64 @ q)
        else:
            distance = -(rows_f64 @ q) / np.maximum(np.linalg.norm(rows_f64, axis=1), 1e-30)
        order = np.lexsort((near, distance))[:k]
        out[i, : len(order)] = near[order]
    return out


def _write(name, metric, base, query, truth):
    folder = WORK / "data"
    folder.mkdir(parents=True, exist_ok=True)
    np.ascontiguousarray(base, "<f4").tofile(folder / f"{name}.base.f32")
    np.ascontiguousarray(query, "<f4").tofile(folder / f"{name}.query.f32")
    np.ascontiguousarray(truth, "<u4").tofile(folder / f"{name}.truth.u32")
    header = f"dim={base.shape[1]} n={len(base)} queries={len(query)} metric={metric} truth={truth.shape[1]}\n"
    (folder / f"{name}.txt").write_text(header)  # last: its presence says that the set is whole


def read_idx(path, header):
    with gzip.open(path) as file:
        return np.frombuffer(file.read(), np.uint8, offset=header)


def fashion_labels():
    return read_idx(FASHION / "train-labels-idx1-ubyte.gz", 8), read_idx(FASHION / "t10k-labels-idx1-ubyte.gz", 8)


def _make_fashion():
    base = read_idx(FASHION / "train-images-idx3-ubyte.gz", 16).reshape(-1, 784).astype("f4")
    query = read_idx(FASHION / "t10k-images-idx3-ubyte.gz", 16).reshape(-1, 784).astype("f4")
    return "l2", base, query, exact(base, query, "l2")


def data_folder():
    """Where the data that is not ours to make lies: $DATA, or ../shared/data beside the checkout."""
    return pathlib.Path(os.environ.get("DATA") or ROOT.parent / "shared" / "data")


def _make_minilm():
    folder = data_folder() / "minilm-384"
    base = np.load(folder / "base.f16.npy").astype("f4")
    query = np.load(folder / "query.f16.npy").astype("f4")
    # float16 rows are a hair off unit length, and peers that know only the inner product would rank
    # by that hair; normalised again, inner product and cosine agree.
    base /= np.linalg.norm(base, axis=1, keepdims=True)
    query /= np.linalg.norm(query, axis=1, keepdims=True)
    return "cosine", base, query, exact(base, query, "cosine")


# The frozen generator: change nothing here, or give the set a new name.
SYNTH_SEED, SYNTH_ROWS, SYNTH_QUERIES, SYNTH_DIM = 20240607, 1_000_000, 2_000, 128
SYNTH_LATENT, SYNTH_HIDDEN, SYNTH_CLUSTERS = 24, 64, 10_000
SYNTH_NOISE = 0.35  # at 0.05 hnswlib reaches 0.99 at ef = 64: too easy to tell libraries apart
SYNTH_SPREAD = (0.15, 0.50)


def synth(rows, noise=SYNTH_NOISE, spread=SYNTH_SPREAD, seed=SYNTH_SEED, queries=SYNTH_QUERIES):
    """Points of a 24-d mixture of 10,000 Zipf-sized clusters, bent into 128 d by a random two-layer map.

    Vectors of the same law as embeddings' in what matters to a graph: low intrinsic dimension, uneven
    density, noise in every component. Queries are drawn from the same law, before the rows, so that a
    smaller set has the same queries.
    """
    rng = np.random.default_rng(seed)
    weight = 1.0 / np.arange(1, SYNTH_CLUSTERS + 1)
    weight /= weight.sum()
    centre = rng.standard_normal((SYNTH_CLUSTERS, SYNTH_LATENT), "f4")
    sigma = spread[0] + (spread[1] - spread[0]) * rng.random(SYNTH_CLUSTERS, "f4")
    first = rng.standard_normal((SYNTH_LATENT, SYNTH_HIDDEN), "f4") * np.float32(1.5 / np.sqrt(SYNTH_LATENT))
    bias = rng.standard_normal(SYNTH_HIDDEN, "f4") * np.float32(0.3)
    second = rng.standard_normal((SYNTH_HIDDEN, SYNTH_DIM), "f4") * np.float32(1 / np.sqrt(SYNTH_HIDDEN))

    def draw(count):
        cluster = rng.choice(SYNTH_CLUSTERS, count, p=weight)
        latent = centre[cluster] + sigma[cluster, None] * rng.standard_normal((count, SYNTH_LATENT), "f4")
        bent = np.tanh(latent @ first + bias) @ second
        return bent + np.float32(noise) * rng.standard_normal((count, SYNTH_DIM), "f4")

    query = draw(queries)
    base = np.empty((rows, SYNTH_DIM), "f4")
    for start in range(0, rows, 50_000):  # in blocks of a fixed size: the stream of numbers is part of the set
        base[start : start + 50_000] = draw(min(50_000, rows - start))
    return base, query


def _make_synth():
    base, query = synth(SYNTH_ROWS)
    return "l2", base, query, exact(base, query, "l2")


SPREAD_ROWS, SPREAD_LENGTHS = 100_000, 0.25


def _make_spread():
    """Rows and queries of synth's law in length 1, rows then e^N(0, 0.25) times as long: the largest inner products are of long ones."""
    base, query = (part / np.linalg.norm(part, axis=1, keepdims=True) for part in synth(SPREAD_ROWS))
    lengths = np.random.default_rng(SYNTH_SEED + 1).normal(0, SPREAD_LENGTHS, (SPREAD_ROWS, 1))
    base *= np.exp(lengths).astype("f4")
    return "ip", base, query, exact(base, query, "ip")


MAKERS = {"fashion-784": _make_fashion, "minilm-384": _make_minilm, "synth-128": _make_synth}
BUILT_ONLY = {"spread-128": _make_spread}  # by bench.bulk, which asks for quality


def available(name):
    if name == "fashion-784":
        return (FASHION / "train-images-idx3-ubyte.gz").exists()
    if name == "minilm-384":
        return (data_folder() / "minilm-384" / "base.f16.npy").exists()
    return name in MAKERS or name in BUILT_ONLY


def load(name) -> Dataset:
    folder = WORK / "data"
    if not (folder / f"{name}.txt").exists():
        print(f"making {name} (exact truth takes a while)", file=sys.stderr, flush=True)
        _write(name, *(MAKERS | BUILT_ONLY)[name]())
    head = dict(word.split("=") for word in (folder / f"{name}.txt").read_text().split())
    dim, truth = int(head["dim"]), int(head["truth"])

    def rows(ending, dtype, width):
        return np.memmap(folder / f"{name}.{ending}", dtype, "r").reshape(-1, width)

    labels, query_labels = fashion_labels() if name == "fashion-784" else (None, None)
    return Dataset(
        name,
        head["metric"],
        rows("base.f32", "<f4", dim),
        np.array(rows("query.f32", "<f4", dim)),
        np.array(rows("truth.u32", "<u4", truth)),
        labels,
        query_labels,
    )


def cached_subset(dataset, rows, queries):
    """dataset.subset(rows, queries), its truth computed once and kept beside the set's files."""
    rows, queries = min(rows, len(dataset.base)), min(queries, len(dataset.query))
    file = WORK / "data" / f"{dataset.name}.truth-{rows}-{queries}.npy"
    if rows < len(dataset.base) and file.exists():
        part = dataset.subset(len(dataset.base), queries)
        labels = None if part.labels is None else part.labels[:rows]
        return Dataset(
            f"{part.name}-{rows}", part.metric, part.base[:rows], part.query, np.load(file), labels, part.query_labels
        )
    part = dataset.subset(rows, queries)
    if rows < len(dataset.base):
        whole = file.with_suffix(f".{os.getpid()}.npy")
        np.save(whole, part.truth)
        whole.rename(file)  # whole or not at all, whoever else makes it meanwhile
    return part


def main():
    for name in sys.argv[1:] or MAKERS:
        if not available(name):
            print(f"{name}: its source is not here")
            continue
        dataset = load(name)
        print(f"{name}: {dataset.base.shape} {dataset.metric}, {len(dataset.query)} queries")


if __name__ == "__main__":
    main()
