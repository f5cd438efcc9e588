"""The requests of a collection: what is asked for each method, and what its answer becomes.

Both clients, the blocking one and the one for asyncio, send what is made here. A method that may need several messages,
because a message has a limit, gives a list of calls.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence, Sized
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from ..errors import CorruptError, InvalidError, KError, OmenError, OmenWarning
from ..types import Point, Recall
from . import results
from .asks import change
from .course import Call, Repeat
from .results import Facet, Hits
from .routes import IDS_MOST, Route
from .session import CONSISTENCIES, Session
from .values import Filter, filter_of, id_of, ids_of, packed_vectors, payloads_of, rows_of, vectors_of, with_of
from .wire import Params, moments

_GET_ROWS: Final = 1000  # of one message; its answer has a limit as well
_HITS_ROWS: Final = 20_000  # hits with payloads
_MATRIX_ROWS: Final = 500_000  # hits of 12 bytes

_NO_STATS: Final[dict[str, Any]] = {
    **dict.fromkeys(("points", "rows", "deleted", "tail", "shards", "shards_failed"), 0),
    **dict.fromkeys(("memory_bytes", "vector_bytes", "payload_bytes", "disk_bytes"), 0),
    "bytes_per_vector": 0.0,
    "recall": None,  # never measured
}

Refusals = list[tuple[int, OmenError]]
Written = tuple[int, Refusals]  # how many points, and those that were refused
Arrays = tuple[npt.NDArray[Any], npt.NDArray[np.float32]]


@dataclass(slots=True)
class Limits:
    """Of a server, as its welcome says."""

    frame_bytes: int = 16 << 20
    batch: int = 10_000

    def learn(self, welcome: Mapping[str, Any]) -> None:
        said = welcome.get("limits") or {}
        self.frame_bytes = int(said.get("frame_bytes") or self.frame_bytes)
        self.batch = int(said.get("batch") or self.batch)


@dataclass(slots=True)
class Search:
    """How a search looks; of all that search."""

    k: int | None = None
    filter: Filter | None = None
    ef: int | None = None
    target_recall: float | None = None
    exact: bool = False
    oversample: int | None = None
    with_payload: bool = True
    with_vector: bool = False
    partial: bool = False

    def params(self) -> dict[str, Any]:
        if self.k is not None and not (isinstance(self.k, int | np.integer) and 1 <= self.k <= 10_000):
            raise KError(f"k is {self.k!r}; it must be 1..10000")
        return {
            "k": None if self.k is None else int(self.k),
            "filter": filter_of(self.filter),
            "ef": self.ef,
            "target_recall": self.target_recall,
            "exact": self.exact or None,
            "oversample": self.oversample,
            "with": with_of(self.with_payload, self.with_vector),
            "partial": self.partial or None,
        }


class Requests:
    """Of one collection, by one session."""

    __slots__ = ("consistency", "limits", "name", "session")

    def __init__(self, name: str, limits: Limits, consistency: str = "session") -> None:
        if consistency not in CONSISTENCIES:
            raise InvalidError(f"consistency is {consistency!r}, expected one of {', '.join(CONSISTENCIES)}")
        self.name = name
        self.limits = limits
        self.consistency = consistency
        self.session = Session()

    # ---- what requests have in common ----

    def _read(self, method: str, params: Mapping[str, Any]) -> Params:
        after = self.session.after() if self.consistency == "session" else None
        plain = self.consistency == "eventual" or (self.consistency == "session" and after is None)
        consistency = None if plain else self.consistency
        return Params(method, {"collection": self.name, **params, "consistency": consistency, "after": after})

    def _write(self, method: str, params: Mapping[str, Any]) -> Params:
        return Params(method, {"collection": self.name, **params}, operation=True)

    def _route(self, ids: Sequence[int | str] = (), writes: bool = False) -> Route | None:
        """None: it is about so many ids that they are hardly of one shard."""
        if len(ids) > IDS_MOST:
            return None
        return Route(self.name, ids, writes or self.consistency == "strong")

    def _ids_of_message(self, ids: Sequence[int | str], most: int) -> int:
        """How many of them fit into a message, half of which is for what else it says."""
        longest = max((9 if isinstance(each, int) else 5 + len(each.encode()) for each in ids), default=9)
        return max(1, min(most, self.limits.batch, self.limits.frame_bytes // 2 // longest))

    def _count(self, answer: Any) -> int:
        self.session.saw(answer)
        return int(answer["count"])

    def _hits(self, answer: Any) -> Hits:
        self.session.saw(answer)
        return results.hits_of(answer)

    # ---- writes ----

    def upserts(
        self,
        ids: Sequence[int | str],
        vectors: npt.NDArray[Any] | None,
        payloads: list[dict[str, Any] | None] | None,
        mode: str | None,
        if_version: int | None = None,
        first_row: int = 0,
    ) -> list[Call[Refusals]]:
        """Of rows that fit into a message each; more than one where they do not, and none where there is no row."""
        if not ids:
            return []
        if len(ids) <= self.limits.batch:
            params = self._write(
                "point.upsert",
                {
                    "ids": ids,
                    "vectors": None if vectors is None else packed_vectors(vectors),
                    "payloads": payloads,
                    "mode": mode,
                    "if_version": if_version,
                },
            )
            if len(params) <= self.limits.frame_bytes or len(ids) == 1:
                rows = range(first_row, first_row + len(ids))
                return [
                    Call(
                        params,
                        lambda answer: self._refusals(answer, first_row),
                        Repeat.OPERATION,
                        lambda error: results.all_refused(error, rows),
                        self._route(ids, writes=True),
                    )
                ]
        half = min(len(ids) // 2, self.limits.batch)
        halves = (slice(0, half), slice(half, len(ids)))
        return [
            call
            for part in halves
            for call in self.upserts(
                ids[part],
                None if vectors is None else vectors[part],
                None if payloads is None else payloads[part],
                mode,
                if_version,
                first_row + part.start,
            )
        ]

    def _refusals(self, answer: Any, first_row: int) -> Refusals:
        self.session.saw(answer)
        return results.refusals(answer, first_row)

    def deletes(self, ids: Any, filter: Filter | None, if_version: int | None) -> list[Call[Written]]:
        return self._by_ids_or_filter("point.delete", ids, filter, {"if_version": if_version})

    def patches(
        self, ids: Any, filter: Filter | None, set: Mapping[str, Any] | None, unset: Sequence[str] | None,
        if_version: int | None,
    ) -> list[Call[Written]]:  # fmt: skip
        if not set and not unset:
            raise InvalidError("patch wants something to set, or names of keys to unset")
        names = [unset] if isinstance(unset, str) else list(unset) if unset else None
        return self._by_ids_or_filter(
            "point.patch", ids, filter, {"set": set or None, "unset": names, "if_version": if_version}
        )

    def _by_ids_or_filter(
        self, method: str, ids: Any, filter: Filter | None, params: dict[str, Any]
    ) -> list[Call[Written]]:
        if (ids is None) == (filter is None):
            raise InvalidError(f"{method.removeprefix('point.')} wants ids or a filter, and not both")
        if filter is not None:  # of all shards
            asked = self._write(method, {"filter": filter_of(filter), **params})
            return [Call(asked, lambda answer: self._written(answer, 0), Repeat.OPERATION)]
        given = ids_of(ids)
        rows = self._ids_of_message(given, self.limits.batch)
        return [
            self._by_ids(method, given[at : at + rows], params, at) for at in range(0, len(given), rows)
        ]

    def _by_ids(
        self, method: str, ids: Sequence[int | str], params: dict[str, Any], first_row: int
    ) -> Call[Written]:
        rows = range(first_row, first_row + len(ids))
        return Call(
            self._write(method, {"ids": ids, **params}),
            lambda answer: self._written(answer, first_row),
            Repeat.OPERATION,
            lambda error: (0, results.all_refused(error, rows)),
            self._route(ids, writes=True),
        )

    def _written(self, answer: Any, first_row: int) -> Written:
        self.session.saw(answer)
        return int(answer["count"]), results.refusals(answer, first_row)

    # ---- reads ----

    def gets(self, ids: list[int | str], with_vector: bool, with_payload: bool) -> list[Call[list[Point | None]]]:
        def decode(answer: Any) -> list[Point | None]:
            self.session.saw(answer)
            return [results.point_of(point) for point in answer.get("points") or ()]

        rows = self._ids_of_message(ids, _GET_ROWS)
        return [
            Call(
                self._read("point.get", {"ids": part, "with": with_of(with_payload, with_vector)}),
                decode,
                route=self._route(part),
            )
            for part in (ids[at : at + rows] for at in range(0, len(ids), rows))
        ]

    def count(self, filter: Filter | None) -> Call[int]:
        return Call(self._read("point.count", {"filter": filter_of(filter)}), self._count)

    def scroll(
        self, filter: Filter | None, limit: int, cursor: str | None, with_vector: bool, with_payload: bool
    ) -> Call[tuple[list[Point], str | None]]:
        def decode(answer: Any) -> tuple[list[Point], str | None]:
            self.session.saw(answer)
            points = [point for each in answer.get("points") or () if (point := results.point_of(each)) is not None]
            return points, answer.get("cursor") or None

        asked = {
            "filter": filter_of(filter),
            "limit": limit,
            "cursor": cursor,
            "with": with_of(with_payload, with_vector),
        }
        return Call(self._read("point.scroll", asked), decode)

    def facet(self, field: str, filter: Filter | None, limit: int) -> Call[list[Facet]]:
        def decode(answer: Any) -> list[Facet]:
            results.warn_of_missing(answer)
            return [Facet(moments(each.get("value")), each["count"]) for each in answer.get("values") or ()]

        return Call(self._read("point.facet", {"field": field, "filter": filter_of(filter), "limit": limit}), decode)

    # ---- searches ----

    def search(self, q: Any, id: Any, search: Search, explain: bool) -> Call[Hits]:
        asked = {**search.params(), **_vector_or_id(q, id), "explain": explain or None}
        return Call(self._read("query.search", asked), self._hits, route=self._route())

    def matrices(self, q: npt.NDArray[Any], search: Search) -> list[Call[Arrays]]:
        k = search.k or 10

        def decode(rows: int) -> Any:
            def decode_rows(answer: Any) -> Arrays:
                self.session.saw(answer)
                return results.matrices(answer, rows, k)

            return decode_rows

        search = Search(**{**_fields(search), "with_payload": False, "with_vector": False})
        parts = self._query_rows(q, _MATRIX_ROWS // k)
        return [
            Call(self._read("query.batch", {**search.params(), "vectors": packed_vectors(part)}), decode(len(part)))
            for part in parts
        ]

    def hits_of_many(self, q: npt.NDArray[Any], search: Search) -> list[Call[list[Hits]]]:
        def decode(answer: Any) -> list[Hits]:
            self.session.saw(answer)
            return results.hits_of_each(answer)

        parts = self._query_rows(q, _HITS_ROWS // (search.k or 10))
        return [
            Call(
                self._read("query.batch", {**search.params(), "vectors": packed_vectors(part), "result": "hits"}),
                decode,
            )
            for part in parts
        ]

    def _query_rows(self, q: npt.NDArray[Any], rows: int) -> list[npt.NDArray[Any]]:
        fit = (self.limits.frame_bytes // 2) // max(1, q.itemsize * q.shape[1])
        rows = max(1, min(rows, fit, self.limits.batch))
        return [q[at : at + rows] for at in range(0, len(q), rows)]

    def range(self, q: Any, id: Any, radius: float, limit: int | None, search: Search) -> Call[Hits]:
        asked = {**search.params(), **_vector_or_id(q, id), "radius": float(radius), "limit": limit}
        del asked["k"]
        return Call(self._read("query.range", asked), self._hits)

    def recommend(self, positive: Any, negative: Any, search: Search) -> Call[Hits]:
        asked = {**search.params(), "positive": ids_of(positive)}
        if negative is not None:
            asked["negative"] = ids_of(negative)
        return Call(self._read("query.recommend", asked), self._hits)

    def why_not(self, id: Any, q: Any, search: Search) -> Call[dict[str, Any]]:
        asked = {**search.params(), "id": id_of(id), "vector": _one_vector(q)}
        return Call(self._read("query.why_not", asked), dict)

    def recall(self, samples: int, k: int, search: Search) -> Call[Recall]:
        asked = {**search.params(), "k": k, "samples": samples}
        return Call(self._read("recall.measure", asked), results.recall_of)

    # ---- the collection ----

    def stats(self) -> Call[dict[str, Any]]:
        """Zeros are not sent, and are there all the same."""
        return Call(Params("collection.stats", {"collection": self.name}), lambda answer: {**_NO_STATS, **answer})

    def build(self, backend: str | None) -> Call[dict[str, Any]]:
        return change("collection.build", {"collection": self.name, "backend": backend})

    def of_collection(self, method: str, repeat: Repeat = Repeat.READ, **params: Any) -> Call[dict[str, Any]]:
        return Call(Params(method, {"collection": self.name, **params}), dict, repeat)


def _fields(search: Search) -> dict[str, Any]:
    return {name: getattr(search, name) for name in Search.__slots__}


def _one_vector(q: Any) -> Any:
    array = vectors_of(q)
    if array.ndim != 1:
        raise InvalidError(f"expected one vector, not {len(array)}")
    return packed_vectors(array)


def _vector_or_id(q: Any, id: Any) -> dict[str, Any]:
    if (q is None) == (id is None):
        raise InvalidError("a search wants a vector or the id of a point, and not both")
    return {"id": id_of(id)} if q is None else {"vector": _one_vector(q)}


def points_given(
    vectors: Any, ids: Any, payloads: Any
) -> tuple[list[int | str], npt.NDArray[Any] | None, list[dict[str, Any] | None] | None]:
    """Rows of a write, as many of each."""
    if ids is None:
        raise InvalidError("ids are missing: a server's collection gives none itself")
    given = ids_of(ids)
    array = None
    if not given and (vectors is None or (isinstance(vectors, Sized) and len(vectors) == 0)):
        return given, None, payloads_of(payloads, 0)
    if vectors is not None:
        array = rows_of(vectors)
        array = array.reshape(1, -1) if array.ndim == 1 else array
        if len(array) != len(given):
            raise InvalidError(f"{len(given)} ids for {len(array)} vectors")
    return given, array, payloads_of(payloads, len(given))


def counted(parts: Sequence[Written]) -> int:
    """How many points messages have changed; raises the first refusal of them, when all are answered."""
    results.raise_refusals([each for _, refused in parts for each in refused])
    return sum(count for count, _ in parts)


def verify_copies(answer: dict[str, Any]) -> None:
    """Raises a CorruptError where copies of a shard differ, and warns of those that could not be compared."""
    for shard in answer["shards"]:
        sums = {copy["checksum"] for copy in shard["copies"]}
        if len(sums) > 1:
            copies = ", ".join(f"{copy['node']}: {copy['checksum']}" for copy in shard["copies"])
            raise CorruptError(f"the copies of shard {shard['shard']} differ at {shard['seq']}: {copies}")
    lacking = [
        f"shard {shard['shard']} on {copy['node']}: {copy['reason']}"
        for shard in answer["shards"]
        for copy in shard.get("missing") or ()
    ]
    if lacking:
        warnings.warn(f"some copies could not be compared: {'; '.join(lacking)}", OmenWarning, stacklevel=3)
