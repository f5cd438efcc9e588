"""tests/system/test_network.py -- nodes that do not reach each other, or whom clients do not reach, under clients at work.

A node of three is cut off from the others, one way or both, or from the leader alone; five are parted in halves, as a ring and as halves with a bridge.

usage: test_network.py PATH_OF_OMEND [unittest options]

The clients' histories are checked afterwards. The network is this test's own (network.py), and so are all addresses in it.
"""
from __future__ import annotations

import sys
import unittest
from collections.abc import Iterable

from alone import alone

alone("mount", "net")

import omendb  # noqa: E402

from cluster import ClusterCase, until  # noqa: E402
from network_case import NetworkCase  # noqa: E402
from omend_node import Node  # noqa: E402


class Cuts(NetworkCase):
    def cut_off(self, victim: Node, hears: bool = False, is_heard: bool = False) -> None:
        self.addCleanup(self.network.heal)
        others = self.client_of(*self.others(victim))
        with self.load(timeout=2.0) as load:
            load.wait_for(acks=50, searches=10)
            self.cut(victim, hears, is_heard)
            until("another leads the metadata", lambda: others.info().get("leader") not in (None, victim.node))
            until("others are primaries", lambda: victim.node not in [row["primary"] for row in others.shards(self.points.name)])
            load.wait_for(acks=50, searches=10)
            self.network.heal()
            self.until_whole()
            load.wait_for(acks=50, searches=10)
        self.check_all()

    def test_a_primary_that_is_cut_off_is_replaced_and_comes_back(self) -> None:
        self.found()
        self.cut_off(self.primary())

    def test_a_leader_of_the_metadata_that_hears_nobody_is_replaced_and_comes_back(self) -> None:
        self.found()
        self.cut_off(self.leader(), is_heard=True)

    def test_a_primary_that_nobody_hears_is_replaced_and_comes_back(self) -> None:
        self.found()
        self.cut_off(self.primary(), hears=True)


class Between(NetworkCase):
    def test_a_node_that_reaches_the_leader_through_another_alone_learns_who_leads_its_shards_now(self) -> None:
        self.found()
        self.addCleanup(self.network.heal)
        leader = self.leader()
        cut = next(node for node in self.others(leader) if node.node in self.primaries(self.client))
        bridge = self.others(leader, cut)[0]
        its, others = self.client_of(cut), self.client_of(leader)
        with self.load([cut], timeout=2.0) as load:
            load.wait_for(acks=30, searches=10)
            self.part((leader, bridge), (bridge, cut))
            # A busy machine may depose the leader meanwhile; then it reaches the next one, or is it.
            until("others are primaries", lambda: cut.node not in self.primaries(others) or others.info().get("leader") != leader.node)
            until("it knows of them", lambda: self.primaries(its) == self.primaries(others))
            load.wait_for(acks=30, searches=10)  # of the shards that the one in the middle leads
            self.network.heal()
            self.until_whole()
            load.wait_for(acks=30, searches=10)
        self.check_all()

    def primaries(self, client: omendb.client.Client) -> list[str]:
        return [row.get("primary") for row in client.shards(self.points.name)]


class Clients(NetworkCase):
    def test_clients_that_do_not_reach_a_primary_ask_through_other_nodes_and_it_stays_a_primary(self) -> None:
        self.found()
        self.addCleanup(self.network.heal)
        victim = self.primary()
        others, its = self.client_of(*self.others(victim)), self.client_of(victim)
        with self.load(timeout=2.0) as load:
            load.wait_for(acks=50, searches=10)
            self.network.clients.reach_not(self.network.host(victim.name))
            with self.assertRaises(omendb.errors.OmenTimeoutError):
                its.ping()
            load.wait_for(acks=200, searches=50)
            until("all nodes are alive to the others", lambda: {row["state"] for row in others.members()} == {"alive"})
            until("it is a primary", lambda: victim.node in [row["primary"] for row in others.shards(self.points.name)])
            self.network.heal()
            load.wait_for(acks=50, searches=10)
        self.check_all()


class Parts(NetworkCase):
    """Five nodes, all of which vote and have all shards: wherever a majority is one, it has copies in sync."""

    copies = voters = 5

    def while_parted(self, *groups: Iterable[Node], led_by: Iterable[Node]) -> None:
        self.addCleanup(self.network.heal)
        # Who was cut off for long in the test before may have lost its vote to nobody, and three votes have another majority.
        until("all of them vote", lambda: self.client.call("cluster.info")["voters"] == self.voters)
        asked = [self.client_of(node) for node in led_by]  # of whom some may hear of no leader
        whose = {node.node for node in led_by}
        with self.load(timeout=2.0) as load:
            load.wait_for(acks=50, searches=10)
            self.part(*groups)
            until("one of them leads", lambda: any(client.info().get("leader") in whose for client in asked))
            until("they are primaries", lambda: {row["primary"] for row in asked[0].shards(self.points.name)} <= whose,
                  instead=lambda: asked[0].shards(self.points.name))
            load.wait_for(acks=100, searches=10)
            self.network.heal()
            self.until_whole()
            load.wait_for(acks=50, searches=10)
        self.check_all()

    def test_the_larger_half_goes_on_without_the_smaller_one_that_led(self) -> None:
        self.found(5)
        leader = self.leader()
        few = [leader, self.others(leader)[0]]
        many = self.others(*few)
        self.while_parted(few, many, led_by=many)

    def test_nodes_that_reach_only_their_neighbours_agree_and_are_whole_again(self) -> None:
        self.found(5)
        ring = list(zip(self.nodes, self.nodes[1:] + self.nodes[:1]))
        self.while_parted(*ring, led_by=self.nodes)

    def test_halves_that_both_reach_one_node_agree_and_are_whole_again(self) -> None:
        self.found(5)
        bridge = self.others(self.leader())[0]
        a, b, c, d = self.others(bridge)
        self.while_parted((a, b, bridge), (c, d, bridge), led_by=self.nodes)


if __name__ == "__main__":
    ClusterCase.program = sys.argv.pop(1)
    unittest.main()
