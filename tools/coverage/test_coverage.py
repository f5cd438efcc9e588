"""tools/coverage/test_coverage.py -- what counts as a branch, what does not, and when the bar is missed.

usage: python3 tools/coverage/test_coverage.py
"""
from __future__ import annotations

import pathlib
import shutil
import subprocess
import sys
import tempfile
import unittest

import branches

TOOL = pathlib.Path(__file__).resolve().parent
SOURCE = """#define ASSERT(condition) ((condition) ? (void)0 : __builtin_abort())
int sign(int number);

int
sign(int number)
{
    ASSERT(number > -10 && number < 10);
    if (number > 0)
        return 1;
    return number < 0 ? -1 : 0;
}
"""


def document(here: pathlib.Path, path: str, *lines: tuple[str, int, list[int]]) -> dict:
    """What gcov says of one object, of which we read no more than this."""
    return {"current_working_directory": str(here), "files": [{"file": path, "lines": [
        {"function_name": function, "line_number": number, "branches": [{"count": count} for count in counts]}
        for function, number, counts in lines]}]}


class TestAssertionLines(unittest.TestCase):
    def test_an_assert_reaches_to_its_last_parenthesis(self) -> None:
        self.assertEqual(branches.assertion_lines("int a;\nASSERT(f(a) &&\n       b);\nif (a)\n"), {2, 3})

    def test_slow_ones_are_asserts_and_other_names_are_not(self) -> None:
        self.assertEqual(branches.assertion_lines("ASSERT_SLOW(a);\nMY_ASSERT(a);\nASSERTION(a);\n"), {1})

    def test_comments_and_texts_hold_no_assert_and_no_parenthesis(self) -> None:
        text = "// ASSERT(a)\n/* ASSERT(\n a) */\nputs(\"ASSERT(\");\nASSERT(c != '(');\nif (a)\n"
        self.assertEqual(branches.assertion_lines(text), {5})


class TestMerge(unittest.TestCase):
    def setUp(self) -> None:
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)
        self.root = pathlib.Path(self.folder.name).resolve()
        (self.root / "raft").mkdir()
        (self.root / "raft" / "vote.h").write_text("if (a)\nASSERT(a);\nif (b)\n")

    def merged(self, *documents: dict) -> list[branches.File]:
        return branches.merge(documents, self.root, ("raft",))

    def test_what_objects_took_of_a_header_is_added_up(self) -> None:
        files = self.merged(document(self.root, "raft/vote.h", ("f", 1, [1, 0])),
                            document(self.root / "build", "../raft/vote.h", ("f", 1, [0, 2])))
        self.assertEqual(files, [branches.File("raft/vote.h", {1: [1, 2]})])

    def test_two_functions_of_one_line_do_not_mix(self) -> None:
        files = self.merged(document(self.root, "raft/vote.h", ("f", 1, [1, 0]), ("g", 1, [0, 1, 0])))
        self.assertEqual(files[0].lines, {1: [1, 0, 0, 1, 0]})

    def test_branches_of_an_assert_do_not_count(self) -> None:
        files = self.merged(document(self.root, "raft/vote.h", ("f", 1, [1, 0]), ("f", 2, [5, 0]), ("f", 3, [1, 1])))
        self.assertEqual((files[0].taken, files[0].total), (3, 4))

    def test_other_folders_and_system_headers_are_left_out(self) -> None:
        self.assertEqual(self.merged(document(self.root, "base/text.h", ("f", 1, [1, 0])),
                                     document(self.root, "/usr/include/stdio.h", ("f", 1, [1, 0]))), [])

    def test_one_function_compiled_in_two_ways_is_an_error_that_names_the_line(self) -> None:
        with self.assertRaisesRegex(ValueError, "raft/vote.h:1"):
            self.merged(document(self.root, "raft/vote.h", ("f", 1, [1])),
                        document(self.root, "raft/vote.h", ("f", 1, [1, 0])))

    def test_what_nobody_took_is_told_with_its_line(self) -> None:
        told = branches.untaken([branches.File("raft/vote.h", {1: [1, 0], 3: [1, 1]})], self.root)
        self.assertEqual(told, "raft/vote.h:1: 1 of 2 never taken: if (a)")


class TestBar(unittest.TestCase):
    files = (branches.File("raft/a.c", {1: [1] * 19 + [0]}), branches.File("raft/b.c", {}),
             branches.File("gossip/a.c", {1: [1] * 18, 2: [0, 0]}))

    def test_a_folder_at_the_bar_passes_and_one_below_does_not(self) -> None:
        self.assertEqual(branches.below(self.files, 95.0), ["gossip"])

    def test_where_each_file_has_to_reach_it_one_below_does_not_pass_with_its_folder(self) -> None:
        files = (branches.File("raft/a.c", {1: [1] * 99}), branches.File("raft/b.c", {1: [1, 0]}))
        self.assertEqual(branches.below(files, 95.0), [])
        self.assertEqual(branches.below(files, 95.0, ("raft",)), ["raft/b.c"])

    def test_the_table_has_a_line_for_each_file_with_branches_and_each_folder(self) -> None:
        names = [line.split()[0] for line in branches.table(self.files).splitlines() if line]
        self.assertEqual(names, ["file", "raft/a.c", "raft/", "gossip/a.c", "gossip/"])


@unittest.skipUnless(shutil.which("gcc") and shutil.which("gcov"), "gcc and gcov are needed")
class TestWhole(unittest.TestCase):
    """A folder of one file, compiled as CMake does it, run and counted."""

    def setUp(self) -> None:
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)
        self.root = pathlib.Path(self.folder.name).resolve()
        objects = self.root / "build" / "CMakeFiles" / "omen_raft.dir" / "raft"
        objects.mkdir(parents=True)
        (self.root / "raft").mkdir()
        (self.root / "raft" / "sign.c").write_text(SOURCE)
        self.compile(objects)

    def compile(self, objects: pathlib.Path) -> None:
        (self.root / "main.c").write_text("int sign(int);\nint main(int count, char **words)\n"
                                          "{ (void)words; return sign(count) + sign(1 - count) + sign(2 - count); }\n")
        subprocess.run(["gcc", "--coverage", "-O0", "-c", "-o", objects / "sign.c.o", self.root / "raft" / "sign.c"],
                       cwd=objects, check=True)
        subprocess.run(["gcc", "--coverage", "-o", self.root / "main", self.root / "main.c", objects / "sign.c.o"],
                       cwd=self.root, check=True)

    def test_before_anything_ran_there_is_nothing_to_read(self) -> None:
        with self.assertRaisesRegex(branches.NothingToReadError, "nothing of raft has run"):
            branches.count(self.root / "build", self.root, ("raft",))
        with self.assertRaisesRegex(branches.NothingToReadError, "no replica that counts"):
            branches.count(self.root / "build", self.root, ("replica",))

    def test_each_run_takes_its_branches_and_the_assert_is_left_out(self) -> None:
        subprocess.run([self.root / "main"], check=False)
        (file,) = branches.count(self.root / "build", self.root, ("raft",))
        self.assertEqual((file.path, file.taken, file.total), ("raft/sign.c", 3, 4))
        subprocess.run([self.root / "main", "more"], check=False)
        (file,) = branches.count(self.root / "build", self.root, ("raft",))
        self.assertEqual((file.taken, file.total), (4, 4))


    def test_counts_that_gcov_cannot_read_are_an_error_in_its_words(self) -> None:
        subprocess.run([self.root / "main"], check=False)
        (counts,) = self.root.rglob("sign*.gcda")
        counts.write_bytes(b"nothing of the kind")
        with self.assertRaisesRegex(branches.NothingToReadError, "gcov cannot read .*sign.c.gcda"):
            branches.count(self.root / "build", self.root, ("raft",))


class TestCommand(unittest.TestCase):
    def test_a_build_that_is_not_there_ends_with_2_and_says_what_to_do(self) -> None:
        done = subprocess.run([sys.executable, TOOL, "--build", "/nonexistent"], capture_output=True, text=True, check=False)
        self.assertEqual(done.returncode, 2)
        self.assertIn("cmake --preset coverage", done.stderr)


if __name__ == "__main__":
    unittest.main()
