"""tools/tidy -- checks what a tool can check, so that reviews are about design.

usage: python3 tools/tidy [--root DIR] [--compiler CC]

Prints path:line: message for every finding; exit status 1 when there is one. The rules are in rules.py and, for what is written about the
sources, in prose.py; besides them, every header must compile alone (with --compiler; cc where it is not given).
"""
from __future__ import annotations

import argparse
import concurrent.futures
import os
import pathlib
import subprocess
import sys

import prose
import rules

TEXT_SUFFIXES = {".c", ".h", ".cu", ".cuh", ".py", ".pyi", ".sh", ".cmake", ".json", ".toml", ".md", ".txt", ".yml", ".map",
                 ".in", ""}
SKIPPED_FOLDERS = {".git", "build", "__pycache__"}
HEADER_FOLDERS = ("base", "clients/c", "cluster", "gossip", "gpu", "index", "node", "raft", "replica", "router", "shard", "storage", "wire", "include",
                  "tests/lib", "tools")
FLAGS = ("-std=c11", "-D_GNU_SOURCE", "-Wall", "-Wextra", "-Wshadow", "-Wconversion", "-Werror", "-fsyntax-only",
         "-I.", "-Iinclude", "-x", "c")


def main() -> int:
    parser = argparse.ArgumentParser(prog="tools/tidy")
    parser.add_argument("--root", type=pathlib.Path, default=pathlib.Path(__file__).resolve().parents[2])
    parser.add_argument("--compiler", default="cc")
    arguments = parser.parse_args()

    everything = sorted(files(arguments.root))
    paths = [path for path in everything if is_text(path)]
    findings: list[str] = []
    texts: dict[str, str] = {}
    for path in paths:
        try:
            text = (arguments.root / path).read_text(encoding="utf-8")
        except UnicodeDecodeError:
            findings.append(f"{path}:1: not UTF-8")
            continue
        texts[path] = text
        findings += rules.check(rules.Source(path, text))
    findings += [f"{path}:{number}: {message}" for path, number, message in prose.check(texts, everything)]
    headers = [path for path in paths if path.endswith(".h") and path.startswith(HEADER_FOLDERS)]
    findings += lonely_headers(arguments.root, headers, arguments.compiler)

    for finding in findings:
        print(finding)
    print(f"tidy: {len(paths)} files, {len(headers)} headers alone, {len(findings)} findings")
    return 1 if findings else 0


def files(root: pathlib.Path) -> list[str]:
    """What is or will be in the repository; without git, all but what builds leave behind."""
    listed = subprocess.run(["git", "-C", root, "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
                            capture_output=True, text=True, check=False)
    if listed.returncode == 0:
        return [path for path in listed.stdout.split("\0") if path and (root / path).is_file()]
    return [os.path.relpath(os.path.join(folder, name), root)
            for folder, folders, names in os.walk(root)
            for name in names
            if not SKIPPED_FOLDERS & set(pathlib.Path(os.path.relpath(folder, root)).parts)]


def is_text(path: str) -> bool:
    return pathlib.PurePath(path).suffix in TEXT_SUFFIXES and not path.startswith("tests/fuzz/corpus/")


def lonely_headers(root: pathlib.Path, headers: list[str], compiler: str) -> list[str]:
    """A header that needs another one before it would break whoever sorts the includes."""
    def compile_one(header: str) -> str | None:
        done = subprocess.run([compiler, *FLAGS, "-"], cwd=root, input=f'#include "{header}"\n',
                              capture_output=True, text=True, check=False)
        if done.returncode == 0:
            return None
        return f"{header}:1: does not compile alone: {done.stderr.strip().splitlines()[-1]}\n{done.stderr}"

    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        return [finding for finding in pool.map(compile_one, headers) if finding is not None]


if __name__ == "__main__":
    sys.exit(main())
