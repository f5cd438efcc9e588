// tests/lib/sim_copies.h -- what a node holds of shards in a simulation: its copies, their disks, and the errands that take time.
//
// Shape: shell, simulated.
#ifndef OMEN_TESTS_SIM_COPIES_H
#define OMEN_TESTS_SIM_COPIES_H
#include "tests/lib/sim_hooks.h"
#include "tests/lib/sim_kind.h"
#include "tests/lib/sim_line.h"
#include "tests/lib/sim_pull.h"

static inline void sim_copies_step(struct sim *sim, uint32_t at, struct copies_input in);

// sim_data.h
static inline void sim_shard_applied(struct sim *sim, const struct sim_env *env, uint64_t seq);
static inline void sim_shard_stepped(struct sim *sim, uint32_t at, const struct copy *copy);

// sim_verify.h
static inline void sim_do_buckets(struct sim *sim, uint32_t at, const struct sim_env *env,
                                  const struct replica_serve *serve);
static inline void sim_compare(struct sim *sim, const struct sim_env *env,
                               const struct replica_serve *serve);
static inline void sim_read_notes(struct sim *sim);
static inline void sim_ask_operator(struct sim *sim, uint32_t at, const struct copy *copy);

// sim_word.h
static inline void sim_send_words(struct sim *sim, uint32_t at);
static inline void sim_send_led(struct sim *sim, uint32_t at);
static inline void sim_check_shrink(struct sim *sim, uint32_t at, struct sim_env *env);

// ---- packets ----

struct sim_replica_packet {
    struct replica_msg msg;
    struct replica_entry entries[REPLICA_ENTRIES_MAX];
    uint8_t payloads[REPLICA_ENTRIES_MAX][SIM_PAYLOAD_BYTES];
    struct replica_sum sums[REPLICA_BUCKETS_PER_MSG];
    uint8_t bytes[]; // of a chunk
};

static inline struct sim_replica_packet *
sim_copy_replica(const struct replica_msg *msg)
{
    const size_t sums = msg->bucket_count * sizeof *msg->buckets;
    struct sim_replica_packet *packet = malloc(sizeof *packet + msg->byte_count);
    ASSERT(packet != NULL);
    packet->msg = *msg;
    for (uint32_t i = 0; i < msg->entry_count; i++) {
        packet->entries[i] = msg->entries[i];
        if (msg->entries[i].byte_count > 0)
            memcpy(packet->payloads[i], msg->entries[i].bytes, msg->entries[i].byte_count);
        packet->entries[i].bytes = packet->payloads[i];
    }
    packet->msg.entries = packet->entries;
    if (msg->byte_count > 0)
        memcpy(packet->bytes, msg->bytes, msg->byte_count);
    packet->msg.bytes = packet->bytes;
    if (sums > 0) {
        memcpy(packet->sums, msg->buckets, sums);
        packet->msg.buckets = packet->sums;
    }
    return packet;
}

// What a replica asked its shell to do, and is answered later.
struct sim_errand {
    enum replica_input_kind kind; // of the answer
    uint64_t env;                 // its serial: another life's errand is nobody's
    uint64_t seq, request;
    struct replica_log_read read;
    struct replica_serve serve;
    uint8_t bytes[]; // of serve
};

static inline void
sim_errand(struct sim *sim, uint32_t at, const struct sim_env *env, struct sim_errand given)
{
    struct sim_errand *errand = malloc(sizeof *errand + given.serve.byte_count);
    ASSERT(errand != NULL);
    *errand = given;
    errand->env = env->serial;
    if (given.serve.byte_count > 0)
        memcpy(errand->bytes, given.serve.bytes, given.serve.byte_count);
    errand->serve.bytes = errand->bytes;
    const uint32_t spread = sim->slow_disk[at] > 0 ? 60000000 : 2000000;
    sim_push(&sim->heap,
             (struct sim_event){.at_ns = sim->now_ns + 50000 + prng_below(&sim->prng, spread),
                                .kind = SIM_ERRAND,
                                .at = at,
                                .from = at,
                                .packet = errand});
}

// ---- environments ----

static inline struct sim_env *
sim_env_find(struct sim_node *node, struct cluster_uuid uuid)
{
    for (uint32_t i = 0; i < SIM_ENVS_MAX; i++)
        if (node->envs[i].used && uuid_equal(node->envs[i].env.uuid, uuid))
            return &node->envs[i];
    return NULL;
}

static inline struct sim_env *
sim_env_by_serial(struct sim_node *node, uint64_t serial)
{
    for (uint32_t i = 0; i < SIM_ENVS_MAX; i++)
        if (node->envs[i].used && node->envs[i].serial == serial)
            return &node->envs[i];
    return NULL;
}

static inline uint64_t
sim_disk_delay(struct sim *sim, uint32_t at)
{
    const uint64_t ns = SIM_MS / 2 + prng_below(&sim->prng, 4000000);
    return sim->slow_disk[at] > 0 ? ns + sim_slow(sim) : ns;
}

static inline void
sim_env_event(struct sim *sim, uint32_t at, struct sim_env *env, enum sim_event_kind kind)
{
    uint64_t done = sim->now_ns + sim_disk_delay(sim, at);
    if (done <= env->last_done_ns)
        done = env->last_done_ns + 1;
    env->last_done_ns = done;
    sim_push(&sim->heap,
             (struct sim_event){
                 .at_ns = done, .kind = kind, .at = at, .from = at, .number = env->serial});
}

static inline void
sim_env_make(struct sim *sim, uint32_t at, const struct copies_env *made)
{
    struct sim_node *node = &sim->nodes[at];
    uint32_t slot = 0;
    while (slot < SIM_ENVS_MAX && node->envs[slot].used)
        slot++;
    ASSERT(slot < SIM_ENVS_MAX);
    sim_env_init(&node->envs[slot], made, sim_history(sim, made->shard)->range);
    node->envs[slot].serial = ++sim->env_serial;
    node->envs[slot].unmade = true;
    sim_env_event(sim, at, &node->envs[slot], SIM_ENV_MADE);
}

static inline void
sim_envs_crash(struct sim *sim, uint32_t at)
{
    struct sim_node *node = &sim->nodes[at];
    for (uint32_t i = 0; i < SIM_ENVS_MAX; i++) {
        struct sim_env *env = &node->envs[i];
        if (!env->used)
            continue;
        if (env->unmade) {
            sim_env_fini(env);
            continue;
        }
        const uint32_t kept = prng_below(&sim->prng, env->ticket_count + 1);
        const uint64_t back = env->applied_seq - env->applied_durable;
        const uint64_t lost = prng_below(&sim->prng, (uint32_t)back + 1);
        sim_env_crash(env, kept, env->applied_seq - (sim_chance(sim, 500) ? lost : 0));
        env->serial = ++sim->env_serial;
    }
}

// A few of the terms that a copy sees, or all: a seed's, and drawn of nothing, so that faults are those that they were.
#define SIM_TERMS_LEAST 4u
#define SIM_TERMS_KINDS (REPLICA_TERMS_MAX - SIM_TERMS_LEAST + 1)

static inline uint32_t
sim_terms_max(const struct sim *sim)
{
    return SIM_TERMS_LEAST + (uint32_t)(sim->options.seed % SIM_TERMS_KINDS);
}

static inline void
sim_copies_start(struct sim *sim, uint32_t at)
{
    struct sim_node *node = &sim->nodes[at];
    const struct copies_config config = {.node = {0x6f6d656e, at + 1},
                                         .boot = node->boot,
                                         .retry_ns = 100 * SIM_MS,
                                         .idle_ns = 20 * SIM_MS,
                                         .ops_max = sim_forgets(sim) ? 128 : 8192,
                                         .terms_max = sim_terms_max(sim),
                                         .window_ms = sim_forgets(sim) ? 30000 : 3600000};
    copies_init(&node->copies, &config, prng_next(&sim->prng));
    node->copies_wake_ns = UINT64_MAX;
    node->fed_version = 0;
    memset(node->said_dead, 0, sizeof node->said_dead);
    for (uint32_t i = 0; i < SIM_ENVS_MAX; i++) {
        const struct sim_env *env = &node->envs[i];
        if (!env->used)
            continue;
        const struct copies_durable held = {.env = env->env, .disk = sim_env_read(env)};
        sim_copies_step(sim, at, (struct copies_input){.kind = COPIES_IN_HELD, .held = &held});
        free((void *)(uintptr_t)held.disk.terms);
        free((void *)(uintptr_t)held.disk.ops);
    }
}

// ---- what comes out of a step ----

static inline void
sim_replica_send(struct sim *sim, uint32_t at)
{
    const struct copies_output *out = &sim->copies_out;
    for (uint32_t i = 0; i < out->replica.msg_count; i++) {
        const uint32_t to = (uint32_t)out->nodes[i].low - 1;
        if (uuid_is_none(out->nodes[i]) || to >= sim->options.nodes)
            continue;
        for (uint32_t copies = sim_copies(sim, at, to); copies > 0; copies--)
            sim_push(&sim->heap,
                     (struct sim_event){.at_ns = sim->now_ns + sim_delay(sim),
                                        .kind = SIM_REPLICA,
                                        .at = to,
                                        .from = at,
                                        .packet = sim_copy_replica(&out->replica.msgs[i])});
    }
}

static inline void
sim_replica_apply(struct sim *sim, uint32_t at, struct sim_env *env)
{
    const struct replica_output *out = &sim->copies_out.replica;
    if (out->apply_first == 0)
        return;
    for (uint64_t seq = out->apply_first; seq <= out->apply_last; seq++) {
        sim_env_apply_row(env, seq);
        sim_shard_applied(sim, env, seq);
        if (env->log[seq].kind != REPLICA_ENTRY_CHECKSUM)
            continue;
        env->check_seq = seq;
        env->checked = sim_rot_seen(&env->rot, &env->table);
        const bool good = sim_env_verifies(env);
        sim_errand(
            sim, at, env,
            (struct sim_errand){.kind = good ? REPLICA_IN_ROOT : REPLICA_IN_CORRUPT, .seq = seq});
    }
    sim_errand(sim, at, env,
               (struct sim_errand){.kind = REPLICA_IN_APPLIED, .seq = out->apply_last});
}

static inline void
sim_replica_errands(struct sim *sim, uint32_t at, const struct sim_env *env)
{
    const struct replica_output *out = &sim->copies_out.replica;
    for (uint32_t i = 0; i < out->serve_read_count; i++) {
        const bool good = sim_sub_serve(sim, env, out->serve_reads[i]);
        sim_errand(sim, at, env,
                   (struct sim_errand){.kind = good ? REPLICA_IN_READ_DONE : REPLICA_IN_CORRUPT,
                                       .request = out->serve_reads[i]});
    }
    for (uint32_t i = 0; i < out->read_count; i++)
        sim_errand(sim, at, env,
                   (struct sim_errand){.kind = REPLICA_IN_ENTRIES, .read = out->reads[i]});
    static const enum replica_input_kind answers[] = {
        [REPLICA_SERVE_SNAPSHOT] = REPLICA_IN_SNAPSHOT_READY,
        [REPLICA_SERVE_CHUNK] = REPLICA_IN_CHUNK_READ,
        [REPLICA_SERVE_STORE] = REPLICA_IN_CHUNK_STORED,
        [REPLICA_SERVE_INSTALL] = REPLICA_IN_INSTALLED,
        [REPLICA_SERVE_BUCKETS] = REPLICA_IN_BUCKETS,
    };
    const enum replica_serve_kind kind = out->serve.kind;
    if (kind >= REPLICA_SERVE_SNAPSHOT && kind <= REPLICA_SERVE_BUCKETS)
        sim_errand(sim, at, env, (struct sim_errand){.kind = answers[kind], .serve = out->serve});
    else if (kind == REPLICA_SERVE_COMPARE)
        sim_compare(sim, env, &out->serve);
}

static inline void
sim_replica_output(struct sim *sim, uint32_t at)
{
    struct sim_node *node = &sim->nodes[at];
    const struct copies_output *out = &sim->copies_out;
    struct sim_env *env = sim_env_find(node, out->uuid);
    ASSERT(env != NULL);
    if (sim_env_write(env, &out->replica))
        sim_env_event(sim, at, env, SIM_ENV_SYNC);
    sim_check_shrink(sim, at, env);
    sim_replica_send(sim, at);
    sim_replica_apply(sim, at, env);
    for (uint32_t i = 0; i < out->replica.answer_count; i++)
        sim_sub_answer(sim, at, env, &out->replica.answers[i]);
    sim_replica_errands(sim, at, env);
    sim_read_notes(sim);
    sim_mix(sim, out->replica.ticket << 40 ^ out->replica.apply_last << 16 ^
                     out->replica.msg_count << 8 ^ out->replica.answer_count);
}

static inline void
sim_copies_step(struct sim *sim, uint32_t at, struct copies_input in)
{
    struct sim_node *node = &sim->nodes[at];
    struct copies_output *out = &sim->copies_out;
    in.now_ns = sim_node_time(sim, at);
    in.wall_ms = sim_node_wall(sim, at);
    copies_step(&node->copies, &in, out);
    copies_check(&node->copies);
    if (!uuid_is_none(out->make.uuid))
        sim_env_make(sim, at, &out->make);
    if (!uuid_is_none(out->drop)) {
        sim_env_fini(sim_env_find(node, out->drop));
        sim_subs_dropped(sim, at, out->drop);
    }
    if (out->stepped) {
        sim_replica_output(sim, at);
        sim_shard_stepped(sim, at, copies_find(&node->copies, out->uuid));
        sim_stumble_split(sim, at, copies_find(&node->copies, out->uuid));
    }
    if (out->command.kind != 0)
        sim_wish(sim, at, &out->command);
    if (out->wake_ns == UINT64_MAX)
        return;
    uint64_t due = (out->wake_ns / node->rate + 1) * 1000;
    if (due <= sim->now_ns)
        due = sim->now_ns + 1000;
    if (node->copies_wake_ns != UINT64_MAX && node->copies_wake_ns <= due)
        return;
    node->copies_wake_ns = due;
    sim_push(&sim->heap,
             (struct sim_event){
                 .at_ns = due, .kind = SIM_COPIES, .at = at, .from = at, .number = node->life});
}

// ---- events ----

static inline void
sim_replica_step(struct sim *sim, uint32_t at, struct cluster_uuid uuid, struct replica_input given)
{
    sim_copies_step(
        sim, at, (struct copies_input){.kind = COPIES_IN_REPLICA, .uuid = uuid, .replica = &given});
}

static inline void
sim_do_entries(struct sim *sim, uint32_t at, const struct sim_env *env,
               const struct replica_log_read *read)
{
    struct replica_entry entries[REPLICA_ENTRIES_MAX];
    struct replica_input given = {.kind = REPLICA_IN_ENTRIES,
                                  .reader = read->reader,
                                  .reader_term = read->term,
                                  .entries = entries};
    const struct copy *copy = copies_find(&sim->nodes[at].copies, env->env.uuid);
    for (uint64_t seq = read->first_seq;
         given.entry_count < read->count && seq >= env->first_seq && seq <= copy->replica.last_seq;
         seq++) {
        if (env->rot.kind == SIM_ROT_ENTRY && env->rot.seq == seq) {
            sim_errand(sim, at, env, (struct sim_errand){.kind = REPLICA_IN_CORRUPT});
            break;
        }
        entries[given.entry_count++] = sim_entry_of(&env->log[seq], seq);
    }
    sim_replica_step(sim, at, env->env.uuid, given);
}

static inline void
sim_do_serve(struct sim *sim, uint32_t at, struct sim_env *env, const struct sim_errand *errand)
{
    const struct replica_serve *serve = &errand->serve;
    const struct copy *copy = copies_find(&sim->nodes[at].copies, env->env.uuid);
    struct replica_input given = {.kind = errand->kind};
    given.uuid = serve->uuid;
    given.snapshot = serve->snapshot;
    given.chunk = serve->chunk;
    if (errand->kind == REPLICA_IN_SNAPSHOT_READY && !sim_env_verifies(env)) {
        sim_errand(sim, at, env, (struct sim_errand){.kind = REPLICA_IN_CORRUPT});
    } else if (errand->kind == REPLICA_IN_SNAPSHOT_READY && env->applied_seq > 0 && copy != NULL) {
        sim_env_make_snapshot(env, &copy->replica);
        given.snapshot = env->snapshot_id;
        given.seq = env->snapshot_seq;
        given.snapshot_term = env->log[env->snapshot_seq].term;
        given.chunk_count = sim_env_chunks(env);
    } else if (errand->kind == REPLICA_IN_CHUNK_READ) {
        const size_t from = (size_t)serve->chunk * SIM_CHUNK_BYTES;
        if (serve->snapshot == env->snapshot_id && from < env->snapshot_bytes) {
            const size_t left = env->snapshot_bytes - from;
            given.bytes = env->snapshot + from;
            given.byte_count = left < SIM_CHUNK_BYTES ? (uint32_t)left : SIM_CHUNK_BYTES;
            given.hash = hash_bytes(given.bytes, given.byte_count);
        }
    } else if (errand->kind == REPLICA_IN_CHUNK_STORED) {
        sim_env_store(env, serve);
    } else if (errand->kind == REPLICA_IN_INSTALLED) {
        struct replica_disk disk = {0};
        given.disk = NULL;
        if (sim_env_install(env, serve->seq)) {
            sim->shard_installs++;
            disk = sim_env_read(env);
            given.disk = &disk;
        }
        sim_replica_step(sim, at, env->env.uuid, given);
        free((void *)(uintptr_t)disk.terms);
        free((void *)(uintptr_t)disk.ops);
        return;
    }
    sim_replica_step(sim, at, env->env.uuid, given);
}

static inline void
sim_do_errand(struct sim *sim, uint32_t at, const struct sim_errand *errand)
{
    struct sim_env *env = sim_env_by_serial(&sim->nodes[at], errand->env);
    if (env == NULL)
        return;
    struct replica_input given = {.kind = errand->kind};
    if (errand->kind == REPLICA_IN_ENTRIES) {
        sim_do_entries(sim, at, env, &errand->read);
    } else if (errand->kind == REPLICA_IN_APPLIED) {
        given.seq = errand->seq;
        sim_replica_step(sim, at, env->env.uuid, given);
    } else if (errand->kind == REPLICA_IN_ROOT) {
        given.seq = errand->seq;
        given.sum = sim_table_root(&env->checked);
        if (env->check_seq == errand->seq)
            sim_replica_step(sim, at, env->env.uuid, given);
    } else if (errand->kind == REPLICA_IN_BUCKETS) {
        sim_do_buckets(sim, at, env, &errand->serve);
    } else if (errand->kind == REPLICA_IN_CORRUPT) {
        sim_replica_step(sim, at, env->env.uuid, given);
    } else if (errand->kind == REPLICA_IN_READ_DONE) {
        given.request = errand->request;
        sim_replica_step(sim, at, env->env.uuid, given);
    } else {
        sim_do_serve(sim, at, env, errand);
    }
}

// Of a node that is up, and not paused.
static inline void
sim_copies_event(struct sim *sim, const struct sim_event *event)
{
    const uint32_t at = event->at;
    struct sim_node *node = &sim->nodes[at];
    if (event->kind == SIM_COPIES) {
        if (event->number != node->life || event->at_ns != node->copies_wake_ns)
            return;
        node->copies_wake_ns = UINT64_MAX;
        sim_copies_step(sim, at, (struct copies_input){.kind = COPIES_IN_WAKE});
    } else if (event->kind == SIM_REPLICA) {
        const struct sim_replica_packet *packet = event->packet;
        const struct cluster_uuid to = {packet->msg.to.high, packet->msg.to.low};
        sim_replica_step(
            sim, at, to,
            (struct replica_input){.kind = REPLICA_IN_MESSAGE, .message = &packet->msg});
    } else if (event->kind == SIM_ERRAND) {
        sim_do_errand(sim, at, event->packet);
    } else {
        struct sim_env *env = sim_env_by_serial(node, event->number);
        if (env == NULL)
            return;
        if (event->kind == SIM_ENV_MADE) {
            env->unmade = false;
            sim_copies_step(sim, at,
                            (struct copies_input){.kind = COPIES_IN_MADE, .uuid = env->env.uuid});
            // As node/hosts does: the next map may be long in coming.
            sim_copies_step(sim, at,
                            (struct copies_input){.kind = COPIES_IN_MAP, .map = sim_map(node)});
        } else {
            const uint64_t ticket = sim_env_sync(env);
            sim_replica_step(
                sim, at, env->env.uuid,
                (struct replica_input){.kind = REPLICA_IN_PERSISTED, .ticket = ticket});
        }
    }
}

// What a turn has brought for the copies of its node.
static inline void
sim_feed(struct sim *sim, uint32_t at)
{
    struct sim_node *node = &sim->nodes[at];
    const struct turn_lease lease = sim->out.lease;
    sim_send_words(sim, at);
    sim_send_led(sim, at);
    sim_pull(sim, at);
    const struct map *map = sim_map(node);
    if (node->fed_version != map->version) {
        SIM_REQUIRE(sim, map->version > node->fed_version, "the copies' map never goes back");
        node->fed_version = map->version;
        sim_read_lines(sim, map);
        sim_read_kinds(sim, map);
        sim_copies_step(sim, at, (struct copies_input){.kind = COPIES_IN_MAP, .map = map});
        sim_router_feed(sim, at);
    }
    if (lease.lease_ns != 0) {
        struct copies_input in = {.kind = COPIES_IN_LEASE};
        in.sent_ns = lease.sent_ns;
        in.lease_ns = lease.lease_ns;
        sim_copies_step(sim, at, in);
    }
}

#include "tests/lib/sim_data.h" // sim_shard_applied and its like
#include "tests/lib/sim_word.h" // sim_send_words

#endif
