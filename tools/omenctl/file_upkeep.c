// tools/omenctl/file_upkeep.c -- omenctl file verify, compact, copy.
//
// Shape: shell.
#include <string.h>

#include "tools/omenctl/file.h"
#include "tools/omenctl/inside.h"

// Prints and ends a document that has one map.
static enum exit_code
finish(const struct call *call, struct doc *doc)
{
    const enum exit_code code = call_print(call, doc);
    doc_close(doc);
    return code;
}

static void
add_counts(struct doc *doc, const omen_statistics *stats)
{
    struct doc_node *root = doc_root(doc);
    doc_uint(doc, root, "points", stats->count);
    doc_uint(doc, root, "rows", stats->rows);
    doc_uint(doc, root, "deleted", stats->deleted);
}

// First the bytes, then what they mean.
enum exit_code
file_verify(struct call *call)
{
    const char *path = call->arguments[0];
    omen_statistics stats = {.struct_size = sizeof stats};
    struct blocks_report report = {0};
    struct omen_error error = {0};
    struct doc *doc = NULL;
    omen_index_t index = NULL;
    omen_status status = inside_verify(path, &report, &error);
    if (status != OMEN_OK)
        return call_fail_error(call, path, &error);
    enum exit_code code = file_open(call, path, FILE_READ, &index);
    if (code != EXIT_FINE)
        return code;
    status = omen_verify(index);
    if (status == OMEN_OK)
        status = omen_stats(index, &stats);
    if (status != OMEN_OK)
        code = call_fail_status(call, path, status);
    omen_close(index);
    if (code != EXIT_FINE)
        return code;
    if (doc_open(DOC_MAP, &doc) != OMEN_OK)
        return call_fail(call, EXIT_OTHER, "no memory");
    doc_text(doc, doc_root(doc), "path", path);
    doc_text(doc, doc_root(doc), "result", "whole");
    doc_uint(doc, doc_root(doc), "pieces", report.pieces);
    doc_bytes(doc, doc_root(doc), "bytes", report.bytes);
    add_counts(doc, &stats);
    doc_uint(doc, doc_root(doc), "unreached", stats.unreached);
    return finish(call, doc);
}

static enum exit_code
compact_open(struct call *call, omen_index_t index, struct doc *doc)
{
    const char *path = call->arguments[0];
    omen_statistics stats = {.struct_size = sizeof stats};
    struct doc_node *root = doc_root(doc);
    omen_status status = omen_stats(index, &stats);
    const uint64_t before = file_bytes_at(path);
    doc_text(doc, root, "path", path);
    doc_bool(doc, root, "dry_run", call->dry_run);
    doc_uint(doc, root, "points", stats.count);
    doc_uint(doc, root, "deleted_rows", stats.deleted);
    doc_bytes(doc, root, "file_bytes_before", before);
    if (status == OMEN_OK && !call->dry_run) {
        const enum exit_code code = call_confirm(call, "rewrite %s without its %llu deleted rows?",
                                                 path, (unsigned long long)stats.deleted);
        if (code != EXIT_FINE)
            return code;
        status =
            omen_flush(index); // first: links that are made later would make the file grow again
        if (status == OMEN_OK)
            status = omen_compact(index);
        doc_bytes(doc, root, "file_bytes", file_bytes_at(path));
    }
    return status == OMEN_OK ? EXIT_FINE : call_fail_status(call, path, status);
}

enum exit_code
file_compact(struct call *call)
{
    omen_index_t index = NULL;
    struct doc *doc = NULL;
    enum exit_code code =
        file_open(call, call->arguments[0], call->dry_run ? FILE_READ : FILE_WRITE, &index);
    if (code != EXIT_FINE)
        return code;
    if (doc_open(DOC_MAP, &doc) != OMEN_OK)
        code = call_fail(call, EXIT_OTHER, "no memory");
    else
        code = compact_open(call, index, doc);
    omen_close(index);
    if (code == EXIT_FINE)
        return finish(call, doc);
    doc_close(doc);
    return code;
}

enum exit_code
file_copy(struct call *call)
{
    const char *path = call->arguments[0], *to = call->arguments[1];
    omen_index_t index = NULL;
    omen_statistics stats = {.struct_size = sizeof stats};
    struct doc *doc = NULL;
    enum exit_code code = file_check_free(call, to);
    if (code == EXIT_FINE)
        code = file_open(call, path, FILE_READ, &index);
    if (code != EXIT_FINE)
        return code;
    omen_status status = omen_stats(index, &stats);
    if (status == OMEN_OK && !call->dry_run)
        status = omen_copy(index, to);
    if (status != OMEN_OK)
        code = call_fail_status(call, to, status);
    omen_close(index);
    if (code != EXIT_FINE)
        return code;
    if (doc_open(DOC_MAP, &doc) != OMEN_OK)
        return call_fail(call, EXIT_OTHER, "no memory");
    doc_text(doc, doc_root(doc), "from", path);
    doc_text(doc, doc_root(doc), "to", to);
    doc_bool(doc, doc_root(doc), "dry_run", call->dry_run);
    add_counts(doc, &stats);
    if (!call->dry_run)
        doc_bytes(doc, doc_root(doc), "file_bytes", file_bytes_at(to));
    return finish(call, doc);
}
