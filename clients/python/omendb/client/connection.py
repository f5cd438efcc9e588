"""One connection to a node, for blocking callers: requests of all threads go out at once, answers come in any order.

There is no thread of its own. Of those who wait for an answer one reads, and hands to the others what is theirs; a
single caller thus reads its own answer itself. The socket never blocks: every wait is a poll with what is left of the
caller's time.
"""

from __future__ import annotations

import contextlib
import select
import socket
import threading
import time
from typing import Any, Final

from ..errors import OmenError, UnreachableError
from .address import Node
from .course import Course, TimeUp
from .wire import Answers, Params, error_of

_READ_BYTES: Final = 1 << 18
_NUMBER_MAX: Final = 2**32 - 1


class Pending:
    """A request that is on its way."""

    __slots__ = ("done", "error", "number", "result")

    def __init__(self, number: int) -> None:
        self.number = number
        self.done = False
        self.result: Any = None
        self.error: OmenError | None = None


class Connection:
    """To one node; closed for good by the first failure of its stream."""

    def __init__(self, node: Node, deadline: float, hello: Params) -> None:
        self.node = node
        self.welcome: dict[str, Any] = {}
        self._lock = threading.Lock()
        self._woken = threading.Condition(self._lock)
        self._send_lock = threading.Lock()
        self._pending: dict[int, Pending] = {}
        self._number = 0
        self._reading = False
        self._failure: UnreachableError | None = None
        self._answers = Answers()
        self._socket = _connect(node, deadline)
        try:
            first = self.begin(hello, None, deadline)
            self.welcome = self.wait(first, deadline)
        except BaseException:
            self.close()
            raise

    @property
    def closed(self) -> bool:
        return self._failure is not None

    def close(self, why: str = "the connection was closed") -> None:
        with self._lock:
            self._fail(why)

    def _fail(self, why: str) -> None:
        """Everybody who waits hears of it. Under the lock."""
        if self._failure is not None:
            return
        self._failure = UnreachableError(f"{self.node}: {why}")
        for pending in self._pending.values():
            pending.error = UnreachableError(f"{self.node}: {why}")
            pending.done = True
        self._pending.clear()
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)  # wakes who polls
        self._socket.close()
        self._woken.notify_all()

    # ---- sending ----

    def begin(self, params: Params, course: Course | None, deadline: float) -> Pending:
        """Sends a request. After an UnreachableError or a TimeUp nothing was sent that a server could act on."""
        with self._lock:
            if self._failure is not None:
                raise UnreachableError(str(self._failure))
            self._number = self._number % _NUMBER_MAX + 1
            pending = Pending(self._number)
            self._pending[pending.number] = pending
        data = params.request(pending.number, None if course is None else course.deadline_ms())
        try:
            self._send(data, deadline)
        except (UnreachableError, TimeUp):
            self.forget(pending)
            raise
        return pending

    def _send(self, data: bytes, deadline: float) -> None:
        if not self._send_lock.acquire(timeout=max(0.0, deadline - time.monotonic())):
            raise TimeUp
        view = memoryview(data)
        try:
            while view:
                try:
                    view = view[self._socket.send(view) :]
                except BlockingIOError:
                    self._make_room(deadline, len(view) < len(data))
        except OSError as fault:
            why = fault.strerror or str(fault)
            self.close(why)
            raise UnreachableError(f"{self.node}: {why}") from None
        finally:
            self._send_lock.release()

    def _make_room(self, deadline: float, begun: bool) -> None:
        """Waits until more can be sent. The other side may want its answers read first: if nobody reads, we do."""
        with self._lock:
            reads = not self._reading
            self._reading = True
        try:
            ready = self._poll(select.POLLOUT | (select.POLLIN if reads else 0), deadline)
        finally:
            if reads:
                self._stop_reading()
        if ready & select.POLLIN:
            with self._lock:
                reads = not self._reading
                self._reading = True
            if reads:
                self._read_now()
        if ready == 0:
            if begun:
                self.close("a request was not sent in time")  # nobody could tell where the next begins
            raise TimeUp

    def _poll(self, events: int, deadline: float) -> int:
        """What the socket is ready for; 0 when the time is up. POLLNVAL where it was closed by another thread."""
        poll = select.poll()
        try:
            poll.register(self._socket, events)
        except ValueError:
            return select.POLLNVAL
        ready = poll.poll(max(0, int((deadline - time.monotonic()) * 1000) + 1))
        return ready[0][1] if ready else 0

    def _stop_reading(self) -> None:
        with self._lock:
            self._reading = False
            self._woken.notify_all()

    # ---- waiting ----

    def forget(self, pending: Pending) -> None:
        """Nobody waits for it any more; its answer is passed over."""
        with self._lock:
            self._pending.pop(pending.number, None)

    def wait(self, pending: Pending, deadline: float) -> Any:
        """The result. Raises the error that the server said, an UnreachableError, or TimeUp."""
        while True:
            with self._lock:
                left = deadline - time.monotonic()
                while not pending.done and self._reading and left > 0:
                    self._woken.wait(left)
                    left = deadline - time.monotonic()
                if pending.done:
                    break
                if left <= 0:
                    self._pending.pop(pending.number, None)
                    raise TimeUp
                self._reading = True
            if self._poll(select.POLLIN, deadline) != 0:
                self._read_now()
            else:
                self._stop_reading()
        if pending.error is not None:
            raise pending.error
        return pending.result

    def _read_now(self) -> None:
        why = ""
        data = b""
        found: list[tuple[int, Any, Any]] = []
        try:
            data = self._socket.recv(_READ_BYTES)
            if data:
                found = self._answers.feed(data)
            else:
                why = "the connection was closed by the other side"
        except BlockingIOError:
            pass
        except OSError as fault:
            why = f"{fault.strerror or fault}"
        except ValueError as fault:
            why = f"what came is no answer: {fault}"
        with self._lock:
            self._reading = False
            for number, error, result in found:
                pending = self._pending.pop(number, None)
                if pending is None:
                    continue  # nobody waits any longer
                pending.error = None if error is None else error_of(error)
                pending.result = result
                pending.done = True
            if why:
                self._fail(why)
            self._woken.notify_all()


def _connect(node: Node, deadline: float) -> socket.socket:
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeUp
    try:
        connected = socket.create_connection((node.host, node.port), timeout=left)
    except TimeoutError:
        raise UnreachableError(f"{node}: no connection within {left:.3g} s") from None
    except OSError as fault:
        raise UnreachableError(f"{node}: {fault.strerror or fault}") from None
    connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connected.setblocking(False)
    return connected
