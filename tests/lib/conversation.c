#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "clock.h"
#include "redis_fixture.h"
#include "shard_users.h"

#include "conversation_internal.h"

#define FAILURES_MAX 20
#define ENV_MAX 16
#define SHOWN_MAX 1500

/* ---- telling ---- */

static void tell_asked(const struct talk *talk)
{
    const struct asked *asked = &talk->asked;

    if (asked->path) {
        printf("    asked: %s %s%s", asked->method, souk_url(talk->souk, asked->worker), asked->path);
        for (char *const *header = asked->headers; *header; header++)
            printf(" | %s", *header);
        printf(" | %.*s\n", (int)(asked->body_len < SHOWN_MAX ? asked->body_len : SHOWN_MAX), asked->body ? asked->body : "");
    }
    if (talk->now) {
        const char *body = talk->now->json_text ? talk->now->json_text : talk->now->body;

        printf("    came:  %d %.*s\n", talk->now->status, SHOWN_MAX, talk->now->status ? body : talk->now->error);
        for (char **header = talk->now->headers; header && *header; header++)
            printf("           %s\n", *header);
    }
}

static bool tell(struct talk *talk, const char *format, va_list args) __attribute__((format(printf, 2, 0)));

static bool tell(struct talk *talk, const char *format, va_list args)
{
    talk->failed = true;
    if (!talk->quiet) {
        talk->failures++;
        printf("%s:%d: ", talk->file, talk->line);
        vprintf(format, args);
        printf("\n");
        tell_asked(talk);
    }
    if (talk->failures >= FAILURES_MAX)
        talk->over = true;
    return false;
}

bool talk_fail(struct talk *talk, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    tell(talk, format, args);
    va_end(args);
    return false;
}

bool talk_abort(struct talk *talk, const char *format, ...)
{
    va_list args;

    talk->over = true;
    talk->quiet = false;
    va_start(args, format);
    tell(talk, format, args);
    va_end(args);
    return false;
}

static double now_s(void)
{
    return (double)clock_us() / 1e6;
}

/* ---- the file ---- */

static char *trimmed(char *line)
{
    size_t len;

    line += strspn(line, " \t");
    len = strlen(line);
    while (len > 0 && strchr(" \t\r", line[len - 1]))
        line[--len] = '\0';
    if (*line == '#')
        *line = '\0';
    return line;
}

bool script_read(struct script *script, const char *path)
{
    FILE *file = fopen(path, "r");
    size_t room = 0;
    char *save = NULL;

    memset(script, 0, sizeof(*script));
    if (file == NULL || getdelim(&script->text, &room, '\0', file) < 0) {
        if (file)
            fclose(file);
        return false;
    }
    fclose(file);
    for (char *line = script->text; line; line = save) {
        save = strchr(line, '\n');
        if (save)
            *save++ = '\0';
        script->lines = realloc(script->lines, (script->count + 1) * sizeof(char *));
        script->lines[script->count++] = trimmed(line);
    }
    return true;
}

void script_free(struct script *script)
{
    free(script->lines);
    free(script->text);
}

/* The `start` line must be the first that says anything. NULL if it is not. */
static const char *script_start_line(const struct script *script)
{
    for (size_t i = 0; i < script->count; i++)
        if (*script->lines[i])
            return strncmp(script->lines[i], "start ", 6) == 0 ? script->lines[i] : NULL;
    return NULL;
}

/* ---- lines ---- */

static const struct {
    const char *word;
    void (*act)(struct talk *talk, const char *rest);
} LINES[] = {
    {"with", talk_with},
    {"again", talk_again},
    {"at once", talk_at_once},
    {"raw", talk_raw},
    {"expect", talk_expect},
    {"save", talk_save},
    {"kill", talk_kill},
    {"terminate", talk_terminate},
    {"pause", talk_pause},
    {"resume", talk_resume},
    {"restart", talk_restart},
    {"second", talk_second},
    {"redis", talk_redis},
    {"audit", talk_audit},
    {"run", talk_program},
    {"caller", talk_caller},
    {"forget caller", talk_forget_caller},
};

static void set_line(struct talk *talk, const char *rest)
{
    char *name = talk_word(&rest), *value = talk_expand(talk, rest);

    if (name)
        talk_set(talk, name, value);
    free(name);
    free(value);
}

static void run_line(struct talk *talk, const char *line)
{
    if (talk_accept(&line, "set")) {
        set_line(talk, line);
        return;
    }
    if (strncmp(line, "caller ", 7) != 0) /* all callers that are added together are waited for once */
        souk_callers_known(talk->souk);
    for (size_t i = 0; i < sizeof(LINES) / sizeof(*LINES); i++) {
        if (talk_accept(&line, LINES[i].word)) {
            LINES[i].act(talk, line);
            return;
        }
    }
    if (talk_is_request(talk, line))
        talk_request(talk, line);
    else
        talk_abort(talk, "\"%s\" is no line of a conversation; see tests/flow/README.md", line);
}

static bool is_about_answer(const char *line)
{
    return strncmp(line, "expect ", 7) == 0 || strncmp(line, "save ", 5) == 0 || *line == '\0';
}

/* Lines ${first} to ${end}: a request (or `redis`) and what is expected of its answer. Returns whether all held. */
static bool run_block(struct talk *talk, const struct script *script, size_t first, size_t end)
{
    talk->failed = false;
    for (size_t i = first; i < end && !talk->over && !talk->failed; i++) {
        talk->line = (int)i + 1;
        if (*script->lines[i])
            run_line(talk, script->lines[i]);
    }
    return !talk->failed;
}

/*
 * "within 5s": repeats the lines that follow, up to the last expectation about the first one's answer, until they hold. Returns the line after them.
 */
static size_t run_within(struct talk *talk, const struct script *script, size_t at)
{
    struct timespec moment = {0, 20000000};
    double deadline = now_s() + strtod(script->lines[at] + strlen("within "), NULL);
    size_t first = at + 1, end;

    while (first < script->count && strncmp(script->lines[first], "with ", 5) == 0)
        first++;
    for (end = first + 1; end < script->count && is_about_answer(script->lines[end]); end++) {
    }
    talk->quiet = true;
    while (!run_block(talk, script, at + 1, end) && !talk->over && now_s() < deadline)
        nanosleep(&moment, NULL);
    talk->quiet = false;
    if (talk->failed && !talk->over)
        run_block(talk, script, at + 1, end); /* once more, loudly */
    return end;
}

static void talk_run(struct talk *talk, const struct script *script)
{
    size_t i = 0;

    while (i < script->count && !talk->over) {
        const char *line = script->lines[i];

        talk->line = (int)i + 1;
        if (*line == '\0' || strncmp(line, "start ", 6) == 0) {
            i++;
        } else if (strncmp(line, "within ", 7) == 0) {
            i = run_within(talk, script, i);
        } else {
            run_line(talk, line);
            i++;
        }
    }
}

/* ---- the Souk it runs on ---- */

struct stage {
    struct souk *souk;
    char *start_line;
    bool audited; /* it has an order worker */
    char *env[ENV_MAX + 1];
    size_t env_count;
};

static bool read_start(struct stage *stage, struct souk_settings *settings, const char *rest)
{
    static const char *const ROLES[SOUK_ROLES] = {"product", "order", "payment", "sandbox"};
    char *word;

    while ((word = talk_word(&rest)) != NULL) {
        bool known = strchr(word, '=') != NULL && stage->env_count < ENV_MAX;

        for (int i = 0; i < SOUK_ROLES; i++)
            if (strcmp(word, ROLES[i]) == 0)
                settings->roles[i] = known = true;
        if (strcmp(word, "shards") == 0) {
            settings->shards = (unsigned)strtoul(rest, (char **)&rest, 10);
            known = settings->shards > 0;
        }
        if (strchr(word, '=') && known)
            stage->env[stage->env_count++] = strdup(word);
        if (!known) {
            printf("\"%s\" cannot stand in a `start` line\n", word);
            free(word);
            return false;
        }
        free(word);
    }
    settings->env = (const char *const *)stage->env;
    return true;
}

/* Ends what runs. Returns how many things were wrong with it. */
static unsigned stage_close(struct stage *stage)
{
    unsigned wrong = souk_stop(stage->souk);

    for (size_t i = 0; i < stage->env_count; i++)
        free(stage->env[i]);
    free(stage->start_line);
    memset(stage, 0, sizeof(*stage));
    return wrong;
}

/* Makes ${stage} one with this start line. Returns false if the line is not understood. Adds to ${wrong} what was wrong with the one before. */
static bool stage_open(struct stage *stage, const char *start_line, unsigned *wrong)
{
    struct souk_settings settings = {.shards = 0};

    if (stage->souk && strcmp(stage->start_line, start_line) == 0) {
        souk_mend(stage->souk);
        return true;
    }
    if (stage->souk)
        *wrong += stage_close(stage) > 0;
    if (!read_start(stage, &settings, start_line + strlen("start ")))
        return false;
    stage->souk = souk_start(&settings);
    stage->start_line = strdup(start_line);
    stage->audited = settings.roles[SOUK_ORDER];
    return true;
}

/* ---- one file ---- */

static void set_urls(struct talk *talk)
{
    static const char *const NAMES[SOUK_ROLES] = {"product_url", "order_url", "payment_url", "sandbox_url"};

    for (int i = 0; i < SOUK_ROLES; i++)
        if (souk_has(talk->souk, i))
            talk_set(talk, NAMES[i], souk_url(talk->souk, i));
}

/* $shards: "7001,7002,7003"; $operator: the file with the password of who may read them. */
static void set_shards(struct talk *talk)
{
    char ports[SOUK_SHARDS_MAX * 8] = "";

    for (unsigned i = 0; i < souk_shard_count(talk->souk); i++) {
        size_t len = strlen(ports);

        snprintf(ports + len, sizeof(ports) - len, "%s%d", i ? "," : "", redis_port(souk_shard(talk->souk, i)));
    }
    talk_set(talk, "shards", ports);
    talk_set(talk, "operator", shard_users_password_file(souk_users(talk->souk), "souk-operator"));
}

void talk_begin(struct talk *talk, const char *file)
{
    const char *slash = strrchr(file, '/'), *base = slash ? slash + 1 : file;

    memset(talk, 0, sizeof(*talk));
    talk->file = file;
    snprintf(talk->name, sizeof(talk->name), "%.*s", (int)strcspn(base, "."), base);
    talk_set(talk, "flow", talk->name);
    talk_set(talk, "nl", "\n");
}

static void talk_init(struct talk *talk, struct souk *souk, const char *file)
{
    talk_begin(talk, file);
    talk->souk = souk;
    set_urls(talk);
    set_shards(talk);
}

void talk_free(struct talk *talk)
{
    talk_drop_with(talk);
    talk_drop_crowd(talk);
    asked_free(&talk->asked);
    response_free(talk->now);
    response_free(talk->before);
    raw_close(talk->raw);
    free(talk->redis_answer);
    for (size_t i = 0; i < talk->variable_count; i++) {
        free(talk->variables[i].name);
        free(talk->variables[i].value);
    }
}

/* After its last line, all that was killed runs again, and units and money must add up. */
static void talk_finish(struct talk *talk, bool audited)
{
    souk_mend(talk->souk);
    if (audited && !souk_audit(talk->souk))
        talk_fail(talk, "after the last line: expected the audit to be fine");
}

static bool run_file(struct stage *stage, const char *file, unsigned *wrong)
{
    struct script script;
    struct talk talk;
    const char *start_line;
    double began;
    bool fine;

    if (!script_read(&script, file) || (start_line = script_start_line(&script)) == NULL || !stage_open(stage, start_line, wrong)) {
        printf("FAIL %s: it cannot be read, or does not begin with a `start` line\n", file);
        script_free(&script);
        return false;
    }
    began = now_s();
    talk_init(&talk, stage->souk, file);
    talk_run(&talk, &script);
    talk_finish(&talk, stage->audited);
    fine = talk.failures == 0;
    printf("%s %s (%u requests, %u expectations, %.2f s)\n", fine ? "ok  " : "FAIL", file, talk.requests, talk.expectations, now_s() - began);
    fflush(stdout);
    talk_free(&talk);
    script_free(&script);
    return fine;
}

unsigned conversation_run(const char *const *files, int count)
{
    struct stage stage = {.souk = NULL};
    unsigned failed = 0, wrong = 0;

    for (int i = 0; i < count; i++)
        failed += !run_file(&stage, files[i], &wrong);
    return failed + wrong + (stage.souk && stage_close(&stage) > 0);
}
