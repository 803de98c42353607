#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "lua_test_lib.h"

/* Product 5 with 9 on hand, and T's hold of 2 of them in each phase: taken 5 s ago by an order of partition 7, to be asked about in 5 s. */
#define PRODUCT "HSET product:{5}:5 v 3 doc D1 ; ZADD products:{5} 5 5 ; "
#define STOCK(held, committed) PRODUCT "HSET stock:{5}:5 on_hand 9 held " held " committed " committed " v 4"
#define ASK(at) " ; HSET stock:{5}:5 ask " at " ; ZADD asks:{5} " at " 5"
#define ABSENT STOCK("0", "0")
#define HELD "HSET stock:{5}:5 $T held|2|7|" IN_5_S "|" AGO_5_S " ; " STOCK("2", "0") ASK("@+5000")
#define DUE "HSET stock:{5}:5 $T held|2|7|@-1000|@-10000 ; " STOCK("2", "0") ASK("@-1000") /* the same, 5 s later and more */
#define COMMITTED "HSET stock:{5}:5 $T committed|2|7|0|" AGO_5_S " ; " STOCK("0", "2")
#define RELEASED "HSET stock:{5}:5 $T released|2|7|" AGO_5_S "|" AGO_5_S " ; " STOCK("0", "0") ASK("@+595000")
#define RESTOCKED "HSET stock:{5}:5 $T restocked|2|7|" AGO_5_S "|" AGO_5_S " ; " STOCK("0", "0") ASK("@+595000")
#define CONSUMED "HSET stock:{5}:5 $T consumed|2|7|" AGO_5_S "|" AGO_5_S " ; " STOCK("0", "0") ASK("@+595000")
/* Times inside a hold's text. */
#define AGO_5_S "@-5000"
#define IN_5_S "@+5000"

#define TRY(quantity) "try stock:{5}:5 5 5 $T " quantity " 7 10000 0"
#define CONFIRM "confirm stock:{5}:5 5 5 $T "
#define CONSUME "consume stock:{5}:5 5 5 $T "
#define RELEASE "release stock:{5}:5 5 5 $T "
#define KEEP "keep stock:{5}:5 5 5 $T "

#define COUNTERS(text) "HMGET stock:{5}:5 on_hand held committed v => " text
#define LEDGER(text) " ; XRANGE moves:{5}:5 - + => * " text
#define PHASE(text) " ; HGET stock:{5}:5 $T => " text
#define ASKED(at) " ; HGET stock:{5}:5 ask => " at " ; ZSCORE asks:{5} 5 => " at

static const struct lua_case cases[] = {
    /* Every phase × every function. */
    {"try: absent", ABSENT, TRY("2"), "0 7 3 D1", COUNTERS("9 2 0 5") LEDGER("m hold|2|$T||9|2|0|5|") PHASE("held|2|7|@+10000|@+0") ASKED("@+10000")},
    {"try: held", HELD, TRY("2"), "16 3 D1 held", NULL},
    {"try: committed", COMMITTED, TRY("2"), "16 3 D1 committed", NULL},
    {"try: released", RELEASED, TRY("2"), "21 released", NULL},
    {"try: restocked", RESTOCKED, TRY("2"), "21 restocked", NULL},
    {"try: consumed", CONSUMED, TRY("2"), "21 consumed", NULL},
    {"confirm: absent", ABSENT, CONFIRM "5000 263", "25", NULL},
    {"confirm: held", HELD, CONFIRM "5000 263", "0 committed",
     COUNTERS("9 0 2 5") LEDGER("m commit|2|$T|263|9|0|2|5|") PHASE("committed|2|7|0|@-5000") ASKED("@+5000")},
    {"confirm: committed", COMMITTED, CONFIRM "5000 263", "0 committed", COUNTERS("9 0 2 4")},
    {"confirm: released", RELEASED, CONFIRM "5000 263", "0 released", COUNTERS("9 0 0 4")},
    {"confirm: restocked", RESTOCKED, CONFIRM "5000 263", "0 restocked", COUNTERS("9 0 0 4")},
    {"confirm: consumed", CONSUMED, CONFIRM "5000 263", "0 consumed", COUNTERS("9 0 0 4")},
    {"release: absent leaves a mark", ABSENT, RELEASE "-1 ''", "0 released",
     COUNTERS("9 0 0 4") " ; EXISTS moves:{5}:5 => 0" PHASE("released|0|0|@+0|@+0") ASKED("@+600000")},
    {"release: held", HELD, RELEASE "5000 263", "0 released",
     COUNTERS("9 0 0 5") LEDGER("m release|2|$T|263|9|0|0|5|") PHASE("released|2|7|@+0|@-5000") ASKED("@+5000")},
    {"release: committed", COMMITTED, RELEASE "5000 263", "0 restocked",
     COUNTERS("9 0 0 5") LEDGER("m restock|2|$T|263|9|0|0|5|") PHASE("restocked|2|7|@+0|@-5000") ASKED("@+600000")},
    {"release: released", RELEASED, RELEASE "5000 263", "0 released", COUNTERS("9 0 0 4") PHASE("released|2|7|@-5000|@-5000")},
    {"release: restocked", RESTOCKED, RELEASE "5000 263", "0 restocked", COUNTERS("9 0 0 4")},
    {"release: consumed", CONSUMED, RELEASE "5000 263", "0 consumed", COUNTERS("9 0 0 4")},
    {"consume: absent", ABSENT, CONSUME "5000 263", "25", NULL},
    {"consume: held", HELD, CONSUME "5000 263", "0 consumed",
     COUNTERS("7 0 0 5") LEDGER("m consume|2|$T|263|7|0|0|5|") PHASE("consumed|2|7|@+0|@-5000") ASKED("@+5000")},
    {"consume: committed", COMMITTED, CONSUME "5000 263", "0 consumed",
     COUNTERS("7 0 0 5") LEDGER("m consume|2|$T|263|7|0|0|5|") PHASE("consumed|2|7|@+0|@-5000") ASKED("@+600000")},
    {"consume: released", RELEASED, CONSUME "5000 263", "0 released", COUNTERS("9 0 0 4")},
    {"consume: restocked", RESTOCKED, CONSUME "5000 263", "0 restocked", COUNTERS("9 0 0 4")},
    {"consume: consumed", CONSUMED, CONSUME "5000 263", "0 consumed", COUNTERS("9 0 0 4")},
    {"keep: absent", ABSENT, KEEP "60000", "0 ''", PHASE("(nil)") " ; HGET stock:{5}:5 ask => (nil)"},
    {"keep: held", DUE, KEEP "60000", "0 held", COUNTERS("9 2 0 4") PHASE("held|2|7|@+60000|@-10000") ASKED("@-1000")},
    {"keep: due just now", "HSET stock:{5}:5 $T held|2|7|@+0|@-10000 ; " STOCK("2", "0") ASK("@+0"), KEEP "60000", "0 held",
     PHASE("held|2|7|@+60000|@-10000")},
    {"keep: held, and kept before", HELD, KEEP "60000", "0 held", PHASE("held|2|7|@+5000|@-5000") ASKED("@+5000")},
    {"keep: held, and kept before for a little longer", HELD, KEEP "4954", "0 held", PHASE("held|2|7|@+5000|@-5000") ASKED("@+5000")},
    {"keep: committed", COMMITTED, KEEP "60000", "0 committed", PHASE("committed|2|7|0|@-5000") " ; HGET stock:{5}:5 ask => (nil)"},
    {"keep: released", RELEASED, KEEP "60000", "0 released", PHASE("released|2|7|@-5000|@-5000")},
    {"keep: restocked", RESTOCKED, KEEP "60000", "0 restocked", NULL},
    {"keep: consumed", CONSUMED, KEEP "60000", "0 consumed", NULL},
    {"keep: of a deleted product", "HSET stock:{5}:5 $T released|2|7|@-5000|@-5000", KEEP "60000", "0 released", "HLEN stock:{5}:5 => 1"},
    {"keep: several", DUE " ; HSET stock:{5}:5 $U held|1|7|@-2000|@-4000", KEEP "60000 $H.$F.7 50000 $U 40000", "0 held '' held",
     "HMGET stock:{5}:5 $T $U => held|2|7|@+60000|@-10000 held|1|7|@+40000|@-4000 ; HEXISTS stock:{5}:5 $H.$F.7 => 0" ASKED("@-1000")},
    {"keep: one that is held among others", COMMITTED " ; HSET stock:{5}:5 $U held|1|7|@-2000|@-4000", KEEP "60000 $U 40000", "0 committed held",
     "HMGET stock:{5}:5 $T $U => committed|2|7|0|@-5000 held|1|7|@+40000|@-4000"},
    {"keep: no time is left", DUE, KEEP "0", "0 held", PHASE("held|2|7|@+0|@-10000") ASKED("@-1000")},

    /* The age rule: this hold was taken 5 s ago. It is the order's when the order is up to 5 minutes older. */
    {"confirm: as old as the margin", HELD, CONFIRM "303000 263", "0 committed", NULL},
    {"confirm: long after its order", HELD, CONFIRM "307000 263", "0 released",
     COUNTERS("9 0 0 5") LEDGER("m release|2|$T|263|9|0|0|5|") PHASE("released|2|7|@+0|@-5000")},
    {"confirm: age not known", HELD, CONFIRM "-1 263", "0 committed", NULL},
    {"confirm: age zero", HELD, CONFIRM "0 263", "0 committed", NULL},
    {"confirm: committed stays, whatever the age", COMMITTED, CONFIRM "9999999999 263", "0 committed", COUNTERS("9 0 2 4")},
    {"consume: as old as the margin", HELD, CONSUME "303000 263", "0 consumed", NULL},
    {"consume: held long after its order", HELD, CONSUME "307000 263", "0 released", COUNTERS("9 0 0 5") LEDGER("m release|2|$T|263|9|0|0|5|")},
    {"consume: committed long after its order", COMMITTED, CONSUME "307000 263", "0 restocked",
     COUNTERS("9 0 0 5") LEDGER("m restock|2|$T|263|9|0|0|5|")},
    {"consume: age not known", HELD, CONSUME "-1 ''", "0 consumed", LEDGER("m consume|2|$T||7|0|0|5|")},
    {"release: long after its order", HELD, RELEASE "307000 263", "0 released", NULL},

    /* try: how much there is, and which document. */
    {"try: all of it", ABSENT, TRY("9"), "0 0 3 D1", COUNTERS("9 9 0 5")},
    {"try: one more than all", ABSENT, TRY("10"), "20 9", NULL},
    {"try: all that is left", STOCK("4", "3"), TRY("2"), "0 0 3 D1", NULL},
    {"try: more than is left", STOCK("4", "3"), TRY("3"), "20 2", NULL},
    {"try: nothing is left", STOCK("5", "4"), TRY("1"), "20 0", NULL},
    {"try: short, nothing to ask yet", STOCK("9", "0") ASK("@+60000"), TRY("1"), "20 0", NULL},
    {"try: short, a hold may be asked about", STOCK("9", "0") ASK("@-1"), TRY("1"), "22 0", NULL},
    {"try: short, ask is 0", STOCK("9", "0") " ; HSET stock:{5}:5 ask 0", TRY("1"), "20 0", NULL},
    {"try: enough, though a hold may be asked about", STOCK("8", "0") ASK("@-1"), TRY("1"), "0 0 3 D1", ASKED("@-1")},
    {"try: a hold to be asked about sooner stays first", STOCK("1", "0") ASK("@+5000"), TRY("1"), "0 7 3 D1", ASKED("@+5000")},
    {"try: comes before what was first", STOCK("1", "0") ASK("@+60000"), TRY("1"), "0 7 3 D1", ASKED("@+10000")},
    {"try: no such product", NULL, TRY("1"), "10", NULL},
    {"try: the version that the caller has", ABSENT, "try stock:{5}:5 5 5 $T 2 7 10000 3", "0 7 3 ''", NULL},
    {"try: an older version", ABSENT, "try stock:{5}:5 5 5 $T 2 7 10000 2", "0 7 3 D1", NULL},
    {"try: held, the version that the caller has", HELD, "try stock:{5}:5 5 5 $T 2 7 10000 3", "16 3 '' held", NULL},
    {"try: held with another quantity", HELD, TRY("3"), "16 3 D1 held", NULL},
    {"try: asked about in whole seconds", ABSENT, TRY("2"), "0 7 3 D1", "EVAL 'return redis.call(\"HGET\", \"stock:{5}:5\", \"ask\") % 1000' 0 => 0"},
    {"try: a short one, when it says", ABSENT, "try stock:{5}:5 5 5 $T 2 7 1999 0", "0 7 3 D1",
     "EVAL 'local when, since = redis.call(\"HGET\", \"stock:{5}:5\", ARGV[1]):match(\"|(%d+)|(%d+)$\") return when - since' 0 $T => 1999"},
    {"try: another attempt", HELD, "try stock:{5}:5 5 5 $U 2 7 10000 0", "0 5 3 D1", COUNTERS("9 4 0 5") " ; HLEN stock:{5}:5 => 7"},
    {"try: twice", ABSENT " ; " TRY("2") " => 0 7 3 D1", TRY("2"), "16 3 D1 held", COUNTERS("9 2 0 5")},
    {"try: after release without hold", ABSENT " ; " RELEASE "-1 ''", TRY("2"), "21 released", NULL},
    {"release: of a deleted product", NULL, RELEASE "-1 ''", "0 released",
     "HLEN stock:{5}:5 => 1 ; EXISTS asks:{5} => 0" PHASE("released|0|0|@+0|@+0")},

    /* Arguments. */
    {"try: quantity zero", ABSENT, TRY("0"), "'-ERR souk: bad argument 4 of try'", NULL},
    {"try: quantity negative", ABSENT, TRY("-1"), "'-ERR souk: bad argument 4 of try'", NULL},
    {"try: quantity of 2^53", ABSENT, TRY("9007199254740992"), "'-ERR souk: bad argument 4 of try'", NULL},
    {"try: quantity of 2^53-1", ABSENT, TRY("9007199254740991"), "20 9", NULL},
    {"try: quantity garbage", ABSENT, TRY("1x"), "'-ERR souk: bad argument 4 of try'", NULL},
    {"try: name without attempt", ABSENT, "try stock:{5}:5 5 5 $H.$F. 1 7 10000 0", "'-ERR souk: bad argument 3 of try'", NULL},
    {"try: name with attempt 0", ABSENT, "try stock:{5}:5 5 5 $H.$F.0 1 7 10000 0", "'-ERR souk: bad argument 3 of try'", NULL},
    {"try: name with a short hash", ABSENT, "try stock:{5}:5 5 5 0123.$F.1 1 7 10000 0", "'-ERR souk: bad argument 3 of try'", NULL},
    {"try: name empty", ABSENT, "try stock:{5}:5 5 5 '' 1 7 10000 0", "'-ERR souk: bad argument 3 of try'", NULL},
    {"try: order partition too high", ABSENT, "try stock:{5}:5 5 5 $T 1 16384 10000 0", "'-ERR souk: bad argument 5 of try'", NULL},
    {"try: ask after a century", ABSENT, "try stock:{5}:5 5 5 $T 1 7 3155760000000 0", "'-ERR souk: bad argument 6 of try'", NULL},
    {"try: ask after as long as can be", ABSENT, "try stock:{5}:5 5 5 $T 1 7 999999999999 0", "0 8 3 D1", ASKED("@+999999999999")},
    {"try: known version garbage", ABSENT, "try stock:{5}:5 5 5 $T 1 7 10000 v3", "'-ERR souk: bad argument 7 of try'", NULL},
    {"try: key of another product", ABSENT, "try stock:{5}:6 5 5 $T 1 7 10000 0", "'-ERR souk: bad key of try'", NULL},
    {"confirm: age below -1", HELD, CONFIRM "-2 263", "'-ERR souk: bad argument 4 of confirm'", NULL},
    {"consume: order 0", HELD, CONSUME "1 0", "'-ERR souk: bad argument 5 of consume'", NULL},
    {"release: an argument missing", HELD, RELEASE "1", "'-ERR souk: wrong number of arguments of release'", NULL},
    {"keep: left negative", HELD, KEEP "-1", "'-ERR souk: bad argument 4 of keep'", NULL},
    {"keep: left negative for the second", HELD, KEEP "1 $U -1", "'-ERR souk: bad argument 6 of keep'", PHASE("held|2|7|@+5000|@-5000")},
    {"keep: nothing", HELD, "keep stock:{5}:5 5 5", "'-ERR souk: wrong number of arguments of keep'", NULL},

    /* look, in one step. */
    {"look: no such product", NULL, "look stock:{5}:5 5 5 0 0 0 9", "10", NULL},
    {"look: no holds", ABSENT ASK("@-1"), "look stock:{5}:5 5 5 0 0 0 9", "0 0 @+0 0 ''", "HGET stock:{5}:5 ask => 0 ; EXISTS asks:{5} => 0"},
    {"look: committed ones need none", COMMITTED ASK("@-1"), "look stock:{5}:5 5 5 0 0 0 9", "0 0 @+0 0 ''",
     "HGET stock:{5}:5 ask => 0 ; EXISTS asks:{5} => 0"},
    {"look: not yet", HELD ASK("@-1"), "look stock:{5}:5 5 5 0 0 0 9", "0 0 @+0 @+5000 ''", ASKED("@+5000")},
    {"look: due", "HSET stock:{5}:5 $T held|2|7|@-1|@-10000 $U held|1|9|@+20000|@-10000 ; " STOCK("3", "0") ASK("@-1"),
     "look stock:{5}:5 5 5 0 0 0 9", "0 0 @+0 @+0 $T 7", ASKED("@+0")},
    {"look: due exactly now", "HSET stock:{5}:5 $T held|2|7|@+0|@-10000 ; " STOCK("2", "0"), "look stock:{5}:5 5 5 0 0 0 9", "0 0 @+0 @+0 $T 7",
     NULL},
    {"look: more due than asked for", "HSET stock:{5}:5 $T held|2|7|@-1|@-10000 $U held|1|9|@-1|@-10000 ; " STOCK("3", "0") ASK("@-1"),
     "look stock:{5}:5 5 5 0 0 0 1", "0 0 @+0 @+0 $T 7", ASKED("@+0")},
    {"look: a young mark", RELEASED, "look stock:{5}:5 5 5 0 0 0 9", "0 0 @+0 @+595000 ''", "HLEN stock:{5}:5 => 6" ASKED("@+595000")},
    {"look: an old mark", "HSET stock:{5}:5 $T consumed|2|7|@-600001|@-700000 $U released|0|0|@-599000|@-599000 ; " STOCK("0", "0") ASK("@-1"),
     "look stock:{5}:5 5 5 0 0 0 9", "0 0 @+0 @+1000 ''", "HMGET stock:{5}:5 $T $U => (nil) released|0|0|@-599000|@-599000"},
    {"look: the last mark goes", "HSET stock:{5}:5 $T restocked|2|7|@-600001|@-700000 ; " STOCK("0", "0") ASK("@-1"), "look stock:{5}:5 5 5 0 0 0 9",
     "0 0 @+0 0 ''", "HLEN stock:{5}:5 => 5 ; EXISTS asks:{5} => 0"},
    {"look: cursor garbage", HELD, "look stock:{5}:5 5 5 x 0 0 9", "'-ERR souk: bad argument 3 of look'", NULL},
    {"look: most 0", HELD, "look stock:{5}:5 5 5 0 0 0 0", "'-ERR souk: bad argument 6 of look'", NULL},
};

#define HOLDS 2000

/* One whole look, step by step. Counts steps and named holds; each may be named again by a later step, so the first time counts. */
struct looked {
    int steps, named;
    long long started, least;
    bool seen[HOLDS + 1];
};

static void note_named(struct looked *looked, char *rest)
{
    for (char *word = strtok(rest, " "); word; word = strtok(NULL, " ")) {
        char *partition = strtok(NULL, " ");
        int number = (int)strtol(word, NULL, 16);

        if (strcmp(word, "''") == 0)
            return;
        assert_string_equal(partition, "7");
        assert_in_range(number, 1, HOLDS);
        looked->named += looked->seen[number] ? 0 : 1;
        looked->seen[number] = true;
    }
}

static void look(struct lua_shard *shard, int most, struct looked *looked)
{
    long long cursor = 0;
    int code, used;

    *looked = (struct looked){0};
    do {
        char *got = lua_do(shard, "look stock:{5}:5 5 5 %lld %lld %lld %d", cursor, looked->started, looked->least, most);

        assert_int_equal(sscanf(got, "%d %lld %lld %lld %n", &code, &cursor, &looked->started, &looked->least, &used), 4);
        assert_int_equal(code, 0);
        note_named(looked, got + used);
        looked->steps++;
        free(got);
    } while (cursor != 0);
}

/* ${count} holds 1, 2, …, as one transaction each, with this phase and time. */
static void fill(struct lua_shard *shard, int count, const char *phase, const char *when)
{
    char *got = lua_do(shard,
                       "EVAL 'for i = 1, %d do redis.call(\"HSET\", KEYS[1], string.format(\"%%032x.f00df00df00df00d.1\", i), "
                       "\"%s|1|7|\" .. ARGV[1] .. \"|\" .. ARGV[1]) end' 1 stock:{5}:5 %s",
                       count, phase, when);

    free(got);
    lua_check(shard, "HSET stock:{5}:5 on_hand 2000 held 2000 committed 0 v 1");
}

static void look_names_all_of_many(struct lua_shard *shard)
{
    struct looked looked;

    fill(shard, HOLDS, "held", "@-1000");
    look(shard, HOLDS, &looked);
    assert_int_equal(looked.named, HOLDS);
    assert_in_range(looked.started - looked.least, 1000, 2000);
    assert_in_range(looked.steps, 10, 30); /* 2 000 holds in steps of about 128 */
    lua_check(shard, "HGET stock:{5}:5 ask => @-1000 ; ZSCORE asks:{5} 5 => @+0");
}

static void look_comes_back_for_those_without_room(struct lua_shard *shard)
{
    struct looked looked;

    fill(shard, HOLDS, "held", "@-1000");
    look(shard, 10, &looked);
    assert_in_range(looked.named, (looked.steps - 1) * 10, looked.steps * 10);
    lua_check(shard, "HGET stock:{5}:5 ask => @-1000");
}

/* A hold taken between two steps may have been missed: the next look is no later than 9 s after this one began. */
static void look_of_many_steps_is_repeated_in_time(struct lua_shard *shard)
{
    struct looked looked;

    fill(shard, HOLDS, "held", "@+900000");
    look(shard, HOLDS, &looked);
    assert_int_equal(looked.named, 0);
    lua_check(shard, "HGET stock:{5}:5 ask => @+9000 ; ZSCORE asks:{5} 5 => @+9000");
}

/* One step of a look. Returns the next cursor. */
static long long look_step(struct lua_shard *shard, long long cursor, struct looked *looked)
{
    int code;
    char *got = lua_do(shard, "look stock:{5}:5 5 5 %lld %lld %lld 9", cursor, looked->started, looked->least);

    assert_int_equal(sscanf(got, "%d %lld %lld %lld", &code, &cursor, &looked->started, &looked->least), 4);
    looked->steps++;
    free(got);
    return cursor;
}

/*
 * One that is taken between two steps for less than that is due sooner. It is taken before the last step, which hardly ever sees it; three times, so
 * that it is missed at least once.
 */
static void look_of_many_steps_thinks_of_brief_holds(struct lua_shard *shard)
{
    struct looked whole = {0};

    fill(shard, HOLDS, "held", "@+900000");
    lua_check(shard, "HSET stock:{5}:5 on_hand 3000 ; HSET product:{5}:5 v 3 doc D1");
    for (long long cursor = 0; (cursor = look_step(shard, cursor, &whole)) != 0;)
        ;
    for (unsigned attempt = 1; attempt <= 3; attempt++) {
        struct looked looked = {0};
        long long cursor = 0;
        do
            cursor = look_step(shard, cursor, &looked);
        while (looked.steps + 1 < whole.steps);
        assert_int_not_equal(cursor, 0);
        free(lua_do(shard, "try stock:{5}:5 5 5 $H.$F.%u 1 7 1000 0", attempt));
        assert_int_equal(look_step(shard, cursor, &looked), 0);
        lua_check(shard, "HGET stock:{5}:5 ask => @+1000 ; ZSCORE asks:{5} 5 => @+1000");
        free(lua_do(shard, "confirm stock:{5}:5 5 5 $H.$F.%u 0", attempt));
    }
}

static void look_prunes_many_marks(struct lua_shard *shard)
{
    struct looked looked;

    fill(shard, HOLDS, "released", "@-600001");
    look(shard, HOLDS, &looked);
    assert_int_equal(looked.named, 0);
    assert_int_equal(looked.least, 0);
    lua_check(shard, "HLEN stock:{5}:5 => 5");
}

/* Whatever happens to one product, ask is never later than the first thing to look at, and asks says the same. */
static void ask_stays_a_lower_bound(struct lua_shard *shard)
{
    static const struct {
        const char *before, *between, *after; /* an attempt and a number of ms stand between them */
    } steps[] = {
        {"try stock:{5}:5 5 5 $H.$F.", " 1 7 ", " 0"}, {"confirm stock:{5}:5 5 5 $H.$F.", " 0 ", ""}, {"release stock:{5}:5 5 5 $H.$F.", " 0 ", ""},
        {"consume stock:{5}:5 5 5 $H.$F.", " 0 ", ""}, {"keep stock:{5}:5 5 5 $H.$F.", " ", ""},      {"look stock:{5}:5 5 5 0 0 0 ", "", ""},
    };
    unsigned random = 12345;

    lua_check(shard, "product_put product:{5}:5 5 5 create '' D1 50");
    for (int i = 0; i < 1500; i++) {
        random = random * 1103515245 + 12345;
        unsigned step = (random >> 16) % 6, attempt = 1 + (random >> 20) % 40, ms = 1 + (random >> 8) % 30000;
        char *got = lua_do(shard, "%s%u%s%u%s", steps[step].before, attempt, steps[step].between, ms, steps[step].after);
        assert_int_not_equal(got[0], '-');
        free(got);
        lua_check(shard, "EVAL 'local least, held, committed, all = 0, 0, 0, redis.call(\"HGETALL\", KEYS[1]) "
                         "for i = 2, #all, 2 do if all[i - 1]:byte(33) == 46 then local phase, qty, when = all[i]:match(\"^(%l+)|(%d+)|%d+|(%d+)|\") "
                         "if phase == \"held\" then held = held + qty elseif phase == \"committed\" then committed = committed + qty "
                         "else when = when + 600000 end when = tonumber(when) "
                         "if phase ~= \"committed\" and (least == 0 or when < least) then least = when end end end "
                         "local s = redis.call(\"HMGET\", KEYS[1], \"held\", \"committed\", \"ask\") "
                         "local ask, listed = tonumber(s[3] or 0), redis.call(\"ZSCORE\", KEYS[2], \"5\") "
                         "return {least == 0 or (ask > 0 and ask <= least), (ask == 0 and not listed) or tonumber(listed) == ask, "
                         "s[1] == tostring(held) and s[2] == tostring(committed)}' "
                         "2 stock:{5}:5 asks:{5} => 1 1 1");
    }
}

static const struct lua_story stories[] = {
    {"look: names all of 2 000", look_names_all_of_many},
    {"look: comes back for those without room", look_comes_back_for_those_without_room},
    {"look: of many steps is repeated in time", look_of_many_steps_is_repeated_in_time},
    {"look: of many steps thinks of brief holds", look_of_many_steps_thinks_of_brief_holds},
    {"look: prunes 2 000 marks", look_prunes_many_marks},
    {"ask stays a lower bound", ask_stays_a_lower_bound},
};

int main(void)
{
    return LUA_RUN_WITH("holds", cases, stories);
}
