#include <stddef.h>

#include "duty.h"
#include "functions.h"
#include "outcomes.h"
#include "refusal.h"

#include "order.h"

/*
 * POST /orders/{id}/cancel and /fulfil: one transition on the order's shard, then what it means for the stock, then the answer.
 *
 *   cancel: MOVING ─┐
 *   fulfil: LOADING ─▶ MOVING ─▶ FINISHING (the duty: release or consume at every stock partition) ─▶ READING ─▶ 200
 *                        └ done before by this key, or cancelled already: whoever did it may have died ─▶ FINISHING
 *
 * The transition is the commit point. When a stock partition does not answer, the duty stays in txn:{p} and a sweep or the next retry carries it out;
 * the answer is
 * 200 all the same.
 */
enum move_state { LOADING, MOVING, FINISHING, READING };

struct move {
    struct flow flow;
    enum move_state state;
    const struct function *function;
    const char *verb;
    struct txn_key key;
    int64_t id, version;
    unsigned partition;
    bool replayed;
    struct order order;
    struct order_at at;
};

#define TAG_MOVE 1

static const struct field CANCEL_FIELDS[] = {
    {.name = "reason", .type = FIELD_TEXT, .offset = offsetof(struct cancel_body, reason), .min = 0, .max = 255},
};
const struct shape CANCEL_BODY = {.name = "cancellation", .fields = CANCEL_FIELDS, .count = 1, .size = sizeof(struct cancel_body)};
static const struct field FULFIL_FIELDS[] = {
    {.name = "tracking",
     .type = FIELD_TEXT,
     .offset = offsetof(struct fulfil_body, tracking),
     .given = offsetof(struct fulfil_body, has_tracking),
     .min = 1,
     .max = 255},
};
const struct shape FULFIL_BODY = {.name = "fulfilment", .fields = FULFIL_FIELDS, .count = 1, .size = sizeof(struct fulfil_body)};

static void move_init(struct move *move, const struct function *function, const char *verb)
{
    struct flow *flow = &move->flow;
    move->function = function;
    move->verb = verb;
    move->id = flow->ask->ids[0];
    move->partition = topology_partition_of_id(flow->world->topology, move->id);
    move->key = txn_key(flow->arena, flow->ask, arena_printf(flow->arena, "POST /orders/%lld/%s", (long long)move->id, verb));
}

static struct call *move_call(struct move *move)
{
    struct call *call = call_function(move->flow.arena, move->function, move->partition);
    call_keyf(call, "order:{%u}:%lld", move->partition, (long long)move->id);
    call_arg_int(call, move->partition);
    call_arg_int(call, move->id);
    call_arg(call, view_of(move->key.hash));
    call_arg(call, view_of(move->key.fingerprint));
    move->state = MOVING;
    return call;
}

static void cancel_start(struct flow *flow)
{
    struct move *move = (struct move *)flow;
    const struct cancel_body *body = flow->ask->body;
    move_init(move, &FN_CANCEL, "cancel");
    struct call *call = move_call(move);
    call_arg(call, body ? body->reason : VIEW(""));
    call_arg(call, flow->ask->request_id);
    flow_call(flow, call, TAG_MOVE, 0);
}

/* The tracking goes into the order's document, so that is read first; nothing else ever writes it. */
static void fulfil_start(struct flow *flow)
{
    struct move *move = (struct move *)flow;
    move_init(move, &FN_FULFIL, "fulfil");
    move->state = LOADING;
    flow_call(flow, order_read_call(flow->arena, move->partition, move->id), TAG_MOVE, 0);
}

static void end_not_found(struct move *move)
{
    answer_refuse(&move->flow, &OUTCOME_NOT_FOUND, "there is no order %lld", (long long)move->id);
    flow_end(&move->flow);
}

static void end_failed(struct move *move, const struct reply *reply)
{
    answer_failed(&move->flow, reply, "changing the order");
    flow_end(&move->flow);
}

static void got_loaded(struct move *move, const struct reply *reply)
{
    const struct fulfil_body *body = move->flow.ask->body;
    if (reply->kind == REPLY_REFUSED) {
        end_not_found(move);
        return;
    }
    if (reply->kind != REPLY_OK) {
        end_failed(move, reply);
        return;
    }
    bool whole = order_from_reply(move->flow.arena, reply, move->id, &move->order);
    struct view doc = move->order.stored;
    if (whole && body && body->has_tracking)
        doc = record_with_text(move->flow.arena, doc, "tracking", body->tracking);
    if (!whole || doc.len == 0) {
        order_broken(&move->flow, "reading", move->id);
        flow_end(&move->flow);
        return;
    }
    struct call *call = move_call(move);
    call_arg(call, move->flow.ask->request_id);
    call_arg(call, doc);
    flow_call(&move->flow, call, TAG_MOVE, 0);
}

static void read_back(struct move *move)
{
    move->state = READING;
    order_at_ask(&move->flow, &move->at, move->id, move->version);
}

static void answer_illegal(struct move *move, const struct reply *reply)
{
    struct view state = reply_text(reply, 0), payment_status = reply_text(reply, 1);
    struct writer *w = answer_problem(&move->flow, &OUTCOME_ILLEGAL_TRANSITION, 2, "%s is not possible: order %lld is %.*s, its payment %.*s",
                                      move->verb, (long long)move->id, VIEW_ARG(state), VIEW_ARG(payment_status));
    WRITER_TEXT(w, "state", state);
    WRITER_TEXT(w, "payment_status", payment_status);
    writer_end(w);
    answer_send(&move->flow);
    flow_end(&move->flow);
}

/* The order moved, to this version. What it owes to the stock is done now, whoever moved it. */
static void finish(struct move *move, int64_t version)
{
    move->version = version;
    move->state = FINISHING;
    flow_spawn(&move->flow, duty_new(&move->flow, move->id), 0, 0);
}

static void got_refused(struct move *move, const struct reply *answer)
{
    struct flow *flow = &move->flow;
    struct reply refusal = refusal_open(flow, answer);
    const struct reply *reply = &refusal;
    switch (reply->code) {
    case CODE_REPLAY:
        move->replayed = true;
        /* fallthrough */
    case CODE_ALREADY:
        finish(move, reply_int(reply, 0));
        return;
    case CODE_NOT_FOUND:
        end_not_found(move);
        return;
    case CODE_ILLEGAL:
        answer_illegal(move, reply);
        return;
    case CODE_KEY_REUSED:
        answer_refuse(flow, &OUTCOME_KEY_REUSED, "this Idempotency-Key was used for another %s of this order; use a new key", move->verb);
        break;
    case CODE_PAYMENT_OPEN: {
        struct writer *w = answer_problem(flow, &OUTCOME_PAYMENT_OPEN, 1, "payment %lld of this order is under way; wait until it is decided",
                                          (long long)reply_int(reply, 0));
        WRITER_INT(w, "payment_id", reply_int(reply, 0));
        writer_end(w);
        answer_send(flow);
        break;
    }
    default:
        order_broken(flow, "changing", move->id);
    }
    flow_end(flow);
}

static void got_moved(struct move *move, const struct reply *reply)
{
    if (reply->kind == REPLY_REFUSED)
        got_refused(move, reply);
    else if (reply->kind != REPLY_OK)
        end_failed(move, reply);
    else
        finish(move, reply_int(reply, 0));
}

static void move_got_child(struct flow *flow, struct flow *child)
{
    read_back((struct move *)flow);
}

static void move_got_reply(struct flow *flow, struct call *call, const struct reply *reply)
{
    struct move *move = (struct move *)flow;
    enum order_at_step step;
    switch (move->state) {
    case LOADING:
        got_loaded(move, reply);
        break;
    case MOVING:
        got_moved(move, reply);
        break;
    case FINISHING: /* only the duty is awaited, and that is a child */
        break;
    case READING:
        step = order_at_got(flow, &move->at, call, reply);
        if (step == AT_WHOLE)
            order_answer(flow, 200, &move->at.order, move->replayed);
        if (step != AT_WAITING)
            flow_end(flow);
    }
}

const struct flow_type CANCEL_FLOW = {
    .name = "cancel order", .size = sizeof(struct move), .start = cancel_start, .got_reply = move_got_reply, .got_child = move_got_child};
const struct flow_type FULFIL_FLOW = {
    .name = "fulfil order", .size = sizeof(struct move), .start = fulfil_start, .got_reply = move_got_reply, .got_child = move_got_child};
