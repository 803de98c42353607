#include <stdio.h>

#include "clock.h"
#include "log.h"

#include "shard.h"

/*
 * What a connection must prove, all asked at once:
 *
 *   AUTH              if we have a password
 *   HMGET souk:shard  its name, number of partitions and ring epoch are those of our ring, and its records are laid out as we know them
 *   TIME              its clock
 *   INFO              it keeps what it acknowledges (promise.c), and which process it is (tracking.c)
 *   CLIENT SETNAME    our library's name for this connection, so that "soukctl prune" leaves it there; whatever it says is fine
 *   FUNCTION LIST     our libraries are there                     (library.c)
 *
 * Answers come in this order; the first that is not fine refuses the shard, and those behind it are not looked at. When all have come the shard
 * is READY, or LOADING if a library was missing.
 */
enum field { FIELD_NAME, FIELD_PARTITIONS, FIELD_EPOCH, FIELD_LAYOUT, FIELD_UUID, FIELD_APPENDFSYNC };

void identity_step(struct shard *shard)
{
    shard->awaited--;
    if (shard->awaited > 0)
        return;
    if (shard->state == SHARD_CHECKING && shard->missing) {
        shard_move(shard, SHARD_LOADING);
        library_load(shard);
        return;
    }
    shard_passed(shard);
}

static void got_auth(struct call *call, const struct reply *reply)
{
    struct shard *shard = call->cookie;

    if (reply->root->type == ITEM_ERROR) {
        shard_refuse(shard, "the shard refuses our user or password: %.*s", VIEW_ARG(reply->root->text));
        return;
    }
    identity_step(shard);
}

/* A number that must be ours. Returns false, having refused the shard, if it is another. */
static bool same_number(struct shard *shard, struct view found, long expected, const char *field, const char *advice)
{
    long long number;

    if (view_to_int(found, &number) && number == expected)
        return true;
    shard_refuse(shard, "souk:shard has %s \"%.*s\", expected %ld: %s", field, VIEW_ARG(found), expected, advice);
    return false;
}

static bool same_shard(struct shard *shard, const struct item *fields)
{
    const struct topology *topology = shard->store->settings.topology;
    struct view name = item_text(item_at(fields, FIELD_NAME));

    if (item_at(fields, FIELD_NAME)->type == ITEM_NIL) {
        shard_refuse(shard, "souk:shard is absent, expected name \"%s\": run \"soukctl init\" if this shard is new; if it is not, its data is gone",
                     shard->address->name);
        return false;
    }
    if (!view_equal(name, view_of(shard->address->name))) {
        shard_refuse(shard, "souk:shard has name \"%.*s\", expected \"%s\": correct the addresses in the list of shards", VIEW_ARG(name),
                     shard->address->name);
        return false;
    }
    return same_number(shard, item_text(item_at(fields, FIELD_PARTITIONS)), (long)topology->partitions, "partitions",
                       "start this worker with the store's number of partitions") &&
           same_number(shard, item_text(item_at(fields, FIELD_EPOCH)), topology->epoch, "epoch",
                       "start this worker with the present ring and its epoch") &&
           same_number(shard, item_text(item_at(fields, FIELD_LAYOUT)), STORE_LAYOUT, "layout",
                       "this store was made by another version, which this one cannot read; run that version, or make the store anew");
}

/* The same shard with another uuid was made anew since we last saw it: its records are others, which is fine for us and worth a line. */
static void note_uuid(struct shard *shard, struct view uuid)
{
    if (shard->uuid[0] && !view_equal(uuid, view_of(shard->uuid)))
        shard_log(shard, LOG_WARN, "shard %s was made anew: its uuid was %s and is now %.*s", shard->address->name, shard->uuid, VIEW_ARG(uuid));
    snprintf(shard->uuid, sizeof(shard->uuid), "%.*s", VIEW_ARG(uuid));
}

static void got_identity(struct call *call, const struct reply *reply)
{
    struct shard *shard = call->cookie;

    if (reply->root->type != ITEM_LIST) {
        shard_refuse(shard, "cannot read souk:shard: %.*s", VIEW_ARG(reply->root->text));
        return;
    }
    if (same_shard(shard, reply->root)) {
        note_uuid(shard, item_text(item_at(reply->root, FIELD_UUID)));
        promise_recorded(shard, item_text(item_at(reply->root, FIELD_APPENDFSYNC)));
        identity_step(shard);
    }
}

/* The shard's time is what it was when it answered, so the answer's way makes our copy late by that way, never early. */
static bool set_clock(struct shard *shard, const struct reply *reply)
{
    int64_t seconds = reply_int(reply, 0), microseconds = reply_int(reply, 1);

    if (seconds <= 0) {
        shard_refuse(shard, "the shard does not tell its time: %.*s", VIEW_ARG(reply->root->text));
        return false;
    }
    shard->clock_ahead_ms = seconds * 1000 + microseconds / 1000 - clock_us() / 1000;
    shard->clock_known = true;
    return true;
}

static void got_time_in_check(struct call *call, const struct reply *reply)
{
    struct shard *shard = call->cookie;

    if (set_clock(shard, reply))
        identity_step(shard);
}

static void got_time(struct call *call, const struct reply *reply)
{
    struct shard *shard = call->cookie;

    shard->time_asked = false;
    set_clock(shard, reply);
}

void identity_ask_time(struct shard *shard)
{
    if (shard->time_asked)
        return;
    if (!shard->time_call)
        shard->time_call = shard_question(shard, shard->store->arena, "TIME", got_time);
    shard->time_asked = true;
    shard_ask(shard, shard->time_call);
}

void identity_run_id(struct view info, char out[SHARD_RUN_ID_MAX])
{
    snprintf(out, SHARD_RUN_ID_MAX, "%.*s", VIEW_ARG(info_line(info, "run_id:")));
}

static void got_info(struct call *call, const struct reply *reply)
{
    struct shard *shard = call->cookie;

    identity_run_id(item_text(reply->root), shard->run_id);
    if (promise_accepts(shard, reply->root))
        identity_step(shard);
}

static void got_named(struct call *call, const struct reply *reply)
{
    identity_step(call->cookie);
}

static void ask_in_check(struct shard *shard, struct call *question)
{
    shard->awaited++;
    shard_ask(shard, question);
}

void identity_check(struct shard *shard)
{
    const struct store_settings *settings = &shard->store->settings;
    struct call *question;

    /* The questions of the check before were all answered, or died with their connection. */
    arena_free(shard->check_arena);
    shard->check_arena = arena_new();
    shard->missing = 0;
    if (settings->password) {
        question = shard_question(shard, shard->check_arena, "AUTH", got_auth);
        if (settings->user)
            call_arg(question, view_of(settings->user));
        call_arg(question, view_of(settings->password));
        ask_in_check(shard, question);
    }
    question = shard_question(shard, shard->check_arena, "HMGET", got_identity);
    call_arg(question, VIEW("souk:shard"));
    call_arg(question, VIEW("name"));
    call_arg(question, VIEW("partitions"));
    call_arg(question, VIEW("epoch"));
    call_arg(question, VIEW("layout"));
    call_arg(question, VIEW("uuid"));
    call_arg(question, VIEW("appendfsync"));
    ask_in_check(shard, question);
    ask_in_check(shard, shard_question(shard, shard->check_arena, "TIME", got_time_in_check));
    ask_in_check(shard, promise_question(shard, shard->check_arena, got_info));
    question = shard_question(shard, shard->check_arena, "CLIENT", got_named);
    call_arg(question, VIEW("SETNAME"));
    call_arg(question, settings->libraries[0].name);
    ask_in_check(shard, question);
    library_list(shard);
}
