"""What a fake server holds: collections of points, searched one by one. As dumb as it can be and right.

A refusal is a Refusal with the name of a status. Answers are maps as the protocol has them.
"""

from __future__ import annotations

import re
from typing import Any

import numpy as np

from omendb.types import Ext

_DTYPES = {1: "<f4", 2: "<f2", 4: "i1", 5: "u1"}
_NAMES = {"f32": 1, "f16": 2, "bf16": 3, "i8": 4, "u8": 5}


class Refusal(Exception):
    def __init__(self, name: str, message: str, outcome: str | None = None, retryable: bool = False) -> None:
        super().__init__(message)
        self.name = name
        self.outcome = outcome
        self.retryable = retryable


# ---- filters: the dict form, and conjunctions of comparisons in the string form ----

_ORDER = {"gt": lambda a, b: a > b, "gte": lambda a, b: a >= b, "lt": lambda a, b: a < b, "lte": lambda a, b: a <= b}
_SIGNS = {"==": "eq", "!=": "ne", ">": "gt", ">=": "gte", "<": "lt", "<=": "lte"}
_CLAUSE = re.compile(r'\s*(\w+)\s*(==|!=|>=|<=|>|<)\s*("[^"]*"|-?\d+(?:\.\d+)?|true|false)\s*\Z')


def _parsed(text: str) -> dict[str, Any]:
    parts = []
    for clause in text.split(" and "):
        found = _CLAUSE.match(clause)
        if not found:
            raise Refusal("FILTER", f"filter: cannot parse {clause!r}")
        word = found[3]
        if word.startswith('"'):
            value: Any = word[1:-1]
        elif word in ("true", "false"):
            value = word == "true"
        else:
            value = float(word) if "." in word else int(word)
        parts.append({found[1]: {_SIGNS[found[2]]: value}})
    return {"and": parts}


def _one(value: Any, operator: str, operand: Any) -> bool:
    if operator in ("eq", "ne"):
        return (value == operand) == (operator == "eq")
    if operator in ("in", "nin"):
        return (value in operand) == (operator == "in")
    if operator == "exists":
        return (value is not None) == operand
    if operator == "prefix":
        return isinstance(value, str) and value.startswith(operand)
    if operator not in _ORDER:
        raise Refusal("FILTER", f"filter: no operator '{operator}'")
    return isinstance(value, int | float) and not isinstance(value, bool) and _ORDER[operator](value, operand)


def _passes(tree: dict[str, Any], payload: dict[str, Any]) -> bool:
    for key, value in tree.items():
        if key == "not":
            passed = not _passes(value, payload)
        elif key in ("and", "or"):
            passed = (all if key == "and" else any)(_passes(part, payload) for part in value)
        else:
            conditions = value if isinstance(value, dict) else {"eq": value}
            passed = all(_one(payload.get(key), operator, operand) for operator, operand in conditions.items())
        if not passed:
            return False
    return True


class Point:
    def __init__(self, id: int | str, vector: np.ndarray, payload: dict[str, Any], version: int) -> None:
        self.id, self.vector, self.payload, self.version = id, vector, payload, version


class FakeCollection:
    def __init__(self, number: int, ask: dict[str, Any]) -> None:
        self.number = number
        self.name = ask["name"]
        self.dimension = ask["dimension"]
        self.metric = ask.get("metric", "cosine")
        self.dtype = ask.get("dtype", "f32")
        self.quantization = ask.get("quantization", "int8")
        self.points: dict[int | str, Point] = {}
        self.fields: dict[str, str] = {}
        self.seq = 0
        self.done: dict[bytes, Any] = {}  # by op_id
        self.id_kind = ""  # the first write's

    def row(self) -> dict[str, Any]:
        return {
            "name": self.name, "id": self.number, "version": 1, "dimension": self.dimension, "metric": self.metric,
            "dtype": self.dtype, "shards": 1, "replicas": 1, "min_insync": 1, "m": 16, "ef_construction": 200,
            "quantization": self.quantization, "points": len(self.points),
            "fields": [{"field": name, "type": kind} for name, kind in self.fields.items()],
            **({"id_kind": self.id_kind} if self.id_kind else {}),
        }  # fmt: skip

    def token(self) -> dict[str, list[int]]:
        return {str(self.number): [1, self.seq]}

    # ---- vectors ----

    def vectors(self, value: Any, count: int | None) -> np.ndarray:
        if isinstance(value, bytes):
            flat = np.frombuffer(value, "<f4")
        elif isinstance(value, Ext):
            if value.code not in _DTYPES:
                raise Refusal("DTYPE", f"vectors: extension {value.code}")
            flat = np.frombuffer(value.data, _DTYPES[value.code])
        elif value and not isinstance(value[0], int | float):
            flat = np.concatenate([self.vectors(each, 1)[0] for each in value])
        else:
            flat = np.array(value, dtype=np.float32)
        if len(flat) % self.dimension or (count is not None and len(flat) != count * self.dimension):
            raise Refusal("DIMENSION", f"vectors has {len(flat)} components, expected {count} of {self.dimension}")
        rows = flat.reshape(-1, self.dimension).astype(np.float32)
        if not np.isfinite(rows).all():
            raise Refusal("NOT_FINITE", "vectors has a component that is not finite")
        if self.metric == "cosine" and (np.linalg.norm(rows, axis=1) == 0).any():
            raise Refusal("ZERO_VECTOR", "a zero vector has no direction under cosine")
        return rows

    def distance(self, a: np.ndarray, b: np.ndarray) -> float:
        a, b = a.astype(np.float64), b.astype(np.float64)
        if self.metric == "l2":
            return float(((a - b) ** 2).sum())
        return float(1 - a @ b / (1 if self.metric == "ip" else np.linalg.norm(a) * np.linalg.norm(b)))

    # ---- points ----

    def passing(self, ask: dict[str, Any]) -> list[Point]:
        tree = ask.get("filter")
        tree = _parsed(tree) if isinstance(tree, str) else tree
        return [point for point in self.points.values() if tree is None or _passes(tree, point.payload)]

    def check_kind(self, ids: list[int | str]) -> None:
        for id in ids:
            given = "text" if isinstance(id, str) else "integer"
            if self.id_kind not in ("", given):
                what = f"the collection holds {self.id_kind} ids; {given} ids were given"
                raise Refusal("ID_KIND", what, "not_applied")

    def upsert(self, ask: dict[str, Any]) -> dict[str, Any]:
        ids, mode = ask["ids"], ask.get("mode", "upsert")
        self.check_kind(ids)
        if len(set(ids)) < len(ids):
            raise Refusal("DUPLICATE_ID", "ids has an id twice")
        rows = self.vectors(ask["vectors"], len(ids)) if "vectors" in ask else None
        payloads = ask.get("payloads")
        if mode != "update" and ids:
            self.id_kind = "text" if isinstance(ids[0], str) else "integer"
        failed = []
        for row, id in enumerate(ids):
            known = self.points.get(id)
            wanted = ask.get("if_version")
            name = ""
            if wanted is not None and wanted != (known.version if known else 0):
                name = "CONFLICT"
            elif mode == "insert" and known is not None:
                name = "EXISTS"
            elif mode == "update" and known is None:
                name = "NOT_FOUND"
            if name:
                failed.append({"row": row, "name": name, "message": f"id {id!r}", "outcome": "not_applied"})
                continue
            vector = known.vector if rows is None else rows[row]
            payload = (known.payload if known and mode == "update" else {}) if payloads is None else payloads[row] or {}
            self.points[id] = Point(id, vector, payload, self.seq + 1)
        return self.written(len(ids), failed)

    def written(self, rows: int, failed: list[dict[str, Any]]) -> dict[str, Any]:
        """What is refused for all rows alike is an error."""
        if failed and len(failed) == rows and len({each["name"] for each in failed}) == 1:
            raise Refusal(failed[0]["name"], failed[0]["message"], "not_applied")
        self.seq += 1
        return {"count": rows - len(failed), "token": self.token(), "failed": failed}

    def named(self, ask: dict[str, Any]) -> list[Point]:
        if ("ids" in ask) == ("filter" in ask):
            raise Refusal("INVALID", "has ids and a filter, expected one of them")
        if "filter" in ask:
            return self.passing(ask)
        self.check_kind(ask["ids"])
        return [self.points[id] for id in ask["ids"] if id in self.points]

    def delete(self, ask: dict[str, Any]) -> dict[str, Any]:
        found = self.named(ask)
        for point in found:
            del self.points[point.id]
        self.seq += 1
        return {"count": len(found), "token": self.token()}

    def patch(self, ask: dict[str, Any]) -> dict[str, Any]:
        if "set" not in ask and "unset" not in ask:
            raise Refusal("INVALID", "has neither set nor unset")
        found = self.named(ask)
        for point in found:
            kept = {key: value for key, value in point.payload.items() if key not in ask.get("unset", ())}
            point.payload = {**kept, **ask.get("set", {})}
            point.version = self.seq + 1
        failed = [
            {"row": row, "name": "NOT_FOUND", "message": f"id {id!r}", "outcome": "not_applied"}
            for row, id in enumerate(ask.get("ids", ()))
            if id not in self.points
        ]
        return self.written(len(found) + len(failed), failed)

    def shown(self, point: Point | None, ask: dict[str, Any]) -> dict[str, Any] | None:
        if point is None:
            return None
        shown: dict[str, Any] = {"id": point.id, "version": point.version}
        if "payload" in ask.get("with", ()):
            shown["payload"] = point.payload
        if "vector" in ask.get("with", ()):
            code = _NAMES[self.dtype]
            shown["vector"] = Ext(code, point.vector.astype(_DTYPES[code]).tobytes())
        return shown

    def get(self, ask: dict[str, Any]) -> dict[str, Any]:
        return {"points": [self.shown(self.points.get(id), ask) for id in ask["ids"]], "token": self.token()}

    def scroll(self, ask: dict[str, Any]) -> dict[str, Any]:
        found = sorted(self.passing(ask), key=lambda point: str(point.id))
        first = int(ask.get("cursor", "0"))
        limit = ask.get("limit", 100)
        page = {"points": [self.shown(point, ask) for point in found[first : first + limit]], "token": self.token()}
        return {**page, "cursor": str(first + limit)} if first + limit < len(found) else page

    def facet(self, ask: dict[str, Any]) -> dict[str, Any]:
        counts: dict[Any, int] = {}
        for point in self.passing(ask):
            if ask["field"] in point.payload:
                value = point.payload[ask["field"]]
                counts[value] = counts.get(value, 0) + 1
        most = sorted(counts.items(), key=lambda pair: -pair[1])[: ask.get("limit", 10)]
        return {"values": [{"value": value, "count": count} for value, count in most]}

    # ---- searches ----

    def ranked(self, vector: np.ndarray, without: Any, ask: dict[str, Any]) -> list[tuple[float, Point]]:
        found = [(self.distance(vector, point.vector), point) for point in self.passing(ask) if point.id != without]
        return sorted(found, key=lambda pair: (pair[0], str(pair[1].id)))

    def hit(self, pair: tuple[float, Point], ask: dict[str, Any]) -> dict[str, Any]:
        shown = self.shown(pair[1], ask)
        assert shown is not None
        return {**shown, "distance": pair[0]}

    def query(self, ask: dict[str, Any]) -> tuple[np.ndarray, Any]:
        """The vector, and the point that is not to be found."""
        if ("vector" in ask) == ("id" in ask):
            raise Refusal("INVALID", "has neither a vector nor an id")
        if "vector" in ask:
            return self.vectors(ask["vector"], 1)[0], None
        if ask["id"] not in self.points:
            raise Refusal("NOT_FOUND", f"no point {ask['id']!r}")
        return self.points[ask["id"]].vector, ask["id"]

    def search(self, ask: dict[str, Any]) -> dict[str, Any]:
        ranked = self.ranked(*self.query(ask), ask)[: ask.get("k", 10)]
        answer: dict[str, Any] = {"hits": [self.hit(pair, ask) for pair in ranked], "token": self.token()}
        if ask.get("filter") is not None:
            answer["warnings"] = ["unindexed_field"]
        if ask.get("explain"):
            answer["explain"] = {"strategy": "exact"}
        return answer

    def range(self, ask: dict[str, Any]) -> dict[str, Any]:
        ranked = [pair for pair in self.ranked(*self.query(ask), ask) if pair[0] <= ask["radius"]]
        return {"hits": [self.hit(pair, ask) for pair in ranked[: ask.get("limit", 10_000)]], "token": self.token()}

    def batch(self, ask: dict[str, Any]) -> dict[str, Any]:
        k = ask.get("k", 10)
        each = [self.ranked(row, None, ask)[:k] for row in self.vectors(ask["vectors"], None)]
        integers = all(isinstance(point.id, int) for ranked in each for _, point in ranked)
        if ask.get("result") == "hits" or not integers:
            hits = [{"hits": [self.hit(pair, ask) for pair in ranked]} for ranked in each]
            return {"results": hits, "token": self.token()}
        ids = np.full((len(each), k), -1, "<i8")
        distances = np.full((len(each), k), np.inf, "<f4")
        for row, ranked in enumerate(each):
            ids[row, : len(ranked)] = [point.id for _, point in ranked]
            distances[row, : len(ranked)] = [distance for distance, _ in ranked]
        return {"ids": ids.tobytes(), "distances": distances.tobytes(), "token": self.token()}

    def recommend(self, ask: dict[str, Any]) -> dict[str, Any]:
        good = np.mean([self.points[id].vector for id in ask["positive"]], axis=0)
        bad = [self.points[id].vector for id in ask.get("negative", ())]
        given = [*ask["positive"], *ask.get("negative", ())]
        vector = good + (good - np.mean(bad, axis=0) if bad else 0)
        ranked = [pair for pair in self.ranked(vector, None, ask) if pair[1].id not in given]
        return {"hits": [self.hit(pair, ask) for pair in ranked[: ask.get("k", 10)]], "token": self.token()}

    def why_not(self, ask: dict[str, Any]) -> dict[str, Any]:
        ids = [point.id for _, point in self.ranked(self.vectors(ask["vector"], 1)[0], None, ask)]
        if ask["id"] not in ids:
            return {"found": False, "reason": "the filter does not let it through"}
        rank = ids.index(ask["id"]) + 1
        found = rank <= ask.get("k", 10)
        return {"found": found, "rank": rank, "reason": "is one of the hits" if found else "others are nearer"}

    def recall(self, ask: dict[str, Any]) -> dict[str, Any]:
        samples = min(ask.get("samples", 200), len(self.points))
        return {
            "recall": 1.0, "low": 0.98, "high": 1.0, "evaluations": float(len(self.points)), "ef": 64,
            "samples": samples, "k": ask.get("k", 10),
        }  # fmt: skip
