// base/image.h -- how something that lives in arrays is written to disk and found there again.
//
// Shape:   value. The structure that is saved knows arrays and pieces; who keeps them (storage/, or a
//          test's table) is behind two functions.
// Threads: as the structure's own save and load say; put and get are called from one thread at a time.
//
// An array is cut into pieces of at most IMAGE_PIECE_BYTES. Arrays that grow are rewritten piece by piece; arrays
// that only make sense whole are written under a new version, by whoever keeps them: see image_is_whole.
// docs/internals/storage.md is the contract between save, load and the log.
#ifndef OMEN_BASE_IMAGE_H
#define OMEN_BASE_IMAGE_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/status.h"

#define IMAGE_PIECE_BYTES ((size_t)256 << 10)

// The arrays of a shard. The numbers are part of the file format: never changed, never used again.
enum image_array {
    // index/: pieces of an arena, so that they can be used where they lie
    IMAGE_ROWS = 1, // vectors as stored
    IMAGE_HIGH = 2, // codes
    IMAGE_LOW = 3,
    IMAGE_CODE_META = 4,
    IMAGE_LINKS = 5,
    // index/: whole
    IMAGE_INDEX_HEAD = 16, // counts, the code's parameters, entries
    IMAGE_ERASED = 17,     // bitmaps, a bit a slot
    IMAGE_REPAIRED = 18,
    // shard/: pieces of an arena
    IMAGE_IDS = 32,        // slot -> u64 id or key
    IMAGE_PAYLOAD_AT = 33, // slot -> u64 place of its payload
    IMAGE_PAYLOADS = 34,   // payload bytes; a piece is a block
    IMAGE_NAME_AT = 35,    // key -> u64 place of its text
    IMAGE_NAMES = 36,      // bytes of texts; a piece is a block
    IMAGE_VERSIONS = 37,   // slot -> u64 sequence number of its last change
    // shard/: whole
    IMAGE_ID_TABLE = 48,    // the hash table from id to slot
    IMAGE_NAME_TABLE = 49,  // the hash table from text to key
    IMAGE_FIELDS = 50,      // field indexes
    IMAGE_SHARD_HEAD = 51,  // counts of the parts
    IMAGE_CALIBRATION = 52, // what target_recall goes by
    IMAGE_PAYLOAD_HEAD = 53,
    IMAGE_NAME_HEAD = 54,
    IMAGE_ID_HEAD = 55,
    IMAGE_SUMS = 56, // of what is held, where the log is a host's
};

static inline bool
image_is_whole(uint32_t array)
{
    return (array >= 16 && array < 32) || array >= 48;
}

struct image_sink {
    // Takes a copy of 1..IMAGE_PIECE_BYTES bytes as the piece's content from now on. A failure ends the save.
    omen_status (*put)(void *context, uint32_t array, uint32_t piece, const void *bytes,
                       size_t count);
    // The piece is not needed any more; one that never was is fine.
    omen_status (*drop)(void *context, uint32_t array, uint32_t piece);
    void *context;
};

// Puts an array that makes sense whole as pieces 0, 1, ...; at least one byte.
OMEN_MUST_CHECK omen_status image_put_whole(const struct image_sink *sink, enum image_array array,
                                            const void *bytes, size_t count);

struct image_source {
    // The content of a piece and its size, at an address that is a multiple of 64, or NULL where there is none. It stays
    // there, unchanged, until the structure that was loaded is closed, or puts or drops the piece.
    const void *(*get)(void *context, uint32_t array, uint32_t piece, size_t *count);
    void *context;
    // Whether what `get` gave still is what was put, which takes reading it. NULL where nobody can tell.
    bool (*sound)(const void *bytes, size_t count);
};

#endif
