#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "conversation_internal.h"

#define CROWD_MAX 512
#define RAW_MS 15000

static const char *const METHODS[] = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"};

int talk_worker(struct talk *talk, const char *name)
{
    static const char *const ROLES[SOUK_ROLES] = {"product", "order", "payment", "sandbox"};

    for (int i = 0; i < SOUK_ROLES; i++) {
        size_t len = strlen(ROLES[i]);

        if (strcmp(name, ROLES[i]) == 0)
            return i;
        /* "order2" is what the first `second order` added, whatever else was added before. */
        if (strncmp(name, ROLES[i], len) == 0 && name[len] >= '2' && name[len] <= '9' && name[len + 1] == '\0') {
            int nth = name[len] - '1';

            for (size_t n = 0; n < talk->extra_count; n++)
                if (talk->extra[n] % SOUK_ROLES == i && --nth == 0)
                    return talk->extra[n] / SOUK_ROLES;
        }
    }
    return -1;
}

/* ---- with ---- */

void talk_drop_with(struct talk *talk)
{
    while (talk->with_count > 0)
        free(talk->with[--talk->with_count]);
    memset(talk->with, 0, sizeof(talk->with));
}

void talk_with(struct talk *talk, const char *rest)
{
    if (talk->with_count == ASKED_HEADERS_MAX - 2 || strchr(rest, ':') == NULL) {
        talk_abort(talk, "`with` needs a header, \"Name: value\", and there can be %d of them", ASKED_HEADERS_MAX - 2);
        return;
    }
    talk->with[talk->with_count++] = talk_expand(talk, rest);
}

/* ---- one request ---- */

void asked_free(struct asked *asked)
{
    free(asked->method);
    free(asked->path);
    free(asked->body);
    for (char **header = asked->headers; *header; header++)
        free(*header);
    memset(asked, 0, sizeof(*asked));
}

/* The value of a header of the request, or NULL. */
static const char *asked_header(const struct asked *asked, const char *name)
{
    size_t len = strlen(name);

    for (char *const *header = asked->headers; *header; header++)
        if (strncasecmp(*header, name, len) == 0 && (*header)[len] == ':')
            return *header + len + 1 + strspn(*header + len + 1, " ");
    return NULL;
}

static void add_header(struct asked *asked, const char *name, const char *prefix, const char *value)
{
    size_t count = 0;

    while (asked->headers[count])
        count++;
    if (asprintf(&asked->headers[count], "%s: %s%s", name, prefix, value) < 0)
        abort();
}

static char *bytes_of_hex(const char *hex, size_t *len)
{
    char *bytes = malloc(strlen(hex) / 2 + 1);
    unsigned byte;

    for (*len = 0; sscanf(hex, " %2x", &byte) == 1; hex += strspn(hex, " ") + 2)
        bytes[(*len)++] = (char)byte;
    return bytes;
}

/* A body is sent as it stands; as the bytes behind "hex:"; or, if Content-Type says so, as MessagePack of the JSON that stands there. */
static void set_body(struct talk *talk, struct asked *asked, const char *text)
{
    const char *type = asked_header(asked, "Content-Type");

    if (strncmp(text, "hex:", 4) == 0) {
        asked->body = bytes_of_hex(text + 4, &asked->body_len);
    } else if (type && strcmp(type, "application/msgpack") == 0) {
        asked->body = client_msgpack(text, &asked->body_len);
        if (asked->body == NULL)
            talk_abort(talk, "the body is no JSON that could be sent as MessagePack; send bytes with hex:");
    } else {
        asked->body = strdup(text);
        asked->body_len = strlen(text);
    }
    if (type == NULL)
        add_header(asked, "Content-Type", "", "application/json");
}

/* "METHOD PATH [key=KEY] [BODY]", after the worker's name. */
static bool read_request(struct talk *talk, struct asked *asked, const char *rest)
{
    asked->method = talk_next(talk, &rest);
    asked->path = talk_next(talk, &rest);
    for (size_t i = 0; i < talk->with_count; i++)
        asked->headers[i] = strdup(talk->with[i]);
    if (asked->path == NULL)
        return talk_abort(talk, "a request is: worker METHOD /path [key=KEY] [body]");
    if (strncmp(rest, "key=", 4) == 0) {
        char *key = talk_next(talk, &rest), *prefix;

        if (asprintf(&prefix, "%s-", talk->name) < 0)
            abort();
        add_header(asked, "Idempotency-Key", prefix, key + 4);
        free(prefix);
        free(key);
    }
    if (*rest) {
        char *body = talk_expand(talk, rest);

        set_body(talk, asked, body);
        free(body);
    }
    return !talk->over;
}

static void came(struct talk *talk, struct response *response)
{
    response_free(talk->before);
    talk->before = talk->now;
    talk->now = response;
}

static struct client_request as_request(struct talk *talk, const struct asked *asked, char url[URL_MAX_BYTES])
{
    snprintf(url, URL_MAX_BYTES, "%s%s", souk_url(talk->souk, asked->worker), asked->path);
    return (struct client_request){
        .method = asked->method, .url = url, .headers = (const char *const *)asked->headers, .body = asked->body, .body_len = asked->body_len};
}

static void send_asked(struct talk *talk)
{
    char url[URL_MAX_BYTES];
    struct client_request request = as_request(talk, &talk->asked, url);

    talk->requests++;
    came(talk, client_send(souk_client(talk->souk), &request));
}

bool talk_is_request(struct talk *talk, const char *line)
{
    char *worker = talk_word(&line), *method = talk_word(&line);
    bool is = false;

    for (size_t i = 0; worker && method && i < sizeof(METHODS) / sizeof(*METHODS); i++)
        is = is || strcmp(method, METHODS[i]) == 0;
    free(worker);
    free(method);
    return is;
}

bool talk_read_request(struct talk *talk, struct asked *asked, const char *line)
{
    char *name = talk_word(&line);
    bool read;

    asked_free(asked);
    asked->worker = talk_worker(talk, name);
    read = asked->worker < 0 ? talk_abort(talk, "there is no worker \"%s\"", name) : read_request(talk, asked, line);
    free(name);
    talk_drop_with(talk);
    return read;
}

void talk_request(struct talk *talk, const char *line)
{
    if (talk_read_request(talk, &talk->asked, line))
        send_asked(talk);
}

void talk_again(struct talk *talk, const char *rest)
{
    if (talk->asked.path == NULL) {
        talk_abort(talk, "there is no request to send again");
        return;
    }
    if (*rest) /* on another worker */
        talk->asked.worker = talk_worker(talk, rest);
    send_asked(talk);
}

/* ---- many at once ---- */

void talk_drop_crowd(struct talk *talk)
{
    for (size_t i = 0; i < talk->crowd_count; i++)
        response_free(talk->crowd[i]);
    free(talk->crowd);
    talk->crowd = NULL;
    talk->crowd_count = 0;
}

/* The n-th of "order,order2", counted around. */
static int pick_worker(struct talk *talk, const char *names, size_t n)
{
    size_t commas = 0;

    for (const char *at = names; *at; at++)
        commas += *at == ',';
    for (n %= commas + 1; n > 0; n--)
        names = strchr(names, ',') + 1;
    char *name = strndup(names, strcspn(names, ","));
    int worker = talk_worker(talk, name);
    if (worker < 0)
        talk_abort(talk, "there is no worker \"%s\"", name);
    free(name);
    return worker;
}

/* After `at once` no single answer is the last one. */
static void forget(struct talk *talk)
{
    response_free(talk->now);
    response_free(talk->before);
    talk->now = talk->before = NULL;
    asked_free(&talk->asked);
}

static void send_crowd(struct talk *talk, const char *names, size_t count, const char *rest)
{
    struct asked *asked = calloc(count, sizeof(*asked));
    struct client_request *requests = calloc(count, sizeof(*requests));
    char(*urls)[URL_MAX_BYTES] = calloc(count, URL_MAX_BYTES);
    char number[24];

    for (size_t i = 0; i < count && !talk->over; i++) {
        snprintf(number, sizeof(number), "%zu", i + 1);
        talk_set(talk, "n", number);
        asked[i].worker = pick_worker(talk, names, i);
        if (!talk->over && read_request(talk, &asked[i], rest))
            requests[i] = as_request(talk, &asked[i], urls[i]);
    }
    if (!talk->over) {
        talk_drop_crowd(talk);
        forget(talk);
        talk->crowd = calloc(count, sizeof(*talk->crowd));
        talk->crowd_count = count;
        talk->requests += (unsigned)count;
        client_send_all(souk_client(talk->souk), requests, count, talk->crowd);
    }
    for (size_t i = 0; i < count; i++)
        asked_free(&asked[i]);
    free(asked);
    free(requests);
    free(urls);
}

/* "COUNT WORKERS METHOD PATH …" */
void talk_at_once(struct talk *talk, const char *rest)
{
    char *number = talk_word(&rest), *names = talk_word(&rest);
    size_t count = number ? strtoul(number, NULL, 10) : 0;

    if (count == 0 || count > CROWD_MAX || names == NULL)
        talk_abort(talk, "`at once` needs a count of 1 to %d and a request", CROWD_MAX);
    else
        send_crowd(talk, names, count, rest);
    free(number);
    free(names);
    talk_drop_with(talk);
}

/* ---- raw bytes ---- */

bool talk_read_raw(struct talk *talk, struct asked *asked, const char *rest)
{
    char *name = talk_word(&rest);

    asked_free(asked);
    asked->worker = name ? talk_worker(talk, name) : -1;
    asked->body = asked->worker >= 0 ? talk_next(talk, &rest) : NULL;
    asked->body_len = asked->body ? talk_unescape(asked->body) : 0;
    free(name);
    return asked->body != NULL;
}

static void raw_ask(struct talk *talk)
{
    const struct asked *asked = &talk->asked;

    raw_close(talk->raw);
    talk->raw = raw_open(souk_worker_port(talk->souk, asked->worker));
    if (talk->raw == NULL) {
        talk_abort(talk, "nothing listens there");
        return;
    }
    /* A refusal may come, and the connection be closed, before all of a large request is sent: so that is no failure. */
    (void)raw_send(talk->raw, asked->body, asked->body_len);
    talk->requests++;
    came(talk, raw_read(talk->raw, strncmp(asked->body, "HEAD ", 5) == 0, RAW_MS));
}

/* "WORKER "bytes"" opens a connection, sends, and reads an answer; "more" reads the next answer of the same connection. */
void talk_raw(struct talk *talk, const char *rest)
{
    if (talk->raw && talk_accept(&rest, "more"))
        came(talk, raw_read(talk->raw, false, RAW_MS));
    else if (talk_read_raw(talk, &talk->asked, rest))
        raw_ask(talk);
    else
        talk_abort(talk, "`raw` needs a worker and bytes in double quotes, or `more` after that");
}
