"""tests/system/test_operator.py -- what an operator does to shards, and asks of them, beside clients at work: it costs nobody anything.

usage: test_operator.py PATH_OF_OMEND [unittest options]
"""
from __future__ import annotations

import sys
import unittest
from typing import Any

import omendb

import workload
from cluster import COLLECTION, ClusterCase, until
from omend_node import Node

FIRST, SECOND = 1, 2  # ids
COPY_DESCRIPTORS = 5  # of a copy's folder and file


class Operates(ClusterCase):
    """Two copies of a shard on three nodes: there is a node to move one to."""

    copies = 2

    def rows(self) -> list[dict[str, Any]]:
        return self.client.shards(COLLECTION)

    def row(self, shard: int) -> dict[str, Any]:
        return next(row for row in self.rows() if row["shard"] == shard)

    def held(self, node: Node) -> int:
        return sum(node.node in row["in_sync"] for row in self.rows())

    # How many copies a node has is not what it was, so what is noted is without them.

    def note_resources(self) -> None:
        super().note_resources()
        self.opened = {node.name: self.opened[node.name] - COPY_DESCRIPTORS * self.held(node) for node in self.nodes}

    def check_resources(self) -> None:
        noted = self.opened
        self.opened = {node.name: noted[node.name] + COPY_DESCRIPTORS * self.held(node) for node in self.nodes}
        super().check_resources()
        self.opened = noted

    def move(self) -> None:
        """From the node that has most to the one that has least, where nobody moves it back."""
        most, least = max(self.nodes, key=self.held), min(self.nodes, key=self.held)
        shard = next(row["shard"] for row in self.rows() if most.node in row["in_sync"] and least.node not in row["in_sync"])
        self.client.call("shard.move", {"shard": shard, "from": most.node, "to": least.node})
        until("the copy is where it was to go, and nowhere else",
              lambda: {copy["node"] for copy in self.row(shard)["replicas"]} == {node.node for node in self.nodes} - {most.node}, 60)

    def split(self) -> None:
        before = self.rows()
        shard, span = before[0]["shard"], before[0]["range"]
        self.assertEqual(self.client.call("shard.split", {"shard": shard})["job"], shard)
        until("it was cut in two", lambda: shard not in [row["shard"] for row in self.rows() if row["state"] == "open"], 60)
        self.until_whole()
        after = self.rows()
        self.assertEqual(len(after), len(before) + 1)
        halves = sorted(row["range"] for row in after if row["shard"] not in [old["shard"] for old in before])
        first, last = span.split("-")
        self.assertEqual((halves[0].split("-")[0], halves[1].split("-")[1]), (first, last))
        self.assertEqual(int(halves[0].split("-")[1], 16) + 1, int(halves[1].split("-")[0], 16))
        self.assertEqual(self.client.call("job.get", {"job": shard})["state"], "done")

    def hand_over(self) -> None:
        row = self.rows()[0]
        other = next(node for node in row["in_sync"] if node != row["primary"])
        self.client.call("shard.transfer", {"shard": row["shard"], "node": other})
        until("it is primary", lambda: self.row(row["shard"])["primary"] == other)

    def test_shards_are_moved_split_and_handed_over_and_fail_no_request(self) -> None:
        self.found()
        with self.load(searchers=2) as load:
            for step in (self.move, self.split, self.hand_over):
                load.wait_for(acks=50, searches=20)
                step()
                load.wait_for(acks=50, searches=20)
        self.assertEqual(load.failures, [])
        self.check_all()

    def test_a_copy_that_is_forced_is_the_one_from_which_the_others_are_made_anew(self) -> None:
        self.found()
        with self.load() as load:
            load.wait_for(acks=50)
        row = self.rows()[0]
        forced = next(node for node in row["in_sync"] if node != row["primary"])
        was = {copy["node"]: copy["replica"] for copy in row["replicas"]}
        with self.assertRaises(omendb.OmenError) as refused:  # writes may be lost
            self.client.call("shard.force_primary", {"shard": row["shard"], "node": forced})
        self.assertIn("say yes", str(refused.exception))
        self.client.call("shard.force_primary", {"shard": row["shard"], "node": forced, "yes": True})
        until("it is primary", lambda: self.row(row["shard"])["primary"] == forced)
        self.until_whole()
        now = {copy["node"]: copy["replica"] for copy in self.row(row["shard"])["replicas"]}
        self.assertEqual(now.pop(forced), was.pop(forced))
        self.assertFalse(set(now.values()) & set(was.values()), "the others are copies that were made anew")
        with self.load() as load:
            load.wait_for(acks=50, searches=20)
        self.check_all()


class Wants(ClusterCase):
    """What is wanted of copies when a node is gone."""

    def collection(self, name: str, **options: Any) -> Any:
        made = self.client.create_collection(name, workload.DIMENSION, metric="l2", shards=self.shards, quantization=None, **options)
        until("every shard is open", lambda: all(row["state"] == "open" and row["in_sync"] for row in self.client.shards(name)))
        return made

    def test_a_write_is_acknowledged_by_as_many_copies_as_min_insync_wants_or_not_at_all(self) -> None:
        self.found()
        self.collection("strict", replicas=3, min_insync=3)
        self.until_whole("strict")
        victim = self.others(self.leader())[0]
        patient = self.client.collection("strict", consistency="strong")
        until("all three acknowledge", lambda: patient.upsert(workload.vector_of(FIRST), FIRST) or True)
        victim.kill()
        until("it is dead to the others", lambda: "dead" in {row["state"] for row in self.client.members()})
        hasty = omendb.connect(self.address_of(self.others(victim)), timeout=3.0)
        self.addCleanup(hasty.close)
        with self.assertRaises((omendb.errors.OmenTimeoutError, omendb.errors.BusyError)):
            hasty.collection("strict").upsert(workload.vector_of(SECOND), SECOND)
        lax = self.client.collection(COLLECTION)  # which wants two
        until("two acknowledge", lambda: lax.upsert(workload.vector_of(FIRST), FIRST) or True)
        victim.start()
        self.until_whole("strict")
        until("all three acknowledge again", lambda: patient.upsert(workload.vector_of(SECOND), SECOND) or True)
        self.assertEqual([patient.get(id).id for id in (FIRST, SECOND)], [FIRST, SECOND])
        self.client.drop_collection("strict")
        self.until_whole()
        self.forget()
        self.check_all()

    def test_a_search_that_lacks_shards_is_an_error_or_names_them(self) -> None:
        self.found()
        single = self.collection("single", replicas=1)
        until("it is written to", lambda: workload.fill(single) or True)
        rows = self.client.shards("single")
        victim = self.by_id(rows[0]["primary"])
        lost = {row["shard"] for row in rows if row["primary"] == victim.node}
        victim.kill()
        ask = {"collection": "single", "vector": workload.base_vector(0).tolist(), "k": workload.BASE_COUNT,
               "consistency": "strong", "deadline_ms": 2000}
        with omendb.connect(self.address_of(self.others(victim)), timeout=10.0) as client:
            with self.assertRaises((omendb.errors.OmenTimeoutError, omendb.errors.BusyError)):
                client.call("query.search", ask)
            answer = client.call("query.search", {**ask, "partial": True})
        self.assertEqual({failed["shard"] for failed in answer["shards_failed"]}, lost)
        self.assertLess(len(answer["hits"]), workload.BASE_COUNT)
        self.assertEqual(len(answer["hits"]) > 0, len(lost) < len(rows))
        victim.start()
        whole = until("all shards answer", lambda: self.client.call("query.search", {**ask, "deadline_ms": 10_000}))
        self.assertEqual(len(whole["hits"]), workload.BASE_COUNT)
        self.assertNotIn("shards_failed", whole)
        self.client.drop_collection("single")
        self.until_whole()
        self.check_all()


if __name__ == "__main__":
    ClusterCase.program = sys.argv.pop(1)
    unittest.main()
