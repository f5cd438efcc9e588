"""tests/system/gpu.py -- a GPU from end to end: the library, omenctl on a file, and a cluster whose builder has one.

usage: gpu.py PATH_OF_OMEND PATH_OF_OMENCTL [unittest options]

Not in CI, which has no GPU: without one everything here fails and says why. The plugin is looked for as always; ROWS=N takes
fewer rows. Links that a GPU made must find what the CPU's find, within half a point. What it took is printed; bench/ has the
figures that count.
"""
from __future__ import annotations

import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time
import unittest

import numpy as np
import omendb

from cluster import ClusterCase
from test_builds import COPIES, SHARDS, WIDE, BuildsCase

ROWS = int(os.environ.get("ROWS", "200000"))
FILE_ROWS, CLUSTER_ROWS = min(ROWS, 50_000), min(ROWS, 40_000)
DIM, QUERIES, K = 128, 10_000, 10
BEAMS = (32, 64, 128)
POINT = 0.005  # half of one


def rows_of(count: int, seed: int = 7) -> np.ndarray:
    """A mixture of 1,000 in 24 dimensions, bent into DIM, and noise in each of them."""
    law = np.random.default_rng(7)
    centres = law.standard_normal((1000, 24), dtype=np.float32)
    first, second = (law.standard_normal(shape, dtype=np.float32) * 0.2 for shape in ((24, 64), (64, DIM)))
    draw = np.random.default_rng(seed)
    inner = centres[draw.integers(0, 1000, count)] + 0.4 * draw.standard_normal((count, 24), dtype=np.float32)
    return np.tanh(inner @ first) @ second + 0.05 * draw.standard_normal((count, DIM), dtype=np.float32)


def overlap(found: np.ndarray, truth: np.ndarray) -> float:
    return float(np.mean([len(np.intersect1d(one, other)) for one, other in zip(found, truth, strict=True)])) / K


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


class Library(unittest.TestCase):
    def curve(self, index: omendb.Index, queries: np.ndarray, truth: np.ndarray, backend: str) -> list[float]:
        curve = []
        for ef in BEAMS:
            begin = time.monotonic()
            ids, _ = index.search(queries, k=K, ef=ef, backend=backend)
            seconds = time.monotonic() - begin
            curve.append(overlap(ids[: len(truth)], truth))
            say(f"  ef {ef} by {backend}: recall {curve[-1]:.4f}, {len(queries) / seconds:,.0f} searches/s")
        return curve

    def assert_as_good(self, curve: list[float], than: list[float]) -> None:
        for ef, ours, theirs in zip(BEAMS, curve, than, strict=True):
            self.assertGreaterEqual(ours, theirs - POINT, f"ef {ef}")

    def built(self, index: omendb.Index, backend: str) -> None:
        done = index.build(backend=backend, again=True)
        say(f"{done['rows']:,} rows by {backend} ({done['device']}): {done['seconds']:.2f} s")
        self.assertEqual((done["backend"], done["rows"], done["reason"]), (backend, len(index), None))
        index.verify()

    def test_links_and_searches_of_a_gpu_find_what_the_cpus_find(self) -> None:
        for metric in ("l2", "cosine", "ip"):
            with self.subTest(metric), omendb.Index(dimension=DIM, metric=metric) as index:
                index.add(rows_of(ROWS))
                queries = rows_of(QUERIES, 8)
                say(f"{metric}:")
                truth, distances = index.knn_exact(queries[:1000], k=K)
                found, theirs = index.knn_exact(queries[:1000], k=K, backend="cuda")
                np.testing.assert_allclose(theirs, distances, rtol=1e-4, atol=1e-4)
                self.assertGreaterEqual(overlap(found, truth), 0.9999)
                self.built(index, "cpu")
                by_cpu = self.curve(index, queries, truth, "cpu")
                self.assert_as_good(self.curve(index, queries, truth, "cuda"), by_cpu)
                self.built(index, "cuda")
                self.assert_as_good(self.curve(index, queries, truth, "cpu"), by_cpu)
                self.assert_as_good(self.curve(index, queries, truth, "cuda"), by_cpu)

    def test_a_file_is_linked_by_a_gpu_offline(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder, "rows.omen")
            with omendb.Index(dimension=DIM, path=path) as index:
                index.add(rows_of(FILE_ROWS))
            done = subprocess.run([BuildsCase.ctl, "file", "build", path, "--gpu", "require", "--again", "-o", "json"],
                                  capture_output=True, text=True, timeout=120, check=False)
            self.assertEqual(done.returncode, 0, done.stderr)
            said = json.loads(done.stdout)
            say(f"omenctl file build: {said}")
            self.assertEqual((said["backend"], said["built_rows"]), ("cuda", FILE_ROWS))
            with omendb.Index(dimension=DIM, path=path) as index:
                self.assertGreaterEqual(index.recall(samples=500), 0.9)


class Cluster(BuildsCase):
    def draw_rows(self) -> np.ndarray:
        return rows_of(CLUSTER_ROWS)

    def join_builder(self) -> None:
        self.builder.environment = {name: value for name, value in os.environ.items() if name == "OMEN_GPU_PLUGIN"}
        super().join_builder()

    def test_a_builder_with_a_gpu_builds_for_every_copy_while_clients_go_on(self) -> None:
        builder = self.found_builder()
        said = next(line for line in builder.lines if line.get("event") == "build.gpu")
        self.assertIn("device", said)
        with self.load() as load:
            load.wait_for(acks=20, searches=5)
            begin = time.monotonic()
            done = self.omenctl("collection", "build", WIDE, "--gpu", "require", "--wait", "-o", "json")
            say(f"the job, by {said['device']}: {time.monotonic() - begin:.2f} s")
            self.assertEqual(done.returncode, 0, done.stderr)
            load.wait_for(acks=20, searches=5)
        self.assertEqual(self.job(json.loads(done.stdout)["job"])["state"], "done")
        for _ in range(SHARDS):
            self.assertEqual(builder.wait_for("build.linked")["by"], said["device"])
            for _ in range(COPIES):
                line = builder.wait_for("build.installed")
                self.assertEqual(line["matched"], line["rows"])
        self.check_recall()
        self.check_all()


if __name__ == "__main__":
    ClusterCase.program = sys.argv.pop(1)
    BuildsCase.ctl = sys.argv.pop(1)
    unittest.main()
