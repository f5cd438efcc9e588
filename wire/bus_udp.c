// wire/bus_udp.c -- gossip's datagrams: sealed, sent and opened on a socket of their own.
//
// Shape: shell.
//
// NNG 1.5.2 has no datagrams. One thread receives; who sends does it in the caller's thread, without waiting, and a datagram that the
// system does not take is lost, as any may be.
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "base/os_random.h"
#include "base/os_thread.h"
#include "wire/bus_int.h"

#define AT_ONCE 64u // before it looks whether it shall end

struct udp {
    struct udp_config config;
    int socket, ending; // `ending` becomes readable
    int family;
    pthread_t thread;
    _Atomic uint64_t in, out, refused, lost;
};

union socket_address {
    struct sockaddr any;
    struct sockaddr_in four;
    struct sockaddr_in6 six;
};

static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};

static bool
is_four(const struct gossip_address *address)
{
    return memcmp(address->ip, mapped, sizeof mapped) == 0;
}

// A socket of IPv6 speaks to IPv4 by mapped addresses.
static socklen_t
address_to(int family, const struct gossip_address *address, union socket_address *out)
{
    memset(out, 0, sizeof *out);
    if (family == AF_INET) {
        out->four.sin_family = AF_INET;
        out->four.sin_port = htons(address->port);
        memcpy(&out->four.sin_addr, address->ip + sizeof mapped, 4);
        return sizeof out->four;
    }
    out->six.sin6_family = AF_INET6;
    out->six.sin6_port = htons(address->port);
    memcpy(&out->six.sin6_addr, address->ip, 16);
    return sizeof out->six;
}

static struct gossip_address
address_from(const union socket_address *from)
{
    struct gossip_address address;
    if (from->any.sa_family == AF_INET) {
        memcpy(address.ip, mapped, sizeof mapped);
        memcpy(address.ip + sizeof mapped, &from->four.sin_addr, 4);
        address.port = ntohs(from->four.sin_port);
    } else {
        memcpy(address.ip, &from->six.sin6_addr, 16);
        address.port = ntohs(from->six.sin6_port);
    }
    return address;
}

// One datagram, if there is one.
static bool
receive(struct udp *udp)
{
    uint8_t datagram[GOSSIP_DATAGRAM_BYTES_MAX + 1]; // one more: a longer one is seen to be
    uint8_t packet[GOSSIP_PACKET_BYTES_MAX];
    union socket_address from = {0};
    socklen_t from_bytes = sizeof from;
    const ssize_t count =
        recvfrom(udp->socket, datagram, sizeof datagram, MSG_DONTWAIT, &from.any, &from_bytes);
    if (count < 0)
        return false; // none, or what an earlier one of ours met
    const size_t opened = seal_open_datagram(
        udp->config.keys, (struct wire_bytes){datagram, (uint32_t)count}, packet);
    if (opened == 0) {
        bus_count(&udp->refused);
        return true;
    }
    bus_count(&udp->in);
    const struct gossip_address address = address_from(&from);
    udp->config.datagram(udp->config.context, &address,
                         (struct wire_bytes){packet, (uint32_t)opened});
    return true;
}

static void *
udp_main(void *argument)
{
    struct udp *udp = argument;
    for (;;) {
        struct pollfd fds[2] = {{.fd = udp->socket, .events = POLLIN},
                                {.fd = udp->ending, .events = POLLIN}};
        (void)poll(fds, 2, -1); // EINTR: looks again
        if (fds[1].revents != 0)
            return NULL;
        for (uint32_t i = 0; i < AT_ONCE && receive(udp); i++)
            ;
    }
}

static omen_status
no_listening(int failed, struct omen_error *error)
{
    // EAGAIN is that of its thread, which there is no memory for.
    const bool lacking = failed == ENOMEM || failed == ENOBUFS || failed == EMFILE ||
                         failed == ENFILE || failed == EAGAIN;
    const omen_status status = lacking ? OMEN_E_NO_MEMORY : OMEN_E_INVALID;
    char text[128];
    return error_set(error, status, "cannot listen for datagrams: %s",
                     strerror_r(failed, text, sizeof text));
}

omen_status
udp_open(const struct udp_config *config, struct udp **out, struct omen_error *error)
{
    *out = NULL;
    struct udp *udp = mem_alloc_zero(1, sizeof *udp);
    if (udp == NULL)
        return error_set_plain(error, OMEN_E_NO_MEMORY);
    udp->config = *config;
    udp->family = is_four(&config->listen) ? AF_INET : AF_INET6;
    union socket_address address;
    const socklen_t bytes = address_to(udp->family, &config->listen, &address);
    const int both = 0;
    int failed = 0;
    udp->ending = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    udp->socket = socket(udp->family, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (udp->ending < 0 || udp->socket < 0)
        failed = errno;
    if (failed == 0 && udp->family == AF_INET6)
        (void)setsockopt(udp->socket, IPPROTO_IPV6, IPV6_V6ONLY, &both, sizeof both);
    if (failed == 0 && bind(udp->socket, &address.any, bytes) != 0)
        failed = errno;
    if (failed == 0)
        failed = os_thread_start(&udp->thread, udp_main, udp);
    if (failed != 0) {
        if (udp->socket >= 0)
            (void)close(udp->socket);
        if (udp->ending >= 0)
            (void)close(udp->ending);
        mem_free(udp);
        return no_listening(failed, error);
    }
    *out = udp;
    return OMEN_OK;
}

void
udp_close(struct udp *udp)
{
    if (udp == NULL)
        return;
    const uint64_t one = 1;
    const ssize_t told = write(udp->ending, &one, sizeof one);
    ASSERT(told == sizeof one);
    const int failed = pthread_join(udp->thread, NULL);
    ASSERT(failed == 0);
    (void)close(udp->socket);
    (void)close(udp->ending);
    mem_free(udp);
}

void
udp_send(struct udp *udp, const struct gossip_address *to, struct wire_bytes packet)
{
    uint8_t datagram[GOSSIP_DATAGRAM_BYTES_MAX];
    uint8_t nonce[SEAL_NONCE_BYTES];
    union socket_address address;
    if (udp->family == AF_INET && !is_four(to)) {
        bus_count(&udp->lost);
        return;
    }
    os_random(nonce, sizeof nonce);
    const size_t count = seal_datagram(udp->config.keys, nonce, packet, datagram);
    const socklen_t bytes = address_to(udp->family, to, &address);
    const ssize_t went =
        sendto(udp->socket, datagram, count, MSG_DONTWAIT | MSG_NOSIGNAL, &address.any, bytes);
    bus_count(went == (ssize_t)count ? &udp->out : &udp->lost);
}

void
udp_stats(const struct udp *udp, struct udp_stats *out)
{
    *out = (struct udp_stats){.in = atomic_load(&udp->in),
                              .out = atomic_load(&udp->out),
                              .refused = atomic_load(&udp->refused),
                              .lost = atomic_load(&udp->lost)};
}
