#ifndef SHOP_MODEL_H
#define SHOP_MODEL_H

#include <stdbool.h>
#include <stdint.h>

#include "call.h"
#include "flow_driver.h"

/*
 * What the functions of lua/ do to stock, holds, idempotency records and orders, in plain C and without Redis: so every reply of a flow can be lost,
 * late, repeated or refused in a loop, and the flow run again finds what the shards would then hold. Time moves by hand. The functions themselves are
 * held to the same table by tests/lua.
 *
 * It is also a judge. model_asked looks at each call when the flow asks for it and notes in ${wrong} which fence it jumps:
 *   RELEASE while nothing has decided against its transaction, or of a live order's · CONFIRM of what is not paid · CONSUME of what is not fulfilled
 *   KEEP of what has no order · PLACE and DUTY_DONE while a hold of the order is not where its state says
 */
#define MODEL_HOLDS 192
#define MODEL_PRODUCTS 8
#define MODEL_ORDERS 16
#define MODEL_KEYS 192
#define MODEL_VERSIONS 8
#define MODEL_ATTEMPTS 8

enum phase { PHASE_NONE, PHASE_HELD, PHASE_COMMITTED, PHASE_RELEASED, PHASE_RESTOCKED, PHASE_CONSUMED };

struct model_hold {
    enum phase phase;
    int64_t product, quantity, order_partition, when, since;
    char txn[96];
};
struct model_product {
    int64_t id, on_hand, held, committed, ask, version, price;
    char currency[4];
};
struct model_order {
    int64_t id, version, total, created, expires, updated, due; /* due 0: no duty */
    int64_t open_payment;                                                /* 0: none */
    char user[64], currency[4], state[16], payment_status[24], txn[96], key[96];
    char history[MODEL_VERSIONS + 1][128];
    struct view doc;
};
struct model_key {
    char name[96], fp[24], decision[16];
    int64_t id, attempt, status, version;
    struct view body;
    struct {
        char fp[24];
        int64_t attempt;
    } aborted[MODEL_ATTEMPTS];
};

struct model {
    struct arena *arena;
    int64_t now;
    struct model_product products[MODEL_PRODUCTS];
    struct model_hold holds[MODEL_HOLDS];
    struct model_order orders[MODEL_ORDERS];
    struct model_key keys[MODEL_KEYS];
    size_t product_count, hold_count, order_count, key_count;
    unsigned partitions;
    size_t look_step; /* so many holds are looked at in one step of a look */
    unsigned settle_calls, keep_calls; /* asked for so far */
    bool lease_elsewhere;
    bool damaged;    /* by the test: then nothing is judged */
    char wrong[256]; /* the first thing that was wrong; empty: nothing */
};

void model_init(struct model *model);
void model_free(struct model *model);
void model_product(struct model *model, int64_t id, int64_t on_hand, int64_t price, const char *currency);

/* The flow has asked for ${call}: is it allowed to, as things stand now? */
void model_asked(struct model *model, const struct call *call);
/* Carries out ${call}; its answer is lost. */
void model_act(struct model *model, const struct call *call);
/* The same, and its answer is fed to the flow. */
void model_answer(struct model *model, struct driver *driver, struct call *call);

/* Somebody else moves an order: paid, fulfilled, cancelled. Its duty is open. */
void model_move(struct model *model, struct model_order *order, const char *state, const char *payment_status);

struct model_product *model_product_at(struct model *model, int64_t id);
struct model_hold *model_hold_of(struct model *model, int64_t product, const char *txn);
struct model_order *model_order_at(struct model *model, int64_t id);
/* Do the counters of every product fit its holds, and are they possible? Else says what is wrong. */
void model_check_stock(struct model *model);
/* Has every order the holds that its state asks for, and no other hold any units? For when all duties and looks are done. */
void model_check_settled(struct model *model);

#endif
