#include <string.h>

#include "hash.h"

#include "service.h"

#include "audit_feed.h"
#include "audit_holds.h"
#include "functions.h"
#include "hold.h"
#include "records.h"

#include "audit.h"

#define PARTITIONS_AT_ONCE 8
#define PAGE_STOCK 200
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
    struct service_thread *thread; /* NULL, or whose draining ends the audit */
    unsigned next_partition, active;
    struct view *after_product; /* per partition */
    struct view (*after_order)[2], *after_entry;
    struct feed_account *feeds; /* per partition */
    unsigned *walking;          /* per partition: one for its pages, one for each product whose holds are walked */
    struct view violations[VIOLATIONS_MAX];
    struct audit_report report;
    struct side *sides; /* a hash table with linear probing, a power of two */
    size_t side_count, room;
    size_t next_suspect;
};

/* Children. */
enum { CHILD_FEED, CHILD_HOLDS };

enum { TAG_STOCK, TAG_ORDERS, TAG_ENTRIES, TAG_LINE_HOLD, TAG_LINE_ORDER, TAG_ORPHAN_KEY, TAG_ORPHAN_DUTY, TAG_ORPHAN_HOLD };

static void walk_on(struct audit *audit);
static void verify_on(struct audit *audit);

static void violation(struct audit *audit, enum audit_kind kind, struct view text)
{
    struct audit_report *report = &audit->report;
    if (report->violation_count < VIOLATIONS_MAX)
        audit->violations[report->violation_count] = arena_copy(audit->flow.arena, text);
    report->violation_count++;
    report->by_kind[kind]++;
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
        violation(audit, AUDIT_PAIR,
                  arena_printf(audit->flow.arena, "order %lld: product %lld is ordered %lld times and held %lld times", (long long)line->order_id,
                               (long long)line->product_id, (long long)line->quantity, (long long)hold->quantity));
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
    struct call *call = feed_orders_call(audit->flow.arena, partition, audit->after_order[partition], &audit->feeds[partition]);
    flow_call(&audit->flow, call, TAG_ORDERS, (int)partition);
}

static void ask_entries(struct audit *audit, unsigned partition)
{
    struct call *call = feed_entries_call(audit->flow.arena, partition, audit->after_entry[partition], &audit->feeds[partition]);
    flow_call(&audit->flow, call, TAG_ENTRIES, (int)partition);
}

/* What a shard names begins with what it is about. */
static enum audit_kind kind_of(struct view text)
{
    static const struct {
        const char *about;
        enum audit_kind kind;
    } ABOUT[] = {{"product ", AUDIT_UNITS}, {"order ", AUDIT_STATE}, {"payment ", AUDIT_MONEY}};
    for (size_t i = 0; i < sizeof(ABOUT) / sizeof(*ABOUT); i++)
        if (text.len > strlen(ABOUT[i].about) && memcmp(text.at, ABOUT[i].about, strlen(ABOUT[i].about)) == 0)
            return ABOUT[i].kind;
    return AUDIT_INDEX;
}

static void take_violations(struct audit *audit, const struct item *list)
{
    for (size_t i = 0; i < list->count; i++)
        violation(audit, kind_of(item_text(item_at(list, i))), item_text(item_at(list, i)));
}

/* [T product hold …]; a hold is phase|quantity|partition of its order|when|since. */
static void take_holds(struct flow *flow, const struct item *list, int64_t now_ms)
{
    struct audit *audit = (struct audit *)flow;
    for (size_t i = 0; i + 2 < list->count; i += 3) {
        struct view part[5] = {{0}};
        long long quantity = 0, order_partition = 0, since = 0;
        if (split_bars(item_text(item_at(list, i + 2)), part, 5) < 5 || !view_to_int(part[1], &quantity) || !view_to_int(part[2], &order_partition) ||
            !view_to_int(part[4], &since))
            continue; /* the shard has named it as not readable */
        struct side side = {
            .kind = SIDE_HOLD,
            .txn = item_text(item_at(list, i)),
            .product_id = item_int(item_at(list, i + 1)),
            .quantity = quantity,
            .committed = view_equal(part[0], VIEW("committed")),
            .order_partition = (unsigned)order_partition & (audit->flow.world->topology->partitions - 1),
            .age_ms = now_ms - since,
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
        violation(audit, AUDIT_STATE, arena_printf(audit->flow.arena, "order %lld: its document is damaged", (long long)id));
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
    audit->report.checked[AUDIT_PRODUCTS] += reply_int(reply, 1);
    audit->report.checked[AUDIT_HOLDS] += reply_int(reply, 2);
    take_violations(audit, reply_item(reply, 3));
    take_holds(&audit->flow, reply_item(reply, 4), reply_int(reply, 5));
    const struct item *many = reply_item(reply, 6);
    for (size_t i = 0; i < many->count; i++)
        flow_spawn(&audit->flow, audit_holds_new(&audit->flow, item_int(item_at(many, i)), take_holds), CHILD_HOLDS, (int)partition);
    audit->walking[partition] += (unsigned)many->count;
    if (audit->feeds[partition].upto_ms == 0)
        audit->feeds[partition].upto_ms = reply_int(reply, 5);
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
    audit->report.checked[AUDIT_ORDERS] += reply_int(reply, 2);
    audit->report.checked[AUDIT_PAYMENTS] += reply_int(reply, 3);
    take_violations(audit, reply_item(reply, 4));
    feed_take_orders(&audit->feeds[partition], reply);
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
    ask_entries(audit, partition);
}

/* One of those that were at this partition has ended. */
static void partition_done(struct audit *audit, unsigned partition)
{
    if (--audit->walking[partition] > 0)
        return;
    audit->active--;
    walk_on(audit);
}

static void got_entries(struct audit *audit, unsigned partition, const struct reply *reply)
{
    struct feed_account *feed = &audit->feeds[partition];
    audit->after_entry[partition] = arena_copy(audit->flow.arena, feed_take_entries(feed, reply));
    if (audit->after_entry[partition].len) {
        ask_entries(audit, partition);
        return;
    }
    audit->report.checked[AUDIT_EVENTS] += (int64_t)feed->entries;
    if (feed_agrees(feed))
        partition_done(audit, partition);
    else
        flow_spawn(&audit->flow, feed_check_new(&audit->flow, partition), CHILD_FEED, (int)partition);
}

static void walk_on(struct audit *audit)
{
    unsigned partitions = audit->flow.world->topology->partitions;
    while (audit->active < PARTITIONS_AT_ONCE && audit->next_partition < partitions) {
        audit->active++;
        audit->walking[audit->next_partition] = 1;
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
    audit->after_entry = ARENA_ARRAY(flow->arena, struct view, partitions);
    audit->feeds = ARENA_ARRAY(flow->arena, struct feed_account, partitions);
    audit->walking = ARENA_ARRAY(flow->arena, unsigned, partitions);
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
        violation(audit, AUDIT_PAIR,
                  arena_printf(audit->flow.arena, "order %lld: it is %.*s, and product %lld has %s", (long long)line->order_id, VIEW_ARG(order.state),
                               (long long)line->product_id, line->settled ? "not committed its units" : "no hold of it"));
}

/* Who answers for this hold? The idempotency record of its transaction says which order, if any. */
static void ask_orphan_key(struct audit *audit, const struct side *hold)
{
    struct txn txn;
    if (!txn_parse(hold->txn, &txn)) {
        violation(audit, AUDIT_PAIR,
                  arena_printf(audit->flow.arena, "product %lld: a hold has the unreadable name %.*s", (long long)hold->product_id,
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
        violation(audit, AUDIT_PAIR,
                  arena_printf(audit->flow.arena, "product %lld: %lld units are still held for order %lld, which has ended or is not there",
                               (long long)hold->product_id, (long long)hold->quantity, (long long)hold->order_id));
    else
        violation(audit, AUDIT_PAIR,
                  arena_printf(audit->flow.arena, "product %lld: %lld units are held by transaction %.*s, which placed no order",
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

const char *audit_thing_name(enum audit_thing thing)
{
    static const char *const NAMES[AUDIT_THINGS] = {
        [AUDIT_PRODUCTS] = "products", [AUDIT_ORDERS] = "orders", [AUDIT_PAYMENTS] = "payments", [AUDIT_HOLDS] = "holds", [AUDIT_EVENTS] = "events"};
    return NAMES[thing];
}

const char *audit_kind_name(enum audit_kind kind)
{
    static const char *const NAMES[AUDIT_KINDS] = {[AUDIT_UNITS] = "units", [AUDIT_STATE] = "state", [AUDIT_MONEY] = "money",
                                                   [AUDIT_INDEX] = "index", [AUDIT_PAIR] = "pair",   [AUDIT_FEED] = "feed"};
    return NAMES[kind];
}

const struct audit_report *audit_report_of(const struct flow *audit)
{
    return &((const struct audit *)audit)->report;
}

static void answer_audit(struct audit *audit)
{
    const struct audit_report *report = &audit->report;
    size_t listed = report->violation_count < VIOLATIONS_MAX ? report->violation_count : VIOLATIONS_MAX;
    struct writer *w = answer_begin(&audit->flow, 200);
    writer_map(w, 4);
    WRITER_BOOL(w, "ok", report->violation_count == 0);
    writer_name(w, VIEW("checked"));
    writer_map(w, AUDIT_THINGS);
    for (int i = 0; i < AUDIT_THINGS; i++) {
        writer_name(w, view_of(audit_thing_name(i)));
        writer_int(w, report->checked[i]);
    }
    writer_end(w);
    WRITER_INT(w, "violation_count", (int64_t)report->violation_count);
    writer_name(w, VIEW("violations"));
    writer_list(w, listed);
    for (size_t i = 0; i < listed; i++)
        writer_text(w, audit->violations[i]);
    writer_end(w);
    writer_end(w);
    answer_send(&audit->flow);
}

static void audit_complete(struct audit *audit)
{
    audit->report.complete = true;
    audit->report.violations = audit->violations;
    if (audit->flow.ask)
        answer_audit(audit);
    flow_end(&audit->flow);
}

static void verify_on(struct audit *audit)
{
    while (audit->flow.owed < SUSPECTS_AT_ONCE && audit->next_suspect < audit->room)
        suspect(audit, &audit->sides[audit->next_suspect++]);
    if (audit->flow.owed == 0)
        audit_complete(audit);
}

static void audit_failed(struct audit *audit, const struct reply *reply)
{
    if (audit->flow.ask)
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
    if (audit->thread && service_draining(audit->thread)) {
        flow_end(flow);
        return;
    }
    switch (call->tag) {
    case TAG_STOCK:
        got_stock(audit, (unsigned)call->index, reply);
        return;
    case TAG_ORDERS:
        got_orders(audit, (unsigned)call->index, reply);
        return;
    case TAG_ENTRIES:
        got_entries(audit, (unsigned)call->index, reply);
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

struct flow *audit_new(struct flow *parent, struct service_thread *thread)
{
    struct flow *flow = flow_new(parent->arena, &AUDIT_FLOW, parent->world, NULL);
    ((struct audit *)flow)->thread = thread;
    return flow;
}

static void got_feed_check(struct audit *audit, const struct flow *child)
{
    const struct feed_account *feed = feed_check_account(child);
    if (feed_check_failed(child)) {
        audit_failed(audit, feed_check_failed(child));
        return;
    }
    if (!feed_agrees(feed))
        violation(audit, AUDIT_FEED,
                  arena_printf(audit->flow.arena, "partition %d: its orders have %llu versions and its feed has %llu entries, or entries of others",
                               child->index, (unsigned long long)feed->versions, (unsigned long long)feed->entries));
    partition_done(audit, (unsigned)child->index);
}

static void got_holds(struct audit *audit, const struct flow *child)
{
    const struct holds_audit *holds = audit_holds_result(child);
    if (holds->failed) {
        audit_failed(audit, &holds->failure);
        return;
    }
    audit->report.checked[AUDIT_HOLDS] += holds->holds;
    if (holds->wrong.len)
        violation(audit, AUDIT_UNITS, holds->wrong);
    partition_done(audit, (unsigned)child->index);
}

static void audit_got_child(struct flow *flow, struct flow *child)
{
    struct audit *audit = (struct audit *)flow;
    if (audit->thread && service_draining(audit->thread))
        flow_end(flow);
    else if (child->tag == CHILD_FEED)
        got_feed_check(audit, child);
    else
        got_holds(audit, child);
}

const struct flow_type AUDIT_FLOW = {
    .name = "audit", .size = sizeof(struct audit), .start = audit_start, .got_reply = audit_got_reply, .got_child = audit_got_child};
