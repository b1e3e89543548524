#!/usr/bin/env bash
# Everything that can be judged without running Refrain. Prints what fails, and ends `N passed, M failed`.
set -u
cd "$(dirname "${BASH_SOURCE[0]}")/../.." || exit 2
passed=0 failed=0

# Which files are the project's own, git says: of a checkout that belongs to another user, too (a folder lent to a
# container), and where the sources came without their repository, by an index made for this run.
export GIT_CONFIG_COUNT=1 GIT_CONFIG_KEY_0=safe.directory GIT_CONFIG_VALUE_0=$PWD
if ! git ls-files --error-unmatch tests/lint/run.sh >/dev/null 2>&1; then
    GIT_DIR=$(mktemp -d)
    trap 'rm -rf "$GIT_DIR"' EXIT
    export GIT_DIR GIT_WORK_TREE=$PWD
    git init -q && git add -A || exit 2
fi

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
