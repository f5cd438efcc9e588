// tests/fuzz/fuzz_log.c -- any bytes as parts of the log: refused with a sentence, or read in their order.
//
// Halves: kv_sim
//
// The first byte says whether the parts' checksums are made right, so that what is behind them is reached; then parts:
// the first number of their group, their own, the count of their bytes (2 bytes each), the bytes.
#include <string.h>

#include "base/assert.h"
#include "storage/blocks.h"
#include "storage/log_int.h"
#include "tests/lib/kv_sim.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count);

static void
put_part(struct kv *kv, uint64_t key, const uint8_t *bytes, size_t count, bool seal)
{
    static char part[65536];
    struct part_head head;
    memcpy(part, bytes, count);
    if (seal && count >= sizeof head) {
        memcpy(&head, part, sizeof head);
        log_part_seal(&head, part + sizeof head, count - sizeof head);
        memcpy(part, &head, sizeof head);
    }
    kv_sim_set(kv, TABLE_LOG, key, part, count);
}

static bool
is_bad(omen_status status, const struct omen_error *error)
{
    if (status == OMEN_OK || status == OMEN_E_NOT_FOUND)
        return false;
    ASSERT(status == OMEN_E_CORRUPT || status == OMEN_E_VERSION);
    ASSERT(error->text[0] != '\0');
    return true;
}

static bool
read_after(struct kv_txn *txn, uint64_t after)
{
    struct omen_error error = {.text = ""};
    struct log_reader *reader;
    struct log_entry entry;
    omen_status status = log_reader_open(txn, TABLE_LOG, after, &reader, &error);
    unsigned sum = 0;
    while (status == OMEN_OK) {
        status = log_reader_next(reader, &entry, &error);
        if (status != OMEN_OK)
            break;
        ASSERT(entry.seq == ++after);
        for (size_t i = 0; i < entry.count; i++)
            sum += ((const uint8_t *)entry.bytes)[i];
    }
    ASSERT(sum < UINT32_MAX); // they were read
    log_reader_close(reader);
    return !is_bad(status, &error);
}

int
LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count)
{
    const struct kv_config config = {
        .path = "fuzz", .mode = KV_WRITE, .tables = table_names, .table_count = TABLE_COUNT};
    struct kv *kv;
    struct kv_txn *txn;
    struct log log;
    struct omen_error error = {.text = ""};
    if (count == 0 || kv_open(&config, &kv, NULL) != OMEN_OK)
        return 0;
    for (size_t at = 1; at + 6 <= count;) {
        uint16_t numbers[3];
        memcpy(numbers, bytes + at, sizeof numbers);
        at += sizeof numbers;
        const size_t left = count - at;
        const size_t part_bytes = numbers[2] < left ? numbers[2] : left;
        put_part(kv, (uint64_t)numbers[0] << PART_BITS | numbers[1], bytes + at, part_bytes,
                 (bytes[0] & 1) != 0);
        at += part_bytes;
    }
    ASSERT(kv_begin_read(kv, &txn, NULL) == OMEN_OK);
    const bool sound = !is_bad(log_verify(txn, TABLE_LOG, &error), &error);
    const bool known = !is_bad(log_init(&log, kv, TABLE_LOG, 0, &error), &error);
    if (sound) {
        ASSERT(known);
        for (uint64_t after = log.first_seq - 1; after <= log.last_seq; after++)
            ASSERT(read_after(txn, after));
    }
    (void)read_after(txn, 0);
    (void)read_after(txn, 2);
    (void)read_after(txn, 65535);
    if (known) { // trimming ends, whatever the heads say
        (void)is_bad(log_trim(&log, 2, &error), &error);
        (void)is_bad(log_trim(&log, UINT64_MAX, &error), &error);
    }
    kv_abort(txn);
    kv_close(kv);
    kv_sim_reset();
    return 0;
}
