"""Ids, vectors, payloads and filters of a caller, as a request has them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from ..errors import (
    DimensionError,
    DtypeError,
    FilterError,
    IdLengthError,
    IdRangeError,
    IdTypeError,
    InvalidError,
    PayloadError,
)
from ..filters import Expression
from ..types import Ext
from .wire import VECTOR_CODES

ID_MAX: Final = 2**63 - 1
ID_TEXT_BYTES_MAX: Final = 255

Filter = str | Mapping[str, Any] | Expression


def is_one_id(value: Any) -> bool:
    return isinstance(value, str | int | np.integer)


def id_of(value: Any) -> int | str:
    """One id. A bool is none, although Python counts it among the integers."""
    if isinstance(value, str):
        if not 1 <= len(value.encode("utf-8", "surrogatepass")) <= ID_TEXT_BYTES_MAX:
            raise IdLengthError(f"id {value!r} must be 1..{ID_TEXT_BYTES_MAX} bytes of UTF-8")
        return str(value)
    if isinstance(value, bool | np.bool_) or not isinstance(value, int | np.integer):
        raise IdTypeError(f"id {value!r} is a {type(value).__name__}; it must be an int or a str")
    number = int(value)
    if not 0 <= number <= ID_MAX:
        raise IdRangeError(f"id {number} is outside 0..2^63-1")
    return number


def ids_of(values: Any) -> list[int | str]:
    """A list of ids, of an array, any iterable, or one id."""
    if is_one_id(values):
        return [id_of(values)]
    if isinstance(values, np.ndarray):
        if values.ndim != 1:
            raise InvalidError(f"ids has {values.ndim} dimensions, expected 1")
        values = values.tolist()
    if isinstance(values, bytes | Mapping) or not isinstance(values, Iterable):
        raise IdTypeError(f"ids is a {type(values).__name__}; it must be a list or an array of int or str")
    return [id_of(value) for value in values]


def ids_back(ids: Sequence[int | str]) -> npt.NDArray[Any]:
    """Ids as results have them: int64, or objects where one of them is a text."""
    if all(isinstance(each, int) for each in ids):
        return np.array(ids, dtype=np.int64)
    texts = np.empty(len(ids), dtype=object)
    texts[:] = ids
    return texts


def vectors_of(values: Any) -> npt.NDArray[Any]:
    """An array of one or two dimensions whose bytes can be sent: float32, float16, int8 or uint8, little-endian."""
    array = rows_of(values)
    return array if array.dtype.str[1:] in VECTOR_CODES else array.astype("<f4")


def rows_of(values: Any) -> npt.NDArray[Any]:
    """The same of what is written: other whole numbers stay what they are, for collections of int8 and uint8."""
    try:
        array = np.asarray(values)
    except ValueError as fault:  # rows of different lengths
        raise DimensionError(f"vectors: {fault}") from None
    if array.dtype == object or array.dtype.kind not in "fiu":
        raise DtypeError(f"vectors have the type {array.dtype}, expected numbers")
    if array.dtype.kind == "f" and array.dtype.newbyteorder("=").str[1:] not in VECTOR_CODES:
        array = array.astype(np.float32)
    if array.ndim not in (1, 2):
        raise DimensionError(f"vectors has {array.ndim} dimensions, expected 1 or 2")
    if array.shape[-1] == 0:
        raise DimensionError("a vector has no components")
    return np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<"))


def packed_vectors(array: npt.NDArray[Any]) -> Ext | list[Any]:
    """Numbers where no extension has the type: the server makes of them what the collection has."""
    if array.dtype.str[1:] not in VECTOR_CODES:
        numbers: list[Any] = array.tolist()
        return numbers
    return Ext(VECTOR_CODES[array.dtype.str[1:]], array.tobytes())


def payloads_of(values: Any, count: int) -> list[dict[str, Any] | None] | None:
    """As many payloads as points; one dict is for one point."""
    if values is None:
        return None
    if isinstance(values, Mapping):
        values = [values]
    payloads = list(values)
    if len(payloads) != count:
        raise InvalidError(f"{len(payloads)} payloads for {count} points")
    for row, payload in enumerate(payloads):
        if payload is not None and not isinstance(payload, Mapping):
            raise PayloadError(f"row {row}: a payload is a {type(payload).__name__}, expected a dict")
    return payloads


def filter_of(value: Filter | None) -> str | Mapping[str, Any] | None:
    if value is None or isinstance(value, str | Mapping):
        return value
    if isinstance(value, Expression):
        return value.tree
    raise FilterError(f"filter is a {type(value).__name__}; it must be a str, a dict or made with F")


def with_of(with_payload: bool, with_vector: bool) -> list[str] | None:
    words = [word for word, wanted in (("payload", with_payload), ("vector", with_vector)) if wanted]
    return words or None
