// shard/outside.c -- what a shard has whose log is its host's.
//
// Shape: handle.
#include "shard/outside.h"

#include <string.h>

#include "base/alloc.h"
#include "base/hash.h"
#include "base/os_clock.h"
#include "base/os_wait.h"

#define DUE_BYTES ((uint64_t)64 << 20)
#define DUE_NS 1000000000ull
#define DUE_COST 19u // times what the last one took: so they take a twentieth of the time at most
#define BEHIND 2u    // times DUE_BYTES

bool
outside_due(struct outside *outside)
{
    const uint64_t bytes = atomic_load_explicit(&outside->bytes, memory_order_relaxed);
    if (bytes == 0)
        return false;
    const uint64_t cost_ns = atomic_load_explicit(&outside->cost_ns, memory_order_relaxed),
                   saved_ns = atomic_load_explicit(&outside->saved_ns, memory_order_relaxed);
    const uint64_t wait_ns = cost_ns * DUE_COST > DUE_NS ? cost_ns * DUE_COST : DUE_NS;
    return bytes >= DUE_BYTES || os_clock_ns() - saved_ns >= wait_ns;
}

void
outside_wait(struct outside *outside)
{
    while (atomic_load_explicit(&outside->bytes, memory_order_relaxed) >= BEHIND * DUE_BYTES &&
           atomic_load_explicit(&outside->saving, memory_order_acquire) != 0)
        os_wait(&outside->saving, 1);
}

// ---- sums ----

uint64_t
outside_id_hash_in(const struct shard *shard, const struct generation *generation, uint64_t key)
{
    if (atomic_load_explicit(&shard->kind, memory_order_relaxed) != ID_KIND_TEXT)
        return hash_id_u64(key);
    size_t bytes = 0;
    const char *text = names_text(generation->names, key, &bytes);
    return hash_id_text(text, bytes);
}

uint64_t
outside_id_hash(const struct shard *shard, uint64_t key)
{
    return outside_id_hash_in(shard, shard->target, key);
}

struct hosted_sum
outside_row_term(const struct shard *shard, uint32_t slot, uint64_t id_hash)
{
    const struct generation *generation = shard->target;
    struct sums_point point = {
        .id_hash = id_hash,
        .version = generation_row_version(generation, slot),
        .vector = hnsw_row(generation->hnsw, slot),
        .vector_bytes = shard->row_bytes,
    };
    point.payload = payloads_get(generation->payloads, slot, &point.payload_bytes);
    return sums_term(&point);
}

omen_status
outside_compute_sums(struct shard *shard, struct sums *sums)
{
    const struct generation *generation = shard->target;
    const uint32_t rows = hnsw_count(generation->hnsw);
    sums_clear(sums);
    for (uint32_t slot = 0; slot < rows; slot++) {
        if (hnsw_erased(generation->hnsw, slot))
            continue;
        const uint64_t hash = outside_id_hash(shard, idmap_id(generation->ids, slot));
        sums_add(sums, hash, outside_row_term(shard, slot, hash));
    }
    return OMEN_OK;
}

// ---- a checkpoint's part ----

static omen_status
hold(void *context, uint32_t array, uint32_t piece, const void *bytes, size_t count)
{
    struct outside_save *save = context;
    if (save->count == save->room) {
        const uint32_t room = save->room == 0 ? 64 : save->room * 2;
        struct blocks_late *pieces = mem_resize(save->pieces, room * sizeof *pieces);
        if (pieces == NULL)
            return OMEN_E_NO_MEMORY;
        save->pieces = pieces;
        save->room = room;
    }
    void *copy = NULL;
    if (count > 0) {
        copy = mem_alloc(count);
        if (copy == NULL)
            return OMEN_E_NO_MEMORY;
        memcpy(copy, bytes, count);
    }
    save->pieces[save->count++] =
        (struct blocks_late){.array = array, .piece = piece, .count = count, .bytes = copy};
    return OMEN_OK;
}

static omen_status
hold_drop(void *context, uint32_t array, uint32_t piece)
{
    return hold(context, array, piece, NULL, 0);
}

// Payload bytes are only added to a block that the last manifest knows, so that they may be there before the next: they come
// first. Places and versions may not, and no block goes that the last manifest's places lead to.
static bool
may_come_early(const struct blocks_late *piece)
{
    return piece->array == IMAGE_PAYLOADS && piece->count > 0;
}

static void
early_first(struct outside_save *save)
{
    for (uint32_t i = 0; i < save->count; i++) {
        if (!may_come_early(&save->pieces[i]))
            continue;
        const struct blocks_late piece = save->pieces[i];
        save->pieces[i] = save->pieces[save->next];
        save->pieces[save->next++] = piece;
    }
}

omen_status
outside_save_begin(struct shard *shard, uint32_t rows, struct outside_save *save)
{
    struct outside *outside = shard->outside;
    const struct image_sink sink = {.put = hold, .drop = hold_drop, .context = save};
    struct generation_saving at = {0};
    omen_status status = OMEN_OK;
    atomic_store_explicit(&outside->saving, 1, memory_order_release);
    *save = (struct outside_save){
        .bytes = atomic_load_explicit(&outside->bytes, memory_order_relaxed),
        .begun_ns = os_clock_ns(),
        .sums_known = outside->sums_known,
        .buckets = mem_alloc(SUMS_BUCKETS * sizeof *save->buckets),
    };
    if (save->buckets == NULL)
        return OMEN_E_NO_MEMORY;
    sums_buckets(outside->sums, 0, SUMS_BUCKETS, save->buckets);
    for (bool more = true; more && status == OMEN_OK;)
        status = generation_save_step(shard->target, rows, &at, &sink, &more);
    early_first(save);
    return status;
}

omen_status
outside_save_put(struct outside_save *save, const struct image_sink *sink)
{
    omen_status status = OMEN_OK;
    for (uint32_t i = 0; i < save->next && status == OMEN_OK; i++) {
        const struct blocks_late *piece = &save->pieces[i];
        status = sink->put(sink->context, piece->array, piece->piece, piece->bytes, piece->count);
    }
    if (status == OMEN_OK && save->sums_known)
        status = sums_put(save->buckets, sink);
    return status;
}

struct blocks_late_list
outside_save_late(const struct outside_save *save)
{
    const uint32_t count = save->count - save->next;
    return (struct blocks_late_list){.pieces = count > 0 ? &save->pieces[save->next] : NULL,
                                     .count = count};
}

void
outside_save_end(struct outside *outside, struct outside_save *save, uint64_t seq, bool saved)
{
    if (saved) {
        const uint64_t now_ns = os_clock_ns();
        atomic_fetch_sub_explicit(&outside->bytes, save->bytes, memory_order_relaxed);
        atomic_store_explicit(&outside->cost_ns, now_ns - save->begun_ns, memory_order_relaxed);
        atomic_store_explicit(&outside->saved_ns, now_ns, memory_order_relaxed);
        atomic_store_explicit(&outside->durable_seq, seq, memory_order_release);
    }
    atomic_store_explicit(&outside->saving, 0, memory_order_release);
    os_wake_all(&outside->saving);
    for (uint32_t i = 0; i < save->count; i++)
        mem_free((void *)(uintptr_t)save->pieces[i].bytes);
    mem_free(save->pieces);
    mem_free(save->buckets);
    *save = (struct outside_save){0};
}
