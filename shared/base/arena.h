#ifndef ARENA_H
#define ARENA_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "view.h"

/*
 * An arena: memory of one request, returned whole. One arena is used by one thread. Chunks come from and go back to a
 * list per thread, so a warm worker does not call malloc.
 *
 * arena_alloc never returns NULL. When malloc fails, a reserve per thread (allocated by arena_reserve at start)
 * serves what is already under way, and arena_low() tells the door to answer 503 until memory is back. Only when the
 * reserve is gone as well does the process stop (CHECK).
 */
struct arena;

/* Sets aside ${bytes} for this thread. Returns false if that cannot be had. Call once at the thread's start. */
bool arena_reserve(size_t bytes);

/* Is the reserve in use? Then take no new work. */
bool arena_low(void);

/* Returns this thread's free chunks and reserve to malloc, for a clean exit. */
void arena_thread_end(void);

struct arena *arena_new(void);
/* One that is freed before ${parent} by its owner, or else with it: for what lives shorter than a request that may be dropped at any time. */
struct arena *arena_child(struct arena *parent);

/* Zeroed memory, aligned for any type, valid until arena_free. Cannot fail (see above). */
void *arena_alloc(struct arena *arena, size_t size);
/* The same, not zeroed: the caller fills it. */
void *arena_take(struct arena *arena, size_t size);

/* A copy with a NUL behind it that is not counted. */
struct view arena_copy(struct arena *arena, struct view text);

/* printf into the arena; the view's text is NUL-terminated. */
struct view arena_printf(struct arena *arena, const char *format, ...) __attribute__((format(printf, 2, 3)));

/*
 * An arena cannot fail, but what libraries take beside it can. Who meets that notes it at the arena of the request, so that what the request could
 * not read is not taken for damaged.
 */
void arena_note_short(struct arena *arena);
bool arena_was_short(const struct arena *arena);

/* Bytes handed out so far; a bound on a request's appetite. */
size_t arena_used(const struct arena *arena);

/* One more owner. Every owner calls arena_free once; the last call returns the memory. */
void arena_hold(struct arena *arena);
void arena_free(struct arena *arena);

#define ARENA_NEW(arena, type) ((type *)arena_alloc((arena), sizeof(type)))
#define ARENA_ARRAY(arena, type, count) ((type *)arena_alloc((arena), sizeof(type) * (count)))

/* A byte string that grows inside an arena. Zero-initialise with .arena set. Old copies stay in the arena. */
struct buffer {
    struct arena *arena;
    char *at;
    size_t len, cap;
};

void buffer_add(struct buffer *buffer, const void *bytes, size_t len);
void buffer_add_view(struct buffer *buffer, struct view text);
void buffer_add_int(struct buffer *buffer, long long number);
/* Makes room for ${len} more bytes and returns where they go; the caller then raises buffer->len. */
char *buffer_room(struct buffer *buffer, size_t len);

/* Writes ${number} so that it ends before ${end}; returns where it begins. DIGITS_MAX hold any. printf takes ten times as long. */
#define DIGITS_MAX 20
char *digits_before(char *end, uint64_t number);

static inline struct view buffer_view(const struct buffer *buffer)
{
    return (struct view){buffer->at, buffer->len};
}

#endif
