"""OmenDB: nearest neighbours, embedded.

>>> from omendb import Index
>>> index = Index(dimension=384)
>>> index.add(vectors, ids)              # numpy, any buffer, DLPack, Arrow: read where it lies
>>> for id, distance in index.search(query, k=10): ...
"""

from __future__ import annotations

from typing import Any, NoReturn

from . import errors
from ._core import Hits, Index, __version__, kernel, pack, unpack
from .errors import OmenError, OmenWarning
from .filters import Expression, F
from .types import Ext, Point, Recall

__all__ = [
    "Expression",
    "Ext",
    "F",
    "Hits",
    "Index",
    "OmenError",
    "OmenWarning",
    "Point",
    "Recall",
    "__version__",
    "connect",
    "connect_async",
    "errors",
    "kernel",
    "pack",
    "unpack",
]


def _no_client(name: str) -> NoReturn:
    raise errors.UnsupportedError(
        f"omendb.{name}: this version has the embedded engine only; the client comes with the server. Use omendb.Index."
    )


def connect(address: str, api_key: str | None = None, tls: Any = None, timeout: float | None = None) -> NoReturn:
    """Connects to a server; not in this version: raises UnsupportedError."""
    _no_client("connect")


def connect_async(address: str, api_key: str | None = None, tls: Any = None, timeout: float | None = None) -> NoReturn:
    """Connects to a server, for asyncio; not in this version: raises UnsupportedError."""
    _no_client("connect_async")
