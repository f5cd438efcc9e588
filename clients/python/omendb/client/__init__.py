"""The client of an OmenDB cluster, in Python alone: msgpack and numpy, and no native module.

>>> import omendb
>>> with omendb.connect("omen://localhost:7700") as client:
...     docs = client.create_collection("docs", dimension=384, if_not_exists=True)
...     docs.upsert(vectors, ids, payloads)
...     for id, distance in docs.search(query, k=10, filter=omendb.F.year >= 2020): ...
"""

from __future__ import annotations

from .async_client import AsyncClient
from .async_collection import AsyncCollection
from .client import Client
from .collection import Collection
from .results import Facet, Hits, ShardFailed

__all__ = ["AsyncClient", "AsyncCollection", "Client", "Collection", "Facet", "Hits", "ShardFailed"]
