#ifndef LUA_TEST_LIB_H
#define LUA_TEST_LIB_H

#include <stddef.h>

/*
 * Tests of the function library against a real redis-server, as tables: one case, one row.
 *
 *   {"fulfil from paid", ORDER("paid"), "fulfil order:{7}:263 7 263 $I $F r D2", "0 4 fulfilled paid ~1000", "HGET order:{7}:263 doc => D2"}
 *
 * Every case starts in an empty shard (souk:shard with epoch 3 and 256 partitions). ${given} is run, then ${call}, whose answer must be ${want}, then
 * ${then}. A line holds commands, with " ; " between them. A command is a function (small letters; its first word is KEYS[1], the ring epoch and
 * the limit are added; limit=@+500 in front of the key is another limit) or a plain Redis command (capitals). " => " behind a command gives the
 * answer it must have; in ${given} other commands must only not fail. Words are separated by spaces; '' is an empty word and '…' one with spaces.
 *
 *   in commands   $H $I $J  three keys' hashes    $F $G  two fingerprints    $T  $H.$F.1    $U  $H.$F.2
 *                 @+500 @-500  the time 500 ms after and before the case began
 *   in answers    *  any one word    ~500  a number that depends on time, 3 000 more or less, and the milliseconds that the case has taken
 *                 @+500 such a time, 3 s more or less, or as much later as the case has taken    …  anything from here on
 * Times may also be parts of a word between |, as in a hold's text.
 *
 * Answers are flat: all lists' items one after another, '' for empty texts and empty lists.
 *
 * Two things are checked in every case without being said. When the answer's code is not 0 (or is an error), nothing in Redis may have changed, but
 * for a key's record: a refusal, or a cancel or fulfil that was done before, may be its outcome.
 * When it is 0 and the function writes, it is first called with another epoch (answer 1) and after its limit (answer 2), and nothing may change by
 * that.
 */
struct lua_shard;

struct lua_case {
    const char *name, *given, *call, *want, *then;
};

/* What no row can say, because it needs a loop. Also starts in an empty shard. */
struct lua_story {
    const char *name;
    void (*tell)(struct lua_shard *shard);
};

/* Runs cases and stories as one group of tests; the result is for main to return. */
int lua_run(const char *group, const struct lua_case *cases, size_t case_count, const struct lua_story *stories, size_t story_count);
#define LUA_RUN(group, cases) lua_run((group), (cases), sizeof(cases) / sizeof((cases)[0]), NULL, 0)
#define LUA_RUN_WITH(group, cases, stories) \
    lua_run((group), (cases), sizeof(cases) / sizeof((cases)[0]), (stories), sizeof(stories) / sizeof((stories)[0]))

/* Empties the shard and begins anew, as before each case, for a story of many. */
void lua_begin(struct lua_shard *shard);

/* Loads the library anew, as a process that begins does: it has told no time yet. */
void lua_reload(struct lua_shard *shard);

/* One command; its flat answer, freed by the caller. */
char *lua_do(struct lua_shard *shard, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* What `soukctl audit` says of this shard; freed by the caller. */
char *lua_audit(struct lua_shard *shard);

/* Fails the test unless the line's answers are as they say. */
void lua_check(struct lua_shard *shard, const char *line);

#endif
