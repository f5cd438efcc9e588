// tests/fuzz/fuzz_graph.c -- any bytes as link rows: refused with a sentence, or read alike by every kernel.
//
// The first byte chooses how many links a node may have; the rest are its rows.
#include <stdint.h>
#include <string.h>

#include "base/assert.h"
#include "index/graph.h"
#include "index/graph_verify.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count);

// What an accepted row must be for those who follow it.
static void
check_links(const uint32_t *links, uint32_t used, uint32_t links_max, uint32_t slot, uint32_t rows)
{
    ASSERT(used <= links_max);
    for (uint32_t i = 0; i < used; i++) {
        ASSERT(links[i] < rows && links[i] != slot);
        for (uint32_t j = 0; j < i; j++)
            ASSERT(links[j] != links[i]);
    }
}

int
LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count)
{
    if (count == 0)
        return 0;
    const uint32_t links_max = 1 + bytes[0] % LINK_ROW_MAX;
    const uint32_t blocks = (links_max + GRAPH_BLOCK_LINKS - 1) / GRAPH_BLOCK_LINKS;
    const uint32_t rows = (uint32_t)((count - 1) / (blocks * GRAPH_BLOCK_BYTES));
    const uint8_t *row = bytes + 1;
    struct omen_error error = {0};
    if (graph_verify(row, rows, links_max, &error) != OMEN_OK) {
        ASSERT(error.status == OMEN_E_CORRUPT && error.text[0] != '\0');
        return 0;
    }
    const struct kernels *tables[4];
    const uint32_t table_count = kernels_list(tables);
    for (uint32_t slot = 0; slot < rows; slot++)
        for (uint32_t t = 0; t < table_count; t++) {
            uint32_t links[LINK_ROW_MAX], used = 0;
            for (uint32_t block = 0; block < blocks; block++)
                used += tables[t]->unpack(row + ((size_t)slot * blocks + block) * GRAPH_BLOCK_BYTES,
                                          rows, links + used);
            check_links(links, used, links_max, slot, rows);
        }
    return 0;
}
