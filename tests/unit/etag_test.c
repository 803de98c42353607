#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "etag.h"

static void test_matches(void **state)
{
    static const struct {
        const char *header;
        bool well_formed, strong, weak; /* compared with version 7 */
        int64_t first;
    } cases[] = {
        {"*", true, true, true, 0},
        {"\"v7\"", true, true, true, 7},
        {"\"v8\"", true, false, false, 8},
        {"W/\"v7\"", true, false, true, 0},
        {"\"v1\", \"v7\"", true, true, true, 1},
        {"\"v1\",\"v7\"", true, true, true, 1},
        {"W/\"v1\", \"v7\"", true, true, true, 7},
        {"\"a,b\", \"v7\"", true, true, true, 7},
        {"\"\", \"v7\"", true, true, true, 7},
        {" , \"v7\" ,", true, true, true, 7},
        {"\"abc\"", true, false, false, 0},
        {"\"v\"", true, false, false, 0},
        {"\"v0\"", true, false, false, 0},
        {"\"v07\"", true, false, false, 0},
        {"\"v-7\"", true, false, false, 0},
        {"\"v99999999999999999999\"", true, false, false, 0},
        {"\"V7\"", true, false, false, 0},
        {"", false, false, false, 0},
        {",", false, false, false, 0},
        {"v7", false, false, false, 0},
        {"7", false, false, false, 0},
        {"\"v7", false, false, false, 0},
        {"\"", false, false, false, 0},
        {"w/\"v7\"", false, false, false, 0},
        {"W/v7", false, false, false, 0},
        {"W/", false, false, false, 0},
        {"**", false, false, false, 0},
        {"*, \"v7\"", false, false, false, 0},
        {"\"v7\"\"v8\"", false, false, false, 0},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct view header = view_of(cases[i].header);
        print_message("%s\n", cases[i].header);
        assert_int_equal(etag_well_formed(header), cases[i].well_formed);
        assert_int_equal(etag_matches(header, 7, ETAG_STRONG), cases[i].strong);
        assert_int_equal(etag_matches(header, 7, ETAG_WEAK), cases[i].weak);
        assert_int_equal(etag_names(header, VIEW("\"v7\"")), cases[i].weak);
        assert_int_equal(etag_first(header), cases[i].first);
    }
}

static void test_newest(void **state)
{
    static const struct {
        const char *header;
        int64_t want;
    } cases[] = {
        {"\"v7\"", 7}, {"W/\"v7\"", 7}, {"\"v1\", W/\"v9\", \"v3\"", 9}, {"*", 0}, {"\"c1c6284cdb828f3d0689091fe029a775\"", 0}, {"v7", 0}, {"", 0},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        assert_int_equal(etag_newest(view_of(cases[i].header)), cases[i].want);
}

static void test_absent(void **state)
{
    const struct view absent = {NULL, 0};
    assert_false(etag_well_formed(absent));
    assert_false(etag_any(absent));
    assert_false(etag_matches(absent, 7, ETAG_WEAK));
    assert_int_equal(etag_first(absent), 0);
    assert_int_equal(etag_newest(absent), 0);
    assert_false(etag_names(absent, VIEW("\"v7\"")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_matches),
        cmocka_unit_test(test_newest),
        cmocka_unit_test(test_absent),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
