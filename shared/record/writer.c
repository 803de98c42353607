#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <msgpack.h>

#include "check.h"
#include "clock.h"
#include "money.h"
#include "record_internal.h"

#include "value.h"

/*
 * Each writer_x does the same three things: says that a value comes (comma, account of what is left), then writes it in the one format or
 * the other. The account is kept for both formats, so that a wrong count is found in tests that only look at JSON.
 */
#define LIT(text) (text), sizeof(text) - 1

static int got_packed(void *cookie, const char *bytes, size_t len)
{
    buffer_add(cookie, bytes, len);
    return 0;
}

/* A packer is two pointers; making one for each value is cheaper than keeping it. */
static msgpack_packer packer_of(struct writer *writer)
{
    return (msgpack_packer){.data = &writer->out, .callback = got_packed};
}

void writer_init(struct writer *writer, enum format format, struct arena *arena)
{
    *writer = (struct writer){.format = format, .out = {.arena = arena}};
}

/* One more member or item of the innermost map or list begins. */
static void count_one(struct writer *writer)
{
    int inner = writer->depth - 1;

    CHECK(writer->open[inner].left > 0);
    writer->open[inner].left--;
    if (writer->format == FORMAT_JSON && !writer->open[inner].first)
        buffer_add(&writer->out, LIT(","));
    writer->open[inner].first = false;
}

static void begin_value(struct writer *writer)
{
    if (writer->depth == 0)
        CHECK(writer->out.len == 0); /* one document, one value */
    else if (writer->open[writer->depth - 1].map)
        CHECK(writer->after_name);
    else
        count_one(writer);
    writer->after_name = false;
}

static void open_one(struct writer *writer, bool map, size_t count)
{
    CHECK((size_t)writer->depth < sizeof(writer->open) / sizeof(writer->open[0]));
    writer->open[writer->depth].left = count;
    writer->open[writer->depth].map = map;
    writer->open[writer->depth].first = true;
    writer->depth++;
}

void writer_map(struct writer *writer, size_t members)
{
    begin_value(writer);
    open_one(writer, true, members);
    if (writer->format == FORMAT_JSON) {
        buffer_add(&writer->out, LIT("{"));
    } else {
        msgpack_packer packer = packer_of(writer);

        msgpack_pack_map(&packer, members);
    }
}

void writer_list(struct writer *writer, size_t items)
{
    begin_value(writer);
    open_one(writer, false, items);
    if (writer->format == FORMAT_JSON) {
        buffer_add(&writer->out, LIT("["));
    } else {
        msgpack_packer packer = packer_of(writer);

        msgpack_pack_array(&packer, items);
    }
}

void writer_end(struct writer *writer)
{
    CHECK(writer->depth > 0 && !writer->after_name);
    writer->depth--;
    CHECK(writer->open[writer->depth].left == 0);
    if (writer->format == FORMAT_JSON)
        buffer_add(&writer->out, writer->open[writer->depth].map ? "}" : "]", 1);
}

/* ${byte} as RFC 8259 section 7 wants it inside quotes; NULL if it can stand as it is. */
static const char *escape(unsigned char byte, char out[8])
{
    switch (byte) {
    case '"':
        return "\\\"";
    case '\\':
        return "\\\\";
    case '\b':
        return "\\b";
    case '\f':
        return "\\f";
    case '\n':
        return "\\n";
    case '\r':
        return "\\r";
    case '\t':
        return "\\t";
    default:
        snprintf(out, 8, "\\u%04x", byte);
        return out;
    }
}

static bool needs_escape(unsigned char byte)
{
    return byte < 0x20 || byte == '"' || byte == '\\';
}

static void add_quoted(struct buffer *out, struct view text)
{
    size_t plain = 0; /* where the run of bytes that need no escape began */
    char made[8];

    buffer_add(out, LIT("\""));
    for (size_t i = 0; i < text.len; i++) {
        if (needs_escape((unsigned char)text.at[i])) {
            const char *escaped = escape((unsigned char)text.at[i], made);

            buffer_add(out, text.at + plain, i - plain);
            buffer_add(out, escaped, strlen(escaped));
            plain = i + 1;
        }
    }
    if (text.len > plain)
        buffer_add(out, text.at + plain, text.len - plain);
    buffer_add(out, LIT("\""));
}

/* Texts may come from headers or paths, which nobody has checked: what is not UTF-8 is replaced, so that every reader can read the document. */
static void add_text(struct writer *writer, struct view text)
{
    text = utf8_clean(writer->out.arena, text);
    if (writer->format == FORMAT_JSON) {
        add_quoted(&writer->out, text);
    } else {
        msgpack_packer packer = packer_of(writer);

        msgpack_pack_str_with_body(&packer, text.len > 0 ? text.at : "", text.len);
    }
}

void writer_name(struct writer *writer, struct view name)
{
    CHECK(writer->depth > 0 && writer->open[writer->depth - 1].map && !writer->after_name);
    count_one(writer);
    add_text(writer, name);
    if (writer->format == FORMAT_JSON)
        buffer_add(&writer->out, LIT(":"));
    writer->after_name = true;
}

void writer_null(struct writer *writer)
{
    begin_value(writer);
    if (writer->format == FORMAT_JSON) {
        buffer_add(&writer->out, LIT("null"));
    } else {
        msgpack_packer packer = packer_of(writer);

        msgpack_pack_nil(&packer);
    }
}

void writer_bool(struct writer *writer, bool boolean)
{
    begin_value(writer);
    if (writer->format == FORMAT_JSON) {
        buffer_add_view(&writer->out, boolean ? VIEW("true") : VIEW("false"));
    } else {
        msgpack_packer packer = packer_of(writer);

        if (boolean)
            msgpack_pack_true(&packer);
        else
            msgpack_pack_false(&packer);
    }
}

void writer_int(struct writer *writer, int64_t integer)
{
    begin_value(writer);
    if (writer->format == FORMAT_JSON) {
        buffer_add_int(&writer->out, integer);
    } else {
        msgpack_packer packer = packer_of(writer);

        msgpack_pack_int64(&packer, integer);
    }
}

void writer_text(struct writer *writer, struct view text)
{
    begin_value(writer);
    add_text(writer, text);
}

void writer_money(struct writer *writer, int64_t amount, int digits)
{
    char text[MONEY_TEXT_MAX];
    size_t len = money_print(text, amount, digits);

    begin_value(writer);
    if (writer->format == FORMAT_JSON) {
        buffer_add(&writer->out, text, len);
    } else {
        msgpack_packer packer = packer_of(writer);

        /* The double nearest to the exact decimal; a division would round a second time. */
        msgpack_pack_double(&packer, strtod(text, NULL));
    }
}

void writer_time(struct writer *writer, int64_t ms)
{
    char text[CLOCK_RFC3339_MAX];

    writer_text(writer, (struct view){text, clock_rfc3339(text, ms)});
}

/*
 * MessagePack has no decimals. A whole number up to 2^64-1 stays exact, others become the nearest float64. One that no float64 can come near
 * stays its own text: readers refuse infinity, and the largest float would be a number that nobody wrote.
 */
static void pack_decimal(struct writer *writer, struct view decimal)
{
    struct view text = arena_copy(writer->out.arena, decimal); /* with a NUL behind it */
    msgpack_packer packer = packer_of(writer);
    double number = strtod(text.at, NULL);
    unsigned long long whole;

    errno = 0;
    whole = strtoull(text.at, NULL, 10);
    if (errno == 0 && strspn(text.at, "0123456789") == text.len)
        msgpack_pack_uint64(&packer, whole);
    else if (__builtin_isfinite(number))
        msgpack_pack_double(&packer, number);
    else
        msgpack_pack_str_with_body(&packer, text.at, text.len);
}

static void writer_decimal(struct writer *writer, struct view decimal)
{
    begin_value(writer);
    if (writer->format == FORMAT_JSON)
        buffer_add_view(&writer->out, decimal);
    else
        pack_decimal(writer, decimal);
}

void writer_value(struct writer *writer, const struct value *value)
{
    switch (value->kind) {
    case VALUE_NULL:
        writer_null(writer);
        break;
    case VALUE_BOOL:
        writer_bool(writer, value->boolean);
        break;
    case VALUE_INT:
        writer_int(writer, value->integer);
        break;
    case VALUE_DECIMAL:
        writer_decimal(writer, value->text);
        break;
    case VALUE_TEXT:
        writer_text(writer, value->text);
        break;
    case VALUE_LIST:
        writer_list(writer, value->list.count);
        for (size_t i = 0; i < value->list.count; i++)
            writer_value(writer, &value->list.items[i]);
        writer_end(writer);
        break;
    case VALUE_MAP:
        writer_map(writer, value->map.count);
        for (size_t i = 0; i < value->map.count; i++) {
            writer_name(writer, value->map.members[i].name);
            writer_value(writer, &value->map.members[i].value);
        }
        writer_end(writer);
        break;
    }
}

struct view writer_done(struct writer *writer)
{
    CHECK(writer->depth == 0 && writer->out.len > 0);
    return buffer_view(&writer->out);
}
