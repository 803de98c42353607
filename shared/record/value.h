#ifndef VALUE_H
#define VALUE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "arena.h"
#include "view.h"

/*
 * One document, whatever it was written in. Read from JSON or MessagePack, walked, bound to a struct (shape.h), and written again.
 * Numbers that are not plain integers keep their decimal text (VALUE_DECIMAL), so that 19.999 stays 19.999.
 */
enum value_kind { VALUE_NULL, VALUE_BOOL, VALUE_INT, VALUE_DECIMAL, VALUE_TEXT, VALUE_LIST, VALUE_MAP };

struct member;
struct value {
    enum value_kind kind;
    union {
        bool boolean;
        int64_t integer;
        struct view text; /* TEXT, and DECIMAL as JSON writes numbers */
        struct {
            struct value *items;
            size_t count;
        } list;
        struct {
            struct member *members;
            size_t count;
        } map;
    };
};
struct member {
    struct view name;
    struct value value;
};

/* The formats a document travels in. */
enum format { FORMAT_JSON, FORMAT_MSGPACK };

/* Bounds that are checked before anything is unpacked: five bytes of MessagePack can ask for 96 GiB. */
#define VALUE_DEPTH_MAX 8
#define VALUE_NODES_MAX 65536

/*
 * Reads exactly one document that fills ${bytes}. UTF-8 only, no duplicate names, depth and node count bounded, no MessagePack
 * extension types, no NaN or infinity. Texts point into ${bytes} or the arena. Returns NULL on success, else one sentence without a
 * full stop that says what is wrong and where ("invalid token near '}' at line 1, column 14"), valid as long as the arena. When what was wrong is
 * that there was no memory, it is noted at the arena (arena_was_short).
 */
const char *value_read(enum format format, struct arena *arena, struct view bytes, struct value *out);

/* The member of that name, or NULL. ${map} may be any kind. */
const struct value *value_get(const struct value *map, const char *name);

/*
 * Writes a document piece by piece in either format. Maps and lists say their member count first (MessagePack needs it; in JSON it is
 * checked). Everything lands in ${out}; nothing fails.
 */
struct writer {
    enum format format;
    struct buffer out;
    int depth;
    struct {
        size_t left; /* members or items still to come */
        bool map, first;
    } open[VALUE_DEPTH_MAX + 2];
    bool after_name;
};

void writer_init(struct writer *writer, enum format format, struct arena *arena);
void writer_map(struct writer *writer, size_t members);
void writer_list(struct writer *writer, size_t items);
/* Closes the innermost map or list; checks that all its members came. */
void writer_end(struct writer *writer);
void writer_name(struct writer *writer, struct view name);
void writer_null(struct writer *writer);
void writer_bool(struct writer *writer, bool boolean);
void writer_int(struct writer *writer, int64_t integer);
void writer_text(struct writer *writer, struct view text);
/* An amount of money as a number: exactly ${digits} digits in JSON, a float64 in MessagePack. */
void writer_money(struct writer *writer, int64_t amount, int digits);
/* A time in milliseconds since 1970, as RFC 3339 text. */
void writer_time(struct writer *writer, int64_t ms);
/* A whole document read before; decimals keep their text in JSON. */
void writer_value(struct writer *writer, const struct value *value);
/* Members in one go: name and value. */
#define WRITER_INT(w, name, integer) (writer_name((w), VIEW(name)), writer_int((w), (integer)))
#define WRITER_TEXT(w, name, text) (writer_name((w), VIEW(name)), writer_text((w), (text)))
#define WRITER_BOOL(w, name, boolean) (writer_name((w), VIEW(name)), writer_bool((w), (boolean)))
#define WRITER_MONEY(w, name, amount, digits) (writer_name((w), VIEW(name)), writer_money((w), (amount), (digits)))
#define WRITER_TIME(w, name, ms) (writer_name((w), VIEW(name)), writer_time((w), (ms)))
/* The finished document; all maps and lists are closed. Valid as long as the arena. */
struct view writer_done(struct writer *writer);

#endif
