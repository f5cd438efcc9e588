"""tests/system/cluster.py -- a cluster of real nodes for a test, and what must hold of it when the faults are over.

Other nodes' states cannot be waited for but by asking again; `until` is the only place that does.
"""
from __future__ import annotations

import contextlib
import hashlib
import os
import pathlib
import shutil
import signal
import tempfile
import time
import unittest
from collections.abc import Callable, Iterable
from typing import Any

import omendb

import second_opinion
import workload
from histories import Call, faults_of
from omend_node import SECONDS, Node

COLLECTION = "points"
PAUSE_SECONDS = 0.05  # between two looks at a cluster
MEMBERS_SECONDS = 15.0  # until all nodes are alive to the one that is asked
WHOLE_SECONDS = 60.0  # until all copies are back
LOG_LINES = 40  # of a node, in a report
QUIET_SECONDS = 75.0  # until nothing is open that a fault wanted: a snapshot that was sent stays for a minute, for others who might want it
CONNECTIONS = 4  # of two nodes: two lanes, each in two directions
GROWTH_KB = 16 * 1024  # of 5 MB; 40 rounds of the soak took 6 MB more
COUNTS = 8  # through each node, who asks one copy of each shard, and another one the next time
WRITE_KB = 0.5  # of pages that the heap has touched: 0.9 a write at first, 0.14 after 36,000; of what is in use 0.07, the op_ids of ten minutes


def until(what: str, holds: Callable[[], Any], seconds: float = SECONDS, instead: Callable[[], Any] = lambda: "") -> Any:
    """Asks until it holds; gives what it then says. What a cluster cannot answer now does not hold. `instead` says what is, for a report."""
    end = time.monotonic() + seconds
    why: object = None
    while True:
        try:
            found = holds()
            if found:
                return found
        except omendb.OmenError as error:
            why = error
        if time.monotonic() > end:
            raise AssertionError(f"not within {seconds} s: {what} ({why}) {instead()}")
        time.sleep(PAUSE_SECONDS)


class ClusterCase(unittest.TestCase):
    """A cluster that a test has left whole is there for the next one: to found one takes longer than to kill a node of it."""

    program = ""
    seed = 1
    shards = 4
    copies = 3  # of a shard, and as many votes, as far as there are nodes: omend's defaults
    voters = 3
    beside = 0  # nodes that have no data, to which the others have connections as well
    api_key: str | None = None  # of an administrator, in the file of every node
    kept: ClusterCase | None = None  # whose cluster it is

    @classmethod
    def setUpClass(cls) -> None:
        cls.addClassCleanup(cls.give_up)

    @classmethod
    def give_up(cls) -> None:
        kept, cls.kept = cls.kept, None
        if kept is not None:
            kept.ends.close()

    def setUp(self) -> None:
        self.nodes: list[Node] = []
        self.dataless: list[Node] = []  # members as long as they run: routers, builders
        self.ends = contextlib.ExitStack()  # of the cluster
        self.addCleanup(self._end)
        self.calls: dict[int, list[Call]] = {}
        self.loads = 0  # that were begun
        self.opened: dict[str, int] = {}
        self.written = 0  # by clients of this cluster, in all its tests
        self.resident: dict[str, int] = {}

    def _end(self) -> None:
        if os.environ.get("OMEN_LOGS"):
            for node in self.nodes:
                pathlib.Path(os.environ["OMEN_LOGS"], f"{self.id()}.{node.name}.log").write_text(node.log())
        if self.kept is not self:
            self.ends.close()

    def end_nodes(self) -> None:
        for node in self.nodes:
            if node.runs():
                node.signal(signal.SIGCONT)
                node.kill()

    # ---- making one ----

    def node(self, name: str) -> Node:
        """One that is not started yet."""
        made = Node(self.program, self.folder, name)
        made.options = ["--metadata-voters", str(self.voters)]
        return made

    def found(self, count: int = 3) -> None:
        """A cluster with a collection of `copies` copies."""
        if self.kept is not None and len(self.kept.nodes) == count:
            was, type(self).kept = self.kept, None
            self.ends, self.folder, self.nodes, self.client, self.points = was.ends, was.folder, was.nodes, was.client, was.points
            self.opened, self.resident, self.written = was.opened, was.resident, was.written
            self.ends.callback(self.end_nodes)  # of which there may be others until then
            self.forget()
            return
        self.give_up()
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="omendb-test-"))
        self.ends.callback(shutil.rmtree, self.folder, ignore_errors=True)
        self.nodes = [self.node(name) for name in "abcdefg"[:count]]
        if self.api_key is not None:
            self.ask_for_keys(self.api_key)
        self.ends.callback(self.end_nodes)
        self.nodes[0].start()
        for node in self.nodes[1:]:
            node.start("--join", self.nodes[0].peer)
        for node in self.nodes:
            node.stands_at("meta.nodes", nodes=str(count), up=str(count), voters=str(min(count, self.voters)))
        self.client = self.ends.enter_context(omendb.connect(self.address, api_key=self.api_key, timeout=10.0))
        self.points = self.client.create_collection(
            COLLECTION, workload.DIMENSION, metric="l2", shards=self.shards, replicas=min(count, self.copies), quantization=None
        )
        self.until_whole()
        workload.fill(self.points)

    def ask_for_keys(self, api_key: str) -> None:
        name, _, secret = api_key.partition(".")
        config = self.folder / "omend.yaml"
        digest = hashlib.sha256(secret.encode()).hexdigest()
        config.write_text(f"api-keys:\n  - name: {name}\n    role: admin\n    sha256: {digest}\n")
        for node in self.nodes:
            node.options += ["--config", str(config)]

    @property
    def address(self) -> str:
        return self.address_of(self.nodes)

    @staticmethod
    def address_of(nodes: Iterable[Node]) -> str:
        return "omen://" + ",".join(node.listen for node in nodes)

    def others(self, *nodes: Node) -> list[Node]:
        return [node for node in self.nodes if node not in nodes]

    def load(self, nodes: Iterable[Node] = (), **options: Any) -> workload.Workload:
        """Clients (of these nodes; of all) at work. What they saw is checked together with all that was seen before, by `check_all`."""
        self.loads += 1
        return workload.Workload(self.address_of(nodes or self.nodes), COLLECTION, self.seed * 100 + self.loads, self.calls, self.api_key, **options)

    def forget(self) -> None:
        """What was seen so far was checked; a new history begins with keys that are not there."""
        strong = self.client.collection(COLLECTION, consistency="strong")
        until("the keys are deleted", lambda: strong.delete(list(range(workload.KEYS))) >= 0)
        self.calls = {}

    def client_of(self, *nodes: Node) -> omendb.client.Client:
        made = omendb.connect(self.address_of(nodes), api_key=self.api_key, timeout=5.0)
        self.addCleanup(made.close)
        return made

    # ---- looking at it ----

    def is_whole(self, collection: str = COLLECTION) -> bool:
        """Every shard has all its copies, each on a node that is there."""
        rows = self.client.shards(collection)
        copies, there = min(len(self.nodes), self.copies), {node.node for node in self.nodes if node.runs()}
        return len(rows) >= self.shards and all(
            row["state"] == "open" and len(row["in_sync"]) == copies == len(row["replicas"]) and set(row["in_sync"]) <= there for row in rows
        )

    def is_even(self) -> bool:
        """No node has two copies more than another: none will be moved for that."""
        having = [node for row in self.client.shards(COLLECTION) for node in row["in_sync"]]
        counts = [having.count(node.node) for node in self.nodes]
        return max(counts) - min(counts) <= 1

    def until_whole(self, collection: str = COLLECTION) -> None:
        """Where all nodes run they are alive to the one that is asked, soon; and all copies are back."""
        if all(node.runs() for node in self.nodes):
            self.until_members()
        until("every shard has all its copies in sync", lambda: self.is_whole(collection), WHOLE_SECONDS, self.as_seen)

    def as_seen(self) -> str:
        """What is where, and the end of what each node said."""
        said = [f"{node.name} ({node.node}), {'runs' if node.runs() else 'ended'}, said:\n{''.join(node.log().splitlines(True)[-LOG_LINES:])}"
                for node in self.nodes]
        try:
            rows: list[Any] = [*self.client.shards(COLLECTION), *self.client.members()]
        except omendb.OmenError as error:  # what the nodes said is all the more wanted
            rows = [error]
        return "\n".join(["", *map(str, rows), *said])

    def until_members(self) -> None:
        there = {node.node for node in [*self.nodes, *(node for node in self.dataless if node.runs())]}
        until("all nodes are alive, and no others",
              lambda: {row["node"] for row in self.client.members() if row["state"] == "alive"} == there, MEMBERS_SECONDS)

    def primary(self) -> Node:
        """The node that is primary of most shards."""
        rows = until("every shard has a primary", lambda: [row["primary"] for row in self.client.shards(COLLECTION)])
        return self.by_id(max(sorted(set(rows)), key=rows.count))

    def leader(self) -> Node:
        return self.by_id(until("somebody leads the metadata", lambda: self.client.info().get("leader")))

    def by_id(self, node: str) -> Node:
        return next(each for each in self.nodes if each.node == node)

    # ---- what must hold afterwards ----

    def check_all(self) -> None:
        """Nothing that was acknowledged is lost, nothing came back, all copies are there and alike, and no node keeps what it does not need.

        What nodes need is seen when a cluster is checked for the first time."""
        self.until_whole()
        self.check_count()
        self.assertEqual(faults_of(self.calls), [])
        if second_opinion.is_there():
            self.assertEqual(second_opinion.faults_of(self.calls), [])
        self.check_sums()
        self.check_counts_of_copies()
        self.written += sum(call.kind != "get" for calls in self.calls.values() for call in calls)
        if self.opened.keys() != {node.name for node in self.nodes}:
            self.note_resources()
        self.check_resources()
        type(self).kept = self

    def read_keys(self, strong: Any) -> dict[int, int]:
        """What each key holds that is there. The reads are part of the history."""
        found: dict[int, int] = {}
        for key in range(workload.KEYS):
            begun = time.monotonic()
            point = until("a strong read is answered", lambda key=key: (strong.get(key),))[0]
            if point is not None:
                found[key] = point.payload["v"]
            self.calls.setdefault(key, []).append(Call("get", begun, time.monotonic(), found.get(key), who="the end"))
        return found

    def check_count(self) -> None:
        """As many points as keys are there. A write that its client gave up may be done as late as this: then nothing is said of the count, and
        all is read once more."""
        strong = self.client.collection(COLLECTION, consistency="strong")

        def counted() -> tuple[dict[int, int], int] | None:
            before = self.read_keys(strong)
            count = until("a strong count is answered", strong.count)
            after = self.read_keys(strong)
            return (before, count) if before == after else None

        present, count = until("nothing is written any more", counted)
        self.assertEqual(count, len(present) + workload.BASE_COUNT, present)

    def check_counts_of_copies(self) -> None:
        """Whichever copies are asked, so that one that is no primary now is seen to be wrong before it is."""
        strong = self.client.collection(COLLECTION, consistency="strong")
        for node in self.nodes:
            with omendb.connect(self.address_of([node]), api_key=self.api_key, timeout=5.0) as client:
                points = client.collection(COLLECTION, consistency="eventual")
                for _ in range(COUNTS):
                    until(f"copies asked through {node.name} have as many points", lambda points=points: points.count() == strong.count(),
                          instead=lambda points=points: (points.count(), strong.count()))

    def check_sums(self, collection: str = COLLECTION) -> None:
        def compared() -> list[dict[str, Any]]:
            rows = self.client.call("shard.verify", {"collection": collection})["shards"]
            copies = min(len(self.nodes), self.copies)
            return rows if len(rows) >= self.shards and all(len(row["copies"]) == copies for row in rows) else []

        def as_said() -> str:
            try:
                said = str(self.client.call("shard.verify", {"collection": collection}))
            except omendb.OmenError as error:
                said = str(error)
            return said + self.as_seen()

        for shard in until("all copies are compared", compared, instead=as_said):
            self.assertEqual(len({copy["checksum"] for copy in shard["copies"]}), 1, shard)

    # ---- what a process has ----

    @staticmethod
    def descriptors(node: Node) -> tuple[int, int]:
        """Of connections that it has with other nodes, and of all else but clients, who may have gone to another node."""
        assert node.process is not None
        process = pathlib.Path(f"/proc/{node.process.pid}")
        rows = [line.split() for line in (process / "net/tcp").read_text().splitlines()[1:]]
        established = {f"socket:[{row[9]}]": int(row[1].split(":")[1], 16) for row in rows if row[3] == "01"}  # to the port on its side
        ports, others = [], 0
        for descriptor in os.listdir(process / "fd"):
            with contextlib.suppress(FileNotFoundError):  # closed meanwhile
                port = established.get(os.readlink(process / "fd" / descriptor))
                ports += [] if port is None else [port]
                others += port is None
        return sum(port != int(node.listen.rsplit(":", 1)[1]) for port in ports), others

    @staticmethod
    def opened_by(node: Node) -> list[str]:
        """What each descriptor is, for a report: a file's name, or a connection with its state (of <net/tcp_states.h>) and both ends."""
        assert node.process is not None
        process = pathlib.Path(f"/proc/{node.process.pid}")
        rows = [line.split() for line in (process / "net/tcp").read_text().splitlines()[1:]]
        connections = {f"socket:[{row[9]}]": f"tcp {row[3]} {row[1]} {row[2]}" for row in rows}
        found = []
        for descriptor in os.listdir(process / "fd"):
            with contextlib.suppress(FileNotFoundError):  # closed meanwhile
                what = os.readlink(process / "fd" / descriptor)
                found.append(f"{descriptor} {connections.get(what, what)}")
        return sorted(found, key=lambda what: what.split(" ", 1)[1])

    @staticmethod
    def resident_kb(node: Node) -> int:
        """But for pages of files, which are the system's to keep or give up."""
        assert node.process is not None
        status = pathlib.Path(f"/proc/{node.process.pid}/status").read_text()
        return int(status.split("RssAnon:")[1].split()[0])

    def note_resources(self) -> None:
        self.opened = {node.name: self.descriptors(node)[1] for node in self.nodes}
        self.resident = {node.name: self.resident_kb(node) for node in self.nodes}

    def check_resources(self) -> None:
        """As many descriptors as were noted, and hardly more memory, once connections and snapshots have ended."""
        connections = CONNECTIONS * (len(self.nodes) - 1 + self.beside)

        def no_more() -> bool:
            now = {node.name: self.descriptors(node) for node in self.nodes}
            return all(nodes <= connections and others <= self.opened[name] for name, (nodes, others) in now.items())

        until(f"no node has more descriptors than {self.opened} and {connections} connections", no_more, QUIET_SECONDS,
              lambda: {node.name: (self.descriptors(node), self.opened_by(node)) for node in self.nodes})
        for node in self.nodes:
            self.assertLess(self.resident_kb(node), self.resident[node.name] + GROWTH_KB + WRITE_KB * self.written, f"{node.name} after {self.written} writes")
