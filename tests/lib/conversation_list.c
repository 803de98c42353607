#include <ctype.h>
#include <stdlib.h>

#include "conversation_internal.h"

/* "400 or 422", "problem 404 not_found"; other expectations are about more than the status. */
static void list_statuses(struct listed *listed, const char *rest)
{
    listed->problem = talk_accept(&rest, "problem") || listed->problem;
    while (isdigit((unsigned char)*rest) && listed->status_count < LISTED_STATUSES_MAX) {
        char *end;

        listed->statuses[listed->status_count++] = (int)strtol(rest, &end, 10);
        rest = end;
        if (!talk_accept(&rest, "or"))
            return;
    }
}

static bool list_asked(struct talk *talk, struct asked *asked, const char *line)
{
    if (talk_accept(&line, "raw"))
        return talk_read_raw(talk, asked, line);
    return talk_is_request(talk, line) && talk_read_request(talk, asked, line);
}

size_t conversation_list(const char *file, struct listed **list)
{
    struct script script;
    struct talk talk;
    size_t count = 0;

    *list = NULL;
    if (!script_read(&script, file))
        return 0;
    *list = calloc(script.count + 1, sizeof(**list));
    talk_begin(&talk, file);
    for (size_t i = 0; i < script.count && !talk.over; i++) {
        const char *line = script.lines[i];
        struct listed *next = &(*list)[count];

        talk.line = next->line = (int)i + 1;
        if (talk_accept(&line, "with"))
            talk_with(&talk, line);
        else if (count > 0 && talk_accept(&line, "expect"))
            list_statuses(next - 1, line);
        else
            count += list_asked(&talk, &next->asked, line);
    }
    talk_free(&talk);
    script_free(&script);
    if (!talk.over)
        return count;
    conversation_list_free(*list, count);
    *list = NULL;
    return 0;
}

void conversation_list_free(struct listed *list, size_t count)
{
    for (size_t i = 0; i < count; i++)
        asked_free(&list[i].asked);
    free(list);
}
