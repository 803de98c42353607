#ifndef JOURNAL_H
#define JOURNAL_H

#include <stdbool.h>

#include "book.h"

/*
 * The book's memory across a kill: a file of JSON lines, one per entry, read at the start and appended to. What was added in one turn is written and
 * synced at once; answers wait for that.
 */
struct journal;

/* Could ${path} be a journal? Returns NULL, or why not (static). Makes and reads nothing. */
const char *journal_check(const char *path);

/*
 * Reads ${path} (made if it is not there) into ${book}. A last line without its end was never answered and is cut off. Returns NULL and logs if
 * the file cannot be used or one of its lines makes no sense.
 */
struct journal *journal_open(const char *path, struct book *book);
void journal_close(struct journal *journal);

void journal_add(struct journal *journal, const struct entry *entry);
/* Writes what was added and syncs it. A gateway that cannot remember must not answer: on failure it logs and the process ends. */
void journal_sync(struct journal *journal);

#endif
