#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "breaker.h"

#define STATES 3
#define EVENTS 5

/* The picture in breaker.h, row by row. */
static void test_every_event_in_every_state(void **state)
{
    static const struct {
        enum breaker from;
        enum breaker_event event;
        enum breaker to;
    } ROWS[] = {
        {BREAKER_CLOSED, BREAKER_BEHIND, BREAKER_OPEN},
        {BREAKER_CLOSED, BREAKER_CAUGHT_UP, BREAKER_CLOSED},
        {BREAKER_CLOSED, BREAKER_LOST, BREAKER_OPEN},
        {BREAKER_CLOSED, BREAKER_ASKED, BREAKER_HALF_OPEN},
        {BREAKER_CLOSED, BREAKER_PASSED, BREAKER_CLOSED},
        {BREAKER_OPEN, BREAKER_BEHIND, BREAKER_OPEN},
        {BREAKER_OPEN, BREAKER_CAUGHT_UP, BREAKER_CLOSED},
        {BREAKER_OPEN, BREAKER_LOST, BREAKER_OPEN},
        {BREAKER_OPEN, BREAKER_ASKED, BREAKER_HALF_OPEN},
        {BREAKER_OPEN, BREAKER_PASSED, BREAKER_CLOSED},
        {BREAKER_HALF_OPEN, BREAKER_BEHIND, BREAKER_HALF_OPEN},
        {BREAKER_HALF_OPEN, BREAKER_CAUGHT_UP, BREAKER_HALF_OPEN},
        {BREAKER_HALF_OPEN, BREAKER_LOST, BREAKER_OPEN},
        {BREAKER_HALF_OPEN, BREAKER_ASKED, BREAKER_HALF_OPEN},
        {BREAKER_HALF_OPEN, BREAKER_PASSED, BREAKER_CLOSED},
    };
    unsigned seen = 0;

    for (size_t i = 0; i < sizeof(ROWS) / sizeof(*ROWS); i++) {
        assert_int_equal(breaker_next(ROWS[i].from, ROWS[i].event), ROWS[i].to);
        seen |= 1U << ((unsigned)ROWS[i].from * EVENTS + ROWS[i].event);
    }
    assert_int_equal(seen, (1U << STATES * EVENTS) - 1);
}

/* A shard that stops answering, is given up, is there again but silent, and then answers. */
static void test_a_life(void **state)
{
    static const enum breaker_event HEARD[] = {BREAKER_ASKED, BREAKER_PASSED, BREAKER_BEHIND, BREAKER_LOST,  BREAKER_ASKED,
                                               BREAKER_LOST,  BREAKER_ASKED,  BREAKER_PASSED, BREAKER_BEHIND, BREAKER_CAUGHT_UP};
    static const enum breaker WANT[] = {BREAKER_HALF_OPEN, BREAKER_CLOSED,    BREAKER_OPEN,   BREAKER_OPEN, BREAKER_HALF_OPEN,
                                        BREAKER_OPEN,      BREAKER_HALF_OPEN, BREAKER_CLOSED, BREAKER_OPEN, BREAKER_CLOSED};
    enum breaker breaker = BREAKER_OPEN;

    for (size_t i = 0; i < sizeof(HEARD) / sizeof(*HEARD); i++) {
        breaker = breaker_next(breaker, HEARD[i]);
        assert_int_equal(breaker, WANT[i]);
    }
}

static unsigned taken(struct retry_budget *budget, uint64_t calls, unsigned wanted)
{
    unsigned count = 0;

    for (unsigned i = 0; i < wanted; i++)
        count += retry_allowed(budget, calls);
    return count;
}

static void test_one_call_in_ten(void **state)
{
    struct retry_budget budget = {0};

    assert_int_equal(taken(&budget, 0, 3), 0);
    assert_int_equal(taken(&budget, RETRY_SHARE - 1, 3), 0);
    assert_int_equal(taken(&budget, RETRY_SHARE, 3), 1);
    assert_int_equal(taken(&budget, RETRY_SHARE * 3, 9), 2);
    assert_int_equal(taken(&budget, RETRY_SHARE * 3, 9), 0);
}

static void test_no_more_than_a_burst(void **state)
{
    struct retry_budget budget = {0};

    assert_int_equal(taken(&budget, UINT64_C(1) << 40, RETRY_BURST * 2), RETRY_BURST);
    assert_int_equal(taken(&budget, (UINT64_C(1) << 40) + RETRY_SHARE, RETRY_BURST), 1);
}

/* A shard that loses every call: whatever is asked, a tenth is what is sent again. */
static void test_all_fail(void **state)
{
    struct retry_budget budget = {0};
    uint64_t calls = 0, again = 0;

    for (int i = 0; i < 100000; i++) {
        calls++;
        if (retry_allowed(&budget, calls)) {
            again++;
            calls++; /* counts itself */
        }
    }
    assert_true(again * RETRY_SHARE <= calls);
    assert_true(again * RETRY_SHARE >= calls - RETRY_SHARE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_event_in_every_state),
        cmocka_unit_test(test_a_life),
        cmocka_unit_test(test_one_call_in_ten),
        cmocka_unit_test(test_no_more_than_a_burst),
        cmocka_unit_test(test_all_fail),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
