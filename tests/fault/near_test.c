#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "proxy.h"

#include "fault_test_lib.h"

/*
 * What a worker keeps near is never older than its bound, whatever happens to its connections. A writer changes products through one worker all the
 * time; readers ask another, whose connections to the shards go through bad lines.
 *
 *   writer ──▶ worker 1 ────────────────▶ shards
 *   readers ─▶ worker 2 ─▶ line of each ─▶ shards
 *
 * Each reader checks every answer, by one clock:
 *   - it does not show a version that a later one, acknowledged a bound before the question, had replaced
 *   - it does not show an older version than an answer before it
 *   - asked with the tag of the newest version that was acknowledged, it does not show an older one
 */
#define BOUND_MS 300
#define PRODUCTS 2
#define READERS 2
#define VERSIONS_MAX 20000
static const char *const ENV[] = {"SOUK_CACHE_AGE_MS=300", NULL};

struct shop {
    struct souk *souk;
    struct proxy *proxy;
    int lines[2], reading; /* the worker that is read from */
    char shards[256];
    const char *env[3];
    int64_t ids[PRODUCTS];
    atomic_int newest[PRODUCTS];                         /* that was acknowledged */
    _Atomic int64_t acked_ms[PRODUCTS][VERSIONS_MAX + 1]; /* when each was */
    atomic_bool stop, rests; /* the whole; the writer */
    struct reader {
        struct shop *shop;
        pthread_t thread;
        atomic_int hits, misses, bypasses, others; /* what X-Cache said; answers that are no 200 or 304 */
        char wrong[256];                           /* the first thing that was; empty if nothing was */
    } readers[READERS];
    pthread_t writer;
    atomic_int written;
};

static int version_of(const struct response *response)
{
    const char *etag = response_header(response, "ETag");
    return etag ? atoi(etag + 2) : 0;
}

static void *write_all_the_time(void *cookie)
{
    struct shop *shop = cookie;
    struct client *client = client_new();
    for (int n = 0; !atomic_load(&shop->stop); n++) {
        int product = n % PRODUCTS;
        char url[160], body[64];
        while (atomic_load(&shop->rests) && !atomic_load(&shop->stop))
            usleep(1000);
        snprintf(url, sizeof(url), "%s/products/%lld", souk_url(shop->souk, SOUK_PRODUCT), (long long)shop->ids[product]);
        int len = snprintf(body, sizeof(body), "{\"price\":%d}", n + 1);
        const char *const headers[] = {"Content-Type: application/json", "If-Match: *", NULL};
        struct response *response =
            client_send(client, &(struct client_request){.method = "PATCH", .url = url, .headers = headers, .body = body, .body_len = (size_t)len});
        int version = response->status == 200 ? version_of(response) : 0;
        if (version > 0 && version <= VERSIONS_MAX) {
            atomic_store(&shop->acked_ms[product][version], clock_now_ms());
            atomic_store(&shop->newest[product], version);
            atomic_fetch_add(&shop->written, 1);
        }
        response_free(response);
        usleep(2000);
    }
    client_free(client);
    return NULL;
}

static void note_wrong(struct reader *reader, const char *what, int product, int version, int before, const char *x_cache)
{
    if (reader->wrong[0] == '\0')
        snprintf(reader->wrong, sizeof(reader->wrong), "%s: product %d showed version %d, had %d (%s)", what, product, version, before,
                 x_cache ? x_cache : "-");
}

static void count(struct reader *reader, const char *x_cache)
{
    if (x_cache && strcmp(x_cache, "hit") == 0)
        atomic_fetch_add(&reader->hits, 1);
    else if (x_cache && strcmp(x_cache, "miss") == 0)
        atomic_fetch_add(&reader->misses, 1);
    else
        atomic_fetch_add(&reader->bypasses, 1);
}

/*
 * One question and what must hold of its answer. For the second product every third sends the newest tag back; not for the first, since such a
 * question makes the worker notice that what it keeps is old.
 */
static void ask(struct reader *reader, struct client *client, int n, int product, int *seen)
{
    struct shop *shop = reader->shop;
    char url[160], tag[64];
    int sent = product == 1 && n % 3 == 0 ? atomic_load(&shop->newest[product]) : 0;
    snprintf(url, sizeof(url), "%s/products/%lld", souk_url(shop->souk, shop->reading), (long long)shop->ids[product]);
    snprintf(tag, sizeof(tag), "If-None-Match: \"v%d\"", sent);
    const char *const headers[] = {tag, NULL};
    int64_t asked_ms = clock_now_ms();
    struct response *response = client_send(client, &(struct client_request){.method = "GET", .url = url, .headers = sent ? headers : NULL});
    const char *x_cache = response_header(response, "X-Cache");
    if (response->status != 200 && response->status != 304) {
        atomic_fetch_add(&reader->others, 1);
        response_free(response);
        return;
    }
    int version = version_of(response);
    int64_t replaced_ms = version > 0 && version < VERSIONS_MAX ? atomic_load(&shop->acked_ms[product][version + 1]) : 0;
    count(reader, x_cache);
    if (replaced_ms && asked_ms - replaced_ms >= BOUND_MS)
        note_wrong(reader, "older than the bound", product, version, (int)(asked_ms - replaced_ms), x_cache);
    if (version < *seen)
        note_wrong(reader, "went back", product, version, *seen, x_cache);
    if (version < sent)
        note_wrong(reader, "older than what was sent back", product, version, sent, x_cache);
    *seen = version > *seen ? version : *seen;
    response_free(response);
}

static void *read_all_the_time(void *cookie)
{
    struct reader *reader = cookie;
    struct client *client = client_new();
    int seen[PRODUCTS] = {0};
    for (int n = 0; !atomic_load(&reader->shop->stop); n++)
        ask(reader, client, n, n % PRODUCTS, &seen[n % PRODUCTS]);
    client_free(client);
    return NULL;
}

static void shop_start(struct shop *shop)
{
    *shop = (struct shop){.proxy = proxy_start()};
    shop->souk = souk_start(&(struct souk_settings){.shards = 2, .roles = {[SOUK_PRODUCT] = true}, .env = ENV});
    for (unsigned i = 0; i < 2; i++) {
        shop->lines[i] = proxy_add(shop->proxy, redis_port(souk_shard(shop->souk, i)));
        shop->ids[i] = product_on(shop->souk, i, 0);
        product_put(shop->souk, shop->ids[i], 10);
        atomic_store(&shop->newest[i], 1);
        atomic_store(&shop->acked_ms[i][1], clock_now_ms());
    }
    snprintf(shop->shards, sizeof(shop->shards), "SOUK_SHARDS=shard-1=127.0.0.1:%d,shard-2=127.0.0.1:%d", proxy_port(shop->proxy, shop->lines[0]),
             proxy_port(shop->proxy, shop->lines[1]));
    shop->env[0] = shop->shards;
    shop->env[1] = ENV[0];
    shop->reading = souk_add_with(shop->souk, SOUK_PRODUCT, shop->env);
    assert_int_equal(pthread_create(&shop->writer, NULL, write_all_the_time, shop), 0);
    for (int i = 0; i < READERS; i++) {
        shop->readers[i].shop = shop;
        assert_int_equal(pthread_create(&shop->readers[i].thread, NULL, read_all_the_time, &shop->readers[i]), 0);
    }
}

static int hits_of(struct shop *shop)
{
    int hits = 0;
    for (int i = 0; i < READERS; i++)
        hits += atomic_load(&shop->readers[i].hits);
    return hits;
}

static int bypasses_of(struct shop *shop)
{
    int bypasses = 0;
    for (int i = 0; i < READERS; i++)
        bypasses += atomic_load(&shop->readers[i].bypasses);
    return bypasses;
}

static int written_by(struct shop *shop)
{
    return atomic_load(&shop->written);
}

struct wanted {
    struct shop *shop;
    int (*count)(struct shop *shop);
    int until;
};

static bool is_reached(void *cookie)
{
    const struct wanted *wanted = cookie;
    return wanted->count(wanted->shop) >= wanted->until;
}

/* So many more of them come within 10 s. */
static void more(struct shop *shop, int (*count_of)(struct shop *shop), int times)
{
    struct wanted wanted = {shop, count_of, count_of(shop) + times};
    assert_true(souk_wait(is_reached, &wanted, 10000));
}

/* Both lines are good, and after a while what is kept is given again. */
static void calm(struct shop *shop)
{
    proxy_set(shop->proxy, shop->lines[0], NULL);
    proxy_set(shop->proxy, shop->lines[1], NULL);
    more(shop, hits_of, 300);
    more(shop, written_by, 60);
}

static void shop_stop(struct shop *shop)
{
    atomic_store(&shop->stop, true);
    pthread_join(shop->writer, NULL);
    for (int i = 0; i < READERS; i++) {
        struct reader *reader = &shop->readers[i];
        pthread_join(reader->thread, NULL);
        print_message("%d written, reader %d: %d hits, %d misses, %d bypasses, %d others\n", shop->written, i, reader->hits, reader->misses,
                      reader->bypasses, reader->others);
        assert_string_equal(reader->wrong, "");
    }
    assert_int_equal(souk_stop(shop->souk), 0);
    proxy_stop(shop->proxy);
}

static void set_both(struct shop *shop, const struct line_faults *faults)
{
    proxy_set(shop->proxy, shop->lines[0], faults);
    proxy_set(shop->proxy, shop->lines[1], faults);
}

static void test_calm(void **state)
{
    static struct shop shop;
    shop_start(&shop);
    calm(&shop);
    calm(&shop);
    shop_stop(&shop);
}

/*
 * The connection of the news dies, or that of the calls, again and again. What changes until there is a new one is told to nobody; then nothing
 * changes for a while, so that no later news make up for that.
 */
static void test_cut(void **state)
{
    static struct shop shop;
    shop_start(&shop);
    calm(&shop);
    for (int i = 0; i < 10; i++) {
        for (unsigned s = 0; s < 2; s++)
            free(REDIS(souk_shard(shop.souk, s), "CLIENT", "KILL", "TYPE", i % 2 ? "pubsub" : "normal"));
        more(&shop, written_by, 4);
        atomic_store(&shop.rests, true);
        usleep(2 * BOUND_MS * 1000);
        more(&shop, hits_of, 20);
        atomic_store(&shop.rests, false);
    }
    proxy_cut(shop.proxy, shop.lines[0]);
    proxy_cut(shop.proxy, shop.lines[1]);
    calm(&shop);
    shop_stop(&shop);
}

/* The news stop, and nobody says so: what is kept may be given for the bound, and is then left alone. */
static void test_frozen(void **state)
{
    static struct shop shop;
    shop_start(&shop);
    for (int i = 0; i < 3; i++) {
        calm(&shop);
        set_both(&shop, &(struct line_faults){.swallow_back = i == 0, .delay_ms = i > 0 ? 3000 : 0, .only_subscribers = true});
        more(&shop, bypasses_of, 300);
    }
    calm(&shop);
    shop_stop(&shop);
}

/* The news come late, by less and by more than the bound. */
static void test_slow(void **state)
{
    static const int delays_ms[] = {20, 60, 120, 250, 400};
    static struct shop shop;
    shop_start(&shop);
    for (size_t i = 0; i < sizeof(delays_ms) / sizeof(*delays_ms); i++) {
        set_both(&shop, &(struct line_faults){.delay_ms = delays_ms[i], .only_subscribers = true});
        usleep(700000);
    }
    set_both(&shop, &(struct line_faults){.bytes_per_s = 2000, .only_subscribers = true});
    usleep(1000000);
    calm(&shop);
    shop_stop(&shop);
}

/* By redis: how many HMGET the shard has carried out. */
static long reads_of(struct souk *souk, unsigned shard)
{
    char *info = REDIS(souk_shard(souk, shard), "INFO", "commandstats");
    const char *found = info ? strstr(info, "cmdstat_hmget:calls=") : NULL;
    long calls = found ? atol(found + strlen("cmdstat_hmget:calls=")) : 0;
    free(info);
    return calls;
}

struct reading {
    struct souk *souk;
    long before;
};

static bool is_carried_out(void *cookie)
{
    const struct reading *reading = cookie;
    return reads_of(reading->souk, 0) > reading->before;
}

/* Does the worker that is read from know that news come? */
static bool is_leased(void *cookie)
{
    struct shop *shop = cookie;
    char url[160];
    snprintf(url, sizeof(url), "%s/metrics", souk_url(shop->souk, shop->reading));
    struct response *response = client_send(souk_client(shop->souk), &(struct client_request){.method = "GET", .url = url});
    bool leased = response->body && strstr(response->body, "\nsouk_near_staleness_seconds{");
    response_free(response);
    return leased;
}

/*
 * A read was carried out, and its answer is on the way, when the product changes. Who has seen the new version does not wait for that answer; who has
 * not may.
 */
static void test_waiting(void **state)
{
    static const char *const CALM[] = {"SOUK_CACHE_AGE_MS=60000", NULL};
    static struct shop shop;
    shop = (struct shop){.proxy = proxy_start()};
    shop.souk = souk_start(&(struct souk_settings){.shards = 1, .roles = {[SOUK_PRODUCT] = true}, .env = CALM});
    shop.lines[0] = proxy_add(shop.proxy, redis_port(souk_shard(shop.souk, 0)));
    product_put(shop.souk, 1000, 1);
    snprintf(shop.shards, sizeof(shop.shards), "SOUK_SHARDS=shard-1=127.0.0.1:%d", proxy_port(shop.proxy, shop.lines[0]));
    shop.env[0] = shop.shards;
    shop.reading = souk_add_with(shop.souk, SOUK_PRODUCT, shop.env);
    assert_true(souk_wait(is_leased, &shop, 5000));
    proxy_set(shop.proxy, shop.lines[0], &(struct line_faults){.delay_ms = 400});

    static const char GET[] = "GET /products/1000 HTTP/1.1\r\nHost: near\r\n\r\n";
    struct reading reading = {shop.souk, reads_of(shop.souk, 0)};
    struct raw *first = raw_open(souk_worker_port(shop.souk, shop.reading));
    assert_true(raw_send(first, GET, strlen(GET)));
    assert_true(souk_wait(is_carried_out, &reading, 5000));

    char url[160];
    static const char *const change[] = {"Content-Type: application/json", "If-Match: *", NULL}, *const seen[] = {"If-None-Match: \"v2\"", NULL};
    snprintf(url, sizeof(url), "%s/products/1000", souk_url(shop.souk, SOUK_PRODUCT));
    struct response *response =
        client_send(souk_client(shop.souk),
                    &(struct client_request){.method = "PATCH", .url = url, .headers = change, .body = "{\"price\":7}", .body_len = 11});
    assert_status(response, 200);
    response_free(response);
    snprintf(url, sizeof(url), "%s/products/1000", souk_url(shop.souk, shop.reading));
    response = client_send(souk_client(shop.souk), &(struct client_request){.method = "GET", .url = url, .headers = seen});
    assert_status(response, 304);
    assert_int_equal(version_of(response), 2);
    response_free(response);
    response = raw_read(first, false, 5000);
    assert_status(response, 200);
    assert_int_equal(version_of(response), 1);
    assert_string_equal(response_header(response, "X-Cache"), "miss");
    response_free(response);
    raw_close(first);
    assert_int_equal(souk_stop(shop.souk), 0);
    proxy_stop(shop.proxy);
}

#define AT_ONCE 60
/* Kept answers are written under the id of each request, however many are asked for at once, whatever its length. */
static void test_ids(void **state)
{
    struct souk *souk = souk_start(&(struct souk_settings){.shards = 2, .roles = {[SOUK_PRODUCT] = true}});
    struct client_request requests[AT_ONCE];
    struct response *responses[AT_ONCE];
    char url[160], lines[AT_ONCE][96];
    const char *headers[AT_ONCE][2];
    int hits = 0;
    product_put(souk, 1000, 1);
    snprintf(url, sizeof(url), "%s/products/1000", souk_url(souk, SOUK_PRODUCT));
    for (int i = 0; i < AT_ONCE; i++) {
        snprintf(lines[i], sizeof(lines[i]), "X-Request-Id: %.*s%d", i % 7 * 5, "abcdefghijklmnopqrstuvwxyzabcdefghi", 100 + i);
        headers[i][0] = lines[i];
        headers[i][1] = NULL;
        requests[i] = (struct client_request){.method = "GET", .url = url, .headers = headers[i]};
    }
    for (int round = 0; round < 20; round++) {
        client_send_all(souk_client(souk), requests, AT_ONCE, responses);
        for (int i = 0; i < AT_ONCE; i++) {
            assert_status(responses[i], 200);
            assert_string_equal(response_header(responses[i], "X-Request-Id"), lines[i] + strlen("X-Request-Id: "));
            hits += strcmp(response_header(responses[i], "X-Cache"), "hit") == 0;
        }
        responses_free(responses, AT_ONCE);
    }
    assert_true(hits > AT_ONCE * 10);
    assert_int_equal(souk_stop(souk), 0);
}

/* A shard dies and comes back with its data; and one stands still. */
static void test_shard(void **state)
{
    static struct shop shop;
    shop_start(&shop);
    calm(&shop);
    souk_kill_shard(shop.souk, 0);
    souk_restart_shard(shop.souk, 0);
    calm(&shop);
    souk_pause_shard(shop.souk, 1);
    usleep(3 * BOUND_MS * 1000);
    souk_resume_shard(shop.souk, 1);
    calm(&shop);
    shop_stop(&shop);
}

/* The worker itself stands still for longer than the bound; the first answer after it must not come from before. */
static void test_stopped_worker(void **state)
{
    static struct shop shop;
    shop_start(&shop);
    for (int i = 0; i < 3; i++) {
        calm(&shop);
        souk_pause(shop.souk, shop.reading);
        usleep(2 * BOUND_MS * 1000);
        souk_resume(shop.souk, shop.reading);
    }
    calm(&shop);
    shop_stop(&shop);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_calm),    cmocka_unit_test(test_cut), cmocka_unit_test(test_frozen), cmocka_unit_test(test_slow),
        cmocka_unit_test(test_waiting), cmocka_unit_test(test_ids), cmocka_unit_test(test_shard),  cmocka_unit_test(test_stopped_worker),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
