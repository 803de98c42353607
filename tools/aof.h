#ifndef AOF_H
#define AOF_H

#include "view.h"

/*
 * The append-only file of a redis-server, and what its end is when the power failed while it was written. Pure: bytes in, lengths out.
 *
 *   file:  write │ write │ … │ write │ rest │
 *                              whole ▲      ▲ end
 *
 * A write is one command, or the commands from MULTI to EXEC, which are done together, in RESP ("*2\r\n$3\r\nDEL\r\n$1\r\na\r\n"); or a comment of
 * aof-timestamp-enabled. The formats: "Redis serialization protocol specification" of redis.io, and loadSingleAppendOnlyFile in aof.c of Redis 7.
 */

/* A rest that is longer is no unfinished write. */
#define AOF_REST_MAX ((size_t)64 << 20)

/* How many bytes at the front of ${bytes} are whole writes. */
size_t aof_whole(struct view bytes);

enum aof_rest {
    AOF_NOTHING,
    AOF_UNFINISHED, /* the beginning of one write, and behind it nothing, or NULs only: the file had its length before it had its bytes */
    AOF_DAMAGED,
};

/*
 * What ${rest} is: all that stands behind the last whole write. DAMAGED is also what could be whole writes that a changed length of a word hides (the
 * file ends as whole writes do): in doubt nothing is called unfinished. One change is not told from an unfinished write: that of the number of words
 * in the last command, if that is in no transaction.
 */
enum aof_rest aof_judge(struct view rest);

#endif
