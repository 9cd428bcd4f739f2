#!/usr/bin/env bash
# Runs the loom models. LOOM_MAX_PREEMPTIONS=3 is the thorough bound; arguments go to the tests.
set -euo pipefail
cd "$(dirname "$0")/.."

export CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-target}/loom"
export RUSTFLAGS="--cfg loom -C debug-assertions=on ${RUSTFLAGS:-}"
export LOOM_MAX_PREEMPTIONS="${LOOM_MAX_PREEMPTIONS:-2}"

exec cargo test --release -p loom-tests -- "$@"
