"""A handle on a collection: what waits for nobody's loop, so that it can be asked of as of an Index."""

from __future__ import annotations

from types import TracebackType
from typing import Any, Self

from .points import Points


class Collection(Points):
    """A collection of a cluster, or what an alias names. Made by Client.collection; costs nothing."""

    @property
    def dimension(self) -> int:
        """Components of a vector. Asked of the server each time, as all of these are."""
        return int(self.info()["dimension"])

    @property
    def ndim(self) -> int:
        """usearch's name for dimension."""
        return self.dimension

    @property
    def dim(self) -> int:
        """hnswlib's name for dimension."""
        return self.dimension

    @property
    def metric(self) -> str:
        return str(self.info()["metric"])

    @property
    def space(self) -> str:
        """hnswlib's name for metric."""
        return self.metric

    @property
    def dtype(self) -> str:
        return str(self.info()["dtype"])

    @property
    def quantization(self) -> str | None:
        said = self.info().get("quantization")
        return None if said in (None, "none") else str(said)

    def __len__(self) -> int:
        return self.count()

    def __contains__(self, id: Any) -> bool:
        return self.get(id, with_vector=False, with_payload=False) is not None

    def close(self) -> None:
        """Nothing: the connections are the client's."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, type: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<omendb.Collection {self.name!r}>"
