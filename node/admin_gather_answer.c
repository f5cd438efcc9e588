// node/admin_gather_answer.c -- what all copies say together, in the order of admin_gather.h's head.
//
// Shape: handle, in memory.
#include "node/admin_gather_int.h"

#include <inttypes.h>

#include "base/assert.h"
#include "base/text.h"

static omen_status
word_status(const struct gather_word *word)
{
    return word->told ? word->status : OMEN_E_TIMEOUT;
}

static const char *
word_why(const struct gather_word *word)
{
    if (!word->told)
        return "no answer in time";
    return word->why != NULL    ? word->why
           : word->said != NULL ? word->said
                                : status_text(word->status);
}

// Whether the copy itself has refused, for a moment: who asks again may have all of them.
static bool
is_for_now(const struct gather_word *word)
{
    const enum status_act act = status_act(word->status);
    return word->told && word->why == NULL && (act == ACT_RETRY || act == ACT_REROUTE);
}

// Whether a shard had nothing to do, and another did it: somebody who tries again after half of it has that.
static bool
is_done_already(const struct gather *gather, omen_status status)
{
    if (gather->method->number != METHOD_COLLECTION_DROP_FIELD || status != OMEN_E_NOT_FOUND)
        return false;
    for (uint32_t i = 0; i < gather->count; i++)
        if (word_status(&gather->words[i]) == OMEN_OK)
            return true;
    return false;
}

static omen_status
say_word(const struct gather *gather, uint32_t at, struct omen_error *error)
{
    char node[UUID_TEXT_BYTES];
    uuid_write(gather->copies[at].node_uuid, node);
    return error_set(error, word_status(&gather->words[at]),
                     "%s: the copy of shard %" PRIu64 " on node %s: %s", gather->method->name,
                     gather->copies[at].shard, node, word_why(&gather->words[at]));
}

// The first that did not do what all must.
static omen_status
all_said_yes(const struct gather *gather, struct omen_error *error)
{
    for (uint32_t i = 0; i < gather->count; i++) {
        const omen_status status = word_status(&gather->words[i]);
        if (status != OMEN_OK && !is_done_already(gather, status))
            return say_word(gather, i, error);
    }
    return OMEN_OK;
}

static void
answer_stats(const struct gather *gather, struct encode *answer)
{
    struct api_stats stats = gather->stats;
    stats.shards = gather->count;
    for (uint32_t i = 0; i < gather->count; i++)
        stats.shards_failed += word_status(&gather->words[i]) != OMEN_OK;
    if (stats.points > 0)
        stats.bytes_per_vector = (double)stats.memory_bytes.value / (double)stats.points;
    if (gather->recall_weight > 0)
        stats.recall /= gather->recall_weight;
    shape_write(answer, &api_stats, &stats);
}

static const struct gather_sum *
sum_at(const struct gather_word *word, uint64_t seq)
{
    for (uint32_t i = 0; i < word->sum_count; i++)
        if (word->sums[i].seq == seq)
            return &word->sums[i];
    return NULL;
}

static bool
is_summed(const struct gather_word *word)
{
    return word_status(word) == OMEN_OK;
}

// Of the copies first..end - 1 those that said something.
static uint32_t
count_summed(const struct gather *gather, uint32_t first, uint32_t end)
{
    uint32_t count = 0;
    for (uint32_t i = first; i < end; i++)
        count += is_summed(&gather->words[i]);
    return count;
}

// The last place that all of those know; NULL: there is none.
static const struct gather_sum *
last_common(const struct gather *gather, uint32_t first, uint32_t end)
{
    const struct gather_sum *best = NULL;
    const struct gather_word *some = &gather->words[first];
    while (!is_summed(some)) // one of them is
        some++;
    for (uint32_t s = 0; s < some->sum_count; s++) {
        const struct gather_sum *sum = &some->sums[s];
        uint32_t i = first;
        while (i < end &&
               (!is_summed(&gather->words[i]) || sum_at(&gather->words[i], sum->seq) != NULL))
            i++;
        if (i == end && (best == NULL || sum->seq > best->seq))
            best = sum;
    }
    return best;
}

// `seq` 0: no copy said anything.
static void
verified_write(const struct gather *gather, uint32_t first, uint32_t end, uint64_t seq,
               struct encode *answer)
{
    char nodes[SHARD_REPLICAS_MAX][UUID_TEXT_BYTES];
    struct api_copy copies[SHARD_REPLICAS_MAX];
    struct api_missing missing[SHARD_REPLICAS_MAX];
    struct api_verified row = {.shard = gather->copies[first].shard,
                               .seq = seq,
                               .copies = {.items = copies},
                               .missing = {.items = missing}};
    ASSERT(end - first <= SHARD_REPLICAS_MAX);
    for (uint32_t i = first; i < end; i++) {
        const struct gather_word *word = &gather->words[i];
        uuid_write(gather->copies[i].node_uuid, nodes[i - first]);
        const struct wire_text node = wire_text_of(nodes[i - first]);
        if (is_summed(word))
            copies[row.copies.count++] =
                (struct api_copy){node, {sum_at(word, seq)->digits, SUM_DIGITS}};
        else
            missing[row.missing.count++] = (struct api_missing){node, wire_text_of(word_why(word))};
    }
    shape_write(answer, &api_verified, &row);
}

// Where a shard's copies end in the list.
static uint32_t
shard_end(const struct gather *gather, uint32_t first)
{
    uint32_t end = first;
    while (end < gather->count && gather->copies[end].shard == gather->copies[first].shard)
        end++;
    return end;
}

// Each copy's newest place: the one that lags is seen.
static omen_status
say_apart(const struct gather *gather, uint32_t first, struct omen_error *error)
{
    char words[128];
    struct text places;
    text_init(&places, words, sizeof words);
    for (uint32_t i = first; i < shard_end(gather, first); i++) {
        uint64_t newest = 0;
        if (!is_summed(&gather->words[i]))
            continue;
        for (uint32_t s = 0; s < gather->words[i].sum_count; s++)
            newest = gather->words[i].sums[s].seq > newest ? gather->words[i].sums[s].seq : newest;
        text_add(&places, "%s%" PRIu64, places.length == 0 ? "" : ", ", newest);
    }
    return error_set(error, OMEN_E_BUSY,
                     "shard.verify: the copies of shard %" PRIu64
                     " know no place in the log in common yet (they are at %s)",
                     gather->copies[first].shard, words);
}

// What cannot be asked is named; what says that it will answer is asked again.
static omen_status
answer_verify(const struct gather *gather, struct encode *answer, struct omen_error *error)
{
    uint32_t shards = 0;
    for (uint32_t i = 0; i < gather->count; i++)
        if (is_for_now(&gather->words[i]))
            return say_word(gather, i, error);
    for (uint32_t i = 0; i < gather->count; i = shard_end(gather, i), shards++)
        if (count_summed(gather, i, shard_end(gather, i)) > 0 &&
            last_common(gather, i, shard_end(gather, i)) == NULL)
            return say_apart(gather, i, error);
    encode_map(answer, 1);
    encode_word(answer, "shards");
    encode_array(answer, shards);
    for (uint32_t i = 0; i < gather->count; i = shard_end(gather, i)) {
        const uint32_t end = shard_end(gather, i);
        const bool any = count_summed(gather, i, end) > 0;
        verified_write(gather, i, end, any ? last_common(gather, i, end)->seq : 0, answer);
    }
    return OMEN_OK;
}

static omen_status
answer_places(const struct gather *gather, const struct map *map, struct encode *answer,
              struct omen_error *error)
{
    const struct admin_places places = {gather->places, gather->count};
    if (gather->method->number == METHOD_SHARD_LIST) {
        admin_shards_write(map, gather->collection, places, answer);
        return OMEN_OK;
    }
    const struct map_shard *shard = map_shard(map, gather->shard);
    if (shard == NULL)
        return error_set(error, OMEN_E_NOT_FOUND, "shard %" PRIu64 " is gone meanwhile",
                         gather->shard);
    admin_shard_write(map, shard, places, answer);
    return OMEN_OK;
}

// Of the map as it is now.
static omen_status
answer_rows(const struct gather *gather, const struct map *map, struct encode *answer,
            struct omen_error *error)
{
    if (gather_of_places((enum method_number)gather->method->number))
        return answer_places(gather, map, answer, error);
    if (gather->method->number == METHOD_COLLECTION_LIST) {
        admin_collections_write(map, &gather->rows, answer);
        return OMEN_OK;
    }
    const struct map_collection *row = map_collection(map, gather->collection);
    if (row == NULL)
        return error_set(error, OMEN_E_NOT_FOUND, "the collection was dropped meanwhile");
    admin_collection_write(map, row, admin_rows_find(&gather->rows, row->id), answer);
    return OMEN_OK;
}

omen_status
gather_answer(const struct gather *gather, const struct map *map, struct encode *answer,
              struct omen_error *error)
{
    const enum method_number number = (enum method_number)gather->method->number;
    const bool stats = number == METHOD_COLLECTION_STATS, adds = gather_adds(number);
    omen_status status = gather_in_part(number) || adds ? OMEN_OK : all_said_yes(gather, error);
    if (status != OMEN_OK)
        return status;
    if (stats)
        answer_stats(gather, answer);
    else if (adds)
        status = answer_rows(gather, map, answer, error);
    else if (gather->method->number == METHOD_SHARD_VERIFY)
        status = answer_verify(gather, answer, error);
    else if (gather->method->answer == &api_started)
        shape_write(answer, &api_started, &(struct api_started){.job = gather->collection});
    else
        shape_write(answer, &api_nothing, &(struct api_nothing){0});
    if (status == OMEN_OK && answer->status != OMEN_OK)
        status = error_set_plain(error, answer->status);
    return status;
}
