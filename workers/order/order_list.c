#include "money.h"

#include "page.h"

#include "order.h"

/*
 * GET /orders: newest first, over all partitions or one buyer's. Every filter has its index: a buyer's orders, and one per pair of state and payment
 * status; a buyer's are looked through for the other two.
 */
static const char *const STATES[] = {"reserved", "paid", "fulfilled", "cancelled", "expired"};
static const char *const PAYMENT_STATUSES[] = {"none", "pending", "authorized", "paid", "partially_refunded", "refunded", "refund_due"};
#define COUNT(array) (sizeof(array) / sizeof(*(array)))

static const char *const FIELDS[] = {"user", "state", "payment_status", "total", "currency", "v", "created", "updated", "expires", "doc"};
enum { FIELD_USER, FIELD_STATE, FIELD_PAYMENT_STATUS, FIELD_TOTAL, FIELD_CURRENCY, FIELD_V, FIELD_CREATED, FIELD_UPDATED, FIELD_EXPIRES, FIELD_DOC };

struct list {
    struct flow flow;
    struct page page;
    struct view user, state, payment_status;
};

/* Which of ${names} the filter lets through: its only one, or all; the n-th of them, NULL behind the last. */
static const char *nth_name(struct view filter, const char *const *names, size_t count, size_t n)
{
    for (size_t i = 0; i < count; i++) {
        if (filter.at && !view_equal(filter, view_of(names[i])))
            continue;
        if (n-- == 0)
            return names[i];
    }
    return NULL;
}

static size_t name_count(struct view filter, size_t count)
{
    return filter.at ? 1 : count;
}

static struct view index_key(void *cookie, struct arena *arena, unsigned partition, unsigned n)
{
    const struct list *list = cookie;
    if (list->user.at)
        return n == 0 ? arena_printf(arena, "orders:{%u}:user:%.*s", partition, VIEW_ARG(list->user)) : (struct view){NULL, 0};
    if (list->state.at == NULL && list->payment_status.at == NULL)
        return n == 0 ? arena_printf(arena, "orders:{%u}", partition) : (struct view){NULL, 0};
    size_t statuses = name_count(list->payment_status, COUNT(PAYMENT_STATUSES));
    const char *state = nth_name(list->state, STATES, COUNT(STATES), n / statuses);
    if (state == NULL)
        return (struct view){NULL, 0};
    return arena_printf(arena, "orders:{%u}:in:%s:%s", partition, state,
                        nth_name(list->payment_status, PAYMENT_STATUSES, COUNT(PAYMENT_STATUSES), n % statuses));
}

static bool filter_known(struct flow *flow, const char *param, struct view value, const char *const *names, size_t count)
{
    if (value.at == NULL || nth_name(value, names, count, 0))
        return true;
    struct buffer list = {.arena = flow->arena};
    for (size_t i = 0; i < count; i++) {
        buffer_add(&list, ", ", i ? 2 : 0);
        buffer_add_view(&list, view_of(names[i]));
    }
    answer_refuse(flow, &OUTCOME_BAD_REQUEST, "\"%.*s\" is no %s; there are: %.*s", (int)(value.len < 64 ? value.len : 64), value.at, param,
                  (int)list.len, list.at);
    return false;
}

static void list_start(struct flow *flow)
{
    struct list *list = (struct list *)flow;
    list->user = flow->ask->buyer.at ? flow->ask->buyer : ask_param(flow->ask, "user");
    list->state = ask_param(flow->ask, "state");
    list->payment_status = ask_param(flow->ask, "payment_status");
    struct view filter =
        arena_printf(flow->arena, "orders|%.*s|%.*s|%.*s", VIEW_ARG(list->user), VIEW_ARG(list->state), VIEW_ARG(list->payment_status));
    if (!filter_known(flow, "state", list->state, STATES, COUNT(STATES)) ||
        !filter_known(flow, "payment_status", list->payment_status, PAYMENT_STATUSES, COUNT(PAYMENT_STATUSES)) ||
        !page_read(flow, &list->page, true, filter)) {
        flow_end(flow);
        return;
    }
    int partition = list->user.at ? (int)topology_partition_of_text(flow->world->topology, list->user) : -1;
    page_ask(flow, &list->page, 0, "order", partition, index_key, list, list->state, list->payment_status, FIELDS, COUNT(FIELDS));
}

static int64_t number(struct view text)
{
    long long n = 0;
    return view_to_int(text, &n) ? n : 0;
}

static bool order_from_row(struct flow *flow, const struct page_row *row, struct order *order)
{
    *order = (struct order){
        .id = number(row->place.member),
        .user = row->fields[FIELD_USER],
        .state = row->fields[FIELD_STATE],
        .payment_status = row->fields[FIELD_PAYMENT_STATUS],
        .total = number(row->fields[FIELD_TOTAL]),
        .currency = row->fields[FIELD_CURRENCY],
        .version = number(row->fields[FIELD_V]),
        .created_ms = number(row->fields[FIELD_CREATED]),
        .updated_ms = number(row->fields[row->fields[FIELD_UPDATED].len ? FIELD_UPDATED : FIELD_CREATED]), /* none before it moves */
        .expires_ms = number(row->fields[FIELD_EXPIRES]),
    };
    return money_digits(order->currency) >= 0 && record_load(&ORDER_DOC, flow->arena, row->fields[FIELD_DOC], &order->doc);
}

static void answer_page(struct list *list)
{
    struct flow *flow = &list->flow;
    struct order *orders = ARENA_ARRAY(flow->arena, struct order, list->page.row_count + 1);
    for (size_t i = 0; i < list->page.row_count; i++)
        if (!order_from_row(flow, &list->page.rows[i], &orders[i])) {
            order_broken(flow, "listing", orders[i].id);
            return;
        }
    struct writer *w = answer_begin(flow, 200);
    writer_list(w, list->page.row_count);
    for (size_t i = 0; i < list->page.row_count; i++) {
        writer_map(w, order_members(&orders[i]));
        order_write(w, &orders[i]);
        writer_end(w);
    }
    writer_end(w);
    page_link(flow, &list->page);
    answer_send(flow);
}

static void list_got_reply(struct flow *flow, struct call *call, const struct reply *reply)
{
    struct list *list = (struct list *)flow;
    enum page_step step = page_got(flow, &list->page, reply);
    if (step == PAGE_WAITING)
        return;
    if (step == PAGE_WHOLE)
        answer_page(list);
    flow_end(flow);
}

const struct flow_type ORDER_LIST_FLOW = {.name = "list orders", .size = sizeof(struct list), .start = list_start, .got_reply = list_got_reply};
