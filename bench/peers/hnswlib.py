"""hnswlib: the reference that every ratio of the bench is against."""

import hnswlib
import numpy as np

from bench.peers import Peer


class Hnswlib(Peer):
    def _space(self, metric):
        # Rows and queries of a cosine set have unit length: `ip` gives the same order for less work.
        return "l2" if metric == "l2" else "ip"

    def build(self, base, metric, m, ef_construction, threads):
        self.index = hnswlib.Index(self._space(metric), base.shape[1])
        self.index.init_index(len(base), M=m, ef_construction=ef_construction)
        self.index.add_items(base, np.arange(len(base)), num_threads=threads)

    def search(self, queries, k, point, threads):
        self.index.set_ef(max(point, k))
        return self.index.knn_query(queries, k, num_threads=threads)[0]

    def save(self, path):
        self.index.save_index(str(path))
        return True

    def load(self, path, base, metric):
        self.index = hnswlib.Index(self._space(metric), base.shape[1])
        self.index.load_index(str(path))


def open_peer():
    return Hnswlib()
