#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include <hiredis/hiredis.h>

#include "clock.h"
#include "secret.h"

#include "setup_internal.h"

#define CONNECT_TIMEOUT_S 2
#define ANSWER_TIMEOUT_S 10 /* a library goes to the disk before it is answered, and the disk may be busy */

static _Thread_local char said[512];

const char *setup_say(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(said, sizeof(said), format, args);
    va_end(args);
    return said;
}

const char *setup_check(redisContext *context, const redisReply *reply, const struct shard_address *address, const char *what)
{
    if (reply == NULL)
        return setup_say("shard %s at %s:%d: %s failed: %s; look at its log", address->name, address->host, address->port, what, context->errstr);
    if (reply->type == REDIS_REPLY_ERROR)
        return setup_say("shard %s at %s:%d refuses %s: %s", address->name, address->host, address->port, what, reply->str);
    return NULL;
}

const char *setup_command(redisContext *context, const struct shard_address *address, const char *what, int argc, const char **argv)
{
    redisReply *reply = redisCommandArgv(context, argc, argv, NULL);
    const char *error = setup_check(context, reply, address, what);
    freeReplyObject(reply);
    return error;
}

static const char *authenticate(redisContext *context, const struct store_settings *settings, const struct shard_address *address)
{
    if (settings->password == NULL)
        return NULL;
    const char *argv[] = {"AUTH", settings->user ? settings->user : "default", settings->password};
    return setup_command(context, address, "AUTH", 3, argv);
}

redisContext *setup_connect(const struct store_settings *settings, unsigned shard, const char **error)
{
    const struct shard_address *address = &settings->topology->shards[shard];
    struct timeval connect = {CONNECT_TIMEOUT_S, 0}, answer = {ANSWER_TIMEOUT_S, 0};
    redisContext *context = redisConnectWithTimeout(address->host, address->port, connect);
    if (context == NULL || context->err) {
        *error = setup_say("cannot reach shard %s at %s:%d: %s; start its redis-server, or correct SOUK_SHARDS", address->name, address->host,
                           address->port, context ? context->errstr : "out of memory");
        redisFree(context);
        return NULL;
    }
    redisSetTimeout(context, answer);
    if ((*error = authenticate(context, settings, address)) == NULL)
        return context;
    redisFree(context);
    return NULL;
}

int64_t setup_time_ms(redisContext *context, const struct shard_address *address, const char **error)
{
    redisReply *time = redisCommand(context, "TIME");
    int64_t ms = 0;
    if ((*error = setup_check(context, time, address, "TIME")) == NULL)
        ms = strtoll(time->element[0]->str, NULL, 10) * 1000 + strtoll(time->element[1]->str, NULL, 10) / 1000;
    freeReplyObject(time);
    return ms;
}

/* ---- what the shard promises ---- */

/* The value of a setting, asked alone: hiredis gives it as a list of name and value. Returns NULL, with *error, if the shard does not tell. */
static const char *read_setting(redisContext *context, const struct shard_address *address, const char *name, char *out, size_t size)
{
    redisReply *reply = redisCommand(context, "CONFIG GET %s", name);
    const char *error = setup_check(context, reply, address, "CONFIG GET");
    if (error == NULL && (reply->elements != 2 || reply->element[1]->str == NULL))
        error = setup_say("shard %s at %s:%d has no setting %s; Souk needs Redis 7 or newer", address->name, address->host, address->port, name);
    if (error == NULL)
        snprintf(out, size, "%s", reply->element[1]->str);
    freeReplyObject(reply);
    return error;
}

static const char *bad_setting(const struct shard_address *address, const char *name, const char *value, const char *means, const char *wanted)
{
    return setup_say("shard %s at %s:%d has %s %s: %s; set %s in its redis.conf (deploy/redis/redis.conf has it), and with CONFIG SET if it runs",
                     address->name, address->host, address->port, name, value, means, wanted);
}

/* A shard whose settings let it lose what it has acknowledged is not used. ${appendfsync} becomes what souk:shard is to say. */
static const char *check_settings(redisContext *context, const struct store_settings *settings, const struct shard_address *address,
                                  char appendfsync[16])
{
    static const char *const names[] = {"maxmemory-policy", "appendonly", "appendfsync", "no-appendfsync-on-rewrite", "aof-load-truncated"};
    enum setting { POLICY, APPENDONLY, APPENDFSYNC, ON_REWRITE, TRUNCATED, COUNT };
    char values[COUNT][32];
    for (int i = 0; i < COUNT; i++) {
        const char *error = read_setting(context, address, names[i], values[i], sizeof(values[i]));
        if (error)
            return error;
    }
    if (strcmp(values[POLICY], "noeviction") != 0)
        return bad_setting(address, names[POLICY], values[POLICY], "it would delete orders when memory is short", "noeviction");
    bool has_file = strcmp(values[APPENDONLY], "yes") == 0, pauses = strcmp(values[ON_REWRITE], "no") != 0;
    snprintf(appendfsync, 16, "%.15s", has_file && !pauses ? values[APPENDFSYNC] : "no");
    if (has_file && strcmp(values[TRUNCATED], "no") != 0)
        return bad_setting(address, names[TRUNCATED], values[TRUNCATED],
                           "when its machine fails while it writes, it would lose what it answers behind its next start", "it to no");
    if (fsync_of(view_of(appendfsync)) >= settings->fsync_least)
        return NULL;
    if (!has_file)
        return bad_setting(address, names[APPENDONLY], values[APPENDONLY], "it keeps nothing on disk", "appendonly yes");
    if (pauses)
        return bad_setting(address, names[ON_REWRITE], values[ON_REWRITE], "while its file is rewritten, answered orders are not on disk",
                           "it to no");
    return setup_say("shard %s at %s:%d has appendfsync %s, and SOUK_FSYNC=%s wants at least that: answered orders would not be on disk when the "
                     "machine fails; set "
                     "appendfsync always",
                     address->name, address->host, address->port, values[APPENDFSYNC], fsync_name(settings->fsync_least));
}

/* ---- who the shard is ---- */

/* 128 random bits as 32 hex digits. */
static void make_uuid(char out[33])
{
    unsigned char bytes[16] = {0};
    if (getrandom(bytes, sizeof(bytes), 0) != sizeof(bytes))
        snprintf((char *)bytes, sizeof(bytes), "%lld", (long long)clock_us());
    for (size_t i = 0; i < sizeof(bytes); i++)
        snprintf(out + 2 * i, 3, "%02x", bytes[i]);
}

static const char *write_identity(redisContext *context, const struct topology *topology, const struct shard_address *address)
{
    char uuid[33], epoch[24], partitions[24], layout[24];
    make_uuid(uuid);
    snprintf(epoch, sizeof(epoch), "%ld", topology->epoch);
    snprintf(partitions, sizeof(partitions), "%u", topology->partitions);
    snprintf(layout, sizeof(layout), "%d", STORE_LAYOUT);
    const char *argv[] = {"HSET", "souk:shard", "uuid", uuid, "name", address->name, "epoch", epoch, "partitions", partitions,
                          "layout", layout, "founding", "1"}; /* until every shard of the ring has its own: founding.c */
    return setup_command(context, address, "HSET souk:shard", 14, argv);
}

static const char *compare_identity(const redisReply *found, const struct topology *topology, const struct shard_address *address)
{
    char want[3][64];
    snprintf(want[0], sizeof(want[0]), "%s", address->name);
    snprintf(want[1], sizeof(want[1]), "%u", topology->partitions);
    snprintf(want[2], sizeof(want[2]), "%ld", topology->epoch);
    static const char *const fields[] = {"name", "partitions", "epoch"};
    const char *layout = found->element[3]->str ? found->element[3]->str : "";
    for (size_t i = 0; i < 3; i++) {
        const char *have = found->element[i]->str ? found->element[i]->str : "";
        if (strcmp(have, want[i]) != 0)
            return setup_say(
                "the shard at %s:%d says its %s is \"%s\", and the ring says \"%s\"; correct SOUK_SHARDS, SOUK_PARTITIONS or SOUK_RING_EPOCH",
                address->host, address->port, fields[i], have, want[i]);
    }
    if (strtol(layout, NULL, 10) != STORE_LAYOUT)
        return setup_say("the shard at %s:%d says its layout is \"%s\", and this version reads %d: it was made by another version; run that one, or "
                         "make the store anew",
                         address->host, address->port, layout, STORE_LAYOUT);
    return NULL;
}

/* An identity is given only to an empty shard: one that has records but no identity lost it, and with it perhaps more. */
static const char *init_empty(redisContext *context, const struct topology *topology, const struct shard_address *address, bool *created)
{
    redisReply *size = redisCommand(context, "DBSIZE");
    const char *error = setup_check(context, size, address, "DBSIZE");
    if (error == NULL && size->integer > 0)
        error = setup_say(
            "shard %s at %s:%d holds %lld keys and no souk:shard: it is not an empty shard of Souk; use another redis-server, or restore its "
            "souk:shard",
            address->name, address->host, address->port, size->integer);
    freeReplyObject(size);
    if (error)
        return error;
    *created = true;
    return write_identity(context, topology, address);
}

/* Compares souk:shard with the ring, unless it is absent. */
static const char *check_identity(redisContext *context, const struct topology *topology, const struct shard_address *address, bool *absent,
                                  bool *founding)
{
    redisReply *found = redisCommand(context, "HMGET souk:shard name partitions epoch layout founding");
    const char *error = setup_check(context, found, address, "HMGET souk:shard");
    *absent = error == NULL && found->element[0]->type == REDIS_REPLY_NIL;
    if (error == NULL && !*absent)
        error = compare_identity(found, topology, address);
    *founding = error == NULL && found->element[4]->type != REDIS_REPLY_NIL;
    freeReplyObject(found);
    return error;
}

static const char *record_appendfsync(redisContext *context, const struct shard_address *address, const char *appendfsync)
{
    const char *argv[] = {"HSET", "souk:shard", "appendfsync", appendfsync};
    return setup_command(context, address, "HSET souk:shard", 4, argv);
}

static const char *init_on(redisContext *context, const struct store_settings *settings, const struct shard_address *address, bool *created)
{
    char appendfsync[16];
    bool absent = false, founding;
    const char *error = check_settings(context, settings, address, appendfsync);
    if (error == NULL)
        error = check_identity(context, settings->topology, address, &absent, &founding);
    if (error == NULL && absent)
        error = init_empty(context, settings->topology, address, created);
    return error ? error : record_appendfsync(context, address, appendfsync);
}

const char *setup_init(const struct store_settings *settings, unsigned shard, bool *created)
{
    const char *error = NULL;
    redisContext *context = setup_connect(settings, shard, &error);
    *created = false;
    if (context == NULL)
        return error;
    error = init_on(context, settings, &settings->topology->shards[shard], created);
    redisFree(context);
    return error;
}

/* ---- the libraries ---- */

/* When: prune leaves alone what was loaded a moment ago, as its workers may still be on their way. */
static const char *note_loaded(redisContext *context, const struct shard_address *address, const struct library *library)
{
    char name[64], text[24];
    const char *error = NULL;
    snprintf(name, sizeof(name), "%.*s", VIEW_ARG(library->name));
    snprintf(text, sizeof(text), "%lld", (long long)setup_time_ms(context, address, &error));
    const char *argv[] = {"HSET", LIBRARIES_KEY, name, text};
    return error ? error : setup_command(context, address, "HSET " LIBRARIES_KEY, 4, argv);
}

static const char *load_one(redisContext *context, const struct shard_address *address, const struct library *library)
{
    const char *argv[] = {"FUNCTION", "LOAD", "REPLACE", library->text.at};
    size_t lengths[] = {8, 4, 7, library->text.len};
    redisReply *reply = redisCommandArgv(context, 4, argv, lengths);
    const char *error = setup_check(context, reply, address, "FUNCTION LOAD");
    freeReplyObject(reply);
    return error ? error : note_loaded(context, address, library);
}

static const char *load_on(redisContext *context, const struct store_settings *settings, const struct shard_address *address)
{
    char appendfsync[16];
    bool absent = false, founding = false;
    const char *error = check_settings(context, settings, address, appendfsync);
    if (error == NULL)
        error = check_identity(context, settings->topology, address, &absent, &founding);
    if (error == NULL && absent)
        error = setup_say("shard %s at %s:%d has no souk:shard: run \"soukctl init\" if it is new; if it is not, its data is gone", address->name,
                          address->host, address->port);
    if (error == NULL && founding)
        error = setup_say("shard %s at %s:%d belongs to a store whose founding was interrupted: run \"soukctl init\" once more", address->name,
                          address->host, address->port);
    if (error == NULL)
        error = record_appendfsync(context, address, appendfsync);
    for (unsigned i = 0; i < settings->library_count && error == NULL; i++)
        error = load_one(context, address, &settings->libraries[i]);
    return error;
}

const char *setup_load(const struct store_settings *settings, unsigned shard)
{
    const char *error = NULL;
    redisContext *context = setup_connect(settings, shard, &error);
    if (context == NULL)
        return error;
    error = load_on(context, settings, &settings->topology->shards[shard]);
    redisFree(context);
    return error;
}

const char *setup_password(const char *path, char *out, size_t size)
{
    const char *why;
    out[0] = '\0';
    if (*path == '\0')
        return NULL;
    char *line = secret_line(path, size - 1, &why);
    if (line == NULL)
        return setup_say("cannot read the password for the shards from %s (SOUK_REDIS_PASSWORD_FILE): %s; put it there in one line", path, why);
    snprintf(out, size, "%s", line);
    secret_free(line);
    return NULL;
}
