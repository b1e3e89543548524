#!/usr/bin/env bash
# Builds Refrain and runs its unit tests in a Debian 13 (trixie) tree, whatever Debian this machine runs.
#   deploy/debian13-check.sh DIRECTORY [e2e]     with `e2e`, the scenarios as well, but those in a browser
# The tree is made once by debootstrap inside DIRECTORY (about 900 MiB, outside the checkout) and used again after that.
# Needs root, or sudo without a password: debootstrap and chroot do.
set -euo pipefail

fail() {
    printf 'debian13-check: %s\n' "$*" >&2
    exit 1
}

[ $# -eq 1 ] || [ "$*" = "${1:-} e2e" ] || fail "usage: $0 DIRECTORY [e2e]"
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
mkdir -p "$1" || fail "cannot write to $1"
tree=$(cd "$1" && pwd)/trixie
case $tree/ in "$root"/*) fail "$1 lies inside the checkout; give a directory outside of it" ;; esac

if [ "$(id -u)" -ne 0 ]; then
    sudo -n true 2>/dev/null || fail "needs root, or sudo without a password"
    exec sudo -n "$0" "$@"
fi

if [ ! -e "$tree/.made" ]; then
    "$root/deploy/install-packages.sh" <(echo debootstrap)
    rm -rf "$tree"
    echo "Making a Debian 13 tree in $tree…"
    debootstrap --variant=minbase trixie "$tree" >"$tree.log" 2>&1 ||
        { tail -n 5 "$tree.log" >&2 && fail "debootstrap failed; all of it: $tree.log"; }
    touch "$tree/.made"
fi

cp /etc/resolv.conf "$tree/etc/resolv.conf"
rm -rf "$tree/refrain/source"
mkdir -p "$tree/refrain/source"
git -C "$root" ls-files -z --cached --others --exclude-standard |
    (cd "$root" && xargs -0 -r ls -d 2>/dev/null | tar -c -T -) | tar -x -C "$tree/refrain/source"

# A mount and process namespace of its own: nothing stays mounted, and nothing stays running, after it.
# shellcheck disable=SC2016 # what stands in quotes is for the shell inside
exec unshare --mount --pid --fork --mount-proc="$tree/proc" chroot "$tree" /bin/bash -euc '
    mkdir -p /dev/pts && mount -t devpts -o newinstance,ptmxmode=0666 devpts /dev/pts && ln -sf pts/ptmx /dev/ptmx
    cd /refrain/source
    export PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C.UTF-8
    deploy/install-packages.sh deploy/packages-build.txt <(echo libcmocka-dev python3-yaml python3-pyte python3-pytest openssl
        echo prometheus redis-server)
    for package in gcc meson libmicrohttpd-dev libcurl4-openssl-dev libhiredis-dev libjansson-dev libuv1-dev libssl-dev; do
        dpkg-query -W -f "\${Package} \${Version}\n" "$package"
    done
    [ -f ../build/build.ninja ] || meson setup ../build .
    ninja -C ../build
    meson test -C ../build --suite unit --no-rebuild --print-errorlogs
    [ "${1:-}" != e2e ] || { cd tests/e2e && REFRAIN_BIN=/refrain/build/refrain python3 -m pytest --ignore=test_dashboard.py; }' debian13 "${2:-}" </dev/null
