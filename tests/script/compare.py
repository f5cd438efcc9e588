"""tests/script/compare.py -- replays raft scripts and compares the nodes' states where everything is at rest.

    compare.py RAFT_INTERACT FOLDER

FOLDER has scripts/NAME.txt and golden/NAME.jsonl, one line of JSON a command, as raft-interact prints them. Only points
that the golden file calls quiescent are compared: how a state is reached (which messages, in which batches) is free.
"""
from __future__ import annotations

import json
import pathlib
import subprocess
import sys


def states(text: str) -> list[dict]:
    return [json.loads(line) for line in text.splitlines() if line]


def differences(expected: list[dict], found: list[dict]) -> list[str]:
    if len(expected) != len(found):
        return [f"{len(found)} commands, expected {len(expected)}"]
    lines = []
    for want, got in zip(expected, found):
        where = f"command {want['n']} ({want['cmd']})"
        if not want["quiescent"]:
            continue
        if not got["quiescent"]:
            lines.append(f"{where}: not at rest")
            continue
        if want["nodes"].keys() != got["nodes"].keys():
            lines.append(f"{where}: nodes {' '.join(got['nodes'])}")
            continue
        for node, fields in want["nodes"].items():
            lines += [f"{where}, node {node}: {field} is {got['nodes'][node].get(field)}, expected {value}"
                      for field, value in fields.items() if got["nodes"][node].get(field) != value]
    return lines


def replay(binary: str, script: pathlib.Path) -> list[str]:
    golden = script.parent.parent / "golden" / (script.stem + ".jsonl")
    with script.open(encoding="utf-8") as lines:
        run = subprocess.run([binary], stdin=lines, capture_output=True, text=True, timeout=60, check=False)
    if run.returncode != 0:
        return [f"exit status {run.returncode}: {run.stderr.strip()}"]
    return differences(states(golden.read_text(encoding="utf-8")), states(run.stdout))


def main() -> int:
    binary, folder = sys.argv[1:]
    scripts = sorted(pathlib.Path(folder, "scripts").glob("*.txt"))
    failed = 0
    for script in scripts:
        problems = replay(binary, script)
        failed += bool(problems)
        print("FAIL" if problems else "ok  ", script.stem, *problems[:10], sep="\n     " if problems else " ")
    print(f"{len(scripts) - failed} passed, {failed} failed")
    return 1 if failed or not scripts else 0


if __name__ == "__main__":
    sys.exit(main())
