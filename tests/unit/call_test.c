#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "call.h"

static const struct function TRY = {"try", true, NULL};

static struct arena *arena;

static int setup(void **state)
{
    arena = arena_new();
    return 0;
}

static int teardown(void **state)
{
    arena_free(arena);
    arena_thread_end();
    return 0;
}

static void assert_view(struct view got, const char *want)
{
    assert_int_equal(got.len, strlen(want));
    assert_memory_equal(got.at, want, got.len);
}

static void test_a_new_call(void **state)
{
    struct call *call = call_function(arena, &TRY, 17);

    assert_ptr_equal(call->function, &TRY);
    assert_int_equal(call->partition, 17);
    assert_int_equal(call->shard, -1);
    assert_int_equal(call->keys + call->args, 0);
    assert_int_equal(call->body.len, 0);
    assert_null(call_part(call, 0).at);
}

static void test_keys_and_arguments_in_redis_encoding(void **state)
{
    struct call *call = call_function(arena, &TRY, 17);

    call_keyf(call, "stock:{%u}:%d", call->partition, 4369);
    call_key(call, VIEW("b"));
    call_arg(call, VIEW(""));
    call_arg_int(call, -15);
    call_arg(call, (struct view){"a\r\n\0$9", 6});
    assert_int_equal(call->keys, 2);
    assert_int_equal(call->args, 3);
    assert_int_equal(call->body.len, 56);
    assert_memory_equal(call->body.at, "$15\r\nstock:{17}:4369\r\n$1\r\nb\r\n$0\r\n\r\n$3\r\n-15\r\n$6\r\na\r\n\0$9\r\n", 56);
    assert_view(call_part(call, 0), "stock:{17}:4369");
    assert_view(call_part(call, 1), "b");
    assert_view(call_part(call, 2), "");
    assert_non_null(call_part(call, 2).at);
    assert_view(call_part(call, 3), "-15");
    assert_memory_equal(call_part(call, 4).at, "a\r\n\0$9", 6);
    assert_null(call_part(call, 5).at);
}

static void test_a_plain_command_begins_with_its_name(void **state)
{
    struct call *call = call_command(arena, "HMGET", 3);

    call_arg(call, VIEW("souk:shard"));
    assert_null(call->function);
    assert_int_equal(call->args, 2);
    assert_view(buffer_view(&call->body), "$5\r\nHMGET\r\n$10\r\nsouk:shard\r\n");
    assert_view(call_part(call, 0), "HMGET");
    assert_view(call_part(call, 1), "souk:shard");
}

static const struct {
    int64_t number;
    const char *text;
} integers[] = {
    {0, "0"},
    {1, "1"},
    {9, "9"},
    {10, "10"},
    {-1, "-1"},
    {9007199254740991, "9007199254740991"},
    {INT64_MAX, "9223372036854775807"},
    {INT64_MIN, "-9223372036854775808"},
};

static void test_integers(void **state)
{
    for (size_t i = 0; i < sizeof(integers) / sizeof(integers[0]); i++) {
        struct call *call = call_function(arena, &TRY, 0);

        call_arg_int(call, integers[i].number);
        assert_view(call_part(call, 0), integers[i].text);
    }
}

/* Lengths around the places where the number of digits, or the buffer, changes. */
static void test_lengths(void **state)
{
    static const size_t lengths[] = {0, 1, 9, 10, 99, 100, 127, 128, 255, 256, 257, 65536, 1000000};

    for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
        struct call *call = call_function(arena, &TRY, 0);
        char *text = arena_alloc(arena, lengths[i] + 1);

        memset(text, 'x', lengths[i]);
        call_arg(call, (struct view){text, lengths[i]});
        call_arg(call, VIEW("behind"));
        assert_view(call_part(call, 0), text);
        assert_view(call_part(call, 1), "behind");
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_a_new_call, setup, teardown),
        cmocka_unit_test_setup_teardown(test_keys_and_arguments_in_redis_encoding, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_plain_command_begins_with_its_name, setup, teardown),
        cmocka_unit_test_setup_teardown(test_integers, setup, teardown),
        cmocka_unit_test_setup_teardown(test_lengths, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
