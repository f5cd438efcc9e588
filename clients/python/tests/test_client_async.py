"""The client for asyncio: it asks what the blocking one asks, and fails as it does."""

from __future__ import annotations

import asyncio
import inspect

import numpy as np
import protocol
import pytest

import omendb
from omendb import F, errors
from omendb.client import AsyncClient, AsyncCollection, Client, Collection

needs_tables = pytest.mark.skipif(not protocol.methods(), reason="no C compiler, or not in a checkout")


def with_docs(server, work, **options):
    """Runs work(client, docs) with ten points on a line, under l2."""

    async def main():
        async with await omendb.connect_async(server.address, timeout=5.0, **options) as client:
            docs = await client.create_collection("docs", 2, metric="l2")
            await docs.upsert([[i, 0] for i in range(10)], range(10), [{"n": i} for i in range(10)])
            return await work(client, docs)

    return asyncio.run(main())


@needs_tables
def test_what_was_written_is_read(server):
    async def work(client, docs):
        assert (await docs.get(3)).payload == {"n": 3}
        assert [point.id for point in await docs.get([1, 2])] == [1, 2]
        assert (await docs.search([0, 0], k=2, filter=F.n > 3)).ids.tolist() == [4, 5]
        ids, distances = await docs.search(np.zeros((2, 2)), k=12)
        assert ids.shape == (2, 12) and np.isinf(distances[0, 11])
        assert [hits.ids[0] for hits in await docs.search_many([[1, 0], [2, 0]], k=1)] == [1, 2]
        assert await docs.delete([0]) == 1
        assert await docs.patch([1], set={"x": 1}) == 1
        assert await docs.count() == 9
        points, _ = await docs.scroll(limit=3)
        assert len(points) == 3
        await docs.flush()
        assert (await client.info())["collections"] == 1
        assert await client.aliases() == {}
        async with docs as same:
            assert repr(same) == "<omendb.AsyncCollection 'docs'>"

    with_docs(server, work)


@needs_tables
def test_many_tasks_share_a_connection(server):
    async def work(client, docs):
        found = await asyncio.gather(*(docs.search([i % 10, 0], k=1) for i in range(200)))
        assert [hits.ids.tolist() for hits in found] == [[i % 10] for i in range(200)]

    with_docs(server, work)
    assert server.connections == 1


@needs_tables
def test_what_is_retryable_is_tried_again_and_a_lost_answer_is_done_once(server):
    async def work(client, docs):
        server.refuse("point.upsert", "BUSY", retryable=True, times=2)
        server.drop("point.upsert", after=True)
        before = server.collections["docs"].seq
        await docs.upsert([1, 2], 77)
        assert server.collections["docs"].seq == before + 1
        server.drop("collection.create", after=True)
        await client.create_collection("lost", 3)
        assert "lost" in server.collections and len(server.called("collection.create")) == 3
        server.drop("collection.create", after=True)
        with pytest.raises(errors.UnreachableError) as raised:
            await client.call("collection.create", {"name": "other", "dimension": 3})
        assert raised.value.outcome == "unknown"
        server.refuse("point.count", "INVALID")
        with pytest.raises(errors.InvalidError):
            await docs.count()

    with_docs(server, work)


@needs_tables
def test_a_timeout_is_a_deadline(server):
    async def work(client, docs):
        held = server.hold("point.count")
        with pytest.raises(errors.OmenTimeoutError, match=r"no answer within 0.2 s"):
            await client.run(docs._requests.count(None), timeout=0.2)
        held.set()
        assert await docs.count() == 10
        server.refuse("point.upsert", "TIMEOUT", outcome="unknown")
        with pytest.raises(errors.OmenTimeoutError, match="on demand"):  # said by the server
            await docs.upsert([1, 2], 77)

    with_docs(server, work)


@needs_tables
def test_a_cancelled_call_leaves_the_connection_to_the_others(server):
    async def work(client, docs):
        held = server.hold("point.facet")
        task = asyncio.ensure_future(docs.facet("n"))
        await docs.count()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        held.set()
        assert await docs.count() == 10

    with_docs(server, work)
    assert server.connections == 1


@needs_tables
def test_nobody_there_and_a_closed_client_say_so(server):
    async def main():
        with pytest.raises(errors.UnreachableError, match=r"127.0.0.1:1: "):
            await omendb.connect_async("omen://127.0.0.1:1", timeout=2.0)
        client = await omendb.connect_async(server.address)
        await client.close()
        await client.close()
        assert repr(client).endswith("(closed)>")
        with pytest.raises(errors.ClosedError):
            await client.ping()

    asyncio.run(main())


# ---- the two clients are one ----


def methods(cls: type) -> dict[str, inspect.Signature]:
    return {
        name: inspect.signature(each)
        for name, each in vars(cls).items()
        if inspect.isfunction(each) and not name.startswith("_")
    }


@pytest.mark.parametrize(("blocking", "awaited"), [(Client, AsyncClient), (Collection, AsyncCollection)])
def test_both_have_the_same_methods_with_the_same_parameters(blocking, awaited):
    ours, theirs = methods(blocking), methods(awaited)
    assert ours.keys() == theirs.keys()
    for name, signature in ours.items():
        assert str(signature).replace("-> Collection", "-> AsyncCollection").replace(
            "'Collection'", "'AsyncCollection'"
        ) == str(theirs[name]), name
        assert inspect.getdoc(getattr(blocking, name)) == inspect.getdoc(getattr(awaited, name)), name


@pytest.mark.parametrize("cls", [Client, AsyncClient, Collection, AsyncCollection])
def test_everything_is_documented(cls):
    assert all(inspect.getdoc(getattr(cls, name)) for name in methods(cls) if name not in ("open", "run"))


def test_a_collection_has_what_an_index_has():
    of_index = {name for name in vars(omendb.Index) if not name.startswith("_")}
    local = {"algorithm", "closed", "path"}  # of a file or a process
    assert of_index - local - set(dir(Collection)) == set()


def test_parameters_that_both_have_come_in_the_same_order():
    for name in ("upsert", "add", "get", "scroll", "search", "range_search", "count", "recall", "index_field"):
        if not hasattr(omendb.Index, name):
            pytest.skip("the engine is not installed")
        of_index = list(inspect.signature(getattr(omendb.Index, name)).parameters)
        ours = [p for p in inspect.signature(getattr(Collection, name)).parameters if p in of_index]
        assert ours == [p for p in of_index if p in ours], name
