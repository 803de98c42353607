#ifndef SHARD_FILES_H
#define SHARD_FILES_H

#include <limits.h>
#include <stdbool.h>

/* Where a redis-server has its append-only file. */
struct shard_files {
    char dir[PATH_MAX];         /* where all its data is */
    char folder[PATH_MAX];      /* of the append-only files, in ${dir} */
    char manifest[PATH_MAX];    /* which lists them */
    char file[PATH_MAX];        /* the one that is being written, in ${folder}; set by shard_files_find */
    char error[PATH_MAX + 100]; /* in words */
};

/*
 * Where they are for a redis-server that is started with these arguments (${argv}[0] is the program), by dir, appenddirname, appendfilename and
 * include as redis-server 7 reads them: in the settings file that is the first argument, if it is no option, then in the options behind it (main in
 * server.c). The last one counts, but a relative dir begins at the one before, and so does what is included. Returns false, with ${error}, if it
 * cannot be told.
 */
bool shard_files_settings(struct shard_files *files, int argc, char **argv);

enum shard_found {
    SHARD_FOUND,
    SHARD_NEW,     /* it has none yet */
    SHARD_UNKNOWN, /* see ${error} */
};
/* By the manifest. */
enum shard_found shard_files_find(struct shard_files *files);

#endif
