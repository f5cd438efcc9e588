"""vsag's HGraph: SQ8 for the walk, f32 for the rerank. Its Python module has only single queries."""

import json

import numpy as np
import pyvsag

from bench.peers import Peer


class Vsag(Peer):
    parallel = False

    def build(self, base, metric, m, ef_construction, threads):
        self.index = pyvsag.Index(
            "hgraph",
            json.dumps(
                {
                    "dtype": "float32",
                    "metric_type": "l2" if metric == "l2" else "ip",
                    "dim": base.shape[1],
                    "index_param": {
                        "base_quantization_type": "sq8",
                        "precise_quantization_type": "fp32",
                        "use_reorder": True,
                        "max_degree": 2 * m,
                        "ef_construction": ef_construction,
                        "build_thread_count": threads,
                    },
                }
            ),
        )
        ids = np.arange(len(base), dtype="i8")
        self.index.build(np.ascontiguousarray(base).ravel(), ids, len(base), base.shape[1])
        self.note = "no batch call; one thread"

    def search(self, queries, k, point, threads):
        words = json.dumps({"hgraph": {"ef_search": max(point, k)}})
        out = np.empty((len(queries), k), "i8")
        for i, query in enumerate(queries):
            ids = self.index.knn_search(query, k, words)
            out[i] = ids[0] if np.asarray(ids[0]).dtype.kind == "i" else ids[1]
        return out


def open_peer():
    return Vsag()
