#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "shard_disk_internal.h"

/* Preloaded into redis-server: see shard_disk.h. The file SHARD_DISK says what the disk does, and is told what was synced. */
static struct shard_disk_facts *facts;

__attribute__((constructor)) static void map_facts(void)
{
    const char *path = getenv("SHARD_DISK");
    int file = path ? open(path, O_RDWR | O_CLOEXEC) : -1;
    void *mapped = file < 0 ? MAP_FAILED : mmap(NULL, sizeof(*facts), PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    if (mapped != MAP_FAILED)
        facts = mapped;
    if (file >= 0)
        close(file);
}

static bool is_append_only_file(int fd)
{
    static const char END[] = ".incr.aof";
    char link[64], path[1024];
    snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
    ssize_t len = readlink(link, path, sizeof(path));
    ssize_t end = (ssize_t)strlen(END);
    return len > end && memcmp(path + len - end, END, (size_t)end) == 0;
}

static void be_slow(void)
{
    struct timespec left = {facts->slow_ms / 1000, (long)(facts->slow_ms % 1000) * 1000000};
    while (nanosleep(&left, &left) != 0 && errno == EINTR)
        ;
}

static void note_synced(const struct stat *file)
{
    if (facts->inode != file->st_ino)
        facts->hole = facts->hole_end = 0;
    facts->inode = file->st_ino;
    facts->synced = file->st_size;
}

/* A kernel reports a failed sync once. What it could not write it takes for clean: no later sync writes it. */
static void note_hole(const struct stat *file)
{
    if (file->st_ino != facts->inode || file->st_size <= facts->synced)
        return;
    if (facts->hole_end == 0)
        facts->hole = facts->synced;
    facts->hole_end = file->st_size;
}

/* Only what was written before the call is sure to be on the disk behind it. */
static int sync_file(int fd, long call)
{
    struct stat before;
    if (facts == NULL || !is_append_only_file(fd) || fstat(fd, &before) != 0)
        return (int)syscall(call, fd);
    if (facts->slow_ms)
        be_slow();
    if (facts->broken) {
        note_hole(&before);
        errno = EIO;
        return -1;
    }
    int result = (int)syscall(call, fd);
    if (result == 0 && before.st_ino == facts->inode) /* a thread syncs the file before this one, behind a rewrite */
        note_synced(&before);
    return result;
}

/* A file that was not seen before is on the disk as it is. Of one that was, what an earlier server left unsynced is still that. */
static int note_opened(int fd)
{
    struct stat file;
    if (fd >= 0 && facts && is_append_only_file(fd) && fstat(fd, &file) == 0 && (file.st_ino != facts->inode || file.st_size < facts->synced))
        note_synced(&file);
    return fd;
}

static int open_file(const char *path, int flags, va_list args)
{
    mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(args, mode_t) : 0;
    return note_opened((int)syscall(SYS_openat, AT_FDCWD, path, flags, mode));
}

int open(const char *path, int flags, ...)
{
    va_list args;
    va_start(args, flags);
    int fd = open_file(path, flags, args);
    va_end(args);
    return fd;
}

int open64(const char *path, int flags, ...)
{
    va_list args;
    va_start(args, flags);
    int fd = open_file(path, flags | O_LARGEFILE, args);
    va_end(args);
    return fd;
}

int fsync(int fd)
{
    return sync_file(fd, SYS_fsync);
}

/* Who lets go of what is in memory sees what the disk has. */
int posix_fadvise(int fd, off_t offset, off_t len, int advice)
{
    if (facts && advice == POSIX_FADV_DONTNEED && is_append_only_file(fd))
        shard_disk_fill_hole(facts, fd);
    return (int)syscall(SYS_fadvise64, fd, offset, len, advice) == 0 ? 0 : errno;
}

int fdatasync(int fd)
{
    return sync_file(fd, SYS_fdatasync);
}
