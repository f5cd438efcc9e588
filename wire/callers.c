// wire/callers.c -- how many connections each IP address has.
//
// Shape: value.
//
// Open addressing, at most half full, in which nothing is marked as gone: behind what leaves, others move up as far as they may.
#include "wire/callers.h"

#include <string.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "base/hash.h"

omen_status
callers_init(struct callers *callers, uint32_t connections_max, uint64_t seed)
{
    uint32_t places = 16;
    ASSERT(connections_max <= UINT32_MAX / 4);
    while (places < 2 * connections_max)
        places *= 2;
    *callers = (struct callers){.mask = places - 1, .seed = seed};
    callers->places = mem_alloc_zero(places, sizeof *callers->places);
    return callers->places != NULL ? OMEN_OK : OMEN_E_NO_MEMORY;
}

void
callers_fini(struct callers *callers)
{
    mem_free(callers->places);
    *callers = (struct callers){0};
}

// Where one of that address is looked for first.
static uint32_t
home_of(const struct callers *callers, const uint8_t ip[16])
{
    uint8_t bytes[16 + sizeof callers->seed];
    memcpy(bytes, ip, 16);
    memcpy(bytes + 16, &callers->seed, sizeof callers->seed);
    return (uint32_t)hash_bytes(bytes, sizeof bytes) & callers->mask;
}

// Its place, or the free one that it would take.
static uint32_t
find(const struct callers *callers, const uint8_t ip[16])
{
    uint32_t at = home_of(callers, ip);
    while (callers->places[at].connections > 0 && memcmp(callers->places[at].ip, ip, 16) != 0)
        at = (at + 1) & callers->mask;
    return at;
}

bool
callers_enter(struct callers *callers, const uint8_t ip[16], uint32_t most)
{
    struct caller *caller = &callers->places[find(callers, ip)];
    if (caller->connections >= most)
        return false;
    memcpy(caller->ip, ip, 16);
    caller->connections++;
    return true;
}

// Whoever could not lie nearer to home for what was here moves up.
static void
close_gap(struct callers *callers, uint32_t gap)
{
    for (uint32_t at = (gap + 1) & callers->mask; callers->places[at].connections > 0;
         at = (at + 1) & callers->mask) {
        const uint32_t home = home_of(callers, callers->places[at].ip);
        if (((at - home) & callers->mask) < ((at - gap) & callers->mask))
            continue; // the gap is before its home
        callers->places[gap] = callers->places[at];
        callers->places[at].connections = 0;
        gap = at;
    }
}

void
callers_leave(struct callers *callers, const uint8_t ip[16])
{
    const uint32_t at = find(callers, ip);
    ASSERT(callers->places[at].connections > 0);
    if (--callers->places[at].connections == 0)
        close_gap(callers, at);
}
