#ifndef CLIENT_H
#define CLIENT_H

#include <stdbool.h>
#include <stddef.h>

#include <jansson.h>

/*
 * An HTTP client for tests: keeps its connections, sends any method, headers and bytes, and shows all of the answer. Not shared between threads.
 */
struct client;

struct client *client_new(void);
void client_free(struct client *client);

/* All is borrowed for the time of the call. */
struct client_request {
    const char *method, *url;
    const char *const *headers; /* "Name: value", ended by NULL; NULL: none. libcurl's own Accept and Content-Type are not sent */
    const void *body;           /* NULL: none */
    size_t body_len;
    int timeout_ms; /* 0: 20 s */
};

/* Why there was no answer. */
enum silence { ANSWERED, NOBODY_LISTENS, HUNG_UP, OUT_OF_TIME };

struct response {
    int status;           /* 0: there was no answer, see silence and error */
    enum silence silence; /* why not */
    char error[256];      /* the same in words */
    char **headers;       /* "Name: value" as sent, ended by NULL */
    char *body;           /* body_len bytes and a NUL */
    size_t body_len;
    json_t *json;    /* the body as JSON; NULL if it is none. A MessagePack body is shown as JSON too */
    char *json_text; /* the JSON text behind it: the body itself, or what the MessagePack was turned into; NULL as json */
    double took_ms;
};

/* Sends one request and waits for its answer. Never NULL; freed by response_free. */
struct response *client_send(struct client *client, const struct client_request *request);

/*
 * Sends ${count} requests at once, each on a connection of its own, and fills ${responses} with all answers, in the order of the requests.
 * Connections are kept for the next call.
 */
void client_send_all(struct client *client, const struct client_request *requests, size_t count, struct response **responses);

void response_free(struct response *response);

/*
 * A connection on which a test sends any bytes, for requests that no client library would send. Answers are read one by one. A port where nothing
 * listens gives NULL.
 */
struct raw;
struct raw *raw_open(int port);
void raw_close(struct raw *raw);
/* Returns false if the other side has closed. */
bool raw_send(struct raw *raw, const char *bytes, size_t len);
/* The next answer, complete by its Content-Length (without a body after a HEAD). Never NULL: status 0 with error if none came within ${ms}. */
struct response *raw_read(struct raw *raw, bool after_head, int ms);
/* Does the other side close within ${ms}, without having sent more? */
bool raw_closes(struct raw *raw, int ms);

/* The value of a header (name without regard to case), or NULL. Valid as long as the response. */
const char *response_header(const struct response *response, const char *name);

/*
 * Does an answer that asks for the same request once more say in Retry-After when (docs/api.md, "Retries")? Those do that come of a shortage or of
 * something under way: 429, 503, 504, and a 409 that is retryable. True for any other answer.
 */
bool response_says_when(const struct response *response);

/* What stands at "lines.0.product_id"; "" is the whole. Borrowed; NULL if there is nothing. */
json_t *json_at(json_t *json, const char *path);

/*
 * The text of the value at ${path} in ${text}, which is valid JSON: numbers keep the digits they were sent with ("19.90"). Returns its length and
 * sets ${at}, or returns 0 if there is nothing.
 */
size_t json_literal(const char *text, const char *path, const char **at);

/* For whoever fills a response by hand: sets json and json_text from its body. */
void response_read_json(struct response *response);

/* A JSON text as MessagePack. Freed by the caller; NULL if it is no JSON. */
char *client_msgpack(const char *json_text, size_t *len);

#endif
