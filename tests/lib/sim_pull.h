// tests/lib/sim_pull.h -- the map of a simulated node that hears nobody lead the metadata: another's, whom it reaches.
//
// Shape: shell, simulated.
//
// As node/meta_watch.c does, but at once and of anybody: what comes of a newer map than the node's own log says is what is looked at. In
// seeds that are odd; in the others nodes know what their logs say, so that they find what they found before.
#ifndef OMEN_TESTS_SIM_PULL_H
#define OMEN_TESTS_SIM_PULL_H
#include "cluster/snapshot.h"
#include "tests/lib/sim_types.h"

#define SIM_PULL_PERMILLE 100u // of a lonely node's turns

static inline const struct map *
sim_map(const struct sim_node *node)
{
    return node->pulled.version > node->turn.map.version ? &node->pulled : &node->turn.map;
}

static inline void
sim_pull_from(struct sim *sim, uint32_t at, const struct map *map)
{
    struct sim_node *node = &sim->nodes[at];
    const size_t total = snapshot_bytes(map);
    uint8_t *bytes = malloc(total);
    ASSERT(bytes != NULL);
    snapshot_encode(map, bytes, total);
    map_fini(&node->pulled);
    const omen_status status = snapshot_decode(bytes, total, &node->pulled);
    ASSERT(status == OMEN_OK);
    free(bytes);
    sim->pulls++;
}

static inline void
sim_pull(struct sim *sim, uint32_t at)
{
    const struct sim_node *node = &sim->nodes[at];
    if (sim->options.seed % 2 == 0 || node->turn.raft.lead != RAFT_NODE_NONE ||
        !sim_chance(sim, SIM_PULL_PERMILLE))
        return;
    const uint32_t from = prng_below(&sim->prng, sim->options.nodes);
    const struct sim_node *other = &sim->nodes[from];
    if (other->up && other->paused_until_ns <= sim->now_ns && !sim->cut[at][from] &&
        !sim->cut[from][at] && other->turn.map.version > sim_map(node)->version)
        sim_pull_from(sim, at, &other->turn.map);
}

#endif
