#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "fault_test_lib.h"

/*
 * kill -9 of a shard under load, and its stop: what lives there is answered 503 in bounded time, what lives elsewhere goes on, and when it is back
 * everything that was acknowledged is there.
 */
#define BUYERS 3
#define ANSWER_MS_MAX 3000

static struct souk *start(void)
{
    return souk_start(&(struct souk_settings){.roles = {[SOUK_PRODUCT] = true, [SOUK_ORDER] = true}});
}

/* Buyers whose orders and products live on one shard. */
static struct load *crowd_start(struct souk *souk, unsigned shard, const char *name)
{
    struct load *loads = loads_new(BUYERS);
    int64_t product = product_on(souk, shard, 0);
    product_put(souk, product, 1000000);
    for (int i = 0; i < BUYERS; i++) {
        load_aim(&loads[i], souk_url(souk, SOUK_ORDER), souk_url(souk, SOUK_ORDER));
        loads[i].product = product;
        user_on(souk, shard, i, loads[i].user);
        snprintf(loads[i].name, sizeof(loads[i].name), "%s-%d", name, i);
        load_start(&loads[i]);
    }
    return loads;
}

static size_t placed_by(struct load *loads)
{
    size_t placed = 0;
    for (int i = 0; i < BUYERS; i++)
        placed += atomic_load(&loads[i].placed);
    return placed;
}

/* An order over both shards cannot be placed now, and that is no "no". */
static void order_over_both(struct souk *souk)
{
    struct post post;
    char user[32];
    user_on(souk, 1, 50, user);
    post_set(&post, souk_url(souk, SOUK_ORDER), "/orders", "both",
             "{\"user\":\"%s\",\"items\":[{\"product_id\":%lld,\"quantity\":1},{\"product_id\":%lld,\"quantity\":1}]}", user,
             (long long)product_on(souk, 0, 0), (long long)product_on(souk, 1, 0));
    struct response *response = post_send(souk_client(souk), &post);
    assert_status(response, 503);
    assert_true(json_is_true(json_at(response->json, "retryable")));
    assert_non_null(response_header(response, "Retry-After"));
    assert_true(response->took_ms <= ANSWER_MS_MAX);
    response_free(response);
}

static void check_records(struct load *loads, bool may_fail)
{
    double longest = 0;
    for (int i = 0; i < BUYERS; i++)
        for (size_t n = 0; n < atomic_load(&loads[i].count); n++) {
            const struct load_record *record = &loads[i].records[n];
            if (record->status != 201 && !(may_fail && record->status == 503))
                fail_msg("%s-%zu was answered %d", loads[i].name, n, record->status);
            longest = record->took_ms > longest ? record->took_ms : longest;
        }
    print_message("%zu placed, longest answer %.0f ms\n", placed_by(loads), longest);
    assert_true(longest <= ANSWER_MS_MAX);
}

static void die(struct souk *souk, bool stopped)
{
    if (stopped)
        souk_pause_shard(souk, 0);
    else
        souk_kill_shard(souk, 0);
}

static void come_back(struct souk *souk, bool stopped)
{
    if (stopped)
        souk_resume_shard(souk, 0);
    else
        souk_restart_shard(souk, 0);
}

static void test_one(bool stopped)
{
    struct souk *souk = start();
    struct load *here = crowd_start(souk, 0, "here"), *elsewhere = crowd_start(souk, 1, "elsewhere");
    loads_reach(here, BUYERS, 100, 0, 10000);
    loads_reach(elsewhere, BUYERS, 100, 0, 10000);

    die(souk, stopped);
    size_t before = placed_by(elsewhere);
    loads_reach(here, BUYERS, 0, 3 * BUYERS, 10000);
    loads_reach(elsewhere, BUYERS, before + 100, 0, 10000);
    order_over_both(souk);

    come_back(souk, stopped);
    loads_reach(here, BUYERS, placed_by(here) + 50, 0, 10000);
    loads_stop(here, BUYERS);
    loads_stop(elsewhere, BUYERS);
    check_records(here, true);
    check_records(elsewhere, false);
    assert_true(souk_wait_ready(souk, SOUK_ORDER, 5000));
    loads_check(souk, SOUK_ORDER, here, BUYERS);
    loads_check(souk, SOUK_ORDER, elsewhere, BUYERS);
    assert_true(order_count(souk) >= (int64_t)(placed_by(here) + placed_by(elsewhere)));
    loads_free(here, BUYERS);
    loads_free(elsewhere, BUYERS);
    assert_true(souk_audit(souk));
    assert_int_equal(souk_stop(souk), 0);
}

static void test_killed(void **state)
{
    test_one(false);
}

static void test_stopped(void **state)
{
    test_one(true);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_killed),
        cmocka_unit_test(test_stopped),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
