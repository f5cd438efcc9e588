// shard/hosted.h -- a shard whose log is its host's: what a replica applies.
//
// Shape:   handle, durable.
// Threads: prepare, sums and reads (hosted_shard) from any thread; apply, snapshots, install and upkeep as said. hosted_close last.
// Errors:  a status, and in *error (never NULL here) what exactly was wrong.
//
// The file is an ordinary one: an embedded index can open the folder, and the file of an embedded index can become a copy's. But a copy
// that an embedded index has written to is no copy any more, and is refused. Entries are numbered by the host from 1 without
// a gap; what is applied is in memory, and a checkpoint of its own accord, about every second or 64 MiB of entries, says up to
// where it is durable: behind that the host applies again after a restart. A point's version is the number of the entry that
// changed it last. docs/internals/storage.md: a log that is elsewhere.
#ifndef OMEN_SHARD_HOSTED_H
#define OMEN_SHARD_HOSTED_H
#include "shard/shard.h"
#include "shard/sums.h"

#define HOSTED_OP_BYTES_MAX ((size_t)8 << 20) // of an entry
#define HOSTED_PART_POINTS 16384u // of a filter, deleted by one entry; an eighth patched

struct hosted; // opaque

struct hosted_options {
    const char *path; // of its folder; borrowed for the call
    // What the index is; not looked at by hosted_open, which takes what the file says.
    uint32_t dimension;
    uint8_t metric, dtype, quantization; // as omen_options
    uint32_t m, ef_construction;         // 0: the default
    uint64_t first, last; // hashes of ids that it answers for. last 0: all, or as the file says
    // hosted_make: the number before its first entry; 0 but for tests and the log of another.
    uint64_t base_seq;
    uint32_t threads; // that link; 0: one per core
    // hosted_open: what an embedded index has written since counts as applied. For who takes the file over as it is.
    bool adopt;
};

// A new one without points, durable. OMEN_E_EXISTS where something is.
OMEN_MUST_CHECK omen_status hosted_make(const struct hosted_options *options,
                                        struct omen_error *error);
// OMEN_E_NOT_FOUND: there is none. OMEN_E_CONFLICT: an embedded index has written to it, or it answers for other hashes.
OMEN_MUST_CHECK omen_status hosted_open(const struct hosted_options *options, struct hosted **out,
                                        struct omen_error *error);
void hosted_close(struct hosted *hosted);   // accepts NULL; after a last checkpoint
void hosted_abandon(struct hosted *hosted); // without it, as if the process had been killed

uint64_t hosted_applied(struct hosted *hosted); // the last entry, in memory
uint64_t hosted_durable(
    struct hosted *hosted); // what a restart would find: the log may be trimmed up to here
uint64_t hosted_points(struct hosted *hosted);     // that are there; 0 where nobody can read
uint64_t hosted_file_bytes(struct hosted *hosted); // the same of its file
// That it has; what links stands still for it, for as long as a row takes.
uint64_t hosted_memory_bytes(struct hosted *hosted);
// For reads through shard/shard.h; what changes it is refused there.
struct shard *hosted_shard(struct hosted *hosted);
void hosted_range(struct hosted *hosted, uint64_t *first, uint64_t *last);
// Of the point's last change; 0: it is not there.
uint64_t hosted_version(struct hosted *hosted, uint64_t id);

// ---- writing, at the primary ----

enum hosted_kind {
    HOSTED_UPSERT = 1,
    HOSTED_INSERT,   // of points that are there: failed rows, EXISTS
    HOSTED_UPDATE,   // of points that are not: NOT_FOUND
    HOSTED_PAYLOADS, // whole payloads of points that are there
    HOSTED_PATCH,    // keys of payloads of points that are there
    HOSTED_DELETE,
    HOSTED_FIELD,      // a field index
    HOSTED_FIELD_DROP, // is given up; NOT_FOUND where there is none
};

struct hosted_ask {
    enum hosted_kind kind;
    size_t count;             // of ids
    const uint64_t *ids;      // or
    const char *const *texts; // with
    const size_t *text_bytes; // or NULL: NUL-terminated
    const void *vectors;      // UPSERT, INSERT, UPDATE
    omen_dtype dtype;
    size_t stride;               // 0: dense
    const void *const *payloads; // per row one or NULL; NULL: none
    const size_t *payload_bytes;
    const uint64_t *if_versions; // NULL, or per row as in omen_batch
    // PATCH and DELETE: instead of ids; the points that it lets through now, a part at a time, and only while they
    // have the version that they have now
    const char *filter;     // NUL-terminated, or
    const void *filter_map; // msgpack
    size_t filter_map_bytes;
    uint64_t cursor; // 0 at first, then that of the part before
    // PATCH
    const void *set; // a msgpack map, or NULL
    size_t set_bytes;
    const char *const *unset; // names of keys
    const size_t *unset_bytes;
    size_t unset_count;
    // FIELD, FIELD_DROP
    const char *field; // NUL-terminated
    int field_type;    // FIELD
};

// An entry's bytes, for the log.
struct hosted_bytes {
    void *bytes; // NULL: there is nothing to do
    size_t count;
    size_t rows;
    uint64_t cursor; // of a filter: of the next part; UINT64_MAX: this is the last
};
void hosted_bytes_fini(struct hosted_bytes *bytes);

// Refuses what can be refused without knowing what will have been applied before, and packs the rest. Nothing changes.
OMEN_MUST_CHECK omen_status hosted_prepare(struct hosted *hosted, const struct hosted_ask *ask,
                                           struct hosted_bytes *out, struct omen_error *error);

// ---- on every copy, in the order of the log ----

struct hosted_entry {
    uint64_t seq; // hosted_applied + 1, + 2, ...
    const void *bytes;
    size_t count; // 0: one of the host's own (the begin of a term, a checksum)
};

struct hosted_failed {
    uint32_t row; // of the entry
    struct omen_error error;
};

// What became of one entry. Points outside of first..last are in neither count.
struct hosted_result {
    uint64_t seq;
    struct omen_error error; // status OMEN_OK, or why nothing of it was done: by all copies alike
    uint32_t rows;           // written, patched or deleted
    uint32_t failed_count;   // whose conditions did not hold, or that do not fit; the rest was done
    struct hosted_failed *failed;
};
struct hosted_results {
    struct hosted_result *entries; // of those that were applied
    uint32_t count;
};
void hosted_results_fini(struct hosted_results *results); // accepts zeros

// Each entry is applied whole or, where this fails, not at all: what came before it is (hosted_applied says), and the rest can
// be given again. OMEN_E_NO_MEMORY: memory was short. OMEN_E_VERSION: a newer version must go on. `results` may be NULL. By one
// thread at a time.
struct hosted_entries {
    const struct hosted_entry *entries;
    uint32_t count;
};
OMEN_MUST_CHECK omen_status hosted_apply(struct hosted *hosted,
                                         const struct hosted_entries *entries,
                                         struct hosted_results *results, struct omen_error *error);

// ---- sums (shard/sums.h), as of hosted_applied; beside apply they are of some entry near it ----
struct hosted_sum hosted_sum(struct hosted *hosted);
// Of everything through entry *seq, exactly; an entry that is being applied is waited for.
struct hosted_sum hosted_sum_at(struct hosted *hosted, uint64_t *seq);
void hosted_buckets(struct hosted *hosted, uint32_t first, uint32_t count, struct hosted_sum *out);

// ---- upkeep ----
OMEN_MUST_CHECK omen_status hosted_checkpoint(struct hosted *hosted, struct omen_error *error);
// Numberings of slots differ between copies afterwards; nothing else does.
OMEN_MUST_CHECK omen_status hosted_compact(struct hosted *hosted, struct omen_error *error);
// Everything, and that the sums are those of what is there. Applying waits.
OMEN_MUST_CHECK omen_status hosted_verify(struct hosted *hosted, struct omen_error *error);

#endif
