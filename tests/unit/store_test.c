#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include <arpa/inet.h>
#include <cmocka.h>

#include "clock.h"
#include "log.h"
#include "loop.h"
#include "redis_fixture.h"
#include "store.h"

/*
 * The store against real servers. Every test has a world: one redis-server that is shard s1, a loop, and probes, which are calls that note what
 * became of them.
 */
#define PARTITIONS 16
#define BEHIND_MS 300
#define PROBES_MAX (STORE_INFLIGHT_MAX + 1000)
#define SOON_MS 10000

static const char LIBRARY_TEXT[] =
    "#!lua name=tiny_h1\n"
    "redis.register_function('put_h1', function(keys, args)\n"
    "    if args[#args - 1] ~= redis.call('HGET', 'souk:shard', 'epoch') then return {1} end\n"
    "    redis.call('SET', keys[1], args[1])\n"
    "    return {0, args[1], #args}\n"
    "end)\n"
    "redis.register_function('args_h1', function(keys, args) return {0, #keys, args} end)\n"
    "redis.register_function('code_h1', function(keys, args) return {tonumber(args[1])} end)\n"
    "redis.register_function('boom_h1', function(keys, args) redis.call('SET', keys[1], 'x') local x = nil return x.y end)\n"
    "redis.register_function('type_h1', function(keys, args) redis.call('SET', keys[1], 'x') return redis.call('HGET', keys[1], 'f') end)\n"
    "redis.register_function('shape_h1', function(keys, args) return 'fine' end)\n"
    "redis.register_function{function_name='get_h1', flags={'no-writes'}, callback=function(keys, args)\n"
    "    return {0, redis.call('GET', keys[1]), #args}\n"
    "end}\n";

static const struct function PUT = {"put", true, NULL}, ARGS = {"args", true, NULL}, CODE = {"code", true, NULL}, BOOM = {"boom", true, NULL};
static const struct function WRONG = {"type", true, NULL}, SHAPE = {"shape", true, NULL}, NOT_THERE = {"nosuch", true, NULL};
static const struct function GET = {"get", false, NULL}, PUT_READING = {"put", false, NULL};

struct probe {
    struct call *call;
    unsigned done;  /* how often it completed */
    unsigned order; /* it was the n-th to complete */
    enum reply_kind kind;
    int code;
    char why[128], text[64];
    int64_t number, after_ms;
};

struct world {
    struct redis_fixture *redis, *replica;
    struct loop *loop;
    struct store *store, *other; /* ${other}: of a second worker, in one test */
    struct topology *topology;
    struct arena *arena;
    struct loop_timer *timer;
    bool (*met)(struct world *world);
    bool late, sending;
    struct probe *probes;
    unsigned probe_count, done_count;
    struct library libraries[1];
    struct store_settings settings;
    /* What single tests note. */
    struct view last_args[4];
    unsigned last_arg_count, links_left;
    const char *wanted_state;
    /* A server of our own that says what it is told to. */
    int listener, accepted;
    struct loop_watch *listening;
    const char *script;
};

/* Waiting. */

static bool got_turn(void *cookie)
{
    struct world *world = cookie;

    if (world->met && world->met(world)) {
        world->met = NULL;
        loop_stop(world->loop);
    }
    return false;
}

static void got_late(void *cookie)
{
    struct world *world = cookie;

    world->late = true;
    loop_stop(world->loop);
}

static bool run_until(struct world *world, bool (*met)(struct world *world), int64_t ms)
{
    world->met = met;
    world->late = false;
    loop_timer_set(world->timer, ms);
    loop_run(world->loop);
    loop_timer_clear(world->timer);
    return !world->late;
}

static bool is_ready(struct world *world)
{
    return store_all_ready(world->store) && (!world->other || store_all_ready(world->other));
}

static bool is_not_ready(struct world *world)
{
    return !store_all_ready(world->store);
}

static bool all_done(struct world *world)
{
    return world->done_count >= world->probe_count;
}

static bool always(struct world *world)
{
    return true;
}

static bool never(struct world *world)
{
    return false;
}

/* Probes. */

static void got_done(struct call *call, const struct reply *reply);

static struct probe *send_to(struct world *world, struct call *call)
{
    struct probe *probe = &world->probes[world->probe_count++];

    assert_true(world->probe_count <= PROBES_MAX);
    probe->call = call;
    call->done = got_done;
    call->cookie = world;
    call->tag = (int)(probe - world->probes);
    world->sending = true;
    store_send(world->store, call);
    world->sending = false;
    return probe;
}

static void got_done(struct call *call, const struct reply *reply)
{
    struct world *world = call->cookie;
    struct probe *probe = &world->probes[call->tag];
    struct view text = reply_text(reply, 0);

    assert_false(world->sending);
    probe->done++;
    probe->order = ++world->done_count;
    probe->kind = reply->kind;
    probe->code = reply->code;
    probe->number = reply_int(reply, 0);
    probe->after_ms = (clock_us() - call->sent_us) / 1000;
    snprintf(probe->why, sizeof(probe->why), "%s", reply->why ? reply->why : "");
    snprintf(probe->text, sizeof(probe->text), "%.*s", VIEW_ARG(text));
}

static struct probe *send_put(struct world *world, const char *value)
{
    struct call *call = call_function(world->arena, &PUT, 3);

    call_keyf(call, "k:{%u}", 3);
    call_arg(call, view_of(value));
    return send_to(world, call);
}

static struct probe *send_function(struct world *world, const struct function *function, const char *arg)
{
    struct call *call = call_function(world->arena, function, 3);

    call_keyf(call, "k:{%u}", 3);
    call_arg(call, view_of(arg));
    return send_to(world, call);
}

static struct probe *send_command(struct world *world, const char *name, const char *arg)
{
    struct call *call = call_command(world->arena, name, 3);

    if (arg)
        call_arg(call, view_of(arg));
    return send_to(world, call);
}

/* One call that must be answered OK: things work (again). */
static void assert_works(struct world *world)
{
    struct probe *probe = send_put(world, "works");

    assert_true(run_until(world, all_done, SOON_MS));
    assert_string_equal(probe->why, "");
    assert_int_equal(probe->kind, REPLY_OK);
    assert_string_equal(probe->text, "works");
}

/* How many calls the histogram of times has. */
static uint64_t answered(struct shard_figures of)
{
    uint64_t count = 0;

    for (size_t i = 0; i <= METRIC_BOUNDS; i++)
        count += of.times.buckets[i];
    return count;
}

static struct shard_figures figures(const struct world *world)
{
    return store_shard_figures(world->store, 0);
}

static void assert_state(const struct world *world, const char *part)
{
    if (!strstr(store_shard_state(world->store, 0), part))
        fail_msg("state is \"%s\", expected \"%s\" in it", store_shard_state(world->store, 0), part);
}

/* Worlds. */

static struct world *new_world(void)
{
    struct world *world = calloc(1, sizeof(*world));

    world->probes = calloc(PROBES_MAX, sizeof(struct probe));
    world->listener = world->accepted = -1;
    world->loop = loop_new();
    world->arena = arena_new();
    world->timer = loop_timer_new(world->loop, got_late, world);
    world->libraries[0] = (struct library){VIEW("tiny_h1"), VIEW("h1"), {LIBRARY_TEXT, sizeof(LIBRARY_TEXT) - 1}};
    world->settings = (struct store_settings){.libraries = world->libraries, .library_count = 1, .watches_line = true};
    return world;
}

static void open_store(struct world *world, int port)
{
    const char *error;
    char shards[64];

    snprintf(shards, sizeof(shards), "s1=127.0.0.1:%d", port);
    world->topology = topology_new(shards, PARTITIONS, 5, &error);
    world->settings.topology = world->topology;
    world->store = store_open(world->loop, &world->settings);
    loop_each_turn(world->loop, LOOP_LAST, got_turn, world);
}

/* The hook of a store that was closed stays with its loop. */
static void close_store(struct world *world)
{
    store_close(world->store);
    world->store = NULL;
    loop_timer_free(world->timer);
    loop_free(world->loop);
    topology_free(world->topology);
    world->topology = NULL;
    world->loop = loop_new();
    world->timer = loop_timer_new(world->loop, got_late, world);
}

static int setup_bare(void **state)
{
    *state = new_world();
    return 0;
}

static int setup_server(void **state)
{
    struct world *world = new_world();

    world->redis = redis_start(NULL);
    redis_make_shard(world->redis, "s1", PARTITIONS, 5);
    *state = world;
    return 0;
}

static int setup_behind(void **state)
{
    struct world *world;

    setup_server(state);
    world = *state;
    world->settings.behind_ms = BEHIND_MS;
    open_store(world, redis_port(world->redis));
    assert_true(run_until(world, is_ready, SOON_MS));
    return 0;
}

static int setup_ready(void **state)
{
    struct world *world;

    setup_server(state);
    world = *state;
    open_store(world, redis_port(world->redis));
    assert_true(run_until(world, is_ready, SOON_MS));
    return 0;
}

static int teardown(void **state)
{
    struct world *world = *state;

    store_close(world->store);
    store_close(world->other);
    if (world->listening) {
        loop_unwatch(world->listening);
        close(world->listener);
        close(world->accepted);
    }
    loop_timer_free(world->timer);
    loop_free(world->loop);
    topology_free(world->topology);
    arena_free(world->arena);
    arena_thread_end();
    redis_stop(world->replica);
    redis_stop(world->redis);
    free(world->probes);
    free(world);
    return 0;
}

/* Tests. */

static void test_becomes_ready_and_knows_the_time(void **state)
{
    struct world *world = *state;
    int64_t ahead = store_shard_now_ms(world->store, 0) - clock_wall_ms();
    char *libraries = REDIS(world->redis, "FUNCTION", "LIST");

    assert_state(world, "ready");
    assert_true(store_shard_ready(world->store, 0));
    assert_true(ahead > -1000 && ahead < 1000);
    assert_non_null(strstr(libraries, "tiny_h1"));
    assert_ptr_equal(store_topology(world->store), world->topology);
    assert_int_equal(figures(world).calls, 0);
    assert_works(world);
    free(libraries);
}

static void test_calls_of_a_turn_are_one_batch_answered_in_order(void **state)
{
    struct world *world = *state;
    struct shard_figures before = figures(world);
    char value[16];

    for (int i = 0; i < 500; i++) {
        snprintf(value, sizeof(value), "v%d", i);
        send_put(world, value);
    }
    assert_int_equal(figures(world).in_flight, 500);
    assert_int_equal(figures(world).batches, before.batches);
    assert_true(run_until(world, all_done, SOON_MS));
    for (int i = 0; i < 500; i++) {
        snprintf(value, sizeof(value), "v%d", i);
        assert_int_equal(world->probes[i].done, 1);
        assert_int_equal(world->probes[i].order, i + 1);
        assert_int_equal(world->probes[i].kind, REPLY_OK);
        assert_string_equal(world->probes[i].text, value);
    }
    assert_int_equal(figures(world).batches, before.batches + 1);
    assert_int_equal(figures(world).calls, before.calls + 500);
    assert_int_equal(answered(figures(world)), answered(before) + 500);
    assert_true(figures(world).times.total_us > before.times.total_us);
    assert_true(figures(world).bytes_out > before.bytes_out + 500 * 60);
    assert_int_equal(figures(world).in_flight, 0);
}

static void got_args(struct call *call, const struct reply *reply)
{
    struct world *world = call->cookie;
    const struct item *args = reply_item(reply, 1);

    world->last_arg_count = (unsigned)args->count;
    for (unsigned i = 0; i < args->count && i < 4; i++)
        world->last_args[i] = arena_copy(world->arena, item_text(item_at(args, i)));
    assert_int_equal(reply_int(reply, 0), 1); /* keys */
    world->done_count++;
}

static void test_writing_calls_carry_epoch_and_limit(void **state)
{
    struct world *world = *state;
    struct call *call = call_function(world->arena, &ARGS, 3);
    int64_t now = store_shard_now_ms(world->store, 0);
    long long limit;

    call_key(call, VIEW("k"));
    call_arg_int(call, 41);
    call->done = got_args;
    call->cookie = world;
    world->probe_count = 1;
    store_send(world->store, call);
    assert_true(run_until(world, all_done, SOON_MS));
    assert_int_equal(world->last_arg_count, 3);
    assert_string_equal(world->last_args[0].at, "41");
    assert_string_equal(world->last_args[1].at, "5");
    assert_true(view_to_int(world->last_args[2], &limit));
    assert_true(limit >= now + STORE_LIMIT_MS && limit < now + STORE_LIMIT_MS + 1000);
}

static void test_reading_calls_carry_nothing(void **state)
{
    struct world *world = *state;
    struct probe *probe;

    REDIS_DO(world->redis, "SET", "k:{3}", "stored");
    probe = send_function(world, &GET, "one");
    assert_true(run_until(world, all_done, SOON_MS));
    assert_int_equal(probe->kind, REPLY_OK);
    assert_string_equal(probe->text, "stored");
    probe = send_function(world, &PUT_READING, "x");
    assert_true(run_until(world, all_done, SOON_MS));
    assert_int_equal(probe->kind, REPLY_NOT_SENT); /* FCALL_RO: Redis refuses to run a writing function so */
    assert_non_null(strstr(probe->why, "bug: a function that writes"));
}

static void test_plain_commands_and_kinds_of_items(void **state)
{
    struct world *world = *state;
    char *large = malloc(300001);
    struct probe *ping, *nothing, *count, *list, *length;

    memset(large, 'x', 300000);
    large[300000] = '\0';
    REDIS_DO(world->redis, "SET", "large", large);
    REDIS_DO(world->redis, "RPUSH", "list", "first", "second");
    ping = send_command(world, "PING", NULL);
    nothing = send_command(world, "GET", "nothing");
    count = send_command(world, "DECR", "counter");
    list = send_command(world, "LPOP", "list");
    length = send_command(world, "GET", "large");
    assert_true(run_until(world, all_done, SOON_MS));
    assert_string_equal(ping->text, "PONG");
    assert_int_equal(nothing->kind, REPLY_OK);
    assert_int_equal(count->number, -1);
    assert_string_equal(list->text, "first");
    assert_int_equal(strlen(length->text), sizeof(length->text) - 1);
    free(large);
}

static const struct {
    const char *name;
    const struct function *function;
    const char *arg;
    enum reply_kind kind;
    int code;
    const char *why;
} answers[] = {
    {"done", &CODE, "0", REPLY_OK, 0, ""},
    {"an outcome", &CODE, "20", REPLY_REFUSED, 20, ""},
    {"too late", &CODE, "2", REPLY_NOT_SENT, CODE_LATE, "the call came too late"},
    {"runtime error in Lua", &BOOM, "", REPLY_UNKNOWN, 0, "bug: the function failed"},
    {"wrong type in Lua", &WRONG, "", REPLY_UNKNOWN, 0, "bug: a key holds another type"},
    {"another shape", &SHAPE, "", REPLY_UNKNOWN, 0, "does not begin with a code"},
};

static void test_what_functions_answer(void **state)
{
    struct world *world = *state;

    for (size_t i = 0; i < sizeof(answers) / sizeof(answers[0]); i++) {
        struct probe *probe = send_function(world, answers[i].function, answers[i].arg);

        assert_true(run_until(world, all_done, SOON_MS));
        if (probe->kind != answers[i].kind || probe->code != answers[i].code || !strstr(probe->why, answers[i].why))
            fail_msg("%s: kind %d, code %d, %s", answers[i].name, probe->kind, probe->code, probe->why);
    }
    assert_int_equal(figures(world).faults[REPLY_UNCLEAR], 3);
    assert_int_equal(figures(world).faults[REPLY_DECLINED], 1);
    assert_works(world);
}

/* Refused by the server as a whole, with nothing done: the setting, and what undoes it. */
static const struct {
    const char *name, *value, *undo, *why;
} refusals[] = {
    {"maxmemory", "1", "0", "memory is full"},
    {"min-replicas-to-write", "1", "0", "too few replicas"},
};

static void test_errors_of_a_real_server(void **state)
{
    struct world *world = *state;

    for (size_t i = 0; i < sizeof(refusals) / sizeof(refusals[0]); i++) {
        struct probe *function, *plain;

        REDIS_DO(world->redis, "CONFIG", "SET", refusals[i].name, refusals[i].value);
        function = send_put(world, "x");
        plain = send_command(world, "INCR", "counter");
        assert_true(run_until(world, all_done, SOON_MS));
        assert_int_equal(function->kind, REPLY_NOT_SENT);
        assert_int_equal(plain->kind, REPLY_NOT_SENT);
        assert_non_null(strstr(function->why, refusals[i].why));
        assert_non_null(strstr(plain->why, refusals[i].why));
        REDIS_DO(world->redis, "CONFIG", "SET", refusals[i].name, refusals[i].undo);
        assert_works(world);
    }
    REDIS_DO(world->redis, "REPLICAOF", "127.0.0.1", "1");
    send_put(world, "x");
    assert_true(run_until(world, all_done, SOON_MS));
    assert_int_equal(world->probes[world->probe_count - 1].kind, REPLY_NOT_SENT);
    assert_non_null(strstr(world->probes[world->probe_count - 1].why, "replica"));
    REDIS_DO(world->redis, "REPLICAOF", "NO", "ONE");
    assert_works(world);
}

static void test_a_refused_connection(void **state)
{
    struct world *world = *state;
    int port = redis_port(world->redis);
    struct probe *probe;

    redis_kill(world->redis);
    open_store(world, port);
    probe = send_put(world, "x");
    assert_int_equal(probe->done, 0);
    assert_true(run_until(world, all_done, SOON_MS));
    assert_int_equal(probe->kind, REPLY_NOT_SENT);
    assert_string_equal(probe->why, "the shard is not ready");
    assert_state(world, "refused");
    assert_int_equal(store_shard_now_ms(world->store, 0), 0);
    assert_false(store_shard_ready(world->store, 0));
    redis_restart(world->redis);
    redis_make_shard(world->redis, "s1", PARTITIONS, 5);
    assert_true(run_until(world, is_ready, SOON_MS));
    assert_true(figures(world).reconnects > 0);
    assert_works(world);
}

static void assert_completed_once(const struct world *world, unsigned from, unsigned to, enum reply_kind kind)
{
    for (unsigned i = from; i < to; i++) {
        assert_int_equal(world->probes[i].done, 1);
        if (world->probes[i].kind != kind)
            fail_msg("probe %u: kind %d, %s", i, world->probes[i].kind, world->probes[i].why);
    }
}

static void test_a_server_killed_with_calls_under_way(void **state)
{
    struct world *world = *state;

    redis_pause(world->redis);
    for (int i = 0; i < 200; i++)
        send_put(world, "x");
    run_until(world, always, SOON_MS);
    redis_kill(world->redis);
    assert_true(run_until(world, is_not_ready, SOON_MS));
    send_put(world, "too late");
    assert_true(run_until(world, all_done, SOON_MS));
    assert_completed_once(world, 0, 200, REPLY_UNKNOWN);
    assert_completed_once(world, 200, 201, REPLY_NOT_SENT);
    assert_int_equal(figures(world).in_flight, 0);
    assert_int_equal(figures(world).faults[REPLY_LOST], 200);
    assert_int_equal(figures(world).faults[REPLY_NOT_READY], 1);
    redis_restart(world->redis);
    redis_make_shard(world->redis, "s1", PARTITIONS, 5);
    assert_true(run_until(world, is_ready, SOON_MS));
    assert_works(world);
    assert_completed_once(world, 0, 200, REPLY_UNKNOWN);
}

/* The kernel takes only a part of what is large; what was appended behind it has certainly not been sent. */
static void test_what_the_kernel_did_not_take(void **state)
{
    struct world *world = *state;
    char *large = calloc(1, 4000001);

    memset(large, 'x', 4000000);
    redis_pause(world->redis);
    for (int i = 0; i < 8; i++)
        send_put(world, large);
    run_until(world, always, SOON_MS);
    run_until(world, always, SOON_MS);
    send_put(world, "behind");
    run_until(world, always, SOON_MS);
    assert_int_equal(world->done_count, 0);
    redis_kill(world->redis);
    assert_true(run_until(world, all_done, SOON_MS));
    assert_completed_once(world, 0, 8, REPLY_UNKNOWN);
    assert_completed_once(world, 8, 9, REPLY_NOT_SENT);
    assert_int_equal(figures(world).faults[REPLY_LOST], 8);
    assert_int_equal(figures(world).faults[REPLY_UNWRITTEN], 1);
    free(large);
}

/*
 * The server reads nothing while they are written, so a part of them has to wait. Eight are several times what the sockets take: who does not watch
 * for room, and writes on with what he asks the shard next, would not come to the end in time.
 */
static void test_large_calls_go_out_in_parts(void **state)
{
    struct world *world = *state;
    char *large = calloc(1, 2000001);

    memset(large, 'x', 2000000);
    redis_pause(world->redis);
    for (int i = 0; i < 8; i++)
        send_put(world, large);
    run_until(world, always, SOON_MS);
    run_until(world, always, SOON_MS);
    redis_resume(world->redis);
    assert_true(run_until(world, all_done, SOON_MS));
    assert_completed_once(world, 0, 8, REPLY_OK);
    assert_works(world);
    free(large);
}

static void test_a_silent_server(void **state)
{
    struct world *world = *state;
    struct probe *probe;

    redis_pause(world->redis);
    probe = send_put(world, "x");
    assert_true(run_until(world, all_done, SOON_MS));
    assert_int_equal(probe->kind, REPLY_UNKNOWN);
    assert_string_equal(probe->why, "the shard did not answer in time");
    assert_int_equal(figures(world).faults[REPLY_NO_ANSWER], 1);
    assert_true(probe->after_ms >= STORE_CALL_TIMEOUT_MS && probe->after_ms < STORE_CALL_TIMEOUT_MS + 1500);
    assert_state(world, "no answer");
    redis_resume(world->redis);
    assert_true(run_until(world, is_ready, SOON_MS));
    assert_works(world);
    assert_int_equal(probe->done, 1);
}

/*
 * Many calls are under way, and the oldest has no answer: further ones are not taken, at once, and what is under way is not given up. With the
 * answers all goes on.
 */
static void test_a_shard_that_is_behind(void **state)
{
    struct world *world = *state;
    struct probe *young, *first, *second;

    assert_int_equal(figures(world).breaker, BREAKER_CLOSED);
    redis_pause(world->redis);
    for (int i = 0; i < STORE_BEHIND_MAX; i++)
        send_put(world, "x");
    run_until(world, always, SOON_MS);
    young = send_put(world, "young");
    run_until(world, never, BEHIND_MS * 2);
    first = send_put(world, "y");
    second = send_put(world, "z");
    run_until(world, always, SOON_MS);
    run_until(world, always, SOON_MS);
    assert_int_equal(world->done_count, 2);
    assert_int_equal(first->kind, REPLY_NOT_SENT);
    assert_int_equal(second->kind, REPLY_NOT_SENT);
    assert_non_null(strstr(first->why, "has not answered for a while"));
    assert_int_equal(figures(world).breaker, BREAKER_OPEN);
    assert_int_equal(figures(world).in_flight, STORE_BEHIND_MAX + 1);
    assert_false(store_shard_ready(world->store, 0));
    assert_true(store_any_ready(world->store));
    assert_state(world, "behind");
    redis_resume(world->redis);
    assert_true(run_until(world, all_done, SOON_MS));
    assert_completed_once(world, 0, STORE_BEHIND_MAX, REPLY_OK);
    assert_int_equal(young->kind, REPLY_OK);
    assert_true(run_until(world, is_ready, SOON_MS));
    assert_int_equal(figures(world).breaker, BREAKER_CLOSED);
    assert_int_equal(figures(world).reconnects, 0);
    assert_state(world, ": ready");
    assert_works(world);
}

/* A few are waited for: they fill nothing, and a moment without an answer is no reason to turn anybody away. */
static void test_a_few_may_wait(void **state)
{
    struct world *world = *state;

    redis_pause(world->redis);
    for (int i = 0; i < STORE_BEHIND_MAX - 1; i++)
        send_put(world, "x");
    run_until(world, never, BEHIND_MS * 2);
    send_put(world, "y");
    run_until(world, never, BEHIND_MS);
    assert_int_equal(world->done_count, 0);
    send_put(world, "z");
    assert_int_equal(figures(world).breaker, BREAKER_OPEN);
    redis_resume(world->redis);
    assert_true(run_until(world, all_done, SOON_MS));
    assert_completed_once(world, 0, STORE_BEHIND_MAX, REPLY_OK);
    assert_completed_once(world, STORE_BEHIND_MAX, STORE_BEHIND_MAX + 1, REPLY_NOT_SENT);
}

/* Nothing is answered at all: after two seconds the connection goes, and until the next one is proved the breaker is never closed. */
static void test_a_shard_that_stays_behind(void **state)
{
    struct world *world = *state;

    redis_pause(world->redis);
    for (int i = 0; i < STORE_BEHIND_MAX; i++)
        send_put(world, "x");
    run_until(world, never, BEHIND_MS * 2);
    for (int i = 0; i < 20; i++) {
        struct probe *probe = send_put(world, "refused");

        run_until(world, never, 150);
        assert_int_equal(probe->kind, REPLY_NOT_SENT);
        assert_int_not_equal(figures(world).breaker, BREAKER_CLOSED);
    }
    assert_completed_once(world, 0, STORE_BEHIND_MAX, REPLY_UNKNOWN);
    assert_false(store_any_ready(world->store));
    redis_resume(world->redis);
    assert_true(run_until(world, is_ready, SOON_MS));
    assert_works(world);
}

/* QUIT is answered, and then the server closes: what stands behind it in the batch is lost. */
static void send_quit_and(struct world *world, unsigned pings)
{
    for (unsigned i = 0; i < pings; i++)
        send_command(world, "PING", NULL);
    assert_true(run_until(world, all_done, SOON_MS));
    send_command(world, "QUIT", NULL);
}

/* What only reads is asked once more on the next connection, as far as the budget goes; what writes is not, and nobody knows. */
static void test_a_connection_that_breaks(void **state)
{
    struct world *world = *state;
    unsigned first;

    send_quit_and(world, 2 * RETRY_SHARE - 5); /* and the five below make two retries */
    first = world->probe_count;
    send_function(world, &PUT, "x");
    for (int i = 0; i < 3; i++)
        send_function(world, &GET, "");
    assert_true(run_until(world, all_done, SOON_MS));
    assert_completed_once(world, first, first + 1, REPLY_UNKNOWN);
    assert_completed_once(world, first + 1, first + 3, REPLY_OK);
    assert_completed_once(world, first + 3, first + 4, REPLY_UNKNOWN);
    assert_int_equal(figures(world).repeated, 2);
    assert_int_equal(figures(world).reconnects, 1);
    assert_int_equal(figures(world).in_flight, 0);
    assert_works(world);
}

/* A second loss is told, and so is a shard that cannot be reached again. */
static void test_no_call_is_repeated_twice(void **state)
{
    struct world *world = *state;
    unsigned first;

    send_quit_and(world, 100);
    first = world->probe_count;
    send_command(world, "QUIT", NULL);
    send_function(world, &GET, "");
    assert_true(run_until(world, all_done, SOON_MS));
    assert_completed_once(world, first, first + 1, REPLY_OK); /* the repeated QUIT is answered */
    assert_completed_once(world, first + 1, first + 2, REPLY_UNKNOWN);
    assert_int_equal(figures(world).repeated, 2);
    assert_true(run_until(world, is_ready, SOON_MS));

    redis_pause(world->redis);
    send_function(world, &GET, "");
    run_until(world, always, SOON_MS);
    redis_kill(world->redis);
    assert_true(run_until(world, all_done, SOON_MS));
    assert_completed_once(world, first + 2, first + 3, REPLY_UNKNOWN);
    assert_int_equal(figures(world).repeated, 3);
}

static void test_closing_completes_what_waits_to_be_repeated(void **state)
{
    struct world *world = *state;
    unsigned first;

    send_quit_and(world, 100);
    first = world->probe_count;
    send_function(world, &GET, "");
    assert_true(run_until(world, is_not_ready, SOON_MS));
    assert_int_equal(world->probes[first].done, 0);
    store_close(world->store);
    world->store = NULL;
    assert_completed_once(world, first, first + 1, REPLY_UNKNOWN);
}

/* Nobody calls, and yet it is noticed, because the time is asked for every second. */
static void test_a_silent_server_without_calls(void **state)
{
    struct world *world = *state;

    redis_pause(world->redis);
    assert_true(run_until(world, is_not_ready, 1000 + STORE_CALL_TIMEOUT_MS + 1000));
    redis_resume(world->redis);
    assert_true(run_until(world, is_ready, SOON_MS));
}

static void test_functions_flushed(void **state)
{
    struct world *world = *state;
    struct probe *first, *second;

    REDIS_DO(world->redis, "FUNCTION", "FLUSH");
    first = send_put(world, "x");
    second = send_put(world, "y");
    assert_true(run_until(world, all_done, SOON_MS));
    assert_int_equal(first->kind, REPLY_NOT_SENT);
    assert_int_equal(second->kind, REPLY_NOT_SENT);
    assert_non_null(strstr(first->why, "library is not loaded"));
    assert_true(run_until(world, is_ready, SOON_MS));
    assert_int_equal(figures(world).reconnects, 0);
    assert_works(world);
}

/* Two workers find the library missing at the same moment; one of them loads it, the other hears that it exists. */
static void test_two_workers_load_the_library(void **state)
{
    struct world *world = *state;

    open_store(world, redis_port(world->redis));
    world->other = store_open(world->loop, &world->settings);
    assert_true(run_until(world, is_ready, SOON_MS));
    assert_int_equal(figures(world).reconnects, 0);
    assert_int_equal(store_shard_figures(world->other, 0).reconnects, 0);
    assert_works(world);
}

static void test_a_function_that_the_library_does_not_have(void **state)
{
    struct world *world = *state;
    struct probe *probe = send_function(world, &NOT_THERE, "x");

    assert_true(run_until(world, all_done, SOON_MS));
    assert_int_equal(probe->kind, REPLY_NOT_SENT);
    assert_true(run_until(world, is_ready, SOON_MS));
    assert_works(world);
}

static void test_a_ring_that_changes(void **state)
{
    struct world *world = *state;
    struct probe *first, *second;

    REDIS_DO(world->redis, "HSET", "souk:shard", "epoch", "6");
    first = send_put(world, "x");
    second = send_put(world, "y");
    assert_true(run_until(world, all_done, SOON_MS));
    assert_int_equal(first->kind, REPLY_NOT_SENT);
    assert_int_equal(first->code, CODE_RING);
    assert_int_equal(second->code, CODE_RING);
    assert_true(run_until(world, is_not_ready, SOON_MS));
    run_until(world, is_ready, 100);
    assert_state(world, "souk:shard has epoch \"6\", expected 5");
    REDIS_DO(world->redis, "HSET", "souk:shard", "epoch", "5");
    assert_true(run_until(world, is_ready, SOON_MS));
    assert_works(world);
}

static const struct {
    const char *name, *field, *value, *state;
} identities[] = {
    {"another name", "name", "s2", "souk:shard has name \"s2\", expected \"s1\": correct the addresses"},
    {"another P", "partitions", "32", "souk:shard has partitions \"32\", expected 16"},
    {"another epoch", "epoch", "4", "souk:shard has epoch \"4\", expected 5"},
    {"another layout", "layout", "1", "souk:shard has layout \"1\", expected 2: this store was made by another version"},
    {"no number", "partitions", "many", "souk:shard has partitions \"many\", expected 16"},
    {"an empty name", "name", "", "souk:shard has name \"\", expected \"s1\""},
};

static bool has_state(struct world *world)
{
    return strstr(store_shard_state(world->store, 0), world->wanted_state) != NULL;
}

static void assert_comes_to_state(struct world *world, const char *text)
{
    world->wanted_state = text;
    if (!run_until(world, has_state, SOON_MS))
        fail_msg("state is \"%s\", expected \"%s\" in it", store_shard_state(world->store, 0), text);
    assert_false(store_all_ready(world->store));
}

static void test_a_shard_that_is_not_ours_is_refused(void **state)
{
    struct world *world = *state;

    REDIS_DO(world->redis, "DEL", "souk:shard");
    open_store(world, redis_port(world->redis));
    assert_comes_to_state(world, "souk:shard is absent, expected name \"s1\": run \"soukctl init\"");
    for (size_t i = 0; i < sizeof(identities) / sizeof(identities[0]); i++) {
        redis_make_shard(world->redis, "s1", PARTITIONS, 5);
        REDIS_DO(world->redis, "HSET", "souk:shard", identities[i].field, identities[i].value);
        assert_comes_to_state(world, identities[i].state);
    }
    REDIS_DO(world->redis, "DEL", "souk:shard");
    REDIS_DO(world->redis, "SET", "souk:shard", "x");
    assert_comes_to_state(world, "cannot read souk:shard: WRONGTYPE");
    REDIS_DO(world->redis, "DEL", "souk:shard");
    redis_make_shard(world->redis, "s1", PARTITIONS, 5);
    assert_true(run_until(world, is_ready, SOON_MS));
    assert_works(world);
}

static void test_passwords_and_permissions(void **state)
{
    struct world *world = *state;

    REDIS_DO(world->redis, "ACL", "SETUSER", "worker", "on", ">secret", "~*", "+auth", "+hmget", "+time", "+function|list", "+info");
    world->settings.user = "worker";
    world->settings.password = "wrong";
    open_store(world, redis_port(world->redis));
    assert_comes_to_state(world, "refuses our user or password: WRONGPASS");
    REDIS_DO(world->redis, "ACL", "SETUSER", "worker", ">wrong");
    assert_comes_to_state(world, "library tiny_h1 is missing and could not be loaded (NOPERM");
    assert_state(world, "run \"soukctl load\"");
    REDIS_DO(world->redis, "FUNCTION", "LOAD", LIBRARY_TEXT);
    assert_true(run_until(world, is_ready, SOON_MS));
    send_put(world, "x");
    assert_true(run_until(world, all_done, SOON_MS));
    assert_int_equal(world->probes[0].kind, REPLY_NOT_SENT);
    assert_non_null(strstr(world->probes[0].why, "does not allow"));
    REDIS_DO(world->redis, "ACL", "SETUSER", "worker", "+fcall", "+set", "+hget");
    assert_works(world);
}

static void test_more_calls_than_may_be_under_way(void **state)
{
    struct world *world = *state;

    for (int i = 0; i < STORE_INFLIGHT_MAX + 2; i++)
        send_command(world, "PING", NULL);
    assert_int_equal(figures(world).in_flight, STORE_INFLIGHT_MAX);
    assert_true(run_until(world, all_done, SOON_MS));
    assert_completed_once(world, 0, STORE_INFLIGHT_MAX, REPLY_OK);
    assert_completed_once(world, STORE_INFLIGHT_MAX, STORE_INFLIGHT_MAX + 2, REPLY_NOT_SENT);
    assert_non_null(strstr(world->probes[STORE_INFLIGHT_MAX].why, "too many"));
    assert_int_equal(figures(world).faults[REPLY_TOO_MANY], 2);
    assert_works(world);
}

/* A completion that sends: the chain goes on in later turns, through answers and through refusals alike. */
static void got_link(struct call *call, const struct reply *reply)
{
    struct world *world = call->cookie;
    struct call *next;

    assert_false(world->sending);
    world->done_count++;
    if (world->links_left == 0)
        return;
    world->links_left--;
    next = call_command(world->arena, "PING", 3);
    next->done = got_link;
    next->cookie = world;
    world->sending = true;
    store_send(world->store, next);
    world->sending = false;
}

static void run_chain(struct world *world)
{
    struct call *call = call_command(world->arena, "PING", 3);

    world->links_left = 9;
    world->done_count = 0;
    world->probe_count = 10;
    call->done = got_link;
    call->cookie = world;
    store_send(world->store, call);
    assert_true(run_until(world, all_done, SOON_MS));
}

static void test_completions_that_send(void **state)
{
    struct world *world = *state;

    run_chain(world);
    redis_kill(world->redis);
    assert_true(run_until(world, is_not_ready, SOON_MS));
    run_chain(world);
}

static void test_closing_completes_what_is_owed(void **state)
{
    struct world *world = *state;

    redis_pause(world->redis);
    send_put(world, "written");
    run_until(world, always, SOON_MS);
    send_put(world, "gathered");
    store_close(world->store);
    world->store = NULL;
    assert_completed_once(world, 0, 1, REPLY_UNKNOWN);
    assert_completed_once(world, 1, 2, REPLY_NOT_SENT);
    assert_non_null(strstr(world->probes[0].why, "closed"));
}

/* Two shards: one dies, and the other does not notice. */
static void test_shards_fail_apart(void **state)
{
    struct world *world = *state;
    struct redis_fixture *other = redis_start(NULL);
    const char *error;
    char shards[128];

    redis_make_shard(other, "s2", PARTITIONS, 5);
    snprintf(shards, sizeof(shards), "s1=127.0.0.1:%d,s2=localhost:%d", redis_port(world->redis), redis_port(other));
    world->topology = topology_new(shards, PARTITIONS, 5, &error);
    world->settings.topology = world->topology;
    world->store = store_open(world->loop, &world->settings);
    loop_each_turn(world->loop, LOOP_LAST, got_turn, world);
    assert_true(run_until(world, is_ready, SOON_MS));
    redis_stop(other);
    assert_true(run_until(world, is_not_ready, SOON_MS));
    assert_true(store_shard_ready(world->store, 0));
    for (unsigned p = 0; p < PARTITIONS; p++)
        send_to(world, call_command(world->arena, "PING", p));
    for (int shard = 0; shard < 2; shard++) {
        struct call *call = call_command(world->arena, "PING", 0);

        call->shard = shard;
        send_to(world, call);
    }
    assert_true(run_until(world, all_done, SOON_MS));
    for (unsigned p = 0; p < PARTITIONS; p++)
        assert_int_equal(world->probes[p].kind, world->topology->owner[p] == 0 ? REPLY_OK : REPLY_NOT_SENT);
    assert_int_equal(world->probes[PARTITIONS].kind, REPLY_OK);
    assert_int_equal(world->probes[PARTITIONS + 1].kind, REPLY_NOT_SENT);
}

/* Servers that are none. */

static void got_connection(void *cookie, unsigned events)
{
    struct world *world = cookie;

    close(world->accepted);
    world->accepted = accept(world->listener, NULL, NULL);
    if (world->script) {
        assert_int_equal(write(world->accepted, world->script, strlen(world->script)), strlen(world->script));
        shutdown(world->accepted, SHUT_WR);
    }
}

static int listen_somewhere(struct world *world)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(address);

    world->listener = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(bind(world->listener, (struct sockaddr *)&address, len), 0);
    assert_int_equal(listen(world->listener, 8), 0);
    assert_int_equal(getsockname(world->listener, (struct sockaddr *)&address, &len), 0);
    world->listening = loop_watch(world->loop, world->listener, LOOP_READ, got_connection, world);
    return ntohs(address.sin_port);
}

static const struct {
    const char *name, *script, *state;
} confused[] = {
    {"closes at once", "", "closed"},
    {"half a list", "*4\r\n$2\r\ns1\r\n$1", "closed"},
    {"half a text in nested lists", "*1\r\n*2\r\n:1\r\n$9\r\nabc", "closed"},
    {"another protocol", "HTTP/1.1 400 Bad Request\r\n\r\n", "Protocol error"},
    {"an endless list", "*2000000000\r\n:1\r\n", "memory"},
    {"a negative length", "*-7\r\n", ""},
    {"turned away", "-ERR max number of clients reached\r\n", "cannot read souk:shard: ERR max number of clients"},
    {"a number for a list", ":1\r\n", "cannot read souk:shard"},
    {"no time", "*5\r\n$2\r\ns1\r\n$2\r\n16\r\n$1\r\n5\r\n$1\r\n2\r\n$1\r\nu\r\n*0\r\n", "does not tell its time"},
};

static void test_servers_that_talk_nonsense(void **state)
{
    struct world *world = *state;
    int port = listen_somewhere(world);

    world->script = confused[0].script;
    open_store(world, port);
    for (size_t i = 0; i < sizeof(confused) / sizeof(confused[0]); i++) {
        uint64_t attempts = figures(world).reconnects;

        world->script = confused[i].script;
        /* The attempt that was under way, and then one that got this script. */
        while (figures(world).reconnects < attempts + 2)
            run_until(world, always, SOON_MS);
        if (confused[i].state[0])
            assert_comes_to_state(world, confused[i].state);
    }
}

static void test_a_server_that_accepts_and_is_silent(void **state)
{
    struct world *world = *state;

    open_store(world, listen_somewhere(world));
    assert_comes_to_state(world, "no answer to the check");
    send_put(world, "x");
    assert_true(run_until(world, all_done, SOON_MS));
    assert_int_equal(world->probes[0].kind, REPLY_NOT_SENT);
}

/* Opened and closed before anything happened. */
static void test_closing_early(void **state)
{
    struct world *world = *state;

    open_store(world, listen_somewhere(world));
    send_put(world, "x");
    store_close(world->store);
    world->store = NULL;
    assert_completed_once(world, 0, 1, REPLY_NOT_SENT);
    store_close(NULL);
}

/* How long calls stand in line: by the quickest that was answered, or by the oldest that was not. */
static void test_standing_in_line(void **state)
{
    struct world *world = *state;
    struct probe *probe;

    store_standing_us(world->store);
    assert_int_equal(store_standing_us(world->store), 0);
    redis_pause(world->redis);
    send_put(world, "x");
    run_until(world, never, 80); /* the loop's clock may be some ms behind the call's */
    assert_true(store_standing_us(world->store) >= 60000);
    redis_resume(world->redis);
    assert_true(run_until(world, all_done, SOON_MS));
    assert_true(store_standing_us(world->store) >= 60000);
    probe = send_put(world, "y");
    assert_true(run_until(world, all_done, SOON_MS));
    assert_true(store_standing_us(world->store) / 1000 <= probe->after_ms + 1);
    assert_int_equal(store_standing_us(world->store), 0);
}

/* What an answered write survives. */

static int setup_replicated(void **state)
{
    struct world *world;

    setup_server(state);
    world = *state;
    world->replica = redis_start_replica(world->redis, NULL);
    world->settings.wait_replicas = 1;
    open_store(world, redis_port(world->redis));
    assert_true(run_until(world, is_ready, SOON_MS));
    return 0;
}

/* How often this command was carried out by the shard. */
static long count_of(struct world *world, const char *command)
{
    char *stats = REDIS(world->redis, "INFO", "commandstats"), name[64];
    const char *at;
    long count = 0;

    snprintf(name, sizeof(name), "cmdstat_%s:calls=", command);
    at = strstr(stats, name);
    if (at)
        count = atol(at + strlen(name));
    free(stats);
    return count;
}

static void test_no_replicas_cost_nothing(void **state)
{
    struct world *world = *state;

    for (int i = 0; i < 10; i++)
        assert_works(world);
    assert_int_equal(count_of(world, "wait"), 0);
    assert_int_equal(count_of(world, "set"), 10); /* those of the function */
}

static void test_a_turn_has_one_wait(void **state)
{
    struct world *world = *state;
    char *there;

    for (int i = 0; i < 500; i++)
        send_put(world, "v");
    assert_true(run_until(world, all_done, SOON_MS));
    for (int i = 0; i < 500; i++) {
        assert_int_equal(world->probes[i].done, 1);
        assert_int_equal(world->probes[i].kind, REPLY_OK);
        assert_string_equal(world->probes[i].text, "v");
    }
    assert_int_equal(count_of(world, "wait"), 1);
    there = REDIS(world->replica, "GET", "k:{3}");
    assert_string_equal(there, "v");
    free(there);
    assert_string_equal(store_durability(world->store), "replicas=1");
    assert_int_equal(figures(world).in_flight, 0);
}

static void test_reads_need_no_replica(void **state)
{
    struct world *world = *state;
    struct probe *read;

    redis_pause(world->replica);
    read = send_function(world, &GET, "");
    assert_true(run_until(world, all_done, SOON_MS));
    assert_int_equal(read->kind, REPLY_OK);
    assert_int_equal(count_of(world, "wait"), 0);
    redis_resume(world->replica);
}

/* Answers keep what they said while they wait: lists in lists, texts, and codes of refusal. */
static void test_held_answers_are_whole(void **state)
{
    struct world *world = *state;
    struct probe *args = send_function(world, &ARGS, "some text"), *code = send_function(world, &CODE, "17");

    assert_true(run_until(world, all_done, SOON_MS));
    assert_int_equal(args->kind, REPLY_OK);
    assert_int_equal(args->number, 1);
    assert_int_equal(code->kind, REPLY_REFUSED);
    assert_int_equal(code->code, 17);
}

static bool two_done(struct world *world)
{
    return world->done_count >= 2;
}

/* The write is on the primary, and nobody may be told OK. What is refused may rest on such a write. What failed, failed. */
static void test_a_silent_replica(void **state)
{
    struct world *world = *state;
    struct probe *put, *code, *gone;

    redis_pause(world->replica);
    put = send_put(world, "lonely");
    code = send_function(world, &CODE, "17");
    gone = send_function(world, &CODE, "1"); /* RING: certainly not carried out */
    assert_true(run_until(world, all_done, SOON_MS));
    assert_int_equal(put->kind, REPLY_UNKNOWN);
    assert_non_null(strstr(put->why, "replicas did not confirm"));
    assert_true(put->after_ms >= 400 && put->after_ms < STORE_CALL_TIMEOUT_MS);
    assert_int_equal(code->kind, REPLY_UNKNOWN);
    assert_int_equal(gone->kind, REPLY_NOT_SENT);
    assert_int_equal(figures(world).faults[REPLY_UNCONFIRMED], 2);
    redis_resume(world->replica);
    assert_true(run_until(world, is_ready, SOON_MS));
    /* The replica may need a moment until it acknowledges again. */
    do {
        put = send_put(world, "works");
        assert_true(run_until(world, all_done, SOON_MS));
    } while (put->kind == REPLY_UNKNOWN);
    assert_int_equal(put->kind, REPLY_OK);
    assert_int_equal(figures(world).reconnects, 0);
}

/* Turn after turn sends while no WAIT is answered: they share WAITs, and the connection is not taken for a dead one. */
static void test_many_turns_share_waits(void **state)
{
    struct world *world = *state;
    int64_t until = clock_us() + 900 * 1000;

    redis_pause(world->replica);
    while (clock_us() < until) {
        send_put(world, "x");
        run_until(world, never, 5);
    }
    assert_true(world->probe_count > 20);
    assert_true(run_until(world, all_done, SOON_MS));
    for (unsigned i = 0; i < world->probe_count; i++) {
        assert_int_equal(world->probes[i].done, 1);
        assert_int_equal(world->probes[i].kind, REPLY_UNKNOWN);
        assert_true(world->probes[i].after_ms < STORE_CALL_TIMEOUT_MS);
    }
    assert_in_range(count_of(world, "wait"), 3, 6);
    assert_int_equal(figures(world).reconnects, 0);
    assert_true(store_all_ready(world->store));
    redis_resume(world->replica);
}

/* Answered by the shard, not confirmed, and then the connection is gone. */
static void test_held_answers_of_a_lost_connection(void **state)
{
    struct world *world = *state;

    redis_pause(world->replica);
    for (int i = 0; i < 2; i++)
        send_put(world, "x");
    while (count_of(world, "fcall") < 2)
        run_until(world, always, SOON_MS);
    assert_int_equal(world->done_count, 0);
    redis_kill(world->redis);
    assert_true(run_until(world, two_done, SOON_MS));
    for (int i = 0; i < 2; i++) {
        assert_int_equal(world->probes[i].done, 1);
        assert_int_equal(world->probes[i].kind, REPLY_UNKNOWN);
    }
    assert_int_equal(figures(world).in_flight, 0);
    assert_int_equal(figures(world).faults[REPLY_LOST], 2);
    redis_resume(world->replica);
}

/* The SET behind a batch is what makes WAIT cover it. Without it nothing is confirmed, though WAIT says 1. */
static void test_a_barrier_that_is_refused(void **state)
{
    struct world *world = *state;
    struct probe *put;

    REDIS_DO(world->redis, "ACL", "SETUSER", "default", "resetkeys", "~k:*", "%R~souk:shard");
    put = send_put(world, "x");
    assert_true(run_until(world, all_done, SOON_MS));
    assert_int_equal(put->kind, REPLY_UNKNOWN);
    REDIS_DO(world->redis, "ACL", "SETUSER", "default", "~souk:barrier");
    assert_works(world);
}

static void test_a_wait_that_is_refused(void **state)
{
    struct world *world = *state;
    struct probe *put;

    REDIS_DO(world->redis, "ACL", "SETUSER", "default", "-wait");
    put = send_put(world, "x");
    assert_true(run_until(world, all_done, SOON_MS));
    assert_int_equal(put->kind, REPLY_UNKNOWN);
    REDIS_DO(world->redis, "ACL", "SETUSER", "default", "+wait");
    assert_works(world);
}

static const struct {
    const char *name, *appendonly, *recorded, *policy;
    enum fsync least;
    const char *want; /* what is said of answered writes, or why it is refused */
} promises[] = {
    {"as it should be", "yes", "always", "noeviction", FSYNC_EVERYSEC, "fsync"},
    {"no file", "no", "always", "noeviction", FSYNC_EVERYSEC, "its appendonly is no, and SOUK_FSYNC=everysec wants at least"},
    {"once a second", "yes", "everysec", "noeviction", FSYNC_EVERYSEC, "none"},
    {"once a second is too rare", "yes", "everysec", "noeviction", FSYNC_ALWAYS, "its appendfsync is everysec, and SOUK_FSYNC=always wants"},
    {"never", "yes", "no", "noeviction", FSYNC_EVERYSEC, "its appendfsync is no, and SOUK_FSYNC=everysec wants"},
    {"nobody has looked", "yes", "", "noeviction", FSYNC_EVERYSEC, "souk:shard has no appendfsync"},
    {"nonsense", "yes", "sometimes", "noeviction", FSYNC_EVERYSEC, "run \"soukctl load\""},
    {"nothing is wanted", "no", "no", "noeviction", FSYNC_NO, "none"},
    {"nothing is wanted, nobody has looked", "yes", "", "noeviction", FSYNC_NO, "none"},
    {"eviction of all keys", "yes", "always", "allkeys-lru", FSYNC_NO, "its maxmemory-policy is allkeys-lru"},
    {"eviction of those that expire", "yes", "always", "volatile-ttl", FSYNC_EVERYSEC, "its maxmemory-policy is volatile-ttl"},
};

static void promise(struct world *world, size_t n)
{
    REDIS_DO(world->redis, "CONFIG", "SET", "appendonly", promises[n].appendonly, "maxmemory-policy", promises[n].policy);
    REDIS_DO(world->redis, "HDEL", "souk:shard", "appendfsync");
    if (*promises[n].recorded)
        REDIS_DO(world->redis, "HSET", "souk:shard", "appendfsync", promises[n].recorded);
}

/* Asked at every connect. */
static void test_what_a_shard_promises(void **state)
{
    struct world *world = *state;

    for (size_t i = 0; i < sizeof(promises) / sizeof(promises[0]); i++) {
        bool is_used = strlen(promises[i].want) <= strlen("fsync");
        promise(world, i);
        world->settings.fsync_least = promises[i].least;
        open_store(world, redis_port(world->redis));
        if (!is_used) {
            assert_comes_to_state(world, promises[i].want);
        } else {
            assert_true(run_until(world, is_ready, SOON_MS));
            if (strcmp(store_durability(world->store), promises[i].want) != 0)
                fail_msg("%s: said to be \"%s\", expected \"%s\"", promises[i].name, store_durability(world->store), promises[i].want);
        }
        close_store(world);
    }
}

/* And from time to time: what somebody changes while the shard is in use is noticed. */
static void test_a_promise_that_is_taken_back(void **state)
{
    struct world *world = *state;

    promise(world, 0);
    world->settings.promise_ms = 1000;
    open_store(world, redis_port(world->redis));
    assert_true(run_until(world, is_ready, SOON_MS));
    REDIS_DO(world->redis, "CONFIG", "SET", "maxmemory-policy", "allkeys-lfu");
    assert_true(run_until(world, is_not_ready, SOON_MS));
    assert_comes_to_state(world, "its maxmemory-policy is allkeys-lfu");
    REDIS_DO(world->redis, "CONFIG", "SET", "maxmemory-policy", "noeviction");
    assert_true(run_until(world, is_ready, SOON_MS));
    assert_works(world);
}

static void test_who_may_not_ask_is_told(void **state)
{
    struct world *world = *state;

    REDIS_DO(world->redis, "ACL", "SETUSER", "default", "-info");
    open_store(world, redis_port(world->redis));
    assert_comes_to_state(world, "allow this user INFO");
    REDIS_DO(world->redis, "ACL", "SETUSER", "default", "+info");
    assert_true(run_until(world, is_ready, SOON_MS));
}

#define WITH(setup, test) cmocka_unit_test_setup_teardown(test, setup, teardown)

/* With a name, or a pattern: only these tests. */
int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH(setup_ready, test_becomes_ready_and_knows_the_time),
        WITH(setup_ready, test_calls_of_a_turn_are_one_batch_answered_in_order),
        WITH(setup_ready, test_writing_calls_carry_epoch_and_limit),
        WITH(setup_ready, test_reading_calls_carry_nothing),
        WITH(setup_ready, test_plain_commands_and_kinds_of_items),
        WITH(setup_ready, test_what_functions_answer),
        WITH(setup_ready, test_errors_of_a_real_server),
        WITH(setup_server, test_a_refused_connection),
        WITH(setup_ready, test_a_server_killed_with_calls_under_way),
        WITH(setup_ready, test_what_the_kernel_did_not_take),
        WITH(setup_ready, test_large_calls_go_out_in_parts),
        WITH(setup_ready, test_a_silent_server),
        WITH(setup_ready, test_a_silent_server_without_calls),
        WITH(setup_behind, test_a_shard_that_is_behind),
        WITH(setup_behind, test_a_few_may_wait),
        WITH(setup_behind, test_a_shard_that_stays_behind),
        WITH(setup_ready, test_a_connection_that_breaks),
        WITH(setup_ready, test_no_call_is_repeated_twice),
        WITH(setup_ready, test_closing_completes_what_waits_to_be_repeated),
        WITH(setup_ready, test_functions_flushed),
        WITH(setup_server, test_two_workers_load_the_library),
        WITH(setup_ready, test_a_function_that_the_library_does_not_have),
        WITH(setup_ready, test_a_ring_that_changes),
        WITH(setup_server, test_a_shard_that_is_not_ours_is_refused),
        WITH(setup_server, test_passwords_and_permissions),
        WITH(setup_ready, test_more_calls_than_may_be_under_way),
        WITH(setup_ready, test_completions_that_send),
        WITH(setup_ready, test_closing_completes_what_is_owed),
        WITH(setup_server, test_shards_fail_apart),
        WITH(setup_bare, test_servers_that_talk_nonsense),
        WITH(setup_bare, test_a_server_that_accepts_and_is_silent),
        WITH(setup_bare, test_closing_early),
        WITH(setup_ready, test_standing_in_line),
        WITH(setup_ready, test_no_replicas_cost_nothing),
        WITH(setup_replicated, test_a_turn_has_one_wait),
        WITH(setup_replicated, test_reads_need_no_replica),
        WITH(setup_replicated, test_held_answers_are_whole),
        WITH(setup_replicated, test_a_silent_replica),
        WITH(setup_replicated, test_many_turns_share_waits),
        WITH(setup_replicated, test_held_answers_of_a_lost_connection),
        WITH(setup_replicated, test_a_barrier_that_is_refused),
        WITH(setup_replicated, test_a_wait_that_is_refused),
        WITH(setup_server, test_what_a_shard_promises),
        WITH(setup_server, test_a_promise_that_is_taken_back),
        WITH(setup_server, test_who_may_not_ask_is_told),
    };

    log_start("store_test", LOG_ERROR);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
