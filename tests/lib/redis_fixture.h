#ifndef REDIS_FIXTURE_H
#define REDIS_FIXTURE_H

#include <stdbool.h>
#include <sys/types.h>

/*
 * A real redis-server for one test, started by souk-shard: on 127.0.0.1 and a free port, in a directory of its own below $TMPDIR,
 * without RDB files and (unless asked for) without AOF. It dies with the test process. Whatever goes wrong here (no redis-server, no port) prints a
 * sentence and aborts the test.
 */
struct redis_fixture;
struct redisContext;

/* Who one is on a server that has users. */
struct redis_login {
    const char *user, *password;
};

/*
 * Starts a server and waits until it answers PING. ${extra_args}: more of redis-server's arguments, ended by NULL, which win over ours
 * ({"--appendonly", "yes", NULL}); NULL: none. They are borrowed until redis_stop. Ended by redis_stop.
 */
struct redis_fixture *redis_start(const char *const *extra_args);
/* The same with its directory below ${home}, NULL: $TMPDIR, and users: what is asked here is asked as ${login}, borrowed until redis_stop. */
struct redis_fixture *redis_start_in(const char *home, const char *const *extra_args, const struct redis_login *login);

/*
 * A replica of ${primary}, which must run, with the same login. Returns when it has all data, in its file if it has one, and follows. What kills,
 * pauses and restarts a server does so with a replica; started again it follows again before redis_restart returns. Ended by redis_stop.
 */
struct redis_fixture *redis_start_replica(struct redis_fixture *primary, const char *const *extra_args);

/* It is ended (kill -9) if it runs, and begins on its own with what its file has, as by an operator whose primary is lost. */
void redis_promote(struct redis_fixture *replica);

/* From its next start on this library is in front of the C library, and is told ${variable}, "NAME=value". Both are borrowed until redis_stop. */
void redis_preload(struct redis_fixture *redis, const char *library, const char *variable);

int redis_port(const struct redis_fixture *redis);
const char *redis_dir(const struct redis_fixture *redis);

/* kill -9, and waits until it is gone. The directory stays. Does nothing if it is dead. */
void redis_kill(struct redis_fixture *redis);
/* Kills it if it runs, starts it again with the same port, directory and arguments, and waits until it answers. */
void redis_restart(struct redis_fixture *redis);
/* The same without waiting: it may still be loading, or end at once. */
void redis_launch(struct redis_fixture *redis);
/* Does the process run? It may have ended by itself, as it does when its disk is full. */
bool redis_runs(struct redis_fixture *redis);

/* SIGSTOP and SIGCONT: it keeps its port and its connections, and does not answer. One that has ended stays ended. */
void redis_pause(struct redis_fixture *redis);
void redis_resume(struct redis_fixture *redis);

/* Kills it, removes its directory, frees it. */
void redis_stop(struct redis_fixture *redis);

/*
 * Runs one command on a connection of its own, blocking for 10 seconds at most. Returns the answer as text, freed by the caller: strings and
 * integers as they are, "(nil)", errors behind a "-", the items of lists each on a line of its own. NULL: no answer.
 *
 *   char *state = REDIS(redis, "HGET", "order:{17}:4369", "state");
 */
char *redis_cmd(struct redis_fixture *redis, const char *const *argv);
#define REDIS(redis, ...) redis_cmd((redis), (const char *const[]){__VA_ARGS__, NULL})

/* The same as somebody else. */
char *redis_cmd_as(struct redis_fixture *redis, const struct redis_login *login, const char *const *argv);

/* A connection of the caller's own, logged in, blocking for 10 seconds at most. NULL: there is none. Ended by redis_disconnect. */
struct redisContext *redis_connect(const struct redis_fixture *redis);
struct redisContext *redis_connect_as(const struct redis_fixture *redis, const struct redis_login *login);
void redis_disconnect(struct redisContext *link);
/* redis_cmd on such a connection. */
char *redis_cmd_on(struct redisContext *link, const char *const *argv);

/* redis_cmd, aborting the test if the answer is an error or none; the answer is dropped. */
void redis_do(struct redis_fixture *redis, const char *const *argv);
#define REDIS_DO(redis, ...) redis_do((redis), (const char *const[]){__VA_ARGS__, NULL})

/* Makes it a shard: writes souk:shard, with appendfsync always. */
void redis_make_shard(struct redis_fixture *redis, const char *name, int partitions, long epoch);

#endif
