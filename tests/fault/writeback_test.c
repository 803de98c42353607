#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "fault_test_lib.h"

/*
 * Changes that were answered 202 (Prefer: respond-async): written by a worker that is stopped, kept while a shard is away, bounded, and lost in the
 * last SOUK_WRITEBACK_MS before a kill -9, but not before.
 */
#define PRODUCTS 40
#define EXIT_MS 10000

static struct souk *start(const char *const *env)
{
    struct souk *souk = souk_start(&(struct souk_settings){.roles = {[SOUK_PRODUCT] = true, [SOUK_ORDER] = true}, .env = env});
    return souk;
}

static const char *const SLOW[] = {"SOUK_WRITEBACK_MS=1000", NULL};

/* Asks for a change. Returns the status of the answer. */
static int change(struct souk *souk, int64_t id, const char *body)
{
    static const char *const headers[] = {"Content-Type: application/merge-patch+json", "If-Match: *", "Prefer: respond-async", NULL};
    char url[160];
    snprintf(url, sizeof(url), "%s/products/%lld", souk_url(souk, SOUK_PRODUCT), (long long)id);
    struct response *response =
        client_send(souk_client(souk),
                    &(struct client_request){.method = "PATCH", .url = url, .headers = headers, .body = body, .body_len = strlen(body)});
    int status = response->status;
    response_free(response);
    return status;
}

/* Products ${first} to ${last}: by redis, how many have this version? */
static int count_version(struct souk *souk, int first, int last, const char *version)
{
    int count = 0;
    for (int n = first; n < last; n++) {
        char *v = record_field(souk, "product", product_on(souk, (unsigned)n % souk_shard_count(souk), n / 3), "v");
        count += v && strcmp(v, version) == 0;
        free(v);
    }
    return count;
}

static void change_some(struct souk *souk, int first, int last)
{
    for (int n = first; n < last; n++)
        assert_int_equal(change(souk, product_on(souk, (unsigned)n % souk_shard_count(souk), n / 3), "{\"price\":\"7.50\"}"), 202);
}

/* A figure of /metrics becomes at least ${least}? */
struct figure {
    struct client *client;
    const char *url, *name;
    long least;
};

static bool figure_is_there(void *cookie)
{
    const struct figure *figure = cookie;
    char url[160], line[80];
    snprintf(url, sizeof(url), "%s/metrics", figure->url);
    snprintf(line, sizeof(line), "\n%s ", figure->name);
    struct response *response = client_send(figure->client, &(struct client_request){.method = "GET", .url = url});
    const char *found = response->body ? strstr(response->body, line) : NULL;
    bool holds = found && atol(found + strlen(line)) >= figure->least;
    response_free(response);
    return holds;
}

static void put_all(struct souk *souk)
{
    for (int n = 0; n < PRODUCTS; n++)
        product_put(souk, product_on(souk, (unsigned)n % souk_shard_count(souk), n / 3), 1);
}

struct waiting {
    struct souk *souk;
    int first, last;
};

static bool all_written(void *cookie)
{
    const struct waiting *waiting = cookie;
    return count_version(waiting->souk, waiting->first, waiting->last, "2") == waiting->last - waiting->first;
}

/* Everything that was answered is in the shards when the process has ended, long before its time would have come. */
static void test_stop_writes(void **state)
{
    struct souk *souk = start(SLOW);
    put_all(souk);
    change_some(souk, 0, PRODUCTS);
    assert_int_equal(count_version(souk, PRODUCTS - 3, PRODUCTS, "2"), 0);
    assert_int_equal(souk_terminate(souk, SOUK_PRODUCT, EXIT_MS), 0);
    assert_int_equal(count_version(souk, 0, PRODUCTS, "2"), PRODUCTS);
    souk_restart(souk, SOUK_PRODUCT);
    assert_true(souk_audit(souk));
    assert_int_equal(souk_stop(souk), 0);
}

static void test_kill_loses_the_window(void **state)
{
    struct souk *souk = start(SLOW);
    struct waiting early = {souk, 0, PRODUCTS / 2};
    put_all(souk);
    change_some(souk, 0, PRODUCTS / 2);
    assert_true(souk_wait(all_written, &early, 5000));
    change_some(souk, PRODUCTS / 2, PRODUCTS);
    souk_kill(souk, SOUK_PRODUCT);
    assert_true(all_written(&early));
    int late = count_version(souk, PRODUCTS / 2, PRODUCTS, "2");
    print_message("%d of %d that were answered in the last second are written\n", late, PRODUCTS / 2);
    assert_in_range(late, 0, PRODUCTS / 2 - 1); /* else this test does not test what it says */
    assert_int_equal(count_version(souk, PRODUCTS / 2, PRODUCTS, "1"), PRODUCTS / 2 - late);
    souk_restart(souk, SOUK_PRODUCT);
    assert_true(souk_audit(souk));
    assert_int_equal(souk_stop(souk), 0);
}

/* What waits for a shard is written when it is back; what is on others does not wait for it. */
static void test_shard_away(void **state)
{
    struct souk *souk = start(SLOW);
    struct waiting all = {souk, 0, PRODUCTS};
    put_all(souk);
    change_some(souk, 0, PRODUCTS);
    souk_kill_shard(souk, 0);
    struct waiting others = {souk, 1, 3};
    assert_true(souk_wait(all_written, &others, 5000));
    struct figure tries = {souk_client(souk), souk_url(souk, SOUK_PRODUCT), "souk_writeback_retried_total", PRODUCTS};
    assert_true(souk_wait(figure_is_there, &tries, 5000));
    souk_restart_shard(souk, 0);
    assert_true(souk_wait(all_written, &all, 5000));
    assert_true(souk_audit(souk));
    assert_int_equal(souk_stop(souk), 0);
}

/* Stopped while the shard stays away: it goes when its time is over, and says what is lost. */
static void test_stop_without_shard(void **state)
{
    static const char *const env[] = {"SOUK_WRITEBACK_MS=200", "SOUK_DRAIN_MS=1000", NULL};
    struct souk *souk = start(env);
    int64_t id = product_on(souk, 0, 0);
    product_put(souk, id, 1);
    assert_int_equal(change(souk, id, "{\"price\":2}"), 202);
    souk_kill_shard(souk, 0);
    assert_int_equal(souk_terminate(souk, SOUK_PRODUCT, EXIT_MS), 0);
    char *log = souk_log(souk, SOUK_PRODUCT);
    assert_non_null(strstr(log, "changes of 1 products that were answered 202 are lost"));
    free(log);
    souk_mend(souk);
    assert_true(souk_audit(souk));
    assert_int_equal(souk_stop(souk), 0);
}

#define CROWD 60
struct pauser {
    struct souk *souk;
    pthread_t thread;
    bool waited;
};

/* All have been read, none is written, and some wait for room. */
static void *pause_soon(void *cookie)
{
    struct pauser *pauser = cookie;
    struct figure waiting = {client_new(), souk_url(pauser->souk, SOUK_PRODUCT), "souk_writeback_waiting", CROWD - 29};
    pauser->waited = souk_wait(figure_is_there, &waiting, 5000);
    souk_pause_shard(pauser->souk, 0);
    client_free(waiting.client);
    return NULL;
}

/* A full buffer: who comes then waits, and is told 503 when there is no room in time. */
static void test_bounds(void **state)
{
    static const char *const env[] = {"SOUK_WRITEBACK_MS=1000", "SOUK_WRITEBACK_MB=1", NULL};
    static const char *const headers[] = {"Content-Type: application/merge-patch+json", "If-Match: *", "Prefer: respond-async", NULL};
    struct souk *souk = start(env);
    struct client_request requests[CROWD];
    struct response *responses[CROWD];
    struct pauser pauser = {.souk = souk};
    char url[160], body[12300];
    int64_t id = product_on(souk, 0, 0);
    product_put(souk, id, 1);
    snprintf(url, sizeof(url), "%s/products/%lld", souk_url(souk, SOUK_PRODUCT), (long long)id);
    snprintf(body, sizeof(body), "{\"attributes\":{\"text\":\"%012000d\"}}", 7);
    for (int i = 0; i < CROWD; i++)
        requests[i] = (struct client_request){.method = "PATCH", .url = url, .headers = headers, .body = body, .body_len = strlen(body)};
    assert_int_equal(pthread_create(&pauser.thread, NULL, pause_soon, &pauser), 0);
    client_send_all(souk_client(souk), requests, CROWD, responses);
    pthread_join(pauser.thread, NULL);
    assert_true(pauser.waited);
    size_t taken = count_status(responses, CROWD, 202), refused = count_status(responses, CROWD, 503);
    print_message("%zu taken, %zu refused\n", taken, refused);
    assert_int_equal(taken + refused, CROWD);
    assert_in_range(taken, 20, 29); /* a third of 1 MiB holds 29 of these */
    for (int i = 0; i < CROWD; i++)
        if (responses[i]->status == 503)
            assert_true(code_is(responses[i], "overloaded"));
    responses_free(responses, CROWD);
    souk_resume_shard(souk, 0);
    struct waiting first = {souk, 0, 1};
    assert_true(souk_wait(all_written, &first, 5000));
    assert_int_equal(change(souk, id, "{\"price\":2}"), 202); /* there is room again */
    assert_true(souk_audit(souk));
    assert_int_equal(souk_stop(souk), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_stop_writes),        cmocka_unit_test(test_kill_loses_the_window), cmocka_unit_test(test_shard_away),
        cmocka_unit_test(test_stop_without_shard), cmocka_unit_test(test_bounds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
