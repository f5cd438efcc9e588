"""Scalable Vector Search: Vamana over f32 (its LVQ codes refuse processors of other makers)."""

import numpy as np
import svs

from bench.peers import Peer


class Svs(Peer):
    def build(self, base, metric, m, ef_construction, threads):
        settings = svs.VamanaBuildParameters(
            alpha=1.2 if metric == "l2" else 0.95, graph_max_degree=2 * m, window_size=ef_construction
        )
        distance = svs.DistanceType.L2 if metric == "l2" else svs.DistanceType.MIP
        self.index = svs.Vamana.build(settings, np.ascontiguousarray(base), distance, num_threads=threads)

    def search(self, queries, k, point, threads):
        if self.index.num_threads != threads:
            self.index.num_threads = threads
        self.index.search_window_size = max(point, k)
        return self.index.search(queries, k)[0]

    def save(self, path):
        folders = [path / part for part in ("config", "graph", "data")]
        for folder in folders:
            folder.mkdir(parents=True, exist_ok=True)
        self.index.save(*map(str, folders))
        return True

    def load(self, path, base, metric):
        self.index = svs.Vamana(
            str(path / "config"),
            svs.GraphLoader(str(path / "graph")),
            svs.VectorDataLoader(str(path / "data"), svs.DataType.float32),
            svs.DistanceType.L2 if metric == "l2" else svs.DistanceType.MIP,
        )


def open_peer():
    return Svs()
