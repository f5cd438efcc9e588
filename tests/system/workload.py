"""tests/system/workload.py -- clients that write, read and search while nodes fail, and remember what they asked and were told.

Each worker is a thread with a client of its own. What a key holds is a number that nobody else writes; the vector is made of
it, so a point of which only a part was written would be seen.
"""
from __future__ import annotations

import random
import threading
import time
from typing import Any

import numpy as np
import omendb
from omendb import errors

from histories import NEVER, Call

DIMENSION = 4
KEYS = 24  # that are written; the ids 0..
BASE_FIRST, BASE_COUNT = 1_000_000, 200  # points that nobody changes, for searches


def vector_of(value: int) -> np.ndarray:
    return np.array([value % 4096, value // 4096, 1.0, -(value % 7)], dtype=np.float32)


def base_vector(row: int) -> np.ndarray:
    return np.array([-row - 1.0, row * 3.0, -5000.0, row % 11], dtype=np.float32)


class Worker(threading.Thread):
    def __init__(self, load: Workload, number: int) -> None:
        super().__init__(daemon=True, name=f"{type(self).__name__.lower()}-{number}")
        self.load = load
        self.number = number
        self.draw = random.Random(load.seed * 1000 + number)
        self.client = omendb.connect(load.address, load.api_key, timeout=load.timeout)
        self.crash: BaseException | None = None

    def run(self) -> None:
        try:
            while not self.load.over.is_set():
                self.one()
        except BaseException as fault:  # an error of the test's, or an answer that is none
            self.crash = fault
        finally:
            self.client.close()

    def one(self) -> None:
        raise NotImplementedError


class Writer(Worker):
    """Puts, inserts, deletes, swaps and reads keys, each call under way alone in its thread."""

    def __init__(self, load: Workload, number: int) -> None:
        super().__init__(load, number)
        self.points = self.client.collection(load.collection, consistency="strong")
        self.count = 0

    def one(self) -> None:
        key = self.draw.randrange(KEYS)
        kind = self.draw.choices(("put", "get", "insert", "delete", "swap"), (6, 6, 2, 2, 2))[0]
        self.count += 1
        value = (self.count * 64 + self.number) * 16 + self.load.seed % 16
        if kind == "swap":
            self.swap(key, value)
        elif kind == "get":
            self.get(key)
        elif kind == "delete":
            self.ask(key, kind, None, lambda: self.points.delete([key]) == 1)
        else:
            self.ask(key, kind, value, lambda: self.write(kind, key, value))

    def write(self, kind: str, key: int, value: int, version: int | None = None) -> bool:
        put = self.points.add if kind == "insert" else self.points.upsert
        put(vector_of(value), key, {"v": value}, if_version=version)
        return True

    def get(self, key: int) -> tuple[int | None, int | None] | None:
        begun = time.monotonic()
        try:
            point = self.points.get(key)
        except omendb.OmenError as error:
            self.load.note_error("get", error, time.monotonic() - begun)
            return None
        ended = time.monotonic()
        value = None if point is None else point.payload["v"]
        if point is not None and not np.array_equal(point.vector, vector_of(value)):
            raise AssertionError(f"key {key} holds value {value} with the vector {point.vector}: half of a write")
        self.load.record(key, Call("get", begun, ended, value, who=self.name))
        return value, None if point is None else point.version

    def swap(self, key: int, value: int) -> None:
        found = self.get(key)
        if found is not None and found[0] is not None:
            was, version = found
            self.ask(key, "swap", value, lambda: self.write("swap", key, value, version), was)

    def ask(self, key: int, kind: str, value: int | None, call: Any, was: int | None = None) -> None:
        begun = time.monotonic()
        done: bool | None
        try:
            done = call()
        except (errors.ExistsError, errors.ConflictError, errors.NotFoundError) as error:
            if kind not in ("insert", "swap"):
                raise AssertionError(f"{kind} of key {key}: {error!r}") from error
            done = False
        except omendb.OmenError as error:
            self.load.note_error(kind, error, time.monotonic() - begun)
            if error.outcome == "not_applied":
                return
            done = None
        ended = NEVER if done is None else time.monotonic()
        self.load.record(key, Call(kind, begun, ended, value, was, done, self.name))
        if done is not None:
            self.load.acknowledged()


class Searcher(Worker):
    """Looks for points that are always there; each must be found at its place."""

    def __init__(self, load: Workload, number: int) -> None:
        super().__init__(load, number)
        self.points = self.client.collection(load.collection)
        fill(self.points)  # with these tokens each search sees them, whoever answers

    def one(self) -> None:
        row = self.draw.randrange(BASE_COUNT)
        begun = time.monotonic()
        try:
            hits = self.points.search(base_vector(row), k=3)
        except omendb.OmenError as error:
            self.load.note_error("search", error, time.monotonic() - begun)
            return
        if len(hits) != 3 or hits[0] != (BASE_FIRST + row, 0.0):
            raise AssertionError(f"the search for point {BASE_FIRST + row} found {list(hits)}")
        self.load.searched(time.monotonic() - begun)


class Workload:
    """Begun by `with`; what it saw is whole once that has ended."""

    def __init__(self, address: str, collection: str, seed: int, calls: dict[int, list[Call]], api_key: str | None = None, writers: int = 4,
                 searchers: int = 1, timeout: float = 5.0) -> None:
        self.address, self.collection, self.seed, self.api_key, self.timeout = address, collection, seed, api_key, timeout
        self.over = threading.Event()
        self.calls = calls  # of earlier workloads, and from now on of this one
        self.failures: list[tuple[str, omendb.OmenError, float]] = []
        self.searches: list[float] = []
        self.acks = 0
        self._changed = threading.Condition()
        kinds = [Writer] * writers + [Searcher] * searchers
        self.workers = [kind(self, number) for number, kind in enumerate(kinds)]

    def __enter__(self) -> Workload:
        for worker in self.workers:
            worker.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.over.set()
        for worker in self.workers:
            worker.join()

    # ---- what the workers say ----

    def record(self, key: int, call: Call) -> None:
        with self._changed:
            self.calls.setdefault(key, []).append(call)

    def acknowledged(self) -> None:
        with self._changed:
            self.acks += 1
            self._changed.notify_all()

    def searched(self, seconds: float) -> None:
        with self._changed:
            self.searches.append(seconds)
            self._changed.notify_all()

    def note_error(self, what: str, error: omendb.OmenError, seconds: float) -> None:
        with self._changed:
            self.failures.append((what, error, seconds))

    # ---- what a test waits for ----

    def wait_for(self, acks: int = 0, searches: int = 0, seconds: float = 60.0) -> None:
        """Until so many writes more are acknowledged, and searches answered."""
        with self._changed:
            acks, searches = self.acks + acks, len(self.searches) + searches
            if not self._changed.wait_for(lambda: self.broken() or (self.acks >= acks and len(self.searches) >= searches), seconds):
                raise AssertionError(f"{self.acks} of {acks} writes and {len(self.searches)} of {searches} searches came about within "
                                     f"{seconds} s; failures: {self.failures[-5:]}")
        self.check()

    def broken(self) -> bool:
        return any(worker.crash is not None for worker in self.workers)

    def check(self) -> None:
        for worker in self.workers:
            if worker.crash is not None:
                raise AssertionError(f"{worker.name}: {worker.crash}") from worker.crash

    def failed(self, what: str) -> list[str]:
        return [f"{error!r} after {seconds:.2f} s" for kind, error, seconds in self.failures if kind == what]


def fill(points: Any, more_bytes: int = 0) -> None:
    """Writes the points that nobody changes, each with so many bytes more."""
    rows = range(BASE_COUNT)
    payloads = [{"base": row, "more": "." * more_bytes} for row in rows]
    points.upsert(np.stack([base_vector(row) for row in rows]), [BASE_FIRST + row for row in rows], payloads)
