"""The client for asyncio: as client.py, but for the waiting."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any, Self, TypeVar

from ..errors import ClosedError, OmenError, UnreachableError
from . import asks
from .address import Node, Ring, parse
from .async_collection import AsyncCollection
from .async_connection import AsyncConnection
from .client import WINDOW
from .course import Call, Course, TimeUp
from .requests import Limits, Requests

T = TypeVar("T")


class AsyncClient:
    """A cluster, for the tasks of one event loop; it has a connection to each node, made when it is needed."""

    def __init__(self, address: str, api_key: str | None = None, timeout: float = 10.0) -> None:
        self._address = address
        self._timeout = asks.seconds(timeout)
        self._hello = asks.hello(api_key)
        self._limits = Limits()
        self._ring = Ring(parse(address))
        self._connections: dict[Node, AsyncConnection] = {}
        self._locks = {node: asyncio.Lock() for node in self._ring.nodes}
        self._closed = False

    # ---- connections ----

    async def open(self) -> Self:
        """Connects to the first node that can be reached; raises an UnreachableError where there is none."""
        deadline = time.monotonic() + self._timeout
        reasons = []
        for _ in self._ring.nodes:
            try:
                await self._connection(deadline)
                return self
            except UnreachableError as fault:
                reasons.append(str(fault))
            except TimeUp:
                reasons.append("the time was up")
        raise UnreachableError(f"no node of {self._address} could be reached: {'; '.join(reasons)}")

    async def _connection(self, deadline: float) -> AsyncConnection:
        node = self._ring.pick()
        async with self._locks[node]:
            if self._closed:
                raise ClosedError("the client is closed")
            known = self._connections.get(node)
            if known is not None and not known.closed:
                return known
            try:
                made = await AsyncConnection.open(node, deadline, self._hello)
            except UnreachableError:
                self._ring.failed(node)
                raise
            self._limits.learn(made.welcome)
            self._ring.reached(node)
            self._connections[node] = made
            return made

    # ---- requests ----

    async def run(self, call: Call[T], timeout: float | None = None) -> T:
        course = Course(call, self._timeout if timeout is None else asks.seconds(timeout))
        while True:
            sent = False
            try:
                connection = await self._connection(course.deadline)
                sent = True
                return call.decode(await connection.ask(call.params, course, course.deadline))
            except TimeUp:
                raise course.timed_out(sent) from None
            except OmenError as fault:
                try:
                    pause = course.failed(fault, sent)
                except OmenError as final:
                    if call.refused is None:
                        raise
                    return call.refused(final)
            await asyncio.sleep(pause)

    async def run_all(self, calls: Sequence[Call[T]], timeout: float | None = None) -> list[T]:
        """The results in the order of the calls, of which several are on their way at once."""
        window = asyncio.Semaphore(WINDOW)

        async def one(call: Call[T]) -> T:
            async with window:
                return await self.run(call, timeout)

        tasks = [asyncio.ensure_future(one(call)) for call in calls]
        try:
            return [await task for task in tasks]
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def call(self, method: str, params: Mapping[str, Any] | None = None, timeout: float | None = None) -> Any:
        """Any method of the protocol, as it is: the result's map. Asked again only where nothing was done."""
        return await self.run(asks.plain(method, params), timeout)

    # ---- collections ----

    def collection(self, name: str, consistency: str = "session") -> AsyncCollection:
        """A handle on a collection or an alias, which is not asked whether it is there.

        `consistency`: "session" reads what this handle has written, "strong" what anybody has written, "eventual" what
        any copy has.
        """
        return AsyncCollection(self, Requests(asks.name_of(name), self._limits, consistency))

    async def create_collection(
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
    ) -> AsyncCollection:
        """Makes a collection; what is None is the server's choice. `quantization=None` is none."""
        asked = {
            "name": name, "dimension": dimension, "metric": metric, "dtype": dtype, "shards": shards,
            "replicas": replicas, "min_insync": min_insync, "m": m, "ef_construction": ef_construction,
            "quantization": "none" if quantization is None else quantization, "if_not_exists": if_not_exists or None,
        }  # fmt: skip
        await self.run(asks.once("collection.create", asked))
        return self.collection(name)

    async def drop_collection(self, name: str, if_exists: bool = False) -> None:
        """The points with it, and its aliases."""
        await self.run(asks.once("collection.drop", {"collection": name, "if_exists": if_exists or None}))

    async def update_collection(
        self, name: str, replicas: int | None = None, min_insync: int | None = None
    ) -> dict[str, Any]:
        """How many copies there are of each shard, and how many must have a write."""
        asked = {"collection": name, "replicas": replicas, "min_insync": min_insync}
        return await self.run(asks.once("collection.update", asked))

    async def collections(self) -> list[dict[str, Any]]:
        """All of them, as `Collection.info` has one."""
        return await self.run(asks.rows("collection.list", "collections"))

    async def set_alias(self, alias: str, collection: str) -> None:
        """A name for a collection, or another collection for the name."""
        await self.run(asks.once("alias.set", {"alias": alias, "collection": collection}))

    async def drop_alias(self, alias: str) -> None:
        """The collection stays."""
        await self.run(asks.once("alias.drop", {"alias": alias}))

    async def aliases(self) -> dict[str, str]:
        """Collections by alias."""
        return {row["alias"]: row["collection"] for row in await self.run(asks.rows("alias.list", "aliases"))}

    # ---- the cluster ----

    async def ping(self) -> float:
        """Seconds that a node took to answer."""
        begun = time.monotonic()
        await self.run(asks.plain("system.ping"))
        return time.monotonic() - begun

    async def health(self) -> dict[str, Any]:
        """Of one node: whether it serves, and why not."""
        return await self.run(asks.plain("system.health"))

    async def info(self) -> dict[str, Any]:
        """Of the cluster: its nodes, shards, and whether all of them are well."""
        return await self.run(asks.plain("cluster.info"))

    async def members(self) -> list[dict[str, Any]]:
        """Who is alive, as one node sees it."""
        return await self.run(asks.rows("cluster.members", "members"))

    async def nodes(self) -> list[dict[str, Any]]:
        """Who may hold shards, and what each holds."""
        return await self.run(asks.rows("node.list", "nodes"))

    async def shards(self, collection: str | None = None) -> list[dict[str, Any]]:
        """Where they are: of one collection, or of all."""
        return await self.run(asks.rows("shard.list", "shards", {"collection": collection}))

    async def jobs(self) -> list[dict[str, Any]]:
        """What goes on by itself: copies that move, shards that split."""
        return await self.run(asks.rows("job.list", "jobs"))

    async def create_key(self, name: str, role: str, collections: str = "*", expires_ms: int | None = None) -> str:
        """An API key, which is said once. `role`: read, write, manage or admin; `collections`: a glob of names."""
        asked = {"name": name, "role": role, "collections": collections, "expires_ms": expires_ms}
        return str((await self.run(asks.once("key.create", asked)))["api_key"])

    async def keys(self) -> list[dict[str, Any]]:
        """Names and roles; the keys themselves are stored nowhere."""
        return await self.run(asks.rows("key.list", "keys"))

    async def revoke_key(self, name: str) -> None:
        """Who says it is refused from now on."""
        await self.run(asks.once("key.revoke", {"name": name}))

    # ---- the end ----

    @property
    def closed(self) -> bool:
        return self._closed

    async def close(self) -> None:
        """What is under way fails. Twice is as good as once."""
        self._closed = True
        for connection in list(self._connections.values()):
            await connection.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, type: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    def __repr__(self) -> str:
        return f"<omendb.AsyncClient {self._address}{' (closed)' if self._closed else ''}>"
