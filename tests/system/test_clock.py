"""tests/system/test_clock.py -- the wall clock of a node jumps by hours: nobody is replaced, and nothing that clients were told is untrue.

usage: test_clock.py PATH_OF_OMEND PATH_OF_JUMPING_CLOCK PATH_OF_OMENCTL [unittest options]
"""
from __future__ import annotations

import datetime
import json
import pathlib
import re
import struct
import subprocess
import sys
import unittest

import omendb

import workload
from cluster import COLLECTION, ClusterCase, until
from omend_node import Node

HOUR = 3600
JUMPING_CLOCK = OMENCTL = ""


class Clocks(ClusterCase):
    def node(self, name: str) -> Node:
        made = super().node(name)
        self.set(made, 0)
        made.environment = {"LD_PRELOAD": JUMPING_CLOCK, "OMEN_CLOCK_OFF": str(self.off(made))}
        return made

    def off(self, node: Node) -> pathlib.Path:
        return self.folder / f"{node.name}.off"

    def set(self, node: Node, seconds: int) -> None:
        with self.off(node).open("r+b" if self.off(node).exists() else "wb") as file:
            file.write(struct.pack("=q", seconds))

    def primaries(self) -> dict[int, str]:
        return {row["shard"]: row["primary"] for row in self.client.shards(self.points.name)}

    def jump(self, node: Node) -> bool:
        """Forward, back behind where it was, and to where it belongs. Whether leases and elections went on as if nothing were."""
        with self.load() as load:
            load.wait_for(acks=30, searches=10)
            before = self.primaries(), self.leader()
            for hours in (2, -26, 0):
                self.set(node, hours * HOUR)
                load.wait_for(acks=50, searches=20)
            calm = (self.primaries(), self.leader()) == before and not load.failures
        self.check_all()
        return calm

    def test_a_primary_and_leader_whose_clock_jumps_stays_what_it_is(self) -> None:
        """A busy machine may depose it as well, but not each time; a clock that counts would."""
        self.found()
        self.assertTrue(any(self.jump(self.leader()) for _ in range(6)))

    def until_seen(self, victim: Node, seconds: int) -> None:
        """Every node has asked it since its clock was set, and finds it so much ahead of the cluster's."""
        def ahead(client: omendb.client.Client) -> float:
            rows = client.call("cluster.members")["members"]
            return next(row.get("clock_ahead_ms", 0) for row in rows if row["node"] == victim.node) / 1000

        for asked in map(self.client_of, self.nodes):
            until(f"the clock of {victim.name} is {seconds} s ahead", lambda asked=asked: abs(ahead(asked) - seconds) < 10)

    def clocks_that_check_finds(self) -> list[str]:
        endpoints = ",".join(node.listen for node in self.nodes)
        done = subprocess.run([OMENCTL, "-e", endpoints, "-o", "json", "check"], capture_output=True, text=True, check=False)
        return [row["detail"] for row in json.loads(done.stdout) if (row["check"], row["result"]) == ("clock", "wrong")]

    def test_clients_of_a_node_whose_clock_is_apart_write_to_all_shards(self) -> None:
        """By operations that the node draws, and by those that a client draws by what the node's hello said."""
        self.found()
        victim = self.others(self.primary())[0]
        vectors = [[0.5] * workload.DIMENSION] * workload.KEYS
        for seconds in (2 * HOUR, -2 * HOUR):
            self.set(victim, seconds)
            self.until_seen(victim, seconds)
            its, others = self.client_of(victim), self.client_of(*self.others(victim))
            apart = re.search(r"^omen_clock_apart_seconds (\S+)$", its.call("system.metrics")["text"], re.MULTILINE)
            self.assertAlmostEqual(float(apart[1]) if apart else 0.0, abs(seconds), delta=10)
            self.assertRegex("\n".join(self.clocks_that_check_finds()), rf"^that of {victim.name} is (7199|7200|7201) s (ahead of|behind) that of the cluster$")
            keys = list(range(workload.KEYS))
            for client in (its, others):
                client.collection(COLLECTION).upsert(vectors, keys)
                client.call("point.delete", {"collection": COLLECTION, "ids": keys})
                client.set_alias("by-clock", COLLECTION)
                client.drop_alias("by-clock")
        self.set(victim, 0)
        self.until_seen(victim, 0)
        self.assertEqual(self.clocks_that_check_finds(), [])
        self.forget()
        self.check_all()

    def test_a_node_that_starts_with_a_clock_of_yesterday_comes_back(self) -> None:
        self.found()
        victim = self.primary()
        with self.load() as load:
            load.wait_for(acks=30)
            victim.kill()
            self.set(victim, -24 * HOUR)
            said = victim.start()
            ago = datetime.datetime.now(datetime.UTC) - datetime.datetime.fromisoformat(said["time"])
            self.assertGreater(ago, datetime.timedelta(hours=23))  # so the clock is what we think it is
            load.wait_for(acks=30, searches=10)
            self.until_whole()
            self.set(victim, 0)
            load.wait_for(acks=30, searches=10)
        self.check_all()


if __name__ == "__main__":
    ClusterCase.program = sys.argv.pop(1)
    JUMPING_CLOCK, OMENCTL = sys.argv.pop(1), sys.argv.pop(1)
    unittest.main()
