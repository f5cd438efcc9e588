"""pgvector's HNSW on a PostgreSQL of its own: a private cluster, a unix socket, gone when the bench ends.

It is used when PostgreSQL's programs and the extension `vector` are installed. The server cannot run as
root, so under root it runs as the user postgres.
"""

import os
import pathlib
import pwd
import shutil
import subprocess
import tempfile
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import psycopg
from psycopg.adapt import Dumper
from psycopg.pq import Format
from psycopg.types import TypeInfo

from bench import measure
from bench.peers import Peer

OPERATOR = {"l2": ("<->", "vector_l2_ops"), "cosine": ("<=>", "vector_cosine_ops"), "ip": ("<#>", "vector_ip_ops")}
SERVER = {
    "listen_addresses": "''",
    "shared_buffers": "4GB",
    "maintenance_work_mem": "4GB",
    "dynamic_shared_memory_type": "mmap",  # a container's /dev/shm is often too small for a parallel build
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "max_wal_size": "8GB",
    "jit": "off",
    "autovacuum": "off",
}


def _programs():
    found = sorted(pathlib.Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if found:
        return found[-1].parent
    initdb = shutil.which("initdb")
    if initdb is None:
        raise ImportError("PostgreSQL's initdb is not installed")
    return pathlib.Path(initdb).parent


class _VectorDumper(Dumper):
    """A row as pgvector's binary form; `oid` is set when the extension is there."""

    format = Format.BINARY

    def dump(self, obj):
        return len(obj).to_bytes(2, "big") + b"\0\0" + obj.astype(">f4").tobytes()


class Pgvector(Peer):
    points = [10, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512]

    def __init__(self):
        self.bin = _programs()
        self.home = pathlib.Path(tempfile.mkdtemp(prefix="omen-bench-pg-"))
        self.user = "postgres" if os.geteuid() == 0 else pwd.getpwuid(os.geteuid()).pw_name
        self.connections = []
        self.running = False
        if os.geteuid() == 0:
            shutil.chown(self.home, self.user)
        try:
            self._start()
        except (psycopg.Error, subprocess.CalledProcessError) as error:
            self.close()
            raise ImportError(f"pgvector: {str(error).splitlines()[0]}") from error

    def _run(self, program, *words):
        as_user = {"user": self.user} if os.geteuid() == 0 else {}
        output = self.home / "output"
        with open(output, "ab") as file:
            subprocess.run([self.bin / program, *words], check=True, stdout=file, stderr=file, cwd=self.home, **as_user)

    def _start(self):
        data = self.home / "data"
        self._run("initdb", "-D", str(data), "-U", self.user, "--auth=trust", "--no-sync")
        with open(data / "postgresql.conf", "a") as file:
            file.writelines(f"{name} = {value}\n" for name, value in SERVER.items())
            file.write(f"unix_socket_directories = '{self.home}'\n")
        self._run("pg_ctl", "-D", str(data), "-w", "-l", str(self.home / "log"), "start")
        self.running = True
        self._connect().execute("CREATE EXTENSION vector")
        self.connections.pop().close()
        self.extension = (
            self._connect().execute("SELECT extversion FROM pg_extension WHERE extname = 'vector'").fetchone()[0]
        )

    def _connect(self):
        link = psycopg.connect(host=str(self.home), user=self.user, dbname="postgres", autocommit=True)
        self.connections.append(link)
        info = TypeInfo.fetch(link, "vector")
        if info is not None:
            dumper = type("VectorDumper", (_VectorDumper,), {"oid": info.oid})
            link.adapters.register_dumper(np.ndarray, dumper)
        return link

    def build(self, base, metric, m, ef_construction, threads):
        link = self.connections[0]
        operator, family = OPERATOR[metric]
        width = base.shape[1]
        link.execute("DROP TABLE IF EXISTS points")
        link.execute(f"CREATE TABLE points (id int, v vector({width}))")
        link.execute("ALTER TABLE points ALTER v SET STORAGE PLAIN")
        self._copy(link, base)
        link.execute(f"SET max_parallel_maintenance_workers = {threads - 1}")
        start = measure.clock()
        link.execute(
            f"CREATE INDEX points_v ON points USING hnsw (v {family}) WITH (m={m}, ef_construction={ef_construction})"
        )
        self.build_seconds = measure.clock() - start  # the load is not counted: peers find theirs in memory
        link.execute("ANALYZE points")
        self.rows = len(base)
        self.note = f"pgvector {self.extension}; memory is the index's size on disk"
        self.statement = f"SELECT id FROM points ORDER BY v {operator} %b LIMIT %s"

    def _copy(self, link, base):
        width = base.shape[1]
        record = np.dtype(
            [("fields", ">i2"), ("l1", ">i4"), ("id", ">i4"), ("l2", ">i4"), ("dim", ">i2"), ("zero", ">i2"),
             ("v", ">f4", (width,))]
        )  # fmt: skip
        with link.cursor().copy("COPY points FROM STDIN WITH (FORMAT BINARY)") as copy:
            copy.write(b"PGCOPY\n\xff\r\n\0" + bytes(8))
            for start in range(0, len(base), 10_000):
                part = base[start : start + 10_000]
                rows = np.zeros(len(part), record)
                rows["fields"], rows["l1"], rows["l2"], rows["dim"] = 2, 4, 4 + 4 * width, width
                rows["id"], rows["v"] = np.arange(start, start + len(part)), part
                copy.write(rows.tobytes())
            copy.write(b"\xff\xff")

    def _session(self, number, point):
        while len(self.connections) <= number:
            self._connect()
        link = self.connections[number]
        if getattr(link, "bench_point", None) != point:
            link.execute(f"SET hnsw.ef_search = {point}")
            link.execute("SET enable_seqscan = off")
            link.bench_point = point
        return link

    def _answer(self, number, queries, k, point):
        link = self._session(number, point)
        out = np.full((len(queries), k), -1, "i8")
        with link.cursor(binary=True) as cursor:
            for i, query in enumerate(queries):
                rows = cursor.execute(self.statement, (query, k), prepare=True).fetchall()
                out[i, : len(rows)] = [row[0] for row in rows]
        return out

    def search(self, queries, k, point, threads):
        if threads == 1:
            return self._answer(0, queries, k, point)
        with ThreadPoolExecutor(threads) as pool:  # one connection a thread: the work is the server's
            parts = pool.map(
                lambda job: self._answer(job[0], job[1], k, point), enumerate(np.array_split(queries, threads))
            )
            return np.concatenate(list(parts))

    def memory(self):
        return self.connections[0].execute("SELECT pg_relation_size('points_v')").fetchone()[0]

    def version(self):
        return self.extension

    def close(self):
        for link in self.connections:
            link.close()
        if self.running:
            self._run("pg_ctl", "-D", str(self.home / "data"), "-m", "immediate", "-w", "stop")
            self.running = False
        shutil.rmtree(self.home, ignore_errors=True)


def open_peer():
    return Pgvector()
