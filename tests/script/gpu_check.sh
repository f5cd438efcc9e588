#!/bin/sh
# gpu_check.sh -- tools/gpu-check on the plain half: all stages but one run, tables have their rows, time that is over is said.
#
# usage: tests/script/gpu_check.sh PROGRAMS FOLDER     (in the repository's root)
programs=$1 out=$2
rm -rf "$out" && mkdir -p "$out" || exit 1

fail() {
    echo "gpu_check.sh: $1" >&2
    exit 1
}

results=$(cksum < bench/RESULTS-gpu.md)
# All but the timing of searches, which takes minutes without a GPU.
tools/gpu-check --cpu --programs "$programs" --out "$out" --without search || fail "a stage failed"
[ "$results" = "$(cksum < bench/RESULTS-gpu.md)" ] || fail "a trial wrote bench/RESULTS-gpu.md"
for row in '| cpu | 0.0 | 1 |' '| build 1500 x 128 |' '| build 1500 x 128, in [0-9]* parts |' '| 1500 x 128 | GPU | 32 |' \
    '| 1500 x 128 | processors | 32 |' '| 1500 x 128 | 32 | [+-]0.[0-9]* | [01].[0-9]* | held |' \
    '| build 1500 x 768 |' '| 1500 x 128 | inserted | 32 |' '    [0-9]* vectors/s: 1500 rows x 128 ' \
    '| 1500 x 128 ip, lengths e^N(0, 0.25) | 128 | [+-]0.[0-9]* | [01].[0-9]* | held |' \
    '| nearest 100 of 750 x 1024, k 64, factors within 0 % |' '| nearest 100 of 750 x 1024, .* by mma.sync |' \
    '| measure 1500 x 128, lists of 64 |' '| measure 1500 x 768, lists of 64 |'; do
    grep -q "^$row" "$out/RESULTS-gpu.md" || fail "no row \"$row\" in the tables"
done
grep -q ': 9 held, 0 missed\.$' "$out/RESULTS-gpu.md" || fail "not all of nine beams are said to be held"
for op in $("$programs/omen_gpu_check" --cpu ops) "nearest by mma"; do
    grep -q "^-- op $op: " "$out/gpu-check.log" || fail "the operation $op was not compared"
done
grep -q '^-- operations of searches: ' "$out/gpu-check.log" || fail "the operations of searches were not compared"
[ "$(grep -c '^| build 1500 x 128, in [0-9]* parts |' "$out/RESULTS-gpu.md")" = 2 ] || fail "not two builds by parts"

tools/gpu-check --cpu --programs "$programs" --out "$out" --only "facts build1m" --seconds 0 && fail "no time, and no failure"
[ "$(grep -c 'not begun, 0 s are over' "$out/gpu-check.log")" = 2 ] || fail "what has not begun is not said"
tools/gpu-check --programs "$programs" 2> "$out/usage.txt"
[ $? = 2 ] && grep -q -- '--programs goes with --cpu' "$out/usage.txt" || fail "--programs without --cpu"
exit 0
