// tests/lib/build_elsewhere.h -- copies of a shard with rows enough for a graph, and a builder that does at once what it is asked.
//
// Shape: value. Header only, because tests/lib/*.c is linked into tests that have no shard.
#ifndef OMEN_TESTS_BUILD_ELSEWHERE_H
#define OMEN_TESTS_BUILD_ELSEWHERE_H
#include <check.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "base/prng.h"
#include "shard/hosted_build.h"
#include "tests/lib/folder.h"

enum { ELSE_DIM = 24, ELSE_BATCH = 500 };

struct else_copy {
    char path[320];
    struct hosted *hosted;
};

struct else_options {
    uint32_t threads;
    bool text;
    uint8_t quantization;
};

static inline void
else_vector(uint64_t id, uint64_t salt, float *out)
{
    struct prng prng;
    prng_init(&prng, mix64(id) ^ salt);
    const uint32_t cluster = prng_below(&prng, 30);
    struct prng centre;
    prng_init(&centre, 7000 + cluster);
    for (uint32_t i = 0; i < ELSE_DIM; i++)
        out[i] = prng_unit(&centre) + prng_unit(&prng);
}

static inline const char *
else_text(uint64_t id, char text[24])
{
    (void)snprintf(text, 24, "p%llu", (unsigned long long)id);
    return text;
}

static inline void
else_open(struct else_copy *copy, const struct folder *folder, const char *name,
          const struct else_options *options)
{
    struct omen_error error = {0};
    (void)snprintf(copy->path, sizeof copy->path, "%s/%s", folder->path, name);
    const struct hosted_options wanted = {.path = copy->path,
                                          .dimension = ELSE_DIM,
                                          .metric = OMEN_L2,
                                          .dtype = OMEN_F32,
                                          .quantization = options->quantization,
                                          .m = 8,
                                          .ef_construction = 40,
                                          .threads = options->threads};
    ck_assert_msg(hosted_make(&wanted, &error) == OMEN_OK, "%s", error.text);
    ck_assert_msg(hosted_open(&wanted, &copy->hosted, &error) == OMEN_OK, "%s", error.text);
}

// One entry for all copies.
static inline void
else_write(struct else_copy *copies, uint32_t count, const struct hosted_ask *ask)
{
    struct omen_error error = {0};
    struct hosted_bytes bytes;
    ck_assert_msg(hosted_prepare(copies[0].hosted, ask, &bytes, &error) == OMEN_OK, "%s",
                  error.text);
    for (uint32_t i = 0; i < count; i++) {
        const struct hosted_entry entry = {.seq = hosted_applied(copies[i].hosted) + 1,
                                           .bytes = bytes.bytes,
                                           .count = bytes.count};
        const struct hosted_entries entries = {.entries = &entry, .count = 1};
        ck_assert_msg(hosted_apply(copies[i].hosted, &entries, NULL, &error) == OMEN_OK, "%s",
                      error.text);
    }
    hosted_bytes_fini(&bytes);
}

static inline void
else_change(struct else_copy *copies, uint32_t count, enum hosted_kind kind, uint64_t first,
            uint32_t rows, uint64_t step, uint64_t salt, bool text)
{
    for (uint32_t done = 0; done < rows;) {
        static float vectors[ELSE_BATCH][ELSE_DIM];
        static uint64_t ids[ELSE_BATCH];
        static char texts[ELSE_BATCH][24];
        static const char *names[ELSE_BATCH];
        const uint32_t batch = rows - done < ELSE_BATCH ? rows - done : ELSE_BATCH;
        for (uint32_t i = 0; i < batch; i++) {
            ids[i] = first + (done + i) * step;
            names[i] = else_text(ids[i], texts[i]);
            else_vector(ids[i], salt, vectors[i]);
        }
        struct hosted_ask ask = {.kind = kind, .count = batch};
        if (text)
            ask.texts = names;
        else
            ask.ids = ids;
        if (kind != HOSTED_DELETE) {
            ask.vectors = vectors;
            ask.dtype = OMEN_F32;
        }
        else_write(copies, count, &ask);
        done += batch;
    }
}

// A checkpoint may be at it.
static inline omen_status
else_freeze(struct hosted *hosted, uint64_t attempt, struct hosted_frozen *frozen,
            struct omen_error *error)
{
    omen_status status;
    do
        status = hosted_build_freeze(hosted, attempt, frozen, error);
    while (status == OMEN_E_BUSY);
    return status;
}

// All rows of a freeze, by a builder.
static inline void
else_read(struct hosted *hosted, uint64_t attempt, const struct hosted_frozen *frozen,
          struct built_rows *rows)
{
    struct omen_error error = {0};
    uint8_t *chunk = malloc(BUILT_CHUNK_BYTES);
    *rows = (struct built_rows){0};
    for (uint32_t i = 0; i < frozen->chunks; i++) {
        size_t bytes;
        ck_assert_msg(hosted_build_rows(hosted, attempt, i, chunk, &bytes, &error) == OMEN_OK, "%s",
                      error.text);
        ck_assert_msg(built_rows_take(rows, chunk, bytes, &error) == OMEN_OK, "%s", error.text);
    }
    ck_assert(built_rows_whole(rows));
    ck_assert_uint_eq(rows->head.total, frozen->rows);
    free(chunk);
}

static inline void
else_build(struct hosted *hosted, uint64_t attempt, struct built_graph *graph)
{
    struct omen_error error = {0};
    struct hosted_frozen frozen;
    struct built_rows rows;
    ck_assert_msg(else_freeze(hosted, attempt, &frozen, &error) == OMEN_OK, "%s", error.text);
    else_read(hosted, attempt, &frozen, &rows);
    const struct built_work work = {.threads = 2};
    ck_assert_int_eq(built_graph_make(&rows, &work, graph), OMEN_OK);
}

static inline omen_status
else_put_judged(struct hosted *hosted, uint64_t attempt, const struct built_graph *graph,
                const struct hosted_judged *judged, struct hosted_built *built,
                struct omen_error *error)
{
    uint8_t *chunk = malloc(BUILT_CHUNK_BYTES);
    omen_status status = OMEN_OK;
    for (uint32_t i = 0; i < built_graph_chunks(graph) && status == OMEN_OK; i++) {
        const size_t bytes = built_graph_write(graph, i, chunk);
        status = hosted_build_take(hosted, attempt, chunk, bytes, error);
    }
    free(chunk);
    return status == OMEN_OK ? hosted_build_install(hosted, attempt, judged, built, error) : status;
}

static inline omen_status
else_put(struct hosted *hosted, uint64_t attempt, const struct built_graph *graph,
         enum hosted_gate gate, struct hosted_built *built, struct omen_error *error)
{
    const struct hosted_judged judged = {.gate = gate, .recall = -1.0};
    return else_put_judged(hosted, attempt, graph, &judged, built, error);
}

#endif
