// base/os_loop.h -- a thread that takes notes one after the other, and wakes at a time that it was told.
//
// Shape:   handle; a shell. What a machine's shell is built on: everything reaches the machine as a note.
// Threads: loop_post and loop_put from anywhere: they never fail, and hold a lock for a few instructions. loop_go from where a note may
//          be taken: with no lock held, and not from within a note. loop_due and loop_waits from within a note or a wake; loop_open,
//          loop_stop and loop_close in the owner's. The order of one poster is kept.
//
// Notes are taken one at a time, mostly by the loop's own thread. Where that sleeps, who says loop_go takes them itself, as its guest: to
// wake the thread would take longer than most notes do. Everything is as if the thread had taken them.
// Memory:  a note is the poster's allocation and belongs to whoever takes it. A queue has no bound of its own: posters bound
//          what they have on its way.
#ifndef OMEN_BASE_OS_LOOP_H
#define OMEN_BASE_OS_LOOP_H
#include <stdbool.h>
#include <stdint.h>

#include "base/status.h"

struct loop; // opaque

// The first member of what is posted.
struct loop_note {
    struct loop_note *next; // the loop's
    uint32_t kind;          // the taker's
};

struct loop_config {
    const char *name; // of the thread; what is beyond 15 bytes is cut
    void *context;
    void (*take)(void *context,
                 struct loop_note *note); // in the loop's thread, or a guest's; owns the note
    void (*wake)(void *context); // the time of loop_due has come; NULL where none is ever told
    void (*discard)(void *context,
                    struct loop_note *note); // of a loop that was stopped; owns the note
};

// The config is copied. OMEN_E_NO_MEMORY, also when the system refuses the thread, leaves *out NULL.
OMEN_MUST_CHECK omen_status loop_open(const struct loop_config *config, struct loop **out);

void loop_post(struct loop *loop, struct loop_note *note);

// As loop_post, but whoever puts notes says loop_go behind the last of them, soon: it may be that nobody takes them before.
void loop_put(struct loop *loop, struct loop_note *note);
// What was put is taken: here, before it returns, where the thread sleeps and nobody else is its guest (not many more than
// LOOP_GUEST_NOTES, with those that others post meanwhile); else by whoever is at it.
void loop_go(struct loop *loop);
#define LOOP_GUEST_NOTES 64u

// Call wake no later than that (os_clock_ns); UINT64_MAX: never. The newest word counts, and a call of wake uses it up. Between
// two wakes a note is taken where there is one, so a time that is always past keeps nobody out.
void loop_due(struct loop *loop, uint64_t at_ns);

// From within a note or a wake: whether there is a note behind the one in hand.
bool loop_waits(struct loop *loop);

// The note in hand is finished, the thread ends, and what is left is discarded, as is whatever is posted from then on, then and
// there. For those whose threads post to each other: all are stopped before the first is closed. Twice is once.
void loop_stop(struct loop *loop);
// Stops it. Nobody may post any more. Accepts NULL.
void loop_close(struct loop *loop);

#endif
