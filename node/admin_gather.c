// node/admin_gather.c -- lists the copies that a step names, and keeps what each of them says.
//
// Shape: handle, in memory.
#include "node/admin_gather_int.h"

#include <inttypes.h>
#include <string.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "base/utf8.h"

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

bool
gather_of_places(enum method_number number)
{
    return number == METHOD_SHARD_GET || number == METHOD_SHARD_LIST;
}

bool
gather_adds(enum method_number number)
{
    return number == METHOD_COLLECTION_GET || number == METHOD_COLLECTION_LIST ||
           gather_of_places(number);
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
    if (gather_of_places((enum method_number)gather->method->number)) {
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

// What a copy does not say, because it is older, is not counted.
static void
add(struct wire_maybe *sum, struct wire_maybe more)
{
    sum->value += more.value;
    sum->given |= more.given;
}

static void
take_stats(struct gather *gather, const struct api_stats *stats)
{
    struct api_stats *sum = &gather->stats;
    sum->points += stats->points;
    add(&sum->rows, stats->rows);
    add(&sum->deleted, stats->deleted);
    add(&sum->tail, stats->tail);
    add(&sum->memory_bytes, stats->memory_bytes);
    add(&sum->vector_bytes, stats->vector_bytes);
    add(&sum->payload_bytes, stats->payload_bytes);
    add(&sum->disk_bytes, stats->disk_bytes);
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
