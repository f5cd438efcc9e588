"""`python -m bench`: every figure of bench/RESULTS.md, one program after the other; hours on two cores.

Each program is also a command of its own (`python -m bench.filters`), and one that fails stops no other.
"""

import subprocess
import sys

from bench.data import ROOT

PROGRAMS = ("validity", "ann", "filters", "turnover", "target", "insert", "bulk", "latency", "memory", "calls", "durable", "limited", "cluster", "faults")


def main():
    failed = []
    for name in PROGRAMS:
        print(f"== bench.{name}", file=sys.stderr, flush=True)
        if subprocess.run([sys.executable, "-m", f"bench.{name}"], check=False, cwd=ROOT).returncode != 0:
            failed.append(name)
    if failed:
        raise SystemExit(f"failed: {', '.join(failed)}")


if __name__ == "__main__":
    main()
