"""What is asked of a cluster itself, for asyncio. `blocking.py` makes admin.py of it, which waits."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar, cast

from . import asks
from .async_collection import AsyncCollection
from .course import Call
from .requests import Limits, Requests

if TYPE_CHECKING:
    from .async_client import AsyncClient

T = TypeVar("T")


class AsyncAdmin:
    """The methods of a client; how a request gets there and back is AsyncClient's."""

    _limits: Limits

    async def run(self, call: Call[T], timeout: float | None = None) -> T:
        raise NotImplementedError

    async def call(self, method: str, params: Mapping[str, Any] | None = None, timeout: float | None = None) -> Any:
        """Any method of the protocol, as it is: the result's map. Asked again only where nothing was done."""
        return await self.run(asks.plain(method, params), timeout)

    # ---- collections ----

    def collection(self, name: str, consistency: str = "session") -> AsyncCollection:
        """A handle on a collection or an alias, which is not asked whether it is there.

        `consistency`: "session" reads what this handle has written, "strong" what anybody has written, "eventual" what
        any copy has.
        """
        return AsyncCollection(cast("AsyncClient", self), Requests(asks.name_of(name), self._limits, consistency))

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
        memory_quota: int | None = None,
        disk_quota: int | None = None,
        if_not_exists: bool = False,
    ) -> AsyncCollection:
        """Makes a collection; what is None is the server's choice. `quantization=None` is none.

        A quota is in bytes of one copy: what adds to a collection beyond it is refused with QuotaError.
        """
        asked = {
            "name": name, "dimension": dimension, "metric": metric, "dtype": dtype, "shards": shards,
            "replicas": replicas, "min_insync": min_insync, "m": m, "ef_construction": ef_construction,
            "quantization": "none" if quantization is None else quantization,
            "memory_quota": memory_quota, "disk_quota": disk_quota, "if_not_exists": if_not_exists or None,
        }  # fmt: skip
        await self.run(asks.change("collection.create", asked))
        return self.collection(name)

    async def drop_collection(self, name: str, if_exists: bool = False) -> None:
        """The points with it, and its aliases."""
        await self.run(asks.change("collection.drop", {"collection": name, "if_exists": if_exists or None}))

    async def update_collection(
        self,
        name: str,
        replicas: int | None = None,
        min_insync: int | None = None,
        memory_quota: int | None = None,
        disk_quota: int | None = None,
    ) -> dict[str, Any]:
        """How many copies there are of each shard, how many must have a write, and how many bytes a copy may be; a quota of 0 is none."""
        asked = {
            "collection": name, "replicas": replicas, "min_insync": min_insync,
            "memory_quota": memory_quota, "disk_quota": disk_quota,
        }  # fmt: skip
        return await self.run(asks.change("collection.update", asked))

    async def collections(self) -> list[dict[str, Any]]:
        """All of them, as `Collection.info` has one."""
        return await self.run(asks.rows("collection.list", "collections"))

    async def set_alias(self, alias: str, collection: str) -> None:
        """A name for a collection, or another collection for the name."""
        await self.run(asks.change("alias.set", {"alias": alias, "collection": collection}))

    async def drop_alias(self, alias: str) -> None:
        """The collection stays."""
        await self.run(asks.change("alias.drop", {"alias": alias}))

    async def aliases(self) -> dict[str, str]:
        """Collections by alias."""
        rows = await self.run(asks.rows("alias.list", "aliases"))
        return {row["alias"]: row["collection"] for row in rows}

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
        """What goes on by itself: copies that move, shards that split, builds."""
        return await self.run(asks.rows("job.list", "jobs"))

    async def create_key(
        self, name: str, role: str, collections: str = "*", expires_ms: int | None = None, rate: int | None = None
    ) -> str:
        """An API key, which is said once. `role`: read, write, manage or admin; `collections`: a glob of names.

        `rate`: points and queries a second at each node; None: as the nodes' configurations say.
        """
        asked = {
            "name": name, "role": role, "collections": collections, "expires_ms": expires_ms, "rate": rate,
            "seed": asks.key_seed(),
        }  # fmt: skip
        made = await self.run(asks.change("key.create", asked))
        return str(made["api_key"])

    async def keys(self) -> list[dict[str, Any]]:
        """Names and roles; the keys themselves are stored nowhere."""
        return await self.run(asks.rows("key.list", "keys"))

    async def revoke_key(self, name: str) -> None:
        """Who says it is refused from now on."""
        await self.run(asks.change("key.revoke", {"name": name}))
