#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <msgpack.h>

#include "record_internal.h"

/*
 * MessagePack is read by msgpack-c, but not before this file has walked the bytes itself: msgpack-c allocates what a header asks for, and
 * five bytes can ask for 96 GiB. So: check (bounds, types, UTF-8) ──▶ msgpack_unpack_next ──▶ convert (names unique) ──▶ value.
 */
struct head {
    enum { HEAD_FIXED, HEAD_TEXT, HEAD_LIST, HEAD_MAP, HEAD_BIN, HEAD_EXT, HEAD_UNUSED } kind;
    size_t bytes; /* in ${wide_heads}: of payload for FIXED, of the length's own bytes for the others; in use: payload, or count of items */
};

/* First bytes 0xc0 ... 0xdf. */
static const struct head wide_heads[32] = {
    {HEAD_FIXED, 0}, {HEAD_UNUSED, 0}, {HEAD_FIXED, 0}, {HEAD_FIXED, 0}, /* nil, never used, false, true */
    {HEAD_BIN, 1},   {HEAD_BIN, 2},    {HEAD_BIN, 4},   {HEAD_EXT, 1},   {HEAD_EXT, 2},  {HEAD_EXT, 4}, {HEAD_FIXED, 4},
    {HEAD_FIXED, 8},                                                                    /* float32, float64 */
    {HEAD_FIXED, 1}, {HEAD_FIXED, 2},  {HEAD_FIXED, 4}, {HEAD_FIXED, 8},                /* uint8 ... uint64 */
    {HEAD_FIXED, 1}, {HEAD_FIXED, 2},  {HEAD_FIXED, 4}, {HEAD_FIXED, 8},                /* int8 ... int64 */
    {HEAD_EXT, 0},   {HEAD_EXT, 0},    {HEAD_EXT, 0},   {HEAD_EXT, 0},   {HEAD_EXT, 0}, /* fixext */
    {HEAD_TEXT, 1},  {HEAD_TEXT, 2},   {HEAD_TEXT, 4},  {HEAD_LIST, 2},  {HEAD_LIST, 4}, {HEAD_MAP, 2}, {HEAD_MAP, 4},
};

struct checker {
    struct arena *arena;
    const unsigned char *start, *at, *end;
    size_t nodes;
};

static const char *complain(const struct checker *checker, const char *what)
{
    return arena_printf(checker->arena, "%s at byte %zu", what, (size_t)(checker->at - checker->start)).at;
}

/* Reads a head whose length follows in bytes of its own. Returns false if they are not there. */
static bool read_wide_head(struct checker *checker, struct head *out)
{
    size_t length_bytes;

    *out = wide_heads[*checker->at - 0xc0];
    checker->at++;
    if (out->kind == HEAD_FIXED)
        return true;
    length_bytes = out->bytes;
    out->bytes = 0;
    if ((size_t)(checker->end - checker->at) < length_bytes)
        return false;
    for (size_t i = 0; i < length_bytes; i++)
        out->bytes = out->bytes << 8 | *checker->at++;
    return true;
}

static bool read_head(struct checker *checker, struct head *out)
{
    unsigned char first;

    if (checker->at == checker->end)
        return false;
    first = *checker->at;
    if (first >= 0xc0 && first <= 0xdf)
        return read_wide_head(checker, out);
    checker->at++;
    if (first >= 0x80 && first <= 0x8f)
        *out = (struct head){HEAD_MAP, first & 0x0f};
    else if (first >= 0x90 && first <= 0x9f)
        *out = (struct head){HEAD_LIST, first & 0x0f};
    else if (first >= 0xa0 && first <= 0xbf)
        *out = (struct head){HEAD_TEXT, first & 0x1f};
    else
        *out = (struct head){HEAD_FIXED, 0}; /* a small integer */
    return true;
}

static const char *check_payload(struct checker *checker, const struct head *head)
{
    if ((size_t)(checker->end - checker->at) < head->bytes)
        return complain(checker, "the document ends early,");
    if (head->kind == HEAD_TEXT) {
        struct view text = {(const char *)checker->at, head->bytes};

        if (!utf8_valid(text))
            return complain(checker, "a text is not UTF-8");
        if (text.len > 0 && memchr(text.at, '\0', text.len))
            return complain(checker, "a text holds the character U+0000, which is not accepted here,");
    }
    checker->at += head->bytes;
    return NULL;
}

static const char *check_node(struct checker *checker, int depth);

static const char *check_name(struct checker *checker)
{
    struct head head;

    if (!read_head(checker, &head))
        return complain(checker, "the document ends early,");
    return head.kind == HEAD_TEXT ? check_payload(checker, &head) : complain(checker, "a member's name is not a text");
}

/* ${depth} counts this list or map. */
static const char *check_inside(struct checker *checker, const struct head *head, int depth)
{
    size_t bytes_each = head->kind == HEAD_MAP ? 2 : 1;

    if (depth > VALUE_DEPTH_MAX)
        return complain(checker, arena_printf(checker->arena, "nested deeper than %d levels", VALUE_DEPTH_MAX).at);
    if (head->bytes > (size_t)(checker->end - checker->at) / bytes_each)
        return complain(checker, "a list or map announces more than the document holds");
    for (size_t i = 0; i < head->bytes; i++) {
        const char *problem = head->kind == HEAD_MAP ? check_name(checker) : NULL;

        if (!problem)
            problem = check_node(checker, depth);
        if (problem)
            return problem;
    }
    return NULL;
}

/* Checks one value and all inside it; ${depth} lists and maps are open around it. */
static const char *check_node(struct checker *checker, int depth)
{
    struct head head;

    checker->nodes++;
    if (checker->nodes > VALUE_NODES_MAX)
        return complain(checker, arena_printf(checker->arena, "more than %d values", VALUE_NODES_MAX).at);
    if (!read_head(checker, &head))
        return complain(checker, "the document ends early,");
    switch (head.kind) {
    case HEAD_FIXED:
    case HEAD_TEXT:
        return check_payload(checker, &head);
    case HEAD_LIST:
    case HEAD_MAP:
        return check_inside(checker, &head, depth + 1);
    case HEAD_BIN:
        return complain(checker, "binary data, which is not accepted here,");
    case HEAD_EXT:
        return complain(checker, "an extension type, which is not accepted here,");
    case HEAD_UNUSED:
        break;
    }
    return complain(checker, "a byte that MessagePack does not use");
}

static int compare_names(const void *a, const void *b)
{
    struct view left = (*(const struct member *const *)a)->name, right = (*(const struct member *const *)b)->name;

    if (left.len != right.len)
        return left.len < right.len ? -1 : 1;
    return left.len > 0 ? memcmp(left.at, right.at, left.len) : 0;
}

/* Sorted instead of compared pair by pair: a hostile map has 65,536 members. Returns NULL, or what is wrong. */
static const char *check_unique(struct arena *arena, const struct value *map)
{
    size_t count = map->map.count;
    const struct member **sorted;

    if (count < 2)
        return NULL;
    sorted = ARENA_ARRAY(arena, const struct member *, count);
    for (size_t i = 0; i < count; i++)
        sorted[i] = &map->map.members[i];
    qsort(sorted, count, sizeof(sorted[0]), compare_names);
    for (size_t i = 1; i < count; i++)
        if (compare_names(&sorted[i - 1], &sorted[i]) == 0)
            return arena_printf(arena, "duplicate member name '%.*s'", VIEW_ARG(sorted[i]->name)).at;
    return NULL;
}

/* The shortest text that reads back as the same number of its own width: 19.9 stays 19.9, whether it came in four bytes or in eight. */
static const char *convert_float(struct arena *arena, const msgpack_object *object, struct value *out)
{
    bool narrow = object->type == MSGPACK_OBJECT_FLOAT32;
    double number = object->via.f64;
    char text[32];

    if (!__builtin_isfinite(number))
        return "a number is not finite (NaN or infinity)";
    for (int digits = narrow ? 6 : 15; digits <= (narrow ? 9 : 17); digits++) {
        snprintf(text, sizeof(text), "%.*g", digits, number);
        if (narrow ? strtof(text, NULL) == (float)number : strtod(text, NULL) == number)
            break;
    }
    *out = (struct value){.kind = VALUE_DECIMAL, .text = arena_copy(arena, view_of(text))};
    return NULL;
}

static void convert_unsigned(struct arena *arena, uint64_t number, struct value *out)
{
    if (number <= INT64_MAX)
        *out = (struct value){.kind = VALUE_INT, .integer = (int64_t)number};
    else
        *out = (struct value){.kind = VALUE_DECIMAL, .text = arena_printf(arena, "%llu", (unsigned long long)number)};
}

static const char *convert(struct arena *arena, const msgpack_object *object, struct value *out);

static const char *convert_list(struct arena *arena, const msgpack_object_array *array, struct value *out)
{
    const char *problem = NULL;

    out->kind = VALUE_LIST;
    out->list.count = array->size;
    out->list.items = ARENA_ARRAY(arena, struct value, array->size);
    for (uint32_t i = 0; i < array->size && !problem; i++)
        problem = convert(arena, &array->ptr[i], &out->list.items[i]);
    return problem;
}

static const char *convert_map(struct arena *arena, const msgpack_object_map *map, struct value *out)
{
    const char *problem = NULL;

    out->kind = VALUE_MAP;
    out->map.count = map->size;
    out->map.members = ARENA_ARRAY(arena, struct member, map->size);
    for (uint32_t i = 0; i < map->size && !problem; i++) {
        out->map.members[i].name = (struct view){map->ptr[i].key.via.str.ptr, map->ptr[i].key.via.str.size};
        problem = convert(arena, &map->ptr[i].val, &out->map.members[i].value);
    }
    return problem ? problem : check_unique(arena, out);
}

static const char *convert(struct arena *arena, const msgpack_object *object, struct value *out)
{
    switch (object->type) {
    case MSGPACK_OBJECT_NIL:
        *out = (struct value){.kind = VALUE_NULL};
        return NULL;
    case MSGPACK_OBJECT_BOOLEAN:
        *out = (struct value){.kind = VALUE_BOOL, .boolean = object->via.boolean};
        return NULL;
    case MSGPACK_OBJECT_POSITIVE_INTEGER:
        convert_unsigned(arena, object->via.u64, out);
        return NULL;
    case MSGPACK_OBJECT_NEGATIVE_INTEGER:
        *out = (struct value){.kind = VALUE_INT, .integer = object->via.i64};
        return NULL;
    case MSGPACK_OBJECT_FLOAT32:
    case MSGPACK_OBJECT_FLOAT64:
        return convert_float(arena, object, out);
    case MSGPACK_OBJECT_STR:
        *out = (struct value){.kind = VALUE_TEXT, .text = {object->via.str.ptr, object->via.str.size}};
        return NULL;
    case MSGPACK_OBJECT_ARRAY:
        return convert_list(arena, &object->via.array, out);
    case MSGPACK_OBJECT_MAP:
        return convert_map(arena, &object->via.map, out);
    case MSGPACK_OBJECT_BIN:
    case MSGPACK_OBJECT_EXT:
        break;
    }
    return "a type that is not accepted here";
}

const char *value_read_msgpack(struct arena *arena, struct view bytes, struct value *out)
{
    const unsigned char *start = (const unsigned char *)bytes.at;
    struct checker checker = {.arena = arena, .start = start, .at = start, .end = start + bytes.len};
    const char *problem = check_node(&checker, 0);
    msgpack_unpacked unpacked;

    if (problem)
        return problem;
    if (checker.at != checker.end)
        return complain(&checker, "something follows the document");
    msgpack_unpacked_init(&unpacked);
    if (msgpack_unpack_next(&unpacked, bytes.at, bytes.len, NULL) == MSGPACK_UNPACK_SUCCESS) {
        problem = convert(arena, &unpacked.data, out);
    } else {
        arena_note_short(arena); /* all else was checked */
        problem = "the document could not be read for want of memory";
    }
    msgpack_unpacked_destroy(&unpacked);
    return problem;
}
