// wire/frame.c -- finds where the messages of msgpack-RPC end in a stream of bytes.
//
// Shape: value.
//
// The state between two calls is the place of the next head and, for each open container, how many objects it still owes. A
// head is looked at only when all of it has arrived; the body behind it is jumped over, so a binary of 16 MB costs one
// step whether it comes in one piece or in a million. Every object takes a byte at least: what all open containers owe
// together is bounded by the bytes that the message may still have, which is how a bomb is told from a long message.
#include "wire/frame.h"

#include "base/assert.h"

struct head {
    uint32_t bytes;   // of the head itself
    uint64_t body;    // bytes that follow
    uint64_t objects; // that follow
    enum { HEAD_PLAIN, HEAD_ARRAY, HEAD_MAP } kind;
};

static enum frame_result refuse(struct frame *frame, enum frame_reason reason);
static bool is_last(const struct frame *frame);
static enum frame_result take_head(struct frame *frame, const uint8_t *bytes);
static uint32_t head_bytes(uint8_t first);
static struct head head_of(const uint8_t *bytes);
static bool begins_rpc(const struct head *head);

void
frame_init(struct frame *frame, const struct decode_limits *limits)
{
    *frame = (struct frame){.reason = FRAME_FINE};
    frame_limit(frame, limits);
}

void
frame_limit(struct frame *frame, const struct decode_limits *limits)
{
    ASSERT(frame->at == 0 && limits->depth_max <= DECODE_DEPTH_MAX);
    frame->limits = *limits;
}

enum frame_result
frame_find(struct frame *frame, const uint8_t *bytes, size_t count, size_t *message)
{
    *message = 0;
    if (frame->reason != FRAME_FINE)
        return FRAME_REFUSED;
    while (frame->at < count && !is_last(frame)) {
        const uint32_t head = head_bytes(bytes[frame->at]);
        if (head == 0)
            return refuse(frame, FRAME_MALFORMED);
        if (head > frame->limits.bytes_max - frame->at)
            return refuse(frame, FRAME_TOO_LONG);
        if (head > count - frame->at)
            return FRAME_MORE;
        const enum frame_result result = take_head(frame, bytes);
        if (result == FRAME_REFUSED)
            return result;
    }
    if (!is_last(frame) || frame->at > count)
        return FRAME_MORE;
    *message = frame->at;
    frame->at = 0;
    return FRAME_WHOLE;
}

// All heads of the message are read; the body of the last may not be there yet.
static bool
is_last(const struct frame *frame)
{
    return frame->at > 0 && frame->depth == 0;
}

static enum frame_result
take_head(struct frame *frame, const uint8_t *bytes)
{
    const struct head head = head_of(bytes + frame->at);
    if (frame->at == 0 && !begins_rpc(&head))
        return refuse(frame, FRAME_NOT_RPC);
    if (frame->depth > 0) {
        frame->owed[frame->depth - 1]--;
        frame->owed_objects--;
    }
    const uint64_t left = frame->limits.bytes_max - frame->at - head.bytes;
    if (head.body > left || head.objects + frame->owed_objects > left - head.body)
        return refuse(frame, FRAME_TOO_LONG);
    frame->at += head.bytes + (uint32_t)head.body;
    if (head.kind != HEAD_PLAIN) {
        if (frame->depth == frame->limits.depth_max)
            return refuse(frame, FRAME_TOO_DEEP);
        frame->owed[frame->depth++] = (uint32_t)head.objects;
        frame->owed_objects += (uint32_t)head.objects;
    }
    while (frame->depth > 0 && frame->owed[frame->depth - 1] == 0)
        frame->depth--;
    return FRAME_MORE;
}

size_t
frame_wanted(const struct frame *frame)
{
    const size_t wanted = (size_t)frame->at + frame->owed_objects;
    return wanted > 0 ? wanted : 1;
}

static enum frame_result
refuse(struct frame *frame, enum frame_reason reason)
{
    frame->reason = reason;
    frame->refused[reason]++;
    return FRAME_REFUSED;
}

// Of three elements or of four; what they are is looked at when the message is there.
static bool
begins_rpc(const struct head *head)
{
    return head->kind == HEAD_ARRAY && (head->objects == 3 || head->objects == 4);
}

// With the length that the head carries, and the type of an ext; 0 for the byte that never is.
static uint32_t
head_bytes(uint8_t first)
{
    static const uint8_t bytes[32] = {
        1, 0, 1, 1, 2, 3, 5, 3,
        4, 6, 5, 9, 2, 3, 5, 9, // c0: nil - false true bin8.. ext8.. f32 f64 u8..
        2, 3, 5, 9, 2, 2, 2, 2,
        2, 2, 3, 5, 3, 5, 3, 5, // d0: i8.. fixext1.. str8.. array16 32 map16 32
    };
    return first >= 0xc0 && first < 0xe0 ? bytes[first - 0xc0] : 1;
}

static uint64_t
big_endian(const uint8_t *bytes, uint32_t count)
{
    uint64_t value = 0;
    for (uint32_t i = 0; i < count; i++)
        value = value << 8 | bytes[i];
    return value;
}

static struct head
head_of(const uint8_t *bytes)
{
    const uint8_t first = bytes[0];
    struct head head = {.bytes = head_bytes(first)};
    if (first >= 0x80 && first < 0x90) {
        head.kind = HEAD_MAP;
        head.objects = 2 * (uint64_t)(first & 0x0f);
    } else if (first >= 0x90 && first < 0xa0) {
        head.kind = HEAD_ARRAY;
        head.objects = first & 0x0f;
    } else if (first >= 0xa0 && first < 0xc0) {
        head.body = first & 0x1f;
    } else if (first >= 0xc4 && first <= 0xc6) {
        head.body = big_endian(bytes + 1, head.bytes - 1);
    } else if (first >= 0xc7 && first <= 0xc9) {
        head.body = big_endian(bytes + 1, head.bytes - 2);
    } else if (first >= 0xd4 && first <= 0xd8) {
        head.body = 1ull << (first - 0xd4);
    } else if (first >= 0xd9 && first <= 0xdb) {
        head.body = big_endian(bytes + 1, head.bytes - 1);
    } else if (first >= 0xdc && first <= 0xdf) {
        head.kind = first >= 0xde ? HEAD_MAP : HEAD_ARRAY;
        head.objects = big_endian(bytes + 1, head.bytes - 1) << (first >= 0xde);
    }
    return head;
}

const char *
frame_reason_name(enum frame_reason reason)
{
    static const char *const names[] = {"fine", "not_rpc", "malformed", "too_long", "too_deep"};
    ASSERT(reason < FRAME_REASONS);
    return names[reason];
}
