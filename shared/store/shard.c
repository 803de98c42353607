#include <arpa/inet.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <hiredis/async.h>

#include "check.h"
#include "clock.h"
#include "hash.h"
#include "log.h"
#include "loop.h"

#include "shard.h"
#include "tracking.h"

/*
 * The life of a connection. hiredis is driven by its own hooks (ac->ev), not by one of its adapters, so that we decide when it reads and writes.
 *
 *   rang ─▶ shard_connect ─▶ (got_place) ─▶ connect_now ─▶ got_ready: connected ─▶ identity_check ─▶ shard_passed
 *        ─▶ got_ready: reads and writes (pipeline.c), rang: beats
 *   any error ─▶ let_go ─▶ fall: what is owed is settled, DOWN, timer
 *
 * The context dies inside hiredis' own functions; ${link} is NULL afterwards and is looked at behind each of them.
 */
#define BACKOFF_MIN_MS 25
#define BACKOFF_MAX_MS 1000
#define PATIENCE_MS 2000 /* for the address, the connect, and the check, each */
#define BEAT_MS 1000
#define PROMISE_MS 30000 /* somebody may change a shard's settings while it runs; INFO costs the shard half as much as holding units */

static const struct {
    const char *name;
    unsigned next; /* bits of the states that may follow */
} STATES[] = {
    [SHARD_DOWN] = {"down", 1 << SHARD_LOOKING_UP | 1 << SHARD_CONNECTING},
    [SHARD_LOOKING_UP] = {"looking up", 1 << SHARD_DOWN | 1 << SHARD_CONNECTING},
    [SHARD_CONNECTING] = {"connecting", 1 << SHARD_DOWN | 1 << SHARD_CHECKING},
    [SHARD_CHECKING] = {"checking", 1 << SHARD_DOWN | 1 << SHARD_LOADING | 1 << SHARD_READY},
    [SHARD_LOADING] = {"loading", 1 << SHARD_DOWN | 1 << SHARD_READY},
    [SHARD_READY] = {"ready", 1 << SHARD_DOWN | 1 << SHARD_CHECKING},
};

static const struct reply LOST = {.kind = REPLY_UNKNOWN, .fault = REPLY_LOST, .why = "the connection to the shard was lost before the answer came"};
static const struct reply LATE = {.kind = REPLY_UNKNOWN, .fault = REPLY_NO_ANSWER, .why = "the shard did not answer in time"};
static const struct reply CLOSED = {.kind = REPLY_UNKNOWN, .fault = REPLY_LOST, .why = "the store was closed before the answer came"};

static void rang(void *cookie);

static void tell(struct shard *shard, const char *reason)
{
    snprintf(shard->told, sizeof(shard->told), "%s:%d: %.*s", shard->address->host, shard->address->port, SHARD_REASON_MAX - 1, reason);
}

void shard_heard(struct shard *shard, enum breaker_event event)
{
    enum breaker before = shard->breaker;

    shard->breaker = breaker_next(before, event);
    if (event == BREAKER_BEHIND && before == BREAKER_CLOSED) {
        tell(shard, "connected, but behind: takes no calls until it answers");
        if (shard_may_complain(shard))
            shard_log(shard, LOG_WARN, "shard %s has not answered a call for %lld ms, and has %u to answer: it gets no further ones until it does",
                      shard->address->name, (long long)shard->store->behind_us / 1000, shard->in_flight);
    } else if (event == BREAKER_CAUGHT_UP) {
        tell(shard, "ready");
    }
}

/* What becomes of a connection tells the breaker whether there is one. */
static const enum breaker_event HEARD[] = {
    [SHARD_DOWN] = BREAKER_LOST,      [SHARD_LOOKING_UP] = BREAKER_LOST, [SHARD_CONNECTING] = BREAKER_LOST,
    [SHARD_CHECKING] = BREAKER_ASKED, [SHARD_LOADING] = BREAKER_ASKED,   [SHARD_READY] = BREAKER_PASSED,
};

void shard_move(struct shard *shard, enum shard_state to)
{
    CHECK(STATES[shard->state].next & (1U << to));
    shard_log(shard, LOG_DEBUG, "shard %s: %s -> %s", shard->address->name, STATES[shard->state].name, STATES[to].name);
    shard->state = to;
    shard_heard(shard, HEARD[to]);
    if (to == SHARD_READY)
        tracker_begin(shard->tracker);
    else
        tracker_end(shard->tracker);
}

static bool is_numeric(const char *host)
{
    struct in6_addr address;

    return inet_pton(AF_INET, host, &address) == 1 || inet_pton(AF_INET6, host, &address) == 1;
}

struct shard *shard_new(struct store *store, unsigned index)
{
    struct shard *shard = calloc(1, sizeof(*shard));

    if (!shard)
        return NULL;
    shard->store = store;
    shard->index = index;
    shard->address = &store->settings.topology->shards[index];
    shard->place = is_numeric(shard->address->host) ? shard->address->host : shard->found;
    shard->backoff_ms = BACKOFF_MIN_MS;
    shard->breaker = BREAKER_OPEN;
    shard->timer = loop_timer_new(store->loop, rang, shard);
    reader_init(&shard->reader);
    queue_clear(&shard->owed);
    queue_clear(&shard->held);
    queue_clear(&shard->again);
    tell(shard, "connecting");
    if (!shard->timer || (store->near && !(shard->tracker = tracker_new(store, shard)))) {
        shard_free(shard);
        return NULL;
    }
    return shard;
}

/* There is no connection (any more): the next attempt is in a while, jittered so that the workers of a fleet do not come back at one instant. */
static void fall(struct shard *shard)
{
    int64_t now = clock_us(), jitter;
    const struct reply *fate = shard->fate ? shard->fate : &LOST;

    pipeline_give_up(shard);
    pipeline_settle(shard, fate, shard->state == SHARD_READY && fate == &LOST);
    shard->fate = NULL;
    shard->awaited = 0;
    shard_move(shard, SHARD_DOWN);
    if (strcmp(shard->told, shard->logged) != 0) {
        shard_log(shard, LOG_WARN, "shard %s is not usable: %s; trying again", shard->address->name, shard->told);
        memcpy(shard->logged, shard->told, sizeof(shard->logged));
    }
    jitter = (int64_t)(hash32((struct view){(const char *)&now, sizeof(now)}, shard->index) % 51) - 25;
    loop_timer_set(shard->timer, shard->backoff_ms + shard->backoff_ms * jitter / 100);
    shard->backoff_ms = shard->backoff_ms * 2 > BACKOFF_MAX_MS ? BACKOFF_MAX_MS : shard->backoff_ms * 2;
}

/* hiredis is about to free the context, because of an error (its own text says which) or because we asked for it (we have told why). */
static void let_go(void *cookie)
{
    struct shard *shard = cookie;

    if (!shard->link)
        return;
    if (!shard->fate)
        tell(shard, shard->link->c.errstr);
    loop_unwatch(shard->watch);
    shard->watch = NULL;
    shard->link = NULL;
    fall(shard);
}

/* Asks hiredis to free the context: at once, or when the callback that we are in has returned. */
static void hang_up(struct shard *shard, const struct reply *fate)
{
    shard->fate = fate;
    redisAsyncFree(shard->link);
}

void shard_break(struct shard *shard, const char *reason)
{
    tell(shard, reason);
    hang_up(shard, &LOST);
}

void shard_refuse(struct shard *shard, const char *format, ...)
{
    char reason[SHARD_REASON_MAX];
    va_list args;

    va_start(args, format);
    vsnprintf(reason, sizeof(reason), format, args);
    va_end(args);
    shard->backoff_ms = BACKOFF_MAX_MS;
    shard_break(shard, reason);
}

void shard_check(struct shard *shard)
{
    shard_move(shard, SHARD_CHECKING);
    loop_timer_set(shard->timer, PATIENCE_MS);
    identity_check(shard);
}

/* Only now may hiredis look at the socket: 0.14 takes one whose connect is still under way for connected. */
static void got_connected(struct shard *shard)
{
    redisAsyncHandleWrite(shard->link);
    if (!shard->link || !(shard->link->c.flags & REDIS_CONNECTED))
        return;
    loop_watch_change(shard->watch, LOOP_READ);
    shard_check(shard);
}

static void got_ready(void *cookie, unsigned events)
{
    struct shard *shard = cookie;

    if (shard->state == SHARD_CONNECTING) {
        got_connected(shard);
        return;
    }
    if (events & LOOP_READ)
        pipeline_read(shard);
    if (shard->link && shard->blocked && (events & LOOP_WRITE))
        pipeline_write(shard);
}

/* Binds hiredis to us and to the loop. Its wishes to read are always granted, its wishes to stop writing follow from our own accounts. */
static bool bind_link(struct shard *shard, redisAsyncContext *link)
{
    shard->watch = loop_watch(shard->store->loop, link->c.fd, LOOP_WRITE, got_ready, shard);
    if (!shard->watch)
        return false;
    reader_attach(&shard->reader, link->c.reader);
    link->data = shard;
    link->ev.data = shard;
    link->ev.addWrite = pipeline_want_write;
    link->ev.cleanup = let_go;
    shard->link = link;
    return true;
}

static void connect_now(struct shard *shard)
{
    redisAsyncContext *link = redisAsyncConnect(shard->place, shard->address->port);

    shard_move(shard, SHARD_CONNECTING);
    if (!link || link->err) {
        tell(shard, link ? link->errstr : "no memory for a connection");
    } else if (!bind_link(shard, link)) {
        tell(shard, "the connection cannot be watched; raise the limit of open files (ulimit -n)");
    } else {
        loop_timer_set(shard->timer, PATIENCE_MS);
        return;
    }
    if (link)
        redisAsyncFree(link);
    fall(shard);
}

static int64_t promise_us(const struct shard *shard)
{
    int ms = shard->store->settings.promise_ms;

    return (ms ? ms : PROMISE_MS) * INT64_C(1000);
}

static void got_place(void *cookie, const char *address, const char *error)
{
    struct shard *shard = cookie;
    char reason[SHARD_REASON_MAX];

    shard->lookup = NULL;
    if (address) {
        snprintf(shard->found, sizeof(shard->found), "%s", address);
        connect_now(shard);
        return;
    }
    snprintf(reason, sizeof(reason), "the name is not resolved: %s", error);
    tell(shard, reason);
    fall(shard);
}

void shard_connect(struct shard *shard)
{
    if (shard->place != shard->found) {
        connect_now(shard);
        return;
    }
    shard_move(shard, SHARD_LOOKING_UP);
    loop_timer_set(shard->timer, PATIENCE_MS);
    shard->lookup = loop_look_up(shard->store->loop, shard->address->host, shard->lookups++, got_place, shard);
    if (!shard->lookup)
        got_place(shard, NULL, "no memory");
}

void shard_passed(struct shard *shard)
{
    shard_move(shard, SHARD_READY);
    tell(shard, "ready");
    shard->logged[0] = '\0';
    shard->backoff_ms = BACKOFF_MIN_MS;
    shard->time_due_us = clock_us() + BEAT_MS * 1000;
    shard->promise_due_us = clock_us() + promise_us(shard);
    loop_timer_set(shard->timer, BEAT_MS);
    shard_log(shard, LOG_INFO, "shard %s at %s:%d is ready%s%s", shard->address->name, shard->address->host, shard->address->port,
              *shard->found ? ", found at " : "", shard->found);
    pipeline_repeat(shard);
}

/*
 * In READY the timer rings when the oldest owed answer would be overdue or the clock is to be asked for, whichever is sooner. The question for the
 * time makes sure that something is owed at least once a second, so that a silent shard is noticed without traffic.
 */
static void beat(struct shard *shard)
{
    int64_t now = clock_us(), next = now + BEAT_MS * 1000;

    if (shard->owed.head && now - shard->owed.head->sent_us >= STORE_CALL_TIMEOUT_MS * 1000) {
        tell(shard, "no answer for two seconds");
        hang_up(shard, &LATE);
        return;
    }
    if (now >= shard->time_due_us) {
        shard->time_due_us = next;
        identity_ask_time(shard);
        if (now >= shard->promise_due_us) {
            shard->promise_due_us = now + promise_us(shard);
            promise_ask(shard);
        }
    }
    if (shard->time_due_us < next)
        next = shard->time_due_us;
    if (shard->owed.head && shard->owed.head->sent_us + STORE_CALL_TIMEOUT_MS * 1000 < next)
        next = shard->owed.head->sent_us + STORE_CALL_TIMEOUT_MS * 1000;
    loop_timer_set(shard->timer, (next - now + 999) / 1000);
}

static void rang(void *cookie)
{
    struct shard *shard = cookie;

    switch (shard->state) {
    case SHARD_DOWN:
        shard->figures.reconnects++;
        shard_connect(shard);
        break;
    case SHARD_LOOKING_UP:
        loop_forget(shard->lookup);
        got_place(shard, NULL, "no answer of the resolver within two seconds");
        break;
    case SHARD_CONNECTING:
        tell(shard, "no connection within two seconds");
        hang_up(shard, &LATE);
        break;
    case SHARD_CHECKING:
    case SHARD_LOADING:
        tell(shard, "connected, but no answer to the check within two seconds");
        hang_up(shard, &LATE);
        break;
    case SHARD_READY:
        beat(shard);
        break;
    }
}

int64_t shard_now_ms(const struct shard *shard)
{
    return shard->clock_known ? clock_us() / 1000 + shard->clock_ahead_ms : 0;
}

void shard_close(struct shard *shard)
{
    if (shard->link) {
        tell(shard, "closed by us");
        memcpy(shard->logged, shard->told, sizeof(shard->logged)); /* nothing to warn of */
        hang_up(shard, &CLOSED);
    }
    pipeline_give_up(shard);
    loop_forget(shard->lookup);
    shard->lookup = NULL;
    loop_timer_clear(shard->timer);
}

void shard_free(struct shard *shard)
{
    if (!shard)
        return;
    tracker_free(shard->tracker);
    loop_timer_free(shard->timer);
    reader_free(&shard->reader);
    arena_free(shard->check_arena);
    free(shard);
}
