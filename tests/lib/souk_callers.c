#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "client.h"

#include "souk_fixture_internal.h"

/*
 * The workers' file of tokens, as Kubernetes would mount it: DIR/tokens is a link to DIR/tokens.N, and with every change it is turned to the next
 * one.
 */
#define KNOWN_MS 10000

static bool is_on(const struct souk *souk)
{
    for (const char *const *row = souk->settings.env; row && *row; row++)
        if (strcmp(*row, "SOUK_AUTH=tokens") == 0)
            return true;
    return false;
}

char *souk_tokens_file(const struct souk *souk)
{
    return is_on(souk) ? fixture_text("%s/tokens", souk->dir) : NULL;
}

void souk_write_tokens(struct souk *souk, const char *text, unsigned mode)
{
    char *file = fixture_text("%s/tokens.%u", souk->dir, ++souk->tokens_written), *link = fixture_text("%s/tokens.next", souk->dir);
    char *path = fixture_text("%s/tokens", souk->dir);
    int fd = open(file, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

    if (fd < 0 || write(fd, text, strlen(text)) != (ssize_t)strlen(text) || fchmod(fd, (mode_t)mode) != 0)
        fixture_fail("cannot write %s: %s", file, strerror(errno));
    close(fd);
    if (symlink(file, link) != 0 || rename(link, path) != 0)
        fixture_fail("cannot turn %s to %s: %s", path, file, strerror(errno));
    free(path);
    free(link);
    free(file);
}

/* Runs `soukctl token`, and cuts its two lines. */
static void make_token(const char *name, const char *scopes, const char *user, char **token, char **line)
{
    char *command =
        fixture_text("%s/soukctl token '%s' '%s' %s%s%s", SOUK_BIN, name, scopes, user ? "'--user=" : "", user ? user : "", user ? "'" : "");
    char first[256], second[1024];
    FILE *pipe = popen(command, "re");

    if (pipe == NULL || fgets(first, sizeof(first), pipe) == NULL || fgets(second, sizeof(second), pipe) == NULL || pclose(pipe) != 0)
        fixture_fail("%s does not make a token; it says why above", command);
    first[strcspn(first, "\n")] = '\0';
    if (strncmp(first, "token ", 6) != 0 || strncmp(second, "line  ", 6) != 0)
        fixture_fail("%s does not say \"token …\" and \"line …\"", command);
    *token = fixture_text("%s", first + 6);
    *line = fixture_text("%s", second + 6);
    free(command);
}

static void set_text(struct souk *souk, char *text)
{
    free(souk->tokens);
    souk->tokens = text;
    souk_write_tokens(souk, text, 0640);
}

void callers_start(struct souk *souk)
{
    char *line;

    if (!is_on(souk))
        return;
    make_token("fixture", "audit:read", NULL, &souk->token, &line);
    set_text(souk, line);
}

void callers_end(struct souk *souk)
{
    free(souk->newcomer);
    free(souk->token);
    free(souk->tokens);
}

struct knowing {
    struct souk *souk;
    int worker;
    char *header;
};

/* Whatever the caller may do there: he is known. */
static bool is_known(void *cookie)
{
    static const char *const LISTS[SOUK_ROLES] = {"/products", "/orders", "/payments", NULL};
    struct knowing *knowing = cookie;
    const struct worker *worker = &knowing->souk->workers[knowing->worker];
    char *url = fixture_text("%s%s", worker->url, LISTS[worker->role]);
    const char *const headers[] = {knowing->header, NULL};
    const struct client_request request = {.method = "GET", .url = url, .headers = headers};
    struct response *response = client_send(knowing->souk->client, &request);
    bool known = response->status != 401 && response->status != 0;

    response_free(response);
    free(url);
    return known;
}

char *souk_caller(struct souk *souk, const char *name, const char *scopes, const char *user)
{
    char *token, *line;

    if (!is_on(souk))
        fixture_fail("there are no callers without SOUK_AUTH=tokens among the settings");
    if (strcmp(name, "anonymous") == 0) {
        set_text(souk, fixture_text("%sanonymous %s\n", souk->tokens, scopes));
        return fixture_text("none");
    }
    make_token(name, scopes, user, &token, &line);
    set_text(souk, fixture_text("%s%s", souk->tokens, line));
    free(line);
    free(souk->newcomer);
    souk->newcomer = fixture_text("%s", token);
    return token;
}

void souk_callers_known(struct souk *souk)
{
    struct knowing knowing = {.souk = souk};

    if (souk->newcomer == NULL)
        return;
    knowing.header = fixture_text("Authorization: Bearer %s", souk->newcomer);
    for (knowing.worker = 0; knowing.worker < SOUK_WORKERS_MAX; knowing.worker++) {
        const struct worker *worker = &souk->workers[knowing.worker];

        if (!souk->used[knowing.worker] || worker->role == SOUK_SANDBOX || worker->pid == 0 || souk_wait(is_known, &knowing, KNOWN_MS))
            continue;
        fixture_show_log(worker->log);
        fixture_fail("%s does not know a caller %d ms after he was added", worker->name, KNOWN_MS);
    }
    free(knowing.header);
    free(souk->newcomer);
    souk->newcomer = NULL;
}

void souk_forget_caller(struct souk *souk, const char *name)
{
    char *left = fixture_text("# changed\n");
    size_t len = strlen(name);

    for (const char *at = souk->tokens; *at;) {
        int line = (int)strcspn(at, "\n");

        if (strncmp(at, name, len) != 0 || at[len] != ' ') {
            char *more = fixture_text("%s%.*s\n", left, line, at);

            free(left);
            left = more;
        }
        at += line + (at[line] == '\n');
    }
    set_text(souk, left);
}
