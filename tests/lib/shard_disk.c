#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "redis_fixture.h"
#include "shard_disk.h"
#include "shard_disk_internal.h"

struct shard_disk {
    struct shard_disk_facts *facts;
    char file[512], variable[600];
};

struct shard_disk *shard_disk_new(const char *file)
{
    static const struct shard_disk_facts NOTHING = {.synced = -1};
    struct shard_disk *disk = calloc(1, sizeof(*disk));
    int fd = open(file, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    void *mapped = MAP_FAILED;

    if (disk && fd >= 0 && write(fd, &NOTHING, sizeof(NOTHING)) == sizeof(NOTHING))
        mapped = mmap(NULL, sizeof(NOTHING), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (mapped == MAP_FAILED) {
        fprintf(stderr, "shard_disk: cannot make %s: %s\n", file, strerror(errno));
        abort();
    }
    close(fd);
    disk->facts = mapped;
    snprintf(disk->file, sizeof(disk->file), "%s", file);
    snprintf(disk->variable, sizeof(disk->variable), "SHARD_DISK=%s", file);
    return disk;
}

void shard_disk_free(struct shard_disk *disk)
{
    if (disk == NULL)
        return;
    munmap(disk->facts, sizeof(*disk->facts));
    unlink(disk->file);
    free(disk);
}

void shard_disk_put(struct shard_disk *disk, struct redis_fixture *redis)
{
    redis_preload(redis, SHARD_DISK_LIBRARY, disk->variable);
}

void shard_disk_slow(struct shard_disk *disk, unsigned ms)
{
    disk->facts->slow_ms = ms;
}

void shard_disk_break(struct shard_disk *disk, bool broken)
{
    disk->facts->broken = broken;
}

/* Returns how many bytes of this file are lost. What is left of it is on the disk. */
static size_t cut(struct shard_disk_facts *facts, const char *path, unsigned torn)
{
    int fd = open(path, O_RDWR | O_CLOEXEC);
    struct stat file;
    size_t lost = 0;

    if (fd >= 0 && fstat(fd, &file) == 0 && file.st_ino == facts->inode) {
        off_t unsynced = file.st_size > facts->synced ? file.st_size - facts->synced : 0, kept = (off_t)torn % (unsynced + 1);
        shard_disk_fill_hole(facts, fd);
        if (unsynced > 0 && ftruncate(fd, facts->synced + kept) != 0)
            perror(path);
        facts->synced += unsynced > 0 ? kept : 0;
        lost = (size_t)(unsynced - kept);
    }
    if (fd >= 0)
        close(fd);
    return lost;
}

size_t shard_disk_lose(struct shard_disk *disk, const char *dir, unsigned torn)
{
    char folder[400], path[700];
    size_t lost = 0;
    struct dirent *file;

    snprintf(folder, sizeof(folder), "%s/appendonlydir", dir);
    DIR *files = disk->facts->synced < 0 ? NULL : opendir(folder);
    while (files && (file = readdir(files)) != NULL) {
        snprintf(path, sizeof(path), "%s/%s", folder, file->d_name);
        lost += cut(disk->facts, path, torn);
    }
    if (files)
        closedir(files);
    return lost;
}
