// node/look.c -- when a worker is asked how much a copy holds.
//
// Shape: value.
#include "node/look.h"

static bool
went_on(const struct look *look, struct look_at at)
{
    return look->at.applied != at.applied || look->at.durable != at.durable;
}

bool
look_is_due(const struct look *look, struct look_at at, uint64_t now_ns)
{
    return now_ns >= look->due_ns || (look->still && went_on(look, at));
}

void
look_made(struct look *look, struct look_at at, bool news, uint64_t now_ns)
{
    look->still = !news && !went_on(look, at);
    look->at = at;
    look->due_ns = now_ns + (look->still ? LOOK_SELDOM_NS : LOOK_SOON_NS);
}
