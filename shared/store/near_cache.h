#ifndef NEAR_CACHE_H
#define NEAR_CACHE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "view.h"

/*
 * The near cache of one thread: answers that were made from records of one kind ("product"), kept while the shards say that those records are the
 * same. No I/O and no clock: tracking.c tells it what the shards say, whoever asks gives the time. What an answer is, is its owner's affair.
 *
 *                 near_mark               near_fill, still standing
 *    (nothing) ───────────────▶ READING ────────────────────────────▶ FULL ──▶ near_hit
 *                                  │ a record changed, a shard was lost  │ a record changed, a shard was lost, no room (SIEVE)
 *                                  ▼                                     ▼
 *                              POISONED ──near_fill: not kept──▶      (nothing)
 *
 * Why a mark. Answers and invalidations come on two connections, so an answer can be read before a change and arrive after the news of it. The mark
 * is planted before the read is sent; the news poisons it; a poisoned answer is given to those who wait for it and is not kept.
 *
 * Why a lease. News that do not come look like no news. So the shard is asked for a sign of life behind its news (PING), again and again. It
 * broadcasts at the end of a turn of its loop, behind the answers of that turn, so a PONG does not prove that the changes before its PING were told;
 * but the next PONG does, since its PING came in a later turn. When PONG n arrives, all changes up to the sending of PING n-1 are told: what is kept
 * is then as new as that moment, and may be given until the bound after it. A connection that is frozen, slow or dead in any way lets the lease end
 * by itself.
 *
 * What an answer rests on is a span of ids: one record (first = last), or a page of a list, which every record in its range could change. A page
 * rests on all shards.
 *
 * Eviction is SIEVE (Zhang et al., NSDI 2024): a queue in the order of filling, a visited bit, and a hand that goes from old to new, takes the bit
 * from those that have it and evicts the first that has none. A hit writes one bit and moves nothing.
 */
struct near_cache;
struct near_mark;

#define NEAR_SHARDS_MAX 256
#define NEAR_LAST (INT64_MAX - 1) /* ${last} of a range without an end */

struct near_settings {
    size_t bytes_max;   /* of answers, as their owner counts them, and of what is kept beside them */
    int64_t bound_us;   /* how old an answer may be */
    unsigned shards;
    unsigned (*shard_of)(const void *cookie, int64_t id);
    const void *cookie;
    void (*drop)(void *answer); /* frees an answer that was kept */
};

/* Returns NULL if memory is short. Every shard is lost at first. */
struct near_cache *near_new(const struct near_settings *settings);
/* Drops what is kept. No mark may stand any more. NULL: does nothing. */
void near_free(struct near_cache *cache);

/* The answer kept under ${key}, or NULL. It stays valid until the cache is told anything, or the turn ends. */
void *near_hit(struct near_cache *cache, struct view key, int64_t now_us);

/* The answer that near_hit gave has grown by so many bytes. What goes for that goes with the next near_fill. */
void near_grew(struct near_cache *cache, struct view key, size_t bytes);

/*
 * The answer to ${key} is about to be read. Returns its mark; or, with *joined, the mark of another who is reading it since less than the bound,
 * and whose answer will do; or NULL: it must be read, and cannot be kept (no lease, no room, no memory). ${record}: the one id that it rests on; 0: a
 * range that is known when it was read.
 *
 * The mark of who reads is given back by near_fill or near_unmark, exactly once. near_waiting: one pointer for those who joined.
 */
struct near_mark *near_mark(struct near_cache *cache, struct view key, int64_t record, int64_t now_us, bool *joined);
void **near_waiting(struct near_mark *mark);

/*
 * It was read: ${answer}, of ${bytes}, with ${version} if it is of one record, or resting on all ids up to ${last}. Returns whether it is kept; if
 * not (poisoned, or larger than an eighth of the cache) it stays the caller's. Those who joined are to be taken from near_waiting before.
 */
bool near_fill(struct near_cache *cache, struct near_mark *mark, int64_t version, int64_t last, void *answer, size_t bytes);
/* It could not be read. */
void near_unmark(struct near_cache *cache, struct near_mark *mark);

/* ---- what the shards say ---- */

/* This record has changed, or was made, or is no more. */
void near_changed(struct near_cache *cache, int64_t id);
/*
 * This thread itself has changed it (0: some record). Whoever asks from now on sees that change: pages that are being read are not for those who come
 * later, either.
 */
void near_wrote(struct near_cache *cache, int64_t id);
/* This version of it was seen by another way: what is kept of another version goes, so that nobody here sees it go back. */
void near_saw(struct near_cache *cache, int64_t id, int64_t version);
/* News of ${shard} may be missing: all that rests on it goes, and what is being read of it is poisoned. */
void near_lost(struct near_cache *cache, unsigned shard);
/* It has answered the question that was sent to it at ${asked_us}, on the connection of its news, and after the answer to the one before. */
void near_answered(struct near_cache *cache, unsigned shard, int64_t asked_us);
/* Could an answer of this shard be given now? */
bool near_leased(const struct near_cache *cache, unsigned shard, int64_t now_us);

/* How old an answer of this shard could be now, if it is leased. */
int64_t near_staleness_us(const struct near_cache *cache, unsigned shard, int64_t now_us);

/* Nothing but uint64_t: see figures_publish. */
struct near_figures {
    uint64_t hits, misses, joins, unleased; /* of near_hit and near_mark; unleased: neither, for want of a lease or of room */
    uint64_t evictions, invalidations, poisoned, losses;
    uint64_t bytes, answers; /* at the moment */
};
struct near_figures near_figures(const struct near_cache *cache);

#endif
