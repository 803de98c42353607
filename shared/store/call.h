#ifndef CALL_H
#define CALL_H

#include <stdbool.h>
#include <stdint.h>

#include "arena.h"
#include "reply.h"
#include "view.h"

/*
 * One call to one shard, described before it is sent. Keys and arguments are kept in Redis' own encoding, so that sending is a copy and a
 * simulator can read them again. Made in an arena; the call must stay valid until its completion.
 *
 * A function call becomes   FCALL <name>_<library hash> <nkeys> keys… args… [epoch limit]
 * The last two are added by the store to every function that writes: the ring epoch, and the latest time of that shard at which the call may
 * still act (now + 30 s), so that a call that arrives late does nothing.
 */
struct function {
    const char *name; /* "try", without the library's hash */
    bool writes;
    const char *changes; /* the kind of record that it changes, if that kind is kept near (store.h): "product"; NULL: none */
};

struct call {
    const struct function *function; /* NULL: a plain command, complete in ${body} */
    unsigned partition;
    int shard;           /* -1: the partition's shard; else this one (calls over a whole shard) */
    unsigned keys, args; /* so far, in ${body} */
    struct buffer body;

    /* Where the completion goes. Called once, in a later turn, on the sender's thread. ${reply} is valid until it returns. */
    void (*done)(struct call *call, const struct reply *reply);
    void *cookie;

    const int64_t *also; /* further records that it changes, and no key names; valid as long as the call */
    unsigned also_count;

    /* For whoever made the call. */
    int tag, index;
    /* For whoever carries it. */
    struct call *next;
    int64_t sent_us; /* one time for all that a turn sends to a shard */
    const struct reply *fate; /* what it completes with when no answer came */
    bool repeated;            /* sent once more, because its connection was lost */
};

/* A function call to ${partition}'s shard. Add keys first, then arguments. Cannot fail. */
struct call *call_function(struct arena *arena, const struct function *function, unsigned partition);
/* A plain command ("HMGET"); its key and arguments follow. Its name is its part 0. */
struct call *call_command(struct arena *arena, const char *name, unsigned partition);

/* A function's keys come before its arguments. In a plain command a key is an argument like others. */
void call_key(struct call *call, struct view key);
void call_keyf(struct call *call, const char *format, ...) __attribute__((format(printf, 2, 3)));
void call_arg(struct call *call, struct view arg);
void call_arg_int(struct call *call, int64_t arg);

/* The n-th key or argument as it stands in the call (keys first), for tests and the simulator; .at is NULL if there are fewer. */
struct view call_part(const struct call *call, unsigned n);

#endif
