#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "functions.h"
#include "page.h"

#include "flow_driver.h"

/* A list as a worker would make it: two index keys a partition, the rows' members and first fields as the answer "1=a 2=b". */
struct list {
    struct flow flow;
    struct page page;
};

static struct view key_of(void *cookie, struct arena *arena, unsigned partition, unsigned n)
{
    return n < 2 ? arena_printf(arena, "%s:{%u}:%u", (const char *)cookie, partition, n) : VIEW("");
}

static void start_list(struct flow *flow, bool newest_first, int partition)
{
    static const char *const fields[] = {"doc"};
    struct list *list = (struct list *)flow;
    struct view user = ask_param(flow->ask, "user");
    if (page_read(flow, &list->page, newest_first, user))
        page_ask(flow, &list->page, 7, "order", partition, key_of, (void *)"orders", VIEW("paid"), VIEW("none"), fields, 1);
    else
        flow_end(flow);
}

static void start_oldest(struct flow *flow)
{
    start_list(flow, false, -1);
}

static void start_newest(struct flow *flow)
{
    start_list(flow, true, -1);
}

static void start_single(struct flow *flow)
{
    start_list(flow, true, 5);
}

static void got_reply(struct flow *flow, struct call *call, const struct reply *reply)
{
    struct page *page = &((struct list *)flow)->page;
    enum page_step step = page_got(flow, page, reply);
    if (step == PAGE_WHOLE) {
        struct buffer text = {.arena = flow->arena};
        for (size_t i = 0; i < page->row_count; i++)
            buffer_add_view(&text, arena_printf(flow->arena, "%s%.*s=%.*s", i ? " " : "", VIEW_ARG(page->rows[i].place.member),
                                                VIEW_ARG(page->rows[i].fields[0])));
        writer_text(answer_begin(flow, 200), buffer_view(&text));
        page_link(flow, page);
        answer_send(flow);
    }
    if (step != PAGE_WAITING)
        flow_end(flow);
}

static const struct flow_type OLDEST = {.name = "oldest", .size = sizeof(struct list), .start = start_oldest, .got_reply = got_reply};
static const struct flow_type NEWEST = {.name = "newest", .size = sizeof(struct list), .start = start_newest, .got_reply = got_reply};
static const struct flow_type SINGLE = {.name = "single", .size = sizeof(struct list), .start = start_single, .got_reply = got_reply};

#define SHARDS 3
#define PARAMS_MAX 3

static struct ask ask_of(struct param *params, const char *limit, const char *cursor, const char *user)
{
    struct ask ask = {.route = "/orders", .params = params, .request_id = VIEW("r1")};
    if (user)
        params[ask.param_count++] = (struct param){VIEW("user"), view_of(user)};
    if (limit)
        params[ask.param_count++] = (struct param){VIEW("limit"), view_of(limit)};
    if (cursor)
        params[ask.param_count++] = (struct param){VIEW("cursor"), view_of(cursor)};
    return ask;
}

/* The cursor in the answer's Link, in the driver's arena; NULL if there is none. */
static const char *next_cursor(struct driver *driver)
{
    const char *link = driver_header(driver, "Link"), *at = link ? strstr(link, "cursor=") : NULL;
    return at ? arena_copy(driver_arena(driver), (struct view){at + 7, strcspn(at + 7, ">")}).at : NULL;
}

static void answer_all(struct driver *driver, const char *const replies[SHARDS])
{
    struct call *calls[SHARDS];
    for (int i = 0; i < SHARDS; i++)
        assert_non_null(calls[i] = driver_next_call(driver));
    assert_null(driver_next_call(driver));
    for (int i = SHARDS; i-- > 0;)
        driver_reply(driver, calls[i], replies[i]);
}

/* The second question, of which NULL knows nothing. */
static void answer_again(struct driver *driver, const char *const replies[SHARDS])
{
    for (int i = 0; i < SHARDS; i++) {
        struct call *call = replies[i] ? driver_next_call(driver) : NULL;
        if (call == NULL)
            continue;
        assert_int_equal(call->index, i);
        driver_reply(driver, call, replies[i]);
    }
}

/* ---- merge and cut ---- */

/*
 * Of the ids up to 15, shard 0 has 6 8 12 15, shard 1 has 2 3 4 5 9 10, shard 2 has 1 7 11 13 14. That matters only where a shard says that it has
 * more.
 */
static void test_merge(void **state)
{
    static const struct {
        const char *name;
        const struct flow_type *type;
        const char *limit, *replies[SHARDS], *again[SHARDS], *want, *next;
    } cases[] = {
        {"nothing", &OLDEST, "10", {"0 0 '' ''", "0 0 '' ''", "0 0 '' ''"}, {NULL}, "", NULL},
        {"one", &OLDEST, "10", {"0 0 '' ''", "0 0 1 '1' [1 '1' a]", "0 0 '' ''"}, {NULL}, "1=a", NULL},
        {"by score",
         &OLDEST,
         "10",
         {"0 0 5 '5' [2 '2' b] [5 '5' e]", "0 0 4 '4' [1 '1' a] [4 '4' d]", "0 0 3 '3' [3 '3' c]"},
         {NULL},
         "1=a 2=b 3=c 4=d 5=e",
         NULL},
        {"newest first", &NEWEST, "10", {"0 0 2 '2' [5 '5' e] [2 '2' b]", "0 0 '' ''", "0 0 3 '3' [3 '3' c]"}, {NULL}, "5=e 3=c 2=b", NULL},
        {"equal scores by member as text",
         &OLDEST,
         "10",
         {"0 0 1 '9' [1 '10' a] [1 '9' d]", "0 0 1 '2' [1 '100' b] [1 '2' c]", "0 0 '' ''"},
         {NULL},
         "10=a 100=b 2=c 9=d",
         NULL},
        {"equal scores, newest first",
         &NEWEST,
         "10",
         {"0 0 1 '10' [1 '9' d] [1 '10' a]", "0 0 1 '100' [1 '2' c] [1 '100' b]", "0 0 '' ''"},
         {NULL},
         "9=d 2=c 100=b 10=a",
         NULL},
        {"a missing field is empty", &OLDEST, "10", {"0 0 1 '1' [1 '1' nil]", "0 0 2 '2' [2 '2']", "0 0 '' ''"}, {NULL}, "1= 2=", NULL},
        {"exactly the limit", &OLDEST, "2", {"0 0 1 '1' [1 '1' a]", "0 0 2 '2' [2 '2' b]", "0 0 '' ''"}, {NULL}, "1=a 2=b", NULL},
        {"one over the limit", &OLDEST, "2", {"0 0 1 '1' [1 '1' a]", "0 0 2 '2' [2 '2' b]", "0 0 3 '3' [3 '3' c]"}, {NULL}, "1=a 2=b", "2.2"},
        {"limit one", &NEWEST, "1", {"0 0 1 '1' [1 '1' a]", "0 0 2 '2' [2 '2' b]", "0 0 3 '3' [3 '3' c]"}, {NULL}, "3=c", "3.3"},
        {"large scores",
         &NEWEST,
         "1",
         {"0 0 9007199254740991 '7' [9007199254740991 '7' a]", "0 0 9007199254740990 '8' [9007199254740990 '8' b]", "0 0 '' ''"},
         {NULL},
         "7=a",
         "9007199254740991.7"},
        {"a full shard has more", &OLDEST, "2", {"0 1 8 '8' [6 '6' a] [8 '8' b]", "0 0 '' ''", "0 0 '' ''"}, {NULL}, "6=a 8=b", "8.8"},
        {"full before the bound", &OLDEST, "2", {"0 1 15 '15' [6 '6' a] [15 '15' c]", "0 0 9 '9' [9 '9' b]", "0 0 '' ''"}, {NULL}, "6=a 9=b", "9.9"},
        {"asked again to the end",
         &OLDEST,
         "10",
         {"0 1 8 '8' [6 '6' a] [8 '8' b]", "0 0 9 '9' [2 '2' c] [9 '9' d]", "0 0 '' ''"},
         {"0 0 15 '15' [12 '12' e] [15 '15' f]"},
         "2=c 6=a 8=b 9=d 12=e 15=f",
         NULL},
        {"asked again, nothing more", &OLDEST, "10", {"0 1 8 '8' [6 '6' a]", "0 0 9 '9' [9 '9' d]", "0 0 '' ''"}, {"0 0 8 '8'"}, "6=a 9=d", NULL},
        {"asked again, short all the same",
         &OLDEST,
         "10",
         {"0 1 8 '8' [6 '6' a] [8 '8' b]", "0 0 13 '13' [2 '2' c] [9 '9' d] [13 '13' e]", "0 0 '' ''"},
         {"0 1 12 '12'"},
         "2=c 6=a 8=b 9=d",
         "12.12"},
        {"asked again are those that looked too short",
         &OLDEST,
         "3",
         {"0 1 6 '6' [6 '6' a]", "0 1 10 '10' [2 '2' b] [10 '10' c]", "0 0 7 '7' [7 '7' d]"},
         {"0 1 8 '8' [8 '8' e]"},
         "2=b 6=a 7=d",
         "7.7"},
        {"all asked again, newest first",
         &NEWEST,
         "10",
         {"0 1 12 '12' [15 '15' a] [12 '12' b]", "0 1 4 '4' [10 '10' c] [4 '4' d]", "0 0 '' ''"},
         {"0 0 6 '6' [8 '8' e] [6 '6' f]", "0 0 2 '2' [3 '3' g] [2 '2' h]"},
         "15=a 12=b 10=c 8=e 6=f 4=d 3=g 2=h",
         NULL},
        {"the nearest bound counts, newest first",
         &NEWEST,
         "10",
         {"0 1 12 '12' [15 '15' a]", "0 1 4 '4' [10 '10' c] [4 '4' d]", "0 0 '' ''"},
         {"0 1 8 '8' [8 '8' e]", "0 1 2 '2' [3 '3' g]"},
         "15=a 10=c 8=e",
         "8.8"},
        {"an empty page with a next one", &OLDEST, "10", {"0 1 6 '6'", "0 0 9 '9' [9 '9' i]", "0 0 '' ''"}, {"0 1 8 '8'"}, "", "8.8"},
        {"cut, and a bound before the cut",
         &OLDEST,
         "2",
         {"0 1 6 '6' [6 '6' a]", "0 0 10 '10' [9 '9' b] [10 '10' c]", "0 0 11 '11' [11 '11' d]"},
         {"0 1 8 '8'"},
         "6=a",
         "8.8"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct param params[PARAMS_MAX];
        struct ask ask = ask_of(params, cases[i].limit, NULL, NULL);
        struct driver *driver = driver_start(cases[i].type, &ask);
        char want[128], next[128] = "";
        print_message("%s\n", cases[i].name);
        answer_all(driver, cases[i].replies);
        answer_again(driver, cases[i].again);
        assert_int_equal(driver_finish(driver)->status, 200);
        snprintf(want, sizeof(want), "\"%s\"", cases[i].want);
        assert_string_equal(driver_body(driver), want);
        if (cases[i].next)
            snprintf(next, sizeof(next), "%s.", cases[i].next);
        assert_int_equal(next_cursor(driver) != NULL, cases[i].next != NULL);
        assert_memory_equal(cases[i].next ? next_cursor(driver) : "", next, strlen(next));
        driver_free(driver);
    }
}

/* ---- questions ---- */

static void test_question(void **state)
{
    static const char *const want[] = {"order", "desc", "48", "", "", "paid", "none", "doc"}; /* 34, a third of 100, and 2 · 6 + 2 */
    struct param params[PARAMS_MAX];
    struct ask ask = ask_of(params, NULL, NULL, NULL);
    struct driver *driver = driver_start(&NEWEST, &ask);
    const struct topology *topology = driver_world(driver)->topology;
    unsigned keys = 0;
    struct call *call;
    while ((call = driver_next_call(driver))) {
        assert_true(driver_calls(call, &FN_LIST));
        assert_int_equal(call->tag, 7);
        assert_int_equal(topology->owner[call->partition], call->shard);
        for (unsigned n = 0; n < call->keys; n++) {
            unsigned partition, index;
            assert_int_equal(sscanf(driver_part(driver, call, n), "orders:{%u}:%u", &partition, &index), 2);
            assert_int_equal(topology->owner[partition], call->shard);
            assert_int_equal(index, n % 2);
        }
        for (unsigned n = 0; n < sizeof(want) / sizeof(want[0]); n++)
            assert_string_equal(driver_part(driver, call, call->keys + n), want[n]);
        assert_int_equal(call->args, sizeof(want) / sizeof(want[0]));
        keys += call->keys;
    }
    assert_int_equal(keys, 2 * topology->partitions);
    driver_free(driver);
}

static void test_second_question(void **state)
{
    static const char *const replies[SHARDS] = {"0 1 8 '8' [6 '6' a] [8 '8' b]", "0 0 9 '9' [2 '2' c] [9 '9' d]", "0 0 '' ''"};
    static const char *const want[] = {"order", "asc", "97", "8", "8", "paid", "none", "doc"};
    struct param params[PARAMS_MAX];
    struct ask ask = ask_of(params, NULL, NULL, NULL);
    struct driver *driver = driver_start(&OLDEST, &ask);
    answer_all(driver, replies);
    struct call *call = driver_next_call(driver);
    assert_non_null(call);
    assert_int_equal(call->shard, 0);
    assert_int_equal(call->tag, 7);
    assert_true(call->keys > 0);
    for (unsigned n = 0; n < sizeof(want) / sizeof(want[0]); n++)
        assert_string_equal(driver_part(driver, call, call->keys + n), want[n]);
    assert_null(driver_next_call(driver));
    driver_free(driver);
}

static void test_single_partition(void **state)
{
    struct param params[PARAMS_MAX];
    struct ask ask = ask_of(params, NULL, NULL, NULL);
    struct driver *driver = driver_start(&SINGLE, &ask);
    struct call *call = driver_next_call(driver);
    assert_non_null(call);
    assert_null(driver_next_call(driver));
    assert_int_equal(call->keys, 2);
    assert_string_equal(driver_part(driver, call, 1), "orders:{5}:1");
    driver_reply(driver, call, "0 0 1 '1' [1 '1' a]");
    driver_finish(driver);
    assert_string_equal(driver_body(driver), "\"1=a\"");
    driver_free(driver);
}

/* ---- parameters ---- */

/* Starts a page, answers it with nothing if it asks, and returns the status. */
static int status_of(const struct flow_type *type, const struct ask *ask)
{
    static const char *const nothing[SHARDS] = {"0 0 '' ''", "0 0 '' ''", "0 0 '' ''"};
    struct driver *driver = driver_start(type, ask);
    if (!driver_over(driver))
        answer_all(driver, nothing);
    int status = driver_finish(driver)->status;
    driver_free(driver);
    return status;
}

static void test_limits(void **state)
{
    static const struct {
        const char *text;
        int want;
    } cases[] = {
        {"1", 200}, {"100", 200}, {"1000", 200}, {"0", 400},  {"1001", 400}, {"-1", 400},
        {"", 400},  {"ten", 400}, {"1.5", 400},  {" 1", 400}, {"01", 400},   {"99999999999999999999999", 400},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct param params[PARAMS_MAX];
        struct ask ask = ask_of(params, cases[i].text, NULL, NULL);
        print_message("'%s'\n", cases[i].text);
        assert_int_equal(status_of(&OLDEST, &ask), cases[i].want);
    }
}

/* A cursor as a first page gives it: behind row 2 of a list with this user filter. */
static void make_cursor(char out[128], const struct flow_type *type, const char *user)
{
    static const char *const replies[SHARDS] = {"0 0 1 '1' [2 '2' b]", "0 0 2 '2' [2 '2' b]", "0 0 3 '3' [2 '2' b]"};
    struct param params[PARAMS_MAX];
    struct ask ask = ask_of(params, "1", NULL, user);
    struct driver *driver = driver_start(type, &ask);
    answer_all(driver, replies);
    snprintf(out, 128, "%s", next_cursor(driver));
    driver_free(driver);
}

static void test_cursor_round_trip(void **state)
{
    char cursor[128];
    struct param params[PARAMS_MAX];
    make_cursor(cursor, &OLDEST, "User 1");
    struct ask ask = ask_of(params, "1", cursor, "User 1");
    struct driver *driver = driver_start(&OLDEST, &ask);
    struct call *call = driver_next_call(driver);
    assert_string_equal(driver_part(driver, call, call->keys + 3), "2");
    assert_string_equal(driver_part(driver, call, call->keys + 4), "2");
    driver_free(driver);
}

static void test_cursor_of_another_list(void **state)
{
    char cursor[128];
    struct param params[PARAMS_MAX];
    make_cursor(cursor, &OLDEST, "User 1");
    struct ask ask = ask_of(params, NULL, cursor, "User 1");
    assert_int_equal(status_of(&OLDEST, &ask), 200);
    assert_int_equal(status_of(&NEWEST, &ask), 400);
    ask.ids[0] = 17;
    assert_int_equal(status_of(&OLDEST, &ask), 400);
    ask.ids[0] = 0;
    ask.route = "/payments";
    assert_int_equal(status_of(&OLDEST, &ask), 400);
    ask = ask_of(params, NULL, cursor, "User 2");
    assert_int_equal(status_of(&OLDEST, &ask), 400);
    ask = ask_of(params, NULL, cursor, NULL);
    assert_int_equal(status_of(&OLDEST, &ask), 400);
}

static void test_damaged_cursors(void **state)
{
    static const char *const cases[] = {
        "", ".", "....", "1", "1.1.00000000.00000000", "x.y.z", "........................", "\xff\xff\xff\xff\xff\xff\xff\xff\xff.00000000"};
    char cursor[128], damaged[160];
    struct param params[PARAMS_MAX];
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct ask ask = ask_of(params, NULL, cases[i], NULL);
        assert_int_equal(status_of(&OLDEST, &ask), 400);
    }
    make_cursor(cursor, &OLDEST, NULL);
    size_t len = strlen(cursor);
    for (size_t i = 0; i <= len; i++) {
        struct ask ask = ask_of(params, NULL, damaged, NULL);
        snprintf(damaged, sizeof(damaged), "%s", cursor);
        damaged[i] = i == len ? '0' : (char)(damaged[i] ^ 1); /* one bit wrong, one byte more */
        damaged[len + 1] = '\0';
        params[0].value = view_of(damaged);
        assert_int_equal(status_of(&OLDEST, &ask), 400);
        snprintf(damaged, sizeof(damaged), "%.*s", (int)i, cursor); /* cut */
        params[0].value = view_of(damaged);
        assert_int_equal(status_of(&OLDEST, &ask), i == len ? 200 : 400);
    }
}

/* ---- links ---- */

static void test_link(void **state)
{
    static const char *const replies[SHARDS] = {"0 0 1 '1' [1 '1' a]", "0 0 2 '2' [2 '2' b]", "0 0 3 '3' [3 '3' c]"};
    struct param params[PARAMS_MAX];
    char user[256 + 1];
    memset(user, '>', sizeof(user) - 1);
    user[sizeof(user) - 1] = '\0';
    struct ask ask = ask_of(params, "1", NULL, user);
    ask.route = "/products/{id}/stock-movements";
    ask.ids[0] = 4369;
    struct driver *driver = driver_start(&OLDEST, &ask);
    answer_all(driver, replies);
    const char *link = driver_header(driver, "Link");
    const char begin[] = "</products/4369/stock-movements?user=%3E%3E", middle[] = "%3E&limit=1&cursor=1.1.", end[] = ">; rel=\"next\"";
    assert_memory_equal(link, begin, strlen(begin));
    assert_non_null(strstr(link, middle));
    assert_string_equal(link + strlen(link) - strlen(end), end);
    driver_free(driver);
}

/* ---- what may go wrong ---- */

static struct flow *make_page(struct driver *driver, const void *cookie)
{
    return driver_flow(driver, &OLDEST, cookie);
}

static bool feed_page(struct driver *driver, struct call *call, unsigned n)
{
    static const char *const replies[] = {"0 0 '' ''",     "0 1 6 '6' [6 '6' a]", "0 1 2 '2' [2 '2' a]", "10", "0", "0 1 '' ''", "0 1 5 'no id'",
                                          "0 0 1 '1' [1]", "0 0 1 '1' word",      "0 nil nil nil nil"};
    if (n == sizeof(replies) / sizeof(replies[0]))
        return false;
    driver_reply(driver, call, replies[n]);
    return true;
}

static void check_page(struct driver *driver, const void *cookie)
{
    int status = driver_answer(driver)->status;
    assert_true(status == 200 || status == 503 || status == 500);
}

static void test_every_way(void **state)
{
    struct param params[PARAMS_MAX];
    struct ask ask = ask_of(params, "2", NULL, NULL);
    const struct exploration exploration = {.make = make_page, .feed = feed_page, .check = check_page, .cookie = &ask, .steps_max = 2 * SHARDS};
    unsigned ways = driver_explore(&exploration);
    print_message("%u ways\n", ways);
    assert_true(ways > 12 * 12 * 12);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_merge),
        cmocka_unit_test(test_question),
        cmocka_unit_test(test_second_question),
        cmocka_unit_test(test_single_partition),
        cmocka_unit_test(test_limits),
        cmocka_unit_test(test_cursor_round_trip),
        cmocka_unit_test(test_cursor_of_another_list),
        cmocka_unit_test(test_damaged_cursors),
        cmocka_unit_test(test_link),
        cmocka_unit_test(test_every_way),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
