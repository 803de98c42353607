#include "money.h"

#include "records.h"

/*
 * MessagePack as record_store writes ORDER_DOC without tracking and reason: fields in their order, names in ASCII. What is anything else is left to
 * record_load, also what is damaged: so this needs to know no more than the one form that nearly all documents have.
 */
#define NAME_MAX_LEN 1024

static bool take_bytes(struct view *rest, const char *bytes, size_t len)
{
    if (rest->len < len || memcmp(rest->at, bytes, len) != 0)
        return false;
    *rest = (struct view){rest->at + len, rest->len - len};
    return true;
}
#define TAKE(rest, literal) take_bytes((rest), (literal), sizeof(literal) - 1)

static bool take_byte(struct view *rest, uint8_t *byte)
{
    if (rest->len == 0)
        return false;
    *byte = (uint8_t)rest->at[0];
    *rest = (struct view){rest->at + 1, rest->len - 1};
    return true;
}

static bool take_big_endian(struct view *rest, size_t bytes, uint64_t *out)
{
    uint8_t byte;

    for (*out = 0; bytes > 0; bytes--) {
        if (!take_byte(rest, &byte))
            return false;
        *out = *out << 8 | byte;
    }
    return true;
}

/* An integer that is not negative: fixint, uint 8 to 64. */
static bool take_int(struct view *rest, uint64_t min, uint64_t max, int64_t *out)
{
    uint8_t head;
    uint64_t number;

    if (!take_byte(rest, &head))
        return false;
    number = head;
    if (head >= 0x80 && (head < 0xcc || head > 0xcf || !take_big_endian(rest, (size_t)1 << (head - 0xcc), &number)))
        return false;
    *out = (int64_t)number;
    return number >= min && number <= max;
}

/* A text of printable ASCII: fixstr, str 8, str 16. */
static bool take_name(struct view *rest, struct view *out)
{
    uint8_t head;
    uint64_t len;

    if (!take_byte(rest, &head))
        return false;
    len = head & 0x1f;
    if ((head & 0xe0) != 0xa0 && (head < 0xd9 || head > 0xda || !take_big_endian(rest, (size_t)1 << (head - 0xd9), &len)))
        return false;
    if (len == 0 || len > NAME_MAX_LEN || len > rest->len)
        return false;
    for (size_t i = 0; i < len; i++)
        if (rest->at[i] < 0x20 || rest->at[i] > 0x7e)
            return false;
    *out = (struct view){rest->at, len};
    *rest = (struct view){rest->at + len, rest->len - len};
    return true;
}

static bool take_line(struct view *rest, struct order_line *line)
{
    return TAKE(rest, "\x85\xaaproduct_id") && take_int(rest, 1, MONEY_MAX, &line->product_id) && TAKE(rest, "\xa4name") &&
           take_name(rest, &line->name) && TAKE(rest, "\xa8quantity") && take_int(rest, 1, MONEY_MAX, &line->quantity) && TAKE(rest, "\xa5price") &&
           take_int(rest, 0, MONEY_MAX, &line->price) && TAKE(rest, "\xafproduct_version") && take_int(rest, 1, MONEY_MAX, &line->product_version);
}

static bool take_lines(struct arena *arena, struct view rest, struct items *lines)
{
    int64_t schema;
    uint8_t head;
    struct order_line *line;

    if (!TAKE(&rest, "\x82\xa6schema") || !take_int(&rest, 1, INT32_MAX, &schema) || !TAKE(&rest, "\xa5lines") || !take_byte(&rest, &head) ||
        head <= 0x90 || head > 0x9f)
        return false;
    lines->count = head & 0x0f;
    lines->at = line = arena_take(arena, sizeof(*line) * lines->count);
    for (size_t i = 0; i < lines->count; i++)
        if (!take_line(&rest, &line[i]))
            return false;
    return rest.len == 0;
}

bool order_doc_lines(struct arena *arena, struct view bytes, struct items *lines)
{
    struct order_doc doc = {0};

    if (take_lines(arena, bytes, lines))
        return true;
    if (!record_load(&ORDER_DOC, arena, bytes, &doc))
        return false;
    *lines = doc.lines;
    return true;
}
