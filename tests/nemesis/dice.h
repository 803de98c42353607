#ifndef DICE_H
#define DICE_H

#include <stdbool.h>
#include <stdint.h>

/* A small seeded generator (splitmix64): the same seed throws the same numbers. Not shared between threads. */
struct dice {
    uint64_t state;
};

/* A generator of its own for each ${user} of one seed. */
static inline struct dice dice_of(uint64_t seed, uint64_t user)
{
    return (struct dice){seed * UINT64_C(0x9e3779b97f4a7c15) ^ (user + 1) * UINT64_C(0xd1342543de82ef95)};
}

static inline uint64_t dice_next(struct dice *dice)
{
    uint64_t z = dice->state += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

/* ${least} to ${most}, both included. */
static inline int dice_between(struct dice *dice, int least, int most)
{
    return least + (int)(dice_next(dice) % (uint64_t)(most - least + 1));
}

static inline bool dice_percent(struct dice *dice, int percent)
{
    return dice_between(dice, 0, 99) < percent;
}

#endif
