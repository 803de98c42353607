#include <stddef.h>
#include <stdlib.h>

#include "money.h"

#include "functions.h"
#include "hold.h"
#include "outcomes.h"
#include "settle.h"

#include "order.h"

/*
 * Placing an order: presumed-abort two-phase commit (DESIGN.md, "Placing an order").
 *
 *                ┌──────────────────────────── again, attempt + 1 ◀─────────────────────────────┐
 *                ▼                                                                              │
 *   start ─▶ TRYING ─▶ all held ───────────────▶ PLACING ─▶ placed: 201 ── aborted ──▶ RELEASING ┤
 *             │  ▲                                  │ decided before ─▶ (RELEASING) ─▶ READING ─▶ the same 201
 *     ASK ────┘  └─ holds settled                   └ refused before ─▶ RELEASING ─▶ the stored answer
 *             ├──▶ short, not acceptable ──▶ REFUSING ─▶ recorded ─▶ RELEASING ─▶ 409, 422
 *             └──▶ any gone ───────────────▶ SETTLING ─┬─ placed ──▶ as PLACING's "decided before"
 *                                                      ├─ aborted ─▶ RELEASING ─▶ again
 *                                                      └─ aborted, and another attempt decided ─▶ RELEASING ─▶ LOOKING_UP ─▶ that answer
 *
 * A reply that is lost ends the flow with 503 and leaves the holds: the same request sent again finds them under the same T and goes on; if none
 * comes, they may be asked about after 9 to 10 s.
 */
enum place_state { TRYING, PLACING, REFUSING, SETTLING, RELEASING, LOOKING_UP, READING };

enum line_state { LINE_UNTRIED, LINE_HELD, LINE_KNOWN, LINE_GONE, LINE_SHORT, LINE_NOT_FOUND, LINE_FAILED };

struct place_line {
    int64_t product_id, quantity, available, version;
    struct product_doc product;
    enum line_state state;
    int rounds;     /* how often holds were settled for it */
    bool unsettled; /* a hold that is due could not be asked about, or there are too many of them */
};

/* What to do when the releasing is done. */
enum place_next { NEXT_AGAIN, NEXT_STORED, NEXT_REFUSED, NEXT_REPLAY, NEXT_LOOK_UP, NEXT_KEY_REUSED };

struct place {
    struct flow flow;
    enum place_state state;
    const struct place_body *body;
    struct txn_key key;
    unsigned partition;
    int64_t attempt;
    int tries;
    struct view txn;
    struct place_line *lines;
    unsigned line_count, waiting;
    struct reply failure; /* of a TRY, the gravest; its kind is OK while there is none */
    enum place_next next;
    int64_t next_attempt;
    int stored_status;
    struct view stored_body;
    int64_t order_id;
    struct order_at at;
    struct faults faults;
    int64_t total;
    struct view currency;
    struct order_doc doc;
};

#define LINES_MAX 50
#define QUANTITY_MAX 10000
#define HOLD_SECONDS_PRESET 900
#define HOLD_SECONDS_MAX 86400
#define ATTEMPTS_MAX 5
#define ROUNDS_MAX 4
#define TAG_PLACE 1

static void try_all(struct place *place);

/* ---- what the client sends ---- */

static const struct field ITEM_FIELDS[] = {
    {.name = "product_id", .type = FIELD_INT, .offset = offsetof(struct place_item, product_id), .required = true, .min = 1, .max = MONEY_MAX},
    {.name = "quantity", .type = FIELD_INT, .offset = offsetof(struct place_item, quantity), .required = true, .min = 1, .max = QUANTITY_MAX},
};
static const struct shape ITEM = {.name = "item", .fields = ITEM_FIELDS, .count = 2, .size = sizeof(struct place_item)};
static const struct field BODY_FIELDS[] = {
    {.name = "user", .type = FIELD_TEXT, .offset = offsetof(struct place_body, user), .required = true, .min = 1, .max = 128},
    {.name = "items", .type = FIELD_LIST, .offset = offsetof(struct place_body, items), .required = true, .min = 1, .max = LINES_MAX, .of = &ITEM},
    {.name = "expected_total",
     .type = FIELD_MONEY_TEXT,
     .offset = offsetof(struct place_body, expected_total),
     .given = offsetof(struct place_body, has_expected_total)},
    {.name = "hold_seconds",
     .type = FIELD_INT,
     .offset = offsetof(struct place_body, hold_seconds),
     .given = offsetof(struct place_body, has_hold_seconds),
     .min = 1,
     .max = HOLD_SECONDS_MAX},
};
const struct shape PLACE_BODY = {.name = "order", .fields = BODY_FIELDS, .count = 4, .size = sizeof(struct place_body)};

static int line_compare(const void *a, const void *b)
{
    const struct place_line *left = a, *right = b;
    return (left->product_id > right->product_id) - (left->product_id < right->product_id);
}

/* Lines of one product become one before stock is checked. Returns false (answered) if such a sum is too large. */
static bool merge_lines(struct place *place)
{
    const struct place_item *items = place->body->items.at;
    struct place_line *lines = ARENA_ARRAY(place->flow.arena, struct place_line, place->body->items.count);
    unsigned count = 0;
    for (size_t i = 0; i < place->body->items.count; i++)
        lines[i] = (struct place_line){.product_id = items[i].product_id, .quantity = items[i].quantity};
    qsort(lines, place->body->items.count, sizeof(*lines), line_compare);
    for (size_t i = 0; i < place->body->items.count; i++) {
        if (count > 0 && lines[count - 1].product_id == lines[i].product_id)
            lines[count - 1].quantity += lines[i].quantity;
        else
            lines[count++] = lines[i];
        if (lines[count - 1].quantity <= QUANTITY_MAX)
            continue;
        answer_refuse(&place->flow, &OUTCOME_UNPROCESSABLE,
                      "the lines of product %lld come to more than %d units; at most that many can be ordered at once",
                      (long long)lines[count - 1].product_id, QUANTITY_MAX);
        return false;
    }
    place->lines = lines;
    place->line_count = count;
    return true;
}

static void place_start(struct flow *flow)
{
    struct place *place = (struct place *)flow;
    place->body = flow->ask->body;
    if (!merge_lines(place)) {
        flow_end(flow);
        return;
    }
    struct view scope = arena_printf(flow->arena, "POST /orders %.*s", VIEW_ARG(place->body->user));
    place->key = txn_key(flow->arena, flow->ask, scope);
    place->partition = topology_partition_of_text(flow->world->topology, place->body->user);
    place->attempt = 1;
    try_all(place);
}

/* ---- ends ---- */

static void end_failed(struct place *place, const struct reply *reply)
{
    answer_failed(&place->flow, reply, "placing the order");
    flow_end(&place->flow);
}

static void end_broken(struct place *place)
{
    order_broken(&place->flow, "placing", place->order_id);
    flow_end(&place->flow);
}

static void read_back(struct place *place)
{
    place->state = READING;
    order_at_ask(&place->flow, &place->at, place->order_id, 1);
}

/* ---- calls to the order's partition ---- */

static struct call *order_call(struct place *place, const struct function *function)
{
    struct call *call = call_function(place->flow.arena, function, place->partition);
    call_keyf(call, "idem:{%u}:%s", place->partition, place->key.hash);
    call_arg_int(call, place->partition);
    call_arg(call, view_of(place->key.fingerprint));
    call_arg_int(call, place->attempt);
    return call;
}

static int64_t hold_ms(const struct place *place)
{
    return (place->body->has_hold_seconds ? place->body->hold_seconds : HOLD_SECONDS_PRESET) * 1000;
}

static void ask_place(struct place *place)
{
    struct call *call = order_call(place, &FN_PLACE);
    call_arg(call, place->txn);
    call_arg(call, place->body->user);
    call_arg_int(call, place->total);
    call_arg(call, place->currency);
    call_arg_int(call, hold_ms(place));
    call_arg(call, record_store(&ORDER_DOC, place->flow.arena, &place->doc));
    call_arg(call, place->flow.ask->request_id);
    place->state = PLACING;
    flow_call(&place->flow, call, TAG_PLACE, 0);
}

/* The problem of the answer that was begun becomes the key's outcome; it is sent only when that is recorded. */
static void ask_refuse(struct place *place)
{
    struct answer *answer = place->flow.answer;
    answer->body = writer_done(&answer->writer);
    struct call *call = order_call(place, &FN_REFUSE);
    call_arg_int(call, answer->status);
    call_arg(call, answer->body);
    place->state = REFUSING;
    flow_call(&place->flow, call, TAG_PLACE, 0);
}

static void ask_settle(struct place *place)
{
    struct order_txn own = {place->partition, {view_of(place->key.hash), view_of(place->key.fingerprint), place->attempt}};
    place->state = SETTLING;
    flow_call(&place->flow, settle_call(place->flow.arena, &own, 1), TAG_PLACE, 0);
}

/* The key was decided by another attempt or for another request: its record says how. */
static void look_up(struct place *place)
{
    struct call *call = call_command(place->flow.arena, "HMGET", place->partition);
    call_keyf(call, "idem:{%u}:%s", place->partition, place->key.hash);
    call_arg(call, VIEW("fp"));
    call_arg(call, VIEW("s"));
    call_arg(call, VIEW("id"));
    call_arg(call, VIEW("status"));
    call_arg(call, VIEW("body"));
    place->state = LOOKING_UP;
    flow_call(&place->flow, call, TAG_PLACE, 0);
}

/* ---- trying ---- */

static void try_line(struct place *place, unsigned index)
{
    struct place_line *line = &place->lines[index];
    flow_call(&place->flow, try_call(&place->flow, line->product_id, place->txn, line->quantity, place->partition, hold_ms(place)), TAG_PLACE,
              (int)index);
}

static void try_all(struct place *place)
{
    if (place->tries++ == ATTEMPTS_MAX) {
        answer_refuse(&place->flow, &OUTCOME_UNKNOWN,
                      "placing the order was interrupted %d times by others who settled its holds; send the same request again", ATTEMPTS_MAX);
        flow_end(&place->flow);
        return;
    }
    place->state = TRYING;
    faults_init(&place->faults, place->flow.arena);
    place->txn = txn_name(place->flow.arena, &place->key, place->attempt);
    place->waiting = place->line_count;
    for (unsigned i = 0; i < place->line_count; i++) {
        place->lines[i].state = LINE_UNTRIED;
        place->lines[i].rounds = 0;
        place->lines[i].unsettled = false;
        try_line(place, i);
    }
}

static bool line_load(struct place *place, struct place_line *line, struct view doc)
{
    struct arena *arena = place->flow.arena;
    return record_load(&PRODUCT_DOC, arena, arena_copy(arena, doc), &line->product) && money_digits(line->product.currency) >= 0;
}

static bool any_line(const struct place *place, enum line_state state)
{
    for (unsigned i = 0; i < place->line_count; i++)
        if (place->lines[i].state == state)
            return true;
    return false;
}

/* ---- deciding ---- */

static void fault_at_line(struct place *place, const struct place_line *line, const char *text)
{
    const struct place_item *items = place->body->items.at;
    size_t index = 0;
    while (items[index].product_id != line->product_id)
        index++;
    faults_add(&place->faults, arena_printf(place->flow.arena, "/items/%zu/product_id", index), "%s (product %lld)", text,
               (long long)line->product_id);
}

static void find_missing(struct place *place)
{
    for (unsigned i = 0; i < place->line_count; i++)
        if (place->lines[i].state == LINE_NOT_FOUND)
            fault_at_line(place, &place->lines[i], "there is no such product");
}

/* Sums up what the lines cost. Adds faults when they have several currencies or the sum is beyond 2^53-1. */
static void find_total(struct place *place)
{
    place->total = 0;
    place->currency = place->lines[0].product.currency;
    for (unsigned i = 0; i < place->line_count; i++) {
        struct place_line *line = &place->lines[i];
        if (!view_equal(line->product.currency, place->currency))
            fault_at_line(place, line, "its price is in another currency than the first product's; order them apart");
        else if (line->product.price > (MONEY_MAX - place->total) / line->quantity)
            fault_at_line(place, line, "with it the total is more than 2^53-1 of the currency's smallest unit");
        else
            place->total += line->product.price * line->quantity;
    }
}

/* Compares with expected_total. Returns false, with a refusal begun, when it differs; adds a fault when it is no amount of this currency. */
static bool total_is_expected(struct place *place)
{
    int64_t expected;
    int digits = money_digits(place->currency);
    if (!place->body->has_expected_total || place->faults.count)
        return true;
    enum money_error error = money_parse(place->body->expected_total, digits, &expected);
    if (error != MONEY_OK) {
        faults_add(&place->faults, VIEW("/expected_total"), "%s", money_error_text(error));
        return true;
    }
    if (expected == place->total)
        return true;
    struct writer *w = answer_problem(&place->flow, &OUTCOME_TOTAL_CHANGED, 2,
                                      "the total is not the expected one; show the buyer the new total and ask again with a new Idempotency-Key");
    WRITER_MONEY(w, "total", place->total, digits);
    WRITER_MONEY(w, "expected_total", expected, digits);
    writer_end(w);
    return false;
}

static void begin_shortfall(struct place *place)
{
    size_t count = 0;
    for (unsigned i = 0; i < place->line_count; i++)
        count += place->lines[i].state == LINE_SHORT;
    struct writer *w = answer_problem(&place->flow, &OUTCOME_INSUFFICIENT_STOCK, 1,
                                      "%zu of the products have fewer units than ordered; \"shortfalls\" says how many there are", count);
    writer_name(w, VIEW("shortfalls"));
    writer_list(w, count);
    for (unsigned i = 0; i < place->line_count; i++) {
        const struct place_line *line = &place->lines[i];
        if (line->state != LINE_SHORT)
            continue;
        writer_map(w, 3);
        WRITER_INT(w, "product_id", line->product_id);
        WRITER_INT(w, "requested", line->quantity);
        WRITER_INT(w, "available", line->available);
        writer_end(w);
    }
    writer_end(w);
    writer_end(w);
}

static void make_doc(struct place *place)
{
    struct order_line *lines = ARENA_ARRAY(place->flow.arena, struct order_line, place->line_count);
    for (unsigned i = 0; i < place->line_count; i++) {
        const struct place_line *line = &place->lines[i];
        lines[i] = (struct order_line){line->product_id, line->quantity, line->product.price, line->version, line->product.name};
    }
    place->doc = (struct order_doc){.schema = SCHEMA, .lines = {lines, place->line_count}};
}

/* A product that is short although one of its holds may have ended: we do not know, which is not "no". */
static bool any_unsettled(const struct place *place)
{
    for (unsigned i = 0; i < place->line_count; i++)
        if (place->lines[i].state == LINE_SHORT && place->lines[i].unsettled)
            return true;
    return false;
}

static void begin_unacceptable(struct place *place)
{
    struct writer *w = answer_problem(&place->flow, &OUTCOME_UNPROCESSABLE, 1, "the order cannot be accepted as it is; \"errors\" says why");
    answer_faults_write(w, &place->faults);
    writer_end(w);
}

/* Begins the answer to an order that cannot be placed as it is. Returns false if it can. */
static bool begin_refusal(struct place *place)
{
    find_missing(place);
    if (place->faults.count == 0 && any_line(place, LINE_SHORT)) {
        begin_shortfall(place);
        return true;
    }
    if (place->faults.count == 0) {
        find_total(place);
        if (!total_is_expected(place))
            return true;
    }
    if (place->faults.count)
        begin_unacceptable(place);
    return place->faults.count > 0;
}

static void decide(struct place *place)
{
    if (any_line(place, LINE_FAILED)) {
        end_failed(place, &place->failure);
    } else if (any_line(place, LINE_GONE)) {
        ask_settle(place);
    } else if (any_unsettled(place) && !any_line(place, LINE_NOT_FOUND)) {
        answer_refuse(&place->flow, &OUTCOME_SHARD_DOWN,
                      "a product is short, and not all of the earlier orders that hold it could be asked whether they still do; try again");
        flow_end(&place->flow);
    } else if (begin_refusal(place)) {
        ask_refuse(place);
    } else {
        make_doc(place);
        ask_place(place);
    }
}

static void line_done(struct place *place, struct place_line *line, enum line_state state)
{
    line->state = state;
    if (--place->waiting == 0)
        decide(place);
}

static void line_failed(struct place *place, struct place_line *line, const struct reply *reply)
{
    /* UNKNOWN outranks NOT_SENT: the client must be told the graver thing. */
    if (place->failure.kind == REPLY_OK || reply->kind == REPLY_UNKNOWN)
        place->failure = (struct reply){.kind = reply->kind, .why = reply->why};
    line_done(place, line, LINE_FAILED);
}

static void line_short(struct place *place, struct place_line *line, const struct reply *reply)
{
    line->available = reply_int(reply, 0);
    if (reply->code == CODE_ASK && !line->unsettled && line->rounds++ < ROUNDS_MAX) {
        flow_spawn_joined(&place->flow, settle_new(&place->flow, line->product_id), 0, (int)(line - place->lines), line->product_id);
        return;
    }
    line->unsettled |= reply->code == CODE_ASK;
    line_done(place, line, LINE_SHORT);
}

static void got_try(struct place *place, int index, const struct reply *reply)
{
    struct place_line *line = &place->lines[index];
    bool known = reply->kind == REPLY_REFUSED && reply->code == CODE_ALREADY;
    if (reply->kind == REPLY_NOT_SENT || reply->kind == REPLY_UNKNOWN) {
        line_failed(place, line, reply);
    } else if (reply->kind == REPLY_OK || known) {
        line->version = reply_int(reply, known ? 0 : 1);
        if (line_load(place, line, reply_text(reply, known ? 1 : 2)))
            line_done(place, line, known ? LINE_KNOWN : LINE_HELD);
        else
            line_failed(place, line, &(struct reply){.kind = REPLY_UNKNOWN, .why = "the product's document is damaged"});
    } else if (reply->code == CODE_SHORT || reply->code == CODE_ASK) {
        line_short(place, line, reply);
    } else if (reply->code == CODE_GONE) {
        line_done(place, line, LINE_GONE);
    } else {
        line_done(place, line, LINE_NOT_FOUND);
    }
}

static void place_got_child(struct flow *flow, struct flow *child)
{
    struct place *place = (struct place *)flow;
    if (!settle_complete(child))
        place->lines[child->index].unsettled = true;
    try_line(place, (unsigned)child->index);
}

/* ---- releasing, and what comes after it ---- */

static void released(struct place *place)
{
    struct flow *flow = &place->flow;
    switch (place->next) {
    case NEXT_AGAIN:
        place->attempt = place->next_attempt;
        try_all(place);
        break;
    case NEXT_LOOK_UP:
        look_up(place);
        break;
    case NEXT_REPLAY:
        read_back(place);
        break;
    case NEXT_STORED:
        answer_stored(flow, place->stored_status, place->stored_body);
        flow_end(flow);
        break;
    case NEXT_REFUSED:
        answer_send(flow);
        flow_end(flow);
        break;
    case NEXT_KEY_REUSED:
        answer_refuse(flow, &OUTCOME_KEY_REUSED, "this Idempotency-Key was used by this buyer for another order; use a new key for a new order");
        flow_end(flow);
        break;
    }
}

/* Brings the holds that this attempt has to where ${verdict} says: RELEASE for an attempt that was not placed. Whatever the replies say, the flow
 * goes on: what is not released now is settled after its ask-after. */
static void resolve_lines(struct place *place, enum verdict verdict, int64_t ms, int64_t order_id, bool only_new)
{
    place->state = RELEASING;
    place->waiting = 0;
    for (unsigned i = 0; i < place->line_count; i++) {
        struct place_line *line = &place->lines[i];
        if (line->state != LINE_HELD && (only_new || line->state != LINE_KNOWN))
            continue;
        place->waiting++;
        flow_call(&place->flow, resolve_call(&place->flow, line->product_id, place->txn, verdict, ms, order_id), TAG_PLACE, (int)i);
    }
    if (place->waiting == 0)
        released(place);
}

static void release_lines(struct place *place, enum place_next next)
{
    place->next = next;
    resolve_lines(place, VERDICT_ABORTED, -1, 0, false);
}

/*
 * The key is decided: order ${id}, placed by attempt ${n}. Holds of another attempt are released. A hold of the very attempt that was newly taken
 * now, although the order has ended, was taken by this late repeat; it is resolved as the order says, and the hold's age tells the shard that it is
 * not the order's.
 */
static void replay(struct place *place, int64_t id, int64_t n, enum verdict verdict, int64_t age_ms)
{
    place->order_id = id;
    if (place->flow.answer)
        answer_drop(&place->flow);
    if (n != place->attempt) {
        release_lines(place, NEXT_REPLAY);
        return;
    }
    place->next = NEXT_REPLAY;
    if (verdict == VERDICT_FULFILLED || verdict == VERDICT_CANCELLED || verdict == VERDICT_EXPIRED)
        resolve_lines(place, verdict, age_ms, id, true);
    else
        read_back(place);
}

/* The decision's outcomes that PLACE and REFUSE share. */
static void got_decided(struct place *place, const struct reply *reply)
{
    if (place->flow.answer && reply->code != CODE_REPLAY)
        answer_drop(&place->flow);
    switch (reply->code) {
    case CODE_REPLAY:
        replay(place, reply_int(reply, 0), reply_int(reply, 1), verdict_of(reply_text(reply, 2)), reply_int(reply, 3));
        break;
    case CODE_REFUSED:
        place->stored_status = (int)reply_int(reply, 0);
        place->stored_body = arena_copy(place->flow.arena, reply_text(reply, 1));
        release_lines(place, NEXT_STORED);
        break;
    case CODE_ABORTED:
        place->next_attempt = reply_int(reply, 0) + 1;
        release_lines(place, NEXT_AGAIN);
        break;
    case CODE_KEY_REUSED:
        release_lines(place, NEXT_KEY_REUSED);
        break;
    default:
        end_broken(place);
    }
}

static void answer_placed(struct place *place, const struct reply *reply)
{
    struct order order = {
        .id = reply_int(reply, 0),
        .version = 1,
        .user = place->body->user,
        .total = place->total,
        .currency = place->currency,
        .state = VIEW("reserved"),
        .payment_status = VIEW("none"),
        .created_ms = reply_int(reply, 1),
        .updated_ms = reply_int(reply, 1),
        .expires_ms = reply_int(reply, 2),
        .doc = place->doc,
    };
    order_answer(&place->flow, 201, &order, false);
    flow_end(&place->flow);
}

/* A lost PLACE or REFUSE: an answer that was begun is taken back, and the client is told that we do not know. */
static void decision_failed(struct place *place, const struct reply *reply)
{
    if (place->flow.answer)
        answer_drop(&place->flow);
    end_failed(place, reply);
}

static void got_place(struct place *place, const struct reply *reply)
{
    if (reply->kind == REPLY_OK)
        answer_placed(place, reply);
    else if (reply->kind == REPLY_REFUSED)
        got_decided(place, reply);
    else
        decision_failed(place, reply);
}

static void got_refuse(struct place *place, const struct reply *reply)
{
    if (reply->kind == REPLY_OK)
        release_lines(place, NEXT_REFUSED);
    else if (reply->kind == REPLY_REFUSED)
        got_decided(place, reply);
    else
        decision_failed(place, reply);
}

static void got_settle(struct place *place, const struct reply *reply)
{
    if (reply->kind == REPLY_NOT_SENT || reply->kind == REPLY_UNKNOWN) {
        end_failed(place, reply);
        return;
    }
    struct settled settled = settled_from(reply, 0);
    if (reply->kind == REPLY_REFUSED || settled.verdict == VERDICT_BROKEN) {
        end_broken(place);
    } else if (settled.verdict != VERDICT_ABORTED) {
        replay(place, settled.order_id, place->attempt, settled.verdict, settled.ms);
    } else {
        place->next_attempt = (settled.ms > place->attempt ? settled.ms : place->attempt) + 1;
        release_lines(place, settled.decided ? NEXT_LOOK_UP : NEXT_AGAIN);
    }
}

static void got_decision(struct place *place, const struct reply *reply)
{
    if (reply->kind != REPLY_OK) { /* the key is decided: that it cannot be read is not "nothing was done" */
        end_failed(place, &(struct reply){.kind = REPLY_UNKNOWN, .why = reply->why});
        return;
    }
    struct view decision = item_text(item_at(reply->root, 1));
    bool open = decision.len == 0 || view_equal(decision, VIEW("aborted"));
    place->waiting = 0;
    if (!open && !view_equal(item_text(item_at(reply->root, 0)), view_of(place->key.fingerprint))) {
        place->next = NEXT_KEY_REUSED;
    } else if (view_equal(decision, VIEW("placed"))) {
        place->order_id = item_int(item_at(reply->root, 2));
        place->next = NEXT_REPLAY;
    } else if (view_equal(decision, VIEW("refused"))) {
        place->stored_status = (int)item_int(item_at(reply->root, 3));
        place->stored_body = arena_copy(place->flow.arena, item_text(item_at(reply->root, 4)));
        place->next = NEXT_STORED;
    } else {
        place->next = NEXT_AGAIN;
    }
    released(place);
}

static void got_release(struct place *place)
{
    if (--place->waiting == 0)
        released(place);
}

static void got_order(struct place *place, const struct call *call, const struct reply *reply)
{
    enum order_at_step step = order_at_got(&place->flow, &place->at, call, reply);
    if (step == AT_WHOLE)
        order_answer(&place->flow, 201, &place->at.order, true);
    if (step != AT_WAITING)
        flow_end(&place->flow);
}

static void place_got_reply(struct flow *flow, struct call *call, const struct reply *reply)
{
    struct place *place = (struct place *)flow;
    switch (place->state) {
    case TRYING:
        got_try(place, call->index, reply);
        break;
    case PLACING:
        got_place(place, reply);
        break;
    case REFUSING:
        got_refuse(place, reply);
        break;
    case SETTLING:
        got_settle(place, reply);
        break;
    case RELEASING:
        got_release(place);
        break;
    case LOOKING_UP:
        got_decision(place, reply);
        break;
    case READING:
        got_order(place, call, reply);
        break;
    }
}

const struct flow_type PLACE_FLOW = {
    .name = "place order", .size = sizeof(struct place), .start = place_start, .got_reply = place_got_reply, .got_child = place_got_child};
