"""tools/coverage -- counts the branches that the tests of the machines took, and ends with 1 below the bar.

usage: python3 tools/coverage [--build DIR] [--bar PERCENT] [--brief] [FOLDER ...]

Reads what a build of the preset `coverage` left behind when its tests had run, by gcov. Prints a line for every file and every
FOLDER (raft replica cluster gossip router), and the lines with a branch that nobody took (not with --brief). What counts is
said in branches.py. Ends with 1 where a FOLDER is below PERCENT (95), or a file of raft, replica or cluster; with 2 where
there is nothing to read.
"""
from __future__ import annotations

import argparse
import pathlib
import sys

import branches

ROOT = pathlib.Path(__file__).resolve().parents[2]
FOLDERS = ("raft", "replica", "cluster", "gossip", "router")
EACH_OF = ("raft", "replica", "cluster")  # no file of these may be below


def main() -> int:
    parser = argparse.ArgumentParser(prog="tools/coverage")
    parser.add_argument("--build", type=pathlib.Path, default=ROOT / "build" / "coverage")
    parser.add_argument("--bar", type=float, default=95.0)
    parser.add_argument("--brief", action="store_true")
    parser.add_argument("folders", nargs="*", default=FOLDERS, metavar="FOLDER")
    arguments = parser.parse_args()
    try:
        counted = branches.count(arguments.build, ROOT, arguments.folders)
    except branches.NothingToReadError as nothing:
        print(f"tools/coverage: {nothing}", file=sys.stderr)
        return 2
    print(branches.table(counted))
    if not arguments.brief:
        print(branches.untaken(counted, ROOT))
    below = branches.below(counted, arguments.bar, EACH_OF)
    for name in below:
        print(f"{name}: below {arguments.bar:g} %")
    return 1 if below else 0


if __name__ == "__main__":
    sys.exit(main())
