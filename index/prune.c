// index/prune.c -- which of the candidates a node links to.
//
// Shape: handle (reads only).
//
// The relaxed neighbourhood rule of Vamana (Jayaram Subramanya et al. 2019, DiskANN, algorithm 2) in its
// occlusion-factor form: going from near to far, a candidate c is passed over while a chosen r has
// d(owner, c) / d(r, c) above alpha. The first pass takes alpha = 1 over all candidates, so the links of the relative
// neighbourhood graph, which hold the graph together, come before any other; the second, at alpha = 1.2, fills
// up with the nearest of the rest, which shortens walks. Distances here are squares, and so is ALPHA2.
//
// Once a factor is above 1.44 neither pass will take the candidate, and what the links chosen later do to it need not be
// known: most of 200 candidates are out after a few links.
//
// Equal vectors would fill each other's rows and cut themselves off: of candidates at distance 0 at most a quarter of
// the links is taken.
#include <math.h>

#include "base/assert.h"
#include "index/hnsw_int.h"

#define ALPHA2 1.44f
#define PREFETCH_ROWS 8u
#define HOPELESS_SHARE 4u // of what follows: then moving the rest up is worth it

static uint8_t *
joined_row(const struct hnsw *hnsw, struct scratch *scratch, uint32_t i)
{
    return scratch->joined + (size_t)i * hnsw->codec.joined_bytes;
}

static void
prefetch_planes(const struct hnsw *hnsw, uint32_t slot)
{
    const uint8_t *high = arena_row(&hnsw->high, slot), *low = arena_row(&hnsw->low, slot);
    for (uint32_t at = 0; at < hnsw->codec.row_bytes; at += 64) {
        prefetch_line(high + at);
        prefetch_line(low + at);
    }
    prefetch_line(arena_row(&hnsw->meta, slot));
}

static void
join_slot(const struct hnsw *hnsw, uint32_t slot, uint8_t *out)
{
    hnsw->kernels->join(arena_row(&hnsw->high, slot), arena_row(&hnsw->low, slot),
                        hnsw->codec.row_bytes, out);
}

// Joins the codes of `count` slots into the scratch, their metas beside them.
static void
gather(const struct hnsw *hnsw, struct scratch *scratch, const uint32_t *slots, uint32_t count)
{
    for (uint32_t i = 0; i < count && i < PREFETCH_ROWS; i++)
        prefetch_planes(hnsw, slots[i]);
    for (uint32_t i = 0; i < count; i++) {
        if (i + PREFETCH_ROWS < count)
            prefetch_planes(hnsw, slots[i + PREFETCH_ROWS]);
        join_slot(hnsw, slots[i], joined_row(hnsw, scratch, i));
        memcpy(&scratch->metas[i], arena_row(&hnsw->meta, slots[i]), sizeof scratch->metas[i]);
    }
}

// Distances from a joined code to the gathered ones [from, count), to scratch->distances.
static void
pair_distances(const struct hnsw *hnsw, struct scratch *scratch, const uint8_t *joined,
               const struct byte_meta *meta, uint32_t from, uint32_t count)
{
    const uint32_t bytes = hnsw->codec.joined_bytes;
    const uint32_t whole = hnsw->codec.row_bytes / 64 * 128, w = hnsw->codec.row_bytes % 64;
    int8_t *const one = scratch->one;
    for (uint32_t j = 0; j < bytes; j++)
        one[j] = (int8_t)(joined[j] ^ 0x80);
    if (w > 0) { // what no component fills
        memset(one + whole + w, 0, 64 - w);
        memset(one + whole + 64 + w, 0, 64 - w);
    }
    int32_t sum = 0;
    for (uint32_t j = 0; j < bytes; j++)
        sum += one[j];
    hnsw->kernels->dots(one, joined_row(hnsw, scratch, from), bytes, count - from,
                        scratch->dots + from);
    for (uint32_t i = from; i < count; i++)
        scratch->distances[i] =
            codec_pair(&hnsw->codec, meta, &scratch->metas[i], scratch->dots[i] - 128 * sum);
}

// The same for rows that are walked exactly; under ip the metas hold the added components.
static void
exact_distances(const struct hnsw *hnsw, struct scratch *scratch, uint32_t slot,
                const uint32_t *others, uint32_t from, uint32_t count)
{
    const struct codec *codec = &hnsw->codec;
    const bool ip = codec->metric == METRIC_IP;
    const struct row_query query = {.vector = scratch->rotated,
                                    .whole = row_as_integers(hnsw, slot)};
    if (query.whole.components == NULL)
        codec_prepare(codec, arena_row(&hnsw->rows, slot), codec->type, scratch->rotated);
    const struct byte_meta *own =
        (const struct byte_meta *)(const void *)arena_row(&hnsw->meta, slot);
    for (uint32_t i = from; i < count; i += BATCH_MAX) {
        const uint32_t batch = count - i < BATCH_MAX ? count - i : BATCH_MAX;
        const void *rows[BATCH_MAX];
        for (uint32_t j = 0; j < batch; j++)
            rows[j] = arena_row(&hnsw->rows, others[i + j]);
        rows_measure(hnsw, &query, rows, batch, scratch->distances + i);
        for (uint32_t j = 0; j < batch; j++) {
            float distance = scratch->distances[i + j];
            if (ip) {
                const struct byte_meta *other =
                    (const struct byte_meta *)(const void *)arena_row(&hnsw->meta, others[i + j]);
                distance = codec_pair_ip(codec, own, other, 1.0f - distance);
            }
            scratch->distances[i + j] = distance > 0.0f ? distance : 0.0f;
        }
    }
}

void
code_distances(const struct hnsw *hnsw, struct scratch *scratch, uint32_t slot,
               const uint32_t *others, uint32_t count)
{
    ASSERT(count <= PRUNE_CANDIDATES_MAX);
    if (hnsw_kind(hnsw) == CODE_EXACT) {
        exact_distances(hnsw, scratch, slot, others, 0, count);
        return;
    }
    gather(hnsw, scratch, others, count);
    join_slot(hnsw, slot, scratch->codes);
    struct byte_meta meta;
    memcpy(&meta, arena_row(&hnsw->meta, slot), sizeof meta);
    pair_distances(hnsw, scratch, scratch->codes, &meta, 0, count);
}

// Those from `from` on that no pass can choose any more make room for the rest, whose order stays. Returns the new count.
static uint32_t
drop_hopeless(const struct hnsw *hnsw, struct scratch *scratch, uint32_t *slots, float *own,
              uint32_t from, uint32_t count)
{
    float *const occlusion = scratch->occlusion;
    const bool exact = hnsw_kind(hnsw) == CODE_EXACT;
    uint32_t kept = from;
    for (uint32_t i = from; i < count; i++) {
        if (occlusion[i] > ALPHA2)
            continue;
        if (kept != i) {
            slots[kept] = slots[i];
            own[kept] = own[i];
            occlusion[kept] = occlusion[i];
            if (!exact) {
                scratch->metas[kept] = scratch->metas[i];
                memcpy(joined_row(hnsw, scratch, kept), joined_row(hnsw, scratch, i),
                       hnsw->codec.joined_bytes);
            }
        }
        kept++;
    }
    return kept;
}

uint32_t
prune(const struct hnsw *hnsw, struct scratch *scratch, uint32_t owner, const uint64_t *candidates,
      uint32_t count, uint32_t keep, uint32_t *chosen)
{
    uint32_t slots[PRUNE_CANDIDATES_MAX];
    float own[PRUNE_CANDIDATES_MAX];
    uint32_t n = 0;
    for (uint32_t i = 0; i < count && n < PRUNE_CANDIDATES_MAX; i++) {
        const uint32_t slot = nearest_slot(candidates[i]);
        if (slot == owner || (n > 0 && slots[n - 1] == slot))
            continue;
        own[n] = nearest_distance(candidates[i]);
        slots[n++] = slot;
    }
    const bool exact = hnsw_kind(hnsw) == CODE_EXACT;
    if (!exact && n > 1)
        gather(hnsw, scratch, slots, n);
    float *occlusion = scratch->occlusion;
    for (uint32_t i = 0; i < n; i++)
        occlusion[i] = 0.0f;

    uint32_t taken = 0, zeros = 0;
    const uint32_t zeros_max = keep / 4 > 0 ? keep / 4 : 1;
    for (float alpha2 = 1.0f;; alpha2 = ALPHA2) {
        for (uint32_t i = 0; i < n && taken < keep; i++) {
            if (occlusion[i] > alpha2)
                continue;
            occlusion[i] = INFINITY; // taken, or a twin too many
            if (own[i] == 0.0f && zeros++ >= zeros_max)
                continue;
            chosen[taken++] = slots[i];
            if (taken == keep || i + 1 == n)
                continue;
            if (exact)
                exact_distances(hnsw, scratch, slots[i], slots, i + 1, n);
            else
                pair_distances(hnsw, scratch, joined_row(hnsw, scratch, i), &scratch->metas[i],
                               i + 1, n);
            uint32_t hopeless = 0;
            for (uint32_t j = i + 1; j < n; j++) {
                const float between = scratch->distances[j];
                // own / between, with 0 / 0 = 1: twins of a chosen one are neither nearer nor farther.
                const float factor = between > 0.0f  ? own[j] / between
                                     : own[j] > 0.0f ? INFINITY
                                                     : 1.0f;
                occlusion[j] = factor > occlusion[j] ? factor : occlusion[j];
                hopeless += occlusion[j] > ALPHA2;
            }
            if (hopeless >= (n - i) / HOPELESS_SHARE)
                n = drop_hopeless(hnsw, scratch, slots, own, i + 1, n);
        }
        if (taken == keep || alpha2 == ALPHA2)
            return taken;
    }
}
