#ifndef PAYMENT_H
#define PAYMENT_H

#include "flow.h"
#include "gateway.h"
#include "shape.h"
#include "txn.h"

/* The payment service: its settings, its noun, its flows, and what they share. */

struct payment_settings {
    const char *gateway_url;
    int gateway_timeout_ms;
    int authorization_hold_s; /* how long an order with an authorized payment stays reserved */
    int census_s;             /* from one count of the shards to the next */
};

/* The flows, one for each route. */
extern const struct flow_type PAY_FLOW, CAPTURE_FLOW, VOID_FLOW, REFUND_FLOW, REFUND_LIST_FLOW, PAYMENT_GET_FLOW, PAYMENT_LIST_FLOW;
/* The own flows of two of them. */
extern const struct flow_type OWN_PAYMENT_LIST, OWN_PAY;

/* A payment's duty: asks the gateway what became of an operation or refund, voids, refunds; see reconcile.c. A child flow; the payment sweep's. */
struct flow *reconcile_new(struct flow *parent, int64_t payment_id);

/* ---- what the routes read ---- */

struct pay_body {
    int64_t order_id;
    struct view amount, capture;
    struct value method;
    bool has_amount;
};
extern const struct shape PAY_BODY;

struct act_body {
    struct view amount;
    bool has_amount;
};
extern const struct shape ACT_BODY;

struct refund_body {
    struct view amount, reason;
    bool has_amount;
};
extern const struct shape REFUND_BODY;

/* ---- the noun (payment.c) ---- */

/* The fields of the record that flows read, in this order. */
enum payment_field {
    PAYMENT_STATUS,
    PAYMENT_V,
    PAYMENT_ORDER_ID,
    PAYMENT_AMOUNT,
    PAYMENT_CURRENCY,
    PAYMENT_CAPTURED,
    PAYMENT_REFUNDED,
    PAYMENT_CAPTURE,
    PAYMENT_FAILURE,
    PAYMENT_CREATED,
    PAYMENT_UPDATED,
    PAYMENT_GATEWAY_REF,
    PAYMENT_REFUNDS,
};
#define PAYMENT_FIELD_COUNT 13
extern const char *const PAYMENT_FIELD_NAMES[PAYMENT_FIELD_COUNT];

struct payment {
    int64_t id, order_id, version, amount, captured, refunded, created_ms, updated_ms, refunds;
    struct view status, currency, capture, failure, gateway_ref;
    int digits; /* of the currency */
};

/* HMGET of the fields above, and of ${more} (NULL: none) behind them: "e3", "refund1". */
struct call *payment_call(struct arena *arena, unsigned partition, int64_t id, const char *more);
/* From the fields' texts, which are borrowed. Returns false if the record is damaged. */
bool payment_from_fields(const struct view fields[PAYMENT_FIELD_COUNT], int64_t id, struct payment *payment);
enum payment_found { PAYMENT_FOUND, PAYMENT_ABSENT, PAYMENT_DAMAGED };
/* From payment_call's answer; texts are copied to the arena. */
enum payment_found payment_from_reply(struct arena *arena, const struct reply *reply, int64_t id, struct payment *payment);
/* What ${more} held; empty if it is not there. Valid as long as the reply. */
struct view payment_more(const struct reply *reply);

/*
 * Turns ${payment} into what it was at ${version}, from its history field eV ("status|captured|refunded|at|cause|failure|request id"), so that a
 * replay of an idempotency key shows the same bytes as the first answer. Returns false if the field is damaged.
 */
bool payment_as_of(struct payment *payment, int64_t version, struct view history);

/* Writes the payment as a map. */
void payment_write(struct writer *writer, const struct payment *payment);

/* Is nobody but the gateway able to say what becomes of a payment with this status? */
bool payment_under_way(struct view status);

/* Is ${text} one of "a|b|c"? */
bool is_one_of(const char *words, struct view text);

/* ---- answers that several flows give (payment.c) ---- */

/* A record or an answer that makes no sense: logged, answered 500, ended. */
void end_broken(struct flow *flow, const char *what, int64_t id);
void end_no_payment(struct flow *flow, int64_t id);
/* A read that failed: answered, ended. */
void end_failed(struct flow *flow, const struct reply *reply, const char *what);
/* One member of the body that cannot be accepted: 422, ended. */
void end_member(struct flow *flow, const char *pointer, const char *message);
/* The answers to a key that was used before (codes KEY_REUSED and IN_FLIGHT), ended. */
void end_key_reused(struct flow *flow);
void end_in_flight(struct flow *flow);

/* Reads a client's amount in a currency of ${digits}. Returns false after having answered 422 and ended. */
bool amount_read(struct flow *flow, struct view text, int digits, int64_t *amount);

/* ---- calls that several flows make (payment.c) ---- */

/* A function call on one payment: its key, partition and id are there; the rest follows. */
struct call *payment_function(struct arena *arena, const struct function *function, unsigned partition, int64_t id);

/* How long until somebody else may ask the gateway about an operation that begins now: as long as its errand may take, and some more. */
int64_t due_of_errand_ms(const struct flow *flow);

/* ${hash}: of the key whose client waits; empty: nobody waits. */
struct call *pay_result_call(struct flow *flow, unsigned partition, int64_t id, struct view op, const struct gateway_errand *errand,
                             struct view hash);
struct call *refund_result_call(struct flow *flow, unsigned partition, int64_t id, int64_t n, const struct gateway_errand *errand);

#endif
