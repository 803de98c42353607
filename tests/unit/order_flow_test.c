#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "duty.h"
#include "functions.h"
#include "settle.h"

#include "order.h"

#include "flow_driver.h"
#include "shop_model.h"
#include "shop_run.h"

/*
 * The order service's flows, with every reply of every conversation spoilt in every way (shop_run.h), and afterwards the same request sent again.
 * What must hold whatever happens:
 *   exactly one answer, and never a hang (the driver and shop_run see to it) · the fences of DESIGN.md section 7 (shop_model judges them)
 *   at most one order for a key · what was answered with 2xx or 4xx is answered again in the same bytes · no 4xx while there is an order
 *   afterwards, when sweeps have done what is due, no unit is held for nothing
 */
#define CUP 17
#define LAMP 34
#define YEN 51
#define TWO "{\"user\":\"ann\",\"items\":[{\"product_id\":17,\"quantity\":2},{\"product_id\":34,\"quantity\":1}]}"
#define OTHER "{\"user\":\"ann\",\"items\":[{\"product_id\":34,\"quantity\":1}]}"
#define BOBS "{\"user\":\"bob\",\"items\":[{\"product_id\":17,\"quantity\":4}]}"
#define BOBS_SHORT_HOLD "{\"user\":\"bob\",\"items\":[{\"product_id\":17,\"quantity\":4}],\"hold_seconds\":5}"

static const struct plan FINE = {.fault = FAULT_NONE};

/* ---- requests ---- */

struct request {
    const struct flow_type *type;
    const struct shape *shape; /* NULL: no body */
    const char *route, *key, *json, *if_none_match, *params[4][2];
    int64_t id;
};

struct asked {
    struct arena *arena;
    struct param params[4];
    struct ask ask;
};

static void ask_init(struct asked *asked, const struct request *request)
{
    *asked = (struct asked){.arena = arena_new(), .ask = {.route = request->route, .request_id = VIEW("r1"), .key = view_of(request->key)}};
    struct ask *ask = &asked->ask;
    ask->ids[0] = request->id;
    ask->if_none_match = view_of(request->if_none_match);
    ask->params = asked->params;
    for (int i = 0; i < 4 && request->params[i][0]; i++)
        asked->params[ask->param_count++] = (struct param){view_of(request->params[i][0]), view_of(request->params[i][1])};
    if (request->json == NULL)
        return;
    struct value *document = ARENA_NEW(asked->arena, struct value);
    struct faults faults;
    faults_init(&faults, asked->arena);
    assert_null(value_read(FORMAT_JSON, asked->arena, view_of(request->json), document));
    void *body = arena_alloc(asked->arena, request->shape->size);
    assert_true(shape_read(request->shape, document, body, asked->arena, &faults));
    ask->document = document;
    ask->body = body;
}

static struct request placing(const char *key, const char *json)
{
    return (struct request){.type = &PLACE_FLOW, .shape = &PLACE_BODY, .route = "/orders", .key = key, .json = json};
}

/* One request under way. */
struct talk {
    struct asked asked;
    struct run run;
};

static void talk_start(struct talk *talk, struct model *model, const struct request *request)
{
    ask_init(&talk->asked, request);
    struct driver *driver = driver_new();
    driver_flow(driver, request->type, &talk->asked.ask);
    run_start(&talk->run, model, driver);
}

static void talk_end(struct talk *talk)
{
    run_late(&talk->run);
    run_end(&talk->run);
    arena_free(talk->asked.arena);
}

static struct seen talk_once(struct model *model, const struct request *request, const struct plan *plan)
{
    struct talk talk;
    talk_start(&talk, model, request);
    run_on(&talk.run, plan);
    struct seen seen = run_seen(&talk.run);
    talk_end(&talk);
    return seen;
}

static struct seen place(struct model *model, const char *key, const char *json, const struct plan *plan)
{
    const struct request request = placing(key, json);
    return talk_once(model, &request, plan);
}

/* A worker dies when it has ${replies} replies. */
static void place_dying(struct model *model, const char *key, const char *json, unsigned replies, bool sent)
{
    const struct plan plan = {.fault = sent ? FAULT_DEATH_SENT : FAULT_DEATH_UNSENT, .at = replies};
    assert_int_equal(place(model, key, json, &plan).status, 0);
}

static void must_place(struct model *model, const char *key, const char *json)
{
    assert_int_equal(place(model, key, json, &FINE).status, 201);
}

/* ---- what stands before ---- */

static void before_nothing(struct model *model)
{
}

static void before_short(struct model *model)
{
    model_product_at(model, LAMP)->on_hand = 0;
}

static void before_one_missing(struct model *model)
{
    model->products[1].id = 98;
}

static void before_held(struct model *model)
{
    place_dying(model, "k", TWO, 2, false);
}

static void before_held_one(struct model *model)
{
    place_dying(model, "k", TWO, 1, false);
}

static void before_placed_unanswered(struct model *model)
{
    place_dying(model, "k", TWO, 2, true);
    assert_int_equal(model->order_count, 1);
}

/* The attempt was aborted by a sweep that could release at one product only. */
static void before_aborted_half_released(struct model *model)
{
    before_held(model);
    model->now += 11000;
    run_child(model, settle_new, CUP, &FINE);
}

static void before_aborted_released(struct model *model)
{
    before_aborted_half_released(model);
    run_child(model, settle_new, LAMP, &FINE);
}

/* Aborted, and everything is still held: the sweeper died behind its question. */
static void before_aborted_held(struct model *model)
{
    before_held(model);
    model->now += 11000;
    run_child(model, settle_new, CUP, &(struct plan){.fault = FAULT_DEATH_UNSENT, .at = 2});
    assert_string_equal(model->keys[0].decision, "aborted");
    assert_int_equal(model_product_at(model, CUP)->held, 2);
}

static void before_placed(struct model *model)
{
    must_place(model, "k", TWO);
    model->now += 1000;
}

static void before_paid(struct model *model)
{
    before_placed(model);
    model_move(model, &model->orders[0], "paid", "paid");
}

static void before_confirmed(struct model *model)
{
    before_paid(model);
    run_child(model, duty_new, model->orders[0].id, &FINE);
}

static void before_cancelled(struct model *model)
{
    before_placed(model);
    model_move(model, &model->orders[0], "cancelled", "none");
}

static void before_cancelled_released(struct model *model)
{
    before_cancelled(model);
    run_child(model, duty_new, model->orders[0].id, &FINE);
}

static void before_fulfilled_consumed(struct model *model)
{
    before_confirmed(model);
    model_move(model, &model->orders[0], "fulfilled", "paid");
    run_child(model, duty_new, model->orders[0].id, &FINE);
}

/* So long ago that the marks are gone: a late repeat takes holds anew. */
static void before_fulfilled_pruned(struct model *model)
{
    before_fulfilled_consumed(model);
    model->now += 3600000;
    run_child(model, settle_new, CUP, &FINE);
    run_child(model, settle_new, LAMP, &FINE);
    assert_null(model_hold_of(model, CUP, model->orders[0].txn));
}

static void before_cancelled_pruned(struct model *model)
{
    before_cancelled_released(model);
    model->now += 3600000;
    run_child(model, settle_new, CUP, &FINE);
    run_child(model, settle_new, LAMP, &FINE);
}

static void before_refused(struct model *model)
{
    before_short(model);
    assert_int_equal(place(model, "k", TWO, &FINE).status, 409);
    model_product_at(model, LAMP)->on_hand = 10;
}

/* Refused, and the worker died before it released. */
static void before_refused_held(struct model *model)
{
    before_short(model);
    place_dying(model, "k", TWO, 3, false);
    assert_string_equal(model->keys[0].decision, "refused");
    assert_int_equal(model_product_at(model, CUP)->held, 2);
}

static void before_key_of_another(struct model *model)
{
    must_place(model, "k", OTHER);
}

/* Settled as aborted by somebody else, and then decided for another request: the order of things that leads to looking the key up. */
static void before_aborted_then_another(struct model *model)
{
    before_aborted_released(model);
    must_place(model, "k", OTHER);
}

static void before_aborted_then_again(struct model *model)
{
    before_aborted_released(model);
    must_place(model, "k", TWO);
}

static void before_aborted_then_refused(struct model *model)
{
    before_aborted_released(model);
    model_product_at(model, LAMP)->on_hand = 0;
    assert_int_equal(place(model, "k", TWO, &FINE).status, 409);
}

static void before_dead_buyer(struct model *model)
{
    place_dying(model, "b", BOBS, 1, false);
    model->now += 11000;
}

static void before_expired_buyer(struct model *model)
{
    must_place(model, "b", BOBS_SHORT_HOLD);
    model->now += 5001; /* its hold may be asked about as soon as its time is over */
}

static void before_reserved_buyer(struct model *model)
{
    must_place(model, "b", BOBS);
    model->now += 11000;
}

static void before_paid_buyer(struct model *model)
{
    must_place(model, "b", BOBS);
    model_move(model, &model->orders[0], "paid", "paid");
    model->now += 11000;
}

static void before_cancelled_buyer(struct model *model)
{
    must_place(model, "b", BOBS);
    model_move(model, &model->orders[0], "cancelled", "none");
    model->now += 11000;
}

/* Several dead holds at once: a look has several steps. */
static void before_dead_buyers(struct model *model)
{
    for (int i = 0; i < 5; i++)
        place_dying(model, arena_printf(model->arena, "b%d", i).at, "{\"user\":\"bob\",\"items\":[{\"product_id\":17,\"quantity\":1}]}", 1, false);
    model->now += 11000;
}

static const struct scene {
    const char *name;
    void (*before)(struct model *model);
    const char *json;
    int status;
    const char *want; /* in the body */
} SCENES[] = {
    {"two products", before_nothing, TWO, 201, "\"total\":24.48,"},
    {"one product", before_nothing, OTHER, 201, "\"total\":2.50,"},
    {"lines merged", before_nothing, "{\"user\":\"ann\",\"items\":[{\"product_id\":17,\"quantity\":2},{\"product_id\":17,\"quantity\":3}]}", 201,
     "\"quantity\":5,"},
    {"merged, and then too many", before_nothing,
     "{\"user\":\"ann\",\"items\":[{\"product_id\":17,\"quantity\":2},{\"product_id\":17,\"quantity\":4}]}", 409, "\"requested\":6,\"available\":5"},
    {"sum of lines too large", before_nothing,
     "{\"user\":\"ann\",\"items\":[{\"product_id\":17,\"quantity\":10000},{\"product_id\":17,\"quantity\":1}]}", 422, "at most"},
    {"total as expected", before_nothing,
     "{\"user\":\"ann\",\"expected_total\":24.48,\"items\":[{\"product_id\":17,\"quantity\":2},{\"product_id\":34,\"quantity\":1}]}", 201, NULL},
    {"total changed", before_nothing,
     "{\"user\":\"ann\",\"expected_total\":24.47,\"items\":[{\"product_id\":17,\"quantity\":2},{\"product_id\":34,\"quantity\":1}]}", 409,
     "total_changed"},
    {"expected total with too many digits", before_nothing,
     "{\"user\":\"ann\",\"expected_total\":24.481,\"items\":[{\"product_id\":17,\"quantity\":2}]}", 422, "/expected_total"},
    {"two currencies", before_nothing, "{\"user\":\"ann\",\"items\":[{\"product_id\":17,\"quantity\":2},{\"product_id\":51,\"quantity\":1}]}", 422,
     "/items/1/product_id"},
    {"short", before_short, TWO, 409, "\"requested\":1,\"available\":0"},
    {"one missing", before_one_missing, TWO, 422, "/items/1/product_id"},
    {"missing and short", before_one_missing, "{\"user\":\"ann\",\"items\":[{\"product_id\":17,\"quantity\":9},{\"product_id\":34,\"quantity\":1}]}",
     422, NULL},
    {"held by a dead worker", before_held, TWO, 201, NULL},
    {"one of two held by a dead worker", before_held_one, TWO, 201, NULL},
    {"placed by a dead worker", before_placed_unanswered, TWO, 201, NULL},
    {"aborted, half released", before_aborted_half_released, TWO, 201, NULL},
    {"aborted, released", before_aborted_released, TWO, 201, NULL},
    {"aborted, held", before_aborted_held, TWO, 201, NULL},
    {"placed", before_placed, TWO, 201, NULL},
    {"paid", before_paid, TWO, 201, "\"state\":\"reserved\""},
    {"confirmed", before_confirmed, TWO, 201, "\"state\":\"reserved\""},
    {"cancelled", before_cancelled, TWO, 201, "\"state\":\"reserved\""},
    {"cancelled, released", before_cancelled_released, TWO, 201, "\"state\":\"reserved\""},
    {"cancelled, pruned", before_cancelled_pruned, TWO, 201, "\"state\":\"reserved\""},
    {"fulfilled, consumed", before_fulfilled_consumed, TWO, 201, "\"state\":\"reserved\""},
    {"fulfilled, pruned", before_fulfilled_pruned, TWO, 201, "\"state\":\"reserved\""},
    {"refused", before_refused, TWO, 409, "insufficient_stock"},
    {"refused, held", before_refused_held, TWO, 409, "insufficient_stock"},
    {"key of another request", before_key_of_another, TWO, 422, "idempotency_key_reused"},
    {"aborted, key of another request", before_aborted_then_another, TWO, 422, "idempotency_key_reused"},
    {"aborted, then placed", before_aborted_then_again, TWO, 201, NULL},
    {"aborted, then refused", before_aborted_then_refused, TWO, 409, "insufficient_stock"},
    {"short by a dead buyer's hold", before_dead_buyer, TWO, 201, NULL},
    {"short by many dead holds", before_dead_buyers, TWO, 201, NULL},
    {"short by an expired order", before_expired_buyer, TWO, 201, NULL},
    {"short by a reserved order", before_reserved_buyer, TWO, 409, "\"requested\":2,\"available\":1"},
    {"short by a paid order", before_paid_buyer, TWO, 409, "\"requested\":2,\"available\":1"},
    {"short by a cancelled order", before_cancelled_buyer, TWO, 201, NULL},
};
#define SCENE_COUNT (sizeof(SCENES) / sizeof(SCENES[0]))

static void scene_set(struct model *model, const struct scene *scene)
{
    model_init(model);
    model_product(model, CUP, 5, 1099, "USD");
    model_product(model, LAMP, 10, 250, "USD");
    model_product(model, YEN, 10, 500, "JPY");
    scene->before(model);
    assert_string_equal(model->wrong, "");
}

/* ---- what must hold ---- */

static const struct model_order *order_of_request(struct model *model, const struct asked *asked)
{
    struct txn_key key = txn_key(model->arena, &asked->ask,
                                 arena_printf(model->arena, "POST /orders %.*s", VIEW_ARG(((const struct place_body *)asked->ask.body)->user)));
    const struct model_order *found = NULL;
    for (size_t i = 0; i < model->order_count; i++) {
        if (strstr(model->orders[i].txn, key.hash) != model->orders[i].txn || strstr(model->orders[i].txn, key.fingerprint) == NULL)
            continue;
        assert_null(found);
        found = &model->orders[i];
    }
    return found;
}

/* A client's answer against what the shards hold. */
static void check_answer(struct model *model, const struct asked *asked, const struct seen *seen)
{
    const struct model_order *order = order_of_request(model, asked);
    char id[32];
    if (seen->status == 0 || seen->status == 503)
        return;
    if (order && seen->status != 201)
        fail_msg("answered %d although order %lld was placed: %s", seen->status, (long long)order->id, seen->body);
    if (order == NULL && seen->status == 201)
        fail_msg("answered 201 and there is no order: %s", seen->body);
    if (order == NULL)
        return;
    snprintf(id, sizeof(id), "{\"id\":%lld,", (long long)order->id);
    assert_memory_equal(seen->body, id, strlen(id));
}

/* What was once decided stays so, byte by byte. A 422 is no decision: the request may become acceptable. */
static void check_again(const struct seen *before, const struct seen *after)
{
    if (before->status == 0 || before->status == 503 || before->status == 422)
        return;
    assert_int_equal(after->status, before->status);
    assert_string_equal(after->body, before->body);
}

static struct seen again_until_decided(struct model *model, const struct request *request)
{
    struct seen seen = {503, ""};
    for (int i = 0; i < 3 && seen.status == 503; i++)
        seen = talk_once(model, request, &FINE);
    return seen;
}

static bool told_that_nothing_was_done(const struct seen *seen)
{
    return seen->status == 503 && strstr(seen->body, "shard_unavailable");
}

/* One scene with one fault. Returns whether the conversation was long enough for it. */
static bool scene_with(const struct scene *scene, const struct plan *plan)
{
    const struct request request = placing("k", scene->json);
    struct model model;
    struct talk talk;
    scene_set(&model, scene);
    size_t before = model.order_count;
    talk_start(&talk, &model, &request);
    bool reached = run_on(&talk.run, plan);
    struct seen first = run_seen(&talk.run);
    if (told_that_nothing_was_done(&first))
        assert_int_equal(model.order_count, before);
    if (plan->fault != FAULT_LATER)
        run_late(&talk.run);
    if (plan->fault == FAULT_NONE) {
        assert_int_equal(first.status, scene->status);
        if (scene->want && strstr(first.body, scene->want) == NULL)
            fail_msg("%s is not in %s", scene->want, first.body);
    }
    check_answer(&model, &talk.asked, &first);
    struct seen second = again_until_decided(&model, &request);
    assert_int_equal(second.status, scene->status);
    check_answer(&model, &talk.asked, &second);
    check_again(&first, &second);
    run_late(&talk.run);
    struct seen third = again_until_decided(&model, &request);
    check_again(&second, &third);
    check_answer(&model, &talk.asked, &third);
    run_calm(&model);
    talk_end(&talk);
    model_free(&model);
    return reached;
}

static void test_place_every_fault(void **state)
{
    unsigned runs = 0;
    for (size_t i = 0; i < SCENE_COUNT; i++) {
        scene_with(&SCENES[i], &FINE);
        for (int fault = FAULT_NOT_SENT; fault < FAULT_LIE; fault++) {
            struct plan plan = {.fault = (enum fault_kind)fault};
            print_message("\n%s, %s:", SCENES[i].name, FAULT_NAMES[fault]);
            do
                print_message(" %u", plan.at);
            while (scene_with(&SCENES[i], &plan) && ++plan.at && ++runs);
        }
    }
    print_message("\n%u conversations with a fault\n", runs);
}

static bool lied_to(struct model *model, const struct request *request, const struct plan *plan)
{
    struct talk talk;
    talk_start(&talk, model, request);
    bool reached = run_on(&talk.run, plan);
    assert_int_not_equal(run_seen(&talk.run).status, 0);
    talk_end(&talk);
    return reached;
}

static bool place_lied(const struct scene *scene, const struct plan *plan)
{
    const struct request request = placing("k", scene->json);
    struct model model;
    scene_set(&model, scene);
    bool reached = lied_to(&model, &request, plan);
    model_free(&model);
    return reached;
}

/* No shard says such things; a flow must still come to an end, once, and say nothing wild. */
static void test_place_every_lie(void **state)
{
    for (size_t i = 0; i < SCENE_COUNT; i++)
        for (struct plan plan = {.fault = FAULT_LIE}; plan.lie < LIES; plan.lie++) {
            print_message("\n%s, lie %d:", SCENES[i].name, plan.lie);
            plan.at = 0;
            do
                print_message(" %u", plan.at);
            while (place_lied(&SCENES[i], &plan) && ++plan.at);
        }
    print_message("\n");
}

/* ---- several at once ---- */

#define RIVALS 4
#define SEEDS 1500

static const struct request *rival_request(int rival)
{
    static struct request requests[RIVALS];
    requests[0] = requests[1] = placing("k", TWO);
    requests[2] = placing("k2", "{\"user\":\"cat\",\"items\":[{\"product_id\":17,\"quantity\":4},{\"product_id\":34,\"quantity\":9}]}");
    requests[3] = placing("k", "{\"user\":\"ann\",\"items\":[{\"product_id\":34,\"quantity\":9}]}");
    return &requests[rival];
}

static unsigned dice(unsigned *seed, unsigned sides)
{
    *seed = *seed * 1103515245U + 12345U;
    return (*seed >> 16) % sides;
}

static void settle_somewhere(struct model *model, unsigned *seed)
{
    const struct plan plan = {.fault = (enum fault_kind)dice(seed, FAULT_LIE), .at = dice(seed, 6)};
    model->now += dice(seed, 3) * 6000;
    if (dice(seed, 2) || model->order_count == 0)
        run_child(model, settle_new, dice(seed, 2) ? CUP : LAMP, &plan);
    else
        run_child(model, duty_new, model->orders[dice(seed, (unsigned)model->order_count)].id, &plan);
}

static void move_somewhere(struct model *model, unsigned *seed)
{
    struct model_order *order = model->order_count ? &model->orders[dice(seed, (unsigned)model->order_count)] : NULL;
    if (order && strcmp(order->state, "reserved") == 0)
        model_move(model, order, dice(seed, 2) ? "paid" : "cancelled", "none");
    else if (order && strcmp(order->state, "paid") == 0)
        model_move(model, order, dice(seed, 2) ? "fulfilled" : "cancelled", "none");
}

/* Two of one key, another request with the same key, and another buyer: not enough units for all. Their replies come in any order, some spoilt. */
static void rivals_run(struct model *model, struct talk talks[RIVALS], unsigned *seed)
{
    unsigned alive = RIVALS;
    while (alive) {
        unsigned which = dice(seed, RIVALS), event = dice(seed, 60);
        struct run *run = &talks[which].run;
        if (event == 0)
            settle_somewhere(model, seed);
        if (event == 1)
            move_somewhere(model, seed);
        if (!run_over(run))
            run_step(run, dice(seed, (unsigned)run->pending_count), dice(seed, 12) ? FAULT_NONE : (enum fault_kind)(1 + dice(seed, FAULT_LIE - 1)),
                     0);
        alive = 0;
        for (int i = 0; i < RIVALS; i++)
            alive += !run_over(&talks[i].run);
    }
}

/* Everybody asks once more. Two requests with one key cannot both have an order. */
static void rivals_again(struct model *model, struct talk talks[RIVALS], const struct seen first[RIVALS])
{
    for (int i = 0; i < RIVALS; i++) {
        struct seen second = again_until_decided(model, rival_request(i));
        assert_int_not_equal(second.status, 503);
        check_answer(model, &talks[i].asked, &second);
        check_again(&first[i], &second);
    }
    assert_false(order_of_request(model, &talks[0].asked) && order_of_request(model, &talks[3].asked));
}

static void test_place_rivals(void **state)
{
    static const struct scene scene = {.before = before_nothing};
    for (unsigned n = 1; n <= SEEDS; n++) {
        struct model model;
        struct talk talks[RIVALS];
        struct seen first[RIVALS];
        unsigned seed = n;
        print_message(" %u", n);
        scene_set(&model, &scene);
        for (int i = 0; i < RIVALS; i++)
            talk_start(&talks[i], &model, rival_request(i));
        rivals_run(&model, talks, &seed);
        for (int i = 0; i < RIVALS; i++) {
            first[i] = run_seen(&talks[i].run);
            check_answer(&model, &talks[i].asked, &first[i]);
            run_late(&talks[i].run);
        }
        rivals_again(&model, talks, first);
        for (int i = 0; i < RIVALS; i++)
            talk_end(&talks[i]);
        run_calm(&model);
        model_free(&model);
    }
    print_message("\n");
}

/* Somebody else settles the holds again and again: the flow gives up and says that it does not know. */
static void test_place_gives_up(void **state)
{
    const struct request request = placing("k", OTHER);
    struct model model;
    struct talk talk;
    scene_set(&model, &SCENES[0]);
    talk_start(&talk, &model, &request);
    while (!run_over(&talk.run)) {
        const struct call *call = talk.run.pending[0];
        if (call->function == &FN_PLACE) {
            model.now += 11000;
            run_child(&model, settle_new, LAMP, &FINE);
        }
        run_step(&talk.run, 0, FAULT_NONE, 0);
    }
    struct seen seen = run_seen(&talk.run);
    assert_int_equal(seen.status, 503);
    assert_non_null(strstr(seen.body, "outcome_unknown"));
    assert_int_equal(talk.run.placed_count, 5);
    talk_end(&talk);
    assert_int_equal(place(&model, "k", OTHER, &FINE).status, 201);
    run_calm(&model);
    model_free(&model);
}

/* The shard with the order that holds the units does not answer: "we do not know" is a different answer from "no". */
static void test_place_unsettled(void **state)
{
    for (int fault = FAULT_NOT_SENT; fault <= FAULT_LOST_AFTER; fault++) {
        const struct request request = placing("k", "{\"user\":\"ann\",\"items\":[{\"product_id\":17,\"quantity\":2}]}");
        struct model model;
        struct talk talk;
        scene_set(&model, &SCENES[0]);
        before_dead_buyer(&model);
        talk_start(&talk, &model, &request);
        while (!run_over(&talk.run))
            run_step(&talk.run, 0, talk.run.pending[0]->function == &FN_SETTLE ? (enum fault_kind)fault : FAULT_NONE, 0);
        assert_int_equal(run_seen(&talk.run).status, 503);
        talk_end(&talk);
        assert_int_equal(talk_once(&model, &request, &FINE).status, 201);
        model_free(&model);
    }
}

/* A late repeat takes holds that nobody needs any more, and puts them back itself. */
static void test_place_stray(void **state)
{
    void (*const befores[])(struct model * model) = {before_fulfilled_pruned, before_cancelled_pruned};
    for (size_t i = 0; i < sizeof(befores) / sizeof(befores[0]); i++) {
        struct model model;
        scene_set(&model, &(struct scene){.before = befores[i]});
        must_place(&model, "k", TWO);
        assert_int_equal(model_product_at(&model, CUP)->held, 0);
        assert_int_equal(model_product_at(&model, LAMP)->held, 0);
        model_free(&model);
    }
}

/* Between the question and the look-up the key's record was lost and an attempt aborted again: nothing is decided. */
static void test_place_look_up_aborted(void **state)
{
    const struct request request = placing("k", TWO);
    struct model model;
    struct talk talk;
    scene_set(&model, &SCENES[0]);
    before_aborted_then_refused(&model);
    model_product_at(&model, LAMP)->on_hand = 10;
    talk_start(&talk, &model, &request);
    while (!run_over(&talk.run)) {
        const struct call *call = talk.run.pending[0];
        if (call->function == NULL && model.keys[0].status) {
            snprintf(model.keys[0].decision, sizeof(model.keys[0].decision), "aborted");
            model.keys[0].status = 0;
        }
        run_step(&talk.run, 0, FAULT_NONE, 0);
    }
    assert_int_equal(run_seen(&talk.run).status, 201);
    talk_end(&talk);
    run_calm(&model);
    model_free(&model);
}

/* ---- cancel and fulfil ---- */

#define CANCEL (&CANCEL_FLOW)
#define FULFIL (&FULFIL_FLOW)

static void before_open_payment(struct model *model)
{
    before_placed(model);
    model->orders[0].open_payment = 33;
}

static struct request moving(const struct flow_type *type, const char *key, const char *json, int64_t id)
{
    bool cancel = type == CANCEL;
    return (struct request){.type = type,
                            .shape = cancel ? &CANCEL_BODY : &FULFIL_BODY,
                            .route = cancel ? "/orders/{id}/cancel" : "/orders/{id}/fulfil",
                            .key = key,
                            .json = json,
                            .id = id};
}

static int64_t first_order(const struct model *model)
{
    return model->order_count ? model->orders[0].id : 16 + 5;
}

static void before_cancelled_by_key(struct model *model)
{
    before_placed(model);
    const struct request request = moving(CANCEL, "m", NULL, first_order(model));
    assert_int_equal(talk_once(model, &request, &FINE).status, 200);
}

static void before_key_of_another_move(struct model *model)
{
    before_placed(model);
    const struct request request = moving(CANCEL, "m", "{\"reason\":\"another\"}", first_order(model));
    assert_int_equal(talk_once(model, &request, &FINE).status, 200);
}

static const struct move_scene {
    const char *name;
    const struct flow_type *type;
    void (*before)(struct model *model);
    const char *json;
    int status;
    const char *want;
    bool finishes; /* what the move means for the stock is done when it is answered */
} MOVES[] = {
    {"cancel reserved", CANCEL, before_placed, NULL, 200, "\"state\":\"cancelled\"", true},
    {"cancel with a reason", CANCEL, before_placed, "{\"reason\":\"changed my mind\"}", 200, "\"state\":\"cancelled\"", true},
    {"cancel paid", CANCEL, before_paid, NULL, 200, "\"payment_status\":\"refund_due\"", true},
    {"cancel confirmed", CANCEL, before_confirmed, NULL, 200, "\"payment_status\":\"refund_due\"", true},
    {"cancel cancelled", CANCEL, before_cancelled, NULL, 200, "\"state\":\"cancelled\"", false},
    {"cancel again", CANCEL, before_cancelled_by_key, NULL, 200, "\"state\":\"cancelled\"", false},
    {"cancel with a used key", CANCEL, before_key_of_another_move, NULL, 422, "idempotency_key_reused", false},
    {"cancel fulfilled", CANCEL, before_fulfilled_consumed, NULL, 409, "\"state\":\"fulfilled\"", false},
    {"cancel while a payment is open", CANCEL, before_open_payment, NULL, 409, "\"payment_id\":33", false},
    {"cancel nothing", CANCEL, before_nothing, NULL, 404, "not_found", false},
    {"fulfil paid", FULFIL, before_paid, NULL, 200, "\"state\":\"fulfilled\"", true},
    {"fulfil confirmed", FULFIL, before_confirmed, NULL, 200, "\"state\":\"fulfilled\"", true},
    {"fulfil with tracking", FULFIL, before_confirmed, "{\"tracking\":\"T1\"}", 200, "\"tracking\":\"T1\"", true},
    {"fulfil fulfilled", FULFIL, before_fulfilled_consumed, NULL, 200, "\"state\":\"fulfilled\"", false},
    {"fulfil reserved", FULFIL, before_placed, NULL, 409, "illegal_transition", false},
    {"fulfil cancelled", FULFIL, before_cancelled, NULL, 409, "illegal_transition", false},
    {"fulfil nothing", FULFIL, before_nothing, NULL, 404, "not_found", false},
};
#define MOVE_COUNT (sizeof(MOVES) / sizeof(MOVES[0]))

static void move_set(struct model *model, const struct move_scene *move)
{
    scene_set(model, &(struct scene){.before = move->before});
}

static bool move_with(const struct move_scene *move, const struct plan *plan)
{
    struct model model;
    struct talk talk;
    move_set(&model, move);
    const struct request request = moving(move->type, "m", move->json, first_order(&model));
    int64_t before = model.order_count ? model.orders[0].version : 0;
    talk_start(&talk, &model, &request);
    bool reached = run_on(&talk.run, plan);
    struct seen first = run_seen(&talk.run);
    if (told_that_nothing_was_done(&first) && model.order_count)
        assert_int_equal(model.orders[0].version, before);
    if (plan->fault != FAULT_LATER)
        run_late(&talk.run);
    if (first.status != 0 && first.status != 503)
        assert_int_equal(first.status, move->status);
    if (plan->fault == FAULT_NONE && move->finishes)
        assert_int_equal(model.orders[0].due, 0);
    struct seen second = again_until_decided(&model, &request);
    assert_int_equal(second.status, move->status);
    if (strstr(second.body, move->want) == NULL)
        fail_msg("%s is not in %s", move->want, second.body);
    check_again(&first, &second);
    run_late(&talk.run);
    struct seen third = again_until_decided(&model, &request);
    check_again(&second, &third);
    run_calm(&model);
    for (size_t i = 0; i < model.order_count; i++)
        assert_true(model.orders[i].due == 0 || strcmp(model.orders[i].state, "reserved") == 0);
    talk_end(&talk);
    model_free(&model);
    return reached;
}

static void test_move_every_fault(void **state)
{
    for (size_t i = 0; i < MOVE_COUNT; i++) {
        move_with(&MOVES[i], &FINE);
        for (int fault = FAULT_NOT_SENT; fault < FAULT_LIE; fault++) {
            struct plan plan = {.fault = (enum fault_kind)fault};
            print_message("\n%s, %s:", MOVES[i].name, FAULT_NAMES[fault]);
            do
                print_message(" %u", plan.at);
            while (move_with(&MOVES[i], &plan) && ++plan.at);
        }
    }
    print_message("\n");
}

static bool move_lied(const struct move_scene *move, const struct plan *plan)
{
    struct model model;
    move_set(&model, move);
    const struct request request = moving(move->type, "m", move->json, first_order(&model));
    bool reached = lied_to(&model, &request, plan);
    model_free(&model);
    return reached;
}

static void test_move_every_lie(void **state)
{
    for (size_t i = 0; i < MOVE_COUNT; i++)
        for (struct plan plan = {.fault = FAULT_LIE}; plan.lie < LIES; plan.lie++) {
            print_message("\n%s, lie %d:", MOVES[i].name, plan.lie);
            plan.at = 0;
            do
                print_message(" %u", plan.at);
            while (move_lied(&MOVES[i], &plan) && ++plan.at);
        }
    print_message("\n");
}

/* ---- reading ---- */

static const struct read_scene {
    const char *name;
    const struct flow_type *type;
    const char *route;
    void (*before)(struct model *model);
    const char *if_none_match;
    int status;
    const char *want;
} READS[] = {
    {"get reserved", &ORDER_GET_FLOW, "/orders/{id}", before_placed, NULL, 200,
     "\"holds\":[{\"product_id\":17,\"quantity\":2,\"phase\":\"held\"},{\"product_id\":34,\"quantity\":1,\"phase\":\"held\"}]"},
    {"get confirmed", &ORDER_GET_FLOW, "/orders/{id}", before_confirmed, NULL, 200, "\"phase\":\"committed\"},{"},
    {"get with a payment", &ORDER_GET_FLOW, "/orders/{id}", before_open_payment, NULL, 200,
     "\"payments\":[{\"id\":33,\"status\":\"processing\",\"amount\":1.00,\"captured\":0.00,\"refunded\":0.00}]"},
    {"get fulfilled, pruned", &ORDER_GET_FLOW, "/orders/{id}", before_fulfilled_pruned, NULL, 200, "\"phase\":null},{"},
    {"get known", &ORDER_GET_FLOW, "/orders/{id}", before_placed, "\"v1\"", 304, ""},
    {"get known before", &ORDER_GET_FLOW, "/orders/{id}", before_paid, "\"v1\"", 200, "\"version\":2"},
    {"get nothing", &ORDER_GET_FLOW, "/orders/{id}", before_nothing, NULL, 404, "not_found"},
    {"history", &ORDER_HISTORY_FLOW, "/orders/{id}/events", before_fulfilled_consumed, NULL, 200, "\"from\":\"paid\",\"to\":\"fulfilled\""},
    {"history of nothing", &ORDER_HISTORY_FLOW, "/orders/{id}/events", before_nothing, NULL, 404, "not_found"},
};

static bool read_with(const struct read_scene *scene, const struct plan *plan)
{
    struct model model;
    scene_set(&model, &(struct scene){.before = scene->before});
    const struct request request = {.type = scene->type, .route = scene->route, .if_none_match = scene->if_none_match, .id = first_order(&model)};
    struct talk talk;
    talk_start(&talk, &model, &request);
    bool reached = run_on(&talk.run, plan);
    struct seen seen = run_seen(&talk.run);
    bool dead = plan->fault == FAULT_DEATH_SENT || plan->fault == FAULT_DEATH_UNSENT;
    assert_true(dead || seen.status != 0);
    if (plan->fault == FAULT_NONE) {
        assert_int_equal(seen.status, scene->status);
        assert_non_null(strstr(seen.body, scene->want));
    } else if (plan->fault != FAULT_LIE && seen.status != 0 && seen.status != 503) {
        assert_int_equal(seen.status, scene->status); /* a hold that could not be read is shown as null */
    }
    talk_end(&talk);
    model_free(&model);
    return reached;
}

static void test_read_every_fault(void **state)
{
    for (size_t i = 0; i < sizeof(READS) / sizeof(READS[0]); i++) {
        print_message("%s\n", READS[i].name);
        read_with(&READS[i], &FINE);
        for (int fault = FAULT_NOT_SENT; fault < FAULTS; fault++)
            for (int lie = 0; lie < (fault == FAULT_LIE ? LIES : 1); lie++)
                for (unsigned at = 0; read_with(&READS[i], &(struct plan){.fault = (enum fault_kind)fault, .at = at, .lie = lie}); at++)
                    ;
    }
}

/* ---- lists and the feed: one answer of each shard ---- */

static const struct call_kind {
    const char *name, *words; /* words NULL: not sent or unknown */
    enum reply_kind kind;
} ANSWERS[] = {
    {"nothing", "0 0 0 ''", REPLY_OK},  {"not sent", NULL, REPLY_NOT_SENT}, {"unknown", NULL, REPLY_UNKNOWN},
    {"a refusal", "10", REPLY_REFUSED}, {"no list", "0", REPLY_OK},
};
#define ANSWER_COUNT (sizeof(ANSWERS) / sizeof(ANSWERS[0]))
#define DRIVER_SHARD_COUNT 3

static const struct answer *spread(struct talk *talk, const struct request *request, const char *fine, size_t shard, const struct call_kind *kind)
{
    ask_init(&talk->asked, request);
    struct driver *driver = talk->run.driver = driver_start(request->type, &talk->asked.ask);
    struct call *call;
    for (size_t i = 0; (call = driver_next_call(driver)); i++)
        if (i == shard && kind->words == NULL)
            driver_reply_kind(driver, call, kind->kind);
        else
            driver_reply(driver, call, i == shard ? kind->words : fine);
    return driver_finish(driver);
}

static void test_list(void **state)
{
    static const struct {
        const char *params[4][2];
        int status;
    } cases[] = {
        {{{0}}, 200},
        {{{"state", "paid"}}, 200},
        {{{"state", "paid"}, {"payment_status", "refund_due"}, {"limit", "1000"}}, 200},
        {{{"user", "ann"}}, 200},
        {{{"state", "Paid"}}, 400},
        {{{"payment_status", ""}}, 400},
        {{{"limit", "0"}}, 400},
        {{{"limit", "1001"}}, 400},
        {{{"cursor", "garbage"}}, 400},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        for (size_t shard = 0; shard < DRIVER_SHARD_COUNT; shard++)
            for (size_t kind = 0; kind < ANSWER_COUNT; kind++) {
                struct request request = {.type = &ORDER_LIST_FLOW, .route = "/orders"};
                struct talk talk;
                memcpy(request.params, cases[i].params, sizeof(request.params));
                const struct answer *answer = spread(&talk, &request, "0 0 0 ''", shard, &ANSWERS[kind]);
                /* A page with a hole is no page; one buyer's list has one shard, which is the first asked. */
                bool spoilt = kind > 0 && cases[i].status == 200 && (shard == 0 || view_equal(ask_param(&talk.asked.ask, "user"), VIEW("")));
                int bad = ANSWERS[kind].kind == REPLY_NOT_SENT || ANSWERS[kind].kind == REPLY_UNKNOWN ? 503 : 500;
                assert_int_equal(answer->status, spoilt ? bad : cases[i].status);
                driver_free(talk.run.driver);
                arena_free(talk.asked.arena);
            }
}

#define EVENT(p, ms, order, v) "'" p "' '" ms "-0' '" order "' '' '" v "' '' 'reserved' 'none' 'place' 'r1'"

/* A shard that is away leaves no hole: the cursor keeps its place there, and what it has comes with the next page. */
static void test_feed(void **state)
{
    for (size_t shard = 0; shard < DRIVER_SHARD_COUNT; shard++)
        for (size_t kind = 1; kind < 4; kind++) {
            const struct request request = {.type = &EVENTS_FLOW, .route = "/events", .params = {{"limit", "10"}}};
            struct talk talk;
            const struct answer *answer = spread(&talk, &request, "0 2000 [" EVENT("1", "1000", "17", "1") "]", shard, &ANSWERS[kind]);
            assert_int_equal(answer->status, 200);
            assert_non_null(strstr(driver_body(talk.run.driver), "\"order_id\":17,"));
            char after[128];
            const char *link = driver_header(talk.run.driver, "Link");
            assert_int_equal(sscanf(link, "</events?after=%127[0-9.]&", after), 1);
            driver_free(talk.run.driver);
            arena_free(talk.asked.arena);

            const struct request next = {.type = &EVENTS_FLOW, .route = "/events", .params = {{"after", after}}};
            ask_init(&talk.asked, &next);
            struct driver *driver = driver_start(next.type, &talk.asked.ask);
            for (size_t i = 0; i < DRIVER_SHARD_COUNT; i++) {
                struct call *call = driver_next_call(driver);
                assert_string_equal(driver_part(driver, call, 1), i == shard ? "0" : "2000");
                driver_reply(driver, call, "0 3000");
            }
            assert_int_equal(driver_finish(driver)->status, 200);
            driver_free(driver);
            arena_free(talk.asked.arena);
        }
}

static void test_feed_parameters(void **state)
{
    static const char *const bad[][2] = {{"limit", "0"},
                                         {"limit", "1001"},
                                         {"limit", ""},
                                         {"after", ""},
                                         {"after", "1.2.3"},
                                         {"after", "0.0.0.0.1"},
                                         {"after", "9223372036854775807.1.1.1.1"}};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        const struct request request = {.type = &EVENTS_FLOW, .route = "/events", .params = {{bad[i][0], bad[i][1]}}};
        struct talk talk;
        assert_int_equal(spread(&talk, &request, "0 1", 0, &ANSWERS[0])->status, 400);
        driver_free(talk.run.driver);
        arena_free(talk.asked.arena);
    }
}

/* Nobody answered: then there is no feed. */
static void test_feed_all_away(void **state)
{
    const struct request request = {.type = &EVENTS_FLOW, .route = "/events"};
    struct asked asked;
    ask_init(&asked, &request);
    struct driver *driver = driver_start(request.type, &asked.ask);
    struct call *call;
    while ((call = driver_next_call(driver)))
        driver_reply_kind(driver, call, REPLY_UNKNOWN);
    assert_int_equal(driver_finish(driver)->status, 503);
    driver_free(driver);
    arena_free(asked.arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_place_every_fault),
        cmocka_unit_test(test_place_every_lie),
        cmocka_unit_test(test_place_rivals),
        cmocka_unit_test(test_place_gives_up),
        cmocka_unit_test(test_place_unsettled),
        cmocka_unit_test(test_place_stray),
        cmocka_unit_test(test_place_look_up_aborted),
        cmocka_unit_test(test_move_every_fault),
        cmocka_unit_test(test_move_every_lie),
        cmocka_unit_test(test_read_every_fault),
        cmocka_unit_test(test_list),
        cmocka_unit_test(test_feed),
        cmocka_unit_test(test_feed_parameters),
        cmocka_unit_test(test_feed_all_away),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
