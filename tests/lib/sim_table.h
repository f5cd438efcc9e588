// tests/lib/sim_table.h -- what a simulated shard has applied: of each key the newest write, an erased one too.
//
// Shape: value.
//
// The erased ones are there for those who lag: a snapshot is laid over what its receiver holds already, newest first, and what it
// does not name stays. So a delete is a row like any other, and a snapshot without it brings back what was deleted
// (forget_tombstone). A key's bucket is where its hash falls, as in a shard (REPLICA_BUCKETS).
#ifndef OMEN_TESTS_SIM_TABLE_H
#define OMEN_TESTS_SIM_TABLE_H
#include <string.h>

#include "base/bug.h"
#include "base/prng.h"
#include "replica/replica_msg.h"

#define SIM_SHARD_KEYS 4u // of a collection's first shards each

struct sim_cell { // of a key
    uint64_t seq, op;
    uint64_t erased;
};

struct sim_table {
    struct sim_cell cells[SIM_SHARD_KEYS];
};

// The hashes that a shard answers for; they say which of the first shards it came from.
struct sim_range {
    uint64_t first, last;
};

static inline uint64_t
sim_key_hash(uint32_t slot, uint32_t key)
{
    return (uint64_t)slot << 63 | (uint64_t)key << 61 | UINT64_C(1) << 60;
}

static inline bool
sim_covers(struct sim_range range, uint32_t key)
{
    const uint64_t hash = sim_key_hash((uint32_t)(range.first >> 63), key);
    return range.first <= hash && hash <= range.last;
}

static inline uint32_t
sim_bucket(struct sim_range range, uint32_t key)
{
    return (uint32_t)(sim_key_hash((uint32_t)(range.first >> 63), key) % (REPLICA_BUCKETS - 1));
}

static inline struct replica_sum
sim_cell_sum(struct sim_cell cell, uint32_t key)
{
    if (cell.seq == 0)
        return (struct replica_sum){0, 0};
    const uint64_t low = mix64(cell.seq ^ mix64(cell.op ^ mix64(cell.erased ^ key)));
    return (struct replica_sum){mix64(low + 1), low};
}

static inline struct replica_sum
sim_table_root(const struct sim_table *table)
{
    struct replica_sum root = {0, 0};
    for (uint32_t key = 0; key < SIM_SHARD_KEYS; key++) {
        const struct replica_sum one = sim_cell_sum(table->cells[key], key);
        root.high += one.high;
        root.low += one.low;
    }
    return root;
}

// What a snapshot has of it.
static inline struct sim_table
sim_table_save(const struct sim_table *table)
{
    struct sim_table saved = *table;
    for (uint32_t key = 0; key < SIM_SHARD_KEYS; key++)
        if (bug(BUG_FORGET_TOMBSTONE) && saved.cells[key].erased != 0)
            saved.cells[key] = (struct sim_cell){0};
    return saved;
}

// Lays a snapshot over what is there, for the keys of that range.
static inline void
sim_table_load(struct sim_table *table, const struct sim_table *saved, struct sim_range range)
{
    for (uint32_t key = 0; key < SIM_SHARD_KEYS; key++)
        if (sim_covers(range, key) && saved->cells[key].seq > table->cells[key].seq)
            table->cells[key] = saved->cells[key];
}

#endif
