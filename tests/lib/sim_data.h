// tests/lib/sim_data.h -- what must hold of shards and their copies, and the clients that read and write them through any node.
//
// Shape: shell, simulated.
//
// The log of a shard gives all its writes one order, so each key is a register as in tests/lib/sim_check.h: a write takes
// effect where it stands in the log, once however often it is sent, and behind what was done on its key before it began; a strong
// read sees all that was done on its key before it began. A bounded read sees what its client has seen; any read sees
// something that was committed.
#ifndef OMEN_TESTS_SIM_DATA_H
#define OMEN_TESTS_SIM_DATA_H
#include "tests/lib/sim_copies.h"
#include "tests/lib/sim_hooks.h"
#include "tests/lib/sim_plan.h"

// ---- what copies do ----

static inline void
sim_shard_sum(struct sim *sim, struct sim_shard_history *history, const struct sim_env *env,
              uint64_t seq)
{
    history->sums = sim_grow(history->sums, &history->sum_room, seq + 1, sizeof *history->sums);
    struct sim_sum *sum = &history->sums[seq];
    const struct replica_sum root = sim_table_root(&env->table);
    if (!sum->known)
        *sum = (struct sim_sum){env->sum, root, true};
    SIM_REQUIRE(sim, sum->sum == env->sum && sum->root.low == root.low,
                "I12: copies that applied as much hold the same");
}

static inline void
sim_shard_applied(struct sim *sim, const struct sim_env *env, uint64_t seq)
{
    struct sim_shard_history *own = sim_history(sim, env->env.shard);
    struct sim_shard_history *history = sim_line(sim, own, seq);
    history->rows = sim_grow(history->rows, &history->room, seq + 1, sizeof *history->rows);
    const struct sim_row *row = &env->log[seq];
    struct sim_done *done = &history->rows[seq];
    const uint64_t op = row->op_id.low;
    sim_shard_sum(sim, own, env, seq);
    if (done->known) {
        SIM_REQUIRE(sim, done->term == row->term && done->op == op,
                    "I3, I4: copies apply the same entry at a place");
        return;
    }
    SIM_REQUIRE(sim, seq == history->last + 1, "nobody applies what is behind a gap of a shard");
    SIM_REQUIRE(sim, !history->ended || seq <= history->end,
                "a shard that was cut commits nothing more");
    *done = (struct sim_done){.term = row->term,
                              .op = op,
                              .key = row->bytes[0],
                              .mask = sim_row_mask(row),
                              .known = true,
                              .erased = row->bytes[1] != 0};
    history->last = seq;
    if (op == 0)
        return;
    if (row->op_id.high == SIM_CALL_OPS) {
        sim_call_applied(sim, seq, row);
        return;
    }
    struct sim_write_op *write = &sim->writes[op];
    SIM_REQUIRE(sim, write->seq == 0, "exactly once: an operation is done once");
    write->seq = seq;
    write->shard = history->id;
}

static inline void
sim_shard_stepped(struct sim *sim, uint32_t at, const struct copy *copy)
{
    const struct replica *replica = &copy->replica;
    (void)at;
    if (replica->role != REPLICA_PRIMARY && replica->role != REPLICA_OPENING)
        return;
    struct sim_shard_history *history = sim_history(sim, copy->env.shard);
    const uint64_t term = replica->promised;
    history->primaries =
        sim_grow(history->primaries, &history->primary_room, term + 1, sizeof *history->primaries);
    if (replica_uuid_is_none(history->primaries[term])) {
        history->primaries[term] = replica->config.uuid;
        history->opened++;
    }
    SIM_REQUIRE(sim, replica_uuid_equal(history->primaries[term], replica->config.uuid),
                "I1: a term of a shard has one primary");
}

static inline const struct sim_env *
sim_env_anywhere(struct sim *sim, struct cluster_uuid uuid)
{
    for (uint32_t i = 0; i < sim->options.nodes; i++) {
        const struct sim_env *env = sim_env_find(&sim->nodes[i], uuid);
        if (env != NULL)
            return env;
    }
    return NULL;
}

// The newest map that anybody has applied.
static inline const struct map *
sim_newest_map(const struct sim *sim)
{
    const struct map *newest = NULL;
    for (uint32_t i = 0; i < sim->options.nodes; i++)
        if (sim->nodes[i].up &&
            (newest == NULL || sim->nodes[i].turn.map.version > newest->version))
            newest = &sim->nodes[i].turn.map;
    return newest;
}

// I2, against the disks. An environment that is being made has nothing that could count, nor has one of a child that does not answer.
static inline void
sim_check_acked(struct sim *sim, struct sim_shard_history *history, uint64_t from)
{
    const struct map *map = sim_newest_map(sim);
    const struct shard *shard = map != NULL ? map_shard(map, history->id) : NULL;
    if (shard == NULL || map->version < sim->map_seen)
        return; // those who know a newer one are down
    sim->map_seen = map->version;
    if (!shard_is_routed(shard))
        return;
    for (uint32_t i = 0; i < shard->replica_count; i++) {
        if (shard->replicas[i].role != MAP_REPLICA_IN_SYNC)
            continue;
        const struct sim_env *env = sim_env_anywhere(sim, shard->replicas[i].uuid);
        for (uint64_t seq = from; env != NULL && seq <= history->acked_max; seq++) {
            const struct sim_done *done = sim_done_at(sim, history, seq);
            SIM_REQUIRE(sim,
                        !done->acked || (seq <= env->last_seq && env->rows[seq].term == done->term),
                        "I2: what was acknowledged is on the disk of every copy in sync");
        }
    }
}

// ---- answers ----

static inline void
sim_reply(struct sim *sim, uint32_t at, const struct sim_request *request)
{
    for (uint32_t copies = sim_copies(sim, at, request->router); copies > 0; copies--)
        sim_push(&sim->heap, (struct sim_event){.at_ns = sim->now_ns + sim_delay(sim),
                                                .kind = SIM_REPLY,
                                                .at = request->router,
                                                .from = at,
                                                .packet = sim_copy(request, sizeof *request)});
}

// Of the request under way with that number; NULL: it is nobody's any more.
static inline struct sim_data_client *
sim_waiting(struct sim *sim, uint64_t id)
{
    struct sim_data_client *client = &sim->data[id % SIM_DATA_CLIENTS];
    return client->busy && client->request.id == id ? client : NULL;
}

// False: the record is bad, so nothing was read.
static inline bool
sim_shard_serve(struct sim *sim, const struct sim_env *env, uint64_t request)
{
    struct sim_data_client *client = sim_waiting(sim, request);
    if (request >= SIM_SUBS_HIGH)
        return sim_sub_serve(sim, env, request);
    if (client == NULL)
        return true;
    client->seen = env->table.cells[client->request.key];
    client->seen_through = env->applied_seq;
    return sim_env_reads(env, client->request.key);
}

static inline void
sim_shard_answer(struct sim *sim, uint32_t at, const struct sim_env *env,
                 const struct replica_answer *answer)
{
    if (answer->request >= SIM_SUBS_HIGH) {
        sim_sub_answer(sim, at, env, answer);
        return;
    }
    struct sim_shard_history *history = sim_history(sim, env->env.shard);
    struct sim_data_client *client = sim_waiting(sim, answer->request);
    const bool read = client != NULL && client->request.kind >= SIM_READ_STRONG;
    if (answer->status == OMEN_OK && answer->outcome == REPLICA_COMMITTED && !read &&
        answer->request != 0 && client != NULL) {
        struct sim_shard_history *line = sim_line(sim, history, answer->seq);
        SIM_REQUIRE(sim, answer->seq <= line->last && line->rows != NULL,
                    "an answer names a place that was reached");
        struct sim_done *done = &line->rows[answer->seq];
        SIM_REQUIRE(sim, done->op == client->request.op,
                    "an answer names the place of its operation");
        SIM_REQUIRE(sim, answer->term == 0 || answer->term == done->term,
                    "an answer names the term of its operation");
        done->acked = true;
        if (answer->seq > history->acked_max)
            history->acked_max = answer->seq;
        sim_check_acked(sim, history, answer->seq);
    }
    if (client == NULL)
        return;
    struct sim_request reply = client->request;
    reply.status = answer->status;
    reply.term = answer->term;
    reply.seq = answer->seq;
    reply.seen = client->seen.seq;
    sim_reply(sim, at, &reply);
}

// ---- a node takes a request ----

static inline void
sim_take_request(struct sim *sim, uint32_t at, const struct sim_request *request)
{
    const struct copy *copy = copies_find(&sim->nodes[at].copies, request->copy);
    struct sim_request reply = *request;
    if (copy == NULL || !copy->made || copy->replica.rotten) {
        reply.status = OMEN_E_STALE_MAP;
        sim_reply(sim, at, &reply);
        return;
    }
    if (request->kind >= SIM_READ_BOUNDED) {
        const struct sim_env *env = sim_env_find(&sim->nodes[at], request->copy);
        reply.seq = env->applied_seq;
        reply.seen = env->table.cells[request->key].seq;
        reply.status = OMEN_OK;
        if (request->kind == SIM_READ_BOUNDED && env->applied_seq < request->token)
            reply.status = OMEN_E_BUSY;
        if (!sim_env_reads(env, request->key)) {
            reply.status = OMEN_E_CORRUPT;
            sim_errand(sim, at, env, (struct sim_errand){.kind = REPLICA_IN_CORRUPT});
        }
        sim_reply(sim, at, &reply);
        return;
    }
    struct replica_input given = {.kind = REPLICA_IN_READ};
    uint8_t bytes[SIM_PAYLOAD_BYTES] = {(uint8_t)request->key, request->kind == SIM_DELETE};
    struct replica_proposal proposal = {.request = request->id,
                                        .op_id = {9, request->op},
                                        .bytes = bytes,
                                        .byte_count = sizeof bytes};
    memcpy(bytes + 8, &request->op, sizeof request->op);
    if (request->kind == SIM_READ_STRONG) {
        given.request = request->id;
    } else {
        given.kind = REPLICA_IN_PROPOSE;
        given.proposals = &proposal;
        given.proposal_count = 1;
        given.cfg_ver = request->cfg_ver;
    }
    sim_replica_step(sim, at, request->copy, given);
}

// ---- clients ----

static inline void
sim_data_think(struct sim *sim, uint32_t c)
{
    const uint32_t think_ms = sim_usual(sim->options.profile->think_ms, 150);
    sim_push(&sim->heap, (struct sim_event){
                             .at_ns = sim->now_ns + SIM_MS * (5 + prng_below(&sim->prng, think_ms)),
                             .kind = SIM_DATA,
                             .at = c});
}

static inline void
sim_data_later(struct sim *sim, uint32_t c, uint64_t ns)
{
    sim_push(&sim->heap, (struct sim_event){.at_ns = sim->now_ns + ns,
                                            .kind = SIM_GIVE_UP,
                                            .at = c,
                                            .number = sim->data[c].tries});
}

static inline const struct shard *
sim_route(const struct map *map, uint32_t slot, uint32_t key)
{
    const uint64_t hash = sim_key_hash(slot, key);
    for (uint32_t i = 0; i < map->shard_count; i++)
        if (shard_is_routed(&map->shards[i]) && map->shards[i].first <= hash &&
            map->shards[i].last >= hash)
            return &map->shards[i];
    return NULL;
}

// Which copy is asked; NULL where the map knows none.
static inline const struct map_replica *
sim_pick_copy(struct sim *sim, const struct shard *shard, enum sim_data_kind kind)
{
    if (kind < SIM_READ_BOUNDED)
        return shard_replica(shard, shard->primary);
    if (shard->replica_count == 0)
        return NULL;
    const struct map_replica *any = &shard->replicas[prng_below(&sim->prng, shard->replica_count)];
    return uuid_is_none(any->uuid) ? NULL : any;
}

static inline void
sim_data_send(struct sim *sim, uint32_t c, uint32_t to)
{
    const struct sim_request *request = &sim->data[c].request;
    for (uint32_t copies = sim_copies(sim, request->router, to); copies > 0; copies--)
        sim_push(&sim->heap, (struct sim_event){.at_ns = sim->now_ns + sim_delay(sim),
                                                .kind = SIM_REQUEST,
                                                .at = to,
                                                .from = request->router,
                                                .packet = sim_copy(request, sizeof *request)});
    const struct sim_profile *profile = sim->options.profile;
    const bool patient = !sim->stopped && sim_chance(sim, profile->patient);
    sim_data_later(sim, c, (patient ? 9000 : sim_usual(profile->patience_ms, 800)) * SIM_MS);
}

// A router whose map is old goes where it went before.
static inline bool
sim_data_by_habit(struct sim *sim, struct sim_data_client *client)
{
    struct sim_request *request = &client->request;
    const struct sim_route *route = &client->routes[client->slot][request->key];
    if (sim->options.profile->sticky == 0 || request->kind >= SIM_READ_BOUNDED || !route->known ||
        sim->stopped || !sim_chance(sim, sim->options.profile->sticky))
        return false;
    request->shard = route->shard;
    request->cfg_ver = route->cfg_ver;
    request->copy = route->copy;
    return true;
}

static inline void
sim_data_try(struct sim *sim, uint32_t c)
{
    struct sim_data_client *client = &sim->data[c];
    struct sim_request *request = &client->request;
    const uint32_t router = prng_below(&sim->prng, sim->options.nodes);
    const struct sim_node *node = &sim->nodes[router];
    client->tries++;
    client->seen = (struct sim_cell){0};
    client->seen_through = 0;
    request->router = router;
    request->id = ++sim->request_serial * SIM_DATA_CLIENTS + c;
    if (sim_data_by_habit(sim, client)) {
        sim_data_send(sim, c, client->routes[client->slot][request->key].to);
        return;
    }
    const struct shard *shard = NULL;
    const struct map_replica *copy = NULL;
    if (node->up && node->paused_until_ns <= sim->now_ns)
        shard = sim_route(&node->turn.map, client->slot, request->key);
    if (shard != NULL && !uuid_is_none(shard->primary))
        copy = sim_pick_copy(sim, shard, request->kind);
    const struct map_node *target = copy != NULL ? map_node(&node->turn.map, copy->node) : NULL;
    if (target == NULL) {
        sim_data_later(sim, c, 50 * SIM_MS);
        return;
    }
    request->shard = shard->id;
    request->cfg_ver = shard->cfg_ver;
    request->copy = copy->uuid;
    const uint32_t to = (uint32_t)target->uuid.low - 1;
    if (request->kind < SIM_READ_BOUNDED)
        client->routes[client->slot][request->key] =
            (struct sim_route){shard->id, shard->cfg_ver, copy->uuid, to, true};
    sim_data_send(sim, c, to);
}

static inline void
sim_data_begin(struct sim *sim, uint32_t c)
{
    struct sim_data_client *client = &sim->data[c];
    if (sim->stopped)
        return;
    const uint32_t draw = prng_below(&sim->prng, 100), strong = sim->options.profile->strong;
    client->busy = true;
    client->slot = prng_below(&sim->prng, SIM_SHARDS);
    client->request = (struct sim_request){.client = c};
    client->request.key = prng_below(&sim->prng, SIM_SHARD_KEYS);
    client->request.kind = draw < strong        ? SIM_READ_STRONG
                           : draw < strong + 10 ? SIM_DELETE
                           : draw < strong + 15 ? SIM_READ_BOUNDED
                           : draw < strong + 20 ? SIM_READ_ANY
                                                : SIM_UPSERT;
    client->request.token = client->tokens[client->slot][client->request.key];
    client->floor = sim->data_floors[client->slot][client->request.key];
    client->begun_at = sim_line_last(sim, client->slot, client->request.key);
    if (client->request.kind <= SIM_DELETE) {
        client->request.op = ++sim->write_count;
        sim->writes =
            sim_grow(sim->writes, &sim->write_room, sim->write_count + 1, sizeof *sim->writes);
    }
    sim_data_try(sim, c);
}

static inline void
sim_data_done(struct sim *sim, uint32_t c, const struct sim_request *reply)
{
    struct sim_data_client *client = &sim->data[c];
    const uint64_t effect = reply->kind <= SIM_DELETE ? reply->seq : reply->seen;
    uint64_t *floor = &sim->data_floors[client->slot][reply->key];
    if (reply->kind <= SIM_DELETE) {
        SIM_REQUIRE(sim, effect > client->floor,
                    "a write of a key comes after all that was done on it before it began");
        SIM_REQUIRE(sim, sim->writes[reply->op].seq == effect, "an answered write is in the log");
        sim->writes[reply->op].done = true;
    } else if (reply->kind == SIM_READ_STRONG) {
        SIM_REQUIRE(sim, effect >= client->floor,
                    "I10: a strong read sees all that was done on its key before it began");
        SIM_REQUIRE(sim, client->seen_through >= client->begun_at,
                    "I10: a strong read sees all that any copy had applied when it began");
    }
    if (reply->kind == SIM_READ_BOUNDED)
        SIM_REQUIRE(sim, reply->seq >= reply->token,
                    "a bounded read sees what its client has seen before");
    if (reply->kind <= SIM_READ_STRONG && effect > *floor)
        *floor = effect;
    uint64_t *token = &client->tokens[client->slot][reply->key];
    if (reply->kind <= SIM_READ_BOUNDED && reply->seq > *token)
        *token = reply->seq;
    sim->data_done[reply->kind]++;
    client->busy = false;
    sim_data_think(sim, c);
}

static inline void
sim_take_reply(struct sim *sim, const struct sim_request *reply)
{
    const struct sim_data_client *client = sim_waiting(sim, reply->id);
    if (client == NULL)
        return;
    const uint32_t c = reply->client;
    if (reply->status == OMEN_OK)
        sim_data_done(sim, c, reply);
    else
        sim_data_later(sim, c, 20 * SIM_MS + prng_below(&sim->prng, 50000000));
}

static inline void
sim_give_up(struct sim *sim, uint32_t c, uint64_t tries)
{
    if (!sim->data[c].busy || sim->data[c].tries != tries)
        return;
    sim->data_retries++;
    sim_data_try(sim, c);
}

// ---- the operator ----

// Of the lease times that were changed, by any clock.
static inline bool
sim_guard_is_over(struct sim *sim)
{
    if (sim->leases_changed_ns == 0)
        sim->leases_changed_ns = sim->now_ns;
    return sim->now_ns - sim->leases_changed_ns > 5 * SIM_SECOND;
}

// Whoever knows the cluster may say it, and say it again.
static inline void
sim_operator(struct sim *sim)
{
    sim_push(&sim->heap,
             (struct sim_event){.at_ns = sim->now_ns + 300 * SIM_MS, .kind = SIM_OPERATOR});
    const uint32_t at = prng_below(&sim->prng, sim->options.nodes);
    struct sim_node *node = &sim->nodes[at];
    if (!node->up || node->paused_until_ns > sim->now_ns)
        return;
    const struct map *map = &node->turn.map;
    static struct command command;
    command.kind = 0;
    uint32_t ready = 0;
    for (uint32_t i = 0; i < map->node_count; i++) {
        ready += map->nodes[i].state == NODE_UP;
        if (map->nodes[i].state != NODE_JOINING)
            continue;
        command = (struct command){.kind = COMMAND_NODE_STATE};
        command.node_state = (struct command_node_state){
            .expected = map->nodes[i].version, .node = map->nodes[i].number, .state = NODE_UP};
    }
    if (command.kind == 0 && sim->options.profile->fast_leases &&
        map->leases.profile != LEASE_FAST) {
        command = (struct command){.kind = COMMAND_LEASE_PROFILE};
        command.lease = (struct command_lease){VERSION_ANY, LEASE_FAST};
    } else if (command.kind == 0 && map->leases.profile != map->leases.previous &&
               sim_guard_is_over(sim)) {
        command = (struct command){.kind = COMMAND_LEASE_SETTLE};
        command.lease = (struct command_lease){VERSION_ANY, map->leases.profile};
    }
    if (command.kind == 0 && ready == sim->options.nodes && map->collection_count == 0) {
        command = (struct command){.kind = COMMAND_COLLECTION_CREATE};
        const bool valid = map_name_set(&command.collection.name, "c", 1);
        ASSERT(valid);
        command.collection.dimension = 8;
        command.collection.links_max = 16;
        command.collection.build_beam = 100;
        command.collection.shards = SIM_SHARDS;
        command.collection.replication = (uint8_t)(2 + sim->options.seed / 2 % 2);
    }
    if (command.kind == 0 && !sim_plan(sim, map, &command))
        command.kind = 0;
    if (command.kind != 0)
        sim_wish(sim, at, &command);
}

// Now and then a log is trimmed, some of it although somebody may want it, and a checksum is asked for.
static inline void
sim_upkeep(struct sim *sim)
{
    if (sim->stopped)
        return;
    const uint32_t at = prng_below(&sim->prng, sim->options.nodes);
    struct sim_node *node = &sim->nodes[at];
    uint32_t slot = prng_below(&sim->prng, SIM_ENVS_MAX);
    for (uint32_t i = 0; i < SIM_ENVS_MAX && !node->envs[slot].used; i++)
        slot = (slot + 1) % SIM_ENVS_MAX;
    struct sim_env *env = &node->envs[slot];
    sim_push(&sim->heap,
             (struct sim_event){.at_ns = sim->now_ns + 20 * SIM_MS, .kind = SIM_UPKEEP});
    const struct copy *copy =
        node->up && env->used ? copies_find(&node->copies, env->env.uuid) : NULL;
    if (copy == NULL || !copy->made || node->paused_until_ns > sim->now_ns)
        return;
    if (copy->replica.halted && !copy->replica.rotten) {
        sim_ask_operator(sim, at, copy);
        return;
    }
    const bool trims = sim_chance(sim, 800);
    struct replica_input given = {.kind = trims ? REPLICA_IN_TRIMMED : REPLICA_IN_CHECKSUM};
    const uint64_t applied = copy->replica.applied_seq, kept = prng_below(&sim->prng, 60);
    if (trims && applied < env->first_seq + kept)
        return;
    given.seq = trims ? applied - kept : 0;
    if (trims) { // what is trimmed was applied for good
        env->first_seq = given.seq > env->first_seq ? given.seq : env->first_seq;
        if (env->first_seq - 1 > env->applied_durable)
            env->applied_durable = env->first_seq - 1;
    }
    sim_replica_step(sim, at, env->env.uuid, given);
}

static inline void
sim_check_shards(struct sim *sim)
{
    for (uint32_t i = 0; i < sim->shard_count; i++)
        sim_check_acked(sim, &sim->shards[i], 1);
}

// After the faults: every shard has all its copies, in sync, open and equal.
static inline void
sim_check_whole(struct sim *sim)
{
    const struct map *map = sim_newest_map(sim);
    SIM_REQUIRE(sim, map->shard_count >= SIM_SHARDS, "the collection is there");
    for (uint32_t s = 0; s < map->shard_count; s++) {
        const struct shard *shard = &map->shards[s];
        const struct map_collection *collection = map_collection(map, shard->collection);
        const struct sim_shard_history *history = sim_history(sim, shard->id);
        SIM_REQUIRE(sim, shard->status == SHARD_OPEN, "without faults every shard is open");
        SIM_REQUIRE(sim,
                    shard_in_sync(shard) == collection->replication &&
                        shard->replica_count == collection->replication,
                    "without faults every shard has all its copies in sync");
        for (uint32_t i = 0; i < shard->replica_count; i++) {
            const struct sim_env *env = sim_env_anywhere(sim, shard->replicas[i].uuid);
            SIM_REQUIRE(sim, env != NULL, "the copies that the map names are there");
            SIM_REQUIRE(sim, env->applied_seq == history->last,
                        "without faults every copy has applied all");
            SIM_REQUIRE(sim, !sim_env_is_rotten(env),
                        "without faults what has rotted is found and made anew");
        }
    }
    for (uint32_t c = 0; c < SIM_DATA_CLIENTS; c++)
        SIM_REQUIRE(sim, !sim->data[c].busy, "without faults every operation on a shard ends");
    for (uint64_t op = 1; op <= sim->write_count; op++)
        SIM_REQUIRE(sim, !sim->writes[op].done || sim->writes[op].seq != 0,
                    "no acknowledged write to a shard is lost");
    sim_check_shards(sim);
}

#include "tests/lib/sim_verify.h" // sim_compare and its like

#endif
