// tools/omenctl/file_convert.c -- omenctl file convert: an index from a file of vectors.
//
// Shape: shell.
#include <inttypes.h>
#include <string.h>

#include "base/limits.h"
#include "base/os_clock.h"
#include "tools/omenctl/convert.h"
#include "tools/omenctl/file.h"
#include "tools/omenctl/inputs.h"
#include "tools/omenctl/interrupt.h"
#include "tools/omenctl/progress.h"

#define FIELD_TYPES "keyword integer float bool datetime uuid"

const struct option_spec file_convert_options[] = {
    INPUTS_FORMAT_OPTION,
    {.name = "metric",
     .argument = "METRIC",
     .choices = "cosine l2 ip",
     .help = "cosine (default), l2, ip"},
    {.name = "dtype",
     .argument = "TYPE",
     .choices = "f32 f16 bf16 i8 u8",
     .help = "how the index stores components; as INPUT does"},
    {.name = "algorithm",
     .argument = "NAME",
     .choices = "hnsw flat",
     .help = "hnsw (default), flat"},
    {.name = "quantization",
     .argument = "NAME",
     .choices = "int8 none",
     .help = "what the graph is walked on: int8 codes (default), none: the vectors"},
    {.name = "m", .argument = "N", .help = "links of a point, 2..64 (16)"},
    {.name = "ef-construction", .argument = "N", .help = "how far linking looks, 8..10000 (200)"},
    {.name = "slots-max", .argument = "N", .help = "rows that the index can ever hold (2^24-2)"},
    {.name = "threads", .argument = "N", .help = "that link; one for each processor"},
    {.name = "seed", .argument = "N", .help = "same seed, one thread and same rows: same graph"},
    INPUTS_POINT_OPTIONS,
    {.name = "index-fields",
     .argument = "LIST",
     .help = "fields of payloads to index: city:keyword,age:integer"},
    INPUTS_RANGE_OPTIONS,
    {.name = "append", .help = "add to the index that is at PATH already"},
    INPUTS_REFUSED_OPTION,
    {0},
};

struct job {
    struct call *call;
    struct convert convert;
    omen_options options;
    struct inputs_range range;
    uint64_t started_ns;
};

// ---- the command line ----

static bool
read_options(struct job *job)
{
    struct call *call = job->call;
    omen_options *options = &job->options;
    const int metric = call_choice(call, "metric"), dtype = call_choice(call, "dtype");
    const int algorithm = call_choice(call, "algorithm");
    const int quantization = call_choice(call, "quantization");
    job->range.limit = UINT64_MAX;
    if (metric >= 0)
        options->metric = (omen_metric)metric;
    options->dtype = (omen_dtype)(dtype + 1); // 0: not said
    options->algorithm = algorithm == 1 ? OMEN_FLAT : OMEN_HNSW;
    options->quantization = quantization == 1 ? OMEN_QUANTIZE_NONE : OMEN_QUANTIZE_INT8;
    return call_u32(call, "m", 2, LINKS_PER_NODE_MAX, &options->m) &&
           call_u32(call, "ef-construction", 8, BEAM_MAX, &options->ef_construction) &&
           call_u32(call, "slots-max", 1, SLOTS_MAX, &options->slots_max) &&
           call_u32(call, "threads", 0, THREADS_MAX, &options->threads) &&
           call_u64(call, "seed", UINT64_MAX, &options->seed) &&
           call_u64(call, "first-id", ID_MAX, &job->convert.first_id) &&
           call_u64(call, "skip", UINT64_MAX, &job->range.skip) &&
           call_u64(call, "limit", UINT64_MAX, &job->range.limit);
}

// What an index is stands in its file: saying it again can only be an error.
static enum exit_code
check_append(const struct call *call)
{
    static const char *const fixed[] = {"metric", "dtype",           "algorithm", "quantization",
                                        "m",      "ef-construction", "slots-max", "seed"};
    for (size_t i = 0; i < sizeof fixed / sizeof *fixed; i++)
        if (call_has(call, fixed[i]))
            return call_fail(call, EXIT_USAGE, "--%s is what the index has; not with --append",
                             fixed[i]);
    return EXIT_FINE;
}

static enum exit_code
open_sources(struct job *job)
{
    struct call *call = job->call;
    struct convert *convert = &job->convert;
    struct omen_error error = {0};
    const struct convert_files files = inputs_files(call, call->arguments[0]);
    omen_status status = convert_open(convert, &files, &error);
    if (job->options.dtype == 0)
        job->options.dtype = (omen_dtype)convert->source.rows.type;
    if (status == OMEN_OK && !call_has(call, "append")) // else the index says what it takes
        status = convert_check_types(convert->source.rows.type,
                                     (enum vector_type)job->options.dtype, &error);
    if (status != OMEN_OK)
        return call_fail_error(call, "nothing was changed", &error);
    return inputs_range(call, convert, &job->range);
}

// "city:keyword,age:integer". With an index the fields are declared, without one only looked at.
static enum exit_code
declare_fields(const struct job *job, omen_index_t index)
{
    static const char *const types[] = {"keyword", "integer", "float", "bool", "datetime", "uuid"};
    const char *at = call_value(job->call, "index-fields");
    while (at != NULL && *at != '\0') {
        char entry[FIELD_NAME_BYTES_MAX + 16];
        const size_t bytes = strcspn(at, ",");
        int type = 0;
        if (bytes >= sizeof entry)
            return call_fail(job->call, EXIT_USAGE,
                             "--index-fields has a name of more than %u bytes",
                             FIELD_NAME_BYTES_MAX);
        memcpy(entry, at, bytes);
        entry[bytes] = '\0';
        char *colon = strrchr(entry, ':');
        for (int i = 0; colon != NULL && i < 6; i++)
            if (strcmp(colon + 1, types[i]) == 0)
                type = i + 1;
        if (type == 0 || colon == entry)
            return call_fail(job->call, EXIT_USAGE,
                             "--index-fields: '%s' is not NAME:TYPE with one of %s", entry,
                             FIELD_TYPES);
        *colon = '\0';
        const omen_status status =
            index != NULL ? omen_field_index(index, entry, (omen_field_type)type) : OMEN_OK;
        if (status != OMEN_OK)
            return call_fail_status(job->call, entry, status);
        at += bytes + (at[bytes] == ',');
    }
    return EXIT_FINE;
}

// ---- the index ----

static enum exit_code
open_index(struct job *job)
{
    struct call *call = job->call;
    struct convert *convert = &job->convert;
    omen_statistics stats = {.struct_size = sizeof stats};
    struct omen_error error = {0};
    const uint32_t dimension = convert->source.rows.dimension;
    job->options.path = call->arguments[1];
    job->options.durability = OMEN_DURABLE_INTERVAL; // the flush at the end is what counts
    if (!call_has(call, "append"))
        job->options.dimension = dimension;
    omen_status status = omen_open(&job->options, &convert->index);
    if (status == OMEN_OK)
        status = omen_stats(convert->index, &stats);
    if (status != OMEN_OK)
        return call_fail_status(call, call->arguments[1], status);
    if (stats.dimension != dimension)
        return call_fail(call, EXIT_PRECONDITION,
                         "the rows have %u components, the index %u; nothing was changed",
                         dimension, stats.dimension);
    convert->type = (enum vector_type)stats.dtype;
    status = convert_prepare(convert, &error);
    return status == OMEN_OK ? declare_fields(job, convert->index)
                             : call_fail_error(call, "nothing was changed", &error);
}

static int
show_linking(void *context, uint64_t linked, uint64_t total)
{
    progress_show(context, linked, total);
    return interrupt_came();
}

// What is in the index stays there, so that the rest can follow.
static enum exit_code
give_up(const struct job *job, const char *why, enum exit_code code)
{
    if (job->convert.added == 0 && job->convert.first_row == job->range.skip)
        return call_fail(job->call, code, "%s\nno row was added", why);
    return call_fail(job->call, code,
                     "%s\nrows before row %" PRIu64
                     " are in the index; to go on: --append --skip %" PRIu64,
                     why, job->convert.first_row, job->convert.first_row);
}

static enum exit_code
link_all(struct job *job)
{
    struct progress progress;
    progress_init(&progress, job->call, "linking");
    omen_build_options build = OMEN_BUILD_OPTIONS_INIT;
    build.progress = show_linking;
    build.context = &progress;
    omen_status status = omen_build(job->convert.index, &build);
    progress_end(&progress);
    if (status == OMEN_E_CANCELLED)
        call_talk(job->call,
                  "stopped before everything was linked; the next that opens it goes on");
    if (status == OMEN_OK)
        status = omen_flush(job->convert.index);
    if (status == OMEN_OK || status == OMEN_E_CANCELLED)
        return EXIT_FINE;
    return call_fail_status(job->call, "every row was added, but linking failed", status);
}

static enum exit_code
add_all(struct job *job)
{
    struct convert *convert = &job->convert;
    struct omen_error error = {0};
    struct progress progress;
    omen_status status = convert_skip(convert, job->range.skip, &error);
    convert->first_row = job->range.skip;
    progress_init(&progress, job->call, "adding");
    while (status == OMEN_OK && convert->source.next < job->range.end && !interrupt_came()) {
        status = convert_batch(convert, job->range.end - convert->source.next, &error);
        progress_show(&progress, convert->source.next - job->range.skip,
                      job->range.end - job->range.skip);
    }
    progress_end(&progress);
    if (status != OMEN_OK) {
        const bool ends_early = status == OMEN_E_NOT_FOUND; // ids or payloads
        return give_up(job, error.text, ends_early ? EXIT_USAGE : exit_code_of(status));
    }
    if (convert->source.next < job->range.end) {
        convert->first_row = convert->source.next;
        return give_up(job, "interrupted", EXIT_OTHER);
    }
    return link_all(job);
}

// ---- the summary ----

static enum exit_code
print_summary(const struct job *job)
{
    const struct convert *convert = &job->convert;
    const struct call *call = job->call;
    const double seconds = (double)(os_clock_ns() - job->started_ns) / 1e9;
    struct doc *doc = NULL;
    if (doc_open(DOC_MAP, &doc) != OMEN_OK)
        return call_fail(call, EXIT_OTHER, "no memory");
    struct doc_node *root = doc_root(doc);
    doc_text(doc, root, "input", call->arguments[0]);
    doc_text(doc, root, "format", rows_format_names[convert->source.rows.format]);
    doc_text(doc, root, "path", call->arguments[1]);
    doc_bool(doc, root, "dry_run", call->dry_run);
    doc_uint(doc, root, "dimension", convert->source.rows.dimension);
    doc_text(doc, root, "input_dtype", file_dtype_name((int)convert->source.rows.type));
    doc_uint(doc, root, "rows", job->range.end - job->range.skip);
    if (!call->dry_run) {
        doc_uint(doc, root, "added", convert->added);
        doc_uint(doc, root, "refused", convert->refusals.count);
        doc_double(doc, root, "seconds", seconds);
        doc_bytes(doc, root, "file_bytes", file_bytes_at(call->arguments[1]));
        refusals_doc(&convert->refusals, doc, root);
    }
    return inputs_summary(call, convert, &job->range, doc);
}

static enum exit_code
run_job(struct job *job)
{
    struct call *call = job->call;
    enum exit_code code =
        call_has(call, "append") ? check_append(call) : file_check_free(call, call->arguments[1]);
    if (code == EXIT_FINE)
        code = open_sources(job);
    if (code == EXIT_FINE)
        code = declare_fields(job, NULL);
    if (code != EXIT_FINE)
        return code;
    if (call->dry_run)
        return print_summary(job);
    code = inputs_refused_open(call, &job->convert.refusals);
    if (code != EXIT_FINE)
        return code;
    code = open_index(job);
    if (code == EXIT_FINE)
        code = add_all(job);
    omen_close(job->convert.index);
    code = inputs_refused_close(call, &job->convert.refusals, code);
    return code == EXIT_FINE ? print_summary(job) : code;
}

enum exit_code
file_convert(struct call *call)
{
    struct job job = {.call = call, .options = OMEN_OPTIONS_INIT, .started_ns = os_clock_ns()};
    if (!read_options(&job))
        return EXIT_USAGE;
    interrupt_watch();
    const enum exit_code code = run_job(&job);
    convert_fini(&job.convert);
    return code;
}
