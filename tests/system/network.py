"""tests/system/network.py -- a network that a test can cut: a host for each node, and the test itself, at one switch.

For a process that is in a network namespace of its own (alone.py). A cut is made at who sends: it has a wrong hardware address for whom it
shall not reach, so that packets vanish silently, as on a broken line, and in one direction alone. Kernels without netem have no means to
delay them, so that a slow line is a process (slow_lines.py) between two TAP devices.
"""
from __future__ import annotations

import fcntl
import os
import pathlib
import struct
import subprocess
import sys

from alone import run

NETWORK, SWITCH = "10.77.0", "switch"
NOWHERE = "02:00:00:00:00:01"  # nobody's


TUNSETIFF, IFF_TAP, IFF_NO_PI = 0x400454CA, 0x0002, 0x1000  # <linux/if_tun.h>


class Member:
    """Who has an address in the network: a host, or the test's own clients."""

    def __init__(self, number: int, device: str, *within: str) -> None:
        self.address = f"{NETWORK}.{number}"
        self.device = device
        self.within_ip = within
        self.cut_from: set[str] = set()

    def ip(self, *words: str) -> None:
        run("ip", *self.within_ip, *words)

    def reach_not(self, other: Member) -> None:
        """What this one sends to the other one is lost."""
        self.ip("neigh", "replace", other.address, "lladdr", NOWHERE, "dev", self.device, "nud", "permanent")
        self.cut_from.add(other.address)

    def heal(self) -> None:
        for address in self.cut_from:
            self.ip("neigh", "del", address, "dev", self.device)
        self.cut_from.clear()


class Host(Member):
    def __init__(self, name: str, number: int) -> None:
        super().__init__(number, "line", "-n", name)
        self.name = name
        run("ip", "netns", "add", name)
        self.plug_in()
        run("ip", "link", "set", f"to-{name}", "master", SWITCH, "up")
        self.ip("addr", "add", f"{self.address}/24", "dev", "line")
        self.ip("link", "set", "lo", "up")
        self.ip("link", "set", "line", "up")

    def plug_in(self) -> None:
        """Makes the line, of which `to-NAME` is the end at the switch."""
        run("ip", "link", "add", f"to-{self.name}", "type", "veth", "peer", "name", "line", "netns", self.name)

    @property
    def within(self) -> list[str]:
        """The command that runs another one there, in the same process."""
        return ["nsenter", f"--net=/run/netns/{self.name}"]


class SlowHost(Host):
    """One whose line can be slow and lose what it sends."""

    def plug_in(self) -> None:
        inner, outer = self.tap(f"in-{self.name}"), self.tap(f"to-{self.name}")
        run("ip", "link", "set", f"in-{self.name}", "netns", self.name, "name", "line")
        program = pathlib.Path(__file__).with_name("slow_lines.py")
        self.carrier = subprocess.Popen([sys.executable, str(program), str(inner), str(outer)], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, text=True, pass_fds=(inner, outer))
        self.lost = 0  # frames, when it was last told what to send
        os.close(inner)
        os.close(outer)

    @staticmethod
    def tap(name: str) -> int:
        made = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
        fcntl.ioctl(made, TUNSETIFF, struct.pack("16sH22x", name.encode(), IFF_TAP | IFF_NO_PI))
        return made

    def send(self, delay_ms: int, loss: float) -> None:
        """From now on, what the host sends takes so long, and this part of it is lost."""
        assert self.carrier.stdin is not None and self.carrier.stdout is not None
        print(delay_ms, loss, file=self.carrier.stdin, flush=True)
        self.lost = int(self.carrier.stdout.readline())

    def heal(self) -> None:
        super().heal()
        self.send(0, 0.0)


class Network:
    host_of = Host

    def __init__(self) -> None:
        pathlib.Path("/run/netns").mkdir(exist_ok=True)
        run("mount", "-t", "tmpfs", "tmpfs", "/run/netns")
        run("ip", "link", "set", "lo", "up")
        run("ip", "link", "add", SWITCH, "type", "bridge")
        run("ip", "link", "set", SWITCH, "up")
        self.clients = Member(250, SWITCH)
        run("ip", "addr", "add", f"{self.clients.address}/24", "dev", SWITCH)
        self.hosts: dict[str, Host] = {}

    def host(self, name: str) -> Host:
        if name not in self.hosts:
            self.hosts[name] = self.host_of(name, len(self.hosts) + 1)
        return self.hosts[name]

    def heal(self) -> None:
        for member in (self.clients, *self.hosts.values()):
            member.heal()


class SlowNetwork(Network):
    host_of = SlowHost

    def slow_down(self, delay_ms: int, loss: float) -> None:
        for host in self.slow():
            host.send(delay_ms, loss)

    def slow(self) -> list[SlowHost]:
        return [host for host in self.hosts.values() if isinstance(host, SlowHost)]
