// tests/lib/replica_world_node.h -- one node of tests/lib/replica_world.h: its disk, what its replica says, and what must hold after each step.
//
// Shape: shell.
#ifndef OMEN_TESTS_REPLICA_WORLD_NODE_H
#define OMEN_TESTS_REPLICA_WORLD_NODE_H

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
#define WORLD_FORGETFUL_OPS 80u
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
    uint64_t op_ms[WORLD_OPS];  // when it was drawn
    uint64_t expired;           // proposals that were refused for their age
    uint64_t acked_max, next_op, next_request, uuids;
    uint32_t alone;       // a node that hears nothing and nobody hears; WORLD_NODES: none
    bool paused;          // and it does nothing
    uint32_t cut;         // bit a*4+b: what a sends to b is lost
    uint64_t shrink_ns;   // longer than a lease, or shorter
    uint32_t loss, peace; // percent of messages; turns for one that may bring a fault
    uint64_t acks, strong_reads, promotions, adds, removes, installs, wipes, crashes, leases;
    const char *broken;
    bool calm;      // no more faults
    bool forgetful; // of operations
    uint32_t window_ms;
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

// Of an operation: its number in the lower half. 0: none.
static struct replica_uuid
world_op_id(const struct world *world, uint64_t op)
{
    const struct opid id = opid_draw(world->op_ms[op], (struct opid){0, op});
    return (struct replica_uuid){id.high, id.low};
}

static uint64_t
world_op_of(const struct replica_entry *entry)
{
    return entry->op_id.low & UINT64_MAX >> 2;
}

// Walls of forgetful worlds differ, by less than what is ahead.
static uint64_t
world_wall(const struct world *world, uint32_t at)
{
    return world->now_ns / WORLD_MS + (world->forgetful ? at * 50 : 0);
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
// As a disk does (storage/logs_ops.c): of what was trimmed it forgets what is too old, and the oldest while more than enough are left.
static uint32_t
world_forgets(const struct world *world, struct replica_disk *given)
{
    uint32_t gone = 0;
    while (given->op_count > 0 && given->ops[gone].seq < given->first_seq &&
           (given->ops[gone].stamp_ms + world->window_ms < given->stamp_ms ||
            given->op_count > WORLD_FORGETFUL_OPS)) {
        const uint64_t drawn_ms = given->ops[gone++].id.high >> 16;
        if (given->op_count-- > WORLD_FORGETFUL_OPS && drawn_ms >= given->forgot_ms)
            given->forgot_ms = drawn_ms + 1;
    }
    return gone;
}

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
    if (world->forgetful)
        given.ops += world_forgets(world, &given);
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
                                    .ops_max = world->forgetful ? WORLD_FORGETFUL_OPS : 2048,
                                    .terms_max = REPLICA_TERMS_MAX,
                                    .window_ms = world->window_ms};
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
    const uint64_t op = world_op_of(entry);
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
    world->expired += answer->status == OMEN_E_OP_EXPIRED;
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
    in->wall_ms = world_wall(world, at);
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

#endif
