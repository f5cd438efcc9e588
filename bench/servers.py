"""omend beside other servers: Chroma (by PyPI) and Weaviate (by Go's module proxy), over sockets, on the same cores, in turn.

`python -m bench.servers [NAME...] [--rows N] [--seconds S] [--busy]`. Each is installed into build/peers the first time: Weaviate takes
some minutes of compiling. wrk (Debian) asks over HTTP; bench/load.c asks omend.
"""

import argparse
import contextlib
import json
import os
import pathlib
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
import uuid

import numpy as np

from bench import data, measure, nodes, report
from bench.ann import say
from bench.cluster import BUSY, EFS, FLIGHT, SET, K, dataset_named, loaded

PEERS = data.ROOT / "build" / "peers"
M, EFC, BATCH = 16, 200, 1000
ENOUGH = 0.97  # a recall from which on no more points of a curve are wanted
LUA = """
local bodies = {}
for line in io.lines(os.getenv("BODIES")) do bodies[#bodies + 1] = line end
local at = 0
function request()
    at = at % #bodies + 1
    return wrk.format("POST", nil, {["Content-Type"] = "application/json"}, bodies[at])
end
"""


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Server:
    """A server of somebody else, in a process of its own, its data in a folder that goes with it.

    A kind of its own says its name and version and the path that answers once it is there, how it is installed and begun (install(),
    command()), and its requests (create(), add(), set_ef(), search_path(), search_body(), ids_of()).
    """

    name: str
    version: str
    alive: str

    def __enter__(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="omen-bench-", dir=data.WORK))
        self.port = free_port()
        with open(self.folder / "log", "wb") as log:
            self.process = subprocess.Popen(self.command(), env=os.environ | self.environment(), stdout=log, stderr=log)
        nodes.until(f"{self.name} listens", self.listens, seconds=60)
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)

    def environment(self):
        return {}

    def listens(self):
        if self.process.poll() is not None:
            raise SystemExit(f"{self.name} ended: {(self.folder / 'log').read_text()[-2000:]}")
        with contextlib.suppress(OSError):
            return self.ask("GET", self.alive) is not None or True
        return False

    def ask(self, method, path, body=None):
        bytes_ = None if body is None else json.dumps(body).encode()
        asked = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", bytes_, {"Content-Type": "application/json"}, method=method)
        try:
            with urllib.request.urlopen(asked, timeout=600) as answer:
                return json.loads(answer.read() or "null")
        except urllib.error.HTTPError as error:
            raise SystemExit(f"{self.name}: {method} {path}: {error.code} {error.read()[:500]!r}") from error

    def search(self, vector):
        return self.ids_of(self.ask("POST", self.search_path(), self.search_body(vector)))

    def rate(self, queries, connections, seconds):
        """Searches a second, by wrk."""
        bodies = self.folder / "bodies"
        bodies.write_text("".join(json.dumps(self.search_body(vector)) + "\n" for vector in queries))
        (self.folder / "ask.lua").write_text(LUA)
        command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "-s", self.folder / "ask.lua", f"http://127.0.0.1:{self.port}{self.search_path()}"]
        said = subprocess.run(command, capture_output=True, text=True, check=True, env=os.environ | {"BODIES": str(bodies)}).stdout
        if "Non-2xx" in said or "Socket errors" in said:
            raise SystemExit(f"{self.name}: {said}")
        return float(re.search(r"Requests/sec: +([\d.]+)", said).group(1))


class Chroma(Server):
    name, version, alive = "Chroma", "1.5.9", "/api/v2/heartbeat"
    home = PEERS / "chroma"
    at = "/api/v2/tenants/default_tenant/databases/default_database/collections"

    @classmethod
    def install(cls):
        if not (cls.home / "bin" / "chroma").exists():
            subprocess.run([sys.executable, "-m", "venv", cls.home], check=True)
            subprocess.run([cls.home / "bin" / "pip", "install", "-q", "--disable-pip-version-check", f"chromadb=={cls.version}"], check=True)

    def command(self):
        return [self.home / "bin" / "chroma", "run", "--path", self.folder / "data", "--host", "127.0.0.1", "--port", str(self.port)]

    def environment(self):
        return {"ANONYMIZED_TELEMETRY": "False"}

    def create(self, dataset):
        space = {"cosine": "cosine", "l2": "l2", "ip": "ip"}[dataset.metric]
        made = self.ask("POST", self.at, {"name": "bench", "configuration": {"hnsw": {"space": space, "ef_construction": EFC, "max_neighbors": M}}})
        self.collection = made["id"]

    def add(self, first, vectors):
        ids = [str(first + i) for i in range(len(vectors))]
        self.ask("POST", f"{self.at}/{self.collection}/add", {"ids": ids, "embeddings": vectors.tolist()})

    def set_ef(self, ef):
        self.ask("PUT", f"{self.at}/{self.collection}", {"new_configuration": {"hnsw": {"ef_search": ef}}})

    def search_path(self):
        return f"{self.at}/{self.collection}/query"

    def search_body(self, vector):
        return {"query_embeddings": [vector.tolist()], "n_results": K, "include": []}

    def ids_of(self, answer):
        return [int(text) for text in answer["ids"][0]]


class Weaviate(Server):
    name, version, alive = "Weaviate", "1.35.2", "/v1/meta"
    home = PEERS / "weaviate"

    @classmethod
    def install(cls):
        if (cls.home / "weaviate-server").exists():
            return
        cls.home.mkdir(parents=True, exist_ok=True)
        (cls.home / "go.mod").write_text(f"module bench\n\ngo 1.25\n\nrequire github.com/weaviate/weaviate v{cls.version}\n")
        (cls.home / "tools.go").write_text('//go:build tools\n\npackage bench\n\nimport _ "github.com/weaviate/weaviate/cmd/weaviate-server"\n')
        for command in (["mod", "tidy"], ["build", "-o", "weaviate-server", "github.com/weaviate/weaviate/cmd/weaviate-server"]):
            subprocess.run(["go", *command], cwd=cls.home, check=True)

    def command(self):
        return [self.home / "weaviate-server", "--host", "127.0.0.1", "--port", str(self.port), "--scheme", "http"]

    def environment(self):
        ports = {name: str(free_port()) for name in ("GRPC_PORT", "CLUSTER_GOSSIP_BIND_PORT", "CLUSTER_DATA_BIND_PORT", "RAFT_PORT", "RAFT_INTERNAL_RPC_PORT")}
        return ports | {
            "PERSISTENCE_DATA_PATH": str(self.folder / "data"), "DEFAULT_VECTORIZER_MODULE": "none", "AUTHENTICATION_ANONYMOUS_ACCESS_ENABLED": "true",
            "CLUSTER_HOSTNAME": "bench", "CLUSTER_ADVERTISE_ADDR": "127.0.0.1", "RAFT_BOOTSTRAP_EXPECT": "1", "DISABLE_TELEMETRY": "true",
            "LOG_LEVEL": "error", "PROFILING_PORT": str(free_port()),
        }  # fmt: skip

    def create(self, dataset):
        self.index = {"distance": {"cosine": "cosine", "l2": "l2-squared", "ip": "dot"}[dataset.metric], "efConstruction": EFC, "maxConnections": M, "ef": 64}
        self.schema = self.ask("POST", "/v1/schema", {"class": "Bench", "vectorIndexConfig": self.index, "properties": []})

    def add(self, first, vectors):
        objects = [{"class": "Bench", "id": str(uuid.UUID(int=first + i)), "vector": vector} for i, vector in enumerate(vectors.tolist())]
        for made in self.ask("POST", "/v1/batch/objects", {"objects": objects}):
            if made["result"]["status"] != "SUCCESS":
                raise SystemExit(f"Weaviate: {made['result']}")

    def set_ef(self, ef):
        self.schema["vectorIndexConfig"]["ef"] = ef
        self.ask("PUT", "/v1/schema/Bench", self.schema)

    def search_path(self):
        return "/v1/graphql"

    def search_body(self, vector):
        return {"query": "{Get{Bench(limit:%d,nearVector:{vector:%s}){_additional{id}}}}" % (K, json.dumps(vector.tolist()))}

    def ids_of(self, answer):
        return [uuid.UUID(row["_additional"]["id"]).int for row in answer["data"]["Get"]["Bench"]]


SERVERS = {"chroma": Chroma, "weaviate": Weaviate}


def theirs(kind, dataset, seconds):
    """Seconds until all is acknowledged and a search has found the last row, and the curve."""
    with kind() as server:
        server.create(dataset)
        begin = measure.clock()
        for first in range(0, len(dataset.base), BATCH):
            server.add(first, dataset.base[first : first + BATCH])
        server.search(dataset.base[-1])
        took = measure.clock() - begin
        say(f"servers: {kind.name}: {len(dataset.base):,} rows in {took:.0f} s")
        curve = []
        for ef in EFS:
            server.set_ef(ef)
            found = np.array([(server.search(vector) + [-1] * K)[:K] for vector in dataset.query[:200]])
            recall = measure.recall(found, dataset.truth[:200], K)
            curve.append({"recall": recall, "qps": [max(server.rate(dataset.query[:1000], connections, seconds) for connections in (4, 16, 64))]})
            say(f"servers: {kind.name}, ef {ef}: recall {recall:.4f}, {curve[-1]['qps'][0]:,.0f}/s")
            if recall > ENOUGH:
                break
        return took, curve


def ours(dataset, seconds):
    with nodes.Cluster(1) as cluster:
        begin = measure.clock()
        collection = loaded(cluster, dataset_named(dataset), rows=len(dataset.base), shards=1, replicas=1)
        took = measure.clock() - begin
        curve = []
        for ef in EFS:
            recall = measure.recall(collection.search(dataset.query[:1000], k=K, ef=ef)[0], dataset.truth[:1000], K)
            asked = {"collection": "docs", "vectors": nodes.file_of(SET, "query"), "dimension": dataset.dim, "k": K, "ef": ef}
            got = cluster.load("search", **asked, flight=FLIGHT, seconds=seconds)
            curve.append({"recall": recall, "qps": [got["rate"]]})
        return took, curve


def write(options, dataset, mine, others):
    rows = len(dataset.base)
    table, verdicts = [], []

    def line(name, took, curve):
        at = [report.at_recall([(row["recall"], row["qps"][0]) for row in curve], target) for target in (0.90, 0.95)]
        table.append([name, f"{rows / took:,.0f}"] + [("never" if value != value else ("" if sure else ">= ") + f"{value:,.0f}") for value, sure in at])
        return at[1][0]

    best = line("omend", *mine)
    for kind, (took, curve) in others:
        their = line(f"{kind.name} {kind.version}", took, curve)
        ratio = best / their if their == their else float("inf")
        verdicts.append((f"QPS at recall 0.95 over {kind.name}'s", f"{ratio:.1f}x", ">= 3x", ratio >= 3))
        verdicts.append((f"durable ingest, searchable, over {kind.name}'s", f"{took / mine[0]:.1f}x", ">= 2x", took / mine[0] >= 2))
    text = (
        f"{SET}, {rows:,} rows, k = {K}, m = {M}, ef_construction = {EFC}; the same cores, in turn. Rows go in by batches of {BATCH:,}, until a search\n"
        f"finds the last one: omend's are on the disk then and linked. omend is asked over TCP with {FLIGHT} in flight; the others over HTTP by wrk,\n"
        f"their best rate of 4, 16 and 64 connections, {options.seconds} s each. Clients run on the same cores, and JSON is part of what theirs cost.\n\n"
    )
    text += (BUSY if options.busy else "") + report.table(["server", "rows/s", "QPS @0.9", "QPS @0.95"], table)
    report.section("cluster-servers", "Beside other servers", text, verdicts, whole=set(kind for kind, _ in others) == set(SERVERS.values()))


def main(words=None):
    parse = argparse.ArgumentParser(prog="python -m bench.servers", description=__doc__.split("\n")[0])
    parse.add_argument("names", nargs="*", metavar="NAME", help=", ".join(SERVERS))
    parse.add_argument("--busy", action="store_true", help="others use the machine: say so")
    parse.add_argument("--rows", type=int, default=30_000)
    parse.add_argument("--seconds", type=int, default=3)
    options = parse.parse_args(words)
    if unknown := [name for name in options.names if name not in SERVERS]:
        parse.error(f"{unknown[0]} is none of {', '.join(SERVERS)}")
    chosen = [SERVERS[name] for name in options.names or SERVERS]
    for kind in chosen:
        kind.install()
    dataset = data.load(SET)
    dataset = data.cached_subset(dataset, min(options.rows, len(dataset.base)), 1000)
    mine = ours(dataset, options.seconds)
    write(options, dataset, mine, [(kind, theirs(kind, dataset, options.seconds)) for kind in chosen])


if __name__ == "__main__":
    main()
