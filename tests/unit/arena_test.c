#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/resource.h>

#include <cmocka.h>

#include "arena.h"

static const size_t sizes[] = {0, 1, 15, 16, 17, 255, 4095, 4096, 4097, 16383, 16384, 16385, 100000, 3000000};
#define SIZE_COUNT (sizeof(sizes) / sizeof(sizes[0]))

static void test_memory_is_zeroed_aligned_and_apart(void **state)
{
    /* Twice, because the second arena is made of the dirty chunks of the first. */
    for (int round = 0; round < 2; round++) {
        struct arena *arena = arena_new();
        unsigned char *pieces[SIZE_COUNT];

        for (size_t i = 0; i < SIZE_COUNT; i++) {
            pieces[i] = arena_alloc(arena, sizes[i]);
            assert_int_equal((uintptr_t)pieces[i] % _Alignof(max_align_t), 0);
            for (size_t j = 0; j < sizes[i]; j++)
                assert_int_equal(pieces[i][j], 0);
            memset(pieces[i], (int)i + 1, sizes[i]);
        }
        for (size_t i = 0; i < SIZE_COUNT; i++)
            assert_true(sizes[i] == 0 || (pieces[i][0] == i + 1 && pieces[i][sizes[i] - 1] == i + 1));
        arena_free(arena);
    }
    arena_thread_end();
}

static void test_used_counts_what_was_asked_for(void **state)
{
    struct arena *arena = arena_new();

    assert_int_equal(arena_used(arena), 0);
    arena_alloc(arena, 100);
    arena_alloc(arena, 50000);
    assert_int_equal(arena_used(arena), 50100);
    arena_free(arena);
    arena_thread_end();
}

static void test_every_owner_frees(void **state)
{
    struct arena *arena = arena_new();
    char *text = arena_alloc(arena, 8);

    arena_hold(arena);
    arena_hold(arena);
    arena_free(arena);
    arena_free(arena);
    memcpy(text, "alive", 6);
    assert_string_equal(text, "alive");
    arena_free(arena);
    arena_free(NULL);
    arena_thread_end();
}

/* Under AddressSanitizer this also says that nothing is left and nothing is freed twice. */
static void test_a_child_goes_with_its_parent(void **state)
{
    struct arena *parent = arena_new(), *first = arena_child(parent), *second = arena_child(parent), *held = arena_child(parent);

    arena_hold(held);
    arena_take(arena_child(first), 5000);
    arena_free(second);
    arena_take(arena_child(parent), 100);
    arena_free(parent);
    memset(arena_take(held, 100), 'x', 100); /* its other owner has it still */
    arena_free(held);
}

static void test_copies_and_prints_end_in_nul(void **state)
{
    struct arena *arena = arena_new();
    struct view copy = arena_copy(arena, (struct view){"abcdef", 3}), empty = arena_copy(arena, (struct view){NULL, 0});
    struct view line = arena_printf(arena, "%s-%05d", "order", 42), wide = arena_printf(arena, "%20000d", 7);

    assert_int_equal(copy.len, 3);
    assert_string_equal(copy.at, "abc");
    assert_int_equal(empty.len, 0);
    assert_string_equal(empty.at, "");
    assert_true(view_equal(line, VIEW("order-00042")));
    assert_int_equal(wide.len, 20000);
    assert_string_equal(wide.at + 19999, "7");
    arena_free(arena);
    arena_thread_end();
}

static void test_a_buffer_grows(void **state)
{
    struct arena *arena = arena_new();
    struct buffer buffer = {.arena = arena};
    struct view text;

    for (int i = 0; i < 10000; i++) {
        buffer_add(&buffer, "ab", 2);
        buffer_add_int(&buffer, -1);
        buffer_add_view(&buffer, VIEW("."));
    }
    buffer_add(&buffer, NULL, 0);
    memcpy(buffer_room(&buffer, 3), "end", 3);
    buffer.len += 3;
    text = buffer_view(&buffer);
    assert_int_equal(text.len, 50003);
    assert_memory_equal(text.at, "ab-1.ab-1.", 10);
    assert_memory_equal(text.at + 49995, "ab-1.end", 8);
    arena_free(arena);
    arena_thread_end();
}

static void test_integers_of_views(void **state)
{
    static const struct {
        const char *text;
        bool good;
        long long want;
    } cases[] = {
        {"0", true, 0},
        {"1", true, 1},
        {"9007199254740991", true, 9007199254740991},
        {"9223372036854775807", true, INT64_MAX},
        {"9223372036854775808", false, 0},
        {"99999999999999999999999", false, 0},
        {"", false, 0},
        {"-1", false, 0},
        {"+1", false, 0},
        {"01", false, 0},
        {"00", false, 0},
        {" 1", false, 0},
        {"1 ", false, 0},
        {"1.0", false, 0},
        {"0x1", false, 0},
        {"\xb2", false, 0},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        long long number = 0;

        print_message("%s\n", cases[i].text);
        assert_int_equal(view_to_int(view_of(cases[i].text), &number), cases[i].good);
        assert_int_equal(number, cases[i].want);
    }
    assert_true(view_equal(view_of(NULL), VIEW("")));
    assert_false(view_equal(VIEW("a"), VIEW("b")));
}

#ifndef __has_feature
#define __has_feature(name) 0
#endif
/* With sanitizers the address space cannot be limited: they take terabytes of it for themselves. */
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__) && !__has_feature(address_sanitizer) && !__has_feature(thread_sanitizer)
static void test_the_reserve_serves_when_malloc_fails(void **state)
{
    struct rlimit before, tight;
    struct arena *arena = arena_new();

    assert_true(arena_reserve(64 * 1024 * 1024));
    assert_false(arena_low());
    getrlimit(RLIMIT_AS, &before);
    tight = before;
    tight.rlim_cur = 1024 * 1024;
    setrlimit(RLIMIT_AS, &tight);
    memset(arena_alloc(arena, 32 * 1024 * 1024), 1, 32 * 1024 * 1024);
    setrlimit(RLIMIT_AS, &before);
    assert_true(arena_low());
    arena_free(arena);
    assert_false(arena_low());
    arena_thread_end();
}
#define RESERVE_TEST cmocka_unit_test(test_the_reserve_serves_when_malloc_fails),
#else
#define RESERVE_TEST
#endif

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_memory_is_zeroed_aligned_and_apart),
                                       cmocka_unit_test(test_used_counts_what_was_asked_for),
                                       cmocka_unit_test(test_every_owner_frees),
                                       cmocka_unit_test(test_a_child_goes_with_its_parent),
                                       cmocka_unit_test(test_copies_and_prints_end_in_nul),
                                       cmocka_unit_test(test_a_buffer_grows),
                                       cmocka_unit_test(test_integers_of_views),
                                       RESERVE_TEST};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
