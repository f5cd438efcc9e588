"""`python -m omendb`: the version, and the instruction set it computes with on this machine."""

from . import __version__, kernel

print(f"omendb {__version__}, kernel {kernel()}")
