"""One connection to a node, for asyncio: a task reads, and whoever asked is woken."""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import Any, Final, Self

from ..errors import OmenError, UnreachableError
from .address import Node
from .course import Course, TimeUp
from .wire import OURS, Answers, Clock, Params, error_of, too_long_for

_READ_BYTES: Final = 1 << 18
_NUMBER_MAX: Final = 2**32 - 1


class AsyncConnection:
    """To one node; closed for good by the first failure of its stream."""

    def __init__(self, node: Node, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.node = node
        self.welcome: dict[str, Any] = {}
        self._clock = OURS
        self._reader = reader
        self._writer = writer
        self._pending: dict[int, asyncio.Future[Any]] = {}
        self._number = 0
        self._failure: str | None = None
        self._task = asyncio.ensure_future(self._read())

    @classmethod
    async def open(cls, node: Node, deadline: float, hello: Params) -> Self:
        left = deadline - time.monotonic()
        if left <= 0:
            raise TimeUp
        try:
            async with asyncio.timeout(left):
                reader, writer = await asyncio.open_connection(node.host, node.port)
        except TimeoutError:
            raise UnreachableError(f"{node}: no connection within {left:.3g} s") from None
        except OSError as fault:
            raise UnreachableError(f"{node}: {fault.strerror or fault}") from None
        made = cls(node, reader, writer)
        try:
            made.welcome = await made.ask(hello, None, deadline)
            made._clock = Clock(made.welcome)
        except BaseException:
            await made.close()
            raise
        return made

    @property
    def closed(self) -> bool:
        return self._failure is not None

    @property
    def in_flight(self) -> int:
        """Requests that are not answered yet."""
        return len(self._pending)

    async def close(self) -> None:
        self._fail("the connection was closed")
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task
        with contextlib.suppress(OSError):
            await self._writer.wait_closed()

    def _fail(self, why: str) -> None:
        """Everybody who waits hears of it."""
        if self._failure is not None:
            return
        self._failure = why
        for future in self._pending.values():
            if not future.done():
                future.set_exception(UnreachableError(f"{self.node}: {why}"))
        self._pending.clear()
        self._writer.close()

    async def ask(self, params: Params, course: Course | None, deadline: float) -> Any:
        """The result. Raises the error that the server said, an UnreachableError, or TimeUp."""
        if self._failure is not None:
            raise UnreachableError(f"{self.node}: {self._failure}")
        self._number = self._number % _NUMBER_MAX + 1
        number = self._number
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._pending[number] = future
        try:
            async with asyncio.timeout(max(0.0, deadline - time.monotonic())):
                deadline_ms = None if course is None else course.deadline_ms()
                data = params.request(number, deadline_ms, self._clock)
                too_long = too_long_for(self.welcome, data)
                if too_long is not None:
                    raise too_long
                self._writer.write(data)
                await self._writer.drain()
                return await future
        except TimeoutError as fault:
            if isinstance(fault, OmenError):  # said by the server
                raise
            raise TimeUp from None
        except OSError as fault:
            if isinstance(fault, OmenError):
                raise
            self._fail(fault.strerror or str(fault))
            raise UnreachableError(f"{self.node}: {self._failure}") from None
        finally:
            self._pending.pop(number, None)
            if future.done() and not future.cancelled():
                future.exception()  # nobody else looks at it

    async def _read(self) -> None:
        answers = Answers()
        why = "the connection was closed by the other side"
        try:
            while data := await self._reader.read(_READ_BYTES):
                for number, error, result in answers.feed(data):
                    self._settle(number, error, result)
        except OSError as fault:
            why = fault.strerror or str(fault)
        except ValueError as fault:
            why = f"what came is no answer: {fault}"
        self._fail(why)

    def _settle(self, number: int, error: Any, result: Any) -> None:
        future = self._pending.get(number)
        if future is None or future.done():
            return  # nobody waits any longer
        if error is None:
            future.set_result(result)
        else:
            future.set_exception(error_of(error))
