"""tests/system/test_omend.py -- real nodes on loopback: a cluster is founded and joined, and comes back whatever ended its processes.

usage: test_omend.py PATH_OF_OMEND [unittest options]
"""
from __future__ import annotations

import pathlib
import signal
import subprocess
import sys
import tempfile
import unittest

from omend_node import Node

OMEND = ""


class Cluster(unittest.TestCase):
    def setUp(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="omendb-test-")
        self.addCleanup(self._folder.cleanup)
        self.folder = pathlib.Path(self._folder.name)
        self.nodes: list[Node] = []
        self.addCleanup(self._end)

    def _end(self) -> None:
        for node in self.nodes:
            if node.runs():
                node.kill()

    def node(self, name: str) -> Node:
        made = Node(OMEND, self.folder, name)
        self.nodes.append(made)
        return made

    def three(self) -> list[Node]:
        """A cluster of three, whole."""
        nodes = [self.node(name) for name in ("a", "b", "c")]
        self.assertEqual(nodes[0].start()["how"], "founded")
        for node in nodes[1:]:
            self.assertEqual(node.start("--join", nodes[0].peer)["how"], "joined")
        for node in nodes:
            node.wait_for("meta.nodes", nodes="3", up="3", voters="3")
        return nodes

    def test_three_processes_found_and_join_a_cluster_and_end_when_they_are_told_to(self) -> None:
        nodes = self.three()
        self.assertEqual(len({node.cluster for node in nodes}), 1)
        self.assertEqual(len({node.node for node in nodes}), 3)
        for node in nodes:
            self.assertEqual(node.stop(), 0)

    def test_nodes_that_are_killed_come_back_as_who_they_were(self) -> None:
        nodes = self.three()
        for node in nodes:
            before, boot = node.node, int(node.lines[0].get("boot", "0"))
            self.assertEqual(node.kill(), -signal.SIGKILL)
            said = node.start()  # without --join
            self.assertEqual(said["how"], "returned")
            self.assertEqual(said["node"], before)
            self.assertGreater(int(said["boot"]), boot)
            node.wait_for("meta.lease", boot=said["boot"])  # the leader has it in the map as this process

    def test_all_at_once_are_killed_and_come_back(self) -> None:
        nodes = self.three()
        for node in nodes:
            node.signal(signal.SIGKILL)
        for node in nodes:
            self.assertEqual(node.wait(), -signal.SIGKILL)
        for node in nodes:
            self.assertEqual(node.start()["how"], "returned")
        for node in nodes:
            node.wait_for("meta.lease", boot="2")

    def test_another_leads_when_the_leader_is_killed(self) -> None:
        nodes = self.three()
        self.assertEqual(nodes[0].kill(), -signal.SIGKILL)
        for node in nodes[1:]:
            while node.wait_for("meta.leader")["node"] == nodes[0].node:
                pass

    def test_a_node_waits_for_whom_it_shall_join_and_ends_meanwhile_when_it_is_told_to(self) -> None:
        node = self.node("a")
        node.start("--join", "127.0.0.1:1", ready=False)
        self.assertIn("nobody answers at 127.0.0.1:1", node.wait_for("join.waits")["why"])
        self.assertEqual(node.stop(), 0)

    def test_data_of_another_cluster_is_refused(self) -> None:
        one, other = self.node("a"), self.node("b")
        one.start()
        other.start()
        self.assertEqual(other.stop(), 0)
        other.start("--join", one.peer, ready=False)
        self.assertEqual(other.wait(), 65)
        why = other.lines[-1]["why"]
        self.assertIn(one.cluster, why)
        self.assertIn(other.cluster, why)

    def test_another_cluster_key_is_refused(self) -> None:
        for name in ("one", "other"):
            key = self.folder / name
            key.write_text(f"{name:_<40}")
            key.chmod(0o600)
        first, second = self.node("a"), self.node("b")
        first.start("--cluster-key", str(self.folder / "one"))
        second.start("--cluster-key", str(self.folder / "other"), "--join", first.peer, ready=False)
        self.assertEqual(second.wait(), 78)
        self.assertIn("another cluster key", second.lines[-1]["why"])

    def test_what_is_in_use_is_refused(self) -> None:
        first, second = self.node("a"), self.node("b")
        first.start()
        second.ports = ("127.0.0.1:0", first.peer)
        second.start(ready=False)
        self.assertEqual(second.wait(), 69)
        twin = Node(OMEND, self.folder, "a")
        self.nodes.append(twin)
        twin.start(ready=False)
        self.assertEqual(twin.wait(), 73)

    def test_bad_options_end_with_their_code_and_one_sentence(self) -> None:
        for options, code, sentence in (
            (["--dta", "x"], 64, "--dta is no option"),
            (["--weight", "0"], 64, "--weight: \"0\" is no number"),
            ([], 78, "data is missing"),
            (["--data", str(self.folder / "x"), "--listen", "0.0.0.0:0"], 78, "needs cluster-key"),
        ):
            done = subprocess.run([OMEND, *options], capture_output=True, text=True, env={}, check=False, timeout=60)
            self.assertEqual(done.returncode, code)
            self.assertIn(sentence, done.stderr)
            self.assertEqual(done.stderr.count("\n"), 1)
        self.assertFalse((self.folder / "x").exists())


if __name__ == "__main__":
    OMEND = sys.argv.pop(1)
    unittest.main()
