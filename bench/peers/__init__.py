"""The libraries that the bench compares, each behind one small interface.

A peer's file is imported only in the worker process that runs it, so that one library's threads, memory
and OpenMP runtime never meet another's. What is not installed raises ImportError, which the bench reports.
"""

import importlib
from dataclasses import dataclass


@dataclass(frozen=True)
class Variant:
    """One line in the tables: a library and how it is set up."""

    name: str
    module: str  # bench.peers.<module>
    setup: dict
    graph: bool = True  # compared as a graph index; the others are shown beside
    saves: bool = True  # whether a built index can be kept for --reuse
    distribution: str = ""  # what is installed, and whose version is reported unless the adapter knows better


VARIANTS = [
    Variant("omendb", "omendb", {}, distribution="omendb"),
    Variant("omendb target_recall", "omendb", {"target": True}, distribution="omendb"),
    Variant("hnswlib", "hnswlib", {}, distribution="hnswlib"),
    Variant("faiss HNSW", "faiss", {"kind": "hnsw"}, distribution="faiss-cpu"),
    Variant("faiss HNSW SQ8", "faiss", {"kind": "sq8"}, distribution="faiss-cpu"),
    Variant("faiss IVF-PQfs", "faiss", {"kind": "ivfpq"}, graph=False, distribution="faiss-cpu"),
    Variant("usearch bf16", "usearch", {"dtype": "bf16"}, distribution="usearch"),
    Variant("glass SQ8U", "glass", {"quantizer": "SQ8U", "refine": ""}, distribution="glass"),
    Variant("glass SQ4U+f16", "glass", {"quantizer": "SQ4U", "refine": "FP16"}, distribution="glass"),
    Variant("svs Vamana", "svs", {}, distribution="scalable-vs"),
    Variant("vsag SQ8+f32", "vsag", {}, saves=False, distribution="pyvsag"),
    Variant("pgvector", "pgvector", {}, saves=False, distribution="psycopg"),
]

OURS = ("omendb", "omendb target_recall")


def variants(names=None):
    """The variants named: by the exact name, else all whose names begin so. All there are for None."""
    if not names:
        return list(VARIANTS)
    chosen = []
    for name in names:
        exact = [v for v in VARIANTS if v.name == name]
        found = exact or [v for v in VARIANTS if v.name.startswith(name)]
        if not found:
            raise SystemExit(f"no such library: {name}; there are: {', '.join(v.name for v in VARIANTS)}")
        chosen += [v for v in found if v not in chosen]
    return chosen


class Peer:
    """What a library must do. Row numbers are the ids; answers are arrays (queries, k) of row numbers."""

    points = [10, 12, 16, 20, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024]  # ef, or what plays its part
    parallel = True  # False: the library searches with one thread only
    note = ""

    def build(self, base, metric, m, ef_construction, threads):
        raise NotImplementedError

    def ready(self):
        """Called once between build (and save) and the first search."""

    def search(self, queries, k, point, threads):
        raise NotImplementedError

    def one(self, query, k, point):
        """A single query, the way a user of the library sends one."""
        return self.search(query[None, :], k, point, 1)

    def save(self, path):
        """Writes the built index for --reuse; False where the library cannot."""
        return False

    def load(self, path, base, metric):
        raise NotImplementedError

    def memory(self):
        """Bytes held outside this process (a database server's), or None: the process is measured."""
        return None

    def version(self):
        return None

    def close(self):
        pass


def open_peer(variant) -> Peer:
    return importlib.import_module(f"bench.peers.{variant.module}").open_peer(**variant.setup)
