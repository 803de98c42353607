#include <hiredis/hiredis.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "dump.h"
#include "redis_fixture.h"
#include "redis_words.h"

/*
 * What a real redis-server dumps, in each of its encodings, is read as HGETALL and ZRANGE tell it; and whatever a damaged or cut dump says, nothing
 * outside of it is looked at (the sanitizers watch) and no more is read than is there.
 */
struct shard {
    struct redis_fixture *redis;
    redisContext *link;
    struct arena *arena;
};

static int start(void **state)
{
    struct shard *shard = calloc(1, sizeof(*shard));
    shard->redis = redis_start((const char *const[]){"--rdbcompression", "no", NULL});
    shard->link = redisConnect("127.0.0.1", redis_port(shard->redis));
    assert_int_equal(shard->link->err, 0);
    shard->arena = arena_new();
    *state = shard;
    return 0;
}

static int stop(void **state)
{
    struct shard *shard = *state;
    redisFree(shard->link);
    redis_stop(shard->redis);
    arena_free(shard->arena);
    arena_thread_end();
    free(shard);
    return 0;
}

#define ask(shard, ...) redis_words((shard)->link, __VA_ARGS__)
#define order(shard, ...) freeReplyObject(ask((shard), __VA_ARGS__))

/* In memory of its own size, so that the sanitizers see whoever reads beyond it. */
static struct view dumped(struct shard *shard, const char *key)
{
    redisReply *reply = ask(shard, "DUMP %s", key);
    assert_int_equal(reply->type, REDIS_REPLY_STRING);
    struct view answer = {memcpy(malloc(reply->len), reply->str, reply->len), reply->len};
    freeReplyObject(reply);
    return answer;
}

static bool is_encoded(struct shard *shard, const char *key, const char *encoding)
{
    redisReply *reply = ask(shard, "OBJECT ENCODING %s", key);
    bool is = strcmp(reply->str, encoding) == 0;
    freeReplyObject(reply);
    return is;
}

/* ---- hashes ---- */

static const char *const NUMBERS[] = {"0",
                                      "1",
                                      "63",
                                      "64",
                                      "127",
                                      "128",
                                      "255",
                                      "4095",
                                      "4096",
                                      "-1",
                                      "-128",
                                      "-4096",
                                      "-4097",
                                      "32767",
                                      "32768",
                                      "-32768",
                                      "-32769",
                                      "8388607",
                                      "8388608",
                                      "-8388608",
                                      "-8388609",
                                      "2147483647",
                                      "2147483648",
                                      "-2147483648",
                                      "-2147483649",
                                      "9223372036854775807",
                                      "-9223372036854775808",
                                      "9223372036854775808",
                                      "007",
                                      "-0",
                                      "+1",
                                      "1.5",
                                      "",
                                      " 1"};
static const size_t LENGTHS[] = {1, 62, 63, 64, 65, 125, 126, 127, 128, 300, 4095, 4096, 16377, 16378, 16383, 16384, 70000};

/* Is it the same as HGETALL, field by field? A field is looked for, since the two need not have one order. */
static void must_say_the_same(struct shard *shard, const char *key)
{
    redisReply *all = ask(shard, "HGETALL %s", key);
    struct view answer = dumped(shard, key), name, value;
    struct dump dump;
    size_t found = 0;
    assert_true(dump_open(&dump, answer, DUMP_HASH, shard->arena));
    assert_int_equal(dump.left, all->elements / 2);
    while (dump_field(&dump, &name, &value)) {
        size_t i = 0;
        while (i < all->elements && !view_equal(name, (struct view){all->element[i]->str, all->element[i]->len}))
            i += 2;
        if (i >= all->elements)
            fail_msg("%s: there is no field %.*s", key, VIEW_ARG(name));
        if (!view_equal(value, (struct view){all->element[i + 1]->str, all->element[i + 1]->len}))
            fail_msg("%s %.*s: %.*s is not %s", key, VIEW_ARG(name), VIEW_ARG(value), all->element[i + 1]->str);
        found++;
    }
    assert_true(dump_ended(&dump));
    assert_int_equal(found, all->elements / 2);
    freeReplyObject(all);
    free((char *)answer.at);
}

static void fill_hash(struct shard *shard, const char *key, size_t longest)
{
    char *text = malloc(longest);
    memset(text, 'x', longest);
    order(shard, "DEL %s", key);
    for (size_t i = 0; i < sizeof(NUMBERS) / sizeof(*NUMBERS); i++)
        order(shard, "HSET %s number-%d %s", key, (int)i, NUMBERS[i]);
    for (size_t i = 0; i < sizeof(LENGTHS) / sizeof(*LENGTHS) && LENGTHS[i] <= longest; i++)
        order(shard, "HSET %s %b %b", key, text, LENGTHS[i], text, LENGTHS[i]);
    order(shard, "HSET %s 12 %b", key, "a\0b", (size_t)3);
    free(text);
}

static void test_hashes(void **state)
{
    struct shard *shard = *state;
    static const size_t longest[] = {64, 4096, 70000};
    for (size_t i = 0; i < sizeof(longest) / sizeof(*longest); i++) {
        order(shard, "CONFIG SET hash-max-listpack-value 100000 hash-max-listpack-entries 1000");
        fill_hash(shard, "packed", longest[i]);
        assert_true(is_encoded(shard, "packed", "listpack"));
        must_say_the_same(shard, "packed");
        order(shard, "CONFIG SET hash-max-listpack-entries 4");
        fill_hash(shard, "plain", longest[i]);
        assert_true(is_encoded(shard, "plain", "hashtable"));
        must_say_the_same(shard, "plain");
    }
}

/* ---- sorted sets ---- */

static void must_have_the_same(struct shard *shard, const char *key)
{
    redisReply *all = ask(shard, "ZCARD %s", key);
    struct view answer = dumped(shard, key);
    struct dump dump;
    int64_t id;
    double score;
    long long count = 0;
    assert_true(dump_open(&dump, answer, DUMP_ZSET, shard->arena));
    while (dump_member(&dump, &id, &score)) {
        redisReply *there = ask(shard, "ZSCORE %s %lld", key, (long long)id);
        assert_int_equal(there->type, REDIS_REPLY_STRING);
        if (strtod(there->str, NULL) != score)
            fail_msg("%s %lld: %.17g is not %s", key, (long long)id, score, there->str);
        freeReplyObject(there);
        count++;
    }
    assert_true(dump_ended(&dump));
    assert_int_equal(count, all->integer);
    freeReplyObject(all);
    free((char *)answer.at);
}

static void fill_zset(struct shard *shard, const char *key)
{
    static const char *const scores[] = {"0",     "1",  "-1", "5.25", "1795773352101", "1795773352101.5", "inf", "-inf", "1e300", "9007199254740993",
                                         "-4097", "0.1"};
    static const char *const ids[] = {"0",  "7",  "127", "128", "4096", "65536", "2147483647", "2147483648", "123456789012", "9223372036854775807",
                                      "99", "255"};
    order(shard, "DEL %s", key);
    for (size_t i = 0; i < sizeof(ids) / sizeof(*ids); i++)
        order(shard, "ZADD %s %s %s", key, scores[i], ids[i]);
}

static void test_sorted_sets(void **state)
{
    struct shard *shard = *state;
    order(shard, "CONFIG SET zset-max-listpack-entries 100");
    fill_zset(shard, "packed");
    assert_true(is_encoded(shard, "packed", "listpack"));
    must_have_the_same(shard, "packed");
    order(shard, "CONFIG SET zset-max-listpack-entries 4");
    fill_zset(shard, "plain");
    assert_true(is_encoded(shard, "plain", "skiplist"));
    must_have_the_same(shard, "plain");
}

/* A member that is no id ends it, and that is told. */
static void test_members_that_are_no_ids(void **state)
{
    static const char *const members[] = {"x", "007", "-7", "1.0", ""};
    struct shard *shard = *state;
    for (size_t i = 0; i < sizeof(members) / sizeof(*members); i++) {
        struct dump dump;
        int64_t id;
        double score;
        order(shard, "DEL z");
        order(shard, "ZADD z 5 %s", members[i]);
        struct view answer = dumped(shard, "z");
        assert_true(dump_open(&dump, answer, DUMP_ZSET, shard->arena));
        assert_false(dump_member(&dump, &id, &score));
        assert_false(dump_ended(&dump));
        free((char *)answer.at);
    }
}

/* ---- streams ---- */

/* Entries of one field, whose node has it; of others; texts that are kept as numbers; some that are deleted, at the ends and between. */
static void fill_stream(struct shard *shard, const char *key, int count)
{
    order(shard, "DEL %s", key);
    for (int i = 1; i <= count; i++) {
        if (i % 7 == 0)
            order(shard, "XADD %s %d-%d f %d g x", key, 1000 + i / 3, i, i * 1000);
        else
            order(shard, "XADD %s %d-%d e %d|reserved|none|%d", key, 1000 + i / 3, i, i, i);
        if (i % 5 == 0 || i == 1)
            order(shard, "XDEL %s %d-%d", key, 1000 + i / 3, i);
    }
    order(shard, "XADD %s * e last", key);
}

static void must_tell_the_same(struct shard *shard, const char *key)
{
    redisReply *all = ask(shard, "XRANGE %s - +", key);
    struct view answer = dumped(shard, key), value;
    struct dump_stream stream;
    int64_t ms;
    size_t n = 0;
    assert_true(dump_stream_open(&stream, answer, shard->arena));
    for (; dump_entry(&stream, &ms, &value); n++) {
        assert_true(n < all->elements);
        const redisReply *entry = all->element[n], *first = entry->element[1]->element[1];
        assert_int_equal(ms, strtoll(entry->element[0]->str, NULL, 10));
        assert_true(view_equal(value, (struct view){first->str, first->len}));
    }
    assert_true(dump_stream_ended(&stream));
    assert_int_equal(n, all->elements);
    freeReplyObject(all);
    free((char *)answer.at);
}

static void test_streams(void **state)
{
    static const char *const limits[] = {"64", "512", "0"};
    struct shard *shard = *state;
    for (size_t i = 0; i < sizeof(limits) / sizeof(*limits); i++) {
        order(shard, "CONFIG SET stream-node-max-bytes %s", limits[i]);
        for (int count = 0; count <= 130; count += 26) {
            fill_stream(shard, "stream", count);
            must_tell_the_same(shard, "stream");
        }
    }
    order(shard, "XTRIM stream MAXLEN 0");
    must_tell_the_same(shard, "stream");
}

/* ---- what cannot be read ---- */

static bool read_stream(struct view answer, struct arena *arena)
{
    struct dump_stream stream;
    struct view value;
    int64_t ms;
    size_t sum = 0;
    bool opened = dump_stream_open(&stream, answer, arena);
    while (opened && dump_entry(&stream, &ms, &value))
        for (size_t i = 0; i < value.len; i++)
            sum += (unsigned char)value.at[i];
    return opened && dump_stream_ended(&stream) && sum != SIZE_MAX;
}

/* Reads to the end, whatever there is. Returns whether all was read. */
#define STREAM 2 /* beside the kinds of enum dump_kind */
static bool read_all(struct shard *shard, struct view answer, int kind)
{
    struct arena *arena = arena_new();
    if (kind == STREAM) {
        bool read = read_stream(answer, arena);
        arena_free(arena);
        return read;
    }
    struct dump dump;
    struct view name, value;
    int64_t id;
    double score;
    size_t sum = 0;
    bool opened = dump_open(&dump, answer, (enum dump_kind)kind, arena);
    if (opened && kind == DUMP_HASH)
        while (dump_field(&dump, &name, &value)) {
            for (size_t i = 0; i < name.len; i++)
                sum += (unsigned char)name.at[i];
            for (size_t i = 0; i < value.len; i++)
                sum += (unsigned char)value.at[i];
        }
    while (opened && kind == DUMP_ZSET && dump_member(&dump, &id, &score))
        sum += (size_t)id;
    arena_free(arena);
    return opened && dump_ended(&dump) && sum != SIZE_MAX;
}

static void test_other_kinds(void **state)
{
    static const char *const keys[] = {"text", "list", "set", "zset"};
    struct shard *shard = *state;
    order(shard, "SET text abc");
    order(shard, "RPUSH list a b");
    order(shard, "SADD set a b");
    order(shard, "DEL zset");
    order(shard, "ZADD zset 1 7");
    for (size_t i = 0; i < sizeof(keys) / sizeof(*keys); i++) {
        struct view answer = dumped(shard, keys[i]);
        assert_false(read_all(shard, answer, DUMP_HASH));
        assert_false(read_all(shard, answer, STREAM));
        assert_int_equal(read_all(shard, answer, DUMP_ZSET), i == 3);
        free((char *)answer.at);
    }
    assert_false(read_all(shard, VIEW(""), DUMP_HASH));
    assert_false(read_all(shard, VIEW("OK"), DUMP_ZSET));
}

static void damage(struct shard *shard, const char *key, int kind)
{
    struct view whole = dumped(shard, key);
    assert_true(read_all(shard, whole, kind));
    for (size_t len = 0; len < whole.len; len++) {
        char *cut = len ? memcpy(malloc(len), whole.at, len) : NULL;
        bool read = read_all(shard, (struct view){cut, len}, kind);
        assert_true(!read || kind == STREAM); /* of which something stands behind the entries */
        free(cut);
    }
    for (size_t bit = 0; bit < whole.len * 8; bit++) {
        ((char *)whole.at)[bit / 8] ^= (char)(1 << bit % 8);
        read_all(shard, whole, kind);
        ((char *)whole.at)[bit / 8] ^= (char)(1 << bit % 8);
    }
    free((char *)whole.at);
}

static void test_damaged(void **state)
{
    struct shard *shard = *state;
    order(shard, "CONFIG SET hash-max-listpack-value 1000 hash-max-listpack-entries 1000 zset-max-listpack-entries 100");
    fill_hash(shard, "packed", 128);
    damage(shard, "packed", DUMP_HASH);
    fill_zset(shard, "packed-set");
    damage(shard, "packed-set", DUMP_ZSET);
    order(shard, "CONFIG SET hash-max-listpack-entries 4 zset-max-listpack-entries 4");
    fill_hash(shard, "plain", 300);
    damage(shard, "plain", DUMP_HASH);
    fill_zset(shard, "plain-set");
    damage(shard, "plain-set", DUMP_ZSET);
    order(shard, "CONFIG SET stream-node-max-bytes 512");
    fill_stream(shard, "stream", 40);
    damage(shard, "stream", STREAM);
}

/* An entry that says it has 2^62 + 1 fields. */
static void test_a_hostile_entry(void **state)
{
    static const char bytes[] = "\x15\x01\x10\0\0\0\0\0\0\0\1\0\0\0\0\0\0\0\1" /* a stream of one node, and its name */
                                "\x28\x28\0\0\0\x0b\0"                         /* its listpack: 40 bytes, 11 pieces */
                                "\1\1\0\1\1\1\x81"
                                "e\2\0\1" /* one entry, none deleted, one field, e */
                                "\0\1\0\1\0\1\xf4\1\0\0\0\0\0\0\x40\x09\x81"
                                "e\2\x81"
                                "f\2\xff" /* the entry */
                                "\x0a\0\0\0\0\0\0\0\0";
    struct shard *shard = *state;
    struct dump_stream stream;
    struct view value, answer = {bytes, sizeof(bytes)};
    int64_t ms;
    assert_true(dump_stream_open(&stream, answer, shard->arena));
    assert_false(dump_entry(&stream, &ms, &value));
    assert_int_equal(stream.node.left, 1); /* it came as far as that entry */
    assert_false(dump_stream_ended(&stream));
}

/* Compressed texts are not read, and not taken for others: in a listpack at once, among others when they come. */
static void test_compressed(void **state)
{
    struct shard *shard = *state;
    order(shard, "CONFIG SET rdbcompression yes hash-max-listpack-value 1000 hash-max-listpack-entries 1000");
    fill_hash(shard, "packed", 300);
    struct view packed = dumped(shard, "packed");
    order(shard, "CONFIG SET hash-max-listpack-entries 4");
    fill_hash(shard, "plain", 300);
    struct view plain = dumped(shard, "plain");
    assert_false(read_all(shard, packed, DUMP_HASH));
    assert_false(read_all(shard, plain, DUMP_HASH));
    order(shard, "CONFIG SET rdbcompression no");
    free((char *)packed.at);
    free((char *)plain.at);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_hashes),          cmocka_unit_test(test_sorted_sets),
        cmocka_unit_test(test_streams),         cmocka_unit_test(test_members_that_are_no_ids),
        cmocka_unit_test(test_other_kinds),     cmocka_unit_test(test_damaged),
        cmocka_unit_test(test_a_hostile_entry), cmocka_unit_test(test_compressed),
    };
    return cmocka_run_group_tests(tests, start, stop);
}
