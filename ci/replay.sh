#!/usr/bin/env bash
# Runs the fuzz targets on the committed corpora, once each: the bounded version of ci/fuzz.sh. Stable Rust and a C++
# compiler (for libFuzzer) suffice.
set -euo pipefail
cd "$(dirname "$0")/.."

if ! command -v c++ >/dev/null 2>&1; then echo "skipped: libFuzzer needs a C++ compiler"; exit; fi
export CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-$PWD/target}/replay"
cargo build --quiet --manifest-path fuzz/Cargo.toml
scratch="$(mktemp -d "$([ -w /dev/shm ] && echo /dev/shm || echo "${TMPDIR:-/tmp}")/shmlog-replay.XXXXXX")"
trap 'rm -rf "$scratch"' EXIT
for source in fuzz/fuzz_targets/*.rs; do
    target="$(basename "$source" .rs)"
    corpus="fuzz/corpus/$target/"
    if ! TMPDIR="$scratch" "$CARGO_TARGET_DIR/debug/$target" -timeout=60 -artifact_prefix="$scratch/" "$corpus"* >"$scratch/log" 2>&1; then
        tail -n 40 "$scratch/log" >&2
        echo "$target: one of its inputs fails" >&2
        exit 1
    fi
    printf '%s: %d inputs\n' "$target" "$(find "$corpus" -type f | wc -l)"
done
