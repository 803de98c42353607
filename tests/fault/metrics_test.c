#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "fault_test_lib.h"

/*
 * What an operator sees of workers that are in use: /metrics, the same from whichever thread answers, what the shop holds, from one worker of all;
 * and the log.
 */
#define EXIT_MS 12000

static struct response *get(struct client *client, const char *base, const char *path, const char *const *headers)
{
    char url[256];
    snprintf(url, sizeof(url), "%s%s", base, path);
    return client_send(client, &(struct client_request){.method = "GET", .url = url, .headers = headers});
}

/* The sum of all samples of this name whose labels contain ${labels}; -1: there is none. */
static double sum_of(const char *page, const char *name, const char *labels)
{
    double sum = 0;
    bool found = false;
    size_t len = strlen(name);
    for (const char *line = page; line && *line; line = strchr(line, '\n') ? strchr(line, '\n') + 1 : NULL) {
        const char *end = strchr(line, '\n'), *value;
        if (strncmp(line, name, len) != 0 || (line[len] != '{' && line[len] != ' ') || !end)
            continue;
        for (value = end; value[-1] != ' '; value--)
            ;
        const char *at = *labels ? strstr(line, labels) : line;
        if (at == NULL || at > end)
            continue;
        sum += strtod(value, NULL);
        found = true;
    }
    return found ? sum : -1;
}

static double metric_by(struct client *client, const char *base, const char *name, const char *labels)
{
    struct response *response = get(client, base, "/metrics", NULL);
    double sum = response->status == 200 ? sum_of(response->body, name, labels) : -1;
    response_free(response);
    return sum;
}

/* By a client of its own, so that any thread may answer. */
static double metric(const char *base, const char *name, const char *labels)
{
    struct client *client = client_new();
    double sum = metric_by(client, base, name, labels);
    client_free(client);
    return sum;
}

/* ${client} NULL: a new one each time. */
struct wait {
    struct client *client;
    const char *base, *name, *labels;
    double want, last;
};

static bool has_come(void *cookie)
{
    struct wait *wait = cookie;
    wait->last = wait->client ? metric_by(wait->client, wait->base, wait->name, wait->labels) : metric(wait->base, wait->name, wait->labels);
    return wait->last == wait->want;
}

static void await_by(struct client *client, const char *base, const char *name, const char *labels, double want)
{
    struct wait wait = {client, base, name, labels, want, 0};
    if (!souk_wait(has_come, &wait, 15000))
        fail_msg("%s{%s} is %g and does not become %g", name, labels, wait.last, want);
}

static void await(const char *base, const char *name, const char *labels, double want)
{
    await_by(NULL, base, name, labels, want);
}

/* ---- threads ---- */

#define CLIENTS 24
#define EACH 5

/* Counters of all threads are in each page, wherever it comes from, and never go back. */
static void test_threads(void **state)
{
    static const char *const ENV[] = {"SOUK_THREADS=3", NULL};
    struct souk *souk = souk_start(&(struct souk_settings){.shards = 2, .roles = {[SOUK_PRODUCT] = true}, .env = ENV});
    const char *base = souk_url(souk, SOUK_PRODUCT);
    struct client *one = client_new();
    for (int c = 0; c < CLIENTS; c++) {
        struct client *client = client_new(); /* a connection, and so a thread, of its own */
        for (int i = 0; i < EACH; i++) {
            struct response *response = get(client, base, "/products/77", NULL);
            assert_int_equal(response->status, 404);
            response_free(response);
        }
        client_free(client);
    }
    /* Always the same thread answers here, and the others have to tell it by themselves. */
    await_by(one, base, "souk_requests_total", "route=\"/products/{id}\",status=\"404\"", CLIENTS * EACH);
    client_free(one);
    for (int i = 0; i < 10; i++)
        assert_true(metric(base, "souk_requests_total", "route=\"/products/{id}\",status=\"404\"") == CLIENTS * EACH);
    await(base, "souk_request_duration_seconds_count", "route=\"/products/{id}\"", CLIENTS * EACH);
    await(base, "souk_shard_ready", "", 2);
    await(base, "souk_threads", "", 3);
    await(base, "souk_setting", "name=\"SOUK_THREADS\"", 3);
    await(base, "souk_setting", "name=\"SOUK_CACHE_MB\"", 64);
    await(base, "souk_setting", "name=\"SOUK_WRITEBACK_MS\"", 20);
    assert_true(metric(base, "souk_shard_call_duration_seconds_count", "") >= CLIENTS * EACH);
    for (int i = 0; i < 3; i++) {
        char thread[32];
        snprintf(thread, sizeof(thread), "thread=\"%d\"", i);
        assert_true(metric(base, "souk_loop_lag_seconds_count", thread) > 0);
    }
    assert_int_equal(souk_stop(souk), 0);
}

/* ---- a shard that is away ---- */

static void test_errors_of_a_shard(void **state)
{
    struct souk *souk = souk_start(&(struct souk_settings){.shards = 2, .roles = {[SOUK_PRODUCT] = true}});
    const char *base = souk_url(souk, SOUK_PRODUCT);
    char path[64];
    assert_true(metric(base, "souk_requests_total", "status=\"503\"") == 0); /* there before the first */
    assert_true(metric(base, "souk_shard_errors_total", "") == 0);
    assert_true(metric(base, "souk_ready", "") == 1);
    souk_kill_shard(souk, 0);
    await(base, "souk_shard_ready", "shard=\"shard-1\"", 0);
    assert_true(metric(base, "souk_ready", "") == 1); /* the other one is there */
    assert_true(metric(base, "souk_shard_ready", "shard=\"shard-2\"") == 1);
    snprintf(path, sizeof(path), "/products/%lld", (long long)product_on(souk, 0, 0));
    for (int i = 0; i < 3; i++)
        response_free(get(souk_client(souk), base, path, NULL));
    assert_true(metric(base, "souk_requests_total", "status=\"503\"") == 3);
    assert_true(metric(base, "souk_shard_errors_total", "shard=\"shard-1\",kind=\"not_ready\"") >= 3);
    assert_true(metric(base, "souk_shard_errors_total", "shard=\"shard-2\"") == 0);
    souk_restart_shard(souk, 0);
    await(base, "souk_shard_ready", "shard=\"shard-1\"", 1);
    assert_true(metric(base, "souk_shard_reconnects_total", "shard=\"shard-1\"") > 0);
    assert_int_equal(souk_stop(souk), 0);
}

/* ---- what the shop holds ---- */

static const char *const COUNTING[] = {"SOUK_CENSUS_S=1", "SOUK_AUDIT_S=1", NULL};

static int64_t order(struct souk *souk, const char *key, int64_t product)
{
    struct post post;
    post_set(&post, souk_url(souk, SOUK_ORDER), "/orders", key, "{\"user\":\"%s\",\"items\":[{\"product_id\":%lld,\"quantity\":1}]}", key,
             (long long)product);
    struct response *response = post_send(souk_client(souk), &post);
    assert_status(response, 201);
    int64_t id = id_in(response);
    response_free(response);
    return id;
}

static void act(struct souk *souk, const char *base, const char *path, const char *key, const char *body)
{
    struct post post;
    post_set(&post, base, path, key, "%s", body);
    struct response *response = post_send(souk_client(souk), &post);
    assert_true(response->status == 200 || response->status == 201);
    response_free(response);
}

/* How many of these two workers show a shard's numbers? */
static int showing(struct souk *souk, int other, const char *shard)
{
    return (metric(souk_url(souk, SOUK_ORDER), "souk_census_timestamp_seconds", shard) > 0) +
           (metric(souk_url(souk, other), "souk_census_timestamp_seconds", shard) > 0);
}

struct pair {
    struct souk *souk;
    int other;
    const char *labels; /* of souk_orders */
    double want, sum;
};

static bool one_shows_each(void *cookie)
{
    const struct pair *pair = cookie;
    return showing(pair->souk, pair->other, "shard-1") == 1 && showing(pair->souk, pair->other, "shard-2") == 1;
}

static bool both_show(void *cookie)
{
    struct pair *pair = cookie;
    double one = metric(souk_url(pair->souk, SOUK_ORDER), "souk_orders", pair->labels),
           two = metric(souk_url(pair->souk, pair->other), "souk_orders", pair->labels);
    pair->sum = (one > 0 ? one : 0) + (two > 0 ? two : 0);
    return pair->sum == pair->want;
}

/* Over both workers. */
static void await_orders(struct pair *pair, const char *labels, double want)
{
    pair->labels = labels;
    pair->want = want;
    if (!souk_wait(both_show, pair, 10000))
        fail_msg("souk_orders{%s} is %g and not %g", labels, pair->sum, want);
}

static void test_census(void **state)
{
    struct souk *souk = souk_start(
        &(struct souk_settings){.shards = 2, .roles = {[SOUK_PRODUCT] = true, [SOUK_ORDER] = true, [SOUK_PAYMENT] = true}, .env = COUNTING});
    static const char *const NEVER[] = {"SOUK_CENSUS_S=0", NULL};
    char path[64], body[96];
    souk_terminate(souk, SOUK_PAYMENT, EXIT_MS); /* it sweeps too, and shall pay only */
    souk_set_env(souk, SOUK_PAYMENT, NEVER);
    int64_t product = product_on(souk, 0, 0), paid, cancelled;
    product_put(souk, product, 10);
    order(souk, "reserved", product);
    paid = order(souk, "paid", product);
    cancelled = order(souk, "cancelled", product);
    snprintf(path, sizeof(path), "/orders/%lld/cancel", (long long)cancelled);
    act(souk, souk_url(souk, SOUK_ORDER), path, "c", "{}");
    await(souk_url(souk, SOUK_ORDER), "souk_orders", "state=\"reserved\",payment_status=\"none\"", 2);
    await(souk_url(souk, SOUK_ORDER), "souk_orders", "state=\"cancelled\",payment_status=\"none\"", 1);
    await(souk_url(souk, SOUK_ORDER), "souk_products", "", 1);
    await(souk_url(souk, SOUK_ORDER), "souk_duties", "kind=\"order\"", 2);
    await(souk_url(souk, SOUK_ORDER), "souk_duties_due", "kind=\"order\"", 0);
    await(souk_url(souk, SOUK_ORDER), "souk_holds", "state=\"held\"", 2);
    await(souk_url(souk, SOUK_ORDER), "souk_holds", "state=\"ended\"", 1);

    /* Of two workers one shows a shard's numbers; the other takes over when it hangs, and then the first one shows them no more. */
    struct pair pair = {.souk = souk, .other = souk_add(souk, SOUK_ORDER)};
    assert_true(souk_wait(one_shows_each, &pair, 10000));
    souk_pause(souk, SOUK_ORDER);
    await(souk_url(souk, pair.other), "souk_products", "", 1);
    souk_resume(souk, SOUK_ORDER);
    assert_true(souk_wait(one_shows_each, &pair, 10000));
    souk_restart(souk, SOUK_PAYMENT);
    snprintf(body, sizeof(body), "{\"order_id\":%lld,\"method\":{\"token\":\"tok_ok\"}}", (long long)paid);
    act(souk, souk_url(souk, SOUK_PAYMENT), "/payments", "p", body);
    souk_terminate(souk, SOUK_PAYMENT, EXIT_MS);
    await_orders(&pair, "state=\"paid\",payment_status=\"paid\"", 1);
    await_orders(&pair, "state=\"reserved\"", 1);
    souk_kill(souk, SOUK_ORDER);
    await(souk_url(souk, pair.other), "souk_orders", "", 3);
    await(souk_url(souk, pair.other), "souk_payments", "status=\"succeeded\"", 1);
    souk_restart(souk, SOUK_ORDER);
    souk_restart(souk, SOUK_PAYMENT);
    assert_true(souk_audit(souk));
    assert_int_equal(souk_stop(souk), 0);
}

/*
 * A duty whose product's shard is away stays due, however often a sweep has tried, and is as old as its order's state, not as the last attempt. The
 * order is made older by hand, because nobody has time to wait.
 */
static void test_age_of_a_duty(void **state)
{
    struct souk *souk = souk_start(&(struct souk_settings){.shards = 2, .roles = {[SOUK_PRODUCT] = true, [SOUK_ORDER] = true}, .env = COUNTING});
    char path[64], user[32], updated[32];
    int64_t product = product_on(souk, 0, 0), id;
    struct post post;
    product_put(souk, product, 10);
    user_on(souk, 1, 0, user);
    id = order(souk, user, product);
    souk_kill_shard(souk, 0);
    snprintf(path, sizeof(path), "/orders/%lld/cancel", (long long)id);
    post_set(&post, souk_url(souk, SOUK_ORDER), path, "c", "{}");
    response_free(post_send(souk_client(souk), &post));
    await(souk_url(souk, SOUK_ORDER), "souk_duties_due", "shard=\"shard-2\",kind=\"order\"", 1);
    snprintf(path, sizeof(path), "order:{%lld}:%lld", (long long)id % SOUK_PARTITIONS, (long long)id);
    snprintf(updated, sizeof(updated), "%lld", (long long)time(NULL) * 1000 - 62000);
    free(REDIS(souk_shard(souk, 1), "HSET", path, "updated", updated));
    await(souk_url(souk, SOUK_ORDER), "souk_duties_older", "shard=\"shard-2\",kind=\"order\",age=\"1m\"", 1);
    await(souk_url(souk, SOUK_ORDER), "souk_duties_older", "shard=\"shard-2\",kind=\"order\",age=\"10m\"", 0);
    assert_true(metric(souk_url(souk, SOUK_ORDER), "souk_duty_oldest_seconds", "shard=\"shard-2\",kind=\"order\"") > 61);
    souk_restart_shard(souk, 0);
    await(souk_url(souk, SOUK_ORDER), "souk_duties", "shard=\"shard-2\",kind=\"order\"", 0);
    assert_int_equal(souk_stop(souk), 0);
}

/* ---- the log ---- */

#define PARENT "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"

static size_t count_of(const char *text, const char *part)
{
    size_t count = 0;
    for (; (text = strstr(text, part)); text++)
        count++;
    return count;
}

/* The first line with this part, as JSON; NULL: there is none. Every line must be valid. */
static json_t *line_with(struct souk *souk, int worker, const char *part)
{
    char *log = souk_log(souk, worker), *rest = log, *line;
    json_t *found = NULL;
    while ((line = strsep(&rest, "\n"))) {
        json_t *json = *line ? json_loads(line, JSON_REJECT_DUPLICATES, NULL) : json_null();
        if (json == NULL)
            fail_msg("no JSON: %s", line);
        if (found == NULL && strstr(line, part))
            found = json_incref(json);
        json_decref(json);
    }
    free(log);
    return found;
}

struct look {
    struct souk *souk;
    const char *part;
};

static bool is_logged(void *cookie)
{
    const struct look *look = cookie;
    char *log = souk_log(look->souk, SOUK_PRODUCT);
    bool found = strstr(log, look->part);
    free(log);
    return found;
}

static void assert_member(json_t *line, const char *name, const char *want)
{
    const char *value = json_string_value(json_object_get(line, name));
    if (value == NULL || strcmp(value, want) != 0)
        fail_msg("%s is %s and not %s", name, value ? value : "not there", want);
}

static void test_log(void **state)
{
    static const char *const ENV[] = {"SOUK_LOG_FORMAT=json", "SOUK_CACHE_MB=0", NULL};
    static const char *const HEADERS[] = {"X-Request-Id: the-one", "traceparent: " PARENT, NULL};
    struct souk *souk = souk_start(&(struct souk_settings){.shards = 2, .roles = {[SOUK_PRODUCT] = true}, .env = ENV});
    const char *base = souk_url(souk, SOUK_PRODUCT);
    char path[64];
    snprintf(path, sizeof(path), "/products/%lld", (long long)product_on(souk, 0, 0));
    response_free(get(souk_client(souk), base, path, HEADERS));
    assert_null(line_with(souk, SOUK_PRODUCT, "the-one")); /* a 404 is told of at level debug only */

    souk_kill_shard(souk, 0);
    await(base, "souk_shard_ready", "shard=\"shard-1\"", 0);
    double began = (double)clock_now_ms();
    for (int i = 0; i < 100; i++)
        response_free(get(souk_client(souk), base, path, HEADERS));
    double seconds = ((double)clock_now_ms() - began) / 1000;
    json_t *line = line_with(souk, SOUK_PRODUCT, "the-one");
    assert_non_null(line);
    assert_member(line, "level", "warn");
    assert_member(line, "request_id", "the-one");
    assert_member(line, "traceparent", PARENT);
    assert_member(line, "route", "/products/{id}");
    assert_member(line, "path", path);
    assert_member(line, "code", "shard_unavailable");
    assert_int_equal(json_integer_value(json_object_get(line, "status")), 503);
    json_decref(line);
    char *log = souk_log(souk, SOUK_PRODUCT);
    assert_in_range(count_of(log, "was answered 503"), 1, (size_t)seconds + 1);
    free(log);
    souk_restart_shard(souk, 0);
    await(base, "souk_shard_ready", "shard=\"shard-1\"", 1);

    /* What is done by a step of a flow is logged with its request. The record is damaged by hand. */
    product_put(souk, product_on(souk, 0, 0), 1);
    char *answer = record_field(souk, "product", product_on(souk, 0, 0), "v");
    free(answer);
    char key[64];
    snprintf(key, sizeof(key), "product:{%lld}:%lld", (long long)product_on(souk, 0, 0) % SOUK_PARTITIONS, (long long)product_on(souk, 0, 0));
    free(REDIS(souk_shard(souk, 0), "HSET", key, "doc", "garbage"));
    response_free(get(souk_client(souk), base, path, (const char *const[]){"X-Request-Id: damaged", "traceparent: " PARENT, NULL}));
    line = line_with(souk, SOUK_PRODUCT, "look at it with");
    assert_non_null(line);
    assert_member(line, "request_id", "damaged");
    assert_member(line, "traceparent", PARENT);
    json_decref(line);
    assert_int_equal(souk_stop(souk), 0);
}

/* SIGUSR1 shows more while the worker runs, SIGUSR2 less. */
static void test_level_by_signal(void **state)
{
    static const char *const FIRST[] = {"X-Request-Id: first", NULL}, *const SECOND[] = {"X-Request-Id: second", NULL},
                             *const THIRD[] = {"X-Request-Id: third", NULL};
    struct souk *souk = souk_start(&(struct souk_settings){.shards = 1, .roles = {[SOUK_PRODUCT] = true}});
    const char *base = souk_url(souk, SOUK_PRODUCT);
    response_free(get(souk_client(souk), base, "/products", FIRST));
    kill(souk_pid(souk, SOUK_PRODUCT), SIGUSR1);
    assert_true(souk_wait(is_logged, &(struct look){souk, "log_level=debug"}, 5000));
    response_free(get(souk_client(souk), base, "/products", SECOND)); /* from its shard */
    response_free(get(souk_client(souk), base, "/products", SECOND)); /* from what is kept */
    response_free(get(souk_client(souk), base, "/nowhere", SECOND));
    response_free(get(souk_client(souk), base, "/livez", SECOND));
    kill(souk_pid(souk, SOUK_PRODUCT), SIGUSR2);
    assert_true(souk_wait(is_logged, &(struct look){souk, "log_level=info"}, 5000));
    response_free(get(souk_client(souk), base, "/products", THIRD));
    char *log = souk_log(souk, SOUK_PRODUCT);
    assert_int_equal(count_of(log, "first"), 0);
    assert_int_equal(count_of(log, "GET /products was answered 200 method=GET path=/products route=/products status=200"), 2);
    assert_int_equal(count_of(log, "GET /nowhere was answered 404 not_found"), 1);
    assert_int_equal(count_of(log, "GET /livez was answered 200"), 1);
    assert_int_equal(count_of(log, "request_id=second"), 3);
    assert_int_equal(count_of(log, "third"), 0);
    free(log);
    assert_int_equal(souk_stop(souk), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_threads), cmocka_unit_test(test_errors_of_a_shard), cmocka_unit_test(test_census), cmocka_unit_test(test_age_of_a_duty),
        cmocka_unit_test(test_log),     cmocka_unit_test(test_level_by_signal),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
