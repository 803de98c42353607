#include <stdlib.h>

#include <curl/curl.h>

#include "check.h"
#include "clock.h"
#include "log.h"
#include "loop.h"

#include "errand_line.h"

#include "gateway_sandbox.h"

#include "gateway_port.h"

#define ANSWER_MAX 16384

/* One transfer's place; its libcurl handle is made at its first use and kept. */
struct slot {
    struct gateway_port *port;
    CURL *easy;
    struct gateway_errand *errand; /* NULL: free */
    struct buffer answer;          /* in the errand's arena */
    struct slot *next;             /* in the list of free ones */
};

struct gateway_port {
    struct loop *loop;
    struct gateway_settings settings;
    CURLM *multi;
    struct curl_slist *headers;
    struct loop_timer *due;  /* when libcurl wants to be called */
    struct loop_timer *turn; /* the next turn: completes what failed without libcurl */
    struct errand_line waiting, failed;
    unsigned under_way;
    int64_t logged_us; /* when a failure was last logged */
    unsigned failures; /* since then */
    struct slot *free;
    struct slot slots[GATEWAY_UNDER_WAY_MAX];
};

/* A socket of libcurl's that the loop watches. */
struct socket_watch {
    struct gateway_port *port;
    curl_socket_t fd;
    struct loop_watch *watch;
};

bool gateway_library_start(void)
{
    CURLcode code = curl_global_init(CURL_GLOBAL_DEFAULT);
    if (code)
        log_error("cannot start libcurl: %s", curl_easy_strerror(code));
    return code == CURLE_OK;
}

void gateway_library_end(void)
{
    curl_global_cleanup();
}

/* A gateway that is away fails every request: one line a second says so. */
#define LOG_EVERY_US 1000000
static void tell(struct gateway_port *port, const struct gateway_errand *errand)
{
    port->failures++;
    if (clock_us() - port->logged_us < LOG_EVERY_US)
        return;
    log_warn("gateway %s, key %.*s: %s (%u such since the last message); its reconciliation will ask again", port->settings.url,
             VIEW_ARG(errand->key), errand->why, port->failures);
    port->logged_us = clock_us();
    port->failures = 0;
}

/* Completes ${errand} in the next turn, as certainly not sent. */
static void fail_later(struct gateway_port *port, struct gateway_errand *errand, const char *why)
{
    errand->result = GATEWAY_NOT_SENT;
    errand->why = why;
    errand_line_add(&port->failed, &errand->base);
    loop_timer_set(port->turn, 0);
}

/* ---- one transfer ---- */

static size_t got_body(char *bytes, size_t size, size_t count, void *cookie)
{
    struct slot *slot = cookie;
    if (slot->answer.len + size * count > ANSWER_MAX)
        return 0;
    buffer_add(&slot->answer, bytes, size * count);
    return size * count;
}

/* What is the same for every request. No proxy from the environment, no redirects: a key must not travel elsewhere. */
static CURL *easy_new(struct slot *slot)
{
    CURL *easy = curl_easy_init();
    if (easy == NULL)
        return NULL;
    curl_easy_setopt(easy, CURLOPT_PRIVATE, slot);
    curl_easy_setopt(easy, CURLOPT_WRITEDATA, slot);
    curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, got_body);
    curl_easy_setopt(easy, CURLOPT_HTTPHEADER, slot->port->headers);
    curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(easy, CURLOPT_PROXY, "");
    curl_easy_setopt(easy, CURLOPT_POST, 1L);
    return easy;
}

/* Milliseconds that ${errand} has left, at most 0 if none. */
static int64_t time_left_ms(const struct gateway_port *port, const struct gateway_errand *errand)
{
    return port->settings.timeout_ms - (clock_us() - errand->since_us) / 1000;
}

static bool slot_start(struct slot *slot, struct gateway_errand *errand, int64_t left_ms)
{
    struct gateway_port *port = slot->port;
    if (slot->easy == NULL && (slot->easy = easy_new(slot)) == NULL)
        return false;
    struct view body = gateway_sandbox_body(errand);
    struct view url = arena_printf(errand->arena, "%s%.*s", port->settings.url, VIEW_ARG(gateway_sandbox_path(errand)));
    curl_easy_setopt(slot->easy, CURLOPT_URL, url.at);
    curl_easy_setopt(slot->easy, CURLOPT_POSTFIELDS, body.at);
    curl_easy_setopt(slot->easy, CURLOPT_POSTFIELDSIZE, (long)body.len);
    curl_easy_setopt(slot->easy, CURLOPT_TIMEOUT_MS, (long)left_ms);
    slot->answer = (struct buffer){.arena = errand->arena};
    slot->errand = errand;
    return curl_multi_add_handle(port->multi, slot->easy) == CURLM_OK;
}

static struct slot *slot_take(struct gateway_port *port)
{
    struct slot *slot = port->free;
    port->free = slot->next;
    port->under_way++;
    return slot;
}

static void slot_give(struct gateway_port *port, struct slot *slot)
{
    slot->errand = NULL;
    slot->next = port->free;
    port->free = slot;
    port->under_way--;
}

/* Fills free slots from the queue. */
static void start_waiting(struct gateway_port *port)
{
    while (port->free && port->waiting.count) {
        struct gateway_errand *errand = (struct gateway_errand *)errand_line_take(&port->waiting);
        int64_t left_ms = time_left_ms(port, errand);
        struct slot *slot = left_ms > 0 ? slot_take(port) : NULL;
        if (slot == NULL) {
            fail_later(port, errand, "too many requests to the gateway are under way: its time was over before it was sent");
        } else if (!slot_start(slot, errand, left_ms)) {
            slot_give(port, slot);
            fail_later(port, errand, "out of memory for a request to the gateway");
        }
    }
}

/*
 * A transfer that failed: NOT_SENT only if not one byte of a request was written. libcurl itself repeats a request when a kept connection turns out
 * dead (harmless: same key), and counts the bytes of both.
 */
static void judge_failure(struct slot *slot, CURLcode code)
{
    long sent = 0;
    curl_easy_getinfo(slot->easy, CURLINFO_REQUEST_SIZE, &sent);
    slot->errand->result = sent == 0 ? GATEWAY_NOT_SENT : GATEWAY_UNKNOWN;
    slot->errand->why = curl_easy_strerror(code);
}

static void slot_finish(struct slot *slot, CURLcode code)
{
    struct gateway_port *port = slot->port;
    struct gateway_errand *errand = slot->errand;
    long status = 0;
    curl_easy_getinfo(slot->easy, CURLINFO_RESPONSE_CODE, &status);
    if (code == CURLE_OK)
        gateway_sandbox_read(errand, status, buffer_view(&slot->answer));
    else
        judge_failure(slot, code);
    if (errand->why)
        tell(port, errand);
    curl_multi_remove_handle(port->multi, slot->easy);
    slot_give(port, slot);
    errand->base.done(&errand->base);
}

/* Completions may send new errands: libcurl allows that here, because none of its callbacks is running. */
static void finish_done(struct gateway_port *port)
{
    const CURLMsg *message;
    int left;
    while ((message = curl_multi_info_read(port->multi, &left))) {
        struct slot *slot = NULL;
        if (message->msg != CURLMSG_DONE)
            continue;
        CURLcode code = message->data.result;
        curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, (char **)&slot);
        slot_finish(slot, code);
    }
    start_waiting(port);
}

/* ---- libcurl on the loop ---- */

/* libcurl is called this much later when it has given up in the middle, so that it does not do so again and again. */
#define BREATH_MS 10

/* Something has happened for libcurl. Without memory it gives up before it has said when it wants to be called again, so it is asked. */
static void act(struct gateway_port *port, curl_socket_t fd, int ready)
{
    int running;
    long due_ms = -1;
    if (curl_multi_socket_action(port->multi, fd, ready, &running) != CURLM_OK) {
        curl_multi_timeout(port->multi, &due_ms);
        loop_timer_set(port->due, due_ms < BREATH_MS ? BREATH_MS : due_ms);
    }
    finish_done(port);
}

static void socket_ready(void *cookie, unsigned events)
{
    const struct socket_watch *watch = cookie;
    struct gateway_port *port = watch->port; /* the watch may be gone after the call */
    act(port, watch->fd, (events & LOOP_READ ? CURL_CSELECT_IN : 0) | (events & LOOP_WRITE ? CURL_CSELECT_OUT : 0));
}

static void socket_unwatch(struct socket_watch *watch)
{
    if (watch == NULL)
        return;
    loop_unwatch(watch->watch);
    free(watch);
}

/* A socket that cannot be watched is not refused (that would end every transfer): its own runs into its timeout. */
static int got_socket(CURL *easy, curl_socket_t fd, int what, void *cookie, void *assigned)
{
    struct gateway_port *port = cookie;
    struct socket_watch *watch = assigned;
    unsigned events = (what & CURL_POLL_IN ? LOOP_READ : 0) | (what & CURL_POLL_OUT ? LOOP_WRITE : 0);
    if (what == CURL_POLL_REMOVE) {
        socket_unwatch(watch);
    } else if (watch) {
        loop_watch_change(watch->watch, events);
    } else if ((watch = calloc(1, sizeof(*watch)))) {
        *watch = (struct socket_watch){.port = port, .fd = fd, .watch = loop_watch(port->loop, fd, events, socket_ready, watch)};
        if (watch->watch == NULL) {
            free(watch);
            return 0;
        }
        curl_multi_assign(port->multi, fd, watch);
    }
    return 0;
}

static int got_timeout_wish(CURLM *multi, long after_ms, void *cookie)
{
    struct gateway_port *port = cookie;
    if (after_ms < 0)
        loop_timer_clear(port->due);
    else
        loop_timer_set(port->due, after_ms);
    return 0;
}

static void due_rang(void *cookie)
{
    act(cookie, CURL_SOCKET_TIMEOUT, 0);
}

static void turn_rang(void *cookie)
{
    struct gateway_port *port = cookie;
    struct errand_line failed;
    errand_line_move(&failed, &port->failed);
    for (struct errand *errand; (errand = errand_line_take(&failed));) {
        tell(port, (struct gateway_errand *)errand);
        errand->done(errand);
    }
    start_waiting(port);
}

/* ---- the port ---- */

void gateway_port_send(void *cookie, struct errand *base)
{
    struct gateway_port *port = cookie;
    struct gateway_errand *errand = (struct gateway_errand *)base;
    errand->since_us = clock_us();
    if (base->withheld) {
        fail_later(port, errand, "its client was told that nothing is done");
        return;
    }
    if (port->waiting.count >= GATEWAY_QUEUE_MAX) {
        fail_later(port, errand, "too many requests to the gateway are waiting");
        return;
    }
    errand_line_add(&port->waiting, &errand->base);
    start_waiting(port);
}

static bool multi_init(struct gateway_port *port)
{
    port->multi = curl_multi_init();
    port->headers = curl_slist_append(NULL, "Content-Type: application/json");
    if (port->multi == NULL || port->headers == NULL)
        return false;
    curl_multi_setopt(port->multi, CURLMOPT_SOCKETDATA, port);
    curl_multi_setopt(port->multi, CURLMOPT_SOCKETFUNCTION, got_socket);
    curl_multi_setopt(port->multi, CURLMOPT_TIMERDATA, port);
    curl_multi_setopt(port->multi, CURLMOPT_TIMERFUNCTION, got_timeout_wish);
    curl_multi_setopt(port->multi, CURLMOPT_MAXCONNECTS, (long)GATEWAY_UNDER_WAY_MAX);
    return true;
}

struct gateway_port *gateway_port_new(struct loop *loop, const struct gateway_settings *settings)
{
    struct gateway_port *port = calloc(1, sizeof(*port));
    CHECK(port);
    port->loop = loop;
    port->settings = *settings;
    errand_line_init(&port->waiting);
    errand_line_init(&port->failed);
    port->due = loop_timer_new(loop, due_rang, port);
    port->turn = loop_timer_new(loop, turn_rang, port);
    for (struct slot *slot = port->slots + GATEWAY_UNDER_WAY_MAX; slot-- > port->slots;) {
        slot->port = port;
        slot->next = port->free;
        port->free = slot;
    }
    if (!port->due || !port->turn || !multi_init(port)) {
        log_error("cannot prepare requests to the gateway: out of memory");
        gateway_port_free(port);
        return NULL;
    }
    return port;
}

void gateway_port_free(struct gateway_port *port)
{
    if (port == NULL)
        return;
    CHECK(port->under_way == 0 && port->waiting.count == 0 && port->failed.count == 0);
    for (struct slot *slot = port->slots; slot < port->slots + GATEWAY_UNDER_WAY_MAX; slot++)
        curl_easy_cleanup(slot->easy);
    curl_multi_cleanup(port->multi);
    curl_slist_free_all(port->headers);
    loop_timer_free(port->turn);
    loop_timer_free(port->due);
    free(port);
}
