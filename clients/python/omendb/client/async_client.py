"""The client for asyncio: as client.py, but for the waiting."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Sequence
from types import TracebackType
from typing import Any, Final, Self, TypeVar

from ..errors import ClosedError, InvalidError, OmenError, UnreachableError
from . import asks
from .address import Node, Ring, parse
from .async_admin import AsyncAdmin
from .async_connection import AsyncConnection
from .client import LEARN_SECONDS, WINDOW
from .course import Call, Course, TimeUp
from .requests import Limits
from .routes import Routes, Table, questions
from .wire import Params

T = TypeVar("T")

_INFO: Final = Params("system.info", {})


class AsyncClient(AsyncAdmin):
    """A cluster, for the tasks of one event loop; it has a connection to each node, made when it is needed."""

    def __init__(self, address: str, api_key: str | None = None, timeout: float = 10.0) -> None:
        self._address = address
        self._timeout = asks.seconds(timeout)
        self._hello = asks.hello(api_key)
        self._limits = Limits()
        self._ring = Ring(parse(address))
        self._routes = Routes()
        self._learning: set[asyncio.Task[None]] = set()
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
        return await self._connection_to(self._ring.pick(), deadline)

    async def _connection_to(self, node: Node, deadline: float) -> AsyncConnection:
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

    # ---- routes: as in client.py ----

    def _load(self, node: Node) -> float:
        known = self._connections.get(node)
        return known.in_flight if known is not None and not known.closed and self._ring.is_open(node) else float("inf")

    def _straight(self, call: Call[Any]) -> AsyncConnection | None:
        """To another node than the one at hand, which knows more of what the call is about, and is connected."""
        if call.route is None or len(self._ring.nodes) == 1:
            return None
        asked = self._routes.wants(call.route.collection)
        if asked is not None:
            task = asyncio.ensure_future(self._learn(call.route.collection, asked))
            self._learning.add(task)
            task.add_done_callback(self._learning.discard)
        at_hand = self._ring.pick()
        node = self._routes.node_of(call.route, at_hand, self._load)
        return None if node == at_hand else self._connections.get(node)

    async def _learn(self, collection: str, asked: int) -> None:
        """In a task of its own: where the shards are, and a connection to every node."""
        nodes: dict[str, Node] = {}
        table = None
        try:
            teller = await self._connection(time.monotonic() + LEARN_SECONDS)
            said = await self._rows(teller, collection)
            version = (await teller.ask(_INFO, None, time.monotonic() + LEARN_SECONDS)).get("map_version", 0)
            for node in self._ring.nodes:
                with contextlib.suppress(OmenError, TimeUp):
                    other = await self._connection_to(node, time.monotonic() + LEARN_SECONDS)
                    info = await other.ask(_INFO, None, time.monotonic() + LEARN_SECONDS)
                    if info.get("map_version", 0) >= version:
                        nodes[info["node"]] = node
            table = Table(said["shards"], nodes)
        except (OmenError, TimeUp):
            pass  # later
        finally:
            self._routes.learned(collection, table, asked, len(nodes) == len(self._ring.nodes))

    async def _rows(self, teller: AsyncConnection, collection: str) -> Any:
        of_the_map, of_all = questions(collection)
        try:
            return await teller.ask(of_the_map, None, time.monotonic() + LEARN_SECONDS)
        except InvalidError:
            return await teller.ask(of_all, None, time.monotonic() + LEARN_SECONDS)

    # ---- requests ----

    async def run(self, call: Call[T], timeout: float | None = None) -> T:
        try:
            return await self._run(call, self._timeout if timeout is None else asks.seconds(timeout))
        finally:
            if call.method in asks.RENAMES:
                self._routes.forget()

    async def _ask(self, call: Call[T], course: Course, connection: AsyncConnection, until: float) -> T:
        try:
            answer = await connection.ask(call.params, course, until)
        except TimeUp:
            if until >= course.deadline:
                raise
            self._ring.failed(connection.node)
            self._routes.led_nowhere(call.route)
            raise UnreachableError(f"{connection.node}: no answer in time") from None
        except UnreachableError:
            self._routes.led_nowhere(call.route)
            raise
        self._routes.saw(call.route, answer)
        return call.decode(answer)

    async def _run(self, call: Call[T], timeout: float) -> T:
        course = Course(call, timeout)
        while True:
            sent = False
            try:
                straight = self._straight(call) if course.tries == 0 else None
                connection = straight or await self._connection(course.deadline)
                until = course.straight_until() if straight is not None else course.deadline
                sent = True
                return await self._ask(call, course, connection, until)
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
        for task in list(self._learning):
            task.cancel()
        await asyncio.gather(*self._learning, return_exceptions=True)
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
