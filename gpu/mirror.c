// gpu/mirror.c -- a copy of an index on a device; mirror_search.c searches it.
//
// Shape: handle.
#include <string.h>

#include "base/alloc.h"
#include "gpu/mirror_int.h"
#include "index/graph.h"

#define UPLOAD_ROWS 32768u

// ---- memory ----

static omen_status
take(struct gpu_mirror *mirror, size_t bytes, void *out)
{
    void *memory;
    const omen_status status = mirror->device.ops->alloc(mirror->device.device, bytes, &memory);
    if (status == OMEN_OK) {
        memcpy(out, &memory, sizeof memory);
        mirror->bytes += bytes;
    }
    return status;
}

omen_status
mirror_say(const struct gpu_mirror *mirror, omen_status status, const char *what,
           struct omen_error *error)
{
    const char *trouble = mirror->device.ops->trouble(mirror->device.device);
    return error_set(error, status, "%s: %s", what,
                     trouble[0] != '\0' ? trouble : status_text(status));
}

// ---- the copy ----

struct upload {
    uint8_t *high, *low, *rows, *blocks;
    struct byte_meta *metas;
    uint8_t *device_high, *device_low;
};

// Sends the rows from `first` on that are in the host's pieces.
static omen_status
upload_piece(struct gpu_mirror *mirror, const struct upload *piece, uint32_t first, uint32_t count)
{
    const struct device_ops *ops = mirror->device.ops;
    struct device *device = mirror->device.device;
    const struct mirror_shape *shape = &mirror->shape;
    const size_t plane = (size_t)count * shape->row_bytes;
    const size_t block = link_row_bytes(shape->links_max, (enum link_width)shape->link_bytes);
    const size_t row = (size_t)shape->dim * vector_type_bytes(shape->type);
    uint8_t *vectors = (uint8_t *)(uintptr_t)mirror->vectors.rows;
    hnsw_mirror_rows(mirror->hnsw, first, count, piece->rows);
    omen_status status = ops->put(device, vectors + first * row, piece->rows, count * row);
    if (mirror->of == MIRROR_ROWS)
        return status == OMEN_OK ? ops->wait(device) : status;
    hnsw_mirror_codes(mirror->hnsw, first, count, piece->high, piece->low, piece->metas);
    hnsw_mirror_links(mirror->hnsw, first, count, piece->blocks);
    struct byte_meta *metas = (struct byte_meta *)(uintptr_t)mirror->rows.metas;
    const struct device_join join = {
        .high = piece->device_high,
        .low = piece->device_low,
        .count = count,
        .row_bytes = shape->row_bytes,
        .stride = mirror->rows.stride,
        .codes = (int8_t *)(uintptr_t)mirror->rows.codes + (size_t)first * mirror->rows.stride,
    };
    if (status == OMEN_OK)
        status = ops->put(device, piece->device_high, piece->high, plane);
    if (status == OMEN_OK)
        status = ops->put(device, piece->device_low, piece->low, plane);
    if (status == OMEN_OK)
        status = ops->put(device, metas + first, piece->metas, count * sizeof *metas);
    if (status == OMEN_OK)
        status = ops->put(device, mirror->blocks + first * block, piece->blocks, count * block);
    if (status == OMEN_OK)
        status = ops->join(device, &join);
    return status == OMEN_OK ? ops->wait(device) : status;
}

static omen_status
upload_rows(struct gpu_mirror *mirror)
{
    const struct device_ops *ops = mirror->device.ops;
    struct device *device = mirror->device.device;
    const struct mirror_shape *shape = &mirror->shape;
    const size_t count = shape->rows < UPLOAD_ROWS ? shape->rows : UPLOAD_ROWS;
    const size_t sizes[] = {
        count * shape->row_bytes,
        count * shape->row_bytes,
        count * shape->dim * vector_type_bytes(shape->type),
        count * link_row_bytes(shape->links_max, (enum link_width)shape->link_bytes),
        count * sizeof(struct byte_meta),
    };
    void *host[sizeof sizes / sizeof *sizes] = {NULL}, *planes[2] = {NULL};
    omen_status status = OMEN_OK;
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes && status == OMEN_OK; i++)
        status = ops->host_alloc(device, sizes[i], &host[i]);
    for (size_t i = 0; i < 2 && status == OMEN_OK; i++)
        status = ops->alloc(device, sizes[i], &planes[i]);
    const struct upload piece = {host[0], host[1], host[2], host[3], host[4], planes[0], planes[1]};
    for (uint32_t first = 0; first < shape->rows && status == OMEN_OK; first += UPLOAD_ROWS) {
        const uint32_t left = shape->rows - first;
        status = upload_piece(mirror, &piece, first, left < UPLOAD_ROWS ? left : UPLOAD_ROWS);
    }
    for (size_t i = 0; i < 2; i++)
        ops->free(device, planes[i]);
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        ops->host_free(device, host[i]);
    return status;
}

size_t
mirror_bit_bytes(const struct gpu_mirror *mirror)
{
    return (size_t)bitmap_words(mirror->shape.rows) * sizeof(uint64_t);
}

// What walks want besides rows.
static omen_status
take_graph(struct gpu_mirror *mirror)
{
    const struct mirror_shape *shape = &mirror->shape;
    const size_t rows = shape->rows;
    const size_t block = link_row_bytes(shape->links_max, (enum link_width)shape->link_bytes);
    mirror->rows = (struct device_rows){
        .count = shape->rows,
        .stride = (shape->row_bytes * 2 + DEVICE_STRIDE - 1) / DEVICE_STRIDE * DEVICE_STRIDE,
        .ip = shape->ip,
        .radius2 = shape->radius2,
    };
    uint32_t *slots = mem_alloc(MIRROR_ENTRIES_MAX * sizeof *slots);
    if (slots == NULL)
        return OMEN_E_NO_MEMORY;
    mirror->entry_count = hnsw_mirror_entries(mirror->hnsw, shape->rows, slots);
    omen_status status = mirror->entry_count > 0 ? OMEN_OK : OMEN_E_UNSUPPORTED; // nothing lives
    if (status == OMEN_OK)
        status = take(mirror, rows * mirror->rows.stride, &mirror->rows.codes);
    if (status == OMEN_OK)
        status = take(mirror, rows * sizeof(struct byte_meta), &mirror->rows.metas);
    if (status == OMEN_OK)
        status = take(mirror, rows * block, &mirror->blocks);
    if (status == OMEN_OK)
        status = take(mirror, MIRROR_ENTRIES_MAX * sizeof *slots, &mirror->entries);
    if (status == OMEN_OK)
        status = mirror->device.ops->put(mirror->device.device, mirror->entries, slots,
                                         mirror->entry_count * sizeof *slots);
    if (status == OMEN_OK)
        status = mirror->device.ops->wait(mirror->device.device);
    mem_free(slots);
    return status;
}

static omen_status
fill_in(struct gpu_mirror *mirror)
{
    const struct mirror_shape *shape = &mirror->shape;
    mirror->vectors = (struct device_vectors){
        .count = shape->rows, .dim = shape->dim, .type = shape->type, .metric = shape->metric};
    omen_status status = mirror->of == MIRROR_GRAPH ? take_graph(mirror) : OMEN_OK;
    if (status == OMEN_OK)
        status = take(mirror, (size_t)shape->rows * shape->dim * vector_type_bytes(shape->type),
                      &mirror->vectors.rows);
    if (status == OMEN_OK)
        status = take(mirror, mirror_bit_bytes(mirror), &mirror->erased);
    if (status == OMEN_OK)
        status = take(mirror, mirror_bit_bytes(mirror), &mirror->allowed);
    return status == OMEN_OK ? upload_rows(mirror) : status;
}

omen_status
gpu_mirror_open(const struct device_handle *device, const struct hnsw *hnsw, enum mirror_of of,
                struct gpu_mirror **out, struct omen_error *error)
{
    *out = NULL;
    struct mirror_shape shape;
    if (!hnsw_mirror_shape(hnsw, of, &shape))
        return of == MIRROR_ROWS
                   ? error_set(error, OMEN_E_UNSUPPORTED, "there is no row to copy")
                   : error_set(
                         error, OMEN_E_UNSUPPORTED,
                         "searches on a device want a graph over 8-bit codes; this index has %s",
                         hnsw_founded(hnsw) ? hnsw_code_name(hnsw) : "none yet");
    struct gpu_mirror *mirror = mem_alloc_zero(1, sizeof *mirror);
    if (mirror == NULL)
        return error_set_plain(error, OMEN_E_NO_MEMORY);
    mirror->device = *device;
    mirror->hnsw = hnsw;
    mirror->of = of;
    mirror->shape = shape;
    const omen_status status = fill_in(mirror);
    if (status != OMEN_OK) {
        (void)mirror_say(mirror, status, "copying the index to the device", error);
        gpu_mirror_close(mirror);
        return status;
    }
    *out = mirror;
    return OMEN_OK;
}

void
gpu_mirror_close(struct gpu_mirror *mirror)
{
    if (mirror == NULL)
        return;
    const struct device_ops *ops = mirror->device.ops;
    struct device *device = mirror->device.device;
    const void *const memory[] = {mirror->rows.codes,  mirror->rows.metas,  mirror->blocks,
                                  mirror->entries,     mirror->erased,      mirror->allowed,
                                  mirror->sent.memory, mirror->keys.memory, mirror->vectors.rows};
    for (size_t i = 0; i < sizeof memory / sizeof *memory; i++)
        ops->free(device, (void *)(uintptr_t)memory[i]);
    ops->host_free(device, mirror->staged.memory);
    ops->host_free(device, mirror->hits.memory);
    ops->host_free(device, mirror->work.memory);
    for (uint32_t i = 0; i < THREADS_MAX; i++)
        scratch_close(mirror->scratch[i]);
    mem_free(mirror);
}

enum mirror_of
gpu_mirror_has(const struct gpu_mirror *mirror)
{
    return mirror->of;
}

uint32_t
gpu_mirror_rows(const struct gpu_mirror *mirror)
{
    return mirror->shape.rows;
}

uint64_t
gpu_mirror_bytes(const struct gpu_mirror *mirror)
{
    return mirror->bytes;
}
