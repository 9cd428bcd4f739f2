#!/usr/bin/env bash
# Weakens every ordering of src/core in turn, and makes every edit of tools/weaken.edits (steps left out or
# swapped), and requires some loom model to fail. All of them are built at once, in a copy of the tree, and
# switched on one by one.
#
#   tools/weaken.sh               all files
#   tools/weaken.sh hold.rs ...   these files of src/core
#   tools/weaken.sh --list [...]  only lists the mutants
#   tools/weaken.sh --update ...  also writes down in tools/weaken.killers which model failed
#   tools/weaken.sh --known ...   runs no other models than those: some minutes
#
# That model is tried first; all models run only if it passes. A mutant that survives them all needs a
# reason in tools/weaken.allow, and so does a file outside src/core that orders anything.
#
# Exit status: 0 all killed or allowed, 1 otherwise, 2 the script or a build failed.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
source="$root/src/core"
allow="$root/tools/weaken.allow"
edits="$root/tools/weaken.edits"
killers="$root/tools/weaken.killers"

list_only='' update='' known_only=''
while [[ ${1-} == --* ]]; do
    case $1 in
        --list) list_only=1 ;;
        --update) update=1 ;;
        --known) known_only=1 ;;
        *) printf 'weaken: no such option: %s\n' "$1" >&2; exit 2 ;;
    esac
    shift
done
if (($#)); then files=("$@"); else files=(); for f in "$source"/*.rs; do files+=("${f##*/}"); done; fi

die() { printf 'weaken: %s\n' "$*" >&2; exit 2; }

# One mutant in each: file, line, the text there with the rest of the file before and after it, what stands
# there instead, its name, and where: `file function: code`, counted if it is there more than once.
m_file=() m_line=() m_column=() m_old=() m_new=() m_name=() m_at=()
declare -A times=()
mutant() {
    m_file+=("$1"); m_line+=("$2"); m_column+=("$3"); m_old+=("$4"); m_new+=("$5"); m_name+=("$6")
    times["$7|$6"]=$((${times["$7|$6"]-0} + 1))
    if ((times["$7|$6"] > 1)); then m_at+=("$7 #${times["$7|$6"]}"); else m_at+=("$7"); fi
}

# Whole fences: `fence(Acquire);`, `light_fence(...);`, `memory.heavy_fence()`.
fence_call='((^|[^_[:alnum:]])(light_)?fence\([^;]*\);|[_[:alnum:].]+\.heavy_fence\(\))'
ordering='(^|[^_[:alnum:]])(Acquire|Release|AcqRel|SeqCst)([^_[:alnum:]]|$)'

# Collects the mutants of one code line.
scan_line() {
    local file=$1 number=$2 line=$3 code=${3%%//*} text name at rest before instead
    local where="$file $fn: ${line#"${line%%[![:space:]]*}"}"
    if [[ $code =~ $fence_call ]]; then
        text=${BASH_REMATCH[1]}
        case $text in [[:space:]\{]*) text=${text:1} ;; esac
        before=${code%%"$text"*}
        name=${text%%\(*}; name=${name##*.}
        [[ $text =~ \((Acquire|Release|AcqRel|SeqCst)\) ]] && name="$name(${BASH_REMATCH[1]})"
        # What a fence returns is still there without it.
        instead="if !crate::sync::is_mutant(MUTANT) { $text }"
        if [[ $name == heavy_fence ]]; then instead="(if crate::sync::is_mutant(MUTANT) { Ok(()) } else { $text })"; fi
        mutant "$file" "$number" ${#before} "$text" "$instead" "$name deleted" "$where"
        return
    fi
    [[ $code =~ (^|[^_[:alnum:]])fence\( ]] && die "$file:$number: a fence that is no statement of its own"
    rest=$code at=0
    while [[ $rest =~ $ordering ]]; do
        text=${BASH_REMATCH[2]}
        before=${rest%%"${BASH_REMATCH[0]}"*}${BASH_REMATCH[1]}
        at=$((at + ${#before}))
        mutant "$file" "$number" "$at" "$text" "crate::sync::weaker(MUTANT, $text)" "$text -> Relaxed" "$where"
        at=$((at + ${#text}))
        rest=${code:at}
    done
}

# Collects the mutants of one file: code up to the unit tests, without imports and comments.
scan_file() {
    local path="$source/$1" line number=0 in_use='' fn=''
    [[ -f $path ]] || die "no such file: src/core/$1"
    while IFS= read -r line; do
        number=$((number + 1))
        [[ $line =~ ^#\[cfg\((all\()?test ]] && break
        if [[ $line =~ ^[[:space:]]*(pub )?use[[:space:]] ]]; then in_use=1; fi
        if [[ $line =~ ^[[:space:]]*(pub(\([a-z]+\))? )?fn\ ([_[:alnum:]]+) ]]; then fn=${BASH_REMATCH[3]}; fi
        if [[ $in_use ]]; then
            if [[ $line == *\; ]]; then in_use=; fi
        elif [[ ! $line =~ ^[[:space:]]*// ]]; then
            scan_line "$1" "$number" "$line"
        fi
    done <"$path"
}

# Ends the edit that scan_edits is reading.
end_edit() {
    [[ $file ]] || return 0
    local text before
    [[ $old && $old != "$new" ]] || die "weaken.edits: $file: $name: changes nothing"
    for f in "${files[@]}"; do
        [[ $f == "$file" ]] || continue
        text=$(<"$source/$file")
        [[ $text == *"$old"* ]] || die "weaken.edits: $file: $name: the lines are not there any more"
        before=${text%%"$old"*}
        [[ ${text:${#before}+${#old}} != *"$old"* ]] || die "weaken.edits: $file: $name: the lines are there twice"
        mutant "$file" "$(printf '%s.' "$before" | grep -c '')" -1 "$old" "$new" "$name" "$file edited"
    done
    file=
}

# Collects the edits. See the head of weaken.edits for its form.
scan_edits() {
    local line file='' name='' old='' new='' text
    while IFS= read -r line || [[ $line ]]; do
        text=${line:1}$'\n'
        case $line in
            @*) end_edit; line=${line#@ }; file=${line%%: *} name=${line#*: } old='' new='' ;;
            -*) old+=$text ;;
            +*) new+=$text ;;
            ' '*) old+=$text new+=$text ;;
            '' | '#'*) ;;
            *) die "weaken.edits: what is this: $line" ;;
        esac
    done <"$edits"
    end_edit
}

# The reason why mutant $1 may survive, or nothing. See the head of weaken.allow for its form.
reason() {
    local line here=
    while IFS= read -r line; do
        case $line in
            '#'* | '') ;;
            [![:space:]]*) if [[ $line == "${m_at[$1]}" ]]; then here=1; else here=; fi ;;
            "    ${m_name[$1]}: "*) if [[ $here ]]; then printf '%s' "${line#*"${m_name[$1]}: "}"; return; fi ;;
        esac
    done <"$allow"
}

# Entries of weaken.allow and weaken.killers that fit no mutant and no file.
unused() {
    local line at i
    while IFS= read -r line; do
        case $line in '#'* | '' | [[:space:]]*) continue ;; src/*) [[ -f $root/$line ]] && continue ;; esac
        for at in "${m_at[@]}"; do [[ $line == "$at" ]] && continue 2; done
        printf 'weaken.allow: no such place any more: %s\n' "$line"
    done <"$allow"
    while IFS= read -r line; do
        for ((i = 0; i < total; i++)); do [[ $line == "${m_at[i]} | ${m_name[i]} = "* ]] && continue 2; done
        printf 'weaken.killers: no such mutant any more: %s\n' "$line"
    done <"$killers"
}

# Files outside src/core that order something and are not in weaken.allow.
elsewhere() {
    local path
    while IFS= read -r path; do
        grep -qxF "$path" "$allow" || printf 'orders something, out of reach of the models: %s\n' "$path"
    done < <(cd "$root" && grep -rlE '\b(Acquire|Release|AcqRel|SeqCst)\b|\bfence\(' src --include='*.rs' |
        grep -v '^src/core/' | sort)
}

# The body of the function that edit $1 is in: of which to which of the file's `lines`, in `from` and `to` (rustfmt's
# indentation tells), and what it is when edited, in `body`.
edited_body() {
    local at=$((m_line[$1] - 1)) indent text
    while ((at >= 0)) && [[ ! ${lines[at]} =~ ^([[:space:]]*)(pub(\([a-z]+\))? )?fn\  ]]; do at=$((at - 1)); done
    ((at >= 0)) || die "weaken.edits: ${m_file[$1]}: ${m_name[$1]}: is in no function"
    indent=${BASH_REMATCH[1]}
    while [[ ${lines[at]} != *'{' ]]; do at=$((at + 1)); done
    from=$((at + 1)) to=$at
    until [[ ${lines[to + 1]} == "$indent}" ]]; do to=$((to + 1)); done
    text=$(printf '%s\n' "${lines[@]:from:to - from + 1}")$'\n'
    [[ $text == *"${m_old[$1]}"* ]] || die "weaken.edits: ${m_file[$1]}: ${m_name[$1]}: is not in one function"
    body=${text%%"${m_old[$1]}"*}${m_new[$1]}${text#*"${m_old[$1]}"}
}

# Writes a file with all its mutants into the copy, to be switched on by their numbers, which begin with 1:
# each weakened ordering where it is, each edit as another body of its function.
write_switches() {
    local lines i from to body line column text
    local -A first=() last=()
    mapfile -t lines <"$source/$1"
    local switched=("${lines[@]}")
    # Backwards, so that the columns before stay.
    for ((i = total - 1; i >= 0; i--)); do
        [[ ${m_file[i]} == "$1" ]] || continue
        if ((m_column[i] < 0)); then
            edited_body "$i"
            first[$from]="if crate::sync::is_mutant($((i + 1))) {"$'\n'"$body} else ${first[$from]-}"
            last[$to]='}'
        else
            line=$((m_line[i] - 1)) column=${m_column[i]} text=${switched[line]}
            switched[line]="${text:0:column}${m_new[i]//MUTANT/$((i + 1))}${text:column+${#m_old[i]}}"
        fi
    done
    for ((i = 0; i < ${#lines[@]}; i++)); do
        if [[ ${first[$i]-} ]]; then printf '%s{\n' "${first[$i]}"; fi
        printf '%s\n' "${switched[i]}"
        if [[ ${last[$i]-} ]]; then printf '%s\n' "${last[$i]}"; fi
    done >"$copy/src/core/$1"
}

# What switches mutants on.
switch='
static MUTANT: std::sync::LazyLock<usize> =
    std::sync::LazyLock::new(|| std::env::var("WEAKEN_MUTANT").map_or(0, |number| number.parse().unwrap()));
#[allow(missing_docs)]
pub fn is_mutant(number: usize) -> bool {
    *MUTANT == number
}
#[allow(missing_docs)]
pub fn weaker(number: usize, ordering: Ordering) -> Ordering {
    if is_mutant(number) { Ordering::Relaxed } else { ordering }
}'

# Runs the models of one test binary. Sets `killer` to the first that failed.
run() {
    local binary=$1 status=0
    shift
    timeout 1800 "${binaries[$binary]}" "$@" >"$log" 2>&1 9>&- || status=$?
    ((status)) || return 0
    if ((status == 124)); then die "$binary $*: no end in sight"; fi
    killer=$(sed -n 's/^test \([^ ]*\) \.\.\. FAILED$/\1/p' "$log" | sort -u | head -n 1)
    killer="$binary ${killer:-status $status}"
}

# Runs all models, the quickest binaries of the first run first.
run_all() {
    local binary since
    for binary in $(for name in "${!binaries[@]}"; do printf '%s %s\n' "${took[$name]-0}" "$name"; done | sort -n | cut -d' ' -f2); do
        since=$SECONDS
        run "$binary"
        if [[ $killer ]]; then return; fi
        took[$binary]=$((SECONDS - since))
    done
}

# Runs the models of weaken.killers, each once.
run_known() {
    local binary model
    while read -r binary model; do
        [[ ${binaries[$binary]-} ]] || continue
        run "$binary" --exact "$model"
        if [[ $killer ]]; then return; fi
    done < <(sed 's/.* = //' "$killers" | sort -u)
}

# Runs the models on mutant $1, the one that failed last time first.
run_mutant() {
    local binary model at="${m_at[$1]} | ${m_name[$1]} = " line
    killer=
    export WEAKEN_MUTANT=$(($1 + 1))
    while IFS= read -r line; do
        [[ $line == "$at"* ]] || continue
        read -r binary model <<<"${line#"$at"}"
        [[ ${binaries[$binary]-} ]] || continue
        run "$binary" --exact "$model"
        if [[ $killer ]]; then return; fi
    done <"$killers"
    [[ $known_only ]] || run_all
    if [[ $update && $killer ]]; then
        line=$({ grep -vF "$at" "$killers" || true; printf '%s%s\n' "$at" "$killer"; } | LC_ALL=C sort)
        printf '%s\n' "$line" >"$killers"
    fi
}

scan() {
    for file in "${files[@]}"; do scan_file "$file"; done
    scan_edits
    total=${#m_file[@]}
}

if [[ $list_only ]]; then
    scan
    for ((i = 0; i < total; i++)); do
        printf '%-16s %-24s %s\n' "${m_file[i]}:${m_line[i]}" "${m_name[i]}" "${m_at[i]#* }"
    done
    elsewhere
    printf '%d mutants\n' "$total"
    exit
fi

export CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-$root/target}/weaken" RUST_BACKTRACE=0
export RUSTFLAGS="--cfg loom -C debug-assertions=on" LOOM_MAX_PREEMPTIONS="${LOOM_MAX_PREEMPTIONS:-2}"
mkdir -p "$CARGO_TARGET_DIR"
exec 9>"$CARGO_TARGET_DIR/lock"
flock -n 9 || die "another one is running in $CARGO_TARGET_DIR"
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
copy="$CARGO_TARGET_DIR/tree" log="$scratch/log"
rm -rf "$copy"
mkdir "$copy"
# Touched, because Cargo compares times and the place is that of the last run.
(cd "$root" && tar --exclude=target --exclude=.git -cf - .) | tar -xmf - -C "$copy"
cp -R "$copy/src/core" "$scratch/core"
source="$scratch/core"
scan
for file in "${files[@]}"; do write_switches "$file"; done
printf '%s\n' "$switch" >>"$copy/src/sync.rs"
(cd "$copy" && cargo test --release -p loom-tests --tests --no-run) >"$log" 2>&1 9>&- ||
    { cat "$log" >&2; die "does not compile"; }
declare -A binaries=() took=()
while read -r name path; do binaries[$name]=$path; done \
    < <(sed -n 's|^ *Executable tests/\([^.]*\)\.rs (\(.*\))$|\1 \2|p' "$log")
cd "$copy"
killer=''
export WEAKEN_MUTANT=0
if [[ $known_only ]]; then run_known; else run_all; fi
[[ ! $killer ]] || { cat "$log" >&2; die "a model fails without any mutant: $killer"; }

killed=0 allowed=0 failed=0
for ((i = 0; i < total; i++)); do
    run_mutant "$i"
    why=$(reason "$i")
    if [[ $killer && $why ]]; then failed=$((failed + 1)) verdict="KILLED THOUGH ALLOWED: $killer"
    elif [[ $killer ]]; then killed=$((killed + 1)) verdict="killed: $killer"
    elif [[ $why ]]; then allowed=$((allowed + 1)) verdict="allowed: $why"
    else failed=$((failed + 1)) verdict=SURVIVED; fi
    printf '%-16s %-24s %s\n' "${m_file[i]}:${m_line[i]}" "${m_name[i]}" "$verdict"
done

if ((! $#)); then
    stale=$(unused; elsewhere)
    if [[ $stale ]]; then printf '%s\n' "$stale"; failed=$((failed + 1)); fi
fi

printf '%d mutants: %d killed, %d allowed, %d to look at\n' "$total" "$killed" "$allowed" "$failed"
((failed == 0))
