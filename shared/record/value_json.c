#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "record_internal.h"

/*
 * JSON is read by jansson, which makes doubles of all numbers that are not int64. Their text is kept like this:
 *
 *   bytes ──▶ scan: depth, count of nodes, form of numbers ──▶ copy with "0.5" and spaces in place of every such number ──▶ jansson ──▶ tree
 *     └─────────────────── the n-th such number in the bytes is the n-th real of the tree, which keeps the document's order ───────▶ value
 *
 * A number that jansson would refuse (1e400, thirty digits) is then read like any other, and places in its messages stay true.
 */
struct token {
    enum { TOKEN_OPEN, TOKEN_CLOSE, TOKEN_TEXT, TOKEN_COLON, TOKEN_COMMA, TOKEN_NUMBER, TOKEN_WORD } kind;
    struct view text;
};

struct scan {
    const char *at, *end;
};

static const char stand_in[] = "0.5";

static const char *skip_any(const char *at, const char *end, const char *set)
{
    while (at < end && *at != '\0' && strchr(set, *at))
        at++;
    return at;
}

/* ${at} is behind the opening quote; returns the place behind the closing one. */
static const char *skip_text(const char *at, const char *end)
{
    for (; at < end && *at != '"'; at++)
        if (*at == '\\' && at + 1 < end)
            at++;
    return at < end ? at + 1 : end;
}

/* Takes the next token. It need only be right about documents that are; whatever else there is, jansson refuses. Returns false at the end. */
static bool scan_next(struct scan *scan, struct token *out)
{
    const char *at = scan->at = skip_any(scan->at, scan->end, " \t\r\n");

    if (at == scan->end)
        return false;
    switch (*at++) {
    case '{':
    case '[':
        out->kind = TOKEN_OPEN;
        break;
    case '}':
    case ']':
        out->kind = TOKEN_CLOSE;
        break;
    case ':':
        out->kind = TOKEN_COLON;
        break;
    case ',':
        out->kind = TOKEN_COMMA;
        break;
    case '"':
        out->kind = TOKEN_TEXT;
        at = skip_text(at, scan->end);
        break;
    case '-':
    case '0' ... '9':
        out->kind = TOKEN_NUMBER;
        at = skip_any(at, scan->end, "0123456789+-.eE");
        break;
    default:
        out->kind = TOKEN_WORD;
        at = skip_any(at, scan->end, "abcdefghijklmnopqrstuvwxyz");
        break;
    }
    out->text = (struct view){scan->at, (size_t)(at - scan->at)};
    scan->at = at;
    return true;
}

static size_t digits_len(struct view text, size_t from)
{
    size_t len = 0;

    while (from + len < text.len && text.at[from + len] >= '0' && text.at[from + len] <= '9')
        len++;
    return len;
}

/* The grammar of RFC 8259 section 6. */
static bool is_number(struct view text)
{
    size_t at = text.len > 0 && text.at[0] == '-', len = digits_len(text, at);

    if (len == 0 || (text.at[at] == '0' && len > 1))
        return false;
    at += len;
    if (at < text.len && text.at[at] == '.') {
        len = digits_len(text, at + 1);
        if (len == 0)
            return false;
        at += 1 + len;
    }
    if (at < text.len && (text.at[at] == 'e' || text.at[at] == 'E')) {
        at += 1 + (at + 1 < text.len && (text.at[at + 1] == '+' || text.at[at + 1] == '-'));
        len = digits_len(text, at);
        if (len == 0)
            return false;
        at += len;
    }
    return at == text.len;
}

/* A number whose text is kept; all others are int64. */
static bool is_decimal(struct view text)
{
    int64_t integer;

    return !value_text_to_int(text, &integer);
}

/* A sentence with the place. */
static const char *complain(struct arena *arena, struct view bytes, const char *where, const char *what)
{
    int line = 1, column = 1;

    for (const char *at = bytes.at; at < where; at++) {
        line += *at == '\n';
        column = *at == '\n' ? 1 : column + 1;
    }
    return arena_printf(arena, "%s at line %d, column %d", what, line, column).at;
}

/* Checks the bounds and numbers of ${bytes} and hides its decimals in ${copy}. Returns NULL, or what is wrong. */
static const char *prepare(struct arena *arena, struct view bytes, char *copy)
{
    struct scan scan = {bytes.at, bytes.at + bytes.len};
    struct token token;
    size_t nodes = 0;
    int depth = 0;

    while (scan_next(&scan, &token)) {
        const char *at = token.text.at;

        /* Names are texts as well; the colon behind each takes it off the count again, in time for its value. */
        nodes += token.kind == TOKEN_OPEN || token.kind == TOKEN_TEXT || token.kind == TOKEN_NUMBER || token.kind == TOKEN_WORD;
        nodes -= token.kind == TOKEN_COLON && nodes > 0;
        depth += token.kind == TOKEN_OPEN;
        depth -= token.kind == TOKEN_CLOSE;
        if (depth > VALUE_DEPTH_MAX)
            return complain(arena, bytes, at, arena_printf(arena, "nested deeper than %d levels", VALUE_DEPTH_MAX).at);
        if (nodes > VALUE_NODES_MAX)
            return complain(arena, bytes, at, arena_printf(arena, "more than %d values", VALUE_NODES_MAX).at);
        if (token.kind != TOKEN_NUMBER)
            continue;
        if (!is_number(token.text))
            return complain(arena, bytes, at, "malformed number");
        if (is_decimal(token.text)) {
            memset(copy + (at - bytes.at), ' ', token.text.len);
            memcpy(copy + (at - bytes.at), stand_in, sizeof(stand_in) - 1);
        }
    }
    return NULL;
}

/* The text of the next decimal; the tree has exactly as many reals as the bytes have decimals. */
static struct view next_decimal(struct scan *decimals)
{
    struct token token = {.text = {"", 0}};

    while (scan_next(decimals, &token))
        if (token.kind == TOKEN_NUMBER && is_decimal(token.text))
            break;
    return token.text;
}

static void convert(struct arena *arena, struct scan *decimals, const json_t *json, struct value *out);

static void convert_list(struct arena *arena, struct scan *decimals, const json_t *json, struct value *out)
{
    size_t count = json_array_size(json);

    out->kind = VALUE_LIST;
    out->list.count = count;
    out->list.items = ARENA_ARRAY(arena, struct value, count);
    for (size_t i = 0; i < count; i++)
        convert(arena, decimals, json_array_get(json, i), &out->list.items[i]);
}

static void convert_map(struct arena *arena, struct scan *decimals, json_t *json, struct value *out)
{
    struct member *member;
    const char *name;
    json_t *value;

    out->kind = VALUE_MAP;
    out->map.count = json_object_size(json);
    out->map.members = member = ARENA_ARRAY(arena, struct member, out->map.count);
    json_object_foreach(json, name, value)
    {
        member->name = arena_copy(arena, view_of(name));
        convert(arena, decimals, value, &member->value);
        member++;
    }
}

static void convert(struct arena *arena, struct scan *decimals, const json_t *json, struct value *out)
{
    switch (json_typeof(json)) {
    case JSON_NULL:
        *out = (struct value){.kind = VALUE_NULL};
        break;
    case JSON_TRUE:
    case JSON_FALSE:
        *out = (struct value){.kind = VALUE_BOOL, .boolean = json_is_true(json)};
        break;
    case JSON_INTEGER:
        *out = (struct value){.kind = VALUE_INT, .integer = json_integer_value(json)};
        break;
    case JSON_REAL:
        *out = (struct value){.kind = VALUE_DECIMAL, .text = next_decimal(decimals)};
        break;
    case JSON_STRING:
        *out = (struct value){.kind = VALUE_TEXT, .text = arena_copy(arena, (struct view){json_string_value(json), json_string_length(json)})};
        break;
    case JSON_ARRAY:
        convert_list(arena, decimals, json, out);
        break;
    case JSON_OBJECT:
        convert_map(arena, decimals, (json_t *)json, out);
        break;
    }
}

/* jansson takes a missing name or text for a syntax error, so it is its allocations that are watched. */
static __thread bool refused;

static void *watched_malloc(size_t size)
{
    void *memory = malloc(size);

    refused = refused || !memory;
    return memory;
}

static void __attribute__((constructor)) watch_jansson(void)
{
    json_set_alloc_funcs(watched_malloc, free);
}

static const char *say_error(struct arena *arena, const json_error_t *error)
{
    const char *what = error->text, *near = strstr(what, " near '0.5'");
    int len = (int)(near ? (size_t)(near - what) : strlen(what));

    if (json_error_code(error) == json_error_null_character || json_error_code(error) == json_error_null_byte_in_key) {
        what = "a text holds the character U+0000, which is not accepted here,";
        len = (int)strlen(what);
    }
    /* What stands in for a decimal is no help to who wrote the decimal; the place is. */
    return arena_printf(arena, "%.*s at line %d, column %d", len, what, error->line, error->column).at;
}

const char *value_read_json(struct arena *arena, struct view bytes, struct value *out)
{
    struct view copy = arena_copy(arena, bytes);
    struct scan decimals = {bytes.at, bytes.at + bytes.len};
    const char *problem = prepare(arena, bytes, (char *)copy.at);
    json_error_t error;
    json_t *json;

    if (problem)
        return problem;
    refused = false;
    json = json_loadb(copy.at, copy.len, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &error);
    if (!json && refused) {
        arena_note_short(arena);
        return "the document could not be read for want of memory";
    }
    if (!json)
        return say_error(arena, &error);
    convert(arena, &decimals, json, out);
    json_decref(json);
    return NULL;
}
