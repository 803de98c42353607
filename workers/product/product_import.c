#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "hash.h"
#include "log.h"
#include "money.h"

#include "functions.h"
#include "outcomes.h"
#include "txn.h"

#include "product.h"

/*
 * POST /products/import: one product on each line, one result line for each.
 *
 *   IMPORT_BEGIN ─▶ lines, a slice of them in each step ─▶ parts: the products of one partition ─▶ IMPORT, some parts at a time ─▶ 200, when all have
 *   KEY_REUSED: 422                                        │                                         an answer
 *                                                          └─ a line that is not acceptable has its result at once
 *
 * Each part is one call with an idempotency record of its own, which keeps its results. Which lines a part has follows from the body alone, so the
 * same request with the same key finds every part that was written before, and writes the others.
 */
#define LINES_MAX 20000
#define LINE_BYTES_MAX 65536
#define PART_PRODUCTS_MAX 64
#define PART_BYTES_MAX 65536
#define NEW_TOGETHER 32 /* so many lines without an id in a row share a partition: they need no certain one, and one call is cheaper than 32 */
#define SLICE_LINES 256
#define SLICE_BYTES 32768
#define PARTS_UNDER_WAY_MAX 32

struct import_line {
    int64_t id;
    bool has_id;
    struct product_body product;
};

#define OF(member) .offset = offsetof(struct import_line, product.member), .given = offsetof(struct import_line, product.has_##member)
static const struct field LINE_FIELDS[] = {
    {.name = "id",
     .type = FIELD_INT,
     .offset = offsetof(struct import_line, id),
     .given = offsetof(struct import_line, has_id),
     .min = 1,
     .max = MONEY_MAX},
    {.name = "name", .type = FIELD_TEXT, OF(name), .required = true, .min = 1, .max = NAME_BYTES_MAX},
    {.name = "price", .type = FIELD_MONEY_TEXT, OF(price), .required = true},
    {.name = "currency", .type = FIELD_TEXT, OF(currency)},
    {.name = "stock", .type = FIELD_INT, OF(stock), .min = 0, .max = STOCK_UNITS_MAX},
    {.name = "attributes", .type = FIELD_ANY, OF(attributes)},
};
static const struct shape LINE = {
    .name = "product", .fields = LINE_FIELDS, .count = sizeof(LINE_FIELDS) / sizeof(*LINE_FIELDS), .size = sizeof(struct import_line)};

/* What became of one line. */
struct result {
    int64_t id, version; /* 0: none */
    struct view problem; /* further members, each behind a comma */
    unsigned line;       /* counted from 1, blank ones too */
    int status;
};

struct part {
    struct part *next;
    struct call *call;
    unsigned count;
    struct result *of[PART_PRODUCTS_MAX];
    int64_t named[PART_PRODUCTS_MAX]; /* the ids on its lines: a new product is not kept anywhere */
};

/* The ids that lines have named, as a table with open addressing; 0 is a free place. */
struct seen {
    int64_t *places;
    size_t mask;
};

struct import {
    struct flow flow;
    char fingerprint[FINGERPRINT_HEX + 1];
    struct view rest; /* of the body */
    unsigned line;    /* that was read last */
    struct result *results;
    size_t count, with_new_id;
    struct seen seen;
    struct part **open;   /* of each partition, the one being filled */
    unsigned *parts_of;   /* of each partition, how many were begun */
    struct part *ready, **ready_tail;
    struct part *sent[PARTS_UNDER_WAY_MAX]; /* by their calls' index; NULL: free */
    unsigned parts, replayed, under_way;
    bool parsed, short_of_memory;
};

enum { TAG_BEGIN, TAG_PART };

/* ---- results ---- */

static void result_refuse(struct import *import, struct result *result, const struct outcome *outcome, const char *detail)
{
    struct writer w;
    writer_init(&w, FORMAT_JSON, import->flow.arena);
    writer_text(&w, view_of(detail));
    struct view quoted = writer_done(&w);
    result->status = outcome->status;
    result->problem = arena_printf(import->flow.arena, ",\"code\":\"%s\",\"retryable\":%s,\"detail\":%.*s", outcome->code,
                                   outcome->retryable ? "true" : "false", VIEW_ARG(quoted));
}

/* ${faults} may lie in memory that goes with the line. */
static void result_faults(struct import *import, struct result *result, const struct faults *faults)
{
    struct writer w;
    writer_init(&w, FORMAT_JSON, faults->arena);
    writer_map(&w, 1);
    answer_faults_write(&w, faults);
    writer_end(&w);
    struct view text = writer_done(&w);
    result->status = OUTCOME_UNPROCESSABLE.status;
    result->problem =
        arena_printf(import->flow.arena, ",\"code\":\"%s\",\"retryable\":false,%.*s", OUTCOME_UNPROCESSABLE.code, (int)text.len - 2, text.at + 1);
}

static void result_write(struct buffer *out, const struct result *result)
{
    buffer_add_view(out, VIEW("{\"line\":"));
    buffer_add_int(out, result->line);
    if (result->id) {
        buffer_add_view(out, VIEW(",\"id\":"));
        buffer_add_int(out, result->id);
    }
    if (result->version) {
        buffer_add_view(out, VIEW(",\"version\":"));
        buffer_add_int(out, result->version);
    }
    buffer_add_view(out, VIEW(",\"status\":"));
    buffer_add_int(out, result->status);
    buffer_add_view(out, result->problem);
    buffer_add_view(out, VIEW("}\n"));
}

static void answer_results(struct import *import)
{
    struct flow *flow = &import->flow;
    struct buffer out = {.arena = flow->arena};
    buffer_room(&out, import->count * 64);
    for (size_t i = 0; i < import->count; i++)
        result_write(&out, &import->results[i]);
    answer_made(flow, 200, "application/x-ndjson", buffer_view(&out));
    if (import->parts > 0 && import->replayed == import->parts)
        answer_replayed(flow);
    answer_send(flow);
}

/* ---- parts ---- */

static unsigned new_partition(const struct import *import)
{
    struct view name = {import->fingerprint, FINGERPRINT_HEX};
    return (hash32(name, 0) + (unsigned)(import->with_new_id / NEW_TOGETHER)) % import->flow.world->topology->partitions;
}

static struct part *part_begin(struct import *import, unsigned partition)
{
    struct flow *flow = &import->flow;
    struct part *part = ARENA_NEW(flow->arena, struct part);
    struct view scope = arena_printf(flow->arena, "POST /products/import part %u", import->parts_of[partition]++);
    struct txn_key key = txn_key(flow->arena, flow->ask, scope);
    part->call = call_function(flow->arena, &FN_IMPORT, partition);
    call_keyf(part->call, "idem:{%u}:%s", partition, key.hash);
    call_arg_int(part->call, partition);
    call_arg(part->call, view_of(import->fingerprint));
    part->call->also = part->named;
    import->open[partition] = part;
    import->parts++;
    return part;
}

static void part_end(struct import *import, unsigned partition)
{
    struct part *part = import->open[partition];
    import->open[partition] = NULL;
    *import->ready_tail = part;
    import->ready_tail = &part->next;
}

static void part_add(struct import *import, struct result *result, const struct import_line *line, struct view doc)
{
    unsigned partition = line->has_id ? topology_partition_of_id(import->flow.world->topology, line->id) : new_partition(import);
    struct part *part = import->open[partition];
    if (part == NULL)
        part = part_begin(import, partition);
    if (line->has_id) {
        call_arg_int(part->call, line->id);
        part->named[part->call->also_count++] = line->id;
    } else {
        call_arg(part->call, VIEW(""));
    }
    call_arg(part->call, doc);
    if (line->product.has_stock)
        call_arg_int(part->call, line->product.stock);
    else
        call_arg(part->call, VIEW(""));
    import->with_new_id += !line->has_id;
    part->of[part->count++] = result;
    if (part->count == PART_PRODUCTS_MAX || part->call->body.len >= PART_BYTES_MAX)
        part_end(import, partition);
}

/* ---- lines ---- */

static void seen_init(struct seen *seen, struct arena *arena, size_t most)
{
    size_t size = 64;
    while (size < 2 * most)
        size *= 2;
    *seen = (struct seen){.places = ARENA_ARRAY(arena, int64_t, size), .mask = size - 1};
}

/* Notes ${id}. Returns false if it was noted before. */
static bool seen_add(struct seen *seen, int64_t id)
{
    size_t at = (size_t)((uint64_t)id * UINT64_C(0x9e3779b97f4a7c15) >> 32) & seen->mask;
    for (; seen->places[at]; at = (at + 1) & seen->mask)
        if (seen->places[at] == id)
            return false;
    seen->places[at] = id;
    return true;
}

/* The place of a fault in a line is a column: the message's own "line 1" would be taken for the first of all. */
static const char *without_line(struct arena *arena, const char *wrong)
{
    const char *place = strstr(wrong, "line 1, ");
    return place ? arena_printf(arena, "%.*s%s", (int)(place - wrong), wrong, place + strlen("line 1, ")).at : wrong;
}

/* Everything that is made here but the result lies in ${scratch}, which goes with the line. */
static void line_take(struct import *import, struct result *result, struct view text, struct arena *scratch)
{
    struct value value;
    struct import_line line = {0};
    struct product_doc doc;
    struct faults faults;
    const char *wrong = value_read(FORMAT_JSON, scratch, text, &value);
    if (wrong && arena_was_short(scratch)) {
        import->short_of_memory = true;
    } else if (wrong) {
        result_refuse(import, result, &OUTCOME_BAD_REQUEST, arena_printf(scratch, "the line is not valid JSON: %s", without_line(scratch, wrong)).at);
    } else if (value.kind != VALUE_MAP) {
        result_refuse(import, result, &OUTCOME_UNPROCESSABLE, "the line must be an object");
    } else {
        faults_init(&faults, scratch);
        bool bound = shape_read(&LINE, &value, &line, scratch, &faults);
        result->id = line.id;
        if (line.has_id && !seen_add(&import->seen, line.id))
            faults_add(&faults, VIEW("/id"), "is on an earlier line of this request too; give each product one line");
        if ((bound && product_examine(&line.product, &faults, &doc)) && faults.count == 0)
            part_add(import, result, &line, record_store(&PRODUCT_DOC, scratch, &doc));
        else
            result_faults(import, result, &faults);
    }
}

/* The next line without its end; ${rest} goes on behind it. */
static struct view cut_line(struct view *rest)
{
    const char *end = memchr(rest->at, '\n', rest->len);
    struct view line = {rest->at, end ? (size_t)(end - rest->at) : rest->len};
    size_t taken = line.len + (end != NULL);
    *rest = (struct view){rest->at + taken, rest->len - taken};
    return line;
}

static bool is_blank(struct view line)
{
    for (size_t i = 0; i < line.len; i++)
        if (line.at[i] != ' ' && line.at[i] != '\t' && line.at[i] != '\r')
            return false;
    return true;
}

static void read_line(struct import *import, struct view line)
{
    struct result *result = &import->results[import->count++];
    result->line = import->line;
    if (line.len > LINE_BYTES_MAX) {
        result_refuse(import, result, &OUTCOME_TOO_LARGE, "the line is larger than 64 KiB");
        return;
    }
    struct arena *scratch = arena_new();
    line_take(import, result, line, scratch);
    arena_free(scratch);
}

/* So many lines that others of this thread do not wait long. */
static void read_slice(struct import *import)
{
    const char *begin = import->rest.at;
    for (unsigned i = 0; i < SLICE_LINES && import->rest.len > 0 && !import->short_of_memory && import->rest.at - begin < SLICE_BYTES; i++) {
        struct view line = cut_line(&import->rest);
        import->line++;
        if (!is_blank(line))
            read_line(import, line);
    }
    import->parsed = import->rest.len == 0 || import->short_of_memory;
    for (unsigned p = 0; import->parsed && !import->short_of_memory && p < import->flow.world->topology->partitions; p++)
        if (import->open[p])
            part_end(import, p);
}

/* ---- steps ---- */

static void send_ready(struct import *import)
{
    for (int i = 0; import->ready && i < PARTS_UNDER_WAY_MAX; i++) {
        struct part *part = import->ready;
        if (import->sent[i])
            continue;
        import->sent[i] = part;
        import->under_way++;
        import->ready = part->next;
        if (import->ready == NULL)
            import->ready_tail = &import->ready;
        flow_call(&import->flow, part->call, TAG_PART, i);
    }
}

/* Asks for what can be asked for, or ends. */
static void go_on(struct import *import)
{
    struct flow *flow = &import->flow;
    send_ready(import);
    if (!import->parsed || import->under_way > 0)
        return;
    if (import->short_of_memory)
        answer_refuse(flow, &OUTCOME_UNKNOWN, "there was no memory to read all lines, and some products may be written; send the same request again");
    else
        answer_results(import);
    flow_end(flow);
}

static void take_slice(struct import *import)
{
    read_slice(import);
    if (!import->parsed)
        flow_sleep(&import->flow, 0);
    go_on(import);
}

static size_t count_lines(struct view body)
{
    size_t count = 0;
    while (body.len > 0)
        count += !is_blank(cut_line(&body));
    return count;
}

static bool import_prepare(struct import *import)
{
    struct flow *flow = &import->flow;
    size_t lines = count_lines(flow->ask->raw_body), partitions = flow->world->topology->partitions;
    if (lines == 0)
        answer_refuse(flow, &OUTCOME_BAD_REQUEST, "there is no product in the body: send one JSON object on each line");
    else if (lines > LINES_MAX)
        answer_refuse(flow, &OUTCOME_TOO_LARGE, "there are %zu lines in the body, and %d are allowed; send the rest in another request", lines,
                      LINES_MAX);
    if (flow->answer)
        return false;
    snprintf(import->fingerprint, sizeof(import->fingerprint), "%016llx", (unsigned long long)hash128(flow->ask->raw_body, 1).high);
    import->rest = flow->ask->raw_body;
    import->results = ARENA_ARRAY(flow->arena, struct result, lines);
    import->open = ARENA_ARRAY(flow->arena, struct part *, partitions);
    import->parts_of = ARENA_ARRAY(flow->arena, unsigned, partitions);
    import->ready_tail = &import->ready;
    seen_init(&import->seen, flow->arena, lines);
    return true;
}

static void import_start(struct flow *flow)
{
    struct import *import = (struct import *)flow;
    if (!import_prepare(import)) {
        flow_end(flow);
        return;
    }
    struct txn_key key = txn_key(flow->arena, flow->ask, VIEW("POST /products/import"));
    unsigned partition = txn_partition(flow->world->topology, &key);
    struct call *call = call_function(flow->arena, &FN_IMPORT_BEGIN, partition);
    call_keyf(call, "idem:{%u}:%s", partition, key.hash);
    call_arg_int(call, partition);
    call_arg(call, view_of(import->fingerprint));
    flow_call(flow, call, TAG_BEGIN, 0);
}

static void got_begin(struct import *import, const struct reply *reply)
{
    struct flow *flow = &import->flow;
    if (reply->kind == REPLY_OK) {
        take_slice(import);
        return;
    }
    if (reply->code == CODE_KEY_REUSED)
        product_key_reused(flow);
    else
        product_failed(flow, reply, "importing");
    flow_end(flow);
}

/* Reads the next "id,v" of a part's results: ${created} if v is 1 or has a + before it. Returns false if there is none. */
static bool next_result(struct view *rest, long long *id, long long *version, bool *created)
{
    const char *comma = rest->len ? memchr(rest->at, ',', rest->len) : NULL, *end = rest->at + rest->len;
    const char *bar = comma ? memchr(comma, '|', (size_t)(end - comma)) : NULL, *stop = bar ? bar : end;
    bool again = comma && comma + 1 < stop && comma[1] == '+';
    if (comma == NULL || !view_to_int((struct view){rest->at, (size_t)(comma - rest->at)}, id) ||
        !view_to_int((struct view){comma + 1 + again, (size_t)(stop - comma) - 1 - again}, version))
        return false;
    *created = again || *version == 1;
    *rest = bar ? (struct view){bar + 1, (size_t)(end - bar) - 1} : (struct view){NULL, 0};
    return true;
}

/* Fills the results of a part from its text. Returns false if the text is not about so many. */
static bool part_results(struct import *import, struct part *part, struct view text)
{
    static const char THERE[] =
        "the product is there, and its stock is not what a catalogue says: leave out \"stock\", or change it by stock-adjustments";
    for (unsigned i = 0; i < part->count; i++) {
        struct result *result = part->of[i];
        long long id, version;
        bool created;
        if (!next_result(&text, &id, &version, &created))
            return false;
        result->id = id;
        result->version = version;
        result->status = created ? 201 : 200;
        if (version == 0)
            result_refuse(import, result, &OUTCOME_UNPROCESSABLE, THERE);
    }
    return text.len == 0;
}

static void part_refuse(struct import *import, struct part *part, const struct outcome *outcome, const char *detail)
{
    for (unsigned i = 0; i < part->count; i++)
        result_refuse(import, part->of[i], outcome, detail);
}

static void got_part(struct import *import, int index, const struct reply *reply)
{
    struct part *part = import->sent[index];
    import->sent[index] = NULL;
    bool done = reply->kind == REPLY_OK || reply->code == CODE_REPLAY;
    import->under_way--;
    import->replayed += reply->code == CODE_REPLAY;
    if (done && part_results(import, part, reply_text(reply, 0)))
        return;
    if (reply->kind == REPLY_NOT_SENT)
        part_refuse(import, part, &OUTCOME_SHARD_DOWN, "the shard of this product does not answer; nothing was done with this line");
    else if (reply->kind == REPLY_UNKNOWN)
        part_refuse(import, part, &OUTCOME_UNKNOWN, "it may or may not have been written; send the same request with the same key again");
    else if (reply->code == CODE_KEY_REUSED)
        part_refuse(import, part, &OUTCOME_KEY_REUSED, "the Idempotency-Key was used for another request");
    else {
        log_error("importing %u products in partition %u (request %.*s) gave something this version does not understand", part->count,
                  part->call->partition, VIEW_ARG(import->flow.ask->request_id));
        part_refuse(import, part, &OUTCOME_BROKEN, "the shard gave something this worker does not understand; tell the operator the request_id");
    }
}

static void import_got_reply(struct flow *flow, struct call *call, const struct reply *reply)
{
    struct import *import = (struct import *)flow;
    if (call->tag == TAG_BEGIN) {
        got_begin(import, reply);
        return;
    }
    got_part(import, call->index, reply);
    go_on(import);
}

static void import_got_wake(struct flow *flow)
{
    take_slice((struct import *)flow);
}

const struct flow_type PRODUCT_IMPORT_FLOW = {
    .name = "product_import", .size = sizeof(struct import), .start = import_start, .got_reply = import_got_reply, .got_wake = import_got_wake};
