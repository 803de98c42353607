#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "aof.h"

/* What a shard of ours writes, and values that could be taken for something else. */
#define SELECT "*2\r\n$6\r\nSELECT\r\n$1\r\n0\r\n"
#define SET "*3\r\n$3\r\nSET\r\n$3\r\none\r\n$12\r\nfile cabinet\r\n"
#define MULTI "*1\r\n$5\r\nMULTI\r\n"
#define EXEC "*1\r\n$4\r\nEXEC\r\n"
#define TRANSACTION MULTI SET "*4\r\n$4\r\nHSET\r\n$1\r\nk\r\n$4\r\nEXEC\r\n$0\r\n\r\n" EXEC
#define FLUSH "*1\r\n$8\r\nFLUSHALL\r\n"
#define STAMP "#TS:1700000000\r\n"

static enum aof_rest rest_of(struct view file, size_t *whole)
{
    *whole = aof_whole(file);
    return aof_judge((struct view){file.at + *whole, file.len - *whole});
}

static void test_files(void **state)
{
    static const struct {
        const char *name;
        struct view file;
        size_t whole;
        enum aof_rest rest;
    } cases[] = {
        {"empty", VIEW(""), 0, AOF_NOTHING},
        {"a command", VIEW(SET), sizeof(SET) - 1, AOF_NOTHING},
        {"a transaction", VIEW(SELECT TRANSACTION), sizeof(SELECT TRANSACTION) - 1, AOF_NOTHING},
        {"an empty transaction", VIEW(MULTI EXEC), sizeof(MULTI EXEC) - 1, AOF_NOTHING},
        {"small letters", VIEW("*1\r\n$5\r\nmulti\r\n" SET "*1\r\n$4\r\nexec\r\n"), sizeof(MULTI SET EXEC) - 1, AOF_NOTHING},
        {"comments", VIEW(STAMP MULTI STAMP SET EXEC STAMP), sizeof(STAMP MULTI STAMP SET EXEC STAMP) - 1, AOF_NOTHING},
        {"a comment without its end", VIEW(SET "#TS:17"), sizeof(SET) - 1, AOF_UNFINISHED},
        {"emptied by hand", VIEW(FLUSH MULTI FLUSH EXEC), sizeof(FLUSH MULTI FLUSH EXEC) - 1, AOF_NOTHING},
        {"an open transaction", VIEW(SET MULTI SET), sizeof(SET) - 1, AOF_UNFINISHED},
        {"MULTI alone", VIEW(SET MULTI), sizeof(SET) - 1, AOF_UNFINISHED},
        {"MULTI in MULTI", VIEW(MULTI MULTI EXEC), 0, AOF_DAMAGED},
        {"EXEC alone", VIEW(SET EXEC), sizeof(SET) - 1, AOF_DAMAGED},
        {"EXEC with another word", VIEW(MULTI "*2\r\n$4\r\nEXEC\r\n$1\r\n0\r\n"), 0, AOF_DAMAGED},
        {"EXEC that wants another word", VIEW(MULTI SET "*2\r\n$4\r\nEXEC\r\n"), 0, AOF_DAMAGED},
        {"EXEC that is changed", VIEW(MULTI SET "*1\r\n$4\r\nEXEB\r\n"), 0, AOF_DAMAGED},
        {"EXEC that is too long", VIEW(MULTI SET "*1\r\n$6\r\nEXEC\r\n"), 0, AOF_DAMAGED},
        {"no words", VIEW("*0\r\n"), 0, AOF_DAMAGED},
        {"a zero before others", VIEW("*01\r\n"), 0, AOF_DAMAGED},
        {"no number", VIEW("*\r\n"), 0, AOF_DAMAGED},
        {"a negative number", VIEW("*1\r\n$-1\r\n"), 0, AOF_DAMAGED},
        {"more words than there can be", VIEW("*1048577\r\n"), 0, AOF_DAMAGED},
        {"as many words as there can be", VIEW("*1048576\r\n"), 0, AOF_UNFINISHED},
        {"a longer word than there can be", VIEW("*1\r\n$536870913\r\n"), 0, AOF_DAMAGED},
        {"as long a word as there can be", VIEW("*1\r\n$536870912\r\nx"), 0, AOF_UNFINISHED},
        {"a number without end", VIEW("*99999999999999999999999999"), 0, AOF_DAMAGED},
        {"no mark", VIEW("hello"), 0, AOF_DAMAGED},
        {"an inline command", VIEW("SET a 1\r\n"), 0, AOF_DAMAGED},
        {"a line feed alone", VIEW("*1\n$4\n"), 0, AOF_DAMAGED},
        {"a word that is longer than it says", VIEW("*1\r\n$3\r\nPING\r\n"), 0, AOF_DAMAGED},
        {"a word that hides the next ones", VIEW(SELECT "*3\r\n$3\r\nSET\r\n$9\r\none\r\n$1\r\nx\r\n"), sizeof(SELECT) - 1, AOF_DAMAGED},
        {"a word that hides all behind it", VIEW("*2\r\n$3\r\nDEL\r\n$999\r\none\r\n" TRANSACTION SET), 0, AOF_DAMAGED},
        {"NULs alone", VIEW(SET "\0\0\0\0\0\0\0\0"), sizeof(SET) - 1, AOF_UNFINISHED},
        {"NULs in the place of the rest", VIEW(SET MULTI "*2\r\n$3\r\nDEL\r\n$3\r\non\0\0\0\0\0\0\0"), sizeof(SET) - 1, AOF_UNFINISHED},
        {"NULs, and something behind them", VIEW(SET MULTI "*2\r\n$3\r\nDEL\r\n$3\r\non\0\0\0\0\0\0\0" SET), sizeof(SET) - 1, AOF_DAMAGED},
        {"NULs that are a value", VIEW("*3\r\n$3\r\nSET\r\n$1\r\nx\r\n$2\r\n\0\0\r\n"), 28, AOF_NOTHING},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        size_t whole;
        enum aof_rest rest = rest_of(cases[i].file, &whole);
        print_message("%s\n", cases[i].name);
        assert_int_equal(whole, cases[i].whole);
        assert_int_equal(rest, cases[i].rest);
    }
}

/* ---- every prefix, and every change ---- */

struct writes {
    struct view file;
    const size_t *ends; /* of each write; 0: no more */
};
#define END(writes) sizeof(writes) - 1
static const size_t ENDS[] = {
    END(SELECT), END(SELECT SET), END(SELECT SET TRANSACTION), END(SELECT SET TRANSACTION SET), END(SELECT SET TRANSACTION SET TRANSACTION), 0};
static const struct writes WRITES = {VIEW(SELECT SET TRANSACTION SET TRANSACTION), ENDS};

/* Behind the last write that is whole within ${len} bytes. */
static size_t whole_within(const struct writes *writes, size_t len)
{
    size_t whole = 0;
    for (const size_t *end = writes->ends; *end && *end <= len; end++)
        whole = *end;
    return whole;
}

/* Cut anywhere, the file is whole up to there, or its last write is unfinished and nothing else. */
static void test_every_prefix(void **state)
{
    for (size_t len = 0; len <= WRITES.file.len; len++) {
        size_t whole;
        enum aof_rest rest = rest_of((struct view){WRITES.file.at, len}, &whole);
        assert_int_equal(whole, whole_within(&WRITES, len));
        assert_int_equal(rest, whole == len ? AOF_NOTHING : AOF_UNFINISHED);
    }
}

/* The same with NULs up to the length that the file should have had. */
static void test_every_prefix_before_nuls(void **state)
{
    char *file = malloc(WRITES.file.len);
    for (size_t len = 0; len < WRITES.file.len; len++) {
        size_t whole;
        memcpy(file, WRITES.file.at, WRITES.file.len);
        memset(file + len, 0, WRITES.file.len - len);
        enum aof_rest rest = rest_of((struct view){file, WRITES.file.len}, &whole);
        assert_int_equal(whole, whole_within(&WRITES, len));
        assert_int_equal(rest, AOF_UNFINISHED);
    }
    free(file);
}

/* Returns how many of all changes of one byte make a file look unfinished. None of them may lie before what is then taken off. */
static size_t looks_unfinished(struct view original, size_t from)
{
    size_t found = 0;
    char *file = malloc(original.len);
    memcpy(file, original.at, original.len);
    for (size_t at = from; at < original.len; at++) {
        for (int byte = 0; byte < 256; byte++) {
            size_t whole;
            file[at] = (char)byte;
            if (rest_of((struct view){file, original.len}, &whole) == AOF_UNFINISHED) {
                found++;
                print_message("byte %zu as 0x%02x: from byte %zu on\n", at, (unsigned)byte, whole);
            }
        }
        file[at] = original.at[at];
    }
    free(file);
    return found;
}

/* No change of a byte of a file that was whole is taken for an unfinished write, but for its very last byte as a NUL, which is that. */
static void test_every_change(void **state)
{
    assert_int_equal(looks_unfinished(WRITES.file, 0), 1);
}

/* If the last write is one command: also the number of its words, made larger. */
static void test_every_change_of_a_command(void **state)
{
    static const char FILE_TEXT[] = SELECT TRANSACTION SET;
    const size_t last = sizeof(SELECT TRANSACTION) - 1, larger = '9' - '3';
    assert_int_equal(looks_unfinished((struct view){FILE_TEXT, sizeof(FILE_TEXT) - 1}, 0), 1 + larger);
    assert_int_equal(looks_unfinished((struct view){FILE_TEXT, sizeof(FILE_TEXT) - 1}, last), 1 + larger);
}

/* ---- in pieces ---- */

/* What is whole is known from the front, however much is there of what follows. */
static void test_in_pieces(void **state)
{
    for (size_t piece = 1; piece < 60; piece++) {
        size_t at = 0, len = 0;
        while (len < WRITES.file.len) {
            len = len + piece < WRITES.file.len ? len + piece : WRITES.file.len;
            at += aof_whole((struct view){WRITES.file.at + at, len - at});
            assert_int_equal(at, whole_within(&WRITES, len));
        }
    }
}

static void test_too_long(void **state)
{
    static const char BEGIN[] = "*1\r\n$536870912\r\n";
    char *rest = calloc(1, AOF_REST_MAX + 1);
    assert_non_null(rest);
    memcpy(rest, BEGIN, sizeof(BEGIN) - 1);
    assert_int_equal(aof_judge((struct view){rest, AOF_REST_MAX}), AOF_UNFINISHED);
    assert_int_equal(aof_judge((struct view){rest, AOF_REST_MAX + 1}), AOF_DAMAGED);
    free(rest);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_files),
        cmocka_unit_test(test_every_prefix),
        cmocka_unit_test(test_every_change),
        cmocka_unit_test(test_every_prefix_before_nuls),
        cmocka_unit_test(test_every_change_of_a_command),
        cmocka_unit_test(test_in_pieces),
        cmocka_unit_test(test_too_long),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
