#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "bucket.h"
#include "log.h"
#include "scratch_dir.h"

#include "auth.h"

/* ---- the bucket ---- */

static void test_bucket(void **state)
{
    static const int rates[] = {1, 3, 10, 1000, 1000000};
    for (size_t i = 0; i < sizeof(rates) / sizeof(*rates); i++) {
        int rate = rates[i];
        int64_t full_at = 0, now = 5000000;
        int taken = 0;
        while (taken <= rate + 1 && bucket_take(&full_at, now, rate))
            taken++;
        if (taken != rate)
            fail_msg("%d a second: %d at once", rate, taken);
        assert_false(bucket_take(&full_at, now, rate)); /* and refusing costs nothing */
        int64_t before = full_at;
        assert_false(bucket_take(&full_at, now, rate));
        assert_true(full_at == before);
        now += 1000000 / rate + 1;
        assert_true(bucket_take(&full_at, now, rate));
        now += 3600 * INT64_C(1000000); /* an hour's pause saves up a second */
        for (taken = 0; taken <= rate + 1 && bucket_take(&full_at, now, rate);)
            taken++;
        assert_int_equal(taken, rate);
    }
}

/* Over ten seconds at any pace above the rate: ten seconds' worth, and the second that was saved up. */
static void test_bucket_over_time(void **state)
{
    int64_t full_at = 0;
    int taken = 0;
    for (int64_t now = 1000000; now < 11000000; now += 137)
        taken += bucket_take(&full_at, now, 100);
    assert_in_range(taken, 1099, 1100);
}

/* ---- callers of a thread ---- */

struct fixture {
    char dir[64], path[96];
    char *token, *line, *other, *other_line;
};

static void write_tokens(struct fixture *fixture, const char *text, mode_t mode)
{
    char next[128];
    snprintf(next, sizeof(next), "%s.next", fixture->path);
    FILE *file = fopen(next, "w");
    assert_non_null(file);
    fputs(text, file);
    assert_int_equal(fclose(file), 0);
    assert_int_equal(chmod(next, mode), 0);
    assert_int_equal(rename(next, fixture->path), 0);
}

static int setup(void **state)
{
    static struct fixture fixture;
    char wrong[TOKENS_WRONG_MAX];
    if (!scratch_dir(fixture.dir, sizeof(fixture.dir), "souk-auth") ||
        !token_make("shop", "orders:read", NULL, &fixture.token, &fixture.line, wrong) ||
        !token_make("ann", "orders:read,orders:write", "ann", &fixture.other, &fixture.other_line, wrong))
        return -1;
    snprintf(fixture.path, sizeof(fixture.path), "%s/tokens", fixture.dir);
    write_tokens(&fixture, fixture.line, 0640);
    *state = &fixture;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *fixture = *state;
    unlink(fixture->path);
    rmdir(fixture->dir);
    free(fixture->token);
    free(fixture->line);
    free(fixture->other);
    free(fixture->other_line);
    return 0;
}

static enum auth_verdict ask(struct auth *auth, const char *scheme, const char *token, enum scope scope, int64_t now_us)
{
    char header[1024];
    const struct caller *caller;
    snprintf(header, sizeof(header), "%s%s", scheme, token);
    enum auth_verdict verdict = auth_check(auth, view_of(header), scope, &caller);
    assert_int_equal(caller == NULL, verdict == AUTH_BAD_TOKEN || verdict == AUTH_NO_TOKEN);
    return verdict == AUTH_GRANTED && !auth_count(auth, caller, now_us) ? AUTH_TOO_MANY : verdict;
}

static void test_verdicts(void **state)
{
    struct fixture *fixture = *state;
    struct keyring *keyring = keyring_open(fixture->path);
    struct auth *auth = auth_new(keyring, 0);
    const struct caller *caller;
    for (int again = 0; again < 2; again++) { /* the second time from the memo */
        assert_int_equal(ask(auth, "Bearer ", fixture->token, SCOPE_ORDERS_READ, 0), AUTH_GRANTED);
        assert_int_equal(ask(auth, "bEARER   ", fixture->token, SCOPE_ORDERS_READ, 0), AUTH_GRANTED);
        assert_int_equal(ask(auth, "Bearer ", fixture->token, SCOPE_ORDERS_WRITE, 0), AUTH_NO_SCOPE);
        assert_int_equal(ask(auth, "Bearer ", fixture->other, SCOPE_ORDERS_READ, 0), AUTH_BAD_TOKEN);
        assert_int_equal(ask(auth, "Basic ", fixture->token, SCOPE_ORDERS_READ, 0), AUTH_BAD_TOKEN);
        assert_int_equal(ask(auth, "", fixture->token, SCOPE_ORDERS_READ, 0), AUTH_BAD_TOKEN);
        assert_int_equal(ask(auth, "Bearer ", "", SCOPE_ORDERS_READ, 0), AUTH_BAD_TOKEN);
        assert_int_equal(ask(auth, "Bearer    ", "", SCOPE_ORDERS_READ, 0), AUTH_BAD_TOKEN);
        assert_int_equal(ask(auth, "Bearer", "", SCOPE_ORDERS_READ, 0), AUTH_BAD_TOKEN);
        assert_int_equal(auth_check(auth, (struct view){NULL, 0}, SCOPE_ORDERS_READ, &caller), AUTH_NO_TOKEN);
    }
    auth_free(auth);
    keyring_close(keyring);
}

/* More callers than the memo has places: nobody is taken for another. */
static void test_many_callers(void **state)
{
    enum { COUNT = 2000 };
    struct fixture *fixture = *state;
    char *tokens[COUNT], wrong[TOKENS_WRONG_MAX], *text = NULL;
    size_t len;
    FILE *out = open_memstream(&text, &len);
    for (int i = 0; i < COUNT; i++) {
        char name[32], *line;
        snprintf(name, sizeof(name), "c%d", i);
        assert_true(token_make(name, i % 3 ? "orders:read" : "events:read", NULL, &tokens[i], &line, wrong));
        fprintf(out, "%s\n", line);
        free(line);
    }
    fclose(out);
    write_tokens(fixture, text, 0600);
    free(text);
    struct keyring *keyring = keyring_open(fixture->path);
    struct auth *auth = auth_new(keyring, 0);
    for (int round = 0; round < 3; round++)
        for (int i = 0; i < COUNT; i++) {
            char header[128], name[16];
            const struct caller *caller;
            snprintf(header, sizeof(header), "Bearer %s", tokens[i]);
            snprintf(name, sizeof(name), "c%d", i);
            assert_int_equal(auth_check(auth, view_of(header), SCOPE_ORDERS_READ, &caller), i % 3 ? AUTH_GRANTED : AUTH_NO_SCOPE);
            assert_true(view_equal(caller->name, view_of(name)));
        }
    auth_free(auth);
    keyring_close(keyring);
    for (int i = 0; i < COUNT; i++)
        free(tokens[i]);
}

static void test_rate(void **state)
{
    struct fixture *fixture = *state;
    char text[1024];
    snprintf(text, sizeof(text), "%s\n%s\nanonymous catalogue:read\n", fixture->line, fixture->other_line);
    write_tokens(fixture, text, 0600);
    struct keyring *keyring = keyring_open(fixture->path);
    struct auth *auth = auth_new(keyring, 5);
    const struct caller *caller;
    int64_t now = 1000000;
    for (int i = 0; i < 20; i++) /* what is not granted does not count */
        assert_int_equal(ask(auth, "Bearer ", fixture->token, SCOPE_ORDERS_WRITE, now), AUTH_NO_SCOPE);
    for (int i = 0; i < 20; i++)
        assert_int_equal(ask(auth, "Bearer ", fixture->token, SCOPE_ORDERS_READ, now), i < 5 ? AUTH_GRANTED : AUTH_TOO_MANY);
    for (int i = 0; i < 20; i++) /* one caller does not take another's */
        assert_int_equal(ask(auth, "Bearer ", fixture->other, SCOPE_ORDERS_READ, now), i < 5 ? AUTH_GRANTED : AUTH_TOO_MANY);
    assert_int_equal(ask(auth, "Bearer ", fixture->token, SCOPE_ORDERS_READ, now + 200000), AUTH_GRANTED);
    assert_int_equal(ask(auth, "Bearer ", fixture->token, SCOPE_ORDERS_READ, now + 200000), AUTH_TOO_MANY);
    assert_int_equal(auth_check(auth, (struct view){NULL, 0}, SCOPE_CATALOGUE_READ, &caller), AUTH_GRANTED);
    for (int i = 0; i < 100; i++) /* those without a token cannot be told apart */
        assert_true(auth_count(auth, caller, now));
    auth_free(auth);
    keyring_close(keyring);
}

/* ---- the file changes ---- */

/* Waits, as a worker's ticks do, until the token is (not) known. */
static void becomes(struct auth *auth, const char *token, enum auth_verdict want)
{
    const struct timespec moment = {0, 5000000};
    for (int i = 0; i < 2000; i++) {
        auth_refresh(auth);
        if (ask(auth, "Bearer ", token, SCOPE_ORDERS_READ, 0) == want)
            return;
        nanosleep(&moment, NULL);
    }
    fail_msg("verdict %d did not come within 10 s", want);
}

static void is_current(struct keyring *keyring, bool want)
{
    const struct timespec moment = {0, 5000000};
    for (int i = 0; i < 2000 && keyring_is_current(keyring) != want; i++)
        nanosleep(&moment, NULL);
    assert_int_equal(keyring_is_current(keyring), want);
}

static void test_rotation(void **state)
{
    struct fixture *fixture = *state;
    struct keyring *keyring = keyring_open(fixture->path);
    struct auth *auth = auth_new(keyring, 0), *second = auth_new(keyring, 0);
    becomes(auth, fixture->token, AUTH_GRANTED);
    write_tokens(fixture, fixture->other_line, 0440);
    becomes(auth, fixture->other, AUTH_GRANTED);
    becomes(auth, fixture->token, AUTH_BAD_TOKEN); /* also though it was in the memo */
    becomes(second, fixture->token, AUTH_BAD_TOKEN);

    static const struct {
        const char *text;
        mode_t mode;
    } bad[] = {{"shop orders:reed\n", 0600}, {"", 0600}, {NULL, 0644}};
    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
        write_tokens(fixture, bad[i].text ? bad[i].text : fixture->line, bad[i].mode);
        is_current(keyring, false);
        becomes(auth, fixture->other, AUTH_GRANTED); /* what was before stays */
        becomes(auth, fixture->token, AUTH_BAD_TOKEN);
        write_tokens(fixture, fixture->other_line, 0600);
        is_current(keyring, true);
    }
    unlink(fixture->path);
    is_current(keyring, false);
    becomes(auth, fixture->other, AUTH_GRANTED);
    write_tokens(fixture, fixture->line, 0600);
    becomes(auth, fixture->token, AUTH_GRANTED);
    auth_free(second);
    auth_free(auth);
    keyring_close(keyring);
}

static void test_no_keyring(void **state)
{
    struct fixture *fixture = *state;
    write_tokens(fixture, fixture->line, 0604);
    assert_null(keyring_open(fixture->path));
    write_tokens(fixture, "shop", 0600);
    assert_null(keyring_open(fixture->path));
    assert_null(keyring_open("/nowhere/tokens"));
}

int main(void)
{
    log_start("auth_test", LOG_INFO);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bucket),
        cmocka_unit_test(test_bucket_over_time),
        cmocka_unit_test_setup_teardown(test_verdicts, setup, teardown),
        cmocka_unit_test_setup_teardown(test_many_callers, setup, teardown),
        cmocka_unit_test_setup_teardown(test_rate, setup, teardown),
        cmocka_unit_test_setup_teardown(test_rotation, setup, teardown),
        cmocka_unit_test_setup_teardown(test_no_keyring, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
