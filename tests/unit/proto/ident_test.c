// ident.c: ids from outside, hostile ones above all.
#include "claims.h"

#include <stdlib.h>
#include <string.h>

#include "proto/ident.h"
#include "proto/subject.h"

static bool
is_valid(const char *id)
{
    return ident_is_valid(id, strlen(id));
}

static void
ids_of_1_to_128_bytes_are_valid(void **state)
{
    (void)state;
    char id[IDENT_MAX_BYTES + 2];
    memset(id, 'a', sizeof(id));
    assert_false(ident_is_valid(id, 0));
    assert_true(ident_is_valid(id, 1));
    assert_true(ident_is_valid(id, IDENT_MAX_BYTES));
    assert_false(ident_is_valid(id, IDENT_MAX_BYTES + 1));
}

static void
ids_may_hold_anything_but_control_characters(void **state)
{
    (void)state;
    assert_true(is_valid(" "));
    assert_true(is_valid("alice@example.org"));
    assert_true(is_valid("\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80"));
    assert_true(is_valid("a.b*c>d{e}f/g:h"));
    for (unsigned byte = 0; byte < 0x80; byte++) {
        char id[3] = {'a', (char)byte, 'b'};
        assert_int_equal(ident_is_valid(id, 3), byte >= 0x20 && byte != 0x7f);
    }
}

static void
utf8_is_as_rfc_3629_has_it(void **state)
{
    (void)state;
    const char *const good[] = {"",
                                "plain",
                                "\x7f",
                                "\xc2\x80",
                                "\xdf\xbf",
                                "\xe0\xa0\x80",
                                "\xed\x9f\xbf",
                                "\xee\x80\x80",
                                "\xef\xbf\xbf",
                                "\xf0\x90\x80\x80",
                                "\xf4\x8f\xbf\xbf",
                                "seven b\xc3\xa9 across a word"};
    const char *const bad[] = {"\x80",             // a continuation alone
                               "\xbf",             //
                               "\xc0\x80",         // overlong NUL
                               "\xc1\xbf",         //
                               "\xc2",             // cut
                               "\xc2\x41",         //
                               "\xc2\xc0",         //
                               "\xe0\x9f\xbf",     // overlong
                               "\xe2\x82",         // cut
                               "\xe2\x82\x41",     //
                               "\xed\xa0\x80",     // surrogates
                               "\xed\xbf\xbf",     //
                               "\xf0\x8f\xbf\xbf", // overlong
                               "\xf0\x9f\x98",     // cut
                               "\xf0\x9f\x98\x41", //
                               "\xf4\x90\x80\x80", // above U+10FFFF
                               "\xf5\x80\x80\x80", //
                               "\xfe",             //
                               "\xff",             //
                               "fine until \xff",  //
                               "1234567\xff"};
    for (size_t i = 0; i < LENGTH(good); i++)
        assert_true(utf8_is_valid(good[i], strlen(good[i])));
    for (size_t i = 0; i < LENGTH(bad); i++) {
        assert_false(utf8_is_valid(bad[i], strlen(bad[i])));
        assert_false(is_valid(bad[i]));
    }
    assert_true(utf8_is_valid("a\0b", 3)); // NUL is a character like others
}

// Counted over all code points, against the number there are.
static void
every_code_point_is_valid_in_one_form_only(void **state)
{
    (void)state;
    unsigned valid = 0;
    for (unsigned a = 0xc0; a <= 0xff; a++) {
        for (unsigned b = 0; b <= 0xff; b++) {
            char two[2] = {(char)a, (char)b};
            valid += utf8_is_valid(two, 2);
            for (unsigned c = 0x7f; a >= 0xe0 && c <= 0xc0; c++) {
                char three[3] = {(char)a, (char)b, (char)c};
                valid += utf8_is_valid(three, 3);
            }
        }
    }
    assert_int_equal(valid, 0x10000 - 0x80 - 0x800); // all but ASCII and surrogates
}

static void
the_mapping_is_as_documented(void **state)
{
    (void)state;
    static const struct {
        const char *id;
        const char *mapped;
    } cases[] = {
        {"Alice-07", "Alice-07"},
        {"a_b", "a_5fb"},
        {"a.b", "a_2eb"},
        {"alice@example.org", "alice_40example_2eorg"},
        {"*", "_2a"},
        {">", "_3e"},
        {"{x}", "_7bx_7d"},
        {" ", "_20"},
        {"\xc3\xa9", "_c3_a9"},
        {"_5f", "_5f5f"},
    };
    for (size_t i = 0; i < LENGTH(cases); i++) {
        char mapped[IDENT_MAPPED_SIZE];
        char back[IDENT_MAX_BYTES + 1];
        size_t len = ident_map(cases[i].id, strlen(cases[i].id), mapped);
        assert_string_equal(mapped, cases[i].mapped);
        assert_int_equal(len, strlen(mapped));
        assert_int_equal(ident_unmap(mapped, len, back), strlen(cases[i].id));
        assert_string_equal(back, cases[i].id);
    }
}

static void
the_longest_id_fits_when_every_byte_is_escaped(void **state)
{
    (void)state;
    char id[IDENT_MAX_BYTES];
    char mapped[IDENT_MAPPED_SIZE];
    char back[IDENT_MAX_BYTES + 1];
    memset(id, '.', sizeof(id));
    assert_int_equal(ident_map(id, sizeof(id), mapped), IDENT_MAPPED_SIZE - 1);
    assert_int_equal(ident_unmap(mapped, IDENT_MAPPED_SIZE - 1, back), sizeof(id));
    assert_memory_equal(back, id, sizeof(id));
}

static void
invalid_ids_map_to_nothing(void **state)
{
    (void)state;
    static const char injection[] = "x 5\r\nPUB node.a 3\r\nabc\r\n";
    char mapped[IDENT_MAPPED_SIZE] = "before";
    char *huge = malloc(4096);
    memset(huge, 'a', 4096);
    assert_int_equal(ident_map(huge, 4096, mapped), 0);
    assert_string_equal(mapped, "");
    free(huge);
    assert_int_equal(ident_map(injection, sizeof(injection) - 1, mapped), 0);
    assert_int_equal(ident_map("", 0, mapped), 0);
    assert_int_equal(ident_map("a\0b", 3, mapped), 0);
    assert_int_equal(ident_map("\xff", 1, mapped), 0);
    assert_string_equal(mapped, "");
}

static void
what_ident_map_does_not_write_is_not_unmapped(void **state)
{
    (void)state;
    const char *const bad[] = {
        "",    "_",    "_5",  "a_",       "a_2",      "_2E", // cut, or capitals
        "_61", "_2d",  "_39", "_5A",                         // need no escape
        "_00", "_0a",  "_7f", "_ff",      "_c3",             // not of a valid id
        "a.b", "a b",  "a/b", "a{b}",     "\xc3\xa9",        // not of the alphabet
        "_g0", "__5f", "a*",  "a\r\nPUB",
    };
    char back[IDENT_MAX_BYTES + 1];
    for (size_t i = 0; i < LENGTH(bad); i++) {
        back[0] = 'x';
        assert_int_equal(ident_unmap(bad[i], strlen(bad[i]), back), 0);
        assert_string_equal(back, "");
    }
    char *huge = malloc(4096);
    memset(huge, 'a', 4096);
    assert_int_equal(ident_unmap(huge, 4096, back), 0);
    assert_int_equal(ident_unmap(huge, IDENT_MAX_BYTES + 1, back), 0);
    assert_int_equal(ident_unmap(huge, IDENT_MAX_BYTES, back), IDENT_MAX_BYTES);
    free(huge);
}

// Random bytes with a taste for trouble.
static size_t
make_id(uint64_t *random, char *id, size_t size)
{
    static const char nasty[] = "\r\n .*>{}/_\0\x7f\xc3\xa9\xe2\x82\xac:$'\"\\";
    size_t len = next_random(random) % size;
    bool is_printable = next_random(random) % 2 == 0; // half of them, so that many are valid
    for (size_t i = 0; i < len; i++) {
        uint64_t dice = next_random(random);
        if (is_printable)
            id[i] = (char)(0x20 + dice % 95);
        else
            id[i] = dice % 3 == 0 ? nasty[dice / 3 % sizeof(nasty)] : (char)(dice >> 8);
    }
    return len;
}

static void
any_bytes_map_to_the_alphabet_and_back_or_to_nothing(void **state)
{
    (void)state;
    static char id[4096];
    uint64_t random = 1;
    unsigned valid = 0;
    for (unsigned round = 0; round < 100000; round++) {
        char mapped[IDENT_MAPPED_SIZE];
        char back[IDENT_MAX_BYTES + 1];
        size_t len = make_id(&random, id, round % 100 == 0 ? sizeof(id) : 40);
        size_t mapped_len = ident_map(id, len, mapped);
        assert_int_equal(mapped_len > 0, ident_is_valid(id, len));
        assert_int_equal(strspn(mapped, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                        "0123456789_-"),
                         mapped_len);
        assert_int_equal(strlen(mapped), mapped_len);
        if (mapped_len == 0)
            continue;
        valid++;
        assert_true(subject_is_safe(mapped, mapped_len));
        assert_int_equal(ident_unmap(mapped, mapped_len, back), len);
        assert_memory_equal(back, id, len);
    }
    assert_true(valid > 10000);
}

static int
compare(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

// All ids of up to two bytes of a small alphabet that meets every rule.
static void
two_ids_never_map_to_one(void **state)
{
    (void)state;
    static const char letters[] = "aA5f_-.0 ";
    enum { N = sizeof(letters) - 1 };
    static char mapped[N + N * N + N * N * N][IDENT_MAPPED_SIZE];
    static char *sorted[LENGTH(mapped)];
    size_t count = 0;
    for (size_t i = 0; i < N; i++) {
        for (size_t j = 0; j <= N; j++) {
            for (size_t k = 0; k <= (j < N ? N : 0); k++) {
                char id[4] = {letters[i], j < N ? letters[j] : '\0',
                              j < N && k < N ? letters[k] : '\0', '\0'};
                sorted[count] = mapped[count];
                assert_true(ident_map(id, strlen(id), mapped[count++]) > 0);
            }
        }
    }
    assert_int_equal(count, LENGTH(mapped));
    qsort(sorted, count, sizeof(sorted[0]), compare);
    for (size_t i = 1; i < count; i++)
        assert_string_not_equal(sorted[i - 1], sorted[i]);
}

static void
node_names_are_short_and_plain(void **state)
{
    (void)state;
    char name[NODE_NAME_MAX + 2];
    memset(name, 'a', sizeof(name));
    assert_false(node_name_is_valid(name, 0));
    assert_true(node_name_is_valid(name, 1));
    assert_true(node_name_is_valid(name, NODE_NAME_MAX));
    assert_false(node_name_is_valid(name, NODE_NAME_MAX + 1));
    assert_true(node_name_is_valid("edge-01", 7));
    const char *const bad[] = {"A", "a.b", "a_b", "a b", "a*", "\xc3\xa9", "a\n"};
    for (size_t i = 0; i < LENGTH(bad); i++)
        assert_false(node_name_is_valid(bad[i], strlen(bad[i])));
}

static void
node_ids_have_a_name_and_an_incarnation(void **state)
{
    (void)state;
    const char *const good[] = {
        "a.0123456789abcdef",
        "edge-1.ffffffffffffffff",
        "0123456789012345678901234567890123456789.0000000000000000",
    };
    const char *const bad[] = {
        "",
        ".0123456789abcdef",
        "a",
        "a.",
        "a.0123456789abcde",
        "a.0123456789abcdef0",
        "a.0123456789ABCDEF",
        "a.0123456789abcdeg",
        "a_0123456789abcdef",
        "A.0123456789abcdef",
        "a.b.0123456789abcdef",
        "a.0123456789abcdef\n",
        "a*.0123456789abcdef",
        "01234567890123456789012345678901234567890.0000000000000000",
    };
    for (size_t i = 0; i < LENGTH(good); i++) {
        assert_true(node_id_is_valid(good[i], strlen(good[i])));
        assert_int_equal(node_name_len(good[i]), strlen(good[i]) - 17);
        assert_true(strlen(good[i]) < NODE_ID_SIZE);
    }
    for (size_t i = 0; i < LENGTH(bad); i++)
        assert_false(node_id_is_valid(bad[i], strlen(bad[i])));
}

#define DIGITS "0123456789"
#define SMALL "abcdefghijklmnopqrstuvwxyz"

// All bytes, at each place of texts that the loops take in steps of several.
static void
each_byte_of_a_node_counts_wherever_it_stands(void **state)
{
    (void)state;
    static const char node[] = "edge-0123.0123456789abcdef";
    enum { LEN = sizeof(node) - 1, NAME_LEN = LEN - 17 };
    for (size_t at = 0; at < LEN; at++) {
        const char *alphabet = at < NAME_LEN ? SMALL DIGITS "-" : DIGITS "abcdef";
        if (at == NAME_LEN)
            alphabet = ".";
        for (int byte = 0; byte <= 0xff; byte++) {
            char changed[sizeof(node)];
            memcpy(changed, node, sizeof(node));
            changed[at] = (char)byte;
            bool is_good = memchr(alphabet, byte, strlen(alphabet)) != NULL;
            assert_int_equal(node_id_is_valid(changed, LEN), is_good);
            for (size_t len = at + 1; len <= NAME_LEN; len++)
                assert_int_equal(node_name_is_valid(changed, len), is_good);
        }
    }
}

static void
each_byte_of_ascii_stays_or_is_escaped_or_refused(void **state)
{
    (void)state;
    static const char stays[] = SMALL "ABCDEFGHIJKLMNOPQRSTUVWXYZ" DIGITS "-";
    for (int byte = 0; byte < 0x80; byte++) {
        for (size_t at = 0; at < 9; at++) {
            char id[] = "abcdefghi";
            char mapped[IDENT_MAPPED_SIZE];
            id[at] = (char)byte;
            bool is_plain = memchr(stays, byte, sizeof(stays) - 1) != NULL;
            size_t len = byte < 0x20 || byte == 0x7f ? 0 : is_plain ? 9 : 11;
            assert_int_equal(ident_is_valid(id, 9), len > 0);
            assert_int_equal(ident_map(id, 9, mapped), len);
        }
    }
}

static void
name_len_call(const void *node)
{
    (void)node_name_len(node);
}

static void
the_name_of_an_invalid_node_is_our_fault(void **state)
{
    (void)state;
    assert_true(aborts(name_len_call, "nonsense"));
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ids_of_1_to_128_bytes_are_valid),
        cmocka_unit_test(ids_may_hold_anything_but_control_characters),
        cmocka_unit_test(utf8_is_as_rfc_3629_has_it),
        cmocka_unit_test(every_code_point_is_valid_in_one_form_only),
        cmocka_unit_test(the_mapping_is_as_documented),
        cmocka_unit_test(the_longest_id_fits_when_every_byte_is_escaped),
        cmocka_unit_test(invalid_ids_map_to_nothing),
        cmocka_unit_test(what_ident_map_does_not_write_is_not_unmapped),
        cmocka_unit_test(any_bytes_map_to_the_alphabet_and_back_or_to_nothing),
        cmocka_unit_test(two_ids_never_map_to_one),
        cmocka_unit_test(node_names_are_short_and_plain),
        cmocka_unit_test(node_ids_have_a_name_and_an_incarnation),
        cmocka_unit_test(each_byte_of_a_node_counts_wherever_it_stands),
        cmocka_unit_test(each_byte_of_ascii_stays_or_is_escaped_or_refused),
        cmocka_unit_test(the_name_of_an_invalid_node_is_our_fault),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
