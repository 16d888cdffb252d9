// rules.h: the rules of the protocol, each with a switch that takes it out of a run.
//
// A rule is taken out where the fakes are: what Redis does or answers, what NATS brings,
// which clock a process sees. The code under test has no switches. For each rule, runs
// without it must show a violation (`sim --mutations`); else either the rule is not needed
// or the simulation does not see what it is for.
#pragma once

#include <stdbool.h>

// clang-format off
// RULE(NAME, name, what a run without it does)
#define SIM_RULES(RULE) \
    RULE(EPOCH_ORDER,   "epoch-order",    "verify writes its row over that of a newer login") \
    RULE(EPOCH_ABOVE,   "epoch-above",    "an epoch is Redis's clock alone, also when it went back") \
    RULE(LOGIN_AGE,     "login-age",      "a register does not say how long ago the login was") \
    RULE(EXACT_DELETE,  "exact-delete",   "unregister deletes whatever row the device has") \
    RULE(REWRITE,       "rewrite",        "verify does not write a row that is missing") \
    RULE(SUPERSEDED,    "superseded",     "verify does not tell that a newer login has the row") \
    RULE(VERIFY_CYCLE,  "verify-cycle",   "links are verified after a lost lease only") \
    RULE(LOST,          "lost",           "a renewal does not tell that the lease was gone") \
    RULE(TAKEN,         "taken",          "only the renewal that takes a lease anew tells that it was gone") \
    RULE(OWN_CLOCK,     "own-clock",      "an edge does not know by its clock that its lease has run out") \
    RULE(GEN,           "gen",            "a renewal does not tell that Redis lost its data") \
    RULE(INCARNATION,   "incarnation",    "a restarted process has its old id") \
    RULE(INDEX_FIRST,   "index-first",    "the row is written before the node's index") \
    RULE(LOOK,          "look",           "a register whose answer was lost is repeated blindly") \
    RULE(ONE_AT_A_TIME, "one-at-a-time",  "the index entry of an unregister goes after the next operation") \
    RULE(AFTER_REGISTER, "after-register", "a close during register does not wait for the epoch") \
    RULE(KICK,          "kick",           "nobody is told to close a replaced connection") \
    RULE(KICK_EXACT,    "kick-exact",     "a kick closes whatever connection the device has") \
    RULE(INVALIDATE,    "invalidate",     "edges are not told that a user's row changed") \
    RULE(WATCH_OFFLINE, "watch-offline",  "who read that a user is nowhere is not noted") \
    RULE(ROUTE_AGE,     "route-age",      "what an edge remembers of a user does not age") \
    RULE(REREAD,        "reread",         "routes are kept over a loss of NATS") \
    RULE(LEASE_AT_READ, "lease-at-read",  "rows of nodes without a lease count") \
    RULE(UNHEARD,       "unheard",        "NATS does not tell that nobody listens") \
    RULE(MISS,          "miss",           "an edge that no longer has the user does not say so") \
    RULE(HOP_BOUND,     "hop-bound",      "a miss is followed by any number of new reads") \
    RULE(EXPIRY,        "expiry",         "envelopes do not expire on their way") \
    RULE(DEADLINE,      "deadline",       "a send waits for its receipts for ever") \
    RULE(RECEIPTS,      "receipts",       "receipts do not arrive") \
    RULE(HOLD,          "hold",           "an edge that stood still goes on where it was") \
    RULE(SILENCE,       "silence",        "a half-open socket seems alive") \
    RULE(REAP,          "reap",           "nobody removes the rows of dead nodes") \
    RULE(REAP_LEASE,    "reap-lease",     "a batch does not ask again whether the node has a lease") \
    RULE(REAP_EXACT,    "reap-exact",     "reaping deletes rows that point elsewhere by now") \
    RULE(REAP_FENCE,    "reap-fence",     "a batch does not ask who leads") \
    RULE(FENCE_CLOCK,   "fence-clock",    "the fence starts from 1 when Redis lost its data") \
    RULE(MASS_DEATH,    "mass-death",     "many deaths at once are believed") \
    RULE(CLOCK_JUMP,    "clock-jump",     "a sweeper does not compare Redis's clock with its own") \
    RULE(SETTLED,       "settled",        "a Redis that was just started is believed") \
    RULE(ANEW,          "anew",           "a leader trusts what it knew of Redis after it was connected anew") \
    RULE(SCRUB,         "scrub",          "no index is looked for that no list names") \
    RULE(SCRUB_ROWS,    "scrub-rows",     "no row is looked for that no index names")
// clang-format on

#define SIM_AS_ENUM(name, word, text) RULE_##name,
enum rule { SIM_RULES(SIM_AS_ENUM) RULE_COUNT, RULE_NONE = RULE_COUNT };
#undef SIM_AS_ENUM

const char *rule_name(enum rule rule);
const char *rule_text(enum rule rule);
// RULE_NONE: there is none of that name.
enum rule rule_find(const char *name);
// NULL: removing it must show. Otherwise why it does not, although the rule is right.
const char *rule_is_quiet(enum rule rule);
