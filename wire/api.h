// wire/api.h -- what clients ask of points and what they are answered, as plain structs.
//
// Shape: value. Everything borrows from the frame that it was read from; wire/shape.h says how lists and vectors are gone through.
//
// The keys are the members' names. They are a contract with everybody's programs: new ones may come, none is renamed or dropped. What
// is all zeros was not given. wire/method.h has the methods, wire/api_admin.h the structs of administration.
#ifndef OMEN_WIRE_API_H
#define OMEN_WIRE_API_H
#include "wire/shape.h"

enum api_consistency { API_EVENTUAL = 1, API_SESSION, API_STRONG };
enum api_mode { API_UPSERT = 1, API_INSERT, API_UPDATE };
enum api_with { API_WITH_PAYLOAD = 1, API_WITH_VECTOR = 2 };
enum api_result { API_MATRIX = 1, API_HITS };
enum api_outcome { API_NOT_APPLIED = 1, API_APPLIED, API_UNKNOWN };
enum api_warning { API_UNINDEXED_FIELD = 1, API_NOT_CALIBRATED = 2, API_DEADLINE = 4 };

// Of every request about points. `after` is the token of an earlier answer; op_id makes a write happen once.
#define API_READ                                                                                   \
    struct wire_text collection;                                                                   \
    struct wire_list after; /* wire_token */                                                       \
    uint32_t deadline_ms;                                                                          \
    uint8_t consistency; /* enum api_consistency */
#define API_WRITE                                                                                  \
    struct wire_text collection;                                                                   \
    struct wire_uuid op_id;                                                                        \
    uint32_t deadline_ms;

// ---- points ----

struct api_point_upsert {
    API_WRITE
    uint8_t mode;                 // enum api_mode; none: upsert
    struct wire_list ids;         // wire_id
    struct wire_vectors vectors;  // of as many; none: payloads only, of points that are there
    struct wire_list payloads;    // wire_bytes, as many; or none
    struct wire_maybe if_version; // of a single point
};

struct api_point_delete { // ids or filter
    API_WRITE
    struct wire_list ids;
    struct wire_filter filter;
    struct wire_maybe if_version;
};

struct api_point_patch { // ids or filter; set or unset
    API_WRITE
    struct wire_list ids;
    struct wire_filter filter;
    struct wire_bytes set;  // a payload whose keys replace those of the same name
    struct wire_list unset; // wire_text: names of keys
    struct wire_maybe if_version;
};

struct api_failed { // a point of a batch that was refused
    uint32_t row;
    struct wire_text name; // of the status
    struct wire_text message;
    uint8_t outcome; // enum api_outcome
};

struct api_written {
    uint64_t count;
    struct wire_list token;
    struct wire_list failed; // api_failed
};

struct api_point_get {
    API_READ
    struct wire_list ids;
    uint32_t with; // enum api_with
};

struct api_point {
    struct wire_id id;
    struct wire_bytes payload;
    struct wire_vectors vector;
    uint64_t version;
    uint8_t absent; // nil: there is no such point
};

struct api_points {
    struct wire_list points; // api_point, in the order of the ids
    struct wire_list token;
};

struct api_point_count {
    API_READ
    struct wire_filter filter;
};

struct api_shard_failed { // a part of a search that did not answer
    uint64_t shard;
    struct wire_text name;
};

struct api_count {
    uint64_t count;
    struct wire_list shards_failed; // api_shard_failed
    uint32_t warnings;              // enum api_warning
};

struct api_point_scroll {
    API_READ
    struct wire_filter filter;
    struct wire_text cursor; // of the page before
    uint32_t limit;          // none: 100
    uint32_t with;
};

struct api_page {
    struct wire_list points;
    struct wire_text cursor; // none: this was the last page
    struct wire_list token;
    uint32_t warnings;
};

struct api_point_facet {
    API_READ
    struct wire_text field;
    struct wire_filter filter;
    uint32_t limit; // none: 10
};

struct api_facet {
    struct wire_bytes value; // any scalar
    uint64_t count;
};

struct api_facets {
    struct wire_list values; // api_facet, the most frequent first
    struct wire_list shards_failed;
    uint32_t warnings;
};

// ---- queries ----

// How far a search looks, of all that search.
#define API_EFFORT                                                                                 \
    struct wire_filter filter;                                                                     \
    double target_recall; /* 0.5..0.9999; wins over ef */                                          \
    uint32_t ef;                                                                                   \
    uint32_t oversample;                                                                           \
    uint32_t with;                                                                                 \
    uint8_t exact;                                                                                 \
    uint8_t partial; /* an answer without some shards is better than none */

struct api_query_search { // vector, or the id of a point
    API_READ
    API_EFFORT
    struct wire_vectors vector;
    struct wire_id id;
    uint32_t k; // none: 10
    uint8_t explain;
};

struct api_hit {
    struct wire_id id;
    float distance;
    struct wire_bytes payload;
    struct wire_vectors vector;
    uint64_t version;
};

struct api_hits {
    struct wire_list hits; // api_hit, nearest first
    struct wire_list token;
    struct wire_list shards_failed;
    struct wire_bytes explain; // a map
    uint32_t warnings;
};

struct api_query_batch {
    API_READ
    API_EFFORT
    struct wire_vectors vectors;
    uint32_t k;
    uint8_t result; // enum api_result; none: matrices where all ids are integers
};

struct api_query_hits { // of one query
    struct wire_list hits;
};

struct api_batch_hits {
    struct wire_bytes ids;       // count x k little-endian i64, -1 where there are fewer
    struct wire_bytes distances; // count x k little-endian f32
    struct wire_list results;    // api_query_hits
    struct wire_list token;
    struct wire_list shards_failed;
    uint32_t warnings;
};

struct api_query_range {
    API_READ
    API_EFFORT
    struct wire_vectors vector;
    struct wire_id id;
    double radius;
    uint32_t limit;
};

struct api_query_recommend {
    API_READ
    API_EFFORT
    struct wire_list positive, negative; // wire_id
    uint32_t k;
};

struct api_query_why_not { // why is this point none of the hits?
    API_READ
    API_EFFORT
    struct wire_vectors vector;
    struct wire_id id;
    uint32_t k;
};

struct api_why_not {
    uint8_t found; // it is one
    uint32_t rank; // from 1, among all that the filter lets through
    double distance;
    struct wire_text reason;
    struct wire_bytes explain;
};

struct api_recall_measure {
    API_READ
    API_EFFORT
    uint32_t samples;
    uint32_t k;
};

struct api_recall {
    double recall;
    double low, high; // 95 % interval
    double evaluations;
    uint32_t ef;
    uint32_t samples, k;
};

extern const struct shape api_point_upsert, api_point_delete, api_point_patch, api_failed,
    api_written, api_point_get, api_point, api_points, api_point_count, api_shard_failed, api_count,
    api_point_scroll, api_page, api_point_facet, api_facet, api_facets;
extern const struct shape api_query_search, api_hit, api_hits, api_query_batch, api_query_hits,
    api_batch_hits, api_query_range, api_query_recommend, api_query_why_not, api_why_not,
    api_recall_measure, api_recall;

// What a table cannot say: as many payloads and vectors as ids, ids or a filter but not both, ... OMEN_OK or, in *error, what. The
// struct was read by its shape.
OMEN_MUST_CHECK omen_status api_point_upsert_check(const void *ask, struct omen_error *error);
OMEN_MUST_CHECK omen_status api_point_delete_check(const void *ask, struct omen_error *error);
OMEN_MUST_CHECK omen_status api_point_patch_check(const void *ask, struct omen_error *error);
OMEN_MUST_CHECK omen_status api_query_search_check(const void *ask, struct omen_error *error);
OMEN_MUST_CHECK omen_status api_query_batch_check(const void *ask, struct omen_error *error);
OMEN_MUST_CHECK omen_status api_query_range_check(const void *ask, struct omen_error *error);
OMEN_MUST_CHECK omen_status api_query_why_not_check(const void *ask, struct omen_error *error);
OMEN_MUST_CHECK omen_status api_query_recommend_check(const void *ask, struct omen_error *error);
OMEN_MUST_CHECK omen_status api_recall_measure_check(const void *ask, struct omen_error *error);

#endif
