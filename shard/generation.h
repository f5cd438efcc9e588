// shard/generation.h -- everything that is numbered by slots: one numbering of a shard.
//
// Shape:   handle, in memory.
// Threads: one writer (the shard's write lock); readers beside it inside the epoch gate, as the parts' headers say.
//
// Compaction builds the next generation beside this one and exchanges one pointer.
#ifndef OMEN_SHARD_GENERATION_H
#define OMEN_SHARD_GENERATION_H
#include <stdbool.h>
#include <stdint.h>

#include "base/bitmap.h"
#include "base/epoch.h"
#include "base/status.h"
#include "index/hnsw.h"
#include "shard/ahead.h"
#include "shard/fields.h"
#include "shard/idmap.h"
#include "shard/names.h"
#include "shard/payload.h"
#include "shard/versions.h"

struct generation {
    uint32_t number; // 0, 1, 2, ...
    uint32_t slots_max;
    struct hnsw *hnsw;
    struct idmap *ids;
    struct names *names; // of text ids; numbered by keys, so the next generation takes them over
    struct payloads *payloads;
    struct fields *fields;
    struct versions *versions; // of every row, with a log; else NULL
    struct kept *kept; // what fields are still to be read from, or NULL (shard/generation_disk.c)
    _Atomic uint64_t *dead; // a bit per slot: erased. What hnsw_erased says, by words
    size_t dead_bytes;      // of them usable
    struct ahead ahead;     // while the log is applied, or longer
};

// With its index only, which it takes also on failure; NULL without memory. For generation_open and generation_load.
struct generation *generation_new(struct hnsw *hnsw, uint32_t slots_max);
// Takes `hnsw` also on failure. `gate` is borrowed. The other parts are empty, and names are missing.
OMEN_MUST_CHECK omen_status generation_open(struct hnsw *hnsw, uint32_t slots_max,
                                            struct epoch *gate, struct generation **out);
void generation_close(struct generation *generation); // accepts NULL; no reader may be inside

// Makes room in the index and in `dead` for slots below `slots`, and for `added` more ids.
OMEN_MUST_CHECK omen_status generation_reserve(struct generation *generation, uint32_t slots,
                                               uint32_t added);
OMEN_MUST_CHECK omen_status generation_reserve_bits(struct generation *generation, uint32_t slots);

// Ends a row that no id leads to any more. Payload and fields go at once: readers that may still look at them must
// have left, or look whether the row is erased afterwards.
void generation_erase(struct generation *generation, uint32_t slot);

static inline bool
generation_is_dead(const struct generation *generation, uint32_t slot)
{
    return atomic_bit_test(generation->dead, slot);
}

// Of the row's last change; 0 when rows have none. What came out of memory into a file is older than all of its log.
#define GENERATION_VERSION_FIRST 1u
uint64_t generation_row_version(const struct generation *generation, uint32_t slot);
// Whether the point at `slot` (IDMAP_NONE: there is none) has the version that a write wants, 0 being "is not there". Where it has
// another, `words` get what to say behind the point's name.
#define GENERATION_VERSION_ANY UINT64_MAX
#define GENERATION_WORDS_BYTES 96u
bool generation_version_is(const struct generation *generation, uint32_t slot, uint64_t wanted,
                           char words[GENERATION_WORDS_BYTES]);
// From now on rows have versions. Before there are any.
OMEN_MUST_CHECK omen_status generation_version(struct generation *generation);

// ---- on disk (generation_disk.c) ----

// As it was saved with `rows` rows; takes `hnsw`, which was loaded from the same source, also on failure. *part says what was wrong.
struct generation_source {
    struct hnsw *hnsw;
    uint32_t slots_max, rows;
    const struct image_source *image;
};
OMEN_MUST_CHECK omen_status generation_load(const struct generation_source *source,
                                            struct epoch *gate, struct generation **out,
                                            const char **part);

// Puts the next piece of what changes in place, for the rows below `rows`; under the write lock, again and again with the
// same *at (zeros at first) until *more is false.
struct generation_saving {
    struct payloads_save payloads;
    struct versions_save versions;
    bool payloads_done;
};
OMEN_MUST_CHECK omen_status generation_save_step(struct generation *generation, uint32_t rows,
                                                 struct generation_saving *at,
                                                 const struct image_sink *sink, bool *more);
// All is to be saved, after a save that came to nothing, or that goes elsewhere. Under the write lock.
void generation_unsaved(struct generation *generation);

struct generation_memory {
    struct hnsw_memory hnsw;
    struct payload_memory payloads;
    uint64_t ids, fields, other;
};
void generation_memory(const struct generation *generation,
                       struct generation_memory *memory); // for the writer

#endif
