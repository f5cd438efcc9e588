// shard/hosted.c -- a shard whose log is its host's: made, opened, closed, looked after.
//
// Shape: handle.
#include "base/alloc.h"
#include "shard/checkpoint.h"
#include "shard/hosted_int.h"
#include "shard/journal.h"
#include "shard/shard_log.h"
#include "storage/parcel.h"

// A node has hundreds of shards, of which each looks after itself so often; what is urgent wakes its keeper.
#define LOOK_MS 5000u

static omen_status settle(struct hosted *hosted, const struct hosted_options *options,
                          struct omen_error *error);

static struct hosted_mark
mark_of(const struct hosted_options *options)
{
    struct hosted_mark mark = {.hosted = 1, .seq = options->base_seq, .last = UINT64_MAX};
    if (options->last != 0) {
        mark.first = options->first;
        mark.last = options->last;
    }
    return mark;
}

omen_status
hosted_make(const struct hosted_options *options, struct omen_error *error)
{
    omen_options wanted = OMEN_OPTIONS_INIT;
    struct outside outside = {.mark = mark_of(options), .sums_known = true};
    struct shard *shard;
    wanted.dimension = options->dimension;
    wanted.metric = (omen_metric)options->metric;
    wanted.dtype = (omen_dtype)options->dtype;
    wanted.quantization = (omen_quantization)options->quantization;
    wanted.threads = 1;
    if (options->m != 0)
        wanted.m = options->m;
    if (options->ef_construction != 0)
        wanted.ef_construction = options->ef_construction;
    if (sums_open(&outside.sums) != OMEN_OK)
        return error_set_plain(error, OMEN_E_NO_MEMORY);
    // In memory, and then copied: so it is there as a whole or not at all.
    omen_status status = shard_open_outside(&wanted, &outside, &shard, error);
    if (status == OMEN_OK) {
        shard->applied_seq = options->base_seq;
        status = shard_copy(shard, options->path, error);
        shard_close(shard);
    }
    sums_close(outside.sums);
    return status;
}

omen_status
hosted_open(const struct hosted_options *options, struct hosted **out, struct omen_error *error)
{
    omen_options wanted = OMEN_OPTIONS_INIT;
    *out = NULL;
    struct hosted *hosted = mem_alloc_zero(1, sizeof *hosted);
    if (hosted == NULL)
        return error_set_plain(error, OMEN_E_NO_MEMORY);
    hosted_builds_init(hosted);
    wanted.path = options->path;
    wanted.dimension = 0;
    wanted.threads = options->threads;
    wanted.interval_ms = LOOK_MS;
    omen_status status = sums_open(&hosted->outside.sums);
    if (status == OMEN_OK)
        status = parcel_repair(options->path, error); // of one that was being installed
    if (status == OMEN_OK)
        status = shard_open_outside(&wanted, &hosted->outside, &hosted->shard, error);
    if (hosted->outside.sums == NULL)
        (void)error_set_plain(error, status);
    if (status == OMEN_OK)
        status = graft_record_load(hosted->shard, &hosted->builds.record, error);
    if (status == OMEN_OK)
        status = settle(hosted, options, error);
    if (status == OMEN_OK)
        *out = hosted;
    else
        hosted_abandon(hosted);
    return status;
}

void
hosted_close(struct hosted *hosted)
{
    if (hosted == NULL)
        return;
    hosted_builds_fini(hosted);
    shard_close(hosted->shard);
    sums_close(hosted->outside.sums);
    mem_free(hosted);
}

void
hosted_abandon(struct hosted *hosted)
{
    if (hosted != NULL)
        hosted->outside.abandoned = true;
    hosted_close(hosted);
}

// What the file says, against what is wanted of it.
static omen_status
check_mark(const struct shard *shard, const struct hosted_options *options,
           struct omen_error *error)
{
    const struct hosted_mark *mark = &shard->mark;
    const struct hosted_mark wanted = mark_of(options);
    if (mark->hosted == 0)
        return OMEN_OK;
    if (mark->seq != shard->applied_seq && !options->adopt)
        return error_set(error, OMEN_E_CONFLICT,
                         "%s: its host left it at entry %llu, and an embedded index has written to "
                         "it since, up to %llu",
                         options->path, (unsigned long long)mark->seq,
                         (unsigned long long)shard->applied_seq);
    if (options->last != 0 && (mark->first != wanted.first || mark->last != wanted.last))
        return error_set(error, OMEN_E_CONFLICT,
                         "%s: it answers for hashes %016llx to %016llx, not %016llx to %016llx",
                         options->path, (unsigned long long)mark->first,
                         (unsigned long long)mark->last, (unsigned long long)wanted.first,
                         (unsigned long long)wanted.last);
    return OMEN_OK;
}

static omen_status
settle(struct hosted *hosted, const struct hosted_options *options, struct omen_error *error)
{
    struct shard *shard = hosted->shard;
    struct outside *outside = &hosted->outside;
    omen_status status = check_mark(shard, options, error);
    if (status != OMEN_OK)
        return status;
    lock_acquire(&shard->writers);
    outside->mark = shard->mark;
    outside->mark.let_go = 0;
    // What the file's own log did is not in the sums that the checkpoint had.
    if (!outside->sums_known || shard->journal->manifest.seq != shard->applied_seq) {
        status = outside_compute_sums(shard, outside->sums);
        outside->sums_known = status == OMEN_OK;
    }
    atomic_store(&outside->durable_seq, shard->applied_seq);
    atomic_store(&hosted->applied_seq, shard->applied_seq);
    lock_release(&shard->writers);
    if (status != OMEN_OK)
        return error_set_plain(error, status);
    const struct hosted_mark mark = mark_of(options);
    if (shard->mark.hosted == 0)
        return hosted_narrow(hosted, &mark, error);
    return shard->mark.let_go != 0 ? hosted_checkpoint(hosted, error) : OMEN_OK;
}

omen_status
hosted_narrow(struct hosted *hosted, const struct hosted_mark *mark, struct omen_error *error)
{
    struct shard *shard = hosted->shard;
    size_t erased = 0;
    lock_acquire(&shard->writers);
    hosted->outside.mark = *mark;
    const struct generation *generation = shard->target;
    const uint32_t rows = hnsw_count(generation->hnsw);
    for (uint32_t slot = 0; slot < rows; slot++) {
        const uint64_t key = idmap_id(generation->ids, slot);
        if (hnsw_erased(generation->hnsw, slot))
            continue;
        const uint64_t hash = outside_id_hash(shard, key);
        if (hosted_covers(mark, hash))
            continue;
        const struct hosted_sum term = outside_row_term(shard, slot, hash);
        sums_add(hosted->outside.sums, hash, sum_minus((struct hosted_sum){0}, term));
        shard_replay_delete(shard,
                            &(struct op_rows){.kind = ID_KIND_INTEGER, .count = 1, .ids = &key});
        erased++;
    }
    lock_release(&shard->writers);
    return erased > 0 ? hosted_compact(hosted, error) : hosted_checkpoint(hosted, error);
}

uint64_t
hosted_applied(struct hosted *hosted)
{
    return atomic_load_explicit(&hosted->applied_seq, memory_order_acquire);
}

uint64_t
hosted_points(struct hosted *hosted)
{
    struct omen_error error;
    uint64_t count = 0;
    return shard_count(hosted->shard, NULL, &count, &error) == OMEN_OK ? count : 0;
}

uint64_t
hosted_file_bytes(struct hosted *hosted)
{
    struct omen_error error;
    struct kv_usage usage;
    return kv_usage(hosted->shard->journal->kv, &usage, &error) == OMEN_OK ? usage.file_bytes : 0;
}

uint64_t
hosted_memory_bytes(struct hosted *hosted)
{
    omen_statistics stats;
    shard_stats(hosted->shard, &stats);
    return shard_stats_memory(&stats);
}

uint64_t
hosted_durable(struct hosted *hosted)
{
    return atomic_load_explicit(&hosted->outside.durable_seq, memory_order_acquire);
}

struct shard *
hosted_shard(struct hosted *hosted)
{
    return hosted->shard;
}

void
hosted_range(struct hosted *hosted, uint64_t *first, uint64_t *last)
{
    *first = hosted->outside.mark.first;
    *last = hosted->outside.mark.last;
}

uint64_t
hosted_version(struct hosted *hosted, uint64_t id)
{
    struct shard *shard = hosted->shard;
    const uint32_t ticket = epoch_enter(&shard->gate);
    const struct generation *generation = shard_generation(shard);
    const uint32_t slot = idmap_find(generation->ids, id);
    const uint64_t version = slot != IDMAP_NONE ? generation_row_version(generation, slot) : 0;
    epoch_leave(&shard->gate, ticket);
    return version;
}

struct hosted_sum
hosted_sum(struct hosted *hosted)
{
    return sums_root(hosted->outside.sums);
}

struct hosted_sum
hosted_sum_at(struct hosted *hosted, uint64_t *seq)
{
    lock_acquire(&hosted->shard->writers);
    const struct hosted_sum sum = sums_root(hosted->outside.sums);
    *seq = hosted->shard->applied_seq;
    lock_release(&hosted->shard->writers);
    return sum;
}

void
hosted_buckets(struct hosted *hosted, uint32_t first, uint32_t count, struct hosted_sum *out)
{
    sums_buckets(hosted->outside.sums, first, count, out);
}

omen_status
hosted_checkpoint(struct hosted *hosted, struct omen_error *error)
{
    return checkpoint(hosted->shard, error);
}

omen_status
hosted_compact(struct hosted *hosted, struct omen_error *error)
{
    return shard_compact(hosted->shard, error);
}

static omen_status
verify_sums(struct hosted *hosted, struct sums *fresh, struct omen_error *error)
{
    struct hosted_sum *held = mem_alloc(2 * SUMS_BUCKETS * sizeof *held);
    if (held == NULL)
        return error_set_plain(error, OMEN_E_NO_MEMORY);
    struct hosted_sum *right = held + SUMS_BUCKETS;
    lock_acquire(&hosted->shard->writers);
    omen_status status = outside_compute_sums(hosted->shard, fresh);
    sums_buckets(hosted->outside.sums, 0, SUMS_BUCKETS, held);
    sums_buckets(fresh, 0, SUMS_BUCKETS, right);
    lock_release(&hosted->shard->writers);
    for (uint32_t i = 0; i < SUMS_BUCKETS && status == OMEN_OK; i++)
        if (!sum_equal(held[i], right[i]))
            status = error_set(error, OMEN_E_CORRUPT,
                               "the sum of bucket %u is not that of its points", i);
    mem_free(held);
    return status;
}

omen_status
hosted_verify(struct hosted *hosted, struct omen_error *error)
{
    struct sums *fresh;
    omen_status status = shard_verify(hosted->shard, error);
    if (status != OMEN_OK)
        return status;
    if (sums_open(&fresh) != OMEN_OK)
        return error_set_plain(error, OMEN_E_NO_MEMORY);
    status = verify_sums(hosted, fresh, error);
    sums_close(fresh);
    return status;
}
