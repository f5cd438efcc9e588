// tests/lib/lease_world.h -- two leaders of the metadata, one of them deposed, and a node that asks both for leases.
//
// Shape: shell. lease_run answers NULL, or what was broken.
#ifndef OMEN_TESTS_LEASE_WORLD_H
#define OMEN_TESTS_LEASE_WORLD_H
#include "base/prng.h"
#include "replica/lease.h"

#define LEASE_MS 1000000ull

struct lease_world {
    struct prng prng;
    struct lease leaders[2];
    uint64_t rounds[2]; // under way
    uint32_t leader;    // the real one; the other may not know
    uint64_t now_ns, version, expiry_ns, grants, promotions;
    const char *broken;
};

static inline void
lease_world_step(struct lease_world *world, uint32_t at, struct lease_input in)
{
    static struct lease_output out;
    in.now_ns = world->now_ns;
    lease_step(&world->leaders[at], &in, &out);
    lease_check(&world->leaders[at]);
    if (out.round != 0)
        world->rounds[at] = out.round;
    for (uint32_t i = 0; i < out.grant_count; i++) {
        const uint64_t end_ns = out.grants[i].sent_ns + out.grants[i].lease_ns;
        world->grants++;
        if (out.grants[i].map_version < world->version && end_ns > world->now_ns)
            world->broken = "a deposed leader granted a lease";
        if (end_ns > world->expiry_ns)
            world->expiry_ns = end_ns;
    }
}

static inline const char *
lease_run(uint64_t seed, const struct lease_config *config, struct lease_world *world)
{
    *world = (struct lease_world){.now_ns = LEASE_MS, .version = 1};
    prng_init(&world->prng, seed);
    lease_init(&world->leaders[0], config);
    lease_init(&world->leaders[1], config);
    for (uint32_t at = 0; at < 2; at++)
        lease_world_step(world, at,
                         (struct lease_input){.kind = LEASE_IN_NODE, .node = 1, .boot = 1});
    lease_world_step(world, 0, (struct lease_input){.kind = LEASE_IN_LEAD});
    for (uint32_t i = 0; i < 5000 && world->broken == NULL; i++) {
        const uint32_t at = prng_below(&world->prng, 2);
        struct lease_input in = {.kind = LEASE_IN_ASK, .node = 1, .boot = 1};
        world->now_ns += prng_below(&world->prng, 10) * LEASE_MS;
        switch (prng_below(&world->prng, 32)) {
        case 0: // elected; the other hears of it when it hears of it
            world->leader = !world->leader;
            in.kind = LEASE_IN_LEAD;
            lease_world_step(world, world->leader, in);
            break;
        case 1:
        case 2:
            in.kind = LEASE_IN_FOLLOW;
            if (at != world->leader)
                lease_world_step(world, at, in);
            break;
        case 3:
            if (!lease_may_promote(&world->leaders[world->leader], 1, 1))
                break;
            if (world->expiry_ns > world->now_ns)
                world->broken = "somebody else was promoted while a lease held";
            world->version++;
            world->promotions++;
            break;
        case 4:
        case 5:
            in.sent_ns = world->now_ns - prng_below(&world->prng, 2) * LEASE_MS;
            lease_world_step(world, at, in);
            break;
        default:
            in = (struct lease_input){
                .kind = LEASE_IN_ROUND, .round = world->rounds[at], .map_version = world->version};
            if (at == world->leader && world->leaders[at].leads && in.round != 0)
                lease_world_step(world, at, in);
            break;
        }
    }
    return world->broken;
}

#endif
