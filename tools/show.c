#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "records.h"

#include "show.h"

/*
 *   souk_show of the record ─▶ (an order: ORDER_READ ─▶ HGET holds of each line) ─▶ end
 */
enum { TAG_SHOW, TAG_ORDER, TAG_HOLD };

bool show_knows(const char *noun)
{
    return !strcmp(noun, "order") || !strcmp(noun, "payment") || !strcmp(noun, "product") || !strcmp(noun, "stock");
}

static void print(struct show *show, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void print(struct show *show, const char *format, ...)
{
    char text[512];
    va_list args;
    va_start(args, format);
    int len = vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    buffer_add(&show->text, text, (size_t)len < sizeof(text) ? (size_t)len : sizeof(text) - 1);
}

static void print_place(struct show *show, const char *what, unsigned partition)
{
    const struct topology *topology = show->flow.world->topology;
    const struct shard_address *shard = &topology->shards[topology->owner[partition]];
    print(show, "%s partition %u on %s (redis-cli -h %s -p %d --user souk-operator --askpass)", what, partition, shard->name, shard->host,
          shard->port);
}

static void start(struct flow *flow)
{
    struct show *show = (struct show *)flow;
    struct call *call = call_command(flow->arena, "FCALL_RO", show->partition);
    call_arg(call, VIEW("souk_show"));
    call_arg(call, VIEW("1"));
    call_arg(call, arena_printf(flow->arena, "%s:{%u}:%lld", show->noun, show->partition, (long long)show->id));
    flow_call(flow, call, TAG_SHOW, 0);
}

static void end_failed(struct show *show, const struct reply *reply)
{
    show->failed = true;
    show->text.len = 0;
    print(show, "cannot read %s %lld: %s", show->noun, (long long)show->id, reply->why ? reply->why : "the shard refused");
    flow_end(&show->flow);
}

static void got_record(struct show *show, const struct reply *reply)
{
    struct view json = item_text(reply->root);
    show->found = json.len > 0 && !view_equal(json, VIEW("null"));
    print(show, "%s %lld\n", show->noun, (long long)show->id);
    print_place(show, "lives in", show->partition);
    print(show, ", key %s:{%u}:%lld\n", show->noun, show->partition, (long long)show->id);
    if (!show->found) {
        print(show, "there is no such record\n");
        flow_end(&show->flow);
        return;
    }
    buffer_add_view(&show->text, json);
    print(show, "\n");
    if (strcmp(show->noun, "order") == 0)
        flow_call(&show->flow, order_read_call(show->flow.arena, show->partition, show->id), TAG_ORDER, 0);
    else
        flow_end(&show->flow);
}

static void got_order(struct show *show, const struct reply *reply)
{
    struct order order;
    if (!order_from_reply(show->flow.arena, reply, show->id, &order)) {
        print(show, "its document is damaged\n");
        flow_end(&show->flow);
        return;
    }
    const struct order_line *lines = order.doc.lines.at;
    print(show, "transaction %.*s\nholds:\n", VIEW_ARG(order.txn));
    for (size_t i = 0; i < order.doc.lines.count; i++) {
        unsigned partition = topology_partition_of_id(show->flow.world->topology, lines[i].product_id);
        struct call *call = call_command(show->flow.arena, "HGET", partition);
        call_keyf(call, "stock:{%u}:%lld", partition, (long long)lines[i].product_id);
        call_arg(call, order.txn);
        flow_call(&show->flow, call, TAG_HOLD, (int)partition);
    }
}

/* phase|qty|order partition|when|since */
static void got_hold(struct show *show, unsigned partition, const struct reply *reply)
{
    struct view part[2] = {{0}};
    if (reply->kind != REPLY_OK)
        print(show, "  not known: %s; ", reply->why);
    else if (split_bars(item_text(reply->root), part, 2) == 2)
        print(show, "  %.*s (%.*s); ", VIEW_ARG(part[0]), VIEW_ARG(item_text(reply->root)));
    else
        print(show, "  none (its mark may be pruned); ");
    print_place(show, "product in", partition);
    print(show, "\n");
    if (show->flow.owed == 0)
        flow_end(&show->flow);
}

static void got_reply(struct flow *flow, struct call *call, const struct reply *reply)
{
    struct show *show = (struct show *)flow;
    if (call->tag != TAG_HOLD && reply->kind != REPLY_OK)
        end_failed(show, reply);
    else if (call->tag == TAG_SHOW)
        got_record(show, reply);
    else if (call->tag == TAG_ORDER)
        got_order(show, reply);
    else
        got_hold(show, (unsigned)call->index, reply);
}

static const struct flow_type SHOW = {.name = "show", .size = sizeof(struct show), .start = start, .got_reply = got_reply};

struct show *show_new(struct arena *arena, const struct world *world, const char *noun, int64_t id)
{
    struct show *show = (struct show *)flow_new(arena, &SHOW, world, NULL);
    show->noun = noun;
    show->id = id;
    show->partition = topology_partition_of_id(world->topology, id);
    show->text.arena = arena;
    return show;
}
