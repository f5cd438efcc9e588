"""tests/system/test_builds.py -- graphs that a node without data builds for those that have some, whoever dies meanwhile.

usage: test_builds.py PATH_OF_OMEND PATH_OF_OMENCTL [unittest options]

Clients write, read and search throughout, and everything that they were told must be true afterwards.
"""
from __future__ import annotations

import json
import os
import pathlib
import signal
import subprocess
import sys
import unittest
from collections.abc import Callable
from typing import Any

import numpy as np
import omendb

from cluster import ClusterCase, until
from omend_node import Node

WIDE, DIM, ROWS, BATCH = "wide", 48, 12_000, 1_000
SHARDS, COPIES = 2, 3


class BuildsCase(ClusterCase):
    ctl = ""
    beside = 1  # the builder

    def draw_rows(self) -> np.ndarray:
        draw = np.random.default_rng(7)
        centres = draw.standard_normal((40, DIM)).astype(np.float32)
        return centres[draw.integers(0, 40, ROWS)] + draw.standard_normal((ROWS, DIM)).astype(np.float32)

    def found_builder(self) -> Node:
        """Three nodes with data, a collection large enough that its graph is worth building, and a builder."""
        self.found()
        self.vectors = self.draw_rows()
        rows, dimension = self.vectors.shape
        self.wide = self.client.create_collection(WIDE, dimension, metric="l2", shards=SHARDS, replicas=COPIES, if_not_exists=True)
        for first in range(0, rows, BATCH):
            self.wide.upsert(self.vectors[first : first + BATCH], list(range(first, first + BATCH)))
        self.builder = Node(self.program, self.folder, "builder")
        self.dataless = [self.builder]
        self.addCleanup(self.end_builder)
        self.join_builder()
        return self.builder

    def end_builder(self) -> None:
        if self.builder.runs():
            self.builder.kill()
        if os.environ.get("OMEN_LOGS"):
            pathlib.Path(os.environ["OMEN_LOGS"], f"{self.id()}.builder.log").write_text("".join(self.builder.text))

    def join_builder(self) -> None:
        self.builder.start("--roles", "builder", "--join", ",".join(node.peer for node in self.nodes if node.runs()))
        until("the builder is in the map", lambda: any(
            row["roles"] == ["builder"] and row["state"] == "up" and row["member"] == "alive" for row in self.client.call("node.list")["nodes"]))

    def job(self, number: int) -> dict[str, Any]:
        return self.client.call("job.get", {"job": number})

    def until_state(self, number: int, *states: str) -> dict[str, Any]:
        """Who is asked may be another node than the one that changed it, and hears of it a moment later."""
        def row() -> dict[str, Any]:
            now = self.job(number)
            return now if now["state"] in states else {}

        return until(f"job {number} is {' or '.join(states)}", row)

    def begin(self) -> int:
        number = self.client.call("collection.build", {"collection": WIDE})["job"]
        self.assertEqual(self.job(number)["kind"], "build")
        return number

    def until_done(self, number: int) -> None:
        until("the job is done", lambda: self.job(number)["state"] in ("done", "failed", "cancelled"), 120)
        self.assertEqual(self.job(number)["state"], "done", "".join(self.builder.text[-30:]))

    def check_recall(self) -> None:
        draw = np.random.default_rng(9)
        rows, dimension = self.vectors.shape
        queries = self.vectors[draw.integers(0, rows, 100)] + 0.3 * draw.standard_normal((100, dimension)).astype(np.float32)
        found = 0
        for query in queries:
            truth = np.argsort(((self.vectors - query) ** 2).sum(axis=1))[:10]
            hits = until("a search is answered", lambda query=query: self.wide.search(query, k=10, ef=64))
            found += len(set(truth.tolist()) & {hit[0] for hit in hits})
        self.assertGreaterEqual(found / 1000, 0.9)

    def omenctl(self, *words: str) -> subprocess.CompletedProcess[str]:
        endpoints = ",".join(node.listen for node in self.nodes)
        return subprocess.run([self.ctl, "--endpoints", endpoints, *words], capture_output=True, text=True, timeout=150, check=False)


class Jobs(ClusterCase):
    def test_a_job_that_one_node_told_of_every_other_one_knows_at_once(self) -> None:
        self.found()
        small = self.client.create_collection("small", 2, metric="l2", shards=1, replicas=1, if_not_exists=True)
        until("it has a primary", lambda: small.upsert([[1.0, 0.0]], [1]) or True)
        clients = [self.client_of(node) for node in self.nodes]
        for at in range(30):
            told = clients[at % 3]
            number = told.call("collection.build", {"collection": "small", "backend": "cuda"})["job"]  # waits for a builder with a GPU
            for client in clients:
                self.assertEqual(client.call("job.get", {"job": number})["state"], "waiting")
            told.call("job.cancel", {"job": number})
        for client in clients:
            with self.assertRaisesRegex(omendb.errors.NotFoundError, "no job"):
                client.call("job.get", {"job": 1 << 40})


class Builds(BuildsCase):
    def test_a_builder_builds_for_every_copy_while_clients_go_on(self) -> None:
        builder = self.found_builder()
        with self.load() as load:
            load.wait_for(acks=20, searches=5)
            number = self.begin()
            self.assertEqual(self.client.call("collection.build", {"collection": WIDE})["job"], number)  # it is the same
            self.until_done(number)
            load.wait_for(acks=20, searches=5)
        installed = [builder.wait_for("build.installed", job=str(number)) for _ in range(SHARDS * COPIES)]
        measured = [line for line in installed if "recall_permille" in line]
        self.assertEqual(len(measured), SHARDS)
        for line in measured:
            self.assertGreaterEqual(int(line["recall_permille"]), 900)
        for line in installed:
            self.assertGreater(int(line["rows"]), ROWS // SHARDS // 2)
            self.assertEqual(line["matched"], line["rows"])
        self.check_recall()
        self.wide.upsert(self.vectors[:1] + 100, [ROWS])
        self.assertEqual(self.wide.search(self.vectors[0] + 100, k=1)[0][0], ROWS)
        self.check_all()

    def test_omenctl_builds_waits_watches_and_cancels(self) -> None:
        builder = self.found_builder()
        done = self.omenctl("collection", "build", WIDE, "--gpu", "never", "--wait", "-o", "json")
        self.assertEqual(done.returncode, 0, done.stderr)
        number = json.loads(done.stdout)["job"]
        self.until_state(number, "done")
        self.assertEqual(self.omenctl("job", "watch", str(number)).returncode, 0)
        self.assertEqual(self.omenctl("job", "watch", "12345678").returncode, 3)
        self.assertEqual(self.omenctl("job", "watch", "none").returncode, 2)
        rows = json.loads(self.omenctl("job", "list", "-o", "json").stdout)
        self.assertIn(number, [row["job"] for row in rows])
        waits = self.omenctl("collection", "build", WIDE, "--gpu", "require", "-o", "json")
        self.assertEqual(waits.returncode, 0, waits.stderr)
        number = json.loads(waits.stdout)["job"]
        self.assertIn("no GPU", next(line for line in builder.text if "event=build.gpu" in line))
        self.until_state(number, "waiting")  # for a builder with a GPU
        self.assertEqual(self.omenctl("job", "cancel", str(number), "--yes").returncode, 0)
        self.assertEqual(self.omenctl("collection", "build", WIDE, "--gpu", "auto", "--backend", "cpu").returncode, 2)

    def test_an_import_builds_when_everything_is_there(self) -> None:
        builder = self.found_builder()
        file = self.folder / "rows.npy"
        np.save(file, self.vectors[:3000])
        self.client.create_collection("loaded", DIM, metric="l2", shards=1, replicas=COPIES, if_not_exists=True)
        done = self.omenctl("import", "loaded", str(file), "--bulk", "-o", "json")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(json.loads(done.stdout)["written"], 3000)
        for _ in range(COPIES):
            self.assertEqual(builder.wait_for("build.installed")["rows"], "3000")
        self.assertEqual(self.client.collection("loaded").search(self.vectors[17], k=1)[0][0], 17)

    def check_ended_builder(self, end: Callable[[], int], code: int) -> None:
        builder = self.found_builder()
        with self.load() as load:
            number = self.begin()
            builder.wait_for("build.begun", job=str(number))
            self.assertEqual(end(), code)
            until("it was somebody's", lambda: self.job(number).get("attempts", 0) >= 1)
            load.wait_for(acks=20, searches=5)
            self.check_recall()
            self.join_builder()
            self.until_done(number)
            load.wait_for(acks=20, searches=5)
        self.assertGreaterEqual(self.job(number)["attempts"], 2)
        self.check_recall()
        self.check_all()

    def test_a_builder_that_is_killed_leaves_everything_as_it_was_and_another_start_finishes(self) -> None:
        self.check_ended_builder(lambda: self.builder.kill(), -signal.SIGKILL)

    def test_a_builder_that_is_told_to_go_in_the_middle_goes_and_another_start_finishes(self) -> None:
        self.check_ended_builder(lambda: self.builder.stop(), 0)

    def test_a_job_that_is_cancelled_is_dropped_and_the_next_one_is_taken(self) -> None:
        builder = self.found_builder()
        number = self.begin()
        builder.wait_for("build.begun", job=str(number))
        self.client.call("job.cancel", {"job": number})
        self.until_state(number, "cancelled")
        other = self.begin()
        self.assertNotEqual(other, number)
        self.until_done(other)
        self.check_recall()

    def test_a_primary_that_is_killed_is_built_for_none_the_less(self) -> None:
        builder = self.found_builder()
        with self.load() as load:
            load.wait_for(acks=20, searches=5)
            number = self.begin()
            builder.wait_for("build.begun", job=str(number))
            rows = self.client.shards(WIDE)
            victim = self.by_id(rows[0]["primary"])
            self.assertEqual(victim.kill(), -signal.SIGKILL)
            load.wait_for(acks=20, searches=5)
            self.until_done(number)
            victim.start()
            load.wait_for(acks=20, searches=5)
        self.check_recall()
        self.check_all()

    def test_without_a_builder_each_copy_builds_for_itself(self) -> None:
        builder = self.found_builder()
        self.assertEqual(builder.stop(), 0)
        for client in [self.client_of(node) for node in self.nodes]:  # each has its own view, and whoever leads decides
            until("it is not alive", lambda client=client: all(
                row["member"] != "alive" for row in client.call("node.list")["nodes"] if row["roles"] == ["builder"]))
        number = until("each copy has linked what it has", lambda: self.client.call("collection.build", {"collection": WIDE}))["job"]
        self.until_state(number, "done")
        self.check_recall()


class Compacted(BuildsCase):
    """Rows so wide that a builder has not read all of them when it is stopped."""

    SPARE = 500

    def draw_rows(self) -> np.ndarray:
        return np.random.default_rng(7).standard_normal((6000, 8)).astype(np.float32).repeat(64, axis=1)

    def compact_beside(self, builder: Node) -> None:
        """A build, in the middle of which every copy is compacted and has something to be compacted for."""
        ids = list(range(len(self.vectors), len(self.vectors) + self.SPARE))
        self.wide.upsert(self.vectors[: self.SPARE], ids)
        self.assertEqual(self.wide.delete(ids), self.SPARE)
        number = self.begin()
        builder.wait_for("build.begun", job=str(number))
        builder.signal(signal.SIGSTOP)
        try:
            self.wide.compact()
        finally:
            builder.signal(signal.SIGCONT)
        self.until_done(number)

    def test_a_shard_that_is_compacted_in_the_middle_is_begun_anew(self) -> None:
        builder = self.found_builder()
        met = False
        with self.load() as load:
            load.wait_for(acks=20, searches=5)
            for _ in range(20):
                self.compact_beside(builder)
                met = any("event=build.refused" in line and "compacted" in line for line in builder.log().splitlines())
                if met:
                    break
            load.wait_for(acks=20, searches=5)
        self.assertTrue(met, "no build met a compaction")
        self.check_recall()
        self.check_all()


class Untaken(BuildsCase):
    """Nodes that do not wait long for builders, but until a program that looks has begun, on a machine that stands still for a while, too."""

    def node(self, name: str) -> Node:
        made = super().node(name)
        made.environment = {"OMEN_BUILD_WAIT_MS": "5000", "OMEN_BUILD_REQUIRE_MS": "5000"}
        return made

    def test_a_job_that_lost_its_builder_is_done_by_the_copies_after_a_while(self) -> None:
        builder = self.found_builder()
        self.assertEqual(builder.kill(), -signal.SIGKILL)
        number = self.begin()  # nobody has noticed yet
        self.assertIn("waits for a builder", self.until_state(number, "waiting")["text"])
        watched = self.omenctl("job", "watch", str(number))
        self.assertEqual(watched.returncode, 0, watched.stderr)
        self.assertIn(f"job {number} is waiting: the collection {WIDE}; waits for a builder", watched.stderr)
        self.assertEqual(self.until_state(number, "done")["attempts"], 1)
        self.check_recall()
        self.check_all()

    def test_a_job_that_requires_a_gpu_fails_when_no_builder_with_one_comes(self) -> None:
        self.give_up()  # a cluster of its own, in which no other job has failed
        self.found()
        self.client.create_collection(WIDE, DIM, metric="l2", shards=SHARDS, replicas=COPIES, if_not_exists=True)
        asked = self.omenctl("collection", "build", WIDE, "--gpu", "require", "--wait")
        self.assertEqual(asked.returncode, 1, asked.stderr)
        self.assertIn("waits for a builder with a GPU: no builder is in the cluster", asked.stderr)
        self.assertIn("no builder with a GPU took it before it was given up", asked.stderr)
        jobs = [row for row in json.loads(self.omenctl("check", "-o", "json").stdout) if row["check"] in ("job", "jobs")]
        self.assertEqual([row["detail"] for row in jobs], ["1 failed of which nothing is missing now (job list has them)"])


if __name__ == "__main__":
    ClusterCase.program = sys.argv.pop(1)
    BuildsCase.ctl = sys.argv.pop(1)
    unittest.main()
