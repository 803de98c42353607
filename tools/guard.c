#include <errno.h>
#include <glob.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "clock.h"

#include "guard.h"

#define PAUSE_MS 200

enum verdict { VERDICT_NEW, VERDICT_LOST, VERDICT_UNKNOWN };

static bool has_data(const char *dir)
{
    char pattern[4096];
    glob_t found;
    snprintf(pattern, sizeof(pattern), "%s/appendonlydir/*.manifest", dir);
    bool has = glob(pattern, 0, NULL, &found) == 0;
    globfree(&found);
    return has;
}

static int index_of(const struct topology *topology, const char *name)
{
    for (unsigned i = 0; i < topology->shard_count; i++)
        if (strcmp(topology->shards[i].name, name) == 0)
            return (int)i;
    return -1;
}

/* One shard that has been in use is enough to know; that there is none is known when all have said so. */
static enum verdict ask_others(const struct store_settings *settings, int self, const char **witness, const char **silent)
{
    enum verdict verdict = VERDICT_NEW;
    for (unsigned i = 0; i < settings->topology->shard_count; i++) {
        enum standing standing;
        const char *error = (int)i == self ? NULL : setup_standing(settings, i, &standing);
        if ((int)i == self)
            continue;
        if (error) {
            verdict = VERDICT_UNKNOWN;
            *silent = error;
        } else if (standing == STANDING_FOUNDED || standing == STANDING_LOADING) {
            *witness = settings->topology->shards[i].name;
            return VERDICT_LOST;
        }
    }
    return verdict;
}

static int refuse(const char *name, const char *dir, const char *why)
{
    fprintf(stderr,
            "soukctl: %s holds no data of shard %s, and %s: its volume was lost, or is that of another; restore it (docs/operate.md), or give up "
            "what it held with SOUK_REPLACE=%s\n",
            dir, name, why, name);
    return 1;
}

static int ask_until(const struct store_settings *settings, int self, const char *name, const char *dir, int patience_ms)
{
    int64_t deadline = clock_us() + (int64_t)patience_ms * 1000;
    const char *witness = NULL, *silent = NULL;
    char why[128];
    for (;;) {
        enum verdict verdict = ask_others(settings, self, &witness, &silent);
        if (verdict == VERDICT_LOST) {
            snprintf(why, sizeof(why), "shard %s has been in use", witness);
            return refuse(name, dir, why);
        }
        if (verdict == VERDICT_NEW || clock_us() >= deadline) {
            printf("%s: begins empty; %s%s\n", name,
                   verdict == VERDICT_NEW ? "no shard has been in use yet" : "no other shard says that the store has been in use: ",
                   verdict == VERDICT_NEW ? "" : silent);
            return 0;
        }
        nanosleep(&(struct timespec){0, PAUSE_MS * 1000000}, NULL);
    }
}

int guard_run(const struct store_settings *settings, const struct founding *founding, const char *name, const char *dir, int patience_ms)
{
    int self = index_of(settings->topology, name);
    if (self < 0) {
        fprintf(stderr, "soukctl: there is no shard %s in SOUK_SHARDS; name one of those\n", name);
        return 2;
    }
    if (access(dir, R_OK | X_OK) != 0) {
        fprintf(stderr, "soukctl: cannot look into %s, the data of shard %s: %s; mount its volume there\n", dir, name, strerror(errno));
        return 2;
    }
    if (has_data(dir)) {
        printf("%s: %s holds its data\n", name, dir);
        return 0;
    }
    if (strcmp(founding->replace, name) == 0) {
        printf("%s: begins empty, as SOUK_REPLACE says\n", name);
        return 0;
    }
    return founding->founded ? refuse(name, dir, "SOUK_FOUNDED is yes") : ask_until(settings, self, name, dir, patience_ms);
}
