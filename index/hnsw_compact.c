// index/hnsw_compact.c -- a new numbering without the erased rows.
//
// Shape: handle.
//
// Live rows keep their order, so slot i of the new index is the i-th live slot of the old. Codes are copied, or made
// anew where the mean has drifted from the one they were made with. Links are copied under their new numbers; a node that linked to
// erased rows chooses anew among its live links and those rows' live links (FreshDiskANN's consolidation, Singh
// et al. 2021), so the graph comes out as good as it went in.
#include "base/alloc.h"
#include "base/assert.h"
#include "index/hnsw_int.h"
#include "index/vector.h"

#define DRIFT_MAX 0.25f

struct move {
    const struct hnsw *old;
    struct hnsw *new;
    uint32_t *to; // old slot -> new slot; HNSW_NONE for the erased
    uint32_t live, linked;
    bool recode;
};

static void
copy_row(const struct arena *from, uint32_t slot, struct arena *to, uint32_t place)
{
    memcpy(arena_row(to, place), arena_row(from, slot), from->row_bytes);
}

static void
code_anew(struct hnsw *new, uint32_t slot, struct scratch *scratch)
{
    struct byte_meta meta;
    codec_prepare(&new->codec, arena_row(&new->rows, slot), new->config.type, scratch->vector);
    codec_rotate(&new->codec, scratch->vector, scratch->rotated);
    codec_encode(&new->codec, scratch->rotated, vector_norm2(scratch->vector, new->codec.dim),
                 scratch->codes, arena_row(&new->high, slot), arena_row(&new->low, slot), &meta);
    memcpy(arena_row(&new->meta, slot), &meta, sizeof meta);
}

static void
copy_rows(struct move *move)
{
    const struct hnsw *old = move->old;
    for (uint32_t slot = 0; slot < hnsw_count(old); slot++)
        if (move->to[slot] != HNSW_NONE)
            hnsw_append(move->new, arena_row(&old->rows, slot), old->row_bytes, 1);
    hnsw_publish(move->new);
}

static void
copy_codes(struct move *move, struct scratch *scratch)
{
    const struct hnsw *old = move->old;
    struct hnsw *new = move->new;
    const bool coded = hnsw_kind(old) == CODE_NIBBLE;
    for (uint32_t slot = 0; slot < hnsw_count(old); slot++) {
        const uint32_t place = move->to[slot];
        if (place == HNSW_NONE || !atomic_bit_test(old->linked, slot))
            continue;
        if (coded && move->recode) {
            code_anew(new, place, scratch);
            continue;
        }
        copy_row(&old->meta, slot, &new->meta, place);
        if (coded) {
            copy_row(&old->high, slot, &new->high, place);
            copy_row(&old->low, slot, &new->low, place);
        }
    }
}

// The row's live links, with the live links of its erased ones; returns how many.
static uint32_t
live_links(const struct hnsw *old, uint32_t slot, uint32_t *links, uint32_t room)
{
    uint32_t own[LINK_ROW_MAX], theirs[LINK_ROW_MAX];
    const uint32_t own_count = graph_read(&old->graph, slot, hnsw_count(old), own);
    uint32_t count = 0;
    for (uint32_t i = 0; i < own_count; i++)
        if (linked_alive(old, own[i]))
            links[count++] = own[i];
    for (uint32_t i = 0; i < own_count; i++) {
        if (!atomic_bit_test(old->erased, own[i]))
            continue;
        const uint32_t others = graph_read(&old->graph, own[i], hnsw_count(old), theirs);
        for (uint32_t j = 0; j < others && count < room; j++) {
            bool wanted = theirs[j] != slot && linked_alive(old, theirs[j]);
            for (uint32_t l = 0; l < count && wanted; l++)
                wanted = links[l] != theirs[j];
            if (wanted)
                links[count++] = theirs[j];
        }
    }
    return count;
}

static void
copy_links(struct move *move, struct scratch *scratch)
{
    const struct hnsw *old = move->old;
    uint32_t links[PRUNE_CANDIDATES_MAX];
    for (uint32_t slot = 0; slot < hnsw_count(old); slot++) {
        const uint32_t place = move->to[slot];
        if (place == HNSW_NONE || !atomic_bit_test(old->linked, slot))
            continue;
        uint32_t count = live_links(old, slot, links, PRUNE_CANDIDATES_MAX);
        for (uint32_t i = 0; i < count; i++)
            links[i] = move->to[links[i]];
        graph_lock(&move->new->graph, place);
        graph_choose_locked(move->new, scratch, place, links, count, old->graph.links_max);
        graph_unlock(&move->new->graph, place);
    }
}

// Makes the new index linked as far as the old one is.
static void
take_over(struct move *move)
{
    struct hnsw *new = move->new;
    for (uint32_t slot = 0; slot < move->linked; slot++)
        atomic_bit_set(new->linked, slot);
    atomic_store(&new->claimed, move->linked);
    atomic_store(&new->linked_count, move->linked);
    atomic_store(&new->linked_prefix, move->linked);
    for (uint32_t nth = 1; nth <= move->linked; nth++)
        entries_note_linked(new, nth - 1, nth);
}

static void
copy_codec(struct move *move, struct scratch *scratch)
{
    const struct codec *from = &move->old->codec;
    struct codec *to = &move->new->codec;
    memcpy(to->mean, from->mean, from->dim * sizeof *from->mean);
    to->factor_unit = from->factor_unit;
    to->norm_unit = from->norm_unit;
    to->radius2 = from->radius2;
    to->variance = from->variance;
    to->high_error = from->high_error;
    to->both_error = from->both_error;
    move->recode = hnsw_kind(move->old) == CODE_NIBBLE && hnsw_drift(move->new) > DRIFT_MAX &&
                   hnsw_learn(move->new, to, scratch);
}

omen_status
hnsw_compact(const struct hnsw *hnsw, struct scratch *scratch, struct hnsw **out)
{
    *out = NULL;
    struct move move = {.old = hnsw};
    const uint32_t rows = hnsw_count(hnsw);
    omen_status status = hnsw_open(&hnsw->config, &move.new);
    if (status != OMEN_OK)
        return status;
    move.to = mem_alloc((size_t)(rows > 0 ? rows : 1) * sizeof *move.to);
    status = move.to != NULL ? hnsw_reserve(move.new, hnsw_live(hnsw)) : OMEN_E_NO_MEMORY;
    if (status == OMEN_OK)
        status = scratch_fit(scratch, hnsw, 1, hnsw->config.build_beam);
    if (status == OMEN_OK && !hnsw->config.flat)
        status = scratch_fit_prune(scratch, hnsw);
    if (status != OMEN_OK) {
        mem_free(move.to);
        hnsw_close(move.new);
        return status;
    }
    for (uint32_t slot = 0; slot < rows; slot++) {
        const bool erased = atomic_bit_test(hnsw->erased, slot);
        move.to[slot] = erased ? HNSW_NONE : move.live++;
        move.linked += !erased && hnsw->linked != NULL && atomic_bit_test(hnsw->linked, slot);
    }
    copy_rows(&move);
    if (hnsw_kind(hnsw) != CODE_NONE) {
        atomic_store(&move.new->found_rows, atomic_load(&hnsw->found_rows));
        atomic_store(&move.new->kind, atomic_load(&hnsw->kind));
        copy_codec(&move, scratch);
        copy_codes(&move, scratch);
        take_over(&move);
        copy_links(&move, scratch);
    }
    mem_free(move.to);
    *out = move.new;
    return OMEN_OK;
}
