// node/turn_said.c -- a node's part in the metadata as the first bytes of what it says by gossip.
//
// Shape: value.
#include "node/turn_said.h"

#include <string.h>

#include "base/assert.h"

#define WORD_BYTES 8u
#define LEAD_AT WORD_BYTES
#define VOTERS_AT (2 * WORD_BYTES)
#define WHY_AT (VOTERS_AT + 1)
#define WHY_LEAVING 1u
#define WHY_DISK_LOW 2u

_Static_assert(WHY_AT + 1 == TURN_SAID_BYTES, "one behind the other");

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
    meta->data[WHY_AT] =
        (uint8_t)((said->leaving ? WHY_LEAVING : 0) | (said->disk_low ? WHY_DISK_LOW : 0));
    if (meta->data_bytes < TURN_SAID_BYTES)
        meta->data_bytes = TURN_SAID_BYTES;
}

struct turn_said
turn_said_read(const struct gossip_meta *meta)
{
    if (meta->data_bytes < TURN_SAID_BYTES)
        return (struct turn_said){0};
    const uint8_t why = meta->data[WHY_AT];
    return (struct turn_said){.member = get(meta->data),
                              .lead_term = get(meta->data + LEAD_AT),
                              .voters = meta->data[VOTERS_AT],
                              .leaving = (why & WHY_LEAVING) != 0,
                              .disk_low = (why & WHY_DISK_LOW) != 0};
}

void
turn_said_program(const char *name, uint32_t name_bytes, uint64_t features,
                  struct gossip_meta *meta)
{
    uint8_t *at = meta->data + TURN_SAID_BYTES;
    ASSERT(name_bytes <= TURN_SAID_NAME_MAX);
    memcpy(at, name, name_bytes);
    at[name_bytes] = 0;
    put(at + name_bytes + 1, features);
    meta->data_bytes = (uint8_t)(TURN_SAID_BYTES + name_bytes + 1 + WORD_BYTES);
}

uint32_t
turn_said_name(const struct gossip_meta *meta, const char **name)
{
    uint32_t count = 0;
    *name = (const char *)meta->data + TURN_SAID_BYTES;
    while (TURN_SAID_BYTES + count < meta->data_bytes && (*name)[count] != 0)
        count++;
    return count;
}

uint64_t
turn_said_features(const struct gossip_meta *meta)
{
    const char *name;
    const uint32_t at = TURN_SAID_BYTES + turn_said_name(meta, &name) + 1;
    return at + WORD_BYTES <= meta->data_bytes ? get(meta->data + at) : 0;
}
