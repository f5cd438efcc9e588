// tests/lib/sim_router.h -- routers of a simulation: a fan-out in every node, and one in a process that holds nothing.
//
// Shape: shell, simulated.
//
// Whoever runs a fan-out is a place. A node's has the map as soon as the node has applied it; the last place is a process of its
// own, which fetches a map from some node when its fan-out wants one, and is cut off, paused and killed by itself. What a
// fan-out knows is lost with its process.
#ifndef OMEN_TESTS_SIM_ROUTER_H
#define OMEN_TESTS_SIM_ROUTER_H
#include "router/fanout.h"
#include "router/routes_map.h"
#include "tests/lib/sim_world.h"

#define SIM_POINTS (SIM_SHARDS * SIM_SHARD_KEYS)
#define SIM_NUMBERS_MAX 64u // of nodes in the map

// Lent to a fan-out.
struct sim_routes {
    struct routes routes;
    uint32_t places[SIM_NUMBERS_MAX]; // of a node by its number, one more; 0: nobody
    uint64_t first, other;            // collections, of the other the newest; 0: none
    uint8_t first_kind, other_kind;   // of their ids
};

// ---- packets; each is one block ----

// A sub-request, and what the shell adds to it.
struct sim_sub_reply;
struct sim_sub {
    struct sim_sub *next; // of those that a node has under way
    struct fanout_send send;
    uint64_t id, life; // of the replica's request; of the router
    uint32_t place;
    uint64_t op, query;
    uint32_t k;
    bool erases;
    uint8_t kind;                                   // of the ids
    uint32_t points[SIM_POINTS], items[SIM_POINTS]; // item_count of them
    struct sim_sub_reply *ready;                    // what a strong read has seen
};

struct sim_sub_reply {
    struct sim_sub_reply *next; // of those that are lent to a request
    struct fanout_reply reply;
    uint64_t life;
    uint32_t item_count;
    uint32_t items[SIM_POINTS];
    uint64_t seen[SIM_POINTS]; // where the point of the item was written last
    omen_status statuses[SIM_POINTS];
    struct merge_hit hits[SIM_POINTS];
};

struct sim_sub_cancel {
    struct fanout_cancel cancel;
    uint64_t life;
    uint32_t place;
};

struct sim_map_packet {
    uint64_t life; // of who asks
    struct sim_routes table;
    uint32_t row_count;
    struct route rows[];
};

// ---- what routers have ----

// A request under way in a fan-out: what it lends.
struct sim_call {
    struct sim_call *next;
    uint64_t id, number; // ours, and the fan-out's
    uint32_t caller;
    struct fanout_start start;
    uint64_t begun_ns; // of the simulation
    uint64_t op, query;
    bool erases;
    uint8_t kind;                  // of the ids
    uint64_t floors[SIM_POINTS];   // what had been done on each point before it began
    uint64_t begun_at[SIM_POINTS]; // what of the point's log was applied somewhere then
    struct fanout_item items[SIM_POINTS];
    uint32_t points[SIM_POINTS];
    uint64_t seen[SIM_POINTS];
    struct fanout_token tokens[SIM_LINES_MAX];
    struct merge_hit hits[SIM_POINTS];
    struct sim_sub_reply *lent;
};

struct sim_place {
    struct fanout *fanout; // NULL: down
    struct sim_routes *table;
    struct sim_call *calls;
    struct sim_sub *subs; // of this node's copies, under way
    uint64_t life, wake_ns, rate;
    uint32_t dead;                    // nodes that the fan-out was told to be, by bits
    uint64_t paused_until_ns;         // of the last place; of others the node says it
    uint64_t heard_version, heard_ns; // of the newest map that the fan-out knows of
    uint64_t clings_until_ns;         // it is slow to take newer maps; 0: it is not
    uint64_t deferred_ns;             // until when something had to wait for the end of a pause
};

struct sim_routers {
    struct prng prng; // of clients and of the last place's faults
    struct fanout_output out;
    struct sim_place places[SIM_PLACES_MAX];
    uint32_t count;
    uint64_t serial;
    struct sim_caller *callers; // tests/lib/sim_caller.h
    struct sim_call_op *ops;
    uint64_t op_count, op_room;
    struct fanout_counters counters; // of those that ended
    uint64_t refused, maps, restarts;
    uint64_t answered[4], partial, failed; // by kind
    uint64_t expired; // writes that were given up since a shard may have forgotten them
    uint64_t typed, claims,
        kinds_refused; // of collections beside the first: writes done, waiting, and of the other kind
};

void sim_callers_look(struct sim *sim, uint32_t at); // sim_caller.h

void sim_call_answered(struct sim *sim, uint32_t at, struct sim_call *call,
                       const struct fanout_answer *answer); // sim_caller.h

static inline uint64_t
sim_place_time(const struct sim *sim, uint32_t at)
{
    return sim->now_ns / 1000 * sim->routers->places[at].rate;
}

static inline uint64_t
sim_place_pause(const struct sim *sim, uint32_t at)
{
    return at < sim->options.nodes ? sim->nodes[at].paused_until_ns
                                   : sim->routers->places[at].paused_until_ns;
}

// Until when a node goes by the clock of before: what comes meanwhile is the next turn's (sim_pause in tests/lib/sim_aim.h).
static inline uint64_t
sim_place_held(const struct sim *sim, uint32_t at)
{
    return at < sim->options.nodes ? sim->nodes[at].held_until_ns : 0;
}

static inline void
sim_router_send(struct sim *sim, enum sim_event_kind kind, uint32_t from, uint32_t to,
                const void *packet, size_t bytes)
{
    sim_push(&sim->heap, (struct sim_event){.at_ns = sim->now_ns + sim_delay(sim),
                                            .kind = kind,
                                            .at = to,
                                            .from = from,
                                            .packet = sim_copy(packet, bytes)});
}

// ---- requests under way ----

static inline struct sim_call *
sim_call_find(const struct sim_place *place, uint64_t number)
{
    struct sim_call *call = place->calls;
    while (call != NULL && call->number != number)
        call = call->next;
    return call;
}

static inline void
sim_call_free(struct sim_place *place, struct sim_call *call)
{
    struct sim_call **link = &place->calls;
    while (*link != call)
        link = &(*link)->next;
    *link = call->next;
    while (call->lent != NULL) {
        struct sim_sub_reply *lent = call->lent;
        call->lent = lent->next;
        free(lent);
    }
    free(call);
}

// ---- what comes out of a step ----

static inline void
sim_router_sends(struct sim *sim, uint32_t at)
{
    struct sim_place *place = &sim->routers->places[at];
    const struct fanout_output *out = &sim->routers->out;
    for (uint32_t i = 0; i < out->send_count; i++) {
        const struct fanout_send *send = &out->sends[i];
        const struct sim_call *call = sim_call_find(place, send->request);
        const uint32_t to = send->node < SIM_NUMBERS_MAX ? place->table->places[send->node] : 0;
        if (to == 0)
            continue;
        struct sim_sub sub = {.send = *send,
                              .life = place->life,
                              .place = at,
                              .op = call->op,
                              .query = call->query,
                              .k = call->start.k,
                              .erases = call->erases,
                              .kind = call->kind};
        uint32_t item = send->item_first;
        for (uint32_t j = 0; j < send->item_count; j++, item = call->items[item].next) {
            sub.points[j] = call->points[item];
            sub.items[j] = item;
        }
        // The bus is streams: what is sent once arrives once at most. Reads come twice all the same.
        uint32_t copies = sim_copies(sim, at, to - 1);
        if (send->kind == FANOUT_WRITE && copies > 1)
            copies = 1;
        for (; copies > 0; copies--)
            sim_router_send(sim, SIM_SUB, at, to - 1, &sub, sizeof sub);
    }
    for (uint32_t i = 0; i < out->cancel_count; i++) {
        const struct sim_sub_cancel packet = {out->cancels[i], place->life, at};
        const uint32_t node = packet.cancel.node;
        const uint32_t to = node < SIM_NUMBERS_MAX ? place->table->places[node] : 0;
        if (to != 0 && sim_copies(sim, at, to - 1) > 0)
            sim_router_send(sim, SIM_SUB_CANCEL, at, to - 1, &packet, sizeof packet);
    }
}

// Some node is asked; whether it has a new enough one is seen when it answers.
static inline void
sim_router_fetch(struct sim *sim, uint32_t at)
{
    struct sim_place *place = &sim->routers->places[at];
    const uint32_t to = prng_below(&sim->routers->prng, sim->options.nodes);
    if (at == sim->options.nodes && place->clings_until_ns <= sim->now_ns &&
        sim_copies(sim, at, to) > 0)
        sim_router_send(sim, SIM_MAP_ASK, at, to, &place->life, sizeof place->life);
}

static inline void
sim_router_wake(struct sim *sim, uint32_t at)
{
    struct sim_place *place = &sim->routers->places[at];
    if (sim->routers->out.wake_ns == UINT64_MAX)
        return;
    uint64_t due = (sim->routers->out.wake_ns / place->rate + 1) * 1000;
    if (due <= sim->now_ns)
        due = sim->now_ns + 1000;
    if (place->wake_ns <= due)
        return;
    place->wake_ns = due;
    sim_push(
        &sim->heap,
        (struct sim_event){
            .at_ns = due, .kind = SIM_ROUTER_WAKE, .at = at, .from = at, .number = place->life});
}

// What a taken reply says is read before the request can be answered in the same step.
static inline void
sim_router_taken(struct sim_place *place, struct sim_sub_reply *packet)
{
    struct sim_call *call = sim_call_find(place, packet->reply.request);
    packet->next = call->lent;
    call->lent = packet;
    for (uint32_t i = 0; i < packet->item_count; i++)
        call->seen[packet->items[i]] = packet->seen[i];
}

// `begun` is the request of a START; `packet` the reply, which is the call's if it was taken (then true).
static inline bool
sim_router_step(struct sim *sim, uint32_t at, struct fanout_input in, struct sim_call *begun,
                struct sim_sub_reply *packet)
{
    struct sim_place *place = &sim->routers->places[at];
    struct fanout_output *out = &sim->routers->out;
    in.now_ns = sim_place_time(sim, at);
    fanout_step(place->fanout, &in, out);
    fanout_check(place->fanout);
    sim_mix(sim, out->wake_ns ^ (uint64_t)out->send_count << 48 ^
                     (uint64_t)out->answer_count << 40 ^ (uint64_t)out->cancel_count << 32);
    if (place->heard_version != place->fanout->heard_version) {
        place->heard_version = place->fanout->heard_version;
        place->heard_ns = sim->now_ns;
    }
    if (begun != NULL)
        begun->number = out->started;
    const bool taken = out->taken;
    if (taken)
        sim_router_taken(place, packet);
    sim_router_sends(sim, at);
    for (uint32_t i = 0; i < out->answer_count; i++) {
        struct sim_call *call = place->calls;
        while (call->id != out->answers[i].client)
            call = call->next;
        sim_call_answered(sim, at, call, &out->answers[i]);
        sim_call_free(place, call);
    }
    if (out->want_version != 0)
        sim_router_fetch(sim, at);
    sim_router_wake(sim, at);
    return taken;
}

// ---- lives ----

void
sim_router_open(struct sim *sim, uint32_t at)
{
    struct sim_place *place = &sim->routers->places[at];
    const struct fanout_config config = {.requests_max = 64,
                                         .parts_max = 1024,
                                         .tries_max = 32,
                                         .hedge_min_ns = 2 * SIM_MS,
                                         .hedge_max_ns = 100 * SIM_MS,
                                         .hedge_permille = 200,
                                         .retry_ns = 20 * SIM_MS,
                                         .retry_max_ns = 300 * SIM_MS,
                                         .try_min_ns = 50 * SIM_MS,
                                         .try_max_ns = SIM_SECOND,
                                         .reserve_ns = 5 * SIM_MS,
                                         .avoid_ns = 100 * SIM_MS,
                                         .far_percent = 200};
    place->fanout = malloc(sizeof *place->fanout);
    ASSERT(place->fanout != NULL);
    fanout_init(place->fanout, &config, prng_next(&sim->routers->prng));
    place->life++;
    place->wake_ns = UINT64_MAX;
    place->clings_until_ns = 0;
    if (at < sim->options.nodes)
        place->rate = sim->nodes[at].rate;
}

static inline void
sim_routes_free(struct sim_routes *table)
{
    if (table != NULL)
        routes_fini(&table->routes);
    free(table);
}

static inline void
sim_subs_free(struct sim_place *place)
{
    while (place->subs != NULL) {
        struct sim_sub *sub = place->subs;
        place->subs = sub->next;
        free(sub->ready);
        free(sub);
    }
}

// With all that it knows. Its clients hear nothing.
void
sim_router_close(struct sim *sim, uint32_t at)
{
    struct sim_place *place = &sim->routers->places[at];
    struct fanout_counters *sum = &sim->routers->counters;
    if (place->fanout == NULL)
        return;
    const struct fanout_counters *ended = &place->fanout->counters;
    sum->sends += ended->sends;
    sum->retries += ended->retries;
    sum->hedges += ended->hedges;
    sum->splits += ended->splits;
    sum->cancels += ended->cancels;
    sum->late_replies += ended->late_replies;
    fanout_fini(place->fanout);
    free(place->fanout);
    place->fanout = NULL;
    while (place->calls != NULL)
        sim_call_free(place, place->calls);
    sim_subs_free(place);
    sim_routes_free(place->table);
    place->table = NULL;
}

// ---- maps ----

static inline struct sim_routes *
sim_routes_new(void)
{
    struct sim_routes *table = calloc(1, sizeof *table);
    ASSERT(table != NULL);
    return table;
}

static inline bool
sim_routes_differ(const struct routes *a, const struct routes *b)
{
    bool differ = a->count != b->count;
    for (uint32_t i = 0; i < a->count && !differ; i++)
        differ = a->rows[i].shard != b->rows[i].shard || a->rows[i].cfg_ver != b->rows[i].cfg_ver;
    return differ;
}

// A router may be slow to take a newer map in which shards have changed; meanwhile it goes where it went before.
static inline bool
sim_router_clings(struct sim *sim, uint32_t at, const struct sim_routes *newer)
{
    struct sim_place *place = &sim->routers->places[at];
    const struct sim_profile *profile = sim->options.profile;
    if (place->clings_until_ns > sim->now_ns)
        return true;
    const bool begins = !sim->calm && place->table != NULL && place->clings_until_ns == 0 &&
                        profile->sticky > 0 &&
                        sim_routes_differ(&place->table->routes, &newer->routes) &&
                        prng_below(&sim->routers->prng, 1000) < profile->sticky;
    place->clings_until_ns = 0;
    if (!begins)
        return false;
    place->clings_until_ns =
        sim->now_ns + SIM_MS * (1 + prng_below(&sim->routers->prng, profile->length_ms));
    sim_push(&sim->heap, (struct sim_event){.at_ns = place->clings_until_ns,
                                            .kind = SIM_ROUTER_LATE,
                                            .at = at,
                                            .from = at,
                                            .number = place->life});
    return true;
}

static inline void
sim_router_give(struct sim *sim, uint32_t at, struct sim_routes *table)
{
    struct sim_place *place = &sim->routers->places[at];
    struct sim_routes *before = place->table;
    if ((before != NULL && before->routes.version >= table->routes.version) ||
        sim_router_clings(sim, at, table)) {
        sim_routes_free(table);
        return;
    }
    place->table = table;
    place->dead = 0;
    sim_router_step(sim, at,
                    (struct fanout_input){.kind = FANOUT_IN_ROUTES, .routes = &table->routes}, NULL,
                    NULL);
    sim_routes_free(before);
    sim_callers_look(sim, at);
}

// The table of a node's map, for whoever is in `zone`.
static inline struct sim_routes *
sim_routes_of(const struct map *map, char zone)
{
    struct sim_routes *table = sim_routes_new();
    const struct map_name name = {.count = 1, .bytes = {zone}};
    const struct map *published;
    omen_status status = map_publish(map, &published);
    ASSERT(status == OMEN_OK);
    status = routes_of_map(published, &name, &table->routes);
    ASSERT(status == OMEN_OK);
    for (uint32_t i = 0; i < map->node_count; i++) {
        ASSERT(map->nodes[i].number < SIM_NUMBERS_MAX);
        table->places[map->nodes[i].number] = (uint32_t)map->nodes[i].uuid.low;
    }
    for (uint32_t i = 0; i < map->collection_count; i++) {
        const struct map_collection *row = &map->collections[i];
        const bool first = row->name.bytes[0] == 'c';
        *(first ? &table->first : &table->other) = row->id;
        *(first ? &table->first_kind : &table->other_kind) = row->id_kind;
    }
    map_publish_end(published);
    return table;
}

// A node has applied a newer map.
void
sim_router_feed(struct sim *sim, uint32_t at)
{
    sim_router_give(sim, at, sim_routes_of(sim_map(&sim->nodes[at]), 'z'));
}

static inline void
sim_router_late(struct sim *sim, uint32_t at)
{
    if (at < sim->options.nodes)
        sim_router_feed(sim, at);
    else
        sim_router_fetch(sim, at);
}

static inline void
sim_map_ask(struct sim *sim, uint32_t at, uint32_t from, uint64_t life)
{
    struct sim_routes *table = sim_routes_of(&sim->nodes[at].turn.map, 'y');
    const size_t bytes =
        sizeof(struct sim_map_packet) + table->routes.count * sizeof *table->routes.rows;
    struct sim_map_packet *packet = calloc(1, bytes);
    ASSERT(packet != NULL);
    packet->life = life;
    packet->table = *table;
    packet->row_count = table->routes.count;
    if (packet->row_count > 0)
        memcpy(packet->rows, table->routes.rows, packet->row_count * sizeof *packet->rows);
    if (sim_copies(sim, at, from) > 0)
        sim_router_send(sim, SIM_MAP, at, from, packet, bytes);
    free(packet);
    sim_routes_free(table);
}

static inline void
sim_map_take(struct sim *sim, uint32_t at, const struct sim_map_packet *packet)
{
    if (packet->life != sim->routers->places[at].life || packet->table.routes.version == 0)
        return;
    struct sim_routes *table = sim_routes_new();
    *table = packet->table;
    routes_init(&table->routes, packet->table.routes.version);
    omen_status status = OMEN_OK;
    for (uint32_t i = 0; i < packet->row_count && status == OMEN_OK; i++)
        status = routes_add(&table->routes, &packet->rows[i]);
    if (status == OMEN_OK)
        status = routes_seal(&table->routes);
    ASSERT(status == OMEN_OK);
    sim->routers->maps++;
    sim_router_give(sim, at, table);
}

#endif
