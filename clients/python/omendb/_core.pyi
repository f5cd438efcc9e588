from collections.abc import Callable, Iterable, Iterator, Sequence
from os import PathLike
from types import TracebackType
from typing import Any, Literal, Protocol, Self, SupportsFloat, SupportsIndex, TypeAlias, final, overload

import numpy as np
import numpy.typing as npt
from typing_extensions import Buffer

from .filters import Expression
from .types import Point, Recall

__version__: str

class _DLPack(Protocol):
    def __dlpack__(self) -> object: ...

class _Arrow(Protocol):
    def __arrow_c_array__(self, requested_schema: object | None = None) -> tuple[object, object]: ...

class _ArrowStream(Protocol):
    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object: ...

_Vectors: TypeAlias = (
    Buffer
    | _DLPack
    | _Arrow
    | _ArrowStream
    | Sequence[SupportsFloat]
    | Sequence[Sequence[SupportsFloat]]
    | Sequence[Buffer]
)
_Id: TypeAlias = SupportsIndex | str
_Ids: TypeAlias = Buffer | Iterable[SupportsIndex] | Iterable[str]
_Payload: TypeAlias = dict[str, Any]
_Versions: TypeAlias = SupportsIndex | Sequence[SupportsIndex | None] | npt.NDArray[np.integer[Any]]
_Filter: TypeAlias = str | dict[str, Any] | Expression

@final
class Hits:
    @property
    def ids(self) -> npt.NDArray[Any]: ...
    @property
    def distances(self) -> npt.NDArray[np.float32]: ...
    @property
    def payloads(self) -> list[_Payload | None]: ...
    @property
    def warnings(self) -> tuple[str, ...]: ...
    @property
    def report(self) -> dict[str, Any]: ...
    def __len__(self) -> int: ...
    def __iter__(self) -> Iterator[tuple[Any, float]]: ...
    def __getitem__(self, index: int, /) -> tuple[Any, float]: ...

class Index:
    def __init__(
        self,
        dimension: int | None = None,
        algorithm: Literal["hnsw+", "flat"] = "hnsw+",
        metric: Literal["cosine", "l2", "ip"] = "cosine",
        dtype: Literal["f32", "f16", "bf16", "i8", "u8"] = "f32",
        path: str | PathLike[str] | None = None,
        m: int = 16,
        ef_construction: int = 200,
        ef_search: int = 64,
        target_recall: float | None = None,
        quantization: Literal["int8"] | None = "int8",
        read_only: bool = False,
        threads: int = 0,
        seed: int = 0,
        max_memory: int | None = None,
        durability: Literal["commit", "interval"] | None = None,
        interval_ms: int | None = None,
        slots_max: int | None = None,
    ) -> None: ...
    @property
    def dimension(self) -> int: ...
    @property
    def ndim(self) -> int: ...
    @property
    def dim(self) -> int: ...
    @property
    def metric(self) -> str: ...
    @property
    def space(self) -> str: ...
    @property
    def dtype(self) -> str: ...
    @property
    def algorithm(self) -> str: ...
    @property
    def quantization(self) -> str | None: ...
    @property
    def path(self) -> str | None: ...
    @property
    def closed(self) -> bool: ...
    def add(
        self,
        vectors: _Vectors,
        ids: _Id | _Ids | None = None,
        payloads: _Payload | Sequence[_Payload | None] | None = None,
        if_version: _Versions | None = None,
    ) -> Any: ...
    def upsert(
        self,
        vectors: _Vectors,
        ids: _Id | _Ids | None = None,
        payloads: _Payload | Sequence[_Payload | None] | None = None,
        if_version: _Versions | None = None,
    ) -> Any: ...
    def set_payloads(
        self,
        ids: _Id | _Ids,
        payloads: _Payload | Sequence[_Payload | None],
        if_version: _Versions | None = None,
    ) -> None: ...
    def delete(self, ids: _Id | _Ids | None = None, filter: _Filter | None = None) -> int: ...
    @overload
    def get(  # type: ignore[overload-overlap]  # a str is one id, although it is an iterable of str too
        self, id: _Id, with_vector: bool = True, with_payload: bool = True
    ) -> Point | None: ...
    @overload
    def get(self, id: _Ids, with_vector: bool = True, with_payload: bool = True) -> list[Point | None]: ...
    def scroll(
        self,
        filter: _Filter | None = None,
        limit: int = 100,
        cursor: int | None = None,
        with_vector: bool = True,
        with_payload: bool = True,
    ) -> tuple[list[Point], int | None]: ...
    def count(self, filter: _Filter | None = None) -> int: ...
    def search(
        self,
        q: _Vectors,
        k: int = 10,
        filter: _Filter | None = None,
        ef: int | None = None,
        target_recall: float | None = None,
        exact: bool = False,
        threads: int = 0,
        backend: Literal["auto", "cpu", "cuda"] = "auto",
    ) -> Any: ...
    def range_search(
        self,
        q: _Vectors,
        radius: float,
        filter: _Filter | None = None,
        ef: int | None = None,
        target_recall: float | None = None,
        exact: bool = False,
    ) -> Any: ...
    def index_field(
        self, name: str, type: Literal["keyword", "integer", "float", "bool", "datetime", "uuid"]
    ) -> None: ...
    def drop_field(self, name: str) -> None: ...
    def build(
        self,
        backend: Literal["auto", "cpu", "cuda"] = "auto",
        progress: Callable[[int, int], object] | None = None,
        max_memory: int | None = None,
        again: bool = False,
    ) -> dict[str, Any]: ...
    def flush(self) -> None: ...
    def compact(self) -> None: ...
    def copy(self, path: str | PathLike[str]) -> None: ...
    def verify(self) -> None: ...
    def recall(
        self, samples: int = 200, k: int = 10, ef: int | None = None, target_recall: float | None = None
    ) -> Recall: ...
    def calibrate(self) -> None: ...
    def stats(self) -> dict[str, Any]: ...
    def set_ef(self, ef: int) -> None: ...
    def add_items(
        self,
        data: _Vectors,
        ids: _Id | _Ids | None = None,
        num_threads: int = -1,
        replace_deleted: bool = False,
    ) -> Any: ...
    def knn_query(
        self, data: _Vectors, k: int = 1, num_threads: int = -1, filter: _Filter | None = None
    ) -> tuple[npt.NDArray[Any], npt.NDArray[np.float32]]: ...
    def knn_exact(
        self,
        q: _Vectors,
        k: int = 10,
        filter: _Filter | None = None,
        threads: int = 0,
        backend: Literal["auto", "cpu", "cuda"] = "auto",
    ) -> tuple[npt.NDArray[Any], npt.NDArray[np.float32]]: ...
    def close(self) -> None: ...
    def __len__(self) -> int: ...
    def __contains__(self, id: _Id, /) -> bool: ...
    def __enter__(self) -> Self: ...
    def __exit__(
        self, type: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None, /
    ) -> None: ...

def pack(value: Any, /) -> bytes: ...
def unpack(data: Buffer, /) -> Any: ...
def kernel() -> str: ...
