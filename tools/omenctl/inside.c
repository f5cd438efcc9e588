// tools/omenctl/inside.c -- what lies in the file of an index.
//
// Shape: value.
//
// The journal opens the file and reads its records, as it does for an index; what is added here is a walk over the keys.
#include "tools/omenctl/inside.h"

#include "base/image.h"

#define ARRAY_SHIFT 56u // of a key in the blocks: array << 56 | version << 32 | piece
#define VERSION_SHIFT 32u
#define VERSION_MASK 0xffffffu

const char *
inside_array_name(uint32_t array)
{
    static const char *const names[INSIDE_ARRAYS] = {
        [IMAGE_ROWS] = "rows",
        [IMAGE_HIGH] = "codes_high",
        [IMAGE_LOW] = "codes_low",
        [IMAGE_CODE_META] = "code_meta",
        [IMAGE_LINKS] = "links",
        [IMAGE_INDEX_HEAD] = "index_head",
        [IMAGE_ERASED] = "erased",
        [IMAGE_REPAIRED] = "repaired",
        [IMAGE_IDS] = "ids",
        [IMAGE_PAYLOAD_AT] = "payload_places",
        [IMAGE_PAYLOADS] = "payloads",
        [IMAGE_NAME_AT] = "name_places",
        [IMAGE_NAMES] = "names",
        [IMAGE_VERSIONS] = "versions",
        [IMAGE_ID_TABLE] = "id_table",
        [IMAGE_NAME_TABLE] = "name_table",
        [IMAGE_FIELDS] = "fields",
        [IMAGE_SHARD_HEAD] = "shard_head",
        [IMAGE_CALIBRATION] = "calibration",
        [IMAGE_PAYLOAD_HEAD] = "payload_head",
        [IMAGE_NAME_HEAD] = "name_head",
        [IMAGE_ID_HEAD] = "id_head",
        [IMAGE_SUMS] = "sums",
    };
    return array < INSIDE_ARRAYS ? names[array] : NULL;
}

static omen_status
open_journal(const char *path, struct journal *journal, struct journal_options *kept,
             struct omen_error *error)
{
    omen_options options = OMEN_OPTIONS_INIT;
    const struct journal_options wanted = {0};
    options.path = path;
    options.read_only = 1;
    return journal_open(journal, &options, &wanted, kept, error);
}

static void
count_block(struct inside *inside, uint64_t key, size_t bytes)
{
    const uint32_t array = (uint32_t)(key >> ARRAY_SHIFT);
    const uint32_t version = (uint32_t)(key >> VERSION_SHIFT) & VERSION_MASK;
    const uint64_t held =
        image_is_whole(array) ? inside->manifest.checkpoint : inside->manifest.generation;
    struct inside_part *part = array < INSIDE_ARRAYS && version == (held & VERSION_MASK)
                                   ? &inside->arrays[array]
                                   : &inside->unused;
    part->values++;
    part->bytes += bytes;
}

// Every key of a table; values are not read.
static omen_status
walk(struct kv_txn *txn, uint32_t table, struct inside *inside, struct omen_error *error)
{
    struct kv_value value;
    omen_status status = OMEN_OK;
    for (uint64_t key = 0; status == OMEN_OK; key++) {
        status = kv_next(txn, table, &key, &value, error);
        if (status != OMEN_OK)
            break;
        if (table == TABLE_BLOCKS) {
            count_block(inside, key, value.count);
        } else {
            inside->log.values++;
            inside->log.bytes += value.count;
        }
        if (key == UINT64_MAX)
            break;
    }
    return status == OMEN_E_NOT_FOUND ? OMEN_OK : status;
}

omen_status
inside_read(const char *path, struct inside *out, struct omen_error *error)
{
    struct journal journal;
    struct kv_txn *txn;
    *out = (struct inside){0};
    omen_status status = open_journal(path, &journal, &out->options, error);
    if (status != OMEN_OK)
        return status;
    status = kv_begin_read(journal.kv, &txn, error);
    if (status == OMEN_OK) {
        status = manifest_read(txn, &out->manifest, error);
        out->format = journal.format;
        out->log_first_seq = journal.log.first_seq;
        out->log_last_seq = journal.log.last_seq;
        if (status == OMEN_OK)
            status = walk(txn, TABLE_BLOCKS, out, error);
        if (status == OMEN_OK)
            status = walk(txn, TABLE_LOG, out, error);
        kv_abort(txn);
    }
    if (status == OMEN_OK)
        status = kv_usage(journal.kv, &out->usage, error);
    journal_close(&journal);
    return status;
}

omen_status
inside_verify(const char *path, struct blocks_report *report, struct omen_error *error)
{
    struct journal journal;
    struct journal_options kept;
    struct kv_txn *txn;
    omen_status status = open_journal(path, &journal, &kept, error);
    if (status != OMEN_OK)
        return status;
    status = kv_begin_read(journal.kv, &txn, error);
    if (status == OMEN_OK) {
        status = blocks_verify(txn, report, error);
        kv_abort(txn);
    }
    journal_close(&journal);
    return status;
}
