#include <ctype.h>
#include <regex.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "conversation_internal.h"

static const char *skip_blanks(const char *at)
{
    return at + strspn(at, " \t");
}

static const char *end_of_quoted(const char *at)
{
    for (at++; *at && *at != '"'; at++)
        if (*at == '\\' && at[1])
            at++;
    return at;
}

char *talk_word(const char **rest)
{
    const char *at = skip_blanks(*rest), *end;
    char *word;

    if (*at == '\0')
        return NULL;
    if (*at == '"') {
        end = end_of_quoted(at);
        word = strndup(at + 1, (size_t)(end - at - 1));
        *rest = skip_blanks(*end ? end + 1 : end);
    } else {
        end = at + strcspn(at, " \t");
        word = strndup(at, (size_t)(end - at));
        *rest = skip_blanks(end);
    }
    return word;
}

bool talk_accept(const char **rest, const char *word)
{
    const char *at = skip_blanks(*rest);
    size_t len = strlen(word);

    if (strncmp(at, word, len) != 0 || (at[len] != '\0' && at[len] != ' ' && at[len] != '\t'))
        return false;
    *rest = skip_blanks(at + len);
    return true;
}

void talk_set(struct talk *talk, const char *name, const char *value)
{
    for (size_t i = 0; i < talk->variable_count; i++) {
        if (strcmp(talk->variables[i].name, name) == 0) {
            char *copy = strdup(value);

            free(talk->variables[i].value);
            talk->variables[i].value = copy;
            return;
        }
    }
    if (talk->variable_count == VARIABLES_MAX) {
        talk_abort(talk, "there are more than %d variables", VARIABLES_MAX);
        return;
    }
    talk->variables[talk->variable_count++] = (struct variable){strdup(name), strdup(value)};
}

static size_t name_length(const char *at)
{
    size_t len = 0;

    while (isalpha((unsigned char)*at) || (len > 0 && isdigit((unsigned char)*at)) || *at == '_') {
        at++;
        len++;
    }
    return len;
}

static void put_variable(struct talk *talk, FILE *out, const char *name, size_t len)
{
    for (size_t i = 0; i < talk->variable_count; i++) {
        if (strlen(talk->variables[i].name) == len && memcmp(talk->variables[i].name, name, len) == 0) {
            fputs(talk->variables[i].value, out);
            return;
        }
    }
    talk_abort(talk, "there is no variable \"%.*s\"", (int)len, name);
}

/* "${TEXT*COUNT}": ${at} points behind the brace. Returns the place behind the closing one, or NULL if it is none. */
static const char *put_repeated(FILE *out, const char *at)
{
    for (const char *star = strchr(at, '*'); star; star = strchr(star + 1, '*')) {
        char *end;
        unsigned long count = strtoul(star + 1, &end, 10);

        if (end > star + 1 && *end == '}') {
            while (count-- > 0)
                fwrite(at, 1, (size_t)(star - at), out);
            return end + 1;
        }
    }
    return NULL;
}

/* ${at} points at a '$'. Returns the place behind what was put. */
static const char *put_dollar(struct talk *talk, FILE *out, const char *at)
{
    bool brace = at[1] == '{';
    size_t len = name_length(at + 1 + brace);
    const char *behind;

    if (len > 0 && (!brace || at[2 + len] == '}')) {
        put_variable(talk, out, at + 1 + brace, len);
        return at + 1 + len + 2 * (size_t)brace;
    }
    if (brace && (behind = put_repeated(out, at + 2)) != NULL)
        return behind;
    fputc('$', out);
    return at + (at[1] == '$' ? 2 : 1);
}

char *talk_expand(struct talk *talk, const char *text)
{
    char *expanded = NULL;
    size_t len;
    FILE *out = open_memstream(&expanded, &len);

    while (*text)
        if (*text == '$')
            text = put_dollar(talk, out, text);
        else
            fputc(*text++, out);
    fclose(out);
    return expanded;
}

char *talk_next(struct talk *talk, const char **rest)
{
    char *word = talk_word(rest), *expanded = word ? talk_expand(talk, word) : NULL;

    free(word);
    return expanded;
}

size_t talk_unescape(char *text)
{
    static const char NAMES[] = "rnt\"\\", BYTES[] = "\r\n\t\"\\";
    char *out = text;

    for (const char *at = text; *at; at++) {
        const char *found = *at == '\\' && at[1] ? strchr(NAMES, at[1]) : NULL;
        unsigned byte;

        if (found) {
            *out++ = BYTES[found - NAMES];
            at++;
        } else if (*at == '\\' && at[1] == 'x' && sscanf(at + 2, "%2x", &byte) == 1) {
            *out++ = (char)byte;
            at += 3;
        } else {
            *out++ = *at;
        }
    }
    *out = '\0';
    return (size_t)(out - text);
}

bool talk_matches(struct talk *talk, const char *text, const char *pattern)
{
    regex_t regex;
    bool found;

    if (regcomp(&regex, pattern, REG_EXTENDED | REG_NOSUB) != 0)
        return talk_abort(talk, "\"%s\" is no regular expression", pattern);
    found = regexec(&regex, text, 0, NULL, 0) == 0;
    regfree(&regex);
    return found;
}
