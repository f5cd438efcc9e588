"""tests/system/test_interop.py -- clients of msgpack-RPC that others wrote, as they are: each makes a collection, writes, reads, searches.

usage: test_interop.py PATH_OF_OMEND [unittest options]

Each is driven by a small program in interop/. Those in Python that CI has, and npm's, are prepared by `make test`, all of them
by `make interop`; what is not there is skipped, and with OMENDB_REQUIRE_INTEROP=name,... fails.
"""
from __future__ import annotations

import json
import os
import pathlib
import shutil
import struct
import subprocess
import sys
import tempfile
import time
import unittest
from typing import Any

from omend_node import SECONDS, Node
from rpc_client import Client

OMEND = ""
ROOT = pathlib.Path(__file__).resolve().parents[2]
INTEROP = ROOT / "tests/system/interop"
BUILT = ROOT / "build/interop"
REQUIRED = os.environ.get("OMENDB_REQUIRE_INTEROP", "").split(",")


# As a binary and as what old clients take for one, a string; no text, since no UTF-8.
def binary(*numbers: float) -> dict[str, str]:
    return {"$bin": struct.pack(f"<{len(numbers)}f", *numbers).hex()}


def is_busy(said: dict[str, Any]) -> bool:
    """Pynvim tells no more of an error than its second letter."""
    return "ok" not in said and ("BUSY: " in str(said) or said.get("error") == "U")


class Foreign:
    """A driver at work: a line for a call, a line for its answer."""

    def __init__(self, command: list[str], address: str, environment: dict[str, str]) -> None:
        self.process = subprocess.Popen([*command, *address.rsplit(":", 1)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                                        env={**os.environ, **environment})

    def answer(self, method: str, ask: dict[str, Any], times: int = 1) -> dict[str, Any]:
        assert self.process.stdin is not None and self.process.stdout is not None
        print(json.dumps({"method": method, "ask": ask, "times": times}), file=self.process.stdin, flush=True)
        line = self.process.stdout.readline()
        if not line:
            raise AssertionError(f"the client ended at {method}")
        return json.loads(line)

    def call(self, method: str, **ask: Any) -> Any:
        """Until it is not told BUSY, as it may be at any moment where this machine stands still for longer than a lease: nothing was done."""
        end = time.monotonic() + SECONDS
        said = self.answer(method, ask)
        while is_busy(said) and time.monotonic() < end:
            said = self.answer(method, ask)
        if "ok" not in said:
            raise AssertionError(f"{method}: {said}")
        return said["ok"][0]

    def end(self) -> int:
        self.process.communicate(timeout=60)
        return self.process.returncode


class Interop(unittest.TestCase):
    node: Node

    @classmethod
    def setUpClass(cls) -> None:
        folder = tempfile.TemporaryDirectory(prefix="omendb-test-")
        cls.addClassCleanup(folder.cleanup)
        cls.node = Node(OMEND, pathlib.Path(folder.name), "a")
        cls.addClassCleanup(lambda: cls.node.runs() and cls.node.kill())
        cls.node.start()
        cls.node.stands_at("meta.nodes", up="1")

    def lacking(self, name: str, why: str) -> None:
        if name in REQUIRED:
            self.fail(f"{name}: {why}")
        self.skipTest(why)

    def python(self, name: str, interpreter: pathlib.Path, module: str) -> list[str]:
        have = shutil.which(interpreter) is not None
        if not have or subprocess.run([interpreter, "-c", f"import {module}"], stderr=subprocess.DEVNULL, check=False).returncode != 0:
            self.lacking(name, f"{interpreter} has no {module}: run `make interop`")
        return [str(interpreter), str(INTEROP / f"{name}.py")]

    # ---- what each of them must be able to do ----

    def until_open(self, collection: str) -> None:
        """By a client of our own, so that the foreign one is never told to try again."""
        client = Client(self.node.listen)
        self.addCleanup(client.close)
        while not [row for row in client.call("shard.list")["shards"] if row["collection"] == collection and row["in_sync"]]:
            pass

    def try_out(self, name: str, command: list[str], environment: dict[str, str] | None = None, error: str = "EXISTS: ") -> None:
        foreign = Foreign(command, self.node.listen, environment or {})
        self.addCleanup(foreign.end)
        self.assertEqual(foreign.call("system.hello")["cluster"], self.node.cluster)
        made = foreign.call("collection.create", name=name, dimension=4, metric="l2", shards=2, replicas=1)
        self.assertEqual((made["name"], made["dimension"]), (name, 4))
        self.until_open(name)

        written = foreign.call("point.upsert", collection=name, ids=[1, 2], vectors=[[-1, 0, 0, 0.5], [-2, 0, 0, 0.5]])
        self.assertEqual(written["count"], 2)
        self.assertTrue(all(key.isdecimal() and len(place) == 2 for key, place in written["token"].items()))
        both = {"$bin": binary(-3, 0, 0, 0.5)["$bin"] + binary(-4, 0, 0, 0.5)["$bin"]}
        written = foreign.call("point.upsert", collection=name, ids=[3, 4], vectors=both, payloads=[{"tag": "three"}, None])
        self.assertEqual(written["count"], 2)

        found = foreign.call("query.search", collection=name, vector=binary(-4, 0, 0, 0.5), k=3, after=written["token"])
        self.assertEqual([hit["id"] for hit in found["hits"]], [4, 3, 2])
        self.assertEqual([hit["distance"] for hit in found["hits"]], [0, 1, 4])
        found = foreign.call("query.search", collection=name, vector=[-1, 0, 0, 0.5], k=4, filter='tag = "three"')
        self.assertEqual([hit["id"] for hit in found["hits"]], [3])
        points = foreign.call("point.get", collection=name, ids=[3, 9], **{"with": ["payload", "vector"]})["points"]
        self.assertEqual((points[0]["payload"], points[1]), ({"tag": "three"}, None))
        self.assertEqual(points[0]["vector"], binary(-3, 0, 0, 0.5))

        self.assertEqual(len(foreign.answer("point.count", {"collection": name, "consistency": "strong"}, times=200)["ok"]), 200)
        self.assertIn(error, foreign.answer("collection.create", {"name": name, "dimension": 4, "metric": "l2"})["error"])
        self.assertIn("error", foreign.answer("no.such.method", {}))
        self.assertEqual(foreign.call("point.delete", collection=name, ids=[1, 2])["count"], 2)
        self.assertEqual(foreign.call("point.count", collection=name, consistency="strong")["count"], 2)
        self.assertEqual(foreign.end(), 0)  # once its input ends

    # ---- who they are ----

    def test_aio_msgpack_rpc(self) -> None:
        self.try_out("aio", self.python("aio", ROOT / "build/venv/bin/python", "aio_msgpack_rpc"))

    def test_pynvim(self) -> None:
        command = self.python("nvim", ROOT / "build/venv/bin/python", "pynvim")
        self.try_out("nvim", command, error="X")  # it takes an error for [code, text], and the second of a string for the text

    def test_msgpack_rpc_python_of_2013(self) -> None:
        self.try_out("old", self.python("old", BUILT / "old/bin/python", "msgpackrpc"))

    def test_msgpack5rpc_of_npm(self) -> None:
        modules = BUILT / "npm/node_modules"
        if shutil.which("node") is None or not (modules / "msgpack5rpc").exists():
            self.lacking("npm", "no node, or no msgpack5rpc: run `make interop`")
        self.try_out("npm", ["node", str(INTEROP / "npm/driver.js")], {"NODE_PATH": str(modules)})

    def test_ugorji_codec_of_go(self) -> None:
        program = BUILT / "go/driver"
        if not program.exists():
            self.lacking("go", "the driver in Go is not built: run `make interop`")
        self.try_out("go", [str(program)])


if __name__ == "__main__":
    OMEND = sys.argv.pop(1)
    unittest.main()
