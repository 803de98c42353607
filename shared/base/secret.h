#ifndef SECRET_H
#define SECRET_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/stat.h>
#include <time.h>

/*
 * Files that hold secrets. One is read only if nobody but its owner and its group can read it. Where Kubernetes mounts a secret, its path is a
 * symbolic link that is turned to another file when it changes: so what a path leads to is looked at anew each time. Blocking, so never on a loop
 * that serves.
 */

/* Which file it was, and as of when. All zero: none. */
struct secret_stamp {
    dev_t device;
    ino_t inode;
    off_t size;
    struct timespec changed; /* content or mode */
};

/*
 * The text of the file ${path}, at most ${bytes_max} bytes, for secret_free. Returns NULL if it cannot be had, and *why says so: what is wrong and
 * what to do, no full stop, valid until the thread's next call. ${stamp} (may be NULL) says which file that was, also if it was not read.
 */
char *secret_read(const char *path, size_t bytes_max, struct secret_stamp *stamp, const char **why);

/*
 * The first line of the file ${path}, without its end, for secret_free. Returns NULL as above, also if that line is empty or longer than
 * ${bytes_max}; what follows it is not kept.
 */
char *secret_line(const char *path, size_t bytes_max, const char **why);

/* Does ${path} lead to another file by now, or has it changed? */
bool secret_has_changed(const char *path, const struct secret_stamp *stamp);

/* Wipes it. NULL: does nothing. */
void secret_free(char *text);

#endif
