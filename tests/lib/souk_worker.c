#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "clock.h"

#include "client.h"
#include "launch.h"
#include "shard_users.h"

#include "souk_fixture_internal.h"

#define ARGUMENTS_MAX 8

static const char *const PROGRAMS[SOUK_ROLES] = {"souk-product", "souk-order", "souk-payment", "souk-sandbox"};

/* ---- processes ---- */

static void put_all(struct environment *environment, const char *const *rows)
{
    for (; rows && *rows; rows++)
        environment_put(environment, *rows);
}

static void make_environment(struct environment *environment, const struct souk *souk, const struct worker *worker, const char *user)
{
    char text[512];

    environment_copy(environment);
    snprintf(text, sizeof(text), "%d", worker->port.number);
    environment_set(environment, "SOUK_HTTP_PORT", text);
    environment_set(environment, "SOUK_HTTP_ADDRESS", "127.0.0.1");
    environment_set(environment, "SOUK_SHARDS", souk->shards_text);
    snprintf(text, sizeof(text), "%d", SOUK_PARTITIONS);
    environment_set(environment, "SOUK_PARTITIONS", text);
    environment_set(environment, "SOUK_RING_EPOCH", "1");
    if (user) {
        environment_set(environment, "SOUK_REDIS_USER", user);
        environment_set(environment, "SOUK_REDIS_PASSWORD_FILE", shard_users_password_file(souk->users, user));
    }
    if (souk->used[SOUK_SANDBOX])
        environment_set(environment, "SOUK_GATEWAY_URL", souk->workers[SOUK_SANDBOX].url);
    snprintf(text, sizeof(text), "%s/journal", souk->dir);
    environment_set(environment, "SOUK_JOURNAL", text);
    if (souk->tokens) {
        snprintf(text, sizeof(text), "%s/tokens", souk->dir);
        environment_set(environment, "SOUK_TOKENS_FILE", text);
    }
    put_all(environment, souk->settings.env);
    put_all(environment, worker->env);
}

pid_t program_launch(const struct souk *souk, const struct worker *worker, const char *user, const char *program, const char *const *arguments,
                     const char *log)
{
    struct environment environment;
    char path[512];
    const char *command[ARGUMENTS_MAX + 2] = {path};
    pid_t pid;

    snprintf(path, sizeof(path), "%s%s", program[0] == '/' ? "" : SOUK_BIN "/", program);
    for (int i = 0; arguments && arguments[i] && i < ARGUMENTS_MAX; i++)
        command[i + 1] = arguments[i];
    make_environment(&environment, souk, worker, user);
    pid = launch(&(struct launch){.command = command, .output = log, .environment = &environment});
    environment_free(&environment);
    if (pid < 0)
        fixture_fail("cannot fork: %s", strerror(errno));
    return pid;
}

/* Has the worker ended? Notes that it did, and complains if nobody had told it to. */
bool worker_has_ended(struct souk *souk, struct worker *worker)
{
    int status;

    if (worker->pid != 0 && waitpid(worker->pid, &status, WNOHANG) == worker->pid) {
        worker->pid = 0;
        if (worker->wanted) {
            fixture_complain(souk, "%s ended by itself (%s %d)", worker->name, WIFSIGNALED(status) ? "signal" : "exit status",
                             WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
            fixture_show_log(worker->log);
        }
        worker->wanted = false;
    }
    return worker->pid == 0;
}

bool souk_has(const struct souk *souk, int number)
{
    return number >= 0 && number < SOUK_WORKERS_MAX && souk->used[number];
}

struct worker *worker_at(const struct souk *souk, int number)
{
    if (!souk_has(souk, number))
        fixture_fail("there is no worker %d in this fixture", number);
    return (struct worker *)&souk->workers[number];
}

void souk_set_env(struct souk *souk, int number, const char *const *env)
{
    worker_at(souk, number)->env = env;
}

void souk_set_program(struct souk *souk, int number, const char *path)
{
    worker_at(souk, number)->program = path;
}

bool souk_has_died(struct souk *souk, int number, int *status)
{
    struct worker *worker = worker_at(souk, number);

    if (worker->pid == 0 || waitpid(worker->pid, status, WNOHANG) != worker->pid)
        return false;
    worker->pid = 0;
    worker->wanted = false;
    return true;
}

void souk_kill(struct souk *souk, int number)
{
    struct worker *worker = worker_at(souk, number);

    if (!worker_has_ended(souk, worker)) {
        worker->wanted = false;
        kill(worker->pid, SIGKILL);
        waitpid(worker->pid, NULL, 0);
        worker->pid = 0;
    }
    worker->paused = false;
}

bool program_ended(void *cookie)
{
    struct ending *ending = cookie;

    return waitpid(ending->pid, &ending->status, WNOHANG) == ending->pid;
}

int souk_terminate(struct souk *souk, int number, int ms)
{
    struct worker *worker = worker_at(souk, number);
    struct ending ending = {.pid = worker->pid};

    if (worker_has_ended(souk, worker))
        return -1;
    souk_resume(souk, number);
    worker->wanted = false;
    kill(worker->pid, SIGTERM);
    if (!souk_wait(program_ended, &ending, ms)) {
        souk_kill(souk, number);
        return -1;
    }
    worker->pid = 0;
    return WIFSIGNALED(ending.status) ? 128 + WTERMSIG(ending.status) : WEXITSTATUS(ending.status);
}

/* A signal takes effect a moment after kill() returns: waits for the change of state. */
void souk_pause(struct souk *souk, int number)
{
    struct worker *worker = worker_at(souk, number);

    if (!worker_has_ended(souk, worker) && !worker->paused) {
        kill(worker->pid, SIGSTOP);
        waitpid(worker->pid, NULL, WUNTRACED);
        worker->paused = true;
    }
}

void souk_resume(struct souk *souk, int number)
{
    struct worker *worker = worker_at(souk, number);

    if (!worker_has_ended(souk, worker) && worker->paused) {
        kill(worker->pid, SIGCONT);
        waitpid(worker->pid, NULL, WCONTINUED);
    }
    worker->paused = false;
}

void souk_launch(struct souk *souk, int number)
{
    struct worker *worker = worker_at(souk, number);
    const char *user = worker->role == SOUK_SANDBOX ? NULL : PROGRAMS[worker->role];

    souk_kill(souk, number);
    worker->pid = program_launch(souk, worker, user, worker->program ? worker->program : PROGRAMS[worker->role], NULL, worker->log);
    worker->wanted = true;
}

/* ---- readiness ---- */

struct readiness {
    struct souk *souk;
    struct worker *worker;
    bool ready;
};

/* A worker stays ready while a shard is away; tests wait for all of them. */
static bool has_all_shards(const struct response *response)
{
    const char *name;
    json_t *state;

    json_object_foreach(json_at(response->json, "shards"), name, state)
    {
        const char *text = json_string_value(state), *end = strstr(text, ": ready");

        if (!end || end[strlen(": ready")] != '\0')
            return false;
    }
    return true;
}

static bool ready_or_dead(void *cookie)
{
    struct readiness *readiness = cookie;
    char url[128];
    struct client_request request = {.method = "GET", .url = url, .timeout_ms = 2000};

    if (worker_has_ended(readiness->souk, readiness->worker))
        return true;
    /* The test gateway is no service with shards to be ready for; that it answers is enough. */
    snprintf(url, sizeof(url), "%s/readyz", readiness->worker->url);
    struct response *response = client_send(readiness->souk->client, &request);
    readiness->ready = (response->status == 200 && has_all_shards(response)) || (readiness->worker->role == SOUK_SANDBOX && response->status != 0);
    response_free(response);
    return readiness->ready;
}

bool souk_wait_ready(struct souk *souk, int number, int ms)
{
    struct readiness readiness = {.souk = souk, .worker = worker_at(souk, number)};

    souk_wait(ready_or_dead, &readiness, ms);
    if (!readiness.ready && readiness.worker->pid != 0) /* of one that has died it has been shown */
        fixture_show_log(readiness.worker->log);
    return readiness.ready;
}

void worker_must_be_ready(struct souk *souk, int number)
{
    if (!souk_wait_ready(souk, number, READY_MS))
        fixture_fail("%s is not ready after %d ms, or has died; its log is above", souk->workers[number].name, READY_MS);
}

void souk_restart(struct souk *souk, int number)
{
    souk_launch(souk, number);
    worker_must_be_ready(souk, number);
}

void worker_init(struct souk *souk, int number, enum souk_role role)
{
    struct worker *worker = &souk->workers[number];

    souk->used[number] = true;
    worker->role = role;
    worker->port = port_take();
    worker->name = number < SOUK_ROLES ? fixture_text("%s", PROGRAMS[role]) : fixture_text("%s.%d", PROGRAMS[role], number);
    worker->log = fixture_text("%s/%s.log", souk->dir, worker->name);
    snprintf(worker->url, sizeof(worker->url), "http://127.0.0.1:%d", worker->port.number);
}

void worker_free(struct worker *worker)
{
    port_release(&worker->port);
    free(worker->name);
    free(worker->log);
}

int souk_add(struct souk *souk, enum souk_role role)
{
    return souk_add_with(souk, role, NULL);
}

int souk_add_with(struct souk *souk, enum souk_role role, const char *const *env)
{
    int number = souk->worker_count++;

    if (number >= SOUK_WORKERS_MAX)
        fixture_fail("there are %d workers already", SOUK_WORKERS_MAX);
    worker_init(souk, number, role);
    souk->workers[number].env = env;
    souk_restart(souk, number);
    return number;
}
