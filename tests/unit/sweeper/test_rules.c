// test_rules.c: when an edge is dead, and how fast it may be cleaned up.
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "sweeper/rules.h"

#define NOW 1000000

static void
a_beat_exactly_at_the_limit_is_suspect_and_one_before_it_alive(void **state)
{
    (void)state;
    struct node_facts facts = {.has_lease = true, .heard_ms = NOW, .first_seen_ms = NOW - 50000};
    assert_int_equal(rules_judge(&facts, NOW), NODE_ALIVE);
    assert_int_equal(rules_judge(&facts, NOW + SUSPECT_MS - 1), NODE_ALIVE);
    assert_int_equal(rules_judge(&facts, NOW + SUSPECT_MS), NODE_SUSPECT);
}

static void
a_node_never_heard_counts_from_when_it_was_seen(void **state)
{
    (void)state;
    struct node_facts facts = {.has_lease = true, .first_seen_ms = NOW};
    assert_int_equal(rules_judge(&facts, NOW + SUSPECT_MS - 1), NODE_ALIVE);
    assert_int_equal(rules_judge(&facts, NOW + SUSPECT_MS), NODE_SUSPECT);
}

static void
without_a_lease_it_is_dead(void **state)
{
    (void)state;
    struct node_facts facts = {
        .has_lease = false, .heard_ms = NOW - SUSPECT_MS, .first_seen_ms = 1, .lease_gone_ms = NOW};
    assert_int_equal(rules_judge(&facts, NOW), NODE_DEAD);
    facts.heard_ms = 0; // never
    assert_int_equal(rules_judge(&facts, NOW), NODE_DEAD);
}

static void
who_is_heard_without_a_lease_has_time_to_take_it_again(void **state)
{
    (void)state;
    struct node_facts facts = {
        .has_lease = false, .heard_ms = NOW - SUSPECT_MS + 1, .lease_gone_ms = NOW};
    assert_int_equal(rules_judge(&facts, NOW), NODE_SUSPECT);
    facts.heard_ms = NOW + RETAKE_MS - 1;
    assert_int_equal(rules_judge(&facts, NOW + RETAKE_MS - 1), NODE_SUSPECT);
    assert_int_equal(rules_judge(&facts, NOW + RETAKE_MS), NODE_DEAD);
}

static void
a_lease_without_a_heartbeat_is_never_dead(void **state)
{
    (void)state;
    struct node_facts facts = {.has_lease = true, .heard_ms = 1, .first_seen_ms = 1};
    assert_int_equal(rules_judge(&facts, NOW * 1000ull), NODE_SUSPECT);
}

static void
a_node_nobody_listens_for_is_suspect_however_lately_heard(void **state)
{
    (void)state;
    struct node_facts facts = {
        .has_lease = true, .heard_ms = NOW, .first_seen_ms = NOW, .is_unheard = true};
    assert_int_equal(rules_judge(&facts, NOW), NODE_SUSPECT);
    facts.has_lease = false;
    assert_int_equal(rules_judge(&facts, NOW), NODE_DEAD);
}

static void
three_deaths_in_ten_are_a_coincidence_and_four_are_not(void **state)
{
    (void)state;
    assert_false(rules_is_mass_death(3, 10));
    assert_true(rules_is_mass_death(4, 10));
    assert_true(rules_is_mass_death(3, 9));
    assert_true(rules_is_mass_death(3, 3));
}

static void
two_may_always_die_together(void **state)
{
    (void)state;
    assert_false(rules_is_mass_death(2, 2));
    assert_false(rules_is_mass_death(0, 0));
}

static void
redis_is_settled_after_the_time_of_a_lease(void **state)
{
    (void)state;
    assert_false(rules_redis_is_settled(LEASE_MS - 1));
    assert_true(rules_redis_is_settled(LEASE_MS));
}

static void
each_state_has_its_word(void **state)
{
    (void)state;
    assert_string_equal(rules_name(NODE_NEW), "new");
    assert_string_equal(rules_name(NODE_ALIVE), "alive");
    assert_string_equal(rules_name(NODE_SUSPECT), "suspect");
    assert_string_equal(rules_name(NODE_DEAD), "dead");
}

static void
no_second_sees_more_than_its_share(void **state)
{
    (void)state;
    struct pace pace = {0};
    assert_int_equal(pace_left(&pace, 100, NOW), 100);
    pace.used += 99;
    assert_int_equal(pace_left(&pace, 100, NOW + 999), 1);
    pace.used += 1;
    assert_int_equal(pace_left(&pace, 100, NOW + 999), 0);
    pace.used += 50; // a batch that was larger
    assert_int_equal(pace_left(&pace, 100, NOW + 999), 0);
    assert_int_equal(pace_left(&pace, 100, NOW + 1000), 100);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_beat_exactly_at_the_limit_is_suspect_and_one_before_it_alive),
        cmocka_unit_test(a_node_never_heard_counts_from_when_it_was_seen),
        cmocka_unit_test(without_a_lease_it_is_dead),
        cmocka_unit_test(who_is_heard_without_a_lease_has_time_to_take_it_again),
        cmocka_unit_test(a_lease_without_a_heartbeat_is_never_dead),
        cmocka_unit_test(a_node_nobody_listens_for_is_suspect_however_lately_heard),
        cmocka_unit_test(three_deaths_in_ten_are_a_coincidence_and_four_are_not),
        cmocka_unit_test(two_may_always_die_together),
        cmocka_unit_test(redis_is_settled_after_the_time_of_a_lease),
        cmocka_unit_test(each_state_has_its_word),
        cmocka_unit_test(no_second_sees_more_than_its_share),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
