"""The cases of clients/conformance: against the fake server, or the one at OMEN_ENDPOINT where that is set."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import protocol
import pytest
from fake_server import FakeServer

import omendb

FOLDER = Path(__file__).parents[2] / "conformance"
if not FOLDER.exists() or not protocol.methods():
    pytest.skip("no C compiler, or not in a checkout", allow_module_level=True)
sys.path.insert(0, str(FOLDER))
run = pytest.importorskip("run", reason="wants PyYAML")

REAL = os.environ.get("OMEN_ENDPOINT")
KEY = os.environ.get("OMEN_API_KEY") if REAL else "root.s3cret"
CASES = [case for case in run.all_cases() if case.wants != "nodes" and (KEY or case.wants != "keys")]


@pytest.fixture(scope="module")
def client():
    if REAL:
        with omendb.connect(REAL, api_key=KEY, timeout=20.0) as made:
            yield made
        return
    server = FakeServer(KEY)
    with omendb.connect(server.address, api_key=KEY) as made:
        yield made
    server.close()


@pytest.mark.parametrize("case", CASES, ids=str)
def test_case(client, case):
    case.run(client)


def test_every_method_that_the_clients_use_has_a_case():
    called = {step["call"] for case in run.all_cases() if case.wants != "nodes" for step in case.steps}
    nouns = ("point.", "query.", "collection.", "alias.", "key.")
    lacking = {name for name in protocol.methods() if name.startswith(nouns)} - called
    assert lacking == {"collection.update", "collection.optimize", "collection.build"}  # they take a cluster's time


@pytest.mark.parametrize(
    ("said", "got"),
    [
        ({"a": 1}, {"a": 2}),
        ({"a": 1}, {}),
        ({"a": 1}, 7),
        ([1], [1, 2]),
        ([1], None),
        (1.5, 1.6),
        (True, 1),
        (1, True),
        ("x", "y"),
        (None, 0),
        ({"$any": 1}, None),
        ({"$length": 2}, [1]),
        ({"$least": 2}, [1]),
        ({"$least": 2}, 1),
        ({"$least": 2}, "x"),
        ({"$has": "x"}, "y"),
        ({"$i64": [1]}, b"\x02\x00\x00\x00\x00\x00\x00\x00"),
        ({"$i64": [1]}, b"\x02"),
        ({"$f32": [1]}, [2.0]),
        ({"$repeat": ["x", 2]}, "x"),
    ],
)
def test_what_is_not_as_expected_is_unexpected(said, got):
    case = run.Case("file", "name", [])
    with pytest.raises(run.Unexpected):
        case.expect(said, got)


def test_a_step_that_fails_is_named_and_leaves_nothing_behind(client):
    made = {"call": "collection.create", "with": {"name": "$docs", "dimension": 3}}
    case = run.Case(
        "file", "name", [made, {"call": "point.count", "with": {"collection": "$docs"}, "expect": {"count": 9}}]
    )
    with pytest.raises(run.Unexpected, match=r"step 2, point.count: answer.count is 0, expected 9"):
        case.run(client)
    with pytest.raises(omendb.errors.NotFoundError):
        client.call("collection.get", {"collection": case.known["docs"]})
    wrong = run.Case("file", "name", [{"call": "point.count", "with": {"collection": "$docs"}, "error": "BUSY"}])
    with pytest.raises(run.Unexpected, match=r"NotFoundError: .* expected BUSY"):
        wrong.run(client)
    silent = run.Case("file", "name", [{"call": "system.ping", "error": "BUSY"}])
    with pytest.raises(run.Unexpected, match="expected an error"):
        silent.run(client)
