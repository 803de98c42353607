#ifndef OPERATION_H
#define OPERATION_H

#include "payment.h"

/*
 * The second half of POST /payments, capture and void: the intent is stored, now the gateway is asked, its word recorded, and the client told.
 *
 *   ASKING (gateway) ─▶ RECORDING (pay_result) ─▶ SHOWING (the record as of that version) ─▶ answer ─▶ CONFIRMING (a paid order's duty) ─▶ end
 *                        └ reply lost: 503, the reconciler finishes
 *   a replay of the key begins at SHOWING, and confirms what is still owed
 */
enum operation_state { OPERATION_BEGINNING, OPERATION_ASKING, OPERATION_RECORDING, OPERATION_SHOWING, OPERATION_CONFIRMING };

/* What a payment's status means for the client: ${done} "succeeded|authorized" is answered ${status}; processing and unknown 202; the rest 402. */
struct operation_kind {
    const char *done;
    int status;
};

/* Begins the struct of a flow. */
struct operation {
    struct flow flow;
    enum operation_state state;
    const struct operation_kind *kind;
    unsigned partition;
    int64_t payment_id;
    struct txn_key key;
    struct view op;  /* "charge:1" */
    int64_t version; /* which one is shown */
    bool replayed;
    int64_t paid_order; /* whose holds are to be confirmed; 0: none */
};

/* The intent is stored. ${errand} is complete but for what comes back. */
void operation_ask(struct operation *operation, struct gateway_errand *errand);
/* Decided before: shows version ${version}; then, in case that whoever decided it has died, what order ${order_id} owes is done. */
void operation_replay(struct operation *operation, int64_t version, int64_t order_id);

/* For the flow type: from ASKING on all events are these functions'. */
void operation_got_errand(struct flow *flow, struct errand *errand);
void operation_got_reply(struct operation *operation, const struct reply *reply);
void operation_got_child(struct flow *flow, struct flow *child);

#endif
