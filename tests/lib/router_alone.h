// tests/lib/router_alone.h -- one fan-out, a table written down in a line, and the test as everybody else.
//
// Shape: shell. The fan-out is checked after each step.
#ifndef OMEN_TESTS_ROUTER_ALONE_H
#define OMEN_TESTS_ROUTER_ALONE_H
#include <check.h>
#include <string.h>

#include "router/fanout.h"

#define MS 1000000ull
#define ALONE_COLLECTION 5u
#define ALONE_ITEMS_MAX 256u
#define ALONE_TABLES_MAX 16u

struct alone {
    struct fanout fanout;
    struct fanout_output out;
    uint64_t now_ns;
    struct routes tables[ALONE_TABLES_MAX]; // lent, so they stay to the end
    uint32_t table_count;
    struct fanout_item items[ALONE_ITEMS_MAX];
    struct merge_hit hits[64];
    // What was sent since the test forgot it; more than one step can send.
    struct fanout_send sends[2048];
    uint32_t send_count;
    struct fanout_answer answers[64];
    struct fanout_report reports[FANOUT_REPORTS_MAX]; // of the last answer
    uint32_t answer_count;
    uint32_t cancel_count;
    struct fanout_cancel last_cancel;
};

static inline struct fanout_config
alone_config(void)
{
    return (struct fanout_config){.requests_max = 8,
                                  .parts_max = 4096,
                                  .tries_max = 8,
                                  .hedge_min_ns = 1 * MS,
                                  .hedge_max_ns = 20 * MS,
                                  .hedge_permille = 1000,
                                  .retry_ns = 4 * MS,
                                  .retry_max_ns = 64 * MS,
                                  .try_min_ns = 10 * MS,
                                  .try_max_ns = 400 * MS,
                                  .reserve_ns = 2 * MS,
                                  .avoid_ns = 50 * MS,
                                  .far_percent = 200};
}

static inline void
alone_step(struct alone *alone, struct fanout_input in)
{
    in.now_ns = alone->now_ns;
    fanout_step(&alone->fanout, &in, &alone->out);
    fanout_check(&alone->fanout);
    const struct fanout_output *out = &alone->out;
    for (uint32_t i = 0; i < out->send_count; i++)
        alone->sends[alone->send_count++] = out->sends[i];
    for (uint32_t i = 0; i < out->answer_count; i++) {
        alone->answers[alone->answer_count++] = out->answers[i];
        memcpy(alone->reports, &out->reports[out->answers[i].report_first],
               out->answers[i].report_count * sizeof *alone->reports);
    }
    alone->cancel_count += out->cancel_count;
    if (out->cancel_count > 0)
        alone->last_cancel = out->cancels[out->cancel_count - 1];
}

static inline void
alone_open(struct alone *alone, const struct fanout_config *config)
{
    memset(alone, 0, sizeof *alone);
    alone->now_ns = 1000 * MS;
    fanout_init(&alone->fanout, config, 1);
}

static inline void
alone_close(struct alone *alone)
{
    fanout_fini(&alone->fanout);
    for (uint32_t i = 0; i < alone->table_count; i++)
        routes_fini(&alone->tables[i]);
}

// A table whose rows the caller fills in; lent to the fan-out by alone_give.
static inline struct routes *
alone_table(struct alone *alone, uint64_t version)
{
    ck_assert_uint_lt(alone->table_count, ALONE_TABLES_MAX);
    struct routes *routes = &alone->tables[alone->table_count++];
    routes_init(routes, version);
    return routes;
}

// Copy i of the shard is on node `node` + i; the first is primary, and near.
static inline struct route
alone_row(uint64_t shard, uint64_t first, uint64_t last, uint32_t node, uint32_t copies)
{
    struct route row = {.collection = ALONE_COLLECTION,
                        .shard = shard,
                        .first = first,
                        .last = last,
                        .term = 1,
                        .cfg_ver = 1,
                        .copy_count = (uint16_t)copies,
                        .primary = copies == 0 ? ROUTE_NONE : 0};
    for (uint32_t i = 0; i < copies; i++)
        row.copies[i] =
            (struct route_copy){.high = shard, .low = node + i, .node = node + i, .near = i == 0};
    return row;
}

static inline void
alone_add(struct routes *routes, struct route row)
{
    ck_assert_int_eq(routes_add(routes, &row), OMEN_OK);
}

static inline void
alone_give(struct alone *alone, struct routes *routes)
{
    ck_assert_int_eq(routes_seal(routes), OMEN_OK);
    alone_step(alone, (struct fanout_input){.kind = FANOUT_IN_ROUTES, .routes = routes});
}

// Equal ranges: shards 1.., each with so many copies on nodes 1..copies.
static inline void
alone_shards(struct alone *alone, uint64_t version, uint32_t shards, uint32_t copies)
{
    struct routes *routes = alone_table(alone, version);
    const uint64_t width = UINT64_MAX / shards;
    for (uint32_t i = 0; i < shards; i++)
        alone_add(routes, alone_row(i + 1, i * width + (i > 0),
                                    i + 1 == shards ? UINT64_MAX : (i + 1) * width, 1, copies));
    alone_give(alone, routes);
}

// The number of the request; 0: it was answered at once.
static inline uint64_t
alone_start(struct alone *alone, struct fanout_start start, uint64_t within_ns)
{
    alone->send_count = alone->answer_count = alone->cancel_count = 0;
    start.collection = start.collection == 0 ? ALONE_COLLECTION : start.collection;
    start.deadline_ns = alone->now_ns + within_ns;
    alone_step(alone, (struct fanout_input){.kind = FANOUT_IN_START, .start = &start});
    return alone->out.started;
}

static inline uint64_t
alone_search(struct alone *alone, enum fanout_consistency consistency, bool partial,
             uint64_t within_ns)
{
    return alone_start(alone,
                       (struct fanout_start){.client = 77,
                                             .kind = FANOUT_SEARCH,
                                             .consistency = consistency,
                                             .partial = partial,
                                             .hits = alone->hits,
                                             .k = 10},
                       within_ns);
}

// Items whose hashes lie evenly over all.
static inline uint64_t
alone_items(struct alone *alone, enum fanout_kind kind, uint32_t count, uint64_t within_ns)
{
    for (uint32_t i = 0; i < count; i++)
        alone->items[i].hash = UINT64_MAX / count * i + 5;
    return alone_start(alone,
                       (struct fanout_start){.client = 78,
                                             .kind = kind,
                                             .op_id = {3, 9},
                                             .items = alone->items,
                                             .item_count = count},
                       within_ns);
}

static inline void
alone_reply(struct alone *alone, const struct fanout_send *to, struct fanout_reply reply)
{
    reply.request = to->request;
    reply.part = to->part;
    reply.attempt = to->attempt;
    reply.node = to->node;
    alone_step(alone, (struct fanout_input){.kind = FANOUT_IN_REPLY, .reply = &reply});
}

static inline void
alone_says(struct alone *alone, uint32_t send, omen_status status)
{
    const struct fanout_send to = alone->sends[send];
    alone_reply(alone, &to, (struct fanout_reply){.status = status});
}

// Lets time pass, with every WAKE where it is wanted.
static inline void
alone_wait(struct alone *alone, uint64_t ns)
{
    const uint64_t end_ns = alone->now_ns + ns;
    uint32_t steps = 0;
    while (alone->out.wake_ns <= end_ns) {
        ck_assert_uint_lt(steps++, 100000);
        if (alone->out.wake_ns > alone->now_ns)
            alone->now_ns = alone->out.wake_ns;
        alone_step(alone, (struct fanout_input){.kind = FANOUT_IN_WAKE});
    }
    alone->now_ns = end_ns;
}

// What did not fit into one step.
static inline void
alone_drain(struct alone *alone)
{
    alone_wait(alone, 0);
}

#endif
