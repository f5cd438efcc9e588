// tests/fuzz/fuzz_gossip.c -- any bytes as a gossip message: refused, or the same bytes again; and any bytes as the fields of a
// message to a running machine, which stays whole.
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "gossip/gossip.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count);

static void
decode(const uint8_t *bytes, size_t count, struct gossip_msg *msg)
{
    uint8_t again[GOSSIP_PACKET_BYTES_MAX];
    if (gossip_msg_decode(bytes, count, msg) != OMEN_OK)
        return;
    ASSERT(gossip_msg_encode(msg, again) == count);
    ASSERT(memcmp(bytes, again, count) == 0);
}

static void
step(struct gossip *gossip, struct gossip_output *out, struct gossip_input in)
{
    uint8_t encoded[GOSSIP_PACKET_BYTES_MAX];
    gossip_step(gossip, &in, out);
    gossip_check(gossip);
    for (uint32_t i = 0; i < out->send_count; i++)
        ASSERT(gossip_msg_encode(&out->sends[i].msg, encoded) <= GOSSIP_PACKET_BYTES_MAX);
}

int
LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count)
{
    static struct gossip gossip;
    static struct gossip_output out;
    static struct gossip_msg msg;
    decode(bytes, count, &msg);

    struct gossip_config config = {.cluster = {.low = 1}, .id = {.low = 1}, .members_max = 8};
    config.meta.address.port = 1;
    gossip_init(&gossip, &config, count);
    step(&gossip, &out, (struct gossip_input){.kind = GOSSIP_IN_START});
    uint64_t now_ns = 0;
    while (count > 2) { // a piece: how long after the last, its size, and the bytes of the fields
        size_t piece = 1 + (size_t)bytes[1] * 4;
        now_ns += (uint64_t)bytes[0] * 10000000;
        bytes += 2;
        count -= 2;
        piece = piece < count ? piece : count;
        memset(&msg, 0, sizeof msg);
        memcpy(&msg, bytes, piece < sizeof msg ? piece : sizeof msg);
        msg.cluster = config.cluster;
        bytes += piece;
        count -= piece;
        step(&gossip, &out,
             (struct gossip_input){.now_ns = now_ns, .kind = GOSSIP_IN_MESSAGE, .message = &msg});
        step(&gossip, &out, (struct gossip_input){.now_ns = now_ns, .kind = GOSSIP_IN_WAKE});
    }
    gossip_fini(&gossip);
    return 0;
}
