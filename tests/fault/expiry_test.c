#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "fault_test_lib.h"
#include "sweep.h"

/*
 * Orders that nobody pays for. A buyer who needs their units does not wait for a sweep: to see that, the test takes the sweeps' leases away.
 */
#define HOLD_MS 1000
#define MOMENT_MS 700 /* a worker's round trips, on a busy machine */
#define MANY 600      /* more than SWEEPS_IN_A_ROW sweeps can name */

struct shop {
    struct souk *souk;
    int64_t product;
    char user[32];
};

/* ${alone}: nobody takes payments, so that the order worker is the only one who sweeps. */
static void shop_open(struct shop *shop, unsigned shards, int units, bool sweeps, bool alone)
{
    shop->souk =
        souk_start(&(struct souk_settings){.shards = shards, .roles = {[SOUK_PRODUCT] = true, [SOUK_ORDER] = true, [SOUK_PAYMENT] = !alone}});
    shop->product = product_on(shop->souk, 0, 0);
    user_on(shop->souk, shards - 1, 0, shop->user);
    product_put(shop->souk, shop->product, units);
    for (unsigned i = 0; !sweeps && i < souk_shard_count(shop->souk); i++)
        REDIS_DO(souk_shard(shop->souk, i), "SET", "souk:lease:order", "nobody");
}

static void shop_start(struct shop *shop, bool sweeps)
{
    shop_open(shop, 3, 1, sweeps, false);
}

static void let_sweep(struct shop *shop)
{
    for (unsigned i = 0; i < souk_shard_count(shop->souk); i++)
        free(REDIS(souk_shard(shop->souk, i), "DEL", "souk:lease:order"));
}

static void shop_stop(struct shop *shop)
{
    let_sweep(shop);
    assert_true(souk_audit(shop->souk));
    assert_int_equal(souk_stop(shop->souk), 0);
}

static struct response *order(struct shop *shop, const char *user, const char *key, int hold_seconds)
{
    struct post post;
    post_set(&post, souk_url(shop->souk, SOUK_ORDER), "/orders", key,
             "{\"user\":\"%s\",\"items\":[{\"product_id\":%lld,\"quantity\":1}],\"hold_seconds\":%d}", user, (long long)shop->product, hold_seconds);
    return post_send(souk_client(shop->souk), &post);
}

static int64_t must_order(struct shop *shop, const char *user, const char *key, int hold_seconds)
{
    struct response *response = order(shop, user, key, hold_seconds);
    assert_status(response, 201);
    int64_t id = id_in(response);
    response_free(response);
    return id;
}

static struct response *pay(struct shop *shop, int64_t id, const char *key)
{
    struct post post;
    post_set(&post, souk_url(shop->souk, SOUK_PAYMENT), "/payments", key, "{\"order_id\":%lld,\"method\":{\"token\":\"tok_ok\"}}", (long long)id);
    return post_send(souk_client(shop->souk), &post);
}

/* He asks again and again, with a new key each time, until he gets it. Returns how long that took. */
static int64_t wait_in_line(struct shop *shop, int64_t since, int64_t *id)
{
    for (int i = 0;; i++) {
        char key[32];
        snprintf(key, sizeof(key), "line-%d", i);
        struct response *response = order(shop, "bob", key, 900);
        int64_t took = clock_now_ms() - since;
        *id = response->status == 201 ? id_in(response) : 0;
        if (response->status != 201)
            assert_status(response, 409);
        if (took > 5000)
            fail_msg("nothing after %lld ms: %s", (long long)took, response->body);
        response_free(response);
        if (*id)
            return took;
    }
}

static void test_buyer_gets_it_at_once(void **state)
{
    struct shop shop;
    shop_start(&shop, false);
    int64_t before = clock_now_ms(), first = must_order(&shop, shop.user, "first", HOLD_MS / 1000), after = clock_now_ms(), second;
    int64_t took = wait_in_line(&shop, before, &second);
    print_message("the next buyer had the unit %lld ms after it was ordered for %d ms\n", (long long)took, HOLD_MS);
    assert_in_range(took, HOLD_MS, HOLD_MS + (after - before) + MOMENT_MS);
    assert_true(order_becomes(shop.souk, first, "expired", 0));
    assert_true(order_becomes(shop.souk, second, "reserved", 0));
    assert_int_equal(stock_of(shop.souk, shop.product, "held"), 1);
    assert_int_equal(stock_of(shop.souk, shop.product, "on_hand"), 1);
    struct response *response = order(&shop, shop.user, "first", HOLD_MS / 1000);
    assert_status(response, 201); /* what was answered stays answered; its state is read with GET */
    assert_int_equal(id_in(response), first);
    response_free(response);
    shop_stop(&shop);
}

/* Its time is over, and nobody has looked yet: it cannot be paid any more. */
static void test_payment_too_late(void **state)
{
    struct shop shop;
    shop_start(&shop, false);
    int64_t since = clock_now_ms(), id = must_order(&shop, shop.user, "first", HOLD_MS / 1000), made = clock_now_ms();
    for (int i = 0;; i++) {
        char key[32];
        struct response *response;
        snprintf(key, sizeof(key), "late-%d", i);
        if (clock_now_ms() - made < HOLD_MS) { /* until then it could be paid, so it is not tried */
            struct timespec moment = {0, 2000000};
            nanosleep(&moment, NULL);
            continue;
        }
        response = pay(&shop, id, key);
        assert_status(response, 409);
        assert_true(code_is(response, "order_expired"));
        response_free(response);
        break;
    }
    assert_true(clock_now_ms() - since >= HOLD_MS);
    assert_true(order_becomes(shop.souk, id, "reserved", 0));

    int64_t second;
    wait_in_line(&shop, since, &second);
    assert_true(order_becomes(shop.souk, id, "expired", 0));
    struct response *response = pay(&shop, id, "later");
    assert_status(response, 409);
    assert_true(code_is(response, "order_expired") || code_is(response, "illegal_transition"));
    response_free(response);
    shop_stop(&shop);
}

/* Nobody asks for it: a sweep expires it and gives the unit back. */
static void test_swept(void **state)
{
    struct shop shop;
    shop_start(&shop, true);
    int64_t before = clock_now_ms(), id = must_order(&shop, shop.user, "first", HOLD_MS / 1000);
    assert_true(order_becomes(shop.souk, id, "expired", 8000));
    int64_t took = clock_now_ms() - before;
    print_message("swept %lld ms after it was ordered for %d ms\n", (long long)took, HOLD_MS);
    assert_true(took >= HOLD_MS);
    assert_true(stock_becomes(shop.souk, shop.product, "held", 0, 5000));
    assert_true(duty_goes(shop.souk, id, 5000));
    assert_int_equal(stock_of(shop.souk, shop.product, "on_hand"), 1);
    shop_stop(&shop);
}

/* The longest row of sweeps of a shard that began at the same partition, by its slow log: FCALL sweep_… 1 KEY kind worker ms most partitions. */
static int longest_row(struct redis_fixture *shard)
{
    enum { PARTITIONS = 7 };
    char *log = REDIS(shard, "SLOWLOG", "GET", "-1"), *rest = log, *line, *last = NULL;
    int row = 0, longest = 0;
    while ((line = strsep(&rest, "\n"))) {
        if (strncmp(line, "sweep_", 6) != 0)
            continue;
        for (int n = 0; n < PARTITIONS && rest; n++)
            line = strsep(&rest, "\n");
        row = last && strcmp(last, line) == 0 ? row + 1 : 1;
        longest = row > longest ? row : longest;
        last = line;
    }
    free(log);
    return longest;
}

struct last_order {
    struct shop *shop;
    int64_t id;
};

/* By its shard's clock. */
static bool is_due(void *cookie)
{
    const struct last_order *last = cookie;
    char *expires = order_field(last->shop->souk, last->id, "expires");
    char *now_s = REDIS(souk_shard(last->shop->souk, 0), "EVAL", "return redis.call('TIME')[1]", "0");
    bool due = now_s && atoll(now_s) * 1000 > atoll(expires);
    free(expires);
    free(now_s);
    return due;
}

/* Far more is due than one sweep names: the next follows at once, up to a bound, and all is done. (Each timer begins at another partition.) */
static void test_swept_in_a_row(void **state)
{
    struct shop shop;
    struct last_order last = {.shop = &shop};
    char key[32];
    shop_open(&shop, 1, MANY, false, true);
    for (int i = 0; i < MANY; i++) {
        snprintf(key, sizeof(key), "many-%d", i);
        last.id = must_order(&shop, shop.user, key, HOLD_MS / 1000);
    }
    assert_true(souk_wait(is_due, &last, 10000));
    struct redis_fixture *shard = souk_shard(shop.souk, 0);
    REDIS_DO(shard, "CONFIG", "SET", "slowlog-max-len", "100000", "slowlog-log-slower-than", "0");
    let_sweep(&shop);
    assert_true(stock_becomes(shop.souk, shop.product, "held", 0, 20000));
    REDIS_DO(shard, "CONFIG", "SET", "slowlog-log-slower-than", "-1");
    int longest = longest_row(shard);
    print_message("%d sweeps in a row\n", longest);
    assert_in_range(longest, 2, SWEEPS_IN_A_ROW);
    shop_stop(&shop);
}

/* Paid in time: it does not expire, whatever looks. */
static void test_paid_in_time(void **state)
{
    struct shop shop;
    shop_start(&shop, true);
    int64_t id = must_order(&shop, shop.user, "first", 2);
    struct response *response = pay(&shop, id, "pay");
    assert_status(response, 201);
    response_free(response);
    assert_true(stock_becomes(shop.souk, shop.product, "committed", 1, 5000));
    assert_false(order_becomes(shop.souk, id, "expired", 3500));
    response = order(&shop, "bob", "bob", 900);
    assert_status(response, 409);
    response_free(response);
    assert_int_equal(stock_of(shop.souk, shop.product, "committed"), 1);
    shop_stop(&shop);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_buyer_gets_it_at_once), cmocka_unit_test(test_payment_too_late), cmocka_unit_test(test_swept),
        cmocka_unit_test(test_swept_in_a_row),        cmocka_unit_test(test_paid_in_time),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
