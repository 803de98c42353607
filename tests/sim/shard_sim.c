#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "check.h"

#include "library.h"

#include "lua_host.h"

#include "shard_sim.h"

#define PARTS_MAX 320

struct shard_sim {
    const struct topology *topology;
    unsigned index;
    struct keyspace *keyspace;
    struct lua_host *host;
    int64_t now_us;
    bool still;
    struct keyspace_mark *behind; /* where each run that is not on disk began */
    unsigned behind_count, behind_cap;
};

/* ---- calls ---- */

/* The parts of a call's body, which is a row of bulk strings. */
static size_t parts_of(const struct call *call, struct view parts[PARTS_MAX])
{
    const char *at = call->body.at, *end = at + call->body.len;
    size_t count = 0;
    while (at < end) {
        size_t len = 0;
        CHECK(*at == '$' && count < PARTS_MAX);
        for (at++; *at != '\r'; at++)
            len = len * 10 + (size_t)(*at - '0');
        parts[count++] = (struct view){at + 2, len};
        at += 2 + len + 2;
    }
    return count;
}

static const struct item *run_command(struct shard_sim *shard, const struct view *parts, size_t count, struct arena *arena)
{
    struct item *root = ARENA_NEW(arena, struct item);
    struct item_sink sink;
    item_sink_init(&sink, arena, root);
    keyspace_run(shard->keyspace, shard->now_us, count, parts, &sink.sink);
    return root;
}

static void note_begin(struct shard_sim *shard)
{
    if (shard->behind_count == shard->behind_cap) {
        shard->behind_cap = shard->behind_cap ? shard->behind_cap * 2 : 64;
        shard->behind = realloc(shard->behind, shard->behind_cap * sizeof(*shard->behind));
        CHECK(shard->behind);
    }
    shard->behind[shard->behind_count++] = keyspace_mark(shard->keyspace);
}

const struct item *shard_sim_try(struct shard_sim *shard, struct lua_host *host, const struct call *call, int64_t limit_ms, struct arena *arena)
{
    struct view parts[PARTS_MAX + 2];
    char epoch[24], limit[24];
    size_t count = parts_of(call, parts);
    if (call->function == NULL)
        return run_command(shard, parts, count, arena);
    if (call->function->writes) {
        parts[count++] = (struct view){epoch, (size_t)snprintf(epoch, sizeof(epoch), "%ld", shard->topology->epoch)};
        parts[count++] = (struct view){limit, (size_t)snprintf(limit, sizeof(limit), "%lld", (long long)limit_ms)};
    }
    const struct lua_job job = {
        .keyspace = shard->keyspace,
        .now_us = shard->now_us,
        .name = call->function->name,
        .keys = parts,
        .key_count = call->keys,
        .args = parts + call->keys,
        .arg_count = count - call->keys,
    };
    return lua_host_run(host, &job, arena);
}

const struct item *shard_sim_run(struct shard_sim *shard, const struct call *call, int64_t limit_ms, struct arena *arena)
{
    note_begin(shard);
    if (shard->still)
        lua_host_has_told(shard->host, shard->now_us - 1);
    return shard_sim_try(shard, shard->host, call, limit_ms, arena);
}

bool shard_sim_read_late(const struct shard_sim *shard)
{
    return lua_host_read_late(shard->host);
}

/* ---- the disk ---- */

unsigned shard_sim_behind(const struct shard_sim *shard)
{
    return shard->behind_count;
}

void shard_sim_sync(struct shard_sim *shard)
{
    shard->behind_count = 0;
    keyspace_settle(shard->keyspace);
}

void shard_sim_crash(struct shard_sim *shard, unsigned lost)
{
    CHECK(lost <= shard->behind_count);
    if (lost > 0)
        keyspace_back(shard->keyspace, shard->behind[shard->behind_count - lost]);
    shard_sim_sync(shard);
    lua_host_restart(shard->host);
}

/* ---- its life ---- */

static void write_identity(struct shard_sim *shard)
{
    char partitions[16], epoch[16], layout[16];
    struct arena *arena = arena_new();
    snprintf(layout, sizeof(layout), "%d", STORE_LAYOUT);
    snprintf(partitions, sizeof(partitions), "%u", shard->topology->partitions);
    snprintf(epoch, sizeof(epoch), "%ld", shard->topology->epoch);
    const struct view parts[] = {VIEW("HSET"),       VIEW("souk:shard"),  VIEW("name"),  view_of(shard->topology->shards[shard->index].name),
                                 VIEW("partitions"), view_of(partitions), VIEW("epoch"), view_of(epoch),
                                 VIEW("layout"),     view_of(layout)};
    run_command(shard, parts, sizeof(parts) / sizeof(*parts), arena);
    arena_free(arena);
}

struct lua_library *shard_sim_library(const char *path)
{
    struct stat stat_of;
    if (path == NULL)
        return lua_library_new(SOUK_LIBRARIES[0].text);
    FILE *file = fopen(path, "r");
    if (file == NULL || fstat(fileno(file), &stat_of) != 0) {
        fprintf(stderr, "cannot read the function library %s: %s; make one with lua/build FOLDER\n", path, strerror(errno));
        exit(2);
    }
    size_t len = (size_t)stat_of.st_size;
    char *text = malloc(len);
    CHECK(text && fread(text, 1, len, file) == len);
    fclose(file);
    struct lua_library *library = lua_library_new((struct view){text, len});
    free(text);
    return library;
}

void shard_sim_clear(struct shard_sim *shard)
{
    keyspace_clear(shard->keyspace);
    shard->behind_count = 0;
    lua_host_restart(shard->host);
    write_identity(shard);
}

struct shard_sim *shard_sim_new(const struct topology *topology, unsigned index, struct lua_library *library)
{
    struct shard_sim *shard = calloc(1, sizeof(*shard));
    CHECK(shard);
    shard->topology = topology;
    shard->index = index;
    shard->keyspace = keyspace_new();
    shard->host = lua_host_new(library);
    shard_sim_clear(shard);
    return shard;
}

void shard_sim_free(struct shard_sim *shard)
{
    if (shard == NULL)
        return;
    lua_host_free(shard->host);
    keyspace_free(shard->keyspace);
    free(shard->behind);
    free(shard);
}

void shard_sim_set_clock(struct shard_sim *shard, int64_t now_us)
{
    shard->now_us = now_us;
}

int64_t shard_sim_now_us(const struct shard_sim *shard)
{
    return shard->now_us;
}

int64_t shard_sim_now_ms(const struct shard_sim *shard)
{
    return shard->now_us / 1000;
}

void shard_sim_stand_still(struct shard_sim *shard)
{
    shard->still = true;
}

struct keyspace *shard_sim_keyspace(struct shard_sim *shard)
{
    return shard->keyspace;
}
