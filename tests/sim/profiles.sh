#!/bin/sh
# tests/sim/profiles.sh -- seeds 1 to COUNT of every profile, each a run of its own: always the same, to count what they reach.
#
#   profiles.sh OMENSIM COUNT
set -eu
# The refusal of a profile that is none names all there are.
profiles=$("$1" --profile '?' 2>&1 | sed -n 's/.*wants one of//p')
for profile in $profiles; do
    seed=1
    while [ "$seed" -le "$2" ]; do
        "$1" --profile "$profile" --seed "$seed"
        seed=$((seed + 1))
    done
done
