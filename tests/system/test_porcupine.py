"""tests/system/test_porcupine.py -- the second opinion on histories finds what it must, and agrees with the first.

usage: test_porcupine.py [unittest options]

Without the program (`make test` builds it, where Go is) it is skipped; with OMENDB_REQUIRE_INTEROP=...,porcupine it fails.
"""
from __future__ import annotations

import json
import os
import random
import subprocess
import unittest
from typing import Any

import second_opinion
from histories import NEVER, Call, fault_of

REQUIRED = "porcupine" in os.environ.get("OMENDB_REQUIRE_INTEROP", "").split(",")


def drawn(draw: random.Random) -> list[Call]:
    """A few calls that overlap, with answers that may be true."""
    calls = []
    for value in range(draw.randint(1, 7)):
        kind = draw.choice(("put", "insert", "delete", "get", "get", "swap"))
        begun = draw.uniform(0, 5)
        ended = begun + draw.uniform(0.1, 3)
        read = draw.choice((None, *range(value))) if value else None
        done = None if kind == "put" else draw.random() < 0.7
        if kind != "get" and draw.random() < 0.2:
            ended, done = NEVER, None
        if kind == "get":
            calls.append(Call(kind, begun, ended, read))
        elif kind == "swap":
            calls.append(Call(kind, begun, ended, value, read, done))
        else:
            calls.append(Call(kind, begun, ended, None if kind == "delete" else value, None, done))
    return calls


class SecondOpinion(unittest.TestCase):
    def setUp(self) -> None:
        if not second_opinion.is_there():
            if REQUIRED:
                self.fail(f"{second_opinion.PROGRAM} is not there: run `make build/interop/go/porcupine`")
            self.skipTest("`make test` builds the program, where Go is")

    def test_a_history_that_no_order_explains_is_found_by_its_key(self) -> None:
        good = [Call("put", 0, 1, 1), Call("get", 2, 3, 1)]
        lost = [Call("put", 0, 1, 1), Call("get", 2, 3, None)]
        undone = [Call("put", 0, 1, 1), Call("delete", 2, 3), Call("get", 4, 5, 1)]
        self.assertEqual(second_opinion.faults_of({7: good}), [])
        found = second_opinion.faults_of({7: good, 8: lost, -9: undone})
        self.assertEqual(found, ["key -9: no order explains its 3 calls", "key 8: no order explains its 2 calls"])

    def test_what_is_unknown_may_have_happened_or_not(self) -> None:
        unknown = Call("put", 0, NEVER, 1, None, None)
        self.assertEqual(second_opinion.faults_of({1: [unknown, Call("get", 5, 6, 1)], 2: [unknown, Call("get", 5, 6, None)]}), [])
        self.assertEqual(len(second_opinion.faults_of({1: [unknown, Call("get", 5, 6, 1), Call("get", 7, 8, None)]})), 1)

    def test_both_say_the_same_of_histories_that_are_drawn(self) -> None:
        draw = random.Random(11)
        histories = {key: drawn(draw) for key in range(3000)}
        first = {key for key, calls in histories.items() if fault_of(calls) is not None}
        second = {int(line.split(":")[0].split()[1]) for line in second_opinion.faults_of(histories)}
        self.assertEqual(first, second)
        self.assertGreater(len(first), 300)  # else nothing was compared
        self.assertGreater(len(histories) - len(first), 300)

    def test_a_line_that_is_no_call_is_named(self) -> None:
        good: dict[str, Any] = {"key": 1, "kind": "put", "begun": 1, "ended": 2, "value": 3}
        for bad, words in (({"kind": "push"}, 'kind is "push"'), ({"key": None}, "no key"), ({"ended": 0}, "before it began")):
            lines = "\n".join(map(json.dumps, (good, {**good, **bad})))
            run = subprocess.run([second_opinion.PROGRAM], input=lines, capture_output=True, text=True, check=False)
            self.assertEqual(run.returncode, 2)
            self.assertIn("line 2: ", run.stderr)
            self.assertIn(words, run.stderr)


if __name__ == "__main__":
    unittest.main()
