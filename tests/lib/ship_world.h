// tests/lib/ship_world.h -- an index whose links are made elsewhere: its rows shipped, built, and the links put in place.
//
// Shape: value. Header only, because tests/lib/*.c is linked into tests that have no index.
#ifndef OMEN_TESTS_SHIP_WORLD_H
#define OMEN_TESTS_SHIP_WORLD_H
#include "index/hnsw_bulk.h"
#include "index/hnsw_ship.h"
#include "tests/lib/index_world.h"

struct shipped {
    struct ship_rows rows;
    uint8_t *bytes;
};

static inline void
ship(struct world *world, uint32_t count, struct shipped *out)
{
    *out = (struct shipped){.rows.count = count};
    ck_assert_int_eq(hnsw_ship_shape(world->hnsw, world->scratch, &out->rows.shape), OMEN_OK);
    ck_assert(ship_shape_is_sound(&out->rows.shape));
    out->rows.row_bytes = ship_row_bytes(&out->rows.shape);
    out->bytes = malloc(out->rows.row_bytes * count);
    out->rows.bytes = out->bytes;
    for (uint32_t slot = 0; slot < count; slot++) {
        uint8_t *row = out->bytes + slot * out->rows.row_bytes;
        hnsw_ship_row(world->hnsw, &out->rows.shape, slot, world->scratch, row);
        CLAIM(ship_row_is_sound(&out->rows.shape, row), "row %u is not sound", slot);
    }
}

static inline void
build_there(const struct shipped *shipped, struct build_graph *graph)
{
    const struct build_rows rows = ship_build_rows(&shipped->rows);
    struct build_config config = ship_build_config(&shipped->rows.shape);
    config.threads = 2;
    ck_assert_int_eq(build_run(&rows, &config, graph, NULL), OMEN_OK);
}

// The rows [0, count) of which `dropped` says nothing, in the graph's numbers; what led to others ends.
static inline void
links_without(struct build_graph *graph, uint32_t rows, uint32_t every, struct hnsw_links *out)
{
    uint32_t *to = malloc(graph->count * sizeof *to), kept = 0;
    *out = (struct hnsw_links){.rows = rows, .gaps = every > 0};
    out->slots = mem_alloc(graph->count * sizeof *out->slots);
    for (uint32_t row = 0; row < graph->count; row++) {
        const bool gone = row >= rows || (every > 0 && row % every == 0);
        to[row] = gone ? UINT32_MAX : kept;
        if (!gone)
            out->slots[kept++] = row;
    }
    ck_assert_int_eq(build_graph_open(&out->graph, kept, graph->links_max), OMEN_OK);
    for (uint32_t row = 0; row < graph->count; row++) {
        if (to[row] == UINT32_MAX)
            continue;
        for (uint32_t i = 0; i < graph->counts[row]; i++) {
            const uint32_t link = to[graph->links[(size_t)row * graph->links_max + i]];
            uint8_t *count = &out->graph.counts[to[row]];
            if (link != UINT32_MAX)
                out->graph.links[(size_t)to[row] * graph->links_max + (*count)++] = link;
        }
    }
    free(to);
}

static inline void
put_in_place(struct world *world, struct hnsw_links *links)
{
    struct hnsw_bulk *bulk;
    const struct hnsw_bulk_options options = {.threads = 2};
    ck_assert_int_eq(hnsw_bulk_take(world->hnsw, &options, links, &bulk), OMEN_OK);
    ck_assert_ptr_null(links->slots);
    hnsw_bulk_yield(bulk);
    ck_assert_int_eq(hnsw_bulk_install(bulk), OMEN_OK);
    hnsw_bulk_close(bulk);
}

#endif
