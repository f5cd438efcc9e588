"""tests/system/network_case.py -- a cluster each of whose nodes is a host of a network that the test can cut."""
from __future__ import annotations

from cluster import ClusterCase
from network import Network
from omend_node import Node


class NetworkCase(ClusterCase):
    network: Network

    @classmethod
    def setUpClass(cls) -> None:
        super().setUpClass()
        cls.network = Network()

    def node(self, name: str) -> Node:
        host = self.network.host(name)
        key = self.folder / "key"
        key.write_text("a key of forty bytes for this test alone")
        key.chmod(0o600)
        made = Node(self.program, self.folder, name, host.address)
        made.within = host.within
        made.options = ["--cluster-key", str(key), "--insecure"]
        return made

    def cut(self, victim: Node, hears: bool, is_heard: bool) -> None:
        """From the other nodes; clients reach it."""
        host = self.network.host(victim.name)
        for other in (self.network.host(node.name) for node in self.others(victim)):
            if not is_heard:
                host.reach_not(other)
            if not hears:
                other.reach_not(host)
