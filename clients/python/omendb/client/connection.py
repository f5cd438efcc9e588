"""One connection to a node, for blocking callers: requests of all threads go out at once, answers come in any order.

There is no thread of its own. Of those who wait for an answer one reads, and wakes the others when theirs has come;
when it has its own, one of them reads on. A single caller thus reads its own answer itself. The socket never blocks:
every wait is a poll with what is left of the caller's time.
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
from .wire import OURS, Answers, Clock, Params, error_of, too_long_for

_READ_BYTES: Final = 1 << 18
_NUMBER_MAX: Final = 2**32 - 1


class Pending:
    """A request that is on its way."""

    __slots__ = ("_woken", "done", "error", "number", "result")

    def __init__(self, number: int) -> None:
        self.number = number
        self.done = False
        self.result: Any = None
        self.error: OmenError | None = None
        self._woken = threading.Lock()
        self._woken.acquire()

    def sleep(self, seconds: float) -> None:
        """Until wake, or that long."""
        self._woken.acquire(timeout=seconds)

    def wake(self) -> None:
        """Of one thread at a time. Who is about to sleep does not."""
        if self._woken.locked():
            self._woken.release()


class Connection:
    """To one node; closed for good by the first failure of its stream."""

    def __init__(self, node: Node, deadline: float, hello: Params) -> None:
        self.node = node
        self.welcome: dict[str, Any] = {}
        self._clock = OURS
        self._lock = threading.Lock()
        self._send_lock = threading.Lock()
        self._pending: dict[int, Pending] = {}
        self._sleeping: dict[int, Pending] = {}  # those of them whose callers sleep
        self._number = 0
        self._reading = False
        self._failure: UnreachableError | None = None
        self._answers = Answers()
        self._socket = _connect(node, deadline)
        try:
            self.welcome = self.ask(hello, deadline)
            self._clock = Clock(self.welcome)
        except BaseException:
            self.close()
            raise

    @property
    def closed(self) -> bool:
        return self._failure is not None

    @property
    def in_flight(self) -> int:
        """Requests that are not answered yet."""
        return len(self._pending)

    def ask(self, params: Params, deadline: float) -> Any:
        """The result of a request with one try."""
        return self.wait(self.begin(params, None, deadline), deadline)

    def close(self, why: str = "the connection was closed") -> None:
        with self._lock:
            self._fail(why)

    def _fail(self, why: str) -> None:
        """Everybody who waits hears of it. Under the lock."""
        if self._failure is not None:
            return
        self._failure = UnreachableError(f"{self.node}: {why}")
        for number in list(self._pending):
            self._settle(number, UnreachableError(f"{self.node}: {why}"), None)
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)  # wakes who polls
        self._socket.close()

    def _settle(self, number: int, error: OmenError | None, result: Any) -> None:
        """Under the lock."""
        pending = self._pending.pop(number, None)
        if pending is None:
            return  # nobody waits any longer
        pending.error = error
        pending.result = result
        pending.done = True
        if self._sleeping.pop(number, None) is not None:
            pending.wake()

    # ---- sending ----

    def begin(self, params: Params, course: Course | None, deadline: float) -> Pending:
        """Sends a request. After an UnreachableError or a TimeUp nothing was sent that a server could act on."""
        with self._lock:
            if self._failure is not None:
                raise UnreachableError(str(self._failure))
            self._number = self._number % _NUMBER_MAX + 1
            pending = Pending(self._number)
            self._pending[pending.number] = pending
        data = params.request(pending.number, None if course is None else course.deadline_ms(), self._clock)
        too_long = too_long_for(self.welcome, data)
        if too_long is not None:
            with self._lock:
                self._settle(pending.number, too_long, None)
            return pending
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
                    self._make_room(deadline)
        except OSError as fault:
            why = fault.strerror or str(fault)
            self.close(why)
            raise UnreachableError(f"{self.node}: {why}") from None
        finally:
            if 0 < len(view) < len(data):  # nobody could tell where the next begins
                self.close("a request was not sent whole")
            self._send_lock.release()

    def _make_room(self, deadline: float) -> None:
        """Waits until more can be sent. The other side may want its answers read first: if nobody reads, we do."""
        with self._lock:
            reads = not self._reading
            self._reading = True
        try:
            ready = self._poll(select.POLLOUT | (select.POLLIN if reads else 0), deadline)
            if reads and ready & select.POLLIN:
                self._read_now()
        finally:
            if reads:
                self._stop_reading()
        if ready == 0:
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

    # ---- waiting ----

    def forget(self, pending: Pending) -> None:
        """Nobody waits for it any more; its answer is passed over."""
        with self._lock:
            self._pending.pop(pending.number, None)

    def wait(self, pending: Pending, deadline: float) -> Any:
        """The result. Raises the error that the server said, an UnreachableError, or TimeUp."""
        while not pending.done:
            left = deadline - time.monotonic()
            with self._lock:
                reads = not self._reading and not pending.done and left > 0
                self._reading |= reads
                sleeps = not reads and not pending.done and left > 0
                if sleeps:
                    self._sleeping[pending.number] = pending
            if reads:
                self._read(pending, deadline)
            elif sleeps:
                pending.sleep(left)
            elif not pending.done:
                self._leave(pending)
        if pending.error is not None:
            raise pending.error
        return pending.result

    def _leave(self, pending: Pending) -> None:
        """The time is up. It may have been woken to read on, in the same moment: then another is."""
        with self._lock:
            self._pending.pop(pending.number, None)
            self._sleeping.pop(pending.number, None)
            self._pass_on()
        raise TimeUp

    def _read(self, pending: Pending, deadline: float) -> None:
        """As the one who reads: until it has its own answer, or its time is up."""
        try:
            while not pending.done and self._poll(select.POLLIN, deadline) != 0:
                self._read_now()
        except BaseException:  # in the middle of an answer, maybe
            self.close("the one who read was interrupted")
            raise
        finally:
            self._stop_reading()

    def _stop_reading(self) -> None:
        with self._lock:
            self._reading = False
            self._pass_on()

    def _pass_on(self) -> None:
        """If nobody reads, one of the sleepers does. Under the lock."""
        if not self._reading and self._sleeping:
            number = next(iter(self._sleeping))
            self._sleeping.pop(number).wake()

    def _read_now(self) -> None:
        why = ""
        found: list[tuple[int, Any, Any]] = []
        try:
            data = self._socket.recv(_READ_BYTES)
            if data:
                found = self._answers.feed(data)
            else:
                why = "the connection was closed by the other side"
        except BlockingIOError:
            return
        except OSError as fault:
            why = f"{fault.strerror or fault}"
        except ValueError as fault:
            why = f"what came is no answer: {fault}"
        with self._lock:
            for number, error, result in found:
                self._settle(number, None if error is None else error_of(error), result)
            if why:
                self._fail(why)


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
