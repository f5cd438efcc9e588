"""tests/system/test_network.py -- one node of three is cut off from the others, one way or both, under clients that reach all of them.

usage: test_network.py PATH_OF_OMEND [unittest options]

The clients' histories are checked afterwards. The network is this test's own (network.py), and so are all addresses in it.
"""
from __future__ import annotations

import sys
import unittest

from alone import alone

alone("mount", "net")

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


if __name__ == "__main__":
    ClusterCase.program = sys.argv.pop(1)
    unittest.main()
