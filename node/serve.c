// node/serve.c -- a part of a request is read, and goes to what serves its method.
//
// Shape: handle; functions on a hosted shard.
#include "node/serve.h"

#include <string.h>

#include "base/alloc.h"
#include "base/limits.h"
#include "node/serve_int.h"

omen_status
serve_begin(struct serve *serve, struct hosted *hosted, const struct wire_part *part,
            struct omen_error *error)
{
    const struct method *method = method_at(part->method);
    // What is between routers or builders and copies has a shape of its own.
    const struct shape *inner =
        part->method == METHOD_QUERY_WHY_NOT ? &inner_why_ask
        : part->method == METHOD_COLLECTION_BUILD && part->kind == WIRE_PART_SEARCH
            ? &inner_build_ask
            : NULL;
    struct decode decode;
    uint64_t first, last;
    *serve = (struct serve){.hosted = hosted, .shard = hosted_shard(hosted), .part = part};
    hosted_range(hosted, &first, &last);
    // It holds points of its range only, and is asked for all of them: else one of the two has an old map.
    if (part->first != first || part->last != last)
        return error_set(error, OMEN_E_STALE_MAP, "the copy answers for other hashes");
    shard_options(serve->shard, &serve->options);
    serve->texts = shard_has_texts(serve->shard);
    decode_init(&decode, (struct wire_bytes){part->ask, part->ask_bytes}, &decode_after_hello,
                error);
    decode.about = method->name;
    shape_read(&decode, inner != NULL ? inner : method->ask, &serve->ask);
    const omen_status status = decode_end(&decode);
    return status != OMEN_OK || inner != NULL || method->check == NULL
               ? status
               : method->check(&serve->ask, error);
}

omen_status
serve_filter_init(struct serve_filter *out, const struct wire_filter *from,
                  struct omen_error *error)
{
    out->filter = (struct shard_filter){.bytes = from->bytes.count};
    out->text = NULL;
    if (from->form == FILTER_FORM_MAP)
        out->filter.map = from->bytes.bytes;
    if (from->form != FILTER_FORM_TEXT)
        return OMEN_OK;
    char *text = out->small;
    if (from->bytes.count >= sizeof out->small)
        text = out->text = mem_alloc((size_t)from->bytes.count + 1);
    if (text == NULL)
        return error_set_plain(error, OMEN_E_NO_MEMORY);
    memcpy(text, from->bytes.bytes, from->bytes.count);
    text[from->bytes.count] = '\0';
    if (memchr(text, '\0', from->bytes.count) != NULL)
        return error_set(error, OMEN_E_FILTER, "filter has a NUL");
    out->filter.text = text;
    return OMEN_OK;
}

void
serve_filter_fini(struct serve_filter *filter)
{
    mem_free(filter->text);
}

omen_status
serve_query_init(struct serve_query *out, const struct wire_filter *filter,
                 struct omen_error *error)
{
    out->options = (omen_query_options)OMEN_QUERY_OPTIONS_INIT;
    out->options.report = &out->report;
    out->options.threads = 1;
    const omen_status status = serve_filter_init(&out->filter, filter, error);
    out->options.filter = out->filter.filter.text;
    out->options.filter_map = out->filter.filter.map;
    out->options.filter_map_bytes = out->filter.filter.map != NULL ? out->filter.filter.bytes : 0;
    return status;
}

void
serve_query_fini(struct serve_query *query)
{
    serve_filter_fini(&query->filter);
}

int
serve_with(uint32_t with)
{
    return ((with & API_WITH_VECTOR) != 0 ? OMEN_WITH_VECTOR : 0) |
           ((with & API_WITH_PAYLOAD) != 0 ? OMEN_WITH_PAYLOAD : 0);
}

bool
serve_key(const struct serve *serve, const struct wire_id *id, uint64_t *key)
{
    struct omen_error error;
    char text[ID_TEXT_BYTES_MAX + 1];
    if (serve->texts != (id->text_bytes > 0))
        return false;
    *key = id->number;
    if (!serve->texts)
        return true;
    memcpy(text, id->text, id->text_bytes);
    text[id->text_bytes] = '\0';
    return shard_id_key(serve->shard, text, key, &error) == OMEN_OK;
}

bool
serve_id(const struct serve *serve, uint64_t key, struct wire_id *out)
{
    size_t bytes = 0;
    *out = (struct wire_id){.given = 1, .number = key};
    if (!serve->texts)
        return true;
    out->number = 0;
    out->text = shard_text(serve->shard, key, &bytes);
    out->text_bytes = (uint32_t)bytes;
    return out->text != NULL && bytes > 0;
}

omen_status
serve_vector(const struct serve *serve, const struct wire_vectors *from, struct serve_vector *out,
             struct omen_error *error)
{
    const uint32_t dimension = serve->options.dimension;
    *out = (struct serve_vector){.dtype = OMEN_F32};
    if (from->count != dimension)
        return error_set(error, OMEN_E_DIMENSION, "vector has %u components; the collection has %u",
                         from->count, dimension);
    if (from->form == VECTORS_RAW) {
        out->components = from->bytes.bytes;
        out->dtype = (omen_dtype)from->dtype;
        return OMEN_OK;
    }
    out->owned = mem_alloc(dimension * sizeof *out->owned);
    if (out->owned == NULL)
        return error_set_plain(error, OMEN_E_NO_MEMORY);
    decode_numbers_read(from->bytes, out->owned, dimension);
    out->components = out->owned;
    return OMEN_OK;
}

static omen_status
no_such_part(const struct wire_part *part, struct omen_error *error)
{
    return error_set(error, OMEN_E_UNSUPPORTED, "a shard does not know %s as a part of kind %u",
                     method_at(part->method)->name, part->kind);
}

omen_status
serve_read(struct hosted *hosted, const struct wire_part *part, struct pool *pool,
           struct encode *answer, struct serve_items *items, struct omen_error *error)
{
    static omen_status (*const searches[METHODS_END])(struct serve *, struct omen_error *) = {
        [METHOD_QUERY_SEARCH] = serve_search,   [METHOD_QUERY_RANGE] = serve_range,
        [METHOD_QUERY_BATCH] = serve_batch,     [METHOD_QUERY_WHY_NOT] = serve_why,
        [METHOD_RECALL_MEASURE] = serve_recall, [METHOD_POINT_COUNT] = serve_count,
        [METHOD_POINT_FACET] = serve_facet,     [METHOD_COLLECTION_BUILD] = serve_elsewhere,
    };
    static omen_status (*const gets[METHODS_END])(struct serve *, struct omen_error *) = {
        [METHOD_POINT_GET] = serve_get,
        [METHOD_POINT_SCROLL] = serve_scroll,
        [METHOD_QUERY_WHY_NOT] = serve_why,
        [METHOD_COLLECTION_STATS] = serve_stats,
        [METHOD_SHARD_VERIFY] = serve_sum,
        [METHOD_COLLECTION_OPTIMIZE] = serve_optimize,
        [METHOD_COLLECTION_BUILD] = serve_build,
        [METHOD_COLLECTION_GET] = serve_collection,
        [METHOD_COLLECTION_LIST] = serve_collection,
        [METHOD_SHARD_GET] = serve_place,
        [METHOD_SHARD_LIST] = serve_place,
    };
    struct serve serve;
    items->count = 0;
    if (part->method >= METHODS_END)
        return error_set_plain(error, OMEN_E_METHOD);
    omen_status (*const serves)(struct serve *, struct omen_error *) =
        part->kind == WIRE_PART_SEARCH ? searches[part->method]
        : part->kind == WIRE_PART_GET  ? gets[part->method]
                                       : NULL;
    if (serves == NULL)
        return no_such_part(part, error);
    omen_status status = serve_begin(&serve, hosted, part, error);
    if (status != OMEN_OK)
        return status;
    serve.pool = pool;
    serve.answer = answer;
    serve.items = items;
    status = serves(&serve, error);
    if (status != OMEN_OK || answer->status == OMEN_OK)
        return status;
    if (answer->status == OMEN_E_FULL)
        return error_set(error, OMEN_E_FULL,
                         "the answer would have more than %zu bytes; ask for fewer, or without "
                         "payloads and vectors",
                         answer->bytes_max);
    return error_set_plain(error, answer->status);
}
