#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "hash.h"

static void test_known_hashes(void **state)
{
    static const struct {
        const char *text;
        uint32_t want32;
        const char *want128;
    } cases[] = {
        {"", 0, "00000000000000000000000000000000"},
        {"a", 0x3c2569b2, "85555565f6597889e6b53a48510e895a"},
        {"abc", 0xb3dd93fa, "b4963f3f3fad78673ba2744126ca2d52"},
        {"abcd", 0x43ed676a, "b87bb7d64656cd4ff2003e886073e875"},
        {"The quick brown fox jumps over the lazy dog", 0x2e4ff723, "e34bbc7bbc071b6c7a433ca9c49a9347"},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char hex[HASH128_HEX + 1];

        assert_int_equal(hash32(view_of(cases[i].text), 0), cases[i].want32);
        hash128_hex(hex, hash128(view_of(cases[i].text), 0));
        assert_string_equal(hex, cases[i].want128);
    }
    assert_int_equal(hash32((struct view){NULL, 0}, 1), 0x514e28b7);
}

static void put_little_endian(unsigned char *out, uint64_t number, int bytes)
{
    for (int i = 0; i < bytes; i++)
        out[i] = (unsigned char)(number >> (8 * i));
}

/*
 * The check that comes with the hash (SMHasher, VerificationTest): hash the keys {}, {0}, {0,1} ... {0..254}, each seeded with 256 minus its
 * length, then the hashes together. It goes through every length of tail.
 */
static void test_verification_values(void **state)
{
    unsigned char keys[256], hashes32[256 * 4], hashes128[256 * 16];

    for (unsigned i = 0; i < 256; i++) {
        struct view key = {(const char *)keys, i};
        struct hash128 wide = hash128(key, 256 - i);

        put_little_endian(hashes32 + i * 4, hash32(key, 256 - i), 4);
        put_little_endian(hashes128 + i * 16, wide.high, 8);
        put_little_endian(hashes128 + i * 16 + 8, wide.low, 8);
        keys[i] = (unsigned char)i;
    }
    assert_int_equal(hash32((struct view){(const char *)hashes32, sizeof(hashes32)}, 0), 0xB0F57EE3);
    assert_int_equal((uint32_t)hash128((struct view){(const char *)hashes128, sizeof(hashes128)}, 0).high, 0x6384BA69);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_known_hashes),
        cmocka_unit_test(test_verification_values),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
