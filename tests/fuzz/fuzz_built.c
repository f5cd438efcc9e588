// tests/fuzz/fuzz_built.c -- any bytes as chunks of a build: refused with a sentence, or rows and links that can be used.
//
// The first byte says how many chunks follow, at most 3, of which each has a length of four bytes; their checksums are made right, or
// nothing else would ever be looked at.
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/hash.h"
#include "shard/built.h"

#define TOTAL_MAX 100000u // more rows are only so much memory

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count);

static void
check_rows(const struct built_rows *rows)
{
    ASSERT(ship_shape_is_sound(&rows->head.shape));
    ASSERT(rows->head.count <= rows->head.total);
    for (uint32_t i = 0; i < rows->head.count; i++)
        ASSERT(ship_row_is_sound(&rows->head.shape, rows->bytes + i * rows->row_bytes));
}

static void
check_graph(const struct built_graph *graph)
{
    for (uint32_t row = 0; row < graph->head.count; row++) {
        ASSERT(graph->graph.counts[row] <= graph->graph.links_max);
        const uint32_t *links = graph->graph.links + (size_t)row * graph->graph.links_max;
        for (uint32_t i = 0; i < graph->graph.counts[row]; i++)
            ASSERT(links[i] < graph->head.total && links[i] != row);
    }
    if (!built_graph_whole(graph))
        return;
    uint8_t *chunk = malloc(BUILT_CHUNK_BYTES);
    struct built_graph again = {0};
    struct omen_error error = {0};
    ASSERT(chunk != NULL);
    for (uint32_t i = 0; i < built_graph_chunks(graph); i++) {
        const size_t bytes = built_graph_write(graph, i, chunk);
        ASSERT(built_graph_take(&again, chunk, bytes, &error) == OMEN_OK);
    }
    ASSERT(built_graph_whole(&again));
    built_graph_fini(&again);
    free(chunk);
}

static void
take(struct built_rows *rows, struct built_graph *graph, const uint8_t *from, size_t count)
{
    struct omen_error error = {0};
    uint8_t *chunk = malloc(count > 0 ? count : 1);
    uint32_t total = 0;
    ASSERT(chunk != NULL);
    memcpy(chunk, from, count);
    if (count >= BUILT_HEAD_BYTES) {
        memcpy(&total, chunk + 40, sizeof total);
        const uint64_t hash = hash_bytes(chunk + 8, count - 8);
        memcpy(chunk, &hash, sizeof hash);
    }
    if (total <= TOTAL_MAX) {
        if (built_rows_take(rows, chunk, count, &error) != OMEN_OK)
            ASSERT(error.text[0] != '\0');
        error.text[0] = '\0';
        if (built_graph_take(graph, chunk, count, &error) != OMEN_OK)
            ASSERT(error.text[0] != '\0');
    }
    free(chunk);
}

int
LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count)
{
    struct built_rows rows = {0};
    struct built_graph graph = {0};
    size_t at = 1;
    for (uint32_t i = 0; count > 0 && i < bytes[0] % 4u && count - at >= 4; i++) {
        uint32_t length;
        memcpy(&length, bytes + at, sizeof length);
        at += 4;
        if (length > count - at)
            length = (uint32_t)(count - at);
        take(&rows, &graph, bytes + at, length);
        at += length;
    }
    if (rows.head.total > 0)
        check_rows(&rows);
    check_graph(&graph);
    built_rows_fini(&rows);
    built_graph_fini(&graph);
    return 0;
}
