#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

/*
 * In every test program: NAME_test [PATTERN] runs the tests whose names match, with * and ? in PATTERN as in a shell's. The C library gives main's
 * arguments to what it calls before main.
 */
__attribute__((constructor)) static void run_only(int argc, char **argv)
{
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
}
