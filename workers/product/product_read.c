#include "log.h"
#include "money.h"

#include "near_cache.h"
#include "page.h"

#include "product.h"

/* ---- GET /products/{id}: one call, and nothing is copied but into the answer ---- */

static void read_start(struct flow *flow)
{
    struct call *call = product_command(flow, "HMGET", "product", flow->ask->ids[0]);
    call_arg(call, VIEW("v"));
    call_arg(call, VIEW("doc"));
    flow_call(flow, call, 0, 0);
}

static void answer_read(struct flow *flow, const struct reply *reply)
{
    struct product product = {.id = flow->ask->ids[0], .version = reply_int(reply, 0)};
    if (reply_item(reply, 0)->type == ITEM_NIL) {
        product_missing(flow);
        return;
    }
    if (!product_load(flow->arena, reply_text(reply, 1), &product)) {
        product_broken(flow, "reading");
        return;
    }
    product_write(answer_begin(flow, 200), &product);
    answer_header(flow, "ETag", "\"v%lld\"", (long long)product.version);
    answer_keep(flow, product.version, product.id);
    answer_send(flow);
}

static void read_got_reply(struct flow *flow, struct call *call, const struct reply *reply)
{
    if (reply->kind == REPLY_OK)
        answer_read(flow, reply);
    else
        product_failed(flow, reply, "reading");
    flow_end(flow);
}

const struct flow_type PRODUCT_READ_FLOW = {.name = "product_read", .size = sizeof(struct flow), .start = read_start, .got_reply = read_got_reply};

/* ---- GET /products: by ids, or a page over all partitions ---- */

#define IDS_MAX 100

struct product_list {
    struct flow flow;
    struct page page;         /* unused when ids were given */
    struct product *products; /* found or not: id 0 is one that is left out */
    size_t count;
    unsigned waiting;
    bool kept; /* the first page of all: what most clients ask for */
};

enum { TAG_PAGE, TAG_ID };

/* One that cannot be read is left out and complained about: it must not take the catalogue with it. */
static void list_add(struct product_list *list, size_t n, int64_t id, int64_t version, struct view bytes)
{
    struct product *product = &list->products[n];
    *product = (struct product){.id = id, .version = version};
    if (product_load(list->flow.arena, bytes, product))
        return;
    log_error("product %lld is left out of a list: its document is damaged; look at it with `soukctl get product %lld`", (long long)id,
              (long long)id);
    product->id = 0;
}

static void list_answer(struct product_list *list)
{
    struct flow *flow = &list->flow;
    size_t there = 0;
    for (size_t i = 0; i < list->count; i++)
        there += list->products[i].id != 0;
    struct writer *w = answer_begin(flow, 200);
    writer_list(w, there);
    for (size_t i = 0; i < list->count; i++)
        if (list->products[i].id)
            product_write(w, &list->products[i]);
    writer_end(w);
    page_link(flow, &list->page);
    answer_tag_body(flow);
    if (list->kept)
        answer_keep(flow, 0, list->page.more ? list->page.next.score : NEAR_LAST);
    answer_send(flow);
    flow_end(flow);
}

static bool is_listed(const struct product_list *list, int64_t id)
{
    for (size_t i = 0; i < list->count; i++)
        if (list->products[i].id == id)
            return true;
    return false;
}

/* Reads "1,2,3"; one that is there twice counts once. Returns false after having answered 400. */
static bool read_ids(struct product_list *list, struct view text)
{
    list->products = ARENA_ARRAY(list->flow.arena, struct product, IDS_MAX);
    for (bool last = false; !last;) {
        const char *comma = memchr(text.at, ',', text.len);
        struct view part = {text.at, comma ? (size_t)(comma - text.at) : text.len};
        long long id;
        last = comma == NULL;
        if (!view_to_int(part, &id) || id < 1 || id > MONEY_MAX || (list->count == IDS_MAX && !is_listed(list, id))) {
            answer_refuse(&list->flow, &OUTCOME_BAD_REQUEST, "ids must be 1 to %d ids of products with commas between them, such as 1,2,3", IDS_MAX);
            return false;
        }
        if (!is_listed(list, id))
            list->products[list->count++].id = id;
        if (!last)
            text = (struct view){comma + 1, text.len - part.len - 1};
    }
    return true;
}

static bool ids_start(struct product_list *list, struct view ids)
{
    struct flow *flow = &list->flow;
    if (ask_param(flow->ask, "limit").at || ask_param(flow->ask, "cursor").at) {
        answer_refuse(flow, &OUTCOME_BAD_REQUEST, "ids names what is wanted; send it without limit and cursor");
        return false;
    }
    if (!read_ids(list, ids))
        return false;
    for (size_t i = 0; i < list->count; i++) {
        struct call *call = product_command(flow, "HMGET", "product", list->products[i].id);
        call_arg(call, VIEW("v"));
        call_arg(call, VIEW("doc"));
        flow_call(flow, call, TAG_ID, (int)i);
        list->waiting++;
    }
    return true;
}

static struct view products_key(void *cookie, struct arena *arena, unsigned partition, unsigned n)
{
    return n == 0 ? arena_printf(arena, "products:{%u}", partition) : VIEW("");
}

static bool page_start(struct product_list *list)
{
    static const char *const fields[] = {"v", "doc"};
    if (!page_read(&list->flow, &list->page, false, VIEW("")))
        return false;
    list->kept = ask_param(list->flow.ask, "cursor").at == NULL;
    page_ask(&list->flow, &list->page, TAG_PAGE, "product", -1, products_key, NULL, VIEW(""), VIEW(""), fields, sizeof(fields) / sizeof(*fields));
    return true;
}

static void list_start(struct flow *flow)
{
    struct product_list *list = (struct product_list *)flow;
    struct view ids = ask_param(flow->ask, "ids");
    if (!(ids.at ? ids_start(list, ids) : page_start(list)))
        flow_end(flow);
}

static void got_page(struct product_list *list, const struct reply *reply)
{
    struct page *page = &list->page;
    enum page_step step = page_got(&list->flow, page, reply);
    if (step == PAGE_FAILED)
        flow_end(&list->flow);
    if (step != PAGE_WHOLE)
        return;
    list->count = page->row_count;
    list->products = ARENA_ARRAY(list->flow.arena, struct product, list->count + 1);
    for (size_t i = 0; i < list->count; i++) {
        const struct page_row *row = &page->rows[i];
        long long version;
        list_add(list, i, row->place.score, view_to_int(row->fields[0], &version) ? version : 0, row->fields[1]);
    }
    list_answer(list);
}

static void got_id(struct product_list *list, size_t n, const struct reply *reply)
{
    if (reply->kind != REPLY_OK) {
        product_failed(&list->flow, reply, "reading");
        flow_end(&list->flow);
        return;
    }
    if (reply_item(reply, 0)->type == ITEM_NIL)
        list->products[n].id = 0;
    else
        list_add(list, n, list->products[n].id, reply_int(reply, 0), arena_copy(list->flow.arena, reply_text(reply, 1)));
    if (--list->waiting == 0)
        list_answer(list);
}

static void list_got_reply(struct flow *flow, struct call *call, const struct reply *reply)
{
    struct product_list *list = (struct product_list *)flow;
    if (call->tag == TAG_PAGE)
        got_page(list, reply);
    else
        got_id(list, (size_t)call->index, reply);
}

const struct flow_type PRODUCT_LIST_FLOW = {
    .name = "product_list", .size = sizeof(struct product_list), .start = list_start, .got_reply = list_got_reply};
