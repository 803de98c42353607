#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "check.h"
#include "clock.h"
#include "log.h"

#include "etag.h"
#include "service_internal.h"

/*
 *   exchange ─▶ kept? ─▶ shed? ─▶ route ─▶ caller ─▶ headers ─▶ query ─▶ body ─▶ (own ─▶) flow ─▶ engine
 *                 └────────┴─────────┴────────┴──────────┴─────────┴───────┴───────┴─▶ problem
 *   exchange ◀─────────────────── headers, body ◀── answer ◀── engine
 *
 * Each step of the understanding either fills its part of the ask or answers with a problem and returns false.
 */
#define DETAIL_MAX 512
#define HEADERS_MAX (ANSWER_HEADERS_MAX + KEPT_HEADERS_MAX + 3)

/* ---- answers ---- */

static bool is_near(const struct request *request)
{
    return request->route && request->route->flags & (ROUTE_NEAR_RECORD | ROUTE_NEAR_RANGE);
}

static size_t response_headers(struct request *request, const struct flow *flow, const struct answer *answer, struct http_header out[HEADERS_MAX])
{
    size_t count = 0;
    if (answer->content_type)
        out[count++] = (struct http_header){"Content-Type", answer->content_type};
    out[count++] = (struct http_header){"X-Request-Id", request->ask.request_id.at};
    if (is_near(request) && answer->status < 400)
        count += kept_headers(request, out + count);
    else
        out[count++] = (struct http_header){"Cache-Control", "no-store"};
    if (answer_is_written(flow, answer))
        out[count++] = (struct http_header){"Souk-Durability", store_durability(request->thread->public.store)};
    for (size_t i = 0; i < answer->header_count; i++)
        out[count++] = answer->headers[i];
    return count;
}

size_t door_route_index(const struct request *request)
{
    return request->route ? (size_t)(request->route - request->thread->public.service->program->routes) : METRICS_NO_ROUTE;
}

static void tell(struct request *request, const struct answer *answer, int64_t took_us)
{
    const struct access access = {
        .exchange = request->exchange,
        .route = request->ask.route,
        .request_id = request->ask.request_id,
        .traceparent = exchange_header(request->exchange, HTTP_TRACEPARENT),
        .status = answer->status,
        .took_us = took_us,
        .outcome = answer->outcome,
    };
    access_tell(&request->thread->access, &access);
}

static void respond(struct request *request, const struct flow *flow, const struct answer *answer)
{
    struct http_header headers[HEADERS_MAX];
    struct worker_thread *thread = request->thread;
    struct http_response response = {
        .status = answer->status,
        .body = answer->body,
        .headers = headers,
        .header_count = response_headers(request, flow, answer, headers),
    };
    int64_t took_us = clock_us() - request->since_us;
    metrics_request(&thread->metrics, door_route_index(request), answer->status, took_us);
    request->answered = true;
    if (access_is_told(answer->status))
        tell(request, answer, took_us);
    http_respond(request->exchange, &response);
}

/* What may be kept is always made whole, for others too; a client that has it already is told so here. */
static void respond_or_same(struct request *request, const struct flow *flow, const struct answer *answer)
{
    struct answer same = *answer;
    const char *etag = is_near(request) && answer->status == 200 && request->ask.if_none_match.at ? answer_header_of(answer, "ETag") : NULL;
    if (etag && etag_names(request->ask.if_none_match, view_of(etag))) {
        same.status = 304;
        same.content_type = NULL;
        same.body = VIEW("");
    }
    respond(request, flow, &same);
}

static void got_answer(void *cookie, struct flow *flow, struct answer *answer)
{
    struct request *request = cookie;
    request->thread->room.answered++;
    if (is_near(request))
        kept_end(request, flow, answer);
    respond_or_same(request, flow, answer);
}

void door_answer_copy(struct request *request, struct flow *flow, const struct answer *answer)
{
    struct arena *arena = exchange_arena(request->exchange);
    struct answer copy = *answer;
    request->thread->room.answered++;
    copy.body = arena_copy(arena, answer->body);
    respond_or_same(request, flow, &copy);
}

/* The flow that a refusal of the door is written with. It is never run. */
static const struct flow_type REFUSAL = {.name = "refusal", .size = sizeof(struct flow)};

#define refuse(request, outcome, ...) (answer_refuse((request)->refusal, (outcome), __VA_ARGS__), false)

/* ---- headers ---- */

/* Is every byte visible ASCII, so that the text can be echoed in a header? */
static bool is_visible(struct view text)
{
    for (size_t i = 0; i < text.len; i++)
        if (text.at[i] < 0x21 || text.at[i] > 0x7e)
            return false;
    return text.len > 0;
}

/* 16 hex digits: a number that the thread drew at its start, and the count of its requests, mixed so that ids do not look like a sequence. */
struct view door_request_id(struct worker_thread *thread, const struct exchange *exchange, char made[REQUEST_ID_LEN])
{
    struct view given = exchange_header(exchange, HTTP_X_REQUEST_ID);
    if (given.len <= HTTP_STAMP_MAX && is_visible(given))
        return given;
    uint64_t number = (thread->request_seed + ++thread->request_count) * UINT64_C(0x9e3779b97f4a7c15); /* odd: one to one */
    for (int i = REQUEST_ID_LEN - 1; i >= 0; i--, number >>= 4)
        made[i] = "0123456789abcdef"[number & 15];
    return (struct view){made, REQUEST_ID_LEN};
}

/* A header that the flow may read after the exchange was answered, so it is copied; .at is NULL if absent. */
static struct view copied_header(struct request *request, enum http_known name)
{
    struct view value = exchange_header(request->exchange, name);
    return value.at ? arena_copy(exchange_arena(request->exchange), value) : value;
}

/* Does one of the media ranges in an Accept value allow ${type} ("application/json")? Parameters are ignored, but for q=0. */
static bool accepts(struct view accept, const char *type)
{
    const char *at = accept.at, *end = accept.at + accept.len;
    size_t type_len = strlen(type), group_len = (size_t)(strchr(type, '/') - type) + 1;
    while (at < end) {
        const char *comma = memchr(at, ',', (size_t)(end - at));
        const char *stop = comma ? comma : end;
        while (at < stop && (*at == ' ' || *at == '\t'))
            at++;
        size_t len = 0;
        while (at + len < stop && at[len] != ';' && at[len] != ' ')
            len++;
        struct view rest = {at + len, (size_t)(stop - at) - len};
        bool refused = rest.len && (memmem(rest.at, rest.len, "q=0", 3) && !memmem(rest.at, rest.len, "q=0.", 4));
        bool named = (len == type_len && !strncasecmp(at, type, len)) || (len == 3 && !memcmp(at, "*/*", 3)) ||
                     (len == group_len + 1 && !strncasecmp(at, type, group_len) && at[group_len] == '*');
        if (named && !refused)
            return true;
        at = stop + 1;
    }
    return false;
}

bool door_format(struct view accept, enum format *format)
{
    *format = FORMAT_JSON;
    if (accept.at == NULL || accept.len == 0 || accepts(accept, "application/json"))
        return true;
    if (!accepts(accept, "application/msgpack"))
        return false;
    *format = FORMAT_MSGPACK;
    return true;
}

#define LINES_TYPE "application/x-ndjson"

/* A bulk answer has one form. */
static bool accepts_lines(struct request *request, struct view accept)
{
    if (accept.at == NULL || accept.len == 0 || accepts(accept, LINES_TYPE))
        return true;
    return refuse(request, &OUTCOME_NOT_ACCEPTABLE, "Accept is \"%.100s\"; the answer is made as " LINES_TYPE, accept.at);
}

static bool read_accept(struct request *request)
{
    struct view accept = exchange_header(request->exchange, HTTP_ACCEPT);
    if (request->route->flags & ROUTE_BULK)
        return accepts_lines(request, accept);
    if (!door_format(accept, &request->ask.format) && !accepts(accept, "application/problem+json"))
        return refuse(request, &OUTCOME_NOT_ACCEPTABLE, "Accept is \"%.100s\"; answers are made as application/json or application/msgpack",
                      accept.at);
    return true;
}

/* Idempotency-Key: a quoted string (as in the draft standard) or a bare one, 1 to 255 visible ASCII characters. */
static bool read_key(struct request *request)
{
    struct view key = copied_header(request, HTTP_IDEMPOTENCY_KEY);
    if (key.at == NULL) {
        if (request->route->flags & ROUTE_KEY)
            return refuse(
                request, &OUTCOME_KEY_MISSING,
                "this request changes something: send an Idempotency-Key header with a new value (a UUID, say), and the same one with every retry");
        return true;
    }
    if (key.len >= 2 && key.at[0] == '"' && key.at[key.len - 1] == '"')
        key = (struct view){key.at + 1, key.len - 2};
    if (key.len > 255 || !is_visible(key))
        return refuse(request, &OUTCOME_BAD_REQUEST, "the Idempotency-Key must be 1 to 255 visible ASCII characters, quoted or not");
    request->ask.key = key;
    return true;
}

static bool read_conditions(struct request *request)
{
    struct ask *ask = &request->ask;
    ask->if_match = copied_header(request, HTTP_IF_MATCH);
    ask->if_none_match = copied_header(request, HTTP_IF_NONE_MATCH);
    ask->cache_control = copied_header(request, HTTP_CACHE_CONTROL);
    ask->prefer = copied_header(request, HTTP_PREFER);
    ask->traceparent = copied_header(request, HTTP_TRACEPARENT);
    ask->create_only = view_equal(ask->if_none_match, VIEW("*"));
    if ((request->route->flags & ROUTE_IF_MATCH) && ask->if_match.at == NULL && !(ask->create_only && ask->method == METHOD_PUT))
        return refuse(request, &OUTCOME_PRECONDITION_MISSING, "send If-Match with the ETag of the version you have seen, or * for any version");
    return true;
}

/* ---- query ---- */

static int hex_digit(char c)
{
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* Percent-decodes ('+' is a space). Returns false on a broken escape or a control character. */
static bool percent_decode(struct arena *arena, struct view in, struct view *out)
{
    char *text = arena_alloc(arena, in.len + 1);
    size_t len = 0;
    for (size_t i = 0; i < in.len; i++) {
        char c = in.at[i] == '+' ? ' ' : in.at[i];
        if (c == '%') {
            int high = i + 2 < in.len ? hex_digit(in.at[i + 1]) : -1, low = high >= 0 ? hex_digit(in.at[i + 2]) : -1;
            if (low < 0)
                return false;
            c = (char)(high << 4 | low);
            i += 2;
        }
        if ((unsigned char)c < 0x20 || c == 0x7f)
            return false;
        text[len++] = c;
    }
    *out = (struct view){text, len};
    return true;
}

/* Is ${name} one of "limit|cursor"? */
static bool is_known(const char *known, struct view name)
{
    for (const char *at = known; at && *at;) {
        size_t len = strcspn(at, "|");
        if (view_equal((struct view){at, len}, name))
            return true;
        at += len + (at[len] == '|');
    }
    return false;
}

static bool read_param(struct request *request, struct view piece, struct param *param)
{
    struct arena *arena = exchange_arena(request->exchange);
    const char *equals = memchr(piece.at, '=', piece.len);
    size_t name_len = equals ? (size_t)(equals - piece.at) : piece.len;
    struct view value = equals ? (struct view){equals + 1, piece.len - name_len - 1} : VIEW("");
    if (!percent_decode(arena, (struct view){piece.at, name_len}, &param->name) || !percent_decode(arena, value, &param->value))
        return refuse(request, &OUTCOME_BAD_REQUEST, "the query has a broken %%-escape or a control character in it; encode it as RFC 3986 says");
    if (is_known(request->route->params, param->name))
        return true;
    if (request->route->params == NULL)
        return refuse(request, &OUTCOME_BAD_REQUEST, "this path takes no query parameters");
    return refuse(request, &OUTCOME_BAD_REQUEST, "\"%.*s\" is no query parameter of this path; there are: %s",
                  (int)(param->name.len < 64 ? param->name.len : 64), param->name.at, request->route->params);
}

#define PARAMS_MAX 16

static bool read_query(struct request *request)
{
    struct view query = exchange_query(request->exchange);
    if (query.len == 0)
        return true;
    struct param *params = ARENA_ARRAY(exchange_arena(request->exchange), struct param, PARAMS_MAX);
    const char *at = query.at, *end = query.at + query.len;
    while (at < end) {
        const char *stop = memchr(at, '&', (size_t)(end - at));
        struct view piece = {at, (size_t)((stop ? stop : end) - at)};
        at += piece.len + 1;
        if (piece.len == 0)
            continue;
        if (request->ask.param_count == PARAMS_MAX)
            return refuse(request, &OUTCOME_BAD_REQUEST, "there are more than %d query parameters", PARAMS_MAX);
        if (!read_param(request, piece, &params[request->ask.param_count]))
            return false;
        request->ask.params = params;
        if (ask_param(&request->ask, arena_copy(exchange_arena(request->exchange), params[request->ask.param_count].name).at).at)
            return refuse(request, &OUTCOME_BAD_REQUEST, "the query parameter \"%.64s\" is there twice", params[request->ask.param_count].name.at);
        request->ask.param_count++;
    }
    return true;
}

/* ---- body ---- */

/* Without its parameters. */
static size_t media_type_len(struct view type)
{
    size_t len = 0;
    while (len < type.len && type.at[len] != ';' && type.at[len] != ' ')
        len++;
    return len;
}

static bool read_format(struct request *request, enum format *format)
{
    struct view type = exchange_header(request->exchange, HTTP_CONTENT_TYPE);
    size_t len = media_type_len(type);
    if (type.at == NULL || (len == 16 && !strncasecmp(type.at, "application/json", len)) ||
        (len == 28 && !strncasecmp(type.at, "application/merge-patch+json", len)))
        *format = FORMAT_JSON;
    else if (len == 19 && !strncasecmp(type.at, "application/msgpack", len))
        *format = FORMAT_MSGPACK;
    else
        return refuse(request, &OUTCOME_MEDIA_TYPE, "Content-Type is \"%.*s\"; send application/json or application/msgpack",
                      (int)(len < 100 ? len : 100), type.at);
    return true;
}

/* Lines of JSON: one document each, which only the flow takes apart. */
static bool read_lines(struct request *request)
{
    struct view type = exchange_header(request->exchange, HTTP_CONTENT_TYPE), body = exchange_body(request->exchange);
    size_t len = media_type_len(type);
    if (len != sizeof(LINES_TYPE) - 1 || strncasecmp(type.at, LINES_TYPE, len) != 0)
        return refuse(request, &OUTCOME_MEDIA_TYPE, "Content-Type is \"%.*s\"; send " LINES_TYPE ": one JSON object on each line",
                      (int)(len < 100 ? len : 100), type.at ? type.at : "");
    if (body.len == 0)
        return refuse(request, &OUTCOME_BAD_REQUEST, "this request needs a body: one JSON object on each line");
    request->ask.raw_body = body;
    return true;
}

static bool answer_faults(struct request *request, const struct faults *faults)
{
    struct writer *w =
        answer_problem(request->refusal, &OUTCOME_UNPROCESSABLE, 1, "%zu member%s of the body cannot be accepted; \"errors\" names them",
                       faults->count, faults->count == 1 ? "" : "s");
    answer_faults_write(w, faults);
    writer_end(w);
    answer_send(request->refusal);
    return false;
}

static bool read_body(struct request *request)
{
    struct arena *arena = exchange_arena(request->exchange);
    const struct route *route = request->route;
    struct view body = exchange_body(request->exchange);
    enum format format;
    if (route->flags & ROUTE_BULK)
        return read_lines(request);
    if (route->body == NULL && !(route->flags & ROUTE_RAW))
        return body.len == 0 || refuse(request, &OUTCOME_BAD_REQUEST, "this request takes no body");
    if (body.len == 0)
        return (route->flags & ROUTE_BODY_OPTIONAL) || refuse(request, &OUTCOME_BAD_REQUEST, "this request needs a body: a JSON object");
    if (!read_format(request, &format))
        return false;
    struct value *value = ARENA_NEW(arena, struct value);
    const char *wrong = value_read(format, arena, body, value);
    if (wrong && arena_was_short(arena))
        return refuse(request, &OUTCOME_OVERLOADED, "there was no memory to read the body; send the same request again");
    if (wrong)
        return refuse(request, &OUTCOME_BAD_REQUEST, "the body is not valid %s: %s", format == FORMAT_JSON ? "JSON" : "MessagePack", wrong);
    if (value->kind != VALUE_MAP)
        return refuse(request, &OUTCOME_UNPROCESSABLE, "the body must be an object");
    request->ask.document = value;
    request->ask.raw_body = body;
    if (route->flags & ROUTE_RAW)
        return true;
    void *bound = arena_alloc(arena, route->body->size);
    struct faults faults;
    faults_init(&faults, arena);
    if (!shape_read(route->body, value, bound, arena, &faults))
        return answer_faults(request, &faults);
    request->ask.body = bound;
    return true;
}

/* ---- the door ---- */

static bool refuse_method(struct request *request, unsigned allowed)
{
    char list[128] = "OPTIONS";
    for (enum method m = 0; m < METHOD_COUNT; m++)
        if (allowed & 1u << m)
            snprintf(list + strlen(list), sizeof(list) - strlen(list), ", %s%s", method_name(m), m == METHOD_GET ? ", HEAD" : "");
    struct flow *flow = request->refusal;
    if (exchange_method(request->exchange) == METHOD_OPTIONS) {
        flow->answer = ARENA_NEW(flow->arena, struct answer);
        answer_header(flow, "Allow", "%s", list);
        answer_empty(flow, 204);
        return false;
    }
    struct writer *w =
        answer_problem(flow, &OUTCOME_METHOD, 0, "%s is not for this path; allowed are: %s", method_name(exchange_method(request->exchange)), list);
    writer_end(w);
    answer_header(flow, "Allow", "%s", list);
    answer_send(flow);
    return false;
}

static bool find_route(struct request *request)
{
    struct service *service = request->thread->public.service;
    unsigned allowed;
    request->route = router_find(&service->router, request->ask.method, exchange_path(request->exchange), request->ask.ids, &allowed);
    if (request->route) {
        request->ask.route = request->route->path;
        return true;
    }
    if (admin_has(exchange_path(request->exchange)))
        allowed = 1u << METHOD_GET;
    if (allowed)
        return refuse_method(request, allowed);
    return refuse(request, &OUTCOME_NOT_FOUND, "there is nothing at this path; /openapi.json lists what there is");
}

/* ---- the caller ---- */

/* RFC 6750 section 3: what kind of token, and what was wrong with this one. */
#define CHALLENGE "Bearer realm=\"souk\""

/* One text for all who are not known, so that it tells nobody how near he is. */
static bool refuse_unknown(struct request *request, bool sent)
{
    request->thread->metrics.refused_unknown++;
    writer_end(answer_problem(request->refusal, &OUTCOME_NO_CALLER, 0,
                              "this needs the token of a caller that is known here: send Authorization: Bearer TOKEN"));
    answer_header(request->refusal, "WWW-Authenticate", CHALLENGE "%s", sent ? ", error=\"invalid_token\"" : "");
    answer_send(request->refusal);
    return false;
}

static bool refuse_scope(struct request *request, const struct caller *caller)
{
    const char *scope = scope_name(request->route->scope);
    request->thread->metrics.refused_scope++;
    struct writer *w = answer_problem(request->refusal, &OUTCOME_NO_SCOPE, 1,
                                      "this needs the scope %s, which caller %.*s has not; ask the operator for it", scope, VIEW_ARG(caller->name));
    WRITER_TEXT(w, "scope", view_of(scope));
    writer_end(w);
    answer_header(request->refusal, "WWW-Authenticate", CHALLENGE ", error=\"insufficient_scope\", scope=\"%s\"", scope);
    answer_send(request->refusal);
    return false;
}

static bool is_allowed(struct request *request)
{
    struct worker_thread *thread = request->thread;
    struct arena *arena = exchange_arena(request->exchange);
    const struct caller *caller;
    enum auth_verdict verdict = door_check(thread, request->exchange, request->route->scope, request->since_us, &caller);
    switch (verdict) {
    case AUTH_NO_TOKEN:
    case AUTH_BAD_TOKEN:
        return refuse_unknown(request, verdict == AUTH_BAD_TOKEN);
    case AUTH_NO_SCOPE:
        return refuse_scope(request, caller);
    case AUTH_TOO_MANY:
        thread->metrics.refused_rate++;
        return refuse(request, &OUTCOME_TOO_MANY,
                      "caller %.*s may send %d requests a second to each thread of a worker (SOUK_CALLER_RATE); wait, then send it again",
                      VIEW_ARG(caller->name), thread->public.service->settings.caller_rate);
    case AUTH_GRANTED:
        break;
    }
    if (caller) { /* copied, because the file of the tokens can change while the request is under way */
        request->ask.caller = arena_copy(arena, caller->name);
        request->ask.buyer = caller->user.at ? arena_copy(arena, caller->user) : caller->user;
    }
    return true;
}

/*
 * SOUK_INSIDE_MAX bounds memory; this bounds waiting. When more is asked than can be done, requests pile up inside, and each waits for all before it:
 * then the others hear at once that they should come again (room.h). A burst is none of that: it is gone before the next look. Duties, sweeps and
 * what is inside go on, since they do not come by the door.
 */
static bool is_crowded(struct request *request)
{
    struct worker_thread *thread = request->thread;
    const struct service_settings *settings = &thread->public.service->settings;
    int64_t queue_us = (int64_t)settings->queue_ms * 1000;
    if (queue_us == 0)
        return false;
    if (room_is_due(&thread->room, request->since_us, queue_us))
        room_look(&thread->room, request->since_us, queue_us, store_standing_us(thread->public.store) > queue_us, (unsigned)settings->inside_max);
    return http_inside(thread->http) > thread->room.bound;
}

static bool has_room(struct request *request)
{
    struct worker_thread *thread = request->thread;
    bool crowded = is_crowded(request);
    if (http_inside(thread->http) > (unsigned)thread->public.service->settings.inside_max || arena_low())
        return refuse(request, &OUTCOME_OVERLOADED, "this worker has as many requests under way as it may (SOUK_INSIDE_MAX); try again shortly");
    if (crowded)
        return refuse(request, &OUTCOME_OVERLOADED,
                      "more is asked of this worker than it can do, and what is inside waits already; try again shortly");
    return true;
}

static bool understand(struct request *request)
{
    return has_room(request) && find_route(request) && is_allowed(request) && read_accept(request) && read_key(request) && read_conditions(request) &&
           read_query(request) && read_body(request);
}

static struct request *request_new(struct worker_thread *thread, struct exchange *exchange)
{
    struct arena *arena = exchange_arena(exchange);
    struct request *request = ARENA_NEW(arena, struct request);
    request->thread = thread;
    request->exchange = exchange;
    request->since_us = clock_us();
    request->ask.method = exchange_method(exchange);
    char made[REQUEST_ID_LEN];
    request->ask.request_id = arena_copy(arena, door_request_id(thread, exchange, made));
    request->refusal = flow_new(arena, &REFUSAL, &thread->public.service->world, &request->ask);
    return request;
}

static void start(struct request *request, const struct flow_type *type, void (*got_end)(void *cookie, struct flow *flow))
{
    struct worker_thread *thread = request->thread;
    struct flow *flow = flow_new(exchange_arena(request->exchange), type, thread->public.world, &request->ask);
    int64_t allowed_ms = request->route->deadline_ms ? request->route->deadline_ms : thread->public.service->settings.deadline_ms;
    int64_t left_ms = allowed_ms - (clock_us() - request->since_us) / 1000;
    engine_start(thread->public.engine, flow, left_ms > 0 ? left_ms : 1, got_answer, got_end, request);
}

/* It is the buyer's for whom the caller acts; else it was answered. */
static void got_own_end(void *cookie, struct flow *flow)
{
    struct request *request = cookie;
    if (!request->answered)
        start(request, request->route->flow, NULL);
}

void door_start(struct request *request)
{
    if (request->ask.buyer.at && request->route->own)
        start(request, request->route->own, got_own_end);
    else
        start(request, request->route->flow, NULL);
}

void door_on_request(void *cookie, struct exchange *exchange)
{
    struct worker_thread *thread = cookie;
    struct http_response admin;
    if (kept_answer(thread, exchange))
        return;
    if (admin_answer(thread, exchange, &admin)) {
        if (log_level() == LOG_DEBUG)
            access_tell(&thread->access, &(struct access){.exchange = exchange, .status = admin.status});
        http_respond(exchange, &admin);
        return;
    }
    struct request *request = request_new(thread, exchange);
    if (!understand(request)) {
        respond(request, request->refusal, request->refusal->answer);
        return;
    }
    if (!is_near(request) || kept_begin(request))
        door_start(request);
}

bool door_is_bulk(void *cookie, enum method method, struct view path)
{
    const struct worker_thread *thread = cookie;
    int64_t ids[ASK_IDS_MAX];
    unsigned allowed;
    const struct route *route = router_find(&thread->public.service->router, method, path, ids, &allowed);
    return route && route->flags & ROUTE_BULK;
}

/* Who may not do this may not send a body for it either: his bytes would take the place of others'. door_on_refusal finds the same again. */
int door_on_head(void *cookie, const struct exchange *exchange)
{
    struct worker_thread *thread = cookie;
    int64_t ids[ASK_IDS_MAX];
    unsigned allowed;
    const struct caller *caller;
    const struct route *route = router_find(&thread->public.service->router, exchange_method(exchange), exchange_path(exchange), ids, &allowed);
    enum auth_verdict verdict = route ? auth_check(thread->auth, exchange_header(exchange, HTTP_AUTHORIZATION), route->scope, &caller) : AUTH_GRANTED;
    return verdict == AUTH_GRANTED ? 0 : verdict == AUTH_NO_SCOPE ? OUTCOME_NO_SCOPE.status : OUTCOME_NO_CALLER.status;
}

static const struct outcome *refusal_outcome(int status)
{
    static const struct outcome *const known[] = {&OUTCOME_BAD_REQUEST,  &OUTCOME_TIMEOUT,           &OUTCOME_TOO_LARGE,
                                                  &OUTCOME_URI_TOO_LONG, &OUTCOME_HEADERS_TOO_LARGE, &OUTCOME_NOT_IMPLEMENTED,
                                                  &OUTCOME_OVERLOADED};
    for (size_t i = 0; i < sizeof(known) / sizeof(*known); i++)
        if (known[i]->status == status)
            return known[i];
    return &OUTCOME_BAD_REQUEST;
}

void door_on_refusal(void *cookie, struct exchange *exchange, int status, const char *detail, struct http_response *response)
{
    struct worker_thread *thread = cookie;
    struct request *request = request_new(thread, exchange);
    if (status == OUTCOME_NO_SCOPE.status || status == OUTCOME_NO_CALLER.status) {
        CHECK(find_route(request) && !is_allowed(request));
        metrics_request(&thread->metrics, door_route_index(request), status, 0);
    } else {
        metrics_refused(&thread->metrics, status);
        answer_refuse(request->refusal, refusal_outcome(status), "%s", detail);
    }
    if (access_is_told(status))
        tell(request, request->refusal->answer, 0);
    struct http_header *headers = ARENA_ARRAY(exchange_arena(exchange), struct http_header, HEADERS_MAX);
    *response = (struct http_response){
        .status = status,
        .body = request->refusal->answer->body,
        .header_count = response_headers(request, request->refusal, request->refusal->answer, headers),
        .headers = headers,
        .close = true,
    };
}
