#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "fault_test_lib.h"

/*
 * kill -9 of a worker at the worst moments. The moment is hit by stopping the shard that would have to answer next: what was asked before is then
 * done, and what is asked after it is not.
 *
 *   shard 0, shard 1   the products          shard 2   the orders (the buyers live there)
 */
#define ASK_AFTER_MS 10000
#define MOMENT_MS 2500

static struct souk *start(bool payment)
{
    static const char *const ENV[] = {FAULT_PATIENT, NULL};
    return souk_start(&(struct souk_settings){.env = ENV, .roles = {[SOUK_PRODUCT] = true, [SOUK_ORDER] = true, [SOUK_PAYMENT] = payment}});
}

/* A buyer and what he wants: all units of both products. */
struct deal {
    struct souk *souk;
    int64_t left, right;
    int survivor; /* the order worker that lives */
    char user[32], key[64];
    struct post post;
};

static void deal_set(struct deal *deal, struct souk *souk, int survivor, int n)
{
    *deal = (struct deal){.souk = souk, .left = product_on(souk, 0, n), .right = product_on(souk, 1, n), .survivor = survivor};
    user_on(souk, 2, n, deal->user);
    snprintf(deal->key, sizeof(deal->key), "deal-%d", n);
    product_put(souk, deal->left, 2);
    product_put(souk, deal->right, 1);
}

static void post_deal(struct deal *deal, const char *user, const char *key)
{
    post_set(&deal->post, souk_url(deal->souk, deal->survivor), "/orders", key,
             "{\"user\":\"%s\",\"items\":[{\"product_id\":%lld,\"quantity\":2},{\"product_id\":%lld,\"quantity\":1}]}", user, (long long)deal->left,
             (long long)deal->right);
}

/* The client's retry with his key, at the worker that lives, until the shards are there again for it. */
static struct response *retry(struct deal *deal)
{
    int64_t until = clock_now_ms() + 6000;
    post_deal(deal, deal->user, deal->key);
    for (;;) {
        struct response *response = post_send(souk_client(deal->souk), &deal->post);
        if (response->status != 503 || clock_now_ms() > until)
            return response;
        response_free(response);
    }
}

/* Somebody else wants the same units, with a new key each time. Returns how long after ${since} he had them; fails when that is too long. */
static int64_t rival_gets_it(struct deal *deal, int n, int64_t since)
{
    for (int i = 0;; i++) {
        char user[32], key[64];
        user_on(deal->souk, 2, 100 + n, user);
        snprintf(key, sizeof(key), "rival-%d-%d", n, i);
        post_deal(deal, user, key);
        struct response *response = post_send(souk_client(deal->souk), &deal->post);
        int64_t took = clock_now_ms() - since;
        bool got = response->status == 201;
        if (!got && response->status != 503)
            assert_status(response, 409);
        if (!got && took > ASK_AFTER_MS + MOMENT_MS)
            fail_msg("the units are still not there %lld ms after a dead worker took them: %s", (long long)took, response->body);
        response_free(response);
        if (got)
            return took;
    }
}

static void assert_units(struct deal *deal, int64_t left, int64_t right)
{
    assert_int_equal(stock_of(deal->souk, deal->left, "held"), left);
    assert_int_equal(stock_of(deal->souk, deal->right, "held"), right);
}

/* The worker dies when one product has answered TRY and the other cannot: PLACE was never sent. What was in the stopped shard's socket is carried out
 * later, on behalf of nobody. */
static int64_t die_between_tries(struct deal *deal, int worker)
{
    souk_pause_shard(deal->souk, 1);
    post_deal(deal, deal->user, deal->key);
    struct raw *raw = post_raw(souk_worker_port(deal->souk, worker), "/orders", &deal->post);
    assert_true(stock_becomes(deal->souk, deal->left, "held", 2, 2000));
    int64_t since = clock_now_ms();
    souk_kill(deal->souk, worker);
    souk_resume_shard(deal->souk, 1);
    raw_close(raw);
    return since;
}

/* It dies with both holds taken, and PLACE in the socket of the stopped shard, or not yet written to it. */
static int64_t die_before_place(struct deal *deal, int worker)
{
    souk_pause_shard(deal->souk, 2);
    post_deal(deal, deal->user, deal->key);
    struct raw *raw = post_raw(souk_worker_port(deal->souk, worker), "/orders", &deal->post);
    assert_true(stock_becomes(deal->souk, deal->left, "held", 2, 2000));
    assert_true(stock_becomes(deal->souk, deal->right, "held", 1, 2000));
    int64_t since = clock_now_ms();
    souk_kill(deal->souk, worker);
    souk_resume_shard(deal->souk, 2);
    raw_close(raw);
    return since;
}

/* It is told that PLACE was not sent, as the shard is gone; then it dies. */
static int64_t die_without_place(struct deal *deal, int worker)
{
    souk_kill_shard(deal->souk, 2);
    post_deal(deal, deal->user, deal->key);
    struct raw *raw = post_raw(souk_worker_port(deal->souk, worker), "/orders", &deal->post);
    struct response *response = raw_read(raw, false, 4000);
    assert_status(response, 503);
    response_free(response);
    assert_units(deal, 2, 1);
    int64_t since = clock_now_ms();
    souk_kill(deal->souk, worker);
    souk_restart_shard(deal->souk, 2);
    raw_close(raw);
    return since;
}

/* The client comes back with his key: he gets his order with the very holds that the dead worker took. */
static void test_retry_gets_the_order(void **state)
{
    int64_t (*const deaths[])(struct deal * deal, int worker) = {die_between_tries, die_before_place, die_without_place};
    struct souk *souk = start(false);
    for (int i = 0; i < 3; i++) {
        struct deal deal;
        int worker = souk_add(souk, SOUK_ORDER);
        deal_set(&deal, souk, SOUK_ORDER, i);
        deaths[i](&deal, worker);
        struct response *response = retry(&deal), *again;
        assert_status(response, 201);
        again = retry(&deal);
        assert_status(again, 201);
        assert_string_equal(again->body, response->body);
        response_free(response);
        response_free(again);
        assert_units(&deal, 2, 1);
        assert_int_equal(order_count(souk), i + 1);
    }
    assert_true(souk_audit(souk));
    assert_int_equal(souk_stop(souk), 0);
}

/* Nobody comes back: the dead worker's holds stand in nobody's way for longer than their time. All three wait for it together. */
static void test_holds_block_nobody(void **state)
{
    int64_t (*const deaths[])(struct deal * deal, int worker) = {die_between_tries, die_without_place, die_before_place};
    struct souk *souk = start(false);
    struct deal deals[3];
    int64_t since[3];
    for (int i = 0; i < 3; i++) {
        int worker = souk_add(souk, SOUK_ORDER);
        deal_set(&deals[i], souk, SOUK_ORDER, i);
        since[i] = deaths[i](&deals[i], worker);
    }
    assert_true(souk_wait_ready(souk, SOUK_ORDER, 5000));
    for (int i = 0; i < 2; i++) {
        int64_t took = rival_gets_it(&deals[i], i, since[i]);
        print_message("the rival had the units %lld ms after the worker's death\n", (long long)took);
        struct response *response = retry(&deals[i]);
        assert_status(response, 409);
        response_free(response);
        assert_units(&deals[i], 2, 1);
    }
    /* Here PLACE may have been carried out: either the order is there and keeps its units, or it never will be and the rival gets them. */
    bool placed = order_count(souk) == 3;
    print_message("PLACE was %s\n", placed ? "carried out behind the worker's death" : "not carried out");
    if (!placed)
        rival_gets_it(&deals[2], 2, since[2]);
    struct response *response = retry(&deals[2]);
    assert_status(response, placed ? 201 : 409);
    response_free(response);
    assert_units(&deals[2], 2, 1);
    assert_int_equal(order_count(souk), 3);
    assert_true(souk_audit(souk));
    assert_int_equal(souk_stop(souk), 0);
}

/* ---- between paid and CONFIRM ---- */

static int64_t place(struct deal *deal)
{
    struct response *response = retry(deal);
    assert_status(response, 201);
    int64_t id = id_in(response);
    response_free(response);
    return id;
}

static struct raw *pay(struct deal *deal, int64_t order)
{
    post_set(&deal->post, souk_url(deal->souk, SOUK_PAYMENT), "/payments", deal->key, "{\"order_id\":%lld,\"method\":{\"token\":\"tok_ok\"}}",
             (long long)order);
    return post_raw(souk_worker_port(deal->souk, SOUK_PAYMENT), "/payments", &deal->post);
}

/* How often the gateway took money. */
static int charges(struct souk *souk)
{
    static const char WORD[] = "\"op\":\"charge\"";
    char *journal = souk_journal(souk);
    int count = 0;
    for (const char *at = journal; (at = strstr(at, WORD)); at++)
        count++;
    free(journal);
    return count;
}

static void assert_confirmed(struct deal *deal, int64_t order)
{
    assert_true(stock_becomes(deal->souk, deal->left, "committed", 2, 12000));
    assert_true(stock_becomes(deal->souk, deal->right, "committed", 1, 12000));
    assert_true(duty_goes(deal->souk, order, 12000));
    assert_units(deal, 0, 0);
    assert_true(order_becomes(deal->souk, order, "paid", 0));
    assert_true(souk_audit(deal->souk));
}

/*
 * The stock's shard is stopped, or gone: CONFIRM waits in its socket, or is not sent at all. The order is paid, its worker dies, and another one's
 * sweep confirms.
 */
static void test_death_before_confirm(void **state)
{
    for (int gone = 0; gone < 2; gone++) {
        struct souk *souk = start(true);
        struct deal deal;
        deal_set(&deal, souk, SOUK_ORDER, 0);
        int64_t order = place(&deal);
        if (gone)
            souk_kill_shard(souk, 0);
        else
            souk_pause_shard(souk, 0);
        struct raw *raw = pay(&deal, order);
        assert_true(order_becomes(souk, order, "paid", 5000));
        souk_kill(souk, SOUK_PAYMENT);
        raw_close(raw);
        if (gone)
            souk_restart_shard(souk, 0);
        else
            souk_resume_shard(souk, 0);
        assert_confirmed(&deal, order);

        /* The client's retry at a new payment worker finds his payment; he was charged once. */
        souk_restart(souk, SOUK_PAYMENT);
        raw = pay(&deal, order);
        struct response *response = raw_read(raw, false, 5000);
        assert_status(response, 201);
        response_free(response);
        raw_close(raw);
        assert_int_equal(charges(souk), 1);
        assert_true(souk_audit(souk));
        assert_int_equal(souk_stop(souk), 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_retry_gets_the_order),
        cmocka_unit_test(test_holds_block_nobody),
        cmocka_unit_test(test_death_before_confirm),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
