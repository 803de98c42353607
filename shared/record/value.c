#include "record_internal.h"

#include "value.h"

const char *value_read(enum format format, struct arena *arena, struct view bytes, struct value *out)
{
    if (bytes.len == 0)
        return "the document is empty";
    return format == FORMAT_JSON ? value_read_json(arena, bytes, out) : value_read_msgpack(arena, bytes, out);
}

const struct value *value_get(const struct value *map, const char *name)
{
    struct view wanted = view_of(name);

    if (!map || map->kind != VALUE_MAP)
        return NULL;
    for (size_t i = 0; i < map->map.count; i++)
        if (view_equal(map->map.members[i].name, wanted))
            return &map->map.members[i].value;
    return NULL;
}

bool value_text_to_int(struct view text, int64_t *out)
{
    bool negative = text.len > 0 && text.at[0] == '-';
    int64_t number = 0;
    size_t i = negative;

    if (i == text.len || (text.at[i] == '0' && text.len > i + 1))
        return false;
    for (; i < text.len; i++) {
        int digit = text.at[i] - '0';

        /* Counted downwards, because there is one more negative number than there are positive ones. */
        if (digit < 0 || digit > 9 || __builtin_mul_overflow(number, 10, &number) || __builtin_sub_overflow(number, digit, &number))
            return false;
    }
    if (!negative && number == INT64_MIN)
        return false;
    *out = negative ? number : -number;
    return true;
}
