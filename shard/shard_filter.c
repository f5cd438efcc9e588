// shard/shard_filter.c -- which rows does a filter let through, now?
//
// Shape: handle, in memory; the readers' side.
//
// An answer is tagged with the version that was current before it was made. A write that ends while it is made may or
// may not be in it, and has then moved the version on, so the answer is used once (which is what a search beside a
// write may see) and never found again.
#include "shard/shard_int.h"

#include "base/assert.h"
#include "base/filter.h"

static void mask_dead(const struct generation *generation, struct filter_answer *answer);

omen_status
filter_view_make(struct visit *visit, struct filter_view *view, struct omen_error *error)
{
    struct shard *shard = visit->shard;
    view->key.version = atomic_load_explicit(&shard->version, memory_order_acquire);
    view->key.generation = visit->generation->number;
    view->cut = false;
    view->fresh = !filter_cache_find(&shard->filters, &view->key, &view->answer);
    return view->fresh ? filter_view_compute(visit, view, error) : OMEN_OK;
}

omen_status
filter_key_parse(const struct filter_key *key, struct filter **out, struct omen_error *error)
{
    ASSERT(key->form != FILTER_FORM_NONE);
    return key->form == FILTER_FORM_TEXT ? filter_parse_text(key->bytes, key->count, out, error)
                                         : filter_parse_map(key->bytes, key->count, out, error);
}

omen_status
filter_view_compute(struct visit *visit, struct filter_view *view, struct omen_error *error)
{
    const struct generation *generation = visit->generation;
    struct filter *filter;
    omen_status status = filter_key_parse(&view->key, &filter, error);
    if (status != OMEN_OK)
        return status;
    const struct filter_rows rows = {
        .fields = generation->fields,
        .payloads = generation->payloads,
        .slots = hnsw_count(generation->hnsw),
        .deadline_ns = view->deadline_ns,
    };
    struct filter_selection selection;
    status = filter_select(filter, &rows, &visit->reader->selection, &selection);
    filter_close(filter);
    if (status != OMEN_OK)
        return error_set_plain(error, status);
    view->answer = (struct filter_answer){
        .allowed = selection.allowed, .count = selection.count, .scanned = selection.scanned};
    view->cut = selection.cut;
    mask_dead(generation, &view->answer);
    return OMEN_OK;
}

void
visit_finish(struct visit *visit, const struct filter_view *view)
{
    struct shard *shard = visit->shard;
    visit_leave(visit);
    if (view != NULL && view->fresh && !view->cut &&
        view->key.version == atomic_load_explicit(&shard->version, memory_order_relaxed))
        filter_cache_keep(&shard->filters, &view->key, &view->answer);
    visit_end(visit);
}

static void
mask_dead(const struct generation *generation, struct filter_answer *answer)
{
    for (uint32_t w = 0; w < bitmap_words(answer->allowed.count); w++)
        answer->allowed.words[w] &=
            ~atomic_load_explicit(&generation->dead[w], memory_order_relaxed);
    answer->count = (uint32_t)bitmap_population(&answer->allowed);
}
