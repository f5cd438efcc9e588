"""tests/system/interop/aio.py -- aio-msgpack-rpc, which decodes with the defaults of Python's msgpack."""
import asyncio
import sys
from typing import Any

import aio_msgpack_rpc
from aio_msgpack_rpc.error import RPCResponseError
from driver import serve


async def main() -> None:
    client = aio_msgpack_rpc.Client(*await asyncio.open_connection(sys.argv[1], int(sys.argv[2])))

    async def all_of(method: str, ask: dict[str, Any], times: int) -> list[Any]:
        return list(await asyncio.gather(*(client.call(method, ask) for _ in range(times))))

    loop = asyncio.get_running_loop()

    def call(method: str, ask: dict[str, Any], times: int) -> list[Any]:
        return asyncio.run_coroutine_threadsafe(all_of(method, ask, times), loop).result()

    await loop.run_in_executor(None, serve, call, RPCResponseError)
    client.close()


asyncio.run(main())
