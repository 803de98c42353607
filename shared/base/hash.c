#include <stdio.h>

#include "hash.h"

/* Reads ${count} ≤ 8 bytes as a little-endian number, at any alignment; compilers make one load of it when ${count} is known. */
static inline uint64_t load(const char *at, size_t count)
{
    uint64_t number = 0;

    for (size_t i = 0; i < count; i++)
        number |= (uint64_t)(unsigned char)at[i] << (8 * i);
    return number;
}

static inline uint32_t rotate32(uint32_t x, int by)
{
    return (x << by) | (x >> (32 - by));
}

static inline uint64_t rotate64(uint64_t x, int by)
{
    return (x << by) | (x >> (64 - by));
}

static inline uint32_t scramble32(uint32_t block)
{
    return rotate32(block * 0xcc9e2d51u, 15) * 0x1b873593u;
}

uint32_t hash32(struct view bytes, uint32_t seed)
{
    size_t whole = bytes.len & ~(size_t)3;
    uint32_t h = seed;

    for (size_t i = 0; i < whole; i += 4)
        h = rotate32(h ^ scramble32((uint32_t)load(bytes.at + i, 4)), 13) * 5 + 0xe6546b64u;
    if (bytes.len > whole)
        h ^= scramble32((uint32_t)load(bytes.at + whole, bytes.len - whole));
    h ^= (uint32_t)bytes.len;
    h = (h ^ (h >> 16)) * 0x85ebca6bu;
    h = (h ^ (h >> 13)) * 0xc2b2ae35u;
    return h ^ (h >> 16);
}

#define MIX_1 0x87c37b91114253d5ull
#define MIX_2 0x4cf5ad432745937full

static inline uint64_t scramble_first(uint64_t block)
{
    return rotate64(block * MIX_1, 31) * MIX_2;
}

static inline uint64_t scramble_second(uint64_t block)
{
    return rotate64(block * MIX_2, 33) * MIX_1;
}

static inline uint64_t finish64(uint64_t h)
{
    h = (h ^ (h >> 33)) * 0xff51afd7ed558ccdull;
    h = (h ^ (h >> 33)) * 0xc4ceb9fe1a85ec53ull;
    return h ^ (h >> 33);
}

struct hash128 hash128(struct view bytes, uint32_t seed)
{
    size_t whole = bytes.len & ~(size_t)15, rest = bytes.len - whole;
    uint64_t a = seed, b = seed;

    for (size_t i = 0; i < whole; i += 16) {
        a = (rotate64(a ^ scramble_first(load(bytes.at + i, 8)), 27) + b) * 5 + 0x52dce729;
        b = (rotate64(b ^ scramble_second(load(bytes.at + i + 8, 8)), 31) + a) * 5 + 0x38495ab5;
    }
    if (rest > 8)
        b ^= scramble_second(load(bytes.at + whole + 8, rest - 8));
    if (rest > 0)
        a ^= scramble_first(load(bytes.at + whole, rest > 8 ? 8 : rest));
    a ^= bytes.len;
    b ^= bytes.len;
    a += b;
    b += a;
    a = finish64(a);
    b = finish64(b);
    a += b;
    b += a;
    return (struct hash128){a, b};
}

void hash128_hex(char out[HASH128_HEX + 1], struct hash128 hash)
{
    snprintf(out, HASH128_HEX + 1, "%016llx%016llx", (unsigned long long)hash.high, (unsigned long long)hash.low);
}
