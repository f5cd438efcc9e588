// tests/lib/sim_caller_check.h -- what must hold of an answer of a router, whoever gets it.
//
// Shape: shell, simulated.
//
// The token of each part names a state of its shard, and the shard's history says what that state is. So an answer is compared
// with the one answer there is: the k nearest of the points in those states. A strong read is of a state that has all that was
// acknowledged before it began; a session's of one that has what its client has seen. Parts that are missing are said to be.
#ifndef OMEN_TESTS_SIM_CALLER_CHECK_H
#define OMEN_TESTS_SIM_CALLER_CHECK_H
#include "tests/lib/sim_serve.h"

struct sim_call_op {
    uint64_t effect[SIM_POINTS]; // where it wrote the point; 0: nowhere yet
    uint32_t never;      // points that it was said not to have written, and nobody tries again
    uint64_t collection; // 0: it was never sent
    uint8_t kind;        // of the ids
};

static inline struct sim_done
sim_point_state(struct sim *sim, uint64_t shard, uint32_t point, uint64_t seq, uint64_t *at)
{
    struct sim_shard_history *history = sim_history(sim, shard);
    SIM_REQUIRE(sim, seq <= sim_line(sim, history, seq)->last, "a token names what was applied");
    for (*at = seq; *at > 0; --*at)
        if (sim_done_at(sim, history, *at)->mask >> point % SIM_SHARD_KEYS & 1)
            return *sim_done_at(sim, history, *at);
    return (struct sim_done){.erased = true};
}

static inline const struct fanout_report *
sim_report_of(const struct fanout_report *reports, uint32_t count, uint32_t point)
{
    for (uint32_t i = 0; i < count; i++)
        if (sim_point_within(point, reports[i].first, reports[i].last))
            return &reports[i];
    return NULL;
}

// The entry of a call's operation was applied for the first time.
void
sim_call_applied(struct sim *sim, uint64_t seq, const struct sim_row *row)
{
    struct sim_call_op *op = &sim->routers->ops[sim_row_op(row)];
    SIM_REQUIRE(sim, row->bytes[3] == op->kind, "a write keeps its kind of ids");
    if (row->bytes[1] == 0)
        sim_kind_applied(sim, op->collection, op->kind);
    for (uint32_t key = 0; key < SIM_SHARD_KEYS; key++) {
        const uint32_t point = row->bytes[2] * SIM_SHARD_KEYS + key;
        if ((row->bytes[0] >> key & 1) == 0)
            continue;
        SIM_REQUIRE(sim, op->effect[point] == 0,
                    "exactly once: an operation writes a point once, however it was routed");
        SIM_REQUIRE(sim, (op->never >> point & 1) == 0,
                    "what a router says was not applied never is");
        op->effect[point] = seq;
    }
}

// ---- parts ----

static inline void
sim_check_flags(struct sim *sim, const struct sim_call *call, const struct fanout_answer *answer,
                const struct fanout_report *reports)
{
    uint32_t failed = 0;
    for (uint32_t i = 0; i < answer->report_count; i++)
        failed += reports[i].status != OMEN_OK;
    SIM_REQUIRE(sim, answer->report_count == answer->part_count && answer->failed_count == failed,
                "each part that is missing is named");
    if (failed == 0)
        SIM_REQUIRE(sim, answer->status == OMEN_OK, "an answer with all its parts is one");
    if (failed > 0 && (!call->start.partial || failed == answer->part_count))
        SIM_REQUIRE(sim, answer->status != OMEN_OK,
                    "an answer with parts missing is none unless its client allows it");
    if (failed > 0 && failed < answer->part_count && call->start.partial)
        SIM_REQUIRE(sim, answer->status == OMEN_OK || status_act(answer->status) == ACT_REPORT,
                    "who allows parts to be missing gets the others");
}

// The parts of a search leave no hash out, and have none twice.
static inline void
sim_check_tiles(struct sim *sim, const struct fanout_report *reports, uint32_t count)
{
    uint64_t first = 0;
    for (uint32_t tiles = 1;; tiles++) {
        const struct fanout_report *next = NULL;
        for (uint32_t i = 0; i < count && next == NULL; i++)
            if (reports[i].first == first)
                next = &reports[i];
        SIM_REQUIRE(sim, next != NULL && tiles <= count, "a search asks for every hash once");
        if (next->last == UINT64_MAX) {
            SIM_REQUIRE(sim, tiles == count, "a search asks for every hash once");
            return;
        }
        first = next->last + 1;
    }
}

// Whether one of them comes from the other by splits: the line goes on counting.
static inline bool
sim_is_kin(struct sim *sim, uint64_t a, uint64_t b)
{
    for (uint64_t shard = a; shard != 0; shard = sim_history(sim, shard)->parent)
        if (shard == b)
            return true;
    for (uint64_t shard = b; shard != 0; shard = sim_history(sim, shard)->parent)
        if (shard == a)
            return true;
    return false;
}

static inline void
sim_check_strong(struct sim *sim, const struct sim_call *call, const struct fanout_report *report)
{
    for (uint32_t point = 0; point < SIM_POINTS; point++) {
        if (!sim_point_within(point, report->first, report->last))
            continue;
        SIM_REQUIRE(sim, report->seq >= call->floors[point],
                    "I10: a strong answer is of a state with all that was acknowledged before");
        SIM_REQUIRE(sim, report->seq >= call->begun_at[point],
                    "I10: a strong answer is of a state with all that any copy had applied before");
    }
}

static inline void
sim_check_states(struct sim *sim, const struct sim_call *call, const struct fanout_report *report)
{
    if (call->start.kind != FANOUT_WRITE && call->start.consistency == FANOUT_STRONG)
        sim_check_strong(sim, call, report);
    if (call->start.kind != FANOUT_WRITE && call->start.consistency == FANOUT_SESSION)
        for (uint32_t i = 0; i < call->start.token_count; i++)
            SIM_REQUIRE(sim,
                        !sim_is_kin(sim, call->tokens[i].shard, report->shard) ||
                            report->seq >= call->tokens[i].seq,
                        "a session's answer is of a state with all that its client has seen");
}

// ---- hits ----

static inline void
sim_check_hits(struct sim *sim, const struct sim_call *call, const struct fanout_answer *answer,
               const struct fanout_report *reports)
{
    struct merge_hit expected[SIM_POINTS];
    uint32_t count = 0;
    for (uint32_t point = 0; point < SIM_POINTS; point++) {
        const struct fanout_report *report = sim_report_of(reports, answer->report_count, point);
        if (report->status != OMEN_OK)
            continue;
        uint64_t seq;
        if (sim_point_state(sim, report->shard, point, report->seq, &seq).erased)
            continue;
        count = sim_hit_add(expected, count, call->start.k,
                            (struct merge_hit){.distance = sim_point_distance(point, call->query),
                                               .number = point,
                                               .version = seq});
    }
    for (uint32_t i = 0; i < answer->hit_count; i++)
        for (uint32_t j = 0; j < i; j++)
            SIM_REQUIRE(sim, call->hits[i].number != call->hits[j].number,
                        "no point is found twice");
    SIM_REQUIRE(sim, answer->hit_count == count,
                "a search finds what is there, and nothing that was deleted");
    for (uint32_t i = 0; i < count; i++)
        SIM_REQUIRE(sim,
                    call->hits[i].number == expected[i].number &&
                        call->hits[i].distance == expected[i].distance &&
                        call->hits[i].version == expected[i].version,
                    "the nearest are found, in order and in their newest version");
}

// ---- items ----

static inline void
sim_check_got(struct sim *sim, const struct sim_call *call, uint32_t item,
              const struct fanout_report *report)
{
    const omen_status status = call->items[item].status;
    if (report->status != OMEN_OK) {
        SIM_REQUIRE(sim, status != OMEN_OK && status != OMEN_E_NOT_FOUND,
                    "of a part that is missing nothing is said");
        return;
    }
    uint64_t seq;
    const struct sim_done state =
        sim_point_state(sim, report->shard, call->points[item], report->seq, &seq);
    SIM_REQUIRE(sim, status == (state.erased ? OMEN_E_NOT_FOUND : OMEN_OK),
                "a point is there or not as its shard has it");
    SIM_REQUIRE(sim, call->seen[item] == seq, "a point is read in its newest version");
}

static inline void
sim_check_written(struct sim *sim, const struct sim_call *call, uint32_t item,
                  const struct fanout_report *report)
{
    const struct sim_call_op *op = &sim->routers->ops[call->op];
    const uint32_t point = call->points[item];
    SIM_REQUIRE(sim, call->items[item].outcome == report->outcome,
                "an item is done as its part is");
    if (report->outcome != FANOUT_APPLIED)
        return;
    SIM_REQUIRE(sim, op->effect[point] == report->seq && report->seq != 0,
                "a write that was acknowledged is where its token says");
    SIM_REQUIRE(sim, report->seq > call->floors[point],
                "a write of a point comes after all that was done on it before it began");
}

static inline void
sim_check_answer(struct sim *sim, uint32_t at, const struct sim_call *call,
                 const struct fanout_answer *answer)
{
    const struct fanout_report *reports = &sim->routers->out.reports[answer->report_first];
    SIM_REQUIRE(sim,
                sim_place_time(sim, at) <= call->start.deadline_ns ||
                    sim->routers->places[at].deferred_ns > call->begun_ns,
                "every request is answered by its deadline");
    if (answer->request == 0)
        return; // refused at once
    sim_check_flags(sim, call, answer, reports);
    if (call->start.kind == FANOUT_SEARCH)
        sim_check_tiles(sim, reports, answer->report_count);
    for (uint32_t i = 0; i < answer->report_count; i++)
        if (reports[i].status == OMEN_OK)
            sim_check_states(sim, call, &reports[i]);
    if (call->start.kind == FANOUT_SEARCH && answer->status == OMEN_OK)
        sim_check_hits(sim, call, answer, reports);
    for (uint32_t i = 0; i < call->start.item_count; i++) {
        const struct fanout_report *report =
            sim_report_of(reports, answer->report_count, call->points[i]);
        SIM_REQUIRE(sim, report != NULL, "every item is in a part");
        if (call->start.kind == FANOUT_GET)
            sim_check_got(sim, call, i, report);
        else
            sim_check_written(sim, call, i, report);
    }
}

#endif
