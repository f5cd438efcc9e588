"""What `make run` shows of a cluster: three nodes on this machine, real vectors through the router, a node killed in the middle.

`python -m bench.demo [--rows N] [--queries N] [--omend PROGRAM] [--at FOLDER] [--keep]`

A writer and a searcher go on while the node that leads the metadata, and is primary of shards, is killed; every write that was
acknowledged is looked for afterwards. Everything is on loopback and on the same processors, so rates are those of three
nodes that share them.
"""

import argparse
import contextlib
import pathlib
import shutil
import signal
import sys
import threading

import numpy as np
import omendb

from bench import measure, run
from bench.nodes import until
from tests.system.omend_node import Node

ROOT = pathlib.Path(__file__).resolve().parent.parent
FOLDER = ROOT / "build" / "demo-cluster"
BATCH = 500
SHARDS, REPLICAS = 4, 3
ROWS_LEAST = 1_500 * SHARDS  # so that each shard has enough to be linked


@contextlib.contextmanager
def three_nodes(program, folder):
    """Whatever happens to the demo, none of them goes on when it has ended."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    nodes = [Node(str(program), folder, name) for name in ("a", "b", "c")]
    try:
        nodes[0].start()
        for node in nodes[1:]:
            node.start("--join", nodes[0].peer)
        for node in nodes:
            node.wait_for("meta.nodes", nodes="3", up="3", voters="3")
            run.line(f"node {node.name}", f"clients {node.listen}, peers {node.peer}")
        yield nodes
    finally:
        for node in nodes:
            if node.runs():
                node.kill()


class Writer(threading.Thread):
    """Writes batches until it is told to stop; remembers what was acknowledged, and the longest silence between two."""

    def __init__(self, collection, base, first):
        super().__init__(daemon=True)
        self.collection, self.base, self.first = collection, base, first
        self.over, self.wrote = threading.Event(), threading.Condition()
        self.acknowledged, self.errors, self.longest = {}, [], 0.0

    def run(self):
        before, number = measure.clock(), 0
        while not self.over.is_set():
            at = (number * 50) % (len(self.base) - 50)
            ids = np.arange(self.first + number * 50, self.first + number * 50 + 50)
            try:
                self.collection.upsert(self.base[at : at + 50], ids)
            except omendb.OmenError as error:
                self.errors.append(str(error))  # its outcome is unknown, or it was refused: it is not counted as there
            else:
                now = measure.clock()
                self.longest, before = max(self.longest, now - before), now
                with self.wrote:
                    self.acknowledged[number] = at
                    self.wrote.notify()
            number += 1

    def wait_for(self, more):
        """Until so many batches more are acknowledged."""
        with self.wrote:
            wanted = len(self.acknowledged) + more
            if not self.wrote.wait_for(lambda: len(self.acknowledged) >= wanted, 120):
                raise SystemExit(f"no write was acknowledged for 120 s: {self.errors[-1:]}")


class Searcher(threading.Thread):
    def __init__(self, collection, queries):
        super().__init__(daemon=True)
        self.collection, self.queries, self.over = (
            collection,
            queries,
            threading.Event(),
        )
        self.seconds, self.errors = [], []

    def run(self):
        number = 0
        while not self.over.is_set():
            begin = measure.clock()
            try:
                self.collection.search(self.queries[number % len(self.queries)], k=10, with_payload=False)
            except omendb.OmenError as error:
                self.errors.append(str(error))
            self.seconds.append(measure.clock() - begin)
            number += 1


def load(collection, demo, rows):
    bar, begin = run.Bar("writing"), measure.clock()
    for at in range(0, rows, BATCH):
        end = min(at + BATCH, rows)
        collection.upsert(demo.base[at:end], np.arange(at, end), demo.payloads[at:end])
        bar.update(end, rows)
    bar.end()
    took = measure.clock() - begin
    run.line(
        "written",
        f"{rows:,} points in {took:.1f} s, {rows / took:,.0f}/s: each on {REPLICAS} disks before it counts",
    )
    until("all points linked", lambda: collection.stats()["tail"] == 0)
    run.line("linked", f"{measure.clock() - begin - took:.1f} s later; until then searches compare what is not")


def search(collection, demo, rows, queries):
    truth = np.stack([collection.search(q, k=10, exact=True, with_payload=False).ids for q in queries])
    collection.search(queries[0], k=10)
    seconds, found = [], []
    for query in queries:
        begin = measure.clock()
        found.append(collection.search(query, k=10, with_payload=False).ids)
        seconds.append(measure.clock() - begin)
    run.line(
        "recall@10",
        f"{measure.recall(np.stack(found), truth):.4f} against the exact search of {rows:,} points",
    )
    run.line(
        "a search",
        f"p50 {measure.quantile_us(seconds, 0.5):,.0f} us, p99 {measure.quantile_us(seconds, 0.99):,.0f} us, one after the other",
    )
    begin = measure.clock()
    collection.search(queries, k=10)
    run.line(
        "a batch",
        f"{len(queries) / (measure.clock() - begin):,.0f} queries/s in one request",
    )
    hits = collection.search(queries[0], k=3, filter=demo.condition)
    run.line(
        "filtered",
        f"the nearest with {demo.condition}: {run.clip(str(hits.payloads[0]), 70)}",
    )
    if demo.look is run.look_at_texts and rows > 5_000:
        demo.look(collection, demo)


def leader_of(client):
    return client.call("cluster.info")["leader"]


def kill_one(client, nodes, collection, demo, rows, queries):
    leader = leader_of(client)
    victim = next(node for node in nodes if node.node == leader)
    primaries = sum(shard["primary"] == leader for shard in client.shards(collection.name))
    writer, searcher = (
        Writer(collection, demo.base, rows),
        Searcher(collection, queries),
    )
    writer.start()
    searcher.start()
    writer.wait_for(20)
    run.line(
        "kill -9",
        f"node {victim.name}, which leads the metadata and is primary of {primaries} of {SHARDS} shards",
    )
    victim.kill()
    writer.wait_for(60)
    victim.start()
    run.line("started again", f"node {victim.name}, from its own disk")
    writer.wait_for(60)
    for thread in (writer, searcher):
        thread.over.set()
        thread.join()
    run.line(
        "writes",
        f"{len(writer.acknowledged) * 50:,} points acknowledged, longest wait {writer.longest:.2f} s, {len(writer.errors)} errors",
    )
    run.line(
        "searches",
        f"{len(searcher.seconds):,}, of which {len(searcher.errors)} failed; slowest {max(searcher.seconds):.2f} s",
    )
    return writer, searcher


def check(client, collection, demo, rows, writer):
    strong = client.collection(collection.name, consistency="strong")
    missing = wrong = 0
    for number, at in writer.acknowledged.items():
        ids = list(range(rows + number * 50, rows + number * 50 + 50))
        for offset, point in enumerate(strong.get(ids, with_payload=False)):
            if point is None:
                missing += 1
            elif not np.allclose(point.vector, demo.base[at + offset], rtol=1e-3, atol=1e-6):
                wrong += 1
    run.line(
        "looked for",
        f"{len(writer.acknowledged) * 50:,} acknowledged points: {missing} missing, {wrong} different",
    )
    return missing + wrong


def show(nodes, demo, rows):
    """Returns how many points and searches failed."""
    with omendb.connect("omen://" + ",".join(node.listen for node in nodes)) as client:
        collection = client.create_collection(
            "demo",
            dimension=demo.base.shape[1],
            metric=demo.metric,
            shards=SHARDS,
            replicas=REPLICAS,
        )
        collection.index_field(*demo.field)
        load(collection, demo, rows)
        search(collection, demo, rows, demo.query)
        run.heading("One of them is killed")
        writer, searcher = kill_one(client, nodes, collection, demo, rows, demo.query)
        return check(client, collection, demo, rows, writer) + len(searcher.errors)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--queries", type=int, default=500)
    parser.add_argument("--omend", type=pathlib.Path, default=ROOT / "build" / "bin" / "omend")
    parser.add_argument("--at", type=pathlib.Path, default=FOLDER, help="where the nodes' data are made anew (build/demo-cluster)")
    parser.add_argument("--keep", action="store_true", help="leave the cluster running")
    given = parser.parse_args()
    if given.rows < ROWS_LEAST:
        parser.error(f"--rows is {given.rows}; shards are linked from {ROWS_LEAST} rows on")
    demo = run.demos(given.queries)[-1]
    run.heading(f"A cluster of three nodes, and {demo.name}: {demo.origin}")
    with three_nodes(given.omend, given.at) as nodes:
        failed = show(nodes, demo, min(given.rows, len(demo.base)))
        if given.keep:
            addresses = ",".join(node.listen for node in nodes)
            print(f"\nThe cluster goes on: omendb.connect('omen://{addresses}'); data in {given.at}; ends with this program (Ctrl-C)")
            signal.pause()
        for node in nodes:
            node.stop()
    print(
        "\nNothing that was acknowledged was lost." if failed == 0 else f"\nFAILED: {failed} points or searches",
        flush=True,
    )
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
