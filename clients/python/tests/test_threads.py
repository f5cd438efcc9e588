"""Threads: the GIL is released, searches go on beside writers, and close() may come at any time."""

from __future__ import annotations

import os
import signal
import threading

import numpy as np
import pytest

from omendb import Index, errors


def run_together(*actions) -> None:
    """Runs each in a thread of its own, all from the same moment on, and raises what they raised."""
    start = threading.Barrier(len(actions))
    failures: list[BaseException] = []

    def guarded(action) -> None:
        start.wait()
        try:
            action()
        except BaseException as failure:
            failures.append(failure)

    threads = [threading.Thread(target=guarded, args=(action,)) for action in actions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]


def test_what_is_added_is_found_while_others_search(rng):
    rows = rng.standard_normal((4000, 16)).astype(np.float32)
    with Index(dimension=16, metric="l2") as index:
        index.add(rows[:100], range(100))
        done = threading.Event()

        def write() -> None:
            for at in range(100, 4000, 100):
                index.add(rows[at : at + 100], range(at, at + 100), [{"n": i} for i in range(at, at + 100)])
                assert index.search(rows[at + 99], k=1).ids[0] == at + 99
            done.set()

        def read() -> None:
            while not done.is_set():
                ids, distances = index.search(rows[:20], k=5)
                assert (ids[:, 0] == np.arange(20)).all() and not distances[:, 0].any()
                for hits in (index.search(rows[0], k=5), index.range_search(rows[0], 1.0)):
                    assert hits.ids[0] == 0 and len(hits.payloads) == len(hits)

        run_together(write, read, read)
        assert len(index) == 4000
        index.flush()
        index.verify()


def test_writers_take_turns(rng):
    rows = rng.standard_normal((1200, 8)).astype(np.float32)
    with Index(dimension=8, metric="l2") as index:

        def write(first: int):
            def action() -> None:
                for i in range(first, first + 300, 30):
                    index.add(rows[i : i + 30], range(i, i + 30))
                index.delete(range(first, first + 300, 3))

            return action

        run_together(*(write(first) for first in range(0, 1200, 300)))
        assert len(index) == 800
        ids, _ = index.search(rows[1::3], k=1, exact=True)
        assert ids.ravel().tolist() == list(range(1, 1200, 3))


def test_two_first_writers_of_two_kinds_leave_one_kind(rng):
    rows = rng.standard_normal((10, 4)).astype(np.float32)
    for _ in range(20):
        with Index(dimension=4) as index:
            outcomes: list[str] = []

            def write(ids, outcomes=outcomes):
                def action() -> None:
                    try:
                        index.add(rows, ids)
                        outcomes.append("added")
                    except errors.IdKindError:
                        outcomes.append("refused")

                return action

            run_together(write(range(10)), write([str(i) for i in range(10)]))
            assert sorted(outcomes) == ["added", "refused"] and len(index) == 10


@pytest.mark.parametrize("round_", range(10))
def test_close_while_others_search_and_write(rng, round_):
    rows = rng.standard_normal((500, 16)).astype(np.float32)
    index = Index(dimension=16)
    index.add(rows, range(500), [{"n": i} for i in range(500)])
    started = threading.Barrier(4)

    def until_closed(call):
        def action() -> None:
            started.wait()
            with pytest.raises(errors.ClosedError):
                while True:
                    call()

        return action

    def close() -> None:
        started.wait()
        for _ in range(round_ * 3):
            index.search(rows[0])
        index.close()
        assert index.closed

    run_together(
        until_closed(lambda: index.search(rows[:50], k=10)),
        until_closed(lambda: index.search(rows[0], k=10).payloads),
        until_closed(lambda: index.upsert(rows[:20], range(20))),
        close,
    )
    assert repr(index) == "<omendb.Index, closed>"


def test_the_gil_is_released_while_the_engine_works(rng):
    """A thread that only counts gets on while one call of the engine runs."""
    rows = rng.standard_normal((3000, 64)).astype(np.float32)
    with Index(dimension=64, algorithm="flat") as index:
        index.add(rows)
        inside, counted = threading.Event(), 0
        finished = threading.Event()

        def search() -> None:
            inside.set()
            index.search(rows, k=10, exact=True, threads=1)
            finished.set()

        def count() -> None:
            nonlocal counted
            inside.wait()
            while not finished.is_set():
                counted += 1

        run_together(search, count)
        assert counted > 1000


class Alarm(Exception):
    """What a signal's handler raises."""


@pytest.mark.parametrize("call", ["search", "knn_exact", "knn_query", "recall"])
def test_a_signal_ends_what_takes_long(rng, call):
    """Ctrl-C was heard when the batch was done, after minutes."""

    def ring(*_) -> None:
        raise Alarm

    rows = rng.standard_normal((30000, 64)).astype(np.float32)
    calls = {
        "search": lambda: index.search(rows, exact=True),
        "knn_exact": lambda: index.knn_exact(rows, backend="cpu"),
        "knn_query": lambda: index.knn_query(np.tile(rows, (10, 1)), k=1000),
        "recall": lambda: index.recall(samples=30000),
    }
    before = signal.signal(signal.SIGALRM, ring)
    try:
        with Index(dimension=64) as index:
            index.add(rows)
            index.flush()
            searches = index.stats()["searches"]
            with pytest.raises(Alarm):
                signal.setitimer(signal.ITIMER_REAL, 0.05)
                calls[call]()
            assert index.stats()["searches"] - searches < len(rows)
    finally:
        signal.signal(signal.SIGALRM, before)


def test_a_signal_ends_a_flush(rng):
    """The handler runs while rows are linked, which goes on."""
    tails = []

    def ring(*_) -> None:
        tails.append(index.stats()["tail"])
        raise Alarm

    rows = rng.standard_normal((200_000, 64)).astype(np.float32)  # which take seconds to link, and a signal is looked for ten times a second
    before = signal.signal(signal.SIGALRM, ring)
    try:
        with Index(dimension=64) as index:
            index.add(rows)
            with pytest.raises(Alarm):
                signal.setitimer(signal.ITIMER_REAL, 0.01)
                index.flush()
            assert tails[0] > 0
            index.flush()
            assert index.stats()["tail"] == 0
    finally:
        signal.signal(signal.SIGALRM, before)


@pytest.mark.parametrize("durable", [False, True])
def test_a_forked_child_searches_and_ends(rng, tmp_path, durable):
    """It waited for ever for threads that were only in its parent, when the index was closed or collected there."""
    rows = rng.standard_normal((5000, 32)).astype(np.float32)
    index = Index(dimension=32, metric="l2", threads=2, path=tmp_path / "index" if durable else None)
    for first in range(0, len(rows), 500):
        index.add(rows[first : first + 500])
    child = os.fork()
    if child == 0:
        signal.alarm(60)
        try:
            found = index.search(rows[7], k=1)[0][0]
            refused = 0
            for call in (index.flush, index.stats, index.compact, lambda: index.add(rows[:1])):
                try:
                    call()
                except errors.InvalidError as error:
                    refused += "before a fork" in str(error)
            index.close()
            os._exit(0 if (found, refused) == (7, 4) else 1)
        finally:
            os._exit(2)
    assert os.waitpid(child, 0)[1] == 0
    index.flush()
    index.verify()
    assert len(index) == len(rows)
    index.close()
