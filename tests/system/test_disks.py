"""tests/system/test_disks.py -- the disk of one node of three has no room, or fails, under clients whose histories are checked.

usage: test_disks.py PATH_OF_OMEND PATH_OF_FAILING_DISK [unittest options]

Each node's data is on a small file system of its own, which only this process sees.
"""
from __future__ import annotations

import os
import pathlib
import subprocess
import sys
import unittest

from alone import alone, run

alone("mount")

import workload  # noqa: E402
from cluster import ClusterCase, until  # noqa: E402
from omend_node import Node  # noqa: E402
from rpc_client import Client  # noqa: E402

SIZE = "256m"  # of which nobody needs a half
DISK_FAILED = 74  # EX_IOERR
WRITES, SYNCS = "OMEN_DISK_FAILS", "OMEN_SYNC_FAILS"  # what the preloaded library looks at
FAILING_DISK = ""


class Disks(ClusterCase):
    def node(self, name: str) -> Node:
        made = super().node(name)
        made.data.mkdir()
        run("mount", "-t", "tmpfs", "-o", f"size={SIZE}", "tmpfs", str(made.data))
        self.ends.callback(run, "umount", str(made.data))
        made.environment = {"LD_PRELOAD": FAILING_DISK} | {what: str(self.trigger(made, what)) for what in (WRITES, SYNCS)}
        return made

    def trigger(self, node: Node, what: str) -> pathlib.Path:
        """While this file is there, it fails."""
        return self.folder / f"{node.name}.{what}"

    # ---- no room ----

    def resize(self, node: Node, size: str) -> None:
        run("mount", "-o", f"remount,size={size}", "tmpfs", str(node.data))

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


if __name__ == "__main__":
    ClusterCase.program = sys.argv.pop(1)
    FAILING_DISK = sys.argv.pop(1)
    unittest.main()
