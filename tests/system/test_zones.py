"""tests/system/test_zones.py -- nodes in three zones of which one is killed for good: its votes and its copies go where zones stay even.

usage: test_zones.py PATH_OF_OMEND [unittest options]
"""
from __future__ import annotations

import sys
import unittest
from collections.abc import Iterable

from cluster import COLLECTION, ClusterCase, until
from omend_node import Node, fields


class ZonesCase(ClusterCase):
    @staticmethod
    def zone(node: Node) -> int:
        return ord(node.name) % 3

    def node(self, name: str) -> Node:
        made = super().node(name)
        made.options += ["--zone", f"zone-{self.zone(made)}"]
        return made

    @staticmethod
    def votes(node: Node) -> bool:
        """As it last said."""
        said = [fields(line)["votes"] for line in node.log().splitlines() if "event=meta.vote " in line]
        return said[-1:] == ["yes"]

    def voting(self) -> list[Node]:
        return [node for node in self.nodes if self.votes(node)]

    def is_even(self, nodes: Iterable[Node]) -> bool:
        """As many in each zone as in any other, or one fewer."""
        zones = [self.zone(node) for node in nodes]
        counts = [zones.count(zone) for zone in {self.zone(node) for node in self.nodes}]
        return max(counts) - min(counts) <= 1

    def votes_are_even(self) -> bool:
        voting = self.voting()
        return len(voting) == self.voters and self.is_even(voting)

    def copies_are_even(self) -> bool:
        return all(self.is_even(map(self.by_id, row["in_sync"])) for row in self.client.shards(COLLECTION))

    def until_even(self) -> None:
        """Every shard is whole, and votes and copies are even."""
        self.until_whole()
        until("votes are in all zones", self.votes_are_even, instead=lambda: [(node.name, self.votes(node)) for node in self.nodes])
        until("copies are in all zones", lambda: self.is_whole() and self.copies_are_even(), instead=self.as_seen)

    def lose(self, victim: Node) -> None:
        """For good: nobody will start it again."""
        victim.kill()
        self.nodes.remove(victim)

    def give_up_on(self, victim: Node) -> None:
        until("it is drained", lambda: self.client.call("node.drain", {"node": victim.node}))
        until("it is given up", lambda: self.client.call("node.decommission", {"node": victim.node}))
        self.assertNotIn(victim.node, [row["node"] for row in self.client.nodes() if row["state"] != "gone"])


class ThreeOfFive(ZonesCase):
    def test_a_vote_and_copies_of_a_leader_that_is_gone_go_to_others_of_its_zone(self) -> None:
        self.found(5)
        self.until_even()
        with self.load(timeout=2.0) as load:
            load.wait_for(acks=50)
            victim = self.leader()
            self.assertIn(victim, self.voting())
            self.lose(victim)
            load.wait_for(acks=50, searches=20)
            self.until_even()
            load.wait_for(acks=50, searches=20)
        self.give_up_on(victim)
        self.check_all()


class SevenOfSeven(ZonesCase):
    voters = 7

    def test_the_vote_of_one_of_seven_that_is_gone_goes_to_a_node_of_its_zone_that_joins(self) -> None:
        self.found(7)
        self.until_even()
        with self.load(timeout=2.0) as load:
            load.wait_for(acks=50)
            victim = self.primary()
            self.lose(victim)
            load.wait_for(acks=50, searches=20)
            new = next(node for node in map(self.node, "hij") if self.zone(node) == self.zone(victim))
            self.nodes.append(new)
            new.start("--join", self.nodes[0].peer)
            self.until_even()
            self.assertIn(new, self.voting())
            load.wait_for(acks=50, searches=20)
        self.give_up_on(victim)
        self.check_all()


if __name__ == "__main__":
    ClusterCase.program = sys.argv.pop(1)
    unittest.main()
