// node/rates.c -- the buckets of all keys that ask a node.
//
// Shape: handle, in memory.
//
// Open addressing, at most half full. Nothing is taken out: a table that is half full is made anew of those that owe something still, in
// as much room as these want, so keys that were revoked are forgotten.
#include "node/rates.h"

#include <string.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "base/hash.h"

#define ROOM_LEAST 16u

void
rates_init(struct rates *rates)
{
    *rates = (struct rates){0};
}

void
rates_fini(struct rates *rates)
{
    mem_free(rates->places);
    *rates = (struct rates){0};
}

// Its place, or the free one that it would take.
static struct rates_place *
find(const struct rates *rates, const char *key)
{
    uint32_t at = (uint32_t)hash_bytes(key, strlen(key)) & (rates->room - 1);
    while (rates->places[at].key[0] != '\0' && strcmp(rates->places[at].key, key) != 0)
        at = (at + 1) & (rates->room - 1);
    return &rates->places[at];
}

static bool
owes(const struct rates_place *place, uint64_t now_ns)
{
    return place->key[0] != '\0' && place->rate.paid_until_ns > now_ns;
}

// False: no memory.
static bool
make_anew(struct rates *rates, uint64_t now_ns)
{
    struct rates grown = {.room = ROOM_LEAST};
    uint32_t owing = 0;
    for (uint32_t i = 0; i < rates->room; i++)
        owing += owes(&rates->places[i], now_ns);
    while (grown.room < 4 * (owing + 1)) // so that it is a while until the next time
        grown.room *= 2;
    grown.places = mem_alloc_zero(grown.room, sizeof *grown.places);
    if (grown.places == NULL)
        return false;
    for (uint32_t i = 0; i < rates->room; i++)
        if (owes(&rates->places[i], now_ns)) {
            *find(&grown, rates->places[i].key) = rates->places[i];
            grown.used++;
        }
    mem_free(rates->places);
    *rates = grown;
    return true;
}

struct rate *
rates_of(struct rates *rates, const char *key, uint64_t now_ns)
{
    ASSERT(key[0] != '\0' && strlen(key) <= WIRE_NAME_BYTES_MAX);
    struct rates_place *place = rates->room > 0 ? find(rates, key) : NULL;
    if (place != NULL && place->key[0] != '\0')
        return &place->rate;
    if (2 * (rates->used + 1) > rates->room && !make_anew(rates, now_ns))
        return NULL;
    place = find(rates, key);
    memcpy(place->key, key, strlen(key) + 1);
    place->rate = (struct rate){0};
    rates->used++;
    return &place->rate;
}
