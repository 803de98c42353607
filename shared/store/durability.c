#include "log.h"

#include "shard.h"

/*
 * What an answered write survives, and how we know.
 *
 * Without replicas: what the shard promises (promise.c).
 *
 * With SOUK_WAIT_REPLICAS = n: the batch that a turn writes is ended by two questions of our own, and the answers of its writing calls are held until
 * both have come.
 *
 *   shard_send ··· shard_send, durability_end_batch ─▶ [call call … SET souk:barrier, WAIT n] ─▶ one write
 *   answers of writing calls ─▶ durability_hold ─▶ held ─┬─ WAIT ≥ n ───────────────────────▶ complete as answered
 *                                                        └─ fewer, an error, connection lost ▶ complete as UNKNOWN
 *
 * Why the SET. A call that finds its work done before ("replay", "already") writes nothing, and what it found may be a write that no replica has.
 * WAIT waits for what this connection wrote: Redis 7.0 sets a connection's mark with every command, 7.2 only with one that wrote. There WAIT behind a
 * replay on a new connection returns at once and proves nothing. The SET is a write of this connection behind all that its batch has read, so WAIT
 * covers it on every version. If it fails (memory is full, ACL), the batch is not confirmed, whatever WAIT says.
 *
 * WAIT holds up all that the connection sends behind it. So at most WAITS_MAX are under way, and what later turns send meanwhile shares the next one:
 * a slow replica makes batches larger, not the queue longer. With two, the shard has the next batch at hand when it goes on. When the replicas are
 * silent a call waits for the two WAITs before its own, 3 × WAIT_MS in all, which must stay below STORE_CALL_TIMEOUT_MS.
 */
#define WAIT_MS 500
_Static_assert((SHARD_WAITS_MAX + 1) * WAIT_MS < STORE_CALL_TIMEOUT_MS, "silent replicas must not look like a silent shard");

static const struct reply UNCONFIRMED = {
    .kind = REPLY_UNKNOWN, .fault = REPLY_UNCONFIRMED, .why = "the shard's replicas did not confirm the write in time"};

/* Later the connection is given up anyway. */
#define BEHIND_MS_MAX (STORE_CALL_TIMEOUT_MS - 250)
_Static_assert((SHARD_WAITS_MAX + 1) * WAIT_MS < BEHIND_MS_MAX, "replicas may take their time before a shard is behind");

int64_t durability_behind_us(const struct store_settings *settings)
{
    int64_t replicas_ms = settings->wait_replicas > 0 ? (SHARD_WAITS_MAX + 1) * WAIT_MS : 0, ms = settings->behind_ms + replicas_ms;

    if (settings->behind_ms == 0)
        return INT64_MAX;
    return (ms < BEHIND_MS_MAX ? ms : BEHIND_MS_MAX) * 1000;
}

/* ---- holding answers ---- */

static void copy_item(struct arena *arena, const struct item *from, struct item *to)
{
    *to = *from;
    to->text = arena_copy(arena, from->text);
    if (from->count == 0)
        return;
    to->items = ARENA_ARRAY(arena, struct item, from->count);
    for (size_t i = 0; i < from->count; i++)
        copy_item(arena, &from->items[i], &to->items[i]);
}

bool durability_holds(const struct shard *shard, const struct call *call, const struct reply *reply)
{
    return shard->store->settings.wait_replicas > 0 && call->function && call->function->writes &&
           (reply->kind == REPLY_OK || reply->kind == REPLY_REFUSED);
}

/* The answer is copied, since the reader's memory is used again. */
void durability_hold(struct shard *shard, struct call *call, const struct reply *reply)
{
    struct arena *arena = call->body.arena;
    struct reply *kept = ARENA_NEW(arena, struct reply);
    struct item *root = ARENA_NEW(arena, struct item);

    copy_item(arena, reply->root, root);
    *kept = *reply;
    kept->root = root;
    call->fate = kept;
    queue_add(&shard->held, call);
}

/* ---- a batch's end ---- */

static void got_barrier(struct call *call, const struct reply *reply)
{
    struct shard *shard = call->cookie;

    shard->barrier_failed = reply->root->type == ITEM_ERROR;
    if (shard->barrier_failed && shard_may_complain(shard))
        shard_log(shard, LOG_ERROR,
                  "shard %s refused SET souk:barrier (%.*s): the writes before it are answered as unknown; allow this user SET on souk:barrier",
                  shard->address->name, VIEW_ARG(reply->root->text));
}

static void complain(struct shard *shard, const struct reply *reply)
{
    if (!shard_may_complain(shard))
        return;
    if (reply->root->type == ITEM_ERROR)
        shard_log(shard, LOG_ERROR, "shard %s answered WAIT with \"%.*s\": the writes before it are answered as unknown", shard->address->name,
                  VIEW_ARG(reply->root->text));
    else
        shard_log(shard, LOG_ERROR,
                  "shard %s: %lld replicas confirmed its writes within %d ms, SOUK_WAIT_REPLICAS is %d: they are answered as unknown",
                  shard->address->name, (long long)reply->root->integer, WAIT_MS, shard->store->settings.wait_replicas);
}

/* Answers come in order: all that is held was sent before this WAIT. Completions may send, and so hold again, but not before the next answer. */
static void got_wait(struct call *call, const struct reply *reply)
{
    struct shard *shard = call->cookie;
    bool enough = reply->root->type == ITEM_INT && reply->root->integer >= shard->store->settings.wait_replicas;
    bool confirmed = enough && !shard->barrier_failed;
    struct call *held;

    if (!enough)
        complain(shard, reply);
    shard->waits--;
    if (shard->unconfirmed)
        pipeline_want_write(shard);
    while ((held = queue_take(&shard->held))) {
        shard->figures.faults[REPLY_UNCONFIRMED] += !confirmed;
        pipeline_complete(shard, held, confirmed ? held->fate : &UNCONFIRMED);
    }
}

/* The questions are made once for each WAIT that may be under way, and used again. */
static void make_questions(struct shard *shard, unsigned slot)
{
    struct arena *arena = shard->store->arena;

    shard->barrier_calls[slot] = shard_question(shard, arena, "SET", got_barrier);
    call_arg(shard->barrier_calls[slot], VIEW("souk:barrier"));
    call_arg(shard->barrier_calls[slot], VIEW("1"));
    shard->wait_calls[slot] = shard_question(shard, arena, "WAIT", got_wait);
    call_arg_int(shard->wait_calls[slot], shard->store->settings.wait_replicas);
    call_arg_int(shard->wait_calls[slot], WAIT_MS);
}

void durability_end_batch(struct shard *shard)
{
    unsigned slot = shard->next_wait;

    if (shard->unconfirmed == 0 || shard->waits == SHARD_WAITS_MAX)
        return;
    if (!shard->wait_calls[slot])
        make_questions(shard, slot);
    shard->next_wait = (slot + 1) % SHARD_WAITS_MAX;
    shard->waits++;
    shard->unconfirmed = 0;
    shard_ask(shard, shard->barrier_calls[slot]);
    shard_ask(shard, shard->wait_calls[slot]);
}

void durability_settle(struct shard *shard, const struct reply *fate)
{
    struct call *held;

    while ((held = queue_take(&shard->held))) {
        shard->figures.faults[fate->fault]++;
        store_fail(shard->store, held, fate);
    }
    shard->waits = shard->unconfirmed = 0;
    shard->barrier_failed = false;
}
