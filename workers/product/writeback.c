#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "clock.h"
#include "log.h"

#include "functions.h"

#include "writeback.h"

/* A change that is kept: bound texts, and attributes as MessagePack, in one piece of memory. */
struct kept {
    struct kept *next;
    size_t bytes;
    bool has_name, has_price, has_attributes, drops_attributes;
    struct view name, price, attributes, request_id;
    char text[];
};

/* One product and its changes, the oldest first. */
struct entry {
    struct entry *next, *next_in_bucket;
    int64_t id;
    struct kept *first, **last;
};

#define BUCKETS 4096
struct writeback_buffer {
    struct writeback *writeback;
    size_t bytes, bytes_max; /* of entries and changes, also those that are being written */
    struct entry *first, **last;
    struct entry *buckets[BUCKETS];
};

struct writeback {
    const struct topology *topology;
    struct writeback_figures figures;
    int64_t told_us;
    unsigned untold;
    struct writeback_buffer *buffers[SHARDS_MAX];
};

/* ---- the buffers ---- */

struct writeback *writeback_new(const struct topology *topology, size_t bytes_max)
{
    struct writeback *writeback = calloc(1, sizeof(*writeback));
    if (writeback == NULL)
        return NULL;
    writeback->topology = topology;
    for (unsigned i = 0; i < topology->shard_count; i++) {
        struct writeback_buffer *buffer = writeback->buffers[i] = calloc(1, sizeof(*buffer));
        if (buffer == NULL) {
            writeback_free(writeback);
            return NULL;
        }
        buffer->writeback = writeback;
        buffer->bytes_max = bytes_max / topology->shard_count;
        buffer->last = &buffer->first;
    }
    return writeback;
}

static void entry_free(struct writeback_buffer *buffer, struct entry *entry)
{
    for (struct kept *kept = entry->first, *next; kept; kept = next) {
        next = kept->next;
        buffer->bytes -= kept->bytes;
        buffer->writeback->figures.bytes -= kept->bytes;
        free(kept);
    }
    buffer->bytes -= sizeof(*entry);
    buffer->writeback->figures.bytes -= sizeof(*entry);
    buffer->writeback->figures.products--;
    free(entry);
}

void writeback_free(struct writeback *writeback)
{
    for (unsigned i = 0; writeback && i < writeback->topology->shard_count; i++) {
        struct writeback_buffer *buffer = writeback->buffers[i];
        for (struct entry *entry = buffer ? buffer->first : NULL, *next; entry; entry = next) {
            next = entry->next;
            entry_free(buffer, entry);
        }
        free(buffer);
    }
    free(writeback);
}

struct writeback_figures *writeback_figures(struct writeback *writeback)
{
    return &writeback->figures;
}

struct writeback_buffer *writeback_buffer_of(struct writeback *writeback, int64_t id)
{
    return writeback->buffers[writeback->topology->owner[topology_partition_of_id(writeback->topology, id)]];
}

bool writeback_is_empty(const struct writeback_buffer *buffer)
{
    return buffer->first == NULL;
}

static struct entry **bucket_of(struct writeback_buffer *buffer, int64_t id)
{
    return &buffer->buckets[(uint64_t)id * UINT64_C(0x9e3779b97f4a7c15) >> 52];
}

static struct entry *find(struct writeback_buffer *buffer, int64_t id)
{
    struct entry *entry = *bucket_of(buffer, id);
    while (entry && entry->id != id)
        entry = entry->next_in_bucket;
    return entry;
}

static void append(struct writeback_buffer *buffer, struct entry *entry)
{
    struct entry **bucket = bucket_of(buffer, entry->id);
    entry->next_in_bucket = *bucket;
    *bucket = entry;
    entry->next = NULL;
    *buffer->last = entry;
    buffer->last = &entry->next;
}

/* Takes the oldest entry out; NULL if there is none. It still counts. */
static struct entry *take(struct writeback_buffer *buffer)
{
    struct entry *entry = buffer->first;
    if (entry == NULL)
        return NULL;
    struct entry **link = bucket_of(buffer, entry->id);
    while (*link != entry)
        link = &(*link)->next_in_bucket;
    *link = entry->next_in_bucket;
    buffer->first = entry->next;
    if (buffer->first == NULL)
        buffer->last = &buffer->first;
    return entry;
}

/* Puts an entry back that could not be written: its changes are older than those that came meanwhile. */
static void give_back(struct writeback_buffer *buffer, struct entry *entry)
{
    struct entry *newer = find(buffer, entry->id);
    if (newer == NULL) {
        append(buffer, entry);
        return;
    }
    *entry->last = newer->first;
    newer->first = entry->first;
    entry->first = NULL;
    entry_free(buffer, entry);
}

/* ---- changes ---- */

static struct view keep(char **at, struct view text)
{
    struct view copy = {*at, text.len};
    if (text.len)
        memcpy(*at, text.at, text.len);
    *at += text.len;
    return copy;
}

/* A copy of all texts of ${from} in one piece; NULL if memory is short. */
static struct kept *kept_copy(const struct kept *from)
{
    size_t bytes = sizeof(struct kept) + from->name.len + from->price.len + from->attributes.len + from->request_id.len;
    struct kept *kept = malloc(bytes);
    if (kept == NULL)
        return NULL;
    *kept = *from;
    char *at = kept->text;
    kept->next = NULL;
    kept->bytes = bytes;
    kept->name = keep(&at, from->name);
    kept->price = keep(&at, from->price);
    kept->attributes = keep(&at, from->attributes);
    kept->request_id = keep(&at, from->request_id);
    return kept;
}

/* What a change is before it is kept; borrows from it and from ${arena}. */
static struct kept kept_from(struct arena *arena, const struct product_change *change, struct view request_id)
{
    const struct product_body *body = &change->body;
    struct kept kept = {.has_name = body->has_name,
                        .has_price = body->has_price,
                        .has_attributes = body->has_attributes,
                        .drops_attributes = change->drops_attributes,
                        .name = body->name,
                        .price = body->price,
                        .request_id = request_id};
    if (body->has_attributes) {
        struct writer w;
        writer_init(&w, FORMAT_MSGPACK, arena);
        writer_value(&w, &body->attributes);
        kept.attributes = writer_done(&w);
    }
    return kept;
}

static bool has_attributes(const struct kept *kept)
{
    return kept->has_attributes || kept->drops_attributes;
}

/*
 * Changes of name and price take each other's place. Merge patches of attributes do not always join into one ({"a":null}, then {"a":{"b":1}}, makes
 * {"b":1} of any a; no single patch says so), and one that becomes too large must not take a price with it. So these are kept one by one, in order.
 */
static bool may_join(const struct kept *older, const struct kept *newer)
{
    return !has_attributes(older) && !has_attributes(newer);
}

static struct kept joined(const struct kept *older, const struct kept *newer)
{
    struct kept kept = *newer;
    if (!kept.has_name) {
        kept.has_name = older->has_name;
        kept.name = older->name;
    }
    if (!kept.has_price) {
        kept.has_price = older->has_price;
        kept.price = older->price;
    }
    return kept;
}

static struct kept **link_of_last(struct entry *entry)
{
    struct kept **link = &entry->first;
    while (*link && (*link)->next)
        link = &(*link)->next;
    return link;
}

static void count_bytes(struct writeback_buffer *buffer, size_t added, size_t removed)
{
    buffer->bytes += added - removed;
    buffer->writeback->figures.bytes += (uint64_t)added - (uint64_t)removed;
}

static bool add_kept(struct writeback_buffer *buffer, struct entry *entry, const struct kept *from)
{
    struct kept **link = link_of_last(entry), *older = *link;
    bool join = older && may_join(older, from);
    struct kept whole = join ? joined(older, from) : *from;
    struct kept *kept = kept_copy(&whole);
    size_t replaced = join ? older->bytes : 0;
    if (kept == NULL || buffer->bytes + kept->bytes > buffer->bytes_max + replaced) {
        free(kept);
        return false;
    }
    if (join) {
        *link = kept;
        free(older);
    } else {
        *entry->last = kept;
    }
    entry->last = &kept->next;
    count_bytes(buffer, kept->bytes, replaced);
    buffer->writeback->figures.coalesced += older != NULL;
    return true;
}

bool writeback_put(struct writeback_buffer *buffer, int64_t id, const struct product_change *change, struct view request_id)
{
    struct arena *scratch = arena_new();
    struct kept from = kept_from(scratch, change, request_id);
    struct entry *entry = find(buffer, id), *made = NULL;
    if (entry == NULL && buffer->bytes + sizeof(*entry) <= buffer->bytes_max && (made = calloc(1, sizeof(*made)))) {
        made->id = id;
        made->last = &made->first;
        entry = made;
    }
    bool taken = entry && add_kept(buffer, entry, &from);
    arena_free(scratch);
    if (!taken) {
        free(made);
        return false;
    }
    if (made) {
        append(buffer, made);
        count_bytes(buffer, sizeof(*made), 0);
        buffer->writeback->figures.products++;
    }
    buffer->writeback->figures.accepted++;
    return true;
}

/* ---- the flush ---- */

/*
 *   sleep ─▶ take what is there ─▶ HMGET of each product ─▶ its changes, merged over what it is now ─▶ PRODUCT_REPLACE, many in one call
 *                                       │ gone: dropped          │ as it is already: done                │ done · another was faster: given back
 *                                       └─ no answer: given back ─────────────────────────────────────┘
 *
 * A write whose answer is lost is tried again like one that was not sent: what is read then is either what it wrote, so nothing is left to do, or
 * not.
 */
struct target {
    struct entry *entry;
    int64_t version;
    struct view doc; /* to write; .at NULL: nothing (any more) */
};

#define WRITES_MAX 64
#define WRITE_BYTES_MAX 65536
struct write {
    struct call *call;
    unsigned count;
    struct target *of[WRITES_MAX];
    int64_t ids[WRITES_MAX];
};

struct flush {
    struct flow flow;
    struct writeback_buffer *buffer;
    int64_t wait_ms;
    struct target *targets;
    unsigned count, reads, writes_owed;
    struct write **writes; /* by their calls' index */
    unsigned write_count;
    bool failed;
};

enum { TAG_READ, TAG_WRITE };

static void flush_start(struct flow *flow)
{
    flow_sleep(flow, ((struct flush *)flow)->wait_ms);
}

static void flush_got_wake(struct flow *flow)
{
    struct flush *flush = (struct flush *)flow;
    struct entry *entry;
    flush->targets = ARENA_ARRAY(flow->arena, struct target, WRITEBACK_BATCH_MAX);
    while (flush->count < WRITEBACK_BATCH_MAX && (entry = take(flush->buffer))) {
        struct call *call = product_command(flow, "HMGET", "product", entry->id);
        call_arg(call, VIEW("v"));
        call_arg(call, VIEW("doc"));
        flush->targets[flush->count].entry = entry;
        flow_call(flow, call, TAG_READ, (int)flush->count++);
        flush->reads++;
    }
    if (flush->count == 0)
        flow_end(flow);
}

/* What was promised and cannot be done. One line a second says so; all are counted. */
#define TELL_EVERY_US 1000000
static void drop(struct flush *flush, const struct entry *entry, const struct kept *kept, const char *why)
{
    struct writeback *writeback = flush->buffer->writeback;
    writeback->figures.dropped++;
    writeback->untold++;
    if (clock_us() - writeback->told_us < TELL_EVERY_US)
        return;
    log_warn("a change of product %lld that was answered 202 (request %.*s) cannot be made: %s (%u such since the last message)",
             (long long)entry->id, VIEW_ARG(kept->request_id), why, writeback->untold);
    writeback->told_us = clock_us();
    writeback->untold = 0;
}

static void target_end(struct flush *flush, struct target *target)
{
    entry_free(flush->buffer, target->entry);
    target->entry = NULL;
    target->doc = (struct view){NULL, 0};
}

/* It is tried again in the next flush. */
static void target_again(struct flush *flush, struct target *target)
{
    give_back(flush->buffer, target->entry);
    target->entry = NULL;
    target->doc = (struct view){NULL, 0};
    flush->failed = true;
    flush->buffer->writeback->figures.retried++;
}

static struct product_change change_from(struct arena *arena, const struct kept *kept)
{
    struct product_change change = {
        .body = {.has_name = kept->has_name,
                 .has_price = kept->has_price,
                 .has_attributes = kept->has_attributes,
                 .name = kept->name,
                 .price = kept->price},
        .drops_attributes = kept->drops_attributes,
    };
    if (kept->has_attributes)
        CHECK(value_read(FORMAT_MSGPACK, arena, kept->attributes, &change.body.attributes) == NULL || arena_was_short(arena));
    return change;
}

/* Applies the target's changes one after another, each to what the one before it has left. */
static void target_merge(struct flush *flush, struct target *target, struct view before)
{
    struct arena *arena = flush->flow.arena;
    struct view doc = before, after;
    for (const struct kept *kept = target->entry->first; kept; kept = kept->next) {
        struct faults faults;
        faults_init(&faults, arena);
        struct product_change change = change_from(arena, kept);
        enum change_result result = change_apply(&change, doc, &after, &faults);
        if (arena_was_short(arena)) {
            target_again(flush, target);
            return;
        }
        if (result == CHANGE_OK)
            doc = after;
        else
            drop(flush, target->entry, kept, result == CHANGE_BROKEN ? "its record is damaged" : faults.first->message.at);
    }
    if (!view_equal(doc, before)) {
        target->doc = doc;
        return;
    }
    flush->buffer->writeback->figures.unchanged++;
    target_end(flush, target);
}

static void got_read(struct flush *flush, struct target *target, const struct reply *reply)
{
    if (reply->kind == REPLY_NOT_SENT || reply->kind == REPLY_UNKNOWN) {
        target_again(flush, target);
    } else if (reply->kind == REPLY_OK && reply_item(reply, 0)->type != ITEM_NIL) {
        target->version = reply_int(reply, 0);
        target_merge(flush, target, arena_copy(flush->flow.arena, reply_text(reply, 1)));
    } else {
        for (const struct kept *kept = target->entry->first; kept; kept = kept->next)
            drop(flush, target->entry, kept, reply->kind == REPLY_OK ? "the product was deleted" : "its record is not one");
        target_end(flush, target);
    }
}

static struct write *write_begin(struct flush *flush, unsigned partition)
{
    struct flow *flow = &flush->flow;
    struct write *write = ARENA_NEW(flow->arena, struct write);
    write->call = call_function(flow->arena, &FN_PRODUCT_REPLACE, partition);
    call_keyf(write->call, "products:{%u}", partition);
    call_arg_int(write->call, partition);
    write->call->also = write->ids;
    flush->writes[flush->write_count] = write;
    write->call->index = (int)flush->write_count++;
    return write;
}

static void write_all(struct flush *flush)
{
    struct flow *flow = &flush->flow;
    struct write **open = ARENA_ARRAY(flow->arena, struct write *, flow->world->topology->partitions);
    flush->writes = ARENA_ARRAY(flow->arena, struct write *, flush->count);
    for (unsigned i = 0; i < flush->count; i++) {
        struct target *target = &flush->targets[i];
        if (target->doc.at == NULL)
            continue;
        unsigned partition = topology_partition_of_id(flow->world->topology, target->entry->id);
        struct write *write = open[partition];
        if (write == NULL || write->count == WRITES_MAX || write->call->body.len >= WRITE_BYTES_MAX)
            write = open[partition] = write_begin(flush, partition);
        call_arg_int(write->call, target->entry->id);
        call_arg_int(write->call, target->version);
        call_arg(write->call, target->doc);
        write->ids[write->count] = target->entry->id;
        write->of[write->count++] = target;
        write->call->also_count = write->count;
    }
    flush->writes_owed = flush->write_count;
    for (unsigned i = 0; i < flush->write_count; i++)
        flow_call(flow, flush->writes[i]->call, TAG_WRITE, (int)i);
}

static void got_write(struct flush *flush, struct write *write, const struct reply *reply)
{
    for (unsigned i = 0; i < write->count; i++) {
        struct target *target = write->of[i];
        if (reply->kind != REPLY_OK || reply_int(reply, i) == 0) {
            target_again(flush, target);
            continue;
        }
        flush->buffer->writeback->figures.written++;
        target_end(flush, target);
    }
}

static void flush_got_reply(struct flow *flow, struct call *call, const struct reply *reply)
{
    struct flush *flush = (struct flush *)flow;
    if (call->tag == TAG_READ) {
        got_read(flush, &flush->targets[call->index], reply);
        if (--flush->reads > 0)
            return;
        write_all(flush);
    } else {
        got_write(flush, flush->writes[call->index], reply);
        flush->writes_owed--;
    }
    if (flush->writes_owed == 0)
        flow_end(flow);
}

const struct flow_type WRITEBACK_FLUSH_FLOW = {
    .name = "writeback_flush", .size = sizeof(struct flush), .start = flush_start, .got_wake = flush_got_wake, .got_reply = flush_got_reply};

void writeback_flush_init(struct flow *flow, struct writeback_buffer *buffer, int64_t wait_ms)
{
    struct flush *flush = (struct flush *)flow;
    CHECK(flow->type == &WRITEBACK_FLUSH_FLOW);
    flush->buffer = buffer;
    flush->wait_ms = wait_ms;
}

bool writeback_flush_failed(const struct flow *flush)
{
    return ((const struct flush *)flush)->failed;
}
