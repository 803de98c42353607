#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "flow_driver.h"

#include "functions.h"

#include "writeback.h"

/*
 * The write-back buffer and its flush without I/O: what joins, what has room, what is written, dropped, and tried again.
 */
#define CUP "{\"schema\":1,\"name\":\"Cup\",\"price\":1099,\"currency\":\"USD\",\"attributes\":{\"a\":{\"x\":1}}}"

struct stage {
    struct driver *home, *driver; /* the topology's; the flush's, NULL: none */
    struct writeback *writeback;
    struct writeback_figures *figures;
};

static void set_up(struct stage *stage, size_t bytes)
{
    stage->home = driver_new();
    stage->driver = NULL;
    stage->writeback = writeback_new(driver_world(stage->home)->topology, bytes);
    assert_non_null(stage->writeback);
    stage->figures = writeback_figures(stage->writeback);
}

static void tear_down(struct stage *stage)
{
    writeback_free(stage->writeback);
    driver_free(stage->home);
}

static struct value read_json(struct arena *arena, const char *json)
{
    struct value value;
    assert_null(value_read(FORMAT_JSON, arena, view_of(json), &value));
    return value;
}

static bool put(struct stage *stage, int64_t id, const char *patch)
{
    struct arena *arena = arena_new();
    struct product_change change = {.drops_attributes = false};
    struct value document = read_json(arena, patch);
    struct faults faults;
    faults_init(&faults, arena);
    assert_true(change_read(&change, &document, &faults));
    bool taken = writeback_put(writeback_buffer_of(stage->writeback, id), id, &change, VIEW("req"));
    arena_free(arena);
    return taken;
}

static struct view doc_of(struct driver *driver, const char *json)
{
    struct value value = read_json(driver_arena(driver), json);
    struct writer writer;
    writer_init(&writer, FORMAT_MSGPACK, driver_arena(driver));
    writer_value(&writer, &value);
    return writer_done(&writer);
}

static const char *json_of(struct driver *driver, struct view msgpack)
{
    struct value value;
    struct writer writer;
    assert_null(value_read(FORMAT_MSGPACK, driver_arena(driver), msgpack, &value));
    writer_init(&writer, FORMAT_JSON, driver_arena(driver));
    writer_value(&writer, &value);
    return arena_copy(driver_arena(driver), writer_done(&writer)).at;
}

/* Starts the flush of the product's buffer, up to its reads. */
static void flush_begin(struct stage *stage, int64_t id)
{
    stage->driver = driver_new();
    writeback_flush_init(driver_flow(stage->driver, &WRITEBACK_FLUSH_FLOW, NULL), writeback_buffer_of(stage->writeback, id), 20);
    driver_go(stage->driver);
    assert_int_equal(driver_sleep_ms(stage->driver), 20);
    driver_wake(stage->driver);
}

static void flush_end(struct stage *stage, bool failed)
{
    driver_finish(stage->driver);
    assert_int_equal(writeback_flush_failed(driver_root(stage->driver)), failed);
    driver_free(stage->driver);
    stage->driver = NULL;
}

static struct call *next_read(struct stage *stage, const char *key)
{
    struct call *call = driver_next_call(stage->driver);
    assert_non_null(call);
    assert_string_equal(driver_part(stage->driver, call, 0), "HMGET");
    assert_string_equal(driver_part(stage->driver, call, 1), key);
    return call;
}

static struct call *next_write(struct stage *stage)
{
    struct call *call = driver_next_call(stage->driver);
    assert_non_null(call);
    assert_true(driver_calls(call, &FN_PRODUCT_REPLACE));
    return call;
}

static void assert_empty(struct stage *stage)
{
    assert_int_equal(stage->figures->bytes, 0);
    assert_int_equal(stage->figures->products, 0);
}

/* Price and name take each other's place, attributes are merged one after another; it is one read and one write. */
static void test_joined(void **state)
{
    struct stage stage;
    set_up(&stage, 100000);
    assert_true(put(&stage, 17, "{\"price\":5}"));
    assert_true(put(&stage, 17, "{\"price\":6,\"name\":\"Mug\"}"));
    assert_true(put(&stage, 17, "{\"price\":\"7.10\"}"));
    uint64_t joined = stage.figures->bytes;
    for (int i = 0; i < 1000; i++)
        assert_true(put(&stage, 17, "{\"price\":\"8.10\"}"));
    assert_int_equal(stage.figures->bytes, joined);
    assert_true(put(&stage, 17, "{\"attributes\":{\"a\":null}}"));
    assert_true(put(&stage, 17, "{\"attributes\":{\"a\":{\"y\":2}}}"));
    assert_true(put(&stage, 17, "{\"price\":9}"));
    assert_int_equal(stage.figures->products, 1);
    assert_int_equal(stage.figures->accepted, 1006);
    assert_int_equal(stage.figures->coalesced, 1005);
    flush_begin(&stage, 17);
    driver_reply(stage.driver, next_read(&stage, "product:{1}:17"), "7 %", doc_of(stage.driver, CUP));
    struct call *call = next_write(&stage);
    assert_string_equal(driver_part(stage.driver, call, 0), "products:{1}");
    assert_string_equal(driver_part(stage.driver, call, 2), "17");
    assert_string_equal(driver_part(stage.driver, call, 3), "7");
    assert_string_equal(json_of(stage.driver, call_part(call, 4)),
                        "{\"schema\":1,\"name\":\"Mug\",\"price\":900,\"currency\":\"USD\",\"attributes\":{\"a\":{\"y\":2}}}");
    assert_int_equal(call->also_count, 1);
    driver_reply(stage.driver, call, "0 '8'");
    flush_end(&stage, false);
    assert_int_equal(stage.figures->written, 1);
    assert_empty(&stage);
    tear_down(&stage);
}

/* Those of one partition are one call. */
static void test_many(void **state)
{
    struct stage stage;
    set_up(&stage, 1000000);
    for (int i = 0; i < 70; i++)
        assert_true(put(&stage, 17 + i * 16, "{\"price\":5}"));
    flush_begin(&stage, 17);
    for (int i = 0; i < 70; i++)
        driver_reply(stage.driver, driver_next_call(stage.driver), "7 %", doc_of(stage.driver, CUP));
    struct call *first = next_write(&stage), *second = next_write(&stage);
    assert_int_equal(first->args, 1 + 3 * 64);
    assert_int_equal(second->args, 1 + 3 * 6);
    assert_null(driver_next_call(stage.driver));
    driver_reply_kind(stage.driver, first, REPLY_UNKNOWN);
    driver_reply(stage.driver, second, "0 8 8 8 8 8 ''");
    flush_end(&stage, true);
    assert_int_equal(stage.figures->products, 65);
    assert_int_equal(stage.figures->written, 5);
    tear_down(&stage);
}

/* What was not written comes before what came meanwhile. What is read then decides: a write whose answer was lost needs no other. */
static void test_again(void **state)
{
    struct stage stage;
    set_up(&stage, 100000);
    assert_true(put(&stage, 17, "{\"price\":5,\"name\":\"Old\"}"));
    flush_begin(&stage, 17);
    struct call *read = next_read(&stage, "product:{1}:17");
    assert_true(put(&stage, 17, "{\"name\":\"New\"}"));
    driver_reply(stage.driver, read, "7 %", doc_of(stage.driver, CUP));
    driver_reply_kind(stage.driver, next_write(&stage), REPLY_UNKNOWN);
    flush_end(&stage, true);
    assert_int_equal(stage.figures->products, 1);
    flush_begin(&stage, 17);
    driver_reply(stage.driver, next_read(&stage, "product:{1}:17"), "7 %", doc_of(stage.driver, CUP));
    struct call *call = next_write(&stage);
    struct view written = arena_copy(driver_arena(stage.home), call_part(call, 4));
    assert_non_null(strstr(json_of(stage.driver, written), "\"name\":\"New\",\"price\":500,"));
    driver_reply_kind(stage.driver, call, REPLY_UNKNOWN);
    flush_end(&stage, true);
    flush_begin(&stage, 17);
    driver_reply(stage.driver, next_read(&stage, "product:{1}:17"), "8 %", written);
    assert_null(driver_next_call(stage.driver));
    flush_end(&stage, false);
    assert_int_equal(stage.figures->unchanged, 1);
    assert_empty(&stage);
    tear_down(&stage);
}

static void test_reads(void **state)
{
    static const struct {
        const char *name, *patch, *words, *doc; /* words NULL: not sent */
        unsigned dropped;
        bool again, writes;
    } cases[] = {
        {"deleted", "{\"price\":5}", "nil nil", NULL, 1, false, false},
        {"no answer", "{\"price\":5}", NULL, NULL, 0, true, false},
        {"damaged", "{\"price\":5}", "7 garbage", NULL, 1, false, false},
        {"another currency", "{\"price\":\"5.10\"}", "7 %", "{\"schema\":1,\"name\":\"x\",\"price\":5,\"currency\":\"JPY\"}", 1, false, false},
        {"as it is", "{\"price\":\"10.99\"}", "7 %", CUP, 0, false, false},
        {"attributes dropped", "{\"attributes\":null}", "7 %", CUP, 0, false, true},
        {"members of a newer version stay", "{\"price\":5}", "7 %", "{\"schema\":2,\"name\":\"x\",\"price\":5,\"currency\":\"USD\",\"new\":1}", 0,
         false, true},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct stage stage;
        print_message("%s\n", cases[i].name);
        set_up(&stage, 100000);
        assert_true(put(&stage, 17, cases[i].patch));
        flush_begin(&stage, 17);
        struct call *read = next_read(&stage, "product:{1}:17");
        if (cases[i].words)
            driver_reply(stage.driver, read, cases[i].words, cases[i].doc ? doc_of(stage.driver, cases[i].doc) : VIEW(""));
        else
            driver_reply_kind(stage.driver, read, REPLY_NOT_SENT);
        if (cases[i].writes)
            driver_reply(stage.driver, next_write(&stage), "0 8");
        assert_null(driver_next_call(stage.driver));
        flush_end(&stage, cases[i].again);
        assert_int_equal(stage.figures->dropped, cases[i].dropped);
        assert_int_equal(stage.figures->products, cases[i].again);
        tear_down(&stage);
    }
}

/* A change that cannot be made takes none of the others with it that it was not joined with. */
static void test_one_dropped(void **state)
{
    struct stage stage;
    set_up(&stage, 100000);
    assert_true(put(&stage, 17, "{\"attributes\":{\"b\":1}}"));
    assert_true(put(&stage, 17, "{\"price\":\"5.10\"}"));
    flush_begin(&stage, 17);
    driver_reply(stage.driver, next_read(&stage, "product:{1}:17"), "7 %",
                 doc_of(stage.driver, "{\"schema\":1,\"name\":\"x\",\"price\":5,\"currency\":\"JPY\"}"));
    struct call *call = next_write(&stage);
    assert_non_null(strstr(json_of(stage.driver, call_part(call, 4)), "\"price\":5,\"currency\":\"JPY\",\"attributes\":{\"b\":1}"));
    driver_reply(stage.driver, call, "0 8");
    flush_end(&stage, false);
    assert_int_equal(stage.figures->dropped, 1);
    tear_down(&stage);
}

/* Each shard has its share. What is being written counts until it is; a change that takes another's place needs no more room. */
static void test_room(void **state)
{
    struct stage stage;
    int count = 0;
    set_up(&stage, 3 * 1000);
    while (put(&stage, 17 + 16 * count, "{\"price\":5}"))
        count++;
    assert_in_range(count, 2, 9);
    assert_in_range(stage.figures->bytes, 500, 1000);
    assert_true(put(&stage, 17, "{\"price\":6}"));
    assert_false(
        put(&stage, 17,
            "{\"attributes\":{\"text\":\"0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789"
            "012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789\"}}"));
    flush_begin(&stage, 17);
    assert_false(put(&stage, 17 + 16 * 100, "{\"price\":5}"));
    for (int i = 0; i < count; i++)
        driver_reply(stage.driver, driver_next_call(stage.driver), "nil nil");
    flush_end(&stage, false);
    assert_empty(&stage);
    assert_true(put(&stage, 17 + 16 * 100, "{\"price\":5}"));
    tear_down(&stage);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_joined), cmocka_unit_test(test_many),        cmocka_unit_test(test_again),
        cmocka_unit_test(test_reads),  cmocka_unit_test(test_one_dropped), cmocka_unit_test(test_room),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
