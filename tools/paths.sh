#!/usr/bin/env bash
# Instructions, loads, stores and locked operations of each path, by callgrind: the table of docs/performance.md.
# Counts do not depend on the machine's load. Needs valgrind.
set -euo pipefail
cd "$(dirname "$0")/.."

command -v valgrind >/dev/null || { echo "paths: install valgrind" >&2; exit 1; }
calls=20000
program=$(cargo bench --bench paths --no-run --message-format json 2>/dev/null |
    sed -n 's/.*"name":"paths".*"executable":"\([^"]*\)".*/\1/p' | tail -1)
out=$(mktemp)
trap 'rm -f "$out"' EXIT
valgrind --tool=callgrind --cache-sim=yes --collect-bus=yes --callgrind-out-file="$out" "$program" >/dev/null 2>&1

printf '%-22s %12s %6s %7s %7s\n' path instructions loads stores locked
callgrind_annotate --inclusive=yes --show=Ir,Dr,Dw,Ge "$out" 2>/dev/null |
    grep -E 'paths::path_[a-z_]+' | sed -E 's/\([^)]*%\)//g; s/,//g' |
    awk -v calls=$calls '{
        match($0, /path_[a-z_]+/); name = substr($0, RSTART + 5, RLENGTH - 5)
        n = name == "batch" ? 2 * calls : calls
        if (!(name in seen)) { seen[name] = 1; printf "%-22s %12.1f %6.1f %7.1f %7.2f\n", name, $1 / n, $2 / n, $3 / n, $4 / n }
    }' | sort
