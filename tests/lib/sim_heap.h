// tests/lib/sim_heap.h -- what happens next in a simulation: a heap of events by time, and of one time by order of making.
//
// Shape: value; its array grows.
#ifndef OMEN_TESTS_SIM_HEAP_H
#define OMEN_TESTS_SIM_HEAP_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include "base/assert.h"

enum sim_event_kind {
    SIM_WAKE,    // node `at`
    SIM_RAFT,    // `packet` arrives at node `at`
    SIM_GOSSIP,  // the same
    SIM_SYNC,    // the first transaction of node `at` is durable
    SIM_START,   // node `at` comes back
    SIM_LIE,     // node `at` is told that `from` is durable, which it may not be
    SIM_CLIENT,  // client `at` thinks
    SIM_TIMEOUT, // client `at` gives up waiting
    SIM_FAULT,   // the next fault
    SIM_HEAL,    // fault `at` ends
    SIM_FALL,    // node `at` crashes for a moment
    SIM_TURN_MSG,
    SIM_WISH, // of somebody at node `at`
    SIM_REPLICA,
    SIM_COPIES,   // the copies of node `at` wake
    SIM_ERRAND,   // of a replica at node `at`
    SIM_ENV_SYNC, // the first transaction of environment `number` is durable
    SIM_ENV_MADE,
    SIM_OPERATOR, // looks after the cluster
    SIM_UPKEEP,   // logs are trimmed
    SIM_WORD,     // of the failure detector about node `from` comes to the copies of node `at`
    SIM_RUMOUR,   // the same, made up
    SIM_REFUSED,  // nobody listens where node `from` is, says the bus of node `at`
    SIM_REACHED,  // and that it was reached
    SIM_LED,      // the copies of node `at` hear that somebody else leads the metadata
    SIM_ADMIN,    // of the shards, by an operator
    SIM_MEMBERS,  // of raft's group change
    SIM_UPGRADE,  // node `at` is started anew with a newer program
    SIM_HURRY,    // collections come and go while the last is
    // Of routers, from here on (tests/lib/sim_routers.h).
    SIM_SUB, // `packet` of a router arrives at node `at`
    SIM_SUB_CANCEL,
    SIM_SUB_REPLY, // and its answer at place `at`
    SIM_MAP_ASK,   // the last router wants a map of node `at`
    SIM_MAP,
    SIM_ROUTER_WAKE,
    SIM_ROUTER_LATE, // place `at` takes the newest map at last
    SIM_CALL_BEGIN,  // caller `at` thinks
    SIM_CALL_LATE,   // caller `at` hears nothing
    SIM_CALL_CLAIM,  // what caller `at` writes waits for a kind of ids
    SIM_ROUTER_FAULT,
    SIM_ROUTER_HEAL,
    SIM_EVENT_KINDS,
};

struct sim_event {
    uint64_t at_ns, serial;
    uint64_t number; // WAKE, COPIES, SYNC: life of the node; TIMEOUT, CALL_LATE: try of the client
    enum sim_event_kind kind;
    uint32_t at, from;
    bool amid; // it was in the mailbox of a turn that was stopped
    void *packet;
};

struct sim_heap {
    struct sim_event *events;
    size_t count, room;
    uint64_t serial;
};

static inline bool
sim_before(const struct sim_event *a, const struct sim_event *b)
{
    return a->at_ns != b->at_ns ? a->at_ns < b->at_ns : a->serial < b->serial;
}

static inline void
sim_push(struct sim_heap *heap, struct sim_event event)
{
    if (heap->count == heap->room) {
        heap->room = heap->room == 0 ? 1024 : heap->room * 2;
        heap->events = realloc(heap->events, heap->room * sizeof *heap->events);
        ASSERT(heap->events != NULL);
    }
    event.serial = heap->serial++;
    size_t at = heap->count++;
    for (; at > 0 && sim_before(&event, &heap->events[(at - 1) / 2]); at = (at - 1) / 2)
        heap->events[at] = heap->events[(at - 1) / 2];
    heap->events[at] = event;
}

static inline struct sim_event
sim_pop(struct sim_heap *heap)
{
    const struct sim_event top = heap->events[0];
    const struct sim_event last = heap->events[--heap->count];
    size_t at = 0;
    for (;;) {
        size_t child = 2 * at + 1;
        if (child >= heap->count)
            break;
        if (child + 1 < heap->count && sim_before(&heap->events[child + 1], &heap->events[child]))
            child++;
        if (!sim_before(&heap->events[child], &last))
            break;
        heap->events[at] = heap->events[child];
        at = child;
    }
    if (heap->count > 0)
        heap->events[at] = last;
    return top;
}

#endif
