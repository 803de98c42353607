#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "crash.h"

/* The value of a variable, or NULL if there is none of this name at ${at}. Sets the length of its name. */
static const char *value_of(const struct run *run, const char *at, size_t *len, char number[24])
{
    const struct {
        const char *name, *text;
        long long number;
    } variables[] = {
        {"user", run->user, 0},   {"rival", run->rival, 0},     {"left", NULL, run->left}, {"right", NULL, run->right},
        {"order", run->order, 0}, {"payment", run->payment, 0}, {"n", NULL, run->number},
    };

    for (size_t i = 0; i < sizeof(variables) / sizeof(*variables); i++) {
        *len = strlen(variables[i].name);
        if (strncmp(at, variables[i].name, *len) == 0) {
            snprintf(number, 24, "%lld", variables[i].number);
            return variables[i].text ? variables[i].text : number;
        }
    }
    return NULL;
}

static void expand(char *out, size_t size, const struct run *run, const char *text)
{
    size_t used = 0, len;
    char number[24];

    while (*text && used + 1 < size) {
        const char *value = *text == '$' ? value_of(run, text + 1, &len, number) : NULL;

        if (value) {
            used += (size_t)snprintf(out + used, size - used, "%s", value);
            text += 1 + len;
        } else {
            out[used++] = *text++;
        }
    }
    out[used < size ? used : size - 1] = '\0';
}

/* The same as bytes, for a connection of our own. */
static void make_bytes(struct request *request)
{
    char *out = request->bytes;
    size_t size = sizeof(request->bytes);
    int len = snprintf(out, size, "%s %s HTTP/1.1\r\nHost: localhost\r\n", request->request.method, request->path);

    for (const char *const *header = request->headers; *header; header++)
        len += snprintf(out + len, size - (size_t)len, "%s\r\n", *header);
    len += snprintf(out + len, size - (size_t)len, "Content-Length: %zu\r\n\r\n%s", request->request.body_len, request->body);
    request->bytes_len = (size_t)len;
}

void request_make(struct request *request, const struct run *run, const struct step *step, const char *base, unsigned again)
{
    size_t count = 0, base_len = strlen(base), len;
    char *line_end;

    *request = (struct request){.path = request->url + base_len};
    memcpy(request->url, base, base_len);
    expand(request->url + base_len, sizeof(request->url) - base_len, run, step->path);
    if (step->body) {
        expand(request->body, sizeof(request->body), run, step->body);
        if (!step->header || strncmp(step->header, "Content-Type:", 13) != 0)
            request->headers[count++] = "Content-Type: application/json";
    }
    if (step->key) {
        len = (size_t)snprintf(request->key, sizeof(request->key), "Idempotency-Key: ");
        expand(request->key + len, sizeof(request->key) - len, run, step->key);
        len = strlen(request->key);
        if (again)
            snprintf(request->key + len, sizeof(request->key) - len, "-again-%u", again);
        request->headers[count++] = request->key;
    }
    if (step->header) {
        expand(request->header, sizeof(request->header), run, step->header);
        request->headers[count++] = request->header;
        if ((line_end = strchr(request->header, '\n'))) {
            *line_end = '\0';
            request->headers[count++] = line_end + 1;
        }
    }
    request->request = (struct client_request){.method = step->method, .url = request->url, .headers = request->headers};
    request->request.body = step->body ? request->body : NULL;
    request->request.body_len = strlen(request->body);
    make_bytes(request);
}

struct response *request_raw(const struct request *request, int port, int ms)
{
    struct raw *raw = raw_open(port);
    struct response *response;

    if (!raw) {
        response = calloc(1, sizeof(*response));
        response->body = calloc(1, 1);
        response->silence = NOBODY_LISTENS;
        snprintf(response->error, sizeof(response->error), "refused");
        return response;
    }
    raw_send(raw, request->bytes, request->bytes_len);
    response = raw_read(raw, false, ms);
    raw_close(raw);
    return response;
}

bool request_save(struct run *run, const struct step *step, const struct response *response)
{
    json_int_t id = json_integer_value(json_at(response->json, "id"));

    if (!step->saves)
        return true;
    if (strcmp(step->saves, "left") == 0)
        run->left = id;
    else
        snprintf(strcmp(step->saves, "order") == 0 ? run->order : run->payment, sizeof(run->order), "%lld", (long long)id);
    return id != 0;
}
