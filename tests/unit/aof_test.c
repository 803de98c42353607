#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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
        {"a word that hides others, and goes on well", VIEW(SET MULTI "*4\r\n$3\r\nSET\r\n$21\r\nk\r\n$5\r\nvalue\r\n$1\r\nx\r\n"), sizeof(SET) - 1,
         AOF_DAMAGED},
        {"a word that hides EXEC",
         VIEW(MULTI "*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$18\r\nvalue\r\n"
                    "*1\r\n$4\r\nEXEC\r\n" SET),
         0, AOF_DAMAGED},
        {"a value with a price in it", VIEW(SET "*3\r\n$3\r\nSET\r\n$1\r\nx\r\n$20\r\nonly\r\n$5 a piece"), sizeof(SET) - 1, AOF_UNFINISHED},
        {"a value with a line like ours in it", VIEW(SET "*3\r\n$3\r\nSET\r\n$1\r\nx\r\n$20\r\nonly\r\n$5\r\na pi"), sizeof(SET) - 1, AOF_DAMAGED},
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

/* ---- files of chance ---- */

#define CHANCE_FILES 40
#define CHANCE_MAX 4000

struct chance {
    char file[CHANCE_MAX];
    size_t len;
    uint32_t state;
};

static unsigned below(struct chance *chance, unsigned bound)
{
    chance->state = chance->state * 1664525 + 1013904223;
    return (chance->state >> 8) % bound;
}

static void add(struct chance *chance, const char *text)
{
    size_t len = strlen(text);
    assert_true(chance->len + len < CHANCE_MAX);
    memcpy(chance->file + chance->len, text, len);
    chance->len += len;
}

/* Lengths from 0 to 99, so that many a changed digit makes a word end where another one does. */
static void add_command(struct chance *chance)
{
    unsigned words = 2 + below(chance, 4);
    char text[120];
    snprintf(text, sizeof(text), "*%u\r\n$3\r\nSET\r\n", words);
    add(chance, text);
    for (unsigned n = 1; n < words; n++) {
        unsigned len = below(chance, 2) ? below(chance, 12) : below(chance, 100);
        snprintf(text, sizeof(text), "$%u\r\n%.*s\r\n", len, (int)len,
                 "abcdefghijklmnopqrstuvwxyz$*0123456789abcdefghijklmnopqrstuvwxyz$*0123456789abcdefghijklmnopqrstuvwxyz");
        add(chance, text);
    }
}

/* Some writes, the last of them a transaction. */
static void make_file(struct chance *chance, uint32_t seed)
{
    *chance = (struct chance){.state = seed};
    for (unsigned n = 3 + below(chance, 4); n > 0; n--) {
        bool together = n == 1 || below(chance, 2);
        add(chance, together ? MULTI : "");
        for (unsigned commands = together ? 1 + below(chance, 3) : 1; commands > 0; commands--)
            add_command(chance);
        add(chance, together ? EXEC : "");
    }
}

static void test_changes_of_many_files(void **state)
{
    static const char BYTES[] = "0123456789$*\r\nE";
    struct chance chance;
    for (uint32_t seed = 1; seed <= CHANCE_FILES; seed++) {
        make_file(&chance, seed);
        for (size_t at = 0; at < chance.len; at++) {
            char was = chance.file[at];
            for (const char *byte = BYTES; *byte; byte++) {
                size_t whole;
                chance.file[at] = *byte;
                if (rest_of((struct view){chance.file, chance.len}, &whole) == AOF_UNFINISHED)
                    fail_msg("file %u, byte %zu as 0x%02x: unfinished from byte %zu on", seed, at, (unsigned)*byte, whole);
            }
            chance.file[at] = was;
        }
    }
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
    assert_int_equal(aof_judge((struct view){rest, AOF_REST_MAX + 1}), AOF_TOO_LONG);
    free(rest);
}

/* So many are no end of one write, but a disk that has lost what it had. */
static void test_nuls(void **state)
{
    char *rest = calloc(1, AOF_NULS_MAX + 1);
    assert_non_null(rest);
    assert_int_equal(aof_judge((struct view){rest, AOF_NULS_MAX}), AOF_UNFINISHED);
    assert_int_equal(aof_judge((struct view){rest, AOF_NULS_MAX + 1}), AOF_DAMAGED);
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
        cmocka_unit_test(test_changes_of_many_files),
        cmocka_unit_test(test_nuls),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
