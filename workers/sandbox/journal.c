#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "check.h"
#include "log.h"

#include "journal.h"

struct journal {
    int fd;
    const char *path;
    struct arena *arena; /* of what waits for the sync */
    struct buffer waiting;
};

/* The whole file. .at is NULL (logged) if it cannot be read. */
static struct view read_all(struct arena *arena, int fd, const char *path)
{
    struct stat stat;
    if (fstat(fd, &stat) == 0 && stat.st_size >= 0) {
        size_t size = (size_t)stat.st_size, len = 0;
        char *text = arena_alloc(arena, size + 1);
        ssize_t got = 1;
        while (len < size && (got = read(fd, text + len, size - len)) > 0)
            len += (size_t)got;
        if (got >= 0)
            return (struct view){text, len};
    }
    log_error("cannot read the journal %s: %s; set SOUK_JOURNAL to a file of this program's own", path, strerror(errno));
    return (struct view){NULL, 0};
}

static bool load_line(struct book *book, struct view line)
{
    struct arena *arena = arena_new();
    struct value value;
    bool good = value_read(FORMAT_JSON, arena, line, &value) == NULL && book_load(book, &value);
    arena_free(arena);
    return good;
}

/* Reads the lines into the book. Returns how many bytes are whole lines, or -1 (logged). */
static off_t load(struct book *book, struct view text, const char *path)
{
    size_t at = 0, number = 1;
    for (const char *end; at < text.len && (end = memchr(text.at + at, '\n', text.len - at)); number++) {
        struct view line = {text.at + at, (size_t)(end - text.at) - at};
        if (!load_line(book, line)) {
            log_error("line %zu of the journal %s makes no sense: \"%.*s\"; repair it or start with another SOUK_JOURNAL", number, path,
                      (int)(line.len < 200 ? line.len : 200), line.at);
            return -1;
        }
        at += line.len + 1;
    }
    return (off_t)at;
}

static bool load_file(struct book *book, int fd, const char *path)
{
    struct arena *arena = arena_new();
    struct view text = read_all(arena, fd, path);
    off_t whole = text.at ? load(book, text, path) : -1;
    bool cut = whole >= 0 && (size_t)whole < text.len;
    arena_free(arena);
    if (cut && ftruncate(fd, whole) != 0) {
        log_error("cannot cut the unfinished last line off the journal %s: %s", path, strerror(errno));
        return false;
    }
    return whole >= 0;
}

const char *journal_check(const char *path)
{
    struct stat stat_of;
    char folder[PATH_MAX];
    if (strlen(path) >= sizeof(folder))
        return strerror(ENAMETOOLONG);
    if (stat(path, &stat_of) == 0) {
        if (!S_ISREG(stat_of.st_mode))
            return "it is no file";
        return access(path, R_OK | W_OK) == 0 ? NULL : strerror(errno);
    }
    strcpy(folder, path);
    return access(dirname(folder), W_OK | X_OK) == 0 ? NULL : strerror(errno);
}

struct journal *journal_open(const char *path, struct book *book)
{
    int fd = open(path, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (fd < 0) {
        log_error("cannot open the journal %s: %s; set SOUK_JOURNAL to a file that can be written", path, strerror(errno));
        return NULL;
    }
    if (!load_file(book, fd, path)) {
        close(fd);
        return NULL;
    }
    struct journal *journal = calloc(1, sizeof(*journal));
    CHECK(journal);
    journal->fd = fd;
    journal->path = path;
    return journal;
}

void journal_close(struct journal *journal)
{
    if (journal == NULL)
        return;
    journal_sync(journal);
    close(journal->fd);
    free(journal);
}

void journal_add(struct journal *journal, const struct entry *entry)
{
    struct writer writer;
    if (journal->arena == NULL) {
        journal->arena = arena_new();
        journal->waiting = (struct buffer){.arena = journal->arena};
    }
    writer_init(&writer, FORMAT_JSON, journal->arena);
    entry_write(entry, &writer);
    buffer_add_view(&journal->waiting, writer_done(&writer));
    buffer_add(&journal->waiting, "\n", 1);
}

static bool write_all(int fd, struct view text)
{
    while (text.len) {
        ssize_t wrote = write(fd, text.at, text.len);
        if (wrote < 0 && errno == EINTR)
            continue;
        if (wrote < 0)
            return false;
        text = (struct view){text.at + wrote, text.len - (size_t)wrote};
    }
    return fdatasync(fd) == 0;
}

void journal_sync(struct journal *journal)
{
    if (journal->arena == NULL)
        return;
    if (!write_all(journal->fd, buffer_view(&journal->waiting))) {
        log_error("cannot write the journal %s: %s; ending, because what is not written must not be answered", journal->path, strerror(errno));
        exit(1);
    }
    arena_free(journal->arena);
    journal->arena = NULL;
}
