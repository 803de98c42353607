#ifndef CONVERSATION_H
#define CONVERSATION_H

#include <stdbool.h>
#include <stddef.h>

/*
 * Runs conversations (tests/flow/README.md) one after another. Files that begin with the same `start` line share one running Souk; whatever one of
 * them killed runs again before the next. Each prints one line, and each failure file, line, what was asked and what came. Returns the number of
 * files that failed, counting a Souk that did not end well as one.
 */
unsigned conversation_run(const char *const *files, int count);

#define ASKED_HEADERS_MAX 32
/* A request as it is sent. Bytes that are sent as they stand (`raw`) have no method: they are the body. */
struct asked {
    int worker;
    char *method, *path;
    char *headers[ASKED_HEADERS_MAX + 1]; /* ended by NULL */
    char *body;
    size_t body_len;
};

/*
 * The requests of one conversation by themselves, for a test that sends them when the conversation could not hold. What rests on an earlier answer
 * (`again`, `raw more`, what was saved) is left out.
 */
#define LISTED_STATUSES_MAX 4
struct listed {
    int line;
    struct asked asked;
    int statuses[LISTED_STATUSES_MAX]; /* one of these is expected; 0: no answer */
    unsigned status_count;
    bool problem; /* as a complete problem */
};
/* Returns how many there are; 0 if the file cannot be read or makes no sense, which is printed. */
size_t conversation_list(const char *file, struct listed **list);
void conversation_list_free(struct listed *list, size_t count);

#endif
