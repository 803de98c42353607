#ifndef READER_H
#define READER_H

#include "reply.h"

/*
 * Makes hiredis' reader build struct item instead of its own reply objects: the nodes and texts of one answer lie in an arena of the connection,
 * which is replaced once it has given out much. No malloc per answer.
 */
struct arena;
struct redisReader;
struct reader {
    struct arena *arena;
};

void reader_init(struct reader *reader);
/* Takes over a fresh connection's reader. ${reader} outlives that connection. */
void reader_attach(struct reader *reader, struct redisReader *of_connection);
/* The answer in what hiredis hands to a command's callback. Valid until that callback returns. */
const struct item *reader_root(const void *received);
/* The connection is closed by then. */
void reader_free(struct reader *reader);

#endif
