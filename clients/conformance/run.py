"""Runs the cases of *.yaml against a server: OMEN_ENDPOINT=omen://localhost:7700 python clients/conformance/run.py.

README.md has what a case may say. It wants the Python client and PyYAML.
Exit 0: all as expected; 1: some are not; 2: no server.
"""

from __future__ import annotations

import argparse
import math
import os
import re
import secrets
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import omendb
import yaml
from omendb.client.session import Session
from omendb.client.values import packed_vectors
from omendb.client.wire import error_named, operation_id, vector_of

FOLDER = Path(__file__).parent
PAUSE_SECONDS = 0.05  # between the tries of a step that has time
NEAR = 1e-4
AHEAD = 1_000_000  # writes that a token is made to be of, and nobody has sent
_VARIABLE = re.compile(r"\$(\w+)\Z")
_READS = frozenset(
    [f"point.{verb}" for verb in ("get", "count", "scroll", "facet")] + [f"query.{verb}" for verb in ("search", "batch", "range", "recommend")]
)
_DTYPES = {"$f32": "<f4", "$f16": "<f2", "$i8": "i1", "$u8": "u1"}


class Unexpected(Exception):
    """Something is not as a case says."""


@dataclass
class Case:
    file: str
    name: str
    steps: list[dict[str, Any]]
    wants: str = ""  # "nodes": a server that only plays one need not have it; "keys": who asks must have said one
    known: dict[str, Any] = field(default_factory=dict)  # variables
    operations: dict[str, bytes] = field(default_factory=dict)
    session: Session = field(default_factory=Session)

    def __str__(self) -> str:
        return f"{self.file}: {self.name}"

    # ---- values ----

    def value(self, said: Any) -> Any:
        """What a request has in its place."""
        if isinstance(said, str) and (variable := _VARIABLE.match(said)):
            return self.variable(variable[1])
        if isinstance(said, list):
            return [self.value(each) for each in said]
        if not isinstance(said, dict):
            return said
        if len(said) == 1 and (word := next(iter(said), None)) and isinstance(word, str) and word.startswith("$"):
            return self.special(word, said[word])
        return {key: self.value(each) for key, each in said.items()}

    def variable(self, name: str) -> Any:
        return self.known.setdefault(name, f"{name}-{secrets.token_hex(6)}")

    def special(self, word: str, operand: Any) -> Any:
        if word in _DTYPES:
            return packed_vectors(np.array(operand, dtype=_DTYPES[word]))
        if word == "$bin":
            return np.array(operand, dtype="<f4").tobytes()
        if word == "$op":
            return self.operations.setdefault(operand, operation_id())
        if word == "$op_drawn":
            return int((time.time() + operand) * 1000).to_bytes(6, "big") + operation_id()[6:]
        if word == "$hex":
            return bytes.fromhex(operand)
        if word == "$repeat":
            return operand[0] * operand[1]
        if word == "$count":
            return list(range(*operand))
        if word == "$fill":
            return [operand[0]] * operand[1]
        if word == "$ahead":
            return {shard: [term, seq + AHEAD] for shard, (term, seq) in self.known[operand].items()}
        raise ValueError(f"{self}: no value {word!r}")

    # ---- expectations ----

    def expect(self, said: Any, got: Any, where: str = "answer") -> None:
        if isinstance(said, dict) and len(said) == 1 and str(next(iter(said))).startswith("$"):
            self.expect_special(*next(iter(said.items())), got, where)
        elif isinstance(said, dict):
            self.expect_map(said, got, where)
        elif isinstance(said, list):
            if not isinstance(got, list) or len(got) != len(said):
                raise Unexpected(f"{where} is {got!r}, expected a list of {len(said)}")
            for row, (one, other) in enumerate(zip(said, got, strict=True)):
                self.expect(one, other, f"{where}[{row}]")
        elif isinstance(said, float | int) and isinstance(got, float) and not isinstance(said, bool):
            if not math.isclose(said, got, rel_tol=NEAR, abs_tol=NEAR):
                raise Unexpected(f"{where} is {got!r}, expected about {said!r}")
        elif (wanted := self.value(said)) != got or isinstance(wanted, bool) != isinstance(got, bool):
            raise Unexpected(f"{where} is {got!r}, expected {wanted!r}")

    def expect_map(self, said: dict[str, Any], got: Any, where: str) -> None:
        if not isinstance(got, dict):
            raise Unexpected(f"{where} is {got!r}, expected a map")
        for key, each in said.items():
            if key not in got:
                raise Unexpected(f"{where} lacks {key!r}: {got!r}")
            self.expect(each, got[key], f"{where}.{key}")

    def expect_special(self, word: str, operand: Any, got: Any, where: str) -> None:
        fits = {
            "$any": lambda: got is not None,
            "$length": lambda: len(got) == operand,
            "$least": lambda: (len(got) if isinstance(got, list) else got) >= operand,
            "$has": lambda: str(self.value(operand)) in got,
            "$i64": lambda: np.frombuffer(got, "<i8").tolist() == operand,
            "$f32": lambda: np.allclose(vector_of(got), operand, rtol=NEAR, atol=NEAR),
        }.get(word, lambda: self.special(word, operand) == got)
        try:
            fitting = fits()
        except (TypeError, ValueError, AttributeError):  # of another kind altogether
            fitting = False
        if not fitting:
            raise Unexpected(f"{where} is {got!r}, expected {word}: {operand!r}")

    def expect_error(self, said: Any, error: omendb.OmenError) -> None:
        wanted = said if isinstance(said, dict) else {"name": said}
        kind = type(error_named(wanted["name"], ""))
        if type(error) is not kind:
            raise Unexpected(f"{type(error).__name__}: {error}, expected {wanted['name']}")
        words = str(self.value(wanted.get("message", "")))
        if words not in str(error):
            raise Unexpected(f"the error says {str(error)!r}, expected it to have {words!r}")
        if wanted.get("outcome", error.outcome) != error.outcome:
            raise Unexpected(f"the error's outcome is {error.outcome!r}, expected {wanted['outcome']!r}")

    # ---- steps ----

    def call(self, client: omendb.client.Client, step: dict[str, Any]) -> Any:
        """As part of a session the client's own way, where calls of any method have one."""
        method, asked = step["call"], self.value(step.get("with") or {})
        if not step.get("session"):
            return client.call(method, asked)
        if hasattr(client, "call_in_session"):
            return client.call_in_session(method, asked)
        if method in _READS and (after := self.session.after()):
            asked = {"consistency": "session", "after": after, **asked}
        answer = client.call(method, asked)
        self.session.saw(answer)
        return answer

    def step(self, client: omendb.client.Client, step: dict[str, Any]) -> None:
        try:
            answer = self.call(client, step)
        except omendb.OmenError as error:
            if "error" not in step:
                raise Unexpected(f"{type(error).__name__}: {error}") from None
            self.expect_error(step["error"], error)
            return
        if "error" in step:
            raise Unexpected(f"answered with {answer!r}, expected an error: {step['error']!r}")
        self.expect(step.get("expect", {}), answer)
        for path, name in (step.get("save") or {}).items():
            self.known[name] = _part(answer, path)

    def run(self, client: omendb.client.Client, patience: float = 1.0) -> None:
        """Raises Unexpected with the step that is not as it should be. A step that has time has `patience` times as much."""
        for number, step in enumerate(self.steps, 1):
            until = time.monotonic() + step.get("within", 0) * patience
            while True:
                try:
                    self.step(client, step)
                    break
                except Unexpected as fault:
                    if time.monotonic() >= until:
                        self.tidy_up(client)
                        raise Unexpected(f"step {number}, {step['call']}: {fault}") from None
                    time.sleep(PAUSE_SECONDS)

    def tidy_up(self, client: omendb.client.Client) -> None:
        for name in self.known.values():
            if isinstance(name, str) and re.fullmatch(r"\w+-[0-9a-f]{12}", name):
                client.call("collection.drop", {"collection": name, "if_exists": True})


def _part(answer: Any, path: str) -> Any:
    for key in path.split("."):
        answer = answer[int(key)] if isinstance(answer, list) else answer[key]
    return answer


def cases_of(path: Path) -> Iterator[Case]:
    document = yaml.safe_load(path.read_text())
    for each in document["cases"]:
        unknown = {key for step in each["steps"] for key in step} - {
            "call",
            "with",
            "expect",
            "error",
            "within",
            "save",
            "session",
        }
        if unknown:
            raise ValueError(f"{path.name}: {each['case']}: a step has {sorted(unknown)}")
        yield Case(path.stem, each["case"], each["steps"], document.get("wants", ""))


def all_cases(paths: list[Path] | None = None) -> list[Case]:
    return [case for path in paths or sorted(FOLDER.glob("*.yaml")) for case in cases_of(path)]


def main() -> int:
    parser = argparse.ArgumentParser(description="runs the cases against OMEN_ENDPOINT")
    parser.add_argument("files", nargs="*", type=Path)
    parser.add_argument("-k", metavar="WORDS", default="", help="only cases with these words in their names")
    parser.add_argument("--timeout", type=float, default=20.0, help="seconds for a call")
    options = parser.parse_args()
    endpoint = os.environ.get("OMEN_ENDPOINT")
    if not endpoint:
        parser.error("OMEN_ENDPOINT is not set: it names the server, omen://host:port")
    key = os.environ.get("OMEN_API_KEY")
    try:
        client = omendb.connect(endpoint, api_key=key, timeout=options.timeout)
    except omendb.OmenError as error:
        print(error, file=sys.stderr)
        return 2
    failed = 0
    chosen = [case for case in all_cases(options.files) if options.k in str(case) and (key or case.wants != "keys")]
    with client:
        for case in chosen:
            try:
                case.run(client)
                print(f"ok      {case}", flush=True)
            except (Unexpected, omendb.OmenError) as fault:
                failed += 1
                print(f"FAILED  {case}\n        {fault}", flush=True)
    print(f"{len(chosen)} cases, {failed} failed")
    return 1 if failed or not chosen else 0


if __name__ == "__main__":
    sys.exit(main())
