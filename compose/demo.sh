#!/bin/sh
# demo.sh: a Switchyard cluster on this machine, and proof that it does its job.
#
#   sh compose/demo.sh              set up, build, start, prove, then wait for Ctrl-C
#   sh compose/demo.sh --once       the same, but ends after the proof: exit status 0 or 1
#   sh compose/demo.sh --no-install never install packages
#
# Starts nats-server, redis-server, two edges of at most 500 connections each and a sweeper,
# all on 127.0.0.1, on ports of their own (the next free one where one is taken), with
# passwords made for this run. Everything it keeps is in build/demo; everything it starts it
# stops by process id. A NATS or Redis that runs here already is neither used nor touched.
set -u
cd "$(dirname "$0")/.." || exit 1
. compose/packages.sh

once=no
install=yes
for word in "$@"; do
    case $word in
    --once) once=yes ;;
    --no-install) install=no ;;
    *)
        sed -n '2,/^set -u/s/^# \{0,1\}//p' compose/demo.sh >&2
        exit 64
        ;;
    esac
done

here=build/demo
bin=build/release/bin
PATH=$PATH:/usr/sbin:/sbin
umask 077

# ---- what it says ----

step() { # NUMBER NAME TEXT
    printf '[%s/5] %-14s %s\n' "$1" "$2" "$3"
}

die() {
    echo "demo: $1" >&2
    [ $# -gt 1 ] && [ -f "$2" ] && tail -n 20 "$2" >&2
    exit 1
}

proofs_failed=0
proof() { # STATUS TEXT
    if [ "$1" -eq 0 ]; then
        printf '      %-14s %s\n' 'proof' "$2"
    else
        printf '      %-14s %s\n' 'NOT PROVEN' "$2"
        proofs_failed=$((proofs_failed + 1))
    fi
}

# Milliseconds; tenths of a second from them.
now() {
    date +%s%3N
}

since() { # MILLISECONDS: "1.2 s" from then to now
    since_tenths=$((($(now) - $1 + 50) / 100))
    echo "$((since_tenths / 10)).$((since_tenths % 10)) s"
}

# ---- what it starts ----

running= # process ids, newest first

is_ours() { # PID: still a child of this script, not somebody else's new process
    grep -q "^PPid:[[:space:]]*$$\$" "/proc/$1/status" 2>/dev/null
}

stop_one() { # PID [SIGNAL]
    if is_ours "$1"; then
        kill -CONT "$1" 2>/dev/null
        kill "-${2:-TERM}" "$1" 2>/dev/null
        wait "$1" 2>/dev/null
    fi
    rest=
    for pid in $running; do
        [ "$pid" = "$1" ] || rest="$rest $pid"
    done
    running=$rest
}

stop_all() {
    status=$?
    trap '' INT TERM
    for pid in $running; do
        stop_one "$pid"
    done
    trap - EXIT
    exit "$status"
}
trap stop_all EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

start() { # NAME COMMAND...: in the background, its output in build/demo/NAME.log
    start_name=$1
    shift
    "$@" >"$here/$start_name.log" 2>&1 </dev/null &
    started=$!
    running="$started $running"
}

wait_for() { # SECONDS COMMAND...
    wait_until=$(($(now) + $1 * 1000))
    shift
    until "$@" >/dev/null 2>&1; do
        [ "$(now)" -lt "$wait_until" ] || return 1
        sleep 0.05
    done
}

taken=
free_port() { # FROM: sets $port to it or the next one that nobody listens on
    port=$1
    while :; do
        case " $taken " in
        *" $port "*) ;;
        *)
            curl -s -o /dev/null --max-time 1 "http://127.0.0.1:$port/"
            [ $? -eq 7 ] && break # connection refused
            ;;
        esac
        port=$((port + 1))
    done
    taken="$taken $port"
}

# ---- what it asks ----

ready() { # PRIVATE-PORT
    curl -fsS --max-time 1 "http://127.0.0.1:$1/readyz"
}

counter() { # PRIVATE-PORT NAME
    curl -fsS "http://127.0.0.1:$1/v0/counters" | sed -n "s/.*\"$2\":\([0-9]*\).*/\1/p"
}

nats_messages() {
    curl -fsS "http://127.0.0.1:$monitor_port/varz" | sed -n 's/.*"in_msgs": *\([0-9]*\).*/\1/p'
}

redis() {
    REDISCLI_AUTH=$password redis-cli -h 127.0.0.1 -p "$redis_port" --user switchyard "$@" 2>/dev/null
}

# send EDGE-URL FROM TO TEXT: what the program prints; its exit status: 0 sent, 1 rejected
send() {
    "$bin/switchyard" send --edge "$1" --user "$2" --to "$3" "$4" 2>&1
}

# listen NAME EDGE-URL USER DEVICE COUNT: in the background, one JSON line per message
listen() {
    start "$1" "$bin/switchyard" listen --edge "$2" --user "$3" --device "$4" --json --count "$5" --timeout 60s
    listener=$started
}

is_link() { # USER DEVICE NODE-NAME: Redis has that user's device on that edge
    redis HGET "sy:user:{$1}" "$2" | grep -q "^$3\."
}

heard() { # NAME TEXT
    grep -q -- "$2" "$here/$1.log"
}

# ---- 1 packages, 2 build ----

begin=$(now)
if [ "$install" = yes ]; then
    packages_install compose build run || exit 1
    step 1 packages "$PACKAGES_HERE already here, $PACKAGES_INSTALLED installed  ($(since "$begin"))"
else
    step 1 packages "left as they are"
fi

begin=$(now)
mkdir -p "$here"
{ cmake --preset release &&
    cmake --build --preset release -j "$(nproc)" --target switchyard-edge switchyard-sweeper switchyard; } \
    >"$here/build.log" 2>&1 || die "the build failed:" "$here/build.log"
step 2 build "switchyard-edge, switchyard-sweeper, switchyard  ($(since "$begin"))"

# ---- 3 NATS and Redis ----

password=$(od -An -N16 -tx1 /dev/urandom | tr -d ' \n')
free_port 14222; nats_port=$port
free_port 18222; monitor_port=$port
free_port 16379; redis_port=$port
free_port 8000; a_port=$port
free_port 8001; a_private=$port
free_port 8010; b_port=$port
free_port 8011; b_private=$port
a=ws://127.0.0.1:$a_port/ws
b=ws://127.0.0.1:$b_port/ws

cat >"$here/nats.conf" <<END
# Users stand inside accounts: in nats-server 2.9 an authorization block beside accounts
# would let anybody in (CVE-2023-47090).
host: 127.0.0.1
port: $nats_port
http: 127.0.0.1:$monitor_port
write_deadline: "500ms"
accounts { switchyard { users: [ { user: switchyard, password: "$password" } ] } }
END
start nats nats-server -c "$here/nats.conf"
wait_for 10 curl -fsS "http://127.0.0.1:$monitor_port/varz" || die "nats-server did not start:" "$here/nats.log"
step 3 nats "127.0.0.1:$nats_port, monitor http://127.0.0.1:$monitor_port   ready"

rm -rf "$here/redis"
mkdir -p "$here/redis"
printf 'user default off\nuser switchyard on >%s ~sy:* +@all\n' "$password" >"$here/redis/users.acl"
start redis redis-server --bind 127.0.0.1 --port "$redis_port" --save '' --appendonly no \
    --dir "$here/redis" --aclfile "$PWD/$here/redis/users.acl"
echo "redis://switchyard:$password@127.0.0.1:$redis_port" >"$here/redis.url"
wait_for 10 redis PING || die "redis-server did not start:" "$here/redis.log"
step 3 redis "127.0.0.1:$redis_port   ready"

# ---- 4 edges and sweeper ----

backends() {
    printf 'nats:\n  url: nats://127.0.0.1:%s\n  user: switchyard\n  password: %s\n' "$nats_port" "$password"
    printf 'redis:\n  url: redis://127.0.0.1:%s\n  user: switchyard\n  password: %s\n' "$redis_port" "$password"
}

# The page of one edge may also be used with the other.
origins="http://127.0.0.1:$a_port http://127.0.0.1:$b_port http://localhost:$a_port http://localhost:$b_port"

start_edge() { # NAME PORT PRIVATE-PORT
    {
        printf 'node:\n  name: %s\nlisten:\n  port: %s\nprivate:\n  port: %s\n' "$1" "$2" "$3"
        printf 'connections:\n  max: 500\nweb:\n  root: edge/web\norigins:\n  allowed: %s\n' "$origins"
        backends
    } >"$here/$1.yaml"
    start "$1" "$bin/switchyard-edge" serve -c "$here/$1.yaml" --log-format text
    wait_for 15 ready "$3" || die "$1 did not become ready:" "$here/$1.log"
    step 4 "$1" "ws://127.0.0.1:$2/ws   private http://127.0.0.1:$3   ready"
}
start_edge edge-a "$a_port" "$a_private"
edge_a=$started
start_edge edge-b "$b_port" "$b_private"
{
    printf 'node:\n  name: sweeper\n'
    backends
} >"$here/sweeper.yaml"
start sweeper "$bin/switchyard-sweeper" serve -c "$here/sweeper.yaml" --log-format text
sweeper=$started
wait_for 15 grep -q sweeper_leader "$here/sweeper.log" || die "the sweeper did not start:" "$here/sweeper.log"
step 4 sweeper "watches over the edges; a lease lasts 10 s   ready"

# ---- 5 proof ----

# From one edge to the other.
listen bob "$a" bob phone 1
wait_for 10 is_link bob phone edge-a
said=$(send "$b" alice bob "hello across nodes")
status=$?
wait_for 5 heard bob "hello across nodes" || status=1
proof $status "alice@edge-b -> bob@edge-a  \"hello across nodes\"  $said"
stop_one "$listener"

# On one edge: no envelope leaves it, and NATS sees heartbeats only.
listen carol "$a" carol phone 20
wait_for 10 is_link carol phone edge-a
begin=$(now)
out=$(counter "$a_private" envelopes_out)
local=$(counter "$a_private" messages_local)
seen=$(nats_messages)
status=0
i=0
while [ $i -lt 20 ]; do
    send "$a" dave carol "local $i" >/dev/null || status=1
    i=$((i + 1))
done
wait_for 5 heard carol "local 19" || status=1
[ "$(counter "$a_private" envelopes_out)" = "$out" ] || status=1
[ $(($(counter "$a_private" messages_local) - local)) -eq 20 ] || status=1
proof $status "20 messages dave -> carol, both on edge-a: 0 envelopes to NATS, which saw $(($(nats_messages) - seen)) heartbeats and probes in $(since "$begin")"

# All devices of one user.
listen erin-phone "$a" erin phone 1
listen erin-laptop "$b" erin laptop 1
wait_for 10 is_link erin phone edge-a
wait_for 10 is_link erin laptop edge-b
said=$(send "$a" alice erin "to all you have")
status=$?
wait_for 5 heard erin-phone "to all you have" || status=1
wait_for 5 heard erin-laptop "to all you have" || status=1
proof $status "alice@edge-a -> erin's phone@edge-a and laptop@edge-b  $said"

# Somebody who is not there.
said=$(send "$a" alice nobody "anybody?")
[ $? -eq 1 ] && echo "$said" | grep -q 'rejected: offline'
proof $? "alice@edge-a -> nobody  $said"

# A dead edge. The sweeper is held meanwhile, to show that nothing waits for it.
listen grace "$a" grace phone 1
grace=$listener
listen frank "$a" frank phone 1
wait_for 10 is_link grace phone edge-a
wait_for 10 is_link frank phone edge-a
node=$(redis HGET 'sy:user:{frank}' phone | cut -d ' ' -f 1)
kill -STOP "$sweeper"
died=$(now)
stop_one "$edge_a" KILL
stop_one "$listener"
stop_one "$grace" KILL
lease_is_gone() { [ "$(redis EXISTS "sy:lease:{$node}")" = 0 ]; }
wait_for 15 lease_is_gone
ended=$(since "$died")
said=$(send "$b" alice frank "are you there?")
status=$?
[ $status -eq 1 ] && is_link frank phone edge-a && echo "$said" | grep -q 'rejected: offline'
proof $? "killed edge-a: its lease ended after $ended, and its links, still in Redis, count no more: $said"

listen frank-again "$b" frank phone 1
wait_for 10 is_link frank phone edge-b
said=$(send "$b" alice frank "welcome back")
status=$?
wait_for 5 heard frank-again "welcome back" || status=1
proof $status "frank is back on edge-b and reachable: $said"

kill -CONT "$sweeper"
is_reaped() {
    ! redis --scan --pattern "sy:*{$node}*" | grep -q -v '^sy:fence:' && ! is_link grace phone edge-a
}
wait_for 30 is_reaped && wait_for 5 grep -q "node_reaped.*$node" "$here/sweeper.log"
proof $? "the sweeper, let go, removed what was left of edge-a (grace did not come back): $(sed -n "s/.*node_reaped.*\(links=[0-9]*\).*/\1/p" "$here/sweeper.log" | tail -n 1), $(since "$died") after its death"

if [ "$once" = yes ]; then
    [ "$proofs_failed" -eq 0 ] && echo "All proven."
    [ "$proofs_failed" -eq 0 ]
    exit
fi

start_edge edge-a "$a_port" "$a_private"
cat <<END

  Chat page   http://127.0.0.1:$a_port/  and  http://127.0.0.1:$b_port/   (open both, log in under two names)
  Terminal    $bin/switchyard chat --edge $a --user alice      (lines of '@bob hello')
  Send        $bin/switchyard send --edge $b --user you --to bob "hi"
  Nodes       SWITCHYARD_REDIS_URL=\$(cat $here/redis.url) $bin/switchyard nodes
  Health      http://127.0.0.1:$a_private/readyz  http://127.0.0.1:$b_private/readyz
  NATS        http://127.0.0.1:$monitor_port/connz
  Local mode: everything is bound to 127.0.0.1 and anyone on this machine may log in under any name.
  Ctrl-C stops everything started here.
END
wait
