#!/usr/bin/env bash
# Weakens every ordering of src/core in turn, in a copy of the tree, and requires some loom model
# to fail. A mutant that survives needs a reason in tools/weaken.allow.
#
#   tools/weaken.sh               all files
#   tools/weaken.sh hold.rs ...   these files of src/core
#   tools/weaken.sh --list [...]  only lists the mutants
#
# Exit status: 0 all killed or allowed, 1 otherwise, 2 the script or a build failed.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
source="$root/src/core"
allow="$root/tools/weaken.allow"

list_only=
if [[ ${1-} == --list ]]; then list_only=1; shift; fi
if (($#)); then files=("$@"); else files=(); for f in "$source"/*.rs; do files+=("${f##*/}"); done; fi

die() { printf 'weaken: %s\n' "$*" >&2; exit 2; }

# One mutant in each: file, line, column, the text there, what stands there instead, its name, and
# the code line without its indentation.
m_file=() m_line=() m_column=() m_old=() m_new=() m_name=() m_code=()
mutant() {
    m_file+=("$1"); m_line+=("$2"); m_column+=("$3"); m_old+=("$4"); m_new+=("$5"); m_name+=("$6")
    m_code+=("${7#"${7%%[![:space:]]*}"}")
}

# Whole fences: `fence(Acquire);`, `light_fence(...);`, `memory.heavy_fence()`.
fence_call='((^|[^_[:alnum:]])(light_)?fence\([^;]*\);|[_[:alnum:].]+\.heavy_fence\(\))'
ordering='(^|[^_[:alnum:]])(Acquire|Release|AcqRel|SeqCst)([^_[:alnum:]]|$)'

# Collects the mutants of one code line.
scan_line() {
    local file=$1 number=$2 line=$3 code=${3%%//*} text name at rest before
    if [[ $code =~ $fence_call ]]; then
        text=${BASH_REMATCH[1]}
        case $text in [[:space:]\{]*) text=${text:1} ;; esac
        before=${code%%"$text"*}
        name=${text%%\(*}; name=${name##*.}
        [[ $text =~ \((Acquire|Release|AcqRel|SeqCst)\) ]] && name="$name(${BASH_REMATCH[1]})"
        # What a fence returns is still there without it.
        local instead=
        if [[ $name == heavy_fence ]]; then instead='Ok::<(), crate::core::memory::NoBarrier>(())'; fi
        mutant "$file" "$number" ${#before} "$text" "$instead" "$name deleted" "$line"
        return
    fi
    rest=$code at=0
    while [[ $rest =~ $ordering ]]; do
        text=${BASH_REMATCH[2]}
        before=${rest%%"${BASH_REMATCH[0]}"*}${BASH_REMATCH[1]}
        mutant "$file" "$number" $((at + ${#before})) "$text" crate::sync::Ordering::Relaxed "$text -> Relaxed" "$line"
        at=$((at + ${#before} + ${#text}))
        rest=${code:at}
    done
}

# Collects the mutants of one file: code up to the unit tests, without imports and comments.
scan_file() {
    local path="$source/$1" line number=0 in_use=
    [[ -f $path ]] || die "no such file: src/core/$1"
    while IFS= read -r line; do
        number=$((number + 1))
        [[ $line =~ ^#\[cfg\((all\()?test ]] && break
        if [[ $line =~ ^[[:space:]]*(pub )?use[[:space:]] ]]; then in_use=1; fi
        if [[ $in_use ]]; then
            if [[ $line == *\; ]]; then in_use=; fi
        elif [[ ! $line =~ ^[[:space:]]*// ]]; then
            scan_line "$1" "$number" "$line"
        fi
    done <"$path"
}

# The reason why mutant $1 may survive, or nothing. See the head of weaken.allow for its form.
reason() {
    local line at_code=
    while IFS= read -r line; do
        case $line in
            '#'* | '') ;;
            [![:space:]]*) if [[ $line == "${m_file[$1]}: ${m_code[$1]}" ]]; then at_code=1; else at_code=; fi ;;
            "    ${m_name[$1]}: "*) if [[ $at_code ]]; then printf '%s' "${line#*: }"; return; fi ;;
        esac
    done <"$allow"
}

# Entries of weaken.allow that fit no mutant.
unused() {
    local line i
    while IFS= read -r line; do
        case $line in '#'* | '' | [[:space:]]*) continue ;; esac
        for ((i = 0; i < total; i++)); do [[ $line == "${m_file[i]}: ${m_code[i]}" ]] && continue 2; done
        printf 'weaken.allow: no such line any more: %s\n' "$line"
    done <"$allow"
}

# Writes the file of mutant $1, with the mutant, into the copy.
write_mutant() {
    local i=$1 path="$copy/src/core/${m_file[$1]}" line number=0
    while IFS= read -r line; do
        number=$((number + 1))
        if ((number == m_line[i])); then
            [[ ${line:m_column[i]:${#m_old[i]}} == "${m_old[i]}" ]] || die "lost my place in ${m_file[i]}:$number"
            line="${line:0:m_column[i]}${m_new[i]}${line:m_column[i]+${#m_old[i]}}"
        fi
        printf '%s\n' "$line"
    done <"$source/${m_file[i]}" >"$path.new"
    mv "$path.new" "$path"
}

restore() { cp "$source/${m_file[$1]}" "$copy/src/core/${m_file[$1]}"; }

# Runs the models on mutant $1. Sets `killer` to the model that failed, or to nothing.
run_mutant() {
    local log="$scratch/log"
    killer=
    (cd "$copy" && cargo test --release -p loom-tests --no-run) >"$log" 2>&1 ||
        { cat "$log" >&2; die "${m_file[$1]}:${m_line[$1]}, ${m_name[$1]}: does not compile"; }
    if (cd "$copy" && timeout 1800 cargo test --release -p loom-tests --tests) >"$log" 2>&1; then return; fi
    killer=$(sed -n 's/^test \([^ ]*\) \.\.\. FAILED$/\1/p' "$log" | sort -u | paste -sd, - | sed 's/,/, /g')
    killer=${killer:-$(tail -n 1 "$log")}
}

scan() {
    for file in "${files[@]}"; do scan_file "$file"; done
    total=${#m_file[@]}
}

if [[ $list_only ]]; then
    scan
    for ((i = 0; i < total; i++)); do
        printf '%-16s %-24s %s\n' "${m_file[i]}:${m_line[i]}" "${m_name[i]}" "${m_code[i]}"
    done
    printf '%d mutants\n' "$total"
    exit
fi

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
copy="$scratch/tree"
mkdir "$copy"
(cd "$root" && tar --exclude=./target --exclude=./.git -cf - .) | tar -xf - -C "$copy"
cp -R "$copy/src/core" "$scratch/core"
source="$scratch/core"
scan
export CARGO_TARGET_DIR="$scratch/target" RUST_BACKTRACE=0
export RUSTFLAGS="--cfg loom -C debug-assertions=on" LOOM_MAX_PREEMPTIONS="${LOOM_MAX_PREEMPTIONS:-2}"

(cd "$copy" && cargo test --release -p loom-tests --tests) >"$scratch/log" 2>&1 ||
    { cat "$scratch/log" >&2; die "the models fail without any mutant"; }

killed=0 allowed=0 failed=0
for ((i = 0; i < total; i++)); do
    write_mutant "$i"
    run_mutant "$i"
    restore "$i"
    why=$(reason "$i")
    if [[ $killer && $why ]]; then failed=$((failed + 1)) verdict="KILLED THOUGH ALLOWED: $killer"
    elif [[ $killer ]]; then killed=$((killed + 1)) verdict="killed: $killer"
    elif [[ $why ]]; then allowed=$((allowed + 1)) verdict="allowed: $why"
    else failed=$((failed + 1)) verdict=SURVIVED; fi
    printf '%-16s %-24s %s\n' "${m_file[i]}:${m_line[i]}" "${m_name[i]}" "$verdict"
done

if ((! $#)); then
    stale=$(unused)
    if [[ $stale ]]; then printf '%s\n' "$stale"; failed=$((failed + 1)); fi
fi

printf '%d mutants: %d killed, %d allowed, %d to look at\n' "$total" "$killed" "$allowed" "$failed"
((failed == 0))
