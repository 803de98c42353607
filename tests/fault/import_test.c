#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "fault_test_lib.h"
#include "launch.h"

/*
 * soukctl import while workers and shards die, and while it is interrupted: in the end every line is there exactly once. The lines have no ids, so a
 * line that was done twice would be two products.
 */
#ifdef SOUK_SANITIZED /* so many that the import is not at its end when something dies; slow lines are fewer and longer */
#define LINES 16000
#define FEW 4000
#define TEXT_BYTES 900
#else
#define LINES 120000
#define FEW 30000 /* where nothing dies; three or four requests, all at once */
#define TEXT_BYTES 0
#endif
#define BEGUN (LINES / 120) /* products on a shard, in an import that has begun */

struct scene {
    struct souk *souk;
    char file[400], said[400];
    pid_t pid;
};

static void scene_start_with(struct scene *scene, int lines, const char *odd_line, const char *const *env)
{
    scene->souk = souk_start(&(struct souk_settings){.roles = {[SOUK_PRODUCT] = true, [SOUK_ORDER] = true}, .env = env});
    snprintf(scene->file, sizeof(scene->file), "%s/products", souk_dir(scene->souk));
    snprintf(scene->said, sizeof(scene->said), "%s/said", souk_dir(scene->souk));
    FILE *file = fopen(scene->file, "w");
    assert_non_null(file);
    for (int i = 0; i < lines; i++)
        fprintf(file, "{\"name\":\"Product number %d\",\"price\":%d,\"stock\":3,\"attributes\":{\"number\":%d,\"text\":\"%0*d\"}}\n", i, i % 1000, i,
                TEXT_BYTES, i);
    if (odd_line)
        fprintf(file, "\n%s\n", odd_line);
    fclose(file);
}

static void scene_start(struct scene *scene)
{
    scene_start_with(scene, LINES, NULL, NULL);
}

static void scene_end(struct scene *scene)
{
    assert_true(souk_audit(scene->souk));
    assert_int_equal(souk_stop(scene->souk), 0);
}

/* Starts soukctl import; ${run}: "--run=NAME" or NULL. */
static void import_start(struct scene *scene, const char *run)
{
    char path[512], url[200];
    snprintf(path, sizeof(path), "%s/soukctl", SOUK_BIN);
    snprintf(url, sizeof(url), "--url=%s", souk_url(scene->souk, SOUK_PRODUCT));
    const char *const command[] = {path, url, run ? run : "import", run ? "import" : scene->file, run ? scene->file : NULL, NULL};
    scene->pid = launch(&(struct launch){.command = command, .output = scene->said, .anew = true});
    assert_true(scene->pid > 0);
}

/* Something dies in its midst, not behind it. */
static void assert_under_way(const struct scene *scene)
{
    assert_int_equal(waitpid(scene->pid, NULL, WNOHANG), 0);
}

/* Its exit status. */
static int import_end(struct scene *scene)
{
    int status;
    assert_int_equal(waitpid(scene->pid, &status, 0), scene->pid);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static char *said(const struct scene *scene)
{
    char *text = calloc(1, 65536);
    FILE *file = fopen(scene->said, "r");
    assert_non_null(file);
    assert_true(fread(text, 1, 65535, file) > 0);
    fclose(file);
    return text;
}

/* By redis: how many products there are on a shard (each has three keys, and there are some others). */
static bool has_begun(void *cookie)
{
    struct scene *scene = cookie;
    char *keys = REDIS(souk_shard(scene->souk, 0), "DBSIZE");
    bool begun = keys && atol(keys) > 3 * BEGUN;
    free(keys);
    return begun;
}

/* By redis: all entries of the indexes of all partitions. */
static long product_count(struct souk *souk)
{
    static const char SCRIPT[] = "local n = 0; for p = 0, 255 do n = n + redis.call('ZCARD', 'products:{' .. p .. '}') end; return n";
    long count = 0;
    for (unsigned i = 0; i < souk_shard_count(souk); i++) {
        char *answer = REDIS(souk_shard(souk, i), "EVAL", SCRIPT, "0");
        count += answer ? atol(answer) : 0;
        free(answer);
    }
    return count;
}

static void test_worker_dies(void **state)
{
    struct scene scene;
    scene_start(&scene);
    import_start(&scene, NULL);
    assert_true(souk_wait(has_begun, &scene, 10000));
    souk_kill(scene.souk, SOUK_PRODUCT);
    assert_under_way(&scene);
    souk_restart(scene.souk, SOUK_PRODUCT);
    assert_int_equal(import_end(&scene), 0);
    assert_int_equal(product_count(scene.souk), LINES);
    scene_end(&scene);
}

static void test_shard_dies(void **state)
{
    struct scene scene;
    scene_start(&scene);
    import_start(&scene, NULL);
    assert_true(souk_wait(has_begun, &scene, 10000));
    souk_kill_shard(scene.souk, 1);
    assert_under_way(&scene);
    souk_restart_shard(scene.souk, 1);
    assert_int_equal(import_end(&scene), 0);
    assert_int_equal(product_count(scene.souk), LINES);
    scene_end(&scene);
}

/* Ctrl-C, and then the command that it prints. */
static void test_interrupted(void **state)
{
    struct scene scene;
    char run[64] = "";
    scene_start(&scene);
    import_start(&scene, NULL);
    assert_true(souk_wait(has_begun, &scene, 10000));
    assert_int_equal(kill(scene.pid, SIGINT), 0);
    assert_int_equal(import_end(&scene), 1);
    char *text = said(&scene);
    const char *found = strstr(text, "--run=");
    assert_non_null(found);
    assert_int_equal(sscanf(found, "%63s", run), 1);
    print_message("interrupted after %ld of %d\n", product_count(scene.souk), LINES);
    assert_in_range(product_count(scene.souk), BEGUN, LINES - 1);
    free(text);
    import_start(&scene, run);
    assert_int_equal(import_end(&scene), 0);
    assert_int_equal(product_count(scene.souk), LINES);
    scene_end(&scene);
}

/* A line that is refused stops nothing, is named by its number in the file, and is kept. */
static void test_refused(void **state)
{
    static const char ODD[] = "{\"name\":\"Odd\",\"price\":\"0.001\"}";
    struct scene scene;
    char path[420], line[200] = "", number[40];
    scene_start_with(&scene, FEW, ODD, NULL);
    import_start(&scene, NULL);
    assert_int_equal(import_end(&scene), 1);
    char *text = said(&scene);
    snprintf(number, sizeof(number), "line %d: ", FEW + 2);
    assert_non_null(strstr(text, number));
    assert_non_null(strstr(text, "1 refused"));
    assert_null(strstr(text, "--run="));
    free(text);
    snprintf(path, sizeof(path), "%s.rejected", scene.file);
    FILE *rejected = fopen(path, "r");
    assert_non_null(rejected);
    assert_non_null(fgets(line, sizeof(line), rejected));
    fclose(rejected);
    line[strcspn(line, "\n")] = '\0';
    assert_string_equal(line, ODD);
    assert_int_equal(product_count(scene.souk), FEW);
    scene_end(&scene);
}

/* Another file under the name of a run that began with this one is not taken for it. */
static void test_another_file(void **state)
{
    struct scene scene;
    scene_start_with(&scene, FEW, NULL, NULL);
    import_start(&scene, "--run=mine");
    assert_int_equal(import_end(&scene), 0);
    FILE *file = fopen(scene.file, "w");
    assert_non_null(file);
    fprintf(file, "{\"name\":\"Another\",\"price\":1}\n");
    fclose(file);
    import_start(&scene, "--run=mine");
    assert_int_equal(import_end(&scene), 1);
    char *text = said(&scene);
    assert_non_null(strstr(text, "is not the one that run mine began with"));
    free(text);
    assert_int_equal(product_count(scene.souk), FEW);
    scene_end(&scene);
}

/* Runs it to its end with SOUK_TOKEN_FILE as ${token_file} says, and expects this exit status and this among what it says. */
static void import_as(struct scene *scene, const char *token_file, int status, const char *want)
{
    setenv("SOUK_TOKEN_FILE", token_file, 1);
    import_start(scene, "--run=mine");
    unsetenv("SOUK_TOKEN_FILE");
    assert_int_equal(import_end(scene), status);
    char *text = said(scene);
    if (!strstr(text, want))
        fail_msg("\"%s\" is not said, but: %s", want, text);
    free(text);
}

static void write_token(const char *path, const char *token, mode_t mode)
{
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fprintf(file, "%s\nthis is no part of it\n", token);
    assert_int_equal(fclose(file), 0);
    assert_int_equal(chmod(path, mode), 0);
}

/* A worker that asks for tokens, and is asked too often: the import goes on when it may, and every line is there once. */
static void test_callers(void **state)
{
    static const char *const env[] = {"SOUK_AUTH=tokens", "SOUK_CALLER_RATE=1", "SOUK_LOG_LEVEL=debug", NULL};
    struct scene scene;
    char path[400];
    scene_start_with(&scene, FEW, NULL, env);
    snprintf(path, sizeof(path), "%s/token", souk_dir(scene.souk));
    char *reader = souk_caller(scene.souk, "reader", "catalogue:read", NULL), *feed = souk_caller(scene.souk, "feed", "catalogue:write", NULL);
    souk_callers_known(scene.souk);

    import_as(&scene, "", 1, "were refused with 401");
    write_token(path, reader, 0600);
    import_as(&scene, path, 1, "needs the scope catalogue:write");
    write_token(path, feed, 0644);
    import_as(&scene, path, 2, "(SOUK_TOKEN_FILE): its mode is 0644");
    write_token(path, "", 0600);
    import_as(&scene, path, 2, "its first line is empty");
    assert_int_equal(product_count(scene.souk), 0);
    write_token(path, feed, 0400);
    import_as(&scene, path, 0, "");
    assert_int_equal(product_count(scene.souk), FEW);
    char *log = souk_log(scene.souk, SOUK_PRODUCT);
    assert_non_null(strstr(log, " debug "));
    assert_null(strstr(log, reader));
    assert_null(strstr(log, feed));
    free(log);
    free(reader);
    free(feed);
    scene_end(&scene);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_worker_dies), cmocka_unit_test(test_shard_dies),   cmocka_unit_test(test_interrupted),
        cmocka_unit_test(test_refused),     cmocka_unit_test(test_another_file), cmocka_unit_test(test_callers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
