// subject.c
#include "claims.h"

#include <stdio.h>
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
every_number_of_digits_is_written(void **state)
{
    (void)state;
    for (uint64_t power = 1; power <= UINT32_MAX; power *= 10) {
        const uint32_t batches[] = {(uint32_t)(power - 1), (uint32_t)power, (uint32_t)(power + 1)};
        for (size_t i = 0; i < LENGTH(batches); i++) {
            char subject[SUBJECT_SIZE];
            char expected[SUBJECT_SIZE];
            snprintf(expected, sizeof(expected), "unheard.%s.%s.%u", NODE, PEER, batches[i]);
            assert_int_equal(subject_unheard(NODE, PEER, batches[i], subject), strlen(expected));
            assert_string_equal(subject, expected);
        }
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

// All bytes, and two dots, at each place of subjects that the loops take in steps of eight.
static void
each_byte_of_a_subject_counts_wherever_it_stands(void **state)
{
    (void)state;
    static const char alphabet[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-";
    for (size_t len = 1; len <= 20; len++) {
        for (size_t at = 0; at < len; at++) {
            char subject[] = "aaaaaaaaaaaaaaaaaaaa.."; // beyond len it counts nowhere
            for (int byte = 0; byte <= 0xff; byte++) {
                bool is_inside = at > 0 && at + 1 < len;
                bool is_safe = memchr(alphabet, byte, sizeof(alphabet) - 1) != NULL ||
                               (byte == '.' && is_inside);
                subject[at] = (char)byte;
                assert_int_equal(subject_is_safe(subject, len), is_safe);
            }
            subject[at] = '.';
            if (at + 1 == len)
                continue;
            subject[at + 1] = '.';
            assert_false(subject_is_safe(subject, len));
            subject[at + 1] = '/'; // one bit from a dot
            assert_false(subject_is_safe(subject, len));
        }
    }
    assert_true(subject_is_safe("a.b.c.d.e.f.g.h.i.j.k", 21));
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
        cmocka_unit_test(every_number_of_digits_is_written),
        cmocka_unit_test(other_subjects_have_no_peer),
        cmocka_unit_test(subjects_that_nats_would_misread_are_not_safe),
        cmocka_unit_test(each_byte_of_a_subject_counts_wherever_it_stands),
        cmocka_unit_test(a_safe_subject_has_at_most_1024_bytes),
        cmocka_unit_test(a_subject_of_an_invalid_node_is_our_fault),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
