#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "gate.h"

#define HEADERS_MAX 4096
#define BODY_MAX 1000
#define INDEX_MAX (10 * 64)
#define LIMITS ((struct gate_limits){HEADERS_MAX, BODY_MAX, INDEX_MAX})

/* A row is a request; ${headers} are names and values in turn. A Host comes first unless the row is about Host. */
struct row {
    const char *name;
    const char *method, *target, *version;
    const char *headers[7];
    int want;
};

#define GET_LINE "GET", "/products", "HTTP/1.1"
#define POST_LINE "POST", "/orders", "HTTP/1.1"
#define LINE(target) "GET", target, "HTTP/1.1"

static const struct row rows[] = {
    {"plain GET", GET_LINE, {"Host", "a"}, 0},
    {"HTTP/1.0 without Host", "GET", "/", "HTTP/1.0", {NULL}, 0},
    {"HTTP/1.0 with Host", "GET", "/", "HTTP/1.0", {"Host", "a"}, 0},
    {"query", LINE("/products?ids=1,2&x=%00"), {"Host", "a"}, 0},
    {"empty header value", GET_LINE, {"Host", ""}, 0},
    {"tab and high bytes in a value", GET_LINE, {"Host", "a", "X", "a\tb\xC3\xA9"}, 0},
    {"HEAD", "HEAD", "/", "HTTP/1.1", {"Host", "a"}, 0},
    {"PUT", "PUT", "/", "HTTP/1.1", {"Host", "a", "Content-Length", "1"}, 0},
    {"PATCH", "PATCH", "/", "HTTP/1.1", {"Host", "a", "Content-Length", "1"}, 0},
    {"DELETE", "DELETE", "/", "HTTP/1.1", {"Host", "a"}, 0},
    {"OPTIONS", "OPTIONS", "/", "HTTP/1.1", {"Host", "a"}, 0},
    {"POST without a body", POST_LINE, {"Host", "a"}, 0},
    {"POST chunked", POST_LINE, {"Host", "a", "transfer-encoding", "chunked"}, 0},
    {"POST of the largest body", POST_LINE, {"Host", "a", "Content-Length", "1000"}, 0},
    {"leading zeros", POST_LINE, {"Host", "a", "Content-Length", "0000000010"}, 0},
    {"GET with an empty body", GET_LINE, {"Host", "a", "Content-Length", "0"}, 0},
    {"DELETE with an empty body", "DELETE", "/", "HTTP/1.1", {"Host", "a", "Content-Length", "0"}, 0},

    {"HTTP/0.9", "GET", "/", "", {"Host", "a"}, 400},
    {"HTTP/1.2", "GET", "/", "HTTP/1.2", {"Host", "a"}, 400},
    {"HTTP/2.0", "GET", "/", "HTTP/2.0", {"Host", "a"}, 400},
    {"http/1.1", "GET", "/", "http/1.1", {"Host", "a"}, 400},
    {"no target", LINE(""), {"Host", "a"}, 400},
    {"absolute target", LINE("http://a/"), {"Host", "a"}, 400},
    {"query without a path", LINE("?a"), {"Host", "a"}, 400},
    {"asterisk", "OPTIONS", "*", "HTTP/1.1", {"Host", "a"}, 400},
    {"space in the path", LINE("/a b"), {"Host", "a"}, 400},
    {"tab in the path", LINE("/a\tb"), {"Host", "a"}, 400},
    {"delete in the path", LINE("/a\x7F"), {"Host", "a"}, 400},
    {"high byte in the path", LINE("/caf\xC3\xA9"), {"Host", "a"}, 400},
    {"high byte in the query", LINE("/a?b=\xFF"), {"Host", "a"}, 400},
    {"%00 in the path", LINE("/products/1%00.txt"), {"Host", "a"}, 400},
    {"%00 ends the path", LINE("/%00"), {"Host", "a"}, 400},
    {"no Host", GET_LINE, {NULL}, 400},
    {"Host twice", GET_LINE, {"Host", "a", "HOST", "a"}, 400},
    {"Host twice in 1.0", "GET", "/", "HTTP/1.0", {"Host", "a", "Host", "b"}, 400},
    {"one Authorization", GET_LINE, {"Host", "a", "Authorization", "Bearer a"}, 0},
    {"Authorization twice", GET_LINE, {"Host", "a", "Authorization", "Bearer a", "authorization", "Bearer a"}, 400},
    {"space before the colon", POST_LINE, {"Host", "a", "Transfer-Encoding ", "chunked"}, 400},
    {"tab before the colon", POST_LINE, {"Host", "a", "Content-Length\t", "3"}, 400},
    {"empty name", GET_LINE, {"Host", "a", "", "x"}, 400},
    {"brackets in a name", GET_LINE, {"Host", "a", "X[]", "x"}, 400},
    {"high byte in a name", GET_LINE, {"Host", "a", "X\xC3", "x"}, 400},
    {"carriage return in a name", GET_LINE, {"Host", "a", "X\r", "x"}, 400},
    {"carriage return in a value", GET_LINE, {"Host", "a", "X", "a\rTransfer-Encoding: chunked"}, 400},
    {"escape in a value", GET_LINE, {"Host", "a", "X", "\x1B[2J"}, 400},
    {"delete in a value", GET_LINE, {"Host", "a", "X", "\x7F"}, 400},
    {"both framings", POST_LINE, {"Host", "a", "Content-Length", "3", "Transfer-Encoding", "chunked"}, 400},
    {"both framings, other order", POST_LINE, {"Host", "a", "Transfer-Encoding", "chunked", "Content-Length", "0"}, 400},
    {"two lengths", POST_LINE, {"Host", "a", "Content-Length", "3", "content-length", "4"}, 400},
    {"the same length twice", POST_LINE, {"Host", "a", "Content-Length", "3", "Content-Length", "3"}, 400},
    {"length list", POST_LINE, {"Host", "a", "Content-Length", "3, 3"}, 400},
    {"length with a plus", POST_LINE, {"Host", "a", "Content-Length", "+3"}, 400},
    {"negative length", POST_LINE, {"Host", "a", "Content-Length", "-1"}, 400},
    {"hexadecimal length", POST_LINE, {"Host", "a", "Content-Length", "0x3"}, 400},
    {"empty length", POST_LINE, {"Host", "a", "Content-Length", ""}, 400},
    {"length with a space", POST_LINE, {"Host", "a", "Content-Length", "3 "}, 400},
    {"eleven digits", POST_LINE, {"Host", "a", "Content-Length", "00000000003"}, 400},
    {"length beyond 2^64", POST_LINE, {"Host", "a", "Content-Length", "18446744073709551617"}, 400},
    {"coding identity", POST_LINE, {"Host", "a", "Transfer-Encoding", "identity"}, 400},
    {"coding list", POST_LINE, {"Host", "a", "Transfer-Encoding", "gzip, chunked"}, 400},
    {"coding in capitals", POST_LINE, {"Host", "a", "Transfer-Encoding", "Chunked"}, 400},
    {"coding with a tab", POST_LINE, {"Host", "a", "Transfer-Encoding", "\tchunked"}, 400},
    {"empty coding", POST_LINE, {"Host", "a", "Transfer-Encoding", ""}, 400},
    {"coding twice", POST_LINE, {"Host", "a", "Transfer-Encoding", "chunked", "Transfer-Encoding", "chunked"}, 400},
    {"coding in 1.0", "POST", "/", "HTTP/1.0", {"Transfer-Encoding", "chunked"}, 400},
    {"GET with a body", GET_LINE, {"Host", "a", "Content-Length", "1"}, 400},
    {"GET chunked", GET_LINE, {"Host", "a", "Transfer-Encoding", "chunked"}, 400},
    {"HEAD with a body", "HEAD", "/", "HTTP/1.1", {"Host", "a", "Content-Length", "1"}, 400},
    {"DELETE with a body", "DELETE", "/", "HTTP/1.1", {"Host", "a", "Content-Length", "1"}, 400},

    {"unknown method", "BREW", "/", "HTTP/1.1", {"Host", "a"}, 501},
    {"unknown method with a body", "BREW", "/", "HTTP/1.1", {"Host", "a", "Content-Length", "1"}, 501},
    {"TRACE", "TRACE", "/", "HTTP/1.1", {"Host", "a"}, 501},
    {"lower-case method", "get", "/", "HTTP/1.1", {"Host", "a"}, 501},
    {"as many parameters as fit", LINE("/?1&2&3&4&5&6&7&8&9"), {"Host", "a"}, 0},
    {"one parameter more", LINE("/?1&2&3&4&5&6&7&8&9&a"), {"Host", "a"}, 431},
    {"as many cookies as fit", GET_LINE, {"Host", "a", "Cookie", "a=b; c=d; e=f; g=h; 1234567890123456789012345678901234567890"}, 0},
    {"one cookie more", GET_LINE, {"Host", "a", "cookie", "a;b;c;d;e;f;g;h;i"}, 431},
    {"body one above", POST_LINE, {"Host", "a", "Content-Length", "1001"}, 413},
    {"body far above", POST_LINE, {"Host", "a", "Content-Length", "9999999999"}, 413},
    {"uncertain framing comes before size", POST_LINE, {"Host", "a", "Content-Length", "1001", "Content-Length", "1"}, 400},
};

/* Where the gate puts the headers that it picks out; zeroed by each that looks at them. */
static struct view known[HTTP_KNOWN_COUNT];

static struct gate_verdict judge(const struct row *row, struct gate *gate)
{
    gate_open(gate, LIMITS, view_of(row->method), view_of(row->target), view_of(row->version), known);
    for (size_t i = 0; row->headers[i]; i += 2)
        gate_header(gate, view_of(row->headers[i]), view_of(row->headers[i + 1]));
    return gate_close(gate);
}

static void test_table(void **state)
{
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct gate gate;
        struct gate_verdict verdict = judge(&rows[i], &gate);

        if (verdict.status != rows[i].want)
            fail_msg("%s: %d (%s), want %d", rows[i].name, verdict.status, verdict.detail ? verdict.detail : "-", rows[i].want);
        assert_int_equal(verdict.detail != NULL, verdict.status != 0);
    }
}

static void test_facts(void **state)
{
    struct gate gate;
    struct row length = {"", POST_LINE, {"Host", "a", "CONTENT-LENGTH", "12"}, 0};
    struct row chunked = {"", "PATCH", "/", "HTTP/1.1", {"Host", "a", "TRANSFER-ENCODING", "chunked"}, 0};

    assert_int_equal(judge(&length, &gate).status, 0);
    assert_int_equal(gate.method, METHOD_POST);
    assert_int_equal(gate.length, 12);
    assert_false(gate.chunked);
    assert_int_equal(judge(&chunked, &gate).status, 0);
    assert_int_equal(gate.method, METHOD_PATCH);
    assert_true(gate.chunked);
}

static void test_path_length(void **state)
{
    static const struct {
        size_t len;
        const char *query;
        int want;
    } cases[] = {{1, "", 0}, {2047, "", 0}, {2048, "", 0}, {2049, "", 414}, {2048, "?ids=1,2,3", 0}, {3000, "?a", 414}};

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char target[4096];
        struct row row = {"", "GET", target, "HTTP/1.1", {"Host", "a"}, 0};
        struct gate gate;

        memset(target, 'a', cases[i].len);
        target[0] = '/';
        snprintf(target + cases[i].len, sizeof(target) - cases[i].len, "%s", cases[i].query);
        assert_int_equal(judge(&row, &gate).status, cases[i].want);
    }
}

static void test_head_size(void **state)
{
    /* "GET / HTTP/1.1" CRLF "Host: a" CRLF "X: …" CRLF CRLF */
    const size_t rest = 16 + 9 + 5 + 2;
    static const struct {
        int above;
        int want;
    } cases[] = {{-1, 0}, {0, 0}, {1, 431}, {100, 431}};

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char value[HEADERS_MAX + 200];
        struct row row = {"", LINE("/"), {"Host", "a", "X", value}, 0};
        size_t len = (size_t)((int)(HEADERS_MAX - rest) + cases[i].above);
        struct gate gate;

        memset(value, 'v', len);
        value[len] = '\0';
        assert_int_equal(judge(&row, &gate).status, cases[i].want);
    }
}

static void test_missing_line(void **state)
{
    struct gate gate;

    gate_open(&gate, LIMITS, view_of(NULL), view_of(NULL), view_of(NULL), known);
    assert_int_equal(gate_close(&gate).status, 400);
}

static void test_method_names(void **state)
{
    for (unsigned i = 0; i < METHOD_COUNT; i++) {
        struct row row = {"", method_name((enum method)i), "/", "HTTP/1.1", {"Host", "a"}, 0};
        struct gate gate;

        assert_int_equal(judge(&row, &gate).status, 0);
        assert_int_equal(gate.method, i);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_table),     cmocka_unit_test(test_facts),        cmocka_unit_test(test_path_length),
        cmocka_unit_test(test_head_size), cmocka_unit_test(test_missing_line), cmocka_unit_test(test_method_names),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
