#include <errno.h>
#include <ftw.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <hiredis/hiredis.h>

#include "launch.h"
#include "port.h"
#include "redis_fixture.h"
#include "scratch_dir.h"

#define ARGS_MAX 64
#define START_MS 10000
#define SOUK_SHARD SOUK_BIN "/souk-shard"

struct redis_fixture {
    pid_t pid; /* 0: it does not run */
    struct port port;
    char dir[256];
    const char *const *extra_args;
    const char *library, *variable;  /* see redis_preload; NULL: none */
    const struct redis_login *login; /* NULL: the server has no users */
    char primary_port[16];           /* of the server that this one is a replica of; empty: none */
};

static void fail(const char *format, ...) __attribute__((format(printf, 1, 2), noreturn));

static void fail(const char *format, ...)
{
    va_list args;

    fprintf(stderr, "redis_fixture: ");
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fprintf(stderr, "\n");
    abort();
}

static int64_t now_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* A sanitizer's library in souk-shard wants to be the first; what we preload is before it and leaves its functions alone. */
static void preload(const struct redis_fixture *redis, struct environment *environment)
{
    const char *asan = getenv("ASAN_OPTIONS");
    char options[500];

    snprintf(options, sizeof(options), "%s%sverify_asan_link_order=0", asan ? asan : "", asan ? ":" : "");
    environment_set(environment, "ASAN_OPTIONS", options);
    environment_set(environment, "LD_PRELOAD", redis->library);
    environment_put(environment, redis->variable);
}

static pid_t launch_server(const struct redis_fixture *redis)
{
    const char *command[ARGS_MAX] = {SOUK_SHARD, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir", redis->dir};
    struct environment environment;
    char port[16];
    size_t count = 9;
    pid_t pid;

    snprintf(port, sizeof(port), "%d", redis->port.number);
    command[count++] = "--port";
    command[count++] = port;
    if (redis->primary_port[0]) {
        command[count++] = "--replicaof";
        command[count++] = "127.0.0.1";
        command[count++] = redis->primary_port;
    }
    for (size_t i = 0; redis->extra_args && redis->extra_args[i] && count < ARGS_MAX - 1; i++)
        command[count++] = redis->extra_args[i];
    environment_copy(&environment);
    if (redis->library)
        preload(redis, &environment);
    pid = launch(&(struct launch){.command = command, .directory = redis->dir, .output = "log", .environment = &environment});
    environment_free(&environment);
    return pid;
}

static bool answers(struct redis_fixture *redis)
{
    char *pong = REDIS(redis, "PING");
    bool answered = pong && strcmp(pong, "PONG") == 0;

    free(pong);
    return answered;
}

void redis_launch(struct redis_fixture *redis)
{
    redis_kill(redis);
    redis->pid = launch_server(redis);
    if (redis->pid < 0)
        fail("cannot fork: %s", strerror(errno));
}

bool redis_runs(struct redis_fixture *redis)
{
    if (redis->pid != 0 && waitpid(redis->pid, NULL, WNOHANG) == redis->pid)
        redis->pid = 0;
    return redis->pid != 0;
}

/* Returns false if the server ended at once, which it does when its port is taken. */
static bool begin(struct redis_fixture *redis)
{
    struct timespec moment = {0, 2000000};
    int64_t deadline = now_ms() + START_MS;

    redis_launch(redis);
    while (!answers(redis)) {
        if (!redis_runs(redis))
            return false;
        if (now_ms() > deadline)
            fail("redis-server in %s does not answer; its log is there", redis->dir);
        nanosleep(&moment, NULL);
    }
    return true;
}

static struct redis_fixture *start(const char *home, const char *const *extra_args, const struct redis_login *login,
                                   const struct redis_fixture *primary)
{
    struct redis_fixture *redis = calloc(1, sizeof(*redis));

    if (!redis)
        fail("no memory");
    redis->extra_args = extra_args;
    redis->login = login;
    snprintf(redis->dir, sizeof(redis->dir), "%s/souk-redis-XXXXXX", home ? home : scratch_home());
    if (!mkdtemp(redis->dir))
        fail("cannot make %s: %s", redis->dir, strerror(errno));
    if (primary)
        snprintf(redis->primary_port, sizeof(redis->primary_port), "%d", primary->port.number);
    redis->port = port_take();
    if (begin(redis))
        return redis;
    fail("redis-server does not start; see %s/log, or install the package redis-server", redis->dir);
}

struct redis_fixture *redis_start(const char *const *extra_args)
{
    return start(NULL, extra_args, NULL, NULL);
}

struct redis_fixture *redis_start_in(const char *home, const char *const *extra_args, const struct redis_login *login)
{
    return start(home, extra_args, login, NULL);
}

/* The primary has the last word: it counts a replica only from its first acknowledgement on, which may come a second after the link is up.
 * An acknowledgement needs something to acknowledge, so something is sent that leaves no trace. */
static void wait_for_link(struct redis_fixture *replica)
{
    struct redis_fixture primary = {.port.number = atoi(replica->primary_port), .login = replica->login};
    struct timespec moment = {0, 5000000};
    int64_t deadline = now_ms() + START_MS;
    char online[64], silent[80];

    snprintf(online, sizeof(online), "port=%d,state=online,offset=", replica->port.number);
    snprintf(silent, sizeof(silent), "%s0,", online);
    for (;;) {
        char *said = REDIS(&primary, "PUBLISH", "fixture", "is the replica there");
        char *info = REDIS(&primary, "INFO", "replication");
        bool up = info && strstr(info, online) && !strstr(info, silent);

        free(said);
        free(info);
        if (up)
            return;
        if (now_ms() > deadline)
            fail("the replica in %s does not reach its primary; its log is there", replica->dir);
        nanosleep(&moment, NULL);
    }
}

/* What a replica was sent at first it writes to its file in the background, and has nothing there before that is done. */
static void wait_for_file(struct redis_fixture *replica)
{
    struct timespec moment = {0, 10000000};
    int64_t deadline = now_ms() + START_MS;
    bool whole = false;

    while (!whole) {
        char *info = REDIS(replica, "INFO", "persistence");

        whole = info && strstr(info, "loading:0") && strstr(info, "aof_rewrite_in_progress:0") && strstr(info, "aof_rewrite_scheduled:0");
        free(info);
        if (!whole && now_ms() > deadline)
            fail("the replica in %s does not come to the end of writing its file; its log is there", replica->dir);
        nanosleep(&moment, NULL);
    }
}

/* Unless told so a primary waits 5 s for more replicas before it sends its data to the first. */
struct redis_fixture *redis_start_replica(struct redis_fixture *primary, const char *const *extra_args)
{
    struct redis_fixture *replica;

    REDIS_DO(primary, "CONFIG", "SET", "repl-diskless-sync-delay", "0");
    replica = start(NULL, extra_args, primary->login, primary);
    wait_for_link(replica);
    wait_for_file(replica);
    return replica;
}

void redis_promote(struct redis_fixture *replica)
{
    replica->primary_port[0] = '\0';
    redis_restart(replica);
}

void redis_preload(struct redis_fixture *redis, const char *library, const char *variable)
{
    redis->library = library;
    redis->variable = variable;
}

int redis_port(const struct redis_fixture *redis)
{
    return redis->port.number;
}

const char *redis_dir(const struct redis_fixture *redis)
{
    return redis->dir;
}

void redis_kill(struct redis_fixture *redis)
{
    if (redis->pid == 0)
        return;
    kill(redis->pid, SIGKILL);
    waitpid(redis->pid, NULL, 0);
    redis->pid = 0;
}

void redis_restart(struct redis_fixture *redis)
{
    redis_kill(redis);
    if (!begin(redis))
        fail("redis-server does not start again on port %d; see %s/log", redis->port.number, redis->dir);
    if (redis->primary_port[0])
        wait_for_link(redis);
}

/* A signal takes effect a moment after kill() returns: waits for the change of state, so that the test does not race with it. */
static void signal_and_wait(struct redis_fixture *redis, int signum, int option)
{
    int status;

    if (redis->pid == 0)
        return;
    kill(redis->pid, signum);
    if (waitpid(redis->pid, &status, option) != redis->pid)
        fail("cannot send signal %d to redis-server: %s", signum, strerror(errno));
    if (WIFEXITED(status) || WIFSIGNALED(status))
        redis->pid = 0;
}

void redis_pause(struct redis_fixture *redis)
{
    signal_and_wait(redis, SIGSTOP, WUNTRACED);
}

void redis_resume(struct redis_fixture *redis)
{
    signal_and_wait(redis, SIGCONT, WCONTINUED);
}

static int remove_one(const char *path, const struct stat *status, int type, struct FTW *walk)
{
    return remove(path);
}

void redis_stop(struct redis_fixture *redis)
{
    if (!redis)
        return;
    redis_kill(redis);
    port_release(&redis->port);
    nftw(redis->dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    free(redis);
}

static void print_reply(FILE *out, const redisReply *reply)
{
    switch (reply->type) {
    case REDIS_REPLY_INTEGER:
        fprintf(out, "%lld", reply->integer);
        break;
    case REDIS_REPLY_NIL:
        fprintf(out, "(nil)");
        break;
    case REDIS_REPLY_ARRAY:
        for (size_t i = 0; i < reply->elements; i++) {
            fprintf(out, "%s", i > 0 ? "\n" : "");
            print_reply(out, reply->element[i]);
        }
        break;
    case REDIS_REPLY_ERROR:
        fprintf(out, "-");
        /* fall through */
    default:
        fwrite(reply->str, 1, reply->len, out);
    }
}

static char *text_of(const redisReply *reply)
{
    char *text = NULL;
    size_t len;
    FILE *out = open_memstream(&text, &len);

    if (!out)
        fail("no memory");
    print_reply(out, reply);
    fclose(out);
    return text;
}

static bool log_in(redisContext *link, const struct redis_login *login)
{
    redisReply *reply = redisCommand(link, "AUTH %s %s", login->user, login->password);
    bool in = reply && reply->type != REDIS_REPLY_ERROR;

    freeReplyObject(reply);
    return in;
}

redisContext *redis_connect_as(const struct redis_fixture *redis, const struct redis_login *login)
{
    redisContext *link = redisConnectWithTimeout("127.0.0.1", redis->port.number, (struct timeval){10, 0});

    if (link && !link->err && redisSetTimeout(link, (struct timeval){10, 0}) == REDIS_OK && (!login || log_in(link, login)))
        return link;
    redisFree(link);
    return NULL;
}

redisContext *redis_connect(const struct redis_fixture *redis)
{
    return redis_connect_as(redis, redis->login);
}

void redis_disconnect(redisContext *link)
{
    redisFree(link);
}

char *redis_cmd_on(redisContext *link, const char *const *argv)
{
    redisReply *reply;
    char *text = NULL;
    int argc = 0;

    while (argv[argc])
        argc++;
    reply = redisCommandArgv(link, argc, (const char **)argv, NULL);
    if (reply) {
        text = text_of(reply);
        freeReplyObject(reply);
    }
    return text;
}

char *redis_cmd_as(struct redis_fixture *redis, const struct redis_login *login, const char *const *argv)
{
    redisContext *link = redis_connect_as(redis, login);
    char *text = link ? redis_cmd_on(link, argv) : NULL;

    redisFree(link);
    return text;
}

char *redis_cmd(struct redis_fixture *redis, const char *const *argv)
{
    return redis_cmd_as(redis, redis->login, argv);
}

void redis_do(struct redis_fixture *redis, const char *const *argv)
{
    char *text = redis_cmd(redis, argv);

    if (!text || text[0] == '-')
        fail("%s: %s", argv[0], text ? text : "no answer");
    free(text);
}

/* As in shared/store/topology.h, which this library does not see; with another one no shard is ready. */
#define STORE_LAYOUT "2"

void redis_make_shard(struct redis_fixture *redis, const char *name, int partitions, long epoch)
{
    char partitions_text[16], epoch_text[32];

    snprintf(partitions_text, sizeof(partitions_text), "%d", partitions);
    snprintf(epoch_text, sizeof(epoch_text), "%ld", epoch);
    REDIS_DO(redis, "HSET", "souk:shard", "uuid", name, "name", name, "partitions", partitions_text, "epoch", epoch_text, "layout", STORE_LAYOUT,
             "appendfsync", "always");
}
