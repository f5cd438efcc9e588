// tests/fuzz/fuzz_hnsw_image.c -- a saved index with any bytes changed: refused, or safe to search, link, repair, compact.
//
// The first byte chooses one of two saved indexes; then every four bytes change one of its bytes: array, place (two
// bytes), what it is XORed with.
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/prng.h"
#include "index/hnsw.h"

#define DIM_MAX 64u
#define ROWS 1200u
#define PIECES 4u
#define ARRAYS 8u

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count);

// What is saved of an index.
static const uint32_t arrays[ARRAYS] = {IMAGE_INDEX_HEAD, IMAGE_ERASED, IMAGE_REPAIRED, IMAGE_LINKS,
                                        IMAGE_CODE_META,  IMAGE_HIGH,   IMAGE_LOW,      IMAGE_ROWS};

struct piece {
    uint8_t *bytes;
    size_t count;
};

struct image {
    struct hnsw_config config;
    struct piece pieces[ARRAYS][PIECES];
};

static struct image images[2];

static uint32_t
place_of(uint32_t array)
{
    for (uint32_t i = 0; i < ARRAYS; i++)
        if (arrays[i] == array)
            return i;
    ASSERT(false);
    return 0;
}

static omen_status
put(void *context, uint32_t array, uint32_t piece, const void *bytes, size_t count)
{
    struct image *image = context;
    ASSERT(piece < PIECES);
    struct piece *to = &image->pieces[place_of(array)][piece];
    free(to->bytes);
    to->bytes = aligned_alloc(64, (count + 63) / 64 * 64);
    ASSERT(to->bytes != NULL);
    memcpy(to->bytes, bytes, count);
    to->count = count;
    return OMEN_OK;
}

static const void *
get(void *context, uint32_t array, uint32_t piece, size_t *count)
{
    const struct image *image = context;
    if (piece >= PIECES)
        return NULL;
    *count = image->pieces[place_of(array)][piece].count;
    return image->pieces[place_of(array)][piece].bytes;
}

static void
draw(struct prng *prng, uint32_t dim, float *vector)
{
    const float centre = (float)prng_below(prng, 8);
    for (uint32_t i = 0; i < dim; i++)
        vector[i] = centre * (float)(i % 3) + prng_unit(prng);
}

static void
add_rows(struct hnsw *hnsw, const struct hnsw_config *config, uint32_t rows, struct prng *prng)
{
    float vector[DIM_MAX];
    if (hnsw_reserve(hnsw, hnsw_count(hnsw) + rows) != OMEN_OK)
        return;
    for (uint32_t i = 0; i < rows; i++) {
        draw(prng, config->dim, vector);
        hnsw_append(hnsw, vector, config->dim * sizeof *vector, 1);
    }
    hnsw_publish(hnsw);
}

static void
image_make(struct image *image, uint32_t dim, enum metric metric)
{
    struct hnsw *hnsw;
    struct scratch *scratch;
    struct hnsw_save *save;
    struct prng prng;
    prng_init(&prng, dim);
    image->config = (struct hnsw_config){.dim = dim,
                                         .slots_max = 2 * ROWS,
                                         .links = 5,
                                         .build_beam = 16,
                                         .metric = metric,
                                         .type = VECTOR_F32,
                                         .quantization = HNSW_QUANTIZE_INT8};
    ASSERT(hnsw_open(&image->config, &hnsw) == OMEN_OK && scratch_open(&scratch) == OMEN_OK);
    add_rows(hnsw, &image->config, ROWS - 50, &prng);
    while (hnsw_link_next(hnsw, scratch)) {
    }
    for (uint32_t slot = 0; slot < ROWS - 50; slot += 20)
        hnsw_erase(hnsw, slot);
    for (uint32_t i = 0; i < 30; i++)
        hnsw_repair_next(hnsw, scratch);
    add_rows(hnsw, &image->config, 50, &prng);
    const struct image_sink sink = {.put = put, .context = image};
    ASSERT(hnsw_save_begin(hnsw, &save) == OMEN_OK);
    ASSERT(hnsw_save_arrays(save, &sink) == OMEN_OK && hnsw_save_head(save, &sink) == OMEN_OK);
    hnsw_save_close(save, HNSW_SAVED);
    hnsw_close(hnsw);
    scratch_close(scratch);
}

// Changes the image; done twice, it is as it was.
static void
change(struct image *image, const uint8_t *bytes, size_t count)
{
    for (size_t at = 0; at + 4 <= count; at += 4) {
        struct piece *piece = &image->pieces[bytes[at] % ARRAYS][bytes[at] / ARRAYS % PIECES];
        if (piece->count > 0)
            piece->bytes[(bytes[at + 1] | (size_t)bytes[at + 2] << 8) % piece->count] ^=
                bytes[at + 3];
    }
}

static void
ask(struct hnsw *hnsw, const struct hnsw_config *config, struct scratch *scratch, struct prng *prng)
{
    float vector[DIM_MAX];
    struct hit hits[10];
    draw(prng, config->dim, vector);
    const struct hnsw_query query = {.vector = vector, .k = 10, .beam = 30, .excluded = HNSW_NONE};
    const uint32_t count = hnsw_search(hnsw, &query, scratch, hits);
    ASSERT(count <= 10);
    for (uint32_t i = 0; i < count; i++)
        ASSERT(hits[i].slot < hnsw_count(hnsw) && !hnsw_erased(hnsw, hits[i].slot));
}

static void
use(struct hnsw *hnsw, const struct hnsw_config *config)
{
    struct scratch *scratch;
    struct hnsw *compact;
    struct prng prng;
    prng_init(&prng, 1);
    ASSERT(scratch_open(&scratch) == OMEN_OK);
    ask(hnsw, config, scratch, &prng);
    add_rows(hnsw, config, 5, &prng);
    for (uint32_t i = 0; i < 20; i++) {
        hnsw_link_next(hnsw, scratch);
        hnsw_repair_next(hnsw, scratch);
    }
    hnsw_promote_next(hnsw);
    ask(hnsw, config, scratch, &prng);
    if (hnsw_compact(hnsw, scratch, &compact) == OMEN_OK) {
        ask(compact, config, scratch, &prng);
        hnsw_close(compact);
    }
    scratch_close(scratch);
}

int
LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count)
{
    if (images[0].config.dim == 0) {
        image_make(&images[0], 64, METRIC_L2);
        image_make(&images[1], 6, METRIC_IP);
    }
    if (count == 0)
        return 0;
    struct image *image = &images[bytes[0] % 2];
    const struct image_source source = {.get = get, .context = image};
    struct hnsw *hnsw;
    change(image, bytes + 1, count - 1);
    const omen_status status = hnsw_load(&image->config, &source, &hnsw);
    if (status == OMEN_OK)
        use(hnsw, &image->config);
    else
        ASSERT(hnsw == NULL && (status == OMEN_E_CORRUPT || status == OMEN_E_VERSION));
    hnsw_close(hnsw);
    change(image, bytes + 1, count - 1);
    return 0;
}
