// tests/fuzz/fuzz_wire_frame.c -- any bytes as a stream, whole and in pieces: both split alike, messages are what msgpack_skip says
// they are, and no limit is passed.
//
// The first byte says how large the pieces are.
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "wire/frame.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count);

static const struct decode_limits limits = {.bytes_max = 2000, .depth_max = 6};

static enum frame_result
piece_by_piece(struct frame *frame, const uint8_t *bytes, size_t count, size_t step,
               size_t *message)
{
    size_t there = 0;
    for (;;) {
        const enum frame_result result = frame_find(frame, bytes, there, message);
        ASSERT(frame_wanted(frame) <= limits.bytes_max || result == FRAME_REFUSED);
        if (result != FRAME_MORE || there == count)
            return result;
        there = there + step < count ? there + step : count;
    }
}

int
LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count)
{
    if (count == 0)
        return 0;
    const size_t step = 1 + bytes[0] % 16;
    struct frame whole, pieces;
    frame_init(&whole, &limits);
    frame_init(&pieces, &limits);
    bytes++;
    count--;
    for (;;) {
        size_t message, other;
        const enum frame_result result = frame_find(&whole, bytes, count, &message);
        ASSERT(piece_by_piece(&pieces, bytes, count, step, &other) == result);
        ASSERT(message == other && whole.reason == pieces.reason && message <= count);
        if (result != FRAME_WHOLE)
            return 0;
        struct msgpack_reader reader = {bytes, bytes + message};
        ASSERT(msgpack_skip(&reader) && reader.at == reader.end && message <= limits.bytes_max);
        bytes += message;
        count -= message;
    }
}
