"""A handle on a collection, for asyncio."""

from __future__ import annotations

from types import TracebackType
from typing import Self

from .async_points import AsyncPoints


class AsyncCollection(AsyncPoints):
    """A collection of a cluster, or what an alias names. Made by AsyncClient.collection; costs nothing."""

    async def close(self) -> None:
        """Nothing: the connections are the client's."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, type: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    def __repr__(self) -> str:
        return f"<omendb.AsyncCollection {self.name!r}>"
