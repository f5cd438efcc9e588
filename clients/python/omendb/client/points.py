# Written by clients/python/blocking.py from async_points.py: change that one.
"""What a handle on a collection does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ..errors import InvalidError, UnsupportedError
from ..types import Point, Recall
from .requests import Arrays, Requests, Search, counted, points_given, verify_copies
from .results import Facet, Hits, joined, matrices_of_hits, raise_refusals
from .values import Filter, ids_back, ids_of, is_one_id, vectors_of

if TYPE_CHECKING:
    from .client import Client


class Points:
    """The methods of Index, and what only a server has."""

    def __init__(self, client: Client, requests: Requests) -> None:
        self._client = client
        self._requests = requests
        self.ef: int | None = None
        """How far searches look where they do not say; None: the server's choice."""

    @property
    def name(self) -> str:
        return self._requests.name

    @property
    def consistency(self) -> str:
        return self._requests.consistency

    # ---- writes ----

    def add(self, vectors: Any, ids: Any = None, payloads: Any = None, if_version: int | None = None) -> Any:
        """New points. A point whose id is there already is an ExistsError, of that point alone. Returns the ids."""
        return self._put(vectors, ids, payloads, "insert", if_version)

    def upsert(self, vectors: Any, ids: Any = None, payloads: Any = None, if_version: int | None = None) -> Any:
        """Points, new or in the place of those with the same ids. Returns the ids.

        Many points go in several messages; each shard takes all of a message's points or none. Where some are refused
        the error of the first is raised, and its `failed` has (row, error) of each; the others are written.
        """
        return self._put(vectors, ids, payloads, None, if_version)

    def set_payloads(self, ids: Any, payloads: Any, if_version: int | None = None) -> None:
        """New payloads of points that are there."""
        self._put(None, ids, payloads, "update", if_version)

    def _put(self, vectors: Any, ids: Any, payloads: Any, mode: str | None, if_version: int | None) -> Any:
        given, array, dicts = points_given(vectors, ids, payloads)
        calls = self._requests.upserts(given, array, dicts, mode, if_version)
        refused = [each for part in self._client.run_all(calls) for each in part]
        raise_refusals(refused)
        return given[0] if is_one_id(ids) else ids_back(given)

    def delete(self, ids: Any = None, filter: Filter | None = None, if_version: int | None = None) -> int:
        """By ids, or all that a filter lets through. Returns how many there were."""
        return counted(self._client.run_all(self._requests.deletes(ids, filter, if_version)))

    def patch(
        self,
        ids: Any = None,
        filter: Filter | None = None,
        set: Mapping[str, Any] | None = None,
        unset: Sequence[str] | None = None,
        if_version: int | None = None,
    ) -> int:
        """Sets and unsets keys of payloads and leaves the others; by ids or by a filter. Returns how many points.

        Points that are not there are refused as those of `upsert` are: the others are patched.
        """
        return counted(self._client.run_all(self._requests.patches(ids, filter, set, unset, if_version)))

    # ---- reads ----

    def get(self, id: Any, with_vector: bool = True, with_payload: bool = True) -> Any:
        """A Point, or None; of several ids a list of them in their order."""
        calls = self._requests.gets(ids_of(id), with_vector, with_payload)
        found = [point for part in self._client.run_all(calls) for point in part]
        return found[0] if is_one_id(id) else found

    def scroll(
        self,
        filter: Filter | None = None,
        limit: int = 100,
        cursor: str | None = None,
        with_vector: bool = True,
        with_payload: bool = True,
    ) -> tuple[list[Point], str | None]:
        """A page of points and the cursor of the next; None: this was the last."""
        return self._client.run(self._requests.scroll(filter, limit, cursor, with_vector, with_payload))

    def count(self, filter: Filter | None = None) -> int:
        """How many points there are, or how many a filter lets through."""
        return self._client.run(self._requests.count(filter))

    def facet(self, field: str, filter: Filter | None = None, limit: int = 10) -> list[Facet]:
        """The most frequent values of a field, as (value, count)."""
        return self._client.run(self._requests.facet(field, filter, limit))

    # ---- searches ----

    def search(
        self,
        q: Any = None,
        k: int = 10,
        filter: Filter | None = None,
        ef: int | None = None,
        target_recall: float | None = None,
        exact: bool = False,
        threads: int = 0,
        *,
        id: Any = None,
        with_payload: bool = True,
        with_vector: bool = False,
        partial: bool = False,
        explain: bool = False,
        timeout: float | None = None,
    ) -> Any:
        """The k nearest: Hits of one vector (or of the point `id`), arrays (ids, distances) of a matrix of them.

        `partial`: an answer without the points of shards that cannot be reached is better than none. `threads` is the
        server's to choose, and is here for code that is written for Index.
        """
        search = Search(k, filter, ef or self.ef, target_recall, exact, None, with_payload, with_vector, partial)
        array = None if q is None else vectors_of(q)
        if array is None or array.ndim == 1:
            return self._client.run(self._requests.search(array, id, search, explain), timeout)
        if id is not None:
            raise InvalidError("a search wants vectors or the id of a point, and not both")
        if len(array) == 0:
            return matrices_of_hits([], k)
        parts = self._client.run_all(self._requests.matrices(array, search), timeout)
        return joined(parts)

    def search_many(
        self,
        q: Any,
        k: int = 10,
        filter: Filter | None = None,
        ef: int | None = None,
        target_recall: float | None = None,
        exact: bool = False,
        *,
        with_payload: bool = True,
        with_vector: bool = False,
        partial: bool = False,
        timeout: float | None = None,
    ) -> list[Hits]:
        """Hits of each row of a matrix of vectors."""
        search = Search(k, filter, ef or self.ef, target_recall, exact, None, with_payload, with_vector, partial)
        array = vectors_of(q)
        array = array.reshape(1, -1) if array.ndim == 1 else array
        parts = self._client.run_all(self._requests.hits_of_many(array, search), timeout)
        return [hits for part in parts for hits in part]

    def range_search(
        self,
        q: Any,
        radius: float,
        filter: Filter | None = None,
        ef: int | None = None,
        target_recall: float | None = None,
        exact: bool = False,
        *,
        id: Any = None,
        limit: int | None = None,
        with_payload: bool = True,
        with_vector: bool = False,
    ) -> Hits:
        """All within a distance, nearest first."""
        search = Search(None, filter, ef or self.ef, target_recall, exact, None, with_payload, with_vector)
        return self._client.run(self._requests.range(q, id, radius, limit, search))

    def recommend(
        self,
        positive: Any,
        negative: Any = None,
        k: int = 10,
        filter: Filter | None = None,
        ef: int | None = None,
        exact: bool = False,
        *,
        with_payload: bool = True,
        with_vector: bool = False,
    ) -> Hits:
        """Near some points, and far from others; by their ids."""
        search = Search(k, filter, ef or self.ef, None, exact, None, with_payload, with_vector)
        return self._client.run(self._requests.recommend(positive, negative, search))

    def why_not(
        self, id: Any, q: Any, k: int = 10, filter: Filter | None = None, ef: int | None = None
    ) -> dict[str, Any]:
        """Why a point is, or is not, among the k nearest: its rank, its distance, and a reason."""
        search = Search(k, filter, ef or self.ef, with_payload=False)
        return self._client.run(self._requests.why_not(id, q, search))

    def recall(
        self,
        samples: int = 200,
        k: int = 10,
        ef: int | None = None,
        target_recall: float | None = None,
        *,
        timeout: float | None = None,
    ) -> Recall:
        """The share of the true k nearest that searches find, measured on points of the collection."""
        search = Search(None, None, ef or self.ef, target_recall, with_payload=False)
        return self._client.run(self._requests.recall(samples, k, search), timeout)

    # ---- the collection ----

    def info(self) -> dict[str, Any]:
        """What it is: name, dimension, metric, dtype, shards, replicas, ..."""
        return self._client.run(self._requests.of_collection("collection.get"))

    def stats(self) -> dict[str, Any]:
        """Of all shards together: points, memory and disk in bytes, bytes_per_vector, recall.

        `shards_failed` of them did not answer.
        """
        return self._client.run(self._requests.stats())

    def index_field(self, name: str, type: str) -> None:
        """Makes filters on a field fast; `type`: keyword, integer, float, bool, datetime or uuid."""
        self._client.run(self._requests.of_collection("collection.index_field", field=name, type=type))

    def drop_field(self, name: str) -> None:
        """Filters on it go on to work, slower."""
        self._client.run(self._requests.of_collection("collection.drop_field", field=name))

    def build(
        self, backend: str = "auto", progress: Any = None, *, timeout: float | None = None
    ) -> dict[str, Any]:
        """Links what is not linked yet, in bulk. How far it is, a server does not say: `progress` is not called.

        Where a node is there that builds for others, and where `backend` is "cuda", it is begun and not waited for:
        `job` of what is returned is its number, which `Client.jobs` lists until it is over.
        """
        return self._client.run(self._requests.build(backend), timeout)

    def compact(self, *, timeout: float | None = None) -> None:
        """Gives the room of deleted points back."""
        self._client.run(self._requests.of_collection("collection.optimize"), timeout)

    def verify(self, *, timeout: float | None = None) -> None:
        """Compares the checksums of all copies; raises a CorruptError where they differ.

        Copies that could not be asked are an OmenWarning; the others are compared.
        """
        verify_copies(self._client.run(self._requests.of_collection("shard.verify"), timeout))

    def flush(self) -> None:
        """Nothing: what a server has answered is durable. It is here for code that is written for Index."""

    def copy(self, path: Any) -> None:
        """A server's data lies on its nodes: raises UnsupportedError."""
        raise UnsupportedError("copy: a collection lies on its server's nodes; Index.copy is for files")

    def calibrate(self) -> None:
        """A server measures by itself: raises UnsupportedError."""
        raise UnsupportedError("calibrate: a server measures by itself what `target_recall` needs")

    # ---- names that others have for the same ----

    def set_ef(self, ef: int) -> None:
        """How far searches of this handle look where they do not say."""
        if not isinstance(ef, int) or not 1 <= ef <= 10_000:
            raise InvalidError(f"ef is {ef!r}; it must be 1..10000")
        self.ef = ef

    def add_items(self, data: Any, ids: Any = None, num_threads: int = -1, replace_deleted: bool = False) -> Any:
        """hnswlib's name for upsert."""
        return self.upsert(data, ids)

    def knn_query(self, data: Any, k: int = 1, num_threads: int = -1, filter: Filter | None = None) -> Arrays:
        """hnswlib's name for the search of a matrix: (ids, distances)."""
        array = vectors_of(data)
        found: Arrays = self.search(array.reshape(1, -1) if array.ndim == 1 else array, k, filter)
        return found

    def knn_exact(self, q: Any, k: int = 10, filter: Filter | None = None) -> Arrays:
        """The true k nearest of a matrix of vectors: (ids, distances)."""
        array = vectors_of(q)
        found: Arrays = self.search(array.reshape(1, -1) if array.ndim == 1 else array, k, filter, exact=True)
        return found
