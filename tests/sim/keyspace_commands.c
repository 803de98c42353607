#include <stdio.h>
#include <stdlib.h>

#include "check.h"

#include "keyspace_internal.h"

/* Redis' commands, as far as Souk's functions and flows use them. The table at the end names all there are. */

/* ---- numbers ---- */

static bool number_read(struct view text, double *number)
{
    char copied[64], *end;
    long long integer;
    if (view_to_int(text, &integer)) {
        *number = (double)integer;
        return true;
    }
    if (text.len == 0 || text.len >= sizeof(copied))
        return false;
    memcpy(copied, text.at, text.len);
    copied[text.len] = '\0';
    *number = strtod(copied, &end);
    return *end == '\0';
}

static bool integer_read(struct view text, int64_t *number)
{
    long long integer;
    bool minus = text.len > 1 && text.at[0] == '-';
    if (!view_to_int(minus ? (struct view){text.at + 1, text.len - 1} : text, &integer))
        return false;
    *number = minus ? -integer : integer;
    return true;
}

/* ---- commands ---- */

struct order {
    struct keyspace *ks;
    size_t argc;
    const struct view *argv;
    struct sink *sink;
};

static bool is_word(struct view text, const char *word)
{
    size_t len = strlen(word);
    return text.len == len && memcmp(text.at, word, len) == 0;
}

/* The key in argv[1], NULL if it is not there. Returns false (answered) if it is of another kind. */
static bool find_kind(const struct order *order, enum key_kind kind, struct object **object)
{
    *object = key_find(order->ks, order->argv[1]);
    if (*object == NULL || (*object)->kind == kind)
        return true;
    order->sink->error(order->sink, "WRONGTYPE Operation against a key holding the wrong kind of value");
    return false;
}

/* The same; made if it is not there. */
static struct object *need_kind(const struct order *order, enum key_kind kind)
{
    struct object *object;
    if (!find_kind(order, kind, &object))
        return NULL;
    return object ? object : key_make(order->ks, order->argv[1], kind);
}

static void answer_text(const struct order *order, struct view text)
{
    order->sink->text(order->sink, text);
}

static void answer_int(const struct order *order, int64_t number)
{
    order->sink->integer(order->sink, number);
}

static void answer_field(const struct order *order, const struct object *object, struct view name)
{
    const struct cell *cell = object ? dict_find(&object->of.hash, name) : NULL;
    if (cell)
        answer_text(order, cell->of.value);
    else
        order->sink->nil(order->sink);
}

static void do_hget(const struct order *order)
{
    struct object *object;
    if (find_kind(order, KEY_HASH, &object))
        answer_field(order, object, order->argv[2]);
}

static void do_hmget(const struct order *order)
{
    struct object *object;
    if (!find_kind(order, KEY_HASH, &object))
        return;
    order->sink->list(order->sink, order->argc - 2);
    for (size_t i = 2; i < order->argc; i++)
        answer_field(order, object, order->argv[i]);
}

static void answer_cells(const struct order *order, const struct dict *hash, uint32_t from, uint32_t to)
{
    size_t count = 0;
    for (uint32_t i = from; i < to; i++)
        count += hash->cells[i].live;
    order->sink->list(order->sink, count * 2);
    for (uint32_t i = from; i < to; i++) {
        if (!hash->cells[i].live)
            continue;
        answer_text(order, hash->cells[i].name);
        answer_text(order, hash->cells[i].of.value);
    }
}

static void do_hgetall(const struct order *order)
{
    struct object *object;
    if (!find_kind(order, KEY_HASH, &object))
        return;
    if (object)
        answer_cells(order, &object->of.hash, 0, object->of.hash.used);
    else
        order->sink->list(order->sink, 0);
}

static void do_hlen(const struct order *order)
{
    struct object *object;
    if (find_kind(order, KEY_HASH, &object))
        answer_int(order, object ? object->of.hash.live : 0);
}

/* HSCAN key cursor COUNT n: n cells a step, in the order of their making. What is there all the time is named once. */
static void do_hscan(const struct order *order)
{
    struct object *object;
    int64_t from, step;
    if (!find_kind(order, KEY_HASH, &object))
        return;
    if (order->argc != 5 || !integer_read(order->argv[2], &from) || !integer_read(order->argv[4], &step)) {
        order->sink->error(order->sink, "ERR syntax error");
        return;
    }
    uint32_t used = object ? object->of.hash.used : 0, first = (uint32_t)from < used ? (uint32_t)from : used;
    uint32_t last = used - first > step ? first + (uint32_t)step : used;
    order->sink->list(order->sink, 2);
    answer_text(order, number_text(keyspace_scratch(order->ks), last == used ? 0 : last));
    if (object)
        answer_cells(order, &object->of.hash, first, last);
    else
        order->sink->list(order->sink, 0);
}

/* Most of what changes keeps its length (times, counts); it stays where it is, so that a history's memory is small and stays in the cache. */
static void overwrite(struct keyspace *ks, struct view *old, struct view value)
{
    if (old->len == value.len && value.len > 0) {
        keyspace_note(ks, (char *)old->at, old->len);
        memcpy((char *)old->at, value.at, value.len);
    } else {
        NOTE(ks, *old);
        *old = keyspace_copy(ks, value);
    }
}

static void set_value(struct keyspace *ks, struct cell *cell, struct view value)
{
    overwrite(ks, &cell->of.value, value);
}

static void do_hset(const struct order *order)
{
    int64_t added = 0;
    if (order->argc < 4 || order->argc % 2) {
        order->sink->error(order->sink, "ERR wrong number of arguments for 'hset' command");
        return;
    }
    struct object *object = need_kind(order, KEY_HASH);
    if (object == NULL)
        return;
    for (size_t i = 2; i < order->argc; i += 2) {
        bool fresh;
        set_value(order->ks, dict_put(order->ks, &object->of.hash, order->argv[i], &fresh), order->argv[i + 1]);
        added += fresh;
    }
    answer_int(order, added);
}

static void do_hincrby(const struct order *order)
{
    int64_t number = 0, by;
    bool fresh;
    struct object *object = need_kind(order, KEY_HASH);
    if (object == NULL)
        return;
    struct cell *cell = dict_put(order->ks, &object->of.hash, order->argv[2], &fresh);
    if ((!fresh && !integer_read(cell->of.value, &number)) || !integer_read(order->argv[3], &by)) {
        order->sink->error(order->sink, "ERR hash value is not an integer");
        return;
    }
    set_value(order->ks, cell, number_text(keyspace_scratch(order->ks), (double)(number + by)));
    answer_int(order, number + by);
}

static void do_hdel(const struct order *order)
{
    struct object *object;
    int64_t dropped = 0;
    if (!find_kind(order, KEY_HASH, &object))
        return;
    for (size_t i = 2; object && i < order->argc; i++)
        dropped += dict_drop(order->ks, &object->of.hash, order->argv[i]);
    if (object && object->of.hash.live == 0)
        key_drop(order->ks, order->argv[1]);
    answer_int(order, dropped);
}

static void do_zadd(const struct order *order)
{
    double score;
    bool fine = order->argc % 2 == 0;
    for (size_t i = 2; fine && i < order->argc; i += 2)
        fine = number_read(order->argv[i], &score);
    if (!fine) {
        order->sink->error(order->sink, order->argc % 2 == 0 ? "ERR value is not a valid float" : "ERR syntax error");
        return;
    }
    struct object *object = need_kind(order, KEY_ZSET);
    int64_t added = 0;
    for (size_t i = 2; object && i < order->argc; i += 2) {
        number_read(order->argv[i], &score);
        added += zset_put(order->ks, &object->of.zset, order->argv[i + 1], score);
    }
    if (object)
        answer_int(order, added);
}

static void do_zrem(const struct order *order)
{
    struct object *object;
    int64_t dropped = 0;
    if (!find_kind(order, KEY_ZSET, &object))
        return;
    for (size_t i = 2; object && i < order->argc; i++)
        dropped += zset_drop(order->ks, &object->of.zset, order->argv[i]);
    if (object && object->of.zset.members.live == 0)
        key_drop(order->ks, order->argv[1]);
    answer_int(order, dropped);
}

static void do_zscore(const struct order *order)
{
    struct object *object;
    if (!find_kind(order, KEY_ZSET, &object))
        return;
    const struct cell *cell = object ? dict_find(&object->of.zset.members, order->argv[2]) : NULL;
    if (cell)
        answer_text(order, number_text(keyspace_scratch(order->ks), cell->of.score));
    else
        order->sink->nil(order->sink);
}

static void do_zmscore(const struct order *order)
{
    struct object *object;
    if (!find_kind(order, KEY_ZSET, &object))
        return;
    order->sink->list(order->sink, order->argc - 2);
    for (size_t i = 2; i < order->argc; i++) {
        const struct cell *cell = object ? dict_find(&object->of.zset.members, order->argv[i]) : NULL;
        if (cell)
            answer_text(order, number_text(keyspace_scratch(order->ks), cell->of.score));
        else
            order->sink->nil(order->sink);
    }
}

static void do_zcard(const struct order *order)
{
    struct object *object;
    if (find_kind(order, KEY_ZSET, &object))
        answer_int(order, object ? object->of.zset.members.live : 0);
}

/* The end of a range of scores as a rank: how many stand before it. ${upper}: it is the upper end. */
static bool range_end(const struct zset *zset, struct view text, bool upper, uint32_t *rank)
{
    double score;
    bool open = text.len > 0 && text.at[0] == '(';
    if (!number_read(open ? (struct view){text.at + 1, text.len - 1} : text, &score))
        return false;
    *rank = rank_of(zset, score, NULL, upper != open);
    return true;
}

struct range {
    int64_t offset, count; /* count -1: all */
    bool scores;
};

static bool range_options(const struct order *order, struct range *range)
{
    *range = (struct range){.count = -1};
    for (size_t i = 4; i < order->argc; i++) {
        if (is_word(order->argv[i], "WITHSCORES")) {
            range->scores = true;
        } else if (is_word(order->argv[i], "LIMIT") && i + 2 < order->argc && integer_read(order->argv[i + 1], &range->offset) &&
                   integer_read(order->argv[i + 2], &range->count)) {
            i += 2;
        } else {
            order->sink->error(order->sink, "ERR syntax error");
            return false;
        }
    }
    return true;
}

static void do_range(const struct order *order, bool descending)
{
    struct object *object;
    struct range range;
    uint32_t low = 0, high = 0;
    if (!find_kind(order, KEY_ZSET, &object) || !range_options(order, &range))
        return;
    if (object && (!range_end(&object->of.zset, order->argv[descending ? 3 : 2], false, &low) ||
                   !range_end(&object->of.zset, order->argv[descending ? 2 : 3], true, &high))) {
        order->sink->error(order->sink, "ERR min or max is not a float");
        return;
    }
    int64_t count = high > low ? (int64_t)(high - low) - range.offset : 0;
    count = count < 0 ? 0 : range.count >= 0 && count > range.count ? range.count : count;
    order->sink->list(order->sink, (size_t)count * (range.scores ? 2 : 1));
    for (int64_t i = 0; i < count; i++) {
        int64_t rank = descending ? (int64_t)high - 1 - range.offset - i : (int64_t)low + range.offset + i;
        const struct cell *cell = ranked(&object->of.zset, (uint32_t)rank);
        answer_text(order, cell->name);
        if (range.scores)
            answer_text(order, number_text(keyspace_scratch(order->ks), cell->of.score));
    }
}

static void do_zrangebyscore(const struct order *order)
{
    do_range(order, false);
}

static void do_zrevrangebyscore(const struct order *order)
{
    do_range(order, true);
}

/* "*", or "ms-*". ${ms}: of the id that is wanted. */
static bool wanted_id(const struct order *order, struct view text, int64_t *ms)
{
    *ms = order->ks->now_ms;
    if (is_word(text, "*"))
        return true;
    return text.len > 2 && memcmp(text.at + text.len - 2, "-*", 2) == 0 && integer_read((struct view){text.at, text.len - 2}, ms);
}

/* XADD key id field value …: the id is the clock's and later than the last one, or of the millisecond that is told and later than the last one. */
static void do_xadd(const struct order *order)
{
    int64_t ms;
    bool told = order->argc > 2 && !is_word(order->argv[2], "*");
    if (order->argc < 5 || !wanted_id(order, order->argv[2], &ms)) {
        order->sink->error(order->sink, "ERR syntax error");
        return;
    }
    struct object *object = need_kind(order, KEY_STREAM);
    if (object == NULL)
        return;
    struct stream *stream = &object->of.stream;
    struct entry *last = stream->count ? &stream->entries[stream->count - 1] : NULL;
    if (told && last && last->ms > ms) {
        order->sink->error(order->sink, "ERR The ID specified in XADD is equal or smaller than the target stream top item");
        return;
    }
    NOTE(order->ks, *stream);
    if (stream->count == stream->cap) {
        uint32_t cap = stream->cap ? stream->cap * 2 : 4;
        struct entry *entries = keyspace_take(order->ks, cap * sizeof(*entries));
        if (stream->count > 0)
            memcpy(entries, stream->entries, stream->count * sizeof(*entries));
        stream->entries = entries;
        stream->cap = cap;
    }
    last = stream->count ? &stream->entries[stream->count - 1] : NULL;
    struct entry *entry = &stream->entries[stream->count++];
    NOTE(order->ks, *entry);
    *entry = (struct entry){.ms = ms, .part_count = (uint32_t)order->argc - 3};
    if (last && last->ms >= entry->ms) {
        entry->ms = last->ms;
        entry->number = last->number + 1;
    }
    entry->parts = keyspace_take(order->ks, entry->part_count * sizeof(*entry->parts));
    for (uint32_t i = 0; i < entry->part_count; i++)
        entry->parts[i] = keyspace_copy(order->ks, order->argv[3 + i]);
    answer_text(order, id_text(keyspace_scratch(order->ks), entry));
}

/* "ms", "ms-number" or one of them behind a "(", "-" or "+". ${number}: what a missing one counts as. */
static bool id_read(struct view text, int64_t number, int64_t *ms, int64_t *out, bool *open)
{
    *open = text.len > 0 && text.at[0] == '(';
    if (*open)
        text = (struct view){text.at + 1, text.len - 1};
    if (is_word(text, "-") || is_word(text, "+")) {
        *ms = text.at[0] == '-' ? 0 : INT64_MAX;
        *out = number;
        return true;
    }
    const char *dash = memchr(text.at, '-', text.len);
    *out = number;
    if (dash == NULL)
        return integer_read(text, ms);
    return integer_read((struct view){text.at, (size_t)(dash - text.at)}, ms) &&
           integer_read((struct view){dash + 1, text.len - (size_t)(dash - text.at) - 1}, out);
}

static void answer_entry(const struct order *order, const struct entry *entry)
{
    order->sink->list(order->sink, 2);
    answer_text(order, id_text(keyspace_scratch(order->ks), entry));
    order->sink->list(order->sink, entry->part_count);
    for (uint32_t i = 0; i < entry->part_count; i++)
        answer_text(order, entry->parts[i]);
}

static int id_compare(const struct entry *entry, int64_t ms, int64_t number)
{
    return entry->ms != ms ? (entry->ms > ms) - (entry->ms < ms) : (entry->number > number) - (entry->number < number);
}

/* XRANGE key from to [COUNT n]; the other way round XREVRANGE key to from [COUNT n] */
static void answer_range(const struct order *order, bool backwards)
{
    const struct view first = order->argv[backwards ? 3 : 2], last = order->argv[backwards ? 2 : 3];
    struct object *object;
    int64_t from, from_number, to, to_number, most = INT64_MAX;
    bool from_open, to_open;
    if (!find_kind(order, KEY_STREAM, &object))
        return;
    if (!id_read(first, 0, &from, &from_number, &from_open) || !id_read(last, INT64_MAX, &to, &to_number, &to_open) ||
        (order->argc == 6 && !integer_read(order->argv[5], &most))) {
        order->sink->error(order->sink, "ERR Invalid stream ID specified as stream command argument");
        return;
    }
    const struct entry *entries = object ? object->of.stream.entries : NULL;
    uint32_t low = 0, high = object ? object->of.stream.count : 0;
    while (low < high && id_compare(&entries[low], from, from_number) < (from_open ? 1 : 0))
        low++;
    while (high > low && id_compare(&entries[high - 1], to, to_number) > (to_open ? -1 : 0))
        high--;
    uint32_t count = high - low > most ? (uint32_t)most : high - low;
    order->sink->list(order->sink, count);
    for (uint32_t i = 0; i < count; i++)
        answer_entry(order, &entries[backwards ? high - 1 - i : low + i]);
}

static void do_xrange(const struct order *order)
{
    answer_range(order, false);
}

static void do_xrevrange(const struct order *order)
{
    answer_range(order, true);
}

static void do_xlen(const struct order *order)
{
    struct object *object;
    if (find_kind(order, KEY_STREAM, &object))
        answer_int(order, object ? object->of.stream.count : 0);
}

static void do_get(const struct order *order)
{
    struct object *object;
    if (!find_kind(order, KEY_STRING, &object))
        return;
    if (object)
        answer_text(order, object->of.string);
    else
        order->sink->nil(order->sink);
}

/* SET key value [PX ms] */
static void do_set(const struct order *order)
{
    int64_t ms = 0;
    if (order->argc != 3 && (order->argc != 5 || !is_word(order->argv[3], "PX") || !integer_read(order->argv[4], &ms) || ms <= 0)) {
        order->sink->error(order->sink, "ERR syntax error");
        return;
    }
    struct object *object = key_find(order->ks, order->argv[1]);
    if (object == NULL || object->kind != KEY_STRING) {
        key_drop(order->ks, order->argv[1]);
        object = key_make(order->ks, order->argv[1], KEY_STRING);
    }
    NOTE(order->ks, *object);
    overwrite(order->ks, &object->of.string, order->argv[2]);
    object->expires_ms = ms ? order->ks->now_ms + ms : 0;
    order->sink->status(order->sink, "OK");
}

static void do_del(const struct order *order)
{
    int64_t dropped = 0;
    for (size_t i = 1; i < order->argc; i++) {
        dropped += key_find(order->ks, order->argv[i]) != NULL;
        key_drop(order->ks, order->argv[i]);
    }
    answer_int(order, dropped);
}

static void do_exists(const struct order *order)
{
    int64_t found = 0;
    for (size_t i = 1; i < order->argc; i++)
        found += key_find(order->ks, order->argv[i]) != NULL;
    answer_int(order, found);
}

static void set_expiry(const struct order *order, int64_t at_ms)
{
    struct object *object = key_find(order->ks, order->argv[1]);
    bool changes = object && (at_ms || object->expires_ms);
    if (changes) {
        NOTE(order->ks, object->expires_ms);
        object->expires_ms = at_ms;
    }
    answer_int(order, changes);
}

/* Is this time behind the key's expiry? Not if it has none. */
static bool is_later(const struct order *order, int64_t at_ms)
{
    const struct object *object = key_find(order->ks, order->argv[1]);
    return object && object->expires_ms && at_ms > object->expires_ms;
}

/* PEXPIRE key ms [GT] */
static void do_pexpire(const struct order *order)
{
    int64_t ms;
    if (!integer_read(order->argv[2], &ms))
        order->sink->error(order->sink, "ERR value is not an integer or out of range");
    else if (order->argc > 3 && !is_later(order, order->ks->now_ms + ms)) /* GT */
        answer_int(order, 0);
    else
        set_expiry(order, order->ks->now_ms + ms);
}

static void do_persist(const struct order *order)
{
    set_expiry(order, 0);
}

/* ---- DUMP ---- */

static void dump_bytes(struct keyspace *ks, const void *bytes, size_t len)
{
    if (ks->dumped_cap - ks->dumped_len < len) {
        ks->dumped_cap = (ks->dumped_cap + len) * 2;
        ks->dumped = realloc(ks->dumped, ks->dumped_cap);
        CHECK(ks->dumped);
    }
    if (len > 0)
        memcpy(ks->dumped + ks->dumped_len, bytes, len);
    ks->dumped_len += len;
}

/* 6 bits, 14, or 32 behind a byte that says so; the highest first. */
static void dump_length(struct keyspace *ks, uint32_t len)
{
    const unsigned char bytes[] = {0x80, (unsigned char)(len >> 24), (unsigned char)(len >> 16), (unsigned char)(len >> 8), (unsigned char)len};
    const unsigned char two[] = {(unsigned char)(0x40 | len >> 8), (unsigned char)len};
    if (len < 0x40)
        dump_bytes(ks, &bytes[4], 1);
    else if (len < 0x4000)
        dump_bytes(ks, two, 2);
    else
        dump_bytes(ks, bytes, sizeof(bytes));
}

static void dump_text(struct keyspace *ks, struct view text)
{
    dump_length(ks, (uint32_t)text.len);
    dump_bytes(ks, text.at, text.len);
}

static void dump_hash(struct keyspace *ks, const struct dict *hash)
{
    dump_bytes(ks, "\x04", 1);
    dump_length(ks, hash->live);
    for (uint32_t i = 0; i < hash->used; i++)
        if (hash->cells[i].live) {
            dump_text(ks, hash->cells[i].name);
            dump_text(ks, hash->cells[i].of.value);
        }
}

static void dump_zset(struct keyspace *ks, const struct zset *zset)
{
    dump_bytes(ks, "\x05", 1);
    dump_length(ks, zset->members.live);
    for (uint32_t rank = zset->members.live; rank-- > 0;) {
        const struct cell *cell = ranked(zset, rank);
        dump_text(ks, cell->name);
        dump_bytes(ks, &cell->of.score, sizeof(cell->of.score));
    }
}

/* A piece of a listpack: its head, its text, and their length once more, so that it can be walked backwards. */
static void dump_piece(struct keyspace *ks, const void *head, size_t head_len, struct view text)
{
    size_t len = head_len + text.len;
    const unsigned char back[] = {(unsigned char)(len >> 7), (unsigned char)((len & 127) | 128)};
    dump_bytes(ks, head, head_len);
    dump_bytes(ks, text.at, text.len);
    if (len < 128)
        dump_bytes(ks, &(unsigned char){(unsigned char)len}, 1);
    else
        dump_bytes(ks, back, 2);
}

static void dump_packed_number(struct keyspace *ks, int64_t number)
{
    unsigned char head[9] = {0xf4};
    memcpy(head + 1, &number, sizeof(number));
    dump_piece(ks, head, sizeof(head), VIEW(""));
}

static void dump_packed_text(struct keyspace *ks, struct view text)
{
    const unsigned char head[] = {(unsigned char)(0xe0 | text.len >> 8), (unsigned char)text.len};
    CHECK(text.len < 4096);
    dump_piece(ks, head, sizeof(head), text);
}

static void dump_number(struct keyspace *ks, uint64_t number)
{
    for (int shift = 56; shift >= 0; shift -= 8)
        dump_bytes(ks, &(unsigned char){(unsigned char)(number >> shift)}, 1);
}

/* One node: its name is the first entry's id, and it has no deleted entries and no fields that all have. */
static void dump_node(struct keyspace *ks, const struct entry *entries, uint32_t count)
{
    uint32_t pieces = 5;
    dump_length(ks, 16);
    dump_number(ks, (uint64_t)entries->ms);
    dump_number(ks, (uint64_t)entries->number);
    size_t length_at = ks->dumped_len;
    dump_bytes(ks, "\x80....", 5);
    size_t begin = ks->dumped_len;
    dump_bytes(ks, "......", 6);
    dump_packed_number(ks, count);
    dump_packed_number(ks, 0);
    dump_packed_number(ks, 1);
    dump_packed_text(ks, VIEW("e"));
    dump_packed_number(ks, 0);
    for (const struct entry *entry = entries; entry < entries + count; entry++) {
        dump_packed_number(ks, 0);
        dump_packed_number(ks, entry->ms - entries->ms);
        dump_packed_number(ks, entry->number - entries->number);
        dump_packed_number(ks, entry->part_count / 2);
        for (uint32_t i = 0; i < entry->part_count; i++)
            dump_packed_text(ks, entry->parts[i]);
        dump_packed_number(ks, entry->part_count + 4);
        pieces += entry->part_count + 5;
    }
    dump_bytes(ks, "\xff", 1);
    uint32_t len = (uint32_t)(ks->dumped_len - begin), swapped = __builtin_bswap32(len);
    CHECK(pieces < UINT16_MAX);
    memcpy(ks->dumped + length_at + 1, &swapped, 4);
    memcpy(ks->dumped + begin, &len, 4);
    memcpy(ks->dumped + begin + 4, &(uint16_t){(uint16_t)pieces}, 2);
}

static void dump_stream(struct keyspace *ks, const struct stream *stream)
{
    const uint32_t each = 100;
    dump_bytes(ks, "\x15", 1);
    dump_length(ks, (stream->count + each - 1) / each);
    for (uint32_t i = 0; i < stream->count; i += each)
        dump_node(ks, stream->entries + i, stream->count - i < each ? stream->count - i : each);
}

/*
 * In the encodings of rdb.c that have no limits; Redis' own choice can be another one. The check sum is left at 0, which stands for none,
 * and what stands behind a stream's entries is left out.
 */
static void do_dump(const struct order *order)
{
    static const char FOOTER[10] = {10};
    struct keyspace *ks = order->ks;
    const struct object *object = key_find(ks, order->argv[1]);
    if (object == NULL) {
        order->sink->nil(order->sink);
        return;
    }
    if (object->kind == KEY_STRING) {
        order->sink->error(order->sink, "ERR the simulated shard dumps no strings");
        return;
    }
    ks->dumped_len = 0;
    if (object->kind == KEY_HASH)
        dump_hash(ks, &object->of.hash);
    else if (object->kind == KEY_ZSET)
        dump_zset(ks, &object->of.zset);
    else
        dump_stream(ks, &object->of.stream);
    dump_bytes(ks, FOOTER, sizeof(FOOTER));
    answer_text(order, (struct view){ks->dumped, ks->dumped_len});
}

static void do_time(const struct order *order)
{
    order->sink->list(order->sink, 2);
    answer_text(order, number_text(keyspace_scratch(order->ks), (double)(order->ks->now_us / 1000000)));
    answer_text(order, number_text(keyspace_scratch(order->ks), (double)(order->ks->now_us % 1000000)));
}

#define CONST_VIEW(literal) \
    { \
        literal, sizeof(literal) - 1 \
    }
static const struct command {
    struct view name;
    size_t least; /* arguments, the name among them */
    void (*run)(const struct order *order);
    bool reads;
    enum key_kind kind; /* see keyspace_kind */
} COMMANDS[] = {
    {CONST_VIEW("HMGET"), 3, do_hmget, true, KEY_HASH},
    {CONST_VIEW("HSET"), 4, do_hset, false, KEY_HASH},
    {CONST_VIEW("HGET"), 3, do_hget, true, KEY_HASH},
    {CONST_VIEW("ZADD"), 4, do_zadd, false, KEY_ZSET},
    {CONST_VIEW("ZREM"), 3, do_zrem, false, KEY_ZSET},
    {CONST_VIEW("TIME"), 1, do_time, true, KEY_NONE},
    {CONST_VIEW("XADD"), 5, do_xadd, false, KEY_STREAM},
    {CONST_VIEW("ZSCORE"), 3, do_zscore, true, KEY_ZSET},
    {CONST_VIEW("ZMSCORE"), 3, do_zmscore, true, KEY_ZSET},
    {CONST_VIEW("ZRANGEBYSCORE"), 4, do_zrangebyscore, true, KEY_ZSET},
    {CONST_VIEW("ZREVRANGEBYSCORE"), 4, do_zrevrangebyscore, true, KEY_ZSET},
    {CONST_VIEW("HGETALL"), 2, do_hgetall, true, KEY_HASH},
    {CONST_VIEW("DUMP"), 2, do_dump, true, KEY_NONE},
    {CONST_VIEW("HINCRBY"), 4, do_hincrby, false, KEY_HASH},
    {CONST_VIEW("PEXPIRE"), 3, do_pexpire, false, KEY_NONE},
    {CONST_VIEW("PERSIST"), 2, do_persist, false, KEY_NONE},
    {CONST_VIEW("GET"), 2, do_get, true, KEY_STRING},
    {CONST_VIEW("SET"), 3, do_set, false, KEY_NONE},
    {CONST_VIEW("DEL"), 2, do_del, false, KEY_NONE},
    {CONST_VIEW("EXISTS"), 2, do_exists, true, KEY_NONE},
    {CONST_VIEW("HDEL"), 3, do_hdel, false, KEY_HASH},
    {CONST_VIEW("HLEN"), 2, do_hlen, true, KEY_HASH},
    {CONST_VIEW("HSCAN"), 3, do_hscan, true, KEY_HASH},
    {CONST_VIEW("ZCARD"), 2, do_zcard, true, KEY_ZSET},
    {CONST_VIEW("XRANGE"), 4, do_xrange, true, KEY_STREAM},
    {CONST_VIEW("XREVRANGE"), 4, do_xrevrange, true, KEY_STREAM},
    {CONST_VIEW("XLEN"), 2, do_xlen, true, KEY_STREAM},
};

static const struct command *command_of(struct view name)
{
    for (size_t i = 0; i < sizeof(COMMANDS) / sizeof(*COMMANDS); i++)
        if (view_equal(name, COMMANDS[i].name))
            return &COMMANDS[i];
    return NULL;
}

bool keyspace_reads(struct view name)
{
    const struct command *command = command_of(name);
    return command && command->reads;
}

enum key_kind keyspace_kind(struct view name)
{
    const struct command *command = command_of(name);
    return command ? command->kind : KEY_NONE;
}

void keyspace_run(struct keyspace *ks, int64_t now_us, size_t argc, const struct view *argv, struct sink *sink)
{
    const struct order order = {ks, argc, argv, sink};
    const struct command *command = command_of(argv[0]);
    ks->now_us = now_us;
    ks->now_ms = now_us / 1000;
    ks->scratch_used = 0;
    if (command == NULL)
        sink->error(sink, "ERR unknown command: tests/sim/keyspace_commands.c has none of this name");
    else if (argc < command->least)
        sink->error(sink, "ERR wrong number of arguments");
    else
        command->run(&order);
}
