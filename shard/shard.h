// shard/shard.h -- one searchable shard, in memory or in a file: what include/omendb.h promises, with checked structs.
//
// Shape:   handle.
// Threads: every call from any thread at any time, shard_close last. Searches and reads take no lock; writes take
//          turns.
// Errors:  a status, and in *error (never NULL here) what exactly was wrong. A failed call changed nothing.
//
// Option structs are those of the public header, whole: shard/omendb.c has filled in what an older caller does not
// know. Pointers in them are borrowed for the call.
#ifndef OMEN_SHARD_SHARD_H
#define OMEN_SHARD_SHARD_H
#include "base/error.h"
#include "include/omendb.h"
#include "shard/points.h"

struct shard; // opaque

OMEN_MUST_CHECK omen_status shard_open(const omen_options *options, struct shard **out,
                                       struct omen_error *error);
void shard_close(struct shard *shard); // accepts NULL
// Whether it was opened before a fork: then its workers are not here, and what they held at that moment is held for good. So only
// what waits for nobody works: searches and reads.
bool shard_inherited(const struct shard *shard);

// ---- writing (shard_write.c, shard_erase.c) ----
OMEN_MUST_CHECK omen_status shard_add(struct shard *shard, const omen_batch *batch,
                                      struct omen_error *error);
OMEN_MUST_CHECK omen_status shard_upsert(struct shard *shard, const omen_batch *batch,
                                         struct omen_error *error);
OMEN_MUST_CHECK omen_status shard_set_payloads(struct shard *shard, const omen_batch *batch,
                                               struct omen_error *error);
OMEN_MUST_CHECK omen_status shard_delete(struct shard *shard, const uint64_t *ids, size_t count,
                                         size_t *deleted, struct omen_error *error);
OMEN_MUST_CHECK omen_status shard_delete_text(struct shard *shard, const char *const *ids,
                                              size_t count, size_t *deleted,
                                              struct omen_error *error);
OMEN_MUST_CHECK omen_status shard_delete_where(struct shard *shard, const char *filter,
                                               size_t *deleted, struct omen_error *error);
// OMEN_E_NOT_FOUND: the field has no index.
OMEN_MUST_CHECK omen_status shard_field_drop(struct shard *shard, const char *name,
                                             struct omen_error *error);
struct field_names; // shard/field_names.h
void shard_fields(struct shard *shard, struct field_names *out);
OMEN_MUST_CHECK omen_status shard_field_index(struct shard *shard, const char *name, int type,
                                              struct omen_error *error);

// ---- reading (shard_points.c) ----
OMEN_MUST_CHECK omen_status shard_id_text(struct shard *shard, uint64_t key, char *text,
                                          size_t capacity, struct omen_error *error);
OMEN_MUST_CHECK omen_status shard_id_key(struct shard *shard, const char *text, uint64_t *key,
                                         struct omen_error *error);
int shard_contains(struct shard *shard, uint64_t id);

struct id_list {
    const uint64_t *ids; // borrowed
    size_t count;
};
OMEN_MUST_CHECK omen_status shard_get(struct shard *shard, const struct id_list *ids, int with,
                                      struct points **out, struct omen_error *error);

struct scroll {
    const char *filter;     // NULL: all
    const void *filter_map; // or the dict form, as msgpack
    size_t filter_map_bytes;
    int with;
    size_t limit;
    uint64_t cursor; // in and out
    bool scanned;    // out: the filter had payloads looked at, for want of an index
};
OMEN_MUST_CHECK omen_status shard_scroll(struct shard *shard, struct scroll *scroll,
                                         struct points **out, struct omen_error *error);
OMEN_MUST_CHECK omen_status shard_count(struct shard *shard, const char *filter, uint64_t *count,
                                        struct omen_error *error);

// ---- searching (shard_read.c, shard_batch.c); options->report is filled ----
struct answer {
    uint64_t *ids;    // room for k
    float *distances; // room for k, or NULL
    uint32_t *found;  // or NULL: what is not found is filled with UINT64_MAX and infinity
};
OMEN_MUST_CHECK omen_status shard_query(struct shard *shard, const void *vector,
                                        const omen_query_options *options,
                                        const struct answer *answer, struct omen_error *error);
// Whether shard_query takes the query: it refuses what that would, by the same words, of options, filter and vector. Nothing is searched,
// counted or calibrated, and no row is asked whether the filter lets it through.
OMEN_MUST_CHECK omen_status shard_query_check(struct shard *shard, const void *vector,
                                              const omen_query_options *options,
                                              struct omen_error *error);
struct answers {
    uint64_t *ids;    // count x k
    float *distances; // or NULL
};
struct queries {
    const void *vectors;
    size_t count;
    // Whose workers help if they are idle; NULL: options->threads threads of its own.
    struct pool *pool;
};
OMEN_MUST_CHECK omen_status shard_query_batch(struct shard *shard, const struct queries *queries,
                                              const omen_query_options *options,
                                              const struct answers *answers,
                                              struct omen_error *error);
// shard_device.c: every row compared, on a GPU where options->backend says so, or is auto, there is one, and it is worth it.
OMEN_MUST_CHECK omen_status shard_knn_exact(struct shard *shard, const struct queries *queries,
                                            const omen_query_options *options,
                                            const struct answers *answers,
                                            struct omen_error *error);
OMEN_MUST_CHECK omen_status shard_range(struct shard *shard, const void *vector, float radius,
                                        const omen_query_options *options, struct points **out,
                                        struct omen_error *error);

// ---- recall (shard_recall.c) ----
OMEN_MUST_CHECK omen_status shard_measure_recall(struct shard *shard, uint32_t samples,
                                                 const omen_query_options *options,
                                                 omen_recall *out, struct omen_error *error);
OMEN_MUST_CHECK omen_status shard_calibrate(struct shard *shard, struct omen_error *error);

// ---- upkeep (shard.c, compact.c) ----
// For so long rows that come are not linked one by one but wait, compared exactly by every search, for a build of all at once; when there
// are too many of them, for one of what is there. Ends with that time and with a build.
void shard_hold(struct shard *shard, uint64_t for_ns);
// Has what is worth a build of all at once built by the workers. True: it is under way, or waits for one of them. Not of a follower.
bool shard_builds(struct shard *shard, uint64_t *linked, uint64_t *rows);
// Waits until everything is linked, helping; options NULL: by the CPU. options->report is whole.
OMEN_MUST_CHECK omen_status shard_build(struct shard *shard, const omen_build_options *options,
                                        struct omen_error *error);
// The same, and brings everything to the file.
OMEN_MUST_CHECK omen_status shard_flush(struct shard *shard, struct omen_error *error);
// A copy in another folder, which must be empty or not there.
OMEN_MUST_CHECK omen_status shard_copy(struct shard *shard, const char *path,
                                       struct omen_error *error);
OMEN_MUST_CHECK omen_status shard_compact(struct shard *shard, struct omen_error *error);
OMEN_MUST_CHECK omen_status shard_verify(struct shard *shard, struct omen_error *error);
OMEN_MUST_CHECK omen_status shard_set_ef(struct shard *shard, uint32_t ef,
                                         struct omen_error *error);
void shard_options(const struct shard *shard, omen_options *out); // as they are now; no path
void shard_stats(struct shard *shard, omen_statistics *out);      // leaves struct_size alone
// All memory that they tell of.
uint64_t shard_stats_memory(const omen_statistics *stats);

#endif
