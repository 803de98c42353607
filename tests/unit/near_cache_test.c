#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "near_cache.h"

/* An answer here is a number; how many were dropped is counted. */
struct answer {
    int number;
};

static unsigned alive;

static struct answer *answer_of(int number)
{
    struct answer *answer = malloc(sizeof(*answer));

    assert_non_null(answer);
    answer->number = number;
    alive++;
    return answer;
}

static void drop(void *answer)
{
    alive--;
    free(answer);
}

static unsigned shard_of(const void *cookie, int64_t id)
{
    return (unsigned)id % *(const unsigned *)cookie;
}

#define BOUND 1000

static struct near_cache *cache_new(size_t bytes, const unsigned *shards)
{
    const struct near_settings settings = {bytes, BOUND, *shards, shard_of, shards, drop};
    struct near_cache *cache = near_new(&settings);

    assert_non_null(cache);
    return cache;
}

/* Every shard tells of its changes since ${asked}. */
static void lease_all(struct near_cache *cache, unsigned shards, int64_t asked)
{
    for (unsigned i = 0; i < shards; i++) {
        near_answered(cache, i, asked);
        near_answered(cache, i, asked);
    }
}

/* Reads it: planted, filled. Returns whether it was kept. */
static bool keep(struct near_cache *cache, const char *key, int64_t record, int64_t last, int number, size_t bytes, int64_t now)
{
    bool joined;
    struct near_mark *mark = near_mark(cache, view_of(key), record, now, &joined);
    struct answer *answer = answer_of(number);

    assert_non_null(mark);
    assert_false(joined);
    if (near_fill(cache, mark, number, last, answer, bytes))
        return true;
    drop(answer);
    return false;
}

/* The number that is kept under ${key}; 0 if nothing is. */
static int kept(struct near_cache *cache, const char *key, int64_t now)
{
    const struct answer *answer = near_hit(cache, view_of(key), now);

    return answer ? answer->number : 0;
}

static void test_life(void **state)
{
    const unsigned shards = 2;
    struct near_cache *cache = cache_new(1 << 20, &shards);

    assert_int_equal(kept(cache, "/a", 1), 0);
    lease_all(cache, shards, 1);
    assert_true(keep(cache, "/a", 4, 4, 7, 10, 2));
    assert_int_equal(kept(cache, "/a", 3), 7);
    assert_int_equal(kept(cache, "/b", 3), 0);
    near_changed(cache, 5);
    assert_int_equal(kept(cache, "/a", 3), 7);
    near_changed(cache, 4);
    assert_int_equal(kept(cache, "/a", 3), 0);
    assert_true(keep(cache, "/a", 4, 4, 8, 10, 4));
    assert_int_equal(near_figures(cache).hits, 2);
    assert_int_equal(near_figures(cache).misses, 2);
    assert_int_equal(near_figures(cache).answers, 1);
    near_free(cache);
    assert_int_equal(alive, 0);
}

static void test_lease(void **state)
{
    static const struct {
        const char *name;
        int64_t asked[3]; /* of the answers that have come; 0: no more */
        int64_t now;
        bool leased;
    } cases[] = {
        {"never asked", {0}, 5, false},
        {"one answer proves nothing", {10}, 11, false},
        {"two do", {10, 20}, 21, true},
        {"the last moment", {10, 20}, 10 + BOUND - 1, true},
        {"from the first, not from the last", {10, 20}, 10 + BOUND, false},
        {"the third counts from the second", {10, 20, 30}, 20 + BOUND - 1, true},
        {"and no longer", {10, 20, 30}, 20 + BOUND, false},
    };
    const unsigned shards = 1;

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct near_cache *cache = cache_new(1 << 20, &shards);
        bool joined;

        print_message("%s\n", cases[i].name);
        for (size_t n = 0; n < 3 && cases[i].asked[n]; n++)
            near_answered(cache, 0, cases[i].asked[n]);
        assert_int_equal(near_leased(cache, 0, cases[i].now), cases[i].leased);
        struct near_mark *mark = near_mark(cache, VIEW("/a"), 1, cases[i].now, &joined);
        assert_int_equal(mark != NULL, cases[i].leased);
        if (mark)
            near_unmark(cache, mark);
        near_lost(cache, 0);
        assert_false(near_leased(cache, 0, cases[i].now));
        near_answered(cache, 0, cases[i].now);
        assert_false(near_leased(cache, 0, cases[i].now));
        near_free(cache);
    }
}

/* What happens between the mark and the answer, and is the answer kept? */
static void test_poison(void **state)
{
    static const struct {
        const char *name;
        int64_t record, last; /* 0: a range up to ${last} */
        char what;            /* c: changed, w: wrote, l: lost, s: saw another version, n: nothing */
        int64_t id;
        bool kept;
    } cases[] = {
        {"nothing", 4, 4, 'n', 0, true},
        {"its record", 4, 4, 'c', 4, false},
        {"another record", 4, 4, 'c', 6, true},
        {"written by us", 4, 4, 'w', 4, false},
        {"something written by us", 4, 4, 'w', 0, true},
        {"its shard lost", 4, 4, 'l', 0, false},
        {"another shard lost", 4, 4, 'l', 1, true},
        {"another version seen while it is read", 4, 4, 's', 4, true},
        {"page, nothing", 0, 10, 'n', 0, true},
        {"page, within", 0, 10, 'c', 7, false},
        {"page, its last", 0, 10, 'c', 10, false},
        {"page, behind", 0, 10, 'c', 11, true},
        {"last page, anything", 0, NEAR_LAST, 'c', 1 << 30, false},
        {"last page, nothing", 0, NEAR_LAST, 'n', 0, true},
        {"page, something written by us", 0, 10, 'w', 0, false},
        {"page, any shard lost", 0, 10, 'l', 1, false},
    };
    const unsigned shards = 2;

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct near_cache *cache = cache_new(1 << 20, &shards);
        struct answer *answer = answer_of(1);
        bool joined;

        print_message("%s\n", cases[i].name);
        lease_all(cache, shards, 1);
        struct near_mark *mark = near_mark(cache, VIEW("/a"), cases[i].record, 2, &joined);
        if (cases[i].what == 'c')
            near_changed(cache, cases[i].id);
        else if (cases[i].what == 'w')
            near_wrote(cache, cases[i].id);
        else if (cases[i].what == 'l')
            near_lost(cache, (unsigned)cases[i].id);
        else if (cases[i].what == 's')
            near_saw(cache, cases[i].id, 9);
        assert_int_equal(near_fill(cache, mark, 1, cases[i].last, answer, 10), cases[i].kept);
        if (!cases[i].kept)
            drop(answer);
        lease_all(cache, shards, 3);
        assert_int_equal(kept(cache, "/a", 4), cases[i].kept ? 1 : 0);
        near_free(cache);
        assert_int_equal(alive, 0);
    }
}

static void test_what_goes(void **state)
{
    const unsigned shards = 2;
    struct near_cache *cache = cache_new(1 << 20, &shards);

    lease_all(cache, shards, 1);
    keep(cache, "/4", 4, 4, 1, 10, 2);
    keep(cache, "/4?as=other", 4, 4, 1, 10, 2);
    keep(cache, "/5", 5, 5, 2, 10, 2);
    keep(cache, "/page", 0, 10, 3, 10, 2);
    keep(cache, "/last", 0, NEAR_LAST, 4, 10, 2);
    near_changed(cache, 12); /* only the page without an end could have it */
    assert_int_equal(kept(cache, "/page", 3), 3);
    assert_int_equal(kept(cache, "/last", 3), 0);
    near_changed(cache, 4);
    assert_int_equal(kept(cache, "/4", 3) + kept(cache, "/4?as=other", 3) + kept(cache, "/page", 3), 0);
    assert_int_equal(kept(cache, "/5", 3), 2);
    near_saw(cache, 5, 2);
    assert_int_equal(kept(cache, "/5", 3), 2);
    near_saw(cache, 5, 3);
    assert_int_equal(kept(cache, "/5", 3), 0);
    keep(cache, "/4", 4, 4, 1, 10, 4);
    keep(cache, "/5", 5, 5, 2, 10, 4);
    near_lost(cache, 0);
    lease_all(cache, shards, 5);
    assert_int_equal(kept(cache, "/4", 6), 0);
    assert_int_equal(kept(cache, "/5", 6), 2);
    near_free(cache);
    assert_int_equal(alive, 0);
}

static void test_joining(void **state)
{
    const unsigned shards = 1;
    struct near_cache *cache = cache_new(1 << 20, &shards);
    bool joined;

    lease_all(cache, shards, 1);
    struct near_mark *first = near_mark(cache, VIEW("/a"), 1, 10, &joined);
    assert_false(joined);
    assert_null(*near_waiting(first));
    assert_ptr_equal(near_mark(cache, VIEW("/a"), 1, 11, &joined), first);
    assert_true(joined);
    *near_waiting(first) = &joined;
    /* Poisoned: who comes now reads for himself, and who waited is still there. */
    near_changed(cache, 1);
    struct near_mark *second = near_mark(cache, VIEW("/a"), 1, 12, &joined);
    assert_false(joined);
    assert_ptr_not_equal(second, first);
    assert_ptr_equal(*near_waiting(first), &joined);
    near_unmark(cache, first);
    /* One that was asked for too long ago is not for new ones, either; it is not kept over the newer. */
    lease_all(cache, shards, 12 + BOUND);
    struct near_mark *third = near_mark(cache, VIEW("/a"), 1, 12 + BOUND, &joined);
    assert_false(joined);
    struct answer *late = answer_of(2);
    assert_false(near_fill(cache, second, 2, 1, late, 10));
    drop(late);
    assert_true(near_fill(cache, third, 3, 1, answer_of(3), 10));
    assert_int_equal(kept(cache, "/a", 13 + BOUND), 3);
    near_free(cache);
    assert_int_equal(alive, 0);
}

/* A page that is being read while we write is not for those who come after the write. */
static void test_joining_page(void **state)
{
    const unsigned shards = 1;
    struct near_cache *cache = cache_new(1 << 20, &shards);
    bool joined;

    lease_all(cache, shards, 1);
    struct near_mark *first = near_mark(cache, VIEW("/page"), 0, 10, &joined);
    near_changed(cache, 99);
    assert_ptr_equal(near_mark(cache, VIEW("/page"), 0, 11, &joined), first);
    assert_true(joined);
    near_wrote(cache, 99);
    struct near_mark *second = near_mark(cache, VIEW("/page"), 0, 12, &joined);
    assert_false(joined);
    near_unmark(cache, first);
    near_unmark(cache, second);
    near_free(cache);
}

/* Bounded by bytes; what is asked for again and again stays while what is asked for once goes through. */
static void test_eviction(void **state)
{
    const unsigned shards = 1;
    struct near_cache *cache = cache_new(64 * 1024, &shards);
    char key[32];

    lease_all(cache, shards, 1);
    assert_false(keep(cache, "/large", 1000000, 1000000, 1, 9 * 1024, 2));
    for (int id = 1; id <= 5000; id++) {
        snprintf(key, sizeof(key), "/%d", id);
        assert_true(keep(cache, key, id, id, id, 1000, 2));
        if (id > 8)
            for (int hot = 1; hot <= 8; hot++) {
                snprintf(key, sizeof(key), "/%d", hot);
                assert_int_equal(kept(cache, key, 2), hot);
            }
        assert_true(near_figures(cache).bytes <= 64 * 1024);
    }
    assert_true(near_figures(cache).answers > 40);
    assert_int_equal(near_figures(cache).evictions + near_figures(cache).answers, 5000);
    assert_int_equal(alive, near_figures(cache).answers);
    near_free(cache);
    assert_int_equal(alive, 0);
}

/* An answer that grows takes the room of others, when the next is kept. */
static void test_growing(void **state)
{
    const unsigned shards = 1;
    struct near_cache *cache = cache_new(64 * 1024, &shards);

    lease_all(cache, shards, 1);
    assert_true(keep(cache, "/1", 1, 1, 1, 8000, 2));
    assert_true(keep(cache, "/2", 2, 2, 2, 1000, 2));
    size_t before = near_figures(cache).bytes;
    near_grew(cache, VIEW("/2"), 60000);
    assert_int_equal(near_figures(cache).bytes, before + 60000);
    assert_int_equal(near_figures(cache).answers, 2);
    assert_true(keep(cache, "/3", 3, 3, 3, 1000, 2));
    assert_true(near_figures(cache).bytes <= 64 * 1024);
    assert_int_equal(kept(cache, "/1", 2), 0);
    near_free(cache);
    assert_int_equal(alive, 0);
}

/* A page is compared with all that changes, so there are not many; the next is read every time. */
static void test_pages_bounded(void **state)
{
    const unsigned shards = 1;
    struct near_cache *cache = cache_new(16 << 20, &shards);
    char key[32];
    unsigned planted = 0;
    bool joined;

    lease_all(cache, shards, 1);
    for (int i = 0; i < 1000; i++) {
        snprintf(key, sizeof(key), "/page?limit=%d", i);
        struct near_mark *mark = near_mark(cache, view_of(key), 0, 2, &joined);
        if (mark)
            assert_true(near_fill(cache, mark, 0, 5, answer_of(1), 10));
        planted += mark != NULL;
    }
    assert_in_range(planted, 64, 256);
    near_changed(cache, 5);
    assert_int_equal(near_figures(cache).answers, 0);
    assert_non_null(near_mark(cache, VIEW("/page?limit=999"), 0, 2, &joined) ? &joined : NULL);
    near_unmark(cache, near_mark(cache, VIEW("/page?limit=999"), 0, 2, &joined));
    near_free(cache);
}

/*
 * One record, its shard, the two connections, a worker that reads it, in every order in which things can happen (bounded by how often each may):
 *
 *   WRITE     the shard changes the record, in the present turn of its loop
 *   TURN      the turn ends: answers leave, and behind them the news of what it has changed
 *   ASK       the worker asks for a sign of life; the shard sees it in the present turn
 *   NEWS      the worker gets the next thing from the connection of the news: a change, or a sign of life
 *   READ      a client asks: a hit, or the read is sent; the shard carries it out at CARRY
 *   FRESH     a client asks for what is not kept
 *   CARRY     … in the present turn
 *   ANSWER    the worker gets the next answer
 *   TIME      a third of the bound passes
 *   CUT       the connection of the news dies: what is in it is gone. The worker finds that out at NOTICE, and is connected again at once
 *
 * What must hold of every hit: the record had that version less than the bound ago; and no hit and no read shows an older version than one before it.
 */
enum act { WRITE, TURN, ASK, NEWS, READ, FRESH, CARRY, ANSWER, TIME, CUT, NOTICE, ACTS };
static const unsigned most[ACTS] = {[WRITE] = 2,  [TURN] = 6,  [ASK] = 4,    [NEWS] = 7, [READ] = 4,  [FRESH] = 1,
                                    [CARRY] = 3, [ANSWER] = 3, [TIME] = 5, [CUT] = 1,  [NOTICE] = 1};
#define PATH_MAX_ACTS 26
#define TICK (BOUND / 3 + 1)
#define VERSIONS 4

struct world {
    struct near_cache *cache;
    unsigned done[ACTS];
    int64_t now;
    unsigned turn;
    int version;                   /* at the shard */
    int64_t superseded[VERSIONS];  /* when each was, at the shard */
    bool told;                     /* the present turn's changes are in the news */
    struct {
        char what; /* c: changed, p: a sign of life */
        int64_t asked;
        unsigned turn; /* it leaves when this turn has ended */
    } news[64];
    unsigned news_first, news_count;
    bool asking; /* a sign of life is awaited */
    struct {
        struct near_mark *mark;
        int version; /* 0: not carried out yet */
        unsigned turn;
    } reads[32];
    unsigned read_first, read_carried, read_count;
    int shown; /* the newest version that a client of this worker was shown */
    bool cut;
};

static const char *wrong; /* what must not be, and was */
static unsigned long hits;

static void show(struct world *world, int version, bool hit)
{
    if (hit && world->superseded[version] && world->now - world->superseded[version] >= BOUND)
        wrong = "a hit that is older than the bound";
    if (version < world->shown)
        wrong = "this worker went back";
    world->shown = version > world->shown ? version : world->shown;
    hits += hit;
}

static void read_it(struct world *world)
{
    const struct answer *answer = near_hit(world->cache, VIEW("/a"), world->now);
    bool joined = false;

    if (answer) {
        show(world, answer->number, true);
        return;
    }
    struct near_mark *mark = near_mark(world->cache, VIEW("/a"), 1, world->now, &joined);
    if (joined)
        return; /* gets what the other gets */
    world->reads[world->read_count++].mark = mark;
}

static void got_answer(struct world *world)
{
    unsigned n = world->read_first++;
    int version = world->reads[n].version;
    struct answer *answer = answer_of(version);

    if (!world->reads[n].mark)
        near_saw(world->cache, 1, version);
    if (!world->reads[n].mark || !near_fill(world->cache, world->reads[n].mark, version, 1, answer, 10))
        drop(answer);
    show(world, version, false);
}

static void got_news(struct world *world)
{
    unsigned n = world->news_first++;

    if (world->news[n].what == 'c') {
        near_changed(world->cache, 1);
    } else {
        world->asking = false;
        near_answered(world->cache, 0, world->news[n].asked);
    }
}

/* As far as the things themselves go; ${most} bounds how often. */
static bool possible(const struct world *world, enum act act)
{
    switch (act) {
    case ASK:
        return !world->asking && !world->cut;
    case NEWS:
        return world->news_first < world->news_count && world->news[world->news_first].turn < world->turn;
    case CARRY:
        return world->read_carried < world->read_count;
    case ANSWER:
        return world->read_first < world->read_carried && world->reads[world->read_first].turn < world->turn;
    case CUT:
        return !world->cut;
    case NOTICE:
        return world->cut;
    default:
        return true;
    }
}

static void take(struct world *world, enum act act)
{
    world->done[act]++;
    switch (act) {
    case WRITE:
        world->superseded[world->version++] = world->now;
        world->told = false;
        break;
    case TURN:
        if (!world->told && !world->cut)
            world->news[world->news_count++] = (typeof(world->news[0])){.what = 'c', .turn = world->turn};
        world->told = true;
        world->turn++;
        break;
    case ASK:
        world->asking = true;
        world->news[world->news_count++] = (typeof(world->news[0])){.what = 'p', .asked = world->now, .turn = world->turn};
        break;
    case FRESH:
        world->read_count++;
        break;
    case NEWS:
        got_news(world);
        break;
    case READ:
        read_it(world);
        break;
    case CARRY:
        world->reads[world->read_carried].turn = world->turn;
        world->reads[world->read_carried++].version = world->version;
        break;
    case ANSWER:
        got_answer(world);
        break;
    case TIME:
        world->now += TICK;
        break;
    case CUT:
        world->cut = true;
        world->news_first = world->news_count = 0;
        break;
    case NOTICE:
        near_lost(world->cache, 0);
        world->cut = world->asking = false;
        world->told = true; /* a change of the present turn came before the new connection listened */
        break;
    default:
        break;
    }
}

static void world_free(struct world *world)
{
    for (unsigned n = world->read_first; n < world->read_count; n++)
        if (world->reads[n].mark)
            near_unmark(world->cache, world->reads[n].mark);
    near_free(world->cache);
}

/* It has listened for a while, and keeps the first version, or nothing. */
static struct world world_new(bool kept)
{
    static const unsigned shards = 1;
    struct world world = {.now = 1, .turn = 1, .version = 1, .told = true, .cache = cache_new(1 << 16, &shards)};

    lease_all(world.cache, 1, 1);
    if (kept)
        keep(world.cache, "/a", 1, 1, 1, 10, 1);
    return world;
}

static void take_all(struct world *world, enum act act)
{
    while (possible(world, act))
        take(world, act);
}

/*
 * Whatever has happened: now everything works again, twice the bound passes, and a client asks all the time. What was kept wrongly on the way is
 * shown to him here.
 */
static void calm_down(struct world *world)
{
    if (world->cut)
        take(world, NOTICE);
    for (int i = 0; i < 7; i++) {
        take_all(world, CARRY);
        take(world, TURN);
        take_all(world, NEWS);
        take_all(world, ANSWER);
        take(world, READ);
        if (possible(world, ASK))
            take(world, ASK);
        take(world, TIME);
    }
}

/* Runs ${path}; returns whether each of its acts was possible. */
static bool run(bool kept, const enum act *path, size_t len)
{
    struct world world = world_new(kept);
    bool fine = true;

    for (size_t i = 0; i < len && fine; i++) {
        fine = world.done[path[i]] < most[path[i]] && possible(&world, path[i]);
        if (fine)
            take(&world, path[i]);
    }
    if (fine)
        calm_down(&world);
    world_free(&world);
    return fine;
}

/* At random, since all orders are too many; the same ones every time. Long enough ones find every fault that was planted (tests/controls). */
static uint64_t dice = 1;

static unsigned roll(unsigned sides)
{
    dice = dice * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (unsigned)(dice >> 33) % sides;
}

static void tell(const enum act *path, size_t len)
{
    static const char *const names[ACTS] = {"WRITE", "TURN", "ASK", "NEWS", "READ", "FRESH", "CARRY", "ANSWER", "TIME", "CUT", "NOTICE"};

    for (size_t i = 0; i < len; i++)
        print_message("%s ", names[path[i]]);
    fail_msg("%s", wrong);
}

/* One of those that are possible; ACTS if none is. */
static enum act roll_act(const struct world *world)
{
    enum act acts[ACTS];
    unsigned count = 0;

    for (enum act act = 0; act < ACTS; act++)
        if (world->done[act] < most[act] && possible(world, act))
            acts[count++] = act;
    return count ? acts[roll(count)] : ACTS;
}

#define ORDERS 300000
static void test_random_orders(void **state)
{
    hits = 0;
    for (unsigned long n = 0; n < ORDERS && !wrong; n++) {
        struct world world = world_new(n % 2);
        enum act path[PATH_MAX_ACTS];
        size_t len = 0;

        while (len < PATH_MAX_ACTS && !wrong) {
            path[len] = roll_act(&world);
            if (path[len] == ACTS)
                break;
            take(&world, path[len++]);
        }
        calm_down(&world);
        world_free(&world);
        if (wrong)
            tell(path, len);
    }
    print_message("%d orders, %lu hits\n", ORDERS, hits);
    assert_true(hits > ORDERS / 10);
}

/* Every order of few acts: each path that is possible is extended by each act that is. */
static unsigned long explored;

static void explore(bool kept, enum act *path, size_t len, size_t longest)
{
    explored++;
    for (enum act act = 0; act < ACTS && len < longest; act++) {
        path[len] = act;
        if (!run(kept, path, len + 1))
            continue;
        if (wrong)
            tell(path, len + 1);
        explore(kept, path, len + 1, longest);
    }
}

static void test_all_orders(void **state)
{
    enum act path[PATH_MAX_ACTS];

    explored = hits = 0;
    explore(true, path, 0, 7);
    explore(false, path, 0, 7);
    print_message("%lu orders, %lu hits\n", explored, hits);
    assert_true(explored > 100000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_life),          cmocka_unit_test(test_lease),      cmocka_unit_test(test_poison),
        cmocka_unit_test(test_what_goes),     cmocka_unit_test(test_joining),    cmocka_unit_test(test_joining_page),
        cmocka_unit_test(test_eviction),      cmocka_unit_test(test_growing),    cmocka_unit_test(test_pages_bounded),
        cmocka_unit_test(test_random_orders), cmocka_unit_test(test_all_orders),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
