// test_users.c: who is here, and for how long.
#include <string.h>

#include "tests/unit/edge/fake.h"

static void
users_are_found_by_their_exact_id(void **state)
{
    struct rig *rig = *state;
    struct users *users = &rig->edge.users;
    struct user *alice = users_take(users, "alice", 5);
    assert_ptr_equal(users_take(users, "alice", 5), alice);
    assert_ptr_equal(users_find(users, "alice!", 5), alice);
    assert_null(users_find(users, "alic", 4));
    assert_null(users_find(users, "Alice", 5));
    assert_string_equal(alice->id, "alice");
    users_drop_if_idle(users, alice);
    assert_null(users->table);
}

static void
an_id_of_the_longest_kind_fits(void **state)
{
    struct rig *rig = *state;
    char id[IDENT_MAX_BYTES + 1];
    memset(id, 'i', sizeof(id));
    id[IDENT_MAX_BYTES] = '\0';
    struct user *user = users_take(&rig->edge.users, id, IDENT_MAX_BYTES);
    assert_int_equal(user->id_len, IDENT_MAX_BYTES);
    assert_string_equal(user->id, id);
    users_drop_if_idle(&rig->edge.users, user);
}

static void
a_user_goes_only_when_nothing_holds_it(void **state)
{
    struct rig *rig = *state;
    struct users *users = &rig->edge.users;
    struct user *user = users_take(users, "alice", 5);
    struct session session = {.device = NULL};
    struct link_state link = {.user = user};
    users_add_session(user, &session);
    users_drop_if_idle(users, user);
    assert_non_null(users->table);
    users_remove_session(user, &session);
    user->links = &link;
    users_drop_if_idle(users, user);
    assert_non_null(users->table);
    user->links = NULL;
    user->is_busy = true;
    users_drop_if_idle(users, user);
    assert_non_null(users->table);
    user->is_busy = false;
    user->is_queued = true;
    users_drop_if_idle(users, user);
    assert_non_null(users->table);
    user->is_queued = false;
    users_drop_if_idle(users, user);
    assert_null(users->table);
}

static void
sessions_come_and_go_in_any_order(void **state)
{
    struct rig *rig = *state;
    struct user *user = users_take(&rig->edge.users, "alice", 5);
    struct session sessions[3];
    char devices[3][4] = {"d0", "d1", "d2"};
    memset(sessions, 0, sizeof(sessions));
    for (int i = 0; i < 3; i++) {
        sessions[i].device = devices[i];
        users_add_session(user, &sessions[i]);
    }
    assert_ptr_equal(users_find_device(user, "d1"), &sessions[1]);
    users_remove_session(user, &sessions[1]);
    assert_null(users_find_device(user, "d1"));
    assert_ptr_equal(users_find_device(user, "d0"), &sessions[0]);
    users_remove_session(user, &sessions[2]);
    users_remove_session(user, &sessions[0]);
    assert_null(user->sessions);
    users_drop_if_idle(&rig->edge.users, user);
}

static void
alone_a_user_goes_with_the_last_session(void **state)
{
    struct rig *rig = *state;
    struct conn *one = rig_login(rig, "alice", "phone");
    struct conn *two = rig_login(rig, "alice", "tablet");
    rig_hang_up(one);
    assert_non_null(users_find(&rig->edge.users, "alice", 5));
    rig_hang_up(two);
    assert_null(rig->edge.users.table);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        RIG_TEST(users_are_found_by_their_exact_id),
        RIG_TEST(an_id_of_the_longest_kind_fits),
        RIG_TEST(a_user_goes_only_when_nothing_holds_it),
        RIG_TEST(sessions_come_and_go_in_any_order),
        ALONE_TEST(alone_a_user_goes_with_the_last_session),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
