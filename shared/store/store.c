#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#include "check.h"
#include "clock.h"
#include "log.h"
#include "loop.h"

#include "shard.h"

#include "store.h"

/* The check of a shard keeps a bit for each library. */
#define LIBRARIES_MAX 32

void store_fail(struct store *store, struct call *call, const struct reply *fate)
{
    call->fate = fate;
    queue_add(&store->failed, call);
}

/* Completes all that waits in ${ripe}. A completion may send again, but what fails then goes to ${failed}: this ends. */
static void complete_ripe(struct store *store)
{
    struct call *call;

    while ((call = queue_take(&store->ripe)))
        call->done(call, call->fate);
}

static void ripen(struct store *store)
{
    struct call *call;

    while ((call = queue_take(&store->failed)))
        queue_add(&store->ripe, call);
}

/*
 * The end of a turn. Completions first, because they may send; then one write per shard that has something to write. Another turn is wanted while
 * calls wait to complete, and after completions: their answers belong to hooks that have run already.
 */
static bool got_turn_end(void *cookie)
{
    struct store *store = cookie;
    bool completed = store->ripe.head != NULL;

    complete_ripe(store);
    while (store->dirty) {
        struct shard *shard = store->dirty;

        store->dirty = shard->next_dirty;
        shard_flush(shard);
    }
    ripen(store);
    return completed || store->ripe.head;
}

int64_t near_id_of(const struct store *store, struct view key)
{
    size_t kind = strlen(store->settings.near_kind);
    const char *end;
    long long id;

    if (key.len < kind + 2 || memcmp(key.at, store->settings.near_kind, kind) != 0 || memcmp(key.at + kind, ":{", 2) != 0)
        return 0;
    end = memchr(key.at + kind, '}', key.len - kind);
    if (!end || end + 2 > key.at + key.len || end[1] != ':')
        return 0;
    return view_to_int((struct view){end + 2, (size_t)(key.at + key.len - end) - 2}, &id) ? id : 0;
}

static unsigned shard_of_id(const void *cookie, int64_t id)
{
    const struct topology *topology = cookie;

    return topology->owner[topology_partition_of_id(topology, id)];
}

/* Returns false if memory is short. */
static bool make_near(struct store *store)
{
    const struct store_settings *settings = &store->settings;
    const struct near_settings near = {
        .bytes_max = settings->near_bytes,
        .bound_us = settings->near_bound_us,
        .shards = settings->topology->shard_count,
        .shard_of = shard_of_id,
        .cookie = settings->topology,
        .drop = settings->near_drop,
    };

    if (settings->near_bytes == 0)
        return true;
    CHECK(strlen(settings->near_kind) <= NEAR_KIND_MAX);
    store->near = near_new(&near);
    return store->near != NULL;
}

struct near_cache *store_near(const struct store *store)
{
    return store->near;
}

static void free_shards(struct store *store)
{
    for (unsigned i = 0; i < store->settings.topology->shard_count; i++) {
        shard_free(store->shards[i]);
        store->shards[i] = NULL;
    }
}

static bool make_shards(struct store *store)
{
    unsigned count = store->settings.topology->shard_count;

    store->shards = calloc(count, sizeof(struct shard *));
    if (!store->shards)
        return false;
    for (unsigned i = 0; i < count; i++) {
        store->shards[i] = shard_new(store, i);
        if (!store->shards[i]) {
            free_shards(store);
            return false;
        }
    }
    return true;
}

struct store *store_open(struct loop *loop, const struct store_settings *settings)
{
    struct store *store = calloc(1, sizeof(*store));

    CHECK(settings->library_count >= 1 && settings->library_count <= LIBRARIES_MAX);
    if (!store)
        goto no_memory;
    store->loop = loop;
    store->settings = *settings;
    store->behind_us = durability_behind_us(settings);
    snprintf(store->durability, sizeof(store->durability), "replicas=%d", settings->wait_replicas);
    queue_clear(&store->failed);
    queue_clear(&store->ripe);
    store->arena = arena_new();
    store->command.arena = store->arena;
    if (!make_near(store) || !make_shards(store))
        goto no_shards;
    signal(SIGPIPE, SIG_IGN);
    loop_each_turn(loop, LOOP_STORE, got_turn_end, store);
    for (unsigned i = 0; i < settings->topology->shard_count; i++)
        shard_connect(store->shards[i]);
    return store;

no_shards:
    near_free(store->near);
    free(store->shards);
    arena_free(store->arena);
    free(store);
no_memory:
    log_error("cannot open the store: no memory for %u shards", settings->topology->shard_count);
    return NULL;
}

static struct shard *shard_at(const struct store *store, unsigned shard)
{
    CHECK(shard < store->settings.topology->shard_count);
    return store->shards[shard];
}

void store_send(struct store *store, struct call *call)
{
    const struct topology *topology = store->settings.topology;
    const struct reply *fate;

    CHECK(call->done && call->partition < topology->partitions);
    call->repeated = false;
    fate = shard_send(shard_at(store, call->shard >= 0 ? (unsigned)call->shard : topology->owner[call->partition]), call);
    if (fate)
        store_fail(store, call, fate);
}

void store_withhold(struct store *store, struct call *call)
{
    static const struct reply WITHHELD = {.kind = REPLY_NOT_SENT, .why = "the request was answered before the call was sent"};

    CHECK(call->done);
    store_fail(store, call, &WITHHELD);
}

bool store_shard_ready(const struct store *store, unsigned shard)
{
    return shard_at(store, shard)->breaker == BREAKER_CLOSED;
}

bool store_all_ready(const struct store *store)
{
    for (unsigned i = 0; i < store->settings.topology->shard_count; i++)
        if (!store_shard_ready(store, i))
            return false;
    return true;
}

bool store_any_ready(const struct store *store)
{
    for (unsigned i = 0; i < store->settings.topology->shard_count; i++)
        if (shard_at(store, i)->state == SHARD_READY)
            return true;
    return false;
}

const char *store_shard_state(const struct store *store, unsigned shard)
{
    return shard_at(store, shard)->told;
}

int64_t store_standing_us(struct store *store)
{
    int64_t now = clock_us(), least = store->quickest_us;

    store->quickest_us = 0;
    if (least)
        return least;
    least = INT64_MAX;
    for (unsigned i = 0; i < store->settings.topology->shard_count; i++) {
        const struct shard *shard = store->shards[i];
        int64_t waits = shard->in_flight && shard->owed.head ? now - shard->owed.head->sent_us : 0;

        if (shard->breaker == BREAKER_CLOSED && waits < least)
            least = waits;
    }
    return least < INT64_MAX ? least : 0;
}

const char *store_durability(const struct store *store)
{
    if (store->settings.wait_replicas > 0)
        return store->durability;
    for (unsigned i = 0; i < store->settings.topology->shard_count; i++)
        if (!store->shards[i]->fsyncs)
            return "none";
    return "fsync";
}

int64_t store_shard_now_ms(const struct store *store, unsigned shard)
{
    return shard_now_ms(shard_at(store, shard));
}

const struct topology *store_topology(const struct store *store)
{
    return store->settings.topology;
}

struct shard_figures store_shard_figures(const struct store *store, unsigned shard)
{
    struct shard_figures figures = shard_at(store, shard)->figures;

    figures.in_flight = shard_at(store, shard)->in_flight;
    figures.ready = store_shard_ready(store, shard);
    figures.breaker = shard_at(store, shard)->breaker;
    return figures;
}

void store_close(struct store *store)
{
    if (!store)
        return;
    for (unsigned i = 0; i < store->settings.topology->shard_count; i++)
        shard_close(store->shards[i]);
    do {
        ripen(store);
        complete_ripe(store);
    } while (store->failed.head);
    free_shards(store);
    near_free(store->near);
    free(store->shards);
    arena_free(store->arena);
    free(store);
}
