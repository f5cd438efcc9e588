// index/hnsw_bulk_install.c -- puts links that were made at once in place of those that an index has.
//
// Shape: handle.
#include "base/assert.h"
#include "base/pool.h"
#include "index/graph_verify.h"
#include "index/hnsw_bulk_int.h"

// From the last row to the first: rows that were not linked are written before any row leads to them.
static void
put_block(void *context, uint32_t index, uint32_t worker)
{
    (void)worker;
    struct hnsw_bulk *bulk = context;
    struct graph *graph = &bulk->hnsw->graph;
    const uint32_t end = bulk->count - index * BULK_BLOCK_ROWS;
    const uint32_t from = end > BULK_BLOCK_ROWS ? end - BULK_BLOCK_ROWS : 0;
    for (uint32_t row = end; row-- > from;) {
        const uint32_t *links = bulk->graph.links + (size_t)row * bulk->graph.links_max;
        const uint32_t count = bulk->graph.counts[row], slot = bulk_slot(bulk, row);
        uint32_t slots[LINK_ROW_MAX];
        for (uint32_t i = 0; i < count; i++)
            slots[i] = bulk_slot(bulk, links[i]);
        graph_lock(graph, slot);
        graph_write_locked(graph, slot, slots, count);
        graph_unlock(graph, slot);
        struct omen_error error;
        const struct link_rows written = {.bytes = arena_row(&graph->rows, slot),
                                          .first = slot,
                                          .count = 1,
                                          .links_max = graph->links_max,
                                          .width = graph->width,
                                          .slots = bulk->rows};
        if (graph_verify(&written, &error) != OMEN_OK)
            atomic_store(&bulk->status, OMEN_E_INTERNAL);
    }
}

// Rows that were left out: nobody has to look at them again.
static void
note_left_out(struct hnsw_bulk *bulk)
{
    struct hnsw *hnsw = bulk->hnsw;
    uint32_t row = 0, mended = 0;
    for (uint32_t slot = 0; bulk->slots != NULL && slot < bulk->rows; slot++) {
        if (row < bulk->count && bulk->slots[row] == slot)
            row++;
        else
            mended += atomic_bit_set(hnsw->repaired, slot);
    }
    atomic_fetch_add_explicit(&hnsw->repaired_count, mended, memory_order_acq_rel);
}

static void
note_linked(struct hnsw_bulk *bulk)
{
    struct hnsw *hnsw = bulk->hnsw;
    for (uint32_t slot = 0; slot < bulk->rows; slot++)
        (void)atomic_bit_set(hnsw->linked, slot);
    atomic_store_explicit(&hnsw->linked_count, bulk->rows, memory_order_release);
    atomic_store_explicit(&hnsw->claimed, bulk->rows, memory_order_release);
    entries_draw(hnsw, bulk->slots, bulk->count);
    atomic_store_explicit(&hnsw->linked_prefix, bulk->rows, memory_order_seq_cst);
    const uint32_t repaired = atomic_load_explicit(&hnsw->repaired_count, memory_order_relaxed);
    atomic_store_explicit(&hnsw->reach_events, bulk->gaps ? 0 : bulk->rows + repaired,
                          memory_order_release);
}

// Nothing leads to them any more. What was saved with links of its own keeps them, and offers itself again.
static void
empty_yielded(struct hnsw_bulk *bulk)
{
    struct hnsw *hnsw = bulk->hnsw;
    uint32_t slot = bulk->rows > hnsw->chosen ? bulk->rows : hnsw->chosen;
    for (; slot < bulk->yielded; slot++) {
        graph_lock(&hnsw->graph, slot);
        graph_write_locked(&hnsw->graph, slot, NULL, 0);
        graph_unlock(&hnsw->graph, slot);
    }
}

void
hnsw_bulk_yield(struct hnsw_bulk *bulk)
{
    struct hnsw *hnsw = bulk->hnsw;
    const uint32_t linked = hnsw_linked(hnsw);
    ASSERT(linked == atomic_load(&hnsw->claimed));
    if (linked <= bulk->rows)
        return;
    bulk->yielded = linked;
    for (uint32_t slot = bulk->rows; slot < linked; slot++)
        atomic_fetch_and_explicit(&hnsw->linked[slot >> 6], ~(1ull << (slot & 63)),
                                  memory_order_acq_rel);
    atomic_store_explicit(&hnsw->linked_prefix, bulk->rows, memory_order_seq_cst);
    atomic_store_explicit(&hnsw->linked_count, bulk->rows, memory_order_release);
    atomic_store_explicit(&hnsw->claimed, bulk->rows, memory_order_release);
}

omen_status
hnsw_bulk_install(struct hnsw_bulk *bulk)
{
    struct hnsw *hnsw = bulk->hnsw;
    ASSERT(hnsw_linked(hnsw) <= bulk->rows);
    pool_run_behind(bulk->options.threads, (bulk->count + BULK_BLOCK_ROWS - 1) / BULK_BLOCK_ROWS,
                    put_block, bulk);
    note_left_out(bulk);
    note_linked(bulk);
    empty_yielded(bulk);
    hnsw->kept_linked = 0;             // the next save puts all links,
    atomic_store(&hnsw->behind, true); // and is worthwhile
    return atomic_load(&bulk->status);
}
