"""tests/system/fake_node.py -- a node that says what a test tells it to: for what a real one cannot be brought to say on demand."""
from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from typing import Any

from rpc_client import Reader, pack

Answer = Callable[[dict[str, Any]], Any]
WELCOME = {"server": "omend", "version": "0.1.0", "cluster": "fake", "limits": {"inflight": 64}}


class Refusal(Exception):
    def __init__(self, name: str, retryable: bool = False, outcome: str = "not_applied") -> None:
        super().__init__(name)
        self.said = {"code": -1, "name": name, "message": "on demand", "retryable": retryable, "outcome": outcome}


class FakeNode:
    """Answers by method; what it has no answer for it never answers."""

    def __init__(self, **answers: Any) -> None:
        self.answers: dict[str, Any] = {"system.hello": WELCOME, "system.ping": {}}
        self.answers |= {name.replace("__", "."): answer for name, answer in answers.items()}
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self._accepts = threading.Thread(target=self._accept, daemon=True)
        self._accepts.start()

    def close(self) -> None:
        # Its thread first: one that was still in accept could begin it anew, with a number that is another node's by then.
        self._listener.shutdown(socket.SHUT_RDWR)
        self._accepts.join()
        self._listener.close()

    def calls(self, method: str) -> list[dict[str, Any]]:
        return [ask for name, ask in self.asked if name == method]

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with connection, Reader(connection) as reader:
            while True:
                try:
                    _, number, method, params = reader.read()
                except (ConnectionError, OSError):
                    return
                self.asked.append((method, params[0]))
                answer = self.answers.get(method)
                if answer is None:
                    continue
                error, result = None, None
                try:
                    result = answer(params[0]) if callable(answer) else answer
                except Refusal as refusal:
                    error = refusal.said
                connection.sendall(pack([1, number, error, result]))
