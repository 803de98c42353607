#ifndef STORE_INTERNAL_H
#define STORE_INTERNAL_H

#include "arena.h"

#include "breaker.h"
#include "store.h"

/*
 * What the files of this folder share.
 *
 *   store.c     all shards of a thread, the turn's hook, calls that complete without an answer
 *   shard.c     one connection: its states and its timer              (drives the hiredis context)
 *   pipeline.c  the calls on a connection                             (fills and flushes it)
 *   breaker.c   whether a shard takes calls now, and how many may be sent twice
 *   identity.c  what a connection must prove before it is READY, and the shard's clock
 *   promise.c   what a shard promises about what it acknowledges
 *   durability.c  what an answered write survives: replicas' confirmation
 *   library.c   the function libraries: there, or loaded
 *   near_cache.c  answers that are kept while the shards say that their records are the same
 *   tracking.c  how a shard says it
 *   reader.c    hiredis' reader building struct item
 *   classify.c  what an answer means
 *   call.c      a call in Redis' encoding
 */

/* Calls in order. */
struct queue {
    struct call *head, **tail;
};

static inline void queue_clear(struct queue *queue)
{
    queue->head = NULL;
    queue->tail = &queue->head;
}

static inline void queue_add(struct queue *queue, struct call *call)
{
    call->next = NULL;
    *queue->tail = call;
    queue->tail = &call->next;
}

/* The first call, taken out; NULL if there is none. */
static inline struct call *queue_take(struct queue *queue)
{
    struct call *call = queue->head;

    if (call) {
        queue->head = call->next;
        if (!queue->head)
            queue->tail = &queue->head;
        call->next = NULL;
    }
    return call;
}

/*
 * A call that completes without an answer waits in ${failed} for the end of its turn and in ${ripe} for the end of the next: so it completes in
 * a later turn than it was sent in, wherever in a turn that was.
 */
struct store {
    struct loop *loop;
    struct store_settings settings;
    struct arena *arena;   /* lives as long as the store */
    struct buffer command; /* the command being put together */
    struct shard **shards; /* one per shard of the topology */
    struct shard *dirty;   /* has commands that were not yet written */
    struct queue failed, ripe;
    int64_t behind_us;       /* a shard whose oldest call waits for longer is behind */
    struct retry_budget retries;
    int64_t quickest_us;     /* of the calls answered since store_standing_us; 0: none was */
    char durability[32];     /* "replicas=2" */
    struct near_cache *near; /* NULL: nothing is kept */
};

/* ${call} will complete with ${fate} in a later turn. */
void store_fail(struct store *store, struct call *call, const struct reply *fate);

/* The id in a key of the kind that is kept near, product:{17}:4369; 0 if it is another key. */
int64_t near_id_of(const struct store *store, struct view key);

/* Redis' encoding: the head of a list ('*') or bulk string ('$'), and whole bulk strings. */
void bulk_head(struct buffer *buffer, char mark, uint64_t number);
void bulk_add(struct buffer *buffer, struct view text);
void bulk_add_int(struct buffer *buffer, int64_t number);

/* Does this answer say that the function library is not there (any more)? */
bool classify_library_gone(const struct item *root);

#endif
