#include <hiredis/async.h>

#include "check.h"
#include "clock.h"
#include "log.h"
#include "loop.h"

#include "shard.h"

/*
 * The calls on a connection. What is sent during a turn is gathered in hiredis' buffer and written once at the turn's end: that is the pipelining.
 *
 *   shard_send ─▶ hiredis' buffer, pipeline_want_write ─▶ store's dirty list ─(turn's end)─▶ shard_flush ─▶ write
 *   call->done ◀─ heed ◀─ classify ◀─ got_answer ◀─ reader.c ◀───────────────────────────────────────── read
 *
 * With replicas the answers of writing calls wait in between (durability.c). The connection died: pipeline_settle, and the calls complete by
 * store_fail.
 */
#define COMPLAIN_US 1000000

static const struct reply NOT_READY = {.kind = REPLY_NOT_SENT, .fault = REPLY_NOT_READY, .why = "the shard is not ready"};
static const struct reply BEHIND = {
    .kind = REPLY_NOT_SENT, .fault = REPLY_BEHIND, .why = "the shard has not answered for a while and takes no calls until it does"};
static const struct reply TOO_MANY = {.kind = REPLY_NOT_SENT, .fault = REPLY_TOO_MANY, .why = "too many calls are under way to this shard"};
static const struct reply UNWRITTEN = {
    .kind = REPLY_NOT_SENT, .fault = REPLY_UNWRITTEN, .why = "the connection to the shard was lost before the call was sent"};
/* Marks our own questions among the owed calls; never completed with. */
static const struct reply OURS = {.kind = REPLY_NOT_SENT, .why = "a question of the store's own"};

/* One line a second at most: an error in every answer must not become an error in every line of the log. */
bool shard_may_complain(struct shard *shard)
{
    int64_t now = clock_us();

    if (shard->complained_us && now - shard->complained_us < COMPLAIN_US) {
        shard->complaints++;
        return false;
    }
    if (shard->complaints)
        shard_log(shard, LOG_WARN, "shard %s: %u errors were not logged", shard->address->name, shard->complaints);
    shard->complained_us = now;
    shard->complaints = 0;
    return true;
}

/* An answer that no row of the table names is always logged: the table must be mended, and a test that sees the line fails. */
static void complain(struct shard *shard, const struct call *call, const struct reply *reply, bool unclassified)
{
    const char *what = call->function ? call->function->name : "a command";

    if (unclassified)
        shard_log(shard, LOG_ERROR, "shard %s gave an unclassified answer to %s, \"%.*s\": %s", shard->address->name, what,
                  VIEW_ARG(reply->root->text), reply->why);
    else if (shard_may_complain(shard))
        shard_log(shard, reply->kind == REPLY_UNKNOWN ? LOG_ERROR : LOG_WARN, "shard %s answered %s with \"%.*s\": %s", shard->address->name, what,
                  VIEW_ARG(reply->root->text), reply->why);
}

/*
 * What an answer says about the shard itself. With another ring, or without our library, it is checked again on the same connection, behind what
 * is owed: so every answer under way still comes, and calls are accepted again only when the check has passed.
 */
static void heed(struct shard *shard, const struct call *call, const struct reply *reply, bool unclassified)
{
    bool ring = call->function && reply->code == CODE_RING;

    shard->figures.faults[REPLY_DECLINED] += reply->kind == REPLY_NOT_SENT;
    shard->figures.faults[REPLY_UNCLEAR] += reply->kind == REPLY_UNKNOWN;
    if (reply->root->type == ITEM_ERROR || unclassified)
        complain(shard, call, reply, unclassified);
    if (ring && !shard->ring_told) {
        shard_log(shard, LOG_WARN, "shard %s has another ring epoch than %ld: checking it again", shard->address->name,
                  shard->store->settings.topology->epoch);
        shard->ring_told = true;
    }
    if ((ring || classify_library_gone(reply->root)) && shard->state == SHARD_READY)
        shard_check(shard);
}

/* Answers come in the order of their calls, so the last of those that were read together was the quickest. */
static void note_time(struct shard *shard)
{
    struct store *store = shard->store;
    int64_t took_us;

    if (shard->answered_us == 0)
        return;
    took_us = shard->read_us - shard->answered_us;
    shard->answered_us = 0;
    if (store->quickest_us == 0 || took_us < store->quickest_us)
        store->quickest_us = took_us > 0 ? took_us : 1;
}

/* A few may wait: a disk that stalls for a moment is better waited for. Many take the room of those who need other shards. */
static bool is_behind(const struct shard *shard, int64_t now)
{
    return shard->in_flight >= STORE_BEHIND_MAX && shard->owed.head && now - shard->owed.head->sent_us > shard->store->behind_us;
}

void pipeline_read(struct shard *shard)
{
    shard->read_us = clock_us();
    redisAsyncHandleRead(shard->link);
    note_time(shard);
    if (shard->breaker == BREAKER_OPEN && shard->state == SHARD_READY && !is_behind(shard, shard->read_us))
        shard_heard(shard, BREAKER_CAUGHT_UP);
}

/* What a call has changed is not kept any longer by the time that whoever sent it hears of it. */
static void note_change(struct store *store, const struct call *call)
{
    int64_t id = 0;

    for (unsigned i = 0; i < call->keys && id == 0; i++)
        id = near_id_of(store, call_part(call, i));
    for (unsigned i = 0; i < call->also_count; i++)
        near_changed(store->near, call->also[i]);
    near_wrote(store->near, id);
}

void pipeline_complete(struct shard *shard, struct call *call, const struct reply *reply)
{
    struct store *store = shard->store;

    shard->in_flight--;
    metric_time(&shard->figures.times, shard->read_us - call->sent_us);
    if (store->near && call->function && call->function->changes && strcmp(call->function->changes, store->settings.near_kind) == 0)
        note_change(store, call);
    call->done(call, reply);
}

/* hiredis has an answer to the oldest command, or the context dies: then let_go settles all that is owed, and there is nothing to do here. */
static void got_answer(redisAsyncContext *link, void *received, void *cookie)
{
    struct shard *shard = link->data;
    struct call *call = cookie;
    struct reply reply = {.kind = REPLY_OK};
    bool unclassified;

    if (!received)
        return;
    CHECK(queue_take(&shard->owed) == call);
    if (shard->unflushed == call)
        shard->unflushed = shard->owed.head; /* an answer before the question: a confused server, but our accounts stay right */
    if (call->fate == &OURS) {
        reply.root = reader_root(received);
        call->done(call, &reply);
        return;
    }
    if (shard->store->settings.watches_line)
        shard->answered_us = call->sent_us;
    reply = reply_from(call->function, reader_root(received), &unclassified);
    heed(shard, call, &reply, unclassified);
    if (durability_holds(shard, call, &reply))
        durability_hold(shard, call, &reply);
    else
        pipeline_complete(shard, call, &reply);
}

/* Puts the command into the store's buffer, with a NUL behind it: hiredis looks for what follows a command's name. */
static struct view encode(struct shard *shard, const struct call *call)
{
    const struct store *store = shard->store;
    struct buffer *out = &shard->store->command;
    const struct function *function = call->function;

    out->len = 0;
    if (function) {
        struct view name = view_of(function->name), hash = store->settings.libraries[0].hash;

        bulk_head(out, '*', 3 + call->keys + call->args + (function->writes ? 2 : 0));
        bulk_add(out, function->writes ? VIEW("FCALL") : VIEW("FCALL_RO"));
        bulk_head(out, '$', name.len + 1 + hash.len);
        buffer_add_view(out, name);
        buffer_add(out, "_", 1);
        buffer_add_view(out, hash);
        buffer_add(out, "\r\n", 2);
        bulk_add_int(out, call->keys);
    } else {
        bulk_head(out, '*', call->args);
    }
    buffer_add_view(out, buffer_view(&call->body));
    if (function && function->writes) {
        bulk_add_int(out, store->settings.topology->epoch);
        bulk_add_int(out, shard_now_ms(shard) + STORE_LIMIT_MS);
    }
    buffer_add(out, "", 1);
    return (struct view){out->at, out->len - 1};
}

/*
 * Hands ${call} to hiredis. Returns false if it takes none any more. Without memory for the callback, 0.14 appends the command all the same, and the
 * answers that follow would go to the wrong calls: then nothing is written any more, and the connection ends with the turn.
 */
static bool pass(struct shard *shard, struct call *call)
{
    struct view command = encode(shard, call);

    if (shard->gathering_us == 0)
        shard->gathering_us = clock_us();
    call->sent_us = shard->gathering_us;
    if (redisAsyncFormattedCommand(shard->link, got_answer, call, command.at, command.len) != REDIS_OK)
        return false;
    if (!shard->link->replies.tail || shard->link->replies.tail->privdata != call) {
        shard->garbled = true;
        return false;
    }
    queue_add(&shard->owed, call);
    if (!shard->unflushed)
        shard->unflushed = call;
    return true;
}

/* The first call of a turn looks at the time, which is that of all others. */
static void begin_batch(struct shard *shard)
{
    int64_t now = clock_us();

    if (is_behind(shard, now))
        shard_heard(shard, BREAKER_BEHIND);
}

const struct reply *shard_send(struct shard *shard, struct call *call)
{
    const struct reply *fate = NULL;

    call->fate = NULL;
    if (shard->breaker == BREAKER_CLOSED && shard->gathering_us == 0)
        begin_batch(shard);
    if (shard->breaker != BREAKER_CLOSED)
        fate = shard->state == SHARD_READY ? &BEHIND : &NOT_READY;
    else if (shard->in_flight >= STORE_INFLIGHT_MAX)
        fate = &TOO_MANY;
    else if (!pass(shard, call))
        fate = &UNWRITTEN;
    if (fate) {
        shard->figures.faults[fate->fault]++;
        return fate;
    }
    shard->figures.calls++;
    shard->in_flight++;
    shard->gathered++;
    if (shard->store->settings.wait_replicas > 0 && call->function && call->function->writes)
        shard->unconfirmed++;
    return NULL;
}

struct call *shard_question(struct shard *shard, struct arena *arena, const char *command, void (*got)(struct call *call, const struct reply *reply))
{
    struct call *question = call_command(arena, command, 0);

    question->done = got;
    question->cookie = shard;
    question->fate = &OURS;
    return question;
}

/* If hiredis does not take it, the context is dying and the answer is not needed; else the timer notices that none comes. */
void shard_ask(struct shard *shard, struct call *question)
{
    pass(shard, question);
}

/* hiredis has something to write. While we are writing this means that the kernel did not take all. */
void pipeline_want_write(void *cookie)
{
    struct shard *shard = cookie;

    if (shard->flushing) {
        shard->left = true;
    } else if (!shard->dirty) {
        shard->dirty = true;
        shard->next_dirty = shard->store->dirty;
        shard->store->dirty = shard;
    }
}

/* Memory was short while a command was appended: hiredis awaits an answer to what it does not have, or has what nobody awaits the answer of. */
static bool break_if_garbled(struct shard *shard)
{
    if (!shard->link->c.err && !shard->garbled)
        return false;
    shard_break(shard, shard->link->c.err ? shard->link->c.errstr : "no memory for a command");
    return true;
}

void pipeline_write(struct shard *shard)
{
    size_t before;

    if (break_if_garbled(shard))
        return;
    before = sdslen(shard->link->c.obuf);
    shard->figures.batches += shard->gathered > 0;
    shard->gathered = 0;
    shard->unflushed = NULL; /* from here on any of it may reach the shard */
    shard->flushing = true;
    shard->left = false;
    redisAsyncHandleWrite(shard->link);
    shard->flushing = false;
    if (!shard->link)
        return;
    shard->figures.bytes_out += before - sdslen(shard->link->c.obuf);
    if (shard->left != shard->blocked) {
        shard->blocked = shard->left;
        loop_watch_change(shard->watch, shard->blocked ? LOOP_READ | LOOP_WRITE : LOOP_READ);
    }
}

/* It stays marked as dirty while its batch is ended, so that this does not put it on the list once more. */
void shard_flush(struct shard *shard)
{
    if (shard->link)
        durability_end_batch(shard);
    shard->dirty = false;
    shard->gathering_us = 0;
    if (!shard->link)
        return; /* it broke meanwhile */
    if (!shard->blocked)
        pipeline_write(shard); /* else the descriptor is watched and tells when to go on */
    else
        break_if_garbled(shard);
}

static void fail(struct shard *shard, struct call *call, const struct reply *fate)
{
    shard->figures.faults[fate->fault]++;
    store_fail(shard->store, call, fate);
}

/* To send it once more does nothing twice, and the budget has room for it. */
static bool may_repeat(struct shard *shard, const struct call *call, const struct reply *fate)
{
    struct store *store = shard->store;
    uint64_t calls = 0;

    if (call->repeated || (fate->kind == REPLY_UNKNOWN && call->function && call->function->writes))
        return false;
    for (unsigned i = 0; i < store->settings.topology->shard_count; i++)
        calls += store->shards[i]->figures.calls;
    return retry_allowed(&store->retries, calls);
}

static void put_by(struct shard *shard, struct call *call, const struct reply *fate)
{
    shard->figures.repeated++;
    call->repeated = true;
    call->fate = fate;
    queue_add(&shard->again, call);
}

void pipeline_repeat(struct shard *shard)
{
    struct call *call;

    while ((call = queue_take(&shard->again))) {
        const struct reply *fate = shard_send(shard, call);

        if (fate)
            store_fail(shard->store, call, fate);
    }
}

void pipeline_give_up(struct shard *shard)
{
    struct call *call;

    while ((call = queue_take(&shard->again)))
        fail(shard, call, call->fate);
}

/* What was owed completes: what was not handed to the kernel as NOT_SENT, the rest as UNKNOWN. Questions of our own are simply dropped. */
void pipeline_settle(struct shard *shard, const struct reply *fate, bool repeated)
{
    struct call *call;

    durability_settle(shard, fate);
    while ((call = queue_take(&shard->owed))) {
        if (call == shard->unflushed)
            fate = &UNWRITTEN;
        if (call->fate == &OURS)
            continue;
        if (repeated && may_repeat(shard, call, fate))
            put_by(shard, call, fate);
        else
            fail(shard, call, fate);
    }
    shard->unflushed = NULL;
    shard->in_flight = shard->gathered = 0;
    shard->gathering_us = shard->answered_us = 0;
    shard->blocked = shard->time_asked = shard->promise_asked = shard->garbled = false;
}
