#!/bin/sh
# run.sh: sets up what the tests need, builds, and runs them. Debian 12 or later.
#
#   sh tests/run.sh                 release build: unit, simulation, corpus, system tests, checks of the tree
#   sh tests/run.sh --asan --tsan   the same suite under sanitizer builds, instead of release
#   sh tests/run.sh --lint          also clang-format, clang-tidy, cppcheck, and a build by clang
#   sh tests/run.sh --fuzz SECONDS  also each fuzz target for so long, two at a time
#   sh tests/run.sh --sim N         also N seeded runs of the simulation, about 70 a second and core
#   sh tests/run.sh --guards        also counts what a message, a login and an idle session cost
#   sh tests/run.sh --model         also the model of the registry protocol, exhaustively
#   sh tests/run.sh --browser       also the chat page in headless Chromium
#   sh tests/run.sh --demo          also compose/demo.sh --once
#   sh tests/run.sh --faults        also what holds when parts of a cluster die, freeze or lose their memory
#   sh tests/run.sh --faults-long   the same with more users and rounds: an hour, on a quiet machine
#   sh tests/run.sh --all           all of the above but --faults-long, 30 s per fuzz target
#   --only PATTERN     only tests whose name matches (a regular expression); no checks of the tree
#   --no-install       never install packages
#
# Logs are in build/test-logs. The last line is `N passed, N failed[, N skipped]`; the exit
# status is 0 only if something passed and nothing failed.
set -u
cd "$(dirname "$0")/.." || exit 1
. compose/packages.sh

presets=
lint=no
fuzz=0
sim=0
guards=no
model=no
browser=no
demo=no
faults=no
only=
install=yes

usage() {
    sed -n '2,/^set -u/s/^# \{0,1\}//p' tests/run.sh >&2
    exit 64
}

while [ $# -gt 0 ]; do
    case $1 in
    --asan) presets="$presets asan" ;;
    --tsan) presets="$presets tsan" ;;
    --release) presets="$presets release" ;;
    --lint) lint=yes ;;
    --fuzz) shift; fuzz=${1:-x} ;;
    --sim) shift; sim=${1:-x} ;;
    --guards) guards=yes ;;
    --model) model=yes ;;
    --browser) browser=yes ;;
    --demo) demo=yes ;;
    --faults) faults=short ;;
    --faults-long) faults=long ;;
    --all) presets="release asan tsan" lint=yes fuzz=30 guards=yes model=yes browser=yes demo=yes faults=short ;;
    --only) shift; only=${1:-} ;;
    --no-install) install=no ;;
    *) usage ;;
    esac
    shift
done
case $fuzz in '' | *[!0-9]*) usage ;; esac
case $sim in '' | *[!0-9]*) usage ;; esac
presets=${presets:-release}

logs=build/test-logs
mkdir -p "$logs"
table=$logs/table
: >"$table"
: >"$logs/failures"

# note PART PASSED FAILED SKIPPED BEGIN
note() {
    echo "$1 $2 $3 $4 $(($(date +%s) - $5))" >>"$table"
    printf '%-22s %4s passed %3s failed %3s skipped %5ss\n' "$1" "$2" "$3" "$4" "$(($(date +%s) - $5))"
}

# note_log PART LOG STATUS BEGIN: the counts are in the last line of the log. A part that
# did not get as far as counting counts as one failure.
note_log() {
    counts=$(sed -n 's/^\([0-9]*\) passed, \([0-9]*\) failed\(, \([0-9]*\) skipped\)\{0,1\}$/\1 \2 \4/p' "$2" | tail -n 1)
    # shellcheck disable=SC2086
    set -- "$1" "$2" "$3" "$4" ${counts:-0 1}
    passed=$5 failed=$6 skipped=${7:-0}
    [ "$3" -ne 0 ] && [ "$failed" -eq 0 ] && failed=1
    note "$1" "$passed" "$failed" "$skipped" "$4"
    [ "$failed" -eq 0 ] || show_failures "$2"
}

# What a reader of a failure wants to see: not what went well.
show_failures() {
    echo "--- $1"
    shown=$logs/shown
    grep -v -e '^  passed ' -e '^\[[0-9]*/[0-9]*\] [BGL]' -e '^[0-9 ]*: \[ RUN' -e '^[0-9 ]*: \[       OK' \
        -e '^-- ' "$1" >"$shown"
    if [ "$(wc -l <"$shown")" -le 200 ]; then
        cat "$shown"
    else
        tail -n 100 "$shown"
        echo "..."
        # Last, since a reader of a long run sees its end first.
        grep -n -E 'error:|ERROR|FAILED|^ *failed|\*\*\*|Sanitizer' "$shown" | head -n 60
    fi
    grep -h -E '\[  FAILED  \] [^0-9]|\[  ERROR   \]|^  failed ' "$shown" | head -n 20 |
        sed "s|^|$(basename "$1" .log): |" >>"$logs/failures"
    echo "---"
}

# part NAME COMMAND...: a part that ends with a line of counts.
part() {
    name=$1
    shift
    begin=$(date +%s)
    "$@" >"$logs/$name.log" 2>&1
    note_log "$name" "$logs/$name.log" $? "$begin"
}

build() { # PRESET TARGET...
    preset=$1
    shift
    begin=$(date +%s)
    if { cmake --preset "$preset" && cmake --build --preset "$preset" -j "$jobs" --target "$@"; } \
        >"$logs/build-$preset.log" 2>&1; then
        note "build-$preset" 1 0 0 "$begin"
    else
        note "build-$preset" 0 1 0 "$begin"
        show_failures "$logs/build-$preset.log"
        return 1
    fi
}

# Counts what ran inside the cmocka programs; a program without such lines is one test.
count_ctest() {
    awk '
        /^ *[0-9]+: \[ RUN  / { sub(/:.*/, ""); run[$0 + 0]++ }
        /^ *[0-9]+: \[       OK \]/ { sub(/:.*/, ""); ok[$0 + 0]++ }
        /^ *[0-9]+: \[  SKIPPED \] [^0-9]/ && !($0 in seen) { seen[$0]; sub(/:.*/, ""); skip[$0 + 0]++ }
        /^ *[0-9]+\/[0-9]+ Test +#[0-9]+:/ {
            match($0, /#[0-9]+/)
            n = substr($0, RSTART + 1, RLENGTH - 1) + 0
            bad = run[n] - ok[n] - skip[n]
            if (/ Passed +[0-9.]+ sec/) {
                passed += ok[n] > 0 ? ok[n] : 1
                skipped += skip[n]
            } else if (/Skipped/) {
                skipped++
            } else {
                passed += ok[n]
                failed += bad > 0 ? bad : 1
            }
        }
        END { printf "%d passed, %d failed, %d skipped\n", passed, failed, skipped }' "$1"
}

run_ctest() { # PRESET
    begin=$(date +%s)
    # shellcheck disable=SC2086
    $steady ctest --test-dir "build/$1" -V -j "$jobs" ${only:+-R "$only"} >"$logs/unit-$1.log" 2>&1
    status=$?
    counts=$(count_ctest "$logs/unit-$1.log")
    echo "$counts" >>"$logs/unit-$1.log"
    # With --only there may be none here; the sum decides.
    [ -n "$only" ] && grep -q 'No tests were found' "$logs/unit-$1.log" && return 0
    note_log "unit-$1" "$logs/unit-$1.log" "$status" "$begin"
}

run_system() { # PRESET
    [ -n "$only" ] && [ -z "$(/usr/bin/env python3 tests/system/run.py --list --only "$only")" ] && return 0
    # shellcheck disable=SC2086
    part "system-$1" $steady env BUILD_DIR="build/$1" python3 tests/system/run.py -j "$workers" --only "$only"
}

run_faults() {
    [ -n "$only" ] && [ -z "$(python3 tests/fault/run.py --list --only "$only")" ] && return 0
    long=
    [ "$faults" = long ] && long=--long
    part faults env BUILD_DIR=build/release python3 tests/fault/run.py $long --only "$only"
}

# Sanitizers stop the program at the first report; the suite then sees its exit status.
set_sanitizers() { # PRESET
    unset SY_TIME_SCALE SY_SANITIZED
    workers=4
    steady=
    case $1 in
    asan) export SY_TIME_SCALE=3 SY_SANITIZED=address; workers=3 ;;
    tsan)
        export SY_TIME_SCALE=4 SY_SANITIZED=thread; workers=3
        # gcc 12's ThreadSanitizer cannot live with the address randomisation of newer kernels.
        setarch -R true 2>/dev/null && steady="setarch -R"
        ;;
    esac
    export ASAN_OPTIONS=detect_leaks=1:strict_string_checks=1:detect_stack_use_after_return=1
    export UBSAN_OPTIONS=print_stacktrace=1:halt_on_error=1
    export LSAN_OPTIONS="suppressions=$PWD/tests/lsan.supp:print_suppressions=0"
    export TSAN_OPTIONS="suppressions=$PWD/tests/tsan.supp:second_deadlock_stack=1:halt_on_error=1"
}

have_node() {
    command -v node >/dev/null 2>&1 && [ "$(node -p 'process.versions.node.split(".")[0]')" -ge 18 ] &&
        command -v npm >/dev/null 2>&1
}

groups="build run test"
[ "$lint" = yes ] && groups="$groups lint"
[ "$fuzz" -gt 0 ] && groups="$groups fuzz"
[ "$guards" = yes ] && groups="$groups guards"
[ "$model" = yes ] && groups="$groups model"
[ "$browser" = yes ] && groups="$groups browser"
[ "$browser" = yes ] && { have_node || groups="$groups node"; }
if [ "$install" = yes ]; then
    begin=$(date +%s)
    # shellcheck disable=SC2086
    packages_install compose $groups || exit 1
    echo "packages: $PACKAGES_HERE already here, $PACKAGES_INSTALLED installed, $(($(date +%s) - begin)) s"
fi
jobs=$(nproc 2>/dev/null || echo 2)

for preset in $presets; do
    set_sanitizers "$preset"
    build "$preset" all || continue
    run_ctest "$preset"
    run_system "$preset"
done
set_sanitizers release

[ -z "$only" ] && part tree python3 tests/lint/check.py
docs_bin=build/${presets##* }/bin
[ -z "$only" ] && [ -x "$docs_bin/switchyard" ] && part docs python3 tests/docs/check.py "$docs_bin"
[ "$lint" = yes ] && build clang all && part lint sh tests/lint.sh build/clang
fuzz_targets=$(sed -n 's/^sy_fuzz(\([a-z0-9_]*\).*/fuzz_\1/p' tests/fuzz/targets.cmake)
# shellcheck disable=SC2086
[ "$fuzz" -gt 0 ] && build fuzz $fuzz_targets && part fuzz sh tests/fuzz.sh build/fuzz "$fuzz"
if [ "$sim" -gt 0 ] || [ "$guards" = yes ] || [ "$browser" = yes ] || [ "$demo" = yes ] ||
    [ "$faults" != no ]; then
    case " $presets " in *" release "*) ;; *) build release all ;; esac
fi
[ "$sim" -gt 0 ] && part sim build/release/tests/sim/sim --runs "$sim" --jobs "$jobs"
[ "$guards" = yes ] && part guards env BUILD_DIR=build/release sh tests/bench/guards.sh
[ "$model" = yes ] && part model sh tests/model/run.sh
[ "$browser" = yes ] && part browser env BUILD_DIR=build/release python3 tests/browser/run.py
[ "$faults" != no ] && run_faults
if [ "$demo" = yes ]; then
    begin=$(date +%s)
    if sh compose/demo.sh --once >"$logs/demo.log" 2>&1; then
        note demo 1 0 0 "$begin"
    else
        note demo 0 1 0 "$begin"
        show_failures "$logs/demo.log"
    fi
fi

cat "$logs/failures"
awk '{ p += $2; f += $3; s += $4 }
     END {
         printf "%d passed, %d failed", p, f
         if (s > 0) printf ", %d skipped", s
         print ""
         exit !(p > 0 && f == 0)
     }' "$table"
