#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "fault_test_lib.h"

#define FIRST_PRODUCT 1000

int64_t clock_now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* ---- requests ---- */

void post_to(struct post *post, const char *base, const char *path)
{
    snprintf(post->url, sizeof(post->url), "%s%s", base, path);
}

void post_set(struct post *post, const char *base, const char *path, const char *key, const char *format, ...)
{
    va_list args;
    *post = (struct post){.headers = {"Content-Type: application/json", post->key, NULL}};
    post_to(post, base, path);
    snprintf(post->key, sizeof(post->key), "Idempotency-Key: %s", key);
    va_start(args, format);
    int len = vsnprintf(post->body, sizeof(post->body), format, args);
    va_end(args);
    post->request =
        (struct client_request){.method = "POST", .url = post->url, .headers = post->headers, .body = post->body, .body_len = (size_t)len};
}

struct response *post_send(struct client *client, const struct post *post)
{
    return client_send(client, &post->request);
}

struct raw *post_raw(int port, const char *path, const struct post *post)
{
    char bytes[2048];
    struct raw *raw = raw_open(port);
    int len = snprintf(bytes, sizeof(bytes), "POST %s HTTP/1.1\r\nHost: localhost\r\n%s\r\n%s\r\nContent-Length: %zu\r\n\r\n%s", path,
                       post->headers[0], post->headers[1], post->request.body_len, post->body);
    assert_non_null(raw);
    assert_true(raw_send(raw, bytes, (size_t)len));
    return raw;
}

/* ---- records of the test's choice ---- */

int64_t product_on(const struct souk *souk, unsigned shard, int n)
{
    for (int64_t id = FIRST_PRODUCT;; id++)
        if (souk_shard_of(souk, id) == shard && n-- == 0)
            return id;
}

void user_on(const struct souk *souk, unsigned shard, int n, char user[32])
{
    for (int i = 0;; i++) {
        snprintf(user, 32, "user-%d", i);
        if (souk_shard_of_text(souk, user) == shard && n-- == 0)
            return;
    }
}

void product_put(struct souk *souk, int64_t id, int64_t stock)
{
    static const char *const headers[] = {"Content-Type: application/json", "If-None-Match: *", NULL};
    char url[160], body[160];
    snprintf(url, sizeof(url), "%s/products/%lld", souk_url(souk, SOUK_PRODUCT), (long long)id);
    int len = snprintf(body, sizeof(body), "{\"name\":\"Product %lld\",\"price\":10.50,\"stock\":%lld}", (long long)id, (long long)stock);
    const struct client_request request = {.method = "PUT", .url = url, .headers = headers, .body = body, .body_len = (size_t)len};
    struct response *response = client_send(souk_client(souk), &request);
    assert_status(response, 201);
    response_free(response);
}

/* ---- looks into Redis ---- */

char *record_field(struct souk *souk, const char *kind, int64_t id, const char *field)
{
    char key[96];
    snprintf(key, sizeof(key), "%s:{%lld}:%lld", kind, (long long)(id % SOUK_PARTITIONS), (long long)id);
    return REDIS(souk_shard(souk, souk_shard_of(souk, id)), "HGET", key, field);
}

int64_t stock_of(struct souk *souk, int64_t product, const char *field)
{
    char *text = record_field(souk, "stock", product, field);
    assert_non_null(text);
    int64_t number = strtoll(text, NULL, 10);
    free(text);
    return number;
}

char *order_field(struct souk *souk, int64_t order, const char *field)
{
    char *text = record_field(souk, "order", order, field);
    assert_non_null(text);
    return text;
}

bool order_has_duty(struct souk *souk, int64_t order)
{
    char key[64], id[32];
    snprintf(key, sizeof(key), "txn:{%lld}", (long long)(order % SOUK_PARTITIONS));
    snprintf(id, sizeof(id), "%lld", (long long)order);
    char *score = REDIS(souk_shard(souk, souk_shard_of(souk, order)), "ZSCORE", key, id);
    assert_non_null(score);
    bool has = strcmp(score, "(nil)") != 0;
    free(score);
    return has;
}

int64_t order_count(struct souk *souk)
{
    static const char SUM[] = "local n = 0 for p = 0, ARGV[1] - 1 do n = n + redis.call('ZCARD', 'orders:{' .. p .. '}') end return n";
    char partitions[16];
    int64_t count = 0;
    snprintf(partitions, sizeof(partitions), "%d", SOUK_PARTITIONS);
    for (unsigned shard = 0; shard < souk_shard_count(souk); shard++) {
        char *sum = REDIS(souk_shard(souk, shard), "EVAL", SUM, "0", partitions);
        assert_non_null(sum);
        count += strtoll(sum, NULL, 10);
        free(sum);
    }
    return count;
}

struct awaited {
    struct souk *souk;
    int64_t id, number;
    const char *text;
};

static bool stock_is(void *cookie)
{
    const struct awaited *awaited = cookie;
    return stock_of(awaited->souk, awaited->id, awaited->text) == awaited->number;
}

bool stock_becomes(struct souk *souk, int64_t product, const char *field, int64_t want, int ms)
{
    struct awaited awaited = {souk, product, want, field};
    return souk_wait(stock_is, &awaited, ms);
}

static bool state_is(void *cookie)
{
    const struct awaited *awaited = cookie;
    char *state = order_field(awaited->souk, awaited->id, "state");
    bool is = strcmp(state, awaited->text) == 0;
    free(state);
    return is;
}

bool order_becomes(struct souk *souk, int64_t order, const char *state, int ms)
{
    struct awaited awaited = {souk, order, 0, state};
    return souk_wait(state_is, &awaited, ms);
}

static bool duty_is_gone(void *cookie)
{
    const struct awaited *awaited = cookie;
    return !order_has_duty(awaited->souk, awaited->id);
}

bool duty_goes(struct souk *souk, int64_t order, int ms)
{
    struct awaited awaited = {souk, order, 0, NULL};
    return souk_wait(duty_is_gone, &awaited, ms);
}

/* ---- answers ---- */

int64_t id_in(const struct response *response)
{
    return json_integer_value(json_at(response->json, "id"));
}

bool code_is(const struct response *response, const char *code)
{
    const char *found = json_string_value(json_at(response->json, "code"));
    return found && strcmp(found, code) == 0;
}

size_t count_status(struct response *const *responses, size_t count, int status)
{
    size_t found = 0;
    for (size_t i = 0; i < count; i++)
        found += responses[i]->status == status;
    return found;
}

void responses_free(struct response **responses, size_t count)
{
    for (size_t i = 0; i < count; i++)
        response_free(responses[i]);
}

void assert_status(const struct response *response, int status)
{
    if (response->status != status)
        fail_msg("expected %d, got %d %s%s", status, response->status, response->error, response->body);
}

/* ---- load ---- */

/* One request until it is decided, or once. */
static void order_once(struct load *load, size_t n)
{
    struct load_record *record = &load->records[n];
    struct post post;
    char key[96];
    snprintf(key, sizeof(key), "%s-%zu", load->name, n);
    post_set(&post, load->urls[0], "/orders", key, "{\"user\":\"%s\",\"items\":[{\"product_id\":%lld,\"quantity\":1}]}", load->user,
             (long long)load->product);
    do {
        struct timespec moment = {0, record->tries ? 5000000 : 0};
        nanosleep(&moment, NULL);
        post_to(&post, load->urls[record->tries++ % 2], "/orders");
        struct response *response = post_send(load->client, &post);
        record->status = response->status;
        record->id = response->status == 201 ? id_in(response) : 0;
        record->took_ms = response->took_ms > record->took_ms ? response->took_ms : record->took_ms;
        response_free(response);
    } while (load->retries && (record->status == 0 || record->status == 503) && record->tries < 2000);
}

static void *load_run(void *cookie)
{
    struct load *load = cookie;
    for (size_t n = 0; n < LOAD_RECORDS_MAX && !atomic_load(&load->stop); n++) {
        order_once(load, n);
        atomic_fetch_add(load->records[n].status == 201 ? &load->placed : &load->failed, 1);
        atomic_fetch_add(&load->count, 1);
    }
    return NULL;
}

struct load *loads_new(size_t count)
{
    struct load *loads = calloc(count, sizeof(*loads));
    assert_non_null(loads);
    return loads;
}

void load_aim(struct load *load, const char *first, const char *second)
{
    snprintf(load->urls[0], sizeof(load->urls[0]), "%s", first);
    snprintf(load->urls[1], sizeof(load->urls[1]), "%s", second);
}

void load_start(struct load *load)
{
    load->client = client_new();
    load->records = calloc(LOAD_RECORDS_MAX, sizeof(*load->records));
    assert_non_null(load->records);
    assert_int_equal(pthread_create(&load->thread, NULL, load_run, load), 0);
}

void loads_stop(struct load *loads, size_t count)
{
    for (size_t i = 0; i < count; i++)
        atomic_store(&loads[i].stop, true);
    for (size_t i = 0; i < count; i++)
        assert_int_equal(pthread_join(loads[i].thread, NULL), 0);
}

void loads_free(struct load *loads, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        client_free(loads[i].client);
        free(loads[i].records);
    }
    free(loads);
}

struct reached {
    struct load *loads;
    size_t count, placed, failed;
};

static bool has_reached(void *cookie)
{
    const struct reached *reached = cookie;
    size_t placed = 0, failed = 0;
    for (size_t i = 0; i < reached->count; i++) {
        placed += atomic_load(&reached->loads[i].placed);
        failed += atomic_load(&reached->loads[i].failed);
    }
    return placed >= reached->placed && failed >= reached->failed;
}

void loads_reach(struct load *loads, size_t count, size_t placed, size_t failed, int ms)
{
    struct reached reached = {loads, count, placed, failed};
    if (!souk_wait(has_reached, &reached, ms))
        fail_msg("%zu orders and %zu failures were not reached within %d ms", placed, failed, ms);
}

#define AT_ONCE 32

/* How many of these orders are not there? */
static size_t orders_missing(struct souk *souk, int worker, const int64_t *ids, size_t count)
{
    struct client_request requests[AT_ONCE];
    struct response *responses[AT_ONCE];
    char urls[AT_ONCE][160];
    for (size_t i = 0; i < count; i++) {
        snprintf(urls[i], sizeof(urls[i]), "%s/orders/%lld", souk_url(souk, worker), (long long)ids[i]);
        requests[i] = (struct client_request){.method = "GET", .url = urls[i]};
    }
    client_send_all(souk_client(souk), requests, count, responses);
    size_t missing = count_status(responses, count, 404);
    for (size_t i = 0; i < count; i++) {
        if (responses[i]->status == 404)
            continue;
        assert_status(responses[i], 200);
        assert_int_equal(id_in(responses[i]), ids[i]);
    }
    responses_free(responses, count);
    return missing;
}

size_t loads_missing(struct souk *souk, int worker, struct load *loads, size_t count)
{
    int64_t ids[AT_ONCE];
    size_t gathered = 0, missing = 0;
    for (size_t i = 0; i < count; i++)
        for (size_t n = 0; n < atomic_load(&loads[i].count); n++) {
            if (loads[i].records[n].id == 0)
                continue;
            ids[gathered++] = loads[i].records[n].id;
            if (gathered < AT_ONCE)
                continue;
            missing += orders_missing(souk, worker, ids, gathered);
            gathered = 0;
        }
    return missing + orders_missing(souk, worker, ids, gathered);
}

void loads_check(struct souk *souk, int worker, struct load *loads, size_t count)
{
    assert_int_equal(loads_missing(souk, worker, loads, count), 0);
}

int crowd_setup(void **state)
{
    struct crowd *crowd = calloc(1, sizeof(*crowd));
    crowd->souk = souk_start(&(struct souk_settings){.roles = {[SOUK_PRODUCT] = true, [SOUK_ORDER] = true}});
    crowd->second = souk_add(crowd->souk, SOUK_ORDER);
    *state = crowd;
    return 0;
}

int crowd_teardown(void **state)
{
    struct crowd *crowd = *state;
    unsigned wrong = souk_stop(crowd->souk);
    free(crowd);
    return wrong ? -1 : 0;
}
