// node/rate.c -- how fast a key may ask.
//
// Shape: machine.
#include "node/rate.h"

#include "base/assert.h"

#define SECOND_NS UINT64_C(1000000000)

uint64_t
rate_wait_ns(const struct rate *rate, uint64_t now_ns)
{
    const uint64_t open_ns = now_ns + RATE_BURST_NS;
    return rate->paid_until_ns < open_ns ? 0 : rate->paid_until_ns - open_ns + 1;
}

// 2^32 points of 10^9 ns are less than 2^63, so nothing wraps within the debt of one request.
void
rate_pay(struct rate *rate, uint64_t now_ns, uint32_t cost, uint32_t per_second)
{
    ASSERT(per_second > 0);
    if (rate->paid_until_ns <= now_ns)
        *rate = (struct rate){.paid_until_ns = now_ns};
    const uint64_t owed = (uint64_t)cost * SECOND_NS + rate->remainder;
    rate->paid_until_ns += owed / per_second;
    rate->remainder = (uint32_t)(owed % per_second);
}
