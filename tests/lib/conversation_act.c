#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "redis_fixture.h"

#include "conversation_internal.h"

#define TERMINATE_MS 12000
#define WORDS_MAX 32

/* What a line acts on: a worker, or a shard ("shard 2"; "shard-of ID" is the one that holds this record, "shard-of-user NAME" the one of a buyer). */
struct target {
    int worker; /* -1: a shard */
    unsigned shard;
};

static bool read_shard(struct talk *talk, const char **rest, struct target *target)
{
    bool by_id = talk_accept(rest, "shard-of"), by_user = !by_id && talk_accept(rest, "shard-of-user");
    bool by_number = !by_id && !by_user && talk_accept(rest, "shard");
    char *word = by_id || by_user || by_number ? talk_next(talk, rest) : NULL;

    if (word == NULL)
        return false;
    target->worker = -1;
    target->shard = by_id     ? souk_shard_of(talk->souk, strtoll(word, NULL, 10))
                    : by_user ? souk_shard_of_text(talk->souk, word)
                              : (unsigned)strtoul(word, NULL, 10) - 1;
    free(word);
    return target->shard < souk_shard_count(talk->souk);
}

static bool read_target(struct talk *talk, const char *rest, struct target *target)
{
    char *name;

    if (read_shard(talk, &rest, target))
        return true;
    name = talk_next(talk, &rest);
    target->worker = name ? talk_worker(talk, name) : -1;
    free(name);
    return target->worker >= 0 || talk_abort(talk, "name a worker, or a shard by `shard 2`, `shard-of ID`, `shard-of-user NAME`");
}

void talk_kill(struct talk *talk, const char *rest)
{
    struct target target;

    if (!read_target(talk, rest, &target))
        return;
    if (target.worker >= 0)
        souk_kill(talk->souk, target.worker);
    else
        souk_kill_shard(talk->souk, target.shard);
}

void talk_pause(struct talk *talk, const char *rest)
{
    struct target target;

    if (!read_target(talk, rest, &target))
        return;
    if (target.worker >= 0)
        souk_pause(talk->souk, target.worker);
    else
        souk_pause_shard(talk->souk, target.shard);
}

void talk_resume(struct talk *talk, const char *rest)
{
    struct target target;

    if (!read_target(talk, rest, &target))
        return;
    if (target.worker >= 0)
        souk_resume(talk->souk, target.worker);
    else
        souk_resume_shard(talk->souk, target.shard);
}

void talk_restart(struct talk *talk, const char *rest)
{
    struct target target;

    if (!read_target(talk, rest, &target))
        return;
    if (target.worker >= 0)
        souk_restart(talk->souk, target.worker);
    else
        souk_restart_shard(talk->souk, target.shard);
}

/* SIGTERM; the worker must end by itself and well. */
void talk_terminate(struct talk *talk, const char *rest)
{
    struct target target;
    int status;

    if (!read_target(talk, rest, &target))
        return;
    if (target.worker < 0) {
        talk_abort(talk, "only a worker can be terminated; kill the shard");
        return;
    }
    status = souk_terminate(talk->souk, target.worker, TERMINATE_MS);
    if (status != 0)
        talk_fail(talk, "expected exit status 0 within %d ms of SIGTERM, it is %d", TERMINATE_MS, status);
}

void talk_second(struct talk *talk, const char *rest)
{
    char *name = talk_word(&rest);
    int role = name ? talk_worker(talk, name) : -1;

    if (role < 0 || role >= SOUK_ROLES || talk->extra_count == SOUK_WORKERS_MAX)
        talk_abort(talk, "`second` needs product, order, payment or sandbox");
    else
        talk->extra[talk->extra_count++] = souk_add(talk->souk, (enum souk_role)role) * SOUK_ROLES + role;
    free(name);
}

/* "NAME SCOPES [USER]": a caller of the workers, and the variable NAME with his token. */
void talk_caller(struct talk *talk, const char *rest)
{
    char *name = talk_next(talk, &rest), *scopes = talk_next(talk, &rest), *user = talk_next(talk, &rest);

    if (name == NULL || scopes == NULL) {
        talk_abort(talk, "`caller` needs a name and scopes with commas between them, and may name a buyer");
    } else {
        char *token = souk_caller(talk->souk, name, scopes, user);

        talk_set(talk, name, token);
        free(token);
    }
    free(name);
    free(scopes);
    free(user);
}

void talk_forget_caller(struct talk *talk, const char *rest)
{
    char *name = talk_next(talk, &rest);

    if (name)
        souk_forget_caller(talk->souk, name);
    else
        talk_abort(talk, "`forget caller` needs a name");
    free(name);
}

/* ---- redis ---- */

/* Sets the variable p to the hash tag of the record that `shard-of ID` named, so that "order:$p:4369" can be written. */
static void set_tag(struct talk *talk, const char *rest)
{
    char tag[32], *id;

    if (talk_accept(&rest, "shard-of") && (id = talk_next(talk, &rest)) != NULL) {
        snprintf(tag, sizeof(tag), "{%lld}", strtoll(id, NULL, 10) % SOUK_PARTITIONS);
        talk_set(talk, "p", tag);
        free(id);
    }
}

void talk_redis(struct talk *talk, const char *rest)
{
    char *argv[WORDS_MAX + 1] = {NULL};
    struct target target;
    size_t count = 0;

    set_tag(talk, rest);
    if (!read_shard(talk, &rest, &target)) {
        talk_abort(talk, "`redis` needs a shard and a command");
        return;
    }
    while (count < WORDS_MAX && (argv[count] = talk_next(talk, &rest)) != NULL)
        count++;
    free(talk->redis_answer);
    talk->redis_answer = redis_cmd(souk_shard(talk->souk, target.shard), (const char *const *)argv);
    for (size_t i = 0; i < count; i++)
        free(argv[i]);
}

void talk_audit(struct talk *talk, const char *rest)
{
    if (!souk_audit(talk->souk))
        talk_fail(talk, "expected the audit to be fine");
}

/* ---- programs ---- */

/* "PROGRAM arguments", as the shell reads them, in the source folder. It must end with exit status 0. */
void talk_program(struct talk *talk, const char *rest)
{
    char *line = talk_expand(talk, rest), *command, *output = NULL;
    size_t room = 0;
    FILE *pipe;

    if (asprintf(&command, "cd '%s' && %s 2>&1", SOUK_SOURCE, line) < 0 || (pipe = popen(command, "r")) == NULL) {
        talk_abort(talk, "cannot run %s", line);
    } else {
        ssize_t len = getdelim(&output, &room, '\0', pipe);
        int status = pclose(pipe);

        if (status != 0)
            talk_fail(talk, "%s failed (%d): %s", line, status, len > 0 ? output : "it said nothing");
    }
    free(command);
    free(output);
    free(line);
}
