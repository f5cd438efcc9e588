// index/hnsw.c -- opening, appending, publishing and counting.
//
// Shape: handle.
#include "base/alloc.h"
#include "base/assert.h"
#include "index/hnsw_int.h"

#define CODE_DIM_MIN 48u // rows of fewer components are walked themselves

#define BITS_STEP ((size_t)4096) // bytes that bits grow by: 32,768 slots

static omen_status open_parts(struct hnsw *hnsw);

// Bytes of the bits of `count` slots, and of the word behind them: who looks for the first row that is not linked
// looks there where all are.
static size_t
bits_bytes(uint32_t count)
{
    return ((size_t)bitmap_words(count) + 1) * sizeof(uint64_t);
}

omen_status
hnsw_open(const struct hnsw_config *config, struct hnsw **out)
{
    ASSERT(config->dim >= 1 && config->dim <= VECTOR_DIM_MAX);
    ASSERT(config->slots_max >= 1 && config->slots_max <= SLOTS_MAX);
    ASSERT(config->links >= 2 && config->links <= LINKS_PER_NODE_MAX);
    ASSERT(config->build_beam >= 1 && config->build_beam <= BEAM_MAX);
    *out = NULL;
    struct hnsw *hnsw = mem_alloc_aligned(64, sizeof *hnsw);
    if (hnsw == NULL)
        return OMEN_E_NO_MEMORY;
    memset((void *)hnsw, 0, sizeof *hnsw);
    hnsw->config = *config;
    hnsw->kernels = kernels_best();
    hnsw->row_bytes = (size_t)config->dim * vector_type_bytes(config->type);
    lock_init(&hnsw->found_lock);
    lock_init(&hnsw->reach_lock);
    lock_init(&hnsw->promote_lock);
    const omen_status status = open_parts(hnsw);
    if (status != OMEN_OK) {
        hnsw_close(hnsw);
        return status;
    }
    *out = hnsw;
    return OMEN_OK;
}

static omen_status
open_parts(struct hnsw *hnsw)
{
    const struct hnsw_config *config = &hnsw->config;
    omen_status status =
        codec_init(&hnsw->codec, config->dim, config->metric, config->type, config->seed);
    if (status == OMEN_OK)
        status = arena_init(&hnsw->rows, hnsw->row_bytes, config->slots_max);
    hnsw->erased = pages_reserve(bits_bytes(config->slots_max));
    if (hnsw->erased == NULL)
        status = OMEN_E_NO_MEMORY;
    if (status != OMEN_OK || config->flat)
        return status;
    hnsw->linked = pages_reserve(bits_bytes(config->slots_max));
    hnsw->repaired = pages_reserve(bits_bytes(config->slots_max));
    if (hnsw->linked == NULL || hnsw->repaired == NULL)
        return OMEN_E_NO_MEMORY;
    status = graph_init(&hnsw->graph, 2u * config->links, config->slots_max);
    if (status == OMEN_OK)
        status = arena_init(&hnsw->high, hnsw->codec.row_bytes, config->slots_max);
    if (status == OMEN_OK)
        status = arena_init(&hnsw->low, hnsw->codec.row_bytes, config->slots_max);
    if (status == OMEN_OK)
        status = arena_init(&hnsw->meta, sizeof(struct byte_meta), config->slots_max);
    if (status == OMEN_OK)
        status = entries_init(&hnsw->entries, hnsw->codec.row_bytes, config->seed);
    return status;
}

void
hnsw_close(struct hnsw *hnsw)
{
    if (hnsw == NULL)
        return;
    mem_free(hnsw->kept_repaired);
    entries_fini(&hnsw->entries);
    graph_fini(&hnsw->graph);
    arena_fini(&hnsw->rows);
    arena_fini(&hnsw->high);
    arena_fini(&hnsw->low);
    arena_fini(&hnsw->meta);
    const size_t bits = bits_bytes(hnsw->config.slots_max);
    pages_free((void *)hnsw->erased, bits);
    pages_free((void *)hnsw->linked, bits);
    pages_free((void *)hnsw->repaired, bits);
    codec_fini(&hnsw->codec);
    lock_fini(&hnsw->found_lock);
    lock_fini(&hnsw->reach_lock);
    lock_fini(&hnsw->promote_lock);
    mem_free(hnsw);
}

// Whether rows will be coded: known before founding but for the trial, so that room is made in time.
bool
hnsw_may_code(const struct hnsw_config *config)
{
    return !config->flat && config->quantization == HNSW_QUANTIZE_INT8 &&
           config->dim >= CODE_DIM_MIN && config->type != VECTOR_I8 && config->type != VECTOR_U8;
}

static omen_status
reserve_bits(struct hnsw *hnsw, uint32_t count)
{
    const size_t want = (bits_bytes(count) + BITS_STEP - 1) / BITS_STEP * BITS_STEP;
    const size_t have = hnsw->bits_bytes;
    if (want <= have)
        return OMEN_OK;
    if (pages_grow((void *)hnsw->erased, have, want) == NULL)
        return OMEN_E_NO_MEMORY;
    if (!hnsw->config.flat && (pages_grow((void *)hnsw->linked, have, want) == NULL ||
                               pages_grow((void *)hnsw->repaired, have, want) == NULL))
        return OMEN_E_NO_MEMORY;
    hnsw->bits_bytes = want;
    return OMEN_OK;
}

omen_status
hnsw_reserve(struct hnsw *hnsw, uint32_t count)
{
    if (count > hnsw->config.slots_max)
        return OMEN_E_FULL;
    omen_status status = reserve_bits(hnsw, count);
    if (status == OMEN_OK)
        status = arena_reserve(&hnsw->rows, count);
    if (status == OMEN_OK && !hnsw->config.flat)
        status = arena_reserve(&hnsw->graph.rows, count);
    if (status == OMEN_OK && !hnsw->config.flat)
        status = arena_reserve(&hnsw->meta, count);
    if (status == OMEN_OK && hnsw_may_code(&hnsw->config))
        status = arena_reserve(&hnsw->high, count);
    if (status == OMEN_OK && hnsw_may_code(&hnsw->config))
        status = arena_reserve(&hnsw->low, count);
    if (status == OMEN_OK && count > hnsw->reserved)
        hnsw->reserved = count;
    return status;
}

omen_status
hnsw_expect(struct hnsw *hnsw, uint32_t count)
{
    omen_status status = count > hnsw->config.slots_max ? OMEN_E_FULL : OMEN_OK;
    if (status == OMEN_OK && !hnsw->config.flat)
        status = graph_expect(&hnsw->graph, count);
    return status == OMEN_OK ? hnsw_reserve(hnsw, count) : status;
}

void
hnsw_populate(const struct hnsw *hnsw, uint32_t from, uint32_t to)
{
    arena_populate(&hnsw->rows, from, to);
}

static void
note_norm(struct hnsw *hnsw, const void *row)
{
    // Squares of the stored row against zero, by the kernel that compares rows.
    const struct codec *codec = &hnsw->codec;
    float product;
    const void *const rows[1] = {row};
    hnsw->kernels->exact[METRIC_L2][codec->type - 1](codec->mean, rows, 1, codec->dim, &product);
    if (product > bits_float(atomic_load_explicit(&hnsw->norm_max2, memory_order_relaxed)))
        atomic_store_explicit(&hnsw->norm_max2, float_bits(product), memory_order_relaxed);
}

uint32_t
hnsw_append(struct hnsw *hnsw, const void *rows, size_t stride, uint32_t count)
{
    ASSERT(count <= hnsw->reserved - hnsw->appended);
    const uint32_t first = hnsw->appended;
    for (uint32_t i = 0; i < count;) {
        // As many rows as lie side by side here and there.
        uint8_t *const at = arena_row(&hnsw->rows, first + i);
        const uint32_t room = hnsw->rows.mask + 1 - ((first + i) & hnsw->rows.mask);
        uint32_t run = stride == hnsw->row_bytes ? count - i : 1;
        run = run < room ? run : room;
        memcpy(at, (const uint8_t *)rows + (size_t)i * stride, run * hnsw->row_bytes);
        i += run;
    }
    if (hnsw->config.metric == METRIC_IP && !hnsw->config.flat)
        for (uint32_t i = 0; i < count; i++)
            note_norm(hnsw, arena_row(&hnsw->rows, first + i));
    if (!hnsw->config.flat)
        graph_clear(&hnsw->graph, first, count);
    hnsw->appended += count;
    return first;
}

void
hnsw_publish(struct hnsw *hnsw)
{
    atomic_store_explicit(&hnsw->published, hnsw->appended, memory_order_release);
    if (hnsw->config.flat || hnsw->appended < HNSW_FOUND_ROWS)
        return;
    if (atomic_load_explicit(&hnsw->found_rows, memory_order_relaxed) == 0)
        atomic_store_explicit(&hnsw->found_rows, hnsw->appended, memory_order_release);
}

const void *
hnsw_row(const struct hnsw *hnsw, uint32_t slot)
{
    return arena_row(&hnsw->rows, slot);
}

uint32_t
hnsw_count(const struct hnsw *hnsw)
{
    return atomic_load_explicit(&hnsw->published, memory_order_acquire);
}

uint32_t
hnsw_live(const struct hnsw *hnsw)
{
    const uint32_t erased = atomic_load_explicit(&hnsw->erased_count, memory_order_acquire);
    return hnsw_count(hnsw) - erased;
}

uint32_t
hnsw_tail(const struct hnsw *hnsw)
{
    const uint32_t linked = atomic_load_explicit(&hnsw->linked_count, memory_order_acquire);
    return hnsw_count(hnsw) - linked;
}

uint32_t
hnsw_tail_uncoded(const struct hnsw *hnsw)
{
    const uint32_t linked = atomic_load_explicit(&hnsw->linked_count, memory_order_acquire);
    return hnsw_count(hnsw) - (linked > hnsw->chosen ? linked : hnsw->chosen);
}

uint32_t
hnsw_linked(const struct hnsw *hnsw)
{
    return atomic_load_explicit(&hnsw->linked_prefix, memory_order_acquire);
}

bool
hnsw_founded(const struct hnsw *hnsw)
{
    return atomic_load_explicit(&hnsw->found_rows, memory_order_acquire) != 0;
}

bool
hnsw_erased(const struct hnsw *hnsw, uint32_t slot)
{
    return atomic_bit_test(hnsw->erased, slot);
}

uint64_t
hnsw_erased_word(const struct hnsw *hnsw, uint32_t word)
{
    return atomic_load_explicit(&hnsw->erased[word], memory_order_acquire);
}

const char *
hnsw_code_name(const struct hnsw *hnsw)
{
    switch (hnsw_kind(hnsw)) {
    case CODE_NIBBLE:
        return "nibble+byte";
    case CODE_EXACT:
        return "exact";
    case CODE_NONE:
        break;
    }
    return "none";
}

// Bytes of the arena's rows that are ours; the others are added to *mapped.
static size_t
owned_bytes(const struct arena *arena, uint32_t rows, size_t *mapped)
{
    const size_t owned = arena_owned_bytes(arena, rows);
    *mapped += arena_bytes(arena, rows) - owned;
    return owned;
}

void
hnsw_memory(const struct hnsw *hnsw, struct hnsw_memory *memory)
{
    const uint32_t rows = hnsw_count(hnsw);
    size_t mapped = 0;
    *memory = (struct hnsw_memory){.rows = owned_bytes(&hnsw->rows, rows, &mapped),
                                   .other = sizeof *hnsw + ((size_t)rows + 63) / 64 * 8};
    if (!hnsw->config.flat) {
        memory->links = owned_bytes(&hnsw->graph.rows, rows, &mapped);
        if (hnsw_kind(hnsw) != CODE_NONE)
            memory->codes = owned_bytes(&hnsw->meta, rows, &mapped);
        if (hnsw_kind(hnsw) == CODE_NIBBLE)
            memory->codes +=
                owned_bytes(&hnsw->high, rows, &mapped) + owned_bytes(&hnsw->low, rows, &mapped);
        memory->other += ((size_t)rows + 63) / 64 * 16 + GRAPH_LOCKS;
        memory->other += atomic_load_explicit(&hnsw->entries.count, memory_order_relaxed) *
                         hnsw->codec.row_bytes;
    }
    memory->mapped = mapped;
}

double
hnsw_links_mean(const struct hnsw *hnsw)
{
    const uint32_t rows = hnsw_count(hnsw);
    uint64_t links = 0, nodes = 0;
    uint32_t row[LINK_ROW_MAX];
    for (uint32_t slot = 0; hnsw->linked != NULL && slot < rows; slot++) {
        if (!linked_alive(hnsw, slot))
            continue;
        links += graph_read(&hnsw->graph, slot, rows, row);
        nodes++;
    }
    return nodes > 0 ? (double)links / (double)nodes : 0.0;
}
