"""tests/system/alone.py -- a test with file systems and networks of its own: nobody else sees them, and they go when it ends.

By Linux' namespaces, as root or, where the kernel lets anybody, as root of a user namespace. Where neither may be had the test is skipped
(77), and says so; with OMENDB_REQUIRE_ALONE, as CI sets it, it fails.
"""
from __future__ import annotations

import os
import subprocess
import sys
from typing import NoReturn

SKIPPED = 77
INSIDE = "OMEN_TEST_ALONE"  # set where this process is the one inside


def alone(*namespaces: str, device: str = os.devnull) -> None:
    """Goes on in new namespaces (mount, net), where this device may be used; call it first. Returns inside."""
    if os.environ.pop(INSIDE, None):
        try:
            open(device, "r+b", buffering=0).close()
        except OSError as error:
            skip(str(error))
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
    skip(f"no right to namespaces of its own ({', '.join(namespaces)}), or no unshare")


def skip(why: str) -> NoReturn:
    required = bool(os.environ.get("OMENDB_REQUIRE_ALONE"))
    print(f"{'OMENDB_REQUIRE_ALONE is set' if required else 'SKIPPED'}: {why}", file=sys.stderr)
    sys.exit(1 if required else SKIPPED)


def run(*command: str) -> None:
    subprocess.run(command, check=True)
