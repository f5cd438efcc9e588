// cluster/plan_move.c -- copies that lie better elsewhere: zones first, then loads; and primaries.
//
// Shape: value over the machine's state.
//
// Moving s units from A to B makes the sum of load^2 / weight smaller exactly when (2 A - s) / wA > (2 B + s) / wB. With equal weights
// and sizes that is A - B > 1: what differs by one copy stays, so nothing moves to and fro. The slack is subtracted
// on top, because loads that were measured tremble.
#include "cluster/rebalance_int.h"

__extension__ typedef unsigned __int128 wide;

static bool move_for_zones(struct plan *plan);
static bool move_for_load(struct plan *plan);

void
plan_moves(struct plan *plan)
{
    while (plan->state->moving < plan->state->config.moves_max && !plan->full)
        if (!move_for_zones(plan))
            break;
    while (plan->state->moving < plan->state->config.moves_max && !plan->full)
        if (!move_for_load(plan))
            break;
}

struct share {
    uint64_t load;
    uint16_t weight;
};

struct levelling {
    uint64_t total, weights; // of all
    uint32_t units, slack_permille;
};

static bool
is_worth_it(struct share from, struct share to, const struct levelling *all)
{
    if (from.load < all->units)
        return false;
    const wide before = (wide)(2 * from.load - all->units) * to.weight;
    const wide after = (wide)(2 * to.load + all->units) * from.weight;
    const wide slack = all->weights == 0 ? 0
                                         : (wide)all->total * all->slack_permille * from.weight *
                                               to.weight / ((wide)all->weights * 1000);
    return before > after + slack;
}

// Only a shard where nothing else is going on.
static bool
is_calm(const struct plan *plan, const struct outlook *look)
{
    return look->shard->status == SHARD_OPEN && !plan_is_touched(plan, look->index) &&
           look->leaving == 0 && look->on_their_way == 0 && look->staying == look->replication &&
           look->safe == look->replication && uuid_is_none(look->shard->wanted) &&
           look->shard->replica_count < SHARD_REPLICAS_MAX;
}

static bool
load_is_worth_it(const struct plan *plan, uint32_t from, uint32_t to, uint32_t units)
{
    const struct rebalance *state = plan->state;
    const struct levelling all = {state->load_total, state->weight_total, units,
                                  state->config.slack_permille};
    const struct place_node *a = &state->nodes[from], *b = &state->nodes[to];
    return is_worth_it((struct share){a->load, a->weight}, (struct share){b->load, b->weight},
                       &all);
}

// Where the copy lies better, or PLACE_NONE.
static uint32_t
better_place(const struct plan *plan, const struct outlook *look, const struct map_replica *replica)
{
    const struct rebalance *state = plan->state;
    uint32_t rows[SHARD_REPLICAS_MAX];
    const uint32_t others = plan_members(plan, look->shard, replica, rows);
    const uint32_t from = plan_row(plan, replica->node);
    const struct place_query query = {look->shard->id, rows, others, look->units, NULL, 0};
    const uint32_t to = place_pick(state->nodes, plan->map->node_count, &query);
    if (to == PLACE_NONE || to == from || state->nodes[to].disk_low)
        return PLACE_NONE;
    uint32_t beside_from = 0, beside_to = 0;
    for (uint32_t i = 0; i < others; i++) {
        beside_from += state->nodes[rows[i]].zone == state->nodes[from].zone;
        beside_to += state->nodes[rows[i]].zone == state->nodes[to].zone;
    }
    if (beside_to < beside_from ||
        (beside_to == beside_from && load_is_worth_it(plan, from, to, look->units)))
        return to;
    return PLACE_NONE;
}

static bool
move_to(struct plan *plan, const struct outlook *look, const struct map_replica *replica,
        uint32_t to)
{
    struct rebalance *state = plan->state;
    const struct shard_step step = {
        .kind = STEP_MOVE, .node = state->nodes[to].number, .from = replica->node};
    if (!plan_add(plan, look->index, step, 0))
        return false;
    state->nodes[plan_row(plan, replica->node)].load -= look->units;
    state->nodes[to].load += look->units;
    state->moving++;
    plan_note(plan, REBALANCE_MOVED);
    return true;
}

// Whether two of a shard's copies share a zone while another zone could have one.
static bool
zones_are_uneven(const struct plan *plan, const struct outlook *look)
{
    const struct rebalance *state = plan->state;
    uint32_t rows[SHARD_REPLICAS_MAX], most = 0, least = UINT32_MAX;
    const uint32_t count = plan_members(plan, look->shard, NULL, rows);
    for (uint32_t i = 0; i < count; i++) {
        uint32_t same = 0;
        for (uint32_t j = 0; j < count; j++)
            same += state->nodes[rows[i]].zone == state->nodes[rows[j]].zone;
        most = same > most ? same : most;
    }
    for (uint32_t zone = 0; zone < state->zone_count && most > 1; zone++) {
        uint32_t here = 0;
        for (uint32_t i = 0; i < count; i++)
            here += state->nodes[rows[i]].zone == zone;
        if (state->zone_eligible[zone] && here < least)
            least = here;
    }
    return most > 1 && least < most - 1;
}

// Of the copies that share their zone with the most others, the one on the fullest node.
static const struct map_replica *
crowded_copy(const struct plan *plan, const struct outlook *look)
{
    const struct rebalance *state = plan->state;
    const struct map_replica *crowded = NULL;
    uint32_t most = 0;
    uint64_t fullest = 0;
    for (uint32_t i = 0; i < look->shard->replica_count; i++) {
        const struct map_replica *replica = &look->shard->replicas[i];
        uint32_t rows[SHARD_REPLICAS_MAX], beside = 0;
        const uint32_t row = plan_row(plan, replica->node);
        const uint32_t others = plan_members(plan, look->shard, replica, rows);
        for (uint32_t m = 0; m < others; m++)
            beside += state->nodes[rows[m]].zone == state->nodes[row].zone;
        const uint64_t fill = place_fill(&state->nodes[row], 0);
        if (crowded == NULL || beside > most || (beside == most && fill > fullest)) {
            crowded = replica;
            most = beside;
            fullest = fill;
        }
    }
    return crowded;
}

static bool
move_for_zones(struct plan *plan)
{
    for (uint32_t s = 0; s < plan->map->shard_count; s++) {
        const struct outlook look = plan_look(plan, s);
        if (!is_calm(plan, &look) || !zones_are_uneven(plan, &look))
            continue;
        const struct map_replica *replica = crowded_copy(plan, &look);
        const uint32_t to = better_place(plan, &look, replica);
        if (to != PLACE_NONE)
            return move_to(plan, &look, replica, to);
    }
    return false;
}

// One copy off this node: to the emptiest node that any of its copies can go to, since a copy that goes to another leaves that
// one to be filled by somebody else, which may be a move more than it takes. Of these, one that is not primary: it
// goes without a handing over. No node is emptier than `emptiest`.
static bool
move_off(struct plan *plan, uint32_t from, uint32_t emptiest)
{
    const struct rebalance *state = plan->state;
    const uint32_t node = state->nodes[from].number;
    const uint64_t least_fill = place_fill(&state->nodes[emptiest], 0);
    struct outlook best = {0};
    uint32_t best_to = PLACE_NONE;
    uint64_t best_fill = UINT64_MAX;
    bool best_leads = false;
    for (uint32_t s = 0; s < plan->map->shard_count; s++) {
        const struct map_replica *replica = shard_replica_on(&plan->map->shards[s], node);
        if (replica == NULL)
            continue;
        const struct outlook look = plan_look(plan, s);
        if (!is_calm(plan, &look))
            continue;
        const uint32_t to = better_place(plan, &look, replica);
        if (to == PLACE_NONE)
            continue;
        const bool leads = uuid_equal(replica->uuid, look.shard->primary);
        const uint64_t fill = place_fill(&state->nodes[to], 0);
        if (fill > best_fill || (fill == best_fill && leads >= best_leads))
            continue;
        best = look;
        best_to = to;
        best_fill = fill;
        best_leads = leads;
        if (!leads && fill == least_fill)
            break;
    }
    return best_to != PLACE_NONE &&
           move_to(plan, &best, shard_replica_on(best.shard, node), best_to);
}

// Whether a node is above its share even without one of its units.
static bool
has_surplus(const struct rebalance *state, uint32_t row)
{
    const struct place_node *node = &state->nodes[row];
    return node->load > 0 &&
           (wide)(node->load - 1) * state->weight_total >= (wide)state->load_total * node->weight;
}

// The fullest node gives. When it cannot, because its copies lie on all emptier nodes or are on their way, the next gives what is
// above its share; what would bring it below waits for what is on its way, which may let the fullest give after all.
static bool
move_for_load(struct plan *plan)
{
    const struct rebalance *state = plan->state;
    const uint32_t count = plan->map->node_count;
    bool tried[MAP_NODES_MAX] = {false};
    uint32_t emptiest = PLACE_NONE;
    for (uint32_t i = 0; i < count; i++)
        if (state->nodes[i].eligible &&
            (emptiest == PLACE_NONE ||
             place_fill(&state->nodes[i], 0) < place_fill(&state->nodes[emptiest], 0)))
            emptiest = i;
    bool is_blocked = false;
    for (;;) {
        uint32_t fullest = PLACE_NONE;
        for (uint32_t i = 0; i < count; i++)
            if (state->nodes[i].eligible && !tried[i] &&
                (fullest == PLACE_NONE ||
                 place_fill(&state->nodes[i], 0) > place_fill(&state->nodes[fullest], 0)))
                fullest = i;
        if (fullest == PLACE_NONE || !load_is_worth_it(plan, fullest, emptiest, 1))
            return false;
        if (is_blocked && state->moving > 0 && !has_surplus(state, fullest))
            return false;
        if (move_off(plan, fullest, emptiest))
            return true;
        tried[fullest] = true;
        is_blocked = true;
    }
}

// ---- primaries ----

static const struct map_replica *
better_primary(const struct plan *plan, const struct outlook *look, uint32_t from)
{
    const struct rebalance *state = plan->state;
    const struct levelling all = {state->primaries_total, state->weight_total, 1,
                                  state->config.slack_permille};
    const struct share old = {state->rows[from].primaries, state->nodes[from].weight};
    const struct map_replica *best = NULL;
    for (uint32_t i = 0; i < look->shard->replica_count; i++) {
        const struct map_replica *replica = &look->shard->replicas[i];
        const uint32_t row = plan_row(plan, replica->node);
        const struct share new = {state->rows[row].primaries, state->nodes[row].weight};
        if (row == from || state->rows[row].lease_void || state->rows[row].leaving ||
            state->rows[row].disk_low || !is_worth_it(old, new, &all))
            continue;
        const uint32_t best_row = best != NULL ? plan_row(plan, best->node) : 0;
        if (best == NULL ||
            new.load * state->nodes[best_row].weight < state->rows[best_row].primaries *new.weight)
            best = replica;
    }
    return best;
}

// A wish whose object has died, or is about to end, is taken back: the primary would wait for it.
static void
take_back(struct plan *plan, uint32_t s)
{
    const struct map_shard *shard = &plan->map->shards[s];
    const struct map_replica *wanted = shard_replica(shard, shard->wanted);
    if (wanted != NULL &&
        (!plan_is_alive(plan, wanted) || plan->state->rows[plan_row(plan, wanted->node)].leaving))
        plan_add(plan, s, (struct shard_step){.kind = STEP_PREFER}, 0);
}

void
plan_primaries(struct plan *plan)
{
    struct rebalance *state = plan->state;
    for (uint32_t s = 0; s < plan->map->shard_count && !plan->full; s++) {
        if (plan_is_touched(plan, s))
            continue;
        take_back(plan, s);
        const struct outlook look = plan_look(plan, s);
        const struct map_replica *primary = shard_replica(look.shard, look.shard->primary);
        if (state->transferring >= state->config.transfers_max || !is_calm(plan, &look) ||
            primary == NULL)
            continue;
        const uint32_t from = plan_row(plan, primary->node);
        const struct map_replica *better = better_primary(plan, &look, from);
        if (better == NULL ||
            !plan_add(plan, s, (struct shard_step){.kind = STEP_PREFER, .replica = better->uuid},
                      0))
            continue;
        state->rows[from].primaries--;
        state->rows[plan_row(plan, better->node)].primaries++;
        state->transferring++;
        plan_note(plan, REBALANCE_PREFERRED);
    }
}
