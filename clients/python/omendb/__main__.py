"""`python -m omendb`: the version, and the instruction set it computes with on this machine.

`python -m omendb import` writes a file of Parquet or HDF5 into a collection.
"""

import sys

from . import __version__, kernel


def main() -> int:
    match sys.argv[1:]:
        case []:
            print(f"omendb {__version__}, kernel {kernel()}")
            return 0
        case ["import", *arguments]:
            from .importing import main as import_main

            return import_main(arguments)
    print(f"python -m omendb: there is no {sys.argv[1]!r}; it knows import", file=sys.stderr)
    return 2


sys.exit(main())
