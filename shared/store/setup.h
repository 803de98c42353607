#ifndef SETUP_H
#define SETUP_H

#include <stdbool.h>

#include "store.h"

/*
 * What comes before a shard is used: what an operator does to it, over a blocking connection of its own (for tools, never on a loop), and the
 * password for it.
 */

/*
 * Makes sure that the shard is ours: writes souk:shard (uuid, name, epoch, partitions) if it is absent and the shard is empty, else compares. A shard
 * that would not keep what it acknowledges (maxmemory-policy, appendonly, appendfsync below ${fsync_least}) is refused first. Returns NULL when all
 * is as it should be, else one sentence that says what is wrong and what to do (static, until the next call). *created tells whether it was written.
 */
const char *setup_init(const struct store_settings *settings, unsigned shard, bool *created);

/*
 * How far a shard has come: without souk:shard; with one, in a store that is being founded; in a store that was founded, that is, all of its shards
 * have been given theirs; or still reading its data, which an empty one does not do. Returns NULL, or a sentence as above when the shard does not
 * tell.
 */
enum standing { STANDING_EMPTY, STANDING_FOUNDING, STANDING_FOUNDED, STANDING_LOADING };
const char *setup_standing(const struct store_settings *settings, unsigned shard, enum standing *standing);

/*
 * Founds the store: setup_init on every shard. An empty shard of a store that was founded has lost its data and must not be taken for a new one: it
 * is refused, before anything is written, unless its name is ${replace}. With ${founded} the store is known to be so although all its shards are
 * empty. Calls ${told} for each shard at the end. What an interrupted founding left is completed by the next. Returns NULL, or a sentence as above.
 */
struct founding {
    const char *replace; /* "": none */
    bool founded;
};
const char *setup_found(const struct store_settings *settings, const struct founding *founding, void (*told)(const char *shard, bool created));

/*
 * Loads the libraries into the shard, once it is known to be ours, founded, and to keep what it acknowledges, and records in souk:shard how it writes
 * to its disk, which workers may not ask themselves. Returns NULL, or a sentence as above.
 */
const char *setup_load(const struct store_settings *settings, unsigned shard);

/*
 * Removes from every shard the libraries of other versions that no connection to any shard uses and that were loaded more than ${unused_ms} ago;
 * tells
 * ${removed} of each. Nothing is removed anywhere when a shard cannot be asked, or has a connection of a worker that does not say which library it
 * uses. Returns NULL, or a sentence as above.
 */
const char *setup_prune(const struct store_settings *settings, int64_t unused_ms, void (*removed)(const char *shard, const char *library));

/*
 * Reads the password for AUTH from the first line of the file ${path}, which only its owner and its group may be able to read; an empty path is no
 * password. Returns NULL, or a sentence as above; ${out} is then empty.
 */
const char *setup_password(const char *path, char *out, size_t size);

#endif
