#ifndef HTTP_INTERNAL_H
#define HTTP_INTERNAL_H

#include <microhttpd.h>

#include "gate.h"
#include "http.h"

struct loop_timer;
struct loop_watch;
struct connection;
struct lingerer;

/*
 * A connection's life. The deadline of each phase is absolute: a byte now and then buys no time.
 *
 *            request line      gate let through    body whole          http_respond    answer sent
 *   NEW ──────────┬─▶ HEAD ───────────▶ BODY ───────────▶ INSIDE ───────────▶ SENDING ───────────▶ IDLE
 *                 │                                       └─▶ ASKED ─▶ SUSPENDED ─▲                 │
 *                 └─────────────────────────────────────────────────────────────────────────────────┘
 *   ASKED: on_request has returned without an answer. SUSPENDED: libmicrohttpd has run since, or the answer came before.
 *   GONE: refused or out of time. Nothing more is read; libmicrohttpd closes it in this turn or the next.
 */
enum phase { PHASE_NEW, PHASE_HEAD, PHASE_BODY, PHASE_INSIDE, PHASE_ASKED, PHASE_SUSPENDED, PHASE_SENDING, PHASE_IDLE, PHASE_GONE, PHASE_COUNT };

/* Connections with the same time limit, the one nearest to it first. QUEUE_ASKED: they stay until libmicrohttpd has run. QUEUE_NONE: no limit. */
enum queue { QUEUE_NONE, QUEUE_ASKED, QUEUE_REQUEST, QUEUE_QUIET, QUEUE_COUNT };

struct connection {
    struct connection *prev, *next; /* in its queue */
    struct http *http;
    struct exchange *exchange; /* from the request line to the end of its answer, else NULL */
    enum phase phase;
    int64_t since_ms; /* when it entered its queue */
    int fd;           /* libmicrohttpd's; valid until it says that the connection is closed */
    bool whole;       /* the last request was read to its end: no unread bytes that would make a close destroy the answer */
};

struct http {
    struct loop *loop;
    struct http_settings settings;
    struct gate_limits limits;
    http_on_request *on_request;
    http_on_refusal *on_refusal;
    void *cookie;

    struct MHD_Daemon *daemon;
    struct loop_watch *watch; /* of the daemon's epoll descriptor */
    struct loop_timer *due;   /* when libmicrohttpd wants to run though nothing happens */
    struct loop_timer *sweep; /* ends what is out of time; set while there are connections */
    int epoll_fd, port;
    int64_t now_ms;    /* of the last pass: as fine as limits of seconds need */
    bool ready;        /* the epoll descriptor or ${due} says that there is work */
    bool resumed;      /* so do answers to suspended exchanges, and a connection that makes room for others */
    bool running;      /* inside MHD_run */
    bool winding_down; /* each answer closes its connection */
    bool quiesced;     /* no new connections */
    bool stopping;     /* on_request is not called any more */
    bool starved;      /* libmicrohttpd does not accept until a connection closes */
    int64_t warned_ms; /* when it last said that the limit of connections is reached */

    struct {
        struct connection *first, *last;
    } queues[QUEUE_COUNT];
    int64_t swept_ms; /* of the last sweep */
    struct lingerer *lingering;
    unsigned connections, inside, suspended, lingering_count;
    unsigned bulk; /* exchanges that hold a body above settings.body_max */
};

/* libmicrohttpd could not accept for want of descriptors or memory. */
void connections_starve(struct http *http);

/* Runs libmicrohttpd until it has nothing left to do (or often enough for one turn: then http->ready is set again). */
void http_work(struct http *http);

/* connection.c: phases, deadlines, closing. */
void connection_notified(void *cookie, struct MHD_Connection *mhd, void **context, enum MHD_ConnectionNotificationCode what);
struct connection *connection_of(struct MHD_Connection *mhd);
void connection_move(struct connection *connection, enum phase to);
void connections_sweep(void *cookie);

/* linger.c: keeps the connection of ${fd}, which is about to be closed, while its client still sends. Cannot fail: at worst it just closes. */
void linger_begin(struct http *http, int fd);
void linger_end_all(struct http *http);

/* exchange.c: libmicrohttpd's three calls in a request's life. */
void *exchange_begin(void *cookie, const char *target, struct MHD_Connection *mhd);
enum MHD_Result exchange_step(void *cookie, struct MHD_Connection *mhd, const char *url, const char *method, const char *version, const char *upload,
                              size_t *upload_size, void **request);
void exchange_end(void *cookie, struct MHD_Connection *mhd, void **request, enum MHD_RequestTerminationCode why);

/* Returns NULL when memory is short, or when a header cannot be sent as it is. */
struct MHD_Response *exchange_make_response(const struct http_response *response, enum MHD_ResponseMemoryMode mode, bool close);

/* prepared.c */
struct http_prepared {
    struct MHD_Response *made;
    unsigned status;
    const char *stamped; /* the header's name; static */
    char *stamp;         /* its value within ${made} */
    size_t stamp_len, bytes;
    bool closes; /* says "Connection: close" */
};
/* Sets its stamp; has it close its connections from here on. Both return false if memory is short or it cannot be sent. */
bool prepared_stamp(struct http_prepared *prepared, struct view stamp);
bool prepared_close(struct http_prepared *prepared);

/* libmicrohttpd has run. */
void exchanges_suspend(struct http *http);

/* Ends an exchange that is not whole yet with a refusal, written straight to the socket. */
void exchange_refuse(struct exchange *exchange, int status, const char *detail);
/* Frees an exchange that will not be answered. NULL: does nothing. */
void exchange_drop(struct exchange *exchange);

#endif
