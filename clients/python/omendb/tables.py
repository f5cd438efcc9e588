"""Tables of points in the files that omenctl does not read: Parquet, by pyarrow, and HDF5, by h5py."""

from __future__ import annotations

import datetime
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NoReturn, Protocol

import numpy as np

from .errors import DimensionError, DtypeError, InvalidError, NotFoundError, UnsupportedError

FORMATS: Final = {"parquet": (".parquet", ".pq"), "hdf5": (".hdf5", ".h5")}


@dataclass
class Rows:
    """Some rows of a table, from number `first` on."""

    first: int
    vectors: Any  # a matrix, or a list of lists where a row may be anything
    ids: Sequence[Any]
    payloads: list[dict[str, Any] | None] | None

    def __len__(self) -> int:
        return len(self.ids)


class Table(Protocol):
    """A file that is open."""

    count: int
    dimension: int | None
    """Of every row; None: each may have its own."""

    def rows(self, skip: int, end: int, batch: int) -> Iterator[Rows]:
        """Those from `skip` to before `end`, in order, at most `batch` at a time."""
        ...


@dataclass(frozen=True)
class Columns:
    """Which part of a file is what; None: as the format usually has it."""

    vector: str | None = None
    id: str | None = None
    first_id: int = 0


def format_of(path: Path) -> str:
    for name, endings in FORMATS.items():
        if path.suffix.lower() in endings:
            return name
    known = ", ".join(ending for each in FORMATS.values() for ending in each)
    raise InvalidError(
        f"{path}: the name does not end in {known}; say --format. omenctl import reads npy, fvecs, bvecs, fbin, "
        "u8bin, i8bin, ndjson and csv"
    )


def open_table(path: Path, format: str, columns: Columns) -> Table:
    """NotFoundError where there is no such file or column, InvalidError where it is not what its format says."""
    if not path.is_file():
        raise NotFoundError(f"{path}: {'not a regular file' if path.exists() else 'no such file'}")
    return _Hdf5(path, columns) if format == "hdf5" else _Parquet(path, columns)


def _missing(package: str) -> NoReturn:
    raise UnsupportedError(f"the package {package} is not installed: pip install 'omendb[import]'") from None


def _lacks(path: Path, what: str, name: str, there: Sequence[str]) -> NotFoundError:
    return NotFoundError(f"{path} has no {what} {name!r}; it has {', '.join(there) or 'none'}")


class _Hdf5:
    """A matrix of vectors: `train` in files of ann-benchmarks. Ids are a dataset, or the rows' numbers."""

    def __init__(self, path: Path, columns: Columns) -> None:
        try:
            import h5py
        except ModuleNotFoundError:
            _missing("h5py")
        try:
            file = h5py.File(path, "r")
        except OSError as fault:
            raise InvalidError(f"{path}: no HDF5 file: {fault}") from None
        names: list[str] = []
        file.visititems(lambda name, thing: names.append(name) if isinstance(thing, h5py.Dataset) else None)

        def dataset(name: str) -> Any:
            if name not in names:
                raise _lacks(path, "dataset", name, names)
            return file[name]

        name = columns.vector or "train"
        self._vectors = dataset(name)
        self._ids = dataset(columns.id) if columns.id is not None else None
        self._first_id = columns.first_id
        if self._vectors.ndim != 2:
            raise DimensionError(f"{path}: {name!r} has {self._vectors.ndim} dimensions; rows of vectors have two")
        if self._vectors.dtype.kind not in "fiu":
            raise DtypeError(f"{path}: {name!r} has the type {self._vectors.dtype}, expected numbers")
        self.count, self.dimension = self._vectors.shape
        if self._ids is not None and self._ids.shape != (self.count,):
            raise DimensionError(f"{path}: {columns.id!r} has the shape {self._ids.shape} for {self.count} vectors")

    def rows(self, skip: int, end: int, batch: int) -> Iterator[Rows]:
        for first in range(skip, end, batch):
            after = min(first + batch, end)
            yield Rows(first, self._vectors[first:after], self._ids_of(first, after), None)

    def _ids_of(self, first: int, after: int) -> Sequence[Any]:
        if self._ids is None:
            return range(self._first_id + first, self._first_id + after)
        ids = self._ids[first:after].tolist()
        return [each.decode("utf-8", "replace") if isinstance(each, bytes) else each for each in ids]


class _Parquet:
    """Columns `vector` and `id` (without one: the rows' numbers); all others are the payload."""

    def __init__(self, path: Path, columns: Columns) -> None:
        try:
            import pyarrow
            import pyarrow.parquet
        except ModuleNotFoundError:
            _missing("pyarrow")
        self._types = pyarrow.types
        try:
            self._file = pyarrow.parquet.ParquetFile(path)
        except (pyarrow.ArrowInvalid, OSError) as fault:
            raise InvalidError(f"{path}: no Parquet file: {fault}") from None
        schema = self._file.schema_arrow
        self._vector = columns.vector or "vector"
        self._id = columns.id or ("id" if "id" in schema.names else None)
        self._first_id = columns.first_id
        for name in (self._vector, self._id):
            if name is not None and name not in schema.names:
                raise _lacks(path, "column", name, schema.names)
        type = schema.field(self._vector).type
        fixed = self._types.is_fixed_size_list(type)
        if not (fixed or self._types.is_list(type) or self._types.is_large_list(type)) or not self._is_number(
            type.value_type
        ):
            raise DtypeError(f"{path}: {self._vector!r} has the type {type}, expected lists of numbers")
        self.count = self._file.metadata.num_rows
        self.dimension = type.list_size if fixed else None

    def _is_number(self, type: Any) -> bool:
        return bool(self._types.is_integer(type) or self._types.is_floating(type))

    def rows(self, skip: int, end: int, batch: int) -> Iterator[Rows]:
        group, first = 0, 0  # row groups that are passed over are not read
        while first < skip and first + self._rows_of(group) <= skip:
            first, group = first + self._rows_of(group), group + 1
        groups = range(group, self._file.metadata.num_row_groups)
        for read in self._file.iter_batches(batch_size=batch, row_groups=list(groups)):
            start, after = max(skip - first, 0), min(end - first, len(read))
            if start < after:
                yield self._rows_in(read.slice(start, after - start), first + start)
            first += len(read)
            if first >= end:
                return

    def _rows_of(self, group: int) -> int:
        return int(self._file.metadata.row_group(group).num_rows)

    def _rows_in(self, read: Any, first: int) -> Rows:
        ids: Sequence[Any] = range(self._first_id + first, self._first_id + first + len(read))
        if self._id is not None:
            ids = read.column(self._id).to_pylist()
        others = [name for name in read.schema.names if name not in (self._vector, self._id)]
        payloads: list[dict[str, Any] | None] | None = None
        if others:
            payloads = [_payload(each) for each in read.select(others).to_pylist()]
        return Rows(first, self._matrix(read.column(self._vector)), ids, payloads)

    def _matrix(self, column: Any) -> Any:
        values = column.flatten()
        if self.dimension is None or column.null_count > 0 or values.null_count > 0:
            return [[np.nan if each is None else each for each in row or ()] for row in column.to_pylist()]
        return np.asarray(values.to_numpy(zero_copy_only=False)).reshape(len(column), self.dimension)


def _payload(row: dict[str, Any]) -> dict[str, Any]:
    """Cells that are empty are not there."""
    return {name: _value(value) for name, value in row.items() if value is not None}


def _value(value: Any) -> Any:
    """Times without a zone are of UTC; dates are their texts."""
    if isinstance(value, datetime.datetime):
        return value.replace(tzinfo=datetime.UTC) if value.tzinfo is None else value
    return value.isoformat() if isinstance(value, datetime.date | datetime.time) else value
