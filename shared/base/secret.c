#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "secret.h"

#define LINE_FILE_MAX 4096 /* bytes of a file of which only the first line is wanted */
#define OTHERS 07 /* what those may who are neither its owner nor of its group */

static _Thread_local char said[256];

static const char *say(const char *format, ...) __attribute__((format(printf, 1, 2)));
static const char *say(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(said, sizeof(said), format, args);
    va_end(args);
    return said;
}

static struct secret_stamp stamp_of(const struct stat *status)
{
    return (struct secret_stamp){.device = status->st_dev, .inode = status->st_ino, .size = status->st_size, .changed = status->st_ctim};
}

/* Returns NULL, or what is wrong with it. */
static const char *check(const struct stat *status, size_t bytes_max)
{
    if (!S_ISREG(status->st_mode))
        return "it is no file";
    if (status->st_mode & OTHERS)
        return say("its mode is %04o, so others than its owner and its group can get at it; say chmod o= and make new secrets if somebody has",
                   (unsigned)status->st_mode & 07777);
    if ((size_t)status->st_size > bytes_max)
        return say("it has %lld bytes, and at most %zu are read", (long long)status->st_size, bytes_max);
    return NULL;
}

/* Reads what ${text} has room for. Returns false and sets errno if that fails. */
static bool read_all(int fd, char *text, size_t room, size_t *len)
{
    ssize_t got = 1;
    for (*len = 0; *len < room && got > 0; *len += got > 0 ? (size_t)got : 0)
        got = TEMP_FAILURE_RETRY(read(fd, text + *len, room - *len));
    return got >= 0;
}

/* ${status} is that of the open file, and not of the path: between two looks at a path it can become another file. */
static char *read_open(int fd, size_t bytes_max, struct secret_stamp *stamp, const char **why)
{
    struct stat status;
    size_t len;
    if (fstat(fd, &status) != 0) {
        *why = strerror(errno);
        return NULL;
    }
    *stamp = stamp_of(&status);
    if ((*why = check(&status, bytes_max)))
        return NULL;
    char *text = calloc(1, bytes_max + 1);
    if (text == NULL || !read_all(fd, text, bytes_max, &len))
        *why = text ? strerror(errno) : "out of memory";
    else if (memchr(text, '\0', len))
        *why = "it holds a NUL";
    if (*why == NULL)
        return text;
    secret_free(text);
    return NULL;
}

char *secret_read(const char *path, size_t bytes_max, struct secret_stamp *stamp, const char **why)
{
    struct secret_stamp unasked;
    stamp = stamp ? stamp : &unasked;
    *stamp = (struct secret_stamp){.size = 0};
    *why = NULL;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* a pipe without a writer would keep us */
    if (fd < 0) {
        *why = strerror(errno);
        return NULL;
    }
    char *text = read_open(fd, bytes_max, stamp, why);
    close(fd);
    return text;
}

char *secret_line(const char *path, size_t bytes_max, const char **why)
{
    char *text = secret_read(path, LINE_FILE_MAX, NULL, why);
    if (text == NULL)
        return NULL;
    size_t len = strcspn(text, "\r\n");
    explicit_bzero(text + len, strlen(text + len));
    if (len > 0 && len <= bytes_max)
        return text;
    *why = len == 0 ? "its first line is empty" : "its first line is too long";
    secret_free(text);
    return NULL;
}

bool secret_has_changed(const char *path, const struct secret_stamp *stamp)
{
    struct stat status;
    struct secret_stamp now = {.size = 0};
    if (stat(path, &status) == 0)
        now = stamp_of(&status);
    return now.device != stamp->device || now.inode != stamp->inode || now.size != stamp->size || now.changed.tv_sec != stamp->changed.tv_sec ||
           now.changed.tv_nsec != stamp->changed.tv_nsec;
}

void secret_free(char *text)
{
    if (text)
        explicit_bzero(text, strlen(text));
    free(text);
}
