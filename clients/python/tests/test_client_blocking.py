"""The blocking half of the client is what blocking.py makes of the one for asyncio."""

import subprocess
import sys
from pathlib import Path

from omendb.client import AsyncClient, AsyncCollection, Client, Collection

ROOT = Path(__file__).parents[1]


def test_blocking_files_are_those_that_are_made_of_the_ones_for_asyncio():
    command = [sys.executable, ROOT / "blocking.py", "--check"]
    made = subprocess.run(command, capture_output=True, text=True, check=False)
    assert made.returncode == 0, made.stderr


def test_a_method_that_one_half_has_the_other_has_too():
    def methods(of):
        return {name for name in dir(of) if not name.startswith("_")}

    # Properties, which cannot be awaited.
    own = {"dimension", "ndim", "dim", "metric", "space", "dtype", "quantization"}
    assert methods(Collection) - methods(AsyncCollection) == own
    assert methods(AsyncCollection) <= methods(Collection)
    assert methods(Client) == methods(AsyncClient)
