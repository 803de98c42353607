#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "store.h"

static const struct function PLACE = {"place", true, NULL};

/* Texts as redis-server 7.0.15 sends them; store_test asks a real one for most of them. */
static const struct {
    const char *error;
    enum reply_kind kind;
    bool unclassified;
} errors[] = {
    {"NOREPLICAS Not enough good replicas to write.", REPLY_NOT_SENT, false},
    {"READONLY You can't write against a read only replica.", REPLY_NOT_SENT, false},
    {"MISCONF Redis is configured to save RDB snapshots, but it's currently unable to persist to disk.", REPLY_NOT_SENT, false},
    {"OOM command not allowed when used memory > 'maxmemory'.", REPLY_NOT_SENT, false},
    {"LOADING Redis is loading the dataset in memory", REPLY_NOT_SENT, false},
    {"MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.", REPLY_NOT_SENT, false},
    {"BUSY Redis is busy running a script. You can only call FUNCTION KILL or SHUTDOWN NOSAVE.", REPLY_NOT_SENT, false},
    {"NOSCRIPT No matching script. Please use EVAL.", REPLY_NOT_SENT, false},
    {"NOPERM this user has no permissions to run the 'fcall' command", REPLY_NOT_SENT, false},
    {"NOAUTH Authentication required.", REPLY_NOT_SENT, false},
    {"CLUSTERDOWN The cluster is down", REPLY_NOT_SENT, false},
    {"TRYAGAIN Multiple keys request during rehashing of slot", REPLY_NOT_SENT, false},
    {"MOVED 3999 127.0.0.1:6381", REPLY_NOT_SENT, false},
    {"ASK 3999 127.0.0.1:6381", REPLY_NOT_SENT, false},
    {"ERR Function not found", REPLY_NOT_SENT, false},
    {"ERR unknown command 'NOSUCH', with args beginning with: ", REPLY_NOT_SENT, false},
    {"ERR unknown subcommand 'NOSUCH'. Try FUNCTION HELP.", REPLY_NOT_SENT, false},
    {"ERR wrong number of arguments for 'fcall' command", REPLY_NOT_SENT, false},
    {"ERR Can not execute a script with write flag using *_ro command.", REPLY_NOT_SENT, false},
    {"UNBLOCKED force unblock from blocking operation, instance state changed (master -> replica?)", REPLY_UNKNOWN, false},
    {"WRONGTYPE Operation against a key holding the wrong kind of value", REPLY_UNKNOWN, false},
    {"WRONGTYPE Operation against a key holding the wrong kind of value script: f, on @user_function:3.", REPLY_UNKNOWN, false},
    {"ERR Error running script (call to f_17): @user_script:1: boo", REPLY_UNKNOWN, false},
    {"ERR user_script:1: attempt to index a nil value script: 17, on @user_script:1.", REPLY_UNKNOWN, false},
    {"ERR user_function:2: attempt to index local 'x' (a nil value) script: boom, on @user_function:2.", REPLY_UNKNOWN, false},
    {"ERR Unknown Redis command called from script script: f, on @user_function:4.", REPLY_UNKNOWN, false},
    {"BAD thing script: errtab, on @user_function:6.", REPLY_UNKNOWN, false},
    /* Raised for a command inside a function: certain only where Redis looks before the first write alone. */
    {"OOM command not allowed when used memory > 'maxmemory'. script: f, on @user_function:4.", REPLY_NOT_SENT, false},
    {"NOREPLICAS Not enough good replicas to write. script: f, on @user_function:4.", REPLY_NOT_SENT, false},
    {"NOPERM this user has no permissions to access one of the keys used as arguments script: f, on @user_function:4.", REPLY_UNKNOWN, false},
    {"BUSY something script: f, on @user_function:4.", REPLY_UNKNOWN, false},
    {"CROSSSLOT Keys in request don't hash to the same slot", REPLY_NOT_SENT, false},
    {"REDIRECT 127.0.0.1:6380", REPLY_NOT_SENT, false},
    {"DENIED Redis is running in protected mode because protected mode is enabled and no password is set for the default user.", REPLY_NOT_SENT,
     false},
    {"WRONGPASS invalid username-password pair or user is disabled.", REPLY_NOT_SENT, false},
    {"ERR max number of clients reached", REPLY_NOT_SENT, false},
    {"ERR max number of clients + cluster connections reached", REPLY_NOT_SENT, false},
    {"ERR Protocol error: invalid bulk length", REPLY_NOT_SENT, false},
    {"ERR syntax error", REPLY_NOT_SENT, false},
    {"ERR syntax error script: f, on @user_function:3.", REPLY_UNKNOWN, false},
    {"ERR value is not an integer or out of range", REPLY_NOT_SENT, false},
    {"ERR value is not an integer or out of range script: f, on @user_function:3.", REPLY_UNKNOWN, false},
    {"ERR invalid expire time in 'set' command", REPLY_NOT_SENT, false},
    {"ERR Bad number of keys provided", REPLY_NOT_SENT, false},
    {"ERR Number of keys can't be greater than number of args", REPLY_NOT_SENT, false},
    {"NOGROUP No such key 'x' or consumer group 'y'", REPLY_UNKNOWN, false},
    /* Not in the table. */
    {"", REPLY_UNKNOWN, true},
    {"ERR", REPLY_UNKNOWN, true},
    {"ERR something new", REPLY_UNKNOWN, true},
    {"OOMPH almost", REPLY_UNKNOWN, true},
    {"ASKING for it", REPLY_UNKNOWN, true},
    {"OOM", REPLY_NOT_SENT, false},
};

static void test_errors(void **state)
{
    for (size_t i = 0; i < sizeof(errors) / sizeof(errors[0]); i++) {
        struct item root = {.type = ITEM_ERROR, .text = view_of(errors[i].error)};

        for (int plain = 0; plain < 2; plain++) {
            const char *why = NULL;
            bool unclassified = !errors[i].unclassified;
            int code = -1;

            if (reply_classify(plain ? NULL : &PLACE, &root, &code, &why, &unclassified) != errors[i].kind || !why || code != 0 ||
                unclassified != errors[i].unclassified)
                fail_msg("\"%s\": %s", errors[i].error, why ? why : "no reason");
        }
    }
}

/* Would it fail again, and only it? */
static void test_own_fault(void **state)
{
    static const struct {
        const char *error;
        bool own;
    } faults[] = {
        {"ERR souk: bad argument 4 of keep", true},
        {"ERR souk: bad argument 4 of keep script: keep, on @user_function:3.", true},
        {"ERR user_function:2: attempt to index local 'x' (a nil value) script: boom, on @user_function:2.", true},
        {"OOM command not allowed when used memory > 'maxmemory'. script: f, on @user_function:3.", false},
        {"LOADING Redis is loading the dataset in memory", false},
        {"ERR Function not found", false},
    };
    bool unclassified;

    for (size_t i = 0; i < sizeof(faults) / sizeof(faults[0]); i++) {
        struct item root = {.type = ITEM_ERROR, .text = view_of(faults[i].error)};
        struct reply reply = reply_from(&PLACE, &root, &unclassified);

        if (reply_is_own_fault(&reply) != faults[i].own)
            fail_msg("\"%s\"", faults[i].error);
    }
    assert_false(reply_is_own_fault(&(struct reply){.kind = REPLY_UNKNOWN}));
    assert_false(reply_is_own_fault(&(struct reply){.kind = REPLY_REFUSED, .root = &(struct item){.type = ITEM_LIST}}));
}

/* The redis-server that PATH finds, read whole. */
static struct view read_redis(struct arena *arena)
{
    char *path = strdup(getenv("PATH")), *rest = path, *dir;
    struct buffer bytes = {.arena = arena};

    while ((dir = strsep(&rest, ":")) && bytes.len == 0) {
        char name[512], piece[65536];
        FILE *file;
        size_t n;

        snprintf(name, sizeof(name), "%s/redis-server", dir);
        file = fopen(name, "rb");
        while (file && (n = fread(piece, 1, sizeof(piece), file)) > 0)
            buffer_add(&bytes, piece, n);
        if (file)
            fclose(file);
    }
    free(path);
    return buffer_view(&bytes);
}

/* Is this text, which stands in the program behind a NUL, an error with a code of its own, "-NOAUTH …"? Returns the length of the code. */
static size_t code_at(const char *text, const char *end)
{
    size_t len = 0;

    if (text[0] != '-')
        return 0;
    while (text + 1 + len < end && text[1 + len] >= 'A' && text[1 + len] <= 'Z')
        len++;
    return len >= 3 && text + 1 + len < end && (text[1 + len] == ' ' || text[1 + len] == '\r') ? len : 0;
}

/*
 * Whatever code the installed redis-server can begin an error with has its row: the codes are read from the program itself, so that a newer one
 * brings its own to this test.
 */
static void test_every_code_of_this_redis(void **state)
{
    struct arena *arena = arena_new();
    struct view program = read_redis(arena);
    unsigned found = 0;

    for (size_t i = 1; i + 1 < program.len; i++) {
        size_t len = program.at[i - 1] == '\0' ? code_at(program.at + i, program.at + program.len) : 0;
        struct item root = {.type = ITEM_ERROR, .text = {program.at + i + 1, len}};
        const char *why;
        bool unclassified;
        int code;

        if (len == 0 || view_equal(root.text, VIEW("ERR")))
            continue;
        found++;
        reply_classify(&PLACE, &root, &code, &why, &unclassified);
        if (unclassified)
            fail_msg("this redis-server knows the error %.*s, and no row of classify.c does", VIEW_ARG(root.text));
    }
    print_message("%u errors with a code of their own were found in redis-server\n", found);
    assert_true(found >= 20);
    arena_free(arena);
    arena_thread_end();
}

static struct item code_of(int64_t integer)
{
    return (struct item){.type = ITEM_INT, .integer = integer};
}

static const struct {
    const char *name;
    int64_t code;
    enum reply_kind kind;
    int want;
} codes[] = {
    {"done", 0, REPLY_OK, 0},
    {"ring", CODE_RING, REPLY_NOT_SENT, 1},
    {"late", CODE_LATE, REPLY_NOT_SENT, 2},
    {"the first outcome", 3, REPLY_REFUSED, 3},
    {"an outcome", 30, REPLY_REFUSED, 30},
    {"negative", -1, REPLY_REFUSED, -1},
    {"the largest", INT32_MAX, REPLY_REFUSED, INT32_MAX},
    {"too large", (int64_t)INT32_MAX + 1, REPLY_UNKNOWN, 0},
    {"too small", (int64_t)INT32_MIN - 1, REPLY_UNKNOWN, 0},
};

static void test_codes_of_functions(void **state)
{
    for (size_t i = 0; i < sizeof(codes) / sizeof(codes[0]); i++) {
        struct item items[] = {code_of(codes[i].code), {.type = ITEM_TEXT, .text = VIEW("more")}};
        struct item root = {.type = ITEM_LIST, .items = items, .count = 2};
        bool unclassified;
        struct reply reply = reply_from(&PLACE, &root, &unclassified);

        if (reply.kind != codes[i].kind || reply.code != codes[i].want || unclassified != (codes[i].kind == REPLY_UNKNOWN))
            fail_msg("%s: kind %d, code %d", codes[i].name, reply.kind, reply.code);
        assert_true((reply.why != NULL) == (reply.kind == REPLY_NOT_SENT || reply.kind == REPLY_UNKNOWN));
        assert_string_equal(reply_text(&reply, 0).at, "more");
    }
}

static void test_other_shapes(void **state)
{
    struct item text = {.type = ITEM_TEXT, .text = VIEW("OK")};
    struct item shapes[] = {{.type = ITEM_NIL},
                            {.type = ITEM_INT, .integer = 0},
                            {.type = ITEM_TEXT, .text = VIEW("OK")},
                            {.type = ITEM_LIST},
                            {.type = ITEM_LIST, .items = &text, .count = 1}};

    for (size_t i = 0; i < sizeof(shapes) / sizeof(shapes[0]); i++) {
        const char *why;
        bool unclassified;
        int code;

        assert_int_equal(reply_classify(&PLACE, &shapes[i], &code, &why, &unclassified), REPLY_UNKNOWN);
        assert_true(unclassified && why);
        assert_int_equal(reply_classify(NULL, &shapes[i], &code, &why, &unclassified), REPLY_OK);
        assert_false(unclassified || why);
    }
}

static void test_items_of_replies(void **state)
{
    struct item inner[] = {code_of(7), {.type = ITEM_TEXT, .text = VIEW("x")}};
    struct item items[] = {
        code_of(0),
        {.type = ITEM_TEXT, .text = VIEW("-12")},
        {.type = ITEM_LIST, .items = inner, .count = 2},
        {.type = ITEM_NIL},
    };
    struct item root = {.type = ITEM_LIST, .items = items, .count = 4};
    struct reply function = {.root = &root, .first = 1}, plain = {.root = &root};
    struct reply nothing = {.root = NULL}, single = {.root = &inner[0]};

    assert_int_equal(reply_int(&function, 0), -12);
    assert_string_equal(reply_text(&function, 0).at, "-12");
    assert_int_equal(item_int(item_at(reply_item(&function, 1), 0)), 7);
    assert_string_equal(item_text(item_at(reply_item(&function, 1), 1)).at, "x");
    assert_int_equal(item_at(reply_item(&function, 1), 2)->type, ITEM_NIL);
    assert_int_equal(reply_item(&function, 2)->type, ITEM_NIL);
    assert_int_equal(reply_item(&function, 3)->type, ITEM_NIL);
    assert_int_equal(reply_text(&function, 1).len, 0);
    assert_int_equal(reply_int(&function, 1), 0);
    assert_int_equal(reply_int(&plain, 1), -12);
    assert_int_equal(reply_item(&nothing, 0)->type, ITEM_NIL);
    assert_int_equal(reply_int(&single, 0), 7);
    assert_int_equal(reply_item(&single, 1)->type, ITEM_NIL);
}

static const struct {
    const char *text;
    int64_t want;
} integers[] = {
    {"0", 0},   {"5", 5},  {"-5", -5}, {"9223372036854775807", INT64_MAX}, {"9223372036854775808", 0}, {"", 0}, {"-", 0},
    {"--1", 0}, {"1x", 0}, {" 1", 0},
};

static void test_integers_in_texts(void **state)
{
    for (size_t i = 0; i < sizeof(integers) / sizeof(integers[0]); i++) {
        struct item item = {.type = ITEM_TEXT, .text = view_of(integers[i].text)};

        if (item_int(&item) != integers[i].want)
            fail_msg("\"%s\" gave %lld", integers[i].text, (long long)item_int(&item));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_errors),
        cmocka_unit_test(test_own_fault),
        cmocka_unit_test(test_every_code_of_this_redis),
        cmocka_unit_test(test_codes_of_functions),
        cmocka_unit_test(test_other_shapes),
        cmocka_unit_test(test_items_of_replies),
        cmocka_unit_test(test_integers_in_texts),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
