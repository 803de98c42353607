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
 * there, since a shard answers behind its sync (appendfsync always) and begins by taking off what is unfinished (souk-shard; fault/torn). The same
 * with a disk that fails to sync; and with a shard that syncs once a second something is lost, or the test would see nothing.
 */
#define BUYERS 3
#define ROUNDS 6
#define SLOW_MS 4 /* most of the time there is something that is not synced */

struct scene {
    struct souk *souk;
    struct shard_disk *disk;
    struct load *loads;
};

static void power_is_back(struct scene *scene)
{
    souk_restart_shard(scene->souk, 0);
    assert_true(souk_wait_ready(scene->souk, SOUK_ORDER, 5000));
    assert_true(souk_wait_ready(scene->souk, SOUK_PRODUCT, 5000));
}

static void scene_open(struct scene *scene, unsigned slow_ms)
{
    char file[400];
    *scene = (struct scene){.souk = NULL};
    scene->souk = souk_start(&(struct souk_settings){.roles = {[SOUK_PRODUCT] = true, [SOUK_ORDER] = true}});
    snprintf(file, sizeof(file), "%s/disk", souk_dir(scene->souk));
    scene->disk = shard_disk_new(file);
    shard_disk_slow(scene->disk, slow_ms);
    shard_disk_put(scene->disk, souk_shard(scene->souk, 0));
    power_is_back(scene);
}

static void scene_start(struct scene *scene, unsigned slow_ms, bool retries)
{
    scene_open(scene, slow_ms);
    int64_t product = product_on(scene->souk, 0, 0);
    product_put(scene->souk, product, 1000000);
    scene->loads = loads_new(BUYERS);
    for (int i = 0; i < BUYERS; i++) {
        struct load *load = &scene->loads[i];
        load_aim(load, souk_url(scene->souk, SOUK_ORDER), souk_url(scene->souk, SOUK_ORDER));
        load->product = product;
        load->retries = retries;
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
    loads_free(scene->loads, BUYERS);
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

static void test_power_fails(void **state)
{
    struct scene scene;
    size_t lost = 0;
    scene_start(&scene, SLOW_MS, true);
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
    scene_start(&scene, 0, true);
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

/* ---- what a shard reads when it begins ---- */

static void expect_on_hand(struct scene *scene, int64_t product, int64_t wanted)
{
    assert_int_equal(stock_of(scene->souk, product, "on_hand"), wanted);
}

#define REASON "five behind the sofa" /* of the adjustment, which its ledger repeats */

/* Five more units of a product that has 100. */
static int64_t set_adjustment(struct scene *scene, struct post *post)
{
    char path[100];
    int64_t product = product_on(scene->souk, 0, 0);
    product_put(scene->souk, product, 100);
    snprintf(path, sizeof(path), "/products/%lld/stock-adjustments", (long long)product);
    post_set(post, souk_url(scene->souk, SOUK_PRODUCT), path, "found", "{\"delta\":5,\"reason\":\"" REASON "\"}");
    return product;
}

static void must_answer(struct scene *scene, const struct post *post, int status, bool replayed)
{
    struct response *response = post_send(souk_client(scene->souk), post);
    assert_status(response, status);
    assert_int_equal(response_header(response, "Idempotent-Replayed") != NULL, replayed);
    response_free(response);
}

static void lose_power_and_end(struct scene *scene, int64_t product, int64_t on_hand)
{
    lose_power(scene, 0);
    power_is_back(scene);
    expect_on_hand(scene, product, on_hand);
    assert_true(souk_audit(scene->souk));
    assert_int_equal(souk_stop(scene->souk), 0);
    shard_disk_free(scene->disk);
}

/* Does the shard's file have the adjustment? It has other writes as well, like the leases of the sweeps. */
static bool is_written(void *cookie)
{
    const struct scene *scene = cookie;
    static char bytes[1 << 20];
    char path[500];
    snprintf(path, sizeof(path), "%s/appendonlydir/appendonly.aof.1.incr.aof", redis_dir(souk_shard(scene->souk, 0)));
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    size_t len = fread(bytes, 1, sizeof(bytes), file);
    fclose(file);
    assert_true(len < sizeof(bytes));
    return memmem(bytes, len, REASON, strlen(REASON)) != NULL;
}

/*
 * A shard ends between its write and the sync of it, so nobody was told. When it is back it has read the write from its file, and whoever asks again
 * is told, although nothing is written then: so it must be on the disk before the shard begins.
 */
static void test_what_was_read_is_on_disk(void **state)
{
    struct scene scene;
    struct post post;
    scene_open(&scene, 0);
    int64_t product = set_adjustment(&scene, &post);
    assert_false(is_written(&scene));

    shard_disk_slow(scene.disk, 20000);
    struct raw *raw = post_raw(souk_worker_port(scene.souk, SOUK_PRODUCT), strstr(post.url, "/products"), &post);
    assert_true(souk_wait(is_written, &scene, 5000));
    souk_kill_shard(scene.souk, 0);
    raw_close(raw);
    shard_disk_slow(scene.disk, 0);
    power_is_back(&scene);
    expect_on_hand(&scene, product, 105);
    must_answer(&scene, &post, 200, true);
    lose_power_and_end(&scene, product, 105);
}

/*
 * A sync fails, and the shard ends. The next sync succeeds, but what the first one could not write is in memory only: a shard that reads it there
 * tells what its disk does not have, and writes on behind a hole.
 */
static void test_what_is_in_memory_only(void **state)
{
    struct scene scene;
    struct post post;
    scene_open(&scene, 0);
    int64_t product = set_adjustment(&scene, &post);
    shard_disk_break(scene.disk, true);
    must_answer(&scene, &post, 503, false);
    assert_true(souk_wait(shard_has_ended, &scene, 10000));
    shard_disk_break(scene.disk, false);
    power_is_back(&scene);
    expect_on_hand(&scene, product, 100);
    must_answer(&scene, &post, 200, false);
    lose_power_and_end(&scene, product, 105);
}

/*
 * A shard that syncs once a second, whatever it has said that it does, loses orders, and this test sees it. It is told so behind the setup: a shard
 * that has lost its library as well is of no use.
 */
static void test_everysec_loses(void **state)
{
    struct scene scene;
    scene_start(&scene, 0, false);
    REDIS_DO(souk_shard(scene.souk, 0), "CONFIG", "SET", "appendfsync", "everysec");
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_power_fails),
        cmocka_unit_test(test_sync_fails),
        cmocka_unit_test(test_what_was_read_is_on_disk),
        cmocka_unit_test(test_what_is_in_memory_only),
        cmocka_unit_test(test_everysec_loses),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
