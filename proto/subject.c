// subject.c: NATS subjects, from node ids that are valid by construction.
#include "proto/subject.h"

#include <assert.h>
#include <string.h>

#include "proto/ident_private.h"
#include "proto/keys.h"

// As long as a subject may be for nats-server's default max_control_line to have
// room for a reply subject and the sizes beside it.
#define MAX_SUBJECT_BYTES 1024

#define UNHEARD "unheard."

// Room for the longest: "unheard." <node> "." <node> "." ten digits and the NUL.
_Static_assert(sizeof(UNHEARD) - 1 + 2 * (NODE_ID_SIZE - 1) + 2 + 10 + 1 <= SUBJECT_SIZE,
               "SUBJECT_SIZE holds any subject");

static size_t
put(char *out, size_t at, const char *text, size_t len)
{
    memcpy(out + at, text, len);
    out[at + len] = '\0';
    return at + len;
}

static size_t
put_node(char *out, size_t at, const char *node)
{
    size_t len = strlen(node);
    assert(node_id_is_valid(node, len));
    return put(out, at, node, len);
}

static size_t
put_number(char *out, size_t at, uint32_t number)
{
    char digits[DECIMAL_SIZE];
    return put(out, at, digits, decimal_write(number, digits));
}

size_t
subject_node(const char *node, char out[static SUBJECT_SIZE])
{
    return put_node(out, put(out, 0, "node.", 5), node);
}

size_t
subject_heartbeat(const char *node, char out[static SUBJECT_SIZE])
{
    return put(out, put(out, 0, "heartbeat.", 10), node, node_name_len(node));
}

size_t
subject_unheard(const char *node, const char *peer, uint32_t batch, char out[static SUBJECT_SIZE])
{
    size_t at = put_node(out, put(out, 0, UNHEARD, sizeof(UNHEARD) - 1), node);
    at = put_node(out, put(out, at, ".", 1), peer);
    return put_number(out, put(out, at, ".", 1), batch);
}

size_t
subject_unheard_all(const char *node, char out[static SUBJECT_SIZE])
{
    size_t at = put_node(out, put(out, 0, UNHEARD, sizeof(UNHEARD) - 1), node);
    return put(out, at, ".*.*.*", 6);
}

// 1 to 10 digits, no leading zero, no more than UINT32_MAX.
static bool
read_batch(const char *text, uint32_t *batch)
{
    uint64_t value = 0;
    size_t len = strspn(text, "0123456789");
    if (len == 0 || len > 10 || text[len] != '\0' || (text[0] == '0' && len > 1))
        return false;
    for (size_t i = 0; i < len; i++)
        value = 10 * value + (uint64_t)(text[i] - '0');
    if (value > UINT32_MAX)
        return false;
    *batch = (uint32_t)value;
    return true;
}

bool
subject_unheard_read(const char *subject, char peer[static NODE_ID_SIZE], uint32_t *batch)
{
    if (strncmp(subject, UNHEARD, sizeof(UNHEARD) - 1) != 0)
        return false;
    const char *node = subject + sizeof(UNHEARD) - 1;
    // Two tokens are the node, two the peer, the last is the batch.
    const char *dot = strchr(node, '.');
    const char *node_end = dot != NULL ? strchr(dot + 1, '.') : NULL;
    const char *last = strrchr(subject, '.');
    if (node_end == NULL || last <= node_end ||
        !node_id_is_valid(node, (size_t)(node_end - node)) ||
        !node_id_is_valid(node_end + 1, (size_t)(last - node_end - 1)) ||
        !read_batch(last + 1, batch))
        return false;
    memcpy(peer, node_end + 1, (size_t)(last - node_end - 1));
    peer[last - node_end - 1] = '\0';
    return true;
}

// Whether two dots stand side by side; eight places at a time.
static bool
has_empty_token(const char *subject, size_t len)
{
    static const uint64_t ones = UINT64_C(0x0101010101010101);
    uint64_t zeros = 0;
    size_t at = 0;
    for (; at + 8 < len; at += 8) {
        uint64_t eight, next;
        memcpy(&eight, subject + at, sizeof eight);
        memcpy(&next, subject + at + 1, sizeof next);
        // A byte of 0 is where both have a dot.
        uint64_t both = (eight ^ ones * '.') | (next ^ ones * '.');
        zeros |= (both - ones) & ~both & ones << 7;
    }
    for (; at + 1 < len; at++)
        zeros |= subject[at] == '.' && subject[at + 1] == '.';
    return zeros != 0;
}

bool
subject_is_safe(const char *subject, size_t len)
{
    return len > 0 && len <= MAX_SUBJECT_BYTES &&
           (ident_letters_in_common(subject, len) & LETTER_SUBJECT) != 0 && subject[0] != '.' &&
           subject[len - 1] != '.' && !has_empty_token(subject, len);
}
