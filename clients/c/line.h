// clients/c/line.h -- a connection to one node: bytes out, whole messages in; nothing waits.
//
// Shape:   shell: a socket that does not block, in the owner's memory.
// Threads: one at a time.
// Errors:  what ends a line is said in `why`; who has it opens another.
#ifndef OMEN_CLIENTS_C_LINE_H
#define OMEN_CLIENTS_C_LINE_H
#include "clients/c/endpoints.h"
#include "wire/encode.h"
#include "wire/frame.h"

enum line_state { LINE_CLOSED, LINE_DIALS, LINE_OPEN };

struct addrinfo;

struct line {
    int fd; // -1: none
    enum line_state state;
    struct addrinfo *addresses, *next; // of the host; the one to be tried next
    struct frame frame;
    uint8_t *in; // owned
    size_t in_count, in_room, in_first;
    struct encode out; // what is to be sent; the owner appends
    size_t out_sent;
    char why[192]; // it was closed; "": it was not opened yet
};

void line_init(struct line *line);
void line_fini(struct line *line);

// Looks the host up, which may take a while, and begins to connect. False: closed.
bool line_dial(struct line *line, const struct endpoint *endpoint);
void line_close(struct line *line, const char *why);

// What poll is to wait for, and what is done when it has happened.
short line_events(const struct line *line);
void line_turn(struct line *line, short happened);

// The next whole message, which stays until the next call here. False: there is none, or the line was closed for what came.
bool line_take(struct line *line, struct wire_bytes *message);

#endif
