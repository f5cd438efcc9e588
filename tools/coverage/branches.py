"""tools/coverage/branches.py -- which branches were taken, from gcov's JSON.

Branches are those of gcov at -O0: the ways out of each condition, `&&`, `||`, `?:`, loop and switch. Those of an ASSERT do
not count, neither the way that fails nor the one that holds. A function of a header counts once, whoever compiled it: what
the objects took is added up.
"""
from __future__ import annotations

import collections
import dataclasses
import json
import pathlib
import re
import subprocess
from collections.abc import Iterable, Sequence

ASSERTION = re.compile(r"\bASSERT(?:_SLOW)?\(")
# What has no code in it: a comment, a text, a character. Their lines stay, so that numbers hold.
NO_CODE = re.compile(r'//[^\n]*|/\*.*?\*/|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'', re.DOTALL)


class NothingToReadError(Exception):
    pass


@dataclasses.dataclass
class File:
    """The ways out of each line, and how often each was taken."""
    path: str
    lines: dict[int, list[int]]

    @property
    def folder(self) -> str:
        return self.path.split("/", maxsplit=1)[0]

    @property
    def total(self) -> int:
        return sum(len(counts) for counts in self.lines.values())

    @property
    def taken(self) -> int:
        return sum(count > 0 for counts in self.lines.values() for count in counts)


def count(build: pathlib.Path, root: pathlib.Path, folders: Sequence[str]) -> list[File]:
    notes: list[pathlib.Path] = []
    for folder in folders:
        found = sorted(build.glob(f"CMakeFiles/omen_{folder}.dir/**/*.gcno"))
        if not found:
            raise NothingToReadError(f"{build} has no {folder} that counts its branches: cmake --preset coverage, then build")
        if not any(note.with_suffix(".gcda").exists() for note in found):
            raise NothingToReadError(f"nothing of {folder} has run in {build}: ctest --preset coverage")
        notes += found
    return merge(read(build, notes), root, folders)


def read(build: pathlib.Path, notes: Sequence[pathlib.Path]) -> list[dict]:
    """What gcov says of each object: a document each, in one line each."""
    done = subprocess.run(["gcov", "--json-format", "--branch-probabilities", "--stdout", *notes], cwd=build,
                          capture_output=True, text=True, check=False)
    if done.returncode != 0:  # counts of another build, mostly
        raise NothingToReadError(f"gcov cannot read {build}: {done.stderr.strip()}")
    return [json.loads(line) for line in done.stdout.splitlines() if line]


def merge(documents: Iterable[dict], root: pathlib.Path, folders: Sequence[str]) -> list[File]:
    functions: dict[tuple[str, str, int], list[int]] = {}
    for document in documents:
        here = pathlib.Path(document["current_working_directory"])
        for file in document["files"]:
            path = (here / file["file"]).resolve()
            if not path.is_relative_to(root):
                continue
            name = str(path.relative_to(root))
            if name.split("/", maxsplit=1)[0] not in folders:
                continue
            for line in file["lines"]:
                add(functions, (name, line.get("function_name", ""), line["line_number"]),
                    [branch["count"] for branch in line["branches"]])
    files: dict[str, dict[int, list[int]]] = collections.defaultdict(dict)
    for (name, _, number), counts in functions.items():
        files[name].setdefault(number, []).extend(counts)
    return [without_assertions(File(name, lines), root) for name, lines in sorted(files.items())]


def add(functions: dict, key: tuple[str, str, int], counts: list[int]) -> None:
    before = functions.setdefault(key, [0] * len(counts))
    if len(before) != len(counts):
        raise ValueError(f"{key[0]}:{key[2]} was compiled in two ways: {len(before)} branches and {len(counts)}")
    functions[key] = [one + other for one, other in zip(before, counts, strict=True)]


def without_assertions(file: File, root: pathlib.Path) -> File:
    skipped = assertion_lines((root / file.path).read_text(encoding="utf-8"))
    return File(file.path, {number: counts for number, counts in sorted(file.lines.items()) if number not in skipped})


def assertion_lines(text: str) -> set[int]:
    """The numbers of the lines that an ASSERT reaches over."""
    code = NO_CODE.sub(lambda match: re.sub(r"[^\n]", " ", match[0]), text)
    lines: set[int] = set()
    for match in ASSERTION.finditer(code):
        depth, end = 1, match.end()
        while depth > 0 and end < len(code):
            depth += {"(": 1, ")": -1}.get(code[end], 0)
            end += 1
        lines.update(range(code.count("\n", 0, match.start()) + 1, code.count("\n", 0, end) + 2))
    return lines


def percent(taken: int, total: int) -> float:
    return 100.0 * taken / total if total > 0 else 100.0


def sums(files: Iterable[File]) -> dict[str, tuple[int, int]]:
    """Of each folder, in order of first sight: taken, total."""
    folders: dict[str, tuple[int, int]] = {}
    for file in files:
        taken, total = folders.get(file.folder, (0, 0))
        folders[file.folder] = (taken + file.taken, total + file.total)
    return folders


def below(files: Sequence[File], bar: float, each_of: Sequence[str] = ()) -> list[str]:
    """The folders below the bar, and the files of those folders of which each has to reach it."""
    return ([folder for folder, (taken, total) in sums(files).items() if percent(taken, total) < bar]
            + [file.path for file in files if file.folder in each_of and percent(file.taken, file.total) < bar])


def table(files: Sequence[File]) -> str:
    rows = [f"{'file':<32} {'branches':>8} {'taken':>8} {'percent':>8}"]
    for folder, (taken, total) in sums(files).items():
        rows += [row(file.path, file.taken, file.total) for file in files if file.folder == folder and file.total > 0]
        rows += [row(f"{folder}/", taken, total), ""]
    return "\n".join(rows)


def row(name: str, taken: int, total: int) -> str:
    return f"{name:<32} {total:>8} {taken:>8} {percent(taken, total):>8.1f}"


def untaken(files: Iterable[File], root: pathlib.Path) -> str:
    """Each line with a way out that nobody took, as a compiler would name it."""
    rows: list[str] = []
    for file in files:
        text = (root / file.path).read_text(encoding="utf-8").splitlines()
        rows += [f"{file.path}:{number}: {counts.count(0)} of {len(counts)} never taken: {text[number - 1].strip()}"
                 for number, counts in sorted(file.lines.items()) if 0 in counts]
    return "\n".join(rows)
