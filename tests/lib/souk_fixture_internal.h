#ifndef SOUK_FIXTURE_INTERNAL_H
#define SOUK_FIXTURE_INTERNAL_H

#include "port.h"
#include "souk_fixture.h"

/*
 *   souk_fixture.c   shards, start and stop, looking at what runs
 *   souk_worker.c    ports and processes of the workers
 *   souk_callers.c   who may ask them
 */
#define READY_MS 30000
#define SHARD_ARGS_MAX 32

struct shard_users;

struct worker {
    enum souk_role role;
    pid_t pid; /* 0: it does not run */
    struct port port;
    bool paused, wanted; /* wanted: it has not been told to end, so it must not have ended */
    char url[64], *name, *log;
    const char *const *env; /* for it alone; NULL: none */
    const char *program;    /* its path; NULL: that of the build */
};

struct souk {
    struct souk_settings settings;
    char *dir, shards_text[1024];
    const char *shard_args[SHARD_ARGS_MAX];
    struct shard_users *users;
    struct redis_fixture *shards[SOUK_SHARDS_MAX], *replicas[SOUK_SHARDS_MAX];
    bool shard_paused[SOUK_SHARDS_MAX];
    struct topology *topology;
    struct worker workers[SOUK_WORKERS_MAX];
    bool used[SOUK_WORKERS_MAX];
    int worker_count; /* numbers given so far */
    char *tokens, *token; /* the text of the file of tokens, and the fixture's own; NULL: whoever reaches a worker may do everything */
    char *newcomer; /* the token of the last caller, if it is not sure yet that the workers know him */
    unsigned tokens_written;
    unsigned wrong;
    bool keep;
    struct client *client;
};

/* Tells what is wrong and aborts the test. */
void fixture_fail(const char *format, ...) __attribute__((format(printf, 1, 2), noreturn));
/* Tells it, and souk_stop will count it. */
void fixture_complain(struct souk *souk, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* printf into memory that the caller frees. */
char *fixture_text(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* What a file holds, empty if there is none; freed by the caller. */
char *fixture_file(const char *path);
/* Prints the end of a log. */
void fixture_show_log(const char *path);

/* Before the workers, and after them. */
void callers_start(struct souk *souk);
void callers_end(struct souk *souk);

/*
 * A program of the build, or the one at an absolute path; to the shards it is ${user} (NULL: it has none), with the fixture's environment (and
 * ${worker}'s port), its output appended to ${log}.
 */
pid_t program_launch(const struct souk *souk, const struct worker *worker, const char *user, const char *program, const char *const *arguments,
                     const char *log);

/* For souk_wait: has process ${pid} ended? Its wait status is then in ${status}. */
struct ending {
    pid_t pid;
    int status;
};
bool program_ended(void *cookie);

/* Fills a worker in: port, name, log. It does not run yet. */
void worker_init(struct souk *souk, int number, enum souk_role role);
/* The port may be taken by others from now on. */
void worker_free(struct worker *worker);
/* The worker of this number; aborts the test if there is none. */
struct worker *worker_at(const struct souk *souk, int number);
/* Has it ended? Complains if nobody had told it to. */
bool worker_has_ended(struct souk *souk, struct worker *worker);
void worker_must_be_ready(struct souk *souk, int number);

#endif
