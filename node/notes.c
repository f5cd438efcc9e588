// node/notes.c -- a frame of another node, or a datagram, as a note.
//
// Shape: value; notes are on the heap.
#include "node/notes.h"

#include <string.h>

#include "base/alloc.h"

struct frame_note *
frame_note_make(struct cluster_uuid from, uint64_t boot, const struct peer_head *head,
                struct wire_bytes body)
{
    struct frame_note *frame = mem_alloc(sizeof *frame + body.count);
    if (frame == NULL)
        return NULL;
    frame->note.kind = NOTE_FRAME;
    frame->from = from;
    frame->boot = boot;
    frame->head = *head;
    frame->count = body.count;
    if (body.count > 0)
        memcpy(frame->body, body.bytes, body.count);
    return frame;
}

struct datagram_note *
datagram_note_make(struct wire_bytes packet)
{
    struct datagram_note *datagram = mem_alloc(sizeof *datagram + packet.count);
    if (datagram == NULL)
        return NULL;
    datagram->note.kind = NOTE_DATAGRAM;
    datagram->count = packet.count;
    if (packet.count > 0)
        memcpy(datagram->packet, packet.bytes, packet.count);
    return datagram;
}
