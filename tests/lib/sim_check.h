// tests/lib/sim_check.h -- what must hold of a simulated metadata group, and the clients whose eyes see it.
//
// Shape: shell, simulated.
//
// Raft's safety (the paper's figure 3): one leader a term; a leader has all that was committed; logs that agree at a position
// agree before it; nobody applies another entry at a position than somebody else did, nor gets another answer from it.
// The clients' eyes: each key is a register. The log gives all writes one order, so an operation is linearizable exactly
// where it takes effect, or sees a write, not before any that was known to be done on its key when it began. A write takes effect
// once, however often it is sent.
#ifndef OMEN_TESTS_SIM_CHECK_H
#define OMEN_TESTS_SIM_CHECK_H
#include "tests/lib/sim_world.h"

static inline void sim_members_applied(struct sim *sim,
                                       const struct raft_entry *entry); // tests/lib/sim_member.h

static inline uint64_t
sim_entry_hash(const struct raft_entry *entry)
{
    return hash_bytes(entry->bytes, entry->byte_count) ^ (uint64_t)entry->kind;
}

// The number of the write that these bytes are, 0: none.
static inline uint64_t
sim_entry_op(const struct raft_entry *entry)
{
    static struct command command;
    if (entry->kind != RAFT_ENTRY_NORMAL || entry->byte_count == 0 ||
        command_decode(entry->bytes, entry->byte_count, &command) != OMEN_OK)
        return 0;
    return command.kind == COMMAND_SETTING_PUT ? command.op.low : 0;
}

static inline void
sim_applied(struct sim *sim, const struct raft_entry *entry, const struct turn_result *result)
{
    const uint64_t position = entry->position;
    sim->history = sim_grow(sim->history, &sim->history_room, position + 1, sizeof *sim->history);
    struct sim_entry *seen = &sim->history[position];
    if (position > sim->history_last) {
        SIM_REQUIRE(sim, position == sim->history_last + 1 || sim->history_last == 0,
                    "nobody applies what is behind a gap");
        sim->history_last = position;
        *seen = (struct sim_entry){entry->term,
                                   sim_entry_hash(entry),
                                   result->result.version,
                                   result->result.position,
                                   result->result.status,
                                   sim_entry_op(entry)};
        sim_members_applied(sim, entry);
        if (seen->op != 0 && result->result.status == OMEN_OK) {
            struct sim_op *op = &sim->ops[seen->op];
            SIM_REQUIRE(sim, op->position == 0 || op->position == result->result.position,
                        "a write takes effect once");
            SIM_REQUIRE(sim, op->position != 0 || result->result.position == position,
                        "a write takes effect where it is first applied");
            op->position = result->result.position;
        }
        return;
    }
    SIM_REQUIRE(sim, seen->term == entry->term && seen->hash == sim_entry_hash(entry),
                "all apply the same entry at a position");
    SIM_REQUIRE(sim,
                seen->version == result->result.version && seen->value == result->result.position &&
                    seen->status == result->result.status,
                "applying an entry answers the same on every node");
}

static inline void
sim_check_leader(struct sim *sim, const struct raft *raft)
{
    if (raft->state != RAFT_LEADER)
        return;
    sim->leaders = sim_grow(sim->leaders, &sim->leader_room, raft->term + 1, sizeof *sim->leaders);
    uint64_t *leader = &sim->leaders[raft->term];
    if (*leader == 0) {
        *leader = raft->config.id;
        sim->leader_terms++;
        // One whose votes came late may find that a later term went on without it.
        for (uint64_t at = tail_first(&raft->tail);
             at <= sim->committed && sim->commits[at].by < raft->term; at++)
            SIM_REQUIRE(sim,
                        at <= tail_last(&raft->tail) &&
                            tail_at(&raft->tail, at)->term == sim->commits[at].term,
                        "a leader has what was committed before its term");
    }
    SIM_REQUIRE(sim, *leader == raft->config.id, "a term has one leader");
}

// Who counts is the first that knows. A snapshot brings none that nobody knew.
static inline void
sim_note_commit(struct sim *sim, const struct raft *raft)
{
    sim->commits =
        sim_grow(sim->commits, &sim->commit_room, raft->commit + 1, sizeof *sim->commits);
    while (sim->committed < raft->commit) {
        struct sim_commit *commit = &sim->commits[++sim->committed];
        commit->by = raft->term;
        if (sim->committed >= tail_first(&raft->tail))
            commit->term = tail_at(&raft->tail, sim->committed)->term;
    }
}

static inline void
sim_match_two(struct sim *sim, const struct raft_tail *x, const struct raft_tail *y)
{
    uint64_t at = tail_last(x) < tail_last(y) ? tail_last(x) : tail_last(y);
    const uint64_t from = x->base_position > y->base_position ? x->base_position : y->base_position;
    bool same = false;
    for (; at > from; at--) {
        const struct raft_entry *e = tail_at(x, at), *f = tail_at(y, at);
        same |= e->term == f->term;
        SIM_REQUIRE(sim, !same || (e->term == f->term && sim_entry_hash(e) == sim_entry_hash(f)),
                    "logs that agree at a position agree before it");
    }
}

static inline void
sim_match_logs(struct sim *sim)
{
    for (uint32_t a = 0; a < sim->options.nodes; a++)
        for (uint32_t b = a + 1; b < sim->options.nodes; b++)
            if (sim->nodes[a].up && sim->nodes[b].up)
                sim_match_two(sim, &sim->nodes[a].turn.raft.tail, &sim->nodes[b].turn.raft.tail);
}

static inline uint64_t
sim_map_hash(const struct map *map)
{
    const size_t count = snapshot_bytes(map);
    uint8_t *bytes = sim_copy(NULL, 0);
    bytes = realloc(bytes, count);
    ASSERT(bytes != NULL);
    snapshot_encode(map, bytes, count);
    const uint64_t hash = hash_bytes(bytes, count);
    free(bytes);
    return hash;
}

// ---- clients ----

static inline void
sim_think(struct sim *sim, uint32_t c)
{
    const bool few = sim->options.seconds > 200 || sim->options.profile->quiet_settings;
    const uint32_t spread = few ? 600 : 100; // sessions are kept for 600 s
    sim_push(&sim->heap, (struct sim_event){.at_ns = sim->now_ns +
                                                     SIM_MS * (10 + prng_below(&sim->prng, spread)),
                                            .kind = SIM_CLIENT,
                                            .at = c});
}

static inline struct map_name
sim_key(uint32_t key)
{
    struct map_name name;
    const char text[2] = {'k', (char)('0' + key)};
    const bool valid = map_name_set(&name, text, sizeof text);
    ASSERT(valid);
    return name;
}

static inline void
sim_done(struct sim *sim, uint32_t c, uint64_t position)
{
    struct sim_client *client = &sim->clients[c];
    SIM_REQUIRE(sim, client->reading || position > client->floor,
                "a write comes after all that was done before it began");
    SIM_REQUIRE(sim, position >= client->floor, "a read sees all that was done before it began");
    if (position > sim->floors[client->key])
        sim->floors[client->key] = position;
    if (!client->reading) {
        sim->ops[client->op].done = true;
        sim->writes_done++;
    }
    sim->ops_done++;
    client->busy = false;
    sim_think(sim, c);
}

static inline void
sim_read_now(struct sim *sim, uint32_t c)
{
    struct sim_client *client = &sim->clients[c];
    const struct map_name name = sim_key(client->key);
    const struct setting *setting = map_setting(&sim->nodes[client->node].turn.map, &name);
    uint64_t op = 0;
    for (uint32_t i = 0; setting != NULL && i < setting->value.count; i++)
        op = op * 10 + (uint64_t)(setting->value.bytes[i] - '0');
    sim_done(sim, c, op == 0 ? 0 : sim->ops[op].position);
}

// What the output of node `at` means to those who wait for it. Of answers, some are lost.
static inline void
sim_answer(struct sim *sim, uint32_t at)
{
    const struct sim_node *node = &sim->nodes[at];
    const struct turn_output *out = &sim->out;
    for (uint32_t c = 0; c < SIM_CLIENTS; c++) {
        struct sim_client *client = &sim->clients[c];
        if (!client->busy || client->node != at || client->wait_life != node->life)
            continue;
        for (uint32_t i = 0; client->reading && i < out->raft.read_count; i++)
            if (out->raft.reads[i].read_id == client->op &&
                out->raft.reads[i].answer == RAFT_ANSWER_OK) {
                client->wait_position = out->raft.reads[i].position;
                SIM_REQUIRE(sim, client->wait_position >= client->wait_floor,
                            "a read knows all that anybody knew to be committed when it began");
                client->read_ready = true;
            }
        if (client->reading) {
            if (client->read_ready && node->turn.applied >= client->wait_position)
                sim_read_now(sim, c);
            continue;
        }
        if (client->wait_position == 0)
            continue;
        for (uint32_t i = 0; client->busy && i < out->result_count; i++) {
            const struct turn_result *result = &out->results[i];
            if (result->position != client->wait_position || result->term != client->wait_term ||
                result->result.status != OMEN_OK || (!sim->stopped && sim_chance(sim, 50)))
                continue;
            sim_done(sim, c, result->result.position);
        }
    }
}

static inline void
sim_observe(struct sim *sim, uint32_t at)
{
    struct sim_node *node = &sim->nodes[at];
    const struct turn_output *out = &sim->out;
    sim_note_commit(sim, &node->turn.raft);
    for (uint32_t i = 0; i < out->result_count; i++)
        sim_applied(sim, &out->raft.commit.entries[i], &out->results[i]);
    sim_check_leader(sim, &node->turn.raft);
    SIM_REQUIRE(sim, node->turn.map.version >= node->map_version, "the map never goes back");
    node->map_version = node->turn.map.version;
    sim_answer(sim, at);
}

static inline struct command
sim_put(const struct sim *sim, const struct sim_client *client)
{
    struct command command;
    memset(&command, 0, sizeof command);
    command.kind = COMMAND_SETTING_PUT;
    command.op = (struct cluster_uuid){sim->ops[client->op].time_ms << 16 | 0x7000, client->op};
    command.setting.expected = VERSION_ANY;
    command.setting.name = sim_key(client->key);
    command.setting.value.count = (uint8_t)snprintf(
        command.setting.value.bytes, sizeof command.setting.value.bytes, "%" PRIu64, client->op);
    return command;
}

// Sends what the client wants to its node, and has it look elsewhere after a while.
static inline void
sim_try(struct sim *sim, uint32_t c)
{
    struct sim_client *client = &sim->clients[c];
    struct sim_node *node = &sim->nodes[client->node];
    client->tries++;
    client->wait_position = 0;
    client->read_ready = false;
    client->wait_life = node->life;
    uint64_t wait = 700 * SIM_MS;
    const bool away = !node->up || node->paused_until_ns > sim->now_ns;
    if (away) {
        wait = 50 * SIM_MS;
        client->node = prng_below(&sim->prng, sim->options.nodes);
    } else if (client->reading) {
        client->op = ++sim->read_count << 8 | c; // each try is another read
        client->wait_floor = sim->committed;
        sim_step(sim, client->node,
                 (struct turn_input){.kind = TURN_IN_READ, .read_id = client->op});
    } else {
        const struct command command = sim_put(sim, client);
        sim_step(sim, client->node,
                 (struct turn_input){.kind = TURN_IN_PROPOSE, .command = &command});
        client->wait_position = sim->out.raft.answer_position;
        client->wait_term = sim->out.raft.term;
    }
    client->refused = !away && client->busy && sim->out.raft.answer != RAFT_ANSWER_OK;
    if (client->refused) {
        wait = 20 * SIM_MS + prng_below(&sim->prng, 50000000);
        client->wait_position = 0;
        const uint32_t lead = sim_at_of(sim, sim->out.raft.lead);
        client->node = lead != SIM_NOWHERE && sim_chance(sim, 800)
                           ? lead
                           : prng_below(&sim->prng, sim->options.nodes);
    }
    if (client->busy)
        sim_push(&sim->heap, (struct sim_event){.at_ns = sim->now_ns + wait,
                                                .kind = SIM_TIMEOUT,
                                                .at = c,
                                                .number = client->tries});
}

static inline void
sim_begin(struct sim *sim, uint32_t c)
{
    struct sim_client *client = &sim->clients[c];
    if (sim->stopped)
        return;
    client->busy = true;
    client->reading = sim_chance(sim, sim_usual(sim->options.profile->looks, 500));
    client->key = prng_below(&sim->prng, SIM_KEYS);
    client->floor = sim->floors[client->key];
    if (!client->reading) {
        client->op = ++sim->op_count;
        sim->ops = sim_grow(sim->ops, &sim->op_room, sim->op_count + 1, sizeof *sim->ops);
        sim->ops[client->op].key = client->key;
        sim->ops[client->op].time_ms = SIM_EPOCH_MS + sim->now_ns / SIM_MS;
    }
    sim_try(sim, c);
}

static inline void
sim_timeout(struct sim *sim, uint32_t c, uint64_t tries)
{
    struct sim_client *client = &sim->clients[c];
    if (!client->busy || client->tries != tries)
        return;
    sim->retries++;
    if (client->wait_position != 0 || (client->reading && !client->refused))
        client->node = prng_below(&sim->prng, sim->options.nodes);
    sim_try(sim, c);
}

#endif
