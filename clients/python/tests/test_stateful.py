"""Any sequence of calls leaves an Index equal to a dict that was treated the same."""

from __future__ import annotations

import contextlib
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from omendb import F, Index, errors

DIMENSION = 3
ids = st.integers(0, 30)
# Small whole numbers: distances are exact in f32, so that they can be compared for equality.
vectors = st.lists(st.integers(-4, 4), min_size=DIMENSION, max_size=DIMENSION)
payloads = st.none() | st.fixed_dictionaries(
    {}, optional={"n": st.integers(0, 5), "word": st.sampled_from(["a", "ab", "b"]), "flag": st.booleans()}
)
points = st.lists(st.tuples(ids, vectors, payloads), max_size=6)

FILTERS = [
    (None, lambda p: True),
    (F.n == 3, lambda p: p.get("n") == 3),
    (F.n < 3, lambda p: "n" in p and p["n"] < 3),
    (~(F.n < 3), lambda p: not ("n" in p and p["n"] < 3)),
    (F.word.prefix("a"), lambda p: p.get("word", "").startswith("a")),
    ((F.n >= 2) & (F.flag == True), lambda p: p.get("n", 0) >= 2 and p.get("flag") is True),  # noqa: E712
    (F.n.in_([0, 5]) | F.word.exists(), lambda p: p.get("n") in (0, 5) or "word" in p),
]
filters = st.sampled_from(FILTERS)
FIELDS = {"n": "integer", "word": "keyword", "flag": "bool"}


class IndexMachine(RuleBasedStateMachine):
    """model: id -> (vector, payload), in the order of writing, which decides between equal distances."""

    def __init__(self) -> None:
        super().__init__()
        self.model: dict[int, tuple[list[int], dict | None]] = {}

    @initialize(algorithm=st.sampled_from(["hnsw+", "flat"]), text=st.booleans())
    def open(self, algorithm: str, text: bool) -> None:
        self.index = self.make(algorithm)
        self.id = str if text else int

    def make(self, algorithm: str) -> Index:
        return Index(dimension=DIMENSION, metric="l2", algorithm=algorithm, threads=1)

    def teardown(self) -> None:
        if hasattr(self, "index"):
            self.index.verify()
            self.index.close()

    def put(self, batch) -> None:
        for id_, vector, payload in batch:
            self.model.pop(id_, None)
            self.model[id_] = (vector, payload)

    def arguments(self, batch):
        rows = np.array([vector for _, vector, _ in batch], np.float32).reshape(-1, DIMENSION)
        return rows, [self.id(i) for i, _, _ in batch], [payload for _, _, payload in batch]

    @rule(batch=points)
    def add(self, batch) -> None:
        given = [i for i, _, _ in batch]
        if len(set(given)) < len(given):
            with pytest.raises((errors.DuplicateIdError, errors.ExistsError)):
                self.index.add(*self.arguments(batch))
        elif self.model.keys() & set(given):
            with pytest.raises(errors.ExistsError):
                self.index.add(*self.arguments(batch))
        else:
            self.index.add(*self.arguments(batch))
            self.put(batch)

    @rule(batch=points)
    def upsert(self, batch) -> None:
        given = [i for i, _, _ in batch]
        if len(set(given)) < len(given):
            with pytest.raises(errors.DuplicateIdError):
                self.index.upsert(*self.arguments(batch))
        else:
            self.index.upsert(*self.arguments(batch))
            self.put(batch)

    @rule(id_=ids, payload=payloads)
    def set_payload(self, id_, payload) -> None:
        if id_ in self.model:
            self.index.set_payloads([self.id(id_)], [payload])
            self.model[id_] = (self.model[id_][0], payload)
        elif self.model:
            with pytest.raises(errors.NotFoundError):
                self.index.set_payloads([self.id(id_)], [payload])

    @rule(chosen=st.lists(ids, max_size=5, unique=True))
    def delete(self, chosen) -> None:
        there = [i for i in chosen if i in self.model]
        assert self.index.delete([self.id(i) for i in chosen]) == len(there)
        for i in there:
            del self.model[i]

    @rule(chosen=st.sampled_from(FILTERS[1:]))
    def delete_where(self, chosen) -> None:
        form, holds = chosen
        gone = [i for i, (_, payload) in self.model.items() if holds(payload or {})]
        assert self.index.delete(filter=form) == len(gone)
        for i in gone:
            del self.model[i]

    @rule(bad=st.sampled_from(["nan", "dimension", "payload"]), batch=points)
    def refused_batch_changes_nothing(self, bad, batch) -> None:
        rows, names, extra = self.arguments([*batch, (99, [1] * DIMENSION, None)])
        if bad == "nan":
            rows[-1, 0] = np.nan
        elif bad == "dimension":
            rows = rows[:, :-1]
        else:
            extra[-1] = {"deep": {1, 2}}
        with pytest.raises(errors.OmenError):
            self.index.upsert(rows, names, extra)

    @rule(query=vectors, k=st.integers(1, 40), chosen=filters)
    def search_exact(self, query, k, chosen) -> None:
        form, holds = chosen
        expected = sorted(
            (float(sum((a - b) ** 2 for a, b in zip(query, vector, strict=True))), self.id(i))
            for i, (vector, payload) in self.model.items()
            if holds(payload or {})
        )[:k]
        hits = self.index.search(np.array(query, np.float32), k=k, filter=form, exact=True)
        assert [distance for _, distance in hits] == [distance for distance, _ in expected]
        vectors_of = {self.id(i): vector for i, (vector, _) in self.model.items()}
        for found, distance in hits:
            assert distance == sum((a - b) ** 2 for a, b in zip(query, vectors_of[found], strict=True))
        assert len({found for found, _ in hits}) == len(hits)

    @rule(chosen=filters)
    def count(self, chosen) -> None:
        form, holds = chosen
        assert self.index.count(form) == sum(holds(payload or {}) for _, payload in self.model.values())

    @rule(id_=ids)
    def get(self, id_) -> None:
        point = self.index.get(self.id(id_)) if self.model else None
        assert (point is not None) == (id_ in self.model) == (self.id(id_) in self.index)
        if point is not None:
            vector, payload = self.model[id_]
            assert point.id == self.id(id_) and point.vector.tolist() == vector and point.payload == payload

    @rule(limit=st.integers(1, 10), chosen=filters)
    def scroll(self, limit, chosen) -> None:
        form, holds = chosen
        seen, cursor = [], None
        while True:
            page, cursor = self.index.scroll(form, limit=limit, cursor=cursor)
            assert len(page) <= limit
            seen += [point.id for point in page]
            if cursor is None:
                break
        assert seen == [self.id(i) for i, (_, payload) in self.model.items() if holds(payload or {})]

    @rule(name=st.sampled_from(list(FIELDS)))
    def index_field(self, name) -> None:
        self.index.index_field(name, FIELDS[name])

    @rule(name=st.sampled_from(list(FIELDS)))
    def drop_field(self, name) -> None:
        with contextlib.suppress(errors.NotFoundError):
            self.index.drop_field(name)

    @rule(call=st.sampled_from(["flush", "compact", "verify"]))
    def upkeep(self, call) -> None:
        getattr(self.index, call)()

    @invariant()
    def same_length(self) -> None:
        if hasattr(self, "index"):
            assert len(self.index) == len(self.model)


class DurableMachine(IndexMachine):
    """The same at a path, closed and opened again in between; and every write changes the versions that it should."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.path = Path(self.folder.name) / "index"

    def make(self, algorithm: str) -> Index:
        return Index(dimension=DIMENSION, metric="l2", algorithm=algorithm, threads=1, path=self.path)

    def teardown(self) -> None:
        super().teardown()
        self.folder.cleanup()

    def version(self, id_) -> int:
        point = self.index.get(self.id(id_), with_vector=False) if self.model else None
        return 0 if point is None else point.version

    @rule()
    def reopen(self) -> None:
        before = {i: self.version(i) for i in self.model}
        self.index.close()
        self.index = Index(path=self.path, threads=1)
        assert {i: self.version(i) for i in self.model} == before

    @rule()
    def copy(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            self.index.copy(Path(folder) / "copy")
            with Index(path=Path(folder) / "copy", threads=1) as copy:
                pages, cursor = copy.scroll(limit=1000)
                assert cursor is None and [point.id for point in pages] == [self.id(i) for i in self.model]

    @rule(id_=ids, vector=vectors, payload=payloads, off=st.sampled_from([0, 0, 1]))
    def upsert_if(self, id_, vector, payload, off) -> None:
        before = self.version(id_)
        arguments = self.arguments([(id_, vector, payload)])
        if off:
            with pytest.raises(errors.ConflictError, match=f"id .*{id_}"):
                self.index.upsert(*arguments, if_version=before + off)
            assert self.version(id_) == before
        else:
            self.index.upsert(*arguments, if_version=before)
            self.put([(id_, vector, payload)])
            assert self.version(id_) > before


TestIndexMachine = IndexMachine.TestCase
TestIndexMachine.settings = settings(
    max_examples=150,
    stateful_step_count=30,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow],
)
TestDurableMachine = DurableMachine.TestCase
TestDurableMachine.settings = settings(TestIndexMachine.settings, max_examples=25)  # each write waits for the disk
