#!/usr/bin/env bash
# Everything that can be judged without running Refrain. Prints what fails, and ends `N passed, M failed`.
set -u
cd "$(dirname "${BASH_SOURCE[0]}")/../.." || exit 2
passed=0 failed=0

check() { # NAME COMMAND…
    local name=$1 said
    shift
    if said=$("$@" 2>&1); then
        passed=$((passed + 1))
    else
        failed=$((failed + 1))
        printf 'lint: %s:\n%s\n' "$name" "$said"
    fi
}

parse_modules() {
    local file
    for file in "${modules[@]}"; do node --check "$file" || return; done
}

mapfile -t python_files < <(git ls-files '*.py')
mapfile -t modules < <(git ls-files '*.mjs')
mapfile -t scripts < <(git ls-files '*.sh' '.ci/run')

check "layout (mend with: clang-format -i FILE)" tests/lint/layout.sh
check "the include check's own test" /usr/bin/python3 tests/lint/layers.py --self-test
check "include direction" /usr/bin/python3 tests/lint/layers.py
check "headers compile alone" tests/lint/headers.sh
check "unfinished work and stray paths" tests/lint/words.sh
check "shell scripts" shellcheck "${scripts[@]}"
check "python files" /usr/bin/python3 -c 'import ast, sys; [ast.parse(open(f).read(), f) for f in sys.argv[1:]]' \
    "${python_files[@]}"

check "JavaScript files" parse_modules

printf '%d passed, %d failed\n' "$passed" "$failed"
[ "$failed" -eq 0 ]
