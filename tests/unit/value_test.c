#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "value.h"

/* Reads a document from a block of exactly its size, so that AddressSanitizer sees a step too far. */
static const char *read_exactly(enum format format, struct arena *arena, struct view bytes, struct value *out)
{
    struct value again;
    char *block = malloc(bytes.len ? bytes.len : 1);
    const char *problem;

    memcpy(block, bytes.at, bytes.len);
    problem = value_read(format, arena, (struct view){block, bytes.len}, &again);
    free(block);
    assert_int_equal(!problem, !value_read(format, arena, bytes, out));
    return problem;
}

/* The document written again, compact: the shortest way to say what was read. */
static struct view as_json(struct arena *arena, const struct value *value)
{
    struct writer writer;

    writer_init(&writer, FORMAT_JSON, arena);
    writer_value(&writer, value);
    return writer_done(&writer);
}

struct good_case {
    struct view bytes;
    const char *want;
};
#define GOOD(bytes, want) \
    { \
        {"" bytes "", sizeof(bytes) - 1}, want \
    }

struct bad_case {
    struct view bytes;
    const char *part; /* of the message */
};
#define BAD(bytes, part) \
    { \
        {"" bytes "", sizeof(bytes) - 1}, part \
    }

static void check_good(enum format format, const struct good_case *cases, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        struct arena *arena = arena_new();
        struct value value;
        const char *problem = read_exactly(format, arena, cases[i].bytes, &value);

        print_message("%s %s\n", cases[i].want, problem ? problem : "");
        assert_null(problem);
        assert_string_equal(arena_copy(arena, as_json(arena, &value)).at, cases[i].want);
        arena_free(arena);
    }
}

static void check_bad(enum format format, const struct bad_case *cases, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        struct arena *arena = arena_new();
        struct value value;
        const char *problem = read_exactly(format, arena, cases[i].bytes, &value);

        print_message("%.*s: %s\n", VIEW_ARG(cases[i].bytes), problem ? problem : "accepted");
        assert_non_null(problem);
        assert_non_null(strstr(problem, cases[i].part));
        arena_free(arena);
    }
}

static void test_json_is_read(void **state)
{
    static const struct good_case cases[] = {
        GOOD("null", "null"),
        GOOD("true", "true"),
        GOOD(" false ", "false"),
        GOOD("0", "0"),
        GOOD("-0", "0"),
        GOOD("-17", "-17"),
        GOOD("\"\"", "\"\""),
        GOOD("[]", "[]"),
        GOOD("{}", "{}"),
        GOOD("[ ]\n", "[]"),
        GOOD("[1,[2,{\"a\":[]}],3]", "[1,[2,{\"a\":[]}],3]"),
        GOOD("{\"b\":1,\"a\":2}", "{\"b\":1,\"a\":2}"),
        GOOD("9223372036854775807", "9223372036854775807"),
        GOOD("-9223372036854775808", "-9223372036854775808"),
        GOOD("9223372036854775808", "9223372036854775808"),
        GOOD("-9223372036854775809", "-9223372036854775809"),
        GOOD("123456789012345678901234567890", "123456789012345678901234567890"),
        GOOD("1e2", "1e2"),
        GOOD("19.90", "19.90"),
        GOOD("19.999", "19.999"),
        GOOD("1e400", "1e400"),
        GOOD("[1E+5,-0.0,2,3.50,-1e-999]", "[1E+5,-0.0,2,3.50,-1e-999]"),
        GOOD("{\"x\":\"1.5\",\"y\":2.5,\"1.25\":\"\\\"3.5\",\"z\":[4.5,5]}", "{\"x\":\"1.5\",\"y\":2.5,\"1.25\":\"\\\"3.5\",\"z\":[4.5,5]}"),
        GOOD("\"\\u00e9\\ud83d\\ude00\\/\\n\"", "\"\xc3\xa9\xf0\x9f\x98\x80/\\n\""),
        GOOD("\"\xf4\x8f\xbf\xbf\"", "\"\xf4\x8f\xbf\xbf\""),
        GOOD("[[[[[[[[8]]]]]]]]", "[[[[[[[[8]]]]]]]]"),
    };

    check_good(FORMAT_JSON, cases, sizeof(cases) / sizeof(cases[0]));
}

static void test_bad_json_is_refused(void **state)
{
    static const struct bad_case cases[] = {
        BAD("", "empty"),
        BAD("  ", "line 1"),
        BAD("{", "line 1"),
        BAD("[1,]", "line 1"),
        BAD("{\"a\":}", "'}' at line 1, column 6"),
        BAD("[1 2]", "line 1"),
        BAD("{\"a\":1,\"a\":2}", "duplicate"),
        BAD("{} {}", "end of file expected"),
        BAD("1 x", "end of file"),
        BAD("nul", "line 1"),
        BAD("tru\0e", "line 1"),
        BAD("01", "malformed number at line 1, column 1"),
        BAD("[1.]", "malformed number at line 1, column 2"),
        BAD("\n[-]", "malformed number at line 2, column 2"),
        BAD("1e", "malformed number"),
        BAD("1.5.5", "malformed number"),
        BAD("1-2", "malformed number"),
        BAD("1.e5", "malformed number"),
        BAD("0x10", "line 1"),
        BAD(".5", "line 1"),
        BAD("+1", "line 1"),
        BAD("NaN", "line 1"),
        BAD("Infinity", "line 1"),
        BAD("-Infinity", "malformed number"),
        BAD("1.5a", "line 1"),
        BAD("\"a", "line 1"),
        BAD("\"a\\", "line 1"),
        BAD("\"\n\"", "line 1"),
        BAD("\"\\x\"", "line 1"),
        BAD("'a'", "line 1"),
        BAD("\"\xff\"", "line 1"),
        BAD("\"\xc0\x80\"", "line 1"),
        BAD("\"\xed\xa0\x80\"", "line 1"),
        BAD("\"\\ud800\"", "line 1"),
        BAD("\"\\u0000\"", "U+0000"),
        BAD("{\"\\u0000\":1}", "U+0000"),
        BAD("\"\0\"", "line 1"),
        BAD("\xef\xbb\xbf{}", "line 1"),
        BAD("[[[[[[[[[9]]]]]]]]]", "nested deeper than 8 levels at line 1, column 9"),
        BAD("]]]]", "line 1"),
        BAD("{1:2}", "line 1"),
        BAD("[1.5,:]", "line 1"),
        BAD("/**/1", "line 1"),
        BAD("[1 2.5]", "']' expected at line 1, column"),
    };

    check_bad(FORMAT_JSON, cases, sizeof(cases) / sizeof(cases[0]));
}

static void test_messagepack_is_read(void **state)
{
    static const struct good_case cases[] = {
        GOOD("\xc0", "null"),
        GOOD("\xc2", "false"),
        GOOD("\xc3", "true"),
        GOOD("\x00", "0"),
        GOOD("\x7f", "127"),
        GOOD("\xff", "-1"),
        GOOD("\xe0", "-32"),
        GOOD("\xcc\xff", "255"),
        GOOD("\xcd\xff\xff", "65535"),
        GOOD("\xce\xff\xff\xff\xff", "4294967295"),
        GOOD("\xcf\x7f\xff\xff\xff\xff\xff\xff\xff", "9223372036854775807"),
        GOOD("\xcf\x80\x00\x00\x00\x00\x00\x00\x00", "9223372036854775808"),
        GOOD("\xcf\xff\xff\xff\xff\xff\xff\xff\xff", "18446744073709551615"),
        GOOD("\xd0\x80", "-128"),
        GOOD("\xd1\x80\x00", "-32768"),
        GOOD("\xd2\x80\x00\x00\x00", "-2147483648"),
        GOOD("\xd3\x80\x00\x00\x00\x00\x00\x00\x00", "-9223372036854775808"),
        GOOD("\xcb\x40\x33\xe6\x66\x66\x66\x66\x66", "19.9"),
        GOOD("\xca\x41\x9f\x33\x33", "19.9"),
        GOOD("\xcb\x3f\xd3\x33\x33\x33\x33\x33\x34", "0.30000000000000004"),
        GOOD("\xcb\x7f\xef\xff\xff\xff\xff\xff\xff", "1.7976931348623157e+308"),
        GOOD("\xa0", "\"\""),
        GOOD("\xa3"
             "abc",
             "\"abc\""),
        GOOD("\xd9\x01"
             "x",
             "\"x\""),
        GOOD("\xda\x00\x01"
             "x",
             "\"x\""),
        GOOD("\xdb\x00\x00\x00\x01"
             "x",
             "\"x\""),
        GOOD("\x90", "[]"),
        GOOD("\x80", "{}"),
        GOOD("\x92\x01\x91\x02", "[1,[2]]"),
        GOOD("\xdc\x00\x01\x05", "[5]"),
        GOOD("\xdd\x00\x00\x00\x01\x05", "[5]"),
        GOOD("\x82\xa1"
             "b\x01\xa1"
             "a\x02",
             "{\"b\":1,\"a\":2}"),
        GOOD("\xde\x00\x01\xa1"
             "b\x01",
             "{\"b\":1}"),
        GOOD("\xdf\x00\x00\x00\x01\xd9\x01"
             "b\xc0",
             "{\"b\":null}"),
        GOOD("\x91\x91\x91\x91\x91\x91\x91\x91\x08", "[[[[[[[[8]]]]]]]]"),
    };

    check_good(FORMAT_MSGPACK, cases, sizeof(cases) / sizeof(cases[0]));
}

static void test_bad_messagepack_is_refused(void **state)
{
    static const struct bad_case cases[] = {
        BAD("", "empty"),
        BAD("\xc1", "does not use"),
        BAD("\x01\x02", "something follows"),
        BAD("\xdd\xff\xff\xff\xff", "announces more"),
        BAD("\xdf\xff\xff\xff\xff", "announces more"),
        BAD("\xdf\xff\xff\xff\xff\xa1", "announces more"),
        BAD("\x81\xa1"
            "a",
            "ends early"),
        BAD("\x91", "announces more"),
        BAD("\xdb\xff\xff\xff\xff", "ends early"),
        BAD("\xa2"
            "a",
            "ends early"),
        BAD("\xcd\x01", "ends early"),
        BAD("\xda\x01", "ends early"),
        BAD("\xdc", "ends early"),
        BAD("\xcb\x40", "ends early"),
        BAD("\xa1\xff", "not UTF-8"),
        BAD("\xa2\xc3\x28", "not UTF-8"),
        BAD("\xa3\xed\xa0\x80", "not UTF-8"),
        BAD("\xa2\xc0\x80", "not UTF-8"),
        BAD("\xa1\0", "U+0000"),
        BAD("\xc4\x01\x00", "binary"),
        BAD("\xc5\x00\x01\x00", "binary"),
        BAD("\xc6\x00\x00\x00\x01\x00", "binary"),
        BAD("\xd4\x01\x00", "extension"),
        BAD("\xd8\x01", "extension"),
        BAD("\xc7\x00\x01", "extension"),
        BAD("\xc9\x00\x00\x00\x00\x01", "extension"),
        BAD("\xd6\xff\x00\x00\x00\x00", "extension"),
        BAD("\x81\x01\x02", "name is not a text"),
        BAD("\x82\xa1"
            "a\x01\xa1"
            "a\x02",
            "duplicate member name 'a'"),
        BAD("\x82\xa0\x01\xd9\x00\x02", "duplicate"),
        BAD("\xcb\x7f\xf0\x00\x00\x00\x00\x00\x00", "not finite"),
        BAD("\xcb\x7f\xf8\x00\x00\x00\x00\x00\x00", "not finite"),
        BAD("\xca\x7f\x80\x00\x00", "not finite"),
        BAD("\x91\x91\x91\x91\x91\x91\x91\x91\x91\x09", "nested deeper than 8 levels"),
    };

    check_bad(FORMAT_MSGPACK, cases, sizeof(cases) / sizeof(cases[0]));
}

/* ${items} ones in a list, in either format. */
static struct view list_of(struct arena *arena, enum format format, size_t items)
{
    struct writer writer;

    writer_init(&writer, format, arena);
    writer_list(&writer, items);
    for (size_t i = 0; i < items; i++)
        writer_int(&writer, 1);
    writer_end(&writer);
    return writer_done(&writer);
}

/* ${members} members with distinct names in a map. */
static struct view map_of(struct arena *arena, enum format format, size_t members)
{
    struct writer writer;

    writer_init(&writer, format, arena);
    writer_map(&writer, members);
    for (size_t i = 0; i < members; i++) {
        writer_name(&writer, arena_printf(arena, "m%zu", i));
        writer_money(&writer, (int64_t)i, 2);
    }
    writer_end(&writer);
    return writer_done(&writer);
}

static void test_values_are_counted(void **state)
{
    for (enum format format = FORMAT_JSON; format <= FORMAT_MSGPACK; format++) {
        struct arena *arena = arena_new();
        struct value value;

        assert_null(value_read(format, arena, list_of(arena, format, VALUE_NODES_MAX - 1), &value));
        assert_int_equal(value.list.count, VALUE_NODES_MAX - 1);
        assert_non_null(strstr(value_read(format, arena, list_of(arena, format, VALUE_NODES_MAX), &value), "more than 65536 values"));
        assert_null(value_read(format, arena, map_of(arena, format, VALUE_NODES_MAX - 1), &value));
        assert_int_equal(value.map.count, VALUE_NODES_MAX - 1);
        assert_non_null(strstr(value_read(format, arena, map_of(arena, format, VALUE_NODES_MAX), &value), "more than 65536 values"));
        arena_free(arena);
    }
}

static void test_members_are_found(void **state)
{
    struct arena *arena = arena_new();
    struct value value;

    assert_null(value_read(FORMAT_JSON, arena, VIEW("{\"a\":1,\"bc\":[2.50],\"\":null}"), &value));
    assert_int_equal(value_get(&value, "a")->integer, 1);
    assert_int_equal(value_get(&value, "")->kind, VALUE_NULL);
    assert_null(value_get(&value, "b"));
    assert_null(value_get(value_get(&value, "bc"), "a"));
    assert_null(value_get(NULL, "a"));
    assert_int_equal(value_get(&value, "bc")->list.items[0].kind, VALUE_DECIMAL);
    assert_true(view_equal(value_get(&value, "bc")->list.items[0].text, VIEW("2.50")));
    arena_free(arena);
}

/* Every document cut off anywhere, and with any one byte changed, is read or refused without a step beyond it. */
static void damage(enum format format, struct view bytes)
{
    char copy[256];

    assert_true(bytes.len <= sizeof(copy));
    for (size_t i = 0; i < bytes.len; i++) {
        for (int byte = 0; byte < 256; byte += 3) {
            struct arena *arena = arena_new();
            struct value value;

            memcpy(copy, bytes.at, bytes.len);
            copy[i] = (char)byte;
            read_exactly(format, arena, (struct view){copy, bytes.len}, &value);
            if (byte == 0)
                assert_non_null(read_exactly(format, arena, (struct view){bytes.at, i}, &value));
            arena_free(arena);
        }
    }
}

static void test_damaged_documents(void **state)
{
    static const char json[] = "{\"id\":17,\"price\":19.90,\"name\":\"\\u00e9t\\\"\xc3\xa9\","
                               "\"tags\":[true,null,{\"x\":-1e-5}],\"big\":12345678901234567890}";
    struct arena *arena = arena_new();
    struct writer writer;
    struct value value;

    assert_null(value_read(FORMAT_JSON, arena, view_of(json), &value));
    damage(FORMAT_JSON, view_of(json));
    writer_init(&writer, FORMAT_MSGPACK, arena);
    writer_value(&writer, &value);
    damage(FORMAT_MSGPACK, writer_done(&writer));
    arena_free(arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_json_is_read),        cmocka_unit_test(test_bad_json_is_refused),
        cmocka_unit_test(test_messagepack_is_read), cmocka_unit_test(test_bad_messagepack_is_refused),
        cmocka_unit_test(test_values_are_counted),  cmocka_unit_test(test_members_are_found),
        cmocka_unit_test(test_damaged_documents),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);

    arena_thread_end();
    return failed;
}
