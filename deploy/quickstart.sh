#!/usr/bin/env bash
# From a clean clone to a running Refrain: installs what building needs, builds, starts, shows a MISS and then a HIT.
#   deploy/quickstart.sh                                   a demonstration, against a small scripted upstream
#   deploy/quickstart.sh --upstream https://api.openai.com serves that; asks it nothing by itself
#   deploy/quickstart.sh --stop                            ends what an earlier run left running
# Other options: --listen ADDRESS:PORT, --admin ADDRESS:PORT.
# Safe to run twice: an earlier run's processes, and no others, are replaced.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
state=${XDG_STATE_HOME:-${HOME:-~}/.local/state}/refrain
upstream='' listen=127.0.0.1:8080 admin=127.0.0.1:9180 stop_only=''

say() { printf '%s\n' "$*"; }
fail() {
    printf 'quickstart: %s\n' "$*" >&2
    exit 1
}

parse_options() {
    while [ $# -gt 0 ]; do
        case $1 in
        --stop) stop_only=yes && shift && continue ;;
        -h | --help) sed -n '2,/^set/{/^set/d; s/^# \{0,1\}//p}' "$0" && exit 0 ;;
        --upstream | --listen | --admin) [ $# -ge 2 ] || fail "$1 needs a value" ;;
        *) fail "unknown option $1 (see --help)" ;;
        esac
        printf -v "${1#--}" %s "$2"
        shift 2
    done
    for address in "$listen" "$admin"; do
        [[ $address =~ ^(.*):([0-9]+)$ ]] || fail "$address: expected ADDRESS:PORT, for example 127.0.0.1:8080"
    done
    [ "$listen" != "$admin" ] || fail "--listen and --admin must differ"
}

# A process is known by its id and its start time (field 22 of stat, after the name in brackets), so that an id which the
# system has given to somebody else meanwhile is never signalled.
started_at() {
    sed 's/.*) //' "/proc/$1/stat" 2>/dev/null | cut -d ' ' -f 20
}

record() { # NAME PID
    printf '%s %s\n' "$2" "$(started_at "$2")" >"$state/$1.pid"
}

stop_earlier() { # NAME
    local pid since
    [ -r "$state/$1.pid" ] || return 0
    read -r pid since <"$state/$1.pid" || true
    if [ -n "${since:-}" ] && [ "$(started_at "$pid")" = "$since" ]; then
        kill "$pid" 2>/dev/null || fail "$1 of an earlier run (pid $pid) belongs to another user"
        for _ in {1..100}; do
            [ "$(started_at "$pid")" = "$since" ] || break
            sleep 0.1
        done
        [ "$(started_at "$pid")" != "$since" ] || kill -9 "$pid" 2>/dev/null || true
        say "Stopped $1 of an earlier run (pid $pid)."
    fi
    rm -f "$state/$1.pid"
}

# What a client, or the check below, connects to: the wildcard addresses are reached through loopback.
reachable() { # ADDRESS:PORT
    local host=${1%:*} port=${1##*:}
    case $host in '' | '*' | 0.0.0.0) host=127.0.0.1 ;; '[::]') host='[::1]' ;; esac
    printf '%s:%s' "$host" "$port"
}

need_free() { # ADDRESS:PORT OPTION
    local at host
    at=$(reachable "$1") && host=${at%:*} && host=${host#[} && host=${host%]}
    if (exec 3<>"/dev/tcp/$host/${at##*:}") 2>/dev/null; then
        fail "$1 is taken by another program; choose another with $2 ADDRESS:PORT"
    fi
}

build() {
    "$root/deploy/install-packages.sh" "$root/deploy/packages-build.txt"
    [ -f "$root/build/build.ninja" ] || meson setup "$root/build" "$root" >"$state/build.log" 2>&1 ||
        { tail -n 20 "$state/build.log" >&2 && fail "could not set up the build; all of it: $state/build.log"; }
    say "Building…"
    ninja -C "$root/build" refrain >"$state/build.log" 2>&1 ||
        { tail -n 20 "$state/build.log" >&2 && fail "could not build; all of it: $state/build.log"; }
}

start_demo_upstream() {
    rm -f "$state/demo-upstream.port"
    setsid /usr/bin/python3 "$root/deploy/demo-upstream.py" --port-file "$state/demo-upstream.port" \
        </dev/null >"$state/demo-upstream.log" 2>&1 &
    record demo-upstream $!
    for _ in {1..100}; do
        [ ! -s "$state/demo-upstream.port" ] || break
        sleep 0.1
    done
    [ -s "$state/demo-upstream.port" ] || fail "the scripted upstream did not start; see $state/demo-upstream.log"
    upstream=http://127.0.0.1:$(<"$state/demo-upstream.port")
}

start_refrain() {
    local pid
    setsid "$root/build/refrain" serve --upstream "$upstream" --listen "$listen" --admin "$admin" \
        --set "cache.state_dir=$state" --set "tiers.disk.path=$state/cache.db" </dev/null >"$state/refrain.log" 2>&1 &
    pid=$!
    record refrain $pid
    for _ in {1..100}; do
        kill -0 $pid 2>/dev/null || break
        curl -sf -o /dev/null -m 1 "http://$(reachable "$admin")/readyz" && return
        sleep 0.1
    done
    tail -n 5 "$state/refrain.log" >&2
    stop_earlier refrain >/dev/null
    stop_earlier demo-upstream >/dev/null
    fail "Refrain did not start; all it said: $state/refrain.log"
}

ask() { # LABEL BODY
    local out=$state/answer
    curl -sS -m 30 -o "$out.json" -D "$out.head" -w '%{time_total}' "http://$(reachable "$listen")/v1/chat/completions" \
        -H 'Content-Type: application/json' -H 'Authorization: Bearer demo' -d "$2" >"$out.time" ||
        fail "no answer through Refrain; see $state/refrain.log"
    say "  $1: $(grep -i '^x-cache:' "$out.head" | tr -d '\r' || echo 'no X-Cache')  $(awk '{printf "%.1f ms", $1 * 1000}' "$out.time")"
}

demonstrate() {
    # The time in the question makes it a new one for every run, whatever an earlier run has left stored.
    local body
    body='{"model":"demo","messages":[{"role":"user","content":"What is a refrain? Asked at '$(date +%s.%N)'"}]}'
    say "" "The same question twice, to an upstream that takes 0.8 s to answer:"
    ask 'first ' "$body"
    ask 'second' "$body"
    grep -qi '^x-cache: *hit' "$state/answer.head" || fail "the second answer did not come from the cache"
}

goodbye() {
    say "" "Refrain is running (pid $(cut -d ' ' -f 1 "$state/refrain.pid")): http://$(reachable "$listen") in front of $upstream"
    say "  In an SDK:  client = OpenAI(base_url=\"http://$(reachable "$listen")/v1\")"
    say "  Metrics:    curl http://$(reachable "$admin")/metrics"
    say "  Log:        $state/refrain.log"
    say "  Stop it:    deploy/quickstart.sh --stop     (or: kill \$(cut -d ' ' -f 1 $state/refrain.pid))"
}

parse_options "$@"
mkdir -p "$state"
stop_earlier refrain
stop_earlier demo-upstream
[ -z "$stop_only" ] || exit 0
need_free "$listen" --listen
need_free "$admin" --admin
build
demo=''
[ -n "$upstream" ] || { demo=yes && start_demo_upstream; }
start_refrain
[ -z "$demo" ] || demonstrate
goodbye
