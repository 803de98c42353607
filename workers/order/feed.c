#include <stdlib.h>
#include <string.h>

#include "hash.h"

#include "functions.h"

#include "order.h"

/*
 * GET /events: the merged feed of every order's transitions, at least once, in order per order.
 *
 * The cursor holds, for each shard, the millisecond up to which its events were given: "base.d1.d2.d3.check", each d its distance from the smallest.
 * A shard's page never cuts a millisecond and never reaches into the present one, and a shard never adds an event at or before what it told
 * (lua/events.lua), so nothing can appear behind the cursor later. A shard that does not answer keeps its place: its events come when it is back.
 */
#define LIMIT_PRESET 100
#define LIMIT_MAX 1000

struct feed_event {
    struct view stream_id, id, order, payment, version, from, to, payment_status, cause, request;
    int64_t ms, sequence;
};

struct feed {
    struct flow flow;
    int limit;
    int64_t *upto; /* per shard */
    unsigned waiting, answered;
    struct feed_event *events;
    size_t count, room;
    struct reply last_failure;
};

/* ---- cursor ---- */

static uint32_t cursor_check(struct view text)
{
    return hash32(text, 0x5eed);
}

/* Returns false if the cursor is damaged or of another ring. */
static bool cursor_read(struct feed *feed, struct view cursor)
{
    unsigned shards = feed->flow.world->topology->shard_count, n = 0;
    long long base = -1;
    const char *check = cursor.len ? memrchr(cursor.at, '.', cursor.len) : NULL;
    if (check == NULL)
        return false;
    struct view body = {cursor.at, (size_t)(check - cursor.at)};
    long long number;
    if (!view_to_int((struct view){check + 1, cursor.len - body.len - 1}, &number) || number != cursor_check(body))
        return false;
    while (n < shards) {
        const char *dot = memchr(body.at, '.', body.len);
        size_t len = dot ? (size_t)(dot - body.at) : body.len;
        if (!view_to_int((struct view){body.at, len}, &number))
            return false;
        if (base < 0)
            base = number;
        else
            feed->upto[n++] = base + number;
        if (dot == NULL)
            break;
        body = (struct view){dot + 1, body.len - len - 1};
    }
    return n == shards;
}

static struct view cursor_print(struct feed *feed)
{
    struct buffer out = {.arena = feed->flow.arena};
    unsigned shards = feed->flow.world->topology->shard_count;
    int64_t base = feed->upto[0];
    for (unsigned i = 1; i < shards; i++)
        base = feed->upto[i] < base ? feed->upto[i] : base;
    buffer_add_int(&out, base);
    for (unsigned i = 0; i < shards; i++) {
        buffer_add(&out, ".", 1);
        buffer_add_int(&out, feed->upto[i] - base);
    }
    uint32_t check = cursor_check(buffer_view(&out));
    buffer_add(&out, ".", 1);
    buffer_add_int(&out, check);
    return buffer_view(&out);
}

/* ---- asking ---- */

static void ask_shard(struct feed *feed, unsigned shard)
{
    struct flow *flow = &feed->flow;
    struct call *call = call_function(flow->arena, &FN_EVENTS, 0);
    call->shard = (int)shard;
    call_key(call, VIEW("souk:shard"));
    call_arg_int(call, feed->upto[shard]);
    call_arg_int(call, feed->limit);
    call_arg(call, topology_partitions_of(flow->world->topology, shard, 0, flow->arena));
    flow_call(flow, call, 0, (int)shard);
}

static bool read_params(struct feed *feed)
{
    struct flow *flow = &feed->flow;
    struct view limit = ask_param(flow->ask, "limit"), after = ask_param(flow->ask, "after");
    long long number = LIMIT_PRESET;
    if (limit.at && (!view_to_int(limit, &number) || number < 1 || number > LIMIT_MAX)) {
        answer_refuse(flow, &OUTCOME_BAD_REQUEST, "limit must be an integer from 1 to %d", LIMIT_MAX);
        return false;
    }
    feed->limit = (int)number;
    if (after.at && !cursor_read(feed, after)) {
        answer_refuse(
            flow, &OUTCOME_BAD_REQUEST,
            "\"after\" is no cursor of this feed; take it from the Link header of the page before, or leave it out to begin at the oldest event");
        return false;
    }
    return true;
}

static void feed_start(struct flow *flow)
{
    struct feed *feed = (struct feed *)flow;
    unsigned shards = flow->world->topology->shard_count;
    feed->upto = ARENA_ARRAY(flow->arena, int64_t, shards);
    if (!read_params(feed)) {
        flow_end(flow);
        return;
    }
    feed->waiting = shards;
    for (unsigned shard = 0; shard < shards; shard++)
        ask_shard(feed, shard);
}

/* ---- merging ---- */

static struct feed_event *event_room(struct feed *feed, size_t more)
{
    if (feed->count + more > feed->room) {
        size_t room = (feed->count + more) * 2;
        struct feed_event *events = ARENA_ARRAY(feed->flow.arena, struct feed_event, room);
        if (feed->count)
            memcpy(events, feed->events, feed->count * sizeof(*events));
        feed->events = events;
        feed->room = room;
    }
    return &feed->events[feed->count];
}

/* [p id order payment v from to payment_status cause request] */
static void add_event(struct feed *feed, const struct item *row)
{
    struct arena *arena = feed->flow.arena;
    struct feed_event *event = event_room(feed, 1);
    long long ms = 0, sequence = 0;
    event->stream_id = arena_copy(arena, item_text(item_at(row, 1)));
    const char *dash = memchr(event->stream_id.at, '-', event->stream_id.len);
    if (dash) {
        view_to_int((struct view){event->stream_id.at, (size_t)(dash - event->stream_id.at)}, &ms);
        view_to_int((struct view){dash + 1, event->stream_id.len - (size_t)(dash - event->stream_id.at) - 1}, &sequence);
    }
    event->id = arena_printf(arena, "%lld.%.*s", (long long)item_int(item_at(row, 0)), VIEW_ARG(event->stream_id));
    event->ms = ms;
    event->sequence = sequence;
    struct view *const texts[] = {&event->order, &event->payment,        &event->version, &event->from,
                                  &event->to,    &event->payment_status, &event->cause,   &event->request};
    for (size_t i = 0; i < sizeof(texts) / sizeof(*texts); i++)
        *texts[i] = arena_copy(arena, item_text(item_at(row, 2 + i)));
    feed->count++;
}

static int event_compare(const void *a, const void *b)
{
    const struct feed_event *left = a, *right = b;
    if (left->ms != right->ms)
        return left->ms < right->ms ? -1 : 1;
    return (left->sequence > right->sequence) - (left->sequence < right->sequence);
}

static void number_or_null(struct writer *w, const char *name, struct view text)
{
    long long number;
    writer_name(w, view_of(name));
    if (view_to_int(text, &number))
        writer_int(w, number);
    else
        writer_null(w);
}

static void event_write(struct writer *w, const struct feed_event *event)
{
    writer_map(w, 10);
    WRITER_TEXT(w, "id", event->id);
    number_or_null(w, "order_id", event->order);
    number_or_null(w, "payment_id", event->payment);
    number_or_null(w, "version", event->version);
    writer_name(w, VIEW("from"));
    if (event->from.len)
        writer_text(w, event->from);
    else
        writer_null(w);
    WRITER_TEXT(w, "to", event->to);
    WRITER_TEXT(w, "payment_status", event->payment_status);
    WRITER_TEXT(w, "cause", event->cause);
    WRITER_TIME(w, "at", event->ms);
    WRITER_TEXT(w, "request_id", event->request);
    writer_end(w);
}

/* Stable by (ms, sequence): events of one order are in one stream, whose ids rise. */
static void answer_feed(struct feed *feed)
{
    struct flow *flow = &feed->flow;
    if (feed->count)
        qsort(feed->events, feed->count, sizeof(*feed->events), event_compare);
    struct writer *w = answer_begin(flow, 200);
    writer_list(w, feed->count);
    for (size_t i = 0; i < feed->count; i++)
        event_write(w, &feed->events[i]);
    writer_end(w);
    answer_header(flow, "Link", "</events?after=%.*s&limit=%d>; rel=\"next\"", VIEW_ARG(cursor_print(feed)), feed->limit);
    answer_send(flow);
}

static void feed_got_reply(struct flow *flow, struct call *call, const struct reply *reply)
{
    struct feed *feed = (struct feed *)flow;
    if (reply->kind == REPLY_OK) {
        feed->answered++;
        feed->upto[call->index] = reply_int(reply, 0);
        for (size_t i = 1; reply_item(reply, i)->type == ITEM_LIST; i++)
            add_event(feed, reply_item(reply, i));
    } else {
        feed->last_failure =
            (struct reply){.kind = reply->kind == REPLY_REFUSED ? REPLY_NOT_SENT : reply->kind, .why = reply->why ? reply->why : "the shard refused"};
    }
    if (--feed->waiting > 0)
        return;
    if (feed->answered)
        answer_feed(feed);
    else
        answer_failed(flow, &feed->last_failure, "reading the events");
    flow_end(flow);
}

const struct flow_type EVENTS_FLOW = {.name = "feed", .size = sizeof(struct feed), .start = feed_start, .got_reply = feed_got_reply};
