"""tests/system/network_case.py -- a cluster each of whose nodes is a host of a network that the test can cut."""
from __future__ import annotations

import functools
from collections.abc import Iterable

from cluster import ClusterCase
from network import Network
from omend_node import Node


@functools.cache
def one_network(kind: type[Network]) -> Network:
    """A process has one, whose hosts its classes share."""
    return kind()


class NetworkCase(ClusterCase):
    network_of = Network
    network: Network

    @classmethod
    def setUpClass(cls) -> None:
        super().setUpClass()
        cls.network = one_network(cls.network_of)

    def node(self, name: str) -> Node:
        host = self.network.host(name)
        key = self.folder / "key"
        key.write_text("a key of forty bytes for this test alone")
        key.chmod(0o600)
        made = Node(self.program, self.folder, name, host.address)
        made.within = host.within
        made.options = ["--metadata-voters", str(self.voters), "--cluster-key", str(key), "--insecure"]
        return made

    def cut(self, victim: Node, hears: bool, is_heard: bool) -> None:
        """From the other nodes; clients reach it."""
        host = self.network.host(victim.name)
        for other in (self.network.host(node.name) for node in self.others(victim)):
            if not is_heard:
                host.reach_not(other)
            if not hears:
                other.reach_not(host)

    def part(self, *groups: Iterable[Node]) -> None:
        """A node reaches those with whom it is in a group, and no others; clients reach all."""
        together = [{self.network.host(node.name) for node in group} for group in groups]
        hosts = {self.network.host(node.name) for node in self.nodes}
        for host in hosts:
            for other in hosts - {host}:
                if not any({host, other} <= group for group in together):
                    host.reach_not(other)
