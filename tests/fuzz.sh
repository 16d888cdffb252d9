#!/bin/sh
# fuzz.sh BUILD SECONDS: every fuzz target of a fuzz build, two at a time, starting from its
# committed corpus. What it finds new stays in BUILD/found/TARGET; a crash is kept there too,
# to be committed to tests/fuzz/corpus/TARGET with its fix.
set -u
build=${1:?BUILD}
seconds=${2:?SECONDS}
targets=$(find "$build/tests/fuzz" -maxdepth 1 -type f -name 'fuzz_*' -perm -u+x | sort)
[ -n "$targets" ] || {
    echo "no fuzz targets in $build"
    exit 1
}

one='
    target=${1##*/fuzz_}
    found=$2/found/$target
    mkdir -p "$found"
    begin=$(date +%s)
    if "$1" -max_total_time="$3" -timeout=10 -rss_limit_mb=2048 -max_len=131072 -print_final_stats=1 \
        -artifact_prefix="$found/" "$found" "tests/fuzz/corpus/$target" >"$found.log" 2>&1; then
        runs=$(sed -n "s/^stat::number_of_executed_units: //p" "$found.log")
        printf "  passed %-14s %10s runs in %s s\n" "$target" "$runs" "$(($(date +%s) - begin))"
    else
        printf "  failed %s\n" "$target"
        tail -n 40 "$found.log" | sed "s/^/  | /"
    fi
'
results=$build/fuzz-results
echo "$targets" | xargs -P 2 -I '{}' sh -c "$one" one '{}' "$build" "$seconds" | tee "$results"
passed=$(grep -c '^  passed ' "$results")
failed=$(grep -c '^  failed ' "$results")
[ $((passed + failed)) -eq "$(echo "$targets" | wc -l)" ] || failed=$((failed + 1))
echo "$passed passed, $failed failed"
[ "$passed" -gt 0 ] && [ "$failed" -eq 0 ]
