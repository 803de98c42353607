#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "verdict.h"

/* The judge of linearizability, by hand-made histories of one stock with versions 1, 2, 3; version 2 was made by operation 1, first sent at 100. */
#define SIGHTS_MAX 4
#define PRODUCT 7

struct seen {
    bool read;
    int64_t version, sent_us, got_us;
};
static const struct {
    const char *name;
    struct seen seen[SIGHTS_MAX];
    bool linearizable;
} CASES[] = {
    {"nobody looked", {{0}}, true},
    {"one after another, rising", {{true, 1, 10, 20}, {true, 2, 130, 140}, {true, 3, 150, 160}}, true},
    {"the same version for ever", {{true, 1, 10, 20}, {true, 1, 1000, 1010}}, true},
    {"at the same time, in either order", {{true, 2, 120, 160}, {true, 1, 130, 140}}, true},
    {"an old version after a newer one", {{true, 2, 120, 130}, {true, 1, 131, 140}}, false},
    {"an old version in a read that began before the newer one was seen", {{true, 2, 120, 130}, {true, 1, 129, 140}}, true},
    {"two steps back, with one read between", {{true, 3, 120, 130}, {true, 2, 125, 150}, {true, 1, 140, 170}}, false},
    {"before the operation that made it was sent", {{true, 2, 90, 99}}, false},
    {"while the operation that made it was under way", {{true, 2, 90, 101}}, true},
    {"a later version before an earlier one was sent", {{true, 3, 10, 50}}, false},
    {"acknowledged, then not there", {{false, 2, 100, 200}, {true, 1, 210, 220}}, false},
    {"acknowledged while it was read as not there", {{false, 2, 100, 200}, {true, 1, 190, 220}}, true},
    {"a replay shows an old version", {{true, 3, 120, 130}, {false, 2, 500, 510}}, true},
    {"a replay shows a version that a later read has not", {{false, 3, 500, 510}, {true, 2, 520, 530}}, false},
};

static void judge(struct verdict *verdict, const struct seen *seen)
{
    struct move moves[] = {{.kind = "create", .quantity = 9, .on_hand = 9, .v = 1},
                           {.kind = "adjust", .quantity = 1, .on_hand = 10, .v = 2, .op = 1},
                           {.kind = "adjust", .quantity = 1, .on_hand = 11, .v = 3}};
    struct stored_product product = {.id = PRODUCT, .on_hand = 11, .v = 3, .moves = moves, .move_count = 3};
    const struct evidence evidence = {.products = &product, .product_count = 1};
    const struct beginning beginning = {.units = 9, .price = 1};
    struct history history;
    history_init(&history, NULL);
    struct op *op = history_op(&history, OP_ADJUST);
    op->target = PRODUCT;
    op->first_sent_us = 100;
    for (int i = 0; i < SIGHTS_MAX && seen[i].version; i++)
        history_see(&history, (struct sight){RECORD_STOCK, seen[i].read, 1, PRODUCT, seen[i].version, seen[i].sent_us, seen[i].got_us, 1});
    verdict_init(verdict);
    verdict_judge(verdict, &history, &evidence, &beginning);
    history_free(&history);
}

static void test_linearizable(void **state)
{
    for (size_t i = 0; i < sizeof(CASES) / sizeof(*CASES); i++) {
        struct verdict verdict;
        judge(&verdict, CASES[i].seen);
        bool found = verdict.rules[RULE_LINEARIZABLE].violations > 0;
        if (found == CASES[i].linearizable)
            fail_msg("%s: %s", CASES[i].name, found ? verdict.rules[RULE_LINEARIZABLE].texts[0] : "no violation was found");
        verdict_free(&verdict);
    }
}

/* ---- what an answer decides ---- */

static const struct {
    int status;
    const char *body;
    enum decision decision;
    bool lost_sight, broken;
} ANSWERS[] = {
    {0, "", UNDECIDED, true, false},
    {201, "{\"id\":5,\"state\":\"reserved\",\"payment_status\":\"none\",\"version\":1}", DONE, false, false},
    {201, "not JSON", DONE, false, true},
    {409, "{\"code\":\"insufficient_stock\"}", KEPT_NO, false, false},
    {409, "{\"code\":\"total_changed\"}", KEPT_NO, false, false},
    {409, "{\"code\":\"illegal_transition\"}", NO, false, false},
    {409, "{\"code\":\"payment_open\"}", NOT_NOW, false, false},
    {409, "{\"code\":\"idempotency_in_flight\"}", UNDECIDED, true, false},
    {409, "{\"code\":\"never heard of\"}", NO, false, true},
    {503, "{\"code\":\"outcome_unknown\"}", UNDECIDED, true, false},
    {503, "{\"code\":\"shard_unavailable\"}", UNDECIDED, false, false},
    {500, "{\"code\":\"internal_error\"}", UNDECIDED, true, true},
    {504, "{\"code\":\"deadline_exceeded\"}", UNDECIDED, false, false},
};

static void answer_with(struct history *history, struct op *op, unsigned n, int status, const char *body, const char *header)
{
    char *copy = strdup(body), *headers[] = {(char *)header, NULL};
    struct response response = {.status = status, .headers = headers, .body = copy, .body_len = strlen(body), .json = json_loads(body, 0, NULL)};
    history_answer(history, op, n, 0, 10 * n, 10 * n + 5, &response);
    json_decref(response.json);
    free(copy);
}

static void answer(struct history *history, struct op *op, unsigned n, int status, const char *body)
{
    answer_with(history, op, n, status, body, "Retry-After: 1");
}

static void test_decisions(void **state)
{
    for (size_t i = 0; i < sizeof(ANSWERS) / sizeof(*ANSWERS); i++) {
        struct history history;
        history_init(&history, NULL);
        struct op *op = history_op(&history, OP_PLACE);
        answer(&history, op, 1, ANSWERS[i].status, ANSWERS[i].body);
        if (op->decision != ANSWERS[i].decision || op->lost_sight != ANSWERS[i].lost_sight || (history.broken > 0) != ANSWERS[i].broken)
            fail_msg("%d %s: %s, lost sight %d, broken %d", ANSWERS[i].status, ANSWERS[i].body, decision_name(op->decision), op->lost_sight,
                     (int)history.broken);
        history_free(&history);
    }
}

static void test_says_when(void **state)
{
    static const struct {
        int status;
        const char *body, *header;
        bool broken;
    } cases[] = {
        {503, "{\"code\":\"outcome_unknown\"}", "Retry-After: 1", false},
        {503, "{\"code\":\"outcome_unknown\"}", "Retry-After: 0", true},
        {503, "{\"code\":\"outcome_unknown\"}", "Retry-After: soon", true},
        {503, "{\"code\":\"shard_unavailable\"}", NULL, true},
        {504, "{\"code\":\"deadline_exceeded\"}", NULL, true},
        {409, "{\"code\":\"payment_open\",\"retryable\":true}", NULL, true},
        {409, "{\"code\":\"insufficient_stock\",\"retryable\":false}", NULL, false},
        {404, "{\"code\":\"not_found\"}", NULL, false},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        struct history history;
        history_init(&history, NULL);
        answer_with(&history, history_op(&history, OP_PLACE), 1, cases[i].status, cases[i].body, cases[i].header);
        if ((history.broken > 0) != cases[i].broken)
            fail_msg("%d %s, %s", cases[i].status, cases[i].body, cases[i].header ? cases[i].header : "no Retry-After");
        history_free(&history);
    }
}

/* Refusals for a reason that may pass stay with the key, others do not; and then every decision is compared, whatever it is. */
static void test_kept(void **state)
{
    static const struct {
        enum op_kind kind;
        int status;
        const char *body;
        enum decision decision;
    } cases[] = {
        {OP_PLACE, 409, "{\"code\":\"insufficient_stock\"}", KEPT_NO},
        {OP_ADJUST, 409, "{\"code\":\"insufficient_stock\"}", KEPT_NO},
        {OP_FULFIL, 409, "{\"code\":\"illegal_transition\",\"state\":\"reserved\"}", KEPT_NO},
        {OP_FULFIL, 409, "{\"code\":\"illegal_transition\",\"state\":\"cancelled\"}", NO},
        {OP_CANCEL, 409, "{\"code\":\"illegal_transition\",\"state\":\"fulfilled\"}", NO},
        {OP_CAPTURE, 409, "{\"code\":\"illegal_transition\"}", KEPT_NO},
        {OP_VOID, 409, "{\"code\":\"illegal_transition\"}", KEPT_NO},
        {OP_REFUND, 422, "{\"code\":\"unprocessable\"}", KEPT_NO},
        {OP_REFUND, 404, "{\"code\":\"not_found\"}", NO},
        {OP_PAY, 409, "{\"code\":\"illegal_transition\",\"state\":\"reserved\"}", NO},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        struct history history;
        history_init(&history, NULL);
        struct op *op = history_op(&history, cases[i].kind);
        answer(&history, op, 1, cases[i].status, cases[i].body);
        if (op->decision != cases[i].decision)
            fail_msg("%s: %s", cases[i].body, decision_name(op->decision));
        assert_int_equal(history.broken, 0);
        answer(&history, op, 2, cases[i].status, cases[i].body);
        assert_int_equal(history.mismatches, 0);
        answer(&history, op, 3, 404, "{\"code\":\"not_found\"}");
        assert_int_equal(history.mismatches, cases[i].decision == KEPT_NO);
        history_free(&history);
    }
}

/* An import is decided when each of its lines was done; one that says 503 is asked again. */
static void test_import_decisions(void **state)
{
    static const struct {
        const char *body;
        enum decision decision;
        bool lost_sight, broken;
    } cases[] = {
        {"{\"line\":1,\"id\":9,\"version\":1,\"status\":201}\n{\"line\":2,\"id\":8,\"version\":1,\"status\":201}\n", DONE, false, false},
        {"{\"line\":1,\"id\":9,\"version\":1,\"status\":201}\n{\"line\":2,\"status\":503,\"retryable\":true}\n", UNDECIDED, true, false},
        {"{\"line\":1,\"id\":9,\"version\":1,\"status\":201}\n", UNDECIDED, false, true},
        {"{\"line\":1,\"id\":9,\"version\":1,\"status\":201}\n{\"line\":2,\"id\":8,\"status\":422}\n", UNDECIDED, false, true},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        struct history history;
        history_init(&history, NULL);
        struct op *op = history_op(&history, OP_IMPORT);
        op->units = 2;
        answer(&history, op, 1, 200, cases[i].body);
        if (op->decision != cases[i].decision || op->lost_sight != cases[i].lost_sight || (history.broken > 0) != cases[i].broken)
            fail_msg("%s: %s, lost sight %d, broken %d", cases[i].body, decision_name(op->decision), op->lost_sight, (int)history.broken);
        history_free(&history);
    }
}

/* Operation 1 imported two lines, operation 2 changed product 7; what the catalogue then has. */
static void test_catalogue(void **state)
{
    static const struct {
        const char *name;
        struct imported there[3];
        size_t count;
        uint32_t patched_by;
        enum rule broken; /* RULES: none */
    } cases[] = {
        {"as asked", {{9, IMPORTED_UNITS, 1, 0}, {8, IMPORTED_UNITS, 1, 1}}, 2, 2, RULES},
        {"the change was lost with its worker", {{9, IMPORTED_UNITS, 1, 0}, {8, IMPORTED_UNITS, 1, 1}}, 2, 0, RULES},
        {"a line is missing", {{9, IMPORTED_UNITS, 1, 0}}, 1, 2, RULE_ACKNOWLEDGED},
        {"a line is there twice", {{9, IMPORTED_UNITS, 1, 0}, {8, IMPORTED_UNITS, 1, 1}, {6, IMPORTED_UNITS, 1, 1}}, 3, 2, RULE_ONE_EFFECT},
        {"a line that nobody sent", {{9, IMPORTED_UNITS, 1, 0}, {8, IMPORTED_UNITS, 1, 1}, {6, IMPORTED_UNITS, 1, 2}}, 3, 2, RULE_ONE_EFFECT},
        {"an import that nobody sent", {{9, IMPORTED_UNITS, 1, 0}, {8, IMPORTED_UNITS, 1, 1}, {6, IMPORTED_UNITS, 5, 0}}, 3, 2, RULE_ONE_EFFECT},
        {"other units", {{9, IMPORTED_UNITS, 1, 0}, {8, IMPORTED_UNITS + 1, 1, 1}}, 2, 2, RULE_CONSERVATION},
        {"a change that nobody has asked for", {{9, IMPORTED_UNITS, 1, 0}, {8, IMPORTED_UNITS, 1, 1}}, 2, 1, RULE_ONE_EFFECT},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        struct imported there[3];
        struct move create = {.kind = "create", .quantity = 9, .on_hand = 9, .v = 1};
        struct stored_product product = {.id = PRODUCT, .on_hand = 9, .v = 1, .moves = &create, .move_count = 1, .patched_by = cases[i].patched_by};
        const struct evidence evidence = {.products = &product, .product_count = 1, .imported = there, .imported_count = cases[i].count};
        struct history history;
        struct verdict verdict;
        memcpy(there, cases[i].there, sizeof(there));
        history_init(&history, NULL);
        struct op *import = history_op(&history, OP_IMPORT), *patch = history_op(&history, OP_PATCH);
        import->units = 2;
        import->decision = DONE;
        patch->target = PRODUCT;
        verdict_init(&verdict);
        verdict_judge(&verdict, &history, &evidence, &(const struct beginning){.units = 9, .price = 1});
        for (enum rule rule = 0; rule < RULES; rule++)
            if ((verdict.rules[rule].violations > 0) != (rule == cases[i].broken))
                fail_msg("%s: \"%s\" has %d violations", cases[i].name, rule_name(rule), (int)verdict.rules[rule].violations);
        verdict_free(&verdict);
        history_free(&history);
    }
}

/* "Not now" leaves the key free, so a later "done" wins; what is kept is compared byte by byte. */
static void test_repeats(void **state)
{
    static const char PLACED[] = "{\"id\":5,\"state\":\"reserved\",\"payment_status\":\"none\",\"version\":1}";
    struct history history;
    history_init(&history, NULL);
    struct op *op = history_op(&history, OP_PLACE);
    answer(&history, op, 1, 409, "{\"code\":\"payment_open\"}");
    assert_int_equal(op->decision, NOT_NOW);
    answer(&history, op, 2, 201, PLACED);
    assert_int_equal(op->decision, DONE);
    assert_int_equal(op->id, 5);
    answer(&history, op, 2, 409, "{\"code\":\"payment_open\"}"); /* it was under way at the same time */
    answer(&history, op, 3, 201, PLACED);
    answer(&history, op, 4, 503, "{\"code\":\"shard_unavailable\"}");
    assert_int_equal(history.replays, 1);
    assert_int_equal(history.mismatches, 0);
    assert_int_equal(history.taken_back, 0);
    answer(&history, op, 5, 201, "{\"id\":5,\"state\":\"paid\",\"payment_status\":\"none\",\"version\":1}");
    assert_int_equal(history.mismatches, 1);
    assert_non_null(history.mismatch[0]);
    answer(&history, op, 6, 409, "{\"code\":\"payment_open\"}");
    assert_int_equal(history.mismatches, 2);
    assert_int_equal(op->first_sent_us, 10);
    history_free(&history);
}

/* What the second attempt may be told behind a refusal that is final. */
static void test_refused_for_good(void **state)
{
    static const struct {
        int status;
        const char *body;
        uint64_t insisted, taken_back;
    } cases[] = {
        {409, "{\"code\":\"illegal_transition\",\"state\":\"cancelled\"}", 1, 0},
        {409, "{\"code\":\"illegal_transition\",\"state\":\"expired\"}", 1, 0},
        {503, "{\"code\":\"outcome_unknown\"}", 0, 0},
        {409, "{\"code\":\"illegal_transition\",\"state\":\"reserved\"}", 1, 1},
        {200, "{\"id\":5,\"state\":\"fulfilled\",\"payment_status\":\"paid\",\"version\":3}", 1, 1},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        struct history history;
        history_init(&history, NULL);
        struct op *op = history_op(&history, OP_FULFIL);
        answer(&history, op, 1, 409, "{\"code\":\"illegal_transition\",\"state\":\"cancelled\"}");
        answer(&history, op, 2, cases[i].status, cases[i].body);
        if (history.insisted != cases[i].insisted || history.taken_back != cases[i].taken_back)
            fail_msg("%d %s: insisted %d, taken back %d", cases[i].status, cases[i].body, (int)history.insisted, (int)history.taken_back);
        history_free(&history);
    }
}

/* Worker 2 was silent from 100 to 200; what was done to which worker, and when. */
static void test_unanswered(void **state)
{
    static const struct {
        const char *name;
        struct disturbance disturbance;
        bool broken;
    } cases[] = {
        {"nothing was done", {0}, true},
        {"it was stopped all the time", {2, 50, 250}, false},
        {"it was stopped meanwhile", {2, 140, 150}, false},
        {"it was started when the request came", {2, 50, 100}, false},
        {"it died when the client gave up", {2, 200, 300}, false},
        {"it was started before", {2, 50, 99}, true},
        {"it died afterwards", {2, 201, 300}, true},
        {"another was stopped", {3, 50, 250}, true},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        const struct evidence evidence = {0};
        const struct response silence = {.silence = OUT_OF_TIME};
        struct history history;
        struct verdict verdict;
        history_init(&history, NULL);
        history_disturb(&history, cases[i].disturbance.worker, cases[i].disturbance.from_us, cases[i].disturbance.until_us);
        history_answer(&history, history_op(&history, OP_GET_STOCK), 1, 2, 100, 200, &silence);
        verdict_init(&verdict);
        verdict_judge(&verdict, &history, &evidence, &(const struct beginning){0});
        if ((verdict.rules[RULE_ANSWERS].violations > 0) != cases[i].broken)
            fail_msg("%s: %s", cases[i].name, cases[i].broken ? "no violation was found" : verdict.rules[RULE_ANSWERS].texts[0]);
        verdict_free(&verdict);
        history_free(&history);
    }
}

static void test_bad_requests(void **state)
{
    static const char PROBLEM[] = "{\"code\":\"bad_request\",\"status\":400}", SHORT[] = "{\"code\":\"draining\",\"status\":503}";
    static const struct listed REFUSED = {.statuses = {400, 422}, .status_count = 2, .problem = true};
    static const struct listed DROPPED = {.statuses = {400, 0}, .status_count = 2};
    static const struct {
        const struct listed *listed;
        int status;
        const char *body, *type, *after;
        bool broken, unanswered;
    } cases[] = {
        {&REFUSED, 400, PROBLEM, "Content-Type: application/problem+json", NULL, false, false},
        {&REFUSED, 400, PROBLEM, "Content-Type: application/json", NULL, true, false},
        {&REFUSED, 400, "no", "Content-Type: application/problem+json", NULL, true, false},
        {&REFUSED, 422, PROBLEM, "Content-Type: application/problem+json", NULL, true, false},
        {&REFUSED, 503, SHORT, "Content-Type: application/problem+json", "Retry-After: 1", false, false},
        {&REFUSED, 503, SHORT, "Content-Type: application/problem+json", NULL, true, false},
        {&REFUSED, 500, "{\"code\":\"internal_error\",\"status\":500}", "Content-Type: application/problem+json", NULL, true, false},
        {&REFUSED, 201, "{\"id\":5}", "Content-Type: application/json", NULL, true, false},
        {&REFUSED, 0, "", NULL, NULL, false, true},
        {&DROPPED, 400, "no", NULL, NULL, false, false},
        {&DROPPED, 0, "", NULL, NULL, false, false},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        char *body = strdup(cases[i].body), *headers[] = {(char *)cases[i].type, (char *)cases[i].after, NULL};
        struct response response = {.status = cases[i].status, .silence = cases[i].status ? ANSWERED : HUNG_UP, .headers = headers, .body = body};
        response.json = json_loads(body, 0, NULL);
        struct history history;
        history_init(&history, NULL);
        history_bad_request(&history, cases[i].listed, 2, 100, 200, &response);
        if ((history.broken > 0) != cases[i].broken || (history.unanswered_count > 0) != cases[i].unanswered)
            fail_msg("%d %s, %s: broken %d", cases[i].status, cases[i].body, cases[i].type, (int)history.broken);
        json_decref(response.json);
        free(body);
        history_free(&history);
    }
}

static void test_rushes(void **state)
{
    static const struct {
        struct rush_counts counts;
        bool broken;
        unsigned unanswered;
    } cases[] = {
        {{.requests = 9}, false, 0},
        {{.requests = 9, .not_now = 9}, false, 0},
        {{.requests = 9, .not_now = 9, .without_retry_after = 1, .worst = "503"}, true, 0},
        {{.requests = 9, .server_errors = 1, .worst = "500"}, true, 0},
        {{.requests = 9, .cut = 2}, false, 1},
        {{.requests = 9, .cut = 2, .silent = 1}, false, 2},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        struct history history;
        history_init(&history, NULL);
        history_rush(&history, &cases[i].counts);
        assert_int_equal(history.rushed, 9);
        assert_int_equal(history.broken > 0, cases[i].broken);
        assert_int_equal(history.unanswered_count, cases[i].unanswered);
        history_free(&history);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_linearizable), cmocka_unit_test(test_decisions),        cmocka_unit_test(test_kept),
        cmocka_unit_test(test_repeats),      cmocka_unit_test(test_import_decisions), cmocka_unit_test(test_catalogue),
        cmocka_unit_test(test_unanswered),   cmocka_unit_test(test_refused_for_good), cmocka_unit_test(test_says_when),
        cmocka_unit_test(test_bad_requests), cmocka_unit_test(test_rushes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
