#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "library.h"

#include "redis_fixture.h"

#include "lua_test_lib.h"

/* Four orders in two partitions; two of them were placed in the same microsecond. */
#define ORDERS \
    "ZADD orders:{1} 100 257 300 513 ; ZADD orders:{2} 200 258 300 514 ; HSET order:{1}:257 v 1 state paid payment_status paid user a ; " \
    "HSET order:{1}:513 v 2 state reserved payment_status none user b ; HSET order:{2}:258 v 3 state paid payment_status refunded user c ; " \
    "HSET order:{2}:514 v 4 state reserved payment_status none user d"
#define LIST "list keys=2 orders:{1} orders:{2} "

static const struct lua_case CASES[] = {
    {"ascending", ORDERS, LIST "order asc 10 '' '' '' '' v", "0 0 300 514 100 257 1 200 258 3 300 513 2 300 514 4", ""},
    {"descending", ORDERS, LIST "order desc 10 '' '' '' '' v", "0 0 100 257 300 514 4 300 513 2 200 258 3 100 257 1", ""},
    {"no fields", ORDERS, LIST "order desc 1 '' '' '' ''", "0 1 300 514 300 514", ""},
    {"several fields, one that is not there", ORDERS, LIST "order asc 1 '' '' '' '' user nothing state", "0 1 100 257 100 257 a (nil) paid", ""},
    {"a limit that is met", ORDERS, LIST "order asc 4 '' '' '' ''", "0 0 300 514 100 257 200 258 300 513 300 514", ""},
    {"behind an entry", ORDERS, LIST "order asc 10 200 258 '' ''", "0 0 300 514 300 513 300 514", ""},
    {"between two of equal score, ascending", ORDERS, LIST "order asc 10 300 513 '' ''", "0 0 300 514 300 514", ""},
    {"between two of equal score, descending", ORDERS, LIST "order desc 2 300 514 '' ''", "0 1 200 258 300 513 200 258", ""},
    {"behind one that is gone", ORDERS, LIST "order asc 10 250 999 '' ''", "0 0 300 514 300 513 300 514", ""},
    {"behind the last", ORDERS, LIST "order asc 10 300 514 '' ''", "0 0 300 514", ""},
    {"by state", ORDERS, LIST "order asc 10 '' '' paid ''", "0 0 300 514 100 257 200 258", ""},
    {"by payment_status", ORDERS, LIST "order asc 10 '' '' '' none", "0 0 300 514 300 513 300 514", ""},
    {"by both", ORDERS, LIST "order asc 10 '' '' paid refunded", "0 0 300 514 200 258", ""},
    {"by what nobody has", ORDERS, LIST "order asc 10 '' '' cancelled ''", "0 0 300 514", ""},
    {"a record that is gone is passed over", ORDERS " ; DEL order:{2}:258", LIST "order asc 10 '' '' '' '' v",
     "0 0 300 514 100 257 1 300 513 2 300 514 4", ""},
    {"an index that is not there", ORDERS, "list keys=2 orders:{9} orders:{2} order asc 10 '' '' '' ''", "0 0 300 514 200 258 300 514", ""},
    {"no index is there", "", LIST "order asc 10 '' '' '' ''", "0 0 '' ''", ""},
    {"one buyer's", ORDERS " ; ZADD orders:{1}:user:a 100 257", "list orders:{1}:user:a order desc 10 '' '' '' '' user", "0 0 100 257 100 257 a", ""},
    {"payments by status", "ZADD payments:{1} 5 257 ; HSET payment:{1}:257 v 1 status failed",
     "list payments:{1} payment desc 10 '' '' failed '' status", "0 0 5 257 5 257 failed", ""},
    {"payments by another status", "ZADD payments:{1} 5 257 ; HSET payment:{1}:257 v 1 status failed",
     "list payments:{1} payment desc 10 '' '' succeeded '' status", "0 0 5 257", ""},
    {"products", "ZADD products:{1} 257 257 1 1 ; HSET product:{1}:257 v 1 doc B ; HSET product:{1}:1 v 7 doc A",
     "list products:{1} product asc 10 '' '' '' '' v doc", "0 0 257 257 1 1 7 A 257 257 1 B", ""},
    {"a limit of none", ORDERS, LIST "order asc 0 '' '' '' ''", "'-ERR souk: bad argument 3 of list'", ""},
    {"an order that is none", ORDERS, LIST "order up 10 '' '' '' ''", "'-ERR souk: bad argument 2 of list'", ""},
    {"a kind that is none", ORDERS, LIST "idem asc 10 '' '' '' ''", "'-ERR souk: bad argument 1 of list'", ""},
    {"too few arguments", ORDERS, LIST "order asc 10", "'-ERR souk: wrong number of arguments of list'", ""},
    {"a key without a partition", ORDERS, "list orders order asc 10 '' '' '' ''", "'-ERR souk: bad key of list'", ""},
};

/* Many orders over all partitions, half of them in one; three share each score, so that pages end between equals. */
#define PARTITIONS 256
#define ORDERS_MADE 5000

struct entry {
    long long score;
    char id[16];
    int number;
};

static void entry_of(struct entry *entry, int number)
{
    int p = number % 2 == 0 ? 3 : number * 31 % PARTITIONS;

    entry->number = number;
    entry->score = 1700000000000000 + number / 3;
    snprintf(entry->id, sizeof(entry->id), "%d", number * PARTITIONS + p);
}

static const char MAKE_ORDERS[] =
    "for n = 1, tonumber(ARGV[1]) do local p = n % 2 == 0 and 3 or n * 31 % 256 local id = string.format('%.0f', n * 256 + p) "
    "redis.call('ZADD', 'orders:{' .. p .. '}', string.format('%.0f', 1700000000000000 + math.floor(n / 3)), id) "
    "redis.call('HSET', 'order:{' .. p .. '}:' .. id, 'v', n, 'state', n % 5 == 0 and 'paid' or 'reserved', "
    "'payment_status', n % 500 == 0 and 'refunded' or 'none') end return 1";

static int newest_first(const void *a, const void *b)
{
    const struct entry *left = a, *right = b;

    if (left->score != right->score)
        return left->score < right->score ? 1 : -1;
    return strcmp(right->id, left->id);
}

static int oldest_first(const void *a, const void *b)
{
    return newest_first(b, a);
}

struct walk {
    const char *name, *order, *state, *payment_status;
    int limit, every; /* which numbers are wanted: every n-th */
};

static size_t wanted_of(const struct walk *walk, struct entry *wanted)
{
    size_t count = 0;

    for (int number = 1; number <= ORDERS_MADE; number++)
        if (number % walk->every == 0)
            entry_of(&wanted[count++], number);
    qsort(wanted, count, sizeof(*wanted), strcmp(walk->order, "asc") == 0 ? oldest_first : newest_first);
    return count;
}

static char *fetch_page(struct redis_fixture *redis, const struct walk *walk, const char *score, const char *member)
{
    char keys[PARTITIONS][24], name[64], limit[16];
    const char *argv[PARTITIONS + 16];
    int argc = 0;

    snprintf(name, sizeof(name), "list_%.*s", VIEW_ARG(SOUK_LIBRARIES[0].hash));
    snprintf(limit, sizeof(limit), "%d", walk->limit);
    argv[argc++] = "FCALL_RO";
    argv[argc++] = name;
    argv[argc++] = "256";
    for (int p = 0; p < PARTITIONS; p++) {
        snprintf(keys[p], sizeof(keys[p]), "orders:{%d}", p);
        argv[argc++] = keys[p];
    }
    const char *args[] = {"order", walk->order, limit, score, member, walk->state, walk->payment_status, "v", NULL};
    for (int i = 0; args[i]; i++)
        argv[argc++] = args[i];
    argv[argc] = NULL;
    return redis_cmd(redis, argv);
}

/* Copies the line and moves past it. */
static void next_line(char **at, char *into, size_t size)
{
    size_t len = strcspn(*at, "\n");

    snprintf(into, size, "%.*s", (int)len, *at);
    *at += len + ((*at)[len] ? 1 : 0);
}

/* Goes through all pages; together they must be exactly what is wanted, in its order: nothing repeated, nothing skipped. */
static void walk_all(struct redis_fixture *redis, const struct walk *walk)
{
    struct entry *wanted = calloc(ORDERS_MADE, sizeof(*wanted));
    size_t count = wanted_of(walk, wanted), got = 0;
    char score[32] = "", member[32] = "", code[32], more[32] = "1", row_score[32], row_member[32], v[32];
    int rows, pages = 0;

    while (strcmp(more, "1") == 0) {
        char *page = fetch_page(redis, walk, score, member), *at = page;
        next_line(&at, code, sizeof(code));
        next_line(&at, more, sizeof(more));
        next_line(&at, score, sizeof(score));
        next_line(&at, member, sizeof(member));
        assert_string_equal(code, "0");
        for (rows = 0; *at; rows++) {
            next_line(&at, row_score, sizeof(row_score));
            next_line(&at, row_member, sizeof(row_member));
            next_line(&at, v, sizeof(v));
            assert_true(got < count);
            assert_string_equal(row_member, wanted[got].id);
            assert_int_equal(atoll(row_score), wanted[got].score);
            assert_int_equal(atoi(v), wanted[got++].number);
        }
        assert_true(rows <= walk->limit);
        assert_true(++pages <= ORDERS_MADE);
        free(page);
    }
    assert_int_equal(got, count);
    free(wanted);
}

static const struct walk WALKS[] = {
    {"all in pages of 1000", "desc", "", "", 1000, 1},
    {"all in pages of 100", "desc", "", "", 100, 1},
    {"all in pages of 100, oldest first", "asc", "", "", 100, 1},
    {"all in pages of 7", "asc", "", "", 7, 1},
    {"all in one page", "asc", "", "", 100000, 1},
    {"one of five in pages of 10", "desc", "paid", "", 10, 5},
    {"one of five in pages of 1", "asc", "paid", "", 1, 5},
    {"one of five hundred in pages of 100: pages that end before they are full", "desc", "paid", "refunded", 100, 500},
};

static void walk_lists(void **state)
{
    struct redis_fixture *redis = redis_start(NULL);

    REDIS_DO(redis, "FUNCTION", "LOAD", SOUK_LIBRARIES[0].text.at);
    REDIS_DO(redis, "EVAL", MAKE_ORDERS, "0", "5000");
    for (size_t i = 0; i < sizeof(WALKS) / sizeof(WALKS[0]); i++) {
        print_message("             %s\n", WALKS[i].name);
        walk_all(redis, &WALKS[i]);
    }
    redis_stop(redis);
}

/* What comes and goes between two pages changes nothing for those that were there throughout. */
static void walk_while_it_changes(void **state)
{
    static const struct walk walk = {"", "desc", "", "", 1000, 1};
    struct redis_fixture *redis = redis_start(NULL);
    struct entry *wanted = calloc(ORDERS_MADE, sizeof(*wanted));
    char *page, *at, line[32], score[32], member[32], key[32];

    REDIS_DO(redis, "FUNCTION", "LOAD", SOUK_LIBRARIES[0].text.at);
    REDIS_DO(redis, "EVAL", MAKE_ORDERS, "0", "5000");
    wanted_of(&walk, wanted);
    page = at = fetch_page(redis, &walk, "", "");
    next_line(&at, line, sizeof(line));
    next_line(&at, line, sizeof(line));
    next_line(&at, score, sizeof(score));
    next_line(&at, member, sizeof(member));
    free(page);
    assert_string_equal(member, wanted[999].id);

    REDIS_DO(redis, "ZADD", "orders:{9}", "1800000000000000", "9"); /* newer than all */
    snprintf(key, sizeof(key), "orders:{%lld}", atoll(member) % PARTITIONS);
    REDIS_DO(redis, "ZREM", key, member); /* the cursor's own */

    page = at = fetch_page(redis, &walk, score, member);
    for (int i = 0; i < 6; i++)
        next_line(&at, line, sizeof(line));
    assert_string_equal(line, wanted[1000].id);
    free(page);
    free(wanted);
    redis_stop(redis);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(walk_lists),
        cmocka_unit_test(walk_while_it_changes),
    };
    int failed = LUA_RUN("list", CASES);

    return failed + cmocka_run_group_tests_name("long lists", tests, NULL, NULL);
}
