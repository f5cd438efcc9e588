// storage/log_int.h -- the log's bytes.
//
// Shape: value; private to storage/log*.c.
//
// A group's bytes are those of its entries one behind the other: a head, the entry's bytes, padding to a multiple of 8.
// They are cut into parts; each part is a value: its head, then up to PART_ROOM of those bytes. All little-endian.
#ifndef OMEN_STORAGE_LOG_INT_H
#define OMEN_STORAGE_LOG_INT_H
#include "storage/log.h"

#define LOG_VERSION 1u
#define PART_MAGIC 0x4c4e4d4fu  // "OMNL"
#define ENTRY_MAGIC 0x454e4d4fu // "OMNE"
#define PART_BITS 16u
#define LOG_SEQ_MAX (((uint64_t)1 << (64 - PART_BITS)) - 2)
#define PART_MASK (((uint64_t)1 << PART_BITS) - 1)

struct part_head {
    uint32_t magic;
    uint16_t version;
    uint16_t reserved;
    uint32_t entries; // of the group
    uint32_t part;
    uint64_t first_seq;
    uint64_t group_bytes;
    uint64_t stream_at; // bytes of all groups that were ever before it
    uint64_t checksum;  // of the head without it, and of the part's bytes
};

struct entry_head {
    uint32_t magic;
    uint16_t type;
    uint16_t flags; // none yet: for tenants, expiry, an op_id in use
    uint64_t seq;
    uint64_t term;
    uint64_t count;    // of the entry's bytes
    uint8_t op_id[16]; // reserved: who asked, so that nothing is done twice
};

#define PART_ROOM (LOG_PART_BYTES - sizeof(struct part_head))

_Static_assert(sizeof(struct part_head) == 48 && sizeof(struct entry_head) == 48,
               "part of the format");
_Static_assert(LOG_GROUP_BYTES_MAX / PART_ROOM < PART_MASK, "a group's parts have their keys");

static inline size_t
log_padded(size_t count)
{
    return (count + 7) & ~(size_t)7;
}

static inline uint64_t
log_parts(uint64_t group_bytes)
{
    return (group_bytes + PART_ROOM - 1) / PART_ROOM;
}

// Sets the checksum.
void log_part_seal(struct part_head *head, const char *bytes, size_t count);
// Reads a part's head and checks everything that can be checked of one part. OMEN_E_CORRUPT, OMEN_E_VERSION.
OMEN_MUST_CHECK omen_status log_part_check(uint64_t key, const struct kv_value *value,
                                           struct part_head *head, struct omen_error *error);

#endif
