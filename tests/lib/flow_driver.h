#ifndef FLOW_DRIVER_H
#define FLOW_DRIVER_H

#include <stdbool.h>
#include <stdint.h>

#include "flow.h"

/*
 * Runs a flow without I/O, in the engine's place. What the flow asks for waits here, in the order it was asked, until the test feeds back what came
 * of it. After each step the account is checked (flow_check_step), and again that the flow answered at most once.
 *
 *   struct driver *d = driver_start(&ORDER_READ_FLOW, &ask);
 *   struct call *call = driver_next_call(d);                 assert_string_equal(driver_part(d, call, 0), "order:{17}:4369");
 *   driver_reply(d, call, "10");                             NOT_FOUND
 *   assert_int_equal(driver_finish(d)->status, 404);
 *   driver_free(d);
 *
 * Children run as in the engine: they start within their parent's step, their calls stand in the same queue (call->cookie is the flow that asked),
 * and got_child is called as soon as one has ended and nothing is owed to it. Time stands still: a sleep ends when driver_wake is called.
 *
 * The topology has three shards, shard-1 … shard-3, and 16 partitions. Everything the flow and the test make lies in one arena, until driver_free.
 * What a reply consists of is freed as soon as its step is over, so that a flow that borrows from a reply is found by the sanitizer.
 */
struct driver;

/* ${ask} is borrowed; NULL: no client waits for this flow. */
struct driver *driver_start(const struct flow_type *type, const struct ask *ask);

/* The same in three steps, for flows that are given more than an ask: a driver, its flow (not started), off it goes. */
struct driver *driver_new(void);
struct flow *driver_flow(struct driver *driver, const struct flow_type *type, const struct ask *ask);
void driver_go(struct driver *driver);

struct arena *driver_arena(struct driver *driver);
/* May be changed before the flow starts (world->settings). */
struct world *driver_world(struct driver *driver);
struct flow *driver_root(struct driver *driver);

/* The oldest call, errand that waits, taken out of the queue; NULL if there is none. Several may be taken before any is answered, in any order. */
struct call *driver_next_call(struct driver *driver);
struct errand *driver_next_errand(struct driver *driver);
/* What the oldest sleeping flow asked for in ms, -1 if none sleeps. */
int64_t driver_sleep_ms(const struct driver *driver);
/* How many calls, errands and sleeps wait in the queue. */
unsigned driver_waiting(const struct driver *driver);

/*
 * What the shard answered, as words: "0 17 1". Integers become integers, nil a nil, other words texts, 'quoted words' texts whatever they are, [ and
 * ] hold a list, and each % is the next of the further arguments, a struct view. For a function the first word is its code, and the reply's kind
 * follows from it as in the store; a plain command is answered by the list of the words, or, behind a =, by the one item that follows ("=nil",
 * "=%"). "-ERR souk: bad key of try" is an error.
 */
void driver_reply(struct driver *driver, struct call *call, const char *words, ...);
/* REPLY_NOT_SENT or REPLY_UNKNOWN. */
void driver_reply_kind(struct driver *driver, struct call *call, enum reply_kind kind);
/* The errand's result was filled in by the test. */
void driver_errand_done(struct driver *driver, struct errand *errand);
/* The oldest sleep is over. */
void driver_wake(struct driver *driver);

/* The n-th key or argument of a call as C text; "" if there are fewer. */
const char *driver_part(struct driver *driver, const struct call *call, unsigned n);
/* Is it this function's call; NULL: a plain command. */
bool driver_calls(const struct call *call, const struct function *function);

/* The answer so far, NULL if none; its body as C text ("" if none); the value of one of its headers, NULL if absent. */
const struct answer *driver_answer(const struct driver *driver);
const char *driver_body(struct driver *driver);
const char *driver_header(const struct driver *driver, const char *name);

/* Is the flow over: ended, nothing owed? */
bool driver_over(const struct driver *driver);
/* Fails the test unless the flow is over and, if a client waits for it, has answered. Returns the answer. */
const struct answer *driver_finish(struct driver *driver);
/* The flow need not be over. */
void driver_free(struct driver *driver);

/*
 * Every way a flow can go: starts it again and again (each time by ${make}, in a driver of its own) and answers what it asks in every possible way,
 * always the oldest first: each call NOT_SENT, UNKNOWN, and in all the ways that ${feed} knows; each errand in all the ways that ${fill} knows.
 * ${feed} feeds the n-th reply (0, 1, …) to the call and returns true, or returns false if it knows fewer; ${fill} fills the n-th result in,
 * likewise (NULL: there are no errands). At the end of each way driver_finish is called, then ${check} (may be NULL). A way of more than
 * ${steps_max} steps is taken for a hang. Returns the number of ways.
 */
struct exploration {
    struct flow *(*make)(struct driver *driver, const void *cookie);
    bool (*feed)(struct driver *driver, struct call *call, unsigned n);
    bool (*fill)(struct errand *errand, unsigned n);
    void (*check)(struct driver *driver, const void *cookie);
    const void *cookie;
    unsigned steps_max;
};
#define EXPLORE_STEPS_MAX 64
unsigned driver_explore(const struct exploration *exploration);

#endif
