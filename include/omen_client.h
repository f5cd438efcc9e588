/* omen_client.h -- a client of an OmenDB cluster, for C.
 *
 * Threads:  one client serves any number of threads; their requests go out together, over one connection. omen_client_close must
 *           be the last call on its handle.
 * Errors:   0 or a negative omen_status, of which omen_client_failure has the rest: what was wrong, whether it may have happened,
 *           whether it is worth another try. A client tries again by itself, until the call's time is up, where that does no
 *           harm: what the server calls retryable; and, when a connection breaks, what only reads or bears an operation's id, as
 *           all writes of points do here.
 * Memory:   what goes in is borrowed for the call. What comes out is freed by the caller, as said at each call.
 * Structs:  every option struct begins with struct_size; start from its _INIT macro.
 * Sessions: a write that was acknowledged is durable on all copies in sync, but the copy that answers the next read may be about to
 *           apply it: a read sees it for certain with OMEN_SESSION (whatever this client has written and read) or OMEN_STRONG
 *           (whatever anybody has), and need not with OMEN_EVENTUAL, which is what reads are where nobody says otherwise. The client
 *           keeps what it has seen of each collection by the name that was said, for all of its threads together.
 */
#ifndef OMEN_CLIENT_H
#define OMEN_CLIENT_H
#include "omendb.h" /* statuses, metrics, types of components; nothing of that library is linked */

#ifdef __cplusplus
extern "C" {
#endif

/* Beside the statuses of omendb.h: no node answers at the endpoints, or the connection broke. */
#define OMEN_CLIENT_E_UNREACHABLE (-128)

typedef enum {
    OMEN_OUTCOME_NONE = 0, /* nothing is said of it */
    OMEN_OUTCOME_NOT_APPLIED = 1,
    OMEN_OUTCOME_APPLIED = 2,
    OMEN_OUTCOME_UNKNOWN = 3
} omen_outcome;

typedef struct omen_client_failure {
    omen_status  status;
    omen_outcome outcome;
    int          retryable; /* the same call may succeed later */
    char         name[40];  /* "NOT_FOUND", "UNREACHABLE", ... */
    char         message[512];
} omen_client_failure;

OMEN_API const char *omen_client_version(void); /* "0.1.0" */
/* Of the calling thread's last call that failed. */
OMEN_API void omen_client_last_failure(omen_client_failure *out);

/* What a read sees. DEFAULT: as the client's options say, and where they do not, EVENTUAL. */
typedef enum {
    OMEN_CONSISTENCY_DEFAULT = 0,
    OMEN_EVENTUAL = 1, /* what any copy in sync has */
    OMEN_SESSION = 2,  /* at least all that this client has seen */
    OMEN_STRONG = 3    /* all that was acknowledged to anybody */
} omen_consistency;

/* ---- a client ---- */
typedef struct OmenClient *omen_client_t;

typedef struct omen_client_options {
    size_t      struct_size;
    const char *endpoints;  /* "host:7700,host2:7700", with or without "omen://" before it; [address] for IPv6 */
    const char *api_key;    /* NULL: none */
    const char *program;    /* a name for the server's log; NULL: "libomenclient" */
    uint32_t    timeout_ms; /* of a call, all its tries together; 0: 10 s */
    uint32_t    reserved;   /* 0 */
    omen_consistency consistency; /* of reads that say none */
} omen_client_options;
#define OMEN_CLIENT_OPTIONS_INIT { sizeof(omen_client_options), NULL, NULL, NULL, 0, 0, OMEN_CONSISTENCY_DEFAULT }

/* Connects to the first endpoint that answers. *out is NULL on failure. */
OMEN_API omen_status omen_client_open(const omen_client_options *options, omen_client_t *out);
OMEN_API void        omen_client_close(omen_client_t client); /* accepts NULL; calls that wait end with OMEN_E_CLOSED */
OMEN_API omen_status omen_client_ping(omen_client_t client);
/* Begins another session: what this client has seen so far is not waited for any more. Wanted where a session's read is refused with
 * INVALID: an operator has given writes up that it had seen. */
OMEN_API void omen_client_session_begin(omen_client_t client);

/* ---- collections ---- */
typedef struct omen_client_collection {
    size_t      struct_size;
    const char *name;
    uint32_t    dimension;
    omen_metric metric;
    omen_dtype  dtype;
    uint32_t    shards, replicas, min_insync; /* 0: as the cluster has them */
    uint32_t    m, ef_construction;           /* 0: the engine's */
    int         if_not_exists;
} omen_client_collection;
#define OMEN_CLIENT_COLLECTION_INIT \
    { sizeof(omen_client_collection), NULL, 0, OMEN_COSINE, OMEN_F32, 0, 0, 0, 0, 0, 0 }
OMEN_API omen_status omen_client_collection_create(omen_client_t client, const omen_client_collection *collection);
OMEN_API omen_status omen_client_collection_drop(omen_client_t client, const char *name);

/* ---- writing ---- */
typedef struct omen_client_batch {
    size_t             struct_size;
    const char        *collection;
    size_t             count;         /* 1..10000 */
    const uint64_t    *ids;           /* integer ids, or */
    const char *const *text_ids;      /* NUL-terminated UTF-8 ids */
    const void        *vectors;       /* count dense rows of `dimension` components, little-endian */
    uint32_t           dimension;
    omen_dtype         dtype;
    const void *const *payloads;      /* per row one msgpack map, or NULL for none; NULL: no payloads */
    const size_t      *payload_bytes;
} omen_client_batch;
#define OMEN_CLIENT_BATCH_INIT { sizeof(omen_client_batch), NULL, 0, NULL, NULL, NULL, 0, OMEN_F32, NULL, NULL }

/* A batch is whole or not at all for each shard, not across shards. *written (may be NULL) is how many points were written. When some
 * were refused, the status is that of the first of them, and its message begins with "row N: ". */
OMEN_API omen_status omen_client_upsert(omen_client_t client, const omen_client_batch *batch, size_t *written);
OMEN_API omen_status omen_client_delete(omen_client_t client, const char *collection, const uint64_t *ids,
                                        const char *const *text_ids, size_t count, size_t *deleted);
OMEN_API omen_status omen_client_delete_where(omen_client_t client, const char *collection, const char *filter,
                                              size_t *deleted);

/* ---- reading ---- */
typedef struct OmenClientPoints *omen_client_points_t; /* stays valid until omen_client_points_free */

/* In the order of the ids; one that is unknown is a point that is not there (omen_client_points_found). `with` is OMEN_WITH_VECTOR,
 * OMEN_WITH_PAYLOAD, both or 0. */
OMEN_API omen_status omen_client_get(omen_client_t client, const char *collection, const uint64_t *ids,
                                     const char *const *text_ids, size_t count, int with, omen_client_points_t *out);
OMEN_API omen_status omen_client_count(omen_client_t client, const char *collection, const char *filter, uint64_t *count);
/* The same, with another consistency than the client's. */
OMEN_API omen_status omen_client_get_as(omen_client_t client, omen_consistency consistency, const char *collection,
                                        const uint64_t *ids, const char *const *text_ids, size_t count, int with,
                                        omen_client_points_t *out);
OMEN_API omen_status omen_client_count_as(omen_client_t client, omen_consistency consistency, const char *collection,
                                          const char *filter, uint64_t *count);

typedef struct omen_client_query {
    size_t           struct_size;
    const char      *collection;
    const void      *vectors;   /* one row for a search, `count` dense rows for a batch */
    size_t           count;     /* of a batch */
    uint32_t         dimension;
    omen_dtype       dtype;
    uint32_t         k;         /* 1..10000 */
    uint32_t         ef;        /* 0: as the collection has it */
    double           target_recall;
    int              exact;
    const char      *filter;    /* NULL: none */
    int              with;      /* as above */
    omen_consistency consistency;
} omen_client_query;
#define OMEN_CLIENT_QUERY_INIT \
    { sizeof(omen_client_query), NULL, NULL, 1, 0, OMEN_F32, 10, 0, 0.0, 0, NULL, 0, OMEN_CONSISTENCY_DEFAULT }

OMEN_API omen_status omen_client_search(omen_client_t client, const omen_client_query *query, omen_client_points_t *hits);
/* For integer ids: `ids` and `distances` have room for count x k, nearest first; -1 and infinity where there are fewer. */
OMEN_API omen_status omen_client_search_batch(omen_client_t client, const omen_client_query *query, int64_t *ids,
                                              float *distances);

OMEN_API size_t      omen_client_points_count(omen_client_points_t points);
OMEN_API int         omen_client_points_found(omen_client_points_t points, size_t i);
OMEN_API uint64_t    omen_client_points_id(omen_client_points_t points, size_t i);       /* 0 where it is a text */
OMEN_API const char *omen_client_points_text_id(omen_client_points_t points, size_t i);  /* NULL where it is an integer */
OMEN_API float       omen_client_points_distance(omen_client_points_t points, size_t i); /* of a search; else 0 */
OMEN_API uint64_t    omen_client_points_version(omen_client_points_t points, size_t i);
/* As it came: *dtype and *bytes (may be NULL) say what it is. NULL: none was asked for. */
OMEN_API const void *omen_client_points_vector(omen_client_points_t points, size_t i, omen_dtype *dtype, size_t *bytes);
OMEN_API const void *omen_client_points_payload(omen_client_points_t points, size_t i, size_t *bytes); /* msgpack */
OMEN_API void        omen_client_points_free(omen_client_points_t points); /* accepts NULL */

/* ---- any method: docs/PROTOCOL.md ---- */
typedef struct OmenClientCall *omen_client_call_t;
enum {
    OMEN_CALL_REPEATABLE = 1, /* it may be done twice; what only reads is known to be so */
    OMEN_CALL_SESSION = 2     /* part of the client's session: a read that says no consistency is one of OMEN_SESSION, and what the
                               * answer says that was seen is kept */
};

/* Sends a request and returns at once: any number may be on their way. `params` is one msgpack map, `timeout_ms` 0: the client's. */
OMEN_API omen_status omen_client_begin(omen_client_t client, const char *method, const void *params, size_t bytes,
                                       uint32_t timeout_ms, omen_client_call_t *out);
/* Waits for the answer and ends the call. *result is one msgpack object, freed by omen_client_free. One try: nothing is repeated. */
OMEN_API omen_status omen_client_wait(omen_client_call_t call, void **result, size_t *bytes);
/* Both together, and tries again as said above. */
OMEN_API omen_status omen_client_call(omen_client_t client, const char *method, const void *params, size_t bytes,
                                      uint32_t timeout_ms, int flags, void **result, size_t *result_bytes);
OMEN_API void        omen_client_free(void *result); /* accepts NULL */

#ifdef __cplusplus
}
#endif
#endif
