// shard/hosted_int.h -- what the files of a hosted shard share.
//
// Shape: handle; private to shard/hosted*.c.
#ifndef OMEN_SHARD_HOSTED_INT_H
#define OMEN_SHARD_HOSTED_INT_H
#include <string.h>

#include "base/hash.h"
#include "shard/graft.h"
#include "shard/hosted.h"
#include "shard/op.h"
#include "shard/outside.h"

// A build elsewhere (hosted_build.c); everything is under the lock.
struct hosted_builds {
    struct lock lock;
    uint64_t attempt; // 0: none is under way
    uint64_t used_ns;
    // The rows that were frozen, of this generation.
    uint32_t number, rows;
    uint32_t *slots;
    uint64_t seq;
    struct ship_shape shape;
    struct scratch *scratch;
    struct built_graph graph; // what has come of it
    struct graft_record record;
};

struct hosted {
    struct shard *shard;
    struct hosted_builds builds;
    struct outside outside;
    _Atomic uint64_t applied_seq;
};

static inline bool
hosted_covers(const struct hosted_mark *mark, uint64_t id_hash)
{
    return id_hash >= mark->first && id_hash <= mark->last;
}

// The hash of a row's id.
static inline uint64_t
hosted_row_hash(const struct op_rows *rows, size_t i)
{
    return rows->kind == ID_KIND_TEXT ? hash_id_text(rows->texts[i], strlen(rows->texts[i]))
                                      : hash_id_u64(rows->ids[i]);
}

void hosted_builds_init(struct hosted *hosted);
void hosted_builds_fini(struct hosted *hosted); // before the shard is closed

// From now on it answers for the hashes of `mark`: other points are taken away. Durable. By who opened it, before anybody else
// has it.
OMEN_MUST_CHECK omen_status hosted_narrow(struct hosted *hosted, const struct hosted_mark *mark,
                                          struct omen_error *error);

// Whether ids repeat: *second is the first row whose id came before, in *first. OMEN_OK: none does.
struct hosted_twins {
    const struct op_rows *rows;
    uint32_t *table; // place -> row + 1
    size_t room;
};
OMEN_MUST_CHECK omen_status hosted_twins_init(struct hosted_twins *twins,
                                              const struct op_rows *rows);
void hosted_twins_fini(struct hosted_twins *twins);
// The row that came before with this row's id, or SIZE_MAX; notes the row. Rows in their order.
size_t hosted_twin(struct hosted_twins *twins, size_t row, uint64_t id_hash);

// Fills *error with "row 3: id 7 exists already".
omen_status hosted_refuse(const struct op_rows *rows, size_t row, omen_status status,
                          const char *what, struct omen_error *error);

// ---- hosted_change.c: one OP_CHANGE. Under `writers`; shard->applied_seq is the entry's ----
// On failure nothing changed; OMEN_E_BUSY: slots of deleted rows have to be given back first. *erased: rows that are dead now.
OMEN_MUST_CHECK omen_status hosted_change(struct hosted *hosted, const struct op_change *change,
                                          struct hosted_result *result, size_t *erased,
                                          struct omen_error *error);
#endif
