"""Which node to ask for a point: the primary of its shard, so that no other has to pass the request on.

Any node answers any request. So what is known here may be old, and costs a hop then and never an error; and nothing
waits for it. A table is learned in the background, of `shard.list` with `map_only`, so that learning it costs the
shards' copies nothing; a server of before that key refuses it, and is asked without. It is learned anew when

- a connection that it led to has failed,
- an answer's token names a shard that it does not have, or a later term: another is primary, or the shard was split,
- the client has changed collections or aliases, or
- it is half a minute old.

Nodes are those of the client's address: each is asked who it is. One whose map of the cluster is older than the table
is not asked for anything by it, since it may not know the collection.
"""

from __future__ import annotations

import random
import threading
import time
from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple

from .address import Node
from .hashing import hash_of
from .wire import Params

IDS_MOST: Final = 16  # of a request that is looked at; more are seldom of one shard
_FRESH_SECONDS: Final = 30.0
_PAUSE_SECONDS: Final = 1.0  # between two times that a table is learned


class Route(NamedTuple):
    """What a request is about."""

    collection: str
    ids: Sequence[int | str] = ()  # none: a search, which all shards take part in
    primary: bool = False  # it is for the primary: a write, or a strong read


def questions(collection: str) -> tuple[Params, Params]:
    """What a table is learned of; and of a server that calls the first INVALID, for it does not know the key."""
    ask = {"collection": collection}
    return Params("shard.list", {**ask, "map_only": True}), Params("shard.list", ask)


class Shard(NamedTuple):
    first: int
    last: int
    number: int
    term: int
    primary: str
    copies: frozenset[str]  # nodes that have one in sync


class Table:
    """Of a collection's shards."""

    __slots__ = ("_firsts", "_shards", "_terms", "names", "nodes")

    def __init__(self, rows: Sequence[Mapping[str, Any]], nodes: Mapping[str, Node]) -> None:
        """Of rows of shard.list, and of the nodes that may be asked, by their ids."""
        shards = []
        for row in rows:
            if row["state"] in ("open", "splitting"):
                first, _, last = row["range"].partition("-")
                copies = frozenset(row["in_sync"])
                shards.append(
                    Shard(int(first, 16), int(last, 16), row["shard"], row.get("term", 0), row["primary"], copies)
                )
        self._shards = sorted(shards)
        self._firsts = [shard.first for shard in self._shards]
        self._terms = {shard.number: shard.term for shard in shards}
        self.nodes = dict(nodes)
        self.names = {node: name for name, node in nodes.items()}

    def shard_of(self, ids: Sequence[int | str]) -> Shard | None:
        """The one that all of them belong to."""
        found: Shard | None = None
        for id in ids:
            hashed = hash_of(id)
            at = -1 if hashed is None else bisect_right(self._firsts, hashed) - 1
            if hashed is None or at < 0 or hashed > self._shards[at].last or found not in (None, self._shards[at]):
                return None
            found = self._shards[at]
        return found

    def is_older(self, token: Mapping[Any, Sequence[int]]) -> bool:
        return any(place[0] > self._terms.get(int(shard), -1) for shard, place in token.items())


class Routes:
    """Of all collections that a client asks about; from any thread."""

    def __init__(
        self, clock: Callable[[], float] = time.monotonic, draw: Callable[[list[Node]], Node] = random.choice
    ) -> None:
        self._clock = clock
        self._draw = draw
        self._lock = threading.Lock()
        self._tables: dict[str, Table] = {}
        self._learned_at: dict[str, float] = {}
        self._learn_at: dict[str, float] = {}  # infinite: it is being learned
        self._made = 0  # how often all was forgotten

    def wants(self, collection: str) -> int | None:
        """Whether it is to be learned, by who asks, who then says `learned` of it, with this number."""
        with self._lock:
            if self._clock() < self._learn_at.get(collection, 0.0):
                return None
            self._learn_at[collection] = float("inf")
            return self._made

    def learned(self, collection: str, table: Table | None, asked: int, whole: bool = True) -> None:
        """None: it could not be. Not `whole`: some node is to be asked again who it is."""
        with self._lock:
            if asked != self._made:
                return  # of before a change
            fresh = table is not None and whole
            now = self._learned_at[collection] = self._clock()
            self._learn_at[collection] = now + (_FRESH_SECONDS if fresh else _PAUSE_SECONDS)
            if table is not None:
                self._tables[collection] = table

    def failed(self, collection: str) -> None:
        """What is known of it has led to nobody, or is older than an answer."""
        with self._lock:
            if self._learn_at.get(collection, 0.0) < float("inf"):
                self._learn_at[collection] = self._learned_at.get(collection, 0.0) + _PAUSE_SECONDS

    def led_nowhere(self, route: Route | None) -> None:
        if route is not None:
            self.failed(route.collection)

    def forget(self) -> None:
        """Collections have changed."""
        with self._lock:
            self._made += 1
            self._tables.clear()
            self._learned_at.clear()
            self._learn_at.clear()

    def saw(self, route: Route | None, answer: Any) -> None:
        table = self._tables.get(route.collection) if route is not None else None
        token = answer.get("token") if table is not None and isinstance(answer, dict) else None
        if table is not None and route is not None and token and table.is_older(token):
            self.failed(route.collection)

    def node_of(self, route: Route, at_hand: Node, load: Callable[[Node], float]) -> Node:
        """Where to send it; `load` is how many requests a node has of ours, infinite where it is not connected.

        A search goes to the less loaded one of the node at hand and another.
        """
        table = self._tables.get(route.collection)
        if table is None or not table.nodes:
            return at_hand
        if not route.ids:
            other = self._draw(list(table.nodes.values()))
            return other if load(other) < load(at_hand) else at_hand
        shard = table.shard_of(route.ids)
        if shard is None or (not route.primary and table.names.get(at_hand) in shard.copies):
            return at_hand
        primary = table.nodes.get(shard.primary, at_hand)
        if load(primary) < float("inf"):
            return primary
        self.failed(route.collection)
        return at_hand
