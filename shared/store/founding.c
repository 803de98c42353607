#include <stdio.h>
#include <string.h>

#include <hiredis/hiredis.h>

#include "setup_internal.h"

/*
 * A store is founded once. Every shard gets its souk:shard, with the mark `founding`; when all have it, the marks go:
 *
 *   EMPTY … EMPTY ──▶ FOUNDING … EMPTY ──▶ FOUNDING … FOUNDING ──▶ FOUNDED … FOUNDING ──▶ FOUNDED … FOUNDED
 *
 * Interrupted anywhere it goes on, since EMPTY and FOUNDED do not meet in it. Where they do meet, the empty shard was in use and its volume is
 * another one.
 */
const char *setup_standing(const struct store_settings *settings, unsigned shard, enum standing *standing)
{
    const struct shard_address *address = &settings->topology->shards[shard];
    const char *error = NULL;
    redisContext *context = setup_connect(settings, shard, &error);
    if (context == NULL)
        return error;
    redisReply *found = redisCommand(context, "HMGET souk:shard name founding");
    bool loading = found && found->type == REDIS_REPLY_ERROR && strncmp(found->str, "LOADING", 7) == 0;
    if (loading)
        *standing = STANDING_LOADING;
    else if ((error = setup_check(context, found, address, "HMGET souk:shard")) == NULL)
        *standing = found->element[0]->type == REDIS_REPLY_NIL   ? STANDING_EMPTY
                    : found->element[1]->type == REDIS_REPLY_NIL ? STANDING_FOUNDED
                                                                 : STANDING_FOUNDING;
    freeReplyObject(found);
    redisFree(context);
    return error;
}

/* May each shard that is empty be? */
static const char *judge(const struct topology *topology, const struct founding *founding, const enum standing *standings)
{
    const char *witness = founding->founded ? "SOUK_FOUNDED is yes" : NULL;
    char text[96];
    for (unsigned i = 0; i < topology->shard_count && witness == NULL; i++)
        if (standings[i] == STANDING_FOUNDED) {
            snprintf(text, sizeof(text), "shard %s has been in use", topology->shards[i].name);
            witness = text;
        }
    for (unsigned i = 0; i < topology->shard_count && witness; i++)
        if (standings[i] == STANDING_EMPTY && strcmp(topology->shards[i].name, founding->replace) != 0)
            return setup_say(
                "shard %s is empty, and %s: its data was lost, or it has the volume of another; restore it (docs/operate.md), or give up what it "
                "held with SOUK_REPLACE=%s",
                topology->shards[i].name, witness, topology->shards[i].name);
    return NULL;
}

static const char *end_founding(const struct store_settings *settings, unsigned shard)
{
    static const char *argv[] = {"HDEL", "souk:shard", "founding"};
    const char *error = NULL;
    redisContext *context = setup_connect(settings, shard, &error);
    if (context == NULL)
        return error;
    error = setup_command(context, &settings->topology->shards[shard], "HDEL souk:shard", 3, argv);
    redisFree(context);
    return error;
}

const char *setup_found(const struct store_settings *settings, const struct founding *founding, void (*told)(const char *shard, bool created))
{
    const struct topology *topology = settings->topology;
    enum standing standings[SHARDS_MAX];
    bool created[SHARDS_MAX];
    const char *error = NULL;
    for (unsigned i = 0; i < topology->shard_count && error == NULL; i++) {
        error = setup_standing(settings, i, &standings[i]);
        if (error == NULL && standings[i] == STANDING_LOADING)
            error = setup_say("shard %s still reads its data; try again in a moment", topology->shards[i].name);
    }
    if (error == NULL)
        error = judge(topology, founding, standings);
    for (unsigned i = 0; i < topology->shard_count && error == NULL; i++)
        error = setup_init(settings, i, &created[i]);
    for (unsigned i = 0; i < topology->shard_count && error == NULL; i++)
        error = created[i] || standings[i] == STANDING_FOUNDING ? end_founding(settings, i) : NULL;
    for (unsigned i = 0; i < topology->shard_count && error == NULL; i++)
        told(topology->shards[i].name, created[i]);
    return error;
}
