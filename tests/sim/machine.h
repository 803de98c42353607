#ifndef MACHINE_H
#define MACHINE_H

#include <stdbool.h>
#include <stdint.h>

#include "flow.h"
#include "gateway.h"
#include "hash.h"

/*
 * Flows as what they are: machines with states and events. A state is everything that a flow knows (traced_arena.h) and what it has asked for and not
 * been answered; it has a number, and is found again by its content. A step is computed once, by running the real flow along the events that led to
 * the state, and remembered; a search then takes it a million times for nothing.
 *
 *   machine_begin ─▶ state ─ step(item 0, reply 17) ─▶ state ─ … ─▶ over, with an answer
 */
struct machine;

/* What a flow asks for. The same wish of two states has the same number. */
enum item_kind { ITEM_CALL, ITEM_ERRAND, ITEM_NAP };
struct wish_of_flow {
    enum item_kind kind;
    struct call *call;             /* CALL: function, partition, shard, keys and arguments */
    struct gateway_errand *errand; /* ERRAND */
};

#define ITEMS_MAX 6
struct machine_state {
    bool over, again;    /* again: its answer asks to be repeated */
    int status;          /* of its answer; 0: none yet */
    struct hash128 body; /* of its answer */
    unsigned item_count;
    uint32_t items[ITEMS_MAX]; /* wishes, sorted */
};

/* ${make} makes the root flow number ${kind} in an arena. */
struct machine *machine_new(struct flow *(*make)(struct arena *arena, unsigned kind));
void machine_free(struct machine *machine);

/* The state of a flow of that kind that has just started. */
uint32_t machine_begin(struct machine *machine, unsigned kind);
/* The state after ${state}'s item number ${item} came back with this. */
uint32_t machine_step(struct machine *machine, uint32_t state, unsigned item, uint32_t reply);

const struct machine_state *machine_state(const struct machine *machine, uint32_t state);
const struct wish_of_flow *machine_wish(const struct machine *machine, uint32_t wish);

/* Replies have numbers too. A call's NOT_SENT and UNKNOWN; a nap's end is REPLY_NUMBER_WAKE. */
enum { REPLY_NUMBER_NONE, REPLY_NUMBER_NOT_SENT, REPLY_NUMBER_UNKNOWN, REPLY_NUMBER_WAKE, REPLY_NUMBER_FIRST };
uint32_t machine_reply(struct machine *machine, const struct function *function, const struct item *root);
uint32_t machine_result(struct machine *machine, enum gateway_result result, struct view ref, struct view failure);
const struct reply *machine_reply_of(const struct machine *machine, uint32_t reply);

struct machine_counts {
    uint32_t states, wishes, replies;
    uint64_t steps;
};
struct machine_counts machine_counts(const struct machine *machine);

/* A map from 64 bits pairs to numbers, for whoever remembers. 0: not there. */
struct memo {
    struct memo_row {
        uint64_t a, b;
        uint32_t value, more;
    } * rows;
    size_t count, cap;
};
struct memo_row *memo_find(struct memo *memo, uint64_t a, uint64_t b);
struct memo_row *memo_add(struct memo *memo, uint64_t a, uint64_t b);
void memo_free(struct memo *memo);

#endif
