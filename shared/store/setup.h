#ifndef SETUP_H
#define SETUP_H

#include <stdbool.h>

#include "store.h"

/*
 * What an operator does to a shard before workers use it, over a blocking connection of its own; for tools only, never on a loop.
 */

/*
 * Makes sure that the shard is ours: writes souk:shard (uuid, name, epoch, partitions) if it is absent and the shard is empty, else compares. Returns NULL
 * when it is as it should be, else one sentence that says what is wrong and what to do (static, until the next call). *created tells whether it was written.
 */
const char *setup_init(const struct store_settings *settings, unsigned shard, bool *created);

/* Loads the libraries that the shard lacks. Returns NULL, or a sentence as above. */
const char *setup_load(const struct store_settings *settings, unsigned shard);

#endif
