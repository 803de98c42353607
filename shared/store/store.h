#ifndef STORE_H
#define STORE_H

#include <stdbool.h>
#include <stdint.h>

#include "metric.h"

#include "breaker.h"
#include "call.h"
#include "near_cache.h"
#include "topology.h"

/*
 * The shards as one thread sees them: one pipelined connection each.
 *
 *   store_send ──▶ shard's out buffer ──(end of turn: one write per shard)──▶ Redis
 *   call->done ◀── classify ◀── reader ◀──────────────────────────────────── Redis
 *
 * A connection is used for calls only when it is READY: connected, and its shard proved to be the one the ring means (souk:shard has our name,
 * P and epoch), to keep what it acknowledges (no eviction, ${fsync_least}), and to have our function library (loaded by us when absent and
 * permitted).
 *
 *   DOWN ──timer──▶ CONNECTING ──▶ CHECKING ──▶ (LOADING) ──▶ READY
 *     ▲ back-off 25 ms … 1 s, jittered  ▲          │             │
 *     │                                 └──────────┼─────────────┤ RING, or the library is gone: the shard is checked again, behind what is owed
 *     └────────────────────────────────────────────┴─────────────┘ any error: every owed call completes, the context is closed, never reused
 *
 * A host that is a name is looked up before every connect (LOOKING_UP, before CONNECTING): a shard that moves keeps its name and not its address.
 *
 * A call to a shard that is not READY, or that owes STORE_BEHIND_MAX calls or more of which the oldest waits for longer than ${behind_ms}, completes
 * as NOT_SENT in the next turn (breaker.h). A call that was written when its connection died, or that has waited for STORE_CALL_TIMEOUT_MS, completes
 * as UNKNOWN (or NOT_SENT if none of its bytes had been handed to the kernel). One that only reads, or was not sent, is sent once more if its
 * connection broke and the next attempt to connect succeeds, within the budget of retries. A plain command counts as one that only reads; the one
 * that writes, a lease of the audit, may be asked for twice and is then left to its time. What waits to be sent once
 * more waits for the next connection as well, so its answer can take some seconds longer than STORE_CALL_TIMEOUT_MS.
 *
 * With ${wait_replicas} a call of a function that writes completes as OK or REFUSED only when so many replicas have confirmed what its connection
 * wrote up to it; else as UNKNOWN. That holds for refusals too: they may rest on writes of others which no replica has. Reads do not wait for it.
 */
#define STORE_CALL_TIMEOUT_MS 2000
#define STORE_LIMIT_MS 30000     /* how long a writing call may travel; lua/lib/guard.lua has it too */
#define STORE_INFLIGHT_MAX 16384 /* per shard; above it calls complete as NOT_SENT */
#define STORE_BEHIND_MAX 128     /* the same, of a shard that is behind */

struct loop;
struct store;

/* The function library: its whole text beginning with "#!lua name=…", and the hash that is part of every function's name. */
struct library {
    struct view name, hash, text;
};

/* How a shard writes its append-only file to disk (appendfsync), in the order of what that promises. */
enum fsync { FSYNC_UNKNOWN, FSYNC_NO, FSYNC_EVERYSEC, FSYNC_ALWAYS };
/* Redis' word for it, and back; other words are FSYNC_UNKNOWN. */
enum fsync fsync_of(struct view text);
const char *fsync_name(enum fsync fsync);

struct store_settings {
    const struct topology *topology;
    const struct library *libraries; /* the first holds the functions of calls; the others are loaded beside it */
    unsigned library_count;
    const char *user, *password; /* AUTH; NULL: none */
    int wait_replicas;           /* so many replicas must have a write before its call completes; 0: none */
    enum fsync fsync_least;      /* a shard that promises less is refused; up to FSYNC_NO: none is */
    int promise_ms;              /* how often a shard is asked again whether it promises that; 0: every 30 s */
    bool watches_line;           /* store_standing_us will be asked */
    int behind_ms;               /* a shard whose oldest call waits for longer is behind; 0: none ever is */
    /* Answers of one kind of record that are kept in this thread (near_cache.h, tracking.h): all zero for none. */
    const char *near_kind; /* "product": of the keys product:{p}:ID, and of struct function's ${changes} */
    size_t near_bytes;
    int64_t near_bound_us;
    void (*near_drop)(void *answer);
};
#define NEAR_KIND_MAX 32

/*
 * Starts connecting to every shard at once. Returns NULL (logged) if memory is short. What ${settings} points to stays valid until store_close.
 * SIGPIPE is ignored from here on, because the client library writes to sockets that the other side may have closed.
 */
struct store *store_open(struct loop *loop, const struct store_settings *settings);

/* Sends, at the end of this turn. Completes by call->done exactly once, in a later turn, whatever happens. Cannot fail otherwise. */
void store_send(struct store *store, struct call *call);

/* Does not send it: it completes as NOT_SENT, like one that could not be sent. */
void store_withhold(struct store *store, struct call *call);

/*
 * Does that shard take calls; do all; is any connected, and was what it should be, though it may be behind with its answers: that is not away. What
 * to tell a person about it if not ("127.0.0.1:6379: Connection refused"; valid until that changes).
 */
bool store_shard_ready(const struct store *store, unsigned shard);
bool store_all_ready(const struct store *store);
bool store_any_ready(const struct store *store);
const char *store_shard_state(const struct store *store, unsigned shard);

/*
 * What a completed write survives: "replicas=n" with ${wait_replicas}, "fsync" when every shard's settings say that a change is on its disk before it
 * is answered, "none" when a shard promises less or nobody has looked. Valid as long as the store.
 */
const char *store_durability(const struct store *store);

/* Time of the shard in milliseconds, as far as its last answer tells; 0 before the first. */
int64_t store_shard_now_ms(const struct store *store, unsigned shard);

const struct topology *store_topology(const struct store *store);

/*
 * With ${watches_line}, how long calls stand in line: the time that the quickest took of those answered since this was asked last. If none was
 * answered, how long the oldest unanswered one waits, of the shard that takes calls where that is least; 0 if one of them owes nothing. One slow
 * shard does not make it long, a queue everywhere does.
 */
int64_t store_standing_us(struct store *store);

/*
 * What is kept near, or NULL if nothing is to be. The store tells it what the shards say, and what this thread's own calls have changed before they
 * complete.
 */
struct near_cache *store_near(const struct store *store);

/* Nothing but uint64_t: see figures_publish. */
struct shard_figures {
    uint64_t calls, batches, bytes_out; /* handed to the connection; writes that carried calls; all bytes */
    uint64_t faults[REPLY_FAULTS];      /* calls that completed as NOT_SENT or UNKNOWN */
    uint64_t reconnects;                /* attempts to connect after the first */
    struct metric_times times;          /* of calls that were answered, from the write of their turn to the reading of their answer */
    uint64_t in_flight, ready;          /* at the moment */
    uint64_t repeated; /* calls that were, or are to be, sent once more */
    uint64_t breaker;  /* enum breaker, at the moment */
};
struct shard_figures store_shard_figures(const struct store *store, unsigned shard);

/*
 * Closes all connections; owed calls complete (UNKNOWN or NOT_SENT) before this returns, and what their completions send completes as NOT_SENT,
 * so none may repeat itself without end. Not to be called from a completion. The loop must not turn again afterwards: the store's hook stays
 * registered with it.
 */
void store_close(struct store *store);

/* The whole reply that ${root} means to a call of ${function}: classified, with its code. For whoever carries calls in the store's place. */
struct reply reply_from(const struct function *function, const struct item *root, bool *unclassified);

/*
 * The total table of classification (RELIABILITY.md B9), open for its test: what an answer to a call means. ${function} NULL: plain command.
 * Answers that no row names are UNKNOWN with *unclassified set; a test fails on that.
 */
enum reply_kind reply_classify(const struct function *function, const struct item *root, int *code, const char **why, bool *unclassified);

/* Codes that the guard of every writing function may give (lua/lib/guard.lua); both mean: not carried out. */
enum { CODE_RING = 1, CODE_LATE = 2 };

#endif
