// tests/lib/replica_world.h -- the copies of one shard, their disks, a bad network and the metadata, all out of one seed.
//
// Shape: shell.
//
// Four nodes; each holds at most one copy. Crashes lose what was not made durable, disks are wiped and come back under new uuids,
// messages are lost, doubled and reordered, processes pause between looking at the clock and answering. world_run answers NULL,
// or what was broken. It asserts what replica_check does.
#ifndef OMEN_TESTS_REPLICA_WORLD_H
#define OMEN_TESTS_REPLICA_WORLD_H
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/hash.h"
#include "replica/replica.h"

#define WORLD_NODES 4u
#define WORLD_LOG 2048u
#define WORLD_NET 128u
#define WORLD_PENDING REPLICA_TICKETS_MAX
#define WORLD_CHANGES 16u
#define WORLD_OPS 4096u
#define WORLD_MS 1000000ull
#define WORLD_LEASE_NS (100 * WORLD_MS)
#define WORLD_GUARD_NS (120 * WORLD_MS)

struct world_commit { // to the disk
    uint64_t ticket, promised, commit_seq, truncate_seq;
    bool truncate;
    uint32_t count;
    struct replica_entry entries[REPLICA_ENTRIES_MAX];
};

struct world_disk {
    struct replica_uuid uuid;
    uint64_t promised, first_seq, last_seq, commit_seq, applied_seq;
    struct replica_entry log[WORLD_LOG]; // by seq; below first_seq only what was applied
};

struct world_read {
    uint64_t request, floor, seen;
    bool served;
};

struct world_node {
    bool up, fresh_uuid;
    uint64_t boot, guard_ns, now_ns; // now_ns: its last look at the clock
    struct replica replica;
    struct world_disk disk;
    struct replica_entry log[WORLD_LOG]; // with what is not durable
    struct world_commit pending[WORLD_PENDING];
    uint32_t pending_count;
    struct replica_log_read reads[64];
    uint32_t read_count;
    struct world_read strong[8];
    uint32_t strong_count;
    struct replica_serve serve; // a snapshot's errand
    struct world_disk *snapshot;
    uint64_t snapshot_of; // learner: node + 1 it came from
    uint64_t lease_sent_ns, lease_ver, wake_ns;
};

struct world_msg {
    struct replica_msg msg;
    struct replica_entry entries[REPLICA_ENTRIES_MAX];
};

struct world_result {
    uint64_t term, op;
    bool known, acked;
};

struct world {
    struct prng prng;
    uint64_t now_ns;
    struct replica_meta meta;
    uint64_t primary_boot; // of the node that was made primary, then
    struct world_node nodes[WORLD_NODES];
    struct world_msg net[WORLD_NET];
    uint32_t net_count;
    struct replica_change changes[WORLD_CHANGES];
    uint32_t change_count;
    struct world_result results[WORLD_LOG];
    uint64_t op_seq[WORLD_OPS]; // where it was committed
    uint64_t acked_max, next_op, next_request, uuids;
    uint32_t alone;       // a node that hears nothing and nobody hears; WORLD_NODES: none
    bool paused;          // and it does nothing
    uint32_t cut;         // bit a*4+b: what a sends to b is lost
    uint64_t shrink_ns;   // longer than a lease, or shorter
    uint32_t loss, peace; // percent of messages; turns for one that may bring a fault
    uint64_t acks, strong_reads, promotions, adds, removes, installs, wipes, crashes, leases;
    const char *broken;
    bool calm; // no more faults
    struct replica_output out;
};

static void world_step(struct world *world, uint32_t at, struct replica_input *in);

static uint32_t
world_below(struct world *world, uint32_t bound)
{
    return prng_below(&world->prng, bound);
}

static void
world_fail(struct world *world, const char *what)
{
    if (world->broken == NULL)
        world->broken = what;
}

static uint32_t
world_node_of(const struct world *world, struct replica_uuid uuid)
{
    for (uint32_t i = 0; i < WORLD_NODES; i++)
        if (replica_uuid_equal(world->nodes[i].disk.uuid, uuid))
            return i;
    return WORLD_NODES;
}

static bool
world_has(const struct replica_uuid *list, uint32_t count, struct replica_uuid uuid)
{
    for (uint32_t i = 0; i < count; i++)
        if (replica_uuid_equal(list[i], uuid))
            return true;
    return false;
}

static void
world_take(struct replica_uuid *list, uint32_t *count, struct replica_uuid uuid)
{
    for (uint32_t i = 0; i < *count; i++)
        if (replica_uuid_equal(list[i], uuid))
            list[i--] = list[--*count];
}

// ---- checks ----
static bool
world_holds(const struct world *world, const struct world_disk *disk, uint64_t seq)
{
    return seq <= disk->last_seq && disk->log[seq].term == world->results[seq].term;
}

// I2, against the disks.
static void
world_check_in_sync(struct world *world, uint64_t from)
{
    for (uint32_t i = 0; i < world->meta.in_sync_count; i++) {
        const uint32_t at = world_node_of(world, world->meta.in_sync[i]);
        for (uint64_t seq = from; at < WORLD_NODES && seq <= world->acked_max; seq++)
            if (world->results[seq].acked && !world_holds(world, &world->nodes[at].disk, seq))
                world_fail(world, "I2: an acknowledged entry is not on the disk of a copy in sync");
    }
}

static void
world_check(struct world *world)
{
    const struct replica *up[WORLD_NODES];
    uint32_t count = 0;
    for (uint32_t i = 0; i < WORLD_NODES; i++)
        if (world->nodes[i].up)
            up[count++] = &world->nodes[i].replica;
    const char *broken = replicas_check_logs(up, count);
    if (broken != NULL)
        world_fail(world, broken);
    world_check_in_sync(world, 1);
}

// ---- a node ----
static void
world_start(struct world *world, uint32_t at)
{
    struct world_node *node = &world->nodes[at];
    struct world_disk *disk = &node->disk;
    static struct replica_term terms[WORLD_LOG];
    static struct dedupe_op ops[WORLD_LOG];
    struct replica_disk given = {
        .promised = disk->promised,
        .first_seq = disk->first_seq,
        .last_seq = disk->last_seq,
        .commit_seq = disk->commit_seq > disk->applied_seq ? disk->commit_seq : disk->applied_seq,
        .applied_seq = disk->applied_seq,
        .terms = terms,
        .ops = ops};
    for (uint64_t seq = 1; seq <= disk->last_seq; seq++) {
        const struct replica_entry *entry = &disk->log[seq];
        if (seq + 1 >= disk->first_seq &&
            (given.term_count == 0 || terms[given.term_count - 1].term != entry->term))
            terms[given.term_count++] = (struct replica_term){entry->term, seq};
        if (!replica_uuid_is_none(entry->op_id))
            ops[given.op_count++] = (struct dedupe_op){entry->op_id, seq, entry->stamp_ms};
        given.stamp_ms = entry->stamp_ms;
    }
    if (node->replica.download.installing) {
        struct replica_input in = {.kind = REPLICA_IN_INSTALLED, .disk = &given};
        memcpy(node->log, disk->log, sizeof node->log);
        world_step(world, at, &in);
        return;
    }
    struct replica_config config = {.uuid = disk->uuid,
                                    .shard = 7,
                                    .boot = ++node->boot,
                                    .retry_ns = 20 * WORLD_MS,
                                    .shrink_ns = world->shrink_ns,
                                    .idle_ns = 10 * WORLD_MS,
                                    .ops_max = 2048,
                                    .terms_max = REPLICA_TERMS_MAX,
                                    .window_ms = 1u << 30};
    replica_fini(&node->replica);
    replica_init(&node->replica, &config, at);
    memcpy(node->log, disk->log, sizeof node->log);
    node->up = true;
    node->pending_count = node->read_count = node->strong_count = 0;
    node->serve.kind = REPLICA_SERVE_NONE;
    node->lease_sent_ns = node->wake_ns = 0;
    struct replica_input in = {.kind = REPLICA_IN_START, .disk = &given};
    world_step(world, at, &in);
    in = (struct replica_input){.kind = REPLICA_IN_META, .meta = &world->meta};
    world_step(world, at, &in);
}

static void
world_persist(struct world *world, uint32_t at)
{
    struct world_node *node = &world->nodes[at];
    struct world_disk *disk = &node->disk;
    const struct world_commit *commit = &node->pending[0];
    disk->promised = commit->promised;
    disk->commit_seq = commit->commit_seq;
    if (commit->truncate)
        disk->last_seq = commit->truncate_seq;
    for (uint32_t i = 0; i < commit->count; i++) {
        disk->log[commit->entries[i].seq] = commit->entries[i];
        disk->last_seq = commit->entries[i].seq;
    }
    if (disk->commit_seq > disk->last_seq)
        disk->commit_seq = disk->last_seq;
    memmove(node->pending, node->pending + 1, --node->pending_count * sizeof *node->pending);
}

static void
world_crash(struct world *world, uint32_t at)
{
    struct world_node *node = &world->nodes[at];
    if (!node->up)
        return;
    for (uint32_t i = world_below(world, node->pending_count + 1); i > 0; i--)
        world_persist(world, at); // nobody heard of it
    node->up = false;
    node->replica.download.installing = false;
    world->crashes++;
}

static void
world_send(struct world *world, const struct replica_msg *msg)
{
    const uint32_t from = world_node_of(world, msg->from), to = world_node_of(world, msg->to);
    if (from == WORLD_NODES || to == WORLD_NODES || (world->cut >> (from * 4 + to) & 1) != 0)
        return;
    const uint32_t slot =
        world->net_count < WORLD_NET ? world->net_count++ : world_below(world, WORLD_NET);
    world->net[slot].msg = *msg;
    for (uint32_t i = 0; i < msg->entry_count; i++)
        world->net[slot].entries[i] = msg->entries[i];
}

static void
world_apply(struct world *world, uint32_t at, uint64_t seq)
{
    struct world_node *node = &world->nodes[at];
    const struct replica_entry *entry = &node->log[seq];
    struct world_result *result = &world->results[seq];
    const uint64_t op = entry->op_id.low;
    if (!result->known) {
        *result = (struct world_result){.term = entry->term, .op = op, .known = true};
        if (op != 0 && world->op_seq[op] != 0 && world->op_seq[op] != seq)
            world_fail(world, "exactly once: an operation was done twice");
        world->op_seq[op] = seq;
    }
    if (result->term != entry->term || result->op != op)
        world_fail(world, "I4: two copies applied different entries at one place");
    node->disk.applied_seq = seq;
}

static void
world_answer(struct world *world, uint32_t at, const struct replica_answer *answer)
{
    struct world_node *node = &world->nodes[at];
    for (uint32_t i = 0; i < node->strong_count; i++) {
        struct world_read *read = &node->strong[i];
        if (read->request != answer->request)
            continue;
        if (answer->status == OMEN_OK && read->seen < read->floor)
            world_fail(world, "I10: a strong read missed an acknowledged write");
        world->strong_reads += answer->status == OMEN_OK;
        *read = node->strong[--node->strong_count];
        return;
    }
    if (answer->status != OMEN_OK || answer->outcome != REPLICA_COMMITTED)
        return;
    struct world_result *result = &world->results[answer->seq];
    const uint64_t op = answer->request & 0xffff;
    if (!result->known || result->op != op ||
        (answer->term != 0 && result->term != answer->term)) // 0: older than the copy remembers
        world_fail(world, "an answer names a place that holds something else");
    result->acked = true;
    world->acks++;
    if (answer->seq > world->acked_max)
        world->acked_max = answer->seq;
    world_check_in_sync(world, answer->seq);
}

static void
world_queue(struct world_node *node, const struct replica_output *out)
{
    if (out->ticket == 0)
        return;
    struct world_commit *commit = &node->pending[node->pending_count++];
    *commit = (struct world_commit){.ticket = out->ticket,
                                    .promised = out->promised,
                                    .commit_seq = out->commit_seq,
                                    .truncate = out->truncate,
                                    .truncate_seq = out->truncate_seq,
                                    .count = out->append_count};
    for (uint32_t i = 0; i < out->append_count; i++) {
        commit->entries[i] = out->append[i];
        node->log[out->append[i].seq] = out->append[i];
    }
}

static void
world_output(struct world *world, uint32_t at)
{
    struct world_node *node = &world->nodes[at];
    const struct replica_output *out = &world->out;
    world_queue(node, out);
    for (uint32_t i = 0; i < out->msg_count; i++)
        world_send(world, &out->msgs[i]);
    for (uint64_t seq = out->apply_first; seq != 0 && seq <= out->apply_last; seq++)
        world_apply(world, at, seq);
    for (uint32_t i = 0; i < out->answer_count; i++)
        world_answer(world, at, &out->answers[i]);
    for (uint32_t i = 0; i < out->serve_read_count; i++)
        for (uint32_t j = 0; j < node->strong_count; j++)
            if (node->strong[j].request == out->serve_reads[i]) {
                node->strong[j].served = true;
                node->strong[j].seen = node->disk.applied_seq;
            }
    for (uint32_t i = 0; i < out->read_count; i++)
        if (node->read_count < 64)
            node->reads[node->read_count++] = out->reads[i];
    if (out->change.kind != REPLICA_CHANGE_NONE && world->change_count < WORLD_CHANGES)
        world->changes[world->change_count++] = out->change;
    if (out->serve.kind != REPLICA_SERVE_NONE)
        node->serve = out->serve;
    node->wake_ns = out->wake_ns;
}

static void
world_roots(struct world *world, uint32_t at, uint64_t first, uint64_t last)
{
    for (uint64_t seq = first; seq != 0 && seq <= last; seq++) {
        const struct world_node *node = &world->nodes[at];
        if (node->log[seq].kind != REPLICA_ENTRY_CHECKSUM)
            continue;
        uint64_t sum = 0;
        for (uint64_t i = 1; i <= seq; i++)
            sum = mix64(sum ^ node->disk.log[i].op_id.low ^ (i << 32));
        struct replica_input in = {
            .kind = REPLICA_IN_ROOT, .now_ns = world->now_ns, .seq = seq, .sum = {sum, sum}};
        world_step(world, at, &in);
    }
}

static void
world_step(struct world *world, uint32_t at, struct replica_input *in)
{
    struct world_node *node = &world->nodes[at];
    if (in->now_ns == 0)
        in->now_ns = node->now_ns = world->now_ns;
    in->wall_ms = world->now_ns / WORLD_MS;
    replica_step(&node->replica, in, &world->out);
    const uint64_t first = world->out.apply_first, last = world->out.apply_last;
    world_output(world, at);
    replica_check(&node->replica);
    if (first == 0)
        return;
    world_roots(world, at, first, last);
    struct replica_input applied = {.kind = REPLICA_IN_APPLIED, .seq = last};
    world_step(world, at, &applied);
}

// ---- the metadata ----
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
    uint64_t op = world->next_op;
    if ((world->calm && world_below(world, 16) != 0) || node->replica.last_seq > WORLD_LOG - 200 ||
        world->next_op > WORLD_OPS - 100)
        return;
    if (world->next_op == 0 || world_below(world, 3) != 0)
        op = ++world->next_op;
    else
        op -= world_below(world, op < 10 ? (uint32_t)op : 10); // once more
    const struct replica_proposal proposal = {.request = ++world->next_request << 16 | op,
                                              .op_id = {9, op}};
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
world_open(struct world *world, uint64_t seed)
{
    memset(world, 0, sizeof *world);
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
