// bench/bus.c -- what a hop between two nodes costs: a frame of 1.6 KB on a lane, and one that comes back.
//
// Shape: shell. usage: omen_bus_bench [frames]        (50,000)
//
// Two processes. Each has a connection of its own for what it says, as nodes have; the other one answers on the thread that read.
// Microseconds there and back: median and 99 of 100; and how many in a second.
#include <inttypes.h>
#include <stdatomic.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/os_wait.h"
#include "bench/clock.h"
#include "wire/bus.h"

enum { BODY = 1600, WARM = 2000, WINDOW_MAX = 64 };

static struct bus *bus;
static uint32_t self;
static uint8_t body[BODY];
static double times_us[1u << 22];
static double sent_s[WINDOW_MAX];
static _Atomic uint32_t answered;

static struct wire_uuid
uuid_of(uint32_t node)
{
    return (struct wire_uuid){1 + node, 1};
}

static bool
say(uint8_t kind, uint64_t correlation)
{
    const struct bus_frame frame = {.lane = PEER_CONTROL,
                                    .kind = kind,
                                    .correlation = correlation,
                                    .body = {body, sizeof body}};
    return bus_send(bus, uuid_of(1 - self), &frame);
}

static void
take(void *context, struct wire_uuid from, uint64_t boot, const struct peer_head *head,
     struct wire_bytes bytes)
{
    (void)context;
    (void)from;
    (void)boot;
    (void)bytes;
    if (self == 1) {
        if (!say(PEER_REPLY, head->correlation))
            die("the answer was not taken");
        return;
    }
    const uint32_t count = atomic_load(&answered);
    const double took_us =
        (clock_s(CLOCK_MONOTONIC) - sent_s[head->correlation % WINDOW_MAX]) * 1e6;
    if (count >= WARM)
        times_us[count - WARM] = took_us;
    atomic_store(&answered, count + 1);
    os_wake_all(&answered);
}

static void
take_datagram(void *context, const struct gossip_address *from, struct wire_bytes packet)
{
    (void)context;
    (void)from;
    (void)packet;
}

static void
hint(void *context, struct wire_uuid node)
{
    (void)context;
    (void)node;
}

static void
measure(uint32_t frames, uint32_t window)
{
    atomic_store(&answered, 0);
    double begin_s = 0;
    uint32_t sent = 0;
    for (;;) {
        const uint32_t back = atomic_load(&answered);
        if (back == frames + WARM)
            break;
        if (begin_s == 0 && back >= WARM)
            begin_s = clock_s(CLOCK_MONOTONIC);
        if (sent == frames + WARM || sent - back >= window) {
            os_wait(&answered, back);
            continue;
        }
        sent_s[sent % WINDOW_MAX] = clock_s(CLOCK_MONOTONIC);
        if (!say(PEER_PART, sent))
            die("a frame was not taken");
        sent++;
    }
    const double took_s = clock_s(CLOCK_MONOTONIC) - begin_s;
    qsort(times_us, frames, sizeof times_us[0], by_value);
    printf("%2" PRIu32 " in flight: %6.1f us p50 %7.1f us p99 %8.0f /s\n", window,
           times_us[frames / 2], times_us[(uint64_t)frames * 99 / 100], frames / took_s);
    fflush(stdout);
}

// Opens the bus and exchanges ports with the other process.
static void
open_bus(int in, int out)
{
    struct gossip_address address = {.ip = {[10] = 0xff, [11] = 0xff, [12] = 127, [15] = 1}};
    const struct bus_config config = {
        .listen = address,
        .ours = {.cluster = {1, 1},
                 .node = uuid_of(self),
                 .boot = 1,
                 .version_least = 1,
                 .version_most = 1},
        .frame = take,
        .datagram = take_datagram,
        .up = hint,
        .down = hint,
    };
    struct omen_error error;
    if (bus_open(&config, &bus, &error) != OMEN_OK)
        die("%s", error.text);
    const uint16_t port = bus_port(bus);
    if (write(out, &port, sizeof port) != sizeof port ||
        read(in, &address.port, sizeof address.port) != sizeof address.port)
        die("the other process is lost");
    bus_know(bus, uuid_of(1 - self), &address);
}

int
main(int argc, char **argv)
{
    const size_t frames = argc > 1 ? number(argv[1], "frames") : 50000;
    if (frames == 0 || frames > sizeof times_us / sizeof times_us[0])
        die("frames: 1 to %zu", sizeof times_us / sizeof times_us[0]);
    int there[2], back[2];
    if (pipe(there) != 0 || pipe(back) != 0)
        die("no pipe");
    const pid_t other = fork(); // before NNG has threads
    self = other == 0;
    if (self == 1) {
        close(there[1]);
        open_bus(there[0], back[1]);
        uint16_t end;
        while (read(there[0], &end, sizeof end) > 0)
            ;
    } else {
        close(there[0]);
        open_bus(back[0], there[1]);
        measure((uint32_t)frames, 1);
        measure((uint32_t)frames, WINDOW_MAX);
        close(there[1]);
    }
    bus_close(bus);
    int status = 0;
    if (self == 0)
        waitpid(other, &status, 0);
    return status != 0;
}
