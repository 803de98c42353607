#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "functions.h"

#include "payment.h"

#include "flow_driver.h"

/*
 * The payment service's flows as conversations: what a flow asks, what it is given, what the client gets. An ask is the function's (or command's)
 * name and its first parts, * for any; "gateway" is an errand: op, key, amount, currency, token, ref. It is given words (flow_driver.h), NOT_SENT or
 * UNKNOWN; an errand a result and then the gateway's name of the charge, or the failure.
 */
#define STEPS_MAX 10
struct step {
    const char *ask, *give;
};
struct talk {
    const char *name;
    const struct flow_type *flow;
    const struct shape *shape; /* NULL: no body */
    const char *json;
    const char *param, *value; /* one of the query */
    const char *if_none_match;
    struct step steps[STEPS_MAX];
    int status;
    const char *want[3]; /* in the body, or a header "Name: value" */
};

/* World settings that also remember whether the gateway was asked. */
struct settings {
    struct payment_settings payment; /* first */
    unsigned asked;
};
#define SETTINGS \
    { \
        .payment = {.gateway_url = "", .gateway_timeout_ms = 5000, .authorization_hold_s = 60 } \
    }

#define ORDER 17
#define PAYMENT 33 /* of the same partition, 1 */

/* HMGET's answer: status, v, order, amount, currency, captured, refunded, capture, failure, created, updated, ref, refunds, and one more field. */
#define RECORD(status, v, captured, refunded, failure, ref, refunds, more) \
    "'" status "' '" v "' '17' '1099' 'USD' '" captured "' '" refunded "' 'automatic' '" failure "' '1000' '2000' '" ref "' '" refunds "' " more
#define NO_RECORD "nil nil nil nil nil nil nil nil nil nil nil nil nil nil"
#define SUCCEEDED RECORD("refunded", "5", "1099", "1099", "", "ch_1", "1", "'succeeded|1099|0|3000|charge_succeeded||r1'")
#define FAILED RECORD("failed", "2", "0", "0", "card_declined", "", "0", "'failed|0|0|3000|charge_failed|card_declined|r1'")
#define UNKNOWN_YET RECORD("succeeded", "3", "1099", "0", "", "ch_1", "0", "'unknown|0|0|3000|charge_unknown||r1'")
#define AUTHORIZED RECORD("authorized", "2", "0", "0", "", "ch_1", "0", "'authorized|0|0|3000|authorize_authorized||r1'")

#define PAY_JSON "{\"order_id\":17,\"method\":{\"token\":\"tok_ok\"}}"
#define PAY_AMOUNT "{\"order_id\":17,\"amount\":10.99,\"method\":{\"token\":\"tok_ok\"}}"
#define PAYING .flow = &PAY_FLOW, .shape = &PAY_BODY, .json = PAY_JSON
#define INTENT \
    { \
        "pay order:{1}:17 1 17 * * '' charge automatic * r1 7000", "0 33 1099 USD 1000 1 charge:1" \
    }
#define CHARGE(given) \
    { \
        "gateway charge souk-33-charge:1 1099 USD tok_ok ''", given \
    }
#define SHOW "HMGET payment:{1}:33 status v"

static const struct talk PAY_TALKS[] = {
    {"paid", PAYING,
     .steps = {INTENT,
               CHARGE("succeeded ch_1"),
               {"pay_result payment:{1}:33 1 33 charge:1 succeeded ch_1 '' 60000 1000 r1", "0 2 succeeded 17 paid paid 5"},
               {SHOW, SUCCEEDED},
               {"order_read order:{1}:17", "10"}},
     .status = 201,
     .want = {"{\"id\":33,\"order_id\":17,\"status\":\"succeeded\",\"amount\":10.99,\"currency\":\"USD\",\"captured\":10.99,\"refunded\":0.00,"
              "\"capture\":\"automatic\",\"failure\":null,\"version\":2,\"created_at\":\"1970-01-01T00:00:01.000Z\","
              "\"updated_at\":\"1970-01-01T00:00:03.000Z\"}",
              "ETag: \"v2\"", "Location: /payments/33"}},
    {"declined", PAYING,
     .steps = {INTENT,
               CHARGE("failed card_declined"),
               {"pay_result payment:{1}:33 1 33 charge:1 failed '' card_declined", "0 2 failed 17 reserved none 5"},
               {SHOW, FAILED}},
     .status = 402, .want = {"\"failure\":\"card_declined\""}},
    {"the gateway does not answer", PAYING,
     .steps = {INTENT,
               CHARGE("unknown"),
               {"pay_result payment:{1}:33 1 33 charge:1 unknown '' ''", "0 2 unknown 17 reserved pending 5"},
               {SHOW, UNKNOWN_YET}},
     .status = 202, .want = {"\"status\":\"unknown\""}},
    {"the gateway was not reached", PAYING,
     .steps = {INTENT,
               CHARGE("not_sent"),
               {"pay_result payment:{1}:33 1 33 charge:1 unknown '' ''", "0 2 unknown 17 reserved pending 5"},
               {SHOW, UNKNOWN_YET}},
     .status = 202},
    {"the reconciler was faster", PAYING, .steps = {INTENT, CHARGE("unknown"), {"pay_result payment:{1}:33", "16 2 succeeded"}, {SHOW, SUCCEEDED}},
     .status = 201},
    {"order ended meanwhile", PAYING,
     .steps = {INTENT, CHARGE("succeeded ch_1"), {"pay_result payment:{1}:33", "0 2 succeeded 17 expired refund_due 5"}, {SHOW, SUCCEEDED}},
     .status = 201},
    {"manual", .flow = &PAY_FLOW, .shape = &PAY_BODY, .json = "{\"order_id\":17,\"capture\":\"manual\",\"method\":{\"token\":\"tok_ok\"}}",
     .steps = {{"pay order:{1}:17 1 17 * * '' authorize manual", "0 33 1099 USD 1000 1 authorize:1"},
               {"gateway authorize souk-33-authorize:1 1099 USD tok_ok ''", "authorized ch_1"},
               {"pay_result payment:{1}:33 1 33 authorize:1 authorized ch_1 '' 60000", "0 2 authorized 17 reserved authorized 5"},
               {SHOW, AUTHORIZED}},
     .status = 201, .want = {"\"status\":\"authorized\""}},
    {"with the amount", .flow = &PAY_FLOW, .shape = &PAY_BODY, .json = PAY_AMOUNT,
     .steps = {{"HGET order:{1}:17 currency", "='USD'"}, {"pay order:{1}:17 1 17 * * 1099 charge", "13 33"}}, .status = 409,
     .want = {"idempotency_in_flight", "Retry-After: 1"}},
    {"another amount", .flow = &PAY_FLOW, .shape = &PAY_BODY, .json = PAY_AMOUNT,
     .steps = {{"HGET order:{1}:17 currency", "='USD'"}, {"pay order:{1}:17", "29 1100"}}, .status = 409,
     .want = {"total_changed", "\"total\":11.00"}},
    {"too many digits", .flow = &PAY_FLOW, .shape = &PAY_BODY, .json = PAY_AMOUNT, .steps = {{"HGET order:{1}:17 currency", "='JPY'"}}, .status = 422,
     .want = {"\"pointer\":\"/amount\""}},
    {"amount, no such order", .flow = &PAY_FLOW, .shape = &PAY_BODY, .json = PAY_AMOUNT, .steps = {{"HGET order:{1}:17 currency", "=nil"}},
     .status = 404},
    {"amount, shard away", .flow = &PAY_FLOW, .shape = &PAY_BODY, .json = PAY_AMOUNT, .steps = {{"HGET order:{1}:17", "UNKNOWN"}}, .status = 503,
     .want = {"shard_unavailable"}},
    {"amount, unknown currency", .flow = &PAY_FLOW, .shape = &PAY_BODY, .json = PAY_AMOUNT, .steps = {{"HGET order:{1}:17", "='XXQ'"}},
     .status = 500},
    {"no token", .flow = &PAY_FLOW, .shape = &PAY_BODY, .json = "{\"order_id\":17,\"method\":{}}", .status = 422,
     .want = {"\"pointer\":\"/method/token\""}},
    {"more than a token", .flow = &PAY_FLOW, .shape = &PAY_BODY, .json = "{\"order_id\":17,\"method\":{\"token\":\"a\",\"b\":1}}", .status = 422,
     .want = {"\"pointer\":\"/method/b\""}},
    {"replay", PAYING, .steps = {{"pay order:{1}:17", "14 33 2"}, {SHOW, SUCCEEDED}, {"order_read order:{1}:17", "10"}}, .status = 201,
     .want = {"\"refunded\":0.00", "Idempotent-Replayed: true", "ETag: \"v2\""}},
    {"replay of a decline", PAYING, .steps = {{"pay order:{1}:17", "14 33 2"}, {SHOW, FAILED}}, .status = 402, .want = {"Idempotent-Replayed: true"}},
    {"replay, then away", PAYING, .steps = {{"pay order:{1}:17", "14 33 2"}, {SHOW, "NOT_SENT"}, {"order_read order:{1}:17", "10"}}, .status = 503,
     .want = {"outcome_unknown"}},
    {"in flight", PAYING, .steps = {{"pay order:{1}:17", "13 33"}}, .status = 409, .want = {"idempotency_in_flight"}},
    {"key of another request", PAYING, .steps = {{"pay order:{1}:17", "12"}}, .status = 422, .want = {"idempotency_key_reused"}},
    {"no such order", PAYING, .steps = {{"pay order:{1}:17", "10"}}, .status = 404},
    {"cancelled order", PAYING, .steps = {{"pay order:{1}:17", "26 cancelled none"}}, .status = 409,
     .want = {"illegal_transition", "\"state\":\"cancelled\""}},
    {"open payment", PAYING, .steps = {{"pay order:{1}:17", "27 49"}}, .status = 409, .want = {"payment_open", "\"payment_id\":49"}},
    {"expired order", PAYING, .steps = {{"pay order:{1}:17", "28"}}, .status = 409, .want = {"order_expired"}},
    {"a code that makes no sense", PAYING, .steps = {{"pay order:{1}:17", "20 1"}}, .status = 500},
    {"shard away", PAYING, .steps = {{"pay order:{1}:17", "NOT_SENT"}}, .status = 503, .want = {"shard_unavailable"}},
    {"intent's reply lost", PAYING, .steps = {{"pay order:{1}:17", "UNKNOWN"}}, .status = 503, .want = {"outcome_unknown"}},
    {"result's reply lost", PAYING, .steps = {INTENT, CHARGE("succeeded ch_1"), {"pay_result payment:{1}:33", "UNKNOWN"}}, .status = 503,
     .want = {"outcome_unknown"}},
    {"result not sent", PAYING, .steps = {INTENT, CHARGE("succeeded ch_1"), {"pay_result payment:{1}:33", "NOT_SENT"}}, .status = 503,
     .want = {"outcome_unknown"}},
    {"result refused", PAYING, .steps = {INTENT, CHARGE("voided ch_1"), {"pay_result payment:{1}:33", "26 processing"}}, .status = 503,
     .want = {"outcome_unknown"}},
    {"paid, the reading lost", PAYING,
     .steps = {INTENT,
               CHARGE("succeeded ch_1"),
               {"pay_result payment:{1}:33", "0 2 succeeded 17 paid paid 5"},
               {SHOW, "UNKNOWN"},
               {"order_read order:{1}:17", "10"}},
     .status = 503, .want = {"outcome_unknown"}},
    {"paid, the record damaged", PAYING,
     .steps = {INTENT,
               CHARGE("succeeded ch_1"),
               {"pay_result payment:{1}:33", "0 2 succeeded 17 paid paid 5"},
               {SHOW, NO_RECORD},
               {"order_read order:{1}:17", "10"}},
     .status = 500},
};

#define CAPTURING .flow = &CAPTURE_FLOW, .shape = &ACT_BODY
#define CAPTURED RECORD("succeeded", "4", "1099", "0", "", "ch_1", "0", "'succeeded|1099|0|3000|capture_succeeded||r1'")
static const struct talk ACT_TALKS[] = {
    {"capture", CAPTURING,
     .steps = {{SHOW, AUTHORIZED},
               {"pay_act payment:{1}:33 1 33 * * capture '' r1 7000", "0 1099 USD 3 capture:3 doc"},
               {"gateway capture souk-33-capture:3 1099 * * ch_1", "succeeded ch_1"},
               {"pay_result payment:{1}:33 1 33 capture:3 succeeded", "0 4 succeeded 17 paid paid 5"},
               {SHOW, CAPTURED},
               {"order_read order:{1}:17", "10"}},
     .status = 200, .want = {"\"status\":\"succeeded\"", "ETag: \"v4\""}},
    {"capture, declined", CAPTURING,
     .steps = {{SHOW, AUTHORIZED},
               {"pay_act payment:{1}:33", "0 1099 USD 3 capture:3 doc"},
               {"gateway capture", "failed expired_card"},
               {"pay_result payment:{1}:33 1 33 capture:3 failed '' expired_card", "0 4 authorized 17 reserved authorized 5"},
               {SHOW, AUTHORIZED}},
     .status = 402},
    {"capture, no answer", CAPTURING,
     .steps = {{SHOW, AUTHORIZED},
               {"pay_act payment:{1}:33", "0 1099 USD 3 capture:3 doc"},
               {"gateway capture", "unknown"},
               {"pay_result payment:{1}:33", "0 4 unknown 17 reserved authorized 5"},
               {SHOW, UNKNOWN_YET}},
     .status = 202},
    {"capture, authorized in between", CAPTURING,
     .steps = {{SHOW, RECORD("unknown", "2", "0", "0", "", "", "0", "")},
               {"pay_act payment:{1}:33", "0 1099 USD 3 capture:3 doc"},
               {"gateway settle souk-33-capture:3", "failed closed"},
               {"pay_result payment:{1}:33 1 33 capture:3 failed", "0 4 authorized 17 reserved authorized 5"},
               {SHOW, AUTHORIZED}},
     .status = 402},
    {"capture, the whole amount", CAPTURING, .json = "{\"amount\":\"10.99\"}",
     .steps = {{SHOW, AUTHORIZED}, {"pay_act payment:{1}:33 1 33 * * capture 1099", "13 3"}}, .status = 409},
    {"capture, a part", CAPTURING, .json = "{\"amount\":1}",
     .steps = {{SHOW, AUTHORIZED}, {"pay_act payment:{1}:33 1 33 * * capture 100", "15 0 r1 29 1099"}}, .status = 422, .want = {"/amount"}},
    {"capture, garbage", CAPTURING, .json = "{\"amount\":\"ten\"}", .steps = {{SHOW, AUTHORIZED}}, .status = 422, .want = {"/amount"}},
    {"capture, none there", CAPTURING, .steps = {{SHOW, NO_RECORD}}, .status = 404},
    {"capture, damaged", CAPTURING, .steps = {{SHOW, RECORD("authorized", "x", "0", "0", "", "", "0", "")}}, .status = 500},
    {"capture, shard away", CAPTURING, .steps = {{SHOW, "NOT_SENT"}}, .status = 503, .want = {"shard_unavailable"}},
    {"capture, intent lost", CAPTURING, .steps = {{SHOW, AUTHORIZED}, {"pay_act payment:{1}:33", "UNKNOWN"}}, .status = 503,
     .want = {"outcome_unknown"}},
    {"capture, replay", CAPTURING,
     .steps = {{SHOW, AUTHORIZED}, {"pay_act payment:{1}:33", "14 4"}, {SHOW, CAPTURED}, {"order_read order:{1}:17", "10"}}, .status = 200,
     .want = {"Idempotent-Replayed: true"}},
    {"capture, replay of a decline", CAPTURING, .steps = {{SHOW, AUTHORIZED}, {"pay_act payment:{1}:33", "14 4"}, {SHOW, AUTHORIZED}}, .status = 402},
    {"capture, not authorized", CAPTURING, .steps = {{SHOW, SUCCEEDED}, {"pay_act payment:{1}:33", "15 0 r1 26 succeeded paid"}}, .status = 409,
     .want = {"\"payment_status\":\"succeeded\""}},
    {"capture, not authorized when it was asked first", CAPTURING,
     .steps = {{SHOW, AUTHORIZED}, {"pay_act payment:{1}:33", "15 1 r0 '26' processing reserved"}}, .status = 409,
     .want = {"payment 33 is processing, its order reserved", "\"request_id\":\"r0\"", "Idempotent-Replayed: true"}},
    {"capture, key of another", CAPTURING, .steps = {{SHOW, AUTHORIZED}, {"pay_act payment:{1}:33", "12"}}, .status = 422},
    {"capture, gone in between", CAPTURING, .steps = {{SHOW, AUTHORIZED}, {"pay_act payment:{1}:33", "10"}}, .status = 404},
    {"void", .flow = &VOID_FLOW,
     .steps = {{SHOW, AUTHORIZED},
               {"pay_act payment:{1}:33 1 33 * * void '' r1", "0 1099 USD 3 void:3 doc"},
               {"gateway void souk-33-void:3 * * * ch_1", "voided ch_1"},
               {"pay_result payment:{1}:33 1 33 void:3 voided", "0 4 voided 17 reserved none 5"},
               {SHOW, RECORD("voided", "4", "0", "0", "", "ch_1", "0", "'voided|0|0|3000|void_voided||r1'")}},
     .status = 200, .want = {"\"status\":\"voided\""}},
    {"void, refused by the gateway", .flow = &VOID_FLOW,
     .steps = {{SHOW, AUTHORIZED},
               {"pay_act payment:{1}:33", "0 1099 USD 3 void:3 doc"},
               {"gateway void", "failed already_captured"},
               {"pay_result payment:{1}:33", "0 4 authorized 17 reserved authorized 5"},
               {SHOW, AUTHORIZED}},
     .status = 402},
};

#define REFUNDING .flow = &REFUND_FLOW, .shape = &REFUND_BODY
#define PAID RECORD("succeeded", "2", "1099", "0", "", "ch_1", "0", "")
#define REFUND_RECORD(status) RECORD("refunded", "4", "1099", "1099", "", "ch_1", "1", "'" status "|1099|3000|refund:1|h|4000|was|broken'")
#define REFUND_INTENT \
    { \
        "refund payment:{1}:33 1 33 * * '' '' r1 7000", "0 1 1099 USD refund:1 3000" \
    }
static const struct talk REFUND_TALKS[] = {
    {"refund", REFUNDING,
     .steps = {{SHOW, PAID},
               REFUND_INTENT,
               {"gateway refund souk-33-refund:1 1099 * * ch_1", "succeeded ch_1"},
               {"refund_result payment:{1}:33 1 33 1 succeeded '' r1 1000", "0 4 refunded refunded succeeded"},
               {SHOW, REFUND_RECORD("succeeded")}},
     .status = 201,
     .want = {"{\"number\":1,\"payment_id\":33,\"order_id\":17,\"amount\":10.99,\"currency\":\"USD\",\"status\":\"succeeded\","
              "\"reason\":\"was|broken\",\"created_at\":\"1970-01-01T00:00:03.000Z\"}"}},
    {"part, with a reason", REFUNDING, .json = "{\"amount\":1,\"reason\":\"late\"}",
     .steps = {{SHOW, PAID}, {"refund payment:{1}:33 1 33 * * 100 late r1", "13 1"}}, .status = 409},
    {"no answer", REFUNDING,
     .steps = {{SHOW, PAID},
               REFUND_INTENT,
               {"gateway refund", "unknown"},
               {"refund_result payment:{1}:33 1 33 1 unknown", "0 4 succeeded paid unknown"},
               {SHOW, REFUND_RECORD("unknown")}},
     .status = 202},
    {"not reached", REFUNDING,
     .steps = {{SHOW, PAID},
               REFUND_INTENT,
               {"gateway refund", "not_sent"},
               {"refund_result payment:{1}:33 1 33 1 unknown", "0 4 succeeded paid unknown"},
               {SHOW, REFUND_RECORD("unknown")}},
     .status = 202},
    {"refused by the gateway", REFUNDING,
     .steps = {{SHOW, PAID},
               REFUND_INTENT,
               {"gateway refund", "failed no"},
               {"refund_result payment:{1}:33 1 33 1 failed no", "0 4 succeeded paid failed"},
               {SHOW, REFUND_RECORD("failed")}},
     .status = 402},
    {"the reconciler was faster", REFUNDING,
     .steps = {{SHOW, PAID},
               REFUND_INTENT,
               {"gateway refund", "unknown"},
               {"refund_result payment:{1}:33", "16 succeeded"},
               {SHOW, REFUND_RECORD("succeeded")}},
     .status = 201},
    {"result lost", REFUNDING,
     .steps = {{SHOW, PAID}, REFUND_INTENT, {"gateway refund", "succeeded ch_1"}, {"refund_result payment:{1}:33", "NOT_SENT"}}, .status = 503,
     .want = {"outcome_unknown"}},
    {"replay shows what was answered", REFUNDING,
     .steps = {{SHOW, PAID}, {"refund payment:{1}:33", "14 1 unknown 4"}, {SHOW, REFUND_RECORD("succeeded")}}, .status = 202,
     .want = {"\"status\":\"unknown\"", "Idempotent-Replayed: true"}},
    {"above what is left", REFUNDING, .json = "{\"amount\":99}", .steps = {{SHOW, PAID}, {"refund payment:{1}:33", "15 0 r1 29 599"}}, .status = 422,
     .want = {"\"refundable\":5.99"}},
    {"above what was left", REFUNDING, .json = "{\"amount\":99}", .steps = {{SHOW, PAID}, {"refund payment:{1}:33", "15 1 r0 '29' '599'"}},
     .status = 422, .want = {"\"request_id\":\"r0\",\"refundable\":5.99", "Idempotent-Replayed: true"}},
    {"not captured", REFUNDING, .steps = {{SHOW, AUTHORIZED}, {"refund payment:{1}:33", "26 authorized"}}, .status = 409},
    {"key of another", REFUNDING, .steps = {{SHOW, PAID}, {"refund payment:{1}:33", "12"}}, .status = 422},
    {"none there", REFUNDING, .steps = {{SHOW, NO_RECORD}}, .status = 404},
    {"digits", REFUNDING, .json = "{\"amount\":0.001}", .steps = {{SHOW, PAID}}, .status = 422, .want = {"/amount"}},
    {"list, empty", .flow = &REFUND_LIST_FLOW, .steps = {{SHOW, PAID}}, .status = 200, .want = {"[]"}},
    {"list", .flow = &REFUND_LIST_FLOW,
     .steps = {{SHOW, RECORD("succeeded", "6", "1099", "200", "", "ch_1", "2", "")},
               {"HMGET payment:{1}:33 refund1 refund2", "'succeeded|200|3000|refund:1||4000|' 'unknown|5|3000|refund:2||4000|x'"}},
     .status = 200, .want = {"\"number\":1", "\"number\":2", "\"amount\":0.05"}},
    {"list, damaged", .flow = &REFUND_LIST_FLOW,
     .steps = {{SHOW, RECORD("succeeded", "6", "1099", "200", "", "ch_1", "1", "")}, {"HMGET payment:{1}:33 refund1", "nil"}}, .status = 500},
    {"list, none there", .flow = &REFUND_LIST_FLOW, .steps = {{SHOW, NO_RECORD}}, .status = 404},
};

static const struct talk READ_TALKS[] = {
    {"get", .flow = &PAYMENT_GET_FLOW, .steps = {{SHOW, PAID}}, .status = 200, .want = {"\"status\":\"succeeded\"", "ETag: \"v2\""}},
    {"get, not changed", .flow = &PAYMENT_GET_FLOW, .if_none_match = "\"v1\", W/\"v2\"", .steps = {{SHOW, PAID}}, .status = 304,
     .want = {"ETag: \"v2\""}},
    {"get, changed", .flow = &PAYMENT_GET_FLOW, .if_none_match = "\"v1\"", .steps = {{SHOW, PAID}}, .status = 200},
    {"get, none there", .flow = &PAYMENT_GET_FLOW, .steps = {{SHOW, NO_RECORD}}, .status = 404},
    {"get, shard away", .flow = &PAYMENT_GET_FLOW, .steps = {{SHOW, "UNKNOWN"}}, .status = 503, .want = {"shard_unavailable"}},
    {"wait, decided", .flow = &PAYMENT_GET_FLOW, .param = "wait", .value = "5", .steps = {{SHOW, PAID}}, .status = 200},
    {"wait, decided later", .flow = &PAYMENT_GET_FLOW, .param = "wait", .value = "1",
     .steps = {{SHOW, RECORD("processing", "1", "0", "0", "", "", "0", "")},
               {"sleep 50", ""},
               {SHOW, RECORD("unknown", "2", "0", "0", "", "", "0", "")},
               {"sleep 50", ""},
               {SHOW, PAID}},
     .status = 200},
    {"wait 0", .flow = &PAYMENT_GET_FLOW, .param = "wait", .value = "0", .status = 400},
    {"wait 6", .flow = &PAYMENT_GET_FLOW, .param = "wait", .value = "6", .status = 400},
    {"wait, garbage", .flow = &PAYMENT_GET_FLOW, .param = "wait", .value = "-1", .status = 400},
    {"of an order", .flow = &PAYMENT_LIST_FLOW, .param = "order_id", .value = "17",
     .steps = {{"HMGET order:{1}:17 payments user", "'33,49' ann"}, {"HMGET payment:{1}:49", PAID}, {"HMGET payment:{1}:33", FAILED}}, .status = 200,
     .want = {"[{\"id\":49", "{\"id\":33"}},
    {"of an order without", .flow = &PAYMENT_LIST_FLOW, .param = "order_id", .value = "17", .steps = {{"HMGET order:{1}:17", "'' ann"}},
     .status = 200, .want = {"[]"}},
    {"of no order", .flow = &PAYMENT_LIST_FLOW, .param = "order_id", .value = "17", .steps = {{"HMGET order:{1}:17", "nil nil"}}, .status = 200,
     .want = {"[]"}},
    {"of an order, one missing", .flow = &PAYMENT_LIST_FLOW, .param = "order_id", .value = "17",
     .steps = {{"HMGET order:{1}:17", "'33,49' ann"}, {"HMGET payment:{1}:49", PAID}, {"HMGET payment:{1}:33", NO_RECORD}}, .status = 500},
    {"order_id 0", .flow = &PAYMENT_LIST_FLOW, .param = "order_id", .value = "0", .status = 400},
    {"order_id, garbage", .flow = &PAYMENT_LIST_FLOW, .param = "order_id", .value = "x", .status = 400},
    {"no such status", .flow = &PAYMENT_LIST_FLOW, .param = "status", .value = "paid", .status = 400},
    {"refund_due=false", .flow = &PAYMENT_LIST_FLOW, .param = "refund_due", .value = "false", .status = 400},
    {"limit 0", .flow = &PAYMENT_LIST_FLOW, .param = "limit", .value = "0", .status = 400},
    {"failed ones", .flow = &PAYMENT_LIST_FLOW, .param = "status", .value = "failed",
     .steps = {{"list payments:{*", "0 0 5 '33' [5 '33' 'failed' '2' '17' '1099' 'USD' '0' '0' 'automatic' 'no' '1000' '2000' '' '0']"},
               {"list payments:{*", "0 0 '' ''"},
               {"list payments:{*", "0 0 '' ''"}},
     .status = 200, .want = {"[{\"id\":33,", "\"failure\":\"no\""}},
    {"a shard away", .flow = &PAYMENT_LIST_FLOW, .param = "refund_due", .value = "true",
     .steps = {{"list payments:{*", "NOT_SENT"}, {"list *", "0 0 '' ''"}, {"list *", "0 0 '' ''"}}, .status = 503},
};

/* payment_read's answer, as far as it matters. */
#define DUTY(duty, n, op) "0 5000 " duty " " n " unknown 2 17 1099 USD 0 0 0 " op " automatic 1000 2000 ch_1 '' h 0 doc reserved pending 9"
#define READ "payment_read payment:{1}:33 1 33"
#define DONE \
    { \
        "pay_done payment:{1}:33 1 33", "0" \
    }
static const struct talk RECONCILE_TALKS[] = {
    {"none", .steps = {{READ, DUTY("none", "0", "charge:1")}, DONE}},
    {"gone", .steps = {{READ, "10"}, DONE}},
    {"shard away", .steps = {{READ, "NOT_SENT"}}},
    {"charge had succeeded", .steps = {{READ, DUTY("reconcile", "0", "charge:1")},
                                       {"gateway settle souk-33-charge:1", "succeeded ch_1"},
                                       {"pay_result payment:{1}:33 1 33 charge:1 succeeded ch_1 '' 60000 1000 ''", "0 3 succeeded 17 paid paid 9"},
                                       {"order_read order:{1}:17", "10"},
                                       DONE}},
    {"charge is closed", .steps = {{READ, DUTY("reconcile", "0", "charge:1")},
                                   {"gateway settle souk-33-charge:1", "failed closed"},
                                   {"pay_result payment:{1}:33 1 33 charge:1 failed '' closed", "0 3 failed 17 reserved none 9"},
                                   DONE}},
    {"still unknown", .steps = {{READ, DUTY("reconcile", "0", "charge:1")},
                                {"gateway settle", "not_sent"},
                                {"pay_result payment:{1}:33 1 33 charge:1 unknown", "0 2 unknown 17 reserved pending 9"},
                                DONE}},
    {"decided meanwhile", .steps = {{READ, DUTY("reconcile", "0", "charge:1")},
                                    {"gateway settle", "succeeded ch_1"},
                                    {"pay_result payment:{1}:33", "16 3 succeeded"},
                                    DONE}},
    {"does not fit",
     .steps = {{READ, DUTY("reconcile", "0", "charge:1")}, {"gateway settle", "voided ch_1"}, {"pay_result payment:{1}:33", "26 unknown"}, DONE}},
    {"result lost",
     .steps = {{READ, DUTY("reconcile", "0", "charge:1")}, {"gateway settle", "succeeded ch_1"}, {"pay_result payment:{1}:33", "UNKNOWN"}}},
    {"void", .steps = {{READ, DUTY("void", "0", "authorize:1")},
                       {"pay_act payment:{1}:33 1 33 '' '' void '' '' 7000", "0 1099 USD 3 void:3 doc"},
                       {"gateway void souk-33-void:3 * * * ch_1", "voided ch_1"},
                       {"pay_result payment:{1}:33 1 33 void:3 voided", "0 4 voided 17 cancelled none 9"},
                       DONE}},
    {"void, begun by another", .steps = {{READ, DUTY("void", "0", "authorize:1")}, {"pay_act payment:{1}:33", "26 processing cancelled"}, DONE}},
    {"refund", .steps = {{READ, DUTY("refund", "0", "charge:1")},
                         {"refund payment:{1}:33 1 33 '' '' '' * '' 7000", "0 2 99 USD refund:2 3000"},
                         {"gateway refund souk-33-refund:2 99 * * ch_1", "succeeded ch_1"},
                         {"refund_result payment:{1}:33 1 33 2 succeeded '' '' 1000", "0 4 refunded refunded succeeded"},
                         DONE}},
    {"refund, under way", .steps = {{READ, DUTY("refund", "0", "charge:1")}, {"refund payment:{1}:33", "13 1"}, DONE}},
    {"refund was made", .steps = {{READ, DUTY("reconcile_refund", "2", "charge:1")},
                                  {"gateway settle souk-33-refund:2", "succeeded ch_1"},
                                  {"refund_result payment:{1}:33 1 33 2 succeeded", "0 4 refunded refunded succeeded"},
                                  DONE}},
    {"refund was not", .steps = {{READ, DUTY("reconcile_refund", "2", "charge:1")},
                                 {"gateway settle souk-33-refund:2", "failed closed"},
                                 {"refund_result payment:{1}:33 1 33 2 failed closed", "0 4 succeeded refund_due failed"},
                                 DONE}},
};

/* ---- running a talk ---- */

/* The reconciler is a child; this is its parent. */
static void parent_start(struct flow *flow)
{
    flow_spawn(flow, reconcile_new(flow, PAYMENT), 0, 0);
}

static void parent_got_child(struct flow *flow, struct flow *child)
{
    flow_end(flow);
}

static const struct flow_type PARENT = {.name = "parent", .size = sizeof(struct flow), .start = parent_start, .got_child = parent_got_child};

/* The ask that the door would make. */
static struct ask *make_ask(struct arena *arena, const struct talk *talk)
{
    struct ask *ask = ARENA_NEW(arena, struct ask);
    struct faults faults;
    *ask = (struct ask){.route = "/payments", .ids = {PAYMENT}, .key = VIEW("k1"), .request_id = VIEW("r1")};
    ask->if_none_match = view_of(talk->if_none_match);
    faults_init(&faults, arena);
    if (talk->param) {
        struct param *param = ARENA_NEW(arena, struct param);
        *param = (struct param){view_of(talk->param), view_of(talk->value)};
        ask->params = param;
        ask->param_count = 1;
    }
    if (talk->json) {
        struct value *document = ARENA_NEW(arena, struct value);
        void *body = arena_alloc(arena, talk->shape->size);
        assert_null(value_read(FORMAT_JSON, arena, view_of(talk->json), document));
        assert_true(shape_read(talk->shape, document, body, arena, &faults));
        ask->document = document;
        ask->body = body;
    }
    return ask;
}

/* Compares one part with a word: '' is empty, * anything, and a trailing * anything from there on. */
static void assert_word(const char *name, const char *ask, const char *word, const char *part)
{
    size_t len = strlen(word);
    bool open = len > 0 && word[len - 1] == '*';
    const char *want = strcmp(word, "''") == 0 ? "" : word;
    if (open ? strncmp(part, want, len - 1) != 0 : strcmp(part, want) != 0)
        fail_msg("%s: asked \"%s\", but there stands %s", name, ask, part);
}

static enum gateway_result result_of(const char *word)
{
    static const char *const WORDS[] = {"succeeded", "authorized", "voided", "failed", "unknown", "not_sent"};
    enum gateway_result result = GATEWAY_SUCCEEDED;
    while (strcmp(WORDS[result], word) != 0)
        result++;
    return result;
}

/* Gives an errand "succeeded ch_1". */
static void give_errand(struct driver *driver, struct errand *base, const char *give)
{
    struct gateway_errand *errand = (struct gateway_errand *)base;
    char word[32] = "", rest[64] = "";
    sscanf(give, "%31s %63s", word, rest);
    errand->result = result_of(word);
    struct view more = arena_copy(errand->arena, view_of(rest));
    if (errand->result == GATEWAY_FAILED)
        errand->failure = more;
    else
        errand->result_ref = more;
    driver_errand_done(driver, base);
}

static void step_errand(struct driver *driver, const char *name, const struct step *step)
{
    static const char *const OPS[] = {"charge", "authorize", "capture", "void", "refund", "settle"};
    struct errand *base = driver_next_errand(driver);
    if (base == NULL)
        fail_msg("%s: the gateway is not asked \"%s\"", name, step->ask);
    const struct gateway_errand *errand = (const struct gateway_errand *)base;
    struct arena *arena = driver_arena(driver);
    const char *parts[] = {"gateway",
                           OPS[errand->op],
                           arena_copy(arena, errand->key).at,
                           arena_printf(arena, "%lld", (long long)errand->amount).at,
                           arena_copy(arena, errand->currency).at,
                           arena_copy(arena, errand->token).at,
                           arena_copy(arena, errand->ref).at};
    char text[256];
    size_t n = 0;
    snprintf(text, sizeof(text), "%s", step->ask);
    for (char *save, *word = strtok_r(text, " ", &save); word; word = strtok_r(NULL, " ", &save), n++)
        assert_word(name, step->ask, word, parts[n]);
    give_errand(driver, base, step->give);
}

static void step_call(struct driver *driver, const char *name, const struct step *step)
{
    struct call *call = driver_next_call(driver);
    char text[256];
    if (call == NULL)
        fail_msg("%s: \"%s\" is not asked", name, step->ask);
    unsigned n = 0;
    snprintf(text, sizeof(text), "%s", step->ask);
    char *save, *word = strtok_r(text, " ", &save);
    if (call->function)
        assert_word(name, step->ask, word, call->function->name);
    else
        assert_word(name, step->ask, word, driver_part(driver, call, n++));
    while ((word = strtok_r(NULL, " ", &save)))
        assert_word(name, step->ask, word, driver_part(driver, call, n++));
    if (strcmp(step->give, "NOT_SENT") == 0)
        driver_reply_kind(driver, call, REPLY_NOT_SENT);
    else if (strcmp(step->give, "UNKNOWN") == 0)
        driver_reply_kind(driver, call, REPLY_UNKNOWN);
    else
        driver_reply(driver, call, step->give);
}

static void step_take(struct driver *driver, const char *name, const struct step *step)
{
    if (strncmp(step->ask, "gateway", 7) == 0) {
        step_errand(driver, name, step);
    } else if (strncmp(step->ask, "sleep", 5) == 0) {
        assert_int_equal(driver_sleep_ms(driver), 50);
        driver_wake(driver);
    } else {
        /* The client does not wait for what the order owes to the stock. */
        if (strncmp(step->ask, "order_read", 10) == 0 && driver_root(driver)->ask)
            assert_non_null(driver_answer(driver));
        step_call(driver, name, step);
    }
}

static void assert_want(struct driver *driver, const char *name, const char *want)
{
    const char *colon = strstr(want, ": ");
    if (colon && want[0] >= 'A' && want[0] <= 'Z') {
        const char *header = driver_header(driver, arena_copy(driver_arena(driver), (struct view){want, (size_t)(colon - want)}).at);
        if (header == NULL || strcmp(header, colon + 2) != 0)
            fail_msg("%s: want %s, there is %s", name, want, header ? header : "none");
    } else if (strstr(driver_body(driver), want) == NULL) {
        fail_msg("%s: %s is not in %s", name, want, driver_body(driver));
    }
}

static void run_talk(const struct talk *talk)
{
    struct settings settings = SETTINGS;
    struct driver *driver = driver_new();
    driver_world(driver)->settings = &settings;
    driver_flow(driver, talk->flow ? talk->flow : &PARENT, talk->flow ? make_ask(driver_arena(driver), talk) : NULL);
    driver_go(driver);
    for (size_t i = 0; i < STEPS_MAX && talk->steps[i].ask; i++)
        step_take(driver, talk->name, &talk->steps[i]);
    if (!driver_over(driver))
        fail_msg("%s: not over, %u events wait", talk->name, driver_waiting(driver));
    const struct answer *answer = driver_finish(driver);
    if (talk->flow && answer->status != talk->status)
        fail_msg("%s: want %d, got %d %s", talk->name, talk->status, answer->status, driver_body(driver));
    for (size_t i = 0; i < 3 && talk->want[i]; i++)
        assert_want(driver, talk->name, talk->want[i]);
    driver_free(driver);
}

#define RUN(talks) \
    for (size_t i = 0; i < sizeof(talks) / sizeof(*(talks)); i++) \
    run_talk(&(talks)[i])

static void test_pay(void **state)
{
    RUN(PAY_TALKS);
}

static void test_act(void **state)
{
    RUN(ACT_TALKS);
}

static void test_refund(void **state)
{
    RUN(REFUND_TALKS);
}

static void test_read(void **state)
{
    RUN(READ_TALKS);
}

static void test_reconcile(void **state)
{
    RUN(RECONCILE_TALKS);
}

/* With wait=1 a payment that is never decided is shown as it is after 20 steps. */
static void test_wait_is_bounded(void **state)
{
    const struct talk talk = {"wait", .flow = &PAYMENT_GET_FLOW, .param = "wait", .value = "1"};
    struct driver *driver = driver_new();
    unsigned reads = 0;
    driver_flow(driver, talk.flow, make_ask(driver_arena(driver), &talk));
    for (driver_go(driver); !driver_over(driver); reads++) {
        if (driver_sleep_ms(driver) >= 0)
            driver_wake(driver);
        driver_reply(driver, driver_next_call(driver), RECORD("unknown", "2", "0", "0", "", "", "0", ""));
    }
    assert_int_equal(reads, 21);
    assert_int_equal(driver_finish(driver)->status, 200);
    driver_free(driver);
}

/* ---- every way ---- */

static struct flow *make_any(struct driver *driver, const void *cookie)
{
    const struct talk *talk = cookie;
    struct settings *settings = ARENA_NEW(driver_arena(driver), struct settings);
    *settings = (struct settings)SETTINGS;
    driver_world(driver)->settings = settings;
    return driver_flow(driver, talk->flow ? talk->flow : &PARENT, talk->flow ? make_ask(driver_arena(driver), talk) : NULL);
}

/* What a function may say, in words. */
static const struct {
    const struct function *function;
    const char *says[12];
} SAYINGS[] = {
    {&FN_PAY, {"0 33 1099 USD 1000 1 charge:1", "14 33 2", "13 33", "10", "12", "26 paid paid", "27 49", "28", "29 1100", "99"}},
    {&FN_PAY_ACT,
     {"0 1099 USD 3 capture:3 doc", "14 4", "13 3", "10", "12", "26 failed reserved", "29 1099", "15 0 r 26 failed reserved", "15 1 r 29 1099"}},
    {&FN_PAY_RESULT, {"0 2 succeeded 17 paid paid 5", "0 2 unknown 17 reserved pending 5", "16 2 failed", "26 succeeded", "10"}},
    {&FN_REFUND, {"0 1 1099 USD refund:1 3000", "14 1 unknown 4", "13 1", "10", "12", "26 failed", "29 0", "15 0 r 26 failed", "15 1 r 29 0"}},
    {&FN_REFUND_RESULT, {"0 4 refunded refunded succeeded", "0 4 succeeded paid unknown", "16 failed", "10"}},
    {&FN_PAYMENT_READ,
     {DUTY("none", "0", "charge:1"), DUTY("reconcile", "0", "charge:1"), DUTY("reconcile_refund", "1", "charge:1"), DUTY("void", "0", "charge:1"),
      DUTY("refund", "0", "charge:1"), "10"}},
    {&FN_PAY_DONE, {"0", "0 5000"}},
    {&FN_ORDER_READ, {"10"}},
    {&FN_LIST, {"0 0 '' ''", "0 1 5 '33'"}},
};
static const char *const RECORDS_SAID[] = {SUCCEEDED,  FAILED,
                                           AUTHORIZED, REFUND_RECORD("succeeded"),
                                           NO_RECORD,  RECORD("x", "y", "", "", "", "", "", "nil")};

static bool say(struct driver *driver, struct call *call, const char *const *says, size_t count, unsigned n)
{
    if (n >= count || says[n] == NULL)
        return false;
    driver_reply(driver, call, says[n]);
    return true;
}

static bool feed_any(struct driver *driver, struct call *call, unsigned n)
{
    static const char *const HGETS[] = {"='USD'", "='33'", "=nil", "=''"};
    if (call->function == NULL && strcmp(driver_part(driver, call, 0), "HGET") == 0)
        return say(driver, call, HGETS, 4, n);
    if (call->function == NULL)
        return say(driver, call, RECORDS_SAID, sizeof(RECORDS_SAID) / sizeof(*RECORDS_SAID), n);
    for (size_t i = 0; i < sizeof(SAYINGS) / sizeof(*SAYINGS); i++)
        if (call->function == SAYINGS[i].function)
            return say(driver, call, SAYINGS[i].says, 12, n);
    fail_msg("nothing is known to say to %s", call->function->name);
    return false;
}

static bool fill_any(struct errand *base, unsigned n)
{
    struct gateway_errand *errand = (struct gateway_errand *)base;
    if (n > GATEWAY_NOT_SENT)
        return false;
    errand->result = (enum gateway_result)n;
    ((struct settings *)base->flow->world->settings)->asked++;
    return true;
}

/* Once the gateway was asked, the client is never told that nothing was done. */
static void check_any(struct driver *driver, const void *cookie)
{
    const struct settings *settings = driver_world(driver)->settings;
    const struct answer *answer = driver_answer(driver);
    assert_true(settings->asked <= 1);
    if (answer == NULL || settings->asked == 0)
        return;
    bool outcome = answer->status == 200 || answer->status == 201 || answer->status == 202 || answer->status == 402 || answer->status == 500;
    if (!outcome && (answer->status != 503 || strstr(driver_body(driver), "outcome_unknown") == NULL))
        fail_msg("%d after the gateway was asked: %s", answer->status, driver_body(driver));
}

static void test_every_way(void **state)
{
    static const struct talk TALKS[] = {
        {"pay", PAYING},
        {"pay, amount", .flow = &PAY_FLOW, .shape = &PAY_BODY, .json = PAY_AMOUNT},
        {"capture", CAPTURING},
        {"void", .flow = &VOID_FLOW},
        {"refund", REFUNDING, .json = "{\"amount\":1}"},
        {"refunds", .flow = &REFUND_LIST_FLOW},
        {"get", .flow = &PAYMENT_GET_FLOW},
        {"of an order", .flow = &PAYMENT_LIST_FLOW, .param = "order_id", .value = "17"},
        {"list", .flow = &PAYMENT_LIST_FLOW},
        {"reconcile", .flow = NULL},
    };
    for (size_t i = 0; i < sizeof(TALKS) / sizeof(*TALKS); i++) {
        const struct exploration exploration = {
            .make = make_any, .feed = feed_any, .fill = fill_any, .check = check_any, .cookie = &TALKS[i], .steps_max = 16};
        print_message("%s: %u ways\n", TALKS[i].name, driver_explore(&exploration));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pay),       cmocka_unit_test(test_act),       cmocka_unit_test(test_refund),
        cmocka_unit_test(test_read),      cmocka_unit_test(test_reconcile), cmocka_unit_test(test_wait_is_bounded),
        cmocka_unit_test(test_every_way),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
