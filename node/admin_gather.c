// node/admin_gather.c -- lists the copies that a step names, and puts together what they say.
//
// Shape: handle, in memory.
#include "node/admin_gather.h"

#include <inttypes.h>
#include <string.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "base/limits.h"
#include "base/text.h"
#include "base/utf8.h"
#include "node/admin_int.h"
#include "node/admin_rows.h"

#define SUM_DIGITS 32u

struct gather_sum {
    uint64_t seq;
    char digits[SUM_DIGITS];
};

struct gather_word { // of one copy
    bool told;
    omen_status status;
    const char *why; // static; NULL: as the copy or the status says
    char *said;      // a copy's reason to refuse; NULL: none
    uint32_t sum_count;
    struct gather_sum sums[GATHER_SUMS_MAX];
};

struct gather {
    const struct method *method;
    uint64_t collection, shard; // as the step says
    uint32_t count, pending;
    struct api_stats stats; // sums so far
    double recall_weight;
    struct admin_rows rows;     // collection.get, .list
    struct admin_place *places; // shard.get, .list: as many as copies
    struct gather_copy *copies;
    struct gather_word *words; // as many
};

// ---- who is asked ----

// How many copies of the shard are asked; they are written where `out` is not NULL.
static uint32_t
copies_of(const struct map *map, const struct map_shard *shard, enum admin_whom whom,
          struct gather_copy *out)
{
    const struct map_replica *primary = shard_replica(shard, shard->primary);
    uint32_t count = 0;
    for (uint32_t i = 0; i < shard->replica_count; i++) {
        const struct map_replica *replica = &shard->replicas[i];
        const bool any =
            whom == ADMIN_ANY_COPY && (primary == NULL ? count == 0 : replica == primary);
        const bool asked = whom == ADMIN_EVERY_COPY || any || replica == primary;
        const struct map_node *node = map_node(map, replica->node);
        if (!asked || replica->role != MAP_REPLICA_IN_SYNC || node == NULL)
            continue;
        if (out != NULL)
            out[count] = (struct gather_copy){.shard = shard->id,
                                              .collection = shard->collection,
                                              .copy = replica->uuid,
                                              .node_uuid = node->uuid,
                                              .node = replica->node};
        count++;
    }
    return count;
}

static bool
is_of_places(enum method_number number)
{
    return number == METHOD_SHARD_GET || number == METHOD_SHARD_LIST;
}

bool
gather_adds(enum method_number number)
{
    return number == METHOD_COLLECTION_GET || number == METHOD_COLLECTION_LIST ||
           is_of_places(number);
}

bool
gather_in_part(enum method_number number)
{
    return number == METHOD_COLLECTION_STATS || number == METHOD_SHARD_VERIFY;
}

static bool
is_asked(const struct gather *gather, const struct admin_step *step, const struct map_shard *shard)
{
    const bool made = shard->status != SHARD_CREATING;
    return shard_is_routed(shard) &&
           (made || !gather_adds((enum method_number)gather->method->number)) &&
           (step->collection == 0 || shard->collection == step->collection) &&
           (step->shard == 0 || shard->id == step->shard);
}

static omen_status
count_copies(const struct gather *gather, const struct map *map, const struct admin_step *step,
             uint32_t *count, struct omen_error *error)
{
    *count = 0;
    for (uint32_t i = 0; i < map->shard_count; i++) {
        const struct map_shard *shard = &map->shards[i];
        if (!is_asked(gather, step, shard))
            continue;
        const uint32_t more = copies_of(map, shard, step->whom, NULL);
        if ((more == 0 || shard->status == SHARD_CREATING) &&
            !gather_adds((enum method_number)gather->method->number))
            return error_set(error, OMEN_E_BUSY, "shard %" PRIu64 " has no %s that could be asked",
                             shard->id, step->whom == ADMIN_PRIMARIES ? "primary" : "copy in sync");
        *count += more;
    }
    return OMEN_OK;
}

static omen_status
reserve(struct gather *gather, const struct map *map, uint32_t count)
{
    gather->copies = mem_alloc_zero(count, sizeof *gather->copies);
    gather->words = mem_alloc_zero(count, sizeof *gather->words);
    if (count > 0 && (gather->copies == NULL || gather->words == NULL))
        return OMEN_E_NO_MEMORY;
    if (is_of_places((enum method_number)gather->method->number)) {
        gather->places = mem_alloc_zero(count, sizeof *gather->places);
        return count > 0 && gather->places == NULL ? OMEN_E_NO_MEMORY : OMEN_OK;
    }
    return gather_adds((enum method_number)gather->method->number)
               ? admin_rows_init(&gather->rows, map, gather->collection)
               : OMEN_OK;
}

omen_status
gather_open(const struct map *map, const struct admin_call *call, const struct admin_step *step,
            struct gather **out, struct omen_error *error)
{
    uint32_t count;
    *out = NULL;
    struct gather *gather = mem_alloc_zero(1, sizeof *gather);
    if (gather == NULL)
        return error_set_plain(error, OMEN_E_NO_MEMORY);
    gather->method = call->method;
    gather->collection = step->collection;
    gather->shard = step->shard;
    omen_status status = count_copies(gather, map, step, &count, error);
    if (status == OMEN_OK && reserve(gather, map, count) != OMEN_OK)
        status = error_set_plain(error, OMEN_E_NO_MEMORY);
    if (status != OMEN_OK) {
        gather_close(gather);
        return status;
    }
    for (uint32_t i = 0; i < map->shard_count; i++)
        if (is_asked(gather, step, &map->shards[i]))
            gather->count +=
                copies_of(map, &map->shards[i], step->whom, gather->copies + gather->count);
    ASSERT(gather->count == count);
    for (uint32_t i = 0; i < count && gather->places != NULL; i++)
        gather->places[i] =
            (struct admin_place){.shard = gather->copies[i].shard, .copy = gather->copies[i].copy};
    gather->pending = count;
    *out = gather;
    return OMEN_OK;
}

void
gather_close(struct gather *gather)
{
    if (gather == NULL)
        return;
    admin_rows_fini(&gather->rows);
    for (uint32_t i = 0; i < gather->count && gather->words != NULL; i++)
        mem_free(gather->words[i].said);
    mem_free(gather->places);
    mem_free(gather->copies);
    mem_free(gather->words);
    mem_free(gather);
}

const struct gather_copy *
gather_copies(const struct gather *gather, uint32_t *count)
{
    *count = gather->count;
    return gather->copies;
}

uint32_t
gather_pending(const struct gather *gather)
{
    return gather->pending;
}

// ---- what they say ----

static void
take_stats(struct gather *gather, const struct api_stats *stats)
{
    struct api_stats *sum = &gather->stats;
    sum->points += stats->points;
    sum->rows += stats->rows;
    sum->deleted += stats->deleted;
    sum->tail += stats->tail;
    sum->memory_bytes += stats->memory_bytes;
    sum->vector_bytes += stats->vector_bytes;
    sum->payload_bytes += stats->payload_bytes;
    sum->disk_bytes += stats->disk_bytes;
    if (stats->recall > 0) { // else it was never measured there
        sum->recall += stats->recall * (double)stats->points;
        gather->recall_weight += (double)stats->points;
    }
}

static bool
take_sums(struct gather_word *word, uint64_t shard, const struct api_verify *verify)
{
    struct list_cursor rows, copies;
    struct api_verified row;
    struct api_copy copy;
    list_begin(&rows, shape_field(&api_verify, "shards"), &verify->shards);
    while (list_next(&rows, &row)) {
        if (row.shard != shard || row.copies.count != 1)
            return false;
        list_begin(&copies, shape_field(&api_verified, "copies"), &row.copies);
        if (!list_next(&copies, &copy) || copy.checksum.count != SUM_DIGITS)
            return false;
        if (word->sum_count == GATHER_SUMS_MAX)
            continue;
        struct gather_sum *sum = &word->sums[word->sum_count++];
        sum->seq = row.seq;
        memcpy(sum->digits, copy.checksum.bytes, SUM_DIGITS);
    }
    return true;
}

static void
take_list(struct gather *gather, uint32_t at, const struct api_collections *said)
{
    struct list_cursor cursor;
    struct api_collection row;
    list_begin(&cursor, shape_field(&api_collections, "collections"), &said->collections);
    while (list_next(&cursor, &row))
        admin_rows_take(&gather->rows, gather->copies[at].collection, &row);
}

static bool
take_place(struct gather *gather, uint32_t at, const struct api_shard *said)
{
    struct admin_place *place = &gather->places[at];
    if (said->shard != place->shard || said->seq.given == 0 || said->points.given == 0)
        return false;
    place->seq = said->seq.value;
    place->points = said->points.value;
    place->told = true;
    return true;
}

static bool
take_only_place(struct gather *gather, uint32_t at, const struct api_shards *said)
{
    struct list_cursor cursor;
    struct api_shard row;
    list_begin(&cursor, shape_field(&api_shards, "shards"), &said->shards);
    return list_next(&cursor, &row) && take_place(gather, at, &row);
}

static bool
take_answer(struct gather *gather, uint32_t at, struct wire_bytes answer)
{
    union method_body body;
    struct decode decode;
    decode_init(&decode, answer, &decode_answers, NULL);
    shape_read(&decode, gather->method->answer, &body);
    if (decode_end(&decode) != OMEN_OK)
        return false;
    if (gather->method->number == METHOD_COLLECTION_STATS)
        take_stats(gather, (const struct api_stats *)(const void *)&body);
    if (gather->method->number == METHOD_COLLECTION_GET)
        admin_rows_take(&gather->rows, gather->copies[at].collection,
                        (const struct api_collection *)(const void *)&body);
    if (gather->method->number == METHOD_COLLECTION_LIST)
        take_list(gather, at, (const struct api_collections *)(const void *)&body);
    if (gather->method->number == METHOD_SHARD_GET)
        return take_place(gather, at, (const struct api_shard *)(const void *)&body);
    if (gather->method->number == METHOD_SHARD_LIST)
        return take_only_place(gather, at, (const struct api_shards *)(const void *)&body);
    if (gather->method->number == METHOD_SHARD_VERIFY)
        return take_sums(&gather->words[at], gather->copies[at].shard,
                         (const struct api_verify *)(const void *)&body);
    return true;
}

void
gather_take(struct gather *gather, uint32_t at, omen_status status, struct wire_bytes answer)
{
    ASSERT(at < gather->count);
    struct gather_word *word = &gather->words[at];
    if (word->told)
        return;
    word->told = true;
    word->status = status;
    gather->pending--;
    if (status == OMEN_OK && !take_answer(gather, at, answer))
        word->status = OMEN_E_CORRUPT;
}

void
gather_refuse(struct gather *gather, uint32_t at, omen_status status, struct wire_bytes reason)
{
    ASSERT(at < gather->count);
    struct gather_word *word = &gather->words[at];
    if (!word->told && reason.count > 0 && utf8_valid((const char *)reason.bytes, reason.count)) {
        word->said = mem_alloc((size_t)reason.count + 1);
        if (word->said != NULL) {
            memcpy(word->said, reason.bytes, reason.count);
            word->said[reason.count] = '\0';
        }
    }
    gather_take(gather, at, status, (struct wire_bytes){NULL, 0});
}

void
gather_lose(struct gather *gather, uint32_t at, omen_status status, const char *why)
{
    gather_take(gather, at, status, (struct wire_bytes){NULL, 0});
    gather->words[at].why = why;
}

bool
gather_waits(const struct gather *gather, uint32_t at)
{
    return !gather->words[at].told;
}

// ---- all of it ----

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
        stats.bytes_per_vector = (double)stats.memory_bytes / (double)stats.points;
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
    if (is_of_places((enum method_number)gather->method->number))
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
