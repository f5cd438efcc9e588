"""tests/system/test_hostile.py -- garbage, slow, oversized, half-said and far too many connections, beside clients at work.

usage: test_hostile.py PATH_OF_OMEND [unittest options]

Each is waited for until the node has closed it, and is then among those that the node counts, by reason. The nodes have keys, so that who
says nothing has a few seconds for it.
"""
from __future__ import annotations

import concurrent.futures
import contextlib
import itertools
import os
import random
import re
import resource
import selectors
import socket
import sys
import time
import unittest
from collections.abc import Callable

import omendb

import workload
from cluster import COLLECTION, ClusterCase, until
from omend_node import SECONDS, Node
from rpc_client import Client, RpcError, pack

REFUSED = re.compile(r'^omen_(client|peer)_(?:refused|connections_closed)_total\{reason="(\w+)"\} (\S+)$', re.MULTILINE)
TIMES = 20  # each kind of garbage
SLOW, DRIP_SECONDS = 50, 0.2  # connections that drip, and from byte to byte
ROOM, CROWD = 1024, 1100  # connections that a node has room for, and that come
NEVER_WHOLE = pack([0, 1, "system.hello", [{"api_key": "." * 400}]])
PART_OF_A_HEAD = b"\0" * 16
DESCRIPTORS = 4096  # that this needs, and a node
GARBAGE = {
    "frame_not_rpc": b"GET /metrics HTTP/1.1\r\n\r\n",
    "frame_malformed": b"\x94\x00\x01\xc1",
    "frame_too_long": b"\x94\x00\x01\xdb\xff\xff\xff\xff",
    "frame_too_deep": b"\x94\x00\x01\xabsystem.ping" + b"\x91" * 64,
}


def opened(address: str) -> socket.socket:
    host, port = address.rsplit(":", 1)
    return socket.create_connection((host, int(port)), SECONDS)


def is_closed(connection: socket.socket) -> bool:
    """Reads what is there."""
    try:
        return connection.recv(65536) == b""
    except ConnectionError:  # closed with bytes of ours unread
        return True


def say(address: str, said: bytes) -> None:
    """And waits until the node has closed."""
    with opened(address) as connection:
        try:
            connection.sendall(said)
        except ConnectionError:
            return
        while not is_closed(connection):
            pass


def drip(address: str, count: int, said: bytes) -> None:
    """So many connections at once, each of which says a byte now and then and never all of it, until the node has closed them all."""
    end = time.monotonic() + SECONDS
    with selectors.DefaultSelector() as those_open, contextlib.ExitStack() as closing:
        for _ in range(count):
            those_open.register(closing.enter_context(opened(address)), selectors.EVENT_READ)
        for at in itertools.count():
            for key in those_open.get_map().values():
                with contextlib.suppress(ConnectionError):  # closed, as the next look finds
                    key.fileobj.send(said[at : at + 1])
            for key, _ in those_open.select(DRIP_SECONDS):
                if is_closed(key.fileobj):
                    those_open.unregister(key.fileobj)
            if not those_open.get_map():
                return
            if time.monotonic() > end:
                raise AssertionError(f"{len(those_open.get_map())} of {count} were not closed, though they never said a whole request")


class Hostile(ClusterCase):
    api_key = "root.s3cret"
    at_work: workload.Workload

    def counted(self, node: Node) -> dict[tuple[str, str], float]:
        """By whom (client, peer) and why."""
        with omendb.connect(self.address_of([node]), self.api_key) as client:
            text = client.call("system.metrics")["text"]
        return {(who, why): float(count) for who, why, count in REFUSED.findall(text)}

    def beside_load(self, do: Callable[[Node], None], **wanted: int) -> None:
        """Does it to all nodes at once while clients work, none of whose searches fails; each node then counts so many more."""
        self.found()
        with self.load(timeout=30.0) as load:
            load.wait_for(acks=20, searches=10)
            self.at_work = load
            before = {node.name: self.counted(node) for node in self.nodes}
            with concurrent.futures.ThreadPoolExecutor() as threads:
                list(threads.map(do, self.nodes))
            load.wait_for(acks=50, searches=20)
            for node in self.nodes:
                for reason, count in wanted.items():
                    key = tuple(reason.split("__"))
                    until(f"{node.name} counts {count} of {key}",
                          lambda node=node, key=key, count=count: self.counted(node)[key] >= before[node.name][key] + count,
                          instead=lambda node=node: self.counted(node))
        self.assertEqual(load.failed("search"), [])
        self.check_all()

    def test_garbage_is_refused_by_reason(self) -> None:
        draw = random.Random(self.seed)

        def garbage(node: Node) -> None:
            for _ in range(TIMES):
                for said in GARBAGE.values():
                    say(node.listen, said)
                say(node.listen, b"\xc1" + draw.randbytes(draw.randint(1, 100_000)))
                say(node.peer, b"\xff" + draw.randbytes(draw.randint(100, 100_000)))

        wanted = {f"client__{reason}": TIMES for reason in GARBAGE} | {"client__frame_malformed": 2 * TIMES}
        self.beside_load(garbage, **wanted, client__refused=5 * TIMES, peer__frame_not_peer=TIMES)

    def test_datagrams_that_are_none_are_refused(self) -> None:
        draw = random.Random(self.seed)

        def datagrams(node: Node) -> None:
            host, port = node.peer.rsplit(":", 1)
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as out:
                was = self.counted(node)["peer", "datagram_refused"]
                while self.counted(node)["peer", "datagram_refused"] < was + TIMES:  # some are lost
                    for _ in range(TIMES):
                        out.sendto(draw.randbytes(draw.randint(1, 1400)), (host, int(port)))

        self.beside_load(datagrams, peer__datagram_refused=TIMES)

    def test_clients_that_say_one_byte_after_the_other_are_closed_in_time(self) -> None:
        self.beside_load(lambda node: drip(node.listen, SLOW, NEVER_WHOLE), client__late=SLOW)

    def test_nodes_that_say_one_byte_after_the_other_are_closed_in_time(self) -> None:
        self.beside_load(lambda node: drip(node.peer, SLOW, PART_OF_A_HEAD), peer__late=SLOW)

    def test_more_connections_than_a_node_has_room_for_leave_those_alone_that_were_there(self) -> None:
        def crowd(node: Node) -> None:
            with contextlib.ExitStack() as closing:
                for _ in range(CROWD):
                    client = Client(node.listen)
                    closing.callback(client.close)
                    with contextlib.suppress(ConnectionError):  # no room
                        client.call("system.hello", api_key=self.api_key)
                self.at_work.wait_for(acks=50, searches=20)

        self.beside_load(crowd, client__crowded=CROWD - ROOM)

    def greeted(self, node: Node) -> Client:
        client = Client(node.listen)
        client.call("system.hello", api_key=self.api_key)
        return client

    def test_writes_of_which_only_a_part_was_said_and_requests_beyond_any_limit_change_nothing(self) -> None:
        def half_said(node: Node) -> None:
            write = pack([0, 2, "point.upsert", [{"collection": COLLECTION, "ids": [1], "vectors": [[1.0] * workload.DIMENSION]}]])
            for part in range(1, len(write), len(write) // TIMES):
                client = self.greeted(node)
                client.send(write[:part])
                client.close()
            for _ in range(TIMES):
                client = self.greeted(node)
                client.send(GARBAGE["frame_too_long"])
                with self.assertRaises(ConnectionError):
                    client.hear()
                client.close()
                stranger = Client(node.listen)
                with self.assertRaisesRegex(RpcError, "AUTH"):
                    stranger.call("point.delete", collection=COLLECTION, ids=[workload.BASE_FIRST])
                stranger.close()

        self.beside_load(half_said, client__left=TIMES, client__frame_too_long=TIMES, client__no_hello=TIMES)


if __name__ == "__main__":
    resource.setrlimit(resource.RLIMIT_NOFILE, (DESCRIPTORS, max(DESCRIPTORS, resource.getrlimit(resource.RLIMIT_NOFILE)[1])))
    ClusterCase.program = sys.argv.pop(1)
    ClusterCase.seed = int(os.environ.get("OMEN_SEED", "1"))
    unittest.main()
