"""Every way a call can fail, one class each.

All are OmenErrors, and each is also the built-in exception that fits best, so `except ValueError` works too.
A call that fails has changed nothing, unless `outcome` says otherwise. `status` is the engine's number for the error
(omendb.h).
"""

from __future__ import annotations

from typing import Any


class OmenError(Exception):
    """The base of all of them."""

    status: int = 0
    retryable: bool = False
    """Of a server: the same call may succeed later. The client has tried again until its time was up."""
    outcome: str | None = None
    """Of a write to a server: "not_applied", "applied" or "unknown"."""
    details: Any = None
    """Of a server: more about it."""

    @property
    def retry_after(self) -> float:
        """Of a server: the same call is refused again for so many seconds; 0 where it did not say."""
        said = self.details.get("retry_after_ms") if isinstance(self.details, dict) else None
        return said / 1000 if isinstance(said, int) and said > 0 else 0.0

    failed: tuple[Any, ...] = ()
    """Of a batch of which some points were refused: (row, error) of each. The others were written."""


class NotFoundError(OmenError, KeyError):
    """No such id, field or index."""

    status = -1

    def __str__(self) -> str:  # KeyError would show the message's repr
        return Exception.__str__(self)


class StaleMapError(OmenError, RuntimeError):
    """The request was routed by an old cluster map."""

    status = -2


class BusyError(OmenError, RuntimeError):
    """A queue is full; nothing was done."""

    status = -3


class OmenTimeoutError(OmenError, TimeoutError):
    """The deadline passed; it may have happened."""

    status = -4


class CorruptError(OmenError, RuntimeError):
    """Stored data fails its check."""

    status = -5


class NoMemoryError(OmenError, MemoryError):
    """A memory limit is reached; nothing was changed."""

    status = -6


class InvalidError(OmenError, ValueError):
    """An argument has a value that makes no sense."""

    status = -7


class DimensionError(OmenError, ValueError):
    """A vector has the wrong number of components."""

    status = -8


class NotFiniteError(OmenError, ValueError):
    """A vector has a NaN or infinite component."""

    status = -9


class ZeroVectorError(OmenError, ValueError):
    """A zero vector has no direction under cosine."""

    status = -10


class DuplicateIdError(OmenError, ValueError):
    """The same id twice in one batch."""

    status = -11


class ExistsError(OmenError, ValueError):
    """The id exists already."""

    status = -12


class IdRangeError(OmenError, ValueError):
    """An integer id is outside 0..2**63-1."""

    status = -13


class IdLengthError(OmenError, ValueError):
    """A text id is not 1..255 bytes of UTF-8 without NUL."""

    status = -14


class IdKindError(OmenError, TypeError):
    """The index holds the other kind of id (integer or text)."""

    status = -15


class KError(OmenError, ValueError):
    """k is outside 1..10000."""

    status = -16


class DtypeError(OmenError, TypeError):
    """The type of the components does not fit the index."""

    status = -17


class FilterError(OmenError, ValueError):
    """A filter cannot be parsed."""

    status = -18


class FieldTypeError(OmenError, TypeError):
    """A value does not have the type of its field's index."""

    status = -19


class PayloadError(OmenError, ValueError):
    """A payload is not a dict of what msgpack can hold, or is too large."""

    status = -20


class FullError(OmenError, RuntimeError):
    """The index has no room for another row: compact it, or make one with a larger slots_max."""

    status = -21


class UnsupportedError(OmenError, NotImplementedError):
    """This version, or this kind of index, cannot do that."""

    status = -22


class ReadOnlyError(OmenError, PermissionError):
    """The index was opened read-only."""

    status = -23


class ClosedError(OmenError, ValueError):
    """The index is closed."""

    status = -24


class CancelledError(OmenError, RuntimeError):
    """Cancelled by the caller."""

    status = -25


class InternalError(OmenError, RuntimeError):
    """A fault of ours; please report it."""

    status = -26


class DiskError(OmenError, OSError):
    """The disk failed; writes are refused until the index is opened again."""

    status = -27


class DiskFullError(OmenError, OSError):
    """No space is left on the disk; nothing was changed."""

    status = -28


class VersionError(OmenError, RuntimeError):
    """Written in a format that this version does not know."""

    status = -29


class LockedError(OmenError, RuntimeError):
    """Another process, or another handle, writes to it."""

    status = -30


class ConflictError(OmenError, RuntimeError):
    """The point has another version than `if_version` says."""

    status = -31


class OpExpiredError(OmenError, RuntimeError):
    """Of a server: an operation's id is too old to know whether it was done."""

    status = -32


class AuthError(OmenError, PermissionError):
    """Of a server: no key, an unknown one, or one that may not do this."""

    status = -33


class MethodError(OmenError, NotImplementedError):
    """Of a server: no such method."""

    status = -34


class QuotaError(OmenError, RuntimeError):
    """Of a server: the collection is at its quota (`memory_quota`, `disk_quota`); nothing was changed."""

    status = -35


class LayoutError(OmenError, ValueError):
    """The components of a vector do not lie side by side in memory."""

    status = -7


class ByteOrderError(OmenError, ValueError):
    """An array has the other byte order (big-endian)."""

    status = -17


class IdTypeError(OmenError, TypeError):
    """An id is neither an int nor a str (a bool, a float, bytes, ...)."""

    status = -15


class UnreachableError(OmenError, ConnectionError):
    """Of a server: nobody answers at its addresses, or the connection broke in the middle of a request."""


class OmenWarning(UserWarning):
    """Something worked, but slower or less precisely than it could."""
