// tools/omenctl/import.c -- omenctl import: rows of files into a collection.
//
// Shape: shell.
//
// What a row is, and which rows cannot be stored, is convert.h's; how a batch becomes requests is upsert.h's.
#include <inttypes.h>
#include <string.h>

#include "base/limits.h"
#include "base/os_clock.h"
#include "tools/omenctl/convert.h"
#include "tools/omenctl/inputs.h"
#include "tools/omenctl/interrupt.h"
#include "tools/omenctl/progress.h"
#include "tools/omenctl/remote.h"
#include "tools/omenctl/resume.h"
#include "tools/omenctl/upsert.h"

const struct option_spec import_options[] = {
    INPUTS_FORMAT_OPTION,
    INPUTS_POINT_OPTIONS,
    {.name = "mode",
     .argument = "MODE",
     .choices = "upsert insert update",
     .help = "whether points may be there: upsert (either), insert (no), update (yes)"},
    {.name = "batch", .argument = "N", .help = "rows of a request, 1..10000 (1000)"},
    INPUTS_RANGE_OPTIONS,
    {.name = "resume",
     .is_path = true,
     .argument = "FILE",
     .help = "note there how far it came, and of what; begin where it says"},
    INPUTS_REFUSED_OPTION,
    {.name = "bulk", .help = "link no row before all are there, then all at once; and wait for it"},
    {0},
};

#define HOLD_MS 30000u // that rows of --bulk wait for their build, without a word of ours
#define HOLD_AGAIN_NS 10000000000u

struct import {
    struct call *call;
    struct client *client;
    struct convert convert;
    struct upsert upsert;
    uint32_t batch;
    struct inputs_range range;
    struct resume resume;
    uint64_t started_ns;
    uint64_t hold_at_ns; // rows are to be held back anew
};

// ---- the command ----

static enum exit_code
read_options(struct import *import)
{
    struct call *call = import->call;
    const int mode = call_choice(call, "mode");
    import->upsert.collection = call->arguments[0];
    import->upsert.mode = (uint8_t)(mode + 1);
    import->range.limit = UINT64_MAX;
    import->batch = 1000;
    if (call_has(call, "skip") && call_has(call, "resume"))
        return call_fail(call, EXIT_USAGE, "--resume says what to skip: not both");
    if (!call_u64(call, "first-id", ID_MAX, &import->convert.first_id) ||
        !call_u64(call, "skip", UINT64_MAX, &import->range.skip) ||
        !call_u64(call, "limit", UINT64_MAX, &import->range.limit) ||
        !call_u32(call, "batch", 1, WIRE_BATCH_MAX, &import->batch))
        return EXIT_USAGE;
    return remote_timeout(call, &import->upsert.timeout_ms);
}

static enum exit_code
open_sources(struct import *import)
{
    struct omen_error error = {0};
    const struct convert_files files = inputs_files(import->call, import->call->arguments[1]);
    if (convert_open(&import->convert, &files, &error) != OMEN_OK)
        return call_fail_error(import->call, "nothing was changed", &error);
    return EXIT_FINE;
}

// What the collection takes decides what is sent.
static enum exit_code
open_collection(struct import *import)
{
    struct call *call = import->call;
    struct convert *convert = &import->convert;
    struct omen_error error = {0};
    const struct api_of_collection ask = {.collection = wire_text_of(call->arguments[0])};
    struct api_collection collection = {0};
    struct client_reply reply;
    enum exit_code code = remote_open(call, &import->client);
    if (code != EXIT_FINE)
        return code;
    code = remote_ask(call, import->client, METHOD_COLLECTION_GET, &ask, &reply, &collection);
    if (code == EXIT_FINE)
        code = resume_open(call, import->client, &import->convert, &collection, &import->resume);
    client_reply_fini(&reply);
    if (code != EXIT_FINE)
        return code;
    if (collection.dimension != convert->source.rows.dimension)
        return call_fail(call, EXIT_PRECONDITION,
                         "the rows have %u components, the collection %u; nothing was changed",
                         convert->source.rows.dimension, collection.dimension);
    convert->type = (enum vector_type)collection.dtype;
    import->upsert.client = import->client;
    import->upsert.convert = convert;
    convert->add = upsert_add;
    convert->add_context = &import->upsert;
    if (convert_prepare(convert, &error) != OMEN_OK)
        return call_fail_error(call, "nothing was changed", &error);
    return EXIT_FINE;
}

static enum exit_code
choose_rows(struct import *import)
{
    struct call *call = import->call;
    if (import->resume.found)
        import->range.skip = import->resume.rows;
    const enum exit_code code = inputs_range(call, &import->convert, &import->range);
    if (code == EXIT_FINE && import->resume.found)
        call_talk(call, "begins at row %" PRIu64 " of %" PRIu64 ", as %s says", import->range.skip,
                  import->convert.source.rows.count, call_value(call, "resume"));
    return code;
}

// So that rows of --bulk are not linked one by one. What cannot be asked now is asked the next time: it only costs time.
static void
hold(struct import *import)
{
    const uint64_t now_ns = os_clock_ns();
    const struct api_build ask = {.collection = wire_text_of(import->call->arguments[0]),
                                  .hold_ms = HOLD_MS};
    if (!call_has(import->call, "bulk") || now_ns < import->hold_at_ns)
        return;
    import->hold_at_ns = now_ns + HOLD_AGAIN_NS;
    job_hold(import->client, &ask);
}

static enum exit_code
import_all(struct import *import)
{
    struct call *call = import->call;
    struct convert *convert = &import->convert;
    struct omen_error error = {0};
    struct progress progress;
    enum exit_code code = EXIT_FINE;
    omen_status status = convert_skip(convert, import->range.skip, &error);
    convert->first_row = import->range.skip;
    progress_init(&progress, call, "importing");
    while (status == OMEN_OK && code == EXIT_FINE && convert->source.next < import->range.end &&
           !interrupt_came()) {
        const uint64_t left = import->range.end - convert->source.next;
        hold(import);
        status = convert_batch(convert, left < import->batch ? left : import->batch, &error);
        if (status == OMEN_OK)
            code = resume_note(&import->resume, call, convert->source.next);
        progress_show(&progress, convert->source.next - import->range.skip,
                      import->range.end - import->range.skip);
    }
    progress_end(&progress);
    if (code != EXIT_FINE)
        return code;
    if (status == OMEN_OK && convert->source.next == import->range.end)
        return EXIT_FINE;
    if (status == OMEN_OK) {
        convert->first_row = convert->source.next;
        error_set(&error, OMEN_E_CANCELLED, "interrupted");
    }
    code = status == OMEN_E_NOT_FOUND && convert->source.next > convert->first_row
               ? EXIT_NOT_FOUND
               : exit_code_of(error.status);
    if (error.status == CLIENT_E_UNREACHABLE)
        code = EXIT_UNREACHABLE;
    return call_fail(call, code,
                     "%s\nrows before row %" PRIu64 " are settled; to go on: --skip %" PRIu64,
                     error.text, convert->first_row, convert->first_row);
}

static enum exit_code
print_summary(const struct import *import)
{
    const struct convert *convert = &import->convert;
    const struct call *call = import->call;
    const double seconds = (double)(os_clock_ns() - import->started_ns) / 1e9;
    struct doc *doc = NULL;
    if (doc_open(DOC_MAP, &doc) != OMEN_OK)
        return call_fail(call, EXIT_OTHER, "no memory");
    struct doc_node *root = doc_root(doc);
    doc_text(doc, root, "input", call->arguments[1]);
    doc_text(doc, root, "format", rows_format_names[convert->source.rows.format]);
    doc_text(doc, root, "collection", call->arguments[0]);
    doc_bool(doc, root, "dry_run", call->dry_run);
    doc_uint(doc, root, "dimension", convert->source.rows.dimension);
    doc_uint(doc, root, "first_row", import->range.skip);
    doc_uint(doc, root, "rows", import->range.end - import->range.skip);
    if (!call->dry_run) {
        doc_uint(doc, root, "written", convert->added);
        doc_uint(doc, root, "refused", convert->refusals.count);
        doc_double(doc, root, "seconds", seconds);
        refusals_doc(&convert->refusals, doc, root);
    }
    return inputs_summary(call, convert, &import->range, doc);
}

static enum exit_code
run_import(struct import *import)
{
    struct call *call = import->call;
    enum exit_code code = read_options(import);
    if (code == EXIT_FINE)
        code = open_sources(import);
    if (code == EXIT_FINE)
        code = open_collection(import);
    if (code == EXIT_FINE)
        code = choose_rows(import);
    if (code != EXIT_FINE)
        return code;
    if (call->dry_run)
        return print_summary(import);
    code = inputs_refused_open(call, &import->convert.refusals);
    if (code == EXIT_FINE)
        code = inputs_refused_close(call, &import->convert.refusals, import_all(import));
    if (code != EXIT_FINE)
        return code;
    code = print_summary(import);
    const bool builds = call_has(call, "bulk") && (code == EXIT_FINE || code == EXIT_PARTIAL);
    const enum exit_code built =
        builds ? job_build(call, import->client, call->arguments[0]) : EXIT_FINE;
    return code == EXIT_FINE ? built : code;
}

enum exit_code
import_run(struct call *call)
{
    struct import import = {.call = call, .started_ns = os_clock_ns()};
    interrupt_watch();
    const enum exit_code code = run_import(&import);
    client_close(import.client);
    convert_fini(&import.convert);
    return code;
}
