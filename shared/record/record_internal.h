#ifndef RECORD_INTERNAL_H
#define RECORD_INTERNAL_H

#include <stdbool.h>
#include <stddef.h>

#include "value.h"

/* What the files of this folder share. */

/* The two readers behind value_read, with its contract. */
const char *value_read_json(struct arena *arena, struct view bytes, struct value *out);
const char *value_read_msgpack(struct arena *arena, struct view bytes, struct value *out);

/* The whole of ${text} as an integer -2^63 ... 2^63-1: an optional minus, then digits without leading zeros. */
bool value_text_to_int(struct view text, int64_t *out);

/* Is all of ${text} well-formed UTF-8 (RFC 3629: nothing overlong, no surrogates, nothing above U+10FFFF)? */
bool utf8_valid(struct view text);

/* ${text} itself if it is well-formed, else a copy with U+FFFD in place of each byte that is not. */
struct view utf8_clean(struct arena *arena, struct view text);

#endif
