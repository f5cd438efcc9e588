// storage/blocks_int.h -- a piece's bytes in the store.
//
// Shape: value; private to storage/blocks*.c and storage/meta.c.
#ifndef OMEN_STORAGE_BLOCKS_INT_H
#define OMEN_STORAGE_BLOCKS_INT_H
#include "storage/blocks.h"

#define BLOCK_MAGIC 0x424e4d4fu // "OMNB"
#define BLOCK_FORMAT 1u
#define VERSION_MASK 0xffffffu

// Little-endian. What follows `count` bytes is padding, so that the smallest piece, too, lies on pages of its own.
struct block_head {
    uint32_t magic;
    uint16_t format;
    uint16_t array;
    uint32_t version;
    uint32_t piece;
    uint64_t count;
    uint64_t reserved;
    uint64_t checksum;      // of the bytes
    uint64_t head_checksum; // of the above
};
_Static_assert(sizeof(struct block_head) == BLOCK_HEAD_BYTES, "part of the format");

static inline uint64_t
block_key(uint32_t array, uint32_t version, uint32_t piece)
{
    return (uint64_t)array << 56 | (uint64_t)(version & VERSION_MASK) << 32 | piece;
}

// The version under which a manifest's pieces of this array are kept. Names outlive numberings of slots.
static inline uint32_t
block_version(const struct manifest *manifest, uint32_t array)
{
    if (array == IMAGE_NAME_AT || array == IMAGE_NAMES)
        return 0;
    return (image_is_whole(array) ? (uint32_t)manifest->checkpoint : manifest->generation) &
           VERSION_MASK;
}

void block_seal(struct block_head *head, const void *bytes);
// Whether a value (of one that has so many bytes) is this key's piece, as long as its head says, and its bytes are what was put.
// OMEN_E_CORRUPT, OMEN_E_VERSION.
OMEN_MUST_CHECK omen_status block_check(uint64_t key, const struct kv_value *value,
                                        struct omen_error *error);

// Checks every record.
OMEN_MUST_CHECK omen_status meta_verify(struct kv_txn *txn, struct omen_error *error);

#endif
