// node/clients_led.c -- requests about the map that another node is asked for because it leads the metadata: sent, and sent again.
//
// Shape: shell. node/led says whom and when.
#include "base/os_clock.h"
#include "node/clients_int.h"

#define MS UINT64_C(1000000)

static uint32_t
left_ms(const struct clients_call *call, uint64_t now_ns)
{
    return call->until_ns > now_ns ? (uint32_t)((call->until_ns - now_ns) / MS) + 1 : 1;
}

static void
ask_leader(struct clients *clients, struct clients_call *call, struct cluster_uuid leader,
           uint64_t now_ns)
{
    struct encode ask;
    encode_init(&ask, WIRE_FRAME_BYTES_MAX);
    shape_write(&ask, call->method->ask, &call->ask);
    const struct wire_part part = {.kind = WIRE_PART_WRITE,
                                   .consistency = WIRE_ANY,
                                   .method = call->method->number,
                                   .map_version = clients->map->version,
                                   .ask_bytes = (uint32_t)ask.count,
                                   .ask = ask.bytes};
    const uint64_t correlation = ++clients->correlations | CLIENTS_CALL_BIT;
    encode_reset(&clients->encode);
    wire_part_write(&clients->encode, &part);
    const bool sent = ask.status == OMEN_OK && clients_try_send(clients, leader, PEER_PART,
                                                                correlation, left_ms(call, now_ns));
    encode_fini(&ask);
    if (sent)
        led_asked(&call->led, leader, correlation, now_ns);
    else if (call->led.tries > 0)
        led_lost(&call->led, leader, now_ns);
    else
        clients_refuse_as(clients, call, OMEN_E_BUSY, "who leads the metadata cannot be reached",
                       API_NOT_APPLIED);
}

// Of another node's, which looks itself where it goes next.
static bool
is_led_here(struct clients *clients, struct clients_call *call, struct cluster_uuid leader)
{
    if (uuid_equal(leader, clients->config.identity.node))
        return true;
    clients_refuse_as(clients, call, OMEN_E_BUSY,
                   uuid_is_none(leader) ? "nobody leads the metadata now"
                                        : "another node leads the metadata",
                   API_NOT_APPLIED);
    return false;
}

bool
clients_led_look(struct clients *clients, struct clients_call *call)
{
    const struct cluster_uuid own = clients->config.identity.node, leader = clients_leader(clients);
    const uint64_t now_ns = os_clock_ns();
    if (call->conn == NULL)
        return is_led_here(clients, call, leader);
    switch (led_look(&call->led, own, leader, now_ns)) {
    case LED_OURS:
        led_asked(&call->led, own, 0, now_ns);
        return true;
    case LED_ASK:
        ask_leader(clients, call, leader, now_ns);
        return false;
    case LED_NOBODY:
        clients_refuse_as(clients, call, OMEN_E_BUSY, "nobody leads the metadata now",
                       API_NOT_APPLIED);
        return false;
    default:
        return false;
    }
}

bool
clients_led_again(struct clients_call *call, omen_status refusal)
{
    if (call->conn == NULL || !led_goes_on(&call->led, refusal))
        return false;
    led_lost(&call->led, call->led.asked, os_clock_ns());
    return true;
}

// Whether it is with the leader, or waits for one: not with meta, copies, or the map.
static bool
is_out(const struct clients_call *call)
{
    return !call->answered && call->conn != NULL && !call->proposed && call->gather == NULL &&
           call->held_version == 0 && call->led.tries > 0;
}

void
clients_led_wake(struct clients *clients, uint64_t now_ns)
{
    const struct cluster_uuid leader = clients_leader(clients);
    struct clients_call *next = NULL;
    for (struct clients_call *call = clients->calls; call != NULL; call = next) {
        next = call->next;
        if (is_out(call) && led_due(&call->led, leader) <= now_ns)
            clients_begin(clients, call);
    }
}

void
clients_led_down(struct clients *clients, struct cluster_uuid node)
{
    const uint64_t now_ns = os_clock_ns();
    for (struct clients_call *call = clients->calls; call != NULL; call = call->next)
        if (is_out(call) && uuid_equal(call->led.asked, node))
            led_lost(&call->led, node, now_ns);
}

uint64_t
clients_led_due(const struct clients *clients)
{
    const struct cluster_uuid leader = clients_leader(clients);
    uint64_t due_ns = UINT64_MAX;
    for (const struct clients_call *call = clients->calls; call != NULL; call = call->next)
        if (is_out(call) && led_due(&call->led, leader) < due_ns)
            due_ns = led_due(&call->led, leader);
    return due_ns;
}
