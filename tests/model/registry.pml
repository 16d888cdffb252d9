// registry.pml: the registry's protocol, small enough to try every order of events.
//
// What it is a model of:
//   Edge, pick, script, answers   edge/registry.c (work, begin, on_*), lib/store/store_link.c
//   do_register, do_verify, ...   proto/redis/register.lua, verify.lua, unregister.lua
//   Beat                          edge/lease.c (beat, on_beat), store_node.c, heartbeat.lua
//   Sweeper                       sweeper/sweep.c, lib/store/store_sweep.c, store_scrub.c,
//                                 lead.lua, reap_list.lua, reap_row.lua, reap_done.lua
//   Bus, deliver                  kicks: kick_replaced, registry_kick
//   World                         logins (edge/session.c), clients that leave, time, faults
// Not in it: messages, watchers, memory of routes, more than one user or device. Users
// share nothing but leases, indexes and the pace of the sweeper, so one tells all.
//
// Faults, each only where a run asks for it (F_*), FAULTS of them in all: a command or an
// answer lost (LOST), a kick lost (KICK), a lease that ends (LEASE: also an edge paused or
// cut off), leadership that ends (LEAD: also a sweeper paused with its old fence), Redis
// losing its data (FLUSH) or its clock going back (CLOCK). Without counting: an edge dies
// (KILL), a renewal's answer is lost (BEAT). Everything may take as long as it likes.
//
// At any moment World may call it calm: no more faults, logins or leaving. What is under way
// ends, in any order. At rest each link is verified, ROUNDS times, each time until rest.
// What is at rest stays so: a link whose row is right is KEPT by any later verify. So the
// verdict at rest says `from now on, always`, and a finite search without fairness will do.
//
//   P1  at rest the row is that of the live link, with its epoch; index and lease exist. And
//       always: the newest login, the one with the highest epoch, is never closed as
//       replaced. (Excepted, `tainted`: the clock went back while no row was there to show
//       it, so that the newest has a lower epoch. STRICT: by the order of logins.)
//   P2  at rest at most one link of the device is live
//   P3  unregister deletes no row of a live link; reaping does so only in a batch whose
//       reap_list found the node without lease. P1 says that it comes back: by the answer
//       of the next renewal, or, if the sweeper was slow, by the next verify
//   P4  (TIDY) at rest there is no row that nobody will ever remove
//   P5  (OFFICE) the leader in office is not refused as stale
//
// Why it is small and yet enough: only the order of epochs is read, so time is counted in
// logins, and an epoch is a time and the registers after it. Links are numbered by login, and
// `connection` is that number. There is one row, so policies of devices are not in it: they
// say which rows are one. The index is a bit for each node. An id never comes back, so a dead
// edge stays dead; a restarted one would be another node. A lease is a bit; when it may end
// is World's. Locals are cleared as soon as nobody reads them. HEARD: the highest epoch that
// an edge has heard of the user goes with its registers.
//
// Known limits of the protocol as coded, each a run of run.sh:
//   slow reap     a sweeper pauses between reap_list and reap_row; meanwhile the node is
//                 back and has verified. The rows deleted then wait for the cycle
//   reaped writer Redis loses its data, the lease with it; before its next renewal tells it,
//                 an edge writes a row while its batch is at reap_row, loses the index entry
//                 at reap_done, and dies. (A lease that ends by the clock does no such harm:
//                 the edge knows first, and writes nothing. Run full-writer.) FIX_WRITER: no
//                 row is written without a lease in Redis
//   login order   two logins whose registers are on their way at the same time are ordered by
//                 their arrival; how long a register waits before that, it tells itself
//                 (run full-login-order)
//   late command  a register given up (timeout, connection closed) that Redis executes
//                 later still takes the row for a link that may be gone
//
// ONLY_P2 asks for nothing else at rest. The other switches take out a rule (NO_*, KICK_*,
// INDEX_LAST), or try a repair (FIX_*).
// PROMPT: reap_list and reap_row without a pause between. TIMELY: no command and no batch of a
// sweeper is under way for as long as a lease lasts. NO_WAY: registers take no time on theirs.
// PIPELINED: no pause between SADD and script. run.sh says which runs there are, and what each
// must find.

#ifndef LOGINS
#define LOGINS 3
#endif
#ifndef FAULTS
#define FAULTS 2
#endif
#ifndef ROUNDS
#define ROUNDS 2
#endif
#ifndef SWEEPERS
#define SWEEPERS 0
#endif

#define ABSENT 0
#define WRITTEN 1
#define UNKNOWN 2

#define REGISTER 1
#define VERIFY 2
#define UNREGISTER 3
#define LOOK 4

#define KEPT 0
#define REWRITTEN 1
#define SUPERSEDED 2
#define SUPERSEDED_ELSEWHERE 3

#define DELETED 1
#define OTHER_LINK 2
#define NOT_OURS 3

#define NOBODY 2

// Where Redis's clock begins, and goes back to: no age is as high. It has room for registers
// between two logins.
#define CLOCK 4
#define EPOCH(time) (4 * (time))
#define NOW (4 * clock + 3)
// As verify.lua has it. (Time is coarser here, so that there are ties.)
#define NEWER(epoch_a, a, epoch_b, b) (epoch_a > epoch_b || (epoch_a == epoch_b && a > b))

// Redis.
byte row = 0;
byte row_epoch = 0;
byte clock = CLOCK;
byte gen = 0;
bit lease[2];
bit member[2];
bit listed[2];
byte leader = NOBODY;
byte fence = 0;
byte node_fence[2];

// Edges.
bit alive[2];
byte seen_gen[2];
bit home[5];
bit session[5];
byte known[5];
byte epoch[5];
bit must_verify[5];
byte heard[2]; // user->epoch
#ifdef BEATS
bit sure[2]; // by its own clock it holds the lease
bit writing[2];
bit reaping = 0;
#endif

byte kick[5];
byte current[2];

// Sweepers.
bit leads[2];
byte my_fence[2];
bit stuck[2];

// The world.
byte logins = 0;
byte faults = FAULTS;
bit calm = 0;
byte late = 0;
byte late_age = 0;

// Names for pan's report: an assertion is `p1 && ...`. Never written.
bit p1 = 1;
bit p2 = 1;
bit p3 = 1;
bit p4 = 1;
bit p5 = 1;

// Ghosts: read by assertions alone.
byte newest = 0;
byte top_epoch = 0;
bit tainted = 0;

#define FAULT (!calm && faults > 0)
#define AT(e, i) (home[i] == (e))
#define DUE(e, i) \
    (AT(e, i) && (session[i] -> (known[i] != WRITTEN || must_verify[i]) : known[i] != ABSENT))
// No link of the edge is left: it forgets the user.
#define IDLE(e, i) (!AT(e, i) || (!session[i] && known[i] == ABSENT))
#if defined(BEATS) && !defined(NO_WRITER_RULE)
#define WRITER_RULE
#endif
// TIMELY: a lease lasts longer than a command is on its way, and than a batch of the sweeper.
#ifdef TIMELY
#define WRITING(e, value) writing[e] = value
#define BATCH(value) reaping = value
#define IN_TIME(e) (!writing[e] && !reaping)
#else
#define WRITING(e, value) skip
#define BATCH(value) skip
#define IN_TIME(e) true
#endif
#define ANY_DUE(e) (DUE(e, 1) || DUE(e, 2) || DUE(e, 3) || DUE(e, 4))

// session_end() and registry_remove(). What a session that is gone would ignore is cleared:
// a kick for it, and must_verify, so that states that differ in nothing are one.
inline end_session(i) {
    session[i] = 0;
    must_verify[i] = 0;
    kick[i] = 0;
    if
    :: known[i] == ABSENT && current[home[i]] != i -> epoch[i] = 0
    :: else
    fi
}

// session_end() by link_superseded() or registry_kick(): close 4001.
inline replaced(i) {
    if
    :: session[i] ->
#ifdef STRICT
        assert(p1 && i != logins);
#else
        assert(p1 && (i != newest || tainted));
#endif
        end_session(i)
    :: else
    fi
}

// proto/redis/register.lua. Time is the number of logins; the age of a login is how many came
// after it before its register was sent, or, NO_WAY, before it came.
inline do_register(i, sent_age) {
    old = row;
    old_epoch = row_epoch;
#if defined(NO_AGE)
    given = EPOCH(clock);
#elif defined(NO_WAY)
    given = EPOCH(clock - (logins - i));
#else
    given = EPOCH(clock - sent_age);
#endif
#ifdef HEARD
    if
    :: heard[home[i]] >= given && heard[home[i]] < NOW -> given = heard[home[i]] + 1
    :: else
    fi;
#endif
    if
    :: row != 0 && row != i && row_epoch > given && row_epoch <= NOW ->
        verdict = (home[row] == home[i] -> SUPERSEDED : SUPERSEDED_ELSEWHERE);
        given = 0; old = 0; old_epoch = 0
    :: else ->
#ifndef NO_STORED_EPOCH
        if
        :: old != 0 && old_epoch >= given -> given = old_epoch + 1
        :: else
        fi;
#endif
        row = i;
        row_epoch = given;
        if
        :: NEWER(row_epoch, i, top_epoch, newest) -> top_epoch = row_epoch; newest = i
        :: !NEWER(row_epoch, i, top_epoch, newest) && old_epoch > NOW -> newest = i
#ifdef F_CLOCK
        :: !NEWER(row_epoch, i, top_epoch, newest) && old == 0 -> tainted = 1
#endif
        :: else
        fi
    fi
}

// proto/redis/verify.lua. Equal epochs are ordered by any fixed order of the owners.
inline do_verify(i) {
    old = row;
    old_epoch = row_epoch;
#ifdef NO_EPOCH
    if
    :: row == i && row_epoch >= epoch[i] -> verdict = KEPT
    :: else -> verdict = REWRITTEN; row = i; row_epoch = epoch[i]
    fi
#else
    if
    :: row == i && row_epoch >= epoch[i] -> verdict = KEPT
#ifdef NO_TIE
    :: row != 0 && row != i && row_epoch > epoch[i] -> verdict = SUPERSEDED
#else
    :: row != 0 && row != i && (row_epoch > epoch[i] || (row_epoch == epoch[i] && row > i)) ->
        verdict = SUPERSEDED
#endif
    :: else -> verdict = REWRITTEN; row = i; row_epoch = epoch[i]
    fi
#endif
}

// proto/redis/unregister.lua.
inline do_unregister(i) {
    if
#ifdef NO_EXACT
    :: row != 0 ->
#else
    :: row == i && row_epoch == epoch[i] ->
#endif
        assert(p3 && !session[row]);
        row = 0;
        row_epoch = 0;
        verdict = DELETED
    :: else ->
        verdict = (row != 0 && home[row] == home[i] -> OTHER_LINK : NOT_OURS)
    fi
}

// work() of edge/registry.c: finds the operation due, oldest login first. SADD of the index
// goes with it, see Edge.
inline pick(e) {
    i = 1;
    do
    :: DUE(e, i) -> break
    :: else -> i++
    od;
    if
    :: known[i] == UNKNOWN -> op = LOOK
    :: known[i] == ABSENT -> op = REGISTER;
#if !defined(NO_AGE) && !defined(NO_WAY)
        age = logins - i
#endif
    :: known[i] == WRITTEN && !session[i] -> op = UNREGISTER
    :: known[i] == WRITTEN && session[i] -> op = VERIFY
    fi;
#ifdef NO_LOOK
    if
    :: op == LOOK && session[i] -> op = REGISTER
    :: op == LOOK && !session[i] -> op = 0; known[i] = ABSENT; epoch[i] = 0
    :: else
    fi;
#endif
#ifdef WRITER_RULE
    if
    :: (op == REGISTER || op == VERIFY) && !sure[e] -> op = 0; age = 0
    :: else
    fi;
#endif
    if
    :: op == REGISTER || op == VERIFY ->
#if !defined(INDEX_LAST) && !defined(FIX_WRITER)
        member[e] = 1;
#endif
        WRITING(e, 1)
    :: else
    fi;
    if
    :: op != 0 -> current[e] = i
    :: else
    fi;
    i = 0
}

// kick_replaced(). Two kicks under way for one link: one of them is as good as lost, and
// either may be, which allows more than can happen.
inline send_kick(e) {
#ifndef NO_KICK
    if
    :: old != 0 && home[old] != e && session[old] ->
        if
        :: kick[old] == 0 || kick[old] == old_epoch -> kick[old] = old_epoch
        :: else -> if :: kick[old] = old_epoch :: skip fi
        fi
    :: else
    fi
#else
    skip
#endif
}

inline learn(i, value) {
    known[i] = WRITTEN;
    epoch[i] = value;
#ifdef HEARD
    if
    :: value > heard[home[i]] -> heard[home[i]] = value
    :: else
    fi
#endif
}

// on_looked(). Of another's row nothing is concluded.
inline answer_look(i) {
    if
    :: old == i -> learn(i, old_epoch)
    :: else -> known[i] = ABSENT
    fi
}

inline script(i) {
    if
    :: op == REGISTER -> do_register(i, age)
    :: op == VERIFY -> do_verify(i);
        if
        :: verdict == SUPERSEDED && home[row] != home[i] -> verdict = SUPERSEDED_ELSEWHERE
        :: else -> given = row_epoch
        fi;
        if
#ifndef NO_REWRITE_KICK
        :: verdict == REWRITTEN
#endif
        :: else -> old = 0; old_epoch = 0
        fi
    :: op == UNREGISTER -> do_unregister(i)
    :: op == LOOK -> old = row; old_epoch = row_epoch
    fi
}

inline forget() {
    old = 0; old_epoch = 0; given = 0; verdict = 0
}

#ifdef FIX_WRITER
#define MAY_WRITE(e) (lease[e] || op == UNREGISTER || op == LOOK)
#else
#define MAY_WRITE(e) true
#endif

// The queue of one user at one edge: edge/registry.c and lib/store/store_link.c.
//
// Picking an operation and SADD are one step: between them an edge changes only what is its
// own, which SADD does not read, and Redis what picking does not read, so that steps of
// others can as well come before both. The script is the second step, its answer the third,
// SREM the fourth. A paused edge is one whose next step comes late. Whether an answer is
// lost is decided when the script runs; nothing reads it in between.
proctype Edge(bit e) {
    byte i = 0;
    byte op = 0;
    byte old = 0;
    byte old_epoch = 0;
    byte given = 0;
    byte verdict = 0;
    byte age = 0;
    bit lost = 0;
    do
    :: d_step { alive[e] && op == 0 && ANY_DUE(e) -> pick(e) }
    :: atomic { alive[e] && op != 0 && MAY_WRITE(e) ->
            if
            :: d_step {
#ifdef PIPELINED
                if
                :: op == REGISTER || op == VERIFY -> member[e] = 1
                :: else
                fi;
#endif
                script(current[e]); WRITING(e, 0) }
#ifdef F_LOST
            :: d_step { FAULT -> faults--; lost = 1; WRITING(e, 0) }
            :: d_step { FAULT && op != LOOK -> faults--; lost = 1; script(current[e]); forget();
                    WRITING(e, 0) }
#endif
#ifdef F_LATE
            :: d_step { FAULT && op == REGISTER && late == 0 ->
                    faults--; lost = 1; late = current[e]; late_age = age; WRITING(e, 0) }
#endif
            fi };
#ifdef INDEX_LAST
        atomic { alive[e] ->
            if
            :: op == REGISTER || op == VERIFY -> member[e] = 1
            :: else
            fi };
#endif
        atomic { alive[e] ->
            i = current[e];
            if
            :: lost ->
                if
                :: op == REGISTER -> known[i] = UNKNOWN
                :: else
                fi;
                verdict = 0
            :: !lost && (op == REGISTER || op == VERIFY) ->
                if
                :: op == VERIFY -> must_verify[i] = 0
                :: else
                fi;
                if
                :: verdict >= SUPERSEDED -> known[i] = ABSENT; replaced(i)
                :: else -> learn(i, given); send_kick(e)
                fi;
                verdict = (verdict == SUPERSEDED_ELSEWHERE -> 1 : 0)
            :: !lost && op == LOOK -> answer_look(i); verdict = 0
            :: !lost && op == UNREGISTER ->
                known[i] = ABSENT;
                verdict = (verdict == OTHER_LINK -> 0 : 1)
            fi;
            if
            :: !session[i] && known[i] == ABSENT -> epoch[i] = 0
            :: else
            fi;
#ifdef HEARD
            if
            :: IDLE(e, 1) && IDLE(e, 2) && IDLE(e, 3) && IDLE(e, 4) -> heard[e] = 0
            :: else
            fi;
#endif
            i = 0; op = 0; old = 0; old_epoch = 0; given = 0; lost = 0; age = 0; current[e] = 0;
#if SWEEPERS > 0
            if
            :: verdict == 0 -> goto again
            :: else
            fi
#else
            if
            :: verdict == 1 -> member[e] = 0; verdict = 0
            :: else
            fi
#endif
        };
#if SWEEPERS > 0
        atomic { alive[e] -> member[e] = 0; verdict = 0 }
#endif
again: skip
    od
}

// A register that its edge gave up (the connection was closed) and Redis executes later.
#ifdef F_LATE
active proctype Late() {
    byte old;
    byte old_epoch;
    byte given;
    byte verdict;
    do
    :: d_step { late != 0 -> do_register(late, late_age);
            late = 0; late_age = 0; old = 0; old_epoch = 0; given = 0; verdict = 0 }
    od
}
#endif

#define MARK(e, i)                                                   \
    if                                                               \
    :: AT(e, i) && session[i] -> must_verify[i] = 1                  \
    :: else                                                          \
    fi

inline mark_all(e) {
    MARK(e, 1);
    MARK(e, 2);
    MARK(e, 3);
    MARK(e, 4)
}

// beat() and on_beat(), and store_heartbeat(): SADD sy:nodes, GET sy:gen, heartbeat.lua, the
// answer. A renewal that would change nothing is left out. The whole burst is marked at
// once; the cycle may mark any link at any time anyway.
#ifdef BEATS
#define NOT_SURE(e) !sure[e]
proctype Beat(bit e) {
    bit was_lost = 0;
    byte got = 0;
    do
    :: atomic { alive[e] && (!lease[e] || !listed[e] || seen_gen[e] != gen || NOT_SURE(e)) ->
            listed[e] = 1 };
        atomic { alive[e] -> got = gen };
        atomic { alive[e] -> was_lost = !lease[e]; lease[e] = 1 };
        if
        :: d_step { alive[e] ->
#ifdef NO_GEN
                got = seen_gen[e];
#endif
#ifdef NO_RESYNC
                was_lost = 0;
#endif
                if
                :: was_lost || got != seen_gen[e] -> mark_all(e)
                :: else
                fi;
#ifdef NO_GEN
                seen_gen[e] = gen;
#else
                seen_gen[e] = got;
#endif
                sure[e] = 1;
                was_lost = 0; got = 0
            }
#ifdef F_BEAT
        :: d_step { alive[e] && !calm ->
#ifndef NO_OWN_CLOCK
                // The next renewal that is answered comes a lease's time after the last.
                if
                :: was_lost -> mark_all(e)
                :: else
                fi;
#endif
                was_lost = 0; got = 0 }
#endif
        fi
    od
}
#endif

#if SWEEPERS > 0
// sweeper/sweep.c and lib/store/store_sweep.c. Asking for leadership and its answer are one
// step: a sweeper that is slow to hear is one that is slow to act. One batch holds all.
#define DEAD(n) (listed[n] && !lease[n])
#define WORK(n) ((listed[n] || member[n]) && !lease[n])
proctype Sweeper(bit s) {
    bit n = 0;
    bit got = 0;
    bit no_lease = 0;
    do
    :: d_step { (WORK(0) || WORK(1)) && !stuck[s] && (!leads[s] || (!calm && leader != s)) &&
            (leader == NOBODY || leader == s || !calm) ->
            // lead.lua
            if
            :: leader == s -> leads[s] = 1; my_fence[s] = fence
            :: leader == NOBODY -> leader = s; fence++; leads[s] = 1; my_fence[s] = fence
            :: else -> leads[s] = 0; my_fence[s] = 0
            fi
        }
#ifndef NO_SCRUB
    :: atomic { leads[s] && member[0] && !listed[0] -> listed[0] = 1 }
    :: atomic { leads[s] && member[1] && !listed[1] -> listed[1] = 1 }
#endif
    :: atomic { leads[s] && !stuck[s] && (DEAD(0) || DEAD(1)) ->
            if
            :: DEAD(0) -> n = 0
            :: DEAD(1) -> n = 1
            fi };
        // reap_list.lua
        if
#ifndef NO_LEASE_CHECK
        :: d_step { lease[n] -> n = 0 }
#endif
#ifndef NO_FENCE
        :: d_step { !lease[n] && node_fence[n] > my_fence[s] ->
#ifdef OFFICE
            assert(p5 && !(leader == s && fence == my_fence[s]));
#endif
            if
            :: calm && leader == s && fence == my_fence[s] -> stuck[s] = 1
            :: else
            fi;
            leads[s] = 0; my_fence[s] = 0; n = 0 }
#endif
        :: atomic {
#ifndef NO_LEASE_CHECK
            !lease[n] &&
#endif
#ifndef NO_FENCE
            node_fence[n] <= my_fence[s] &&
#endif
            true -> d_step { node_fence[n] = my_fence[s]; got = member[n]; no_lease = !lease[n];
                BATCH(1) };
#ifdef PROMPT
            d_step {
#else
            };
            d_step {
#endif
            // reap_row.lua
            if
            :: got && row != 0 && home[row] == n ->
                assert(p3 && (!session[row] || no_lease));
                row = 0;
                row_epoch = 0
            :: else
            fi;
            no_lease = 0
            };
#ifdef PROMPT
            };
#endif
            // reap_done.lua
            if
#if !defined(NO_LEASE_CHECK) && !defined(NO_DONE_CHECK)
            :: d_step { lease[n] -> n = 0; got = 0; BATCH(0) }
#endif
#ifndef NO_FENCE
            :: d_step { !lease[n] && node_fence[n] > my_fence[s] ->
                    leads[s] = 0; my_fence[s] = 0; n = 0; got = 0; BATCH(0) }
#endif
            :: d_step {
#if !defined(NO_LEASE_CHECK) && !defined(NO_DONE_CHECK)
                !lease[n] &&
#endif
#ifndef NO_FENCE
                node_fence[n] <= my_fence[s] &&
#endif
                true ->
                if
                :: got -> member[n] = 0
                :: else
                fi;
                got = 0;
                BATCH(0);
                if
                :: !member[n] -> node_fence[n] = 0; got = 1
                :: else
                fi
                };
                if
                :: d_step { got -> listed[n] = 0; got = 0; n = 0 }
                :: d_step { !got -> n = 0 }
                fi
            fi
        fi
    od
}
#endif

#define SAME_EDGE(i, e) if :: session[i] && home[i] == e -> end_session(i) :: else fi
// log_in() of edge/session.c: an older session of the device on this edge is closed.
inline login(e) {
    SAME_EDGE(1, e);
    SAME_EDGE(2, e);
    SAME_EDGE(3, e);
    SAME_EDGE(4, e);
    logins++;
    clock++;
    home[logins] = e;
    session[logins] = 1
}

// registry_kick(). The link stays WRITTEN, and is unregistered by exact match.
inline deliver(i) {
    if
    :: session[i] && epoch[i] == kick[i] ->
#ifdef KICK_FORGETS
        known[i] = ABSENT;
#endif
        replaced(i)
#ifndef NO_KICK_EPOCH_VERIFY
    :: session[i] && epoch[i] != kick[i] -> must_verify[i] = 1
#endif
    :: else
    fi;
    kick[i] = 0
}

inline deliver_any(i) {
    j = 1;
    do
    :: j > LOGINS -> break
    :: j <= LOGINS && home[j] == home[i] && session[j] -> replaced(j); j++
    :: else -> j++
    od;
    j = 0;
    kick[i] = 0
}

#ifdef KICK_ANY
#define DELIVER(i) :: d_step { kick[i] != 0 -> deliver_any(i) }
#else
#define DELIVER(i) :: d_step { kick[i] != 0 -> deliver(i) }
#endif

// NATS: kicks come in any order, as late as may be, or not at all.
active proctype Bus() {
#ifdef KICK_ANY
    byte j = 0;
#endif
    do
    DELIVER(1)
    DELIVER(2)
    DELIVER(3)
    DELIVER(4)
#ifdef F_KICK
    :: d_step { FAULT && kick[1] != 0 -> faults--; kick[1] = 0 }
    :: d_step { FAULT && kick[2] != 0 -> faults--; kick[2] = 0 }
    :: d_step { FAULT && kick[3] != 0 -> faults--; kick[3] = 0 }
    :: d_step { FAULT && kick[4] != 0 -> faults--; kick[4] = 0 }
#endif
    od
}

#define DIE(i, e) if :: home[i] == e -> known[i] = ABSENT; end_session(i); epoch[i] = 0 :: else fi
inline kill(e) {
    alive[e] = 0;
    current[e] = 0;
    heard[e] = 0;
    WRITING(e, 0);
    DIE(1, e);
    DIE(2, e);
    DIE(3, e);
    DIE(4, e)
}

inline flush() {
    faults--;
    row = 0;
    row_epoch = 0;
#ifdef BEATS
    gen++;
    lease[0] = 0; lease[1] = 0;
    listed[0] = 0; listed[1] = 0;
#endif
    member[0] = 0; member[1] = 0;
    leader = NOBODY;
#ifdef NO_FENCE_CLOCK
    fence = 0; // else it goes on from the clock
#endif
    node_fence[0] = 0; node_fence[1] = 0
}

// By the edge's clock it ends first, and nothing is written any more.
#define LEASE_ENDS(e) \
    :: d_step { FAULT && lease[e] && IN_TIME(e) -> faults--; sure[e] = 0; lease[e] = 0 }

#define CLOSE(i) :: d_step { !calm && session[i] -> end_session(i) }
#define CYCLE(i) :: d_step { !calm && session[i] && !must_verify[i] -> must_verify[i] = 1 }

// Clients, time and faults. By symmetry the first login is at edge 0.
active proctype World() {
    do
    :: d_step { !calm && logins < LOGINS && alive[0] -> login(0) }
    :: d_step { !calm && logins < LOGINS && logins > 0 && alive[1] -> login(1) }
    CLOSE(1)
    CLOSE(2)
    CLOSE(3)
    CLOSE(4)
#ifndef NO_CYCLE
    CYCLE(1)
    CYCLE(2)
    CYCLE(3)
    CYCLE(4)
#endif
#ifdef F_LEASE
    LEASE_ENDS(0)
    LEASE_ENDS(1)
#endif
#ifdef F_LEAD
    :: d_step { FAULT && leader != NOBODY -> faults--; leader = NOBODY }
#endif
#ifdef F_FLUSH
    :: d_step { FAULT -> flush() }
#endif
#ifdef F_CLOCK
    :: d_step { FAULT && clock > CLOCK -> faults--; clock = CLOCK }
#endif
#ifdef F_KILL
    :: d_step { !calm && alive[0] && alive[1] -> kill(0) }
    :: d_step { !calm && alive[0] && alive[1] -> kill(1) }
    :: d_step { !alive[0] && lease[0] && IN_TIME(0) -> lease[0] = 0 }
    :: d_step { !alive[1] && lease[1] && IN_TIME(1) -> lease[1] = 0 }
#endif
    :: d_step { !calm -> calm = 1 }
    od
}

#define LIVE (session[1] + session[2] + session[3] + session[4])
#define RIGHT(i) (!session[i] || (row == i && row_epoch == epoch[i] && known[i] == WRITTEN && \
    member[home[i]] && lease[home[i]]))

// When nothing moves any more: one verify cycle, up to ROUNDS times, then the verdict.
active proctype Judge() {
    byte round = 0;
    do
    :: atomic { timeout ->
        assert(calm);
        if
        :: d_step { round < ROUNDS -> round++; mark_all(0); mark_all(1) }
        :: d_step { round >= ROUNDS ->
            assert(p2 && LIVE <= 1);
#ifndef ONLY_P2
            assert(p1 && RIGHT(1) && RIGHT(2) && RIGHT(3) && RIGHT(4));
#endif
#ifdef TIDY
            assert(p4 && (LIVE == 1 || row == 0));
#endif
            round = 0 }; break
        fi }
    od
}

init {
    atomic {
        lease[0] = 1; lease[1] = 1;
        listed[0] = 1; listed[1] = 1;
        alive[0] = 1; alive[1] = 1;
        run Edge(0);
        run Edge(1);
#ifdef BEATS
        sure[0] = 1; sure[1] = 1;
        run Beat(0);
        run Beat(1);
#endif
#if SWEEPERS > 0
        run Sweeper(0);
#endif
#if SWEEPERS > 1
        run Sweeper(1);
#endif
    }
}
