"""tests/system/test_metrics.py -- nodes as they are seen from outside: metrics that a real Prometheus scrapes, health, slow requests.

usage: test_metrics.py PATH_OF_OMEND [unittest options]

Ends with 77 where there is no Prometheus (Debian: prometheus; `tools/setup.sh test` installs it); with OMENDB_REQUIRE_PROMETHEUS it fails.
"""
from __future__ import annotations

import json
import os
import pathlib
import re
import shutil
import socket
import struct
import subprocess
import sys
import time
import unittest
import urllib.error
import urllib.parse
import urllib.request
from typing import Any

from node_case import NodeCase
from omend_node import Node
from rpc_client import Client, RpcError

SECONDS = 60.0  # that anything may take
DEPLOY = pathlib.Path(__file__).parents[2] / "deploy" / "prometheus"
SAMPLE = re.compile(r"^(\w+)(?:\{(.*)\})? (\S+)$")


def vector(row: int) -> bytes:
    return struct.pack("<4f", row, row * 0.5, 1.0, -row)


def fetch(address: str, path: str, **options: Any) -> tuple[int, str, dict[str, str]]:
    request = urllib.request.Request(f"http://{address}{path}", **options)
    try:
        with urllib.request.urlopen(request, timeout=SECONDS) as answer:
            return answer.status, answer.read().decode(), dict(answer.headers)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode(), dict(error.headers)


def samples(text: str) -> dict[str, float]:
    """Each sample by its name and labels, as they are written."""
    out = {}
    for line in text.splitlines():
        if not line.startswith("#"):
            match = SAMPLE.match(line)
            assert match is not None, line
            out[line.rsplit(" ", 1)[0]] = float(match.group(3))
    return out


def promtool(*arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["promtool", *arguments], capture_output=True, text=True, check=False, timeout=SECONDS, **options)


def first_hit(client: Client) -> int | None:
    """None: there is no lease now, as may be at any moment where this machine stands still for one."""
    try:
        return client.call("query.search", collection="docs", vector=vector(3), k=2, consistency="strong")["hits"][0]["id"]
    except RpcError as error:
        if error.name not in ("BUSY", "TIMEOUT", "STALE_MAP"):
            raise
        return None


class Case(NodeCase):
    def node(self, name: str, *options: str, ready: bool = True) -> tuple[Node, str]:
        """A node, and where its admin port is."""
        made = self.made(name)
        made.start("--admin", "127.0.0.1:0", *options, ready=False)
        admin = made.wait_for("node.admin")["listen"]
        if ready:
            said = made.wait_for("node.ready")
            made.listen, made.peer = said["listen"], said["peer"]
        return made, admin

    def client(self, node: Node) -> Client:
        made = Client(node.listen)
        self.addCleanup(made.close)
        return made

    def until(self, what: str, holds: Any) -> None:
        end = time.monotonic() + SECONDS
        while not holds():
            self.assertLess(time.monotonic(), end, what)

    def fill(self, node: Node, admin: str, replicas: int) -> None:
        self.until("it serves", lambda: fetch(admin, "/health/ready")[0] == 200)
        client = self.client(node)
        client.call("collection.create", name="docs", dimension=4, metric="l2", shards=4, replicas=replicas)
        name = struct.pack(">QQ", int(time.time() * 1000) << 16 | 0x7000, 1 << 63)

        def written() -> bool:
            try:
                return not client.call("point.upsert", collection="docs", ids=list(range(100)), op_id=name,
                                       vectors=b"".join(map(vector, range(100)))).get("failed")
            except RpcError as error:
                self.assertIn(error.name, ("BUSY", "TIMEOUT", "STALE_MAP"))
                return False

        self.until("a write is acknowledged", written)
        self.until("a strong search finds it", lambda: first_hit(client) == 3)

    def clean(self, text: str) -> None:
        done = promtool("check", "metrics", input=text)
        self.assertEqual((done.returncode, done.stdout, done.stderr), (0, "", ""))


class Alone(Case):
    def test_the_admin_port_has_three_pages_and_takes_nothing(self) -> None:
        node, admin = self.node("a")
        self.until("it serves", lambda: fetch(admin, "/health/ready")[0] == 200)
        self.assertEqual(fetch(admin, "/health/ready")[:2], (200, "ok\n"))
        self.assertEqual(fetch(admin, "/health/live")[:2], (200, "ok\n"))
        code, text, heads = fetch(admin, "/metrics")
        self.assertEqual((code, heads["Content-Type"]), (200, "text/plain; version=0.0.4; charset=utf-8"))
        self.clean(text)
        self.assertEqual(fetch(admin, "/metrics", method="HEAD")[:2], (200, ""))
        for path in ("/", "/metrics/", "/health", "/configs", "/../metrics"):
            self.assertEqual(fetch(admin, path)[0], 404, path)
        for method in ("POST", "PUT", "DELETE", "OPTIONS"):
            code, _, heads = fetch(admin, "/metrics", method=method, data=b"x" * 100000)
            self.assertEqual((code, heads.get("Allow")), (405, "GET, HEAD"), method)
        self.assertEqual(node.stop(), 0)

    def test_who_looks_for_a_cluster_lives_and_does_not_serve(self) -> None:
        node, admin = self.node("a", "--join", "127.0.0.1:1", ready=False)
        node.wait_for("join.waits")
        self.assertEqual(fetch(admin, "/health/live")[0], 200)
        self.assertEqual(fetch(admin, "/health/ready")[:2], (503, "the node looks for its cluster\n"))
        text = fetch(admin, "/metrics")[1]
        self.clean(text)
        self.assertEqual(samples(text)["omen_ready"], 0)
        self.assertEqual(node.stop(), 0)

    def test_without_the_option_nobody_listens_and_a_bad_address_is_refused(self) -> None:
        node = self.made("a")
        node.start()
        self.assertNotIn("node.admin", [line.get("event") for line in node.lines])
        _, admin = self.node("b")
        other = self.made("c")
        other.start("--admin", admin, ready=False)
        self.assertEqual(other.wait(), 69)
        self.assertIn(f"admin: {admin}: cannot be listened on", other.lines[-1]["why"])

    def test_what_was_done_is_counted(self) -> None:
        node, admin = self.node("a")
        self.fill(node, admin, 1)
        client = self.client(node)
        with self.assertRaises(RpcError):
            client.call("query.search", collection="none", vector=vector(1), k=1)

        def seen() -> dict[str, float]:
            return samples(fetch(admin, "/metrics")[1])

        refused = 'omen_requests_total{method="query.search",status="NOT_FOUND"}'
        self.until("the last one is counted, which was answered before", lambda: seen().get(refused) == 1)
        now = seen()
        self.assertEqual(now['omen_requests_total{method="query.search",status="OK"}'], 1)
        self.assertEqual(now['omen_requests_total{method="collection.create",status="OK"}'], 1)
        searches = sum(count for name, count in now.items() if name.startswith('omen_requests_total{method="query.search"'))
        self.assertEqual(now['omen_request_seconds_count{method="query.search"}'], searches)
        self.assertGreater(now['omen_request_seconds_sum{method="query.search"}'], 0)
        self.assertEqual(now["omen_points_written_total"], 100)
        self.assertEqual(now['omen_parts_total{kind="search",status="OK"}'], 4)
        self.assertGreater(now["omen_search_exact_distances_total"] + now["omen_search_evaluations_total"], 0)
        self.assertGreater(now["omen_disk_commits_total"], 0)
        self.assertGreaterEqual(now["omen_disk_jobs_total"], now["omen_disk_commits_total"])
        self.assertEqual(now["omen_disk_commit_seconds_count"], now["omen_disk_commits_total"])
        self.assertGreater(now["process_resident_memory_bytes"], 1 << 20)
        self.assertGreater(now["process_open_fds"], 3)
        self.assertEqual(now["omen_raft_leader"], 1)

        def points() -> float:
            return sum(value for name, value in seen().items() if name.startswith('omen_shard_points{collection="docs"'))

        self.until("the points are seen", lambda: points() == 100)
        self.until("so is everything applied",
                   lambda: all(value == 0 for name, value in seen().items() if name.startswith("omen_shard_lag_entries")))
        files = [value for name, value in seen().items() if name.startswith("omen_shard_file_bytes")]
        self.assertEqual(len(files), 4)
        self.assertTrue(all(value > 0 for value in files))

    def test_system_metrics_says_what_the_page_says(self) -> None:
        node, admin = self.node("a")
        self.fill(node, admin, 1)
        # A request that is asked of is counted when it was answered, so the second sees the first as the page does.
        self.client(node).call("system.metrics")
        said = self.client(node).call("system.metrics")["text"]
        page = fetch(admin, "/metrics")[1]
        self.clean(said)
        kinds = [line for line in said.splitlines() if line.startswith("#")]
        self.assertEqual(kinds, [line for line in page.splitlines() if line.startswith("#")])
        self.assertEqual(set(samples(said)), set(samples(page)))

    def test_a_slow_request_is_one_line_that_says_where_its_time_went(self) -> None:
        node, admin = self.node("a", "--slow-ms", "0")
        self.fill(node, admin, 1)
        self.client(node).call("query.search", collection="docs", vector=vector(1), k=7, ef=90)
        said = node.wait_for("request.slow", method="query.search", k="7")
        self.assertEqual((said["collection"], said["status"], said["ef"], said["shards"]), ("docs", "OK", "90", "4"))
        for key in ("ms", "wait_ns", "parts_ns", "answer_ns", "rounds"):
            self.assertGreaterEqual(int(said[key]), 0)
        self.assertGreater(int(said["parts_ns"]), 0)
        quiet, admin = self.node("b", "--slow-ms", "60000")
        self.fill(quiet, admin, 1)
        self.assertEqual(samples(fetch(admin, "/metrics")[1])["omen_slow_requests_total"], 0)
        self.assertEqual(quiet.stop(), 0)
        self.assertNotIn("request.slow", [line.get("event") for line in quiet.lines])


class Together(Case):
    def test_three_nodes_are_seen_alike(self) -> None:
        first = self.node("a")
        rest = [self.node(name, "--join", first[0].peer) for name in ("b", "c")]
        nodes = [first, *rest]
        for node, _ in nodes:
            node.stands_at("meta.nodes", nodes="3", up="3", voters="3")
        self.fill(*first, 3)

        def all_of(name: str) -> list[float]:
            return [samples(fetch(admin, "/metrics")[1])[name] for _, admin in nodes]

        self.until("all copies are there",
                   lambda: sum(all_of('omen_copies{role="primary"}')) == 4 and sum(all_of('omen_copies{role="backup"}')) == 8)
        self.until("none is missing", lambda: all_of('omen_shards{state="degraded"}') == [0, 0, 0])
        self.until("all are alive to all", lambda: all_of('omen_members{state="alive"}') == [3, 3, 3])
        self.until("one leads", lambda: sum(all_of("omen_raft_leader")) == 1)
        self.until("all vote, as all know", lambda: all_of("omen_raft_voters") == [3, 3, 3])
        self.until("all have the same map", lambda: len(set(all_of("omen_map_version"))) == 1)
        lags = [value for _, admin in nodes for name, value in samples(fetch(admin, "/metrics")[1]).items()
                if name.startswith("omen_shard_peer_lag_entries")]
        self.assertEqual(len(lags), 8)  # of four primaries' two others


class Prometheus(Case):
    def test_a_real_one_scrapes_a_node_with_our_configuration(self) -> None:
        node, admin = self.node("a")
        self.fill(node, admin, 1)
        config = (DEPLOY / "prometheus.yml").read_text().replace("127.0.0.1:7780", admin).replace("15s", "1s")
        (self.folder / "prometheus.yml").write_text(config)
        shutil.copy(DEPLOY / "omendb.rules.yml", self.folder)
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            address = f"127.0.0.1:{taken.getsockname()[1]}"
        process = subprocess.Popen(["prometheus", f"--config.file={self.folder}/prometheus.yml",
                                    f"--storage.tsdb.path={self.folder}/tsdb", f"--web.listen-address={address}"],
                                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)

        def ask(query: str) -> list[float]:
            try:
                code, text, _ = fetch(address, "/api/v1/query?" + urllib.parse.urlencode({"query": query}))
            except OSError:
                code = 0
            if code != 200:
                self.assertIsNone(process.poll(), "prometheus ended")
                return []  # it begins
            return [float(row["value"][1]) for row in json.loads(text)["data"]["result"]]

        self.until("the node is scraped", lambda: ask('up{job="omendb"}') == [1])
        self.assertEqual(ask("omen_points_written_total"), [100])
        self.until("rates can be made", lambda: ask("rate(process_cpu_seconds_total[1m]) > 0") != [])
        rules = json.loads(fetch(address, "/api/v1/rules")[1])["data"]["groups"][0]["rules"]
        self.until("the rules are evaluated", lambda: all(
            rule["health"] == "ok" for rule in json.loads(fetch(address, "/api/v1/rules")[1])["data"]["groups"][0]["rules"]))
        self.assertGreaterEqual(len(rules), 8)
        self.assertEqual(ask('ALERTS{alertstate="firing"}'), [])

    def test_configuration_and_rules_are_sound_and_name_what_there_is(self) -> None:
        done = promtool("check", "config", str(DEPLOY / "prometheus.yml"))
        self.assertEqual(done.returncode, 0, done.stderr)
        done = promtool("test", "rules", "omendb.rules.test.yml", cwd=DEPLOY)
        self.assertEqual(done.returncode, 0, done.stderr)
        node, admin = self.node("a")
        self.assertTrue(node.runs())
        known = set(re.findall(r"^# TYPE (\w+)", fetch(admin, "/metrics")[1], re.MULTILINE))
        used = set(re.findall(r"\b(?:omen|process)_\w+", (DEPLOY / "omendb.rules.yml").read_text()))
        self.assertEqual({name for name in used if name.removesuffix("_bucket") not in known}, set())


if __name__ == "__main__":
    if shutil.which("prometheus") is None or shutil.which("promtool") is None:
        print("no prometheus: tools/setup.sh test")
        sys.exit(1 if os.environ.get("OMENDB_REQUIRE_PROMETHEUS") else 77)
    NodeCase.program = sys.argv.pop(1)
    unittest.main()
