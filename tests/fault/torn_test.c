#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "fault_test_lib.h"
#include "port.h"
#include "shard_disk.h"

/*
 * How a shard begins (souk-shard): a write that was torn when the power failed is taken off its file as a whole, anything else is left as it is, and
 * it does not begin before its file is on the disk.
 */
#define FILE_MAX 12000

struct torn {
    struct redis_fixture *redis;
    char path[500]; /* of the file that is being written */
    char whole[FILE_MAX];
    size_t len, begin; /* where the transaction begins, which is the last that was written */
};

static size_t read_file(const char *path, char out[FILE_MAX])
{
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    size_t len = fread(out, 1, FILE_MAX, file);
    assert_true(len < FILE_MAX);
    fclose(file);
    return len;
}

static void write_file(const char *path, const char *bytes, size_t len)
{
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, len, file), len);
    assert_int_equal(fclose(file), 0);
}

static void assert_file(const char *path, const char *bytes, size_t len)
{
    char now[FILE_MAX];
    assert_int_equal(read_file(path, now), len);
    assert_memory_equal(now, bytes, len);
}

/* "appendonlydir/appendonly.aof.manifest" in the server's directory. */
static void path_in(const struct torn *torn, const char *name, char path[500])
{
    snprintf(path, 500, "%s/%s", redis_dir(torn->redis), name);
}

/* Values are what could be taken for something else: for a manifest, a command, the end of a transaction. */
static void torn_write(struct torn *torn, const char *const *settings, const char *name)
{
    torn->redis = redis_start(settings);
    path_in(torn, name, torn->path);
    REDIS_DO(torn->redis, "SET", "before", "file cabinet");
    REDIS_DO(torn->redis, "EVAL", "redis.call('SET', 'wide', string.rep('file', 2000))", "0");
    REDIS_DO(torn->redis, "EVAL", "redis.call('SET', 'one', 'EXEC') redis.call('SET', 'two', 'MULTI')", "0");
    REDIS_DO(torn->redis, "SET", "single", "*3");
    torn->begin = read_file(torn->path, torn->whole);
    REDIS_DO(torn->redis, "EVAL", "redis.call('SET', 'a', 'EXEC') redis.call('SET', 'b', 'file')", "0");
    redis_kill(torn->redis);
    torn->len = read_file(torn->path, torn->whole);
    assert_true(torn->begin > 8000 && torn->len > torn->begin);
}

#define SHARD_CONF SOUK_SOURCE "/deploy/redis/redis.conf"
static const char *const SHARD[] = {"--include", SHARD_CONF, NULL};

static void torn_begin(struct torn *torn)
{
    torn_write(torn, SHARD, "appendonlydir/appendonly.aof.1.incr.aof");
}

/* All but the last bytes of the transaction. */
static void tear(const struct torn *torn)
{
    write_file(torn->path, torn->whole, torn->len - 20);
}

static bool has_ended(void *cookie)
{
    return !redis_runs(cookie);
}

/* It begins, with a new log, and ends by itself. */
static void must_not_begin(struct torn *torn)
{
    char path[500];
    path_in(torn, "log", path);
    write_file(path, "", 0);
    redis_launch(torn->redis);
    assert_true(souk_wait(has_ended, torn->redis, 5000));
}

static void must_have_said(const char *path, const char *text)
{
    char log[FILE_MAX];
    log[read_file(path, log)] = '\0';
    if (strstr(log, text) == NULL)
        fail_msg("%s does not say \"%s\":\n%s", path, text, log);
}

static void shard_must_have_said(const struct torn *torn, const char *text)
{
    char path[500];
    path_in(torn, "log", path);
    must_have_said(path, text);
}

static void value_is(struct redis_fixture *redis, const char *name, const char *wanted)
{
    char *value = REDIS(redis, "GET", name);
    assert_non_null(value);
    assert_string_equal(value, wanted);
    free(value);
}

/* It begins without the transaction, which is kept. */
static void must_be_taken_off(struct torn *torn, const char *kept, const char *from)
{
    char path[500];
    redis_restart(torn->redis);
    value_is(torn->redis, "single", "*3");
    value_is(torn->redis, "a", "(nil)");
    redis_kill(torn->redis);
    path_in(torn, kept, path);
    assert_file(path, from, torn->len - 20 - torn->begin);
    shard_must_have_said(torn, "was not finished when the shard ended");
}

struct fact {
    const char *name, *value;
};

static void expect(struct redis_fixture *redis, size_t cut, const char *when, const struct fact *facts)
{
    for (; facts->name; facts++) {
        char *value = REDIS(redis, "GET", facts->name);
        if (value == NULL || strcmp(value, facts->value) != 0)
            fail_msg("a write torn behind byte %zu: %s is %s %s, and not %s", cut, facts->name, value, when, facts->value);
        free(value);
    }
}

/*
 * Torn behind each of its bytes, a transaction is gone as a whole, and stays so: what is written behind it is no part of it. (Redis alone lets it be:
 * souk-shard.)
 */
static void test_torn_anywhere(void **state)
{
    struct torn torn;
    torn_begin(&torn);
    for (size_t cut = torn.begin; cut <= torn.len; cut++) {
        bool whole = cut == torn.len;
        char after[32];
        struct fact facts[] = {{"before", "file cabinet"},      {"single", "*3"},   {"a", whole ? "EXEC" : "(nil)"},
                               {"b", whole ? "file" : "(nil)"}, {"after", "(nil)"}, {NULL, NULL}};
        write_file(torn.path, torn.whole, cut);
        redis_restart(torn.redis);
        expect(torn.redis, cut, "at first", facts);
        snprintf(after, sizeof(after), "%zu", cut);
        REDIS_DO(torn.redis, "SET", "after", after);
        redis_restart(torn.redis);
        facts[4].value = after;
        expect(torn.redis, cut, "behind another start", facts);
        redis_kill(torn.redis);
    }
    redis_stop(torn.redis);
}

/* What is damaged in another place than at its end is not repaired by leaving out what follows, which was answered: the shard does not start. */
static void test_damaged_in_the_middle(void **state)
{
    static const char *const PLACES[] = {"*3\r\n$3\r\nSET\r\n$6\r\nbefore", "*3\r\n$3\r\nSET\r\n$6\r\nsingle", "*1\r\n$5\r\nMULTI"};
    struct torn torn;
    char bytes[FILE_MAX];
    torn_begin(&torn);
    for (size_t i = 0; i < sizeof(PLACES) / sizeof(*PLACES); i++) {
        char *place = memmem(torn.whole, torn.len, PLACES[i], strlen(PLACES[i]));
        assert_non_null(place);
        memcpy(bytes, torn.whole, torn.len);
        bytes[place - torn.whole] = 'X';
        write_file(torn.path, bytes, torn.len);
        must_not_begin(&torn);
        assert_file(torn.path, bytes, torn.len);
        shard_must_have_said(&torn, "and not only unfinished");
    }
    redis_stop(torn.redis);
}

/* The names of folders and files are settings, in a settings file or behind it; what is written to is the last of several files. */
static void test_other_names(void **state)
{
    static const char *const SETTINGS[] = {"--include", SHARD_CONF, "--appenddirname", "the log", "--appendfilename", "shard one.aof", NULL};
    struct torn torn;
    char manifest[500], second[500], files[FILE_MAX];
    torn_write(&torn, SETTINGS, "the log/shard one.aof.1.incr.aof");
    path_in(&torn, "the log/shard one.aof.manifest", manifest);
    path_in(&torn, "the log/shard one.aof.2.incr.aof", second);
    size_t len = read_file(manifest, files);
    len += (size_t)snprintf(files + len, sizeof(files) - len, "file \"shard one.aof.2.incr.aof\" seq 2 type i\n");
    write_file(manifest, files, len);
    write_file(torn.path, torn.whole, torn.begin);
    write_file(second, torn.whole + torn.begin, torn.len - 20 - torn.begin);
    must_be_taken_off(&torn, "the log/torn.shard one.aof.2.incr.aof.0", torn.whole + torn.begin);
    redis_stop(torn.redis);
}

/* Who starts a shard a second time, while it runs and writes, does not cut its file, and does not write into it. */
static void test_in_use(void **state)
{
    struct torn torn;
    struct port port = port_take();
    char command[2000], said[500], now[FILE_MAX];
    torn_begin(&torn);
    redis_restart(torn.redis);
    FILE *file = fopen(torn.path, "a");
    fputs("*1\r\n$5\r\nMULTI\r\n", file);
    fclose(file);
    size_t len = read_file(torn.path, now);
    path_in(&torn, "second", said);
    snprintf(command, sizeof(command), "timeout 5 '%s/souk-shard' '%s' --bind 127.0.0.1 --port %d --dir '%s' >'%s' 2>&1", SOUK_BIN, SHARD_CONF,
             port.number, redis_dir(torn.redis), said);
    assert_int_equal(WEXITSTATUS(system(command)), 1);
    must_have_said(said, "Does the shard run already?");
    assert_file(torn.path, now, len);
    port_release(&port);
    redis_stop(torn.redis);
}

/* Nothing is taken off that cannot be kept: the shard waits for room, and begins when there is. */
static void test_cannot_be_kept(void **state)
{
    struct torn torn;
    char in_its_place[500], kept[64];
    torn_begin(&torn);
    path_in(&torn, "appendonlydir/torn.new", in_its_place);
    assert_int_equal(mkdir(in_its_place, 0700), 0);
    tear(&torn);
    must_not_begin(&torn);
    assert_file(torn.path, torn.whole, torn.len - 20);
    shard_must_have_said(&torn, "so it is not taken off: make room there");
    assert_int_equal(rmdir(in_its_place), 0);
    snprintf(kept, sizeof(kept), "appendonlydir/torn.appendonly.aof.1.incr.aof.%zu", torn.begin);
    must_be_taken_off(&torn, kept, torn.whole + torn.begin);
    redis_stop(torn.redis);
}

/* What it would tell must be on its disk. */
static void test_cannot_be_synced(void **state)
{
    struct torn torn;
    char file[500];
    torn_begin(&torn);
    path_in(&torn, "disk", file);
    struct shard_disk *disk = shard_disk_new(file);
    shard_disk_put(disk, torn.redis);
    shard_disk_break(disk, true);
    must_not_begin(&torn);
    shard_must_have_said(&torn, "the shard does not begin, since it would tell");
    shard_disk_break(disk, false);
    redis_restart(torn.redis);
    value_is(torn.redis, "a", "EXEC");
    redis_stop(torn.redis);
    shard_disk_free(disk);
}

/* Settings that it cannot read are redis-server's business; without a redis-server it says what is missing. */
static void test_cannot_tell(void **state)
{
    static const struct {
        const char *path, *arguments, *says;
        int status;
    } cases[] = {
        {"/usr/bin", "/dev/null/none.conf", "souk-shard: cannot read /dev/null/none.conf", 1},
        {"/usr/bin", "--port none - </dev/null", "souk-shard: there are settings in the standard input", 1},
        {"/dev/null", "--port 0 --dir /dev/null", "souk-shard: cannot start redis-server", 127},
    };
    char command[600], said[600];
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        snprintf(command, sizeof(command), "PATH=%s '%s/souk-shard' %s 2>&1", cases[i].path, SOUK_BIN, cases[i].arguments);
        FILE *pipe = popen(command, "re");
        assert_non_null(pipe);
        said[fread(said, 1, sizeof(said) - 1, pipe)] = '\0';
        int status = pclose(pipe);
        print_message("%s", said);
        assert_non_null(strstr(said, cases[i].says));
        assert_int_equal(WEXITSTATUS(status), cases[i].status);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_torn_anywhere), cmocka_unit_test(test_damaged_in_the_middle), cmocka_unit_test(test_other_names),
        cmocka_unit_test(test_in_use),        cmocka_unit_test(test_cannot_be_kept),        cmocka_unit_test(test_cannot_be_synced),
        cmocka_unit_test(test_cannot_tell),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
