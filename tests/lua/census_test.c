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

#define CENSUS "census souk:shard 7,8"
#define NOTHING " 0 0 0 0 0 0"
#define TAIL NOTHING NOTHING NOTHING

/* Two orders of partition 7 and one of 8. */
#define ORDERS \
    "ZADD orders:{7} 1 263 2 519 ; ZADD orders:{8} 3 264 ; ZADD orders:{7}:in:paid:paid 1 263 ; ZADD orders:{7}:in:reserved:pending 2 519 ; " \
    "ZADD orders:{8}:in:paid:paid 3 264 ; "
#define DUE_ORDER(id, score, state, expires, updated) \
    "ZADD txn:{7} " score " " id " ; HSET order:{7}:" id " state " state " expires " expires " updated " updated " ; "

static const struct lua_case cases[] = {
    {"nothing there", NULL, CENSUS, "0 @+0 0 0 '' ''" TAIL, NULL},
    {"no partitions", ORDERS, "census souk:shard ''", "0 @+0 0 0 '' ''" TAIL, NULL},
    {"products of both partitions", "ZADD products:{7} 7 7 263 263 ; ZADD products:{8} 8 8 ; ZADD products:{9} 9 9", CENSUS, "0 @+0 3 0 '' ''" TAIL,
     NULL},
    {"orders by both states", ORDERS, CENSUS, "0 @+0 0 0 paid paid 2 reserved pending 1 ''" TAIL, NULL},
    {"other partitions stay", ORDERS, "census souk:shard 8", "0 @+0 0 0 paid paid 1 ''" TAIL, NULL},
    {"payments",
     "ZADD payments:{7} 1 263 2 519 ; ZADD payments:{7}:in:unknown 1 263 ; ZADD payments:{7}:in:refunded 2 519 ; ZADD payments:{7}:refund_due 1 263",
     CENSUS, "0 @+0 0 1 '' refunded 1 unknown 1" TAIL, NULL},

    /* duties, by what their records say; a list's time says only when a sweep is to come again */
    {"an order that expires later", DUE_ORDER("263", "@+60000", "reserved", "@+60000", "@-5000"), CENSUS,
     "0 @+0 0 0 '' '' 1 0 0 0 0 0" NOTHING NOTHING, NULL},
    {"one that expires in 3 s is not due", DUE_ORDER("263", "@+3000", "reserved", "@+3000", "@-5000"), CENSUS,
     "0 @+0 0 0 '' '' 1 0 0 0 0 0" NOTHING NOTHING, NULL},
    {"one that should have expired", DUE_ORDER("263", "@-11000", "reserved", "@-11000", "@-900000"), CENSUS,
     "0 @+0 0 0 '' '' 1 1 1 0 0 ~11000" NOTHING NOTHING, NULL},
    {"a duty that was named a moment ago is as old as its order's state", DUE_ORDER("263", "@+4500", "paid", "@+1", "@-700000"), CENSUS,
     "0 @+0 0 0 '' '' 1 1 1 1 1 ~700000" NOTHING NOTHING, NULL},
    {"the oldest of several", DUE_ORDER("263", "@-1", "paid", "@+1", "@-5000") DUE_ORDER("519", "@-2", "cancelled", "@+1", "@-65000"), CENSUS,
     "0 @+0 0 0 '' '' 2 2 1 1 0 ~65000" NOTHING NOTHING, NULL},
    {"an order that is gone", "ZADD txn:{7} 1 263", CENSUS, "0 @+0 0 0 '' '' 1 0 0 0 0 0" NOTHING NOTHING, NULL},
    {"payments' duties", "ZADD txn:{7}:pay @-1 263 ; HSET payment:{7}:263 updated @-20000", CENSUS,
     "0 @+0 0 0 '' ''" NOTHING " 1 1 1 0 0 ~20000" NOTHING, NULL},
    {"looks at holds", "ZADD asks:{8} @-1 8 @+90000 264 ; HSET stock:{8}:8 ask @-30000", CENSUS,
     "0 @+0 0 0 '' ''" NOTHING NOTHING " 2 1 1 0 0 ~30000", NULL},

    {"without partitions", NULL, "census souk:shard", "'-ERR souk: wrong number of arguments of census'", NULL},
    {"partitions garbage", NULL, "census souk:shard 7;8", "'-ERR souk: bad argument 1 of census'", NULL},
};

/* Whatever state an order can be in, and a payment, it is counted: the function knows them all. */
static void test_every_state(struct lua_shard *shard)
{
    static const char *const STATES[] = {"reserved", "paid", "fulfilled", "cancelled", "expired"};
    static const char *const STATUSES[] = {"none", "pending", "authorized", "paid", "partially_refunded", "refunded", "refund_due"};
    static const char *const PAYMENTS[] = {"processing", "succeeded",          "failed",  "unknown", "authorized", "voided",
                                           "expired",    "partially_refunded", "refunded"};
    for (size_t s = 0; s < 5; s++)
        for (size_t t = 0; t < 7; t++) {
            char line[256];
            lua_begin(shard);
            snprintf(line, sizeof(line), "ZADD orders:{7} 1 263 ; ZADD orders:{7}:in:%s:%s 1 263 ; " CENSUS " => 0 @+0 0 0 %s %s 1 ''" TAIL,
                     STATES[s], STATUSES[t], STATES[s], STATUSES[t]);
            lua_check(shard, line);
        }
    for (size_t i = 0; i < 9; i++) {
        char line[256];
        lua_begin(shard);
        snprintf(line, sizeof(line), "ZADD payments:{7} 1 263 ; ZADD payments:{7}:in:%s 1 263 ; " CENSUS " => 0 @+0 0 0 '' %s 1" TAIL, PAYMENTS[i],
                 PAYMENTS[i]);
        lua_check(shard, line);
    }
}

/* However much is due, only so many of a partition are looked at. */
static void test_much_is_due(struct lua_shard *shard)
{
    for (int i = 0; i < 70; i++)
        free(lua_do(shard, "ZADD txn:{7} %d %d", i + 1, 256 * i + 7));
    free(lua_do(shard, "HSET order:{7}:7 state paid updated 1000"));
    lua_check(shard, CENSUS " => 0 @+0 0 0 '' '' 70 1 1 1 1 *" NOTHING NOTHING);
    for (int i = 0; i < 70; i++)
        free(lua_do(shard, "HSET order:{7}:%d state paid updated 1000", 256 * i + 7));
    lua_check(shard, CENSUS " => 0 @+0 0 0 '' '' 70 64 64 64 64 *" NOTHING NOTHING);
}

static const struct lua_story STORIES[] = {{"every state is counted", test_every_state}, {"much is due", test_much_is_due}};

int main(void)
{
    return LUA_RUN_WITH("census", cases, STORIES);
}
