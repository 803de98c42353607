#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "fault_test_lib.h"

/*
 * SOUK_WAIT_REPLICAS=1: what is answered 201 is on the shard's replica. While the replica is silent or dead nothing is answered so, neither what is
 * new nor what was done before; when it is back, the same request with the same key is answered as if nothing had been. And when the shard is gone
 * for good its replica takes its place, and nothing that was answered is missing.
 */
#define BUYERS 3
#define LAST_MOMENTS_US 1000000 /* a WAIT has given up by then */

static const char *const ENV[] = {"SOUK_WAIT_REPLICAS=1", NULL};

static int setup(void **state)
{
    *state = souk_start(&(struct souk_settings){
        .shards = 2, .replicas = true, .env = ENV, .roles = {[SOUK_PRODUCT] = true, [SOUK_ORDER] = true, [SOUK_PAYMENT] = true}});
    return 0;
}

static int teardown(void **state)
{
    return souk_stop(*state) ? -1 : 0;
}

/* Buyer ${n} of shard 0 orders one unit of a product of shard 1. */
static void set_order(struct souk *souk, struct post *post, int worker, int n, const char *key)
{
    char user[32];

    user_on(souk, 0, n, user);
    post_set(post, souk_url(souk, worker), "/orders", key, "{\"user\":\"%s\",\"items\":[{\"product_id\":%lld,\"quantity\":1}]}", user,
             (long long)product_on(souk, 1, 0));
}

static void assert_durable(const struct response *response, const char *want)
{
    const char *found = response_header(response, "Souk-Durability");

    assert_non_null(found);
    assert_string_equal(found, want);
}

static void assert_unknown(struct souk *souk, const struct post *post)
{
    struct response *response = post_send(souk_client(souk), post);

    assert_status(response, 503);
    assert_true(code_is(response, "outcome_unknown"));
    assert_non_null(response_header(response, "Retry-After"));
    assert_null(response_header(response, "Souk-Durability"));
    response_free(response);
}

struct attempt {
    struct souk *souk;
    const struct post *post;
    struct response *response;
};

static bool is_decided(void *cookie)
{
    struct attempt *attempt = cookie;

    response_free(attempt->response);
    attempt->response = post_send(souk_client(attempt->souk), attempt->post);
    return attempt->response->status != 503;
}

/* The replica is back, though the first attempts may still find it silent. Returns the order's id. */
static int64_t assert_replayed(struct souk *souk, const struct post *post)
{
    struct attempt attempt = {.souk = souk, .post = post};
    int64_t id;

    assert_true(souk_wait(is_decided, &attempt, 20000));
    assert_status(attempt.response, 201);
    assert_durable(attempt.response, "replicas=1");
    assert_non_null(response_header(attempt.response, "Idempotent-Replayed"));
    id = id_in(attempt.response);
    response_free(attempt.response);
    return id;
}

static void assert_on_replica(struct souk *souk, unsigned shard, int64_t order)
{
    char key[64], *state;

    snprintf(key, sizeof(key), "order:{%lld}:%lld", (long long)(order % SOUK_PARTITIONS), (long long)order);
    state = REDIS(souk_replica(souk, shard), "HGET", key, "state");
    assert_non_null(state);
    if (strcmp(state, "(nil)") == 0)
        fail_msg("order %lld was acknowledged and is not on the replica", (long long)order);
    free(state);
}

static void test_all_is_well(void **state)
{
    struct souk *souk = *state;
    struct response *response;
    struct post post;

    product_put(souk, product_on(souk, 1, 0), 1000);
    set_order(souk, &post, SOUK_ORDER, 0, "well");
    response = post_send(souk_client(souk), &post);
    assert_status(response, 201);
    assert_durable(response, "replicas=1");
    assert_on_replica(souk, 0, id_in(response));
    response_free(response);
    assert_true(souk_audit(souk));
}

/*
 * The order is placed on the primary, and must not be told, neither at once nor to who asks again, here or at a worker that has written nothing yet.
 */
static void outage(struct souk *souk, const char *key, void (*begin)(struct redis_fixture *replica), void (*end)(struct redis_fixture *replica))
{
    int64_t before = order_count(souk), id;
    int other = souk_add(souk, SOUK_ORDER);
    struct response *response;
    struct post post;
    char url[160];

    set_order(souk, &post, SOUK_ORDER, 1, key);
    begin(souk_replica(souk, 0));
    assert_unknown(souk, &post);
    assert_int_equal(order_count(souk), before + 1);
    assert_unknown(souk, &post);
    post_to(&post, souk_url(souk, other), "/orders");
    assert_unknown(souk, &post);
    end(souk_replica(souk, 0));
    id = assert_replayed(souk, &post);
    assert_on_replica(souk, 0, id);
    assert_int_equal(order_count(souk), before + 1);

    begin(souk_replica(souk, 0));
    snprintf(url, sizeof(url), "%s/orders/%lld", souk_url(souk, other), (long long)id);
    response = client_send(souk_client(souk), &(struct client_request){.method = "GET", .url = url});
    assert_status(response, 200); /* reads need no replica */
    assert_null(response_header(response, "Souk-Durability"));
    response_free(response);
    end(souk_replica(souk, 0));
    souk_terminate(souk, other, 12000);
    assert_true(souk_audit(souk));
}

static void test_a_silent_replica(void **state)
{
    outage(*state, "silent", redis_pause, redis_resume);
}

static void test_a_dead_replica(void **state)
{
    outage(*state, "dead", redis_kill, redis_restart);
}

/* The replica of the product's shard is silent: the units are held on its primary, and the order is not placed. */
static void test_a_silent_replica_of_the_stock(void **state)
{
    struct souk *souk = *state;
    int64_t before = order_count(souk), held = stock_of(souk, product_on(souk, 1, 0), "held");
    struct attempt attempt = {.souk = souk};
    struct post post;

    set_order(souk, &post, SOUK_ORDER, 2, "stock");
    redis_pause(souk_replica(souk, 1));
    assert_unknown(souk, &post);
    assert_int_equal(order_count(souk), before);
    redis_resume(souk_replica(souk, 1));
    attempt.post = &post;
    assert_true(souk_wait(is_decided, &attempt, 20000));
    assert_status(attempt.response, 201);
    response_free(attempt.response);
    assert_int_equal(order_count(souk), before + 1);
    assert_int_equal(stock_of(souk, product_on(souk, 1, 0), "held"), held + 1);
    assert_true(souk_audit(souk));
}

/* kill -9 of the primary under load, with what it wrote last: whatever was answered 201 is on the replica, which could take its place. */
static void test_the_primary_dies(void **state)
{
    struct souk *souk = *state;
    struct load *loads = loads_new(BUYERS);
    size_t acknowledged = 0;

    for (int i = 0; i < BUYERS; i++) {
        load_aim(&loads[i], souk_url(souk, SOUK_ORDER), souk_url(souk, SOUK_ORDER));
        loads[i].product = product_on(souk, 1, 0);
        user_on(souk, 0, 10 + i, loads[i].user);
        snprintf(loads[i].name, sizeof(loads[i].name), "primary-%d", i);
        load_start(&loads[i]);
    }
    loads_reach(loads, BUYERS, 100, 0, 30000);
    souk_kill_shard(souk, 0);
    loads_stop(loads, BUYERS);
    for (int i = 0; i < BUYERS; i++)
        for (size_t n = 0; n < atomic_load(&loads[i].count); n++)
            if (loads[i].records[n].id) {
                assert_on_replica(souk, 0, loads[i].records[n].id);
                acknowledged++;
            }
    print_message("%zu orders were acknowledged before the primary died, and all are on its replica\n", acknowledged);
    loads_free(loads, BUYERS);
    souk_restart_shard(souk, 0);
    assert_true(souk_wait_ready(souk, SOUK_ORDER, 30000));
    assert_true(souk_wait_ready(souk, SOUK_PRODUCT, 30000));
}

/* Its replica hears nothing of its last moments, and begins with what its disk has. */
static void lose_shard(struct souk *souk, unsigned shard)
{
    struct redis_fixture *replica = souk_replica(souk, shard);

    redis_pause(replica);
    usleep(LAST_MOMENTS_US);
    souk_kill_shard(souk, shard);
    redis_kill(replica);
    souk_promote(souk, shard);
}

/*
 * A machine is lost with its disk while orders are placed: first that of the buyers' shard, then that of the product's. As docs/operate.md says the
 * replica takes its place, gets a replica, and the workers begin again with its address. Buyers go on with their keys all the time.
 */
static void test_the_replica_takes_its_place(void **state)
{
    static const int WORKERS[] = {SOUK_PRODUCT, SOUK_ORDER, SOUK_PAYMENT};
    struct souk *souk = *state;
    struct load *loads = loads_new(BUYERS);

    product_put(souk, product_on(souk, 1, 1), 100000);
    for (int i = 0; i < BUYERS; i++) {
        load_aim(&loads[i], souk_url(souk, SOUK_ORDER), souk_url(souk, SOUK_ORDER));
        loads[i].product = product_on(souk, 1, 1);
        loads[i].retries = true;
        user_on(souk, 0, 20 + i, loads[i].user);
        snprintf(loads[i].name, sizeof(loads[i].name), "place-%d", i);
        load_start(&loads[i]);
    }
    for (unsigned shard = 0; shard < 2; shard++) {
        loads_reach(loads, BUYERS, 200 * (shard + 1), 0, 60000);
        lose_shard(souk, shard);
        for (size_t i = 0; i < sizeof(WORKERS) / sizeof(*WORKERS); i++)
            souk_restart(souk, WORKERS[i]);
    }
    loads_reach(loads, BUYERS, 600, 0, 60000);
    loads_stop(loads, BUYERS);
    loads_check(souk, SOUK_ORDER, loads, BUYERS);
    loads_free(loads, BUYERS);
    assert_true(souk_audit(souk));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_all_is_well),      cmocka_unit_test(test_a_silent_replica),
        cmocka_unit_test(test_a_dead_replica),   cmocka_unit_test(test_a_silent_replica_of_the_stock),
        cmocka_unit_test(test_the_primary_dies), cmocka_unit_test(test_the_replica_takes_its_place),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
