#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>

#include <microhttpd.h>

/*
 * The yardstick: libmicrohttpd answering every request with the same prepared bytes, in the mode that Souk uses (external epoll, 8 KiB pools, one
 * thread).   souk-bench-static PORT FILE
 * FILE is an answer as `curl -i` prints it. Its headers are sent, but for those that libmicrohttpd writes itself, and its body.
 */
#define FILE_MAX_BYTES 65536

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

static bool is_of_library(const char *header)
{
    return strncasecmp(header, "Date:", 5) == 0 || strncasecmp(header, "Content-Length:", 15) == 0 || strncasecmp(header, "Connection:", 11) == 0;
}

/* Makes the response from ${text}: a status line, headers, an empty line, a body. Returns NULL if it is no such thing. */
static struct MHD_Response *read_answer(char *text)
{
    char *body = strstr(text, "\r\n\r\n"), *line;
    struct MHD_Response *response;

    if (body == NULL)
        return NULL;
    *body = '\0';
    response = MHD_create_response_from_buffer(strlen(body + 4), body + 4, MHD_RESPMEM_PERSISTENT);
    strsep(&text, "\r"); /* the status line */
    while ((line = strsep(&text, "\r"))) {
        char *value = strchr(line, ':');

        if (value && !is_of_library(line + 1)) {
            *value = '\0';
            MHD_add_response_header(response, line + 1, value + 1 + strspn(value + 1, " "));
        }
    }
    return response;
}

static struct MHD_Response *read_file(const char *path)
{
    static char text[FILE_MAX_BYTES];
    FILE *file = fopen(path, "r");
    size_t len = file ? fread(text, 1, sizeof(text) - 1, file) : 0;

    if (file)
        fclose(file);
    text[len] = '\0';
    return read_answer(text);
}

int main(int argc, char **argv)
{
    struct MHD_Response *response = argc == 3 ? read_file(argv[2]) : NULL;
    if (response == NULL) {
        fprintf(stderr, "usage: souk-bench-static PORT FILE; FILE is an answer as curl -i prints it\n");
        return 2;
    }
    signal(SIGTERM, got_signal);
    signal(SIGPIPE, SIG_IGN);
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
