"""tests/system/interop/nvim.py -- pynvim's session, which begins with a notification that no server of ours knows."""
import sys
from typing import Any

from driver import serve
from pynvim.msgpack_rpc import tcp_session

session = tcp_session(sys.argv[1], int(sys.argv[2]))


def call(method: str, ask: dict[str, Any], times: int) -> list[Any]:
    return [session.request(method, ask) for _ in range(times)]


serve(call, Exception)  # it has no kind of its own for what a server says
