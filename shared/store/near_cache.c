#include <stdlib.h>

#include "check.h"
#include "hash.h"

#include "near_cache.h"

/*
 *   by_key   key ──▶ entry ──▶ entry     READING and FULL
 *   by_id    id  ──▶ entry ──▶ entry     the same, if they rest on one record
 *   ranges   entry ⇄ entry               the same, if they rest on a range
 *   queue    newest ⇄ … ⇄ oldest         FULL only, with SIEVE's hand
 *
 * A lost shard raises its generation; what was begun in an older one is found out when it is met.
 */
enum entry_state { ENTRY_READING, ENTRY_FULL, ENTRY_POISONED };

struct near_mark {
    enum entry_state state;
    bool visited;
    unsigned shard;                      /* of its record; ALL_SHARDS for a range */
    uint32_t hash;                       /* of its key */
    struct near_mark *next_key, *next_id;
    struct near_mark *newer, *older;     /* in the queue, or in the list of ranges while READING */
    struct near_mark *next_range, **link_range;
    uint64_t generation;
    int64_t record;                      /* 0: a range */
    int64_t last;                        /* of the range; FULL */
    int64_t lowest;                      /* the lowest id of a range that changed while READING */
    int64_t version, since_us;
    void *answer, *waiting;
    size_t bytes;
    size_t key_len;
    char key[];
};

/* A page is compared with every record that changes, so there are not many. */
#define RANGES_MAX 128
#define ALL_SHARDS UINT32_MAX
/* What an answer is thought to take at least, for the size of the tables. */
#define BYTES_LEAST 1024
#define SLOTS_LEAST 256

struct near_cache {
    struct near_settings settings;
    struct near_mark **by_key, **by_id;
    uint32_t slot_mask;
    struct near_mark *ranges;
    unsigned range_count;
    struct near_mark *newest, *oldest, *hand;
    unsigned reading; /* marks that are out, poisoned ones too */
    struct {
        uint64_t generation;
        int64_t asked_us; /* when the question was sent that it has answered last; 0: none since it was lost */
        int64_t lease_us;
    } shards[NEAR_SHARDS_MAX];
    uint64_t generation; /* of all shards together */
    int64_t lease_us;    /* the shortest of all */
    struct near_figures figures;
};

struct near_cache *near_new(const struct near_settings *settings)
{
    struct near_cache *cache = calloc(1, sizeof(*cache));
    size_t slots = SLOTS_LEAST;

    CHECK(settings->shards >= 1 && settings->shards <= NEAR_SHARDS_MAX);
    if (!cache)
        return NULL;
    while (slots < settings->bytes_max / BYTES_LEAST && slots < UINT32_MAX / 2)
        slots *= 2;
    cache->settings = *settings;
    cache->slot_mask = (uint32_t)slots - 1;
    cache->by_key = calloc(slots, sizeof(struct near_mark *));
    cache->by_id = calloc(slots, sizeof(struct near_mark *));
    if (cache->by_key && cache->by_id)
        return cache;
    free(cache->by_key);
    free(cache->by_id);
    free(cache);
    return NULL;
}

/* ---- the tables ---- */

static struct near_mark **key_slot(const struct near_cache *cache, uint32_t hash)
{
    return &cache->by_key[hash & cache->slot_mask];
}

/* Ids are sequence * P + partition: neighbours differ in their low bits already, and the multiplication spreads the others. */
static struct near_mark **id_slot(const struct near_cache *cache, int64_t id)
{
    return &cache->by_id[(uint32_t)((uint64_t)id * UINT64_C(0x9e3779b97f4a7c15) >> 32) & cache->slot_mask];
}

static struct near_mark *find(const struct near_cache *cache, struct view key, uint32_t hash)
{
    struct near_mark *entry = *key_slot(cache, hash);

    while (entry && (entry->hash != hash || !view_equal((struct view){entry->key, entry->key_len}, key)))
        entry = entry->next_key;
    return entry;
}

static void enter_tables(struct near_cache *cache, struct near_mark *entry)
{
    struct near_mark **slot = key_slot(cache, entry->hash);

    entry->next_key = *slot;
    *slot = entry;
    if (entry->record) {
        slot = id_slot(cache, entry->record);
        entry->next_id = *slot;
        *slot = entry;
        return;
    }
    entry->next_range = cache->ranges;
    entry->link_range = &cache->ranges;
    if (entry->next_range)
        entry->next_range->link_range = &entry->next_range;
    cache->ranges = entry;
    cache->range_count++;
}

static void leave_tables(struct near_cache *cache, struct near_mark *entry)
{
    struct near_mark **link = key_slot(cache, entry->hash);

    while (*link != entry)
        link = &(*link)->next_key;
    *link = entry->next_key;
    if (entry->record) {
        link = id_slot(cache, entry->record);
        while (*link != entry)
            link = &(*link)->next_id;
        *link = entry->next_id;
        return;
    }
    *entry->link_range = entry->next_range;
    if (entry->next_range)
        entry->next_range->link_range = entry->link_range;
    cache->range_count--;
}

/* ---- the queue ---- */

static void enter_queue(struct near_cache *cache, struct near_mark *entry)
{
    entry->newer = NULL;
    entry->older = cache->newest;
    if (cache->newest)
        cache->newest->newer = entry;
    else
        cache->oldest = entry;
    cache->newest = entry;
    cache->figures.bytes += entry->bytes;
    cache->figures.answers++;
}

static void leave_queue(struct near_cache *cache, struct near_mark *entry)
{
    if (cache->hand == entry)
        cache->hand = entry->newer;
    *(entry->newer ? &entry->newer->older : &cache->newest) = entry->older;
    *(entry->older ? &entry->older->newer : &cache->oldest) = entry->newer;
    cache->figures.bytes -= entry->bytes;
    cache->figures.answers--;
}

/* What is FULL goes. What is READING is still its reader's: it is poisoned, and nobody finds it any more. */
static void expel(struct near_cache *cache, struct near_mark *entry)
{
    leave_tables(cache, entry);
    if (entry->state == ENTRY_READING) {
        entry->state = ENTRY_POISONED;
        cache->figures.poisoned++;
        return;
    }
    CHECK(entry->state == ENTRY_FULL);
    leave_queue(cache, entry);
    cache->settings.drop(entry->answer);
    free(entry);
}

static void evict_one(struct near_cache *cache)
{
    struct near_mark *at = cache->hand ? cache->hand : cache->oldest;

    while (at->visited) {
        at->visited = false;
        at = at->newer ? at->newer : cache->oldest;
    }
    cache->hand = at->newer;
    expel(cache, at);
    cache->figures.evictions++;
}

/* ---- leases ---- */

static bool is_current(const struct near_cache *cache, const struct near_mark *entry)
{
    return entry->generation == (entry->shard == ALL_SHARDS ? cache->generation : cache->shards[entry->shard].generation);
}

static int64_t lease_of(const struct near_cache *cache, unsigned shard)
{
    return shard == ALL_SHARDS ? cache->lease_us : cache->shards[shard].lease_us;
}

static void set_lease(struct near_cache *cache, unsigned shard, int64_t until_us)
{
    cache->shards[shard].lease_us = until_us;
    cache->lease_us = INT64_MAX;
    for (unsigned i = 0; i < cache->settings.shards; i++)
        if (cache->shards[i].lease_us < cache->lease_us)
            cache->lease_us = cache->shards[i].lease_us;
}

void near_answered(struct near_cache *cache, unsigned shard, int64_t asked_us)
{
    if (cache->shards[shard].asked_us)
        set_lease(cache, shard, cache->shards[shard].asked_us + cache->settings.bound_us);
    cache->shards[shard].asked_us = asked_us;
}

bool near_leased(const struct near_cache *cache, unsigned shard, int64_t now_us)
{
    return now_us < lease_of(cache, shard);
}

int64_t near_staleness_us(const struct near_cache *cache, unsigned shard, int64_t now_us)
{
    return now_us - (cache->shards[shard].lease_us - cache->settings.bound_us);
}

void near_lost(struct near_cache *cache, unsigned shard)
{
    set_lease(cache, shard, 0);
    cache->shards[shard].asked_us = 0;
    cache->shards[shard].generation++;
    cache->generation++;
    cache->figures.losses++;
}

/* ---- answers ---- */

/* An entry that can still be used, or NULL: one of a lost generation is expelled here. */
static struct near_mark *find_current(struct near_cache *cache, struct view key, uint32_t hash)
{
    struct near_mark *entry = find(cache, key, hash);

    if (!entry || is_current(cache, entry))
        return entry;
    expel(cache, entry);
    return NULL;
}

void *near_hit(struct near_cache *cache, struct view key, int64_t now_us)
{
    struct near_mark *entry = find_current(cache, key, hash32(key, 0));

    if (!entry || entry->state != ENTRY_FULL || now_us >= lease_of(cache, entry->shard))
        return NULL;
    entry->visited = true;
    cache->figures.hits++;
    return entry->answer;
}

void near_grew(struct near_cache *cache, struct view key, size_t bytes)
{
    struct near_mark *entry = find(cache, key, hash32(key, 0));

    CHECK(entry && entry->state == ENTRY_FULL);
    entry->bytes += bytes;
    cache->figures.bytes += bytes;
}

static struct near_mark *entry_new(struct near_cache *cache, struct view key, uint32_t hash, int64_t record, unsigned shard, int64_t now_us)
{
    struct near_mark *entry = malloc(sizeof(*entry) + key.len);

    if (!entry)
        return NULL;
    *entry = (struct near_mark){
        .state = ENTRY_READING,
        .shard = shard,
        .hash = hash,
        .generation = shard == ALL_SHARDS ? cache->generation : cache->shards[shard].generation,
        .record = record,
        .lowest = INT64_MAX,
        .since_us = now_us,
        .key_len = key.len,
    };
    memcpy(entry->key, key.at, key.len);
    cache->reading++;
    enter_tables(cache, entry);
    return entry;
}

struct near_mark *near_mark(struct near_cache *cache, struct view key, int64_t record, int64_t now_us, bool *joined)
{
    uint32_t hash = hash32(key, 0);
    unsigned shard = record ? cache->settings.shard_of(cache->settings.cookie, record) : ALL_SHARDS;
    struct near_mark *entry = find_current(cache, key, hash);

    *joined = false;
    if (now_us >= lease_of(cache, shard)) {
        cache->figures.unleased++;
        return NULL;
    }
    if (entry && entry->state == ENTRY_READING && now_us - entry->since_us < cache->settings.bound_us) {
        *joined = true;
        cache->figures.joins++;
        return entry;
    }
    if (entry)
        expel(cache, entry); /* asked for too long ago, or somebody wants a newer one than is kept */
    entry = record || cache->range_count < RANGES_MAX ? entry_new(cache, key, hash, record, shard, now_us) : NULL;
    *(entry ? &cache->figures.misses : &cache->figures.unleased) += 1;
    return entry;
}

void **near_waiting(struct near_mark *mark)
{
    return &mark->waiting;
}

void near_unmark(struct near_cache *cache, struct near_mark *mark)
{
    CHECK(mark->state != ENTRY_FULL);
    if (mark->state == ENTRY_READING)
        leave_tables(cache, mark);
    cache->reading--;
    free(mark);
}

bool near_fill(struct near_cache *cache, struct near_mark *mark, int64_t version, int64_t last, void *answer, size_t bytes)
{
    bytes += sizeof(*mark) + mark->key_len;
    if (mark->state != ENTRY_READING || !is_current(cache, mark) || mark->lowest <= last || bytes > cache->settings.bytes_max / 8) {
        near_unmark(cache, mark);
        return false;
    }
    while (cache->figures.bytes + bytes > cache->settings.bytes_max)
        evict_one(cache);
    mark->state = ENTRY_FULL;
    mark->version = version;
    mark->last = last;
    mark->answer = answer;
    mark->waiting = NULL;
    mark->bytes = bytes;
    cache->reading--;
    enter_queue(cache, mark);
    return true;
}

/* ---- what the shards say ---- */

static void expel_record(struct near_cache *cache, int64_t id, int64_t but_version)
{
    for (struct near_mark *entry = *id_slot(cache, id), *next; entry; entry = next) {
        next = entry->next_id;
        if (entry->record == id && (but_version == 0 || (entry->state == ENTRY_FULL && entry->version != but_version)))
            expel(cache, entry);
    }
}

void near_changed(struct near_cache *cache, int64_t id)
{
    cache->figures.invalidations++;
    expel_record(cache, id, 0);
    for (struct near_mark *entry = cache->ranges, *next; entry; entry = next) {
        next = entry->next_range;
        if (entry->state == ENTRY_READING && id < entry->lowest)
            entry->lowest = id;
        else if (entry->state == ENTRY_FULL && id <= entry->last)
            expel(cache, entry);
    }
}

void near_wrote(struct near_cache *cache, int64_t id)
{
    if (id)
        near_changed(cache, id);
    for (struct near_mark *entry = cache->ranges, *next; entry; entry = next) {
        next = entry->next_range;
        if (id == 0 || entry->state == ENTRY_READING)
            expel(cache, entry);
    }
}

void near_saw(struct near_cache *cache, int64_t id, int64_t version)
{
    expel_record(cache, id, version);
}

struct near_figures near_figures(const struct near_cache *cache)
{
    return cache->figures;
}

void near_free(struct near_cache *cache)
{
    if (!cache)
        return;
    while (cache->newest)
        expel(cache, cache->newest);
    CHECK(cache->reading == 0);
    free(cache->by_key);
    free(cache->by_id);
    free(cache);
}
