#!/usr/bin/env bash
# The full sweep of what ci/test.sh runs in bounded form. Writes target/proof/report.md, whose tables are
# copied into docs/proof.md. Takes hours; as root it covers most.
#
#   ci/proof.sh                 everything
#   ci/proof.sh kill fuzz ...   these parts: kill stop fuzz adversary stress limits long crash weaken tsan models
#
# SHMLOG_FUZZ_SECONDS (600) for each target, SHMLOG_SECONDS (300) for the adversary and for the stress.
# Exit status: 0 no part found anything, 1 otherwise.
set -uo pipefail
cd "$(dirname "$0")/.."

all=(kill stop fuzz adversary stress limits long crash weaken tsan models)
parts=("${@:-${all[@]}}")
proof=target/proof
report=$proof/report.md
failed=()
mkdir -p "$proof"

# Appends to the report.
say() { printf '%s\n' "$*" >>"$report"; }

# Runs part $1, described by $2, by the command behind; keeps what it prints.
part() {
    local name=$1 what=$2 started=$SECONDS code=0 status=passed
    shift 2
    printf '== %s\n' "$name"
    "$@" >"$proof/$name.txt" 2>"$proof/$name.err" || code=$?
    # 2: it can't be run here, and says why.
    case $code in 0) ;; 2) status="NOT RUN"; failed+=("$name") ;; *) status=FAILED; failed+=("$name") ;; esac
    say "" "## $what" "" "$status in $((SECONDS - started)) s: \`$*\`" ""
    printf '%s\n' "$status"
}

# Copies the lines that part $1 printed and that match $2 into the report, as they are; or as a block. None: something
# is wrong with the part.
table() { grep -E "$2" "$proof/$1.txt" >>"$report" || { say "nothing to report"; failed+=("$1: no report"); }; }
lines() { say '```'; table "$1" "$2"; say '```'; }

run() {
    case $1 in
        kill)
            part kill "Killed at every instruction" cargo run --release -q -p killstep -- --mode kill --markdown
            table kill '^(\||VIOLATION)' ;;
        stop)
            part stop "Stopped at every instruction" cargo run --release -q -p killstep -- --mode stop --markdown
            table stop '^(\||VIOLATION)' ;;
        fuzz)
            part fuzz "Coverage-guided fuzzing" ci/fuzz.sh "${SHMLOG_FUZZ_SECONDS:-600}"
            table fuzz '^\|' ;;
        adversary)
            part adversary "An adversary with writable mappings" \
                env SHMLOG_SECONDS="${SHMLOG_SECONDS:-300}" cargo test --release --all-features --test adversary -- --nocapture --test-threads=1
            lines adversary '^(process|  [a-z]|adversary|attacher|exclusive|shared|free|gated|loader|pinner|publisher|[0-9]+ rounds)' ;;
        stress)
            part stress "Stress: pinning, preemption, signals" \
                env SHMLOG_SECONDS="${SHMLOG_SECONDS:-300}" cargo test --release --all-features --test stress -- --nocapture --test-threads=1
            lines stress '^(round |  all|[0-9]+ rounds|test result)' ;;
        limits)
            part limits "Limits reached on purpose" cargo test --all-features --test limits -- --nocapture --test-threads=1
            lines limits '^(test |SKIPPED)' ;;
        long)
            part long "Long versions of the tests" env SHMLOG_LONG=1 cargo test --release --all-features --test processes \
                --test snapshot_kill --test snapshot_torn --test hub_siege --test sigbus --test journal_processes -- --nocapture
            lines long '^test result' ;;
        crash)
            part crash "Crash images of the journal" env SHMLOG_LONG=1 cargo test --release --all-features --lib journal::crash -- --nocapture
            lines crash '^(test result|.*images)' ;;
        weaken)
            part weaken "Weakened orderings" tools/weaken.sh
            lines weaken 'SURVIVED|[Aa]llowed|ALLOWED|any more|out of reach|orders something|mutants' ;;
        tsan)
            part tsan "ThreadSanitizer" ci/tsan.sh
            lines tsan '^(==|test result|skipped)' ;;
        models)
            part models "Loom models, three preemptions" env LOOM_MAX_PREEMPTIONS=3 ci/loom.sh
            lines models '^test result' ;;
        *) printf 'proof: no part called %s\n' "$1" >&2; exit 2 ;;
    esac
}

: >"$report"
say "# Proof" "" "$(date -u +%F), commit $(git describe --always --dirty 2>/dev/null || echo unknown), $(uname -sr), $(nproc) cores, $(rustc --version)"
for name in "${parts[@]}"; do run "$name"; done
printf '%s\n' "$report"
if ((${#failed[@]})); then printf 'failed: %s\n' "${failed[*]}"; exit 1; fi
