#include <fcntl.h>
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
 * A shard whose machine's clock is set back: while it runs, and then behind a restart. Whoever follows the feed misses nothing, and no call is late
 * by that.
 */
#define BACK_S 40      /* more than what a call is given (STORE_LIMIT_MS), less than clocks differ */
#define MOMENT_MS 5000 /* a request, on a busy machine; far from BACK_S */

struct scene {
    struct souk *souk;
    char clock_env[420], cursor[400];
    const char *clock; /* the file; the end of clock_env */
    int64_t product;
};

static void set_clock(const struct scene *scene, long offset_s)
{
    int file = open(scene->clock, O_WRONLY | O_CREAT, 0600);
    assert_true(file >= 0);
    assert_int_equal(write(file, &offset_s, sizeof(offset_s)), sizeof(offset_s)); /* not cut off before: the server has it mapped */
    assert_int_equal(close(file), 0);
}

/* The shard dies and is started again, with the clock that the file says; the workers keep theirs. */
static void restart_shard(const struct scene *scene)
{
    souk_kill_shard(scene->souk, 0);
    souk_restart_shard(scene->souk, 0);
    assert_true(souk_wait_ready(scene->souk, SOUK_ORDER, MOMENT_MS));
}

static long shard_seconds(const struct scene *scene)
{
    char *time = REDIS(souk_shard(scene->souk, 0), "EVAL", "return redis.call('TIME')[1]", "0");
    long seconds = time ? atol(time) : 0;
    free(time);
    return seconds;
}

/* Is the server's clock set back, now or in a moment? Valkey 9.1 asks the system once a millisecond and counts on from that itself. */
static bool is_set_back(const struct scene *scene, long seconds)
{
    int64_t until = clock_now_ms() + MOMENT_MS;
    while (shard_seconds(scene) >= seconds - BACK_S / 2)
        if (clock_now_ms() >= until)
            return false;
    return true;
}

static int64_t place(const struct scene *scene, const char *key)
{
    struct post post;
    int64_t begin = clock_now_ms();
    post_set(&post, souk_url(scene->souk, SOUK_ORDER), "/orders", key, "{\"user\":\"ann\",\"items\":[{\"product_id\":%lld,\"quantity\":1}]}",
             (long long)scene->product);
    struct response *response = post_send(souk_client(scene->souk), &post);
    assert_status(response, 201);
    assert_true(clock_now_ms() - begin < MOMENT_MS);
    int64_t id = id_in(response);
    response_free(response);
    return id;
}

static struct response *get(const struct scene *scene, const char *format, ...) __attribute__((format(printf, 2, 3)));
static struct response *get(const struct scene *scene, const char *format, ...)
{
    char url[1000];
    va_list args;
    int len = snprintf(url, sizeof(url), "%s", souk_url(scene->souk, SOUK_ORDER));
    va_start(args, format);
    vsnprintf(url + len, sizeof(url) - (size_t)len, format, args);
    va_end(args);
    struct response *response = client_send(souk_client(scene->souk), &(struct client_request){.method = "GET", .url = url});
    assert_status(response, 200);
    return response;
}

/* An event is told when its millisecond is over. While the shard's time stands still, each call takes one microsecond of it. */
static void pass_a_millisecond(const struct scene *scene, int64_t order)
{
    for (int i = 0; i < 1001; i++)
        response_free(get(scene, "/orders/%lld", (long long)order));
}

/* The next page of the feed must tell of these orders and of no others. */
static void expect_events(struct scene *scene, const int64_t *orders, size_t count)
{
    struct response *page = get(scene, "/events%s%s", *scene->cursor ? "?after=" : "", scene->cursor);
    assert_int_equal(json_array_size(page->json), count);
    for (size_t i = 0; i < count; i++)
        assert_int_equal(json_integer_value(json_object_get(json_array_get(page->json, i), "order_id")), orders[i]);
    assert_int_equal(sscanf(response_header(page, "Link"), "</events?after=%399[^&]", scene->cursor), 1);
    response_free(page);
}

static void test_set_back(void **state)
{
    struct scene opened = {.souk = souk_start(&(struct souk_settings){.shards = 1, .roles = {[SOUK_PRODUCT] = true, [SOUK_ORDER] = true}})};
    struct scene *scene = &opened;
    scene->product = product_on(scene->souk, 0, 0);
    product_put(scene->souk, scene->product, 10);
    snprintf(scene->clock_env, sizeof(scene->clock_env), "SHARD_CLOCK=%s/clock", souk_dir(scene->souk));
    scene->clock = scene->clock_env + strlen("SHARD_CLOCK=");
    redis_preload(souk_shard(scene->souk, 0), SHARD_CLOCK_LIBRARY, scene->clock_env);
    set_clock(scene, 0);
    restart_shard(scene);
    int64_t before[] = {place(scene, "before")};
    pass_a_millisecond(scene, before[0]);
    expect_events(scene, before, 1);

    long seconds = shard_seconds(scene);
    set_clock(scene, -BACK_S);
    assert_true(is_set_back(scene, seconds));
    int64_t after[3] = {place(scene, "while-it-runs")};
    restart_shard(scene);
    assert_true(is_set_back(scene, seconds));
    after[1] = place(scene, "behind-a-restart");
    after[2] = place(scene, "while-it-stands-still");
    pass_a_millisecond(scene, after[2]);
    expect_events(scene, after, 3);
    expect_events(scene, NULL, 0);
    assert_true(souk_audit(scene->souk));
    assert_int_equal(souk_stop(scene->souk), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_set_back)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
