"""tests/script/story.py -- replays stories and compares what the nodes say of themselves after each command.

    story.py INTERPRETER FOLDER [--rewrite]

A story is a command, perhaps lines of input, "----", and the lines expected up to an empty one. The interpreter prints
with --lines, for each command, those lines and an empty one. --rewrite makes them the expected ones: read the diff.
"""
from __future__ import annotations

import pathlib
import subprocess
import sys


def with_answers(story: str, answers: list[str]) -> str:
    """The story with the expected lines replaced, one answer a command."""
    lines, expected, left = [], False, iter(answers)
    for line in story.splitlines():
        if expected and line:
            continue
        expected = line == "----"
        lines.append(line)
        if expected:
            lines += next(left).splitlines()
    return "\n".join(lines) + "\n"


def main() -> int:
    binary, folder, *options = sys.argv[1:]
    failed = 0
    stories = sorted(pathlib.Path(folder).glob("*.txt"))
    for path in stories:
        story = path.read_text(encoding="utf-8")
        run = subprocess.run([binary, "--lines"], input=story, capture_output=True, text=True, timeout=60, check=False)
        if run.returncode != 0:
            print(f"FAIL {path.stem}: {run.stderr.strip()}")
            failed += 1
            continue
        found = with_answers(story, run.stdout.split("\n\n")[:-1])
        if options == ["--rewrite"]:
            path.write_text(found, encoding="utf-8")
        elif found != story:
            failed += 1
            pairs = enumerate(zip(story.splitlines(), found.splitlines()), 1)
            number, (want, got) = next((pair for pair in pairs if pair[1][0] != pair[1][1]), (0, ("", "")))
            print(f"FAIL {path}:{number}\n  expected {want}\n  found    {got}")
        else:
            print(f"ok   {path.stem}")
    return 1 if failed or not stories else 0


if __name__ == "__main__":
    sys.exit(main())
