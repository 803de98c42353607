#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "flow_driver.h"

#include "own.h"

#define PARTITIONS 16
#define STEPS_MAX 2

/* What is asked and what comes of it, in turn; ${status} 0: it is the buyer's, and nothing is answered. */
static const struct row {
    const char *name;
    const struct flow_type *flow;
    int64_t beside; /* the id's partition is that of the buyer and so much more */
    const char *replies[STEPS_MAX + 1];
    int status;
    const char *want;
} ROWS[] = {
    {"an order of his", &OWN_ORDER, 0, {"=ann"}, 0, NULL},
    {"another's in the same partition", &OWN_ORDER, 0, {"=bob"}, 404, "there is no order 1"},
    {"a name that begins like his", &OWN_ORDER, 0, {"=anna"}, 404, "there is no order 1"},
    {"a name that his begins with", &OWN_ORDER, 0, {"=an"}, 404, "there is no order 1"},
    {"no order", &OWN_ORDER, 0, {"=nil"}, 404, "there is no order 1"},
    {"in another partition, not asked for", &OWN_ORDER, 1, {NULL}, 404, "there is no order 1"},
    {"a shard away", &OWN_ORDER, 0, {"NOT_SENT"}, 503, "shard_unavailable"},
    {"a lost answer", &OWN_ORDER, 0, {"UNKNOWN"}, 503, "shard_unavailable"},
    {"a payment of his", &OWN_PAYMENT, 0, {"='17'", "=ann"}, 0, NULL},
    {"a payment of another's order", &OWN_PAYMENT, 0, {"='17'", "=bob"}, 404, "there is no payment 1"},
    {"no payment", &OWN_PAYMENT, 0, {"=nil"}, 404, "there is no payment 1"},
    {"a payment of no order", &OWN_PAYMENT, 0, {"='17'", "=nil"}, 404, "there is no payment 1"},
    {"a payment in another partition", &OWN_PAYMENT, 5, {NULL}, 404, "there is no payment 1"},
    {"a payment, a shard away", &OWN_PAYMENT, 0, {"UNKNOWN"}, 503, "shard_unavailable"},
    {"a payment, a shard away for its order", &OWN_PAYMENT, 0, {"='17'", "NOT_SENT"}, 503, "shard_unavailable"},
};

static void answer_call(struct driver *driver, const char *reply)
{
    struct call *call = driver_next_call(driver);
    assert_non_null(call);
    assert_string_equal(driver_part(driver, call, 0), "HGET");
    if (strcmp(reply, "NOT_SENT") == 0)
        driver_reply_kind(driver, call, REPLY_NOT_SENT);
    else if (strcmp(reply, "UNKNOWN") == 0)
        driver_reply_kind(driver, call, REPLY_UNKNOWN);
    else
        driver_reply(driver, call, reply);
}

static void test_own(void **state)
{
    for (const struct row *row = ROWS; row < ROWS + sizeof(ROWS) / sizeof(*ROWS); row++) {
        struct driver *driver = driver_new();
        const struct topology *topology = driver_world(driver)->topology;
        unsigned home = topology_partition_of_text(topology, VIEW("ann"));
        struct ask ask = {.route = "/orders/{id}", .buyer = VIEW("ann"), .request_id = VIEW("r1")};
        ask.ids[0] = 100 * PARTITIONS + (home + row->beside) % PARTITIONS;
        print_message("%s\n", row->name);
        driver_flow(driver, row->flow, &ask);
        driver_go(driver);
        for (const char *const *reply = row->replies; *reply; reply++)
            answer_call(driver, *reply);
        assert_true(driver_over(driver));
        assert_int_equal(driver_waiting(driver), 0);
        assert_int_equal(driver_answer(driver) ? driver_answer(driver)->status : 0, row->status);
        if (row->want)
            assert_non_null(strstr(driver_body(driver), row->want));
        driver_free(driver);
    }
}

/* Which user a request names. */
static const char *named;

static void named_start(struct flow *flow)
{
    own_end_by_user(flow, view_of(named));
}

static const struct flow_type NAMED = {.name = "named", .size = sizeof(struct flow), .start = named_start};

static void test_named(void **state)
{
    static const struct {
        const char *user;
        int status;
    } rows[] = {{NULL, 0}, {"ann", 0}, {"bob", 403}, {"", 403}, {"Ann", 403}, {"ann ", 403}};
    for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
        struct ask ask = {.route = "/orders", .buyer = VIEW("ann"), .request_id = VIEW("r1")};
        named = rows[i].user;
        struct driver *driver = driver_start(&NAMED, &ask);
        assert_true(driver_over(driver));
        assert_int_equal(driver_answer(driver) ? driver_answer(driver)->status : 0, rows[i].status);
        driver_free(driver);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_own), cmocka_unit_test(test_named)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
