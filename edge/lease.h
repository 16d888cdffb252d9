// lease.h: whether the directory may still be believed about this edge, and when its links
// are verified.
//
// 1. The lease is taken once the bus is up, and renewed every LEASE_RENEW_MS, one renewal at a
//    time. It runs from when it was asked for, by our own clock.
// 2. Every link is verified once in VERIFY_CYCLE_MS, a share each second.
// 3. Each renewal that is answered lets what failed go on.
//
// Failures:
//   no answer, or an error        the next tick asks again; LEASE_MS after the last renewal
//                                 the lease is over, and the edge not ready (core.h)
//   the lease was lost (it was    all links are verified, paced, and again VERIFY_AGAIN_MS
//   taken anew, or had run out)   later: a sweeper may have been removing them
//   Redis lost its data           all links are verified, once
//   the process stood still       lease_doubt: an answer to what was asked before says
//                                 nothing; one asked for later has all links verified at once
//
// The lease tells the registry which links to verify, and to go on. The registry asks back for
// two things: whether it may write (lease_may_write), and for a renewal if not. One thread.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct edge;

// A kick that was lost is repaired by the next verify of either link: this bounds how long
// two connections may both believe they are the newest (tests/model).
#define VERIFY_CYCLE_MS 60000
// Links checked per second when all must be: 10,000 in two seconds, at 5 % of what one
// Redis does.
#define VERIFY_BURST_PER_S 5000
// A lost lease has all links verified at once, and again so much later: a sweeper that was
// removing them asks for rows until a second after it last saw no lease, and each may be
// carried out a second after it was sent. Where the data was lost there is nothing to remove.
#define VERIFY_AGAIN_MS 3000
// Nothing is written within this much of the lease's end: longer than a command that is not
// given up usually takes, and as long as a renewal is late before that happens at all.
#define WRITE_MARGIN_MS 2000

struct lease_state {
    uint64_t beat_ms;       // when the lease was last renewed, monotonic; 0: never
    uint64_t beat_tried_ms; // 0: never
    uint64_t doubted_ms;    // a lease asked for before this says nothing; 0: no doubt
    uint64_t taken;         // when our lease was, by Redis's clock; 0: not known yet
    uint64_t gen;           // likewise
    uint64_t again_ms;      // when all are verified again; 0: they are not
    size_t burst;           // links still to be verified out of turn
    bool is_beating;        // a renewal is under way
    bool is_refused;        // Redis answered the last one, by an error
};

// Once a second: the renewal, this second's share of the links, and whatever failed.
void lease_tick(struct edge *edge);
// Renews the lease now, unless that is under way. The first lease waits for the bus: whoever
// is in the directory must hear what is sent to it.
void lease_renew(struct edge *edge);
// Renewed recently enough to be sure that it has not ended.
bool lease_is_held(const struct edge *edge);
// The same, and it will not end before what is written now has reached the directory.
bool lease_may_write(const struct edge *edge);
// What the lease was good for at that time; 0: over, or never taken.
uint64_t lease_ms_left(const struct edge *edge, uint64_t at_ms);
// Others may have taken us for dead: the lease is renewed and every link verified, whatever
// the lease's answer is.
void lease_doubt(struct edge *edge);
// Nothing is in doubt any more: no link waits to be verified.
bool lease_has_verified(const struct edge *edge);
