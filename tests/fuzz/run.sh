#!/usr/bin/env bash
# Runs every fuzz target, starting from its kept corpus: one line a target with its executions, `N passed, M failed` at
# the end. What breaks a target is left in tests/artefacts/, and fails the run.
#   tests/fuzz/run.sh [SECONDS [NAME…]]    20 s each without SECONDS, all targets without NAME
# Inputs found on the way are not kept; to keep those that reach new code, run
#   build-fuzz/tests/fuzz/fuzz_NAME -merge=1 tests/fuzz/corpus/NAME DIRECTORY
set -u
cd "$(dirname "${BASH_SOURCE[0]}")/../.." || exit 2
seconds=${1:-20}
shift $(($# > 0))
build="build-fuzz"
passed=0 failed=0

prepare() {
    [ -f $build/build.ninja ] ||
        CC=clang meson setup $build -Dfuzz=true -Db_sanitize=address,undefined -Db_lundef=false -Dwerror=false
    ninja -C $build fuzz
}

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
if ! prepare >"$work/build.log" 2>&1; then
    tail -n 40 "$work/build.log"
    echo 'FAIL  the targets do not build'
    echo '0 passed, 1 failed'
    exit 1
fi

fuzz() { # NAME: from its kept corpus, with new inputs set aside
    local name=$1 dict=()
    mkdir -p "$work/$name" tests/artefacts
    [ -f "tests/fuzz/$name.dict" ] && dict=("-dict=tests/fuzz/$name.dict")
    UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1 "$build/tests/fuzz/fuzz_$name" \
        -max_total_time="$seconds" -timeout=10 -rss_limit_mb=1024 -print_final_stats=1 "${dict[@]}" \
        -artifact_prefix="tests/artefacts/fuzz-$name-" "$work/$name" "tests/fuzz/corpus/$name" >"$work/$name.log" 2>&1
}

report() { # NAME STATUS
    local runs
    runs=$(sed -nE 's/^stat::number_of_executed_units: +([0-9]+)$/\1/p' "$work/$1.log")
    if [ "$2" -eq 0 ] && [ "${runs:-0}" -gt 0 ]; then
        passed=$((passed + 1))
        printf 'ok    fuzz %-12s %10d executions in %d s\n' "$1" "$runs" "$seconds"
    else
        failed=$((failed + 1))
        printf 'FAIL  fuzz %-12s after %d executions\n' "$1" "${runs:-0}"
        tail -n 60 "$work/$1.log"
    fi
}

names=()
for source in tests/fuzz/fuzz_*.c; do
    name=$(basename "$source" .c)
    name=${name#fuzz_}
    [ $# -gt 0 ] && [[ " $* " != *" $name "* ]] && continue
    names+=("$name")
done

# As many at a time as there are cores: a target runs on one.
cores=$(nproc)
for ((at = 0; at < ${#names[@]}; at += cores)); do
    batch=("${names[@]:at:cores}") pids=()
    for name in "${batch[@]}"; do
        fuzz "$name" &
        pids+=($!)
    done
    for i in "${!batch[@]}"; do
        status=0
        wait "${pids[i]}" || status=$?
        report "${batch[i]}" "$status"
    done
done
printf '%d passed, %d failed\n' "$passed" "$failed"
[ "$failed" -eq 0 ] && [ "$passed" -gt 0 ]
