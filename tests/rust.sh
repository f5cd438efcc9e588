#!/bin/sh
# tests/rust.sh -- the Rust crate's tests, examples in its documentation included.
#
# usage: tests/rust.sh FOLDER      FOLDER has libomendb.so
#
# Without cargo they are skipped (77), so that ctest is of use to whoever works on C alone; `make test` sets
# OMENDB_REQUIRE_RUST, and then a missing cargo is a failure. Nothing is downloaded: the crate depends on nothing.
cd "$(dirname "$0")/.." || exit 1
if ! command -v cargo >/dev/null; then
    echo "cargo is missing: run \`tools/setup.sh rust\`" >&2
    [ -n "$OMENDB_REQUIRE_RUST" ] && exit 1
    exit 77
fi
OMENDB_LIB_DIR=$(cd "$1" && pwd) || exit 1
CARGO_TARGET_DIR=$(dirname "$OMENDB_LIB_DIR")/rust
export OMENDB_LIB_DIR CARGO_TARGET_DIR
cd clients/rust/omendb || exit 1
cargo test --quiet --offline --locked &&
    cargo run --quiet --offline --locked --example quickstart
