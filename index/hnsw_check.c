// index/hnsw_check.c -- every invariant of the index, asked one by one while nobody writes.
//
// Shape: handle (reads only).
#include <math.h>
#include <stdio.h>

#include "base/alloc.h"
#include "base/text.h"
#include "index/hnsw_int.h"

static bool
bit(const _Atomic uint64_t *words, uint32_t slot)
{
    return atomic_bit_test(words, slot);
}

static bool
check_counts(const struct hnsw *hnsw, struct text *text)
{
    const uint32_t rows = hnsw_count(hnsw);
    uint32_t erased = 0, linked = 0, repaired = 0;
    for (uint32_t slot = 0; slot < rows; slot++) {
        erased += bit(hnsw->erased, slot);
        linked += hnsw->linked != NULL && bit(hnsw->linked, slot);
        repaired += hnsw->repaired != NULL && bit(hnsw->repaired, slot);
    }
    if (hnsw->appended != rows)
        text_add(text, "%u rows appended, %u published", hnsw->appended, rows);
    else if (erased != atomic_load(&hnsw->erased_count))
        text_add(text, "%u rows erased, %u counted", erased, atomic_load(&hnsw->erased_count));
    else if (linked != atomic_load(&hnsw->linked_count))
        text_add(text, "%u rows linked, %u counted", linked, atomic_load(&hnsw->linked_count));
    else if (repaired != atomic_load(&hnsw->repaired_count))
        text_add(text, "%u rows repaired, %u counted", repaired,
                 atomic_load(&hnsw->repaired_count));
    else if (linked != atomic_load(&hnsw->linked_prefix))
        text_add(text, "%u rows linked, prefix %u", linked, atomic_load(&hnsw->linked_prefix));
    return text->length == 0;
}

// A save that was not finished leaves links behind that are newer than the last finished one's head: to rows that are
// not linked any more, or not there. Walks drop the latter, and find in vain the former, which are scanned.
static bool
may_be_newer(const struct hnsw *hnsw, uint32_t link)
{
    return hnsw->loaded && (link >= hnsw_count(hnsw) || !bit(hnsw->linked, link));
}

static bool
check_links(const struct hnsw *hnsw, uint32_t slot, struct text *text)
{
    uint32_t links[LINK_ROW_MAX];
    const uint32_t rows = hnsw_count(hnsw);
    const uint32_t count = graph_read(&hnsw->graph, slot, link_empty(hnsw->graph.width), links);
    if (count > hnsw->graph.links_max)
        text_add(text, "slot %u has %u links, at most %u", slot, count, hnsw->graph.links_max);
    if (count > 0 && !bit(hnsw->linked, slot) && slot >= hnsw->chosen)
        text_add(text, "slot %u has links and is not linked", slot);
    for (uint32_t i = 0; i < count && text->length == 0; i++) {
        if (may_be_newer(hnsw, links[i]))
            continue;
        if (links[i] >= rows)
            text_add(text, "slot %u links to %u of %u", slot, links[i], rows);
        else if (links[i] == slot)
            text_add(text, "slot %u links to itself", slot);
        else if (!bit(hnsw->linked, links[i]))
            text_add(text, "slot %u links to %u, which is not linked", slot, links[i]);
        for (uint32_t j = 0; j < i; j++)
            if (links[j] == links[i])
                text_add(text, "slot %u links to %u twice", slot, links[i]);
    }
    return text->length == 0;
}

static bool
check_codes(const struct hnsw *hnsw, uint32_t slot, struct text *text)
{
    struct byte_meta meta;
    memcpy(&meta, arena_row(&hnsw->meta, slot), sizeof meta);
    const bool below = meta.norm < 0.0f && hnsw->config.metric != METRIC_IP;
    if (!isfinite(meta.factor) || !isfinite(meta.norm) || meta.factor < 0.0f || below)
        text_add(text, "slot %u has factor %g and norm %g", slot, (double)meta.factor,
                 (double)meta.norm);
    return text->length == 0;
}

static bool
check_entries(const struct hnsw *hnsw, struct text *text)
{
    const struct entries *entries = &hnsw->entries;
    const uint32_t count = atomic_load(&entries->count);
    for (uint32_t slot = 0; slot < hnsw_count(hnsw) && count == 0 && text->length == 0; slot++)
        if (bit(hnsw->linked, slot) && !bit(hnsw->erased, slot))
            text_add(text, "slot %u is linked and there is no entry", slot);
    for (uint32_t i = 0; i < count && text->length == 0; i++) {
        const uint32_t slot = atomic_load(&entries->slots[i]);
        if (slot >= hnsw_count(hnsw) || !bit(hnsw->linked, slot))
            text_add(text, "entry %u is slot %u, which is not linked", i, slot);
        else if (hnsw_kind(hnsw) == CODE_NIBBLE &&
                 memcmp(entries->codes + (size_t)i * hnsw->codec.row_bytes,
                        arena_row(&hnsw->high, slot), hnsw->codec.row_bytes) != 0)
            text_add(text, "entry %u does not hold the code of slot %u", i, slot);
    }
    return text->length == 0;
}

static omen_status
count_unreached(const struct hnsw *hnsw, uint32_t *unreached)
{
    const uint32_t rows = hnsw_count(hnsw);
    uint64_t *reached = mem_alloc_zero(bitmap_words(rows) + 1, sizeof *reached);
    if (reached == NULL || !reach_mark(hnsw, rows, reached)) {
        mem_free(reached);
        return OMEN_E_NO_MEMORY;
    }
    for (uint32_t slot = 0; slot < rows; slot++)
        *unreached += bit(hnsw->linked, slot) && !bit(hnsw->erased, slot) &&
                      (reached[slot >> 6] >> (slot & 63) & 1) == 0;
    mem_free(reached);
    return OMEN_OK;
}

omen_status
hnsw_check(const struct hnsw *hnsw, uint32_t *unreached, char *words, size_t capacity)
{
    struct text text;
    text_init(&text, words, capacity);
    *unreached = 0;
    if (!check_counts(hnsw, &text))
        return OMEN_E_CORRUPT;
    if (hnsw->config.flat)
        return OMEN_OK;
    const uint32_t rows = hnsw_count(hnsw);
    for (uint32_t slot = 0; slot < rows; slot++) {
        if (!check_links(hnsw, slot, &text))
            return OMEN_E_CORRUPT;
        if (bit(hnsw->linked, slot) && !check_codes(hnsw, slot, &text))
            return OMEN_E_CORRUPT;
    }
    if (!check_entries(hnsw, &text))
        return OMEN_E_CORRUPT;
    return count_unreached(hnsw, unreached);
}
