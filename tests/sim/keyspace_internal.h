#ifndef KEYSPACE_INTERNAL_H
#define KEYSPACE_INTERNAL_H

#include "keyspace.h"

/*
 * What keyspace.c (memory that can be taken back, dicts, sorted sets, looking) and keyspace_commands.c (Redis' commands on them) share.
 */

/* One name of a dict. What belongs to it is a value, a score or an object. */
struct cell {
    struct view name;
    union {
        struct view value;
        double score;
        struct object *object;
    } of;
    bool live; /* a deleted name keeps its cell, so that a scan's cursor stays good */
};
struct dict {
    struct cell *cells;
    uint32_t *index; /* open addressing: number of the cell + 1 */
    uint32_t used, live, cap, index_cap;
};
struct zset {
    struct dict members;
    uint32_t *order; /* the live cells by score and name */
    uint32_t order_cap;
};
struct entry {
    int64_t ms, number;
    struct view *parts;
    uint32_t part_count;
};
struct stream {
    struct entry *entries;
    uint32_t count, cap;
};
struct object {
    enum key_kind kind;
    int64_t expires_ms; /* 0: never */
    union {
        struct view string;
        struct dict hash;
        struct zset zset;
        struct stream stream;
    } of;
};
struct root {
    struct dict keys;
};

struct keyspace {
    char *region;
    size_t top, fresh;
    struct root *root;
    char *notes;
    size_t note_len, note_cap;
    int64_t now_ms, now_us;
    char **scratch; /* small texts of the last answer, as many as were ever needed */
    uint32_t scratch_used, scratch_cap;
    char *dumped; /* the last answer of DUMP */
    size_t dumped_len, dumped_cap;
};

/* Zeroed memory of the region. */
void *keyspace_take(struct keyspace *ks, size_t size);
/* These bytes are about to change. */
void keyspace_note(struct keyspace *ks, void *at, size_t len);
#define NOTE(ks, what) keyspace_note((ks), &(what), sizeof(what))
/* A copy in the region. */
struct view keyspace_copy(struct keyspace *ks, struct view text);

/* Names: the live cell; made if need be (*added: it was not live before, and what belongs to it is empty); dropped, if it is there. */
struct cell *dict_find(const struct dict *dict, struct view name);
struct cell *dict_put(struct keyspace *ks, struct dict *dict, struct view name, bool *added);
bool dict_drop(struct keyspace *ks, struct dict *dict, struct view name);

/* Keys: NULL if it is not there, or expired; made, in the place of what was there; dropped. */
struct object *key_find(struct keyspace *ks, struct view name);
struct object *key_make(struct keyspace *ks, struct view name, enum key_kind kind);
void key_drop(struct keyspace *ks, struct view name);

/*
 * Sorted sets: the cell of a rank; how many stand before (score, name), or, with ${name} NULL, before, or up to (${past}), that score; put; dropped.
 */
const struct cell *ranked(const struct zset *zset, uint32_t rank);
uint32_t rank_of(const struct zset *zset, double score, const struct view *name, bool past);
bool zset_put(struct keyspace *ks, struct zset *zset, struct view name, double score);
bool zset_drop(struct keyspace *ks, struct zset *zset, struct view name);

/* Room for 64 bytes of the answer, until the next command. */
char *keyspace_scratch(struct keyspace *ks);

/* A score or an integer as Redis prints it. */
struct view number_text(char out[64], double number);

/* The id of a stream's entry. */
struct view id_text(char out[64], const struct entry *entry);

#endif
