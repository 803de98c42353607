#ifndef ENGINE_H
#define ENGINE_H

#include <stdbool.h>
#include <stdint.h>

#include "flow.h"

/*
 * Runs flows on one thread: empties their outboxes into the store, the outside port and the loop's timers, and feeds the events back. Knows
 * neither HTTP nor any noun of the shop. A worker, soukctl and the sweeps use the same engine.
 */
struct engine;
struct loop;
struct store;

/* The outside: takes an errand, completes it exactly once in a later turn by errand->done. */
struct outside {
    void (*send)(void *cookie, struct errand *errand);
    void *cookie;
};

/* ${outside} is borrowed and may be filled in until the first errand; NULL: flows here send none. Returns NULL if memory is short. */
struct engine *engine_new(struct loop *loop, struct store *store, const struct outside *outside);

/*
 * Starts a root flow. Holds the flow's arena until the flow has ended and nothing is owed. got_answer is called at most once: with the flow's
 * answer, or, when ${deadline_ms} (0: none) passes first, with a 503 (effects were under way) or 504 that the engine makes; the flow goes on.
 * got_end is called once, last. Either may be NULL.
 */
void engine_start(struct engine *engine, struct flow *flow, int64_t deadline_ms,
                  void (*got_answer)(void *cookie, struct flow *flow, struct answer *answer), void (*got_end)(void *cookie, struct flow *flow),
                  void *cookie);

/* Root flows that have not ended. */
unsigned engine_running(const struct engine *engine);

/* No flow may be running. */
void engine_free(struct engine *engine);

#endif
