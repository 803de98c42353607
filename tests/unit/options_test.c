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
    const char *bind, *level, *shards, *url, *user;
    int port, drain_ms, hold_s, cache_mb;
};

static const struct option_row rows[] = {
    {"http-address", OPTION_ADDRESS, offsetof(struct settings, bind), "127.0.0.1", 0, 0, NULL, "Address to listen on."},
    {"http-port", OPTION_INT, offsetof(struct settings, port), "8080", 0, 65535, NULL, "Port to listen on; 0: any free one."},
    {"log-level", OPTION_CHOICE, offsetof(struct settings, level), "info", 0, 0, "error|warn|info|debug", "Least urgent level that is written."},
    {"shards", OPTION_TEXT, offsetof(struct settings, shards), NULL, 0, 0, NULL, "Shards as name=host:port, with commas between."},
    {"gateway-url", OPTION_URL, offsetof(struct settings, url), "http://127.0.0.1:8083", 0, 40, NULL, "Where the gateway is."},
    {"redis-user", OPTION_TEXT, offsetof(struct settings, user), "", 0, 8, NULL, "User; empty: none."},
    {"drain-ms", OPTION_INT, offsetof(struct settings, drain_ms), "9000", 0, 600000, NULL, "Time to finish."},
    {"authorization-hold-s", OPTION_INT, offsetof(struct settings, hold_s), "60", 1, 600, NULL, "Time to hold."},
    {"cache-mb", OPTION_INT, offsetof(struct settings, cache_mb), "64", 0, 65536, NULL, "Memory to keep."},
};

/* Between settings: this port and this level do not go together. */
static bool check(void *cookie, void *read)
{
    const struct settings *settings = read;

    if (settings->port != 13 || strcmp(settings->level, "debug") != 0)
        return true;
    options_say(cookie, "SOUK_HTTP_PORT is 13 and SOUK_LOG_LEVEL is debug");
    return false;
}

static void more(FILE *out)
{
    fprintf(out, "\nmore\n");
}

static const struct options OPTIONS = {
    .program = "souk-test",
    .about = "tests options",
    .rows = rows,
    .count = sizeof(rows) / sizeof(rows[0]),
    .check = check,
    .cookie = (void *)&OPTIONS,
    .more = more,
};

/* What one run of options_read said and did. */
struct run {
    enum options_result result;
    struct settings settings;
    char out[8192], err[8192];
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

/* Takes every SOUK_… out of the environment. */
static void forget_variables(void)
{
    for (char **at = environ; *at;) {
        char name[128];

        snprintf(name, sizeof(name), "%.*s", (int)strcspn(*at, "="), *at);
        if (strncmp(name, "SOUK_", 5) != 0)
            at++;
        else if (unsetenv(name) == 0)
            at = environ;
    }
}

/* ${variables} and ${args} are separated by spaces. */
static void run(struct run *run, const char *variables, const char *args)
{
    static char words[8192], settings[8192], name[] = "souk-test";
    char *argv[16] = {name};
    FILE *out = tmpfile(), *err = tmpfile();
    int argc = 1, kept_out, kept_err;

    memset(run, 0, sizeof(*run));
    forget_variables();
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
    run->result = options_read(&OPTIONS, &run->settings, argc, argv);
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
        {"SOUK_GATEWAY_TIMEOUT_MS=1 SOUK_LOCAL_DIR=x SOUK_URL=y", "--redis-user --help", 8080, "info"}, /* other programs' */
        /* What Kubernetes says of Services called souk, souk-http and souk-log-level is no setting, and no slip of the pen. */
        {"SOUK_PORT=tcp://10.0.0.1:80 SOUK_SERVICE_HOST=10.0.0.1 SOUK_SERVICE_PORT=80 SOUK_SERVICE_PORT_HTTP_API=80 "
         "SOUK_PORT_80_TCP=tcp://10.0.0.1:80 "
         "SOUK_PORT_80_TCP_PROTO=tcp SOUK_PORT_80_TCP_PORT=80 SOUK_PORT_80_TCP_ADDR=10.0.0.1",
         "", 8080, "info"},
        {"SOUK_HTTP_PORT=tcp://10.0.0.1:80 SOUK_HTTP_PORT_80_UDP=udp://10.0.0.1:80 SOUK_HTTP_SERVICE_HOST=10.0.0.1", "", 8080, "info"},
        {"SOUK_LOG_LEVEL_PORT=sctp://10.0.0.1:80 SOUK_LOG_LEVEL_PORT_80_SCTP=sctp://10.0.0.1:80", "", 8080, "info"},
        {"SOUK_HTTP_ADDRESS=::1 SOUK_GATEWAY_URL=https://pay.example:8443/v1 SOUK_REDIS_USER=", "--drain-ms=600000", 8080, "info"},
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
    assert_string_equal(got.settings.bind, "::1");
    assert_string_equal(got.settings.user, "");
    assert_string_equal(got.settings.url, "https://pay.example:8443/v1");
    assert_int_equal(got.settings.drain_ms, 600000);
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
        {"", "--http-por=1", "souk-test: --http-por=1 is not a flag of this program; did you mean --http-port? --help lists them\n"},
        {"", "--htp-prot 1",
         "souk-test: --htp-prot is not a flag of this program; did you mean --http-port? --help lists them\n"
         "souk-test: 1 is not a flag of this program; --help lists them\n"},
        {"", "--chekc-config", "souk-test: --chekc-config is not a flag of this program; did you mean --check-config? --help lists them\n"},
        {"", "-h", "souk-test: -h is not a flag of this program; --help lists them\n"},
        {"", "8080", "souk-test: 8080 is not a flag of this program; --help lists them\n"},
        {"", "--", "souk-test: -- is not a flag of this program; --help lists them\n"},
        {"", "--help=yes", "souk-test: --help=yes: --help takes no value\n"},
        {"", "--redis-user", "souk-test: --redis-user needs a value: --redis-user=value\n"},
        {"SOUK_HTTP_PORT=+1", "", "souk-test: SOUK_HTTP_PORT is \"+1\" but must be an integer from 0 to 65535\n"},
        {"SOUK_HTTP_PORT=0x10", "", "souk-test: SOUK_HTTP_PORT is \"0x10\" but must be an integer from 0 to 65535\n"},
        {"SOUK_DRAIN_MS=5s", "", "souk-test: SOUK_DRAIN_MS is \"5s\" but must be an integer from 0 to 600000, in milliseconds and without a unit\n"},
        {"SOUK_DRAIN_MS=0.5s", "",
         "souk-test: SOUK_DRAIN_MS is \"0.5s\" but must be an integer from 0 to 600000, in milliseconds and without a unit\n"},
        {"SOUK_DRAIN_MS=s", "", "souk-test: SOUK_DRAIN_MS is \"s\" but must be an integer from 0 to 600000\n"},
        {"", "--authorization-hold-s=1m",
         "souk-test: --authorization-hold-s is \"1m\" but must be an integer from 1 to 600, in seconds and without a unit\n"},
        {"", "--cache-mb=1Gi", "souk-test: --cache-mb is \"1Gi\" but must be an integer from 0 to 65536, in MiB and without a unit\n"},
        {"SOUK_HTTP_ADDRESS=", "", "souk-test: SOUK_HTTP_ADDRESS is \"\" but must be a numeric address of this machine, as 127.0.0.1 or ::1\n"},
        {"SOUK_HTTP_ADDRESS=localhost", "",
         "souk-test: SOUK_HTTP_ADDRESS is \"localhost\" but must be a numeric address of this machine, as 127.0.0.1 or ::1\n"},
        {"SOUK_SHARDS=", "", "souk-test: SOUK_SHARDS is empty but must not be\n"},
        {"SOUK_GATEWAY_URL=", "", "souk-test: SOUK_GATEWAY_URL is empty but must not be; leave it out for its preset, http://127.0.0.1:8083\n"},
        {"SOUK_SHARDS=a=127.0.0.1:1\r", "",
         "souk-test: SOUK_SHARDS is \"a=127.0.0.1:1?\" but must have no control characters (shown as ?); look for a line's end behind it\n"},
        {"", "--redis-user=123456789", "souk-test: --redis-user is \"123456789\", 9 bytes, but must have at most 8\n"},
        {"", "--gateway-url=pay.example",
         "souk-test: --gateway-url is \"pay.example\" but must be as http://127.0.0.1:8080, without a slash at its end\n"},
        {"", "--gateway-url=http://pay.example/",
         "souk-test: --gateway-url is \"http://pay.example/\" but must be as http://127.0.0.1:8080, without a slash at its end\n"},
        {"", "--gateway-url=http://:80",
         "souk-test: --gateway-url is \"http://:80\" but must be as http://127.0.0.1:8080, without a slash at its end\n"},
        {"", "--gateway-url=ftp://pay.example",
         "souk-test: --gateway-url is \"ftp://pay.example\" but must be as http://127.0.0.1:8080, without a slash at its end\n"},
        /* Everything that is wrong is told, in the order of the table, and then what is wrong between settings. */
        {"SOUK_HTTP_PORT=x SOUK_LOG_LEVEL=loud", "--colour=red --drain-ms=-1",
         "souk-test: --colour=red is not a flag of this program; --help lists them\n"
         "souk-test: SOUK_HTTP_PORT is \"x\" but must be an integer from 0 to 65535\n"
         "souk-test: SOUK_LOG_LEVEL is \"loud\" but must be one of error|warn|info|debug\n"
         "souk-test: --drain-ms is \"-1\" but must be an integer from 0 to 600000\n"},
        {"SOUK_HTTP_PORT=13 SOUK_LOG_LEVEL=debug", "", "souk-test: SOUK_HTTP_PORT is 13 and SOUK_LOG_LEVEL is debug\n"},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct run got;

        run(&got, cases[i].variables, cases[i].args);
        assert_string_equal(got.err, cases[i].want);
        assert_int_equal(got.result, OPTIONS_EXIT_BAD);
    }
}

static void test_long_values_are_cut_in_messages(void **state)
{
    char variables[6000] = "SOUK_SHARDS=", want[256];
    struct run got;

    memset(variables + 12, 'x', 5000);
    run(&got, variables, "");
    snprintf(want, sizeof(want), "souk-test: SOUK_SHARDS is \"%.96s…\", 5000 bytes, but must have at most 4096\n", variables + 12);
    assert_string_equal(got.err, want);
}

static void test_slips_of_the_pen_are_noticed(void **state)
{
    static const struct {
        const char *variables, *want;
    } cases[] = {
        {"SOUK_SHARD=a=b:1", "souk-test: warning: SOUK_SHARD is set, and no program of Souk reads it; did you mean SOUK_SHARDS?\n"},
        {"SOUK_HTPP_PORT=1", "souk-test: warning: SOUK_HTPP_PORT is set, and no program of Souk reads it; did you mean SOUK_HTTP_PORT?\n"},
        {"SOUK_REDIS_PASSWD_FILE=x",
         "souk-test: warning: SOUK_REDIS_PASSWD_FILE is set, and no program of Souk reads it; did you mean SOUK_REDIS_PASSWORD_FILE?\n"},
        {"SOUK_COLOUR=red", "souk-test: warning: SOUK_COLOUR is set, and no program of Souk reads it; --help lists what is read\n"},
        {"SOUK_=1", "souk-test: warning: SOUK_ is set, and no program of Souk reads it; --help lists what is read\n"},
        {"SOUK_HTTP_PORT_TCP=1", "souk-test: warning: SOUK_HTTP_PORT_TCP is set, and no program of Souk reads it; did you mean SOUK_HTTP_PORT?\n"},
        {"SOUK_ORDER_PORT=8081", "souk-test: warning: SOUK_ORDER_PORT is set, and no program of Souk reads it; --help lists what is read\n"},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct run got;

        run(&got, cases[i].variables, "");
        assert_int_equal(got.result, OPTIONS_RUN);
        assert_string_equal(got.err, cases[i].want);
    }
}

static void test_operands(void **state)
{
    static const struct {
        const char *args;
        int at;
    } cases[] = {
        {"", 1}, {"get 1", 1}, {"--http-port=1 get", 2}, {"--http-port 1 get --http-port", 3}, {"--help get", 2}, {"--http-port", 2}, {"--", 2},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char words[64], name[] = "souk-test", *argv[8] = {name};
        int argc = 1;

        snprintf(words, sizeof(words), "%s", cases[i].args);
        for (char *word = strtok(words, " "); word; word = strtok(NULL, " "))
            argv[argc++] = word;
        assert_int_equal(options_operands(&OPTIONS, argc, argv), cases[i].at);
    }
}

static void test_a_setting_without_preset_must_be_set(void **state)
{
    struct settings settings;
    char name[] = "souk-test", *argv[] = {name};

    unsetenv("SOUK_SHARDS");
    assert_int_equal(options_read(&OPTIONS, &settings, 1, argv), OPTIONS_EXIT_BAD);
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
    assert_non_null(strstr(got.out, "souk-test - tests options\n\nusage: souk-test [FLAG…]\n\n"));
    assert_non_null(strstr(got.out, "\nmore\n"));
    run(&got, "", "--version");
    assert_int_equal(got.result, OPTIONS_EXIT_OK);
    assert_memory_equal(got.out, "souk-test ", 10);
    run(&got, "SOUK_HTTP_PORT=9", "--options --log-level=warn");
    assert_int_equal(got.result, OPTIONS_EXIT_OK);
    assert_string_equal(
        got.out, "SOUK_HTTP_ADDRESS=127.0.0.1\nSOUK_HTTP_PORT=9\nSOUK_LOG_LEVEL=warn\nSOUK_SHARDS=a=127.0.0.1:7000\n"
                 "SOUK_GATEWAY_URL=http://127.0.0.1:8083\nSOUK_REDIS_USER=\nSOUK_DRAIN_MS=9000\nSOUK_AUTHORIZATION_HOLD_S=60\nSOUK_CACHE_MB=64\n");
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
        cmocka_unit_test(test_long_values_are_cut_in_messages),
        cmocka_unit_test(test_slips_of_the_pen_are_noticed),
        cmocka_unit_test(test_operands),
        cmocka_unit_test(test_a_setting_without_preset_must_be_set),
        cmocka_unit_test(test_the_tables_are_printed),
        cmocka_unit_test(test_check_config),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
