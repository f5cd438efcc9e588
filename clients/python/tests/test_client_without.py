"""The package where one of its parts is not installed: each of the others works, and what is missing says so."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

import omendb

HIDE = """
import sys

class Hidden:
    def find_spec(self, name, path=None, target=None):
        if name in {hidden!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Hidden())
sys.path.insert(0, {folder!r})
"""


def run(hidden: set[str], code: str) -> str:
    folder = str(Path(omendb.__file__).parent.parent)
    script = HIDE.format(hidden=hidden, folder=folder) + textwrap.dedent(code)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_without_msgpack_the_package_imports_and_connect_says_what_is_missing():
    said = run(
        {"msgpack"},
        """
        import omendb
        try:
            omendb.connect("omen://localhost")
        except omendb.errors.UnsupportedError as error:
            print(error)
        print(str(omendb.F.x > 3))
    """,
    )
    assert "pip install 'omendb[client]'" in said and "x > 3" in said


def test_without_the_native_module_the_client_works_and_the_engine_says_so():
    said = run(
        {"omendb._core"},
        """
        import omendb
        pack = lambda: omendb.pack(1)
        for use in (lambda: omendb.Index(3), omendb.kernel, pack, lambda: omendb.unpack(b""), omendb.Hits):
            try:
                use()
            except omendb.errors.UnsupportedError as error:
                print(error)
        try:
            omendb.connect("omen://127.0.0.1:1", timeout=1)
        except omendb.errors.UnreachableError as error:
            print(error)
        print(omendb.__version__)
    """,
    )
    assert said.count("is not installed here") == 5
    assert "127.0.0.1:1" in said
    assert said.splitlines()[-1] == omendb.__version__


def test_a_native_module_that_is_broken_is_not_taken_for_one_that_is_missing(tmp_path):
    with pytest.raises(AssertionError, match="libomendb"):
        run(
            set(),
            """
            import sys
            class Broken:
                def find_spec(self, name, path=None, target=None):
                    if name == "omendb._core":
                        raise ImportError("libomendb.so.0: cannot open shared object file")
            sys.meta_path.insert(0, Broken())
            import omendb
        """,
        )
