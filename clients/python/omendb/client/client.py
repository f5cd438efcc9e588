"""The blocking client: connections to the nodes of a cluster, and requests over them."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Sequence
from types import TracebackType
from typing import Any, Final, Self, TypeVar

from ..errors import ClosedError, OmenError, UnreachableError
from . import asks
from .address import Node, Ring, parse
from .admin import Admin
from .connection import Connection, Pending
from .course import Call, Course, TimeUp
from .requests import Limits

T = TypeVar("T")

WINDOW: Final = 16  # requests of one call that are on their way at once


class Client(Admin):
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
                self._ring.late(connection.node)
                raise course.timed_out(sent=True) from None
            except OmenError as fault:
                try:
                    pause = course.failed(fault)
                except OmenError as final:
                    if course.late:
                        self._ring.late(connection.node)
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
