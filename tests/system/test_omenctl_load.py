"""tests/system/test_omenctl_load.py -- omenctl looks on, makes load, knows clusters by name, and ends with the code of every error.

usage: test_omenctl_load.py OMENCTL OMEND [unittest options]
"""
from __future__ import annotations

import json
import os
import pathlib
import pty
import re
import signal
import subprocess
import sys
import unittest
from typing import Any

import test_omenctl_cluster as cluster
from fake_node import FakeNode, Refusal
from node_case import NodeCase
from test_omenctl_cluster import AUTH, CORRUPT, DEGRADED, FINE, NOT_FOUND, OTHER, PARTIAL, PRECONDITION, TIMEOUT, UNREACHABLE, USAGE, VERSION, omenctl

PROTOCOL = pathlib.Path(__file__).resolve().parents[2] / "docs" / "PROTOCOL.md"
INFO = {"cluster": "fake", "map_version": 1, "nodes": 2, "collections": 1, "shards": 4, "degraded_shards": 0, "state": "green"}


def node_row(address: str, name: str, member: str = "alive") -> dict[str, Any]:
    return {"node": name, "name": name, "client": address, "roles": ["data"], "state": "up", "member": member, "shards": 4,
            "primaries": 2}


class Metrics:
    """Of a node that answers 50 searches, all of them within 1 ms, and 50 within 10, between two looks."""

    def __init__(self) -> None:
        self.looks = 0

    def __call__(self, _: dict[str, Any]) -> dict[str, Any]:
        self.looks += 1
        n = self.looks * 50
        return {"text": f'omen_requests_total{{method="query.search",status="OK"}} {2 * n}\n'
                        f'omen_request_seconds_bucket{{method="query.search",le="0.001"}} {n}\n'
                        f'omen_request_seconds_bucket{{method="query.search",le="0.01"}} {2 * n}\n'
                        f'omen_request_seconds_bucket{{method="query.search",le="+Inf"}} {2 * n}\n'
                        'omen_requests_under_way{kind="points"} 7\nomen_requests_under_way{kind="map"} 1\n'
                        'omen_shard_lag_entries{collection="docs",shard="1"} 3\n'
                        f'process_resident_memory_bytes {64 << 20}\nomen_uptime_seconds {self.looks}\n'}


class Top(cluster.Case):
    def two(self) -> FakeNode:
        """A node that answers, and one that is dead, as the first says."""
        metrics = Metrics()
        node = self.fake(cluster__info=INFO, system__metrics=metrics)
        node.answers["node.list"] = {"nodes": [node_row(node.address, "a"), node_row(cluster.free_port(), "b", "dead")]}
        return node

    def test_one_look_says_what_the_time_between_two_samples_was_like(self) -> None:
        node = self.two()
        done = self.fine("top", "--once", "--interval", "0.1")
        a, b = done["nodes"]
        self.assertEqual((a["node"], a["in_flight"], a["shards"], a["primaries"], a["lag"], a["memory"]), ("a", 7, 4, 2, 3, 64 << 20))
        self.assertEqual((a["p50_ms"], a["p99_ms"], a["failed_per_second"]), (1, 9.82, 0))
        self.assertTrue(0 < a["qps"] <= 100 / 0.1, a)
        self.assertEqual(done["cluster"]["qps"], a["qps"])
        self.assertEqual((b["member"], b["qps"], b["p50_ms"], b["in_flight"], b["memory"]), ("dead", None, None, None, None))
        self.assertEqual(len(node.calls("system.metrics")), 2)

    def test_every_look_is_a_document_of_its_own(self) -> None:
        self.two()
        done = self.run_("-o", "ndjson", "top", "--count", "3", "--interval", "0.05")
        self.assertEqual(done.code, FINE, done.talk)
        self.assertEqual([json.loads(line)["cluster"]["state"] for line in done.out.splitlines()], ["green"] * 3)
        self.assertNotIn("\x1b", self.run_("top", "--count", "2", "--interval", "0.05").out)  # no terminal
        self.assertRegex(self.run_("top", "--once", "--interval", "0.05").out, r"(?m)^  NODE +STATE +MEMBER +QPS")

    def test_a_terminal_is_drawn_over_until_ctrl_c_which_is_no_failure(self) -> None:
        self.two()
        ours, theirs = pty.openpty()
        with subprocess.Popen([cluster.OMENCTL, "-e", self.endpoints, "top", "--interval", "0.05"], stdin=subprocess.DEVNULL,
                              stdout=theirs, stderr=theirs) as process:
            os.close(theirs)
            out = b""
            while out.count(b"\x1b[H\x1b[2J") < 2:
                out += os.read(ours, 4096)
            process.send_signal(signal.SIGINT)
            try:
                while os.read(ours, 4096):
                    pass
            except OSError:  # the other end is closed
                pass
            self.assertEqual(process.wait(cluster.SECONDS), FINE)
        os.close(ours)

    def test_a_real_node_is_seen_at_work(self) -> None:
        self.one()
        self.fine("collection", "create", "docs", "-d", 4)
        shown = self.fine("top", "--once", "--interval", "0.3")
        self.assertEqual([row["node"] for row in shown["nodes"]], ["a"])
        self.assertGreater(shown["nodes"][0]["memory"], 1 << 20)
        self.assertEqual(shown["nodes"][0]["in_flight"], 0)

    def test_what_is_wrong_with_its_options_is_said(self) -> None:
        self.two()
        self.refused(self.run_("top", "--once", "--count", "2"), USAGE, "not both")
        self.refused(self.run_("top", "--interval", "0.01"), USAGE, "--interval")
        self.refused(self.run_("top", "--count", "0"), USAGE, "--count")
        self.refused(omenctl("-e", cluster.free_port(), "top", "--once"), UNREACHABLE)


class Batch(cluster.Case):
    def test_hits_of_a_batch_have_the_number_of_their_vector(self) -> None:
        self.one()
        self.fine("collection", "create", "docs", "-d", 2, "--metric", "l2")
        self.until("the shard is open", lambda: self.run_("point", "upsert", "docs", 1, 2, "--vectors", "[[0,1],[5,5]]").code == FINE)
        search = ("query", "batch", "docs", "--vectors", "[[0,0],[5,6]]", "-k", 1, "--consistency", "strong")
        self.assertEqual(self.fine(*search), [{"query": 0, "id": 1, "distance": 1}, {"query": 1, "id": 2, "distance": 1}])
        self.assertRegex(self.run_(*search).out, r"^QUERY +ID +DISTANCE\n")


class Contexts(cluster.Case):
    def setUp(self) -> None:
        super().setUp()
        self.config = self.folder / "deep" / "contexts.yaml"
        self.dev, self.prod = self.fake(alias__list={"aliases": []}), self.fake(alias__list={"aliases": []})

    def here(self, *words: object, **variables: str) -> cluster.Done:
        return omenctl("-o", "json", *words, OMEN_CONFIG=str(self.config), **variables)

    def asked(self) -> str:
        """Who was asked since, and with which key."""
        names = []
        for name, node in (("dev", self.dev), ("prod", self.prod)):
            hello = [ask.get("api_key") for ask in node.calls("system.hello")]
            names += [f"{name}:{key}" for key in hello[:1]] if node.calls("alias.list") else []
            node.asked.clear()
        return " ".join(names)

    def set_both(self) -> None:
        key = self.folder / "key"
        key.write_text("root.prod\n")
        for words in (("dev", "-e", self.dev.address, "--api-key", "root.dev"),
                      ("prod", "-e", self.prod.address, "--api-key-file", key)):
            self.assertEqual(self.here("context", "set", *words).code, FINE)

    def test_a_cluster_is_asked_by_its_name_with_its_own_key(self) -> None:
        self.set_both()
        self.assertEqual(self.config.stat().st_mode & 0o777, 0o600)
        for words, variables, expected in (
                ((), {}, "dev:root.dev"),  # the first is the current one
                (("--context", "prod"), {}, "prod:root.prod"),
                ((), {"OMEN_CONTEXT": "prod"}, "prod:root.prod"),
                (("--context", "prod"), {"OMEN_ENDPOINTS": self.dev.address, "OMEN_API_KEY": "root.env"}, "prod:root.prod"),
                ((), {"OMEN_ENDPOINTS": self.prod.address}, "prod:None"),  # no other cluster is told a key
                ((), {"OMEN_ENDPOINTS": self.prod.address, "OMEN_CONTEXT": "dev"}, "prod:None"),
                (("-e", self.prod.address), {}, "prod:None"),
                (("--api-key", "root.own"), {}, "dev:root.own")):
            with self.subTest(words=words, variables=variables):
                done = self.here(*words, "alias", "list", **variables)
                self.assertEqual((done.code, self.asked()), (FINE, expected), done.talk)

    def test_contexts_are_listed_used_changed_and_removed_and_no_key_is_shown(self) -> None:
        self.assertEqual(self.here("context", "list").json, [])
        self.assertIn("no contexts", self.here("-o", "table", "context", "list").talk)
        nodes = self.folder / "omend.yaml"  # which OMEN_CONFIG names to omend
        nodes.write_text("data: /var/lib/omendb\n")
        beside = omenctl("-o", "json", "context", "list", OMEN_CONTEXTS=str(self.config), OMEN_CONFIG=str(nodes))
        self.assertEqual((beside.code, beside.json), (FINE, []))
        self.set_both()
        listed = self.here("context", "list")
        self.assertNotIn("root", listed.out)
        self.assertEqual([(row["context"], row["current"], row["endpoints"]) for row in listed.json],
                         [("dev", True, self.dev.address), ("prod", False, self.prod.address)])
        self.assertEqual(self.here("context", "use", "prod").code, FINE)
        self.assertEqual(self.here("alias", "list").code, FINE)
        self.assertEqual(self.asked(), "prod:root.prod")
        self.assertEqual(self.here("context", "set", "prod", "--api-key", "root.new").code, FINE)
        self.assertEqual(self.here("alias", "list").code, FINE)
        self.assertEqual(self.asked(), "prod:root.new")
        before = self.config.read_text()
        self.assertEqual(self.here("context", "remove", "prod", "--dry-run").code, FINE)
        self.assertEqual(self.config.read_text(), before)
        self.assertEqual(self.here("context", "remove", "prod").code, USAGE)  # nobody to ask, no --yes
        self.assertEqual(self.here("context", "remove", "prod", "--yes").code, FINE)
        self.assertEqual([(row["context"], row["current"]) for row in self.here("context", "list").json], [("dev", False)])

    def test_what_is_wrong_is_said_and_changes_nothing(self) -> None:
        self.refused(self.here("context", "set", "new"), USAGE, "wants --endpoints")
        self.refused(self.here("context", "set", "a b", "-e", "h:1"), USAGE, "a name is")
        self.refused(self.here("context", "set", "a", "-e", "h:x"), USAGE, "--endpoints")
        self.refused(self.here("context", "set", "a", "-e", "h:1", "--api-key", "k", "--api-key-file", "f"), USAGE, "not both")
        self.refused(self.here("context", "set", "a", "-e", "h:1", "--api-key", "x\ny"), USAGE, "one line")
        self.refused(self.here("context", "use", "a"), NOT_FOUND, "no context 'a'")
        self.refused(self.here("context", "remove", "a", "--yes"), NOT_FOUND, "no context 'a'")
        self.refused(self.here("alias", "list", "--context", "a"), NOT_FOUND, "no context 'a'")
        self.refused(self.here("alias", "list", "--context", "a", "-e", "h:1"), USAGE, "not both")
        self.assertFalse(self.config.exists())
        self.config.parent.mkdir()
        self.config.write_text("contexts:\n  a\n")
        self.refused(self.here("alias", "list"), USAGE, str(self.config), "line 2")
        self.config = pathlib.Path("/proc/none/contexts.yaml")  # where no file can be made
        self.refused(self.here("context", "set", "a", "-e", "h:1"), OTHER, "/proc/none/contexts.yaml")

    def test_the_file_is_in_the_users_folder_where_nothing_else_is_said(self) -> None:
        home = {"HOME": str(self.folder / "home"), "XDG_CONFIG_HOME": ""}
        self.assertEqual(omenctl("context", "set", "dev", "-e", self.dev.address, **home).code, FINE)
        self.assertTrue((self.folder / "home/.config/omendb/contexts.yaml").is_file())
        home["XDG_CONFIG_HOME"] = str(self.folder / "xdg")
        self.assertEqual(omenctl("context", "set", "dev", "-e", self.dev.address, **home).code, FINE)
        self.assertTrue((self.folder / "xdg/omendb/contexts.yaml").is_file())


class Records(cluster.Case):
    """Files whose rows are points as a whole."""

    def setUp(self) -> None:
        super().setUp()
        self.one()
        self.fine("collection", "create", "docs", "-d", 2, "--metric", "l2")
        self.until("the shard is open", lambda: {row["state"] for row in self.fine("shard", "list")} == {"open"})

    def test_lines_of_json_are_written_with_their_ids_and_payloads_and_resumed(self) -> None:
        rows = self.folder / "rows.jsonl"
        lines = [{"id": n, "vector": [n, 1], "payload": {"n": n}} for n in range(25)]
        lines[7] = {"id": 7, "vector": [1, 2, 3]}
        rows.write_text("".join(json.dumps(line) + "\n" for line in lines))
        note, refused = self.folder / "note", self.folder / "refused"
        first = self.run_("-o", "json", "import", "docs", rows, "--limit", 10, "--batch", 4, "--resume", note, "--refused", refused)
        self.assertEqual((first.code, first.json["written"], first.json["refused"]), (PARTIAL, 9, 1), first.talk)
        self.assertEqual(json.loads(refused.read_text())["row"], 7)
        self.assertEqual(self.fine("import", "docs", rows, "--resume", note)["written"], 15)
        self.assertEqual(self.fine("point", "count", "docs", "--consistency", "strong")["count"], 24)
        self.assertEqual(self.fine("point", "get", "docs", 24, "--with", "payload", "--consistency", "strong")[0]["payload"], {"n": 24})

    def test_a_csv_has_its_payload_in_columns(self) -> None:
        rows = self.folder / "rows.csv"
        rows.write_text('id,vector,city,year\na,"[1,2]",Oslo,2020\nb,"[3,4]","Bergen, too",\n')
        self.refused(self.run_("import", "docs", rows, "--ids", rows), USAGE, "csv have their own ids")
        self.assertEqual(self.fine("import", "docs", rows, "--dry-run")["rows"], 2)
        self.assertEqual(self.fine("import", "docs", rows)["written"], 2)
        points = self.fine("point", "get", "docs", "a", "b", "--with", "payload", "--consistency", "strong")
        self.assertEqual([point["payload"] for point in points], [{"city": "Oslo", "year": 2020}, {"city": "Bergen, too"}])


class Bench(cluster.Case):
    def test_load_of_a_real_cluster_is_counted_and_leaves_nothing(self) -> None:
        self.one()
        self.fine("collection", "create", "docs", "-d", 8, "--shards", 2)
        self.until("the shards are open", lambda: {row["state"] for row in self.fine("shard", "list")} == {"open"})
        empty = self.fine("bench", "search", "docs", "--count", 20)
        self.assertEqual((empty["requests"], empty["failed"], empty["recall"]), (20, 0, 1))
        self.refused(self.run_("bench", "upsert", "docs", "--count", 1000), USAGE, "--yes")
        written = self.fine("bench", "upsert", "docs", "--count", 1050, "--batch", 100, "--in-flight", 3, "--keep", "--yes")
        self.assertEqual((written["requests"], written["points"], written["failed"]), (11, 1050, 0))
        self.assertEqual(self.fine("point", "count", "docs", "--consistency", "strong")["count"], 1050)
        self.assertEqual(self.fine("point", "get", "docs", 1 << 62, (1 << 62) + 1049, "--consistency", "strong")[1]["id"], (1 << 62) + 1049)
        found = self.fine("bench", "search", "docs", "--count", 300, "--in-flight", 20, "-k", 5, "--ef", 300)
        self.assertEqual((found["requests"], found["failed"], found["in_flight"]), (300, 0, 20))
        self.assertGreaterEqual(found["recall"], 0.9)
        self.assertTrue(0 < found["p50_ms"] <= found["p99_ms"] <= found["p999_ms"] <= found["max_ms"], found)
        self.assertGreater(found["qps"], 0)
        again = self.fine("bench", "upsert", "docs", "--seconds", "0.2", "--first-id", 5, "--yes")
        self.assertGreater(again["points"], 0)
        self.assertEqual(self.fine("point", "count", "docs", "--consistency", "strong")["count"], 1050)
        queries = cluster.write_fbin(self.folder / "q.fbin", [[1.0] * 8, [0.5] * 7 + [1.0]])
        self.assertEqual(self.fine("bench", "search", "docs", "--count", 10, "--queries", queries)["requests"], 10)
        wrong = cluster.write_fbin(self.folder / "w.fbin", [[1.0] * 7])
        self.refused(self.run_("bench", "search", "docs", "--queries", wrong), PRECONDITION, "7 components, the collection has 8")
        self.refused(self.run_("bench", "search", "docs", "--in-flight", 257), USAGE, "--in-flight")
        self.refused(self.run_("bench", "search", "none", "--count", 1), NOT_FOUND, "none")

    COLLECTION = {"name": "docs", "id": 1, "dimension": 2, "metric": "l2", "dtype": "f32", "shards": 1, "replicas": 1, "min_insync": 1}

    def test_integers_are_written_as_integers(self) -> None:
        node = self.fake(collection__get=self.COLLECTION | {"dtype": "u8"}, point__upsert={"count": 3}, point__delete={"count": 3})
        self.fine("bench", "upsert", "docs", "--count", 3, "--yes", "--first-id", 7)
        self.assertEqual((node.calls("point.upsert")[0]["ids"], len(node.calls("point.upsert")[0]["vectors"])), ([7, 8, 9], 6))
        self.assertEqual(node.calls("point.delete")[0]["ids"], [7, 8, 9])
        self.assertEqual(self.fine("bench", "upsert", "docs", "--count", 3, "--dry-run")["requests"], 0)
        self.assertEqual(len(node.calls("point.upsert")), 1)
        top = (1 << 63) - 1
        self.refused(self.run_("bench", "upsert", "docs", "--count", 2, "--first-id", top, "--yes"), USAGE, "--first-id")
        self.assertEqual(self.fine("bench", "upsert", "docs", "--count", 1, "--first-id", top, "--yes")["requests"], 1)

    def test_recall_is_what_is_found_of_what_exact_searches_find(self) -> None:
        def answer(ask: dict[str, Any]) -> dict[str, Any]:
            ids = [1, 2, 3, 4] if ask.get("exact") else [1, 2, 3, 9]
            return {"hits": [{"id": number, "distance": number} for number in ids]}

        self.fake(collection__get=self.COLLECTION, point__scroll={"points": []}, query__search=answer)
        self.assertEqual(self.fine("bench", "search", "docs", "--count", 4, "-k", 4, "--recall", 10)["recall"], 0.75)
        self.assertNotIn("recall", self.fine("bench", "search", "docs", "--count", 4, "--recall", 0))

    def test_what_failed_is_counted_by_its_name_and_ends_with_8(self) -> None:
        asked = []

        def answer(_: dict[str, Any]) -> dict[str, Any]:
            asked.append(1)
            if len(asked) % 4 == 0:
                raise Refusal("FILTER")
            return {"hits": []}

        self.fake(collection__get=self.COLLECTION, point__scroll={"points": []}, query__search=answer)
        done = self.run_("-o", "json", "bench", "search", "docs", "--count", 20, "--in-flight", 1)
        self.assertEqual((done.code, done.json["failed"], done.json["errors"]), (PARTIAL, 5, [{"error": "FILTER", "count": 5}]), done.talk)
        self.assertIn("5 of 20 requests failed, the first: FILTER: on demand", done.talk)

    def test_where_all_failed_it_ends_with_the_code_of_the_first(self) -> None:
        def refuse(_: dict[str, Any]) -> None:
            raise Refusal("AUTH")

        self.fake(collection__get=self.COLLECTION, point__scroll={"points": []}, query__search=refuse)
        done = self.run_("-o", "json", "bench", "search", "docs", "--count", 3)
        self.assertEqual((done.code, done.json["failed"]), (AUTH, 3), done.talk)


class Export(cluster.Case):
    def test_what_is_exported_is_imported_as_it_was(self) -> None:
        self.one()
        for name in ("docs", "again"):
            self.fine("collection", "create", name, "-d", 2, "--metric", "l2", "--shards", 2)
        self.until("the shards are open", lambda: {row["state"] for row in self.fine("shard", "list")} == {"open"})
        rows = self.folder / "rows.ndjson"
        rows.write_text("".join(json.dumps({"id": n, "vector": [n / 3, -1.5], "payload": {"n": n, "t": [None, {"x": "é"}]}}) + "\n"
                                for n in range(25)) + '{"id": 99, "vector": [1e-7, 3]}\n')
        self.assertEqual(self.fine("import", "docs", rows)["written"], 26)
        out = self.folder / "out.ndjson"
        done = self.run_("export", "docs", out, "--batch", 7)
        self.assertEqual((done.code, done.out), (FINE, ""), done.talk)
        self.assertIn("26 points are written", done.talk)
        self.assertEqual(self.fine("import", "again", out)["written"], 26)
        read = ("--with", "payload,vector", "--consistency", "strong")
        ids = [*range(25), 99]
        points = [[{key: row[key] for key in row if key != "version"} for row in self.fine("point", "get", name, *ids, *read)]
                  for name in ("docs", "again")]
        self.assertEqual(points[0], points[1])
        self.assertEqual(points[0][24]["payload"], {"n": 24, "t": [None, {"x": "é"}]})
        some = self.run_("-q", "export", "docs", "--filter", "n < 10", "--limit", 4, "--batch", 3)
        self.assertEqual((some.code, len(some.out.splitlines()), some.talk), (FINE, 4, ""))
        self.assertTrue(all(json.loads(line)["payload"]["n"] < 10 for line in some.out.splitlines()))
        self.assertEqual(self.run_("-q", "export", "docs", "-", "--filter", "n < 0").out, "")
        self.refused(self.run_("export", "docs", out), PRECONDITION, "File exists")
        self.refused(self.run_("export", "docs", self.folder / "no" / "x"), USAGE, "No such file")
        self.refused(self.run_("export", "docs", "--limit", 0), USAGE, "--limit")
        self.refused(self.run_("export", "none"), NOT_FOUND, "none")
        full = self.run_("export", "docs", "/dev/full")  # is there, so it is not written over
        self.assertEqual(full.code, PRECONDITION)


# What is not here ends with 1.
CODES = {
    NOT_FOUND: ["NOT_FOUND"],
    PRECONDITION: ["EXISTS", "LOCKED", "READ_ONLY", "UNSUPPORTED", "CONFLICT", "ID_KIND", "QUOTA"],
    TIMEOUT: ["TIMEOUT", "OP_EXPIRED"],
    AUTH: ["AUTH"],
    CORRUPT: ["CORRUPT"],
    VERSION: ["VERSION", "METHOD"],
    USAGE: ["INVALID", "DIMENSION", "NOT_FINITE", "ZERO_VECTOR", "DUPLICATE_ID", "ID_RANGE", "ID_LENGTH", "K", "DTYPE", "FILTER",
            "FIELD_TYPE", "PAYLOAD"],
}


class Codes(cluster.Case):
    def test_every_error_of_the_protocol_has_its_code(self) -> None:
        names = re.findall(r"(?m)^\| `([A-Z_]+)` \| -\d+ \|", PROTOCOL.read_text())
        self.assertGreaterEqual(len(names), 35)
        expected = {name: code for code, known in CODES.items() for name in known}
        self.assertLessEqual(expected.keys(), set(names))
        refused = ""

        def refuse(_: dict[str, Any]) -> None:
            raise Refusal(refused)

        self.fake(alias__list=refuse)
        for refused in names:
            with self.subTest(refused):
                self.refused(self.run_("alias", "list"), expected.get(refused, OTHER), f"{refused}: on demand")

    def test_every_code_of_the_manual_is_one_that_some_test_has_seen(self) -> None:
        """Those of answers and not of errors have their tests in test_omenctl_cluster.py, by these names."""
        listed = [int(code) for code in re.findall(r"(?m)^  +(\d+)  ", omenctl("help").out)]
        self.assertEqual(listed, list(range(12)))
        claims = {name for case in (getattr(cluster, word) for word in dir(cluster)) if isinstance(case, type)
                  for name in dir(case) if name.startswith("test_")}
        ends = {int(code) for name in claims for code in re.findall(r"_ends?_with_(\d+)", name)}
        self.assertLessEqual({OTHER, UNREACHABLE, TIMEOUT, AUTH, PARTIAL, DEGRADED, CORRUPT, VERSION}, ends)


if __name__ == "__main__":
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    cluster.OMENCTL, NodeCase.program = (str(pathlib.Path(sys.argv.pop(1)).resolve()) for _ in range(2))
    unittest.main()
