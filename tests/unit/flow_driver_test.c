#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "flow_driver.h"

/*
 * The driver's own test, and with it the account of flow.c: a parent that does one of everything.
 *
 *   parent ─▶ child at once ─▶ child with a call ─▶ sleep ─▶ errand ─▶ two calls ─▶ answer ─▶ one more call ─▶ end
 */
static const struct function READ = {"read", false, NULL}, WRITE = {"write", true, NULL};

struct child {
    struct flow flow;
    bool asks;
    int64_t got;
};

static void child_start(struct flow *flow)
{
    if (((struct child *)flow)->asks)
        flow_call(flow, call_function(flow->arena, &WRITE, 1), 0, 0);
    else
        flow_end(flow);
}

static void child_got_reply(struct flow *flow, struct call *call, const struct reply *reply)
{
    ((struct child *)flow)->got = reply_int(reply, 0);
    flow_end(flow);
}

static const struct flow_type CHILD = {.name = "child", .size = sizeof(struct child), .start = child_start, .got_reply = child_got_reply};

struct gift {
    struct errand errand;
    int64_t result;
};

struct parent {
    struct flow flow;
    struct gift gift;
    int64_t sum;
    unsigned children, replies;
};

enum { TAG_BEFORE, TAG_AFTER };

static void spawn(struct parent *parent, bool asks)
{
    struct flow *flow = &parent->flow;
    struct flow *child = flow_new(flow->arena, &CHILD, flow->world, flow->ask);
    ((struct child *)child)->asks = asks;
    flow_spawn(flow, child, 0, 0);
}

static void parent_start(struct flow *flow)
{
    spawn((struct parent *)flow, false);
}

static void parent_got_child(struct flow *flow, struct flow *child)
{
    struct parent *parent = (struct parent *)flow;
    parent->sum += ((struct child *)child)->got;
    if (++parent->children == 1)
        spawn(parent, true);
    else
        flow_sleep(flow, 250);
}

static void parent_got_wake(struct flow *flow)
{
    flow_errand(flow, &((struct parent *)flow)->gift.errand);
}

static void parent_got_errand(struct flow *flow, struct errand *errand)
{
    ((struct parent *)flow)->sum += ((struct gift *)errand)->result;
    for (int i = 0; i < 2; i++)
        flow_call(flow, call_function(flow->arena, &READ, (unsigned)i), TAG_BEFORE, i);
}

static void parent_got_reply(struct flow *flow, struct call *call, const struct reply *reply)
{
    struct parent *parent = (struct parent *)flow;
    if (call->tag == TAG_AFTER) {
        flow_end(flow);
        return;
    }
    parent->sum += reply->kind == REPLY_OK ? reply_int(reply, 0) : 0;
    if (++parent->replies < 2)
        return;
    writer_int(answer_begin(flow, 200), parent->sum);
    answer_header(flow, "ETag", "\"v%d\"", 1);
    answer_send(flow);
    flow_call(flow, call_function(flow->arena, &READ, 3), TAG_AFTER, 0);
}

static const struct flow_type PARENT = {
    .name = "parent",
    .size = sizeof(struct parent),
    .start = parent_start,
    .got_reply = parent_got_reply,
    .got_child = parent_got_child,
    .got_wake = parent_got_wake,
    .got_errand = parent_got_errand,
};

static const struct ask ASK = {.route = "/x", .request_id = {"r1", 2}};

static void test_one_of_everything(void **state)
{
    struct driver *driver = driver_start(&PARENT, &ASK);
    struct call *call = driver_next_call(driver);
    assert_true(driver_calls(call, &WRITE));
    assert_true(driver_root(driver)->effects);
    assert_int_equal(driver_sleep_ms(driver), -1);
    driver_reply(driver, call, "0 100");
    assert_int_equal(driver_sleep_ms(driver), 250);
    driver_wake(driver);
    struct errand *errand = driver_next_errand(driver);
    ((struct gift *)errand)->result = 20;
    driver_errand_done(driver, errand);
    assert_int_equal(driver_waiting(driver), 2);
    struct call *first = driver_next_call(driver), *second = driver_next_call(driver);
    assert_null(driver_next_call(driver));
    driver_reply(driver, second, "0 -3");
    assert_null(driver_answer(driver));
    driver_reply_kind(driver, first, REPLY_UNKNOWN);
    assert_string_equal(driver_body(driver), "117");
    assert_string_equal(driver_header(driver, "ETag"), "\"v1\"");
    assert_false(driver_over(driver));
    driver_reply(driver, driver_next_call(driver), "0");
    assert_int_equal(driver_finish(driver)->status, 200);
    driver_free(driver);
}

/* ---- a header of any length ---- */

#define HEADER_LEN 10000

static void long_header_start(struct flow *flow)
{
    writer_int(answer_begin(flow, 200), 1);
    answer_header(flow, "Link", "<%*s>", HEADER_LEN - 2, "");
    answer_send(flow);
    flow_end(flow);
}

static const struct flow_type LONG_HEADER = {.name = "long header", .size = sizeof(struct flow), .start = long_header_start};

static void test_long_header(void **state)
{
    struct driver *driver = driver_start(&LONG_HEADER, &ASK);
    assert_int_equal(strlen(driver_header(driver, "Link")), HEADER_LEN);
    driver_free(driver);
}

/* ---- words ---- */

static void words_start(struct flow *flow)
{
    struct call *call = call_command(flow->arena, "GET", 0);
    call_arg(call, VIEW("key"));
    flow_call(flow, call, 0, 0);
}

static void item_write(struct writer *w, const struct item *item)
{
    switch (item->type) {
    case ITEM_NIL:
        writer_null(w);
        break;
    case ITEM_INT:
        writer_int(w, item->integer);
        break;
    case ITEM_TEXT:
    case ITEM_ERROR:
        writer_text(w, item->text);
        break;
    case ITEM_LIST:
        writer_list(w, item->count);
        for (size_t i = 0; i < item->count; i++)
            item_write(w, &item->items[i]);
        writer_end(w);
        break;
    }
}

static void words_got_reply(struct flow *flow, struct call *call, const struct reply *reply)
{
    item_write(answer_begin(flow, 200), reply->root);
    answer_send(flow);
    flow_end(flow);
}

static const struct flow_type WORDS = {.name = "words", .size = sizeof(struct flow), .start = words_start, .got_reply = words_got_reply};

static void test_words(void **state)
{
    static const struct {
        const char *words, *want;
    } cases[] = {
        {"", "[]"},
        {"1", "[1]"},
        {"0 -17 a", "[0,-17,\"a\"]"},
        {"nil '' 'nil' '5' 'a b' -", "[null,\"\",\"nil\",\"5\",\"a b\",\"-\"]"},
        {"% 1 %", "[\"%\",1,\"two\"]"},
        {"1 [2 [a] []] 3", "[1,[2,[\"a\"],[]],3]"},
        {"[[1]]", "[[[1]]]"},
        {"=nil", "null"},
        {"=5", "5"},
        {"=%", "\"%\""},
        {"=[1]", "[1]"},
        {"1.5 007", "[\"1.5\",\"007\"]"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct driver *driver = driver_start(&WORDS, &ASK);
        struct call *call = driver_next_call(driver);
        assert_true(driver_calls(call, NULL));
        assert_string_equal(driver_part(driver, call, 1), "key");
        assert_string_equal(driver_part(driver, call, 2), "");
        driver_reply(driver, call, cases[i].words, VIEW("%"), VIEW("two"));
        driver_finish(driver);
        assert_string_equal(driver_body(driver), cases[i].want);
        driver_free(driver);
    }
}

/* ---- every way ---- */

static struct flow *make_parent(struct driver *driver, const void *cookie)
{
    return driver_flow(driver, &PARENT, &ASK);
}

static bool feed_two(struct driver *driver, struct call *call, unsigned n)
{
    static const char *const replies[] = {"0 1", "10 4"};
    if (n < 2)
        driver_reply(driver, call, replies[n]);
    return n < 2;
}

static bool fill_three(struct errand *errand, unsigned n)
{
    ((struct gift *)errand)->result = n;
    return n < 3;
}

static void count_way(struct driver *driver, const void *cookie)
{
    ++*(unsigned *)(uintptr_t)cookie;
}

/* A child's call, an errand, two calls, one more: 4 · 3 · 4 · 4 · 4. */
static void test_every_way(void **state)
{
    unsigned counted = 0;
    const struct exploration exploration = {
        .make = make_parent, .feed = feed_two, .fill = fill_three, .check = count_way, .cookie = &counted, .steps_max = 6};
    assert_int_equal(driver_explore(&exploration), 4 * 3 * 4 * 4 * 4);
    assert_int_equal(counted, 4 * 3 * 4 * 4 * 4);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_one_of_everything),
        cmocka_unit_test(test_long_header),
        cmocka_unit_test(test_words),
        cmocka_unit_test(test_every_way),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
