// tests/fuzz/fuzz_router.c -- any bytes as the fields of answers to a running fan-out, which stays whole and answers each request once.
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "router/fanout.h"

#define HITS 4u
#define ITEMS 6u
#define REPLIES 4096u // more are not heard

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count);

static struct fanout fanout;
static struct fanout_output out;
static struct fanout_send sent[16]; // the latest
static uint32_t sent_count, open_count;
static struct fanout_item items[ITEMS];
static struct merge_hit merged[8];
static struct merge_hit lent[REPLIES][HITS]; // to the machine, until it has merged them
static uint32_t reply_count;
static omen_status statuses[ITEMS];

static void
step(struct fanout_input in)
{
    fanout_step(&fanout, &in, &out);
    fanout_check(&fanout);
    for (uint32_t i = 0; i < out.send_count; i++)
        sent[sent_count++ % 16] = out.sends[i];
    open_count += out.started != 0;
    for (uint32_t i = 0; i < out.answer_count; i++)
        open_count -= out.answers[i].request != 0;
    ASSERT(open_count == fanout.request_count);
}

static struct routes
table(uint64_t version, uint32_t shards)
{
    struct routes routes;
    routes_init(&routes, version);
    for (uint32_t i = 0; i < shards; i++) {
        const uint64_t width = UINT64_MAX / shards;
        const struct route row = {.collection = 1,
                                  .shard = version * 10 + i,
                                  .first = i * width + (i > 0),
                                  .last = i + 1 == shards ? UINT64_MAX : (i + 1) * width,
                                  .cfg_ver = 1,
                                  .copy_count = 2,
                                  .copies = {{.low = 1, .node = 1}, {.low = 2, .node = 2 + i}}};
        ASSERT(routes_add(&routes, &row) == OMEN_OK);
    }
    ASSERT(routes_seal(&routes) == OMEN_OK);
    return routes;
}

static void
start(uint64_t now_ns, uint32_t kind)
{
    for (uint32_t i = 0; i < ITEMS; i++)
        items[i].hash = i * (UINT64_MAX / ITEMS);
    const struct fanout_start given = {.kind = FANOUT_SEARCH + kind % 3,
                                       .consistency = kind / 3 % 3,
                                       .collection = 1,
                                       .deadline_ns = now_ns + 300000000,
                                       .op_id = {1, 1},
                                       .items = kind % 3 == 0 ? NULL : items,
                                       .item_count = kind % 3 == 0 ? 0 : ITEMS,
                                       .hits = merged,
                                       .k = kind % 3 == 0 ? 8 : 0};
    if (fanout.request_count == 0) // it has the items for itself
        step((struct fanout_input){.now_ns = now_ns, .kind = FANOUT_IN_START, .start = &given});
}

// The fields as they come; the names of the latest sub-requests now and then, or nothing would be heard.
static void
reply(uint64_t now_ns, uint8_t how, const uint8_t *bytes, size_t count)
{
    struct fanout_reply given;
    if (reply_count == REPLIES)
        return;
    struct merge_hit *hits = lent[reply_count++];
    memset(hits, 0, sizeof lent[0]);
    memset(&given, 0, sizeof given);
    memcpy(&given, bytes, count < sizeof given ? count : sizeof given);
    given.draining = how / 4 % 2 == 1; // a decoder makes a bool one
    memcpy(hits, bytes, count < sizeof lent[0] ? count : sizeof lent[0]);
    memcpy(statuses, bytes, count < sizeof statuses ? count : sizeof statuses);
    if (sent_count > 0 && how % 8 != 0) {
        const struct fanout_send *to = &sent[how / 8 % 16];
        given.request = to->request;
        given.part = to->part;
        given.attempt = to->attempt;
        given.node = to->node;
    }
    for (uint32_t i = 0; i < HITS; i++)
        hits[i].text = hits[i].text_bytes % 2 == 0 ? NULL : "0123456789";
    for (uint32_t i = 0; i < HITS; i++)
        hits[i].text_bytes = hits[i].text == NULL ? hits[i].text_bytes : hits[i].text_bytes % 10;
    given.hits.hits = how % 2 == 0 ? hits : NULL;
    given.hits.count =
        given.hits.hits == NULL || given.hits.count <= HITS ? given.hits.count : HITS;
    given.statuses = how % 4 == 1 ? statuses : NULL;
    given.item_count = given.item_count % 2 == 0 ? ITEMS / 2 : given.item_count;
    if (how % 16 < 4)
        given.status = OMEN_OK;
    step((struct fanout_input){.now_ns = now_ns, .kind = FANOUT_IN_REPLY, .reply = &given});
}

int
LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count)
{
    const struct fanout_config config = {.requests_max = 4,
                                         .parts_max = 16,
                                         .tries_max = 6,
                                         .hedge_min_ns = 1000000,
                                         .hedge_max_ns = 20000000,
                                         .hedge_permille = 500,
                                         .retry_ns = 2000000,
                                         .retry_max_ns = 30000000,
                                         .try_min_ns = 5000000,
                                         .try_max_ns = 90000000,
                                         .reserve_ns = 1000000,
                                         .avoid_ns = 5000000,
                                         .far_percent = 100};
    struct routes tables[] = {table(1, 2), table(2, 3), table(3, 5)};
    uint64_t now_ns = 1;
    sent_count = open_count = reply_count = 0;
    fanout_init(&fanout, &config, count);
    step((struct fanout_input){.now_ns = now_ns, .kind = FANOUT_IN_ROUTES, .routes = &tables[0]});
    while (count > 2) {
        const uint8_t what = bytes[0], how = bytes[1];
        size_t piece = 1 + what / 2;
        bytes += 2;
        count -= 2;
        piece = piece < count ? piece : count;
        now_ns += how * 50000ull;
        if (what % 16 == 0)
            step((struct fanout_input){
                .now_ns = now_ns, .kind = FANOUT_IN_ROUTES, .routes = &tables[how % 3]});
        else if (what % 16 == 1)
            step((struct fanout_input){.now_ns = now_ns,
                                       .kind = FANOUT_IN_NODE,
                                       .node = how % 8,
                                       .dead = how / 8 % 2 == 1,
                                       .draining = how / 16 % 2 == 1});
        else if (what % 16 == 2)
            step((struct fanout_input){.now_ns = now_ns, .kind = FANOUT_IN_WAKE});
        else if (what % 16 < 6)
            start(now_ns, how);
        else
            reply(now_ns, how, bytes, piece);
        bytes += piece;
        count -= piece;
    }
    step((struct fanout_input){.now_ns = now_ns + 400000000, .kind = FANOUT_IN_WAKE});
    while (out.wake_ns <= now_ns + 400000000) // a newer map may be asked for without end, later
        step((struct fanout_input){.now_ns = now_ns + 400000000, .kind = FANOUT_IN_WAKE});
    ASSERT(open_count == 0);
    fanout_fini(&fanout);
    for (uint32_t i = 0; i < 3; i++)
        routes_fini(&tables[i]);
    return 0;
}
