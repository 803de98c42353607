#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "functions.h"

#include "lua_host.h"
#include "shoppers.h"

/*
 * Each command of each function fails in turn. Redis takes back nothing of a function that fails in its middle, so a function either fails without
 * having changed a byte, or goes on and answers and leaves what it would have without the failure.
 *
 * What can fail in a Redis 7, and what is done about it here:
 *   for Redis' own reasons (memory, its disk, its replicas): nothing behind the first write, where it does not ask for them any more. Each command up
 *       to the first write is refused once
 *   a key of another kind (WRONGTYPE): each read is refused once, also behind the first write, but for those there whose key the same call has met as
 *       that kind before. Most writes are the first to meet their key, and no order of them would help; so all commands of all functions must use a
 *       pattern of keys as one kind. What is left is a key that somebody else has made
 *   a bad argument: it would be made of something that was read and is not there. So each read finds nothing once. A function may answer as it likes
 *       to that, but if it fails, it must not have written. A record that lacks some of its fields is not made here: each is written whole
 *   an event's id that is behind its stream's last: XADD is refused, behind writes, and events.add catches that. So each write behind the first is
 *       refused once too: what is caught must be mended
 *   NOPERM: tests/lua calls every function as the shipped user who may call it
 *
 *   history, row ─▶ before ─▶ look_at: which commands are there? ─ a new row of commands ─▶ try_faults: again with each fault, taken back each time
 */
#define COMMANDS_MAX 2000
#define SITUATIONS_MAX 2000
#define SITUATION_TIMES 3 /* that one was looked at; its values differ each time */
#define PATTERNS_MAX 64
#define PATTERN_MAX 64

struct command {
    struct view name, key;
    char pattern[PATTERN_MAX]; /* of the key */
    enum key_kind kind;
    bool reads;
    bool late;  /* behind the first write */
    bool known; /* this call has met its key as this kind before */
};

enum fault { FAULT_NONE, FAULT_REFUSED, FAULT_NOTHING };
static const char *const FAULTS[] = {[FAULT_REFUSED] = "is refused", [FAULT_NOTHING] = "finds nothing"};

/* One call as a shard is about to carry it out. ${fresh}: by a process that has just begun, and must look what time was told before. */
struct occasion {
    struct shard_sim *shard;
    const struct call *call;
    int64_t limit_ms;
    bool fresh;
};

/* How it ends without a fault: the answer, and the store before and behind it. */
struct whole {
    const struct item *answer;
    struct hash128 before, behind;
};

#define FUNCTION_ROW(id, name, writes, changes) &FN_##id,
static const struct function *const ALL[] = {FUNCTIONS(FUNCTION_ROW)};
#define FUNCTION_COUNT (sizeof(ALL) / sizeof(*ALL))

struct broken {
    struct lua_tap tap; /* first */
    struct lua_library *library;
    struct lua_host *host;
    struct arena *arena; /* of one occasion */
    /* the run under way */
    enum fault fault;
    unsigned at, count; /* the command that fails, from 1; those so far */
    /* the occasion's run without a fault */
    struct command commands[COMMANDS_MAX];
    unsigned command_count;
    bool wrote;
    /* all of them */
    struct {
        uint64_t name;
        unsigned times;
    } situations[SITUATIONS_MAX];
    struct {
        char name[PATTERN_MAX];
        enum key_kind kind;
    } patterns[PATTERNS_MAX];
    unsigned situation_count, pattern_count, failures;
    unsigned written[FUNCTION_COUNT]; /* how often each has written */
};

/* ---- commands ---- */

/* What is the same in all keys of one sort: the words without a digit. "orders:{3}:in:paid:none" is "orders:in:paid:none", "order:{3}:19" "order". */
static void pattern_of(struct view key, char out[PATTERN_MAX])
{
    size_t used = 0;
    for (size_t at = 0, end; at < key.len; at = end + 1) {
        bool plain = true;
        for (end = at; end < key.len && key.at[end] != ':'; end++)
            plain = plain && (key.at[end] < '0' || key.at[end] > '9');
        if (plain)
            used += (size_t)snprintf(out + used, PATTERN_MAX - used, "%s%.*s", used ? ":" : "", (int)(end - at), key.at + at);
        assert_true(used < PATTERN_MAX);
    }
}

static bool is_known(const struct broken *broken, struct view key, enum key_kind kind)
{
    for (unsigned i = 0; i < broken->command_count; i++)
        if (kind != KEY_NONE && broken->commands[i].kind == kind && view_equal(broken->commands[i].key, key))
            return true;
    return false;
}

static void record(struct broken *broken, size_t argc, const struct view *argv)
{
    assert_true(broken->command_count < COMMANDS_MAX);
    struct command command = {
        .name = arena_copy(broken->arena, argv[0]),
        .key = argc > 1 ? arena_copy(broken->arena, argv[1]) : VIEW(""),
        .kind = keyspace_kind(argv[0]),
        .reads = keyspace_reads(argv[0]),
        .late = broken->wrote,
    };
    command.known = is_known(broken, command.key, command.kind);
    pattern_of(command.key, command.pattern);
    broken->wrote |= !command.reads;
    broken->commands[broken->command_count++] = command;
}

static bool tapped(struct lua_tap *tap, size_t argc, struct view *argv, struct sink *sink)
{
    struct broken *broken = (struct broken *)tap;
    bool reads = keyspace_reads(argv[0]);
    if (broken->fault == FAULT_NONE)
        record(broken, argc, argv);
    if (++broken->count != broken->at)
        return false;
    if (broken->fault == FAULT_NOTHING) {
        argv[1] = VIEW("nothing");
        return false;
    }
    sink->error(sink, reads ? "WRONGTYPE Operation against a key holding the wrong kind of value"
                            : "OOM command not allowed when used memory > 'maxmemory'.");
    return true;
}

/* ---- runs ---- */

/* The call with this fault at its ${at}-th command. What it does is the caller's to take back. */
static const struct item *run(struct broken *broken, const struct occasion *occasion, enum fault fault, unsigned at)
{
    broken->fault = fault;
    broken->at = at;
    broken->count = 0;
    if (occasion->fresh)
        lua_host_restart(broken->host);
    else
        lua_host_has_told(broken->host, shard_sim_now_us(occasion->shard) - 1);
    return shard_sim_try(occasion->shard, broken->host, occasion->call, occasion->limit_ms, broken->arena);
}

/* Without a fault: which commands are there? */
static const struct item *run_whole(struct broken *broken, const struct occasion *occasion)
{
    broken->command_count = 0;
    broken->wrote = false;
    return run(broken, occasion, FAULT_NONE, 0);
}

static bool same_digest(struct hash128 a, struct hash128 b)
{
    return a.high == b.high && a.low == b.low;
}

static bool same_answer(const struct item *a, const struct item *b)
{
    bool same = a->type == b->type && a->count == b->count && view_equal(a->text, b->text) && a->integer == b->integer;
    for (size_t i = 0; same && i < a->count; i++)
        same = same_answer(&a->items[i], &b->items[i]);
    return same;
}

/* Is the store as before? It need not be looked at where nothing was written, as almost every time. */
static bool is_as_before(struct keyspace *keyspace, struct keyspace_mark mark, const struct whole *whole)
{
    struct keyspace_mark now = keyspace_mark(keyspace);
    return (now.notes == mark.notes && now.top == mark.top) || same_digest(keyspace_digest(keyspace), whole->before);
}

/* What is wrong with a call that has ended in an error at ${command}, or behind it; NULL: nothing. */
static const char *wrong_with_error(const struct command *command, struct keyspace *keyspace, struct keyspace_mark mark, const struct whole *whole)
{
    bool late_write = command->late && !command->reads;
    return late_write || is_as_before(keyspace, mark, whole) ? NULL : "it fails, and what it had written stays";
}

/* The same of one that has ended with ${answer} although ${command} was refused. */
static const char *wrong_with_answer(const struct broken *broken, const struct command *command, const struct item *answer,
                                     const struct keyspace *keyspace, const struct whole *whole)
{
    if (!same_answer(answer, whole->answer))
        return "it goes on, and answers otherwise";
    if (view_equal(command->name, VIEW("XADD"))) /* done again, the entry has another id */
        return broken->count > broken->command_count ? NULL : "it goes on without it";
    return same_digest(keyspace_digest(keyspace), whole->behind) ? NULL : "it goes on, and leaves another store";
}

static void try_fault(struct broken *broken, const struct occasion *occasion, enum fault fault, unsigned number, const struct whole *whole)
{
    const struct command *command = &broken->commands[number - 1];
    struct keyspace *keyspace = shard_sim_keyspace(occasion->shard);
    struct keyspace_mark mark = keyspace_mark(keyspace);
    const char *wrong = NULL;
    const struct item *answer = run(broken, occasion, fault, number);
    if (answer->type == ITEM_ERROR)
        wrong = wrong_with_error(command, keyspace, mark, whole);
    else if (fault == FAULT_REFUSED)
        wrong = wrong_with_answer(broken, command, answer, keyspace, whole);
    keyspace_back(keyspace, mark);
    broken->failures++;
    if (wrong)
        fail_msg("%s: when its command %u, %.*s %.*s, %s, %s", occasion->call->function->name, number, VIEW_ARG(command->name),
                 VIEW_ARG(command->key), FAULTS[fault], wrong);
}

static struct whole weigh(struct broken *broken, const struct occasion *occasion)
{
    struct keyspace *keyspace = shard_sim_keyspace(occasion->shard);
    struct keyspace_mark mark = keyspace_mark(keyspace);
    struct whole whole = {.answer = run_whole(broken, occasion)};
    whole.behind = keyspace_digest(keyspace);
    keyspace_back(keyspace, mark);
    whole.before = keyspace_digest(keyspace); /* by now what had expired is gone, which is no change of the function's */
    return whole;
}

static void try_faults(struct broken *broken, const struct occasion *occasion)
{
    const struct whole whole = weigh(broken, occasion);
    for (unsigned number = 1; number <= broken->command_count; number++) {
        const struct command *command = &broken->commands[number - 1];
        if (!(command->late && command->reads && command->known))
            try_fault(broken, occasion, FAULT_REFUSED, number, &whole);
        if (command->reads && command->key.len > 0)
            try_fault(broken, occasion, FAULT_NOTHING, number, &whole);
    }
}

/* ---- kinds of keys ---- */

static void check_kind(struct broken *broken, const struct function *function, const struct command *command)
{
    unsigned at = 0;
    if (command->kind == KEY_NONE)
        return;
    while (at < broken->pattern_count && strcmp(broken->patterns[at].name, command->pattern) != 0)
        at++;
    if (at == broken->pattern_count) {
        assert_true(broken->pattern_count++ < PATTERNS_MAX);
        memcpy(broken->patterns[at].name, command->pattern, PATTERN_MAX);
        broken->patterns[at].kind = command->kind;
    }
    if (broken->patterns[at].kind != command->kind)
        fail_msg("%s: %.*s %.*s can be refused, since others use %s as another kind", function->name, VIEW_ARG(command->name), VIEW_ARG(command->key),
                 command->pattern);
}

/* ---- situations ---- */

/* A situation is the row of commands that a call leads to. */
static uint64_t situation_of(const struct broken *broken, const struct function *function)
{
    uint64_t name = hash128(view_of(function->name), 0).high;
    for (unsigned i = 0; i < broken->command_count; i++) {
        const struct command *command = &broken->commands[i];
        name = (name ^ hash128(command->name, 1).high) * 31 + hash128(view_of(command->pattern), 2).low;
    }
    return name;
}

static bool is_new(struct broken *broken, uint64_t name)
{
    unsigned at = 0;
    while (at < broken->situation_count && broken->situations[at].name != name)
        at++;
    if (at == broken->situation_count)
        assert_true(broken->situation_count++ < SITUATIONS_MAX);
    broken->situations[at].name = name;
    return broken->situations[at].times++ < SITUATION_TIMES;
}

static void look_at(struct broken *broken, const struct occasion *occasion)
{
    const struct function *function = occasion->call->function;
    struct keyspace_mark mark = keyspace_mark(shard_sim_keyspace(occasion->shard));
    broken->arena = arena_new();
    run_whole(broken, occasion);
    keyspace_back(shard_sim_keyspace(occasion->shard), mark);
    for (unsigned i = 0; i < broken->command_count; i++)
        check_kind(broken, function, &broken->commands[i]);
    for (size_t i = 0; i < FUNCTION_COUNT; i++)
        broken->written[i] += broken->wrote && ALL[i] == function;
    if (is_new(broken, situation_of(broken, function)))
        try_faults(broken, occasion);
    arena_free(broken->arena);
}

static void before(void *cookie, struct shard_sim *shard, const struct call *call, int64_t limit_ms)
{
    struct occasion occasion = {.shard = shard, .call = call, .limit_ms = limit_ms};
    if (call->function == NULL || !call->function->writes)
        return;
    look_at(cookie, &occasion);
    occasion.fresh = true;
    look_at(cookie, &occasion);
}

/* ---- histories ---- */

#define HISTORIES 6
#define HISTORY_US INT64_C(40000000)
#define DAY_US INT64_C(90000000000) /* 25 h: keys of placed orders are pruned */

static void go_on(struct fleet *fleet, int64_t us)
{
    int64_t until_us = fleet_now_us(fleet) + us;
    while (fleet_go(fleet, until_us))
        ;
    assert_string_equal(fleet_wrong(fleet), "");
}

static void run_history(struct broken *broken, uint64_t seed)
{
    const struct fleet_settings settings = {
        .seed = seed,
        .workers = {1, 2, 1},
        .sweep_ms = 2000,
        .faults = {.worker_death_ms = 2000, .worker_pause_ms = 2000, .cut_ms = 500, .gateway_lost = 200, .gateway_late = 100},
        .before = before,
        .watch_cookie = broken,
    };
    struct shop shop;
    struct fleet *fleet = fleet_new(1, 16, broken->library);
    fleet_begin(fleet, &settings);
    shop_open(&shop, fleet, 60, 50);
    go_on(fleet, HISTORY_US);
    fleet_plan(fleet, NULL);
    go_on(fleet, HISTORY_US);
    fleet_sweep_every(fleet, 600000);
    go_on(fleet, DAY_US);
    shop_close(&shop);
    fleet_end(fleet);
    fleet_free(fleet);
}

/* ---- the catalogue ---- */

/* Calls that the shoppers do not make. A word of ${args} is an argument, "-" an empty one. */
#define HASH "0123456789abcdef0123456789abcde"
#define KEY(n) "idem:{1}:" HASH n
#define FP "fedcba9876543210"
#define TXN HASH "0." FP ".1"
static const struct row {
    const struct function *function;
    const char *key, *args;
    int code;
} ROWS[] = {
    {&FN_PRODUCT_CREATE, KEY("1"), "1 " FP " doc 5", CODE_OK}, /* it is 17 */
    {&FN_PRODUCT_CREATE, KEY("1"), "1 " FP " doc 5", CODE_REPLAY},
    {&FN_PRODUCT_PUT, "product:{1}:33", "1 33 create - doc 5", CODE_OK}, /* the sequence goes along */
    {&FN_PRODUCT_PUT, "product:{1}:65", "1 65 create - doc 0", CODE_OK},
    {&FN_PRODUCT_PUT, "product:{1}:33", "1 33 create - doc 5", CODE_STALE},
    {&FN_PRODUCT_PUT, "product:{1}:33", "1 33 replace * other -", CODE_OK},
    {&FN_PRODUCT_PUT, "product:{1}:33", "1 33 replace 9 other -", CODE_STALE},
    {&FN_PRODUCT_PUT, "product:{1}:49", "1 49 replace * other -", CODE_NOT_FOUND},
    {&FN_PRODUCT_CREATE, KEY("2"), "1 " FP " doc 5", CODE_OK}, /* 49 */
    {&FN_PRODUCT_CREATE, KEY("3"), "1 " FP " doc 5", CODE_OK}, /* 81, since there is a 65 */
    {&FN_PRODUCT_REPLACE, "products:{1}", "1 17 1 other 33 1 other 97 1 other 49 1 other", CODE_OK},
    {&FN_TRY, "stock:{1}:33", "1 33 " TXN " 2 1 60000 0", CODE_OK},
    {&FN_PRODUCT_DELETE, "product:{1}:33", "1 33 *", CODE_HELD},
    {&FN_RELEASE, "stock:{1}:33", "1 33 " TXN " -1 -", CODE_OK},
    {&FN_PRODUCT_DELETE, "product:{1}:33", "1 33 1", CODE_STALE},
    {&FN_PRODUCT_DELETE, "product:{1}:33", "1 33 *", CODE_OK},
    {&FN_PRODUCT_DELETE, "product:{1}:33", "1 33 *", CODE_NOT_FOUND},
    {&FN_PRODUCT_PUT, "product:{1}:33", "1 33 create - doc 5", CODE_OK}, /* there is a mark of the former one */
    {&FN_PRODUCT_DELETE, "product:{1}:33", "1 33 *", CODE_OK},
    {&FN_IMPORT_BEGIN, KEY("4"), "1 " FP, CODE_OK},
    {&FN_IMPORT, KEY("5"), "1 " FP " - doc 5 - doc - 129 doc 3", CODE_OK}, /* of none of them there is anything */
    {&FN_IMPORT, KEY("5"), "1 " FP " - doc 5 - doc - 129 doc 3", CODE_REPLAY},
    {&FN_IMPORT, KEY("6"), "1 " FP " 33 doc 5 17 other - 65 doc 1 - doc 2", CODE_OK}, /* made again, replaced, left alone, new */
    {&FN_STOCK_ADJUST, KEY("7"), "1 " FP " 17 set 9 5 count r-1", CODE_OK},
    {&FN_STOCK_ADJUST, KEY("8"), "1 " FP " 17 delta -10 - count r-1", CODE_REFUSED},
    {&FN_STOCK_ADJUST, KEY("8"), "1 " FP " 17 delta -10 - count r-1", CODE_REFUSED},
    {&FN_SETTLE, KEY("9"), "1 " FP " 1", CODE_OK},
};

static struct call *row_call(struct arena *arena, const struct row *row)
{
    struct call *call = call_function(arena, row->function, 1);
    call_key(call, view_of(row->key));
    for (const char *at = row->args; *at;) {
        struct view word = {at, strcspn(at, " ")};
        call_arg(call, view_equal(word, VIEW("-")) ? VIEW("") : word);
        at += word.len + (at[word.len] == ' ');
    }
    return call;
}

static void run_row(struct broken *broken, struct fleet *fleet, const struct row *row)
{
    struct arena *arena = arena_new();
    struct call *call = row_call(arena, row);
    struct shard_sim *shard = fleet_shard(fleet, 0);
    before(broken, shard, call, shard_sim_now_ms(shard) + 1);
    const struct item *answer = fleet_do(fleet, call, arena);
    if (answer->type != ITEM_LIST || item_int(item_at(answer, 0)) != row->code)
        fail_msg("row %zu of the catalogue, %s, is answered otherwise", (size_t)(row - ROWS), row->function->name);
    arena_free(arena);
}

static void run_catalogue(struct broken *broken)
{
    const struct fleet_settings settings = {.seed = 1, .workers = {1, 1, 1}, .sweep_ms = 2000};
    struct fleet *fleet = fleet_new(1, 16, broken->library);
    fleet_begin(fleet, &settings);
    for (size_t i = 0; i < sizeof(ROWS) / sizeof(*ROWS); i++)
        run_row(broken, fleet, &ROWS[i]);
    fleet_end(fleet);
    fleet_free(fleet);
}

/* ---- all of them ---- */

static void test_every_command_fails(void **state)
{
    struct broken *broken = *state;
    run_catalogue(broken);
    for (uint64_t seed = 1; seed <= HISTORIES; seed++)
        run_history(broken, seed);
    for (size_t i = 0; i < FUNCTION_COUNT; i++)
        if (ALL[i]->writes && broken->written[i] == 0)
            fail_msg("%s has not written once: this test needs a history or a row in which it does", ALL[i]->name);
    print_message("%u failures in %u situations\n", broken->failures, broken->situation_count);
    assert_true(broken->failures > 2000);
}

static int setup(void **state)
{
    struct broken *broken = calloc(1, sizeof(*broken));
    assert_non_null(broken);
    broken->tap.command = tapped;
    broken->library = shard_sim_library(NULL);
    broken->host = lua_host_new(broken->library);
    lua_host_tap(broken->host, &broken->tap);
    *state = broken;
    return 0;
}

static int teardown(void **state)
{
    struct broken *broken = *state;
    lua_host_free(broken->host);
    lua_library_free(broken->library);
    free(broken);
    arena_thread_end();
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test_setup_teardown(test_every_command_fails, setup, teardown)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
