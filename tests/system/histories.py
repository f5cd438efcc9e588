"""tests/system/histories.py -- whether what clients saw of one key is what one register would have shown them, one call after another.

Wing and Gong's search with Lowe's memo. A call may take effect at any moment between `begun` and `ended`; one whose outcome
nobody knows has no end, and may also never have happened. Values are unique, so what a key held names who wrote it.
"""
from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

NEVER = math.inf  # the end of a call whose outcome is unknown


@dataclass(frozen=True, slots=True)
class Call:
    """What a client asked of a key and was told. Values are numbers; None is a key that is not there."""

    kind: str  # get, put, insert, delete, swap
    begun: float
    ended: float
    value: int | None = None  # what was read, or is written
    was: int | None = None  # of a swap: what it expected
    done: bool | None = True  # False: refused, since the key was (insert), was not (delete), or was another (swap); None: unknown
    who: str = ""

    def after(self, held: int | None) -> tuple[bool, int | None]:
        """Whether it may happen to a key that holds this, and what the key holds then."""
        if self.kind == "get":
            return self.value == held, held
        if self.kind == "put":
            return True, self.value
        if self.kind == "insert":
            would, then = held is None, self.value
        elif self.kind == "delete":
            would, then = held is not None, None
        else:
            would, then = held == self.was, self.value
        return self.done in (None, would), then if would else held


def fault_of(calls: Iterable[Call]) -> str | None:
    """None where the calls of a key are linearizable; else what they come to before no order helps any further."""
    known = sorted((call for call in calls if call.ended != NEVER), key=lambda call: call.begun)
    unknown = [call for call in calls if call.ended == NEVER]
    whole = (1 << len(known)) - 1
    best, stuck = -1, 0
    seen: set[tuple[int, int, Any, bool]] = set()
    # Which are done of the known and of the unknown, what is held, and whether nobody has looked at what an unknown one did.
    stack: list[tuple[int, int, Any, bool]] = [(0, 0, None, False)]
    while stack:
        state = stack.pop()
        done, spent, held, fresh = state
        if done == whole:
            return None
        if state in seen:
            continue
        seen.add(state)
        if done.bit_count() > best:
            best, stuck = done.bit_count(), done
        first = _first_missing(done)
        until, open_ = NEVER, []
        for at in range(first, len(known)):
            if known[at].begun > until:
                break
            if not done >> at & 1:
                until = min(until, known[at].ended)
                open_.append(at)
        # The last pushed is tried first: who ended first, and whose outcome is unknown last of all.
        for at, call in enumerate(unknown):
            if not spent >> at & 1 and call.begun <= until:
                fits, then = call.after(held)
                if fits and then != held and not (fresh and call.kind == "put"):
                    stack.append((done, spent | 1 << at, then, True))
        for at in sorted((at for at in open_ if known[at].begun <= until), key=lambda at: -known[at].ended):
            fits, then = known[at].after(held)
            if fits and not (fresh and known[at].kind == "put"):  # it would cover what then need not have happened
                stack.append((done | 1 << at, spent, then, False))
    return _told(known, unknown, stuck)


def _first_missing(done: int) -> int:
    return (~done & done + 1).bit_length() - 1


def _told(known: list[Call], unknown: list[Call], done: int) -> str:
    first = _first_missing(done)
    lines = [f"no order explains these calls; the first {first} of {len(known)} can be:"]
    lines += [f"  {'ok ' if done >> at & 1 else '   '} {known[at]}" for at in range(max(0, first - 4), min(len(known), first + 6))]
    return "\n".join(lines + [f"  unknown {call}" for call in unknown])


def faults_of(calls_by_key: dict[Any, list[Call]]) -> list[str]:
    found = ((key, fault_of(calls)) for key, calls in calls_by_key.items())
    return [f"key {key}: {fault}" for key, fault in found if fault is not None]
