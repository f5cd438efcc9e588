"""The client for asyncio: as client.py, but for the waiting."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from types import TracebackType
from typing import Self, TypeVar

from ..errors import ClosedError, OmenError, UnreachableError
from . import asks
from .address import Node, Ring, parse
from .async_admin import AsyncAdmin
from .async_connection import AsyncConnection
from .client import WINDOW
from .course import Call, Course, TimeUp
from .requests import Limits

T = TypeVar("T")


class AsyncClient(AsyncAdmin):
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
                if sent:
                    self._ring.late(connection.node)
                raise course.timed_out(sent) from None
            except OmenError as fault:
                try:
                    pause = course.failed(fault, sent)
                except OmenError as final:
                    if sent and course.late:
                        self._ring.late(connection.node)
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
