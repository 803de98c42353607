#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "fault_test_lib.h"

/*
 * More than a worker can do: what is too much is told so at once and can be repeated, what is inside is done, nothing is lost, and garbage among it
 * stays the sender's fault. How much is done meanwhile is measured by bench/overload.
 */
#define INSIDE 16
#define CROWD 40
#define MANY 100
#define AT_ONCE_MS 1000

static struct souk *start(const char *const *env)
{
    return souk_start(&(struct souk_settings){.shards = 2, .env = env, .roles = {[SOUK_PRODUCT] = true, [SOUK_ORDER] = true}});
}

/* Buyers are on both shards in turn, the product is on one. */
static void set_order_on(struct souk *souk, unsigned shard, struct post *post, const char *name, int n)
{
    char user[32], key[48];

    user_on(souk, (unsigned)n % 2, n, user);
    snprintf(key, sizeof(key), "%s-%d", name, n);
    post_set(post, souk_url(souk, SOUK_ORDER), "/orders", key, "{\"user\":\"%s\",\"items\":[{\"product_id\":%lld,\"quantity\":1}]}", user,
             (long long)product_on(souk, shard, 0));
}

static void set_order(struct souk *souk, struct post *post, const char *name, int n)
{
    set_order_on(souk, 1, post, name, n);
}

static void pause_all(struct souk *souk, bool pause)
{
    for (unsigned i = 0; i < souk_shard_count(souk); i++)
        (pause ? souk_pause_shard : souk_resume_shard)(souk, i);
}

struct inside {
    struct souk *souk;
    int want;
};

static bool so_many_inside(void *cookie)
{
    struct inside *inside = cookie;
    char url[128];
    struct response *response;
    const char *at;
    bool reached;

    snprintf(url, sizeof(url), "%s/metrics", souk_url(inside->souk, SOUK_ORDER));
    response = client_send(souk_client(inside->souk), &(struct client_request){.method = "GET", .url = url});
    at = response->status == 200 ? strstr(response->body, "\nsouk_requests_inside ") : NULL;
    reached = at && atoi(at + strlen("\nsouk_requests_inside ")) >= inside->want;
    response_free(response);
    return reached;
}

static void assert_overloaded(const struct response *response)
{
    assert_status(response, 503);
    assert_true(code_is(response, "overloaded"));
    assert_true(json_is_true(json_at(response->json, "retryable")));
    assert_non_null(response_header(response, "Retry-After"));
    assert_null(response_header(response, "Souk-Durability"));
    if (response->took_ms > AT_ONCE_MS)
        fail_msg("the refusal took %.0f ms", response->took_ms);
}

/* What nobody should send: answered with 4xx, or 503 when there is no room to look at it. */
static void send_garbage(struct souk *souk, bool crowded)
{
    static const char *const HEADERS[] = {"Content-Type: application/json", "Idempotency-Key: garbage", NULL};
    static const struct {
        const char *method, *path, *body;
    } GARBAGE[] = {
        {"POST", "/orders", "{\"user\":"},
        {"POST", "/orders", "[1,2,3]"},
        {"POST", "/orders", "{\"user\":\"ann\",\"items\":[{\"product_id\":-1,\"quantity\":1e99}]}"},
        {"POST", "/orders", "\xff\xfe\x00"},
        {"GET", "/orders/99999999999999999999", NULL},
        {"GET", "/orders?limit=x", NULL},
        {"BREW", "/orders", NULL},
        {"DELETE", "/nothing", NULL},
    };

    for (size_t i = 0; i < sizeof(GARBAGE) / sizeof(*GARBAGE); i++) {
        char url[160];
        struct client_request request = {.method = GARBAGE[i].method, .url = url, .headers = HEADERS, .body = GARBAGE[i].body};
        struct response *response;

        snprintf(url, sizeof(url), "%s%s", souk_url(souk, SOUK_ORDER), GARBAGE[i].path);
        request.body_len = GARBAGE[i].body ? strlen(GARBAGE[i].body) : 0;
        response = client_send(souk_client(souk), &request);
        if ((response->status < 400 || response->status > 499) && response->status != 501 && !(crowded && response->status == 503))
            fail_msg("%s %s: %d %s", GARBAGE[i].method, GARBAGE[i].path, response->status, response->body ? response->body : response->error);
        response_free(response);
    }
}

/* What was inside is done. On a very busy machine a shard may have been stopped for so long that its answer was given up: then the client repeats. */
static void assert_done(struct souk *souk, struct raw **raws, const struct post *posts, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        struct response *response = raw_read(raws[i], false, 10000);

        for (int n = 0; response->status == 503 && n < 100; n++) {
            assert_false(code_is(response, "overloaded"));
            response_free(response);
            souk_wait_ready(souk, SOUK_ORDER, 10000);
            response = post_send(souk_client(souk), &posts[i]);
        }
        assert_status(response, 201);
        response_free(response);
        raw_close(raws[i]);
    }
}

/* SOUK_INSIDE_MAX: so many wait for shards that are stopped, all others hear at once that there is no room. */
static void test_no_more_than_inside_max(void **state)
{
    static const char *const ENV[] = {"SOUK_INSIDE_MAX=16", FAULT_PATIENT, NULL};
    struct souk *souk = start(ENV);
    struct inside inside = {souk, INSIDE};
    struct post posts[INSIDE + CROWD];
    struct client_request requests[CROWD];
    struct response *responses[CROWD];
    struct raw *raws[INSIDE];

    product_put(souk, product_on(souk, 1, 0), 1000);
    for (int i = 0; i < INSIDE + CROWD; i++)
        set_order(souk, &posts[i], "max", i);
    for (int i = 0; i < CROWD; i++)
        requests[i] = posts[INSIDE + i].request;
    send_garbage(souk, false);
    pause_all(souk, true);
    for (int i = 0; i < INSIDE; i++)
        raws[i] = post_raw(souk_worker_port(souk, SOUK_ORDER), "/orders", &posts[i]);
    assert_true(souk_wait(so_many_inside, &inside, 1500));
    client_send_all(souk_client(souk), requests, CROWD, responses);
    for (int i = 0; i < CROWD; i++)
        assert_overloaded(responses[i]);
    responses_free(responses, CROWD);
    send_garbage(souk, true);
    pause_all(souk, false);
    assert_done(souk, raws, posts, INSIDE);

    /* The others again, one after the other: each has its order now. */
    for (int i = 0; i < CROWD; i++) {
        struct response *response = post_send(souk_client(souk), &posts[INSIDE + i]);

        assert_status(response, 201);
        response_free(response);
    }
    assert_int_equal(order_count(souk), INSIDE + CROWD);
    assert_int_equal(stock_of(souk, product_on(souk, 1, 0), "held"), INSIDE + CROWD);
    send_garbage(souk, false);
    assert_true(souk_audit(souk));
    assert_int_equal(souk_stop(souk), 0);
}

/* SOUK_QUEUE_MS: there is room, but calls to both shards stand in line for longer than that. Who comes then is refused, until the line is gone. */
static void test_no_long_queue(void **state)
{
    static const char *const ENV[] = {"SOUK_QUEUE_MS=500", FAULT_PATIENT, NULL}; /* 100 requests are sent sooner, on a busy machine too */
    struct souk *souk = start(ENV);
    struct inside inside = {souk, MANY};
    struct post posts[MANY], late;
    struct raw *raws[MANY];
    struct response *response;

    for (unsigned shard = 0; shard < 2; shard++)
        product_put(souk, product_on(souk, shard, 0), 1000);
    for (int i = 0; i < MANY; i++)
        set_order_on(souk, (unsigned)i % 2, &posts[i], "queue", i);
    pause_all(souk, true);
    for (int i = 0; i < MANY; i++)
        raws[i] = post_raw(souk_worker_port(souk, SOUK_ORDER), "/orders", &posts[i]);
    assert_true(souk_wait(so_many_inside, &inside, 1500));
    int64_t since = clock_now_ms();
    for (int n = 0;; n++) {
        struct raw *raw;

        set_order(souk, &late, "late", n);
        raw = post_raw(souk_worker_port(souk, SOUK_ORDER), "/orders", &late);
        response = raw_read(raw, false, 100);
        raw_close(raw);
        if (response->status)
            break;
        response_free(response);
        if (clock_now_ms() - since > 1500)
            fail_msg("nobody is refused although calls stand in line for %lld ms", (long long)(clock_now_ms() - since));
    }
    assert_overloaded(response);
    response_free(response);
    pause_all(souk, false);
    assert_done(souk, raws, posts, MANY);
    response = post_send(souk_client(souk), &late);
    assert_status(response, 201);
    response_free(response);
    assert_true(souk_audit(souk));
    assert_int_equal(souk_stop(souk), 0);
}

/* One shard is stopped, the other works: that is no queue everywhere, and who needs only the other is served. */
static void test_one_slow_shard_refuses_nobody_else(void **state)
{
    static const char *const ENV[] = {"SOUK_QUEUE_MS=300", FAULT_PATIENT, NULL};
    struct souk *souk = start(ENV);
    struct inside inside = {souk, MANY};
    struct post posts[MANY], other;
    struct raw *raws[MANY];
    char user[32];

    product_put(souk, product_on(souk, 1, 0), 1000);
    product_put(souk, product_on(souk, 0, 0), 1000000);
    for (int i = 0; i < MANY; i++)
        set_order(souk, &posts[i], "slow", i);
    user_on(souk, 0, 500, user);
    souk_pause_shard(souk, 1);
    for (int i = 0; i < MANY; i++)
        raws[i] = post_raw(souk_worker_port(souk, SOUK_ORDER), "/orders", &posts[i]);
    assert_true(souk_wait(so_many_inside, &inside, 1500));
    int64_t since = clock_now_ms();
    for (int n = 0; clock_now_ms() - since < 800; n++) {
        char key[32];
        struct response *response;

        snprintf(key, sizeof(key), "other-%d", n);
        post_set(&other, souk_url(souk, SOUK_ORDER), "/orders", key, "{\"user\":\"%s\",\"items\":[{\"product_id\":%lld,\"quantity\":1}]}", user,
                 (long long)product_on(souk, 0, 0));
        response = post_send(souk_client(souk), &other);
        assert_status(response, 201);
        response_free(response);
    }
    souk_resume_shard(souk, 1);
    assert_done(souk, raws, posts, MANY);
    assert_true(souk_audit(souk));
    assert_int_equal(souk_stop(souk), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_no_more_than_inside_max),
        cmocka_unit_test(test_no_long_queue),
        cmocka_unit_test(test_one_slow_shard_refuses_nobody_else),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
