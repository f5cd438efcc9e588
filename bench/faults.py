"""What clients see of nodes that die: searches while one is killed and comes back, and writes until there is a new primary.

`python -m bench.faults PART... [--busy] [--kills N] [--megabytes N]`, of killed, failover, restored. Three nodes on loopback, which
share the processors with each other and with the clients; profile fast.
"""

import argparse
import pathlib
import shutil
import time

import numpy as np
import omendb

from bench import data, nodes, report
from bench.ann import say
from bench.cluster import BUSY, SET, K, loaded

WINDOW_S = 0.5  # of the searches, for a p99
NORMAL = 2.0  # times the p99 before, or 5 ms more where that is more: searches are as they were
LANES, SHARDS = 24, 6
TEXT_BYTES, FILL_BATCH = 10_000, 500


def leader_of(cluster):
    """Who leads the metadata, once somebody does."""
    found = {}
    nodes.until("a leader", lambda: "leader" in found or found.update(cluster.client.call("cluster.info")))
    return found["leader"]


def primaries(cluster):
    """Shard to the node that is its primary."""
    return {shard["shard"]: shard["primary"] for shard in cluster.client.shards("docs")}


# ---- searches while a node is killed and comes back ----


def killed(options):
    dataset = data.load(SET)
    with nodes.Cluster(3) as cluster:
        loaded(cluster, dataset, rows=options.rows, shards=4, replicas=3)
        cluster.whole()
        victim = next(node for node in cluster.nodes if node.node == leader_of(cluster))
        log = cluster.folder / "log"
        asked = dict(collection="docs", vectors=nodes.file_of(SET, "query"), dimension=dataset.dim, k=K, ef=64)
        with nodes.loading("search", cluster.nodes, log, **asked, flight=8, connections=6, seconds=30, deadline_ms=2000):
            time.sleep(10)
            kill_s = time.monotonic()
            victim.kill()
            time.sleep(8)
            start_s = time.monotonic()
            victim.start()
        killed_report(options, nodes.records(log), kill_s, start_s)


def windows(found, begin, end):
    """(seconds since `begin`, p99 in ms, searches), a window each; the last is as much longer as is left before `end`, so
    that none has searches of what comes after it."""
    at = found["asked"] + found["took"]
    edges = begin + WINDOW_S * np.arange(int((end - begin) / WINDOW_S) + 1)
    edges[-1] = end
    out = []
    for left, right in zip(edges, edges[1:]):
        took = found["took"][(at >= left) & (at < right)]
        out.append((left - begin, float(np.quantile(took, 0.99) * 1e3) if len(took) else np.inf, len(took)))
    return out


def normal_after(found, begin, end, before_ms):
    """Seconds from `begin` until the last window that is not normal has ended."""
    bad = [at for at, p99, _ in windows(found, begin, end) if p99 > max(NORMAL * before_ms, before_ms + 5)]
    return max(bad) + WINDOW_S if bad else 0.0


def killed_report(options, found, kill_s, start_s):
    end_s = float((found["asked"] + found["took"]).max())
    rows, quantiles = [], {}
    for name, begin, end in (
        ("before", kill_s - 8, kill_s), ("killed", kill_s, start_s), ("came back", start_s, end_s),
    ):  # fmt: skip
        part = found[(found["asked"] >= begin) & (found["asked"] < end)]
        quantiles[name] = float(np.quantile(part["took"], 0.99) * 1e3)
        rows.append([name, f"{len(part) / (end - begin):,.0f}", f"{np.median(part['took']) * 1e3:.2f}", f"{quantiles[name]:.1f}",
                     f"{part['took'].max() * 1e3:.0f}", int((part["status"] != 0).sum())])  # fmt: skip
    usual = float(np.median([p99 for _, p99, _ in windows(found, kill_s - 8, kill_s)]))
    after_kill, after_start = normal_after(found, kill_s, start_s, usual), normal_after(found, start_s, end_s, usual)
    failed = int((found["status"] != 0).sum())
    late = int((found["took"] > 2.0).sum())
    text = (
        f"{options.rows:,} rows of {SET} in 4 shards of three copies, k = {K}, ef = 64, 8 in flight over all nodes, deadline 2 s; the node that\n"
        f"leads the metadata is killed, and started again 8 s later. A search whose connection broke is asked again over another one,\n"
        f"and counts from its first asking. Normal is a p99 of half a second below {max(NORMAL * usual, usual + 5):.0f} ms; before, it was {usual:.1f} ms.\n\n"
    )
    text += (BUSY if options.busy else "") + report.table(["", "searches/s", "p50 ms", "p99 ms", "slowest ms", "failed"], rows)
    verdicts = [
        ("searches that failed or were late", f"{failed + late}", "0", failed + late == 0),
        ("p99 back to normal after the kill", f"{after_kill:.1f} s", "<= 3 s", after_kill <= 3),
        ("p99 back to normal after the start", f"{after_start:.1f} s", "<= 3 s", after_start <= 3),
    ]
    report.section("cluster-killed", "Searches while a node is killed", text, verdicts)


# ---- writes until there is a new primary ----


def failover(options):
    dataset = data.load(SET)
    rounds = []
    with nodes.Cluster(3) as cluster:
        cluster.create("docs", dataset, shards=SHARDS, replicas=3)
        cluster.whole()
        for number in range(options.kills):
            rounds.append(failover_once(cluster, dataset, want_leader=number % 2 == 0))
            say(f"failover: kill {number + 1} of {options.kills}: {rounds[-1]}")
    failover_report(options, rounds)


def failover_once(cluster, dataset, want_leader):
    leader, of_shard = leader_of(cluster), primaries(cluster)
    holders = sorted(set(of_shard.values()), key=lambda node: (node == leader) != want_leader)
    victim = next(node for node in cluster.nodes if node.node == holders[0])
    others = [node for node in cluster.nodes if node is not victim]
    log = cluster.folder / "log"
    asked = dict(collection="docs", vectors=nodes.file_of(SET), dimension=dataset.dim, flight=LANES, connections=4)
    with nodes.loading("lanes", others, log, **asked, seconds=6, deadline_ms=5000):
        time.sleep(1.5)
        of_shard = primaries(cluster)  # since then one may have been handed over
        kill_s = time.monotonic()
        victim.kill()
    found = nodes.records(log)
    gaps = {shard: gap(found[found["shard"] == shard], kill_s) for shard in of_shard}
    victim.start()
    cluster.whole()
    return {
        "leader": victim.node == leader,
        "primary": [gaps[shard] for shard, primary in of_shard.items() if primary == victim.node],
        "backup": [gaps[shard] for shard, primary in of_shard.items() if primary != victim.node],
        "failed": int((found["status"] != 0).sum()),
    }


def gap(found, kill_s):
    """The longest silence of a shard's acknowledgements around and after the kill, in seconds."""
    at = np.sort((found["asked"] + found["took"])[found["status"] == 0])
    at = at[np.searchsorted(at, kill_s) - 1 :] if len(at) and at[0] < kill_s else at
    return round(float(np.diff(at).max()), 3) if len(at) > 1 else float("inf")


def failover_report(options, rounds):
    def quantiles(values):
        return [f"{np.median(values):.2f}", f"{np.quantile(values, 0.99):.2f}", f"{max(values):.2f}"] if values else ["-"] * 3

    leaders = [gap for one in rounds if one["leader"] for gap in one["primary"]]
    plain = [gap for one in rounds if not one["leader"] for gap in one["primary"]]
    backups = [gap for one in rounds for gap in one["backup"]]
    both = leaders + plain
    counts = [sum(one["leader"] for one in rounds), sum(not one["leader"] for one in rounds)]
    rows = [
        ["its primary was killed, which led the metadata", counts[0], len(leaders), *quantiles(leaders)],
        ["its primary was killed, another led", counts[1], len(plain), *quantiles(plain)],
        ["a backup was killed", len(rounds), len(backups), *quantiles(backups)],
    ]
    text = (
        f"{SHARDS} shards of three copies, profile fast, {LANES} points of which each is written again as soon as it was acknowledged, through the two\n"
        f"nodes that stay. The longest time without an acknowledgement of a shard from the kill on, in seconds.\n\n"
    )
    text += (BUSY if options.busy else "") + report.table(["of a shard", "kills", "shards", "median s", "p99 s", "longest s"], rows)
    p99, stall = float(np.quantile(both, 0.99)), float(max(backups)) if backups else 0.0
    verdicts = [
        (f"failover, p99 of {len(both)} shards in {len(rounds)} kills", f"{p99:.2f} s", "<= 3 s", p99 <= 3),
        ("longest stall where a backup was killed", f"{stall:.2f} s", "<= 1 s", stall <= 1),
    ]
    report.section("cluster-failover", "Until there is a new primary", text, verdicts, whole=len(rounds) >= 50)


# ---- copies of a node that lost its data ----


def restored(options):
    dataset = data.load(SET)
    rounds = []
    with nodes.Cluster(3) as cluster:
        collection = cluster.create("docs", dataset, shards=4, replicas=3)
        cluster.whole()
        fill(collection, dataset, options.megabytes)
        cluster.linked(collection)
        for number, victim in enumerate(list(cluster.nodes)):
            rounds.append(restored_once(cluster, victim))
            say(f"restored: node {number + 1} of {len(cluster.nodes)}: {rounds[-1]}")
    restored_report(options, collection_rows(dataset, options.megabytes), rounds)


def collection_rows(dataset, megabytes):
    return min(len(dataset.base), megabytes * 1_000_000 // (TEXT_BYTES + dataset.dim * 4))


def fill(collection, dataset, megabytes):
    """Vectors with a text each, none of which is like another."""
    draw = np.random.default_rng(7)
    for first in range(0, collection_rows(dataset, megabytes), FILL_BATCH):
        vectors = dataset.base[first : first + min(FILL_BATCH, collection_rows(dataset, megabytes) - first)]
        texts = [draw.bytes(TEXT_BYTES // 2).hex() for _ in vectors]
        collection.upsert(vectors, list(range(first, first + len(vectors))), [{"text": text} for text in texts])


def bytes_of(folder):
    """That are allocated on disk."""
    return sum(path.stat().st_blocks * 512 for path in pathlib.Path(folder).rglob("*") if path.is_file())


def restored_once(cluster, victim):
    """Seconds from the start of a node whose data is gone, as a new one, until it has a copy in sync of each shard."""
    other = next(node for node in cluster.nodes if node is not victim)
    lost, before = victim.node, bytes_of(victim.data)
    victim.kill()
    shutil.rmtree(victim.data)
    begin = time.monotonic()
    victim.start("--join", other.peer)
    joined = time.monotonic()
    nodes.until("the lost one is drained", lambda: done(cluster, "node.drain", lost))
    there = {node.node for node in cluster.nodes}
    nodes.until("every shard is whole", lambda: all(set(row["in_sync"]) == there for row in cluster.client.shards("docs")))
    whole = time.monotonic()
    nodes.until("the lost one is given up", lambda: done(cluster, "node.decommission", lost))
    return {"whole": round(whole - begin, 2), "joined": round(joined - begin, 2), "mb": before // 1_000_000, "now": bytes_of(victim.data) // 1_000_000}


def done(cluster, method, node):
    try:
        cluster.client.call(method, {"node": node})
    except omendb.OmenError:
        return False
    return True


def restored_report(options, rows, rounds):
    text = (
        f"{rows:,} rows of {SET} with a text of {TEXT_BYTES:,} bytes each, in 4 shards of three copies; each node in turn is killed, its folder\n"
        f"removed, and started again as a new one, and who it was is drained. Seconds from that start on, nothing else being asked.\n\n"
    )
    table = [[number + 1, f"{one['mb']:,}", f"{one['now']:,}", f"{one['joined']:.1f}", f"{one['whole']:.1f}"] for number, one in enumerate(rounds)]
    text += (BUSY if options.busy else "") + report.table(["node", "MB on disk before", "and after", "joined s", "whole s"], table)
    longest = max(one["whole"] for one in rounds)
    verdicts = [("all copies of a node back, the longest of three", f"{longest:.1f} s", "<= 60 s", longest <= 60)]
    report.section("cluster-restored", "Until a node that lost its data has it again", text, verdicts, whole=options.megabytes >= 1000)


PARTS = {"killed": killed, "failover": failover, "restored": restored}


def main(words=None):
    parse = argparse.ArgumentParser(prog="python -m bench.faults", description=__doc__.split("\n")[0])
    parse.add_argument("parts", nargs="*", metavar="PART", help=", ".join(PARTS))
    parse.add_argument("--busy", action="store_true", help="others use the machine: say so")
    parse.add_argument("--kills", type=int, default=50)
    parse.add_argument("--rows", type=int, default=20_000)
    parse.add_argument("--megabytes", type=int, default=1000, help="of vectors and texts that are restored")
    options = parse.parse_args(words)
    for part in options.parts or PARTS:
        if part not in PARTS:
            parse.error(f"{part} is no part: {', '.join(PARTS)}")
        say(f"faults: {part}")
        PARTS[part](options)


if __name__ == "__main__":
    main()
