#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "fault_test_lib.h"

/*
 * A crowd and too few units: over two order workers, all at once. Nobody gets what is not there, and nobody is told "no" while something is left for
 * him.
 */
#define BUYERS CROWD_MAX

/* Buyer ${i} asks one worker, buyer ${i} + 1 the other. */
static const char *worker_of(struct crowd *crowd, int i)
{
    return souk_url(crowd->souk, i % 2 ? crowd->second : SOUK_ORDER);
}

static void all_buy(struct crowd *crowd)
{
    for (int i = 0; i < BUYERS; i++)
        crowd->requests[i] = crowd->posts[i].request;
    client_send_all(souk_client(crowd->souk), crowd->requests, BUYERS, crowd->responses);
}

static void test_last_unit(void **state)
{
    struct crowd *crowd = *state;
    int64_t product = product_on(crowd->souk, 0, 0);
    product_put(crowd->souk, product, 1);
    for (int i = 0; i < BUYERS; i++) {
        char key[32];
        snprintf(key, sizeof(key), "last-%d", i);
        post_set(&crowd->posts[i], worker_of(crowd, i), "/orders", key, "{\"user\":\"last-%d\",\"items\":[{\"product_id\":%lld,\"quantity\":1}]}", i,
                 (long long)product);
    }
    all_buy(crowd);
    assert_int_equal(count_status(crowd->responses, BUYERS, 201), 1);
    for (int i = 0; i < BUYERS; i++) {
        struct response *response = crowd->responses[i];
        if (response->status == 201)
            continue;
        assert_status(response, 409);
        assert_true(code_is(response, "insufficient_stock"));
        assert_int_equal(json_integer_value(json_at(response->json, "shortfalls.0.product_id")), product);
        assert_int_equal(json_integer_value(json_at(response->json, "shortfalls.0.requested")), 1);
        assert_int_equal(json_integer_value(json_at(response->json, "shortfalls.0.available")), 0);
    }
    assert_int_equal(stock_of(crowd->souk, product, "on_hand"), 1);
    assert_int_equal(stock_of(crowd->souk, product, "held"), 1);
    assert_int_equal(order_count(crowd->souk), 1);
    responses_free(crowd->responses, BUYERS);
    assert_true(souk_audit(crowd->souk));
}

/* Who is told what he was told, when he asks the other worker again. */
static void test_again(void **state)
{
    struct crowd *crowd = *state;
    struct response *before[BUYERS];
    all_buy(crowd);
    memcpy(before, crowd->responses, sizeof(before));
    for (int i = 0; i < BUYERS; i++)
        post_to(&crowd->posts[i], worker_of(crowd, i + 1), "/orders");
    all_buy(crowd);
    for (int i = 0; i < BUYERS; i++) {
        assert_int_equal(crowd->responses[i]->status, before[i]->status);
        assert_string_equal(crowd->responses[i]->body, before[i]->body);
    }
    assert_int_equal(order_count(crowd->souk), 1);
    responses_free(before, BUYERS);
    responses_free(crowd->responses, BUYERS);
    assert_true(souk_audit(crowd->souk));
}

#define UNITS 20

static void set_pair(struct post *post, const char *base, const char *name, int i, int64_t first, int64_t second)
{
    char key[32];
    snprintf(key, sizeof(key), "%s-%d", name, i);
    post_set(post, base, "/orders", key, "{\"user\":\"%s-%d\",\"items\":[{\"product_id\":%lld,\"quantity\":1},{\"product_id\":%lld,\"quantity\":1}]}",
             name, i, (long long)first, (long long)second);
}

/* Two products on two shards, half of the crowd asks for them in the other order. Two who each have one of the last pair may both be refused; then
 * the units are there for whoever comes next. */
static void test_pairs(void **state)
{
    struct crowd *crowd = *state;
    int64_t left = product_on(crowd->souk, 0, 1), right = product_on(crowd->souk, 1, 0);
    size_t placed, late = 0;
    product_put(crowd->souk, left, UNITS);
    product_put(crowd->souk, right, UNITS);
    for (int i = 0; i < BUYERS; i++)
        set_pair(&crowd->posts[i], worker_of(crowd, i), "pair", i, i % 4 < 2 ? left : right, i % 4 < 2 ? right : left);
    all_buy(crowd);
    placed = count_status(crowd->responses, BUYERS, 201);
    assert_int_equal(placed + count_status(crowd->responses, BUYERS, 409), BUYERS);
    assert_in_range(placed, 1, UNITS);
    responses_free(crowd->responses, BUYERS);
    assert_int_equal(stock_of(crowd->souk, left, "held"), placed);
    assert_int_equal(stock_of(crowd->souk, right, "held"), placed);
    for (;; late++) {
        set_pair(&crowd->posts[0], worker_of(crowd, (int)late), "late", (int)late, right, left);
        struct response *response = post_send(souk_client(crowd->souk), &crowd->posts[0]);
        int status = response->status;
        response_free(response);
        if (status != 201)
            break;
    }
    print_message("%zu pairs were sold to the crowd, %zu to those who came late\n", placed, late);
    assert_int_equal(placed + late, UNITS);
    assert_int_equal(stock_of(crowd->souk, left, "held"), UNITS);
    assert_int_equal(stock_of(crowd->souk, right, "held"), UNITS);
    assert_true(souk_audit(crowd->souk));
}

/* By redis: how many functions the shards have carried out. */
static long long functions_called(struct souk *souk)
{
    long long calls = 0;
    for (unsigned i = 0; i < souk_shard_count(souk); i++) {
        char *stats = REDIS(souk_shard(souk, i), "INFO", "commandstats");
        const char *at = stats ? strstr(stats, "cmdstat_fcall:calls=") : NULL;
        calls += at ? atoll(at + strlen("cmdstat_fcall:calls=")) : 0;
        free(stats);
    }
    return calls;
}

/*
 * A product is sold out to buyers who have not paid, and all its holds may be asked about when the next crowd comes. Each worker asks about them
 * once, and not once for each buyer.
 */
static void test_sold_out(void **state)
{
    static const char ALL_DUE[] = "local key = KEYS[1] redis.call('HSET', key, 'ask', '1') local all = redis.call('HGETALL', key) "
                                  "for n = 1, #all, 2 do local before, since = all[n + 1]:match('^(held|%d+|%d+)|%d+|(%d+)$') "
                                  "if before then redis.call('HSET', key, all[n], before .. '|1|' .. since) end end return 1";
    struct crowd *crowd = *state;
    int64_t product = product_on(crowd->souk, 0, 3);
    char stock[64], *due;
    product_put(crowd->souk, product, BUYERS);
    snprintf(stock, sizeof(stock), "stock:{%lld}:%lld", (long long)product % SOUK_PARTITIONS, (long long)product);
    for (int round = 0; round < 2; round++) {
        long long before = functions_called(crowd->souk);
        for (int i = 0; i < BUYERS; i++) {
            char key[32];
            snprintf(key, sizeof(key), "sold-%d-%d", round, i);
            post_set(&crowd->posts[i], worker_of(crowd, i), "/orders", key,
                     "{\"user\":\"sold-%d\",\"items\":[{\"product_id\":%lld,\"quantity\":1}]}", i, (long long)product);
        }
        all_buy(crowd);
        assert_int_equal(count_status(crowd->responses, BUYERS, round ? 409 : 201), BUYERS);
        responses_free(crowd->responses, BUYERS);
        print_message("%lld calls for %d buyers\n", functions_called(crowd->souk) - before, BUYERS);
        assert_true(functions_called(crowd->souk) - before < 5LL * BUYERS);
        due = REDIS(souk_shard(crowd->souk, 0), "EVAL", ALL_DUE, "1", stock);
        assert_string_equal(due, "1");
        free(due);
    }
    assert_int_equal(stock_of(crowd->souk, product, "held"), BUYERS);
    assert_true(souk_audit(crowd->souk));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_last_unit),
        cmocka_unit_test(test_again),
        cmocka_unit_test(test_pairs),
        cmocka_unit_test(test_sold_out),
    };
    return cmocka_run_group_tests(tests, crowd_setup, crowd_teardown);
}
