// node/turn_said.c -- a node's part in the metadata as the first bytes of what it says by gossip.
//
// Shape: value.
#include "node/turn_said.h"

#define WORD_BYTES 8u
#define LEAD_AT WORD_BYTES
#define VOTERS_AT (2 * WORD_BYTES)
#define LEAVING_AT (VOTERS_AT + 1)

_Static_assert(LEAVING_AT + 1 == TURN_SAID_BYTES, "one behind the other");

static void
put(uint8_t *at, uint64_t word)
{
    for (uint32_t i = 0; i < WORD_BYTES; i++)
        at[i] = (uint8_t)(word >> (8 * i));
}

static uint64_t
get(const uint8_t *at)
{
    uint64_t word = 0;
    for (uint32_t i = 0; i < WORD_BYTES; i++)
        word |= (uint64_t)at[i] << (8 * i);
    return word;
}

void
turn_said_write(const struct turn_said *said, struct gossip_meta *meta)
{
    put(meta->data, said->member);
    put(meta->data + LEAD_AT, said->lead_term);
    meta->data[VOTERS_AT] = said->voters;
    meta->data[LEAVING_AT] = said->leaving;
    if (meta->data_bytes < TURN_SAID_BYTES)
        meta->data_bytes = TURN_SAID_BYTES;
}

struct turn_said
turn_said_read(const struct gossip_meta *meta)
{
    if (meta->data_bytes < TURN_SAID_BYTES)
        return (struct turn_said){0};
    return (struct turn_said){get(meta->data), get(meta->data + LEAD_AT), meta->data[VOTERS_AT],
                              meta->data[LEAVING_AT] != 0};
}
