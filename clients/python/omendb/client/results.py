"""What a server answers, as Python has it."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ..errors import ConflictError, ExistsError, NotFoundError, OmenError, OmenWarning
from ..types import Point, Recall
from .values import ids_back
from .wire import error_named, moments, vector_of


class ShardFailed(NamedTuple):
    """A shard that did not take part in an answer."""

    shard: int
    name: str


class Facet(NamedTuple):
    """A value of a field, and how many points have it."""

    value: Any
    points: int


class Hits:
    """The answer to one query, nearest first: iterable of (id, distance)."""

    __slots__ = ("_distances", "_ids", "payloads", "report", "shards_failed", "vectors", "versions", "warnings")

    def __init__(self, hits: list[dict[str, Any]], answer: Mapping[str, Any]) -> None:
        self._ids = ids_back([hit["id"] for hit in hits])
        self._distances = np.array([hit["distance"] for hit in hits], dtype=np.float32)
        self.payloads: list[dict[str, Any] | None] = [moments(hit.get("payload")) for hit in hits]
        """Of each hit; None where it has none, or where it was not asked for."""
        self.vectors: list[npt.NDArray[Any] | None] = [vector_of(hit.get("vector")) for hit in hits]
        """Of each hit; None where it was not asked for."""
        self.versions: list[int | None] = [hit.get("version") for hit in hits]
        self.warnings: tuple[str, ...] = tuple(answer.get("warnings") or ())
        """Why it was slower or less precise than it could be."""
        self.report: dict[str, Any] = dict(answer.get("explain") or {})
        """What the search did, where `explain` asked for it."""
        self.shards_failed: tuple[ShardFailed, ...] = shards_failed(answer)
        """Shards whose points are missing; only with `partial`."""

    @property
    def ids(self) -> npt.NDArray[Any]:
        """int64, or objects where ids are texts."""
        return self._ids

    @property
    def distances(self) -> npt.NDArray[np.float32]:
        """Smaller is nearer."""
        return self._distances

    def __len__(self) -> int:
        return len(self._ids)

    def __iter__(self) -> Iterator[tuple[Any, float]]:
        return iter(zip(self._ids.tolist(), self._distances.tolist(), strict=True))

    def __getitem__(self, index: int) -> tuple[Any, float]:
        return self._ids.tolist()[index], float(self._distances[index])

    def __repr__(self) -> str:
        nearest = [f"({id_!r}, {distance:.6g})" for id_, distance in list(self)[:3]]
        return f"<Hits: {len(self)}, nearest [{', '.join(nearest)}]>"


def shards_failed(answer: Mapping[str, Any]) -> tuple[ShardFailed, ...]:
    return tuple(ShardFailed(each["shard"], each["name"]) for each in answer.get("shards_failed") or ())


def hits_of(answer: Mapping[str, Any]) -> Hits:
    return Hits(answer.get("hits") or [], answer)


def hits_of_each(answer: Mapping[str, Any]) -> list[Hits]:
    return [Hits(query.get("hits") or [], answer) for query in answer.get("results") or ()]


def matrices(answer: Mapping[str, Any], rows: int, k: int) -> tuple[npt.NDArray[Any], npt.NDArray[np.float32]]:
    """(ids, distances) of shape (rows, k); -1 (None of texts) and inf where there are fewer hits."""
    if answer.get("ids"):
        warn_of_missing(answer)
        shape = (rows, k)
        ids = np.frombuffer(answer["ids"], dtype="<i8").astype(np.int64).reshape(shape)
        distances = np.frombuffer(answer["distances"], dtype="<f4").astype(np.float32).reshape(shape)
        return ids, np.where(ids < 0, np.float32(np.inf), distances)
    return matrices_of_hits(hits_of_each(answer), k)


def matrices_of_hits(each: list[Hits], k: int) -> tuple[npt.NDArray[Any], npt.NDArray[np.float32]]:
    texts = any(hits.ids.dtype == object for hits in each if len(hits) > 0)
    ids: npt.NDArray[Any] = np.full((len(each), k), None if texts else -1, dtype=object if texts else np.int64)
    distances = np.full((len(each), k), np.inf, dtype=np.float32)
    for row, hits in enumerate(each):
        ids[row, : len(hits)] = hits.ids
        distances[row, : len(hits)] = hits.distances
    return ids, distances


def joined(
    parts: list[tuple[npt.NDArray[Any], npt.NDArray[np.float32]]],
) -> tuple[npt.NDArray[Any], npt.NDArray[np.float32]]:
    """Parts of a matrix, one under the other."""
    if len(parts) == 1:
        return parts[0]
    return np.concatenate([ids for ids, _ in parts]), np.concatenate([distances for _, distances in parts])


def warn_of_missing(answer: Mapping[str, Any]) -> None:
    """Arrays have no place to say it in."""
    failed = shards_failed(answer)
    if failed:
        names = ", ".join(f"{each.shard} ({each.name})" for each in failed)
        warnings.warn(f"points of some shards are missing: {names}", OmenWarning, stacklevel=2)


def point_of(point: Mapping[str, Any] | None) -> Point | None:
    if point is None:
        return None
    return Point(point["id"], vector_of(point.get("vector")), moments(point.get("payload")), point.get("version"))


def recall_of(answer: Mapping[str, Any]) -> Recall:
    return Recall(
        answer["recall"],
        answer.get("low", 0.0),
        answer.get("high", 0.0),
        answer.get("samples", 0),
        answer.get("k", 0),
        answer.get("evaluations", 0.0),
    )


def refusals(answer: Mapping[str, Any], first_row: int = 0) -> list[tuple[int, OmenError]]:
    """The points of a batch that were refused."""
    found = []
    for each in answer.get("failed") or ():
        row = first_row + each["row"]
        error = error_named(each["name"], f"row {row}: {each.get('message') or each['name']}")
        error.outcome = each.get("outcome")
        found.append((row, error))
    return found


def all_refused(error: OmenError, rows: range) -> list[tuple[int, OmenError]]:
    """A batch whose points were all refused for one reason is an error and no answer. Any other is raised again."""
    if not isinstance(error, ExistsError | NotFoundError | ConflictError) or error.outcome != "not_applied":
        raise error
    return [(row, error) for row in rows]


def raise_refusals(failed: list[tuple[int, OmenError]]) -> None:
    """The first of them, which knows all; nothing where there is none."""
    if failed:
        error = failed[0][1]
        error.failed = tuple(failed)
        raise error
