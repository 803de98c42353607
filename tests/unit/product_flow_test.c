#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "functions.h"

#include "product.h"

#include "flow_driver.h"

/*
 * The catalogue's flows as conversations: a request, what it asks the shards, what they answer, what the client gets.
 */
#define ID 17
#define PARTITION "1" /* 17 modulo the driver's 16 partitions */

/* One request as the door would hand it on. Texts are borrowed. */
struct request {
    const struct flow_type *type;
    const struct shape *shape; /* NULL: the document is left as it is */
    const char *json, *if_match, *if_none_match, *params[2][2];
    enum format format;
    bool no_id;
};

struct asked {
    struct arena *arena;
    struct param params[2];
    struct ask ask;
};

static struct value read_json(struct arena *arena, const char *text)
{
    struct value value;
    const char *wrong = value_read(FORMAT_JSON, arena, view_of(text), &value);
    if (wrong)
        fail_msg("%s: %s", text, wrong);
    return value;
}

static struct asked ask_for(const struct request *request)
{
    struct asked asked = {.arena = arena_new(),
                          .ask = {.route = "/products/{id}", .format = request->format, .request_id = VIEW("r1"), .key = VIEW("k1")}};
    struct ask *ask = &asked.ask;
    ask->ids[0] = request->no_id ? 0 : ID;
    ask->if_match = view_of(request->if_match);
    ask->if_none_match = view_of(request->if_none_match);
    ask->create_only = view_equal(ask->if_none_match, VIEW("*"));
    if (request->json) {
        struct value *document = ARENA_NEW(asked.arena, struct value);
        struct faults faults;
        faults_init(&faults, asked.arena);
        *document = read_json(asked.arena, request->json);
        ask->document = document;
        if (request->shape) {
            void *bound = arena_alloc(asked.arena, request->shape->size);
            assert_true(shape_read(request->shape, document, bound, asked.arena, &faults));
            ask->body = bound;
        }
    }
    return asked;
}

/* The query is part of the struct that moves, so it is set where that has come to rest. */
static void set_params(struct asked *asked, const struct request *request)
{
    for (int i = 0; i < 2 && request->params[i][0]; i++)
        asked->params[asked->ask.param_count++] = (struct param){view_of(request->params[i][0]), view_of(request->params[i][1])};
    asked->ask.params = asked->params;
}

struct talk {
    struct asked asked;
    struct driver *driver;
};

static void talk_start(struct talk *talk, const struct request *request)
{
    talk->asked = ask_for(request);
    set_params(&talk->asked, request);
    talk->driver = driver_start(request->type, &talk->asked.ask);
}

static void talk_end(struct talk *talk)
{
    driver_free(talk->driver);
    arena_free(talk->asked.arena);
}

/* A stored document, from its JSON. */
static struct view doc_of(struct arena *arena, const char *json)
{
    struct value value = read_json(arena, json);
    struct writer writer;
    writer_init(&writer, FORMAT_MSGPACK, arena);
    writer_value(&writer, &value);
    return writer_done(&writer);
}

static const char *json_of(struct arena *arena, struct view msgpack)
{
    struct value value;
    struct writer writer;
    assert_null(value_read(FORMAT_MSGPACK, arena, msgpack, &value));
    writer_init(&writer, FORMAT_JSON, arena);
    writer_value(&writer, &value);
    return arena_copy(arena, writer_done(&writer)).at;
}

#define CUP "{\"schema\":1,\"name\":\"Cup\",\"price\":1099,\"currency\":\"USD\"}"
#define MUG "{\"schema\":1,\"name\":\"Mug\",\"price\":2000,\"currency\":\"USD\",\"attributes\":{\"size\":{\"h\":9,\"w\":8.5},\"tags\":[\"a\"]}}"

/* Compares a call with "part part …"; a part * may be anything. */
static void assert_call(struct driver *driver, const struct call *call, const char *want)
{
    char text[512];
    unsigned n = 0;
    assert_non_null(call);
    snprintf(text, sizeof(text), "%s", want);
    for (char *save, *word = strtok_r(text, " ", &save); word; word = strtok_r(NULL, " ", &save), n++)
        if (strcmp(word, "*") != 0)
            assert_string_equal(driver_part(driver, call, n), strcmp(word, "''") == 0 ? "" : word);
    assert_int_equal(call->keys + call->args, n);
}

/* The end of a talk: its status, and what must be in its body (NULL: anything). */
static void assert_answer(struct talk *talk, int status, const char *want)
{
    const struct answer *answer = driver_finish(talk->driver);
    assert_int_equal(answer->status, status);
    if (want && strstr(driver_body(talk->driver), want) == NULL)
        fail_msg("%s is not in %s", want, driver_body(talk->driver));
}

/* ---- GET /products/{id} ---- */

static void test_read(void **state)
{
    static const struct {
        const char *name, *words, *doc;
        int status;
        const char *want;
    } cases[] = {
        {"plain", "7 %", CUP, 200, "{\"id\":17,\"name\":\"Cup\",\"price\":10.99,\"currency\":\"USD\",\"version\":7}"},
        {"attributes", "1 %", MUG, 200, "\"version\":1,\"attributes\":{\"size\":{\"h\":9,\"w\":8.5},\"tags\":[\"a\"]}}"},
        {"no digits", "1 %", "{\"schema\":1,\"name\":\"x\",\"price\":5,\"currency\":\"JPY\"}", 200, "\"price\":5,"},
        {"price zero", "1 %", "{\"schema\":1,\"name\":\"x\",\"price\":0,\"currency\":\"KWD\"}", 200, "\"price\":0.000,"},
        {"of a newer version", "1 %", "{\"schema\":2,\"name\":\"x\",\"price\":1,\"currency\":\"USD\",\"new\":[1]}", 200, "\"name\":\"x\""},
        {"missing", "nil nil", NULL, 404, "\"code\":\"not_found\""},
        {"no document", "7 nil", NULL, 500, "\"code\":\"internal_error\""},
        {"damaged", "7 garbage", NULL, 500, "\"code\":\"internal_error\""},
        {"a price below 0", "7 %", "{\"schema\":1,\"name\":\"x\",\"price\":-1,\"currency\":\"USD\"}", 500, NULL},
        {"no such currency", "7 %", "{\"schema\":1,\"name\":\"x\",\"price\":1,\"currency\":\"ZZZ\"}", 500, NULL},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct talk talk;
        const struct request request = {.type = &PRODUCT_READ_FLOW};
        print_message("%s\n", cases[i].name);
        talk_start(&talk, &request);
        struct call *call = driver_next_call(talk.driver);
        assert_call(talk.driver, call, "HMGET product:{" PARTITION "}:17 v doc");
        assert_int_equal(call->partition, 1);
        driver_reply(talk.driver, call, cases[i].words, cases[i].doc ? doc_of(talk.asked.arena, cases[i].doc) : VIEW(""));
        assert_answer(&talk, cases[i].status, cases[i].want);
        const struct answer *answer = driver_answer(talk.driver);
        assert_int_equal(answer->keep, cases[i].status == 200);
        if (answer->keep) {
            assert_string_equal(driver_header(talk.driver, "ETag"), arena_printf(talk.asked.arena, "\"v%lld\"", (long long)answer->version).at);
            assert_int_equal(answer->rests_up_to, 17);
        }
        talk_end(&talk);
    }
}

static void test_read_msgpack(void **state)
{
    struct talk talk;
    const struct request request = {.type = &PRODUCT_READ_FLOW, .format = FORMAT_MSGPACK};
    talk_start(&talk, &request);
    driver_reply(talk.driver, driver_next_call(talk.driver), "7 %", doc_of(talk.asked.arena, CUP));
    assert_string_equal(json_of(talk.asked.arena, driver_finish(talk.driver)->body),
                        "{\"id\":17,\"name\":\"Cup\",\"price\":10.99,\"currency\":\"USD\",\"version\":7}");
    assert_string_equal(driver_answer(talk.driver)->content_type, "application/msgpack");
    talk_end(&talk);
}

/* ---- GET /products ---- */

static void test_list_by_ids(void **state)
{
    struct talk talk;
    const struct request request = {.type = &PRODUCT_LIST_FLOW, .params = {{"ids", "33,2,33,5,7"}}, .no_id = true};
    talk_start(&talk, &request);
    struct call *calls[4];
    for (int i = 0; i < 4; i++)
        assert_non_null(calls[i] = driver_next_call(talk.driver));
    assert_null(driver_next_call(talk.driver));
    assert_call(talk.driver, calls[0], "HMGET product:{1}:33 v doc");
    assert_call(talk.driver, calls[3], "HMGET product:{7}:7 v doc");
    driver_reply(talk.driver, calls[3], "3 %", doc_of(talk.asked.arena, CUP));
    driver_reply(talk.driver, calls[2], "1 damaged");
    driver_reply(talk.driver, calls[1], "nil nil");
    driver_reply(talk.driver, calls[0], "1 %", doc_of(talk.asked.arena, CUP));
    assert_answer(&talk, 200, NULL);
    assert_string_equal(driver_body(talk.driver), "[{\"id\":33,\"name\":\"Cup\",\"price\":10.99,\"currency\":\"USD\",\"version\":1},"
                                                  "{\"id\":7,\"name\":\"Cup\",\"price\":10.99,\"currency\":\"USD\",\"version\":3}]");
    talk_end(&talk);
}

static void test_list_parameters(void **state)
{
    static char hundred[512], too_many[512];
    const struct {
        const char *params[2][2];
        int status; /* 0: it asks the shards */
    } cases[] = {
        {{{NULL, NULL}}, 0},
        {{{"ids", "1"}}, 0},
        {{{"ids", "9007199254740991"}}, 0},
        {{{"ids", hundred}}, 0},
        {{{"ids", too_many}}, 400},
        {{{"ids", "9007199254740992"}}, 400},
        {{{"ids", ""}}, 400},
        {{{"ids", "0"}}, 400},
        {{{"ids", "-1"}}, 400},
        {{{"ids", "1,"}}, 400},
        {{{"ids", ",1"}}, 400},
        {{{"ids", "1,,2"}}, 400},
        {{{"ids", "1 2"}}, 400},
        {{{"ids", "a"}}, 400},
        {{{"ids", "1"}, {"limit", "5"}}, 400},
        {{{"ids", "1"}, {"cursor", "x"}}, 400},
        {{{"limit", "5"}}, 0},
        {{{"limit", "0"}}, 400},
        {{{"cursor", "x"}}, 400},
    };
    for (int i = 1; i <= 101; i++)
        snprintf(too_many + strlen(too_many), sizeof(too_many) - strlen(too_many), "%s%d", i > 1 ? "," : "", i);
    memcpy(hundred, too_many, strlen(too_many) - 4);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct request request = {.type = &PRODUCT_LIST_FLOW, .no_id = true};
        struct talk talk;
        memcpy(request.params, cases[i].params, sizeof(request.params));
        print_message("%s\n", cases[i].params[0][1] ? cases[i].params[0][1] : "none");
        talk_start(&talk, &request);
        assert_int_equal(driver_waiting(talk.driver) == 0, cases[i].status != 0);
        if (cases[i].status)
            assert_answer(&talk, cases[i].status, "\"code\":\"bad_request\"");
        talk_end(&talk);
    }
}

static void test_list_page(void **state)
{
    struct talk talk;
    const struct request request = {.type = &PRODUCT_LIST_FLOW, .params = {{"limit", "2"}}, .no_id = true};
    talk_start(&talk, &request);
    struct view cup = doc_of(talk.asked.arena, CUP);
    struct call *call = driver_next_call(talk.driver);
    assert_true(driver_calls(call, &FN_LIST));
    assert_string_equal(driver_part(talk.driver, call, call->keys), "product");
    assert_string_equal(driver_part(talk.driver, call, call->keys + 1), "asc");
    assert_string_equal(driver_part(talk.driver, call, call->keys + 8), "doc");
    driver_reply(talk.driver, call, "0 0 3 '3' [3 '3' '5' %]", cup);
    driver_reply(talk.driver, driver_next_call(talk.driver), "0 0 2 '2' [2 '2' '1' damaged]");
    driver_reply(talk.driver, driver_next_call(talk.driver), "0 1 7 '7' [7 '7' '1' %]", cup);
    assert_answer(&talk, 200, NULL);
    assert_string_equal(driver_body(talk.driver), "[{\"id\":3,\"name\":\"Cup\",\"price\":10.99,\"currency\":\"USD\",\"version\":5}]");
    assert_non_null(strstr(driver_header(talk.driver, "Link"), "?limit=2&cursor=3.3."));
    talk_end(&talk);
}

/* ---- POST /products ---- */

static const struct request CREATE = {
    .type = &PRODUCT_CREATE_FLOW,
    .shape = &PRODUCT_BODY,
    .no_id = true,
    .json = "{\"name\":\"Mug\",\"price\":19.990,\"stock\":5,\"attributes\":{\"a\":0.10,\"b\":null}}",
};

#define MUG_CREATED "{\"id\":33,\"name\":\"Mug\",\"price\":19.99,\"currency\":\"USD\",\"version\":1,\"attributes\":{\"a\":0.1,\"b\":null}}"

static void test_create(void **state)
{
    struct talk talk;
    talk_start(&talk, &CREATE);
    struct call *call = driver_next_call(talk.driver);
    const char *p = driver_part(talk.driver, call, 1);
    char key[64];
    snprintf(key, sizeof(key), "idem:{%s}:", p);
    assert_true(driver_calls(call, &FN_PRODUCT_CREATE));
    assert_memory_equal(driver_part(talk.driver, call, 0), key, strlen(key));
    assert_int_equal(strlen(driver_part(talk.driver, call, 0)), strlen(key) + 32);
    assert_int_equal(strlen(driver_part(talk.driver, call, 2)), 16);
    assert_string_equal(json_of(talk.asked.arena, call_part(call, 3)),
                        "{\"schema\":1,\"name\":\"Mug\",\"price\":1999,\"currency\":\"USD\",\"attributes\":{\"a\":0.1,\"b\":null}}");
    assert_string_equal(driver_part(talk.driver, call, 4), "5");
    struct view stored = arena_copy(talk.asked.arena, call_part(call, 3));
    driver_reply(talk.driver, call, "0 '33' 1");
    assert_answer(&talk, 201, NULL);
    assert_string_equal(driver_body(talk.driver), MUG_CREATED);
    assert_string_equal(driver_header(talk.driver, "Location"), "/products/33");
    assert_string_equal(driver_header(talk.driver, "ETag"), "\"v1\"");
    assert_null(driver_header(talk.driver, "Idempotent-Replayed"));
    driver_free(talk.driver);

    talk.driver = driver_start(CREATE.type, &talk.asked.ask);
    driver_reply(talk.driver, driver_next_call(talk.driver), "14 '33' '1' %", stored);
    assert_answer(&talk, 201, NULL);
    assert_string_equal(driver_body(talk.driver), MUG_CREATED);
    assert_string_equal(driver_header(talk.driver, "Location"), "/products/33");
    assert_string_equal(driver_header(talk.driver, "Idempotent-Replayed"), "true");
    driver_free(talk.driver);

    talk.driver = driver_start(CREATE.type, &talk.asked.ask);
    driver_reply(talk.driver, driver_next_call(talk.driver), "12");
    assert_answer(&talk, 422, "\"code\":\"idempotency_key_reused\"");
    driver_free(talk.driver);

    talk.driver = driver_start(CREATE.type, &talk.asked.ask);
    driver_reply_kind(talk.driver, driver_next_call(talk.driver), REPLY_UNKNOWN);
    assert_answer(&talk, 503, "\"code\":\"outcome_unknown\"");
    driver_free(talk.driver);

    talk.driver = driver_start(CREATE.type, &talk.asked.ask);
    driver_reply_kind(talk.driver, driver_next_call(talk.driver), REPLY_NOT_SENT);
    assert_answer(&talk, 503, "\"code\":\"shard_unavailable\"");
    talk_end(&talk);
}

/* Attributes of exactly ${bytes} of JSON. */
static const char *long_attributes(struct arena *arena, size_t bytes)
{
    char *text = arena_alloc(arena, bytes + 64);
    int head = sprintf(text, "{\"name\":\"x\",\"price\":1,\"attributes\":{\"a\":\"");
    memset(text + head, 'y', bytes - strlen("{'a':''}"));
    strcpy(text + head + bytes - strlen("{'a':''}"), "\"}}");
    return text;
}

static void test_create_checks(void **state)
{
    struct arena *arena = arena_new();
    const struct {
        const char *json;
        const char *want; /* the price in the document, or the pointer of a fault */
    } cases[] = {
        {"{\"name\":\"x\",\"price\":0}", "\"price\":0,"},
        {"{\"name\":\"x\",\"price\":\"19.9\"}", "\"price\":1990,"},
        {"{\"name\":\"x\",\"price\":1e2}", "\"price\":10000,"},
        {"{\"name\":\"x\",\"price\":90071992547409.91}", "\"price\":9007199254740991,"},
        {"{\"name\":\"x\",\"price\":19.9,\"currency\":\"KWD\"}", "\"price\":19900,"},
        {"{\"name\":\"x\",\"price\":19,\"currency\":\"JPY\"}", "\"price\":19,"},
        {"{\"name\":\"x\",\"price\":1,\"currency\":null,\"stock\":null,\"attributes\":null}", "\"currency\":\"USD\"}"},
        {"{\"name\":\"x\",\"price\":1,\"attributes\":{}}", "\"attributes\":{}}"},
        {long_attributes(arena, ATTRIBUTES_BYTES_MAX), "\"price\":100,"},
        {long_attributes(arena, ATTRIBUTES_BYTES_MAX + 1), "/attributes"},
        {"{\"name\":\"x\",\"price\":19.999}", "/price"},
        {"{\"name\":\"x\",\"price\":19.5,\"currency\":\"JPY\"}", "/price"},
        {"{\"name\":\"x\",\"price\":-1}", "/price"},
        {"{\"name\":\"x\",\"price\":\"\"}", "/price"},
        {"{\"name\":\"x\",\"price\":\"ten\"}", "/price"},
        {"{\"name\":\"x\",\"price\":1e400}", "/price"},
        {"{\"name\":\"x\",\"price\":90071992547409.92}", "/price"},
        {"{\"name\":\"x\",\"price\":1,\"currency\":\"ZZZ\"}", "/currency"},
        {"{\"name\":\"x\",\"price\":1,\"currency\":\"usd\"}", "/currency"},
        {"{\"name\":\"x\",\"price\":1,\"currency\":\"\"}", "/currency"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct request request = CREATE;
        struct talk talk;
        request.json = cases[i].json;
        print_message("%.100s\n", cases[i].json);
        talk_start(&talk, &request);
        if (cases[i].want[0] == '/') {
            assert_answer(&talk, 422, arena_printf(arena, "\"pointer\":\"%s\"", cases[i].want).at);
        } else {
            struct call *call = driver_next_call(talk.driver);
            assert_non_null(call);
            assert_non_null(strstr(json_of(arena, call_part(call, 3)), cases[i].want));
        }
        talk_end(&talk);
    }
    arena_free(arena);
}

/* ---- PUT, DELETE: conditions ---- */

#define PUT_JSON "{\"name\":\"Mug\",\"price\":20}"

static void test_put_create(void **state)
{
    struct talk talk;
    const struct request request = {
        .type = &PRODUCT_PUT_FLOW, .shape = &PRODUCT_BODY, .json = "{\"name\":\"Mug\",\"price\":20,\"stock\":3}", .if_none_match = "*"};
    talk_start(&talk, &request);
    struct call *call = driver_next_call(talk.driver);
    assert_true(driver_calls(call, &FN_PRODUCT_PUT));
    assert_call(talk.driver, call, "product:{1}:17 1 17 create '' * 3");
    driver_reply(talk.driver, call, "0 1");
    assert_answer(&talk, 201, "\"id\":17,\"name\":\"Mug\",\"price\":20.00");
    assert_string_equal(driver_header(talk.driver, "Location"), "/products/17");
    driver_free(talk.driver);

    talk.driver = driver_start(request.type, &talk.asked.ask);
    driver_reply(talk.driver, driver_next_call(talk.driver), "11 '4'");
    assert_answer(&talk, 412, "\"current_version\":4");
    driver_free(talk.driver);

    /* Under the id of one that was deleted: it goes on behind its versions, unless the call was sent before the deletion. */
    talk.driver = driver_start(request.type, &talk.asked.ask);
    driver_reply(talk.driver, driver_next_call(talk.driver), "0 '5'");
    assert_answer(&talk, 201, "\"version\":5");
    assert_string_equal(driver_header(talk.driver, "ETag"), "\"v5\"");
    driver_free(talk.driver);
    talk.driver = driver_start(request.type, &talk.asked.ask);
    driver_reply(talk.driver, driver_next_call(talk.driver), "2");
    assert_answer(&talk, 503, "\"code\":\"shard_unavailable\"");
    talk_end(&talk);
}

static void test_put_refused_at_once(void **state)
{
    static const struct {
        const char *json, *if_match, *if_none_match;
        int status;
        const char *want;
    } cases[] = {
        {"{\"name\":\"Mug\",\"price\":20,\"stock\":3}", "*", NULL, 422, "\"pointer\":\"/stock\""},
        {"{\"name\":\"Mug\",\"price\":20.001,\"stock\":3}", "*", NULL, 422, "\"pointer\":\"/price\""},
        {PUT_JSON, "v7", NULL, 400, "\"code\":\"bad_request\""},
        {PUT_JSON, "", NULL, 400, "\"code\":\"bad_request\""},
        {PUT_JSON, "\"v7\"", "*", 400, "\"code\":\"bad_request\""},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct talk talk;
        const struct request request = {.type = &PRODUCT_PUT_FLOW,
                                        .shape = &PRODUCT_BODY,
                                        .json = cases[i].json,
                                        .if_match = cases[i].if_match,
                                        .if_none_match = cases[i].if_none_match};
        talk_start(&talk, &request);
        assert_answer(&talk, cases[i].status, cases[i].want);
        talk_end(&talk);
    }
}

/* What a write expects at first, what the shard says, what it expects then (NULL: it asks no more), and the answer. */
static void test_conditions(void **state)
{
    static const struct {
        const char *if_match, *expects, *words, *then_expects, *then_words;
        int put_status, delete_status;
        const char *want;
    } cases[] = {
        {"*", "*", "0 8", NULL, NULL, 200, 204, NULL},
        {"\"v7\"", "7", "0 8", NULL, NULL, 200, 204, NULL},
        {"\"v7\"", "7", "11 '9'", NULL, NULL, 412, 412, "\"current_version\":9"},
        {"\"v7\", \"v9\"", "7", "11 '9'", "9", "0 10", 200, 204, NULL},
        {"\"v7\", \"v9\"", "7", "11 '9'", "9", "11 '10'", 412, 412, "\"current_version\":10"},
        {"W/\"v7\"", "0", "11 '7'", NULL, NULL, 412, 412, "\"current_version\":7"},
        {"\"other\"", "0", "11 '7'", NULL, NULL, 412, 412, "\"current_version\":7"},
        {"\"v7\"", "7", "10", NULL, NULL, 404, 404, "\"code\":\"not_found\""},
    };
    for (size_t i = 0; i < 2 * sizeof(cases) / sizeof(cases[0]); i++) {
        size_t n = i / 2;
        bool put = i % 2;
        struct talk talk;
        const struct request request = {.type = put ? &PRODUCT_PUT_FLOW : &PRODUCT_DELETE_FLOW,
                                        .shape = put ? &PRODUCT_BODY : NULL,
                                        .json = put ? PUT_JSON : NULL,
                                        .if_match = cases[n].if_match};
        char want[128];
        print_message("%s %s\n", cases[n].if_match, cases[n].words);
        talk_start(&talk, &request);
        for (int step = 0; step < 2 && (step == 0 || cases[n].then_expects); step++) {
            struct call *call = driver_next_call(talk.driver);
            const char *expects = step ? cases[n].then_expects : cases[n].expects;
            snprintf(want, sizeof(want), put ? "product:{1}:17 1 17 replace %s * ''" : "product:{1}:17 1 17 %s", expects);
            assert_call(talk.driver, call, want);
            driver_reply(talk.driver, call, step ? cases[n].then_words : cases[n].words);
        }
        assert_answer(&talk, put ? cases[n].put_status : cases[n].delete_status, cases[n].want);
        talk_end(&talk);
    }
}

static void test_delete_held(void **state)
{
    struct talk talk;
    const struct request request = {.type = &PRODUCT_DELETE_FLOW, .if_match = "*"};
    talk_start(&talk, &request);
    driver_reply(talk.driver, driver_next_call(talk.driver), "23 2 5");
    assert_answer(&talk, 409, "\"code\":\"units_held\"");
    assert_answer(&talk, 409, "\"held\":2,\"committed\":5");
    talk_end(&talk);
}

/* ---- PATCH ---- */

static void test_patch(void **state)
{
    static const struct {
        const char *stored, *patch, *want; /* the new document, or the pointer of a fault */
    } cases[] = {
        {CUP, "{}", CUP},
        {CUP, "{\"name\":\"Mug\"}", "{\"schema\":1,\"name\":\"Mug\",\"price\":1099,\"currency\":\"USD\"}"},
        {CUP, "{\"price\":\"0.10\"}", "{\"schema\":1,\"name\":\"Cup\",\"price\":10,\"currency\":\"USD\"}"},
        {CUP, "{\"currency\":\"EUR\"}", "{\"schema\":1,\"name\":\"Cup\",\"price\":1099,\"currency\":\"EUR\"}"},
        {CUP, "{\"currency\":\"KWD\"}", "{\"schema\":1,\"name\":\"Cup\",\"price\":10990,\"currency\":\"KWD\"}"},
        {CUP, "{\"currency\":\"JPY\",\"price\":1100}", "{\"schema\":1,\"name\":\"Cup\",\"price\":1100,\"currency\":\"JPY\"}"},
        {CUP, "{\"currency\":\"JPY\"}", "/price"},
        {MUG, "{\"currency\":\"JPY\",\"attributes\":null}", "{\"schema\":1,\"name\":\"Mug\",\"price\":20,\"currency\":\"JPY\"}"},
        {CUP, "{\"attributes\":{\"a\":1.50,\"b\":null}}",
         "{\"schema\":1,\"name\":\"Cup\",\"price\":1099,\"currency\":\"USD\",\"attributes\":{\"a\":1.5}}"},
        {CUP, "{\"attributes\":null}", CUP},
        {MUG, "{\"attributes\":{\"size\":{\"h\":null,\"d\":1},\"tags\":[]}}",
         "{\"schema\":1,\"name\":\"Mug\",\"price\":2000,\"currency\":\"USD\",\"attributes\":{\"size\":{\"w\":8.5,\"d\":1},\"tags\":[]}}"},
        {"{\"schema\":2,\"name\":\"x\",\"price\":1,\"currency\":\"USD\",\"new\":[1],\"newer\":{\"a\":2}}", "{\"name\":\"y\"}",
         "{\"schema\":2,\"name\":\"y\",\"price\":1,\"currency\":\"USD\",\"new\":[1],\"newer\":{\"a\":2}}"},
        {NULL, "{\"name\":null}", "/name"},
        {NULL, "{\"price\":null}", "/price"},
        {NULL, "{\"currency\":null}", "/currency"},
        {NULL, "{\"name\":\"\"}", "/name"},
        {NULL, "{\"name\":5}", "/name"},
        {NULL, "{\"price\":true}", "/price"},
        {NULL, "{\"attributes\":[]}", "/attributes"},
        {NULL, "{\"stock\":5}", "/stock"},
        {NULL, "{\"id\":5}", "/id"},
        {CUP, "{\"price\":-1}", "/price"},
        {CUP, "{\"price\":1.001}", "/price"},
        {CUP, "{\"currency\":\"ZZZ\"}", "/currency"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct talk talk;
        const struct request request = {.type = &PRODUCT_PATCH_FLOW, .json = cases[i].patch, .if_match = "\"v7\""};
        print_message("%s\n", cases[i].patch);
        talk_start(&talk, &request);
        struct call *call = driver_next_call(talk.driver);
        assert_int_equal(call != NULL, cases[i].stored != NULL);
        if (call) {
            assert_call(talk.driver, call, "HMGET product:{1}:17 v doc");
            driver_reply(talk.driver, call, "7 %", doc_of(talk.asked.arena, cases[i].stored));
        }
        if (cases[i].want[0] == '/') {
            assert_answer(&talk, 422, arena_printf(talk.asked.arena, "\"pointer\":\"%s\"", cases[i].want).at);
        } else {
            call = driver_next_call(talk.driver);
            assert_call(talk.driver, call, "product:{1}:17 1 17 replace 7 * ''");
            assert_string_equal(json_of(talk.asked.arena, call_part(call, 5)), cases[i].want);
            driver_reply(talk.driver, call, "0 8");
            assert_answer(&talk, 200, "\"version\":8");
            assert_string_equal(driver_header(talk.driver, "ETag"), "\"v8\"");
        }
        talk_end(&talk);
    }
}

static void patch_once(struct talk *talk, const char *version, const char *stale)
{
    char words[32];
    snprintf(words, sizeof(words), "%s %%", version);
    driver_reply(talk->driver, driver_next_call(talk->driver), words, doc_of(talk->asked.arena, CUP));
    struct call *call = driver_next_call(talk->driver);
    assert_string_equal(driver_part(talk->driver, call, 4), version);
    driver_reply(talk->driver, call, stale);
}

static void test_patch_races(void **state)
{
    struct talk talk;
    struct request request = {.type = &PRODUCT_PATCH_FLOW, .json = "{\"price\":1}", .if_match = "*"};
    talk_start(&talk, &request);
    patch_once(&talk, "7", "11 '8'");
    patch_once(&talk, "8", "0 9");
    assert_answer(&talk, 200, "\"price\":1.00,\"currency\":\"USD\",\"version\":9");
    talk_end(&talk);

    talk_start(&talk, &request);
    for (int i = 0; i < WRITE_TRIES_MAX; i++)
        patch_once(&talk, "7", "11 '8'");
    assert_answer(&talk, 503, "\"code\":\"overloaded\"");
    talk_end(&talk);

    request.if_match = "\"v7\"";
    talk_start(&talk, &request);
    patch_once(&talk, "7", "11 '8'");
    assert_answer(&talk, 412, "\"current_version\":8");
    talk_end(&talk);

    talk_start(&talk, &request);
    driver_reply(talk.driver, driver_next_call(talk.driver), "6 %", doc_of(talk.asked.arena, CUP));
    assert_answer(&talk, 412, "\"current_version\":6");
    talk_end(&talk);
}

/* ---- stock ---- */

static void test_stock_read(void **state)
{
    struct talk talk;
    const struct request request = {.type = &STOCK_READ_FLOW};
    talk_start(&talk, &request);
    struct call *call = driver_next_call(talk.driver);
    assert_call(talk.driver, call, "HMGET stock:{1}:17 on_hand held committed v");
    driver_reply(talk.driver, call, "'10' '2' '3' '5'");
    assert_answer(&talk, 200, NULL);
    assert_string_equal(driver_body(talk.driver), "{\"on_hand\":10,\"held\":2,\"committed\":3,\"available\":5,\"version\":5}");
    driver_free(talk.driver);
    talk.driver = driver_start(request.type, &talk.asked.ask);
    driver_reply(talk.driver, driver_next_call(talk.driver), "nil nil nil nil");
    assert_answer(&talk, 404, NULL);
    talk_end(&talk);
}

static void test_adjust(void **state)
{
    static const struct {
        const char *json, *call, *words;
        int status;
        const char *want;
    } cases[] = {
        {"{\"delta\":5}", "* 1 * 17 delta 5 '' '' r1", "0 15 2 3 6", 200,
         "{\"on_hand\":15,\"held\":2,\"committed\":3,\"available\":10,\"version\":6}"},
        {"{\"delta\":-5,\"reason\":\"lost\"}", "* 1 * 17 delta -5 '' lost r1", "0 5 2 3 6", 200, "\"available\":0"},
        {"{\"set\":0}", "* 1 * 17 set 0 '' '' r1", "0 0 0 0 6", 200, "\"on_hand\":0"},
        {"{\"set\":40,\"expected\":35}", "* 1 * 17 set 40 35 '' r1", "14 '40' '2' '3' '6'", 200,
         "{\"on_hand\":40,\"held\":2,\"committed\":3,\"available\":35,\"version\":6}"},
        {"{\"set\":40,\"expected\":35}", "* 1 * 17 set 40 35 '' r1", "15 0 r1 24 36 2 3 6", 409,
         "\"on_hand\":36,\"held\":2,\"committed\":3,\"available\":31,\"version\":6"},
        {"{\"delta\":-5}", "* 1 * 17 delta -5 '' '' r1", "15 0 r1 20 3", 409, "\"shortfalls\":[{\"product_id\":17,\"requested\":5,\"available\":3}]"},
        {"{\"set\":1}", "* 1 * 17 set 1 '' '' r1", "15 0 r1 20 3", 409, "\"shortfalls\":[{\"product_id\":17,\"available\":3}]"},
        {"{\"set\":40,\"expected\":35}", "* 1 * 17 set 40 35 '' r1", "15 1 r-0 '24' '36' '2' '3' '6'", 409,
         "\"request_id\":\"r-0\",\"on_hand\":36,\"held\":2,\"committed\":3,\"available\":31,\"version\":6"},
        {"{\"delta\":-5}", "* 1 * 17 delta -5 '' '' r1", "15 1 r-0 '20' '3'", 409,
         "\"request_id\":\"r-0\",\"shortfalls\":[{\"product_id\":17,\"requested\":5,\"available\":3}]"},
        {"{\"delta\":-5}", "* 1 * 17 delta -5 '' '' r1", "15 1 '' '20' '3'", 409, "\"request_id\":\"r1\""},
        {"{\"delta\":1}", "* 1 * 17 delta 1 '' '' r1", "10", 404, "\"code\":\"not_found\""},
        {"{\"delta\":1}", "* 1 * 17 delta 1 '' '' r1", "12", 422, "\"code\":\"idempotency_key_reused\""},
        {"{\"delta\":1}", "* 1 * 17 delta 1 '' '' r1", "26", 500, "\"code\":\"internal_error\""},
        {"{}", NULL, NULL, 422, "\"pointer\":\"\""},
        {"{\"delta\":1,\"set\":1}", NULL, NULL, 422, "\"pointer\":\"\""},
        {"{\"delta\":1,\"expected\":1}", NULL, NULL, 422, "\"pointer\":\"/expected\""},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct talk talk;
        const struct request request = {.type = &STOCK_ADJUST_FLOW, .shape = &ADJUST_BODY, .json = cases[i].json};
        print_message("%s\n", cases[i].json);
        talk_start(&talk, &request);
        struct call *call = driver_next_call(talk.driver);
        assert_int_equal(call != NULL, cases[i].call != NULL);
        if (call) {
            assert_call(talk.driver, call, cases[i].call);
            driver_reply(talk.driver, call, cases[i].words);
        }
        assert_answer(&talk, cases[i].status, cases[i].want);
        assert_int_equal(driver_header(talk.driver, "Idempotent-Replayed") != NULL,
                         cases[i].words && (strncmp(cases[i].words, "14", 2) == 0 || strncmp(cases[i].words, "15 1", 4) == 0));
        talk_end(&talk);
    }
}

#define ENTRY(id, qty, order) "['" id "' [m 'adjust|" qty "||" order "|5|0|0|3|a | b']]"

static void test_moves(void **state)
{
    struct talk talk;
    struct request request = {.type = &STOCK_MOVES_FLOW, .params = {{"limit", "1"}}};
    talk_start(&talk, &request);
    struct call *call = driver_next_call(talk.driver);
    assert_call(talk.driver, call, "XREVRANGE moves:{1}:17 + - COUNT 2");
    driver_reply(talk.driver, call, ENTRY("1700000000123-4", "-2", "") " " ENTRY("1700000000123-3", "2", "33"));
    assert_answer(&talk, 200, NULL);
    assert_string_equal(driver_body(talk.driver),
                        "[{\"kind\":\"adjust\",\"quantity\":-2,\"order_id\":null,\"at\":\"2023-11-14T22:13:20.123Z\",\"version\":3,"
                        "\"on_hand\":5,\"held\":0,\"committed\":0,\"reason\":\"a | b\"}]");
    const char *link = driver_header(talk.driver, "Link"), *cursor = strstr(link, "cursor=") + strlen("cursor=");
    char text[128];
    snprintf(text, sizeof(text), "%.*s", (int)strcspn(cursor, ">"), cursor);
    talk_end(&talk);

    request.params[1][0] = "cursor";
    request.params[1][1] = text;
    talk_start(&talk, &request);
    call = driver_next_call(talk.driver);
    assert_call(talk.driver, call, "XREVRANGE moves:{1}:17 (1700000000123-4 - COUNT 2");
    driver_reply(talk.driver, call, ENTRY("1700000000123-3", "2", "33"));
    assert_answer(&talk, 200, "\"quantity\":2,\"order_id\":33,");
    assert_null(driver_header(talk.driver, "Link"));
    driver_free(talk.driver);

    talk.driver = driver_start(request.type, &talk.asked.ask);
    driver_reply(talk.driver, driver_next_call(talk.driver), "");
    assert_answer(&talk, 200, "[]");
    talk_end(&talk);

    request.params[1][0] = NULL;
    talk_start(&talk, &request);
    driver_reply(talk.driver, driver_next_call(talk.driver), "");
    assert_answer(&talk, 404, NULL);
    talk_end(&talk);
}

/* ---- every way ---- */

/* A function answers with any code there is, OK and REPLAY with a document or without; a plain command with a record, none, or nonsense. */
static bool feed_any(struct driver *driver, struct call *call, unsigned n)
{
    static const int codes[] = {CODE_NOT_FOUND,
                                CODE_STALE,
                                CODE_KEY_REUSED,
                                CODE_IN_FLIGHT,
                                CODE_REPLAY,
                                CODE_REFUSED,
                                CODE_ALREADY,
                                CODE_SHORT,
                                CODE_GONE,
                                CODE_ASK,
                                CODE_HELD,
                                CODE_UNEXPECTED,
                                CODE_ABSENT,
                                CODE_ILLEGAL,
                                CODE_PAYMENT_OPEN,
                                CODE_EXPIRED,
                                CODE_AMOUNT,
                                CODE_ABORTED,
                                999,
                                -1};
    static const char *const plain[] = {"7 %", "8 %", "nil nil nil nil", "7 garbage", "nil %", "", "=nil", "[%] [%]"};
    static const char *const functions[] = {"0 7 1", "0", "14 7 1 %", "0 0 '' ''", "0 1 '' ''", "0 1 7 '7' [7 '7' '1' %]"};
    struct view doc = doc_of(driver_arena(driver), MUG);
    const unsigned count = sizeof(functions) / sizeof(functions[0]);
    const unsigned code_count = driver_calls(call, &FN_LIST) ? 1 : sizeof(codes) / sizeof(codes[0]); /* three shards, and page_test has the rest */
    if (call->function == NULL) {
        if (n < sizeof(plain) / sizeof(plain[0]))
            driver_reply(driver, call, plain[n], doc, doc);
        return n < sizeof(plain) / sizeof(plain[0]);
    }
    if (n < count) {
        driver_reply(driver, call, functions[n], doc);
    } else if (n - count < code_count) {
        char words[32];
        snprintf(words, sizeof(words), "%d 7 3 2 1", codes[n - count]);
        driver_reply(driver, call, words);
    } else {
        return false;
    }
    return true;
}

struct subject {
    const struct flow_type *type;
    const struct ask *ask;
};

static struct flow *make_any(struct driver *driver, const void *cookie)
{
    const struct subject *subject = cookie;
    return driver_flow(driver, subject->type, subject->ask);
}

static void check_any(struct driver *driver, const void *cookie)
{
    const struct answer *answer = driver_answer(driver);
    assert_true(answer->status >= 200 && answer->status < 600);
    assert_int_equal(answer->outcome != NULL, answer->status >= 400);
}

static void test_every_way(void **state)
{
    static const struct {
        const char *name;
        struct request request;
    } cases[] = {
        {"read", {.type = &PRODUCT_READ_FLOW, .if_none_match = "\"v8\""}},
        {"list by ids", {.type = &PRODUCT_LIST_FLOW, .params = {{"ids", "1,2"}}, .no_id = true}},
        {"list", {.type = &PRODUCT_LIST_FLOW, .no_id = true}},
        {"create", {.type = &PRODUCT_CREATE_FLOW, .shape = &PRODUCT_BODY, .json = PUT_JSON, .no_id = true}},
        {"put, create", {.type = &PRODUCT_PUT_FLOW, .shape = &PRODUCT_BODY, .json = PUT_JSON, .if_none_match = "*"}},
        {"put, any", {.type = &PRODUCT_PUT_FLOW, .shape = &PRODUCT_BODY, .json = PUT_JSON, .if_match = "*"}},
        {"put, some", {.type = &PRODUCT_PUT_FLOW, .shape = &PRODUCT_BODY, .json = PUT_JSON, .if_match = "\"v3\", \"v7\""}},
        {"patch, any", {.type = &PRODUCT_PATCH_FLOW, .json = "{\"attributes\":{\"a\":1}}", .if_match = "*"}},
        {"patch, one", {.type = &PRODUCT_PATCH_FLOW, .json = "{\"price\":1}", .if_match = "\"v7\""}},
        {"delete", {.type = &PRODUCT_DELETE_FLOW, .if_match = "\"v3\", \"v7\""}},
        {"stock", {.type = &STOCK_READ_FLOW}},
        {"adjust", {.type = &STOCK_ADJUST_FLOW, .shape = &ADJUST_BODY, .json = "{\"delta\":-1}"}},
        {"moves", {.type = &STOCK_MOVES_FLOW}},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct asked asked = ask_for(&cases[i].request);
        set_params(&asked, &cases[i].request);
        const struct subject subject = {cases[i].request.type, &asked.ask};
        const struct exploration exploration = {
            .make = make_any, .feed = feed_any, .check = check_any, .cookie = &subject, .steps_max = 2 * WRITE_TRIES_MAX};
        print_message("%s: %u ways\n", cases[i].name, driver_explore(&exploration));
        arena_free(asked.arena);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_read),
        cmocka_unit_test(test_read_msgpack),
        cmocka_unit_test(test_list_by_ids),
        cmocka_unit_test(test_list_parameters),
        cmocka_unit_test(test_list_page),
        cmocka_unit_test(test_create),
        cmocka_unit_test(test_create_checks),
        cmocka_unit_test(test_put_create),
        cmocka_unit_test(test_put_refused_at_once),
        cmocka_unit_test(test_conditions),
        cmocka_unit_test(test_delete_held),
        cmocka_unit_test(test_patch),
        cmocka_unit_test(test_patch_races),
        cmocka_unit_test(test_stock_read),
        cmocka_unit_test(test_adjust),
        cmocka_unit_test(test_moves),
        cmocka_unit_test(test_every_way),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
