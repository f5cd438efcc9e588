"""`python -m omendb import COLLECTION INPUT`: what `omenctl import` does, for Parquet and HDF5."""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, Final

import numpy as np

from . import connect
from .client import Client, Collection
from .client.wire import status_name
from .errors import (
    AuthError,
    ConflictError,
    CorruptError,
    DimensionError,
    DtypeError,
    DuplicateIdError,
    ExistsError,
    FieldTypeError,
    IdKindError,
    IdLengthError,
    IdRangeError,
    IdTypeError,
    InvalidError,
    MethodError,
    NotFiniteError,
    NotFoundError,
    OmenError,
    OmenTimeoutError,
    PayloadError,
    QuotaError,
    ReadOnlyError,
    UnreachableError,
    UnsupportedError,
    ZeroVectorError,
)
from .tables import FORMATS, Columns, Rows, Table, format_of, open_table

ABOUT_ROWS: Final = (
    DimensionError,
    DuplicateIdError,
    FieldTypeError,
    IdKindError,
    IdLengthError,
    IdRangeError,
    IdTypeError,
    NotFiniteError,
    PayloadError,
    ZeroVectorError,
)
BATCH_MAX: Final = 10_000
_NUMBER: Final = re.compile(r"[0-9]{1,19}")
_IN_ITS_REQUEST: Final = re.compile(r"^(point\.upsert: )?(row [0-9]+: )?")  # which misleads beside the row of the file
ID_MAX: Final = 2**63 - 1

# As omenctl ends (docs/OPERATING.md); the first that fits.
FINE, PARTIAL = 0, 8
CODES: Final = (
    ((NotFoundError,), 3),
    ((ReadOnlyError, ExistsError, ConflictError, UnsupportedError, QuotaError), 4),
    ((UnreachableError,), 5),
    ((OmenTimeoutError,), 6),
    ((AuthError,), 7),
    ((CorruptError,), 10),
    ((MethodError,), 11),
    ((InvalidError, DimensionError, DtypeError), 2),
)


class Refusals:
    """Rows that were not stored, counted by reason and, where wanted, listed."""

    def __init__(self, listed: IO[str] | None) -> None:
        self.count = 0
        self._listed = listed
        self._reasons: dict[str, dict[str, Any]] = {}

    def add(self, row: int, error: OmenError) -> None:
        name = type(error).__name__
        status, text = status_name(error), _IN_ITS_REQUEST.sub("", str(error))
        seen = {"status": status, "error": name, "rows": 0, "count": 0, "first_row": row, "example": text}
        reason = self._reasons.setdefault(name, seen)
        reason["rows"] += 1
        reason["count"] += 1
        self.count += 1
        if self._listed is not None:
            said = {"row": row, "status": status, "reason": text, "error": name, "message": text}
            print(json.dumps(said), file=self._listed)

    def reasons(self) -> list[dict[str, Any]]:
        return list(self._reasons.values())


class Importer:
    """Writes batches, and sets apart the rows that cannot be stored."""

    def __init__(self, collection: Any, refusals: Refusals) -> None:
        self._collection = collection
        self._refusals = refusals
        self.written = 0

    def put(self, rows: Rows) -> None:
        """A shard takes all of a message's rows or none, so those that come back are sent again, in halves where all
        came back, until whoever is to blame is alone. Rows are upserted: sending one twice does no harm."""
        parts = [list(range(len(rows)))]
        while parts:
            part = parts.pop()
            again = self._write(rows, part)
            if len(again) == len(part) > 1:
                half = len(part) // 2
                parts += [part[half:], part[:half]]
            elif again:
                parts.append(again)

    def _write(self, rows: Rows, part: list[int]) -> list[int]:
        vectors = rows.vectors
        chosen = vectors[part] if isinstance(vectors, np.ndarray) else [vectors[each] for each in part]
        payloads = None if rows.payloads is None else [rows.payloads[each] for each in part]
        try:
            self._collection.upsert(chosen, [rows.ids[each] for each in part], payloads)
        except ABOUT_ROWS as error:
            failed = [row for row, _ in error.failed] or range(len(part))
            for _, each in error.failed:
                if not isinstance(each, ABOUT_ROWS):
                    raise each from None
            self.written += len(part) - len(failed)
            if len(part) > 1:
                return [part[row] for row in failed]
            self._refusals.add(rows.first + part[0], error)
            return []
        self.written += len(part)
        return []


def _arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m omendb import",
        description="Writes the vectors of a Parquet or HDF5 file into a collection. Other formats: omenctl import.",
        epilog="Rows are upserted, so that it does no harm to begin anew. Rows that are refused are counted by reason, "
        "and the command ends with 8; else as omenctl does. OMEN_ENDPOINTS, OMEN_API_KEY and OMEN_API_KEY_FILE are "
        "those of omenctl.",
    )
    parser.add_argument("collection", metavar="COLLECTION")
    parser.add_argument("input", metavar="INPUT", type=Path)
    parser.add_argument("-e", "--endpoints", default=os.environ.get("OMEN_ENDPOINTS") or "127.0.0.1:7700")
    parser.add_argument("--api-key-file", type=Path, metavar="FILE", help="whose first line is the key")
    parser.add_argument("--timeout", type=float, default=30.0, metavar="S", help="of a batch, with all its tries (30)")
    parser.add_argument("--format", choices=list(FORMATS), help="of INPUT; by the ending of its name")
    parser.add_argument("--vector", metavar="NAME", help="the column (vector) or dataset (train) of the vectors")
    parser.add_argument("--id", metavar="NAME", help="the column (id, if there is one) or dataset of the ids")
    parser.add_argument("--first-id", type=_number(0, ID_MAX), default=0, metavar="N", help="of row 0 without ids (0)")
    parser.add_argument("--batch", type=_number(1, BATCH_MAX), default=1000, metavar="N", help="rows a request (1000)")
    parser.add_argument("--limit", type=_number(0, ID_MAX), metavar="N", help="stop after N rows")
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--skip", type=_number(0, ID_MAX), default=0, metavar="N", help="leave out the first N rows")
    where.add_argument("--resume", type=Path, metavar="FILE", help="note there how far it came, and go on from there")
    parser.add_argument("--refused", type=Path, metavar="FILE", help="list rows that are refused, as NDJSON")
    parser.add_argument("-q", "--quiet", action="store_true", help="no progress")
    return parser


def _number(least: int, most: int) -> Any:
    def number(text: str) -> int:
        if not (text.isascii() and text.isdigit() and least <= int(text) <= most):
            raise argparse.ArgumentTypeError(f"{text!r} is no number from {least} to {most}")
        return int(text)

    return number


def _api_key(path: Path | None) -> str | None:
    named = path or (Path(os.environ["OMEN_API_KEY_FILE"]) if os.environ.get("OMEN_API_KEY_FILE") else None)
    if named is None:
        return os.environ.get("OMEN_API_KEY") or None
    try:
        return named.read_text().partition("\n")[0].strip()
    except OSError as fault:
        raise InvalidError(f"{named}: {fault.strerror}") from None


def _about(options: argparse.Namespace, cluster: str, collection: dict[str, Any], format: str) -> list[str]:
    """What a note is of: whatever makes an import another one (tools/omenctl/note.h). A line each."""
    found = options.input.stat()
    said = {
        "cluster": cluster,
        "collection": collection["name"],
        "number of the collection": collection["id"],
        "input": options.input.resolve(),
        "bytes of the input": found.st_size,
        "last change of the input": f"{found.st_mtime_ns // 10**9}.{found.st_mtime_ns % 10**9:09}",
        "format": format,
        "vector": options.vector or "",
        "id": options.id or "",
        "first-id": options.first_id,
    }
    lines = [f"{key}: {value}" for key, value in said.items()]
    return ["omendb import 1", *("".join("?" if each < " " else each for each in line) for line in lines)]


def _where_it_was(path: Path, about: list[str]) -> int | None:
    """The rows of a note of this import; of one that is not there yet None."""
    if not path.exists():
        return None
    text = path.read_text()
    first, *lines = text.splitlines() or [""]
    if _NUMBER.fullmatch(text.strip()):
        raise ConflictError(
            f"{path}: it says {text.strip()} rows, but not of which collection and file: an older version wrote it. "
            f"If they are these: --skip {text.strip()}; else remove it to begin anew"
        )
    if first == about[0]:
        for ours, theirs in zip(about[1:], lines, strict=False):
            _expect(path, ours, theirs)
        rows = lines[len(about) - 1 :]
        if len(rows) == 1 and text.endswith("\n") and rows[0].startswith("rows: ") and _NUMBER.fullmatch(rows[0][6:]):
            return int(rows[0][6:])
    raise InvalidError(f"{path}: it does not say how far an import came")


def _expect(path: Path, ours: str, theirs: str) -> None:
    key, _, here = ours.partition(": ")
    named, _, there = theirs.partition(": ")
    if key != named:
        raise ConflictError(f"{path}: it does not say '{key}', which an import of this version does")
    if here != there:
        raise ConflictError(
            f"{path}: it is of another import: {key} is '{there}' there, and '{here}' here. "
            "Name another note, or remove it to begin anew"
        )


def _note(path: Path, about: list[str], row: int) -> None:
    new = path.with_name(path.name + ".new")
    new.write_text("\n".join([*about, f"rows: {row}", ""]))
    new.replace(path)


@contextmanager
def _list_at(path: Path | None) -> Iterator[IO[str] | None]:
    if path is None:
        yield None
        return
    try:
        file = path.open("w", encoding="utf-8")
    except OSError as fault:
        raise InvalidError(f"{path}: {fault.strerror}") from None
    with file:
        yield file


def _check(table: Table, info: dict[str, Any]) -> None:
    if table.dimension is not None and table.dimension != info["dimension"]:
        raise ConflictError(
            f"the rows have {table.dimension} components, the collection {info['dimension']}; nothing was changed"
        )


def _write_all(
    options: argparse.Namespace, table: Table, importer: Importer, about: list[str], skip: int, end: int
) -> None:
    shows = sys.stderr.isatty() and not options.quiet
    at = skip
    try:
        for rows in table.rows(skip, end, options.batch):
            importer.put(rows)
            at = rows.first + len(rows)
            if options.resume is not None:
                _note(options.resume, about, at)
            if shows:
                print(f"\rimporting {at - skip:,} of {end - skip:,}", end="", file=sys.stderr)
    except (OmenError, OSError, KeyboardInterrupt):
        print(f"rows before row {at} are settled; to go on: --skip {at}", file=sys.stderr)
        raise
    finally:
        if shows:
            print(file=sys.stderr)


def _begin(options: argparse.Namespace, client: Client, collection: Collection, format: str) -> tuple[list[str], int]:
    """What this import is, for its note; and its first row."""
    if options.resume is None:
        return [], options.skip
    about = _about(options, client.info()["cluster"], collection.info(), format)
    rows = _where_it_was(options.resume, about)
    if rows is not None and not options.quiet:
        print(f"begins at row {rows}, as {options.resume} says", file=sys.stderr)
    return about, rows or 0


def _run(options: argparse.Namespace) -> int:
    started = time.monotonic()
    format = options.format or format_of(options.input)
    table = open_table(options.input, format, Columns(options.vector, options.id, options.first_id))
    address = f"omen://{options.endpoints}"
    with (
        _list_at(options.refused) as listed,
        connect(address, api_key=_api_key(options.api_key_file), timeout=options.timeout) as client,
    ):
        collection = client.collection(options.collection)
        about, skip = _begin(options, client, collection, format)
        if skip > table.count:
            raise InvalidError(f"{skip} rows are to be skipped, but the file has {table.count} rows")
        end = table.count if options.limit is None else min(skip + options.limit, table.count)
        _check(table, collection.info())
        refusals = Refusals(listed)
        importer = Importer(collection, refusals)
        _write_all(options, table, importer, about, skip, end)
    summary = {
        "input": str(options.input),
        "format": format,
        "collection": options.collection,
        "first_row": skip,
        "rows": end - skip,
        "written": importer.written,
        "refused": refusals.count,
        "seconds": round(time.monotonic() - started, 3),
        "reasons": refusals.reasons(),
    }
    print(json.dumps(summary, indent=2))
    if refusals.count > 0:
        print(f"{refusals.count} of {end - skip} rows were refused", file=sys.stderr)
    return PARTIAL if refusals.count > 0 else FINE


def main(arguments: Sequence[str]) -> int:
    """The exit code; what went wrong is said on stderr."""
    options = _arguments().parse_args(arguments)
    try:
        return _run(options)
    except OmenError as error:
        print(f"python -m omendb import: {error}", file=sys.stderr)
        return next((code for kinds, code in CODES if isinstance(error, kinds)), 1)
    except OSError as fault:
        print(f"python -m omendb import: {fault}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 1
