#!/usr/bin/env bash
# Names the C files that are not laid out as .clang-format says; `clang-format -i FILE` mends one.
set -u
cd "$(dirname "${BASH_SOURCE[0]}")/../.." || exit 2
mapfile -t files < <(git ls-files '*.c' '*.h')
found=$(clang-format --dry-run -Werror --ferror-limit=1 "${files[@]}" 2>&1 | sed -nE 's/^([^ :]+):[0-9]+:[0-9]+: error.*/\1/p' | sort -u)
[ -z "$found" ] || { printf '%s\n' "$found" && exit 1; }
