"""OmenDB: nearest neighbours, embedded, or served by a cluster.

>>> from omendb import Index
>>> index = Index(dimension=384)
>>> index.add(vectors, ids)              # numpy, any buffer, DLPack, Arrow: read where it lies
>>> for id, distance in index.search(query, k=10): ...

>>> client = omendb.connect("omen://localhost:7700")
>>> client.collection("docs").search(query, k=10)

The engine is a native module, and the client wants the package msgpack (`pip install omendb[client]`); where one of
them is missing, the other works.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from . import errors
from .errors import OmenError, OmenWarning
from .filters import Expression, F
from .types import Ext, Point, Recall

if TYPE_CHECKING:
    from ._core import Hits, Index, __version__, kernel, pack, unpack
    from .client import AsyncClient, Client
else:
    try:
        from ._core import Hits, Index, __version__, kernel, pack, unpack
    except ModuleNotFoundError as missing:
        if missing.name != "omendb._core":
            raise
        from ._no_core import Hits, Index, __version__, kernel, pack, unpack

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


def _no_tls(tls: Any) -> None:
    if tls is not None:
        raise errors.UnsupportedError("tls: this version has no TLS; put the nodes into a network that is yours")


def connect(address: str, api_key: str | None = None, tls: Any = None, timeout: float = 10.0) -> Client:
    """A client of the cluster at omen://host:7700,host2:7700, connected to one of its nodes.

    `timeout` is what a call may take in seconds, all its tries together; some calls take another.
    """
    from .client import Client

    _no_tls(tls)
    return Client(address, api_key, timeout).open()


async def connect_async(
    address: str, api_key: str | None = None, tls: Any = None, timeout: float = 10.0
) -> AsyncClient:
    """As connect, for asyncio: `client = await omendb.connect_async(...)`."""
    from .client import AsyncClient

    _no_tls(tls)
    return await AsyncClient(address, api_key, timeout).open()
