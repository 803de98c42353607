#include <stdlib.h>
#include <string.h>

#include "money.h"

#include "etag.h"
#include "functions.h"

#include "order.h"

/*
 * GET /orders/{id}: the order, then in parallel the phase of each line's hold at its product's partition and the order's payments at its own.
 *
 *   ORDER_READ ─┬─ HGET stock:{p}:PRODUCT T    for each line    ─┬─▶ 200
 *               └─ HMGET payment:{p}:ID …      for each payment ─┘
 *
 * A stock shard that does not answer leaves its holds' phase null: the order itself is known.
 */
#define PAYMENTS_MAX 20

struct shown_payment {
    int64_t id, amount, captured, refunded;
    struct view status;
};

struct get {
    struct flow flow;
    int64_t id;
    unsigned partition;
    struct order order;
    struct view *phases; /* one per line; empty: not known */
    struct shown_payment payments[PAYMENTS_MAX];
    size_t payment_count;
};

enum { TAG_ORDER, TAG_HOLD, TAG_PAYMENT };

static void get_start(struct flow *flow)
{
    struct get *get = (struct get *)flow;
    get->id = flow->ask->ids[0];
    get->partition = topology_partition_of_id(flow->world->topology, get->id);
    flow_call(flow, order_read_call(flow->arena, get->partition, get->id), TAG_ORDER, 0);
}

static void answer_get(struct get *get)
{
    struct flow *flow = &get->flow;
    const struct order_line *lines = get->order.doc.lines.at;
    int digits = money_digits(get->order.currency);
    struct writer *w = answer_begin(flow, 200);
    writer_map(w, order_members(&get->order) + 2);
    order_write(w, &get->order);
    writer_name(w, VIEW("holds"));
    writer_list(w, get->order.doc.lines.count);
    for (size_t i = 0; i < get->order.doc.lines.count; i++) {
        writer_map(w, 3);
        WRITER_INT(w, "product_id", lines[i].product_id);
        WRITER_INT(w, "quantity", lines[i].quantity);
        writer_name(w, VIEW("phase"));
        if (get->phases[i].len)
            writer_text(w, get->phases[i]);
        else
            writer_null(w);
        writer_end(w);
    }
    writer_end(w);
    writer_name(w, VIEW("payments"));
    writer_list(w, get->payment_count);
    for (size_t i = 0; i < get->payment_count; i++) {
        const struct shown_payment *payment = &get->payments[i];
        writer_map(w, 5);
        WRITER_INT(w, "id", payment->id);
        WRITER_TEXT(w, "status", payment->status);
        WRITER_MONEY(w, "amount", payment->amount, digits);
        WRITER_MONEY(w, "captured", payment->captured, digits);
        WRITER_MONEY(w, "refunded", payment->refunded, digits);
        writer_end(w);
    }
    writer_end(w);
    writer_end(w);
    answer_header(flow, "ETag", "\"v%lld\"", (long long)get->order.version);
    answer_send(flow);
    flow_end(flow);
}

static void ask_payments(struct get *get)
{
    struct view left = get->order.payments;
    while (left.len && get->payment_count < PAYMENTS_MAX) {
        const char *comma = memchr(left.at, ',', left.len);
        struct view one = {left.at, comma ? (size_t)(comma - left.at) : left.len};
        long long id;
        left = comma ? (struct view){comma + 1, left.len - one.len - 1} : VIEW("");
        if (!view_to_int(one, &id))
            continue;
        struct call *call = call_command(get->flow.arena, "HMGET", get->partition);
        call_keyf(call, "payment:{%u}:%lld", get->partition, id);
        call_arg(call, VIEW("status"));
        call_arg(call, VIEW("amount"));
        call_arg(call, VIEW("captured"));
        call_arg(call, VIEW("refunded"));
        get->payments[get->payment_count].id = id;
        flow_call(&get->flow, call, TAG_PAYMENT, (int)get->payment_count++);
    }
}

static void ask_holds(struct get *get)
{
    const struct order_line *lines = get->order.doc.lines.at;
    get->phases = ARENA_ARRAY(get->flow.arena, struct view, get->order.doc.lines.count);
    for (size_t i = 0; i < get->order.doc.lines.count; i++) {
        unsigned partition = topology_partition_of_id(get->flow.world->topology, lines[i].product_id);
        struct call *call = call_command(get->flow.arena, "HGET", partition);
        call_keyf(call, "stock:{%u}:%lld", partition, (long long)lines[i].product_id);
        call_arg(call, get->order.txn);
        flow_call(&get->flow, call, TAG_HOLD, (int)i);
    }
}

static void answer_not_modified(struct get *get)
{
    answer_begin(&get->flow, 304);
    answer_header(&get->flow, "ETag", "\"v%lld\"", (long long)get->order.version);
    answer_empty(&get->flow, 304);
    flow_end(&get->flow);
}

static void got_read(struct get *get, const struct reply *reply)
{
    struct flow *flow = &get->flow;
    if (reply->kind == REPLY_OK && order_from_reply(flow->arena, reply, get->id, &get->order)) {
        if (etag_matches(flow->ask->if_none_match, get->order.version, ETAG_WEAK)) {
            answer_not_modified(get);
            return;
        }
        ask_holds(get);
        ask_payments(get);
        return;
    }
    if (reply->kind == REPLY_OK)
        order_broken(flow, "reading", get->id);
    else if (reply->kind == REPLY_REFUSED)
        answer_refuse(flow, &OUTCOME_NOT_FOUND, "there is no order %lld", (long long)get->id);
    else
        answer_failed(flow, reply, "reading the order");
    flow_end(flow);
}

static void got_hold(struct get *get, int index, const struct reply *reply)
{
    struct view part[2];
    if (reply->kind == REPLY_OK && reply->root->type == ITEM_TEXT && split_bars(item_text(reply->root), part, 2) == 2)
        get->phases[index] = arena_copy(get->flow.arena, part[0]);
}

static bool got_payment(struct get *get, int index, const struct reply *reply)
{
    struct shown_payment *payment = &get->payments[index];
    if (reply->kind != REPLY_OK) {
        answer_failed(&get->flow, reply, "reading the order's payments");
        flow_end(&get->flow);
        return false;
    }
    payment->status = arena_copy(get->flow.arena, item_text(item_at(reply->root, 0)));
    payment->amount = item_int(item_at(reply->root, 1));
    payment->captured = item_int(item_at(reply->root, 2));
    payment->refunded = item_int(item_at(reply->root, 3));
    return true;
}

static void get_got_reply(struct flow *flow, struct call *call, const struct reply *reply)
{
    struct get *get = (struct get *)flow;
    if (call->tag == TAG_ORDER) {
        got_read(get, reply);
        return;
    }
    if (call->tag == TAG_HOLD)
        got_hold(get, call->index, reply);
    else if (!got_payment(get, call->index, reply))
        return;
    if (flow->owed == 0)
        answer_get(get);
}

const struct flow_type ORDER_GET_FLOW = {.name = "get order", .size = sizeof(struct get), .start = get_start, .got_reply = get_got_reply};

/* ---- GET /orders/{id}/events: the history fields e1, e2, … of the record, oldest first ---- */

struct event {
    int64_t version;
    struct view text;
};

static void history_start(struct flow *flow)
{
    unsigned partition = topology_partition_of_id(flow->world->topology, flow->ask->ids[0]);
    struct call *call = call_command(flow->arena, "HGETALL", partition);
    call_keyf(call, "order:{%u}:%lld", partition, (long long)flow->ask->ids[0]);
    flow_call(flow, call, 0, 0);
}

static int event_compare(const void *a, const void *b)
{
    const struct event *left = a, *right = b;
    return (left->version > right->version) - (left->version < right->version);
}

/* Picks the history out of all fields. Returns how many versions there are. */
static size_t find_events(const struct item *fields, struct event *events)
{
    size_t count = 0;
    for (size_t i = 0; i + 1 < fields->count; i += 2) {
        struct view name = item_text(item_at(fields, i));
        long long version;
        if (name.len > 1 && name.at[0] == 'e' && view_to_int((struct view){name.at + 1, name.len - 1}, &version))
            events[count++] = (struct event){version, item_text(item_at(fields, i + 1))};
    }
    qsort(events, count, sizeof(*events), event_compare);
    return count;
}

/* state|payment_status|expires|at|cause|request id; "from" is the state of the version before. Returns the state. */
static struct view event_write(struct writer *w, const struct event *event, struct view from)
{
    struct view part[6] = {{0}};
    long long at = 0;
    split_bars(event->text, part, 6);
    view_to_int(part[3], &at);
    writer_map(w, 7);
    WRITER_INT(w, "version", event->version);
    writer_name(w, VIEW("from"));
    if (from.len)
        writer_text(w, from);
    else
        writer_null(w);
    WRITER_TEXT(w, "to", part[0]);
    WRITER_TEXT(w, "payment_status", part[1]);
    WRITER_TEXT(w, "cause", part[4]);
    WRITER_TIME(w, "at", at);
    WRITER_TEXT(w, "request_id", part[5]);
    writer_end(w);
    return part[0];
}

static void history_got_reply(struct flow *flow, struct call *call, const struct reply *reply)
{
    if (reply->kind != REPLY_OK) {
        answer_failed(flow, reply, "reading the order's history");
    } else if (reply->root->count == 0) {
        answer_refuse(flow, &OUTCOME_NOT_FOUND, "there is no order %lld", (long long)flow->ask->ids[0]);
    } else {
        struct event *events = ARENA_ARRAY(flow->arena, struct event, reply->root->count);
        size_t count = find_events(reply->root, events);
        struct writer *w = answer_begin(flow, 200);
        struct view from = VIEW("");
        writer_list(w, count);
        for (size_t i = 0; i < count; i++)
            from = event_write(w, &events[i], from);
        writer_end(w);
        answer_send(flow);
    }
    flow_end(flow);
}

const struct flow_type ORDER_HISTORY_FLOW = {
    .name = "get order history", .size = sizeof(struct flow), .start = history_start, .got_reply = history_got_reply};
