"""One request's way to an answer: how long there is, and what a failure on the way means.

- What the server says is final, unless it says that it may succeed later (`retryable`), and when: it is not asked before.
- A connection that could not be made has done nothing: another node is asked.
- One that broke after the request was sent leaves the outcome open. A read is asked again, and a change that carries an
  operation's id, which the cluster does once however often it comes. Any other request is not.
- What one try has left open no later one closes by saying that it has done nothing. Only what depends on what is there
  (it exists, it does not, it is another version) is said of the operation, whichever of its tries came through.
- When the time is up, it is up: nothing is begun that could not end.
"""

from __future__ import annotations

import enum
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Generic, TypeVar

from ..errors import ConflictError, ExistsError, NotFoundError, OmenError, OmenTimeoutError, UnreachableError
from .routes import Route
from .wire import Params

T = TypeVar("T")

_PAUSE_FIRST_SECONDS: Final = 0.01
_PAUSE_MOST_SECONDS: Final = 0.5
_STRAIGHT_SECONDS: Final = 1.0
_RESERVE_PART: Final = 0.05  # of the time left, that the server is not told of: its answer has to travel
_RESERVE_MOST_SECONDS: Final = 0.1


class TimeUp(Exception):
    """There was no time left; the course of the request makes an error of it."""


class Repeat(enum.Enum):
    READ = enum.auto()  # as often as one likes
    OPERATION = enum.auto()  # as well: it has an operation's id
    ONCE = enum.auto()  # only where it is known that nothing was done


@dataclass(slots=True)
class Call(Generic[T]):
    """A request, and what its result is turned into."""

    params: Params
    decode: Callable[[Any], T]
    repeat: Repeat = Repeat.READ
    refused: Callable[[OmenError], T] | None = None  # what a final error is turned into, unless it is raised again
    route: Route | None = None  # None: any node will do

    @property
    def method(self) -> str:
        return self.params.method


class Course:
    """Of one request with all its tries. Seconds of a monotonic clock."""

    __slots__ = ("_call", "_clock", "_open", "_pause", "_random", "_timeout", "deadline", "late", "tries")

    def __init__(
        self,
        call: Call[Any],
        timeout: float,
        clock: Callable[[], float] = time.monotonic,
        random_part: Callable[[], float] = random.random,
    ) -> None:
        self._call = call
        self._timeout = timeout
        self._clock = clock
        self._random = random_part
        self._pause = _PAUSE_FIRST_SECONDS
        self._open = False  # a try may have done what was asked
        self.deadline = clock() + timeout
        self.tries = 0
        self.late = False  # it ended because the time was up

    def straight_until(self) -> float:
        """How long a try waits that went straight to a shard's node: it may stand still, which the others know."""
        return min(self.deadline, self._clock() + max(_STRAIGHT_SECONDS, self.left() / 4))

    def left(self) -> float:
        return self.deadline - self._clock()

    def deadline_ms(self) -> int:
        """What the server is told."""
        left = self.left()
        return max(1, int((left - min(left * _RESERVE_PART, _RESERVE_MOST_SECONDS)) * 1000))

    def failed(self, error: OmenError, sent: bool = True) -> float:
        """How many seconds to wait before the next try. Raises the error where there is none."""
        self.tries += 1
        may_repeat = self._may_repeat(error, sent)
        if self._call.repeat is not Repeat.READ:
            broke = isinstance(error, UnreachableError) and sent
            self._open = self._open or broke or error.outcome == "unknown"
        if not may_repeat:
            self.late = isinstance(error, OmenTimeoutError)
            raise self._final(error)
        pause = error.retry_after + self._pause * (0.5 + self._random() / 2)
        self._pause = min(self._pause * 2, _PAUSE_MOST_SECONDS)
        if self.left() <= pause:
            self.late = True
            raise self._final(error)
        return pause

    def _final(self, error: OmenError) -> OmenError:
        of_the_operation = isinstance(error, ExistsError | NotFoundError | ConflictError)
        if self._open and error.outcome != "applied" and not of_the_operation:
            error.outcome = "unknown"
        return error

    def _may_repeat(self, error: OmenError, sent: bool) -> bool:
        if isinstance(error, UnreachableError):
            if not sent or self._call.repeat is not Repeat.ONCE:
                return True
            error.outcome = "unknown"
            return False
        if not error.retryable or error.outcome == "applied":
            return False
        return error.outcome != "unknown" or self._call.repeat is not Repeat.ONCE

    def timed_out(self, sent: bool) -> OmenTimeoutError:
        error = OmenTimeoutError(f"{self._call.method}: no answer within {self._timeout:g} s")
        if self._call.repeat is not Repeat.READ:
            error.outcome = "unknown" if sent or self.tries > 0 else "not_applied"
        return error
