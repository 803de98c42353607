#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "clock.h"

#include "client.h"
#include "conversation.h"

#include "heckler.h"

#define BAD_REQUESTS SOUK_SOURCE "/tests/flow/bad_requests.flow"
#define URL_MAX_BYTES 4096
#define TIMED_OUT 408 /* takes the worker 10 s, in which hundreds of others can be sent */

struct heckler {
    struct market *market;
    pthread_t thread;
    struct random random;
    struct client *client;
    struct listed *listed;
    size_t count;
    unsigned sent;
};

/* The conversation also asks for what is right, to see that it is still served. */
static bool is_bad(const struct listed *listed)
{
    for (unsigned i = 0; i < listed->status_count; i++)
        if ((listed->statuses[i] && listed->statuses[i] < 400) || listed->statuses[i] == TIMED_OUT)
            return false;
    return listed->status_count > 0;
}

static unsigned any_worker(struct heckler *heckler, int role)
{
    return (unsigned)random_between(&heckler->random, 0, (int)heckler->market->workers[role].count - 1);
}

static int port_of(const char *url)
{
    return atoi(strrchr(url, ':') + 1);
}

static void name_request(struct heckler *heckler, char *header, size_t size)
{
    snprintf(header, size, "X-Request-Id: %u.%u", NOBODYS_OPERATION, heckler->sent++);
}

/* Only a request with a body could have an effect; without one nothing is named, since one of them has a bad name. */
static struct response *send_request(struct heckler *heckler, const struct asked *asked, const char *base)
{
    char url[URL_MAX_BYTES], name[64];
    const char *headers[ASKED_HEADERS_MAX + 2] = {NULL};
    size_t count = 0;
    for (; asked->headers[count]; count++)
        headers[count] = asked->headers[count];
    name_request(heckler, name, sizeof(name));
    headers[count] = asked->body ? name : NULL;
    snprintf(url, sizeof(url), "%s%s", base, asked->path);
    const struct client_request request = {
        .method = asked->method, .url = url, .headers = headers, .body = asked->body, .body_len = asked->body_len, .timeout_ms = TIMEOUT_MS};
    return client_send(heckler->client, &request);
}

static struct response *send_bytes(const struct asked *asked, const char *base)
{
    struct raw *raw = raw_open(port_of(base));
    struct response *response;
    if (raw == NULL) {
        response = calloc(1, sizeof(*response));
        response->silence = NOBODY_LISTENS;
        return response;
    }
    (void)raw_send(raw, asked->body, asked->body_len);
    response = raw_read(raw, false, TIMEOUT_MS);
    raw_close(raw);
    return response;
}

static void send_listed(struct heckler *heckler, const struct listed *listed)
{
    const struct market *market = heckler->market;
    const struct asked *asked = &listed->asked;
    unsigned which = any_worker(heckler, asked->worker);
    const char *base = market->workers[asked->worker].urls[which];
    int64_t sent_us = clock_us();
    struct response *response = asked->method ? send_request(heckler, asked, base) : send_bytes(asked, base);
    history_bad_request(market->history, listed, market->workers[asked->worker].numbers[which], sent_us, clock_us(), response);
    response_free(response);
}

/* An order that would be placed if its last bytes came. */
static void send_half(struct heckler *heckler)
{
    const struct market *market = heckler->market;
    char name[64], body[160], bytes[512];
    struct raw *raw = raw_open(port_of(market->workers[SOUK_ORDER].urls[any_worker(heckler, SOUK_ORDER)]));
    if (raw == NULL)
        return;
    name_request(heckler, name, sizeof(name));
    int body_len = snprintf(body, sizeof(body), "{\"user\":\"nobody\",\"items\":[{\"product_id\":%" PRId64 ",\"quantity\":1}]}", market->products[0]);
    int len = snprintf(bytes, sizeof(bytes),
                       "POST /orders HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nIdempotency-Key: half-%u\r\n%s\r\n"
                       "Content-Length: %d\r\n\r\n%s",
                       heckler->sent, name, body_len, body);
    (void)raw_send(raw, bytes, (size_t)random_between(&heckler->random, 1, len - 1));
    pause_ms(random_between(&heckler->random, 0, heckler->market->think_ms));
    raw_close(raw);
}

static void *run(void *cookie)
{
    struct heckler *heckler = cookie;
    while (!atomic_load(&heckler->market->closing)) {
        const struct listed *listed = &heckler->listed[random_between(&heckler->random, 0, (int)heckler->count - 1)];
        if (random_percent(&heckler->random, 10))
            send_half(heckler);
        else if (is_bad(listed))
            send_listed(heckler, listed);
        pause_ms(random_between(&heckler->random, 0, heckler->market->think_ms));
    }
    return NULL;
}

struct heckler *heckler_start(struct market *market)
{
    struct heckler *heckler = calloc(1, sizeof(*heckler));
    heckler->market = market;
    heckler->random = random_of(market->seed, 996);
    heckler->client = client_new();
    heckler->count = conversation_list(BAD_REQUESTS, &heckler->listed);
    if (heckler->count == 0 || pthread_create(&heckler->thread, NULL, run, heckler) != 0) {
        fprintf(stderr, "cannot read %s, or start a thread\n", BAD_REQUESTS);
        abort();
    }
    return heckler;
}

void heckler_stop(struct heckler *heckler)
{
    pthread_join(heckler->thread, NULL);
    conversation_list_free(heckler->listed, heckler->count);
    client_free(heckler->client);
    free(heckler);
}
