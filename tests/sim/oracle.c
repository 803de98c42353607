#include <stdio.h>
#include <stdlib.h>

#include "check.h"
#include "money.h"

#include "records.h"
#include "txn.h"

#include "oracle.h"

enum phase { PHASE_HELD, PHASE_COMMITTED, PHASE_CONSUMED, PHASE_RELEASED, PHASE_RESTOCKED, PHASE_BROKEN };

struct hold {
    int64_t product, quantity;
    struct view txn;
    enum phase phase;
    bool claimed;
};
struct order_seen {
    int64_t id, v, total, events;
    struct view state, payment_status, txn, user, doc;
    int64_t taken; /* by the gateway, and not given back */
};
struct payment_seen {
    int64_t id, order_id, captured, refunded, taken, given;
    struct view status;
    bool authorized, closed; /* at the gateway: stands, and is not captured or voided */
};
struct counters_seen {
    int64_t id, on_hand, held, committed;
};
/* A product of the catalogue; those that were imported are named by their key and line. */
struct product_seen {
    int64_t id;
    struct view doc, name;
};

/* All that was found in the shards. */
struct seen {
    const struct shop *shop;
    struct arena *arena;
    struct hold *holds;
    struct order_seen *orders;
    struct payment_seen *payments;
    struct counters_seen *products;
    struct product_seen *catalogue;
    size_t hold_count, order_count, payment_count, product_count, catalogue_count;
};

#define WRONG(seen, ...) fleet_complain((seen)->shop->fleet, __VA_ARGS__)

/* ---- reading the keys ---- */

struct reader_of {
    struct keyspace_visitor visitor; /* first */
    struct seen *seen;
    enum { AT_NONE, AT_ORDER, AT_PAYMENT, AT_STOCK, AT_PRODUCT, AT_EVENTS } at;
    int64_t id;
    void *record;
};

static int64_t number_of(struct view text)
{
    char copied[32];
    snprintf(copied, sizeof(copied), "%.*s", VIEW_ARG(text));
    return strtoll(copied, NULL, 10);
}

static bool begins(struct view text, const char *with)
{
    return text.len > strlen(with) && memcmp(text.at, with, strlen(with)) == 0;
}

static void *grow(void *array, size_t count, size_t size)
{
    if (count & (count - 1))
        return array;
    array = realloc(array, (count ? count * 2 : 1) * size);
    CHECK(array);
    return array;
}

/* The record of a key like order:{3}:17, made anew. */
static void got_key(struct keyspace_visitor *visitor, struct view name, enum key_kind kind, int64_t expires_ms)
{
    struct reader_of *reader = (struct reader_of *)visitor;
    struct seen *seen = reader->seen;
    const char *end = memrchr(name.at, ':', name.len);
    reader->at = AT_NONE;
    reader->id = end ? number_of((struct view){end + 1, (size_t)(name.at + name.len - end) - 1}) : 0;
    if (begins(name, "order:")) {
        reader->at = AT_ORDER;
        seen->orders = grow(seen->orders, seen->order_count, sizeof(*seen->orders));
        seen->orders[seen->order_count++] = (struct order_seen){.id = reader->id};
    } else if (begins(name, "payment:")) {
        reader->at = AT_PAYMENT;
        seen->payments = grow(seen->payments, seen->payment_count, sizeof(*seen->payments));
        seen->payments[seen->payment_count++] = (struct payment_seen){.id = reader->id};
    } else if (begins(name, "stock:")) {
        reader->at = AT_STOCK;
        seen->products = grow(seen->products, seen->product_count, sizeof(*seen->products));
        seen->products[seen->product_count++] = (struct counters_seen){.id = reader->id};
    } else if (begins(name, "product:")) {
        reader->at = AT_PRODUCT;
        seen->catalogue = grow(seen->catalogue, seen->catalogue_count, sizeof(*seen->catalogue));
        seen->catalogue[seen->catalogue_count++] = (struct product_seen){.id = reader->id};
    }
}

static enum phase phase_of(struct view text)
{
    static const char *const names[] = {"held", "committed", "consumed", "released", "restocked"};
    for (int phase = PHASE_HELD; phase < PHASE_BROKEN; phase++)
        if (view_equal(text, view_of(names[phase])))
            return (enum phase)phase;
    return PHASE_BROKEN;
}

/* Is this field of a stock a transaction's name, HASH.FP.attempt? The others are its counters. */
static bool is_hold(struct view name)
{
    return memchr(name.at, '.', name.len) != NULL;
}

static void got_hold(struct seen *seen, int64_t product, struct view txn, struct view text)
{
    struct view parts[5];
    CHECK(split_bars(text, parts, 5) == 5);
    seen->holds = grow(seen->holds, seen->hold_count, sizeof(*seen->holds));
    seen->holds[seen->hold_count++] = (struct hold){product, number_of(parts[1]), txn, phase_of(parts[0]), false};
}

static void got_order_field(struct order_seen *order, struct view name, struct view value)
{
    if (view_equal(name, VIEW("state")))
        order->state = value;
    else if (view_equal(name, VIEW("payment_status")))
        order->payment_status = value;
    else if (view_equal(name, VIEW("t")))
        order->txn = value;
    else if (view_equal(name, VIEW("user")))
        order->user = value;
    else if (view_equal(name, VIEW("doc")))
        order->doc = value;
    else if (view_equal(name, VIEW("v")))
        order->v = number_of(value);
    else if (view_equal(name, VIEW("total")))
        order->total = number_of(value);
}

static void got_payment_field(struct payment_seen *payment, struct view name, struct view value)
{
    if (view_equal(name, VIEW("status")))
        payment->status = value;
    else if (view_equal(name, VIEW("order_id")))
        payment->order_id = number_of(value);
    else if (view_equal(name, VIEW("captured")))
        payment->captured = number_of(value);
    else if (view_equal(name, VIEW("refunded")))
        payment->refunded = number_of(value);
}

static void got_counter(struct counters_seen *counters, struct view name, struct view value)
{
    if (view_equal(name, VIEW("on_hand")))
        counters->on_hand = number_of(value);
    else if (view_equal(name, VIEW("held")))
        counters->held = number_of(value);
    else if (view_equal(name, VIEW("committed")))
        counters->committed = number_of(value);
}

static void got_item(struct keyspace_visitor *visitor, struct view name, struct view value)
{
    struct reader_of *reader = (struct reader_of *)visitor;
    struct seen *seen = reader->seen;
    if (reader->at == AT_ORDER)
        got_order_field(&seen->orders[seen->order_count - 1], name, value);
    else if (reader->at == AT_PAYMENT)
        got_payment_field(&seen->payments[seen->payment_count - 1], name, value);
    else if (reader->at == AT_STOCK && is_hold(name))
        got_hold(seen, reader->id, name, value);
    else if (reader->at == AT_STOCK)
        got_counter(&seen->products[seen->product_count - 1], name, value);
    else if (reader->at == AT_PRODUCT && view_equal(name, VIEW("doc")))
        seen->catalogue[seen->catalogue_count - 1].doc = value;
}

static void look(struct seen *seen, const struct shop *shop)
{
    *seen = (struct seen){.shop = shop, .arena = arena_new()};
    for (unsigned i = 0; i < fleet_topology(shop->fleet)->shard_count; i++) {
        struct reader_of reader = {.visitor = {got_key, got_item}, .seen = seen};
        keyspace_visit(shard_sim_keyspace(fleet_shard(shop->fleet, i)), &reader.visitor);
    }
}

static void seen_free(struct seen *seen)
{
    free(seen->holds);
    free(seen->orders);
    free(seen->payments);
    free(seen->products);
    free(seen->catalogue);
    arena_free(seen->arena);
}

static struct order_seen *order_at(const struct seen *seen, int64_t id)
{
    for (size_t i = 0; i < seen->order_count; i++)
        if (seen->orders[i].id == id)
            return &seen->orders[i];
    return NULL;
}

static struct payment_seen *payment_at(const struct seen *seen, int64_t id)
{
    for (size_t i = 0; i < seen->payment_count; i++)
        if (seen->payments[i].id == id)
            return &seen->payments[i];
    return NULL;
}

static bool is(struct view text, const char *word)
{
    return view_equal(text, view_of(word));
}

/* ---- units ---- */

/*
 * Where the units of an order in this state must be. Once marks are pruned a late repeat of the request finds none and holds anew; that is released
 * (fence 6), and leaves a mark of its own.
 */
static bool phase_fits(struct view state, enum phase phase, bool leapt)
{
    if (is(state, "reserved"))
        return phase == PHASE_HELD;
    if (is(state, "paid"))
        return phase == PHASE_COMMITTED;
    if (is(state, "fulfilled"))
        return phase == PHASE_CONSUMED || (leapt && phase == PHASE_RELEASED);
    return phase == PHASE_RELEASED || phase == PHASE_RESTOCKED;
}

static struct hold *hold_of(const struct seen *seen, int64_t product, struct view txn)
{
    for (size_t i = 0; i < seen->hold_count; i++)
        if (seen->holds[i].product == product && view_equal(seen->holds[i].txn, txn))
            return &seen->holds[i];
    return NULL;
}

static void check_lines(struct seen *seen, const struct order_seen *order, int64_t taken[PRODUCTS_MAX])
{
    struct order_doc doc;
    if (!record_load(&ORDER_DOC, seen->arena, order->doc, &doc)) {
        WRONG(seen, "order %lld: its document cannot be read", (long long)order->id);
        return;
    }
    const struct order_line *lines = doc.lines.at;
    bool lives = is(order->state, "reserved") || is(order->state, "paid");
    for (size_t i = 0; i < doc.lines.count; i++) {
        struct hold *hold = hold_of(seen, lines[i].product_id, order->txn);
        for (unsigned n = 0; n < seen->shop->product_count; n++)
            taken[n] += seen->shop->product_ids[n] == lines[i].product_id && is(order->state, "fulfilled") ? lines[i].quantity : 0;
        if (hold)
            hold->claimed = true;
        if (hold == NULL ? lives : !phase_fits(order->state, hold->phase, seen->shop->leapt)) /* the marks of an order that ended are pruned */
            WRONG(seen, "order %lld is %.*s, and its units of product %lld are in phase %d", (long long)order->id, VIEW_ARG(order->state),
                  (long long)lines[i].product_id, hold ? (int)hold->phase : -1);
        if (hold && hold->phase != PHASE_RELEASED && hold->quantity != lines[i].quantity)
            WRONG(seen, "order %lld holds %lld of product %lld instead of %lld", (long long)order->id, (long long)hold->quantity,
                  (long long)lines[i].product_id, (long long)lines[i].quantity);
    }
}

static int64_t adjusted(const struct shop *shop, int64_t product)
{
    int64_t sum = 0;
    for (unsigned i = 0; i < shop->shopper_count; i++) {
        const struct deed *deed = &shop->shoppers[i].deeds[0];
        if (deed->type == DEED_ADJUST && deed->id == product && deed->status > 0 && deed->status < 300)
            sum += deed->amount;
    }
    return sum;
}

static void check_product(struct seen *seen, const struct counters_seen *product, const int64_t taken[PRODUCTS_MAX])
{
    const struct shop *shop = seen->shop;
    int64_t held = 0, committed = 0, want = IMPORTED_UNITS;
    for (size_t i = 0; i < seen->hold_count; i++) {
        const struct hold *hold = &seen->holds[i];
        held += hold->product == product->id && hold->phase == PHASE_HELD ? hold->quantity : 0;
        committed += hold->product == product->id && hold->phase == PHASE_COMMITTED ? hold->quantity : 0;
    }
    for (unsigned n = 0; n < shop->product_count; n++)
        if (shop->product_ids[n] == product->id)
            want = shop->stock[n] + adjusted(shop, product->id) - taken[n];
    if (product->on_hand != want)
        WRONG(seen, "product %lld has %lld units on hand instead of %lld", (long long)product->id, (long long)product->on_hand, (long long)want);
    if (product->held != held || product->committed != committed || held + committed > product->on_hand)
        WRONG(seen, "product %lld: on hand %lld, held %lld (holds: %lld), committed %lld (holds: %lld)", (long long)product->id,
              (long long)product->on_hand, (long long)product->held, (long long)held, (long long)product->committed, (long long)committed);
}

static void check_units(struct seen *seen)
{
    int64_t taken[PRODUCTS_MAX] = {0};
    for (size_t i = 0; i < seen->order_count; i++)
        check_lines(seen, &seen->orders[i], taken);
    for (size_t i = 0; i < seen->hold_count; i++)
        if (!seen->holds[i].claimed && seen->holds[i].phase <= PHASE_CONSUMED)
            WRONG(seen, "product %lld: %lld units are in phase %d for %.*s, which is no order's", (long long)seen->holds[i].product,
                  (long long)seen->holds[i].quantity, (int)seen->holds[i].phase, VIEW_ARG(seen->holds[i].txn));
    for (size_t i = 0; i < seen->product_count; i++)
        check_product(seen, &seen->products[i], taken);
}

/* ---- imports ---- */

static void read_names(struct seen *seen)
{
    for (size_t i = 0; i < seen->catalogue_count; i++) {
        struct product_doc doc;
        if (record_load(&PRODUCT_DOC, seen->arena, seen->catalogue[i].doc, &doc))
            seen->catalogue[i].name = doc.name;
        else
            WRONG(seen, "product %lld: its document cannot be read", (long long)seen->catalogue[i].id);
    }
}

static size_t named(const struct seen *seen, const char *name)
{
    size_t count = 0;
    for (size_t i = 0; i < seen->catalogue_count; i++)
        count += is(seen->catalogue[i].name, name);
    return count;
}

/* Returns how many of its lines should be there. */
static size_t check_import(const struct seen *seen, const struct deed *deed)
{
    size_t each = deed->status == 200;
    for (int64_t line = 0; line < deed->amount; line++) {
        char name[64];
        snprintf(name, sizeof(name), "%s.%lld", deed->key, (long long)line);
        if (named(seen, name) != each)
            WRONG(seen, "key %s was told %d, and line %lld of it is in the catalogue %zu times", deed->key, deed->status, (long long)line,
                  named(seen, name));
    }
    return each * (size_t)deed->amount;
}

static void check_imports(struct seen *seen)
{
    size_t want = seen->shop->product_count;
    read_names(seen);
    for (unsigned i = 0; i < seen->shop->shopper_count; i++) {
        const struct shopper *shopper = &seen->shop->shoppers[i];
        if (shopper->deed_count && shopper->deeds[0].type == DEED_IMPORT)
            want += check_import(seen, &shopper->deeds[0]);
    }
    if (seen->catalogue_count != want || seen->product_count != want)
        WRONG(seen, "there are %zu products with %zu stocks, and should be %zu", seen->catalogue_count, seen->product_count, want);
}

/* ---- money ---- */

/* souk-<payment id>-charge:1 */
static void read_entry(struct seen *seen, const struct entry *entry)
{
    int64_t id = begins(entry->wish.key, "souk-") ? number_of((struct view){entry->wish.key.at + 5, entry->wish.key.len - 5}) : 0;
    struct payment_seen *payment = payment_at(seen, id);
    if (payment == NULL) {
        WRONG(seen, "the gateway was asked with the key %.*s, which is no payment's", VIEW_ARG(entry->wish.key));
        return;
    }
    if (entry->failure.len > 0)
        return;
    switch (entry->wish.op) {
    case BOOK_CHARGE:
    case BOOK_CAPTURE:
        payment->taken += entry->wish.amount;
        payment->closed = true;
        break;
    case BOOK_AUTHORIZE:
        payment->authorized = true;
        break;
    case BOOK_VOID:
        payment->closed = true;
        break;
    case BOOK_REFUND:
        payment->given += entry->wish.amount;
        break;
    case BOOK_CLOSE:
        break;
    }
}

static void check_payment(struct seen *seen, const struct payment_seen *payment)
{
    struct order_seen *order = order_at(seen, payment->order_id);
    if (order == NULL) {
        WRONG(seen, "payment %lld is of an order that is not there", (long long)payment->id);
        return;
    }
    order->taken += payment->taken - payment->given;
    if (payment->taken != payment->captured || payment->given != payment->refunded)
        WRONG(seen, "payment %lld says captured %lld and refunded %lld, the gateway's book says %lld and %lld", (long long)payment->id,
              (long long)payment->captured, (long long)payment->refunded, (long long)payment->taken, (long long)payment->given);
    if (payment->authorized && !payment->closed)
        WRONG(seen, "payment %lld is authorized at the gateway and neither captured nor voided; its status is %.*s", (long long)payment->id,
              VIEW_ARG(payment->status));
    if (is(payment->status, "processing") || is(payment->status, "unknown"))
        WRONG(seen, "payment %lld is still %.*s", (long long)payment->id, VIEW_ARG(payment->status));
}

static int64_t refunded_of(const struct seen *seen, int64_t order_id)
{
    int64_t sum = 0;
    for (size_t i = 0; i < seen->payment_count; i++)
        sum += seen->payments[i].order_id == order_id ? seen->payments[i].refunded : 0;
    return sum;
}

static void check_money(struct seen *seen)
{
    for (const struct entry *entry = book_first(fleet_book(seen->shop->fleet)); entry; entry = entry->next)
        read_entry(seen, entry);
    for (size_t i = 0; i < seen->payment_count; i++)
        check_payment(seen, &seen->payments[i]);
    for (size_t i = 0; i < seen->order_count; i++) {
        const struct order_seen *order = &seen->orders[i];
        bool kept = is(order->state, "paid") || is(order->state, "fulfilled");
        int64_t want = kept ? order->total - refunded_of(seen, order->id) : 0;
        if (order->taken != want)
            WRONG(seen, "order %lld is %.*s with a total of %lld, and the shop has %lld of its buyer", (long long)order->id, VIEW_ARG(order->state),
                  (long long)order->total, (long long)order->taken);
        if (is(order->payment_status, "refund_due") || is(order->payment_status, "pending"))
            WRONG(seen, "order %lld is still %.*s", (long long)order->id, VIEW_ARG(order->payment_status));
    }
}

/* ---- what clients were told ---- */

static size_t orders_of(const struct seen *seen, unsigned shopper, int64_t *id)
{
    char user[32];
    size_t count = 0;
    snprintf(user, sizeof(user), "user-%u", shopper);
    for (size_t i = 0; i < seen->order_count; i++) {
        if (!is(seen->orders[i].user, user))
            continue;
        *id = seen->orders[i].id;
        count++;
    }
    return count;
}

static void check_place(const struct seen *seen, const struct deed *deed)
{
    int64_t id = 0;
    size_t count = orders_of(seen, deed->shopper->number, &id);
    if (count != (deed->status == 201 ? 1 : 0))
        WRONG(seen, "key %s was told %d, and there are %zu orders", deed->key, deed->status, count);
    else if (count && id != deed->made_id)
        WRONG(seen, "key %s was told order %lld, and there is %lld", deed->key, (long long)deed->made_id, (long long)id);
}

static bool holds_still(const struct seen *seen, const struct deed *deed)
{
    bool of_order = deed->type == DEED_CANCEL || deed->type == DEED_FULFIL;
    const struct order_seen *order = of_order ? order_at(seen, deed->id) : NULL;
    const struct payment_seen *payment = of_order ? NULL : payment_at(seen, deed->type == DEED_PAY ? deed->made_id : deed->id);
    switch (deed->type) {
    case DEED_CANCEL:
        return order && is(order->state, "cancelled");
    case DEED_FULFIL:
        return order && is(order->state, "fulfilled");
    case DEED_PAY: /* automatic: money was taken; manual: it was authorized, which may have ended either way; 202: unknown then */
        return payment && (deed->status != 201 || strstr(deed->json, "manual") || payment->captured > 0);
    case DEED_CAPTURE:
        return payment && (deed->status != 200 || payment->captured > 0);
    case DEED_VOID:
        return payment && (deed->status != 200 || (payment->captured == 0 && payment->closed));
    case DEED_REFUND:
        return payment && (deed->status != 201 || payment->refunded >= (deed->amount ? deed->amount : payment->captured));
    default:
        return true;
    }
}

static bool paid_for(const struct seen *seen, int64_t order_id)
{
    for (size_t i = 0; i < seen->payment_count; i++)
        if (seen->payments[i].order_id == order_id)
            return true;
    return false;
}

/* What was refused has not happened. A shopper asks for each thing once, so what is there must be this key's. */
static bool stayed_refused(const struct seen *seen, const struct deed *deed)
{
    const struct order_seen *order = order_at(seen, deed->shopper->order_id);
    const struct payment_seen *payment = payment_at(seen, deed->id);
    switch (deed->type) {
    case DEED_CANCEL:
        return order == NULL || !is(order->state, "cancelled");
    case DEED_FULFIL:
        return order == NULL || !is(order->state, "fulfilled");
    case DEED_PAY:
        return !paid_for(seen, deed->shopper->order_id);
    case DEED_CAPTURE:
        return payment == NULL || payment->captured == 0;
    case DEED_REFUND: /* an order that ended is refunded by itself */
        return payment == NULL || payment->refunded == 0 || order == NULL || is(order->state, "cancelled") || is(order->state, "expired");
    default:
        return true; /* VOID may be done by the order's end; what ADJUST did is in the units */
    }
}

static void check_deeds(const struct seen *seen)
{
    for (unsigned i = 0; i < seen->shop->shopper_count; i++)
        for (unsigned n = 0; n < seen->shop->shoppers[i].deed_count; n++) {
            const struct deed *deed = &seen->shop->shoppers[i].deeds[n];
            if (deed->status == 0)
                WRONG(seen, "key %s was never decided", deed->key);
            else if (deed->type == DEED_PLACE)
                check_place(seen, deed);
            else if (deed->status < 300 && !holds_still(seen, deed))
                WRONG(seen, "key %s was told %d, and that is not so: %s", deed->key, deed->status, deed->json);
            else if (deed->status >= 400 && deed->status != 402 && !stayed_refused(seen, deed))
                WRONG(seen, "key %s was told %d, and it was done: %s", deed->key, deed->status, deed->json);
        }
}

/* ---- events ---- */

static void got_event(struct keyspace_visitor *visitor, struct view id, struct view text)
{
    struct reader_of *reader = (struct reader_of *)visitor;
    struct view parts[9]; /* "e", then events.add's arguments */
    if (reader->at != AT_EVENTS || split_bars(text, parts, 9) < 8)
        return;
    struct order_seen *order = order_at(reader->seen, number_of(parts[1]));
    if (order == NULL)
        WRONG(reader->seen, "there is an event of order %.*s, which is not there", VIEW_ARG(parts[1]));
    else if (number_of(parts[3]) != ++order->events)
        WRONG(reader->seen, "order %lld: the event of version %.*s stands where that of %lld should", (long long)order->id, VIEW_ARG(parts[3]),
              (long long)order->events);
    else if (order->events == order->v && !view_equal(parts[5], order->state))
        WRONG(reader->seen, "order %lld: its last event says %.*s, it is %.*s", (long long)order->id, VIEW_ARG(parts[5]), VIEW_ARG(order->state));
}

static void got_event_key(struct keyspace_visitor *visitor, struct view name, enum key_kind kind, int64_t expires_ms)
{
    ((struct reader_of *)visitor)->at = begins(name, "events:") ? AT_EVENTS : AT_NONE;
}

static void check_events(struct seen *seen, const struct subscriber *subscriber)
{
    for (unsigned i = 0; i < fleet_topology(seen->shop->fleet)->shard_count; i++) {
        struct reader_of reader = {.visitor = {got_event_key, got_event}, .seen = seen};
        keyspace_visit(shard_sim_keyspace(fleet_shard(seen->shop->fleet, i)), &reader.visitor);
    }
    for (size_t i = 0; i < seen->order_count; i++) {
        const struct order_seen *order = &seen->orders[i];
        if (order->events != order->v)
            WRONG(seen, "order %lld has %lld versions and %lld events", (long long)order->id, (long long)order->v, (long long)order->events);
        if (subscriber_told(subscriber, order->id) != order->v)
            WRONG(seen, "order %lld has %lld versions, and the feed told of %lld", (long long)order->id, (long long)order->v,
                  (long long)subscriber_told(subscriber, order->id));
    }
}

void oracle_check(const struct shop *shop, const struct subscriber *subscriber)
{
    struct seen seen;
    look(&seen, shop);
    check_units(&seen);
    check_imports(&seen);
    check_money(&seen);
    check_deeds(&seen);
    check_events(&seen, subscriber);
    seen_free(&seen);
}

/* ---- at rest? ---- */

struct rest {
    struct keyspace_visitor visitor; /* first */
    bool stock, busy;
};

static void rest_key(struct keyspace_visitor *visitor, struct view name, enum key_kind kind, int64_t expires_ms)
{
    struct rest *rest = (struct rest *)visitor;
    rest->stock = begins(name, "stock:");
    rest->busy |= begins(name, "txn:"); /* a sorted set that is empty is not there */
}

static void rest_item(struct keyspace_visitor *visitor, struct view name, struct view value)
{
    struct rest *rest = (struct rest *)visitor;
    rest->busy |= rest->stock && begins(value, "held|");
}

bool oracle_quiet(const struct shop *shop)
{
    struct rest rest = {.visitor = {rest_key, rest_item}};
    if (!shop_done(shop))
        return false;
    for (unsigned i = 0; i < fleet_topology(shop->fleet)->shard_count && !rest.busy; i++)
        keyspace_visit(shard_sim_keyspace(fleet_shard(shop->fleet, i)), &rest.visitor);
    return !rest.busy;
}
