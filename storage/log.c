// storage/log.c -- appending to the log, trimming it, and where it begins and ends.
//
// Shape: handle, durable.
#include <string.h>

#include "base/alloc.h"
#include "storage/log_int.h"

#define TRIM_PARTS 256u // erased in one transaction

struct draft_entry {
    struct entry_head head;
    uint32_t first_part, part_count;
};

struct log_draft {
    struct draft_entry *entries;
    uint32_t entry_count, entry_room;
    struct log_part *parts;
    uint32_t part_count, part_room;
    size_t bytes; // of the group, heads and padding included
};

// A group's bytes, one piece of memory after the other, while they are cut into parts.
struct feed {
    const struct log_draft *draft;
    struct entry_head head; // of the entry at hand, with its number
    uint64_t first_seq;
    uint32_t entry, part;
    enum { FEED_HEAD, FEED_PARTS, FEED_PADDING } at;
    size_t used; // of what is at hand
};

static omen_status read_group(struct kv_txn *txn, uint32_t table, uint64_t key,
                              struct part_head *head, struct omen_error *error);
static void fill(struct feed *feed, char *room, size_t count);
static omen_status trim_some(struct log *log, uint64_t through, bool *done,
                             struct omen_error *error);

omen_status
log_init(struct log *log, struct kv *kv, uint32_t table, uint64_t after, struct omen_error *error)
{
    struct kv_txn *txn;
    struct kv_value value;
    *log = (struct log){.kv = kv, .table = table, .first_seq = after + 1, .last_seq = after};
    omen_status status = kv_begin_read(kv, &txn, error);
    if (status != OMEN_OK)
        return status;
    struct part_head first, last;
    uint64_t key = 0;
    status = kv_next(txn, table, &key, &value, error);
    if (status == OMEN_OK)
        status = read_group(txn, table, key, &first, error);
    if (status == OMEN_OK) {
        key = UINT64_MAX;
        status = kv_previous(txn, table, &key, &value, error);
    }
    if (status == OMEN_OK)
        status = read_group(txn, table, key, &last, error);
    if (status == OMEN_OK) {
        log->first_seq = first.first_seq;
        log->last_seq = last.first_seq + last.entries - 1;
        log->bytes = last.stream_at + last.group_bytes - first.stream_at;
        log->stream_at = last.stream_at + last.group_bytes;
        if (log->last_seq < after)
            log->last_seq = after; // the checkpoint went on with the same numbers
    }
    kv_abort(txn);
    return status == OMEN_E_NOT_FOUND ? OMEN_OK : status;
}

// The head of the group that a part's key belongs to.
static omen_status
read_group(struct kv_txn *txn, uint32_t table, uint64_t key, struct part_head *head,
           struct omen_error *error)
{
    struct kv_value value;
    omen_status status = kv_get(txn, table, key & ~PART_MASK, &value, error);
    if (status == OMEN_E_NOT_FOUND)
        return error_set(error, OMEN_E_CORRUPT, "log: group %llu has lost its first part",
                         (unsigned long long)(key >> PART_BITS));
    if (status == OMEN_OK)
        status = log_part_check(key & ~PART_MASK, &value, head, error);
    return status;
}

omen_status
log_draft_open(struct log_draft **out)
{
    *out = mem_alloc_zero(1, sizeof **out);
    return *out != NULL ? OMEN_OK : OMEN_E_NO_MEMORY;
}

void
log_draft_close(struct log_draft *draft)
{
    if (draft == NULL)
        return;
    mem_free(draft->entries);
    mem_free(draft->parts);
    mem_free(draft);
}

void
log_draft_reset(struct log_draft *draft)
{
    draft->entry_count = draft->part_count = 0;
    draft->bytes = 0;
}

uint32_t
log_draft_entries(const struct log_draft *draft)
{
    return draft->entry_count;
}

size_t
log_draft_bytes(const struct log_draft *draft)
{
    return draft->bytes;
}

// Room for `more` elements behind `count`; false without memory.
static bool
grow(void **array, uint32_t *room, uint32_t count, uint32_t more, size_t bytes)
{
    if (more <= *room - count)
        return true;
    uint64_t wanted = *room == 0 ? 8 : (uint64_t)*room * 2;
    while (wanted < (uint64_t)count + more)
        wanted *= 2;
    void *grown = wanted <= UINT32_MAX ? mem_resize(*array, (size_t)wanted * bytes) : NULL;
    if (grown == NULL)
        return false;
    *array = grown;
    *room = (uint32_t)wanted;
    return true;
}

omen_status
log_draft_add(struct log_draft *draft, const struct log_entry *head, const struct log_part *parts,
              uint32_t part_count)
{
    size_t count = 0;
    for (uint32_t i = 0; i < part_count; i++) {
        if (parts[i].count > LOG_ENTRY_BYTES_MAX - count)
            return OMEN_E_INVALID;
        count += parts[i].count;
    }
    const size_t bytes = sizeof(struct entry_head) + log_padded(count);
    if (draft->bytes + bytes > LOG_GROUP_BYTES_MAX)
        return OMEN_E_INVALID;
    void *entries = draft->entries, *list = draft->parts;
    if (!grow(&entries, &draft->entry_room, draft->entry_count, 1, sizeof *draft->entries))
        return OMEN_E_NO_MEMORY;
    draft->entries = entries;
    if (!grow(&list, &draft->part_room, draft->part_count, part_count, sizeof *draft->parts))
        return OMEN_E_NO_MEMORY;
    draft->parts = list;
    draft->entries[draft->entry_count++] = (struct draft_entry){
        .head = {.magic = ENTRY_MAGIC,
                 .type = head->type,
                 .flags = head->flags,
                 .term = head->term,
                 .count = count},
        .first_part = draft->part_count,
        .part_count = part_count,
    };
    if (part_count > 0)
        memcpy(draft->parts + draft->part_count, parts, part_count * sizeof *parts);
    draft->part_count += part_count;
    draft->bytes += bytes;
    return OMEN_OK;
}

// The draft's bytes as one group, whose first entry is `first`.
static omen_status
put_group(const struct log *log, const struct log_draft *draft, uint64_t first, struct kv_txn *txn,
          struct omen_error *error)
{
    struct feed feed = {.draft = draft, .first_seq = first};
    size_t left = draft->bytes;
    for (uint64_t part = 0; left > 0; part++) {
        const size_t count = left < PART_ROOM ? left : PART_ROOM;
        void *room;
        const omen_status status = kv_put(txn, log->table, first << PART_BITS | part,
                                          sizeof(struct part_head) + count, &room, error);
        if (status != OMEN_OK)
            return status;
        char *filled = (char *)room + sizeof(struct part_head);
        fill(&feed, filled, count);
        struct part_head head = {
            .magic = PART_MAGIC,
            .version = LOG_VERSION,
            .entries = draft->entry_count,
            .part = (uint32_t)part,
            .first_seq = first,
            .group_bytes = draft->bytes,
            .stream_at = log->stream_at,
        };
        log_part_seal(&head, filled, count);
        memcpy(room, &head, sizeof head);
        left -= count;
    }
    return OMEN_OK;
}

omen_status
log_commit(struct log *log, const struct log_draft *draft, struct omen_error *error)
{
    struct kv_txn *txn;
    if (draft->entry_count == 0)
        return OMEN_OK;
    if (draft->entry_count > LOG_SEQ_MAX - log->last_seq)
        return error_set(error, OMEN_E_FULL, "the log has given all its numbers");
    const uint64_t first = log->last_seq + 1;
    const uint64_t bytes = log_parts(draft->bytes) * LOG_PART_BYTES;
    omen_status status = kv_begin_write_large(log->kv, bytes, &txn, error);
    if (status != OMEN_OK)
        return status;
    status = put_group(log, draft, first, txn, error);
    if (status != OMEN_OK) {
        kv_abort(txn);
        return status;
    }
    status = kv_commit(txn, error);
    if (status != OMEN_OK)
        return status;
    if (log->first_seq > log->last_seq)
        log->first_seq = first;
    log->last_seq += draft->entry_count;
    log->bytes += draft->bytes;
    log->stream_at += draft->bytes;
    return OMEN_OK;
}

// What comes next, and how much of it; the feed steps over it when it is used up.
static const void *
at_hand(struct feed *feed, size_t *count)
{
    static const char zeroes[8];
    const struct draft_entry *entry = &feed->draft->entries[feed->entry];
    switch (feed->at) {
    case FEED_HEAD:
        feed->head = entry->head;
        feed->head.seq = feed->first_seq + feed->entry;
        *count = sizeof feed->head;
        return &feed->head;
    case FEED_PARTS:
        *count = feed->part < entry->part_count
                     ? feed->draft->parts[entry->first_part + feed->part].count
                     : 0;
        return *count > 0 ? feed->draft->parts[entry->first_part + feed->part].bytes : zeroes;
    case FEED_PADDING:
        break;
    }
    *count = log_padded(entry->head.count) - entry->head.count;
    return zeroes;
}

static void
step(struct feed *feed)
{
    const struct draft_entry *entry = &feed->draft->entries[feed->entry];
    feed->used = 0;
    if (feed->at == FEED_PARTS && ++feed->part < entry->part_count)
        return;
    feed->part = 0;
    if (feed->at == FEED_PADDING) {
        feed->at = FEED_HEAD;
        feed->entry++;
    } else {
        feed->at = feed->at == FEED_HEAD ? FEED_PARTS : FEED_PADDING;
    }
}

static void
fill(struct feed *feed, char *room, size_t count)
{
    while (count > 0) {
        size_t whole;
        const char *bytes = at_hand(feed, &whole);
        const size_t rest = whole - feed->used;
        const size_t use = rest < count ? rest : count;
        memcpy(room, bytes + feed->used, use);
        feed->used += use;
        room += use;
        count -= use;
        if (feed->used == whole)
            step(feed);
    }
}

omen_status
log_trim(struct log *log, uint64_t through, struct omen_error *error)
{
    bool done = false;
    omen_status status = OMEN_OK;
    while (status == OMEN_OK && !done)
        status = trim_some(log, through, &done, error);
    return status;
}

// The first group when it is wholly behind `through`; its first and last key.
static omen_status
first_group(struct log *log, struct kv_txn *txn, uint64_t through, struct part_head *head,
            uint64_t *key, struct omen_error *error)
{
    struct kv_value value;
    *key = 0;
    omen_status status = kv_next(txn, log->table, key, &value, error);
    if (status == OMEN_OK)
        status = read_group(txn, log->table, *key, head, error);
    if (status == OMEN_OK && head->first_seq + head->entries - 1 > through) {
        log->first_seq = head->first_seq;
        log->bytes = log->stream_at - head->stream_at;
        return OMEN_E_NOT_FOUND;
    }
    if (status == OMEN_E_NOT_FOUND) {
        log->first_seq = log->last_seq + 1;
        log->bytes = 0;
    }
    return status;
}

static omen_status
trim_some(struct log *log, uint64_t through, bool *done, struct omen_error *error)
{
    struct kv_txn *txn;
    struct part_head head;
    uint64_t key;
    omen_status status = kv_begin_write(log->kv, &txn, error);
    if (status != OMEN_OK)
        return status;
    uint32_t erased = 0;
    while (status == OMEN_OK && erased < TRIM_PARTS) {
        status = first_group(log, txn, through, &head, &key, error);
        const uint64_t parts = status == OMEN_OK ? log_parts(head.group_bytes) : 0;
        for (uint64_t part = 0; part < parts && status == OMEN_OK; part++)
            status = kv_delete(txn, log->table, key + part, error);
        erased += (uint32_t)parts;
    }
    *done = status == OMEN_E_NOT_FOUND;
    if ((status == OMEN_OK || *done) && erased > 0)
        return kv_commit(txn, error);
    kv_abort(txn);
    return *done ? OMEN_OK : status;
}
