#include <stdio.h>
#include <string.h>

#include "check.h"
#include "hash.h"
#include "log.h"
#include "money.h"

#include "functions.h"

#include "page.h"

#define LIMIT_DEFAULT 100

/* Different seeds, so that a filter's hash never passes for a checksum. */
enum { SEED_FILTER = 0x66696c74, SEED_CHECK = 0x63686563 };

/* ---- cursors ---- */

static uint32_t filter_hash(struct flow *flow, bool newest_first, struct view filter)
{
    const struct ask *ask = flow->ask;
    struct view all =
        arena_printf(flow->arena, "%s %lld %lld %d %.*s", ask->route, (long long)ask->ids[0], (long long)ask->ids[1], newest_first, VIEW_ARG(filter));
    return hash32(all, SEED_FILTER);
}

static struct view cursor_print(struct arena *arena, const struct page *page)
{
    struct view body = arena_printf(arena, "%lld.%.*s.%08x", (long long)page->next.score, VIEW_ARG(page->next.member), (unsigned)page->filter_hash);
    return arena_printf(arena, "%.*s.%08x", VIEW_ARG(body), (unsigned)hash32(body, SEED_CHECK));
}

/* Takes ".12345678" off the end of ${text}. Returns false if there is none. */
static bool take_hash(struct view *text, uint32_t *hash)
{
    const size_t len = 9;
    *hash = 0;
    if (text->len < len || text->at[text->len - len] != '.')
        return false;
    for (const char *at = text->at + text->len - len + 1; at < text->at + text->len; at++) {
        const char *digits = "0123456789abcdef", *digit = *at ? strchr(digits, *at) : NULL;
        if (digit == NULL)
            return false;
        *hash = *hash << 4 | (uint32_t)(digit - digits);
    }
    text->len -= len;
    return true;
}

/* Returns NULL, or what is wrong with it. */
static const char *cursor_read(struct page *page, struct view cursor)
{
    static const char damaged[] = "it is damaged";
    uint32_t check, filter;
    long long score;
    struct view rest = cursor;
    if (!take_hash(&rest, &check) || check != hash32(rest, SEED_CHECK) || !take_hash(&rest, &filter))
        return damaged;
    if (filter != page->filter_hash)
        return "it was made for another list or other filters";
    const char *dot = memchr(rest.at, '.', rest.len);
    if (dot == NULL || !view_to_int((struct view){rest.at, (size_t)(dot - rest.at)}, &score) || score > MONEY_MAX || dot + 1 == rest.at + rest.len)
        return damaged;
    page->after = (struct page_place){score, {dot + 1, (size_t)(rest.at + rest.len - dot) - 1}};
    return NULL;
}

bool page_read(struct flow *flow, struct page *page, bool newest_first, struct view filter)
{
    struct view limit = ask_param(flow->ask, "limit"), cursor = ask_param(flow->ask, "cursor");
    long long number = LIMIT_DEFAULT;
    *page = (struct page){.newest_first = newest_first, .filter_hash = filter_hash(flow, newest_first, filter)};
    if (limit.at && (!view_to_int(limit, &number) || number < 1 || number > PAGE_LIMIT_MAX)) {
        answer_refuse(flow, &OUTCOME_BAD_REQUEST, "limit must be a number from 1 to %d", PAGE_LIMIT_MAX);
        return false;
    }
    page->limit = (int)number;
    const char *wrong = cursor.at ? cursor_read(page, cursor) : NULL;
    if (wrong)
        answer_refuse(flow, &OUTCOME_BAD_REQUEST,
                      "the cursor cannot be used: %s; take it from the Link header of the page before, with the same filters", wrong);
    return wrong == NULL;
}

/* ---- the question ---- */

/* The call to one shard with its index keys, or NULL if it has none. */
static struct call *shard_call(struct flow *flow, const struct page *page, unsigned shard)
{
    const struct topology *topology = flow->world->topology;
    struct call *call = NULL;
    for (unsigned p = 0; p < topology->partitions; p++) {
        if (topology->owner[p] != shard || (page->partition >= 0 && p != (unsigned)page->partition))
            continue;
        struct view key;
        for (unsigned n = 0; (key = page->key_of(page->cookie, flow->arena, p, n)).len; n++) {
            if (call == NULL)
                call = call_function(flow->arena, &FN_LIST, p);
            call_key(call, key);
        }
    }
    return call;
}

static void shard_ask(struct flow *flow, struct page *page, struct call *call, unsigned shard, size_t limit, const struct page_place *after)
{
    call_arg(call, view_of(page->kind));
    call_arg(call, page->newest_first ? VIEW("desc") : VIEW("asc"));
    call_arg_int(call, (int64_t)limit);
    if (after->member.len)
        call_arg_int(call, after->score);
    else
        call_arg(call, VIEW(""));
    call_arg(call, after->member);
    call_arg(call, page->state);
    call_arg(call, page->payment_status);
    for (size_t i = 0; i < page->field_count; i++)
        call_arg(call, view_of(page->fields[i]));
    call->shard = (int)shard;
    flow_call(flow, call, page->tag, (int)shard);
    page->waiting++;
}

/*
 * What one of ${shards} is asked for at first: its share, and twice the square root of that, which is two standard deviations of a share at random;
 * most pages are then whole after one question. All of the page from each of 64 shards would be 64 pages for one.
 */
static size_t first_limit(size_t limit, unsigned shards)
{
    size_t share = (limit + shards - 1) / shards, root = 1, ask;
    while (root * root < share)
        root++;
    ask = share + 2 * root + 2;
    return shards == 1 || ask > limit ? limit : ask;
}

void page_ask(struct flow *flow, struct page *page, int tag, const char *kind, int partition, page_key_of *key_of, void *cookie, struct view state,
              struct view payment_status, const char *const *fields, size_t field_count)
{
    unsigned shard_count = flow->world->topology->shard_count, asked = 0;
    struct call **calls = ARENA_ARRAY(flow->arena, struct call *, shard_count);
    CHECK(field_count <= PAGE_FIELDS_MAX);
    page->tag = tag;
    page->kind = kind;
    page->partition = partition;
    page->key_of = key_of;
    page->cookie = cookie;
    page->state = state;
    page->payment_status = payment_status;
    page->fields = fields;
    page->field_count = field_count;
    page->shards = ARENA_ARRAY(flow->arena, struct page_shard, shard_count);
    for (unsigned shard = 0; shard < shard_count; shard++)
        asked += (calls[shard] = shard_call(flow, page, shard)) != NULL;
    CHECK(asked > 0);
    for (unsigned shard = 0; shard < shard_count; shard++)
        if (calls[shard])
            shard_ask(flow, page, calls[shard], shard, first_limit((size_t)page->limit, asked), &page->after);
}

/* ---- the answers ---- */

/* Below 0: ${a} is shown before ${b}. */
static int compare(const struct page *page, const struct page_place *a, const struct page_place *b)
{
    size_t shorter = a->member.len < b->member.len ? a->member.len : b->member.len;
    int order = (a->score > b->score) - (a->score < b->score);
    if (order == 0 && shorter)
        order = memcmp(a->member.at, b->member.at, shorter);
    if (order == 0)
        order = (a->member.len > b->member.len) - (a->member.len < b->member.len);
    return page->newest_first ? -order : order;
}

/* A row of an answer as a row of the page: its texts are copied. */
static struct page_row row_copy(struct flow *flow, const struct page *page, const struct item *item)
{
    struct page_row row = {
        .place = {item_int(item_at(item, 0)), arena_copy(flow->arena, item_text(item_at(item, 1)))},
        .fields = ARENA_ARRAY(flow->arena, struct view, page->field_count),
    };
    for (size_t i = 0; i < page->field_count; i++)
        row.fields[i] = arena_copy(flow->arena, item_text(item_at(item, i + 2)));
    return row;
}

/* What stands in an answer before its rows. */
enum { LIST_MORE, LIST_SCORE, LIST_MEMBER, LIST_ROWS };

/* Two sorted lists become one of at most ${limit} rows. Of the new ones only those are copied that stay. */
static void merge(struct flow *flow, struct page *page, const struct reply *reply)
{
    size_t limit = (size_t)page->limit, total = reply->root->count - reply->first, fresh = LIST_ROWS, old = 0, count = 0;
    struct page_row *rows = ARENA_ARRAY(flow->arena, struct page_row, limit);
    while (count < limit && (fresh < total || old < page->row_count)) {
        const struct item *item = reply_item(reply, fresh);
        struct page_place place = {item_int(item_at(item, 0)), item_text(item_at(item, 1))};
        if (old < page->row_count && (fresh >= total || compare(page, &page->rows[old].place, &place) <= 0)) {
            rows[count++] = page->rows[old++];
        } else {
            rows[count++] = row_copy(flow, page, item);
            fresh++;
        }
    }
    page->cut |= fresh < total || old < page->row_count;
    page->rows = rows;
    page->row_count = count;
}

/* Where the record of a row lives, -1 if its member is no id. */
static int shard_of(const struct flow *flow, struct view member)
{
    const struct topology *topology = flow->world->topology;
    long long id;
    return view_to_int(member, &id) ? topology->owner[topology_partition_of_id(topology, id)] : -1;
}

/* If this shard has more: an entry that it looked at is its own, so the last one's id says which shard it is. */
static void note_more(struct flow *flow, struct page *page, const struct reply *reply)
{
    if (reply_int(reply, LIST_MORE) == 0)
        return;
    struct page_place looked = {reply_int(reply, LIST_SCORE), arena_copy(flow->arena, reply_text(reply, LIST_MEMBER))};
    page->shards[shard_of(flow, looked.member)] = (struct page_shard){true, looked};
}

/* The nearest of the places behind which a shard has more; NULL if none has. */
static const struct page_place *nearest_bound(const struct flow *flow, const struct page *page)
{
    const struct page_place *nearest = NULL;
    for (unsigned i = 0; i < flow->world->topology->shard_count; i++) {
        const struct page_shard *shard = &page->shards[i];
        if (shard->more && (nearest == NULL || compare(page, &shard->looked, nearest) < 0))
            nearest = &shard->looked;
    }
    return nearest;
}

/* How many rows may be shown. */
static size_t shown(const struct page *page, const struct page_place *bound)
{
    size_t count = page->row_count;
    while (bound && count && compare(page, &page->rows[count - 1].place, bound) > 0)
        count--;
    return count;
}

/*
 * The page is short because of its bound: asks those shards for the rest that looked no further than a full page must. One that then gives all that
 * was asked of it fills the page by itself, so a second question is enough.
 */
static void ask_again(struct flow *flow, struct page *page, size_t missing)
{
    bool full = page->row_count == (size_t)page->limit;
    page->again = true;
    for (unsigned i = 0; i < flow->world->topology->shard_count; i++) {
        struct page_shard *shard = &page->shards[i];
        if (!shard->more || (full && compare(page, &shard->looked, &page->rows[page->row_count - 1].place) >= 0))
            continue;
        shard->more = false;
        shard_ask(flow, page, shard_call(flow, page, i), i, missing, &shard->looked);
    }
}

/*
 * Rows that were cut off stand behind the last of a full page; so when the bound leaves the page short, the cut ones are behind the bound as well,
 * and the next page begins at the bound.
 */
static void finish(struct page *page, size_t count, const struct page_place *bound)
{
    page->row_count = count;
    page->more = bound || page->cut;
    if (count == (size_t)page->limit)
        page->next = page->rows[count - 1].place;
    else if (bound)
        page->next = *bound;
}

/* Is it "more score member row …", so that the rest need not look again? A place behind which there is more must be a place. */
static bool is_list(const struct flow *flow, const struct reply *reply)
{
    if (reply->kind != REPLY_OK || reply->root->count - reply->first < LIST_ROWS)
        return false;
    if (reply_int(reply, LIST_MORE) && shard_of(flow, reply_text(reply, LIST_MEMBER)) < 0)
        return false;
    for (size_t i = LIST_ROWS; i < reply->root->count - reply->first; i++)
        if (item_text(item_at(reply_item(reply, i), 1)).len == 0)
            return false;
    return true;
}

static enum page_step fail(struct flow *flow, const struct reply *reply)
{
    if (reply->kind == REPLY_NOT_SENT || reply->kind == REPLY_UNKNOWN) {
        answer_failed(flow, reply, "reading the list");
        return PAGE_FAILED;
    }
    log_error("a page of %s gave an answer of code %d that this version does not understand (request %.*s)", flow->ask->route, reply->code,
              VIEW_ARG(flow->ask->request_id));
    answer_refuse(flow, &OUTCOME_BROKEN, "a shard's part of the list makes no sense to this worker; tell the operator the request_id");
    return PAGE_FAILED;
}

enum page_step page_got(struct flow *flow, struct page *page, const struct reply *reply)
{
    CHECK(page->waiting > 0);
    page->waiting--;
    if (!is_list(flow, reply))
        return fail(flow, reply);
    merge(flow, page, reply);
    note_more(flow, page, reply);
    if (page->waiting)
        return PAGE_WAITING;
    const struct page_place *nearest = nearest_bound(flow, page);
    size_t count = shown(page, nearest), limit = (size_t)page->limit;
    if (nearest && count < limit && !page->again) {
        ask_again(flow, page, limit - count);
        return PAGE_WAITING;
    }
    finish(page, count, nearest);
    return PAGE_WHOLE;
}

/* ---- the next page ---- */

static void add_text(struct buffer *out, const char *text)
{
    buffer_add(out, text, strlen(text));
}

/* Everything but RFC 3986's unreserved characters as %XX. */
static void add_encoded(struct buffer *out, struct view text)
{
    static const char plain[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~";
    for (size_t i = 0; i < text.len; i++) {
        char escaped[4];
        if (memchr(plain, text.at[i], sizeof(plain) - 1)) {
            buffer_add(out, &text.at[i], 1);
            continue;
        }
        snprintf(escaped, sizeof(escaped), "%%%02X", (unsigned char)text.at[i]);
        buffer_add(out, escaped, 3);
    }
}

/* The path of the request again, from its template. */
static void add_path(struct buffer *out, const struct ask *ask)
{
    static const char id[] = "{id}";
    const char *at = ask->route, *next;
    for (int n = 0; (next = strstr(at, id)); at = next + sizeof(id) - 1) {
        CHECK(n < ASK_IDS_MAX);
        buffer_add(out, at, (size_t)(next - at));
        buffer_add_int(out, ask->ids[n++]);
    }
    add_text(out, at);
}

/* A filter of any length may stand in it, so answer_header's room for a value would not do. */
void page_link(struct flow *flow, const struct page *page)
{
    struct answer *answer = flow->answer;
    struct buffer out = {.arena = flow->arena};
    if (!page->more)
        return;
    CHECK(answer && answer->header_count < ANSWER_HEADERS_MAX);
    add_text(&out, "<");
    add_path(&out, flow->ask);
    add_text(&out, "?");
    for (size_t i = 0; i < flow->ask->param_count; i++) {
        const struct param *param = &flow->ask->params[i];
        if (view_equal(param->name, VIEW("cursor")))
            continue;
        add_encoded(&out, param->name);
        add_text(&out, "=");
        add_encoded(&out, param->value);
        add_text(&out, "&");
    }
    add_text(&out, "cursor=");
    add_encoded(&out, cursor_print(flow->arena, page));
    add_text(&out, ">; rel=\"next\"");
    buffer_add(&out, "", 1);
    answer->headers[answer->header_count++] = (struct http_header){"Link", out.at};
}
