// node/near.h -- a part of a read that this node's clients ask of a copy on this node, and that does not go through the data loop.
//
// Shape:   value; on the heap.
// Threads: one at a time has it: the clients' loop, a worker, or the data loop.
//
// A part that comes in a frame is a note to the data loop, which gives it to a worker, which gives it back, and its reply is a note
// again. Where both ends are in one process nothing of that is needed for a read of what a copy has applied: what the data loop looks
// at (node/admit.h) can be looked at under a lock that it holds only while it has a note in hand.
#ifndef OMEN_NODE_NEAR_H
#define OMEN_NODE_NEAR_H
#include "base/os_loop.h"
#include "wire/node_codec.h"

#define NEARS_TOGETHER 16u // given to workers, or taken by one of them, at once

struct near {
    struct loop_note note;     // NOTE_NEAR, to the clients' loop, when it is done
    struct near *next, **link; // of who has it
    struct wire_part part;     // its ask is borrowed until hosts_near_free
    void *kept;                // whatever keeps that ask, for who began it
    bool light;                // searches of this copy take so little that a loop may serve one
    bool brief;                // parts of this copy are over soon, so who brought it may serve it
    struct wire_reply reply;   // when it is done; borrows from this struct
};

#endif
