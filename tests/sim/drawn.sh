#!/bin/sh
# tests/sim/drawn.sh -- every seed that ever failed, and COUNT more: others with each commit, the same on each machine.
#
#   drawn.sh OMENSIM COUNT
set -eu
here=$(dirname "$0")
commit=$(git -C "$here" rev-parse HEAD 2>/dev/null || echo none)
echo "seeds of commit $commit"
exec "$1" --brief --again "$here/failed.txt" --draw "$commit" --count "$2"
