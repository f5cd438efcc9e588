// shard/generation_disk.c -- a generation's parts to the image and back.
//
// Shape: handle. The index and the id tables, which need no lock, are saved by shard/checkpoint.c itself.
#include <string.h>

#include "base/alloc.h"
#include "base/bitmap.h"
#include "shard/generation.h"

// The pieces of the field indexes, found while the transaction is open: they are read when somebody asks for a field.
struct kept {
    uint32_t count;
    struct kept_piece {
        const void *bytes;
        size_t count;
    } pieces[];
};

static const void *
kept_get(void *context, uint32_t array, uint32_t piece, size_t *count)
{
    const struct kept *kept = context;
    if (array != IMAGE_FIELDS || piece >= kept->count)
        return NULL;
    *count = kept->pieces[piece].count;
    return kept->pieces[piece].bytes;
}

static omen_status
keep(const struct image_source *image, struct kept **out)
{
    size_t count;
    uint32_t pieces = 0;
    while (image->get(image->context, IMAGE_FIELDS, pieces, &count) != NULL)
        pieces++;
    struct kept *kept = mem_alloc(sizeof *kept + pieces * sizeof kept->pieces[0]);
    *out = kept;
    if (kept == NULL)
        return OMEN_E_NO_MEMORY;
    kept->count = pieces;
    for (uint32_t i = 0; i < pieces; i++)
        kept->pieces[i].bytes = image->get(image->context, IMAGE_FIELDS, i, &kept->pieces[i].count);
    return OMEN_OK;
}

static bool
is_erased(const void *hnsw, uint32_t slot)
{
    return hnsw_erased(hnsw, slot);
}

static omen_status
load_fields(struct generation *generation, const struct image_source *image, uint32_t rows)
{
    const struct fields_origin origin = {.payloads = generation->payloads,
                                         .rows = rows,
                                         .erased = is_erased,
                                         .context = generation->hnsw};
    omen_status status = keep(image, &generation->kept);
    if (status != OMEN_OK)
        return status;
    const struct image_source source = {
        .get = kept_get, .context = generation->kept, .sound = image->sound};
    status = fields_load(&source, &generation->fields);
    return status == OMEN_OK ? fields_rebuild_from(generation->fields, &origin) : status;
}

// A copy of an index in memory has none yet: all rows have GENERATION_VERSION_FIRST.
static omen_status
load_versions(struct generation *generation, const struct generation_source *source)
{
    size_t count;
    const struct image_source *image = source->image;
    if (image->get(image->context, IMAGE_VERSIONS, 0, &count) != NULL || source->rows == 0)
        return versions_load(source->slots_max, source->rows, image, &generation->versions);
    const omen_status status = generation_version(generation);
    return status == OMEN_OK ? versions_reserve(generation->versions, source->rows) : status;
}

// What hnsw_erased says, by words.
static omen_status
note_dead(struct generation *generation, uint32_t rows)
{
    const omen_status status = generation_reserve_bits(generation, rows);
    for (uint32_t word = 0; word < bitmap_words(rows) && status == OMEN_OK; word++)
        atomic_store_explicit(&generation->dead[word], hnsw_erased_word(generation->hnsw, word),
                              memory_order_relaxed);
    return status;
}

omen_status
generation_load(const struct generation_source *source, struct epoch *gate, struct generation **out,
                const char **part)
{
    const struct image_source *image = source->image;
    *out = NULL;
    *part = "memory";
    struct generation *generation = generation_new(source->hnsw, source->slots_max);
    if (generation == NULL)
        return OMEN_E_NO_MEMORY;
    *part = "ids";
    omen_status status = idmap_load(source->slots_max, gate, source->rows, image, &generation->ids);
    if (status == OMEN_OK) {
        *part = "names";
        status = names_load(gate, image, &generation->names);
    }
    if (status == OMEN_OK) {
        *part = "payloads";
        status = payloads_load(source->slots_max, gate, source->rows, image, &generation->payloads);
    }
    if (status == OMEN_OK) {
        *part = "versions";
        status = load_versions(generation, source);
    }
    if (status == OMEN_OK) {
        *part = "fields";
        status = load_fields(generation, image, source->rows);
    }
    if (status == OMEN_OK) {
        *part = "erased rows";
        status = note_dead(generation, source->rows);
    }
    if (status == OMEN_OK)
        *out = generation;
    else
        generation_close(generation);
    return status;
}

omen_status
generation_save_step(struct generation *generation, uint32_t rows, struct generation_saving *at,
                     const struct image_sink *sink, bool *more)
{
    omen_status status = OMEN_OK;
    bool done = true;
    at->payloads.rows = at->versions.rows = rows;
    if (!at->payloads_done) {
        status = payloads_save_step(generation->payloads, &at->payloads, sink, &at->payloads_done);
        done = false;
    } else if (generation->versions != NULL) {
        status = versions_save_step(generation->versions, &at->versions, sink, &done);
    }
    *more = status == OMEN_OK && !done;
    return status;
}

void
generation_unsaved(struct generation *generation)
{
    idmap_touch(generation->ids);
    payloads_touch(generation->payloads);
    names_touch(generation->names);
    if (generation->versions != NULL)
        versions_touch(generation->versions);
}
