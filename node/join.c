// node/join.c -- asks a live node which cluster it is of, before this one is of any.
//
// Shape: shell.
#include "node/join.h"

#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/os_clock.h"
#include "base/os_random.h"
#include "node/address.h"
#include "wire/peer.h"

#define MS UINT64_C(1000000)

struct call {
    int socket;
    uint64_t until_ns;
};

// False: the time is over, or the connection.
static bool
wait_for(const struct call *call, short event)
{
    for (;;) {
        const uint64_t now_ns = os_clock_ns();
        if (now_ns >= call->until_ns)
            return false;
        struct pollfd poll_fd = {.fd = call->socket, .events = event};
        const int ready = poll(&poll_fd, 1, (int)((call->until_ns - now_ns) / MS) + 1);
        if (ready > 0)
            return true;
        if (ready < 0 && errno != EINTR)
            return false;
    }
}

static bool
connect_to(struct call *call, const struct gossip_address *address)
{
    struct sockaddr_in6 to = {.sin6_family = AF_INET6, .sin6_port = htons(address->port)};
    memcpy(&to.sin6_addr, address->ip, 16); // IPv4 is mapped into it
    call->socket = socket(AF_INET6, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_port = htons(address->port)};
    const struct sockaddr *name = (const struct sockaddr *)&to;
    socklen_t count = sizeof to;
    if (call->socket < 0) { // a kernel without IPv6
        memcpy(&v4.sin_addr, address->ip + 12, 4);
        name = (const struct sockaddr *)&v4;
        count = sizeof v4;
        call->socket = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    }
    if (call->socket < 0)
        return false;
    if (connect(call->socket, name, count) == 0)
        return true;
    int failed = 0;
    socklen_t bytes = sizeof failed;
    return errno == EINPROGRESS && wait_for(call, POLLOUT) &&
           getsockopt(call->socket, SOL_SOCKET, SO_ERROR, &failed, &bytes) == 0 && failed == 0;
}

static bool
send_all(const struct call *call, const uint8_t *bytes, size_t count)
{
    size_t sent = 0;
    while (sent < count) {
        const ssize_t done = send(call->socket, bytes + sent, count - sent, MSG_NOSIGNAL);
        if (done > 0)
            sent += (size_t)done;
        else if (done == 0 || (errno != EAGAIN && errno != EINTR) || !wait_for(call, POLLOUT))
            return false;
    }
    return true;
}

static bool
receive_all(const struct call *call, uint8_t *bytes, size_t count)
{
    size_t got = 0;
    while (got < count) {
        const ssize_t done = recv(call->socket, bytes + got, count - got, 0);
        if (done > 0)
            got += (size_t)done;
        else if (done == 0 || (errno != EAGAIN && errno != EINTR) || !wait_for(call, POLLIN))
            return false;
    }
    return true;
}

enum told { TOLD_NOTHING, TOLD_NONSENSE, TOLD_WELCOME };

static enum told
converse(const struct call *call, const uint8_t hello[HANDSHAKE_HELLO_BYTES],
         uint8_t welcome[HANDSHAKE_WELCOME_BYTES])
{
    uint8_t head[PEER_HEAD_BYTES];
    const struct wire_bytes body = {hello, HANDSHAKE_HELLO_BYTES};
    peer_head_write((struct peer_head){.kind = PEER_HELLO, .lane = PEER_CONTROL}, body, head);
    struct peer_head theirs;
    if (!send_all(call, head, sizeof head) || !send_all(call, hello, HANDSHAKE_HELLO_BYTES) ||
        !receive_all(call, head, sizeof head))
        return TOLD_NOTHING;
    if (peer_head_read(head, PEER_CONTROL, PEER_STRANGER, &theirs) != PEER_FINE ||
        theirs.kind != PEER_WELCOME || theirs.body_bytes != HANDSHAKE_WELCOME_BYTES)
        return TOLD_NONSENSE;
    if (!receive_all(call, welcome, HANDSHAKE_WELCOME_BYTES))
        return TOLD_NOTHING;
    const struct wire_bytes said = {welcome, HANDSHAKE_WELCOME_BYTES};
    return peer_body_is_whole(&theirs, said) ? TOLD_WELCOME : TOLD_NONSENSE;
}

static omen_status
judge(enum handshake_verdict verdict, const char *where, struct omen_error *error)
{
    switch (verdict) {
    case HANDSHAKE_FINE:
        return OMEN_OK;
    case HANDSHAKE_BAD_MAC:
        return error_set(error, OMEN_E_AUTH, "%s has another cluster key", where);
    case HANDSHAKE_NO_VERSION:
        return error_set(error, OMEN_E_VERSION, "%s speaks no version that this program knows",
                         where);
    case HANDSHAKE_OURSELVES:
        return error_set(error, OMEN_E_INVALID, "%s is this node itself", where);
    default:
        return error_set(error, OMEN_E_INVALID, "%s is of no cluster: %s", where,
                         handshake_verdict_name(verdict));
    }
}

omen_status
join_ask(const struct gossip_address *address, const uint8_t key[32], const struct handshake *ours,
         uint32_t timeout_ms, struct handshake *theirs, struct omen_error *error)
{
    uint8_t hello[HANDSHAKE_HELLO_BYTES], welcome[HANDSHAKE_WELCOME_BYTES];
    char where[ADDRESS_TEXT_BYTES];
    address_text(address, where);
    struct handshake asks = *ours;
    os_random(asks.nonce, sizeof asks.nonce);
    handshake_hello(&asks, hello);
    struct call call = {-1, os_clock_ns() + timeout_ms * MS};
    enum told told = TOLD_NOTHING;
    if (connect_to(&call, address))
        told = converse(&call, hello, welcome);
    if (call.socket >= 0)
        (void)close(call.socket);
    if (told == TOLD_NOTHING)
        return error_set(error, OMEN_E_TIMEOUT, "nobody answers at %s", where);
    if (told == TOLD_NONSENSE)
        return error_set(error, OMEN_E_INVALID, "what answers at %s is no peer port", where);
    const struct wire_bytes said = {welcome, sizeof welcome};
    return judge(handshake_take_welcome(key, &asks, hello, said, theirs), where, error);
}
