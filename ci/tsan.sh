#!/usr/bin/env bash
# Runs the tests that have threads under ThreadSanitizer, and one that races on purpose, which it must report.
# Needs a nightly toolchain; uses its rust-src, if there is one, to check the standard library too.
#
#   ci/tsan.sh              all of them
#   ci/tsan.sh laps ...     these test binaries (lib: the unit tests)
#
# What it shows, and what not:
# - It reports accesses to plain memory that nothing orders: bytes that are written and looked at in place
#   (tests/zero_copy.rs), and what the handles keep. Payload that the library copies for its users goes through
#   relaxed atomics, whose races are by design, and which it never reports.
# - It knows no fences, and every Acquire side here is a relaxed load and a fence (Rust promises no more on
#   memory mapped for reading). So in the copy of the tree that it checks each relaxed load acquires: a missing
#   Release is found, a missing Acquire is not. Those are what tools/weaken.sh is for.
# - Without rust-src it does not see that a scope waits for its threads: the tests join them.
# - It sees the threads of one process that share a mapping, and the executions that happen.
set -euo pipefail
cd "$(dirname "$0")/.."
root=$PWD

tests=("$@")
if ((!$#)); then
    tests=(lib zero_copy appending reading laps snapshot snapshot_torn snapshot_pins conveniences arena regressions)
fi

target=x86_64-unknown-linux-gnu
if ! sysroot=$(rustc +nightly --print sysroot 2>/dev/null); then
    echo "ThreadSanitizer needs a nightly toolchain: rustup toolchain install nightly --profile minimal" >&2
    exit 2
fi
std=()
flags="-Zsanitizer=thread --cfg shmlog_words"
if [[ -d $sysroot/lib/rustlib/src/rust/library ]]; then
    std=(-Zbuild-std)
    # Its threads end with their scope, which is not seen otherwise.
    (($#)) || tests+=(replica)
else
    # The standard library as it comes is not instrumented; tsan.supp says what that makes TSan believe.
    flags+=" -Cunsafe-allow-abi-mismatch=sanitizer"
fi
export CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-$root/target}/tsan"
export RUSTFLAGS="$flags" TSAN_OPTIONS="suppressions='$root/ci/tsan.supp':history_size=4:${TSAN_OPTIONS:-}"

copy="$CARGO_TARGET_DIR/tree"
rm -rf "$copy"
mkdir -p "$copy"
tar --exclude=target --exclude=.git -cf - . | tar -xmf - -C "$copy"
cd "$copy"
mapfile -t relaxed < <(grep -rlF '.load(Relaxed)' src)
((${#relaxed[@]})) || { echo "no relaxed load found: has their spelling changed?" >&2; exit 1; }
sed -i 's/\.load(Relaxed)/.load(crate::sync::Ordering::Acquire)/g' "${relaxed[@]}"
sed -i "s/^#!\[deny(unsafe_code)\]/&\n#![allow(unused_imports)]/" src/lib.rs

run() {
    local which=(--test "$1")
    if [[ $1 == lib ]]; then which=(--lib); fi
    shift
    timeout 1800 cargo +nightly test -p shmlog "${std[@]}" --target "$target" "${which[@]}" -- "$@"
}

printf '\n== planted race\n'
report="$CARGO_TARGET_DIR/planted"
status=0
run zero_copy --ignored --exact planted_race >"$report" 2>&1 || status=$?
# The test itself passes; the race is between its writer and its reader, and nothing else is reported.
if ((!status)) || ! grep -q '^test planted_race ... ok' "$report" || ! grep -q '#.*read_in_place' "$report"; then
    cat "$report" >&2
    echo "a race on purpose was not reported" >&2
    exit 1
fi
grep 'SUMMARY: ThreadSanitizer' "$report"

failed=()
for test in "${tests[@]}"; do
    printf '\n== %s\n' "$test"
    run "$test" || failed+=("$test")
done
if ((${#failed[@]})); then
    printf 'failed: %s\n' "${failed[*]}" >&2
    exit 1
fi
