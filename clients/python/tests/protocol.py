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


_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}\Z")
_NUMBER = re.compile(r"[\d\s/*+()-]+\Z")


class Row:
    """A key: its kind, its limits, the words that it may be."""

    def __init__(self, rest: str, words: dict[str, list[str]]) -> None:
        def part(name: str) -> str:
            found = re.search(rf"\.{name} = ([^,]+)", rest)
            return found[1].strip() if found else ""

        self.kind = part("kind").strip("()").removeprefix("FIELD_")
        self.required = "FIELD_REQUIRED" in rest
        self.alias = "FIELD_ALIAS" in rest
        self.least = _number(part("least"))
        self.most = _number(part("most"))
        self.beyond = part("beyond").removeprefix("-OMEN_E_") or "INVALID"
        self.words = words.get(part("words").strip("()"))

    def complaint(self, key: str, value: Any) -> tuple[str, str] | None:
        """(name of a status, sentence), in the server's words or nearly."""
        allowed = _TYPES.get(self.kind)
        if allowed and (not isinstance(value, allowed) or (isinstance(value, bool) and bool not in allowed)):
            return "INVALID", f"{key} is a {type(value).__name__}, expected a {self.kind}"
        if self.kind in ("U32", "U64", "MAYBE") and not self.least <= value <= (self.most or 2**64):
            return self.beyond, f"{key} is {value}, expected {self.least}..{self.most}"
        if self.kind == "NAME" and not _NAME.match(value):
            return "INVALID", f"{key} is {value!r}, expected 1..64 of A-Z a-z 0-9 _ -"
        unknown = set([value] if self.kind == "WORD" else value if self.kind == "WORDS" else []) - set(self.words or ())
        if unknown:
            return "INVALID", f"{key} is {value!r}, expected one of {', '.join(self.words or ())}"
        ids = value if self.kind == "IDS" else [value] if self.kind == "ID" else []
        if any(isinstance(each, str) and not 1 <= len(each.encode()) <= 255 for each in ids):
            return "ID_LENGTH", f"{key} has a text of other than 1..255 bytes"
        return None


class Table:
    """The keys of one struct."""

    def __init__(self, rows: str, words: dict[str, list[str]]) -> None:
        self.rows = {key: Row(rest, words) for key, rest in _ROW.findall(rows)}
        self.required = {key for key, row in self.rows.items() if row.required}
        keys = list(self.rows)
        self.also = {key: keys[at - 1] for at, key in enumerate(keys) if self.rows[key].alias}

    def complaint(self, value: dict[str, Any]) -> tuple[str, str] | None:
        for key, each in value.items():
            if key not in self.rows:
                return "INVALID", f"has the key '{key}', which it does not know"
            complaint = self.rows[key].complaint(key, each)
            if complaint:
                return complaint
        missing = sorted(self.required - {self.also.get(key, key) for key in value})
        return ("INVALID", f"lacks the key '{missing[0]}'") if missing else None


def _number(text: str) -> int:
    text = re.sub(r"(?<=\d)[uUlL]+", "", text)
    return int(eval(text.replace("/", "//"))) if text and _NUMBER.match(text) else 0


def _preprocessed(path: str) -> str:
    run = subprocess.run(["cc", "-E", "-P", "-I.", path], cwd=ROOT, capture_output=True, text=True, check=True)
    return run.stdout


@functools.cache
def methods() -> dict[str, tuple[Table, Table]]:
    """(what is asked, what is answered) by method. Empty where there is no C compiler, or no sources."""
    if shutil.which("cc") is None or not (ROOT / "wire/method.c").exists():
        return {}
    texts = [_preprocessed(f"wire/api_{name}.c") for name in ("point", "cluster", "collection")]
    shared = _words(texts[0])
    tables = {name: Table(rows, {**shared, **_words(text)}) for text in texts for name, rows in _TABLE.findall(text)}
    listed = _METHOD.findall(_preprocessed("wire/method.c"))
    return {name: (tables[ask], tables[answer]) for name, ask, answer in listed}


def _words(text: str) -> dict[str, list[str]]:
    found = re.findall(r"const char \*const (\w+)\[\] = \{(.*?)\};", text, re.DOTALL)
    return {name: re.findall(r'"(\w+)"', words) for name, words in found}
