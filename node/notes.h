// node/notes.h -- the kinds of notes that go between the loops of a node, and a frame of another node as a note.
//
// Shape:   value; notes are on the heap.
// Threads: any.
//
// One list for all loops, so that whoever takes a note knows what it is whoever posted it.
#ifndef OMEN_NODE_NOTES_H
#define OMEN_NODE_NOTES_H
#include "base/os_loop.h"
#include "cluster/uuid.h"
#include "wire/peer.h"

enum note_kind {
    NOTE_FRAME = 1, // struct frame_note
    NOTE_DATAGRAM,  // struct datagram_note: to the metadata's loop
    NOTE_DISK,      // struct disk_done (node/disk.h)
    // to the metadata's loop
    NOTE_META_START,
    NOTE_META_FEED,
    NOTE_META_ASK, // a proposal, a wish, or an operator's change of raft's group
    // from it
    NOTE_META_MAP,     // struct meta_map, and so on (node/meta.h)
    NOTE_META_LEASE,   //
    NOTE_META_WORD,    //
    NOTE_META_LED,     // struct loop_note: somebody leads who did not; wishes may have been lost
    NOTE_META_MEMBERS, //
    NOTE_META_ANSWER,  //
    NOTE_NEAR,         // struct near (node/near.h): to the clients' loop
    NOTE_OTHERS = 64,  // from here on a loop's own
};

struct frame_note {
    struct loop_note note;    // NOTE_FRAME
    struct cluster_uuid from; // by its handshake
    uint64_t boot;
    struct peer_head head;
    uint32_t count;
    uint8_t body[];
};

struct datagram_note {
    struct loop_note note; // NOTE_DATAGRAM
    uint32_t count;
    uint8_t packet[];
};

// Copies; NULL: no memory, and the message is as if it were lost.
struct frame_note *frame_note_make(struct cluster_uuid from, uint64_t boot,
                                   const struct peer_head *head, struct wire_bytes body);
struct datagram_note *datagram_note_make(struct wire_bytes packet);

#endif
