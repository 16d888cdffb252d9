// users.c: a table of users, each with the list of its sessions. Lists are short: one
// entry per device.
#include "edge/users.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "edge/session.h"
#include "proto/ident.h"

struct user *
users_find(const struct users *users, const char *id, size_t len)
{
    return users_find_hashed(users, id, len, table_hash(id, len));
}

struct user *
users_find_hashed(const struct users *users, const char *id, size_t len, unsigned hash)
{
    struct user *user;
    HASH_FIND_BYHASHVALUE(hh, users->table, id, len, hash, user);
    return user;
}

struct user *
users_take(struct users *users, const char *id, size_t len)
{
    struct user *user = users_find(users, id, len);
    if (user != NULL)
        return user;
    assert(len > 0 && len <= IDENT_MAX_BYTES);
    user = calloc(1, sizeof(*user) + len + 1);
    if (user == NULL)
        abort();
    memcpy(user->id, id, len);
    user->id_len = (uint8_t)len;
    HASH_ADD_KEYPTR(hh, users->table, user->id, len, user);
    return user;
}

void
users_add_session(struct user *user, struct session *session)
{
    session->next_of_user = user->sessions;
    user->sessions = session;
}

void
users_remove_session(struct user *user, struct session *session)
{
    struct session **at = &user->sessions;
    while (*at != session) {
        assert(*at != NULL);
        at = &(*at)->next_of_user;
    }
    *at = session->next_of_user;
    session->next_of_user = NULL;
}

struct session *
users_find_device(const struct user *user, const char *device)
{
    for (struct session *s = user->sessions; s != NULL; s = s->next_of_user)
        if (strcmp(s->device, device) == 0)
            return s;
    return NULL;
}

void
users_drop_if_idle(struct users *users, struct user *user)
{
    if (user->sessions != NULL || user->links != NULL || user->is_busy || user->is_queued)
        return;
    HASH_DELETE(hh, users->table, user);
    free(user);
}
