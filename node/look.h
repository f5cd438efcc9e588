// node/look.h -- when a worker is asked how much a copy holds.
//
// Shape:   value.
// Threads: one at a time.
//
// Its points change with what is applied, its bytes with a checkpoint as well: a copy where either went on is looked at every few seconds.
// Of the others, which may be hundreds, each is looked at once a minute: links are written although nothing was applied.
#ifndef OMEN_NODE_LOOK_H
#define OMEN_NODE_LOOK_H
#include <stdbool.h>
#include <stdint.h>

#define LOOK_SOON_NS UINT64_C(4000000000)
#define LOOK_SELDOM_NS UINT64_C(60000000000)

struct look_at { // where a copy is
    uint64_t applied, durable;
};

struct look {
    struct look_at at; // as of the last one
    bool still;        // it found nothing new
    uint64_t due_ns;
};

// One of zeros is of a copy that was not looked at, and due.
bool look_is_due(const struct look *look, struct look_at at, uint64_t now_ns);
// One was made of the copy as it was there; `news`: it found something else than the one before, or what may change by itself.
void look_made(struct look *look, struct look_at at, bool news, uint64_t now_ns);

#endif
