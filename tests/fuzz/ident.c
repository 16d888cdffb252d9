// Ids from outside, and what they become in subjects and keys.
#include <assert.h>
#include <stdint.h>
#include <string.h>

#include "proto/ident.h"
#include "proto/keys.h"
#include "proto/subject.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

static void
check_map(const char *id, size_t len)
{
    char mapped[IDENT_MAPPED_SIZE];
    char back[IDENT_MAX_BYTES + 1];
    char key[KEY_SIZE];
    size_t mapped_len = ident_map(id, len, mapped);
    assert((mapped_len > 0) == ident_is_valid(id, len));
    assert(strlen(mapped) == mapped_len);
    if (mapped_len == 0)
        return;
    assert(utf8_is_valid(id, len));
    assert(subject_is_safe(mapped, mapped_len) && memchr(mapped, '.', mapped_len) == NULL);
    assert(ident_unmap(mapped, mapped_len, back) == len && memcmp(back, id, len) == 0);
    assert(key_user(mapped, key) < KEY_SIZE);
}

static void
check_unmap(const char *mapped, size_t len)
{
    char id[IDENT_MAX_BYTES + 1];
    char again[IDENT_MAPPED_SIZE];
    size_t id_len = ident_unmap(mapped, len, id);
    if (id_len == 0)
        return;
    assert(ident_map(id, id_len, again) == len && memcmp(again, mapped, len) == 0);
}

// The input as a subject: what is read from it is what subject_unheard wrote.
static void
check_unheard(const char *text, size_t len)
{
    char subject[256] = "";
    char again[SUBJECT_SIZE];
    char peer[NODE_ID_SIZE];
    char node[NODE_ID_SIZE] = "";
    uint32_t batch;
    if (len >= sizeof(subject))
        return;
    memcpy(subject, text, len);
    if (!subject_unheard_read(subject, peer, &batch))
        return;
    const char *start = strchr(subject, '.') + 1;
    const char *end = strchr(strchr(start, '.') + 1, '.');
    memcpy(node, start, (size_t)(end - start));
    subject_unheard(node, peer, batch, again);
    assert(strcmp(again, subject) == 0);
}

int
LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
    const char *text = (const char *)bytes;
    char subject[SUBJECT_SIZE];
    check_map(text, len);
    check_unmap(text, len);
    if (node_id_is_valid(text, len)) {
        char node[NODE_ID_SIZE] = "";
        memcpy(node, text, len);
        uint32_t batch = (uint32_t)bytes[0] << 24 | bytes[len - 1];
        uint32_t batch_read;
        char peer[NODE_ID_SIZE];
        size_t subject_len = subject_unheard(node, node, batch, subject);
        assert(subject_is_safe(subject, subject_len));
        assert(subject_unheard_read(subject, peer, &batch_read));
        assert(strcmp(peer, node) == 0 && batch_read == batch);
    }
    check_unheard(text, len);
    if (subject_is_safe(text, len))
        assert(utf8_is_valid(text, len) && memchr(text, '\n', len) == NULL);
    return 0;
}
