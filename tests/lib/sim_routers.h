// tests/lib/sim_routers.h -- the routers of a simulation from its beginning to its end: their events, and what is left at the end.
//
// Shape: shell, simulated.
#ifndef OMEN_TESTS_SIM_ROUTERS_H
#define OMEN_TESTS_SIM_ROUTERS_H
#include "tests/lib/sim_caller.h"

void
sim_routers_open(struct sim *sim)
{
    struct sim_routers *routers = calloc(1, sizeof *routers);
    ASSERT(routers != NULL);
    sim->routers = routers;
    prng_init(&routers->prng, mix64(sim->options.seed + 0x726f75746572));
    routers->callers = calloc(SIM_CALLERS, sizeof *routers->callers);
    ASSERT(routers->callers != NULL);
    routers->count = sim->options.nodes + 1;
    routers->places[sim->options.nodes].rate = 950 + sim_caller_draw(sim, 101);
    const bool kinds = sim->options.profile->kinds > 0;
    for (uint32_t c = 0; c < SIM_CALLERS - (kinds ? 0 : SIM_TYPED_CLIENTS); c++) {
        routers->callers[c].typed = c >= SIM_SEARCHERS + SIM_DATA_CLIENTS;
        routers->callers[c].keyed = c >= SIM_SEARCHERS && !routers->callers[c].typed;
        sim_caller_think(sim, c);
    }
    sim_router_start(sim);
    sim_push(&sim->heap, (struct sim_event){.at_ns = 2 * SIM_SECOND, .kind = SIM_ROUTER_FAULT});
}

void
sim_routers_close(struct sim *sim)
{
    for (uint32_t i = 0; i < sim->routers->count; i++)
        sim_router_close(sim, i);
    free(sim->routers->callers);
    free(sim->routers->ops);
    free(sim->routers);
}

// No more faults.
void
sim_routers_calm(struct sim *sim)
{
    sim->routers->places[sim->routers->count - 1].paused_until_ns = 0;
    sim_router_start(sim);
    for (uint32_t i = 0; i < sim->routers->count; i++) {
        sim->routers->places[i].clings_until_ns = 0;
        sim_router_late(sim, i);
    }
}

// True: the packet is somebody's.
static inline bool
sim_router_deliver(struct sim *sim, const struct sim_event *event)
{
    const uint32_t at = event->at;
    struct sim_place *place = &sim->routers->places[at];
    switch (event->kind) {
    case SIM_SUB:
        return sim_sub_take(sim, at, event->packet);
    case SIM_SUB_CANCEL:
        sim_sub_cancel(sim, at, event->packet);
        return false;
    case SIM_SUB_REPLY:
        return sim_sub_hear(sim, at, event->from, event->packet);
    case SIM_MAP_ASK:
        sim_map_ask(sim, at, event->from, *(const uint64_t *)event->packet);
        return false;
    case SIM_MAP:
        sim_map_take(sim, at, event->packet);
        return false;
    case SIM_ROUTER_LATE:
        if (event->number == place->life && event->at_ns <= sim->now_ns)
            sim_router_late(sim, at);
        return false;
    default:
        if (event->number != place->life || event->at_ns != place->wake_ns)
            return false; // an earlier one took its place
        place->wake_ns = UINT64_MAX;
        sim_router_step(sim, at, (struct fanout_input){.kind = FANOUT_IN_WAKE}, NULL, NULL);
        return false;
    }
}

static inline void
sim_router_arrive(struct sim *sim, struct sim_event *event)
{
    struct sim_place *place = &sim->routers->places[event->at];
    const uint64_t pause = sim_place_pause(sim, event->at), held = sim_place_held(sim, event->at);
    const bool up = place->fanout != NULL;
    if (up && (pause > sim->now_ns || (held > sim->now_ns && !event->amid))) {
        const uint64_t until = pause > sim->now_ns ? pause : held;
        event->amid = pause > sim->now_ns && held > pause;
        if (event->kind == SIM_ROUTER_WAKE && event->at_ns == place->wake_ns)
            place->wake_ns = until;
        event->at_ns = place->deferred_ns = until;
        sim_push(&sim->heap, *event);
        return;
    }
    const bool comes = up && (event->packet == NULL || !sim->cut[event->from][event->at]);
    if (!comes || !sim_router_deliver(sim, event))
        free(event->packet);
}

void
sim_routers_event(struct sim *sim, struct sim_event *event)
{
    switch (event->kind) {
    case SIM_CALL_BEGIN:
        sim_caller_begin(sim, event->at);
        break;
    case SIM_CALL_LATE:
        sim_caller_late(sim, event->at, event->number);
        break;
    case SIM_CALL_CLAIM:
        sim_caller_claim_again(sim, event->at, event->number);
        break;
    case SIM_ROUTER_FAULT:
        sim_router_fault(sim);
        break;
    case SIM_ROUTER_HEAL:
        sim->cut[event->from][event->at] = false;
        sim_router_start(sim);
        break;
    default:
        sim_router_arrive(sim, event);
        break;
    }
}

uint64_t
sim_routers_found(const struct sim *sim)
{
    return sim->routers->answered[FANOUT_SEARCH];
}

uint64_t
sim_routers_done(const struct sim *sim)
{
    const uint64_t *answered = sim->routers->answered;
    return answered[FANOUT_SEARCH] + answered[FANOUT_GET] + answered[FANOUT_WRITE];
}

uint64_t
sim_routers_typed(const struct sim *sim)
{
    return sim->routers->typed;
}

// After the faults.
void
sim_routers_check(struct sim *sim)
{
    const struct sim_routers *routers = sim->routers;
    for (uint32_t c = 0; c < SIM_CALLERS; c++)
        SIM_REQUIRE(sim, !routers->callers[c].busy, "without faults every routed request succeeds");
    for (uint32_t i = 0; i < routers->count; i++) {
        const struct sim_place *place = &routers->places[i];
        SIM_REQUIRE(sim, place->calls == NULL, "nobody is forgotten in a router");
        const bool fresh = sim->now_ns - place->heard_ns < 2 * SIM_SECOND; // it may be on its way
        SIM_REQUIRE(sim,
                    place->table != NULL &&
                        (fresh || place->fanout->heard_version <= place->table->routes.version),
                    "a router that hears of a newer map fetches it");
    }
}

void
sim_routers_report(struct sim *sim)
{
    struct sim_routers *routers = sim->routers;
    for (uint32_t i = 0; i < routers->count; i++)
        sim_router_close(sim, i); // for what they counted
    const struct fanout_counters *sum = &routers->counters;
    printf(
        "  routed searches %" PRIu64 " gets %" PRIu64 " writes %" PRIu64 " partial %" PRIu64
        " failed %" PRIu64 " sends %" PRIu64 " retries %" PRIu64 " hedges %" PRIu64 " cuts %" PRIu64
        " stale %" PRIu64 " maps %" PRIu64 " restarts %" PRIu64 " expired %" PRIu64
        " decided %" PRIu64 " typed %" PRIu64 " claims %" PRIu64 " refused-kinds %" PRIu64 "\n",
        routers->answered[FANOUT_SEARCH], routers->answered[FANOUT_GET],
        routers->answered[FANOUT_WRITE], routers->partial, routers->failed, sum->sends,
        sum->retries, sum->hedges, sum->splits, routers->refused, routers->maps, routers->restarts,
        routers->expired, sim->decided, routers->typed, routers->claims, routers->kinds_refused);
}

#endif
