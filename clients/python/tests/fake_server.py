"""A server of the client protocol in one thread a connection, which fails on demand.

It judges every request by the real server's tables (protocol.py), and its own answers too: what it accepts and says is
what the real one would. `refuse`, `drop` and `hold` make the next requests of a method go wrong.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import socket
import threading
import time
from collections import deque
from typing import Any

import msgpack
import protocol
from fake_store import FakeCollection, Refusal

from omendb.client.wire import pack
from omendb.types import Ext

CLUSTER = "00000000-0000-4000-8000-000000000001"


class Fault:
    """What happens to one request: refused before it is done, or its connection closed before or after."""

    def __init__(self, kind: str, error: dict[str, Any] | None = None) -> None:
        self.kind = kind
        self.error = error


class FakeServer:
    def __init__(self, api_key: str | None = None, limits: dict[str, int] | None = None, errors: str = "map") -> None:
        self.api_key = api_key
        self.limits = limits or {"frame_bytes": 16 << 20, "batch": 10_000}
        self.errors = errors  # the form, whatever is asked for
        self.collections: dict[str, FakeCollection] = {}
        self.aliases: dict[str, str] = {}
        self.changes: dict[str | None, dict[str, Any]] = {}  # answers by what was asked with an op_id
        self.keys: dict[str, dict[str, Any]] = {}
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self.faults: dict[str, deque[Fault]] = {}
        self.held: dict[str, threading.Event] = {}
        self.connections = 0
        self.clock_ahead = 0.0  # of this machine's, in seconds
        self._lock = threading.Lock()
        self._next = 1
        self._sockets: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.address = f"omen://127.0.0.1:{self.port}"
        self.node = f"node-{self.port}"
        self.map_version = 1
        self.primary: FakeServer = self  # of all shards
        self.came: set[str] = set()  # methods of which one was held
        self.unknown: dict[str, set[str]] = {}  # keys of methods that it does not know, as one of an older version
        self._start(self._accept)

    # ---- faults ----

    def refuse(
        self, method: str, name: str, retryable: bool = False, outcome: str | None = None, times: int = 1
    ) -> None:
        error = {"code": -1, "name": name, "message": "on demand", "retryable": retryable}
        if outcome is not None:
            error["outcome"] = outcome
        self.faults.setdefault(method, deque()).extend(Fault("refuse", error) for _ in range(times))

    def drop(self, method: str, after: bool = False, times: int = 1) -> None:
        kind = "drop-after" if after else "drop-before"
        self.faults.setdefault(method, deque()).extend(Fault(kind) for _ in range(times))

    def hold(self, method: str) -> threading.Event:
        """Requests of the method wait until the event is set."""
        return self.held.setdefault(method, threading.Event())

    def waits(self, method: str) -> bool:
        """Whether a request that waits so has come."""
        return method in self.came

    def called(self, method: str) -> list[dict[str, Any]]:
        with self._lock:
            return [params for name, params in self.calls if name == method]

    # ---- threads and sockets ----

    def _start(self, target: Any, *arguments: Any) -> None:
        thread = threading.Thread(target=target, args=arguments, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while True:
            try:
                accepted, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            self._sockets.append(accepted)
            self._start(self._serve, accepted)

    def close(self) -> None:
        """Twice is as good as once."""
        for event in self.held.values():
            event.set()
        if self._listener.fileno() < 0:
            return
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.disconnect()
        for thread in self._threads:
            thread.join(10)

    def disconnect(self) -> None:
        """Every connection there is, at once."""
        for each in self._sockets:
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)

    def _serve(self, connected: socket.socket) -> None:
        unpacker = msgpack.Unpacker(raw=False, strict_map_key=False, ext_hook=Ext, max_buffer_size=64 << 20)
        session = {"greeted": self.api_key is None, "errors": "text"}
        writes = threading.Lock()
        with connected:
            while True:
                try:
                    data = connected.recv(1 << 16)
                except OSError:
                    return
                if not data:
                    return
                unpacker.feed(data)
                for message in unpacker:
                    if self.held.get(message[2]) is not None:  # the others go on
                        self.came.add(message[2])
                        self._start(self._answer, connected, writes, session, message)
                    elif not self._answer(connected, writes, session, message):
                        return

    def _answer(self, connected: socket.socket, writes: Any, session: dict[str, Any], message: list[Any]) -> bool:
        _, number, method, params = message
        held = self.held.get(method)
        if held is not None:
            held.wait(30)
        with self._lock:
            waiting = self.faults.get(method)
            fault = waiting.popleft() if waiting else None
            error, result = (fault.error, None) if fault and fault.error else (None, None)
            if fault is None or fault.kind == "drop-after":
                error, result = self._judge(session, method, params[0] if params else {})
        if fault is not None and fault.kind.startswith("drop"):
            connected.shutdown(socket.SHUT_RDWR)
            return False
        if error is not None and "text" in (session["errors"], self.errors):
            error = f"{error['name']}: {error['message']}"
        with writes:
            try:
                connected.sendall(msgpack.packb([1, number, error, None])[:-1] + pack(result))
            except OSError:
                return False
        return True

    # ---- requests ----

    def _judge(self, session: dict[str, Any], method: str, ask: dict[str, Any]) -> tuple[Any, Any]:
        self.calls.append((method, ask))
        try:
            tables = protocol.methods().get(method)
            if tables is None:
                raise Refusal("METHOD", f"no method '{method}'")
            unknown = self.unknown.get(method, set()) & set(ask)
            complaint = ("INVALID", f"has no key '{unknown.pop()}'") if unknown else tables[0].complaint(ask)
            if complaint:
                raise Refusal(complaint[0], f"{method}: {complaint[1]}", "not_applied")
            if method != "system.hello" and not session["greeted"]:
                raise Refusal("AUTH", "say system.hello first")
            result = self._do(session, method, ask)
            complaint = tables[1].complaint(result)
            assert complaint is None, f"the answer of {method} {complaint}"
            return None, result
        except Refusal as refusal:
            error = {
                "code": -1, "name": refusal.name, "message": str(refusal), "retryable": refusal.retryable,
                **({"outcome": refusal.outcome} if refusal.outcome else {}),
            }  # fmt: skip
            return error, None

    def _do(self, session: dict[str, Any], method: str, ask: dict[str, Any]) -> dict[str, Any]:
        noun, _, verb = method.partition(".")
        own = getattr(self, f"_{noun}_{verb}", None)
        if own is not None:
            return self._once(session, method, ask, own)
        name = {
            "point.count": "count", "query.why_not": "why_not", "recall.measure": "recall", "query.search": "search",
            "query.batch": "batch", "query.range": "range", "query.recommend": "recommend",
        }.get(method, verb)  # fmt: skip
        collection = self._find(ask)
        operation = ask.get("op_id")
        if operation is not None and operation in collection.done:
            return collection.done[operation]
        if operation is not None:
            self._look_at(operation, "the shard")
        if name == "count":
            return {"count": len(collection.passing(ask))}
        answer = getattr(collection, name)(ask)
        if operation is not None:
            collection.done[operation] = answer
        return answer

    def _once(self, session: dict[str, Any], method: str, ask: dict[str, Any], own: Any) -> dict[str, Any]:
        """A change of the cluster; asked again with its op_id it is answered as before."""
        plain = {key: each for key, each in ask.items() if key != "deadline_ms"}
        operation = repr((method, plain)) if "op_id" in ask else None
        if operation in self.changes:
            return self.changes[operation]
        if "op_id" in ask:
            self._look_at(ask["op_id"], "the cluster")
        answer: dict[str, Any] = own(session, ask)
        if operation is not None:
            self.changes[operation] = answer
        return answer

    def _look_at(self, operation: bytes, whose: str) -> None:
        """Of one that is not known."""
        if operation == bytes(16):
            raise Refusal("INVALID", "op_id is all zeros, which is no uuid", "not_applied")
        version, variant = operation[6] >> 4, operation[8] >> 6
        ahead = int.from_bytes(operation[:6], "big") / 1000 - time.time() - self.clock_ahead
        if (version, variant) != (7, 2):
            raise Refusal("INVALID", f"op_id is no UUIDv7: version {version} and variant {variant}", "not_applied")
        if ahead > 300:
            raise Refusal("INVALID", f"op_id was drawn {ahead:.0f} s ahead of the clock of {whose}", "not_applied")
        if whose == "the cluster" and ahead < -600:  # a shard asks what it has forgotten, and this one never forgets
            raise Refusal("OP_EXPIRED", f"op_id was drawn {-ahead:.0f} s before the clock of {whose}", "unknown")

    def _find(self, ask: dict[str, Any]) -> FakeCollection:
        name = ask.get("collection", ask.get("name"))
        name = self.aliases.get(name, name)
        if name not in self.collections:
            raise Refusal("NOT_FOUND", f"no collection '{name}'")
        return self.collections[name]

    def _system_hello(self, session: dict[str, Any], ask: dict[str, Any]) -> dict[str, Any]:
        if ask.get("api_key") != self.api_key:
            raise Refusal("AUTH", "no such API key")
        session["greeted"] = True
        session["errors"] = ask.get("errors", "text")
        now_ms = int((time.time() + self.clock_ahead) * 1000)
        return {"server": "omend", "version": "0.1.0", "cluster": CLUSTER, "time_ms": now_ms, "limits": self.limits}

    def _system_ping(self, session: dict[str, Any], ask: dict[str, Any]) -> dict[str, Any]:
        return {}

    def _system_health(self, session: dict[str, Any], ask: dict[str, Any]) -> dict[str, Any]:
        return {"live": True, "ready": True}

    def _system_info(self, session: dict[str, Any], ask: dict[str, Any]) -> dict[str, Any]:
        return {"server": "omend", "version": "0.1.0", "cluster": CLUSTER, "node": self.node, "roles": ["data"],
                "map_version": self.map_version}  # fmt: skip

    def _cluster_info(self, session: dict[str, Any], ask: dict[str, Any]) -> dict[str, Any]:
        count = len(self.collections)
        return {
            "cluster": CLUSTER, "leader": CLUSTER, "map_version": self._next, "nodes": 1, "collections": count,
            "shards": count, "state": "green",
        }  # fmt: skip

    def _cluster_members(self, session: dict[str, Any], ask: dict[str, Any]) -> dict[str, Any]:
        member = {"node": CLUSTER, "name": "a", "address": "127.0.0.1:7701", "roles": ["data"], "state": "alive"}
        return {"members": [member]}

    def _node_list(self, session: dict[str, Any], ask: dict[str, Any]) -> dict[str, Any]:
        return {"nodes": [{"node": CLUSTER, "name": "a", "roles": ["data", "router"], "state": "up"}]}

    def _node_get(self, session: dict[str, Any], ask: dict[str, Any]) -> dict[str, Any]:
        raise Refusal("NOT_FOUND", f"no node '{ask['node']}' in the cluster")

    def _shard_get(self, session: dict[str, Any], ask: dict[str, Any]) -> dict[str, Any]:
        raise Refusal("NOT_FOUND", f"no shard {ask['shard']}")

    def _job_get(self, session: dict[str, Any], ask: dict[str, Any]) -> dict[str, Any]:
        raise Refusal("NOT_FOUND", f"no job {ask['job']}")

    def _shard_list(self, session: dict[str, Any], ask: dict[str, Any]) -> dict[str, Any]:
        of = [self._find(ask)] if "collection" in ask else list(self.collections.values())
        rows = [
            {
                "shard": each.number, "collection": each.name, "range": "0000000000000000-ffffffffffffffff",
                "primary": self.primary.node, "in_sync": [self.primary.node], "state": "open", "term": 1,
            }
            for each in of
        ]  # fmt: skip
        return {"shards": rows}

    def _shard_verify(self, session: dict[str, Any], ask: dict[str, Any]) -> dict[str, Any]:
        collection = self._find(ask)
        copy = {"node": CLUSTER, "checksum": "0" * 32}
        return {"shards": [{"shard": collection.number, "seq": collection.seq, "copies": [copy]}]}

    def _job_list(self, session: dict[str, Any], ask: dict[str, Any]) -> dict[str, Any]:
        return {"jobs": []}

    def _collection_create(self, session: dict[str, Any], ask: dict[str, Any]) -> dict[str, Any]:
        known = self.collections.get(ask["name"])
        if known is not None:
            if not ask.get("if_not_exists") or known.dimension != ask["dimension"]:
                raise Refusal("EXISTS", f"the collection '{ask['name']}' exists already", "not_applied")
            return known.row()
        if ask.get("min_insync", 1) > 1 or ask.get("replicas", 1) > 1:
            raise Refusal("INVALID", "replicas is more than 1, but the cluster has 1 nodes that can hold copies")
        self.collections[ask["name"]] = made = FakeCollection(self._next, ask)
        self._next += 1
        return made.row()

    def _collection_get(self, session: dict[str, Any], ask: dict[str, Any]) -> dict[str, Any]:
        return self._find(ask).row()

    def _collection_list(self, session: dict[str, Any], ask: dict[str, Any]) -> dict[str, Any]:
        return {"collections": [each.row() for each in self.collections.values()]}

    def _collection_update(self, session: dict[str, Any], ask: dict[str, Any]) -> dict[str, Any]:
        return self._find(ask).row()

    def _collection_drop(self, session: dict[str, Any], ask: dict[str, Any]) -> dict[str, Any]:
        if ask["collection"] not in self.collections:
            if not ask.get("if_exists"):
                raise Refusal("NOT_FOUND", f"no collection '{ask['collection']}'")
            return {"version": self._next}
        del self.collections[ask["collection"]]
        self.aliases = {alias: name for alias, name in self.aliases.items() if name in self.collections}
        return {"version": self._next}

    def _collection_stats(self, session: dict[str, Any], ask: dict[str, Any]) -> dict[str, Any]:
        return {"points": len(self._find(ask).points), "shards": 1, "memory_bytes": 1000}

    def _collection_index_field(self, session: dict[str, Any], ask: dict[str, Any]) -> dict[str, Any]:
        self._find(ask).fields[ask["field"]] = ask["type"]
        return {}

    def _collection_drop_field(self, session: dict[str, Any], ask: dict[str, Any]) -> dict[str, Any]:
        if self._find(ask).fields.pop(ask["field"], None) is None:
            raise Refusal("NOT_FOUND", f"no index of the field '{ask['field']}'")
        return {}

    def _collection_build(self, session: dict[str, Any], ask: dict[str, Any]) -> dict[str, Any]:
        return {"job": self._find(ask).number}

    _collection_optimize = _collection_build

    def _alias_set(self, session: dict[str, Any], ask: dict[str, Any]) -> dict[str, Any]:
        if ask["alias"] in self.collections:
            raise Refusal("EXISTS", f"'{ask['alias']}' is a collection")
        self.aliases[ask["alias"]] = self._find(ask).name
        return {"version": self._next}

    def _alias_list(self, session: dict[str, Any], ask: dict[str, Any]) -> dict[str, Any]:
        return {"aliases": [{"alias": alias, "collection": name} for alias, name in sorted(self.aliases.items())]}

    def _alias_drop(self, session: dict[str, Any], ask: dict[str, Any]) -> dict[str, Any]:
        if self.aliases.pop(ask["alias"], None) is None:
            raise Refusal("NOT_FOUND", f"no alias '{ask['alias']}'")
        return {"version": self._next}

    def _key_create(self, session: dict[str, Any], ask: dict[str, Any]) -> dict[str, Any]:
        if self.api_key is None:
            raise Refusal("CONFLICT", "this node asks nobody for a key")
        if ask["name"] in self.keys:
            raise Refusal("EXISTS", f"the key '{ask['name']}' exists already")
        if 0 < ask.get("expires_ms", 0) < time.time() * 1000:
            raise Refusal("INVALID", f"expires_ms is {ask['expires_ms']}, which lies in the past")
        if " " in ask.get("collections", ""):
            raise Refusal("INVALID", f"collections is '{ask['collections']}', expected a glob")
        self.keys[ask["name"]] = ask
        secret = hashlib.sha256(ask.get("seed") or os.urandom(16)).hexdigest()
        return {"name": ask["name"], "api_key": f"{ask['name']}.{secret}"}

    def _key_list(self, session: dict[str, Any], ask: dict[str, Any]) -> dict[str, Any]:
        return {"keys": [{"name": name, "role": each["role"]} for name, each in self.keys.items()]}

    def _key_revoke(self, session: dict[str, Any], ask: dict[str, Any]) -> dict[str, Any]:
        if self.keys.pop(ask["name"], None) is None:
            raise Refusal("NOT_FOUND", f"no key '{ask['name']}'")
        return {"version": self._next}
