#ifndef MERGE_PATCH_H
#define MERGE_PATCH_H

#include "value.h"

/*
 * JSON merge patch (RFC 7396): members of ${patch} replace those of ${target}, null removes, objects are merged, anything else replaces. ${out}
 * borrows from both. Members keep the target's order; new ones follow in the patch's.
 */
void merge_patch(struct arena *arena, const struct value *target, const struct value *patch, struct value *out);

#endif
