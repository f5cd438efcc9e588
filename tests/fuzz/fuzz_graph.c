// tests/fuzz/fuzz_graph.c -- any bytes as link rows: refused with a sentence, or read alike by every kernel.
//
// The first byte chooses how many links a node may have and, by its upper bit, how wide they are; the rest are its rows.
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
    const enum link_width width = bytes[0] < LINK_ROW_MAX ? LINKS_24 : LINKS_32;
    const uint32_t links_max = 1 + bytes[0] % LINK_ROW_MAX;
    const uint32_t block_bytes = GRAPH_BLOCK_LINKS * (uint32_t)width;
    const uint32_t blocks = link_row_bytes(links_max, width) / block_bytes;
    const uint32_t slots = (uint32_t)((count - 1) / (blocks * block_bytes));
    const struct link_rows rows = {
        .bytes = bytes + 1, .count = slots, .links_max = links_max, .width = width, .slots = slots};
    struct omen_error error = {0};
    if (graph_verify(&rows, &error) != OMEN_OK) {
        ASSERT(error.status == OMEN_E_CORRUPT && error.text[0] != '\0');
        return 0;
    }
    const struct kernels *tables[4];
    const uint32_t table_count = kernels_list(tables);
    for (uint32_t slot = 0; slot < slots; slot++)
        for (uint32_t t = 0; t < table_count; t++) {
            uint32_t links[LINK_ROW_MAX], used = 0;
            for (uint32_t block = 0; block < blocks; block++) {
                const uint8_t *at = rows.bytes + ((size_t)slot * blocks + block) * block_bytes;
                used += width == LINKS_24 ? tables[t]->unpack(at, slots, links + used)
                                          : tables[t]->unpack32(at, slots, links + used);
            }
            check_links(links, used, links_max, slot, slots);
        }
    return 0;
}
