#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "fault_test_lib.h"
#include "shard_disk.h"

/*
 * The power of a shard fails under load: what it had written and not synced is gone, and the last write may be torn. All that was acknowledged is
 * there, since a shard answers behind its sync (appendfsync always) and begins by taking off what is unfinished (deploy/redis/start-shard). The same
 * with a disk that fails to sync; and with a shard that syncs once a second something is lost, or the test would see nothing.
 */
#define BUYERS 3
#define ROUNDS 6
#define SLOW_MS 4 /* most of the time there is something that is not synced */

struct scene {
    struct souk *souk;
    struct shard_disk *disk;
    struct load loads[BUYERS];
};

static void power_is_back(struct scene *scene)
{
    souk_restart_shard(scene->souk, 0);
    assert_true(souk_wait_ready(scene->souk, SOUK_ORDER, 5000));
    assert_true(souk_wait_ready(scene->souk, SOUK_PRODUCT, 5000));
}

static void scene_start(struct scene *scene, const struct souk_settings *settings, unsigned slow_ms, bool retries)
{
    char file[400];
    scene->souk = souk_start(settings);
    snprintf(file, sizeof(file), "%s/disk", souk_dir(scene->souk));
    scene->disk = shard_disk_new(file);
    shard_disk_slow(scene->disk, slow_ms);
    redis_set_env(souk_shard(scene->souk, 0), shard_disk_env(scene->disk));
    power_is_back(scene);

    int64_t product = product_on(scene->souk, 0, 0);
    product_put(scene->souk, product, 1000000);
    for (int i = 0; i < BUYERS; i++) {
        struct load *load = &scene->loads[i];
        const char *url = souk_url(scene->souk, SOUK_ORDER);
        *load = (struct load){.urls = {url, url}, .product = product, .retries = retries};
        user_on(scene->souk, 0, i, load->user);
        snprintf(load->name, sizeof(load->name), "buyer-%d", i);
        load_start(load);
    }
}

static size_t placed(struct scene *scene)
{
    size_t sum = 0;
    for (int i = 0; i < BUYERS; i++)
        sum += atomic_load(&scene->loads[i].placed);
    return sum;
}

static void place_more(struct scene *scene, size_t count)
{
    loads_reach(scene->loads, BUYERS, placed(scene) + count, 0, 20000);
}

static size_t lose_power(struct scene *scene, unsigned torn)
{
    souk_kill_shard(scene->souk, 0);
    return shard_disk_lose(scene->disk, redis_dir(souk_shard(scene->souk, 0)), torn);
}

static void scene_free(struct scene *scene)
{
    for (int i = 0; i < BUYERS; i++)
        load_free(&scene->loads[i]);
    shard_disk_free(scene->disk);
}

static void scene_end(struct scene *scene)
{
    loads_stop(scene->loads, BUYERS);
    loads_check(scene->souk, SOUK_ORDER, scene->loads, BUYERS);
    assert_true(order_count(scene->souk) >= (int64_t)placed(scene)); /* the id of a lost order can be another's */
    assert_true(souk_audit(scene->souk));
    print_message("%zu orders were placed\n", placed(scene));
    assert_int_equal(souk_stop(scene->souk), 0);
    scene_free(scene);
}

static const struct souk_settings SAFE = {.roles = {[SOUK_PRODUCT] = true, [SOUK_ORDER] = true}};

static void test_power_fails(void **state)
{
    struct scene scene;
    size_t lost = 0;
    scene_start(&scene, &SAFE, SLOW_MS, true);
    for (unsigned round = 0; round < ROUNDS; round++) {
        place_more(&scene, 20);
        lost += lose_power(&scene, round * 7919);
        power_is_back(&scene);
    }
    place_more(&scene, 20);
    print_message("%zu bytes were lost\n", lost);
    assert_true(lost > 0);
    scene_end(&scene);
}

static bool shard_has_ended(void *cookie)
{
    const struct scene *scene = cookie;
    return !redis_runs(souk_shard(scene->souk, 0));
}

/* A shard that cannot sync ends by itself: it must not acknowledge anything any more. */
static void test_sync_fails(void **state)
{
    struct scene scene;
    scene_start(&scene, &SAFE, 0, true);
    place_more(&scene, 20);
    shard_disk_break(scene.disk, true);
    assert_true(souk_wait(shard_has_ended, &scene, 10000));
    size_t lost = lose_power(&scene, 0);
    print_message("%zu bytes were lost\n", lost);
    assert_true(lost > 0);
    shard_disk_break(scene.disk, false);
    power_is_back(&scene);
    place_more(&scene, 20);
    scene_end(&scene);
}

/* What is declared as unsafe is unsafe, and this test would see it. */
static void test_everysec_loses(void **state)
{
    static const char *const EVERYSEC[] = {"--appendfsync", "everysec", NULL};
    const struct souk_settings unsafe = {.roles = {[SOUK_PRODUCT] = true, [SOUK_ORDER] = true}, .shard_args = EVERYSEC};
    struct scene scene;
    scene_start(&scene, &unsafe, 0, false);
    place_more(&scene, 200);
    size_t lost = lose_power(&scene, 0);
    loads_stop(scene.loads, BUYERS); /* before it is back: another order might get the id of a lost one */
    power_is_back(&scene);
    size_t missing = loads_missing(scene.souk, SOUK_ORDER, scene.loads, BUYERS);
    print_message("%zu bytes were lost, and %zu of %zu acknowledged orders\n", lost, missing, placed(&scene));
    assert_true(missing > 0);
    souk_stop(scene.souk);
    scene_free(&scene);
}

/* ---- torn writes ---- */

struct torn {
    struct redis_fixture *redis;
    char path[500];
    char whole[12000];
    size_t len, begin; /* where the transaction begins, which is the last that was written */
};

static size_t read_file(const struct torn *torn, char *out)
{
    FILE *file = fopen(torn->path, "r");
    size_t len = fread(out, 1, sizeof(torn->whole), file);
    assert_true(len < sizeof(torn->whole));
    fclose(file);
    return len;
}

static void write_file(const struct torn *torn, const char *bytes, size_t len)
{
    FILE *file = fopen(torn->path, "w");
    assert_int_equal(fwrite(bytes, 1, len, file), len);
    assert_int_equal(fclose(file), 0);
}

/* Values are what could be taken for something else: for a manifest, a command, the end of a transaction. */
static void torn_begin(struct torn *torn)
{
    static const char *const SETTINGS[] = {"--include", SOUK_SOURCE "/deploy/redis/redis.conf", NULL};
    torn->redis = redis_start(SETTINGS);
    snprintf(torn->path, sizeof(torn->path), "%s/appendonlydir/appendonly.aof.1.incr.aof", redis_dir(torn->redis));
    REDIS_DO(torn->redis, "SET", "before", "file cabinet");
    REDIS_DO(torn->redis, "EVAL", "redis.call('SET', 'wide', string.rep('file', 2000))", "0");
    REDIS_DO(torn->redis, "EVAL", "redis.call('SET', 'one', 'EXEC') redis.call('SET', 'two', 'MULTI')", "0");
    REDIS_DO(torn->redis, "SET", "single", "*3");
    torn->begin = read_file(torn, torn->whole);
    REDIS_DO(torn->redis, "EVAL", "redis.call('SET', 'a', 'EXEC') redis.call('SET', 'b', 'file')", "0");
    redis_kill(torn->redis);
    torn->len = read_file(torn, torn->whole);
    assert_true(torn->begin > 8000 && torn->len > torn->begin);
}

struct fact {
    const char *name, *value;
};

static void expect(struct redis_fixture *redis, size_t cut, const char *when, const struct fact *facts)
{
    for (; facts->name; facts++) {
        char *value = REDIS(redis, "GET", facts->name);
        if (value == NULL || strcmp(value, facts->value) != 0)
            fail_msg("a write torn behind byte %zu: %s is %s %s, and not %s", cut, facts->name, value, when, facts->value);
        free(value);
    }
}

/*
 * Torn behind each of its bytes, a transaction is gone as a whole, and stays so: what is written behind it is no part of it. (Redis alone lets it be:
 * deploy/redis/start-shard.)
 */
static void test_torn_anywhere(void **state)
{
    struct torn torn;
    torn_begin(&torn);
    for (size_t cut = torn.begin; cut <= torn.len; cut++) {
        bool whole = cut == torn.len;
        char after[32];
        struct fact facts[] = {{"before", "file cabinet"},      {"single", "*3"},   {"a", whole ? "EXEC" : "(nil)"},
                               {"b", whole ? "file" : "(nil)"}, {"after", "(nil)"}, {NULL, NULL}};
        write_file(&torn, torn.whole, cut);
        redis_restart(torn.redis);
        expect(torn.redis, cut, "at first", facts);
        snprintf(after, sizeof(after), "%zu", cut);
        REDIS_DO(torn.redis, "SET", "after", after);
        redis_restart(torn.redis);
        facts[4].value = after;
        expect(torn.redis, cut, "behind another start", facts);
        redis_kill(torn.redis);
    }
    redis_stop(torn.redis);
}

static bool has_ended(void *cookie)
{
    return !redis_runs(cookie);
}

/* What is damaged in another place than at its end is not repaired by leaving out what follows, which was answered: the shard does not start. */
static void test_damaged_in_the_middle(void **state)
{
    static const char *const PLACES[] = {"*3\r\n$3\r\nSET\r\n$6\r\nbefore", "*3\r\n$3\r\nSET\r\n$6\r\nsingle", "*1\r\n$5\r\nMULTI"};
    struct torn torn;
    char bytes[sizeof(torn.whole)], now[sizeof(torn.whole)];
    torn_begin(&torn);
    for (size_t i = 0; i < sizeof(PLACES) / sizeof(*PLACES); i++) {
        char *place = memmem(torn.whole, torn.len, PLACES[i], strlen(PLACES[i]));
        assert_non_null(place);
        memcpy(bytes, torn.whole, torn.len);
        bytes[place - torn.whole] = 'X';
        write_file(&torn, bytes, torn.len);
        redis_launch(torn.redis);
        assert_true(souk_wait(has_ended, torn.redis, 5000));
        assert_int_equal(read_file(&torn, now), torn.len);
        assert_memory_equal(now, bytes, torn.len);
    }
    redis_stop(torn.redis);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_power_fails),           cmocka_unit_test(test_sync_fails),
        cmocka_unit_test(test_everysec_loses),        cmocka_unit_test(test_torn_anywhere),
        cmocka_unit_test(test_damaged_in_the_middle),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
