#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "step.h"

/*
 * Children that are joined (flow_spawn_joined), by flows of several roots in one thread. A child asks one call; how many calls come out says how many
 * children ran.
 */
static const struct function READ = {"read", false, NULL};

#define CALLS_MAX 16
struct bench {
    struct joint joint;
    struct call *calls[CALLS_MAX];
    size_t call_count;
    unsigned over;
};
struct run {
    struct runner runner; /* first */
    struct bench *bench;
};

static void port_call(struct runner *runner, struct call *call)
{
    struct bench *bench = ((struct run *)runner)->bench;
    assert_true(bench->call_count < CALLS_MAX);
    bench->calls[bench->call_count++] = call;
}

static void port_over(struct runner *runner, struct flow *root)
{
    struct run *run = (struct run *)runner;
    run->bench->over++;
    arena_free(root->arena); /* whoever touches it now is found out by the sanitizer */
    free(run);
}

static const struct port PORT = {.call = port_call, .over = port_over};

/* ---- the flows ---- */

struct child {
    struct flow flow;
    int64_t got;
    bool at_once;
};

static void child_start(struct flow *flow)
{
    if (((struct child *)flow)->at_once)
        flow_end(flow);
    else
        flow_call(flow, call_function(flow->arena, &READ, 1), 0, 0);
}

static void child_got_reply(struct flow *flow, struct call *call, const struct reply *reply)
{
    ((struct child *)flow)->got = reply_int(reply, 0);
    flow_end(flow);
}

static const struct flow_type CHILD = {.name = "child", .size = sizeof(struct child), .start = child_start, .got_reply = child_got_reply};
static const struct flow_type OTHER = {.name = "other", .size = sizeof(struct child), .start = child_start, .got_reply = child_got_reply};

/* ${copies} of this child, so often one behind the other. ${sum}: of what the children got, times their index. */
struct plan {
    const struct flow_type *type;
    int64_t key, *sum;
    int copies, rounds;
    bool at_once, ends_early;
};
struct parent {
    struct flow flow;
    struct plan plan;
    int waiting;
};

static void spawn(struct parent *parent)
{
    struct flow *flow = &parent->flow;
    for (int i = 0; i < parent->plan.copies; i++) {
        struct flow *child = flow_new(flow->arena, parent->plan.type, flow->world, flow->ask);
        ((struct child *)child)->at_once = parent->plan.at_once;
        parent->waiting++;
        flow_spawn_joined(flow, child, 7, i + 1, parent->plan.key);
    }
}

static void parent_start(struct flow *flow)
{
    struct parent *parent = (struct parent *)flow;
    spawn(parent);
    if (parent->plan.ends_early)
        flow_end(flow);
}

static void parent_got_child(struct flow *flow, struct flow *child)
{
    struct parent *parent = (struct parent *)flow;
    assert_int_equal(child->tag, 7);
    *parent->plan.sum += ((struct child *)child)->got * child->index;
    if (--parent->waiting > 0)
        return;
    if (--parent->plan.rounds > 0)
        spawn(parent);
    else
        flow_end(flow);
}

static const struct flow_type PARENT = {.name = "parent", .size = sizeof(struct parent), .start = parent_start, .got_child = parent_got_child};

static void begin(struct bench *bench, struct joint *joint, struct plan plan)
{
    struct run *run = calloc(1, sizeof(*run));
    struct flow *flow = flow_new(arena_new(), &PARENT, NULL, NULL);
    ((struct parent *)flow)->plan = plan;
    *run = (struct run){{&PORT, joint}, bench};
    step_start(&run->runner, flow);
}

static void answer(struct bench *bench, size_t n, int64_t number)
{
    struct item items[] = {{.type = ITEM_INT, .integer = number}}, root = {.type = ITEM_LIST, .items = items, .count = 1};
    step_reply(bench->calls[n], &(struct reply){.kind = REPLY_OK, .root = &root});
}

/* ---- the tests ---- */

static void test_many_and_one(void **state)
{
    struct bench bench = {.over = 0};
    int64_t sums[4] = {0};
    for (int i = 0; i < 4; i++)
        begin(&bench, &bench.joint, (struct plan){.type = &CHILD, .key = 5, .sum = &sums[i], .copies = 1, .rounds = 1});
    assert_int_equal(bench.call_count, 1);
    assert_int_equal(bench.over, 0);
    answer(&bench, 0, 3);
    assert_int_equal(bench.over, 4);
    for (int i = 0; i < 4; i++)
        assert_int_equal(sums[i], 3);
    assert_null(bench.joint.running);
}

static void test_others_run(void **state)
{
    struct bench bench = {.over = 0};
    int64_t sums[3] = {0};
    begin(&bench, &bench.joint, (struct plan){.type = &CHILD, .key = 5, .sum = &sums[0], .copies = 1, .rounds = 1});
    begin(&bench, &bench.joint, (struct plan){.type = &CHILD, .key = 6, .sum = &sums[1], .copies = 1, .rounds = 1});
    begin(&bench, &bench.joint, (struct plan){.type = &OTHER, .key = 5, .sum = &sums[2], .copies = 1, .rounds = 1});
    assert_int_equal(bench.call_count, 3);
    for (size_t i = 0; i < 3; i++)
        answer(&bench, i, (int64_t)i + 1);
    for (int i = 0; i < 3; i++)
        assert_int_equal(sums[i], i + 1);
    assert_int_equal(bench.over, 3);
}

/* Two of one parent: each has its own index. */
static void test_twice_of_one_parent(void **state)
{
    struct bench bench = {.over = 0};
    int64_t sum = 0;
    begin(&bench, &bench.joint, (struct plan){.type = &CHILD, .key = 5, .sum = &sum, .copies = 3, .rounds = 1});
    assert_int_equal(bench.call_count, 1);
    answer(&bench, 0, 10);
    assert_int_equal(sum, 10 + 20 + 30);
    assert_int_equal(bench.over, 1);
}

/* Who asks again when one has ended begins a new one, which the others join. */
static void test_again(void **state)
{
    struct bench bench = {.over = 0};
    int64_t sums[2] = {0};
    for (int i = 0; i < 2; i++)
        begin(&bench, &bench.joint, (struct plan){.type = &CHILD, .key = 5, .sum = &sums[i], .copies = 1, .rounds = 2});
    answer(&bench, 0, 1);
    assert_int_equal(bench.call_count, 2);
    assert_int_equal(bench.over, 0);
    answer(&bench, 1, 2);
    assert_int_equal(bench.over, 2);
    assert_int_equal(sums[0], 3);
    assert_int_equal(sums[1], 3);
}

/* One that is over when it begins is not waited for, and one whose parent has ended meanwhile is still somebody else's. */
static void test_ends(void **state)
{
    struct bench bench = {.over = 0};
    int64_t sums[3] = {0};
    begin(&bench, &bench.joint, (struct plan){.type = &CHILD, .key = 5, .sum = &sums[0], .copies = 2, .rounds = 2, .at_once = true});
    assert_int_equal(bench.over, 1);
    assert_null(bench.joint.running);
    begin(&bench, &bench.joint, (struct plan){.type = &CHILD, .key = 5, .sum = &sums[1], .copies = 1, .rounds = 1, .ends_early = true});
    begin(&bench, &bench.joint, (struct plan){.type = &CHILD, .key = 5, .sum = &sums[2], .copies = 1, .rounds = 1});
    answer(&bench, 0, 4);
    assert_int_equal(bench.over, 3);
    assert_int_equal(sums[1], 0);
    assert_int_equal(sums[2], 4);
}

static void test_without_joint(void **state)
{
    struct bench bench = {.over = 0};
    int64_t sum = 0;
    begin(&bench, NULL, (struct plan){.type = &CHILD, .key = 5, .sum = &sum, .copies = 2, .rounds = 1});
    assert_int_equal(bench.call_count, 2);
    answer(&bench, 0, 1);
    answer(&bench, 1, 1);
    assert_int_equal(sum, 1 + 2);
    assert_int_equal(bench.over, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_many_and_one), cmocka_unit_test(test_others_run), cmocka_unit_test(test_twice_of_one_parent),
        cmocka_unit_test(test_again),        cmocka_unit_test(test_ends),       cmocka_unit_test(test_without_joint),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
