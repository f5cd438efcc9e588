"""tests/system/test_omend.py -- real nodes on loopback: a cluster is founded and joined, and comes back whatever ended its processes.

usage: test_omend.py PATH_OF_OMEND [unittest options]
"""
from __future__ import annotations

import concurrent.futures
import hashlib
import pathlib
import random
import signal
import socket
import struct
import subprocess
import sys
import time
import unittest
from typing import Any

from node_case import NodeCase
from omend_node import Node
from rpc_client import Client, RpcError

SECONDS = 60.0  # that anything may take


def vector(row: int) -> bytes:
    return struct.pack("<4f", row, row * 0.5, 1.0, -row)


class Case(NodeCase):
    def three(self) -> list[Node]:
        """A cluster of three, whole."""
        nodes = [self.made(name) for name in ("a", "b", "c")]
        self.assertEqual(nodes[0].start()["how"], "founded")
        for node in nodes[1:]:
            self.assertEqual(node.start("--join", nodes[0].peer)["how"], "joined")
        for node in nodes:
            node.stands_at("meta.nodes", nodes="3", up="3", voters="3")
        return nodes

    def client(self, node: Node) -> Client:
        made = Client(node.listen)
        self.addCleanup(made.close)
        return made

    def settled(self, client: Client, method: str, **ask: Any) -> Any:
        """What comes of it once somebody leads, which may change at any moment where this machine stands still for one. Of what is asked
        again, a change has a name: then it is done once."""
        end = time.monotonic() + SECONDS
        while True:
            try:
                return client.call(method, **ask)
            except RpcError as error:
                if error.name not in ("BUSY", "STALE_MAP", "TIMEOUT") or time.monotonic() > end:
                    raise

    def change(self, client: Client, method: str, **ask: Any) -> Any:
        name = struct.pack(">QQ", int(time.time() * 1000) << 16 | 0x7000, 1 << 63 | random.getrandbits(62))
        return self.settled(client, method, op_id=name, **ask)

    def new_key(self, client: Client, **ask: Any) -> str:
        return str(self.change(client, "key.create", seed=random.randbytes(16), **ask)["api_key"])

    def until(self, what: str, holds: Any) -> None:
        """Asks again and again until it holds: other nodes' states cannot be waited for otherwise."""
        end = time.monotonic() + SECONDS
        while not holds():
            self.assertLess(time.monotonic(), end, what)


class Founding(Case):
    def test_three_processes_found_and_join_a_cluster_and_end_when_they_are_told_to(self) -> None:
        nodes = self.three()
        self.assertEqual(len({node.cluster for node in nodes}), 1)
        self.assertEqual(len({node.node for node in nodes}), 3)
        for node in nodes:
            self.assertEqual(node.stop(), 0)

    def test_nodes_that_are_killed_come_back_as_who_they_were(self) -> None:
        nodes = self.three()
        for node in nodes:
            before, boot = node.node, int(node.lines[0].get("boot", "0"))
            self.assertEqual(node.kill(), -signal.SIGKILL)
            said = node.start()  # without --join
            self.assertEqual(said["how"], "returned")
            self.assertEqual(said["node"], before)
            self.assertGreater(int(said["boot"]), boot)
            node.stands_at("meta.lease", boot=said["boot"])  # the leader has it in the map as this process

    def test_all_at_once_are_killed_and_come_back(self) -> None:
        nodes = self.three()
        for node in nodes:
            node.signal(signal.SIGKILL)
        for node in nodes:
            self.assertEqual(node.wait(), -signal.SIGKILL)
        for node in nodes:
            self.assertEqual(node.start()["how"], "returned")
        for node in nodes:
            node.stands_at("meta.lease", boot="2")

    def test_another_leads_when_the_leader_is_killed(self) -> None:
        nodes = self.three()
        self.assertEqual(nodes[0].kill(), -signal.SIGKILL)
        for node in nodes[1:]:
            while node.wait_for("meta.leader")["node"] == nodes[0].node:
                pass

    def test_a_node_waits_for_whom_it_shall_join_and_ends_meanwhile_when_it_is_told_to(self) -> None:
        node = self.made("a")
        node.start("--join", "127.0.0.1:1", ready=False)
        self.assertIn("nobody answers at 127.0.0.1:1", node.wait_for("join.waits")["why"])
        self.assertEqual(node.stop(), 0)

    def test_data_of_another_cluster_is_refused(self) -> None:
        one, other = self.made("a"), self.made("b")
        one.start()
        other.start()
        self.assertEqual(other.stop(), 0)
        other.start("--join", one.peer, ready=False)
        while other.hears("node.ready"):  # nobody need answer who comes back, and this one did not in its third of a second
            self.assertEqual(other.stop(), 0)
            other.start("--join", one.peer, ready=False)
        self.assertEqual(other.wait(), 65)
        why = other.lines[-1]["why"]
        self.assertIn(one.cluster, why)
        self.assertIn(other.cluster, why)

    def test_shards_without_a_log_are_refused_and_left_as_they_are(self) -> None:
        other, node = self.made("a"), self.made("b")
        other.start()
        node.start()
        node.stands_at("meta.nodes", nodes="1", up="1")
        client = self.client(node)
        self.change(client, "collection.create", name="docs", dimension=4, shards=2, replicas=1)
        self.until("there are shards", lambda: len(list(node.data.glob("shards/*"))) == 2)
        self.assertEqual(node.stop(), 0)
        log, kept = node.data / "log", self.folder / "kept"
        log.rename(kept)

        def everything() -> dict[str, str]:
            return {str(path.relative_to(node.data)): hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "a folder"
                    for path in node.data.rglob("*")}

        for empty in (False, True):  # as where another disk's mount point is
            if empty:
                log.mkdir()
            before = everything()
            for options in ([], ["--join", other.peer]):
                node.start(*options, ready=False)
                self.assertEqual(node.wait(), 65)
                self.assertIn(f"{node.data}: has shards, but no log that says whose they are", node.lines[-1]["why"])
                self.assertEqual(everything(), before)
        log.rmdir()
        kept.rename(log)
        came_back = node.start()
        self.assertEqual((came_back["how"], came_back["cluster"]), ("returned", node.cluster))

    def test_a_log_of_nobody_beside_shards_is_refused_as_if_there_were_none(self) -> None:
        node = self.made("a")
        node.start("--join", "127.0.0.1:1", ready=False)  # makes a log, and is nobody yet
        node.wait_for("join.waits")
        self.assertEqual(node.stop(), 0)
        (node.data / "shards" / "1").mkdir()
        node.start(ready=False)
        self.assertEqual(node.wait(), 65)
        self.assertIn("has shards, but no log", node.lines[-1]["why"])

    def test_another_cluster_key_is_refused(self) -> None:
        for name in ("one", "other"):
            key = self.folder / name
            key.write_text(f"{name:_<40}")
            key.chmod(0o600)
        first, second = self.made("a"), self.made("b")
        first.start("--cluster-key", str(self.folder / "one"))
        second.start("--cluster-key", str(self.folder / "other"), "--join", first.peer, ready=False)
        self.assertEqual(second.wait(), 78)
        self.assertIn("another cluster key", second.lines[-1]["why"])

    def test_what_is_in_use_is_refused(self) -> None:
        first, second = self.made("a"), self.made("b")
        first.start()
        second.ports = ("127.0.0.1:0", first.peer)
        second.start(ready=False)
        self.assertEqual(second.wait(), 69)
        twin = Node(self.program, self.folder, "a")
        self.nodes.append(twin)
        twin.start(ready=False)
        self.assertEqual(twin.wait(), 73)

    def test_an_address_that_is_taken_ends_a_first_start_before_it_founds_or_writes_anything(self) -> None:
        first, second = self.made("a"), self.made("b")
        first.start()
        for ports, what in (((first.listen, "127.0.0.1:0"), "listen: "), (("127.0.0.1:0", first.peer), "peer: ")):
            second.ports = ports
            second.start(ready=False)
            self.assertEqual(second.wait(), 69)
            self.assertIn(what, second.lines[-1]["why"])
            self.assertFalse(second.data.exists())
        second.ports = ("127.0.0.1:0", "127.0.0.1:0")
        self.assertEqual(second.start("--join", first.peer)["how"], "joined")
        self.assertEqual(second.cluster, first.cluster)

    def test_a_node_that_waits_for_whom_it_shall_join_closes_who_connects(self) -> None:
        first, second = self.made("a"), self.made("b")
        first.start()
        self.assertEqual(first.kill(), -signal.SIGKILL)  # its port is nobody's now
        second.ports = (first.listen, "127.0.0.1:0")
        second.start("--join", first.peer, ready=False)
        second.wait_for("join.waits")
        host, port = first.listen.split(":")
        with socket.create_connection((host, int(port)), SECONDS) as client:
            self.assertEqual(client.recv(1), b"")
        first.ports = ("127.0.0.1:0", first.peer)
        first.start()
        self.assertEqual(second.wait_for("node.ready")["cluster"], first.cluster)

    def test_the_sample_configuration_is_taken(self) -> None:
        node = self.made("a")
        sample = pathlib.Path(__file__).resolve().parents[2] / "deploy" / "omend.yaml"
        self.assertEqual(node.start("--config", str(sample))["how"], "founded")
        self.assertEqual(node.stop(), 0)

    def test_bad_options_end_with_their_code_and_one_sentence(self) -> None:
        for options, code, sentence in (
            (["--dta", "x"], 64, "--dta is no option"),
            (["--weight", "0"], 64, "--weight: \"0\" is no number"),
            ([], 78, "data is missing"),
            (["--data", str(self.folder / "x"), "--listen", "0.0.0.0:0"], 78, "needs cluster-key, and api-keys"),
            (["--data", str(self.folder / "x"), "--roles", "router,builder", "--listen", "127.0.0.1:0", "--peer", "127.0.0.1:0"], 78,
             "who keeps no data founds no cluster"),
        ):
            done = subprocess.run([self.program, *options], capture_output=True, text=True, env={}, check=False, timeout=60)
            self.assertEqual(done.returncode, code)
            self.assertIn(sentence, done.stderr)
            self.assertEqual(done.stderr.count("\n"), 1)
        self.assertFalse((self.folder / "x").exists())


class Clients(Case):
    def keyed(self) -> pathlib.Path:
        """A node's file in which the key "root.s3cret" may do everything."""
        config = self.folder / "omend.yaml"
        digest = hashlib.sha256(b"s3cret").hexdigest()
        config.write_text(f"api-keys:\n  - name: root\n    role: admin\n    sha256: {digest}\n")
        return config

    def whole(self, client: Client, collection: str, copies: int) -> bool:
        shards = [row for row in client.call("shard.list")["shards"] if row["collection"] == collection]
        return bool(shards) and all(row["state"] == "open" and len(row["in_sync"]) == copies for row in shards)

    def make(self, nodes: list[Node]) -> None:
        client = self.client(nodes[1])
        self.change(client, "collection.create", name="docs", dimension=4, metric="l2", shards=4, replicas=3)
        self.until("the collection's copies are in sync", lambda: self.whole(client, "docs", 3))

    def write(self, node: Node, first: int, count: int) -> None:
        """Until it is acknowledged, as a client does that retries under one name."""
        ids = list(range(first, first + count))
        name = struct.pack(">QQ", int(time.time() * 1000) << 16 | 0x7000, 1 << 63 | first)
        end = time.monotonic() + SECONDS
        client = self.client(node)
        while True:
            try:
                answer = client.call("point.upsert", collection="docs", ids=ids, vectors=b"".join(map(vector, ids)), op_id=name,
                                     deadline_ms=1000)
                if not answer.get("failed"):
                    self.assertEqual(answer["count"], count)
                    return
            except RpcError as error:
                self.assertIn(error.name, ("BUSY", "TIMEOUT", "STALE_MAP"))
            self.assertLess(time.monotonic(), end, "a write is acknowledged in time")

    def count(self, node: Node, consistency: str = "strong") -> int:
        client = self.client(node)
        while True:
            try:
                return int(client.call("point.count", collection="docs", consistency=consistency, deadline_ms=5000)["count"])
            except RpcError as error:
                self.assertIn(error.name, ("BUSY", "TIMEOUT", "STALE_MAP"))

    def test_what_one_node_was_asked_every_node_answers(self) -> None:
        nodes = self.three()
        for number, node in enumerate(nodes):
            name = f"c{number}"
            made = self.change(self.client(node), "collection.create", name=name, dimension=4, metric="l2")
            self.assertEqual(made["name"], name)
            listed = [row["name"] for row in self.client(node).call("collection.list")["collections"]]
            self.assertIn(name, listed)  # at once where it was asked
        with self.assertRaisesRegex(RpcError, "EXISTS"):
            self.settled(self.client(nodes[2]), "collection.create", name="c0", dimension=4, metric="l2")
        members = self.client(nodes[0]).call("cluster.members")["members"]
        self.assertEqual({row["node"] for row in members}, {node.node for node in nodes})
        self.assertEqual({row["name"] for row in members}, {"a", "b", "c"})
        self.assertEqual(self.client(nodes[1]).call("cluster.info")["voters"], 3)

    def test_points_written_at_one_node_are_found_at_every_node(self) -> None:
        nodes = self.three()
        self.make(nodes)
        self.write(nodes[0], 0, 200)
        token = self.change(self.client(nodes[0]), "point.upsert", collection="docs", ids=[7], vectors=vector(7))["token"]
        for node in nodes:
            self.assertEqual(self.count(node), 200)
            hits = self.settled(self.client(node), "query.search", collection="docs", vector=vector(7), k=3, consistency="session",
                                after=token)["hits"]
            self.assertEqual((hits[0]["id"], hits[0]["distance"]), (7, 0.0))
            points = self.settled(self.client(node), "point.get", collection="docs", ids=[199, 200], consistency="strong",
                                  **{"with": ["vector"]})["points"]
            self.assertEqual(points[0]["vector"], vector(199))
            self.assertIsNone(points[1])

    def upsert(self, node: Node, collection: str, ids: list[int] | list[str]) -> str:
        """How it ended: a name of an error, or that all of it was done."""
        rows = b"".join(vector(row) for row in range(len(ids)))
        try:
            said = self.change(self.client(node), "point.upsert", collection=collection, ids=ids, vectors=rows)
        except RpcError as error:
            return error.name
        self.assertEqual((said["count"], said.get("failed", [])), (len(ids), []))
        return "DONE"

    def test_a_collection_has_one_kind_of_ids_in_all_its_shards_whichever_node_is_asked(self) -> None:
        nodes = self.three()
        self.make(nodes)
        texts = [f"t{row}" for row in range(8)]
        self.assertNotIn("id_kind", self.client(nodes[1]).call("collection.get", collection="docs"))
        self.assertEqual(self.upsert(nodes[0], "docs", [1]), "DONE")  # three of four shards have no point
        for node in nodes:
            self.assertEqual(self.upsert(node, "docs", texts), "ID_KIND")
            self.assertEqual(self.count(node), 1)
            self.assertEqual(self.client(node).call("collection.get", collection="docs")["id_kind"], "integer")
            said = self.settled(self.client(node), "query.batch", collection="docs", vectors=vector(0), k=1, result="matrix",
                                consistency="strong")
            self.assertEqual(struct.unpack("<q", said["ids"]), (1,))
        with self.assertRaisesRegex(RpcError, "holds integer ids; text ids were given"):
            self.client(nodes[2]).call("point.delete", collection="docs", ids=texts)
        self.assertEqual(self.upsert(nodes[2], "docs", list(range(8))), "DONE")

    def test_of_two_kinds_of_ids_at_once_one_wins_and_the_other_write_is_refused_whole(self) -> None:
        nodes = self.three()
        for number in range(12):
            name = f"c{number}"
            self.change(self.client(nodes[0]), "collection.create", name=name, dimension=4, metric="l2", shards=4, replicas=1)
            for node in nodes:
                self.until("all know of it", lambda node=node: any(
                    row["name"] == name for row in self.client(node).call("collection.list")["collections"]))  # noqa: B023
            asks = [(nodes[1 + number % 2], list(range(8))), (nodes[2 - number % 2], [f"t{row}" for row in range(8)])]
            with concurrent.futures.ThreadPoolExecutor(2) as pool:
                said = list(pool.map(lambda ask: self.upsert(ask[0], name, ask[1]), asks))  # noqa: B023
            self.assertEqual(sorted(said), ["DONE", "ID_KIND"])
            count = self.settled(self.client(nodes[0]), "point.count", collection=name, consistency="strong")["count"]
            self.assertEqual(count, 8)

    def test_a_killed_leader_and_primary_costs_no_acknowledged_write(self) -> None:
        nodes = self.three()
        self.make(nodes)
        self.write(nodes[0], 0, 100)
        self.assertEqual(nodes[0].kill(), -signal.SIGKILL)  # it founded the cluster, so it led
        self.write(nodes[1], 100, 100)
        self.assertEqual(self.count(nodes[2]), 200)
        nodes[0].start()
        client = self.client(nodes[1])
        self.until("the node that came back is in sync", lambda: self.whole(client, "docs", 3))
        self.assertEqual(self.count(nodes[0]), 200)

    def test_a_cluster_killed_as_a_whole_has_every_acknowledged_write(self) -> None:
        nodes = self.three()
        self.make(nodes)
        self.write(nodes[2], 0, 150)
        for node in nodes:
            node.signal(signal.SIGKILL)
        for node in nodes:
            node.wait()
        for node in nodes:
            node.start()
        for node in nodes:  # from the first answers on
            self.assertEqual(self.count(node, "eventual"), 150)
        for node in nodes:
            node.stands_at("meta.lease", boot="2")
        self.assertEqual(self.count(nodes[1]), 150)
        self.write(nodes[1], 150, 10)
        self.assertEqual(self.count(nodes[0]), 160)

    def test_a_node_alone_that_was_killed_shows_what_it_acknowledged_from_its_first_answer_on(self) -> None:
        alone = self.made("alone")
        alone.start()
        self.change(self.client(alone), "collection.create", name="docs", dimension=4, metric="l2", shards=4, replicas=1)
        for turn in range(5):
            self.write(alone, 200 * turn, 200)
            self.assertEqual(alone.kill(), -signal.SIGKILL)
            alone.start()
            self.assertEqual(self.count(alone, "eventual"), 200 * (turn + 1))

    def test_with_keys_nobody_comes_in_without_one_and_a_key_opens_what_it_is_for(self) -> None:
        config = self.keyed()
        node = self.made("a")
        node.start("--config", str(config))
        node.stands_at("meta.nodes", nodes="1", up="1")
        stranger = self.client(node)
        with self.assertRaisesRegex(RpcError, "AUTH"):
            stranger.call("collection.list")
        with self.assertRaisesRegex(RpcError, "AUTH"):
            self.client(node).call("system.hello", api_key="root.wrong")
        root = self.client(node)
        self.assertEqual(root.call("system.hello", api_key="root.s3cret")["cluster"], node.cluster)
        self.change(root, "collection.create", name="docs", dimension=4, metric="l2", replicas=1)
        self.change(root, "collection.create", name="other", dimension=4, metric="l2", replicas=1)
        key = self.new_key(root, name="reader", role="read", collections="do*")
        reader = self.client(node)
        reader.call("system.hello", api_key=key)
        self.assertEqual(reader.call("collection.get", collection="docs")["name"], "docs")
        for method, ask in (("collection.get", {"collection": "other"}), ("collection.drop", {"collection": "docs"}),
                            ("point.upsert", {"collection": "docs", "ids": [1], "vectors": vector(1)}),
                            ("query.search", {"collection": "other", "vector": vector(1), "k": 1})):
            with self.assertRaisesRegex(RpcError, "AUTH"):
                reader.call(method, **ask)
        self.change(root, "key.revoke", name="reader")
        with self.assertRaisesRegex(RpcError, "AUTH"):
            self.client(node).call("system.hello", api_key=key)

    def test_a_key_that_is_revoked_or_over_ends_its_open_sessions_on_every_node_and_no_others(self) -> None:
        config = self.keyed()
        nodes = [self.made(name) for name in ("a", "b")]
        nodes[0].start("--config", str(config))
        nodes[1].start("--config", str(config), "--join", nodes[0].peer)
        nodes[1].stands_at("meta.nodes", nodes="2", up="2")

        def session(node: Node, key: str) -> Any:
            client = self.client(node)
            self.until("the node has heard of the key", lambda: said(client, "system.hello", api_key=key) == "OK")
            return client

        def said(client: Any, method: str, **ask: Any) -> str:
            try:
                client.call(method, **ask)
            except RpcError as error:
                return error.name
            return "OK"

        def ends(client: Any, name: str) -> None:
            self.until(f"the sessions of {name} have ended", lambda: said(client, "collection.list") == "AUTH")
            with self.assertRaisesRegex(RpcError, f'collection.list: the key "{name}" was revoked, or its time is over'):
                client.call("collection.list")

        roots = [session(node, "root.s3cret") for node in nodes]
        keys = {name: self.new_key(roots[0], name=name, role="read") for name in ("stays", "goes")}
        stay, go = ([session(node, keys[name]) for node in nodes] for name in ("stays", "goes"))
        for client in stay + go:
            self.assertEqual(said(client, "collection.list"), "OK")
        self.change(roots[0], "key.revoke", name="goes")
        for client in go:
            ends(client, "goes")
        soon = int(time.time() * 1000) + 2000
        brief = self.new_key(roots[0], name="brief", role="read", expires_ms=soon)
        client = self.client(nodes[0])
        if said(client, "system.hello", api_key=brief) == "OK":  # which it is not where this machine stood still for so long
            ends(client, "brief")
            self.assertGreaterEqual(time.time() * 1000, soon)
        for client in stay + roots:
            self.assertEqual(said(client, "collection.list"), "OK")
        self.assertEqual(said(go[1], "system.hello", api_key=keys["stays"]), "OK")
        self.assertEqual(said(go[1], "collection.list"), "OK")

    def test_a_node_that_has_just_started_says_busy_and_not_auth_to_a_key_that_was_made_meanwhile(self) -> None:
        config = self.keyed()
        leader, late = self.made("a"), self.made("b")
        leader.start("--config", str(config))
        late.start("--join", leader.peer)
        late.stands_at("meta.nodes", nodes="2", up="2")
        root = self.client(leader)
        root.call("system.hello", api_key="root.s3cret")
        late.kill()
        key = self.new_key(root, name="k1", role="read")
        leader.signal(signal.SIGSTOP)  # so that nobody tells the other what came meanwhile
        try:
            late.start()
            for said in (key, "k1.bad", "k2.bad"):  # it cannot tell one from the other
                with self.assertRaisesRegex(RpcError, "BUSY: system.hello: this node has just started"):
                    self.client(late).call("system.hello", api_key=said)
        finally:
            leader.signal(signal.SIGCONT)

        def answer(said: str) -> str:
            try:
                self.client(late).call("system.hello", api_key=said)
            except RpcError as error:
                return error.name
            return "OK"

        def later(got: str, wanted: str) -> bool:
            self.assertIn(got, ("BUSY", wanted))
            return got == wanted

        for said, comes in ((key, "OK"), ("k1.bad", "AUTH"), ("k2.bad", "AUTH")):
            self.until(f"{said} is told {comes}", lambda said=said, comes=comes: later(answer(said), comes))

    def test_where_nobody_is_asked_for_a_key_none_is_made_and_none_is_taken(self) -> None:
        node = self.made("a")
        node.start()
        node.stands_at("meta.nodes", nodes="1", up="1")
        client = self.client(node)
        for role in ("read", "admin"):
            with self.assertRaisesRegex(RpcError, "CONFLICT: key.create: .* api-keys"):
                self.settled(client, "key.create", name="k1", role=role)
        self.assertEqual(client.call("key.list"), {"keys": []})
        with self.assertRaisesRegex(RpcError, "AUTH: system.hello: api_key is not a valid one"):
            client.call("system.hello", api_key="k1.bad")
        self.assertEqual(client.call("system.hello")["cluster"], node.cluster)

    def test_a_key_that_was_made_counts_on_every_node_whatever_its_file_says(self) -> None:
        config = self.keyed()
        strict, lax = self.made("a"), self.made("b")
        strict.start("--config", str(config))
        lax.start("--join", strict.peer)
        lax.stands_at("meta.nodes", nodes="2", up="2")
        open_before, greeted_before = self.client(lax), self.client(lax)
        greeted_before.call("system.hello")
        for client in (open_before, greeted_before):  # nothing says yet that anybody is to be kept out
            client.call("collection.list")
        root = self.client(strict)
        root.call("system.hello", api_key="root.s3cret")
        key = self.new_key(root, name="k1", role="admin")

        def keeps_out(*before: str) -> bool:
            try:
                self.client(lax).call("key.list")
            except RpcError as error:
                self.assertIn(error.name, ("AUTH", *before))
                return error.name == "AUTH"
            return False

        self.until("the other node has heard of the key", keeps_out)
        for client in (open_before, greeted_before):
            with self.assertRaisesRegex(RpcError, "AUTH: collection.list: system.hello with an api_key comes first"):
                client.call("collection.list")
        for wrong in ("k1.bad", "root.s3cret"):  # the second is in another node's file, and in no map
            with self.assertRaisesRegex(RpcError, "AUTH"):
                open_before.call("system.hello", api_key=wrong)
        with self.assertRaisesRegex(RpcError, "AUTH: system.hello: api_key is missing"):
            open_before.call("system.hello")
        open_before.call("system.hello", api_key=key)
        self.assertEqual([row["name"] for row in open_before.call("key.list")["keys"]], ["k1"])
        lax.kill()
        lax.start()
        # Until it has heard of the cluster it says BUSY to everybody.
        self.until("it keeps out who has none after a start, too", lambda: keeps_out("BUSY"))
        again = self.client(lax)
        again.call("system.hello", api_key=key)

        def revokes() -> bool:
            try:
                again.call("key.revoke", name="k1")
            except RpcError as error:
                self.assertIn(error.name, ("BUSY", "NOT_FOUND", "AUTH"))  # nobody leads yet; an earlier try did it
                return error.name != "BUSY"
            return True

        self.until("the key is revoked", revokes)
        self.until("with the last key gone it asks for none", lambda: not keeps_out())
        self.assertEqual(self.client(lax).call("collection.list"), {"collections": []})


if __name__ == "__main__":
    NodeCase.program = sys.argv.pop(1)
    unittest.main()
