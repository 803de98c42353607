#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

#include <hiredis/hiredis.h>

#include "clock.h"

#include "setup_internal.h"

#define CONNECT_TIMEOUT_S 2

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
    struct timeval timeout = {CONNECT_TIMEOUT_S, 0};
    redisContext *context = redisConnectWithTimeout(address->host, address->port, timeout);
    if (context == NULL || context->err) {
        *error = setup_say("cannot reach shard %s at %s:%d: %s; start its redis-server, or correct SOUK_SHARDS", address->name, address->host,
                     address->port, context ? context->errstr : "out of memory");
        redisFree(context);
        return NULL;
    }
    redisSetTimeout(context, timeout);
    if ((*error = authenticate(context, settings, address)) == NULL)
        return context;
    redisFree(context);
    return NULL;
}

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
    char uuid[33], epoch[24], partitions[24];
    make_uuid(uuid);
    snprintf(epoch, sizeof(epoch), "%ld", topology->epoch);
    snprintf(partitions, sizeof(partitions), "%u", topology->partitions);
    const char *argv[] = {"HSET", "souk:shard", "uuid", uuid, "name", address->name, "epoch", epoch, "partitions", partitions,
                          "founding", "1"}; /* until every shard of the ring has its own: founding.c */
    return setup_command(context, address, "HSET souk:shard", 12, argv);
}

static const char *compare_identity(const redisReply *found, const struct topology *topology, const struct shard_address *address)
{
    char want[3][64];
    snprintf(want[0], sizeof(want[0]), "%s", address->name);
    snprintf(want[1], sizeof(want[1]), "%u", topology->partitions);
    snprintf(want[2], sizeof(want[2]), "%ld", topology->epoch);
    static const char *const fields[] = {"name", "partitions", "epoch"};
    for (size_t i = 0; i < 3; i++) {
        const char *have = found->element[i]->str ? found->element[i]->str : "";
        if (strcmp(have, want[i]) != 0)
            return setup_say("the shard at %s:%d says its %s is \"%s\", and the ring says \"%s\"; correct SOUK_SHARDS, SOUK_PARTITIONS or SOUK_RING_EPOCH",
                       address->host, address->port, fields[i], have, want[i]);
    }
    return NULL;
}

/* An identity is given only to an empty shard: one that has records but no identity lost it, and with it perhaps more. */
static const char *init_empty(redisContext *context, const struct topology *topology, const struct shard_address *address, bool *created)
{
    redisReply *size = redisCommand(context, "DBSIZE");
    const char *error = setup_check(context, size, address, "DBSIZE");
    if (error == NULL && size->integer > 0)
        error = setup_say("shard %s at %s:%d holds %lld keys and no souk:shard: it is not an empty shard of Souk; use another redis-server, or restore its "
                    "souk:shard",
                    address->name, address->host, address->port, size->integer);
    freeReplyObject(size);
    if (error)
        return error;
    *created = true;
    return write_identity(context, topology, address);
}

const char *setup_init(const struct store_settings *settings, unsigned shard, bool *created)
{
    const struct shard_address *address = &settings->topology->shards[shard];
    const char *error = NULL;
    redisContext *context = setup_connect(settings, shard, &error);
    *created = false;
    if (context == NULL)
        return error;
    redisReply *found = redisCommand(context, "HMGET souk:shard name partitions epoch");
    error = setup_check(context, found, address, "HMGET souk:shard");
    if (error == NULL && found->element[0]->type == REDIS_REPLY_NIL)
        error = init_empty(context, settings->topology, address, created);
    else if (error == NULL)
        error = compare_identity(found, settings->topology, address);
    freeReplyObject(found);
    redisFree(context);
    return error;
}

const char *setup_load(const struct store_settings *settings, unsigned shard)
{
    const struct shard_address *address = &settings->topology->shards[shard];
    const char *error = NULL;
    redisContext *context = setup_connect(settings, shard, &error);
    if (context == NULL)
        return error;
    for (unsigned i = 0; i < settings->library_count && error == NULL; i++) {
        const char *argv[] = {"FUNCTION", "LOAD", "REPLACE", settings->libraries[i].text.at};
        size_t lengths[] = {8, 4, 7, settings->libraries[i].text.len};
        redisReply *reply = redisCommandArgv(context, 4, argv, lengths);
        error = setup_check(context, reply, address, "FUNCTION LOAD");
        freeReplyObject(reply);
    }
    redisFree(context);
    return error;
}

const char *setup_password(const char *path, char *out, size_t size)
{
    out[0] = '\0';
    if (*path == '\0')
        return NULL;
    FILE *file = fopen(path, "r");
    bool read = file && fgets(out, (int)size, file);
    const char *why = file ? "it is empty" : strerror(errno);
    if (file)
        fclose(file);
    out[strcspn(out, "\r\n")] = '\0';
    return read ? NULL : setup_say("cannot read the password for the shards from %s (SOUK_REDIS_PASSWORD_FILE): %s; put it there in one line", path, why);
}
