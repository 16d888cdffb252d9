// send_check.c: the bounds of a Send, each with the sentence that tells its sender.
#include "edge/send_check.h"

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "edge/message.h"
#include "lib/base/rand.h"
#include "proto/codec.h"
#include "proto/ident.h"

// Whether a user is named twice: would be a duplicate delivery.
static bool
has_twins(const Switchyard__V1__Send *send)
{
    enum { SLOTS = 2048 }; // twice the most recipients
    uint16_t seen[SLOTS];
    if (send->n_to < 2)
        return false;
    memset(seen, 0, sizeof(seen));
    for (size_t i = 0; i < send->n_to; i++) {
        size_t at = hash_bytes(send->to[i], strlen(send->to[i])) % SLOTS;
        for (; seen[at] != 0; at = (at + 1) % SLOTS)
            if (strcmp(send->to[seen[at] - 1], send->to[i]) == 0)
                return true;
        seen[at] = (uint16_t)(i + 1);
    }
    return false;
}

const char *
send_complaint(const Switchyard__V1__Send *send)
{
    struct message_parts parts = message_of_send(send);
    const char *wrong = message_complaint(&parts);
    if (wrong != NULL)
        return wrong;
    if (send->n_to == 0)
        return "send.to names nobody: give 1 to 1,000 user ids";
    if (send->n_to > CODEC_MAX_RECIPIENTS)
        return "send.to names more than 1,000 users: split the send";
    if (send->to_device[0] != '\0' && send->n_to != 1)
        return "send.to_device needs exactly one user in send.to";
    if (strlen(send->to_device) > IDENT_MAX_BYTES)
        return "send.to_device is longer than 128 bytes";
    for (size_t i = 0; i < send->n_to; i++)
        if (!ident_is_valid(send->to[i], strlen(send->to[i])))
            return "send.to holds an id that is not 1 to 128 bytes of UTF-8 without control "
                   "characters";
    return has_twins(send) ? "send.to names a user twice" : NULL;
}
