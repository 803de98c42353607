#ifndef SNAPSHOTS_H
#define SNAPSHOTS_H

#include "machine.h"
#include "shard_sim.h"

/*
 * Shards and the gateway as machines: a state has a number, what a call does to it is computed once by the real function and remembered. Two states
 * of a shard are the same when its keys say the same; what nobody decides on (the ledger, the feed, the count of changes of a stock) does not count.
 */
struct snapshots;

#define KEYS_MAX 6 /* of requests: those that place orders, then those that pay */
#define ATTEMPTS_MAX 8
#define SHOP_PRODUCTS 3
#define PAYMENTS_MAX 4

enum phase { PHASE_NONE, PHASE_HELD, PHASE_COMMITTED, PHASE_CONSUMED, PHASE_RELEASED, PHASE_RESTOCKED };
enum order_state { ORDER_NONE, ORDER_RESERVED, ORDER_PAID, ORDER_FULFILLED, ORDER_CANCELLED, ORDER_EXPIRED };
enum decision { DECISION_NONE, DECISION_ABORTED, DECISION_PLACED, DECISION_REFUSED };

/* What one shard's state says. Orders are known by the key that placed them. */
struct facts {
    struct {
        bool there;
        int on_hand, held, committed;
        struct {
            enum phase phase;
            int quantity;
        } holds[KEYS_MAX][ATTEMPTS_MAX];
        bool strangers; /* a hold that is nobody's we know */
    } products[SHOP_PRODUCTS];
    struct {
        unsigned count; /* orders of this key; more than one is wrong */
        enum order_state state;
        int attempt, total;
        int64_t id;
    } orders[KEYS_MAX];
    struct {
        enum decision decision;
        int attempt;
    } keys[KEYS_MAX];
    struct {
        int64_t id, order_id;
        char status[24];
        int captured, refunded, key; /* whose operation was begun last; -1: none that we know */
    } payments[PAYMENTS_MAX];
    unsigned payment_count;
    bool duties;
};

/* What the shop consists of. */
struct shop_plan {
    const struct topology *topology;
    int64_t product_ids[SHOP_PRODUCTS];
    int stock[SHOP_PRODUCTS];
    const char *key_hashes[KEYS_MAX]; /* NULL: there is no such request */
};
/* ${library}: see shard_sim_new. */
struct snapshots *snapshots_new(const struct shop_plan *plan, struct machine *machine, struct lua_library *library);
void snapshots_free(struct snapshots *snapshots);

/* The first state of a shard: the products that live there, and nothing else. */
uint32_t snapshots_begin(const struct snapshots *snapshots, unsigned shard);

/* Carries out a call on ${state} of its shard at ${now_ms}: the state after it, and what it answers. */
struct outcome_of {
    uint32_t state, reply;
};
struct outcome_of snapshots_run(struct snapshots *snapshots, unsigned shard, uint32_t state, uint32_t wish, int64_t now_ms, int64_t limit_ms);
const struct facts *snapshots_facts(const struct snapshots *snapshots, unsigned shard, uint32_t state);

/* The gateway: its first state is 1. */
struct outcome_of snapshots_ask_gateway(struct snapshots *snapshots, uint32_t state, uint32_t wish);
/* What the gateway has taken of one payment, what it gave back, and whether an authorization stands there that is neither captured nor voided. */
struct taken {
    int taken, given;
    bool open;
};
struct taken snapshots_taken(const struct snapshots *snapshots, uint32_t state, int64_t payment_id);

unsigned snapshots_count(const struct snapshots *snapshots); /* states of all shards */
/* An error from inside a function, if there was one; empty: none. */
const char *snapshots_wrong(const struct snapshots *snapshots);

#endif
