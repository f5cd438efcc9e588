"""tests/system/test_cluster.py -- what clients of a cluster see, and what is left, when its nodes fail under their hands.

usage: test_cluster.py PATH_OF_OMEND [unittest options]

OMEN_SEED=n draws other keys and values. While each fault goes on, clients write, read and
search; afterwards everything that they were told must be true (`check_all`).
"""
from __future__ import annotations

import datetime
import os
import random
import shutil
import signal
import sys
import time
import unittest
from collections.abc import Callable
from typing import Any

import numpy as np
import omendb

import workload
from cluster import COLLECTION, WHOLE_SECONDS, ClusterCase, until
from omend_node import Node

PAUSE_SECONDS = 30.0
SUPERSEDED = 75
LARGE_ROWS, LARGE_BATCH, LARGE_BYTES = 15_000, 250, 10_000  # of the last so many, each


class Replaces(ClusterCase):
    def replace(self, node: Node) -> None:
        """The node's folder is gone; it joins as a new one, and who it was is given up."""
        lost = node.node
        other = next(each for each in self.nodes if each is not node)
        shutil.rmtree(node.data)
        self.assertEqual(node.start("--join", other.peer)["how"], "joined")
        self.assertNotEqual(node.node, lost)
        until("it is drained", lambda: self.client.call("node.drain", {"node": lost}))
        self.until_whole()
        until("it is given up", lambda: self.client.call("node.decommission", {"node": lost}))
        node.wait_for("meta.vote", votes="yes")


class Faults(Replaces):
    def test_a_killed_primary_costs_no_acknowledged_write_and_comes_back(self) -> None:
        self.found()
        with self.load() as load:
            load.wait_for(acks=50, searches=20)
            victim = self.primary()
            self.assertEqual(victim.kill(), -signal.SIGKILL)
            load.wait_for(acks=50, searches=20)
            victim.start()
            load.wait_for(acks=50, searches=20)
            self.until_whole()
        self.check_all()

    def test_a_killed_leader_of_the_metadata_is_replaced_and_comes_back(self) -> None:
        self.found()
        with self.load() as load:
            load.wait_for(acks=50)
            victim = self.leader()
            victim.kill()
            load.wait_for(acks=50, searches=20)
            until("another leads", lambda: self.leader() is not victim)
            victim.start()
            self.until_whole()
            load.wait_for(acks=50)
        self.check_all()

    def test_all_nodes_killed_at_once_have_every_acknowledged_write(self) -> None:
        self.found()
        with self.load() as load:
            load.wait_for(acks=100, searches=20)
            for node in self.nodes:
                node.signal(signal.SIGKILL)
            for node in self.nodes:
                node.wait()
            for node in self.nodes:
                node.start()
            load.wait_for(acks=50, searches=20)
        self.check_all()

    def test_a_node_killed_again_and_again_as_it_starts_comes_back_in_the_end(self) -> None:
        self.found()
        with self.load() as load:
            load.wait_for(acks=50)
            victim = self.primary()
            victim.kill()
            for event in ("", "node.ready", "meta.nodes", "meta.lease", ""):
                victim.start(ready=False)
                if event:
                    victim.wait_for(event)
                victim.kill()
                load.wait_for(acks=10)
            victim.start()
            self.until_whole()
        self.check_all()

    def test_a_primary_that_is_paused_is_replaced_and_says_nothing_old_when_it_goes_on(self) -> None:
        self.found()
        with self.load(timeout=2.0) as load:
            load.wait_for(acks=50)
            victim = self.primary()
            victim.signal(signal.SIGSTOP)
            others = self.client_of(*self.others(victim))
            until("other nodes are primaries", lambda: victim.node not in [row["primary"] for row in others.shards(self.points.name)])
            victim.signal(signal.SIGCONT)
            load.wait_for(acks=50, searches=20)
            self.until_whole()
        self.check_all()

    def test_a_leader_that_stood_still_for_30_seconds_says_nothing_old_when_it_goes_on(self) -> None:
        """Longer than any lease, any client's patience, and until its vote and its copies are given to others."""
        self.found()
        with self.load(timeout=2.0) as load:
            load.wait_for(acks=50)
            victim = self.leader()
            victim.signal(signal.SIGSTOP)
            begun = time.monotonic()
            load.wait_for(acks=200, searches=50)
            load.over.wait(PAUSE_SECONDS - (time.monotonic() - begun))  # a pause is time, and nothing else
            victim.signal(signal.SIGCONT)
            load.wait_for(acks=50, searches=20)
            self.until_whole()
        self.check_all()

    def test_a_restart_of_one_node_after_the_other_fails_no_request(self) -> None:
        self.found()
        with self.load(searchers=3) as load:
            for node in self.nodes:
                load.wait_for(acks=30, searches=30)
                self.assertEqual(node.stop(), 0)
                load.wait_for(acks=30, searches=30)
                node.start()
                self.until_whole()
        self.assertEqual(load.failures, [])
        self.check_all()

    def test_every_node_may_lose_its_data_one_after_the_other(self) -> None:
        self.found()
        with self.load() as load:
            for node in list(self.nodes):
                load.wait_for(acks=30)
                node.kill()
                self.replace(node)
        self.check_all()

    def test_a_node_on_an_old_copy_of_its_data_ends_and_has_answered_nothing(self) -> None:
        self.found()
        node = self.primary()
        self.assertEqual(node.stop(), 0)
        old = self.folder / "old"
        shutil.copytree(node.data, old)
        node.start()
        self.until_whole()
        with self.load() as load:
            load.wait_for(acks=200)
        node.kill()
        shutil.rmtree(node.data)
        shutil.copytree(old, node.data)
        leader = self.leader()  # who leads from then on has not seen how far the node was
        self.assertEqual(leader.stop(), 0)
        leader.start()
        with self.load() as load:
            node.start(ready=False)
            load.wait_for(acks=100, searches=50)
            self.assertEqual(node.wait(), 65)
            self.assertIn("an old copy of it was put back", node.lines[-1]["why"])
            self.replace(node)
        self.check_all()


class Copies(ClusterCase):
    def test_a_node_that_stood_still_while_a_copy_of_its_disk_took_its_place_ends_and_says_so(self) -> None:
        """As where a machine hangs, its disk is given to another one, and the first one goes on."""
        self.found()
        with self.load(timeout=2.0) as load:
            load.wait_for(acks=50, searches=10)
            old = self.primary()
            old.signal(signal.SIGSTOP)
            twin = self.node("twin")
            shutil.copytree(old.data, twin.data)
            said = twin.start()
            self.assertEqual((said["how"], said["node"]), ("returned", old.node))
            self.nodes[self.nodes.index(old)] = twin
            self.ends.callback(lambda: old.runs() and old.kill())
            load.wait_for(acks=50, searches=10)
            old.signal(signal.SIGCONT)
            self.assertEqual(old.wait(), SUPERSEDED)
            self.assertEqual(old.lines[-1]["event"], "node.superseded")
            load.wait_for(acks=50, searches=10)
            self.until_whole()
        self.check_all()


class Backups(ClusterCase):
    shards = 1  # so that some node leads nothing

    def test_a_backup_that_stands_still_stops_no_write_and_has_them_all_when_it_goes_on(self) -> None:
        self.found()
        with self.load(timeout=2.0) as load:
            load.wait_for(acks=50)
            victim = self.others(self.primary(), self.leader())[0]
            victim.signal(signal.SIGSTOP)
            others = self.client_of(*self.others(victim))
            until("nobody waits for it", lambda: all(victim.node not in row["in_sync"] for row in others.shards(self.points.name)))
            load.wait_for(acks=100, searches=20)
            victim.signal(signal.SIGCONT)
            load.wait_for(acks=50, searches=20)
            self.until_whole()
        self.check_all()


class Restores(Replaces):
    def test_a_node_that_lost_150_megabytes_has_them_again_within_a_minute(self) -> None:
        self.found()
        large = self.client.create_collection("large", workload.DIMENSION, metric="l2", shards=self.shards, replicas=3)
        self.until_whole("large")
        draw = random.Random(self.seed)
        for first in range(0, LARGE_ROWS, LARGE_BATCH):
            rows = range(first, first + LARGE_BATCH)
            large.upsert(np.stack([workload.base_vector(row) for row in rows]), rows,
                         [{"text": draw.randbytes(LARGE_BYTES // 2).hex()} for _ in rows])
        with self.load() as load:
            load.wait_for(acks=30)
            victim = self.primary()
            victim.kill()
            self.replace(victim)
            self.until_whole("large")
        self.check_sums("large")
        self.assertEqual(self.client.collection("large", consistency="strong").count(), LARGE_ROWS)
        self.check_all()


class Routers(ClusterCase):
    def found_router(self) -> Node:
        """Three nodes that keep data, and one that keeps none, alone in what its clients know."""
        self.found()
        router = Node(self.program, self.folder, "router")
        self.dataless = [router]
        self.addCleanup(lambda: router.runs() and router.kill())
        router.start("--roles", "router", "--join", ",".join(node.peer for node in self.nodes))
        router.stands_at("meta.nodes", nodes="3", up="3", voters="3")
        return router

    def test_a_node_without_data_serves_clients_though_whom_it_asks_for_the_map_dies(self) -> None:
        router = self.found_router()
        client = self.client_of(router)
        until("it says that it serves", lambda: client.call("system.health")["ready"])
        self.assertEqual(client.call("system.info")["roles"], ["router"])
        self.assertEqual(len(client.call("node.list")["nodes"]), 3)  # it is none of them
        points = client.collection(COLLECTION, consistency="strong")
        points.upsert(workload.vector_of(5), 5, {"v": 5})
        self.assertEqual(points.get(5).payload, {"v": 5})
        self.assertEqual(points.search(workload.base_vector(7), k=1)[0][0], workload.BASE_FIRST + 7)
        self.assertEqual(points.count(), workload.BASE_COUNT + 1)

        source = next(self.by_id(line["node"]) for line in reversed(router.lines) if line.get("event") == "meta.source")
        source.kill()
        made = until("a collection is made by it", lambda: (client.create_collection(
            "others", 4, metric="l2", shards=2, replicas=2, if_not_exists=True),))[0]
        until("it is written to by it", lambda: made.upsert(workload.vector_of(1), 1, {"v": 1}) or True)
        self.assertNotEqual(router.wait_for("meta.source")["node"], source.node)
        self.assertEqual(made.get(1).payload, {"v": 1})
        source.start()
        self.until_whole()
        until("it follows", lambda: client.info()["map_version"] == self.client.info()["map_version"])
        self.assertEqual(client.info()["leader"], self.client.info()["leader"])

        self.assertEqual(router.stop(), 0)
        router.start("--roles", "router")  # it knows the others by itself
        router.stands_at("meta.nodes", nodes="3", up="3")
        self.assertEqual(points.get(5).payload, {"v": 5})


class HandsOver(ClusterCase):
    def test_a_node_that_is_told_to_end_leads_nothing_when_it_ends(self) -> None:
        self.found()
        with self.load(searchers=2) as load:
            load.wait_for(acks=50, searches=20)
            for _ in self.nodes:  # whoever leads the metadata, one after the other
                old = self.leader()
                others = [node for node in self.nodes if node is not old]
                told = datetime.datetime.now(datetime.UTC).isoformat()  # what a busy machine made somebody believe before is not meant
                old.signal(signal.SIGTERM)
                old.wait_for("node.handed_over", all="yes")
                # Before it ends it has heard who leads now, and nothing has it as its primary.
                said = [line for line in old.lines if line.get("event") == "meta.leader"]
                self.assertIn(said[-1]["node"], [node.node for node in others])
                client = self.client_of(*others)
                until("the others have heard so, too", lambda: old.node not in [row["primary"] for row in client.shards(COLLECTION)])
                self.assertEqual(old.wait(), 0)
                # Nobody had to find out: the others were told, and there was one election, which nobody's silence brought about.
                load.wait_for(acks=50, searches=20)
                for node in others:
                    node.wait_for("gossip.left", node=old.node)
                    dead = [line["node"] for line in node.lines if line.get("event") == "gossip.dead" and line["time"] >= told]
                    self.assertNotIn(old.node, dead)
                old.start()
                self.until_whole()
        self.assertEqual(load.failed("search"), [])
        self.check_all()

    def test_nodes_that_are_told_to_end_at_once_do_not_wait_for_each_other(self) -> None:
        self.found()
        for node in self.nodes:
            node.signal(signal.SIGTERM)
        for node in self.nodes:
            self.assertEqual(node.wait(), 0)
        for node in self.nodes:
            node.start()
        self.until_whole()
        self.check_all()


class GivesUp(ClusterCase):
    def test_a_node_that_votes_is_given_up_when_its_vote_and_its_copies_are_elsewhere(self) -> None:
        self.found()
        new = Node(self.program, self.folder, "new")
        new.start("--join", self.nodes[0].peer)
        for _ in range(2):
            victim = self.leader()
            self.nodes = [node for node in self.nodes if node is not victim] + [new]
            refusals: set[str] = set()

            def given_up(victim: Node = victim, refusals: set[str] = refusals) -> bool:
                try:
                    self.client.call("node.decommission", {"node": victim.node})
                except omendb.errors.OmenTimeoutError:  # nobody said why
                    return False
                except omendb.OmenError as error:
                    refusals.add(str(error))
                    return False
                return True

            until("it is drained", lambda victim=victim: self.client.call("node.drain", {"node": victim.node}))
            with self.load() as load:
                until("it is given up", given_up)
                load.wait_for(acks=50, searches=20)
            self.assertTrue(all("has copies of" in why or "votes on the metadata yet" in why or "leads" in why for why in refusals), refusals)
            victim.wait_for("meta.vote", votes="no")  # it was so before it was given up
            self.assertEqual(victim.stop(), 0)
            self.until_whole()
            new = victim
            shutil.rmtree(new.data)
            new.start("--join", self.nodes[0].peer)
            self.addCleanup(lambda node=new: node.runs() and node.kill())
        self.nodes.append(new)
        until("who came last has its share of the copies", self.is_even, WHOLE_SECONDS, self.as_seen)
        self.check_all()

    def test_a_cluster_that_drains_takes_writes_and_refuses_by_name_what_it_has_no_place_for(self) -> None:
        """Copies go where there is room and stay where there is none: a drain stops no write. What would be new is refused."""
        self.found()
        for node in self.nodes:
            until("it is drained", lambda node=node: self.client.call("node.drain", {"node": node.node}))
        with self.load() as load:
            load.wait_for(acks=200, searches=50)
        self.assertEqual(load.failed("search"), [])
        shard = self.client.shards(COLLECTION)[0]["shard"]
        hasty = omendb.connect(self.address, timeout=3.0)  # a client repeats what is BUSY for as long as it has
        self.addCleanup(hasty.close)

        def refusal(kind: type[omendb.OmenError], call: Callable[[], Any]) -> omendb.OmenError:
            """Once somebody says it: where this machine stood still for as long as the client has, nobody did."""
            def said() -> omendb.OmenError | None:
                try:
                    call()
                except kind as error:
                    return error
                return None

            return until(f"it is refused by {kind.__name__}", said)

        busy = refusal(omendb.errors.BusyError, lambda: hasty.create_collection("late", workload.DIMENSION))
        self.assertIn("no node of the cluster takes copies now: those that keep data drain", str(busy))
        self.assertEqual(busy.outcome, "not_applied")
        one, other = self.nodes[0].node, self.nodes[1].node
        conflict = refusal(omendb.errors.ConflictError, lambda: hasty.call("shard.move", {"shard": shard, "from": one, "to": other}))
        self.assertIn(f"node '{other}' takes no copies: it is not up", str(conflict))
        self.assertNotIn("late", [row["name"] for row in self.client.call("collection.list", {})["collections"]])
        for node in self.nodes:
            until("it is up again", lambda node=node: self.client.call("node.undrain", {"node": node.node}))
        self.check_all()


class Changes(ClusterCase):
    api_key = "root.s3cret"

    def change_without(self, victim: Node, stop: signal.Signals) -> None:
        """What is forwarded to a leader that has just ended, or stands still, is done by the next one, and once."""
        with omendb.connect(self.address_of(self.others(victim)), api_key=self.api_key, timeout=60.0) as client:
            client.ping()
            victim.signal(stop)
            client.create_collection("mine", 3)
            key = client.create_key("mine", "read")
            client.set_alias("now", "mine")
            self.assertEqual([row["name"] for row in client.keys()], ["mine"])
            self.assertTrue(key.startswith("mine."))
            self.assertIn("mine", [row["name"] for row in client.collections()])
            client.revoke_key("mine")
            client.drop_collection("mine")

    def test_a_change_that_is_forwarded_to_a_leader_that_is_killed_is_done_by_the_next(self) -> None:
        self.found()
        victim = self.leader()
        self.change_without(victim, signal.SIGKILL)
        victim.wait()
        victim.start()
        self.check_all()

    def test_a_change_that_is_forwarded_to_a_leader_that_is_paused_is_done_by_the_next(self) -> None:
        self.found()
        victim = self.leader()
        self.change_without(victim, signal.SIGSTOP)
        victim.signal(signal.SIGCONT)
        self.check_all()


if __name__ == "__main__":
    ClusterCase.program = sys.argv.pop(1)
    ClusterCase.seed = int(os.environ.get("OMEN_SEED", "1"))
    print(f"OMEN_SEED={ClusterCase.seed}", file=sys.stderr)
    unittest.main()
