#!/bin/sh
# run.sh: checks the model of the registry (registry.pml) with spin, exhaustively.
#
#   sh tests/model/run.sh             everything
#   sh tests/model/run.sh --only X    runs whose name begins with X
#
# Needs spin and gcc. Three kinds of runs:
#   full      the protocol as it is coded: no error may be found
#   without   one rule taken out. Spin must find the property violated that the run names, or
#             the rule, or this model, is worth nothing. "none": the rule is hygiene, and an
#             error would be news
#   limit     the protocol as it is coded, asked for more than it promises: spin must find
#             the error that is described. When the code is improved, the run fails, and
#             becomes a full one
#   repaired  a limit with the change that lifts it: no error
#
# A run that did not see all states fails, whatever it found. Last line: `N passed, N
# failed`; exit status 0 only if something passed and nothing failed.
set -u
model=$(cd "$(dirname "$0")" && pwd)/registry.pml
only=
memory_mb=5500
depth=100000

while [ $# -gt 0 ]; do
    case $1 in
    --only) shift; only=${1:-} ;;
    *) sed -n '2,/^set -u/s/^# \{0,1\}//p' "$0" >&2; exit 64 ;;
    esac
    shift
done

for tool in spin gcc; do
    command -v "$tool" >/dev/null || { echo "$tool is not installed"; echo "0 passed, 1 failed"; exit 1; }
done

work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
trap 'exit 1' HUP INT TERM
cd "$work" || exit 1
passed=0
failed=0

fail() { # NAME WHY
    failed=$((failed + 1))
    printf '%-26s FAILED: %s\n' "$1" "$2"
    tail -n 5 log
}

# number FIRST LAST: what stands between two words of pan's report.
number() {
    sed -n "s/.*$1 *\([0-9.e+]*\)$2.*/\1/p" pan.log | tail -n 1
}

# check NAME WANTED WHY FLAG...: WANTED is none, or the property that must be violated.
check() {
    name=$1 wanted=$2 why=$3
    shift 3
    case $name in "$only"*) ;; *) return ;; esac
    rm -f pan pan.* ./*.trail
    cp "$model" registry.pml
    spin -a "$@" registry.pml >log 2>&1 || { fail "$name" "spin does not take the model"; return; }
    # Compiling takes longer than running when an error is soon found.
    level=-O1
    [ "$wanted" = none ] || level=-O0
    gcc $level -DSAFETY -DNOREDUCE -DCOLLAPSE -DMEMLIM=$memory_mb -o pan pan.c >log 2>&1 ||
        { fail "$name" "the checker does not compile"; return; }
    begin=$(date +%s)
    ./pan -E -m$depth >pan.log 2>&1
    seconds=$(($(date +%s) - begin))
    cp pan.log log
    errors=$(number 'errors:' '')
    if grep -q -e 'too small' -e 'out of memory' -e 'memory limit' -e 'VECTORSZ' -e 'hash-compact' pan.log; then
        fail "$name" "not all states were seen"
        return
    fi
    # An error ends the search, which is then not complete, and need not be.
    if [ "${errors:-x}" = 0 ] && grep -q 'Search not completed' pan.log; then
        fail "$name" "the search was not completed"
        return
    fi
    case $wanted:${errors:-x} in
    none:0) verdict='no error' ;;
    none:*) fail "$name" "$(grep -m 1 'pan:1:' pan.log)"; return ;;
    *:[1-9]*)
        grep -q "^pan:1: assertion violated.*(p${wanted#P}&&" pan.log ||
            { fail "$name" "not $wanted: $(grep -m 1 'pan:1:' pan.log)"; return; }
        verdict="$wanted violated, as must be"
        ;;
    *) fail "$name" "no error was found, but must be: $why"; return ;;
    esac
    passed=$((passed + 1))
    printf '%-26s %9s states %6s deep %s errors %3s s  %s: %s\n' "$name" \
        "$(sed -n 's/^ *\([0-9]*\) states, stored.*/\1/p' pan.log)" "$(number 'depth reached' ',')" "$errors" \
        "$seconds" "$verdict" "$why"
}

# What is checked against what. Each names the faults that may happen, and how many.
moves="-DLOGINS=3 -DFAULTS=2 -DF_KICK -DF_LOST"
back="-DLOGINS=2 -DFAULTS=3 -DF_KICK -DF_LOST -DF_CLOCK -DHEARD"
# STRICT asks for the order of logins, not of registers; nothing is long on its way.
order="-DLOGINS=3 -DFAULTS=2 -DF_KICK -DF_LOST -DSTRICT -DNO_WAY -DHEARD"
many="-DLOGINS=4 -DFAULTS=1 -DF_KICK"
flush="-DLOGINS=2 -DFAULTS=1 -DF_FLUSH -DF_CLOCK -DF_KICK -DF_LOST -DBEATS"
clock="-DLOGINS=2 -DFAULTS=2 -DF_FLUSH -DF_CLOCK"
reap="-DLOGINS=1 -DFAULTS=2 -DF_LEASE -DF_LEAD -DSWEEPERS=2 -DBEATS"
reap_move="-DLOGINS=2 -DFAULTS=1 -DF_LEASE -DSWEEPERS=1 -DBEATS"
kill="-DLOGINS=2 -DFAULTS=0 -DF_KILL -DSWEEPERS=1 -DBEATS"
dead_flush="-DLOGINS=1 -DFAULTS=1 -DF_KILL -DF_FLUSH -DSWEEPERS=1 -DBEATS -DTIDY -DPIPELINED -DFIX_WRITER"
# The lease ends by the clock: when the edge knows, and what was on its way has come.
writer="-DLOGINS=1 -DFAULTS=1 -DF_KILL -DF_LEASE -DSWEEPERS=1 -DBEATS -DTIDY -DTIMELY"
# What the verify cycle does not have to heal: it never runs.
resync="-DLOGINS=1 -DFAULTS=1 -DF_LEASE -DSWEEPERS=1 -DBEATS -DPROMPT -DNO_CYCLE -DROUNDS=0"
office="-DLOGINS=0 -DFAULTS=2 -DF_FLUSH -DF_LEAD -DF_KILL -DSWEEPERS=2 -DBEATS -DOFFICE"
# Losing data takes no time: an edge's own clock does not see it.
gen="-DNO_OWN_CLOCK -DLOGINS=1 -DFAULTS=1 -DF_FLUSH -DF_BEAT -DBEATS -DNO_CYCLE -DROUNDS=0"

# shellcheck disable=SC2086
{
    check full-moves none "three logins, lost kicks, commands and answers" $moves
    check full-clock-back none "the clock goes back between logins" $back
    check full-login-order none "the newest login is never closed as replaced, however late registers go out" $order
    check full-writer none "no row is written without a lease, so none is left behind" $writer
    check full-many none "four logins" $many
    check full-flush none "Redis loses its data" $flush
    check full-clock none "Redis loses its data and its clock goes back" $clock
    check full-reap none "lost leases, two sweepers, stale leaders" $reap
    check full-reap-move none "a device that moves while its edge is reaped" $reap_move
    check full-kill none "an edge dies" $kill
    check full-resync none "a lost lease is healed by the heartbeat's answer alone" $resync
    check full-one-cycle none "one verify of each link is enough, also after a flush" $flush -DROUNDS=1
    check full-tidy none "no row is left behind" $moves -DTIDY
    check full-dead-edge none "an edge that dies leaves no row" $kill -DTIDY
    check full-lost-beat none "the answer that says LOST is lost" $resync -DF_BEAT
    check full-office none "Redis loses its data under leaders that change" $office
    check full-gen none "lost data is healed by the generation alone, also if answers are lost" $gen

    check without-exact-match P3 "unregister deletes whatever is there" $moves -DNO_EXACT
    check without-epoch P1 "verify overwrites any row, and kicks the newest" $moves -DNO_EPOCH
    check without-stored-epoch P1 "a clock that goes back makes a new login look old" $back -DNO_STORED_EPOCH
    check without-age P1 "a register that goes out late beats the login after it" $order -DNO_AGE
    check without-lease-rule P4 "an edge without lease writes a row while it is reaped, and dies" $writer -DNO_WRITER_RULE
    check without-rewrite-kick P2 "a rewrite over an older row tells nobody" $flush -DROUNDS=1 -DNO_REWRITE_KICK
    check without-late-kick P4 "a late kick makes an edge forget a row that it has just rewritten" $moves -DTIDY -DKICK_FORGETS
    check without-own-clock P1 "the only answer that says LOST is lost" $resync -DF_BEAT -DNO_OWN_CLOCK
    check without-fence-clock P5 "after a flush the leader in office is refused by an old fence" $office -DNO_FENCE_CLOCK
    check without-kick-match P1 "a kick closes whoever has the device now" $moves -DKICK_ANY
    check without-cycle P2 "a lost kick leaves two" $moves -DNO_CYCLE -DROUNDS=0 -DONLY_P2
    check without-kick-and-cycle P2 "nobody tells the older one" $many -DNO_KICK -DNO_CYCLE -DROUNDS=0 -DONLY_P2
    check without-look P4 "a register without an answer is forgotten with its session" $moves -DTIDY -DNO_LOOK
    check without-tie P2 "equal epochs overwrite each other for ever, where kicks are lost" $clock -DNO_TIE -DNO_KICK
    check without-lease-check P3 "a living node is reaped on an old belief" $reap -DNO_LEASE_CHECK
    check without-resync P1 "what was reaped stays away until the cycle" $resync -DNO_RESYNC
    check without-gen P1 "lost data stays away until the cycle" $gen -DNO_GEN
    check without-index-first P4 "a dead edge's row that no index names" $kill -DTIDY -DINDEX_LAST
    check without-sweep-of-lists P4 "an index that no list names" $dead_flush -DNO_SCRUB

    check without-kick none "hygiene: the cycle closes the older one, a kick does it at once" $moves -DNO_KICK
    check without-kick-overtake none "hygiene: a kick before the register's answer is made up for by the cycle" $moves -DNO_KICK_EPOCH_VERIFY
    check without-done-check none "hygiene for a live node: its next verify names the row again" $reap -DNO_DONE_CHECK
    check without-fence none "hygiene: reaping compares at each step, so a stale leader does no harm" $reap -DNO_FENCE

    check limit-reaped-writer P4 "the lease goes with Redis's data; before it hears, an edge writes a row, is reaped, and dies" $dead_flush -UFIX_WRITER
    check repaired-reaped-writer none "no row is written without a lease in Redis" $dead_flush
    check limit-slow-reap P1 "rows deleted after the node is back wait for the cycle" $resync -UPROMPT
    check limit-login-order P1 "two registers on their way at once are ordered by their arrival" -DLOGINS=2 -DFAULTS=0 -DSTRICT -DHEARD
    check limit-late-command P1 "a register given up, executed later" -DLOGINS=2 -DFAULTS=1 -DF_LATE
}

echo "$passed passed, $failed failed"
[ "$passed" -gt 0 ] && [ "$failed" -eq 0 ]
