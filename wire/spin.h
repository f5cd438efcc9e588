// wire/spin.h -- whether who has answered looks out for the next request for a moment, or sleeps until it comes.
//
// Shape: value. The time that a moment is, and what it looks for, are the caller's.
//
// To look is worth it only where one client asks, one request after the other: it needs a run of SPIN_RUN requests, each of which was alone.
// And only where something comes within that moment. Each look in a row that brought nothing makes as many chances again be left out,
// and one more: 1, 3, 7, up to 255. So who never asks again at once costs a look in 256 requests.
#ifndef OMEN_WIRE_SPIN_H
#define OMEN_WIRE_SPIN_H
#include <stdbool.h>
#include <stdint.h>

#define SPIN_RUN 8u
#define SPIN_MISSES_MAX 8u

struct spin {          // zero: nothing is known yet
    uint32_t run;      // requests in a row that were alone, up to SPIN_RUN
    uint32_t left_out; // chances that are still to be left out
    uint32_t misses;   // looks in a row that brought nothing, up to SPIN_MISSES_MAX
};

// A request has come: alone, if no other was there or under way, and the one before was of the same client.
static inline void
spin_asked(struct spin *spin, bool alone)
{
    if (!alone)
        spin->run = 0;
    else if (spin->run < SPIN_RUN)
        spin->run++;
}

// Whether one client asks, one request after the other.
static inline bool
spin_runs(const struct spin *spin)
{
    return spin->run >= SPIN_RUN;
}

// A chance: whether it is taken. If so spin_ended comes next.
static inline bool
spin_begins(struct spin *spin)
{
    if (!spin_runs(spin))
        return false;
    if (spin->left_out == 0)
        return true;
    spin->left_out--;
    return false;
}

// What it brought.
static inline void
spin_ended(struct spin *spin, bool came)
{
    if (came)
        spin->misses = 0;
    else if (spin->misses < SPIN_MISSES_MAX)
        spin->misses++;
    spin->left_out = (UINT32_C(1) << spin->misses) - 1;
}

#endif
