#include <stdlib.h>
#include <sys/socket.h>

#include "check.h"
#include "clock.h"
#include "log.h"
#include "loop.h"

#include "http_internal.h"

/* An idle connection is kept this long, and a client may take this long to read its answer. */
#define QUIET_MS 60000
#define SWEEP_MS_MAX 1000
#define WARN_EVERY_MS 10000
/* How often a connection is given up while none can be accepted. */
#define STARVED_MS 50

#define BIT(phase) (1u << (phase))

/* From a phase to which others, and under which limit it stands. HEAD and BODY share one queue and one beginning: the limit is the request's. */
static const struct {
    unsigned next;
    enum queue queue;
} phases[PHASE_COUNT] = {
    [PHASE_NEW] = {BIT(PHASE_HEAD) | BIT(PHASE_GONE), QUEUE_REQUEST},
    [PHASE_HEAD] = {BIT(PHASE_BODY) | BIT(PHASE_IDLE) | BIT(PHASE_GONE), QUEUE_REQUEST},
    [PHASE_BODY] = {BIT(PHASE_INSIDE) | BIT(PHASE_IDLE) | BIT(PHASE_GONE), QUEUE_REQUEST},
    /* Whoever has the exchange has its deadline. */
    [PHASE_INSIDE] = {BIT(PHASE_ASKED) | BIT(PHASE_SENDING), QUEUE_NONE},
    [PHASE_ASKED] = {BIT(PHASE_SUSPENDED), QUEUE_ASKED},
    [PHASE_SUSPENDED] = {BIT(PHASE_SENDING), QUEUE_NONE},
    [PHASE_SENDING] = {BIT(PHASE_IDLE) | BIT(PHASE_GONE), QUEUE_QUIET},
    [PHASE_IDLE] = {BIT(PHASE_HEAD) | BIT(PHASE_GONE), QUEUE_QUIET},
    [PHASE_GONE] = {0, QUEUE_NONE},
};

static void queue_add(struct connection *connection, enum queue which)
{
    struct http *http = connection->http;

    connection->since_ms = http->now_ms;
    connection->next = NULL;
    connection->prev = http->queues[which].last;
    if (connection->prev)
        connection->prev->next = connection;
    else
        http->queues[which].first = connection;
    http->queues[which].last = connection;
}

static void queue_remove(struct connection *connection, enum queue which)
{
    struct http *http = connection->http;

    if (connection->prev)
        connection->prev->next = connection->next;
    else
        http->queues[which].first = connection->next;
    if (connection->next)
        connection->next->prev = connection->prev;
    else
        http->queues[which].last = connection->prev;
    connection->prev = connection->next = NULL;
}

void connection_move(struct connection *connection, enum phase to)
{
    enum phase from = connection->phase;

    CHECK(phases[from].next & BIT(to));
    connection->phase = to;
    if (from != PHASE_HEAD || to != PHASE_BODY) {
        queue_remove(connection, phases[from].queue);
        queue_add(connection, phases[to].queue);
    }
}

struct connection *connection_of(struct MHD_Connection *mhd)
{
    const union MHD_ConnectionInfo *info = MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_SOCKET_CONTEXT);

    return info ? info->socket_context : NULL;
}

/* The sweep is as fine as an eighth of the shortest limit: what is out of time ends at most that much later. */
static int64_t sweep_ms(const struct http *http)
{
    int64_t eighth = http->settings.request_timeout_ms / 8 + 1;

    return eighth < SWEEP_MS_MAX ? eighth : SWEEP_MS_MAX;
}

static void warn_if_full(struct http *http)
{
    int64_t now_ms = clock_us() / 1000;

    if (http->connections == http->settings.connections_max && now_ms - http->warned_ms >= WARN_EVERY_MS) {
        http->warned_ms = now_ms;
        log_warn("%u connections on port %d are all that is allowed: further ones wait in the kernel; raise SOUK_HTTP_CONNECTIONS or add workers",
                 http->connections, http->port);
    }
}

static void connection_started(struct http *http, struct MHD_Connection *mhd, void **context)
{
    const union MHD_ConnectionInfo *info = MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_CONNECTION_FD);
    struct connection *connection = info ? calloc(1, sizeof(*connection)) : NULL;

    *context = connection;
    if (!connection)
        return; /* exchange_begin finds none, and the connection ends at its first request */
    connection->http = http;
    connection->fd = info->connect_fd;
    connection->phase = PHASE_NEW;
    queue_add(connection, phases[PHASE_NEW].queue);
    if (http->connections == 0)
        loop_timer_set(http->sweep, sweep_ms(http));
    http->connections++;
    warn_if_full(http);
}

static void connection_closed(struct connection *connection)
{
    struct http *http = connection->http;

    /* A request whose end libmicrohttpd did not report. */
    exchange_drop(connection->exchange);
    if (!connection->whole && http->daemon)
        linger_begin(http, connection->fd);
    queue_remove(connection, phases[connection->phase].queue);
    free(connection);
    /* libmicrohttpd watches its listener again only when it runs once more after this, and nothing else may bring that about. */
    if (http->starved || http->connections == http->settings.connections_max)
        http->resumed = true;
    http->starved = false;
    http->connections--;
    if (http->connections == 0)
        loop_timer_clear(http->sweep);
}

void connection_notified(void *cookie, struct MHD_Connection *mhd, void **context, enum MHD_ConnectionNotificationCode what)
{
    if (what == MHD_CONNECTION_NOTIFY_STARTED) {
        connection_started(cookie, mhd, context);
    } else if (*context) {
        connection_closed(*context);
        *context = NULL;
    }
}

/*
 * Ends a connection that is out of time. What libmicrohttpd reads next is the end of the stream, so it closes.
 *   HEAD, BODY  408. libmicrohttpd takes no answer in the middle of a request, so it goes straight to the socket, on which nothing else is under
 *               way: the answers of earlier requests were sent before this one was parsed.
 *   NEW, IDLE   nothing to answer: no request line has come (if one is dripping in, we cannot see that).
 *   SENDING     the client does not read.
 */
static void connection_expire(struct connection *connection)
{
    if (connection->phase == PHASE_HEAD || connection->phase == PHASE_BODY)
        exchange_refuse(connection->exchange, 408, "The request was not complete in time.");
    else
        connection_move(connection, PHASE_GONE);
    shutdown(connection->fd, SHUT_RDWR);
}

static void queue_sweep(struct http *http, enum queue which, int64_t limit_ms)
{
    int64_t now_ms = clock_us() / 1000;

    while (http->queues[which].first && now_ms - http->queues[which].first->since_ms >= limit_ms)
        connection_expire(http->queues[which].first);
}

/*
 * Without descriptors or memory for one more connection libmicrohttpd stops accepting until one closes, and among idle clients that can take a
 * minute, in which new ones wait. So the one that has been idle for the longest is given up; its client connects again when he has something to say.
 */
static void give_one_up(struct http *http)
{
    struct connection *connection = http->queues[QUEUE_QUIET].first;

    while (connection && connection->phase != PHASE_IDLE)
        connection = connection->next;
    if (connection)
        connection_expire(connection);
}

void connections_starve(struct http *http)
{
    int64_t now_ms = clock_us() / 1000;

    http->starved = true;
    loop_timer_set(http->sweep, STARVED_MS);
    if (now_ms - http->warned_ms < WARN_EVERY_MS)
        return;
    http->warned_ms = now_ms;
    log_warn(
        "cannot accept on port %d: no descriptors or memory for more than %u connections; raise the limit of open files (ulimit -n) or add workers",
        http->port, http->connections);
}

static bool has_ended(const struct connection *connection)
{
    char byte;

    return recv(connection->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) == 0;
}

/*
 * libmicrohttpd 0.9.75 does not see the end of a client's stream that came in one piece with his request: it stops reading when less has come than it
 * has room for, and the kernel tells of a change only once. So who has become idle since the last sweep is looked at. (One who sends less than a
 * request line, and the end with it, after he was looked at is kept as any idle client is.)
 */
static void end_who_will_send_no_more(struct http *http)
{
    struct connection *connection = http->queues[QUEUE_QUIET].last, *before;

    for (; connection && connection->since_ms >= http->swept_ms; connection = before) {
        before = connection->prev;
        if (connection->phase == PHASE_IDLE && has_ended(connection))
            connection_expire(connection);
    }
    http->swept_ms = clock_us() / 1000;
}

void connections_sweep(void *cookie)
{
    struct http *http = cookie;

    if (http->starved)
        give_one_up(http);
    queue_sweep(http, QUEUE_REQUEST, http->settings.request_timeout_ms);
    queue_sweep(http, QUEUE_QUIET, QUIET_MS);
    end_who_will_send_no_more(http);
    loop_timer_set(http->sweep, http->starved ? STARVED_MS : sweep_ms(http));
}
