#ifndef RANDOM_H
#define RANDOM_H

#include <stdbool.h>
#include <stdint.h>

/* Numbers that follow from a seed: splitmix64 (Steele, Lea, Flood: Fast Splittable Pseudorandom Number Generators, 2014). For one thread. */
struct random {
    uint64_t state;
};

/* One of its own for each ${user} of a seed. */
static inline struct random random_of(uint64_t seed, uint64_t user)
{
    return (struct random){seed * UINT64_C(0x9e3779b97f4a7c15) ^ (user + 1) * UINT64_C(0xd1342543de82ef95)};
}

static inline uint64_t random_next(struct random *random)
{
    uint64_t z = random->state += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

/* 0 … n-1, for n > 0. */
static inline uint64_t random_below(struct random *random, uint64_t n)
{
    return random_next(random) % n;
}

/* ${low} … ${high}. */
static inline int64_t random_between(struct random *random, int64_t low, int64_t high)
{
    return low + (int64_t)random_below(random, (uint64_t)(high - low) + 1);
}

/* True ${permille} times in a thousand. */
static inline bool random_chance(struct random *random, unsigned permille)
{
    return random_below(random, 1000) < permille;
}

static inline bool random_percent(struct random *random, unsigned percent)
{
    return random_below(random, 100) < percent;
}

/* Short mostly, and now and then long: ${low} to ${low} * 2^${doublings}. */
static inline int64_t random_tailed(struct random *random, int64_t low, unsigned doublings)
{
    int64_t scale = low << random_below(random, doublings + 1);
    return random_between(random, scale / 2, scale);
}

#endif
