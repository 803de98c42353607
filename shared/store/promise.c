#include "log.h"

#include "shard.h"

/*
 * What a shard promises about what it acknowledges, asked at every connect and every 30 s. A shard that promises less than is wanted is refused.
 *
 *   maxmemory-policy   noeviction; any other deletes orders when memory is short       INFO
 *   appendonly         yes                                                              INFO
 *   appendfsync        at least ${fsync_least}, with no-appendfsync-on-rewrite no       souk:shard, where "soukctl load" has recorded it
 *
 * INFO has no appendfsync, and a worker's user has no CONFIG GET: it would tell him the shard's passwords as well. So somebody who changes
 * appendfsync while the shard runs is not noticed before "soukctl load" is run again.
 */

static const char *const FSYNC_NAMES[] = {[FSYNC_UNKNOWN] = "", [FSYNC_NO] = "no", [FSYNC_EVERYSEC] = "everysec", [FSYNC_ALWAYS] = "always"};

enum fsync fsync_of(struct view text)
{
    for (int i = FSYNC_ALWAYS; i > FSYNC_UNKNOWN; i--)
        if (view_equal(text, view_of(FSYNC_NAMES[i])))
            return (enum fsync)i;
    return FSYNC_UNKNOWN;
}

const char *fsync_name(enum fsync fsync)
{
    return FSYNC_NAMES[fsync];
}

struct view info_line(struct view info, const char *name)
{
    const char *at = info.len ? memmem(info.at, info.len, name, strlen(name)) : NULL, *end = info.at + info.len;
    struct view value = {.at = at ? at + strlen(name) : NULL};

    while (at && value.at + value.len < end && value.at[value.len] > ' ')
        value.len++;
    return value;
}

void promise_recorded(struct shard *shard, struct view appendfsync)
{
    shard->recorded = fsync_of(appendfsync);
}

/* Is what the shard promises enough? Returns false, having refused it, if it is not. */
static bool is_enough(struct shard *shard, enum fsync promised)
{
    enum fsync least = shard->store->settings.fsync_least;

    if (least <= FSYNC_NO || promised >= least)
        return true;
    if (promised == FSYNC_UNKNOWN)
        shard_refuse(shard, "souk:shard has no appendfsync, so nobody has looked how this shard writes to its disk: run \"soukctl load\"");
    else
        shard_refuse(shard,
                     "its %s is %s, and SOUK_FSYNC=%s wants at least that of appendfsync: answered orders could be lost; set appendonly yes and "
                     "appendfsync always, then run \"soukctl load\"",
                     shard->has_file ? "appendfsync" : "appendonly", fsync_name(promised), fsync_name(least));
    return false;
}

bool promise_accepts(struct shard *shard, const struct item *info)
{
    struct view policy = info_line(item_text(info), "maxmemory_policy:");
    bool before = shard->fsyncs;
    enum fsync promised;

    if (policy.len == 0) {
        shard_refuse(shard, "it does not tell its maxmemory-policy (%.*s): allow this user INFO", VIEW_ARG(info->text));
        return false;
    }
    if (!view_equal(policy, VIEW("noeviction"))) {
        shard_refuse(shard, "its maxmemory-policy is %.*s, which deletes orders when memory is short: only noeviction is allowed", VIEW_ARG(policy));
        return false;
    }
    shard->has_file = view_equal(info_line(item_text(info), "aof_enabled:"), VIEW("1"));
    promised = shard->has_file ? shard->recorded : FSYNC_NO;
    shard->fsyncs = promised == FSYNC_ALWAYS;
    if (before && !shard->fsyncs)
        shard_log(shard, LOG_WARN, "shard %s does not write each change to disk any more (appendonly yes, appendfsync always)", shard->address->name);
    return is_enough(shard, promised);
}

static void got_record(struct call *call, const struct reply *reply)
{
    if (reply->root->type != ITEM_LIST) {
        shard_refuse(call->cookie, "cannot read souk:shard: %.*s", VIEW_ARG(reply->root->text));
        return;
    }
    promise_recorded(call->cookie, item_text(item_at(reply->root, 0)));
}

static void got_settings(struct call *call, const struct reply *reply)
{
    struct shard *shard = call->cookie;

    shard->promise_asked = false;
    promise_accepts(shard, reply->root);
}

struct call *promise_question(struct shard *shard, struct arena *arena, void (*got)(struct call *call, const struct reply *reply))
{
    struct call *question = shard_question(shard, arena, "INFO", got);

    call_arg(question, VIEW("server"));
    call_arg(question, VIEW("memory"));
    call_arg(question, VIEW("persistence"));
    return question;
}

void promise_ask(struct shard *shard)
{
    if (shard->promise_asked)
        return;
    if (!shard->promise_call) {
        shard->record_call = shard_question(shard, shard->store->arena, "HMGET", got_record);
        call_arg(shard->record_call, VIEW("souk:shard"));
        call_arg(shard->record_call, VIEW("appendfsync"));
        shard->promise_call = promise_question(shard, shard->store->arena, got_settings);
    }
    shard->promise_asked = true;
    shard_ask(shard, shard->record_call);
    shard_ask(shard, shard->promise_call);
}
