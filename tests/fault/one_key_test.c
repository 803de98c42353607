#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "fault_test_lib.h"

/*
 * Many clients with one Idempotency-Key, at once, over two workers: one decision, and everybody is told the same bytes.
 */
#define CLIENTS 64

/* Client ${i} orders ${quantity_of}(i) of both products. */
static void all_order(struct crowd *crowd, const char *key, int64_t left, int64_t right, int (*quantity_of)(int i))
{
    for (int i = 0; i < CLIENTS; i++) {
        post_set(&crowd->posts[i], souk_url(crowd->souk, i % 2 ? crowd->second : SOUK_ORDER), "/orders", key,
                 "{\"user\":\"ann\",\"items\":[{\"product_id\":%lld,\"quantity\":%d},{\"product_id\":%lld,\"quantity\":1}]}", (long long)left,
                 quantity_of(i), (long long)right);
        crowd->requests[i] = crowd->posts[i].request;
    }
    client_send_all(souk_client(crowd->souk), crowd->requests, CLIENTS, crowd->responses);
}

static int always_two(int i)
{
    return 2;
}

static int two_or_three(int i)
{
    return 2 + i % 2;
}

static void assert_all_same(struct crowd *crowd, int status)
{
    for (int i = 0; i < CLIENTS; i++) {
        assert_status(crowd->responses[i], status);
        assert_string_equal(crowd->responses[i]->body, crowd->responses[0]->body);
    }
}

static void test_one_order(void **state)
{
    struct crowd *crowd = *state;
    int64_t left = product_on(crowd->souk, 0, 0), right = product_on(crowd->souk, 1, 0), before = order_count(crowd->souk);
    product_put(crowd->souk, left, 1000);
    product_put(crowd->souk, right, 1000);
    for (int round = 0; round < 5; round++) {
        char key[32];
        snprintf(key, sizeof(key), "one-%d", round);
        all_order(crowd, key, left, right, always_two);
        assert_all_same(crowd, 201);
        responses_free(crowd->responses, CLIENTS);
        assert_int_equal(order_count(crowd->souk), before + round + 1);
        assert_int_equal(stock_of(crowd->souk, left, "held"), 2 * (round + 1));
        assert_int_equal(stock_of(crowd->souk, right, "held"), round + 1);
    }
    assert_true(souk_audit(crowd->souk));
}

static void test_one_refusal(void **state)
{
    struct crowd *crowd = *state;
    int64_t left = product_on(crowd->souk, 0, 1), right = product_on(crowd->souk, 1, 1), before = order_count(crowd->souk);
    product_put(crowd->souk, left, 1000);
    product_put(crowd->souk, right, 0);
    for (int round = 0; round < 5; round++) {
        char key[32];
        snprintf(key, sizeof(key), "no-%d", round);
        all_order(crowd, key, left, right, always_two);
        assert_all_same(crowd, 409);
        responses_free(crowd->responses, CLIENTS);
    }
    assert_int_equal(order_count(crowd->souk), before);
    assert_int_equal(stock_of(crowd->souk, left, "held"), 0);
    assert_true(souk_audit(crowd->souk));
}

/* Two requests that differ, with one key: one of them is it, and the other is told so. */
static void test_two_requests(void **state)
{
    struct crowd *crowd = *state;
    int64_t left = product_on(crowd->souk, 0, 2), right = product_on(crowd->souk, 1, 2), before = order_count(crowd->souk);
    product_put(crowd->souk, left, 1000);
    product_put(crowd->souk, right, 1000);
    all_order(crowd, "two", left, right, two_or_three);
    int winner = crowd->responses[0]->status == 201 ? 0 : 1;
    for (int i = 0; i < CLIENTS; i++) {
        struct response *response = crowd->responses[i];
        assert_status(response, i % 2 == winner ? 201 : 422);
        if (i % 2 == winner)
            assert_string_equal(response->body, crowd->responses[winner]->body);
        else
            assert_true(code_is(response, "idempotency_key_reused"));
    }
    responses_free(crowd->responses, CLIENTS);
    assert_int_equal(order_count(crowd->souk), before + 1);
    assert_int_equal(stock_of(crowd->souk, left, "held"), 2 + winner);
    assert_int_equal(stock_of(crowd->souk, right, "held"), 1);
    assert_true(souk_audit(crowd->souk));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_one_order),
        cmocka_unit_test(test_one_refusal),
        cmocka_unit_test(test_two_requests),
    };
    return cmocka_run_group_tests(tests, crowd_setup, crowd_teardown);
}
