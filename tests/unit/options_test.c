#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "options.h"

struct settings {
    const char *bind, *level, *shards;
    int port;
};

static const struct option_row rows[] = {
    {"bind", OPTION_TEXT, offsetof(struct settings, bind), "127.0.0.1", 0, 0, NULL, "Address to listen on."},
    {"http-port", OPTION_INT, offsetof(struct settings, port), "8080", 0, 65535, NULL, "Port to listen on; 0: any free one."},
    {"log-level", OPTION_CHOICE, offsetof(struct settings, level), "info", 0, 0, "error|warn|info|debug", "Least urgent level that is written."},
    {"shards", OPTION_TEXT, offsetof(struct settings, shards), NULL, 0, 0, NULL, "Shards as name=host:port, with commas between."},
};

/* What one run of options_read said and did. */
struct run {
    enum options_result result;
    struct settings settings;
    char out[4096], err[4096];
};

static int divert(int fd, FILE *to)
{
    int kept = dup(fd);

    dup2(fileno(to), fd);
    return kept;
}

static void take_back(int fd, int kept, FILE *from, char *text, size_t size)
{
    size_t len;

    dup2(kept, fd);
    close(kept);
    rewind(from);
    len = fread(text, 1, size - 1, from);
    text[len] = '\0';
    fclose(from);
}

/* ${variables} and ${args} are separated by spaces. */
static void run(struct run *run, const char *variables, const char *args)
{
    static char words[1024], settings[1024], name[] = "souk-test";
    char *argv[16] = {name};
    FILE *out = tmpfile(), *err = tmpfile();
    int argc = 1, kept_out, kept_err;

    memset(run, 0, sizeof(*run));
    unsetenv("SOUK_BIND");
    unsetenv("SOUK_HTTP_PORT");
    unsetenv("SOUK_LOG_LEVEL");
    setenv("SOUK_SHARDS", "a=127.0.0.1:7000", 1);
    snprintf(settings, sizeof(settings), "%s", variables);
    for (char *word = strtok(settings, " "); word; word = strtok(NULL, " ")) {
        char *equals = strchr(word, '=');

        *equals = '\0';
        setenv(word, equals + 1, 1);
    }
    snprintf(words, sizeof(words), "%s", args);
    for (char *word = strtok(words, " "); word; word = strtok(NULL, " "))
        argv[argc++] = word;
    fflush(stdout);
    kept_out = divert(STDOUT_FILENO, out);
    kept_err = divert(STDERR_FILENO, err);
    run->result = options_read(rows, sizeof(rows) / sizeof(rows[0]), NULL, &run->settings, "souk-test", argc, argv);
    fflush(stdout);
    take_back(STDOUT_FILENO, kept_out, out, run->out, sizeof(run->out));
    take_back(STDERR_FILENO, kept_err, err, run->err, sizeof(run->err));
}

static void test_presets_variables_and_flags(void **state)
{
    static const struct {
        const char *variables, *args;
        int port;
        const char *level;
    } cases[] = {
        {"", "", 8080, "info"},
        {"SOUK_HTTP_PORT=0", "", 0, "info"},
        {"SOUK_HTTP_PORT=65535 SOUK_LOG_LEVEL=debug", "", 65535, "debug"},
        {"SOUK_HTTP_PORT=1", "--http-port=2", 2, "info"},
        {"SOUK_HTTP_PORT=bad", "--http-port=2", 2, "info"},
        {"", "--http-port 3 --log-level error", 3, "error"},
        {"", "--http-port=1 --http-port=2", 2, "info"},
        {"SOUK_SOMETHING_ELSE=1", "--bind --help", 8080, "info"},
    };
    struct run got;

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        run(&got, cases[i].variables, cases[i].args);
        assert_string_equal(got.err, "");
        assert_string_equal(got.out, "");
        assert_int_equal(got.result, OPTIONS_RUN);
        assert_int_equal(got.settings.port, cases[i].port);
        assert_string_equal(got.settings.level, cases[i].level);
        assert_string_equal(got.settings.shards, "a=127.0.0.1:7000");
    }
    assert_string_equal(got.settings.bind, "--help");
}

static void test_what_is_bad_is_named(void **state)
{
    static const struct {
        const char *variables, *args, *want;
    } cases[] = {
        {"SOUK_HTTP_PORT=65536", "", "souk-test: SOUK_HTTP_PORT is \"65536\" but must be an integer from 0 to 65535\n"},
        {"SOUK_HTTP_PORT=-1", "", "souk-test: SOUK_HTTP_PORT is \"-1\" but must be an integer from 0 to 65535\n"},
        {"SOUK_HTTP_PORT=", "", "souk-test: SOUK_HTTP_PORT is \"\" but must be an integer from 0 to 65535\n"},
        {"SOUK_HTTP_PORT=80a", "", "souk-test: SOUK_HTTP_PORT is \"80a\" but must be an integer from 0 to 65535\n"},
        {"SOUK_HTTP_PORT=99999999999999999999", "", "souk-test: SOUK_HTTP_PORT is \"99999999999999999999\" but must be an integer from 0 to 65535\n"},
        {"", "--log-level=warning", "souk-test: --log-level is \"warning\" but must be one of error|warn|info|debug\n"},
        {"", "--log-level=", "souk-test: --log-level is \"\" but must be one of error|warn|info|debug\n"},
        {"", "--log-level=warn|info", "souk-test: --log-level is \"warn|info\" but must be one of error|warn|info|debug\n"},
        {"", "--colour=red", "souk-test: --colour=red is not a flag of this program; --help lists them\n"},
        {"", "--http-por=1", "souk-test: --http-por=1 is not a flag of this program; --help lists them\n"},
        {"", "8080", "souk-test: 8080 is not a flag of this program; --help lists them\n"},
        {"", "--", "souk-test: -- is not a flag of this program; --help lists them\n"},
        {"", "--help=yes", "souk-test: --help=yes is not a flag of this program; --help lists them\n"},
        {"", "--bind", "souk-test: --bind needs a value: --bind=value\n"},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct run got;

        run(&got, cases[i].variables, cases[i].args);
        assert_string_equal(got.err, cases[i].want);
        assert_int_equal(got.result, OPTIONS_EXIT_BAD);
    }
}

static void test_a_setting_without_preset_must_be_set(void **state)
{
    struct settings settings;
    char name[] = "souk-test", *argv[] = {name};

    unsetenv("SOUK_SHARDS");
    assert_int_equal(options_read(rows, sizeof(rows) / sizeof(rows[0]), NULL, &settings, "souk-test", 1, argv), OPTIONS_EXIT_BAD);
}

static void test_the_tables_are_printed(void **state)
{
    struct run got;

    run(&got, "", "--help");
    assert_int_equal(got.result, OPTIONS_EXIT_OK);
    assert_non_null(strstr(got.out, "--http-port=0..65535"));
    assert_non_null(strstr(got.out, "SOUK_HTTP_PORT"));
    assert_non_null(strstr(got.out, "Port to listen on; 0: any free one. [8080]"));
    assert_non_null(strstr(got.out, "--check-config"));
    run(&got, "", "--version");
    assert_int_equal(got.result, OPTIONS_EXIT_OK);
    assert_memory_equal(got.out, "souk-test ", 10);
    run(&got, "SOUK_HTTP_PORT=9", "--options --log-level=warn");
    assert_int_equal(got.result, OPTIONS_EXIT_OK);
    assert_string_equal(got.out, "SOUK_BIND=127.0.0.1\nSOUK_HTTP_PORT=9\nSOUK_LOG_LEVEL=warn\nSOUK_SHARDS=a=127.0.0.1:7000\n");
}

static void test_check_config(void **state)
{
    struct run got;

    run(&got, "", "--check-config");
    assert_int_equal(got.result, OPTIONS_EXIT_OK);
    assert_string_equal(got.out, "souk-test: configuration is fine\n");
    run(&got, "SOUK_HTTP_PORT=x", "--check-config");
    assert_int_equal(got.result, OPTIONS_EXIT_BAD);
    assert_string_equal(got.out, "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_presets_variables_and_flags),
        cmocka_unit_test(test_what_is_bad_is_named),
        cmocka_unit_test(test_a_setting_without_preset_must_be_set),
        cmocka_unit_test(test_the_tables_are_printed),
        cmocka_unit_test(test_check_config),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
