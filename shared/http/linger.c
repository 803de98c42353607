#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "loop.h"

#include "http_internal.h"

/*
 * A lingering close. Closing a socket with unread bytes sends a reset, which can overtake and destroy the answer on its way. So a refused
 * client's socket outlives libmicrohttpd's: our side is shut, what still comes is thrown away, until the client closes or its time is over.
 */

/* How long a refused client may go on sending before we stop listening, and how many such clients we wait for at once. */
#define LINGER_MS 5000
#define LINGERING_MAX 256

struct lingerer {
    struct lingerer *prev, *next;
    struct http *http;
    struct loop_watch *watch;
    struct loop_timer *timer;
    int fd;
};

static void linger_end(void *cookie)
{
    struct lingerer *lingerer = cookie;
    struct http *http = lingerer->http;

    if (lingerer->prev)
        lingerer->prev->next = lingerer->next;
    else
        http->lingering = lingerer->next;
    if (lingerer->next)
        lingerer->next->prev = lingerer->prev;
    http->lingering_count--;
    loop_timer_free(lingerer->timer);
    loop_unwatch(lingerer->watch);
    close(lingerer->fd);
    free(lingerer);
}

/* Throws away what has come. Returns whether the client is still there. MSG_TRUNC lets the kernel drop the bytes instead of copying them. */
static bool still_there(int fd)
{
    ssize_t got = recv(fd, NULL, 1 << 20, MSG_DONTWAIT | MSG_TRUNC);

    return got > 0 || (got < 0 && errno == EAGAIN);
}

static void linger_ready(void *cookie, unsigned events)
{
    struct lingerer *lingerer = cookie;

    if (!still_there(lingerer->fd))
        linger_end(lingerer);
}

void linger_begin(struct http *http, int fd)
{
    struct lingerer *lingerer = http->lingering_count < LINGERING_MAX && still_there(fd) ? calloc(1, sizeof(*lingerer)) : NULL;

    if (!lingerer)
        return;
    lingerer->fd = fcntl(fd, F_DUPFD_CLOEXEC, 0);
    if (lingerer->fd < 0)
        goto no_fd;
    lingerer->watch = loop_watch(http->loop, lingerer->fd, LOOP_READ, linger_ready, lingerer);
    if (!lingerer->watch)
        goto no_watch;
    lingerer->timer = loop_timer_new(http->loop, linger_end, lingerer);
    if (!lingerer->timer)
        goto no_timer;
    shutdown(lingerer->fd, SHUT_WR);
    loop_timer_set(lingerer->timer, LINGER_MS);
    lingerer->http = http;
    lingerer->next = http->lingering;
    if (lingerer->next)
        lingerer->next->prev = lingerer;
    http->lingering = lingerer;
    http->lingering_count++;
    return;

no_timer:
    loop_unwatch(lingerer->watch);
no_watch:
    close(lingerer->fd);
no_fd:
    free(lingerer);
}

void linger_end_all(struct http *http)
{
    while (http->lingering)
        linger_end(http->lingering);
}
