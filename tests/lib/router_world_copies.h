// tests/lib/router_world_copies.h -- what the fan-out of tests/lib/router_world.h sends and answers, and what copies do with it.
//
// Shape: shell.
#ifndef OMEN_TESTS_ROUTER_WORLD_COPIES_H
#define OMEN_TESTS_ROUTER_WORLD_COPIES_H
#include "tests/lib/router_world_map.h"

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

#endif
