#!/usr/bin/env bash
# Everything a change must pass: format, lints, tests, doc tests, the fuzzer's corpora, docs, loom models at their
# quick bound. ci/proof.sh does the long versions.
# Needs cargo only; rustfmt, clippy and a C++ compiler (for libFuzzer) are used where they are installed.
set -euo pipefail
cd "$(dirname "$0")/.."

step() { printf '\n== %s\n' "$*"; }
has() { cargo "$1" --version >/dev/null 2>&1; }

step format
if has fmt; then cargo fmt --all --check; else echo "skipped: rustfmt is not installed"; fi

step lints
if has clippy; then cargo clippy --workspace --all-targets --all-features -- -D warnings; else echo "skipped: clippy is not installed"; fi

step tests
cargo check -p shmlog # without optional features
cargo test --workspace --all-features
# Cargo builds examples for the tests above, but runs their own only when asked.
cargo test --all-features --example market

step "killed at the files of a journal"
# Unless optimized, too many instructions.
cargo test --release -p killstep --test sweep files_of_a_journal

step corpora
ci/replay.sh

step docs
RUSTDOCFLAGS="-D warnings" cargo doc -p shmlog --all-features --no-deps --document-private-items

step models
ci/loom.sh
