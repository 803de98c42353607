#ifndef SHOP_RUN_H
#define SHOP_RUN_H

#include "shop_model.h"

/*
 * One flow against a model, reply by reply, with a fault where the test wants one. Whatever happens is judged: each call when it is asked for, the
 * flow's account after each step, and at its end that it has answered once, with a status that makes sense.
 *
 *   NOT_SENT        the shard was away: nothing was done, and the flow is told so
 *   LOST_BEFORE     the flow is told UNKNOWN, and nothing was done
 *   LOST_AFTER      the flow is told UNKNOWN, and it was done
 *   LATE            the flow is told UNKNOWN, and it is done when the flow has ended
 *   LATER           the same, when the same request was sent again and has ended too
 *   LIE             the flow is told another code of a function, or an answer that is no answer
 *   DEATH_UNSENT    the worker dies; what the flow has asked for was not sent
 *   DEATH_SENT      the worker dies; what the flow has asked for is carried out
 */
enum fault_kind {
    FAULT_NONE,
    FAULT_NOT_SENT,
    FAULT_LOST_BEFORE,
    FAULT_LOST_AFTER,
    FAULT_LATE,
    FAULT_LATER,
    FAULT_DEATH_UNSENT,
    FAULT_DEATH_SENT,
    FAULT_LIE,
    FAULTS
};
extern const char *const FAULT_NAMES[FAULTS];

/* What a LIE says. */
#define LIES 20

/* The reply number ${at} (0: the first) is spoilt; FAULT_NONE: none is. */
struct plan {
    enum fault_kind fault;
    unsigned at;
    int lie;
};

#define RUN_CALLS_MAX 128
#define RUN_PLACES_MAX 8

struct run {
    struct model *model;
    struct driver *driver;
    struct call *pending[RUN_CALLS_MAX], *late[RUN_CALLS_MAX];
    size_t pending_count, late_count;
    unsigned steps;
    bool dead, lied, told;              /* told: a reply has said what was decided, so that releasing may be right */
    const char *placed[RUN_PLACES_MAX]; /* the transactions for which PLACE was asked */
    size_t placed_count;
};

/* Starts the driver's flow. */
void run_start(struct run *run, struct model *model, struct driver *driver);
bool run_over(const struct run *run);
/* What waits in place ${which} is answered. */
void run_step(struct run *run, size_t which, enum fault_kind fault, int lie);
/* On to the end, the oldest first. Returns whether it came to the fault. */
bool run_on(struct run *run, const struct plan *plan);
/* What was late is carried out now. */
void run_late(struct run *run);
/* Frees the driver. */
void run_end(struct run *run);

/* What a client saw: status 0 when nobody answered. Body and headers are in the model's arena. */
struct seen {
    int status;
    const char *body;
};
struct seen run_seen(struct run *run);

/* Runs a child flow to its end, as a worker's sweep would: ${make} makes it. Returns whether it came to the fault. */
typedef struct flow *make_child(struct flow *parent, int64_t id);
bool run_child(struct model *model, make_child *make, int64_t id, const struct plan *plan);
/* The same, with a look at the child at its end. */
bool run_child_and(struct model *model, make_child *make, int64_t id, const struct plan *plan, void (*look)(const struct flow *child, void *cookie),
                   void *cookie);

/* Time passes, and a sweep without faults does all that is due, until nothing is. Then everything must be where it belongs. */
void run_calm(struct model *model);

#endif
