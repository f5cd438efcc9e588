#!/bin/bash
# tools/lint.sh -- what `make lint` runs: tidy, the layout of C, clang-tidy, and Python's and Rust's checkers where installed.
#
# usage: tools/lint.sh [--fix]      --fix lays out the C files in place instead of complaining
#
# Runs everything and fails at the end, so that one run shows all there is.
set -uo pipefail
cd "$(dirname "$0")/.." || exit
jobs=${JOBS:-$(nproc)}
failed=()

product=(base cluster gossip gpu index node raft replica router shard storage wire)
folders=("${product[@]}" tests bench examples clients tools)
mapfile -t c_files < <(git ls-files --cached --others --exclude-standard "${folders[@]/%/\/*.[ch]}")

if [ "${1:-}" = --fix ]; then
    exec clang-format-14 -i "${c_files[@]}"
fi

step() {
    echo "== $1"
    shift
    "$@" || failed+=("$*")
}

# clang-tidy knows the flags of what this machine compiles; neon.c is not among it.
tidy_c() {
    local names
    names=$(IFS='|' && echo "${product[*]}")
    grep -oE "\"file\": \"[^\"]*/($names)/[^\"]*\.c\"" build/compile_commands.json | cut -d'"' -f4 | sort -u |
        xargs -P "$jobs" -n 4 clang-tidy-14 -p build --quiet 2>/dev/null | grep -E '(error|warning):'
    [ "${PIPESTATUS[4]}" -ne 0 ] # grep that found nothing
}

python_checks() {
    build/venv/bin/python -m ruff check clients bench tools tests
}

rust_checks() {
    (cd clients/rust/omendb && CARGO_TARGET_DIR=../../../build/rust cargo "$@")
}

step "tidy" python3 tools/tidy
step "layout (tools/lint.sh --fix mends it)" clang-format-14 --dry-run --Werror -- "${c_files[@]}"
step "clang-tidy" tidy_c
if build/venv/bin/python -c 'import ruff' 2>/dev/null; then
    step "ruff" python_checks
fi
if cargo fmt --version >/dev/null 2>&1; then
    step "rustfmt" rust_checks fmt --check
fi
if cargo clippy --version >/dev/null 2>&1; then
    step "clippy" rust_checks clippy --quiet --offline --locked --all-targets -- -D warnings
fi
if command -v shellcheck >/dev/null; then
    step "shellcheck" shellcheck .ci/run docs/spec/*.sh tools/*.sh tests/*.sh
fi

if [ ${#failed[@]} -ne 0 ]; then
    printf 'lint failed: %s\n' "${failed[@]%% -- *}" >&2
    exit 1
fi
echo "lint: nothing found"
