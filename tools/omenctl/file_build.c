// tools/omenctl/file_build.c -- omenctl file build: links made offline, on a GPU where there is one.
//
// Shape: shell.
#include <string.h>

#include "base/limits.h"
#include "tools/omenctl/file.h"
#include "tools/omenctl/interrupt.h"
#include "tools/omenctl/progress.h"

const struct option_spec file_build_options[] = {
    {.name = "gpu",
     .argument = "WHEN",
     .choices = "auto require never",
     .help = "whether a GPU builds: auto (default), require, never"},
    {.name = "max-memory",
     .argument = "BYTES",
     .help = "that links made at once may take beside the index; no limit"},
    {.name = "threads", .argument = "N", .help = "that link; one for each processor"},
    {.name = "again", .help = "make links that are there anew, too"},
    {0},
};

struct building {
    const struct call *call;
    omen_options open;
    omen_build_options build;
    omen_build_report report;
    omen_statistics before;
};

static bool
read_options(struct building *building)
{
    static const omen_backend backends[] = {OMEN_BACKEND_AUTO, OMEN_BACKEND_CUDA, OMEN_BACKEND_CPU};
    const struct call *call = building->call;
    const int gpu = call_choice(call, "gpu");
    if (gpu >= 0)
        building->build.backend = backends[gpu];
    building->build.again = call_has(call, "again");
    return call_u64(call, "max-memory", UINT64_MAX, &building->build.max_memory) &&
           call_u32(call, "threads", 1, THREADS_MAX, &building->open.threads);
}

static int
show(void *context, uint64_t linked, uint64_t total)
{
    progress_show(context, linked, total);
    return interrupt_came();
}

// The links come to the file, also those that were made before somebody lost patience.
static enum exit_code
build(struct building *building, omen_index_t index)
{
    const struct call *call = building->call;
    struct progress progress;
    progress_init(&progress, call, "linking");
    interrupt_watch();
    building->build.progress = show;
    building->build.context = &progress;
    building->build.report = &building->report;
    omen_status status = omen_build(index, &building->build);
    progress_end(&progress);
    if (status == OMEN_E_CANCELLED)
        return call_fail(
            call, EXIT_OTHER,
            "interrupted before everything was linked; the next that opens it goes on");
    if (status == OMEN_OK)
        status = omen_flush(index);
    return status == OMEN_OK ? EXIT_FINE : call_fail_status(call, call->arguments[0], status);
}

static void
add_text_or_null(struct doc *doc, const char *key, const char *text)
{
    if (text[0] != '\0')
        doc_text(doc, doc_root(doc), key, text);
    else
        doc_null(doc, doc_root(doc), key);
}

static void
add_stages(struct doc *doc, const omen_build_report *report)
{
    struct doc_node *stages = doc_list(doc, doc_root(doc), "stages");
    for (uint32_t i = 0; i < report->stage_count; i++) {
        const omen_build_stage *stage = &report->stages[i];
        struct doc_node *node = doc_map(doc, stages, NULL);
        doc_text(doc, node, "name", stage->name);
        doc_double(doc, node, "seconds", stage->seconds);
        doc_bytes(doc, node, "memory", stage->memory);
        doc_bytes(doc, node, "read", stage->read);
    }
}

static enum exit_code
print(const struct building *building)
{
    static const char *const names[] = {"", "cpu", "cuda"};
    const struct call *call = building->call;
    const omen_build_report *report = &building->report;
    struct doc *doc = NULL;
    if (doc_open(DOC_MAP, &doc) != OMEN_OK)
        return call_fail(call, EXIT_OTHER, "no memory");
    struct doc_node *root = doc_root(doc);
    doc_text(doc, root, "path", call->arguments[0]);
    doc_bool(doc, root, "dry_run", call->dry_run);
    doc_uint(doc, root, "points", building->before.count);
    doc_uint(doc, root, "unlinked_rows", building->before.tail);
    if (!call->dry_run) {
        add_text_or_null(doc, "backend", names[report->backend]);
        doc_uint(doc, root, "built_rows", report->rows);
        doc_double(doc, root, "seconds", report->seconds);
        add_text_or_null(doc, "device", report->device);
        add_text_or_null(doc, "reason", report->reason);
        doc_bytes(doc, root, "memory", report->memory);
        add_stages(doc, report);
        doc_bytes(doc, root, "file_bytes", file_bytes_at(call->arguments[0]));
    }
    const enum exit_code code = call_print(call, doc);
    doc_close(doc);
    return code;
}

enum exit_code
file_build(struct call *call)
{
    struct building building = {.call = call,
                                .open = OMEN_OPTIONS_INIT,
                                .build = OMEN_BUILD_OPTIONS_INIT,
                                .report = {.struct_size = sizeof building.report},
                                .before = {.struct_size = sizeof building.before}};
    omen_index_t index = NULL;
    if (!read_options(&building))
        return EXIT_USAGE;
    building.open.path = call->arguments[0];
    building.open.read_only = call->dry_run;
    omen_status status = omen_open(&building.open, &index);
    if (status != OMEN_OK)
        return call_fail_status(call, call->arguments[0], status);
    enum exit_code code = EXIT_FINE;
    status = omen_stats(index, &building.before);
    if (status != OMEN_OK)
        code = call_fail_status(call, call->arguments[0], status);
    else if (!call->dry_run)
        code = build(&building, index);
    omen_close(index);
    return code == EXIT_FINE ? print(&building) : code;
}
