"""glass (zilliztech/pyglass): HNSW built over SQ8U, walked over SQ8U, or over SQ4U and refined from f16.

No wheel of it is published under its own name: it is used when `import glass` gives the module with
Index, Graph and Searcher (built from its source folder `python` with pybind11 2.13).
"""

import glass
import numpy as np

from bench.peers import Peer

if not hasattr(glass, "Searcher"):
    raise ImportError("the module named glass is not zilliztech/pyglass")


class Glass(Peer):
    def __init__(self, quantizer, refine):
        self.quantizer, self.refine = quantizer, refine
        self.points = [10, 12, 14, 16, 20, 24, 28, 32, 40, 48, 64, 96, 128, 192, 256, 384, 512]

    def _searcher(self, graph, base, metric):
        # Unit rows: L2 ranks as cosine does, and its quantizers are the library's best tested.
        self.searcher = glass.Searcher(graph, np.ascontiguousarray(base), "L2", self.quantizer, self.refine)
        self.searcher.optimize(1)

    def build(self, base, metric, m, ef_construction, threads):
        glass.set_num_threads(threads)
        index = glass.Index("HNSW", "L2", "SQ8U", 2 * m, ef_construction)
        self.graph = index.build(np.ascontiguousarray(base))
        self.base, self.metric = base, metric

    def ready(self):
        if self.graph is None:
            return
        self._searcher(self.graph, self.base, self.metric)
        self.graph = self.base = None

    def search(self, queries, k, point, threads):
        self.searcher.set_ef(max(point, k))
        return self.searcher.batch_search(queries, k, num_threads=threads)[0]

    def one(self, query, k, point):
        self.searcher.set_ef(max(point, k))
        return self.searcher.search(query, k)[0]

    def save(self, path):
        self.graph.save(str(path))
        return True

    def load(self, path, base, metric):
        self.graph = None
        self._searcher(glass.Graph(str(path)), base, metric)


def open_peer(quantizer, refine):
    return Glass(quantizer, refine)
