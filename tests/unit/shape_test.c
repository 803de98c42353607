#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "shape.h"

struct line {
    int64_t product, quantity;
};
static const struct field line_fields[] = {
    {.name = "product_id", .type = FIELD_INT, .offset = offsetof(struct line, product), .required = true, .min = 1, .max = 9007199254740991},
    {.name = "quantity", .type = FIELD_INT, .offset = offsetof(struct line, quantity), .required = true, .min = 1, .max = 10000},
};
static const struct shape line_shape = {"line", line_fields, 2, sizeof(struct line)};

struct order {
    struct view user, capture, currency, total;
    int64_t free;
    bool gift, gift_given, total_given, free_given, lines_given, extra_given;
    struct items lines;
    struct value extra;
};
static const struct field order_fields[] = {
    {.name = "user", .type = FIELD_TEXT, .offset = offsetof(struct order, user), .required = true, .min = 1, .max = 8},
    {.name = "capture", .type = FIELD_TEXT, .offset = offsetof(struct order, capture), .choices = "automatic|manual"},
    {.name = "currency", .type = FIELD_TEXT, .offset = offsetof(struct order, currency), .min = 3, .max = 3},
    {.name = "total", .type = FIELD_MONEY_TEXT, .offset = offsetof(struct order, total), .given = offsetof(struct order, total_given)},
    {.name = "free", .type = FIELD_INT, .offset = offsetof(struct order, free), .given = offsetof(struct order, free_given)},
    {.name = "gift", .type = FIELD_BOOL, .offset = offsetof(struct order, gift), .given = offsetof(struct order, gift_given)},
    {.name = "items",
     .type = FIELD_LIST,
     .offset = offsetof(struct order, lines),
     .given = offsetof(struct order, lines_given),
     .min = 1,
     .max = 3,
     .of = &line_shape},
    {.name = "a/b~c", .type = FIELD_ANY, .offset = offsetof(struct order, extra), .given = offsetof(struct order, extra_given)},
};
static const struct shape order_shape = {"order", order_fields, sizeof(order_fields) / sizeof(order_fields[0]), sizeof(struct order)};

static struct value parse(struct arena *arena, const char *json)
{
    struct value value;

    assert_null(value_read(FORMAT_JSON, arena, view_of(json), &value));
    return value;
}

static void test_a_document_is_bound(void **state)
{
    struct arena *arena = arena_new();
    struct value value =
        parse(arena, "{\"user\":\"\xc3\xa9va\",\"total\":19.90,\"gift\":true,\"capture\":\"manual\",\"currency\":\"USD\",\"free\":-5,"
                     "\"items\":[{\"product_id\":1,\"quantity\":10000},{\"quantity\":1,\"product_id\":9007199254740991}],\"a/b~c\":{\"x\":[1]}}");
    struct order order = {.gift = false};
    struct faults faults;
    const struct line *lines;

    faults_init(&faults, arena);
    assert_true(shape_read(&order_shape, &value, &order, arena, &faults));
    assert_int_equal(faults.count, 0);
    assert_true(view_equal(order.user, VIEW("\xc3\xa9va")));
    assert_true(view_equal(order.total, VIEW("19.90")));
    assert_true(order.gift && order.gift_given && order.total_given && order.free_given && order.lines_given && order.extra_given);
    assert_int_equal(order.free, -5);
    assert_int_equal(order.lines.count, 2);
    lines = order.lines.at;
    assert_int_equal(lines[0].quantity, 10000);
    assert_int_equal(lines[1].product, 9007199254740991);
    assert_int_equal(value_get(&order.extra, "x")->list.count, 1);
    arena_free(arena);
}

static void test_absent_and_null_are_the_same(void **state)
{
    static const char *const cases[] = {
        "{\"user\":\"u\"}",
        "{\"user\":\"u\",\"total\":null,\"gift\":null,\"items\":null,\"a/b~c\":null,\"free\":null,\"capture\":null,\"currency\":null}",
    };

    for (size_t i = 0; i < 2; i++) {
        struct arena *arena = arena_new();
        struct value value = parse(arena, cases[i]);
        struct order order = {.gift = false};
        struct faults faults;

        faults_init(&faults, arena);
        assert_true(shape_read(&order_shape, &value, &order, arena, &faults));
        assert_false(order.gift_given || order.total_given || order.free_given || order.lines_given || order.extra_given);
        assert_null(order.total.at);
        assert_int_equal(order.lines.count, 0);
        arena_free(arena);
    }
}

static void test_money_from_numbers_and_texts(void **state)
{
    static const struct {
        const char *json, *want;
    } cases[] = {
        {"19", "19"}, {"19.90", "19.90"}, {"\"19.90\"", "19.90"}, {"1e2", "1e2"}, {"-1", "-1"}, {"99999999999999999999", "99999999999999999999"},
        {"\"\"", ""},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct arena *arena = arena_new();
        struct value value = parse(arena, arena_printf(arena, "{\"user\":\"u\",\"total\":%s}", cases[i].json).at);
        struct order order = {.gift = false};
        struct faults faults;

        faults_init(&faults, arena);
        assert_true(shape_read(&order_shape, &value, &order, arena, &faults));
        assert_true(view_equal(order.total, view_of(cases[i].want)));
        arena_free(arena);
    }
}

static void test_faults_say_where_and_what(void **state)
{
    static const struct {
        const char *json, *pointer, *message;
    } cases[] = {
        {"[]", "", "must be an object (order)"},
        {"{}", "/user", "is required"},
        {"{\"user\":null}", "/user", "is required"},
        {"{\"user\":\"\"}", "/user", "must be a text of 1 to 8 bytes"},
        {"{\"user\":\"123456789\"}", "/user", "must be a text of 1 to 8 bytes"},
        {"{\"user\":7}", "/user", "must be a text of 1 to 8 bytes"},
        {"{\"user\":\"a\\nb\"}", "/user", "must not hold control characters"},
        {"{\"user\":\"a\x7f\"}", "/user", "must not hold control characters"},
        {"{\"user\":\"u\",\"currency\":\"US\"}", "/currency", "must be a text of 3 bytes"},
        {"{\"user\":\"u\",\"capture\":\"manua\"}", "/capture", "must be one of: automatic, manual"},
        {"{\"user\":\"u\",\"capture\":1}", "/capture", "must be one of: automatic, manual"},
        {"{\"user\":\"u\",\"total\":true}", "/total", "must be an amount of money, such as 19.90"},
        {"{\"user\":\"u\",\"total\":\"1\\t\"}", "/total", "must not hold control characters"},
        {"{\"user\":\"u\",\"free\":1.5}", "/free", "must be an integer"},
        {"{\"user\":\"u\",\"gift\":1}", "/gift", "must be true or false"},
        {"{\"user\":\"u\",\"items\":{}}", "/items", "must be a list of 1 to 3 items"},
        {"{\"user\":\"u\",\"items\":[]}", "/items", "must be a list of 1 to 3 items"},
        {"{\"user\":\"u\",\"items\":[1,2,3,4]}", "/items", "must be a list of 1 to 3 items"},
        {"{\"user\":\"u\",\"items\":[null]}", "/items/0", "must be an object (line)"},
        {"{\"user\":\"u\",\"items\":[{\"product_id\":1,\"quantity\":0}]}", "/items/0/quantity", "must be an integer from 1 to 10000"},
        {"{\"user\":\"u\",\"items\":[{\"product_id\":1,\"quantity\":10001}]}", "/items/0/quantity", "must be an integer from 1 to 10000"},
        {"{\"user\":\"u\",\"items\":[{\"product_id\":1,\"quantity\":\"1\"}]}", "/items/0/quantity", "must be an integer from 1 to 10000"},
        {"{\"user\":\"u\",\"items\":[{\"product_id\":1,\"quantity\":1},{\"product_id\":1}]}", "/items/1/quantity", "is required"},
        {"{\"user\":\"u\",\"items\":[{\"product_id\":1,\"quantity\":1,\"x/~y\":1}]}", "/items/0/x~1~0y",
         "is not a member that is known here; known are: product_id, quantity"},
        {"{\"user\":\"u\",\"a/b~c\":[]}", "/a~1b~0c", "must be an object"},
        {"{\"user\":\"u\",\"\":1}", "/", "is not a member that is known here; known are: user, capture, currency, total, free, gift, items, a/b~c"},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct arena *arena = arena_new();
        struct value value = parse(arena, cases[i].json);
        struct order order = {.gift = false};
        struct faults faults;

        print_message("%s\n", cases[i].json);
        faults_init(&faults, arena);
        assert_false(shape_read(&order_shape, &value, &order, arena, &faults));
        assert_int_equal(faults.count, 1);
        assert_string_equal(arena_copy(arena, faults.first->pointer).at, cases[i].pointer);
        assert_string_equal(faults.first->message.at, cases[i].message);
        assert_null(faults.first->next);
        arena_free(arena);
    }
}

static void test_all_faults_are_found(void **state)
{
    struct arena *arena = arena_new();
    struct value value = parse(arena, "{\"gift\":1,\"free\":true,\"what\":0,\"items\":[{},{\"quantity\":0}]}");
    struct order order = {.gift = false};
    struct faults faults;

    faults_init(&faults, arena);
    faults_add(&faults, VIEW("/before"), "number %d", 1);
    assert_false(shape_read(&order_shape, &value, &order, arena, &faults));
    assert_int_equal(faults.count, 9);
    arena_free(arena);
}

static void test_32_faults_are_kept(void **state)
{
    struct arena *arena = arena_new();
    struct faults faults;
    size_t kept = 0;

    faults_init(&faults, arena);
    for (int i = 0; i < 1000; i++)
        faults_add(&faults, VIEW(""), "number %d", i);
    for (const struct fault *fault = faults.first; fault; fault = fault->next) {
        assert_string_equal(fault->message.at, arena_printf(arena, "number %zu", kept).at);
        kept++;
    }
    assert_int_equal(kept, 32);
    assert_int_equal(faults.count, 1000);
    arena_free(arena);
}

static void test_stored_documents(void **state)
{
    static const struct {
        const char *json;
        bool good;
    } cases[] = {
        {"{\"user\":\"u\",\"written by a newer version\":[1],\"items\":[{\"product_id\":1,\"quantity\":2,\"new\":1}]}", true},
        {"{\"user\":\"u\",\"items\":[{\"product_id\":1,\"quantity\":\"2\"}]}", false},
        {"{\"new\":1}", false},
        {"17", false},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct arena *arena = arena_new();
        struct value value = parse(arena, cases[i].json);
        struct order order = {.gift = false};

        assert_int_equal(shape_load(&order_shape, &value, &order, arena), cases[i].good);
        arena_free(arena);
    }
}

static void test_what_is_written_reads_back(void **state)
{
    for (enum format format = FORMAT_JSON; format <= FORMAT_MSGPACK; format++) {
        struct arena *arena = arena_new();
        struct line lines[2] = {{1, 2}, {3, 4}};
        struct order order = {.user = VIEW("u"), .capture = VIEW("manual"), .currency = VIEW("USD"), .lines_given = true, .lines = {lines, 2}},
                     back = {.gift = false};
        struct writer writer;
        struct value value;

        writer_init(&writer, format, arena);
        shape_write(&order_shape, &order, &writer);
        if (format == FORMAT_JSON) {
            assert_string_equal(arena_copy(arena, writer_done(&writer)).at,
                                "{\"user\":\"u\",\"capture\":\"manual\",\"currency\":\"USD\","
                                "\"items\":[{\"product_id\":1,\"quantity\":2},{\"product_id\":3,\"quantity\":4}]}");
        }
        assert_null(value_read(format, arena, writer_done(&writer), &value));
        assert_true(shape_load(&order_shape, &value, &back, arena));
        assert_int_equal(((struct line *)back.lines.at)[1].quantity, 4);
        assert_false(back.gift_given);
        arena_free(arena);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_document_is_bound),
        cmocka_unit_test(test_absent_and_null_are_the_same),
        cmocka_unit_test(test_money_from_numbers_and_texts),
        cmocka_unit_test(test_faults_say_where_and_what),
        cmocka_unit_test(test_all_faults_are_found),
        cmocka_unit_test(test_32_faults_are_kept),
        cmocka_unit_test(test_stored_documents),
        cmocka_unit_test(test_what_is_written_reads_back),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);

    arena_thread_end();
    return failed;
}
