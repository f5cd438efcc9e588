"""faiss: HNSW over f32, HNSW over SQ8, and IVF with 4-bit PQ fast scan, reranked from f32."""

import faiss
import numpy as np

from bench.peers import Peer


class Faiss(Peer):
    def __init__(self, kind):
        self.kind = kind
        if kind == "ivfpq":  # (lists probed, candidates reranked as a multiple of k)
            self.points = [(p, r) for r in (4, 10, 30, 80) for p in (1, 2, 4, 8, 16, 32, 64, 128, 256)]

    def build(self, base, metric, m, ef_construction, threads):
        faiss.omp_set_num_threads(threads)
        base = np.ascontiguousarray(base)
        dim = base.shape[1]
        measure = faiss.METRIC_L2 if metric == "l2" else faiss.METRIC_INNER_PRODUCT
        if self.kind == "hnsw":
            self.index = faiss.IndexHNSWFlat(dim, m, measure)
        elif self.kind == "sq8":
            self.index = faiss.IndexHNSWSQ(dim, faiss.ScalarQuantizer.QT_8bit, m, measure)
        else:
            lists = 512 if len(base) < 80_000 else 1024 if len(base) < 400_000 else 4096
            self.index = faiss.index_factory(dim, f"IVF{lists},PQ{dim // 2}x4fs,RFlat", measure)
            coarse = faiss.extract_index_ivf(self.index.base_index)
            coarse.cp.max_points_per_centroid = 64
            self.note = f"{lists} lists, PQ{dim // 2}x4"
        if self.kind != "ivfpq":
            self.index.hnsw.efConstruction = ef_construction
        self.index.train(base)
        self.index.add(base)

    def search(self, queries, k, point, threads):
        faiss.omp_set_num_threads(threads)
        if self.kind == "ivfpq":
            faiss.extract_index_ivf(self.index.base_index).nprobe = point[0]
            self.index.k_factor = point[1]
        else:
            self.index.hnsw.efSearch = point
        return self.index.search(queries, k)[1]

    def save(self, path):
        faiss.write_index(self.index, str(path))
        return True

    def load(self, path, base, metric):
        self.owner = faiss.read_index(str(path))  # what is downcast does not own the index
        self.index = faiss.downcast_index(self.owner)


def open_peer(kind):
    return Faiss(kind)
