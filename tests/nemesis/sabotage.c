#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "clock.h"

#include "redis_fixture.h"
#include "souk_fixture.h"

#include "sabotage.h"

#define KEY_MAX 96

/* One that was broken, with what is needed to mend it. */
struct damage {
    const struct scene *scene;
    struct redis_fixture *shard;
    char keys[2][KEY_MAX], copies[2][KEY_MAX + 8]; /* keys that were changed; an empty copy: there was none before */
    unsigned key_count;
};

static bool is(const char *word, const char *other)
{
    return strcmp(word, other) == 0;
}

/* Remembers the key as it is, and from now on looks at its shard. */
static const char *touch(struct damage *damage, int64_t id, const char *format, ...) __attribute__((format(printf, 3, 4)));
static const char *touch(struct damage *damage, int64_t id, const char *format, ...)
{
    unsigned n = damage->key_count++;
    char name[KEY_MAX];
    va_list args;
    va_start(args, format);
    vsnprintf(name, sizeof(name), format, args);
    va_end(args);
    damage->shard = souk_shard(damage->scene->souk, souk_shard_of(damage->scene->souk, id));
    memcpy(damage->keys[n], name, sizeof(name));
    snprintf(damage->copies[n], sizeof(damage->copies[n]), "copy:%s", name);
    char *copied = REDIS(damage->shard, "COPY", name, damage->copies[n], "REPLACE");
    if (copied == NULL || !is(copied, "1"))
        damage->copies[n][0] = '\0';
    free(copied);
    return damage->keys[n];
}

static void mend(struct damage *damage)
{
    for (unsigned n = 0; n < damage->key_count; n++) {
        REDIS_DO(damage->shard, "DEL", damage->keys[n]);
        if (damage->copies[n][0])
            REDIS_DO(damage->shard, "RENAME", damage->copies[n], damage->keys[n]);
    }
}

static const char *number_text(char text[32], int64_t number)
{
    snprintf(text, 32, "%" PRId64, number);
    return text;
}

/* ---- what to break ---- */

static const struct stored_order *order_in(const struct evidence *evidence, const char *state, size_t versions)
{
    for (size_t i = 0; i < evidence->order_count; i++)
        if (is(evidence->orders[i].state, state) && evidence->orders[i].version_count >= versions)
            return &evidence->orders[i];
    return NULL;
}

static const char *touch_order(struct damage *damage, const struct stored_order *order)
{
    return touch(damage, order->id, "order:{%d}:%" PRId64, (int)(order->id % SOUK_PARTITIONS), order->id);
}

static bool a_counter(struct damage *damage)
{
    int64_t id = damage->scene->products[0];
    const char *key = touch(damage, id, "stock:{%d}:%" PRId64, (int)(id % SOUK_PARTITIONS), id);
    REDIS_DO(damage->shard, "HINCRBY", key, "on_hand", "1");
    return true;
}

/* As if one had been sold more than there were. */
static bool a_sale_too_many(struct damage *damage)
{
    const struct stored_product *product = &damage->scene->evidence->products[0];
    char entry[200];
    const char *key = touch(damage, product->id, "moves:{%d}:%" PRId64, (int)(product->id % SOUK_PARTITIONS), product->id);
    snprintf(entry, sizeof(entry), "hold|%" PRId64 "|%s|1|%" PRId64 "|%" PRId64 "|%" PRId64 "|%" PRId64 "|", product->on_hand + 1,
             "00000000000000000000000000000000.0000000000000000.1", product->on_hand, product->held + product->on_hand + 1, product->committed,
             product->v + 1);
    REDIS_DO(damage->shard, "XADD", key, "*", "m", entry);
    return true;
}

static const struct stored_product *product_with(const struct evidence *evidence, const char *kind)
{
    for (size_t i = 0; i < evidence->product_count; i++)
        for (size_t n = 0; n < evidence->products[i].move_count; n++)
            if (is(evidence->products[i].moves[n].kind, kind))
                return &evidence->products[i];
    return NULL;
}

/* A line of a fulfilled order that never left the stock: its entry goes from the ledger. The answer's lines are: id, "m", the entry. */
static bool half_an_order(struct damage *damage)
{
    const struct stored_product *product = product_with(damage->scene->evidence, "consume");
    if (product == NULL)
        return false;
    const char *key = touch(damage, product->id, "moves:{%d}:%" PRId64, (int)(product->id % SOUK_PARTITIONS), product->id);
    char *entries = REDIS(damage->shard, "XREVRANGE", key, "+", "-"), *rest = entries, *id, *entry;
    bool done = false;
    while (!done && (id = strsep(&rest, "\n")) != NULL && strsep(&rest, "\n") != NULL && (entry = strsep(&rest, "\n")) != NULL)
        if (strncmp(entry, "consume|", 8) == 0) {
            REDIS_DO(damage->shard, "XDEL", key, id);
            done = true;
        }
    free(entries);
    return done;
}

static bool a_life_after_the_end(struct damage *damage)
{
    const struct stored_order *order = order_in(damage->scene->evidence, "cancelled", 2);
    char field[32], v[32];
    if (order == NULL)
        return false;
    const char *key = touch_order(damage, order);
    snprintf(field, sizeof(field), "e%" PRId64, order->v + 1);
    REDIS_DO(damage->shard, "HSET", key, "state", "paid", "v", number_text(v, order->v + 1), field, "paid|none|0|0|pay|");
    return true;
}

static bool a_gap(struct damage *damage)
{
    const struct stored_order *order = order_in(damage->scene->evidence, "fulfilled", 3);
    if (order == NULL)
        return false;
    const char *key = touch_order(damage, order);
    REDIS_DO(damage->shard, "HDEL", key, "e3");
    return true;
}

static bool a_lost_order(struct damage *damage)
{
    const struct stored_order *order = order_in(damage->scene->evidence, "reserved", 1);
    char id[32];
    if (order == NULL)
        return false;
    touch_order(damage, order);
    const char *list = touch(damage, order->id, "orders:{%d}", (int)(order->id % SOUK_PARTITIONS));
    REDIS_DO(damage->shard, "DEL", damage->keys[0]);
    REDIS_DO(damage->shard, "ZREM", list, number_text(id, order->id));
    return true;
}

/* Gives an order to another request: the first one that was refused, or the one that placed another order. */
static bool give_order_to(struct damage *damage, uint32_t number)
{
    const struct stored_order *order = order_in(damage->scene->evidence, "reserved", 1);
    char text[64];
    if (order == NULL || number == 0)
        return false;
    snprintf(text, sizeof(text), "reserved|none|%" PRId64 "|0|place|%" PRIu32 ".1", order->expires_ms, number);
    const char *key = touch_order(damage, order);
    REDIS_DO(damage->shard, "HSET", key, "e1", text);
    return true;
}

static bool a_refused_order(struct damage *damage)
{
    const struct history *history = damage->scene->history;
    uint32_t number = 0;
    for (size_t i = 0; i < history->op_count && number == 0; i++)
        if (history->ops[i]->kind == OP_PLACE && history->ops[i]->decision == KEPT_NO)
            number = history->ops[i]->number;
    return give_order_to(damage, number);
}

static bool two_orders_of_one_key(struct damage *damage)
{
    const struct stored_order *other = order_in(damage->scene->evidence, "fulfilled", 1);
    return other && give_order_to(damage, other->versions[0].op);
}

static bool an_invented_order(struct damage *damage)
{
    return give_order_to(damage, NOBODYS_OPERATION);
}

/* Due in the far future, so that no sweep does it before it is seen. */
static bool a_forgotten_duty(struct damage *damage)
{
    const struct stored_order *order = order_in(damage->scene->evidence, "fulfilled", 1);
    char id[32];
    if (order == NULL)
        return false;
    const char *key = touch(damage, order->id, "txn:{%d}", (int)(order->id % SOUK_PARTITIONS));
    REDIS_DO(damage->shard, "ZADD", key, "9999999999999", number_text(id, order->id));
    return true;
}

static bool a_lost_event(struct damage *damage)
{
    const struct stored_order *order = order_in(damage->scene->evidence, "fulfilled", 1);
    if (order == NULL)
        return false;
    const char *key = touch(damage, order->id, "events:{%d}", (int)(order->id % SOUK_PARTITIONS));
    REDIS_DO(damage->shard, "XTRIM", key, "MAXLEN", "0");
    return true;
}

static bool a_wrong_refund(struct damage *damage)
{
    for (size_t i = 0; i < damage->scene->evidence->payment_count; i++) {
        const struct stored_payment *payment = &damage->scene->evidence->payments[i];
        if (payment->refunded == 0)
            continue;
        const char *key = touch(damage, payment->id, "payment:{%d}:%" PRId64, (int)(payment->id % SOUK_PARTITIONS), payment->id);
        REDIS_DO(damage->shard, "HINCRBY", key, "refunded", "-1");
        return true;
    }
    return false;
}

/* ---- what is broken in memory: the journal and the history are copies already ---- */

static bool a_second_charge(struct evidence *evidence, struct history *history)
{
    struct journal_entry *charge = NULL;
    for (size_t i = 0; i < evidence->journal_count && charge == NULL; i++)
        charge = is(evidence->journal[i].op, "charge") ? &evidence->journal[i] : NULL;
    if (charge == NULL || evidence->journal_count < 2)
        return false;
    struct journal_entry *again = charge == evidence->journal ? charge + 1 : evidence->journal;
    *again = *charge;
    snprintf(again->key, sizeof(again->key), "souk-%" PRId64 "-charge:9", charge->payment);
    return true;
}

/* Somebody read an old version after another had read the present one. */
static bool an_old_read(struct evidence *evidence, struct history *history)
{
    for (size_t i = 0; i < history->sight_count; i++) {
        struct sight sight = history->sights[i];
        if (sight.record != RECORD_STOCK || !sight.read || sight.version < 2)
            continue;
        sight.version--;
        sight.sent_us = sight.got_us + 1;
        sight.got_us = sight.sent_us + 1;
        for (size_t n = 0; n < evidence->product_count; n++) {
            const struct stored_product *product = &evidence->products[n];
            char words[96];
            if (product->id != sight.id)
                continue;
            const struct move *move = &product->moves[sight.version - 1];
            snprintf(words, sizeof(words), "%" PRId64 "|%" PRId64 "|%" PRId64, move->on_hand, move->held, move->committed);
            sight.content = content_of(words);
        }
        history->sights[history->sight_count++] = sight;
        return true;
    }
    return false;
}

/* Somebody saw what the store never had. */
static bool a_false_read(struct evidence *evidence, struct history *history)
{
    if (history->sight_count == 0)
        return false;
    struct sight sight = history->sights[0];
    sight.content++;
    history->sights[history->sight_count++] = sight;
    return true;
}

static bool other_bytes(struct evidence *evidence, struct history *history)
{
    history->mismatches++;
    history->replays++;
    return true;
}

static bool a_refusal_taken_back(struct evidence *evidence, struct history *history)
{
    history->insisted++;
    history->taken_back++;
    return true;
}

/* A payment that was begun, as if an answer had been lost, and the next attempt told that the order cannot be paid. */
static bool a_late_effect(struct evidence *evidence, struct history *history)
{
    for (size_t i = 0; i < history->op_count; i++) {
        struct op *op = history->ops[i];
        if (op->kind != OP_PAY || op->decision != DONE)
            continue;
        op->decision = NO;
        op->status = 409;
        op->lost_sight = true;
        return true;
    }
    return false;
}

/* By now nothing is done to any worker. */
static bool a_worker_that_hangs(struct evidence *evidence, struct history *history)
{
    int64_t now_us = clock_us();
    history->unanswered[history->unanswered_count++] =
        (struct unanswered){.what = "a request", .worker = SOUK_ORDER, .silence = OUT_OF_TIME, .sent_us = now_us, .until_us = now_us + 4000000};
    return true;
}

static bool a_bad_request_accepted(struct evidence *evidence, struct history *history)
{
    history->bad_requests++;
    history->broken++;
    return true;
}

static bool an_undecided_request(struct evidence *evidence, struct history *history)
{
    for (size_t i = 0; i < history->op_count; i++)
        if (history->ops[i]->decision == KEPT_NO) {
            history->ops[i]->decision = UNDECIDED;
            return true;
        }
    return false;
}

static const struct {
    const char *what;
    enum rule rule;
    bool (*in_store)(struct damage *damage);
    bool (*in_memory)(struct evidence *evidence, struct history *history);
} SABOTAGES[] = {
    {"a counter of a stock is raised by one", RULE_CONSERVATION, a_counter, NULL},
    {"more is held than there is", RULE_OVERSELL, a_sale_too_many, NULL},
    {"one line of an order never left the stock", RULE_ALL_OR_NOTHING, half_an_order, NULL},
    {"the gateway charged a payment twice", RULE_CHARGE, NULL, a_second_charge},
    {"less was given back than the gateway gave", RULE_REFUND, a_wrong_refund, NULL},
    {"a cancelled order was paid", RULE_TERMINAL, a_life_after_the_end, NULL},
    {"a version of an order is missing", RULE_VERSIONS, a_gap, NULL},
    {"events are missing", RULE_EVENTS, a_lost_event, NULL},
    {"an acknowledged order is gone", RULE_ACKNOWLEDGED, a_lost_order, NULL},
    {"an answer showed what never was", RULE_ACKNOWLEDGED, NULL, a_false_read},
    {"a refused order was placed", RULE_REFUSED, a_refused_order, NULL},
    {"a refusal became an acceptance", RULE_REFUSED, NULL, a_refusal_taken_back},
    {"a lost attempt took effect behind a refusal", RULE_REFUSED, NULL, a_late_effect},
    {"one key has two orders", RULE_ONE_EFFECT, two_orders_of_one_key, NULL},
    {"an order that nobody asked for", RULE_ONE_EFFECT, an_invented_order, NULL},
    {"a read went back in time", RULE_LINEARIZABLE, NULL, an_old_read},
    {"a replay had other bytes", RULE_REPLAYS, NULL, other_bytes},
    {"a bad request was accepted", RULE_ANSWERS, NULL, a_bad_request_accepted},
    {"a worker that runs does not answer", RULE_ANSWERS, NULL, a_worker_that_hangs},
    {"a duty is never done", RULE_STUCK, a_forgotten_duty, NULL},
    {"a request is never decided", RULE_STUCK, NULL, an_undecided_request},
};

/* A copy whose changes do not reach the original; what it points to is shared, but for operations, which are few enough to copy. */
static struct history history_copy(const struct history *history)
{
    struct history copy = *history;
    copy.ops = calloc(history->op_count + 1, sizeof(*copy.ops));
    for (size_t i = 0; i < history->op_count; i++) {
        copy.ops[i] = malloc(sizeof(struct op));
        *copy.ops[i] = *history->ops[i];
    }
    copy.sights = calloc(history->sight_count + 2, sizeof(*copy.sights));
    for (size_t i = 0; i < history->sight_count; i++)
        copy.sights[i] = history->sights[i];
    copy.unanswered = calloc(history->unanswered_count + 1, sizeof(*copy.unanswered));
    for (size_t i = 0; i < history->unanswered_count; i++)
        copy.unanswered[i] = history->unanswered[i];
    return copy;
}

static void history_drop(struct history *copy)
{
    for (size_t i = 0; i < copy->op_count; i++)
        free(copy->ops[i]);
    free(copy->ops);
    free(copy->sights);
    free(copy->unanswered);
}

/* Returns whether the one rule was seen to be broken. */
static bool sabotage(const struct scene *scene, size_t n)
{
    struct damage damage = {.scene = scene};
    struct history history = history_copy(scene->history);
    struct evidence evidence;
    struct verdict verdict;
    bool broken = SABOTAGES[n].in_store && SABOTAGES[n].in_store(&damage);
    bool read = evidence_read(scene->souk, scene->products, scene->product_count, &evidence);
    if (SABOTAGES[n].in_memory)
        broken = SABOTAGES[n].in_memory(&evidence, &history);
    verdict_init(&verdict);
    verdict_judge(&verdict, &history, &evidence, scene->beginning);
    bool noticed = broken && read && verdict.rules[SABOTAGES[n].rule].violations > 0;
    printf("sabotage: %-44s %-34s %s\n", SABOTAGES[n].what, rule_name(SABOTAGES[n].rule), !broken ? "NOT DONE" : noticed ? "noticed" : "NOT NOTICED");
    if (noticed && verdict.rules[SABOTAGES[n].rule].texts[0])
        printf("          %s\n", verdict.rules[SABOTAGES[n].rule].texts[0]);
    verdict_free(&verdict);
    evidence_free(&evidence);
    history_drop(&history);
    mend(&damage);
    return noticed;
}

bool sabotage_can(const struct history *history)
{
    static const enum op_kind KINDS[] = {OP_FULFIL, OP_CANCEL, OP_REFUND, OP_PLACE, OP_GET_STOCK};
    unsigned done[OP_KINDS] = {0};
    for (size_t i = 0; i < history->op_count; i++)
        done[history->ops[i]->kind] += history->ops[i]->decision == DONE;
    for (size_t i = 0; i < sizeof(KINDS) / sizeof(*KINDS); i++)
        if (done[KINDS[i]] < 2)
            return false;
    return true;
}

unsigned sabotage_all(const struct scene *scene)
{
    unsigned missed = 0;
    for (size_t n = 0; n < sizeof(SABOTAGES) / sizeof(*SABOTAGES); n++)
        missed += !sabotage(scene, n);
    return missed;
}
