// index/hnsw_load.c -- an index as it was saved, searched where its pieces lie.
//
// Shape: handle.
//
// Loading costs a pointer a piece, a bit a slot, and the codes of the entries; rows, codes and links are not looked at.
// So nothing is asked of them that a search needs to be told: links to slots that are not there are dropped by whoever reads
// them, a code or row of any bytes is only a wrong distance. What the head says is checked before it is believed.
//
// Later, by and by, promotion copies links and codes to huge pages, and settling gives rows back to the map that
// were written since.
#include "base/alloc.h"
#include "base/assert.h"
#include "index/hnsw_head.h"

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "bitmaps and rows are saved as they lie");

// Exactly `count` bytes of an array that makes sense whole.
static omen_status
read_whole(const struct image_source *source, enum image_array array, void *out, size_t count)
{
    uint32_t piece = 0;
    for (size_t at = 0; at < count; at += IMAGE_PIECE_BYTES) {
        const size_t want = count - at < IMAGE_PIECE_BYTES ? count - at : IMAGE_PIECE_BYTES;
        size_t there = 0;
        const void *bytes = source->get(source->context, array, piece++, &there);
        if (bytes == NULL || there != want)
            return OMEN_E_CORRUPT;
        memcpy((uint8_t *)out + at, bytes, want);
    }
    return OMEN_OK;
}

static omen_status
read_head(const struct hnsw_config *config, const struct image_source *source,
          struct hnsw_head *head, float *mean, uint32_t *entries)
{
    size_t first = 0;
    const uint8_t *bytes = source->get(source->context, IMAGE_INDEX_HEAD, 0, &first);
    if (bytes == NULL || first < HNSW_HEAD_FIXED_BYTES)
        return OMEN_E_CORRUPT;
    const size_t size = hnsw_head_size(bytes);
    uint8_t *whole = mem_alloc(size > 0 ? size : 1);
    if (whole == NULL)
        return OMEN_E_NO_MEMORY;
    omen_status status =
        size > 0 ? read_whole(source, IMAGE_INDEX_HEAD, whole, size) : OMEN_E_CORRUPT;
    if (status == OMEN_OK)
        status = hnsw_head_read(config, whole, head, mean, entries);
    mem_free(whole);
    return status;
}

static omen_status
load_arrays(struct hnsw *hnsw, const struct hnsw_head *head, const struct image_source *source)
{
    omen_status status = arena_load(&hnsw->rows, IMAGE_ROWS, head->rows, source);
    if (status != OMEN_OK || hnsw->config.flat)
        return status;
    status = graph_load(&hnsw->graph, head->rows, head->chosen, source);
    if (status == OMEN_OK && head->kind != CODE_NONE)
        status = arena_load(&hnsw->meta, IMAGE_CODE_META, head->chosen, source);
    if (status == OMEN_OK && head->kind == CODE_NIBBLE)
        status = arena_load(&hnsw->high, IMAGE_HIGH, head->chosen, source);
    if (status == OMEN_OK && head->kind == CODE_NIBBLE)
        status = arena_load(&hnsw->low, IMAGE_LOW, head->chosen, source);
    return status;
}

static uint32_t
bits_count(const _Atomic uint64_t *words, uint32_t count)
{
    uint32_t population = 0;
    for (uint32_t i = 0; i < bitmap_words(count); i++)
        population +=
            (uint32_t)__builtin_popcountll(atomic_load_explicit(&words[i], memory_order_relaxed));
    return population;
}

// Nobody knows the index yet, so the words are plain memory.
static omen_status
load_bits(const struct image_source *source, enum image_array array, uint32_t rows,
          _Atomic uint64_t *words)
{
    const size_t bytes = (size_t)bitmap_words(rows) * sizeof *words;
    const omen_status status = read_whole(source, array, (void *)words, bytes);
    if (status != OMEN_OK || rows % 64 == 0)
        return status;
    const uint64_t last = atomic_load_explicit(&words[rows >> 6], memory_order_relaxed);
    return last >> rows % 64 == 0 ? OMEN_OK : OMEN_E_CORRUPT;
}

// Only what was linked and erased can have been repaired.
static bool
repaired_sound(const struct hnsw *hnsw, const struct hnsw_head *head)
{
    for (uint32_t i = 0; i < bitmap_words(head->rows); i++) {
        const uint64_t may = atomic_load_explicit(&hnsw->erased[i], memory_order_relaxed) &
                             atomic_load_explicit(&hnsw->linked[i], memory_order_relaxed);
        if ((atomic_load_explicit(&hnsw->repaired[i], memory_order_relaxed) & ~may) != 0)
            return false;
    }
    return true;
}

static void
set_linked(struct hnsw *hnsw, uint32_t linked)
{
    const uint32_t whole = linked / 64;
    for (uint32_t i = 0; i < whole; i++)
        atomic_store_explicit(&hnsw->linked[i], UINT64_MAX, memory_order_relaxed);
    if (linked % 64 != 0)
        atomic_store_explicit(&hnsw->linked[whole], (1ull << linked % 64) - 1,
                              memory_order_relaxed);
    atomic_store(&hnsw->claimed, linked);
    atomic_store(&hnsw->linked_count, linked);
    atomic_store(&hnsw->linked_prefix, linked);
}

// What a save without links goes by.
static omen_status
load_kept(struct hnsw *hnsw, const struct hnsw_head *head, uint32_t repaired)
{
    hnsw->chosen = head->chosen;
    hnsw->kept_linked = head->linked;
    atomic_store(&hnsw->behind, head->chosen > head->linked);
    if (repaired == 0)
        return OMEN_OK;
    hnsw->kept_words = bitmap_words(head->rows);
    hnsw->kept_repaired = mem_alloc(hnsw->kept_words * sizeof *hnsw->kept_repaired);
    if (hnsw->kept_repaired == NULL)
        return OMEN_E_NO_MEMORY;
    for (uint32_t i = 0; i < hnsw->kept_words; i++)
        hnsw->kept_repaired[i] = atomic_load_explicit(&hnsw->repaired[i], memory_order_relaxed);
    return OMEN_OK;
}

static omen_status
load_marks(struct hnsw *hnsw, const struct hnsw_head *head, const struct image_source *source)
{
    omen_status status = load_bits(source, IMAGE_ERASED, head->rows, hnsw->erased);
    if (status != OMEN_OK)
        return status;
    atomic_store(&hnsw->erased_count, bits_count(hnsw->erased, head->rows));
    if (hnsw->config.flat)
        return OMEN_OK;
    set_linked(hnsw, head->linked);
    status = load_bits(source, IMAGE_REPAIRED, head->rows, hnsw->repaired);
    if (status == OMEN_OK && !repaired_sound(hnsw, head))
        status = OMEN_E_CORRUPT;
    if (status != OMEN_OK)
        return status;
    const uint32_t repaired = bits_count(hnsw->repaired, head->rows);
    status = load_kept(hnsw, head, repaired);
    if (status != OMEN_OK)
        return status;
    atomic_store(&hnsw->repaired_count, repaired);
    // Those who linked out of turn when it was saved have to be linked again, and are counted then.
    const uint32_t events = head->linked + repaired;
    atomic_store(&hnsw->reach_events, head->reach_events < events ? head->reach_events : events);
    return OMEN_OK;
}

static void
take_head(struct hnsw *hnsw, const struct hnsw_head *head)
{
    struct codec *codec = &hnsw->codec;
    hnsw->appended = head->rows;
    hnsw->loaded = true;
    atomic_store(&hnsw->published, head->rows);
    atomic_store(&hnsw->found_rows, head->found_rows);
    atomic_store(&hnsw->norm_max2, head->norm_max2);
    if (head->kind == CODE_NONE)
        return;
    memcpy(codec->mean, head->mean, codec->dim * sizeof *codec->mean);
    codec->factor_unit = head->factor_unit;
    codec->norm_unit = head->norm_unit;
    codec->radius2 = head->radius2;
    codec->variance = head->variance;
    codec->high_error = head->high_error;
    codec->both_error = head->both_error;
    atomic_store(&hnsw->kind, head->kind);
    entries_load(hnsw, head->entries, head->entry_count, head->drawn);
}

static omen_status
load_parts(struct hnsw *hnsw, const struct hnsw_head *head, const struct image_source *source)
{
    omen_status status = load_arrays(hnsw, head, source);
    if (status == OMEN_OK)
        status = hnsw_reserve(hnsw, head->rows);
    if (status == OMEN_OK)
        status = load_marks(hnsw, head, source);
    if (status == OMEN_OK)
        take_head(hnsw, head);
    return status;
}

omen_status
hnsw_load(const struct hnsw_config *config, const struct image_source *source, struct hnsw **out)
{
    *out = NULL;
    struct hnsw_head head;
    struct hnsw *hnsw = NULL;
    float *mean = mem_alloc((size_t)config->dim * sizeof *mean);
    uint32_t *entries = mem_alloc(ENTRIES_MAX * sizeof *entries);
    omen_status status = mean != NULL && entries != NULL ? OMEN_OK : OMEN_E_NO_MEMORY;
    if (status == OMEN_OK)
        status = read_head(config, source, &head, mean, entries);
    if (status == OMEN_OK)
        status = hnsw_open(config, &hnsw);
    if (status == OMEN_OK)
        status = load_parts(hnsw, &head, source);
    mem_free(entries);
    mem_free(mean);
    if (status != OMEN_OK) {
        hnsw_close(hnsw);
        return status;
    }
    *out = hnsw;
    return OMEN_OK;
}

// What a search touches at every step, the first most of all.
static struct arena *
promoted_arena(struct hnsw *hnsw, uint32_t i)
{
    struct arena *const arenas[HNSW_PROMOTED] = {&hnsw->graph.rows, &hnsw->high, &hnsw->meta,
                                                 &hnsw->low};
    return arenas[i];
}

void
hnsw_will_need(struct hnsw *hnsw)
{
    for (uint32_t i = 0; i < HNSW_PROMOTED; i++)
        arena_will_need(promoted_arena(hnsw, i));
}

bool
hnsw_promote_next(struct hnsw *hnsw)
{
    bool promoted = false;
    lock_acquire(&hnsw->promote_lock);
    for (uint32_t i = 0; i < HNSW_PROMOTED && !promoted && !hnsw->config.flat; i++)
        promoted = arena_promote(promoted_arena(hnsw, i), &hnsw->promoted[i]);
    lock_release(&hnsw->promote_lock);
    return promoted;
}

uint32_t
hnsw_settle(struct hnsw *hnsw, const struct image_source *source)
{
    struct arena *rows = &hnsw->rows;
    const uint32_t whole = rows->saved_rows >> rows->shift;
    uint32_t settled = 0;
    for (uint32_t piece = 0; piece < whole; piece++) {
        if (arena_is_lent(rows, piece << rows->shift))
            continue;
        size_t count = 0;
        const void *bytes = source->get(source->context, IMAGE_ROWS, piece, &count);
        if (bytes != NULL && count >= arena_piece_bytes(rows))
            settled += arena_settle(rows, piece, bytes);
    }
    return settled;
}

void
hnsw_settled_release(struct hnsw *hnsw)
{
    const uint32_t whole = hnsw->rows.saved_rows >> hnsw->rows.shift;
    for (uint32_t piece = 0; piece < whole; piece++)
        arena_settled_release(&hnsw->rows, piece);
}
