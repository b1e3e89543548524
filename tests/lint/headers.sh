#!/usr/bin/env bash
# Every header compiles alone: whoever includes it needs nothing before it.
set -u
cd "$(dirname "${BASH_SOURCE[0]}")/../.." || exit 2
mapfile -t headers < <(git ls-files 'include/*.h' 'src/*.h')
[ ${#headers[@]} -gt 0 ] || { echo "no header found" && exit 1; }
for dir in src/*/; do
    private+=("-I$dir")
done
printf '%s\0' "${headers[@]}" |
    xargs -0 -n 1 -P "$(nproc)" "${CC:-cc}" -std=gnu17 -D_GNU_SOURCE -Iinclude "${private[@]}" -Wall -Wextra -Werror \
        -fsyntax-only -x c /dev/null -include
