"""tests/system/alone.py -- a test with file systems and networks of its own: nobody else sees them, and they go when it ends.

By Linux' namespaces, as root or, where the kernel lets anybody, as root of a user namespace. Where neither may be had the test is skipped
(77), and says so.
"""
from __future__ import annotations

import os
import subprocess
import sys

SKIPPED = 77
INSIDE = "OMEN_TEST_ALONE"  # set where this process is the one inside


def alone(*namespaces: str) -> None:
    """Goes on in new namespaces (mount, net); call it first. Returns inside."""
    if os.environ.pop(INSIDE, None):
        return
    wanted = [f"--{name}" for name in namespaces]
    for right in ([], ["--user", "--map-root-user"]):
        command = ["unshare", *right, *wanted]
        try:
            done = subprocess.run([*command, "true"], capture_output=True, check=False)
        except FileNotFoundError:
            break
        if done.returncode == 0:
            os.execvpe("unshare", [*command, sys.executable, *sys.argv], {**os.environ, INSIDE: "1"})
    print(f"SKIPPED: no right to namespaces of its own ({', '.join(namespaces)}), or no unshare", file=sys.stderr)
    sys.exit(SKIPPED)


def run(*command: str) -> None:
    subprocess.run(command, check=True)
