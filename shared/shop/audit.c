#include <string.h>

#include "hash.h"

#include "functions.h"
#include "hold.h"
#include "records.h"

#include "audit.h"

#define PARTITIONS_AT_ONCE 8
#define PAGE_STOCK 200
#define PAGE_ORDERS 500
#define VIOLATIONS_MAX 100
#define SUSPECTS_AT_ONCE 32

/* A hold that no order answers for may be this old: ask-after, the sweep's patience, and some rounds of it. */
#define ORPHAN_MS 120000

/* One side of a pair (line of an order, hold of a product) whose other side has not been seen yet. */
enum side_kind { SIDE_FREE, SIDE_LINE, SIDE_HOLD, SIDE_MATCHED };
struct side {
    uint64_t key; /* hash of T and product */
    enum side_kind kind;
    struct view txn;
    int64_t product_id, quantity;
    int64_t order_id;         /* LINE */
    bool settled;             /* LINE: its order is paid and has no duty, so the hold must be committed */
    unsigned order_partition; /* HOLD */
    int64_t age_ms;           /* HOLD */
    bool committed;           /* HOLD */
};

struct audit {
    struct flow flow;
    unsigned next_partition, active;
    struct view *after_product; /* per partition */
    struct view (*after_order)[2];
    int64_t products, orders, payments, holds;
    struct view violations[VIOLATIONS_MAX];
    size_t violation_count; /* all of them, also those beyond VIOLATIONS_MAX */
    struct side *sides;     /* a hash table with linear probing, a power of two */
    size_t side_count, room;
    size_t next_suspect;
};

enum { TAG_STOCK, TAG_ORDERS, TAG_LINE_HOLD, TAG_LINE_ORDER, TAG_ORPHAN_KEY, TAG_ORPHAN_DUTY, TAG_ORPHAN_HOLD };

static void walk_on(struct audit *audit);
static void verify_on(struct audit *audit);

static void violation(struct audit *audit, struct view text)
{
    if (audit->violation_count < VIOLATIONS_MAX)
        audit->violations[audit->violation_count] = arena_copy(audit->flow.arena, text);
    audit->violation_count++;
}

/* ---- pairs ---- */

static uint64_t side_key(struct view txn, int64_t product_id)
{
    return hash128(txn, (uint32_t)product_id ^ (uint32_t)(product_id >> 32)).low;
}

static bool side_is(const struct side *side, uint64_t key, struct view txn, int64_t product_id)
{
    return side->key == key && side->product_id == product_id && view_equal(side->txn, txn);
}

static struct side *side_slot(struct side *sides, size_t room, uint64_t key, struct view txn, int64_t product_id)
{
    size_t at = key & (room - 1);
    while (sides[at].kind != SIDE_FREE && !side_is(&sides[at], key, txn, product_id))
        at = (at + 1) & (room - 1);
    return &sides[at];
}

static void sides_grow(struct audit *audit)
{
    size_t room = audit->room ? audit->room * 2 : 4096;
    struct side *sides = ARENA_ARRAY(audit->flow.arena, struct side, room);
    size_t count = 0;
    for (size_t i = 0; i < audit->room; i++) {
        const struct side *side = &audit->sides[i];
        if (side->kind != SIDE_LINE && side->kind != SIDE_HOLD)
            continue;
        *side_slot(sides, room, side->key, side->txn, side->product_id) = *side;
        count++;
    }
    audit->sides = sides;
    audit->side_count = count;
    audit->room = room;
}

static void check_pair(struct audit *audit, const struct side *line, const struct side *hold)
{
    if (line->quantity != hold->quantity)
        violation(audit, arena_printf(audit->flow.arena, "order %lld: product %lld is ordered %lld times and held %lld times",
                                      (long long)line->order_id, (long long)line->product_id, (long long)line->quantity, (long long)hold->quantity));
}

/* Takes one side: pairs it with the other if that was seen, else keeps it. Texts are copied. */
static void side_add(struct audit *audit, const struct side *side)
{
    if ((audit->side_count + 1) * 2 > audit->room)
        sides_grow(audit);
    struct side *slot = side_slot(audit->sides, audit->room, side->key, side->txn, side->product_id);
    if (slot->kind == SIDE_FREE) {
        *slot = *side;
        slot->txn = arena_copy(audit->flow.arena, side->txn);
        audit->side_count++;
    } else if (slot->kind != SIDE_MATCHED && slot->kind != side->kind) {
        const struct side *line = side->kind == SIDE_LINE ? side : slot, *hold = side->kind == SIDE_HOLD ? side : slot;
        check_pair(audit, line, hold);
        /* Paid, nothing left to do, and still only held: looked at again, since the hold may have been seen before the confirm. */
        if (line->settled && !hold->committed)
            *slot = (struct side){.key = slot->key,
                                  .kind = SIDE_LINE,
                                  .txn = slot->txn,
                                  .product_id = line->product_id,
                                  .quantity = line->quantity,
                                  .order_id = line->order_id,
                                  .settled = true};
        else
            slot->kind = SIDE_MATCHED;
    }
}

/* ---- walking ---- */

static void ask_stock(struct audit *audit, unsigned partition)
{
    struct call *call = call_function(audit->flow.arena, &FN_AUDIT_STOCK, partition);
    call_keyf(call, "products:{%u}", partition);
    call_arg_int(call, partition);
    call_arg(call, audit->after_product[partition]);
    call_arg_int(call, PAGE_STOCK);
    flow_call(&audit->flow, call, TAG_STOCK, (int)partition);
}

static void ask_orders(struct audit *audit, unsigned partition)
{
    struct call *call = call_function(audit->flow.arena, &FN_AUDIT_ORDERS, partition);
    call_keyf(call, "orders:{%u}", partition);
    call_arg_int(call, partition);
    call_arg(call, audit->after_order[partition][0]);
    call_arg(call, audit->after_order[partition][1]);
    call_arg_int(call, PAGE_ORDERS);
    flow_call(&audit->flow, call, TAG_ORDERS, (int)partition);
}

static void take_violations(struct audit *audit, const struct item *list)
{
    for (size_t i = 0; i < list->count; i++)
        violation(audit, item_text(item_at(list, i)));
}

/* [T product qty phase order_p age …] */
static void take_holds(struct audit *audit, const struct item *list)
{
    for (size_t i = 0; i + 5 < list->count; i += 6) {
        struct side side = {
            .kind = SIDE_HOLD,
            .txn = item_text(item_at(list, i)),
            .product_id = item_int(item_at(list, i + 1)),
            .quantity = item_int(item_at(list, i + 2)),
            .committed = view_equal(item_text(item_at(list, i + 3)), VIEW("committed")),
            .order_partition = (unsigned)item_int(item_at(list, i + 4)) & (audit->flow.world->topology->partitions - 1),
            .age_ms = item_int(item_at(list, i + 5)),
        };
        side.key = side_key(side.txn, side.product_id);
        side_add(audit, &side);
    }
}

/* ${scratch} holds what is needed only while this page is read. */
static void take_order(struct audit *audit, struct arena *scratch, const struct item *list, size_t at)
{
    int64_t id = item_int(item_at(list, at));
    enum verdict verdict = verdict_of(item_text(item_at(list, at + 2)));
    bool duty = item_int(item_at(list, at + 4)) != 0;
    struct order_doc doc = {0};
    if (!record_load(&ORDER_DOC, scratch, item_text(item_at(list, at + 5)), &doc)) {
        violation(audit, arena_printf(audit->flow.arena, "order %lld: its document is damaged", (long long)id));
        return;
    }
    if (verdict != VERDICT_RESERVED && verdict != VERDICT_PAID)
        return;
    const struct order_line *lines = doc.lines.at;
    for (size_t i = 0; i < doc.lines.count; i++) {
        struct side side = {.kind = SIDE_LINE,
                            .txn = item_text(item_at(list, at + 1)),
                            .product_id = lines[i].product_id,
                            .quantity = lines[i].quantity,
                            .order_id = id};
        side.settled = verdict == VERDICT_PAID && !duty;
        side.key = side_key(side.txn, side.product_id);
        side_add(audit, &side);
    }
}

static void got_stock(struct audit *audit, unsigned partition, const struct reply *reply)
{
    struct view next = reply_text(reply, 0);
    audit->products += reply_int(reply, 1);
    audit->holds += reply_int(reply, 2);
    take_violations(audit, reply_item(reply, 3));
    take_holds(audit, reply_item(reply, 4));
    audit->after_product[partition] = arena_copy(audit->flow.arena, next);
    if (next.len)
        ask_stock(audit, partition);
    else
        ask_orders(audit, partition);
}

static void got_orders(struct audit *audit, unsigned partition, const struct reply *reply)
{
    struct view next = reply_text(reply, 0);
    const struct item *rows = reply_item(reply, 5);
    audit->orders += reply_int(reply, 2);
    audit->payments += reply_int(reply, 3);
    take_violations(audit, reply_item(reply, 4));
    struct arena *scratch = arena_new();
    for (size_t i = 0; i + 5 < rows->count; i += 6)
        take_order(audit, scratch, rows, i);
    arena_free(scratch);
    if (next.len) {
        audit->after_order[partition][0] = arena_copy(audit->flow.arena, next);
        audit->after_order[partition][1] = arena_copy(audit->flow.arena, reply_text(reply, 1));
        ask_orders(audit, partition);
        return;
    }
    audit->active--;
    walk_on(audit);
}

static void walk_on(struct audit *audit)
{
    unsigned partitions = audit->flow.world->topology->partitions;
    while (audit->active < PARTITIONS_AT_ONCE && audit->next_partition < partitions) {
        audit->active++;
        ask_stock(audit, audit->next_partition++);
    }
    if (audit->active == 0)
        verify_on(audit);
}

static void audit_start(struct flow *flow)
{
    struct audit *audit = (struct audit *)flow;
    unsigned partitions = flow->world->topology->partitions;
    audit->after_product = ARENA_ARRAY(flow->arena, struct view, partitions);
    audit->after_order = arena_alloc(flow->arena, sizeof(struct view[2]) * partitions);
    sides_grow(audit);
    walk_on(audit);
}

/* ---- what found no partner ---- */

static void ask_hold(struct audit *audit, const struct side *side, int tag)
{
    unsigned partition = topology_partition_of_id(audit->flow.world->topology, side->product_id);
    struct call *call = call_command(audit->flow.arena, "HGET", partition);
    call_keyf(call, "holds:{%u}:%lld", partition, (long long)side->product_id);
    call_arg(call, side->txn);
    flow_call(&audit->flow, call, tag, (int)(side - audit->sides));
}

/* "held", "committed": the hold's phase if it is live, else empty. */
static struct view live_phase(const struct reply *reply)
{
    struct view part[2] = {{0}};
    if (reply->root->type != ITEM_TEXT || split_bars(item_text(reply->root), part, 2) < 2)
        return VIEW("");
    return view_equal(part[0], VIEW("held")) || view_equal(part[0], VIEW("committed")) ? part[0] : VIEW("");
}

static void got_line_hold(struct audit *audit, const struct side *line, const struct reply *reply)
{
    struct view phase = live_phase(reply);
    if (phase.len && !(line->settled && view_equal(phase, VIEW("held"))))
        return;
    unsigned partition = topology_partition_of_id(audit->flow.world->topology, line->order_id);
    flow_call(&audit->flow, order_read_call(audit->flow.arena, partition, line->order_id), TAG_LINE_ORDER, (int)(line - audit->sides));
}

static void got_line_order(struct audit *audit, const struct side *line, const struct reply *reply)
{
    struct order order;
    if (reply->kind != REPLY_OK || !order_from_reply(audit->flow.arena, reply, line->order_id, &order))
        return;
    enum verdict verdict = verdict_of(order.state);
    if (verdict == VERDICT_PAID || (verdict == VERDICT_RESERVED && order_reply_now_ms(reply) < order.expires_ms))
        violation(audit,
                  arena_printf(audit->flow.arena, "order %lld: it is %.*s, and product %lld has %s", (long long)line->order_id, VIEW_ARG(order.state),
                               (long long)line->product_id, line->settled ? "not committed its units" : "no hold of it"));
}

/* Who answers for this hold? The idempotency record of its transaction says which order, if any. */
static void ask_orphan_key(struct audit *audit, const struct side *hold)
{
    struct txn txn;
    if (!txn_parse(hold->txn, &txn)) {
        violation(audit, arena_printf(audit->flow.arena, "product %lld: a hold has the unreadable name %.*s", (long long)hold->product_id,
                                      VIEW_ARG(hold->txn)));
        return;
    }
    struct call *call = call_command(audit->flow.arena, "HMGET", hold->order_partition);
    call_keyf(call, "idem:{%u}:%.*s", hold->order_partition, VIEW_ARG(txn.hash));
    call_arg(call, VIEW("s"));
    call_arg(call, VIEW("id"));
    call_arg(call, VIEW("n"));
    call_arg(call, VIEW("fp"));
    flow_call(&audit->flow, call, TAG_ORPHAN_KEY, (int)(hold - audit->sides));
}

static void got_orphan_key(struct audit *audit, struct side *hold, const struct reply *reply)
{
    struct txn txn;
    txn_parse(hold->txn, &txn);
    bool placed = view_equal(item_text(item_at(reply->root, 0)), VIEW("placed")) && item_int(item_at(reply->root, 2)) == txn.attempt &&
                  view_equal(item_text(item_at(reply->root, 3)), txn.fingerprint);
    if (!placed) {
        if (hold->age_ms > ORPHAN_MS)
            ask_hold(audit, hold, TAG_ORPHAN_HOLD);
        return;
    }
    hold->order_id = item_int(item_at(reply->root, 1));
    unsigned partition = hold->order_partition;
    flow_call(&audit->flow, order_read_call(audit->flow.arena, partition, hold->order_id), TAG_ORPHAN_DUTY, (int)(hold - audit->sides));
}

/* An order that lives answers for its holds (it was placed while we walked). One that ended does so while its duty is open: the last update was short ago. One
 * that is not there, although its key says that it was placed, never will. */
static void got_orphan_order(struct audit *audit, const struct side *hold, const struct reply *reply)
{
    struct order order;
    if (reply->kind == REPLY_REFUSED)
        ask_hold(audit, hold, TAG_ORPHAN_HOLD);
    if (reply->kind != REPLY_OK || !order_from_reply(audit->flow.arena, reply, hold->order_id, &order))
        return;
    enum verdict verdict = verdict_of(order.state);
    if (verdict != VERDICT_RESERVED && verdict != VERDICT_PAID && order_reply_now_ms(reply) - order.updated_ms > ORPHAN_MS)
        ask_hold(audit, hold, TAG_ORPHAN_HOLD);
}

static void got_orphan_hold(struct audit *audit, const struct side *hold, const struct reply *reply)
{
    if (live_phase(reply).len == 0)
        return;
    if (hold->order_id)
        violation(audit, arena_printf(audit->flow.arena, "product %lld: %lld units are still held for order %lld, which has ended or is not there",
                                      (long long)hold->product_id, (long long)hold->quantity, (long long)hold->order_id));
    else
        violation(audit, arena_printf(audit->flow.arena, "product %lld: %lld units are held by transaction %.*s, which placed no order",
                                      (long long)hold->product_id, (long long)hold->quantity, VIEW_ARG(hold->txn)));
}

static void suspect(struct audit *audit, const struct side *side)
{
    if (side->kind == SIDE_LINE)
        ask_hold(audit, side, TAG_LINE_HOLD);
    else if (side->kind == SIDE_HOLD)
        ask_orphan_key(audit, side);
}

/* ---- the answer ---- */

static void answer_audit(struct audit *audit)
{
    size_t listed = audit->violation_count < VIOLATIONS_MAX ? audit->violation_count : VIOLATIONS_MAX;
    struct writer *w = answer_begin(&audit->flow, 200);
    writer_map(w, 4);
    WRITER_BOOL(w, "ok", audit->violation_count == 0);
    writer_name(w, VIEW("checked"));
    writer_map(w, 4);
    WRITER_INT(w, "products", audit->products);
    WRITER_INT(w, "orders", audit->orders);
    WRITER_INT(w, "payments", audit->payments);
    WRITER_INT(w, "holds", audit->holds);
    writer_end(w);
    WRITER_INT(w, "violation_count", (int64_t)audit->violation_count);
    writer_name(w, VIEW("violations"));
    writer_list(w, listed);
    for (size_t i = 0; i < listed; i++)
        writer_text(w, audit->violations[i]);
    writer_end(w);
    writer_end(w);
    answer_send(&audit->flow);
    flow_end(&audit->flow);
}

static void verify_on(struct audit *audit)
{
    while (audit->flow.owed < SUSPECTS_AT_ONCE && audit->next_suspect < audit->room)
        suspect(audit, &audit->sides[audit->next_suspect++]);
    if (audit->flow.owed == 0)
        answer_audit(audit);
}

static void audit_failed(struct audit *audit, const struct reply *reply)
{
    answer_failed(&audit->flow, reply, "auditing the store");
    flow_end(&audit->flow);
}

static void audit_got_reply(struct flow *flow, struct call *call, const struct reply *reply)
{
    struct audit *audit = (struct audit *)flow;
    struct side *side = call->tag >= TAG_LINE_HOLD ? &audit->sides[call->index] : NULL;
    if (reply->kind == REPLY_NOT_SENT || reply->kind == REPLY_UNKNOWN) {
        audit_failed(audit, reply);
        return;
    }
    switch (call->tag) {
    case TAG_STOCK:
        got_stock(audit, (unsigned)call->index, reply);
        return;
    case TAG_ORDERS:
        got_orders(audit, (unsigned)call->index, reply);
        return;
    case TAG_LINE_HOLD:
        got_line_hold(audit, side, reply);
        break;
    case TAG_LINE_ORDER:
        got_line_order(audit, side, reply);
        break;
    case TAG_ORPHAN_KEY:
        got_orphan_key(audit, side, reply);
        break;
    case TAG_ORPHAN_DUTY:
        got_orphan_order(audit, side, reply);
        break;
    default:
        got_orphan_hold(audit, side, reply);
    }
    verify_on(audit);
}

const struct flow_type AUDIT_FLOW = {.name = "audit", .size = sizeof(struct audit), .start = audit_start, .got_reply = audit_got_reply};
