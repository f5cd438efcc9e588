// shard/shard_open.c -- opens a shard, in memory or from its file, and closes it.
//
// Shape: handle.
//
// A file is opened by mapping what its last checkpoint left and applying the log behind it; everything that is there is
// searchable when the call returns. What is not linked yet is scanned until the workers have linked it.
#include <string.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "base/limits.h"
#include "base/os_clock.h"
#include "base/os_process.h"
#include "shard/checkpoint.h"
#include "shard/heads.h"
#include "shard/keeper.h"
#include "shard/outside.h"
#include "shard/shard_follow.h"
#include "shard/shard_log.h"

static omen_status check_options(const omen_options *options, struct omen_error *error);
static omen_status open_memory(struct shard *shard, struct omen_error *error);
static omen_status open_file(struct shard *shard, struct omen_error *error);
static omen_status read_log(struct shard *shard, struct kv_txn *txn,
                            omen_status (*fn)(struct shard *, const struct log_entry *,
                                              struct omen_error *),
                            struct omen_error *error);

omen_status
shard_open(const omen_options *options, struct shard **out, struct omen_error *error)
{
    return shard_open_outside(options, NULL, out, error);
}

omen_status
shard_open_outside(const omen_options *options, struct outside *outside, struct shard **out,
                   struct omen_error *error)
{
    *out = NULL;
    const uint64_t begun_ns = os_clock_ns();
    struct shard *shard = mem_alloc_zero(1, sizeof *shard);
    if (shard == NULL)
        return error_set_plain(error, OMEN_E_NO_MEMORY);
    shard->options = *options;
    shard->outside = outside;
    shard->process = os_process_id();
    epoch_init(&shard->gate);
    lock_init(&shard->builds);
    lock_init(&shard->upkeep);
    lock_init(&shard->writers);
    lock_init(&shard->queue.lock);
    lock_init(&shard->device_lock);
    readers_init(&shard->readers);
    filter_cache_init(&shard->filters, &shard->gate);
    tuning_init(&shard->tuning);
    atomic_init(&shard->kind, ID_KIND_NONE);
    atomic_init(&shard->is_anothers, false);
    atomic_init(&shard->compaction_due, 0);
    atomic_init(&shard->bulk_due, 0);
    atomic_init(&shard->bulk_after, 0);
    atomic_init(&shard->bulk_builds, 0);
    atomic_init(&shard->bulk_give_way, 0);
    atomic_init(&shard->bulk_bytes, 0);
    atomic_init(&shard->bulk_going, false);
    atomic_init(&shard->bulk_turns, 0);
    atomic_init(&shard->bulk_done, 0);
    atomic_init(&shard->bulk_rows, 0);
    atomic_init(&shard->closing, false);
    atomic_init(&shard->recall, -1.0);
    linkers_init(&shard->linkers, NULL, 1, 1); // anew when the options are known

    const omen_status status =
        options->path == NULL ? open_memory(shard, error) : open_file(shard, error);
    if (status != OMEN_OK) {
        shard_close(shard);
        return status;
    }
    shard->options.path = NULL; // it was borrowed
    shard->open_seconds = (double)(os_clock_ns() - begun_ns) * 1e-9;
    *out = shard;
    return OMEN_OK;
}

bool
shard_inherited(const struct shard *shard)
{
    return shard->process != os_process_id();
}

void
shard_close(struct shard *shard)
{
    if (shard == NULL)
        return;
    atomic_store_explicit(&shard->closing, true, memory_order_relaxed);
    shard_follow_stop(shard);
    keeper_close(shard->keeper);
    linkers_fini(&shard->linkers);
    const bool abandoned = shard->outside != NULL && shard->outside->abandoned;
    if (shard->keeper != NULL && !abandoned && checkpoint_worthwhile(shard)) {
        struct omen_error ignored; // the log has what the checkpoint would have had
        (void)!checkpoint(shard, &ignored);
    }
    shard_device_close(shard);
    epoch_wait(&shard->gate); // what is retired ends before what it belongs to
    generation_close(shard->target);
    shard_follow_end(shard);
    if (shard->journal != NULL)
        journal_close(shard->journal);
    mem_free(shard->journal);
    readers_fini(&shard->readers);
    filter_cache_fini(&shard->filters);
    tuning_fini(&shard->tuning);
    for (uint32_t i = 0; i < RENUMBERINGS_MAX; i++)
        mem_free(atomic_load(&shard->renumberings[i]));
    epoch_fini(&shard->gate);
    lock_fini(&shard->device_lock);
    lock_fini(&shard->queue.lock);
    lock_fini(&shard->writers);
    lock_fini(&shard->upkeep);
    lock_fini(&shard->builds);
    mem_free(shard);
}

struct range {
    const char *name;
    long long value, low, high;
};

static omen_status
check_options(const omen_options *options, struct omen_error *error)
{
    const struct range ranges[] = {
        {"metric", options->metric, OMEN_COSINE, OMEN_IP},
        {"algorithm", options->algorithm, OMEN_HNSW, OMEN_FLAT},
        {"quantization", options->quantization, OMEN_QUANTIZE_INT8, OMEN_QUANTIZE_NONE},
        {"m", options->m, 2, LINKS_PER_NODE_MAX},
        {"ef_construction", options->ef_construction, 8, BEAM_MAX},
        {"ef_search", options->ef_search, 1, BEAM_MAX},
        {"threads", options->threads, 0, THREADS_MAX},
        {"slots_max", options->slots_max, 1, SLOTS_MAX},
        {"durability", options->durability, OMEN_DURABLE_COMMIT, OMEN_DURABLE_INTERVAL},
    };
    if (options->dimension < 1 || options->dimension > VECTOR_DIM_MAX)
        return error_set(error, OMEN_E_DIMENSION, "dimension is %u; it must be 1..%u",
                         options->dimension, VECTOR_DIM_MAX);
    if (options->dtype < OMEN_F32 || options->dtype > OMEN_U8)
        return error_set(error, OMEN_E_DTYPE, "dtype is %d; there are 1 (f32) to 5 (u8)",
                         (int)options->dtype);
    for (size_t i = 0; i < sizeof ranges / sizeof ranges[0]; i++) {
        const struct range *range = &ranges[i];
        if (range->value < range->low || range->value > range->high)
            return error_set(error, OMEN_E_INVALID, "%s is %lld; it must be %lld..%lld",
                             range->name, range->value, range->low, range->high);
    }
    if (options->id_max > ID_MAX)
        return error_set(error, OMEN_E_INVALID, "id_max is above 2^63-1");
    if (options->target_recall != 0.0 &&
        !(options->target_recall >= 0.5 && options->target_recall <= 0.9999))
        return error_set(error, OMEN_E_INVALID,
                         "target_recall is %g; it must be 0 (unused) or 0.5..0.9999",
                         options->target_recall);
    return OMEN_OK;
}

struct hnsw_config
shard_index_config(const omen_options *options)
{
    return (struct hnsw_config){
        .dim = options->dimension,
        .slots_max = options->slots_max,
        .links = (uint16_t)options->m,
        .build_beam = (uint16_t)options->ef_construction,
        .metric = (enum metric)options->metric,
        .type = (enum vector_type)options->dtype,
        .quantization =
            options->quantization == OMEN_QUANTIZE_NONE ? HNSW_QUANTIZE_NONE : HNSW_QUANTIZE_INT8,
        .flat = options->algorithm == OMEN_FLAT,
        .seed = options->seed,
    };
}

// What follows from the options, when they are known.
static void
settle_options(struct shard *shard)
{
    const omen_options *options = &shard->options;
    shard->row_bytes =
        (size_t)options->dimension * vector_type_bytes((enum vector_type)options->dtype);
    atomic_init(&shard->ef, options->ef_search);
    atomic_init(&shard->aims, options->target_recall != 0.0);
}

static void
take(struct shard *shard, const struct loaded *loaded)
{
    struct generation *generation = loaded->generation;
    shard->target = generation;
    shard->next_id = loaded->head.next_id;
    shard->mark = loaded->head.mark;
    atomic_store(&shard->kind, loaded->head.kind);
    atomic_store(&shard->is_anothers,
                 loaded->head.mark.hosted != 0 && loaded->head.mark.let_go == 0);
}

static void
begin(struct shard *shard)
{
    struct generation *generation = shard->target;
    atomic_store_explicit(&shard->generation, generation, memory_order_release);
    linkers_init(&shard->linkers, generation->hnsw, shard->options.threads,
                 shard->options.ef_construction);
    linkers_spare(&shard->linkers, shard_spare, shard);
}

static omen_status
open_memory(struct shard *shard, struct omen_error *error)
{
    struct loaded loaded;
    omen_status status = check_options(&shard->options, error);
    if (status != OMEN_OK)
        return status;
    settle_options(shard);
    status = checkpoint_none(shard, &loaded);
    if (status != OMEN_OK)
        return error_set_plain(error, status);
    take(shard, &loaded);
    shard->applied_seq = GENERATION_VERSION_FIRST; // where the log of a copy goes on
    begin(shard);
    return OMEN_OK;
}

// ---- a file ----

// The file's options against those asked for; what was not asked for is taken.
static omen_status
adopt(omen_options *options, const struct journal_options *kept, struct omen_error *error)
{
    const struct {
        const char *name;
        uint64_t asked, is;
    } fixed[] = {
        {"dimension", options->dimension, kept->dimension},
        {"metric", options->metric, kept->metric},
        {"dtype", options->dtype, kept->dtype},
        {"algorithm", options->algorithm, kept->algorithm},
        {"quantization", options->quantization, kept->quantization},
        {"m", options->m, kept->m},
        {"ef_construction", options->ef_construction, kept->ef_construction},
        {"slots_max", options->slots_max, kept->slots_max},
        {"id_max", options->id_max, kept->id_max},
    };
    for (size_t i = 0; i < sizeof fixed / sizeof fixed[0] && options->dimension != 0; i++)
        if (fixed[i].asked != fixed[i].is)
            return error_set(error, OMEN_E_INVALID, "%s is %llu, but the file's is %llu",
                             fixed[i].name, (unsigned long long)fixed[i].asked,
                             (unsigned long long)fixed[i].is);
    options->dimension = kept->dimension;
    options->metric = (omen_metric)kept->metric;
    options->dtype = (omen_dtype)kept->dtype;
    options->algorithm = (omen_algorithm)kept->algorithm;
    options->quantization = (omen_quantization)kept->quantization;
    options->m = kept->m;
    options->ef_construction = kept->ef_construction;
    options->slots_max = kept->slots_max;
    options->id_max = kept->id_max;
    options->seed = kept->seed;
    return check_options(options, error);
}

struct journal_options
shard_options_to_keep(const omen_options *options)
{
    return (struct journal_options){
        .bytes = sizeof(struct journal_options),
        .dimension = options->dimension,
        .metric = options->metric,
        .dtype = options->dtype,
        .algorithm = options->algorithm,
        .quantization = options->quantization,
        .m = options->m,
        .ef_construction = options->ef_construction,
        .slots_max = options->slots_max,
        .seed = options->seed,
        .id_max = options->id_max,
    };
}

// Names the path in whatever goes wrong with it, once.
static omen_status
blame(const omen_options *options, omen_status status, struct omen_error *error)
{
    return status == OMEN_OK || options->path[0] == '\0'
               ? status
               : error_about(error, status, options->path);
}

static omen_status
apply_log(struct shard *shard, struct kv_txn *txn, const struct manifest *manifest,
          struct omen_error *error)
{
    if (manifest->checkpoint != 0 && fields_count(shard->target->fields) > 0) {
        // Payloads in the blocks may be newer than the checkpoint's field indexes; the log says which.
        const omen_status forgotten = read_log(shard, txn, shard_forget, error);
        if (forgotten != OMEN_OK)
            return forgotten;
    }
    return shard_catch_up(shard, txn, error);
}

omen_status
shard_load(struct shard *shard, struct kv_txn *txn, const struct manifest *manifest,
           struct omen_error *error)
{
    struct loaded loaded;
    const omen_status status = manifest->checkpoint == 0
                                   ? checkpoint_none(shard, &loaded)
                                   : checkpoint_load(shard, txn, manifest, &loaded, error);
    if (status != OMEN_OK)
        return manifest->checkpoint == 0 ? error_set_plain(error, status) : status;
    take(shard, &loaded);
    shard->applied_seq = manifest->seq;
    struct heads heads;
    heads_begin(&heads, loaded.blocks);
    const omen_status applied = apply_log(shard, txn, manifest, error);
    struct omen_error found;
    const omen_status sound = heads_end(&heads, &found);
    if (sound != OMEN_OK && error != NULL)
        *error = found; // and whatever became of the log may come of it
    return sound != OMEN_OK ? sound : applied;
}

// Hands every entry behind applied_seq, as it is now, to fn.
static omen_status
read_log(struct shard *shard, struct kv_txn *txn,
         omen_status (*fn)(struct shard *, const struct log_entry *, struct omen_error *),
         struct omen_error *error)
{
    struct log_reader *reader;
    struct log_entry entry;
    omen_status status = log_reader_open(txn, TABLE_LOG, shard->applied_seq, &reader, error);
    while (status == OMEN_OK) {
        status = log_reader_next(reader, &entry, error);
        if (status == OMEN_OK)
            status = fn(shard, &entry, error);
    }
    log_reader_close(reader);
    return status == OMEN_E_NOT_FOUND ? OMEN_OK : status;
}

omen_status
shard_catch_up(struct shard *shard, struct kv_txn *txn, struct omen_error *error)
{
    return read_log(shard, txn, shard_replay, error);
}

// The journal of the file, and the options that it says; shard->journal is there also on failure if it could be opened.
static omen_status
open_journal(struct shard *shard, struct omen_error *error)
{
    omen_options *options = &shard->options;
    struct journal_options kept;
    omen_status status = options->dimension != 0 ? check_options(options, error) : OMEN_OK;
    if (status != OMEN_OK)
        return status;
    struct journal *journal = mem_alloc_zero(1, sizeof *journal);
    if (journal == NULL)
        return error_set_plain(error, OMEN_E_NO_MEMORY);
    const struct journal_options wanted = shard_options_to_keep(options);
    status = journal_open(journal, options, &wanted, &kept, error);
    if (status != OMEN_OK) {
        mem_free(journal);
        return blame(options, status, error);
    }
    shard->journal = journal;
    status = adopt(options, &kept, error);
    if (status != OMEN_OK)
        return blame(options, status, error);
    settle_options(shard);
    return OMEN_OK;
}

static omen_status
load_rows(struct shard *shard, struct omen_error *error)
{
    struct kv_txn *txn;
    omen_status status = kv_begin_read(shard->journal->kv, &txn, error);
    if (status != OMEN_OK)
        return status;
    lock_acquire(&shard->writers);
    status = shard_load(shard, txn, &shard->journal->manifest, error);
    if (status == OMEN_OK)
        shard->rows_seen = hnsw_count(shard->target->hnsw);
    lock_release(&shard->writers);
    kv_abort(txn);
    return status;
}

static omen_status
open_file(struct shard *shard, struct omen_error *error)
{
    omen_options *options = &shard->options;
    omen_status status = open_journal(shard, error);
    if (status != OMEN_OK)
        return status;
    if (options->read_only != 0)
        return blame(options, shard_follow_begin(shard, error), error);
    status = load_rows(shard, error);
    if (status != OMEN_OK)
        return blame(options, status, error);

    begin(shard);
    if (options->algorithm == OMEN_HNSW && hnsw_founded(shard->target->hnsw)) {
        if (options->threads != 1) { // else a writer would link, and none is here
            lock_acquire(&shard->writers);
            bulk_when_due(shard);
            lock_release(&shard->writers);
        }
        status = linkers_reserve(&shard->linkers);
    }
    if (status == OMEN_OK)
        status = keeper_open(shard, &shard->keeper);
    if (status != OMEN_OK)
        return error_set_plain(error, status);
    if (linkers_have_workers(&shard->linkers))
        linkers_wake(&shard->linkers);
    return OMEN_OK;
}
