"""tests/system/second_opinion.py -- what porcupine says of a history, where it was built (`make test` does, where Go is; tests/system/porcupine).

It is another search, by other people: where both find no fault, there is hardly one that the checker of ours passes over.
"""
from __future__ import annotations

import json
import pathlib
import subprocess
from collections.abc import Iterator, Mapping, Sequence

from histories import NEVER, Call

PROGRAM = pathlib.Path(__file__).resolve().parents[2] / "build/interop/go/porcupine"
UNDECIDED = 3  # its exit code


def is_there() -> bool:
    return PROGRAM.exists()


def _lines(calls_by_key: Mapping[int, Sequence[Call]]) -> Iterator[str]:
    for key, calls in calls_by_key.items():
        for call in calls:
            yield json.dumps({
                "key": key, "kind": call.kind, "begun": round(call.begun * 1e9),
                "ended": None if call.ended == NEVER else round(call.ended * 1e9),
                "value": call.value, "was": call.was, "done": call.done,
            })  # fmt: skip


def faults_of(calls_by_key: Mapping[int, Sequence[Call]]) -> list[str]:
    """A line for each key that no order explains. A key that was not decided in time is no fault."""
    run = subprocess.run([PROGRAM], input="\n".join(_lines(calls_by_key)), capture_output=True, text=True, check=False)
    if run.returncode not in (0, 1, UNDECIDED):
        raise AssertionError(f"porcupine ended with {run.returncode}: {run.stderr}")
    return [line for line in run.stdout.splitlines() if "no order" in line]
