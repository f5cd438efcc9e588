// tools/omenctl/file_search.c -- omenctl file search: one query to an index on disk.
//
// Shape: shell.
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/limits.h"
#include "index/vector.h"
#include "tools/omenctl/file.h"
#include "tools/omenctl/vector_text.h"

#define DEFAULT_K 10u

const struct option_spec file_search_options[] = {
    {.name = "vector", .argument = "JSON|@FILE|-", .help = "search with these numbers"},
    {.name = "id", .argument = "ID", .help = "search with the vector of this point"},
    {.name = "k", .letter = 'k', .argument = "N", .help = "how many hits, 1..10000 (10)"},
    {.name = "ef", .argument = "N", .help = "how far to look, 1..10000"},
    {.name = "target-recall",
     .argument = "R",
     .help = "look as far as this recall needs, 0.5..0.9999"},
    {.name = "filter",
     .argument = "TEXT",
     .help = "only points that match: \"age >= 30 and city == 'Oslo'\""},
    {.name = "exact", .help = "compare with every vector"},
    {.name = "with",
     .argument = "WHAT",
     .choices = "payload vector payload,vector vector,payload",
     .help = "what else to show of each hit: payload, vector"},
    {0},
};

struct search {
    struct call *call;
    omen_index_t index;
    omen_statistics stats;
    struct buffer vector; // f32
    bool is_by_id;
    uint64_t id; // then: which is not to be among the hits
    omen_query_options options;
    omen_query_report report;
};

// ---- the vector ----

static enum exit_code
read_vector(struct search *search, const char *given)
{
    struct omen_error error = {0};
    if (vector_text_read(given, &search->vector, &error) != OMEN_OK)
        return call_fail_error(search->call, "--vector", &error);
    return EXIT_FINE;
}

// An index of texts has given a text to its key 0.
static bool
has_text_ids(omen_index_t index)
{
    char text[256];
    return omen_id_text(index, 0, text, sizeof text) == OMEN_OK;
}

static enum exit_code
find_id(struct search *search, const char *given)
{
    char *end;
    if (has_text_ids(search->index)) {
        const omen_status status = omen_id_key(search->index, given, &search->id);
        return status == OMEN_OK ? EXIT_FINE : call_fail_status(search->call, "--id", status);
    }
    errno = 0;
    search->id = strtoull(given, &end, 10);
    if (given[0] < '0' || given[0] > '9' || *end != '\0' || errno != 0)
        return call_fail(search->call, EXIT_USAGE, "--id is '%s', but this index has integer ids",
                         given);
    return EXIT_FINE;
}

static enum exit_code
vector_of_id(struct search *search, const char *given)
{
    omen_points_t points = NULL;
    float *values;
    enum exit_code code = find_id(search, given);
    if (code != EXIT_FINE)
        return code;
    const omen_status status = omen_get(search->index, &search->id, 1, OMEN_WITH_VECTOR, &points);
    if (status != OMEN_OK)
        return call_fail_status(search->call, "--id", status);
    const size_t bytes = search->stats.dimension * sizeof *values;
    if (!omen_points_found(points, 0)) {
        code = call_fail(search->call, EXIT_NOT_FOUND, "there is no point with the id '%s'", given);
    } else if ((values = mem_alloc(bytes)) == NULL) {
        code = call_fail(search->call, EXIT_OTHER, "no memory");
    } else {
        vector_to_f32((enum vector_type)search->stats.dtype, omen_points_vector(points, 0),
                      search->stats.dimension, values);
        search->vector = (struct buffer){(uint8_t *)values, bytes, bytes};
        search->is_by_id = true;
    }
    omen_points_free(points);
    return code;
}

// ---- the answer ----

static void
add_vector(struct doc *doc, struct doc_node *parent, const struct search *search, const void *row)
{
    struct doc_node *list = doc_list(doc, parent, "vector");
    float value;
    const size_t bytes = vector_type_bytes((enum vector_type)search->stats.dtype);
    for (uint32_t i = 0; row != NULL && i < search->stats.dimension; i++) {
        vector_to_f32((enum vector_type)search->stats.dtype, (const uint8_t *)row + i * bytes, 1,
                      &value);
        doc_single(doc, list, NULL, value);
    }
}

static enum exit_code
add_hits(struct search *search, struct doc *doc, const uint64_t *ids, const float *distances,
         uint32_t count)
{
    const char *with = call_value(search->call, "with");
    const bool wants_payload = with != NULL && strstr(with, "payload") != NULL;
    const bool wants_vector = with != NULL && strstr(with, "vector") != NULL;
    omen_points_t points = NULL;
    if (with != NULL) {
        const int what =
            (wants_payload ? OMEN_WITH_PAYLOAD : 0) | (wants_vector ? OMEN_WITH_VECTOR : 0);
        const omen_status status = omen_get(search->index, ids, count, what, &points);
        if (status != OMEN_OK)
            return call_fail_status(search->call, "--with", status);
    }
    for (uint32_t i = 0; i < count; i++) {
        struct doc_node *hit = doc_map(doc, doc_root(doc), NULL);
        file_doc_id(doc, hit, "id", search->index, ids[i]);
        doc_single(doc, hit, "distance", distances[i]);
        if (wants_payload) {
            size_t bytes = 0;
            const void *payload = omen_points_payload(points, i, &bytes);
            doc_msgpack(doc, hit, "payload", payload, bytes);
        }
        if (wants_vector)
            add_vector(doc, hit, search, omen_points_vector(points, i));
    }
    omen_points_free(points);
    return EXIT_FINE;
}

// Takes the point that was searched with out of its own hits. How many are left, at most `wanted`.
static uint32_t
without_itself(const struct search *search, uint64_t *ids, float *distances, uint32_t found,
               uint32_t wanted)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < found && kept < wanted; i++) {
        if (search->is_by_id && ids[i] == search->id)
            continue;
        ids[kept] = ids[i];
        distances[kept++] = distances[i];
    }
    return kept;
}

static void
talk_about(const struct search *search)
{
    static const char *const strategies[] = {"graph", "filtered graph", "exact scan"};
    const omen_query_report *report = &search->report;
    if ((report->warnings & OMEN_WARN_UNINDEXED_FIELD) != 0)
        call_talk(search->call,
                  "warning: the filter names a field without an index, so payloads were scanned");
    if ((report->warnings & OMEN_WARN_NOT_CALIBRATED) != 0)
        call_talk(search->call,
                  "warning: too little data to calibrate --target-recall; a safe ef was used");
    call_talk(search->call, "%s: %llu distances on codes, %llu exact",
              report->strategy < 3 ? strategies[report->strategy] : "?",
              (unsigned long long)report->evaluations, (unsigned long long)report->exact_distances);
}

static enum exit_code
query(struct search *search, uint32_t k, struct doc *doc)
{
    const uint32_t asked = search->is_by_id && k < TOPK_MAX ? k + 1 : k;
    uint64_t *ids = mem_alloc(asked * sizeof *ids);
    float *distances = mem_alloc(asked * sizeof *distances);
    uint32_t found = 0;
    enum exit_code code = EXIT_FINE;
    search->options.k = asked;
    search->options.report = &search->report;
    if (ids == NULL || distances == NULL) {
        code = call_fail(search->call, EXIT_OTHER, "no memory");
    } else {
        const omen_status status = omen_query(search->index, search->vector.bytes, &search->options,
                                              ids, distances, &found);
        if (status != OMEN_OK)
            code = call_fail_status(search->call, "searching", status);
    }
    if (code == EXIT_FINE) {
        found = without_itself(search, ids, distances, found, k);
        code = add_hits(search, doc, ids, distances, found);
    }
    mem_free(ids);
    mem_free(distances);
    return code;
}

static enum exit_code
search_open(struct search *search, uint32_t k)
{
    struct call *call = search->call;
    struct doc *doc = NULL;
    search->stats.struct_size = sizeof search->stats;
    const omen_status status = omen_stats(search->index, &search->stats);
    if (status != OMEN_OK)
        return call_fail_status(call, call->arguments[0], status);
    const char *id = call_value(call, "id");
    enum exit_code code =
        id != NULL ? vector_of_id(search, id) : read_vector(search, call_value(call, "vector"));
    if (code != EXIT_FINE)
        return code;
    const size_t components = search->vector.count / sizeof(float);
    if (components != search->stats.dimension)
        return call_fail(call, EXIT_USAGE, "the vector has %zu components, the index %u",
                         components, search->stats.dimension);
    if (doc_open(DOC_LIST, &doc) != OMEN_OK)
        return call_fail(call, EXIT_OTHER, "no memory");
    code = query(search, k, doc);
    if (code == EXIT_FINE) {
        talk_about(search);
        code = call_print(call, doc);
    }
    doc_close(doc);
    return code;
}

enum exit_code
file_search(struct call *call)
{
    struct search search = {.call = call, .options = OMEN_QUERY_OPTIONS_INIT};
    uint32_t k = DEFAULT_K;
    if (!call_u32(call, "k", 1, TOPK_MAX, &k) ||
        !call_u32(call, "ef", 1, BEAM_MAX, &search.options.ef) ||
        !call_number(call, "target-recall", 0.5, 0.9999, &search.options.target_recall))
        return EXIT_USAGE;
    if (call_has(call, "vector") == call_has(call, "id"))
        return call_fail(call, EXIT_USAGE, "say what to search with: either --vector or --id");
    search.options.exact = call_has(call, "exact");
    search.options.filter = call_value(call, "filter");
    enum exit_code code = file_open(call, call->arguments[0], FILE_READ, &search.index);
    if (code == EXIT_FINE)
        code = search_open(&search, k);
    omen_close(search.index);
    buffer_fini(&search.vector);
    return code;
}
