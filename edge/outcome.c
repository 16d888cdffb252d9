// outcome.c: sent if anybody was reached, and then who was not; else rejected, with the
// reason of the first user.
#include "edge/outcome.h"

#include "edge/core.h"
#include "edge/send.h"

// Fills `unreached` with those who got nothing; answers how many got it.
static uint32_t
count_reached(const struct send *send, Switchyard__V1__Unreached *unreached,
              Switchyard__V1__Unreached **list)
{
    uint32_t missed = 0;
    for (uint32_t i = 0; i < send->count; i++) {
        const struct recipient *r = &send->recipients[i];
        if (r->is_reached)
            continue;
        switchyard__v1__unreached__init(&unreached[missed]);
        unreached[missed].user = codec_borrowed(r->user);
        unreached[missed].reason = (Switchyard__V1__Reason)r->reason;
        list[missed] = &unreached[missed];
        missed++;
    }
    return send->count - missed;
}

static void
count(struct edge *edge, bool is_sent)
{
    if (is_sent)
        edge->counters.outcomes_sent++;
    else
        edge->counters.outcomes_rejected++;
}

static bool
is_anybody_reached(const struct send *send)
{
    for (uint32_t i = 0; i < send->count; i++)
        if (send->recipients[i].is_reached)
            return true;
    return false;
}

void
outcome_tell(struct send *send)
{
    if (send->session == NULL || send->command_id == 0) {
        count(send->edge, is_anybody_reached(send));
        return;
    }
    struct pool *pool = &send->edge->router.pool;
    size_t size = send->count * sizeof(Switchyard__V1__Unreached);
    size_t list_size = send->count * sizeof(Switchyard__V1__Unreached *);
    Switchyard__V1__Unreached *unreached = pool_take(pool, size);
    Switchyard__V1__Unreached **list = pool_take(pool, list_size);
    Switchyard__V1__Outcome outcome;
    switchyard__v1__outcome__init(&outcome);

    uint32_t reached = count_reached(send, unreached, list);
    outcome.devices = send->devices;
    outcome.message_id = codec_borrowed(send->message_id);
    outcome.n_unreached = send->count - reached;
    outcome.unreached = list;
    if (send->count == 1)
        outcome.n_unreached = 0; // status and reason say it all
    outcome_finish(send->edge, send->session, send->command_id, &outcome, reached > 0,
                   (enum reason)send->recipients[0].reason);
    pool_give(pool, unreached, size);
    pool_give(pool, list, list_size);
}

void
outcome_finish(struct edge *edge, struct session *session, uint64_t id,
               Switchyard__V1__Outcome *outcome, bool is_sent, enum reason reason)
{
    Switchyard__V1__Event event;
    switchyard__v1__event__init(&event);
    if (is_sent) {
        outcome->status = SWITCHYARD__V1__OUTCOME_STATUS__OUTCOME_STATUS_SENT;
    } else {
        outcome->status = SWITCHYARD__V1__OUTCOME_STATUS__OUTCOME_STATUS_REJECTED;
        outcome->reason = (Switchyard__V1__Reason)reason;
        outcome->text = codec_borrowed(reason_text(reason));
        outcome->retryable = reason_is_retryable(reason);
    }
    count(edge, is_sent);
    event.id = id;
    event.event_case = SWITCHYARD__V1__EVENT__EVENT_OUTCOME;
    event.outcome = outcome;
    if (session != NULL && id != 0)
        session_tell(session, &event);
}
