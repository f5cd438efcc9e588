"""tests/system/test_beside_hostile.py -- what a node's well-behaved clients see of hundreds of hostile ones: nothing.

usage: test_beside_hostile.py PATH_OF_OMEND [unittest options]

By counts: each well-behaved client has one connection and asks each request once; every one is answered, and well. /metrics then counts exactly what
the hostile ones did, by reason, and the node has the memory and the descriptors that it had. With keys, before and after system.hello; and without.
"""
from __future__ import annotations

import concurrent.futures
import contextlib
import hashlib
import os
import pathlib
import re
import resource
import socket
import struct
import sys
import threading
import time
import unittest
import urllib.request
from collections import Counter
from collections.abc import Callable
from typing import Any

from node_case import NodeCase
from omend_node import SECONDS, Node
from rpc_client import Client, RpcError, pack
from test_hostile import DESCRIPTORS, GARBAGE, NEVER_WHOLE, PART_OF_A_HEAD, drip, opened, say

KEY = "root.s3cret"
COUNTED = re.compile(r'^omen_(client|peer)_(refused|connections_closed)_total\{reason="(\w+)"\} (\S+)$', re.MULTILINE)
TIMES, SLOW = 20, 50  # of each kind of garbage, and of each kind of connection that says too little
CLOGGED, FLOOD = 4, 8000  # who do not read, and the requests of each: its answers are more than the 64 MiB that may wait
ROOM, CROWD = 1024, 1100  # connections that a node has room for, and that come
POLITE, LEAST = 3, 20  # well-behaved clients, and requests of each beside every attack
DIMENSION = 4
GROWTH_KB = 8 * 1024  # of an attack; clients that write meanwhile take half a megabyte
ATTACKS = 4
DEADLINE_MS = 30_000
PAUSE_SECONDS = 0.05


class Polite(threading.Thread):
    """Writes a point, reads it and finds it, over one connection; a request that fails, or a connection that ends, is its end."""

    def __init__(self, node: Node, number: int, key: str | None) -> None:
        super().__init__(daemon=True)
        self.number, self.rounds, self.fault = number, 0, ""
        self.over, self.changed = threading.Event(), threading.Condition()
        self.client = Client(node.listen)
        if key is not None:
            self.client.call("system.hello", api_key=key)

    def run(self) -> None:
        try:
            while not self.over.is_set():
                self.one()
        except BaseException as fault:  # whatever it is, a test says it
            self.fault = repr(fault)
        with self.changed:
            self.changed.notify_all()

    def one(self) -> None:
        common = {"collection": "docs", "deadline_ms": DEADLINE_MS}
        vector = struct.pack("<4f", self.number, self.rounds, 1.0, 0.0)
        assert self.client.call("point.upsert", ids=[self.number], vectors=vector, **common)["count"] == 1
        points = self.client.call("point.get", ids=[self.number], consistency="strong", **{"with": ["vector"]}, **common)["points"]
        assert points[0]["vector"] == vector, points
        hits = self.client.call("query.search", vector=vector, k=1, consistency="strong", **common)["hits"]
        assert (hits[0]["id"], hits[0]["distance"]) == (self.number, 0.0), hits
        with self.changed:
            self.rounds += 1
            self.changed.notify_all()

    def wait_for(self, rounds: int) -> None:
        with self.changed:
            wanted = self.rounds + rounds
            done = self.changed.wait_for(lambda: self.fault or self.rounds >= wanted, SECONDS)
        if self.fault or not done:
            raise AssertionError(f"client {self.number}: {self.fault or 'is not answered'} after {self.rounds} rounds")


class Beside(NodeCase):
    key: str | None = None

    def setUp(self) -> None:
        super().setUp()
        self.node = self.made("a")
        options = ["--admin", "127.0.0.1:0"]
        if self.key is not None:
            name, _, secret = self.key.partition(".")
            config = self.folder / "omend.yaml"
            config.write_text(f"api-keys:\n  - name: {name}\n    role: admin\n    sha256: {hashlib.sha256(secret.encode()).hexdigest()}\n")
            options += ["--config", str(config)]
        self.node.start(*options)
        self.admin = next(line["listen"] for line in self.node.lines if line.get("event") == "node.admin")
        self.node.stands_at("meta.nodes", nodes="1", up="1")
        self.maker = self.greeted()
        self.addCleanup(self.maker.close)
        self.until("the collection is made", lambda: self.begun("collection.create", name="docs", dimension=DIMENSION, metric="l2", shards=2,
                                                                replicas=1, if_not_exists=True))
        for id in range(POLITE):  # as many as there are clients; their shards have primaries then
            self.until("it is written to", lambda id=id: self.begun("point.upsert", collection="docs", ids=[id], vectors=b"\0" * 4 * DIMENSION))
        self.polite = [Polite(self.node, number, self.key) for number in range(POLITE)]
        for client in self.polite:
            client.start()
        self.addCleanup(self.end_polite)

    def end_polite(self) -> None:
        for client in self.polite:
            client.over.set()
        for client in self.polite:
            client.join()
            client.client.close()

    def greeted(self) -> Client:
        client = Client(self.node.listen)
        if self.key is not None:
            client.call("system.hello", api_key=self.key)
        return client

    def begun(self, method: str, **ask: object) -> bool:
        """Whether a node that has just founded its cluster does it already."""
        try:
            self.maker.call(method, **ask, deadline_ms=DEADLINE_MS)
        except RpcError as error:
            if error.name != "BUSY":
                raise
            return False
        return True

    # ---- what is looked at ----

    def text(self) -> str:
        with urllib.request.urlopen(f"http://{self.admin}/metrics", timeout=SECONDS) as page:
            return page.read().decode()

    def counted(self) -> Counter[tuple[str, str, str]]:
        """By whom (client, peer), what came of it, and why."""
        return Counter({(who, what, why): int(float(count)) for who, what, why, count in COUNTED.findall(self.text())})

    def until(self, what: str, holds: Callable[[], Any]) -> None:
        end = time.monotonic() + SECONDS
        while not holds():
            if time.monotonic() > end:
                raise AssertionError(what)
            time.sleep(PAUSE_SECONDS)

    def descriptors(self) -> int:
        assert self.node.process is not None
        return len(os.listdir(f"/proc/{self.node.process.pid}/fd"))

    def resident_kb(self) -> int:
        assert self.node.process is not None
        status = pathlib.Path(f"/proc/{self.node.process.pid}/status").read_text()
        return int(status.split("RssAnon:")[1].split()[0])

    def politely(self) -> None:
        for client in self.polite:
            client.wait_for(LEAST)

    # ---- what the hostile ones do; each returns what is to be counted ----

    def garbage(self) -> Counter[tuple[str, str, str]]:
        wanted: Counter[tuple[str, str, str]] = Counter()
        for _ in range(TIMES):
            for reason, said in GARBAGE.items():
                say(self.node.listen, said)
                with contextlib.closing(self.greeted()) as client:  # no better for having said hello
                    client.send(said)
                    with contextlib.suppress(ConnectionError):
                        client.hear()
                wanted["client", "refused", reason] += 2
                wanted["client", "connections_closed", "refused"] += 2
            say(self.node.peer, b"\xff" * 100)
            wanted["peer", "refused", "frame_not_peer"] += 1
        return wanted

    def drips(self) -> Counter[tuple[str, str, str]]:
        drip(self.node.listen, SLOW, NEVER_WHOLE)
        return Counter({("client", "connections_closed", "late"): SLOW})

    def peer_drips(self) -> Counter[tuple[str, str, str]]:
        drip(self.node.peer, SLOW, PART_OF_A_HEAD)
        return Counter({("peer", "refused", "late"): SLOW})

    def halves(self) -> Counter[tuple[str, str, str]]:
        """Half of a connection, half of a write."""
        write = pack([0, 2, "point.upsert", [{"collection": "docs", "ids": [0], "vectors": b"\0" * 4 * DIMENSION}]])
        for _ in range(SLOW):
            with contextlib.closing(self.greeted()) as client:
                client.send(write[:-1])
            with opened(self.node.listen) as half:
                half.shutdown(socket.SHUT_WR)
                with contextlib.suppress(ConnectionError):
                    half.recv(1)
        return Counter({("client", "connections_closed", "left"): 2 * SLOW})

    def deaf(self) -> Counter[tuple[str, str, str]]:
        """Who asks and asks and reads no answer."""
        ask = pack([0, 3, "system.metrics", [{}]]) * 100
        with contextlib.ExitStack() as closing:
            for _ in range(CLOGGED):
                client = closing.enter_context(contextlib.closing(self.greeted()))
                with contextlib.suppress(ConnectionError):
                    for _ in range(FLOOD // 100):
                        client.send(ask)
            self.until("who does not read is closed", lambda: self.counted()["client", "connections_closed", "clogged"] >= self.clogged + CLOGGED)
        self.clogged += CLOGGED
        return Counter({("client", "connections_closed", "clogged"): CLOGGED})

    clogged = 0

    def attack(self) -> None:
        """All at once."""
        before, descriptors = self.counted(), self.descriptors()
        with concurrent.futures.ThreadPoolExecutor() as threads:
            under_way = [threads.submit(do) for do in (self.garbage, self.drips, self.peer_drips, self.halves, self.deaf)]
            self.politely()
            wanted = sum((each.result() for each in under_way), Counter())
        self.until_counted(before, wanted)
        self.until(f"there are {descriptors} descriptors again", lambda: self.descriptors() <= descriptors)
        self.politely()

    def until_counted(self, before: Counter[tuple[str, str, str]], wanted: Counter[tuple[str, str, str]]) -> None:
        def difference() -> Counter[tuple[str, str, str]]:
            now = self.counted()
            now.subtract(before)
            return +now

        with contextlib.suppress(AssertionError):  # the comparison says more
            self.until("all of it is counted", lambda: difference() == wanted)
        self.assertEqual(difference(), wanted)

    def attack_again(self) -> None:
        """What attacks need at the most, which is more where their answers pile up by chance, the heap keeps; what is lost, each loses."""
        self.politely()
        self.attack()
        grown = []
        while not grown or grown[-1] >= GROWTH_KB:
            self.assertLess(len(grown), ATTACKS, f"each of them took so many kB: {grown}")
            resident = self.resident_kb()
            self.attack()
            grown.append(self.resident_kb() - resident)
        self.end_polite()
        self.assertEqual([client.fault for client in self.polite], [""] * POLITE)
        count = self.maker.call("point.count", collection="docs", consistency="strong", deadline_ms=DEADLINE_MS)["count"]
        self.assertEqual(count, POLITE)


class WithKeys(Beside):
    key = KEY

    def test_well_behaved_clients_see_nothing_of_hostile_ones_before_and_after_hello(self) -> None:
        self.attack_again()


class WithoutKeys(Beside):
    def test_well_behaved_clients_see_nothing_of_hostile_ones_where_nobody_says_hello(self) -> None:
        self.attack_again()

    def test_who_says_nothing_makes_room_and_who_was_answered_stays(self) -> None:
        """A node has so many more that leave; who comes before these have left is closed, and comes again."""
        self.politely()
        before = self.counted()
        tries = 0
        with contextlib.ExitStack() as closing:
            for _ in range(CROWD):
                closing.enter_context(opened(self.node.listen))

            def let_in() -> bool:
                nonlocal tries
                tries += 1
                late = closing.enter_context(contextlib.closing(Client(self.node.listen)))
                with contextlib.suppress(ConnectionError):
                    return late.call("system.ping") == {}
                return False

            self.until("who comes late is let in", let_in)
            self.politely()
            beyond = CROWD + POLITE + 1 + tries - ROOM  # the one is who made the collection

            def crowded() -> int:
                now = self.counted()
                now.subtract(before)
                self.assertEqual({why for _, _, why in +now}, {"crowded"})
                return now.total()

            self.until("all beyond are counted", lambda: crowded() >= beyond)
            self.assertEqual(crowded(), beyond)
        self.politely()


if __name__ == "__main__":
    resource.setrlimit(resource.RLIMIT_NOFILE, (DESCRIPTORS, max(DESCRIPTORS, resource.getrlimit(resource.RLIMIT_NOFILE)[1])))
    NodeCase.program = sys.argv.pop(1)
    unittest.main()
