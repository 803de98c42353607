#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"

#include "money.h"

struct currency {
    char code[4];
    int digits;
};

/* ISO 4217, list one: the active currencies and funds codes that have a smallest unit, sorted by code. */
static const struct currency currencies[] = {
    {"AED", 2}, {"AFN", 2}, {"ALL", 2}, {"AMD", 2}, {"AOA", 2}, {"ARS", 2}, {"AUD", 2}, {"AWG", 2}, {"AZN", 2}, {"BAM", 2}, {"BBD", 2}, {"BDT", 2},
    {"BGN", 2}, {"BHD", 3}, {"BIF", 0}, {"BMD", 2}, {"BND", 2}, {"BOB", 2}, {"BOV", 2}, {"BRL", 2}, {"BSD", 2}, {"BTN", 2}, {"BWP", 2}, {"BYN", 2},
    {"BZD", 2}, {"CAD", 2}, {"CDF", 2}, {"CHE", 2}, {"CHF", 2}, {"CHW", 2}, {"CLF", 4}, {"CLP", 0}, {"CNY", 2}, {"COP", 2}, {"COU", 2}, {"CRC", 2},
    {"CUP", 2}, {"CVE", 2}, {"CZK", 2}, {"DJF", 0}, {"DKK", 2}, {"DOP", 2}, {"DZD", 2}, {"EGP", 2}, {"ERN", 2}, {"ETB", 2}, {"EUR", 2}, {"FJD", 2},
    {"FKP", 2}, {"GBP", 2}, {"GEL", 2}, {"GHS", 2}, {"GIP", 2}, {"GMD", 2}, {"GNF", 0}, {"GTQ", 2}, {"GYD", 2}, {"HKD", 2}, {"HNL", 2}, {"HTG", 2},
    {"HUF", 2}, {"IDR", 2}, {"ILS", 2}, {"INR", 2}, {"IQD", 3}, {"IRR", 2}, {"ISK", 0}, {"JMD", 2}, {"JOD", 3}, {"JPY", 0}, {"KES", 2}, {"KGS", 2},
    {"KHR", 2}, {"KMF", 0}, {"KPW", 2}, {"KRW", 0}, {"KWD", 3}, {"KYD", 2}, {"KZT", 2}, {"LAK", 2}, {"LBP", 2}, {"LKR", 2}, {"LRD", 2}, {"LSL", 2},
    {"LYD", 3}, {"MAD", 2}, {"MDL", 2}, {"MGA", 2}, {"MKD", 2}, {"MMK", 2}, {"MNT", 2}, {"MOP", 2}, {"MRU", 2}, {"MUR", 2}, {"MVR", 2}, {"MWK", 2},
    {"MXN", 2}, {"MXV", 2}, {"MYR", 2}, {"MZN", 2}, {"NAD", 2}, {"NGN", 2}, {"NIO", 2}, {"NOK", 2}, {"NPR", 2}, {"NZD", 2}, {"OMR", 3}, {"PAB", 2},
    {"PEN", 2}, {"PGK", 2}, {"PHP", 2}, {"PKR", 2}, {"PLN", 2}, {"PYG", 0}, {"QAR", 2}, {"RON", 2}, {"RSD", 2}, {"RUB", 2}, {"RWF", 0}, {"SAR", 2},
    {"SBD", 2}, {"SCR", 2}, {"SDG", 2}, {"SEK", 2}, {"SGD", 2}, {"SHP", 2}, {"SLE", 2}, {"SOS", 2}, {"SRD", 2}, {"SSP", 2}, {"STN", 2}, {"SVC", 2},
    {"SYP", 2}, {"SZL", 2}, {"THB", 2}, {"TJS", 2}, {"TMT", 2}, {"TND", 3}, {"TOP", 2}, {"TRY", 2}, {"TTD", 2}, {"TWD", 2}, {"TZS", 2}, {"UAH", 2},
    {"UGX", 0}, {"USD", 2}, {"USN", 2}, {"UYI", 0}, {"UYU", 2}, {"UYW", 4}, {"UZS", 2}, {"VED", 2}, {"VES", 2}, {"VND", 0}, {"VUV", 0}, {"WST", 2},
    {"XAF", 0}, {"XCD", 2}, {"XCG", 2}, {"XOF", 0}, {"XPF", 0}, {"YER", 2}, {"ZAR", 2}, {"ZMW", 2}, {"ZWG", 2},
};

static int compare_code(const void *code, const void *row)
{
    return memcmp(code, ((const struct currency *)row)->code, 3);
}

int money_digits(struct view currency)
{
    const struct currency *found;

    if (currency.len != 3)
        return -1;
    found = bsearch(currency.at, currencies, sizeof(currencies) / sizeof(currencies[0]), sizeof(currencies[0]), compare_code);
    return found ? found->digits : -1;
}

/* MONEY_MAX has 16 digits: a coefficient of more, without zeros at its end, is larger whatever follows. */
#define COEFFICIENT_DIGITS 16

/* An exponent saturates here. A text that long cannot exist, so its sign and size still decide as the true exponent would. */
#define EXPONENT_LIMIT ((int64_t)1 << 50)

/* A decimal taken apart: coefficient x 10^exponent, the coefficient without zeros at its end. */
struct decimal {
    bool negative;
    bool long_one; /* more than COEFFICIENT_DIGITS digits; ${coefficient} is then meaningless */
    int64_t coefficient;
    int64_t exponent;
    int64_t zeros; /* that were read and may yet turn out to be the end */
    int digit_count;
};

static bool is_digit(const char *at, const char *end)
{
    return at < end && *at >= '0' && *at <= '9';
}

static void take_digit(struct decimal *decimal, int digit)
{
    if (digit == 0) {
        decimal->zeros += decimal->digit_count > 0;
        return;
    }
    if (decimal->digit_count + decimal->zeros >= COEFFICIENT_DIGITS) {
        decimal->long_one = true;
    } else {
        for (int64_t i = 0; i < decimal->zeros; i++)
            decimal->coefficient *= 10;
        decimal->coefficient = decimal->coefficient * 10 + digit;
        decimal->digit_count += (int)decimal->zeros + 1;
    }
    decimal->zeros = 0;
}

/* Reads digits, at least one; returns where they end, or NULL if there is none. */
static const char *take_digits(struct decimal *decimal, const char *at, const char *end)
{
    if (!is_digit(at, end))
        return NULL;
    for (; is_digit(at, end); at++)
        take_digit(decimal, *at - '0');
    return at;
}

static const char *take_exponent(struct decimal *decimal, const char *at, const char *end)
{
    bool negative = at < end && *at == '-';
    int64_t exponent = 0;

    if (at < end && (*at == '-' || *at == '+'))
        at++;
    if (!is_digit(at, end))
        return NULL;
    for (; is_digit(at, end); at++)
        exponent = exponent >= EXPONENT_LIMIT / 10 ? EXPONENT_LIMIT : exponent * 10 + (*at - '0');
    decimal->exponent += negative ? -exponent : exponent;
    return at;
}

/* The grammar of RFC 8259 section 6. Returns false if ${text} is anything else. */
static bool decimal_read(struct view text, struct decimal *out)
{
    const char *at = text.at, *end = text.at + text.len, *start;

    *out = (struct decimal){0};
    if (at < end && *at == '-') {
        out->negative = true;
        at++;
    }
    start = at;
    at = take_digits(out, at, end);
    if (!at || (*start == '0' && at - start > 1))
        return false;
    if (at < end && *at == '.') {
        start = at + 1;
        at = take_digits(out, start, end);
        if (!at)
            return false;
        out->exponent = start - at;
    }
    if (at < end && (*at == 'e' || *at == 'E'))
        at = take_exponent(out, at + 1, end);
    out->exponent += out->zeros;
    return at == end;
}

enum money_error money_parse(struct view text, int digits, int64_t *out)
{
    struct decimal decimal;
    int64_t amount, shift;

    CHECK(digits >= 0);
    if (text.len == 0 || !decimal_read(text, &decimal))
        return MONEY_NOT_A_NUMBER;
    amount = decimal.coefficient;
    shift = decimal.exponent + digits;
    if (amount != 0 && decimal.negative)
        return MONEY_NEGATIVE;
    /* The coefficient does not end in zero, so whatever is left of a negative shift is a part of a unit. */
    if (amount != 0 && shift < 0)
        return MONEY_TOO_PRECISE;
    if (decimal.long_one || (amount != 0 && decimal.digit_count + shift > COEFFICIENT_DIGITS))
        return MONEY_TOO_LARGE;
    for (; amount != 0 && shift > 0; shift--)
        amount *= 10;
    if (amount > MONEY_MAX)
        return MONEY_TOO_LARGE;
    *out = amount;
    return MONEY_OK;
}

const char *money_error_text(enum money_error error)
{
    switch (error) {
    case MONEY_OK:
        return "is fine";
    case MONEY_NOT_A_NUMBER:
        return "must be a decimal number such as 19.90";
    case MONEY_NEGATIVE:
        return "must not be negative";
    case MONEY_TOO_PRECISE:
        return "has more decimal places than its currency";
    case MONEY_TOO_LARGE:
        return "is larger than the largest amount, 2^53-1 of the currency's smallest unit";
    }
    CHECK(!"a known money error");
    return NULL;
}

size_t money_print(char out[MONEY_TEXT_MAX], int64_t amount, int digits)
{
    char reversed[MONEY_TEXT_MAX];
    uint64_t rest = amount < 0 ? 0 - (uint64_t)amount : (uint64_t)amount;
    size_t len = 0;

    /* The sign, the point and the zero before it are the three characters that come on top of the digits. */
    CHECK(digits >= 0 && digits <= 18);
    for (int i = 0; rest > 0 || i <= digits; i++) {
        if (i == digits && digits > 0)
            reversed[len++] = '.';
        reversed[len++] = (char)('0' + rest % 10);
        rest /= 10;
    }
    if (amount < 0)
        reversed[len++] = '-';
    for (size_t i = 0; i < len; i++)
        out[i] = reversed[len - 1 - i];
    out[len] = '\0';
    return len;
}
