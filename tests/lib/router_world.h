// tests/lib/router_world.h -- a fan-out among shards that split, move, hand over, refuse, lose what they are sent and answer late.
//
// Shape: shell. world_run answers NULL, or what was broken.
//
// A shard is one state that all of its copies hold: which version of each point, and which operations were done. That copies agree
// is what replica/ is for. A point's version grows with the shard's log; children go on where their parent stopped, and know
// its operations.
#ifndef OMEN_TESTS_ROUTER_WORLD_H
#define OMEN_TESTS_ROUTER_WORLD_H
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "base/prng.h"
#include "router/fanout.h"

#define WORLD_MS 1000000ull
#define WORLD_POINTS 48u
#define WORLD_SHARDS 128u
#define WORLD_NODES 6u
#define WORLD_REQUESTS 4096u
#define WORLD_EVENTS 8192u
#define WORLD_K 64u // more than there are points, now and then

struct world_shard {
    uint64_t id, parent, first, last, term, cfg_ver, seq;
    bool retired;
    uint32_t nodes[3], copies, primary;
    uint64_t uuids[3];
    uint64_t versions[WORLD_POINTS]; // 0: not there
    uint8_t done[WORLD_REQUESTS];    // by operation
};

struct world_request {
    bool begun, answered, unsure;
    enum fanout_kind kind;
    enum fanout_consistency consistency;
    uint64_t number, deadline_ns, begun_ns;
    uint32_t item_count, k;
    uint32_t points[WORLD_POINTS]; // of the items
    uint32_t applied[WORLD_POINTS];
    bool said_not[WORLD_POINTS];         // it was answered that this item was not applied
    uint64_t acked_before[WORLD_POINTS]; // versions that were acknowledged when it began
    struct fanout_item *items;
    struct merge_hit *hits;
    struct fanout_token token;
    void *lent[512]; // with the replies that were taken
    uint32_t lent_count;
    struct merge_list lists[256];
    uint32_t list_count;
};

enum world_event_kind { EVENT_NONE, EVENT_ARRIVES, EVENT_REPLY, EVENT_TABLE };

struct world_event {
    enum world_event_kind kind;
    uint64_t at_ns;
    struct fanout_send send;
    struct fanout_reply reply; // owns its hits and statuses
    uint32_t op;               // request
    uint32_t items[WORLD_POINTS], item_count;
};

struct world {
    struct prng prng;
    struct fanout fanout;
    struct fanout_output out;
    uint64_t now_ns, map_version, uuids, wake_ns;
    struct world_shard shards[WORLD_SHARDS];
    uint32_t shard_count;
    bool down[WORLD_NODES + 1];
    struct routes *tables[64]; // lent; the last is the newest
    uint32_t table_count;
    struct world_request requests[WORLD_REQUESTS];
    uint32_t request_count, open_count;
    struct world_event events[WORLD_EVENTS];
    uint64_t acked[WORLD_POINTS]; // versions, for strong reads
    uint32_t loss, refuse;        // of 100
    bool quiet;                   // no faults any more
    const char *broken;
    uint64_t answers_ok, answers_partial, answers_failed, writes_acked, splits;
};

static inline void
world_require(struct world *world, bool holds, const char *claim)
{
    if (!holds && world->broken == NULL)
        world->broken = claim;
}

static inline bool
world_chance(struct world *world, uint32_t of_100)
{
    return prng_below(&world->prng, 100) < of_100;
}

static inline uint64_t
world_delay(struct world *world)
{
    const uint64_t delay_ns = WORLD_MS / 10 + prng_below(&world->prng, 2000000);
    return !world->quiet && world_chance(world, 4) ? delay_ns * 40 : delay_ns;
}

static inline struct world_event *
world_push(struct world *world, enum world_event_kind kind, uint64_t delay_ns)
{
    for (uint32_t i = 0; i < WORLD_EVENTS; i++)
        if (world->events[i].kind == EVENT_NONE) {
            memset(&world->events[i], 0, sizeof world->events[i]);
            world->events[i].kind = kind;
            world->events[i].at_ns = world->now_ns + delay_ns;
            return &world->events[i];
        }
    abort();
}

static inline uint64_t
world_hash(uint32_t point)
{
    return hash_id_u64(point);
}

// With ties.
static inline float
world_distance(uint32_t point, uint64_t request)
{
    return (float)(mix64(point * 977 + request) % 16);
}

// ---- the map ----

static inline struct world_shard *
world_shard(struct world *world, uint64_t id)
{
    for (uint32_t i = 0; i < world->shard_count; i++)
        if (world->shards[i].id == id)
            return &world->shards[i];
    return NULL;
}

static inline void
world_table_event(struct world *world)
{
    world_push(world, EVENT_TABLE, world_delay(world) * (world_chance(world, 20) ? 30 : 1));
}

static inline void
world_map_changed(struct world *world)
{
    world->map_version++;
    if (world->quiet || !world_chance(world, 30))
        world_table_event(world);
}

static inline void
world_place(struct world *world, struct world_shard *shard, uint32_t copies)
{
    const uint32_t from = prng_below(&world->prng, WORLD_NODES);
    shard->copies = copies;
    shard->primary = prng_below(&world->prng, copies);
    for (uint32_t i = 0; i < copies; i++) {
        shard->nodes[i] = 1 + (from + i) % WORLD_NODES;
        shard->uuids[i] = ++world->uuids;
    }
}

static inline void
world_split(struct world *world)
{
    struct world_shard *parent = &world->shards[prng_below(&world->prng, world->shard_count)];
    if (parent->retired || world->shard_count + 2 > WORLD_SHARDS ||
        parent->last - parent->first < 1000)
        return;
    const uint64_t middle = parent->first + (parent->last - parent->first) / 2;
    for (uint32_t i = 0; i < 2; i++) {
        struct world_shard *child = &world->shards[world->shard_count];
        *child = *parent;
        child->id = ++world->shard_count;
        child->parent = parent->id;
        child->first = i == 0 ? parent->first : middle + 1;
        child->last = i == 0 ? middle : parent->last;
        child->cfg_ver = 1;
        child->term++;
        world_place(world, child, parent->copies);
        for (uint32_t p = 0; p < WORLD_POINTS; p++)
            if (world_hash(p) < child->first || world_hash(p) > child->last)
                child->versions[p] = 0;
    }
    parent->retired = true;
    parent->cfg_ver++;
    world->splits++;
    world_map_changed(world);
}

static inline void
world_change(struct world *world)
{
    struct world_shard *shard = &world->shards[prng_below(&world->prng, world->shard_count)];
    if (shard->retired)
        return;
    shard->cfg_ver++;
    if (world_chance(world, 50)) {
        shard->primary = (shard->primary + 1) % shard->copies;
        shard->term++;
    } else { // a copy goes elsewhere
        const uint32_t at = prng_below(&world->prng, shard->copies);
        shard->nodes[at] = 1 + prng_below(&world->prng, WORLD_NODES);
        for (uint32_t i = 0; i < shard->copies; i++)
            if (i != at && shard->nodes[i] == shard->nodes[at])
                shard->nodes[at] = 1 + shard->nodes[at] % WORLD_NODES;
        shard->uuids[at] = ++world->uuids;
    }
    world_map_changed(world);
}

static inline struct routes *
world_table(struct world *world)
{
    struct routes *routes = calloc(1, sizeof *routes);
    routes_init(routes, world->map_version);
    for (uint32_t i = 0; i < world->shard_count; i++) {
        const struct world_shard *shard = &world->shards[i];
        struct route row = {.collection = 1,
                            .shard = shard->id,
                            .parent = shard->parent,
                            .first = shard->first,
                            .last = shard->last,
                            .term = shard->term,
                            .cfg_ver = shard->cfg_ver,
                            .copy_count = shard->copies,
                            .primary = shard->primary};
        for (uint32_t j = 0; j < shard->copies; j++)
            row.copies[j] = (struct route_copy){
                .low = shard->uuids[j], .node = shard->nodes[j], .near = shard->nodes[j] % 3 == 0};
        if (!shard->retired && routes_add(routes, &row) != OMEN_OK)
            abort();
    }
    if (routes_seal(routes) != OMEN_OK)
        abort();
    return routes;
}

// ---- the fan-out's step, and what it says ----

static inline struct world_request *
world_request(struct world *world, uint64_t client)
{
    return &world->requests[client];
}

static inline void
world_send(struct world *world, const struct fanout_send *send)
{
    uint32_t op = 0;
    while (op < world->request_count && world->requests[op].number != send->request)
        op++;
    world_require(world, op < world->request_count && !world->requests[op].answered,
                  "what is sent belongs to a request under way");
    if (world->broken != NULL)
        return;
    const struct world_request *request = &world->requests[op];
    world_require(world, send->deadline_ns <= request->deadline_ns, "a deadline is passed on");
    if (!world->quiet && world_chance(world, world->loss))
        return;
    for (uint32_t copies = !world->quiet && world_chance(world, 5) ? 2 : 1; copies > 0; copies--) {
        struct world_event *event = world_push(world, EVENT_ARRIVES, world_delay(world));
        event->send = *send;
        event->op = op;
        for (uint32_t i = 0, at = send->item_first; i < send->item_count;
             i++, at = request->items[at].next)
            event->items[event->item_count++] = at;
    }
}

// The points whose newest version was acknowledged before the request began and that nothing else can have changed meanwhile:
// a search of primaries, with room for all, finds each.
static inline void
world_check_strong(struct world *world, const struct world_request *request, uint32_t count)
{
    if (request->consistency != FANOUT_STRONG || request->k < WORLD_K)
        return;
    for (uint32_t p = 0; p < WORLD_POINTS; p++) {
        bool found = request->acked_before[p] == 0;
        for (uint32_t i = 0; i < count && !found; i++)
            found = request->hits[i].number == p &&
                    request->hits[i].version >= request->acked_before[p];
        world_require(world, found, "a strong search finds what was acknowledged before it");
    }
}

// Against the dumb way: all hits that were taken, of each id the newest, sorted.
static inline void
world_check_merge(struct world *world, const struct world_request *request, uint32_t count)
{
    static const struct merge_hit *best[WORLD_POINTS * 4];
    uint32_t expected = 0;
    memset(best, 0, sizeof best);
    for (uint32_t i = 0; i < request->list_count; i++)
        for (uint32_t j = 0; j < request->lists[i].count; j++) {
            const struct merge_hit *hit = &request->lists[i].hits[j];
            const struct merge_hit *other = best[hit->number];
            if (other == NULL || hit->version > other->version ||
                (hit->version == other->version && hit->distance < other->distance))
                best[hit->number] = hit;
        }
    for (uint32_t i = 0; i < count; i++) {
        const struct merge_hit *hit = &request->hits[i];
        const struct merge_hit *other = best[hit->number];
        world_require(world, other != NULL && hit->version == other->version,
                      "a hit is the newest that a shard said");
        world_require(world,
                      i == 0 || hit[-1].distance < hit->distance ||
                          (hit[-1].distance == hit->distance && hit[-1].number < hit->number),
                      "hits are sorted, and each is there once");
    }
    uint32_t nearest = 0; // those that are no farther than the last
    for (uint32_t p = 0; p < WORLD_POINTS * 4; p++) {
        const struct merge_hit *last = count > 0 ? &request->hits[count - 1] : NULL;
        expected += best[p] != NULL;
        nearest += best[p] != NULL && last != NULL &&
                   (best[p]->distance < last->distance ||
                    (best[p]->distance == last->distance && p <= last->number));
    }
    world_require(world, nearest == count, "nothing nearer was left out");
    world_require(world, count == (expected < request->k ? expected : request->k),
                  "as many hits as there are");
}

static inline void
world_check_items(struct world *world, struct world_request *request)
{
    for (uint32_t i = 0; i < request->item_count; i++) {
        const struct fanout_item *item = &request->items[i];
        const uint32_t point = request->points[i];
        if (request->kind == FANOUT_GET) {
            world_require(world,
                          request->consistency != FANOUT_STRONG ||
                              item->status != OMEN_E_NOT_FOUND || request->acked_before[point] == 0,
                          "a strong read finds what was acknowledged before it");
            continue;
        }
        world_require(world, (item->outcome == FANOUT_APPLIED) == (item->status == OMEN_OK),
                      "ok means applied");
        world_require(world, item->outcome != FANOUT_APPLIED || request->applied[i] == 1,
                      "what is acknowledged was done, once");
        world_require(world, item->outcome != FANOUT_NOT_APPLIED || request->applied[i] == 0,
                      "what is said not to be done was not done");
        request->said_not[i] = item->outcome == FANOUT_NOT_APPLIED;
        if (item->outcome != FANOUT_APPLIED)
            continue;
        world->writes_acked++;
        for (uint32_t s = 0; s < world->shard_count; s++)
            if (!world->shards[s].retired && world->shards[s].first <= item->hash &&
                item->hash <= world->shards[s].last)
                world->acked[point] = world->shards[s].versions[point];
    }
}

static inline void
world_answer(struct world *world, const struct fanout_answer *answer)
{
    struct world_request *request = world_request(world, answer->client);
    world_require(world, request->begun && !request->answered, "a request is answered once");
    world_require(world, world->now_ns <= request->deadline_ns, "an answer is in time");
    if (world->broken != NULL)
        return;
    const struct fanout_report *reports = &world->out.reports[answer->report_first];
    uint32_t failed = 0;
    uint64_t covered = 0;
    for (uint32_t i = 0; i < answer->report_count; i++) {
        failed += reports[i].status != OMEN_OK;
        covered += reports[i].last - reports[i].first + 1;
        if (request->consistency == FANOUT_SESSION && reports[i].shard == request->token.shard &&
            reports[i].status == OMEN_OK)
            world_require(world, reports[i].seq >= request->token.seq,
                          "a session does not go back");
    }
    if (answer->request != 0) {
        world_require(world, failed == answer->failed_count, "the parts that failed are named");
        world_require(world, request->kind != FANOUT_SEARCH || covered == 0,
                      "the parts are all there is"); // 2^64 hashes
    }
    if (request->kind == FANOUT_SEARCH && answer->status == OMEN_OK) {
        world_check_merge(world, request, answer->hit_count);
        if (failed == 0)
            world_check_strong(world, request, answer->hit_count);
    }
    world_check_items(world, request);
    world->answers_ok += answer->status == OMEN_OK && failed == 0;
    world->answers_partial += answer->status == OMEN_OK && failed > 0;
    world->answers_failed += answer->status != OMEN_OK;
    world_require(world,
                  !world->quiet || answer->status == OMEN_OK ||
                      request->begun_ns < world->now_ns - 400 * WORLD_MS ||
                      answer->status == OMEN_E_CANCELLED || answer->status == OMEN_E_BUSY,
                  "in a quiet world requests succeed");
    request->answered = true;
    world->open_count--;
    free(request->items);
    free(request->hits);
    for (uint32_t i = 0; i < request->lent_count; i++)
        free(request->lent[i]);
    request->items = NULL;
    request->hits = NULL;
}

static inline void
world_step(struct world *world, struct fanout_input in)
{
    in.now_ns = world->now_ns;
    fanout_step(&world->fanout, &in, &world->out);
    fanout_check(&world->fanout);
    const struct fanout_output *out = &world->out;
    if (in.kind == FANOUT_IN_START && out->started != 0)
        world->requests[in.start->client].number = out->started;
    for (uint32_t i = 0; i < out->send_count; i++)
        world_send(world, &out->sends[i]);
    if (in.kind == FANOUT_IN_REPLY && out->taken) {
        uint32_t at = 0;
        while (world->requests[at].number != in.reply->request)
            at++;
        struct world_request *request = &world->requests[at];
        request->lists[request->list_count++] = in.reply->hits;
        request->lent[request->lent_count++] = (void *)(uintptr_t)in.reply->hits.hits;
        request->lent[request->lent_count++] = (void *)(uintptr_t)in.reply->statuses;
    }
    for (uint32_t i = 0; i < out->answer_count; i++)
        world_answer(world, &out->answers[i]);
    if (out->want_version != 0 && (world->quiet || !world_chance(world, 30)))
        world_table_event(world);
    world->wake_ns = out->wake_ns;
}

// ---- copies ----

// The same operation answers the same, wherever it is looked up.
static inline omen_status
world_item_status(uint32_t op, uint32_t item)
{
    return mix64(op * 1000ull + item) % 8 == 0 ? OMEN_E_CONFLICT : OMEN_OK;
}

static inline void
world_apply(struct world *world, struct world_shard *shard, const struct world_event *event)
{
    struct world_request *request = &world->requests[event->op];
    if (shard->done[event->op])
        return;
    shard->done[event->op] = 1;
    shard->seq++;
    for (uint32_t i = 0; i < event->item_count; i++) {
        const uint32_t item = event->items[i];
        if (world_item_status(event->op, item) != OMEN_OK)
            continue;
        shard->versions[request->points[item]] = shard->seq;
        world_require(world, ++request->applied[item] == 1, "a write is done once");
        world_require(world, !request->said_not[item],
                      "what is said not to be done is not done later");
    }
}

static inline int
world_compare(const void *a, const void *b)
{
    const struct merge_hit *left = a, *right = b;
    if (left->distance != right->distance)
        return left->distance < right->distance ? -1 : 1;
    return left->number < right->number ? -1 : left->number > right->number;
}

// The points of the range; now and then an old version of somebody else's as well, which a move left behind.
static inline void
world_find(struct world *world, const struct world_shard *shard, const struct world_event *event,
           struct fanout_reply *reply)
{
    const uint32_t k = world->requests[event->op].k;
    struct merge_hit *hits = malloc(WORLD_POINTS * sizeof *hits);
    uint32_t count = 0;
    for (uint32_t p = 0; p < WORLD_POINTS; p++) {
        const uint64_t hash = world_hash(p);
        const bool ours = hash >= event->send.first && hash <= event->send.last &&
                          hash >= shard->first && hash <= shard->last;
        uint64_t version = ours ? shard->versions[p] : 0;
        if (!ours && world_chance(world, 2) && world->acked[p] > 1)
            version = 1;
        if (version != 0)
            hits[count++] = (struct merge_hit){.distance = world_distance(p, event->op + version),
                                               .number = p,
                                               .version = version};
    }
    qsort(hits, count, sizeof *hits, world_compare);
    reply->hits = (struct merge_list){hits, count < k ? count : k};
}

static inline void
world_serve(struct world *world, struct world_shard *shard, const struct world_event *event,
            struct fanout_reply *reply)
{
    omen_status *statuses = malloc((event->item_count + 1) * sizeof *statuses);
    for (uint32_t i = 0; i < event->item_count; i++) {
        const uint32_t point = world->requests[event->op].points[event->items[i]];
        statuses[i] = event->send.kind == FANOUT_WRITE
                          ? world_item_status(event->op, event->items[i])
                      : shard->versions[point] == 0 ? OMEN_E_NOT_FOUND
                                                    : OMEN_OK;
    }
    if (event->send.kind == FANOUT_WRITE)
        world_apply(world, shard, event);
    if (event->send.kind == FANOUT_SEARCH)
        world_find(world, shard, event, reply);
    reply->statuses = statuses;
    reply->item_count = event->item_count;
    reply->term = shard->term;
    reply->seq = shard->seq;
    if (event->send.consistency == FANOUT_ANY && reply->seq > 0 && event->send.kind != FANOUT_WRITE)
        reply->seq -= prng_below(&world->prng, 2);
}

static inline omen_status
world_refusal(struct world *world, const struct world_shard *shard, const struct fanout_send *send)
{
    static const omen_status odd[] = {OMEN_E_BUSY,    OMEN_E_BUSY, OMEN_E_STALE_MAP,
                                      OMEN_E_CORRUPT, OMEN_E_IO,   OMEN_E_NO_MEMORY};
    uint32_t at = 0;
    if (shard == NULL || shard->retired || shard->cfg_ver != send->cfg_ver)
        return OMEN_E_STALE_MAP;
    while (at < shard->copies && shard->uuids[at] != send->copy_low)
        at++;
    if (at == shard->copies || shard->nodes[at] != send->node)
        return OMEN_E_STALE_MAP;
    const bool primary = send->kind == FANOUT_WRITE || send->consistency == FANOUT_STRONG;
    if (primary && at != shard->primary)
        return OMEN_E_STALE_MAP;
    if (!world->quiet && world_chance(world, world->refuse))
        return odd[prng_below(&world->prng, send->kind == FANOUT_WRITE ? 5 : 6)];
    return send->after_seq > shard->seq ? OMEN_E_BUSY : OMEN_OK;
}

static inline void
world_arrives(struct world *world, const struct world_event *event)
{
    struct world_shard *shard = world_shard(world, event->send.shard);
    struct fanout_reply reply = {.request = event->send.request,
                                 .part = event->send.part,
                                 .attempt = event->send.attempt,
                                 .node = event->send.node,
                                 .queue = prng_below(&world->prng, 8),
                                 .draining = !world->quiet && world_chance(world, 3),
                                 .map_version = world->map_version};
    if (world->down[event->send.node] && !world->quiet)
        return;
    reply.status = world_refusal(world, shard, &event->send);
    if (reply.status == OMEN_OK)
        world_serve(world, shard, event, &reply);
    if (reply.status == OMEN_OK && !world->quiet && world_chance(world, 3)) {
        free((void *)(uintptr_t)reply.hits.hits); // done, and then something went wrong
        free((void *)(uintptr_t)reply.statuses);
        reply.hits = (struct merge_list){NULL, 0};
        reply.statuses = NULL;
        reply.status = OMEN_E_TIMEOUT;
    }
    const bool lost = !world->quiet && world_chance(world, world->loss);
    if (lost) {
        free((void *)(uintptr_t)reply.hits.hits);
        free((void *)(uintptr_t)reply.statuses);
        return;
    }
    struct world_event *back = world_push(world, EVENT_REPLY, world_delay(world));
    back->reply = reply;
}

// ---- clients ----

static inline void
world_begin(struct world *world)
{
    if (world->request_count == WORLD_REQUESTS)
        return;
    const uint32_t op = world->request_count++;
    struct world_request *request = &world->requests[op];
    request->begun = true;
    request->begun_ns = world->now_ns;
    request->kind = FANOUT_SEARCH + prng_below(&world->prng, 3);
    request->consistency = prng_below(&world->prng, 3);
    request->deadline_ns = world->now_ns + WORLD_MS * (5 + (uint64_t)prng_below(&world->prng, 400));
    if (world->quiet)
        request->deadline_ns = world->now_ns + 1000 * WORLD_MS;
    memcpy(request->acked_before, world->acked, sizeof world->acked);
    struct fanout_start start = {.client = op,
                                 .kind = request->kind,
                                 .consistency = request->consistency,
                                 .collection = 1,
                                 .deadline_ns = request->deadline_ns};
    if (request->kind == FANOUT_SEARCH) {
        request->k = world_chance(world, 50) ? WORLD_K : 1 + prng_below(&world->prng, 10);
        request->hits = malloc(request->k * sizeof *request->hits);
        start.hits = request->hits;
        start.k = request->k;
        start.partial = world_chance(world, 50);
    } else {
        const uint32_t from = prng_below(&world->prng, WORLD_POINTS);
        request->item_count = 1 + prng_below(&world->prng, 12);
        request->items = malloc(request->item_count * sizeof *request->items);
        for (uint32_t i = 0; i < request->item_count; i++) {
            request->points[i] = (from + i * 7) % WORLD_POINTS;
            request->items[i].hash = world_hash(request->points[i]);
        }
        start.items = request->items;
        start.item_count = request->item_count;
        start.op_id = (struct fanout_op){1, op};
    }
    if (request->consistency == FANOUT_SESSION && request->kind != FANOUT_WRITE) {
        const struct world_shard *shard =
            &world->shards[prng_below(&world->prng, world->shard_count)];
        request->token = (struct fanout_token){shard->id, shard->term, shard->seq};
        start.tokens = &request->token;
        start.token_count = 1;
    }
    world->open_count++;
    world_step(world, (struct fanout_input){.kind = FANOUT_IN_START, .start = &start});
    if (world_chance(world, 2) && world->out.started != 0 && !request->answered)
        world_step(world,
                   (struct fanout_input){.kind = FANOUT_IN_CANCEL, .request = request->number});
}

// ---- time ----

static inline void
world_happens(struct world *world, struct world_event *at)
{
    const struct world_event event = *at;
    at->kind = EVENT_NONE;
    if (event.kind == EVENT_ARRIVES)
        world_arrives(world, &event);
    if (event.kind == EVENT_REPLY) {
        world_step(world, (struct fanout_input){.kind = FANOUT_IN_REPLY, .reply = &event.reply});
        if (!world->out.taken) {
            free((void *)(uintptr_t)event.reply.hits.hits);
            free((void *)(uintptr_t)event.reply.statuses);
        }
    }
    if (event.kind == EVENT_TABLE) {
        struct routes *routes = world_table(world);
        world_step(world, (struct fanout_input){.kind = FANOUT_IN_ROUTES, .routes = routes});
        if (world->fanout.routes != routes || world->table_count == 64) {
            routes_fini(routes); // not newer
            free(routes);
            return;
        }
        for (uint32_t i = 0; i < world->table_count; i++) { // nobody needs the older one any more
            routes_fini(world->tables[i]);
            free(world->tables[i]);
        }
        world->tables[0] = routes;
        world->table_count = 1;
    }
}

// The next thing that happens, no later than that.
static inline void
world_advance(struct world *world, uint64_t end_ns)
{
    while (world->broken == NULL) {
        struct world_event *next = NULL;
        for (uint32_t i = 0; i < WORLD_EVENTS; i++)
            if (world->events[i].kind != EVENT_NONE &&
                (next == NULL || world->events[i].at_ns < next->at_ns))
                next = &world->events[i];
        uint64_t at_ns = next == NULL ? UINT64_MAX : next->at_ns;
        if (world->wake_ns < at_ns)
            at_ns = world->wake_ns;
        if (at_ns > end_ns)
            break;
        if (at_ns > world->now_ns)
            world->now_ns = at_ns;
        if (next != NULL && next->at_ns <= at_ns)
            world_happens(world, next);
        else
            world_step(world, (struct fanout_input){.kind = FANOUT_IN_WAKE});
    }
    world->now_ns = end_ns > world->now_ns ? end_ns : world->now_ns;
}

static inline void
world_disturb(struct world *world)
{
    const uint32_t node = 1 + prng_below(&world->prng, WORLD_NODES);
    switch (prng_below(&world->prng, 40)) {
    case 0:
        world_split(world);
        break;
    case 1:
    case 2:
        world_change(world);
        break;
    case 3:
        world->down[node] = !world->down[node];
        break;
    case 4: // true or not
        world_step(world, (struct fanout_input){.kind = FANOUT_IN_NODE,
                                                .node = node,
                                                .dead = world_chance(world, 50),
                                                .draining = world_chance(world, 10)});
        break;
    default:
        break;
    }
}

static inline void
world_open(struct world *world, uint64_t seed)
{
    memset(world, 0, sizeof *world);
    prng_init(&world->prng, seed);
    world->now_ns = 1000 * WORLD_MS;
    world->loss = prng_below(&world->prng, 4) * 5;
    world->refuse = prng_below(&world->prng, 4) * 5;
    const struct fanout_config config = {.requests_max = 4 + prng_below(&world->prng, 60),
                                         .parts_max = 200 + prng_below(&world->prng, 2000),
                                         .tries_max = 4 + prng_below(&world->prng, 28),
                                         .hedge_min_ns = WORLD_MS,
                                         .hedge_max_ns = 20 * WORLD_MS,
                                         .hedge_permille = prng_below(&world->prng, 300),
                                         .retry_ns = 2 * WORLD_MS,
                                         .retry_max_ns = 32 * WORLD_MS,
                                         .try_min_ns = 5 * WORLD_MS,
                                         .try_max_ns = 100 * WORLD_MS,
                                         .reserve_ns = WORLD_MS,
                                         .avoid_ns = 10 * WORLD_MS,
                                         .far_percent = 150};
    fanout_init(&world->fanout, &config, seed);
    const uint32_t shards = 1 + prng_below(&world->prng, 8),
                   copies = 1 + prng_below(&world->prng, 3);
    const uint64_t width = UINT64_MAX / shards;
    for (uint32_t i = 0; i < shards; i++) {
        struct world_shard *shard = &world->shards[world->shard_count++];
        shard->id = i + 1;
        shard->first = i * width + (i > 0);
        shard->last = i + 1 == shards ? UINT64_MAX : (i + 1) * width;
        shard->term = shard->cfg_ver = 1;
        world_place(world, shard, copies);
    }
    world->map_version = 1;
    world->wake_ns = UINT64_MAX;
    world_table_event(world);
}

static inline const char *
world_run(struct world *world, uint32_t turns)
{
    for (uint32_t i = 0; i < turns && world->broken == NULL; i++) {
        if (world_chance(world, 30))
            world_begin(world);
        world_disturb(world);
        world_advance(world, world->now_ns + prng_below(&world->prng, 2000000));
    }
    world_advance(world, world->now_ns + 500 * WORLD_MS); // all have ended
    world_require(world, world->open_count == 0 && world->fanout.request_count == 0,
                  "every request is answered");
    world_require(world,
                  world->fanout.counters.hedges * 1000 <=
                      world->fanout.counters.sends * world->fanout.config.hedge_permille,
                  "hedges are within their budget");
    world->quiet = true; // then everything works
    world_map_changed(world);
    world_advance(world, world->now_ns + 200 * WORLD_MS);
    for (uint32_t i = 0; i < 20 && world->broken == NULL; i++) {
        world_begin(world);
        world_advance(world, world->now_ns + 100 * WORLD_MS);
    }
    world_advance(world, world->now_ns + 1500 * WORLD_MS);
    world_require(world, world->open_count == 0, "every request is answered");
    return world->broken;
}

static inline void
world_close(struct world *world)
{
    for (uint32_t i = 0; i < WORLD_EVENTS; i++)
        if (world->events[i].kind == EVENT_REPLY) {
            free((void *)(uintptr_t)world->events[i].reply.hits.hits);
            free((void *)(uintptr_t)world->events[i].reply.statuses);
        }
    for (uint32_t i = 0; i < world->request_count; i++) {
        struct world_request *request = &world->requests[i];
        if (request->answered)
            continue;
        free(request->items);
        free(request->hits);
        for (uint32_t j = 0; j < request->lent_count; j++)
            free(request->lent[j]);
    }
    for (uint32_t i = 0; i < world->table_count; i++) {
        routes_fini(world->tables[i]);
        free(world->tables[i]);
    }
    fanout_fini(&world->fanout);
}

#endif
