"""Nodes for a bench: processes on loopback, and the C programs that load them and that show what the library does alone."""

import contextlib
import json
import pathlib
import re
import shutil
import subprocess
import tempfile
import time

import numpy as np
import omendb

from bench import data
from tests.system.omend_node import Node

BIN = data.ROOT / "build" / "bin"
RECORD = np.dtype([("asked", "f8"), ("took", "f8"), ("shard", "u8"), ("status", "i4"), ("item", "u4")])  # bench/load.c
SYNCS = ("fdatasync", "fsync", "msync", "sync_file_range")
WAIT = 600.0


def until(what, holds, seconds=WAIT, pause=0.05):
    """Asks again and again, since nobody tells; what never comes ends the bench."""
    end = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > end:
            raise SystemExit(f"not within {seconds:.0f} s: {what}")
        time.sleep(pause)


class Cluster:
    """So many nodes, a client of them; all gone at the end."""

    def __init__(self, count, *options):
        self.count, self.options = count, options

    def __enter__(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="omen-bench-", dir=data.WORK))
        self.nodes = [Node(str(BIN / "omend"), self.folder, chr(ord("a") + i)) for i in range(self.count)]
        self.nodes[0].start(*self.options)
        for node in self.nodes[1:]:
            node.start("--join", self.nodes[0].peer, *self.options)
        voters = str(min(3, self.count | 1 if self.count != 2 else 1))
        for node in self.nodes:
            if self.count > 1:
                node.wait_for("meta.nodes", nodes=str(self.count), up=str(self.count), voters=voters)
        self.client = omendb.connect("omen://" + ",".join(node.listen for node in self.nodes), timeout=60.0)
        return self

    def __exit__(self, *_):
        self.client.close()
        for node in self.nodes:
            if node.runs():
                node.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def create(self, name, dataset, **options):
        self.client.create_collection(name, dimension=dataset.dim, metric=dataset.metric, **options)
        return self.client.collection(name, consistency="eventual")

    def load(self, job, nodes=None, **options):
        return load(job, nodes or self.nodes, pids=self.nodes, **options)

    def linked(self, collection):
        until("all rows linked", lambda: collection.stats()["tail"] == 0)

    def whole(self):
        """All shards have all their copies, and these are in sync."""
        until("every shard whole", lambda: self.client.call("cluster.info").get("degraded_shards", 0) == 0)


def words(job, nodes, pids=None, **options):
    options["to"] = ",".join(node.listen for node in nodes)
    if pids:
        options["pids"] = ",".join(str(node.process.pid) for node in pids if node.runs())
    given = [word for name, value in options.items() for word in (f"--{name.replace('_', '-')}", str(value))]
    return [str(BIN / "omen_load_bench"), job, *given]


def answer(done, what):
    if done.returncode != 0:
        raise SystemExit(f"{what}: {done.stderr.strip()}")
    return json.loads(done.stdout)


def load(job, nodes, **options):
    """omen_load_bench to its end: its line as a dict."""
    return answer(subprocess.run(words(job, nodes, **options), capture_output=True, text=True, check=False), f"load {job}")


@contextlib.contextmanager
def loading(job, nodes, log, **options):
    """omen_load_bench beside what the block does; the records are log's afterwards."""
    process = subprocess.Popen(words(job, nodes, log=log, **options), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        yield process
        _, err = process.communicate(timeout=WAIT)
        if process.returncode != 0:
            raise SystemExit(f"load {job}: {err.strip()}")
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


def records(path):
    return np.fromfile(path, RECORD)


def alone(path, queries, ef, seconds, batch=0, threads=1):
    """The library's own search of a node's file."""
    command = [BIN / "omen_alone_bench", path, queries, ef, seconds, batch, threads]
    return answer(subprocess.run([str(word) for word in command], capture_output=True, text=True, check=False), "alone")


class Syncs:
    """Counts what processes make durable, by perf; None where that is not to be had."""

    def __init__(self, pids):
        self.count = None
        events = ",".join(f"syscalls:sys_enter_{name}" for name in SYNCS)
        self.command = ["perf", "stat", "-x,", "-e", events, "-p", ",".join(map(str, pids))]

    def __enter__(self):
        self.process = None
        if shutil.which("perf"):
            self.process = subprocess.Popen(self.command, stderr=subprocess.PIPE, text=True)
            time.sleep(0.3)  # it attaches, and does not say when it has
        return self

    def __exit__(self, *_):
        if self.process is None:
            return
        self.process.send_signal(2)
        found = re.findall(r"^(\d+),", self.process.communicate()[1], re.M)
        self.count = sum(map(int, found)) if found else None


def cpu_s(pid):
    """Seconds of CPU that a process has used."""
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / 100


def anonymous_mb(pid):
    status = pathlib.Path(f"/proc/{pid}/status").read_text()
    return int(re.search(r"RssAnon:\s+(\d+)", status).group(1)) / 1024


def file_of(name, what="base"):
    data.load(name)
    return data.WORK / "data" / f"{name}.{what}.f32"
