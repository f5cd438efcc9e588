// shard/readers.c -- what a search works with, kept between searches.
//
// Shape: handle in the shard's memory. A place holds one reader or none; taking and giving back are one exchange.
// More readers than places exist only while more searches run at once; they are closed when they come back.
#include "shard/readers.h"

#include <stdatomic.h>

#include "base/alloc.h"
#include "base/assert.h"

_Static_assert(sizeof(struct reader_place) == 128, "two cache lines");

static omen_status reader_open(struct reader **out);
static void reader_close(struct reader *reader);
static size_t reader_bytes(const struct reader *reader);

void
readers_init(struct readers *readers)
{
    for (uint32_t i = 0; i < READER_PLACES; i++) {
        atomic_init(&readers->places[i].reader, NULL);
        atomic_init(&readers->places[i].searches, 0);
        atomic_init(&readers->places[i].evaluations, 0);
    }
}

void
readers_fini(struct readers *readers)
{
    for (uint32_t i = 0; i < READER_PLACES; i++)
        reader_close(atomic_load(&readers->places[i].reader));
}

omen_status
readers_take(struct readers *readers, uint32_t hint, struct reader **out)
{
    for (uint32_t i = 0; i < READER_PLACES; i++) {
        _Atomic(struct reader *) *place = &readers->places[(hint + i) % READER_PLACES].reader;
        if (atomic_load_explicit(place, memory_order_relaxed) == NULL)
            continue;
        *out = atomic_exchange_explicit(place, NULL, memory_order_acquire);
        if (*out != NULL)
            return OMEN_OK;
    }
    return reader_open(out);
}

void
readers_give(struct readers *readers, uint32_t hint, struct reader *reader)
{
    for (uint32_t i = 0; i < READER_PLACES; i++) {
        _Atomic(struct reader *) *place = &readers->places[(hint + i) % READER_PLACES].reader;
        struct reader *none = NULL;
        if (atomic_compare_exchange_strong_explicit(place, &none, reader, memory_order_release,
                                                    memory_order_relaxed))
            return;
    }
    reader_close(reader);
}

void
readers_count(struct readers *readers, uint32_t hint, const struct hnsw_work *before,
              const struct hnsw_work *after)
{
    struct reader_place *place = &readers->places[hint % READER_PLACES];
    atomic_fetch_add_explicit(&place->searches, 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&place->evaluations, after->evaluations - before->evaluations,
                              memory_order_relaxed);
    if (after->rerank_misses !=
        before->rerank_misses) // rare: not worth a locked addition each time
        atomic_fetch_add_explicit(&place->rerank_misses,
                                  after->rerank_misses - before->rerank_misses,
                                  memory_order_relaxed);
}

omen_status
reader_fit(struct reader *reader, const struct hnsw *hnsw, uint32_t k, uint32_t beam)
{
    if (reader->hits_room < k) {
        struct hit *hits = mem_resize(reader->hits, k * sizeof *hits);
        if (hits == NULL)
            return OMEN_E_NO_MEMORY;
        reader->hits = hits;
        reader->hits_room = k;
    }
    return scratch_fit(reader->scratch, hnsw, k, beam);
}

omen_status
reader_fit_vector(struct reader *reader, uint32_t dim)
{
    if (reader->vector_room >= dim)
        return OMEN_OK;
    float *vector = mem_resize(reader->vector, dim * sizeof *vector);
    if (vector == NULL)
        return OMEN_E_NO_MEMORY;
    reader->vector = vector;
    reader->vector_room = dim;
    return OMEN_OK;
}

omen_status
reader_fit_places(struct reader *reader, uint32_t count)
{
    uint32_t room = 16;
    while (room < 2 * count)
        room *= 2;
    if (reader->places_room >= room)
        return OMEN_OK;
    uint32_t *places = mem_resize(reader->places, room * sizeof *places);
    if (places == NULL)
        return OMEN_E_NO_MEMORY;
    reader->places = places;
    reader->places_room = room;
    return OMEN_OK;
}

void
readers_totals(struct readers *readers, struct readers_totals *totals)
{
    *totals = (struct readers_totals){0};
    for (uint32_t i = 0; i < READER_PLACES; i++) {
        struct reader_place *place = &readers->places[i];
        struct reader *reader =
            atomic_exchange_explicit(&place->reader, NULL, memory_order_acquire);
        if (reader != NULL) {
            totals->bytes += reader_bytes(reader);
            readers_give(readers, i, reader);
        }
        totals->searches += atomic_load_explicit(&place->searches, memory_order_relaxed);
        totals->evaluations += atomic_load_explicit(&place->evaluations, memory_order_relaxed);
        totals->rerank_misses += atomic_load_explicit(&place->rerank_misses, memory_order_relaxed);
    }
}

static omen_status
reader_open(struct reader **out)
{
    *out = NULL;
    struct reader *reader = mem_alloc_zero(1, sizeof *reader);
    if (reader == NULL)
        return OMEN_E_NO_MEMORY;
    if (scratch_open(&reader->scratch) != OMEN_OK) {
        mem_free(reader);
        return OMEN_E_NO_MEMORY;
    }
    filter_buffer_init(&reader->selection);
    *out = reader;
    return OMEN_OK;
}

static void
reader_close(struct reader *reader)
{
    if (reader == NULL)
        return;
    filter_buffer_fini(&reader->selection);
    many_fini(&reader->many);
    scratch_close(reader->scratch);
    mem_free(reader->hits);
    mem_free(reader->places);
    mem_free(reader->vector);
    mem_free(reader);
}

static size_t
reader_bytes(const struct reader *reader)
{
    return sizeof *reader + scratch_bytes(reader->scratch) +
           reader->hits_room * sizeof *reader->hits + reader->places_room * sizeof *reader->places +
           reader->vector_room * sizeof *reader->vector + many_bytes(&reader->many) +
           reader->selection.word_capacity * sizeof *reader->selection.words;
}
