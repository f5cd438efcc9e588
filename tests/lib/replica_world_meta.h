// tests/lib/replica_world_meta.h -- the metadata of tests/lib/replica_world.h: who is primary, who is in sync, whose disk was wiped.
//
// Shape: shell.
#ifndef OMEN_TESTS_REPLICA_WORLD_META_H
#define OMEN_TESTS_REPLICA_WORLD_META_H
#include "tests/lib/replica_world_node.h"

static void
world_meta_changed(struct world *world)
{
    world->meta.cfg_ver++;
    world_check(world);
}

static void
world_promote(struct world *world, struct replica_uuid uuid, bool drop_old)
{
    struct replica_meta *meta = &world->meta;
    const struct replica_uuid old = meta->primary;
    if (drop_old && !replica_uuid_equal(old, uuid) && meta->in_sync_count > meta->min_insync) {
        world_take(meta->in_sync, &meta->in_sync_count, old);
        meta->learners[meta->learner_count++] = old;
    }
    meta->primary = uuid;
    meta->term++;
    world->primary_boot = world->nodes[world_node_of(world, uuid)].boot;
    world->promotions++;
    world_meta_changed(world);
}

static void
world_change(struct world *world, const struct replica_change *change)
{
    struct replica_meta *meta = &world->meta;
    const bool in = world_has(meta->in_sync, meta->in_sync_count, change->uuid);
    const bool learns = world_has(meta->learners, meta->learner_count, change->uuid);
    if (change->cfg_ver != meta->cfg_ver || (!in && !learns))
        return;
    if (change->kind == REPLICA_CHANGE_TRANSFER && in) {
        world_promote(world, change->uuid, false);
    } else if (change->kind == REPLICA_CHANGE_ADD && learns) {
        world_take(meta->learners, &meta->learner_count, change->uuid);
        meta->in_sync[meta->in_sync_count++] = change->uuid;
        world->adds++;
        world_meta_changed(world);
    } else if (change->kind == REPLICA_CHANGE_REMOVE && in &&
               meta->in_sync_count > meta->min_insync &&
               !replica_uuid_equal(change->uuid, meta->primary)) {
        world_take(meta->in_sync, &meta->in_sync_count, change->uuid);
        meta->learners[meta->learner_count++] = change->uuid;
        world->removes++;
        world_meta_changed(world);
    }
}

// What the controller does: somebody else where the primary's node may not answer any more; copies with new uuids learn.
static void
world_control(struct world *world)
{
    struct replica_meta *meta = &world->meta;
    const uint32_t old = world_node_of(world, meta->primary);
    const bool lost = old == WORLD_NODES || !world->nodes[old].up ||
                      world->nodes[old].boot != world->primary_boot || world->alone == old;
    const bool may = old == WORLD_NODES || world->nodes[old].boot > world->primary_boot ||
                     world->now_ns >= world->nodes[old].guard_ns;
    if (may && (lost || (!world->calm && world_below(world, 10) == 0))) {
        const struct replica_uuid uuid = meta->in_sync[world_below(world, meta->in_sync_count)];
        const uint32_t at = world_node_of(world, uuid);
        if (at < WORLD_NODES && world->nodes[at].up && at != world->alone)
            world_promote(world, uuid, world_below(world, 2) == 0);
        return;
    }
    for (uint32_t i = 0; i < WORLD_NODES; i++) {
        struct world_node *node = &world->nodes[i];
        if (world_has(meta->in_sync, meta->in_sync_count, node->disk.uuid) ||
            world_has(meta->learners, meta->learner_count, node->disk.uuid))
            continue;
        for (uint32_t j = 0; j < meta->in_sync_count; j++)
            if (world_node_of(world, meta->in_sync[j]) == WORLD_NODES &&
                !replica_uuid_equal(meta->in_sync[j], meta->primary) &&
                meta->in_sync_count > meta->min_insync)
                world_take(meta->in_sync, &meta->in_sync_count, meta->in_sync[j]);
        for (uint32_t j = 0; j < meta->learner_count; j++)
            if (world_node_of(world, meta->learners[j]) == WORLD_NODES)
                world_take(meta->learners, &meta->learner_count, meta->learners[j]);
        if (meta->in_sync_count + meta->learner_count < REPLICA_MEMBERS_MAX) {
            meta->learners[meta->learner_count++] = node->disk.uuid;
            world_meta_changed(world);
        }
        return;
    }
}

// Never the last copy that has everything.
static void
world_wipe(struct world *world, uint32_t at)
{
    struct replica_meta *meta = &world->meta;
    struct world_node *node = &world->nodes[at];
    uint32_t others = 0;
    for (uint32_t i = 0; i < meta->in_sync_count; i++)
        others += world_node_of(world, meta->in_sync[i]) < WORLD_NODES &&
                  !replica_uuid_equal(meta->in_sync[i], node->disk.uuid);
    if (others == 0)
        return;
    world_crash(world, at);
    world->change_count = 0; // a removal that it had proposed could make it the last one
    memset(&node->disk, 0, sizeof node->disk);
    node->disk.uuid = (struct replica_uuid){1, ++world->uuids};
    node->disk.first_seq = 1;
    world->wipes++;
}

#endif
