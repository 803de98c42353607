#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "clock.h"
#include "loop.h"

/* What happened, as one letter each, in order. */
struct story {
    struct loop *loop;
    struct loop_timer *timer, *other;
    struct loop_watch *watch;
    int fds[2];
    char told[64];
    int turns;
    unsigned events;
};

static void tell(struct story *story, char letter)
{
    size_t len = strlen(story->told);

    if (len + 1 < sizeof(story->told))
        story->told[len] = letter;
}

static void begin(struct story *story)
{
    *story = (struct story){.fds = {-1, -1}};
    story->loop = loop_new();
    assert_non_null(story->loop);
}

static void end(struct story *story)
{
    loop_free(story->loop);
    if (story->fds[0] >= 0) {
        close(story->fds[0]);
        close(story->fds[1]);
    }
}

static void ring_and_stop(void *cookie)
{
    struct story *story = cookie;

    tell(story, 't');
    loop_stop(story->loop);
}

static void ring(void *cookie)
{
    tell(cookie, 'r');
}

static void test_timers_ring_once_and_in_order(void **state)
{
    struct story story;
    int64_t before;

    begin(&story);
    story.timer = loop_timer_new(story.loop, ring_and_stop, &story);
    story.other = loop_timer_new(story.loop, ring, &story);
    loop_timer_set(story.timer, 1000000);
    loop_timer_set(story.timer, 30); /* replaces */
    loop_timer_set(story.other, -5); /* now */
    before = clock_us();
    loop_run(story.loop);
    assert_string_equal(story.told, "rt");
    assert_true(clock_us() - before >= 28000);
    loop_timer_set(story.other, 0);
    loop_timer_clear(story.other);
    loop_timer_set(story.timer, 5);
    loop_run(story.loop); /* a loop can run again */
    assert_string_equal(story.told, "rtt");
    loop_timer_set(story.other, INT64_MAX);
    loop_timer_set(story.timer, 0);
    loop_run(story.loop);
    assert_string_equal(story.told, "rttt");
    loop_timer_free(story.timer);
    loop_timer_free(NULL);
    end(&story); /* frees the other */
}

static void ring_again_and_free(void *cookie)
{
    struct story *story = cookie;

    tell(story, 'a');
    if (strlen(story->told) < 3) {
        loop_timer_set(story->timer, 0);
    } else {
        loop_timer_free(story->timer);
        loop_stop(story->loop);
    }
}

static void test_a_timer_sets_and_frees_itself(void **state)
{
    struct story story;

    begin(&story);
    story.timer = loop_timer_new(story.loop, ring_again_and_free, &story);
    loop_timer_set(story.timer, 0);
    loop_run(story.loop);
    assert_string_equal(story.told, "aaa");
    end(&story);
}

static void read_one(void *cookie, unsigned events)
{
    struct story *story = cookie;
    char letter;

    story->events |= events;
    if (read(story->fds[0], &letter, 1) == 1) {
        tell(story, letter);
    } else {
        tell(story, '.');
        loop_unwatch(story->watch);
        loop_stop(story->loop);
    }
}

static void test_a_watch_reads_to_the_end(void **state)
{
    struct story story;

    begin(&story);
    assert_int_equal(pipe(story.fds), 0);
    story.watch = loop_watch(story.loop, story.fds[0], LOOP_READ, read_one, &story);
    assert_non_null(story.watch);
    assert_int_equal(write(story.fds[1], "xyz", 3), 3);
    close(story.fds[1]);
    story.fds[1] = dup(0);
    loop_run(story.loop);
    assert_string_equal(story.told, "xyz.");
    assert_int_equal(story.events, LOOP_READ);
    loop_unwatch(NULL);
    end(&story);
}

static void write_one(void *cookie, unsigned events)
{
    struct story *story = cookie;

    story->events |= events;
    tell(story, 'w');
    loop_watch_change(story->watch, 0);
    loop_timer_set(story->timer, 10);
}

static void test_a_watch_changes(void **state)
{
    struct story story;

    begin(&story);
    assert_int_equal(pipe(story.fds), 0);
    story.timer = loop_timer_new(story.loop, ring_and_stop, &story);
    story.watch = loop_watch(story.loop, story.fds[1], 0, write_one, &story);
    loop_timer_set(story.timer, 10);
    loop_run(story.loop);
    loop_watch_change(story.watch, LOOP_READ | LOOP_WRITE);
    loop_run(story.loop);
    assert_string_equal(story.told, "twt");
    assert_true(story.events & LOOP_WRITE);
    end(&story); /* frees watch and timer */
}

static void test_a_bad_descriptor_is_refused(void **state)
{
    struct story story;

    begin(&story);
    assert_null(loop_watch(story.loop, 1 << 20, LOOP_READ, read_one, &story));
    end(&story);
}

static bool hook_first(void *cookie)
{
    tell(cookie, '1');
    return false;
}

static bool hook_second(void *cookie)
{
    tell(cookie, '2');
    return false;
}

static bool hook_last(void *cookie)
{
    struct story *story = cookie;

    tell(story, '3');
    story->turns++;
    if (story->turns == 3)
        loop_stop(story->loop);
    return true; /* without this the loop would sleep for ever: nothing else is registered */
}

static void test_hooks_run_in_order_in_every_turn(void **state)
{
    struct story story;

    begin(&story);
    loop_each_turn(story.loop, LOOP_LAST, hook_last, &story);
    loop_each_turn(story.loop, LOOP_HTTP, hook_first, &story);
    loop_each_turn(story.loop, LOOP_STORE, hook_second, &story);
    loop_run(story.loop);
    assert_string_equal(story.told, "123123123");
    end(&story);
}

static bool hook_set_timer(void *cookie)
{
    struct story *story = cookie;

    if (story->turns++ == 0)
        loop_timer_set(story->timer, 1);
    return false;
}

static void test_a_timer_set_by_a_hook_wakes_the_sleep(void **state)
{
    struct story story;

    begin(&story);
    story.timer = loop_timer_new(story.loop, ring_and_stop, &story);
    loop_each_turn(story.loop, LOOP_FLOWS, hook_set_timer, &story);
    loop_run(story.loop);
    assert_string_equal(story.told, "t");
    assert_true(story.turns < 10); /* and the loop did sleep */
    end(&story);
}

static void *wake_often(void *cookie)
{
    for (int i = 0; i < 100; i++)
        loop_wake(cookie);
    return NULL;
}

static void test_another_thread_wakes(void **state)
{
    struct story story;
    pthread_t thread;

    begin(&story);
    loop_on_wake(story.loop, ring_and_stop, &story);
    assert_int_equal(pthread_create(&thread, NULL, wake_often, story.loop), 0);
    loop_run(story.loop);
    pthread_join(thread, NULL);
    assert_string_equal(story.told, "t");
    end(&story);
}

static void got_signal(void *cookie, int signum)
{
    tell(cookie, signum == SIGUSR1 ? 's' : '?');
    loop_stop(((struct story *)cookie)->loop);
}

static void test_signals_arrive_on_the_loop(void **state)
{
    struct story story;

    begin(&story);
    loop_on_signal(story.loop, SIGUSR1, got_signal, &story);
    raise(SIGUSR1);
    loop_run(story.loop);
    assert_string_equal(story.told, "s");
    end(&story);
}

static void got_address(void *cookie, const char *address, const char *error)
{
    assert_true(!address != !error);
    tell(cookie, !address ? '-' : strcmp(address, "127.0.0.1") == 0 ? 'l' : '?');
    loop_stop(((struct story *)cookie)->loop);
}

static void test_names_are_looked_up(void **state)
{
    struct story story;

    begin(&story);
    assert_non_null(loop_look_up(story.loop, "localhost", 0, got_address, &story));
    assert_string_equal(story.told, ""); /* in a later turn */
    loop_run(story.loop);
    assert_non_null(loop_look_up(story.loop, "127.0.0.1", 7, got_address, &story)); /* one address, whatever the turn */
    loop_run(story.loop);
    assert_non_null(loop_look_up(story.loop, "no name at all", 0, got_address, &story));
    loop_run(story.loop);
    assert_string_equal(story.told, "ll-");
    end(&story);
}

static void test_a_forgotten_name_is_not_told(void **state)
{
    struct story story;

    begin(&story);
    for (int i = 0; i < 20; i++) /* more than there are threads: some were begun, some were not */
        loop_forget(loop_look_up(story.loop, "localhost", 0, got_address, &story));
    loop_forget(NULL);
    end(&story);
    assert_string_equal(story.told, "");
}

static void test_a_loop_that_never_ran_is_freed(void **state)
{
    struct story story;

    begin(&story);
    loop_stop(story.loop);
    loop_timer_new(story.loop, ring, &story);
    end(&story);
    loop_free(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_timers_ring_once_and_in_order),
        cmocka_unit_test(test_a_timer_sets_and_frees_itself),
        cmocka_unit_test(test_a_watch_reads_to_the_end),
        cmocka_unit_test(test_a_watch_changes),
        cmocka_unit_test(test_a_bad_descriptor_is_refused),
        cmocka_unit_test(test_hooks_run_in_order_in_every_turn),
        cmocka_unit_test(test_a_timer_set_by_a_hook_wakes_the_sleep),
        cmocka_unit_test(test_another_thread_wakes),
        cmocka_unit_test(test_signals_arrive_on_the_loop),
        cmocka_unit_test(test_names_are_looked_up),
        cmocka_unit_test(test_a_forgotten_name_is_not_told),
        cmocka_unit_test(test_a_loop_that_never_ran_is_freed),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
