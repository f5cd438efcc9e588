// tests/fuzz/fuzz_block.c -- any bytes as pieces and records: refused with a sentence, or given as they are.
//
// Halves: kv_sim
//
// The first byte says whether checksums are made right, so that what is behind them is reached; then values: array,
// version, piece (a byte each), the count of bytes (2 bytes), the bytes. Array 0 is the record of that piece's number.
#include <stddef.h>
#include <string.h>

#include "base/assert.h"
#include "base/hash.h"
#include "storage/blocks_int.h"
#include "tests/lib/kv_sim.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count);

static void
put_value(struct kv *kv, const uint8_t *numbers, const uint8_t *bytes, size_t count, bool seal)
{
    static char value[65536];
    struct block_head head;
    memcpy(value, bytes, count);
    if (numbers[0] == 0) {
        kv_sim_set(kv, TABLE_META, numbers[2], value, count);
        return;
    }
    if (seal && count >= sizeof head) {
        memcpy(&head, value, sizeof head);
        if (head.count <= count - sizeof head)
            block_seal(&head, value + sizeof head);
        head.head_checksum = hash_bytes(&head, offsetof(struct block_head, head_checksum));
        memcpy(value, &head, sizeof head);
    }
    kv_sim_set(kv, TABLE_BLOCKS, block_key(numbers[0], numbers[1], numbers[2]), value, count);
}

static bool
is_bad(omen_status status, const struct omen_error *error)
{
    if (status == OMEN_OK)
        return false;
    ASSERT(status == OMEN_E_CORRUPT || status == OMEN_E_VERSION || status == OMEN_E_INVALID);
    ASSERT(error->text[0] != '\0');
    return true;
}

// Pieces that can be had are no longer than they may be, and can be read to their end.
static void
load_all(struct kv_txn *txn)
{
    const struct manifest manifest = {.checkpoint = 1, .generation = 1};
    struct omen_error error = {.text = ""};
    struct blocks_load *load;
    ASSERT(blocks_load_open(txn, &manifest, &load, NULL) == OMEN_OK);
    const struct image_source source = blocks_load_source(load);
    uint64_t sum = 0;
    for (uint32_t array = 1; array < 64; array++)
        for (uint32_t piece = 0; piece < 4; piece++) {
            size_t count = 0;
            const uint8_t *bytes = source.get(source.context, array, piece, &count);
            if (bytes == NULL)
                continue;
            ASSERT(count >= 1 && count <= IMAGE_PIECE_BYTES && (uintptr_t)bytes % 64 == 0);
            for (size_t i = 0; i < count; i++)
                sum += bytes[i];
        }
    ASSERT(sum < UINT64_MAX);
    (void)is_bad(blocks_load_status(load, &error), &error);
    blocks_load_close(load);
}

int
LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count)
{
    const struct kv_config config = {
        .path = "fuzz", .mode = KV_WRITE, .tables = table_names, .table_count = TABLE_COUNT};
    struct kv *kv;
    struct kv_txn *txn;
    struct omen_error error = {.text = ""};
    struct manifest manifest;
    struct blocks_report report;
    if (count == 0 || kv_open(&config, &kv, NULL) != OMEN_OK)
        return 0;
    for (size_t at = 1; at + 5 <= count;) {
        uint16_t wanted;
        const uint8_t *numbers = bytes + at;
        memcpy(&wanted, bytes + at + 3, sizeof wanted);
        at += 5;
        const size_t value_bytes = wanted < count - at ? wanted : count - at;
        put_value(kv, numbers, bytes + at, value_bytes, (bytes[0] & 1) != 0);
        at += value_bytes;
    }
    ASSERT(kv_begin_read(kv, &txn, NULL) == OMEN_OK);
    (void)is_bad(manifest_read(txn, &manifest, &error), &error);
    (void)is_bad(blocks_verify(txn, &report, &error), &error);
    load_all(txn);
    kv_abort(txn);
    bool done = false;
    while (!done)
        ASSERT(blocks_clean(kv, &(struct manifest){.checkpoint = 1}, &done, NULL) == OMEN_OK);
    kv_close(kv);
    kv_sim_reset();
    return 0;
}
