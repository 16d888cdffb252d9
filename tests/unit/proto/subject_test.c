// subject.c
#include "claims.h"

#include <string.h>

#include "proto/subject.h"

#define NODE "edge-1.0123456789abcdef"
#define PEER "b.fedcba9876543210"
#define LONGEST "0123456789012345678901234567890123456789.0123456789abcdef"

static void
subjects_are_as_documented(void **state)
{
    (void)state;
    char subject[SUBJECT_SIZE];
    assert_int_equal(subject_node(NODE, subject), strlen("node." NODE));
    assert_string_equal(subject, "node." NODE);
    assert_int_equal(subject_heartbeat(NODE, subject), strlen("heartbeat.edge-1"));
    assert_string_equal(subject, "heartbeat.edge-1");
    assert_int_equal(subject_unheard(NODE, PEER, 7, subject),
                     strlen("unheard." NODE "." PEER ".7"));
    assert_string_equal(subject, "unheard." NODE "." PEER ".7");
    assert_int_equal(subject_unheard_all(NODE, subject), strlen("unheard." NODE ".*.*.*"));
    assert_string_equal(subject, "unheard." NODE ".*.*.*");
}

static void
the_longest_subject_fits_and_is_safe(void **state)
{
    (void)state;
    char subject[SUBJECT_SIZE];
    size_t len = subject_unheard(LONGEST, LONGEST, UINT32_MAX, subject);
    assert_true(len < SUBJECT_SIZE);
    assert_int_equal(len, strlen("unheard." LONGEST "." LONGEST ".4294967295"));
    assert_true(subject_is_safe(subject, len));
    len = subject_node(LONGEST, subject);
    assert_true(subject_is_safe(subject, len));
    len = subject_heartbeat(LONGEST, subject);
    assert_true(subject_is_safe(subject, len));
    assert_true(subject_is_safe(SUBJECT_NODE_DOWN, strlen(SUBJECT_NODE_DOWN)));
}

static void
the_peer_of_an_unheard_subject_is_found(void **state)
{
    (void)state;
    static const uint32_t batches[] = {0, 1, 10, 4294967295u};
    for (size_t i = 0; i < LENGTH(batches); i++) {
        char subject[SUBJECT_SIZE];
        char peer[NODE_ID_SIZE];
        uint32_t batch = 77;
        subject_unheard(NODE, PEER, batches[i], subject);
        assert_true(subject_unheard_read(subject, peer, &batch));
        assert_string_equal(peer, PEER);
        assert_int_equal(batch, batches[i]);
    }
}

static void
other_subjects_have_no_peer(void **state)
{
    (void)state;
    const char *const others[] = {
        "",
        "unheard.",
        "unheard." NODE,
        "unheard." NODE ".",
        "unheard." NODE "." PEER,
        "unheard." NODE "." PEER ".",
        "unheard." NODE "." PEER ".x",
        "unheard." NODE "." PEER ".01",
        "unheard." NODE "." PEER ".4294967296",
        "unheard." NODE "." PEER ".11111111111",
        "unheard." NODE "." PEER ".1.1",
        "unheard." NODE ".b.fedcba987654321.1",
        "unheard.Edge.0123456789abcdef." PEER ".1",
        "unheard." PEER ".1",
        "node." NODE "." PEER ".1",
        "unheard.x." NODE "." PEER ".1",
    };
    for (size_t i = 0; i < LENGTH(others); i++) {
        char peer[NODE_ID_SIZE] = "kept";
        uint32_t batch = 77;
        assert_false(subject_unheard_read(others[i], peer, &batch));
        assert_string_equal(peer, "kept");
        assert_int_equal(batch, 77);
    }
}

static void
subjects_that_nats_would_misread_are_not_safe(void **state)
{
    (void)state;
    const char *const safe[] = {"a", "a.b", "A-Z_9.x", "node.edge-1.00"};
    const char *const unsafe[] = {
        "",    ".", "a.",       ".a",   "a..b",   "a b", "a\tb", "a\r\nPUB x 1", "*",    "a.*",
        "a.>", ">", "\xc3\xa9", "a{b}", "$SYS.x", "a\n", "a/b",  "a:b",          "a\x7f"};
    for (size_t i = 0; i < LENGTH(safe); i++)
        assert_true(subject_is_safe(safe[i], strlen(safe[i])));
    for (size_t i = 0; i < LENGTH(unsafe); i++)
        assert_false(subject_is_safe(unsafe[i], strlen(unsafe[i])));
    assert_false(subject_is_safe("a\0b", 3));
}

static void
a_safe_subject_has_at_most_1024_bytes(void **state)
{
    (void)state;
    char subject[1025];
    memset(subject, 'a', sizeof(subject));
    assert_true(subject_is_safe(subject, 1024));
    assert_false(subject_is_safe(subject, 1025));
}

static void
node_call(const void *node)
{
    char subject[SUBJECT_SIZE];
    subject_node(node, subject);
}

static void
heartbeat_call(const void *node)
{
    char subject[SUBJECT_SIZE];
    subject_heartbeat(node, subject);
}

static void
peer_call(const void *peer)
{
    char subject[SUBJECT_SIZE];
    subject_unheard(NODE, peer, 1, subject);
}

static void
all_call(const void *node)
{
    char subject[SUBJECT_SIZE];
    subject_unheard_all(node, subject);
}

static void
a_subject_of_an_invalid_node_is_our_fault(void **state)
{
    (void)state;
    const char *const bad[] = {"", "x", "a.0123456789abcdef\r\n", "*.0123456789abcdef"};
    for (size_t i = 0; i < LENGTH(bad); i++) {
        assert_true(aborts(node_call, bad[i]));
        assert_true(aborts(heartbeat_call, bad[i]));
        assert_true(aborts(peer_call, bad[i]));
        assert_true(aborts(all_call, bad[i]));
    }
    assert_false(aborts(node_call, NODE));
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(subjects_are_as_documented),
        cmocka_unit_test(the_longest_subject_fits_and_is_safe),
        cmocka_unit_test(the_peer_of_an_unheard_subject_is_found),
        cmocka_unit_test(other_subjects_have_no_peer),
        cmocka_unit_test(subjects_that_nats_would_misread_are_not_safe),
        cmocka_unit_test(a_safe_subject_has_at_most_1024_bytes),
        cmocka_unit_test(a_subject_of_an_invalid_node_is_our_fault),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
