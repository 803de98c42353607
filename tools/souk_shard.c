#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "aof.h"
#include "shard_files.h"

/*
 * souk-shard ARGUMENTS…: becomes redis-server with these arguments. Every shard begins by it.
 *
 *   find the file ─▶ nobody else has it? ─▶ read it to its end ─▶ take off what is unfinished ─▶ sync ─▶ redis-server
 *
 * When a machine loses its power, the last write to the append-only file can be torn. Redis takes an unfinished command off the file's end and leaves
 * the transaction open that the command was part of. What is written behind it becomes part of that transaction: at the next start it is lost, or
 * done with a half of the other (seen with 7.0.15; valkey-io/valkey#4342). So here the whole unfinished write is taken off, and kept beside the file
 * as torn.BYTE. With appendfsync always nobody was told of it. redis.conf says aof-load-truncated no: a shard that is started in another way refuses
 * such a file.
 *
 * What a shard has read at its start it tells to whoever asks again, and a replay writes nothing. But the server that wrote it may have ended before
 * its sync. So the file is synced before a shard begins, or a failing power would take back what was answered.
 *
 * A file that is not only unfinished is left as it is, and redis-server says what is wrong with it. So it is when anything here fails but the sync.
 */
#define PIECE ((size_t)1 << 20)

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

static bool sync_folder(const char *path)
{
    int folder = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    bool good = folder >= 0 && fsync(folder) == 0;
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

static void take_off(const struct shard_files *files, int file, const struct tail *tail)
{
    char name[PATH_MAX + 40];
    snprintf(name, sizeof(name), "%s/torn.%lld", files->folder, (long long)tail->whole);
    if (!keep_rest(files, tail, name))
        say("%s has an unfinished write from byte %lld on. It cannot be kept as %s (%s), so it is not taken off: make room there, then start the "
            "shard again",
            files->file, (long long)tail->whole, name, strerror(errno));
    else if (ftruncate(file, tail->whole) != 0)
        say("%s has an unfinished write from byte %lld on, which could not be taken off: %s", files->file, (long long)tail->whole, strerror(errno));
    else
        say("the last write to %s was not finished when the shard ended: what there was of it, from byte %lld on, is in %s now", files->file,
            (long long)tail->whole, name);
}

/* ---- in order ---- */

/* A lease for reading is given while nobody has the file open for writing. Where there are no leases, nobody is found. */
static bool is_written(const char *path)
{
    int file = open(path, O_RDONLY | O_CLOEXEC);
    signal(SIGIO, SIG_IGN); /* somebody opens it now */
    bool written = file >= 0 && fcntl(file, F_SETLEASE, F_RDLCK) != 0 && errno == EAGAIN;
    if (file >= 0)
        close(file);
    signal(SIGIO, SIG_DFL);
    return written;
}

/* Returns false if the shard must not begin. */
static bool mend(const struct shard_files *files, int file)
{
    struct tail tail;
    if (!read_tail(file, &tail)) {
        say("cannot read %s (%s), so its end is not looked at", files->file, strerror(errno));
    } else {
        enum aof_rest rest = aof_judge((struct view){tail.rest, tail.len});
        if (rest == AOF_UNFINISHED)
            take_off(files, file, &tail);
        else if (rest == AOF_DAMAGED)
            say("%s is not whole from byte %lld on, and not only unfinished: redis-server decides (docs/operate.md, \"When a shard's file is "
                "damaged\")",
                files->file, (long long)tail.whole);
    }
    free(tail.rest);
    if (fsync(file) == 0)
        return true;
    say("cannot sync %s (%s): the shard does not begin, since it would tell what its disk does not have", files->file, strerror(errno));
    return false;
}

/* Returns false if the shard must not begin. */
static bool look_at(const struct shard_files *files)
{
    if (is_written(files->file)) {
        say("another process has %s open, so its end is not looked at. Does the shard run already?", files->file);
        return true;
    }
    int file = open(files->file, O_RDWR | O_CLOEXEC);
    if (file < 0) {
        say("cannot open %s (%s), so its end is not looked at", files->file, strerror(errno));
        return true;
    }
    bool good = mend(files, file);
    close(file);
    return good;
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
    struct shard_files files;
    if (argc == 2 && strcmp(argv[1], "--help") == 0)
        return usage();
    if (argc == 2 && strcmp(argv[1], "--version") == 0)
        return printf("souk-shard %s\n", SOUK_VERSION) < 0;
    enum shard_found found = shard_files_find(&files, argc, argv);
    if (found == SHARD_UNKNOWN)
        say("%s, so the end of the append-only file is not looked at", files.error);
    if (found == SHARD_FOUND && !look_at(&files))
        return 1;
    argv[0] = (char *)"redis-server"; /* it is called so in a list of processes */
    execvp(argv[0], argv);
    say("cannot start redis-server: %s. It comes with the package redis-server, version 7 or newer", strerror(errno));
    return 127;
}
