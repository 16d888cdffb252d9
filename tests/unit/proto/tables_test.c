// tables.c: the lists themselves, and that they are those of client.proto.
#include "claims.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "proto/tables.h"
#include "switchyard/v1/client.pb-c.h"

struct row {
    const char *name; // of the enum value
    unsigned number;
    const char *word; // in logs
};

#define AS_ROW(NAME, number, name, retryable, text) {#NAME, number, name},
static const struct row reasons[] = {SY_REASONS(AS_ROW)};
#undef AS_ROW
#define AS_ROW(NAME, number, name, text) {#NAME, number, name},
static const struct row closes[] = {SY_CLOSES(AS_ROW)};
#undef AS_ROW

static void
the_reasons_are_those_of_the_protocol(void **state)
{
    (void)state;
    const ProtobufCEnumDescriptor *reason = &switchyard__v1__reason__descriptor;
    assert_int_equal(LENGTH(reasons), reason->n_values);
    for (unsigned i = 0; i < reason->n_values; i++) {
        char name[64];
        const char *ours = strcmp(reasons[i].name, "NONE") == 0 ? "UNSPECIFIED" : reasons[i].name;
        snprintf(name, sizeof(name), "REASON_%s", ours);
        assert_string_equal(reason->values[i].name, name);
        assert_int_equal(reason->values[i].value, reasons[i].number);
    }
}

static void
names_are_the_enum_names_in_lower_case(void **state)
{
    (void)state;
    for (size_t i = 0; i < LENGTH(reasons) + LENGTH(closes); i++) {
        const struct row *row = i < LENGTH(reasons) ? &reasons[i] : &closes[i - LENGTH(reasons)];
        assert_int_equal(strlen(row->name), strlen(row->word));
        for (size_t j = 0; row->name[j] != '\0'; j++)
            assert_int_equal(tolower((unsigned char)row->name[j]), row->word[j]);
    }
}

static void
every_reason_has_a_name_and_a_text(void **state)
{
    (void)state;
    for (size_t i = 0; i < LENGTH(reasons); i++) {
        assert_string_equal(reason_name((enum reason)i), reasons[i].word);
        assert_true(strlen(reason_text((enum reason)i)) > 0);
    }
    assert_string_equal(reason_text(REASON_BUSY), "a queue on the way is full");
    assert_true(reason_is_retryable(REASON_BUSY));
    assert_false(reason_is_retryable(REASON_OFFLINE));
}

static void
unknown_reasons_are_called_so(void **state)
{
    (void)state;
    const int unknown[] = {-1, REASON_COUNT, 1 << 30};
    for (size_t i = 0; i < LENGTH(unknown); i++) {
        enum reason reason;
        memcpy(&reason, &unknown[i], sizeof(reason));
        assert_string_equal(reason_name(reason), "unknown");
        assert_string_equal(reason_text(reason), "unknown");
        assert_false(reason_is_retryable(reason));
    }
}

static void
every_close_has_its_own_index(void **state)
{
    (void)state;
    assert_int_equal(close_count(), LENGTH(closes));
    for (unsigned i = 0; i < LENGTH(closes); i++) {
        assert_int_equal(close_index(closes[i].number), i);
        assert_string_equal(close_name(closes[i].number), closes[i].word);
        assert_true(strlen(close_text(closes[i].number)) > 0);
    }
}

static void
unknown_closes_count_as_internal(void **state)
{
    (void)state;
    const unsigned unknown[] = {0, 999, 1001, 4006, 4107, 4112, 65536};
    for (size_t i = 0; i < LENGTH(unknown); i++) {
        assert_int_equal(close_index(unknown[i]), close_index(CLOSE_INTERNAL));
        assert_string_equal(close_name(unknown[i]), "unknown");
        assert_string_equal(close_text(unknown[i]), "unknown");
    }
}

static void
a_client_stays_away_after_terminal_codes_only(void **state)
{
    (void)state;
    const unsigned terminal[] = {1002, 1003, 1007, 1009, 1010, 4000, 4001, 4005, 4099};
    const unsigned passing[] = {0,    1000, 1001, 1006, 1008, 1011, 1012,
                                1013, 3999, 4100, 4108, 4199, 5000};
    for (size_t i = 0; i < LENGTH(terminal); i++)
        assert_true(close_is_terminal(terminal[i]));
    for (size_t i = 0; i < LENGTH(passing); i++)
        assert_false(close_is_terminal(passing[i]));
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_reasons_are_those_of_the_protocol),
        cmocka_unit_test(names_are_the_enum_names_in_lower_case),
        cmocka_unit_test(every_reason_has_a_name_and_a_text),
        cmocka_unit_test(unknown_reasons_are_called_so),
        cmocka_unit_test(every_close_has_its_own_index),
        cmocka_unit_test(unknown_closes_count_as_internal),
        cmocka_unit_test(a_client_stays_away_after_terminal_codes_only),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
