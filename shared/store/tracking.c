#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>

#include <hiredis/hiredis.h>

#include "check.h"
#include "clock.h"
#include "log.h"
#include "loop.h"

#include "near_cache.h"
#include "shard.h"

#include "tracking.h"

/*
 * Redis' own invalidation (CLIENT TRACKING), in the form that works with RESP2: the connection redirects the news to itself and subscribes to their
 * channel. BCAST, because the other mode follows the reads of one connection and falls silent, without a word, when that connection dies; and since
 * it costs the server nothing when a record is read.
 *
 *   ASKING   AUTH · INFO server · CLIENT ID ─▶ CLIENT TRACKING ON REDIRECT id BCAST PREFIX product: · SUBSCRIBE ─▶ LIVE
 *   LIVE     PING ─▶ PONG ─▶ PING …, which makes the lease (near_cache.h)
 *
 * hiredis' own subscriptions know no PONG (0.14 takes its callbacks from the channel's name), so only its context and reader are used here, without
 * blocking.
 */
#define BACKOFF_MIN_MS 25
#define BACKOFF_MAX_MS 1000
#define PATIENCE_MS 2000 /* for the way to LIVE, and for a PONG */
#define BEATS_PER_BOUND 4
#define REASON_MAX 256
#define CHANNEL VIEW("__redis__:invalidate")

enum tracker_state { TRACKER_OFF, TRACKER_WAITING, TRACKER_CONNECTING, TRACKER_ASKING, TRACKER_LIVE };

/* What is asked first, in this order. */
enum answer { ANSWER_AUTH, ANSWER_SERVER, ANSWER_ID, ANSWER_TRACKING, ANSWER_SUBSCRIBED };

struct tracker {
    struct store *store;
    struct shard *shard;
    enum tracker_state state;
    enum answer next; /* ASKING: the answer that is awaited */
    redisContext *link;
    struct loop_watch *watch;
    struct loop_timer *timer;
    struct reader reader;
    struct buffer out;
    int64_t asked_us; /* when the PING that is under way was sent; 0: none is */
    uint64_t pongs;
    int64_t backoff_ms;
    char logged[REASON_MAX];
};

static void rang(void *cookie);

struct tracker *tracker_new(struct store *store, struct shard *shard)
{
    struct tracker *tracker = calloc(1, sizeof(*tracker));

    if (!tracker)
        return NULL;
    tracker->store = store;
    tracker->shard = shard;
    tracker->backoff_ms = BACKOFF_MIN_MS;
    tracker->out.arena = store->arena;
    reader_init(&tracker->reader);
    tracker->timer = loop_timer_new(store->loop, rang, tracker);
    if (!tracker->timer) {
        free(tracker);
        return NULL;
    }
    return tracker;
}

/* Ends the connection, if there is one. News may be missed from here on. */
static void hang_up(struct tracker *tracker)
{
    if (tracker->watch)
        loop_unwatch(tracker->watch);
    if (tracker->link)
        redisFree(tracker->link);
    tracker->watch = NULL;
    tracker->link = NULL;
    tracker->asked_us = 0;
    tracker->pongs = 0;
    near_lost(tracker->store->near, tracker->shard->index);
}

static void fail(struct tracker *tracker, const char *reason)
{
    if (strcmp(reason, tracker->logged) != 0) {
        shard_log(tracker->shard, LOG_WARN,
                  "shard %s at %s:%d does not tell of changes (%s): its products are read from it every time; trying again",
                  tracker->shard->address->name, tracker->shard->address->host, tracker->shard->address->port, reason);
        snprintf(tracker->logged, sizeof(tracker->logged), "%s", reason);
    }
    hang_up(tracker); /* the reason may have been the connection's own text */
    tracker->state = TRACKER_WAITING;
    loop_timer_set(tracker->timer, tracker->backoff_ms);
    tracker->backoff_ms = tracker->backoff_ms * 2 > BACKOFF_MAX_MS ? BACKOFF_MAX_MS : tracker->backoff_ms * 2;
}

static void fail_by(struct tracker *tracker, const char *what, struct view error)
{
    char reason[REASON_MAX];

    snprintf(reason, sizeof(reason), "it refuses %s: %.*s; allow this user %s", what, VIEW_ARG(error), what);
    fail(tracker, reason);
}

/* ---- sending ---- */

/* A few bytes on an idle connection: what the kernel does not take at once is taken for a dead connection. */
static bool send_out(struct tracker *tracker)
{
    int done = 0;
    bool sent = redisAppendFormattedCommand(tracker->link, tracker->out.at, tracker->out.len) == REDIS_OK &&
                redisBufferWrite(tracker->link, &done) == REDIS_OK && done;

    tracker->out.len = 0;
    if (!sent)
        fail(tracker, tracker->link->err ? tracker->link->errstr : "the connection takes no more");
    return sent;
}

static void add_command(struct tracker *tracker, unsigned count, const struct view *words)
{
    bulk_head(&tracker->out, '*', count);
    for (unsigned i = 0; i < count; i++)
        bulk_add(&tracker->out, words[i]);
}

#define ADD(tracker, ...) \
    add_command((tracker), sizeof((struct view[]){__VA_ARGS__}) / sizeof(struct view), (struct view[]){__VA_ARGS__})

static void ask_first(struct tracker *tracker)
{
    const struct store_settings *settings = &tracker->store->settings;

    tracker->state = TRACKER_ASKING;
    tracker->next = settings->password ? ANSWER_AUTH : ANSWER_SERVER;
    if (settings->password && settings->user)
        ADD(tracker, VIEW("AUTH"), view_of(settings->user), view_of(settings->password));
    else if (settings->password)
        ADD(tracker, VIEW("AUTH"), view_of(settings->password));
    ADD(tracker, VIEW("INFO"), VIEW("server"));
    ADD(tracker, VIEW("CLIENT"), VIEW("ID"));
    send_out(tracker);
}

static void ask_for_news(struct tracker *tracker, int64_t id)
{
    char number[24], prefix[NEAR_KIND_MAX + 2];
    struct view redirect = {number, (size_t)snprintf(number, sizeof(number), "%lld", (long long)id)};
    struct view kind = {prefix, (size_t)snprintf(prefix, sizeof(prefix), "%s:", tracker->store->settings.near_kind)};

    ADD(tracker, VIEW("CLIENT"), VIEW("TRACKING"), VIEW("ON"), VIEW("REDIRECT"), redirect, VIEW("BCAST"), VIEW("PREFIX"), kind);
    ADD(tracker, VIEW("SUBSCRIBE"), CHANNEL);
    send_out(tracker);
}

static void ping(struct tracker *tracker)
{
    ADD(tracker, VIEW("PING"));
    tracker->asked_us = clock_us();
    send_out(tracker);
}

/* ---- what comes ---- */

static void heed_key(struct tracker *tracker, struct view key)
{
    int64_t id = near_id_of(tracker->store, key);

    if (id)
        near_changed(tracker->store->near, id);
}

/* A list of keys, or nil: the shard was emptied. */
static void got_news(struct tracker *tracker, const struct item *keys)
{
    if (keys->type != ITEM_LIST)
        near_lost(tracker->store->near, tracker->shard->index);
    for (size_t i = 0; i < keys->count; i++)
        heed_key(tracker, item_text(&keys->items[i]));
}

static void got_pong(struct tracker *tracker)
{
    near_answered(tracker->store->near, tracker->shard->index, tracker->asked_us);
    tracker->asked_us = 0;
    if (tracker->pongs++ == 0)
        ping(tracker); /* the second makes the lease */
    else
        loop_timer_set(tracker->timer, tracker->store->settings.near_bound_us / 1000 / BEATS_PER_BOUND);
}

static void got_live_item(struct tracker *tracker, const struct item *item)
{
    struct view kind = item_text(item_at(item, 0));

    if (item->type == ITEM_ERROR)
        fail_by(tracker, "PING", item->text);
    else if (view_equal(kind, VIEW("message")))
        got_news(tracker, item_at(item, 2));
    else if (view_equal(kind, VIEW("pong")) && tracker->asked_us)
        got_pong(tracker);
    else
        fail(tracker, "it sent what nobody asked for");
}

static void go_live(struct tracker *tracker)
{
    tracker->state = TRACKER_LIVE;
    tracker->backoff_ms = BACKOFF_MIN_MS;
    tracker->logged[0] = '\0';
    loop_timer_set(tracker->timer, PATIENCE_MS);
    ping(tracker);
}

/* The answers to what was asked first. Returns silently behind the first that is not fine. */
static void got_answer(struct tracker *tracker, const struct item *item)
{
    static const char *const questions[] = {"AUTH", "INFO", "CLIENT|ID", "CLIENT|TRACKING", "SUBSCRIBE"};
    char run_id[SHARD_RUN_ID_MAX];

    if (item->type == ITEM_ERROR) {
        fail_by(tracker, questions[tracker->next], item->text);
        return;
    }
    switch (tracker->next++) {
    case ANSWER_SERVER:
        identity_run_id(item->text, run_id);
        if (run_id[0] == '\0' || strcmp(run_id, tracker->shard->run_id) != 0)
            fail(tracker, "it is another server than the one that is read, or does not tell which it is");
        break;
    case ANSWER_ID:
        ask_for_news(tracker, item->integer);
        break;
    case ANSWER_SUBSCRIBED:
        go_live(tracker);
        break;
    default:
        break;
    }
}

/* Takes what was read, item by item, until there is no more or the connection is given up. */
static void take_items(struct tracker *tracker)
{
    void *received = NULL;

    while (tracker->link && redisGetReplyFromReader(tracker->link, &received) == REDIS_OK && received) {
        redisContext *link = tracker->link;
        const struct item *item = reader_root(received);

        if (tracker->state == TRACKER_LIVE)
            got_live_item(tracker, item);
        else
            got_answer(tracker, item);
        if (tracker->link == link) /* else it went with its reader; the item's memory is ours and is used again */
            link->reader->fn->freeObject(received);
        received = NULL;
    }
    if (tracker->link && tracker->link->err)
        fail(tracker, tracker->link->errstr);
}

static void got_connected(struct tracker *tracker)
{
    int error = 0;
    socklen_t len = sizeof(error);

    if (getsockopt(tracker->link->fd, SOL_SOCKET, SO_ERROR, &error, &len) != 0 || error) {
        fail(tracker, strerror(error));
        return;
    }
    loop_watch_change(tracker->watch, LOOP_READ);
    ask_first(tracker);
}

static void got_ready(void *cookie, unsigned events)
{
    struct tracker *tracker = cookie;

    if (tracker->state == TRACKER_CONNECTING)
        got_connected(tracker);
    else if (redisBufferRead(tracker->link) != REDIS_OK)
        fail(tracker, tracker->link->errstr);
    else
        take_items(tracker);
}

/* ---- its life ---- */

static void connect_now(struct tracker *tracker)
{
    tracker->state = TRACKER_CONNECTING;
    tracker->link = redisConnectNonBlock(tracker->shard->place, tracker->shard->address->port);
    if (!tracker->link || tracker->link->err) {
        fail(tracker, tracker->link ? tracker->link->errstr : "no memory for a connection");
        return;
    }
    reader_attach(&tracker->reader, tracker->link->reader);
    tracker->watch = loop_watch(tracker->store->loop, tracker->link->fd, LOOP_WRITE, got_ready, tracker);
    if (!tracker->watch) {
        fail(tracker, "the connection cannot be watched; raise the limit of open files (ulimit -n)");
        return;
    }
    loop_timer_set(tracker->timer, PATIENCE_MS);
}

static void beat(struct tracker *tracker)
{
    if (tracker->asked_us == 0) {
        ping(tracker);
        if (tracker->state == TRACKER_LIVE)
            loop_timer_set(tracker->timer, PATIENCE_MS);
    } else {
        fail(tracker, "no answer to a PING for two seconds");
    }
}

static void rang(void *cookie)
{
    struct tracker *tracker = cookie;

    if (tracker->state == TRACKER_WAITING)
        connect_now(tracker);
    else if (tracker->state == TRACKER_LIVE)
        beat(tracker);
    else if (tracker->state != TRACKER_OFF)
        fail(tracker, "no answer within two seconds");
}

void tracker_begin(struct tracker *tracker)
{
    if (!tracker || tracker->state != TRACKER_OFF)
        return;
    tracker->backoff_ms = BACKOFF_MIN_MS;
    tracker->state = TRACKER_WAITING;
    loop_timer_set(tracker->timer, 0);
}

void tracker_end(struct tracker *tracker)
{
    if (!tracker || tracker->state == TRACKER_OFF)
        return;
    hang_up(tracker);
    loop_timer_clear(tracker->timer);
    tracker->state = TRACKER_OFF;
}

void tracker_free(struct tracker *tracker)
{
    if (!tracker)
        return;
    CHECK(tracker->state == TRACKER_OFF);
    loop_timer_free(tracker->timer);
    reader_free(&tracker->reader);
    free(tracker);
}
