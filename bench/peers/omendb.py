"""OmenDB through its Python package, as a user would call it."""

import omendb

from bench.peers import Peer


class Omendb(Peer):
    def __init__(self, target=False):
        self.target = target
        if target:
            self.points = [0.80, 0.90, 0.95, 0.98, 0.99, 0.995, 0.998, 0.999]
        else:
            self.points = [
                10,
                11,
                12,
                14,
                16,
                18,
                20,
                24,
                28,
                32,
                40,
                48,
                64,
                80,
                96,
                128,
                160,
                200,
                256,
                384,
                512,
                768,
                1024,
                1536,
            ]

    def build(self, base, metric, m, ef_construction, threads):
        self.index = omendb.Index(
            dimension=base.shape[1], metric=metric, m=m, ef_construction=ef_construction, threads=threads
        )
        self.index.add(base)
        self.index.flush()
        if self.target:
            self.index.calibrate()

    def _options(self, point):
        return {"target_recall": point} if self.target else {"ef": point}

    def search(self, queries, k, point, threads):
        return self.index.search(queries, k=k, threads=threads, **self._options(point))[0]

    def one(self, query, k, point):
        return self.index.search(query, k=k, **self._options(point)).ids

    def version(self):
        return omendb.__version__


def open_peer(target=False):
    return Omendb(target)
