"""What the tests share."""

from __future__ import annotations

import numpy as np
import pytest
from fake_server import FakeServer

from omendb import Index


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(7)


@pytest.fixture
def vectors(rng) -> np.ndarray:
    """200 rows of 8 components."""
    return rng.standard_normal((200, 8)).astype(np.float32)


@pytest.fixture
def index(vectors) -> Index:
    """Those rows with the ids 0..199, each with its number and its parity as payload."""
    with Index(dimension=8, metric="l2", threads=1) as made:
        payloads = [{"n": i, "odd": i % 2 == 1} for i in range(len(vectors))]
        made.add(vectors, np.arange(len(vectors)), payloads)
        yield made


@pytest.fixture
def server(request):
    """Judges requests by the real one's tables; asks for a key where a test is parametrized with one."""
    made = FakeServer(api_key=getattr(request, "param", None))
    yield made
    made.close()


def nearest(rows: np.ndarray, query: np.ndarray, k: int) -> list[int]:
    """The dumb answer under l2."""
    distances = ((rows.astype(np.float64) - query.astype(np.float64)) ** 2).sum(axis=1)
    return np.argsort(distances, kind="stable")[:k].tolist()
