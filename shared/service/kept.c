#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

#include "check.h"
#include "clock.h"

#include "etag.h"
#include "service_internal.h"

#include "kept.h"

#define AT(field) offsetof(struct service_settings, field)
const struct option_row KEPT_OPTIONS[] = {
    {"cache-mb", OPTION_INT, AT(cache_mb), "64", 0, 65536, NULL,
     "MiB of answers that a worker keeps, all its threads together; 0: every read goes to its shard"},
    {"cache-age-ms", OPTION_INT, AT(cache_age_ms), "1000", 40, 60000, NULL,
     "how old a kept answer can be at most, whatever happens to the connections"},
};
const size_t KEPT_OPTION_COUNT = sizeof(KEPT_OPTIONS) / sizeof(*KEPT_OPTIONS);

struct kept {
    struct http_prepared *whole;
    struct http_prepared *same; /* 304; made when it is needed first */
    size_t route;               /* its place in the table, for the metrics */
    enum scope scope;           /* the route's: who may have it */
    int64_t version;            /* of a record; 0: a range */
    char etag[ETAG_MAX];
};

static void kept_free(struct kept *kept)
{
    if (kept == NULL)
        return;
    http_prepared_free(kept->whole);
    http_prepared_free(kept->same);
    free(kept);
}

static void drop(void *answer)
{
    kept_free(answer);
}

void kept_settings(struct store_settings *store, const struct service_settings *settings, const char *kind)
{
    if (kind == NULL || settings->cache_mb == 0)
        return;
    store->near_kind = kind;
    store->near_bytes = (size_t)settings->cache_mb * 1024 * 1024 / (size_t)settings->threads;
    store->near_bound_us = (int64_t)settings->cache_age_ms * 1000;
    store->near_drop = drop;
}

/* ---- headers ---- */

/*
 * Cache-Control is no-cache: whoever keeps a copy asks with its ETag before each use, which costs a 304. A copy used unasked could show a price for
 * minutes that an order, priced by the server, is then refused for (total_changed). Vary, because one path is written in two formats.
 *
 * Age is how old the answer can be, in seconds rounded up: the bound for what was kept, 0 for what was just read.
 */
static size_t headers_of(const char *x_cache, const char *age, struct http_header out[KEPT_HEADERS_MAX])
{
    out[0] = (struct http_header){"Cache-Control", "no-cache"};
    out[1] = (struct http_header){"Vary", "Accept"};
    out[2] = (struct http_header){"X-Cache", x_cache};
    out[3] = (struct http_header){"Age", age};
    return 4;
}

size_t kept_headers(const struct request *request, struct http_header out[KEPT_HEADERS_MAX])
{
    return headers_of(request->kept.way == KEPT_MISS ? "miss" : "bypass", "0", out);
}

/* Does the client want nothing that was kept? max-age=0 is what browsers send for a reload. */
static bool wants_fresh(struct view cache_control)
{
    return cache_control.at &&
           (strcasestr(cache_control.at, "no-cache") || strcasestr(cache_control.at, "no-store") || strcasestr(cache_control.at, "max-age=0"));
}

/* ---- keys ---- */

/* The path and query as sent; behind an 'm', which no path begins with, if the answer is MessagePack. */
#define KEY_MAX 256
struct key {
    char text[KEY_MAX];
    struct view view; /* .at is NULL if the target is too long to be kept */
};

static void key_make(struct key *key, struct view target, enum format format)
{
    key->view = (struct view){NULL, 0};
    if (format == FORMAT_JSON && target.len <= KEY_MAX)
        key->view = target;
    if (format == FORMAT_JSON || target.len > KEY_MAX - 1)
        return;
    key->text[0] = 'm';
    memcpy(key->text + 1, target.at, target.len);
    key->view = (struct view){key->text, target.len + 1};
}

/* ---- hits ---- */

/* The answer to ${key} without a body. Returns NULL if memory is short. */
static struct http_prepared *same_of(struct worker_thread *thread, struct view key, struct kept *kept)
{
    struct http_header headers[KEPT_HEADERS_MAX + 1];
    struct http_response response = {.status = 304, .headers = headers};
    if (kept->same)
        return kept->same;
    response.header_count = headers_of("hit", thread->age, headers);
    headers[response.header_count++] = (struct http_header){"ETag", kept->etag};
    kept->same = http_prepare(&response, "X-Request-Id");
    if (kept->same)
        near_grew(store_near(thread->public.store), key, http_prepared_bytes(kept->same));
    return kept->same;
}

/* What is asked for by headers: which format, and may what was kept be given? Whatever is unusual goes the long way, which knows everything. */
static bool may_be_kept(const struct exchange *exchange, enum format *format)
{
    enum method method = exchange_method(exchange);
    if ((method != METHOD_GET && method != METHOD_HEAD) || exchange_header(exchange, HTTP_IDEMPOTENCY_KEY).at)
        return false;
    return !wants_fresh(exchange_header(exchange, HTTP_CACHE_CONTROL)) && door_format(exchange_header(exchange, HTTP_ACCEPT), format);
}

static void tell(struct worker_thread *thread, const struct exchange *exchange, const struct kept *kept, struct view request_id, int status)
{
    const struct access access = {
        .exchange = exchange,
        .route = thread->public.service->program->routes[kept->route].path,
        .request_id = request_id,
        .traceparent = exchange_header(exchange, HTTP_TRACEPARENT),
        .status = status,
    };
    access_tell(&thread->access, &access);
}

bool kept_answer(struct worker_thread *thread, struct exchange *exchange)
{
    struct near_cache *near = store_near(thread->public.store);
    enum format format;
    struct key key;
    if (near == NULL || !may_be_kept(exchange, &format))
        return false;
    key_make(&key, exchange_target(exchange), format);
    int64_t now_us = clock_us();
    struct kept *kept = key.view.at ? near_hit(near, key.view, now_us) : NULL;
    if (kept == NULL)
        return false;
    struct view known = exchange_header(exchange, HTTP_IF_NONE_MATCH);
    struct http_prepared *prepared = kept->whole;
    if (known.at) {
        if (kept->version && etag_newest(known) > kept->version)
            return false; /* the client has seen a newer one than we keep */
        if (etag_names(known, view_of(kept->etag)) && (prepared = same_of(thread, key.view, kept)) == NULL)
            return false;
    }
    const struct caller *caller;
    if (door_check(thread, exchange, kept->scope, now_us, &caller) != AUTH_GRANTED)
        return false; /* the long way says why */
    char made[REQUEST_ID_LEN];
    struct view request_id = door_request_id(thread, exchange, made);
    int status = prepared == kept->whole ? 200 : 304;
    metrics_request(&thread->metrics, kept->route, status, 0);
    if (log_level() == LOG_DEBUG)
        tell(thread, exchange, kept, request_id, status);
    http_respond_prepared(exchange, prepared, request_id);
    return true;
}

/* ---- misses ---- */

bool kept_begin(struct request *request)
{
    struct worker_thread *thread = request->thread;
    struct near_cache *near = store_near(thread->public.store);
    unsigned flags = request->route->flags;
    struct key key;
    bool joined = false;
    request->kept.way = KEPT_BYPASS;
    key_make(&key, exchange_target(request->exchange), request->ask.format);
    if (near == NULL || key.view.at == NULL || wants_fresh(request->ask.cache_control))
        return true;
    struct near_mark *mark = near_mark(near, key.view, flags & ROUTE_NEAR_RECORD ? request->ask.ids[0] : 0, request->since_us, &joined);
    if (mark == NULL)
        return true;
    request->kept.way = KEPT_MISS;
    if (!joined) {
        request->kept.mark = mark;
        return true;
    }
    void **waiting = near_waiting(mark);
    request->kept.waiting = *waiting;
    *waiting = request;
    return false;
}

/* Returns NULL if memory is short. */
static struct kept *kept_new(struct request *request, const struct answer *answer)
{
    struct http_header headers[ANSWER_HEADERS_MAX + KEPT_HEADERS_MAX + 1] = {{"Content-Type", answer->content_type}};
    struct http_response response = {.status = 200, .body = answer->body, .headers = headers, .header_count = 1};
    const char *etag = answer_header_of(answer, "ETag");
    struct kept *kept = calloc(1, sizeof(*kept));
    if (kept == NULL || etag == NULL || strlen(etag) >= sizeof(kept->etag)) {
        kept_free(kept);
        return NULL;
    }
    for (size_t i = 0; i < answer->header_count; i++)
        headers[response.header_count++] = answer->headers[i];
    response.header_count += headers_of("hit", request->thread->age, headers + response.header_count);
    kept->whole = http_prepare(&response, "X-Request-Id");
    kept->route = door_route_index(request);
    kept->scope = request->route->scope;
    kept->version = answer->version;
    memcpy(kept->etag, etag, strlen(etag) + 1);
    if (kept->whole == NULL) {
        kept_free(kept);
        return NULL;
    }
    return kept;
}

/*
 * Those who wait asked for the very same, but some may have seen a newer version elsewhere, while the answer was on its way: these read for
 * themselves. What went wrong for the one who read is said with its request_id, so then all do.
 */
static void answer_waiting(struct request *waiting, struct flow *flow, struct answer *answer)
{
    while (waiting) {
        struct request *next = waiting->kept.waiting;
        if (answer->status == 200 && etag_newest(waiting->ask.if_none_match) <= answer->version)
            door_answer_copy(waiting, flow, answer);
        else
            door_start(waiting);
        waiting = next;
    }
}

void kept_end(struct request *request, struct flow *flow, struct answer *answer)
{
    struct near_cache *near = store_near(request->thread->public.store);
    struct near_mark *mark = request->kept.mark;
    request->kept.mark = NULL;
    if (mark == NULL) {
        if (near && answer->keep && answer->version)
            near_saw(near, request->ask.ids[0], answer->version);
        return;
    }
    struct request *waiting = *near_waiting(mark);
    struct kept *kept = answer->keep ? kept_new(request, answer) : NULL;
    if (kept == NULL)
        near_unmark(near, mark);
    else if (!near_fill(near, mark, answer->version, answer->rests_up_to, kept, sizeof(*kept) + http_prepared_bytes(kept->whole)))
        kept_free(kept);
    answer_waiting(waiting, flow, answer);
}
