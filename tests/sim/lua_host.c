#include <lauxlib.h>
#include <lua.h>
#include <lualib.h>
#include <stdio.h>
#include <stddef.h>
#include <stdlib.h>

#include "check.h"

#include "redis_lua.h"

#include "lua_host.h"

#define FUNCTIONS_MAX 64
#define PARTS_MAX 256
#define DEPTH_MAX 8
#define LOOKED_MAX 16384

/* What redis.lua and this file hand to each other: a command's parts (from 1) and the pieces of its answer. redis.lua declares the same. */
struct lua_part {
    const char *at; /* NULL: a number */
    size_t len;
    double number;
};
enum piece_type { PIECE_NIL, PIECE_INTEGER, PIECE_TEXT, PIECE_STATUS, PIECE_LIST, PIECE_ERROR };
struct lua_piece {
    int32_t type;
    uint32_t count; /* of bytes, of items */
    const char *at;
    double number; /* of a list: how many of its items are neither texts nor nils */
};
struct lua_port {
    struct lua_part parts[PARTS_MAX + 1];
    struct lua_piece *pieces;
    /* behind what redis.lua knows */
    struct sink sink;
    uint32_t piece_count, piece_cap;
    struct keyspace *keyspace;
    struct lua_tap *tap;
    int64_t now_us;
    bool wrote, read_late;
    char looked[LOOKED_MAX]; /* the keys that were read before the first write, each behind its length */
    size_t looked_len;
};

/* What a process' clock is made of, in lua/lib/clock.lua. */
enum { CLOCK_LAST, CLOCK_PLAIN, CLOCK_ALONE, CLOCK_PARTS };

struct lua_library {
    lua_State *lua;
    struct {
        char name[48]; /* without the library's hash */
        int ref;
    } functions[FUNCTIONS_MAX];
    unsigned function_count;
    int clock_ref, clock_upvalues[CLOCK_PARTS]; /* the function that sees what a clock is made of */
    struct lua_port port;
    struct lua_host *current; /* whose clock last_us is */
};

struct lua_host {
    struct lua_library *library;
    struct lua_tap *tap;
    double clock[CLOCK_PARTS];
};

/* ---- redis.call ---- */

static struct lua_piece *piece_add(struct sink *sink, enum piece_type type)
{
    struct lua_port *port = (struct lua_port *)((char *)sink - offsetof(struct lua_port, sink));
    if (port->piece_count == port->piece_cap) {
        port->piece_cap = port->piece_cap ? port->piece_cap * 2 : 64;
        port->pieces = realloc(port->pieces, port->piece_cap * sizeof(*port->pieces));
        CHECK(port->pieces);
    }
    if (port->piece_count > 0 && type != PIECE_TEXT && type != PIECE_NIL)
        port->pieces[0].number++;
    struct lua_piece *piece = &port->pieces[port->piece_count++];
    *piece = (struct lua_piece){.type = (int32_t)type};
    return piece;
}

static void piece_integer(struct sink *sink, int64_t number)
{
    piece_add(sink, PIECE_INTEGER)->number = (double)number;
}

static void piece_text(struct sink *sink, struct view text)
{
    struct lua_piece *piece = piece_add(sink, PIECE_TEXT);
    piece->at = text.at;
    piece->count = (uint32_t)text.len;
}

static void piece_status(struct sink *sink, const char *text)
{
    struct lua_piece *piece = piece_add(sink, PIECE_STATUS);
    piece->at = text;
    piece->count = (uint32_t)strlen(text);
}

static void piece_nil(struct sink *sink)
{
    piece_add(sink, PIECE_NIL);
}

static void piece_list(struct sink *sink, size_t count)
{
    piece_add(sink, PIECE_LIST)->count = (uint32_t)count;
}

static void piece_error(struct sink *sink, const char *text)
{
    struct lua_port *port = (struct lua_port *)((char *)sink - offsetof(struct lua_port, sink));
    port->piece_count = 0;
    struct lua_piece *piece = piece_add(sink, PIECE_ERROR);
    piece->at = text;
    piece->count = (uint32_t)strlen(text);
}

/* A number as Redis takes it: with 17 digits. */
static struct view number_part(double number, char out[32])
{
    bool whole = number == (double)(int64_t)number && number > -1e15 && number < 1e15;
    int len = whole ? snprintf(out, 32, "%lld", (long long)number) : snprintf(out, 32, "%.17g", number);
    return (struct view){out, (size_t)len};
}

static bool looked_at(const struct lua_port *port, struct view key)
{
    size_t len;
    for (size_t at = 0; at < port->looked_len; at += sizeof(len) + len) {
        memcpy(&len, port->looked + at, sizeof(len));
        if (len == key.len && memcmp(port->looked + at + sizeof(len), key.at, len) == 0)
            return true;
    }
    return false;
}

/* A read behind the first write can fail with half of the function done, unless the same key was read before. */
static void watch_order(struct lua_port *port, const struct view *parts, uint32_t count)
{
    bool reads = keyspace_reads(parts[0]);
    struct view key = count > 1 ? parts[1] : (struct view){"", 0};
    port->wrote |= !reads;
    if (reads && port->wrote) {
        port->read_late |= !looked_at(port, key);
    } else if (reads && port->looked_len + sizeof(key.len) + key.len <= LOOKED_MAX) { /* only lists read more, and they do not write */
        memcpy(port->looked + port->looked_len, &key.len, sizeof(key.len));
        memcpy(port->looked + port->looked_len + sizeof(key.len), key.at, key.len);
        port->looked_len += sizeof(key.len) + key.len;
    }
}

/* What redis.lua calls. */
static void lua_port_run(struct lua_port *port, uint32_t count)
{
    struct view parts[PARTS_MAX];
    char numbers[8][32];
    unsigned used = 0;
    for (uint32_t n = 0; n < count; n++) {
        const struct lua_part *part = &port->parts[n + 1];
        parts[n] = (struct view){part->at, part->len};
        if (part->at == NULL) {
            CHECK(used < 8);
            parts[n] = number_part(part->number, numbers[used++]);
        }
    }
    watch_order(port, parts, count);
    port->piece_count = 0;
    if (port->tap == NULL || !port->tap->command(port->tap, count, parts, &port->sink))
        keyspace_run(port->keyspace, port->now_us, count, parts, &port->sink);
}

static int redis_register_function(lua_State *lua)
{
    struct lua_library *library = lua_touserdata(lua, lua_upvalueindex(1));
    CHECK(library->function_count < FUNCTIONS_MAX);
    lua_getfield(lua, 1, "function_name");
    const char *name = lua_tostring(lua, -1), *end = name ? strrchr(name, '_') : NULL;
    if (end == NULL)
        return luaL_error(lua, "a function was registered without a name that ends in a hash");
    snprintf(library->functions[library->function_count].name, sizeof(library->functions[0].name), "%.*s", (int)(end - name), name);
    lua_getfield(lua, 1, "callback");
    library->functions[library->function_count++].ref = luaL_ref(lua, LUA_REGISTRYINDEX);
    return 0;
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

static int function_ref(const struct lua_library *library, const char *name)
{
    for (unsigned i = 0; i < library->function_count; i++)
        if (strcmp(library->functions[i].name, name) == 0)
            return library->functions[i].ref;
    return LUA_NOREF;
}

/* alone is 0 or 1 here. */
static void clock_save(const struct lua_library *library, struct lua_host *host)
{
    lua_State *lua = library->lua;
    for (int n = 0; n < CLOCK_PARTS; n++) {
        CHECK(lua_getupvalue(lua, -1, library->clock_upvalues[n]));
        host->clock[n] = n == CLOCK_ALONE ? lua_toboolean(lua, -1) : lua_tonumber(lua, -1);
        lua_pop(lua, 1);
    }
}

static void clock_set(const struct lua_library *library, const struct lua_host *host)
{
    lua_State *lua = library->lua;
    for (int n = 0; n < CLOCK_PARTS; n++) {
        if (n == CLOCK_ALONE)
            lua_pushboolean(lua, host->clock[n] != 0);
        else
            lua_pushnumber(lua, host->clock[n]);
        CHECK(lua_setupvalue(lua, -2, library->clock_upvalues[n]));
    }
}

/* Puts this host's clock into the library, and keeps the one that was there. */
static void host_enter(struct lua_host *host)
{
    struct lua_library *library = host->library;
    if (library->current == host)
        return;
    lua_rawgeti(library->lua, LUA_REGISTRYINDEX, library->clock_ref);
    if (library->current)
        clock_save(library, library->current);
    clock_set(library, host);
    lua_pop(library->lua, 1);
    library->current = host;
}

const struct item *lua_host_run(struct lua_host *host, const struct lua_job *job, struct arena *arena)
{
    struct lua_library *library = host->library;
    lua_State *lua = library->lua;
    struct item *item = ARENA_NEW(arena, struct item);
    int ref = function_ref(library, job->name);
    if (ref == LUA_NOREF) {
        *item = (struct item){.type = ITEM_ERROR, .text = VIEW("ERR Function not found")};
        return item;
    }
    host_enter(host);
    library->port.keyspace = job->keyspace;
    library->port.tap = host->tap;
    library->port.now_us = job->now_us;
    library->port.wrote = library->port.read_late = false;
    library->port.looked_len = 0;
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
    return item;
}

void lua_host_tap(struct lua_host *host, struct lua_tap *tap)
{
    host->tap = tap;
}

bool lua_host_read_late(const struct lua_host *host)
{
    return host->library->port.read_late;
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

/* settle sees guard, guard.enter sees clock, clock.read sees what it is made of. */
static void find_clock(struct lua_library *library)
{
    static const char *const PARTS[CLOCK_PARTS] = {[CLOCK_LAST] = "last_us", [CLOCK_PLAIN] = "last_plain_us", [CLOCK_ALONE] = "alone"};
    lua_State *lua = library->lua;
    lua_rawgeti(lua, LUA_REGISTRYINDEX, function_ref(library, "settle"));
    CHECK(upvalue_of(lua, "guard"));
    lua_getfield(lua, -1, "enter");
    CHECK(upvalue_of(lua, "clock"));
    lua_getfield(lua, -1, "read");
    for (int n = 0; n < CLOCK_PARTS; n++) {
        library->clock_upvalues[n] = upvalue_of(lua, PARTS[n]);
        CHECK(library->clock_upvalues[n]);
        lua_pop(lua, 1);
    }
    library->clock_ref = luaL_ref(lua, LUA_REGISTRYINDEX);
    lua_settop(lua, 0);
}

static void host_leave(struct lua_host *host, double us, bool alone)
{
    if (host->library->current == host)
        host->library->current = NULL;
    host->clock[CLOCK_LAST] = host->clock[CLOCK_PLAIN] = us;
    host->clock[CLOCK_ALONE] = alone;
}

void lua_host_has_told(struct lua_host *host, int64_t us)
{
    host_leave(host, (double)us, true);
}

void lua_host_restart(struct lua_host *host)
{
    host_leave(host, 0, false);
}

/* ---- its life ---- */

static void open_redis(struct lua_library *library)
{
    lua_State *lua = library->lua;
    lua_createtable(lua, 0, 3);
    lua_pushlightuserdata(lua, library);
    lua_pushcclosure(lua, redis_register_function, 1);
    lua_setfield(lua, -2, "register_function");
    lua_setglobal(lua, "redis");
    CHECK(luaL_loadbuffer(lua, REDIS_LUA, strlen(REDIS_LUA), "@redis.lua") == 0);
    lua_pushlightuserdata(lua, (void *)lua_port_run);
    lua_pushlightuserdata(lua, &library->port);
    if (lua_pcall(lua, 2, 0, 0)) {
        fprintf(stderr, "redis.lua: %s\n", lua_tostring(lua, -1));
        CHECK(!"loading redis.lua");
    }
}

/* The compiler may keep everything that it has made: the defaults are for programs that do one thing. */
static void compile_much(lua_State *lua)
{
    static const char options[] = "require('jit.opt').start('maxtrace=8000', 'maxrecord=16000', 'maxirconst=8000', 'maxsnap=4000', 'maxside=1000', "
                                  "'sizemcode=512', 'maxmcode=65536')";
    CHECK(luaL_dostring(lua, options) == 0);
}

struct lua_library *lua_library_new(struct view text)
{
    struct lua_library *library = calloc(1, sizeof(*library));
    CHECK(library);
    lua_State *lua = library->lua = luaL_newstate();
    CHECK(lua);
    luaL_openlibs(lua);
    compile_much(lua);
    library->port.sink = (struct sink){
        .integer = piece_integer, .text = piece_text, .status = piece_status, .nil = piece_nil, .list = piece_list, .error = piece_error};
    open_redis(library);
    const char *line = memchr(text.at, '\n', text.len); /* what is behind the first line is Lua */
    CHECK(line);
    if (luaL_loadbuffer(lua, line, (size_t)(text.at + text.len - line), "@user_function") || lua_pcall(lua, 0, 0, 0)) {
        fprintf(stderr, "the function library cannot be loaded: %s\n", lua_tostring(lua, -1));
        CHECK(!"loading the function library");
    }
    find_clock(library);
    return library;
}

void lua_library_free(struct lua_library *library)
{
    if (library == NULL)
        return;
    lua_close(library->lua);
    free(library->port.pieces);
    free(library);
}

unsigned lua_library_compiled(struct lua_library *library)
{
    static const char count[] =
        "local info, found = require('jit.util').traceinfo, 0 for n = 1, 8000 do found = found + (info(n) and 1 or 0) end return found";
    CHECK(luaL_dostring(library->lua, count) == 0);
    unsigned found = (unsigned)lua_tonumber(library->lua, -1);
    lua_settop(library->lua, 0);
    return found;
}

struct lua_host *lua_host_new(struct lua_library *library)
{
    struct lua_host *host = calloc(1, sizeof(*host));
    CHECK(host);
    host->library = library;
    return host;
}

void lua_host_free(struct lua_host *host)
{
    if (host == NULL)
        return;
    lua_host_restart(host); /* the library must not look for its clock */
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
