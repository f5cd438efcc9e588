"""tests/system/soak.py -- a cluster for as long as one likes: nodes killed, paused, restarted, cut off and slow at random, histories checked.

usage: python -m tests.system.soak --minutes N [--seed S] [--program build/bin/omend]

A round is one fault beside clients at work, and all checks once it is over; a seed draws the same faults again, though not the same moments.
The network is the soak's own (network.py). After the first round no node may need more than it did then.
"""
from __future__ import annotations

import argparse
import collections
import pathlib
import random
import signal
import sys
import time
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).parent))

from alone import alone  # noqa: E402

if __name__ == "__main__":
    alone("mount", "net", device="/dev/net/tun")

import workload  # noqa: E402
from network import SlowNetwork  # noqa: E402
from network_case import NetworkCase  # noqa: E402
from omend_node import Node  # noqa: E402

PAUSE_MOST_SECONDS = 30.0
DELAY_MS, LOSS = 200, 0.1  # of all packets, while the network is slow
ROUNDS_LEAST = 3  # the first shows what nodes need, and those after it that they need no more


class Soak(NetworkCase):
    network_of = SlowNetwork
    seconds = 0.0

    def test_it_goes_on_for_long(self) -> None:
        print(f"seed {self.seed}", file=sys.stderr, flush=True)
        draw = random.Random(self.seed)
        end = time.monotonic() + self.seconds
        faults = (self.kill_one, self.kill_two, self.kill_all, self.pause_one, self.restart_one, self.cut_one, self.slow_down)
        rounds: collections.Counter[str] = collections.Counter()
        acks = searches = 0
        while rounds.total() < ROUNDS_LEAST or time.monotonic() < end:
            self.found()
            fault = draw.choice(faults)
            rounds[fault.__name__] += 1
            print(f"round {rounds.total()}: {fault.__name__}", file=sys.stderr, flush=True)
            with self.load(timeout=3.0) as load:
                load.wait_for(acks=draw.randint(1, 100))
                fault(draw, load)
                load.wait_for(acks=20, searches=5)
            self.check_all()
            acks, searches = acks + load.acks, searches + len(load.searches)
        print(f"seed {self.seed}: {dict(rounds)}; {acks} writes were acknowledged and {searches} searches answered", file=sys.stderr)

    def cut_one(self, draw: random.Random, load: workload.Workload) -> None:
        hears, is_heard = draw.choice(((False, False), (True, False), (False, True)))
        self.cut(draw.choice(self.nodes), hears, is_heard)
        load.over.wait(draw.uniform(0.1, 10))  # an outage is time, too
        self.network.heal()

    def slow_down(self, draw: random.Random, load: workload.Workload) -> None:
        """Nodes whose profile is the fast one may lead nothing so; what matters is what is left afterwards."""
        assert isinstance(self.network, SlowNetwork)
        self.network.slow_down(DELAY_MS, LOSS)
        load.over.wait(draw.uniform(0.1, 10))  # an outage is time, too
        self.network.heal()

    def kill_one(self, draw: random.Random, load: workload.Workload) -> None:
        self.kill_some(draw, load, 1)

    def kill_two(self, draw: random.Random, load: workload.Workload) -> None:
        self.kill_some(draw, load, 2)

    def kill_all(self, draw: random.Random, load: workload.Workload) -> None:
        self.kill_some(draw, load, 3)

    def kill_some(self, draw: random.Random, load: workload.Workload, count: int) -> None:
        victims: list[Node] = draw.sample(self.nodes, count)
        for node in victims:
            node.signal(signal.SIGKILL)
        for node in victims:
            node.wait()
        if count == 1:
            load.wait_for(acks=draw.randint(1, 50))
        for node in victims:
            node.start()

    def pause_one(self, draw: random.Random, load: workload.Workload) -> None:
        """A primary, who leads the metadata, or anybody; seldom for long, which leaves time for other rounds."""
        node = draw.choice((self.primary, self.leader, lambda: draw.choice(self.nodes)))()
        node.signal(signal.SIGSTOP)
        load.over.wait(1 + (PAUSE_MOST_SECONDS - 1) * draw.random() ** 4)  # a pause is time, and nothing else
        node.signal(signal.SIGCONT)

    def restart_one(self, draw: random.Random, load: workload.Workload) -> None:
        node = draw.choice(self.nodes)
        self.assertEqual(node.stop(), 0)
        node.start()


def main() -> int:
    parser = argparse.ArgumentParser(description="a cluster under faults, for a while")
    parser.add_argument("--minutes", type=float, required=True)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--program", default="build/bin/omend")
    options = parser.parse_args()
    Soak.program, Soak.seed, Soak.seconds = options.program, options.seed, options.minutes * 60
    suite = unittest.defaultTestLoader.loadTestsFromTestCase(Soak)
    return 0 if unittest.TextTestRunner().run(suite).wasSuccessful() else 1


if __name__ == "__main__":
    sys.exit(main())
