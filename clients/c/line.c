// clients/c/line.c -- a connection to one node.
//
// Shape: shell.
#include "clients/c/line.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/assert.h"

#define IN_ROOM_LEAST ((size_t)64 << 10)
#define OUT_BYTES_MAX ((size_t)1 << 30)

void
line_init(struct line *line)
{
    *line = (struct line){.fd = -1, .state = LINE_CLOSED};
    encode_init(&line->out, OUT_BYTES_MAX);
}

void
line_fini(struct line *line)
{
    line_close(line, "");
    encode_fini(&line->out);
    mem_free(line->in);
}

void
line_close(struct line *line, const char *why)
{
    if (line->fd >= 0)
        close(line->fd);
    if (line->addresses != NULL)
        freeaddrinfo(line->addresses);
    line->addresses = line->next = NULL;
    line->fd = -1;
    line->state = LINE_CLOSED;
    if (why != line->why)
        snprintf(line->why, sizeof line->why, "%s", why);
    encode_reset(&line->out);
    line->out_sent = line->in_count = line->in_first = 0;
}

// ---- dialling ----

// Begins with the next address of the host; false: none is left.
static bool
dial_next(struct line *line, int last_error)
{
    while (line->next != NULL) {
        const struct addrinfo *address = line->next;
        const int one = 1;
        line->next = address->ai_next;
        if (line->fd >= 0)
            close(line->fd);
        line->fd = socket(address->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        if (line->fd < 0) {
            last_error = errno;
            continue;
        }
        (void)setsockopt(line->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        line->state = LINE_DIALS;
        if (connect(line->fd, address->ai_addr, address->ai_addrlen) == 0 || errno == EINPROGRESS)
            return true;
        last_error = errno;
    }
    line_close(line, strerror(last_error));
    return false;
}

bool
line_dial(struct line *line, const struct endpoint *endpoint)
{
    const struct addrinfo wanted = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
    ASSERT(line->state == LINE_CLOSED);
    const int code = getaddrinfo(endpoint->host, endpoint->port, &wanted, &line->addresses);
    if (code != 0) {
        line->addresses = NULL;
        line_close(line, gai_strerror(code));
        return false;
    }
    line->next = line->addresses;
    frame_init(&line->frame, &decode_answers);
    return dial_next(line, 0);
}

static void
dialled(struct line *line)
{
    int code = 0;
    socklen_t bytes = sizeof code;
    if (getsockopt(line->fd, SOL_SOCKET, SO_ERROR, &code, &bytes) != 0)
        code = errno;
    if (code == 0)
        line->state = LINE_OPEN;
    else
        (void)dial_next(line, code);
}

// ---- bytes ----

static void
send_some(struct line *line)
{
    while (line->out_sent < line->out.count) {
        const ssize_t sent = send(line->fd, line->out.bytes + line->out_sent,
                                  line->out.count - line->out_sent, MSG_NOSIGNAL);
        if (sent < 0 && errno == EINTR)
            continue;
        if (sent < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
            return;
        if (sent < 0) {
            line_close(line, strerror(errno));
            return;
        }
        line->out_sent += (size_t)sent;
    }
    encode_reset(&line->out);
    line->out_sent = 0;
}

// Room for what the message in hand still wants, as far as is known.
static bool
make_room(struct line *line)
{
    if (line->in_first > 0) {
        memmove(line->in, line->in + line->in_first, line->in_count - line->in_first);
        line->in_count -= line->in_first;
        line->in_first = 0;
    }
    size_t room = frame_wanted(&line->frame);
    room = room < line->in_count + IN_ROOM_LEAST ? line->in_count + IN_ROOM_LEAST : room;
    if (room <= line->in_room)
        return true;
    uint8_t *grown = mem_resize(line->in, room);
    if (grown == NULL)
        return false;
    line->in = grown;
    line->in_room = room;
    return true;
}

static void
receive_some(struct line *line)
{
    if (!make_room(line)) {
        line_close(line, "no memory for an answer");
        return;
    }
    const ssize_t got =
        recv(line->fd, line->in + line->in_count, line->in_room - line->in_count, 0);
    if (got > 0)
        line->in_count += (size_t)got;
    else if (got == 0)
        line_close(line, "the other side closed the connection");
    else if (errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR)
        line_close(line, strerror(errno));
}

short
line_events(const struct line *line)
{
    if (line->state == LINE_CLOSED)
        return 0;
    if (line->state == LINE_DIALS)
        return POLLOUT;
    return (short)(line->out_sent < line->out.count ? POLLIN | POLLOUT : POLLIN);
}

void
line_turn(struct line *line, short happened)
{
    if (line->state == LINE_DIALS && happened != 0) {
        dialled(line);
        return;
    }
    if (line->state == LINE_OPEN && (happened & POLLOUT) != 0)
        send_some(line);
    if (line->state == LINE_OPEN && (happened & (POLLIN | POLLHUP | POLLERR)) != 0)
        receive_some(line);
}

bool
line_take(struct line *line, struct wire_bytes *message)
{
    size_t bytes = 0;
    if (line->state != LINE_OPEN || line->in_count == line->in_first)
        return false;
    switch (frame_find(&line->frame, line->in + line->in_first, line->in_count - line->in_first,
                       &bytes)) {
    case FRAME_WHOLE:
        *message = (struct wire_bytes){line->in + line->in_first, (uint32_t)bytes};
        line->in_first += bytes;
        return true;
    case FRAME_REFUSED:
        line_close(line, "what came is no answer of msgpack-RPC");
        return false;
    default:
        return false;
    }
}
