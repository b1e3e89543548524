#!/usr/bin/env bash
# Every test, from a clean checkout: installs what is missing, builds, judges, runs; one line a suite, the log of a
# suite only where it fails, and `N passed, M failed` at the end. The exit status says the same.
#   tests/run.sh            everything, in some minutes
#   tests/run.sh --long     the same, with the fuzzers given far longer, and the tests that take minutes
#   tests/run.sh --only S   suites whose name contains S, and the builds that they need
set -u
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 2
root=$PWD

fuzz_seconds=10 long='' only=''
while [ $# -gt 0 ]; do
    case $1 in
    --long) fuzz_seconds=600 long=yes && export REFRAIN_LONG=yes && shift ;;
    --only) only=${2:?--only needs a name} && shift 2 ;;
    *) sed -n '2,/^set/{/^set/d; s/^# \{0,1\}//p}' "$0" && exit 2 ;;
    esac
done

logs=$(mktemp -d)
trap 'rm -rf "$logs"' EXIT
passed=0 failed=0

# --- one suite: runs, is counted, says one line ---

# The count functions read a suite's log and print "PASSED FAILED".
count_line() { # our own scripts: the last `N passed, M failed`
    sed -nE 's/^([0-9]+) passed, ([0-9]+) failed.*/\1 \2/p' "$1" | tail -n 1
}

count_unit() { # cmocka's cases, and test programs that died without counting
    awk '/^\[  PASSED  \] [0-9]+ test/ { passed += $4 } /^\[  FAILED  \] [0-9]+ test/ { cases += $4 }
         /^Fail: |^Timeout: / { programs += $NF }
         END { print passed + 0, (cases > programs ? cases : programs) + 0 }' "$1"
}

count_long() { # meson's own count of programs
    awk '/^Ok: / { passed = $NF } /^Fail: |^Timeout: / { failed += $NF } END { print passed + 0, failed + 0 }' "$1"
}

count_pytest() { # the last line of each run there is
    awk '/^(=+ )?[0-9]+ (passed|failed|skipped|error|deselected).* in [0-9.]+s/ {
            for (i = 2; i <= NF; i++) {
                if ($i ~ /^passed/) passed += $(i - 1)
                if ($i ~ /^(failed|errors?)/) failed += $(i - 1)
            } }
         END { print passed + 0, failed + 0 }' "$1"
}

count_node() {
    awk '$2 == "pass" { passed = $3 } $2 == "fail" || $2 == "cancelled" { failed += $3 }
         END { print passed + 0, failed + 0 }' "$1"
}

# The names of what failed, before all the rest: a log that is cut short still tells them.
what_failed() { # LOG
    grep -hE '^(FAILED|ERROR) |^\[  FAILED  \] [^0-9]|^ *[0-9]+/[0-9]+ .* (FAIL|TIMEOUT) |^✖ ' "$1" | cut -c 1-300 | sort -u | head -n 20
    return 0
}

suite() { # NAME COUNT COMMAND…
    local name=$1 count=$2 log good bad status=0 began=$SECONDS
    shift 2
    [[ $name == *"$only"* ]] || return 0
    log=$logs/${name// /-}
    "$@" >"$log" 2>&1 </dev/null || status=$?
    read -r good bad <<<"$("$count" "$log")"
    good=${good:-0} bad=${bad:-0}
    # A suite that failed, or ran nothing, counts as a failure even where its own count says otherwise.
    if [ "$bad" -eq 0 ] && { [ "$status" -ne 0 ] || [ "$good" -eq 0 ]; }; then
        bad=1
    fi
    passed=$((passed + good)) failed=$((failed + bad))
    if [ "$bad" -eq 0 ]; then
        printf 'ok    %-22s %5d passed%24s\n' "$name" "$good" "$((SECONDS - began)) s"
    else
        printf 'FAIL  %-22s %5d passed, %d failed, exit %d%10s\n' "$name" "$good" "$bad" "$status" "$((SECONDS - began)) s"
        { what_failed "$log" && tail -n 200 "$log"; } | sed 's/^/    | /'
    fi
}

# --- the suites ---

build() { # DIRECTORY
    local options=()
    case $1 in
    build-asan) options=("-Db_sanitize=address,undefined" -Db_lundef=false) ;;
    build-tsan) options=(-Db_sanitize=thread -Db_lundef=false) ;;
    esac
    { [ -f "$1/build.ninja" ] || meson setup "$1" "${options[@]}"; } && ninja -C "$1" && echo '1 passed, 0 failed'
}

# With everything asked for, the first suites have built what the others run.
built() { # DIRECTORY
    [ -z "$only" ] || build "$1"
}

unit() { # DIRECTORY
    local status=0 failures
    built "$1" || return
    # Most of their time they wait, for servers that they start and stop: more of them at once than there are cores.
    failures=$(meson test -C "$1" --suite unit --no-rebuild --print-errorlogs --timeout-multiplier 4 \
        --num-processes $((4 * $(nproc)))) || status=$?
    cat "$1/meson-logs/testlog.txt"
    # What failed stands last; marked, so that it counts once.
    [ "$status" -eq 0 ] || printf '> %s\n' "${failures//$'\n'/$'\n'> }"
    return $status
}

long() { # DIRECTORY: each of these takes minutes
    built "$1" && meson test -C "$1" --suite long --no-rebuild --print-errorlogs
}

binary() { # DIRECTORY
    [ -x "$root/$1/refrain" ] && echo "$root/$1/refrain"
}

scenarios() { # FILE LOG
    timeout 900 /usr/bin/python3 -m pytest "$1" >"$2" 2>&1
}
export -f scenarios

# Several files at once, since most of the time they wait for servers, clusters and disks; those that take longest first.
e2e() { # HOW-MANY-AT-ONCE DIRECTORY FILE…
    local at_once=$1 out=$logs/scenarios status=0 binary log last failed_ones=()
    built "$2" && binary=$(binary "$2") || return 1
    shift 2
    rm -rf "$out" && mkdir "$out"
    (cd tests/e2e && export REFRAIN_BIN=$binary &&
        printf '%s\n' "$@" | xargs -P "$at_once" -I{} bash -c "scenarios {} $out/{}") || status=$?
    # Of a file that passed the last line says enough; those that failed stand whole, after them.
    for log in "$out"/*; do
        last=$(tail -n 1 "$log")
        if [[ $last =~ \ passed && ! $last =~ \ (failed|error) ]]; then
            echo "$last"
        else
            failed_ones+=("$log")
        fi
    done
    [ ${#failed_ones[@]} -eq 0 ] || cat "${failed_ones[@]}"
    return $status
}

e2e_files() { # all scenarios
    local first=(test_fleet.py test_two_instances.py test_redis_cluster.py test_disk.py test_flights.py) file
    printf '%s\n' "${first[@]}"
    for file in tests/e2e/test_*.py; do
        [[ " ${first[*]} " == *" ${file##*/} "* ]] || printf '%s\n' "${file##*/}"
    done
}

http() { # DIRECTORY
    built "$1" && (cd tests/http && REFRAIN_BIN=$(binary "$1") && export REFRAIN_BIN && timeout 600 /usr/bin/python3 -m pytest)
}

sdk() {
    built build && (REFRAIN_BIN=$(binary build) && cd tests/sdk && npm ci --no-audit --no-fund && export REFRAIN_BIN &&
        timeout 300 node --test --test-reporter=spec)
}

dashboard() { # its modules on their own; in a browser: test_dashboard.py
    (cd tests/dashboard && timeout 60 node --test --test-reporter=spec)
}

# How often test_disk.py kills with -9.
[ -z "$long" ] || export REFRAIN_KILL_ROUNDS=40
# Leaks are looked for as well; what a sanitizer finds ends the program, so a test fails by it.
export ASAN_OPTIONS=detect_leaks=1 UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1 TSAN_OPTIONS=halt_on_error=1

if ! deploy/install-packages.sh deploy/packages-build.txt deploy/packages-test.txt; then
    echo '0 passed, 1 failed'
    exit 1
fi

suite 'build' count_line build build
suite 'build asan' count_line build build-asan
suite 'build tsan' count_line build build-tsan
suite 'lint' count_line tests/lint/run.sh
suite 'unit' count_unit unit build
suite 'unit asan' count_unit unit build-asan
suite 'unit tsan' count_unit unit build-tsan
[ -z "$long" ] || suite 'unit long' count_long long build
suite 'fuzz' count_line tests/fuzz/run.sh "$fuzz_seconds"
mapfile -t files < <(e2e_files)
suite 'e2e' count_pytest e2e $(($(nproc) + 1)) build "${files[@]}"
# A browser and a Prometheus find out nothing more about another build.
mapfile -t files < <(e2e_files | grep -vE '^test_(dashboard|prometheus)\.py$')
suite 'e2e asan' count_pytest e2e $(($(nproc) + 1)) build-asan "${files[@]}"
# Where threads meet: one flight with readers on all workers, one store, reload and shutdown under load; what lies below.
suite 'e2e tsan' count_pytest e2e "$(nproc)" build-tsan test_fleet.py test_two_instances.py test_flights.py test_tiers.py \
    test_lifecycle.py test_load.py test_hits.py
suite 'http' count_pytest http build
suite 'http asan' count_pytest http build-asan
suite 'http tsan' count_pytest http build-tsan
suite 'sdk' count_node sdk
suite 'dashboard' count_node dashboard
suite 'readme' count_line tests/readme.sh

printf '%d passed, %d failed\n' "$passed" "$failed"
[ "$failed" -eq 0 ]
