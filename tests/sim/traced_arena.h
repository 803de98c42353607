#ifndef TRACED_ARENA_H
#define TRACED_ARENA_H

#include "arena.h"
#include "hash.h"

/*
 * arena.h once more, for programs that link traced_arena.c in the place of base/arena.c: every piece that was handed out is known, so that what a
 * flow knows can be told apart from where it lies.
 */

/*
 * A digest of everything that can be reached from ${roots}, each a piece of ${arena}: pieces are numbered as they are met and pointers into them are
 * replaced by the number and the offset; every other word counts as it is. Two heaps with the same digest have the same shape and content, so a
 * program that sees no addresses cannot tell them apart. (Musuvathi, Dill: An Incremental Heap Canonicalization Algorithm, SPIN 2005.)
 */
struct hash128 traced_digest(const struct arena *arena, void *const *roots, size_t root_count);

#endif
