// err.c: every error has its words.
#include "lib/base/err.h"

#include <string.h>

#include "cmocka_all.h"

static void
every_error_has_a_name_and_a_text_of_its_own(void **state)
{
    (void)state;
    enum { FIRST = SY_EIO, LAST = SY_OK };
    for (int a = FIRST; a <= LAST; a++) {
        assert_string_not_equal(sy_error_name(a), "unknown");
        assert_true(strlen(sy_error_text(a)) > 0);
        for (int b = FIRST; b < a; b++) {
            assert_string_not_equal(sy_error_name(a), sy_error_name(b));
            assert_string_not_equal(sy_error_text(a), sy_error_text(b));
        }
    }
    assert_string_equal(sy_error_name(SY_EFULL), "full");
    assert_string_equal(sy_error_text(SY_EFULL), "a queue is at its bound");
    assert_string_equal(sy_error_name(SY_OK), "ok");
}

static void
a_number_that_is_no_error_still_has_words(void **state)
{
    (void)state;
    assert_string_equal(sy_error_name(1), "unknown");
    assert_string_equal(sy_error_name(SY_EIO - 1), "unknown");
    assert_true(strlen(sy_error_text(INT32_MIN)) > 0);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_error_has_a_name_and_a_text_of_its_own),
        cmocka_unit_test(a_number_that_is_no_error_still_has_words),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
