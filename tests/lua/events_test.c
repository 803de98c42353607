#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "lua_test_lib.h"

#define ENTRY(order) "e " order "||1||reserved|none|place|r"
#define FEED \
    "XADD events:{1} 1000-0 " ENTRY("257") " ; XADD events:{2} 1000-1 " ENTRY("258") " ; XADD events:{2} 1001-0 " ENTRY( \
        "514") " ; " \
               "XADD events:{1} 1001-1 " ENTRY("513") " ; " \
                                                      "XADD events:{1} 1005-0 e 257|769|2|reserved|paid|paid|charge_succeeded| "
#define ROW(p, id, order) p " " id " " order " '' 1 '' reserved none place r "

static const struct lua_case CASES[] = {
    {"all, merged by time", FEED, "events souk:shard 0 100 1,2",
     "0 @-300000 " ROW("1", "1000-0", "257") ROW("2", "1000-1", "258") ROW("2", "1001-0", "514")
         ROW("1", "1001-1", "513") "1 1005-0 257 769 2 reserved paid paid charge_succeeded ''",
     ""},
    {"only of the partitions asked for", FEED, "events souk:shard 0 100 2", "0 @-300000 " ROW("2", "1000-1", "258") ROW("2", "1001-0", "514"), ""},
    {"after a time", FEED, "events souk:shard 1000 100 1,2",
     "0 @-300000 " ROW("2", "1001-0", "514") ROW("1", "1001-1", "513") "1 1005-0 257 769 2 reserved paid paid charge_succeeded ''", ""},
    {"a millisecond is never cut", FEED, "events souk:shard 0 1 1,2", "0 1000 " ROW("1", "1000-0", "257") ROW("2", "1000-1", "258"), ""},
    {"the page ends with a millisecond", FEED, "events souk:shard 0 3 1,2",
     "0 1001 " ROW("1", "1000-0", "257") ROW("2", "1000-1", "258") ROW("2", "1001-0", "514") ROW("1", "1001-1", "513"), ""},
    {"after the last", FEED, "events souk:shard 1005 100 1,2", "0 @-300000", ""},
    {"no streams", "", "events souk:shard 7 100 1,2", "0 @-300000", ""},
    {"a cursor of the future stays where it is", FEED, "events souk:shard @+500000 100 1,2", "0 @+500000", ""},
    {"a limit of none", FEED, "events souk:shard 0 0 1,2", "'-ERR souk: bad argument 2 of events'", ""},
    {"a wrong key", FEED, "events order:{1}:2 0 10 1,2", "'-ERR souk: bad key of events'", ""},
};

/* "0,1,2,…,255", freed by the caller. */
static char *all_partitions(void)
{
    size_t size = 256 * 4 + 1, len = 0;
    char *text = malloc(size);

    for (int p = 0; p < 256; p++)
        len += (size_t)snprintf(text + len, size - len, "%s%d", p > 0 ? "," : "", p);
    return text;
}

#define EVENTS_MADE 3000
#define COLUMNS 10

/* Reads one page and marks its orders; each must follow the one before. Returns upto. */
static long long read_page(char *page, unsigned char *seen, long long *last_ms, int *rows)
{
    char *next = NULL, *word = strtok_r(page, " ", &next);
    long long upto;

    assert_string_equal(word, "0");
    upto = atoll(strtok_r(NULL, " ", &next));
    for (*rows = 0; (word = strtok_r(NULL, " ", &next)); ++*rows) {
        long long ms = atoll(strtok_r(NULL, " ", &next));
        int order = atoi(strtok_r(NULL, " ", &next));
        assert_in_range(order, 1, EVENTS_MADE);
        assert_int_equal(atoi(word), order % 5 == 0 ? 3 : order % 256);
        assert_int_equal(seen[order]++, 0);
        assert_true(ms >= *last_ms && ms <= upto);
        *last_ms = ms;
        for (int column = 3; column < COLUMNS; column++)
            assert_non_null(strtok_r(NULL, " ", &next));
    }
    return upto;
}

/* Seven events share each millisecond, one partition has far more than the others. */
static void pages_over_all_partitions(struct lua_shard *shard)
{
    unsigned char seen[EVENTS_MADE + 1];
    char *partitions = all_partitions();

    lua_check(shard, "EVAL 'for n = 1, 3000 do local p = n % 5 == 0 and 3 or n % 256 "
                     "redis.call(\"XADD\", \"events:{\" .. p .. \"}\", (1000 + math.floor(n / 7)) .. \"-\" .. n, "
                     "\"e\", n .. \"||1||reserved|none|place|r\") end return 1' 0 => 1");
    for (int limit = 1; limit <= 10000; limit *= 10) {
        long long after = 0, last_ms = 0;
        int rows = 1, all = 0;
        memset(seen, 0, sizeof(seen));
        while (rows > 0) {
            char *page = lua_do(shard, "events souk:shard %lld %d %s", after, limit, partitions);
            after = read_page(page, seen, &last_ms, &rows);
            assert_true(rows < limit + 7);
            all += rows;
            free(page);
        }
        assert_int_equal(all, EVENTS_MADE);
    }
    free(partitions);
}

/* What the functions write is read as it was written, as soon as its millisecond is over. */
static void what_functions_write(struct lua_shard *shard)
{
    const char *want = " 263 263 2 reserved reserved pending pay q1";
    char *got;
    int tries = 0;

    lua_check(shard, "place idem:{7}:$H 7 $F 1 $T u1 500 USD 60000 D r => 0 263 @+0 @+60000 ; "
                     "pay order:{7}:263 7 263 $I $F '' charge automatic P q1 10000 => 0 263 500 USD @+0 1 charge:1");
    for (;;) {
        got = lua_do(shard, "events souk:shard 0 10 6,7,8");
        if (strstr(got, want))
            break;
        assert_true(++tries < 5000);
        free(got);
    }
    assert_non_null(strstr(got, " 263 '' 1 '' reserved none place r 7 "));
    free(got);
}

#define PLACE_7 "place idem:{7}:$H 7 $F 1 $T u1 500 USD 60000 D r"
/* An event so long after now. */
#define AHEAD(p, ms) \
    "EVAL 'local t = redis.call(\"TIME\") return redis.call(\"XADD\", \"events:{" p "}\", (t[1] * 1000 + " ms \
    ") .. \"-5\", \"e\", \"257||1||reserved|none|place|r\")' 0"

/* A process that begins while the clock is behind what one before it has told, and so behind a cursor. Its calls are not late by that. */
static void goes_on_behind_the_last_event(struct lua_shard *shard)
{
    long long upto, ms;
    char *got = lua_do(shard, AHEAD("9", "60000"));
    upto = atoll(got);
    free(got);
    free(lua_do(shard, AHEAD("8", "30000")));
    lua_reload(shard);
    got = lua_do(shard, PLACE_7);
    assert_int_equal(sscanf(got, "0 263 %lld", &ms), 1);
    assert_int_equal(ms, upto + 1);
    free(got);
    got = lua_do(shard, "XRANGE events:{7} - +");
    assert_int_equal(atoll(got), ms);
    free(got);
    lua_reload(shard);
}

/* Somebody else has told the time here since: another version of the library, in the same process. */
static void goes_on_behind_others(struct lua_shard *shard)
{
    long long upto, ms;
    free(lua_do(shard, PLACE_7));
    char *got = lua_do(shard, AHEAD("9", "20000"));
    upto = atoll(got);
    free(got);
    do { /* twice what makes a library ask */
        got = lua_do(shard, "TIME");
        ms = atoll(got) * 1000;
        free(got);
    } while (ms < upto - 20000 + 2000);
    got = lua_do(shard, "pay order:{7}:263 7 263 $I $F '' charge automatic P q1 10000");
    assert_int_equal(sscanf(got, "0 263 500 USD %lld", &ms), 1);
    assert_int_equal(ms, upto + 1);
    free(got);
    lua_reload(shard);
}

/* Two that are further ahead than clocks differ: that clock was wrong. Nothing fails, and nobody lives in its time. */
static void does_not_believe_a_wrong_clock(struct lua_shard *shard)
{
    free(lua_do(shard, AHEAD("7", "3600000")));
    free(lua_do(shard, AHEAD("9", "301000")));
    lua_reload(shard);
    lua_check(shard, PLACE_7 " => 0 263 @+0 @+60000 ; XLEN events:{7} => 2");
}

int main(void)
{
    static const struct lua_story STORIES[] = {
        {"pages over all partitions", pages_over_all_partitions},
        {"what functions write", what_functions_write},
        {"a process that begins goes on behind the last event", goes_on_behind_the_last_event},
        {"who adds an event goes on behind others", goes_on_behind_others},
        {"a process that begins does not believe a wrong clock", does_not_believe_a_wrong_clock},
    };

    return LUA_RUN_WITH("events", CASES, STORIES);
}
