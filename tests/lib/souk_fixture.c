#include <errno.h>
#include <ftw.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "clock.h"
#include "topology.h"

#include "client.h"
#include "redis_fixture.h"
#include "scratch_dir.h"
#include "shard_users.h"

#include "souk_fixture_internal.h"

#define STOP_MS 12000
#define AUDIT_MS 10000

void fixture_fail(const char *format, ...)
{
    va_list args;

    fprintf(stderr, "souk_fixture: ");
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fprintf(stderr, "\n");
    abort();
}

void fixture_complain(struct souk *souk, const char *format, ...)
{
    va_list args;

    souk->wrong++;
    fprintf(stderr, "souk_fixture: ");
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fprintf(stderr, "\n");
}

char *fixture_text(const char *format, ...)
{
    char *text;
    va_list args;

    va_start(args, format);
    if (vasprintf(&text, format, args) < 0)
        fixture_fail("no memory");
    va_end(args);
    return text;
}

bool souk_wait(bool (*holds)(void *cookie), void *cookie, int ms)
{
    struct timespec moment = {0, 5000000};
    int64_t deadline = clock_us() + (int64_t)ms * 1000;

    while (!holds(cookie)) {
        if (clock_us() >= deadline)
            return false;
        nanosleep(&moment, NULL);
    }
    return true;
}

char *fixture_file(const char *path)
{
    FILE *file = fopen(path, "r");
    char *text = NULL, piece[4096];
    size_t len, n;
    FILE *out = open_memstream(&text, &len);

    while (file && (n = fread(piece, 1, sizeof(piece), file)) > 0)
        fwrite(piece, 1, n, out);
    if (file)
        fclose(file);
    fclose(out);
    return text;
}

void fixture_show_log(const char *path)
{
    char *text = fixture_file(path);
    size_t len = strlen(text);

    fprintf(stderr, "---- the end of %s:\n%s----\n", path, len > 3000 ? text + len - 3000 : text);
    free(text);
}

/* ---- start ---- */

/* The settings and users that are shipped, then what the test wants. */
static void make_shard_args(struct souk *souk)
{
    const char *const *more = souk->settings.shard_args;
    const struct redis_login *replica = shard_users_login(souk->users, "souk-replica");
    const char *const ours[] = {"--include",    SOUK_REDIS_CONF, "--aclfile",    shard_users_file(souk->users),
                                "--masteruser", replica->user,   "--masterauth", replica->password};
    size_t count = 0;

    for (; count < sizeof(ours) / sizeof(*ours); count++)
        souk->shard_args[count] = ours[count];
    while (more && *more && count < SHARD_ARGS_MAX - 1)
        souk->shard_args[count++] = *more++;
}

/* The ring as workers are told it from their next start on. */
static void name_shards(struct souk *souk)
{
    const char *error = NULL;
    size_t len = 0;

    for (unsigned i = 0; i < souk->settings.shards; i++)
        len += (size_t)snprintf(souk->shards_text + len, sizeof(souk->shards_text) - len, "%sshard-%u=127.0.0.1:%d", i ? "," : "", i + 1,
                                redis_port(souk->shards[i]));
    topology_free(souk->topology);
    souk->topology = topology_new(souk->shards_text, SOUK_PARTITIONS, 1, &error);
    if (souk->topology == NULL)
        fixture_fail("no ring from \"%s\": %s", souk->shards_text, error);
}

static void start_shards(struct souk *souk)
{
    const struct redis_login *admin = shard_users_login(souk->users, "souk-admin");

    make_shard_args(souk);
    for (unsigned i = 0; i < souk->settings.shards; i++) {
        souk->shards[i] = redis_start_in(souk->settings.shard_home[i], souk->shard_args, admin);
        if (souk->settings.replicas)
            souk->replicas[i] = redis_start_replica(souk->shards[i], souk->shard_args);
    }
    name_shards(souk);
}

int souk_run(struct souk *souk, const char *program, const char *user, const char *const *arguments)
{
    struct worker nobody = {.port = 0};
    struct ending ending;
    char *log = fixture_text("%s/soukctl.log", souk->dir);

    ending.pid = program_launch(souk, &nobody, user, program, arguments, log);
    if (!souk_wait(program_ended, &ending, READY_MS)) {
        fixture_show_log(log);
        fixture_fail("%s does not end; its output is above", program);
    }
    free(log);
    return WIFEXITED(ending.status) ? WEXITSTATUS(ending.status) : 128;
}

int souk_control(struct souk *souk, const char *command)
{
    return SOUK_RUN(souk, "soukctl", "souk-loader", command);
}

static void init_shards(struct souk *souk)
{
    static const char *const commands[] = {"init", "load"};

    for (int i = 0; i < 2; i++) {
        if (souk_control(souk, commands[i]) != 0) {
            char *log = fixture_text("%s/soukctl.log", souk->dir);
            fixture_show_log(log);
            fixture_fail("soukctl %s did not set up the shards; its output is above", commands[i]);
        }
    }
}

struct shard_users *souk_users(struct souk *souk)
{
    return souk->users;
}

static void start_workers(struct souk *souk)
{
    souk->worker_count = SOUK_ROLES;
    for (int i = 0; i < SOUK_ROLES; i++)
        if (souk->settings.roles[i])
            worker_init(souk, i, (enum souk_role)i);
    for (int i = 0; i < SOUK_ROLES; i++)
        if (souk->used[i])
            souk_launch(souk, i);
    for (int i = 0; i < SOUK_ROLES; i++)
        if (souk->used[i])
            worker_must_be_ready(souk, i);
}

struct souk *souk_start(const struct souk_settings *settings)
{
    struct souk *souk = calloc(1, sizeof(*souk));

    if (souk == NULL)
        fixture_fail("no memory");
    souk->settings = *settings;
    if (souk->settings.shards == 0)
        souk->settings.shards = 3;
    if (souk->settings.shards > SOUK_SHARDS_MAX)
        fixture_fail("%u shards are more than %d", souk->settings.shards, SOUK_SHARDS_MAX);
    souk->settings.roles[SOUK_SANDBOX] |= souk->settings.roles[SOUK_PAYMENT];
    souk->dir = fixture_text("%s/souk-test-XXXXXX", scratch_home());
    if (!mkdtemp(souk->dir))
        fixture_fail("cannot make %s: %s", souk->dir, strerror(errno));
    souk->client = client_new();
    souk->users = shard_users_new(souk->dir);
    start_shards(souk);
    init_shards(souk);
    callers_start(souk);
    start_workers(souk);
    return souk;
}

/* ---- stop ---- */

/* The last two: Redis said what no row of classify.c names, or what only a fault of ours makes it say. */
static const char *const ALARMS[] = {
    "ERROR: AddressSanitizer", "runtime error:", "LeakSanitizer", "ThreadSanitizer", "CHECK failed", "gave an unclassified answer", "\": bug: ",
};

static void check_log(struct souk *souk, const struct worker *worker)
{
    char *text = fixture_file(worker->log);

    for (size_t i = 0; i < sizeof(ALARMS) / sizeof(*ALARMS); i++) {
        if (strstr(text, ALARMS[i])) {
            fixture_complain(souk, "the log of %s holds \"%s\"", worker->name, ALARMS[i]);
            fixture_show_log(worker->log);
            break;
        }
    }
    free(text);
}

static void stop_worker(struct souk *souk, int number)
{
    struct worker *worker = &souk->workers[number];

    if (!worker_has_ended(souk, worker)) {
        int status = souk_terminate(souk, number, STOP_MS);

        if (status < 0)
            fixture_complain(souk, "%s did not end within %d ms of SIGTERM", worker->name, STOP_MS);
        else if (status > 0)
            fixture_complain(souk, "%s ended with exit status %d after SIGTERM", worker->name, status);
        if (status != 0)
            fixture_show_log(worker->log);
    }
    check_log(souk, worker);
    worker_free(worker);
}

/*
 * What a shard has denied, each with the command and the user. Passwords are the business of the tests that give wrong ones; a worker whose library
 * is gone tries to load it, and is not meant to be able to.
 */
static void check_denied(struct souk *souk, unsigned shard)
{
    char *denied = REDIS(souk->shards[shard], "ACL", "LOG");
    unsigned count = 0;

    for (char *entry = denied; entry && (entry = strstr(entry, "reason\n")); entry++)
        count += strncmp(entry, "reason\nauth", 11) != 0 && strncmp(strstr(entry, "object\n"), "object\nfunction|load", 20) != 0;
    if (count)
        fixture_complain(souk, "shard-%u has denied %u times what our users wanted to do, the last of it:\n%s", shard + 1, count, denied);
    free(denied);
}

static int remove_one(const char *path, const struct stat *status, int type, struct FTW *walk)
{
    return remove(path);
}

unsigned souk_stop(struct souk *souk)
{
    unsigned wrong;

    if (souk == NULL)
        return 0;
    for (int i = SOUK_WORKERS_MAX - 1; i >= 0; i--)
        if (souk->used[i] && i != SOUK_SANDBOX)
            stop_worker(souk, i);
    if (souk->used[SOUK_SANDBOX])
        stop_worker(souk, SOUK_SANDBOX);
    for (unsigned i = 0; i < souk->settings.shards; i++) {
        check_denied(souk, i);
        redis_stop(souk->replicas[i]);
        redis_stop(souk->shards[i]);
    }
    callers_end(souk);
    topology_free(souk->topology);
    client_free(souk->client);
    shard_users_free(souk->users);
    wrong = souk->wrong;
    if (wrong == 0 && !souk->keep)
        nftw(souk->dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    else
        fprintf(stderr, "souk_fixture: the logs are in %s\n", souk->dir);
    free(souk->dir);
    free(souk);
    return wrong;
}

void souk_keep(struct souk *souk)
{
    souk->keep = true;
}

/* Not while one of the shards still reads its file. */
static bool library_is_loaded(void *cookie)
{
    return souk_control(cookie, "load") == 0;
}

void souk_mend(struct souk *souk)
{
    for (unsigned i = 0; i < souk->settings.shards; i++) {
        char *pong;

        souk_resume_shard(souk, i);
        pong = REDIS(souk->shards[i], "PING");
        if (pong == NULL)
            redis_restart(souk->shards[i]);
        free(pong);
    }
    souk_wait(library_is_loaded, souk, READY_MS);
    for (int i = 0; i < SOUK_WORKERS_MAX; i++) {
        if (souk->used[i])
            souk_resume(souk, i);
        if (souk->used[i] && worker_has_ended(souk, &souk->workers[i]))
            souk_launch(souk, i);
    }
    for (int i = 0; i < SOUK_WORKERS_MAX; i++)
        if (souk->used[i])
            worker_must_be_ready(souk, i);
}

/* ---- looking ---- */

const char *souk_url(const struct souk *souk, int number)
{
    return worker_at(souk, number)->url;
}

int souk_worker_port(const struct souk *souk, int number)
{
    return worker_at(souk, number)->port.number;
}

pid_t souk_pid(const struct souk *souk, int number)
{
    return worker_at(souk, number)->pid;
}

const char *souk_dir(const struct souk *souk)
{
    return souk->dir;
}

struct client *souk_client(struct souk *souk)
{
    return souk->client;
}

struct redis_fixture *souk_shard(struct souk *souk, unsigned shard)
{
    if (shard >= souk->settings.shards)
        fixture_fail("there is no shard %u in this fixture", shard);
    return souk->shards[shard];
}

void souk_promote(struct souk *souk, unsigned shard)
{
    struct redis_fixture *replica = souk_replica(souk, shard);

    redis_stop(souk->shards[shard]);
    redis_promote(replica);
    souk->shards[shard] = replica;
    souk->replicas[shard] = redis_start_replica(replica, souk->shard_args);
    name_shards(souk);
}

struct redis_fixture *souk_replica(struct souk *souk, unsigned shard)
{
    if (shard >= souk->settings.shards || souk->replicas[shard] == NULL)
        fixture_fail("there is no replica of shard %u in this fixture", shard);
    return souk->replicas[shard];
}

unsigned souk_shard_count(const struct souk *souk)
{
    return souk->settings.shards;
}

void souk_pause_shard(struct souk *souk, unsigned shard)
{
    if (!souk->shard_paused[shard]) {
        redis_pause(souk_shard(souk, shard));
        souk->shard_paused[shard] = true;
    }
}

void souk_resume_shard(struct souk *souk, unsigned shard)
{
    if (souk->shard_paused[shard]) {
        redis_resume(souk_shard(souk, shard));
        souk->shard_paused[shard] = false;
    }
}

void souk_kill_shard(struct souk *souk, unsigned shard)
{
    redis_kill(souk_shard(souk, shard));
    souk->shard_paused[shard] = false;
}

void souk_restart_shard(struct souk *souk, unsigned shard)
{
    souk_kill_shard(souk, shard);
    redis_restart(souk_shard(souk, shard));
}

void souk_launch_shard(struct souk *souk, unsigned shard)
{
    souk_kill_shard(souk, shard);
    redis_launch(souk_shard(souk, shard));
}

unsigned souk_shard_of(const struct souk *souk, int64_t id)
{
    return souk->topology->owner[topology_partition_of_id(souk->topology, id)];
}

unsigned souk_shard_of_text(const struct souk *souk, const char *text)
{
    return souk->topology->owner[topology_partition_of_text(souk->topology, view_of(text))];
}

char *souk_log(const struct souk *souk, int number)
{
    return fixture_file(worker_at(souk, number)->log);
}

char *souk_journal(const struct souk *souk)
{
    char *path = fixture_text("%s/journal", souk->dir), *text = fixture_file(path);

    free(path);
    return text;
}

/* ---- audit ---- */

struct audit {
    struct souk *souk;
    char *last; /* the last answer */
};

static bool audit_is_fine(void *cookie)
{
    struct audit *audit = cookie;
    char url[128];
    char *caller = fixture_text("Authorization: Bearer %s", audit->souk->token ? audit->souk->token : "");
    const char *const headers[] = {audit->souk->token ? caller : NULL, NULL};
    struct client_request request = {.method = "GET", .url = url, .headers = headers};
    bool fine;

    snprintf(url, sizeof(url), "%s/admin/audit", souk_url(audit->souk, SOUK_ORDER));
    struct response *response = client_send(audit->souk->client, &request);
    fine = response->status == 200 && json_is_true(json_at(response->json, "ok"));
    free(audit->last);
    audit->last = strdup(response->status ? response->body : response->error);
    response_free(response);
    free(caller);
    return fine;
}

bool souk_audit(struct souk *souk)
{
    struct audit audit = {.souk = souk};
    bool fine = souk_wait(audit_is_fine, &audit, AUDIT_MS);

    if (!fine)
        fprintf(stderr, "souk_fixture: the audit of %s does not come to \"ok\": %s\n", souk_url(souk, SOUK_ORDER), audit.last);
    free(audit.last);
    return fine;
}
