// wire/frame.h -- finds where the messages of msgpack-RPC end in a stream of bytes.
//
// Shape:   value. Allocates nothing; the buffer of what has arrived is the caller's.
// Threads: one at a time: a splitter belongs to one connection.
// Errors:  what breaks a limit is refused with a reason, and the connection has to be closed: nobody knows where its next
//          message would begin.
//
// msgpack has no frames: a message ends where its outermost array does. The splitter looks at each head once, however small the
// pieces are in which the bytes arrive, and skips the bodies of texts and binaries without looking. It refuses a head
// that announces more than the limit as soon as the head is there, so nobody makes room for it.
#ifndef OMEN_WIRE_FRAME_H
#define OMEN_WIRE_FRAME_H
#include "wire/decode.h"

enum frame_result {
    FRAME_MORE,    // the message goes on: `frame_wanted` says how far at least
    FRAME_WHOLE,   // it is there
    FRAME_REFUSED, // `reason`
};

enum frame_reason {
    FRAME_FINE,
    FRAME_NOT_RPC,   // does not begin as a request, an answer or a notification does
    FRAME_MALFORMED, // has a byte that msgpack never uses
    FRAME_TOO_LONG,  // or announces more objects than it may have bytes
    FRAME_TOO_DEEP,
    FRAME_REASONS,
};

struct frame {
    struct decode_limits limits; // bytes_max and depth_max
    enum frame_reason reason;
    uint32_t at;           // the next head is here in the message, or will be
    uint32_t owed_objects; // of all open containers together
    uint32_t depth;
    uint32_t owed[DECODE_DEPTH_MAX];
    uint64_t refused[FRAME_REASONS]; // by reason, since frame_init
};

void frame_init(struct frame *frame, const struct decode_limits *limits);

// From the next message on. Between two messages only.
void frame_limit(struct frame *frame, const struct decode_limits *limits);

// `bytes` begins with the message whose end is looked for and has all of it that has arrived: what was there at the call before,
// and perhaps more. WHOLE: *message is its size, and the next call begins with the next message. REFUSED stays.
enum frame_result frame_find(struct frame *frame, const uint8_t *bytes, size_t count,
                             size_t *message);

// Bytes that the message has at least, as far as one knows: so much room is well spent. At most bytes_max.
size_t frame_wanted(const struct frame *frame);

const char *frame_reason_name(enum frame_reason reason); // "too_long"; static

#endif
