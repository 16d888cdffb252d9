#!/bin/sh
# lint.sh BUILD: clang-format, clang-tidy and cppcheck over our C. BUILD is a configured build by
# clang (its compile_commands.json and generated headers are used).
set -u
cd "$(dirname "$0")/.." || exit 1
build=${1:?BUILD}
passed=0
failed=0
jobs=$(nproc 2>/dev/null || echo 2)

ours() { # EXTENSION...: our files, whether committed yet or not
    for extension in "$@"; do
        find edge lib proto sweeper tests -name "*.$extension" -type f
    done | sort
}

verdict() { # NAME STATUS
    if [ "$2" -eq 0 ]; then
        passed=$((passed + 1))
        echo "  passed $1"
    else
        failed=$((failed + 1))
        echo "  failed $1"
    fi
}

ours c h | xargs clang-format --dry-run -Werror
verdict clang-format $?

# Everything that is compiled, but for generated code.
compiled=$(sed -n 's/^ *"file": "\(.*\)",\{0,1\}$/\1/p' "$build/compile_commands.json" |
    grep -v "^$PWD/$build/" | grep "\.c$" | sort -u)
echo "$compiled" | xargs -P "$jobs" -n 4 clang-tidy -p "$build" --quiet >"$build/tidy" 2>&1
status=$?
grep -v 'warnings generated\.$' "$build/tidy"
verdict clang-tidy $status

cppcheck --quiet --std=c11 --error-exitcode=1 --inline-suppr -j "$jobs" --enable=warning,portability \
    --suppressions-list=tests/lint/cppcheck.txt --library=posix -I . \
    -i "$build" edge lib proto sweeper tests/system tests/bench tests/fault
verdict cppcheck $?

for script in compose/*.sh tests/*.sh tests/bench/*.sh tests/model/*.sh; do
    sh -n "$script"
    verdict "sh -n $script" $?
done
if command -v shellcheck >/dev/null 2>&1; then
    shellcheck -S warning -s sh compose/*.sh tests/*.sh tests/bench/*.sh tests/model/*.sh
    verdict shellcheck $?
fi
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
