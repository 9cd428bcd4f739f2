#!/usr/bin/env bash
# Fuzzes each target: ci/fuzz.sh [SECONDS] [TARGETS...], 60 seconds and all targets unless told otherwise. Begins with
# the committed corpus and leaves it as it is; SHMLOG_FUZZ_CORPUS=DIR keeps what was found in DIR. Prints a table;
# exit status 1: there are findings, in fuzz/artifacts; 2: it can't be run here.
# Needs a nightly toolchain; installs cargo-fuzz.
set -euo pipefail
cd "$(dirname "$0")/.."

seconds="${1:-60}"
shift || true
[[ "$seconds" =~ ^[0-9]+$ ]] || { echo "usage: ci/fuzz.sh [SECONDS] [TARGETS...]" >&2; exit 2; }

if ! cargo +nightly --version >/dev/null 2>&1; then
    echo "fuzzing needs a nightly toolchain: rustup toolchain install nightly --profile minimal" >&2
    exit 2
fi
if ! cargo fuzz --version >/dev/null 2>&1; then
    cargo install cargo-fuzz --locked
fi

export CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-$PWD/fuzz/target}"
targets=("$@")
if [ ${#targets[@]} -eq 0 ]; then
    mapfile -t targets < <(cargo +nightly fuzz list)
fi
cargo +nightly fuzz build
host="$(rustc -vV | sed -n 's/^host: //p')"

# In memory where that is possible: regions on a disk are slower.
scratch="$(mktemp -d "$([ -w /dev/shm ] && echo /dev/shm || echo "${TMPDIR:-/tmp}")/shmlog-fuzz.XXXXXX")"
trap 'rm -rf "$scratch"' EXIT
export TMPDIR="$scratch/tmp"
mkdir "$TMPDIR"
# Short stacks of allocations: they are not of interest unless there is a finding, and take time.
export ASAN_OPTIONS="malloc_context_size=4:quarantine_size_mb=32:detect_stack_use_after_return=0:${ASAN_OPTIONS:-}"
corpora="${SHMLOG_FUZZ_CORPUS:-$scratch/corpus}"

# The last number after a word of libFuzzer's.
last() { grep -oE "$2 *[0-9]+" "$1" | tail -n 1 | grep -oE '[0-9]+' || echo 0; }

found=0
table="| target | seconds | executions | executions/s | slowest, s | edges | features | corpus | findings |
|---|---|---|---|---|---|---|---|---|"
for target in "${targets[@]}"; do
    corpus="$corpora/$target"
    artifacts="$scratch/artifacts/$target"
    log="$scratch/$target.log"
    mkdir -p "$corpus" "$artifacts"
    cp -n "fuzz/corpus/$target/"* "$corpus/" 2>/dev/null || true
    status=0
    # A hang is 10 s, an allocation without bound 64 MiB at once.
    "$CARGO_TARGET_DIR/$host/release/$target" "$corpus" -max_total_time="$seconds" -max_len=600 -len_control=20 \
        -timeout=10 -malloc_limit_mb=64 -rss_limit_mb=2048 -artifact_prefix="$artifacts/" -print_final_stats=1 \
        >"$log" 2>&1 || status=$?
    # This run's own: others may be under way.
    findings="$(find "$artifacts" -type f | wc -l)"
    if [ "$status" -ne 0 ] || [ "$findings" -gt 0 ]; then
        [ "$findings" -gt 0 ] || findings=1
        found=1
        mkdir -p "fuzz/artifacts/$target"
        cp "$log" "$artifacts/last.log"
        cp "$artifacts"/* "fuzz/artifacts/$target/"
        grep -E -A 3 'panicked at|ERROR: |SUMMARY: ' "$log" | cut -c 1-300 | head -n 30 >&2 || true
    fi
    row="| $target | $seconds | $(last "$log" number_of_executed_units:) | $(last "$log" average_exec_per_sec:)"
    row="$row | $(last "$log" slowest_unit_time_sec:) | $(last "$log" cov:) | $(last "$log" ft:) | $(find "$corpus" -type f | wc -l)"
    row="$row | $findings |"
    table="$table
$row"
    echo "$row" >&2
    find "$TMPDIR" -mindepth 1 -delete
done
printf '\n%s\n' "$table"
exit "$found"
