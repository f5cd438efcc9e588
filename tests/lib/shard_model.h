// tests/lib/shard_model.h -- the dumb twin of an index: a list of points, and a loop for every question.
//
// Shape: value. Header only, because tests/lib/*.c is linked into tests that have no shard.
//
// Points lie in the order of their last write, which is the order in which omen_scroll shows them. Payloads are
// {"age": integer, "city": string}; a point without one has city NULL.
#ifndef OMEN_TESTS_SHARD_MODEL_H
#define OMEN_TESTS_SHARD_MODEL_H
#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/prng.h"
#include "include/omendb.h"

#define MODEL_DIM 8u
#define MODEL_POINTS_MAX 8192u
#define MODEL_PAYLOAD_MAX 64u

struct model_point {
    uint64_t id;
    float vector[MODEL_DIM];
    const char *city; // NULL: no payload
    uint32_t age;
};

struct model {
    struct model_point points[MODEL_POINTS_MAX];
    uint32_t count;
};

static const char *const model_cities[] = {"Oslo", "Bergen", "Tromso", "Bodo"};

// msgpack of {"age": age, "city": city}; returns the bytes written.
static inline size_t
model_payload(uint8_t *out, uint32_t age, const char *city)
{
    const size_t length = strlen(city);
    uint8_t *at = out;
    *at++ = 0x82;
    *at++ = 0xa3;
    memcpy(at, "age", 3);
    at += 3;
    *at++ = 0xcd;
    *at++ = (uint8_t)(age >> 8);
    *at++ = (uint8_t)age;
    *at++ = 0xa4;
    memcpy(at, "city", 4);
    at += 4;
    *at++ = (uint8_t)(0xa0 | length);
    memcpy(at, city, length);
    return (size_t)(at + length - out);
}

static inline struct model_point *
model_find(struct model *model, uint64_t id)
{
    for (uint32_t i = 0; i < model->count; i++)
        if (model->points[i].id == id)
            return &model->points[i];
    return NULL;
}

static inline bool
model_remove(struct model *model, uint64_t id)
{
    struct model_point *point = model_find(model, id);
    if (point == NULL)
        return false;
    const size_t after = (size_t)(&model->points[model->count] - point) - 1;
    memmove(point, point + 1, after * sizeof *point);
    model->count--;
    return true;
}

static inline void
model_put(struct model *model, const struct model_point *point)
{
    (void)model_remove(model, point->id);
    model->points[model->count++] = *point;
}

static inline void
model_draw(struct prng *prng, uint64_t id, struct model_point *point)
{
    point->id = id;
    for (uint32_t d = 0; d < MODEL_DIM; d++)
        point->vector[d] = prng_unit(prng) - 0.5f;
    point->age = prng_below(prng, 100);
    point->city = prng_below(prng, 5) == 0 ? NULL : model_cities[prng_below(prng, 4)];
}

static inline double
model_distance(omen_metric metric, const float *a, const float *b)
{
    double dot = 0, aa = 0, bb = 0, l2 = 0;
    for (uint32_t d = 0; d < MODEL_DIM; d++) {
        dot += (double)a[d] * b[d];
        aa += (double)a[d] * a[d];
        bb += (double)b[d] * b[d];
        l2 += ((double)a[d] - b[d]) * ((double)a[d] - b[d]);
    }
    return metric == OMEN_L2 ? l2 : metric == OMEN_IP ? 1.0 - dot : 1.0 - dot / sqrt(aa * bb);
}

// "age >= low and city == city", either part left out when low is 0 or city NULL.
struct model_filter {
    uint32_t low;
    const char *city;
};

static inline bool
model_match(const struct model_point *point, const struct model_filter *filter)
{
    if (filter->low > 0 && (point->city == NULL || point->age < filter->low))
        return false;
    return filter->city == NULL || (point->city != NULL && strcmp(point->city, filter->city) == 0);
}

// Rows of a batch made from points.
struct model_batch {
    omen_batch batch;
    uint64_t *ids;
    float *vectors;
    uint8_t *bytes;
    const void **payloads;
    size_t *payload_bytes;
};

static inline void
model_batch_init(struct model_batch *out, const struct model_point *points, size_t count)
{
    out->batch = (omen_batch)OMEN_BATCH_INIT;
    out->ids = malloc((count + 1) * sizeof *out->ids);
    out->vectors = malloc((count + 1) * MODEL_DIM * sizeof *out->vectors);
    out->bytes = malloc((count + 1) * MODEL_PAYLOAD_MAX);
    out->payloads = malloc((count + 1) * sizeof *out->payloads);
    out->payload_bytes = malloc((count + 1) * sizeof *out->payload_bytes);
    for (size_t i = 0; i < count; i++) {
        uint8_t *bytes = out->bytes + i * MODEL_PAYLOAD_MAX;
        out->ids[i] = points[i].id;
        memcpy(out->vectors + i * MODEL_DIM, points[i].vector, sizeof points[i].vector);
        out->payload_bytes[i] =
            points[i].city == NULL ? 0 : model_payload(bytes, points[i].age, points[i].city);
        out->payloads[i] = points[i].city == NULL ? NULL : bytes;
    }
    out->batch.count = count;
    out->batch.vectors = out->vectors;
    out->batch.ids = out->ids;
    out->batch.payloads = out->payloads;
    out->batch.payload_bytes = out->payload_bytes;
}

static inline void
model_batch_fini(struct model_batch *batch)
{
    free(batch->ids);
    free(batch->vectors);
    free(batch->bytes);
    free((void *)batch->payloads);
    free(batch->payload_bytes);
}

#endif
