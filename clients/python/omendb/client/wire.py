"""Messages as bytes: msgpack-RPC with vectors as extensions, and a server's errors as exceptions.

A request is packed once, without its number and its deadline, which are put around it for each try.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final
from uuid import UUID

import numpy as np

from .. import errors
from ..errors import OmenError, PayloadError, UnsupportedError
from ..types import Ext, from_timestamp, to_timestamp

try:
    import msgpack
except ModuleNotFoundError as missing:  # pragma: no cover - the import of omendb.client says so
    if missing.name != "msgpack":
        raise
    raise UnsupportedError("the client wants the package msgpack: pip install 'omendb[client]'") from None

MESSAGE_BYTES_MAX: Final = 64 << 20  # of an answer; the server's own limit is far below

VECTOR_CODES: Final = {"f4": 1, "f2": 2, "i1": 4, "u1": 5}  # of extensions, by numpy's dtype
_VECTOR_DTYPES: Final[dict[int, Any]] = {1: np.dtype("<f4"), 2: np.dtype("<f2"), 4: np.dtype("i1"), 5: np.dtype("u1")}
_BF16: Final = 3

_ERRORS: Final[dict[str, type[OmenError]]] = {
    "NOT_FOUND": errors.NotFoundError,
    "STALE_MAP": errors.StaleMapError,
    "BUSY": errors.BusyError,
    "TIMEOUT": errors.OmenTimeoutError,
    "CORRUPT": errors.CorruptError,
    "NO_MEMORY": errors.NoMemoryError,
    "INVALID": errors.InvalidError,
    "DIMENSION": errors.DimensionError,
    "NOT_FINITE": errors.NotFiniteError,
    "ZERO_VECTOR": errors.ZeroVectorError,
    "DUPLICATE_ID": errors.DuplicateIdError,
    "EXISTS": errors.ExistsError,
    "ID_RANGE": errors.IdRangeError,
    "ID_LENGTH": errors.IdLengthError,
    "ID_KIND": errors.IdKindError,
    "K": errors.KError,
    "DTYPE": errors.DtypeError,
    "FILTER": errors.FilterError,
    "FIELD_TYPE": errors.FieldTypeError,
    "PAYLOAD": errors.PayloadError,
    "FULL": errors.FullError,
    "UNSUPPORTED": errors.UnsupportedError,
    "READ_ONLY": errors.ReadOnlyError,
    "CLOSED": errors.ClosedError,
    "CANCELLED": errors.CancelledError,
    "INTERNAL": errors.InternalError,
    "IO": errors.DiskError,
    "DISK_FULL": errors.DiskFullError,
    "VERSION": errors.VersionError,
    "LOCKED": errors.LockedError,
    "CONFLICT": errors.ConflictError,
    "OP_EXPIRED": errors.OpExpiredError,
    "AUTH": errors.AuthError,
    "METHOD": errors.MethodError,
    "QUOTA": errors.QuotaError,
}
_NAMES: Final = {kind.status: name for name, kind in _ERRORS.items()}
_RETRYABLE: Final = frozenset({"BUSY", "STALE_MAP"})  # where an error comes as a text, which does not say


# ---- packing ----


def _default(value: Any) -> Any:
    """What msgpack has no type for, and subclasses of what it has (strict_types)."""
    if isinstance(value, Ext):
        return msgpack.ExtType(value.code, value.data)
    if isinstance(value, datetime):
        return msgpack.Timestamp(*to_timestamp(value))
    if isinstance(value, UUID):
        return str(value)
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray):
        return value.tolist()
    kinds: tuple[Any, ...] = (str, int, float, bytes, dict, list)
    for kind in kinds:
        if isinstance(value, kind):
            return kind(value)
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, tuple):
        return list(value)
    raise TypeError(f"a {type(value).__name__} cannot be packed: {value!r}")


def pack(value: Any) -> bytes:
    """As msgpack. What it cannot hold is a PayloadError."""
    try:
        packed: bytes = msgpack.Packer(default=_default, use_bin_type=True, strict_types=True).pack(value)
    except OverflowError:
        raise PayloadError("an int is outside -2^63..2^64-1") from None
    except (TypeError, ValueError, RecursionError) as fault:
        raise PayloadError(str(fault)) from None
    return packed


class Clock:
    """The time as a node told it when it was met: operations are judged by clocks of nodes, and ours may be wrong."""

    __slots__ = ("_ahead_ms",)

    def __init__(self, welcome: Mapping[str, Any]) -> None:
        told = welcome.get("time_ms")  # which older nodes do not say
        self._ahead_ms = None if told is None else int(told) - time.monotonic_ns() // 1_000_000

    def ms(self) -> int:
        """Since 1970."""
        if self._ahead_ms is None:
            return time.time_ns() // 1_000_000
        return time.monotonic_ns() // 1_000_000 + self._ahead_ms


OURS: Final = Clock({})


def operation_id(clock: Clock = OURS) -> bytes:
    """A UUIDv7: what carries it is done once, however often it is sent."""
    drawn = bytearray((clock.ms() & 0xFFFF_FFFF_FFFF).to_bytes(6, "big") + os.urandom(10))
    drawn[6] = 0x70 | drawn[6] & 0x0F
    drawn[8] = 0x80 | drawn[8] & 0x3F
    return bytes(drawn)


class Params:
    """The map of a request, packed; there is room for two more keys.

    An operation gets its id when it is sent for the first time, by the clock of the node that it is sent to.
    """

    __slots__ = ("_count", "_items", "_named", "_says_deadline", "method")

    def __init__(self, method: str, params: Mapping[str, Any], operation: bool = False) -> None:
        given = {key: value for key, value in params.items() if value is not None}
        self.method = method
        self._named = not operation
        self._count = len(given)
        self._says_deadline = "deadline_ms" in given
        self._items = b"".join(pack(key) + pack(value) for key, value in given.items())

    def __len__(self) -> int:
        return len(self._items) + 96

    def request(self, number: int, deadline_ms: int | None, clock: Clock = OURS) -> bytes:
        if self._says_deadline:
            deadline_ms = None
        if not self._named:
            self._items += pack("op_id") + pack(operation_id(clock))
            self._count += 1
            self._named = True
        packer = msgpack.Packer(autoreset=False)
        packer.pack_array_header(4)
        packer.pack(0)
        packer.pack(number)
        packer.pack(self.method)
        packer.pack_array_header(1)
        packer.pack_map_header(self._count + (deadline_ms is not None))
        tail = b"" if deadline_ms is None else pack("deadline_ms") + pack(deadline_ms)
        return bytes(packer.bytes()) + self._items + tail


# ---- unpacking ----


class Answers:
    """Takes a stream apart into (number, error, result)."""

    __slots__ = ("_unpacker",)

    def __init__(self) -> None:
        self._unpacker = msgpack.Unpacker(
            raw=False, strict_map_key=False, ext_hook=Ext, max_buffer_size=MESSAGE_BYTES_MAX, unicode_errors="strict"
        )

    def feed(self, data: bytes) -> list[tuple[int, Any, Any]]:
        """Whole answers by now. A stream that is not msgpack-RPC is a ValueError: nothing behind it makes sense."""
        found = []
        try:
            self._unpacker.feed(data)
            for message in self._unpacker:
                if not isinstance(message, list) or not message:
                    raise ValueError(f"a message is a {type(message).__name__}, not an answer")
                if message[0] == 2:
                    continue  # a notification
                if message[0] != 1 or len(message) != 4 or not isinstance(message[1], int):
                    raise ValueError(f"a message of kind {message[0]!r} with {len(message)} parts is no answer")
                found.append((message[1], message[2], message[3]))
        except (msgpack.UnpackException, RecursionError) as fault:
            raise ValueError(f"{type(fault).__name__}: {fault}") from None
        return found


def moments(value: Any) -> Any:
    """A payload with its timestamps as datetimes."""
    if isinstance(value, dict):
        return {key: moments(item) for key, item in value.items()}
    if isinstance(value, list):
        return [moments(item) for item in value]
    if isinstance(value, msgpack.Timestamp):
        return from_timestamp(value.seconds, value.nanoseconds)
    return value


def vector_of(value: Any) -> np.ndarray[Any, Any] | None:
    """A vector as an answer has it."""
    if value is None:
        return None
    if isinstance(value, bytes):
        return np.frombuffer(value, dtype="<f4")
    if not isinstance(value, Ext):
        return np.asarray(value, dtype=np.float32)
    if value.code == _BF16:
        halves = np.frombuffer(value.data, dtype="<u2").astype(np.uint32)
        return (halves << 16).view(np.float32)
    dtype = _VECTOR_DTYPES.get(value.code)
    if dtype is None:
        raise errors.VersionError(f"a vector of a type that this client does not know: extension {value.code}")
    vector: np.ndarray[Any, Any] = np.frombuffer(value.data, dtype=dtype)
    return vector


# ---- errors ----


def too_long_for(welcome: Mapping[str, Any], request: bytes) -> OmenError | None:
    """A node closes the connection of a request that is longer than it takes, with all that is on its way there."""
    most = (welcome.get("limits") or {}).get("frame_bytes")
    if not most or len(request) <= most:
        return None
    error = errors.InvalidError(f"the request has {len(request)} bytes; the node takes {most}")
    error.outcome = "not_applied"
    return error


def status_name(error: OmenError) -> str:
    """As the protocol has it: "NOT_FOUND"."""
    return _NAMES.get(error.status, "INTERNAL")


def error_named(name: str, message: str) -> OmenError:
    """The exception of a status' name; an unknown one is an OmenError that begins with it."""
    kind = _ERRORS.get(name)
    return kind(message) if kind is not None else OmenError(f"{name}: {message}")


def error_of(said: Any) -> OmenError:
    """The error of an answer, as a map or as a text "NAME: sentence"."""
    if isinstance(said, dict):
        name = str(said.get("name", "INTERNAL"))
        error = error_named(name, str(said.get("message", "")))
        error.retryable = bool(said.get("retryable", False))
        error.outcome = said.get("outcome")
        error.details = said.get("details")
        return error
    name, separator, message = str(said).partition(": ")
    if not separator:
        return errors.InternalError(name)
    error = error_named(name, message)
    error.retryable = name in _RETRYABLE
    return error
