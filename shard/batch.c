// shard/batch.c -- the ids of one batch: which key and which old row belongs to each of its rows.
//
// Shape: handle in the caller's memory.
//
// Ids that ascend cannot repeat, and that is how most batches come; only the others pay for a table. A text that has
// no key yet is told apart from the batch's other new texts by the same table.
#include "shard/batch.h"

#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "base/hash.h"
#include "base/limits.h"
#include "base/msgpack.h"
#include "base/prng.h"
#include "base/utf8.h"

#define PLACE_EMPTY UINT32_MAX
#define FIND_AHEAD 12u // ids

static omen_status resolve_kind(const struct pending *pending, struct batch *batch,
                                struct omen_error *error);
static omen_status take_memory(struct batch *batch, struct omen_error *error);
static omen_status resolve_integers(struct shard *shard, struct batch *batch,
                                    struct omen_error *error);
static omen_status resolve_texts(struct shard *shard, const struct pending *pending,
                                 struct batch *batch, struct omen_error *error);
static omen_status check_twice(struct batch *batch, struct omen_error *error);
static omen_status resolve_rows(struct shard *shard, struct batch *batch, struct omen_error *error);
static omen_status check_version(const struct generation *generation, const struct batch *batch,
                                 size_t i, struct omen_error *error);

omen_status
batch_init(struct shard *shard, const struct pending *pending, const omen_batch *given,
           enum batch_mode mode, struct batch *batch, struct omen_error *error)
{
    *batch = (struct batch){.given = given, .mode = mode, .next_id = pending->next_id};
    omen_status status = resolve_kind(pending, batch, error);
    if (status == OMEN_OK)
        status = take_memory(batch, error);
    if (status == OMEN_OK)
        status = batch->kind == ID_KIND_TEXT ? resolve_texts(shard, pending, batch, error)
                                             : resolve_integers(shard, batch, error);
    if (status == OMEN_OK)
        status = check_twice(batch, error);
    if (status == OMEN_OK)
        status = resolve_rows(shard, batch, error);
    if (status != OMEN_OK)
        batch_fini(batch);
    return status;
}

void
batch_fini(struct batch *batch)
{
    mem_free(batch->memory);
    batch->memory = NULL;
}

void
batch_name_texts(struct batch *batch, struct names *names)
{
    if (batch->new_texts == 0)
        return;
    for (size_t i = 0; i < batch->given->count; i++) {
        const char *text = batch->given->text_ids[i];
        if (batch->keys[i] == BATCH_NEW_TEXT)
            batch->keys[i] = names_add(names, text, strlen(text));
    }
}

omen_status
batch_check_payloads(struct shard *shard, const omen_batch *given, struct payload_sums *sums,
                     struct omen_error *error)
{
    const struct fields *fields = shard_target(shard)->fields;
    *sums = (struct payload_sums){0};
    if (given->payloads == NULL)
        return OMEN_OK;
    if (given->payload_bytes == NULL)
        return error_set(error, OMEN_E_INVALID, "payloads without payload_bytes");
    for (size_t i = 0; i < given->count; i++) {
        if (given->payloads[i] == NULL)
            continue;
        const size_t bytes = given->payload_bytes[i];
        if (bytes > PAYLOAD_BYTES_MAX)
            return error_set(error, OMEN_E_PAYLOAD,
                             "row %zu: its payload has %zu bytes; at most %u are kept", i, bytes,
                             PAYLOAD_BYTES_MAX);
        omen_status status = msgpack_check_map(given->payloads[i], bytes, error);
        if (status != OMEN_OK)
            return error_set(error, status, "row %zu: %s", i, error->text);
        status = fields_check(fields, given->payloads[i], bytes, i, error);
        if (status != OMEN_OK)
            return status;
        sums->count++;
        sums->bytes += bytes;
    }
    return OMEN_OK;
}

static omen_status
resolve_kind(const struct pending *pending, struct batch *batch, struct omen_error *error)
{
    const omen_batch *given = batch->given;
    if (given->ids != NULL && given->text_ids != NULL)
        return error_set(error, OMEN_E_INVALID,
                         "ids and text_ids are both given; a batch has one of them");
    batch->kind = given->text_ids != NULL ? ID_KIND_TEXT : ID_KIND_INTEGER;
    if (batch->mode == BATCH_SET_PAYLOADS && given->ids == NULL && given->text_ids == NULL)
        return error_set(error, OMEN_E_INVALID, "neither ids nor text_ids is given");
    const enum id_kind kind = pending->kind;
    if (kind == ID_KIND_NONE || kind == batch->kind)
        return OMEN_OK;
    if (kind == ID_KIND_TEXT)
        return error_set(error, OMEN_E_ID_KIND, "this index holds text ids; %s",
                         given->ids != NULL ? "integer ids were given"
                                            : "it does not number rows by itself");
    return error_set(error, OMEN_E_ID_KIND, "this index holds integer ids; text ids were given");
}

static omen_status
take_memory(struct batch *batch, struct omen_error *error)
{
    const size_t count = batch->given->count;
    batch->memory = mem_alloc(count * (sizeof *batch->keys + sizeof *batch->old));
    if (batch->memory == NULL)
        return error_set_plain(error, OMEN_E_NO_MEMORY);
    batch->keys = batch->memory;
    batch->old = (uint32_t *)(void *)(batch->keys + count);
    return OMEN_OK;
}

static omen_status
resolve_integers(struct shard *shard, struct batch *batch, struct omen_error *error)
{
    const uint64_t id_max = shard->options.id_max;
    for (size_t i = 0; i < batch->given->count; i++) {
        const uint64_t id = batch->given->ids != NULL ? batch->given->ids[i] : batch->next_id;
        if (id > id_max && batch->given->ids == NULL)
            return error_set(error, OMEN_E_ID_RANGE,
                             "row %zu: the next number, %llu, is above the largest id, %llu", i,
                             (unsigned long long)id, (unsigned long long)id_max);
        if (id > id_max)
            return error_set(error, OMEN_E_ID_RANGE,
                             "row %zu: id %llu is above the largest id, %llu", i,
                             (unsigned long long)id, (unsigned long long)id_max);
        batch->keys[i] = id;
        if (id >= batch->next_id)
            batch->next_id = id + 1; // at most 2^63
    }
    return OMEN_OK;
}

static omen_status
resolve_texts(struct shard *shard, const struct pending *pending, struct batch *batch,
              struct omen_error *error)
{
    for (size_t i = 0; i < batch->given->count; i++) {
        const char *text = batch->given->text_ids[i];
        if (text == NULL)
            return error_set(error, OMEN_E_INVALID, "row %zu: its text id is NULL", i);
        const size_t bytes = strnlen(text, ID_TEXT_BYTES_MAX + 1);
        if (bytes == 0)
            return error_set(error, OMEN_E_ID_LENGTH, "row %zu: its text id is empty", i);
        if (bytes > ID_TEXT_BYTES_MAX)
            return error_set(error, OMEN_E_ID_LENGTH,
                             "row %zu: its text id is longer than %u bytes", i, ID_TEXT_BYTES_MAX);
        if (!utf8_valid(text, bytes))
            return error_set(error, OMEN_E_ID_LENGTH, "row %zu: its text id is not UTF-8", i);
        batch->keys[i] = names_find(shard_target(shard)->names, text, bytes);
        if (batch->keys[i] != NAMES_NONE)
            continue;
        batch->keys[i] = BATCH_NEW_TEXT;
        batch->new_texts++;
        batch->new_bytes += bytes;
    }
    const uint64_t keys =
        names_count(shard_target(shard)->names) + pending->texts + batch->new_texts;
    if (batch->new_texts > 0 && keys - 1 > shard->options.id_max)
        return error_set(error, OMEN_E_ID_RANGE,
                         "key %llu of a new text id is above the largest id, %llu",
                         (unsigned long long)keys - 1, (unsigned long long)shard->options.id_max);
    return OMEN_OK;
}

static bool
ascends(const struct batch *batch)
{
    for (size_t i = 0; i < batch->given->count; i++)
        if (batch->keys[i] == BATCH_NEW_TEXT || (i > 0 && batch->keys[i] <= batch->keys[i - 1]))
            return false;
    return true;
}

static bool
same_id(const struct batch *batch, size_t a, size_t b)
{
    if (batch->keys[a] != BATCH_NEW_TEXT || batch->keys[b] != BATCH_NEW_TEXT)
        return batch->keys[a] == batch->keys[b];
    return strcmp(batch->given->text_ids[a], batch->given->text_ids[b]) == 0;
}

static omen_status
refuse_twice(const struct batch *batch, size_t first, size_t second, struct omen_error *error)
{
    if (batch->kind == ID_KIND_TEXT)
        return error_set(error, OMEN_E_DUPLICATE_ID,
                         "row %zu: id \"%s\" is that of row %zu already", second,
                         batch->given->text_ids[second], first);
    return error_set(error, OMEN_E_DUPLICATE_ID, "row %zu: id %llu is that of row %zu already",
                     second, (unsigned long long)batch->keys[second], first);
}

static omen_status
check_twice(struct batch *batch, struct omen_error *error)
{
    const size_t count = batch->given->count;
    if (ascends(batch))
        return OMEN_OK;
    size_t room = 16;
    while (room < 2 * count)
        room *= 2;
    uint32_t *places = mem_alloc(room * sizeof *places);
    if (places == NULL)
        return error_set_plain(error, OMEN_E_NO_MEMORY);
    memset(places, 0xff, room * sizeof *places);
    omen_status status = OMEN_OK;
    for (size_t i = 0; i < count && status == OMEN_OK; i++) {
        const char *text = batch->keys[i] == BATCH_NEW_TEXT ? batch->given->text_ids[i] : NULL;
        const uint64_t hash = text != NULL ? hash_bytes(text, strlen(text)) : mix64(batch->keys[i]);
        size_t place = hash & (room - 1);
        while (places[place] != PLACE_EMPTY && !same_id(batch, places[place], i))
            place = (place + 1) & (room - 1);
        if (places[place] != PLACE_EMPTY)
            status = refuse_twice(batch, places[place], i, error);
        places[place] = (uint32_t)i;
    }
    mem_free(places);
    return status;
}

static omen_status
refuse_row(const struct batch *batch, size_t i, omen_status status, const char *what,
           struct omen_error *error)
{
    if (batch->kind == ID_KIND_TEXT)
        return error_set(error, status, "row %zu: id \"%s\" %s", i, batch->given->text_ids[i],
                         what);
    return error_set(error, status, "row %zu: id %llu %s", i, (unsigned long long)batch->keys[i],
                     what);
}

static omen_status
resolve_rows(struct shard *shard, struct batch *batch, struct omen_error *error)
{
    const struct generation *generation = shard_target(shard);
    const bool conditional = batch->given->if_versions != NULL;
    if (conditional && generation->versions == NULL)
        return error_set(error, OMEN_E_UNSUPPORTED,
                         "if_versions: points of an index in memory have no versions; open it with "
                         "a path");
    for (size_t i = 0; i < batch->given->count; i++) {
        if (i + FIND_AHEAD < batch->given->count)
            idmap_will_find(generation->ids, batch->keys[i + FIND_AHEAD]);
        const bool new_text = batch->keys[i] == BATCH_NEW_TEXT;
        batch->old[i] = new_text ? IDMAP_NONE : idmap_find(generation->ids, batch->keys[i]);
        if (conditional) {
            const omen_status status = check_version(generation, batch, i, error);
            if (status != OMEN_OK)
                return status;
        }
        if (batch->old[i] != IDMAP_NONE && batch->mode == BATCH_ADD)
            return refuse_row(batch, i, OMEN_E_EXISTS, "exists already", error);
        if (batch->old[i] == IDMAP_NONE && batch->mode == BATCH_SET_PAYLOADS)
            return refuse_row(batch, i, OMEN_E_NOT_FOUND, "is not there", error);
        batch->replaced += batch->old[i] != IDMAP_NONE;
    }
    return OMEN_OK;
}

// A write that waits in the same group changes nothing here: two that touch one id do not go together (shard/write.c).
static omen_status
check_version(const struct generation *generation, const struct batch *batch, size_t i,
              struct omen_error *error)
{
    char words[GENERATION_WORDS_BYTES];
    if (generation_version_is(generation, batch->old[i], batch->given->if_versions[i], words))
        return OMEN_OK;
    return refuse_row(batch, i, OMEN_E_CONFLICT, words, error);
}
