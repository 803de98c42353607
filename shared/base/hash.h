#ifndef HASH_H
#define HASH_H

#include <stddef.h>
#include <stdint.h>

#include "view.h"

/*
 * MurmurHash3 (Austin Appleby, public domain, https://github.com/aappleby/smhasher): x86_32 and x64_128, little-endian.
 * It places things and names things; it is no secret and no signature.
 */
uint32_t hash32(struct view bytes, uint32_t seed);

struct hash128 {
    uint64_t high, low;
};
struct hash128 hash128(struct view bytes, uint32_t seed);

/* The length of hash128_hex's text without its NUL. */
#define HASH128_HEX 32
void hash128_hex(char out[HASH128_HEX + 1], struct hash128 hash);

#endif
