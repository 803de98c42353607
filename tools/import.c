#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include <curl/curl.h>

#include "check.h"
#include "clock.h"
#include "view.h"

#include "tokens.h"

#include "import.h"

#define CHUNK_BYTES (1024 * 1024) /* what a request may have */
#define CHUNK_LINES 20000
#define SLOTS 4               /* requests at a time: the worker reads one while the shards write another */
#define RETRY_MS 500          /* a chunk that is not done is sent again after this long */
#define PATIENCE_MS 60000     /* and given up when nothing at all was done for this long */
#define SHOWN_MAX 20          /* refused lines that are printed; all are in FILE.rejected */
#define TICK_MS 100           /* of the progress bar */
#define PLAIN_TICK_MS 5000    /* of progress in a log */
#define BAR_WIDTH 30

/* One chunk on its way. It keeps its bytes until it is done, for it may be sent again. */
struct slot {
    struct import *import;
    CURL *easy;
    struct curl_slist *headers;
    char *bytes, *answer;
    size_t len, answer_len, answer_cap;
    unsigned long first_line, lines; /* of the file: before this chunk; in it */
    bool used, under_way;
    int64_t due_us; /* when it is to be sent (again) */
};

/* What is known of the file: it is read once, from its beginning to its end. */
struct source {
    int fd;
    off_t size; /* 0: not known */
    char *bytes;
    size_t len;
    bool ended;
    unsigned long line, chunks;
};

struct import {
    const struct import_settings *settings;
    char run[64], url[512], rejected_path[4096];
    struct source source;
    struct slot slots[SLOTS];
    CURLM *multi;
    int signals;
    FILE *rejected;
    bool terminal, stopped, failed;
    char trouble[512]; /* why chunks are not done, the last reason; empty: none */
    unsigned long created, replaced, refused;
    unsigned long long bytes_done;
    int64_t begun_us, progress_us, shown_us;
};

/* ---- the file ---- */

/* Fills the source's bytes as far as a chunk may need. Returns false if the file cannot be read. */
static bool source_fill(struct source *source)
{
    while (source->len < CHUNK_BYTES && !source->ended) {
        ssize_t got = read(source->fd, source->bytes + source->len, CHUNK_BYTES - source->len);
        if (got < 0 && errno != EINTR)
            return false;
        source->ended = got == 0;
        source->len += got > 0 ? (size_t)got : 0;
    }
    return true;
}

/* How many bytes of what is there are the next chunk: whole lines, the last one of a file with or without its end. 0: the first line does not fit. */
static size_t source_cut(const struct source *source, unsigned long *lines)
{
    size_t at = 0;
    for (*lines = 0; at < source->len && *lines < CHUNK_LINES; (*lines)++) {
        const char *end = memchr(source->bytes + at, '\n', source->len - at);
        if (end == NULL && !source->ended)
            break;
        at = end ? (size_t)(end - source->bytes) + 1 : source->len;
    }
    return at;
}

/* Moves the next chunk into the slot. Returns false if there is none (any more). */
static bool source_take(struct import *import, struct slot *slot)
{
    struct source *source = &import->source;
    unsigned long lines;
    if (!source_fill(source)) {
        fprintf(stderr, "soukctl: cannot read %s: %s\n", import->settings->file, strerror(errno));
        import->failed = import->stopped = true;
        return false;
    }
    size_t len = source_cut(source, &lines);
    if (len == 0 && source->len > 0) {
        fprintf(stderr, "soukctl: line %lu of %s is longer than 1 MiB; a product has 64 KiB at most\n", source->line + 1, import->settings->file);
        import->failed = import->stopped = true;
    }
    if (len == 0)
        return false;
    memcpy(slot->bytes, source->bytes, len);
    slot->len = len;
    slot->first_line = source->line;
    slot->lines = lines;
    memmove(source->bytes, source->bytes + len, source->len - len);
    source->len -= len;
    source->line += lines;
    source->chunks++;
    return true;
}

/* ---- progress ---- */

static void trouble(struct import *import, const char *why)
{
    if (strcmp(import->trouble, why) != 0 && *why && !import->terminal)
        fprintf(stderr, "soukctl: %s; trying again\n", why);
    snprintf(import->trouble, sizeof(import->trouble), "%s", why);
}

static void show_bar(const struct import *import, unsigned long done, double rate)
{
    double share = import->source.size ? (double)import->bytes_done / (double)import->source.size : 0;
    int full = (int)(share * BAR_WIDTH + 0.5);
    if (import->source.size)
        fprintf(stderr, "\r[%.*s%*s] %3.0f %%  ", full, "##############################", BAR_WIDTH - full, "", share * 100);
    else
        fprintf(stderr, "\r");
    fprintf(stderr, "%lu products, %.0f/s, %lu refused%s%.60s\033[K", done, rate, import->refused, *import->trouble ? "; " : "", import->trouble);
}

/* A bar on a terminal, a line now and then in a log. */
static void show_progress(struct import *import, bool last)
{
    int64_t now = clock_us();
    if (!last && now - import->shown_us < (import->terminal ? TICK_MS : PLAIN_TICK_MS) * 1000)
        return;
    unsigned long done = import->created + import->replaced;
    double rate = (double)done * 1e6 / (double)(now - import->begun_us + 1);
    import->shown_us = now;
    if (import->terminal)
        show_bar(import, done, rate);
    else
        fprintf(stderr, "soukctl: %lu products, %.0f/s, %lu refused\n", done, rate, import->refused);
    if (last && import->terminal)
        fprintf(stderr, "\n");
}

/* ---- results ---- */

static FILE *rejected_file(struct import *import)
{
    if (import->rejected == NULL && (import->rejected = fopen(import->rejected_path, "w")) == NULL) {
        fprintf(stderr, "%ssoukctl: cannot write %s: %s; refused lines go to stderr\n", import->terminal ? "\n" : "", import->rejected_path,
                strerror(errno));
        import->rejected = stderr;
    }
    return import->rejected;
}

/* The n-th line (from 1) of a chunk. */
static struct view line_of(const struct slot *slot, unsigned long n)
{
    const char *at = slot->bytes, *end = slot->bytes + slot->len, *stop;
    while ((stop = memchr(at, '\n', (size_t)(end - at))) && --n > 0)
        at = stop + 1;
    return (struct view){at, (size_t)((stop ? stop : end) - at)};
}

/* ${result}: {"line":17,…; the line is counted in the chunk. */
static void refuse_line(struct import *import, const struct slot *slot, struct view result)
{
    static const char HEAD[] = "{\"line\":";
    unsigned long n = strtoul(result.at + sizeof(HEAD) - 1, NULL, 10);
    struct view line = line_of(slot, n);
    const char *rest = memchr(result.at, ',', result.len);
    import->refused++;
    fprintf(rejected_file(import), "%.*s\n", VIEW_ARG(line));
    if (import->refused <= SHOWN_MAX)
        fprintf(stderr, "%sline %lu: %.*s\n", import->terminal ? "\r\033[K" : "soukctl: ", slot->first_line + n,
                rest ? (int)(result.at + result.len - rest) - 2 : 0, rest ? rest + 1 : "");
    if (import->refused == SHOWN_MAX + 1)
        fprintf(stderr, "%sfurther refused lines are in %s only\n", import->terminal ? "\r\033[K" : "soukctl: ", import->rejected_path);
}

struct tally {
    unsigned long created, replaced, refused, again;
};

static int status_of(struct view result)
{
    static const char MARK[] = "\"status\":";
    const char *found = memmem(result.at, result.len, MARK, sizeof(MARK) - 1);
    return found ? atoi(found + sizeof(MARK) - 1) : 0;
}

/* Counts the results; with ${import}, tells of the refused ones. */
static struct tally read_results(struct import *import, const struct slot *slot)
{
    struct tally tally = {0};
    const char *at = slot->answer, *end = slot->answer + slot->answer_len;
    while (at < end) {
        const char *stop = memchr(at, '\n', (size_t)(end - at));
        struct view result = {at, (size_t)((stop ? stop : end) - at)};
        int status = status_of(result);
        tally.created += status == 201;
        tally.replaced += status == 200;
        tally.again += status >= 500 || status == 0;
        tally.refused += status >= 400 && status < 500;
        if (import && status >= 400 && status < 500)
            refuse_line(import, slot, result);
        at += result.len + 1;
    }
    return tally;
}

static void chunk_again(struct slot *slot, const char *why)
{
    trouble(slot->import, why);
    slot->due_us = clock_us() + RETRY_MS * 1000;
}

static void chunk_done(struct slot *slot)
{
    struct import *import = slot->import;
    struct tally tally = read_results(import, slot);
    import->created += tally.created;
    import->replaced += tally.replaced;
    import->bytes_done += slot->len;
    import->progress_us = clock_us();
    trouble(import, "");
    slot->used = false;
}

/* What no repeat would mend ends the run. */
static void chunk_refused(struct slot *slot, long status)
{
    struct import *import = slot->import;
    fprintf(stderr, "%ssoukctl: lines %lu to %lu were refused with %ld: %.*s\n", import->terminal ? "\n" : "", slot->first_line + 1,
            slot->first_line + slot->lines, status, (int)(slot->answer_len < 1000 ? slot->answer_len : 1000), slot->answer);
    if (status == 422)
        fprintf(stderr, "soukctl: the file is not the one that run %s began with, or was cut in another way\n", import->run);
    if (status == 401 || status == 403)
        fprintf(stderr, "soukctl: put a token that has the scope catalogue:write into a file, and name it in SOUK_TOKEN_FILE\n");
    import->failed = import->stopped = true;
}

static void chunk_answered(struct slot *slot, CURLcode code)
{
    char why[256];
    long status = 0;
    curl_easy_getinfo(slot->easy, CURLINFO_RESPONSE_CODE, &status);
    if (code != CURLE_OK) {
        snprintf(why, sizeof(why), "%s: %s", slot->import->settings->url, curl_easy_strerror(code));
        chunk_again(slot, why);
    } else if (status == 200 && read_results(NULL, slot).again == 0) {
        chunk_done(slot);
    } else if (status == 200) {
        chunk_again(slot, "a shard does not answer");
    } else if (status >= 500 || status == 408 || status == 429) {
        snprintf(why, sizeof(why), "the worker answers %ld", status);
        chunk_again(slot, why);
    } else {
        chunk_refused(slot, status);
    }
}

/* ---- requests ---- */

static size_t got_body(char *bytes, size_t size, size_t count, void *cookie)
{
    struct slot *slot = cookie;
    size_t len = size * count;
    while (slot->answer_cap - slot->answer_len < len + 1) {
        slot->answer_cap = slot->answer_cap ? slot->answer_cap * 2 : CHUNK_BYTES;
        slot->answer = realloc(slot->answer, slot->answer_cap);
        CHECK(slot->answer);
    }
    memcpy(slot->answer + slot->answer_len, bytes, len);
    slot->answer_len += len;
    slot->answer[slot->answer_len] = '\0';
    return len;
}

static struct curl_slist *headers_of(const struct import *import, unsigned long chunk)
{
    char key[128];
    snprintf(key, sizeof(key), "Idempotency-Key: soukctl-%s-%lu", import->run, chunk);
    struct curl_slist *list = curl_slist_append(NULL, "Content-Type: application/x-ndjson");
    struct curl_slist *more = list ? curl_slist_append(list, "Expect:") : NULL; /* one turn of waiting for each chunk less */
    more = more ? curl_slist_append(list, key) : NULL;
    if (import->settings->token) {
        char caller[TOKEN_BYTES_MAX + sizeof("Authorization: Bearer ")];
        snprintf(caller, sizeof(caller), "Authorization: Bearer %s", import->settings->token);
        more = more ? curl_slist_append(list, caller) : NULL;
    }
    CHECK(more);
    return list;
}

static void slot_send(struct slot *slot)
{
    slot->answer_len = 0;
    slot->under_way = true;
    curl_easy_setopt(slot->easy, CURLOPT_HTTPHEADER, slot->headers);
    curl_easy_setopt(slot->easy, CURLOPT_POSTFIELDS, slot->bytes);
    curl_easy_setopt(slot->easy, CURLOPT_POSTFIELDSIZE, (long)slot->len);
    CHECK(curl_multi_add_handle(slot->import->multi, slot->easy) == CURLM_OK);
}

/* A free slot gets the next chunk; one that waits to be sent is. */
static void slot_work(struct slot *slot, int64_t now)
{
    struct import *import = slot->import;
    if (!slot->used && !import->stopped && source_take(import, slot)) {
        curl_slist_free_all(slot->headers);
        slot->headers = headers_of(import, import->source.chunks);
        slot->used = true;
        slot->due_us = now;
    }
    if (slot->used && !slot->under_way && !import->stopped && slot->due_us <= now)
        slot_send(slot);
}

static void got_messages(struct import *import)
{
    CURLMsg *message;
    int left;
    while ((message = curl_multi_info_read(import->multi, &left))) {
        struct slot *slot = NULL;
        CURLcode code = message->data.result;
        curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, (char **)&slot);
        curl_multi_remove_handle(import->multi, slot->easy);
        slot->under_way = false;
        chunk_answered(slot, code);
    }
}

static bool slot_open(struct import *import, struct slot *slot)
{
    slot->import = import;
    slot->bytes = malloc(CHUNK_BYTES);
    slot->easy = curl_easy_init();
    if (slot->bytes == NULL || slot->easy == NULL)
        return false;
    curl_easy_setopt(slot->easy, CURLOPT_URL, import->url);
    curl_easy_setopt(slot->easy, CURLOPT_PRIVATE, slot);
    curl_easy_setopt(slot->easy, CURLOPT_WRITEDATA, slot);
    curl_easy_setopt(slot->easy, CURLOPT_WRITEFUNCTION, got_body);
    curl_easy_setopt(slot->easy, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    curl_easy_setopt(slot->easy, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(slot->easy, CURLOPT_TIMEOUT_MS, 30000L);
    curl_easy_setopt(slot->easy, CURLOPT_POST, 1L);
    return true;
}

static void slot_close(struct slot *slot)
{
    if (slot->under_way)
        curl_multi_remove_handle(slot->import->multi, slot->easy);
    curl_easy_cleanup(slot->easy);
    curl_slist_free_all(slot->headers);
    free(slot->bytes);
    free(slot->answer);
}

/* ---- the run ---- */

/* Ctrl-C is heard between two requests, so that what is said then is true. */
static void look_at_signals(struct import *import)
{
    struct signalfd_siginfo info;
    if (read(import->signals, &info, sizeof(info)) == sizeof(info))
        import->stopped = true;
}

static bool anything_left(const struct import *import)
{
    for (int i = 0; i < SLOTS; i++)
        if (import->stopped ? import->slots[i].under_way : import->slots[i].used)
            return true;
    return false;
}

static void give_up_if_due(struct import *import)
{
    if (import->stopped || clock_us() - import->progress_us < (int64_t)PATIENCE_MS * 1000)
        return;
    fprintf(stderr, "%ssoukctl: nothing was done for %d s (%s); giving up\n", import->terminal ? "\n" : "", PATIENCE_MS / 1000, import->trouble);
    import->failed = import->stopped = true;
}

static void work(struct import *import)
{
    int running;
    do {
        struct curl_waitfd signals = {.fd = import->signals, .events = CURL_WAIT_POLLIN};
        for (int i = 0; i < SLOTS; i++)
            slot_work(&import->slots[i], clock_us());
        curl_multi_perform(import->multi, &running);
        got_messages(import);
        look_at_signals(import);
        give_up_if_due(import);
        show_progress(import, false);
        if (running > 0 || anything_left(import))
            curl_multi_poll(import->multi, &signals, 1, TICK_MS, NULL);
    } while (anything_left(import) || (!import->stopped && !(import->source.ended && import->source.len == 0)));
}

static int tell_end(struct import *import)
{
    bool whole = !import->stopped && !import->failed;
    show_progress(import, true);
    fprintf(stderr, "soukctl: %lu created, %lu replaced, %lu refused, in %.1f s: %.0f products/s\n", import->created, import->replaced,
            import->refused, (double)(clock_us() - import->begun_us) / 1e6,
            (double)(import->created + import->replaced) * 1e6 / (double)(clock_us() - import->begun_us + 1));
    if (import->refused > 0 && import->rejected != stderr)
        fprintf(stderr, "soukctl: the refused lines are in %s; mend them and import that file\n", import->rejected_path);
    if (!whole)
        fprintf(stderr, "soukctl: the file was not imported to its end. This goes on, and does nothing twice:  soukctl --url=%s --run=%s import %s\n",
                import->settings->url, import->run, import->settings->file);
    return whole && import->refused == 0 ? 0 : 1;
}

static void name_run(struct import *import)
{
    unsigned long long number = (unsigned long long)clock_us();
    if (*import->settings->run) {
        snprintf(import->run, sizeof(import->run), "%s", import->settings->run);
        return;
    }
    if (getrandom(&number, sizeof(number), 0) != sizeof(number))
        number ^= (unsigned long long)getpid() << 40;
    snprintf(import->run, sizeof(import->run), "%016llx", number);
}

static bool source_open(struct import *import)
{
    const char *file = import->settings->file;
    struct source *source = &import->source;
    struct stat stat;
    source->fd = strcmp(file, "-") == 0 ? STDIN_FILENO : open(file, O_RDONLY | O_CLOEXEC);
    if (source->fd < 0 || fstat(source->fd, &stat) != 0) {
        fprintf(stderr, "soukctl: cannot open %s: %s\n", file, strerror(errno));
        return false;
    }
    source->size = S_ISREG(stat.st_mode) ? stat.st_size : 0;
    source->bytes = malloc(CHUNK_BYTES);
    return source->bytes != NULL;
}

static bool import_open(struct import *import)
{
    sigset_t mask;
    sigemptyset(&mask);
    sigaddset(&mask, SIGINT);
    sigaddset(&mask, SIGTERM);
    sigprocmask(SIG_BLOCK, &mask, NULL);
    import->signals = signalfd(-1, &mask, SFD_NONBLOCK | SFD_CLOEXEC);
    import->terminal = isatty(STDERR_FILENO);
    name_run(import);
    snprintf(import->url, sizeof(import->url), "%s/products/import", import->settings->url);
    snprintf(import->rejected_path, sizeof(import->rejected_path), "%s.rejected",
             strcmp(import->settings->file, "-") == 0 ? "stdin" : import->settings->file);
    bool fine = source_open(import) && curl_global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK && (import->multi = curl_multi_init());
    for (int i = 0; fine && i < SLOTS; i++)
        fine = slot_open(import, &import->slots[i]);
    import->begun_us = import->progress_us = import->shown_us = clock_us();
    return fine;
}

static void import_close(struct import *import)
{
    for (int i = 0; i < SLOTS; i++)
        slot_close(&import->slots[i]);
    curl_multi_cleanup(import->multi);
    curl_global_cleanup();
    if (import->rejected && import->rejected != stderr)
        fclose(import->rejected);
    if (import->source.fd > STDERR_FILENO)
        close(import->source.fd);
    free(import->source.bytes);
    close(import->signals);
}

int import_run(const struct import_settings *settings)
{
    struct import import = {.settings = settings};
    int status = 2;
    if (import_open(&import)) {
        work(&import);
        status = tell_end(&import);
    }
    import_close(&import);
    return status;
}
