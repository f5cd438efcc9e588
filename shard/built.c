// shard/built.c -- rows on their way to a builder, and the graph that comes back.
//
// Shape: value.
#include "shard/built.h"

#include <string.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "base/hash.h"
#include "index/graph.h"
#include "shard/backend.h"

#define MAGIC_ROWS 0x4c4f4e4fu  // the letters ONOL
#define MAGIC_LINKS 0x4b4f4e4fu // the letters ONOK
#define VERSION 1u
#define KEY_BYTES sizeof(uint64_t)
#define HASH_BYTES sizeof(uint64_t)
#define SMALL_TOTAL (1u << 24) // numbers of fewer rows have three bytes

enum { SKETCHED = 1, EXTRAS = 2, FAR = 4, FLAGS = 7 };

static void
put(uint8_t *at, uint64_t value, uint32_t bytes)
{
    for (uint32_t i = 0; i < bytes; i++)
        at[i] = (uint8_t)(value >> 8 * i);
}

static uint64_t
get(const uint8_t *at, uint32_t bytes)
{
    uint64_t value = 0;
    for (uint32_t i = 0; i < bytes; i++)
        value |= (uint64_t)at[i] << 8 * i;
    return value;
}

static uint32_t
link_bytes(uint32_t total)
{
    return total <= SMALL_TOTAL ? 3 : 4;
}

// Returns `bytes`.
static size_t
seal(const struct built_head *head, uint32_t magic, uint32_t unit, uint8_t *chunk, size_t bytes)
{
    const struct ship_shape *shape = &head->shape;
    ASSERT(bytes <= BUILT_CHUNK_BYTES);
    put(chunk + 8, magic, 4);
    put(chunk + 12, VERSION, 2);
    put(chunk + 14, shape->kind, 1);
    put(chunk + 15,
        (shape->sketched ? SKETCHED : 0u) | (shape->extras ? EXTRAS : 0u) | (shape->far ? FAR : 0u),
        1);
    put(chunk + 16, shape->width, 4);
    put(chunk + 20, shape->links_max, 4);
    put(chunk + 24, shape->seed, 8);
    put(chunk + 32, head->seq, 8);
    put(chunk + 40, head->total, 4);
    put(chunk + 44, head->first, 4);
    put(chunk + 48, head->count, 4);
    put(chunk + 52, unit, 4);
    put(chunk, hash_bytes(chunk + HASH_BYTES, bytes - HASH_BYTES), 8);
    return bytes;
}

static omen_status
corrupt(struct omen_error *error, const char *what)
{
    return error_set(error, OMEN_E_CORRUPT, "a chunk of a build: %s", what);
}

// The head of a chunk of this sort. That its keys are there has been checked afterwards.
static omen_status
open_chunk(const uint8_t *chunk, size_t bytes, uint32_t magic, struct built_head *head,
           uint32_t *unit, struct omen_error *error)
{
    if (bytes < BUILT_HEAD_BYTES || bytes > BUILT_CHUNK_BYTES)
        return corrupt(error, "its length");
    if (get(chunk, 8) != hash_bytes(chunk + HASH_BYTES, bytes - HASH_BYTES))
        return corrupt(error, "its checksum");
    if (get(chunk + 8, 4) != magic)
        return corrupt(error, "it is of another sort");
    if (get(chunk + 12, 2) != VERSION)
        return error_set(error, OMEN_E_VERSION, "a chunk of a build has version %u",
                         (unsigned)get(chunk + 12, 2));
    const uint32_t flags = chunk[15];
    *head = (struct built_head){.shape = {.kind = chunk[14],
                                          .sketched = (flags & SKETCHED) != 0,
                                          .extras = (flags & EXTRAS) != 0,
                                          .far = (flags & FAR) != 0,
                                          .width = (uint32_t)get(chunk + 16, 4),
                                          .links_max = (uint32_t)get(chunk + 20, 4),
                                          .seed = get(chunk + 24, 8)},
                                .seq = get(chunk + 32, 8),
                                .total = (uint32_t)get(chunk + 40, 4),
                                .first = (uint32_t)get(chunk + 44, 4),
                                .count = (uint32_t)get(chunk + 48, 4)};
    *unit = (uint32_t)get(chunk + 52, 4);
    if (flags > FLAGS || !ship_shape_is_sound(&head->shape))
        return corrupt(error, "what rows are");
    if (head->total > SLOTS_MAX || head->count == 0 || head->count > head->total ||
        head->first > head->total - head->count)
        return corrupt(error, "which rows it has");
    if ((bytes - BUILT_HEAD_BYTES) / KEY_BYTES < head->count)
        return corrupt(error, "its keys");
    return OMEN_OK;
}

static bool
same_shape(const struct ship_shape *a, const struct ship_shape *b)
{
    return a->kind == b->kind && a->sketched == b->sketched && a->extras == b->extras &&
           a->far == b->far && a->width == b->width && a->links_max == b->links_max &&
           a->seed == b->seed;
}

// Whether a chunk goes on behind what is there: *again says that it was there before.
static omen_status
follows(const struct built_head *have, const struct built_head *next, bool *again,
        struct omen_error *error)
{
    *again = false;
    if (have->total == 0)
        return next->first == 0
                   ? OMEN_OK
                   : error_set(error, OMEN_E_CONFLICT, "a build's first chunk begins with row %u",
                               next->first);
    if (!same_shape(&have->shape, &next->shape) || have->seq != next->seq ||
        have->total != next->total)
        return error_set(error, OMEN_E_CONFLICT, "a chunk is of another build");
    *again = next->first + next->count <= have->count;
    if (!*again && next->first != have->count)
        return error_set(error, OMEN_E_CONFLICT, "a chunk begins with row %u, not with row %u",
                         next->first, have->count);
    return OMEN_OK;
}

static void
copy_keys(uint64_t *keys, const struct built_head *head, const uint8_t *chunk)
{
    for (uint32_t i = 0; i < head->count; i++)
        keys[head->first + i] = get(chunk + BUILT_HEAD_BYTES + i * KEY_BYTES, 8);
}

// ---- rows ----

uint32_t
built_rows_fit(const struct ship_shape *shape)
{
    return (uint32_t)((BUILT_CHUNK_BYTES - BUILT_HEAD_BYTES) / (KEY_BYTES + ship_row_bytes(shape)));
}

void
built_key_put(uint8_t *chunk, uint32_t row, uint64_t key)
{
    put(chunk + BUILT_HEAD_BYTES + row * KEY_BYTES, key, 8);
}

uint8_t *
built_rows_at(const struct built_head *head, uint8_t *chunk)
{
    return chunk + BUILT_HEAD_BYTES + head->count * KEY_BYTES;
}

size_t
built_rows_seal(const struct built_head *head, uint8_t *chunk)
{
    const size_t row_bytes = ship_row_bytes(&head->shape);
    const size_t bytes = BUILT_HEAD_BYTES + head->count * (KEY_BYTES + row_bytes);
    return seal(head, MAGIC_ROWS, (uint32_t)row_bytes, chunk, bytes);
}

static omen_status
rows_open(struct built_rows *rows, const struct built_head *head)
{
    struct built_rows fresh = {.head = *head, .row_bytes = ship_row_bytes(&head->shape)};
    fresh.head.count = 0;
    fresh.keys = pages_alloc((size_t)head->total * sizeof *fresh.keys);
    fresh.bytes = pages_alloc((size_t)head->total * fresh.row_bytes);
    if (fresh.keys == NULL || fresh.bytes == NULL) {
        built_rows_fini(&fresh);
        return OMEN_E_NO_MEMORY;
    }
    *rows = fresh;
    return OMEN_OK;
}

omen_status
built_rows_take(struct built_rows *rows, const uint8_t *chunk, size_t bytes,
                struct omen_error *error)
{
    struct built_head head;
    uint32_t unit;
    bool again;
    omen_status status = open_chunk(chunk, bytes, MAGIC_ROWS, &head, &unit, error);
    if (status != OMEN_OK)
        return status;
    const size_t row_bytes = ship_row_bytes(&head.shape);
    const uint8_t *from = chunk + BUILT_HEAD_BYTES + head.count * KEY_BYTES;
    if (unit != row_bytes || bytes != BUILT_HEAD_BYTES + head.count * (KEY_BYTES + row_bytes))
        return corrupt(error, "its rows' length");
    for (uint32_t i = 0; i < head.count; i++)
        if (!ship_row_is_sound(&head.shape, from + i * row_bytes))
            return corrupt(error, "a number that is none");
    status = follows(&rows->head, &head, &again, error);
    if (status != OMEN_OK || again)
        return status;
    if (rows->head.total == 0)
        status = rows_open(rows, &head);
    if (status != OMEN_OK)
        return error_set_plain(error, status);
    copy_keys(rows->keys, &head, chunk);
    memcpy(rows->bytes + head.first * row_bytes, from, head.count * row_bytes);
    rows->head.count = head.first + head.count;
    return OMEN_OK;
}

void
built_rows_fini(struct built_rows *rows)
{
    pages_free(rows->keys, (size_t)rows->head.total * sizeof *rows->keys);
    pages_free(rows->bytes, (size_t)rows->head.total * rows->row_bytes);
    *rows = (struct built_rows){0};
}

// ---- the graph ----

static void
note_by(const struct backend *backend, const struct omen_error *error, struct built_by *by)
{
    if (by == NULL)
        return;
    by->backend = backend_maker(backend) != NULL ? OMEN_BACKEND_CUDA : OMEN_BACKEND_CPU;
    memcpy(by->device, backend->device, sizeof by->device);
    memcpy(by->reason, error->text, sizeof by->reason);
}

static omen_status
run(const struct build_rows *rows, struct build_config *config, const struct built_work *work,
    struct build_graph *graph)
{
    struct backend backend;
    struct omen_error error = {0};
    omen_status status =
        backend_open(&backend, work->backend, (uint64_t)rows->count * rows->width, &error);
    if (status == OMEN_OK) {
        config->maker = backend_maker(&backend);
        status = build_run(rows, config, graph, NULL);
    }
    if (status != OMEN_OK && config->maker != NULL && backend_gives_up(&backend, status)) {
        config->maker = NULL;
        status = build_run(rows, config, graph, NULL);
    }
    if (status == OMEN_OK)
        error = backend.why;
    else if (config->maker != NULL)
        error = backend.gpu.error;
    note_by(&backend, &error, work->by);
    backend_close(&backend);
    return status;
}

omen_status
built_graph_make(struct built_rows *rows, const struct built_work *work, struct built_graph *out)
{
    ASSERT(built_rows_whole(rows));
    const struct ship_rows shipped = {.shape = rows->head.shape,
                                      .bytes = rows->bytes,
                                      .row_bytes = rows->row_bytes,
                                      .count = rows->head.total};
    const struct build_rows build = ship_build_rows(&shipped);
    struct build_config config = ship_build_config(&rows->head.shape);
    config.threads = work->threads;
    config.progress = work->progress;
    config.context = work->context;
    *out = (struct built_graph){.head = rows->head};
    const omen_status status = run(&build, &config, work, &out->graph);
    if (status != OMEN_OK) {
        *out = (struct built_graph){0};
        return status;
    }
    out->keys = rows->keys;
    rows->keys = NULL;
    built_rows_fini(rows);
    return OMEN_OK;
}

static uint32_t
links_fit(const struct built_head *head)
{
    const size_t most = KEY_BYTES + 1 + (size_t)head->shape.links_max * link_bytes(head->total);
    return (uint32_t)((BUILT_CHUNK_BYTES - BUILT_HEAD_BYTES) / most);
}

uint32_t
built_graph_chunks(const struct built_graph *graph)
{
    const uint32_t fit = links_fit(&graph->head);
    return graph->head.total / fit + (graph->head.total % fit > 0);
}

size_t
built_graph_write(const struct built_graph *graph, uint32_t number, uint8_t *chunk)
{
    const uint32_t fit = links_fit(&graph->head), unit = link_bytes(graph->head.total);
    ASSERT(built_graph_whole(graph) && number < built_graph_chunks(graph));
    struct built_head head = graph->head;
    head.first = number * fit;
    head.count = head.total - head.first < fit ? head.total - head.first : fit;
    uint8_t *counts = chunk + BUILT_HEAD_BYTES + head.count * KEY_BYTES;
    uint8_t *at = counts + head.count;
    for (uint32_t i = 0; i < head.count; i++) {
        const uint32_t row = head.first + i;
        const uint32_t *links = graph->graph.links + (size_t)row * graph->graph.links_max;
        built_key_put(chunk, i, graph->keys[row]);
        counts[i] = graph->graph.counts[row];
        for (uint32_t l = 0; l < counts[i]; l++, at += unit)
            put(at, links[l], unit);
    }
    return seal(&head, MAGIC_LINKS, unit, chunk, (size_t)(at - chunk));
}

// The links of one row as they lie; false: they are none.
static bool
read_links(const struct built_head *head, uint32_t row, const uint8_t *from, uint32_t count,
           uint32_t *links)
{
    const uint32_t unit = link_bytes(head->total);
    for (uint32_t i = 0; i < count; i++) {
        links[i] = (uint32_t)get(from + (size_t)i * unit, unit);
        if (links[i] >= head->total || links[i] == row)
            return false;
        for (uint32_t j = 0; j < i; j++)
            if (links[j] == links[i])
                return false;
    }
    return true;
}

static omen_status
check_links(const struct built_head *head, const uint8_t *chunk, size_t bytes,
            struct omen_error *error)
{
    const uint8_t *counts = chunk + BUILT_HEAD_BYTES + head->count * KEY_BYTES;
    const size_t fixed = BUILT_HEAD_BYTES + head->count * (KEY_BYTES + 1);
    const uint32_t unit = link_bytes(head->total);
    uint32_t links[LINK_ROW_MAX];
    size_t sum = 0;
    if (bytes < fixed)
        return corrupt(error, "its links' length");
    for (uint32_t i = 0; i < head->count; i++) {
        if (counts[i] > head->shape.links_max)
            return corrupt(error, "a row with too many links");
        sum += counts[i];
    }
    if (bytes != fixed + sum * unit)
        return corrupt(error, "its links' length");
    const uint8_t *from = counts + head->count;
    for (uint32_t i = 0; i < head->count; from += (size_t)counts[i] * unit, i++)
        if (!read_links(head, head->first + i, from, counts[i], links))
            return corrupt(error, "a link that is none");
    return OMEN_OK;
}

static omen_status
graph_open(struct built_graph *graph, const struct built_head *head)
{
    struct built_graph fresh = {.head = *head};
    fresh.head.count = 0;
    fresh.keys = pages_alloc((size_t)head->total * sizeof *fresh.keys);
    if (fresh.keys == NULL ||
        build_graph_open(&fresh.graph, head->total, head->shape.links_max) != OMEN_OK) {
        built_graph_fini(&fresh);
        return OMEN_E_NO_MEMORY;
    }
    *graph = fresh;
    return OMEN_OK;
}

omen_status
built_graph_take(struct built_graph *graph, const uint8_t *chunk, size_t bytes,
                 struct omen_error *error)
{
    struct built_head head;
    uint32_t unit;
    bool again;
    omen_status status = open_chunk(chunk, bytes, MAGIC_LINKS, &head, &unit, error);
    if (status == OMEN_OK && unit != link_bytes(head.total))
        status = corrupt(error, "its links' length");
    if (status == OMEN_OK)
        status = check_links(&head, chunk, bytes, error);
    if (status == OMEN_OK)
        status = follows(&graph->head, &head, &again, error);
    if (status != OMEN_OK || again)
        return status;
    if (graph->head.total == 0)
        status = graph_open(graph, &head);
    if (status != OMEN_OK)
        return error_set_plain(error, status);
    copy_keys(graph->keys, &head, chunk);
    const uint8_t *counts = chunk + BUILT_HEAD_BYTES + head.count * KEY_BYTES;
    const uint8_t *from = counts + head.count;
    for (uint32_t i = 0; i < head.count; from += (size_t)counts[i] * unit, i++) {
        const size_t row = head.first + i;
        graph->graph.counts[row] = counts[i];
        (void)read_links(&head, (uint32_t)row, from, counts[i],
                         graph->graph.links + row * graph->graph.links_max);
    }
    graph->head.count = head.first + head.count;
    return OMEN_OK;
}

void
built_graph_fini(struct built_graph *graph)
{
    pages_free(graph->keys, (size_t)graph->head.total * sizeof *graph->keys);
    build_graph_close(&graph->graph);
    *graph = (struct built_graph){0};
}
