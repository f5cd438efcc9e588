// tests/fuzz/fuzz_logs.c -- any bytes as values of logs: refused with a sentence, or read in their order.
//
// Halves: kv_sim
//
// The first byte says whether checksums are made right, so that what is behind them is reached; then values: table and log (a byte each),
// number, count of their bytes (2 bytes each), the bytes.
#include <string.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "storage/logs_int.h"
#include "tests/lib/kv_sim.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count);

static const struct logs_name names[2] = {{1, 11}, {2, 22}};

static void
put_value(struct kv *kv, const uint8_t *how, const uint8_t *bytes, size_t count, bool seal)
{
    static uint8_t value[65536];
    struct logs_head head;
    uint16_t number;
    const struct logs_name name = names[how[1] & 1];
    const uint32_t table = how[0] % LOGS_TABLES, slot = (uint32_t)(logs_owner(name) % LOGS_SLOTS);
    memcpy(&number, how + 2, sizeof number);
    uint64_t key = logs_key(slot, number), owner = logs_owner(name);
    if (table == LOGS_ROWS)
        key = owner = slot;
    const uint64_t record = (number & 4) != 0 ? LOGS_RECORDS_MAX + slot : number >> 3;
    if (table == LOGS_RECORDS) {
        key = record << LOGS_RECORD_BITS | (number & 3);
        owner = (number & 4) != 0 ? owner : record;
    }
    memcpy(value, bytes, count);
    if (seal && count >= sizeof head) {
        memcpy(&head, value, sizeof head);
        const uint16_t version = head.version;
        head.slot = (uint16_t)slot;
        logs_seal(&head, owner, value + sizeof head, count - sizeof head);
        if (version > LOGS_VERSION) // else it is the one there is
            head.version = version;
        memcpy(value, &head, sizeof head);
    }
    kv_sim_set(kv, table, key, value, count);
}

static bool
is_bad(omen_status status, const struct omen_error *error)
{
    if (status == OMEN_OK || status == OMEN_E_NOT_FOUND)
        return false;
    ASSERT(status == OMEN_E_CORRUPT || status == OMEN_E_VERSION || status == OMEN_E_INVALID ||
           status == OMEN_E_FULL);
    ASSERT(error->text[0] != '\0');
    return true;
}

static bool
read_from(struct kv_txn *txn, struct logs_name name, uint64_t seq)
{
    struct omen_error error = {.text = ""};
    struct logs_reader *reader;
    struct logs_entry entry;
    unsigned sum = 0;
    omen_status status = logs_reader_open(txn, name, seq, LOGS_WHOLE, &reader, &error);
    while (status == OMEN_OK) {
        status = logs_reader_next(reader, &entry, &error);
        if (status != OMEN_OK)
            break;
        ASSERT(entry.seq == seq++);
        for (uint32_t i = 0; i < entry.count; i++)
            sum += ((const uint8_t *)entry.bytes)[i];
    }
    ASSERT(sum < UINT32_MAX); // they were read
    logs_reader_close(reader);
    return !is_bad(status, &error);
}

static void
read_all(struct kv_txn *txn)
{
    struct omen_error error = {.text = ""};
    const bool sound = !is_bad(logs_verify(txn, &error), &error);
    for (uint32_t i = 0; i < 2; i++) {
        struct logs_state state = {0};
        struct logs_known known = {0};
        const omen_status found = logs_find(txn, names[i], &state, &error);
        const bool knows = !is_bad(logs_know(txn, names[i], &known, &error), &error);
        logs_known_fini(&known);
        const bool reads = read_from(txn, names[i], state.first_seq);
        ASSERT(!sound || (!is_bad(found, &error) && knows && reads));
        (void)read_from(txn, names[i], state.last_seq);
        (void)read_from(txn, names[i], state.first_seq + 2);
    }
}

static void
change_all(struct kv *kv)
{
    struct omen_error error = {.text = ""};
    struct kv_txn *txn;
    struct logs_group group = {0};
    for (uint32_t i = 0; i < 8; i++) {
        struct logs_state state = {0};
        uint64_t first_seq = 0;
        uint32_t at = 0;
        bool done = false;
        const struct logs_name name = names[i & 1];
        ASSERT(kv_begin_write_large(kv, (uint64_t)64 << 20, &txn, NULL) == OMEN_OK);
        (void)is_bad(logs_find(txn, name, &state, &error), &error);
        const struct logs_trim trim = {
            .through = state.first_seq + i, .window_ms = 1000, .ops_max = i};
        omen_status status = logs_trim(txn, name, &trim, &first_seq, &error);
        const struct logs_change cut = {.cut = true, .above = first_seq + i / 2};
        if (!is_bad(status, &error))
            status = logs_write(txn, name, &cut, &error);
        const struct logs_entry entry = {.seq = state.last_seq + 1, .term = 1};
        logs_group_fini(&group);
        ASSERT(logs_group_add(&group, &entry) == OMEN_OK || entry.seq > LOGS_SEQ_MAX);
        if (!is_bad(status, &error))
            status = logs_write(txn, name, &(struct logs_change){.append = &group}, &error);
        if (!is_bad(status, &error) && i > 5)
            status = logs_drop(txn, name, &error);
        for (uint32_t calls = 0; calls < 4 && !done && !is_bad(status, &error); calls++)
            status = logs_clean(txn, &at, 3, &done, &error);
        read_all(txn);
        kv_abort(txn);
    }
    logs_group_fini(&group);
}

int
LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count)
{
    struct kv *kv;
    struct kv_txn *txn;
    if (count == 0 || logs_open("fuzz", &kv, NULL) != OMEN_OK)
        return 0;
    for (size_t at = 1; at + 6 <= count;) {
        const uint8_t *how = bytes + at;
        uint16_t wanted;
        memcpy(&wanted, how + 4, sizeof wanted);
        at += 6;
        const size_t use = wanted < count - at ? wanted : count - at;
        put_value(kv, how, bytes + at, use, (bytes[0] & 1) != 0);
        at += use;
    }
    ASSERT(kv_begin_read(kv, &txn, NULL) == OMEN_OK);
    read_all(txn);
    kv_abort(txn);
    change_all(kv);
    kv_close(kv);
    kv_sim_reset();
    return 0;
}
