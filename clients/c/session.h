// clients/c/session.h -- what a client has seen of each collection: the last place of each shard's log that an answer named.
//
// Shape:   value, in the owner's memory, behind a lock.
// Threads: any.
//
// Grows with the tokens of answers; a read that says them is answered by a copy that has applied as much. Collections are told apart by the
// name that was asked for, which may be an alias: what was written by one name is not waited for by the other.
#ifndef OMEN_CLIENTS_C_SESSION_H
#define OMEN_CLIENTS_C_SESSION_H
#include "base/os_lock.h"
#include "wire/shape.h"

struct session_collection; // one name, and what was seen of it

struct session {
    struct lock lock;
    struct session_collection *first; // owned
    bool lost; // there was no memory for what was seen: who asks has to ask for everything
};

void session_init(struct session *session);
void session_fini(struct session *session);
void session_forget(struct session *session); // what was seen so far: another session begins

// Takes an answer's token in.
void session_saw(struct session *session, struct wire_text collection,
                 const struct wire_list *token);

// How a read must ask to see all that: *consistency, and *after, whose items are the caller's from now on (mem_free; NULL: none).
// OMEN_E_NO_MEMORY.
OMEN_MUST_CHECK omen_status session_ask(struct session *session, struct wire_text collection,
                                        uint8_t *consistency, struct wire_list *after);

#endif
