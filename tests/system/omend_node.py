"""tests/system/omend_node.py -- an omend process of a test: started on any ports, heard by its log, ended by signals.

Nothing waits by the clock: what a test waits for is a line of the log, or the process's end; a deadline only ends a test that hangs.
"""
from __future__ import annotations

import os
import pathlib
import queue
import shlex
import signal
import subprocess
import threading
import time

SECONDS = 60.0  # that anything may take


def fields(line: str) -> dict[str, str]:
    """A line of the log by its keys; of what is none (a sanitizer's report), nothing."""
    if not line.startswith("time="):
        return {}
    return dict(part.split("=", 1) for part in shlex.split(line))


class Node:
    """One node, and one process of it after the other."""

    def __init__(self, program: str, folder: pathlib.Path, name: str, host: str = "127.0.0.1") -> None:
        self.program = program
        self.within: list[str] = []  # the command that runs it: in another network, say
        self.options: list[str] = []  # of every start
        self.environment: dict[str, str] = {}
        self.data = folder / name
        self.name = name
        self.process: subprocess.Popen[str] | None = None
        self.lines: list[dict[str, str]] = []  # of the process that runs, as far as they were waited for
        self.text: list[str] = []
        self._queue: queue.Queue[str | None] = queue.Queue()
        self.peer = self.listen = ""
        self.ports = (f"{host}:0", f"{host}:0")  # kept from the first start on
        self.node = self.cluster = ""

    def start(self, *options: str, ready: bool = True) -> dict[str, str]:
        """Starts it; returns its node.ready line."""
        listen, peer = self.ports
        command = [*self.within, self.program, "--data", str(self.data), "--listen", listen, "--peer", peer, "--name", self.name,
                   "--profile", "fast", *self.options, *options]
        # A machine that tests run on may be nearly full, and is nobody's whose deletes need a reserve. Who tests the reserve says one.
        ours = {"OMEN_DISK_RESERVE": "0"} | self.environment
        environment = {key: value for key, value in os.environ.items() if not key.startswith("OMEN_")} | ours
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment)
        self.lines, self.text = [], []
        self._queue = queue.Queue()
        threading.Thread(target=self._read, args=(self.process, self._queue), daemon=True).start()
        if not ready:
            return {}
        said = self.wait_for("node.ready")
        self.listen, self.peer = said["listen"], said["peer"]
        self.ports = (self.listen, self.peer)
        self.node, self.cluster = said["node"], said["cluster"]
        return said

    @staticmethod
    def _read(process: subprocess.Popen[str], lines: queue.Queue[str | None]) -> None:
        assert process.stderr is not None
        with process.stderr:
            for line in process.stderr:
                lines.put(line)
        lines.put(None)

    def wait_for(self, event: str, **wanted: str) -> dict[str, str]:
        """The next line of this event with these values, among those that nobody has waited past."""
        said = self.hears(event, **wanted)
        if said is None:
            raise AssertionError(f"{self.name} ended before {event} {wanted}; it said:\n{''.join(self.text[-40:])}")
        return said

    def hears(self, event: str, **wanted: str) -> dict[str, str] | None:
        """The same; None where it ends before it says so."""
        end = time.monotonic() + SECONDS
        while True:
            try:
                line = self._queue.get(timeout=max(0.0, end - time.monotonic()))
            except queue.Empty:
                raise AssertionError(f"{self.name}: no {event} {wanted} within {SECONDS} s; it said:\n{''.join(self.text[-40:])}") from None
            if line is None:
                self._queue.put(None)  # for who waits for its end
                return None
            said = fields(line)
            self.lines.append(said)
            self.text.append(line)
            if said.get("event") == event and all(said.get(key) == value for key, value in wanted.items()):
                return said

    def stands_at(self, event: str, **wanted: str) -> dict[str, str]:
        """As wait_for, of a line that says how things are: it may have been said already, before node.ready perhaps, if none of this
        event came after it."""
        said = next((line for line in reversed(self.lines) if line.get("event") == event), {})
        return said if said and all(said.get(key) == value for key, value in wanted.items()) else self.wait_for(event, **wanted)

    def signal(self, number: signal.Signals) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    def wait(self) -> int:
        """Until it ends: its exit code, or minus the signal."""
        assert self.process is not None
        code = self.process.wait(SECONDS)
        while (line := self._queue.get(timeout=SECONDS)) is not None:
            self.lines.append(fields(line))
            self.text.append(line)
        return code

    def log(self) -> str:
        """All that the process has said so far; nothing of it is waited for any more."""
        while not self._queue.empty() and (line := self._queue.get()) is not None:
            self.text.append(line)
        return "".join(self.text)

    def stop(self) -> int:
        self.signal(signal.SIGTERM)
        return self.wait()

    def kill(self) -> int:
        self.signal(signal.SIGKILL)
        return self.wait()

    def runs(self) -> bool:
        return self.process is not None and self.process.poll() is None
