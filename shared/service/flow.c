#include <stdarg.h>
#include <stdio.h>

#include "check.h"
#include "hash.h"

#include "shape.h"

#include "flow.h"

struct flow *flow_new(struct arena *arena, const struct flow_type *type, const struct world *world, const struct ask *ask)
{
    CHECK(type->size >= sizeof(struct flow));
    struct flow *flow = arena_alloc(arena, type->size);
    flow->type = type;
    flow->arena = arena;
    flow->world = world;
    flow->ask = ask;
    flow->calls_tail = &flow->calls;
    flow->errands_tail = &flow->errands;
    flow->children_tail = &flow->children;
    flow->sleep_ms = -1;
    return flow;
}

void flow_call(struct flow *flow, struct call *call, int tag, int index)
{
    CHECK(!flow->ended);
    call->tag = tag;
    call->index = index;
    call->next = NULL;
    *flow->calls_tail = call;
    flow->calls_tail = &call->next;
    flow->owed++;
    if (call->function && call->function->writes)
        for (struct flow *up = flow; up; up = up->parent)
            up->effects = true;
}

void flow_note(struct flow *flow, const struct call *call, const struct reply *reply)
{
    if (reply->kind == REPLY_OK && call->function && call->function->writes)
        for (struct flow *up = flow; up; up = up->parent)
            up->wrote = true;
}

bool answer_is_written(const struct flow *flow, const struct answer *answer)
{
    if (answer->status < 300)
        return flow->effects && !answer->deferred;
    return answer->status >= 400 && answer->status < 500 && (flow->wrote || answer->replayed);
}

void flow_errand(struct flow *flow, struct errand *errand)
{
    CHECK(!flow->ended);
    errand->flow = flow;
    errand->next = NULL;
    *flow->errands_tail = errand;
    flow->errands_tail = &errand->next;
    flow->owed++;
    flow->effects = true;
}

void flow_spawn(struct flow *flow, struct flow *child, int tag, int index)
{
    CHECK(!flow->ended && child->parent == NULL);
    child->parent = flow;
    child->tag = tag;
    child->index = index;
    child->next = NULL;
    *flow->children_tail = child;
    flow->children_tail = &child->next;
    flow->owed++;
}

void flow_spawn_joined(struct flow *flow, struct flow *child, int tag, int index, int64_t key)
{
    CHECK(key != 0);
    child->join_key = key;
    flow_spawn(flow, child, tag, index);
}

void flow_sleep(struct flow *flow, int64_t ms)
{
    CHECK(!flow->ended && flow->sleep_ms < 0);
    flow->sleep_ms = ms < 0 ? 0 : ms;
    flow->owed++;
}

void flow_end(struct flow *flow)
{
    CHECK(!flow->ended);
    flow->ended = true;
}

bool flow_settle(struct flow *flow)
{
    CHECK(flow->owed > 0);
    flow->owed--;
    return !flow->ended;
}

void flow_check_step(const struct flow *flow)
{
    check_note(flow->type->name);
    CHECK(flow->ended || flow->owed > 0);
    CHECK(!flow->answer_ready || flow->parent == NULL);
    check_note(NULL);
}

struct view ask_param(const struct ask *ask, const char *name)
{
    for (size_t i = 0; i < ask->param_count; i++)
        if (view_equal(ask->params[i].name, view_of(name)))
            return ask->params[i].value;
    return (struct view){NULL, 0};
}

/* ---- answers ---- */

static struct answer *answer_new(struct flow *flow, int status, enum format format)
{
    CHECK(flow->answer == NULL && flow->ask != NULL);
    struct answer *answer = ARENA_NEW(flow->arena, struct answer);
    answer->status = status;
    writer_init(&answer->writer, format, flow->arena);
    flow->answer = answer;
    return answer;
}

struct writer *answer_begin(struct flow *flow, int status)
{
    enum format format = flow->ask->format;
    struct answer *answer = answer_new(flow, status, format);
    answer->content_type = format == FORMAT_JSON ? "application/json" : "application/msgpack";
    return &answer->writer;
}

void answer_header(struct flow *flow, const char *name, const char *format, ...)
{
    struct answer *answer = flow->answer;
    CHECK(answer && answer->header_count < ANSWER_HEADERS_MAX);
    va_list args, again;
    va_start(args, format);
    va_copy(again, args);
    char text[256], *longer = NULL; /* almost always enough; the cursor of a feed over many shards is of any length */
    int len = vsnprintf(text, sizeof(text), format, args);
    CHECK(len >= 0);
    if ((size_t)len >= sizeof(text)) {
        longer = arena_alloc(flow->arena, (size_t)len + 1);
        vsnprintf(longer, (size_t)len + 1, format, again);
    }
    va_end(again);
    va_end(args);
    answer->headers[answer->header_count++] = (struct http_header){name, longer ? longer : arena_copy(flow->arena, view_of(text)).at};
}

const char *answer_header_of(const struct answer *answer, const char *name)
{
    for (size_t i = 0; i < answer->header_count; i++)
        if (strcmp(answer->headers[i].name, name) == 0)
            return answer->headers[i].value;
    return NULL;
}

void answer_send(struct flow *flow)
{
    struct answer *answer = flow->answer;
    CHECK(answer && !flow->answer_ready);
    if (answer->body.at == NULL && answer->content_type) /* not written out before, as a stored refusal is */
        answer->body = writer_done(&answer->writer);
    flow->answer_ready = true;
}

void answer_replayed(struct flow *flow)
{
    answer_header(flow, "Idempotent-Replayed", "true");
    flow->answer->replayed = true;
}

void answer_keep(struct flow *flow, int64_t version, int64_t rests_up_to)
{
    flow->answer->keep = true;
    flow->answer->version = version;
    flow->answer->rests_up_to = rests_up_to;
}

void answer_tag_body(struct flow *flow)
{
    struct answer *answer = flow->answer;
    char digits[HASH128_HEX + 1];
    uint32_t seed = 0;
    for (size_t i = 0; i < answer->header_count; i++)
        seed = hash32(view_of(answer->headers[i].value), seed);
    answer->body = writer_done(&answer->writer);
    hash128_hex(digits, hash128(answer->body, seed));
    answer_header(flow, "ETag", "\"%s\"", digits);
}

void flow_retell(struct flow *flow, struct view request_id)
{
    struct view *told = ARENA_NEW(flow->arena, struct view);
    *told = request_id.len ? arena_copy(flow->arena, request_id) : flow->ask->request_id;
    flow->told = told;
}

void answer_deferred(struct flow *flow)
{
    answer_begin(flow, 202);
    answer_header(flow, "Preference-Applied", "respond-async");
    flow->answer->deferred = true;
    answer_empty(flow, 202);
}

void answer_drop(struct flow *flow)
{
    CHECK(!flow->answer_ready);
    flow->answer = NULL;
}

void answer_empty(struct flow *flow, int status)
{
    if (flow->answer == NULL)
        answer_new(flow, status, FORMAT_JSON);
    flow->answer->status = status;
    flow->answer->content_type = NULL;
    answer_send(flow);
}

void answer_made(struct flow *flow, int status, const char *content_type, struct view body)
{
    struct answer *answer = answer_new(flow, status, FORMAT_JSON);
    answer->content_type = content_type;
    answer->body = body;
}

void answer_stored(struct flow *flow, int status, struct view json)
{
    struct answer *answer = answer_new(flow, status, flow->ask->format);
    struct value value;
    if (status >= 400) {
        answer->content_type = "application/problem+json";
        answer->body = arena_copy(flow->arena, json);
    } else if (flow->ask->format == FORMAT_JSON) {
        answer->content_type = "application/json";
        answer->body = arena_copy(flow->arena, json);
    } else {
        CHECK(value_read(FORMAT_JSON, flow->arena, json, &value) == NULL);
        answer->content_type = "application/msgpack";
        writer_value(&answer->writer, &value);
    }
    answer_replayed(flow);
    answer_send(flow);
}

/* Problems are JSON whatever was asked for: RFC 9457 has no other form that we write, and stored ones are sent again byte by byte. */
static struct writer *problem_write(struct flow *flow, const struct outcome *outcome, size_t more, struct view detail)
{
    struct answer *answer = answer_new(flow, outcome->status, FORMAT_JSON);
    answer->outcome = outcome;
    answer->content_type = "application/problem+json";
    if (outcome->retry_after_s)
        answer_header(flow, "Retry-After", "%d", outcome->retry_after_s);
    struct writer *w = &answer->writer;
    writer_map(w, 7 + more);
    writer_name(w, VIEW("type"));
    writer_text(w, arena_printf(flow->arena, "urn:souk:problem:%s", outcome->code));
    WRITER_TEXT(w, "title", view_of(outcome->title));
    WRITER_INT(w, "status", outcome->status);
    WRITER_TEXT(w, "detail", detail);
    WRITER_TEXT(w, "code", view_of(outcome->code));
    WRITER_BOOL(w, "retryable", outcome->retryable);
    WRITER_TEXT(w, "request_id", flow->told ? *flow->told : flow->ask->request_id);
    if (flow->told)
        answer_replayed(flow);
    return w;
}

static struct view detail_print(struct arena *arena, const char *format, va_list args) __attribute__((format(printf, 2, 0)));
static struct view detail_print(struct arena *arena, const char *format, va_list args)
{
    char text[1024];
    vsnprintf(text, sizeof(text), format, args);
    return arena_copy(arena, view_of(text));
}

struct writer *answer_problem(struct flow *flow, const struct outcome *outcome, size_t more, const char *detail, ...)
{
    va_list args;
    va_start(args, detail);
    struct view text = detail_print(flow->arena, detail, args);
    va_end(args);
    return problem_write(flow, outcome, more, text);
}

void answer_refuse(struct flow *flow, const struct outcome *outcome, const char *detail, ...)
{
    va_list args;
    if (outcome == &OUTCOME_BROKEN && arena_was_short(flow->arena)) {
        /* What could not be read for want of memory looks like a damaged record to the flow. */
        answer_refuse(flow, flow->effects ? &OUTCOME_UNKNOWN : &OUTCOME_OVERLOADED,
                      "there was no memory to read a record; send the same request again");
        return;
    }
    va_start(args, detail);
    struct view text = detail_print(flow->arena, detail, args);
    va_end(args);
    writer_end(problem_write(flow, outcome, 0, text));
    answer_send(flow);
}

void answer_faults_write(struct writer *w, const struct faults *faults)
{
    size_t listed = 0;
    for (const struct fault *fault = faults->first; fault; fault = fault->next)
        listed++;
    writer_name(w, VIEW("errors"));
    writer_list(w, listed);
    for (const struct fault *fault = faults->first; fault; fault = fault->next) {
        writer_map(w, 2);
        WRITER_TEXT(w, "pointer", fault->pointer);
        WRITER_TEXT(w, "message", fault->message);
        writer_end(w);
    }
    writer_end(w);
}

void answer_failed(struct flow *flow, const struct reply *reply, const char *what)
{
    CHECK(reply->kind == REPLY_NOT_SENT || reply->kind == REPLY_UNKNOWN);
    if (reply->kind == REPLY_NOT_SENT || !flow->effects)
        answer_refuse(flow, &OUTCOME_SHARD_DOWN, "%s failed: %s; try again", what, reply->why);
    else
        answer_refuse(flow, &OUTCOME_UNKNOWN, "%s was begun, and its answer is lost: %s; send the same request again with the same Idempotency-Key",
                      what, reply->why);
}
