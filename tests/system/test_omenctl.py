"""tests/system/test_omenctl.py -- what scripts hold on to: omenctl's words, exit codes, and which stream says what.

usage: python3 tests/system/test_omenctl.py OMENCTL NEWER_FORMAT PLAIN_DEVICE
"""
from __future__ import annotations

import json
import os
import pathlib
import pty
import re
import shutil
import struct
import subprocess
import sys
import tempfile
import unittest

OMENCTL = str(pathlib.Path(sys.argv[1]).resolve())
NEWER_FORMAT = str(pathlib.Path(sys.argv[2]).resolve())  # tests/system/newer.c
PLAIN_DEVICE = str(pathlib.Path(sys.argv[3]).resolve())  # tests/plain_device.c

FINE, OTHER, USAGE, NOT_FOUND, PRECONDITION, PARTIAL, CORRUPT, VERSION = 0, 1, 2, 3, 4, 8, 10, 11


class Done:
    def __init__(self, done: subprocess.CompletedProcess[str]) -> None:
        self.code, self.out, self.talk = done.returncode, done.stdout, done.stderr

    @property
    def json(self) -> object:
        return json.loads(self.out)


def omenctl(*words: object, stdin: str = "", **how: object) -> Done:
    command = [OMENCTL, *map(str, words)]
    return Done(subprocess.run(command, input=stdin, capture_output=True, text=True, check=False, timeout=300, **how))


class Case(unittest.TestCase):
    def setUp(self) -> None:
        self.folder = pathlib.Path(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, self.folder)

    def check_refused(self, done: Done, code: int, *parts: str) -> None:
        self.assertEqual((done.code, done.out), (code, ""), done.talk)
        for part in parts:
            self.assertIn(part, done.talk)

    def check_fine(self, done: Done) -> Done:
        self.assertEqual(done.code, FINE, done.talk)
        return done


class TestUsage(Case):
    def test_what_is_wrong_with_a_command_line_is_named_and_ends_with_2(self) -> None:
        for words, part in {
            (): "usage: omenctl NOUN VERB",
            ("nonsense",): "'nonsense'",
            ("file",): "verify",
            ("file", "nonsense"): "'nonsense'",
            ("file", "info"): "PATH",
            ("file", "info", "a", "b"): "'b' is one too many",
            ("file", "info", "a", "--nonsense"): "--nonsense",
            ("file", "info", "-z", "a"): "-z",
            ("file", "info", "a", "--yes"): "--yes",
            ("file", "info", "a", "-o"): "-o wants an argument",
            ("file", "info", "a", "-o", "xml"): "'xml'",
            ("-o", "xml", "version"): "'xml'",
            ("version", "more"): "'more'",
            ("completion",): "SHELL",
            ("completion", "tcsh"): "'tcsh'",
            ("help", "nonsense"): "'nonsense'",
            ("help", "file", "nonsense"): "'nonsense'",
            ("file", "search", "a"): "either --vector or --id",
            ("file", "search", "a", "--id", "1", "--vector", "[1]"): "either --vector or --id",
            ("file", "search", "a", "--id", "1", "-k", "0"): "--k is '0'",
            ("file", "search", "a", "--id", "1", "-k", "10001"): "--k is '10001'",
            ("file", "search", "a", "--id", "1", "-k", "1x"): "--k is '1x'",
            ("file", "search", "a", "--id", "1", "-k", "-1"): "--k is '-1'",
            ("file", "search", "a", "--id", "1", "--ef", "4294967296"): "--ef",
            ("file", "search", "a", "--id", "1", "--target-recall", "1"): "--target-recall",
            ("file", "search", "a", "--id", "1", "--target-recall", "nan"): "--target-recall",
            ("file", "search", "a", "--id", "1", "--with", "all"): "--with",
            ("file", "convert", "a"): "INPUT PATH",
            ("file", "convert", "a", "b", "--metric", "l1"): "'l1'",
            ("file", "convert", "a", "b", "--m", "65"): "--m is '65'",
            ("file", "convert", "a.pdf", "b"): "--format",
        }.items():
            with self.subTest(words=words):
                self.check_refused(omenctl(*words), USAGE, part)

    def test_help_goes_to_stdout_and_covers_every_command(self) -> None:
        text = self.check_fine(omenctl("help")).out
        self.assertEqual(self.check_fine(omenctl("--help")).out, text)
        for noun in ("file", "completion", "help", "version"):
            self.assertIn(f"\n  {noun} ", text)
        verbs = self.check_fine(omenctl("help", "file")).out
        self.assertEqual(self.check_fine(omenctl("file", "--help")).out, verbs)
        for verb in ("info", "verify", "search", "build", "compact", "convert", "copy"):
            self.assertIn(f"\n  {verb} ", verbs)
            own = self.check_fine(omenctl("help", "file", verb)).out
            self.assertEqual(self.check_fine(omenctl("file", verb, "-h")).out, own)
            self.assertEqual("--yes" in own, verb == "compact")
            self.assertEqual("--dry-run" in own, verb in ("build", "compact", "convert", "copy"))

    def test_summaries_stand_in_a_column_beside_the_longest_name_too(self) -> None:
        for words in (["help"], ["help", "shard"], ["help", "collection"], ["help", "cluster"]):
            listed = self.check_fine(omenctl(*words)).out.split("\n\n")[2 if words == ["help"] else 1]
            columns = {len(re.match(r"  \S+ +", line)[0]) for line in listed.splitlines()}  # type: ignore[index]
            self.assertEqual(len(columns), 1, listed)
        self.assertIn("force-primary", self.check_fine(omenctl("help", "shard")).out)

    def test_the_help_of_create_says_what_holds_where_nothing_is_said(self) -> None:
        text = self.check_fine(omenctl("help", "collection", "create")).out
        for said in ("(cosine)", "(f32)", "(one a node with data, 16 at most)", "(3, or one a node where there are fewer)", "(16)", "(200)"):
            self.assertIn(said, text)

    def test_version_is_a_line_or_a_document(self) -> None:
        self.assertRegex(self.check_fine(omenctl("version")).out, r"\Aomenctl \d+\.\d+\.\d+\n\Z")
        version = self.check_fine(omenctl("version", "-o", "json")).json["version"]
        self.assertEqual(self.check_fine(omenctl("-o", "yaml", "version")).out, f'"version": "{version}"\n')
        self.assertEqual(self.check_fine(omenctl("--version")).out, f"omenctl {version}\n")
        self.assertEqual(self.check_fine(omenctl("-o", "yaml", "--version")).out, f'"version": "{version}"\n')

    def test_options_may_stand_anywhere_and_be_shortened_like_getopt_does(self) -> None:
        missing = self.folder / "none"
        for words in (("-q", "file", "info", missing), ("file", "info", "-q", missing), ("file", "info", missing, "--qui"),
                      ("file", "info", "--", missing)):
            self.assertNotIn("option", omenctl(*words).talk)

    def test_a_full_disk_behind_stdout_is_no_success(self) -> None:
        with open("/dev/full", "w") as full:
            done = subprocess.run([OMENCTL, "help"], stdout=full, stderr=subprocess.PIPE, text=True, check=False)
        self.assertEqual(done.returncode, OTHER)
        self.assertIn("stdout", done.stderr)


def write_fbin(path: pathlib.Path, rows: list[list[float]]) -> pathlib.Path:
    flat = [value for row in rows for value in row]
    path.write_bytes(struct.pack("<II", len(rows), len(rows[0])) + struct.pack(f"<{len(flat)}f", *flat))
    return path


def write_npy(path: pathlib.Path, descr: str, shape: str, data: bytes) -> pathlib.Path:
    head = f"{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}".encode()
    path.write_bytes(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(head)) + head + data)
    return path


class TestConvertDry(Case):
    """What is said before anything is made."""

    def dry(self, *words: object) -> Done:
        done = omenctl("file", "convert", *words, "--dry-run", "-o", "json")
        self.assertFalse((self.folder / "index").exists())
        return done

    def test_a_dry_run_says_what_the_input_is_and_makes_nothing(self) -> None:
        to = self.folder / "index"
        source = write_fbin(self.folder / "a.fbin", [[1.0, 2.0, 3.0]] * 7)
        self.assertEqual(self.check_fine(self.dry(source, to, "--skip", 1, "--limit", 5)).json, {
            "input": str(source), "format": "fbin", "path": str(to), "dry_run": True, "dimension": 3,
            "input_dtype": "f32", "rows": 5})
        half = write_npy(self.folder / "b.npy", "<f2", "(4, 6)", bytes(48))
        about = self.check_fine(self.dry(half, to)).json
        self.assertEqual((about["format"], about["input_dtype"], about["dimension"], about["rows"]), ("npy", "f16", 6, 4))
        plain = self.folder / "vectors"
        plain.write_bytes(source.read_bytes())
        self.assertEqual(self.check_fine(self.dry(plain, to, "--format", "fbin")).json["rows"], 7)

    def test_what_is_wrong_is_named_and_has_its_exit_code(self) -> None:
        to = self.folder / "index"
        source = write_fbin(self.folder / "a.fbin", [[1.0, 2.0]] * 3)
        cut = self.folder / "cut.fbin"
        cut.write_bytes(source.read_bytes()[:-1])
        full = self.folder / "full"
        full.mkdir()
        (full / "thing").touch()
        double = write_npy(self.folder / "d.npy", "<f8", "(1, 2)", bytes(16))
        for code, part, words in (
            (NOT_FOUND, "none.npy", (self.folder / "none.npy", to)),
            (NOT_FOUND, "none.txt", (source, to, "--ids", self.folder / "none.txt")),
            (NOT_FOUND, "none.ndjson", (source, to, "--payloads", self.folder / "none.ndjson")),
            (USAGE, "announces 3 rows", (cut, to)),
            (USAGE, "not a regular file", (full, to, "--format", "npy")),
            (PRECONDITION, "f8", (double, to)),
            (PRECONDITION, "not empty", (source, full)),
            (USAGE, "nothing is rounded", (source, to, "--dtype", "u8")),
            (USAGE, "the file has 3 rows", (source, to, "--skip", 4)),
            (USAGE, "2^63-1", (source, to, "--first-id", 2**63 - 2)),
            (USAGE, "not NAME:TYPE", (source, to, "--index-fields", "a:keyword,b")),
            (USAGE, "not with --append", (source, to, "--append", "--m", 8)),
        ):
            with self.subTest(words=words):
                self.check_refused(self.dry(*words), code, part)


class TestFile(Case):
    """The verbs on an index of 500 rows, {row, 1, 2, 3}, of which 7 and 100 are bad."""

    ROWS = 500

    def setUp(self) -> None:
        super().setUp()
        self.path = self.folder / "index"
        rows = [[float(row), 1.0, 2.0, 3.0] for row in range(self.ROWS)]
        rows[7][1] = rows[100][2] = float("nan")
        self.source = write_fbin(self.folder / "a.fbin", rows)

    def convert(self, *words: object, path: pathlib.Path | None = None) -> Done:
        return omenctl("file", "convert", self.source, path or self.path, "--metric", "l2", "-o", "json", *words)

    def search(self, *words: object, stdin: str = "") -> list[dict[str, object]]:
        return self.check_fine(omenctl("file", "search", self.path, "-o", "json", *words, stdin=stdin)).json

    def info(self, path: pathlib.Path | None = None) -> dict[str, dict[str, object]]:
        return self.check_fine(omenctl("file", "info", path or self.path, "-o", "json")).json

    def test_converted_rows_are_found_and_refused_ones_are_named(self) -> None:
        refused = self.folder / "refused.ndjson"
        done = self.convert("--refused", refused)
        self.assertEqual(done.code, PARTIAL)
        self.assertIn("2 of 500 rows were refused", done.talk)
        summary = done.json
        self.assertEqual((summary["added"], summary["refused"]), (498, 2))
        self.assertEqual(summary["reasons"], [
            {"status": "NOT_FINITE", "rows": 2, "first_row": 7, "example": "component 1 is NaN"}])
        self.assertEqual([json.loads(line)["row"] for line in refused.read_text().splitlines()], [7, 100])
        self.assertEqual(self.search("--vector", "[42, 1, 2, 3]", "-k", 3, "--exact"), [
            {"id": 42, "distance": 0}, {"id": 41, "distance": 1}, {"id": 43, "distance": 1}])

    def test_every_way_to_give_a_vector_asks_the_same(self) -> None:
        self.convert()
        expected = self.search("--vector", "[3, 1, 2, 3]")
        text = self.folder / "v.json"
        text.write_text("[3.0, 1, 2, 3]\n")
        npy = write_npy(self.folder / "v.npy", "<f4", "(4,)", struct.pack("<4f", 3, 1, 2, 3))
        self.assertEqual(self.search("--vector", f"@{text}"), expected)
        self.assertEqual(self.search("--vector", f"@{npy}"), expected)
        self.assertEqual(self.search("--vector", "-", stdin="[3, 1, 2, 3]"), expected)
        self.assertEqual(self.search("--id", 3, "-k", 9), expected[1:])  # a point is not its own hit

    def test_payloads_text_ids_filters_and_vectors_come_back(self) -> None:
        ids, payloads = self.folder / "ids.txt", self.folder / "payloads"
        ids.write_text("".join(f"doc-{row}\n" for row in range(self.ROWS)))
        payloads.write_text("".join(json.dumps({"n": row, "city": ["Oslo", "Troms\u00f8"][row % 2]}) + "\n"
                                    for row in range(self.ROWS)))
        done = self.convert("--ids", ids, "--payloads", payloads, "--index-fields", "n:integer,city:keyword")
        self.assertEqual(done.code, PARTIAL)
        hits = self.search("--id", "doc-42", "-k", 2, "--exact", "--filter", 'city == "Oslo"', "--with", "payload,vector")
        self.assertEqual(hits[0], {"id": "doc-40", "distance": 4, "payload": {"n": 40, "city": "Oslo"},
                                   "vector": [40, 1, 2, 3]})
        self.assertEqual(hits[1]["id"], "doc-44")
        self.check_refused(omenctl("file", "search", self.path, "--id", "42"), NOT_FOUND, "42")
        self.check_refused(omenctl("file", "search", self.path, "--id", "doc-1", "--filter", "n >"), USAGE)
        self.check_refused(omenctl("file", "search", self.path, "--vector", "[1]"), USAGE, "1 components")

    def test_info_says_what_there_is(self) -> None:
        self.convert("--m", 8, "--dtype", "f16")
        info = self.info()
        self.assertEqual(info["format"], 1)
        self.assertRegex(info["uuid"], r"\A[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}\Z")
        self.assertEqual({key: info["options"][key] for key in ("dimension", "metric", "dtype", "algorithm", "m")},
                         {"dimension": 4, "metric": "l2", "dtype": "f16", "algorithm": "hnsw", "m": 8})
        self.assertEqual(info["rows"],
                         {"points": 498, "rows": 498, "deleted": 0, "tail": 498})  # too few for a graph
        self.assertEqual(info["checkpoint"]["rows"], 498)
        self.assertEqual(info["log"]["entries"], 0)
        self.assertEqual(info["file"]["bytes"], (self.path / "data.mdb").stat().st_size)
        arrays = {array["array"]: array["bytes"] for array in info["arrays"]}
        self.assertGreaterEqual(arrays["rows"], 498 * 4 * 2)
        self.assertLessEqual(sum(arrays.values()), info["file"]["bytes"])
        self.assertIn("metric", self.check_fine(omenctl("file", "info", self.path)).out)

    def test_interrupted_work_goes_on_with_append_and_skip(self) -> None:
        self.convert("--limit", 300)
        self.check_refused(self.convert(), PRECONDITION, "not empty")
        done = omenctl("file", "convert", self.source, self.path, "--append", "--skip", 300)
        self.check_fine(done)
        self.assertEqual(self.info()["rows"]["points"], 498)
        self.assertEqual(self.search("--vector", "[499, 1, 2, 3]", "-k", 1, "--exact")[0]["id"], 499)
        again = omenctl("file", "convert", self.source, self.path, "--append", "--skip", 300, "-o", "json")
        self.assertEqual((again.code, again.json["reasons"][0]["status"]), (PARTIAL, "EXISTS"))

    def test_what_added_no_row_does_not_say_how_to_go_on(self) -> None:
        ids = self.folder / "ids.txt"
        ids.write_text("1\n2\n")
        self.check_refused(self.convert("--ids", ids), USAGE, "the ids end before the vectors\nno row was added")

    def test_a_whole_index_verifies_and_a_damaged_one_ends_with_10(self) -> None:
        self.convert()
        report = self.check_fine(omenctl("file", "verify", self.path, "-o", "json")).json
        self.assertEqual((report["result"], report["points"]), ("whole", 498))
        data = bytearray((self.path / "data.mdb").read_bytes())
        row = struct.pack("<4f", 250, 1, 2, 3)
        self.assertGreater(data.find(row), 0)
        # Wherever it is: the first place may be on a page that the log had and nobody uses any more.
        damaged = data.replace(row, struct.pack("<4f", 251, 1, 2, 3))
        (self.path / "data.mdb").write_bytes(damaged)
        self.check_refused(omenctl("file", "verify", self.path), CORRUPT)

    def test_copies_are_whole_and_never_overwrite(self) -> None:
        self.convert()
        to = self.folder / "copy"
        self.check_fine(omenctl("file", "copy", self.path, to, "--dry-run"))
        self.assertFalse(to.exists())
        self.check_fine(omenctl("file", "copy", self.path, to))
        self.check_fine(omenctl("file", "verify", to))
        self.assertEqual(self.info(to)["rows"], self.info()["rows"])
        self.check_refused(omenctl("file", "copy", self.path, to), PRECONDITION, "not empty")

    def golden(self) -> None:
        self.path.mkdir()
        shutil.copy("tests/golden/format-1/data.mdb", self.path)

    def build(self, *words: object, plugin: str = "/nowhere/omendb_gpu.so") -> Done:
        return omenctl("file", "build", self.path, *words, "-o", "json", env={**os.environ, "OMEN_GPU_PLUGIN": plugin})

    def test_build_links_at_once_and_says_who_did(self) -> None:
        self.golden()
        dry = self.check_fine(self.build("--dry-run")).json
        self.assertEqual((dry["dry_run"], dry["points"]), (True, 1130))
        self.assertNotIn("backend", dry)
        self.check_fine(self.build())
        done = self.check_fine(self.build()).json  # now nothing is left to do
        self.assertEqual((done["unlinked_rows"], done["backend"], done["built_rows"]), (0, None, 0))
        done = self.check_fine(self.build("--again", "--gpu", "never", "--threads", 1)).json
        self.assertEqual((done["backend"], done["device"], done["reason"]), ("cpu", None, None))
        self.assertGreaterEqual(done["built_rows"], 1130)
        self.assertEqual(done["memory"], max(stage["memory"] for stage in done["stages"]))
        self.assertGreater({stage["name"]: stage["read"] for stage in done["stages"]}["leaves"], 0)
        self.check_fine(omenctl("file", "verify", self.path))

    def test_build_on_a_gpu_that_the_plain_device_plays(self) -> None:
        self.golden()
        done = self.check_fine(self.build("--again", "--gpu", "require", "--max-memory", 64 << 20, plugin=PLAIN_DEVICE)).json
        self.assertEqual((done["backend"], done["device"], done["reason"]), ("cuda", "cpu", None))
        self.assertGreaterEqual(done["built_rows"], 1130)
        self.assertGreater(done["seconds"], 0)
        self.assertEqual(self.info()["rows"]["tail"], 0)
        self.check_fine(omenctl("file", "verify", self.path))
        self.check_refused(self.build("--again", "--gpu", "require", "--max-memory", 1000, plugin=PLAIN_DEVICE), OTHER, "memory")

    def test_build_without_a_gpu_says_what_is_missing_or_goes_on(self) -> None:
        self.golden()
        self.check_refused(self.build("--gpu", "require"), PRECONDITION, "no GPU", "not installed", "/nowhere/omendb_gpu.so")
        self.assertEqual(self.check_fine(self.build("--gpu", "auto")).code, FINE)
        self.check_refused(self.build("--gpu", "perhaps"), USAGE, "perhaps")
        self.check_refused(self.build("--max-memory", "much"), USAGE, "much")
        self.check_refused(omenctl("file", "build", self.folder / "nothing", "-o", "json"), NOT_FOUND, "nothing")

    def test_compact_asks_first(self) -> None:
        self.path.mkdir()
        shutil.copy("tests/golden/format-1/data.mdb", self.path)  # it has deleted rows
        self.check_refused(omenctl("file", "compact", self.path), USAGE, "--yes")
        generation = self.info()["generation"]
        dry = self.check_fine(omenctl("file", "compact", self.path, "--dry-run", "-o", "json")).json
        self.assertEqual((dry["dry_run"], dry["points"], dry["deleted_rows"]), (True, 1130, 30))
        self.assertEqual(self.info()["rows"]["deleted"], 30)
        self.check_fine(omenctl("file", "compact", self.path, "--yes"))
        self.assertGreater(self.info()["generation"], generation)
        self.assertEqual(self.info()["rows"], {"points": 1130, "rows": 1130, "deleted": 0, "tail": 0})
        file = self.info()["file"]
        self.assertLess(file["free_bytes"], file["bytes"] // 8)
        self.check_fine(omenctl("file", "verify", self.path))

    def test_what_is_no_index_is_told_from_what_is_not_there(self) -> None:
        none, other = self.folder / "none", self.folder / "other"
        other.mkdir()
        (other / "data.mdb").write_bytes(b"something else" * 1000)
        for verb, more in (("info", ()), ("verify", ()), ("search", ("--id", 1)), ("compact", ("--yes",)),
                           ("copy", (self.folder / "to",))):
            with self.subTest(verb=verb):
                self.check_refused(omenctl("file", verb, none, *more), NOT_FOUND, "none")
                done = omenctl("file", verb, other, *more)
                self.assertIn(done.code, (USAGE, CORRUPT), done.talk)
                self.assertFalse(none.exists() or (self.folder / "to").exists())


class TestRefusals(Case):
    """What keeps a verb from its work ends with a code of its own, is said once, and changes nothing."""

    READING = (("info",), ("verify",), ("search", "--id", "doc-0003"), ("compact", "--dry-run"), ("copy", "TO"))
    WRITING = (("compact", "--yes"), ("convert", "--append"))

    def setUp(self) -> None:
        super().setUp()
        self.path = self.folder / "index"
        self.path.mkdir()
        self.data = self.path / "data.mdb"
        shutil.copy("tests/golden/format-1/data.mdb", self.data)
        self.rows = write_fbin(self.folder / "a.fbin", [[1.0] * 64, [2.0] * 64])

    def run_verb(self, verb: str, *more: str, **how: object) -> Done:
        words = [self.rows, self.path] if verb == "convert" else [self.path]
        words += [self.folder / "to" if word == "TO" else word for word in more]
        return omenctl("file", verb, *words, **how)

    def check_all_refused(self, verbs: tuple[tuple[str, ...], ...], code: int, part: str, **how: object) -> None:
        before = self.data.read_bytes()
        for verb in verbs:
            with self.subTest(verb=verb):
                done = self.run_verb(*verb, **how)
                self.check_refused(done, code, part)
                self.assertEqual(done.talk.count(str(self.path)), 1, done.talk)
                self.assertEqual(self.data.read_bytes(), before)
                self.assertFalse((self.folder / "to").exists())

    def check_all_fine(self, verbs: tuple[tuple[str, ...], ...], **how: object) -> None:
        for verb in verbs:
            with self.subTest(verb=verb):
                self.check_fine(self.run_verb(*verb, **how))

    def test_a_newer_format_ends_with_11(self) -> None:
        subprocess.run([NEWER_FORMAT, str(self.path)], check=True)
        self.check_all_refused(self.READING + self.WRITING, VERSION, "it has format 2")

    def test_a_file_that_was_cut_ends_with_10(self) -> None:
        for count in (8192, 100000, self.data.stat().st_size - 4096):
            os.truncate(self.data, count)
            self.check_all_refused(self.READING + self.WRITING, CORRUPT, f"has {count} bytes of")
            shutil.copy("tests/golden/format-1/data.mdb", self.data)

    def test_a_second_writer_ends_with_4_and_readers_go_on(self) -> None:
        self.check_fine(self.run_verb("compact", "--yes"))  # so that the other writer finds nothing to do
        terminal, other_end = pty.openpty()
        self.addCleanup(os.close, terminal)
        with subprocess.Popen([OMENCTL, "file", "compact", self.path], stdin=other_end, stdout=subprocess.PIPE,
                              stderr=other_end) as writer:
            os.close(other_end)
            asked = b""
            while b"?" not in asked:  # it asks with the index open
                asked += os.read(terminal, 1000)
            self.check_all_refused(self.WRITING, PRECONDITION, "another process writes to it")
            self.check_all_fine(self.READING)
            os.write(terminal, b"no\n")
            self.assertEqual((writer.wait(60), writer.stdout.read()), (OTHER, b""))

    @unittest.skipUnless(os.geteuid() == 0, "becomes somebody else")
    def test_what_may_not_be_written_can_be_read_and_what_may_not_be_read_ends_with_4(self) -> None:
        nobody = {"user": 65534, "group": 65534, "extra_groups": []}
        self.folder.chmod(0o755)
        self.path.chmod(0o755)
        self.data.chmod(0o644)
        self.check_all_refused(self.WRITING, PRECONDITION, "Permission denied", **nobody)
        self.check_all_fine(self.READING[:-1], **nobody)
        self.check_refused(self.run_verb("copy", "TO", **nobody), PRECONDITION, "Permission denied")
        self.assertEqual([entry.name for entry in self.path.iterdir()], ["data.mdb"])
        self.data.chmod(0o600)
        self.check_all_refused(self.READING + self.WRITING, PRECONDITION, "Permission denied", **nobody)
        self.path.chmod(0o700)
        self.check_all_refused(self.READING + self.WRITING, PRECONDITION, "Permission denied", **nobody)


class TestCompletion(Case):
    def complete(self, *words: str) -> set[str]:
        script = self.check_fine(omenctl("completion", "bash")).out
        line = " ".join(f"'{word}'" for word in ("omenctl", *words))
        program = f'{script}\nCOMP_WORDS=({line}); COMP_CWORD={len(words)}; _omenctl; printf "%s\\n" "${{COMPREPLY[@]}}"'
        done = subprocess.run(["bash", "-c", program], capture_output=True, text=True, check=False, cwd=self.folder)
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        return set(done.stdout.split())

    def test_bash_completes_nouns_verbs_options_choices_and_files(self) -> None:
        (self.folder / "vectors.npy").touch()
        self.assertEqual(self.complete(""), {
            "status", "check", "cluster", "node", "shard", "collection", "alias", "point", "query", "recall", "job", "key",
            "events", "system", "doctor", "top", "bench", "context", "import", "export", "file", "completion", "help", "version"})
        self.assertEqual(self.complete("fi"), {"file"})
        self.assertEqual(self.complete("file", "co"), {"compact", "convert", "copy"})
        self.assertEqual(self.complete("file", "search", "p", "--ta"), {"--target-recall"})
        self.assertEqual(self.complete("file", "build", "p", "--gpu", ""), {"auto", "require", "never"})
        self.assertEqual(self.complete("file", "convert", "--metric", ""), {"cosine", "l2", "ip"})
        self.assertEqual(self.complete("file", "convert", "v"), {"vectors.npy"})
        self.assertEqual(self.complete("file", "convert", "--ids", "v"), {"vectors.npy"})
        self.assertEqual(self.complete("file", "search", "p", "--ef", ""), set())
        self.assertEqual(self.complete("completion", ""), {"bash", "zsh", "fish"})
        self.assertEqual(self.complete("file", "info", "p", "-o", "j"), {"json"})

    def test_every_shell_that_is_here_reads_its_script(self) -> None:
        for shell in ("bash", "zsh", "fish"):
            script = self.check_fine(omenctl("completion", shell)).out
            for word in ("target-recall", "convert", "ndjson"):
                self.assertIn(word, script)
            if shutil.which(shell) is None:
                continue
            path = self.folder / shell
            path.write_text(script)
            subprocess.run([shell, "-n", path], check=True)


class TestManual(Case):
    def test_manual_page_has_every_command_and_no_complaint_of_man(self) -> None:
        page = self.check_fine(omenctl("help", "--man")).out
        for verb in ("info", "verify", "search", "build", "compact", "convert", "copy"):
            self.assertIn(f".SS omenctl file {verb} ", page)
        if shutil.which("groff"):
            done = subprocess.run(["groff", "-man", "-Tutf8", "-ww", "-z"], input=page, capture_output=True, text=True,
                                  check=True, env=os.environ | {"LC_ALL": "C.UTF-8"})
            self.assertEqual(done.stderr, "")


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
