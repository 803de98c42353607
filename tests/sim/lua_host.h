#ifndef LUA_HOST_H
#define LUA_HOST_H

#include <stdbool.h>
#include <stdint.h>

#include "arena.h"
#include "keyspace.h"
#include "reply.h"

/*
 * The function library in an embedded Lua 5.1 (LuaJIT), as Redis would run it: the same text that FUNCTION LOAD gets, redis.call carried out by a
 * keyspace. One host is one server process: what the library keeps at module level (the clock that never runs backwards) is the host's.
 */
struct lua_host;

/* Loads ${library}, the text that begins with "#!lua name=…". Aborts, naming the place, if it cannot be loaded. */
struct lua_host *lua_host_new(struct view library);
void lua_host_free(struct lua_host *host);

/*
 * Calls the function that was registered as ${name}_HASH. Returns its answer, made in ${arena}. An error that left the function is an ITEM_ERROR, as
 * Redis words it; what the function had written before stays written, as in Redis.
 */
struct lua_job {
    struct keyspace *keyspace;
    int64_t now_us;
    const char *name;
    const struct view *keys, *args;
    size_t key_count, arg_count;
};
const struct item *lua_host_run(struct lua_host *host, const struct lua_job *job, struct arena *arena);

/* Did the last run read behind a write? Then it could fail with half of it done. */
bool lua_host_read_late(const struct lua_host *host);

/* Makes clock.read forget what it has told, so that equal states have equal futures. For searches, where time stands still. */
void lua_host_forget_clock(struct lua_host *host);

/* A sink that builds struct item in ${arena}; ${root} is filled. */
struct item_sink {
    struct sink sink; /* first */
    struct arena *arena;
    struct item *root;
    unsigned depth;
    struct {
        struct item *next;
        size_t left;
    } levels[8];
};
void item_sink_init(struct item_sink *sink, struct arena *arena, struct item *root);

#endif
