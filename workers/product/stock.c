#include <stddef.h>

#include "money.h"

#include "etag.h"
#include "functions.h"
#include "outcomes.h"
#include "page.h"
#include "refusal.h"
#include "txn.h"

#include "product.h"

#define FIELDS(array) .fields = (array), .count = sizeof(array) / sizeof(*(array))
#define AT(member) .offset = offsetof(struct adjust_body, member), .given = offsetof(struct adjust_body, has_##member)

static const struct field ADJUST_FIELDS[] = {
    {.name = "delta", .type = FIELD_INT, AT(delta), .min = -STOCK_UNITS_MAX, .max = STOCK_UNITS_MAX},
    {.name = "set", .type = FIELD_INT, AT(set), .min = 0, .max = STOCK_UNITS_MAX},
    {.name = "expected", .type = FIELD_INT, AT(expected), .min = 0, .max = MONEY_MAX},
    {.name = "reason", .type = FIELD_TEXT, .offset = offsetof(struct adjust_body, reason), .min = 0, .max = 255},
};
const struct shape ADJUST_BODY = {.name = "stock adjustment", FIELDS(ADJUST_FIELDS), .size = sizeof(struct adjust_body)};

/* The counters as functions and HMGET give them, from item 0 on. */
struct counters {
    int64_t on_hand, held, committed, version;
};

static struct counters counters_from(const struct reply *reply)
{
    return (struct counters){reply_int(reply, 0), reply_int(reply, 1), reply_int(reply, 2), reply_int(reply, 3)};
}

#define COUNTERS_MEMBERS 5

static void counters_write(struct writer *w, const struct counters *counters)
{
    WRITER_INT(w, "on_hand", counters->on_hand);
    WRITER_INT(w, "held", counters->held);
    WRITER_INT(w, "committed", counters->committed);
    WRITER_INT(w, "available", counters->on_hand - counters->held - counters->committed);
    WRITER_INT(w, "version", counters->version);
}

static void answer_counters(struct flow *flow, const struct counters *counters, bool replayed)
{
    struct writer *w = answer_begin(flow, 200);
    writer_map(w, COUNTERS_MEMBERS);
    counters_write(w, counters);
    writer_end(w);
    answer_header(flow, "ETag", "\"v%lld\"", (long long)counters->version);
    if (replayed)
        answer_replayed(flow);
    answer_send(flow);
}

/* ---- GET /products/{id}/stock ---- */

static void read_start(struct flow *flow)
{
    static const char *const fields[] = {"on_hand", "held", "committed", "v"};
    struct call *call = product_command(flow, "HMGET", "stock", flow->ask->ids[0]);
    for (size_t i = 0; i < sizeof(fields) / sizeof(*fields); i++)
        call_arg(call, view_of(fields[i]));
    flow_call(flow, call, 0, 0);
}

static void answer_read(struct flow *flow, const struct reply *reply)
{
    struct counters counters = counters_from(reply);
    if (reply_item(reply, 0)->type == ITEM_NIL) {
        product_missing(flow);
    } else if (etag_matches(flow->ask->if_none_match, counters.version, ETAG_WEAK)) {
        answer_begin(flow, 304);
        answer_header(flow, "ETag", "\"v%lld\"", (long long)counters.version);
        answer_empty(flow, 304);
    } else {
        answer_counters(flow, &counters, false);
    }
}

static void read_got_reply(struct flow *flow, struct call *call, const struct reply *reply)
{
    if (reply->kind == REPLY_OK)
        answer_read(flow, reply);
    else
        product_failed(flow, reply, "reading the stock of");
    flow_end(flow);
}

const struct flow_type STOCK_READ_FLOW = {.name = "stock_read", .size = sizeof(struct flow), .start = read_start, .got_reply = read_got_reply};

/* ---- POST /products/{id}/stock-adjustments ---- */

static bool adjust_check(struct flow *flow, const struct adjust_body *body)
{
    struct faults faults;
    faults_init(&faults, flow->arena);
    if (body->has_delta == body->has_set)
        faults_add(&faults, VIEW(""), "must have one of delta (units to add, or with a minus to take away) and set (the number counted)");
    if (body->has_expected && !body->has_set)
        faults_add(&faults, VIEW("/expected"), "belongs to set: it is the on_hand that the count was made against");
    return product_faultless(flow, &faults);
}

static void adjust_start(struct flow *flow)
{
    const struct adjust_body *body = flow->ask->body;
    int64_t id = flow->ask->ids[0];
    if (!adjust_check(flow, body)) {
        flow_end(flow);
        return;
    }
    struct view scope = arena_printf(flow->arena, "POST /products/%lld/stock-adjustments", (long long)id);
    struct txn_key key = txn_key(flow->arena, flow->ask, scope);
    unsigned partition = topology_partition_of_id(flow->world->topology, id);
    struct call *call = call_function(flow->arena, &FN_STOCK_ADJUST, partition);
    call_keyf(call, "idem:{%u}:%s", partition, key.hash);
    call_arg_int(call, partition);
    call_arg(call, view_of(key.fingerprint));
    call_arg_int(call, id);
    call_arg(call, body->has_set ? VIEW("set") : VIEW("delta"));
    call_arg_int(call, body->has_set ? body->set : body->delta);
    if (body->has_expected)
        call_arg_int(call, body->expected);
    else
        call_arg(call, VIEW(""));
    call_arg(call, body->reason);
    call_arg(call, flow->ask->request_id);
    flow_call(flow, call, 0, 0);
}

/* The one product's shortfall, in the form that a refused order has. What a set asked for is known as a number on hand, so nothing is "requested". */
static void answer_short(struct flow *flow, int64_t available)
{
    const struct adjust_body *body = flow->ask->body;
    struct writer *w = answer_problem(flow, &OUTCOME_INSUFFICIENT_STOCK, 1, "%lld units of product %lld are available; not more can be taken away",
                                      (long long)available, (long long)flow->ask->ids[0]);
    writer_name(w, VIEW("shortfalls"));
    writer_list(w, 1);
    writer_map(w, 2 + body->has_delta);
    WRITER_INT(w, "product_id", flow->ask->ids[0]);
    if (body->has_delta)
        WRITER_INT(w, "requested", -body->delta);
    WRITER_INT(w, "available", available);
    writer_end(w);
    writer_end(w);
    writer_end(w);
    answer_send(flow);
}

static void answer_unexpected(struct flow *flow, const struct counters *counters)
{
    struct writer *w =
        answer_problem(flow, &OUTCOME_STOCK_CHANGED, COUNTERS_MEMBERS, "%lld units of product %lld are on hand, another number than expected",
                       (long long)counters->on_hand, (long long)flow->ask->ids[0]);
    counters_write(w, counters);
    writer_end(w);
    answer_send(flow);
}

static void adjust_got_reply(struct flow *flow, struct call *call, const struct reply *answer)
{
    struct reply inside = refusal_open(flow, answer);
    const struct reply *reply = &inside;
    struct counters counters = counters_from(reply);
    if (reply->kind == REPLY_OK || reply->code == CODE_REPLAY)
        answer_counters(flow, &counters, reply->code == CODE_REPLAY);
    else if (reply->code == CODE_NOT_FOUND)
        product_missing(flow);
    else if (reply->code == CODE_KEY_REUSED)
        product_key_reused(flow);
    else if (reply->code == CODE_SHORT)
        answer_short(flow, reply_int(reply, 0));
    else if (reply->code == CODE_UNEXPECTED)
        answer_unexpected(flow, &counters);
    else
        product_failed(flow, reply, "adjusting the stock of");
    flow_end(flow);
}

const struct flow_type STOCK_ADJUST_FLOW = {
    .name = "stock_adjust", .size = sizeof(struct flow), .start = adjust_start, .got_reply = adjust_got_reply};

/* ---- GET /products/{id}/stock-movements: the ledger, newest first, straight from its stream ---- */

struct stock_moves {
    struct flow flow;
    struct page page;
};

static void moves_start(struct flow *flow)
{
    struct page *page = &((struct stock_moves *)flow)->page;
    if (!page_read(flow, page, true, VIEW(""))) {
        flow_end(flow);
        return;
    }
    struct call *call = product_command(flow, "XREVRANGE", "moves", flow->ask->ids[0]);
    if (page->after.member.len)
        call_arg(call, arena_printf(flow->arena, "(%lld-%.*s", (long long)page->after.score, VIEW_ARG(page->after.member)));
    else
        call_arg(call, VIEW("+"));
    call_arg(call, VIEW("-"));
    call_arg(call, VIEW("COUNT"));
    call_arg_int(call, page->limit + 1); /* one more tells whether there is a next page */
    flow_call(flow, call, 0, 0);
}

/* A stream id is "ms-sequence"; ms is the time of the entry. Returns false if it is not. */
static bool entry_place(const struct item *entry, struct page_place *place)
{
    struct view id = item_text(item_at(entry, 0));
    const char *dash = id.len ? memchr(id.at, '-', id.len) : NULL;
    long long ms;
    if (dash == NULL || !view_to_int((struct view){id.at, (size_t)(dash - id.at)}, &ms))
        return false;
    *place = (struct page_place){ms, {dash + 1, (size_t)(id.at + id.len - dash) - 1}};
    return true;
}

/* An integer that may be negative; 0 if it is none. */
static int64_t number_of(struct view text)
{
    long long number = 0;
    bool negative = text.len > 0 && text.at[0] == '-';
    view_to_int(negative ? (struct view){text.at + 1, text.len - 1} : text, &number);
    return negative ? -number : number;
}

static void move_write(struct writer *w, const struct item *entry, int64_t at_ms)
{
    struct view part[MOVE_PARTS] = {{NULL, 0}};
    split_bars(item_text(item_at(item_at(entry, 1), 1)), part, MOVE_PARTS);
    writer_map(w, 8 + (part[MOVE_REASON].len > 0));
    WRITER_TEXT(w, "kind", part[MOVE_KIND]);
    WRITER_INT(w, "quantity", number_of(part[MOVE_QUANTITY]));
    writer_name(w, VIEW("order_id"));
    if (part[MOVE_ORDER].len)
        writer_int(w, number_of(part[MOVE_ORDER]));
    else
        writer_null(w);
    WRITER_TIME(w, "at", at_ms);
    WRITER_INT(w, "version", number_of(part[MOVE_V]));
    WRITER_INT(w, "on_hand", number_of(part[MOVE_ON_HAND]));
    WRITER_INT(w, "held", number_of(part[MOVE_HELD]));
    WRITER_INT(w, "committed", number_of(part[MOVE_COMMITTED]));
    if (part[MOVE_REASON].len)
        WRITER_TEXT(w, "reason", part[MOVE_REASON]);
    writer_end(w);
}

/* Every product's ledger begins with its creation and outlives it, so one without entries never was. */
static void answer_moves(struct flow *flow, struct page *page, const struct reply *reply)
{
    size_t found = reply->root->count, shown = found > (size_t)page->limit ? (size_t)page->limit : found;
    struct page_place place = {0, {NULL, 0}};
    if (found == 0 && page->after.member.len == 0) {
        product_missing(flow);
        return;
    }
    for (size_t i = 0; i < shown; i++)
        if (!entry_place(reply_item(reply, i), &place)) {
            product_broken(flow, "reading the ledger of");
            return;
        }
    struct writer *w = answer_begin(flow, 200);
    writer_list(w, shown);
    for (size_t i = 0; i < shown; i++) {
        entry_place(reply_item(reply, i), &place);
        move_write(w, reply_item(reply, i), place.score);
    }
    writer_end(w);
    page->more = found > shown;
    page->next = place;
    page_link(flow, page);
    answer_send(flow);
}

static void moves_got_reply(struct flow *flow, struct call *call, const struct reply *reply)
{
    if (reply->kind == REPLY_OK)
        answer_moves(flow, &((struct stock_moves *)flow)->page, reply);
    else
        product_failed(flow, reply, "reading the ledger of");
    flow_end(flow);
}

const struct flow_type STOCK_MOVES_FLOW = {
    .name = "stock_moves", .size = sizeof(struct stock_moves), .start = moves_start, .got_reply = moves_got_reply};
