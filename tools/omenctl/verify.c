// tools/omenctl/verify.c -- omenctl shard verify: a row a copy, so that sums can be compared by eye; and what they come to.
//
// Shape: shell.
#include <inttypes.h>

#include "tools/omenctl/remote.h"

static struct doc_node *
add_copy(struct doc *doc, const struct api_verified *shard, const struct wire_text *node)
{
    struct doc_node *row = doc_map(doc, doc_root(doc), NULL);
    doc_uint(doc, row, "shard", shard->shard);
    if (shard->copies.count > 0)
        doc_uint(doc, row, "seq", shard->seq);
    else
        doc_null(doc, row, "seq");
    doc_text_bytes(doc, row, "node", node->bytes, node->count);
    return row;
}

void
verify_table(struct doc *doc, const void *answer)
{
    const struct api_verify *verify = answer;
    struct list_cursor shards, cursor;
    struct api_verified shard;
    struct api_copy copy;
    struct api_missing missing;
    list_begin(&shards, shape_field(&api_verify, "shards"), &verify->shards);
    while (list_next(&shards, &shard)) {
        list_begin(&cursor, shape_field(&api_verified, "copies"), &shard.copies);
        while (list_next(&cursor, &copy))
            doc_text_bytes(doc, add_copy(doc, &shard, &copy.node), "checksum", copy.checksum.bytes,
                           copy.checksum.count);
        list_begin(&cursor, shape_field(&api_verified, "missing"), &shard.missing);
        while (list_next(&cursor, &missing)) {
            struct doc_node *row = add_copy(doc, &shard, &missing.node);
            doc_null(doc, row, "checksum");
            doc_text_bytes(doc, row, "missing", missing.reason.bytes, missing.reason.count);
        }
    }
}

static bool
differs(const struct api_verified *shard)
{
    struct list_cursor cursor;
    struct api_copy copy;
    struct wire_text first = {0};
    list_begin(&cursor, shape_field(&api_verified, "copies"), &shard->copies);
    while (list_next(&cursor, &copy)) {
        if (first.bytes == NULL)
            first = copy.checksum;
        else if (!wire_text_same(first, copy.checksum))
            return true;
    }
    return false;
}

enum exit_code
judge_verify(struct call *call, const void *answer)
{
    const struct api_verify *verify = answer;
    struct list_cursor cursor;
    struct api_verified shard;
    uint32_t different = 0, missing = 0, shards = 0;
    enum exit_code code = EXIT_FINE;
    list_begin(&cursor, shape_field(&api_verify, "shards"), &verify->shards);
    while (list_next(&cursor, &shard)) {
        different += differs(&shard);
        missing += shard.missing.count;
        shards += shard.missing.count > 0;
    }
    if (missing > 0)
        code = call_fail(call, EXIT_PARTIAL,
                         "%u copies, of %u shards, could not be compared; the others were", missing,
                         shards);
    if (different > 0)
        code = call_fail(call, EXIT_CORRUPT, "%u shards have copies that differ", different);
    return code;
}
