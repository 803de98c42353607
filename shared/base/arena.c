#include <sanitizer/asan_interface.h> /* its macros are empty in builds without AddressSanitizer */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "check.h"

#include "arena.h"

/*
 *   arena ──▶ chunk ──▶ chunk ──▶ ... ──▶ first chunk (holds the arena itself)
 *              newest: small pieces are cut from it between ${at} and ${end}
 *
 * A piece larger than a quarter of a chunk gets a chunk of its own, queued behind the newest one, so that the rest of the
 * newest is not lost. Plain chunks go back to the thread's free list, others to where they came from.
 */
enum source { FROM_LIST, FROM_MALLOC, FROM_RESERVE };

struct chunk {
    struct chunk *next;
    enum source source;
    size_t size; /* of ${data} */
    _Alignas(16) char data[];
};

struct arena {
    struct arena *children, *next, **link; /* those that go with it; its place among those of its parent, ${link} NULL: it has none */
    struct chunk *chunks;
    char *at, *end;
    size_t used;
    unsigned owners;
    bool was_short; /* see arena_note_short */
};

#define ALIGNMENT ((size_t)16)
#define CHUNK_DATA (16 * 1024 - sizeof(struct chunk))
#define PIECE_MAX (CHUNK_DATA / 4)
#define SIZE_LIMIT (SIZE_MAX / 4)

/* Free chunks a thread keeps: 4 MiB, about what 256 requests under way at once use. */
#define FREE_MAX 256

/* The pools of this thread. Thread-local state is the point of them: no lock, and a warm worker does not call malloc. */
static __thread struct {
    struct chunk *free;
    unsigned free_count;
    char *reserve;
    size_t reserve_size, reserve_used;
    unsigned reserve_chunks; /* out in arenas; when the last is back the reserve is whole again */
} pool;

static size_t round_up(size_t size)
{
    return (size + ALIGNMENT - 1) & ~(ALIGNMENT - 1);
}

bool arena_reserve(size_t bytes)
{
    CHECK(!pool.reserve);
    pool.reserve = malloc(bytes);
    if (!pool.reserve)
        return false;
    /* Touched now: memory that is only promised can still be missing when it is needed. */
    memset(pool.reserve, 0xA5, bytes);
    pool.reserve_size = bytes;
    return true;
}

bool arena_low(void)
{
    return pool.reserve_chunks > 0;
}

void arena_thread_end(void)
{
    CHECK(pool.reserve_chunks == 0);
    while (pool.free) {
        struct chunk *chunk = pool.free;

        pool.free = chunk->next;
        free(chunk);
    }
    pool.free_count = 0;
    free(pool.reserve);
    pool.reserve = NULL;
    pool.reserve_size = pool.reserve_used = 0;
}

static struct chunk *chunk_from_reserve(size_t size)
{
    size_t need = round_up(sizeof(struct chunk) + size);
    struct chunk *chunk;

    CHECK(need <= pool.reserve_size - pool.reserve_used);
    chunk = (struct chunk *)(void *)(pool.reserve + pool.reserve_used);
    pool.reserve_used += need;
    pool.reserve_chunks++;
    chunk->source = FROM_RESERVE;
    return chunk;
}

static struct chunk *chunk_take(size_t size)
{
    struct chunk *chunk = pool.free;

    if (size == CHUNK_DATA && chunk) {
        pool.free = chunk->next;
        pool.free_count--;
        chunk->next = NULL;
        return chunk;
    }
    chunk = malloc(sizeof(struct chunk) + size);
    if (chunk)
        chunk->source = size == CHUNK_DATA ? FROM_LIST : FROM_MALLOC;
    else
        chunk = chunk_from_reserve(size);
    chunk->size = size;
    chunk->next = NULL;
    ASAN_POISON_MEMORY_REGION(chunk->data, chunk->size);
    return chunk;
}

static void chunk_return(struct chunk *chunk)
{
    ASAN_POISON_MEMORY_REGION(chunk->data, chunk->size);
    if (chunk->source == FROM_RESERVE) {
        ASAN_UNPOISON_MEMORY_REGION(chunk->data, chunk->size);
        pool.reserve_chunks--;
        if (pool.reserve_chunks == 0)
            pool.reserve_used = 0;
    } else if (chunk->source == FROM_LIST && pool.free_count < FREE_MAX) {
        chunk->next = pool.free;
        pool.free = chunk;
        pool.free_count++;
    } else {
        free(chunk);
    }
}

struct arena *arena_new(void)
{
    struct chunk *chunk = chunk_take(CHUNK_DATA);
    struct arena *arena = (struct arena *)(void *)chunk->data;

    ASAN_UNPOISON_MEMORY_REGION(arena, sizeof(*arena));
    *arena = (struct arena){
        .chunks = chunk,
        .at = chunk->data + round_up(sizeof(*arena)),
        .end = chunk->data + CHUNK_DATA,
        .owners = 1,
    };
    return arena;
}

struct arena *arena_child(struct arena *parent)
{
    struct arena *arena = arena_new();

    arena->next = parent->children;
    arena->link = &parent->children;
    if (arena->next)
        arena->next->link = &arena->next;
    parent->children = arena;
    return arena;
}

static void leave_parent(struct arena *arena)
{
    if (!arena->link)
        return;
    *arena->link = arena->next;
    if (arena->next)
        arena->next->link = arena->link;
    arena->link = NULL;
}

/* A chunk of its own for ${size} bytes. */
static char *take_large(struct arena *arena, size_t size)
{
    struct chunk *chunk = chunk_take(size);

    chunk->next = arena->chunks->next;
    arena->chunks->next = chunk;
    return chunk->data;
}

void *arena_take(struct arena *arena, size_t size)
{
    char *piece;

    CHECK(size < SIZE_LIMIT);
    arena->used += size;
    if (round_up(size) > (size_t)(arena->end - arena->at)) {
        if (size > PIECE_MAX) {
            piece = take_large(arena, size);
            ASAN_UNPOISON_MEMORY_REGION(piece, size);
            return piece;
        }
        struct chunk *chunk = chunk_take(CHUNK_DATA);

        chunk->next = arena->chunks;
        arena->chunks = chunk;
        arena->at = chunk->data;
        arena->end = chunk->data + CHUNK_DATA;
    }
    piece = arena->at;
    arena->at += round_up(size);
    ASAN_UNPOISON_MEMORY_REGION(piece, size);
    return piece;
}

void *arena_alloc(struct arena *arena, size_t size)
{
    return memset(arena_take(arena, size), 0, size);
}

void arena_note_short(struct arena *arena)
{
    arena->was_short = true;
}

bool arena_was_short(const struct arena *arena)
{
    return arena->was_short;
}

size_t arena_used(const struct arena *arena)
{
    return arena->used;
}

void arena_hold(struct arena *arena)
{
    arena->owners++;
}

void arena_free(struct arena *arena)
{
    struct chunk *chunk;

    if (!arena)
        return;
    CHECK(arena->owners > 0);
    arena->owners--;
    if (arena->owners > 0)
        return;
    leave_parent(arena);
    while (arena->children) {
        struct arena *child = arena->children;

        leave_parent(child);
        arena_free(child);
    }
    /* The arena lies in one of its own chunks: it is not touched once the first of them is returned. */
    chunk = arena->chunks;
    while (chunk) {
        struct chunk *next = chunk->next;

        chunk_return(chunk);
        chunk = next;
    }
}
