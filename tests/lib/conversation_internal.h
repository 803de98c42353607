#ifndef CONVERSATION_INTERNAL_H
#define CONVERSATION_INTERNAL_H

#include <stdbool.h>
#include <stddef.h>

#include "client.h"
#include "souk_fixture.h"

#include "conversation.h"

/*
 * One conversation:
 *
 *   conversation.c        reads the file, finds what each line is, tells what went wrong
 *   conversation_text.c   words, strings and variables
 *   conversation_ask.c    with, requests, again, at once, raw            →  talk.now
 *   conversation_expect.c expect and save, about what came               ←  talk.now
 *   conversation_act.c    kill, pause, restart, redis, audit, run
 *   conversation_list.c   the requests by themselves
 */
#define VARIABLES_MAX 64
#define URL_MAX_BYTES 8192

struct variable {
    char *name, *value;
};

struct talk {
    struct souk *souk;
    const char *file;
    char name[64]; /* the file's name without folder and ending: $flow */
    int line;
    struct variable variables[VARIABLES_MAX];
    size_t variable_count;
    char *with[ASKED_HEADERS_MAX + 1]; /* headers for the next request */
    size_t with_count;
    struct asked asked;
    struct response *now, *before; /* the last answer, and the one before it */
    struct response **crowd;       /* the answers of `at once` */
    size_t crowd_count;
    char *redis_answer; /* of the last `redis` */
    struct raw *raw;
    int extra[SOUK_WORKERS_MAX]; /* numbers of the workers that `second` added */
    size_t extra_count;
    bool quiet;  /* inside `within`: what does not hold yet is no failure */
    bool failed; /* something did not hold since this was last cleared */
    bool over;   /* no sense in going on */
    unsigned failures, requests, expectations;
};

/* Tells a failure (unless quiet). Returns false, for `return talk_fail(…)`. */
bool talk_fail(struct talk *talk, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* The same, and the conversation ends: the line makes no sense, or what comes after it could not. */
bool talk_abort(struct talk *talk, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* ---- the file ---- */

struct script {
    char *text;
    char **lines; /* as they stand, without blanks around; comments and empty lines are "" */
    size_t count;
};
bool script_read(struct script *script, const char *path);
void script_free(struct script *script);
/* The variables that need no Souk. */
void talk_begin(struct talk *talk, const char *file);
void talk_free(struct talk *talk);

/* ---- text ---- */

/*
 * Cuts the next word off ${rest} (a C string literal's content if it stands in double quotes), without expanding it. Freed by the caller; NULL at the
 * end.
 */
char *talk_word(const char **rest);
/* ${text} with its variables filled in, freed by the caller. An unknown one aborts the conversation. */
char *talk_expand(struct talk *talk, const char *text);
/* The next word, expanded; NULL at the end. */
char *talk_next(struct talk *talk, const char **rest);
/* Does ${rest} go on with this word? Then it is cut off. */
bool talk_accept(const char **rest, const char *word);
void talk_set(struct talk *talk, const char *name, const char *value);
/* Turns \r \n \t \" \\ \xNN into bytes, in place; returns the length. */
size_t talk_unescape(char *text);
bool talk_matches(struct talk *talk, const char *text, const char *pattern);

/* ---- lines: each gets what stands behind its word ---- */

/* The worker that ${name} means ("order", "order2"), or -1. */
int talk_worker(struct talk *talk, const char *name);
bool talk_is_request(struct talk *talk, const char *line);
/* What a line asks, without sending it: a request; what stands behind `raw`. They return false if it is not there, and may abort the conversation. */
bool talk_read_request(struct talk *talk, struct asked *asked, const char *line);
bool talk_read_raw(struct talk *talk, struct asked *asked, const char *rest);
void talk_request(struct talk *talk, const char *line);
void talk_with(struct talk *talk, const char *rest);
void talk_again(struct talk *talk, const char *rest);
void talk_at_once(struct talk *talk, const char *rest);
void talk_raw(struct talk *talk, const char *rest);
void talk_drop_with(struct talk *talk);
void asked_free(struct asked *asked);
void talk_drop_crowd(struct talk *talk);

void talk_expect(struct talk *talk, const char *rest);
void talk_save(struct talk *talk, const char *rest);

void talk_kill(struct talk *talk, const char *rest);
void talk_terminate(struct talk *talk, const char *rest);
void talk_pause(struct talk *talk, const char *rest);
void talk_resume(struct talk *talk, const char *rest);
void talk_restart(struct talk *talk, const char *rest);
void talk_second(struct talk *talk, const char *rest);
void talk_caller(struct talk *talk, const char *rest);
void talk_forget_caller(struct talk *talk, const char *rest);
void talk_redis(struct talk *talk, const char *rest);
void talk_audit(struct talk *talk, const char *rest);
void talk_program(struct talk *talk, const char *rest);

#endif
