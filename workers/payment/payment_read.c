#include "etag.h"
#include "functions.h"
#include "page.h"

#include "payment.h"

/*
 * GET /payments/{id}: the record; with wait=1 … 5, read again every WAIT_STEP_MS until the payment is decided or the seconds are over.
 * GET /payments: one order's payments by its record, else a page over all partitions: of all, of one status, or of those that must be refunded. For a
 * caller that acts for one buyer: those of his order, else a page of his own, looked through for the status.
 */
#define WAIT_STEP_MS 50
#define WAIT_MAX_S 5

/* ---- one ---- */

struct get {
    struct flow flow;
    unsigned partition;
    int64_t id;
    int64_t steps_left; /* times it may be read again */
};

static void read_once(struct get *get)
{
    flow_call(&get->flow, payment_call(get->flow.arena, get->partition, get->id, NULL), 0, 0);
}

static void get_start(struct flow *flow)
{
    struct get *get = (struct get *)flow;
    struct view wait = ask_param(flow->ask, "wait");
    long long seconds = 0;
    if (wait.at && (!view_to_int(wait, &seconds) || seconds < 1 || seconds > WAIT_MAX_S)) {
        answer_refuse(flow, &OUTCOME_BAD_REQUEST, "wait must be a number of seconds from 1 to %d", WAIT_MAX_S);
        flow_end(flow);
        return;
    }
    get->id = flow->ask->ids[0];
    get->partition = topology_partition_of_id(flow->world->topology, get->id);
    get->steps_left = seconds * 1000 / WAIT_STEP_MS;
    read_once(get);
}

static void answer_payment(struct flow *flow, const struct payment *payment)
{
    if (etag_matches(flow->ask->if_none_match, payment->version, ETAG_WEAK)) {
        flow->answer = ARENA_NEW(flow->arena, struct answer);
        answer_header(flow, "ETag", "\"v%lld\"", (long long)payment->version);
        answer_empty(flow, 304);
    } else {
        payment_write(answer_begin(flow, 200), payment);
        answer_header(flow, "ETag", "\"v%lld\"", (long long)payment->version);
        answer_send(flow);
    }
    flow_end(flow);
}

static void get_got_reply(struct flow *flow, struct call *call, const struct reply *reply)
{
    struct get *get = (struct get *)flow;
    struct payment payment;
    if (reply->kind != REPLY_OK) {
        end_failed(flow, reply, "reading the payment");
        return;
    }
    switch (payment_from_reply(flow->arena, reply, get->id, &payment)) {
    case PAYMENT_ABSENT:
        end_no_payment(flow, get->id);
        break;
    case PAYMENT_DAMAGED:
        end_broken(flow, "payment", get->id);
        break;
    case PAYMENT_FOUND:
        if (payment_under_way(payment.status) && get->steps_left-- > 0)
            flow_sleep(flow, WAIT_STEP_MS);
        else
            answer_payment(flow, &payment);
    }
}

static void get_got_wake(struct flow *flow)
{
    read_once((struct get *)flow);
}

const struct flow_type PAYMENT_GET_FLOW = {
    .name = "get payment", .size = sizeof(struct get), .start = get_start, .got_reply = get_got_reply, .got_wake = get_got_wake};

/* ---- many ---- */

struct list {
    struct flow flow;
    struct page page;
    struct view status, buyer;
    bool refund_due;
    unsigned partition;       /* of one order's payments */
    struct payment *payments; /* one order's, the latest first */
    size_t count, waiting;
};

enum { TAG_PAGE, TAG_ORDER, TAG_PAYMENT };
#define STATUSES "processing|succeeded|failed|unknown|authorized|voided|expired|partially_refunded|refunded"

static struct view index_key(void *cookie, struct arena *arena, unsigned partition, unsigned n)
{
    const struct list *list = cookie;
    if (n > 0)
        return (struct view){NULL, 0};
    if (list->buyer.at)
        return arena_printf(arena, "payments:{%u}:user:%.*s", partition, VIEW_ARG(list->buyer));
    if (list->refund_due)
        return arena_printf(arena, "payments:{%u}:refund_due", partition);
    if (list->status.at)
        return arena_printf(arena, "payments:{%u}:in:%.*s", partition, VIEW_ARG(list->status));
    return arena_printf(arena, "payments:{%u}", partition);
}

static void answer_payments(struct list *list, const struct payment *payments, size_t count)
{
    struct flow *flow = &list->flow;
    struct writer *w = answer_begin(flow, 200);
    writer_list(w, count);
    for (size_t i = 0; i < count; i++)
        payment_write(w, &payments[i]);
    writer_end(w);
    page_link(flow, &list->page);
    answer_send(flow);
    flow_end(flow);
}

static void got_page(struct list *list, const struct reply *reply)
{
    struct flow *flow = &list->flow;
    enum page_step step = page_got(flow, &list->page, reply);
    if (step == PAGE_WAITING)
        return;
    if (step == PAGE_FAILED) {
        flow_end(flow);
        return;
    }
    struct payment *payments = ARENA_ARRAY(flow->arena, struct payment, list->page.row_count + 1);
    for (size_t i = 0; i < list->page.row_count; i++) {
        long long id = 0;
        if (!view_to_int(list->page.rows[i].place.member, &id) || !payment_from_fields(list->page.rows[i].fields, id, &payments[i])) {
            end_broken(flow, "payment", id);
            return;
        }
    }
    answer_payments(list, payments, list->page.row_count);
}

/* Keeps those that ${status} lets through. */
static void answer_of_order(struct list *list)
{
    size_t kept = 0;
    for (size_t i = 0; i < list->count; i++)
        if (list->payments[i].id && (list->status.at == NULL || view_equal(list->status, list->payments[i].status)))
            list->payments[kept++] = list->payments[i];
    answer_payments(list, list->payments, kept);
}

static void ask_payment(struct list *list, struct view id_text)
{
    long long id;
    if (!view_to_int(id_text, &id))
        return;
    flow_call(&list->flow, payment_call(list->flow.arena, list->partition, id, NULL), TAG_PAYMENT, (int)list->waiting);
    list->payments[list->waiting++].id = id;
}

/* ${ids} "17,4113": oldest first, asked for from behind. */
static void got_order(struct list *list, const struct reply *reply)
{
    struct flow *flow = &list->flow;
    if (reply->kind != REPLY_OK) {
        end_failed(flow, reply, "reading the order");
        return;
    }
    struct view ids = reply_text(reply, 0);
    if (list->buyer.at && !view_equal(list->buyer, reply_text(reply, 1)))
        ids = VIEW(""); /* as of an order that is not there */
    for (size_t i = 0; i < ids.len; i++)
        list->count += ids.at[i] == ',';
    list->payments = ARENA_ARRAY(flow->arena, struct payment, list->count + 1);
    while (ids.len) {
        size_t from = ids.len;
        while (from > 0 && ids.at[from - 1] != ',')
            from--;
        ask_payment(list, (struct view){ids.at + from, ids.len - from});
        ids.len = from ? from - 1 : 0;
    }
    list->count = list->waiting;
    if (list->waiting == 0)
        answer_of_order(list);
}

static void got_payment(struct list *list, size_t index, const struct reply *reply)
{
    struct flow *flow = &list->flow;
    int64_t id = list->payments[index].id;
    if (reply->kind != REPLY_OK)
        end_failed(flow, reply, "reading a payment");
    else if (payment_from_reply(flow->arena, reply, id, &list->payments[index]) != PAYMENT_FOUND)
        end_broken(flow, "payment", id);
    else if (--list->waiting == 0)
        answer_of_order(list);
}

static void start_of_order(struct list *list, struct view text)
{
    struct flow *flow = &list->flow;
    long long order_id;
    if (!view_to_int(text, &order_id) || order_id < 1) {
        answer_refuse(flow, &OUTCOME_BAD_REQUEST, "order_id must be an order's id, a positive integer");
        flow_end(flow);
        return;
    }
    list->partition = topology_partition_of_id(flow->world->topology, order_id);
    struct call *call = call_command(flow->arena, "HMGET", list->partition);
    call_arg(call, arena_printf(flow->arena, "order:{%u}:%lld", list->partition, order_id));
    call_arg(call, VIEW("payments"));
    call_arg(call, VIEW("user"));
    flow_call(flow, call, TAG_ORDER, 0);
}

/* Returns false after having answered 400. */
static bool filters_read(struct list *list, struct view order_id)
{
    struct flow *flow = &list->flow;
    struct view refund_due = ask_param(flow->ask, "refund_due");
    list->status = ask_param(flow->ask, "status");
    list->buyer = flow->ask->buyer;
    list->refund_due = view_equal(refund_due, VIEW("true"));
    if (list->status.at && !is_one_of(STATUSES, list->status)) {
        answer_refuse(flow, &OUTCOME_BAD_REQUEST, "\"%.*s\" is no status of a payment; there are: %s",
                      (int)(list->status.len < 64 ? list->status.len : 64), list->status.at, STATUSES);
        return false;
    }
    if ((refund_due.at && !list->refund_due) || (list->refund_due && order_id.at)) {
        answer_refuse(flow, &OUTCOME_BAD_REQUEST, "refund_due can only be true, and not together with order_id");
        return false;
    }
    struct view filter = arena_printf(flow->arena, "%.*s|%.*s|%d|%.*s", VIEW_ARG(order_id), VIEW_ARG(list->status), list->refund_due,
                                      VIEW_ARG(list->buyer));
    return page_read(flow, &list->page, true, filter);
}

static void list_start(struct flow *flow)
{
    struct list *list = (struct list *)flow;
    struct view order_id = ask_param(flow->ask, "order_id");
    if (!filters_read(list, order_id))
        flow_end(flow);
    else if (order_id.at)
        start_of_order(list, order_id);
    else
        page_ask(flow, &list->page, TAG_PAGE, "payment", list->buyer.at ? (int)topology_partition_of_text(flow->world->topology, list->buyer) : -1,
                 index_key, list, list->status.at ? list->status : VIEW(""), VIEW(""), PAYMENT_FIELD_NAMES, PAYMENT_FIELD_COUNT);
}

static void list_got_reply(struct flow *flow, struct call *call, const struct reply *reply)
{
    struct list *list = (struct list *)flow;
    if (call->tag == TAG_PAGE)
        got_page(list, reply);
    else if (call->tag == TAG_ORDER)
        got_order(list, reply);
    else
        got_payment(list, (size_t)call->index, reply);
}

const struct flow_type PAYMENT_LIST_FLOW = {.name = "list payments", .size = sizeof(struct list), .start = list_start, .got_reply = list_got_reply};
