"""tests/system/test_conformance.py -- the cases of clients/conformance against real nodes, by every client: Python's two and C's.

usage: test_conformance.py PATH_OF_OMEND PATH_OF_CALLER [unittest options]
"""
from __future__ import annotations

import asyncio
import pathlib
import struct
import subprocess
import sys
import unittest
from collections.abc import Mapping
from typing import Any, ClassVar

import omendb
from omendb.client import asks, wire
from omendb.client.course import Repeat

from cluster import ClusterCase
from omend_node import SECONDS

sys.path.insert(0, str(pathlib.Path(__file__).parents[2] / "clients" / "conformance"))
import run

CALLER = ""
ANSWER = bytes([0x94, 1, 0, 0xC0])  # what is before the result of a message
PATIENCE = 6.0  # for copies on a busy machine
OUTCOMES = (None, "not_applied", "applied", "unknown")  # by enum api_outcome


class Async:
    """The client for asyncio, one call after the other."""

    def __init__(self, address: str, api_key: str) -> None:
        self._runner = asyncio.Runner()
        self._client = self._runner.run(omendb.connect_async(address, api_key=api_key, timeout=SECONDS))

    def call(self, method: str, params: Mapping[str, Any]) -> Any:
        return self._runner.run(self._client.call(method, params))

    def close(self) -> None:
        self._runner.run(self._client.close())
        self._runner.close()


class C:
    """The C client, in a process of its own (tests/system/caller.c)."""

    def __init__(self, address: str, api_key: str) -> None:
        self._process = subprocess.Popen([CALLER, address, api_key], stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def _read(self, count: int) -> bytes:
        assert self._process.stdout is not None
        data = self._process.stdout.read(count)
        if len(data) != count:
            raise AssertionError(f"the caller ended with {self._process.wait()}")
        return data

    def call(self, method: str, params: Mapping[str, Any], flags: int = 0) -> Any:
        assert self._process.stdin is not None
        packed = wire.pack({key: value for key, value in params.items() if value is not None})
        flags |= asks.plain(method, params).repeat is not Repeat.ONCE
        self._process.stdin.write(struct.pack("=III", len(method), len(packed), flags) + method.encode() + packed)
        self._process.stdin.flush()
        status, outcome, name_bytes, body_bytes = struct.unpack("=iIII", self._read(16))
        name, body = self._read(name_bytes).decode(), self._read(body_bytes)
        if status != 0:
            error = wire.error_named(name, body.decode())
            error.outcome = OUTCOMES[outcome]
            raise error
        return wire.Answers().feed(ANSWER + body)[0][2]

    def call_in_session(self, method: str, params: Mapping[str, Any]) -> Any:
        return self.call(method, params, flags=2)

    def close(self) -> None:
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.close()
        self._process.stdout.close()
        if self._process.wait(20) != 0:
            raise AssertionError("the caller did not end well")


class Conformance(ClusterCase):
    api_key = "root.s3cret"
    clients: ClassVar[dict[str, Any]] = {
        "blocking": lambda address, api_key: omendb.connect(address, api_key=api_key, timeout=SECONDS),
        "asyncio": Async,
        "C": C,
    }

    def claim_conforms(self, which: str) -> None:
        self.found()
        cases = run.all_cases()
        self.assertGreater(len(cases), 30)
        client = self.clients[which](self.address, self.api_key)
        self.addCleanup(client.close)
        for case in cases:
            with self.subTest(str(case)):
                case.run(client, PATIENCE)
        with self.subTest("what is not as expected is found"), self.assertRaises(run.Unexpected):
            run.Case("none", "none", [{"call": "cluster.info", "expect": {"nodes": 4}}]).run(client)
        type(self).kept = self

    def test_the_blocking_client_of_python(self) -> None:
        self.claim_conforms("blocking")

    def test_the_client_of_python_for_asyncio(self) -> None:
        self.claim_conforms("asyncio")

    def test_the_client_of_c(self) -> None:
        self.claim_conforms("C")


if __name__ == "__main__":
    ClusterCase.program = sys.argv.pop(1)
    CALLER = sys.argv.pop(1)
    unittest.main()
