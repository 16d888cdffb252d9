// A row and a member from Redis, which others may have written.
#include <assert.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "proto/keys.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

static void
check_member(const char *bytes, size_t len)
{
    char member[MEMBER_SIZE];
    char copy[MEMBER_SIZE];
    char again[MEMBER_SIZE];
    char *user;
    char *device;
    if (len >= sizeof(member) || memchr(bytes, '\0', len) != NULL)
        return;
    snprintf(member, sizeof(member), "%.*s", (int)len, bytes);
    memcpy(copy, member, sizeof(copy));
    if (!member_split(member, &user, &device)) {
        assert(strcmp(member, copy) == 0);
        return;
    }
    member_write(user, device, again);
    assert(strcmp(again, copy) == 0);
}

int
LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
    char row[LINK_ROW_SIZE];
    struct link link;
    if (link_read((const char *)bytes, len, &link)) {
        assert(link_write(&link, row) == len);
        assert(memcmp(row, bytes, len) == 0);
    }
    if (len > 0)
        check_member((const char *)bytes, len);
    return 0;
}
