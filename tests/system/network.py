"""tests/system/network.py -- a network that a test can cut: a host for each node, and the test itself, at one switch.

For a process that is in a network namespace of its own (alone.py). A cut is made at who sends: it has a wrong hardware address for whom it
shall not reach, so that packets vanish silently, as on a broken line, and in one direction alone.
"""
from __future__ import annotations

import pathlib

from alone import run

NETWORK, SWITCH = "10.77.0", "switch"
NOWHERE = "02:00:00:00:00:01"  # nobody's


class Host:
    def __init__(self, name: str, number: int) -> None:
        self.name = name
        self.address = f"{NETWORK}.{number}"
        run("ip", "netns", "add", name)
        run("ip", "link", "add", f"to-{name}", "type", "veth", "peer", "name", "line", "netns", name)
        run("ip", "link", "set", f"to-{name}", "master", SWITCH, "up")
        self.ip("addr", "add", f"{self.address}/24", "dev", "line")
        self.ip("link", "set", "lo", "up")
        self.ip("link", "set", "line", "up")
        self.cut_from: set[str] = set()

    def ip(self, *words: str) -> None:
        run("ip", "-n", self.name, *words)

    @property
    def within(self) -> list[str]:
        """The command that runs another one there, in the same process."""
        return ["nsenter", f"--net=/run/netns/{self.name}"]

    def reach_not(self, other: Host) -> None:
        """What this one sends to the other one is lost."""
        self.ip("neigh", "replace", other.address, "lladdr", NOWHERE, "dev", "line", "nud", "permanent")
        self.cut_from.add(other.address)

    def heal(self) -> None:
        for address in self.cut_from:
            self.ip("neigh", "del", address, "dev", "line")
        self.cut_from.clear()


class Network:
    def __init__(self) -> None:
        pathlib.Path("/run/netns").mkdir(exist_ok=True)
        run("mount", "-t", "tmpfs", "tmpfs", "/run/netns")
        run("ip", "link", "set", "lo", "up")
        run("ip", "link", "add", SWITCH, "type", "bridge")
        run("ip", "link", "set", SWITCH, "up")
        run("ip", "addr", "add", f"{NETWORK}.250/24", "dev", SWITCH)
        self.hosts: dict[str, Host] = {}

    def host(self, name: str) -> Host:
        if name not in self.hosts:
            self.hosts[name] = Host(name, len(self.hosts) + 1)
        return self.hosts[name]

    def heal(self) -> None:
        for host in self.hosts.values():
            host.heal()
