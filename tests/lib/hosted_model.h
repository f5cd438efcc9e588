// tests/lib/hosted_model.h -- the simulated halves of shard/hosted.h and node/serve.h: a table of 64-bit values by 64-bit keys, in a file.
//
// Shape: shell, simulated. Included once in a program: it defines the seams' functions.
//
// What is asked, and an entry of the log, is pairs of key and value; a GET asks with keys and is answered with value and version of each.
// A search asks with one number. A key MODEL_REFUSED is refused before it is in the log, and MODEL_FAILS when it is applied.
#ifndef OMEN_TESTS_HOSTED_MODEL_H
#define OMEN_TESTS_HOSTED_MODEL_H
#include <check.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/alloc.h"
#include "base/hash.h"
#include "base/os_lock.h"
#include "base/os_wait.h"
#include "base/pool.h"
#include "node/serve.h"
#include "shard/hosted_build.h"
#include "shard/hosted_snapshot.h"
#include "wire/found.h"

#define MODEL_KEYS 512u
#define MODEL_REFUSED UINT64_C(1000)
#define MODEL_FAILS UINT64_C(1001)
#define MODEL_ROTTEN UINT64_C(1002)  // bytes of it fail their checksum
#define MODEL_SEVERAL UINT64_C(1003) // is written as three entries: of the keys 0, 1 and 2
#define MODEL_DIFFERS UINT64_C(1004) // each copy writes something of its own to the last key
// Is read by two threads, none of which is ready before the other is there.
#define MODEL_SHARED UINT64_C(1005)
#define MODEL_CHUNK 1000u

struct model_cell {
    uint64_t value, seq;
};

struct model { // what a checkpoint has
    uint64_t applied, first, last;
    struct model_cell cells[MODEL_KEYS];
};

struct hosted {
    struct lock lock;
    char path[512];
    struct model now;
    uint64_t durable;
};

// Of all of them.
static _Atomic uint32_t model_events; // changes when something was applied, or read
static _Atomic uint32_t model_gate;   // 1: whoever prepares or reads waits; 2: but for one
static _Atomic uint32_t model_passed; // that one has, so often
static _Atomic uint32_t model_waiting;
static _Atomic uint32_t model_together;  // threads that read one thing
static _Atomic uint32_t model_look_gate; // 1: whoever looks how much there is waits
static _Atomic uint32_t model_looking;   // so many do
static _Atomic uint32_t model_crash;     // 1: a shard is closed without its last checkpoint
static _Atomic uint32_t model_lost;      // opening fails so: a status with its sign turned
static _Atomic uint32_t model_opened;    // shards that are open

static inline void
model_happened(void)
{
    atomic_fetch_add(&model_events, 1);
    os_wake_all(&model_events);
}

static inline void
model_pass(void)
{
    if (atomic_load(&model_gate) == 0)
        return;
    atomic_fetch_add(&model_waiting, 1);
    model_happened();
    for (uint32_t gate = atomic_load(&model_gate); gate != 0; gate = atomic_load(&model_gate)) {
        if (gate == 2 && atomic_compare_exchange_strong(&model_gate, &gate, 1)) {
            atomic_fetch_add(&model_passed, 1);
            break;
        }
        os_wait(&model_gate, gate);
    }
    atomic_fetch_sub(&model_waiting, 1);
}

static inline void
model_let_one_pass(void)
{
    atomic_store(&model_gate, 2);
    os_wake_all(&model_gate);
}

static inline void
model_open_gate(void)
{
    atomic_store(&model_gate, 0);
    os_wake_all(&model_gate);
}

static inline void
model_pass_look(void)
{
    atomic_fetch_add(&model_looking, 1);
    model_happened();
    while (atomic_load(&model_look_gate) != 0)
        os_wait(&model_look_gate, 1);
    atomic_fetch_sub(&model_looking, 1);
}

static inline void
model_open_look_gate(void)
{
    atomic_store(&model_look_gate, 0);
    os_wake_all(&model_look_gate);
}

static inline void
model_restore(void)
{
    model_open_gate();
    model_open_look_gate();
    atomic_store(&model_crash, 0);
    atomic_store(&model_lost, 0);
}

// ---- what is asked ----

static inline void
hosts_pack_write(struct encode *encode, uint64_t key, uint64_t value)
{
    const uint64_t words[] = {key, value};
    encode_raw(encode, words, sizeof words);
}

static inline void
hosts_pack_read(struct encode *encode, uint64_t key)
{
    encode_raw(encode, &key, sizeof key);
}

static inline uint64_t
model_word(const void *bytes, size_t at)
{
    uint64_t word;
    memcpy(&word, (const uint8_t *)bytes + 8 * at, sizeof word);
    return word;
}

static inline uint64_t
hosts_unpack_value(const struct wire_reply *reply)
{
    ck_assert_uint_ge(reply->answer_bytes, 8);
    return model_word(reply->answer, 0);
}

// ---- the file ----

static inline void
model_file_name(const char *path, char name[600])
{
    (void)snprintf(name, 600, "%s/model", path);
}

static inline bool
model_save(const char *path, const struct model *model)
{
    char name[600];
    model_file_name(path, name);
    FILE *file = fopen(name, "wb");
    if (file == NULL)
        return false;
    const bool whole = fwrite(model, sizeof *model, 1, file) == 1;
    return fclose(file) == 0 && whole;
}

static inline bool
model_load(const char *path, struct model *model)
{
    char name[600];
    model_file_name(path, name);
    FILE *file = fopen(name, "rb");
    if (file == NULL)
        return false;
    const bool whole = fread(model, sizeof *model, 1, file) == 1;
    (void)fclose(file);
    return whole;
}

omen_status
hosted_make(const struct hosted_options *options, struct omen_error *error)
{
    const struct model model = {.first = options->first, .last = options->last};
    if (mkdir(options->path, 0777) != 0 || !model_save(options->path, &model))
        return error_set(error, OMEN_E_IO, "%s: cannot be made", options->path);
    return OMEN_OK;
}

omen_status
hosted_open(const struct hosted_options *options, struct hosted **out, struct omen_error *error)
{
    *out = NULL;
    if (atomic_load(&model_lost) != 0)
        return error_set_plain(error, -(omen_status)atomic_load(&model_lost));
    struct hosted *hosted = calloc(1, sizeof *hosted);
    ck_assert_ptr_nonnull(hosted);
    if (!model_load(options->path, &hosted->now)) {
        free(hosted);
        return error_set_plain(error, OMEN_E_NOT_FOUND);
    }
    lock_init(&hosted->lock);
    (void)snprintf(hosted->path, sizeof hosted->path, "%s", options->path);
    hosted->durable = hosted->now.applied;
    atomic_fetch_add(&model_opened, 1);
    *out = hosted;
    return OMEN_OK;
}

void
hosted_abandon(struct hosted *hosted)
{
    if (hosted == NULL)
        return;
    lock_fini(&hosted->lock);
    free(hosted);
    atomic_fetch_sub(&model_opened, 1);
    model_happened();
}

omen_status
hosted_checkpoint(struct hosted *hosted, struct omen_error *error)
{
    lock_acquire(&hosted->lock);
    const bool saved = model_save(hosted->path, &hosted->now);
    if (saved)
        hosted->durable = hosted->now.applied;
    lock_release(&hosted->lock);
    return saved ? OMEN_OK : error_set_plain(error, OMEN_E_IO);
}

void
hosted_close(struct hosted *hosted)
{
    struct omen_error error;
    if (hosted != NULL && atomic_load(&model_crash) == 0)
        ck_assert_int_eq(hosted_checkpoint(hosted, &error), OMEN_OK);
    hosted_abandon(hosted);
}

uint64_t
hosted_applied(struct hosted *hosted)
{
    lock_acquire(&hosted->lock);
    const uint64_t applied = hosted->now.applied;
    lock_release(&hosted->lock);
    return applied;
}

uint64_t
hosted_points(struct hosted *hosted) // is asked now and then, by who shows what there is
{
    (void)hosted;
    model_pass_look();
    return 0;
}

static _Atomic uint64_t model_memory_bytes; // that each has

uint64_t
hosted_memory_bytes(struct hosted *hosted)
{
    (void)hosted;
    return atomic_load(&model_memory_bytes);
}

// Nobody builds elsewhere. The real half would take the model for a shard of its own, and what lies in it for its lock.
bool
hosted_build_idle(struct hosted *hosted, uint64_t now_ns)
{
    (void)hosted;
    (void)now_ns;
    return false;
}

// Every 1,000 entries there is a checkpoint.
uint64_t
hosted_durable(struct hosted *hosted)
{
    lock_acquire(&hosted->lock);
    if (hosted->now.applied >= hosted->durable + 1000 && model_save(hosted->path, &hosted->now))
        hosted->durable = hosted->now.applied;
    const uint64_t durable = hosted->durable;
    lock_release(&hosted->lock);
    return durable;
}

// ---- applying ----

static inline void
model_apply_one(struct model *model, const struct hosted_entry *entry, struct hosted_result *result)
{
    model->applied = entry->seq;
    *result = (struct hosted_result){.seq = entry->seq};
    for (size_t i = 0; i + 1 < entry->count / 8; i += 2) {
        const uint64_t key = model_word(entry->bytes, i), value = model_word(entry->bytes, i + 1);
        const uint64_t hash = hash_id_u64(key);
        if (key == MODEL_FAILS && result->failed == NULL) {
            result->failed = mem_alloc_zero(1, sizeof *result->failed);
            ck_assert_ptr_nonnull(result->failed);
            result->failed_count = 1;
        }
        if (key >= MODEL_KEYS || hash < model->first || hash > model->last)
            continue;
        model->cells[key] = (struct model_cell){value, entry->seq};
        result->rows++;
    }
}

static inline void
model_differ(struct hosted *hosted, const struct hosted_entry *entry)
{
    if (entry->count >= 16 && model_word(entry->bytes, 0) == MODEL_DIFFERS)
        hosted->now.cells[MODEL_KEYS - 1] =
            (struct model_cell){hash_bytes(hosted->path, strlen(hosted->path)), entry->seq};
}

omen_status
hosted_apply(struct hosted *hosted, const struct hosted_entries *entries,
             struct hosted_results *results, struct omen_error *error)
{
    (void)error;
    struct hosted_result ignored;
    if (results != NULL) {
        results->entries = mem_alloc_zero(entries->count, sizeof *results->entries);
        ck_assert_ptr_nonnull(results->entries);
        results->count = entries->count;
    }
    lock_acquire(&hosted->lock);
    for (uint32_t i = 0; i < entries->count; i++) {
        ck_assert_uint_eq(entries->entries[i].seq, hosted->now.applied + 1);
        model_apply_one(&hosted->now, &entries->entries[i],
                        results != NULL ? &results->entries[i] : &ignored);
        model_differ(hosted, &entries->entries[i]);
        if (results == NULL)
            mem_free(ignored.failed);
    }
    lock_release(&hosted->lock);
    model_happened();
    return OMEN_OK;
}

void
hosted_results_fini(struct hosted_results *results)
{
    for (uint32_t i = 0; i < results->count; i++)
        mem_free(results->entries[i].failed);
    mem_free(results->entries);
    *results = (struct hosted_results){0};
}

void
hosted_bytes_fini(struct hosted_bytes *bytes)
{
    free(bytes->bytes);
    *bytes = (struct hosted_bytes){0};
}

// ---- sums ----

static inline struct hosted_sum
model_sum(const struct model_cell *cell, uint64_t key)
{
    const uint64_t words[] = {key, cell->value, cell->seq};
    if (cell->seq == 0)
        return (struct hosted_sum){0, 0};
    return (struct hosted_sum){hash_bytes(words, sizeof words), hash_bytes(words, 16)};
}

void
hosted_buckets(struct hosted *hosted, uint32_t first, uint32_t count, struct hosted_sum *out)
{
    memset(out, 0, count * sizeof *out);
    lock_acquire(&hosted->lock);
    for (uint32_t key = first; key < first + count && key < MODEL_KEYS; key++)
        out[key - first] = model_sum(&hosted->now.cells[key], key);
    lock_release(&hosted->lock);
}

struct hosted_sum
hosted_sum(struct hosted *hosted)
{
    struct hosted_sum root = {0, 0};
    lock_acquire(&hosted->lock);
    for (uint32_t key = 0; key < MODEL_KEYS; key++)
        root = sum_plus(root, model_sum(&hosted->now.cells[key], key));
    lock_release(&hosted->lock);
    return root;
}

// ---- snapshots ----

struct hosted_snapshot {
    uint64_t seq;
    size_t count;
    uint8_t *bytes; // the model, then what its owner adds
};

omen_status
hosted_snapshot_make(struct hosted *hosted, const char *folder, struct hosted_snapshot **out,
                     struct omen_error *error)
{
    (void)folder;
    (void)error;
    struct hosted_snapshot *snapshot = calloc(1, sizeof *snapshot);
    ck_assert_ptr_nonnull(snapshot);
    snapshot->count = sizeof hosted->now;
    snapshot->bytes = malloc(snapshot->count);
    ck_assert_ptr_nonnull(snapshot->bytes);
    lock_acquire(&hosted->lock);
    snapshot->seq = hosted->now.applied;
    memcpy(snapshot->bytes, &hosted->now, sizeof hosted->now);
    lock_release(&hosted->lock);
    *out = snapshot;
    return OMEN_OK;
}

omen_status
hosted_snapshot_seal(struct hosted_snapshot *snapshot, const void *extra, size_t extra_bytes,
                     struct omen_error *error)
{
    (void)error;
    snapshot->bytes = realloc(snapshot->bytes, snapshot->count + extra_bytes);
    ck_assert_ptr_nonnull(snapshot->bytes);
    memcpy(snapshot->bytes + snapshot->count, extra, extra_bytes);
    snapshot->count += extra_bytes;
    return OMEN_OK;
}

uint64_t
hosted_snapshot_seq(const struct hosted_snapshot *snapshot)
{
    return snapshot->seq;
}

uint32_t
hosted_snapshot_chunks(const struct hosted_snapshot *snapshot)
{
    return (uint32_t)((snapshot->count + MODEL_CHUNK - 1) / MODEL_CHUNK);
}

omen_status
hosted_snapshot_read(const struct hosted_snapshot *snapshot, struct hosted_chunk *chunk,
                     void *bytes, struct omen_error *error)
{
    (void)error;
    const size_t from = (size_t)chunk->number * MODEL_CHUNK, left = snapshot->count - from;
    chunk->count = left < MODEL_CHUNK ? left : MODEL_CHUNK;
    memcpy(bytes, snapshot->bytes + from, chunk->count);
    chunk->hash = hash_bytes(bytes, chunk->count);
    return OMEN_OK;
}

void
hosted_snapshot_close(struct hosted_snapshot *snapshot)
{
    if (snapshot == NULL)
        return;
    free(snapshot->bytes);
    free(snapshot);
}

struct hosted_receive {
    uint8_t *bytes;
    size_t count;
};

omen_status
hosted_receive_open(const char *folder, struct hosted_receive **out, struct omen_error *error)
{
    (void)folder;
    (void)error;
    *out = calloc(1, sizeof **out);
    ck_assert_ptr_nonnull(*out);
    return OMEN_OK;
}

void
hosted_receive_close(struct hosted_receive *receive)
{
    if (receive == NULL)
        return;
    free(receive->bytes);
    free(receive);
}

omen_status
hosted_receive_store(struct hosted_receive *receive, const struct hosted_chunk *chunk,
                     const void *bytes, struct omen_error *error)
{
    if (receive->count != (size_t)chunk->number * MODEL_CHUNK ||
        chunk->hash != hash_bytes(bytes, chunk->count))
        return error_set_plain(error, OMEN_E_CORRUPT);
    receive->bytes = realloc(receive->bytes, receive->count + chunk->count);
    ck_assert_ptr_nonnull(receive->bytes);
    memcpy(receive->bytes + receive->count, bytes, chunk->count);
    receive->count += chunk->count;
    return OMEN_OK;
}

static inline void
model_extra_name(const char *path, char name[600])
{
    (void)snprintf(name, 600, "%s/extra", path);
}

omen_status
hosted_receive_install(struct hosted_receive *receive, const struct hosted_place *place,
                       struct omen_error *error)
{
    struct model model;
    char name[600];
    if (receive->count < sizeof model)
        return error_set_plain(error, OMEN_E_CORRUPT);
    memcpy(&model, receive->bytes, sizeof model);
    model.first = place->first;
    model.last = place->last;
    model_extra_name(place->path, name);
    FILE *file = fopen(name, "wb");
    ck_assert_ptr_nonnull(file);
    const size_t extra = receive->count - sizeof model;
    const bool whole = fwrite(&model.applied, sizeof model.applied, 1, file) == 1 &&
                       fwrite(receive->bytes + sizeof model, 1, extra, file) == extra;
    return fclose(file) == 0 && whole && model_save(place->path, &model)
               ? OMEN_OK
               : error_set_plain(error, OMEN_E_IO);
}

omen_status
hosted_extra(const char *path, struct hosted_extra *out, struct omen_error *error)
{
    char name[600];
    const size_t room = 1 << 20;
    *out = (struct hosted_extra){0};
    model_extra_name(path, name);
    FILE *file = fopen(name, "rb");
    if (file == NULL)
        return error_set_plain(error, OMEN_E_NOT_FOUND);
    out->bytes = mem_alloc(room);
    ck_assert_ptr_nonnull(out->bytes);
    const bool whole = fread(&out->seq, sizeof out->seq, 1, file) == 1;
    out->count = fread(out->bytes, 1, room, file);
    (void)fclose(file);
    return whole ? OMEN_OK : error_set_plain(error, OMEN_E_CORRUPT);
}

omen_status
hosted_extra_forget(const char *path, struct omen_error *error)
{
    char name[600];
    model_extra_name(path, name);
    return remove(name) == 0 ? OMEN_OK : error_set_plain(error, OMEN_E_IO);
}

// ---- parts ----

static bool
model_read_together(void *context)
{
    (void)context;
    atomic_fetch_add(&model_together, 1);
    os_wake_all(&model_together);
    while (atomic_load(&model_together) < 2)
        os_wait(&model_together, 1);
    return false;
}

omen_status
serve_read(struct hosted *hosted, const struct wire_part *part, struct pool *pool,
           struct encode *answer, struct serve_items *items, struct omen_error *error)
{
    omen_status status = OMEN_OK;
    model_pass();
    if (part->method ==
        METHOD_QUERY_SEARCH) { // of no hits, and says that it took as long as it is asked
        found_write(answer, &(struct found){.took_us = model_word(part->ask, 0)});
        return OMEN_OK;
    }
    lock_acquire(&hosted->lock);
    for (uint32_t i = 0; i < part->ask_bytes / 8; i++) {
        const uint64_t key = model_word(part->ask, i);
        if (key == MODEL_SHARED)
            pool_share(pool, 2, model_read_together, NULL);
        if (key == MODEL_ROTTEN)
            status = error_set_plain(error, OMEN_E_CORRUPT);
        const struct model_cell cell =
            key < MODEL_KEYS ? hosted->now.cells[key] : (struct model_cell){0, 0};
        encode_plain(answer, cell.value, 8);
        encode_plain(answer, cell.seq, 8);
        items->statuses[items->count++] = cell.seq == 0 ? OMEN_E_NOT_FOUND : OMEN_OK;
    }
    lock_release(&hosted->lock);
    return status;
}

omen_status
serve_prepare(struct hosted *hosted, const struct wire_part *part, struct hosted_bytes *op,
              struct omen_error *error)
{
    (void)hosted;
    model_pass();
    if (model_word(part->ask, 0) == MODEL_REFUSED)
        return error_set(error, OMEN_E_DIMENSION, "row 0: refused");
    const uint64_t cursor = op->cursor;
    *op = (struct hosted_bytes){.cursor = UINT64_MAX};
    op->bytes = malloc(part->ask_bytes);
    ck_assert_ptr_nonnull(op->bytes);
    memcpy(op->bytes, part->ask, part->ask_bytes);
    op->count = part->ask_bytes;
    if (model_word(part->ask, 0) == MODEL_SEVERAL) {
        memcpy(op->bytes, &cursor, sizeof cursor);
        op->cursor = cursor < 2 ? cursor + 1 : UINT64_MAX;
    }
    return OMEN_OK;
}

// Rows that were done, and failed; what is not known any more is told as 99.
omen_status
serve_written(const struct wire_part *part, const struct hosted_results *results,
              struct encode *answer, struct serve_items *items, struct omen_error *error)
{
    (void)part;
    (void)items;
    (void)error;
    uint64_t rows = 0, failed = 0;
    for (uint32_t i = 0; results != NULL && i < results->count; i++) {
        rows += results->entries[i].rows;
        failed += results->entries[i].failed_count;
    }
    encode_plain(answer, results != NULL ? rows : 99, 8);
    encode_plain(answer, results != NULL ? failed : 99, 8);
    return OMEN_OK;
}

#endif
