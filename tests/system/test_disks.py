"""tests/system/test_disks.py -- disks of nodes have no room, or less than their reserve, or fail, under clients whose histories are checked.

usage: test_disks.py PATH_OF_OMEND PATH_OF_FAILING_DISK PATH_OF_OMENCTL [unittest options]

Each node's data is on a small file system of its own, which only this process sees.
"""
from __future__ import annotations

import contextlib
import json
import os
import pathlib
import subprocess
import sys
import threading
import unittest
from collections.abc import Iterator
from typing import Any

from alone import alone, run

alone("mount")

import numpy as np  # noqa: E402
import omendb  # noqa: E402
from omendb import errors  # noqa: E402

import workload  # noqa: E402
from cluster import COLLECTION, ClusterCase, until  # noqa: E402
from omend_node import Node  # noqa: E402
from rpc_client import Client  # noqa: E402

SIZE = "256m"  # of which nobody needs a half
DISK_FAILED = 74  # EX_IOERR
WRITES, SYNCS = "OMEN_DISK_FAILS", "OMEN_SYNC_FAILS"  # what the preloaded library looks at
FAILING_DISK = OMENCTL = ""
PAYLOAD_BYTES = 60_000
RESERVE = 0.2  # of a disk, since what is written between two looks is much of a small one


class SmallDisks(ClusterCase):
    def node(self, name: str) -> Node:
        made = super().node(name)
        made.data.mkdir()
        run("mount", "-t", "tmpfs", "-o", f"size={SIZE}", "tmpfs", str(made.data))
        self.ends.callback(run, "umount", str(made.data))
        return made

    def resize(self, node: Node, size: str) -> None:
        run("mount", "-o", f"remount,size={size}", "tmpfs", str(node.data))


class Disks(SmallDisks):
    def node(self, name: str) -> Node:
        made = super().node(name)
        made.environment = {"LD_PRELOAD": FAILING_DISK} | {what: str(self.trigger(made, what)) for what in (WRITES, SYNCS)}
        return made

    def trigger(self, node: Node, what: str) -> pathlib.Path:
        """While this file is there, it fails."""
        return self.folder / f"{node.name}.{what}"

    # ---- no room ----

    def leave_no_room(self, node: Node) -> None:
        """Its file system becomes as large as what is in it, which may grow while it is looked at."""
        def fits() -> bool:
            now = os.statvfs(node.data)
            try:
                self.resize(node, str((now.f_blocks - now.f_bfree) * now.f_frsize))
            except subprocess.CalledProcessError:
                return False
            return True
        until("the file system is as large as what is in it", fits)

    def was_full(self, node: Node) -> float:
        """How often it has put off what it should have written, as it says itself."""
        client = Client(node.listen)
        try:
            text = client.call("system.metrics")["text"]
        finally:
            client.close()
        line = next(each for each in text.splitlines() if each.startswith('omen_disk_trouble_total{reason="full"}'))
        return float(line.split()[1])

    def no_room_at(self, node: Node) -> None:
        """Its own clients are told that it has an old map, since it cannot keep what is newer; those of other nodes go on."""
        points = self.client_of(*self.others(node)).collection(self.points.name)
        with self.load(self.others(node), timeout=3.0) as load:
            load.wait_for(acks=50, searches=10)
            before = self.was_full(node)
            self.leave_no_room(node)
            until("the node says that its disk is full", lambda: self.was_full(node) > before or workload.fill(points, 10_000))
            node.wait_for("disk.stuck")
            load.wait_for(acks=100, searches=20)
            self.resize(node, SIZE)
            node.wait_for("disk.goes_on")
            load.wait_for(acks=50, searches=10)
            self.until_whole()
        self.check_all()

    def test_a_backup_without_room_stops_no_write_and_has_them_all_once_there_is_room(self) -> None:
        self.found()
        self.no_room_at(self.others(self.primary())[0])

    def test_a_primary_without_room_loses_nothing_and_goes_on_once_there_is_room(self) -> None:
        self.found()
        self.no_room_at(self.primary())

    # ---- a disk that fails ----

    def disk_fails(self, victim: Node, what: str) -> None:
        self.trigger(victim, what).touch()
        self.assertEqual(victim.wait(), DISK_FAILED)
        self.assertEqual(victim.lines[-1]["event"], "node.disk_failed")
        self.assertIn("Input/output error", victim.lines[-1]["why"])

    def mend(self, victim: Node, what: str) -> None:
        self.trigger(victim, what).unlink()
        self.assertEqual(victim.start()["how"], "returned")

    def fails_at_a_primary(self, what: str) -> None:
        self.found()
        with self.load(timeout=3.0) as load:
            load.wait_for(acks=50, searches=10)
            victim = self.primary()
            self.disk_fails(victim, what)
            load.wait_for(acks=50, searches=10)
            self.mend(victim, what)
            load.wait_for(acks=50, searches=10)
            self.until_whole()
        self.check_all()

    def fails_at_the_only_node(self, what: str) -> None:
        """Nobody else has what it acknowledged, and what it did not acknowledge is there whole or not at all."""
        self.found(1)
        with self.load(timeout=3.0) as load:
            load.wait_for(acks=50, searches=10)
            self.disk_fails(self.nodes[0], what)
        acknowledged = load.acks
        self.mend(self.nodes[0], what)
        self.until_whole()
        self.check_all()
        with self.load(timeout=3.0) as load:
            load.wait_for(acks=50, searches=10)
        self.assertGreaterEqual(acknowledged, 50)
        self.check_all()

    def test_a_node_whose_disk_fails_ends_and_says_so_and_comes_back_with_a_disk_that_works(self) -> None:
        self.fails_at_a_primary(WRITES)

    def test_a_node_whose_disk_takes_writes_and_cannot_sync_ends_and_comes_back_with_a_disk_that_works(self) -> None:
        self.fails_at_a_primary(SYNCS)

    def test_the_only_node_loses_nothing_acknowledged_when_its_disk_fails(self) -> None:
        self.fails_at_the_only_node(WRITES)

    def test_the_only_node_loses_nothing_acknowledged_when_its_disk_takes_writes_and_cannot_sync(self) -> None:
        self.fails_at_the_only_node(SYNCS)

    def test_a_node_whose_disk_fails_as_it_starts_ends_and_starts_with_a_disk_that_works(self) -> None:
        self.found()
        victim = self.primary()
        victim.kill()
        for what in (WRITES, SYNCS):
            self.trigger(victim, what).touch()
            victim.start(ready=False)
            self.assertEqual(victim.wait(), DISK_FAILED)
            self.assertIn("Input/output error", victim.lines[-1]["why"])
            self.trigger(victim, what).unlink()
        self.assertEqual(victim.start()["how"], "returned")
        self.until_whole()
        self.check_all()


class Reserve(SmallDisks):
    shards = 1

    def node(self, name: str) -> Node:
        made = super().node(name)
        made.environment = {"OMEN_DISK_RESERVE": str(int(100 * RESERVE))}
        return made

    @contextlib.contextmanager
    def searching(self) -> Iterator[None]:
        """A search after the other, of which none may fail, and some must be made in the block."""
        over, crashes, found = threading.Event(), [], []
        points = self.client_of(*self.nodes).collection(COLLECTION, consistency="strong")

        def go_on() -> None:
            try:
                while not over.is_set():
                    found.append(len(points.search(workload.base_vector(7), k=3)))
            except omendb.OmenError as error:
                crashes.append(error)

        thread = threading.Thread(target=go_on, daemon=True)
        thread.start()
        try:
            until("a search was answered", lambda: found or crashes)
            yield
            before = len(found)
            until("searches go on", lambda: len(found) > before or crashes)
        finally:
            over.set()
            thread.join()
        self.assertEqual(crashes, [])
        self.assertEqual(set(found), {3})

    def add(self, points: Any, count: int = 1, payload_bytes: int = 0) -> str:
        """Writes points that were not there; what DISK_FULL says, or "" where they were written."""
        ids = [self.added + row for row in range(count)]
        self.added += count
        try:
            points.upsert(np.zeros((count, workload.DIMENSION), np.float32), ids, [{"more": "." * payload_bytes}] * count)
        except errors.DiskFullError as error:
            assert error.outcome == "not_applied" and not error.retryable, (error.outcome, error.retryable)
            return str(error)
        return ""

    def claim_refused(self, low: Node) -> None:
        """All that adds, with the node's name; what takes back goes on."""
        said = until("what adds is refused", lambda: self.add(self.points))
        self.assertIn(f"the disk of node {low.name}", said)
        self.assertIn("--disk-reserve", said)
        with self.assertRaises(errors.DiskFullError):
            self.points.patch([workload.BASE_FIRST], set={"base": 1})
        with self.assertRaises(errors.DiskFullError):
            self.points.index_field("base", "integer")
        self.assertEqual(self.points.delete([self.deleted]), 1)
        self.deleted += 1

    def found_by_check(self) -> list[str]:
        endpoints = ",".join(node.listen for node in self.nodes)
        done = subprocess.run([OMENCTL, "-e", endpoints, "-o", "json", "check"], capture_output=True, text=True, check=False)
        return [row["detail"] for row in json.loads(done.stdout) if (row["check"], row["result"]) == ("disk", "wrong")]

    def metric(self, node: Node, name: str) -> float:
        """Of the first sample that begins so."""
        text = self.client_of(node).call("system.metrics")["text"]
        return next((float(line.rsplit(" ", 1)[1]) for line in text.splitlines() if line.startswith(name)), 0.0)

    def events(self, kind: str, node: Node) -> int:
        rows = self.client_of(node).call("cluster.events", {"limit": 1000})["events"]
        return sum(row["kind"] == kind and row["node"] == node.node for row in rows)

    def leave(self, node: Node, share: float) -> None:
        now = os.statvfs(node.data)
        self.resize(node, str(int((now.f_blocks - now.f_bfree) * now.f_frsize / (1 - share))))

    def test_a_node_whose_disk_is_low_is_named_and_takes_points_again_once_there_is_room(self) -> None:
        self.found()
        self.added, self.deleted = 0, workload.BASE_FIRST + 100
        primary = self.primary()
        for low in (primary, self.others(primary)[0]):
            with self.searching():
                self.assertEqual(self.found_by_check(), [])
                self.leave(low, RESERVE / 2)
                low.wait_for("disk.low")
                self.claim_refused(low)
                until("check finds it", lambda low=low: self.found_by_check() == [f"that of {low.name} has less left than its reserve"])
                self.assertEqual((self.metric(low, "omen_disk_low "), self.events("disk-low", low)), (1, 1))
                self.assertLess(self.metric(low, "omen_disk_available_bytes "), self.metric(low, "omen_disk_reserve_bytes "))
                self.resize(low, SIZE)
                low.wait_for("disk.fine")
                until("points are taken again", lambda: not self.add(self.points))
                until("check finds nothing", lambda: not self.found_by_check())
                self.assertEqual((self.metric(low, "omen_disk_low "), self.events("disk-fine", low)), (0, 1))
        self.until_whole()

    def test_disks_are_filled_to_their_reserve_and_a_collection_that_is_dropped_makes_room(self) -> None:
        """By points alone: nobody writes into the reserve but what was under way in the second between two looks."""
        self.found()
        self.added, self.deleted = 0, workload.BASE_FIRST + 100
        more = self.client.create_collection("more", workload.DIMENSION, metric="l2", shards=1, replicas=3, quantization=None)
        self.until_whole("more")
        for _ in range(40):
            self.assertEqual(self.add(more, 20, PAYLOAD_BYTES), "")
        file_of = 'omen_shard_file_bytes{collection="more",'
        for node in self.nodes:  # or what has no page in it yet would be written into what is left
            until("all of it is in the file", lambda node=node: self.metric(node, file_of) > 40 * 20 * PAYLOAD_BYTES)
        for node in self.nodes:
            self.leave(node, 1.5 * RESERVE)
        with self.searching():
            until("the disks are full to their reserve", lambda: self.add(more, 1, PAYLOAD_BYTES), 200.0)
            said = until("what adds is refused", lambda: self.add(self.points))
            self.assertRegex(said, r"the disk of node [abc]")
            for node in self.nodes:
                now = os.statvfs(node.data)
                self.assertGreater(now.f_bavail / now.f_blocks, RESERVE / 2, node.name)
            self.assertEqual(self.points.delete([self.deleted]), 1)
            self.client.drop_collection("more")
            until("points are taken again", lambda: not self.add(self.points))
        for node in self.nodes:
            self.assertNotIn("disk.stuck", node.log())
        self.until_whole()


if __name__ == "__main__":
    ClusterCase.program = sys.argv.pop(1)
    FAILING_DISK = sys.argv.pop(1)
    OMENCTL = sys.argv.pop(1)
    unittest.main()
