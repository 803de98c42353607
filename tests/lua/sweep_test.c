#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "lua_test_lib.h"

#define SWEEP "sweep souk:lease:order order w1 5000 10 7,8"
#define SWEEP_PAYMENTS "sweep souk:lease:payment payment w1 5000 10 7,8"

/* An ended order of partition 7 without duty, made long ago, and the record of its key. */
#define ORDER(id, state, created, score, hash) \
    "HSET order:{7}:" id " state " state " created " created " t " hash ".$F.1 ; ZADD orders:{7} " score " " id " ; HSET idem:{7}:" hash \
    " fp $F s placed id " id " n 1 ; "
#define DAY_AGO "@-86500000"
#define HOUR_AGO "@-3600000"

static const struct lua_case cases[] = {
    /* sweep: the lease */
    {"sweep: nothing due", NULL, SWEEP, "0 1 @+0 '' ''", "GET souk:lease:order => w1 ; PTTL souk:lease:order => ~5000"},
    {"sweep: renews its lease", "SET souk:lease:order w1 PX 100", SWEEP, "0 1 @+0 '' ''", "PTTL souk:lease:order => ~5000"},
    {"sweep: another has the lease", "SET souk:lease:order w2 PX 60000 ; ZADD txn:{7} 1 263", SWEEP, "0 0 @+0 '' ''",
     "GET souk:lease:order => w2 ; ZSCORE txn:{7} 263 => 1"},
    {"sweep: the other kind's lease does not matter", "SET souk:lease:payment w2 PX 60000 ; ZADD txn:{7} 1 263", SWEEP, "0 1 @+0 263 7 ''", NULL},

    /* sweep: what is due */
    {"sweep: orders and products", "ZADD txn:{7} 1 263 2 519 @+60000 775 ; ZADD txn:{8} @-1 264 ; ZADD asks:{8} @-50001 8 @+60000 264", SWEEP,
     "0 1 @+0 263 7 519 7 264 8 8 8",
     "ZSCORE txn:{7} 263 => @+5000 ; ZSCORE txn:{7} 519 => @+5000 ; ZSCORE txn:{7} 775 => @+60000 ; ZSCORE txn:{8} 264 => @+5000 ; "
     "ZSCORE asks:{8} 8 => @-45000 ; "
     "ZSCORE asks:{8} 264 => @+60000"},
    {"sweep: what was named is not named at once again", "ZADD txn:{7} 1 263 ; ZADD asks:{7} 1 7 ; " SWEEP " => 0 1 @+0 263 7 7 7", SWEEP,
     "0 1 @+0 '' ''", NULL},
    {"sweep: other partitions stay", "ZADD txn:{9} 1 265", SWEEP, "0 1 @+0 '' ''", "ZSCORE txn:{9} 265 => 1"},
    {"sweep: no partitions", "ZADD txn:{9} 1 265", "sweep souk:lease:order order w1 5000 10 ''", "0 1 @+0 '' ''", NULL},
    {"sweep: payments' duties are not orders'", "ZADD txn:{7}:pay 1 519 ; ZADD txn:{7} 1 263", SWEEP, "0 1 @+0 263 7 ''",
     "ZSCORE txn:{7}:pay 519 => 1"},
    {"sweep: payments", "ZADD txn:{7}:pay 1 519 @+60000 775 ; ZADD txn:{7} 1 263 ; ZADD asks:{7} 1 7", SWEEP_PAYMENTS, "0 1 @+0 519 7 ''",
     "ZSCORE txn:{7}:pay 519 => @+5000 ; ZSCORE txn:{7}:pay 775 => @+60000 ; ZSCORE txn:{7} 263 => 1 ; ZSCORE asks:{7} 7 => 1"},
    {"sweep: so many and no more", "ZADD txn:{7} 1 263 2 519 3 775 ; ZADD txn:{8} 1 264 ; ZADD asks:{7} 1 7 2 263",
     "sweep souk:lease:order order w1 5000 2 7,8", "0 1 @+0 263 7 519 7 7 7 263 7", "ZSCORE txn:{7} 775 => 3 ; ZSCORE txn:{8} 264 => 1"},
    {"sweep: what one partition leaves, the next may take", "ZADD txn:{7} 1 263 2 519 ; ZADD txn:{8} 1 264 2 520",
     "sweep souk:lease:order order w1 5000 3 7,8", "0 1 @+0 263 7 519 7 264 8 ''", "ZSCORE txn:{8} 520 => 2"},
    {"sweep: unknown kind", NULL, "sweep souk:lease:x x w1 5000 10 7", "'-ERR souk: bad argument 1 of sweep'", NULL},
    {"sweep: worker without a name", NULL, "sweep souk:lease:order order '' 5000 10 7", "'-ERR souk: bad argument 2 of sweep'", NULL},
    {"sweep: lease of nothing", NULL, "sweep souk:lease:order order w1 0 10 7", "'-ERR souk: bad argument 3 of sweep'", NULL},
    {"sweep: most 0", NULL, "sweep souk:lease:order order w1 5000 0 7", "'-ERR souk: bad argument 4 of sweep'", NULL},
    {"sweep: partitions garbage", NULL, "sweep souk:lease:order order w1 5000 10 7;8", "'-ERR souk: bad argument 5 of sweep'", NULL},
    {"sweep: lease of the other kind", NULL, "sweep souk:lease:payment order w1 5000 10 7", "'-ERR souk: bad key of sweep'", NULL},

    /* prune */
    {"prune: nothing there", NULL, "prune orders:{7} 7 10", "0 0", "EXISTS seq:{7} => 0"},
    {"prune: cancelled, fulfilled, expired",
     ORDER("263", "cancelled", DAY_AGO, "100", "$H") ORDER("519", "fulfilled", DAY_AGO, "200", "$I") ORDER("775", "expired", DAY_AGO, "300", "$J"),

     "prune orders:{7} 7 10", "0 3", "PTTL idem:{7}:$H => ~600000 ; PTTL idem:{7}:$I => ~600000 ; PTTL idem:{7}:$J => ~600000 ; "
     "HGET seq:{7} pruned => 300 ; EXISTS order:{7}:263 => 1"},
    {"prune: so many and no more", ORDER("263", "cancelled", DAY_AGO, "100", "$H") ORDER("519", "fulfilled", DAY_AGO, "200", "$I"),
     "prune orders:{7} 7 1", "0 1", "PTTL idem:{7}:$H => ~600000 ; PTTL idem:{7}:$I => -1 ; HGET seq:{7} pruned => 100"},
    {"prune: goes on", ORDER("263", "cancelled", DAY_AGO, "100", "$H") ORDER("519", "fulfilled", DAY_AGO, "200", "$I") "prune orders:{7} 7 1",
     "prune orders:{7} 7 10", "0 1", "PTTL idem:{7}:$I => ~600000"},
    {"prune: stops at a young one", ORDER("263", "cancelled", DAY_AGO, "100", "$H") ORDER("519", "cancelled", HOUR_AGO, "200", "$I"),
     "prune orders:{7} 7 10", "0 1", "PTTL idem:{7}:$I => -1 ; HGET seq:{7} pruned => 100"},
    {"prune: stops at a reserved one", ORDER("263", "reserved", DAY_AGO, "100", "$H") ORDER("519", "cancelled", DAY_AGO, "200", "$I"),
     "prune orders:{7} 7 10", "0 0", "EXISTS idem:{7}:$H idem:{7}:$I => 2"},
    {"prune: stops at a paid one", ORDER("263", "paid", DAY_AGO, "100", "$H") ORDER("519", "cancelled", DAY_AGO, "200", "$I"),
     "prune orders:{7} 7 10", "0 0", NULL},
    {"prune: stops at one with a duty", ORDER("263", "cancelled", DAY_AGO, "100", "$H") "ZADD txn:{7} 99 263", "prune orders:{7} 7 10", "0 0",
     "EXISTS idem:{7}:$H => 1"},
    {"prune: leaves a record that is another order's", ORDER("263", "cancelled", DAY_AGO, "100", "$H") "HSET idem:{7}:$H id 519",
     "prune orders:{7} 7 10", "0 0", "EXISTS idem:{7}:$H => 1 ; HGET seq:{7} pruned => 100"},
    {"prune: a time as orders have it",
     ORDER("263", "cancelled", DAY_AGO, "1795363218102001", "$H") ORDER("519", "cancelled", DAY_AGO, "1795363218102002", "$I") "prune orders:{7} 7 1",

     "prune orders:{7} 7 10", "0 1", "HGET seq:{7} pruned => 1795363218102002"},
    {"prune: most 0", NULL, "prune orders:{7} 7 0", "'-ERR souk: bad argument 2 of prune'", NULL},
    {"prune: key of another partition", NULL, "prune orders:{8} 7 1", "'-ERR souk: bad key of prune'", NULL},
};

/* Two sweepers on one shard: whoever has the lease gets each duty once, the other nothing, until the first stops renewing. */
static void lease_passes_on(struct lua_shard *shard)
{
    char *granted;
    int tries = 0;

    lua_check(shard, "ZADD txn:{7} 1 263 ; sweep souk:lease:order order w1 20 10 7 => 0 1 * 263 7 ''");
    do {
        granted = lua_do(shard, "sweep souk:lease:order order w2 60000 10 7");
        assert_int_equal(granted[0], '0');
        bool mine = granted[2] == '1';
        free(granted);
        if (mine)
            break;
    } while (++tries < 100000);
    lua_check(shard, "sweep souk:lease:order order w1 20 10 7 => 0 0 * '' ''");
}

static const struct lua_story stories[] = {
    {"sweep: a lease that is not renewed passes on", lease_passes_on},
};

int main(void)
{
    return LUA_RUN_WITH("sweep", cases, stories);
}
