"""tools/tidy/test_tidy.py -- every rule catches its bad example and lets the good one pass.

usage: python3 tools/tidy/test_tidy.py
"""
from __future__ import annotations

import pathlib
import subprocess
import sys
import tempfile
import unittest

import prose
import rules

TIDY = pathlib.Path(__file__).resolve().parent
GOOD_C = """// index/walk.c -- walks.
//
// Shape: handle.
#include "index/walk.h"

#include <math.h>

#include "base/alloc.h"

int
walk(void)
{
    return 0;
}
"""


def source(text: str, path: str = "index/walk.c", first: bool = True) -> rules.Source:
    """A file whose first comment is right, so that only `text` can be wrong."""
    head = f"// {path} -- an idea.\n//\n// Shape: value.\n" if first else ""
    return rules.Source(path, head + text)


class RuleTest(unittest.TestCase):
    def assert_found(self, found: rules.Source, words: str, line: int | None = None) -> None:
        findings = rules.check(found)
        matching = [finding for finding in findings if words in finding]
        self.assertTrue(matching, f"no finding says {words!r}: {findings}")
        if line is not None:
            self.assertTrue(matching[0].startswith(f"{found.path}:{line}:"), matching)

    def assert_clean(self, found: rules.Source) -> None:
        self.assertEqual(rules.check(found), [])


class TestArrows(RuleTest):
    def test_good_file_is_clean(self) -> None:
        self.assert_clean(rules.Source("index/walk.c", GOOD_C))

    def test_upward_arrow_is_found(self) -> None:
        self.assert_found(source('#include "index/hnsw.h"\n', "base/text.c"), "base may include nothing", 4)
        self.assert_found(source('#include "shard/shard.h"\n'), "index may include base besides itself")

    def test_engines_do_not_know_each_other(self) -> None:
        self.assert_found(source('#include "storage/kv.h"\n'), "index may include base")
        self.assert_found(source('#include "index/hnsw.h"\n', "storage/kv_lmdb.c"), "storage may include base")

    def test_downward_arrow_is_clean(self) -> None:
        self.assert_clean(source('#include "index/hnsw.h"\n#include "base/text.h"\n', "shard/shard.c"))

    def test_some_headers_of_a_folder_may_be_allowed(self) -> None:
        self.assert_clean(source('#include "gpu/device.h"\n', "shard/shard.c"))
        self.assert_found(source('#include "gpu/kernel.h"\n', "shard/shard.c"), "shard may include")

    def test_private_header_of_another_folder_is_found(self) -> None:
        self.assert_clean(source('#include "index/hnsw_int.h"\n'))
        self.assert_found(source('#include "index/hnsw_int.h"\n', "shard/shard.c"), "private to index")

    def test_include_that_does_not_start_at_the_root_is_found(self) -> None:
        self.assert_found(source('#include "hnsw.h"\n'), 'start at the root ("index/hnsw.h")')

    def test_unknown_folder_is_found(self) -> None:
        self.assert_found(source("", "util/stuff.c"), "folder that ARCHITECTURE's table does not have")

    def test_tests_may_include_everything(self) -> None:
        self.assert_clean(source('#include "shard/shard.h"\n#include <check.h>\n', "tests/unit/base/test_text.c"))


class TestHomes(RuleTest):
    def test_third_party_header_away_from_home_is_found(self) -> None:
        self.assert_found(source("#include <roaring/roaring.h>\n"), "its home is shard/")
        self.assert_found(source("#include <xxhash.h>\n", "base/text.c"), "its home is base/hash.c")
        self.assert_found(source("#include <pthread.h>\n"), "its home is base/os_")
        self.assert_found(source("#include <immintrin.h>\n"), "its home is index/kernel/")

    def test_third_party_header_at_home_is_clean(self) -> None:
        self.assert_clean(source("#include <roaring/roaring.h>\n", "shard/field_index.c"))
        self.assert_clean(source("#include <immintrin.h>\n", "index/kernel/avx2.c"))

    def test_header_without_a_home_is_found(self) -> None:
        self.assert_found(source("#include <jansson.h>\n"), "has no home yet")


class TestBannedCalls(RuleTest):
    def test_banned_call_is_found(self) -> None:
        for call in ("strcpy(a, b)", "sprintf(a, b)", "atoi(a)", "rand()", "time(NULL)", "usleep(5)"):
            self.assert_found(source(f"x = {call};\n"), "is banned", 4)

    def test_heap_is_only_reached_through_its_door(self) -> None:
        self.assert_found(source("p = malloc(8);\n"), "use mem_alloc")
        self.assert_clean(source("p = malloc(8);\n", "base/alloc.c"))
        self.assert_clean(source("p = malloc(8);\n", "tests/lib/flat.c"))

    def test_names_in_comments_text_and_members_are_clean(self) -> None:
        self.assert_clean(source('// strcpy(a, b)\n/* rand()\n atoi(x) */\ns = "sprintf(x)";\nobject.time(3);\n'
                                 "object->time(3);\nmy_rand(3);\nc = '\"'; // time(\n"))


class TestLengths(RuleTest):
    @staticmethod
    def function(lines: int) -> str:
        return "int\nlong_one(void)\n{\n" + "    work();\n" * (lines - 3) + "}\n"

    def test_function_at_the_limit_is_clean_and_one_line_more_is_found(self) -> None:
        self.assert_clean(source(self.function(rules.FUNCTION_LINES_MAX)))
        self.assert_found(source(self.function(rules.FUNCTION_LINES_MAX + 1)), "long_one has 71 lines", 5)

    def test_every_function_is_measured_by_itself(self) -> None:
        self.assert_clean(source(self.function(60) * 3))

    def test_a_long_table_is_no_function(self) -> None:
        self.assert_clean(source("static const int table[] = {\n" + "    1,\n" * 100 + "};\n"))

    def test_arguments_on_several_lines_count(self) -> None:
        text = self.function(70).replace("long_one(void)", "long_one(int a,\n         int b)")
        self.assert_found(source(text), "long_one has 71 lines")

    def test_file_at_the_limit_is_clean_and_one_line_more_is_found(self) -> None:
        self.assert_clean(source("\n" * (rules.FILE_LINES_MAX - 4) + "int x;\n"))
        self.assert_found(source("\n" * (rules.FILE_LINES_MAX - 3) + "int x;\n"), "the file has 1001 lines")

    def test_python_functions_are_measured(self) -> None:
        body = "    pass\n" * rules.FUNCTION_LINES_MAX
        self.assert_found(rules.Source("bench/ann.py", f"def long_one():\n{body}"), "long_one has 71 lines")


class TestFirstComment(RuleTest):
    def test_missing_comment_is_found(self) -> None:
        self.assert_found(source("int x;\n", first=False), 'begins "// index/walk.c -- "')

    def test_comment_of_another_file_is_found(self) -> None:
        self.assert_found(rules.Source("index/run.c", GOOD_C), 'begins "// index/run.c -- "', 1)

    def test_missing_or_unknown_shape_is_found(self) -> None:
        self.assert_found(rules.Source("index/walk.c", GOOD_C.replace("Shape: handle", "Handle")), 'a line "Shape:"')
        self.assert_found(rules.Source("index/walk.c", GOOD_C.replace("handle", "manager")), 'a line "Shape:"')

    def test_tests_need_no_shape(self) -> None:
        self.assert_clean(rules.Source("tests/lib/a.c", "// tests/lib/a.c -- helps.\nint x;\n"))

    def test_block_comment_will_do(self) -> None:
        self.assert_clean(rules.Source("examples/a.c", "/* a.c -- shows.\n * More. */\nint x;\n"))


class TestText(RuleTest):
    def test_unfinished_work_without_an_issue_is_found(self) -> None:
        for word in ("TODO", "FIXME", "XXX"):
            self.assert_found(source(f"int x;  // {word}: later\n"), f"{word} without an issue's number", 4)
        self.assert_clean(source("int x;  // TODO(#12): later\n"))
        self.assert_clean(source("int x;  // TODO #12\n"))

    def test_path_of_a_machine_is_found(self) -> None:
        for path in ("/home/ann/x", "/root/x", "/Users/ann/x"):
            self.assert_found(rules.Source("bench/run.py", f'path = "{path}"\n'), "somebody's machine", 1)
        self.assert_clean(rules.Source("bench/run.py", 'path = "/usr/share/x"\nother = "a/root/b"\n'))

    def test_stray_white_space_is_found(self) -> None:
        self.assert_found(source("int x; \n"), "blanks at the end", 4)
        self.assert_found(source("\tint x;\n"), "a tab", 4)
        self.assert_found(source("int x;"), "ends in one newline")
        self.assert_found(source("int x;\n\n"), "ends in one newline")


class TestProse(unittest.TestCase):
    FILES = {"base/a.h": "// base/a.h -- an idea.\nint f(void);\n", "docs/A.md": "# One Two\n", "tools/b.py": ""}

    def found(self, path: str, text: str) -> list[str]:
        files = self.FILES | {path: text}
        return [message for _, _, message in prose.check(files, list(files))]

    def test_what_is_there_is_passed(self) -> None:
        self.assertEqual(self.found("base/a.c", "// base/a.c -- as a.h, base/a.h and tools/b.py say.\n#include \"x.h\"\n"), [])
        self.assertEqual(self.found("docs/B.md", "`a.h: f`, `base/a.h`, [x](A.md#one-two), [y](../base), [z](https://a.b/c.md)\n"), [])

    def test_files_that_are_not_there_are_found(self) -> None:
        self.assertEqual(self.found("base/a.c", "int x; // see base/b.h\n"), ["there is no base/b.h"])
        self.assertEqual(self.found("docs/B.md", "`index/a.h`\n"), ["there is no index/a.h"])
        self.assertEqual(self.found("docs/B.md", "[x](C.md)\n"), ["the link C.md leads nowhere"])

    def test_names_and_headings_that_are_not_there_are_found(self) -> None:
        self.assertEqual(self.found("docs/B.md", "`a.h: f, g`\n"), ["a.h has no g"])
        self.assertEqual(self.found("docs/B.md", "[x](A.md#three)\n"), ["docs/A.md has no heading #three"])

    def test_what_was_is_not_looked_at(self) -> None:
        self.assertEqual(self.found("CHANGELOG.md", "`base/b.h`\n"), [])


class TestProgram(unittest.TestCase):
    def run_tidy(self, files: dict[str, str]) -> subprocess.CompletedProcess[str]:
        with tempfile.TemporaryDirectory() as root:
            for path, text in files.items():
                file = pathlib.Path(root, path)
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_text(text, encoding="utf-8")
            return subprocess.run([sys.executable, TIDY, "--root", root], capture_output=True, text=True, check=False)

    GUARDED = "// base/{0}.h -- an idea.\n//\n// Shape: value.\n{1}"

    def test_clean_tree_succeeds(self) -> None:
        done = self.run_tidy({"base/a.h": self.GUARDED.format("a", "#include <stddef.h>\nsize_t f(void);\n")})
        self.assertEqual((done.returncode, done.stdout), (0, "tidy: 1 files, 1 headers alone, 0 findings\n"))

    def test_header_that_does_not_compile_alone_is_found(self) -> None:
        done = self.run_tidy({"base/a.h": self.GUARDED.format("a", "size_t f(void);\n")})
        self.assertEqual(done.returncode, 1)
        self.assertIn("base/a.h:1: does not compile alone", done.stdout)

    def test_finding_is_printed_and_fails(self) -> None:
        done = self.run_tidy({"base/a.c": self.GUARDED.format("a", "").replace("a.h", "a.c") + "int x = rand();\n"})
        self.assertEqual(done.returncode, 1)
        self.assertIn("base/a.c:4: rand() is banned", done.stdout)

    def test_build_folders_are_not_looked_at(self) -> None:
        done = self.run_tidy({"build/a.c": "int x = rand();\n"})
        self.assertEqual(done.returncode, 0)


if __name__ == "__main__":
    unittest.main()
