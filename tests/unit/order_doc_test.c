#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "records.h"

/*
 * order_doc_lines against record_load, which it must agree with about everything: documents as they are written, and each of them with each byte
 * changed, with each byte left out, and cut off behind each byte.
 */
#define LINES_MAX 20

static struct view document(struct arena *arena, size_t lines, const char *name, int64_t number, bool tracking)
{
    struct order_line line[LINES_MAX];
    struct order_doc doc = {.schema = SCHEMA, .lines = {line, lines}, .tracking = VIEW("T1"), .has_tracking = tracking};

    for (size_t i = 0; i < lines; i++)
        line[i] = (struct order_line){
            .product_id = number + (int64_t)i, .quantity = number, .price = number - 1, .product_version = number, .name = view_of(name)};
    return record_store(&ORDER_DOC, arena, &doc);
}

/* Do both say the same? Returns what they say. */
static bool compare(struct view bytes)
{
    struct arena *arena = arena_new();
    struct order_doc doc = {0};
    struct items lines = {0};
    bool want = record_load(&ORDER_DOC, arena, bytes, &doc), got = order_doc_lines(arena, bytes, &lines);
    const struct order_line *a = doc.lines.at, *b = lines.at;

    assert_int_equal(got, want);
    if (want)
        assert_int_equal(lines.count, doc.lines.count);
    for (size_t i = 0; want && i < lines.count; i++) {
        assert_int_equal(b[i].product_id, a[i].product_id);
        assert_int_equal(b[i].quantity, a[i].quantity);
        assert_int_equal(b[i].price, a[i].price);
        assert_int_equal(b[i].product_version, a[i].product_version);
        assert_true(view_equal(b[i].name, a[i].name));
    }
    arena_free(arena);
    return want;
}

static void test_documents(void **state)
{
    static const struct {
        const char *title;
        size_t lines;
        const char *name;
        int64_t number;
        bool tracking, good;
    } cases[] = {
        {"one line", 1, "Lamp", 1, false, true},
        {"two lines", 2, "Lamp", 127, false, true},
        {"as many as a short list has", 15, "Lamp", 128, false, true},
        {"one more", 16, "Lamp", 255, false, true},
        {"numbers of two bytes", 1, "Lamp", 65535, false, true},
        {"of four", 1, "Lamp", 4294967295, false, true},
        {"of eight", 1, "Lamp", 4294967296, false, true},
        {"the largest", 1, "Lamp", 9007199254740991, false, true},
        {"too large", 1, "Lamp", 9007199254740992, false, false},
        {"none", 1, "Lamp", 0, false, false},
        {"no lines", 0, "Lamp", 1, false, false},
        {"no name", 1, "", 1, false, false},
        {"a name of 32 bytes", 1, "Lamp Lamp Lamp Lamp Lamp Lamp 32", 1, false, true},
        {"a name that is not ASCII", 1, "L\xc3\xa4mpchen", 1, false, true},
        {"with tracking", 1, "Lamp", 1, true, true},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct arena *arena = arena_new();
        print_message("%s\n", cases[i].title);
        assert_int_equal(compare(document(arena, cases[i].lines, cases[i].name, cases[i].number, cases[i].tracking)), cases[i].good);
        arena_free(arena);
    }
}

static void test_damage(void **state)
{
    struct arena *arena = arena_new();
    struct view whole = document(arena, 2, "Lamp", 300, false);
    char *bytes = (char *)arena_copy(arena, whole).at;
    size_t good = 0;

    for (size_t at = 0; at < whole.len; at++) {
        for (unsigned byte = 0; byte < 256; byte++) {
            bytes[at] = (char)byte;
            good += compare((struct view){bytes, whole.len});
        }
        bytes[at] = whole.at[at];
        compare((struct view){bytes, at});
    }
    assert_true(good > whole.len); /* digits and letters may be others */
    for (size_t at = 0; at + 1 < whole.len; at++) {
        memcpy(bytes, whole.at, at);
        memcpy(bytes + at, whole.at + at + 1, whole.len - at - 1);
        compare((struct view){bytes, whole.len - 1});
    }
    arena_free(arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_documents), cmocka_unit_test(test_damage)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
