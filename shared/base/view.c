#include "view.h"

bool view_to_int(struct view text, long long *out)
{
    long long number = 0;

    if (text.len == 0 || (text.len > 1 && text.at[0] == '0'))
        return false;
    for (size_t i = 0; i < text.len; i++) {
        unsigned digit = (unsigned)(unsigned char)text.at[i] - '0';

        if (digit > 9 || __builtin_mul_overflow(number, 10, &number) || __builtin_add_overflow(number, (long long)digit, &number))
            return false;
    }
    *out = number;
    return true;
}
