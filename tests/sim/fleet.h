#ifndef FLEET_H
#define FLEET_H

#include <stdbool.h>
#include <stdint.h>

#include "book.h"
#include "flow.h"
#include "random.h"
#include "shard_sim.h"

/*
 * A whole Souk in one thread, where time, network and death are the simulator's: workers that run the real flows, shards that run the real functions,
 * the sandbox gateway's real book. One seed gives one history.
 *
 *   fleet_ask ─▶ worker: step.h ─ call ─▶ (connection: first in, first out) ─▶ shard_sim ─ on disk ─▶ (connection) ─▶ step_reply ─▶ …
 *       ▲                      └ errand ─▶ (network) ─▶ book ─▶ (network) ─▶ step_errand                                     │
 *       └────────────────────────────── got_answer: the flow's, the deadline's, or none (the worker died) ◀──────────────────┘
 *
 * What can go wrong, each as often as the faults say:
 *   a worker dies, or stands still and goes on with what it knew    a shard dies and loses what was not on disk, or stands still
 *   a connection breaks: what was under way is done, or not, or later (up to 40 s)    the clocks of shards differ, and jump
 *   the gateway is away, its answer is lost, or the request comes late    a shard turns a call away: memory, disk, replicas, loading
 */
struct fleet;

enum role { ROLE_PRODUCT, ROLE_ORDER, ROLE_PAYMENT };
#define ROLES 3
#define FLEET_WORKERS_MAX 8
#define FLEET_SHARDS_MAX 5

/* How often something happens, as the mean time between two in ms of the whole fleet's time; 0: never. Shares are in a thousand. */
struct faults_plan {
    int64_t worker_death_ms, worker_pause_ms, shard_death_ms, shard_pause_ms, cut_ms, clock_jump_ms, gateway_away_ms;
    unsigned gateway_lost, gateway_late; /* of its requests */
    unsigned not_now;                    /* calls that a shard turns away, by one of Redis' errors that say so */
};

struct fleet_counts {
    uint64_t worker_deaths, worker_pauses, shard_deaths, shard_pauses, cuts, clock_jumps, gateway_faults, turned_away;
    uint64_t calls, lost_calls, late_calls, rolled_back, events;
};

struct fleet_settings {
    uint64_t seed;
    unsigned workers[ROLES];
    int64_t sweep_ms; /* between two sweeps of a worker */
    bool trace;       /* prints every call that a shard carries out, and every fault */
    /* Are shown every call that a shard is about to carry out, and every one that it has carried out, with its answer; NULL: nobody looks. */
    void (*before)(void *cookie, struct shard_sim *shard, const struct call *call, int64_t limit_ms);
    void (*watch)(void *cookie, struct shard_sim *shard, const struct call *call, int64_t limit_ms, const struct item *root);
    void *watch_cookie;
    struct faults_plan faults;
};

/* ${shards}, and ${partitions} partitions. ${library}: see shard_sim_new. */
struct fleet *fleet_new(unsigned shards, int partitions, struct lua_library *library);
void fleet_free(struct fleet *fleet);

/* Everything anew, empty, for one history. */
void fleet_begin(struct fleet *fleet, const struct fleet_settings *settings);
/* Lets go of everything that is under way. */
void fleet_end(struct fleet *fleet);

/* From now on these things go wrong; NULL: nothing, and everything that is down comes back. */
void fleet_plan(struct fleet *fleet, const struct faults_plan *faults);
/* This shard, if it is up, dies for so long, and loses some of what its disk does not have. */
void fleet_shard_away(struct fleet *fleet, unsigned shard, int64_t us);
/* From now on workers sweep this often. */
void fleet_sweep_every(struct fleet *fleet, int64_t ms);

/* Goes on to the next event. Returns false when there is none but sweeps at or before ${until_us}; then it is ${until_us}. */
bool fleet_go(struct fleet *fleet, int64_t until_us);
int64_t fleet_now_us(const struct fleet *fleet);

/*
 * A request to any worker of this role. ${make} fills the ask in the flow's arena. got_answer is called once: with the answer, or with NULL when the
 * client's connection was closed without one (then also when no worker is up).
 */
struct request_kind {
    enum role role;
    const struct flow_type *flow;
    int64_t deadline_ms;
    void (*make)(struct arena *arena, struct ask *ask, void *cookie);
    void (*got_answer)(void *cookie, const struct answer *answer);
};
void fleet_ask(struct fleet *fleet, const struct request_kind *kind, void *cookie);

/* ${wake} is called after ${delay_us}. Returns nothing that could be cancelled: whoever asks checks whether it still matters. */
void fleet_wake(struct fleet *fleet, int64_t delay_us, void (*wake)(void *cookie), void *cookie);

struct random *fleet_random(struct fleet *fleet);
const struct topology *fleet_topology(const struct fleet *fleet);
struct shard_sim *fleet_shard(struct fleet *fleet, unsigned shard);
const struct book *fleet_book(const struct fleet *fleet);
struct fleet_counts fleet_counts(const struct fleet *fleet);

/* Carries out one call at once, on its shard, on disk: for setting up and for looking. Answer in ${arena}. */
const struct item *fleet_do(struct fleet *fleet, const struct call *call, struct arena *arena);

/* The first thing that was wrong by itself: an error from inside a function, an answer that no row of the table names; empty: nothing. */
const char *fleet_wrong(const struct fleet *fleet);
void fleet_complain(struct fleet *fleet, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
