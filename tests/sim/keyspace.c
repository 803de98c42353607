#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "check.h"
#include "hash.h"

#include "keyspace.h"

/*
 *   region:  root │ cells, texts, objects …            │ free …
 *                                       fresh ▲    top ▲
 *   notes:   what stood where, the latest last
 *
 * Memory behind ${fresh} was handed out since the last mark and needs no note: going back gives it up as a whole.
 */
#define REGION_BYTES ((size_t)4 << 30)
#define INDEX_FROM 24 /* fields; fewer are looked through */

/* One name of a dict. What belongs to it is a value, a score or an object. */
struct cell {
    struct view name;
    union {
        struct view value;
        double score;
        struct object *object;
    } of;
    bool live; /* a deleted name keeps its cell, so that a scan's cursor stays good */
};
struct dict {
    struct cell *cells;
    uint32_t *index; /* open addressing: number of the cell + 1 */
    uint32_t used, live, cap, index_cap;
};
struct zset {
    struct dict members;
    uint32_t *order; /* the live cells by score and name */
    uint32_t order_cap;
};
struct entry {
    int64_t ms, number;
    struct view *parts;
    uint32_t part_count;
};
struct stream {
    struct entry *entries;
    uint32_t count, cap;
};
struct object {
    enum key_kind kind;
    int64_t expires_ms; /* 0: never */
    union {
        struct view string;
        struct dict hash;
        struct zset zset;
        struct stream stream;
    } of;
};
struct root {
    struct dict keys;
};

struct keyspace {
    char *region;
    size_t top, fresh;
    struct root *root;
    char *notes;
    size_t note_len, note_cap;
    int64_t now_ms, now_us;
    char scratch[64];
};

/* ---- memory that can be taken back ---- */

static void *take(struct keyspace *ks, size_t size)
{
    size = (size + 7) & ~(size_t)7;
    CHECK(ks->top + size <= REGION_BYTES);
    void *at = ks->region + ks->top;
    ks->top += size;
    return memset(at, 0, size);
}

struct note {
    void *at;
    size_t len;
};

/* These bytes are about to change. */
static void note(struct keyspace *ks, void *at, size_t len)
{
    if ((char *)at >= ks->region + ks->fresh)
        return;
    if (ks->note_len + len + sizeof(struct note) > ks->note_cap) {
        ks->note_cap = (ks->note_cap + len) * 2 + 4096;
        ks->notes = realloc(ks->notes, ks->note_cap);
        CHECK(ks->notes);
    }
    struct note head = {at, len};
    memcpy(ks->notes + ks->note_len, at, len);
    memcpy(ks->notes + ks->note_len + len, &head, sizeof(head));
    ks->note_len += len + sizeof(head);
}

#define NOTE(ks, what) note((ks), &(what), sizeof(what))

static struct view copy(struct keyspace *ks, struct view text)
{
    char *at = take(ks, text.len + 1);
    memcpy(at, text.at, text.len);
    return (struct view){at, text.len};
}

struct keyspace_mark keyspace_mark(struct keyspace *ks)
{
    ks->fresh = ks->top;
    return (struct keyspace_mark){ks->note_len, ks->top};
}

void keyspace_back(struct keyspace *ks, struct keyspace_mark mark)
{
    CHECK(mark.notes <= ks->note_len && mark.top <= ks->top);
    while (ks->note_len > mark.notes) {
        struct note head;
        memcpy(&head, ks->notes + ks->note_len - sizeof(head), sizeof(head));
        ks->note_len -= sizeof(head) + head.len;
        memcpy(head.at, ks->notes + ks->note_len, head.len);
    }
    ks->top = ks->fresh = mark.top;
}

void keyspace_settle(struct keyspace *ks)
{
    ks->note_len = 0;
    ks->fresh = 0;
}

void *keyspace_save(const struct keyspace *ks, size_t *len)
{
    void *saved = malloc(ks->top);
    CHECK(saved);
    *len = ks->top;
    return memcpy(saved, ks->region, ks->top);
}

/* What points into the region stays right, since the region does not move. */
void keyspace_load(struct keyspace *ks, const void *saved, size_t len)
{
    keyspace_settle(ks);
    memcpy(ks->region, saved, len);
    ks->top = len;
}

/* ---- names ---- */

static uint32_t dict_slot(const struct dict *dict, struct view name)
{
    uint32_t slot = hash32(name, 0) & (dict->index_cap - 1);
    while (dict->index[slot] && !view_equal(dict->cells[dict->index[slot] - 1].name, name))
        slot = (slot + 1) & (dict->index_cap - 1);
    return slot;
}

/* The cell of this name, live or not. */
static struct cell *dict_cell(const struct dict *dict, struct view name)
{
    if (dict->index) {
        uint32_t number = dict->index[dict_slot(dict, name)];
        return number ? &dict->cells[number - 1] : NULL;
    }
    for (uint32_t i = 0; i < dict->used; i++)
        if (view_equal(dict->cells[i].name, name))
            return &dict->cells[i];
    return NULL;
}

static struct cell *dict_find(const struct dict *dict, struct view name)
{
    struct cell *cell = dict_cell(dict, name);
    return cell && cell->live ? cell : NULL;
}

static void dict_grow(struct keyspace *ks, struct dict *dict)
{
    uint32_t cap = dict->cap ? dict->cap * 2 : 4;
    struct cell *cells = take(ks, cap * sizeof(*cells));
    if (dict->used > 0)
        memcpy(cells, dict->cells, dict->used * sizeof(*cells));
    NOTE(ks, *dict);
    dict->cells = cells;
    dict->cap = cap;
    if (cap <= INDEX_FROM)
        return;
    uint32_t size = 1;
    while (size < cap * 2)
        size *= 2;
    dict->index_cap = size;
    dict->index = take(ks, size * sizeof(*dict->index));
    for (uint32_t i = 0; i < dict->used; i++)
        dict->index[dict_slot(dict, cells[i].name)] = i + 1;
}

/* The live cell of this name; *added: it was not live before, and what belongs to it is empty. */
static struct cell *dict_put(struct keyspace *ks, struct dict *dict, struct view name, bool *added)
{
    struct cell *cell = dict_cell(dict, name);
    *added = cell == NULL || !cell->live;
    if (!*added)
        return cell;
    if (cell == NULL && dict->used == dict->cap)
        dict_grow(ks, dict);
    NOTE(ks, *dict);
    dict->live++;
    if (cell) {
        NOTE(ks, *cell);
        memset(&cell->of, 0, sizeof(cell->of));
    } else {
        if (dict->index) {
            uint32_t *slot = &dict->index[dict_slot(dict, name)];
            NOTE(ks, *slot);
            *slot = dict->used + 1;
        }
        cell = &dict->cells[dict->used++];
        NOTE(ks, *cell);
        cell->name = copy(ks, name);
    }
    cell->live = true;
    return cell;
}

static bool dict_drop(struct keyspace *ks, struct dict *dict, struct view name)
{
    struct cell *cell = dict_find(dict, name);
    if (cell == NULL)
        return false;
    NOTE(ks, *dict);
    NOTE(ks, *cell);
    cell->live = false;
    dict->live--;
    return true;
}

/* ---- keys ---- */

static bool is_over(const struct object *object, int64_t now_ms)
{
    return object->expires_ms && now_ms >= object->expires_ms;
}

/* Looks without touching: an expired key is not there. */
static struct object *key_peek(const struct keyspace *ks, struct view name, int64_t now_ms)
{
    struct cell *cell = dict_find(&ks->root->keys, name);
    return cell && !is_over(cell->of.object, now_ms) ? cell->of.object : NULL;
}

static void key_drop(struct keyspace *ks, struct view name)
{
    dict_drop(ks, &ks->root->keys, name);
}

static struct object *key_find(struct keyspace *ks, struct view name)
{
    struct cell *cell = dict_find(&ks->root->keys, name);
    if (cell == NULL)
        return NULL;
    if (!is_over(cell->of.object, ks->now_ms))
        return cell->of.object;
    key_drop(ks, name);
    return NULL;
}

static struct object *key_make(struct keyspace *ks, struct view name, enum key_kind kind)
{
    bool added;
    struct object *object = take(ks, sizeof(*object));
    struct cell *cell = dict_put(ks, &ks->root->keys, name, &added);
    NOTE(ks, *cell);
    object->kind = kind;
    cell->of.object = object;
    return object;
}

/* ---- sorted sets ---- */

static const struct cell *ranked(const struct zset *zset, uint32_t rank)
{
    return &zset->members.cells[zset->order[rank]];
}

static int name_compare(struct view a, struct view b)
{
    int order = memcmp(a.at, b.at, a.len < b.len ? a.len : b.len);
    return order ? order : (a.len > b.len) - (a.len < b.len);
}

/* How many stand before (score, name); with ${name} NULL: before, or up to, that score. */
static uint32_t rank_of(const struct zset *zset, double score, const struct view *name, bool past)
{
    uint32_t low = 0, high = zset->members.live;
    while (low < high) {
        uint32_t middle = (low + high) / 2;
        const struct cell *cell = ranked(zset, middle);
        bool before = cell->of.score < score || (cell->of.score == score && (name ? name_compare(cell->name, *name) < 0 : past));
        low = before ? middle + 1 : low;
        high = before ? high : middle;
    }
    return low;
}

static void order_cut(struct keyspace *ks, struct zset *zset, uint32_t rank, uint32_t count)
{
    note(ks, &zset->order[rank], (count - rank) * sizeof(*zset->order));
    memmove(&zset->order[rank], &zset->order[rank + 1], (count - rank - 1) * sizeof(*zset->order));
}

static void order_put(struct keyspace *ks, struct zset *zset, uint32_t rank, uint32_t count, uint32_t number)
{
    if (count == zset->order_cap) {
        uint32_t cap = zset->order_cap ? zset->order_cap * 2 : 4;
        uint32_t *order = take(ks, cap * sizeof(*order));
        if (count > 0)
            memcpy(order, zset->order, count * sizeof(*order));
        NOTE(ks, *zset);
        zset->order = order;
        zset->order_cap = cap;
    }
    note(ks, &zset->order[rank], (count - rank + 1) * sizeof(*zset->order));
    memmove(&zset->order[rank + 1], &zset->order[rank], (count - rank) * sizeof(*zset->order));
    zset->order[rank] = number;
}

static bool zset_put(struct keyspace *ks, struct zset *zset, struct view name, double score)
{
    struct cell *known = dict_find(&zset->members, name);
    uint32_t count = zset->members.live;
    bool added;
    if (known && known->of.score == score)
        return false;
    if (known) {
        order_cut(ks, zset, rank_of(zset, known->of.score, &known->name, false), count--);
        dict_drop(ks, &zset->members, name);
    }
    uint32_t rank = rank_of(zset, score, &name, false);
    struct cell *cell = dict_put(ks, &zset->members, name, &added);
    NOTE(ks, *cell);
    cell->of.score = score;
    order_put(ks, zset, rank, count, (uint32_t)(cell - zset->members.cells));
    return known == NULL;
}

static bool zset_drop(struct keyspace *ks, struct zset *zset, struct view name)
{
    struct cell *known = dict_find(&zset->members, name);
    if (known == NULL)
        return false;
    order_cut(ks, zset, rank_of(zset, known->of.score, &known->name, false), zset->members.live);
    return dict_drop(ks, &zset->members, name);
}

/* ---- numbers as text ---- */

static struct view number_text(char out[64], double number)
{
    if (number == floor(number) && fabs(number) < 9007199254740992.0)
        return (struct view){out, (size_t)snprintf(out, 64, "%lld", (long long)number)};
    return (struct view){out, (size_t)snprintf(out, 64, "%.17g", number)};
}

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
    answer_text(order, number_text(order->ks->scratch, last == used ? 0 : last));
    if (object)
        answer_cells(order, &object->of.hash, first, last);
    else
        order->sink->list(order->sink, 0);
}

static void set_value(struct keyspace *ks, struct cell *cell, struct view value)
{
    NOTE(ks, *cell);
    cell->of.value = copy(ks, value);
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
    set_value(order->ks, cell, number_text(order->ks->scratch, (double)(number + by)));
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
    if (order->argc != 4 || !number_read(order->argv[2], &score)) {
        order->sink->error(order->sink, "ERR value is not a valid float");
        return;
    }
    struct object *object = need_kind(order, KEY_ZSET);
    if (object)
        answer_int(order, zset_put(order->ks, &object->of.zset, order->argv[3], score));
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
        answer_text(order, number_text(order->ks->scratch, cell->of.score));
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
            answer_text(order, number_text(order->ks->scratch, cell->of.score));
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
            answer_text(order, number_text(order->ks->scratch, cell->of.score));
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

static struct view id_text(char out[64], const struct entry *entry)
{
    return (struct view){out, (size_t)snprintf(out, 64, "%lld-%lld", (long long)entry->ms, (long long)entry->number)};
}

/* XADD key * field value …: the id is the clock's, and later than the last one. */
static void do_xadd(const struct order *order)
{
    if (order->argc < 5 || !is_word(order->argv[2], "*")) {
        order->sink->error(order->sink, "ERR syntax error");
        return;
    }
    struct object *object = need_kind(order, KEY_STREAM);
    if (object == NULL)
        return;
    struct stream *stream = &object->of.stream;
    NOTE(order->ks, *stream);
    if (stream->count == stream->cap) {
        uint32_t cap = stream->cap ? stream->cap * 2 : 4;
        struct entry *entries = take(order->ks, cap * sizeof(*entries));
        if (stream->count > 0)
            memcpy(entries, stream->entries, stream->count * sizeof(*entries));
        stream->entries = entries;
        stream->cap = cap;
    }
    struct entry *last = stream->count ? &stream->entries[stream->count - 1] : NULL, *entry = &stream->entries[stream->count++];
    NOTE(order->ks, *entry);
    *entry = (struct entry){.ms = order->ks->now_ms, .part_count = (uint32_t)order->argc - 3};
    if (last && last->ms >= entry->ms) {
        entry->ms = last->ms;
        entry->number = last->number + 1;
    }
    entry->parts = take(order->ks, entry->part_count * sizeof(*entry->parts));
    for (uint32_t i = 0; i < entry->part_count; i++)
        entry->parts[i] = copy(order->ks, order->argv[3 + i]);
    answer_text(order, id_text(order->ks->scratch, entry));
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
    answer_text(order, id_text(order->ks->scratch, entry));
    order->sink->list(order->sink, entry->part_count);
    for (uint32_t i = 0; i < entry->part_count; i++)
        answer_text(order, entry->parts[i]);
}

static int id_compare(const struct entry *entry, int64_t ms, int64_t number)
{
    return entry->ms != ms ? (entry->ms > ms) - (entry->ms < ms) : (entry->number > number) - (entry->number < number);
}

/* XRANGE key from to [COUNT n] */
static void do_xrange(const struct order *order)
{
    struct object *object;
    int64_t from, from_number, to, to_number, most = INT64_MAX;
    bool from_open, to_open;
    if (!find_kind(order, KEY_STREAM, &object))
        return;
    if (!id_read(order->argv[2], 0, &from, &from_number, &from_open) || !id_read(order->argv[3], INT64_MAX, &to, &to_number, &to_open) ||
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
        answer_entry(order, &entries[low + i]);
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
    key_drop(order->ks, order->argv[1]);
    struct object *object = key_make(order->ks, order->argv[1], KEY_STRING);
    object->of.string = copy(order->ks, order->argv[2]);
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

static void do_pexpire(const struct order *order)
{
    int64_t ms;
    if (integer_read(order->argv[2], &ms))
        set_expiry(order, order->ks->now_ms + ms);
    else
        order->sink->error(order->sink, "ERR value is not an integer or out of range");
}

static void do_persist(const struct order *order)
{
    set_expiry(order, 0);
}

static void do_time(const struct order *order)
{
    order->sink->list(order->sink, 2);
    answer_text(order, number_text(order->ks->scratch, (double)(order->ks->now_us / 1000000)));
    answer_text(order, number_text(order->ks->scratch, (double)(order->ks->now_us % 1000000)));
}

static const struct command {
    const char *name;
    size_t least; /* arguments, the name among them */
    void (*run)(const struct order *order);
    bool reads;
} COMMANDS[] = {
    {"HMGET", 3, do_hmget, true},
    {"HSET", 4, do_hset, false},
    {"HGET", 3, do_hget, true},
    {"ZADD", 4, do_zadd, false},
    {"ZREM", 3, do_zrem, false},
    {"TIME", 1, do_time, true},
    {"XADD", 5, do_xadd, false},
    {"ZSCORE", 3, do_zscore, true},
    {"ZMSCORE", 3, do_zmscore, true},
    {"ZRANGEBYSCORE", 4, do_zrangebyscore, true},
    {"ZREVRANGEBYSCORE", 4, do_zrevrangebyscore, true},
    {"HGETALL", 2, do_hgetall, true},
    {"HINCRBY", 4, do_hincrby, false},
    {"PEXPIRE", 3, do_pexpire, false},
    {"PERSIST", 2, do_persist, false},
    {"GET", 2, do_get, true},
    {"SET", 3, do_set, false},
    {"DEL", 2, do_del, false},
    {"EXISTS", 2, do_exists, true},
    {"HDEL", 3, do_hdel, false},
    {"HLEN", 2, do_hlen, true},
    {"HSCAN", 3, do_hscan, true},
    {"ZCARD", 2, do_zcard, true},
    {"XRANGE", 4, do_xrange, true},
    {"XLEN", 2, do_xlen, true},
};

bool keyspace_reads(struct view command)
{
    for (size_t i = 0; i < sizeof(COMMANDS) / sizeof(*COMMANDS); i++)
        if (is_word(command, COMMANDS[i].name))
            return COMMANDS[i].reads;
    return false;
}

void keyspace_run(struct keyspace *ks, int64_t now_us, size_t argc, const struct view *argv, struct sink *sink)
{
    const struct order order = {ks, argc, argv, sink};
    ks->now_us = now_us;
    ks->now_ms = now_us / 1000;
    for (size_t i = 0; i < sizeof(COMMANDS) / sizeof(*COMMANDS); i++) {
        if (!is_word(argv[0], COMMANDS[i].name))
            continue;
        if (argc < COMMANDS[i].least)
            sink->error(sink, "ERR wrong number of arguments");
        else
            COMMANDS[i].run(&order);
        return;
    }
    sink->error(sink, "ERR unknown command: tests/sim/keyspace.c has none of this name");
}

/* ---- looking ---- */

struct view keyspace_field(const struct keyspace *ks, int64_t now_us, const char *key, const char *field)
{
    const struct object *object = key_peek(ks, view_of(key), now_us / 1000);
    const struct cell *cell = object && object->kind == KEY_HASH ? dict_find(&object->of.hash, view_of(field)) : NULL;
    return cell ? cell->of.value : (struct view){NULL, 0};
}

static void visit_entry(const struct entry *entry, struct keyspace_visitor *visitor)
{
    char id[64], text[4096];
    size_t len = 0;
    for (uint32_t i = 0; i < entry->part_count && len < sizeof(text); i++)
        len += (size_t)snprintf(text + len, sizeof(text) - len, "%s%.*s", i ? "|" : "", VIEW_ARG(entry->parts[i]));
    visitor->item(visitor, id_text(id, entry), (struct view){text, len < sizeof(text) ? len : sizeof(text) - 1});
}

static void visit_object(const struct object *object, struct keyspace_visitor *visitor)
{
    char score[64];
    switch (object->kind) {
    case KEY_STRING:
        visitor->item(visitor, VIEW(""), object->of.string);
        break;
    case KEY_HASH:
        for (uint32_t i = 0; i < object->of.hash.used; i++)
            if (object->of.hash.cells[i].live)
                visitor->item(visitor, object->of.hash.cells[i].name, object->of.hash.cells[i].of.value);
        break;
    case KEY_ZSET:
        for (uint32_t i = 0; i < object->of.zset.members.live; i++)
            visitor->item(visitor, number_text(score, ranked(&object->of.zset, i)->of.score), ranked(&object->of.zset, i)->name);
        break;
    case KEY_STREAM:
        for (uint32_t i = 0; i < object->of.stream.count; i++)
            visit_entry(&object->of.stream.entries[i], visitor);
        break;
    case KEY_NONE:
        break;
    }
}

static void visit_cell(const struct cell *cell, int64_t now_ms, struct keyspace_visitor *visitor)
{
    if (!cell->live || is_over(cell->of.object, now_ms))
        return;
    if (visitor->key)
        visitor->key(visitor, cell->name, cell->of.object->kind, cell->of.object->expires_ms);
    if (visitor->item)
        visit_object(cell->of.object, visitor);
}

void keyspace_visit(const struct keyspace *ks, struct keyspace_visitor *visitor)
{
    for (uint32_t i = 0; i < ks->root->keys.used; i++)
        visit_cell(&ks->root->keys.cells[i], ks->now_ms, visitor);
}

void keyspace_visit_key(const struct keyspace *ks, const char *key, struct keyspace_visitor *visitor)
{
    const struct cell *cell = dict_find(&ks->root->keys, view_of(key));
    if (cell)
        visit_cell(cell, ks->now_ms, visitor);
}

/* ---- its life ---- */

struct keyspace *keyspace_new(void)
{
    struct keyspace *ks = calloc(1, sizeof(*ks));
    CHECK(ks);
    ks->region = mmap(NULL, REGION_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    CHECK(ks->region != MAP_FAILED);
    keyspace_clear(ks);
    return ks;
}

void keyspace_free(struct keyspace *ks)
{
    if (ks == NULL)
        return;
    munmap(ks->region, REGION_BYTES);
    free(ks->notes);
    free(ks);
}

void keyspace_clear(struct keyspace *ks)
{
    ks->top = 0;
    keyspace_settle(ks);
    ks->root = take(ks, sizeof(*ks->root));
}
