"""tests/system/test_slow_network.py -- nodes whose packets take 200 ms and a tenth of whose packets is lost, under clients at work.

usage: test_slow_network.py PATH_OF_OMEND [unittest options]

What a node sends is held up and lost, by slow_lines.py, whoever is to have it. Nodes have the profile that they have unless told otherwise, lan.
"""
from __future__ import annotations

import sys
import time
import unittest

from alone import alone

alone("mount", "net", device="/dev/net/tun")

from cluster import ClusterCase  # noqa: E402
from network import SlowNetwork  # noqa: E402
from network_case import NetworkCase  # noqa: E402
from omend_node import Node  # noqa: E402

DELAY_MS, LOSS = 200, 0.1


class Slow(NetworkCase):
    network_of = SlowNetwork

    def node(self, name: str) -> Node:
        made = super().node(name)
        made.options += ["--profile", "lan"]
        return made

    def test_a_slow_network_that_loses_packets_costs_no_acknowledged_write(self) -> None:
        self.found()
        network = self.network
        assert isinstance(network, SlowNetwork)
        self.addCleanup(network.heal)
        with self.load(timeout=5.0) as load:
            load.wait_for(acks=50, searches=10)
            network.slow_down(DELAY_MS, LOSS)
            begun = time.monotonic()
            self.client.ping()
            self.assertGreaterEqual(time.monotonic() - begun, DELAY_MS / 1000)
            load.wait_for(acks=30, searches=10)
            network.heal()
            self.assertGreater(min(host.lost for host in network.slow()), 0)
            self.until_whole()
            load.wait_for(acks=50, searches=10)
        self.check_all()


if __name__ == "__main__":
    ClusterCase.program = sys.argv.pop(1)
    unittest.main()
