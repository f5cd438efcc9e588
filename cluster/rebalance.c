// cluster/rebalance.c -- one look at the map: who lives, how full each node is, then each part of the plan in turn.
//
// Shape: machine.
#include "cluster/rebalance.h"

#include <string.h>

#include "base/assert.h"
#include "base/text.h"
#include "cluster/rebalance_int.h"

static void note_dead(struct rebalance *rebalance, const struct rebalance_input *input);
static void set_tables(struct plan *plan);
static void set_nodes(struct plan *plan);
static void set_zones(struct rebalance *state, const struct map *map);
static void set_shards(struct plan *plan);
static uint32_t plan_units(const struct plan *plan, uint32_t index);

void
rebalance_init(struct rebalance *rebalance, const struct rebalance_config *config, uint64_t seed)
{
    memset(rebalance, 0, sizeof *rebalance);
    rebalance->config = *config;
    prng_init(&rebalance->prng, seed);
    rebalance->proposed_version = UINT64_MAX;
}

void
rebalance_step(struct rebalance *rebalance, const struct rebalance_input *input,
               struct rebalance_output *output)
{
    ASSERT(input->map->node_count <= MAP_NODES_MAX && input->map->shard_count <= MAP_SHARDS_MAX);
    output->command.kind = 0;
    output->command.op = (struct cluster_uuid){0};
    output->command.time_ms = 0;
    output->command.steps.count = 0;
    memset(output->notes, 0, sizeof output->notes);
    note_dead(rebalance, input);
    if (rebalance->proposed_version == input->map->version &&
        input->now_ns < rebalance->retry_at_ns) {
        output->wake_ns = rebalance->retry_at_ns; // what was proposed has not come back yet
        return;
    }

    struct plan plan = {rebalance, input, input->map, output, false};
    set_tables(&plan);
    plan_promotions(&plan);
    plan_leaving(&plan);
    plan_tidy(&plan);
    plan_repair(&plan);
    plan_moves(&plan);
    plan_primaries(&plan);
    plan_splits(&plan);

    const bool proposes = output->command.steps.count > 0;
    output->command.kind = proposes ? COMMAND_STEPS : 0;
    rebalance->proposed_version = proposes ? input->map->version : UINT64_MAX;
    rebalance->retry_at_ns = input->now_ns + rebalance->config.retry_ns;
    // Two leaders of which one is about to learn that it is none shall not look at the same moment for ever.
    const uint64_t jitter =
        prng_below(&rebalance->prng, 1024) * (rebalance->config.interval_ns / 8192);
    output->wake_ns =
        proposes ? rebalance->retry_at_ns : input->now_ns + rebalance->config.interval_ns + jitter;
}

// ---- who is dead, and for how long ----

static const struct node_health *
health_of(const struct rebalance_input *input, uint32_t node)
{
    uint32_t low = 0, high = input->health_count;
    while (low < high) {
        const uint32_t middle = low + (high - low) / 2;
        if (input->health[middle].node < node)
            low = middle + 1;
        else
            high = middle;
    }
    return low < input->health_count && input->health[low].node == node ? &input->health[low]
                                                                        : NULL;
}

static uint64_t
dead_since(const struct rebalance *rebalance, uint32_t node, uint64_t otherwise)
{
    for (uint32_t i = 0; i < rebalance->dead_count; i++)
        if (rebalance->dead[i].node == node)
            return rebalance->dead[i].since_ns;
    return otherwise;
}

// The new list in the order of the map's nodes, with the times of the old one.
static void
note_dead(struct rebalance *rebalance, const struct rebalance_input *input)
{
    uint32_t count = 0, old = 0;
    struct dead_node next[MAP_NODES_MAX];
    for (uint32_t i = 0; i < input->map->node_count; i++) {
        const uint32_t node = input->map->nodes[i].number;
        const struct node_health *health = health_of(input, node);
        if (health != NULL && health->alive)
            continue;
        while (old < rebalance->dead_count && rebalance->dead[old].node < node)
            old++;
        const bool known = old < rebalance->dead_count && rebalance->dead[old].node == node;
        next[count++] =
            (struct dead_node){node, known ? rebalance->dead[old].since_ns : input->now_ns};
    }
    memcpy(rebalance->dead, next, count * sizeof *next);
    rebalance->dead_count = count;
}

// ---- the tables ----

static void
set_tables(struct plan *plan)
{
    struct rebalance *state = plan->state;
    memset(state->touched, 0, sizeof state->touched);
    state->weight_total = state->load_total = state->primaries_total = 0;
    state->moving = state->transferring = state->splitting = 0;
    set_nodes(plan);
    set_zones(state, plan->map);
    set_shards(plan);
    for (uint32_t i = 0; i < plan->map->node_count; i++) {
        if (!state->nodes[i].eligible)
            continue;
        state->weight_total += state->nodes[i].weight;
        state->load_total += state->nodes[i].load;
        state->primaries_total += state->rows[i].primaries;
    }
}

static void
set_nodes(struct plan *plan)
{
    struct rebalance *state = plan->state;
    for (uint32_t i = 0; i < plan->map->node_count; i++) {
        const struct map_node *node = &plan->map->nodes[i];
        const struct node_health *health = health_of(plan->input, node->number);
        const uint64_t now = plan->input->now_ns;
        const bool alive = health != NULL && health->alive;
        const bool replaced =
            !alive && now - dead_since(state, node->number, now) >= state->config.replace_delay_ns;
        state->rows[i] = (struct rebalance_row){.alive = alive,
                                                .lease_void = health != NULL && health->lease_void,
                                                .leaving = health != NULL && health->leaving,
                                                .disk_low = health != NULL && health->disk_low,
                                                .stays = node->state == NODE_UP && !replaced &&
                                                         (node->roles & NODE_DATA) != 0};
        state->nodes[i] = (struct place_node){.key = place_key(node->uuid),
                                              .number = node->number,
                                              .weight = node->weight,
                                              .disk_low = state->rows[i].disk_low,
                                              .eligible = alive && node->state == NODE_UP &&
                                                          (node->roles & NODE_DATA) != 0};
    }
}

// Zones are numbered in the order in which they appear.
static void
set_zones(struct rebalance *state, const struct map *map)
{
    state->zone_count = 0;
    for (uint32_t i = 0; i < map->node_count; i++) {
        uint32_t zone = 0;
        while (zone < state->zone_count &&
               map_name_compare(&map->nodes[state->zone_row[zone]].zone, &map->nodes[i].zone) != 0)
            zone++;
        if (zone == state->zone_count) {
            state->zone_row[zone] = (uint16_t)i;
            state->zone_eligible[zone] = false;
            state->zone_count++;
        }
        state->nodes[i].zone = (uint16_t)zone;
        state->zone_eligible[zone] |= state->nodes[i].eligible;
    }
}

// A copy that leaves does not count where it is, and one that comes does: the tables are those of the map when everything that is
// under way has arrived, so that nothing is planned twice.
static void
set_shards(struct plan *plan)
{
    struct rebalance *state = plan->state;
    for (uint32_t s = 0; s < plan->map->shard_count; s++) {
        const struct map_shard *shard = &plan->map->shards[s];
        if (!shard_is_routed(shard))
            continue;
        const uint32_t units = plan_units(plan, s);
        for (uint32_t i = 0; i < shard->replica_count; i++)
            if (!shard->replicas[i].leaving)
                state->nodes[plan_row(plan, shard->replicas[i].node)].load += units;
        const bool wanted = !uuid_is_none(shard->wanted);
        const struct map_replica *primary =
            shard_replica(shard, wanted ? shard->wanted : shard->primary);
        if (primary != NULL)
            state->rows[plan_row(plan, primary->node)].primaries++;
        state->transferring += wanted;
        state->splitting += shard->status == SHARD_SPLITTING;
        state->moving += shard->status != SHARD_CREATING && plan_look(plan, s).on_their_way > 0;
    }
}

// ---- what the parts share ----

uint32_t
plan_row(const struct plan *plan, uint32_t node)
{
    const struct map_node *row = map_node(plan->map, node);
    ASSERT(row != NULL); // map_verify
    return (uint32_t)(row - plan->map->nodes);
}

static uint32_t
plan_units(const struct plan *plan, uint32_t index)
{
    if (plan->input->units == NULL || plan->input->units[index] == 0)
        return 1;
    return plan->input->units[index] < PLACE_UNITS_MAX ? plan->input->units[index]
                                                       : PLACE_UNITS_MAX;
}

bool
plan_stays(const struct plan *plan, const struct map_replica *replica)
{
    const struct rebalance_row *row = &plan->state->rows[plan_row(plan, replica->node)];
    return row->stays && !replica->leaving;
}

bool
plan_is_alive(const struct plan *plan, const struct map_replica *replica)
{
    return plan->state->rows[plan_row(plan, replica->node)].alive;
}

struct outlook
plan_look(const struct plan *plan, uint32_t index)
{
    const struct map_shard *shard = &plan->map->shards[index];
    const struct map_collection *collection = map_collection(plan->map, shard->collection);
    ASSERT(collection != NULL); // map_verify
    struct outlook look = {.shard = shard,
                           .index = index,
                           .replication = collection->replication,
                           .units = plan_units(plan, index)};
    for (uint32_t i = 0; i < shard->replica_count; i++) {
        const struct map_replica *replica = &shard->replicas[i];
        if (!plan_stays(plan, replica)) {
            look.leaving++;
            continue;
        }
        look.staying++;
        look.on_their_way += replica->role != MAP_REPLICA_IN_SYNC;
        look.safe += replica->role == MAP_REPLICA_IN_SYNC && plan_is_alive(plan, replica);
    }
    return look;
}

uint32_t
plan_members(const struct plan *plan, const struct map_shard *shard, const struct map_replica *but,
             uint32_t *rows)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < shard->replica_count; i++)
        if (&shard->replicas[i] != but && plan_stays(plan, &shard->replicas[i]))
            rows[count++] = plan_row(plan, shard->replicas[i].node);
    return count;
}

bool
plan_is_touched(const struct plan *plan, uint32_t index)
{
    return (plan->state->touched[index / 64] >> (index % 64) & 1) != 0;
}

void
plan_touch(struct plan *plan, uint32_t index)
{
    plan->state->touched[index / 64] |= 1ull << (index % 64);
}

bool
plan_add(struct plan *plan, uint32_t index, struct shard_step step, uint32_t later)
{
    struct command_steps *steps = &plan->output->command.steps;
    if (steps->count == COMMAND_STEPS_MAX) {
        plan->full = true;
        return false;
    }
    step.shard = plan->map->shards[index].id;
    step.cfg_ver = plan->map->shards[index].cfg_ver + later;
    steps->steps[steps->count++] = step;
    plan_touch(plan, index);
    return true;
}

void
plan_note(struct plan *plan, enum rebalance_note note)
{
    plan->output->notes[note]++;
}

void
rebalance_check(const struct rebalance *rebalance)
{
    ASSERT(rebalance->dead_count <= MAP_NODES_MAX);
    for (uint32_t i = 1; i < rebalance->dead_count; i++)
        ASSERT(rebalance->dead[i - 1].node < rebalance->dead[i].node);
    ASSERT(rebalance->zone_count <= MAP_NODES_MAX);
}

void
rebalance_describe(const struct rebalance *rebalance, char *line, size_t capacity)
{
    struct text text;
    text_init(&text, line, capacity);
    text_add(&text, "rebalance moving=%u transferring=%u splitting=%u dead=", rebalance->moving,
             rebalance->transferring, rebalance->splitting);
    for (uint32_t i = 0; i < rebalance->dead_count; i++)
        text_add(&text, i > 0 ? ",%u" : "%u", rebalance->dead[i].node);
}
