#ifndef DUMP_H
#define DUMP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "arena.h"
#include "view.h"

/*
 * The answer of DUMP: a key's value as Redis writes it to its files. It is for whoever reads all there is. A record comes as one text, which costs a
 * shard about six tenths of what HGETALL does; a sorted set comes with its scores as numbers, about an eighth of ZRANGE or ZMSCORE, which print each.
 *
 * Read are hashes, sorted sets and streams in the encodings of Redis 7 and Valkey (rdb.c, listpack.c and t_stream.c there; RDB_TYPE_HASH, _ZSET_2,
 * _HASH_LISTPACK, _ZSET_LISTPACK and the three _STREAM_LISTPACKS). Another encoding, as a later version may have it or as `rdbcompression yes` makes
 * it, is refused: ask by HGETALL, ZMSCORE or XRANGE then. The check sum is not looked at, for it is one over what a file has, and this came by a
 * connection.
 */
enum dump_kind { DUMP_HASH, DUMP_ZSET };
struct dump {
    struct arena *arena;
    const unsigned char *at, *end;
    size_t left; /* fields or members that are still to come */
    bool packed; /* what comes is a listpack */
    bool broken;
};

/*
 * Begins to read ${answer}, which must stay as long as what is read from it. Returns false, and nothing can be read, if it is no such value or in no
 * encoding that is known. Numbers are made texts in ${arena}.
 */
bool dump_open(struct dump *dump, struct view answer, enum dump_kind kind, struct arena *arena);

/* The next field of a hash, in the order in which it is kept. Returns false at the end, and when ${answer} cannot be read on: see dump_ended. */
bool dump_field(struct dump *dump, struct view *name, struct view *value);

/*
 * The next member of a sorted set whose members are numbers, as ids are, from the highest score or from the lowest. Returns false as above, and at a
 * member that is none.
 */
bool dump_member(struct dump *dump, int64_t *id, double *score);

/* Was all read, to the last? */
bool dump_ended(const struct dump *dump);

/* A stream, entry by entry from the oldest; what was said above holds for it too. */
struct dump_stream {
    struct dump nodes, node; /* listpacks of some entries each; that which is being read */
    uint64_t base_ms;        /* entries of a node have the difference to this */
    int64_t fields;          /* of an entry that has the node's */
};
bool dump_stream_open(struct dump_stream *stream, struct view answer, struct arena *arena);
/* The next entry: its time, and the value of its first field. */
bool dump_entry(struct dump_stream *stream, int64_t *ms, struct view *value);
bool dump_stream_ended(const struct dump_stream *stream);

#endif
