#!/bin/bash
# tools/test_all.sh -- what `make test` runs once release and the wheel are there: every build, one report.
#
# Which tests a build has is said by its preset: ThreadSanitizer what uses threads, ARM the base and the kernels (an
# emulator is slow). A build that this machine has no tools for is left out, and that is said.
set -euo pipefail
cd "$(dirname "$0")/.."
jobs=${JOBS:-$(nproc)}

builds=(testing)
if command -v clang-14 >/dev/null; then
    builds+=(asan tsan fuzz)
else
    echo "no clang-14: left out are AddressSanitizer, UBSan, ThreadSanitizer and the fuzzers" >&2
fi
if command -v aarch64-linux-gnu-gcc-12 >/dev/null && command -v qemu-aarch64-static >/dev/null; then
    builds+=(arm64)
elif [ "$(uname -m)" != aarch64 ]; then
    echo "no cross compiler or no qemu: left out are the tests on ARM" >&2
fi

# The GPU's plugin is only compiled, which takes no GPU: its toolkit comes from PyPI and is unpacked in build/cuda. It comes while others
# are built.
{ [ -x build/cuda/nvidia/cu13/bin/nvcc ] || tools/get-cuda.sh build/cuda >/dev/null; } &
cuda=$!

for build in "${builds[@]}"; do
    echo "== building $build"
    [ -e "build/$build/build.ninja" ] || cmake --preset "$build" >/dev/null
    cmake --build --preset "$build" --parallel "$jobs" -- --quiet
done

if wait "$cuda"; then
    echo "== building gpu"
    [ -e build/plugin/build.ninja ] || cmake --preset gpu >/dev/null
    cmake --build --preset gpu --parallel "$jobs" -- --quiet
else
    echo "no CUDA toolkit could be had: left out is compiling the GPU's plugin" >&2
fi

# ctest reads build/ci, which leads it into every build's tests.
mkdir -p build/ci
{
    echo 'subdirs("../tests")'
    for build in "${builds[@]}"; do
        echo "subdirs(\"../$build/tests\")"
    done
} >build/ci/CTestTestfile.cmake

export OMENDB_REQUIRE_PYTHON=1 OMENDB_REQUIRE_RUST=1 OMENDB_REQUIRE_INTEROP=aio,nvim
if command -v npm >/dev/null; then
    OMENDB_REQUIRE_INTEROP+=,npm
fi
if command -v go >/dev/null; then
    OMENDB_REQUIRE_INTEROP+=,porcupine
fi
# A test that computes counts for two, one that mostly waits for one: as many compute as there are processors, and two wait beside them.
exec ctest --test-dir build/ci --no-label-summary --output-on-failure --parallel $((2 * jobs + 2)) "$@"
