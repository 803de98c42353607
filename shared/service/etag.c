#include <stddef.h>

#include "etag.h"

struct tag {
    bool weak;
    struct view opaque; /* between the quotes */
};

static void skip(struct view *rest, const char *set)
{
    while (rest->len && strchr(set, *rest->at) && *rest->at) {
        rest->at++;
        rest->len--;
    }
}

static bool ends_tag(struct view rest)
{
    return rest.len == 0 || rest.at[0] == ',' || rest.at[0] == ' ' || rest.at[0] == '\t';
}

/* Takes the next tag off the front of ${rest}. Returns false at the end, and sets *malformed if there is anything but a tag. */
static bool next_tag(struct view *rest, struct tag *tag, bool *malformed)
{
    skip(rest, ", \t");
    *malformed = false;
    if (rest->len == 0)
        return false;
    tag->weak = rest->len >= 2 && memcmp(rest->at, "W/", 2) == 0;
    struct view text = {rest->at + 2 * tag->weak, rest->len - 2 * tag->weak};
    const char *quote = text.len > 1 && text.at[0] == '"' ? memchr(text.at + 1, '"', text.len - 1) : NULL;
    if (quote == NULL || !ends_tag((struct view){quote + 1, (size_t)(text.at + text.len - quote) - 1})) {
        *malformed = true;
        return false;
    }
    tag->opaque = (struct view){text.at + 1, (size_t)(quote - text.at) - 1};
    *rest = (struct view){quote + 1, (size_t)(text.at + text.len - quote) - 1};
    return true;
}

/* The version a tag names, 0 if it is none of ours. */
static int64_t version_of(const struct tag *tag)
{
    long long version;
    if (tag->opaque.len < 2 || tag->opaque.at[0] != 'v' || !view_to_int((struct view){tag->opaque.at + 1, tag->opaque.len - 1}, &version))
        return 0;
    return version;
}

bool etag_any(struct view header)
{
    return view_equal(header, VIEW("*"));
}

bool etag_well_formed(struct view header)
{
    struct tag tag;
    bool malformed;
    size_t count = 0;
    if (etag_any(header))
        return true;
    while (next_tag(&header, &tag, &malformed))
        count++;
    return count > 0 && !malformed;
}

bool etag_names(struct view header, struct view tag)
{
    struct tag one;
    bool malformed;
    if (etag_any(header))
        return true;
    while (next_tag(&header, &one, &malformed))
        if (tag.len >= 2 && view_equal(one.opaque, (struct view){tag.at + 1, tag.len - 2}))
            return true;
    return false;
}

int64_t etag_newest(struct view header)
{
    struct tag tag;
    bool malformed;
    int64_t newest = 0;
    while (next_tag(&header, &tag, &malformed))
        if (version_of(&tag) > newest)
            newest = version_of(&tag);
    return newest;
}

bool etag_matches(struct view header, int64_t version, enum etag_compare compare)
{
    struct tag tag;
    bool malformed;
    if (etag_any(header))
        return true;
    while (next_tag(&header, &tag, &malformed))
        if (version_of(&tag) == version && version != 0 && (compare == ETAG_WEAK || !tag.weak))
            return true;
    return false;
}

int64_t etag_first(struct view header)
{
    struct tag tag;
    bool malformed;
    while (next_tag(&header, &tag, &malformed))
        if (!tag.weak && version_of(&tag))
            return version_of(&tag);
    return 0;
}
