#include "log.h"

#include "functions.h"
#include "hold.h"
#include "records.h"

#include "duty.h"

struct duty {
    struct flow flow;
    int64_t order_id;
    unsigned partition;
    struct order order;
    unsigned waiting; /* lines not answered yet */
    int64_t moved_ago_ms; /* by the clock of its shard */
    bool failed, complete, expired_once;
};

enum { TAG_READ, TAG_EXPIRE, TAG_RESOLVE, TAG_DONE };

static void read_order(struct duty *duty)
{
    flow_call(&duty->flow, order_read_call(duty->flow.arena, duty->partition, duty->order_id), TAG_READ, 0);
}

static void duty_start(struct flow *flow)
{
    read_order((struct duty *)flow);
}

static void duty_end(struct duty *duty, bool complete)
{
    duty->complete = complete;
    flow_end(&duty->flow);
}

static void expire(struct duty *duty)
{
    struct call *call = call_function(duty->flow.arena, &FN_EXPIRE, duty->partition);
    call_keyf(call, "order:{%u}:%lld", duty->partition, (long long)duty->order_id);
    call_arg_int(call, duty->partition);
    call_arg_int(call, duty->order_id);
    duty->expired_once = true;
    flow_call(&duty->flow, call, TAG_EXPIRE, 0);
}

static void resolve_lines(struct duty *duty, enum verdict verdict, int64_t age_ms)
{
    const struct order_line *lines = duty->order.doc.lines.at;
    duty->waiting = (unsigned)duty->order.doc.lines.count;
    for (unsigned i = 0; i < duty->waiting; i++)
        flow_call(&duty->flow, resolve_call(&duty->flow, lines[i].product_id, duty->order.txn, verdict, age_ms, duty->order_id), TAG_RESOLVE, (int)i);
}

static void got_order(struct duty *duty, const struct reply *reply)
{
    if (reply->kind != REPLY_OK || !order_from_reply(duty->flow.arena, reply, duty->order_id, &duty->order)) {
        duty_end(duty, false);
        return;
    }
    enum verdict verdict = verdict_of(duty->order.state);
    int64_t now = order_reply_now_ms(reply);
    duty->moved_ago_ms = now - duty->order.updated_ms;
    if (verdict == VERDICT_BROKEN)
        duty_end(duty, false);
    else if (!duty->order.owes)
        duty_end(duty, true); /* somebody has done it already */
    else if (verdict != VERDICT_RESERVED)
        resolve_lines(duty, verdict, now - duty->order.created_ms);
    else if (now >= duty->order.expires_ms && !duty->expired_once)
        expire(duty);
    else
        duty_end(duty, true);
}

/*
 * An order was fulfilled, one of its shards was away for longer than marks are kept, and this line was consumed at the first attempt: nothing is left
 * of its hold. Live holds are never pruned, so what is not there has ended. Half the time allows for clocks that differ.
 */
static bool was_consumed(const struct duty *duty, const struct reply *reply)
{
    return reply->kind == REPLY_REFUSED && reply->code == CODE_ABSENT && verdict_of(duty->order.state) == VERDICT_FULFILLED &&
           duty->moved_ago_ms > HOLD_MARK_KEPT_MS / 2;
}

static void got_line(struct duty *duty, int index, const struct reply *reply)
{
    const struct order_line *lines = duty->order.doc.lines.at;
    bool done = reply->kind == REPLY_OK || was_consumed(duty, reply);
    if (reply->kind == REPLY_REFUSED && !done)
        log_error("order %lld is %.*s, but product %lld has no hold of it (code %d); run `soukctl audit`", (long long)duty->order_id,
                  VIEW_ARG(duty->order.state), (long long)lines[index].product_id, reply->code);
    duty->failed |= !done;
    if (--duty->waiting > 0)
        return;
    if (duty->failed) {
        duty_end(duty, false);
        return;
    }
    struct call *call = call_function(duty->flow.arena, &FN_DUTY_DONE, duty->partition);
    call_keyf(call, "order:{%u}:%lld", duty->partition, (long long)duty->order_id);
    call_arg_int(call, duty->partition);
    call_arg_int(call, duty->order_id);
    call_arg(call, duty->order.state);
    flow_call(&duty->flow, call, TAG_DONE, 0);
}

static void duty_got_reply(struct flow *flow, struct call *call, const struct reply *reply)
{
    struct duty *duty = (struct duty *)flow;
    switch (call->tag) {
    case TAG_READ:
        got_order(duty, reply);
        break;
    case TAG_EXPIRE:
        if (reply->kind == REPLY_OK || reply->kind == REPLY_REFUSED)
            read_order(duty);
        else
            duty_end(duty, false);
        break;
    case TAG_RESOLVE:
        got_line(duty, call->index, reply);
        break;
    default:
        duty_end(duty, reply->kind == REPLY_OK);
    }
}

static const struct flow_type DUTY = {.name = "duty", .size = sizeof(struct duty), .start = duty_start, .got_reply = duty_got_reply};

struct flow *duty_new(struct flow *parent, int64_t order_id)
{
    struct flow *flow = flow_new(parent->arena, &DUTY, parent->world, parent->ask);
    struct duty *duty = (struct duty *)flow;
    duty->order_id = order_id;
    duty->partition = topology_partition_of_id(parent->world->topology, order_id);
    return flow;
}

bool duty_complete(const struct flow *flow)
{
    return ((const struct duty *)flow)->complete;
}
