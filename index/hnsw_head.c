// index/hnsw_head.c -- what a saved index says of itself, as bytes.
//
// Shape: value.
//
//      0  version, bytes of all of it
//      8  dim, metric, type, quantization, flat, links a node, bytes a link; 4 bytes of zero
//     40  the seed, from which the signs of the rotation are drawn
//     48  rows, linked, kind, found_rows, norm_max2, reach_events
//     72  factor_unit, norm_unit, radius2, variance, high_error, both_error
//     96  the entries' random state, their count; chosen, or 0 where that is linked; 16 bytes of zero
//    128  the mean, dim floats; the entries' slots
#include "index/hnsw_head.h"

#include <math.h>
#include <string.h>

#define CONFIG_WORDS 8u
#define COUNT_WORDS 6u
#define CODEC_FLOATS 6u

static void
put32(uint8_t *at, uint32_t value)
{
    for (int i = 0; i < 4; i++)
        at[i] = (uint8_t)(value >> 8 * i);
}

static uint32_t
get32(const uint8_t *at)
{
    return (uint32_t)at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 | (uint32_t)at[3] << 24;
}

static void
put64(uint8_t *at, uint64_t value)
{
    put32(at, (uint32_t)value);
    put32(at + 4, (uint32_t)(value >> 32));
}

static uint64_t
get64(const uint8_t *at)
{
    return get32(at) | (uint64_t)get32(at + 4) << 32;
}

size_t
hnsw_head_bytes(uint32_t dim, uint32_t entry_count)
{
    return HNSW_HEAD_FIXED_BYTES + ((size_t)dim + entry_count) * 4;
}

// What an index was made with and cannot be changed.
static void
config_words(const struct hnsw_config *config, uint32_t words[CONFIG_WORDS])
{
    words[0] = config->dim;
    words[1] = (uint32_t)config->metric;
    words[2] = (uint32_t)config->type;
    words[3] = (uint32_t)config->quantization;
    words[4] = config->flat;
    words[5] = config->links;
    words[6] = (uint32_t)link_width_for(config->slots_max);
    words[7] = 0;
}

void
hnsw_head_write(const struct hnsw_config *config, const struct hnsw_head *head, uint8_t *out)
{
    uint32_t words[CONFIG_WORDS];
    const uint32_t counts[COUNT_WORDS] = {head->rows,       head->linked,    head->kind,
                                          head->found_rows, head->norm_max2, head->reach_events};
    const float floats[CODEC_FLOATS] = {head->factor_unit, head->norm_unit,  head->radius2,
                                        head->variance,    head->high_error, head->both_error};
    memset(out, 0, HNSW_HEAD_FIXED_BYTES);
    config_words(config, words);
    put32(out, HNSW_HEAD_VERSION);
    put32(out + 4, (uint32_t)hnsw_head_bytes(config->dim, head->entry_count));
    for (uint32_t i = 0; i < CONFIG_WORDS; i++)
        put32(out + 8 + (size_t)i * 4, words[i]);
    put64(out + 40, config->seed);
    for (uint32_t i = 0; i < COUNT_WORDS; i++)
        put32(out + 48 + (size_t)i * 4, counts[i]);
    for (uint32_t i = 0; i < CODEC_FLOATS; i++)
        put32(out + 72 + (size_t)i * 4, float_bits(floats[i]));
    put64(out + 96, head->drawn);
    put32(out + 104, head->entry_count);
    put32(out + 108, head->chosen > head->linked ? head->chosen : 0);
    uint8_t *at = out + HNSW_HEAD_FIXED_BYTES;
    for (uint32_t i = 0; i < config->dim; i++, at += 4)
        put32(at, float_bits(head->mean[i]));
    for (uint32_t i = 0; i < head->entry_count; i++, at += 4)
        put32(at, head->entries[i]);
}

size_t
hnsw_head_size(const uint8_t *bytes)
{
    const uint32_t size = get32(bytes + 4);
    return size >= HNSW_HEAD_FIXED_BYTES && size <= hnsw_head_bytes(VECTOR_DIM_MAX, ENTRIES_MAX)
               ? size
               : 0;
}

static bool
same_config(const struct hnsw_config *config, const uint8_t *bytes)
{
    uint32_t words[CONFIG_WORDS];
    config_words(config, words);
    for (uint32_t i = 0; i < CONFIG_WORDS; i++)
        if (get32(bytes + 8 + (size_t)i * 4) != words[i])
            return false;
    return get64(bytes + 40) == config->seed;
}

static bool
counts_sound(const struct hnsw_config *config, const struct hnsw_head *head)
{
    if (head->rows > config->slots_max || head->linked > head->chosen ||
        head->chosen > head->rows || head->kind > CODE_EXACT)
        return false;
    // The rows that a code is yet to be founded from; where it is, they may have gone with a compaction.
    if (head->kind == CODE_NONE && head->found_rows != 0 &&
        (head->found_rows < HNSW_FOUND_ROWS || head->found_rows > head->rows))
        return false;
    // Nothing is linked without a code, nothing coded without rows to found it; a flat index has neither.
    if (head->kind == CODE_NONE && (head->chosen > 0 || head->entry_count > 0))
        return false;
    if (head->kind == CODE_NIBBLE && !hnsw_may_code(config))
        return false;
    if (config->flat && (head->kind != CODE_NONE || head->found_rows > 0))
        return false;
    if (head->kind != CODE_NONE && head->found_rows == 0)
        return false;
    return !isnan(bits_float(head->norm_max2)) && bits_float(head->norm_max2) >= 0.0f;
}

// Codes are made with these numbers: what is no number would make others of them. Rows that are walked themselves use
// hardly any, and may have been too large for some.
static bool
codec_sound(const struct hnsw_config *config, const struct hnsw_head *head)
{
    if (head->kind != CODE_NIBBLE)
        return true;
    const float floats[CODEC_FLOATS] = {head->factor_unit, head->norm_unit,  head->radius2,
                                        head->variance,    head->high_error, head->both_error};
    for (uint32_t i = 0; i < CODEC_FLOATS; i++)
        if (!isfinite(floats[i]) || floats[i] < 0.0f)
            return false;
    for (uint32_t i = 0; i < config->dim; i++)
        if (!isfinite(head->mean[i]))
            return false;
    return head->factor_unit > 0.0f && head->norm_unit > 0.0f;
}

omen_status
hnsw_head_read(const struct hnsw_config *config, const uint8_t *bytes, struct hnsw_head *head,
               float *mean, uint32_t *entries)
{
    if (get32(bytes) != HNSW_HEAD_VERSION)
        return OMEN_E_VERSION;
    if (!same_config(config, bytes))
        return OMEN_E_CORRUPT;
    float floats[CODEC_FLOATS];
    for (uint32_t i = 0; i < CODEC_FLOATS; i++)
        floats[i] = bits_float(get32(bytes + 72 + (size_t)i * 4));
    *head = (struct hnsw_head){.rows = get32(bytes + 48),
                               .linked = get32(bytes + 52),
                               .kind = get32(bytes + 56),
                               .found_rows = get32(bytes + 60),
                               .norm_max2 = get32(bytes + 64),
                               .reach_events = get32(bytes + 68),
                               .factor_unit = floats[0],
                               .norm_unit = floats[1],
                               .radius2 = floats[2],
                               .variance = floats[3],
                               .high_error = floats[4],
                               .both_error = floats[5],
                               .drawn = get64(bytes + 96),
                               .entry_count = get32(bytes + 104),
                               .chosen = get32(bytes + 108),
                               .mean = mean,
                               .entries = entries};
    if (head->chosen == 0)
        head->chosen = head->linked;
    if (head->entry_count > ENTRIES_MAX ||
        hnsw_head_size(bytes) != hnsw_head_bytes(config->dim, head->entry_count))
        return OMEN_E_CORRUPT;
    const uint8_t *at = bytes + HNSW_HEAD_FIXED_BYTES;
    for (uint32_t i = 0; i < config->dim; i++, at += 4)
        mean[i] = bits_float(get32(at));
    for (uint32_t i = 0; i < head->entry_count; i++, at += 4) {
        entries[i] = get32(at);
        if (entries[i] >= head->linked)
            return OMEN_E_CORRUPT;
    }
    return counts_sound(config, head) && codec_sound(config, head) ? OMEN_OK : OMEN_E_CORRUPT;
}
