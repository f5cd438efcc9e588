// index/hnsw_save.c -- the index as pieces, taken while everybody works on.
//
// Shape: handle.
//
// A save fixes what must be of one moment when it begins: how many rows there are (n), up to where all are linked (H), which
// were erased, which repaired, and where walks begin. The arrays follow in their own time. Rows and codes below n
// and H do not change any more; links do, and are copied row by row under the rows' locks, without those to rows
// from H on, which whoever loads has yet to link. A link that is newer than H does no harm.
//
// The repaired bits are of before the links are copied, so that what a bit says was done is in the copy; what is done
// later will be done again.
//
// Linking one row changes a score of others, anywhere: after a thirtieth of the rows, hardly a piece of links is as it
// was. So hnsw_save_begin_grown puts rows, codes, and of the links only the pieces that new rows are in, each once: a row's
// own links, as they were chosen. What those ask of older rows is left out until that costs a fifth of what new rows do.
// The head then says both how far the links are whole (H) and how far rows have links of their own (chosen). Whoever
// loads has the rows between scanned by their codes, and offers them once more to those they link to, which needs no walk
// (hnsw_insert.c). The entries lead to rows below H, and the repaired bits are those of when the links were whole: what was
// repaired since may be mended in rows that were not put.
#include "base/alloc.h"
#include "base/assert.h"
#include "index/hnsw_head.h"

#define ARENAS_MAX 5u
#define GROWN_SHARE 5u // bytes of new rows for each byte of links that are put anew

struct hnsw_save {
    struct hnsw *hnsw;
    uint32_t rows, linked, chosen; // as the head says
    bool whole;                    // links are: linked is of this moment
    uint64_t *erased, *repaired;   // bitmaps of `rows` bits
    uint8_t *head;
    size_t head_bytes;
    uint32_t saved_before[ARENAS_MAX]; // rows of each arena that the last save put
};

struct saved_arena {
    enum image_array array;
    struct arena *arena;
};

// The arenas that are saved; returns how many.
static uint32_t
arenas(struct hnsw *hnsw, struct saved_arena *list)
{
    uint32_t count = 0;
    list[count++] = (struct saved_arena){IMAGE_ROWS, &hnsw->rows};
    if (hnsw->config.flat)
        return count;
    list[count++] = (struct saved_arena){IMAGE_LINKS, &hnsw->graph.rows};
    list[count++] = (struct saved_arena){IMAGE_CODE_META, &hnsw->meta};
    list[count++] = (struct saved_arena){IMAGE_HIGH, &hnsw->high};
    list[count++] = (struct saved_arena){IMAGE_LOW, &hnsw->low};
    return count;
}

// Bits of slots below `count`.
static uint64_t *
copy_bits(const _Atomic uint64_t *words, uint32_t count)
{
    const uint32_t whole = bitmap_words(count);
    uint64_t *copy = mem_alloc((size_t)(whole > 0 ? whole : 1) * sizeof *copy);
    for (uint32_t i = 0; copy != NULL && i < whole; i++)
        copy[i] = atomic_load_explicit(&words[i], memory_order_acquire);
    if (copy != NULL && count % 64 != 0)
        copy[whole - 1] &= (1ull << count % 64) - 1;
    return copy;
}

// The entries that lead to rows below `linked`.
static uint32_t
copy_entries(struct entries *entries, uint32_t linked, uint64_t *drawn, uint32_t *slots)
{
    uint32_t kept = 0;
    lock_acquire(&entries->lock);
    const uint32_t count = atomic_load_explicit(&entries->count, memory_order_relaxed);
    for (uint32_t i = 0; i < count; i++) {
        const uint32_t slot = atomic_load_explicit(&entries->slots[i], memory_order_relaxed);
        if (slot < linked)
            slots[kept++] = slot;
    }
    *drawn = entries->drawn;
    lock_release(&entries->lock);
    return kept;
}

static void keep(struct hnsw_save *save);

static omen_status
begin_head(struct hnsw_save *save)
{
    struct hnsw *hnsw = save->hnsw;
    const struct codec *codec = &hnsw->codec;
    // The prefix was read before the kind is: where rows are linked, the kind is known.
    struct hnsw_head head = {
        .rows = save->rows,
        .linked = save->linked,
        .chosen = save->chosen,
        .kind = (uint32_t)hnsw_kind(hnsw),
        .found_rows = atomic_load_explicit(&hnsw->found_rows, memory_order_relaxed),
        .norm_max2 = atomic_load_explicit(&hnsw->norm_max2, memory_order_relaxed),
        .reach_events = atomic_load_explicit(&hnsw->reach_events, memory_order_relaxed)};
    uint32_t *entries = mem_alloc(ENTRIES_MAX * sizeof *entries);
    float *mean = mem_alloc_zero(hnsw->config.dim, sizeof *mean);
    omen_status status = entries != NULL && mean != NULL ? OMEN_OK : OMEN_E_NO_MEMORY;
    if (status == OMEN_OK && head.kind != CODE_NONE) { // else a linker may be founding it
        memcpy(mean, codec->mean, codec->dim * sizeof *mean);
        head.factor_unit = codec->factor_unit;
        head.norm_unit = codec->norm_unit;
        head.radius2 = codec->radius2;
        head.variance = codec->variance;
        head.high_error = codec->high_error;
        head.both_error = codec->both_error;
        head.entry_count = copy_entries(&hnsw->entries, save->linked, &head.drawn, entries);
    }
    head.mean = mean;
    head.entries = entries;
    save->head_bytes = hnsw_head_bytes(hnsw->config.dim, head.entry_count);
    if (status == OMEN_OK)
        save->head = mem_alloc(save->head_bytes);
    if (save->head != NULL)
        hnsw_head_write(&hnsw->config, &head, save->head);
    else
        status = OMEN_E_NO_MEMORY;
    mem_free(mean);
    mem_free(entries);
    return status;
}

static void
save_free(struct hnsw_save *save)
{
    mem_free(save->erased);
    mem_free(save->repaired);
    mem_free(save->head);
    mem_free(save);
}

// Whether so many rows are new since all links were put that to put them again is cheap beside what those rows cost.
static bool
links_due(const struct hnsw *hnsw, uint32_t chosen)
{
    const uint64_t links = hnsw->graph.rows.row_bytes;
    const uint64_t row_bytes = hnsw->row_bytes + 2 * hnsw->codec.row_bytes + links;
    const uint64_t old = hnsw->kept_linked, grown = chosen > old ? chosen - old : 0;
    return grown >= old || grown * row_bytes >= GROWN_SHARE * old * links;
}

// Those of the moment, or those of when the links were put.
static uint64_t *
copy_repaired(const struct hnsw *hnsw, const struct hnsw_save *save)
{
    if (!save->whole) {
        uint64_t *copy = mem_alloc_zero(bitmap_words(save->rows), sizeof *copy);
        if (copy != NULL && hnsw->kept_repaired != NULL)
            memcpy(copy, hnsw->kept_repaired, hnsw->kept_words * sizeof *copy);
        return copy;
    }
    uint64_t *copy = copy_bits(hnsw->repaired, save->rows);
    if (copy == NULL)
        return NULL;
    mending_clear(hnsw, copy, save->rows);
    // A row that was linked out of turn and repaired already has to be linked again.
    for (uint32_t slot = save->linked; slot < save->rows; slot = (slot | 63) + 1)
        copy[slot >> 6] &= (1ull << (slot & 63)) - 1;
    return copy;
}

static omen_status
save_begin(struct hnsw *hnsw, bool all, struct hnsw_save **out)
{
    *out = NULL;
    struct hnsw_save *save = mem_alloc_zero(1, sizeof *save);
    if (save == NULL)
        return OMEN_E_NO_MEMORY;
    save->hnsw = hnsw;
    save->linked = atomic_load_explicit(&hnsw->linked_prefix, memory_order_acquire);
    save->chosen = hnsw->chosen > save->linked ? hnsw->chosen : save->linked;
    save->rows = hnsw_count(hnsw);
    save->whole = all || hnsw->config.flat || links_due(hnsw, save->chosen);
    if (!save->whole)
        save->linked = hnsw->kept_linked;
    save->erased = copy_bits(hnsw->erased, save->rows);
    bool enough = save->erased != NULL;
    if (!hnsw->config.flat) {
        save->repaired = copy_repaired(hnsw, save);
        enough &= save->repaired != NULL;
    }
    const omen_status status = enough ? begin_head(save) : OMEN_E_NO_MEMORY;
    if (status != OMEN_OK) {
        save_free(save);
        return status;
    }
    struct saved_arena list[ARENAS_MAX];
    const uint32_t count = arenas(hnsw, list);
    for (uint32_t i = 0; i < count; i++)
        save->saved_before[i] = list[i].arena->saved_rows;
    *out = save;
    return OMEN_OK;
}

omen_status
hnsw_save_begin(struct hnsw *hnsw, struct hnsw_save **out)
{
    return save_begin(hnsw, true, out);
}

omen_status
hnsw_save_begin_grown(struct hnsw *hnsw, struct hnsw_save **out)
{
    return save_begin(hnsw, false, out);
}

uint32_t
hnsw_save_rows(const struct hnsw_save *save)
{
    return save->rows;
}

const uint64_t *
hnsw_save_erased(const struct hnsw_save *save)
{
    return save->erased;
}

uint32_t
hnsw_save_linked(const struct hnsw_save *save)
{
    return save->linked;
}

omen_status
hnsw_save_arrays(struct hnsw_save *save, const struct image_sink *sink)
{
    struct hnsw *hnsw = save->hnsw;
    const uint32_t chosen = save->chosen;
    omen_status status = arena_save(&hnsw->rows, IMAGE_ROWS, save->rows, sink);
    if (status != OMEN_OK || chosen == 0)
        return status;
    if (hnsw_kind(hnsw) == CODE_NIBBLE) {
        status = arena_save(&hnsw->high, IMAGE_HIGH, chosen, sink);
        if (status == OMEN_OK)
            status = arena_save(&hnsw->low, IMAGE_LOW, chosen, sink);
    }
    if (status == OMEN_OK)
        status = arena_save(&hnsw->meta, IMAGE_CODE_META, chosen, sink);
    if (status != OMEN_OK)
        return status;
    uint8_t *buffer = mem_alloc_aligned(64, IMAGE_PIECE_BYTES);
    if (buffer == NULL)
        return OMEN_E_NO_MEMORY;
    const struct graph_range range = {.from = save->whole ? 0 : hnsw->graph.rows.saved_rows,
                                      .end = chosen};
    status = graph_save(&hnsw->graph, &range, buffer, sink);
    mem_free(buffer);
    return status;
}

omen_status
hnsw_save_head(struct hnsw_save *save, const struct image_sink *sink)
{
    const size_t bytes = (size_t)bitmap_words(save->rows) * sizeof(uint64_t);
    omen_status status = image_put_whole(sink, IMAGE_ERASED, save->erased, bytes);
    if (status == OMEN_OK && save->repaired != NULL)
        status = image_put_whole(sink, IMAGE_REPAIRED, save->repaired, bytes);
    if (status == OMEN_OK)
        status = image_put_whole(sink, IMAGE_INDEX_HEAD, save->head, save->head_bytes);
    return status;
}

void
hnsw_save_close(struct hnsw_save *save, enum hnsw_saved saved)
{
    if (save == NULL)
        return;
    struct saved_arena list[ARENAS_MAX];
    const uint32_t count = arenas(save->hnsw, list);
    for (uint32_t i = 0; i < count && saved == HNSW_NOT_SAVED; i++) {
        // What was put may be anywhere or nowhere; pieces that were lent are where they were.
        arena_save_done(list[i].arena, save->saved_before[i]);
        arena_touch_all(list[i].arena);
    }
    if (saved == HNSW_SAVED)
        keep(save);
    save_free(save);
}

// What the file has of links now. The repaired bits are given to the index.
static void
keep(struct hnsw_save *save)
{
    struct hnsw *hnsw = save->hnsw;
    atomic_store(&hnsw->behind, save->chosen > save->linked);
    if (!save->whole)
        return;
    mem_free(hnsw->kept_repaired);
    hnsw->kept_linked = save->linked;
    hnsw->kept_repaired = save->repaired;
    hnsw->kept_words = bitmap_words(save->rows);
    save->repaired = NULL;
}

bool
hnsw_links_behind(const struct hnsw *hnsw)
{
    return atomic_load(&hnsw->behind);
}

void
hnsw_touch_all(struct hnsw *hnsw)
{
    struct saved_arena list[ARENAS_MAX];
    const uint32_t count = arenas(hnsw, list);
    for (uint32_t i = 0; i < count; i++) {
        arena_touch_all(list[i].arena);
        arena_touch_lent(list[i].arena);
    }
    hnsw->kept_linked = 0;
}
