#include <hiredis/hiredis.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "dump.h"
#include "library.h"

#include "oracle.h"
#include "lua_host.h"
#include "redis_fixture.h"
#include "redis_words.h"

/*
 * The simulated shard beside a real redis-server: the same calls must get the same answers and leave the same keys.
 *
 *   histories  whole histories of a simulated fleet on one shard, each call of which is given to the real one as well. There the library's clock is
 *              read from a key, and ids of streams are made from it, by changing just these places of its text; whatever else it does is Redis' own
 *   commands   each command by itself, with chance's arguments
 *   back       what a keyspace takes back is gone
 *
 * Expiry is the real server's only in that a key has one: its clock is not the simulated one, so the test removes what has expired and holds on to
 * the rest.
 */
#define EXPIRING_MAX 4096
struct pair {
    redisContext *link;
    struct redis_fixture *redis;
    struct arena *arena;
    struct lua_library *library;
    uint64_t calls;
    char hash[16];
    /* The keys that had an expiry after the last call. */
    struct {
        char name[120];
        int64_t at_ms;
    } expiring[EXPIRING_MAX];
    size_t expiring_count;
};

/* ---- the real one ---- */

static redisReply *ask(struct pair *pair, size_t argc, const struct view *argv)
{
    const char *texts[300];
    size_t lens[300];
    assert_true(argc <= 300);
    for (size_t i = 0; i < argc; i++) {
        texts[i] = argv[i].at;
        lens[i] = argv[i].len;
    }
    redisReply *reply = redisCommandArgv(pair->link, (int)argc, texts, lens);
    assert_non_null(reply);
    return reply;
}

#define ask_words(pair, ...) redis_words((pair)->link, __VA_ARGS__)

static void do_words(struct pair *pair, const char *format, const char *arg)
{
    freeReplyObject(ask_words(pair, format, arg));
}

/* Replaces every ${old} in ${text}, of which there must be some. */
static char *replaced(const char *text, const char *old, const char *new)
{
    size_t count = 0;
    for (const char *at = strstr(text, old); at; at = strstr(at + 1, old))
        count++;
    if (count == 0)
        fail_msg("the function library has no \"%s\" any more: this test must be taught how it reads its clock", old);
    char *out = malloc(strlen(text) + count * strlen(new) + 1), *end = out;
    for (const char *at; (at = strstr(text, old)); text = at + strlen(old))
        end += sprintf(end, "%.*s%s", (int)(at - text), text, new);
    strcpy(end, text);
    return out;
}

/* The library whose clock is the key sim:time. */
static void load_library(struct pair *pair)
{
    char *text = strndup(SOUK_LIBRARIES[0].text.at, SOUK_LIBRARIES[0].text.len);
    char *timed = replaced(text, "call('TIME')", "call('HMGET', 'sim:time', 's', 'us')");
    char *done = replaced(timed, ", '*',", ", (function() local t = call('HMGET', 'sim:time', 'ms') return t[1] .. '-*' end)(),");
    do_words(pair, "FUNCTION LOAD %s", done);
    snprintf(pair->hash, sizeof(pair->hash), "%.*s", VIEW_ARG(SOUK_LIBRARIES[0].hash));
    free(text);
    free(timed);
    free(done);
}

static int pair_setup(void **state)
{
    struct pair *pair = calloc(1, sizeof(*pair));
    assert_non_null(pair);
    pair->redis = redis_start((const char *const[]){"--rdbcompression", "no", NULL});
    pair->link = redisConnect("127.0.0.1", redis_port(pair->redis));
    assert_int_equal(pair->link->err, 0);
    pair->arena = arena_new();
    pair->library = shard_sim_library(NULL);
    *state = pair;
    return 0;
}

static int pair_teardown(void **state)
{
    struct pair *pair = *state;
    redisFree(pair->link);
    redis_stop(pair->redis);
    lua_library_free(pair->library);
    arena_free(pair->arena);
    free(pair);
    arena_thread_end();
    return 0;
}

/* ---- equal answers ---- */

static bool same_text(const struct item *item, const redisReply *reply)
{
    return item->text.len == reply->len && memcmp(item->text.at, reply->str, reply->len) == 0;
}

static bool same(const struct item *item, const redisReply *reply)
{
    switch (item->type) {
    case ITEM_NIL:
        return reply->type == REDIS_REPLY_NIL;
    case ITEM_INT:
        return reply->type == REDIS_REPLY_INTEGER && reply->integer == item->integer;
    case ITEM_TEXT:
        return (reply->type == REDIS_REPLY_STRING || reply->type == REDIS_REPLY_STATUS) && same_text(item, reply);
    case ITEM_ERROR:
        return reply->type == REDIS_REPLY_ERROR;
    case ITEM_LIST:
        break;
    }
    if (reply->type != REDIS_REPLY_ARRAY || reply->elements != item->count)
        return false;
    for (size_t i = 0; i < item->count; i++)
        if (!same(&item->items[i], reply->element[i]))
            return false;
    return true;
}

static int item_compare(const void *a, const void *b)
{
    const struct item *left = a, *right = b;
    int order = memcmp(left->text.at, right->text.at, left->text.len < right->text.len ? left->text.len : right->text.len);
    return order ? order : (left->text.len > right->text.len) - (left->text.len < right->text.len);
}

static int reply_compare(const void *a, const void *b)
{
    const redisReply *left = *(redisReply *const *)a, *right = *(redisReply *const *)b;
    int order = memcmp(left->str, right->str, left->len < right->len ? left->len : right->len);
    return order ? order : (left->len > right->len) - (left->len < right->len);
}

/* The fields of a hash come in any order. Sorts [field value …] by field, in both. */
static void sort_pairs(struct item *item, redisReply *reply)
{
    if (item->type == ITEM_LIST && item->count > 0)
        qsort(item->items, item->count / 2, 2 * sizeof(*item->items), item_compare);
    if (reply->type == REDIS_REPLY_ARRAY && reply->elements > 0)
        qsort(reply->element, reply->elements / 2, 2 * sizeof(*reply->element), reply_compare);
}

/* What a dump says, as [name value …]. */
static struct item dump_items(struct arena *arena, struct view answer)
{
    struct dump dump;
    struct item list = {.type = ITEM_LIST};
    struct view name = {0}, value = {0};
    struct dump_stream stream;
    int64_t id, ms;
    double score;
    if (dump_stream_open(&stream, answer, arena)) {
        list.items = ARENA_ARRAY(arena, struct item, answer.len);
        for (; dump_entry(&stream, &ms, &value); list.count += 2) {
            list.items[list.count] = (struct item){.type = ITEM_TEXT, .text = arena_printf(arena, "%lld %zu", (long long)ms, list.count)};
            list.items[list.count + 1] = (struct item){.type = ITEM_TEXT, .text = value};
        }
        assert_true(dump_stream_ended(&stream));
        return list;
    }
    bool hash = dump_open(&dump, answer, DUMP_HASH, arena);
    assert_true(hash || dump_open(&dump, answer, DUMP_ZSET, arena));
    list.items = ARENA_ARRAY(arena, struct item, dump.left * 2);
    while (hash ? dump_field(&dump, &name, &value) : dump_member(&dump, &id, &score)) {
        list.items[list.count++] = (struct item){.type = ITEM_TEXT, .text = hash ? name : arena_printf(arena, "%lld", (long long)id)};
        list.items[list.count++] = (struct item){.type = ITEM_TEXT, .text = hash ? value : arena_printf(arena, "%.17g", score)};
    }
    assert_true(dump_ended(&dump));
    return list;
}

/* Redis chooses between encodings, so what must be equal is what they say. */
static void same_dump(struct pair *pair, const char *what, const struct item *item, redisReply *reply)
{
    if (item->type == ITEM_TEXT && reply->type == REDIS_REPLY_STRING) {
        struct item here = dump_items(pair->arena, item->text), there = dump_items(pair->arena, (struct view){reply->str, reply->len});
        if (here.count != there.count)
            fail_msg("%s: %zu and %zu pieces are dumped", what, here.count, there.count);
        qsort(here.items, here.count / 2, 2 * sizeof(*here.items), item_compare);
        qsort(there.items, there.count / 2, 2 * sizeof(*there.items), item_compare);
        for (size_t i = 0; i < here.count; i++)
            if (!view_equal(here.items[i].text, there.items[i].text))
                fail_msg("%s: %.*s and %.*s are dumped", what, VIEW_ARG(here.items[i].text), VIEW_ARG(there.items[i].text));
    } else if (item->type != ITEM_NIL || reply->type != REDIS_REPLY_NIL) {
        fail_msg("%s: only one is dumped", what);
    }
    freeReplyObject(reply);
}

static void print_reply(const redisReply *reply)
{
    if (reply->type == REDIS_REPLY_INTEGER)
        print_message(" %lld", reply->integer);
    else if (reply->type == REDIS_REPLY_NIL)
        print_message(" nil");
    else if (reply->type != REDIS_REPLY_ARRAY)
        print_message(" '%s'", reply->str);
    for (size_t i = 0; reply->type == REDIS_REPLY_ARRAY && i < reply->elements; i++)
        print_reply(reply->element[i]);
}

static void print_item(const struct item *item)
{
    if (item->type == ITEM_INT)
        print_message(" %lld", (long long)item->integer);
    else if (item->type == ITEM_NIL)
        print_message(" nil");
    else if (item->type != ITEM_LIST)
        print_message(" '%.*s'", VIEW_ARG(item->text));
    for (size_t i = 0; i < item->count; i++)
        print_item(&item->items[i]);
}

static void must_be_same(const char *what, const struct item *item, redisReply *reply)
{
    if (!same(item, reply)) {
        print_message("simulated:");
        print_item(item);
        print_message("\nreal:     ");
        print_reply(reply);
        fail_msg("%s: the answers differ", what);
    }
    freeReplyObject(reply);
}

/* ---- equal keys ---- */

struct comparison {
    struct keyspace_visitor visitor; /* first */
    struct pair *pair;
    int64_t now_ms;
    char name[300];
    enum key_kind kind;
    redisReply *there; /* what the real one has in the key, consumed item by item */
    size_t at, keys;
};

static void finish_key(struct comparison *comparison)
{
    if (comparison->there == NULL)
        return;
    if (comparison->at != (comparison->there->type == REDIS_REPLY_ARRAY ? comparison->there->elements : 1))
        fail_msg("%s: the real one has more in it (%zu of %zu)", comparison->name, comparison->at, comparison->there->elements);
    freeReplyObject(comparison->there);
    comparison->there = NULL;
}

static void compare_key(struct keyspace_visitor *visitor, struct view name, enum key_kind kind, int64_t expires_ms)
{
    static const char *const readers[] = {
        [KEY_STRING] = "GET %s", [KEY_HASH] = "HGETALL %s", [KEY_ZSET] = "ZRANGE %s 0 -1 WITHSCORES", [KEY_STREAM] = "XRANGE %s - +"};
    struct comparison *comparison = (struct comparison *)visitor;
    finish_key(comparison);
    snprintf(comparison->name, sizeof(comparison->name), "%.*s", VIEW_ARG(name));
    comparison->kind = kind;
    comparison->at = 0;
    comparison->keys++;
    comparison->there = ask_words(comparison->pair, readers[kind], comparison->name);
}

/* A hash's field may stand anywhere. */
static void compare_field(struct comparison *comparison, struct view name, struct view value)
{
    const redisReply *all = comparison->there;
    for (size_t i = 0; i + 1 < all->elements; i += 2) {
        struct view field = {all->element[i]->str, all->element[i]->len}, there = {all->element[i + 1]->str, all->element[i + 1]->len};
        if (!view_equal(field, name))
            continue;
        if (!view_equal(there, value))
            fail_msg("%s %.*s: simulated '%.*s', real '%.*s'", comparison->name, VIEW_ARG(name), VIEW_ARG(value), VIEW_ARG(there));
        comparison->at += 2;
        return;
    }
    fail_msg("%s: the real one has no field %.*s", comparison->name, VIEW_ARG(name));
}

static void compare_entry(struct comparison *comparison, struct view id, struct view text)
{
    char there[4096];
    int len = 0;
    assert_true(comparison->at < comparison->there->elements);
    const redisReply *entry = comparison->there->element[comparison->at++];
    assert_true(view_equal(id, (struct view){entry->element[0]->str, entry->element[0]->len}));
    for (size_t i = 0; i < entry->element[1]->elements; i++)
        len += snprintf(there + len, sizeof(there) - (size_t)len, "%s%s", i ? "|" : "", entry->element[1]->element[i]->str);
    assert_true(view_equal(text, (struct view){there, (size_t)len}));
}

static void compare_item(struct keyspace_visitor *visitor, struct view name, struct view value)
{
    struct comparison *comparison = (struct comparison *)visitor;
    const redisReply *there = comparison->there;
    if (comparison->kind == KEY_HASH) {
        compare_field(comparison, name, value);
    } else if (comparison->kind == KEY_STREAM) {
        compare_entry(comparison, name, value);
    } else if (comparison->kind == KEY_STRING) {
        assert_true(view_equal(value, (struct view){there->str, there->len}));
        comparison->at++;
    } else {
        assert_true(comparison->at + 1 < there->elements);
        assert_true(view_equal(value, view_of(there->element[comparison->at]->str)));
        assert_true(view_equal(name, view_of(there->element[comparison->at + 1]->str)));
        comparison->at += 2;
    }
}

/* ${others}: keys of the real one that are the test's. */
static void compare_all(struct pair *pair, const struct keyspace *keyspace, size_t others)
{
    struct comparison comparison = {.visitor = {compare_key, compare_item}, .pair = pair};
    keyspace_visit(keyspace, &comparison.visitor);
    finish_key(&comparison);
    redisReply *size = ask_words(pair, "DBSIZE");
    assert_int_equal(size->integer, comparison.keys + others);
    freeReplyObject(size);
}

/* ---- expiry ---- */

struct expiry {
    struct keyspace_visitor visitor; /* first */
    struct pair *pair;
};

/* Has the real key an expiry exactly when the simulated one has? Then it is taken away, and remembered. */
static void hold_on(struct keyspace_visitor *visitor, struct view name, enum key_kind kind, int64_t expires_ms)
{
    struct pair *pair = ((struct expiry *)visitor)->pair;
    char copied[120];
    if (expires_ms == 0)
        return;
    assert_true(pair->expiring_count < EXPIRING_MAX && name.len < sizeof(copied));
    snprintf(copied, sizeof(copied), "%.*s", VIEW_ARG(name));
    memcpy(pair->expiring[pair->expiring_count].name, copied, sizeof(copied));
    pair->expiring[pair->expiring_count++].at_ms = expires_ms;
    do_words(pair, "PERSIST %s", copied);
}

static void forget_expired(struct pair *pair, int64_t now_ms)
{
    for (size_t i = 0; i < pair->expiring_count; i++)
        if (pair->expiring[i].at_ms <= now_ms)
            do_words(pair, "DEL %s", pair->expiring[i].name);
    pair->expiring_count = 0;
}

/* No key of the real one has an expiry that the simulated one had not. */
static void compare_expiry(struct pair *pair, const struct keyspace *keyspace)
{
    struct expiry expiry = {.visitor = {.key = hold_on}, .pair = pair};
    redisReply *before = ask_words(pair, "INFO keyspace");
    const char *expires = strstr(before->str, "expires=");
    keyspace_visit(keyspace, &expiry.visitor);
    redisReply *after = ask_words(pair, "INFO keyspace");
    if (expires && strtol(expires + strlen("expires="), NULL, 10) > (long)pair->expiring_count)
        fail_msg("the real one has more keys with an expiry");
    if (strstr(after->str, "expires=0") == NULL)
        fail_msg("a key of the real one has an expiry that the simulated one has not");
    freeReplyObject(before);
    freeReplyObject(after);
}

/* ---- histories ---- */

static void set_clock(struct pair *pair, int64_t now_us)
{
    freeReplyObject(ask_words(pair, "HSET sim:time s %lld us %lld ms %lld", (long long)(now_us / 1000000), (long long)(now_us % 1000000),
                              (long long)(now_us / 1000)));
}

static redisReply *call_real(struct pair *pair, const struct call *call, int64_t limit_ms)
{
    struct view argv[300];
    char name[64], keys[16], limit[24];
    size_t argc = 0;
    struct view part;
    if (call->function) {
        argv[argc++] = VIEW("FCALL");
        argv[argc++] = (struct view){name, (size_t)snprintf(name, sizeof(name), "%s_%s", call->function->name, pair->hash)};
        argv[argc++] = (struct view){keys, (size_t)snprintf(keys, sizeof(keys), "%u", call->keys)};
    }
    for (unsigned n = 0; (part = call_part(call, n)).at; n++)
        argv[argc++] = part;
    if (call->function && call->function->writes) {
        argv[argc++] = VIEW("1");
        argv[argc++] = (struct view){limit, (size_t)snprintf(limit, sizeof(limit), "%lld", (long long)limit_ms)};
    }
    return ask(pair, argc, argv);
}

static void watch(void *cookie, struct shard_sim *shard, const struct call *call, int64_t limit_ms, const struct item *root)
{
    struct pair *pair = cookie;
    char what[100];
    forget_expired(pair, shard_sim_now_ms(shard));
    set_clock(pair, shard_sim_now_us(shard));
    redisReply *reply = call_real(pair, call, limit_ms);
    compare_expiry(pair, shard_sim_keyspace(shard));
    snprintf(what, sizeof(what), "call %llu, %s", (unsigned long long)++pair->calls, call->function ? call->function->name : "a command");
    struct view command = call->function ? VIEW("FCALL") : call_part(call, 0);
    if (view_equal(command, VIEW("HGETALL")))
        sort_pairs((struct item *)root, reply);
    if (view_equal(command, VIEW("DUMP")))
        same_dump(pair, what, root, reply);
    else
        must_be_same(what, root, reply);
    if (pair->calls % 200 == 0)
        compare_all(pair, shard_sim_keyspace(shard), 1);
}

static void copy_to_real(struct pair *pair, struct shard_sim *shard);

static void run_history(struct pair *pair, uint64_t seed)
{
    const struct fleet_settings settings = {
        .seed = seed,
        .workers = {1, 2, 1},
        .sweep_ms = 2000,
        .faults = {.worker_death_ms = 2000, .worker_pause_ms = 2000, .cut_ms = 500, .gateway_lost = 200, .gateway_late = 100},
        .watch = watch,
        .watch_cookie = pair,
    };
    struct shop shop;
    struct fleet *fleet = fleet_new(1, 16, pair->library);
    do_words(pair, "FLUSHALL", NULL);
    do_words(pair, "FUNCTION FLUSH", NULL); /* the library's clock never runs backwards, so a new history needs a new one */
    load_library(pair);
    pair->expiring_count = 0;
    fleet_begin(fleet, &settings);
    copy_to_real(pair, fleet_shard(fleet, 0));
    shop_open(&shop, fleet, 60, 50);
    fleet_plan(fleet, &settings.faults);
    while (fleet_go(fleet, fleet_now_us(fleet) + 1000000) || fleet_now_us(fleet) < INT64_C(1700000030000000))
        if (fleet_now_us(fleet) > INT64_C(1700000030000000))
            break;
    compare_all(pair, shard_sim_keyspace(fleet_shard(fleet, 0)), 1);
    assert_string_equal(fleet_wrong(fleet), "");
    shop_close(&shop);
    fleet_end(fleet);
    fleet_free(fleet);
}

static void test_histories(void **state)
{
    struct pair *pair = *state;
    for (uint64_t seed = 1; seed <= 8; seed++)
        run_history(pair, seed);
    unsigned compiled = lua_library_compiled(pair->library);
    print_message("%llu calls had the same answers, by %u compiled traces\n", (unsigned long long)pair->calls, compiled);
    assert_true(compiled > 100); /* what is compared is what the simulator runs */
    assert_true(pair->calls > 2000);
}

/* What a shard has before anything is done. */
struct copying {
    struct keyspace_visitor visitor; /* first */
    struct pair *pair;
    char name[300];
    enum key_kind kind;
};

static void copy_key(struct keyspace_visitor *visitor, struct view name, enum key_kind kind, int64_t expires_ms)
{
    struct copying *copying = (struct copying *)visitor;
    snprintf(copying->name, sizeof(copying->name), "%.*s", VIEW_ARG(name));
    copying->kind = kind;
}

static void copy_item(struct keyspace_visitor *visitor, struct view name, struct view value)
{
    struct copying *copying = (struct copying *)visitor;
    const char *bar = memchr(value.at, '|', value.len);
    struct view key = view_of(copying->name);
    if (copying->kind == KEY_HASH) {
        freeReplyObject(ask(copying->pair, 4, (struct view[]){VIEW("HSET"), key, name, value}));
    } else if (copying->kind == KEY_ZSET) {
        freeReplyObject(ask(copying->pair, 4, (struct view[]){VIEW("ZADD"), key, name, value}));
    } else {
        assert_int_equal(copying->kind, KEY_STREAM);
        struct view field = {value.at, (size_t)(bar - value.at)}, text = {bar + 1, value.len - field.len - 1};
        freeReplyObject(ask(copying->pair, 5, (struct view[]){VIEW("XADD"), key, name, field, text}));
    }
}

static void copy_to_real(struct pair *pair, struct shard_sim *shard)
{
    struct copying copying = {.visitor = {copy_key, copy_item}, .pair = pair};
    keyspace_visit(shard_sim_keyspace(shard), &copying.visitor);
    set_clock(pair, shard_sim_now_us(shard));
}

/* ---- commands ---- */

#define COMMANDS 20000
#define NOW_US INT64_C(1700000000000000)

/* Arguments that meet each other: few keys, few fields. */
static struct view some(struct random *random, char out[32], const char *prefix, unsigned of)
{
    return (struct view){out, (size_t)snprintf(out, 32, "%s%u", prefix, (unsigned)random_below(random, of))};
}

/* Lines of words; h z s name keys of a kind, f a field, m a member, n a number, r an end of a range, v a value. */
static const char *const LINES[] = {
    "HSET h f v",
    "HSET h f v f v",
    "HGET h f",
    "HMGET h f f f",
    "HGETALL h",
    "HDEL h f",
    "HDEL h f f",
    "HINCRBY h i n",
    "HLEN h",
    "DUMP h",
    "DUMP z",
    "DUMP x",
    "HSCAN h 0 COUNT 1000",
    "ZADD z n m",
    "ZADD z n m n m",
    "ZADD z n m n",
    "ZADD z n m",
    "ZREM z m",
    "ZREM z m m",
    "ZSCORE z m",
    "ZMSCORE z m m m",
    "ZCARD z",
    "ZRANGEBYSCORE z r r",
    "ZRANGEBYSCORE z r r WITHSCORES",
    "ZRANGEBYSCORE z r r LIMIT n n",
    "ZREVRANGEBYSCORE z r r WITHSCORES LIMIT n n",
    "SET s v",
    "GET s",
    "DEL s",
    "DEL h",
    "DEL z s",
    "EXISTS h z s",
    "EXISTS s",
    "PERSIST h",
    "XADD x t f v",
    "XADD x t f v f v",
    "XRANGE x - +",
    "XRANGE x n + COUNT 3",
    "XLEN x",
    "HGET z f",
    "ZCARD h",
    "GET h",
    "HSET z f v",
    "ZADD h n m",
    "HGETALL z",
    "ZRANGEBYSCORE h r r",
};

static struct view word_for(struct random *random, const char *word, char out[32])
{
    static const char *const ends[] = {"-inf", "+inf", "(3", "5", "(7", "0", "-2", "12", "2.5"};
    if (strlen(word) != 1)
        return view_of(word);
    switch (word[0]) {
    case 'h':
        return some(random, out, "hash", 3);
    case 'z':
        return some(random, out, "zset", 3);
    case 's':
        return some(random, out, "string", 3);
    case 'f':
        return some(random, out, "field", 60);
    case 'i':
        return some(random, out, "count", 3);
    case 'm':
        return some(random, out, "", 40); /* all of ours are ids */
    case 'v':
        return some(random, out, "value", 1000);
    case 'r':
        return view_of(ends[random_below(random, sizeof(ends) / sizeof(*ends))]);
    case 'n':
        return some(random, out, "", 14);
    case 't':
        return (struct view){out, (size_t)snprintf(out, 32, "%u-*", 1 + (unsigned)random_below(random, 40))};
    }
    return view_of(word);
}

static void run_line(struct pair *pair, struct keyspace *keyspace, struct random *random, const char *line)
{
    struct view argv[16];
    char copied[100], outs[16][32], *save = NULL;
    size_t argc = 0;
    struct item *root = ARENA_NEW(pair->arena, struct item);
    struct item_sink sink;
    snprintf(copied, sizeof(copied), "%s", line);
    for (char *word = strtok_r(copied, " ", &save); word; word = strtok_r(NULL, " ", &save), argc++) {
        struct view text = word_for(random, word, outs[argc]);
        argv[argc] = arena_copy(pair->arena, text);
    }
    item_sink_init(&sink, pair->arena, root);
    keyspace_run(keyspace, NOW_US, argc, argv, &sink.sink);
    redisReply *reply = ask(pair, argc, argv);
    if (strncmp(line, "HGETALL", 7) == 0)
        sort_pairs(root, reply);
    if (strncmp(line, "HSCAN", 5) == 0 && root->type == ITEM_LIST)
        sort_pairs(&root->items[1], reply->element[1]);
    if (strncmp(line, "DUMP", 4) == 0)
        same_dump(pair, line, root, reply);
    else
        must_be_same(line, root, reply);
}

static void test_commands(void **state)
{
    struct pair *pair = *state;
    struct random random = {7};
    struct keyspace *keyspace = keyspace_new();
    do_words(pair, "FLUSHALL", NULL);
    for (unsigned i = 0; i < COMMANDS; i++) {
        run_line(pair, keyspace, &random, LINES[random_below(&random, sizeof(LINES) / sizeof(*LINES))]);
        if (i % 1000 == 0)
            compare_all(pair, keyspace, 0);
    }
    compare_all(pair, keyspace, 0);
    keyspace_free(keyspace);
}

/* ---- back ---- */

static void run_alone(struct keyspace *keyspace, struct random *random, struct arena *arena)
{
    struct view argv[16];
    char copied[100], outs[16][32], *save = NULL;
    size_t argc = 0;
    struct item_sink sink;
    snprintf(copied, sizeof(copied), "%s", LINES[random_below(random, sizeof(LINES) / sizeof(*LINES))]);
    for (char *word = strtok_r(copied, " ", &save); word; word = strtok_r(NULL, " ", &save), argc++)
        argv[argc] = arena_copy(arena, word_for(random, word, outs[argc]));
    item_sink_init(&sink, arena, ARENA_NEW(arena, struct item));
    keyspace_run(keyspace, NOW_US, argc, argv, &sink.sink);
}

#define DEPTH 40
static void test_back(void **state)
{
    struct random random = {11};
    struct keyspace *keyspace = keyspace_new();
    for (unsigned round = 0; round < 200; round++) {
        struct arena *arena = arena_new();
        struct keyspace_mark marks[DEPTH];
        struct hash128 digests[DEPTH];
        for (unsigned i = 0; i < DEPTH; i++) {
            marks[i] = keyspace_mark(keyspace);
            digests[i] = keyspace_digest(keyspace);
            for (unsigned n = 0; n < 10; n++)
                run_alone(keyspace, &random, arena);
        }
        unsigned to = (unsigned)random_below(&random, DEPTH);
        for (unsigned i = DEPTH; i-- > to;) {
            keyspace_back(keyspace, marks[i]);
            struct hash128 now = keyspace_digest(keyspace);
            assert_true(now.high == digests[i].high && now.low == digests[i].low);
        }
        keyspace_settle(keyspace);
        arena_free(arena);
    }
    keyspace_free(keyspace);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_commands),
        cmocka_unit_test(test_histories),
        cmocka_unit_test(test_back),
    };
    return cmocka_run_group_tests(tests, pair_setup, pair_teardown);
}
