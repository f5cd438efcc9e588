// base/image.c -- cutting what is saved into pieces.
//
// Shape: value.
#include "base/image.h"

omen_status
image_put_whole(const struct image_sink *sink, enum image_array array, const void *bytes,
                size_t count)
{
    omen_status status = OMEN_OK;
    uint32_t piece = 0;
    for (size_t at = 0; at < count && status == OMEN_OK; at += IMAGE_PIECE_BYTES) {
        const size_t part = count - at < IMAGE_PIECE_BYTES ? count - at : IMAGE_PIECE_BYTES;
        status = sink->put(sink->context, array, piece++, (const uint8_t *)bytes + at, part);
    }
    return status;
}
