"""Makes the blocking half of the client of the one for asyncio: the same methods, which wait.

    python3 clients/python/blocking.py           writes the files
    python3 clients/python/blocking.py --check   ends with 1, and says which, where one is not what it would write
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

PACKAGE = Path(__file__).parent / "omendb" / "client"
NAMES = ("admin", "points")  # async_NAME.py becomes NAME.py
RULES = (
    (re.compile(r"\basync def "), "def "),
    (re.compile(r"\bawait "), ""),
    (re.compile(r"\bAsync([A-Z])"), r"\1"),
    (re.compile(r"\basync_(\w+)"), r"\1"),
    (re.compile(r'^"""(.*), for asyncio\. .*"""$', re.MULTILINE), r'"""\1."""'),
)


def blocking(name: str) -> str:
    text = (PACKAGE / f"async_{name}.py").read_text()
    for pattern, instead in RULES:
        text = pattern.sub(instead, text)
    return f"# Written by clients/python/blocking.py from async_{name}.py: change that one.\n{text}"


def main() -> int:
    stale = [name for name in NAMES if (PACKAGE / f"{name}.py").read_text() != blocking(name)]
    if "--check" in sys.argv[1:]:
        for name in stale:
            print(f"{name}.py is not what blocking.py makes of async_{name}.py", file=sys.stderr)
        return bool(stale)
    for name in stale:
        (PACKAGE / f"{name}.py").write_text(blocking(name))
    return 0


if __name__ == "__main__":
    sys.exit(main())
