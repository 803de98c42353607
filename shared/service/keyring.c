#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "check.h"
#include "log.h"
#include "secret.h"

#include "keyring.h"

#define LOOK_S 1

/* What came of one reading of the file, and how many hold it: each worker thread, and the keyring itself while it is the newest. */
struct edition {
    struct tokens *tokens;
    unsigned holders;
    struct edition *next; /* an older one */
};

struct keyring {
    const char *path;
    struct secret_stamp stamp; /* of the last look; the watching thread's alone, once it runs */
    pthread_t watcher;
    pthread_mutex_t lock; /* for all below */
    pthread_cond_t stop;
    bool stopping;
    struct edition *newest;
    _Atomic(const struct tokens *) tokens; /* the newest's: what a thread compares at each tick without the lock */
    atomic_bool current;
};

/* ---- editions ---- */

/* With the lock. Those that nobody holds go. */
static void release(struct keyring *keyring, const struct tokens *tokens)
{
    for (struct edition **at = &keyring->newest; *at; at = &(*at)->next) {
        struct edition *edition = *at;
        if (edition->tokens != tokens)
            continue;
        CHECK(edition->holders > 0);
        if (--edition->holders == 0) {
            *at = edition->next;
            tokens_free(edition->tokens);
            free(edition);
        }
        return;
    }
    CHECK(!"nobody gave out these tokens");
}

static bool publish(struct keyring *keyring, struct tokens *tokens)
{
    struct edition *edition = calloc(1, sizeof(*edition));
    if (edition == NULL)
        return false;
    *edition = (struct edition){.tokens = tokens, .holders = 1};
    pthread_mutex_lock(&keyring->lock);
    struct edition *before = keyring->newest;
    edition->next = before;
    keyring->newest = edition;
    if (before)
        release(keyring, before->tokens);
    atomic_store(&keyring->tokens, tokens);
    pthread_mutex_unlock(&keyring->lock);
    return true;
}

const struct tokens *keyring_take(struct keyring *keyring, const struct tokens *held)
{
    if (held && atomic_load(&keyring->tokens) == held)
        return held;
    pthread_mutex_lock(&keyring->lock);
    struct edition *newest = keyring->newest;
    newest->holders++;
    if (held)
        release(keyring, held);
    pthread_mutex_unlock(&keyring->lock);
    return newest->tokens;
}

void keyring_drop(struct keyring *keyring, const struct tokens *held)
{
    pthread_mutex_lock(&keyring->lock);
    release(keyring, held);
    pthread_mutex_unlock(&keyring->lock);
}

bool keyring_is_current(struct keyring *keyring)
{
    return atomic_load(&keyring->current);
}

/* ---- the file ---- */

/* Returns whether it is in use now. ${otherwise}: what follows if not, for the log. */
static bool load(struct keyring *keyring, const char *otherwise)
{
    char wrong[TOKENS_WRONG_MAX];
    const char *why = wrong;
    char *text = secret_read(keyring->path, TOKENS_BYTES_MAX, &keyring->stamp, &why);
    struct tokens *tokens = text ? tokens_read(text, wrong) : NULL;
    bool was_read = text != NULL;
    secret_free(text);
    if (tokens && publish(keyring, tokens)) {
        log_info("%s says who may ask (SOUK_TOKENS_FILE): callers with a token: %u; callers without one: %s", keyring->path, tokens_count(tokens),
                 tokens_anonymous(tokens) ? "some things" : "nothing");
        return true;
    }
    if (tokens)
        why = "out of memory";
    else if (was_read)
        why = wrong;
    tokens_free(tokens);
    log_error("the callers' tokens cannot be taken from %s (SOUK_TOKENS_FILE): %s%s", keyring->path, why, otherwise);
    return false;
}

/* A file that was refused is not read again until it is another one. */
static void look(struct keyring *keyring)
{
    if (secret_has_changed(keyring->path, &keyring->stamp))
        atomic_store(&keyring->current, load(keyring, "; what it said before stays in use"));
}

static void *watch(void *cookie)
{
    struct keyring *keyring = cookie;
    struct timespec next;
    pthread_mutex_lock(&keyring->lock);
    while (!keyring->stopping) {
        clock_gettime(CLOCK_MONOTONIC, &next);
        next.tv_sec += LOOK_S;
        if (pthread_cond_timedwait(&keyring->stop, &keyring->lock, &next) != ETIMEDOUT)
            continue;
        pthread_mutex_unlock(&keyring->lock);
        look(keyring);
        pthread_mutex_lock(&keyring->lock);
    }
    pthread_mutex_unlock(&keyring->lock);
    return NULL;
}

/* Signals are for the loops. */
static bool start_watcher(struct keyring *keyring)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int error = pthread_create(&keyring->watcher, NULL, watch, keyring);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (error)
        log_error("cannot start the thread that looks at %s: %s; raise the limit of threads (ulimit -u)", keyring->path, strerror(error));
    return error == 0;
}

/* ---- life ---- */

static void keyring_free(struct keyring *keyring)
{
    if (keyring->newest)
        release(keyring, keyring->newest->tokens);
    CHECK(keyring->newest == NULL);
    pthread_cond_destroy(&keyring->stop);
    pthread_mutex_destroy(&keyring->lock);
    free(keyring);
}

struct keyring *keyring_open(const char *path)
{
    struct keyring *keyring = calloc(1, sizeof(*keyring));
    pthread_condattr_t monotonic;
    if (keyring == NULL) {
        log_error("cannot start: out of memory");
        return NULL;
    }
    keyring->path = path;
    pthread_mutex_init(&keyring->lock, NULL);
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&keyring->stop, &monotonic);
    pthread_condattr_destroy(&monotonic);
    bool loaded = load(keyring, "; mend it, then start again");
    atomic_store(&keyring->current, loaded);
    if (loaded && start_watcher(keyring))
        return keyring;
    keyring_free(keyring);
    return NULL;
}

void keyring_close(struct keyring *keyring)
{
    if (keyring == NULL)
        return;
    pthread_mutex_lock(&keyring->lock);
    keyring->stopping = true;
    pthread_cond_signal(&keyring->stop);
    pthread_mutex_unlock(&keyring->lock);
    pthread_join(keyring->watcher, NULL);
    keyring_free(keyring);
}
