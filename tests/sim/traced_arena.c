#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "check.h"

#include "traced_arena.h"

#define ALIGNMENT ((size_t)16)
#define ARENA_BYTES ((size_t)256 << 20) /* promised; taken as it is used */

struct piece {
    uint32_t at, size, number; /* number: in the digest that is being made, 0: not met */
};
struct arena {
    char *bytes;
    size_t top, used;
    struct piece *pieces;
    size_t count, cap;
    unsigned owners;
    struct arena *next; /* in the pool */
};

static struct arena *pool;

bool arena_reserve(size_t bytes)
{
    return true;
}

bool arena_low(void)
{
    return false;
}

void arena_thread_end(void)
{
    while (pool) {
        struct arena *arena = pool;
        pool = arena->next;
        free(arena->bytes);
        free(arena->pieces);
        free(arena);
    }
}

struct arena *arena_new(void)
{
    struct arena *arena = pool;
    if (arena) {
        pool = arena->next;
    } else {
        arena = calloc(1, sizeof(*arena));
        CHECK(arena);
        arena->bytes = aligned_alloc(ALIGNMENT, ARENA_BYTES);
        CHECK(arena->bytes);
    }
    arena->top = arena->used = arena->count = 0;
    arena->owners = 1;
    return arena;
}

/* Zeroed always: what nobody wrote must not tell two heaps apart. */
void *arena_take(struct arena *arena, size_t size)
{
    size_t rounded = (size + ALIGNMENT) & ~(ALIGNMENT - 1); /* a pointer behind a piece's end is still this piece's */
    CHECK(arena->top + rounded <= ARENA_BYTES);
    if (arena->count == arena->cap) {
        arena->cap = arena->cap ? arena->cap * 2 : 64;
        arena->pieces = realloc(arena->pieces, arena->cap * sizeof(*arena->pieces));
        CHECK(arena->pieces);
    }
    arena->pieces[arena->count++] = (struct piece){(uint32_t)arena->top, (uint32_t)size, 0};
    void *at = arena->bytes + arena->top;
    arena->top += rounded;
    arena->used += size;
    return memset(at, 0, rounded);
}

void *arena_alloc(struct arena *arena, size_t size)
{
    return arena_take(arena, size);
}

/* Here memory is never short. */
void arena_note_short(struct arena *arena)
{
}

bool arena_was_short(const struct arena *arena)
{
    return false;
}

size_t arena_used(const struct arena *arena)
{
    return arena->used;
}

/* For the audit, which is none of the flows that are searched. */
struct arena *arena_child(struct arena *parent)
{
    return arena_new();
}

void arena_hold(struct arena *arena)
{
    arena->owners++;
}

void arena_free(struct arena *arena)
{
    if (arena == NULL || --arena->owners > 0)
        return;
    arena->next = pool;
    pool = arena;
}

/* ---- the digest ---- */

struct walk {
    const struct arena *arena;
    uint32_t met, done; /* pieces numbered; of these, read */
    uint32_t order[4096];
    uint64_t words[1 << 16];
    size_t word_count;
};

static void put(struct walk *walk, uint64_t word)
{
    CHECK(walk->word_count < sizeof(walk->words) / sizeof(*walk->words));
    walk->words[walk->word_count++] = word;
}

/* The piece that ${word} points into, or NULL. */
static struct piece *piece_at(const struct arena *arena, uint64_t word)
{
    uint64_t base = (uint64_t)(uintptr_t)arena->bytes;
    size_t low = 0, high = arena->count;
    if (word < base || word >= base + arena->top)
        return NULL;
    while (high - low > 1) {
        size_t middle = (low + high) / 2;
        if (base + arena->pieces[middle].at <= word)
            low = middle;
        else
            high = middle;
    }
    return &arena->pieces[low];
}

static void meet(struct walk *walk, struct piece *piece)
{
    if (piece->number)
        return;
    CHECK(walk->met < sizeof(walk->order) / sizeof(*walk->order));
    walk->order[walk->met++] = (uint32_t)(piece - walk->arena->pieces);
    piece->number = walk->met;
}

static void put_word(struct walk *walk, uint64_t word)
{
    struct piece *piece = piece_at(walk->arena, word);
    if (piece) {
        meet(walk, piece);
        put(walk, UINT64_C(0x7069656365000000) + piece->number);
        put(walk, word - (uint64_t)(uintptr_t)walk->arena->bytes - piece->at);
    } else {
        put(walk, word == (uint64_t)(uintptr_t)walk->arena ? UINT64_C(0x6172656e61) : word);
    }
}

static void read_piece(struct walk *walk, const struct piece *piece)
{
    const char *at = walk->arena->bytes + piece->at;
    put(walk, piece->size);
    for (size_t i = 0; i < piece->size; i += sizeof(uint64_t)) { /* the rest of the last word is zero */
        uint64_t word;
        memcpy(&word, at + i, sizeof(word));
        put_word(walk, word);
    }
}

struct hash128 traced_digest(const struct arena *arena, void *const *roots, size_t root_count)
{
    static struct walk walk;
    walk.arena = arena;
    walk.met = walk.done = 0;
    walk.word_count = 0;
    for (size_t i = 0; i < root_count; i++)
        put_word(&walk, (uint64_t)(uintptr_t)roots[i]);
    while (walk.done < walk.met)
        read_piece(&walk, &arena->pieces[walk.order[walk.done++]]);
    for (uint32_t i = 0; i < walk.met; i++)
        arena->pieces[walk.order[i]].number = 0;
    return hash128((struct view){(const char *)walk.words, walk.word_count * sizeof(uint64_t)}, 5);
}
