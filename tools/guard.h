#ifndef GUARD_H
#define GUARD_H

#include "setup.h"

/*
 * May the shard ${name} begin with what is in the folder ${dir}? Yes if an append-only file is there. An empty folder is that of a new store or of a
 * lost volume: the other shards are asked, for ${patience_ms} at most, because in a new store they wait just like this one. Says why in a line of its
 * own. Returns the exit status: 0 yes, 1 no, 2 if it cannot be said.
 */
int guard_run(const struct store_settings *settings, const struct founding *founding, const char *name, const char *dir, int patience_ms);

#endif
