#!/usr/bin/env bash
# The command line: what is printed, where, and with which exit status.
set -uo pipefail
refrain=$(realpath "$1")
dir=$(mktemp -d)
trap 'rm -r "$dir"' EXIT
cd "$dir" || exit 2
failed=0

# expect WHY STATUS STREAM PATTERN ARGUMENTS…: the command ends with STATUS and says PATTERN on STREAM (out, err).
expect() {
    local why=$1 status=$2 stream=$3 pattern=$4 got
    shift 4
    env -i HOME="$dir" "$refrain" "$@" >out 2>err
    got=$?
    if [ "$got" != "$status" ] || ! grep -qE -- "$pattern" "$stream"; then
        echo "FAILED: $why: exit $got, wanted $status and /$pattern/ on $stream"
        sed 's/^/  out: /' out
        sed 's/^/  err: /' err
        failed=1
    fi
}

printf 'upstream: http://127.0.0.1:1\n' >good.yaml
printf 'upstream: http://127.0.0.1:1\nlog: {level: loud}\n' >bad.yaml
printf 'upstream: http://api.example.com\n' >unwise.yaml
: >empty.yaml

expect 'version' 0 out '^refrain [0-9]+\.[0-9]+\.[0-9]+$' --version
expect 'overview' 0 out '^  config check ' --help
expect 'nothing asked' 2 err '^Usage: refrain COMMAND'
expect 'a group' 0 out '^  config show ' config --help
expect 'a group alone' 2 err '^  config show ' config
expect 'help of a command' 0 out '--set NAME=VALUE' config check --help
expect 'short help' 0 out '^Usage: refrain config show' config show -h
expect 'help with examples' 0 out '^  refrain explain --json - < request.txt$' explain --help
expect 'a flag that two commands have, each its own' 0 out '^  --admin URL ' breakers --help
expect 'help with examples' 0 out '^  refrain invalidate --all$' invalidate --help
expect 'what an example too long is for, below it' 0 out '^ {53}for continuous integration$' config check --help
expect 'everything must be said' 2 err 'for everything, --all$' invalidate --dry-run
expect 'no entry named' 2 err 'expected one ID' get
expect 'no id' 2 err '^refrain: get: zz: expected an ID of 32 hex digits, as .refrain keys. lists them$' get zz
expect 'nothing to explain' 2 err 'expected one FILE' explain
expect 'what is no request' 2 err '^refrain: standard input: the request: expected a JSON object' \
    explain --offline --config good.yaml - </dev/null
expect 'an address that is none' 2 err '^refrain: --admin nowhere: expected a URL' breakers --admin nowhere
expect 'a slip in a command' 2 err 'no such command; did you mean refrain config check\?' config chek
expect 'no command at all' 2 err '^refrain: xyzzy: no such command; .refrain --help. lists them$' xyzzy
expect 'no command, with a flag' 2 err '^refrain: xyzzy: no such command; ' xyzzy --json
expect 'a slip in a second word' 2 err '^refrain: config chek: no such command; did you mean' config chek
expect 'a flag like no other' 2 err '^refrain: --xyzzy: no such flag; .refrain keys --help. lists them$' keys --xyzzy
expect 'a value that is no choice' 2 err '^refrain: --preset fast: expected one of development, production, testing$' \
    config check --preset fast
expect 'a slip in a flag' 2 err 'no such flag; did you mean --config\?' config check --cofnig x
expect 'a flag without its value' 2 err 'wants a value' config check --config
expect 'a value too many' 2 err 'takes no value' config check --json=1
expect 'a stray word' 2 err '^refrain: log.level=debug: not understood' config check log.level=debug
expect 'half a setting' 2 err 'expected NAME=VALUE' config check --set log.level
expect 'good' 0 out '^The configuration is good\.$' config check --config good.yaml
expect 'faults are a finding' 1 out '^error: bad.yaml:2: log.level: expected one of' config check --config bad.yaml
expect 'warnings are none' 0 out '^warning: unwise.yaml:1: ' config check --config unwise.yaml
expect 'unless asked' 1 out '^warning: ' config check --strict --config unwise.yaml
expect 'no upstream' 1 out '^error: upstreams: there is none; give --upstream URL' config check
expect 'no upstream in a file' 1 out '^error: empty.yaml: upstreams: there is none' config check --config empty.yaml
expect 'no file' 2 err '^refrain: none.yaml: No such file' config check --config none.yaml
expect 'JSON' 1 out '^\{"ok": false, "faults": \[\{"severity": "error", "text": "bad.yaml:2' \
    config check --json --config=bad.yaml
expect 'show' 0 out '^log.level: warn +# --set log.level$' config show --set log.level=warn
expect 'show what is set' 0 out '^upstreams.default.url: http://h:1 +# --upstream$' config show --changed --upstream http://h:1
expect 'show of faults' 2 err '^refrain: bad.yaml:2: log.level' config show --config bad.yaml
env -i "$refrain" config show --json | python3 -m json.tool >/dev/null || { echo "FAILED: show --json is no JSON"; failed=1; }
env -i "$refrain" config schema | python3 -m json.tool >/dev/null || { echo "FAILED: the schema is no JSON"; failed=1; }
if [ -e /dev/full ] && env -i "$refrain" config reference >/dev/full 2>/dev/null; then
    echo "FAILED: a full disk goes unnoticed"
    failed=1
fi
exit $failed
