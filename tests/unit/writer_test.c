#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "value.h"

static void write_everything(struct writer *writer)
{
    static const struct value decimal = {.kind = VALUE_DECIMAL, .text = {"1.500", 5}};

    writer_map(writer, 11);
    WRITER_INT(writer, "least", INT64_MIN);
    WRITER_INT(writer, "most", INT64_MAX);
    WRITER_TEXT(writer, "text", VIEW("a"));
    WRITER_BOOL(writer, "yes", true);
    WRITER_BOOL(writer, "no", false);
    WRITER_MONEY(writer, "price", 1990, 2);
    WRITER_TIME(writer, "at", 0);
    writer_name(writer, VIEW("none"));
    writer_null(writer);
    writer_name(writer, VIEW("empty"));
    writer_list(writer, 0);
    writer_end(writer);
    writer_name(writer, VIEW("list"));
    writer_list(writer, 3);
    writer_int(writer, 1);
    writer_map(writer, 0);
    writer_end(writer);
    writer_text(writer, VIEW(""));
    writer_end(writer);
    writer_name(writer, VIEW("decimal"));
    writer_value(writer, &decimal);
    writer_end(writer);
}

static void test_every_kind_in_json(void **state)
{
    struct arena *arena = arena_new();
    struct writer writer;

    writer_init(&writer, FORMAT_JSON, arena);
    write_everything(&writer);
    assert_string_equal(arena_copy(arena, writer_done(&writer)).at,
                        "{\"least\":-9223372036854775808,\"most\":9223372036854775807,\"text\":\"a\",\"yes\":true,\"no\":false,\"price\":19.90,"
                        "\"at\":\"1970-01-01T00:00:00.000Z\",\"none\":null,\"empty\":[],\"list\":[1,{},\"\"],\"decimal\":1.500}");
    arena_free(arena);
}

static void test_messagepack_says_the_same(void **state)
{
    struct arena *arena = arena_new();
    struct writer packed, back;
    struct value value;

    writer_init(&packed, FORMAT_MSGPACK, arena);
    write_everything(&packed);
    assert_null(value_read(FORMAT_MSGPACK, arena, writer_done(&packed), &value));
    writer_init(&back, FORMAT_JSON, arena);
    writer_value(&back, &value);
    assert_string_equal(arena_copy(arena, writer_done(&back)).at,
                        "{\"least\":-9223372036854775808,\"most\":9223372036854775807,\"text\":\"a\",\"yes\":true,\"no\":false,\"price\":19.9,"
                        "\"at\":\"1970-01-01T00:00:00.000Z\",\"none\":null,\"empty\":[],\"list\":[1,{},\"\"],\"decimal\":1.5}");
    arena_free(arena);
}

static void test_texts_are_escaped(void **state)
{
    static const struct {
        struct view text;
        const char *want;
    } cases[] = {
        {{"", 0}, "\"\""},
        {{NULL, 0}, "\"\""},
        {{"a\"b\\c/", 6}, "\"a\\\"b\\\\c/\""},
        {{"\b\f\n\r\t", 5}, "\"\\b\\f\\n\\r\\t\""},
        {{"\0\x01\x1f\x7f", 4}, "\"\\u0000\\u0001\\u001f\x7f\""},
        {{"\xc3\xa9\xf0\x9f\x98\x80", 6}, "\"\xc3\xa9\xf0\x9f\x98\x80\""},
        {{"\xff", 1}, "\"\xef\xbf\xbd\""},
        {{"a\xc3", 2}, "\"a\xef\xbf\xbd\""},
        {{"\xc3(b\xf0\x9f", 5}, "\"\xef\xbf\xbd(b\xef\xbf\xbd\xef\xbf\xbd\""},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct arena *arena = arena_new();
        struct writer json, packed;
        struct value value;

        writer_init(&json, FORMAT_JSON, arena);
        writer_text(&json, cases[i].text);
        assert_string_equal(arena_copy(arena, writer_done(&json)).at, cases[i].want);
        writer_init(&packed, FORMAT_MSGPACK, arena);
        writer_text(&packed, cases[i].text);
        if (!cases[i].text.at || !memchr(cases[i].text.at, '\0', cases[i].text.len))
            assert_null(value_read(FORMAT_MSGPACK, arena, writer_done(&packed), &value));
        arena_free(arena);
    }
}

static void test_money_in_both_formats(void **state)
{
    static const struct {
        int64_t amount;
        int digits;
        const char *json, *packed; /* as JSON again */
    } cases[] = {
        {0, 2, "0.00", "0"},
        {1, 2, "0.01", "0.01"},
        {1990, 2, "19.90", "19.9"},
        {1990, 0, "1990", "1990"},
        {1234, 3, "1.234", "1.234"},
        {999999999999999, 2, "9999999999999.99", "9999999999999.99"},
        {9007199254740991, 0, "9007199254740991", "9007199254740991"},
        {-5, 2, "-0.05", "-0.05"},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct arena *arena = arena_new();
        struct writer json, packed;
        struct value value;

        writer_init(&json, FORMAT_JSON, arena);
        writer_money(&json, cases[i].amount, cases[i].digits);
        assert_string_equal(arena_copy(arena, writer_done(&json)).at, cases[i].json);
        writer_init(&packed, FORMAT_MSGPACK, arena);
        writer_money(&packed, cases[i].amount, cases[i].digits);
        assert_null(value_read(FORMAT_MSGPACK, arena, writer_done(&packed), &value));
        assert_int_equal(value.kind, VALUE_DECIMAL);
        assert_string_equal(arena_copy(arena, value.text).at, cases[i].packed);
        arena_free(arena);
    }
}

/* JSON → MessagePack → JSON, as attributes of a product travel. */
static void test_decimals_through_messagepack(void **state)
{
    static const struct {
        const char *json, *want;
    } cases[] = {
        {"19.999", "19.999"},
        {"0.1", "0.1"},
        {"1e2", "100"},
        {"1.10", "1.1"},
        {"9223372036854775808", "9223372036854775808"},
        {"18446744073709551615", "18446744073709551615"},
        {"18446744073709551616", "1.8446744073709552e+19"},
        {"-9223372036854775809", "-9.223372036854776e+18"},
        {"1e400", "\"1e400\""},
        {"-1e400", "\"-1e400\""},
        {"1e-400", "0"},
        {"[2.5,{\"a\":1e-7}]", "[2.5,{\"a\":1e-07}]"},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct arena *arena = arena_new();
        struct writer packed, back;
        struct value value, again;

        assert_null(value_read(FORMAT_JSON, arena, view_of(cases[i].json), &value));
        writer_init(&packed, FORMAT_MSGPACK, arena);
        writer_value(&packed, &value);
        assert_null(value_read(FORMAT_MSGPACK, arena, writer_done(&packed), &again));
        writer_init(&back, FORMAT_JSON, arena);
        writer_value(&back, &again);
        assert_string_equal(arena_copy(arena, writer_done(&back)).at, cases[i].want);
        arena_free(arena);
    }
}

static void forget_a_member(struct writer *writer)
{
    writer_map(writer, 2);
    WRITER_INT(writer, "a", 1);
    writer_end(writer);
}

static void write_one_too_many(struct writer *writer)
{
    writer_list(writer, 1);
    writer_int(writer, 1);
    writer_int(writer, 2);
}

static void forget_a_name(struct writer *writer)
{
    writer_map(writer, 1);
    writer_int(writer, 1);
}

static void forget_a_value(struct writer *writer)
{
    writer_map(writer, 1);
    writer_name(writer, VIEW("a"));
    writer_end(writer);
}

static void leave_open(struct writer *writer)
{
    writer_list(writer, 0);
    writer_done(writer);
}

static void write_two(struct writer *writer)
{
    writer_int(writer, 1);
    writer_int(writer, 2);
}

static void write_nothing(struct writer *writer)
{
    writer_done(writer);
}

static void nest_too_deep(struct writer *writer)
{
    for (int i = 0; i < VALUE_DEPTH_MAX + 3; i++)
        writer_list(writer, 1);
}

static void test_misuse_stops_the_process(void **state)
{
    static void (*const misuses[])(struct writer * writer) = {
        forget_a_member, write_one_too_many, forget_a_name, forget_a_value, leave_open, write_two, write_nothing, nest_too_deep,
    };

    for (size_t i = 0; i < 2 * sizeof(misuses) / sizeof(misuses[0]); i++) {
        pid_t child = fork();
        int status = 0;

        assert_true(child >= 0);
        if (child == 0) {
            struct writer writer;

            close(STDERR_FILENO);
            signal(SIGABRT, SIG_DFL);
            writer_init(&writer, i % 2 ? FORMAT_JSON : FORMAT_MSGPACK, arena_new());
            misuses[i / 2](&writer);
            _exit(0);
        }
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_kind_in_json),
        cmocka_unit_test(test_messagepack_says_the_same),
        cmocka_unit_test(test_texts_are_escaped),
        cmocka_unit_test(test_money_in_both_formats),
        cmocka_unit_test(test_decimals_through_messagepack),
        cmocka_unit_test(test_misuse_stops_the_process),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);

    arena_thread_end();
    return failed;
}
