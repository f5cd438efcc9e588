// tests/lib/sim_serve.h -- a node takes what routers send it: reads out of what a copy has applied, writes into its log.
//
// Shape: shell, simulated.
//
// The search of a shard is exact: the k nearest of its points that are there. What matters is which state it is of: the
// reply's token names it, and tests/lib/sim_caller_check.h looks it up in the shard's history.
#ifndef OMEN_TESTS_SIM_SERVE_H
#define OMEN_TESTS_SIM_SERVE_H
#include "node/admit.h"
#include "router/claim.h"
#include "tests/lib/sim_router.h"

_Static_assert(SIM_SHARDS == 2 && SIM_SHARD_KEYS <= 4,
               "each first shard has one half of the hashes");

static inline uint64_t
sim_point_hash(uint32_t point)
{
    return sim_key_hash(point / SIM_SHARD_KEYS, point % SIM_SHARD_KEYS);
}

static inline bool
sim_point_within(uint32_t point, uint64_t first, uint64_t last)
{
    const uint64_t hash = sim_point_hash(point);
    return hash >= first && hash <= last;
}

// With ties.
static inline float
sim_point_distance(uint32_t point, uint64_t query)
{
    return (float)(mix64(point * 977 + query) % 6);
}

// Takes its place among the nearest; beyond k nobody stays.
static inline uint32_t
sim_hit_add(struct merge_hit *hits, uint32_t count, uint32_t k, struct merge_hit hit)
{
    uint32_t at = count;
    for (; at > 0; at--) {
        const struct merge_hit *before = &hits[at - 1];
        if (before->distance < hit.distance ||
            (before->distance == hit.distance && before->number < hit.number))
            break;
    }
    if (at == k)
        return count;
    count = count < k ? count + 1 : k;
    memmove(hits + at + 1, hits + at, (count - at - 1) * sizeof *hits);
    hits[at] = hit;
    return count;
}

// ---- replies ----

static inline void
sim_sub_reply(struct sim *sim, uint32_t at, const struct sim_sub *sub, struct sim_sub_reply *reply)
{
    uint32_t waiting = 0;
    for (const struct sim_sub *other = sim->routers->places[at].subs; other != NULL;
         other = other->next)
        waiting++;
    reply->life = sub->life;
    reply->reply.request = sub->send.request;
    reply->reply.part = sub->send.part;
    reply->reply.attempt = sub->send.attempt;
    reply->reply.queue = waiting;
    reply->reply.map_version = sim_map(&sim->nodes[at])->version;
    sim->routers->refused += reply->reply.status == OMEN_E_STALE_MAP;
    for (uint32_t copies = sim_copies(sim, at, sub->place); copies > 0; copies--)
        sim_router_send(sim, SIM_SUB_REPLY, at, sub->place, reply, sizeof *reply);
}

static inline void
sim_sub_refuse(struct sim *sim, uint32_t at, const struct sim_sub *sub, omen_status status)
{
    struct sim_sub_reply reply = {.reply.status = status};
    sim_sub_reply(sim, at, sub, &reply);
}

// Whether all that it looks at is good.
static inline bool
sim_sub_reads(const struct sim_env *env, const struct sim_sub *sub)
{
    bool good = true;
    for (uint32_t i = 0; i < sub->send.item_count; i++)
        good = good && sim_env_reads(env, sub->points[i] % SIM_SHARD_KEYS);
    for (uint32_t key = 0; sub->send.kind == FANOUT_SEARCH && key < SIM_SHARD_KEYS; key++)
        good = good && sim_env_reads(env, key);
    return good;
}

static inline void
sim_sub_read(const struct sim_env *env, const struct sim_sub *sub, struct sim_sub_reply *reply)
{
    const uint32_t slot = (uint32_t)(sub->send.first >> 63);
    *reply = (struct sim_sub_reply){.item_count = sub->send.item_count};
    reply->reply.seq = env->applied_seq;
    reply->reply.term = env->applied_seq > 0 ? env->log[env->applied_seq].term : 0;
    for (uint32_t i = 0; i < sub->send.item_count; i++) {
        const struct sim_cell *cell = &env->table.cells[sub->points[i] % SIM_SHARD_KEYS];
        reply->items[i] = sub->items[i];
        reply->seen[i] = cell->seq;
        reply->statuses[i] = cell->seq == 0 || cell->erased ? OMEN_E_NOT_FOUND : OMEN_OK;
    }
    for (uint32_t key = 0; sub->send.kind == FANOUT_SEARCH && key < SIM_SHARD_KEYS; key++) {
        const uint32_t point = slot * SIM_SHARD_KEYS + key;
        if (env->table.cells[key].seq == 0 || env->table.cells[key].erased ||
            !sim_point_within(point, sub->send.first, sub->send.last))
            continue;
        reply->reply.hits.count =
            sim_hit_add(reply->hits, reply->reply.hits.count, sub->k,
                        (struct merge_hit){.distance = sim_point_distance(point, sub->query),
                                           .number = point,
                                           .version = env->table.cells[key].seq});
    }
}

// ---- sub-requests that wait for a replica ----

static inline struct sim_sub *
sim_sub_find(const struct sim_place *place, uint64_t id)
{
    struct sim_sub *sub = place->subs;
    while (sub != NULL && sub->id != id)
        sub = sub->next;
    return sub;
}

static inline void
sim_sub_free(struct sim_place *place, struct sim_sub *sub)
{
    struct sim_sub **link = &place->subs;
    while (*link != sub)
        link = &(*link)->next;
    *link = sub->next;
    free(sub->ready);
    free(sub);
}

void
sim_subs_dropped(struct sim *sim, uint32_t at, struct cluster_uuid copy)
{
    struct sim_place *place = &sim->routers->places[at];
    struct sim_sub *next;
    for (struct sim_sub *sub = place->subs; sub != NULL; sub = next) {
        next = sub->next;
        if (sub->send.copy_high == copy.high && sub->send.copy_low == copy.low)
            sim_sub_free(place, sub);
    }
}

// A replica says that this strong read is to be done now; it may say so again.
bool
sim_sub_serve(struct sim *sim, const struct sim_env *env, uint64_t request)
{
    struct sim_sub *sub = NULL;
    for (uint32_t i = 0; i < sim->options.nodes && sub == NULL; i++)
        sub = sim_sub_find(&sim->routers->places[i], request);
    if (sub == NULL)
        return true;
    if (!sim_sub_reads(env, sub))
        return false;
    if (sub->ready == NULL)
        sub->ready = malloc(sizeof *sub->ready);
    ASSERT(sub->ready != NULL);
    sim_sub_read(env, sub, sub->ready);
    return true;
}

static inline void
sim_sub_acked(struct sim *sim, const struct sim_env *env, const struct sim_sub *sub,
              const struct replica_answer *answer)
{
    struct sim_shard_history *history = sim_history(sim, env->env.shard);
    struct sim_shard_history *line = sim_line(sim, history, answer->seq);
    SIM_REQUIRE(sim, answer->seq <= line->last && line->rows != NULL,
                "an answer names a place that was reached");
    struct sim_done *done = &line->rows[answer->seq];
    SIM_REQUIRE(sim, done->op == sub->op, "an answer names the place of its operation");
    SIM_REQUIRE(sim, answer->term == 0 || answer->term == done->term,
                "an answer names the term of its operation");
    done->acked = true;
    if (answer->seq > history->acked_max)
        history->acked_max = answer->seq;
    sim_check_acked(sim, history, answer->seq);
}

void
sim_sub_answer(struct sim *sim, uint32_t at, const struct sim_env *env,
               const struct replica_answer *answer)
{
    struct sim_place *place = &sim->routers->places[at];
    struct sim_sub *sub = sim_sub_find(place, answer->request);
    if (sub == NULL)
        return; // nobody waits for it any more
    if (answer->status != OMEN_OK) {
        sim_sub_refuse(sim, at, sub, answer->status);
    } else if (sub->send.kind == FANOUT_WRITE) {
        struct sim_sub_reply reply = {.item_count = sub->send.item_count};
        reply.reply.term = answer->term;
        reply.reply.seq = answer->seq;
        sim_sub_acked(sim, env, sub, answer);
        sim_sub_reply(sim, at, sub, &reply);
    } else {
        ASSERT(sub->ready != NULL);
        SIM_REQUIRE(sim, sub->ready->reply.seq >= sub->send.after_seq,
                    "a strong read sees every state that a client has a token of");
        sim_sub_reply(sim, at, sub, sub->ready);
    }
    sim_sub_free(place, sub);
}

static inline void
sim_sub_propose(struct sim *sim, uint32_t at, const struct sim_sub *sub)
{
    const uint32_t slot = sub->points[0] / SIM_SHARD_KEYS;
    uint8_t bytes[SIM_PAYLOAD_BYTES] = {0, sub->erases, (uint8_t)slot, sub->kind};
    for (uint32_t i = 0; i < sub->send.item_count; i++)
        bytes[0] |= (uint8_t)(1u << sub->points[i] % SIM_SHARD_KEYS);
    memcpy(bytes + 8, &sub->op, sizeof sub->op);
    const struct replica_proposal proposal = {.request = sub->id,
                                              .op_id = {sub->send.op_id.high, sub->send.op_id.low},
                                              .bytes = bytes,
                                              .byte_count = sizeof bytes};
    struct replica_input given = {.kind = REPLICA_IN_PROPOSE};
    given.proposals = &proposal;
    given.proposal_count = 1;
    given.cfg_ver = sub->send.cfg_ver;
    sim_replica_step(sim, at, (struct cluster_uuid){sub->send.copy_high, sub->send.copy_low},
                     given);
}

// Whether the shard has points of the other kind. Where the map has the collection's kind no write comes to that.
static inline bool
sim_sub_differs(struct sim *sim, uint32_t at, const struct sim_sub *sub)
{
    const struct cluster_uuid copy = {sub->send.copy_high, sub->send.copy_low};
    const struct sim_env *env = sim_env_find(&sim->nodes[at], copy);
    for (uint32_t key = 0; key < SIM_SHARD_KEYS; key++) {
        const uint64_t seq = env->table.cells[key].seq;
        if (seq == 0 || env->log[seq].bytes[3] == sub->kind)
            continue;
        const uint64_t id = sim_history(sim, env->env.shard)->collection;
        SIM_REQUIRE(sim, sim_collection(sim, id)->known == MAP_IDS_UNKEPT,
                    "no shard has to refuse a write for its kind of ids where the map has it");
        return true;
    }
    return false;
}

// True: the packet is the node's from now on.
static inline bool
sim_sub_take(struct sim *sim, uint32_t at, struct sim_sub *sub)
{
    struct sim_place *place = &sim->routers->places[at];
    const struct admission admission = copies_admit(&sim->nodes[at].copies, &sub->send);
    const struct cluster_uuid copy = {sub->send.copy_high, sub->send.copy_low};
    if (admission.how == ADMIT_REFUSE) {
        sim_sub_refuse(sim, at, sub, admission.status);
        return false;
    }
    if (admission.how == ADMIT_SERVE) {
        struct sim_sub_reply reply;
        const struct sim_env *env = sim_env_find(&sim->nodes[at], copy);
        if (!sim_sub_reads(env, sub)) {
            sim_errand(sim, at, env, (struct sim_errand){.kind = REPLICA_IN_CORRUPT});
            sim_sub_refuse(sim, at, sub, OMEN_E_CORRUPT);
            return false;
        }
        sim_sub_read(env, sub, &reply);
        sim_sub_reply(sim, at, sub, &reply);
        return false;
    }
    if (admission.how == ADMIT_WRITE && sim_sub_differs(sim, at, sub)) {
        sim_sub_refuse(sim, at, sub, OMEN_E_ID_KIND);
        return false;
    }
    sub->id = ++sim->routers->serial;
    sub->next = place->subs;
    place->subs = sub;
    if (admission.how == ADMIT_WRITE) {
        sim_sub_propose(sim, at, sub);
        return true;
    }
    struct replica_input given = {.kind = REPLICA_IN_READ};
    given.request = sub->id;
    sim_replica_step(sim, at, copy, given);
    return true;
}

static inline void
sim_sub_cancel(struct sim *sim, uint32_t at, const struct sim_sub_cancel *packet)
{
    struct sim_place *place = &sim->routers->places[at];
    struct sim_sub *sub = place->subs;
    while (sub != NULL &&
           (sub->place != packet->place || sub->life != packet->life ||
            sub->send.request != packet->cancel.request || sub->send.part != packet->cancel.part ||
            sub->send.attempt != packet->cancel.attempt))
        sub = sub->next;
    if (sub != NULL)
        sim_sub_free(place, sub);
}

// ---- back at the router ----

// The number of a node in the router's table: the bus knows who is at the other end, whatever a message says. 0: nobody.
static inline uint32_t
sim_place_number(const struct sim_place *place, uint32_t node)
{
    for (uint32_t i = 1; place->table != NULL && i < SIM_NUMBERS_MAX; i++)
        if (place->table->places[i] == node + 1)
            return i;
    return 0;
}

// True: the packet is the request's from now on.
static inline bool
sim_sub_hear(struct sim *sim, uint32_t at, uint32_t from, struct sim_sub_reply *packet)
{
    const struct sim_place *place = &sim->routers->places[at];
    if (packet->life != place->life)
        return false; // that process is no more
    packet->reply.node = sim_place_number(place, from);
    packet->reply.hits.hits = packet->hits;
    packet->reply.statuses = packet->item_count > 0 ? packet->statuses : NULL;
    packet->reply.item_count = packet->item_count;
    return sim_router_step(sim, at,
                           (struct fanout_input){.kind = FANOUT_IN_REPLY, .reply = &packet->reply},
                           NULL, packet);
}

#endif
