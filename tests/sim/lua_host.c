#include <lauxlib.h>
#include <lua.h>
#include <luajit.h>
#include <lualib.h>
#include <stdio.h>
#include <stdlib.h>

#include "check.h"

#include "lua_host.h"

#define FUNCTIONS_MAX 64
#define PARTS_MAX 256
#define DEPTH_MAX 8

struct lua_host {
    lua_State *lua;
    struct {
        char name[48]; /* without the library's hash */
        int ref;
    } functions[FUNCTIONS_MAX];
    unsigned function_count;
    const struct lua_job *job;
    bool wrote, read_late;
};

/* ---- answers into Lua ---- */

struct lua_sink {
    struct sink sink; /* first */
    lua_State *lua;
    unsigned depth;
    struct {
        int next;
        size_t left;
    } levels[DEPTH_MAX];
    const char *error;
};

/* The value on top of the stack is the next item of the list that is being filled; a list that is full is an item itself. */
static void lua_placed(struct lua_sink *sink)
{
    while (sink->depth > 0) {
        lua_rawseti(sink->lua, -2, sink->levels[sink->depth - 1].next++);
        if (--sink->levels[sink->depth - 1].left > 0)
            return;
        sink->depth--;
    }
}

static void lua_integer(struct sink *base, int64_t number)
{
    struct lua_sink *sink = (struct lua_sink *)base;
    lua_pushnumber(sink->lua, (lua_Number)number);
    lua_placed(sink);
}

static void lua_text(struct sink *base, struct view text)
{
    struct lua_sink *sink = (struct lua_sink *)base;
    lua_pushlstring(sink->lua, text.at, text.len);
    lua_placed(sink);
}

static void lua_ok(struct sink *base, const char *text)
{
    struct lua_sink *sink = (struct lua_sink *)base;
    lua_createtable(sink->lua, 0, 1);
    lua_pushstring(sink->lua, text);
    lua_setfield(sink->lua, -2, "ok");
    lua_placed(sink);
}

/* A nil of Redis is a false of Lua. */
static void lua_nil(struct sink *base)
{
    struct lua_sink *sink = (struct lua_sink *)base;
    lua_pushboolean(sink->lua, 0);
    lua_placed(sink);
}

static void lua_list(struct sink *base, size_t count)
{
    struct lua_sink *sink = (struct lua_sink *)base;
    lua_createtable(sink->lua, (int)count, 0);
    if (count == 0) {
        lua_placed(sink);
        return;
    }
    CHECK(sink->depth < DEPTH_MAX);
    sink->levels[sink->depth].next = 1;
    sink->levels[sink->depth++].left = count;
}

static void lua_error_text(struct sink *base, const char *text)
{
    ((struct lua_sink *)base)->error = text;
}

/* ---- redis.* ---- */

static struct lua_host *host_of(lua_State *lua)
{
    lua_getfield(lua, LUA_REGISTRYINDEX, "host");
    struct lua_host *host = lua_touserdata(lua, -1);
    lua_pop(lua, 1);
    return host;
}

/* An argument as Redis takes it: texts as they are, numbers with 17 digits. */
static struct view take_part(lua_State *lua, int n, char out[32])
{
    if (lua_type(lua, n) == LUA_TNUMBER) {
        lua_Number number = lua_tonumber(lua, n);
        bool whole = number == (lua_Number)(int64_t)number && number > -1e15 && number < 1e15;
        int len = whole ? snprintf(out, 32, "%lld", (long long)number) : snprintf(out, 32, "%.17g", number);
        return (struct view){out, (size_t)len};
    }
    size_t len;
    const char *text = lua_type(lua, n) == LUA_TSTRING ? lua_tolstring(lua, n, &len) : NULL;
    if (text == NULL)
        luaL_error(lua, "ERR Lua redis lib command arguments must be strings or integers");
    return (struct view){text, len};
}

static int redis_call(lua_State *lua)
{
    struct lua_host *host = lua_touserdata(lua, lua_upvalueindex(1));
    const struct lua_job *job = host->job;
    struct view parts[PARTS_MAX];
    char numbers[8][32];
    int count = lua_gettop(lua), used = 0;
    if (job == NULL || count == 0 || count > PARTS_MAX)
        return luaL_error(lua, "ERR redis.call with %d arguments", count);
    for (int n = 0; n < count; n++) {
        bool number = lua_type(lua, n + 1) == LUA_TNUMBER;
        CHECK(used < 8);
        parts[n] = take_part(lua, n + 1, numbers[used]);
        used += number;
    }
    struct lua_sink sink = {
        .lua = lua, .sink = {.integer = lua_integer, .text = lua_text, .status = lua_ok, .nil = lua_nil, .list = lua_list, .error = lua_error_text}};
    keyspace_run(job->keyspace, job->now_us, (size_t)count, parts, &sink.sink);
    if (sink.error)
        return luaL_error(lua, "%s", sink.error);
    CHECK(sink.depth == 0);
    return 1;
}

static int redis_error_reply(lua_State *lua)
{
    lua_createtable(lua, 0, 1);
    lua_pushvalue(lua, 1);
    lua_setfield(lua, -2, "err");
    return 1;
}

static int redis_register_function(lua_State *lua)
{
    struct lua_host *host = host_of(lua);
    CHECK(host->function_count < FUNCTIONS_MAX);
    lua_getfield(lua, 1, "function_name");
    const char *name = lua_tostring(lua, -1), *end = name ? strrchr(name, '_') : NULL;
    if (end == NULL)
        return luaL_error(lua, "a function was registered without a name that ends in a hash");
    snprintf(host->functions[host->function_count].name, sizeof(host->functions[0].name), "%.*s", (int)(end - name), name);
    lua_getfield(lua, 1, "callback");
    host->functions[host->function_count++].ref = luaL_ref(lua, LUA_REGISTRYINDEX);
    return 0;
}

static void open_redis(struct lua_host *host)
{
    lua_State *lua = host->lua;
    lua_createtable(lua, 0, 3);
    lua_pushlightuserdata(lua, host);
    lua_pushcclosure(lua, redis_call, 1);
    lua_setfield(lua, -2, "call");
    lua_pushcfunction(lua, redis_error_reply);
    lua_setfield(lua, -2, "error_reply");
    lua_pushcfunction(lua, redis_register_function);
    lua_setfield(lua, -2, "register_function");
    lua_setglobal(lua, "redis");
}

/* ---- answers out of Lua ---- */

static void item_from(lua_State *lua, int at, struct arena *arena, struct item *item);

static bool item_from_field(lua_State *lua, int at, const char *field, enum item_type type, struct arena *arena, struct item *item)
{
    size_t len;
    lua_getfield(lua, at, field);
    const char *text = lua_type(lua, -1) == LUA_TSTRING ? lua_tolstring(lua, -1, &len) : NULL;
    if (text)
        *item = (struct item){.type = type, .text = arena_copy(arena, (struct view){text, len})};
    lua_pop(lua, 1);
    return text != NULL;
}

static void item_from_table(lua_State *lua, int at, struct arena *arena, struct item *item)
{
    if (item_from_field(lua, at, "err", ITEM_ERROR, arena, item) || item_from_field(lua, at, "ok", ITEM_TEXT, arena, item))
        return;
    size_t count = lua_objlen(lua, at);
    *item = (struct item){.type = ITEM_LIST, .items = ARENA_ARRAY(arena, struct item, count)};
    for (size_t i = 0; i < count; i++) { /* a list of Redis ends at the first nil */
        lua_rawgeti(lua, at, (int)i + 1);
        if (lua_isnil(lua, -1)) {
            lua_pop(lua, 1);
            break;
        }
        item_from(lua, lua_gettop(lua), arena, &item->items[item->count++]);
        lua_pop(lua, 1);
    }
}

static void item_from(lua_State *lua, int at, struct arena *arena, struct item *item)
{
    size_t len;
    const char *text;
    switch (lua_type(lua, at)) {
    case LUA_TNUMBER:
        *item = (struct item){.type = ITEM_INT, .integer = (int64_t)lua_tonumber(lua, at)};
        break;
    case LUA_TSTRING:
        text = lua_tolstring(lua, at, &len);
        *item = (struct item){.type = ITEM_TEXT, .text = arena_copy(arena, (struct view){text, len})};
        break;
    case LUA_TTABLE:
        item_from_table(lua, at, arena, item);
        break;
    case LUA_TBOOLEAN:
        *item = lua_toboolean(lua, at) ? (struct item){.type = ITEM_INT, .integer = 1} : (struct item){.type = ITEM_NIL};
        break;
    default:
        *item = (struct item){.type = ITEM_NIL};
    }
}

/* ---- running ---- */

static void push_parts(lua_State *lua, const struct view *parts, size_t count)
{
    lua_createtable(lua, (int)count, 0);
    for (size_t i = 0; i < count; i++) {
        lua_pushlstring(lua, parts[i].at ? parts[i].at : "", parts[i].len);
        lua_rawseti(lua, -2, (int)i + 1);
    }
}

static int function_ref(const struct lua_host *host, const char *name)
{
    for (unsigned i = 0; i < host->function_count; i++)
        if (strcmp(host->functions[i].name, name) == 0)
            return host->functions[i].ref;
    return LUA_NOREF;
}

const struct item *lua_host_run(struct lua_host *host, const struct lua_job *job, struct arena *arena)
{
    lua_State *lua = host->lua;
    struct item *item = ARENA_NEW(arena, struct item);
    int ref = function_ref(host, job->name);
    if (ref == LUA_NOREF) {
        *item = (struct item){.type = ITEM_ERROR, .text = VIEW("ERR Function not found")};
        return item;
    }
    host->job = job;
    host->wrote = host->read_late = false;
    lua_rawgeti(lua, LUA_REGISTRYINDEX, ref);
    push_parts(lua, job->keys, job->key_count);
    push_parts(lua, job->args, job->arg_count);
    if (lua_pcall(lua, 2, 1, 0) == 0) {
        item_from(lua, lua_gettop(lua), arena, item);
    } else {
        const char *text = lua_tostring(lua, -1);
        item->type = ITEM_ERROR;
        item->text = arena_printf(arena, "%s script: %s, on @user_function:0.", text ? text : "ERR no text", job->name);
    }
    lua_settop(lua, 0);
    host->job = NULL;
    return item;
}

bool lua_host_read_late(const struct lua_host *host)
{
    return host->read_late;
}

/* ---- the library's own clock ---- */

/* Looks for ${name} among what the function on top of the stack sees; leaves it on the stack. */
static int upvalue_of(lua_State *lua, const char *name)
{
    const char *found;
    for (int n = 1; (found = lua_getupvalue(lua, -1, n)); n++) {
        if (strcmp(found, name) == 0)
            return n;
        lua_pop(lua, 1);
    }
    return 0;
}

/* settle sees guard, guard.enter sees clock, clock.read sees last_us. */
void lua_host_forget_clock(struct lua_host *host)
{
    lua_State *lua = host->lua;
    lua_rawgeti(lua, LUA_REGISTRYINDEX, function_ref(host, "settle"));
    CHECK(upvalue_of(lua, "guard"));
    lua_getfield(lua, -1, "enter");
    CHECK(upvalue_of(lua, "clock"));
    lua_getfield(lua, -1, "read");
    int n = upvalue_of(lua, "last_us");
    CHECK(n);
    lua_pop(lua, 1);
    lua_pushnumber(lua, 0);
    lua_setupvalue(lua, -2, n);
    lua_settop(lua, 0);
}

/* ---- its life ---- */

struct lua_host *lua_host_new(struct view library)
{
    struct lua_host *host = calloc(1, sizeof(*host));
    CHECK(host);
    lua_State *lua = host->lua = luaL_newstate();
    CHECK(lua);
    luaL_openlibs(lua);
    luaJIT_setmode(lua, 0, LUAJIT_MODE_ENGINE | LUAJIT_MODE_OFF); /* a process lives too short for its traces to pay: interpreting is faster */
    lua_pushlightuserdata(lua, host);
    lua_setfield(lua, LUA_REGISTRYINDEX, "host");
    open_redis(host);
    const char *line = memchr(library.at, '\n', library.len); /* what is behind the first line is Lua */
    CHECK(line);
    if (luaL_loadbuffer(lua, line, (size_t)(library.at + library.len - line), "@user_function") || lua_pcall(lua, 0, 0, 0)) {
        fprintf(stderr, "the function library cannot be loaded: %s\n", lua_tostring(lua, -1));
        CHECK(!"loading the function library");
    }
    return host;
}

void lua_host_free(struct lua_host *host)
{
    if (host == NULL)
        return;
    lua_close(host->lua);
    free(host);
}

/* ---- answers as items ---- */

static struct item *item_next(struct item_sink *sink)
{
    return sink->depth == 0 ? sink->root : sink->levels[sink->depth - 1].next;
}

static void item_placed(struct item_sink *sink)
{
    while (sink->depth > 0) {
        sink->levels[sink->depth - 1].next++;
        if (--sink->levels[sink->depth - 1].left > 0)
            return;
        sink->depth--;
    }
}

static void item_put(struct sink *base, struct item item)
{
    struct item_sink *sink = (struct item_sink *)base;
    *item_next(sink) = item;
    item_placed(sink);
}

static void item_integer(struct sink *base, int64_t number)
{
    item_put(base, (struct item){.type = ITEM_INT, .integer = number});
}

static void item_text_put(struct sink *base, struct view text)
{
    item_put(base, (struct item){.type = ITEM_TEXT, .text = arena_copy(((struct item_sink *)base)->arena, text)});
}

static void item_status(struct sink *base, const char *text)
{
    item_text_put(base, view_of(text));
}

static void item_nil(struct sink *base)
{
    item_put(base, (struct item){.type = ITEM_NIL});
}

static void item_list(struct sink *base, size_t count)
{
    struct item_sink *sink = (struct item_sink *)base;
    struct item *list = item_next(sink);
    *list = (struct item){.type = ITEM_LIST, .items = ARENA_ARRAY(sink->arena, struct item, count), .count = count};
    if (count == 0) {
        item_placed(sink);
        return;
    }
    CHECK(sink->depth < DEPTH_MAX);
    sink->levels[sink->depth].next = list->items;
    sink->levels[sink->depth++].left = count;
}

static void item_error(struct sink *base, const char *text)
{
    item_put(base, (struct item){.type = ITEM_ERROR, .text = arena_copy(((struct item_sink *)base)->arena, view_of(text))});
}

void item_sink_init(struct item_sink *sink, struct arena *arena, struct item *root)
{
    *sink = (struct item_sink){
        .sink = {.integer = item_integer, .text = item_text_put, .status = item_status, .nil = item_nil, .list = item_list, .error = item_error},
        .arena = arena,
        .root = root,
    };
}
