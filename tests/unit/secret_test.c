#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "secret.h"
#include "scratch_dir.h"

static char dir[64];

static char *path_of(const char *name)
{
    static char path[128];
    snprintf(path, sizeof(path), "%s/%s", dir, name);
    return path;
}

static void write_file(const char *name, const char *bytes, size_t len, mode_t mode)
{
    FILE *file = fopen(path_of(name), "w");
    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, len, file), len);
    assert_int_equal(fclose(file), 0);
    assert_int_equal(chmod(path_of(name), mode), 0);
}

static int setup(void **state)
{
    return scratch_dir(dir, sizeof(dir), "souk-secret") ? 0 : -1;
}

static int teardown(void **state)
{
    static const char *const names[] = {"a", "b", "link", "next"};
    for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++)
        unlink(path_of(names[i]));
    return rmdir(dir);
}

/* Who may read it, by the last three bits: the nine others do not matter. */
static void test_modes(void **state)
{
    static const struct {
        mode_t mode;
        bool taken;
    } rows[] = {{0400, true},  {0600, true},  {0440, true},  {0640, true},  {0660, true},  {0750, true},
                {0444, false}, {0644, false}, {0604, false}, {0602, false}, {0601, false}, {0666, false}};
    for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
        const char *why;
        write_file("a", "s3cret\n", 7, rows[i].mode);
        char *text = secret_read(path_of("a"), 100, NULL, &why);
        if ((text != NULL) != rows[i].taken)
            fail_msg("mode %04o: %s", (unsigned)rows[i].mode, text ? "taken" : why);
        if (text)
            assert_string_equal(text, "s3cret\n");
        else
            assert_non_null(strstr(why, "others than its owner"));
        secret_free(text);
        unlink(path_of("a"));
    }
}

static void test_contents(void **state)
{
    static const struct {
        const char *name, *bytes;
        size_t len, room;
        const char *want, *why;
    } rows[] = {
        {"empty", "", 0, 4, "", NULL},
        {"as large as may be", "1234", 4, 4, "1234", NULL},
        {"one more", "12345", 5, 4, NULL, "has 5 bytes"},
        {"with a NUL", "1\0" "3", 3, 4, NULL, "NUL"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
        const char *why;
        write_file("a", rows[i].bytes, rows[i].len, 0600);
        char *text = secret_read(path_of("a"), rows[i].room, NULL, &why);
        print_message("%s\n", rows[i].name);
        if (rows[i].want)
            assert_string_equal(text, rows[i].want);
        else
            assert_non_null(strstr(why, rows[i].why));
        secret_free(text);
    }
}

static void test_line(void **state)
{
    static const struct {
        const char *bytes, *want, *why;
    } rows[] = {
        {"1234", "1234", NULL},       {"1234\r\nmore\n", "1234", NULL}, {"12345\n", NULL, "too long"},
        {"\n1234", NULL, "is empty"}, {"", NULL, "is empty"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
        const char *why;
        write_file("a", rows[i].bytes, strlen(rows[i].bytes), 0600);
        char *line = secret_line(path_of("a"), 4, &why);
        print_message("row %zu\n", i);
        if (rows[i].want)
            assert_string_equal(line, rows[i].want);
        else
            assert_null(line);
        if (rows[i].why)
            assert_non_null(strstr(why, rows[i].why));
        secret_free(line);
    }
    const char *why;
    unlink(path_of("a"));
    assert_null(secret_line(path_of("a"), 4, &why));
    assert_non_null(strstr(why, "No such file"));
}

static void test_no_file(void **state)
{
    const char *why;
    struct secret_stamp stamp;
    assert_null(secret_read(path_of("a"), 10, &stamp, &why));
    assert_string_equal(why, "No such file or directory");
    assert_false(secret_has_changed(path_of("a"), &stamp)); /* still not there */
    write_file("a", "x", 1, 0600);
    assert_true(secret_has_changed(path_of("a"), &stamp));
    assert_null(secret_read(dir, 10, NULL, &why));
    assert_string_equal(why, "it is no file");
    assert_int_equal(mkfifo(path_of("b"), 0600), 0);
    assert_null(secret_read(path_of("b"), 10, NULL, &why)); /* and does not wait for a writer */
    assert_string_equal(why, "it is no file");
}

/* What makes it another file: other bytes, another mode, another file behind the same name, another target of the link. */
static void test_changes(void **state)
{
    const char *why;
    struct secret_stamp stamp;
    write_file("a", "one", 3, 0600);
    write_file("b", "two", 3, 0600);
    char to[128];
    snprintf(to, sizeof(to), "%s", path_of("a"));
    assert_int_equal(symlink(to, path_of("link")), 0);
    char *text = secret_read(path_of("link"), 10, &stamp, &why);
    assert_string_equal(text, "one");
    secret_free(text);
    assert_false(secret_has_changed(path_of("link"), &stamp));

    snprintf(to, sizeof(to), "%s", path_of("b"));
    assert_int_equal(symlink(to, path_of("next")), 0);
    snprintf(to, sizeof(to), "%s", path_of("next"));
    assert_int_equal(rename(to, path_of("link")), 0);
    assert_true(secret_has_changed(path_of("link"), &stamp));
    text = secret_read(path_of("link"), 10, &stamp, &why);
    assert_string_equal(text, "two");
    secret_free(text);

    assert_int_equal(chmod(path_of("b"), 0644), 0);
    assert_true(secret_has_changed(path_of("link"), &stamp));
    assert_null(secret_read(path_of("link"), 10, &stamp, &why));
    assert_false(secret_has_changed(path_of("link"), &stamp)); /* refused once, not with every look */
    assert_int_equal(chmod(path_of("b"), 0640), 0);
    assert_true(secret_has_changed(path_of("link"), &stamp));
    unlink(path_of("link"));
    assert_true(secret_has_changed(path_of("link"), &stamp));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_modes, setup, teardown),
        cmocka_unit_test_setup_teardown(test_contents, setup, teardown),
        cmocka_unit_test_setup_teardown(test_line, setup, teardown),
        cmocka_unit_test_setup_teardown(test_no_file, setup, teardown),
        cmocka_unit_test_setup_teardown(test_changes, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
