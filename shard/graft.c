// shard/graft.c -- a graph that was built elsewhere in place of the one that a shard has.
//
// Shape: handle.
//
// `builds` is held from the look at the rows to the end, so slots stay what they are and no row moves; `upkeep` while the links are put
// in place, and linkers are paused from a little before. Rows that went leave gaps: who led to one leads to those that it led to, as
// far as there is room.
#include "shard/graft.h"

#include "base/alloc.h"
#include "base/assert.h"
#include "base/hash.h"
#include "base/os_cpu.h"
#include "index/gauge.h"
#include "shard/outside.h"

#define BLOCK_ROWS 1024u // that are looked at in one visit to the gate, for which upserts wait
#define LEFT_SHARE 2u    // of the graph's rows one in so many must be left
#define MARGIN 0.005
#define FLOOR 0.1       // whatever is known: links that lead nowhere find a few in a thousand
#define RECORD_GROWN 2u // a record is one of as many rows, up to so many times

struct graft {
    struct shard *shard;
    struct hnsw *hnsw;
    const struct built_graph *from;
    uint32_t *to; // row of `from` -> row of `links`; HNSW_NONE: it went
    struct hnsw_links links;
    uint32_t matched;
};

uint64_t
graft_key(const struct shard *shard, const struct generation *generation, uint32_t slot)
{
    const uint64_t words[] = {
        outside_id_hash_in(shard, generation, idmap_id(generation->ids, slot)),
        hash_bytes(hnsw_row(generation->hnsw, slot), shard->row_bytes),
    };
    return hash_bytes(words, sizeof words);
}

// ---- which row is which slot ----

struct look {
    uint32_t slot; // the next to be looked at
    uint32_t row;  // of the graph, from which on it is looked for
    bool over;     // this slot is newer than the graph
};

static void
look_at_block(struct graft *graft, struct look *look, uint32_t end)
{
    const struct generation *generation = graft->shard->target;
    const struct built_head *head = &graft->from->head;
    for (; look->slot < end && !look->over; look->slot += !look->over) {
        if (hnsw_erased(graft->hnsw, look->slot))
            continue;
        const uint64_t key = graft_key(graft->shard, generation, look->slot);
        while (look->row < head->total && graft->from->keys[look->row] != key)
            graft->to[look->row++] = HNSW_NONE;
        look->over = look->row == head->total;
        if (!look->over) {
            graft->links.slots[graft->matched] = look->slot;
            graft->to[look->row++] = graft->matched++;
        }
    }
}

static omen_status
match(struct graft *graft, struct omen_error *error)
{
    const uint32_t rows = hnsw_count(graft->hnsw), total = graft->from->head.total;
    struct look look = {0};
    graft->to = mem_alloc((size_t)total * sizeof *graft->to);
    graft->links.slots = mem_alloc((size_t)(rows < total ? rows : total) * sizeof(uint32_t) + 1);
    if (graft->to == NULL || graft->links.slots == NULL)
        return error_set_plain(error, OMEN_E_NO_MEMORY);
    while (look.slot < rows && !look.over) {
        const uint32_t left = rows - look.slot;
        const uint32_t ticket = epoch_enter(&graft->shard->gate);
        look_at_block(graft, &look, look.slot + (left < BLOCK_ROWS ? left : BLOCK_ROWS));
        epoch_leave(&graft->shard->gate, ticket);
    }
    for (; look.row < total; look.row++)
        graft->to[look.row] = HNSW_NONE;
    graft->links.rows = look.slot;
    graft->links.gaps = graft->matched < total;
    if (graft->matched < total / LEFT_SHARE || graft->matched == 0)
        return error_set(error, OMEN_E_CONFLICT,
                         "of the %u rows of the graph %u are left: it is out of date", total,
                         graft->matched);
    return OMEN_OK;
}

// ---- its links, between the rows that are left ----

static bool
leads_to(const uint32_t *links, uint32_t count, uint32_t row)
{
    for (uint32_t i = 0; i < count; i++)
        if (links[i] == row)
            return true;
    return false;
}

// Behind `count` links: those of the rows that went.
static uint32_t
fill_gaps(const struct graft *graft, uint32_t row, uint32_t *links, uint32_t count)
{
    const struct build_graph *graph = &graft->from->graph;
    const uint32_t *own = graph->links + (size_t)row * graph->links_max, self = graft->to[row];
    for (uint32_t i = 0; i < graph->counts[row]; i++) {
        if (graft->to[own[i]] != HNSW_NONE)
            continue;
        const uint32_t *theirs = graph->links + (size_t)own[i] * graph->links_max;
        for (uint32_t j = 0; j < graph->counts[own[i]] && count < graph->links_max; j++) {
            const uint32_t other = graft->to[theirs[j]];
            if (other != HNSW_NONE && other != self && !leads_to(links, count, other))
                links[count++] = other;
        }
    }
    return count;
}

static omen_status
translate(struct graft *graft, struct omen_error *error)
{
    const struct build_graph *from = &graft->from->graph;
    struct build_graph *graph = &graft->links.graph;
    if (build_graph_open(graph, graft->matched, from->links_max) != OMEN_OK)
        return error_set_plain(error, OMEN_E_NO_MEMORY);
    for (uint32_t row = 0; row < from->count; row++) {
        if (graft->to[row] == HNSW_NONE)
            continue;
        const uint32_t *own = from->links + (size_t)row * from->links_max;
        uint32_t *links = graph->links + (size_t)graft->to[row] * graph->links_max, count = 0;
        for (uint32_t i = 0; i < from->counts[row]; i++)
            if (graft->to[own[i]] != HNSW_NONE)
                links[count++] = graft->to[own[i]];
        if (count < from->counts[row])
            count = fill_gaps(graft, row, links, count);
        graph->counts[graft->to[row]] = (uint8_t)count;
    }
    return OMEN_OK;
}

// ---- whether it may take its place ----

static uint32_t
threads_of(const struct shard *shard)
{
    const uint32_t asked = shard->options.threads, there = os_cpu_count();
    return asked != 0 ? asked : there < THREADS_MAX ? there : THREADS_MAX;
}

static omen_status
measure(struct graft *graft, struct graft_report *report)
{
    struct gauge *gauge;
    omen_status status = gauge_open(graft->hnsw, graft->links.slots, graft->matched,
                                    threads_of(graft->shard), &gauge);
    if (status == OMEN_OK)
        status = gauge_measure(gauge, &graft->links.graph, &report->recall);
    // A graph that lacks rows is not what it could be.
    if (status == OMEN_OK && hnsw_linked(graft->hnsw) >= graft->links.rows)
        status = gauge_measure(gauge, NULL, &report->before);
    gauge_close(gauge);
    return status;
}

static bool
is_of_as_many(const struct graft_record *record, uint32_t rows)
{
    return rows / RECORD_GROWN <= record->rows;
}

static omen_status
pass(struct graft *graft, const struct graft_record *record, struct graft_report *report,
     struct omen_error *error)
{
    const omen_status status = measure(graft, report);
    if (status != OMEN_OK)
        return error_set_plain(error, status);
    const bool counts = is_of_as_many(record, graft->matched);
    const double known = counts && record->best > report->before ? record->best : report->before;
    const double least = known - MARGIN > FLOOR ? known - MARGIN : FLOOR;
    if (report->recall >= least)
        return OMEN_OK;
    return error_set(error, OMEN_E_INVALID,
                     "the graph finds %.2f %% of the neighbours that it should, at least %.2f %% "
                     "are wanted",
                     100 * report->recall, 100 * least);
}

// Durable before the links are there: who finds them finds what they must be followed by.
static omen_status
note(struct graft *graft, double recall, struct graft_record *record, struct omen_error *error)
{
    const bool counts = is_of_as_many(record, graft->matched);
    const struct graft_record next = {
        .best = counts && record->best > recall ? record->best : recall, .rows = graft->matched};
    const omen_status status = graft_record_keep(graft->shard, &next, error);
    if (status == OMEN_OK)
        *record = next;
    return status;
}

static int
closing(void *context, uint64_t done, uint64_t total)
{
    struct shard *shard = context;
    (void)done;
    (void)total;
    return atomic_load_explicit(&shard->closing, memory_order_relaxed);
}

// With linkers paused.
static omen_status
put_in_place(struct graft *graft, struct omen_error *error)
{
    struct shard *shard = graft->shard;
    const struct hnsw_bulk_options options = {
        .threads = threads_of(shard), .progress = closing, .context = shard};
    struct hnsw_bulk *bulk;
    omen_status status = hnsw_bulk_take(graft->hnsw, &options, &graft->links, &bulk);
    if (status != OMEN_OK)
        return error_set_plain(error, status);
    lock_acquire(&shard->upkeep);
    hnsw_bulk_yield(bulk);
    epoch_wait(&shard->gate); // for searches that think that more is linked
    status = hnsw_bulk_install(bulk);
    lock_release(&shard->upkeep);
    ASSERT(status == OMEN_OK); // else what was checked was no graph
    hnsw_bulk_close(bulk);
    atomic_fetch_add_explicit(&shard->bulk_builds, 1, memory_order_relaxed);
    return OMEN_OK;
}

// Under `builds`.
static omen_status
put(struct graft *graft, const struct graft_judged *judged, struct graft_record *record,
    struct graft_report *report, struct omen_error *error)
{
    const bool measures = judged->gate == GRAFT_MEASURED;
    struct shard *shard = graft->shard;
    graft->hnsw = shard->target->hnsw;
    if (!hnsw_founded(graft->hnsw) || graft->from->head.shape.links_max != 2u * shard->options.m)
        return error_set(error, OMEN_E_INVALID, "the graph has %u links a row",
                         graft->from->head.shape.links_max);
    lock_acquire(&shard->writers);
    const bool owned = bulk_own_begun(graft->hnsw);
    lock_release(&shard->writers);
    omen_status status = owned ? match(graft, error) : error_set_plain(error, OMEN_E_NO_MEMORY);
    report->matched = graft->matched;
    report->tail = hnsw_count(graft->hnsw) - graft->links.rows;
    if (status == OMEN_OK)
        status = translate(graft, error);
    if (status == OMEN_OK && measures)
        status = pass(graft, record, report, error);
    const double recall = measures ? report->recall : judged->recall;
    if (status == OMEN_OK && recall >= 0.0)
        status = note(graft, recall, record, error);
    if (status != OMEN_OK)
        return status;
    lock_acquire(&shard->writers);
    linkers_pause(&shard->linkers);
    lock_release(&shard->writers);
    status = put_in_place(graft, error);
    lock_acquire(&shard->writers);
    linkers_resume(&shard->linkers, graft->hnsw);
    lock_release(&shard->writers);
    return status;
}

omen_status
graft_put(struct shard *shard, const struct built_graph *graph, const struct graft_judged *judged,
          struct graft_record *record, struct graft_report *report, struct omen_error *error)
{
    struct graft graft = {.shard = shard, .from = graph};
    ASSERT(built_graph_whole(graph));
    *report = (struct graft_report){.rows = graph->head.total, .recall = -1.0, .before = -1.0};
    lock_acquire(&shard->builds);
    const omen_status status = put(&graft, judged, record, report, error);
    lock_release(&shard->builds);
    hnsw_links_close(&graft.links);
    mem_free(graft.to);
    if (status == OMEN_OK)
        linkers_wake(&shard->linkers);
    return status;
}
