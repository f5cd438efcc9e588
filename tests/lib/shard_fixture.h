// tests/lib/shard_fixture.h -- an index of four components, rows for it, and an assertion about messages.
//
// Shape: value. Header only, because tests/lib/*.c is linked into tests that have no shard.
#ifndef OMEN_TESTS_SHARD_FIXTURE_H
#define OMEN_TESTS_SHARD_FIXTURE_H
#include <check.h>
#include <stdlib.h>

#include "base/prng.h"
#include "tests/lib/shard_model.h"

#define ck_assert_says(call, expected, text)                                                       \
    do {                                                                                           \
        ck_assert_int_eq((call), (expected));                                                      \
        ck_assert_msg(strstr(omen_error_message(), (text)) != NULL, "'%s' lacks '%s'",             \
                      omen_error_message(), (text));                                               \
    } while (0)

static omen_index_t index_of; // of the running test
static float rows[8 * 4];

static inline omen_options
options_of(omen_metric metric, omen_dtype dtype)
{
    omen_options options = OMEN_OPTIONS_INIT;
    options.dimension = 4;
    options.metric = metric;
    options.dtype = dtype;
    options.threads = 1;
    return options;
}

static inline void
open_index(const omen_options *options)
{
    ck_assert_msg(omen_open(options, &index_of) == OMEN_OK, "%s", omen_error_message());
}

static inline omen_batch
batch_of(size_t count, const uint64_t *ids)
{
    omen_batch batch = OMEN_BATCH_INIT;
    batch.count = count;
    batch.vectors = rows;
    batch.ids = ids;
    return batch;
}

static inline void
setup(void)
{
    const omen_options options = options_of(OMEN_COSINE, OMEN_F32);
    open_index(&options);
    for (int i = 0; i < 8 * 4; i++)
        rows[i] = (float)(i % 7) + 0.5f;
}

static inline void
teardown(void)
{
    omen_close(index_of);
}

static inline uint64_t
count_of(omen_index_t index)
{
    uint64_t count = UINT64_MAX;
    ck_assert_int_eq(omen_count(index, NULL, &count), OMEN_OK);
    return count;
}

// ---- rows of any number of components: what they are follows from their id ----

static inline void
vector_drawn(uint64_t id, uint32_t dim, float *out)
{
    struct prng prng;
    prng_init(&prng, id);
    for (uint32_t i = 0; i < dim; i++)
        out[i] = prng_unit(&prng);
}

// In one batch.
static inline void
add_drawn(uint64_t first, uint32_t count, uint32_t dim)
{
    float *vectors = malloc((size_t)count * dim * sizeof *vectors);
    uint64_t *ids = malloc((size_t)count * sizeof *ids);
    for (uint32_t i = 0; i < count; i++) {
        ids[i] = first + i;
        vector_drawn(first + i, dim, vectors + (size_t)i * dim);
    }
    omen_batch batch = batch_of(count, ids);
    batch.vectors = vectors;
    ck_assert_msg(omen_upsert(index_of, &batch) == OMEN_OK, "%s", omen_error_message());
    free(vectors);
    free(ids);
}

static inline TCase *
case_of(const char *name)
{
    TCase *tcase = tcase_create(name);
    tcase_add_checked_fixture(tcase, setup, teardown);
    return tcase;
}

#endif
