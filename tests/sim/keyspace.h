#ifndef KEYSPACE_H
#define KEYSPACE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "hash.h"
#include "view.h"

/*
 * What one simulated shard remembers, and the few Redis commands that Souk's functions and flows use on it, with Redis' own answers.
 * tests/sim/differential holds it to a real redis-server.
 *
 * It can be taken back. Everything lies in one region of memory, and what a command is about to overwrite is noted first; so a mark is two numbers,
 * and going back to it costs what was changed since. A crash that loses what was not on disk, and a search that tries another way, are this one
 * thing.
 */
struct keyspace;

/* Where a command's answer goes, piece by piece; a list of n is followed by its n items. */
struct sink {
    void (*integer)(struct sink *sink, int64_t number);
    void (*text)(struct sink *sink, struct view text);
    void (*status)(struct sink *sink, const char *text); /* OK */
    void (*nil)(struct sink *sink);
    void (*list)(struct sink *sink, size_t count);
    void (*error)(struct sink *sink, const char *text);
};

/* Memory is promised, not taken, until it is used. Aborts if not even that can be had. */
struct keyspace *keyspace_new(void);
void keyspace_free(struct keyspace *keyspace);
/* Forgets everything; marks are void. */
void keyspace_clear(struct keyspace *keyspace);

/* Carries out one command at ${now_us} of the shard's clock. Texts of the answer are valid until the next command. */
void keyspace_run(struct keyspace *keyspace, int64_t now_us, size_t argc, const struct view *argv, struct sink *sink);

/* Does this command only read? The kind that its key must have, or it is refused; KEY_NONE: any. */
enum key_kind { KEY_NONE, KEY_STRING, KEY_HASH, KEY_ZSET, KEY_STREAM };
bool keyspace_reads(struct view command);
enum key_kind keyspace_kind(struct view command);

/*
 * A point to go back to. Points go back in the reverse of their order, those behind one are void with it. keyspace_settle gives up all of them: what
 * was done stays.
 */
struct keyspace_mark {
    size_t notes, top;
};
struct keyspace_mark keyspace_mark(struct keyspace *keyspace);
void keyspace_back(struct keyspace *keyspace, struct keyspace_mark mark);
void keyspace_settle(struct keyspace *keyspace);

/* All there is, as bytes that only this keyspace can take back; freed by the caller. keyspace_load makes it what it was; marks are void. */
void *keyspace_save(const struct keyspace *keyspace, size_t *len);
void keyspace_load(struct keyspace *keyspace, const void *saved, size_t len);

/* For whoever checks: a field of a hash, a score; .at NULL, NAN if there is none. Expired keys are not there. */
struct view keyspace_field(const struct keyspace *keyspace, int64_t now_us, const char *key, const char *field);

/* Every key, in the order of its making: ${visit} is given its name and kind. Do not change the keyspace meanwhile. */
struct keyspace_visitor {
    void (*key)(struct keyspace_visitor *visitor, struct view name, enum key_kind kind, int64_t expires_ms);
    /* a hash's field and value; a sorted set's score as text and member, by rank; a stream's id and field|value; a string: no name */
    void (*item)(struct keyspace_visitor *visitor, struct view name, struct view value);
};
void keyspace_visit(const struct keyspace *keyspace, struct keyspace_visitor *visitor);
/* The items of this key at ${now_us}; visitor->key is not asked. */
void keyspace_visit_key(const struct keyspace *keyspace, int64_t now_us, const char *key, struct keyspace_visitor *visitor);

/* Of every key, its kind, expiry and contents, whatever the order of their making. */
struct hash128 keyspace_digest(const struct keyspace *keyspace);

#endif
