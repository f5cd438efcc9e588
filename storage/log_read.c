// storage/log_read.c -- entries out of the log, each checked.
//
// Shape: handle.
#include <string.h>

#include "base/alloc.h"
#include "base/hash.h"
#include "storage/log_int.h"

struct log_reader {
    struct kv_txn *txn; // borrowed
    uint32_t table;
    uint64_t next_seq; // of the entry to be given next
    uint64_t key;      // of the part to be read next
    uint64_t first_seq, entries, entry;
    uint64_t stream_at,
        stream_end; // bytes of all groups before the one at hand, and with the last one
    char *group;    // the group at hand, and how far it was read
    size_t room, count, at;
};

static void find_end(struct log_reader *reader);
static omen_status next_group(struct log_reader *reader, struct omen_error *error);
static omen_status next_entry(struct log_reader *reader, struct log_entry *entry,
                              struct omen_error *error);

static uint64_t
checksum_of(const struct part_head *head, const char *bytes, size_t count)
{
    struct part_head sealed = *head;
    sealed.checksum = hash_bytes(bytes, count);
    return hash_bytes(&sealed, sizeof sealed);
}

void
log_part_seal(struct part_head *head, const char *bytes, size_t count)
{
    head->checksum = checksum_of(head, bytes, count);
}

static omen_status
bad_part(uint64_t key, const char *what, struct omen_error *error)
{
    return error_set(error, OMEN_E_CORRUPT, "log: part %llu of group %llu: %s",
                     (unsigned long long)(key & PART_MASK), (unsigned long long)(key >> PART_BITS),
                     what);
}

omen_status
log_part_check(uint64_t key, const struct kv_value *value, struct part_head *head,
               struct omen_error *error)
{
    if (value->count < sizeof *head || value->count > LOG_PART_BYTES)
        return bad_part(key, "it has a size that none has", error);
    memcpy(head, value->bytes, sizeof *head);
    if (head->magic != PART_MAGIC)
        return bad_part(key, "it does not begin as one", error);
    if (head->version > LOG_VERSION)
        return error_set(error, OMEN_E_VERSION, "log: version %u was written by a newer version",
                         head->version);
    const char *bytes = (const char *)value->bytes + sizeof *head;
    const size_t count = value->count - sizeof *head;
    pages_will_need(bytes, count);
    if (head->checksum != checksum_of(head, bytes, count))
        return bad_part(key, "its checksum does not hold", error);
    const uint64_t before = (uint64_t)head->part * PART_ROOM;
    if (head->first_seq != key >> PART_BITS || head->part != (key & PART_MASK) ||
        head->first_seq == 0 || head->entries == 0 ||
        head->first_seq > LOG_SEQ_MAX - head->entries + 1 ||
        head->group_bytes > LOG_GROUP_BYTES_MAX ||
        head->entries > head->group_bytes / sizeof(struct entry_head) ||
        head->group_bytes <= before)
        return bad_part(key, "its head contradicts itself", error);
    const uint64_t rest = head->group_bytes - before;
    if (count != (rest < PART_ROOM ? rest : PART_ROOM))
        return bad_part(key, "it is not as long as its head says", error);
    return OMEN_OK;
}

// Where the log ends as of the transaction. Only a hint is made of it, so what cannot be read is left to those who do.
static void
find_end(struct log_reader *reader)
{
    struct omen_error ignored;
    struct kv_value value;
    struct part_head head;
    uint64_t key = UINT64_MAX;
    if (kv_previous(reader->txn, reader->table, &key, &value, &ignored) != OMEN_OK ||
        value.count < sizeof head)
        return;
    memcpy(&head, value.bytes, sizeof head);
    reader->stream_end = head.stream_at + head.group_bytes;
}

omen_status
log_reader_open(struct kv_txn *txn, uint32_t table, uint64_t after, struct log_reader **out,
                struct omen_error *error)
{
    *out = NULL;
    if (after >= UINT64_MAX >> PART_BITS)
        return error_set(error, OMEN_E_INVALID, "the log has no entry %llu",
                         (unsigned long long)after);
    struct log_reader *reader = mem_alloc_zero(1, sizeof *reader);
    if (reader == NULL)
        return error_set_plain(error, OMEN_E_NO_MEMORY);
    *reader = (struct log_reader){.txn = txn, .table = table, .next_seq = after + 1};
    // The last group that begins at or before the entry.
    struct kv_value value;
    uint64_t key = reader->next_seq << PART_BITS | PART_MASK;
    const omen_status status = kv_previous(txn, table, &key, &value, error);
    if (status != OMEN_OK && status != OMEN_E_NOT_FOUND) {
        mem_free(reader);
        return status;
    }
    reader->key = status == OMEN_OK ? key & ~PART_MASK : 0;
    find_end(reader);
    *out = reader;
    return OMEN_OK;
}

void
log_reader_close(struct log_reader *reader)
{
    if (reader == NULL)
        return;
    mem_free(reader->group);
    mem_free(reader);
}

omen_status
log_reader_next(struct log_reader *reader, struct log_entry *entry, struct omen_error *error)
{
    do {
        while (reader->entry == reader->entries) {
            const omen_status status = next_group(reader, error);
            if (status != OMEN_OK)
                return status;
        }
        const omen_status status = next_entry(reader, entry, error);
        if (status != OMEN_OK)
            return status;
    } while (entry->seq < reader->next_seq); // of a group that reaches further back
    reader->next_seq = entry->seq + 1;
    return OMEN_OK;
}

static omen_status
take_part(struct log_reader *reader, const struct kv_value *value, const struct part_head *head,
          struct omen_error *error)
{
    const size_t count = value->count - sizeof *head;
    if (head->part == 0)
        reader->count = 0;
    const size_t need = reader->count + count;
    if (need > reader->room) { // grows with what is there, whatever a head promises
        size_t room = 2 * reader->room > need ? 2 * reader->room : need;
        if (room > head->group_bytes)
            room = (size_t)head->group_bytes; // log_part_check: not less than `need`
        char *grown = mem_resize(reader->group, room);
        if (grown == NULL)
            return error_set_plain(error, OMEN_E_NO_MEMORY);
        reader->group = grown;
        reader->room = room;
    }
    memcpy(reader->group + reader->count, (const char *)value->bytes + sizeof *head, count);
    reader->count += count;
    return OMEN_OK;
}

static omen_status
next_group(struct log_reader *reader, struct omen_error *error)
{
    struct part_head head = {0};
    struct kv_value value;
    uint64_t parts = 1;
    uint64_t key = reader->key;
    for (uint64_t part = 0; part < parts; part++) {
        omen_status status = part == 0 ? kv_next(reader->txn, reader->table, &key, &value, error)
                                       : kv_get(reader->txn, reader->table, key, &value, error);
        if (status == OMEN_E_NOT_FOUND && part > 0)
            status = bad_part(key, "it is missing", error);
        reader->key = key;
        const uint64_t group_bytes = head.group_bytes;
        if (status == OMEN_OK)
            status = log_part_check(key, &value, &head, error);
        if (status == OMEN_OK &&
            (head.part != part || (part > 0 && head.group_bytes != group_bytes)))
            status = bad_part(key, "another was expected here", error);
        if (status == OMEN_OK)
            status = take_part(reader, &value, &head, error);
        if (status != OMEN_OK)
            return status;
        parts = log_parts(head.group_bytes);
        key++;
    }
    if (head.first_seq < reader->first_seq + reader->entries)
        return bad_part(head.first_seq << PART_BITS, "it overlaps the group before it", error);
    if (head.first_seq > reader->next_seq)
        return error_set(error, OMEN_E_CORRUPT, "log: entry %llu was expected, %llu is next",
                         (unsigned long long)reader->next_seq, (unsigned long long)head.first_seq);
    reader->key = (head.first_seq << PART_BITS) + PART_MASK + 1;
    reader->first_seq = head.first_seq;
    reader->stream_at = head.stream_at;
    reader->entries = head.entries;
    reader->entry = 0;
    reader->at = 0;
    return OMEN_OK;
}

static omen_status
next_entry(struct log_reader *reader, struct log_entry *entry, struct omen_error *error)
{
    struct entry_head head;
    const uint64_t seq = reader->first_seq + reader->entry;
    const size_t left = reader->count - reader->at;
    const char *what = NULL;
    if (left < sizeof head) {
        what = "it is cut off";
    } else {
        memcpy(&head, reader->group + reader->at, sizeof head);
        if (head.magic != ENTRY_MAGIC || head.seq != seq)
            what = "it does not begin as one";
        else if (head.count > left - sizeof head || log_padded(head.count) > left - sizeof head)
            what = "it is longer than its group";
        else if (reader->entry + 1 == reader->entries &&
                 log_padded(head.count) != left - sizeof head)
            what = "bytes are left behind the last one";
    }
    if (what != NULL)
        return error_set(error, OMEN_E_CORRUPT, "log: entry %llu: %s", (unsigned long long)seq,
                         what);
    *entry = (struct log_entry){
        .seq = seq,
        .term = head.term,
        .type = head.type,
        .flags = head.flags,
        .bytes = reader->group + reader->at + sizeof head,
        .count = (size_t)head.count,
    };
    reader->at += sizeof head + log_padded((size_t)head.count);
    const uint64_t read = reader->stream_at + reader->at;
    entry->behind = read < reader->stream_end ? reader->stream_end - read : 0;
    reader->entry++;
    return OMEN_OK;
}

omen_status
log_verify(struct kv_txn *txn, uint32_t table, struct omen_error *error)
{
    struct kv_value value;
    struct log_reader *reader;
    struct log_entry entry;
    uint64_t key = 0;
    omen_status status = kv_next(txn, table, &key, &value, error);
    if (status == OMEN_E_NOT_FOUND)
        return OMEN_OK;
    if (status == OMEN_OK && key >> PART_BITS == 0)
        status = bad_part(key, "no group has this number", error);
    if (status == OMEN_OK)
        status = log_reader_open(txn, table, (key >> PART_BITS) - 1, &reader, error);
    if (status != OMEN_OK)
        return status;
    while (status == OMEN_OK)
        status = log_reader_next(reader, &entry, error);
    log_reader_close(reader);
    return status == OMEN_E_NOT_FOUND ? OMEN_OK : status;
}
