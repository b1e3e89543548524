#!/usr/bin/env bash
# Installs the Debian packages named in the given lists (one name a line, # begins a comment).
#   deploy/install-packages.sh deploy/packages-build.txt [LIST…]
# Works as root or through sudo, asks nothing, and does nothing when everything is there already.
set -euo pipefail

fail() {
    printf 'install-packages: %s\n' "$*" >&2
    exit 1
}

[ $# -gt 0 ] || fail "usage: $0 LIST…"
for list in "$@"; do
    [ -r "$list" ] || fail "no such list: $list"
done
mapfile -t wanted < <(sed 's/#.*//' "$@" | tr -s '[:space:]' '\n' | sed '/^$/d' | sort -u)

for tool in dpkg-query apt-get; do
    command -v $tool >/dev/null || fail "no $tool, so not a Debian system: install by other means what these hold: ${wanted[*]}"
done

# Names of what is installed, and what the installed packages stand in for (nodejs may bring npm along, for one).
present=$(dpkg-query -W -f '${db:Status-Status} ${Package}, ${Provides}\n' |
    sed -n 's/^installed //p' | sed 's/([^)]*)//g; s/:[a-z0-9]*//g' | tr -s ', ' '\n')
mapfile -t missing < <(grep -vxFf <(printf '%s\n' "$present") <(printf '%s\n' "${wanted[@]}") || true)
[ ${#missing[@]} -gt 0 ] || exit 0

as_root=()
if [ "$(id -u)" -ne 0 ]; then
    sudo -n true 2>/dev/null ||
        fail "needs root, or sudo without a password, to install: ${missing[*]}
Run this once as root: apt-get update && apt-get install --no-install-recommends ${missing[*]}"
    as_root=(sudo -n)
fi

apt() {
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -y -q -o DPkg::Lock::Timeout=300 "$@" </dev/null
}

log=$(mktemp)
trap 'rm -f "$log"' EXIT
echo "Installing ${#missing[@]} Debian packages: ${missing[*]}"
# `satisfy`, not `install`: what another package of the same run brings along must not be asked for beside it.
# The package index is fetched only where the one at hand does not do: none yet, or too old to still be served.
if ! apt satisfy --no-install-recommends "${missing[@]}" >"$log" 2>&1; then
    if ! { apt update && apt satisfy --no-install-recommends "${missing[@]}"; } >"$log" 2>&1; then
        tail -n 15 "$log" >&2
        fail "apt-get could not install: ${missing[*]}"
    fi
fi
