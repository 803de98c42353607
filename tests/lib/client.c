#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include <curl/curl.h>

#include "arena.h"
#include "value.h"

#include "client.h"

#define TIMEOUT_MS 20000

/* Easy handles are kept between calls: ${idle} of them, with the connections in the multi handle's cache. */
struct client {
    CURLM *multi;
    CURL **idle;
    size_t idle_count, idle_room;
};

/* One request under way. */
struct transfer {
    CURL *easy;
    struct curl_slist *headers;
    struct response *response;
    size_t header_count;
    char error[CURL_ERROR_SIZE];
};

static void *must(void *memory)
{
    if (memory == NULL) {
        fprintf(stderr, "client: no memory\n");
        abort();
    }
    return memory;
}

struct client *client_new(void)
{
    struct client *client = must(calloc(1, sizeof(*client)));

    curl_global_init(CURL_GLOBAL_DEFAULT);
    client->multi = must(curl_multi_init());
    curl_multi_setopt(client->multi, CURLMOPT_PIPELINING, CURLPIPE_NOTHING);
    curl_multi_setopt(client->multi, CURLMOPT_MAXCONNECTS, 1024L);
    return client;
}

void client_free(struct client *client)
{
    if (client == NULL)
        return;
    for (size_t i = 0; i < client->idle_count; i++)
        curl_easy_cleanup(client->idle[i]);
    free(client->idle);
    curl_multi_cleanup(client->multi);
    curl_global_cleanup();
    free(client);
}

static CURL *take_easy(struct client *client)
{
    if (client->idle_count == 0)
        return must(curl_easy_init());
    CURL *easy = client->idle[--client->idle_count];
    curl_easy_reset(easy);
    return easy;
}

static void give_easy(struct client *client, CURL *easy)
{
    if (client->idle_count == client->idle_room) {
        client->idle_room = client->idle_room * 2 + 8;
        client->idle = must(realloc(client->idle, client->idle_room * sizeof(*client->idle)));
    }
    client->idle[client->idle_count++] = easy;
}

static size_t got_body(char *bytes, size_t size, size_t count, void *cookie)
{
    struct response *response = ((struct transfer *)cookie)->response;
    size_t len = size * count;

    response->body = must(realloc(response->body, response->body_len + len + 1));
    memcpy(response->body + response->body_len, bytes, len);
    response->body_len += len;
    response->body[response->body_len] = '\0';
    return len;
}

static void drop_headers(struct response *response)
{
    for (char **header = response->headers; header && *header; header++)
        free(*header);
    free(response->headers);
    response->headers = NULL;
}

/* A status line begins the headers of an answer; before the final one there may have been a 100 Continue, whose headers are dropped. */
static size_t got_header(char *bytes, size_t size, size_t count, void *cookie)
{
    struct transfer *transfer = cookie;
    struct response *response = transfer->response;
    size_t len = size * count, text_len = len;

    while (text_len > 0 && (bytes[text_len - 1] == '\r' || bytes[text_len - 1] == '\n'))
        text_len--;
    if (text_len >= 5 && memcmp(bytes, "HTTP/", 5) == 0) {
        drop_headers(response);
        transfer->header_count = 0;
    } else if (text_len > 0) {
        response->headers = must(realloc(response->headers, (transfer->header_count + 2) * sizeof(char *)));
        response->headers[transfer->header_count++] = must(strndup(bytes, text_len));
        response->headers[transfer->header_count] = NULL;
    }
    return len;
}

static void set_headers(struct transfer *transfer, const struct client_request *request)
{
    bool typed = false, accepting = false;

    for (const char *const *header = request->headers; header && *header; header++) {
        transfer->headers = must(curl_slist_append(transfer->headers, *header));
        typed = typed || strncasecmp(*header, "Content-Type:", 13) == 0;
        accepting = accepting || strncasecmp(*header, "Accept:", 7) == 0;
    }
    /* A name without a value keeps libcurl from sending its own; 100-continue would only slow every body over 1 KiB down. */
    transfer->headers = must(curl_slist_append(transfer->headers, "Expect:"));
    if (!typed)
        transfer->headers = must(curl_slist_append(transfer->headers, "Content-Type:"));
    if (!accepting)
        transfer->headers = must(curl_slist_append(transfer->headers, "Accept:"));
    curl_easy_setopt(transfer->easy, CURLOPT_HTTPHEADER, transfer->headers);
}

static void transfer_start(struct client *client, struct transfer *transfer, const struct client_request *request)
{
    CURL *easy = transfer->easy = take_easy(client);

    transfer->response = must(calloc(1, sizeof(*transfer->response)));
    transfer->response->body = must(calloc(1, 1));
    curl_easy_setopt(easy, CURLOPT_URL, request->url);
    curl_easy_setopt(easy, CURLOPT_PATH_AS_IS, 1L);
    curl_easy_setopt(easy, CURLOPT_NOPROXY, "*");
    curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, CURL_HTTP_VERSION_1_1);
    curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, request->timeout_ms ? (long)request->timeout_ms : TIMEOUT_MS);
    if (request->body) {
        curl_easy_setopt(easy, CURLOPT_POSTFIELDS, request->body);
        curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE, (long)request->body_len);
    } else if (strcmp(request->method, "POST") == 0) {
        curl_easy_setopt(easy, CURLOPT_POSTFIELDS, "");
        curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE, 0L);
    }
    if (strcmp(request->method, "HEAD") == 0)
        curl_easy_setopt(easy, CURLOPT_NOBODY, 1L);
    curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, request->method);
    set_headers(transfer, request);
    curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, got_body);
    curl_easy_setopt(easy, CURLOPT_WRITEDATA, transfer);
    curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, got_header);
    curl_easy_setopt(easy, CURLOPT_HEADERDATA, transfer);
    curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, transfer->error);
    curl_easy_setopt(easy, CURLOPT_PRIVATE, transfer);
    curl_multi_add_handle(client->multi, easy);
}

/* MessagePack as JSON text, by the record layer. Returns NULL if it is none. */
static char *json_of_msgpack(const char *bytes, size_t len)
{
    struct arena *arena = arena_new();
    struct value value;
    struct writer writer;
    char *text = NULL;

    if (value_read(FORMAT_MSGPACK, arena, (struct view){bytes, len}, &value) == NULL) {
        writer_init(&writer, FORMAT_JSON, arena);
        writer_value(&writer, &value);
        struct view done = writer_done(&writer);
        text = must(calloc(1, done.len + 1));
        memcpy(text, done.at, done.len);
    }
    arena_free(arena);
    return text;
}

char *client_msgpack(const char *json_text, size_t *len)
{
    struct arena *arena = arena_new();
    struct value value;
    struct writer writer;
    char *bytes = NULL;

    if (value_read(FORMAT_JSON, arena, view_of(json_text), &value) == NULL) {
        writer_init(&writer, FORMAT_MSGPACK, arena);
        writer_value(&writer, &value);
        struct view done = writer_done(&writer);
        bytes = must(malloc(done.len + 1));
        memcpy(bytes, done.at, done.len);
        *len = done.len;
    }
    arena_free(arena);
    return bytes;
}

void response_read_json(struct response *response)
{
    const char *type = response_header(response, "Content-Type");

    if (response->body_len == 0)
        return;
    if (type && strncmp(type, "application/msgpack", 19) == 0)
        response->json_text = json_of_msgpack(response->body, response->body_len);
    else if (strlen(response->body) == response->body_len)
        response->json_text = must(strdup(response->body));
    if (response->json_text)
        response->json = json_loads(response->json_text, JSON_DECODE_ANY, NULL);
    if (response->json == NULL) {
        free(response->json_text);
        response->json_text = NULL;
    }
}

static enum silence silence_of(CURLcode code)
{
    if (code == CURLE_OK)
        return ANSWERED;
    if (code == CURLE_COULDNT_CONNECT)
        return NOBODY_LISTENS;
    return code == CURLE_OPERATION_TIMEDOUT ? OUT_OF_TIME : HUNG_UP;
}

static void transfer_finish(struct client *client, struct transfer *transfer, CURLcode code)
{
    struct response *response = transfer->response;
    long status = 0;
    double took = 0;

    curl_easy_getinfo(transfer->easy, CURLINFO_RESPONSE_CODE, &status);
    curl_easy_getinfo(transfer->easy, CURLINFO_TOTAL_TIME, &took);
    response->took_ms = took * 1000;
    response->status = code == CURLE_OK ? (int)status : 0;
    response->silence = silence_of(code);
    if (code != CURLE_OK)
        snprintf(response->error, sizeof(response->error), "%s", transfer->error[0] ? transfer->error : curl_easy_strerror(code));
    else
        response_read_json(response);
    curl_multi_remove_handle(client->multi, transfer->easy);
    curl_slist_free_all(transfer->headers);
    give_easy(client, transfer->easy);
}

static size_t finish_those_done(struct client *client)
{
    size_t finished = 0;
    int left;
    CURLMsg *message;

    while ((message = curl_multi_info_read(client->multi, &left)) != NULL) {
        struct transfer *transfer;

        if (message->msg == CURLMSG_DONE) {
            CURLcode code = message->data.result;

            curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, (char **)&transfer);
            transfer_finish(client, transfer, code);
            finished++;
        }
    }
    return finished;
}

void client_send_all(struct client *client, const struct client_request *requests, size_t count, struct response **responses)
{
    struct transfer *transfers = must(calloc(count + 1, sizeof(*transfers)));
    size_t finished = 0;

    for (size_t i = 0; i < count; i++)
        transfer_start(client, &transfers[i], &requests[i]);
    while (finished < count) {
        int running;

        curl_multi_perform(client->multi, &running);
        finished += finish_those_done(client);
        if (finished < count)
            curl_multi_poll(client->multi, NULL, 0, 1000, NULL);
    }
    for (size_t i = 0; i < count; i++)
        responses[i] = transfers[i].response;
    free(transfers);
}

struct response *client_send(struct client *client, const struct client_request *request)
{
    struct response *response;

    client_send_all(client, request, 1, &response);
    return response;
}

void response_free(struct response *response)
{
    if (response == NULL)
        return;
    drop_headers(response);
    json_decref(response->json);
    free(response->json_text);
    free(response->body);
    free(response);
}

const char *response_header(const struct response *response, const char *name)
{
    size_t len = strlen(name);

    for (char **header = response->headers; header && *header; header++) {
        if (strncasecmp(*header, name, len) == 0 && (*header)[len] == ':') {
            const char *value = *header + len + 1;

            return value + strspn(value, " \t");
        }
    }
    return NULL;
}

bool response_says_when(const struct response *response)
{
    static const int SHORT[] = {429, 503, 504};
    bool again = response->status == 409 && json_is_true(json_at(response->json, "retryable"));
    const char *after = response_header(response, "Retry-After");

    for (size_t i = 0; i < sizeof(SHORT) / sizeof(*SHORT); i++)
        again = again || response->status == SHORT[i];
    return !again || (after && atoi(after) > 0);
}

/* ---- paths ---- */

json_t *json_at(json_t *json, const char *path)
{
    while (json && *path) {
        size_t len = strcspn(path, ".");
        char *name = must(strndup(path, len));

        json = json_is_array(json) ? json_array_get(json, strtoul(name, NULL, 10)) : json_object_get(json, name);
        free(name);
        path += len + (path[len] == '.');
    }
    return json;
}

static const char *skip_space(const char *at)
{
    return at + strspn(at, " \t\r\n");
}

static const char *skip_string(const char *at)
{
    for (at++; *at && *at != '"'; at++)
        if (*at == '\\' && at[1])
            at++;
    return *at ? at + 1 : at;
}

/* Past one value of valid JSON: brackets are counted, strings are jumped over. */
static const char *skip_value(const char *at)
{
    int depth = 0;

    do {
        if (*at == '"') {
            at = skip_string(at);
        } else if (strchr("{[", *at)) {
            depth++;
            at++;
        } else if (strchr("]}", *at)) {
            depth--;
            at++;
        } else {
            size_t len = strcspn(at, depth ? "\"{}[]" : ",]} \t\r\n");

            at += len;
        }
    } while (depth > 0 && *at);
    return at;
}

/* From a map or list at ${at} to the value of its member ${name}, or NULL. */
static const char *step_into(const char *at, const char *name, size_t len)
{
    bool map = *at == '{';
    unsigned long wanted = strtoul(name, NULL, 10);

    if (!map && *at != '[')
        return NULL;
    at = skip_space(at + 1);
    for (unsigned long index = 0; *at && *at != '}' && *at != ']'; index++) {
        bool found = map ? strncmp(at + 1, name, len) == 0 && at[len + 1] == '"' : index == wanted;

        if (map)
            at = skip_space(skip_space(skip_string(at)) + 1);
        if (found)
            return at;
        at = skip_space(skip_value(at));
        at = *at == ',' ? skip_space(at + 1) : at;
    }
    return NULL;
}

size_t json_literal(const char *text, const char *path, const char **at)
{
    const char *here = skip_space(text);

    while (here && *path) {
        size_t len = strcspn(path, ".");

        here = step_into(here, path, len);
        path += len + (path[len] == '.');
    }
    if (here == NULL)
        return 0;
    *at = here;
    return (size_t)(skip_value(here) - here);
}
