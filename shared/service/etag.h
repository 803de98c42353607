#ifndef ETAG_H
#define ETAG_H

#include <stdbool.h>
#include <stdint.h>

#include "view.h"

/*
 * Entity tags (RFC 9110 section 8.8.3). Ours are strong and say the version: "v7". A header If-Match or If-None-Match holds `*` or a list of tags.
 * Weak comparison (If-None-Match) takes W/"v7" for "v7", strong comparison (If-Match) does not.
 */
enum etag_compare { ETAG_STRONG, ETAG_WEAK };

/* The longest tag of ours with its quotes and NUL: a version, or 32 digits of a hash. */
#define ETAG_MAX 40

/* Is the header `*`, or one tag or more of the right form? Ours or not does not matter. */
bool etag_well_formed(struct view header);

/* Does the header name this very tag, with its quotes, by weak comparison? `*` names every one. What is malformed, or absent, names none. */
bool etag_names(struct view header, struct view tag);

/* The highest version that a tag of the header names; 0 if none does. */
int64_t etag_newest(struct view header);

/* Does the header mean this version? `*` means every one. What is malformed, or absent, means none. */
bool etag_matches(struct view header, int64_t version, enum etag_compare compare);

/* Is the header `*`? */
bool etag_any(struct view header);

/* The first version that a strong tag of the header names; 0, which is nothing's version, if none does. */
int64_t etag_first(struct view header);

#endif
