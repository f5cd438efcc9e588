"""`python -m omendb import` against the fake server: Parquet and HDF5, refused rows, going on, and how it ends."""

from __future__ import annotations

import datetime
import json
import os
import subprocess
import sys

import h5py
import numpy as np
import protocol
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import omendb
from omendb import importing, tables

pytestmark = pytest.mark.skipif(not protocol.methods(), reason="no C compiler, or not in a checkout")


@pytest.fixture
def docs(server):
    with omendb.connect(server.address, timeout=5.0) as client:
        yield client.create_collection("docs", 2, metric="l2")


@pytest.fixture
def run(server, capsys):
    """Runs it; returns how it ended, its summary (None where it says nothing) and what it said besides."""

    def run(*arguments):
        endpoints = server.address.removeprefix("omen://")
        code = importing.main([str(each) for each in ("-e", endpoints, "--timeout", 5, *arguments)])
        said = capsys.readouterr()
        return code, json.loads(said.out) if said.out else None, said.err

    return run


def parquet(path, vectors, type=None, **columns):
    table = pa.table({"vector": pa.array(vectors, type or pa.list_(pa.float32(), 2)), **columns})
    pq.write_table(table, path, row_group_size=3)
    return path


def hdf5(path, **datasets):
    with h5py.File(path, "w") as file:
        for name, values in datasets.items():
            file[name] = values
    return path


LINE = [[float(i), 0.0] for i in range(10)]


def test_columns_of_parquet_become_ids_vectors_and_payloads(run, docs, tmp_path):
    day = datetime.date(2026, 11, 27)
    path = parquet(
        tmp_path / "points.parquet",
        LINE,
        id=[f"doc-{i}" for i in range(10)],
        n=[None, *range(1, 10)],
        day=[day] * 10,
        at=[datetime.datetime(2026, 11, 27, 12)] * 10,
    )
    code, said, _ = run("docs", path, "--batch", 4)
    assert code == 0
    assert (said["rows"], said["written"], said["refused"], said["format"]) == (10, 10, 0, "parquet")
    assert docs.get("doc-3").vector.tolist() == [3.0, 0.0]
    at = datetime.datetime(2026, 11, 27, 12, tzinfo=datetime.UTC)
    assert docs.get("doc-3").payload == {"n": 3, "day": "2026-11-27", "at": at}
    assert "n" not in docs.get("doc-0").payload


def test_a_dataset_of_hdf5_becomes_points_that_are_numbered(run, docs, tmp_path):
    path = hdf5(tmp_path / "line.hdf5", train=np.array(LINE, np.float32), test=np.ones((2, 2)))
    code, said, _ = run("docs", path, "--first-id", 100, "--batch", 3)
    assert (code, said["written"], said["format"]) == (0, 10, "hdf5")
    assert docs.get(107).vector.tolist() == [7.0, 0.0]
    assert docs.count() == 10


def test_the_dataset_and_the_ids_may_be_named(run, docs, tmp_path):
    path = hdf5(tmp_path / "file.h5", **{"a/v": np.array(LINE), "a/names": [f"x{i}" for i in range(10)]})
    assert run("docs", path, "--vector", "a/v", "--id", "a/names")[0] == 0
    assert docs.get("x4").vector.tolist() == [4.0, 0.0]


def test_rows_that_are_refused_are_named_and_the_others_written(run, docs, tmp_path):
    vectors = [*LINE[:4], None, [1.0, None], [float("nan"), 0.0], [1.0], *LINE[8:]]
    path = parquet(tmp_path / "bad.parquet", vectors, pa.list_(pa.float32()), id=[0, 1, -2, *range(3, 10)])
    code, said, err = run("docs", path, "--refused", tmp_path / "refused.ndjson")
    assert code == 8
    assert (said["written"], said["refused"]) == (5, 5)
    assert "5 of 10 rows were refused" in err
    listed = [json.loads(line) for line in (tmp_path / "refused.ndjson").read_text().splitlines()]
    assert sorted((each["row"], each["error"]) for each in listed) == [
        (2, "IdRangeError"),
        (4, "DimensionError"),
        (5, "NotFiniteError"),
        (6, "NotFiniteError"),
        (7, "DimensionError"),
    ]
    assert {each["status"] for each in listed} == {"ID_RANGE", "DIMENSION", "NOT_FINITE"}  # omenctl's words beside ours
    assert all(each["reason"] == each["message"] and "upsert" not in each["reason"] for each in listed)
    assert {each["status"]: each["rows"] for each in said["reasons"]}["NOT_FINITE"] == 2
    reasons = {each["error"]: each["count"] for each in said["reasons"]}
    assert reasons == {"IdRangeError": 1, "DimensionError": 2, "NotFiniteError": 2}
    assert [point is not None for point in docs.get(list(range(10)))] == [True] * 2 + [False] + [True] + [False] * 4 + [
        True
    ] * 2


def test_a_payload_that_cannot_be_one_is_its_rows_alone(run, docs, tmp_path):
    whole = pa.array([[("a", 1)]] * 10, pa.map_(pa.string(), pa.decimal128(3)))
    path = parquet(tmp_path / "decimals.parquet", LINE, money=whole)
    code, said, _ = run("docs", path, "--limit", 2)
    assert (code, said["written"], said["reasons"][0]["error"]) == (8, 0, "PayloadError")
    assert docs.count() == 0


@pytest.mark.parametrize("skip", [0, 2, 3, 4, 9, 10])
@pytest.mark.parametrize("limit", [None, 0, 1, 5])
def test_skip_and_limit_take_just_those_rows(run, docs, tmp_path, skip, limit):
    path = parquet(tmp_path / "line.parquet", LINE)
    some = [] if limit is None else ["--limit", limit]
    code, said, _ = run("docs", path, "--skip", skip, "--batch", 2, *some)
    wanted = list(range(10))[skip : None if limit is None else skip + limit]
    assert (code, said["written"]) == (0, len(wanted))
    assert [each.id for each in docs.get(list(range(10))) if each is not None] == wanted


def test_it_goes_on_where_it_was(run, docs, tmp_path):
    path, note = parquet(tmp_path / "line.parquet", LINE), tmp_path / "note"
    assert run("docs", path, "--resume", note, "--limit", 4, "--batch", 3)[0] == 0
    assert note.read_text().splitlines()[-1] == "rows: 4"
    code, said, err = run("docs", path, "--resume", note)
    assert (code, said["first_row"], said["rows"], note.read_text().splitlines()[-1]) == (0, 4, 6, "rows: 10")
    assert f"begins at row 4, as {note} says" in err


def test_a_note_of_another_import_is_refused_by_name_and_nothing_is_written(run, docs, server, tmp_path):
    path, note = parquet(tmp_path / "line.parquet", LINE), tmp_path / "note"
    with omendb.connect(server.address, timeout=5.0) as client:
        other = client.create_collection("other", 2, metric="l2")
        assert run("docs", path, "--resume", note)[0] == 0
        code, said, err = run("other", path, "--resume", note)
        assert (code, said) == (4, None) and "collection is 'docs' there, and 'other' here" in err
        assert other.count() == 0
    code, _, err = run("docs", path, "--resume", note, "--first-id", 5)
    assert code == 4 and "first-id is '0' there, and '5' here" in err
    parquet(path, LINE)
    code, _, err = run("docs", path, "--resume", note)
    assert code == 4 and "last change of the input is" in err


@pytest.mark.parametrize(
    ("change", "code", "words"),
    [
        (lambda text: "2000\n", 4, "it says 2000 rows, but not of which collection and file"),
        (lambda text: "ten", 2, "does not say how far"),
        (lambda text: "", 2, "does not say how far"),
        (lambda text: text[:-1], 2, "does not say how far"),
        (lambda text: text + "more: 1\n", 2, "does not say how far"),
        (lambda text: text.replace("input: ", "put: ", 1), 4, "does not say 'input'"),
    ],
)
def test_a_note_that_does_not_say_of_what_it_is_is_refused(run, docs, tmp_path, change, code, words):
    path, note = parquet(tmp_path / "line.parquet", LINE), tmp_path / "note"
    assert run("docs", path, "--resume", note)[0] == 0
    note.write_text(change(note.read_text()))
    got, said, err = run("docs", path, "--resume", note)
    assert (got, said) == (code, None) and words in err


def test_a_failure_in_the_middle_says_how_to_go_on(run, docs, tmp_path, monkeypatch):
    path = parquet(tmp_path / "line.parquet", LINE)
    put = importing.Importer.put

    def fails(self, rows):
        if rows.first >= 6:
            raise omendb.errors.OmenTimeoutError("too late")
        put(self, rows)

    monkeypatch.setattr(importing.Importer, "put", fails)
    code, said, err = run("docs", path, "--batch", 3, "--resume", tmp_path / "note")
    assert (code, said) == (6, None)
    assert "to go on: --skip 6" in err and "too late" in err
    assert (tmp_path / "note").read_text().endswith("\nrows: 6\n")
    assert docs.count() == 6


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["docs", "none.parquet"], 3, "none.parquet: no such file"),
        (["docs", "."], 2, "does not end in .parquet"),
        (["docs", "text.parquet"], 2, "text.parquet: no Parquet file"),
        (["docs", "text.hdf5"], 2, "text.hdf5: no HDF5 file"),
        (["docs", "text.npy"], 2, "omenctl import reads npy"),
        (["none", "line.parquet"], 3, "none"),
        (["docs", "line.parquet", "--vector", "v"], 3, "no column 'v'; it has vector, id"),
        (["docs", "line.parquet", "--id", "x"], 3, "no column 'x'; it has vector, id"),
        (["docs", "line.parquet", "--vector", "id"], 2, "'id' has the type int64, expected lists of numbers"),
        (["docs", "line.parquet", "--skip", "11"], 2, "11 rows are to be skipped, but the file has 10 rows"),
        (["docs", "line.parquet", "--refused", "none/list"], 2, "No such file"),
        (["docs", "line.parquet", "--api-key-file", "none"], 2, "none: No such file"),
        (["docs", "wide.hdf5"], 4, "the rows have 3 components, the collection 2; nothing was changed"),
        (["docs", "wide.hdf5", "--vector", "t"], 3, "no dataset 't'; it has flat, train, words"),
        (["docs", "wide.hdf5", "--vector", "flat"], 2, "'flat' has 1 dimensions; rows of vectors have two"),
        (["docs", "wide.hdf5", "--vector", "words"], 2, "'words' has the type object, expected numbers"),
        (["docs", "wide.hdf5", "--id", "flat"], 2, "'flat' has the shape (2,) for 4 vectors"),
    ],
)
def test_what_is_wrong_is_named(run, docs, tmp_path, monkeypatch, arguments, code, words):
    monkeypatch.chdir(tmp_path)
    parquet(tmp_path / "line.parquet", LINE, id=range(10))
    hdf5(tmp_path / "wide.hdf5", train=np.ones((4, 3), np.float32), flat=np.ones(2), words=[["a"]])
    for name in ("text.parquet", "text.hdf5", "text.npy"):
        (tmp_path / name).write_text("no such thing")
    ended, said, err = run(*arguments)
    assert (ended, said) == (code, None)
    assert words in err
    assert docs.count() == 0


@pytest.mark.parametrize(
    ("option", "value"),
    [("--batch", "0"), ("--batch", "10001"), ("--first-id", str(2**63)), ("--skip", "-1"), ("--format", "npy")],
)
def test_an_option_outside_its_limits_is_a_wrong_command_line(run, option, value, capsys):
    with pytest.raises(SystemExit) as ended:
        run("docs", "file.parquet", option, value)
    assert ended.value.code == 2
    assert option in capsys.readouterr().err


def test_options_at_their_limits_are_taken(run, docs, tmp_path):
    path = parquet(tmp_path / "one.parquet", LINE[:1])
    assert run("docs", path, "--batch", 10_000, "--first-id", 2**63 - 1)[0] == 0
    assert docs.get(2**63 - 1).vector.tolist() == [0.0, 0.0]


def test_nobody_there_ends_as_omenctl_does(tmp_path, capsys):
    path = parquet(tmp_path / "line.parquet", LINE)
    assert importing.main(["-e", "127.0.0.1:1", "--timeout", "1", "docs", str(path)]) == 5
    assert "127.0.0.1:1" in capsys.readouterr().err


@pytest.mark.parametrize("package", ["pyarrow", "h5py"])
def test_a_package_that_is_missing_is_named(tmp_path, monkeypatch, package):
    monkeypatch.setitem(sys.modules, package, None)
    path = tmp_path / "file"
    path.touch()
    with pytest.raises(omendb.errors.UnsupportedError, match=rf"{package} is not installed: pip install 'omendb\["):
        tables.open_table(path, "hdf5" if package == "h5py" else "parquet", tables.Columns())


def test_python_m_omendb_knows_import_and_nothing_else():
    def ends(*arguments):
        folder = os.path.dirname(os.path.dirname(omendb.__file__))
        return subprocess.run(
            [sys.executable, "-m", "omendb", *arguments], capture_output=True, text=True, timeout=60, cwd=folder
        )

    helped = ends("import", "--help")
    assert helped.returncode == 0 and "COLLECTION INPUT" in helped.stdout
    wrong = ends("export")
    assert wrong.returncode == 2 and "'export'" in wrong.stderr
