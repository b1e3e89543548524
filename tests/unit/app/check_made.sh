#!/usr/bin/env bash
# A committed text that is made from the option table is what the binary makes of it now.
set -euo pipefail
"$1" config "$2" | diff -u "$3" - ||
    { echo "out of date; make it anew: build/refrain config $2 >$3"; exit 1; }
