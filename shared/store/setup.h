#ifndef SETUP_H
#define SETUP_H

#include <stdbool.h>

#include "store.h"

/*
 * What comes before a shard is used: what an operator does to it, over a blocking connection of its own (for tools, never on a loop), and the password for it.
 */

/*
 * Makes sure that the shard is ours: writes souk:shard (uuid, name, epoch, partitions) if it is absent and the shard is empty, else compares. Returns NULL
 * when it is as it should be, else one sentence that says what is wrong and what to do (static, until the next call). *created tells whether it was written.
 */
const char *setup_init(const struct store_settings *settings, unsigned shard, bool *created);

/* Loads the libraries that the shard lacks. Returns NULL, or a sentence as above. */
const char *setup_load(const struct store_settings *settings, unsigned shard);

/*
 * Reads the password for AUTH from the first line of the file ${path}, which only its owner and its group may be able to read; an empty path is no password.
 * Returns NULL, or a sentence as above; ${out} is then empty.
 */
const char *setup_password(const char *path, char *out, size_t size);

#endif
