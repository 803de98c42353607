#include <sys/socket.h>

#include "check.h"
#include "clock.h"
#include "log.h"

#include "http_internal.h"

/*
 * One request and its answer. It lies in its own arena, from the request line to the end of the answer:
 *
 *   exchange_begin      libmicrohttpd has the request line: the raw target is kept, later it is cut and unescaped in place
 *   exchange_step       first call: the gate · then each part of the body · then, all read: on_request
 *   http_respond        inside on_request the answer is queued at once; else the connection is suspended until it comes
 *   exchanges_suspend   libmicrohttpd has run: suspends those that were not answered meanwhile
 *   exchange_end        the answer was sent, or the connection broke: http's hold on the arena ends
 *
 * A client that leaves while its connection is suspended is noticed when the answer is sent, so an exchange outlives its client and
 * http_respond needs no special case.
 *
 * Suspended inside exchange_step, a connection would still want to read as libmicrohttpd has it: resumed, it would read before it answers, and close
 * without a word when the client has ended his side meanwhile. Behind the run it wants nothing but the answer.
 */
struct exchange {
    struct http *http;
    struct connection *connection;
    struct MHD_Connection *mhd;
    struct arena *arena;
    enum method method;
    struct view target; /* raw: path and query */
    struct view path;
    struct buffer body;
    size_t body_max; /* of this path */
    void *cookie;
    struct view known[HTTP_KNOWN_COUNT];
    bool inside;       /* counted in http->inside */
    bool bulk;         /* counted in http->bulk */
    bool unanswerable; /* there was no memory for the answer: the connection closes instead */
};

/* Bodies up to this size are given their room at once. Larger ones grow as they come: a promise of a body must not cost memory. */
#define BODY_AT_ONCE ((size_t)16384)

/*
 * ${target} is what stood between the method and the version; with junk it can be NULL. What is returned becomes the request's value
 * in the other calls.
 */
void *exchange_begin(void *cookie, const char *target, struct MHD_Connection *mhd)
{
    struct connection *connection = connection_of(mhd);
    struct arena *arena;
    struct exchange *exchange;

    if (!connection || (connection->phase != PHASE_NEW && connection->phase != PHASE_IDLE))
        return NULL;
    arena = arena_new();
    exchange = ARENA_NEW(arena, struct exchange);
    exchange->http = cookie;
    exchange->connection = connection;
    exchange->mhd = mhd;
    exchange->arena = arena;
    exchange->target = arena_copy(arena, view_of(target));
    exchange->path = gate_path(exchange->target);
    exchange->body.arena = arena;
    connection->exchange = exchange;
    connection->whole = false;
    connection_move(connection, PHASE_HEAD);
    if (gate_index_bytes(exchange->target) > exchange->http->limits.index_max) {
        exchange_refuse(exchange, 414, "The query has more parameters than this service takes.");
        shutdown(connection->fd, SHUT_RDWR); /* libmicrohttpd has no way to say no here; it will find the stream's end */
    }
    return exchange;
}

void exchange_drop(struct exchange *exchange)
{
    if (!exchange)
        return;
    exchange->connection->exchange = NULL;
    exchange->http->inside -= exchange->inside;
    exchange->http->bulk -= exchange->bulk;
    arena_free(exchange->arena);
}

void exchange_end(void *cookie, struct MHD_Connection *mhd, void **request, enum MHD_RequestTerminationCode why)
{
    struct exchange *exchange = *request;

    *request = NULL;
    if (!exchange)
        return;
    exchange->connection->whole = why == MHD_REQUEST_TERMINATED_COMPLETED_OK;
    if (exchange->connection->phase != PHASE_GONE)
        connection_move(exchange->connection, PHASE_IDLE);
    exchange_drop(exchange);
}

/* A value that would begin a line of its own is left out: a refused request may hold such bytes, and an echo must not pass them on. */
static void add_header(struct buffer *text, const char *name, const char *value)
{
    if (strpbrk(value, "\r\n"))
        return;
    buffer_add_view(text, view_of(name));
    buffer_add_view(text, VIEW(": "));
    buffer_add_view(text, view_of(value));
    buffer_add_view(text, VIEW("\r\n"));
}

/* A refusal as it goes over the wire. */
static struct view refusal_text(struct exchange *exchange, const struct http_response *response)
{
    struct buffer text = {.arena = exchange->arena};
    char date[CLOCK_RFC3339_MAX];

    clock_http_date(date, clock_wall_ms());
    buffer_add_view(&text, VIEW("HTTP/1.1 "));
    buffer_add_int(&text, response->status);
    buffer_add_view(&text, VIEW(" "));
    buffer_add_view(&text, view_of(MHD_get_reason_phrase_for((unsigned)response->status)));
    buffer_add_view(&text, VIEW("\r\n"));
    add_header(&text, "Date", date);
    add_header(&text, "Connection", "close");
    for (size_t i = 0; i < response->header_count; i++)
        add_header(&text, response->headers[i].name, response->headers[i].value);
    buffer_add_view(&text, VIEW("Content-Length: "));
    buffer_add_int(&text, (long long)response->body.len);
    buffer_add_view(&text, VIEW("\r\n\r\n"));
    if (exchange->method != METHOD_HEAD)
        buffer_add_view(&text, response->body);
    return buffer_view(&text);
}

/*
 * libmicrohttpd takes an answer before the body or after it, not in the middle, and what it cannot take it cannot be asked to linger for. So every
 * refusal goes the same way, straight to the socket: nothing else is under way there, because answers of earlier requests are sent
 * before the next request is parsed. What a full socket does not take of these few bytes is lost with the connection.
 */
void exchange_refuse(struct exchange *exchange, int status, const char *detail)
{
    struct http *http = exchange->http;
    struct http_response response = {.status = status};
    struct view text;
    ssize_t sent;

    connection_move(exchange->connection, PHASE_GONE);
    http->on_refusal(http->cookie, exchange, status, detail, &response);
    text = refusal_text(exchange, &response);
    sent = send(exchange->connection->fd, text.at, text.len, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent != (ssize_t)text.len)
        log_debug("refusal %d was not sent: the client has left or does not read", status);
}

static enum MHD_Result got_header(void *cookie, enum MHD_ValueKind kind, const char *name, size_t name_len, const char *value, size_t value_len)
{
    gate_header(cookie, (struct view){name, name_len}, (struct view){value, value_len});
    return MHD_YES;
}

static size_t body_max_of(const struct exchange *exchange)
{
    const struct http_settings *settings = &exchange->http->settings;

    return settings->is_bulk && settings->is_bulk(exchange->http->cookie, exchange->method, exchange->path) ? settings->bulk_max : settings->body_max;
}

/* May a body be sent? */
static struct gate_verdict check_sender(struct exchange *exchange)
{
    const struct http_settings *settings = &exchange->http->settings;

    if (arena_low())
        return (struct gate_verdict){503, "The service is short of memory and takes no bodies now."};
    return (struct gate_verdict){settings->on_head ? settings->on_head(exchange->http->cookie, exchange) : 0, ""};
}

/* The request line and all headers are there; nothing of the body is. */
static bool check_head(struct exchange *exchange, const char *method, const char *version)
{
    struct gate gate;
    struct gate_verdict verdict;

    gate_open(&gate, exchange->http->limits, view_of(method), exchange->target, view_of(version), exchange->known);
    exchange->method = gate.method;
    exchange->body_max = gate.limits.body_max = body_max_of(exchange);
    MHD_get_connection_values_n(exchange->mhd, MHD_HEADER_KIND, got_header, &gate);
    verdict = gate_close(&gate);
    if (verdict.status == 0 && (gate.length > 0 || gate.chunked))
        verdict = check_sender(exchange);
    if (verdict.status != 0) {
        exchange_refuse(exchange, verdict.status, verdict.detail);
        return false;
    }
    if (gate.length > 0)
        buffer_room(&exchange->body, gate.length < BODY_AT_ONCE ? (size_t)gate.length : BODY_AT_ONCE);
    connection_move(exchange->connection, PHASE_BODY);
    return true;
}

/* A body grows beyond what everybody may have at any time. Counted when it does and not when it is announced: a promise takes no place. */
static bool begin_bulk(struct exchange *exchange)
{
    struct http *http = exchange->http;

    if (http->bulk >= http->settings.bulk_at_once)
        return false;
    http->bulk++;
    exchange->bulk = true;
    return true;
}

static bool add_body(struct exchange *exchange, const char *part, size_t *size)
{
    /* The gate knows announced lengths; a chunked body shows its size only as it comes. */
    if (*size > exchange->body_max - exchange->body.len) {
        exchange_refuse(exchange, 413, "The body is larger than this service takes.");
        return false;
    }
    if (!exchange->bulk && *size + exchange->body.len > exchange->http->settings.body_max && !begin_bulk(exchange)) {
        exchange_refuse(exchange, 503, "As many large bodies as this worker takes at a time are under way; send it again shortly.");
        return false;
    }
    buffer_add(&exchange->body, part, *size);
    *size = 0;
    return true;
}

static void suspend(struct exchange *exchange)
{
    MHD_suspend_connection(exchange->mhd);
    connection_move(exchange->connection, PHASE_SUSPENDED);
    exchange->http->suspended++;
}

static bool ask(struct exchange *exchange)
{
    struct http *http = exchange->http;

    if (http->stopping) {
        exchange_refuse(exchange, 503, "The service is shutting down.");
        return false;
    }
    connection_move(exchange->connection, PHASE_INSIDE);
    exchange->inside = true;
    http->inside++;
    http->on_request(http->cookie, exchange);
    if (exchange->connection->phase == PHASE_INSIDE)
        connection_move(exchange->connection, PHASE_ASKED);
    return !exchange->unanswerable;
}

void exchanges_suspend(struct http *http)
{
    while (http->queues[QUEUE_ASKED].first)
        suspend(http->queues[QUEUE_ASKED].first->exchange);
}

enum MHD_Result exchange_step(void *cookie, struct MHD_Connection *mhd, const char *url, const char *method, const char *version, const char *upload,
                              size_t *upload_size, void **request)
{
    struct exchange *exchange = *request;
    bool go_on = false;

    if (!exchange)
        return MHD_NO; /* exchange_begin had no memory, or the connection is out of time */
    switch (exchange->connection->phase) {
    case PHASE_HEAD:
        go_on = check_head(exchange, method, version);
        break;
    case PHASE_BODY:
        go_on = upload ? add_body(exchange, upload, upload_size) : ask(exchange); /* a part can be empty; behind the last one there is none */
        break;
    default:
        break; /* refused, or unanswerable: closing is all that is left */
    }
    return go_on ? MHD_YES : MHD_NO;
}

enum method exchange_method(const struct exchange *exchange)
{
    return exchange->method;
}

struct view exchange_path(const struct exchange *exchange)
{
    return exchange->path;
}

struct view exchange_query(const struct exchange *exchange)
{
    size_t start = exchange->path.len < exchange->target.len ? exchange->path.len + 1 : exchange->path.len;

    return (struct view){exchange->target.at + start, exchange->target.len - start};
}

struct view exchange_target(const struct exchange *exchange)
{
    return exchange->target;
}

struct view exchange_header(const struct exchange *exchange, enum http_known name)
{
    return exchange->known[name];
}

struct view exchange_body(const struct exchange *exchange)
{
    return buffer_view(&exchange->body);
}

struct arena *exchange_arena(struct exchange *exchange)
{
    return exchange->arena;
}

void exchange_set_cookie(struct exchange *exchange, void *cookie)
{
    exchange->cookie = cookie;
}

void *exchange_cookie(const struct exchange *exchange)
{
    return exchange->cookie;
}

struct MHD_Response *exchange_make_response(const struct http_response *response, enum MHD_ResponseMemoryMode mode, bool close)
{
    void *body = (void *)(uintptr_t)response->body.at; /* libmicrohttpd only reads it; its type is older than const */
    struct MHD_Response *made = MHD_create_response_from_buffer(response->body.len, body, mode);
    bool complete = made != NULL;

    if (complete && close)
        complete = MHD_add_response_header(made, MHD_HTTP_HEADER_CONNECTION, "close") == MHD_YES;
    for (size_t i = 0; complete && i < response->header_count; i++)
        complete = MHD_add_response_header(made, response->headers[i].name, response->headers[i].value) == MHD_YES;
    if (made && !complete) {
        MHD_destroy_response(made);
        made = NULL;
    }
    return made;
}

static bool queue_response(struct exchange *exchange, const struct http_response *response)
{
    struct MHD_Response *made = exchange_make_response(response, MHD_RESPMEM_PERSISTENT, response->close || exchange->http->winding_down);
    bool queued;

    if (!made)
        return false;
    queued = MHD_queue_response(exchange->mhd, (unsigned)response->status, made) == MHD_YES;
    MHD_destroy_response(made);
    return queued;
}

/* It is answered by now, or cannot be. */
static void answered(struct exchange *exchange, int status, bool queued)
{
    connection_move(exchange->connection, PHASE_SENDING);
    exchange->unanswerable = !queued;
    if (!queued)
        log_error("cannot answer %d to a %s: no memory, or a header that cannot be sent; its connection is closed", status,
                  method_name(exchange->method));
}

void http_respond_prepared(struct exchange *exchange, struct http_prepared *prepared, struct view stamp)
{
    bool good = (!exchange->http->winding_down || prepared_close(prepared)) && prepared_stamp(prepared, stamp);

    CHECK(exchange->connection->phase == PHASE_INSIDE);
    answered(exchange, prepared->status, good && MHD_queue_response(exchange->mhd, prepared->status, prepared->made) == MHD_YES);
}

void http_respond(struct exchange *exchange, const struct http_response *response)
{
    enum phase phase = exchange->connection->phase;

    if (phase == PHASE_ASKED)
        suspend(exchange); /* answered from within another's on_request, in the same run */
    answered(exchange, response->status, queue_response(exchange, response));
    if (phase != PHASE_INSIDE) {
        exchange->http->suspended--;
        exchange->http->resumed = true;
        MHD_resume_connection(exchange->mhd);
    }
}
