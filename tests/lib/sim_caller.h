// tests/lib/sim_caller.h -- clients go through routers, and the process of the last router is among faults.
//
// Shape: shell, simulated.
//
// A client takes any router, says how long it waits, and goes to another where it hears nothing: the answer may be lost, and the
// router be gone. A write goes out under its op_id until all of it is applied; now and then it is given up, where it was said
// that nothing of the rest was done.
#ifndef OMEN_TESTS_SIM_CALLER_H
#define OMEN_TESTS_SIM_CALLER_H
#include "tests/lib/sim_caller_wants.h"

static inline void
sim_caller_think(struct sim *sim, uint32_t c)
{
    const uint64_t ns = sim_caller_rest(sim, &sim->routers->callers[c]);
    sim_push(&sim->heap,
             (struct sim_event){.at_ns = sim->now_ns + ns, .kind = SIM_CALL_BEGIN, .at = c});
}

static inline void
sim_caller_later(struct sim *sim, uint32_t c, uint64_t ns)
{
    sim_push(&sim->heap, (struct sim_event){.at_ns = sim->now_ns + ns,
                                            .kind = SIM_CALL_LATE,
                                            .at = c,
                                            .number = sim->routers->callers[c].tries});
}

// ---- what a client makes of an answer ----

static inline void
sim_caller_floor(struct sim *sim, uint32_t point, uint64_t seq)
{
    uint64_t *floor = &sim->data_floors[point / SIM_SHARD_KEYS][point % SIM_SHARD_KEYS];
    if (seq > *floor)
        *floor = seq;
}

static inline void
sim_caller_token(struct sim_caller *caller, const struct fanout_report *report)
{
    uint32_t i = 0;
    while (i < caller->token_count && caller->tokens[i].shard != report->shard)
        i++;
    ASSERT(i < SIM_LINES_MAX);
    if (i == caller->token_count)
        caller->tokens[caller->token_count++] = (struct fanout_token){.shard = report->shard};
    if (report->seq > caller->tokens[i].seq)
        caller->tokens[i] = (struct fanout_token){report->shard, report->term, report->seq};
}

// Whoever comes after must see as much.
static inline void
sim_caller_learn(struct sim *sim, struct sim_caller *caller, const struct sim_call *call,
                 const struct fanout_answer *answer)
{
    const struct fanout_report *reports = &sim->routers->out.reports[answer->report_first];
    if (caller->typed)
        return; // its points are others, and it reads none
    for (uint32_t i = 0; i < answer->report_count; i++)
        if (reports[i].status == OMEN_OK)
            sim_caller_token(caller, &reports[i]);
    for (uint32_t i = 0; i < call->start.item_count; i++)
        if (call->items[i].outcome == FANOUT_APPLIED)
            sim_caller_floor(sim, call->points[i],
                             sim->routers->ops[call->op].effect[call->points[i]]);
    if (call->start.kind == FANOUT_WRITE || call->start.consistency != FANOUT_STRONG)
        return;
    for (uint32_t point = 0; point < SIM_POINTS; point++) {
        const struct fanout_report *report = sim_report_of(reports, answer->report_count, point);
        uint64_t seq = 0;
        if (report != NULL && report->status == OMEN_OK)
            sim_point_state(sim, report->shard, point, report->seq, &seq);
        sim_caller_floor(sim, point, seq);
    }
}

// A shard has forgotten so much, or its clock is so slow, that the operation is of no use any more.
static inline bool
sim_caller_is_lost(const struct sim_call *call)
{
    for (uint32_t i = 0; i < call->start.item_count; i++)
        if (call->items[i].status == OMEN_E_OP_EXPIRED || call->items[i].status == OMEN_E_INVALID ||
            call->items[i].status == OMEN_E_ID_KIND)
            return true;
    return false;
}

// Whether the client is content. A write may be given up where nothing of the rest was done, and then never is.
static inline bool
sim_caller_is_done(struct sim *sim, struct sim_caller *caller, const struct sim_call *call,
                   const struct fanout_answer *answer)
{
    if (call->start.kind != FANOUT_WRITE)
        return answer->status == OMEN_OK;
    uint32_t missed = 0;
    for (uint32_t i = 0; i < call->start.item_count; i++) {
        caller->unsure |= call->items[i].outcome == FANOUT_UNKNOWN;
        if (call->items[i].outcome == FANOUT_APPLIED)
            caller->applied |= 1u << call->points[i];
        if (call->items[i].outcome == FANOUT_NOT_APPLIED)
            missed |= 1u << call->points[i];
    }
    missed &= ~caller->applied; // by an earlier try: of that this one knows nothing
    const bool lost = sim_caller_is_lost(call);
    sim->routers->expired += lost;
    if (missed == 0 || caller->unsure)
        return lost || (missed == 0 && answer->status == OMEN_OK);
    if (!lost && sim_caller_draw(sim, 2) == 0)
        return false;
    sim->routers->ops[call->op].never |= missed;
    for (uint32_t point = 0; point < SIM_POINTS; point++)
        SIM_REQUIRE(sim,
                    (missed >> point & 1) == 0 || sim->routers->ops[call->op].effect[point] == 0,
                    "what a router says was not applied is not");
    return true;
}

void
sim_call_answered(struct sim *sim, uint32_t at, struct sim_call *call,
                  const struct fanout_answer *answer)
{
    struct sim_caller *caller = &sim->routers->callers[call->caller];
    sim_check_answer(sim, at, call, answer);
    if (!caller->busy || caller->call != call->id)
        return; // it went elsewhere
    if (!sim->stopped && sim_caller_draw(sim, 100) < 3)
        return; // lost on its way
    caller->call = 0;
    caller->tries++;
    sim_caller_learn(sim, caller, call, answer);
    if (!sim_caller_is_done(sim, caller, call, answer)) {
        sim->routers->failed++;
        sim->data_retries += caller->keyed;
        sim_caller_later(sim, call->caller, (10 + sim_caller_draw(sim, 60)) * SIM_MS);
        return;
    }
    if (caller->typed)
        sim->routers->typed += answer->status == OMEN_OK;
    else if (!caller->keyed)
        sim->routers->answered[call->start.kind]++;
    else if (answer->status == OMEN_OK) // and not a write that was given up
        sim->data_done[caller->data]++;
    sim->routers->partial += answer->failed_count > 0 && call->start.kind == FANOUT_SEARCH;
    caller->busy = false;
    sim_caller_think(sim, call->caller);
}

// ---- what it wants ----

static inline struct sim_call *
sim_call_new(struct sim *sim, uint32_t c, struct sim_place *place)
{
    const struct sim_caller *caller = &sim->routers->callers[c];
    struct sim_call *call = calloc(1, sizeof *call);
    ASSERT(call != NULL);
    *call = (struct sim_call){.next = place->calls,
                              .id = ++sim->routers->serial,
                              .caller = c,
                              .start = caller->start,
                              .begun_ns = sim->now_ns,
                              .op = caller->op,
                              .query = caller->query,
                              .erases = caller->erases,
                              .kind = caller->kind};
    for (uint32_t point = 0; point < SIM_POINTS; point++)
        call->begun_at[point] = sim_line_last(sim, point / SIM_SHARD_KEYS, point % SIM_SHARD_KEYS);
    memcpy(call->floors, caller->floors, sizeof call->floors);
    memcpy(call->tokens, caller->tokens, sizeof call->tokens);
    memcpy(call->points, caller->points, sizeof call->points);
    for (uint32_t i = 0; i < call->start.item_count; i++)
        call->items[i].hash = sim_point_hash(call->points[i]);
    call->start.client = call->id;
    call->start.collection = caller->collection != 0 ? caller->collection : 1;
    if (call->op != 0 && call->start.kind == FANOUT_WRITE) {
        sim->routers->ops[call->op].collection = call->start.collection;
        sim->routers->ops[call->op].kind = caller->kind;
    }
    call->start.items = call->start.item_count > 0 ? call->items : NULL;
    call->start.tokens = call->tokens;
    call->start.token_count = caller->token_count;
    call->start.hits = call->start.k > 0 ? call->hits : NULL;
    place->calls = call;
    return call;
}

// What the node's failure detector says goes to its fan-out.
static inline void
sim_router_hints(struct sim *sim, uint32_t at)
{
    struct sim_place *place = &sim->routers->places[at];
    for (uint32_t i = 0; at < sim->options.nodes && i < sim->options.nodes; i++) {
        const struct gossip_member *member =
            gossip_find(&sim->nodes[at].turn.gossip, (struct gossip_id){0x6f6d656e, i + 1});
        const bool dead = member != NULL && member->state >= GOSSIP_DEAD;
        const uint32_t number = sim_place_number(place, i);
        if (number == 0 || dead == (place->dead >> i & 1))
            continue;
        place->dead ^= 1u << i;
        struct fanout_input in = {.kind = FANOUT_IN_NODE};
        in.node = number;
        in.dead = dead;
        sim_router_step(sim, at, in, NULL, NULL);
    }
}

// ---- kinds of ids, as node/clients_claim.c has writes wait for them ----

#define SIM_CLAIM_AGAIN_NS (200 * SIM_MS)
#define SIM_CLAIM_LOOK_NS (25 * SIM_MS)

static inline void
sim_caller_claim(struct sim *sim, uint32_t c, uint64_t look_ns)
{
    const struct sim_caller *caller = &sim->routers->callers[c];
    struct command command = {.kind = COMMAND_COLLECTION_IDS};
    command.ids = (struct command_ids){caller->collection, caller->kind};
    const uint32_t at = caller->place, nodes = sim->options.nodes;
    const uint32_t to = at < nodes ? at : sim_caller_draw(sim, nodes);
    if (sim_place_pause(sim, at) <= sim->now_ns) {
        sim->routers->claims++;
        if (at < nodes)
            sim_wish(sim, at, &command);
        else if (sim_copies(sim, at, to) > 0)
            sim_wish_from(sim, at, to, &command, sim_delay(sim));
        sim_router_fetch(sim, at); // a node that has the metadata's log hears by itself
    }
    sim_push(&sim->heap, (struct sim_event){.at_ns = sim->now_ns + look_ns,
                                            .kind = SIM_CALL_CLAIM,
                                            .at = c,
                                            .number = caller->tries});
}

// Nobody has what it wants, or all was told that it will never be.
static inline void
sim_caller_give_up(struct sim *sim, uint32_t c)
{
    sim->routers->callers[c].busy = false;
    sim_caller_think(sim, c);
}

// False: its router knows no such collection.
static inline bool
sim_caller_resolves(struct sim *sim, struct sim_caller *caller, uint8_t *kind)
{
    const struct sim_routes *table = sim->routers->places[caller->place].table;
    const uint64_t named = caller->typed ? table->other : table->first;
    *kind = caller->typed ? table->other_kind : table->first_kind;
    if (caller->collection == 0)
        caller->collection = named;
    return named != 0 && named == caller->collection;
}

// What a router says whose collection has ids of the other kind.
static inline void
sim_caller_differs(struct sim *sim, uint32_t c)
{
    const struct sim_caller *caller = &sim->routers->callers[c];
    struct sim_call_op *op = &sim->routers->ops[caller->op];
    for (uint32_t point = 0; point < SIM_POINTS; point++)
        SIM_REQUIRE(sim, op->effect[point] == 0,
                    "who is refused for the kind of its ids has written nothing");
    op->never = (1u << SIM_POINTS) - 1;
    sim->routers->kinds_refused++;
    sim_caller_give_up(sim, c);
}

// Its router has what it asks for, and judges it by the map that it has.
static inline void
sim_caller_start(struct sim *sim, uint32_t c)
{
    struct sim_caller *caller = &sim->routers->callers[c];
    struct sim_place *place = &sim->routers->places[caller->place];
    struct claim_write write = {.given = caller->kind, .makes_points = !caller->erases};
    caller->claims = false;
    if (!sim_caller_resolves(sim, caller, &write.known) && caller->typed) {
        sim_caller_give_up(sim, c);
        return;
    }
    const enum claim judged =
        caller->start.kind == FANOUT_WRITE ? claim_judge(&write) : CLAIM_GOES_ON;
    if (judged == CLAIM_REFUSED) {
        sim_caller_differs(sim, c);
        return;
    }
    if (judged == CLAIM_WAITS) {
        caller->claims = true;
        sim_caller_claim(sim, c, SIM_CLAIM_LOOK_NS);
        return;
    }
    struct sim_call *call = sim_call_new(sim, c, place);
    call->start.deadline_ns = caller->deadline_ns;
    caller->call = call->id;
    sim_router_step(sim, caller->place,
                    (struct fanout_input){.kind = FANOUT_IN_START, .start = &call->start}, call,
                    NULL);
}

static inline bool
sim_caller_waits_at(const struct sim *sim, const struct sim_caller *caller, uint32_t at)
{
    const struct sim_place *place = &sim->routers->places[at];
    return caller->claims && caller->place == at && place->fanout != NULL &&
           caller->life == place->life;
}

// A router has a newer map.
void
sim_callers_look(struct sim *sim, uint32_t at)
{
    const struct sim_routes *table = sim->routers->places[at].table;
    for (uint32_t c = 0; c < SIM_CALLERS; c++) {
        const struct sim_caller *caller = &sim->routers->callers[c];
        if (!sim_caller_waits_at(sim, caller, at) || caller->deadline_ns <= sim_place_time(sim, at))
            continue; // or it was refused: nothing was done
        const bool gone = caller->collection != (caller->typed ? table->other : table->first);
        if (gone || (caller->typed ? table->other_kind : table->first_kind) != MAP_IDS_OPEN)
            sim_caller_start(sim, c);
    }
}

static inline void
sim_caller_claim_again(struct sim *sim, uint32_t c, uint64_t tries)
{
    const struct sim_caller *caller = &sim->routers->callers[c];
    if (caller->tries == tries && sim_caller_waits_at(sim, caller, caller->place))
        sim_caller_claim(sim, c, SIM_CLAIM_AGAIN_NS);
}

// ---- tries ----

static inline void
sim_caller_try(struct sim *sim, uint32_t c)
{
    struct sim_caller *caller = &sim->routers->callers[c];
    const uint32_t last = sim->routers->count - 1;
    const uint32_t at =
        sim_caller_draw(sim, caller->keyed ? 8 : 3) == 0 ? last : sim_caller_draw(sim, last);
    struct sim_place *place = &sim->routers->places[at];
    caller->tries++;
    caller->place = at;
    if (place->fanout == NULL || place->table == NULL || sim_place_pause(sim, at) > sim->now_ns) {
        sim_caller_later(sim, c, 50 * SIM_MS);
        return;
    }
    sim_router_hints(sim, at);
    const uint64_t length_ns = sim_caller_patience(sim, caller);
    caller->deadline_ns = sim_place_time(sim, at) + length_ns;
    caller->life = place->life;
    // Clocks differ by 5 %; an answer that needed no sub-request comes within this step.
    sim_caller_later(sim, c, length_ns + length_ns / 15 + 20 * SIM_MS);
    sim_caller_start(sim, c);
}

static inline void
sim_caller_begin(struct sim *sim, uint32_t c)
{
    struct sim_caller *caller = &sim->routers->callers[c];
    if (sim->stopped)
        return;
    caller->busy = true;
    sim_caller_wants(sim, caller);
    sim_caller_try(sim, c);
}

// It hears nothing any more, or a while after a refusal has passed.
static inline void
sim_caller_late(struct sim *sim, uint32_t c, uint64_t tries)
{
    struct sim_caller *caller = &sim->routers->callers[c];
    const struct sim_place *place = &sim->routers->places[caller->place];
    if (!caller->busy || caller->tries != tries)
        return;
    const struct sim_call *call = place->calls;
    while (call != NULL && call->id != caller->call)
        call = call->next;
    if (caller->call != 0 && call != NULL)
        SIM_REQUIRE(sim, place->deferred_ns > call->begun_ns, "every request ends by its deadline");
    sim->data_retries += caller->keyed && caller->call != 0;
    caller->unsure |= caller->call != 0;
    caller->call = 0;
    caller->claims = false;
    sim_caller_try(sim, c);
}

// ---- the last router's process, and all ----

static inline void
sim_router_fault(struct sim *sim)
{
    static const uint32_t kinds[] = {SIM_FAULT_CUT, SIM_FAULT_CUT, SIM_FAULT_PAUSE,
                                     SIM_FAULT_CRASH};
    if (sim->calm)
        return;
    const uint32_t at = sim->routers->count - 1, kind = kinds[sim_caller_draw(sim, 4)];
    const uint32_t node = sim_caller_draw(sim, at), way = sim_caller_draw(sim, 2);
    const uint64_t ns = (100 + sim_caller_draw(sim, 2000)) * SIM_MS;
    sim_push(&sim->heap, (struct sim_event){.at_ns = sim->now_ns + ns, .kind = SIM_ROUTER_FAULT});
    if ((sim->options.fault_mask & sim->options.profile->fault_mask & 1u << kind) == 0)
        return;
    struct sim_event heal = {.at_ns = sim->now_ns + ns, .kind = SIM_ROUTER_HEAL};
    if (kind == SIM_FAULT_PAUSE) {
        sim->routers->places[at].paused_until_ns = sim->now_ns + ns / 2;
    } else if (kind == SIM_FAULT_CUT) {
        heal.at = way == 0 ? node : at;
        heal.from = way == 0 ? at : node;
        sim->cut[heal.from][heal.at] = true;
    } else {
        sim_router_close(sim, at);
        sim->routers->restarts++;
    }
    sim_push(&sim->heap, heal);
}

// Where it has no table yet it asks for one; later its fan-out says when.
static inline void
sim_router_start(struct sim *sim)
{
    const uint32_t at = sim->routers->count - 1;
    struct sim_place *place = &sim->routers->places[at];
    if (place->fanout == NULL)
        sim_router_open(sim, at);
    if (place->table != NULL)
        return;
    if (sim_place_pause(sim, at) <= sim->now_ns)
        sim_router_fetch(sim, at);
    sim_push(&sim->heap,
             (struct sim_event){.at_ns = sim->now_ns + 100 * SIM_MS, .kind = SIM_ROUTER_HEAL});
}

#endif
