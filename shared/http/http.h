#ifndef HTTP_H
#define HTTP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "arena.h"
#include "view.h"

/*
 * HTTP behind start, respond, stop: the only place that knows libmicrohttpd. One daemon per thread in external epoll mode, its descriptor
 * on the thread's loop, SO_REUSEPORT.
 *
 *   client ──bytes──▶ gate (first handler call: refuses what must not be parsed further)
 *                       └──▶ body collected ──▶ on_request(exchange)  ── connection suspended unless answered inside the call
 *   client ◀──bytes── http_respond(exchange)                             (any later turn, same thread)
 *
 * A client that ends his side of the connection behind a whole request is answered, and then the connection ends. Of a request that is not whole by
 * then nothing is carried out.
 */
struct loop;
struct http;
struct exchange;

enum method { METHOD_GET, METHOD_HEAD, METHOD_POST, METHOD_PUT, METHOD_PATCH, METHOD_DELETE, METHOD_OPTIONS };
#define METHOD_COUNT 7
const char *method_name(enum method method);

/* The headers of a request that somebody above asks for: they are picked out while the gate looks at all of them. */
enum http_known {
    HTTP_ACCEPT,
    HTTP_AUTHORIZATION,
    HTTP_CACHE_CONTROL,
    HTTP_CONTENT_TYPE,
    HTTP_IDEMPOTENCY_KEY,
    HTTP_IF_MATCH,
    HTTP_IF_NONE_MATCH,
    HTTP_PREFER,
    HTTP_TRACEPARENT,
    HTTP_X_REQUEST_ID,
    HTTP_KNOWN_COUNT
};

struct http_settings {
    const char *address;      /* "127.0.0.1" */
    int port;                 /* 0: any free one; see http_port */
    bool first;               /* the first of this process on that port: checks that nobody else has it (SO_REUSEPORT would hide it) */
    size_t headers_max;       /* bytes of the header section, at least 2048; above: 431. The connection's pool is sized from it */
    size_t body_max;          /* above: 413 */
    size_t bulk_max;          /* the same for the requests of ${is_bulk} */
    unsigned bulk_at_once;    /* so many bodies above ${body_max} may be held at a time; further ones are answered 503. Bounds memory */
    unsigned connections_max; /* the kernel queues more; shed load below it by answering 503 */
    int request_timeout_ms;   /* from the first byte of a request to its last: above: 408 and closed */
    /* May the body of such a request be as large as ${bulk_max}? Asked, with the cookie, before a byte of a body is read. NULL: none may. */
    bool (*is_bulk)(void *cookie, enum method method, struct view path);
    /*
     * The head of a request with a body is whole: may the body be sent? Returns 0, or the status of a refusal, for which on_refusal is called with an
     * empty sentence. NULL: always.
     */
    int (*on_head)(void *cookie, const struct exchange *exchange);
};

/*
 * The gate has let a whole request through. Answer with http_respond exactly once, in this call or in any later turn.
 * Everything reached through ${exchange} stays valid until then.
 */
typedef void http_on_request(void *cookie, struct exchange *exchange);

/*
 * A request was refused before it was whole: by the gate, as too large, or as too slow (${status} and a sentence). The callback fills ${response}
 * (texts must stay valid until it is called again, or are in the exchange's arena, or static), so that errors look alike everywhere. The connection
 * closes after it. http_respond is not called, and ${exchange} is not to be touched afterwards.
 */
struct http_response;
typedef void http_on_refusal(void *cookie, struct exchange *exchange, int status, const char *detail, struct http_response *response);

/* Returns NULL and logs (naming address and port, and what to do) if it cannot listen. */
struct http *http_start(struct loop *loop, const struct http_settings *settings, http_on_request *on_request, http_on_refusal *on_refusal,
                        void *cookie);
int http_port(const struct http *http);
/* Is this an address that only this machine reaches? Anything else, also what is no address, is not. */
bool http_is_loopback(const char *address);

/* The request. */
enum method exchange_method(const struct exchange *exchange);
struct view exchange_path(const struct exchange *exchange);                     /* raw, as sent, without the query */
struct view exchange_query(const struct exchange *exchange);                    /* raw, without '?', empty if none */
struct view exchange_target(const struct exchange *exchange);                   /* both, as sent */
struct view exchange_header(const struct exchange *exchange, enum http_known name); /* the first of that name; .at is NULL if absent */
struct view exchange_body(const struct exchange *exchange);
struct arena *exchange_arena(struct exchange *exchange); /* the request's memory; http's hold on it ends when the answer was sent */
/* One value for whoever answers. */
void exchange_set_cookie(struct exchange *exchange, void *cookie);
void *exchange_cookie(const struct exchange *exchange);

struct http_header {
    const char *name, *value;
};
struct http_response {
    int status;
    struct view body;                  /* from the exchange's arena, or static */
    const struct http_header *headers; /* Content-Type and all others but Date, Content-Length, Connection */
    size_t header_count;
    bool close; /* close the connection after it */
};

/* Answers. For HEAD the body is measured and not sent. Must be called once; the exchange is not to be touched afterwards. */
void http_respond(struct exchange *exchange, const struct http_response *response);

/*
 * An answer that is made once and sent often. ${stamped} (static) is one more header, whose value is another each time. ${response} is copied.
 * Returns NULL if memory is short or a header cannot be sent. It belongs to one thread.
 */
#define HTTP_STAMP_MAX 64
struct http_prepared;
struct http_prepared *http_prepare(const struct http_response *response, const char *stamped);
/* About how much memory it takes. */
size_t http_prepared_bytes(const struct http_prepared *prepared);
/* May be called while connections still send it. NULL: does nothing. */
void http_prepared_free(struct http_prepared *prepared);

/*
 * Answers with it, under ${stamp} (1 to HTTP_STAMP_MAX bytes). Only inside on_request: a suspended connection would write the headers down later,
 * with the stamp of somebody else. Must be called once; the exchange is not to be touched afterwards. The prepared answer may be freed at any time
 * after it.
 */
void http_respond_prepared(struct exchange *exchange, struct http_prepared *prepared, struct view stamp);

/* How many requests are inside (between on_request and the end of their answer), and connections open. */
unsigned http_inside(const struct http *http);
unsigned http_connections(const struct http *http);

/*
 * The end, so that no client loses a request by it. Three steps, in this order; each may be left out, and each may be called twice.
 *
 *   http_wind_down  every answer from here on says "Connection: close". Idle connections stay: a client may be sending on one just now. It has its
 *                   answer, and the connection is gone without a race. New ones are accepted as before, for whoever has not heard yet that we go.
 *   http_deafen     no connection is begun any more, but those that were are still made: give them a moment, some round trips. Where the kernel
 *                   cannot do that nothing happens.
 *   http_quiesce    stops listening: who connects is refused, and knows that nothing was done. What the kernel has accepted is taken in first, so
 *                   on_request may run inside. Not callable from on_request.
 */
void http_wind_down(struct http *http);
void http_deafen(struct http *http);
void http_quiesce(struct http *http);
/*
 * Every exchange must have been answered. Sends what is still to be sent (waits for slow readers up to half a second), closes all connections and
 * frees ${http}. Call it after loop_run has returned and before loop_free: hooks stay with the loop.
 */
void http_stop(struct http *http);

#endif
