"""The blocking client: connections to the nodes of a cluster, and requests over them."""

from __future__ import annotations

import contextlib
import threading
import time
from collections import deque
from collections.abc import Sequence
from types import TracebackType
from typing import Any, Final, Self, TypeVar

from ..errors import ClosedError, InvalidError, OmenError, UnreachableError
from . import asks
from .address import Node, Ring, parse
from .admin import Admin
from .connection import Connection, Pending
from .course import Call, Course, TimeUp
from .requests import Limits
from .routes import Routes, Table, questions
from .wire import Params

T = TypeVar("T")

WINDOW: Final = 16  # requests of one call that are on their way at once
LEARN_SECONDS: Final = 1.0  # for each of what a table of routes is made of
_INFO: Final = Params("system.info", {})

Begun = tuple[Connection, Pending, float]  # until when it is waited for


class Client(Admin):
    """A cluster. Any number of threads may share one; it has a connection to each node, made when it is needed."""

    def __init__(self, address: str, api_key: str | None = None, timeout: float = 10.0) -> None:
        self._address = address
        self._timeout = asks.seconds(timeout)
        self._hello = asks.hello(api_key)
        self._limits = Limits()
        self._ring = Ring(parse(address))
        self._routes = Routes()
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
        return self._connection_to(self._ring.pick(), deadline)

    def _connection_to(self, node: Node, deadline: float) -> Connection:
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
            if self._closed:  # meanwhile
                made.close("the client was closed")
            return made

    # ---- routes ----

    def _load(self, node: Node) -> float:
        known = self._connections.get(node)
        return known.in_flight if known is not None and not known.closed and self._ring.is_open(node) else float("inf")

    def _straight(self, call: Call[Any]) -> Connection | None:
        """To another node than the one at hand, which knows more of what the call is about, and is connected."""
        if call.route is None or len(self._ring.nodes) == 1:
            return None
        asked = self._routes.wants(call.route.collection)
        if asked is not None:
            self._learn_aside(call.route.collection, asked)
        at_hand = self._ring.pick()
        node = self._routes.node_of(call.route, at_hand, self._load)
        return None if node == at_hand else self._connections.get(node)

    def _learn_aside(self, collection: str, asked: int) -> None:
        try:
            threading.Thread(target=self._learn, args=(collection, asked), daemon=True).start()
        except RuntimeError:  # there are too many, or the program ends
            self._routes.learned(collection, None, asked)

    def _learn(self, collection: str, asked: int) -> None:
        """In a thread of its own: where the shards are, and a connection to every node."""
        nodes: dict[str, Node] = {}
        table = None
        try:
            teller = self._connection(time.monotonic() + LEARN_SECONDS)
            said = self._rows(teller, collection)
            version = teller.ask(_INFO, time.monotonic() + LEARN_SECONDS).get("map_version", 0)
            for node in self._ring.nodes:
                with contextlib.suppress(OmenError, TimeUp):
                    other = self._connection_to(node, time.monotonic() + LEARN_SECONDS)
                    info = other.ask(_INFO, time.monotonic() + LEARN_SECONDS)
                    if info.get("map_version", 0) >= version:
                        nodes[info["node"]] = node
            table = Table(said["shards"], nodes)
        except (OmenError, TimeUp):
            pass  # later
        finally:
            self._routes.learned(collection, table, asked, len(nodes) == len(self._ring.nodes))

    def _rows(self, teller: Connection, collection: str) -> Any:
        of_the_map, of_all = questions(collection)
        try:
            return teller.ask(of_the_map, time.monotonic() + LEARN_SECONDS)
        except InvalidError:
            return teller.ask(of_all, time.monotonic() + LEARN_SECONDS)

    # ---- requests ----

    def _begin(self, call: Call[Any], course: Course) -> Begun:
        while True:
            try:
                straight = self._straight(call) if course.tries == 0 else None
                connection = straight or self._connection(course.deadline)
                until = course.straight_until() if straight is not None else course.deadline
                return connection, connection.begin(call.params, course, until), until
            except TimeUp:
                if course.left() <= 0:
                    raise course.timed_out(sent=False) from None
                time.sleep(course.failed(UnreachableError("a node takes nothing"), sent=False))
            except UnreachableError as fault:
                time.sleep(course.failed(fault, sent=False))

    def _wait(self, call: Call[T], begun: Begun, course: Course) -> T:
        connection, pending, until = begun
        try:
            answer = connection.wait(pending, until)
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

    def _end(self, call: Call[T], course: Course, begun: Begun) -> T:
        while True:
            connection = begun[0]
            try:
                return self._wait(call, begun, course)
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
        try:
            return self._end(call, course, self._begin(call, course))
        finally:
            if call.method in asks.RENAMES:
                self._routes.forget()

    def run_all(self, calls: Sequence[Call[T]], timeout: float | None = None) -> list[T]:
        """The results in the order of the calls, of which several are on their way at once."""
        seconds = self._timeout if timeout is None else asks.seconds(timeout)
        under_way: deque[tuple[Call[T], Course, Begun]] = deque()
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
            for _, _, (connection, pending, _) in under_way:
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
