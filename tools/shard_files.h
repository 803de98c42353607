#ifndef SHARD_FILES_H
#define SHARD_FILES_H

#include <limits.h>

/* Where a redis-server has its append-only file. */
struct shard_files {
    char folder[PATH_MAX];
    char file[PATH_MAX];        /* the one that is being written, in ${folder} */
    char error[PATH_MAX + 100]; /* why it is UNKNOWN, in words */
};

enum shard_found {
    SHARD_FOUND,
    SHARD_NEW, /* it has none yet */
    SHARD_UNKNOWN,
};

/*
 * Finds it for a redis-server that is started with these arguments (${argv}[0] is the program), by dir, appenddirname, appendfilename and include as
 * redis-server reads them: in the settings file that is the first argument, if it is no option, then in the options behind it; the last one counts.
 */
enum shard_found shard_files_find(struct shard_files *files, int argc, char **argv);

#endif
