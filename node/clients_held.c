// node/clients_held.c -- requests that come just after a start wait until this node knows enough of the cluster.
//
// Shape: shell.
//
//      request --no map, or no lease yet--> held --a lease, HOLD_NS after the start--> taken
//
// A process that starts has no map, or that of its last checkpoint: a collection may not be there yet, copies are where they were. What
// it would say, BUSY or NOT_FOUND, is about itself and not about the request; a client who was not told so would take it
// for an answer. A moment later it knows. Where nobody leads the metadata that moment does not come: after HOLD_NS things go
// on as they are. Deadlines run on meanwhile (router/front_ask.c).
#include "base/alloc.h"
#include "base/os_clock.h"
#include "node/clients_int.h"

#define HOLD_NS UINT64_C(2000000000)
#define HELD_MAX 1024u // one more is taken as things are

// A node without copies gets no lease, and its map from somebody who has the newest.
static bool
is_settled(const struct clients *clients)
{
    const bool knows =
        clients->map != NULL && (clients->held.current || clients->config.part == NULL);
    return knows || os_clock_ns() >= clients->begun_ns + HOLD_NS;
}

bool
clients_hold(struct clients *clients, struct clients_request_note *note)
{
    struct clients_held *held = &clients->held;
    if (!front_takes(note->request.method) || held->count == HELD_MAX || is_settled(clients))
        return false;
    note->next = NULL;
    *held->end = note;
    held->end = &note->next;
    held->count++;
    return true;
}

static struct clients_request_note *
take_first(struct clients_held *held)
{
    struct clients_request_note *note = held->first;
    held->first = note->next;
    if (held->first == NULL)
        held->end = &held->first;
    held->count--;
    return note;
}

void
clients_held_go(struct clients *clients)
{
    while (clients->held.first != NULL && is_settled(clients)) {
        struct clients_request_note *note = take_first(&clients->held);
        clients_take_request(clients, note);
        mem_free(note);
    }
}

uint64_t
clients_held_due(const struct clients *clients)
{
    return clients->held.first != NULL ? clients->begun_ns + HOLD_NS : UINT64_MAX;
}

void
clients_held_close(struct clients *clients)
{
    while (clients->held.first != NULL) {
        struct clients_request_note *note = take_first(&clients->held);
        clients_drop_request(note);
        mem_free(note);
    }
}
