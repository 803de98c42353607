#include <stdlib.h>

#include "merge_patch.h"

static const struct value NOTHING = {.kind = VALUE_NULL};

/* The members of a map in the order of their names, so that a hostile patch of thousands costs no more than sorting them. */
struct index {
    const struct member **sorted;
    size_t count;
};

static int compare_names(struct view a, struct view b)
{
    if (a.len != b.len)
        return a.len < b.len ? -1 : 1;
    return a.len ? memcmp(a.at, b.at, a.len) : 0;
}

static int compare_members(const void *a, const void *b)
{
    return compare_names((*(const struct member *const *)a)->name, (*(const struct member *const *)b)->name);
}

static int compare_with_name(const void *name, const void *member)
{
    return compare_names(*(const struct view *)name, (*(const struct member *const *)member)->name);
}

static struct index index_of(struct arena *arena, const struct value *map)
{
    struct index index = {.count = map->kind == VALUE_MAP ? map->map.count : 0};
    index.sorted = ARENA_ARRAY(arena, const struct member *, index.count + 1);
    for (size_t i = 0; i < index.count; i++)
        index.sorted[i] = &map->map.members[i];
    qsort(index.sorted, index.count, sizeof(*index.sorted), compare_members);
    return index;
}

static const struct value *index_find(const struct index *index, struct view name)
{
    const struct member *const *found = bsearch(&name, index->sorted, index->count, sizeof(*index->sorted), compare_with_name);
    return found ? &(*found)->value : NULL;
}

/* Adds what becomes of one member to ${out}, which has room for it. */
static void add_member(struct arena *arena, struct value *out, struct view name, const struct value *target, const struct value *patch)
{
    if (patch && patch->kind == VALUE_NULL)
        return;
    struct member *member = &out->map.members[out->map.count++];
    member->name = name;
    if (patch)
        merge_patch(arena, target, patch, &member->value);
    else
        member->value = *target;
}

void merge_patch(struct arena *arena, const struct value *target, const struct value *patch, struct value *out)
{
    if (patch->kind != VALUE_MAP) {
        *out = *patch;
        return;
    }
    struct index in_target = index_of(arena, target), in_patch = index_of(arena, patch);
    *out = (struct value){.kind = VALUE_MAP};
    out->map.members = ARENA_ARRAY(arena, struct member, in_target.count + in_patch.count + 1);
    for (size_t i = 0; i < in_target.count; i++) {
        const struct member *member = &target->map.members[i];
        add_member(arena, out, member->name, &member->value, index_find(&in_patch, member->name));
    }
    for (size_t i = 0; i < in_patch.count; i++) {
        const struct member *member = &patch->map.members[i];
        if (index_find(&in_target, member->name) == NULL)
            add_member(arena, out, member->name, &NOTHING, &member->value);
    }
}
