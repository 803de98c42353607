#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tokens.h"

#define HASH_B "0c4b1c1a9a0f0a6d3a9d3a1e6a3f2b4a5c6d7e8f90a1b2c3d4e5f60718293a4b"
#define S64 "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
#define NAME_64 S64

static const struct {
    const char *name, *text;
    const char *wrong; /* in the sentence; NULL: it is taken */
} FILES[] = {
    {"one line", "shop orders:read " S64 "\n", NULL},
    {"without a line's end", "shop orders:read " S64, NULL},
    {"line ends of another system", "# x\r\nshop orders:read " S64 "\r\n\r\n", NULL},
    {"comments and blank lines", "# shops\n\n   \n\t# and\n  shop \t orders:read,orders:write   " S64 "  \n", NULL},
    {"capital digits", "shop orders:read 0123456789ABCDEF0123456789ABCDEF0123456789ABCDEF0123456789ABCDEF\n", NULL},
    {"a scope twice", "shop orders:read,orders:read " S64 "\n", NULL},
    {"for one buyer", "ann orders:read,orders:write,payments:read,payments:write,catalogue:read " S64 " user=ann\n", NULL},
    {"a buyer with blanks and signs", "ann orders:read " S64 " user=User 1 user=x,#\n", NULL},
    {"only anonymous", "anonymous catalogue:read\n", NULL},
    {"a name of 64", NAME_64 " orders:read " S64 "\n", NULL},
    {"two tokens of one name", "a orders:read " S64 "\na orders:write " HASH_B "\n", NULL},
    {"two tokens of one name and buyer", "a orders:read " S64 " user=u\na orders:write " HASH_B " user=u\n", NULL},

    {"empty", "", "line 0: the file ends without a caller"},
    {"only comments", "# nobody\n\n", "line 2: the file ends without a caller"},
    {"only a name", "shop", "line 1: \"\" is no scope"},
    {"no hash", "# x\nshop orders:read\n", "line 2: the third word must be the SHA-256"},
    {"hash one short", "shop orders:read 0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcde\n", "the third word must be"},
    {"hash one long", "shop orders:read " S64 "0\n", "the third word must be"},
    {"hash with another letter", "shop orders:read g123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\n", "the third word must be"},
    {"name of 65", NAME_64 "0 orders:read " S64 "\n", "the first word must be the caller's name: 1 to 64"},
    {"name with a sign", "sh,op orders:read " S64 "\n", "the first word"},
    {"name with high bytes", "sh\xC3\xB6p orders:read " S64 "\n", "the first word"},
    {"no such scope", "shop orders:reed " S64 "\n",
     "\"orders:reed\" is no scope that a caller can have; there are, with commas and no blanks between them: catalogue:read, "},
    {"scopes with a blank", "shop orders:read, orders:write " S64 "\n", "\"\" is no scope"},
    {"no scope", "shop , " S64 "\n", "\"\" is no scope"},
    {"star", "shop * " S64 "\n", "\"...\" is no scope"},
    {"garbage behind", "shop orders:read " S64 " admin\n", "there can only be user="},
    {"user without a name", "shop orders:read " S64 " user=\n", "user= must name a buyer in 1 to 128 bytes"},
    {"the shop's scope for one buyer", "ann orders:read,stock:write " S64 " user=ann\n",
     "\"stock:write\" is no scope that a caller with user= can have; there are, with commas and no blanks between them: catalogue:read, orders:read, "
     "orders:write, "
     "payments:read, payments:write"},
    {"fulfilling for one buyer", "ann orders:fulfil " S64 " user=ann\n", "\"orders:fulfil\" is no scope"},
    {"refunding for one buyer", "ann payments:refund " S64 " user=ann\n", "\"payments:refund\" is no scope"},
    {"the feed for one buyer", "ann events:read " S64 " user=ann\n", "\"events:read\" is no scope"},
    {"anonymous orders", "anonymous catalogue:read,orders:read\n",
     "\"orders:read\" is no scope that a caller without a token can have; there are, with commas and no blanks between them: "
     "catalogue:read"},
    {"anonymous writes", "anonymous catalogue:write\n", "\"catalogue:write\" is no scope"},
    {"anonymous with a hash", "anonymous catalogue:read " S64 "\n", "behind the scopes of anonymous there can be nothing"},
    {"anonymous twice", "anonymous catalogue:read\n# x\nanonymous catalogue:read\n", "line 3: anonymous is on line 1 already"},
    {"a hash twice", "a orders:read " S64 "\nb orders:read " S64 "\n", "line 2: this is the hash of line 1"},
    {"one name, two buyers", "a orders:read " S64 " user=u\na orders:read " HASH_B " user=v\n", "line 2: line 1 has the same name and another user="},
    {"one name, one and all buyers", "a orders:read " S64 "\na orders:read " HASH_B " user=v\n", "line 2: line 1 has the same name"},
};

static void test_files(void **state)
{
    for (size_t i = 0; i < sizeof(FILES) / sizeof(*FILES); i++) {
        char wrong[TOKENS_WRONG_MAX] = "";
        struct tokens *tokens = tokens_read(FILES[i].text, wrong);
        if ((tokens == NULL) != (FILES[i].wrong != NULL) || (FILES[i].wrong && !strstr(wrong, FILES[i].wrong)))
            fail_msg("%s: %s", FILES[i].name, tokens ? "taken" : wrong);
        tokens_free(tokens);
    }
}

/* A token that was put where something else belongs is not repeated: the sentence goes into a log. */
static void test_tokens_are_not_told(void **state)
{
    char *token, *line, wrong[TOKENS_WRONG_MAX], text[512];
    assert_true(token_make("shop", "orders:read", NULL, &token, &line, wrong));
    static const char *const forms[] = {"%s orders:read " S64,         "shop %s " S64, "shop orders:read,%s " S64,    "shop orders:read %s",
                                        "shop orders:read " S64 " %s", "anonymous %s", "anonymous catalogue:read %s", "!%s"};
    for (size_t i = 0; i < sizeof(forms) / sizeof(*forms); i++) {
        snprintf(text, sizeof(text), "# %s\n", token);
        const char *at = strstr(forms[i], "%s");
        snprintf(text + strlen(text), sizeof(text) - strlen(text), "%.*s%s%s\n", (int)(at - forms[i]), forms[i], token, at + 2);
        struct tokens *tokens = tokens_read(text, wrong);
        if (tokens == NULL && strstr(wrong, token + 5))
            fail_msg("%s: %s", forms[i], wrong);
        tokens_free(tokens);
    }
    free(token);
    free(line);
}

static void test_look_up(void **state)
{
    char *tokens_of[300], wrong[TOKENS_WRONG_MAX], *text = strdup("anonymous catalogue:read\n");
    for (int i = 0; i < 300; i++) {
        char name[32], *line, *more;
        snprintf(name, sizeof(name), "caller-%d", i / 2); /* two tokens each */
        assert_true(token_make(name, i % 2 ? "orders:write" : "orders:read,events:read", NULL, &tokens_of[i], &line, wrong));
        assert_true(asprintf(&more, "%s%s\n", text, line) > 0);
        free(text);
        free(line);
        text = more;
    }
    struct tokens *tokens = tokens_read(text, wrong);
    assert_non_null(tokens);
    assert_int_equal(tokens_count(tokens), 150);
    for (int i = 0; i < 300; i++) {
        char name[32];
        const struct caller *caller = tokens_find(tokens, view_of(tokens_of[i]));
        snprintf(name, sizeof(name), "caller-%d", i / 2);
        assert_non_null(caller);
        assert_true(view_equal(caller->name, view_of(name)));
        assert_int_equal(caller->number, i / 2);
        assert_null(caller->user.at);
        assert_int_equal(caller_may(caller, SCOPE_ORDERS_READ), !(i % 2));
        assert_int_equal(caller_may(caller, SCOPE_ORDERS_WRITE), i % 2);
        assert_false(caller_may(caller, SCOPE_AUDIT_READ));
        assert_false(caller_may(caller, SCOPE_NONE));
        tokens_of[i][strlen(tokens_of[i]) - 1] ^= 1;
        assert_null(tokens_find(tokens, view_of(tokens_of[i])));
        free(tokens_of[i]);
    }
    assert_null(tokens_find(tokens, VIEW("")));
    assert_null(tokens_find(tokens, (struct view){NULL, 0}));
    assert_null(tokens_find(tokens, VIEW("caller-1")));
    assert_true(caller_may(tokens_anonymous(tokens), SCOPE_CATALOGUE_READ));
    tokens_free(tokens);
    free(text);
}

/* The hash is what sha256sum says of the token: operators make lines without us too. */
static void test_hash(void **state)
{
    char wrong[TOKENS_WRONG_MAX];
    struct tokens *tokens = tokens_read("a orders:read ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad user=User 1\n", wrong);
    const struct caller *caller = tokens_find(tokens, VIEW("abc")); /* FIPS 180-2, appendix B.1 */
    assert_non_null(caller);
    assert_true(view_equal(caller->user, VIEW("User 1")));
    assert_null(tokens_find(tokens, VIEW("abd")));
    assert_null(tokens_anonymous(tokens));
    tokens_free(tokens);
}

static void test_make(void **state)
{
    static const struct {
        const char *name, *scopes, *user, *wrong;
    } rows[] = {
        {"shop", "orders:read,orders:write", NULL, NULL},
        {"ann", "orders:read", "User 1", NULL},
        {"anonymous", "catalogue:read", NULL, "callers without a token need none"},
        {"#shop", "orders:read", NULL, "the file ends without a caller"},
        {"shop", "orders:reed", NULL, "is no scope"},
        {"ann", "orders:read", "", "user= must name a buyer"},
        {"ann", "orders:read", "ann\nanonymous catalogue:read", "a caller is one line"},
        {"two words", "orders:read", NULL, "is no scope"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
        char *token, *line, wrong[TOKENS_WRONG_MAX];
        bool made = token_make(rows[i].name, rows[i].scopes, rows[i].user, &token, &line, wrong);
        if (made != (rows[i].wrong == NULL) || (rows[i].wrong && !strstr(wrong, rows[i].wrong)))
            fail_msg("%s %s: %s", rows[i].name, rows[i].scopes, made ? "made" : wrong);
        assert_int_equal(made, token != NULL);
        if (made) {
            assert_int_equal(strlen(token), strlen("souk_") + 43); /* 256 bits in base64 */
            assert_null(strstr(line, token + 5));
        }
        free(token);
        free(line);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_files), cmocka_unit_test(test_tokens_are_not_told), cmocka_unit_test(test_look_up), cmocka_unit_test(test_hash),
        cmocka_unit_test(test_make),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
