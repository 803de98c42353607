#include <fnmatch.h>
#include <setjmp.h>
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
#include "scratch_dir.h"
#include "shard_users.h"

/*
 * The users of a shard, on a shard with the users that are shipped. What they need, every other test shows: its fixture gives each worker its user,
 * and complains of all that is denied. Here is what they must not be able to do, who they are said to be in docs/keys.md, how their passwords are
 * changed, and whose functions they call while two versions run.
 */
#define WORKERS_COUNT 3
static const char *const WORKERS[WORKERS_COUNT] = {"souk-product", "souk-order", "souk-payment"};

static struct souk *start(void)
{
    return souk_start(&(struct souk_settings){.shards = 2, .roles = {[SOUK_PRODUCT] = true, [SOUK_ORDER] = true, [SOUK_PAYMENT] = true}});
}

static char *as(struct souk *souk, const char *user, const char *const *argv)
{
    char *answer = redis_cmd_as(souk_shard(souk, 0), shard_users_login(souk_users(souk), user), argv);
    if (answer == NULL)
        fail_msg("no answer to %s as %s", argv[0], user);
    return answer;
}

static void assert_answer(char *answer, const char *begins, const char *user, const char *what)
{
    if (strncmp(answer, begins, strlen(begins)) != 0)
        fail_msg("%s by %s was answered \"%s\", expected \"%s\"", what, user, answer, begins);
    free(answer);
}

/* What redis.conf forbids everybody is looked at before the user's rights. */
static bool is_denied(const char *answer)
{
    return strstr(answer, "NOPERM") || strstr(answer, " command not allowed. ");
}

static void assert_denied(struct souk *souk, const char *user, const char *const *argv)
{
    char *answer = as(souk, user, argv);
    if (!is_denied(answer))
        fail_msg("%s may %s: \"%s\"", user, argv[0], answer);
    free(answer);
}

/* ---- keys, as docs/keys.md says ---- */

/* Would Redis let that user? It is asked, and nothing is done. */
static bool may(struct redis_fixture *shard, const char *user, const char *command, const char *key)
{
    bool reads = strcmp(command, "HMGET") == 0;
    char *said = reads ? REDIS(shard, "ACL", "DRYRUN", user, command, key, "f") : REDIS(shard, "ACL", "DRYRUN", user, command, key, "f", "v");
    bool yes = said && strcmp(said, "OK") == 0;
    free(said);
    return yes;
}

/* orders:{p}:user:USER → orders:{7}:user:USER: words in capitals are as good as any other text. */
static char *real_key(const char *in_table, size_t len)
{
    char *key = strndup(in_table, len), *p = strstr(key, "{p}");
    if (p)
        p[1] = '7';
    return key;
}

static unsigned check_key(struct redis_fixture *shard, const char *key, const char *const rights[WORKERS_COUNT])
{
    unsigned wrong = 0;
    for (int i = 0; i < WORKERS_COUNT; i++) {
        bool reads = may(shard, WORKERS[i], "HMGET", key), writes = may(shard, WORKERS[i], "HSET", key);
        if (reads == (strchr(rights[i], 'R') != NULL) && writes == (strchr(rights[i], 'W') != NULL))
            continue;
        print_error("%s may %s%s%s %s; docs/keys.md says \"%s\"\n", WORKERS[i], reads ? "read" : "", writes ? " write" : "",
                    reads || writes ? "" : "do nothing with", key, rights[i]);
        wrong++;
    }
    bool loaders = strcmp(key, "souk:shard") == 0 || strcmp(key, "souk:libraries") == 0;
    wrong += !may(shard, "souk-operator", "HMGET", key) || may(shard, "souk-operator", "HSET", key);
    wrong += may(shard, "souk-loader", "HMGET", key) != loaders || may(shard, "souk-loader", "HSET", key) != loaders;
    return wrong;
}

#define KEYS_MAX 64
struct key_table {
    char *keys[KEYS_MAX];
    unsigned count, wrong;
};

/* One row: | `a`, `b` | type | product | order | payment | what | */
static void check_row(struct redis_fixture *shard, char *row, struct key_table *table)
{
    char *cells[6], *rest = row + 1;
    const char *rights[WORKERS_COUNT];
    for (int i = 0; i < 6; i++)
        cells[i] = strsep(&rest, "|");
    if (cells[5] == NULL)
        return;
    for (int i = 0; i < WORKERS_COUNT; i++)
        rights[i] = cells[2 + i];
    for (char *at = strchr(cells[0], '`'), *end; at; at = strchr(end + 1, '`')) {
        end = strchr(at + 1, '`');
        assert_non_null(end);
        assert_true(table->count < KEYS_MAX);
        table->keys[table->count] = real_key(at + 1, (size_t)(end - at) - 1);
        table->wrong += check_key(shard, table->keys[table->count++], rights);
    }
}

static void read_table(struct redis_fixture *shard, struct key_table *table)
{
    FILE *file = fopen(SOUK_SOURCE "/docs/keys.md", "r");
    char *line = NULL;
    size_t size = 0;
    bool inside = false;
    assert_non_null(file);
    while (getline(&line, &size, file) > 0) {
        inside = strncmp(line, "| key | type | souk-product |", 29) == 0 || (inside && line[0] == '|');
        if (inside && line[2] == '`')
            check_row(shard, line, table);
    }
    free(line);
    fclose(file);
}

/* The reverse: a pattern that a worker has and that is for none of the table's keys is a right that nobody has told of. */
static bool is_in_table(const char *pattern, const struct key_table *table)
{
    for (unsigned i = 0; i < table->count; i++)
        if (fnmatch(pattern, table->keys[i], 0) == 0)
            return true;
    return false;
}

static void test_keys_are_whose_the_document_says(void **state)
{
    struct souk *souk = *state;
    struct key_table table = {.count = 0};
    read_table(souk_shard(souk, 0), &table);
    assert_true(table.count > 20);
    for (int i = 0; i < WORKERS_COUNT; i++) {
        char *rules = REDIS(souk_shard(souk, 0), "ACL", "GETUSER", WORKERS[i]), *rest = rules, *word;
        while ((word = strsep(&rest, " \n"))) {
            char *pattern = strchr(word, '~');
            if (pattern && !is_in_table(pattern + 1, &table)) {
                print_error("%s has %s, and docs/keys.md has no such key\n", WORKERS[i], word);
                table.wrong++;
            }
        }
        free(rules);
    }
    for (unsigned i = 0; i < table.count; i++)
        free(table.keys[i]);
    assert_int_equal(table.wrong, 0);
}

/* ---- commands ---- */

/* What no user but the administrator may do. Each is tried. */
static const char *const FORBIDDEN[][6] = {
    {"EVAL", "return 1", "0"},
    {"EVAL_RO", "return 1", "0"},
    {"EVALSHA", "e0e1f9fabfc9d4800c877a703b823ac0578ff8db", "0"},
    {"SCRIPT", "LOAD", "return 1"},
    {"KEYS", "*"},
    {"CONFIG", "SET", "appendfsync", "no"},
    {"CONFIG", "REWRITE"},
    {"FLUSHALL"},
    {"FLUSHDB"},
    {"SHUTDOWN", "NOSAVE"},
    {"DEBUG", "SLEEP", "0"},
    {"ACL", "SETUSER", "souk-order", "+@all"},
    {"ACL", "LIST"},
    {"ACL", "DELUSER", "souk-order"},
    {"ACL", "GETUSER", "souk-order"},
    {"CLIENT", "KILL", "TYPE", "normal"},
    {"CLIENT", "NO-EVICT", "on"},
    {"CLIENT", "PAUSE", "1"},
    {"MONITOR"},
    {"PSYNC", "?", "-1"},
    {"SYNC"},
    {"REPLICAOF", "127.0.0.1", "1"},
    {"FAILOVER"},
    {"MODULE", "LIST"},
    {"SAVE"},
    {"BGSAVE"},
    {"BGREWRITEAOF"},
    {"SWAPDB", "0", "1"},
    {"MIGRATE", "127.0.0.1", "1", "", "0", "1"},
    {"RESTORE", "souk:x", "0", "x"},
    {"RENAME", "stock:{7}:7", "stock:{7}:8"},
    {"COPY", "stock:{7}:7", "stock:{7}:8"},
    {"MOVE", "stock:{7}:7", "1"},
    {"EXPIRE", "stock:{7}:7", "1"},
    {"FUNCTION", "FLUSH"},
    {"FUNCTION", "DUMP"},
    {"FUNCTION", "RESTORE", "x"},
    {"FUNCTION", "KILL"},
    {"PUBLISH", "x", "y"},
    {"SUBSCRIBE", "x"},
    {"PSUBSCRIBE", "*"},
    {"SORT", "stock:{7}:7"},
    {"OBJECT", "FREQ", "souk:x"},
    {"SELECT", "1"},
    {"XTRIM", "events:{7}", "MAXLEN", "0"},
    {"XDEL", "events:{7}", "1-1"},
    {"SET", "order:{7}:7", "x"},
    {"HSET", "souk:else", "f", "v"},
};
static const char *const FORBIDDEN_TO_WORKERS[][6] = {
    {"CONFIG", "GET", "*"},
    {"FUNCTION", "LOAD", "#!lua name=x\nredis.register_function('x', function() end)"},
    {"FUNCTION", "DELETE", "souk_operator"},
    {"SCAN", "0"},
    {"DBSIZE"},
    {"RANDOMKEY"},
    {"CLIENT", "LIST"},
    {"ACL", "LOAD"},
    {"ACL", "LOG"},
    {"ACL", "WHOAMI"},
    {"SLOWLOG", "GET"},
    {"COMMAND"},
    {"DUMP", "souk:libraries"},
    {"HSET", "souk:shard", "epoch", "2"},
    {"DEL", "souk:shard"},
    {"MEMORY", "USAGE", "stock:{7}:7"},
    {"LATENCY", "LATEST"},
};
static const char *const USERS[] = {"souk-product", "souk-payment", "souk-loader", "souk-operator", "souk-order"};

static void test_what_nobody_may_do(void **state)
{
    struct souk *souk = *state;
    for (size_t u = 0; u < sizeof(USERS) / sizeof(*USERS); u++) {
        for (size_t i = 0; i < sizeof(FORBIDDEN) / sizeof(*FORBIDDEN); i++) {
            bool orders_own = strcmp(FORBIDDEN[i][0], "SET") == 0 && strcmp(USERS[u], "souk-product") != 0 &&
                              strcmp(USERS[u], "souk-operator") != 0 && strcmp(USERS[u], "souk-loader") != 0;
            bool reads = strcmp(USERS[u], "souk-operator") == 0 && (strcmp(FORBIDDEN[i][0], "OBJECT") == 0);
            if (!orders_own && !reads)
                assert_denied(souk, USERS[u], FORBIDDEN[i]);
        }
    }
    for (int w = 0; w < WORKERS_COUNT; w++)
        for (size_t i = 0; i < sizeof(FORBIDDEN_TO_WORKERS) / sizeof(*FORBIDDEN_TO_WORKERS); i++)
            assert_denied(souk, WORKERS[w], FORBIDDEN_TO_WORKERS[i]);
}

/* The words "+command" of a user in deploy/redis/users, with a space before and behind each. */
static void read_commands(const char *wanted, char *out, size_t size)
{
    FILE *file = fopen(SOUK_SOURCE "/deploy/redis/users", "r");
    char *line = NULL, user[64] = "";
    size_t room = 0, len = (size_t)snprintf(out, size, " ");
    assert_non_null(file);
    while (getline(&line, &room, file) > 0) {
        char *rest = line + strspn(line, " "), *word = strsep(&rest, " \n");
        if (strcmp(word, "user") == 0)
            snprintf(user, sizeof(user), "%s", strsep(&rest, " \n"));
        bool rules = strcmp(user, wanted) == 0 && (strcmp(word, "may") == 0 || strcmp(word, "made") == 0);
        while (rules && (word = strsep(&rest, " \n")))
            if (word[0] == '+')
                len += (size_t)snprintf(out + len, size - len, "%s ", word + 1);
    }
    assert_true(len < size);
    free(line);
    fclose(file);
}

/* How many words Redis wants, the command's included; negative: at least so many. "config|get" counts both words. */
static int arity_of(struct redis_fixture *shard, const char *command)
{
    char *info = REDIS(shard, "COMMAND", "INFO", command), *second = info ? strchr(info, '\n') : NULL;
    int arity = second ? atoi(second + 1) : 0;
    free(info);
    return arity < 0 ? -arity : arity;
}

/* Tries a command with as many words as it wants. */
static char *try_command(struct souk *souk, const char *user, const char *command, int words)
{
    const char *argv[32];
    char *copy = strdup(command), *rest = copy;
    int count = 0;
    for (char *word; (word = strsep(&rest, "|"));)
        argv[count++] = word;
    while (count < words && count < 31)
        argv[count++] = "1";
    argv[count] = NULL;
    char *answer = as(souk, user, argv);
    free(copy);
    return answer;
}

/* Of all commands that this redis-server has: what is not in a worker's rules, he is denied. Four belong to logging in and are everybody's. */
static void test_all_other_commands_are_denied(void **state)
{
    struct souk *souk = *state;
    char *all = REDIS(souk_shard(souk, 0), "COMMAND", "LIST"), *rest = all, *command, allowed[WORKERS_COUNT][2048], marked[96];
    unsigned tried = 0;
    for (int w = 0; w < WORKERS_COUNT; w++)
        read_commands(WORKERS[w], allowed[w], sizeof(allowed[w]));
    while ((command = strsep(&rest, "\n"))) {
        int words = arity_of(souk_shard(souk, 0), command);
        snprintf(marked, sizeof(marked), " %s ", command);
        if (words == 0 || strstr(" auth hello quit reset ", marked))
            continue;
        for (int w = 0; w < WORKERS_COUNT; w++) {
            if (strstr(allowed[w], marked))
                continue;
            char *answer = try_command(souk, WORKERS[w], command, words);
            bool container = strncmp(answer, "-ERR unknown subcommand", 23) == 0 || strncmp(answer, "-ERR wrong number", 17) == 0;
            if (!is_denied(answer) && !container)
                fail_msg("%s may %s: \"%s\"", WORKERS[w], command, answer);
            tried += !container;
            free(answer);
        }
    }
    free(all);
    print_message("%u commands were tried, and denied\n", tried);
    assert_true(tried > 3 * 200);
}

/* ---- logging in ---- */

static void test_who_may_come_in(void **state)
{
    struct souk *souk = *state;
    struct redis_fixture *shard = souk_shard(souk, 0);
    const struct redis_login nobody = {"default", ""}, wrong = {"souk-order", "0123456789abcdef0123456789abcdef"}, probe = {"souk-probe", "any"};
    assert_null(redis_cmd_as(shard, &nobody, (const char *const[]){"PING", NULL}));
    assert_null(redis_cmd_as(shard, &wrong, (const char *const[]){"PING", NULL}));
    assert_answer(redis_cmd_as(shard, NULL, (const char *const[]){"PING", NULL}), "-NOAUTH", "nobody", "PING");
    assert_answer(redis_cmd_as(shard, &probe, (const char *const[]){"PING", NULL}), "PONG", "souk-probe", "PING");
    assert_answer(redis_cmd_as(shard, &probe, (const char *const[]){"INFO", NULL}), "-NOPERM", "souk-probe", "INFO");
}

static void write_file(const char *path, const char *first, const char *second)
{
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fprintf(file, "%s\n%s%s", first, second, *second ? "\n" : "");
    fclose(file);
}

static void reload_users(struct souk *souk)
{
    shard_users_render(souk_users(souk));
    for (unsigned i = 0; i < souk_shard_count(souk); i++)
        free(redis_cmd_as(souk_shard(souk, i), shard_users_login(souk_users(souk), "souk-loader"), (const char *const[]){"ACL", "LOAD", NULL}));
}

static bool comes_in(struct souk *souk, const char *password)
{
    char *pong = redis_cmd_as(souk_shard(souk, 0), &(struct redis_login){"souk-product", password}, (const char *const[]){"PING", NULL});
    bool in = pong && strcmp(pong, "PONG") == 0;
    free(pong);
    return in;
}

/* The new one beside the old, then the workers, then the new one alone. Workers take the first line. */
static void test_a_password_is_changed_in_use(void **state)
{
    struct souk *souk = *state;
    static const char NEW[] = "a new password, 32 characters …";
    const char *file = shard_users_password_file(souk_users(souk), "souk-product");
    char *old = strdup(shard_users_login(souk_users(souk), "souk-product")->password);
    write_file(file, old, NEW);
    reload_users(souk);
    assert_true(comes_in(souk, old));
    assert_true(comes_in(souk, NEW));
    write_file(file, NEW, old);
    souk_restart(souk, SOUK_PRODUCT);
    write_file(file, NEW, "");
    reload_users(souk);
    assert_false(comes_in(souk, old));
    assert_true(comes_in(souk, NEW));
    souk_restart(souk, SOUK_PRODUCT);
    product_put(souk, product_on(souk, 0, 0), 5);
    write_file(file, old, "");
    reload_users(souk);
    free(old);
    souk_restart(souk, SOUK_PRODUCT);
}

/* ---- what render-users does not take ---- */

static void test_bad_passwords_are_told(void **state)
{
    static const struct {
        const char *file, *text, *want; /* text NULL: there is no such file */
    } cases[] = {
        {"souk-order", NULL, "souk-order, the password of souk-order"},
        {"souk-order", "", "souk-order is empty"},
        {"souk-order", "\n\n", "souk-order is empty"},
        {"souk-order", "short", "has 5 characters; it must have 16 to 255"},
        {"souk-admin", "short", "has 5 characters; it must have"},
    };
    char dir[200], command[1024], path[256], said[1024];
    assert_true(scratch_dir(dir, sizeof(dir), "souk-users"));
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        snprintf(command, sizeof(command), "rm -rf %s/p && '%s/deploy/redis/make-passwords' %s/p >/dev/null", dir, SOUK_SOURCE, dir);
        assert_int_equal(system(command), 0);
        snprintf(path, sizeof(path), "%s/p/%s", dir, cases[i].file);
        unlink(path);
        if (cases[i].text) {
            FILE *file = fopen(path, "w");
            fputs(cases[i].text, file);
            fclose(file);
        }
        snprintf(command, sizeof(command), "'%s/deploy/redis/render-users' %s/p %s/out 2>&1", SOUK_SOURCE, dir, dir);
        FILE *from = popen(command, "r");
        said[fread(said, 1, sizeof(said) - 1, from)] = '\0';
        int status = pclose(from);
        if (WEXITSTATUS(status) != 1 || strstr(said, cases[i].want) == NULL)
            fail_msg("exit status %d and \"%s\", expected \"%s\"", WEXITSTATUS(status), said, cases[i].want);
        snprintf(path, sizeof(path), "%s/out", dir);
        assert_int_equal(access(path, F_OK), -1);
    }
    snprintf(command, sizeof(command), "rm -r %s", dir);
    assert_int_equal(system(command), 0);
}

/* ---- two versions ---- */

/* The program of another version: the same one with another hash in the names of its functions. */
static char *other_version(struct souk *souk, const char *program)
{
    char *path = NULL, command[2048];
    assert_true(asprintf(&path, "%s/other-%s", souk_dir(souk), program) > 0);
    snprintf(command, sizeof(command),
             "hash=$(grep -aom1 'name=souk_[0-9a-f]\\{8\\}' '%s/%s' | head -c 18 | tail -c 8) && LC_ALL=C sed \"s/$hash/0the7ver/g\" '%s/%s' >'%s' "
             "&& chmod +x '%s'",
             SOUK_BIN, program, SOUK_BIN, program, path, path);
    assert_int_equal(system(command), 0);
    return path;
}

static unsigned libraries_on(struct souk *souk, unsigned shard)
{
    char *list = REDIS(souk_shard(souk, shard), "FUNCTION", "LIST", "LIBRARYNAME", "souk_*");
    unsigned count = 0;
    for (char *at = list; (at = strstr(at, "library_name\n")); at++)
        count++;
    free(list);
    return count;
}

static void assert_libraries(struct souk *souk, unsigned count)
{
    for (unsigned i = 0; i < souk_shard_count(souk); i++)
        assert_int_equal(libraries_on(souk, i), count);
}

static void assert_orders_at(struct souk *souk, int worker, const char *key)
{
    struct post post;
    post_set(&post, souk_url(souk, worker), "/orders", key,
             "{\"user\":\"ann\",\"items\":[{\"product_id\":%lld,\"quantity\":1},{\"product_id\":%lld,\"quantity\":1}]}",
             (long long)product_on(souk, 0, 1), (long long)product_on(souk, 1, 1));
    struct response *response = post_send(souk_client(souk), &post);
    assert_status(response, 201);
    response_free(response);
}

static bool is_without_library(void *cookie)
{
    char *log = souk_log(cookie, SOUK_ROLES);
    bool said = strstr(log, "souk_0the7ver is missing and could not be loaded (NOPERM") && strstr(log, "run \"soukctl load\"");
    free(log);
    return said;
}

/* The shards have souk_HASH of this version, souk_operator, and for a while souk_HASH of another. */
static void test_two_versions_side_by_side(void **state)
{
    struct souk *souk = *state;
    char *control = other_version(souk, "soukctl"), *worker = other_version(souk, "souk-order");
    product_put(souk, product_on(souk, 0, 1), 100);
    product_put(souk, product_on(souk, 1, 1), 100);
    assert_libraries(souk, 2);
    int other = souk_add(souk, SOUK_ORDER);
    souk_set_program(souk, other, worker);
    souk_launch(souk, other);
    assert_true(souk_wait(is_without_library, souk, 5000)); /* its user may not load it: the loader comes first */
    assert_int_equal(SOUK_RUN(souk, control, "souk-loader", "load"), 0);
    assert_true(souk_wait_ready(souk, other, 5000));
    assert_libraries(souk, 3);
    assert_orders_at(souk, SOUK_ORDER, "side-1");
    assert_orders_at(souk, other, "side-2");

    /* In use: it stays, for whichever version prunes. */
    assert_int_equal(SOUK_RUN(souk, "soukctl", "souk-loader", "--unused-h=0", "prune"), 0);
    assert_int_equal(SOUK_RUN(souk, control, "souk-loader", "--unused-h=0", "prune"), 0);
    assert_libraries(souk, 3);
    assert_orders_at(souk, other, "side-3");

    /* Not in use: it stays for a day, and then it goes. */
    souk_terminate(souk, other, 12000);
    assert_int_equal(SOUK_RUN(souk, "soukctl", "souk-loader", "prune"), 0);
    assert_libraries(souk, 3);
    assert_int_equal(SOUK_RUN(souk, "soukctl", "souk-loader", "--unused-h=0", "prune"), 0);
    assert_libraries(souk, 2);
    assert_orders_at(souk, SOUK_ORDER, "side-4");

    /* A way back: loaded again, it works again. */
    assert_int_equal(SOUK_RUN(souk, control, "souk-loader", "load"), 0);
    souk_restart(souk, other);
    assert_orders_at(souk, other, "side-5");
    assert_true(souk_audit(souk));
    free(control);
    free(worker);
}

/* What functions wrote is in the append-only file between MULTI and EXEC, and is read from there as the user "default" (deploy/redis/users). */
static void test_a_restart_keeps_what_functions_wrote(void **state)
{
    struct souk *souk = *state;
    int64_t product = product_on(souk, 0, 2);
    product_put(souk, product, 77);
    souk_kill_shard(souk, 0);
    souk_restart_shard(souk, 0);
    assert_int_equal(stock_of(souk, product, "on_hand"), 77);
    souk_mend(souk);
}

/* A connection of a worker that does not say its library: nothing goes. */
static void test_prune_leaves_what_it_does_not_know(void **state)
{
    struct souk *souk = *state;
    char *control = other_version(souk, "soukctl");
    assert_int_equal(SOUK_RUN(souk, control, "souk-loader", "load"), 0);
    struct redisContext *silent = redis_connect_as(souk_shard(souk, 1), shard_users_login(souk_users(souk), "souk-payment"));
    assert_non_null(silent);
    unsigned before = libraries_on(souk, 0);
    assert_int_equal(SOUK_RUN(souk, "soukctl", "souk-loader", "--unused-h=0", "prune"), 1);
    assert_libraries(souk, before);
    redis_disconnect(silent);
    free(control);
}

/* ---- the loader's own look ---- */

static void test_the_loader_refuses_unsafe_shards(void **state)
{
    static const struct {
        const char *name, *value, *safe, *want;
    } cases[] = {
        {"maxmemory-policy", "allkeys-lru", "noeviction", "maxmemory-policy allkeys-lru: it would delete orders"},
        {"appendfsync", "no", "always", "appendfsync no, and SOUK_FSYNC=everysec wants at least that"},
        {"no-appendfsync-on-rewrite", "yes", "no", "no-appendfsync-on-rewrite yes: while its file is rewritten"},
        {"appendonly", "no", "yes", "appendonly no: it keeps nothing on disk"},
        {"aof-load-truncated", "yes", "no", "aof-load-truncated yes: when its machine fails while it writes"},
    };
    struct souk *souk = *state;
    char path[512], said[65536];
    snprintf(path, sizeof(path), "%s/soukctl.log", souk_dir(souk));
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        REDIS_DO(souk_shard(souk, 1), "CONFIG", "SET", cases[i].name, cases[i].value);
        assert_int_equal(souk_control(souk, i % 2 ? "init" : "load"), 1);
        REDIS_DO(souk_shard(souk, 1), "CONFIG", "SET", cases[i].name, cases[i].safe);
        FILE *file = fopen(path, "r");
        said[fread(said, 1, sizeof(said) - 1, file)] = '\0';
        fclose(file);
        if (strstr(said, cases[i].want) == NULL)
            fail_msg("soukctl does not say \"%s\", but: %s", cases[i].want, said);
    }
    REDIS_DO(souk_shard(souk, 1), "CONFIG", "SET", "appendfsync", "everysec");
    assert_int_equal(souk_control(souk, "load"), 0);
    char *recorded = REDIS(souk_shard(souk, 1), "HGET", "souk:shard", "appendfsync");
    assert_string_equal(recorded, "everysec");
    free(recorded);
    REDIS_DO(souk_shard(souk, 1), "CONFIG", "SET", "appendfsync", "always");
    assert_int_equal(souk_control(souk, "load"), 0);
}

static int setup(void **state)
{
    *state = start();
    return 0;
}

/* What was denied on purpose is no complaint. */
static int teardown(void **state)
{
    struct souk *souk = *state;
    for (unsigned i = 0; i < souk_shard_count(souk); i++)
        free(REDIS(souk_shard(souk, i), "ACL", "LOG", "RESET"));
    return souk_stop(souk) ? -1 : 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_keys_are_whose_the_document_says),
        cmocka_unit_test(test_what_nobody_may_do),
        cmocka_unit_test(test_all_other_commands_are_denied),
        cmocka_unit_test(test_who_may_come_in),
        cmocka_unit_test(test_bad_passwords_are_told),
        cmocka_unit_test(test_a_restart_keeps_what_functions_wrote),
        cmocka_unit_test(test_two_versions_side_by_side),
        cmocka_unit_test(test_prune_leaves_what_it_does_not_know),
        cmocka_unit_test(test_the_loader_refuses_unsafe_shards),
        cmocka_unit_test(test_a_password_is_changed_in_use),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
