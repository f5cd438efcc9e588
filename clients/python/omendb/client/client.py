"""The blocking client: a cluster's nodes, and what is asked of the cluster itself."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any, Final, Self, TypeVar

from ..errors import ClosedError, OmenError, UnreachableError
from . import asks
from .address import Node, Ring, parse
from .collection import Collection
from .connection import Connection, Pending
from .course import Call, Course, TimeUp
from .requests import Limits, Requests

T = TypeVar("T")

WINDOW: Final = 16  # requests of one call that are on their way at once


class Client:
    """A cluster. Any number of threads may share one; it has a connection to each node, made when it is needed."""

    def __init__(self, address: str, api_key: str | None = None, timeout: float = 10.0) -> None:
        self._address = address
        self._timeout = asks.seconds(timeout)
        self._hello = asks.hello(api_key)
        self._limits = Limits()
        self._ring = Ring(parse(address))
        self._connections: dict[Node, Connection] = {}
        self._locks = {node: threading.Lock() for node in self._ring.nodes}
        self._closed = False

    # ---- connections ----

    def open(self) -> Self:
        """Connects to the first node that can be reached; raises an UnreachableError where there is none."""
        deadline = time.monotonic() + self._timeout
        reasons = []
        for _ in self._ring.nodes:
            try:
                self._connection(deadline)
                return self
            except UnreachableError as fault:
                reasons.append(str(fault))
            except TimeUp:
                reasons.append("the time was up")
        raise UnreachableError(f"no node of {self._address} could be reached: {'; '.join(reasons)}")

    def _connection(self, deadline: float) -> Connection:
        node = self._ring.pick()
        with self._locks[node]:
            if self._closed:
                raise ClosedError("the client is closed")
            known = self._connections.get(node)
            if known is not None and not known.closed:
                return known
            try:
                made = Connection(node, deadline, self._hello)
            except UnreachableError:
                self._ring.failed(node)
                raise
            self._limits.learn(made.welcome)
            self._ring.reached(node)
            self._connections[node] = made
            return made

    # ---- requests ----

    def _begin(self, call: Call[Any], course: Course) -> tuple[Connection, Pending]:
        while True:
            try:
                connection = self._connection(course.deadline)
                return connection, connection.begin(call.params, course, course.deadline)
            except TimeUp:
                raise course.timed_out(sent=False) from None
            except UnreachableError as fault:
                time.sleep(course.failed(fault, sent=False))

    def _end(self, call: Call[T], course: Course, begun: tuple[Connection, Pending]) -> T:
        while True:
            connection, pending = begun
            try:
                return call.decode(connection.wait(pending, course.deadline))
            except TimeUp:
                raise course.timed_out(sent=True) from None
            except OmenError as fault:
                try:
                    pause = course.failed(fault)
                except OmenError as final:
                    if call.refused is None:
                        raise
                    return call.refused(final)
            time.sleep(pause)
            begun = self._begin(call, course)

    def run(self, call: Call[T], timeout: float | None = None) -> T:
        course = Course(call, self._timeout if timeout is None else asks.seconds(timeout))
        return self._end(call, course, self._begin(call, course))

    def run_all(self, calls: Sequence[Call[T]], timeout: float | None = None) -> list[T]:
        """The results in the order of the calls, of which several are on their way at once."""
        seconds = self._timeout if timeout is None else asks.seconds(timeout)
        under_way: deque[tuple[Call[T], Course, tuple[Connection, Pending]]] = deque()
        found = []
        try:
            for call in calls:
                if len(under_way) == WINDOW:
                    found.append(self._end(*under_way.popleft()))
                course = Course(call, seconds)
                under_way.append((call, course, self._begin(call, course)))
            while under_way:
                found.append(self._end(*under_way.popleft()))
        finally:
            for _, _, (connection, pending) in under_way:
                connection.forget(pending)
        return found

    def call(self, method: str, params: Mapping[str, Any] | None = None, timeout: float | None = None) -> Any:
        """Any method of the protocol, as it is: the result's map. Asked again only where nothing was done."""
        return self.run(asks.plain(method, params), timeout)

    # ---- collections ----

    def collection(self, name: str, consistency: str = "session") -> Collection:
        """A handle on a collection or an alias, which is not asked whether it is there.

        `consistency`: "session" reads what this handle has written, "strong" what anybody has written, "eventual" what
        any copy has.
        """
        return Collection(self, Requests(asks.name_of(name), self._limits, consistency))

    def create_collection(
        self,
        name: str,
        dimension: int,
        metric: str = "cosine",
        dtype: str = "f32",
        shards: int | None = None,
        replicas: int | None = None,
        min_insync: int | None = None,
        m: int | None = None,
        ef_construction: int | None = None,
        quantization: str | None = "int8",
        if_not_exists: bool = False,
    ) -> Collection:
        """Makes a collection; what is None is the server's choice. `quantization=None` is none."""
        asked = {
            "name": name, "dimension": dimension, "metric": metric, "dtype": dtype, "shards": shards,
            "replicas": replicas, "min_insync": min_insync, "m": m, "ef_construction": ef_construction,
            "quantization": "none" if quantization is None else quantization, "if_not_exists": if_not_exists or None,
        }  # fmt: skip
        self.run(asks.once("collection.create", asked))
        return self.collection(name)

    def drop_collection(self, name: str, if_exists: bool = False) -> None:
        """The points with it, and its aliases."""
        self.run(asks.once("collection.drop", {"collection": name, "if_exists": if_exists or None}))

    def update_collection(
        self, name: str, replicas: int | None = None, min_insync: int | None = None
    ) -> dict[str, Any]:
        """How many copies there are of each shard, and how many must have a write."""
        asked = {"collection": name, "replicas": replicas, "min_insync": min_insync}
        return self.run(asks.once("collection.update", asked))

    def collections(self) -> list[dict[str, Any]]:
        """All of them, as `Collection.info` has one."""
        return self.run(asks.rows("collection.list", "collections"))

    def set_alias(self, alias: str, collection: str) -> None:
        """A name for a collection, or another collection for the name."""
        self.run(asks.once("alias.set", {"alias": alias, "collection": collection}))

    def drop_alias(self, alias: str) -> None:
        """The collection stays."""
        self.run(asks.once("alias.drop", {"alias": alias}))

    def aliases(self) -> dict[str, str]:
        """Collections by alias."""
        return {row["alias"]: row["collection"] for row in self.run(asks.rows("alias.list", "aliases"))}

    # ---- the cluster ----

    def ping(self) -> float:
        """Seconds that a node took to answer."""
        begun = time.monotonic()
        self.run(asks.plain("system.ping"))
        return time.monotonic() - begun

    def health(self) -> dict[str, Any]:
        """Of one node: whether it serves, and why not."""
        return self.run(asks.plain("system.health"))

    def info(self) -> dict[str, Any]:
        """Of the cluster: its nodes, shards, and whether all of them are well."""
        return self.run(asks.plain("cluster.info"))

    def members(self) -> list[dict[str, Any]]:
        """Who is alive, as one node sees it."""
        return self.run(asks.rows("cluster.members", "members"))

    def nodes(self) -> list[dict[str, Any]]:
        """Who may hold shards, and what each holds."""
        return self.run(asks.rows("node.list", "nodes"))

    def shards(self, collection: str | None = None) -> list[dict[str, Any]]:
        """Where they are: of one collection, or of all."""
        return self.run(asks.rows("shard.list", "shards", {"collection": collection}))

    def jobs(self) -> list[dict[str, Any]]:
        """What goes on by itself: copies that move, shards that split."""
        return self.run(asks.rows("job.list", "jobs"))

    def create_key(self, name: str, role: str, collections: str = "*", expires_ms: int | None = None) -> str:
        """An API key, which is said once. `role`: read, write, manage or admin; `collections`: a glob of names."""
        asked = {"name": name, "role": role, "collections": collections, "expires_ms": expires_ms}
        return str(self.run(asks.once("key.create", asked))["api_key"])

    def keys(self) -> list[dict[str, Any]]:
        """Names and roles; the keys themselves are stored nowhere."""
        return self.run(asks.rows("key.list", "keys"))

    def revoke_key(self, name: str) -> None:
        """Who says it is refused from now on."""
        self.run(asks.once("key.revoke", {"name": name}))

    # ---- the end ----

    @property
    def closed(self) -> bool:
        return self._closed

    def close(self) -> None:
        """What is under way fails. Twice is as good as once."""
        self._closed = True
        for connection in list(self._connections.values()):
            connection.close("the client was closed")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, type: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<omendb.Client {self._address}{' (closed)' if self._closed else ''}>"
