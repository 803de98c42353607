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

/* A longer rest is not judged; and so many NULs are not what one write lacks. */
#define AOF_REST_MAX ((size_t)64 << 20)
#define AOF_NULS_MAX ((size_t)8 << 20)

/* How many bytes at the front of ${bytes} are whole writes. */
size_t aof_whole(struct view bytes);

enum aof_rest {
    AOF_NOTHING,
    AOF_UNFINISHED, /* the beginning of one write, and behind it nothing, or NULs only: the file had its length before it had its bytes */
    AOF_DAMAGED,
    AOF_TOO_LONG,
};

/*
 * What ${rest} is: all that stands behind the last whole write. In doubt it is DAMAGED: when a word could be longer than it was and hide what stands
 * behind it, since lines like those between words are inside it, or it has no end and ends in a line's end. One change of a whole file is not told
 * from an unfinished write: that of the number of words in the last command, if that is in no transaction.
 * What a file without checksums cannot tell: a changed byte inside of a word, or NULs there in the place of what the disk never got.
 */
enum aof_rest aof_judge(struct view rest);

#endif
