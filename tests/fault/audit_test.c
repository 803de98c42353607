#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "fault_test_lib.h"

/*
 * The audit of a store that was damaged by hand, and the audit that the order workers do by themselves. What single functions find is in
 * tests/lua/audit_test.c.
 */
static const char *const ENV[] = {"SOUK_AUDIT_S=1", NULL};

static int setup(void **state)
{
    *state = souk_start(
        &(struct souk_settings){.env = ENV, .roles = {[SOUK_PRODUCT] = true, [SOUK_ORDER] = true, [SOUK_PAYMENT] = true, [SOUK_SANDBOX] = true}});
    return 0;
}

static int teardown(void **state)
{
    return souk_stop(*state) ? -1 : 0;
}

static struct response *get(struct souk *souk, int worker, const char *path)
{
    char url[160];

    snprintf(url, sizeof(url), "%s%s", souk_url(souk, worker), path);
    return client_send(souk_client(souk), &(struct client_request){.method = "GET", .url = url});
}

static int64_t order(struct souk *souk, const char *key)
{
    struct post post;
    struct response *response;
    int64_t id;

    post_set(&post, souk_url(souk, SOUK_ORDER), "/orders", key, "{\"user\":\"ann\",\"items\":[{\"product_id\":%lld,\"quantity\":1}]}",
             (long long)product_on(souk, 0, 0));
    response = post_send(souk_client(souk), &post);
    assert_status(response, 201);
    id = id_in(response);
    response_free(response);
    return id;
}

struct wait {
    struct souk *souk;
    int worker;
    const char *text;
};

static bool shows(void *cookie)
{
    struct wait *wait = cookie;
    struct response *response = get(wait->souk, wait->worker, "/metrics");
    bool found = response->status == 200 && strstr(response->body, wait->text);

    response_free(response);
    return found;
}

/* Does one of these workers say so within 15 s? */
static void await_metric(struct souk *souk, const char *text)
{
    struct wait wait = {souk, SOUK_ORDER, text};

    if (!souk_wait(shows, &wait, 15000))
        fail_msg("/metrics does not come to show %s", text);
}

static bool finds(void *cookie)
{
    struct wait *wait = cookie;
    struct response *response = get(wait->souk, wait->worker, "/admin/audit");
    bool found = response->status == 200 && json_is_false(json_at(response->json, "ok")) && strstr(response->body, wait->text);

    response_free(response);
    return found;
}

/* Does the audit come to name this? It counts what was written before a millisecond that has passed, so it may not see it at once. */
static void assert_found(struct souk *souk, const char *want)
{
    struct wait wait = {souk, SOUK_ORDER, want};

    if (!souk_wait(finds, &wait, 5000))
        fail_msg("the audit does not name \"%s\"", want);
}

static void test_figures(void **state)
{
    struct souk *souk = *state;

    product_put(souk, product_on(souk, 0, 0), 100);
    for (int i = 0; i < 5; i++) {
        char key[32];

        snprintf(key, sizeof(key), "figures-%d", i);
        order(souk, key);
    }
    await_metric(souk, "souk_audit_checked{what=\"orders\"} 5\n");
    await_metric(souk, "souk_audit_checked{what=\"events\"} 5\n");
    await_metric(souk, "souk_audit_violations{kind=\"feed\"} 0\n");
    await_metric(souk, "\nsouk_audit_duration_seconds ");
}

static void test_feed(void **state)
{
    struct souk *souk = *state;
    int64_t id = order(souk, "feed");
    char feed[64], want[64], text[160], *found, *entry;
    struct redis_fixture *shard = souk_shard(souk, souk_shard_of(souk, id));

    snprintf(feed, sizeof(feed), "events:{%lld}", (long long)(id % SOUK_PARTITIONS));
    snprintf(want, sizeof(want), "partition %lld: its orders have", (long long)(id % SOUK_PARTITIONS));
    assert_true(souk_audit(souk));

    /* A version without its entry. */
    found = REDIS(shard, "XREVRANGE", feed, "+", "-", "COUNT", "1");
    assert_non_null(found);
    entry = strdup(strrchr(found, '\n') + 1);
    *strchr(found, '\n') = '\0';
    REDIS_DO(shard, "XDEL", feed, found);
    assert_found(souk, want);
    await_metric(souk, "souk_audit_violations{kind=\"feed\"} 1\n");

    /* The right one again, then one of another state. */
    REDIS_DO(shard, "XADD", feed, "*", "e", entry);
    assert_true(souk_audit(souk));
    snprintf(text, sizeof(text), "%lld||2|reserved|paid|paid|pay|", (long long)id);
    REDIS_DO(shard, "XADD", feed, "*", "e", text);
    assert_found(souk, want);
    free(found);
    found = REDIS(shard, "XREVRANGE", feed, "+", "-", "COUNT", "1");
    *strchr(found, '\n') = '\0';
    REDIS_DO(shard, "XDEL", feed, found);
    assert_true(souk_audit(souk));

    /* As many as there should be, and one of them says something else. */
    free(found);
    found = REDIS(shard, "XREVRANGE", feed, "+", "-", "COUNT", "1");
    *strchr(found, '\n') = '\0';
    REDIS_DO(shard, "XDEL", feed, found);
    snprintf(text, sizeof(text), "%lld||1||paid|none|place|", (long long)id);
    REDIS_DO(shard, "XADD", feed, "*", "e", text);
    assert_found(souk, want);
    REDIS_DO(shard, "XTRIM", feed, "MAXLEN", "0");
    for (int i = 0; i < 5; i++) { /* all of ann's orders are in one partition */
        snprintf(text, sizeof(text), "%lld||1||reserved|none|place|", (long long)(id - (i + 1) * SOUK_PARTITIONS));
        REDIS_DO(shard, "XADD", feed, "*", "e", text);
    }
    REDIS_DO(shard, "XADD", feed, "*", "e", entry);
    free(found);
    free(entry);
    assert_true(souk_audit(souk));
    await_metric(souk, "souk_audit_violations{kind=\"feed\"} 0\n");
}

/* More holds than are read in one call: here marks of orders that have ended. */
static void test_many_holds(void **state)
{
    static const char FILL[] =
        "local t = redis.call('TIME') local now = string.format('%d', t[1] * 1000) "
        "for n = 1, 5000 do redis.call('HSET', KEYS[1], string.format('%032x.%016x.1', n, n), 'released|1|7|' .. now .. '|' .. now) end "
        "redis.call('HSET', KEYS[1], 'ask', now) redis.call('ZADD', KEYS[2], now, ARGV[1]) return 1";
    struct souk *souk = *state;
    int64_t product = product_on(souk, 1, 0);
    struct redis_fixture *shard = souk_shard(souk, 1);
    char stock[64], asks[32], id[32], want[128];
    struct response *response;

    product_put(souk, product, 100);
    snprintf(stock, sizeof(stock), "stock:{%lld}:%lld", (long long)(product % SOUK_PARTITIONS), (long long)product);
    snprintf(asks, sizeof(asks), "asks:{%lld}", (long long)(product % SOUK_PARTITIONS));
    snprintf(id, sizeof(id), "%lld", (long long)product);
    snprintf(want, sizeof(want), "product %lld: held is 1, committed is 0, and the holds sum to 0 and 0", (long long)product);
    REDIS_DO(shard, "EVAL", FILL, "2", stock, asks, id);
    assert_true(souk_audit(souk));
    response = get(souk, SOUK_ORDER, "/admin/audit");
    assert_true(json_integer_value(json_at(response->json, "checked.holds")) >= 5000);
    response_free(response);
    REDIS_DO(shard, "HSET", stock, "held", "1");
    assert_found(souk, want);
    REDIS_DO(shard, "HSET", stock, "held", "0");
    assert_true(souk_audit(souk));
}

/* Orders come and go, are paid, given back and fulfilled, until it is told to stop. */
struct shopper {
    struct souk *souk;
    atomic_bool stop;
    atomic_int orders;
    int number, round;
    pthread_t thread;
};

static int64_t ask(struct shopper *shopper, struct client *client, int worker, const char *path, const char *body)
{
    struct post post;
    struct response *response;
    char key[64];
    int64_t id;

    snprintf(key, sizeof(key), "busy-%d-%d-%.40s", shopper->number, shopper->round, path);
    post_set(&post, souk_url(shopper->souk, worker), path, key, "%s", body);
    response = post_send(client, &post);
    id = response->status < 300 ? id_in(response) : 0;
    response_free(response);
    return id;
}

static void *shop(void *cookie)
{
    struct shopper *shopper = cookie;
    struct client *client = client_new();

    for (; !shopper->stop; shopper->round++) {
        char path[64], body[200];
        int64_t id, payment;

        snprintf(body, sizeof(body), "{\"user\":\"u%d\",\"items\":[{\"product_id\":%lld,\"quantity\":1},{\"product_id\":%lld,\"quantity\":2}]}",
                 shopper->round % 7, (long long)product_on(shopper->souk, 0, 1), (long long)product_on(shopper->souk, 1, 1));
        id = ask(shopper, client, SOUK_ORDER, "/orders", body);
        shopper->orders += id != 0;
        snprintf(body, sizeof(body), "{\"order_id\":%lld,\"method\":{\"token\":\"tok_ok\"}}", (long long)id);
        payment = id && shopper->round % 4 ? ask(shopper, client, SOUK_PAYMENT, "/payments", body) : 0;
        snprintf(path, sizeof(path), "/payments/%lld/refunds", (long long)payment);
        if (payment && shopper->round % 4 == 1)
            ask(shopper, client, SOUK_PAYMENT, path, "{\"amount\":6.00}");
        snprintf(path, sizeof(path), "/orders/%lld/%s", (long long)id, shopper->round % 4 == 2 ? "fulfil" : "cancel");
        if (shopper->round % 4 != 3)
            ask(shopper, client, SOUK_ORDER, path, "{}");
    }
    client_free(client);
    return NULL;
}

static int placed_by(const struct shopper *shoppers, int count)
{
    int sum = 0;

    for (int i = 0; i < count; i++)
        sum += shoppers[i].orders;
    return sum;
}

/* What moves while it is read is no violation. */
static void test_while_orders_flow(void **state)
{
    struct souk *souk = *state;
    struct shopper shoppers[4];
    int64_t now = clock_now_ms(), enough = now + 4000, patience = now + 60000;
    struct response *wrong = NULL;
    int audits = 0, orders;

    product_put(souk, product_on(souk, 0, 1), 1000000);
    product_put(souk, product_on(souk, 1, 1), 1000000);
    for (int i = 0; i < 4; i++) {
        shoppers[i] = (struct shopper){.souk = souk, .number = i};
        assert_int_equal(pthread_create(&shoppers[i].thread, NULL, shop, &shoppers[i]), 0);
    }
    for (; !wrong && (now < enough || (now < patience && (audits < 5 || placed_by(shoppers, 4) < 50))); now = clock_now_ms(), audits++) {
        struct response *response = get(souk, SOUK_ORDER, "/admin/audit");
        if (response->status != 200 || !json_is_true(json_at(response->json, "ok")))
            wrong = response;
        else
            response_free(response);
    }
    for (int i = 0; i < 4; i++) {
        shoppers[i].stop = true;
        pthread_join(shoppers[i].thread, NULL);
    }
    if (wrong)
        fail_msg("audit %d says %d: %s", audits, wrong->status, wrong->body);
    orders = placed_by(shoppers, 4);
    print_message("%d audits, %d orders\n", audits, orders);
    assert_true(audits >= 5 && orders >= 50);
    assert_true(souk_audit(souk));
}

static int64_t audits_of(struct souk *souk, int worker)
{
    struct response *response = get(souk, worker, "/metrics");
    const char *at = strstr(response->body, "\nsouk_audits_total ");
    int64_t count;

    assert_non_null(at);
    count = strtoll(at + strlen("\nsouk_audits_total "), NULL, 10);
    response_free(response);
    return count;
}

/* Two workers with a period of a second: together they audit about once a second, not each. */
static void test_one_at_a_time(void **state)
{
    struct souk *souk = *state;
    int other = souk_add(souk, SOUK_ORDER);
    int64_t before = audits_of(souk, SOUK_ORDER) + audits_of(souk, other), since = clock_now_ms(), made, took;

    do {
        made = audits_of(souk, SOUK_ORDER) + audits_of(souk, other) - before;
        took = clock_now_ms() - since;
    } while (made < 4 && took < 60000);
    assert_true(made >= 4);
    assert_true(took >= 3000);
    assert_true(souk_audit(souk));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_figures),           cmocka_unit_test(test_feed),          cmocka_unit_test(test_many_holds),
        cmocka_unit_test(test_while_orders_flow), cmocka_unit_test(test_one_at_a_time),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
