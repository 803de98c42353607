#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "functions.h"
#include "records.h"
#include "txn.h"

#include "shop_model.h"

#define MARK_KEPT_MS 600000
#define HOLD_UNASKED_MS 9000
#define KEEP_MS_MAX INT64_C(1000000000000)
#define LATER_THAN_ORDER_MS 300000
#define DUE_AGAIN_MS 5000
#define VIEWS_MAX 8
#define WORDS_MAX 8192

/* An answer in the driver's words. */
struct said {
    char words[WORDS_MAX];
    struct view views[VIEWS_MAX];
    size_t count, len;
};

static void say(struct said *said, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void say(struct said *said, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    said->len += (size_t)vsnprintf(said->words + said->len, WORDS_MAX - said->len, format, args);
    va_end(args);
    assert_true(said->len < WORDS_MAX);
}

/* One more item that may hold anything. */
static void say_view(struct said *said, struct view view)
{
    assert_true(said->count < VIEWS_MAX);
    said->views[said->count++] = view;
    say(said, " %%");
}

static void wrong(struct model *model, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void wrong(struct model *model, const char *format, ...)
{
    va_list args;
    if (model->wrong[0] || model->damaged)
        return;
    va_start(args, format);
    vsnprintf(model->wrong, sizeof(model->wrong), format, args);
    va_end(args);
}

/* ---- looking things up ---- */

static const char *const PHASES[] = {"", "held", "committed", "released", "restocked", "consumed"};

static bool live(enum phase phase)
{
    return phase == PHASE_HELD || phase == PHASE_COMMITTED;
}

static const char *text_part(struct model *model, const struct call *call, unsigned n)
{
    struct view part = call_part(call, n);
    return part.at ? arena_copy(model->arena, part).at : "";
}

static int64_t int_part(struct model *model, const struct call *call, unsigned n)
{
    return strtoll(text_part(model, call, n), NULL, 10);
}

struct model_product *model_product_at(struct model *model, int64_t id)
{
    for (size_t i = 0; i < model->product_count; i++)
        if (model->products[i].id == id)
            return &model->products[i];
    return NULL;
}

struct model_hold *model_hold_of(struct model *model, int64_t product, const char *txn)
{
    for (size_t i = 0; i < model->hold_count; i++)
        if (model->holds[i].phase && model->holds[i].product == product && strcmp(model->holds[i].txn, txn) == 0)
            return &model->holds[i];
    return NULL;
}

struct model_order *model_order_at(struct model *model, int64_t id)
{
    for (size_t i = 0; i < model->order_count; i++)
        if (model->orders[i].id == id)
            return &model->orders[i];
    return NULL;
}

static struct model_order *order_of_txn(struct model *model, const char *txn)
{
    for (size_t i = 0; i < model->order_count; i++)
        if (strcmp(model->orders[i].txn, txn) == 0)
            return &model->orders[i];
    return NULL;
}

static bool order_is(const struct model_order *order, const char *state)
{
    return strcmp(order->state, state) == 0;
}

static struct model_key *key_at(struct model *model, const char *name)
{
    for (size_t i = 0; i < model->key_count; i++)
        if (strcmp(model->keys[i].name, name) == 0)
            return &model->keys[i];
    assert_true(model->key_count < MODEL_KEYS);
    struct model_key *key = &model->keys[model->key_count++];
    snprintf(key->name, sizeof(key->name), "%s", name);
    return key;
}

static bool decided(const struct model_key *key)
{
    return key->decision[0] && strcmp(key->decision, "aborted") != 0;
}

static int64_t aborted_upto(const struct model_key *key, const char *fp)
{
    for (size_t i = 0; i < MODEL_ATTEMPTS; i++)
        if (strcmp(key->aborted[i].fp, fp) == 0)
            return key->aborted[i].attempt;
    return 0;
}

static void abort_upto(struct model_key *key, const char *fp, int64_t attempt)
{
    size_t i = 0;
    while (key->aborted[i].fp[0] && strcmp(key->aborted[i].fp, fp) != 0)
        assert_true(++i < MODEL_ATTEMPTS);
    snprintf(key->aborted[i].fp, sizeof(key->aborted[i].fp), "%s", fp);
    key->aborted[i].attempt = attempt;
    snprintf(key->decision, sizeof(key->decision), "aborted");
}

/* ---- stock ---- */

static void add_units(struct model_product *product, enum phase phase, int64_t quantity)
{
    product->held += phase == PHASE_HELD ? quantity : 0;
    product->committed += phase == PHASE_COMMITTED ? quantity : 0;
    product->on_hand -= phase == PHASE_CONSUMED ? quantity : 0;
}

static void ask_at(struct model_product *product, int64_t when)
{
    if (product->ask == 0 || when < product->ask)
        product->ask = when;
}

static void hold_move(struct model *model, struct model_hold *hold, enum phase to)
{
    struct model_product *product = model_product_at(model, hold->product);
    add_units(product, hold->phase, -hold->quantity);
    add_units(product, to, hold->quantity);
    hold->phase = to;
    hold->when = live(to) ? 0 : model->now;
    if (!live(to))
        ask_at(product, model->now + MARK_KEPT_MS);
}

static void hold_add(struct model *model, enum phase phase, int64_t product, const char *txn, int64_t quantity, int64_t order_partition, int64_t when)
{
    assert_true(model->hold_count < MODEL_HOLDS);
    struct model_hold *hold = &model->holds[model->hold_count++];
    *hold = (struct model_hold){
        .phase = phase, .product = product, .quantity = quantity, .order_partition = order_partition, .when = when, .since = model->now};
    snprintf(hold->txn, sizeof(hold->txn), "%s", txn);
}

static struct view product_document(struct model *model, const struct model_product *product)
{
    struct product_doc doc = {.schema = SCHEMA,
                              .price = product->price,
                              .name = arena_printf(model->arena, "Product %lld", (long long)product->id),
                              .currency = view_of(product->currency)};
    return record_store(&PRODUCT_DOC, model->arena, &doc);
}

static void act_try(struct model *model, const struct call *call, struct said *said)
{
    const char *txn = text_part(model, call, 3);
    int64_t id = int_part(model, call, 2), quantity = int_part(model, call, 4);
    struct model_product *product = model_product_at(model, id);
    const struct model_hold *hold = model_hold_of(model, id, txn);
    if (hold && !live(hold->phase)) {
        say(said, "%d %s", CODE_GONE, PHASES[hold->phase]);
    } else if (hold) {
        say(said, "%d '%lld'", CODE_ALREADY, (long long)product->version);
        say_view(said, product_document(model, product));
        say(said, " %s", PHASES[hold->phase]);
    } else if (product == NULL) {
        say(said, "%d", CODE_NOT_FOUND);
    } else if (product->on_hand - product->held - product->committed < quantity) {
        say(said, "%d %lld", product->ask && product->ask <= model->now ? CODE_ASK : CODE_SHORT,
            (long long)(product->on_hand - product->held - product->committed));
    } else {
        int64_t when = model->now + int_part(model, call, 6);
        hold_add(model, PHASE_HELD, id, txn, quantity, int_part(model, call, 5), when);
        add_units(product, PHASE_HELD, quantity);
        ask_at(product, when);
        say(said, "0 %lld '%lld'", (long long)(product->on_hand - product->held - product->committed), (long long)product->version);
        say_view(said, product_document(model, product));
    }
}

static bool is_stray(const struct model *model, const struct model_hold *hold, int64_t age)
{
    return age >= 0 && model->now - hold->since + LATER_THAN_ORDER_MS < age;
}

/* confirm, consume, release. */
static void act_resolve(struct model *model, const struct call *call, struct said *said)
{
    const char *txn = text_part(model, call, 3);
    int64_t id = int_part(model, call, 2), ms = int_part(model, call, 4);
    struct model_hold *hold = model_hold_of(model, id, txn);
    bool release = call->function == &FN_RELEASE;
    if (ms < -1)
        wrong(model, "%s is told an age of %lld ms", call->function->name, (long long)ms);
    if (hold == NULL && !release) {
        say(said, "%d", CODE_ABSENT);
        return;
    }
    enum phase undone = hold && hold->phase == PHASE_COMMITTED ? PHASE_RESTOCKED : PHASE_RELEASED;
    if (hold == NULL) {
        hold_add(model, PHASE_RELEASED, id, txn, 0, 0, model->now);
    } else if (release && live(hold->phase)) {
        hold_move(model, hold, undone);
    } else if (call->function == &FN_CONFIRM && hold->phase == PHASE_HELD) {
        hold_move(model, hold, is_stray(model, hold, ms) ? PHASE_RELEASED : PHASE_COMMITTED);
    } else if (call->function == &FN_CONSUME && live(hold->phase)) {
        hold_move(model, hold, is_stray(model, hold, ms) ? undone : PHASE_CONSUMED);
    }
    say(said, "0 %s", PHASES[model_hold_of(model, id, txn)->phase]);
}

static void act_keep(struct model *model, const struct call *call, struct said *said)
{
    int64_t id = int_part(model, call, 2);
    for (unsigned n = 3; n + 1 < call->keys + call->args; n += 2)
        if (int_part(model, call, n + 1) >= KEEP_MS_MAX) {
            say(said, "-ERR souk: bad argument %u of keep", n);
            return;
        }
    say(said, "0");
    for (unsigned n = 3; n + 1 < call->keys + call->args; n += 2) {
        struct model_hold *hold = model_hold_of(model, id, text_part(model, call, n));
        say(said, " '%s'", hold ? PHASES[hold->phase] : "");
        if (hold == NULL || hold->phase != PHASE_HELD)
            continue;
        hold->when = model->now + int_part(model, call, n + 1);
        ask_at(model_product_at(model, id), hold->when);
    }
}

static int64_t earlier(int64_t least, int64_t due)
{
    return least == 0 || due < least ? due : least;
}

/* Is it to be asked about? Prunes it if it is an old mark; else *least knows when it is due. */
static bool look_at(struct model *model, struct model_hold *hold, int64_t *least)
{
    bool named = hold->phase == PHASE_HELD && hold->when <= model->now;
    if (!live(hold->phase) && hold->when + MARK_KEPT_MS <= model->now)
        hold->phase = PHASE_NONE;
    else if (hold->phase != PHASE_COMMITTED)
        *least = earlier(*least, named ? model->now : hold->phase == PHASE_HELD ? hold->when : hold->when + MARK_KEPT_MS);
    return named;
}

/* The number of the product's next hold, from ${at} on; hold_count: there is none. */
static size_t next_hold(const struct model *model, int64_t product, size_t at)
{
    while (at < model->hold_count && (model->holds[at].phase == PHASE_NONE || model->holds[at].product != product))
        at++;
    return at;
}

/* Few holds each step, so that a look has many. */
static void act_look(struct model *model, const struct call *call, struct said *said)
{
    struct model_product *product = model_product_at(model, int_part(model, call, 2));
    size_t cursor = (size_t)int_part(model, call, 3), at, looked = 0;
    int64_t started = int_part(model, call, 4), least = int_part(model, call, 5);
    struct said named = {.count = 0};
    if (product == NULL) {
        say(said, "%d", CODE_NOT_FOUND);
        return;
    }
    started = started ? started : model->now;
    for (at = next_hold(model, product->id, cursor); at < model->hold_count && looked < model->look_step; looked++) {
        struct model_hold *hold = &model->holds[at];
        if (look_at(model, hold, &least))
            say(&named, " '%s' '%lld'", hold->txn, (long long)hold->order_partition);
        at = next_hold(model, product->id, at + 1);
    }
    if (at == model->hold_count)
        product->ask = cursor == 0 ? least : earlier(least, started + HOLD_UNASKED_MS);
    say(said, "0 '%zu' %lld %lld [%s]", at < model->hold_count ? at : 0, (long long)started, (long long)least, named.words);
}

/* ---- an order and its units ---- */

/* Where the units of an order in this state must be. */
static bool fits(const struct model_order *order, enum phase phase)
{
    if (order_is(order, "reserved"))
        return phase == PHASE_HELD;
    if (order_is(order, "paid"))
        return phase == PHASE_COMMITTED;
    return order_is(order, "fulfilled") ? phase == PHASE_CONSUMED : !live(phase) && phase != PHASE_CONSUMED;
}

static void check_lines(struct model *model, const struct model_order *order, const char *what)
{
    struct order_doc doc;
    assert_true(record_load(&ORDER_DOC, model->arena, order->doc, &doc));
    const struct order_line *lines = doc.lines.at;
    for (size_t i = 0; i < doc.lines.count; i++) {
        const struct model_hold *hold = model_hold_of(model, lines[i].product_id, order->txn);
        enum phase phase = hold ? hold->phase : PHASE_NONE;
        /* A mark may be pruned after ten minutes, and a hold that a late repeat took then is released. */
        if (!fits(order, phase) && (live(phase) || model->now - order->created < MARK_KEPT_MS))
            wrong(model, "%s: order %lld is %s, and product %lld has its units %s", what, (long long)order->id, order->state,
                  (long long)lines[i].product_id, PHASES[phase]);
        if (hold && hold->quantity != lines[i].quantity && live(phase))
            wrong(model, "%s: order %lld: another quantity is held than was ordered", what, (long long)order->id);
    }
}

/* ---- keys ---- */

/* For place and refuse: says the answer if this key or attempt is decided already. */
static bool said_decided(struct model *model, const struct model_key *key, const char *fp, int64_t attempt, struct said *said)
{
    const struct model_order *order = model_order_at(model, key->id);
    if (decided(key) && strcmp(key->fp, fp) != 0) {
        say(said, "%d", CODE_KEY_REUSED);
    } else if (strcmp(key->decision, "placed") == 0) {
        say(said, "%d '%lld' '%lld' %s %lld", CODE_REPLAY, (long long)key->id, (long long)key->attempt, order->state,
            (long long)(model->now - order->created));
    } else if (strcmp(key->decision, "refused") == 0) {
        say(said, "%d '%lld'", CODE_REFUSED, (long long)key->status);
        say_view(said, key->body);
    } else if (aborted_upto(key, fp) >= attempt) {
        say(said, "%d '%lld'", CODE_ABORTED, (long long)aborted_upto(key, fp));
    } else {
        return false;
    }
    return true;
}

static void decide(struct model_key *key, const char *fp, const char *decision)
{
    snprintf(key->fp, sizeof(key->fp), "%s", fp);
    snprintf(key->decision, sizeof(key->decision), "%s", decision);
}

static void note_history(struct model *model, struct model_order *order, const char *cause)
{
    assert_true(order->version <= MODEL_VERSIONS);
    order->updated = model->now;
    snprintf(order->history[order->version], sizeof(order->history[0]), "%s|%s|%lld|%lld|%s|r1", order->state, order->payment_status,
             (long long)order->expires, (long long)order->updated, cause);
}

static void act_place(struct model *model, const struct call *call, struct said *said)
{
    struct model_key *key = key_at(model, text_part(model, call, 0));
    const char *fp = text_part(model, call, 2);
    int64_t attempt = int_part(model, call, 3), partition = int_part(model, call, 1);
    if (said_decided(model, key, fp, attempt, said))
        return;
    assert_true(model->order_count < MODEL_ORDERS);
    struct model_order *order = &model->orders[model->order_count++];
    *order = (struct model_order){.version = 1, .total = int_part(model, call, 6), .created = model->now};
    order->id = (int64_t)model->order_count * model->partitions + partition;
    order->expires = order->due = model->now + int_part(model, call, 8);
    order->doc = arena_copy(model->arena, call_part(call, 9));
    snprintf(order->txn, sizeof(order->txn), "%s", text_part(model, call, 4));
    snprintf(order->user, sizeof(order->user), "%s", text_part(model, call, 5));
    snprintf(order->currency, sizeof(order->currency), "%s", text_part(model, call, 7));
    snprintf(order->key, sizeof(order->key), "%s", key->name);
    snprintf(order->state, sizeof(order->state), "reserved");
    snprintf(order->payment_status, sizeof(order->payment_status), "none");
    note_history(model, order, "place");
    decide(key, fp, "placed");
    key->id = order->id;
    key->attempt = attempt;
    check_lines(model, order, "PLACE");
    say(said, "0 '%lld' %lld %lld", (long long)order->id, (long long)order->created, (long long)order->expires);
}

static void act_refuse(struct model *model, const struct call *call, struct said *said)
{
    struct model_key *key = key_at(model, text_part(model, call, 0));
    const char *fp = text_part(model, call, 2);
    if (said_decided(model, key, fp, int_part(model, call, 3), said))
        return;
    decide(key, fp, "refused");
    key->status = int_part(model, call, 4);
    key->body = arena_copy(model->arena, call_part(call, 5));
    say(said, "0");
}

static void settle_one(struct model *model, struct model_key *key, const char *fp, int64_t attempt, struct said *said)
{
    int64_t aborted = aborted_upto(key, fp);
    const struct model_order *order = model_order_at(model, key->id);
    if (strcmp(key->decision, "placed") == 0 && strcmp(key->fp, fp) == 0 && key->attempt == attempt) {
        int64_t left = order->expires > model->now ? order->expires - model->now : 0;
        say(said, " %s %lld placed '%lld' '%lld'", order->state, (long long)(order_is(order, "reserved") ? left : model->now - order->created),
            (long long)order->id, (long long)attempt);
        return;
    }
    aborted = attempt > aborted ? attempt : aborted;
    if (!decided(key))
        abort_upto(key, fp, aborted);
    say(said, " aborted %lld '%s' '' ''", (long long)aborted, decided(key) ? key->decision : "");
}

/* A name that the function does not take is an error, whatever else is asked about with it. */
static void act_settle(struct model *model, const struct call *call, struct said *said)
{
    for (unsigned n = 0, args = call->keys; n < call->keys; n++, args += 3)
        if (int_part(model, call, args + 2) < 1) {
            say(said, "-ERR souk: bad argument %u of settle", n * 3 + 3);
            return;
        }
    say(said, "0");
    for (unsigned n = 0, args = call->keys; n < call->keys; n++, args += 3)
        settle_one(model, key_at(model, text_part(model, call, n)), text_part(model, call, args + 1), int_part(model, call, args + 2), said);
}

/* ---- orders ---- */

void model_move(struct model *model, struct model_order *order, const char *state, const char *payment_status)
{
    static const char *const causes[][2] = {{"paid", "pay"}, {"fulfilled", "fulfil"}, {"cancelled", "cancel"}, {"expired", "expire"}};
    const char *cause = "";
    for (size_t i = 0; i < sizeof(causes) / sizeof(*causes); i++)
        if (strcmp(causes[i][0], state) == 0)
            cause = causes[i][1];
    order->version++;
    order->due = model->now;
    snprintf(order->state, sizeof(order->state), "%s", state);
    if (payment_status != order->payment_status)
        snprintf(order->payment_status, sizeof(order->payment_status), "%s", payment_status);
    note_history(model, order, cause);
}

static void say_moved(const struct model *model, const struct model_order *order, struct said *said)
{
    say(said, "0 %lld %s %s %lld", (long long)order->version, order->state, order->payment_status, (long long)(model->now - order->created));
}

static void act_expire(struct model *model, const struct call *call, struct said *said)
{
    struct model_order *order = model_order_at(model, int_part(model, call, 2));
    if (order == NULL) {
        say(said, "%d", CODE_NOT_FOUND);
    } else if (order_is(order, "expired")) {
        say(said, "%d %lld", CODE_ALREADY, (long long)order->version);
    } else if (!order_is(order, "reserved")) {
        say(said, "%d %s %s", CODE_ILLEGAL, order->state, order->payment_status);
    } else if (model->now < order->expires) {
        say(said, "%d %lld", CODE_EXPIRED, (long long)(order->expires - model->now));
    } else {
        model_move(model, order, "expired", order->payment_status);
        say_moved(model, order, said);
    }
}

/* Says why ${to} is not possible or was done before. */
static bool said_refused(const struct model_order *order, const struct model_key *key, const char *fp, const char *to, struct said *said)
{
    bool from = order && (order_is(order, "paid") || (order_is(order, "reserved") && strcmp(to, "cancelled") == 0));
    if (order == NULL)
        say(said, "%d", CODE_NOT_FOUND);
    else if (decided(key) && strcmp(key->fp, fp) != 0)
        say(said, "%d", CODE_KEY_REUSED);
    else if (decided(key))
        say(said, "%d '%lld'", CODE_REPLAY, (long long)key->version);
    else if (order_is(order, to))
        say(said, "%d %lld", CODE_ALREADY, (long long)order->version);
    else if (!from)
        say(said, "%d %s %s", CODE_ILLEGAL, order->state, order->payment_status);
    else if (order->open_payment)
        say(said, "%d '%lld'", CODE_PAYMENT_OPEN, (long long)order->open_payment);
    else
        return false;
    return true;
}

static void act_order(struct model *model, const struct call *call, struct said *said)
{
    bool cancel = call->function == &FN_CANCEL;
    struct model_order *order = model_order_at(model, int_part(model, call, 2));
    const char *fp = text_part(model, call, 4);
    struct model_key *key = key_at(model, arena_printf(model->arena, "idem:{%s}:%s", text_part(model, call, 1), text_part(model, call, 3)).at);
    if (said_refused(order, key, fp, cancel ? "cancelled" : "fulfilled", said))
        return;
    if (!cancel)
        order->doc = arena_copy(model->arena, call_part(call, 6));
    model_move(model, order, cancel ? "cancelled" : "fulfilled", cancel && order_is(order, "paid") ? "refund_due" : order->payment_status);
    decide(key, fp, "done");
    key->version = order->version;
    say_moved(model, order, said);
}

static void act_order_read(struct model *model, const struct call *call, struct said *said)
{
    const struct model_order *order = model_order_at(model, int_part(model, call, 2));
    if (order == NULL) {
        say(said, "%d", CODE_NOT_FOUND);
        return;
    }
    say(said, "0 %lld %s %s '%lld' '%s' '%lld' %s '%lld' '%lld' '%s' '%s' '%lld'", (long long)model->now, order->state, order->payment_status,
        (long long)order->version, order->user, (long long)order->total, order->currency, (long long)order->created, (long long)order->expires,
        order->txn, order->open_payment ? "33" : "", (long long)order->updated);
    say_view(said, order->doc);
    say(said, " %d", order->due != 0);
}

static void act_duty_done(struct model *model, const struct call *call, struct said *said)
{
    struct model_order *order = model_order_at(model, int_part(model, call, 2));
    if (order && order_is(order, text_part(model, call, 3))) {
        check_lines(model, order, "DUTY_DONE");
        order->due = 0;
    }
    say(said, "0");
}

/* ---- sweep and audit ---- */

/* Is ${id} in one of the comma-separated partitions? */
static bool listed(const struct model *model, const char *partitions, int64_t id)
{
    char all[512], one[32];
    snprintf(all, sizeof(all), ",%s,", partitions);
    snprintf(one, sizeof(one), ",%lld,", (long long)(id % model->partitions));
    return strstr(all, one) != NULL;
}

static void act_sweep(struct model *model, const struct call *call, struct said *said)
{
    const char *partitions = text_part(model, call, 5);
    say(said, "0 %d %lld [", !model->lease_elsewhere, (long long)model->now);
    for (size_t i = 0; i < model->order_count; i++) {
        struct model_order *order = &model->orders[i];
        if (model->lease_elsewhere || order->due == 0 || order->due > model->now || !listed(model, partitions, order->id))
            continue;
        say(said, "'%lld' '%lld' ", (long long)order->id, (long long)(order->id % model->partitions));
        order->due = model->now + DUE_AGAIN_MS;
    }
    say(said, "] [");
    for (size_t i = 0; i < model->product_count; i++) {
        struct model_product *product = &model->products[i];
        if (model->lease_elsewhere || product->ask == 0 || product->ask > model->now || !listed(model, partitions, product->id))
            continue;
        say(said, "'%lld' '%lld' ", (long long)product->id, (long long)(product->id % model->partitions));
    }
    say(said, "]");
}

/* One product a page. Of products that are named nothing is wrong: who damages something here damages what crosses shards. */
static void act_audit_stock(struct model *model, const struct call *call, struct said *said)
{
    if (call_part(call, 4).at) {
        say(said, "0 '' 1 0 [] [] %lld []", (long long)model->now);
        return;
    }
    int64_t partition = int_part(model, call, 1), after = int_part(model, call, 2), holds = 0;
    const struct model_product *next = NULL, *last = NULL;
    for (size_t i = 0; i < model->product_count; i++) {
        const struct model_product *product = &model->products[i];
        if (product->id % model->partitions != partition)
            continue;
        last = last == NULL || product->id > last->id ? product : last;
        if (product->id > after && (next == NULL || product->id < next->id))
            next = product;
    }
    for (size_t i = 0; next && i < model->hold_count; i++)
        holds += model->holds[i].product == next->id && live(model->holds[i].phase);
    char cursor[32] = "";
    if (next && next != last)
        snprintf(cursor, sizeof(cursor), "%lld", (long long)next->id);
    say(said, "0 '%s' %d %lld [] [", cursor, next != NULL, (long long)holds);
    for (size_t i = 0; next && i < model->hold_count; i++) {
        const struct model_hold *hold = &model->holds[i];
        if (hold->product == next->id && live(hold->phase))
            say(said, "'%s' '%lld' '%s|%lld|%lld|%lld|%lld' ", hold->txn, (long long)hold->product, PHASES[hold->phase], (long long)hold->quantity,
                (long long)hold->order_partition, (long long)hold->when, (long long)hold->since);
    }
    say(said, "] %lld []", (long long)model->now);
}

/* One order a page. Of orders that are named nothing is wrong. */
static void act_audit_orders(struct model *model, const struct call *call, struct said *said)
{
    if (call_part(call, 6).at) {
        say(said, "0 '' '' 1 0 [] [] 0 '0'");
        return;
    }
    int64_t partition = int_part(model, call, 1), after = int_part(model, call, 3);
    const struct model_order *next = NULL, *last = NULL;
    for (size_t i = 0; i < model->order_count; i++) {
        const struct model_order *order = &model->orders[i];
        if (order->id % model->partitions != partition)
            continue;
        last = last == NULL || order->id > last->id ? order : last;
        if (order->id > after && (next == NULL || order->id < next->id))
            next = order;
    }
    if (next && next != last)
        say(said, "0 '%lld' '%lld'", (long long)next->created, (long long)next->id);
    else
        say(said, "0 '' ''");
    say(said, " %d 0 [] [", next != NULL);
    if (next) {
        say(said, "'%lld' '%s' %s %lld %d", (long long)next->id, next->txn, next->state, (long long)(model->now - next->created), next->due != 0);
        say_view(said, next->doc);
    }
    say(said, "] 0 '0'"); /* there is no feed here */
}

/* ---- plain commands ---- */

static const struct model_order *order_of_key(struct model *model, const char *name)
{
    const char *id = strchr(name, ':') ? strrchr(name, ':') + 1 : "";
    return model_order_at(model, strtoll(id, NULL, 10));
}

static void say_hold(struct model *model, const char *name, const char *txn, struct said *said)
{
    const struct model_hold *hold = model_hold_of(model, strtoll(strrchr(name, ':') + 1, NULL, 10), txn);
    if (hold == NULL)
        say(said, "=nil");
    else
        say(said, "='%s|%lld|%lld|%lld|%lld'", PHASES[hold->phase], (long long)hold->quantity, (long long)hold->order_partition,
            (long long)hold->when, (long long)hold->since);
}

static void act_hget(struct model *model, const struct call *call, struct said *said)
{
    const char *name = text_part(model, call, 1), *field = text_part(model, call, 2);
    const struct model_order *order = order_of_key(model, name);
    long version = field[0] == 'e' ? strtol(field + 1, NULL, 10) : 0;
    if (strncmp(name, "stock:", 6) == 0)
        say_hold(model, name, field, said);
    else if (order && version > 0 && version <= order->version)
        say(said, "='%s'", order->history[version]);
    else
        say(said, "=nil");
}

static void say_key_field(const struct model_key *key, const char *field, struct said *said)
{
    bool known = decided(key);
    if (strcmp(field, "s") == 0 && key->decision[0])
        say(said, " %s", key->decision);
    else if (strcmp(field, "fp") == 0 && known)
        say(said, " '%s'", key->fp);
    else if (strcmp(field, "id") == 0 && key->id)
        say(said, " '%lld'", (long long)key->id);
    else if (strcmp(field, "n") == 0 && key->attempt)
        say(said, " '%lld'", (long long)key->attempt);
    else if (strcmp(field, "status") == 0 && key->status)
        say(said, " '%lld'", (long long)key->status);
    else if (strcmp(field, "body") == 0 && key->body.at)
        say_view(said, key->body);
    else
        say(said, " nil");
}

/* The partition and the id in a key; -1 where there is none. */
static int64_t partition_of(const char *name)
{
    const char *brace = strchr(name, '{');
    return brace ? strtoll(brace + 1, NULL, 10) : -1;
}

static int64_t id_of(const char *name)
{
    return strchr(name, ':') ? strtoll(strrchr(name, ':') + 1, NULL, 10) : -1;
}

static void say_order_record(const struct model_order *order, struct said *said)
{
    for (int64_t v = 1; v <= order->version; v++)
        say(said, "e%lld '%s' ", (long long)v, order->history[v]);
    say(said,
        "state %s payment_status %s v '%lld' user '%s' total '%lld' currency %s created '%lld' expires '%lld' t '%s' payments '%s' updated '%lld' "
        "doc",
        order->state, order->payment_status, (long long)order->version, order->user, (long long)order->total, order->currency,
        (long long)order->created, (long long)order->expires, order->txn, order->open_payment ? "33" : "", (long long)order->updated);
    say_view(said, order->doc);
}

static void say_stock(struct model *model, int64_t id, struct said *said)
{
    const struct model_product *product = model_product_at(model, id);
    if (product == NULL)
        return;
    say(said, "on_hand '%lld' held '%lld' committed '%lld' v '%lld' ask '%lld' ", (long long)product->on_hand, (long long)product->held,
        (long long)product->committed, (long long)product->version, (long long)product->ask);
    for (size_t i = 0; i < model->hold_count; i++) {
        const struct model_hold *hold = &model->holds[i];
        if (hold->product == id && hold->phase != PHASE_NONE)
            say(said, "'%s' '%s|%lld|%lld|%lld|%lld' ", hold->txn, PHASES[hold->phase], (long long)hold->quantity, (long long)hold->order_partition,
                (long long)hold->when, (long long)hold->since);
    }
}

static void act_hgetall(struct model *model, const struct call *call, struct said *said)
{
    const char *name = text_part(model, call, 1);
    const struct model_order *order = strncmp(name, "order:", 6) == 0 ? order_of_key(model, name) : NULL;
    if (order)
        say_order_record(order, said);
    else if (strncmp(name, "stock:", 6) == 0)
        say_stock(model, id_of(name), said);
}

static void act_hlen(struct model *model, const struct call *call, struct said *said)
{
    int64_t product = id_of(text_part(model, call, 1)), count = 5; /* counters */
    for (size_t i = 0; i < model->hold_count; i++)
        count += model->holds[i].product == product && model->holds[i].phase != PHASE_NONE;
    say(said, "=%lld", (long long)count);
}

static void act_exists(struct model *model, const struct call *call, struct said *said)
{
    say(said, "=1");
}

static void act_hmget(struct model *model, const struct call *call, struct said *said)
{
    const char *name = text_part(model, call, 1);
    const struct model_product *product = strncmp(name, "stock:", 6) == 0 ? model_product_at(model, id_of(name)) : NULL;
    if (product) {
        say(said, "'%lld' '%lld' '%lld' '%lld' '%lld'", (long long)product->on_hand, (long long)product->held, (long long)product->committed,
            (long long)product->version, (long long)product->ask);
    } else if (strncmp(name, "idem:", 5) == 0) {
        for (unsigned i = 2; i < call->args; i++)
            say_key_field(key_at(model, name), text_part(model, call, i), said);
    } else {
        say(said, "processing '100' '0' '0'");
    }
}

/* An index: all that is in it, each at its own id. */
static void act_zrangebyscore(struct model *model, const struct call *call, struct said *said)
{
    const char *name = text_part(model, call, 1);
    int64_t partition = partition_of(name);
    for (size_t i = 0; i < model->product_count && strncmp(name, "products:", 9) == 0; i++)
        if (model->products[i].id % model->partitions == partition)
            say(said, "'%lld' '%lld' ", (long long)model->products[i].id, (long long)model->products[i].id);
    for (size_t i = 0; i < model->order_count && strncmp(name, "orders:", 7) == 0; i++)
        if (model->orders[i].id % model->partitions == partition)
            say(said, "'%lld' '%lld' ", (long long)model->orders[i].id, (long long)model->orders[i].id);
}

static void say_score(struct said *said, int64_t score)
{
    if (score)
        say(said, " '%lld'", (long long)score);
    else
        say(said, " nil");
}

static void act_zmscore(struct model *model, const struct call *call, struct said *said)
{
    const char *name = text_part(model, call, 1);
    for (unsigned i = 2; i < call->args; i++) {
        int64_t id = int_part(model, call, i);
        const struct model_order *order = model_order_at(model, id);
        const struct model_product *product = model_product_at(model, id);
        if (strncmp(name, "asks:", 5) == 0)
            say_score(said, product ? product->ask : 0);
        else if (strncmp(name, "txn:", 4) == 0)
            say_score(said, order ? order->due : 0);
        else
            say_score(said, order ? id : 0);
    }
}

/* In a form that nobody knows: whoever reads asks again, by HGETALL, ZMSCORE or XRANGE. */
static void act_dump(struct model *model, const struct call *call, struct said *said)
{
    say(said, "='in a form of its own'");
}

static void act_xlen(struct model *model, const struct call *call, struct said *said)
{
    say(said, "=0");
}

static void act_zcard(struct model *model, const struct call *call, struct said *said)
{
    say(said, "=1");
}

static void act_time(struct model *model, const struct call *call, struct said *said)
{
    say(said, "'%lld' '0'", (long long)model->now / 1000);
}

static void act_xrange(struct model *model, const struct call *call, struct said *said)
{
    /* The feed is empty. */
}

/* The end of a product's ledger. */
static void act_xrevrange(struct model *model, const struct call *call, struct said *said)
{
    const struct model_product *product = model_product_at(model, id_of(text_part(model, call, 1)));
    if (product)
        say(said, "[ '1-1' [ m 'hold|1|||%lld|%lld|%lld|%lld|' ] ]", (long long)product->on_hand, (long long)product->held,
            (long long)product->committed, (long long)product->version);
}

static void act_command(struct model *model, const struct call *call, struct said *said)
{
    static const struct {
        const char *command;
        void (*act)(struct model *model, const struct call *call, struct said *said);
    } acts[] = {
        {"HGET", act_hget},
        {"HMGET", act_hmget},
        {"HGETALL", act_hgetall},
        {"HLEN", act_hlen},
        {"DUMP", act_dump},
        {"ZCARD", act_zcard},
        {"XLEN", act_xlen},
        {"EXISTS", act_exists},
        {"TIME", act_time},
        {"ZRANGEBYSCORE", act_zrangebyscore},
        {"ZMSCORE", act_zmscore},
        {"XRANGE", act_xrange},
        {"XREVRANGE", act_xrevrange},
    };
    const char *command = text_part(model, call, 0);
    for (size_t i = 0; i < sizeof(acts) / sizeof(*acts); i++)
        if (strcmp(command, acts[i].command) == 0) {
            acts[i].act(model, call, said);
            return;
        }
    fail_msg("the model has no command %s", command);
}

/* ---- the shard ---- */

static void carry_out(struct model *model, const struct call *call, struct said *said)
{
    static const struct {
        const struct function *function;
        void (*act)(struct model *model, const struct call *call, struct said *said);
    } acts[] = {
        {&FN_TRY, act_try},
        {&FN_RELEASE, act_resolve},
        {&FN_CONFIRM, act_resolve},
        {&FN_CONSUME, act_resolve},
        {&FN_KEEP, act_keep},
        {&FN_LOOK, act_look},
        {&FN_PLACE, act_place},
        {&FN_REFUSE, act_refuse},
        {&FN_SETTLE, act_settle},
        {&FN_EXPIRE, act_expire},
        {&FN_CANCEL, act_order},
        {&FN_FULFIL, act_order},
        {&FN_ORDER_READ, act_order_read},
        {&FN_DUTY_DONE, act_duty_done},
        {&FN_SWEEP, act_sweep},
        {NULL, act_command},
        {&FN_AUDIT_STOCK, act_audit_stock},
        {&FN_AUDIT_ORDERS, act_audit_orders},
    };
    for (size_t i = 0; i < sizeof(acts) / sizeof(*acts); i++) {
        if (acts[i].function != call->function)
            continue;
        acts[i].act(model, call, said);
        model_check_stock(model);
        return;
    }
    say(said, "0 0"); /* prune */
}

void model_act(struct model *model, const struct call *call)
{
    struct said said = {.count = 0};
    carry_out(model, call, &said);
}

void model_answer(struct model *model, struct driver *driver, struct call *call)
{
    struct said said = {.count = 0};
    const struct view *v = said.views;
    carry_out(model, call, &said);
    driver_reply(driver, call, said.words, v[0], v[1], v[2], v[3], v[4], v[5], v[6], v[7]);
}

/* ---- the judge ---- */

static void judge_release(struct model *model, const char *txn)
{
    const struct model_order *order = order_of_txn(model, txn);
    struct txn parts;
    if (order) {
        if (!order_is(order, "cancelled") && !order_is(order, "expired"))
            wrong(model, "RELEASE of order %lld, which is %s", (long long)order->id, order->state);
        return;
    }
    assert_true(txn_parse(view_of(txn), &parts));
    for (size_t i = 0; i < model->key_count; i++) {
        const struct model_key *key = &model->keys[i];
        const char *hash = strrchr(key->name, ':') + 1;
        if (!view_equal(view_of(hash), parts.hash))
            continue;
        if (decided(key) || aborted_upto(key, arena_copy(model->arena, parts.fingerprint).at) >= parts.attempt)
            return;
    }
    wrong(model, "RELEASE of %s before anything was decided against it", txn);
}

static void judge_order(struct model *model, const char *what, const char *txn, const char *states)
{
    const struct model_order *order = order_of_txn(model, txn);
    if (order == NULL || strstr(states, order->state) == NULL)
        wrong(model, "%s of %s, whose order is %s", what, txn, order ? order->state : "not there");
}

void model_asked(struct model *model, const struct call *call)
{
    model->settle_calls += call->function == &FN_SETTLE;
    model->keep_calls += call->function == &FN_KEEP;
    const char *txn = text_part(model, call, 3);
    if (call->function == &FN_RELEASE)
        judge_release(model, txn);
    else if (call->function == &FN_CONFIRM)
        judge_order(model, "CONFIRM", txn, "paid fulfilled cancelled");
    else if (call->function == &FN_CONSUME)
        judge_order(model, "CONSUME", txn, "fulfilled");
    for (unsigned n = 3; call->function == &FN_KEEP && n < call->keys + call->args; n += 2)
        judge_order(model, "KEEP", text_part(model, call, n), "reserved paid fulfilled cancelled expired");
}

void model_check_stock(struct model *model)
{
    for (size_t i = 0; i < model->product_count; i++) {
        const struct model_product *product = &model->products[i];
        int64_t held = 0, committed = 0;
        for (size_t h = 0; h < model->hold_count; h++) {
            held += model->holds[h].product == product->id && model->holds[h].phase == PHASE_HELD ? model->holds[h].quantity : 0;
            committed += model->holds[h].product == product->id && model->holds[h].phase == PHASE_COMMITTED ? model->holds[h].quantity : 0;
        }
        if (held != product->held || committed != product->committed || held + committed > product->on_hand)
            wrong(model, "product %lld: on hand %lld, held %lld of %lld, committed %lld of %lld", (long long)product->id, (long long)product->on_hand,
                  (long long)product->held, (long long)held, (long long)product->committed, (long long)committed);
    }
}

void model_check_settled(struct model *model)
{
    for (size_t i = 0; i < model->order_count; i++)
        check_lines(model, &model->orders[i], "at the end");
    for (size_t h = 0; h < model->hold_count; h++)
        if (live(model->holds[h].phase) && order_of_txn(model, model->holds[h].txn) == NULL)
            wrong(model, "product %lld: %lld units stay held by %s, which placed nothing", (long long)model->holds[h].product,
                  (long long)model->holds[h].quantity, model->holds[h].txn);
}

/* ---- its life ---- */

void model_init(struct model *model)
{
    *model = (struct model){.arena = arena_new(), .now = 1700000000000, .partitions = 16, .look_step = 1};
}

void model_free(struct model *model)
{
    arena_free(model->arena);
}

void model_product(struct model *model, int64_t id, int64_t on_hand, int64_t price, const char *currency)
{
    assert_true(model->product_count < MODEL_PRODUCTS);
    struct model_product *product = &model->products[model->product_count++];
    *product = (struct model_product){.id = id, .on_hand = on_hand, .price = price, .version = 1};
    snprintf(product->currency, sizeof(product->currency), "%s", currency);
}
