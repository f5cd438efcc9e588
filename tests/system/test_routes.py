"""tests/system/test_routes.py -- Python's clients go straight to the node of a shard, and find the new one when it is gone.

usage: test_routes.py PATH_OF_OMEND [unittest options]

A hop is a part that a node served for a request which another node was asked: each node counts both.
"""
from __future__ import annotations

import asyncio
import contextlib
import re
import signal
import sys
import unittest
from collections import Counter
from collections.abc import Callable
from typing import Any

import omendb
from omendb import errors

import workload
from cluster import COLLECTION, ClusterCase, until
from omend_node import SECONDS

CALLS = 40  # more than a hop by chance could be missing of
IDS = list(range(CALLS))


def counted(text: str, metric: str, label: str, value: str) -> int:
    rows = re.findall(rf'^{metric}{{([^}}]*)}} (\S+)$', text, re.MULTILINE)
    return sum(int(float(number)) for labels, number in rows if f'{label}="{value}"' in labels)


class Routes(ClusterCase):
    def served(self, method: str, kind: str) -> tuple[Counter[str], Counter[str]]:
        """Requests that each node was asked, and parts that it served."""
        asked, served = Counter[str](), Counter[str]()
        for node in self.nodes:
            if node.runs():
                text = self.watchers[node.name].call("system.metrics")["text"]
                asked[node.name] = counted(text, "omen_requests_total", "method", method)
                served[node.name] = counted(text, "omen_parts_total", "kind", kind)
        return asked, served

    def hops(self, method: str, kind: str, calls: Callable[[], Any]) -> int:
        """Of CALLS calls."""
        asked, served = self.served(method, kind)
        calls()
        asked_then, served_then = self.served(method, kind)
        asked_then.subtract(asked)
        served_then.subtract(served)
        self.assertGreaterEqual(sum(asked_then.values()), CALLS)
        return sum(max(0, served_then[name] - asked_then[name]) for name in served_then)

    def begin(self) -> None:
        self.found()
        self.watchers = {node.name: self.client_of(node) for node in self.nodes}

    def write_all(self, points: Any) -> None:
        for id in IDS:
            points.upsert(workload.vector_of(id), id)

    def until_straight(self, what: str, hops: Callable[[], int]) -> None:
        """Tables are learned beside the calls that they are for."""
        until(what, lambda: hops() == 0, SECONDS)

    def test_what_is_about_one_shard_goes_to_its_primary_and_finds_the_next_one(self) -> None:
        self.begin()
        with omendb.connect(self.address, timeout=20.0) as client:
            points = client.collection(COLLECTION, consistency="strong")

            def writes() -> int:
                return self.hops("point.upsert", "write", lambda: self.write_all(points))

            def reads() -> int:
                return self.hops("point.get", "get", lambda: [points.get(id) for id in IDS])

            self.until_straight("writes take no hop", writes)
            self.until_straight("strong reads take none", reads)
            victim = self.primary()
            self.assertEqual(victim.kill(), -signal.SIGKILL)
            self.write_all(points)  # no error, whatever the table says
            self.assertEqual([points.get(id).id for id in IDS], IDS)
            self.until_straight("writes take no hop although another is primary", writes)
            victim.start()
            self.until_whole()
            self.write_all(points)
            moved = next(row for row in self.client.shards(COLLECTION) if row["primary"] != victim.node)

            def is_primary_again() -> bool:
                with contextlib.suppress(errors.ConflictError):  # its copy was left out once more, on a machine that is slow now
                    self.client.call("shard.transfer", {"shard": moved["shard"], "node": victim.node})
                return any(row["primary"] == victim.node for row in self.client.shards(COLLECTION))

            until("it is primary again", is_primary_again, SECONDS)
            self.watchers[victim.name] = self.client_of(victim)
            self.until_straight("a shard that was handed over is found", writes)

    def test_the_map_alone_is_told_without_asking_a_copy(self) -> None:
        self.begin()

        def parts() -> int:
            return self.served("shard.list", "get")[1].total()

        def lists(**keys: Any) -> list[dict[str, Any]]:
            """The last of CALLS."""
            for _ in range(CALLS):
                rows = self.client.call("shard.list", {"collection": COLLECTION, **keys})["shards"]
            return rows

        before = parts()
        of_the_map = lists(map_only=True)
        self.assertEqual(parts(), before)
        self.assertTrue(all("seq" not in row and "points" not in row for row in of_the_map))
        rows = lists()
        until("copies are asked without the key, and counted", lambda: parts() >= before + CALLS, SECONDS)
        self.assertEqual([row["shard"] for row in of_the_map], [row["shard"] for row in rows])
        self.assertTrue(all(row["primary"] and len(row["in_sync"]) == 3 for row in of_the_map))

    def test_a_primary_that_stands_still_costs_no_error(self) -> None:
        self.begin()
        with omendb.connect(self.address, timeout=20.0) as client:
            points = client.collection(COLLECTION, consistency="strong")
            self.until_straight(
                "writes take no hop", lambda: self.hops("point.upsert", "write", lambda: self.write_all(points))
            )
            at_hand = str(client._ring.pick())  # which takes over what was sent to who stands still
            primaries = {row["primary"] for row in self.client.shards(COLLECTION)}
            victim = next(node for node in self.nodes if node.node in primaries and node.listen != at_hand)
            victim.signal(signal.SIGSTOP)
            self.write_all(points)
            victim.signal(signal.SIGCONT)
            self.assertEqual([points.get(id).id for id in IDS], IDS)

    def test_the_client_for_asyncio_does_as_well(self) -> None:
        self.begin()

        async def all_of_it() -> None:
            async with await omendb.connect_async(self.address, timeout=20.0) as client:
                points = client.collection(COLLECTION, consistency="strong")

                async def hops() -> int:
                    asked, served = self.served("point.upsert", "write")
                    for id in IDS:
                        await points.upsert(workload.vector_of(id), id)
                    asked_then, served_then = self.served("point.upsert", "write")
                    return sum(max(0, served_then[name] - served[name] - asked_then[name] + asked[name]) for name in served)

                async with asyncio.timeout(SECONDS):
                    while await hops() != 0:
                        pass
                victim = self.primary()
                victim.kill()
                for id in IDS:
                    await points.upsert(workload.vector_of(id), id)
                async with asyncio.timeout(SECONDS):
                    while await hops() != 0:
                        pass
                victim.start()

        asyncio.run(all_of_it())
        self.until_whole()


if __name__ == "__main__":
    ClusterCase.program = sys.argv.pop(1)
    unittest.main()
