#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "audit.h"
#include "duty.h"
#include "functions.h"
#include "records.h"
#include "settle.h"
#include "sweep.h"

#include "flow_driver.h"
#include "shop_model.h"
#include "shop_run.h"

/*
 * What finishes other flows' work: settling holds, duties, sweeps, and the audit. Each with every reply spoilt in every way (shop_run.h). Whatever
 * happens: no fence is jumped (shop_model judges), "complete" is said only of what is done, and once the shards answer again everything is finished.
 */
#define CUP 17
#define LAMP 34
#define SHARDS 3 /* of the driver's topology */

/* Behind a younger hold the audit looks for no order. */
#define AUDIT_PATIENCE_MS 121000

static const struct plan FINE = {.fault = FAULT_NONE};

/* ---- a store with something to do ---- */

static const char *txn_of(struct model *model, int number)
{
    return arena_printf(model->arena, "%032x.00000000f00df00d.1", (unsigned)number).at;
}

static void take_hold(struct model *model, int number, int64_t product, int64_t quantity, unsigned order_partition)
{
    struct call *call = call_function(model->arena, &FN_TRY, (unsigned)(product % model->partitions));
    call_keyf(call, "stock:{%u}:%lld", call->partition, (long long)product);
    call_arg_int(call, call->partition);
    call_arg_int(call, product);
    call_arg(call, view_of(txn_of(model, number)));
    call_arg_int(call, quantity);
    call_arg_int(call, order_partition);
    call_arg_int(call, 10000);
    call_arg_int(call, 0);
    model_act(model, call);
}

static struct view document(struct model *model, int64_t cups, int64_t lamps)
{
    struct order_line *lines = ARENA_ARRAY(model->arena, struct order_line, 2);
    size_t count = 0;
    if (cups)
        lines[count++] = (struct order_line){CUP, cups, 1099, 1, VIEW("Cup")};
    if (lamps)
        lines[count++] = (struct order_line){LAMP, lamps, 250, 1, VIEW("Lamp")};
    const struct order_doc doc = {.schema = SCHEMA, .lines = {lines, count}};
    return record_store(&ORDER_DOC, model->arena, &doc);
}

/* An order as placing leaves it. */
static struct model_order *place(struct model *model, int number, int64_t cups, int64_t lamps, int64_t hold_ms)
{
    const char *txn = txn_of(model, number);
    unsigned partition = (unsigned)number % model->partitions;
    if (cups)
        take_hold(model, number, CUP, cups, partition);
    if (lamps)
        take_hold(model, number, LAMP, lamps, partition);
    struct call *call = call_function(model->arena, &FN_PLACE, partition);
    call_keyf(call, "idem:{%u}:%.32s", partition, txn);
    call_arg_int(call, partition);
    call_arg(call, VIEW("00000000f00df00d"));
    call_arg_int(call, 1);
    call_arg(call, view_of(txn));
    call_arg(call, VIEW("ann"));
    call_arg_int(call, cups * 1099 + lamps * 250);
    call_arg(call, VIEW("USD"));
    call_arg_int(call, hold_ms);
    call_arg(call, document(model, cups, lamps));
    call_arg(call, VIEW("r1"));
    model_act(model, call);
    return &model->orders[model->order_count - 1];
}

static void store_init(struct model *model)
{
    model_init(model);
    model_product(model, CUP, 20, 1099, "USD");
    model_product(model, LAMP, 20, 250, "USD");
}

static void none(struct model *model)
{
}

static void dead(struct model *model)
{
    take_hold(model, 1, CUP, 2, 1);
    model->now += 11000;
}

static void young(struct model *model)
{
    take_hold(model, 1, CUP, 2, 1);
    model->now += 9000;
}

static void reserved(struct model *model)
{
    place(model, 1, 2, 1, 900000);
    model->now += 11000;
}

static void over(struct model *model)
{
    place(model, 1, 2, 1, 5000);
    model->now += 11000;
}

static void moved_to(struct model *model, const char *state, const char *payment_status)
{
    struct model_order *order = place(model, 1, 2, 1, 900000);
    model->now += 11000;
    model_move(model, order, state, payment_status);
}

static void paid(struct model *model)
{
    moved_to(model, "paid", "paid");
}

static void cancelled(struct model *model)
{
    moved_to(model, "cancelled", "none");
}

static void expired(struct model *model)
{
    moved_to(model, "expired", "none");
}

static void fulfilled(struct model *model)
{
    moved_to(model, "paid", "paid");
    model_move(model, &model->orders[0], "fulfilled", "paid");
}

static void confirmed(struct model *model)
{
    paid(model);
    run_child(model, duty_new, model->orders[0].id, &FINE);
}

static void cancelled_after_confirm(struct model *model)
{
    confirmed(model);
    model_move(model, &model->orders[0], "cancelled", "refund_due");
}

static void fulfilled_after_confirm(struct model *model)
{
    confirmed(model);
    model_move(model, &model->orders[0], "fulfilled", "paid");
}

/* One of each, so that a look has many steps and a sweep many children. */
static void many(struct model *model)
{
    take_hold(model, 1, CUP, 1, 1);
    take_hold(model, 2, LAMP, 1, 2);
    place(model, 3, 1, 1, 900000);
    place(model, 4, 2, 0, 5000);
    place(model, 5, 0, 3, 6000);
    model_move(model, place(model, 6, 1, 1, 900000), "paid", "paid");
    model_move(model, place(model, 7, 1, 1, 900000), "cancelled", "none");
    model->now += 11000;
    take_hold(model, 8, CUP, 1, 8);
}

/* Orders that are kept together. */
static void several_reserved(struct model *model)
{
    for (int number = 1; number <= 4; number++)
        place(model, number, 1, 0, 900000);
    model->now += 11000;
}

static const struct scene {
    const char *name;
    void (*before)(struct model *model);
} SCENES[] = {
    {"nothing", none},
    {"a dead worker's hold", dead},
    {"a young hold", young},
    {"reserved", reserved},
    {"its time is over", over},
    {"paid", paid},
    {"cancelled", cancelled},
    {"expired", expired},
    {"fulfilled before it was confirmed", fulfilled},
    {"confirmed", confirmed},
    {"cancelled after it was confirmed", cancelled_after_confirm},
    {"fulfilled after it was confirmed", fulfilled_after_confirm},
    {"many", many},
};
#define SCENE_COUNT (sizeof(SCENES) / sizeof(SCENES[0]))

static void scene_set(struct model *model, const struct scene *scene)
{
    store_init(model);
    scene->before(model);
    assert_string_equal(model->wrong, "");
}

/* A scene with every fault at every reply. ${with} returns whether the conversation was long enough for it. */
static void every_fault_in(const struct scene *scene, bool (*with)(const struct scene *scene, const struct plan *plan))
{
    with(scene, &FINE);
    for (struct plan plan = {.fault = FAULT_NOT_SENT}; plan.fault < FAULTS; plan.fault++)
        for (plan.lie = 0; plan.lie < (plan.fault == FAULT_LIE ? LIES : 1); plan.lie++) {
            print_message("\n%s, %s:", scene->name, FAULT_NAMES[plan.fault]);
            plan.at = 0;
            do
                print_message(" %u", plan.at);
            while (with(scene, &plan) && ++plan.at);
        }
    print_message("\n");
}

static void every_fault(bool (*with)(const struct scene *scene, const struct plan *plan))
{
    for (size_t i = 0; i < SCENE_COUNT; i++)
        every_fault_in(&SCENES[i], with);
}

/* ---- settle ---- */

/* "Complete" must mean that nothing which was due is still open. */
static void look_at_settle(const struct flow *child, void *cookie)
{
    struct model *model = cookie;
    for (size_t i = 0; settle_complete(child) && i < model->hold_count; i++) {
        const struct model_hold *hold = &model->holds[i];
        if (hold->product == CUP && hold->phase == PHASE_HELD && hold->when <= model->now)
            fail_msg("settle says that it is complete, and %s is still due", hold->txn);
    }
}

static bool settle_in_steps(const struct scene *scene, const struct plan *plan, size_t step)
{
    struct model model;
    scene_set(&model, scene);
    model.look_step = step;
    bool lie = plan->fault == FAULT_LIE;
    bool reached = run_child_and(&model, settle_new, CUP, plan, lie ? NULL : look_at_settle, &model);
    if (!lie) {
        run_child_and(&model, settle_new, CUP, &FINE, look_at_settle, &model);
        run_calm(&model);
    }
    model_free(&model);
    return reached;
}

static bool settle_one_by_one(const struct scene *scene, const struct plan *plan)
{
    return settle_in_steps(scene, plan, 1);
}

static bool settle_together(const struct scene *scene, const struct plan *plan)
{
    return settle_in_steps(scene, plan, MODEL_HOLDS);
}

static void test_settle(void **state)
{
    every_fault(settle_one_by_one);
    every_fault(settle_together);
    every_fault_in(&(struct scene){"several reserved", several_reserved}, settle_together);
}

static void expect_complete(const struct flow *child, void *cookie)
{
    assert_int_equal(settle_complete(child), *(const bool *)cookie);
}

/* Whoever cannot be asked leaves it incomplete, and touches nothing. */
static void test_settle_incomplete(void **state)
{
    static const struct {
        const char *name;
        void (*before)(struct model *model);
        unsigned at; /* reply: 0 LOOK, 1 SETTLE, 2 EXPIRE or what the verdict asks for */
    } cases[] = {{"look", dead, 0},    {"settle", dead, 1}, {"release", dead, 2}, {"expire", over, 2}, {"release of an expired order", over, 3},
                 {"keep", reserved, 2}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        for (int fault = FAULT_NOT_SENT; fault <= FAULT_LOST_BEFORE; fault++) {
            struct model model;
            bool complete = false;
            store_init(&model);
            cases[i].before(&model);
            print_message("%s, %s\n", cases[i].name, FAULT_NAMES[fault]);
            run_child_and(&model, settle_new, CUP, &(struct plan){.fault = (enum fault_kind)fault, .at = cases[i].at}, expect_complete, &complete);
            assert_int_equal(model_product_at(&model, CUP)->held, 2);
            complete = true;
            run_child_and(&model, settle_new, CUP, &FINE, expect_complete, &complete);
            model_free(&model);
        }
}

/* As few calls as can be: whose orders are on one shard are asked about at once, up to 64; and all that are kept are kept at once. */
static void test_settle_at_once(void **state)
{
    enum { DEAD = 100, ORDERS = 15 };
    struct model model;
    bool complete = true;
    store_init(&model);
    model.look_step = MODEL_HOLDS;
    model_product_at(&model, CUP)->on_hand = DEAD;
    for (int number = 1; number <= DEAD; number++)
        take_hold(&model, number, CUP, 1, 1);
    model.now += 11000;
    run_child_and(&model, settle_new, CUP, &FINE, expect_complete, &complete);
    assert_int_equal(model_product_at(&model, CUP)->held, 0);
    assert_int_equal(model.settle_calls, 2);
    model_free(&model);

    store_init(&model);
    model.look_step = MODEL_HOLDS;
    for (int number = 1; number <= ORDERS; number++)
        place(&model, number, 1, 0, 900000);
    model.now += 11000;
    run_child_and(&model, settle_new, CUP, &FINE, expect_complete, &complete);
    for (size_t i = 0; i < model.hold_count; i++)
        assert_int_equal(model.holds[i].when, model.now + 900000 - 11000);
    assert_in_range(model.settle_calls, 2, SHARDS);
    assert_int_equal(model.keep_calls, 1);
    model_free(&model);
}

/* What one hold's shard does not understand is that hold's harm alone. */
static void test_settle_apart(void **state)
{
    static const int64_t FAR_MS = INT64_C(2000000000000);
    struct model model;
    bool complete = false;
    store_init(&model);
    model.look_step = MODEL_HOLDS;
    for (int number = 1; number <= 3; number++)
        take_hold(&model, number, CUP, 1, 1);
    place(&model, 17, 1, 0, 900000);
    place(&model, 33, 1, 0, FAR_MS);
    place(&model, 49, 1, 0, 900000);
    model.now += 11000;
    model.holds[1].txn[strlen(model.holds[1].txn) - 1] = '0';
    run_child_and(&model, settle_new, CUP, &FINE, expect_complete, &complete);
    for (size_t i = 0; i < model.hold_count; i++) {
        const struct model_hold *hold = &model.holds[i];
        assert_int_equal(hold->phase, i == 0 || i == 2 ? PHASE_RELEASED : PHASE_HELD);
        assert_int_equal(hold->phase == PHASE_HELD && hold->when <= model.now, i == 1 || i == 4);
    }
    model_free(&model);
}

/* A name that no worker of this version gives is left alone. */
static void test_settle_unreadable(void **state)
{
    static const char *const names[] = {"garbage", "0123456789abcdef0123456789abcdef.00000000f00df00d.",
                                        "0123456789abcdef0123456789abcdef.00000000f00df00d.x",
                                        "0123456789abcdef0123456789abcdef.00000000f00df00d.0"};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        struct model model;
        bool complete = false;
        store_init(&model);
        dead(&model);
        snprintf(model.holds[0].txn, sizeof(model.holds[0].txn), "%s", names[i]);
        run_child_and(&model, settle_new, CUP, &FINE, expect_complete, &complete);
        assert_int_equal(model_product_at(&model, CUP)->held, 2);
        model_free(&model);
    }
}

/* ---- duty ---- */

static void look_at_duty(const struct flow *child, void *cookie)
{
    const struct model *model = cookie;
    if (duty_complete(child) && model->order_count)
        assert_true(model->orders[0].due == 0 || strcmp(model->orders[0].state, "reserved") == 0);
}

static bool duty_with(const struct scene *scene, const struct plan *plan)
{
    struct model model;
    scene_set(&model, scene);
    bool lie = plan->fault == FAULT_LIE;
    int64_t id = model.order_count ? model.orders[0].id : 17;
    bool reached = run_child_and(&model, duty_new, id, plan, lie ? NULL : look_at_duty, &model);
    if (!lie) {
        run_child_and(&model, duty_new, id, &FINE, look_at_duty, &model);
        if (model.order_count == 1)
            assert_true(model.orders[0].due == 0 || strcmp(model.orders[0].state, "reserved") == 0);
        run_calm(&model);
    }
    model_free(&model);
    return reached;
}

static void test_duty(void **state)
{
    every_fault(duty_with);
}

static void forget(struct model *model, int64_t product)
{
    struct model_hold *hold = model_hold_of(model, product, model->orders[0].txn);
    *hold = model->holds[--model->hold_count];
}

/*
 * An order of two products was fulfilled, and the shard of one of them is away until the mark of the other is pruned. That one was consumed, as far
 * as anybody can know; of an order that was fulfilled just now it would be a fault.
 */
static void test_duty_behind_pruned_marks(void **state)
{
    static const struct plan LAMPS_SHARD_AWAY = {.fault = FAULT_NOT_SENT, .at = 2};
    for (int64_t away_ms = 60000; away_ms <= 660000; away_ms += 600000) {
        struct model model;
        store_init(&model);
        fulfilled(&model);
        run_child(&model, duty_new, model.orders[0].id, &LAMPS_SHARD_AWAY);
        assert_int_equal(model_hold_of(&model, CUP, model.orders[0].txn)->phase, PHASE_CONSUMED);
        assert_int_equal(model_hold_of(&model, LAMP, model.orders[0].txn)->phase, PHASE_HELD);
        forget(&model, CUP);
        model.now += away_ms;
        model.damaged = away_ms < 600000;
        run_child(&model, duty_new, model.orders[0].id, &FINE);
        assert_int_equal(model_hold_of(&model, LAMP, model.orders[0].txn)->phase, PHASE_CONSUMED);
        assert_int_equal(model.orders[0].due == 0, away_ms > 600000);
        model_free(&model);
    }
}

/* By the clock of the order's shard, which was set back, the order is yet to be placed. */
static void test_duty_by_a_clock_that_is_behind(void **state)
{
    struct model model;
    store_init(&model);
    fulfilled(&model);
    model.now -= 20000;
    run_child(&model, duty_new, model.orders[0].id, &FINE);
    assert_int_equal(model.orders[0].due, 0);
    assert_int_equal(model_hold_of(&model, CUP, model.orders[0].txn)->phase, PHASE_CONSUMED);
    model_free(&model);
}

/* ---- sweep ---- */

static struct flow *sweep_shard(struct flow *parent, int64_t shard)
{
    return sweep_new(parent->arena, parent->world, &SWEEP_ORDERS, (unsigned)shard, VIEW("worker"), 3);
}

static void check_nothing_due(struct model *model)
{
    for (size_t i = 0; i < model->order_count; i++)
        assert_true(model->orders[i].due == 0 || model->orders[i].due > model->now);
    for (size_t i = 0; i < model->hold_count; i++)
        assert_false(model->holds[i].phase == PHASE_HELD && model->holds[i].when <= model->now);
}

/* Whatever one sweep could not do, a later one does: what was named is due again after 5 s. */
static bool sweep_with(const struct scene *scene, const struct plan *plan)
{
    struct model model;
    bool reached = false;
    scene_set(&model, scene);
    for (int64_t shard = 0; shard < SHARDS; shard++)
        reached |= run_child(&model, sweep_shard, shard, plan);
    if (plan->fault != FAULT_LIE) {
        model.now += 5001;
        for (int64_t shard = 0; shard < SHARDS; shard++)
            run_child(&model, sweep_shard, shard, &FINE);
        check_nothing_due(&model);
        run_calm(&model);
    }
    model_free(&model);
    return reached;
}

static void test_sweep(void **state)
{
    every_fault(sweep_with);
}

/* Another worker has the lease: nothing is touched. */
static void test_sweep_without_lease(void **state)
{
    struct model model;
    store_init(&model);
    many(&model);
    model.lease_elsewhere = true;
    const struct model before = model;
    for (int64_t shard = 0; shard < SHARDS; shard++)
        run_child(&model, sweep_shard, shard, &FINE);
    assert_memory_equal(before.holds, model.holds, sizeof(model.holds));
    assert_memory_equal(before.orders, model.orders, sizeof(model.orders));
    model_free(&model);
}

/* ---- audit ---- */

static const struct ask AUDIT_ASK = {.route = "/admin/audit", .request_id = {"r1", 2}};

static void audit_start(struct run *run, struct model *model)
{
    struct driver *driver = driver_new();
    driver_flow(driver, &AUDIT_FLOW, &AUDIT_ASK);
    run_start(run, model, driver);
}

static struct seen audit(struct model *model, const struct plan *plan, bool *reached)
{
    struct run run;
    audit_start(&run, model);
    *reached = run_on(&run, plan);
    struct seen seen = run_seen(&run);
    run_end(&run);
    return seen;
}

/* A shard that does not answer makes it 503; what is being finished just now is no violation. */
static bool audit_with(const struct scene *scene, const struct plan *plan)
{
    struct model model;
    bool reached;
    scene_set(&model, scene);
    struct seen seen = audit(&model, plan, &reached);
    bool silent = plan->fault >= FAULT_NOT_SENT && plan->fault <= FAULT_LATER;
    if (silent && reached)
        assert_int_equal(seen.status, 503);
    if (plan->fault == FAULT_NONE || (silent && !reached)) {
        assert_int_equal(seen.status, 200);
        assert_non_null(strstr(seen.body, "\"ok\":true"));
    }
    model_free(&model);
    return reached;
}

static void test_audit(void **state)
{
    every_fault(audit_with);
}

/* ${want}: what it finds; NULL: no violation. */
static void expect_audit(struct model *model, const char *want)
{
    bool reached;
    struct seen seen = audit(model, &FINE, &reached);
    assert_int_equal(seen.status, 200);
    if (strstr(seen.body, want ? "\"ok\":false" : "\"ok\":true") == NULL)
        fail_msg("%s", seen.body);
    if (want && strstr(seen.body, want) == NULL)
        fail_msg("%s is not in %s", want, seen.body);
}

static void damage_nothing(struct model *model)
{
}

static void damage_lost_hold(struct model *model)
{
    model_hold_of(model, LAMP, model->orders[0].txn)->phase = PHASE_RELEASED;
}

static void damage_quantity(struct model *model)
{
    model_hold_of(model, CUP, model->orders[0].txn)->quantity++;
}

static void damage_committed_to_held(struct model *model)
{
    model_hold_of(model, CUP, model->orders[0].txn)->phase = PHASE_HELD;
}

static void damage_document(struct model *model)
{
    model->orders[0].doc = VIEW("garbage");
}

static void damage_lost_order(struct model *model)
{
    model->order_count = 0;
}

static void damage_lost_order_and_key(struct model *model)
{
    model->order_count = 0;
    memset(model->keys, 0, sizeof(model->keys));
}

static void damage_ended_without_duty(struct model *model)
{
    model_move(model, &model->orders[0], "cancelled", "none");
    model->orders[0].due = 0;
}

/* What has been wrong for two minutes is found, whatever it is, unless a sweep will mend it. */
static void test_audit_finds(void **state)
{
    static const struct {
        const char *name;
        void (*before)(struct model *model), (*damage)(struct model *model);
        const char *want; /* NULL: no violation */
    } cases[] = {
        {"nothing wrong", reserved, damage_nothing, NULL},
        {"nothing wrong with a confirmed one", confirmed, damage_nothing, NULL},
        {"hold lost", reserved, damage_lost_hold, "has no hold of it"},
        {"hold of a paid order lost", confirmed, damage_lost_hold, "not committed its units"},
        {"another quantity", reserved, damage_quantity, "is ordered 2 times and held 3 times"},
        {"not committed though the duty is done", confirmed, damage_committed_to_held, "not committed its units"},
        {"document damaged", reserved, damage_document, "its document is damaged"},
        {"order lost", reserved, damage_lost_order, "which has ended or is not there"},
        {"order and key lost", confirmed, damage_lost_order_and_key, "which placed no order"},
        {"order and key lost, and a sweep will settle it", reserved, damage_lost_order_and_key, NULL},
        {"ended, and nobody releases", reserved, damage_ended_without_duty, "which has ended"},
        {"dead worker's hold, nobody has settled it yet", dead, damage_nothing, NULL},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct model model;
        print_message("%s\n", cases[i].name);
        store_init(&model);
        cases[i].before(&model);
        model.damaged = true;
        cases[i].damage(&model);
        model.now += AUDIT_PATIENCE_MS;
        expect_audit(&model, cases[i].want);
        model_free(&model);
    }
}

/*
 * An order ended long ago, the marks of its holds are gone, and its request comes once more: the hold that this takes is a sweep's
 * business.
 */
static void test_audit_of_a_late_repeat(void **state)
{
    struct model model;
    store_init(&model);
    cancelled(&model);
    run_child(&model, duty_new, model.orders[0].id, &FINE);
    model.now += 3600000;
    model.hold_count = 0;
    take_hold(&model, 1, CUP, 2, 1);
    expect_audit(&model, NULL);
    model.now += AUDIT_PATIENCE_MS; /* its worker died, and no sweep has come */
    expect_audit(&model, NULL);
    model_free(&model);
}

/* Sales stop at a shard that is away. When it is back, orders have ended long ago, and sweeps are not done yet: their duties say so. */
static void test_audit_behind_an_outage(void **state)
{
    struct model model;
    store_init(&model);
    cancelled(&model);
    model.now += 3600000;
    assert_true(model.orders[0].due > 0);
    expect_audit(&model, NULL);
    model_free(&model);
}

static void meanwhile_placed(struct model *model)
{
    place(model, 9, 1, 1, 900000);
}

static void meanwhile_paid_and_confirmed(struct model *model)
{
    model_move(model, &model->orders[0], "paid", "paid");
    run_child(model, duty_new, model->orders[0].id, &FINE);
}

static void meanwhile_cancelled(struct model *model)
{
    model_move(model, &model->orders[0], "cancelled", "none");
    run_child(model, duty_new, model->orders[0].id, &FINE);
}

static void meanwhile_settled(struct model *model)
{
    run_child(model, settle_new, CUP, &FINE);
}

/* While it walks the shop goes on: at whichever step something happens, it is no violation. */
static void test_audit_under_load(void **state)
{
    static const struct {
        const char *name;
        void (*before)(struct model *model), (*meanwhile)(struct model *model);
    } cases[] = {
        {"placed", none, meanwhile_placed},
        {"placed beside others", many, meanwhile_placed},
        {"paid and confirmed", reserved, meanwhile_paid_and_confirmed},
        {"cancelled", reserved, meanwhile_cancelled},
        {"settled", dead, meanwhile_settled},
        {"settled among many", many, meanwhile_settled},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        for (unsigned at = 0, last = 1; at <= last; at++) {
            struct model model;
            struct run run;
            store_init(&model);
            cases[i].before(&model);
            model.now += AUDIT_PATIENCE_MS;
            audit_start(&run, &model);
            for (unsigned step = 0; !run_over(&run); step++) {
                if (step == at)
                    cases[i].meanwhile(&model);
                run_step(&run, 0, FAULT_NONE, 0);
                last = step;
            }
            struct seen seen = run_seen(&run);
            if (strstr(seen.body, "\"ok\":true") == NULL)
                fail_msg("%s at step %u: %s", cases[i].name, at, seen.body);
            run_end(&run);
            model_free(&model);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_settle),
        cmocka_unit_test(test_settle_incomplete),
        cmocka_unit_test(test_settle_at_once),
        cmocka_unit_test(test_settle_apart),
        cmocka_unit_test(test_settle_unreadable),
        cmocka_unit_test(test_duty),
        cmocka_unit_test(test_duty_by_a_clock_that_is_behind),
        cmocka_unit_test(test_duty_behind_pruned_marks),
        cmocka_unit_test(test_sweep),
        cmocka_unit_test(test_sweep_without_lease),
        cmocka_unit_test(test_audit),
        cmocka_unit_test(test_audit_finds),
        cmocka_unit_test(test_audit_of_a_late_repeat),
        cmocka_unit_test(test_audit_behind_an_outage),
        cmocka_unit_test(test_audit_under_load),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
