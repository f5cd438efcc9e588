// shard/shard_found.c -- what a server reads of a shard besides: hits with what belongs to them, and pages in the order of hashes.
//
// Shape: handle, in memory; the readers' side.
//
// There is no order of hashes to read along, so a page goes through all ids and keeps the smallest in a heap. An id costs its hash,
// some ten nanoseconds. Keeping such an order beside would cost each write a place in it for a call that few make.
#include "shard/shard_found.h"

#include <stdlib.h>

#include "base/alloc.h"
#include "base/hash.h"
#include "shard/shard_int.h"

bool
shard_has_texts(struct shard *shard)
{
    return atomic_load_explicit(&shard->kind, memory_order_relaxed) == ID_KIND_TEXT;
}

const char *
shard_text(struct shard *shard, uint64_t key, size_t *bytes)
{
    struct omen_error error;
    uint32_t ticket;
    if (shard_enter(shard, &ticket, &error) != OMEN_OK)
        return NULL;
    const char *text = names_text(shard_generation(shard)->names, key, bytes);
    epoch_leave(&shard->gate, ticket);
    return text;
}

static struct filter_key
key_of(const struct shard_filter *filter)
{
    struct filter_key key = {.form = FILTER_FORM_NONE, .count = filter->bytes};
    if (filter->text != NULL) {
        key.form = FILTER_FORM_TEXT;
        key.bytes = filter->text;
    } else if (filter->map != NULL) {
        key.form = FILTER_FORM_MAP;
        key.bytes = filter->map;
    }
    return key;
}

omen_status
shard_count_where(struct shard *shard, const struct shard_filter *filter, uint64_t *count,
                  bool *scanned, struct omen_error *error)
{
    const struct filter_key key = key_of(filter);
    struct shard_count counted = {.count = 0};
    const omen_status status = shard_count_by(shard, &key, &counted, error);
    *count = counted.count;
    *scanned = counted.scanned;
    return status;
}

// ---- hits ----

// In the gate.
static omen_status
copy_hits(const struct visit *visit, uint32_t found, int with, struct points **out)
{
    const struct points_config config = shard_points_config(visit->shard, with, found);
    omen_status status = points_open(&config, out);
    for (uint32_t i = 0; i < found && status == OMEN_OK; i++) {
        const struct hit *hit = &visit->reader->hits[i];
        struct point point = shard_point_at(visit->generation, with, hit->slot);
        point.distance = hit->distance;
        if (point.found)
            status = points_add(*out, &point);
    }
    return status;
}

omen_status
shard_hits(struct shard *shard, const void *vector, const omen_query_options *options, int with,
           struct points **out, struct omen_error *error)
{
    struct search search;
    struct visit visit;
    *out = NULL;
    omen_status status = search_init_here(shard, options, &search, error);
    if (status == OMEN_OK)
        status = visit_begin(shard, &visit, error);
    if (status != OMEN_OK)
        return status;
    struct search_query query = {
        .k = search.k, .excluded = HNSW_NONE, .exact = options->exact != 0};
    uint32_t found = 0;
    status = search_filter(&visit, &search, error);
    if (status == OMEN_OK)
        status = search_vector(&visit, &search, vector, &query.vector, error);
    if (status == OMEN_OK)
        status = search_run(&visit, &search, &query, &found, error);
    if (status == OMEN_OK && copy_hits(&visit, found, with, out) != OMEN_OK)
        status = error_set_plain(error, OMEN_E_NO_MEMORY);
    readers_count(&shard->readers, visit_hint(&visit), &(struct hnsw_work){0}, &search.work);
    visit_finish(&visit, status == OMEN_OK ? &search.view : NULL);
    if (status == OMEN_OK) {
        search_report(&search, options->report);
        return OMEN_OK;
    }
    points_close(*out);
    *out = NULL;
    return status;
}

// ---- pages ----

struct place {
    uint64_t hash;
    uint32_t slot;
};

struct smallest { // a heap, the largest on top
    struct place *places;
    size_t count, room;
};

static void
sift_down(struct smallest *heap, size_t at)
{
    const struct place place = heap->places[at];
    for (;;) {
        size_t child = 2 * at + 1;
        if (child >= heap->count)
            break;
        child += child + 1 < heap->count && heap->places[child + 1].hash > heap->places[child].hash;
        if (heap->places[child].hash <= place.hash)
            break;
        heap->places[at] = heap->places[child];
        at = child;
    }
    heap->places[at] = place;
}

static void
keep(struct smallest *heap, struct place place)
{
    if (heap->count == heap->room) {
        heap->places[0] = place;
        sift_down(heap, 0);
        return;
    }
    size_t at = heap->count++;
    while (at > 0 && heap->places[(at - 1) / 2].hash < place.hash) {
        heap->places[at] = heap->places[(at - 1) / 2];
        at = (at - 1) / 2;
    }
    heap->places[at] = place;
}

static uint64_t
hash_at(const struct generation *generation, uint32_t slot, bool texts)
{
    const uint64_t id = idmap_id(generation->ids, slot);
    size_t bytes = 0;
    const char *text = texts ? names_text(generation->names, id, &bytes) : NULL;
    return text != NULL ? hash_id_text(text, bytes) : hash_id_u64(id);
}

// In the gate. One more than the page may have, to know whether there is one.
static void
find_smallest(const struct visit *visit, const struct shard_page *page,
              const struct filter_view *view, uint32_t rows, struct smallest *heap)
{
    const struct generation *generation = visit->generation;
    const bool filtered = view->key.form != FILTER_FORM_NONE;
    const bool texts = shard_has_texts(visit->shard);
    for (uint32_t slot = 0; slot < rows; slot++) {
        if (filtered && !bitmap_test(&view->answer.allowed, slot)) {
            if (slot % 64 == 0 && view->answer.allowed.words[slot / 64] == 0)
                slot += 63;
            continue;
        }
        const uint64_t hash = hash_at(generation, slot, texts);
        if (hash < page->first || hash > page->last ||
            (heap->count == heap->room && hash >= heap->places[0].hash))
            continue;
        if (shard_is_shown(generation, slot, rows))
            keep(heap, (struct place){hash, slot});
    }
}

static int
by_hash(const void *a, const void *b)
{
    const struct place *one = a, *other = b;
    return (one->hash > other->hash) - (one->hash < other->hash);
}

// In the gate.
static omen_status
copy_page(const struct visit *visit, struct shard_page *page, struct smallest *heap,
          struct points *points)
{
    size_t count = heap->count;
    omen_status status = OMEN_OK;
    qsort(heap->places, count, sizeof *heap->places, by_hash);
    page->more = count == heap->room;
    if (page->more)
        page->next = heap->places[--count].hash;
    // Two ids of one hash are of one page.
    while (page->more && count > 1 && heap->places[count - 1].hash == page->next)
        count--;
    for (size_t i = 0; i < count && status == OMEN_OK; i++) {
        const struct point point =
            shard_point_at(visit->generation, page->with, heap->places[i].slot);
        if (point.found)
            status = points_add(points, &point);
    }
    return status;
}

omen_status
shard_page(struct shard *shard, struct shard_page *page, struct points **out,
           struct omen_error *error)
{
    const struct points_config config = shard_points_config(shard, page->with, page->limit);
    struct smallest heap = {.room = page->limit + 1};
    struct filter_view view = {.key = key_of(&page->filter)};
    struct visit visit;
    *out = NULL;
    page->more = page->scanned = false;
    page->next = 0;
    if (page->limit == 0 || page->limit > WIRE_BATCH_MAX)
        return error_set(error, OMEN_E_INVALID, "limit is %zu; it must be 1..%u", page->limit,
                         WIRE_BATCH_MAX);
    heap.places = mem_alloc(heap.room * sizeof *heap.places);
    omen_status status = heap.places == NULL ? OMEN_E_NO_MEMORY : points_open(&config, out);
    if (status != OMEN_OK)
        error_set_plain(error, status);
    else
        status = visit_begin(shard, &visit, error);
    if (status == OMEN_OK) {
        const uint32_t rows = visit_rows(&visit);
        if (view.key.form != FILTER_FORM_NONE)
            status = filter_view_make(&visit, &view, error);
        if (status == OMEN_OK) {
            find_smallest(&visit, page, &view, view_rows(&view, rows), &heap);
            if (copy_page(&visit, page, &heap, *out) != OMEN_OK)
                status = error_set_plain(error, OMEN_E_NO_MEMORY);
            page->scanned = view.answer.scanned;
        }
        visit_finish(&visit, status == OMEN_OK ? &view : NULL);
    }
    mem_free(heap.places);
    if (status == OMEN_OK)
        return OMEN_OK;
    points_close(*out);
    *out = NULL;
    return status;
}
