// router/front_join.c -- the shards' lists of hits as what a client sees: merged, without those that were asked for, in maps or matrices.
//
// Shape: handle, in memory.
//
// Payloads and vectors come with the hits of every shard although only the k nearest of all are answered. A second round for the k
// alone would be one more wait for the slowest of the shards, and would read points that changed or went since they were found; what
// is answered here was read where and when it was found. It costs k payloads a shard instead of k together: with eight
// shards, k = 10 and 200 bytes each 16 KB.
#include "router/front_join.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/hash.h"
#include "base/limits.h"

struct join {
    struct front *front;
    const struct front_call *call;
    uint32_t count;       // of replies
    struct plain *plains; // where the next query's list begins, in each
    struct merge_list *lists;
    struct merge_hit *hits; // of all lists of a query
    struct merge_hit *merged;
    uint64_t *scratch;
    uint64_t *excluded; // hashes of ids, sorted
    uint32_t excluded_count;
};

static int
by_number(const void *a, const void *b)
{
    const uint64_t one = *(const uint64_t *)a, other = *(const uint64_t *)b;
    return (one > other) - (one < other);
}

static omen_status
exclude(struct join *join)
{
    const struct front_call *call = join->call;
    join->excluded_count = call->excluded;
    if (call->excluded == 0)
        return OMEN_OK;
    join->excluded = front_take(join->front, call->excluded * sizeof *join->excluded);
    if (join->excluded == NULL)
        return OMEN_E_NO_MEMORY;
    for (uint32_t i = 0; i < call->excluded; i++)
        join->excluded[i] = call->items[i].hash;
    qsort(join->excluded, call->excluded, sizeof *join->excluded, by_number);
    return OMEN_OK;
}

// Room for the longest that a query's lists can be together.
static omen_status
join_begin(struct join *join, struct front *front, const struct front_call *call)
{
    size_t most = 0;
    *join = (struct join){.front = front, .call = call};
    for (const struct front_lent *lent = call->lent; lent != NULL; lent = lent->next) {
        const uint32_t rows = lent->answer.count / FOUND_HIT_BYTES_MIN;
        most += rows < call->k ? rows : call->k;
        join->count++;
    }
    const size_t words = merge_scratch_words(join->count, most);
    join->plains = front_take(front, join->count * sizeof *join->plains);
    join->lists = front_take(front, join->count * sizeof *join->lists);
    join->hits = front_take(front, most * sizeof *join->hits);
    join->merged = front_take(front, (most < call->k ? most : call->k) * sizeof *join->merged);
    join->scratch = front_take(front, words * sizeof *join->scratch);
    if (join->plains == NULL || join->lists == NULL || join->hits == NULL || join->merged == NULL ||
        join->scratch == NULL)
        return OMEN_E_NO_MEMORY;
    uint32_t i = 0;
    for (const struct front_lent *lent = call->lent; lent != NULL; lent = lent->next, i++) {
        struct found found;
        join->plains[i] = plain_of(lent->answer);
        found_read(&join->plains[i], &found);
    }
    return exclude(join);
}

static uint32_t
list_read(struct plain *plain, struct merge_hit *hits)
{
    const uint32_t count = found_list_read(plain);
    for (uint32_t i = 0; i < count; i++) {
        struct found_hit hit;
        const uint8_t *row;
        found_hit_read(plain, &hit, &row);
        hits[i] = (struct merge_hit){.distance = hit.distance,
                                     .text_bytes = hit.id.text_bytes,
                                     .number = hit.id.number,
                                     .text = hit.id.text,
                                     .version = hit.version,
                                     .more = row};
    }
    ASSERT(!plain->failed); // it was heard
    return count;
}

static bool
is_excluded(const struct join *join, const struct merge_hit *hit)
{
    if (join->excluded_count == 0)
        return false;
    const uint64_t hash =
        hit->text_bytes > 0 ? hash_id_text(hit->text, hit->text_bytes) : hash_id_u64(hit->number);
    return bsearch(&hash, join->excluded, join->excluded_count, sizeof hash, by_number) != NULL;
}

// The next query's hits.
static struct merge_list
join_next(struct join *join)
{
    uint32_t used = 0, count, kept = 0;
    struct merge_hit *out = join->hits;
    for (uint32_t i = 0; i < join->count; i++) {
        const uint32_t hits = list_read(&join->plains[i], join->hits + used);
        join->lists[i] = (struct merge_list){join->hits + used, hits};
        used += hits;
    }
    if (join->count == 1)
        count = used;
    else {
        out = join->merged;
        count = merge_hits(&(struct merge_input){join->lists, join->count, join->call->k},
                           join->scratch, out);
    }
    for (uint32_t i = 0; i < count; i++)
        if (!is_excluded(join, &out[i]))
            out[kept++] = out[i];
    const uint32_t most = join->call->k - join->call->excluded;
    return (struct merge_list){out, kept < most ? kept : most};
}

static void
api_hit_of(const struct merge_hit *hit, struct api_hit *out)
{
    struct found_hit found;
    found_hit_at(hit->more, &found);
    *out = (struct api_hit){.id = found.id,
                            .distance = found.distance,
                            .payload = found.payload,
                            .vector = found.vector,
                            .version = found.version};
}

static struct wire_list
api_hits_of(struct front *front, const struct merge_list *list)
{
    struct api_hit *hits = front_take(front, list->count * sizeof *hits);
    for (uint32_t i = 0; hits != NULL && i < list->count; i++)
        api_hit_of(&list->hits[i], &hits[i]);
    return (struct wire_list){.count = list->count, .items = hits};
}

static uint32_t
warnings_of(const struct front_call *call)
{
    uint32_t warnings = 0;
    for (const struct front_lent *lent = call->lent; lent != NULL; lent = lent->next)
        warnings |= lent->found.warnings;
    return warnings;
}

// ---- explain ----

static void
pair(struct encode *encode, const char *key, uint64_t value)
{
    encode_word(encode, key);
    encode_u64(encode, value);
}

static void
explain_part(struct encode *encode, const struct found *found)
{
    static const char *const strategies[] = {"graph", "filtered graph", "exact scan"};
    const bool filtered = found->matches > 0;
    encode_map(encode, 6 + (uint32_t)filtered);
    pair(encode, "shard", found->shard);
    pair(encode, "took_us", found->took_us);
    encode_word(encode, "strategy");
    encode_word(encode, found->strategy < 3 ? strategies[found->strategy] : "unknown");
    pair(encode, "evaluations", found->evaluations);
    pair(encode, "exact_distances", found->exact_distances);
    pair(encode, "tail", found->tail);
    if (filtered)
        pair(encode, "matches", found->matches - 1);
}

static struct wire_bytes
explain(struct front *front, const struct front_call *call)
{
    struct found sum = {0};
    uint32_t shards = 0;
    struct encode *encode = &front->packed;
    for (const struct front_lent *lent = call->lent; lent != NULL; lent = lent->next, shards++) {
        sum.evaluations += lent->found.evaluations;
        sum.exact_distances += lent->found.exact_distances;
        sum.tail += lent->found.tail;
    }
    encode_reset(encode);
    encode_map(encode, 4);
    pair(encode, "evaluations", sum.evaluations);
    pair(encode, "exact_distances", sum.exact_distances);
    pair(encode, "tail", sum.tail);
    encode_word(encode, "shards");
    encode_array(encode, shards);
    for (const struct front_lent *lent = call->lent; lent != NULL; lent = lent->next)
        explain_part(encode, &lent->found);
    return (struct wire_bytes){encode->bytes, (uint32_t)encode->count};
}

// ---- one query ----

omen_status
front_say_hits(struct front *front, struct front_call *call, const struct front_told *told)
{
    struct join join;
    struct api_hits answer = {
        .token = told->token, .shards_failed = told->failed, .warnings = warnings_of(call)};
    omen_status status = join_begin(&join, front, call);
    if (status != OMEN_OK)
        return status;
    const struct merge_list list = join_next(&join);
    answer.hits = api_hits_of(front, &list);
    if (answer.hits.items == NULL)
        return OMEN_E_NO_MEMORY;
    if (call->method->number == METHOD_QUERY_SEARCH &&
        ((const struct api_query_search *)(const void *)&call->ask)->explain != 0) {
        answer.explain = explain(front, call);
        status = front->packed.status;
    }
    if (status == OMEN_OK)
        front_say(front, call, &answer);
    return status;
}

// ---- many ----

// A row of both matrices.
struct matrix_row {
    uint8_t *ids, *distances;
};

static void
row_put(const struct matrix_row *row, uint32_t at, uint64_t number, float distance)
{
    memcpy(row->ids + (size_t)8 * at, &number, 8);
    memcpy(row->distances + (size_t)4 * at, &distance, 4);
}

// How many there are.
static uint32_t
row_merged(struct join *join, const struct matrix_row *row)
{
    const struct merge_list list = join_next(join);
    for (uint32_t i = 0; i < list.count; i++)
        row_put(row, i, list.hits[i].number, list.hits[i].distance);
    return list.count;
}

// Of one shard there is nothing to merge, and a batch has no points that are no hits: its list is the row.
static uint32_t
row_as_it_came(struct plain *plain, const struct matrix_row *row)
{
    const uint32_t count = found_list_read(plain);
    for (uint32_t i = 0; i < count; i++) {
        struct found_number number;
        struct found_hit hit;
        if (found_number_read(plain, &number)) {
            row_put(row, i, number.id, number.distance);
        } else {
            found_hit_read(plain, &hit, NULL);
            row_put(row, i, hit.id.number, hit.distance);
        }
    }
    ASSERT(!plain->failed); // it was heard
    return count;
}

static omen_status
matrices(struct join *join, struct api_batch_hits *answer)
{
    const struct front_call *call = join->call;
    ASSERT(call->excluded == 0);
    const size_t places = (size_t)call->queries * call->k;
    uint8_t *ids = front_take(join->front, places * 8);
    uint8_t *distances = front_take(join->front, places * 4);
    if (ids == NULL || distances == NULL)
        return OMEN_E_NO_MEMORY;
    for (uint32_t i = 0; i < call->queries; i++) {
        const size_t place = (size_t)i * call->k;
        const struct matrix_row row = {ids + 8 * place, distances + 4 * place};
        uint32_t count =
            join->count == 1 ? row_as_it_came(&join->plains[0], &row) : row_merged(join, &row);
        for (; count < call->k; count++)
            row_put(&row, count, UINT64_MAX, INFINITY); // -1
    }
    answer->ids = (struct wire_bytes){ids, (uint32_t)(places * 8)};
    answer->distances = (struct wire_bytes){distances, (uint32_t)(places * 4)};
    return OMEN_OK;
}

// Packed as they come: there may be more than an array of structs should hold.
static omen_status
lists(struct join *join, struct api_batch_hits *answer)
{
    struct encode *encode = &join->front->packed;
    const size_t hits_max = join->call->k;
    struct api_hit *hits = front_take(join->front, hits_max * sizeof *hits);
    if (hits == NULL)
        return OMEN_E_NO_MEMORY;
    encode_reset(encode);
    for (uint32_t i = 0; i < join->call->queries; i++) {
        const struct merge_list list = join_next(join);
        for (uint32_t j = 0; j < list.count; j++)
            api_hit_of(&list.hits[j], &hits[j]);
        const struct api_query_hits query = {.hits = {.count = list.count, .items = hits}};
        shape_write(encode, &api_query_hits, &query);
    }
    answer->results = (struct wire_list){.count = join->call->queries,
                                         .packed_bytes = (uint32_t)encode->count,
                                         .packed = encode->bytes};
    return encode->status;
}

omen_status
front_say_batch(struct front *front, struct front_call *call, const struct front_told *told,
                struct omen_error *error)
{
    const struct api_query_batch *ask = (const void *)&call->ask;
    struct join join;
    struct api_batch_hits answer = {
        .token = told->token, .shards_failed = told->failed, .warnings = warnings_of(call)};
    bool texts = false;
    for (const struct front_lent *lent = call->lent; lent != NULL; lent = lent->next)
        texts |= lent->texts;
    if (texts && ask->result == API_MATRIX)
        return error_set(error, OMEN_E_ID_KIND,
                         "result 'matrix' is of integer ids, and the collection's are texts");
    const bool maps = texts || ask->result == API_HITS || ask->with != 0;
    omen_status status = join_begin(&join, front, call);
    if (status == OMEN_OK)
        status = maps ? lists(&join, &answer) : matrices(&join, &answer);
    if (status == OMEN_OK)
        front_say(front, call, &answer);
    return status;
}
