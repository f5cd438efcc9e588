"""tests/system/interop/driver.py -- what the drivers in Python share: a line with a call in, a line with what came of it out.

A call is {"method", "ask", "times"}; the answer is {"ok": [results]} or {"error": text}. JSON has no binaries, so here they are
{"$bin": hex}.
"""
from __future__ import annotations

import json
import sys
from collections.abc import Callable
from typing import Any


def from_json(value: Any) -> Any:
    if isinstance(value, list):
        return [from_json(each) for each in value]
    if isinstance(value, dict):
        return bytes.fromhex(value["$bin"]) if "$bin" in value else {key: from_json(each) for key, each in value.items()}
    return value


def to_json(value: Any) -> Any:
    if isinstance(value, bytes):
        return {"$bin": value.hex()}
    if isinstance(value, (list, tuple)):
        return [to_json(each) for each in value]
    if isinstance(value, dict):
        return {key: to_json(each) for key, each in value.items()}
    return value


def serve(call: Callable[[str, dict[str, Any], int], list[Any]], errors: type[Exception]) -> None:
    """`call` asks the method so many times at once."""
    for line in sys.stdin:
        asked = json.loads(line)
        try:
            said = {"ok": to_json(call(asked["method"], from_json(asked["ask"]), asked["times"]))}
        except errors as error:
            said = {"error": str(error)}
        print(json.dumps(said), flush=True)
