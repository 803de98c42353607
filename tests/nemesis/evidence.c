#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <hiredis/hiredis.h>
#include <jansson.h>

#include "redis_fixture.h"
#include "souk_fixture.h"

#include "evidence.h"
#include "history.h"

#define BATCH 500
#define MOVES_BATCH 5000

static void *must(void *memory)
{
    if (memory == NULL) {
        fprintf(stderr, "evidence: no memory\n");
        abort();
    }
    return memory;
}

static void *grow(void *list, size_t count, size_t size)
{
    /* Room doubles: it is full exactly when count is 0 or a power of two from 16 on. */
    if (count != 0 && (count < 16 || (count & (count - 1)) != 0))
        return list;
    return must(realloc(list, (count < 16 ? 16 : count * 2) * size));
}

static void unreadable(struct evidence *evidence, const char *what, const char *text)
{
    if (evidence->unreadable++ == 0)
        snprintf(evidence->first_unreadable, sizeof(evidence->first_unreadable), "%s: %.150s", what, text);
}

/* ---- words ---- */

static const char *const WORDS[] = {
    "reserved", "paid",       "fulfilled",  "cancelled", "expired",   "none",   "pending",   "authorized", "partially_refunded",
    "refunded", "refund_due", "processing", "unknown",   "succeeded", "failed", "voided",    "create",     "adjust",
    "hold",     "commit",     "release",    "restock",   "consume",   "held",   "committed", "charge",     "authorize",
    "capture",  "void",       "refund",     "decline",   "close",     "place",  "pay",       "cancel",     "fulfil",
    "expire",
};

/* The word as a const text, "?" for any other: the checks then say so. */
static const char *word_of(const char *text, size_t len)
{
    for (size_t i = 0; i < sizeof(WORDS) / sizeof(*WORDS); i++)
        if (strlen(WORDS[i]) == len && memcmp(WORDS[i], text, len) == 0)
            return WORDS[i];
    return "?";
}

#define PARTS_MAX 10
struct parts {
    const char *at[PARTS_MAX];
    size_t len[PARTS_MAX];
    unsigned count;
};

/* The pieces between bars; the last takes the rest. ${text} ends with a NUL. */
static struct parts split(const char *text, unsigned most)
{
    struct parts parts = {.count = 0};
    while (parts.count < most) {
        size_t len = parts.count + 1 == most ? strlen(text) : strcspn(text, "|");
        parts.at[parts.count] = text;
        parts.len[parts.count++] = len;
        if (text[len] == '\0')
            break;
        text += len + 1;
    }
    return parts;
}

static const char *part_word(const struct parts *parts, unsigned n)
{
    return n < parts->count ? word_of(parts->at[n], parts->len[n]) : "?";
}

static int64_t part_number(const struct parts *parts, unsigned n)
{
    return n < parts->count ? strtoll(parts->at[n], NULL, 10) : -1;
}

static uint64_t hash_of(const char *text, size_t len)
{
    char copy[128];
    snprintf(copy, sizeof(copy), "%.*s", (int)len, text);
    return len ? content_of(copy) : 0;
}

/* ---- asking a shard ---- */

struct shard_link {
    redisContext *redis;
    unsigned shard;
    int64_t now_ms;
};

static bool link_open(struct souk *souk, unsigned shard, struct shard_link *link)
{
    *link = (struct shard_link){.shard = shard, .redis = redis_connect(souk_shard(souk, shard))};
    if (link->redis == NULL) {
        fprintf(stderr, "shard %u cannot be read: it does not answer\n", shard);
        return false;
    }
    redisSetTimeout(link->redis, (struct timeval){30, 0});
    redisReply *time = redisCommand(link->redis, "TIME");
    if (time && time->type == REDIS_REPLY_ARRAY)
        link->now_ms = strtoll(time->element[0]->str, NULL, 10) * 1000 + strtoll(time->element[1]->str, NULL, 10) / 1000;
    freeReplyObject(time);
    return link->now_ms != 0;
}

/* The next reply of the pipeline as a list; NULL if it is none. Freed by the caller. */
static redisReply *next_list(struct shard_link *link)
{
    void *reply = NULL;
    if (redisGetReply(link->redis, &reply) != REDIS_OK || reply == NULL)
        return NULL;
    if (((redisReply *)reply)->type == REDIS_REPLY_ARRAY)
        return reply;
    freeReplyObject(reply);
    return NULL;
}

static redisReply *ask_list(struct shard_link *link, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    redisvAppendCommand(link->redis, format, args);
    va_end(args);
    return next_list(link);
}

static const char *field(const redisReply *hash, const char *name)
{
    for (size_t i = 0; i + 1 < hash->elements; i += 2)
        if (strcmp(hash->element[i]->str, name) == 0)
            return hash->element[i + 1]->str;
    return NULL;
}

static int64_t number_field(const redisReply *hash, const char *name)
{
    const char *text = field(hash, name);
    return text ? strtoll(text, NULL, 10) : -1;
}

static const char *word_field(const redisReply *hash, const char *name)
{
    const char *text = field(hash, name);
    return text ? word_of(text, strlen(text)) : "?";
}

/* ---- orders ---- */

static void read_order(struct evidence *evidence, const struct shard_link *link, int64_t id, const redisReply *hash)
{
    evidence->orders = grow(evidence->orders, evidence->order_count, sizeof(*evidence->orders));
    struct stored_order *order = &evidence->orders[evidence->order_count++];
    const char *txn = field(hash, "t");
    *order = (struct stored_order){.id = id, .now_ms = link->now_ms, .v = number_field(hash, "v"), .total = number_field(hash, "total")};
    order->expires_ms = number_field(hash, "expires");
    order->state = word_field(hash, "state");
    order->payment_status = word_field(hash, "payment_status");
    order->txn = txn ? content_of(txn) : 0;
    for (;; order->version_count++) {
        char name[24];
        snprintf(name, sizeof(name), "e%zu", order->version_count + 1);
        const char *text = field(hash, name);
        if (text == NULL)
            break;
        struct parts parts = split(text, 6);
        order->versions = grow(order->versions, order->version_count, sizeof(*order->versions));
        order->versions[order->version_count] = (struct order_version){.state = part_word(&parts, 0), .payment_status = part_word(&parts, 1)};
        order->versions[order->version_count].cause = part_word(&parts, 4);
        order->versions[order->version_count].op = parts.count == 6 ? op_of_request_id(parts.at[5]) : 0;
    }
}

static void read_payment(struct evidence *evidence, int64_t id, const redisReply *hash)
{
    evidence->payments = grow(evidence->payments, evidence->payment_count, sizeof(*evidence->payments));
    struct stored_payment *payment = &evidence->payments[evidence->payment_count++];
    *payment = (struct stored_payment){.id = id, .order = number_field(hash, "order_id"), .v = number_field(hash, "v")};
    payment->amount = number_field(hash, "amount");
    payment->captured = number_field(hash, "captured");
    payment->refunded = number_field(hash, "refunded");
    payment->refunding = number_field(hash, "refunding");
    payment->status = word_field(hash, "status");
    for (;; payment->version_count++) {
        char name[24];
        snprintf(name, sizeof(name), "e%zu", payment->version_count + 1);
        const char *text = field(hash, name);
        if (text == NULL)
            break;
        struct parts parts = split(text, 7);
        payment->versions = grow(payment->versions, payment->version_count, sizeof(*payment->versions));
        payment->versions[payment->version_count] = (struct payment_version){.status = part_word(&parts, 0), .captured = part_number(&parts, 1)};
        payment->versions[payment->version_count].refunded = part_number(&parts, 2);
        payment->versions[payment->version_count].op = parts.count == 7 ? op_of_request_id(parts.at[6]) : 0;
    }
    for (int64_t n = 1; n <= number_field(hash, "refunds"); n++) {
        char name[32];
        snprintf(name, sizeof(name), "refund%" PRId64, n);
        const char *text = field(hash, name);
        struct parts parts = split(text ? text : "", 2);
        const char *status = part_word(&parts, 0);
        payment->refunds = grow(payment->refunds, payment->refund_count, sizeof(*payment->refunds));
        payment->refunds[payment->refund_count++] = status;
        payment->refunds_open += strcmp(status, "pending") == 0 || strcmp(status, "unknown") == 0;
    }
}

/* All records of one kind in one partition. A record that its index names and that is not there is left out: the checks will miss it. */
static bool read_records(struct evidence *evidence, struct shard_link *link, const char *kind, unsigned partition)
{
    redisReply *ids = ask_list(link, "ZRANGE %ss:{%u} 0 -1", kind, partition);
    bool order = strcmp(kind, "order") == 0, good = ids != NULL;
    for (size_t first = 0; good && first < ids->elements; first += BATCH) {
        size_t count = ids->elements - first < BATCH ? ids->elements - first : BATCH;
        for (size_t i = 0; i < count; i++)
            redisAppendCommand(link->redis, "HGETALL %s:{%u}:%s", kind, partition, ids->element[first + i]->str);
        for (size_t i = 0; i < count; i++) {
            redisReply *hash = next_list(link);
            int64_t id = strtoll(ids->element[first + i]->str, NULL, 10);
            good = good && hash;
            if (hash && hash->elements && order)
                read_order(evidence, link, id, hash);
            else if (hash && hash->elements)
                read_payment(evidence, id, hash);
            freeReplyObject(hash);
        }
    }
    freeReplyObject(ids);
    return good;
}

/* ---- events and duties, when all orders are there ---- */

static int by_order_id(const void *a, const void *b)
{
    const struct stored_order *left = a, *right = b;
    return (left->id > right->id) - (left->id < right->id);
}

static int by_payment_id(const void *a, const void *b)
{
    const struct stored_payment *left = a, *right = b;
    return (left->id > right->id) - (left->id < right->id);
}

struct stored_order *evidence_order(const struct evidence *evidence, int64_t id)
{
    const struct stored_order wanted = {.id = id};
    return evidence->order_count ? bsearch(&wanted, evidence->orders, evidence->order_count, sizeof(wanted), by_order_id) : NULL;
}

struct stored_payment *evidence_payment(const struct evidence *evidence, int64_t id)
{
    const struct stored_payment wanted = {.id = id};
    return evidence->payment_count ? bsearch(&wanted, evidence->payments, evidence->payment_count, sizeof(wanted), by_payment_id) : NULL;
}

/* order|payment|v|from|to|payment_status|cause|request */
static void take_event(struct evidence *evidence, const char *text)
{
    struct parts parts = split(text, 8);
    struct stored_order *order = evidence_order(evidence, part_number(&parts, 0));
    int64_t v = part_number(&parts, 2);
    if (parts.count != 8 || order == NULL || v < 1 || (size_t)v > order->version_count) {
        unreadable(evidence, "an event of no version of an order", text);
        return;
    }
    struct order_version *version = &order->versions[v - 1];
    order->events++;
    version->told =
        part_word(&parts, 4) == version->state && part_word(&parts, 5) == version->payment_status && op_of_request_id(parts.at[7]) == version->op;
}

static bool read_events(struct evidence *evidence, struct shard_link *link, unsigned partition)
{
    redisReply *entries = ask_list(link, "XRANGE events:{%u} - +", partition);
    for (size_t i = 0; entries && i < entries->elements; i++) {
        const redisReply *fields = entries->element[i]->element[1];
        take_event(evidence, fields->elements > 1 ? fields->element[1]->str : "");
    }
    bool good = entries != NULL;
    freeReplyObject(entries);
    return good;
}

static bool read_duties(struct evidence *evidence, struct shard_link *link, unsigned partition)
{
    redisReply *orders = ask_list(link, "ZRANGE txn:{%u} 0 -1 WITHSCORES", partition);
    redisReply *payments = ask_list(link, "ZRANGE txn:{%u}:pay 0 -1 WITHSCORES", partition);
    bool good = orders && payments;
    for (size_t i = 0; good && i + 1 < orders->elements; i += 2) {
        struct stored_order *order = evidence_order(evidence, strtoll(orders->element[i]->str, NULL, 10));
        if (order)
            order->due =
                strcmp(order->state, "reserved") != 0 || strtod(orders->element[i + 1]->str, NULL) + EVIDENCE_SLACK_MS <= (double)link->now_ms;
        else
            unreadable(evidence, "a duty of an order that is not there", orders->element[i]->str);
    }
    for (size_t i = 0; good && i + 1 < payments->elements; i += 2) {
        struct stored_payment *payment = evidence_payment(evidence, strtoll(payments->element[i]->str, NULL, 10));
        if (payment)
            payment->due = true;
        else
            unreadable(evidence, "a duty of a payment that is not there", payments->element[i]->str);
    }
    freeReplyObject(orders);
    freeReplyObject(payments);
    return good;
}

/* ---- products ---- */

/* kind|qty|txn|order|on_hand|held|committed|v|reason */
static void take_move(struct evidence *evidence, struct stored_product *product, const char *text)
{
    struct parts parts = split(text, 9);
    if (parts.count != 9) {
        unreadable(evidence, "an entry of a ledger", text);
        return;
    }
    product->moves = grow(product->moves, product->move_count, sizeof(*product->moves));
    struct move *move = &product->moves[product->move_count++];
    *move = (struct move){.kind = part_word(&parts, 0), .quantity = part_number(&parts, 1), .order = part_number(&parts, 3)};
    move->txn = hash_of(parts.at[2], parts.len[2]);
    move->on_hand = part_number(&parts, 4);
    move->held = part_number(&parts, 5);
    move->committed = part_number(&parts, 6);
    move->v = part_number(&parts, 7);
    move->op = op_of_request_id(parts.at[8]);
}

static bool read_moves(struct evidence *evidence, struct shard_link *link, struct stored_product *product, unsigned partition)
{
    char after[64] = "-";
    for (;;) {
        redisReply *entries = ask_list(link, "XRANGE moves:{%u}:%lld %s + COUNT %d", partition, (long long)product->id, after, MOVES_BATCH);
        if (entries == NULL)
            return false;
        for (size_t i = 0; i < entries->elements; i++) {
            const redisReply *fields = entries->element[i]->element[1];
            take_move(evidence, product, fields->elements > 1 ? fields->element[1]->str : "");
            snprintf(after, sizeof(after), "(%s", entries->element[i]->element[0]->str);
        }
        bool last = entries->elements < MOVES_BATCH;
        freeReplyObject(entries);
        if (last)
            return true;
    }
}

/* The short text that a document, a map in MessagePack, has under a short name; empty if there is none. */
static void doc_text(const redisReply *doc, const char *name, char text[32])
{
    char mark[32] = {(char)(0xa0 | strlen(name))};
    snprintf(mark + 1, sizeof(mark) - 1, "%s", name);
    const char *at = doc->type == REDIS_REPLY_STRING ? memmem(doc->str, doc->len, mark, strlen(mark)) : NULL;
    text[0] = '\0';
    if (at == NULL)
        return;
    at += strlen(mark);
    size_t len = (unsigned char)*at & 0x1f;
    if (((unsigned char)*at & 0xe0) == 0xa0 && at + 1 + len <= doc->str + doc->len)
        snprintf(text, 32, "%.*s", (int)len, at + 1);
}

static bool is_of_beginning(const struct evidence *evidence, int64_t id)
{
    for (size_t i = 0; i < evidence->product_count; i++)
        if (evidence->products[i].id == id)
            return true;
    return false;
}

static void add_imported(struct evidence *evidence, int64_t id, const char *name, const redisReply *on_hand)
{
    const char *line = strchr(name, '.');
    evidence->imported = grow(evidence->imported, evidence->imported_count, sizeof(*evidence->imported));
    evidence->imported[evidence->imported_count++] = (struct imported){
        .id = id,
        .on_hand = on_hand->type == REDIS_REPLY_STRING ? strtoll(on_hand->str, NULL, 10) : -1,
        .op = op_of_request_id(name),
        .line = line ? (unsigned)strtoul(line + 1, NULL, 10) : 0,
    };
}

/* The catalogue of a partition, for what has come into it; what it began with has been read. */
static bool read_imported(struct evidence *evidence, struct shard_link *link, unsigned partition)
{
    redisReply *ids = ask_list(link, "ZRANGE products:{%u} 0 -1", partition);
    bool good = ids != NULL;
    for (size_t i = 0; good && i < ids->elements; i++) {
        const char *id = ids->element[i]->str;
        if (is_of_beginning(evidence, strtoll(id, NULL, 10)))
            continue;
        redisReply *doc = redisCommand(link->redis, "HGET product:{%u}:%s doc", partition, id);
        redisReply *stock = redisCommand(link->redis, "HGET stock:{%u}:%s on_hand", partition, id);
        good = doc && stock;
        if (good) {
            char name[32];
            doc_text(doc, "name", name);
            add_imported(evidence, strtoll(id, NULL, 10), name, stock);
        }
        freeReplyObject(doc);
        freeReplyObject(stock);
    }
    freeReplyObject(ids);
    return good;
}

static bool read_attributes(struct shard_link *link, struct stored_product *product, unsigned partition)
{
    redisReply *doc = redisCommand(link->redis, "HGET product:{%u}:%lld doc", partition, (long long)product->id);
    char text[32];
    if (doc == NULL)
        return false;
    doc_text(doc, "op", text);
    product->patched_by = op_of_request_id(text);
    freeReplyObject(doc);
    return true;
}

static bool read_product(struct evidence *evidence, struct shard_link *link, int64_t id)
{
    unsigned partition = (unsigned)(id % SOUK_PARTITIONS);
    struct stored_product *product = &evidence->products[evidence->product_count++];
    redisReply *stock = ask_list(link, "HGETALL stock:{%u}:%lld", partition, (long long)id);
    *product = (struct stored_product){.id = id};
    if (stock) {
        product->on_hand = number_field(stock, "on_hand");
        product->held = number_field(stock, "held");
        product->committed = number_field(stock, "committed");
        product->v = number_field(stock, "v");
    }
    for (size_t i = 0; stock && i + 1 < stock->elements; i += 2) { /* holds beside the counters */
        struct parts parts = split(stock->element[i + 1]->str, 5);
        const char *phase = part_word(&parts, 0);
        if (strchr(stock->element[i]->str, '.') == NULL || (strcmp(phase, "held") != 0 && strcmp(phase, "committed") != 0))
            continue;
        product->holds = grow(product->holds, product->hold_count, sizeof(*product->holds));
        product->holds[product->hold_count++] = (struct stored_hold){content_of(stock->element[i]->str), phase, part_number(&parts, 1)};
    }
    bool good = stock != NULL;
    freeReplyObject(stock);
    return good && read_attributes(link, product, partition) && read_moves(evidence, link, product, partition);
}

/* ---- the gateway's journal ---- */

/* The payment of a key like souk-758-capture:3. */
static void take_line(struct evidence *evidence, const char *line)
{
    json_t *json = json_loads(line, 0, NULL);
    const char *key = json_string_value(json_object_get(json, "key")), *op = json_string_value(json_object_get(json, "op"));
    if (key == NULL || op == NULL || strncmp(key, "souk-", 5) != 0) {
        unreadable(evidence, "a line of the journal", line);
    } else {
        evidence->journal = grow(evidence->journal, evidence->journal_count, sizeof(*evidence->journal));
        struct journal_entry *entry = &evidence->journal[evidence->journal_count++];
        *entry = (struct journal_entry){.payment = strtoll(key + 5, NULL, 10), .op = word_of(op, strlen(op))};
        entry->amount = (int64_t)json_integer_value(json_object_get(json, "amount"));
        snprintf(entry->key, sizeof(entry->key), "%s", key);
    }
    json_decref(json);
}

static void read_journal(struct souk *souk, struct evidence *evidence)
{
    char *text = souk_journal(souk), *rest = text, *line;
    while ((line = strsep(&rest, "\n")) != NULL)
        if (*line)
            take_line(evidence, line);
    free(text);
}

/* ---- all of it ---- */

typedef bool shard_reader(struct evidence *evidence, struct shard_link *link, unsigned partition);

static bool read_orders(struct evidence *evidence, struct shard_link *link, unsigned partition)
{
    return read_records(evidence, link, "order", partition) && read_records(evidence, link, "payment", partition);
}

static bool each_partition(struct souk *souk, struct evidence *evidence, struct shard_link *links, shard_reader *reader)
{
    for (unsigned partition = 0; partition < SOUK_PARTITIONS; partition++)
        if (!reader(evidence, &links[souk_shard_of(souk, partition)], partition))
            return false;
    return true;
}

bool evidence_read(struct souk *souk, const int64_t *products, unsigned product_count, struct evidence *evidence)
{
    struct shard_link links[SOUK_SHARDS_MAX];
    unsigned opened = 0;
    *evidence = (struct evidence){.products = must(calloc(product_count + 1, sizeof(struct stored_product)))};
    while (opened < souk_shard_count(souk) && link_open(souk, opened, &links[opened]))
        opened++;
    bool good = opened == souk_shard_count(souk) && each_partition(souk, evidence, links, read_orders);
    if (good) {
        if (evidence->order_count)
            qsort(evidence->orders, evidence->order_count, sizeof(*evidence->orders), by_order_id);
        if (evidence->payment_count)
            qsort(evidence->payments, evidence->payment_count, sizeof(*evidence->payments), by_payment_id);
        good = each_partition(souk, evidence, links, read_events) && each_partition(souk, evidence, links, read_duties);
    }
    for (unsigned i = 0; good && i < product_count; i++)
        good = read_product(evidence, &links[souk_shard_of(souk, products[i])], products[i]);
    good = good && each_partition(souk, evidence, links, read_imported);
    read_journal(souk, evidence);
    for (unsigned i = 0; i < opened; i++)
        redisFree(links[i].redis);
    return good;
}

void evidence_free(struct evidence *evidence)
{
    for (size_t i = 0; i < evidence->order_count; i++)
        free(evidence->orders[i].versions);
    for (size_t i = 0; i < evidence->payment_count; i++) {
        free(evidence->payments[i].versions);
        free(evidence->payments[i].refunds);
    }
    for (size_t i = 0; i < evidence->product_count; i++) {
        free(evidence->products[i].moves);
        free(evidence->products[i].holds);
    }
    free(evidence->orders);
    free(evidence->payments);
    free(evidence->products);
    free(evidence->imported);
    free(evidence->journal);
    *evidence = (struct evidence){.order_count = 0};
}

/* ---- is anything left to do? ---- */

/* Gives orders due, payments due, refunds owed, holds past their time. Live holds of orders are due as well until somebody has asked about them. */
static const char DUE[] =
    "local now = redis.call('TIME')[1] * 1000 local orders, payments, owed, holds = 0, 0, 0, 0 "
    "for p in ARGV[1]:gmatch('%d+') do "
    "orders = orders + redis.call('ZCOUNT', 'txn:{' .. p .. '}', '-inf', now) "
    "payments = payments + redis.call('ZCARD', 'txn:{' .. p .. '}:pay') "
    "owed = owed + redis.call('ZCARD', 'payments:{' .. p .. '}:refund_due') end "
    "for id in ARGV[2]:gmatch('%d+') do local all = redis.call('HVALS', 'stock:{' .. id % 256 .. '}:' .. id) "
    "for n = 1, #all do local due = all[n]:match('^held|%d+|%d+|(%d+)|') if due and tonumber(due) <= now then holds = holds + 1 end end end "
    "return orders .. ' ' .. payments .. ' ' .. owed .. ' ' .. holds";

static void add_number(char *list, size_t size, int64_t number)
{
    size_t len = strlen(list);
    snprintf(list + len, size - len, "%" PRId64 " ", number);
}

long evidence_due(struct souk *souk, const int64_t *products, unsigned product_count, char *text, size_t size)
{
    static const char *const NAMES[] = {"duties of orders", "duties of payments", "refunds owed", "holds past their time"};
    long sums[4] = {0}, sum = 0;
    for (unsigned shard = 0; shard < souk_shard_count(souk); shard++) {
        char partitions[2048] = "", ids[512] = "";
        for (unsigned p = 0; p < SOUK_PARTITIONS; p++)
            if (souk_shard_of(souk, p) == shard)
                add_number(partitions, sizeof(partitions), p);
        for (unsigned i = 0; i < product_count; i++)
            if (souk_shard_of(souk, products[i]) == shard)
                add_number(ids, sizeof(ids), products[i]);
        char *answer = REDIS(souk_shard(souk, shard), "EVAL", DUE, "0", partitions, ids), *rest = answer;
        if (answer == NULL || answer[0] == '-') {
            snprintf(text, size, "shard %u does not answer: %s", shard, answer ? answer : "");
            free(answer);
            return -1;
        }
        for (int i = 0; i < 4; i++)
            sums[i] += strtol(rest, &rest, 10);
        free(answer);
    }
    text[0] = '\0';
    for (int i = 0; i < 4; i++) {
        size_t len = strlen(text);
        sum += sums[i];
        snprintf(text + len, size - len, "%s%ld %s", i ? ", " : "", sums[i], NAMES[i]);
    }
    return sum;
}

#define SHOWN_MAX 3

/* The first few members of a list of duties, each as souk_show tells it. */
static void show_some(struct redis_fixture *shard, const char *kind, unsigned partition, const char *list)
{
    char *ids = REDIS(shard, "ZRANGEBYSCORE", list, "-inf", "+inf", "LIMIT", "0", "3"), *rest = ids, *id;
    for (int n = 0; n < SHOWN_MAX && rest && (id = strsep(&rest, "\n")) != NULL && *id && *id != '-'; n++) {
        char key[96];
        snprintf(key, sizeof(key), "%s:{%u}:%s", kind, partition, id);
        char *score = REDIS(shard, "ZSCORE", list, id), *record = REDIS(shard, "FCALL_RO", "souk_show", "1", key);
        printf("due at %s: %s\n", score ? score : "?", record ? record : "?");
        free(score);
        free(record);
    }
    free(ids);
}

void evidence_show_due(struct souk *souk)
{
    for (unsigned partition = 0; partition < SOUK_PARTITIONS; partition++) {
        char list[32];
        snprintf(list, sizeof(list), "txn:{%u}:pay", partition);
        show_some(souk_shard(souk, souk_shard_of(souk, partition)), "payment", partition, list);
    }
}
