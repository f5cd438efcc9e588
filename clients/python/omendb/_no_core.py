"""What stands for the engine where its native module is not installed: everything says so when it is used."""

from __future__ import annotations

from typing import Any, Final, NoReturn

from .errors import UnsupportedError

__version__: Final = "0.1.0"


def _refuse(name: str) -> NoReturn:
    raise UnsupportedError(f"omendb.{name}: the engine (omendb._core) is not installed here; the client works")


class Index:
    """The engine, which is not installed."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        _refuse("Index")


class Hits:
    """The engine's hits, which is not installed."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        _refuse("Hits")


def kernel() -> str:
    """The engine is not installed: raises UnsupportedError."""
    _refuse("kernel")


def pack(value: Any, /) -> bytes:
    """The engine is not installed: raises UnsupportedError."""
    _refuse("pack")


def unpack(data: Any, /) -> Any:
    """The engine is not installed: raises UnsupportedError."""
    _refuse("unpack")
