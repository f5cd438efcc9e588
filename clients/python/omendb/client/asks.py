"""Requests that are not about a collection's points, and the checks that both clients share."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Mapping
from typing import Any, Final

from ..errors import InvalidError
from .course import Call, Repeat
from .wire import Params

_NAME: Final = re.compile(r"[A-Za-z0-9_-]{1,64}\Z")
_CLIENT: Final = "omendb-python"

# What changes something and carries no operation's id: done again it might be done twice.
_READS: Final = frozenset(
    [
        *("system.ping", "system.health", "system.info", "system.metrics"),
        *("cluster.info", "cluster.members", "cluster.events", "node.list", "node.get"),
        *("shard.list", "shard.get", "shard.verify", "job.list", "job.get", "key.list", "alias.list"),
        *("collection.get", "collection.list", "collection.stats"),
        *("point.get", "point.count", "point.scroll", "point.facet"),
        *("query.search", "query.batch", "query.range", "query.recommend", "query.why_not", "recall.measure"),
    ]
)


# After which names mean something else: what was learned of collections is forgotten.
RENAMES: Final = frozenset(["collection.create", "collection.drop", "alias.set", "alias.drop"])


def key_seed() -> bytes:
    """What a key's secret is made of. The server would draw one as well, but for each try another."""
    return os.urandom(16)


def hello(api_key: str | None) -> Params:
    from .. import __version__

    return Params("system.hello", {"client": _CLIENT, "version": __version__, "api_key": api_key, "errors": "map"})


def plain(method: str, params: Mapping[str, Any] | None = None) -> Call[dict[str, Any]]:
    """A method of the protocol as it is."""
    given = dict(params or {})
    writes = Repeat.OPERATION if given.get("op_id") is not None else Repeat.ONCE
    return Call(Params(method, given), dict, Repeat.READ if method in _READS else writes)


def change(method: str, params: Mapping[str, Any]) -> Call[dict[str, Any]]:
    """Of the cluster: done once however often it is sent, and answered each time as the first time."""
    return Call(Params(method, params, operation=True), dict, Repeat.OPERATION)


def rows(method: str, key: str, params: Mapping[str, Any] | None = None) -> Call[list[dict[str, Any]]]:
    return Call(Params(method, params or {}), lambda answer: list(answer[key]))


def seconds(timeout: Any) -> float:
    """A timeout: more than none at all, and not for ever."""
    if not isinstance(timeout, int | float) or not math.isfinite(timeout) or timeout <= 0:
        raise InvalidError(f"timeout is {timeout!r}, expected seconds above 0")
    return min(float(timeout), 86400.0)


def name_of(name: Any) -> str:
    """Of a collection or an alias."""
    if not isinstance(name, str) or not _NAME.match(name):
        raise InvalidError(f"collection {name!r}: a name is 1..64 of A-Z a-z 0-9 _ -")
    return name
