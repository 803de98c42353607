#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "money.h"

static void test_digits_of_currencies(void **state)
{
    static const struct {
        const char *code;
        int want;
    } cases[] = {
        {"USD", 2}, {"EUR", 2}, {"JPY", 0}, {"KWD", 3}, {"BHD", 3},   {"CLF", 4},  {"UYW", 4},  {"AED", 2},  {"ZWG", 2},  {"ISK", 0},
        {"XAF", 0}, {"TND", 3}, {"", -1},   {"US", -1}, {"USDX", -1}, {"usd", -1}, {"AAA", -1}, {"ZZZ", -1}, {"XXX", -1}, {"DEM", -1},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        print_message("'%s'\n", cases[i].code);
        assert_int_equal(money_digits(view_of(cases[i].code)), cases[i].want);
    }
}

static void test_parse(void **state)
{
    static const struct {
        const char *text;
        int digits;
        enum money_error want;
        int64_t amount;
    } cases[] = {
        {"0", 2, MONEY_OK, 0},
        {"1", 2, MONEY_OK, 100},
        {"19.9", 2, MONEY_OK, 1990},
        {"19.90", 2, MONEY_OK, 1990},
        {"19.990", 2, MONEY_OK, 1999},
        {"0.10", 2, MONEY_OK, 10},
        {"0.01", 2, MONEY_OK, 1},
        {"10.00", 0, MONEY_OK, 10},
        {"100", 0, MONEY_OK, 100},
        {"1.234", 3, MONEY_OK, 1234},
        {"1e2", 2, MONEY_OK, 10000},
        {"1E+2", 2, MONEY_OK, 10000},
        {"1E-2", 2, MONEY_OK, 1},
        {"12.50e1", 2, MONEY_OK, 12500},
        {"1000e-3", 2, MONEY_OK, 100},
        {"1e02", 2, MONEY_OK, 10000},
        {"1e-0", 2, MONEY_OK, 100},
        {"0.000e5", 2, MONEY_OK, 0},
        {"0e999999999", 2, MONEY_OK, 0},
        {"0e-999999999", 2, MONEY_OK, 0},
        {"-0", 2, MONEY_OK, 0},
        {"-0.00", 2, MONEY_OK, 0},
        {"90071992547409.91", 2, MONEY_OK, MONEY_MAX},
        {"9007199254740991", 0, MONEY_OK, MONEY_MAX},
        {"0.00000000000000000000000000000000000000001e41", 2, MONEY_OK, 100},
        {"100000000000000000000000000000000000000000e-41", 2, MONEY_OK, 100},
        {"9007199254740992", 0, MONEY_TOO_LARGE, 0},
        {"90071992547409.92", 2, MONEY_TOO_LARGE, 0},
        {"9999999999999999", 0, MONEY_TOO_LARGE, 0},
        {"10000000000000000", 0, MONEY_TOO_LARGE, 0},
        {"12345678901234567890123", 0, MONEY_TOO_LARGE, 0},
        {"1e15", 2, MONEY_TOO_LARGE, 0},
        {"1e400", 2, MONEY_TOO_LARGE, 0},
        {"1e999999999", 2, MONEY_TOO_LARGE, 0},
        {"1e99999999999999999999999999", 2, MONEY_TOO_LARGE, 0},
        {"19.999", 2, MONEY_TOO_PRECISE, 0},
        {"0.5", 0, MONEY_TOO_PRECISE, 0},
        {"0.001", 2, MONEY_TOO_PRECISE, 0},
        {"1e-3", 2, MONEY_TOO_PRECISE, 0},
        {"1e-999999999", 2, MONEY_TOO_PRECISE, 0},
        {"1.00000000000000000000000001", 2, MONEY_TOO_PRECISE, 0},
        {"1e-99999999999999999999999999", 2, MONEY_TOO_PRECISE, 0},
        {"-1", 2, MONEY_NEGATIVE, 0},
        {"-0.01", 2, MONEY_NEGATIVE, 0},
        {"-19.999", 2, MONEY_NEGATIVE, 0},
        {"-1e999999999", 2, MONEY_NEGATIVE, 0},
        {"", 2, MONEY_NOT_A_NUMBER, 0},
        {"-", 2, MONEY_NOT_A_NUMBER, 0},
        {".", 2, MONEY_NOT_A_NUMBER, 0},
        {".5", 2, MONEY_NOT_A_NUMBER, 0},
        {"1.", 2, MONEY_NOT_A_NUMBER, 0},
        {"01", 2, MONEY_NOT_A_NUMBER, 0},
        {"00", 2, MONEY_NOT_A_NUMBER, 0},
        {"+1", 2, MONEY_NOT_A_NUMBER, 0},
        {"1e", 2, MONEY_NOT_A_NUMBER, 0},
        {"1e+", 2, MONEY_NOT_A_NUMBER, 0},
        {"e1", 2, MONEY_NOT_A_NUMBER, 0},
        {"1.2.3", 2, MONEY_NOT_A_NUMBER, 0},
        {"1,5", 2, MONEY_NOT_A_NUMBER, 0},
        {" 1", 2, MONEY_NOT_A_NUMBER, 0},
        {"1 ", 2, MONEY_NOT_A_NUMBER, 0},
        {"--1", 2, MONEY_NOT_A_NUMBER, 0},
        {"NaN", 2, MONEY_NOT_A_NUMBER, 0},
        {"Infinity", 2, MONEY_NOT_A_NUMBER, 0},
        {"0x10", 2, MONEY_NOT_A_NUMBER, 0},
        {"1e1.5", 2, MONEY_NOT_A_NUMBER, 0},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        int64_t amount = -77;

        print_message("'%s' with %d digits\n", cases[i].text, cases[i].digits);
        assert_int_equal(money_parse(view_of(cases[i].text), cases[i].digits, &amount), cases[i].want);
        assert_int_equal(amount, cases[i].want == MONEY_OK ? cases[i].amount : -77);
        assert_non_null(money_error_text(cases[i].want));
    }
}

static void test_print(void **state)
{
    static const struct {
        int64_t amount;
        int digits;
        const char *want;
    } cases[] = {
        {0, 0, "0"},
        {0, 2, "0.00"},
        {1, 2, "0.01"},
        {10, 2, "0.10"},
        {100, 2, "1.00"},
        {1990, 2, "19.90"},
        {1990, 0, "1990"},
        {5, 3, "0.005"},
        {MONEY_MAX, 2, "90071992547409.91"},
        {MONEY_MAX, 0, "9007199254740991"},
        {-1, 2, "-0.01"},
        {-1990, 2, "-19.90"},
        {INT64_MAX, 4, "922337203685477.5807"},
        {INT64_MIN, 2, "-92233720368547758.08"},
        {INT64_MIN, 18, "-9.223372036854775808"},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char text[MONEY_TEXT_MAX];

        assert_int_equal(money_print(text, cases[i].amount, cases[i].digits), view_of(cases[i].want).len);
        assert_string_equal(text, cases[i].want);
    }
}

static void test_what_is_printed_reads_back(void **state)
{
    for (int digits = 0; digits <= 4; digits++) {
        for (int64_t amount = 1; amount <= MONEY_MAX; amount = amount * 3 + 1) {
            char text[MONEY_TEXT_MAX];
            int64_t back = 0;

            money_print(text, amount, digits);
            assert_int_equal(money_parse(view_of(text), digits, &back), MONEY_OK);
            assert_int_equal(back, amount);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_digits_of_currencies),
        cmocka_unit_test(test_parse),
        cmocka_unit_test(test_print),
        cmocka_unit_test(test_what_is_printed_reads_back),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
