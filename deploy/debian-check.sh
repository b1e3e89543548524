#!/usr/bin/env bash
# Runs a command in a clone of this checkout, in a Debian that has nothing installed, whatever Debian this machine runs.
#   deploy/debian-check.sh 12 DIRECTORY deploy/quickstart.sh
#   deploy/debian-check.sh 13 DIRECTORY tests/run.sh --only unit
#   deploy/debian-check.sh 12 DIRECTORY                              builds, and runs the unit tests
# Options, before the release:
#   --keep        what the last run in DIRECTORY has installed and built stays, and only the sources are new
#   --user NAME   not as root but as NAME: `sudoer` may use sudo, and `plain` may not and has no sudo
# The smallest Debian there is (debootstrap's minbase, 200 MiB) is made once inside DIRECTORY, which must lie outside the
# checkout, and never changed: what a run installs lies on a layer over it. Needs root, or sudo without a password.
set -euo pipefail

fail() {
    printf 'debian-check: %s\n' "$*" >&2
    exit 1
}

usage() {
    sed -n '2,/^set/{/^set/d; s/^# \{0,1\}//p}' "$0"
    exit 2
}

given=("$@") keep='' user=root
while [ $# -gt 0 ]; do
    case $1 in
    --keep) keep=yes && shift ;;
    --user) user=${2:-} && shift 2 ;;
    *) break ;;
    esac
done
[ $# -ge 2 ] || usage
case $1 in 12) name=bookworm ;; 13) name=trixie ;; *) usage ;; esac
case $user in root | sudoer | plain) ;; *) usage ;; esac

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
mkdir -p "$2" || fail "cannot write to $2"
place=$(cd "$2" && pwd)/$1
case $place/ in "$root"/*) fail "$2 lies inside the checkout; give a directory outside of it" ;; esac
shift 2
[ $# -gt 0 ] || set -- bash -euc '
    deploy/install-packages.sh deploy/packages-build.txt <(printf "%s\n" libcmocka-dev openssl python3-yaml redis-server)
    [ -f build/build.ninja ] || meson setup build
    ninja -C build
    meson test -C build --suite unit --no-rebuild --print-errorlogs'

if [ "$(id -u)" -ne 0 ]; then
    sudo -n true 2>/dev/null || fail "needs root, or sudo without a password"
    exec sudo -n "$0" "${given[@]}"
fi
mkdir -p "$place"
exec 9>"$place/lock"
flock -n 9 || fail "another run is using $place"

if [ ! -e "$place/made" ]; then
    "$root/deploy/install-packages.sh" <(echo debootstrap)
    rm -rf "$place/base"
    echo "Making a Debian $name tree in $place/base…"
    debootstrap --variant=minbase "$name" "$place/base" >"$place/debootstrap.log" 2>&1 ||
        { tail -n 5 "$place/debootstrap.log" >&2 && fail "debootstrap failed; all of it: $place/debootstrap.log"; }
    touch "$place/made"
fi

[ -n "$keep" ] || rm -rf "$place/upper"
# The kernel's own scratch directory for the layer is always new: what an earlier run has left in it, it refuses.
rm -rf "$place/work"
mkdir -p "$place/upper" "$place/work" "$place/tree"

# What the run needs of this machine: how to resolve names, whom to trust beside the usual, which npm registry, and the
# sources as they stand here, as a clone (some checks ask git what belongs to the project) with what is not committed on top.
sources() { # INTO
    [ -d "$1/.git" ] || git clone -q --no-hardlinks "$root" "$1"
    git -C "$1" -c safe.directory='*' fetch -q "$root" HEAD
    git -C "$1" -c safe.directory='*' reset -q --hard FETCH_HEAD
    git -C "$root" ls-files -z --deleted | (cd "$1" && xargs -0 -r rm -f)
    git -C "$root" ls-files -z --modified --others --exclude-standard | (cd "$root" && xargs -0 -r ls -d 2>/dev/null |
        tar -c -T -) | tar -x -C "$1"
    git -C "$1" -c safe.directory='*' add -A
}
if registry=$(npm config get registry 2>/dev/null); then
    export NPM_CONFIG_REGISTRY=$registry
fi
export -f sources
export root

# A mount and process namespace of its own: nothing stays mounted, and nothing stays running, after it.
# shellcheck disable=SC2016 # what stands in quotes is for the shell inside
exec unshare --mount --pid --fork --kill-child --propagation private bash -euc '
    place=$1 user=$2 && shift 2
    mount -t overlay overlay -o "lowerdir=$place/base,upperdir=$place/upper,workdir=$place/work" "$place/tree"
    cd "$place/tree"
    mount -t proc proc proc
    mount -t tmpfs -o mode=1777 tmpfs dev/shm
    mkdir -p dev/pts && mount -t devpts -o newinstance,ptmxmode=0666 devpts dev/pts && ln -sf pts/ptmx dev/ptmx
    cp /etc/resolv.conf etc/resolv.conf
    printf "%s\n" "127.0.0.1 localhost" "::1 localhost" >etc/hosts
    mkdir -p usr/local/share/ca-certificates
    cp /usr/local/share/ca-certificates/*.crt usr/local/share/ca-certificates/ 2>/dev/null || true
    case $user in root) home=/root ;; *) home=/home/$user && chroot . useradd -m -s /bin/bash "$user" 2>/dev/null || true ;; esac
    if [ "$user" = sudoer ]; then
        chroot . sh -c "command -v sudo || { apt-get -q update && apt-get -q -y install --no-install-recommends sudo; }" >/dev/null
        echo "sudoer ALL=(ALL) NOPASSWD: ALL" >etc/sudoers.d/sudoer
    fi
    sources "$PWD$home/refrain"
    chroot . chown -R "$user:" "$home/refrain"
    cd / # and nothing of this machine in the environment
    exec chroot --userspec="$user" --groups="$user" "$place/tree" /usr/bin/env -i HOME="$home" TERM="${TERM:-dumb}" \
        PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
        ${NPM_CONFIG_REGISTRY:+NPM_CONFIG_REGISTRY="$NPM_CONFIG_REGISTRY"} \
        /bin/bash -c "cd ~/refrain && exec \"\$@\"" debian-check "$@"' debian-check "$place" "$user" "$@" </dev/null
