#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

#include <microhttpd.h>

/*
 * The yardstick: libmicrohttpd answering every request with the same prepared bytes, in the mode that Souk uses (external epoll, 8 KiB pools, one thread).
 *   souk-bench-static PORT BODY
 */
static const char *const HEADERS[][2] = {
    {"Content-Type", "application/json"},
    {"X-Request-Id", "0123456789abcdef"},
    {"ETag", "\"v1\""},
    {"Cache-Control", "no-cache"},
    {"X-Cache", "bypass"},
    {"Vary", "Accept"},
};

static volatile sig_atomic_t stopped;

static void got_signal(int signum)
{
    stopped = 1;
}

/* Answering in the handler's first call would close the connection, so the first one only marks the request. */
static enum MHD_Result got_request(void *cookie, struct MHD_Connection *connection, const char *url, const char *method, const char *version,
                                   const char *upload, size_t *upload_len, void **request)
{
    if (*request == NULL) {
        *request = cookie;
        return MHD_YES;
    }
    return MHD_queue_response(connection, 200, cookie);
}

static void serve(struct MHD_Daemon *daemon)
{
    int outer = epoll_create1(0);
    struct epoll_event event = {.events = EPOLLIN};
    const union MHD_DaemonInfo *info = MHD_get_daemon_info(daemon, MHD_DAEMON_INFO_EPOLL_FD);
    epoll_ctl(outer, EPOLL_CTL_ADD, info->epoll_fd, &event);
    while (!stopped) {
        MHD_UNSIGNED_LONG_LONG wait = 1000;
        if (MHD_get_timeout(daemon, &wait) != MHD_YES || wait > 1000)
            wait = 1000;
        epoll_wait(outer, &event, 1, (int)wait);
        MHD_run(daemon);
    }
}

int main(int argc, char **argv)
{
    if (argc != 3) {
        fprintf(stderr, "usage: souk-bench-static PORT BODY\n");
        return 2;
    }
    signal(SIGTERM, got_signal);
    signal(SIGPIPE, SIG_IGN);
    struct MHD_Response *response = MHD_create_response_from_buffer(strlen(argv[2]), argv[2], MHD_RESPMEM_PERSISTENT);
    for (size_t i = 0; i < sizeof(HEADERS) / sizeof(*HEADERS); i++)
        MHD_add_response_header(response, HEADERS[i][0], HEADERS[i][1]);
    struct MHD_Daemon *daemon = MHD_start_daemon(MHD_USE_EPOLL | MHD_USE_TURBO, (uint16_t)atoi(argv[1]), NULL, NULL, got_request, response,
                                                 MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)8192, MHD_OPTION_CONNECTION_LIMIT, 16384u,
                                                 MHD_OPTION_LISTEN_BACKLOG_SIZE, 4096u, MHD_OPTION_END);
    if (daemon == NULL) {
        fprintf(stderr, "souk-bench-static: cannot listen on port %s\n", argv[1]);
        return 1;
    }
    serve(daemon);
    MHD_stop_daemon(daemon);
    MHD_destroy_response(response);
    return 0;
}
