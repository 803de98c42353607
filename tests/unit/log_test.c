#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>
#include <jansson.h>

#include "log.h"

/* What the functions of a test write to standard error. */
static char said[16384];
static int real_stderr, ends[2];

static void listen_begin(void)
{
    assert_int_equal(pipe2(ends, O_CLOEXEC | O_NONBLOCK), 0);
    real_stderr = dup(STDERR_FILENO);
    dup2(ends[1], STDERR_FILENO);
}

static const char *listen_end(void)
{
    ssize_t len = read(ends[0], said, sizeof(said) - 1);
    said[len > 0 ? len : 0] = '\0';
    dup2(real_stderr, STDERR_FILENO);
    close(real_stderr);
    close(ends[0]);
    close(ends[1]);
    return said;
}

/* Behind time, level and program. */
static const char *sentence(const char *line)
{
    for (int i = 0; i < 3 && line; i++)
        line = strchr(line, ' ') ? strchr(line, ' ') + 1 : NULL;
    return line;
}

#define FIELD(name, text) ((struct log_field){name, {text, sizeof(text) - 1}, false})

static void test_values(void **state)
{
    static const struct {
        const char *value, *text, *json; /* as shown in either format */
    } cases[] = {
        {"plain", "f=plain", "plain"},
        {"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", "f=00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
         "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"},
        {"", "f=\"\"", ""},
        {"two words", "f=\"two words\"", "two words"},
        {"a=b", "f=\"a=b\"", "a=b"},
        {"a\"b\\c", "f=\"a\\\"b\\\\c\"", "a\"b\\c"},
        {"line\nend\r", "f=\"line\\u000aend\\u000d\"", "line\nend\r"},
        {"Gr\xc3\xbc\xc3\x9f", "f=\"Gr\xc3\xbc\xc3\x9f\"", "Gr\xc3\xbc\xc3\x9f"},
        {"\xf0\x9f\x8f\xba", "f=\"\xf0\x9f\x8f\xba\"", "\xf0\x9f\x8f\xba"},
        {"cut \xf0\x9f\x8f", "f=\"cut \xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\"", "cut \xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"},
        {"\xc0\x80\xed\xa0\x80\xff", NULL, "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char want[256];
        const struct log_field field = {"f", {cases[i].value, strlen(cases[i].value)}, false};
        listen_begin();
        log_with(LOG_ERROR, &field, 1, "%s", "it is");
        snprintf(want, sizeof(want), "it is %s\n", cases[i].text);
        if (cases[i].text)
            assert_string_equal(sentence(listen_end()), want);
        else
            listen_end();
        log_set_format(LOG_JSON);
        listen_begin();
        log_with(LOG_ERROR, &field, 1, "%s", cases[i].value);
        log_set_format(LOG_TEXT);
        json_error_t error;
        json_t *json = json_loads(listen_end(), JSON_REJECT_DUPLICATES, &error);
        if (!json)
            fail_msg("%s: %s", error.text, said);
        assert_string_equal(json_string_value(json_object_get(json, "f")), cases[i].json);
        assert_string_equal(json_string_value(json_object_get(json, "message")), cases[i].json);
        assert_string_equal(json_string_value(json_object_get(json, "level")), "error");
        assert_string_equal(json_string_value(json_object_get(json, "program")), "log_test");
        assert_int_equal(strlen(json_string_value(json_object_get(json, "time"))), 24);
        json_decref(json);
    }
}

static void test_numbers_and_what_is_not_there(void **state)
{
    const struct log_field fields[] = {{"status", VIEW("503"), true}, {"code", {NULL, 0}, false}, FIELD("shard", "shard-1")};
    listen_begin();
    log_with(LOG_WARN, fields, 3, "x");
    assert_string_equal(sentence(listen_end()), "x status=503 shard=shard-1\n");
    log_set_format(LOG_JSON);
    listen_begin();
    log_with(LOG_WARN, fields, 3, "x");
    log_set_format(LOG_TEXT);
    assert_non_null(strstr(listen_end(), "\"message\":\"x\",\"status\":503,\"shard\":\"shard-1\"}\n"));
}

static size_t describe(const void *what, struct log_field *fields, size_t count)
{
    fields[count++] = (struct log_field){"request_id", view_of(what), false};
    return count;
}

/* What a thread is busy with is behind each of its lines, and goes when it is done. */
static void test_about(void **state)
{
    log_describe_by(describe);
    assert_null(log_about("outer"));
    assert_string_equal((const char *)log_about("inner"), "outer");
    listen_begin();
    log_error("one");
    log_with(LOG_ERROR, &FIELD("shard", "s"), 1, "two");
    log_about(NULL);
    log_error("three");
    listen_end();
    assert_string_equal(sentence(said), strstr(said, "one request_id=inner\n"));
    assert_non_null(strstr(said, " two shard=s request_id=inner\n"));
    assert_non_null(strstr(said, " three\n"));
    log_describe_by(NULL);
}

/* However long message and fields are, a line is one write that no pipe tears, ends where it should, and is valid JSON. */
static void test_too_long(void **state)
{
    static char control[3000], letters[3000];
    struct log_field fields[LOG_FIELDS_MAX + 3];
    memset(control, 1, sizeof(control) - 1);
    memset(letters, 'x', sizeof(letters) - 1);
    for (size_t i = 0; i < LOG_FIELDS_MAX + 3; i++)
        fields[i] = (struct log_field){i ? "more" : "first", {i % 2 ? control : letters, sizeof(control) - 1}, false};
    for (int format = LOG_TEXT; format <= LOG_JSON; format++)
        for (int i = 0; i < 2; i++) {
            log_set_format((enum log_format)format);
            listen_begin();
            log_with(LOG_ERROR, fields, LOG_FIELDS_MAX + 3, "%s", i ? control : letters);
            log_set_format(LOG_TEXT);
            size_t len = strlen(listen_end());
            assert_in_range(len, 1000, 4096);
            assert_ptr_equal(strchr(said, '\n'), said + len - 1);
            assert_non_null(strstr(said, "first"));
            json_t *json = format == LOG_JSON ? json_loads(said, 0, NULL) : json_null();
            assert_non_null(json);
            json_decref(json);
        }
}

static void test_levels(void **state)
{
    static const struct {
        enum log_level before;
        int signum;
        enum log_level after;
    } cases[] = {
        {LOG_ERROR, SIGUSR1, LOG_WARN}, {LOG_WARN, SIGUSR1, LOG_INFO},  {LOG_INFO, SIGUSR1, LOG_DEBUG}, {LOG_DEBUG, SIGUSR1, LOG_DEBUG},
        {LOG_DEBUG, SIGUSR2, LOG_INFO}, {LOG_INFO, SIGUSR2, LOG_WARN}, {LOG_WARN, SIGUSR2, LOG_ERROR}, {LOG_ERROR, SIGUSR2, LOG_ERROR},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        log_set_level(cases[i].before);
        listen_begin();
        log_got_signal(NULL, cases[i].signum);
        log_write(cases[i].after, "shown");
        log_write(cases[i].after + 1, "hidden");
        listen_end();
        assert_int_equal(log_level(), cases[i].after);
        assert_non_null(strstr(said, "from now on log_level="));
        assert_non_null(strstr(said, "shown"));
        assert_null(strstr(said, "hidden"));
    }
    log_set_level(LOG_INFO);
    assert_int_equal(log_level_of("debug"), LOG_DEBUG);
    assert_int_equal(log_level_of("loud"), -1);
    assert_int_equal(log_format_of("json"), LOG_JSON);
    assert_int_equal(log_format_of(""), -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_values), cmocka_unit_test(test_numbers_and_what_is_not_there), cmocka_unit_test(test_about),
        cmocka_unit_test(test_too_long), cmocka_unit_test(test_levels),
    };
    log_start("log_test", LOG_INFO);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
