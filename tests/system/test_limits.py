"""tests/system/test_limits.py -- limits that an operator sets: each at its bound and one past it, and nobody else pays for who breaks it.

usage: test_limits.py PATH_OF_OMEND [unittest options]
"""
from __future__ import annotations

import hashlib
import socket
import sys
import time
import unittest
from typing import Any

import numpy as np
import omendb

from cluster import until
from node_case import NodeCase
from omend_node import Node
from rpc_client import Client, RpcError, pack

FRAME = 65536
RATE = 100


class Limits(NodeCase):
    def node(self, *options: str, key: str = "") -> Node:
        """One that has heard of its cluster, which is asked by `self.first`, a connection that stays."""
        node = self.made("a")
        node.start(*options)
        self.first = self.client(node, key)
        while True:
            try:
                self.first.call("collection.list")
                return node
            except RpcError as error:
                self.assertEqual(error.name, "BUSY")

    def sample(self, series: str) -> float:
        text = self.first.call("system.metrics")["text"]
        line = next(line for line in text.splitlines() if line.startswith(series + " "))
        return float(line.split()[-1])

    def metric(self, reason: str) -> float:
        """Of omen_client_refused_total."""
        return self.sample(f'omen_client_refused_total{{reason="{reason}"}}')

    def client(self, node: Node, key: str = "") -> Client:
        client = Client(node.listen)
        self.addCleanup(client.close)
        if key:
            client.call("system.hello", api_key=f"{key}.secret-of-{key}", errors="map")
        return client

    @staticmethod
    def from_address(node: Node, host: str) -> socket.socket:
        address, port = node.listen.rsplit(":", 1)
        return socket.create_connection((address, int(port)), 60, (host, 0))

    @staticmethod
    def is_served(connection: socket.socket) -> bool:
        try:
            connection.sendall(pack([0, 1, "system.ping", []]))
            return len(connection.recv(1)) == 1
        except ConnectionError:
            return False

    def test_the_next_connection_is_closed_and_the_others_go_on(self) -> None:
        node = self.node("--max-connections", "3")
        known = [self.from_address(node, "127.0.0.1") for _ in range(2)]  # and self.first
        for connection in known:
            self.addCleanup(connection.close)
            self.assertTrue(self.is_served(connection))
        with self.from_address(node, "127.0.0.2") as beyond:
            self.assertFalse(self.is_served(beyond))
        for connection in known:
            connection.recv(64)
            self.assertTrue(self.is_served(connection))
        self.assertEqual(self.metric("crowded"), 1)

    def test_an_address_has_so_many_and_the_others_theirs(self) -> None:
        node = self.node("--max-connections-per-address", "2")
        mine = [self.from_address(node, "127.0.0.2") for _ in range(2)]
        others = [self.from_address(node, "127.0.0.3") for _ in range(2)]
        for connection in mine + others:
            self.addCleanup(connection.close)
            self.assertTrue(self.is_served(connection))
        for _ in range(3):
            with self.from_address(node, "127.0.0.2") as beyond:
                self.assertFalse(self.is_served(beyond))
        for connection in mine + others:
            connection.recv(64)
            self.assertTrue(self.is_served(connection))
        self.assertEqual(self.metric("of_address"), 3)
        self.assertEqual(self.metric("crowded"), 0)

    def test_hello_tells_the_limits_and_a_request_is_no_longer_than_that(self) -> None:
        node = self.node("--max-frame-bytes", str(FRAME), "--max-in-flight", "3")
        client = self.client(node)
        limits = client.call("system.hello")["limits"]
        self.assertEqual((limits["frame_bytes"], limits["inflight"]), (FRAME, 3))
        head = len(pack([0, 1, "system.hello", [{"version": ""}]]))
        for bytes_more in (0, 1):
            client = self.client(node)
            said = pack([0, 1, "system.hello", [{"version": "x" * (FRAME - head + bytes_more)}]])
            self.assertEqual(len(said), FRAME + bytes_more)
            if bytes_more == 0:
                client.send(said)
                self.assertIn("version", client.hear()[2])  # it is read, and too long for a version
            else:
                with self.assertRaises(ConnectionError):
                    client.send(said)
                    client.hear()
        self.assertEqual(self.metric("frame_too_long"), 1)

    def test_the_client_keeps_to_what_the_node_takes(self) -> None:
        node = self.node("--max-frame-bytes", str(FRAME))
        with omendb.connect(f"omen://{node.listen}") as client:
            docs = client.create_collection("docs", 64, metric="l2", shards=1, replicas=1)
            rows = np.random.default_rng(1).standard_normal((2000, 64), dtype=np.float32)
            docs.upsert(rows, range(2000))  # of 512,000 bytes, in as many requests as it takes
            self.assertEqual(docs.count(), 2000)
            with self.assertRaisesRegex(omendb.errors.InvalidError, f"bytes; the node takes {FRAME}") as refused:
                docs.upsert(rows[:1], [1], payloads=[{"text": "x" * (FRAME - 20)}])
            self.assertEqual(refused.exception.outcome, "not_applied")
            self.assertEqual(docs.count(), 2000)

    def test_parts_of_messages_are_so_much_together_and_the_next_costs_the_heaviest(self) -> None:
        node = self.node("--max-waiting-mib", "64")
        said = pack([0, 1, "point.upsert", [{"collection": "docs", "vectors": bytes(31 << 19)}]])
        parts = [said[:(15 << 20) - i] for i in range(5)]

        def until_waiting(mib: int) -> None:
            until(f"{mib} MiB wait", lambda: round(self.sample("omen_client_waiting_bytes") / (1 << 20)) == mib)

        closed = 'omen_client_connections_closed_total{reason="heaviest"}'
        clients = [self.client(node) for _ in parts]
        for client, part in zip(clients[:4], parts):
            client.send(part)
        until_waiting(60)
        self.assertEqual(self.sample(closed), 0)
        clients[4].send(parts[4])
        until("one is closed", lambda: self.sample(closed) == 1)
        until_waiting(60)
        with self.assertRaises(ConnectionError):
            clients[0].hear()

    # ---- rates ----

    def keyed(self, *options: str, **keys: int | None) -> Node:
        file = self.folder / "omend.yaml"
        rows = ["api-keys:"]
        for name, rate in keys.items():
            rows += [f"- name: {name}", "  role: admin", f"  sha256: {hashlib.sha256(f'secret-of-{name}'.encode()).hexdigest()}"]
            rows += [] if rate is None else [f"  rate: {rate}"]
        file.write_text("\n".join(rows) + "\n")
        return self.node("--config", str(file), *options, key=list(keys)[-1])

    def refused(self, client: Client) -> dict[str, Any]:
        """Asks as fast as it can until it is told not to."""
        for _ in range(10**6):
            client.send(pack([0, 7, "collection.list", []]) * 50)
            answers = [client.hear() for _ in range(50)]
            for answer in answers:
                if answer[2] is not None:
                    return dict(answer[2])
        raise AssertionError("it was never refused")

    def test_a_key_that_asks_too_fast_is_told_when_to_come_again_and_no_other_key_is(self) -> None:
        node = self.keyed(slow=RATE, other=None)
        slow, other = self.client(node, "slow"), self.client(node, "other")
        for _ in range(RATE):  # a second's worth at once
            slow.call("collection.list")
        error = self.refused(slow)
        self.assertEqual((error["name"], error["retryable"], error["outcome"]), ("BUSY", True, "not_applied"))
        self.assertRegex(error["message"], rf'^collection.list: the key "slow" may ask for {RATE} points and queries a second')
        wait = error["details"]["retry_after_ms"]
        self.assertTrue(1 <= wait <= 1000, wait)
        self.assertIn(f"again in {wait} ms", error["message"])
        for _ in range(5 * RATE):
            other.call("collection.list")
        for _ in range(3):
            slow.call("system.ping")  # costs nothing
        time.sleep(wait / 1000)  # what the server said is what is tried
        slow.call("collection.list")
        self.assertGreaterEqual(self.metric("too_fast"), 1)
        self.assertEqual(self.metric("closing"), 0)

    def test_a_batch_beyond_the_rate_is_done_and_the_next_waits_which_the_client_does(self) -> None:
        node = self.keyed(slow=RATE, other=None)
        address = f"omen://{node.listen}"
        with omendb.connect(address, api_key="slow.secret-of-slow") as slow, omendb.connect(
            address, api_key="other.secret-of-other"
        ) as other:
            docs = other.create_collection("docs", 8, metric="l2", shards=1, replicas=1)
            docs.upsert(np.eye(8, dtype=np.float32), range(8))
            rows = np.random.default_rng(1).standard_normal((5 * RATE, 8), dtype=np.float32)
            slow.collection("docs").upsert(rows, range(5 * RATE))
            begun = time.monotonic()
            with self.assertRaises(omendb.errors.BusyError) as refused:  # more than this one may take
                slow.collection("docs").search(rows[0], k=1, timeout=0.2)
            self.assertGreater(refused.exception.retry_after, 0.2)
            self.assertEqual(docs.search(rows[0], k=1).ids[0], 0)  # another's key
            self.assertEqual(slow.collection("docs").search(rows[0], k=1).ids[0], 0)
            self.assertGreater(time.monotonic() - begun, refused.exception.retry_after / 2)

    def test_key_rate_is_for_keys_that_have_none_and_key_create_gives_one(self) -> None:
        node = self.keyed("--key-rate", str(RATE), plain=None, admin=10**6)
        admin, plain = self.client(node, "admin"), self.client(node, "plain")
        for _ in range(3 * RATE):
            admin.call("collection.list")
        self.assertIn(f"may ask for {RATE} points", self.refused(plain)["message"])
        secret = ""
        while not secret:  # a new cluster knows of rates in a moment
            try:
                secret = admin.call("key.create", name="made", role="read", rate=7)["api_key"]
            except RpcError as error:
                self.assertEqual(error.name, "UNSUPPORTED")
        self.assertEqual([(row["name"], row["rate"]) for row in admin.call("key.list")["keys"]], [("made", 7)])
        made = self.client(node)
        made.call("system.hello", api_key=secret, errors="map")
        self.assertIn('the key "made" may ask for 7 points', self.refused(made)["message"])
        for wrong in (0, 2**32):
            with self.assertRaises(RpcError) as refused:
                admin.call("key.create", name="none", role="read", rate=wrong)
            self.assertIn("rate", str(refused.exception))


if __name__ == "__main__":
    NodeCase.program = sys.argv.pop(1)
    unittest.main()
