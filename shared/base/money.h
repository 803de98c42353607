#ifndef MONEY_H
#define MONEY_H

#include <stddef.h>
#include <stdint.h>

#include "view.h"

/* An amount is an integer count of its currency's smallest unit; the largest is 2^53-1, which every client can hold. */
#define MONEY_MAX ((int64_t)9007199254740991)

/* Digits behind the point of an ISO 4217 currency (USD 2, JPY 0, KWD 3), or -1 if the code is not one we know. */
int money_digits(struct view currency);

enum money_error { MONEY_OK, MONEY_NOT_A_NUMBER, MONEY_NEGATIVE, MONEY_TOO_PRECISE, MONEY_TOO_LARGE };

/*
 * Reads a decimal as JSON writes numbers ("19.9", "1e2", "0.10") into units of 10^-digits, exactly: no floating point.
 * "19.999" with two digits is MONEY_TOO_PRECISE, "19.990" is fine. ${out} is set only on MONEY_OK.
 */
enum money_error money_parse(struct view text, int digits, int64_t *out);

/* What to tell the caller about ${error}, a sentence without a full stop. */
const char *money_error_text(enum money_error error);

#define MONEY_TEXT_MAX 24
/* Writes ${amount} with exactly ${digits} digits behind the point ("19.90"); returns its length. Cannot fail. */
size_t money_print(char out[MONEY_TEXT_MAX], int64_t amount, int digits);

#endif
