#!/bin/sh
# Makes build/omen_bulk_bench with a C compiler and nothing else: no library but libc, no CMake.
# usage: sh bench/bulk.sh [directory for the program]
set -eu
out=${1:-build}
objects=$out/bulk-objects
mkdir -p "$objects"
compiler=${CC:-cc}
common="-std=c11 -O3 -g -D_GNU_SOURCE -I. -Iinclude -ffp-contract=off -pthread"
bmi="-mbmi -mbmi2"
list=$(ls base/*.c index/*.c index/kernel/*.c)
running=0
for source in $list; do
    flags=""
    case $source in
    base/hash.c | */neon.c | */tile_neon.c) continue ;; # xxhash.h; another processor
    */avx2.c | */tile_avx2.c) flags="-mavx2 -mfma -mf16c $bmi" ;;
    */avx512.c | */tile_avx512.c)
        flags="-mavx512f -mavx512bw -mavx512vl -mavx512dq -mavx512vbmi -mavx512vnni -mfma -mf16c $bmi"
        ;;
    esac
    object=$objects/$(echo "$source" | tr / _).o
    $compiler $common $flags -c "$source" -o "$object" &
    running=$((running + 1))
    if [ $running -ge "${JOBS:-8}" ]; then
        wait
        running=0
    fi
done
wait
rm -f "$objects/libbulk.a"
ar rcs "$objects/libbulk.a" "$objects"/*.o
$compiler $common bench/bulk.c bench/roofline.c "$objects/libbulk.a" -lm -o "$out/omen_bulk_bench"
