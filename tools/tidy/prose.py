"""tools/tidy/prose.py -- what is written about the sources names files and functions that are there.

Looked at are the pages (`*.md`), and the comments of C. A path or a file's name must be a file's; `file.c: name` in a page must be in that
file; a link must lead somewhere. CHANGELOG.md tells of the past.
"""
from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator, Mapping

Finding = tuple[str, int, str]

NAME = r"(?:\.\./)*[A-Za-z][\w/.-]*\.(?:c|h|cuh?|py|sh|tla)"
IN_COMMENT = re.compile(rf"//.*?(?<![\w/.<-])({NAME})\b")
IN_PAGE = re.compile(rf"`({NAME})(?:: ([\w ,()]+))?`")
LINK = re.compile(r"\]\(([^)\s:]+)\)")
HEADING = re.compile(r"^#+ (.*)$", re.MULTILINE)
OTHERS = {"xxhash.h", "pthread.h", "sysexits.h", "splitmix64.c"}  # files of other projects that ours speak of


class Tree:
    def __init__(self, texts: Mapping[str, str], paths: list[str]) -> None:
        self.texts, self.paths = texts, set(paths)
        self.folders = {posixpath.dirname(path) for path in paths}
        self.by_name: dict[str, list[str]] = {}
        for path in paths:
            self.by_name.setdefault(posixpath.basename(path), []).append(path)

    def named(self, name: str, beside: str) -> list[str]:
        """The files that `name`, said in the file `beside`, may mean."""
        said = posixpath.normpath(name)
        if said.startswith("../"):
            said = posixpath.normpath(posixpath.join(posixpath.dirname(beside), name))
        return [path for path in self.by_name.get(posixpath.basename(said), []) if ("/" + path).endswith("/" + said)]


def check(texts: Mapping[str, str], paths: list[str]) -> Iterator[Finding]:
    tree = Tree(texts, paths)
    for path, text in texts.items():
        if path.endswith((".c", ".h", ".cu", ".cuh")):
            yield from comments(tree, path, text)
        elif path.endswith(".md") and path != "CHANGELOG.md":
            yield from page(tree, path, text)


def comments(tree: Tree, path: str, text: str) -> Iterator[Finding]:
    for number, line in enumerate(text.splitlines(), 1):
        for match in IN_COMMENT.finditer(line):
            if match.group(1) not in OTHERS and not tree.named(match.group(1), path):
                yield path, number, f"there is no {match.group(1)}"


def page(tree: Tree, path: str, text: str) -> Iterator[Finding]:
    for number, line in enumerate(text.splitlines(), 1):
        for match in IN_PAGE.finditer(line):
            files = tree.named(match.group(1), path)
            if not files and match.group(1) not in OTHERS:
                yield path, number, f"there is no {match.group(1)}"
            for name in re.findall(r"\w+", match.group(2) or "") if files else ():
                if not any(re.search(rf"\b{name}\b", tree.texts.get(file, "")) for file in files):
                    yield path, number, f"{match.group(1)} has no {name}"
        for match in LINK.finditer(line):
            yield from link(tree, path, number, match.group(1))


def link(tree: Tree, path: str, number: int, said: str) -> Iterator[Finding]:
    file, _, anchor = said.partition("#")
    target = posixpath.normpath(posixpath.join(posixpath.dirname(path), file)) if file else path
    if target not in tree.paths and target not in tree.folders:
        yield path, number, f"the link {said} leads nowhere"
    elif anchor and anchor not in {slug(heading) for heading in HEADING.findall(tree.texts.get(target, ""))}:
        yield path, number, f"{target} has no heading #{anchor}"


def slug(heading: str) -> str:
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")
