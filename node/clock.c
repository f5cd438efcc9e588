// node/clock.c -- offsets of clocks, the middle one of them, and the time by it.
//
// Shape: value; shell.
#include "node/clock.h"

#include <string.h>

#include "base/assert.h"
#include "base/os_clock.h"

#define MS UINT64_C(1000000)

void
clocks_hear(struct clocks *clocks, const struct clocks_row *row)
{
    uint32_t at = 0, oldest = 0;
    while (at < clocks->count && !uuid_equal(clocks->rows[at].node, row->node)) {
        if (clocks->rows[at].heard_ns < clocks->rows[oldest].heard_ns)
            oldest = at;
        at++;
    }
    if (at == CLOCKS_MAX)
        at = oldest;
    clocks->rows[at] = *row;
    if (at == clocks->count)
        clocks->count++;
}

void
clocks_forget(struct clocks *clocks, uint32_t at)
{
    ASSERT(at < clocks->count);
    clocks->rows[at] = clocks->rows[--clocks->count];
}

const struct clocks_row *
clocks_find(const struct clocks *clocks, struct cluster_uuid node)
{
    for (uint32_t i = 0; i < clocks->count; i++)
        if (uuid_equal(clocks->rows[i].node, node))
            return &clocks->rows[i];
    return NULL;
}

// Of n others and the own one the middle is the m-th of n + 1, m = (n + 2) / 2: the own one kept between the (m-1)-th and the m-th other.
struct clocks_bounds
clocks_bounds(const struct clocks *clocks)
{
    int64_t sorted[CLOCKS_MAX];
    const uint32_t count = clocks->count, middle = (count + 2) / 2;
    for (uint32_t i = 0; i < count; i++) {
        uint32_t at = i;
        for (; at > 0 && sorted[at - 1] > clocks->rows[i].off_ms; at--)
            sorted[at] = sorted[at - 1];
        sorted[at] = clocks->rows[i].off_ms;
    }
    return (struct clocks_bounds){.least_ms = middle >= 2 ? sorted[middle - 2] : INT64_MIN,
                                  .most_ms = middle <= count ? sorted[middle - 1] : INT64_MAX};
}

// ---- by what there is ----

void
node_clock_init(struct node_clock *clock)
{
    memset(clock, 0, sizeof *clock);
    lock_init(&clock->lock);
    node_clock_show(clock, &(struct clocks){.count = 0});
}

void
node_clock_fini(struct node_clock *clock)
{
    lock_fini(&clock->lock);
}

void
node_clock_show(struct node_clock *clock, const struct clocks *heard)
{
    const struct clocks_bounds bounds = clocks_bounds(heard);
    lock_acquire(&clock->lock);
    clock->heard = *heard;
    lock_release(&clock->lock);
    // Who reads one of before and one of now has a clock of before or of now.
    atomic_store_explicit(&clock->least_ms, bounds.least_ms, memory_order_relaxed);
    atomic_store_explicit(&clock->most_ms, bounds.most_ms, memory_order_relaxed);
}

static int64_t
own_off_ms(void)
{
    return (int64_t)os_ms_since_1970() - (int64_t)(os_clock_ns() / MS);
}

static int64_t
middle_off_ms(const struct node_clock *clock, int64_t own_ms)
{
    if (clock == NULL)
        return own_ms;
    const int64_t least_ms = atomic_load_explicit(&clock->least_ms, memory_order_relaxed);
    const int64_t most_ms = atomic_load_explicit(&clock->most_ms, memory_order_relaxed);
    if (own_ms < least_ms)
        return least_ms;
    return own_ms < most_ms ? own_ms : most_ms;
}

uint64_t
node_clock_ms(const struct node_clock *clock)
{
    const int64_t ms = (int64_t)(os_clock_ns() / MS) + middle_off_ms(clock, own_off_ms());
    return ms > 0 ? (uint64_t)ms : 0;
}

int64_t
node_clock_ahead_ms(const struct node_clock *clock)
{
    const int64_t own_ms = own_off_ms();
    return own_ms - middle_off_ms(clock, own_ms);
}

void
node_clock_look(struct node_clock *clock, struct clocks *heard)
{
    heard->count = 0;
    if (clock == NULL)
        return;
    lock_acquire(&clock->lock);
    *heard = clock->heard;
    lock_release(&clock->lock);
    const int64_t middle_ms = middle_off_ms(clock, own_off_ms());
    for (uint32_t i = 0; i < heard->count; i++)
        heard->rows[i].off_ms -= middle_ms;
}
