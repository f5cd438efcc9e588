// base/spin.h -- whether who has done what was asked looks out for the next request for a moment, or sleeps until it comes.
//
// Shape: value. What it looks for is the caller's.
//
// To look is worth it only where one client asks, one request after the other: it needs a run of SPIN_RUN requests, each of which was alone.
// And only where something comes within that moment. Each look in a row that brought nothing makes as many chances again be left out,
// and one more: 1, 3, 7, up to 255. So who never asks again at once costs a look in 256 requests.
#ifndef OMEN_BASE_SPIN_H
#define OMEN_BASE_SPIN_H
#include <stdbool.h>
#include <stdint.h>

#define SPIN_RUN 8u
#define SPIN_MISSES_MAX 8u
#define SPIN_NS UINT64_C(50000)
#define SPIN_MOST_NS UINT64_C(500000)

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

// How long a look is at the most: a quarter of what it took to do what was asked before, since who gets more takes longer to ask again.
static inline uint64_t
spin_ns(uint64_t took_ns)
{
    const uint64_t share_ns = took_ns / 4;
    if (share_ns < SPIN_NS)
        return SPIN_NS;
    return share_ns < SPIN_MOST_NS ? share_ns : SPIN_MOST_NS;
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
