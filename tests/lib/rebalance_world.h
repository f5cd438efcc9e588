// tests/lib/rebalance_world.h -- a cluster whose rebalancer is looked at until it rests, and what is level then.
//
// Shape: shell. The nodes of tests/lib/cluster_world.h obey; every drop is checked against the replication there.
#ifndef OMEN_TESTS_REBALANCE_WORLD_H
#define OMEN_TESTS_REBALANCE_WORLD_H
#include "cluster/rebalance.h"

#include "tests/lib/check_main.h"
#include "tests/lib/cluster_world.h"

enum { ROUNDS = 3000 };

static struct world world;

struct tally {
    uint32_t copies, primaries;
};

static inline struct tally
tally_of(uint32_t node)
{
    struct tally tally = {0};
    for (uint32_t i = 0; i < world.map.shard_count; i++) {
        const struct map_shard *shard = &world.map.shards[i];
        const struct map_replica *replica = shard_replica_on(shard, node);
        tally.copies += replica != NULL;
        tally.primaries += replica != NULL && uuid_equal(replica->uuid, shard->primary);
    }
    return tally;
}

static inline void
expect_whole(void)
{
    for (uint32_t i = 0; i < world.map.shard_count; i++) {
        const struct map_shard *shard = &world.map.shards[i];
        const uint32_t replication = map_collection(&world.map, shard->collection)->replication;
        ck_assert_uint_eq(shard->status, SHARD_OPEN);
        ck_assert_uint_eq(shard->replica_count, replication);
        ck_assert_uint_eq(world_safe(&world, shard), replication);
        for (uint32_t r = 0; r < replication; r++)
            ck_assert_uint_eq(map_node(&world.map, shard->replicas[r].node)->state, NODE_UP);
        ck_assert(uuid_is_none(shard->wanted) && !uuid_is_none(shard->primary));
    }
}

// Of nodes with one weight: the copies and the primaries of any two differ by at most these.
static inline void
expect_level(struct tally most)
{
    struct tally low = {UINT32_MAX, UINT32_MAX}, high = {0, 0};
    for (uint32_t i = 0; i < world.map.node_count; i++) {
        if (world.map.nodes[i].state != NODE_UP)
            continue;
        const struct tally tally = tally_of(world.map.nodes[i].number);
        low.copies = tally.copies < low.copies ? tally.copies : low.copies;
        low.primaries = tally.primaries < low.primaries ? tally.primaries : low.primaries;
        high.copies = tally.copies > high.copies ? tally.copies : high.copies;
        high.primaries = tally.primaries > high.primaries ? tally.primaries : high.primaries;
    }
    ck_assert_msg(high.copies - low.copies <= most.copies, "copies %u..%u", low.copies,
                  high.copies);
    ck_assert_msg(high.primaries - low.primaries <= most.primaries, "primaries %u..%u",
                  low.primaries, high.primaries);
}

static inline void
settle(void)
{
    ck_assert_uint_lt(world_settle(&world, ROUNDS), ROUNDS);
}

static inline void
begin(uint32_t nodes, uint32_t zones, uint32_t shards, uint8_t replication)
{
    world_init(&world, 1);
    for (uint32_t i = 0; i < nodes; i++) {
        const char zone[] = {'z', (char)('a' + i % zones), 0};
        world_node(&world, zone, 100);
    }
    world_collection(&world, "docs", shards, replication);
    settle();
}

static inline void
kill_node(uint32_t node)
{
    world.alive[node] = false;
    world.lease_void[node] = true;
}

#endif
