"""Where a cluster is: omen://host:7700,host2:7700."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import Final, NamedTuple

from ..errors import InvalidError

PORT: Final = 7700
_PAUSE_SECONDS: Final = 1.0  # a node that could not be reached is asked later


class Node(NamedTuple):
    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def _node(text: str, address: str) -> Node:
    host, bracket, behind = text[1:].partition("]") if text.startswith("[") else ("", "", "")
    if bracket:
        port = behind.removeprefix(":")
        if behind and not behind.startswith(":"):
            raise InvalidError(f"address {address!r}: {text!r} has something between ']' and the port")
    else:
        host, _, port = text.partition(":")
    if not host:
        raise InvalidError(f"address {address!r}: {text!r} has no host")
    if port and not (port.isascii() and port.isdigit() and 0 < int(port) < 65536):
        raise InvalidError(f"address {address!r}: the port of {text!r} is not 1..65535")
    return Node(host, int(port) if port else PORT)


def parse(address: str) -> list[Node]:
    """The nodes of an address, in its order, each once. A port that is not there is 7700."""
    if not isinstance(address, str):
        raise InvalidError(f"address is a {type(address).__name__}, expected omen://host:port,...")
    scheme, separator, hosts = address.partition("://")
    if not separator:
        hosts = address
    elif scheme != "omen":
        raise InvalidError(f"address {address!r}: its scheme is {scheme!r}, expected omen")
    nodes = [_node(part.strip(), address) for part in hosts.rstrip("/").split(",")]
    return list(dict.fromkeys(nodes))


class Ring:
    """Whom to ask: one node for as long as it answers in time, since it knows what was made through it; then the next.

    The first is drawn at random, or all clients would be the first node's.
    """

    __slots__ = ("_at", "_clock", "_not_before", "nodes")

    def __init__(
        self,
        nodes: list[Node],
        clock: Callable[[], float] = time.monotonic,
        draw: Callable[[int], int] = random.randrange,
    ) -> None:
        self.nodes = nodes
        self._clock = clock
        self._at = draw(len(nodes))
        self._not_before = dict.fromkeys(nodes, 0.0)

    def pick(self) -> Node:
        now = self._clock()
        for i in range(len(self.nodes)):
            at = (self._at + i) % len(self.nodes)
            if self._not_before[self.nodes[at]] <= now:
                self._at = at
                break
        return self.nodes[self._at]

    def failed(self, node: Node) -> None:
        self._not_before[node] = self._clock() + _PAUSE_SECONDS
        self.late(node)

    def late(self, node: Node) -> None:
        """It let a request's time run out: another is asked from now on.

        It may be cut off from the others, which it does not know.
        """
        if self.nodes[self._at] == node:
            self._at = (self._at + 1) % len(self.nodes)

    def reached(self, node: Node) -> None:
        self._not_before[node] = 0.0

    def is_open(self, node: Node) -> bool:
        """It has not failed just now."""
        return self._not_before[node] <= self._clock()
