// tests/system/newer.c -- makes the file of an index say that a later version wrote it, for the test of omenctl.
//
// usage: newer_format PATH
//
// Shape: shell.
#include <stdio.h>
#include <stdlib.h>

#include "shard/journal.h"

int
main(int argc, char **argv)
{
    struct omen_error error;
    struct kv *kv;
    struct kv_txn *txn;
    struct kv_value value;
    if (argc != 2) {
        fprintf(stderr, "usage: newer_format PATH\n");
        return 2;
    }
    const struct kv_config config = {
        .path = argv[1], .mode = KV_EXISTING, .tables = table_names, .table_count = TABLE_COUNT};
    omen_status status = kv_open(&config, &kv, &error);
    if (status == OMEN_OK)
        status = kv_begin_write(kv, &txn, &error);
    if (status == OMEN_OK)
        status = meta_get(txn, META_FORMAT, &value, &error);
    if (status == OMEN_OK) {
        struct journal_format format = *(const struct journal_format *)value.bytes;
        format.format = JOURNAL_FORMAT + 1;
        format.format_min = JOURNAL_FORMAT + 1;
        status = meta_put(txn, META_FORMAT, &format, sizeof format, &error);
    }
    if (status == OMEN_OK)
        status = kv_commit(txn, &error);
    if (status != OMEN_OK) {
        fprintf(stderr, "newer_format: %s: %s\n", argv[1], error.text);
        return EXIT_FAILURE;
    }
    kv_close(kv);
    return EXIT_SUCCESS;
}
