"""tests/system/test_versions.py -- programs of different versions in one cluster: they talk, and what is new waits until all know it.

usage: test_versions.py PATH_OF_OMEND PATH_OF_THE_NEXT PATH_OF_A_FAR_ONE PATH_OF_THE_FORMER [unittest options]

The former one knows no feature. The next one knows a feature more and a version of the messages more; the far one no other than that.
"""
from __future__ import annotations

import sys
import unittest

import omendb

from cluster import ClusterCase, until
from omend_node import Node

NEXT = FAR = FORMER = ""
OWN, NEWER = 3, 7  # features
TOO_OLD, NO_VERSION = 65, 78
HALTED = 70  # it was too old for a map that came while it ran


class Versions(ClusterCase):
    def features(self) -> int:
        return int(self.client.info().get("features", 0))

    def exchange(self, node: Node, program: str) -> None:
        self.assertEqual(node.stop(), 0)
        node.program = program
        node.start()
        self.until_whole()

    def test_nodes_are_exchanged_one_by_one_and_what_is_new_is_switched_on_with_the_last(self) -> None:
        self.found()
        with self.load() as load:
            for node in self.nodes:
                load.wait_for(acks=30, searches=10)
                self.assertEqual(self.features(), OWN)
                self.exchange(node, NEXT)
            until("the feature is in use", lambda: self.features() == NEWER)
            load.wait_for(acks=30, searches=10)
            old = self.nodes[0]
            self.assertEqual(old.stop(), 0)
            old.program = self.program
            old.start(ready=False)
            self.assertEqual(old.wait(), TOO_OLD)
            self.assertIn("does not know", old.lines[-1]["why"])
            old.program = NEXT
            old.start()
            self.until_whole()
        self.check_all()

    def test_kinds_of_ids_are_agreed_on_once_all_programs_know_of_them(self) -> None:
        self.give_up()  # a cluster of its own
        self.program = FORMER
        self.found()
        with self.load() as load:
            for node in self.nodes:
                load.wait_for(acks=30, searches=10)
                self.assertEqual(self.features(), 0)
                between = self.client.create_collection(f"between-{node.name}", 2, metric="l2", shards=self.shards)
                until("a first write is done without a claim", lambda between=between: between.upsert([[1.0, 0.0]], [1]) or True)
                with self.assertRaises((omendb.errors.UnsupportedError, omendb.errors.InvalidError)):
                    self.client.update_collection(f"between-{node.name}", disk_quota=1 << 40)  # a node of before does not know the word
                self.exchange(node, type(self).program)
            until("the feature is in use", lambda: self.features() == OWN)
            load.wait_for(acks=30, searches=10)
            self.assertEqual(self.client.update_collection(between.name, disk_quota=1 << 40)["disk_quota"], 1 << 40)
            self.assertNotIn("id_kind", between.info())  # as before: its shards judge
            new = self.client.create_collection("new", 2, metric="l2", shards=self.shards)
            texts = [f"t{row}" for row in range(8)]
            until("the kind is claimed", lambda: new.upsert([[1.0, 0.0]], texts[:1]) or True)
            with self.assertRaises(omendb.errors.IdKindError):
                new.upsert([[1.0, 0.0]] * 8, list(range(8)))
            new.upsert([[1.0, 0.0]] * 8, texts)
            self.assertEqual(new.count(), 8)
            until("all nodes say it", lambda: new.info().get("id_kind") == "text")
            old = self.nodes[0]
            self.assertEqual(old.stop(), 0)
            old.program = FORMER
            old.start(ready=False)
            self.assertEqual(old.wait(), TOO_OLD)
            self.assertIn("does not know", old.lines[-1]["why"])
            old.program = type(self).program
            old.start()
            self.until_whole()
        self.check_all()

    def test_a_router_of_before_is_awaited_and_ends_where_it_comes_too_late(self) -> None:
        self.give_up()  # a cluster of its own
        self.program = FORMER
        self.found()
        router = Node(FORMER, self.folder, "router")
        self.dataless = [router]
        self.addCleanup(lambda: router.runs() and router.kill())
        router.start("--roles", "router", "--join", ",".join(node.peer for node in self.nodes))
        router.stands_at("meta.nodes", nodes="3", up="3", voters="3")
        for node in self.nodes:
            self.exchange(node, type(self).program)
        # Who plans its copies would have switched features on first.
        made = self.client.create_collection("between", 2, metric="l2", shards=self.shards)
        until("a first write is done", lambda: made.upsert([[1.0, 0.0]], [1]) or True)
        self.assertEqual(self.features(), 0)
        through = self.client_of(router)
        until("the old router serves what is new", lambda: through.collection("between", consistency="strong").count() == 1)
        self.assertEqual(router.stop(), 0)
        router.program = type(self).program
        router.start("--roles", "router")
        until("the feature is in use", lambda: self.features() == OWN)
        until("the router has that map", lambda: self.client_of(router).info().get("features", 0) == OWN)
        self.assertEqual(router.stop(), 0)
        router.program = FORMER
        router.start("--roles", "router", ready=False)
        self.assertEqual(router.wait(), HALTED)
        self.assertIn("does not know", router.lines[-1]["why"])
        self.check_all()

    def test_a_program_that_knows_no_version_of_ours_is_told_so(self) -> None:
        self.found()
        stranger = Node(FAR, self.folder, "stranger")
        self.addCleanup(lambda: stranger.runs() and stranger.kill())
        stranger.start("--join", self.nodes[0].peer, ready=False)
        self.assertEqual(stranger.wait(), NO_VERSION)
        self.assertIn("no version that this program knows", stranger.lines[-1]["why"])
        self.check_all()


if __name__ == "__main__":
    ClusterCase.program = sys.argv.pop(1)
    NEXT = sys.argv.pop(1)
    FAR = sys.argv.pop(1)
    FORMER = sys.argv.pop(1)
    unittest.main()
