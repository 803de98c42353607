#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "check.h"

#include "keyspace_internal.h"

/*
 *   region:  root │ cells, texts, objects …            │ free …
 *                                       fresh ▲    top ▲
 *   notes:   what stood where, the latest last
 *
 * Memory behind ${fresh} was handed out since the last mark and needs no note: going back gives it up as a whole.
 */
#define REGION_BYTES ((size_t)4 << 30)
#define INDEX_FROM 24 /* fields; fewer are looked through */

/* ---- memory that can be taken back ---- */

void *keyspace_take(struct keyspace *ks, size_t size)
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
void keyspace_note(struct keyspace *ks, void *at, size_t len)
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

struct view keyspace_copy(struct keyspace *ks, struct view text)
{
    char *at = keyspace_take(ks, text.len + 1);
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

struct cell *dict_find(const struct dict *dict, struct view name)
{
    struct cell *cell = dict_cell(dict, name);
    return cell && cell->live ? cell : NULL;
}

static void dict_grow(struct keyspace *ks, struct dict *dict)
{
    uint32_t cap = dict->cap ? dict->cap * 2 : 4;
    struct cell *cells = keyspace_take(ks, cap * sizeof(*cells));
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
    dict->index = keyspace_take(ks, size * sizeof(*dict->index));
    for (uint32_t i = 0; i < dict->used; i++)
        dict->index[dict_slot(dict, cells[i].name)] = i + 1;
}

/* The live cell of this name; *added: it was not live before, and what belongs to it is empty. */
struct cell *dict_put(struct keyspace *ks, struct dict *dict, struct view name, bool *added)
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
        cell->name = keyspace_copy(ks, name);
    }
    cell->live = true;
    return cell;
}

bool dict_drop(struct keyspace *ks, struct dict *dict, struct view name)
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

void key_drop(struct keyspace *ks, struct view name)
{
    dict_drop(ks, &ks->root->keys, name);
}

struct object *key_find(struct keyspace *ks, struct view name)
{
    struct cell *cell = dict_find(&ks->root->keys, name);
    if (cell == NULL)
        return NULL;
    if (!is_over(cell->of.object, ks->now_ms))
        return cell->of.object;
    key_drop(ks, name);
    return NULL;
}

struct object *key_make(struct keyspace *ks, struct view name, enum key_kind kind)
{
    bool added;
    struct object *object = keyspace_take(ks, sizeof(*object));
    struct cell *cell = dict_put(ks, &ks->root->keys, name, &added);
    NOTE(ks, *cell);
    object->kind = kind;
    cell->of.object = object;
    return object;
}

/* ---- sorted sets ---- */

const struct cell *ranked(const struct zset *zset, uint32_t rank)
{
    return &zset->members.cells[zset->order[rank]];
}

static int name_compare(struct view a, struct view b)
{
    int order = memcmp(a.at, b.at, a.len < b.len ? a.len : b.len);
    return order ? order : (a.len > b.len) - (a.len < b.len);
}

/* How many stand before (score, name); with ${name} NULL: before, or up to, that score. */
uint32_t rank_of(const struct zset *zset, double score, const struct view *name, bool past)
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
    keyspace_note(ks, &zset->order[rank], (count - rank) * sizeof(*zset->order));
    memmove(&zset->order[rank], &zset->order[rank + 1], (count - rank - 1) * sizeof(*zset->order));
}

static void order_put(struct keyspace *ks, struct zset *zset, uint32_t rank, uint32_t count, uint32_t number)
{
    if (count == zset->order_cap) {
        uint32_t cap = zset->order_cap ? zset->order_cap * 2 : 4;
        uint32_t *order = keyspace_take(ks, cap * sizeof(*order));
        if (count > 0)
            memcpy(order, zset->order, count * sizeof(*order));
        NOTE(ks, *zset);
        zset->order = order;
        zset->order_cap = cap;
    }
    keyspace_note(ks, &zset->order[rank], (count - rank + 1) * sizeof(*zset->order));
    memmove(&zset->order[rank + 1], &zset->order[rank], (count - rank) * sizeof(*zset->order));
    zset->order[rank] = number;
}

bool zset_put(struct keyspace *ks, struct zset *zset, struct view name, double score)
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

bool zset_drop(struct keyspace *ks, struct zset *zset, struct view name)
{
    struct cell *known = dict_find(&zset->members, name);
    if (known == NULL)
        return false;
    order_cut(ks, zset, rank_of(zset, known->of.score, &known->name, false), zset->members.live);
    return dict_drop(ks, &zset->members, name);
}

/* ---- numbers as text ---- */

#define SCRATCH_BYTES 64
#define SCRATCH_SLOTS 256 /* of one piece of memory, which never moves */

char *keyspace_scratch(struct keyspace *ks)
{
    uint32_t piece = ks->scratch_used / SCRATCH_SLOTS, slot = ks->scratch_used++ % SCRATCH_SLOTS;
    if (piece == ks->scratch_cap) {
        ks->scratch = realloc(ks->scratch, ++ks->scratch_cap * sizeof(*ks->scratch));
        CHECK(ks->scratch);
        ks->scratch[piece] = malloc((size_t)SCRATCH_SLOTS * SCRATCH_BYTES);
        CHECK(ks->scratch[piece]);
    }
    return ks->scratch[piece] + (size_t)slot * SCRATCH_BYTES;
}

struct view number_text(char out[64], double number)
{
    if (number != floor(number) || fabs(number) >= 9007199254740992.0)
        return (struct view){out, (size_t)snprintf(out, 64, "%.17g", number)};
    char *end = out + 63, *at = end;
    uint64_t digits = (uint64_t)fabs(number); /* by hand, since most of what a shard says is whole numbers */
    do
        *--at = (char)('0' + digits % 10);
    while (digits /= 10);
    if (number < 0)
        *--at = '-';
    return (struct view){at, (size_t)(end - at)};
}

/* ---- looking ---- */

struct view id_text(char out[64], const struct entry *entry)
{
    return (struct view){out, (size_t)snprintf(out, 64, "%lld-%lld", (long long)entry->ms, (long long)entry->number)};
}

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

void keyspace_visit_key(const struct keyspace *ks, int64_t now_us, const char *key, struct keyspace_visitor *visitor)
{
    const struct object *object = key_peek(ks, view_of(key), now_us / 1000);
    if (object)
        visit_object(object, visitor);
}

/* ---- a digest ---- */

struct digest {
    struct keyspace_visitor visitor; /* first */
    struct hash128 sum;
    char name[300];
};

static void digest_add(struct digest *digest, struct view a, struct view b)
{
    struct hash128 left = hash128(a, 1), right = hash128(b, 2), name = hash128(view_of(digest->name), 3);
    digest->sum.high += (left.high ^ name.high) * (right.high | 1); /* a sum of three would not tell who has whose value */
    digest->sum.low += (left.low ^ name.low) * (right.low | 1);
}

static void digest_key(struct keyspace_visitor *visitor, struct view name, enum key_kind kind, int64_t expires_ms)
{
    struct digest *digest = (struct digest *)visitor;
    snprintf(digest->name, sizeof(digest->name), "%.*s %d %lld", (int)(name.len < 200 ? name.len : 200), name.at, (int)kind, (long long)expires_ms);
    digest_add(digest, name, VIEW(""));
}

static void digest_item(struct keyspace_visitor *visitor, struct view name, struct view value)
{
    digest_add((struct digest *)visitor, name, value);
}

struct hash128 keyspace_digest(const struct keyspace *keyspace)
{
    struct digest digest = {.visitor = {digest_key, digest_item}};
    keyspace_visit(keyspace, &digest.visitor);
    return digest.sum;
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
    for (uint32_t i = 0; i < ks->scratch_cap; i++)
        free(ks->scratch[i]);
    free(ks->scratch);
    free(ks->dumped);
    free(ks->notes);
    free(ks);
}

void keyspace_clear(struct keyspace *ks)
{
    ks->top = 0;
    keyspace_settle(ks);
    ks->root = keyspace_take(ks, sizeof(*ks->root));
}
