#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "room.h"

#define QUEUE_US 100000
#define INSIDE_MAX 4096
#define START_US ((int64_t)1 << 40)

/* A worker that answers ${answered} in each time between looks. */
static void look(struct room *room, unsigned answered, bool queued)
{
    room->answered = answered;
    room_look(room, room->looked_us + QUEUE_US, QUEUE_US, queued, INSIDE_MAX);
}

static struct room new_room(void)
{
    struct room room = {0};

    assert_true(room_is_due(&room, START_US, QUEUE_US));
    room_look(&room, START_US, QUEUE_US, true, INSIDE_MAX); /* what the store says is of a time that nobody knows */
    assert_int_equal(room.bound, INSIDE_MAX);
    assert_false(room_is_due(&room, START_US + QUEUE_US - 1, QUEUE_US));
    return room;
}

static void test_nothing_is_bound_without_a_line(void **state)
{
    struct room room = new_room();

    for (int i = 0; i < 100; i++)
        look(&room, 10, false);
    assert_int_equal(room.bound, INSIDE_MAX);
}

static void test_as_many_as_are_answered(void **state)
{
    struct room room = new_room();

    look(&room, 500, true);
    assert_int_equal(room.bound, 500);
    room.answered = 1200; /* in three times as long */
    room_look(&room, room.looked_us + 3 * QUEUE_US, QUEUE_US, true, INSIDE_MAX);
    assert_int_equal(room.bound, 400);
}

static void test_never_shut(void **state)
{
    struct room room = new_room();

    look(&room, 0, true);
    assert_int_equal(room.bound, ROOM_MIN);
    room_look(&room, room.looked_us + QUEUE_US, QUEUE_US, true, 16);
    assert_int_equal(room.bound, 16); /* SOUK_INSIDE_MAX may be less */
}

/* After the line a look lets in a quarter more than the one before, never all that come; and the bound is gone in a few seconds. */
static void test_raised_not_lifted(void **state)
{
    struct room room = new_room();
    int looks = 0;

    look(&room, 500, true);
    while (room.bound < INSIDE_MAX) {
        unsigned before = room.bound;

        look(&room, 500, false);
        assert_true(room.bound > before && room.bound <= before + before / 4 + 1);
        looks++;
    }
    assert_true(looks < 30);
}

static void test_forgotten(void **state)
{
    struct room room = new_room();

    look(&room, 100, true);
    room_look(&room, room.looked_us + (ROOM_FORGOTTEN + 1) * QUEUE_US, QUEUE_US, true, INSIDE_MAX);
    assert_int_equal(room.bound, INSIDE_MAX);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nothing_is_bound_without_a_line),
        cmocka_unit_test(test_as_many_as_are_answered),
        cmocka_unit_test(test_never_shut),
        cmocka_unit_test(test_raised_not_lifted),
        cmocka_unit_test(test_forgotten),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
