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
    char folder[NAME_MAX + 1], name[NAME_MAX + 1]; /* what is set */
    char last[NAME_MAX + 1];                       /* of the manifest's files; empty: none */
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

static bool set(struct finder *finder, char name[NAME_MAX + 1], const char *value)
{
    if (strlen(value) > NAME_MAX)
        return fail(finder, "%.40s… is longer than a name can be", value);
    strcpy(name, value);
    return true;
}

static bool join(struct finder *finder, char path[PATH_MAX], const char *folder, const char *name, const char *end)
{
    bool from_here = name[0] == '/' || strcmp(folder, ".") == 0;
    int len = from_here ? snprintf(path, PATH_MAX, "%s%s", name, end) : snprintf(path, PATH_MAX, "%s/%s%s", folder, name, end);
    return len < PATH_MAX || fail(finder, "%.40s… is longer than a path can be", from_here ? name : folder);
}

/* redis-server goes there at once. */
static bool enter(struct finder *finder, const char *dir)
{
    char from[PATH_MAX];
    strcpy(from, finder->files->dir);
    return join(finder, finder->files->dir, from, dir, "");
}

static bool got_setting(struct finder *finder, char **words, int count);

static bool include(struct finder *finder, const char *name)
{
    char pattern[PATH_MAX];
    glob_t found;
    bool good = true;
    if (finder->depth == INCLUDES_MAX)
        return fail(finder, "%d settings files include each other", INCLUDES_MAX);
    if (!join(finder, pattern, finder->files->dir, name, ""))
        return false;
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
        return enter(finder, words[1]);
    if (strcasecmp(words[0], "appenddirname") == 0)
        return set(finder, finder->folder, words[1]);
    if (strcasecmp(words[0], "appendfilename") == 0)
        return set(finder, finder->name, words[1]);
    return strcasecmp(words[0], "include") != 0 || include(finder, words[1]);
}

/*
 * Options: "--NAME VALUE", or both in one argument, are a line of a settings file. What follows a name is its value, whatever it looks like, but for
 * --save, which may have none.
 */
static bool options_read(struct finder *finder, int argc, char **argv, int first)
{
    bool good = true;
    for (int i = first; good && i < argc; i++) {
        char *words[WORDS_MAX], *option = strncmp(argv[i], "--", 2) == 0 ? strdup(argv[i] + 2) : NULL;
        int count = option ? words_of(option, words) : 0;
        bool wants_value = count == 1 && i + 1 < argc && (strcasecmp(words[0], "save") != 0 || strncmp(argv[i + 1], "--", 2) != 0);
        if (wants_value)
            words[count++] = argv[++i];
        good = count <= 0 || got_setting(finder, words, count);
        free(option);
    }
    return good;
}

bool shard_files_settings(struct shard_files *files, int argc, char **argv)
{
    struct finder finder = {.files = files, .folder = "appendonlydir", .name = "appendonly.aof"};
    int first = argc > 1 && argv[1][0] != '-' ? 2 : 1;
    strcpy(files->dir, ".");
    if (argc > 1 && (strcmp(argv[1], "-") == 0 || strcmp(argv[argc - 1], "-") == 0))
        return fail(&finder, "there are settings in the standard input");
    if (first == 2 && !each_line(&finder, argv[1], got_setting))
        return false;
    return options_read(&finder, argc, argv, first) && join(&finder, files->folder, files->dir, finder.folder, "") &&
           join(&finder, files->manifest, files->folder, finder.name, ".manifest");
}

/* ---- the manifest ---- */

/* "file NAME seq N type T": what is written to is the last of type i, incremental; type b is the base below them, h is done with. */
static bool got_file(struct finder *finder, char **words, int count)
{
    if (count < 6 || strcmp(words[0], "file") != 0 || strcmp(words[4], "type") != 0)
        return fail(finder, "its manifest has a line that names no file");
    return strcmp(words[5], "i") != 0 || set(finder, finder->last, words[1]);
}

enum shard_found shard_files_find(struct shard_files *files)
{
    struct finder finder = {.files = files};
    if (access(files->manifest, F_OK) != 0 && errno == ENOENT)
        return SHARD_NEW;
    if (!each_line(&finder, files->manifest, got_file))
        return SHARD_UNKNOWN;
    if (finder.last[0] == '\0')
        return SHARD_NEW;
    return join(&finder, files->file, files->folder, finder.last, "") ? SHARD_FOUND : SHARD_UNKNOWN;
}
