#include <arpa/inet.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "clock.h"

#include "client.h"

/* What has come and was not yet taken as part of an answer is in ${bytes}. */
struct raw {
    int fd;
    char *bytes;
    size_t len;
    bool closed;
};

struct raw *raw_open(int port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct raw *raw = calloc(1, sizeof(*raw));

    raw->bytes = calloc(1, 1);
    raw->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (connect(raw->fd, (struct sockaddr *)&address, sizeof(address)) != 0) {
        raw_close(raw);
        return NULL;
    }
    return raw;
}

void raw_close(struct raw *raw)
{
    if (raw == NULL)
        return;
    close(raw->fd);
    free(raw->bytes);
    free(raw);
}

bool raw_send(struct raw *raw, const char *bytes, size_t len)
{
    while (len > 0) {
        ssize_t sent = send(raw->fd, bytes, len, MSG_NOSIGNAL);

        if (sent <= 0)
            return false;
        bytes += sent;
        len -= (size_t)sent;
    }
    return true;
}

/* Takes what comes next. Returns false at the end of the connection, or of the time. */
static bool take_more(struct raw *raw, int64_t deadline)
{
    struct pollfd wait = {.fd = raw->fd, .events = POLLIN};
    int64_t left = deadline - clock_us() / 1000;
    char piece[4096];
    ssize_t got;

    if (raw->closed || left <= 0 || poll(&wait, 1, (int)left) != 1)
        return false;
    got = recv(raw->fd, piece, sizeof(piece), 0);
    if (got <= 0) {
        raw->closed = true;
        return false;
    }
    raw->bytes = realloc(raw->bytes, raw->len + (size_t)got + 1);
    memcpy(raw->bytes + raw->len, piece, (size_t)got);
    raw->len += (size_t)got;
    raw->bytes[raw->len] = '\0';
    return true;
}

static struct response *nothing(struct response *response, const struct raw *raw)
{
    response->status = 0;
    response->silence = raw->closed ? HUNG_UP : OUT_OF_TIME;
    snprintf(response->error, sizeof(response->error), "%s after %zu bytes without a whole answer", raw->closed ? "closed" : "out of time", raw->len);
    return response;
}

/* The header lines between the status line and ${end}, which points at the empty line. */
static void read_head(struct response *response, const char *head, const char *end)
{
    size_t count = 0;

    sscanf(head, "HTTP/%*s %d", &response->status);
    for (const char *at = strstr(head, "\r\n"); at && at < end;) {
        const char *line = at + 2;

        at = strstr(line, "\r\n");
        response->headers = realloc(response->headers, (count + 2) * sizeof(char *));
        response->headers[count++] = strndup(line, (size_t)(at - line));
        response->headers[count] = NULL;
    }
}

struct response *raw_read(struct raw *raw, bool after_head, int ms)
{
    struct response *response = calloc(1, sizeof(*response));
    int64_t deadline = clock_us() / 1000 + ms;
    const char *end, *length;
    size_t head_len, body_len;

    response->body = calloc(1, 1);
    while ((end = strstr(raw->bytes, "\r\n\r\n")) == NULL)
        if (!take_more(raw, deadline))
            return nothing(response, raw);
    read_head(response, raw->bytes, end);
    head_len = (size_t)(end - raw->bytes) + 4;
    length = response_header(response, "Content-Length");
    body_len = length && !after_head ? strtoul(length, NULL, 10) : 0;
    while (raw->len < head_len + body_len)
        if (!take_more(raw, deadline))
            return nothing(response, raw);
    response->body = realloc(response->body, body_len + 1);
    memcpy(response->body, raw->bytes + head_len, body_len);
    response->body[body_len] = '\0';
    response->body_len = body_len;
    raw->len -= head_len + body_len;
    memmove(raw->bytes, raw->bytes + head_len + body_len, raw->len + 1);
    response_read_json(response);
    return response;
}

bool raw_closes(struct raw *raw, int ms)
{
    int64_t deadline = clock_us() / 1000 + ms;
    size_t before = raw->len;

    while (take_more(raw, deadline)) {
    }
    return raw->closed && raw->len == before;
}
