#ifndef ORDER_H
#define ORDER_H

#include "flow.h"
#include "records.h"
#include "txn.h"

/* The flows of the order service, one for each route. */
extern const struct flow_type PLACE_FLOW, ORDER_GET_FLOW, ORDER_HISTORY_FLOW, ORDER_LIST_FLOW, CANCEL_FLOW, FULFIL_FLOW, EVENTS_FLOW;
/* The own flows of two of them. */
extern const struct flow_type OWN_ORDER_LIST, OWN_PLACE;

/* What POST /orders reads. */
struct place_item {
    int64_t product_id, quantity;
};
struct place_body {
    struct view user, expected_total;
    struct items items; /* struct place_item */
    int64_t hold_seconds;
    bool has_expected_total, has_hold_seconds;
};
extern const struct shape PLACE_BODY;

struct cancel_body {
    struct view reason;
};
extern const struct shape CANCEL_BODY;

struct fulfil_body {
    struct view tracking;
    bool has_tracking;
};
extern const struct shape FULFIL_BODY;

/*
 * Reads an order as it was at one version: two calls on its shard, ORDER_READ and its history field. The owner gives both replies to
 * order_at_got, which says when the order is whole.
 */
struct order_at {
    int64_t id, version;
    struct order order;
    struct view history;
    bool got_order, got_history, damaged;
};
enum { TAG_AT_ORDER = 100, TAG_AT_HISTORY };
void order_at_ask(struct flow *flow, struct order_at *at, int64_t id, int64_t version);
enum order_at_step { AT_WAITING, AT_WHOLE, AT_FAILED };
/* AT_FAILED: the flow was answered with a problem; end it. ${reply} may be of either call; others' tags are none of its business. */
enum order_at_step order_at_got(struct flow *flow, struct order_at *at, const struct call *call, const struct reply *reply);

/* Answers with the order: ${status}, ETag, Location for 201, Idempotent-Replayed. */
void order_answer(struct flow *flow, int status, const struct order *order, bool replayed);

/* A record or an answer that makes no sense: logged, answered 500. ${what} says which. */
void order_broken(struct flow *flow, const char *what, int64_t id);

#endif
