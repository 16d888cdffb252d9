// keys.c
#include "claims.h"

#include <stdio.h>
#include <string.h>

#include "proto/keys.h"

#define NODE "edge-1.0123456789abcdef"

static void
keys_are_as_documented(void **state)
{
    (void)state;
    static const struct {
        size_t (*write)(const char *, char *);
        const char *name;
        const char *key;
    } cases[] = {
        {key_lease, NODE, "sy:lease:{" NODE "}"},
        {key_members, NODE, "sy:members:{" NODE "}"},
        {key_fence, NODE, "sy:fence:{" NODE "}"},
        {key_user, "alice_40home", "sy:user:{alice_40home}"},
        {key_watch, "alice_40home", "sy:watch:{alice_40home}"},
    };
    for (size_t i = 0; i < LENGTH(cases); i++) {
        char key[KEY_SIZE];
        size_t len = cases[i].write(cases[i].name, key);
        assert_string_equal(key, cases[i].key);
        assert_int_equal(len, strlen(key));
    }
}

static void
the_longest_keys_and_members_fit(void **state)
{
    (void)state;
    char id[IDENT_MAX_BYTES];
    char mapped[IDENT_MAPPED_SIZE];
    char key[KEY_SIZE];
    char member[MEMBER_SIZE];
    memset(id, ' ', sizeof(id));
    ident_map(id, sizeof(id), mapped);
    assert_int_equal(key_watch(mapped, key), strlen("sy:watch:{}") + 3 * IDENT_MAX_BYTES);
    assert_int_equal(member_write(mapped, mapped, member), 2 * 3 * IDENT_MAX_BYTES + 1);
}

static void
user_call(const void *mapped)
{
    char key[KEY_SIZE];
    key_user(mapped, key);
}

static void
lease_call(const void *node)
{
    char key[KEY_SIZE];
    key_lease(node, key);
}

static void
member_call(const void *mapped)
{
    char member[MEMBER_SIZE];
    member_write("u", mapped, member);
}

static void
a_key_of_what_was_not_mapped_is_our_fault(void **state)
{
    (void)state;
    char huge[IDENT_MAPPED_SIZE + 1] = "";
    memset(huge, 'a', sizeof(huge) - 1);
    const char *const bad[] = {"", "a b", "a}", "a.b", "a/b", "a\r\n", "\xc3\xa9", huge};
    for (size_t i = 0; i < LENGTH(bad); i++) {
        assert_true(aborts(user_call, bad[i]));
        assert_true(aborts(member_call, bad[i]));
    }
    assert_true(aborts(lease_call, "edge-1"));
    assert_false(aborts(user_call, huge + 1));
    assert_false(aborts(lease_call, NODE));
}

static void
a_member_is_split_into_user_and_device(void **state)
{
    (void)state;
    char member[MEMBER_SIZE];
    char *user;
    char *device;
    member_write("alice_40home", "my_20phone", member);
    assert_string_equal(member, "alice_40home/my_20phone");
    assert_true(member_split(member, &user, &device));
    assert_string_equal(user, "alice_40home");
    assert_string_equal(device, "my_20phone");
}

static void
what_is_no_member_is_left_alone(void **state)
{
    (void)state;
    const char *const bad[] = {"", "/", "a", "a/", "/a", "a/b/c", "a b/c", "a/_", "_61/b", "a/\n"};
    for (size_t i = 0; i < LENGTH(bad); i++) {
        char member[MEMBER_SIZE];
        char *user = NULL;
        char *device = NULL;
        snprintf(member, sizeof(member), "%s", bad[i]);
        assert_false(member_split(member, &user, &device));
        assert_string_equal(member, bad[i]);
        assert_null(user);
        assert_null(device);
    }
}

static void
numbers_are_written_in_decimal(void **state)
{
    (void)state;
    static const struct {
        uint64_t value;
        const char *text;
    } cases[] = {
        {0, "0"},
        {9, "9"},
        {10, "10"},
        {99, "99"},
        {100, "100"},
        {UINT32_MAX, "4294967295"},
        {UINT64_C(9999999999999999999), "9999999999999999999"},
        {UINT64_C(10000000000000000000), "10000000000000000000"},
        {UINT64_MAX, "18446744073709551615"},
    };
    for (size_t i = 0; i < LENGTH(cases); i++) {
        char text[DECIMAL_SIZE];
        assert_int_equal(decimal_write(cases[i].value, text), strlen(cases[i].text));
        assert_string_equal(text, cases[i].text);
    }
}

static void
the_longest_row_fits(void **state)
{
    (void)state;
    struct link link = {.connection = UINT64_MAX, .epoch = UINT64_MAX, .since_ms = UINT64_MAX};
    memset(link.node, 'n', NODE_NAME_MAX);
    memcpy(link.node + NODE_NAME_MAX, ".0123456789abcdef", NODE_INCARNATION_LEN + 2);
    memset(link.device, 'd', IDENT_MAX_BYTES);
    memset(link.device_class, 'c', sizeof(link.device_class) - 1);
    char row[LINK_ROW_SIZE];
    size_t len = link_write(&link, row);
    assert_int_equal(len, strlen(row));
    assert_int_equal(len, NODE_ID_SIZE - 1 + 3 * 21 + 1 + 32 + 1 + IDENT_MAX_BYTES);
}

static void
assert_link_equal(const struct link *a, const struct link *b)
{
    assert_string_equal(a->node, b->node);
    assert_int_equal(a->connection, b->connection);
    assert_int_equal(a->epoch, b->epoch);
    assert_int_equal(a->since_ms, b->since_ms);
    assert_string_equal(a->device, b->device);
    assert_string_equal(a->device_class, b->device_class);
}

static void
a_row_is_as_documented(void **state)
{
    (void)state;
    const struct link link = {NODE, 7, 1700000000000001, 1700000000000, "my phone", "phone"};
    char row[LINK_ROW_SIZE];
    size_t len = link_write(&link, row);
    assert_string_equal(row, NODE " 7 1700000000000001 1700000000000 phone my phone");
    assert_int_equal(len, strlen(row));
}

static void
links_come_back_as_they_were(void **state)
{
    (void)state;
    struct link longest = {.connection = UINT64_MAX, .epoch = UINT64_MAX, .since_ms = UINT64_MAX};
    memset(longest.node, 'n', NODE_NAME_MAX);
    memcpy(longest.node + NODE_NAME_MAX, ".0123456789abcdef", 18);
    memset(longest.device, ' ', IDENT_MAX_BYTES);
    memset(longest.device_class, 'c', sizeof(longest.device_class) - 1);
    const struct link links[] = {
        longest,
        {NODE, 0, 0, 0, "d", ""},
        {NODE, 1, 2, 3, " ", "-x"},
        {NODE, 1, 2, 3, " leading and trailing ", "web"},
        {NODE, 1, 2, 3, "-", "--"},
        {NODE, 1, 2, 3, "5 6 7 - x", "\xc3\xa9"},
        {NODE, 1, 2, 3, "\xf0\x9f\x98\x80 \xe2\x82\xac", "tv"},
    };
    for (size_t i = 0; i < LENGTH(links); i++) {
        char row[LINK_ROW_SIZE];
        struct link back;
        size_t len = link_write(&links[i], row);
        assert_true(len < LINK_ROW_SIZE);
        assert_true(link_read(row, len, &back));
        assert_link_equal(&links[i], &back);
        // Exactly as long as it says: nothing of a row is optional.
        assert_false(link_read(row, len - strlen(links[i].device), &back));
    }
}

static void
rows_that_link_write_would_not_write_are_refused(void **state)
{
    (void)state;
    const char *const bad[] = {
        "",
        " ",
        NODE,
        NODE " 1 2 3 -",
        NODE " 1 2 3 - ",                                  // no device
        NODE " 1 2 3 d",                                   // no class
        NODE " 1 2 3  d",                                  // an empty class is written as -
        NODE " 1 2 - d",                                   // a number is missing
        NODE "  1 2 3 - d",                                // two spaces
        " " NODE " 1 2 3 - d",                             //
        NODE " 01 2 3 - d",                                // leading zeros
        NODE " 1 00 3 - d",                                //
        NODE " 1 2 +3 - d",                                // signs
        NODE " -1 2 3 - d",                                //
        NODE " 1 2 3x - d",                                //
        NODE " 0x1 2 3 - d",                               //
        NODE " 18446744073709551616 2 3 - d",              // one more than 64 bits hold
        NODE " 99999999999999999999 2 3 - d",              //
        NODE " 100000000000000000000000000 2 3 - d",       //
        "edge-1 1 2 3 - d",                                // no incarnation
        "Edge.0123456789abcdef 1 2 3 - d",                 //
        NODE " 1 2 3 - a\nb",                              // control characters
        NODE " 1 2 3 a\tb d",                              //
        NODE " 1 2 3 - \xff",                              // not UTF-8
        NODE " 1 2 3 \xff d",                              //
        NODE " 1 2 3 123456789012345678901234567890123 d", // a class of 33 bytes
    };
    const struct link before = {NODE, 9, 9, 9, "before", "x"};
    for (size_t i = 0; i < LENGTH(bad); i++) {
        struct link link = before;
        assert_false(link_read(bad[i], strlen(bad[i]), &link));
        assert_link_equal(&link, &before);
    }
    struct link link;
    assert_true(link_read(NODE " 18446744073709551615 2 3 - d",
                          strlen(NODE " 18446744073709551615 2 3 - d"), &link));
    assert_false(link_read(NODE " 1 2 3 - a\0b", strlen(NODE " 1 2 3 - ") + 3, &link));
}

static void
link_call(const void *link)
{
    char row[LINK_ROW_SIZE];
    link_write(link, row);
}

static void
writing_an_invalid_link_is_our_fault(void **state)
{
    (void)state;
    const struct link links[] = {
        {"edge-1", 1, 2, 3, "d", ""}, {NODE, 1, 2, 3, "", ""},   {NODE, 1, 2, 3, "a\nb", ""},
        {NODE, 1, 2, 3, "d", "a b"},  {NODE, 1, 2, 3, "d", "-"}, {NODE, 1, 2, 3, "d", "\x01"},
    };
    for (size_t i = 0; i < LENGTH(links); i++)
        assert_true(aborts(link_call, &links[i]));
}

static void
a_device_class_is_one_word_of_up_to_32_bytes(void **state)
{
    (void)state;
    assert_true(device_class_is_valid("", 0));
    assert_true(device_class_is_valid("phone", 5));
    assert_true(device_class_is_valid("12345678901234567890123456789012", 32));
    assert_false(device_class_is_valid("123456789012345678901234567890123", 33));
    assert_false(device_class_is_valid("a b", 3));
    assert_false(device_class_is_valid("-", 1));
    assert_false(device_class_is_valid("a\0b", 3));
    assert_false(device_class_is_valid("\xff", 1));
}

static void
the_node_of_an_index_key_is_found(void **state)
{
    (void)state;
    char key[KEY_SIZE];
    char node[NODE_ID_SIZE] = "kept";
    size_t len = key_members(NODE, key);
    assert_true(key_members_node(key, len, node));
    assert_string_equal(node, NODE);
    const char *const others[] = {"",
                                  "sy:members:{",
                                  "sy:members:{}",
                                  "sy:members:{x}",
                                  "sy:members:" NODE,
                                  "sy:lease:{" NODE "}",
                                  "sy:members:{" NODE};
    for (size_t i = 0; i < LENGTH(others); i++) {
        memcpy(node, "kept", 5);
        assert_false(key_members_node(others[i], strlen(others[i]), node));
        assert_string_equal(node, "kept");
    }
}

static void
the_user_of_a_row_key_is_found(void **state)
{
    (void)state;
    char mapped[IDENT_MAPPED_SIZE] = "kept";
    const char *const others[] = {"",          "sy:user:{",    "sy:user:{}", "sy:user:{a b}",
                                  "sy:user:a", "sy:watch:{a}", "sy:user:{a"};
    for (size_t i = 0; i < LENGTH(others); i++) {
        assert_false(key_user_mapped(others[i], strlen(others[i]), mapped));
        assert_string_equal(mapped, "kept");
    }
    char key[KEY_SIZE];
    assert_true(key_user_mapped(key, key_user("bob", key), mapped));
    assert_string_equal(mapped, "bob");
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keys_are_as_documented),
        cmocka_unit_test(the_longest_keys_and_members_fit),
        cmocka_unit_test(a_key_of_what_was_not_mapped_is_our_fault),
        cmocka_unit_test(a_member_is_split_into_user_and_device),
        cmocka_unit_test(what_is_no_member_is_left_alone),
        cmocka_unit_test(numbers_are_written_in_decimal),
        cmocka_unit_test(a_row_is_as_documented),
        cmocka_unit_test(the_longest_row_fits),
        cmocka_unit_test(links_come_back_as_they_were),
        cmocka_unit_test(rows_that_link_write_would_not_write_are_refused),
        cmocka_unit_test(writing_an_invalid_link_is_our_fault),
        cmocka_unit_test(a_device_class_is_one_word_of_up_to_32_bytes),
        cmocka_unit_test(the_node_of_an_index_key_is_found),
        cmocka_unit_test(the_user_of_a_row_key_is_found),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
