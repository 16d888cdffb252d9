#!/bin/sh
# run.sh: what a message, a login and an idle connection cost, beside the least they could.
#
#   sh tests/bench/run.sh [--quick] [scenario...]   S1 S2 S3 S4 S5 S6 S8; all if none is named
#   --repeats N   5, quick 2        --seconds S   3 a run, quick 1
#   --pin         servers on the first core, the load on the second
#   --out FILE    build/bench/results.json; scenarios that are not run again stay in it
#
#   S1 unicast on one edge             S5 logins, with tokens and Redis, in a storm
#   S2 unicast from edge to edge       S6 latency with 10,000 users idle beside
#   S3 one to 1,000, 5,000, 10,000     S8 cost against the number of users
#   S4 memory and CPU of the idle
#
# Starts nats-server, redis-server, edges, a sweeper and floors of its own, on free ports of
# 127.0.0.1, and stops them by process id. Runs alternate with the same load on `floor`, a
# bare epoll relay (floor.c). BUILD_DIR names another build than build/release. Everything is
# bounded in count and time; all of it takes about 80 minutes, --quick a quarter of that. Wants
# the machine for itself: repeats in which more than 12 % of it went elsewhere are marked dirty.
set -u
cd "$(dirname "$0")/../.." || exit 1
if [ -z "${BUILD_DIR:-}" ]; then
    BUILD_DIR=build/release
    { cmake --preset release &&
        cmake --build --preset release --target switchyard-edge switchyard-sweeper load floor; } >/dev/null || exit 1
fi
export BUILD_DIR
exec /usr/bin/env python3 tests/bench/run.py "$@"
