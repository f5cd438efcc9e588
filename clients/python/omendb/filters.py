"""Filters in Python: F.age > 3, F.city.in_(["Oslo", "Bergen"]), combined with & | ~.

>>> index.search(q, filter=(F.age >= 30) & ~(F.city == "Oslo"))
>>> index.search(q, filter=F.address.city.prefix("Os"))

An expression holds the dict form of the filter (`.tree`); str() gives the string form.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, Final, NoReturn
from uuid import UUID

from .errors import FilterError

_WORDS: Final = frozenset({"and", "or", "not", "in", "prefix", "exists", "true", "false", "null", "time"})
_COMBINING: Final = frozenset({"and", "or", "not"})
_PLAIN_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*\Z")
_COMPARISONS: Final = {"eq": "==", "ne": "!=", "gt": ">", "gte": ">=", "lt": "<", "lte": "<="}


class Expression:
    """A condition on payloads."""

    __slots__ = ("tree",)

    tree: dict[str, Any]
    """The filter as a dict."""

    def __init__(self, tree: dict[str, Any]) -> None:
        self.tree = tree

    def __and__(self, other: Expression) -> Expression:
        return _combine("and", self, other)

    def __or__(self, other: Expression) -> Expression:
        return _combine("or", self, other)

    def __invert__(self) -> Expression:
        return Expression({"not": self.tree})

    def __bool__(self) -> NoReturn:
        raise TypeError("a filter has no truth value; combine filters with & | ~ and put parentheses around each")

    def __str__(self) -> str:
        return to_text(self.tree)

    def __repr__(self) -> str:
        return f"<filter {self}>"


def _combine(word: str, left: Expression, right: Expression) -> Expression:
    if not isinstance(right, Expression):
        return NotImplemented
    parts: list[dict[str, Any]] = []
    for tree in (left.tree, right.tree):  # a & b & c is one list, not a tower
        parts.extend(tree[word] if list(tree) == [word] else [tree])
    return Expression({word: parts})


class Field:
    """A payload field, named by attributes of F; compare it to make an Expression."""

    __slots__ = ("_name",)
    __hash__ = None  # type: ignore[assignment]  # == makes an expression

    def __init__(self, name: str) -> None:
        if name in _COMBINING:
            raise FilterError(f"a field named {name!r} can only be written in the string form, as `{name}`")
        self._name = name

    def __getattr__(self, name: str) -> Field:
        if name.startswith("__"):
            raise AttributeError(name)
        return Field(f"{self._name}.{name}")

    def __getitem__(self, name: str) -> Field:
        return Field(f"{self._name}.{name}")

    def _is(self, operator: str, value: Any) -> Expression:
        return Expression({self._name: {operator: value}})

    def __eq__(self, value: object) -> Expression:  # type: ignore[override]
        return self._is("eq", value)

    def __ne__(self, value: object) -> Expression:  # type: ignore[override]
        return self._is("ne", value)

    def __gt__(self, value: Any) -> Expression:
        return self._is("gt", value)

    def __ge__(self, value: Any) -> Expression:
        return self._is("gte", value)

    def __lt__(self, value: Any) -> Expression:
        return self._is("lt", value)

    def __le__(self, value: Any) -> Expression:
        return self._is("lte", value)

    def in_(self, values: Iterable[Any]) -> Expression:
        """Equal to one of the values."""
        return self._is("in", list(values))

    def not_in(self, values: Iterable[Any]) -> Expression:
        """Equal to none of the values."""
        return self._is("nin", list(values))

    def between(self, low: Any, high: Any) -> Expression:
        """low <= field <= high."""
        return Expression({self._name: {"gte": low, "lte": high}})

    def prefix(self, text: str) -> Expression:
        """A string that begins with this one."""
        return self._is("prefix", text)

    def exists(self) -> Expression:
        """There is a value, and it is not null."""
        return self._is("exists", True)

    def __repr__(self) -> str:
        return f"F[{self._name!r}]"


class _Fields:
    """F.name and F["name"] are fields; dots reach into nested dicts."""

    __slots__ = ()

    def __getattr__(self, name: str) -> Field:
        if name.startswith("__"):
            raise AttributeError(name)
        return Field(name)

    def __getitem__(self, name: str) -> Field:
        return Field(name)

    def __repr__(self) -> str:
        return "F"


F: Final = _Fields()


# ---- the string form of a dict ----


def to_text(tree: Mapping[str, Any]) -> str:
    """The string form of a filter's dict form."""
    return _conjunction(tree)


def _conjunction(tree: Any) -> str:
    if not isinstance(tree, Mapping):
        raise FilterError(f"filter has a {type(tree).__name__} where a dict belongs: {tree!r}")
    if not tree:
        raise FilterError("filter has an empty dict")
    return " and ".join(_condition(key, value) for key, value in tree.items())


def _condition(key: Any, value: Any) -> str:
    if not isinstance(key, str):
        raise FilterError(f"filter has a key that is no str: {key!r}")
    if key == "not":
        return f"not ({_conjunction(value)})"
    if key in _COMBINING:
        if not isinstance(value, list | tuple) or not value:
            raise FilterError(f"filter: {key!r} takes a list of conditions, not {value!r}")
        return "(" + f" {key} ".join(f"({_conjunction(part)})" for part in value) + ")"
    name = _name(key)
    if isinstance(value, Mapping):
        if not value:
            raise FilterError(f"filter: {key!r} has an empty dict of operators")
        return "(" + " and ".join(_operation(name, operator, operand) for operator, operand in value.items()) + ")"
    if isinstance(value, list | tuple):
        return f"{name} in {_list(value)}"
    return f"{name} == {_value(value)}"


def _operation(name: str, operator: Any, operand: Any) -> str:
    if operator in _COMPARISONS:
        return f"{name} {_COMPARISONS[operator]} {_value(operand)}"
    if operator == "in" or operator == "nin":
        return f"{name} {'in' if operator == 'in' else 'not in'} {_list(operand)}"
    if operator == "prefix":
        return f"{name} prefix {_value(operand)}"
    if operator == "exists" and isinstance(operand, bool):
        return f"exists({name})" if operand else f"not exists({name})"
    raise FilterError(
        f"filter: {operator!r}: {operand!r} is no operator; they are eq ne in nin gt gte lt lte exists prefix"
    )


def _name(name: str) -> str:
    parts = name.split(".")
    if all(_PLAIN_NAME.match(part) and part.lower() not in _WORDS for part in parts):
        return name
    return _quoted(name, "`")


def _list(values: Any) -> str:
    if isinstance(values, str | bytes) or not isinstance(values, Iterable):
        raise FilterError(f"filter: in takes a list, not {values!r}")
    return "[" + ", ".join(_value(value) for value in values) + "]"


def _value(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return _quoted(value)
    if isinstance(value, int):
        return str(int(value))
    if isinstance(value, float):
        return _number(value)
    if isinstance(value, datetime):
        return _moment(value)
    if isinstance(value, UUID):
        return _quoted(str(value))
    if hasattr(value, "item") and getattr(value, "ndim", None) == 0:  # numpy's scalars
        return _value(value.item())
    raise FilterError(f"filter: {value!r} is a {type(value).__name__}; a string form cannot hold it")


def _number(value: float) -> str:
    if value != value:
        raise FilterError("filter: NaN equals nothing, not even NaN")
    if value in (float("inf"), float("-inf")):
        return "1e999" if value > 0 else "-1e999"
    return repr(float(value))


def _moment(value: datetime) -> str:
    if value.utcoffset() is None:
        raise FilterError(f"filter: {value!r} has no time zone; use datetime.now(UTC) or .astimezone()")
    return f"time({_quoted(value.astimezone(UTC).isoformat())})"


def _quoted(text: str, quote: str = '"') -> str:
    out = []
    for character in text:
        if character == quote or character == "\\":
            out.append("\\" + character)
        elif character < " ":
            out.append(f"\\u{ord(character):04x}")
        else:
            out.append(character)
    return quote + "".join(out) + quote
