"""tests/system/test_cluster.py -- what clients of a cluster see, and what is left, when its nodes fail under their hands.

usage: test_cluster.py PATH_OF_OMEND [unittest options]

OMEN_SEED=n draws other keys and values; OMEN_SOAK=1 adds what takes too long for every commit (`Long`). While each fault
goes on, clients write, read and search; afterwards everything that they were told must be true (`check_all`).
"""
from __future__ import annotations

import os
import signal
import sys
import unittest

from cluster import ClusterCase


class Faults(ClusterCase):
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


if __name__ == "__main__":
    ClusterCase.program = sys.argv.pop(1)
    ClusterCase.seed = int(os.environ.get("OMEN_SEED", "1"))
    print(f"OMEN_SEED={ClusterCase.seed}", file=sys.stderr)
    unittest.main()
