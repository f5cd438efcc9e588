"""The small types of results."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

from .errors import PayloadError

if TYPE_CHECKING:
    import numpy

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Point(NamedTuple):
    """An id with its vector and payload, as get() and scroll() give it."""

    id: int | str
    vector: numpy.ndarray[Any, Any] | None
    payload: dict[str, Any] | None
    version: int | None = None
    """Changes with every write to the point, for `if_version`; None in memory."""


class Ext(NamedTuple):
    """A msgpack extension that has no Python type of its own."""

    code: int
    data: bytes


class Recall(float):
    """A measured recall: a float that knows how it came about."""

    __slots__ = ("evaluations", "high", "k", "low", "samples")

    low: float
    """Lower end of the 95 % interval."""
    high: float
    """Upper end of the 95 % interval."""
    samples: int
    """Queries that were asked."""
    k: int
    """Neighbours of each."""
    evaluations: float
    """Mean number of distances computed for a query."""

    def __new__(cls, recall: float, low: float, high: float, samples: int, k: int, evaluations: float) -> Recall:
        self = super().__new__(cls, recall)
        self.low = low
        self.high = high
        self.samples = samples
        self.k = k
        self.evaluations = evaluations
        return self

    def __repr__(self) -> str:
        return (
            f"<recall@{self.k} {float(self):.4f} ({self.low:.4f}..{self.high:.4f}) of {self.samples} queries, "
            f"{self.evaluations:.0f} evaluations each>"
        )

    def __getnewargs__(self) -> tuple[float, float, float, int, int, float]:  # type: ignore[override]
        return (float(self), self.low, self.high, self.samples, self.k, self.evaluations)


def to_timestamp(moment: datetime) -> tuple[int, int]:
    """Seconds since 1970 and nanoseconds, as msgpack's timestamp has them."""
    if moment.utcoffset() is None:
        raise PayloadError(f"{moment!r} has no time zone; use datetime.now(UTC) or .astimezone()")
    since = moment - _EPOCH
    return since.days * 86400 + since.seconds, since.microseconds * 1000


def from_timestamp(seconds: int, nanoseconds: int) -> datetime | Ext:
    """The moment in UTC; an Ext for one outside of datetime's years."""
    try:
        return _EPOCH + timedelta(seconds=seconds, microseconds=nanoseconds // 1000)
    except OverflowError:
        data = nanoseconds.to_bytes(4, "big") + seconds.to_bytes(8, "big", signed=True)
        return Ext(-1, data)
