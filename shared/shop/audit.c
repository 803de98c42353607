#include <string.h>

#include "hash.h"

#include "service.h"

#include "audit_facts.h"
#include "audit_internal.h"
#include "audit_stock.h"
#include "audit_walk.h"
#include "functions.h"
#include "hold.h"
#include "records.h"

#include "audit.h"

#define PARTITIONS_AT_ONCE 8
#define VIOLATIONS_MAX 100
#define SUSPECTS_AT_ONCE 32
#define SIDES_WAITING 64
#define SIDES_FEWEST 4096
#define SCRATCH_USED_MAX (8 * 1024)

/* Behind a younger hold no order is looked for: it is being placed, or was placed while the audit walks. */
#define ORPHAN_MS 120000

/*
 * One side of a pair (line of an order, hold of a product) whose other side has not been seen yet. It is known by a hash of T and product that is
 * wide enough to be taken for them: comparing the texts would mean to fetch each from memory. One of these fills a line of the cache.
 */
enum side_kind { SIDE_FREE, SIDE_LINE, SIDE_HOLD, SIDE_MATCHED };
struct side {
    struct hash128 key;
    const char *txn;
    int64_t product_id, quantity;
    int64_t order_id; /* LINE; of a HOLD when that is known */
    union {
        bool settled;   /* LINE: its order is paid and has no duty, so the hold must be committed */
        int64_t age_ms; /* HOLD */
    };
    uint16_t txn_len, order_partition; /* the latter of a HOLD */
    uint8_t kind;
    bool committed; /* HOLD */
};

struct audit {
    struct flow flow;
    struct service_thread *thread; /* NULL, or whose draining ends the audit */
    unsigned next_partition, active;
    bool stopping; /* something did not answer, or the service drains */
    struct facts *facts;
    struct arena *scratch; /* for one document */
    struct view violations[VIOLATIONS_MAX];
    struct audit_report report;
    struct side *sides; /* a hash table with linear probing, a power of two */
    size_t side_count, room;
    struct side waiting[SIDES_WAITING]; /* whose places are being fetched from memory */
    size_t waiting_count;
    size_t next_suspect;
};

enum { CHILD_STOCK, CHILD_ORDERS, CHILD_FEED };

enum { TAG_LINE_HOLD, TAG_LINE_ORDER, TAG_ORPHAN_KEY, TAG_ORPHAN_DUTY, TAG_ORPHAN_HOLD };

static void walk_on(struct audit *audit);
static void verify_on(struct audit *audit);

/* An order that moves while it is found wrong is found twice, and counts once. */
static void violation(struct audit *audit, enum audit_kind kind, struct view text)
{
    struct audit_report *report = &audit->report;
    for (size_t i = 0; i < report->violation_count && i < VIOLATIONS_MAX; i++)
        if (view_equal(audit->violations[i], text))
            return;
    if (report->violation_count < VIOLATIONS_MAX)
        audit->violations[report->violation_count] = arena_copy(audit->flow.arena, text);
    report->violation_count++;
    report->by_kind[kind]++;
}

void audit_violation(struct flow *audit, enum audit_kind kind, struct view text)
{
    violation((struct audit *)audit, kind, text);
}

struct facts *audit_facts(struct flow *audit)
{
    return ((struct audit *)audit)->facts;
}

bool audit_stopping(const struct flow *flow)
{
    const struct audit *audit = (const struct audit *)flow;
    return audit->stopping || flow->ended || (audit->thread && service_draining(audit->thread));
}

/* ---- pairs ---- */

static struct hash128 side_key(struct view txn, int64_t product_id)
{
    return hash128(txn, (uint32_t)product_id ^ (uint32_t)(product_id >> 32));
}

static struct view side_txn(const struct side *side)
{
    return (struct view){side->txn, side->txn_len};
}

static bool side_is(const struct side *side, const struct side *other)
{
    return side->key.low == other->key.low && side->key.high == other->key.high && side->product_id == other->product_id;
}

static struct side *side_slot(struct side *sides, size_t room, const struct side *side)
{
    size_t at = side->key.low & (room - 1);
    while (sides[at].kind != SIDE_FREE && !side_is(&sides[at], side))
        at = (at + 1) & (room - 1);
    return &sides[at];
}

static void sides_grow(struct audit *audit)
{
    size_t room = audit->room ? audit->room * 4 : SIDES_FEWEST;
    struct side *sides = ARENA_ARRAY(audit->flow.arena, struct side, room);
    size_t count = 0;
    for (size_t i = 0; i < audit->room; i++) {
        const struct side *side = &audit->sides[i];
        if (side->kind != SIDE_LINE && side->kind != SIDE_HOLD)
            continue;
        *side_slot(sides, room, side) = *side;
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

/* Pairs one side with the other if that was seen, else keeps it. */
static void side_pair(struct audit *audit, const struct side *side)
{
    struct side *slot = side_slot(audit->sides, audit->room, side);
    if (slot->kind == SIDE_FREE) {
        *slot = *side;
        audit->side_count++;
    } else if (slot->kind != SIDE_MATCHED && slot->kind != side->kind) {
        const struct side *line = side->kind == SIDE_LINE ? side : slot, *hold = side->kind == SIDE_HOLD ? side : slot;
        check_pair(audit, line, hold);
        /* Paid, nothing left to do, and still only held: looked at again, since the hold may have been seen before the confirm. */
        if (line->settled && !hold->committed)
            *slot = *line;
        else
            slot->kind = SIDE_MATCHED;
    }
}

static void sides_settle(struct audit *audit)
{
    if ((audit->side_count + audit->waiting_count) * 2 > audit->room)
        sides_grow(audit);
    for (size_t i = 0; i < audit->waiting_count; i++)
        side_pair(audit, &audit->waiting[i]);
    audit->waiting_count = 0;
}

/*
 * Takes one side, all but its key and T. The table is larger than any cache, so its places are fetched while some more sides come, and only then
 * looked at.
 */
static void side_add(struct audit *audit, const struct side *side, struct view txn)
{
    struct side *waiting = &audit->waiting[audit->waiting_count++];
    *waiting = *side;
    waiting->key = side_key(txn, side->product_id);
    waiting->txn = arena_copy(audit->flow.arena, txn).at;
    waiting->txn_len = (uint16_t)txn.len;
    __builtin_prefetch(&audit->sides[waiting->key.low & (audit->room - 1)], 1);
    if (audit->waiting_count == SIDES_WAITING)
        sides_settle(audit);
}

/* ---- walking ---- */

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

void audit_take_violations(struct flow *audit, const struct item *list)
{
    for (size_t i = 0; i < list->count; i++)
        audit_violation(audit, kind_of(item_text(item_at(list, i))), item_text(item_at(list, i)));
}

bool audit_hold_read(struct view text, struct audit_hold *hold)
{
    static const struct view MARKS[] = {{"released", 8}, {"restocked", 9}, {"consumed", 8}};
    struct view part[5];
    int64_t partition;
    bool mark = false;
    if (split_bars(text, part, 5) < 5 || !audit_number(part[1], &hold->quantity) || !audit_number(part[2], &partition) ||
        !audit_number(part[3], &hold->when_ms) || !audit_number(part[4], &hold->since_ms))
        return false;
    hold->order_partition = (unsigned)partition;
    hold->committed = view_equal(part[0], VIEW("committed"));
    hold->live = hold->committed || view_equal(part[0], VIEW("held"));
    for (size_t i = 0; i < sizeof(MARKS) / sizeof(*MARKS); i++)
        mark |= view_equal(part[0], MARKS[i]);
    return hold->live || mark;
}

void audit_take_hold(struct flow *audit, const struct audit_hold *hold, int64_t now_ms)
{
    if (!hold->live)
        return;
    struct side side = {
        .kind = SIDE_HOLD,
        .product_id = hold->product_id,
        .quantity = hold->quantity,
        .committed = hold->committed,
        .order_partition = (uint16_t)(hold->order_partition & (audit->world->topology->partitions - 1)),
        .age_ms = now_ms - hold->since_ms,
    };
    side_add((struct audit *)audit, &side, hold->txn);
}

void audit_take_lines(struct flow *flow, int64_t order_id, struct view txn, struct view document, bool live, bool settled)
{
    struct audit *audit = (struct audit *)flow;
    struct items read = {0};
    if (arena_used(audit->scratch) > SCRATCH_USED_MAX) {
        arena_free(audit->scratch);
        audit->scratch = arena_child(flow->arena);
    }
    if (!order_doc_lines(audit->scratch, document, &read)) {
        violation(audit, AUDIT_STATE, arena_printf(flow->arena, "order %lld: its document is damaged", (long long)order_id));
        return;
    }
    const struct order_line *lines = read.at;
    for (size_t i = 0; live && i < read.count; i++) {
        struct side side = {
            .kind = SIDE_LINE, .product_id = lines[i].product_id, .quantity = lines[i].quantity, .order_id = order_id, .settled = settled};
        side_add(audit, &side, txn);
    }
}

/* ---- walking ---- */

/* All of a partition is read. */
static void partition_done(struct audit *audit)
{
    audit->active--;
    walk_on(audit);
}

static void walk_on(struct audit *audit)
{
    unsigned partitions = audit->flow.world->topology->partitions;
    while (audit->active < PARTITIONS_AT_ONCE && audit->next_partition < partitions) {
        audit->active++;
        flow_spawn(&audit->flow, audit_stock_new(&audit->flow, audit->next_partition), CHILD_STOCK, (int)audit->next_partition);
        audit->next_partition++;
    }
    if (audit->active > 0)
        return;
    sides_settle(audit);
    verify_on(audit);
}

static void audit_start(struct flow *flow)
{
    struct audit *audit = (struct audit *)flow;
    audit->facts = facts_new(flow->arena);
    audit->scratch = arena_child(flow->arena);
    sides_grow(audit);
    walk_on(audit);
}

/* ---- what found no partner ---- */

static void ask_hold(struct audit *audit, const struct side *side, int tag)
{
    unsigned partition = topology_partition_of_id(audit->flow.world->topology, side->product_id);
    struct call *call = call_command(audit->flow.arena, "HGET", partition);
    call_keyf(call, "stock:{%u}:%lld", partition, (long long)side->product_id);
    call_arg(call, side_txn(side));
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

/*
 * Who answers for this hold? The idempotency record of its transaction says which order, if any. If none, a sweep will settle it, however long it
 * could not (a shard was away): that a look is to come to it is checked with its stock, and how late it is is counted by the census. But only a paid
 * order's is committed.
 */
static void ask_orphan_key(struct audit *audit, const struct side *hold)
{
    struct txn txn;
    if (!txn_parse(side_txn(hold), &txn)) {
        violation(audit, AUDIT_PAIR,
                  arena_printf(audit->flow.arena, "product %lld: a hold has the unreadable name %.*s", (long long)hold->product_id,
                               VIEW_ARG(side_txn(hold))));
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
    txn_parse(side_txn(hold), &txn);
    bool placed = view_equal(item_text(item_at(reply->root, 0)), VIEW("placed")) && item_int(item_at(reply->root, 2)) == txn.attempt &&
                  view_equal(item_text(item_at(reply->root, 3)), txn.fingerprint);
    if (!placed) {
        if (hold->committed)
            ask_hold(audit, hold, TAG_ORPHAN_HOLD);
        return;
    }
    hold->order_id = item_int(item_at(reply->root, 1));
    unsigned partition = hold->order_partition;
    flow_call(&audit->flow, order_read_call(audit->flow.arena, partition, hold->order_id), TAG_ORPHAN_DUTY, (int)(hold - audit->sides));
}

/*
 * An order that lives answers for its holds (it was placed while we walked). One that has ended does so while it owes their release; when it does not
 * any more, its own are released. A hold that was taken long after its end is a late repeat's. An order that is not there, although its key says that
 * it was placed, never will.
 */
static void got_orphan_order(struct audit *audit, const struct side *hold, const struct reply *reply)
{
    struct order order;
    if (reply->kind == REPLY_REFUSED)
        ask_hold(audit, hold, TAG_ORPHAN_HOLD);
    if (reply->kind != REPLY_OK || !order_from_reply(audit->flow.arena, reply, hold->order_id, &order))
        return;
    enum verdict verdict = verdict_of(order.state);
    int64_t ended_ms = order_reply_now_ms(reply) - order.updated_ms;
    bool ended = verdict != VERDICT_RESERVED && verdict != VERDICT_PAID;
    if (ended && !order.owes && (hold->committed || hold->age_ms + CLOCKS_DIFFER_MS >= ended_ms))
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
                               (long long)hold->product_id, (long long)hold->quantity, VIEW_ARG(side_txn(hold))));
}

static void suspect(struct audit *audit, const struct side *side)
{
    if (side->kind == SIDE_LINE)
        ask_hold(audit, side, TAG_LINE_HOLD);
    else if (side->kind == SIDE_HOLD && side->age_ms > ORPHAN_MS)
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

const char *audit_phase_name(enum audit_phase phase)
{
    static const char *const NAMES[AUDIT_PHASES] = {[AUDIT_HELD] = "held", [AUDIT_COMMITTED] = "committed", [AUDIT_ENDED] = "ended"};
    return NAMES[phase];
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

static void audit_end(struct audit *audit)
{
    arena_free(audit->scratch);
    audit->scratch = NULL;
    flow_end(&audit->flow);
}

static void audit_complete(struct audit *audit)
{
    audit->report.complete = true;
    audit->report.violations = audit->violations;
    if (audit->flow.ask)
        answer_audit(audit);
    audit_end(audit);
}

static void verify_on(struct audit *audit)
{
    while (audit->flow.owed < SUSPECTS_AT_ONCE && audit->next_suspect < audit->room)
        suspect(audit, &audit->sides[audit->next_suspect++]);
    if (audit->flow.owed == 0)
        audit_complete(audit);
}

/* The client is told at once; the audit ends when nothing is under way any more, since its children have their calls. */
static void audit_failed(struct audit *audit, const struct reply *reply)
{
    if (!audit->stopping && audit->flow.ask)
        answer_failed(&audit->flow, reply, "auditing the store");
    audit->stopping = true;
}

/* Has it stopped before its time? Then this is its end if nothing is under way. */
static bool audit_stopped(struct audit *audit)
{
    audit->stopping = audit_stopping(&audit->flow);
    if (audit->stopping && audit->flow.owed == 0)
        audit_end(audit);
    return audit->stopping;
}

static void audit_got_reply(struct flow *flow, struct call *call, const struct reply *reply)
{
    struct audit *audit = (struct audit *)flow;
    struct side *side = &audit->sides[call->index];
    if (reply->kind == REPLY_NOT_SENT || reply->kind == REPLY_UNKNOWN)
        audit_failed(audit, reply);
    if (audit_stopped(audit))
        return;
    switch (call->tag) {
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

static void got_stock(struct audit *audit, const struct flow *child)
{
    const struct stock_result *stock = audit_stock_result(child);
    audit->report.checked[AUDIT_PRODUCTS] += stock->products;
    audit->report.checked[AUDIT_HOLDS] += stock->holds;
    audit->report.holds[AUDIT_HELD] += stock->live[0];
    audit->report.holds[AUDIT_COMMITTED] += stock->live[1];
    audit->report.holds[AUDIT_ENDED] += stock->holds - stock->live[0] - stock->live[1];
    if (stock->failed)
        audit_failed(audit, &stock->failure);
    else if (!audit_stopping(&audit->flow))
        flow_spawn(&audit->flow, audit_walk_new(&audit->flow, (unsigned)child->index), CHILD_ORDERS, child->index);
}

static void got_orders(struct audit *audit, const struct flow *child)
{
    const struct walk_result *walk = audit_walk_result(child);
    audit->report.checked[AUDIT_ORDERS] += walk->orders;
    audit->report.checked[AUDIT_PAYMENTS] += walk->payments;
    audit->report.checked[AUDIT_EVENTS] += walk->events;
    if (walk->failed)
        audit_failed(audit, &walk->failure);
    else if (audit_stopping(&audit->flow))
        return;
    else if (feed_agrees(&walk->feed))
        partition_done(audit);
    else
        flow_spawn(&audit->flow, feed_check_new(&audit->flow, (unsigned)child->index), CHILD_FEED, child->index);
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
    partition_done(audit);
}

static void audit_got_child(struct flow *flow, struct flow *child)
{
    static void (*const GOT[])(struct audit * audit,
                               const struct flow *child) = {[CHILD_STOCK] = got_stock, [CHILD_ORDERS] = got_orders, [CHILD_FEED] = got_feed_check};
    struct audit *audit = (struct audit *)flow;
    if (!audit->stopping)
        GOT[child->tag](audit, child);
    if (!flow->ended)
        audit_stopped(audit);
}

const struct flow_type AUDIT_FLOW = {
    .name = "audit", .size = sizeof(struct audit), .start = audit_start, .got_reply = audit_got_reply, .got_child = audit_got_child};
