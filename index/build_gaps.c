// index/build_gaps.c -- the clusters of the first split, as small as they can lie between passes.
//
// Shape: handle.
//
// A row is in up to twelve clusters, which as words were as much as half of the links that it chooses. A cluster's places are in
// order, so what each is more than the one before is mostly below 128: one byte, seven bits of the number, and a bit that says
// whether more follow (LEB128). Whoever takes a cluster apart has its words for that time.
#include "base/pool.h"
#include "index/build_int.h"

#define BITS 7u
#define BYTES_MAX 5u // of a gap

struct packing {
    struct build *build;
    const uint32_t *places;
};

// A gap that takes one byte more is 128 times as large at least, and a cluster's are no more than all rows together: so there are
// rows / 128 of those with two bytes, rows / 128 / 128 of those with three, and so on.
size_t
gaps_bytes_most(const struct build *build, uint64_t places)
{
    const uint64_t longer = split_first(build).leaders * ((uint64_t)build->rows.count / 127 + 1);
    return longer < (BYTES_MAX - 1) * places ? places + longer : BYTES_MAX * places;
}

// The bytes of a gap, written where `out` is not NULL.
static uint32_t
put(uint32_t gap, uint8_t *out)
{
    uint32_t bytes = 1;
    for (; gap >> BITS != 0; gap >>= BITS, bytes++)
        if (out != NULL)
            *out++ = (uint8_t)(gap | 1u << BITS);
    if (out != NULL)
        *out = (uint8_t)gap;
    return bytes;
}

static void
count_leader(void *context, uint32_t leader, uint32_t worker)
{
    (void)worker;
    const struct packing *packing = context;
    const struct build *build = packing->build;
    uint32_t before = 0;
    uint64_t bytes = 0;
    for (uint64_t i = build->starts[leader]; i < build->starts[leader + 1]; i++) {
        bytes += put(packing->places[i] - before, NULL);
        before = packing->places[i];
    }
    build->gap_starts[leader + 1] = bytes;
}

static void
put_leader(void *context, uint32_t leader, uint32_t worker)
{
    (void)worker;
    const struct packing *packing = context;
    const struct build *build = packing->build;
    uint8_t *out = build->gaps + build->gap_starts[leader];
    uint32_t before = 0;
    for (uint64_t i = build->starts[leader]; i < build->starts[leader + 1]; i++) {
        out += put(packing->places[i] - before, out);
        before = packing->places[i];
    }
}

void
gaps_pack(struct build *build, const uint32_t *places)
{
    struct packing packing = {.build = build, .places = places};
    pool_run_behind(build->config.threads, build->leaders, count_leader, &packing);
    build->gap_starts[0] = 0;
    for (uint32_t leader = 0; leader < build->leaders; leader++)
        build->gap_starts[leader + 1] += build->gap_starts[leader];
    build->gaps = build_alloc(build, build->gap_starts[build->leaders]);
    if (build->gaps != NULL)
        pool_run_behind(build->config.threads, build->leaders, put_leader, &packing);
}

void
gaps_unpack(const struct build *build, uint32_t leader, uint32_t *places)
{
    const uint8_t *at = build->gaps + build->gap_starts[leader];
    const uint64_t count = build->starts[leader + 1] - build->starts[leader];
    uint32_t place = 0;
    for (uint64_t i = 0; i < count; i++) {
        uint32_t gap = *at & 127u;
        for (uint32_t shift = BITS; *at++ >> BITS != 0; shift += BITS)
            gap |= (*at & 127u) << shift;
        place += gap;
        places[i] = place;
    }
}
