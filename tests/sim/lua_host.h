#ifndef LUA_HOST_H
#define LUA_HOST_H

#include <stdbool.h>
#include <stdint.h>

#include "arena.h"
#include "keyspace.h"
#include "reply.h"

/*
 * The function library in an embedded Lua 5.1 (LuaJIT), as Redis would run it: the same text that FUNCTION LOAD gets, redis.call carried out by a
 * keyspace.
 *
 *   library   the text, loaded and compiled once. What it keeps between two calls, but for what it has looked up before, is its clock that never runs
 *             backwards
 *   host      one server process: it has the clock that its process has told
 *
 * So many processes, and those that begin anew, share what the compiler has made.
 */
struct lua_library;
struct lua_host;

/* Loads ${text}, which begins with "#!lua name=…". Aborts, naming the place, if it cannot be loaded. It outlives its hosts. */
struct lua_library *lua_library_new(struct view text);
void lua_library_free(struct lua_library *library);
/* How many pieces of it the compiler has made. */
unsigned lua_library_compiled(struct lua_library *library);

struct lua_host *lua_host_new(struct lua_library *library);
void lua_host_free(struct lua_host *host);
/* The process begins anew: it has told no time. */
void lua_host_restart(struct lua_host *host);
/* The last time that its process has told; nobody else has told a later one. */
void lua_host_has_told(struct lua_host *host, int64_t us);

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

/*
 * From now on ${tap} is shown each command of this host's functions before it is carried out; NULL: nobody is. It may change what is asked, or answer
 * by itself, as Redis would, and return true.
 */
struct lua_tap {
    bool (*command)(struct lua_tap *tap, size_t argc, struct view *argv, struct sink *sink);
};
void lua_host_tap(struct lua_host *host, struct lua_tap *tap);

/* Did the last run read a key behind a write, and not before? Then it could fail with half of it done. */
bool lua_host_read_late(const struct lua_host *host);

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
