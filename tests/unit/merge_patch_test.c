#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "merge_patch.h"

static struct value read_json(struct arena *arena, const char *text)
{
    struct value value;
    assert_null(value_read(FORMAT_JSON, arena, view_of(text), &value));
    return value;
}

/* The first rows are those of RFC 7396, appendix A. */
static void test_merge(void **state)
{
    static const struct {
        const char *target, *patch, *want;
    } cases[] = {
        {"{\"a\":\"b\"}", "{\"a\":\"c\"}", "{\"a\":\"c\"}"},
        {"{\"a\":\"b\"}", "{\"b\":\"c\"}", "{\"a\":\"b\",\"b\":\"c\"}"},
        {"{\"a\":\"b\"}", "{\"a\":null}", "{}"},
        {"{\"a\":\"b\",\"b\":\"c\"}", "{\"a\":null}", "{\"b\":\"c\"}"},
        {"{\"a\":[\"b\"]}", "{\"a\":\"c\"}", "{\"a\":\"c\"}"},
        {"{\"a\":\"c\"}", "{\"a\":[\"b\"]}", "{\"a\":[\"b\"]}"},
        {"{\"a\":{\"b\":\"c\"}}", "{\"a\":{\"b\":\"d\",\"c\":null}}", "{\"a\":{\"b\":\"d\"}}"},
        {"{\"a\":[{\"b\":\"c\"}]}", "{\"a\":[1]}", "{\"a\":[1]}"},
        {"[\"a\",\"b\"]", "[\"c\",\"d\"]", "[\"c\",\"d\"]"},
        {"{\"a\":\"b\"}", "[\"c\"]", "[\"c\"]"},
        {"{\"a\":\"foo\"}", "null", "null"},
        {"{\"a\":\"foo\"}", "\"bar\"", "\"bar\""},
        {"{\"e\":null}", "{\"a\":1}", "{\"e\":null,\"a\":1}"},
        {"[1,2]", "{\"a\":\"b\",\"c\":null}", "{\"a\":\"b\"}"},
        {"{}", "{\"a\":{\"bb\":{\"ccc\":null}}}", "{\"a\":{\"bb\":{}}}"},
        {"{}", "{}", "{}"},
        {"{\"a\":1}", "{}", "{\"a\":1}"},
        {"{\"x\":0.10,\"y\":1e400}", "{\"z\":19.990}", "{\"x\":0.10,\"y\":1e400,\"z\":19.990}"},
        {"{\"b\":1,\"a\":2,\"\":3}", "{\"\":4,\"c\":5,\"b\":6}", "{\"b\":6,\"a\":2,\"\":4,\"c\":5}"},
        {"{\"ab\":1,\"a\":2}", "{\"a\":null}", "{\"ab\":1}"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct arena *arena = arena_new();
        struct value target = read_json(arena, cases[i].target), patch = read_json(arena, cases[i].patch), merged;
        struct writer writer;
        print_message("%s with %s\n", cases[i].target, cases[i].patch);
        merge_patch(arena, &target, &patch, &merged);
        writer_init(&writer, FORMAT_JSON, arena);
        writer_value(&writer, &merged);
        assert_string_equal(arena_copy(arena, writer_done(&writer)).at, cases[i].want);
        arena_free(arena);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_merge),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
