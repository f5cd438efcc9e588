// tools/omenctl/file_info.c -- omenctl file info: what an index is and how much of it there is.
//
// Shape: shell.
#include "tools/omenctl/file.h"

#include <inttypes.h>
#include <string.h>
#include <time.h>

#include "base/value.h"
#include "tools/omenctl/inside.h"

static void
add_identity(struct doc *doc, const struct inside *inside)
{
    const uint8_t *uuid = inside->format.uuid;
    const struct instant created = {.seconds = (int64_t)inside->format.created_s};
    char text[40], date[INSTANT_TEXT_BYTES];
    struct doc_node *root = doc_root(doc);
    snprintf(text, sizeof text,
             "%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x", uuid[0],
             uuid[1], uuid[2], uuid[3], uuid[4], uuid[5], uuid[6], uuid[7], uuid[8], uuid[9],
             uuid[10], uuid[11], uuid[12], uuid[13], uuid[14], uuid[15]);
    doc_uint(doc, root, "format", inside->format.format);
    doc_text(doc, root, "uuid", text);
    if (instant_print(created, date))
        doc_text(doc, root, "created", date);
    doc_text_bytes(doc, root, "made_by", inside->format.library,
                   strnlen(inside->format.library, sizeof inside->format.library));
    doc_uint(doc, root, "generation", inside->manifest.generation);
}

static void
add_options(struct doc *doc, const struct journal_options *kept)
{
    struct doc_node *options = doc_map(doc, doc_root(doc), "options");
    doc_uint(doc, options, "dimension", kept->dimension);
    doc_text(doc, options, "metric", file_metric_name((int)kept->metric));
    doc_text(doc, options, "dtype", file_dtype_name((int)kept->dtype));
    doc_text(doc, options, "algorithm", kept->algorithm == OMEN_FLAT ? "flat" : "hnsw");
    doc_text(doc, options, "quantization",
             kept->quantization == OMEN_QUANTIZE_NONE ? "none" : "int8");
    doc_uint(doc, options, "m", kept->m);
    doc_uint(doc, options, "ef_construction", kept->ef_construction);
    doc_uint(doc, options, "slots_max", kept->slots_max);
    doc_uint(doc, options, "id_max", kept->id_max);
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

static void
add_file(struct doc *doc, const struct inside *inside)
{
    const struct manifest *manifest = &inside->manifest;
    struct doc_node *checkpoint = doc_map(doc, doc_root(doc), "checkpoint");
    doc_uint(doc, checkpoint, "number", manifest->checkpoint);
    doc_uint(doc, checkpoint, "seq", manifest->seq);
    doc_uint(doc, checkpoint, "rows", manifest->rows);
    doc_uint(doc, checkpoint, "linked", manifest->linked);
    struct doc_node *log = doc_map(doc, doc_root(doc), "log");
    doc_uint(doc, log, "entries", inside->log_last_seq + 1 - inside->log_first_seq);
    doc_uint(doc, log, "last_seq", inside->log_last_seq);
    doc_bytes(doc, log, "bytes", inside->log.bytes);
    struct doc_node *file = doc_map(doc, doc_root(doc), "file");
    doc_bytes(doc, file, "bytes", inside->usage.file_bytes);
    doc_bytes(doc, file, "free_bytes", inside->usage.free_bytes);
    doc_bytes(doc, file, "unused_bytes", inside->unused.bytes);
    struct doc_node *arrays = doc_list(doc, doc_root(doc), "arrays");
    for (uint32_t i = 0; i < INSIDE_ARRAYS; i++) {
        char number[16];
        const char *name = inside_array_name(i);
        if (inside->arrays[i].values == 0)
            continue;
        snprintf(number, sizeof number, "array %" PRIu32, i);
        struct doc_node *array = doc_map(doc, arrays, NULL);
        doc_text(doc, array, "array", name != NULL ? name : number);
        doc_uint(doc, array, "pieces", inside->arrays[i].values);
        doc_bytes(doc, array, "bytes", inside->arrays[i].bytes);
    }
}

enum exit_code
file_info(struct call *call)
{
    const char *path = call->arguments[0];
    omen_statistics stats = {.struct_size = sizeof stats};
    struct omen_error error = {0};
    struct inside inside;
    struct doc *doc = NULL;
    omen_index_t index = NULL;
    omen_status status = inside_read(path, &inside, &error);
    if (status != OMEN_OK)
        return call_fail_error(call, path, &error);
    enum exit_code code = file_open(call, path, FILE_READ, &index);
    if (code != EXIT_FINE)
        return code;
    status = omen_stats(index, &stats);
    omen_close(index);
    if (status != OMEN_OK)
        return call_fail_status(call, path, status);
    if (doc_open(DOC_MAP, &doc) != OMEN_OK)
        return call_fail(call, EXIT_OTHER, "no memory");
    doc_text(doc, doc_root(doc), "path", path);
    add_identity(doc, &inside);
    add_options(doc, &inside.options);
    add_rows(doc, &stats);
    add_file(doc, &inside);
    doc_double(doc, doc_root(doc), "open_seconds", stats.open_seconds);
    code = call_print(call, doc);
    doc_close(doc);
    return code;
}
