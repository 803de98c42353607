#include "log.h"

#include "functions.h"

#include "order.h"

void order_at_ask(struct flow *flow, struct order_at *at, int64_t id, int64_t version)
{
    unsigned partition = topology_partition_of_id(flow->world->topology, id);
    *at = (struct order_at){.id = id, .version = version};
    flow_call(flow, order_read_call(flow->arena, partition, id), TAG_AT_ORDER, 0);
    struct call *history = call_command(flow->arena, "HGET", partition);
    call_keyf(history, "order:{%u}:%lld", partition, (long long)id);
    call_arg(history, arena_printf(flow->arena, "e%lld", (long long)version));
    flow_call(flow, history, TAG_AT_HISTORY, 0);
}

enum order_at_step order_at_got(struct flow *flow, struct order_at *at, const struct call *call, const struct reply *reply)
{
    if (flow->answer_ready)
        return AT_WAITING;
    if (reply->kind != REPLY_OK) {
        if (reply->kind == REPLY_REFUSED)
            order_broken(flow, "reading back", at->id);
        else /* what is read back was done: that it cannot be read is not "nothing was done" */
            answer_failed(flow, &(struct reply){.kind = REPLY_UNKNOWN, .why = reply->why}, "reading the order back");
        return AT_FAILED;
    }
    if (call->tag == TAG_AT_ORDER) {
        at->got_order = true;
        at->damaged = !order_from_reply(flow->arena, reply, at->id, &at->order);
    } else {
        at->got_history = true;
        at->history = arena_copy(flow->arena, item_text(reply->root));
    }
    if (!at->got_order || !at->got_history)
        return AT_WAITING;
    if (!at->damaged && order_as_of(&at->order, at->version, at->history))
        return AT_WHOLE;
    order_broken(flow, "reading back", at->id);
    return AT_FAILED;
}

void order_answer(struct flow *flow, int status, const struct order *order, bool replayed)
{
    struct writer *w = answer_begin(flow, status);
    writer_map(w, order_members(order));
    order_write(w, order);
    writer_end(w);
    answer_header(flow, "ETag", "\"v%lld\"", (long long)order->version);
    if (status == 201)
        answer_header(flow, "Location", "/orders/%lld", (long long)order->id);
    if (replayed)
        answer_replayed(flow);
    answer_send(flow);
}

void order_broken(struct flow *flow, const char *what, int64_t id)
{
    log_error("%s order %lld gave something this version does not understand (request %.*s); look at it with `soukctl get order %lld`", what,
              (long long)id, VIEW_ARG(flow->ask->request_id), (long long)id);
    answer_refuse(flow, &OUTCOME_BROKEN, "%s order %lld gave something this worker does not understand; tell the operator the request_id", what,
                  (long long)id);
}
