#include <ctype.h>
#include <errno.h>
#include <glob.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "shard_files.h"

#define WORDS_MAX 8
#define INCLUDES_MAX 16 /* one in the other */

struct finder {
    struct shard_files *files;
    char dir[PATH_MAX], folder[NAME_MAX + 1], name[NAME_MAX + 1]; /* what is set */
    char last[NAME_MAX + 1];                                      /* of the manifest's files; empty: none */
    unsigned depth;
};

static bool fail(struct finder *finder, const char *format, ...) __attribute__((format(printf, 2, 3)));

static bool fail(struct finder *finder, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(finder->files->error, sizeof(finder->files->error), format, args);
    va_end(args);
    return false;
}

/* ---- lines ---- */

static int hex_digit(char c)
{
    return isdigit((unsigned char)c) ? c - '0' : isxdigit((unsigned char)c) ? tolower((unsigned char)c) - 'a' + 10 : -1;
}

/* What stands behind a backslash between double quotes; *from: its first character, then behind it. */
static char escaped(const char **from)
{
    static const char NAMES[] = "nrtba", MEANT[] = "\n\r\t\b\a";
    const char *at = *from;
    if (at[0] == 'x' && hex_digit(at[1]) >= 0 && hex_digit(at[2]) >= 0) {
        *from = at + 3;
        return (char)(hex_digit(at[1]) * 16 + hex_digit(at[2]));
    }
    const char *name = strchr(NAMES, *at);
    *from = at + 1;
    return name && *at ? MEANT[name - NAMES] : *at;
}

/* Moves what is between quotes to ${to}. Returns behind the second quote; NULL: there is none, or something follows it at once. */
static const char *unquote(const char *from, char **to)
{
    char quote = *from++;
    while (*from && *from != quote) {
        bool is_escape = *from == '\\' && from[1] && (quote == '"' || from[1] == '\'');
        if (is_escape)
            from++;
        *(*to)++ = is_escape && quote == '"' ? escaped(&from) : *from++;
    }
    return *from == quote && (from[1] == '\0' || isspace((unsigned char)from[1])) ? from + 1 : NULL;
}

/*
 * Takes a line apart, in its own memory, as sdssplitargs of Redis does. Returns how many words, at most WORDS_MAX; -1: a quote is not closed, or
 * something follows the second one at once.
 */
static int words_of(char *line, char *words[WORDS_MAX])
{
    const char *from = line;
    char *to = line;
    int count = 0;
    for (;;) {
        while (isspace((unsigned char)*from))
            from++;
        if (*from == '\0' || count == WORDS_MAX)
            return count;
        words[count++] = to;
        while (*from && !isspace((unsigned char)*from))
            if (*from != '"' && *from != '\'')
                *to++ = *from++;
            else if ((from = unquote(from, &to)) == NULL)
                return -1;
        from += *from != '\0'; /* before its place is taken */
        *to++ = '\0';
    }
}

/* Shows each line that is no comment. Returns false if the file cannot be read, or one of them was not taken. */
static bool each_line(struct finder *finder, const char *path, bool (*got_words)(struct finder *finder, char **words, int count))
{
    FILE *file = fopen(path, "re");
    char *line = NULL, *words[WORDS_MAX];
    size_t cap = 0;
    bool good = true;
    if (file == NULL)
        return fail(finder, "cannot read %s: %s", path, strerror(errno));
    while (good && getline(&line, &cap, file) >= 0) {
        int count = line[strspn(line, " \t\r\n")] == '#' ? 0 : words_of(line, words);
        if (count < 0)
            good = fail(finder, "%s has a line with a quote that is not closed", path);
        else if (count > 0)
            good = got_words(finder, words, count);
    }
    if (good && ferror(file))
        good = fail(finder, "cannot read %s: %s", path, strerror(errno));
    free(line);
    fclose(file);
    return good;
}

/* ---- settings ---- */

static bool set(struct finder *finder, char *out, size_t cap, const char *value)
{
    if (strlen(value) >= cap)
        return fail(finder, "%.40s… is longer than a name can be", value);
    strcpy(out, value);
    return true;
}

static bool got_setting(struct finder *finder, char **words, int count);

static bool include(struct finder *finder, const char *pattern)
{
    glob_t found;
    bool good = true;
    if (finder->depth == INCLUDES_MAX)
        return fail(finder, "%d settings files include each other", INCLUDES_MAX);
    if (glob(pattern, 0, NULL, &found) != 0)
        return true; /* redis-server says what it thinks of that */
    finder->depth++;
    for (size_t i = 0; good && i < found.gl_pathc; i++)
        good = each_line(finder, found.gl_pathv[i], got_setting);
    finder->depth--;
    globfree(&found);
    return good;
}

static bool got_setting(struct finder *finder, char **words, int count)
{
    if (count < 2)
        return true;
    if (strcasecmp(words[0], "dir") == 0)
        return set(finder, finder->dir, sizeof(finder->dir), words[1]);
    if (strcasecmp(words[0], "appenddirname") == 0)
        return set(finder, finder->folder, sizeof(finder->folder), words[1]);
    if (strcasecmp(words[0], "appendfilename") == 0)
        return set(finder, finder->name, sizeof(finder->name), words[1]);
    return strcasecmp(words[0], "include") != 0 || include(finder, words[1]);
}

static bool is_option(const char *argument)
{
    return strncmp(argument, "--", 2) == 0;
}

static bool settings_read(struct finder *finder, int argc, char **argv)
{
    int first = argc > 1 && !is_option(argv[1]) ? 2 : 1;
    if (first == 2 && strcmp(argv[1], "-") == 0)
        return fail(finder, "the settings come from standard input");
    if (first == 2 && !each_line(finder, argv[1], got_setting))
        return false;
    for (int i = first; i + 1 < argc; i++) {
        char *words[] = {argv[i] + 2, argv[i + 1]}; /* as in a line of a settings file */
        if (is_option(argv[i]) && !is_option(argv[i + 1]) && !got_setting(finder, words, 2))
            return false;
    }
    return true;
}

/* ---- the manifest ---- */

/* "file NAME seq N type T": what is written to is the last of type i, incremental; type b is the base below them, h is done with. */
static bool got_file(struct finder *finder, char **words, int count)
{
    if (count < 6 || strcmp(words[0], "file") != 0 || strcmp(words[4], "type") != 0)
        return fail(finder, "its manifest has a line that names no file");
    return strcmp(words[5], "i") != 0 || set(finder, finder->last, sizeof(finder->last), words[1]);
}

static bool join(struct finder *finder, char out[PATH_MAX], const char *folder, const char *name, const char *end)
{
    return snprintf(out, PATH_MAX, "%s/%s%s", folder, name, end) < PATH_MAX || fail(finder, "%.40s… is longer than a path can be", folder);
}

enum shard_found shard_files_find(struct shard_files *files, int argc, char **argv)
{
    struct finder finder = {.files = files, .dir = ".", .folder = "appendonlydir", .name = "appendonly.aof"};
    char manifest[PATH_MAX];
    if (!settings_read(&finder, argc, argv) || !join(&finder, files->folder, finder.dir, finder.folder, "") ||
        !join(&finder, manifest, files->folder, finder.name, ".manifest"))
        return SHARD_UNKNOWN;
    if (access(manifest, F_OK) != 0 && errno == ENOENT)
        return SHARD_NEW;
    if (!each_line(&finder, manifest, got_file))
        return SHARD_UNKNOWN;
    if (finder.last[0] == '\0')
        return SHARD_NEW;
    return join(&finder, files->file, files->folder, finder.last, "") ? SHARD_FOUND : SHARD_UNKNOWN;
}
