// wire/api_check.c -- what a table cannot say about a request: what belongs together, and what excludes each other.
//
// Shape: value.
//
// What needs the collection (its dimension, its type of ids) is not looked at here.
#include <inttypes.h>

#include "wire/api_int.h"

// INVALID, with a sentence that needs no numbers.
static omen_status
api_refuse(struct omen_error *error, const char *sentence)
{
    return error_set(error, OMEN_E_INVALID, "%s", sentence);
}

// Of one vector each, in whichever form. What a binary says depends on the dimension: it must divide among them.
static omen_status
vectors_are(const struct wire_vectors *vectors, uint32_t count, struct omen_error *error)
{
    if (vectors->form == VECTORS_RAW && vectors->count % count != 0)
        return error_set(error, OMEN_E_DIMENSION,
                         "vectors has %" PRIu32 " components, which %" PRIu32
                         " ids cannot share alike",
                         vectors->count, count);
    if (vectors->form == VECTORS_ROWS && vectors->count != count)
        return error_set(error, OMEN_E_INVALID, "vectors has %" PRIu32 " rows for %" PRIu32 " ids",
                         vectors->count, count);
    return OMEN_OK;
}

static omen_status
version_is_of_one(const struct wire_maybe *if_version, const struct wire_list *ids,
                  struct omen_error *error)
{
    if (if_version->given != 0 && ids->count != 1)
        return error_set(error, OMEN_E_INVALID,
                         "if_version is for a write of one id, and this one has %" PRIu32,
                         ids->count);
    return OMEN_OK;
}

omen_status
api_point_upsert_check(const void *ask, struct omen_error *error)
{
    const struct api_point_upsert *upsert = ask;
    const uint32_t count = upsert->ids.count;
    if (upsert->vectors.form == VECTORS_NONE && upsert->mode != API_UPDATE)
        return api_refuse(error, "lacks the key 'vectors', without which mode is 'update'");
    if (upsert->vectors.form == VECTORS_NONE && upsert->payloads.count == 0)
        return api_refuse(error, "has neither vectors nor payloads");
    if (upsert->payloads.count != 0 && upsert->payloads.count != count)
        return error_set(error, OMEN_E_INVALID,
                         "payloads has %" PRIu32 " items for %" PRIu32 " ids",
                         upsert->payloads.count, count);
    const omen_status status = vectors_are(&upsert->vectors, count, error);
    return status != OMEN_OK ? status : version_is_of_one(&upsert->if_version, &upsert->ids, error);
}

static omen_status
ids_or_filter(const struct wire_list *ids, const struct wire_filter *filter,
              struct omen_error *error)
{
    const bool both = ids->count != 0 && filter->form != FILTER_FORM_NONE;
    if (both || (ids->count == 0 && filter->form == FILTER_FORM_NONE))
        return api_refuse(error, both ? "has ids and a filter, expected one of them"
                                      : "has neither ids nor a filter");
    return OMEN_OK;
}

omen_status
api_point_delete_check(const void *ask, struct omen_error *error)
{
    const struct api_point_delete *del = ask;
    const omen_status status = ids_or_filter(&del->ids, &del->filter, error);
    return status != OMEN_OK ? status : version_is_of_one(&del->if_version, &del->ids, error);
}

omen_status
api_point_patch_check(const void *ask, struct omen_error *error)
{
    const struct api_point_patch *patch = ask;
    const omen_status status = ids_or_filter(&patch->ids, &patch->filter, error);
    if (status != OMEN_OK)
        return status;
    if (patch->set.count == 0 && patch->unset.count == 0)
        return api_refuse(error, "has neither set nor unset");
    return version_is_of_one(&patch->if_version, &patch->ids, error);
}

static omen_status
effort_is_sound(double target_recall, struct omen_error *error)
{
    if (target_recall != 0 && (target_recall < 0.5 || target_recall > 0.9999))
        return error_set(error, OMEN_E_INVALID, "target_recall is %g, expected 0.5..0.9999",
                         target_recall);
    return OMEN_OK;
}

static omen_status
vector_or_id(const struct wire_vectors *vector, const struct wire_id *id, struct omen_error *error)
{
    const bool has_vector = vector->form != VECTORS_NONE;
    if (has_vector && id->given != 0)
        return api_refuse(error, "has a vector and an id, expected one of them");
    if (!has_vector && id->given == 0)
        return api_refuse(error, "has neither a vector nor an id");
    return OMEN_OK;
}

omen_status
api_query_search_check(const void *ask, struct omen_error *error)
{
    const struct api_query_search *search = ask;
    const omen_status status = vector_or_id(&search->vector, &search->id, error);
    return status != OMEN_OK ? status : effort_is_sound(search->target_recall, error);
}

omen_status
api_query_range_check(const void *ask, struct omen_error *error)
{
    const struct api_query_range *range = ask;
    const omen_status status = vector_or_id(&range->vector, &range->id, error);
    return status != OMEN_OK ? status : effort_is_sound(range->target_recall, error);
}

omen_status
api_query_batch_check(const void *ask, struct omen_error *error)
{
    const struct api_query_batch *batch = ask;
    return effort_is_sound(batch->target_recall, error);
}

omen_status
api_query_recommend_check(const void *ask, struct omen_error *error)
{
    const struct api_query_recommend *recommend = ask;
    return effort_is_sound(recommend->target_recall, error);
}

omen_status
api_query_why_not_check(const void *ask, struct omen_error *error)
{
    const struct api_query_why_not *why_not = ask;
    return effort_is_sound(why_not->target_recall, error);
}

omen_status
api_recall_measure_check(const void *ask, struct omen_error *error)
{
    const struct api_recall_measure *measure = ask;
    return effort_is_sound(measure->target_recall, error);
}
