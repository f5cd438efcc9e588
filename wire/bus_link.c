// wire/bus_link.c -- one connection between two nodes: the handshake, and the frames behind it.
//
// Shape: shell.
//
//   we dialed:    DIALING -- begin: HELLO --> WANTS_WELCOME -- WELCOME: CONFIRM and what waited --> SENDS
//   they dialed:  WANTS_HELLO -- HELLO: WELCOME --> WANTS_CONFIRM -- CONFIRM --> RECEIVES
//
// What a stranger may send is so little that it fits the first input buffer; a handshake has handshake_ms. Whatever is not as it
// has to be is counted and ends the connection: nobody knows where its next frame would begin.
#include <string.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "base/os_clock.h"
#include "base/os_random.h"
#include "wire/bus_int.h"

#define MS ((uint64_t)1000000)

uint8_t *
frame_bytes(const struct bus_frame *frame, size_t *count)
{
    *count = PEER_HEAD_BYTES + frame->body.count;
    uint8_t *bytes = mem_alloc(*count);
    if (bytes == NULL)
        return NULL;
    const struct peer_head head = {.kind = frame->kind,
                                   .lane = frame->lane,
                                   .deadline_ms = frame->deadline_ms,
                                   .correlation = frame->correlation};
    peer_head_write(head, frame->body, bytes);
    if (frame->body.count > 0)
        memcpy(bytes + PEER_HEAD_BYTES, frame->body.bytes, frame->body.count);
    return bytes;
}

// A frame of the handshake. Where it cannot be sent, the connection is no more, or its deadline ends it.
static void
say(struct link *link, enum peer_kind kind, const uint8_t *body, uint32_t bytes)
{
    const struct bus_frame frame = {
        .lane = link->lane, .kind = (uint8_t)kind, .body = {body, bytes}};
    size_t count;
    uint8_t *said = frame_bytes(&frame, &count);
    if (said == NULL || stream_write(link->stream, said, count) != OMEN_OK)
        stream_close(link->stream, STREAM_NO_MEMORY);
}

// ---- life ----

void *
link_begin(void *context, struct stream *stream, void *dialed)
{
    struct bus *bus = context;
    struct link *link = dialed;
    if (!atomic_load(&bus->open)) { // bus_let_in stores it when all is there
        ASSERT(link == NULL);
        return NULL;
    }
    if (link == NULL) {
        link = mem_alloc_zero(1, sizeof *link);
        if (link == NULL)
            return NULL;
        link->bus = bus;
        link->phase = LINK_WANTS_HELLO;
        link->lane = PEER_CONTROL; // until it says its own
    }
    link->ours = bus->config.ours;
    os_random(link->ours.nonce, sizeof link->ours.nonce);
    stream_deadline(stream, os_clock_ns() + bus->config.handshake_ms * MS);
    stream_keep(stream);
    if (dialed == NULL) {
        link->stream = stream;
        return link;
    }
    const bool bulk = link->lane == PEER_BULK;
    stream_limit(stream, bulk ? bus->config.bulk_bytes_max : bus->config.control_bytes_max);
    lock_acquire(&bus->lock);
    link->stream = stream;
    link->phase = LINK_WANTS_WELCOME;
    const bool wanted = link->peer != NULL;
    lock_release(&bus->lock);
    if (!wanted) { // nobody has this pointer any more
        stream_release(stream);
        mem_free(link);
        return NULL;
    }
    handshake_hello(&link->ours, link->hello);
    say(link, PEER_HELLO, link->hello, sizeof link->hello);
    return link;
}

void
link_missed(void *context, void *dialed, enum stream_miss why)
{
    (void)context;
    struct link *link = dialed;
    lane_lost(link, why);
    mem_free(link);
}

void
link_end(void *owner, struct stream *stream, enum stream_end why)
{
    (void)why;
    struct link *link = owner;
    if (link->phase == LINK_RECEIVES)
        lane_unheard(link);
    lane_lost(link, STREAM_MISS_OTHER);
    stream_release(stream);
    mem_free(link);
}

// ---- the handshake ----

static void
refuse(struct link *link, enum peer_refusal refusal)
{
    bus_count(&link->bus->refusals[refusal]);
    stream_close(link->stream, STREAM_REFUSED);
}

static bool
is_fine(struct link *link, enum handshake_verdict verdict)
{
    if (verdict != HANDSHAKE_FINE) {
        bus_count(&link->bus->verdicts[verdict]);
        stream_close(link->stream, STREAM_REFUSED);
    }
    return verdict == HANDSHAKE_FINE;
}

static void
take_hello(struct link *link, struct wire_bytes body)
{
    const enum handshake_verdict verdict = handshake_take_hello(&link->ours, body, &link->theirs);
    const bool is_told = verdict == HANDSHAKE_JOINS || verdict == HANDSHAKE_NO_VERSION;
    if (is_told)
        bus_count(&link->bus->verdicts[verdict]);
    else if (!is_fine(link, verdict))
        return;
    memcpy(link->hello, body.bytes, sizeof link->hello);
    handshake_welcome(link->bus->keys.peer, &link->ours, link->hello, link->welcome);
    // Who joins, or understands none of our versions, is told who we are, and closes; if it does not, the handshake's deadline does.
    link->phase = is_told ? LINK_TOLD : LINK_WANTS_CONFIRM;
    say(link, PEER_WELCOME, link->welcome, sizeof link->welcome);
}

static void
take_confirm(struct link *link, struct wire_bytes body)
{
    struct bus *bus = link->bus;
    if (!is_fine(link, handshake_take_confirm(bus->keys.peer, link->hello, link->welcome, body)))
        return;
    bus_count(&bus->verdicts[HANDSHAKE_FINE]);
    link->phase = LINK_RECEIVES;
    stream_deadline(link->stream, UINT64_MAX);
    lane_heard(link);
}

// Whether it is the node that was said to be there; who was dialed by address alone may be anyone of ours. Of one that was forgotten
// meanwhile nothing was said: its connection is closed already.
static bool
is_right_node(struct link *link)
{
    struct bus *bus = link->bus;
    lock_acquire(&bus->lock);
    const struct bus_peer *peer = link->peer;
    const bool right =
        peer == NULL || uuid_is_none(peer->node) || uuid_equal(peer->node, link->theirs.node);
    lock_release(&bus->lock);
    return right;
}

static void
take_welcome(struct link *link, struct wire_bytes body)
{
    struct bus *bus = link->bus;
    uint8_t confirm[HANDSHAKE_CONFIRM_BYTES];
    if (!is_fine(link, handshake_take_welcome(bus->keys.peer, &link->ours, link->hello, body,
                                              &link->theirs)))
        return;
    if (!is_right_node(link)) {
        bus_count(&bus->wrong_node);
        stream_close(link->stream, STREAM_REFUSED);
        return;
    }
    bus_count(&bus->verdicts[HANDSHAKE_FINE]);
    memcpy(link->welcome, body.bytes, sizeof link->welcome);
    handshake_confirm(bus->keys.peer, link->hello, link->welcome, confirm);
    stream_deadline(link->stream, UINT64_MAX);
    lane_ready(link, confirm);
}

// ---- frames ----

static void
take(struct link *link, const struct peer_head *head, struct wire_bytes body)
{
    struct bus *bus = link->bus;
    if (link->phase == LINK_RECEIVES) {
        bus_count(&bus->frames_in);
        bus->config.frame(bus->config.context, link->theirs.node, link->theirs.boot, head, body);
    } else if (link->phase == LINK_WANTS_HELLO && head->kind == PEER_HELLO) {
        link->lane = head->lane;
        take_hello(link, body);
    } else if (link->phase == LINK_WANTS_CONFIRM && head->kind == PEER_CONFIRM) {
        take_confirm(link, body);
    } else if (link->phase == LINK_WANTS_WELCOME && head->kind == PEER_WELCOME) {
        take_welcome(link, body);
    } else { // also of whom we dialed, afterwards: it has a connection of its own for what it says
        refuse(link, PEER_NOT_WELCOME);
    }
}

// The lane is that of the connection, which the first frame of who dialed says.
static enum peer_refusal
read_head(const struct link *link, const uint8_t *bytes, struct peer_head *head)
{
    const bool known = link->phase == LINK_RECEIVES || link->phase == LINK_SENDS;
    enum peer_lane lane = (enum peer_lane)link->lane;
    if (link->phase == LINK_WANTS_HELLO && bytes[7] == PEER_BULK)
        lane = PEER_BULK;
    return peer_head_read(bytes, lane, known ? PEER_KNOWN : PEER_STRANGER, head);
}

void
link_read(void *owner, struct stream *stream, struct stream_input *input)
{
    struct link *link = owner;
    (void)stream;
    for (;;) {
        const size_t there = input->count - input->taken;
        input->wanted = PEER_HEAD_BYTES;
        if (there < PEER_HEAD_BYTES)
            return;
        const uint8_t *bytes = input->bytes + input->taken;
        struct peer_head head;
        enum peer_refusal refusal = read_head(link, bytes, &head);
        if (refusal == PEER_FINE && there - PEER_HEAD_BYTES < head.body_bytes) {
            input->wanted = (size_t)PEER_HEAD_BYTES + head.body_bytes;
            return;
        }
        const struct wire_bytes body = {bytes + PEER_HEAD_BYTES, head.body_bytes};
        if (refusal == PEER_FINE && !peer_body_is_whole(&head, body))
            refusal = PEER_TORN;
        if (refusal != PEER_FINE) {
            refuse(link, refusal);
            return;
        }
        take(link, &head, body);
        input->taken += PEER_HEAD_BYTES + head.body_bytes;
    }
}
