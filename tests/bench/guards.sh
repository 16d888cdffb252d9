#!/bin/sh
# guards.sh: counts what a message, a login and an idle session cost, and fails when it has
# become more than guards/budgets.txt allows. Counts do not depend on a quiet machine.
#
#   sh tests/bench/guards.sh                 all guards, in about two minutes
#   sh tests/bench/guards.sh --only WORD     syscalls, writes, allocations, instructions or logins
#   sh tests/bench/guards.sh --measured      prints what was counted as lines for budgets.txt
#
# Needs strace and valgrind. BUILD_DIR names another build than build/release (which is built
# if it is not up to date); it must be optimised and without sanitizers. On the way it shows
# which functions the instructions are in and who allocates. The last line is `N passed,
# N failed[, N skipped]`.
set -u
cd "$(dirname "$0")/../.." || exit 1
if [ -z "${BUILD_DIR:-}" ]; then
    BUILD_DIR=build/release
    { cmake --preset release &&
        cmake --build --preset release --target switchyard-edge switchyard-sweeper load count_malloc; } >/dev/null ||
        exit 1
fi
export BUILD_DIR
exec /usr/bin/env python3 tests/bench/guard.py "$@"
