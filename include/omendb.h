/* omendb.h -- the embedded engine of OmenDB: one index in one process, no network.
 *
 * Threads:  every call may be made from any thread at any time, except omen_close, which must be the last
 *           call on its handle. Searches never wait for writers. Writers of one index take turns.
 * Forks:    a child may search and read what was open before the fork, as it was then; what writes, waits or counts is
 *           OMEN_E_INVALID there, and omen_close does nothing.
 * Errors:   0 or a negative omen_status. omen_error_message() describes the calling thread's last failure.
 *           A call that fails has changed nothing, unless its comment says otherwise.
 * Memory:   vectors, ids and payloads that go in are borrowed for the call. What comes out goes to buffers
 *           of the caller or to an object that the caller frees, as said at each call.
 * Structs:  every option struct begins with struct_size; start from its _INIT macro, so that a program
 *           built with an older header keeps working with a newer library.
 * Distances: l2 is the squared distance, ip is 1 - <q,x>, cosine is 1 - cos(q,x). Smaller is nearer.
 */
#ifndef OMENDB_H
#define OMENDB_H
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define OMEN_API __attribute__((visibility("default")))
#else
#define OMEN_API
#endif

#define OMENDB_VERSION_MAJOR 0
#define OMENDB_VERSION_MINOR 1
#define OMENDB_VERSION_PATCH 0

/* ---- statuses: the numbers are frozen and the same as on the wire ---- */
typedef int omen_status;
#ifndef OMEN_BASE_STATUS_H /* the library's own sources bring the same list with them */
enum {
    OMEN_OK = 0,
    OMEN_E_NOT_FOUND = -1,
    OMEN_E_STALE_MAP = -2,
    OMEN_E_BUSY = -3,
    OMEN_E_TIMEOUT = -4,
    OMEN_E_CORRUPT = -5,
    OMEN_E_NO_MEMORY = -6,
    OMEN_E_INVALID = -7,
    OMEN_E_DIMENSION = -8,
    OMEN_E_NOT_FINITE = -9,
    OMEN_E_ZERO_VECTOR = -10,
    OMEN_E_DUPLICATE_ID = -11,
    OMEN_E_EXISTS = -12,
    OMEN_E_ID_RANGE = -13,
    OMEN_E_ID_LENGTH = -14,
    OMEN_E_ID_KIND = -15,
    OMEN_E_K = -16,
    OMEN_E_DTYPE = -17,
    OMEN_E_FILTER = -18,
    OMEN_E_FIELD_TYPE = -19,
    OMEN_E_PAYLOAD = -20,
    OMEN_E_FULL = -21,
    OMEN_E_UNSUPPORTED = -22,
    OMEN_E_READ_ONLY = -23,
    OMEN_E_CLOSED = -24,
    OMEN_E_CANCELLED = -25,
    OMEN_E_INTERNAL = -26,
    OMEN_E_IO = -27,
    OMEN_E_DISK_FULL = -28,
    OMEN_E_VERSION = -29,
    OMEN_E_LOCKED = -30,
    OMEN_E_CONFLICT = -31,
    OMEN_E_OP_EXPIRED = -32, /* this and the next three: of a server */
    OMEN_E_AUTH = -33,
    OMEN_E_METHOD = -34,
    OMEN_E_QUOTA = -35
};
#endif

OMEN_API const char *omen_version(void);               /* "0.1.0" */
OMEN_API const char *omen_strerror(omen_status status); /* static text for any int */
/* What exactly was wrong in this thread's last failed call ("row 3: component 17 is NaN"); valid until the
 * thread's next call into the library. Empty when nothing failed yet. */
OMEN_API const char *omen_error_message(void);

/* ---- the calls of the product plan ---- */
typedef struct OmenIndex *omen_index_t;
/* An index in memory, cosine, f32, default options; NULL on failure. */
OMEN_API omen_index_t omen_create(int dimension);
/* The 10 nearest ids, nearest first, -1 where there are fewer or on failure. An index made by omen_create
 * refuses ids above INT_MAX, so that `int` can hold them. */
OMEN_API void omen_search(omen_index_t index, const float *query, int *results);

/* ---- opening ---- */
typedef enum { OMEN_COSINE = 0, OMEN_L2 = 1, OMEN_IP = 2 } omen_metric;
typedef enum { OMEN_F32 = 1, OMEN_F16 = 2, OMEN_BF16 = 3, OMEN_I8 = 4, OMEN_U8 = 5 } omen_dtype;
typedef enum { OMEN_HNSW = 0, OMEN_FLAT = 1 } omen_algorithm;
typedef enum { OMEN_QUANTIZE_INT8 = 0, OMEN_QUANTIZE_NONE = 1 } omen_quantization;

typedef enum { OMEN_DURABLE_COMMIT = 0, OMEN_DURABLE_INTERVAL = 1 } omen_durability;

typedef struct omen_options {
    size_t            struct_size;
    const char       *path;            /* NULL: in memory. Else a directory, made when it is missing; what an
                                          index is (dimension, metric, dtype, algorithm, quantization, m,
                                          ef_construction, slots_max, id_max) is kept there, and opening it
                                          with something else is OMEN_E_INVALID */
    uint32_t          dimension;       /* 1..65536; 0 with a path: as the file has it, with all of the above */
    omen_metric       metric;
    omen_dtype        dtype;           /* how vectors are stored and given back */
    omen_algorithm    algorithm;       /* OMEN_FLAT: exact search only, no graph */
    omen_quantization quantization;    /* OMEN_QUANTIZE_NONE: the graph is walked on the vectors themselves */
    uint32_t          m;               /* 2..64; a node has at most 2 m links */
    uint32_t          ef_construction; /* 8..10000 */
    uint32_t          ef_search;       /* 1..10000; the default of omen_query */
    double            target_recall;   /* 0: unused. 0.5..0.9999: the default of omen_query instead of ef_search */
    uint32_t          threads;         /* workers that link new vectors; 0: one per core; 1: deterministic */
    uint64_t          seed;
    uint64_t          max_memory;      /* bytes; 0: no limit. Past it adds answer OMEN_E_NO_MEMORY */
    uint64_t          id_max;          /* largest id accepted; default 2^63-1 */
    uint32_t          slots_max;       /* rows, deleted ones included: 1..2^31-2; default 2^24-2. Beyond it a row takes 32 bytes more */
    int               read_only;       /* of a path: any number of processes may, beside the one that writes */
    omen_durability   durability;      /* of a path. COMMIT: a write that returned is on disk. INTERVAL: it will be
                                          within interval_ms, or after omen_flush */
    uint32_t          interval_ms;     /* 0: 200 */
} omen_options;
#define OMEN_OPTIONS_INIT                                                                             \
    {                                                                                                 \
        sizeof(omen_options), NULL, 0, OMEN_COSINE, OMEN_F32, OMEN_HNSW, OMEN_QUANTIZE_INT8, 16, 200, \
            64, 0.0, 0, 0, 0, 0x7fffffffffffffffull, 16777214u, 0, OMEN_DURABLE_COMMIT, 0 \
    }

OMEN_API omen_status omen_open(const omen_options *options, omen_index_t *out); /* *out is NULL on failure */
/* What the index is: as opened, and with a path as the file has it; `path` is NULL. Set out->struct_size first. */
OMEN_API omen_status omen_options_of(omen_index_t index, omen_options *out);
OMEN_API void        omen_close(omen_index_t index);                            /* accepts NULL */
/* Waits until every added vector is linked into the graph. With a path: makes everything durable, and the next opening
 * shorter. Who only reads a path links nothing: OMEN_E_READ_ONLY, as of omen_build. */
OMEN_API omen_status omen_flush(omen_index_t index);

/* ---- writing: a batch is applied whole or not at all ---- */
typedef struct omen_batch {
    size_t             struct_size;
    size_t             count;
    const void        *vectors;       /* count rows of `dimension` components, little-endian */
    size_t             stride;        /* bytes from row to row; 0: rows lie dense */
    omen_dtype         dtype;         /* any for an index of f32, f16 or bf16, which converts; of i8 or u8: its own */
    const uint64_t    *ids;           /* integer ids, or */
    const char *const *text_ids;      /* NUL-terminated UTF-8 ids; both NULL: the index numbers the rows on */
    const void *const *payloads;      /* per row one msgpack map, or NULL for none; NULL: no payloads */
    const size_t      *payload_bytes;
    uint64_t          *ids_out;       /* NULL, or room for `count` integer ids as given or chosen */
    const uint64_t    *if_versions;   /* NULL, or per row the version that its point must have now; 0: it must not exist;
                                         UINT64_MAX: whatever it is. Else OMEN_E_CONFLICT. Only with a path */
} omen_batch;
#define OMEN_BATCH_INIT { sizeof(omen_batch), 0, NULL, 0, OMEN_F32, NULL, NULL, NULL, NULL, NULL, NULL }

/* An index holds integer ids or text ids; its first write decides. A text id also has an integer key, given
 * in ids_out and by searches; omen_id_text turns it back. */
OMEN_API omen_status omen_add(omen_index_t index, const omen_batch *batch);    /* an id that exists: OMEN_E_EXISTS */
OMEN_API omen_status omen_upsert(omen_index_t index, const omen_batch *batch); /* replaces vector and payload */
/* Replaces payloads only; batch->vectors is ignored; unknown id: OMEN_E_NOT_FOUND. */
OMEN_API omen_status omen_set_payloads(omen_index_t index, const omen_batch *batch);
/* Unknown ids are skipped; *deleted (may be NULL) says how many were there. */
OMEN_API omen_status omen_delete(omen_index_t index, const uint64_t *ids, size_t count, size_t *deleted);
OMEN_API omen_status omen_delete_text(omen_index_t index, const char *const *ids, size_t count, size_t *deleted);
/* What matches when the call begins, in the order of writing and a million (2^20) points at a time: each such part is
 * deleted whole or not at all, and durable before the next one. After a failure *deleted says how many points are gone. */
OMEN_API omen_status omen_delete_where(omen_index_t index, const char *filter, size_t *deleted);

/* ---- ids ---- */
/* Copies the text of a key, NUL-terminated, when capacity allows (256 always does). */
OMEN_API omen_status omen_id_text(omen_index_t index, uint64_t key, char *text, size_t capacity);
OMEN_API omen_status omen_id_key(omen_index_t index, const char *text, uint64_t *key);
OMEN_API int         omen_contains(omen_index_t index, uint64_t id); /* 1 or 0 */

/* ---- reading points back ---- */
typedef struct OmenPoints *omen_points_t; /* a copy that stays valid until omen_points_free */
enum { OMEN_WITH_VECTOR = 1, OMEN_WITH_PAYLOAD = 2 };
/* In the order of `ids`; an unknown id is a point that is not there (omen_points_found == 0). */
OMEN_API omen_status omen_get(omen_index_t index, const uint64_t *ids, size_t count, int with, omen_points_t *out);
/* At most `limit` points that match `filter` (NULL: all), in the order of writing. *cursor is 0 at first, set
 * for the next call, and UINT64_MAX at the end. */
OMEN_API omen_status omen_scroll(omen_index_t index, const char *filter, int with, size_t limit,
                                 uint64_t *cursor, omen_points_t *out);
OMEN_API size_t      omen_points_count(omen_points_t points);
OMEN_API int         omen_points_found(omen_points_t points, size_t i);
OMEN_API uint64_t    omen_points_id(omen_points_t points, size_t i);
OMEN_API float       omen_points_distance(omen_points_t points, size_t i); /* of omen_range; else 0 */
/* Changes with every write to the point, and no version comes twice; for if_versions. 0 when the index is in memory. With
 * OMEN_DURABLE_INTERVAL those of writes that a crash took away are given again: ask anew after one. */
OMEN_API uint64_t    omen_points_version(omen_points_t points, size_t i);
OMEN_API const void *omen_points_vector(omen_points_t points, size_t i);   /* the index's dtype, or NULL */
OMEN_API const void *omen_points_payload(omen_points_t points, size_t i, size_t *bytes); /* msgpack, or NULL */
OMEN_API void        omen_points_free(omen_points_t points);              /* accepts NULL */

/* ---- filters ----
 * Text:    age >= 30 and age < 40 and city in ["Oslo", 'Bergen'] and not deleted
 *          == (or =) != < <= > >=; in and not in a list; name prefix 'Os'; exists(name); a field alone means field == true. and binds
 *          stronger than or, not stronger than both; parentheses. Dots in a name reach into maps; a name of other characters than letters,
 *          digits, _ and - goes in backquotes. Values: numbers, true, false, null, strings in ' or ".
 * Map:     {"age": {"gte": 30, "lt": 40}, "city": ["Oslo", "Bergen"], "or": [{"a": 1}, {"not": {"b": 2}}]}, as msgpack: eq ne in nin gt
 *          gte lt lte exists prefix. A bare value means eq, a list means in, several keys mean and.
 * Meaning: true when any value of the field compares so: an array matches where one of its elements does. Between kinds it is false; integers
 *          and floats are one kind. != and not in are true where the field is missing; null is the same as missing. A string that is
 *          written like a time (RFC 3339) or a UUID compares as one.
 */

/* ---- searching ---- */
/* Who does it. CUDA: a GPU, or OMEN_E_UNSUPPORTED and why not. */
typedef enum { OMEN_BACKEND_AUTO = 0, OMEN_BACKEND_CPU = 1, OMEN_BACKEND_CUDA = 2 } omen_backend;
typedef struct omen_query_report {
    uint64_t evaluations;      /* distances computed on codes */
    uint64_t exact_distances;  /* distances computed on the vectors themselves */
    uint64_t tail;             /* rows not yet linked, which were scanned exactly */
    uint32_t strategy;         /* 0 graph, 1 filtered graph, 2 exact scan */
    uint32_t warnings;         /* OMEN_WARN_* */
    uint64_t matches;          /* rows that the filter lets through (some, after a deadline); UINT64_MAX without one */
} omen_query_report;
enum {
    OMEN_WARN_UNINDEXED_FIELD = 1, /* the filter named a field without an index: payloads were scanned */
    OMEN_WARN_NOT_CALIBRATED = 2,  /* target_recall before there was data, or time, to calibrate: a safe ef was used */
    OMEN_WARN_DEADLINE = 4         /* the deadline cut the search, or its filter: the hits are the best so far */
};

typedef struct omen_query_options {
    size_t             struct_size;
    uint32_t           k;             /* 1..10000 */
    uint32_t           ef;            /* 0: the index's default; at most 10000 */
    double             target_recall; /* 0: unused; wins over ef */
    int                exact;         /* scan everything, recall 1 */
    const char        *filter;        /* as text (above), NUL-terminated; NULL: none */
    const void        *filter_map;    /* or as a map, in msgpack */
    size_t             filter_map_bytes;
    uint32_t           oversample;    /* candidates reranked exactly; 0: chosen from k */
    uint64_t           deadline_us;   /* 0: none; counted from the start of the call */
    uint32_t           threads;       /* omen_query_batch: 0: one per core */
    omen_dtype         dtype;         /* of the query, any: it is looked for as numbers */
    size_t             stride;        /* omen_query_batch: bytes from query to query; 0: dense */
    omen_query_report *report;        /* NULL, or filled; for a batch the sums */
    omen_backend       backend;       /* CUDA, in omen_query_batch and omen_knn_exact alone: a GPU searches a copy of the
                                       * index, which stays there for the next batch; it takes k and ef up to 512, no
                                       * oversample and no deadline */
    /* What takes long on a CPU (omen_query_batch, omen_knn_exact, omen_measure_recall) asks it now and then, in the thread
     * that called; non-zero ends the call with OMEN_E_CANCELLED. */
    int              (*stop)(void *context);
    void              *context;
} omen_query_options;
#define OMEN_QUERY_OPTIONS_INIT \
    { sizeof(omen_query_options), 10, 0, 0.0, 0, NULL, NULL, 0, 0, 0, 0, OMEN_F32, 0, NULL, OMEN_BACKEND_AUTO, NULL, NULL }

/* Writes at most k ids and distances, nearest first, equal distances by older row; *found says how many.
 * options may be NULL. */
OMEN_API omen_status omen_query(omen_index_t index, const void *vector, const omen_query_options *options,
                                uint64_t *ids, float *distances, uint32_t *found);
/* count queries; ids and distances are count x k; where there are fewer hits: UINT64_MAX and infinity. */
OMEN_API omen_status omen_query_batch(omen_index_t index, const void *vectors, size_t count,
                                      const omen_query_options *options, uint64_t *ids, float *distances);
/* The exact nearest of count queries, by comparing every row, as omen_query_batch with `exact`: ground truth, or a small
 * collection. With backend AUTO a GPU does it where there is one and the work is large enough for it. */
OMEN_API omen_status omen_knn_exact(omen_index_t index, const void *vectors, size_t count,
                                    const omen_query_options *options, uint64_t *ids, float *distances);
/* Every point found within `radius` (a distance of the index's metric), nearest first, at most 10000. Without `ef` and
 * target_recall it looks farther until twice as far changes hardly anything: that finds 98 of 100 points on random
 * data and more where there is structure. With one of them it looks no farther than that, but twice as far as it
 * answers. `exact` misses none. `k` is not used. */
OMEN_API omen_status omen_range(omen_index_t index, const void *vector, float radius,
                                const omen_query_options *options, omen_points_t *out);
OMEN_API omen_status omen_count(omen_index_t index, const char *filter, uint64_t *count); /* filter may be NULL */

/* ---- fields ---- */
typedef enum {
    OMEN_FIELD_KEYWORD = 1, OMEN_FIELD_INTEGER = 2, OMEN_FIELD_FLOAT = 3,
    OMEN_FIELD_BOOL = 4, OMEN_FIELD_DATETIME = 5, OMEN_FIELD_UUID = 6
} omen_field_type;
/* From now on filters on `name` (dots reach into nested maps) use an index, which never changes an answer; rows there
 * are indexed before the call returns. OMEN_E_FIELD_TYPE names the first row whose value does not fit. */
OMEN_API omen_status omen_field_index(omen_index_t index, const char *name, omen_field_type type);
/* Gives the index of a field up; its values may be of any type again. OMEN_E_NOT_FOUND: the field has none. */
OMEN_API omen_status omen_field_drop(omen_index_t index, const char *name);

/* ---- recall ---- */
typedef struct omen_recall {
    size_t   struct_size;
    double   recall;        /* mean over the samples */
    double   low, high;     /* 95 % interval (Wilson) */
    uint32_t samples, k;
    double   evaluations;   /* mean a query */
} omen_recall;
/* Measures recall@k of the options' ef or target_recall (NULL: the index's default) against exact search, with
 * rows of the index as queries, each left out of its own answer. */
OMEN_API omen_status omen_measure_recall(omen_index_t index, uint32_t samples, const omen_query_options *options,
                                         omen_recall *out);
/* Learns how far a search must look for each target_recall; done by itself when the first such query comes and
 * after the index doubled or turned over by 20 %. */
OMEN_API omen_status omen_calibrate(omen_index_t index);

/* ---- upkeep ---- */
typedef struct omen_build_stage {
    char     name[16];  /* as docs/internals/bulk.md calls it */
    double   seconds;
    uint64_t memory;    /* bytes held beside the index at most, those that earlier stages left included */
    uint64_t read;      /* bytes of vectors, codes and copies of them, each as often as it was read; a GPU's own not included */
} omen_build_stage;
#define OMEN_BUILD_STAGES_MAX 16

typedef struct omen_build_report {
    size_t       struct_size; /* set it first */
    omen_backend backend;     /* who made links at once; AUTO: nobody, for all were made, or are made one by one */
    uint64_t     rows;        /* that were built at once, */
    double       seconds;     /* and in how long */
    char         device[256]; /* the GPU that built, or was to; "" */
    char         reason[256]; /* with AUTO why no GPU built, or why nothing was built at once; "" */
    uint64_t     memory;      /* bytes that the build held beside the index at most; no more than max_memory */
    uint32_t     stage_count; /* of what was built at once, in their order */
    omen_build_stage stages[OMEN_BUILD_STAGES_MAX];
} omen_build_report;

typedef struct omen_build_options {
    size_t       struct_size;
    /* Who makes links where many rows have none. AUTO: a GPU where there is one and the work is large enough for it, and where
     * it fails, or has so little memory that the CPU is expected to be faster, the CPU. CUDA: a GPU for any number of rows, or OMEN_E_UNSUPPORTED and what is missing. */
    omen_backend backend;
    /* Called now and then with rows linked and rows in all; non-zero stops the wait (OMEN_E_CANCELLED; linking
     * itself goes on). It may search, read and write; what waits for the build (flush, build, compact, copy, verify)
     * is OMEN_E_INVALID within. */
    int (*progress)(void *context, uint64_t linked, uint64_t total);
    void        *context;
    uint64_t     max_memory;  /* bytes that links made at once may take beside the index; 0: half of what the index's own
                               * max_memory leaves. With less than they need rows are linked one by one */
    omen_build_report *report; /* NULL, or filled, after a failure too */
    int          again;       /* links that are there are made anew, all at once */
} omen_build_options;
#define OMEN_BUILD_OPTIONS_INIT { sizeof(omen_build_options), OMEN_BACKEND_AUTO, NULL, NULL, 0, NULL, 0 }
/* Links what is not linked yet, and returns when all is. options may be NULL. */
OMEN_API omen_status omen_build(omen_index_t index, const omen_build_options *options);
/* Rewrites the index without its deleted rows; searches go on, writers wait. Done by itself, beside other work, once
 * more than a quarter of the rows, and at least 1000, are deleted, unless max_memory has no room for the second copy. */
OMEN_API omen_status omen_compact(omen_index_t index);
/* Into a new directory, while the index is used; of one in memory too. What is an index already: OMEN_E_EXISTS. */
OMEN_API omen_status omen_copy(omen_index_t index, const char *path);
/* Checks every invariant; OMEN_E_CORRUPT with a message on the first that fails. */
OMEN_API omen_status omen_verify(omen_index_t index);
/* Changes the default ef of searches; from then on it is used instead of a default target_recall. */
OMEN_API omen_status omen_set_ef(omen_index_t index, uint32_t ef);

typedef struct omen_statistics {
    size_t   struct_size;
    uint64_t count;             /* live points */
    uint64_t rows;              /* slots in use, the deleted ones too */
    uint64_t deleted;           /* tombstones waiting for compaction */
    uint64_t tail;              /* rows not linked yet */
    uint32_t dimension, m, ef_construction, ef_search, threads;
    int      metric, dtype, algorithm, quantization;
    const char *code;           /* what the graph is walked on: "nibble+byte", "exact", "none"; static text */
    const char *kernel;         /* "scalar", "avx2", "avx512", "neon"; static text */
    /* memory in bytes, by part */
    uint64_t bytes_links, bytes_codes, bytes_ids, bytes_vectors, bytes_payloads, bytes_fields, bytes_search,
        bytes_other;
    double   bytes_per_vector;  /* all but bytes_vectors and bytes_payloads, over count */
    double   links_mean;        /* out-links of a live node */
    uint64_t unreached;         /* live nodes that no walk from the entries reached at the last omen_verify */
    double   drift;             /* squared distance of today's mean from the code's, over the variance */
    double   recall;            /* last measured; negative when never */
    double   open_seconds;
    uint64_t searches, evaluations;
    uint64_t rerank_misses; /* searches whose list was too short for its codes to be sure: a larger ef helps */
} omen_statistics;
OMEN_API omen_status omen_stats(omen_index_t index, omen_statistics *out); /* set out->struct_size first */

#ifdef __cplusplus
}
#endif
#endif
