#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "clock.h"

#include "aof.h"
#include "shard_files.h"

/*
 * souk-shard ARGUMENTS…: becomes redis-server with these arguments. Every shard begins by it.
 *
 *   lock the directory ─▶ find the file ─▶ see what the disk has ─▶ read it to its end ─▶ take off what is unfinished ─▶ sync ─▶ redis-server
 *
 * When a machine loses its power, the last write to the append-only file can be torn. Redis takes an unfinished command off the file's end and leaves
 * the transaction open that the command was part of. What is written behind it becomes part of that transaction: at the next start it is lost, or
 * done with a half of the other (seen with 7.0.15; valkey-io/valkey#4342). So here the whole unfinished write is taken off, and kept beside the file
 * as torn.FILE.BYTE. With appendfsync always nobody was told of it. redis.conf says aof-load-truncated no: a shard that is started in another way
 * refuses such a file.
 *
 * What a shard has read at its start it tells to whoever asks again, and a replay writes nothing. But the server that wrote it may have ended before
 * its sync. So the file is synced before a shard begins, or a failing power would take back what was answered. And it may have ended since its sync
 * had failed: Linux reports that once, takes the pages for clean, and the next sync succeeds without them. So the end of the file is read from the
 * disk, where such pages are NULs, and not from memory: or the next writes would stand behind a hole.
 *
 * A file that is not only unfinished is left as it is, and redis-server says what is wrong with it. So it is when anything here fails but the lock
 * and the sync.
 */
#define PIECE ((size_t)1 << 20)
#define LOCK_MS 2000

static void say(const char *format, ...) __attribute__((format(printf, 1, 2)));

static void say(const char *format, ...)
{
    va_list args;
    fprintf(stderr, "souk-shard: ");
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fprintf(stderr, "\n");
}

/* ---- reading it to its end ---- */

/* Of what may have been written and not synced, only what is on the disk. */
static void forget_memory(const char *path, int file)
{
    off_t len = lseek(file, 0, SEEK_END), from = len > (off_t)AOF_REST_MAX ? len - (off_t)AOF_REST_MAX : 0;
    if (fsync(file) != 0)
        say("a sync of %s fails (%s): what the disk does not have of it is lost", path, strerror(errno));
    posix_fadvise(file, from, 0, POSIX_FADV_DONTNEED);
    lseek(file, 0, SEEK_SET);
}

struct tail {
    off_t whole; /* where the rest begins */
    size_t len;  /* of the rest, or more than AOF_REST_MAX: that is not read to its end */
    char *rest;
};

static ssize_t read_piece(int file, char *at)
{
    ssize_t len;
    do
        len = read(file, at, PIECE);
    while (len < 0 && errno == EINTR);
    return len;
}

/* tail->rest is freed by the caller. */
static bool read_tail(int file, struct tail *tail)
{
    ssize_t len;
    *tail = (struct tail){.rest = malloc(AOF_REST_MAX + 2 * PIECE)};
    if (tail->rest == NULL)
        return false;
    while (tail->len <= AOF_REST_MAX && (len = read_piece(file, tail->rest + tail->len)) != 0) {
        if (len < 0)
            return false;
        tail->len += (size_t)len;
        size_t whole = aof_whole((struct view){tail->rest, tail->len});
        tail->whole += (off_t)whole;
        tail->len -= whole;
        memmove(tail->rest, tail->rest + whole, tail->len);
    }
    return true;
}

/* ---- taking the rest off ---- */

static bool write_all(int file, const char *at, size_t len)
{
    while (len > 0) {
        ssize_t written = write(file, at, len);
        if (written < 0 && errno != EINTR)
            return false;
        at += written > 0 ? written : 0;
        len -= written > 0 ? (size_t)written : 0;
    }
    return true;
}

/* Some file systems have no sync of a folder. */
static bool sync_folder(const char *path)
{
    int folder = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    bool good = folder >= 0 && (fsync(folder) == 0 || errno == EINVAL || errno == EBADF);
    if (folder >= 0)
        close(folder);
    return good;
}

/* The copy has its name only when it is whole and on the disk. */
static bool keep_rest(const struct shard_files *files, const struct tail *tail, const char *name)
{
    char copy[PATH_MAX + 20];
    snprintf(copy, sizeof(copy), "%s/torn.new", files->folder);
    int file = open(copy, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (file < 0)
        return false;
    bool good = write_all(file, tail->rest, tail->len) && fsync(file) == 0;
    good = close(file) == 0 && good && rename(copy, name) == 0 && sync_folder(files->folder);
    int reason = errno;
    if (!good)
        unlink(copy);
    errno = reason;
    return good;
}

static size_t nuls_at_end(const struct tail *tail)
{
    size_t count = 0;
    while (count < tail->len && tail->rest[tail->len - 1 - count] == '\0')
        count++;
    return count;
}

static void take_off(const struct shard_files *files, int file, const struct tail *tail)
{
    char name[2 * PATH_MAX + 40];
    long long from = (long long)tail->whole;
    const char *slash = strrchr(files->file, '/');
    snprintf(name, sizeof(name), "%s/torn.%s.%lld", files->folder, slash ? slash + 1 : files->file, from);
    if (!keep_rest(files, tail, name))
        say("%s has an unfinished write from byte %lld on. It cannot be kept as %s (%s), so it is not taken off: make room there, then start the "
            "shard again",
            files->file, from, name, strerror(errno));
    else if (ftruncate(file, tail->whole) != 0)
        say("%s has an unfinished write from byte %lld on, which could not be taken off: %s", files->file, from, strerror(errno));
    else
        say("the last write to %s was not finished when the shard ended: its %zu bytes from byte %lld on (%zu NULs at the end) are in %s now",
            files->file, tail->len, from, nuls_at_end(tail), name);
}

static void mend_end(const struct shard_files *files, int file, const struct tail *tail)
{
    long long from = (long long)tail->whole;
    switch (aof_judge((struct view){tail->rest, tail->len})) {
    case AOF_NOTHING:
        break;
    case AOF_UNFINISHED:
        take_off(files, file, tail);
        break;
    case AOF_DAMAGED:
        say("%s is not whole from byte %lld on, and not only unfinished: redis-server decides (docs/operate.md, \"When a shard's file is damaged\")",
            files->file, from);
        break;
    case AOF_TOO_LONG:
        say("%s has a write from byte %lld on that is longer than any of ours, so its end is not looked at: redis-server decides", files->file, from);
        break;
    }
}

/* ---- in order ---- */

/*
 * One server at a time for one directory: two would write into one file. The lock is the process', and so redis-server's, which knows nothing of it;
 * a process that it has forked does not keep it, so daemonize must be no. Returns false if somebody else has it. Where there are no locks, nobody is
 * found.
 */
static bool lock_dir(const char *dir)
{
    const struct timespec moment = {0, 50000000};
    int64_t until_us = clock_us() + LOCK_MS * INT64_C(1000);
    char path[PATH_MAX + 20];
    snprintf(path, sizeof(path), "%s/souk-shard.lock", dir);
    int file = open(path, O_RDWR | O_CREAT, 0600); /* stays open */
    if (file < 0) {
        say("cannot open %s (%s), so another server on this directory would not be noticed", path, strerror(errno));
        return true;
    }
    while (fcntl(file, F_SETLK, &(struct flock){.l_type = F_WRLCK, .l_whence = SEEK_SET}) != 0 && (errno == EAGAIN || errno == EACCES)) {
        if (clock_us() >= until_us)
            return false;
        nanosleep(&moment, NULL);
    }
    return true;
}

/* Returns false if the shard must not begin. */
static bool mend(const struct shard_files *files)
{
    struct tail tail;
    int file = open(files->file, O_RDWR | O_CLOEXEC);
    if (file < 0) {
        say("cannot open %s (%s), so its end is not looked at", files->file, strerror(errno));
        return true;
    }
    forget_memory(files->file, file);
    if (read_tail(file, &tail))
        mend_end(files, file, &tail);
    else
        say("cannot read %s (%s), so its end is not looked at", files->file, strerror(errno));
    free(tail.rest);
    bool synced = fsync(file) == 0 && sync_folder(files->folder);
    if (!synced)
        say("cannot sync %s (%s): the shard does not begin, since it would tell what its disk does not have", files->file, strerror(errno));
    close(file);
    return synced;
}

/* Returns false if the shard must not begin. */
static bool begin(int argc, char **argv)
{
    struct shard_files files;
    bool told = shard_files_settings(&files, argc, argv);
    if (told && !lock_dir(files.dir)) {
        say("another shard uses %s, so this one does not begin: two would write into one file. Does the shard run already?", files.dir);
        return false;
    }
    enum shard_found found = told ? shard_files_find(&files) : SHARD_UNKNOWN;
    if (found == SHARD_FOUND)
        return mend(&files);
    if (found == SHARD_NEW)
        say("there is no append-only file in %s yet", files.folder);
    else
        say("%s, so the end of the append-only file is not looked at", files.error);
    return true;
}

/* The first process of a container does not hear of what it has no handler for. What is half done is done again at the next start. */
static void leave(int number)
{
    _exit(128 + number);
}

static int usage(void)
{
    printf("souk-shard - a shard of Souk: mends the end of its file, then becomes redis-server\n"
           "\n"
           "usage: souk-shard [SETTINGS-FILE] [--SETTING VALUE…]…\n"
           "\n"
           "The arguments are those of redis-server.\n"
           "\n"
           "  --help     print this and exit\n"
           "  --version  print the version and exit\n");
    return 0;
}

int main(int argc, char **argv)
{
    if (argc == 2 && strcmp(argv[1], "--help") == 0)
        return usage();
    if (argc == 2 && strcmp(argv[1], "--version") == 0)
        return printf("souk-shard %s\n", SOUK_VERSION) < 0;
    if (getpid() == 1) {
        signal(SIGTERM, leave);
        signal(SIGINT, leave);
    }
    if (!begin(argc, argv))
        return 1;
    argv[0] = (char *)"redis-server"; /* it is called so in a list of processes */
    execvp(argv[0], argv);
    say("cannot start redis-server: %s. It comes with the package redis-server, version 7 or newer", strerror(errno));
    return 127;
}
