#!/usr/bin/env bash
# Completions and man pages: each command has its page, the pages are clean, and the shells complete.
set -uo pipefail
refrain=$(realpath "$1") pages=$(realpath "$2")
dir=$(mktemp -d)
trap 'rm -r "$dir"' EXIT
failed=0

fail() {
    echo "FAILED: $1"
    failed=1
}

# -- man pages --

mapfile -t commands < <("$refrain" --help | sed -nE 's/^  ([a-z]+( [a-z]+)*)  .*/\1/p')
[ "${#commands[@]}" -gt 15 ] || fail "the overview lists no commands"
for name in "" "${commands[@]}"; do
    page=$pages/refrain${name:+-}${name// /-}.1
    [ -s "$page" ] || { fail "no page for \`$name\`: deploy/shell/meson.build lists them"; continue; }
    if command -v mandoc >/dev/null; then # a page has no date, so that a build can be repeated
        mandoc -T lint -W warning "$page" 2>&1 | grep -v 'missing date' && fail "mandoc on $page"
    fi
    if command -v groff >/dev/null; then
        groff -ww -man -T utf8 "$page" 2>&1 >/dev/null | grep . && fail "groff on $page"
    fi
done
grep -q '^refrain keys \\-\\-tier disk' "$pages/refrain-keys.1" || fail "examples are in the pages"

# -- bash --

# completes WANTED WORD…: of the words after "refrain" the last is being typed; WANTED are the answers, sorted.
completes() {
    local want=$1 got
    shift
    got=$(PATH=$(dirname "$refrain"):$PATH bash --norc --noprofile -c '
        cd "$1" || exit
        . "$2"
        shift 2
        COMP_WORDS=(refrain "$@") COMP_CWORD=$#
        [ "$(complete -p refrain)" = "complete -F _refrain refrain" ] && _refrain
        printf "%s\n" "${COMPREPLY[@]}"' bash "$dir/files" "$pages/refrain" "$@" | LC_ALL=C sort | xargs)
    [ "$got" = "$want" ] || fail "bash: refrain $*: $got, wanted $want"
}
mkdir "$dir/files"
touch "$dir/files/request.json" "$dir/files/other.yaml"

completes "keys" ke
completes "check reference schema show" config ""
completes "memory" keys --tier m
completes "--tag --target" invalidate --ta
completes "disk memory redis" keys --tier ""
completes "never" stats --color = n
completes "development production testing" serve --preset ""
completes "log.level=" serve --set log.lev
completes "debug error info warn" serve --set log.level = ""
completes "debug" serve --set log.level = d
completes "request.json" explain r
completes "other.yaml" serve --config o
completes "bash" completion b
completes "other.yaml" serve --config = o
completes "" nosuch ""
completes "close open reset" breakers ""

# -- zsh and fish --

if command -v zsh >/dev/null; then
    zsh -n "$pages/_refrain" || fail "zsh does not read its script"
fi
if command -v fish >/dev/null; then
    got=$(cd "$dir/files" && HOME=$dir PATH=$(dirname "$refrain"):$PATH fish --no-config -c "
        source $pages/refrain.fish
        complete -C 'refrain keys --tier '; complete -C 'refrain config c'; complete -C 'refrain serve --set log.level=d'
        complete -C 'refrain explain r'; complete -C 'refrain ke'" | cut -f 1 | xargs)
    [ "$got" = "disk memory redis check log.level=debug request.json keys" ] || fail "fish: $got"
fi
exit $failed
