// tests/fuzz/fuzz_cluster_snapshot.c -- any bytes as a snapshot of the map: refused, or a sound map that encodes to them again.
//
// The checksum is made right, so that the fields behind it are reached.
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/hash.h"
#include "cluster/snapshot.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count);

int
LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count)
{
    uint8_t *sealed = malloc(count + 8);
    ASSERT(sealed != NULL);
    if (count > 0)
        memcpy(sealed, bytes, count);
    const uint64_t checksum = hash_bytes(bytes, count);
    for (uint32_t i = 0; i < 8; i++)
        sealed[count + i] = (uint8_t)(checksum >> (56 - 8 * i));
    struct map map;
    if (snapshot_decode(sealed, count + 8, &map) == OMEN_OK) {
        map_check(&map);
        ASSERT(snapshot_bytes(&map) == count + 8);
        uint8_t *again = malloc(count + 8);
        ASSERT(again != NULL);
        snapshot_encode(&map, again, count + 8);
        ASSERT(memcmp(sealed, again, count + 8) == 0);
        free(again);
        const struct map *published;
        ASSERT(map_publish(&map, &published) == OMEN_OK);
        map_publish_end(published);
    }
    map_fini(&map);
    free(sealed);
    return 0;
}
