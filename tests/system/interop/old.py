"""tests/system/interop/old.py -- msgpack-rpc-python of 2013: it knows no binaries, so what it sends as one is a string of bytes."""
import sys
from typing import Any

import msgpackrpc
from driver import serve

client = msgpackrpc.Client(msgpackrpc.Address(sys.argv[1], int(sys.argv[2])), unpack_encoding=None)

def texts(value: Any) -> Any:
    """What came as a string comes as bytes; the caller wants texts where they are."""
    if isinstance(value, bytes):
        try:
            return value.decode()
        except UnicodeDecodeError:
            return value
    if isinstance(value, (list, tuple)):
        return [texts(each) for each in value]
    if isinstance(value, dict):
        return {texts(key): texts(each) for key, each in value.items()}
    return value


def call(method: str, ask: dict[str, Any], times: int) -> list[Any]:
    return [texts(each.get()) for each in [client.call_async(method, ask) for _ in range(times)]]


serve(call, msgpackrpc.error.RPCError)
