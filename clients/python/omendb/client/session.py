"""What a session has seen: the last place of each shard's log; its reads come from copies that have it as well."""

from __future__ import annotations

import threading
from typing import Any, Final

CONSISTENCIES: Final = ("eventual", "session", "strong")


class Session:
    """Grows with answers, from any thread."""

    __slots__ = ("_lock", "_seen")

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._seen: dict[int, tuple[int, int]] = {}

    def saw(self, answer: Any) -> None:
        """Takes an answer's token in."""
        token = answer.get("token") if isinstance(answer, dict) else None
        if not token:
            return
        with self._lock:
            for shard, place in token.items():
                now = (int(place[0]), int(place[1]))
                if now > self._seen.get(int(shard), (0, 0)):
                    self._seen[int(shard)] = now

    def after(self) -> dict[int, list[int]] | None:
        """For a request; None where nothing was seen."""
        with self._lock:
            return {shard: list(place) for shard, place in self._seen.items()} or None
