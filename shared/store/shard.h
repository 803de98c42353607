#ifndef SHARD_H
#define SHARD_H

#include "loop.h"

#include "reader.h"
#include "store_internal.h"

/*
 * One connection to one shard, replaced when it breaks (store.h has the picture of its states).
 *
 * Invariants: ${lookup} exists in LOOKING_UP, ${link} and ${watch} from CONNECTING on. ${owed} holds, in the order of sending, what hiredis will call
 * back for; the calls from ${unflushed} on have not been handed to the kernel. Only in READY are calls of others accepted. The timer is always set:
 * in DOWN to the next attempt, in READY to the next beat, in all others to the end of our patience.
 */
enum shard_state { SHARD_DOWN, SHARD_LOOKING_UP, SHARD_CONNECTING, SHARD_CHECKING, SHARD_LOADING, SHARD_READY };

#define SHARD_REASON_MAX 256
#define SHARD_TEXT_MAX (sizeof(((struct shard_address *)0)->host) + 16 + SHARD_REASON_MAX) /* host:port: reason */
#define SHARD_UUID_MAX 64
#define SHARD_RUN_ID_MAX 64
#define SHARD_WAITS_MAX 2 /* WAITs under way, when replicas confirm writes */

struct redisAsyncContext;
struct shard {
    struct store *store;
    const struct shard_address *address;
    unsigned index;
    enum shard_state state;
    enum breaker breaker; /* CLOSED only in READY */
    char told[SHARD_TEXT_MAX];   /* what to tell people: why it is down, or that it is ready */
    char logged[SHARD_TEXT_MAX]; /* what the log was told last, so that every further attempt does not repeat it */

    /* Where it is: the ring's address, or what its name stood for before this connect (store.h). */
    const char *place;
    char found[LOOP_ADDRESS_MAX];
    struct loop_lookup *lookup;
    unsigned lookups;

    /* The connection. */
    struct redisAsyncContext *link;
    struct loop_watch *watch;
    struct loop_timer *timer;
    struct reader reader;
    const struct reply *fate; /* what owed calls complete with when we ourselves close; NULL: the connection broke */
    int64_t backoff_ms;

    /* What is under way. */
    struct queue owed;
    struct call *unflushed; /* NULL: all were handed to the kernel */
    struct queue again;     /* to be sent once more when it is READY again; ${fate} is what they complete with if that fails */
    unsigned in_flight;     /* of ${owed} and ${held}, the calls of others */
    unsigned gathered;      /* the calls of others since the last write */
    int64_t gathering_us;   /* when the first command of this turn was appended, the time of all of them; 0: none was */
    int64_t read_us;        /* when the last reading began, the time of all answers in it */
    int64_t answered_us;    /* when the last call was sent that was answered in this reading; 0: none was */
    struct shard *next_dirty;
    bool dirty;          /* in the store's list of those that have something to write */
    bool flushing, left; /* while writing: hiredis asked for more writing */
    bool garbled;        /* hiredis has a command without a callback: nothing may be written, the connection ends with the turn */
    bool blocked;        /* the kernel took only a part: the descriptor is watched until it takes more */

    /* The check (identity.c, library.c). */
    struct arena *check_arena;
    unsigned awaited; /* its answers still to come */
    uint32_t missing; /* bit i: library i is not there */
    char uuid[SHARD_UUID_MAX];
    char run_id[SHARD_RUN_ID_MAX]; /* of the server process; empty: not told */
    bool ring_told;

    /* The shard's clock: its time minus our monotonic one; unknown before its first answer. */
    bool clock_known;
    int64_t clock_ahead_ms;
    struct call *time_call; /* made once; used again for every beat */
    bool time_asked;
    int64_t time_due_us;

    /* What it promises (promise.c). */
    enum fsync recorded; /* appendfsync, as souk:shard has it from "soukctl load" */
    bool has_file;       /* the append-only file is on */
    bool fsyncs;         /* so each change is on the shard's disk before it is answered */
    bool promise_asked;
    struct call *record_call, *promise_call;
    int64_t promise_due_us;

    /* What an answered write survives (durability.c). */
    struct queue held;    /* answered, and not yet confirmed by replicas; ${fate} is what they complete with when they are */
    unsigned unconfirmed; /* writing calls sent since the last WAIT */
    unsigned waits, next_wait;
    bool barrier_failed;
    struct call *barrier_calls[SHARD_WAITS_MAX], *wait_calls[SHARD_WAITS_MAX];

    struct tracker *tracker; /* NULL: nothing is kept near */

    struct shard_figures figures;
    int64_t complained_us;
    unsigned complaints; /* not logged since then */
};

/* A line of the log about this shard. */
#define shard_log(shard, level, ...) \
    log_with((level), &(const struct log_field){"shard", {(shard)->address->name, strlen((shard)->address->name)}, false}, 1, __VA_ARGS__)

/* Returns NULL if memory is short. It is DOWN; shard_connect begins its life. */
struct shard *shard_new(struct store *store, unsigned index);
void shard_connect(struct shard *shard);

/* Appends ${call} to what is written at the turn's end. Returns NULL, or what the call completes with because it cannot be sent. */
const struct reply *shard_send(struct shard *shard, struct call *call);

/* One write of all that was gathered. */
void shard_flush(struct shard *shard);

int64_t shard_now_ms(const struct shard *shard);

/* Closes the connection for good; owed calls go to store_fail. Not from a callback of hiredis. */
void shard_close(struct shard *shard);
/* It is closed, or was never connected. */
void shard_free(struct shard *shard);

/* For the files of this folder only, in the order of a connection's life. */

/* shard.c */
void shard_move(struct shard *shard, enum shard_state to);
/* Connected, or in doubt: begins the check, for which there is limited time. */
void shard_check(struct shard *shard);
/* The check is passed. */
void shard_passed(struct shard *shard);
/* The breaker hears of it, and says so where people look. */
void shard_heard(struct shard *shard, enum breaker_event event);
/* This is not a shard we can use: says so, closes, tries again in a second. */
void shard_refuse(struct shard *shard, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Closes, says ${reason}, tries again. The connection goes at once, or when the callback of hiredis that we are in has returned. */
void shard_break(struct shard *shard, const char *reason);

/* identity.c: asks what must be proved; one more answer has come and was fine; asks for the time unless that question is still open. */
void identity_check(struct shard *shard);
void identity_step(struct shard *shard);
void identity_ask_time(struct shard *shard);
/* The run_id in the answer to INFO server; empty if it is not there. */
void identity_run_id(struct view info, char out[SHARD_RUN_ID_MAX]);
/* What stands behind ${name} ("run_id:") in an answer to INFO; empty if it is not there. */
struct view info_line(struct view info, const char *name);

/* library.c: asks which libraries are there; loads those that were missing. */
void library_list(struct shard *shard);
void library_load(struct shard *shard);

/* pipeline.c: a question of our own, whose ${got} is called at most once, and never if the connection breaks. */
struct call *shard_question(struct shard *shard, struct arena *arena, const char *command, void (*got)(struct call *call, const struct reply *reply));
void shard_ask(struct shard *shard, struct call *question);
/*
 * hiredis' hook; one write now; all that is owed completes, what was handed to the kernel with ${fate}, but for what may be ${repeated}: that waits
 * for pipeline_repeat, which sends it, or pipeline_give_up, which completes it.
 */
void pipeline_want_write(void *cookie);
void pipeline_write(struct shard *shard);
void pipeline_read(struct shard *shard);
void pipeline_settle(struct shard *shard, const struct reply *fate, bool repeated);
void pipeline_repeat(struct shard *shard);
void pipeline_give_up(struct shard *shard);
/* A call of others was answered, and its answer may be given. */
void pipeline_complete(struct shard *shard, struct call *call, const struct reply *reply);
/* May an error be logged now? One a second; others are counted in ${complaints}. */
bool shard_may_complain(struct shard *shard);

/*
 * durability.c: how long the oldest call may wait while a shard takes further ones, which replicas may delay too; must this answer wait for replicas;
 * keeps it until then; the turn's batch is complete; all that is held completes with ${fate}.
 */
int64_t durability_behind_us(const struct store_settings *settings);
bool durability_holds(const struct shard *shard, const struct call *call, const struct reply *reply);
void durability_hold(struct shard *shard, struct call *call, const struct reply *reply);
void durability_end_batch(struct shard *shard);
void durability_settle(struct shard *shard, const struct reply *fate);
/*
 * promise.c: the shard's appendfsync as souk:shard has it; what INFO says of the rest: returns false, having refused the shard, if all that is not
 * enough. The question for the latter. Asks for both, unless these questions are still open.
 */
void promise_recorded(struct shard *shard, struct view appendfsync);
bool promise_accepts(struct shard *shard, const struct item *info);
struct call *promise_question(struct shard *shard, struct arena *arena, void (*got)(struct call *call, const struct reply *reply));
void promise_ask(struct shard *shard);

#endif
