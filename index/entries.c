// index/entries.c -- where walks begin: a uniform sample of the linked rows.
//
// Shape: handle.
//
// A scan of about sqrt(N) / 2 sampled codes, which lie one behind the other, costs less than the walk down the upper levels
// of HNSW and leads as near (docs/decisions). It is a reservoir (Vitter 1985, algorithm R): while it grows, the new
// member is drawn from all linked rows; then the n-th linked row takes a random place with probability
// count / n. So the sample stays uniform while rows are added, and a row that is erased is replaced by another. Where none
// is found, it is left out: a walk that began among erased rows might never leave them. For the last one all rows are
// looked through, because without any entry nothing that lives would be found.
#include "base/alloc.h"
#include "base/prng.h"
#include "index/hnsw_int.h"

#define DRAWS_MAX 64u // for a live linked row; where most are dead, the sample shrinks for a while

static uint64_t
first_state(uint64_t seed)
{
    return mix64(seed ^ 0x656e7472696573ull);
}

omen_status
entries_init(struct entries *entries, size_t row_bytes, uint64_t seed)
{
    entries->codes_bytes = row_bytes * ENTRIES_MAX;
    entries->codes = pages_alloc_small(entries->codes_bytes);
    if (entries->codes == NULL)
        return OMEN_E_NO_MEMORY;
    entries->drawn = first_state(seed);
    lock_init(&entries->lock);
    return OMEN_OK;
}

void
entries_fini(struct entries *entries)
{
    if (entries->codes == NULL)
        return;
    pages_free(entries->codes, entries->codes_bytes);
    lock_fini(&entries->lock);
    entries->codes = NULL;
}

// How many of `rows` linked rows are sampled: half the square root, at least 32. Twice as many lead no nearer, and
// at 1M rows their scan would be a twentieth of a search.
static uint32_t
entries_wanted(uint32_t rows)
{
    uint32_t root = 32;
    while (root < ENTRIES_MAX && (uint64_t)root * root * 4 < rows)
        root += 32;
    return root < rows ? root : rows;
}

static void
entry_put(struct hnsw *hnsw, uint32_t place, uint32_t slot)
{
    struct entries *entries = &hnsw->entries;
    if (hnsw_kind(hnsw) == CODE_NIBBLE)
        memcpy(entries->codes + (size_t)place * hnsw->codec.row_bytes, arena_row(&hnsw->high, slot),
               hnsw->codec.row_bytes);
    atomic_store_explicit(&entries->slots[place], slot, memory_order_release);
}

// A linked live row drawn from all; HNSW_NONE after too many misses.
static uint32_t
draw_row(struct hnsw *hnsw)
{
    struct prng prng = {.state = hnsw->entries.drawn};
    const uint32_t rows = atomic_load_explicit(&hnsw->claimed, memory_order_relaxed);
    uint32_t found = HNSW_NONE;
    for (uint32_t i = 0; i < DRAWS_MAX && found == HNSW_NONE; i++) {
        const uint32_t slot = prng_below(&prng, rows);
        if (linked_alive(hnsw, slot))
            found = slot;
    }
    hnsw->entries.drawn = prng.state;
    return found;
}

// The first linked live row there is; HNSW_NONE when nothing lives.
static uint32_t
first_row(const struct hnsw *hnsw)
{
    const uint32_t words = bitmap_words(atomic_load_explicit(&hnsw->claimed, memory_order_relaxed));
    for (uint32_t word = 0; word < words; word++) {
        const uint64_t live = atomic_load_explicit(&hnsw->linked[word], memory_order_acquire) &
                              ~atomic_load_explicit(&hnsw->erased[word], memory_order_acquire);
        if (live != 0)
            return word * 64 + (uint32_t)__builtin_ctzll(live);
    }
    return HNSW_NONE;
}

// Where rows live and none of them was saved as an entry (all entries were of rows that are not linked any more), walks
// begin at the first.
void
entries_load(struct hnsw *hnsw, const uint32_t *slots, uint32_t count, uint64_t drawn)
{
    struct entries *entries = &hnsw->entries;
    lock_acquire(&entries->lock);
    for (uint32_t i = 0; i < count; i++)
        entry_put(hnsw, i, slots[i]);
    if (count == 0) {
        const uint32_t first = first_row(hnsw);
        if (first != HNSW_NONE)
            entry_put(hnsw, count++, first);
    }
    entries->drawn = drawn;
    atomic_store_explicit(&entries->count, count, memory_order_release);
    lock_release(&entries->lock);
}

// In place, one after the other: whoever scans them meanwhile has some of either sample. A row that was erased while the others
// were being made stays out, unless nothing else is there; who repairs it finds it.
//
// Draws begin anew from the seed. If they went on from where linkers have come to, walks of the same graph would begin elsewhere
// with each row that was linked before: at ef 16 that was 0.8 points of recall, of 8,200 rows under ip and 1,000 queries.
void
entries_draw(struct hnsw *hnsw, const uint32_t *slots, uint32_t count)
{
    struct entries *entries = &hnsw->entries;
    const uint32_t most = entries_wanted(count);
    lock_acquire(&entries->lock);
    struct prng prng = {.state = first_state(hnsw->config.seed)};
    uint32_t made = 0;
    for (uint32_t i = 0; i < most; i++) {
        // One of each part of the rows, so none comes twice.
        const uint32_t from = (uint32_t)((uint64_t)count * i / most);
        const uint32_t end = (uint32_t)((uint64_t)count * (i + 1) / most);
        const uint32_t row = i == 0 ? 0 : from + prng_below(&prng, end - from);
        const uint32_t slot = slots != NULL ? slots[row] : row;
        if (i == 0 || !atomic_bit_test(hnsw->erased, slot))
            entry_put(hnsw, made++, slot);
    }
    entries->drawn = prng.state;
    atomic_store_explicit(&entries->count, made, memory_order_release);
    lock_release(&entries->lock);
}

void
entries_note_linked(struct hnsw *hnsw, uint32_t slot, uint32_t nth)
{
    struct entries *entries = &hnsw->entries;
    lock_acquire(&entries->lock);
    const uint32_t count = atomic_load_explicit(&entries->count, memory_order_relaxed);
    // Asked under the lock: an erased row may have been repaired already, and then nobody would take it out again.
    // One that was erased before it was linked has no links besides: a walk that began there would end there.
    const bool live = !atomic_bit_test(hnsw->erased, slot);
    if (live && count < ENTRIES_MAX && count < entries_wanted(nth)) {
        const uint32_t drawn = count == 0 ? slot : draw_row(hnsw);
        entry_put(hnsw, count, drawn == HNSW_NONE ? slot : drawn);
        atomic_store_explicit(&entries->count, count + 1, memory_order_release);
    } else if (live) {
        struct prng prng = {.state = entries->drawn};
        const uint32_t place = prng_below(&prng, nth);
        entries->drawn = prng.state;
        if (place < count)
            entry_put(hnsw, place, slot);
    }
    lock_release(&entries->lock);
}

void
entries_note_erased(struct hnsw *hnsw, uint32_t slot)
{
    struct entries *entries = &hnsw->entries;
    lock_acquire(&entries->lock);
    uint32_t count = atomic_load_explicit(&entries->count, memory_order_relaxed);
    for (uint32_t i = 0; i < count; i++) {
        if (atomic_load_explicit(&entries->slots[i], memory_order_relaxed) != slot)
            continue;
        uint32_t drawn = draw_row(hnsw);
        if (drawn == HNSW_NONE && count == 1)
            drawn = first_row(hnsw);
        if (drawn != HNSW_NONE) {
            entry_put(hnsw, i, drawn);
            continue;
        }
        // The last one comes here; looked at again, for it may be the same row.
        entry_put(hnsw, i--, atomic_load_explicit(&entries->slots[--count], memory_order_relaxed));
        atomic_store_explicit(&entries->count, count, memory_order_release);
    }
    lock_release(&entries->lock);
}
