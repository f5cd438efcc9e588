// tools/omenctl/verbs_data.c -- the nouns about collections, points and queries: a row a verb.
//
// Shape: value.
#include "tools/omenctl/remote.h"

#define VERB(name_, summary_, ...)                                                                 \
    {                                                                                              \
        .name = (name_), .summary = (summary_), .run = remote_run, __VA_ARGS__                     \
    }
#define ARGUMENTS(text, least, most)                                                               \
    .arguments = (text), .arguments_min = (least), .arguments_max = (most)
#define ASKS(...)                                                                                  \
    .remote = &(const struct remote)                                                               \
    {                                                                                              \
        __VA_ARGS__                                                                                \
    }
#define CHANGES .kind = VERB_CHANGES
#define MAKES .kind = VERB_MAKES
#define NOUN(name, summary)                                                                        \
    const struct noun noun_##name = {#name, summary, name##_verbs,                                 \
                                     sizeof name##_verbs / sizeof *name##_verbs}
#define ANY_NUMBER 1000u

#define COLLECTION_COLUMNS "name points dimension metric dtype shards replicas min_insync"

// ---- collection, alias ----

static const struct option_spec create_options[] = {
    {.name = "dimension",
     .letter = 'd',
     .argument = "N",
     .help = "components of a vector, 1..65536"},
    {.name = "metric",
     .argument = "METRIC",
     .choices = "cosine l2 ip",
     .help = "cosine, l2, ip (cosine)"},
    {.name = "dtype",
     .argument = "TYPE",
     .choices = "f32 f16 bf16 i8 u8",
     .help = "how components are stored: f32, f16, bf16, i8, u8 (f32)"},
    {.name = "shards",
     .argument = "N",
     .help = "parts that it is cut into, 1..1024 (one a node with data, 16 at most)"},
    {.name = "replicas",
     .argument = "N",
     .help = "copies of each shard, 1..7 (3, or one a node where there are fewer)"},
    {.name = "min-insync",
     .argument = "N",
     .help = "copies that have a write before it counts (more than half; of two copies one)"},
    {.name = "m", .argument = "N", .help = "links of a point, 2..64 (16)"},
    {.name = "ef-construction", .argument = "N", .help = "how far linking looks, 8..10000 (200)"},
    {.name = "quantization",
     .argument = "NAME",
     .choices = "int8 none",
     .help = "what the graph is walked on: int8 codes, none: the vectors (int8)"},
    {.name = "memory-quota",
     .argument = "BYTES",
     .help = "that a copy of it may have in memory; beyond, what adds is refused (no limit)"},
    {.name = "disk-quota", .argument = "BYTES", .help = "the same on disk"},
    {.name = "if-not-exists", .help = "fine when there is one that is the same"},
    {0},
};
static const struct option_spec update_options[] = {
    {.name = "replicas", .argument = "N", .help = "copies of each shard, 1..7"},
    {.name = "min-insync", .argument = "N", .help = "copies that have a write before it counts"},
    {.name = "memory-quota",
     .argument = "BYTES",
     .help = "that a copy of it may have in memory; 0: no limit any more"},
    {.name = "disk-quota", .argument = "BYTES", .help = "the same on disk"},
    {0},
};
static const struct option_spec drop_options[] = {
    {.name = "if-exists", .help = "fine when there is none"},
    {0},
};
static const struct option_spec build_options[] = {
    // job.c knows their places
    {.name = "gpu",
     .argument = "WHEN",
     .choices = "auto require never",
     .is_own = true,
     .help = "whether a GPU builds: auto, require, never"},
    {.name = "backend",
     .argument = "NAME",
     .choices = "auto cpu cuda",
     .help = "the same by its name: auto, cpu, cuda"},
    {0},
};
static const struct option_spec field_options[] = {
    {.name = "type",
     .argument = "TYPE",
     .choices = "keyword integer float bool datetime uuid",
     .help = "keyword, integer, float, bool, datetime, uuid"},
    {0},
};
static const struct verb collection_verbs[] = {
    VERB("list", "the collections",
         ASKS(.method = METHOD_COLLECTION_LIST, .rows = "collections",
              .columns = COLLECTION_COLUMNS, .nothing = "no collections")),
    VERB("get", "one collection", ARGUMENTS("COLLECTION", 1, 1),
         ASKS(.method = METHOD_COLLECTION_GET, .keys = "collection")),
    VERB("create", "makes a collection", ARGUMENTS("NAME", 1, 1), MAKES, .options = create_options,
         ASKS(.method = METHOD_COLLECTION_CREATE, .keys = "name")),
    VERB("update", "changes how many copies there are, or how much it may hold",
         ARGUMENTS("COLLECTION", 1, 1), CHANGES, .options = update_options,
         ASKS(.method = METHOD_COLLECTION_UPDATE, .keys = "collection",
              .question = "change the collection %s?")),
    VERB("drop", "drops a collection with all its points", ARGUMENTS("COLLECTION", 1, 1), CHANGES,
         .options = drop_options,
         ASKS(.method = METHOD_COLLECTION_DROP, .keys = "collection",
              .question = "drop the collection %s with all its points?")),
    VERB("stats", "how much there is of a collection, in memory and on disk",
         ARGUMENTS("COLLECTION", 1, 1),
         ASKS(.method = METHOD_COLLECTION_STATS, .keys = "collection", .judge = judge_stats)),
    VERB("index-field", "indexes a field of the payloads, for filters",
         ARGUMENTS("COLLECTION FIELD", 2, 2), MAKES, .options = field_options,
         ASKS(.method = METHOD_COLLECTION_INDEX_FIELD, .keys = "collection field")),
    VERB("drop-field", "drops the index of a field", ARGUMENTS("COLLECTION FIELD", 2, 2), CHANGES,
         ASKS(.method = METHOD_COLLECTION_DROP_FIELD, .keys = "collection field",
              .question = "drop the index of a field of the collection %s?")),
    VERB("optimize", "rewrites shards without their deleted points", ARGUMENTS("COLLECTION", 1, 1),
         MAKES, ASKS(.method = METHOD_COLLECTION_OPTIMIZE, .keys = "collection", .waits = true)),
    {.name = "build",
     .summary = "builds the graphs anew",
     .details =
         "Where a node is there that builds and keeps no data (omend --roles builder), it is a "
         "job of that node, which --wait waits for; else each copy links what it has.",
     ARGUMENTS("COLLECTION", 1, 1),
     MAKES,
     .options = build_options,
     ASKS(.method = METHOD_COLLECTION_BUILD, .keys = "collection", .waits = true),
     .run = job_build_run},
};
NOUN(collection, "collections of points");

static const struct verb alias_verbs[] = {
    VERB("set", "a second name for a collection, or for another one than before",
         ARGUMENTS("ALIAS COLLECTION", 2, 2), MAKES,
         ASKS(.method = METHOD_ALIAS_SET, .keys = "alias collection")),
    VERB("list", "the aliases",
         ASKS(.method = METHOD_ALIAS_LIST, .rows = "aliases", .nothing = "no aliases")),
    VERB("drop", "drops an alias; the collection stays", ARGUMENTS("ALIAS", 1, 1), CHANGES,
         ASKS(.method = METHOD_ALIAS_DROP, .keys = "alias", .question = "drop the alias %s?")),
};
NOUN(alias, "second names of collections");

// ---- point ----

#define READS                                                                                      \
    {.name = "consistency",                                                                        \
     .argument = "KIND",                                                                           \
     .choices = "eventual session strong",                                                         \
     .help = "eventual, session (with --after), strong"},                                          \
    {                                                                                              \
        .name = "after", .argument = "TOKEN",                                                      \
        .help = "of an earlier answer: {\"shard\": [term, seq]}"                                   \
    }
#define FILTER                                                                                     \
    {                                                                                              \
        .name = "filter", .argument = "TEXT|JSON",                                                 \
        .help = "only points that match: \"age >= 30 and city == 'Oslo'\""                         \
    }
#define WITH                                                                                       \
    {                                                                                              \
        .name = "with", .argument = "WHAT",                                                        \
        .choices = "payload vector payload,vector vector,payload",                                 \
        .help = "what else to show of each: payload, vector"                                       \
    }
#define IF_VERSION                                                                                 \
    {                                                                                              \
        .name = "if-version", .argument = "N", .help = "only if the point has this version"        \
    }
#define LIMIT                                                                                      \
    {                                                                                              \
        .name = "limit", .argument = "N", .help = "at most so many"                                \
    }

static const struct option_spec upsert_options[] = {
    {.name = "vectors",
     .argument = "JSON|@FILE|-",
     .help = "a list of lists of numbers, one for each id; none: payloads only"},
    {.name = "payloads", .argument = "JSON|@FILE|-", .help = "a list of objects, one for each id"},
    {.name = "mode",
     .argument = "MODE",
     .choices = "upsert insert update",
     .help = "whether points may be there: upsert (either), insert (no), update (yes)"},
    IF_VERSION,
    {0},
};
static const struct option_spec get_options[] = {WITH, READS, {0}};
static const struct option_spec delete_options[] = {FILTER, IF_VERSION, {0}};
static const struct option_spec patch_options[] = {
    {.name = "set",
     .argument = "JSON|@FILE|-",
     .help = "an object whose keys replace the payload's"},
    {.name = "unset", .argument = "KEY,...", .help = "keys that are taken out of the payload"},
    FILTER,
    IF_VERSION,
    {0},
};
static const struct option_spec count_options[] = {FILTER, READS, {0}};
static const struct option_spec scroll_options[] = {
    FILTER, WITH, LIMIT, {.name = "cursor", .argument = "TEXT", .help = "of the page before"},
    READS,  {0},
};
static const struct option_spec facet_options[] = {FILTER, LIMIT, READS, {0}};
#define IDS_HELP "An id of digits is an integer; in JSON's quotes it is a text: '\"42\"'."

static const struct verb point_verbs[] = {
    VERB("get", "points by their ids", ARGUMENTS("COLLECTION ID...", 2, ANY_NUMBER),
         .options = get_options, .details = IDS_HELP,
         ASKS(.method = METHOD_POINT_GET, .keys = "collection ids", .rows = "points",
              .judge = judge_points)),
    VERB("upsert", "writes points", ARGUMENTS("COLLECTION ID...", 2, ANY_NUMBER), MAKES,
         .options = upsert_options, .details = IDS_HELP " Many points: omenctl import.",
         ASKS(.method = METHOD_POINT_UPSERT, .keys = "collection ids")),
    VERB("delete", "deletes points by their ids, or all that match a filter",
         ARGUMENTS("COLLECTION [ID...]", 1, ANY_NUMBER), CHANGES, .options = delete_options,
         .details = IDS_HELP,
         ASKS(.method = METHOD_POINT_DELETE, .keys = "collection ids",
              .question = "delete points of the collection %s?")),
    VERB("patch", "changes keys of payloads", ARGUMENTS("COLLECTION [ID...]", 1, ANY_NUMBER),
         CHANGES, .options = patch_options, .details = IDS_HELP,
         ASKS(.method = METHOD_POINT_PATCH, .keys = "collection ids",
              .question = "change payloads of the collection %s?")),
    VERB("count", "how many points there are", ARGUMENTS("COLLECTION", 1, 1),
         .options = count_options, ASKS(.method = METHOD_POINT_COUNT, .keys = "collection")),
    VERB("scroll", "all points, a page at a time", ARGUMENTS("COLLECTION", 1, 1),
         .options = scroll_options,
         ASKS(.method = METHOD_POINT_SCROLL, .keys = "collection", .rows = "points",
              .nothing = "no points")),
    VERB("facet", "how often each value of a field comes", ARGUMENTS("COLLECTION FIELD", 2, 2),
         .options = facet_options,
         ASKS(.method = METHOD_POINT_FACET, .keys = "collection field", .rows = "values",
              .nothing = "no values")),
};
NOUN(point, "points: written, read, deleted");

// ---- query, recall ----

#define EFFORT                                                                                     \
    {.name = "ef", .argument = "N", .help = "how far to look, 1..10000"},                          \
        {.name = "target-recall",                                                                  \
         .argument = "R",                                                                          \
         .help = "look as far as this recall needs, 0.5..0.9999"},                                 \
        {.name = "oversample", .argument = "N", .help = "candidates for each hit"},                \
        {.name = "exact", .help = "compare with every vector"},                                    \
    {                                                                                              \
        .name = "partial", .help = "an answer without some shards is better than none"             \
    }
#define VECTOR                                                                                     \
    {                                                                                              \
        .name = "vector", .argument = "JSON|@FILE|-", .help = "with these numbers"                 \
    }
#define ID                                                                                         \
    {                                                                                              \
        .name = "id", .argument = "ID", .help = "with the vector of this point"                    \
    }
#define K                                                                                          \
    {                                                                                              \
        .name = "k", .letter = 'k', .argument = "N", .help = "how many hits, 1..10000 (10)"        \
    }

static const struct option_spec search_options[] = {VECTOR, ID,     K,     FILTER,
                                                    WITH,   EFFORT, READS, {0}};
static const struct option_spec batch_options[] = {
    {.name = "vectors", .argument = "JSON|@FILE|-", .help = "a list of lists of numbers"},
    K,
    FILTER,
    WITH,
    EFFORT,
    READS,
    {0}};
static const struct option_spec range_options[] = {
    VECTOR, ID,     {.name = "radius", .argument = "R", .help = "how far away at most"},
    LIMIT,  FILTER, WITH,
    EFFORT, READS,  {0}};
static const struct option_spec recommend_options[] = {
    {.name = "positive", .argument = "ID,...", .help = "points that hits shall be like"},
    {.name = "negative", .argument = "ID,...", .help = "points that they shall not be like"},
    K,
    FILTER,
    WITH,
    EFFORT,
    READS,
    {0}};
static const struct option_spec why_not_options[] = {VECTOR, K, FILTER, EFFORT, READS, {0}};
static const struct option_spec explain_options[] = {VECTOR, ID, K, FILTER, EFFORT, READS, {0}};
static const struct option_spec recall_options[] = {
    {.name = "samples", .argument = "N", .help = "queries that are tried"},
    K,
    FILTER,
    EFFORT,
    READS,
    {0}};

static const struct verb query_verbs[] = {
    VERB("search", "the nearest points to a vector, or to a point", ARGUMENTS("COLLECTION", 1, 1),
         .options = search_options,
         ASKS(.method = METHOD_QUERY_SEARCH, .keys = "collection", .rows = "hits",
              .nothing = "no hits")),
    VERB("explain", "a search, with what each shard did for it and how long it took",
         ARGUMENTS("COLLECTION", 1, 1), .options = explain_options,
         ASKS(.method = METHOD_QUERY_SEARCH, .keys = "collection", .always = "explain")),
    VERB("why-not", "why a point is none of the hits of a search", ARGUMENTS("COLLECTION ID", 2, 2),
         .options = why_not_options, ASKS(.method = METHOD_QUERY_WHY_NOT, .keys = "collection id")),
    VERB("batch", "the nearest points to each of many vectors", ARGUMENTS("COLLECTION", 1, 1),
         .options = batch_options, .details = "Hits are shown with the number of their vector.",
         ASKS(.method = METHOD_QUERY_BATCH, .keys = "collection", .word = "result", .value = "hits",
              .rows = "results", .inside = "hits", .numbered = "query", .nothing = "no hits")),
    VERB("range", "all points within a distance", ARGUMENTS("COLLECTION", 1, 1),
         .options = range_options,
         ASKS(.method = METHOD_QUERY_RANGE, .keys = "collection", .rows = "hits",
              .nothing = "no hits")),
    VERB("recommend", "points that are like some and unlike others", ARGUMENTS("COLLECTION", 1, 1),
         .options = recommend_options,
         ASKS(.method = METHOD_QUERY_RECOMMEND, .keys = "collection", .rows = "hits",
              .nothing = "no hits")),
};
NOUN(query, "searches");

static const struct verb recall_verbs[] = {
    VERB(NULL, "how many of the true nearest points searches find", ARGUMENTS("COLLECTION", 1, 1),
         .options = recall_options, ASKS(.method = METHOD_RECALL_MEASURE, .keys = "collection")),
};
NOUN(recall, "how many of the true nearest points are found");

// ---- import ----

static const struct verb import_verbs[] = {
    {.arguments = "COLLECTION INPUT",
     .arguments_min = 2,
     .arguments_max = 2,
     .kind = VERB_MAKES,
     .summary = "writes the vectors of a file into a collection",
     .details =
         "INPUT is npy, fvecs, bvecs, fbin, u8bin, i8bin, ndjson or csv. Parquet and HDF5: python "
         "-m "
         "omendb import.\n"
         "A line of ndjson is {\"id\": ..., \"vector\": [...], \"payload\": {...}}; without "
         "\"payload\" all other keys "
         "are the payload. A csv has columns id and vector, of JSON; the others are the payload.\n"
         "Rows are upserted, so that it does no harm to begin anew. Rows that are refused are "
         "counted by reason, and the "
         "command ends with 8.",
     .options = import_options,
     .remote = &(const struct remote){.method = METHODS_END},
     .run = import_run},
};
NOUN(import, "writes the vectors of a file into a collection");

static const struct verb export_verbs[] = {
    {.arguments = "COLLECTION [FILE]",
     .arguments_min = 1,
     .arguments_max = 2,
     .summary = "writes the points of a collection as lines of JSON",
     .details =
         "To FILE, which must not be there yet, or to stdout. import reads what was written: "
         "{\"id\": ..., "
         "\"vector\": [...], \"payload\": {...}}. A point that is there from the beginning to the "
         "end is written once. Times of a payload become texts, and binaries \"hex:...\".",
     .options = export_options,
     .remote = &(const struct remote){.method = METHODS_END},
     .run = export_run},
};
NOUN(export, "writes the points of a collection as lines of JSON");

// ---- bench ----

static const struct verb bench_verbs[] = {
    {.name = "search",
     ARGUMENTS("COLLECTION", 1, 1),
     .summary = "searches a collection as fast as it answers",
     .details = "Says how many searches a second there were, how long they took, and how much of "
                "what exact searches find "
                "they found. Ends with 8 when some failed.",
     .options = bench_search_options,
     .remote = &(const struct remote){.method = METHODS_END},
     .run = bench_search_run},
    {.name = "upsert",
     ARGUMENTS("COLLECTION", 1, 1),
     CHANGES,
     .summary = "writes random points into a collection, and deletes them again",
     .details = "Ids begin at 2^62, where nobody's points are unless somebody chose to: what is "
                "there is written over.",
     .options = bench_upsert_options,
     .remote = &(const struct remote){.method = METHODS_END},
     .run = bench_upsert_run},
};
NOUN(bench, "load for a running cluster, and how fast it is");
