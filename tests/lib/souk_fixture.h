#ifndef SOUK_FIXTURE_H
#define SOUK_FIXTURE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/*
 * All of Souk for one test: shards with the settings of deploy/redis/redis.conf and the users of deploy/redis/users, set up by soukctl, and real
 * workers on free ports of 127.0.0.1. Logs and data are in directories of their own below $TMPDIR. Everything dies with the test process. What cannot
 * be started prints a sentence with the end of its log and aborts the test.
 */
struct souk;
struct redis_fixture;
struct shard_users;
struct client;

/* The workers, and what they are called in the functions below. More instances of one get numbers from SOUK_ROLES on. */
enum souk_role { SOUK_PRODUCT, SOUK_ORDER, SOUK_PAYMENT, SOUK_SANDBOX };
#define SOUK_ROLES 4
#define SOUK_WORKERS_MAX 32
#define SOUK_SHARDS_MAX 16
#define SOUK_PARTITIONS 256

struct souk_settings {
    unsigned shards;        /* 0: 3 */
    bool roles[SOUK_ROLES]; /* which workers; payment brings the sandbox with it */
    bool replicas;          /* each shard has a replica with the same settings; workers are told of it by ${env} (SOUK_WAIT_REPLICAS=1) */
    const char *const *env; /* "SOUK_DEADLINE_MS=500", ended by NULL, for all workers; NULL: none. Borrowed until souk_stop */
    const char *shard_home[SOUK_SHARDS_MAX]; /* where a shard's directory is made; NULL: $TMPDIR. Borrowed for souk_start */
    const char *const *shard_args;           /* more of redis-server's arguments, ended by NULL; NULL: none. Borrowed until souk_stop */
};

/* Starts everything and waits until /readyz says 200 everywhere. Ended by souk_stop. */
struct souk *souk_start(const struct souk_settings *settings);

/*
 * Ends everything: workers by SIGTERM, then shards. Returns how many things were wrong, each printed: a worker that had died by itself, did not end
 * within 12 s or not with exit status 0, or whose log holds a sanitizer's report, a failed CHECK, or an answer of Redis that was not classified or
 * that only a fault in Souk brings about; a shard that has denied one of our users something. The directory stays if anything was wrong.
 */
unsigned souk_stop(struct souk *souk);
/* The directory shall stay although nothing was wrong with the processes: the test has found something else. */
void souk_keep(struct souk *souk);

/* Is there a worker of this number? It may be dead at the moment. */
bool souk_has(const struct souk *souk, int worker);
/* "http://127.0.0.1:PORT" of a worker. Valid until souk_stop. */
const char *souk_url(const struct souk *souk, int worker);
int souk_worker_port(const struct souk *souk, int worker);
pid_t souk_pid(const struct souk *souk, int worker);
/* A client of this fixture's, for whoever needs no own. */
struct client *souk_client(struct souk *souk);

/* One more worker of that role on another port, ready. Returns its number. */
int souk_add(struct souk *souk, enum souk_role role);
/* The same with settings of its own, which win over all others: "SOUK_SHARDS=…", ended by NULL, borrowed until souk_stop. */
int souk_add_with(struct souk *souk, enum souk_role role, const char *const *env);
/* The directory of logs and of the journal. Valid until souk_stop. */
const char *souk_dir(const struct souk *souk);

/*
 * More environment for this worker alone, from its next start on: "NAME=value", ended by NULL, which wins over that of souk_settings. Borrowed until
 * souk_stop. NULL: no more.
 */
void souk_set_env(struct souk *souk, int worker, const char *const *env);
/* Has it ended, in a way that the caller has reckoned with? Then it is not a complaint of souk_stop, and ${status} is its wait status. */
bool souk_has_died(struct souk *souk, int worker, int *status);

/* kill -9; it is gone when this returns. Does nothing if it is dead. */
void souk_kill(struct souk *souk, int worker);
/* SIGTERM; returns its exit status, or 128 + the signal that ended it, or -1 (and kills it) if it did not end within ${ms}. */
int souk_terminate(struct souk *souk, int worker, int ms);
/* SIGSTOP and SIGCONT; a stopped worker keeps its port and connections. */
void souk_pause(struct souk *souk, int worker);
void souk_resume(struct souk *souk, int worker);
/* Ends it (kill -9) if it runs, and starts it again on its port, with the same settings. souk_restart also waits until it is ready. */
void souk_launch(struct souk *souk, int worker);
void souk_restart(struct souk *souk, int worker);
/* Waits until /readyz answers 200 and names no shard that is away. False: not within ${ms}, or it has died; its log is shown. */
bool souk_wait_ready(struct souk *souk, int worker, int ms);
/* Makes everything that was started run again: resumes, restarts, waits until ready. */
void souk_mend(struct souk *souk);

/* Another program for this worker, from its next start on: its path, borrowed until souk_stop. */
void souk_set_program(struct souk *souk, int worker, const char *path);
/*
 * Runs a program of the build, or the one at an absolute path, to its end: to the shards it is ${user}. Returns its exit status; its output is in
 * soukctl.log.
 */
int souk_run(struct souk *souk, const char *program, const char *user, const char *const *arguments);
#define SOUK_RUN(souk, program, user, ...) souk_run((souk), (program), (user), (const char *const[]){__VA_ARGS__, NULL})
/* "soukctl COMMAND" as souk-loader. */
int souk_control(struct souk *souk, const char *command);
/* The users of the shards. */
struct shard_users *souk_users(struct souk *souk);

/* The shards, 0 … n-1. Pause, resume and kill them here rather than through redis_fixture.h, so that souk_mend knows. */
struct redis_fixture *souk_shard(struct souk *souk, unsigned shard);
unsigned souk_shard_count(const struct souk *souk);
void souk_pause_shard(struct souk *souk, unsigned shard);
void souk_resume_shard(struct souk *souk, unsigned shard);
void souk_kill_shard(struct souk *souk, unsigned shard);
void souk_restart_shard(struct souk *souk, unsigned shard);
/* The same without waiting until it answers. */
void souk_launch_shard(struct souk *souk, unsigned shard);
/* A shard's replica, for the functions of redis_fixture.h. */
struct redis_fixture *souk_replica(struct souk *souk, unsigned shard);
/*
 * The shard is gone for good, with its directory: its replica takes its place, and gets a replica of its own. Workers, which know the shard by its
 * address, find it from their next start on.
 */
void souk_promote(struct souk *souk, unsigned shard);
/* Which shard holds the record with this id, and what belongs to this buyer. */
unsigned souk_shard_of(const struct souk *souk, int64_t id);
unsigned souk_shard_of_text(const struct souk *souk, const char *text);

/*
 * With SOUK_AUTH=tokens among the settings the workers read a file of the fixture's own. souk_caller adds a caller to it (by `soukctl token`; ${user}
 * NULL: for all buyers) and returns his token, to be freed; souk_callers_known waits until all workers know those added. `anonymous` has no token and
 * is not waited for. souk_forget_caller takes all lines of that name out.
 */
char *souk_caller(struct souk *souk, const char *name, const char *scopes, const char *user);
void souk_callers_known(struct souk *souk);
void souk_forget_caller(struct souk *souk, const char *name);
/* Makes this the file, until the next change of it; its path, freed by the caller. */
void souk_write_tokens(struct souk *souk, const char *text, unsigned mode);
char *souk_tokens_file(const struct souk *souk);

/* What a worker has logged so far. Freed by the caller. */
char *souk_log(const struct souk *souk, int worker);
/* The sandbox's journal of charges. Freed by the caller; empty if there is none yet. */
char *souk_journal(const struct souk *souk);

/*
 * The conservation check, by the order worker: true if it says that all is well. It is asked again until then, for at most 10 s, because duties of
 * the last requests may be under way; violations that stay are printed.
 */
bool souk_audit(struct souk *souk);

/* Asks ${holds} every 5 ms until it is true, for at most ${ms}. Returns whether it was. */
bool souk_wait(bool (*holds)(void *cookie), void *cookie, int ms);

#endif
