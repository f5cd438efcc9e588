// tools/omenctl/file_info.c -- omenctl file info: what an index is and how much of it there is.
//
// Shape: shell.
#include "tools/omenctl/file.h"

static void
add_options(struct doc *doc, const omen_statistics *stats)
{
    struct doc_node *options = doc_map(doc, doc_root(doc), "options");
    doc_uint(doc, options, "dimension", stats->dimension);
    doc_text(doc, options, "metric", file_metric_name(stats->metric));
    doc_text(doc, options, "dtype", file_dtype_name(stats->dtype));
    doc_text(doc, options, "algorithm", stats->algorithm == OMEN_FLAT ? "flat" : "hnsw");
    doc_text(doc, options, "quantization",
             stats->quantization == OMEN_QUANTIZE_NONE ? "none" : "int8");
    doc_uint(doc, options, "m", stats->m);
    doc_uint(doc, options, "ef_construction", stats->ef_construction);
}

static void
add_rows(struct doc *doc, const omen_statistics *stats)
{
    struct doc_node *rows = doc_map(doc, doc_root(doc), "rows");
    doc_uint(doc, rows, "points", stats->count);
    doc_uint(doc, rows, "rows", stats->rows);
    doc_uint(doc, rows, "deleted", stats->deleted);
    doc_uint(doc, rows, "tail", stats->tail);
}

enum exit_code
file_info(struct call *call)
{
    const char *path = call->arguments[0];
    omen_statistics stats = {.struct_size = sizeof stats};
    struct doc *doc = NULL;
    omen_index_t index = NULL;
    enum exit_code code = file_open(call, path, FILE_READ, &index);
    if (code != EXIT_FINE)
        return code;
    const omen_status status = omen_stats(index, &stats);
    omen_close(index);
    if (status != OMEN_OK)
        return call_fail_status(call, path, status);
    if (doc_open(DOC_MAP, &doc) != OMEN_OK)
        return call_fail(call, EXIT_OTHER, "no memory");
    doc_text(doc, doc_root(doc), "path", path);
    add_options(doc, &stats);
    add_rows(doc, &stats);
    doc_bytes(doc, doc_root(doc), "file_bytes", file_bytes_at(path));
    doc_double(doc, doc_root(doc), "open_seconds", stats.open_seconds);
    code = call_print(call, doc);
    doc_close(doc);
    return code;
}
