// node/rate.h -- how fast a key may ask: a bucket that a request is let in by, and then pays into.
//
// Shape:   machine: the time is pushed in, and one time is all that it knows (GCRA).
// Units:   costs are points and queries; a rate is how many of them a second, 1..2^32-1.
//
// `paid_until_ns` is when all that was let in is paid off, at the key's rate. A request is let in while that is less than RATE_BURST_NS away,
// whatever it costs, and pays afterwards: so an idle key may ask a second's worth at once, and no batch is too large to be let in ever; a
// large one leaves a debt, and what comes next waits until that is paid off but for the burst.
//
//      rate_wait_ns() = 0 --rate_pay(1), and what else it turns out to have--> served
//                     > 0 --> refused; nothing was done, and nothing is owed for it
#ifndef OMEN_NODE_RATE_H
#define OMEN_NODE_RATE_H
#include <stdint.h>

#define RATE_BURST_NS UINT64_C(1000000000)

struct rate {
    uint64_t paid_until_ns;
    uint32_t remainder; // of the last division: what was paid adds up exactly, however it was cut
};

// 0: one is let in now. Else when one will be, if nobody else comes before.
uint64_t rate_wait_ns(const struct rate *rate, uint64_t now_ns);
void rate_pay(struct rate *rate, uint64_t now_ns, uint32_t cost, uint32_t per_second);

#endif
