"""The protocol as the server's own tables have it: the keys of every method, read off wire/*.c by the preprocessor."""

from __future__ import annotations

import functools
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[3]

_TABLE = re.compile(r"static const struct field (\w+)_rows\[\] = \{(.*?)\n?\};", re.DOTALL)
_ROW = re.compile(r"\{\s*\.key = \"(\w+)\"(.*?)\}(?=,|\s*$)", re.DOTALL)
_METHOD = re.compile(r'\.name = \("([\w.]+)"\), \.ask = &\((\w+)\), \.answer = &\((\w+)\)')

# What a value of a kind may be, as msgpack has it.
_TYPES: dict[str, tuple[type, ...]] = {
    **dict.fromkeys(("U32", "U64", "MAYBE", "I64"), (int,)),
    **dict.fromkeys(("TEXT", "NAME", "WORD"), (str,)),
    **dict.fromkeys(("BYTES", "UUID"), (bytes,)),
    **dict.fromkeys(("WORDS", "LIST", "IDS", "TEXTS", "PAYLOADS"), (list,)),
    **dict.fromkeys(("PAYLOAD", "INSIDE", "TOKEN"), (dict,)),
    "BOOL": (bool,),
    "REAL": (float, int),
    "FLOAT": (float,),
    "ID": (int, str),
    "FILTER": (str, dict),
}


class Table:
    """The keys of one struct: kinds, and which must be there."""

    def __init__(self, rows: str) -> None:
        self.kinds: dict[str, str] = {}
        self.required: set[str] = set()
        self.also: dict[str, str] = {}  # another name of a key
        before = ""
        for key, rest in _ROW.findall(rows):
            kind = re.search(r"\.kind = \(?FIELD_(\w+)", rest)
            assert kind, rest
            self.kinds[key] = kind[1]
            if "FIELD_REQUIRED" in rest:
                self.required.add(key)
            if "FIELD_ALIAS" in rest:
                self.also[key] = before
            before = key

    def complaint(self, value: Any) -> str | None:
        """What is wrong with a map, in the server's words or nearly."""
        for key, each in value.items():
            if key not in self.kinds:
                return f"has the key '{key}', which it does not know"
            allowed = _TYPES.get(self.kinds[key])
            if allowed and (not isinstance(each, allowed) or (isinstance(each, bool) and bool not in allowed)):
                return f"{key} is a {type(each).__name__}, expected a {self.kinds[key]}"
        missing = sorted(self.required - {self.also.get(key, key) for key in value})
        return f"lacks the key '{missing[0]}'" if missing else None


def _preprocessed(path: str) -> str:
    run = subprocess.run(["cc", "-E", "-P", "-I.", path], cwd=ROOT, capture_output=True, text=True, check=True)
    return run.stdout


@functools.cache
def methods() -> dict[str, tuple[Table, Table]]:
    """(what is asked, what is answered) by method. Empty where there is no C compiler, or no sources."""
    if shutil.which("cc") is None or not (ROOT / "wire/method.c").exists():
        return {}
    tables = {
        name: Table(rows)
        for path in ("wire/api_point.c", "wire/api_cluster.c", "wire/api_collection.c")
        for name, rows in _TABLE.findall(_preprocessed(path))
    }
    listed = _METHOD.findall(_preprocessed("wire/method.c"))
    return {name: (tables[ask], tables[answer]) for name, ask, answer in listed}
