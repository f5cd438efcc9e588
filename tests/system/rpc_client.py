"""tests/system/rpc_client.py -- the least msgpack-RPC client: a socket, and msgpack as far as a test needs it.

On purpose none of the product's clients: what these have wrong in common with the server would not be seen.
"""
from __future__ import annotations

import socket
import struct
from typing import Any


def pack(value: Any) -> bytes:
    if value is None:
        return b"\xc0"
    if isinstance(value, bool):
        return b"\xc3" if value else b"\xc2"
    if isinstance(value, int):
        return struct.pack(">BQ", 0xCF, value) if value >= 0 else struct.pack(">Bq", 0xD3, value)
    if isinstance(value, float):
        return struct.pack(">Bd", 0xCB, value)
    if isinstance(value, str):
        text = value.encode()
        return struct.pack(">BI", 0xDB, len(text)) + text
    if isinstance(value, bytes):
        return struct.pack(">BI", 0xC6, len(value)) + value
    if isinstance(value, (list, tuple)):
        return struct.pack(">BI", 0xDD, len(value)) + b"".join(map(pack, value))
    return struct.pack(">BI", 0xDF, len(value)) + b"".join(pack(key) + pack(item) for key, item in value.items())


FIXED = {0xC0: None, 0xC2: False, 0xC3: True}
NUMBERS = {0xCA: ">f", 0xCB: ">d", 0xCC: ">B", 0xCD: ">H", 0xCE: ">I", 0xCF: ">Q", 0xD0: ">b", 0xD1: ">h", 0xD2: ">i", 0xD3: ">q"}
SIZES = {0xC4: ">B", 0xC5: ">H", 0xC6: ">I", 0xC7: ">B", 0xC8: ">H", 0xC9: ">I", 0xD9: ">B", 0xDA: ">H", 0xDB: ">I",
         0xDC: ">H", 0xDD: ">I", 0xDE: ">H", 0xDF: ">I"}


class Reader:
    """Objects out of a socket's bytes, read as they are needed."""

    def __init__(self, connection: socket.socket) -> None:
        self._file = connection.makefile("rb")

    def __enter__(self) -> Reader:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def _take(self, count: int) -> bytes:
        taken = self._file.read(count)
        if len(taken) < count:
            raise ConnectionError("the connection ended")
        return taken

    def _number(self, form: str) -> Any:
        return struct.unpack(form, self._take(struct.calcsize(form)))[0]

    def read(self) -> Any:
        head = self._take(1)[0]
        if head < 0x80:
            return head
        if head >= 0xE0:
            return head - 256
        if head in FIXED:
            return FIXED[head]
        if head in NUMBERS:
            return self._number(NUMBERS[head])
        if head < 0x90:
            return {self.read(): self.read() for _ in range(head & 0xF)}
        if head < 0xA0:
            return [self.read() for _ in range(head & 0xF)]
        if head < 0xC0:
            return self._take(head & 0x1F).decode()
        if 0xD4 <= head <= 0xD8:  # an ext of 1, 2, 4, 8, 16 bytes; all exts are read as their bytes
            return self._take(1 + (1 << head - 0xD4))[1:]
        count = self._number(SIZES[head])
        if 0xC7 <= head <= 0xC9:
            return self._take(1 + count)[1:]
        if head >= 0xDE:
            return {self.read(): self.read() for _ in range(count)}
        if head >= 0xDC:
            return [self.read() for _ in range(count)]
        body = self._take(count)
        return body.decode() if head >= 0xD9 else body


class RpcError(Exception):
    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.name = text.split(":", 1)[0]


class Client:
    def __init__(self, address: str, seconds: float = 60.0) -> None:
        host, port = address.rsplit(":", 1)
        self._socket = socket.create_connection((host, int(port)), seconds)
        self._reader = Reader(self._socket)
        self._calls = 0

    def send(self, said: bytes) -> None:
        """Whatever it is."""
        self._socket.sendall(said)

    def hear(self) -> Any:
        return self._reader.read()

    def call(self, method: str, **ask: Any) -> Any:
        self._calls += 1
        self.send(pack([0, self._calls, method, [ask]]))
        kind, number, error, result = self.hear()
        assert (kind, number) == (1, self._calls)
        if error is not None:
            raise RpcError(error if isinstance(error, str) else f"{error['name']}: {error['message']}")
        return result

    def close(self) -> None:
        with self._reader:  # has the descriptor as well
            self._socket.close()
