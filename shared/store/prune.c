#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <hiredis/hiredis.h>

#include "arena.h"

#include "setup_internal.h"

/*
 * Function libraries that nobody needs any more. During an update two versions of workers run, each with a library of its own, named by its hash; a
 * worker gives each of its connections the name of its library (identity.c), so a shard can say which are in use.
 *
 *   ask every shard for its connections ─▶ names in use ─▶ on every shard: remove what is not in use, not ours, and was not loaded lately
 *
 * All shards are asked before the first library goes: a worker that a shard does not see at the moment is seen by another. What was loaded lately
 * stays, because its workers may be about to start. A worker that starts later without its library says so; "soukctl load" of its version brings it
 * back.
 */
#define NAMES_MAX 64
#define NAME_MAX_BYTES 64

struct names {
    unsigned count;
    char at[NAMES_MAX][NAME_MAX_BYTES];
};

static bool names_have(const struct names *names, const char *name)
{
    for (unsigned i = 0; i < names->count; i++)
        if (strcmp(names->at[i], name) == 0)
            return true;
    return false;
}

/* Returns false if there are too many. */
static bool names_add(struct names *names, const char *name)
{
    if (names_have(names, name))
        return true;
    if (names->count == NAMES_MAX || strlen(name) >= NAME_MAX_BYTES)
        return false;
    strcpy(names->at[names->count++], name);
    return true;
}

/* A field of a line of CLIENT LIST: "name" of "id=3 addr=… name=souk_1a2b3c4d …". Returns its length, cut to ${size}. */
static size_t field_of(const char *line, const char *field, char *out, size_t size)
{
    char mark[32];
    snprintf(mark, sizeof(mark), " %s=", field);
    const char *end = line + strcspn(line, "\n"), *at = strstr(line, mark);
    if (at == NULL || at >= end) {
        out[0] = '\0';
        return 0;
    }
    at += strlen(mark);
    snprintf(out, size, "%.*s", (int)strcspn(at, " \n"), at);
    return strlen(out);
}

/* May a connection without a name be a worker's, of a version that gave none? A subscriber is not: its worker has others. */
static bool may_be_worker(const char *line)
{
    char user[64], flags[32];
    field_of(line, "user", user, sizeof(user));
    field_of(line, "flags", flags, sizeof(flags));
    bool people =
        strcmp(user, "souk-loader") == 0 || strcmp(user, "souk-operator") == 0 || strcmp(user, "souk-admin") == 0 || strcmp(user, "souk-probe") == 0;
    return !people && strpbrk(flags, "PSMO") == NULL;
}

static const char *note_connection(const char *line, const struct shard_address *address, struct names *used)
{
    char name[NAME_MAX_BYTES], from[128];
    if (field_of(line, "name", name, sizeof(name)) > 0)
        return names_add(used, name) ? NULL : setup_say("shard %s has connections of more than %d names", address->name, NAMES_MAX);
    if (!may_be_worker(line))
        return NULL;
    field_of(line, "addr", from, sizeof(from));
    return setup_say(
        "shard %s at %s:%d has a connection from %s that does not say which library it uses, so nothing is removed; if it is a worker of an older "
        "version, replace it first",
        address->name, address->host, address->port, from);
}

static const char *note_used(redisContext *context, const struct shard_address *address, struct names *used)
{
    const char *named[] = {"CLIENT", "SETNAME", "soukctl"};
    const char *error = setup_command(context, address, "CLIENT SETNAME", 3, named);
    if (error)
        return error;
    redisReply *list = redisCommand(context, "CLIENT LIST");
    error = setup_check(context, list, address, "CLIENT LIST");
    for (const char *line = error ? "" : list->str; *line && error == NULL; line += strcspn(line, "\n"), line += *line == '\n')
        error = note_connection(line, address, used);
    freeReplyObject(list);
    return error;
}

/* The libraries of the shard whose names begin with souk_ and a hash. */
static const char *list_libraries(redisContext *context, const struct shard_address *address, struct names *there)
{
    redisReply *list = redisCommand(context, "FUNCTION LIST LIBRARYNAME souk_*");
    const char *error = setup_check(context, list, address, "FUNCTION LIST");
    for (size_t i = 0; error == NULL && i < list->elements; i++) {
        const redisReply *library = list->element[i];
        for (size_t at = 0; at + 1 < library->elements; at += 2)
            if (strcmp(library->element[at]->str ? library->element[at]->str : "", "library_name") == 0 &&
                !names_add(there, library->element[at + 1]->str))
                error = setup_say("shard %s has more than %d libraries", address->name, NAMES_MAX);
    }
    freeReplyObject(list);
    return error;
}

/* When a library was loaded, or since when we know of it: one that nobody has noted is noted now, and goes another time. */
static const char *loaded_ms(redisContext *context, const struct shard_address *address, const char *name, int64_t now_ms, int64_t *loaded)
{
    redisReply *noted = redisCommand(context, "HMGET " LIBRARIES_KEY " %s", name);
    const char *error = setup_check(context, noted, address, "HMGET " LIBRARIES_KEY);
    bool known = error == NULL && noted->element[0]->str;
    *loaded = known ? strtoll(noted->element[0]->str, NULL, 10) : now_ms;
    freeReplyObject(noted);
    if (error || known)
        return error;
    char text[24];
    snprintf(text, sizeof(text), "%lld", (long long)now_ms);
    const char *argv[] = {"HSET", LIBRARIES_KEY, name, text};
    return setup_command(context, address, "HSET " LIBRARIES_KEY, 4, argv);
}

static const char *remove_library(redisContext *context, const struct shard_address *address, const char *name)
{
    const char *delete[] = {"FUNCTION", "DELETE", name}, *forget[] = {"HDEL", LIBRARIES_KEY, name};
    const char *error = setup_command(context, address, "FUNCTION DELETE", 3, delete);
    return error ? error : setup_command(context, address, "HDEL " LIBRARIES_KEY, 3, forget);
}

static bool is_ours(const struct store_settings *settings, const char *name)
{
    for (unsigned i = 0; i < settings->library_count; i++)
        if (view_equal(settings->libraries[i].name, view_of(name)))
            return true;
    return false;
}

struct pruning {
    const struct store_settings *settings;
    int64_t unused_ms;
    void (*removed)(const char *shard, const char *library);
    struct names used;
};

static const char *prune_shard(const struct pruning *pruning, redisContext *context, const struct shard_address *address)
{
    struct names there = {.count = 0};
    const char *error = list_libraries(context, address, &there);
    int64_t now_ms = error ? 0 : setup_time_ms(context, address, &error), loaded = 0;
    for (unsigned i = 0; i < there.count && error == NULL; i++) {
        if (is_ours(pruning->settings, there.at[i]) || names_have(&pruning->used, there.at[i]))
            continue;
        error = loaded_ms(context, address, there.at[i], now_ms, &loaded);
        if (error || now_ms - loaded < pruning->unused_ms)
            continue;
        if ((error = remove_library(context, address, there.at[i])) == NULL)
            pruning->removed(address->name, there.at[i]);
    }
    return error;
}

const char *setup_prune(const struct store_settings *settings, int64_t unused_ms, void (*removed)(const char *shard, const char *library))
{
    struct pruning pruning = {.settings = settings, .unused_ms = unused_ms, .removed = removed};
    redisContext *contexts[SHARDS_MAX] = {NULL};
    const struct topology *topology = settings->topology;
    const char *error = NULL;
    for (unsigned i = 0; i < topology->shard_count && error == NULL; i++)
        if ((contexts[i] = setup_connect(settings, i, &error)))
            error = note_used(contexts[i], &topology->shards[i], &pruning.used);
    for (unsigned i = 0; i < topology->shard_count && error == NULL; i++)
        error = prune_shard(&pruning, contexts[i], &topology->shards[i]);
    for (unsigned i = 0; i < topology->shard_count; i++)
        redisFree(contexts[i]);
    return error;
}
