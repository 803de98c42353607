#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "scratch_dir.h"
#include "shard_files.h"

/* A folder in which there is one.conf, two.conf, and a manifest; all paths are from it. */
static int enter_folder(void **state)
{
    char folder[300];
    return !scratch_dir(folder, sizeof(folder), "souk-shard-files") || chdir(folder) != 0 || (*state = strdup(folder)) == NULL;
}

static int leave_folder(void **state)
{
    char command[400];
    snprintf(command, sizeof(command), "rm -r '%s'", (char *)*state);
    free(*state);
    return chdir("/") != 0 || system(command) != 0;
}

static void write_text(const char *path, const char *text)
{
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
}

#define BASE "file appendonly.aof.1.base.rdb seq 1 type b\n"
#define FIRST "file appendonly.aof.1.incr.aof seq 1 type i\n"
#define ARGS_MAX 8

static void test_settings(void **state)
{
    static const struct {
        const char *name, *one, *two, *arguments[ARGS_MAX]; /* two settings files, and what stands behind "souk-shard" */
        const char *folder;                                 /* where the manifest must be looked for; NULL: it cannot be told */
    } cases[] = {
        {"presets", "", "", {NULL}, "appendonlydir"},
        {"an option", "", "", {"--dir", "data"}, "data/appendonlydir"},
        {"a settings file", "dir data\n", "", {"one.conf"}, "data/appendonlydir"},
        {"capitals and blanks", "\t DIR\t  data \r\n", "", {"one.conf"}, "data/appendonlydir"},
        {"both", "dir /data\n", "", {"one.conf", "--dir", "/other"}, "/other/appendonlydir"},
        {"one in the other", "dir data\n", "", {"one.conf", "--dir", "other"}, "data/other/appendonlydir"},
        {"twice", "dir data\ndir other\n", "", {"one.conf"}, "data/other/appendonlydir"},
        {"an absolute one behind", "dir data\ndir /other\n", "", {"one.conf"}, "/other/appendonlydir"},
        {"options alone", "dir data\n", "", {"--port", "1", "--dir", "other", "--save", ""}, "other/appendonlydir"},
        {"an option without its value", "", "", {"--dir", "other", "--dir"}, "other/appendonlydir"},
        {"a value like an option", "", "", {"--appenddirname", "--dir", "other"}, "--dir"},
        {"save without a value", "", "", {"--save", "--dir", "other"}, "other/appendonlydir"},
        {"save with an empty value", "", "", {"--save", "", "--dir", "other"}, "other/appendonlydir"},
        {"more values than one", "", "", {"--save", "60", "1", "--dir", "other"}, "other/appendonlydir"},
        {"both in one argument", "", "", {"--dir other", "--port 1"}, "other/appendonlydir"},
        {"both in one argument, quoted", "", "", {"--dir \"my data\""}, "my data/appendonlydir"},
        {"another folder", "dir data\nappenddirname log\n", "", {"one.conf"}, "data/log"},
        {"another name", "appendfilename shard.aof\n", "", {"one.conf", "--dir", "data"}, "data/appendonlydir"},
        {"a comment", "  # dir other \"\ndir data\n#dir other\n", "", {"one.conf"}, "data/appendonlydir"},
        {"no value", "dir\ndir data\n", "", {"one.conf"}, "data/appendonlydir"},
        {"more values", "save 3600 1 300 100 60 10000 10 1 2 3\ndir data\n", "", {"one.conf"}, "data/appendonlydir"},
        {"an empty settings file", "", "", {"one.conf"}, "appendonlydir"},
        {"without an end of line", "dir data", "", {"one.conf"}, "data/appendonlydir"},
        {"quotes", "dir \"my data\"\nappenddirname 'log'\n", "", {"one.conf"}, "my data/log"},
        {"quotes inside", "dir my\" data\"\n", "", {"one.conf"}, "my data/appendonlydir"},
        {"escapes", "dir \"\\x64at\\a\\\"\\\\\\q\"\n", "", {"one.conf"}, "dat\a\"\\q/appendonlydir"},
        {"escapes between single quotes", "dir 'it\\'s \\x64'\n", "", {"one.conf"}, "it's \\x64/appendonlydir"},
        {"half an escape", "dir \"a\\x6\"\n", "", {"one.conf"}, "ax6/appendonlydir"},
        {"a quote that is not closed", "dir \"data\n", "", {"one.conf"}, NULL},
        {"a quote in the middle", "dir \"da\"ta\n", "", {"one.conf"}, NULL},
        {"an include", "include two.conf\n", "dir data\n", {"one.conf"}, "data/appendonlydir"},
        {"an include as option", "", "dir data\n", {"--include", "two.conf"}, "data/appendonlydir"},
        {"an include, then a line", "include two.conf\ndir other\n", "dir data\n", {"one.conf"}, "data/other/appendonlydir"},
        {"an include from another folder", "dir data\ninclude ../two.conf\n", "appenddirname log\n", {"one.conf"}, "data/log"},
        {"an include of many", "include *.conf\n", "dir data\n", {"--include", "tw?.conf"}, "data/appendonlydir"},
        {"an include of none", "include none.conf\ndir data\n", "", {"one.conf"}, "data/appendonlydir"},
        {"an include of itself", "include one.conf\n", "", {"one.conf"}, NULL},
        {"no settings file", "", "", {"none.conf"}, NULL},
        {"standard input", "", "", {"-"}, NULL},
        {"standard input before options", "", "", {"-", "--dir", "data"}, NULL},
        {"standard input behind options", "", "", {"--dir", "data", "-"}, NULL},
        {"a folder as settings file", "", "", {"."}, NULL},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        char *argv[ARGS_MAX + 2] = {(char *)"souk-shard"};
        struct shard_files files;
        int argc = 1;
        for (const char *const *argument = cases[i].arguments; *argument; argument++)
            argv[argc++] = (char *)(uintptr_t)*argument;
        mkdir("data", 0700); /* there may be one */
        write_text("one.conf", cases[i].one);
        write_text("two.conf", cases[i].two);
        print_message("%s\n", cases[i].name);
        bool told = shard_files_settings(&files, argc, argv);
        assert_int_equal(told, cases[i].folder != NULL);
        if (told)
            assert_string_equal(files.folder, cases[i].folder);
        else
            print_message("    %s\n", files.error);
    }
}

static void test_too_long(void **state)
{
    char long_name[PATH_MAX + 10], folder[NAME_MAX + 10];
    char *argv[] = {(char *)"souk-shard", (char *)"--dir", long_name, (char *)"--appenddirname", folder, NULL};
    struct shard_files files;
    memset(long_name, 'x', sizeof(long_name) - 1);
    long_name[sizeof(long_name) - 1] = '\0';
    strcpy(folder, "log");
    assert_false(shard_files_settings(&files, 5, argv));
    long_name[PATH_MAX - 5] = '\0'; /* it fits, and the folder in it does not */
    assert_false(shard_files_settings(&files, 5, argv));
    strcpy(long_name, "data");
    memset(folder, 'x', sizeof(folder) - 1);
    folder[sizeof(folder) - 1] = '\0';
    assert_false(shard_files_settings(&files, 5, argv));
}

static void test_manifests(void **state)
{
    static const struct {
        const char *name, *text;
        enum shard_found found;
        const char *file;
    } cases[] = {
        {"one", BASE FIRST, SHARD_FOUND, "log/appendonly.aof.1.incr.aof"},
        {"the last of two", BASE FIRST "file appendonly.aof.2.incr.aof seq 2 type i\n", SHARD_FOUND, "log/appendonly.aof.2.incr.aof"},
        {"what is done with", BASE "file appendonly.aof.1.incr.aof seq 1 type h\nfile appendonly.aof.2.incr.aof seq 2 type i\n", SHARD_FOUND,
         "log/appendonly.aof.2.incr.aof"},
        {"quotes", BASE "file \"my shard.1.incr.aof\" seq 1 type i\n", SHARD_FOUND, "log/my shard.1.incr.aof"},
        {"a comment", "# made by hand\n" BASE FIRST, SHARD_FOUND, "log/appendonly.aof.1.incr.aof"},
        {"a base alone", BASE, SHARD_NEW, NULL},
        {"empty", "", SHARD_NEW, NULL},
        {"another text", "hello\n", SHARD_UNKNOWN, NULL},
        {"an unknown row", "file appendonly.aof.1.incr.aof type i seq 1\n", SHARD_UNKNOWN, NULL},
        {"half a row", BASE "file appendonly.aof.1.incr.aof seq", SHARD_UNKNOWN, NULL},
    };
    char *argv[] = {(char *)"souk-shard", (char *)"--dir", (char *)"log/..", (char *)"--appenddirname", (char *)"log", NULL};
    struct shard_files none;
    assert_true(shard_files_settings(&none, 5, argv));
    assert_int_equal(shard_files_find(&none), SHARD_NEW);
    assert_int_equal(mkdir("log", 0700), 0);
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        struct shard_files files;
        print_message("%s\n", cases[i].name);
        write_text("log/appendonly.aof.manifest", cases[i].text);
        assert_true(shard_files_settings(&files, 5, argv));
        assert_int_equal(shard_files_find(&files), cases[i].found);
        if (cases[i].file) {
            assert_int_equal(strncmp(files.file, "log/../", 7), 0);
            assert_string_equal(files.file + 7, cases[i].file);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_settings, enter_folder, leave_folder),
        cmocka_unit_test_setup_teardown(test_too_long, enter_folder, leave_folder),
        cmocka_unit_test_setup_teardown(test_manifests, enter_folder, leave_folder),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
