#!/usr/bin/env bash
# Runs every command of README.md, block by block, as a newcomer would: in order, in one checkout, with a state directory
# of their own. Only the ports differ, so that a Refrain already running here is left alone. A block preceded by
# `<!-- expect: TEXT -->` must print TEXT. Ends `N passed, M failed`.
set -u
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 2
passed=0 failed=0

free_port() {
    /usr/bin/python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'
}

proxy=$(free_port) admin=$(free_port)
XDG_STATE_HOME=$(mktemp -d)
export XDG_STATE_HOME
trap 'deploy/quickstart.sh --stop >/dev/null 2>&1; rm -rf "$XDG_STATE_HOME"' EXIT

# Blocks come out as one file each: the expectation on the first line, the commands after it.
split_blocks() {
    awk -v to="$XDG_STATE_HOME/block" '
        /^<!-- expect: .* -->$/ { expect = substr($0, 14, length($0) - 17) }
        /^```/ { if (inside) { close(file); inside = 0; expect = "" }
                 else if ($0 == "```sh") { inside = 1; file = sprintf("%s%02d", to, ++n); print expect > file }
                 next }
        inside { print > file }' README.md
}

with_own_ports() {
    sed -E "s/127\.0\.0\.1:8080/127.0.0.1:$proxy/g; s/127\.0\.0\.1:9180/127.0.0.1:$admin/g
            s#^deploy/quickstart.sh#& --listen 127.0.0.1:$proxy --admin 127.0.0.1:$admin#"
}

run_block() { # FILE
    local expect commands said status=0
    expect=$(sed -n 1p "$1" | with_own_ports)
    commands=$(sed 1d "$1" | with_own_ports)
    said=$(bash -euo pipefail -c "$commands" 2>&1 </dev/null) || status=$?
    if [ $status -eq 0 ] && [[ $said == *"$expect"* ]]; then
        passed=$((passed + 1))
    else
        failed=$((failed + 1))
        printf 'README block failed (exit %d, expected to see "%s"):\n%s\n--- it printed:\n%s\n' "$status" "$expect" "$commands" "$said"
    fi
}

split_blocks
for block in "$XDG_STATE_HOME"/block*; do
    run_block "$block"
done
printf '%d passed, %d failed\n' "$passed" "$failed"
[ "$failed" -eq 0 ]
