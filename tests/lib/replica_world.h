// tests/lib/replica_world.h -- the copies of one shard, their disks, a bad network and the metadata, all out of one seed.
//
// Shape: shell.
//
// Four nodes; each holds at most one copy. Crashes lose what was not made durable, disks are wiped and come back under new uuids,
// messages are lost, doubled and reordered, processes pause between looking at the clock and answering. world_run answers NULL,
// or what was broken. It asserts what replica_check does.
#ifndef OMEN_TESTS_REPLICA_WORLD_H
#define OMEN_TESTS_REPLICA_WORLD_H
#include "tests/lib/replica_world_meta.h"

// ---- what the shells do ----
static void
world_deliver(struct world *world)
{
    if (world->net_count == 0)
        return;
    const uint32_t at = world_below(world, world->calm ? 1 : world->net_count);
    static struct world_msg held;
    held = world->net[at];
    if (world->calm || world_below(world, 10) != 0) {
        memmove(&world->net[at], &world->net[at + 1],
                (--world->net_count - at) * sizeof *world->net);
    } // else it comes again
    const uint32_t to = world_node_of(world, held.msg.to);
    if (to == WORLD_NODES || !world->nodes[to].up ||
        (!world->calm && world_below(world, 100) < world->loss))
        return;
    held.msg.entries = held.entries;
    struct replica_input in = {.kind = REPLICA_IN_MESSAGE, .message = &held.msg};
    world_step(world, to, &in);
}

static void
world_entries(struct world *world, uint32_t at)
{
    struct world_node *node = &world->nodes[at];
    const struct replica_log_read read = node->reads[0];
    static struct replica_entry entries[REPLICA_ENTRIES_MAX];
    struct replica_input in = {.kind = REPLICA_IN_ENTRIES,
                               .reader = read.reader,
                               .reader_term = read.term,
                               .entries = entries};
    memmove(node->reads, node->reads + 1, --node->read_count * sizeof *node->reads);
    for (uint64_t seq = read.first_seq;
         in.entry_count < read.count && seq <= node->replica.last_seq &&
         seq >= node->replica.first_seq;
         seq++)
        entries[in.entry_count++] = node->log[seq];
    world_step(world, at, &in);
}

static void
world_serve(struct world *world, uint32_t at)
{
    struct world_node *node = &world->nodes[at];
    const struct replica_serve serve = node->serve;
    static const uint8_t bytes[4] = "data";
    struct replica_input in = {
        .uuid = serve.uuid, .snapshot = serve.snapshot, .chunk = serve.chunk};
    node->serve.kind = REPLICA_SERVE_NONE;
    switch (serve.kind) {
    case REPLICA_SERVE_SNAPSHOT:
        if (node->snapshot->last_seq + 1 < node->replica.first_seq ||
            node->snapshot->last_seq == 0 ||
            !replica_uuid_equal(node->snapshot->uuid, node->disk.uuid)) {
            *node->snapshot = node->disk;
            node->snapshot->last_seq = node->disk.applied_seq;
        }
        in.kind = REPLICA_IN_SNAPSHOT_READY;
        in.snapshot = in.seq = node->snapshot->last_seq;
        in.snapshot_term = node->disk.log[in.seq].term;
        in.chunk_count = 3;
        break;
    case REPLICA_SERVE_CHUNK:
        in.kind = REPLICA_IN_CHUNK_READ;
        in.bytes = bytes;
        in.byte_count = serve.snapshot == node->snapshot->last_seq ? 4 : 0;
        in.hash = hash_bytes(bytes, 4) + (!world->calm && world_below(world, 8) == 0);
        break;
    case REPLICA_SERVE_STORE:
        in.kind = REPLICA_IN_CHUNK_STORED;
        in.status = OMEN_OK;
        break;
    case REPLICA_SERVE_INSTALL: {
        const uint32_t from = world_node_of(world, serve.uuid);
        const struct world_disk *source = from < WORLD_NODES ? world->nodes[from].snapshot : NULL;
        if (source == NULL || source->last_seq != serve.seq) {
            in = (struct replica_input){.kind = REPLICA_IN_INSTALLED, .disk = NULL};
            break;
        }
        const struct replica_uuid uuid = node->disk.uuid;
        const uint64_t promised = node->disk.promised;
        node->disk = *source;
        node->disk.uuid = uuid;
        node->disk.promised = promised;
        node->disk.commit_seq = node->disk.applied_seq = node->disk.last_seq;
        node->disk.first_seq = node->disk.last_seq + 1;
        world->installs++;
        world_start(world, at);
        return;
    }
    default:
        return;
    }
    world_step(world, at, &in);
}

static void
world_propose(struct world *world, uint32_t at)
{
    struct world_node *node = &world->nodes[at];
    const uint32_t again = world->forgetful ? 300 : 10;
    uint64_t op = world->next_op;
    if ((world->calm && world_below(world, 16) != 0) || node->replica.last_seq > WORLD_LOG - 200 ||
        world->next_op > WORLD_OPS - 100)
        return;
    if (world->next_op == 0 || world_below(world, 3) != 0)
        op = ++world->next_op;
    else
        op -= world_below(world, op < again ? (uint32_t)op : again); // once more
    if (world->op_ms[op] == 0)
        world->op_ms[op] = world->now_ns / WORLD_MS;
    const struct replica_proposal proposal = {.request = ++world->next_request << 16 | op,
                                              .op_id = world_op_id(world, op)};
    struct replica_input in = {.kind = REPLICA_IN_PROPOSE,
                               .proposals = &proposal,
                               .proposal_count = 1,
                               .cfg_ver = node->replica.meta.cfg_ver};
    world_step(world, at, &in);
}

static void
world_strong(struct world *world, uint32_t at)
{
    struct world_node *node = &world->nodes[at];
    if (node->strong_count == 8)
        return;
    const uint64_t request = ++world->next_request << 16;
    node->strong[node->strong_count++] =
        (struct world_read){.request = request, .floor = world->acked_max};
    struct replica_input in = {.kind = REPLICA_IN_READ, .request = request};
    if (world_below(world, 2) == 0)
        in.now_ns = node->now_ns; // it looked at the clock, was stopped for a while, and goes on
    world_step(world, at, &in);
}

static void
world_reads_done(struct world *world, uint32_t at)
{
    struct world_node *node = &world->nodes[at];
    for (uint32_t i = 0; i < node->strong_count; i++) {
        if (!node->strong[i].served)
            continue;
        struct replica_input in = {.kind = REPLICA_IN_READ_DONE,
                                   .request = node->strong[i].request};
        node->strong[i].served = false;
        world_step(world, at, &in);
        return;
    }
}

static void
world_lease(struct world *world, uint32_t at)
{
    struct world_node *node = &world->nodes[at];
    struct replica_input in = {.kind = REPLICA_IN_LEASE,
                               .boot = node->boot,
                               .sent_ns = node->lease_sent_ns,
                               .lease_ns = WORLD_LEASE_NS,
                               .known_ver = node->lease_ver};
    if (node->lease_sent_ns != 0)
        world_step(world, at, &in);
    node->lease_sent_ns = world->now_ns;
    node->lease_ver = world->meta.cfg_ver;
    node->guard_ns = world->now_ns + WORLD_GUARD_NS;
    world->leases++;
}

// The primary, most likely, while others go on without it.
static void
world_isolate(struct world *world)
{
    const uint32_t primary = world_node_of(world, world->meta.primary);
    world->alone = primary < WORLD_NODES && world_below(world, 4) != 0
                       ? primary
                       : world_below(world, WORLD_NODES);
    world->paused = world_below(world, 2) == 0;
    world->cut = 0;
    for (uint32_t i = 0; i < WORLD_NODES; i++)
        world->cut |= 1u << (world->alone * 4 + i) | 1u << (i * 4 + world->alone);
}

// A node that was stopped in the middle of a turn goes on with the time that it had read before.
static void
world_heal(struct world *world)
{
    const uint32_t at = world->alone;
    world->alone = WORLD_NODES;
    world->cut = 0;
    if (at == WORLD_NODES || !world->nodes[at].up || !world->paused)
        return;
    struct world_node *node = &world->nodes[at];
    if (node->strong_count < 8) {
        const uint64_t request = ++world->next_request << 16;
        node->strong[node->strong_count++] =
            (struct world_read){.request = request, .floor = world->acked_max};
        struct replica_input in = {
            .kind = REPLICA_IN_READ, .request = request, .now_ns = node->now_ns};
        world_step(world, at, &in);
    }
    for (uint32_t i = 0; i < 8; i++)
        world_reads_done(world, at);
}

static void
world_faults(struct world *world, uint32_t at)
{
    struct world_node *node = &world->nodes[at];
    const uint32_t draw = world_below(world, 1000);
    if (draw < 5)
        world_crash(world, at);
    else if (draw < 6)
        world_wipe(world, at);
    else if (draw < 16)
        world->cut = (uint32_t)prng_next(&world->prng) & (uint32_t)prng_next(&world->prng) & 0xffff;
    else if (draw < 30)
        world_isolate(world);
    else if (draw < 60)
        world_heal(world);
    else if (draw < 140 && node->up && node->replica.applied_seq > 8) {
        struct replica_input in = {.kind = REPLICA_IN_TRIMMED,
                                   .seq = node->disk.applied_seq - world_below(world, 8)};
        node->disk.first_seq = in.seq > node->disk.first_seq ? in.seq : node->disk.first_seq;
        world_step(world, at, &in);
    } else if (draw < 150 && node->up) {
        struct replica_input in = {.kind = REPLICA_IN_CHECKSUM};
        world_step(world, at, &in);
    } else if (draw < 160 && node->up) {
        struct replica_input in = {.kind = REPLICA_IN_TRANSFER,
                                   .uuid = world->nodes[world_below(world, WORLD_NODES)].disk.uuid};
        world_step(world, at, &in);
    } else if (draw < 200 && node->up) {
        struct replica_input in = {.kind = REPLICA_IN_DEAD,
                                   .uuid = world->nodes[world_below(world, WORLD_NODES)].disk.uuid};
        world_step(world, at, &in);
    }
}

static void
world_node_turn(struct world *world, uint32_t at)
{
    struct world_node *node = &world->nodes[at];
    struct replica_input in = {.kind = REPLICA_IN_WAKE};
    switch (world_below(world, 8)) {
    case 0:
    case 1:
        if (node->pending_count > 0) {
            in = (struct replica_input){.kind = REPLICA_IN_PERSISTED,
                                        .ticket = node->pending[0].ticket};
            world_persist(world, at);
            world_step(world, at, &in);
        }
        break;
    case 2:
        if (node->read_count > 0)
            world_entries(world, at);
        break;
    case 3:
        world_propose(world, at);
        break;
    case 4:
        if (world_below(world, 2) == 0)
            world_strong(world, at);
        else
            world_reads_done(world, at);
        break;
    case 5:
        in = (struct replica_input){.kind = REPLICA_IN_META, .meta = &world->meta};
        if (world->alone != at && (world->calm || world_below(world, 4) == 0))
            world_step(world, at, &in);
        break;
    case 6:
        if (node->serve.kind != REPLICA_SERVE_NONE)
            world_serve(world, at);
        else if (world_below(world, 8) == 0 || (world->calm && world_below(world, 3) == 0)) {
            if (world->alone != at || !world->paused) // its map may lag behind its lease
                world_lease(world, at);
        }
        break;
    default:
        if (world->now_ns >= node->wake_ns)
            world_step(world, at, &in);
        break;
    }
}

static void
world_turn(struct world *world)
{
    const uint32_t at = world_below(world, WORLD_NODES);
    world->now_ns += world_below(world, 2 * (uint32_t)WORLD_MS);
    for (uint32_t i = 0; i < 3; i++)
        world_deliver(world);
    if (world->nodes[at].up && (world->alone != at || !world->paused))
        world_node_turn(world, at);
    else if (world->nodes[at].up)
        return;
    else if (world_below(world, world->calm ? 4 : 20) == 0)
        world_start(world, at);
    if (world->change_count > 0 && world_below(world, 8) == 0) {
        const uint32_t which = world_below(world, world->change_count);
        const struct replica_change change = world->changes[which];
        if (world_below(world, 4) != 0)
            world->changes[which] = world->changes[--world->change_count];
        world_change(world, &change);
    }
    if (world_below(world, 30) == 0)
        world_control(world);
    if (!world->calm && world_below(world, world->peace) == 0)
        world_faults(world, at);
}

static void
world_open_as(struct world *world, uint64_t seed, bool forgetful)
{
    memset(world, 0, sizeof *world);
    world->forgetful = forgetful;
    world->window_ms = !forgetful ? 1u << 30 : seed % 2 == 0 ? 600 : 60000;
    prng_init(&world->prng, seed);
    world->now_ns = 1000 * WORLD_MS;
    world->alone = WORLD_NODES;
    world->shrink_ns = world_below(world, 2) == 0 ? 2 * WORLD_LEASE_NS : WORLD_LEASE_NS / 3;
    world->loss = world_below(world, 30);
    world->peace = 1u << world_below(world, 5);
    for (uint32_t i = 0; i < WORLD_NODES; i++) {
        struct world_node *node = &world->nodes[i];
        node->snapshot = calloc(1, sizeof *node->snapshot);
        ASSERT(node->snapshot != NULL);
        node->disk.uuid = (struct replica_uuid){1, ++world->uuids};
        node->disk.first_seq = 1;
        if (i < 3)
            world->meta.in_sync[world->meta.in_sync_count++] = node->disk.uuid;
    }
    world->meta.cfg_ver = world->meta.term = 1;
    world->meta.min_insync = 1 + world_below(world, 2);
    world->meta.primary = world->meta.in_sync[0];
    world->primary_boot = 1;
    for (uint32_t i = 0; i < WORLD_NODES; i++)
        world_start(world, i);
}

static void
world_open(struct world *world, uint64_t seed)
{
    world_open_as(world, seed, false);
}

static void
world_close(struct world *world)
{
    for (uint32_t i = 0; i < WORLD_NODES; i++) {
        replica_fini(&world->nodes[i].replica);
        free(world->nodes[i].snapshot);
    }
}

// When all is calm: whole again, open, and everybody has applied what the primary has.
static bool
world_is_whole(const struct world *world)
{
    const uint32_t at = world_node_of(world, world->meta.primary);
    if (at == WORLD_NODES || !replica_is_open(&world->nodes[at].replica) ||
        world->meta.in_sync_count != WORLD_NODES)
        return false;
    for (uint32_t i = 0; i < WORLD_NODES; i++)
        if (world->nodes[i].disk.applied_seq < world->acked_max)
            return false;
    return true;
}

static const char *
world_run(struct world *world, uint32_t turns)
{
    for (uint32_t i = 0; i < turns && world->broken == NULL; i++) {
        world_turn(world);
        if (i % 16 == 0)
            world_check(world);
    }
    world->calm = true;
    world_heal(world);
    for (uint32_t i = 0; i < 60000 && world->broken == NULL && !world_is_whole(world); i++)
        world_turn(world);
    if (world->broken == NULL && !world_is_whole(world))
        world_fail(world, "liveness: not whole long after the faults ended");
    world_check(world);
    return world->broken;
}

#endif
