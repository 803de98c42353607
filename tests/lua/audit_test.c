#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "lua_test_lib.h"

/* Product 263, order 263 and payment 263, all in partition 7. */
#define STOCKED "product_create idem:{7}:$J 7 $F D 100 => 0 263 1"
#define HELD STOCKED " ; try stock:{7}:263 7 263 $T 2 7 60000 0"
#define COMMITTED HELD " ; confirm stock:{7}:263 7 263 $T 0 263 => 0 committed"
#define RELEASED HELD " ; release stock:{7}:263 7 263 $T 0 263 => 0 released"
#define PLACED "place idem:{7}:$H 7 $F 1 $T u1 500 USD 60000 D r => 0 263 @+0 @+60000"
#define CHARGING PLACED " ; pay order:{7}:263 7 263 $I $F '' charge automatic P q1 10000"
#define FAILED CHARGING " ; pay_result payment:{7}:263 7 263 charge:1 failed g no 0 0 q2 ''"
#define PAID CHARGING " ; pay_result payment:{7}:263 7 263 charge:1 succeeded g '' 0 0 q2 ''"
#define REFUNDING PAID " ; refund payment:{7}:263 7 263 '' '' '' '' q 9 => 26 succeeded ; refund payment:{7}:263 7 263 $J $F 100 '' q 9000"
#define OWED PAID " ; cancel order:{7}:263 7 263 $J $F '' r"

#define AUDIT_STOCK "audit_stock products:{7} 7 '' 10"
#define AUDIT_ORDERS "audit_orders orders:{7} 7 '' '' 10 0"

static const struct lua_case CASES[] = {
    {"stock: nothing there", "", AUDIT_STOCK, "0 '' 0 0 '' '' …", ""},
    {"stock: no holds", STOCKED, AUDIT_STOCK, "0 '' 1 0 '' '' …", ""},
    {"stock: a hold", HELD, AUDIT_STOCK, "0 '' 1 1 '' $T 263 …", ""},
    {"stock: a committed hold", COMMITTED, AUDIT_STOCK, "0 '' 1 1 '' $T 263 …", ""},
    {"stock: a mark is not live", RELEASED, AUDIT_STOCK, "0 '' 1 1 '' '' …", ""},
    {"stock: a consumed one", COMMITTED " ; consume stock:{7}:263 7 263 $T 0 263", AUDIT_STOCK, "0 '' 1 1 '' '' …", ""},
    {"stock: all holds are due, a sweep has put the look off",
     HELD " ; HSET stock:{7}:263 $T held|2|7|5|5 ; HSET stock:{7}:263 ask 5 ; ZADD asks:{7} @+5000 263", AUDIT_STOCK,
     "0 '' 1 1 '' $T 263 held|2|7|5|5 …", ""},
    {"stock: behind a product", STOCKED, "audit_stock products:{7} 7 263 10", "0 '' 0 0 '' '' …", ""},
    {"stock: a full page says where to go on", STOCKED, "audit_stock products:{7} 7 '' 1", "0 263 1 0 '' '' …", ""},
    {"stock: one that is named", STOCKED, "audit_stock products:{7} 7 '' 1 263", "0 '' 1 0 '' '' …", ""},
    {"stock: one that is named and not there", STOCKED, "audit_stock products:{7} 7 '' 1 519", "0 '' 0 0 '' '' …", ""},
    {"stock: a wrong key", STOCKED, "audit_stock products:{8} 7 '' 1", "'-ERR souk: bad key of audit_stock'", ""},

    {"holds: none", STOCKED, "audit_holds stock:{7}:263 7 263 0 10", "0 0 1 0 0 0 0 0 0 0 '' *", ""},
    {"holds: one", HELD, "audit_holds stock:{7}:263 7 263 0 10", "0 0 2 2 0 2 0 1 0 0 $T 263 …", ""},
    {"holds: a committed one", COMMITTED, "audit_holds stock:{7}:263 7 263 0 10", "0 0 3 0 2 0 2 1 0 0 $T 263 …", ""},
    {"holds: a mark", RELEASED, "audit_holds stock:{7}:263 7 263 0 10", "0 0 3 0 0 0 0 1 0 0 '' *", ""},
    {"holds: not readable", HELD " ; HSET stock:{7}:263 $T gone", "audit_holds stock:{7}:263 7 263 0 10", "0 0 2 2 0 0 0 1 1 0 '' *", ""},
    {"holds: not covered by ask", HELD " ; HDEL stock:{7}:263 ask", "audit_holds stock:{7}:263 7 263 0 10", "0 0 2 2 0 2 0 1 0 1 $T 263 …", ""},
    {"holds: no product", "", "audit_holds stock:{7}:263 7 263 0 10", "0 0 -1 -1 -1 0 0 0 0 0 '' *", ""},
    {"holds: a wrong key", HELD, "audit_holds stock:{7}:264 7 263 0 10", "'-ERR souk: bad key of audit_holds'", ""},

    {"orders: nothing there", "", AUDIT_ORDERS, "0 '' '' 0 0 '' '' 0 0", ""},
    {"orders: reserved", PLACED, AUDIT_ORDERS, "0 '' '' 1 0 '' 263 $T reserved ~0 1 D 0 0", ""},
    {"orders: paid, not yet confirmed", PAID, AUDIT_ORDERS, "0 '' '' 1 1 '' 263 $T paid ~0 1 D 0 0", ""},
    {"orders: paid and confirmed", PAID " ; duty_done order:{7}:263 7 263 paid", AUDIT_ORDERS, "0 '' '' 1 1 '' 263 $T paid ~0 0 D 0 0", ""},
    {"orders: fulfilled, to be consumed", PAID " ; fulfil order:{7}:263 7 263 $J $F r D2", AUDIT_ORDERS,
     "0 '' '' 1 1 '' 263 $T fulfilled ~0 1 D2 0 0", ""},
    {"orders: ended and done", PAID " ; fulfil order:{7}:263 7 263 $J $F r D2 ; duty_done order:{7}:263 7 263 fulfilled", AUDIT_ORDERS,
     "0 '' '' 1 1 '' '' 0 0", ""},
    {"orders: owed back", OWED, AUDIT_ORDERS, "0 '' '' 1 1 '' 263 $T cancelled ~0 1 D 0 0", ""},
    {"orders: two attempts", FAILED " ; pay order:{7}:263 7 263 $J $F '' charge automatic P q1 10000", AUDIT_ORDERS,
     "0 '' '' 1 2 '' 263 $T reserved ~0 1 D 0 0", ""},
    {"orders: free of charge, paid and cancelled",
     "place idem:{7}:$H 7 $F 1 $T u1 0 USD 60000 D r ; "
     "pay order:{7}:263 7 263 $I $F 0 charge automatic P q1 10000 ; "
     "pay_result payment:{7}:263 7 263 charge:1 succeeded g '' 0 0 q2 '' ; cancel order:{7}:263 7 263 $J $F '' r",
     AUDIT_ORDERS, "0 '' '' 1 1 '' 263 $T cancelled ~0 1 D 0 0", "payment_read payment:{7}:263 7 263 => 0 @+0 none 0 …"},
    {"orders: free of charge, expired while it was being paid",
     "place idem:{7}:$H 7 $F 1 $T u1 0 USD 60000 D r ; "
     "pay order:{7}:263 7 263 $I $F 0 charge automatic P q1 10000 ; HSET order:{7}:263 expires 5 ; expire order:{7}:263 7 263 ; "
     "HSET order:{7}:263 expires 5",
     "pay_result payment:{7}:263 7 263 charge:1 succeeded g '' 0 0 q2 ''", "0 2 succeeded 263 expired paid ~0",
     "ZCARD txn:{7}:pay => 0 ; ZCARD payments:{7}:refund_due => 0"},
    {"orders: one that is named", PLACED, "audit_orders orders:{7} 7 '' '' 1 @+9000 263", "0 '' '' 1 0 '' 263 $T reserved ~0 1 D 1 *", ""},
    {"orders: some that are named, one of them not there", PLACED, "audit_orders orders:{7} 7 '' '' 1 0 519,263", "0 '' '' 1 0 '' 263 …", ""},
    {"orders: none that is named", PLACED, "audit_orders orders:{7} 7 '' '' 1 0 ''", "0 '' '' 0 0 '' '' 0 0", ""},
    {"orders: a wrong key", PLACED, "audit_orders orders:{8} 7 '' '' 1 0", "'-ERR souk: bad key of audit_orders'", ""},
};

/* One corruption for each check: the audit is silent before it and names it afterwards. */
static const struct damage {
    const char *given, *damage, *found;
} STOCK_DAMAGE[] = {
    {STOCKED, "DEL product:{7}:263", "product 263: is in the index and has no record"},
    {STOCKED, "DEL stock:{7}:263", "product 263: on_hand is not an integer from 0"},
    {STOCKED, "HSET stock:{7}:263 on_hand -1", "product 263: on_hand is not an integer from 0"},
    {HELD, "HSET stock:{7}:263 held -2", "product 263: held is not an integer from 0"},
    {HELD, "HSET stock:{7}:263 committed 0.5", "product 263: committed is not an integer from 0"},
    {HELD, "HSET stock:{7}:263 v x", "product 263: v is not an integer from 0"},
    {HELD, "HSET stock:{7}:263 on_hand 1", "product 263: available is below 0"},
    {HELD, "HINCRBY stock:{7}:263 on_hand 1", "product 263: the last entry of its ledger is not its counters"},
    {HELD, "XADD moves:{7}:263 * m consume|1|||0|0|0|9|", "product 263: the last entry of its ledger is not its counters"},
    {HELD, "DEL moves:{7}:263", "product 263: the last entry of its ledger is not its counters"},
    {HELD, "HSET stock:{7}:263 held 3", "product 263: held is 3 and the holds sum to 2"},
    {HELD, "HSET stock:{7}:263 committed 1", "product 263: committed is 1 and the holds sum to 0"},
    {COMMITTED, "HDEL stock:{7}:263 $T", "product 263: committed is 2 and the holds sum to 0"},
    {RELEASED, "HSET stock:{7}:263 $T held|2|7|5|5", "product 263: held is 0 and the holds sum to 2"},
    {HELD, "HSET stock:{7}:263 $T gone", "product 263: a hold is not readable"},
    {HELD, "HDEL stock:{7}:263 ask ; ZREM asks:{7} 263", "product 263: ask is later than a hold or mark that waits"},
    {HELD, "HSET stock:{7}:263 ask @+600000 ; ZADD asks:{7} @+600000 263", "product 263: ask is later than a hold or mark that waits"},
    {RELEASED, "HSET stock:{7}:263 ask 0 ; ZREM asks:{7} 263", "product 263: ask is later than a hold or mark that waits"},
    {HELD, "ZREM asks:{7} 263", "product 263: asks does not have it when ask says"},
    {HELD, "ZADD asks:{7} @+600000 263", "product 263: asks does not have it when ask says"},
    {STOCKED, "ZADD asks:{7} 5 263", "product 263: asks has it without ask"},
    {STOCKED, "ZADD products:{7} 5 263", "product 263: is at a wrong place in the index"},
};

static const struct damage ORDER_DAMAGE[] = {
    {PLACED, "DEL order:{7}:263", "order 263: has no record"},
    {PLACED, "HSET order:{7}:263 v one", "order 263: v is not an integer from 0"},
    {PLACED, "HSET order:{7}:263 total -1", "order 263: total is not an integer from 0"},
    {PLACED, "HDEL order:{7}:263 expires", "order 263: expires is not an integer from 0"},
    {PLACED, "HSET order:{7}:263 state packed", "order 263: state and payment_status are no pair that there is"},
    {PLACED, "HSET order:{7}:263 payment_status refund_due", "order 263: state and payment_status are no pair that there is"},
    {PAID, "HDEL order:{7}:263 e2", "order 263: e2 is missing"},
    {PAID, "HSET order:{7}:263 v 4", "order 263: e4 is missing"},
    {PAID, "HSET order:{7}:263 v 2", "order 263: there is an e beyond v"},
    {PAID, "HSET order:{7}:263 e2 cancelled|none|5|5|x|", "order 263: e3 is not an allowed step"},
    {PAID, "HSET order:{7}:263 e1 paid|paid|5|5|x|", "order 263: e1 is not an allowed step"},
    {PAID, "HSET order:{7}:263 e2 reserved|refunded|5|5|x|", "order 263: e2 is not an allowed step"},
    {PAID, "HSET order:{7}:263 updated 5", "order 263: the last e is not the record"},
    {PAID, "HSET order:{7}:263 expires 5", "order 263: the last e is not the record"},
    {PAID, "HSET order:{7}:263 state fulfilled", "order 263: the last e is not the record"},
    {PAID, "HSET order:{7}:263 payment_status refunded", "order 263: payment_status does not follow from its latest payment"},
    {CHARGING, "HSET order:{7}:263 payments ''", "order 263: payment_status does not follow from its latest payment"},
    {PAID, "ZREM orders:{7}:in:paid:paid 263", "order 263: is not in the index of its state"},
    {PAID, "ZADD orders:{7}:in:paid:paid 5 263", "order 263: is not in the index of its state"},
    {PLACED, "ZREM orders:{7}:user:u1 263", "order 263: is not in the index of its user"},
    {PLACED, "ZREM txn:{7} 263", "order 263: expire is not due when it expires"},
    {PLACED, "ZADD txn:{7} @+600000 263", "order 263: expire is not due when it expires"},
    {PAID, "ZADD orders:{7}:in:expired:none 5 263", "partition 7: the indexes of states have more or fewer orders than there are"},
    {PAID, "ZADD payments:{7}:in:failed 5 263", "partition 7: the indexes of statuses have more or fewer payments than there are"},

    {PAID, "ZREM payments:{7}:user:u1 263", "payment 263: is not in the index of its user"},
    {PAID, "ZADD payments:{7}:user:u1 5 263", "payment 263: is not in the index of its user"},

    {PAID, "DEL payment:{7}:263", "payment 263: has no record"},
    {PAID, "HSET payment:{7}:263 captured -5", "payment 263: captured is not an integer from 0"},
    {PAID, "HSET payment:{7}:263 refunds x", "payment 263: refunds is not an integer from 0"},
    {PAID, "HSET payment:{7}:263 status lost", "payment 263: status is none that there is"},
    {PAID, "HSET payment:{7}:263 op pray:1", "payment 263: op is none that there is"},
    {PAID, "HDEL payment:{7}:263 e1", "payment 263: e1 is missing"},
    {PAID, "HSET payment:{7}:263 v 1", "payment 263: there is an e beyond v"},
    {PAID, "HSET payment:{7}:263 e1 refunded|500|500|5|x||", "payment 263: e1 is not an allowed step"},
    {PAID, "HSET payment:{7}:263 updated 5", "payment 263: the last e is not the record"},
    {PAID, "HSET payment:{7}:263 refunded 1", "payment 263: the last e is not the record"},
    {PAID, "HSET payment:{7}:263 order_id 264", "payment 263: is not its order's"},
    {PAID, "HSET payment:{7}:263 currency EUR", "payment 263: is not its order's"},
    {PAID, "HSET payment:{7}:263 amount 499", "payment 263: amount is not the order's total"},
    {PAID, "HSET payment:{7}:263 captured 499", "payment 263: captured is not what its status says"},
    {CHARGING, "HSET payment:{7}:263 captured 500", "payment 263: captured is not what its status says"},
    {PAID, "HSET payment:{7}:263 refunded 501", "payment 263: more is refunded than was captured"},
    {REFUNDING, "HSET payment:{7}:263 refunding 501", "payment 263: more is refunded than was captured"},
    {PAID, "HSET payment:{7}:263 refunded 5", "payment 263: refunded is not what its status says"},
    {REFUNDING, "HSET payment:{7}:263 refund1 nothing", "payment 263: a refund is not readable"},
    {REFUNDING, "HSET payment:{7}:263 refunded 100", "payment 263: refunded is not the sum of its refunds"},
    {REFUNDING, "HSET payment:{7}:263 refunding 99", "payment 263: refunding is not the sum of its refunds"},
    {PAID, "ZREM payments:{7} 263", "payment 263: is not in payments"},
    {PAID, "ZREM payments:{7}:in:succeeded 263", "payment 263: is not in the index of its status"},
    {OWED, "DEL payments:{7}:refund_due", "payment 263: is owed back and not in refund_due"},
    {PAID, "ZADD payments:{7}:refund_due 5 263", "payment 263: is in refund_due and not owed back"},
    {CHARGING, "DEL txn:{7}:pay", "payment 263: has no duty"},
    {OWED, "DEL txn:{7}:pay", "payment 263: has no duty"},
    {REFUNDING, "DEL txn:{7}:pay", "payment 263: has no duty"},
};

/* The ids of another order's payments are not those of the order here. */
static const struct damage TWO_PAYMENTS = {FAILED " ; pay order:{7}:263 7 263 $J $F '' charge automatic P q1 10000",
                                           "HSET payment:{7}:263 status processing", "payment 263: is open and not the latest"};

static void find(struct lua_shard *shard, const char *audit, const struct damage *row)
{
    char *got;

    lua_begin(shard);
    lua_check(shard, row->given);
    got = lua_do(shard, "%s", audit);
    if (strstr(got, " 263: "))
        fail_msg("before %s: %s", row->damage, got);
    free(got);
    lua_check(shard, row->damage);
    got = lua_do(shard, "%s", audit);
    if (strncmp(got, "0 ", 2) != 0 || !strstr(got, row->found))
        fail_msg("after %s: %s\n  want  %s", row->damage, got, row->found);
    free(got);
}

/* The same line about a second or third product, order and payment, and with other keys. Freed by the caller. */
static char *about_another(const char *line, unsigned which)
{
    static const struct {
        const char *word, *other[2];
    } OTHERS[] = {{"263", {"519", "775"}},
                  {"$T", {"cccccccccccccccccccccccccccccccc.$F.1", "cccccccccccccccc0000000000000000.$F.1"}},
                  {"$H", {"cccccccccccccccccccccccccccccccc", "cccccccccccccccc0000000000000000"}},
                  {"$I", {"dddddddddddddddddddddddddddddddd", "dddddddddddddddd0000000000000000"}},
                  {"$J", {"eeeeeeeeeeeeeeeeeeeeeeeeeeeeeeee", "eeeeeeeeeeeeeeee0000000000000000"}}};
    char *said = calloc(1, strlen(line) * 40 + 1);
    size_t len = 0;

    while (*line) {
        size_t i = 0;
        while (i < sizeof(OTHERS) / sizeof(OTHERS[0]) && strncmp(line, OTHERS[i].word, strlen(OTHERS[i].word)) != 0)
            i++;
        if (i < sizeof(OTHERS) / sizeof(OTHERS[0])) {
            len += (size_t)sprintf(said + len, "%s", OTHERS[i].other[which - 1]);
            line += strlen(OTHERS[i].word);
        } else {
            said[len++] = *line++;
        }
    }
    return said;
}

/*
 * The three ways in which a partition is read: its records and indexes as dumps; records whose dumps are compressed, which are read once more, by
 * their fields; and indexes that are too large to be read whole, of which the scores are asked for. What makes this one large is wrong as well, but
 * not what is wanted.
 */
static const char *const WAYS[] = {
    "CONFIG SET rdbcompression no => 'OK'",
    "CONFIG SET rdbcompression yes => 'OK'",
    "CONFIG SET rdbcompression no => 'OK' ; "
    "EVAL 'for n = 1000000, 1020000 do redis.call(\"ZADD\", \"payments:{7}\", n, n) end return redis.call(\"ZCARD\", \"payments:{7}\")' 0 => 20001",
};
#define TOO_MANY "more or fewer payments than there are"

/*
 * By the whole audit, whose worker reads records by plain commands and asks a function about what does not look right. There are two right ones
 * before the damaged one that are otherwise the same: so what the worker has learned of these must not let it pass that one.
 */
static void find_among_others(struct lua_shard *shard, const struct damage *row, const char *way, bool alone)
{
    char *second = about_another(row->given, 1), *third = about_another(row->given, 2);
    char *damage = about_another(row->damage, 2), *found = about_another(row->found, 2), *all;
    const char *done = alone ? row->damage : damage, *want = alone ? row->found : found;

    lua_begin(shard);
    lua_check(shard, way);
    lua_check(shard, row->given);
    if (!alone) {
        lua_check(shard, second);
        lua_check(shard, third);
    }
    all = lua_audit(shard);
    if (!strstr(all, "\"checked\"") || strstr(all, want))
        fail_msg("before %s: %s", done, all);
    free(all);
    lua_check(shard, done);
    all = lua_audit(shard);
    if (!strstr(all, want))
        fail_msg("after %s: %s\n  want  %s", done, all, want);
    free(all);
    free(second);
    free(third);
    free(damage);
    free(found);
}

static void find_all_among_others(struct lua_shard *shard, const char *way, bool large)
{
    for (size_t i = 0; i < sizeof(STOCK_DAMAGE) / sizeof(STOCK_DAMAGE[0]) && !large; i++)
        find_among_others(shard, &STOCK_DAMAGE[i], way, false);
    for (size_t i = 0; i < sizeof(ORDER_DAMAGE) / sizeof(ORDER_DAMAGE[0]); i++)
        if (!large || !strstr(ORDER_DAMAGE[i].found, TOO_MANY))
            find_among_others(shard, &ORDER_DAMAGE[i], way, false);
    find_among_others(shard, &TWO_PAYMENTS, way, true);
}

static void the_whole_audit_finds_every_damage(struct lua_shard *shard)
{
    find_all_among_others(shard, WAYS[0], false);
}

static void it_finds_every_damage_in_compressed_records(struct lua_shard *shard)
{
    find_all_among_others(shard, WAYS[1], false);
}

static void it_finds_every_damage_in_a_large_partition(struct lua_shard *shard)
{
    find_all_among_others(shard, WAYS[2], true);
}

#define MADE 25

/* By INFO commandstats. */
static long calls_of(struct lua_shard *shard, const char *command)
{
    char *info = lua_do(shard, "INFO commandstats"), want[64];
    snprintf(want, sizeof(want), "cmdstat_%s:calls=", command);
    const char *at = strstr(info, want);
    long calls = at ? strtol(at + strlen(want), NULL, 10) : 0;
    free(info);
    return calls;
}

/* An audit that finds nothing but that D is no document; how many records of orders and payments the functions were asked to read. */
static long records_asked_about(struct lua_shard *shard)
{
    free(lua_do(shard, "CONFIG RESETSTAT"));
    char *all = lua_audit(shard);
    if (!strstr(all, "\"checked\"") || strstr(all, "payment ") || strstr(all, "partition "))
        fail_msg("%s", all);
    free(all);
    return calls_of(shard, "hmget");
}

/*
 * Records and indexes are read by DUMP alone. A payment that moved behind the reading of the indexes is asked about, though there is nothing that
 * does not look right; here it has moved in an hour, which is behind it as well.
 */
static void what_moves_is_asked_about(struct lua_shard *shard)
{
    lua_check(shard, WAYS[0]);
    for (int i = 1; i <= MADE; i++) {
        free(lua_do(shard, "place idem:{7}:%032x 7 $F 1 %032x.$F.1 u%d 500 USD 60000 D r", (unsigned)i, (unsigned)i, i % 3));
        free(lua_do(shard, "pay order:{7}:%d 7 %d %032x $F '' charge automatic P q 9000", 256 * i + 7, 256 * i + 7, 1000U + (unsigned)i));
    }
    usleep(100000); /* what was written just now counts as moving */
    long still = records_asked_about(shard);
    assert_int_equal(calls_of(shard, "hgetall"), 0);
    assert_int_equal(calls_of(shard, "xrange"), 0);
    lua_check(shard, "HSET payment:{7}:4359 updated @+3600000 e1 'processing|0|0|@+3600000|q|' => 0");
    assert_int_equal(records_asked_about(shard), still + 3); /* it; its order, and once more for the end of its history */
}

static void every_damage_of_stock_is_found(struct lua_shard *shard)
{
    for (size_t i = 0; i < sizeof(STOCK_DAMAGE) / sizeof(STOCK_DAMAGE[0]); i++)
        find(shard, AUDIT_STOCK, &STOCK_DAMAGE[i]);
}

static void every_damage_of_orders_is_found(struct lua_shard *shard)
{
    for (size_t i = 0; i < sizeof(ORDER_DAMAGE) / sizeof(ORDER_DAMAGE[0]); i++)
        find(shard, AUDIT_ORDERS, &ORDER_DAMAGE[i]);
    find(shard, AUDIT_ORDERS, &TWO_PAYMENTS);
}

/* The n-th word of an answer, '' as an empty text; freed by the caller. */
static char *word(const char *answer, int n)
{
    while (n-- > 0)
        answer += strcspn(answer, " ") + 1;
    size_t len = strcspn(answer, " ");
    return len == 2 && memcmp(answer, "''", 2) == 0 ? strdup("") : strndup(answer, len);
}

static void pages_of_products(struct lua_shard *shard)
{
    char *next = strdup("");
    int products = 0, pages = 0;

    for (int i = 0; i < MADE; i++)
        free(lua_do(shard, "product_create idem:{7}:%032x 7 $F D 5", (unsigned)i));
    do {
        char *page = lua_do(shard, "audit_stock products:{7} 7 '%s' 4", next), *count = word(page, 2);
        assert_null(strstr(page, "product"));
        products += atoi(count);
        free(next);
        next = word(page, 1);
        free(count);
        free(page);
        assert_true(++pages <= MADE);
    } while (*next);
    assert_int_equal(products, MADE);
    free(next);
}

static void count_orders_by_pages(struct lua_shard *shard)
{
    char *score = strdup(""), *id = strdup("");
    int orders = 0, payments = 0, pages = 0;

    do {
        char *page = lua_do(shard, "audit_orders orders:{7} 7 '%s' '%s' 4 0", score, id), *count = word(page, 3), *paid = word(page, 4);
        assert_null(strstr(page, ": "));
        orders += atoi(count);
        payments += atoi(paid);
        free(score);
        free(id);
        score = word(page, 1);
        id = word(page, 2);
        free(count);
        free(paid);
        free(page);
        assert_true(++pages <= MADE);
    } while (*score);
    assert_int_equal(orders, MADE);
    assert_int_equal(payments, MADE);
    free(score);
    free(id);
}

static void pages_of_orders(struct lua_shard *shard)
{
    for (int i = 1; i <= MADE; i++) {
        free(lua_do(shard, "place idem:{7}:%032x 7 $F 1 %032x.$F.1 u%d 500 USD 60000 D r", (unsigned)i, (unsigned)i, i % 3));
        free(lua_do(shard, "pay order:{7}:%d 7 %d %032x $F '' charge automatic P q 9000", 256 * i + 7, 256 * i + 7, 1000U + (unsigned)i));
    }
    count_orders_by_pages(shard);
    /* All of one time: then they stand by their ids. */
    for (int i = 1; i <= MADE; i++) {
        free(lua_do(shard, "ZADD orders:{7} 5 %d", 256 * i + 7));
        free(lua_do(shard, "ZADD orders:{7}:user:u%d 5 %d", i % 3, 256 * i + 7));
        free(lua_do(shard, "ZADD orders:{7}:in:reserved:pending 5 %d", 256 * i + 7));
    }
    count_orders_by_pages(shard);
}

/* More versions than come with the record, and than are read at once. */
#define REFUNDS 40

static void finds_in_history(struct lua_shard *shard, const char *damage, const char *found, const char *mended)
{
    char *got;

    lua_check(shard, damage);
    got = lua_do(shard, AUDIT_ORDERS);
    if (!strstr(got, found))
        fail_msg("after %s: %s\n  want  %s", damage, got, found);
    free(got);
    lua_check(shard, mended);
    got = lua_do(shard, AUDIT_ORDERS);
    assert_null(strstr(got, ": "));
    free(got);
}

static void long_histories(struct lua_shard *shard)
{
    char *versions;

    lua_check(shard, PAID);
    for (int i = 1; i <= REFUNDS; i++) {
        free(lua_do(shard, "refund payment:{7}:263 7 263 %032x $F 1 '' q 9000", 5000U + (unsigned)i));
        free(lua_do(shard, "refund_result payment:{7}:263 7 263 %d succeeded '' q 9000", i));
    }
    versions = lua_do(shard, "HGET payment:{7}:263 v");
    assert_int_equal(atoi(versions), 2 + 2 * REFUNDS);
    free(versions);
    finds_in_history(shard, "RENAME payment:{7}:263 payment:{7}:264", "payment 263: has no record", "RENAME payment:{7}:264 payment:{7}:263");
    for (int n = 1; n <= 2 + 2 * REFUNDS; n++) {
        char damage[96], found[64], mended[256], *text = lua_do(shard, "HGET payment:{7}:263 e%d", n);

        snprintf(damage, sizeof(damage), "HDEL payment:{7}:263 e%d", n);
        snprintf(found, sizeof(found), "payment 263: e%d is missing", n);
        snprintf(mended, sizeof(mended), "HSET payment:{7}:263 e%d %s", n, text);
        finds_in_history(shard, damage, found, mended);
        free(text);
    }
    finds_in_history(shard, "HSET payment:{7}:263 e83 x", "payment 263: there is an e beyond v", "HDEL payment:{7}:263 e83");
}

int main(void)
{
    static const struct lua_story STORIES[] = {
        {"every damage of stock is found", every_damage_of_stock_is_found},
        {"every damage of orders is found", every_damage_of_orders_is_found},
        {"the whole audit finds every damage", the_whole_audit_finds_every_damage},
        {"it finds every damage in compressed records", it_finds_every_damage_in_compressed_records},
        {"it finds every damage in a large partition", it_finds_every_damage_in_a_large_partition},
        {"what moves is asked about", what_moves_is_asked_about},
        {"pages of products", pages_of_products},
        {"pages of orders", pages_of_orders},
        {"long histories", long_histories},
    };

    return LUA_RUN_WITH("audit", CASES, STORIES);
}
