#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "fault_test_lib.h"

/*
 * A store is founded once; an empty shard of one that was founded has lost its data, and neither soukctl guard (before its server starts) nor soukctl
 * init (when it runs) takes it for a new one.
 */
#define SHARDS 3

struct ring {
    struct redis_fixture *shards[SHARDS];
    char text[256];
    char said[4096];
};

static void ring_start(struct ring *ring)
{
    static const char *const args[] = {"--appendonly", "yes", "--appendfsync", "always", "--aof-load-truncated", "no", NULL};
    size_t len = 0;

    *ring = (struct ring){.text = ""};
    for (int i = 0; i < SHARDS; i++) {
        ring->shards[i] = redis_start(args);
        len +=
            (size_t)snprintf(ring->text + len, sizeof(ring->text) - len, "%sshard-%d=127.0.0.1:%d", i ? "," : "", i + 1, redis_port(ring->shards[i]));
    }
}

static void ring_stop(struct ring *ring)
{
    for (int i = 0; i < SHARDS; i++)
        redis_stop(ring->shards[i]);
}

static FILE *soukctl_begin(struct ring *ring, const char *arguments)
{
    char command[2048];
    FILE *out;

    snprintf(command, sizeof(command), "exec '%s/soukctl' --guard-ms=300 --shards=%s %s 2>&1", SOUK_BIN, ring->text, arguments);
    out = popen(command, "r");
    assert_non_null(out);
    return out;
}

/* Its exit status; what it said is in ring->said. */
static int soukctl_end(struct ring *ring, FILE *out)
{
    size_t len = fread(ring->said, 1, sizeof(ring->said) - 1, out);

    ring->said[len] = '\0';
    return WEXITSTATUS(pclose(out));
}

static int soukctl(struct ring *ring, const char *format, ...) __attribute__((format(printf, 2, 3)));
static int soukctl(struct ring *ring, const char *format, ...)
{
    char arguments[512];
    va_list args;

    va_start(args, format);
    vsnprintf(arguments, sizeof(arguments), format, args);
    va_end(args);
    return soukctl_end(ring, soukctl_begin(ring, arguments));
}

#define assert_said(ring, text) \
    do { \
        if (!strstr((ring)->said, (text))) \
            fail_msg("said \"%s\", and not \"%s\"", (ring)->said, (text)); \
    } while (0)

static int guard(struct ring *ring, int shard, const char *options)
{
    return soukctl(ring, "%s guard shard-%d '%s'", options, shard + 1, redis_dir(ring->shards[shard]));
}

static void lose_volume(struct ring *ring, int shard)
{
    char command[512];

    redis_kill(ring->shards[shard]);
    snprintf(command, sizeof(command), "rm -r '%s/appendonlydir'", redis_dir(ring->shards[shard]));
    assert_int_equal(system(command), 0);
}

static void assert_answer(struct ring *ring, int shard, const char *want, const char *const *argv)
{
    char *answer = redis_cmd(ring->shards[shard], argv);

    assert_non_null(answer);
    assert_string_equal(answer, want);
    free(answer);
}

#define ASK(...) ((const char *const[]){__VA_ARGS__, NULL})

static void assert_founded(struct ring *ring)
{
    char name[32];

    for (int i = 0; i < SHARDS; i++) {
        snprintf(name, sizeof(name), "shard-%d", i + 1);
        assert_answer(ring, i, name, ASK("HGET", "souk:shard", "name"));
        assert_answer(ring, i, "0", ASK("HEXISTS", "souk:shard", "founding"));
    }
}

static void test_a_new_store(void **state)
{
    struct ring ring;

    ring_start(&ring);
    for (int i = 0; i < SHARDS; i++)
        lose_volume(&ring, i);
    /* The first start: no server runs yet, each guard looks for the others and waits. */
    for (int i = 0; i < SHARDS; i++) {
        assert_int_equal(guard(&ring, i, ""), 0);
        assert_said(&ring, "begins empty; no other shard says that the store has been in use");
    }
    for (int i = 0; i < SHARDS; i++)
        redis_restart(ring.shards[i]);
    assert_int_equal(soukctl(&ring, "init"), 0);
    assert_said(&ring, "shard-3: souk:shard written");
    assert_founded(&ring);
    assert_int_equal(soukctl(&ring, "init"), 0);
    assert_said(&ring, "shard-3: was initialised before");
    assert_int_equal(guard(&ring, 0, "--founded=yes"), 0);
    assert_said(&ring, "holds its data");
    ring_stop(&ring);
}

static void test_a_lost_volume(void **state)
{
    struct ring ring;

    ring_start(&ring);
    assert_int_equal(soukctl(&ring, "init"), 0);
    lose_volume(&ring, 1);
    assert_int_equal(guard(&ring, 1, ""), 1);
    assert_said(&ring, "holds no data of shard shard-2, and shard shard-1 has been in use");
    redis_restart(ring.shards[1]); /* all the same */
    assert_int_equal(soukctl(&ring, "init"), 1);
    assert_said(&ring, "shard shard-2 is empty, and shard shard-1 has been in use");
    assert_answer(&ring, 1, "0", ASK("DBSIZE"));
    assert_int_equal(soukctl(&ring, "--replace=shard-1 init"), 1); /* that is another */

    lose_volume(&ring, 1);
    assert_int_equal(guard(&ring, 1, "--replace=shard-2"), 0);
    assert_said(&ring, "as SOUK_REPLACE says");
    redis_restart(ring.shards[1]);
    assert_int_equal(soukctl(&ring, "--replace=shard-2 init"), 0);
    assert_founded(&ring);
    ring_stop(&ring);
}

static void test_all_volumes_lost(void **state)
{
    struct ring ring;

    ring_start(&ring);
    assert_int_equal(soukctl(&ring, "--founded=yes init"), 1);
    assert_said(&ring, "shard shard-1 is empty, and SOUK_FOUNDED is yes");
    assert_answer(&ring, 0, "0", ASK("DBSIZE"));
    lose_volume(&ring, 0);
    assert_int_equal(guard(&ring, 0, "--founded=yes"), 1);
    assert_said(&ring, "SOUK_FOUNDED is yes");
    ring_stop(&ring);
}

/* Whatever an interrupted founding left, the next one completes it. */
static void test_an_interrupted_founding(void **state)
{
    struct ring ring;

    ring_start(&ring);
    redis_make_shard(ring.shards[0], "shard-1", SOUK_PARTITIONS, 1);
    REDIS_DO(ring.shards[0], "HSET", "souk:shard", "founding", "1");
    lose_volume(&ring, 2);
    assert_int_equal(guard(&ring, 2, ""), 0);
    assert_said(&ring, "no shard has been in use yet");
    redis_restart(ring.shards[2]);
    assert_int_equal(soukctl(&ring, "init"), 0);
    assert_founded(&ring);
    REDIS_DO(ring.shards[2], "HSET", "souk:shard", "founding", "1");
    assert_int_equal(soukctl(&ring, "load"), 1); /* with it, nobody would be protected from a lost volume */
    assert_said(&ring, "whose founding was interrupted");
    assert_int_equal(soukctl(&ring, "init"), 0);
    assert_founded(&ring);
    ring_stop(&ring);
}

static void test_what_cannot_be_said(void **state)
{
    struct ring ring;

    ring_start(&ring);
    assert_int_equal(soukctl(&ring, "guard shard-9 /tmp"), 2);
    assert_said(&ring, "there is no shard shard-9 in SOUK_SHARDS");
    assert_int_equal(soukctl(&ring, "guard shard-1 /no/such/folder"), 2);
    assert_said(&ring, "cannot look into /no/such/folder");
    redis_kill(ring.shards[2]);
    assert_int_equal(soukctl(&ring, "init"), 1);
    assert_said(&ring, "cannot reach shard shard-3");
    assert_answer(&ring, 0, "0", ASK("DBSIZE")); /* nothing is begun */
    ring_stop(&ring);
}

/* Told to, init waits for a shard that comes later; and not for ever for one that does not. */
static void test_waiting_for_shards(void **state)
{
    struct ring ring;
    FILE *out;

    ring_start(&ring);
    redis_kill(ring.shards[2]);
    out = soukctl_begin(&ring, "--wait-s=60 init");
    usleep(500000);
    redis_restart(ring.shards[2]);
    assert_int_equal(soukctl_end(&ring, out), 0);
    assert_founded(&ring);
    redis_kill(ring.shards[2]);
    assert_int_equal(soukctl(&ring, "--wait-s=1 init"), 1);
    assert_said(&ring, "cannot reach shard shard-3");
    ring_stop(&ring);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_new_store),
        cmocka_unit_test(test_a_lost_volume),
        cmocka_unit_test(test_all_volumes_lost),
        cmocka_unit_test(test_an_interrupted_founding),
        cmocka_unit_test(test_what_cannot_be_said),
        cmocka_unit_test(test_waiting_for_shards),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
