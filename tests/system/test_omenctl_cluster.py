"""tests/system/test_omenctl_cluster.py -- omenctl against real nodes: what each noun says, and every code that it ends with.

usage: test_omenctl_cluster.py OMENCTL OMEND CLIENT [unittest options]

CLIENT is tests/system/client.c, a program of the C client's users.
"""
from __future__ import annotations

import hashlib
import json
import os
import pathlib
import pty
import shutil
import signal
import socket
import struct
import subprocess
import sys
import time
import unittest
from typing import Any

from fake_node import FakeNode, Refusal
from node_case import NodeCase
from omend_node import Node

OMENCTL = CLIENT = ""
SECONDS = 60.0  # that anything may take

FINE, OTHER, USAGE, NOT_FOUND, PRECONDITION, UNREACHABLE = 0, 1, 2, 3, 4, 5
TIMEOUT, AUTH, PARTIAL, DEGRADED, CORRUPT, VERSION = 6, 7, 8, 9, 10, 11


class Done:
    def __init__(self, done: subprocess.CompletedProcess[str]) -> None:
        self.code, self.out, self.talk = done.returncode, done.stdout, done.stderr

    @property
    def json(self) -> Any:
        return json.loads(self.out)


def omenctl(*words: object, **variables: str) -> Done:
    environment = {key: value for key, value in os.environ.items() if not key.startswith("OMEN_")} | variables
    return Done(subprocess.run([OMENCTL, *map(str, words)], stdin=subprocess.DEVNULL, capture_output=True, text=True,
                               check=False, timeout=300, env=environment))


def free_port() -> str:
    """An address where nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return f"127.0.0.1:{taken.getsockname()[1]}"


def write_fbin(path: pathlib.Path, rows: list[list[float]]) -> pathlib.Path:
    path.write_bytes(struct.pack("<II", len(rows), len(rows[0])) + b"".join(struct.pack(f"<{len(row)}f", *row) for row in rows))
    return path


class Case(NodeCase):
    def setUp(self) -> None:
        super().setUp()
        self.endpoints = ""

    def node(self, name: str, *options: str) -> Node:
        made = self.made(name)
        made.start(*options)
        return made

    def one(self, *options: str) -> Node:
        node = self.node("a", *options)
        node.stands_at("meta.nodes", nodes="1", up="1")
        self.endpoints = node.listen
        return node

    def fake(self, **answers: Any) -> FakeNode:
        made = FakeNode(**answers)
        self.addCleanup(made.close)
        self.endpoints = made.address
        return made

    def run_(self, *words: object, **variables: str) -> Done:
        return omenctl("-e", self.endpoints, *words, **variables)

    def fine(self, *words: object, **variables: str) -> Any:
        """What it says as JSON."""
        done = self.run_("-o", "json", *words, **variables)
        self.assertEqual(done.code, FINE, done.talk)
        return done.json

    def table(self, *words: object) -> list[list[str]]:
        """The words of each of its lines."""
        done = self.run_(*words)
        self.assertEqual(done.code, FINE, done.talk)
        return [line.split() for line in done.out.splitlines()]

    def refused(self, done: Done, code: int, *parts: str) -> None:
        self.assertEqual((done.code, done.out), (code, ""), done.talk)
        for part in parts:
            self.assertIn(part, done.talk)

    def until(self, what: str, holds: Any) -> None:
        """Asks again and again until it holds: other nodes' states cannot be waited for otherwise."""
        end = time.monotonic() + SECONDS
        while not holds():
            self.assertLess(time.monotonic(), end, what)


class OneNode(Case):
    """A cluster of one, and a collection with three points."""

    def setUp(self) -> None:
        super().setUp()
        self.one()
        made = self.fine("collection", "create", "docs", "-d", 4, "--metric", "l2", "--shards", 2, "--replicas", 1)
        self.assertEqual((made["name"], made["dimension"], made["metric"], made["shards"]), ("docs", 4, "l2", 2))
        self.until("the shards are open", lambda: {row["state"] for row in self.fine("shard", "list")} == {"open"})
        written = self.fine("point", "upsert", "docs", 1, 2, 3, "--vectors", "[[1,2,3,4],[0,0,0,1],[9,9,9,9]]", "--payloads",
                            '[{"city": "Oslo"}, {"city": "Bergen"}, {"city": "Oslo", "old": true}]')
        self.assertEqual(written["count"], 3)

    def test_status_says_state_nodes_and_collections(self) -> None:
        status = self.fine("status")
        self.assertEqual((status["cluster"]["state"], status["cluster"]["nodes"], status["cluster"]["shards"]), ("green", 1, 2))
        self.assertEqual([row["name"] for row in status["nodes"]], ["a"])
        self.assertEqual([row["name"] for row in status["collections"]], ["docs"])
        table = self.run_("status").out
        self.assertRegex(table, r"(?m)^  state +green$")
        self.assertRegex(table, r"(?m)^  leader +a$")  # the name, where JSON has the uuid
        self.assertRegex(self.run_("cluster", "info").out, r"(?m)^leader +a$")
        self.assertRegex(table, r"(?m)^  NAME +STATE +MEMBER +ROLES")
        self.assertRegex(table, r"(?m)^  a +up +alive +data,router +")  # it keeps data, and so builds for nobody else

    def test_check_finds_nothing_wrong_and_names_an_endpoint_that_is_gone(self) -> None:
        checks = self.fine("check")
        self.assertEqual({row["result"] for row in checks}, {"ok"})
        self.assertEqual([row["detail"] for row in checks if row["check"] == "metadata"], ["led by a; 1 vote"])
        gone = free_port()
        done = omenctl("-e", f"{gone},{self.endpoints}", "-o", "json", "check")
        self.assertEqual(done.code, DEGRADED)
        self.assertIn("1 checks found something wrong", done.talk)
        wrong = [row for row in done.json if row["result"] == "wrong"]
        self.assertEqual([row["check"] for row in wrong], ["endpoint"])
        self.assertIn(gone, wrong[0]["detail"])
        advised = omenctl("-e", f"{gone},{self.endpoints}", "-o", "json", "doctor")
        self.assertEqual((advised.code, {row["advice"] != "" for row in advised.json if row["result"] == "ok"}), (DEGRADED, {False}))
        self.assertEqual([row["check"] for row in advised.json if "--endpoints" in row["advice"]], ["endpoint"])

    def test_cluster_node_system_and_events_say_what_the_protocol_says(self) -> None:
        info = self.fine("cluster", "info")
        node = self.nodes[0]
        self.assertEqual((info["cluster"], info["leader"]), (node.cluster, node.node))
        self.assertEqual([row["node"] for row in self.fine("cluster", "members")], [node.node])
        self.assertEqual([row["node"] for row in self.fine("node", "list")], [node.node])
        self.assertEqual(self.fine("node", "get", "a")["client"], node.listen)
        self.assertEqual(self.fine("system", "health"), {"live": True, "ready": True})
        self.assertEqual(self.fine("system", "ping"), {})
        self.assertEqual(self.fine("system", "info")["node"], node.node)
        self.assertIn("\nomen_ready 1\n", self.run_("system", "metrics").out)
        kinds = [row["kind"] for row in self.fine("events")]
        self.assertIn("collection-created", kinds)
        self.assertEqual(self.fine("events", "--after", 1, "--limit", 1)[0]["event"], 2)
        self.assertEqual(self.fine("events", "--after", 0, "--limit", 1)[0]["event"], 1)
        last = self.fine("events")[-1]
        self.assertEqual(self.fine("events", "--limit", 2)[-1], last)  # the latest
        rows = self.table("events", "--limit", 1)
        self.assertEqual(rows[0][:3], ["EVENT", "TIME", "KIND"])
        self.assertRegex(rows[1][1], r"\A20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z\Z")
        self.assertGreater(last["time_ms"], 1_700_000_000_000)

    def test_where_there_is_nothing_a_table_says_so_on_stderr(self) -> None:
        self.fine("collection", "create", "empty", "-d", 2, "--metric", "l2", "--replicas", 1)
        for words, said in {("job", "list"): "no jobs", ("key", "list"): "no keys", ("alias", "list"): "no aliases",
                            ("cluster", "rebalance", "--dry-run"): "nothing to move", ("point", "scroll", "empty"): "no points",
                            ("query", "search", "empty", "--vector", "[1,2]"): "no hits",
                            ("query", "batch", "empty", "--vectors", "[[1,2],[3,4]]"): "no hits",
                            ("shard", "list", "--collection", "docs", "-q"): ""}.items():
            with self.subTest(words):
                self.until("it answers", lambda words=words: self.run_(*words).code == FINE)
                done = self.run_(*words)
                self.assertEqual((done.out == "", done.talk), (said != "", f"{said}\n" if said else ""))
                if said:
                    self.assertEqual(self.run_("-q", *words).talk, "")
                    silent = self.run_("-o", "json", *words)
                    self.assertEqual((silent.json, silent.talk), ([], ""))

    def test_an_index_on_a_field_is_refused_with_the_point_that_does_not_have_its_type(self) -> None:
        self.refused(self.run_("collection", "index-field", "docs", "city", "--type", "integer"), USAGE, "FIELD_TYPE", "city")
        done = self.run_("collection", "index-field", "docs", "city", "--type", "integer")
        self.assertRegex(done.talk, r': id [123]: field "city" as integer: there is a value that is string')
        self.fine("collection", "create", "texts", "-d", 2, "--metric", "l2", "--replicas", 1)
        self.until("it is open", lambda: self.run_("point", "upsert", "texts", "doc-1", "--vectors", "[[1,0]]", "--payloads",
                                                   '[{"n": "one"}]').code == FINE)
        done = self.run_("collection", "index-field", "texts", "n", "--type", "integer")
        self.assertIn(': id "doc-1": field "n" as integer', done.talk)

    def test_none_is_a_number_and_what_nobody_said_is_a_dash(self) -> None:
        def cells(*words: object) -> dict[str, str]:
            """Of the last row of the last table; columns with nothing in them are none."""
            lines = self.table(*words)
            names = next(line for line in reversed(lines) if "NAME" in line)
            return dict(zip(names, lines[-1], strict=True))

        self.assertEqual((cells("node", "list")["SHARDS"], cells("node", "list")["PRIMARIES"]), ("2", "2"))
        self.fine("collection", "create", "empty", "-d", 2, "--metric", "l2", "--replicas", 1)
        for words in (["collection", "list"], ["status"]):
            self.until("it is known to be empty", lambda words=words: cells(*words)["POINTS"] == "0")
        self.assertEqual(self.fine("collection", "get", "empty")["points"], 0)
        row = {"name": "docs", "id": 1, "dimension": 1, "metric": "l2", "dtype": "f32", "shards": 1, "replicas": 1, "min_insync": 1}
        self.fake(collection__list={"collections": [row]}, node__list={"nodes": [
            {"node": "x", "name": "a", "roles": ["data"], "zone": "z", "member": "alive", "client": "x", "state": "up", "shards": 0}]})
        self.assertEqual(cells("collection", "list")["POINTS"], "-")
        self.assertEqual((cells("node", "list")["SHARDS"], cells("node", "list")["PRIMARIES"]), ("0", "-"))

    def test_a_shard_at_rest_is_no_job(self) -> None:
        shard = self.fine("shard", "list")[0]["shard"]
        self.assertEqual(self.fine("job", "list"), [])
        for words in (["job", "get", shard], ["job", "watch", shard], ["job", "cancel", shard, "--yes"]):
            self.refused(self.run_(*words), NOT_FOUND, f"no job {shard}", f"no move or split of shard {shard} is under way")
        self.refused(self.run_("job", "get", 999), NOT_FOUND, "no job 999")

    def test_collections_are_made_listed_changed_and_dropped(self) -> None:
        self.assertEqual([row["name"] for row in self.fine("collection", "list")], ["docs"])
        self.assertEqual(self.fine("collection", "get", "docs")["dimension"], 4)
        self.refused(self.run_("collection", "create", "docs", "-d", 4, "--metric", "l2"), PRECONDITION, "EXISTS")
        self.refused(self.run_("collection", "create", "x", "-d", 70000), USAGE, "dimension is 70000")
        self.refused(self.run_("collection", "create", "no name", "-d", 4), USAGE, "name has a character at place 2")
        self.fine("collection", "index-field", "docs", "city", "--type", "keyword")
        indexed = [{"field": "city", "type": "keyword"}]
        self.until("the index is shown", lambda: self.fine("collection", "get", "docs").get("fields") == indexed)
        self.until("and in the list", lambda: self.fine("collection", "list")[0].get("fields") == indexed)
        self.until("with its points", lambda: self.fine("collection", "list")[0].get("points") == 3)
        self.fine("collection", "drop-field", "docs", "city", "--yes")
        self.refused(self.run_("collection", "drop-field", "docs", "city", "--yes"), NOT_FOUND, 'field "city" has no index')
        self.refused(self.run_("collection", "drop", "docs"), USAGE, "--yes")
        asked = self.fine("collection", "drop", "docs", "--dry-run")
        self.assertEqual(asked, {"dry_run": True, "method": "collection.drop", "params": {"collection": "docs"}})
        self.assertEqual([row["name"] for row in self.fine("collection", "list")], ["docs"])
        self.fine("collection", "drop", "docs", "--yes")
        self.assertEqual(self.fine("collection", "list"), [])
        self.refused(self.run_("collection", "drop", "docs", "--yes"), NOT_FOUND, "docs")
        self.fine("collection", "drop", "docs", "--yes", "--if-exists")

    def test_aliases_are_second_names(self) -> None:
        self.fine("alias", "set", "current", "docs")
        self.assertEqual(self.fine("alias", "list"), [{"alias": "current", "collection": "docs"}])
        self.assertEqual(self.fine("point", "count", "current")["count"], 3)
        self.fine("alias", "drop", "current", "--yes")
        self.refused(self.run_("alias", "drop", "current", "--yes"), NOT_FOUND, "current")

    def test_shards_are_listed_and_shown(self) -> None:
        rows = self.fine("shard", "list", "--collection", "docs")
        self.assertEqual(len(rows), 2)
        for row in rows:
            self.assertEqual((row["collection"], row["primary"], row["in_sync"]), ("docs", self.nodes[0].node,
                                                                                 [self.nodes[0].node]))
        self.until("all points are counted", lambda: sum(row["points"] for row in self.fine("shard", "list")) == 3)
        of_the_map = self.fine("shard", "list", "--map-only")
        self.assertEqual([row["shard"] for row in of_the_map], [row["shard"] for row in self.fine("shard", "list")])
        self.assertEqual([row for row in of_the_map if "seq" in row or "points" in row], [])
        got = self.fine("shard", "get", rows[0]["shard"])
        self.assertEqual(got["range"], rows[0]["range"])
        self.assertEqual((got["seq"], got["points"]), (got["replicas"][0]["seq"], self.fine("shard", "list")[0]["points"]))
        self.refused(self.run_("shard", "get", 999), NOT_FOUND, "999")
        self.refused(self.run_("shard", "get", "x"), USAGE, "shard: 'x' is no whole number")

    def test_points_are_read_counted_patched_and_deleted(self) -> None:
        points = self.fine("point", "get", "docs", 1, 4, "--with", "payload,vector")
        self.assertEqual((points[0]["id"], points[0]["payload"], points[0]["vector"]), (1, {"city": "Oslo"}, [1, 2, 3, 4]))
        self.assertIsNone(points[1])
        done = self.run_("point", "get", "docs", 4, "-q")
        self.assertEqual(done.code, NOT_FOUND)
        self.assertEqual(self.fine("point", "count", "docs", "--filter", "city = 'Oslo'")["count"], 2)
        self.assertEqual(self.fine("point", "count", "docs", "--filter", '{"city": "Bergen"}')["count"], 1)
        self.refused(self.run_("point", "count", "docs", "--filter", "city ="), USAGE, "FILTER")
        token = self.fine("point", "patch", "docs", 1, "--set", '{"seen": 1}', "--unset", "city", "--yes")["token"]
        got = self.fine("point", "get", "docs", 1, "--with", "payload", "--consistency", "session", "--after", json.dumps(token))
        self.assertEqual(got[0]["payload"], {"seen": 1})
        facets = self.fine("point", "facet", "docs", "city", "--consistency", "strong")
        self.assertEqual({row["value"]: row["count"] for row in facets}, {"Bergen": 1, "Oslo": 1})
        version = got[0]["version"]
        self.refused(self.run_("point", "delete", "docs", 1, "--if-version", version + 1000, "--yes", "-q", "-o", "ndjson"),
                     PRECONDITION)
        self.assertEqual(self.fine("point", "delete", "docs", 1, 2, "--yes")["count"], 2)
        self.assertEqual(self.fine("point", "delete", "docs", "--filter", "old = true", "--yes")["count"], 1)
        self.assertEqual(self.fine("point", "count", "docs", "--consistency", "strong")["count"], 0)

    def test_a_scroll_says_how_to_go_on(self) -> None:
        seen, cursor = [], []
        for _ in range(4):
            done = self.run_("point", "scroll", "docs", "--limit", 1, "-o", "ndjson", *cursor)
            self.assertEqual(done.code, FINE, done.talk)
            seen += [json.loads(line)["id"] for line in done.out.splitlines()]
            if "--cursor" not in done.talk:
                break
            cursor = ["--cursor", done.talk.split("--cursor ")[1].strip()]
        self.assertEqual(sorted(seen), [1, 2, 3])

    def test_searches_find_explain_and_say_why_not(self) -> None:
        hits = self.fine("query", "search", "docs", "--vector", "[1,2,3,4]", "-k", 2, "--with", "payload")
        self.assertEqual([(hit["id"], hit["distance"]) for hit in hits], [(1, 0), (2, 23)])
        self.assertEqual(hits[0]["payload"], {"city": "Oslo"})
        vector = self.folder / "vector.json"
        vector.write_text("[1, 2, 3, 4]")
        self.assertEqual([hit["id"] for hit in self.fine("query", "search", "docs", "--vector", f"@{vector}", "-k", 1)], [1])
        self.assertEqual([hit["id"] for hit in self.fine("query", "search", "docs", "--id", 1, "-k", 1)], [2])
        table = self.run_("query", "search", "docs", "--vector", "[1,2,3,4]", "-k", 1).out
        self.assertEqual(table.split(), ["ID", "DISTANCE", "VERSION", "1", "0", str(hits[0]["version"])])
        explained = self.fine("query", "explain", "docs", "--vector", "[1,2,3,4]")["explain"]
        self.assertEqual(len(explained["shards"]), 2)
        why = self.fine("query", "why-not", "docs", 2, "--vector", "[1,2,3,4]", "-k", 1)
        self.assertEqual((why.get("found", False), why["rank"]), (False, 2))
        self.assertEqual([hit["id"] for hit in self.fine("query", "range", "docs", "--vector", "[1,2,3,4]", "--radius", 1)], [1])
        self.assertIn(2, [hit["id"] for hit in self.fine("query", "recommend", "docs", "--positive", "1", "-k", 2)])
        self.assertEqual(self.fine("recall", "docs", "--samples", 3, "-k", 1)["recall"], 1)
        self.refused(self.run_("query", "search", "docs", "--vector", "[1,2,3]"), USAGE, "DIMENSION")
        self.refused(self.run_("query", "search", "docs", "--vector", "[1,2,3,4]", "-k", 10001), USAGE, "K: ")
        self.refused(self.run_("query", "search", "docs", "--vector", "one"), USAGE, "--vector")
        self.refused(self.run_("query", "search", "none", "--vector", "[1,2,3,4]"), NOT_FOUND, "none")

    def test_text_ids_are_texts_even_when_they_look_like_numbers(self) -> None:
        self.fine("collection", "create", "texts", "-d", 2, "--metric", "l2", "--replicas", 1)
        self.until("it is open", lambda: self.run_("point", "upsert", "texts", "doc-1", '"42"', "--vectors",
                                                   "[[1,0],[0,1]]").code == FINE)
        self.assertEqual([hit["id"] for hit in self.fine("query", "search", "texts", "--vector", "[0,1]")], ["42", "doc-1"])
        self.assertEqual(self.fine("point", "get", "texts", '"42"')[0]["id"], "42")
        self.refused(self.run_("point", "get", "texts", "42"), NOT_FOUND)

    def test_formats_hold_the_same(self) -> None:
        rows = self.fine("collection", "list")
        lines = self.run_("collection", "list", "-o", "ndjson").out.splitlines()
        self.assertEqual([json.loads(line) for line in lines], rows)
        self.assertIn("name: docs", self.run_("collection", "list", "-o", "yaml").out.replace('"', ""))
        self.assertEqual(self.run_("collection", "list", OMEN_OUTPUT="json").json, rows)
        self.refused(self.run_("collection", "list", OMEN_OUTPUT="xml"), USAGE, "OMEN_OUTPUT is 'xml'")

    def test_the_environment_stands_in_for_options(self) -> None:
        self.assertEqual(omenctl("system", "ping", OMEN_ENDPOINTS=self.endpoints).code, FINE)
        self.assertEqual(omenctl("system", "ping", "-e", self.endpoints, OMEN_ENDPOINTS=free_port()).code, FINE)
        self.refused(self.run_("system", "ping", OMEN_TIMEOUT="soon"), USAGE, "'soon'")
        self.refused(self.run_("system", "ping", "--timeout", "0"), USAGE, "'0'")
        self.refused(omenctl("-e", "host:port", "system", "ping"), USAGE, "'host:port' has no port")

    def test_an_option_of_a_variable_that_is_not_set_asks_no_other_cluster(self) -> None:
        for name in ("endpoints", "context", "api-key", "api-key-file", "timeout"):
            with self.subTest(name):
                self.refused(omenctl("system", "ping", f"--{name}", "", OMEN_ENDPOINTS=self.endpoints), USAGE,
                             f"--{name} is empty")

    def test_a_no_at_the_prompt_changes_nothing_and_ends_with_1(self) -> None:
        terminal, end = pty.openpty()
        with subprocess.Popen([OMENCTL, "-e", self.endpoints, "collection", "drop", "docs"], stdin=end,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
            os.write(terminal, b"n\n")
            _, talk = process.communicate(timeout=SECONDS)
        os.close(terminal)
        os.close(end)
        self.assertEqual(process.returncode, OTHER)
        self.assertIn(b"drop the collection docs with all its points? [y/N]", talk)
        self.assertEqual(len(self.fine("collection", "list")), 1)

    def test_a_program_of_the_c_client_does_all_that_its_header_promises(self) -> None:
        done = subprocess.run([CLIENT, self.endpoints], capture_output=True, text=True, check=False, timeout=120)
        self.assertEqual((done.returncode, done.stdout), (0, "fine\n"), done.stderr)


class Import(Case):
    ROWS = 2500

    def setUp(self) -> None:
        super().setUp()
        self.one()
        self.fine("collection", "create", "docs", "-d", 4, "--metric", "l2", "--shards", 2, "--replicas", 1)
        self.until("the shards are open", lambda: {row["state"] for row in self.fine("shard", "list")} == {"open"})
        self.rows = [[float(row), 1.0, 2.0, 3.0] for row in range(self.ROWS)]
        self.input = write_fbin(self.folder / "rows.fbin", self.rows)

    def count(self) -> int:
        return int(self.fine("point", "count", "docs", "--consistency", "strong")["count"])

    def test_rows_of_a_file_are_found(self) -> None:
        payloads = self.folder / "payloads.ndjson"
        payloads.write_text("".join(f'{{"row": {row}}}\n' for row in range(self.ROWS)))
        done = self.fine("import", "docs", self.input, "--first-id", 100, "--payloads", payloads)
        self.assertEqual((done["rows"], done["written"], done["refused"]), (self.ROWS, self.ROWS, 0))
        self.assertEqual(self.count(), self.ROWS)
        hit = self.fine("query", "search", "docs", "--vector", "[1234,1,2,3]", "-k", 1, "--with", "payload", "--exact",
                        "--consistency", "strong")[0]
        self.assertEqual((hit["id"], hit["distance"], hit["payload"]), (1334, 0, {"row": 1234}))

    def test_every_format_brings_the_same_points(self) -> None:
        rows = [[row, 1, 2, 3] for row in range(20)]

        def flat(kind: str) -> bytes:
            return b"".join(struct.pack(f"<4{kind}", *row) for row in rows)

        def each(kind: str) -> bytes:
            return b"".join(struct.pack(f"<I4{kind}", 4, *row) for row in rows)

        def npy(descr: str, kind: str) -> bytes:
            head = f"{{'descr': '{descr}', 'fortran_order': False, 'shape': (20, 4), }}".encode()
            return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(head)) + head + flat(kind)

        dense = struct.pack("<II", 20, 4)
        lines = "".join(json.dumps({"id": 10_000 + row[0], "vector": row}) + "\n" for row in rows)
        table = "id,vector\n" + "".join(f'{11_000 + row[0]},"{row}"\n' for row in rows)
        files = {"f4.npy": npy("<f4", "f"), "f2.npy": npy("<f2", "e"), "u1.npy": npy("|u1", "B"), "i1.npy": npy("|i1", "b"),
                 "a.fvecs": each("f"), "a.bvecs": each("B"), "a.fbin": dense + flat("f"), "a.u8bin": dense + flat("B"),
                 "a.i8bin": dense + flat("b"), "a.ndjson": lines.encode(), "a.jsonl": lines.replace(": 10", ": 12").encode(), "a.csv": table.encode()}
        for number, (name, content) in enumerate(files.items()):
            with self.subTest(name):
                path, first = self.folder / name, {"a.ndjson": 10_000, "a.csv": 11_000, "a.jsonl": 12_000}.get(name)
                path.write_bytes(content)
                words = ["--first-id", number * 100] if first is None else []
                done = self.fine("import", "docs", path, "--batch", 7, *words)
                self.assertEqual((done["rows"], done["written"], done["refused"]), (20, 20, 0))
                begin = number * 100 if first is None else first
                points = self.fine("point", "get", "docs", *range(begin, begin + 20), "--with", "vector", "--consistency", "strong")
                self.assertEqual([point and point["vector"] for point in points], rows)

    def test_more_ids_than_vectors_are_refused_with_both_counts(self) -> None:
        ids = self.folder / "ids.txt"
        lines = "".join(f"{id}\n" for id in range(self.ROWS + 2))
        ids.write_text(lines)
        said = f"ids.txt has {self.ROWS + 2} ids, but there are {self.ROWS} vectors"
        self.refused(self.run_("import", "docs", self.input, "--ids", ids), USAGE, said)
        self.refused(self.run_("import", "docs", self.input, "--ids", ids, "--limit", 5), USAGE, said)
        ids.write_text("".join(f"{id}\n" for id in range(self.ROWS)) + "\n\n")  # empty lines at the end are none
        self.assertEqual(self.fine("import", "docs", self.input, "--ids", ids)["written"], self.ROWS)

    def test_more_payloads_than_vectors_are_refused_with_both_counts(self) -> None:
        payloads = self.folder / "payloads.ndjson"
        lines = "".join(f'{{"n": {row}}}\n' for row in range(self.ROWS))
        payloads.write_text(lines + '{"n": -1}\n')
        said = f"payloads.ndjson has {self.ROWS + 1} payloads, but there are {self.ROWS} vectors"
        self.refused(self.run_("import", "docs", self.input, "--payloads", payloads), USAGE, said)
        self.assertEqual(self.count(), 0)
        payloads.write_text(lines + "\n\n")  # empty lines at the end are none
        self.assertEqual(self.fine("import", "docs", self.input, "--payloads", payloads)["written"], self.ROWS)
        last = self.fine("point", "get", "docs", self.ROWS - 1, "--with", "payload", "--consistency", "strong")
        self.assertEqual(last[0]["payload"], {"n": self.ROWS - 1})

    def test_refused_rows_are_counted_listed_and_end_with_8(self) -> None:
        self.rows[7][1] = float("nan")
        self.rows[1700][2] = float("inf")
        write_fbin(self.input, self.rows)
        listed = self.folder / "refused.ndjson"
        done = self.run_("-o", "json", "import", "docs", self.input, "--refused", listed)
        self.assertEqual(done.code, PARTIAL, done.talk)
        self.assertEqual((done.json["written"], done.json["refused"]), (self.ROWS - 2, 2))
        self.assertEqual([(row["status"], row["rows"], row["first_row"]) for row in done.json["reasons"]], [("NOT_FINITE", 2, 7)])
        said = [json.loads(line) for line in listed.read_text().splitlines()]
        self.assertEqual([row["row"] for row in said], [7, 1700])
        self.assertEqual([row["reason"] for row in said], ["component 1 is NaN", "component 2 is +infinity"])  # of this row alone
        self.assertEqual(self.count(), self.ROWS - 2)

    def test_what_was_interrupted_goes_on_where_its_note_says(self) -> None:
        note = self.folder / "note"
        first = self.fine("import", "docs", self.input, "--resume", note, "--limit", 1000, "--batch", 300)
        self.assertEqual((first["written"], note.read_text().splitlines()[-1]), (1000, "rows: 1000"))
        done = self.run_("-o", "json", "import", "docs", self.input, "--resume", note)
        self.assertEqual((done.json["first_row"], done.json["written"]), (1000, 1500), done.talk)
        self.assertIn(f"begins at row 1000 of 2500, as {note} says", done.talk)
        self.assertEqual(note.read_text().splitlines()[-1], "rows: 2500")
        self.assertEqual(self.count(), self.ROWS)
        again = self.run_("import", "docs", self.input, "--resume", note)
        self.assertEqual(again.code, FINE)
        self.assertIn("begins at row 2500 of 2500", again.talk)

    def test_a_note_of_another_import_is_refused_by_name_and_nothing_is_written(self) -> None:
        note = self.folder / "note"
        self.fine("collection", "create", "other", "-d", 4, "--metric", "l2", "--replicas", 1)
        self.fine("import", "docs", self.input, "--resume", note)
        for row, (words, said) in enumerate({
            ("other", self.input): "collection is 'docs' there, and 'other' here",
            ("docs", shutil.copy(self.input, self.folder / "copy.fbin")): "copy.fbin' here",
            ("docs", self.input, "--format", "u8bin"): "",  # is no such file: the format's own refusal
            ("docs", self.input, "--first-id", 5): "first-id is '0' there, and '5' here",
            ("docs", self.input, "--mode", "insert"): "mode is 'upsert' there, and 'insert' here",
            ("docs", self.input, "--payloads", self.input): "payloads is 'none' there",
        }.items()):
            with self.subTest(row):
                self.refused(self.run_("import", *words, "--resume", note), PRECONDITION if said else USAGE, said)
        self.assertEqual(self.fine("point", "count", "other", "--consistency", "strong")["count"], 0)
        write_fbin(self.input, self.rows[:-1])
        self.refused(self.run_("import", "docs", self.input, "--resume", note), PRECONDITION, "bytes of the input is '40008' there")
        write_fbin(self.input, self.rows)  # as many bytes, and perhaps others
        self.refused(self.run_("import", "docs", self.input, "--resume", note), PRECONDITION, "last change of the input is")

    def test_a_note_of_a_collection_that_was_dropped_and_made_again_is_refused(self) -> None:
        note = self.folder / "note"
        self.fine("import", "docs", self.input, "--resume", note)
        self.fine("collection", "drop", "docs", "--yes")
        self.fine("collection", "create", "docs", "-d", 4, "--metric", "l2", "--replicas", 1)
        self.refused(self.run_("import", "docs", self.input, "--resume", note), PRECONDITION, "number of the collection is")

    def test_a_note_that_does_not_say_of_what_it_is_is_refused(self) -> None:
        note = self.folder / "note"
        note.write_text("2000\n")
        self.refused(self.run_("import", "docs", self.input, "--resume", note), PRECONDITION,
                     "it says 2000 rows, but not of which collection and file", "--skip 2000")
        note.write_text("half\n")
        self.refused(self.run_("import", "docs", self.input, "--resume", note), USAGE, "does not say how far")
        self.refused(self.run_("import", "docs", self.input, "--resume", "-"), USAGE, "not stdin")
        self.assertEqual(self.count(), 0)

    def test_a_terminal_sees_a_bar_that_is_wiped_and_nothing_else_does(self) -> None:
        environment = os.environ | {"TERM": "xterm"}
        for name, quiet in (("TERM", []), ("-q", ["-q"])):
            terminal, end = pty.openpty()
            with subprocess.Popen([OMENCTL, "-e", self.endpoints, "import", "docs", self.input, "--batch", "100", *quiet],
                                  stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=end, env=environment) as process:
                os.close(end)
                said = b""
                while True:
                    try:
                        more = os.read(terminal, 4096)
                    except OSError:  # nobody has the other end any more
                        break
                    if not more:
                        break
                    said += more
                out, _ = process.communicate(timeout=SECONDS)
            os.close(terminal)
            self.assertEqual(process.returncode, FINE, said)
            self.assertIn(b"written", out)
            self.assertNotIn(b"\r", out)
            if quiet:
                self.assertEqual(said, b"", name)
            else:
                self.assertRegex(said, rb"\A\rimporting \[[#.]+\] +\d+ %  \d+ of 2500  \d+/s ")
                self.assertTrue(said.endswith(b"\r\x1b[K"), said)
        plain = self.run_("import", "docs", self.input)
        self.assertEqual((plain.code, plain.talk), (FINE, ""))

    def test_rows_that_are_there_are_refused_when_they_are_to_be_inserted(self) -> None:
        self.fine("import", "docs", self.input, "--limit", 10)
        done = self.run_("-o", "json", "import", "docs", self.input, "--limit", 20, "--mode", "insert")
        self.assertEqual(done.code, PARTIAL, done.talk)
        self.assertEqual((done.json["written"], done.json["reasons"][0]["status"]), (10, "EXISTS"))

    def test_what_does_not_fit_is_refused_before_anything_is_written(self) -> None:
        wide = write_fbin(self.folder / "wide.fbin", [[1.0] * 5])
        self.refused(self.run_("import", "docs", wide), PRECONDITION, "5 components, the collection 4")
        self.refused(self.run_("import", "none", self.input), NOT_FOUND, "none")
        self.refused(self.run_("import", "docs", self.folder / "no.fbin"), NOT_FOUND, "no.fbin")
        self.assertEqual(self.fine("import", "docs", self.input, "--dry-run")["rows"], self.ROWS)
        self.assertEqual(self.count(), 0)


class ImportOfSmallRequests(Case):
    def test_batches_are_cut_as_the_node_says(self) -> None:
        rows = [[float(row)] + [1.0] * 255 for row in range(1000)]  # of 1,024,000 bytes
        self.one("--max-frame-bytes", "65536")
        self.fine("collection", "create", "docs", "-d", 256, "--metric", "l2", "--shards", 1, "--replicas", 1)
        done = self.fine("import", "docs", write_fbin(self.folder / "rows.fbin", rows))
        self.assertEqual((done["rows"], done["written"], done["refused"]), (1000, 1000, 0))
        self.assertEqual(self.fine("point", "count", "docs", "--consistency", "strong")["count"], 1000)


class ExitCodes(Case):
    """Those that want more than a healthy node; test_omenctl.py and the classes above have the rest."""

    def test_nobody_at_any_endpoint_ends_with_5(self) -> None:
        self.endpoints = f"{free_port()},{free_port()}"
        for words in (["status"], ["collection", "list"], ["point", "count", "docs"]):
            self.refused(self.run_(*words), UNREACHABLE, "UNREACHABLE")
        done = self.run_("check")
        self.assertEqual(done.code, UNREACHABLE)
        self.assertIn("no endpoint answers", done.talk)

    def checked(self, **answers: Any) -> dict[str, list[str]]:
        """The details of what check finds wrong, by what it looked at."""
        said = {"cluster__info": {"cluster": "c", "leader": "a", "map_version": 1, "nodes": 1, "voters": 3, "collections": 0,
                                  "shards": 0, "state": "green"},
                "cluster__members": {"members": []}, "node__list": {"nodes": []}, "shard__list": {"shards": []},
                "collection__list": {"collections": []}, "job__list": {"jobs": []}, "system__ping": {}}
        self.fake(**{**said, **answers})
        done = self.run_("-o", "json", "check")
        self.assertEqual(done.code, DEGRADED if any(row["result"] == "wrong" for row in done.json) else FINE, done.talk)
        wrong: dict[str, list[str]] = {}
        for row in done.json:
            if row["result"] == "wrong":
                wrong.setdefault(row["check"], []).append(row["detail"])
        return wrong

    def test_check_misses_a_leader_and_nobody_who_was_decommissioned(self) -> None:
        members = [{"node": f"{name}-uuid", "name": name, "address": "h:1", "roles": ["data"], "state": "dead"} for name in "ab"]
        nodes = [{"node": "a-uuid", "name": "a", "roles": ["data"], "state": "gone"},
                 {"node": "b-uuid", "name": "b", "roles": ["data"], "state": "up"}]
        info = {"cluster": "c", "map_version": 1, "nodes": 1, "voters": 3, "collections": 0, "shards": 0, "state": "red"}
        self.assertEqual(self.checked(cluster__members={"members": members}, node__list={"nodes": nodes}, cluster__info=info),
                         {"member": ["b is dead"], "metadata": ["nobody leads it: of 3 nodes that vote too few are there"]})

    def test_a_job_that_failed_is_wrong_until_another_one_did_not(self) -> None:
        jobs = [{"job": number, "shard": shard, "kind": "build", "state": state, "text": "t"}
                for number, shard, state in ((5, 1, "failed"), (6, 1, "done"), (7, 1, "failed"), (8, 2, "failed"), (9, 2, "running"))]
        self.assertEqual(self.checked(job__list={"jobs": jobs}, shard__list={"shards": [self.shard_of(1, 5000), self.shard_of(2, 5000)]},
                                      collection__stats={"points": 10_000, "tail": 3000, "shards": 2, "shards_failed": 0}),
                         {"job": ["7 has failed: t; 3000 rows have no links yet"]})

    @staticmethod
    def shard_of(number: int, points: int) -> dict[str, Any]:
        return {"shard": number, "collection": "docs", "range": "r", "primary": "a", "in_sync": ["a"], "state": "open", "points": points}

    def test_a_failed_build_is_wrong_only_while_rows_lack_the_links_that_it_was_for(self) -> None:
        def found(*points: int, tail: int, silent: int = 0) -> dict[str, list[str]]:
            """By how many points its shards have; the failed job is of shard 1."""
            shards = [self.shard_of(1 + place, each) for place, each in enumerate(points)]
            stats = {"points": sum(points), "tail": tail, "shards": len(points), "shards_failed": silent}
            job = {"job": 7, "shard": 1, "kind": "build", "state": "failed", "text": "t"}
            return self.checked(job__list={"jobs": [job]}, shard__list={"shards": shards}, collection__stats=stats)

        lacking = {"job": ["7 has failed: t; 1600 rows have no links yet"]}
        self.assertEqual(found(5000, tail=0), {})  # the copies have linked them
        self.assertEqual(found(5000, tail=1600), lacking)
        self.assertEqual(found(800, 800, tail=1600), {})  # shards of so few have no links at all
        self.assertEqual(found(5000, 800, tail=1600), lacking)
        self.assertEqual(found(5000, 800, tail=900), {})
        self.assertEqual(found(5000, tail=0, silent=1), {"job": ["7 has failed: t"]})  # nobody knows
        self.assertEqual(found(tail=1600), {})  # the collection was dropped

    def test_a_shard_with_fewer_live_copies_than_writes_want_is_said_to_take_none(self) -> None:
        members = [{"node": name, "name": name, "address": "h:1", "roles": ["data"], "state": state}
                   for name, state in (("a", "alive"), ("b", "dead"))]
        row = {"name": "docs", "id": 1, "dimension": 1, "metric": "l2", "dtype": "f32", "shards": 1, "replicas": 2, "min_insync": 2}
        shard = {"shard": 7, "collection": "docs", "range": "r", "primary": "a", "in_sync": ["a", "b"], "state": "open"}
        wrong = self.checked(cluster__members={"members": members}, collection__list={"collections": [row]},
                             shard__list={"shards": [shard]})
        self.assertEqual(wrong["shard"], ["7 of docs has a primary, and 1 of 2 copies in sync and alive: fewer than min_insync, "
                                          "so writes wait"])

    def test_an_answer_that_does_not_come_ends_with_6_and_says_that_nobody_knows(self) -> None:
        node = self.fake()
        for seconds in (2, 20):  # where nothing was sent within the first, because this machine stood still, that is known
            done = self.run_("--timeout", str(seconds), "alias", "set", "a", "docs")
            if node.calls("alias.set"):
                break
        self.refused(done, TIMEOUT, "whether it was done is not known")
        self.assertEqual(len(node.calls("alias.set")), 1)

    def test_no_key_a_wrong_one_and_one_that_may_not_end_with_7(self) -> None:
        config = self.folder / "omend.yaml"
        digest = hashlib.sha256(b"s3cret").hexdigest()
        config.write_text(f"api-keys:\n  - name: root\n    role: admin\n    sha256: {digest}\n")
        self.one("--config", str(config))
        self.refused(self.run_("collection", "list"), AUTH, "AUTH")
        self.refused(self.run_("collection", "list", "--api-key", "root.wrong"), AUTH, "AUTH")
        key = self.folder / "key"
        key.write_text("root.s3cret\n")
        self.assertEqual(self.fine("collection", "list", "--api-key-file", key), [])
        self.assertEqual(self.fine("collection", "list", OMEN_API_KEY="root.s3cret"), [])
        self.assertEqual(self.fine("collection", "list", OMEN_API_KEY_FILE=str(key)), [])
        made = self.fine("key", "create", "reader", "--role", "read", "--collections", "do*", OMEN_API_KEY="root.s3cret")
        self.assertEqual([row["name"] for row in self.fine("key", "list", OMEN_API_KEY="root.s3cret")], ["reader"])
        self.refused(self.run_("alias", "set", "a", "docs", OMEN_API_KEY=made["api_key"]), AUTH, "AUTH")
        self.fine("key", "revoke", "reader", "--yes", OMEN_API_KEY="root.s3cret")
        self.assertEqual(self.fine("key", "list", OMEN_API_KEY="root.s3cret"), [])
        fast = ["key", "create", "fast", "--role", "read", "--rate", "250"]
        self.until("all nodes know of rates", lambda: self.run_(*fast, OMEN_API_KEY="root.s3cret").code == FINE)
        self.assertEqual([row["rate"] for row in self.fine("key", "list", OMEN_API_KEY="root.s3cret")], [250])
        key.write_text("\n")
        self.refused(self.run_("collection", "list", "--api-key-file", key), USAGE, "has no key")

    def test_where_nobody_is_asked_for_a_key_none_is_made_and_a_wrong_one_ends_with_7(self) -> None:
        self.one()
        self.refused(self.run_("key", "create", "k1", "--role", "read"), PRECONDITION, "api-keys")
        self.refused(self.run_("key", "list", "--api-key", "k1.bad"), AUTH, "AUTH")
        self.assertEqual(self.fine("key", "list"), [])

    def test_an_answer_without_some_shards_ends_with_8(self) -> None:
        self.fake(query__search={"hits": [{"id": 1, "distance": 0.5}], "shards_failed": [{"shard": 7, "name": "TIMEOUT"}]})
        done = self.run_("query", "search", "docs", "--vector", "[1]", "-o", "json")
        self.assertEqual((done.code, [hit["id"] for hit in done.json]), (PARTIAL, [1]))
        self.assertIn("shard 7 is missing in this answer: TIMEOUT", done.talk)

    def test_statistics_without_some_shards_end_with_8(self) -> None:
        stats = {"points": 5, "memory_bytes": 3 << 20, "shards": 2, "shards_failed": 1}
        self.fake(collection__stats=stats)
        done = self.run_("collection", "stats", "docs", "-o", "json")
        self.assertEqual((done.code, done.json), (PARTIAL, stats))
        self.assertIn("1 of 2 shards", done.talk)
        self.assertRegex(self.run_("collection", "stats", "docs").out, r"memory_bytes +3.0 MiB")

    def test_points_that_were_refused_end_with_8(self) -> None:
        failed = {"row": 1, "name": "EXISTS", "message": "id 2 exists already", "outcome": "not_applied"}
        node = self.fake(point__upsert={"count": 1, "failed": [failed]})
        done = self.run_("point", "upsert", "docs", 1, 2, "--vectors", "[[1],[2]]")
        self.assertEqual(done.code, PARTIAL)
        self.assertIn("row 1: EXISTS: id 2 exists already", done.talk)
        self.assertEqual(len(node.calls("point.upsert")[0]["op_id"]), 16)

    def test_copies_that_differ_end_with_10(self) -> None:
        copies = [{"node": "a", "checksum": "0" * 32}, {"node": "b", "checksum": "1" * 32}]
        node = self.fake(shard__verify={"shards": [{"shard": 1, "seq": 5, "copies": copies}]})
        done = self.run_("shard", "verify", "docs", "-o", "json")
        self.assertEqual((done.code, done.json[0]["copies"]), (CORRUPT, copies))
        copies[1]["checksum"] = copies[0]["checksum"]
        self.assertEqual(self.run_("shard", "verify", "docs", "-o", "yaml").code, FINE)
        self.assertEqual(node.calls("shard.verify")[0]["collection"], "docs")

    def test_copies_that_differ_beside_missing_ones_end_with_10(self) -> None:
        copies = [{"node": "a", "checksum": "0" * 32}, {"node": "b", "checksum": "1" * 32}]
        shard = {"shard": 1, "seq": 5, "copies": copies, "missing": [{"node": "c", "reason": "no answer in time"}]}
        self.fake(shard__verify={"shards": [shard]})
        done = self.run_("shard", "verify", "docs", "-o", "json")
        self.assertEqual((done.code, done.json), (CORRUPT, [shard]))
        self.assertIn("1 copies, of 1 shards, could not be compared", done.talk)
        self.assertIn("1 shards have copies that differ", done.talk)

    def test_a_name_that_two_nodes_have_is_not_shown_for_either(self) -> None:
        node = {"zone": "z", "roles": ["data"], "state": "up"}
        nodes = [{"node": f"uuid-{place}", "name": name} | node for place, name in enumerate(["a", "twin", "twin"])]
        copies = [{"node": each["node"], "checksum": "0" * 32} for each in nodes] + [{"node": "uuid-9", "checksum": "0" * 32}]
        self.fake(shard__verify={"shards": [{"shard": 1, "seq": 5, "copies": copies}]}, node__list={"nodes": nodes})
        self.assertEqual([row[2] for row in self.table("shard", "verify", "docs")[1:]], ["a", "uuid-1", "uuid-2", "uuid-9"])

    def test_a_method_that_the_node_does_not_know_ends_with_11(self) -> None:
        def unknown(_: dict[str, Any]) -> None:
            raise Refusal("METHOD")

        self.fake(job__list=unknown)
        self.refused(self.run_("job", "list"), VERSION, "METHOD")


class ThreeNodes(Case):
    """Three nodes, and two collections with a copy of each of their five shards on all of them."""

    SHARDS = 5

    def setUp(self) -> None:
        super().setUp()
        self.node("a")
        for name in ("b", "c"):
            self.node(name, "--join", self.nodes[0].peer)
        for node in self.nodes:
            node.stands_at("meta.nodes", nodes="3", up="3", voters="3")
        self.endpoints = ",".join(node.listen for node in self.nodes)
        self.fine("collection", "create", "docs", "-d", 4, "--metric", "l2", "--shards", 3, "--replicas", 3)
        self.fine("collection", "create", "idle", "-d", 4, "--metric", "l2", "--shards", 2, "--replicas", 3)
        self.until("everything is well", lambda: self.run_("check").code == FINE)

    def kill_on_an_idle_cluster(self) -> None:
        self.nodes[2].kill()
        self.until("it is dead to the others", lambda: "dead" in {row["state"] for row in self.fine("cluster", "members")})

        def all_lack_a_copy() -> bool:
            info = self.fine("cluster", "info")
            return (info.get("degraded_shards"), info.get("lost_shards")) == (self.SHARDS, None)

        self.until("every shard lacks a copy, and has a primary", all_lack_a_copy)

    def test_a_cluster_that_lost_a_node_ends_with_9(self) -> None:
        self.nodes[0].kill()
        self.until("the status is degraded", lambda: self.run_("status").code == DEGRADED)  # the endpoints behind the first
        done = self.run_("check", "-o", "json")
        self.assertEqual(done.code, DEGRADED, done.talk)
        self.assertIn("endpoint", {row["check"] for row in done.json if row["result"] == "wrong"})

    def test_status_check_and_doctor_agree_on_what_a_node_that_is_killed_in_an_idle_cluster_leaves(self) -> None:
        self.kill_on_an_idle_cluster()
        status = self.run_("status")
        self.assertEqual(status.code, DEGRADED, status.talk)
        self.assertIn(f"{self.SHARDS} shards lack copies, 0 have no primary", status.talk)
        shards = sorted(row["shard"] for row in self.fine("shard", "list"))
        for verb in ("check", "doctor"):
            done = self.run_(verb, "-o", "json")
            self.assertEqual(done.code, DEGRADED, done.talk)
            wrong = [row["detail"] for row in done.json if (row["check"], row["result"]) == ("shard", "wrong")]
            self.assertEqual(sorted(int(detail.split()[0]) for detail in wrong), shards, verb)
            for detail in wrong:
                self.assertIn("has a primary, and 2 of 3 copies in sync and alive", detail)
        self.nodes[2].start()
        self.until("everything is well again", lambda: {self.run_(verb).code for verb in ("status", "check")} == {FINE})


    def test_sums_are_compared_by_those_who_live_and_the_dead_are_named_with_the_reason(self) -> None:
        rows = self.table("shard", "verify", "docs")
        self.assertEqual(rows[0], ["SHARD", "SEQ", "NODE", "CHECKSUM"])  # a row a copy, so that sums can be compared
        self.assertEqual(len(rows), 1 + 9)
        for shard in {row[0] for row in rows[1:]}:
            copies = [row for row in rows[1:] if row[0] == shard]
            self.assertEqual(({row[2] for row in copies}, len({row[3] for row in copies}), len(copies[0][3])), ({"a", "b", "c"}, 1, 32))
        self.kill_on_an_idle_cluster()
        done = self.run_("shard", "verify", "docs", "-o", "json")
        self.assertEqual(done.code, PARTIAL, done.talk)
        there, gone = sorted(node.node for node in self.nodes[:2]), self.nodes[2].node
        # A primary that took over from it has dropped its copy: what is not in sync is not compared.
        kept = {row["shard"] for row in self.fine("shard", "list", "--collection", "docs") if gone in row["in_sync"]}
        self.assertIn(f"{len(kept)} copies, of {len(kept)} shards, could not be compared", done.talk)
        for shard in done.json:
            self.assertEqual(sorted(copy["node"] for copy in shard["copies"]), there)
            self.assertEqual(len({copy["checksum"] for copy in shard["copies"]}), 1)
            lacks = [{"node": gone, "reason": "its node is dead, or has left"}] if shard["shard"] in kept else []
            self.assertEqual(shard.get("missing", []), lacks)
        self.assertRegex(self.run_("shard", "verify", "docs").out, r"(?m)^ +\d+ +\d+ +c +- +its node is dead, or has left$")

    def test_a_node_that_dies_while_it_is_asked_is_named_and_the_others_are_compared(self) -> None:
        self.nodes[2].signal(signal.SIGSTOP)  # its connections stand, and nobody answers on them
        self.endpoints = self.nodes[0].listen
        done = self.run_("shard", "verify", "docs", "-o", "json")
        self.assertEqual(done.code, PARTIAL, done.talk)
        for shard in done.json:
            self.assertGreaterEqual(len(shard["copies"]), 2)
            for missing in shard.get("missing", []):
                self.assertEqual(missing["node"], self.nodes[2].node)
                self.assertIn(missing["reason"], ("its node is dead, or has left", "no answer in time"))
        self.nodes[2].signal(signal.SIGCONT)

    def test_tables_of_shards_have_names_of_nodes_and_json_has_their_uuids(self) -> None:
        rows = self.table("shard", "list", "--collection", "docs")
        at = {name: place for place, name in enumerate(rows[0])}
        for row in rows[1:]:
            self.assertEqual(sorted(row[at["IN_SYNC"]].split(",")), ["a", "b", "c"])
            self.assertIn(row[at["PRIMARY"]], ("a", "b", "c"))
            self.assertTrue(row[at["SEQ"]].isdigit() and row[at["POINTS"]] == "0", row)
        there = sorted(node.node for node in self.nodes)
        for shard in self.fine("shard", "list"):
            self.assertEqual(sorted(shard["in_sync"]), there)
            self.until("copies are equally far", lambda number=shard["shard"]: len(
                {copy.get("seq") for copy in self.fine("shard", "get", number)["replicas"]}) == 1)


class Jobs(Case):
    """Of a fake node, whose jobs end when the test says so."""

    def test_wait_looks_at_the_job_until_it_is_done(self) -> None:
        looks = iter(["waiting", "running", "running", "done"])
        node = self.fake(collection__build={"job": 5},
                         job__get=lambda ask: {"job": ask["job"], "kind": "build", "state": next(looks)})
        self.assertEqual(self.fine("collection", "build", "docs", "--backend", "cpu", "--wait"), {"job": 5})
        self.assertEqual(len(node.calls("job.get")), 4)
        self.assertEqual(node.calls("collection.build")[0]["backend"], "cpu")

    def test_wait_ends_with_1_when_the_job_fails(self) -> None:
        self.fake(shard__move={"job": 6}, job__get={"job": 6, "kind": "move", "state": "failed", "text": "the disk is full"})
        done = self.run_("shard", "move", 1, "a", "b", "--yes", "--wait")
        self.assertEqual(done.code, OTHER)
        self.assertIn("job 6 failed: the disk is full", done.talk)

    def test_a_move_that_is_not_there_any_more_is_over(self) -> None:
        def looks(*states: str) -> Any:
            """Then it is gone."""
            said = iter(states)

            def look(ask: dict[str, Any]) -> dict[str, Any]:
                state = next(said, None)
                if state is None:
                    raise Refusal("NOT_FOUND")
                return {"job": ask["job"], "kind": "move", "state": state}

            return look

        for states in ([], ["running"]):  # one that was quicker than the first look, too
            node = self.fake(shard__move={"job": 6}, job__get=looks(*states))
            self.fine("shard", "move", 6, "a", "b", "--yes", "--wait")
            self.assertEqual(len(node.calls("job.get")), len(states) + 1)
        self.fake(job__get=looks("running"))
        self.assertIn("job 6 is done", self.run_("job", "watch", 6).talk)
        self.fake(job__get=looks())
        self.refused(self.run_("job", "watch", 6), NOT_FOUND, "job.get: NOT_FOUND")
        self.fake(collection__build={"job": 5}, job__get=looks())  # of these something is kept
        self.assertEqual(self.run_("collection", "build", "docs", "--wait").code, NOT_FOUND)

    def test_what_moves_or_destroys_names_its_shard_and_node(self) -> None:
        node = self.fake(shard__force_primary={"version": 9}, shard__transfer={"version": 9}, shard__split={"job": 7},
                         node__drain={"version": 9}, cluster__rebalance={"moves": [{"shard": 3, "from": "a", "to": "b"}]})
        self.fine("shard", "force-primary", 3, "b", "--yes")
        self.fine("shard", "transfer", 3, "b", "--yes")
        self.fine("shard", "split", 3, "--at", "8000000000000000", "--yes")
        self.fine("node", "drain", "a", "--yes")
        ask = node.calls("shard.force_primary")[0]
        self.assertEqual((ask["shard"], ask["node"], ask["yes"]), (3, "b", True))
        self.assertEqual(node.calls("shard.transfer")[0]["node"], "b")
        self.assertNotIn("yes", {key for key in node.calls("node.drain")[0] if key == "yes"})
        self.assertEqual(node.calls("shard.split")[0]["at"], "8000000000000000")
        for words in (["shard", "force-primary", 3, "b"], ["shard", "move", 3, "a", "b"], ["node", "decommission", "a"],
                      ["job", "cancel", 1], ["key", "revoke", "k"], ["point", "delete", "docs", 1]):
            self.refused(self.run_(*words), USAGE, "--yes")
        self.assertEqual(self.fine("cluster", "rebalance", "--dry-run"), [{"shard": 3, "from": "a", "to": "b"}])
        self.assertTrue(node.calls("cluster.rebalance")[0]["dry_run"])

    def test_a_busy_shard_gets_its_rows_again_under_the_same_name(self) -> None:
        answers = iter([{"count": 0, "failed": [{"row": 0, "name": "BUSY", "message": "full", "outcome": "not_applied"}]},
                        {"count": 1}])
        node = self.fake(collection__get={"name": "docs", "id": 1, "dimension": 1, "metric": "l2", "dtype": "f32", "shards": 1,
                                          "replicas": 1, "min_insync": 1}, point__upsert=lambda _: next(answers))
        rows = write_fbin(self.folder / "rows.fbin", [[1.0]])
        self.assertEqual(self.fine("import", "docs", rows)["written"], 1)
        first, second = node.calls("point.upsert")
        self.assertEqual(first["op_id"], second["op_id"])

    def test_rows_are_sent_as_the_file_has_them_to_a_collection_of_floats(self) -> None:
        node = self.fake(collection__get={"name": "docs", "id": 1, "dimension": 4, "metric": "l2", "dtype": "f32", "shards": 1,
                                          "replicas": 1, "min_insync": 1}, point__upsert={"count": 2})
        rows = self.folder / "rows.u8bin"
        rows.write_bytes(struct.pack("<II8B", 2, 4, *range(8)))
        self.assertEqual(self.fine("import", "docs", rows)["written"], 2)
        self.assertEqual(node.calls("point.upsert")[0]["vectors"], bytes(range(8)))

    def test_a_server_that_is_busy_for_a_moment_is_asked_again(self) -> None:
        tries = []

        def busy_twice(_: dict[str, Any]) -> dict[str, Any]:
            tries.append(1)
            if len(tries) < 3:
                raise Refusal("BUSY", retryable=True)
            return {"version": 4}

        self.fake(alias__set=busy_twice)
        self.assertEqual(self.fine("alias", "set", "a", "docs"), {"version": 4})
        self.assertEqual(len(tries), 3)


if __name__ == "__main__":
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    OMENCTL, NodeCase.program, CLIENT = (str(pathlib.Path(sys.argv.pop(1)).resolve()) for _ in range(3))
    unittest.main()
