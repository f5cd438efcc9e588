"""usearch over bf16, its faster and smaller setting on processors that have it."""

import numpy as np
from usearch.index import Index

from bench.peers import Peer


class Usearch(Peer):
    def __init__(self, dtype):
        self.dtype = dtype

    def build(self, base, metric, m, ef_construction, threads):
        self.index = Index(
            ndim=base.shape[1],
            metric={"l2": "l2sq", "cosine": "cos", "ip": "ip"}[metric],
            dtype=self.dtype,
            connectivity=m,
            expansion_add=ef_construction,
        )
        self.index.add(np.arange(len(base)), np.ascontiguousarray(base), threads=threads)

    def search(self, queries, k, point, threads):
        self.index.expansion_search = point
        return self.index.search(queries, k, threads=threads).keys.reshape(len(queries), -1)

    def save(self, path):
        self.index.save(str(path))
        return True

    def load(self, path, base, metric):
        self.index = Index.restore(str(path))


def open_peer(dtype):
    return Usearch(dtype)
