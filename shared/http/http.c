#include <arpa/inet.h>
#include <errno.h>
#include <linux/filter.h>
#include <netdb.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "check.h"
#include "clock.h"
#include "log.h"
#include "loop.h"

#include "http_internal.h"

/*
 * The daemon on its loop:
 *
 *   epoll descriptor ready ─┐
 *   http_respond ───────────┼──▶ noted during the turn ──▶ hook LOOP_HTTP: libmicrohttpd runs, once for all of them
 *   time is up ─────────────┘                              hook LOOP_LAST: answers of later hooks? then another turn without sleep
 */

/* The kernel's own limit (net.core.somaxconn) is 4096 by default. */
#define BACKLOG 4096
/*
 * libmicrohttpd cuts everything of a request from one pool for each connection, which it zeroes every time: twice the head and no more.
 *   [ the head as sent: headers_max │ its index: the rest │ the answer's head ]
 */
#define POOL_BYTES(headers_max) ((headers_max)*2)
#define ANSWER_HEAD_BYTES 1024
/* From 1.0 on, 1 refuses what the gate cannot see (bare LF, folded headers). In 0.9.75 it only takes from the gate what that words better. */
#define STRICTNESS (MHD_VERSION >= 0x01000000 ? 1 : 0)
#define HEADERS_LEAST 2048
/* A resumed connection needs three passes, one that finds a further request in its buffer one more; the rest goes to the next turn. */
#define PASSES_MAX 8
#define STOP_MS 500
#define STOP_POLL_MS 10
/* Flags of a TCP segment. */
#define TCP_SYN 0x02
#define TCP_ACK 0x10
/* Settling the kernel's queue of connections: libmicrohttpd accepts about ten in a pass. */
#define QUIESCE_PASSES 500

static size_t no_unescape(void *cookie, struct MHD_Connection *mhd, char *text)
{
    return strlen(text);
}

/* Its only sign that it has stopped accepting. */
static const char NO_ACCEPT[] = "Hit process or system resource limit at %u connections";

/* Nearly all it complains of are clients, and those must not be able to fill a log. */
static void __attribute__((format(printf, 2, 0))) complained(void *cookie, const char *format, va_list args)
{
    char text[256];

    if (strncmp(format, NO_ACCEPT, sizeof(NO_ACCEPT) - 1) == 0)
        connections_starve(cookie);
    if (log_level() < LOG_DEBUG)
        return;
    vsnprintf(text, sizeof(text), format, args);
    text[strcspn(text, "\r\n")] = '\0';
    log_debug("libmicrohttpd: %s", text);
}

static int bound_socket(const struct addrinfo *where, bool share)
{
    int yes = 1;
    int fd = socket(where->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    bool bound;

    if (fd < 0)
        return -1;
    /* SO_REUSEADDR: connections of the process before us, in TIME_WAIT, do not count as somebody else. */
    bound = setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes)) == 0 &&
            (!share || setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &yes, sizeof(yes)) == 0) && bind(fd, where->ai_addr, where->ai_addrlen) == 0;
    if (!bound) {
        int error = errno;

        close(fd);
        errno = error;
        return -1;
    }
    return fd;
}

/* Returns -1 with errno set. */
static int listen_on(const struct addrinfo *where, const struct http_settings *settings)
{
    int fd;

    /* With SO_REUSEPORT two programs of one user can listen on one port and share its clients. Without it the kernel says so. */
    if (settings->first && settings->port != 0) {
        fd = bound_socket(where, false);
        if (fd < 0)
            return -1;
        close(fd);
    }
    fd = bound_socket(where, true);
    if (fd >= 0 && listen(fd, BACKLOG) < 0) {
        int error = errno;

        close(fd);
        errno = error;
        return -1;
    }
    return fd;
}

static const char *advice(int error)
{
    switch (error) {
    case EADDRINUSE:
        return "stop the other program or set SOUK_HTTP_PORT";
    case EACCES:
        return "ports below 1024 need a privilege; set SOUK_HTTP_PORT";
    case EADDRNOTAVAIL:
        return "set SOUK_HTTP_ADDRESS to an address of this machine";
    default:
        return "check SOUK_HTTP_ADDRESS, SOUK_HTTP_PORT and the limit of open files (ulimit -n)";
    }
}

bool http_is_loopback(const char *address)
{
    struct in_addr v4;

    return strcmp(address, "localhost") == 0 || strcmp(address, "::1") == 0 ||
           (inet_pton(AF_INET, address, &v4) == 1 && ntohl(v4.s_addr) >> 24 == IN_LOOPBACKNET);
}

/* Returns the listening descriptor, or -1 and logs. */
static int open_listener(const struct http_settings *settings)
{
    struct addrinfo hints = {.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV | AI_PASSIVE, .ai_socktype = SOCK_STREAM};
    struct addrinfo *where;
    char port[12];
    int error, fd;

    snprintf(port, sizeof(port), "%d", settings->port);
    error = getaddrinfo(settings->address, port, &hints, &where);
    if (error) {
        log_error("cannot listen on %s:%d: %s; set SOUK_HTTP_ADDRESS to a numeric address", settings->address, settings->port, gai_strerror(error));
        return -1;
    }
    fd = listen_on(where, settings);
    if (fd < 0)
        log_error("cannot listen on %s:%d: %s; %s", settings->address, settings->port, strerror(errno), advice(errno));
    freeaddrinfo(where);
    return fd;
}

static int port_of(int fd)
{
    struct sockaddr_storage address;
    socklen_t len = sizeof(address);
    char port[12];

    CHECK(getsockname(fd, (struct sockaddr *)&address, &len) == 0);
    CHECK(getnameinfo((struct sockaddr *)&address, len, NULL, 0, port, sizeof(port), NI_NUMERICSERV) == 0);
    return atoi(port);
}

/*
 * No MHD_OPTION_CONNECTION_TIMEOUT: it measures silence, which a byte now and then breaks; connection.c has absolute limits for every phase.
 * MHD_USE_TURBO leaves out the shutdown at close, which a lingering close does itself.
 */
static struct MHD_Daemon *start_daemon(struct http *http, int listen_fd)
{
    return MHD_start_daemon(MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_TURBO | MHD_USE_ERROR_LOG, 0, NULL, NULL, exchange_step, http,
                            MHD_OPTION_EXTERNAL_LOGGER, complained, http, /* first, so that it has what the other options complain of */
                            MHD_OPTION_LISTEN_SOCKET, listen_fd, MHD_OPTION_CONNECTION_LIMIT, http->settings.connections_max,
                            MHD_OPTION_CONNECTION_MEMORY_LIMIT, POOL_BYTES(http->settings.headers_max), MHD_OPTION_STRICT_FOR_CLIENT, STRICTNESS,
                            MHD_OPTION_UNESCAPE_CALLBACK, no_unescape, http, MHD_OPTION_URI_LOG_CALLBACK, exchange_begin, http,
                            MHD_OPTION_NOTIFY_COMPLETED, exchange_end, http, MHD_OPTION_NOTIFY_CONNECTION, connection_notified, http, MHD_OPTION_END);
}

void http_work(struct http *http)
{
    MHD_UNSIGNED_LONG_LONG wait_ms = 0;
    unsigned passes = 0;
    bool timed, more;

    do {
        http->ready = http->resumed = false;
        http->now_ms = clock_us() / 1000;
        http->running = true;
        MHD_run(http->daemon);
        exchanges_suspend(http);
        http->running = false;
        timed = MHD_get_timeout(http->daemon, &wait_ms) == MHD_YES;
        more = http->resumed || (timed && wait_ms == 0);
        passes++;
    } while (more && passes < PASSES_MAX);
    http->ready = more;
    if (timed && wait_ms > 0)
        loop_timer_set(http->due, (int64_t)wait_ms);
}

static void got_ready(void *cookie, unsigned events)
{
    struct http *http = cookie;

    http->ready = true;
}

static void got_due(void *cookie)
{
    struct http *http = cookie;

    http->ready = true;
}

static bool turn(void *cookie)
{
    struct http *http = cookie;

    if (http->ready || http->resumed)
        http_work(http);
    return http->ready;
}

/* Endpoints and flows that run in hooks after ours have answered: they need not wait for the next event. */
static bool turn_end(void *cookie)
{
    const struct http *http = cookie;

    return http->resumed;
}

/* The daemon and its place on the loop. Takes ${listen_fd}. */
static bool run_daemon(struct http *http, int listen_fd)
{
    const union MHD_DaemonInfo *info;

    http->daemon = start_daemon(http, listen_fd);
    if (!http->daemon) {
        close(listen_fd);
        return false;
    }
    info = MHD_get_daemon_info(http->daemon, MHD_DAEMON_INFO_EPOLL_FD);
    CHECK(info);
    http->epoll_fd = info->epoll_fd;
    http->watch = loop_watch(http->loop, http->epoll_fd, LOOP_READ, got_ready, http);
    if (!http->watch) {
        MHD_stop_daemon(http->daemon);
        return false;
    }
    return true;
}

struct http *http_start(struct loop *loop, const struct http_settings *settings, http_on_request *on_request, http_on_refusal *on_refusal,
                        void *cookie)
{
    int listen_fd = open_listener(settings);
    struct http *http;

    CHECK(settings->headers_max >= HEADERS_LEAST);
    if (listen_fd < 0)
        return NULL;
    http = calloc(1, sizeof(*http));
    CHECK(http);
    http->loop = loop;
    http->settings = *settings;
    http->limits = (struct gate_limits){
        .headers_max = settings->headers_max,
        .body_max = settings->body_max,
        .index_max = POOL_BYTES(settings->headers_max) - settings->headers_max - ANSWER_HEAD_BYTES,
    };
    http->on_request = on_request;
    http->on_refusal = on_refusal;
    http->cookie = cookie;
    http->port = port_of(listen_fd);
    http->now_ms = clock_us() / 1000;
    http->due = loop_timer_new(loop, got_due, http);
    http->sweep = loop_timer_new(loop, connections_sweep, http);
    if (!http->due || !http->sweep || !run_daemon(http, listen_fd)) {
        log_error("cannot serve %s:%d: libmicrohttpd does not start; raise the limit of open files (ulimit -n), or of memory", settings->address,
                  http->port);
        loop_timer_free(http->sweep);
        loop_timer_free(http->due);
        free(http);
        return NULL;
    }
    loop_each_turn(loop, LOOP_HTTP, turn, http);
    loop_each_turn(loop, LOOP_LAST, turn_end, http);
    return http;
}

int http_port(const struct http *http)
{
    return http->port;
}

unsigned http_inside(const struct http *http)
{
    return http->inside;
}

unsigned http_connections(const struct http *http)
{
    return http->connections;
}

void http_wind_down(struct http *http)
{
    http->winding_down = true;
}

/*
 * Closing a listener resets what the kernel has accepted and we have not, and whose handshake is under way: those clients are connected as they see
 * it, and have sent requests. What was accepted http_quiesce takes in. So that no handshake is under way then, segments that begin one (SYN) are
 * thrown away here. A client sends his again after a second, and is refused.
 */
void http_deafen(struct http *http)
{
    /* Of a segment: load its flags, drop it if SYN is the only one of SYN and ACK, else keep all of it. */
    struct sock_filter program[] = {
        BPF_STMT(BPF_LD | BPF_B | BPF_ABS, 13),
        BPF_STMT(BPF_ALU | BPF_AND | BPF_K, TCP_SYN | TCP_ACK),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, TCP_SYN, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, 0),
        BPF_STMT(BPF_RET | BPF_K, UINT32_MAX),
    };
    const struct sock_fprog filter = {.len = sizeof(program) / sizeof(*program), .filter = program};
    const union MHD_DaemonInfo *info = MHD_get_daemon_info(http->daemon, MHD_DAEMON_INFO_LISTEN_FD);

    if (!http->quiesced && info && setsockopt(info->listen_fd, SOL_SOCKET, SO_ATTACH_FILTER, &filter, sizeof(filter)) != 0)
        log_debug("port %d cannot be made deaf: %s; a connection that is being made when it closes is reset", http->port, strerror(errno));
}

void http_quiesce(struct http *http)
{
    unsigned before, passes = 0;
    MHD_socket listen_fd;

    CHECK(!http->running);
    if (http->quiesced)
        return;
    http->quiesced = http->winding_down = true;
    do {
        before = http->connections;
        http_work(http);
        passes++;
    } while (http->connections > before && passes < QUIESCE_PASSES);
    listen_fd = MHD_quiesce_daemon(http->daemon);
    if (listen_fd != MHD_INVALID_SOCKET)
        close(listen_fd);
}

/* Sends what was answered and is not out yet. */
static void send_the_rest(struct http *http)
{
    int64_t until_us = clock_us() + STOP_MS * INT64_C(1000);

    http_work(http);
    while (http->inside > 0 && clock_us() < until_us) {
        struct pollfd ready = {.fd = http->epoll_fd, .events = POLLIN};

        poll(&ready, 1, STOP_POLL_MS);
        http_work(http);
    }
}

void http_stop(struct http *http)
{
    struct MHD_Daemon *daemon;

    if (!http)
        return;
    /* libmicrohttpd aborts when it is stopped with suspended connections. */
    CHECK(http->suspended == 0);
    http->stopping = true;
    http_quiesce(http);
    send_the_rest(http);
    linger_end_all(http);
    loop_unwatch(http->watch);
    daemon = http->daemon;
    http->daemon = NULL; /* connections that close from here on do not linger */
    MHD_stop_daemon(daemon);
    loop_timer_free(http->sweep);
    loop_timer_free(http->due);
    free(http);
}
