// table.c: uthash under our flags, with our hash.
#include "lib/base/table.h"

#include <stdio.h>
#include <string.h>

#include "cmocka_all.h"

struct user {
    char name[16];
    int number;
    UT_hash_handle hh;
};

static int
by_number(const struct user *a, const struct user *b)
{
    return a->number - b->number;
}

static void
what_was_added_is_found_and_what_was_deleted_is_not(void **state)
{
    (void)state;
    enum { USERS = 1000 };
    struct user *users = NULL;
    for (int i = 0; i < USERS; i++) {
        struct user *user = calloc(1, sizeof(*user));
        assert_non_null(user);
        user->number = USERS - i;
        snprintf(user->name, sizeof(user->name), "user-%d", i);
        HASH_ADD_KEYPTR(hh, users, user->name, strlen(user->name), user);
    }
    assert_int_equal(HASH_COUNT(users), USERS);
    struct user *found;
    HASH_FIND(hh, users, "user-500", strlen("user-500"), found);
    assert_non_null(found);
    assert_int_equal(found->number, USERS - 500);
    HASH_DEL(users, found);
    free(found);
    HASH_FIND_STR(users, "user-500", found);
    assert_null(found);
    HASH_SRT(hh, users, by_number);
    int before = 0;
    struct user *user;
    struct user *next;
    HASH_ITER (hh, users, user, next) {
        assert_true(user->number > before);
        before = user->number;
        HASH_DEL(users, user);
        free(user);
    }
    assert_null(users);
}

static void
the_hash_is_the_seeded_one(void **state)
{
    (void)state;
    unsigned hash;
    HASH_VALUE("alice", 5, hash);
    assert_int_equal(hash, (unsigned)hash_bytes("alice", 5));
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_added_is_found_and_what_was_deleted_is_not),
        cmocka_unit_test(the_hash_is_the_seeded_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
