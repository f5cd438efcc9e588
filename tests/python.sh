#!/bin/sh
# tests/python.sh -- the Python module's tests, in the environment that `make python` prepares.
#
# usage: tests/python.sh [SCRIPT ARGUMENTS...]     another test, in the same environment
#
# Without that environment they are skipped (77), so that ctest is of use to whoever works on C alone;
# `make test` sets OMENDB_REQUIRE_PYTHON, and then a missing environment is a failure.
cd "$(dirname "$0")/.." || exit 1
python=build/venv/bin/python
if ! "$python" -c 'import omendb, pytest' 2>/dev/null; then
    echo "the environment in build/venv lacks omendb or pytest: run \`make python\`" >&2
    [ -n "$OMENDB_REQUIRE_PYTHON" ] && exit 1
    exit 77
fi
[ $# -gt 0 ] || set -- -m pytest -q clients/python/tests
exec "$python" "$@"
