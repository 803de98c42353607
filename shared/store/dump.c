#include <stdlib.h>
#include <string.h>

#include "dump.h"

/* Behind the value: the version of the encoding and a check sum. */
#define FOOTER 10

#define PIECES_MAX UINT16_MAX /* of a listpack that says how many it has */

enum { TYPE_HASH = 4, TYPE_ZSET = 5, TYPE_STREAM = 15, TYPE_HASH_PACKED = 16, TYPE_ZSET_PACKED = 17, TYPE_STREAM_2 = 19, TYPE_STREAM_3 = 21 };

/* Of an entry of a stream. */
enum { ENTRY_DELETED = 1, ENTRY_SAME_FIELDS = 2 };

/* A text, or a number that was kept as one. */
struct piece {
    bool is_number;
    int64_t number;
    struct view text;
};

/* ---- bytes ---- */

static bool has(const struct dump *dump, size_t count)
{
    return (size_t)(dump->end - dump->at) >= count;
}

/* A signed number of ${size} bytes, the lowest first. */
static int64_t little(const unsigned char *at, size_t size)
{
    uint64_t number = 0;

    for (size_t i = size; i-- > 0;)
        number = number << 8 | at[i];
    return size < 8 && at[size - 1] & 0x80 ? (int64_t)(number - (1ull << (size * 8))) : (int64_t)number;
}

static uint64_t big(const unsigned char *at, size_t size)
{
    uint64_t number = 0;

    for (size_t i = 0; i < size; i++)
        number = number << 8 | at[i];
    return number;
}

/* ---- one after another ---- */

/* A length by its first byte, which says how many follow. */
static bool read_length(struct dump *dump, uint64_t *len)
{
    size_t more = !has(dump, 1) ? 9 : *dump->at < 0x40 ? 0 : *dump->at < 0x80 ? 1 : *dump->at == 0x80 ? 4 : *dump->at == 0x81 ? 8 : 9;

    if (more == 9 || !has(dump, more + 1))
        return false;
    *len = more < 4 ? big(dump->at, more + 1) & (more ? 0x3fff : 0x3f) : big(dump->at + 1, more);
    dump->at += more + 1;
    return true;
}

static bool read_plain(struct dump *dump, struct piece *piece)
{
    uint64_t len;

    if (has(dump, 1) && *dump->at >= 0xc0 && *dump->at <= 0xc2) {
        size_t size = (size_t)1 << (*dump->at - 0xc0);
        if (!has(dump, 1 + size))
            return false;
        *piece = (struct piece){.is_number = true, .number = little(dump->at + 1, size)};
        dump->at += 1 + size;
        return true;
    }
    if (!read_length(dump, &len) || !has(dump, len))
        return false;
    *piece = (struct piece){.text = {(const char *)dump->at, len}};
    dump->at += len;
    return true;
}

/* ---- a listpack ---- */

/* How many bytes tell the length of an entry behind it, so that the list can be walked backwards. */
static size_t back_size(size_t len)
{
    return len < 128 ? 1 : len < 16383 ? 2 : len < 2097151 ? 3 : len < 268435455 ? 4 : 5;
}

static bool is_text(unsigned char first)
{
    return (first & 0xc0) == 0x80 || (first & 0xf0) == 0xe0 || first == 0xf0;
}

/* An entry by its first byte: how many bytes are its head, and how many its text. A number is all head. */
static bool read_head(const struct dump *dump, size_t *head, size_t *text)
{
    const unsigned char *at = dump->at;

    *text = 0;
    if (!has(dump, 1))
        return false;
    *head = at[0] < 0xc0 ? 1 : at[0] < 0xf0 ? 2 : at[0] == 0xf0 ? 5 : at[0] <= 0xf3 ? 2 + at[0] - 0xf0 : at[0] == 0xf4 ? 9 : 0;
    if (*head == 0 || !has(dump, *head))
        return false;
    if ((at[0] & 0xc0) == 0x80)
        *text = at[0] & 0x3f;
    else if ((at[0] & 0xf0) == 0xe0)
        *text = (size_t)(at[0] & 0x0f) << 8 | at[1];
    else if (at[0] == 0xf0)
        *text = (uint32_t)little(at + 1, 4);
    return true;
}

static int64_t packed_number(const unsigned char *at, size_t head)
{
    if (at[0] < 0x80)
        return at[0];
    if (at[0] < 0xf0) /* 13 bits, the highest of them the sign */
        return ((at[0] & 0x1f) << 8 | at[1]) - (at[0] & 0x10 ? 1 << 13 : 0);
    return little(at + 1, head - 1);
}

static bool read_packed(struct dump *dump, struct piece *piece)
{
    size_t head, text;

    if (!read_head(dump, &head, &text) || !has(dump, head + text + back_size(head + text)))
        return false;
    if (is_text(*dump->at))
        *piece = (struct piece){.text = {(const char *)dump->at + head, text}};
    else
        *piece = (struct piece){.is_number = true, .number = packed_number(dump->at, head)};
    dump->at += head + text + back_size(head + text);
    return true;
}

/* Goes on inside the listpack that comes next in ${outer}. Its head: how many bytes it has, and how many entries. */
static bool open_packed(struct dump *outer, struct dump *inner)
{
    struct piece list;

    if (!read_plain(outer, &list) || list.text.len < 7)
        return false;
    const unsigned char *at = (const unsigned char *)list.text.at;
    uint16_t entries = (uint16_t)little(at + 4, 2);
    if ((uint32_t)little(at, 4) != list.text.len || entries == UINT16_MAX || at[list.text.len - 1] != 0xff)
        return false;
    *inner = (struct dump){.arena = outer->arena, .at = at + 6, .end = at + list.text.len - 1, .left = entries, .packed = true};
    return true;
}

/* ---- values ---- */

bool dump_open(struct dump *dump, struct view answer, enum dump_kind kind, struct arena *arena)
{
    const unsigned char *at = (const unsigned char *)answer.at;
    uint64_t count = 0;
    bool known = answer.len > FOOTER + 1;

    *dump = (struct dump){.arena = arena, .broken = true};
    if (!known)
        return false;
    dump->at = at + 1;
    dump->end = at + answer.len - FOOTER;
    if (at[0] == (kind == DUMP_HASH ? TYPE_HASH_PACKED : TYPE_ZSET_PACKED)) {
        known = open_packed(dump, dump) && dump->left % 2 == 0;
        dump->left /= 2;
    } else {
        known = at[0] == (kind == DUMP_HASH ? TYPE_HASH : TYPE_ZSET) && read_length(dump, &count) && has(dump, count);
        dump->left = count;
    }
    dump->broken = !known;
    return known;
}

static bool read_piece(struct dump *dump, struct piece *piece)
{
    return dump->packed ? read_packed(dump, piece) : read_plain(dump, piece);
}

static struct view text_of(struct dump *dump, const struct piece *piece)
{
    char *end, *begin;

    if (!piece->is_number)
        return piece->text;
    end = (char *)arena_take(dump->arena, DIGITS_MAX + 1) + DIGITS_MAX + 1;
    begin = digits_before(end, piece->number < 0 ? -(uint64_t)piece->number : (uint64_t)piece->number);
    if (piece->number < 0)
        *--begin = '-';
    return (struct view){begin, (size_t)(end - begin)};
}

bool dump_field(struct dump *dump, struct view *name, struct view *value)
{
    struct piece first, second;

    if (dump->left == 0 || dump->broken)
        return false;
    if (!read_piece(dump, &first) || !read_piece(dump, &second)) {
        dump->broken = true;
        return false;
    }
    *name = text_of(dump, &first);
    *value = text_of(dump, &second);
    dump->left--;
    return true;
}

/* A score in a listpack is a number, or the text of one. */
static bool score_of(const struct piece *piece, double *score)
{
    char copied[64], *end;

    if (piece->is_number) {
        *score = (double)piece->number;
        return true;
    }
    if (piece->text.len == 0 || piece->text.len >= sizeof(copied))
        return false;
    memcpy(copied, piece->text.at, piece->text.len);
    copied[piece->text.len] = '\0';
    *score = strtod(copied, &end);
    return *end == '\0';
}

static bool read_score(struct dump *dump, double *score)
{
    struct piece piece;

    if (dump->packed)
        return read_packed(dump, &piece) && score_of(&piece, score);
    if (!has(dump, sizeof(*score)))
        return false;
    memcpy(score, dump->at, sizeof(*score)); /* the machine's own, which is the file's: the lowest byte first */
    dump->at += sizeof(*score);
    return true;
}

static bool id_of(const struct piece *piece, int64_t *id)
{
    long long number;

    *id = piece->number;
    if (piece->is_number)
        return piece->number >= 0;
    if (!view_to_int(piece->text, &number))
        return false;
    *id = number;
    return true;
}

bool dump_member(struct dump *dump, int64_t *id, double *score)
{
    struct piece member;

    if (dump->left == 0 || dump->broken)
        return false;
    if (!read_piece(dump, &member) || !id_of(&member, id) || !read_score(dump, score)) {
        dump->broken = true;
        return false;
    }
    dump->left--;
    return true;
}

bool dump_ended(const struct dump *dump)
{
    return dump->left == 0 && !dump->broken;
}

/* ---- streams ---- */

bool dump_stream_open(struct dump_stream *stream, struct view answer, struct arena *arena)
{
    const unsigned char *at = (const unsigned char *)answer.at;
    uint64_t count = 0;

    *stream = (struct dump_stream){.nodes = {.arena = arena, .broken = true}};
    if (answer.len <= FOOTER + 1 || (at[0] != TYPE_STREAM && at[0] != TYPE_STREAM_2 && at[0] != TYPE_STREAM_3))
        return false;
    stream->nodes.at = at + 1;
    stream->nodes.end = at + answer.len - FOOTER;
    stream->nodes.broken = !read_length(&stream->nodes, &count) || !has(&stream->nodes, count);
    stream->nodes.left = count;
    return !stream->nodes.broken;
}

static bool next_number(struct dump *node, int64_t *number)
{
    struct piece piece;

    if (!read_packed(node, &piece) || !piece.is_number)
        return false;
    *number = piece.number;
    return true;
}

static bool skip(struct dump *node, int64_t count)
{
    struct piece piece;

    while (count > 0 && read_packed(node, &piece))
        count--;
    return count == 0;
}

/*
 * Its name is the id that others are counted from; it begins with how many entries it has, how many are deleted, and the fields that most of them
 * have.
 */
static bool open_node(struct dump_stream *stream)
{
    struct dump *node = &stream->node;
    struct piece name;
    int64_t live, deleted, end;

    if (!read_plain(&stream->nodes, &name) || name.text.len != 16 || !open_packed(&stream->nodes, node))
        return false;
    stream->base_ms = big((const unsigned char *)name.text.at, 8);
    if (!next_number(node, &live) || !next_number(node, &deleted) || !next_number(node, &stream->fields) || live < 0 || deleted < 0 ||
        stream->fields < 1 || stream->fields > PIECES_MAX || !skip(node, stream->fields) || !next_number(node, &end))
        return false;
    node->left = (size_t)live + (size_t)deleted;
    stream->nodes.left--;
    return true;
}

/* Flags, the difference of both parts of its id, its fields if it has others than the node, the values; and how many pieces these were. */
static bool read_entry(struct dump_stream *stream, int64_t *flags, int64_t *ms, struct view *value)
{
    struct dump *node = &stream->node;
    struct piece first;
    int64_t more, sequence, fields = stream->fields, pieces;

    if (!next_number(node, flags) || !next_number(node, &more) || !next_number(node, &sequence))
        return false;
    bool same = *flags & ENTRY_SAME_FIELDS;
    if ((!same && (!next_number(node, &fields) || fields < 1 || fields > PIECES_MAX || !skip(node, 1))) || !read_packed(node, &first) ||
        !skip(node, (fields - 1) * (same ? 1 : 2)) || !next_number(node, &pieces))
        return false;
    *ms = (int64_t)(stream->base_ms + (uint64_t)more);
    *value = text_of(node, &first);
    node->left--;
    return true;
}

bool dump_entry(struct dump_stream *stream, int64_t *ms, struct view *value)
{
    int64_t flags = ENTRY_DELETED;

    while (flags & ENTRY_DELETED) {
        while (stream->node.left == 0 && stream->nodes.left > 0 && !stream->nodes.broken)
            stream->nodes.broken = !open_node(stream);
        if (stream->node.left == 0 || stream->nodes.broken)
            return false;
        stream->nodes.broken = !read_entry(stream, &flags, ms, value);
        if (stream->nodes.broken)
            return false;
    }
    return true;
}

bool dump_stream_ended(const struct dump_stream *stream)
{
    return dump_ended(&stream->nodes) && stream->node.left == 0;
}
