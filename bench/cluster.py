"""What a cluster costs: searches and writes through nodes, beside the library alone and beside other servers.

`python -m bench.cluster PART... [--busy] [--rounds N]`, of search, upsert, peers, restart, idle, merge. bench/faults.py has what comes of
nodes that die.

Everything is on loopback: nodes, clients and what they are compared with share the same processors, and take turns.
`--busy` says in the report that others used the machine too.
"""

import argparse
import pathlib
import re
import shutil
import subprocess
import tempfile
import time

import numpy as np
import omendb

from bench import data, measure, nodes, report
from bench.ann import say

SET, K, FLIGHT, BATCH = "minilm-384", 10, 64, 100
EFS = (10, 16, 24, 32, 48, 64, 96, 128)
BUSY = "Other programs used the machine meanwhile: times are longer than they need be.\n\n"


def middle(rows, key):
    return float(np.median([row[key] for row in rows]))


def loaded(cluster, dataset, name="docs", rows=None, **options):
    """A collection with the set's rows in it, all of them linked."""
    collection = cluster.create(name, dataset, **options)
    base = nodes.file_of(dataset.name)
    rows = rows or len(dataset.base)
    cluster.load("upsert", collection=name, vectors=base, dimension=dataset.dim, count=rows, batch=1000, flight=4)
    cluster.linked(collection)
    return collection


def recalls(collection, dataset, queries=1000):
    """(ef, recall) of the set's first queries."""
    asked, truth = dataset.query[:queries], dataset.truth[:queries]
    return [(ef, measure.recall(collection.search(asked, k=K, ef=ef)[0], truth, K)) for ef in EFS]


# ---- searches through a node, beside the library's own ----


def search(options):
    dataset = data.load(SET)
    queries = nodes.file_of(SET, "query")
    common = dict(collection="docs", vectors=queries, dimension=dataset.dim, k=K)
    rounds = []
    with nodes.Cluster(1) as cluster:
        collection = loaded(cluster, dataset, shards=1, replicas=1)
        ef = next((ef for ef, recall in recalls(collection, dataset) if recall >= 0.95), EFS[-1])
        node = cluster.nodes[0]
        node.stop()
        (shard,) = (node.data / "shards").iterdir()
        copy = cluster.folder / "copy"
        shutil.copytree(shard, copy)
        node.start()
        nodes.until("an answer", lambda: answers(cluster.client, dataset))
        for number in range(options.rounds):
            say(f"search: round {number + 1} of {options.rounds}")
            rounds.append(search_round(cluster, dict(common, ef=ef), copy, queries, number))
    search_report(options, ef, rounds)


def search_round(cluster, common, copy, queries, number):
    """What is compared lies side by side, and comes first in turn: a processor's clock is not the same at the end of a round."""
    jobs = {
        "many": lambda: cluster.load("search", **common, flight=FLIGHT, seconds=3),
        "alone": lambda: nodes.alone(copy, queries, common["ef"], 2),
        "one": lambda: cluster.load("search", **common, flight=1, seconds=2),
        "batches": lambda: cluster.load("search", **common, flight=8, seconds=2, batch=BATCH),
        "alone batch": lambda: nodes.alone(copy, queries, common["ef"], 2, BATCH, len(measure.CORES)),
        "batch": lambda: cluster.load("search", **common, flight=1, seconds=2, batch=BATCH),
    }
    names = list(jobs) if number % 2 == 0 else list(reversed(jobs))
    return {name: jobs[name]() for name in names}


def answers(client, dataset):
    try:
        return len(client.collection("docs").search(dataset.query[0], k=1).ids) == 1
    except omendb.OmenError:
        return False


def search_report(options, ef, rounds):
    def of(name, key):
        return middle([one[name] for one in rounds], key)

    cpu = float(np.median([one["many"]["cpu_us"] - one["alone"]["cpu_us"] for one in rounds]))
    p50 = float(np.median([one["one"]["p50_us"] - one["alone"]["p50_us"] for one in rounds]))
    share = float(np.median([one["batch"]["rate"] / one["alone batch"]["rate"] for one in rounds]))
    shares = float(np.median([one["batches"]["rate"] / one["alone batch"]["rate"] for one in rounds]))
    rows = [
        ["the library, one thread", of("alone", "cpu_us"), of("alone", "p50_us"), of("alone", "p99_us"), of("alone", "rate")],
        ["a node, one in flight", of("one", "cpu_us"), of("one", "p50_us"), of("one", "p99_us"), of("one", "rate")],
        [f"a node, {FLIGHT} in flight", of("many", "cpu_us"), of("many", "p50_us"), of("many", "p99_us"), of("many", "rate")],
        [f"the library, batches of {BATCH}", of("alone batch", "cpu_us") / BATCH, "", "", of("alone batch", "rate") * BATCH],
        ["a node, one batch in flight", of("batch", "cpu_us") / BATCH, "", "", of("batch", "rate") * BATCH],
        ["a node, eight batches in flight", of("batches", "cpu_us") / BATCH, "", "", of("batches", "rate") * BATCH],
    ]
    shown = [[name] + [f"{cell:,.1f}" if isinstance(cell, float) else cell for cell in cells] for name, *cells in rows]
    text = (
        f"{SET}, one shard, k = {K}, ef = {ef}: the node's own file is what the library opens. The client is a process in C on the\n"
        f"same cores and is not counted in the CPU; it is in the rates. Medians of {len(rounds)} rounds in turn.\n\n"
    )
    text += (BUSY if options.busy else "") + report.table(["", "CPU us a search", "p50 us", "p99 us", "searches/s"], shown)
    text += "\n\nThe library's batches have all cores, too."
    verdicts = [
        (f"server CPU added per search, {FLIGHT} in flight", f"{cpu:.1f} us", "<= 15 us", cpu <= 15),
        ("p50 added, one in flight", f"{p50:.0f} us", "<= 80 us", p50 <= 80),
        (f"query.batch of {BATCH}, one in flight, over the library's", f"{share:.2f}x", ">= 0.9x", share >= 0.9),
        (f"query.batch of {BATCH}, eight in flight, over the library's", f"{shares:.2f}x", ">= 0.9x", shares >= 0.9),
    ]
    report.section("cluster-search", "Searching through a node", text, verdicts)


# ---- bulk upserts ----


def upsert(options):
    dataset = data.load(SET)
    base, rows = nodes.file_of(SET), min(options.rows, len(dataset.base))
    names = ["RF 1, 1 shard", "RF 3, 1 shard", "RF 1, 4 shards", "RF 3, 4 shards"]
    kinds = [(1, 1), (3, 1), (1, 4), (3, 4)]
    rounds = []
    for number in range(options.rounds):
        say(f"upsert: round {number + 1} of {options.rounds}")
        one = {"alone": durable(base, dataset.dim, rows)}
        for name, (replicas, shards) in zip(names, kinds):
            with nodes.Cluster(3) as cluster:
                collection = cluster.create("docs", dataset, shards=shards, replicas=replicas)
                cluster.whole()
                begin = time.monotonic()
                with nodes.Syncs([node.process.pid for node in cluster.nodes]) as syncs:
                    got = cluster.load(
                        "upsert", cluster.nodes[:1], collection="docs", vectors=base, dimension=dataset.dim, count=rows, batch=1000, flight=8
                    )
                cluster.linked(collection)
                one[name] = got | {"linked_s": time.monotonic() - begin, "syncs": syncs.count}
        rounds.append(one)
    upsert_report(options, rows, names, rounds)


def durable(base, dimension, rows):
    """The library's durable inserts of the same batches (bench/durable.c)."""
    with tempfile.TemporaryDirectory(prefix="omen-bench-", dir=data.WORK) as folder:
        command = [nodes.BIN / "omen_durable_bench", "build", f"{folder}/index", "--base", base, "--dim", dimension, "--n", rows, "--batch", 1000]
        return nodes.answer(subprocess.run([str(word) for word in command], capture_output=True, text=True, check=False), "durable")


def upsert_report(options, rows, names, rounds):
    ours = middle([one["alone"] for one in rounds], "searchable_s")
    table = [["the library", f"{rows / ours:,.0f}", "", f"{middle([r['alone'] for r in rounds], 'syncs') / ours:,.0f}",
              f"{rows / middle([r['alone'] for r in rounds], 'linked_s'):,.0f}", ""]]  # fmt: skip
    ratios = {}
    for name in names:
        got = [one[name] for one in rounds]
        seconds = middle(got, "seconds")
        ratios[name] = float(np.median([one["alone"]["searchable_s"] / one[name]["seconds"] for one in rounds]))
        syncs = f"{middle(got, 'syncs') / seconds:,.0f}" if got[0]["syncs"] is not None else "-"
        table.append([name, f"{rows / seconds:,.0f}", f"{middle(got, 'rate'):,.1f}", syncs,
                      f"{rows / middle(got, 'linked_s'):,.0f}", f"{ratios[name]:.2f}x"])  # fmt: skip
    text = (
        f"{rows:,} x 384 in batches of 1,000, eight in flight, through one of three nodes on the same cores and disk. What is acknowledged is on\n"
        f"the disks of all copies. `linked` is a rate too: until every copy has linked all its rows, the clients' polling included.\n"
        f"Medians of {len(rounds)} rounds.\n\n"
    )
    head = ["", "acknowledged rows/s", "acks/s", "syncs/s", "linked rows/s", "of the library"]
    text += (BUSY if options.busy else "") + report.table(head, table)
    verdicts = [
        ("RF 1, of the library's durable inserts", f"{ratios[names[0]]:.2f}x", ">= 0.6x", ratios[names[0]] >= 0.6),
        ("RF 3, of the library's durable inserts", f"{ratios[names[1]]:.2f}x", ">= 0.2x", ratios[names[1]] >= 0.2),
        ("RF 3 and 4 shards, of the library's durable inserts", f"{ratios[names[3]]:.2f}x", ">= 0.2x", ratios[names[3]] >= 0.2),
    ]
    report.section("cluster-upsert", "Bulk upserts through a node", text, verdicts)


# ---- pgvector ----


def peers(options):
    try:
        from bench.peers import pgvector

        peer = pgvector.open_peer()
    except ImportError as error:
        raise SystemExit(f"peers: {error}") from error
    dataset = data.load(SET)
    rows = min(options.rows, len(dataset.base))
    if rows < len(dataset.base):
        dataset = data.cached_subset(dataset, rows, 1000)
    try:
        ours, theirs = [], []
        peer.build(dataset.base, dataset.metric, 16, 200, len(measure.CORES))
        put_queries(peer, dataset.query[:1000])
        with nodes.Cluster(1) as cluster:
            collection = loaded(cluster, dataset_named(dataset), rows=rows, shards=1, replicas=1)
            for ef in EFS:
                say(f"peers: omend, ef {ef}")
                recall = measure.recall(collection.search(dataset.query[:1000], k=K, ef=ef)[0], dataset.truth[:1000], K)
                got = cluster.load("search", collection="docs", vectors=nodes.file_of(SET, "query"), dimension=dataset.dim, k=K, ef=ef, flight=FLIGHT, seconds=2)
                ours.append({"recall": recall, "qps": [got["rate"]]})
        for ef in peer.points:
            say(f"peers: pgvector, ef_search {ef}")
            recall = measure.recall(peer.search(dataset.query[:200], K, ef, 1), dataset.truth[:200], K)
            theirs.append({"recall": recall, "qps": [max(pgbench(peer, ef, clients) for clients in (2, 4))]})
            if recall > 0.97:
                break
        ingest = peers_ingest(peer, dataset, min(rows, 10_000))
    finally:
        peer.close()
    peers_report(options, rows, peer.version(), ours, theirs, ingest)


def dataset_named(dataset):
    """With the name of its file: a subset is the first rows of it."""
    return data.Dataset(SET, dataset.metric, dataset.base, dataset.query, dataset.truth)


def put_queries(peer, queries):
    link = peer.connections[0]
    link.execute("DROP TABLE IF EXISTS asked")
    link.execute(f"CREATE TABLE asked (id int PRIMARY KEY, v vector({queries.shape[1]}))")
    with link.cursor() as cursor:
        cursor.executemany("INSERT INTO asked VALUES (%s, %b)", list(enumerate(queries)))
    link.execute("ANALYZE asked")


def pgbench(peer, ef, clients, seconds=3):
    """QPS of PostgreSQL's own client in C: statements prepared, and the query vectors already in the server."""
    script = peer.home / "search.sql"
    operator = peer.statement.split("ORDER BY v ")[1].split()[0]
    script.write_text(f"\\set i random(0, 999)\nSELECT id FROM points ORDER BY v {operator} (SELECT v FROM asked WHERE asked.id = :i) LIMIT {K};\n")
    done = subprocess.run(
        ["pgbench", "-n", "-M", "prepared", "-c", str(clients), "-j", str(min(clients, len(measure.CORES))), "-T", str(seconds), "-f", script,
         "-h", peer.home, "-U", peer.user, "postgres"],
        capture_output=True, text=True, check=False,
        env={"PGOPTIONS": f"-c hnsw.ef_search={ef} -c enable_seqscan=off", "PATH": "/usr/bin:/bin"},
    )  # fmt: skip
    if done.returncode != 0:
        raise SystemExit(f"pgbench: {done.stderr.strip()}")
    return float(next(line.split("=")[1].split()[0] for line in done.stdout.splitlines() if line.startswith("tps")))


def peers_ingest(peer, dataset, rows):
    """Seconds until so many rows are durable and searchable by the index, in batches of 1,000 each."""
    link = peer.connections[0]
    for setting in ("fsync", "full_page_writes"):
        link.execute(f"ALTER SYSTEM SET {setting} = on")
    link.execute("SELECT pg_reload_conf()")
    link.execute("SET synchronous_commit = on")
    operator = peer.statement.split("ORDER BY v ")[1].split()[0]
    family = {"<->": "vector_l2_ops", "<=>": "vector_cosine_ops", "<#>": "vector_ip_ops"}[operator]
    link.execute("DROP TABLE points")
    link.execute(f"CREATE TABLE points (id int, v vector({dataset.dim}))")
    link.execute("ALTER TABLE points ALTER v SET STORAGE PLAIN")
    link.execute(f"CREATE INDEX points_v ON points USING hnsw (v {family}) WITH (m=16, ef_construction=200)")
    begin = measure.clock()
    for at in range(0, rows, 1000):
        peer._copy(link, dataset.base[at : at + 1000])
    theirs = measure.clock() - begin
    with nodes.Cluster(1) as cluster:
        collection = cluster.create("docs", dataset, shards=1, replicas=1)
        begin = measure.clock()
        got = cluster.load("upsert", collection="docs", vectors=nodes.file_of(SET), dimension=dataset.dim, count=rows, batch=1000, flight=1)
        cluster.linked(collection)
        return {"rows": rows, "theirs": theirs, "acknowledged": got["seconds"], "linked": measure.clock() - begin}


def peers_report(options, rows, version, ours, theirs, ingest):
    table, ratio = [], {}
    for target in (0.90, 0.95):
        (mine, mine_sure), (their, their_sure) = (report.at_recall([(r["recall"], r["qps"][0]) for r in curve], target) for curve in (ours, theirs))
        ratio[target] = mine / their
        table.append([f"{target}", ("" if mine_sure else ">= ") + f"{mine:,.0f}", ("" if their_sure else ">= ") + f"{their:,.0f}", f"{mine / their:.1f}x"])
    durable = ingest["theirs"] / ingest["linked"]
    text = (
        f"{SET}, {rows:,} rows, k = {K}, the same cores, in turn. omend is asked over TCP with {FLIGHT} in flight by a client that sends each\n"
        f"query; PostgreSQL by pgbench over a unix socket, its better rate of 2 and 4 connections, prepared statements, and the queries in a\n"
        f"table of its own, so that nothing is sent or parsed. m = 16, ef_construction = 200 for both.\n\n"
    )
    text += (BUSY if options.busy else "") + report.table(["recall@10", "omend QPS", f"pgvector {version} QPS", "ratio"], table)
    text += (
        f"\n\nDurable ingest of {ingest['rows']:,} rows in batches of 1,000, one at a time, into an index that is there: pgvector "
        f"{ingest['rows'] / ingest['theirs']:,.0f}/s (COPY, fsync on); omend {ingest['rows'] / ingest['acknowledged']:,.0f}/s acknowledged and found by "
        f"searches, {ingest['rows'] / ingest['linked']:,.0f}/s linked, {durable:.1f}x."
    )
    verdicts = [
        ("QPS at recall 0.95 over pgvector's", f"{ratio[0.95]:.1f}x", ">= 10x", ratio[0.95] >= 10),
        ("durable ingest, linked, over pgvector's", f"{durable:.1f}x", ">= 2x", durable >= 2),
    ]
    report.section("cluster-peers", "Beside pgvector, over sockets", text, verdicts)


# ---- a restart ----


def restart(options):
    dataset = data.load("synth-128")
    rows = min(options.rows if options.rows != 60_000 else len(dataset.base), len(dataset.base))
    table, worst = [], {}
    with nodes.Cluster(1) as cluster:
        say(f"restart: {rows:,} rows to write and link")
        loaded(cluster, dataset, rows=rows, shards=1, replicas=1)
        node = cluster.nodes[0]
        for how, end in (("SIGTERM", node.stop), ("kill -9", node.kill)):
            ready, served = [], []
            for _ in range(options.rounds):
                end()
                log = cluster.folder / "log"
                asked = dict(collection="docs", vectors=nodes.file_of(dataset.name, "query"), dimension=dataset.dim, k=K, flight=1)
                with nodes.loading("search", [node], log, **asked, seconds=3):
                    time.sleep(0.2)
                    begin = time.monotonic()
                    node.start()
                    ready.append(time.monotonic() - begin)
                found = nodes.records(log)
                served.append(float((found["asked"] + found["took"])[found["status"] == 0].min()) - begin)
            worst[how] = max(served)
            table.append([how, f"{np.median(ready) * 1e3:,.0f}", f"{np.median(served) * 1e3:,.0f}", f"{max(served) * 1e3:,.0f}"])
    text = f"A node of one shard of {rows:,} x {dataset.dim}, files in the page cache; from its start until a client has the answer of a search.\nThe client tries to connect, and asks, all the time.\n\n"
    text += (BUSY if options.busy else "") + report.table(["ended by", "listens, ms", "answers, median ms", "slowest ms"], table)
    verdicts = [(f"restart after {how}, slowest of {options.rounds}", f"{took:.2f} s", "<= 1 s", took <= 1) for how, took in worst.items()]
    report.section("cluster-restart", "A node starts again", text, verdicts, whole=rows == len(dataset.base))


# ---- idle ----


def idle(options):
    table, worst = [], [0.0, 0.0]
    with nodes.Cluster(3, "--profile", "lan") as cluster:
        before = [nodes.anonymous_mb(node.process.pid) for node in cluster.nodes]
        cluster.client.create_collection("docs", dimension=384, metric="cosine", shards=256, replicas=3)
        cluster.whole()
        time.sleep(5)  # the last of the making
        begin, used = time.monotonic(), [nodes.cpu_s(node.process.pid) for node in cluster.nodes]
        time.sleep(options.idle_s)
        took = time.monotonic() - begin
        for i, node in enumerate(cluster.nodes):
            share = (nodes.cpu_s(node.process.pid) - used[i]) / took * 100
            memory = nodes.anonymous_mb(node.process.pid)
            threads = len(list(pathlib.Path(f"/proc/{node.process.pid}/task").iterdir()))
            worst = [max(worst[0], share), max(worst[1], memory)]
            table.append([node.name, f"{share:.2f} %", f"{before[i]:.0f}", f"{memory:.0f}", threads])
    text = f"Three nodes, 256 shards with three copies each, no points, no requests, the usual profile (lan); {took:.0f} s. Memory is what no file backs.\n\n"
    text += (BUSY if options.busy else "") + report.table(["node", "CPU of a core", "MB before", "MB", "threads"], table)
    verdicts = [
        ("idle CPU of a node, of a core", f"{worst[0]:.2f} %", "< 1 %", worst[0] < 1),
        ("idle memory of a node", f"{worst[1]:.0f} MB", "< 100 MB", worst[1] < 100),
    ]
    report.section("cluster-idle", "Nodes that nobody asks", text, verdicts)


# ---- what a router itself takes ----


def merge(options):
    """bench/router.c: a search taken apart for 64 shards and their replies merged, in one thread and without a network."""
    done = subprocess.run([nodes.BIN / "omen_router_bench"], check=True, capture_output=True, text=True)
    rows = [[name, float(least), float(middle)] for name, least, middle in re.findall(r"^(\w+) +([0-9.]+) us +([0-9.]+) us$", done.stdout, re.M)]
    took = sum(row[2] for row in rows if row[0] in ("route", "merge"))
    text = "64 shards, k = 10. `replies` hears all 64, with the merge in the last.\n\n" + (BUSY if options.busy else "")
    text += report.table(["step", "shortest us", "median us"], [[name, f"{least:.2f}", f"{middle:.2f}"] for name, least, middle in rows])
    verdicts = [("route and merge, medians", f"{took:.2f} us", "< 5 us", took < 5)]
    report.section("cluster-merge", "Taking apart and merging", text, verdicts)


PARTS = {"search": search, "upsert": upsert, "peers": peers, "restart": restart, "idle": idle, "merge": merge}


def main(words=None):
    parse = argparse.ArgumentParser(prog="python -m bench.cluster", description=__doc__.split("\n")[0])
    parse.add_argument("parts", nargs="*", metavar="PART", help=", ".join(PARTS))
    parse.add_argument("--busy", action="store_true", help="others use the machine: say so")
    parse.add_argument("--rounds", type=int, default=3)
    parse.add_argument("--rows", type=int, default=60_000)
    parse.add_argument("--idle-s", type=float, default=20.0)
    options = parse.parse_args(words)
    for part in options.parts or PARTS:
        if part not in PARTS:
            parse.error(f"{part} is no part: {', '.join(PARTS)}")
        say(f"cluster: {part}")
        PARTS[part](options)


if __name__ == "__main__":
    main()
