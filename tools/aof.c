#include <ctype.h>
#include <strings.h>

#include "aof.h"

#define WORDS_MAX ((size_t)1 << 20)
#define WORD_MAX ((size_t)512 << 20)

enum found {
    WHOLE,
    SHORT, /* there is no more, and what there is could go on well */
    WRONG,
};

struct reader {
    struct view bytes;
    size_t at;             /* behind what was read; of SHORT the end, of WRONG the first byte that cannot be */
    bool doubts, in_doubt; /* words that could hide others are looked for; one was found */
};

struct command {
    size_t words;
    struct view name;
};

/* ---- words and commands ---- */

static enum found read_byte(struct reader *reader, char wanted)
{
    if (reader->at == reader->bytes.len)
        return SHORT;
    if (reader->bytes.at[reader->at] != wanted)
        return WRONG;
    reader->at++;
    return WHOLE;
}

static enum found read_line_end(struct reader *reader)
{
    enum found found = read_byte(reader, '\r');
    return found == WHOLE ? read_byte(reader, '\n') : found;
}

/* "*3\r\n" and "$5\r\n" */
static enum found read_number(struct reader *reader, char mark, size_t most, size_t *number)
{
    enum found found = read_byte(reader, mark);
    if (found != WHOLE)
        return found;
    size_t first = reader->at;
    for (*number = 0; reader->at < reader->bytes.len; reader->at++) {
        unsigned digit = (unsigned char)reader->bytes.at[reader->at] - (unsigned)'0';
        if (digit > 9)
            break;
        if (reader->at > first && *number == 0) /* a zero before other digits */
            return WRONG;
        *number = *number * 10 + digit;
        if (*number > most)
            return WRONG;
    }
    if (reader->at == first)
        return reader->at == reader->bytes.len ? SHORT : WRONG;
    return read_line_end(reader);
}

/* Is there a line like those between words ("$5", "*3") in it? Without an end, it may also end in a line's end. */
static bool could_hide(struct view word, bool whole)
{
    const char *end = word.at + word.len;
    for (const char *line = word.at; (line = memmem(line, (size_t)(end - line), "\r\n", 2));) {
        const char *mark = line += 2, *digit = mark + 1;
        if (mark == end)
            return !whole;
        while (digit < end && isdigit((unsigned char)*digit))
            digit++;
        if ((*mark == '$' || *mark == '*') && digit > mark + 1 && (digit == end || *digit == '\r'))
            return true;
    }
    return false;
}

/* "$5\r\nhello\r\n" */
static enum found read_word(struct reader *reader, struct view *word)
{
    size_t len;
    enum found found = read_number(reader, '$', WORD_MAX, &len);
    if (found != WHOLE)
        return found;
    size_t left = reader->bytes.len - reader->at;
    *word = (struct view){reader->bytes.at + reader->at, len < left ? len : left};
    reader->at += word->len;
    found = len <= left ? read_line_end(reader) : SHORT;
    if (reader->doubts)
        reader->in_doubt |= could_hide(*word, found == WHOLE);
    return found;
}

static bool is(const struct command *command, const char *name)
{
    return command->name.len == strlen(name) && strncasecmp(command->name.at, name, command->name.len) == 0;
}

static enum found wrong_from(struct reader *reader, size_t begin)
{
    reader->at = begin;
    return WRONG;
}

static enum found read_command(struct reader *reader, struct command *command)
{
    size_t begin = reader->at;
    enum found found = read_number(reader, '*', WORDS_MAX, &command->words);
    if (found != WHOLE)
        return found;
    if (command->words == 0)
        return wrong_from(reader, begin);
    found = read_word(reader, &command->name);
    if (found == WHOLE && command->words > 1 && (is(command, "MULTI") || is(command, "EXEC")))
        return wrong_from(reader, begin);
    for (size_t n = 1; found == WHOLE && n < command->words; n++) {
        struct view word;
        found = read_word(reader, &word);
    }
    return found;
}

/* ---- writes ---- */

static enum found read_comment(struct reader *reader)
{
    const char *from = reader->bytes.at + reader->at, *end = memchr(from, '\n', reader->bytes.len - reader->at);
    reader->at = end ? (size_t)(end + 1 - reader->bytes.at) : reader->bytes.len;
    return end ? WHOLE : SHORT;
}

/* May this command stand here, and is a transaction open behind it? There are few commands of one word. */
static bool go_on(const struct command *command, bool *open)
{
    bool begins = is(command, "MULTI"), ends = is(command, "EXEC"), was_open = *open;
    *open = begins || (was_open && !ends);
    if (was_open && command->words == 1)
        return ends || is(command, "FLUSHALL") || is(command, "FLUSHDB");
    return !ends;
}

static enum found read_write(struct reader *reader)
{
    enum found found;
    bool open = false;
    do {
        size_t begin = reader->at;
        if (begin < reader->bytes.len && reader->bytes.at[begin] == '#') {
            found = read_comment(reader);
        } else {
            struct command command;
            found = read_command(reader, &command);
            if (found == WHOLE && !go_on(&command, &open))
                found = wrong_from(reader, begin);
        }
    } while (found == WHOLE && open);
    return found;
}

size_t aof_whole(struct view bytes)
{
    struct reader reader = {.bytes = bytes};
    size_t whole = 0;
    while (whole < bytes.len && read_write(&reader) == WHOLE)
        whole = reader.at;
    return whole;
}

/* ---- the rest ---- */

static bool is_few_nuls(struct view bytes)
{
    for (size_t i = 0; i < bytes.len; i++)
        if (bytes.at[i] != '\0')
            return false;
    return bytes.len <= AOF_NULS_MAX;
}

enum aof_rest aof_judge(struct view rest)
{
    struct reader reader = {.bytes = rest, .doubts = true};
    if (rest.len == 0)
        return AOF_NOTHING;
    if (rest.len > AOF_REST_MAX)
        return AOF_TOO_LONG;
    enum found found = read_write(&reader); /* WHOLE: whoever asks has not taken that off */
    bool ends = found == SHORT || (found == WRONG && is_few_nuls((struct view){rest.at + reader.at, rest.len - reader.at}));
    return ends && !reader.in_doubt ? AOF_UNFINISHED : AOF_DAMAGED;
}
